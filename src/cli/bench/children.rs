//! The processes and the scratch directory of a run, and that both are gone afterwards, also when a signal ends it.
//!
//! # What it does not know
//!
//! What the processes do.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Fail, USAGE, failed};

/// The exit code of a run that a signal ended.
const INTERRUPTED: i32 = 130;
/// How long a child that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often an end is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Every child that runs, so that a signal can end them.
static CHILDREN: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn children() -> MutexGuard<'static, Vec<Child>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that ends with this value.
pub(super) struct Owned {
    pid: u32,
}

impl Owned {
    /// Starts a process.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(command: &mut Command) -> std::io::Result<(Owned, Pipes)> {
        // Held while it starts: a signal finds it in the list, or it does not exist.
        let mut all = children();
        let mut child = command.spawn()?;
        let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take() };
        let pid = child.id();
        all.push(child);
        Ok((Owned { pid }, pipes))
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to end by a signal, waits, and says whether it did.
    pub(super) fn stop(self) -> bool {
        let asked = Command::new("kill").arg(self.pid.to_string()).status().is_ok_and(|status| status.success());
        let until = Instant::now() + PATIENCE;
        while asked && Instant::now() < until {
            if self.has_ended() {
                return true;
            }
            // What is waited for is looked at again; the loop has a deadline.
            std::thread::sleep(LOOK);
        }
        false
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let mut all = children();
        let Some(child) = all.iter_mut().find(|child| child.id() == self.pid) else { return true };
        matches!(child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut all = children();
        if let Some(at) = all.iter().position(|child| child.id() == self.pid) {
            end(&mut all.swap_remove(at));
        }
    }
}

/// What leads into a process and out of it.
pub(super) struct Pipes {
    /// Its standard input, where it was asked for.
    pub(super) stdin: Option<std::process::ChildStdin>,
    /// Its standard output, where it was asked for.
    pub(super) stdout: Option<std::process::ChildStdout>,
}

/// A directory that goes with this value.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one below `data`, and lets signals end the run cleanly.
    ///
    /// # Errors
    /// It cannot be made there, or signals cannot be listened to.
    pub(super) fn make(data: &Path) -> Result<Scratch, Fail> {
        if !data.is_dir() {
            let line = format!("{} is no directory", data.display());
            return Err(Fail::new(USAGE, line).hint("Name one on the disk that is to be measured with --data."));
        }
        let path = data.join(format!("goniec-bench-{}", std::process::id()));
        let said = path.display();
        std::fs::create_dir(&path).map_err(|error| Fail::new(USAGE, format!("cannot make {said}: {error}")))?;
        let scratch = Scratch { path: path.clone() };
        ctrlc::set_handler(move || interrupted(&path))
            .map_err(|error| failed(format!("cannot listen to signals: {error}")))?;
        Ok(scratch)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it.
    ///
    /// # Errors
    /// Something of it is left.
    pub(super) fn remove(self) -> Result<(), Fail> {
        std::fs::remove_dir_all(&self.path)
            .map_err(|error| failed(format!("cannot remove {}: {error}", self.path.display())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing to say where it is gone already; where it is not, the run failed for a reason that is told.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// Ends the children and this process, and removes what they wrote.
fn interrupted(scratch: &Path) {
    let mut all = children();
    for child in all.iter_mut() {
        end(child);
    }
    // Threads of this process may still write: what they make anew is removed once more.
    for _ in 0..10 {
        if std::fs::remove_dir_all(scratch).is_ok() || !scratch.exists() {
            break;
        }
    }
    std::process::exit(INTERRUPTED);
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    drop(child.kill());
    drop(child.wait());
}
