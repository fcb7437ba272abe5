//! The threads that look into the folders of sources, one for each.
//!
//! # What holds
//!
//! * They end between two commits, and whoever stops them waits for that.
//!
//! # What it does not know
//!
//! What becomes of a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Fail;
use super::beside::{spawn, wall};
use crate::engine::Engine;
use crate::source::{Sources, Spooler};

/// Those who look into folders.
pub(super) struct Spools {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spools {
    /// Begins to look into the folder of each source that has one.
    ///
    /// # Errors
    /// The system gives no threads; none of them runs.
    pub(super) fn start(sources: &Arc<Sources>, engine: &Engine) -> Result<Spools, Fail> {
        let mut running = Spools { is_over: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for mut spooler in Spooler::all(sources, engine) {
            let is_over = running.is_over.clone();
            match spawn("goniec-spool".to_owned(), move || run(&mut spooler, &is_over)) {
                Ok(thread) => running.threads.push(thread),
                Err(fail) => {
                    running.stop();
                    return Err(fail);
                }
            }
        }
        Ok(running)
    }

    /// Whether all of them run.
    pub(super) fn are_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends them.
    pub(super) fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                log::error!("a thread that looks into a folder has panicked; what it has taken is kept");
            }
        }
    }
}

fn run(spooler: &mut Spooler, is_over: &AtomicBool) {
    let is_over = || is_over.load(Ordering::SeqCst);
    let look = Duration::from_millis(spooler.look_ms());
    while !is_over() {
        if !spooler.turn(wall(), &is_over) && !is_over() {
            thread::park_timeout(look);
        }
    }
}
