//! A file system of a test's own, in a file: it can be filled, and its power can be cut.

#![allow(dead_code, reason = "each harness uses its part")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::node::Node;

/// Runs a program, and says whether it did what it should.
pub fn run(program: &str, arguments: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A file system in a file, unmounted when dropped.
pub struct Disk {
    dir: tempfile::TempDir,
    mount: PathBuf,
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", self.path()]);
    }
}

impl Disk {
    /// A new file system of this kind and size; `None` where this machine cannot mount one.
    pub fn new(kind: &str, mebibytes: u64) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        std::fs::File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let image = image.to_str().unwrap();
        let made = if kind == "xfs" { run("mkfs.xfs", &["-q", image]) } else { run("mkfs.ext4", &["-q", "-F", image]) };
        let disk = Disk { dir, mount };
        (made && disk.mounted()).then_some(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &str {
        self.mount.to_str().unwrap()
    }

    fn mounted(&self) -> bool {
        run("mount", &["-o", "loop", self.dir.path().join("image").to_str().unwrap(), self.path()])
    }

    /// Where the registry lies on it.
    pub fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Loses all that was not synced, and comes back.
    pub fn cut(&self, node: &mut Node) {
        assert!(run("xfs_io", &["-x", "-c", "shutdown", self.path()]), "the shutdown works");
        node.kill();
        assert!(run("umount", &[self.path()]) && self.mounted(), "mounts again after the cut");
    }
}
