//! A node as a child that is looked through once it is gone: what it logged at `trace`, and every file that it left, has no secret in it.
//!
//! Every secret that a test gives such a node begins with [`SECRET`], so that it is found whatever spells it. The storage engine logs too much at `trace` to be heard
//! in every test; tests/canary.rs hears it.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::search::{Needles, files, leaks};

/// What every secret of the tests begins with.
pub const SECRET: &str = "canary-";
const LEVEL: &str = "trace,sled=info";

pub struct Watched {
    child: Child,
    data: PathBuf,
    log: tempfile::NamedTempFile,
}

impl Watched {
    /// Starts a node whose registry lies there.
    pub fn start(command: &mut Command, data: &Path) -> Watched {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let child = command.env("RUST_LOG", LEVEL).stderr(log.reopen().expect("a file")).spawn().expect("a node");
        Watched { child, data: data.to_owned(), log }
    }
}

impl Deref for Watched {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // By its own process id, where it has not ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            return;
        }
        let mut left = files(&self.data);
        assert!(!left.is_empty(), "the control: the node left something at {}", self.data.display());
        let log = std::fs::read(self.log.path()).expect("the log");
        left.insert("log".to_owned(), log);
        let needles = Needles::of(SECRET);
        let found: Vec<String> = left.iter().flat_map(|(name, bytes)| leaks(&needles, name, bytes)).collect();
        assert!(found.is_empty(), "secrets in what a node left:\n{}", found.join("\n"));
    }
}
