//! The threads of the sources that are asked: one each, so that a slow system holds up nobody else.
//!
//! # What it does not know
//!
//! When a source is due, and what is read.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Fail;
use super::beside::{spawn, wall};
use crate::engine::Engine;
use crate::source::{Asker, Pull, Sources};

/// How long a thread rests at most: the clock may have been set meanwhile.
const REST_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(10);

/// Threads that run.
pub(super) struct Pulls {
    pulls: Vec<Arc<Pull>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pulls {
    /// Begins to read every source that is asked.
    pub(super) fn start(sources: &Arc<Sources>, engine: &Engine) -> Result<Pulls, Fail> {
        let mut running = Pulls { pulls: sources.pulls.clone(), threads: Vec::new() };
        for pull in &sources.pulls {
            let asker = Asker::new(pull.clone(), sources.clone(), engine.clone());
            let pull = pull.clone();
            match spawn(format!("goniec-pull-{}", pull.name), move || run(asker, &pull)) {
                Ok(thread) => running.threads.push(thread),
                Err(fail) => {
                    running.stop(Duration::ZERO);
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

    /// Cuts off what is asked, and lets what is being taken come to its end within the limit. What does not is refused by the engine when that ends.
    pub(super) fn stop(&self, limit: Duration) {
        self.pulls.iter().for_each(|pull| pull.stop());
        let until = Instant::now() + limit;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            // The pace of a loop that has an end.
            std::thread::sleep(LOOK);
        }
    }
}

fn run(mut asker: Asker, pull: &Pull) {
    while !pull.is_stopping() {
        asker.turn(wall());
        let now = wall();
        let rest = Duration::from_millis(asker.next_turn(now).since(now));
        pull.wait(rest.min(REST_MAX));
    }
}
