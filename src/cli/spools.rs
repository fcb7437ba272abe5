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
use std::time::{Duration, SystemTime};

use crate::engine::Engine;
use crate::model::WallMs;
use crate::source::{Sources, Spooler};

/// Those who look into folders.
pub(super) struct Spools {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spools {
    /// Begins to look into the folder of each source that has one.
    pub(super) fn start(sources: &Arc<Sources>, engine: &Engine) -> Spools {
        let is_over = Arc::new(AtomicBool::new(false));
        let begun = |mut spooler: Spooler| {
            let is_over = is_over.clone();
            thread::spawn(move || run(&mut spooler, &is_over))
        };
        let threads = Spooler::all(sources, engine).into_iter().map(begun).collect();
        Spools { is_over, threads }
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
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        if !spooler.turn(now, &is_over) && !is_over() {
            thread::park_timeout(look);
        }
    }
}
