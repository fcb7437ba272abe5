//! An engine in this process, over a registry in the scratch directory, and the messages that are handed to it.
//!
//! # What it does not know
//!
//! What is measured with it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::{Destination, Engine, Settings};
use crate::error::Error;
use crate::model::{Body, Class, Draft, Failure, Message, Outcome, Sent};
use crate::store::sled::{Options, SledStore};
use crate::transport::Transport;

use super::{Fail, Plan, failed};

/// Messages of a request, where they come in requests.
pub(super) const REQUEST: usize = 100;
/// The one destination.
pub(super) const DESTINATION: &str = "there";

/// The number of the next directory.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An engine that goes with this value, and its registry with it.
pub(super) struct Local {
    engine: Engine,
    dir: PathBuf,
}

impl Local {
    /// Starts an engine with one destination over an empty registry.
    pub(super) fn start(plan: &Plan, destination: Destination) -> Result<Local, Fail> {
        Local::with(plan, vec![destination])
    }

    /// Starts an engine with these destinations over an empty registry.
    pub(super) fn with(plan: &Plan, destinations: Vec<Destination>) -> Result<Local, Fail> {
        let dir = fresh(plan);
        let store = SledStore::open(&dir, Options::default()).map_err(Error::Store)?;
        let engine = Engine::start(Arc::new(store), destinations, Settings::default(), Vec::new())?;
        Ok(Local { engine, dir })
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Err(error) = self.engine.shutdown(Duration::ZERO) {
            log::warn!("the engine ended badly: {error}");
        }
        // What is left goes with the scratch directory.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// A path in the scratch directory that nobody has had.
pub(super) fn fresh(plan: &Plan) -> PathBuf {
    plan.scratch.join(format!("{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// How many bodies there are of each length: what lies beside each other is hardly ever the same, and shares nothing.
pub(super) const BODIES: usize = 61;

/// The text of this number, of so many bytes where that can be.
pub(super) fn words(bytes: usize, number: usize) -> String {
    format!("{:x<bytes$}", number % BODIES)
}

/// A body that is JSON, a string, of so many bytes where that can be.
pub(super) fn body(bytes: usize, number: usize) -> Body {
    format!("\"{}\"", words(bytes.saturating_sub(2), number)).into_bytes().into()
}

/// Bodies of one length, each another than the one before.
pub(super) struct Bodies {
    all: Vec<Body>,
    next: AtomicUsize,
}

impl Bodies {
    /// Bodies of so many bytes, where that can be.
    pub(super) fn of(bytes: usize) -> Bodies {
        Bodies { all: (0..BODIES).map(|number| body(bytes, number)).collect(), next: AtomicUsize::new(0) }
    }

    /// The next one.
    pub(super) fn next(&self) -> Body {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % BODIES;
        self.all.get(number).cloned().unwrap_or_else(|| [].into())
    }
}

/// So many messages.
pub(super) fn drafts(count: usize, bodies: &Bodies) -> Vec<Draft> {
    (0..count).map(|_| Message::to(DESTINATION).body(bodies.next())).collect()
}

/// Hands in so many messages, all or none.
pub(super) fn accept(engine: &Engine, count: usize, bodies: &Bodies) -> Result<usize, Fail> {
    engine.accept_wait(drafts(count, bodies))?;
    Ok(count)
}

/// A destination that lets nothing through until it is shut down: what is handed in for it waits.
#[derive(Default)]
pub(super) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// The destination behind it.
    pub(super) fn destination() -> Destination {
        Destination { concurrency: 1, ..Destination::new(DESTINATION, Gate::default()) }
    }
}

impl Transport for Gate {
    fn send(&self, _: &Message, deadline: Duration) -> Outcome {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(open, deadline, |open| !*open));
        Outcome::Failed(Failure::new(Class::Connect, Sent::No, "the gate is shut"))
    }

    fn shutdown(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// Waits until the engine has delivered so many.
pub(super) fn wait_delivered(engine: &Engine, count: usize, limit: Duration) -> Result<(), Fail> {
    let until = std::time::Instant::now() + limit;
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    while engine.stats().delivered < count {
        if std::time::Instant::now() > until {
            let delivered = engine.stats().delivered;
            return Err(failed(format!("{delivered} of {count} messages were delivered within {limit:?}")));
        }
        // What is waited for is looked at again; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
