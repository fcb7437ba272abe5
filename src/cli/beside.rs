//! What runs beside the engine of a node: the server, and what brings messages in or compares what others have.
//!
//! # What holds
//!
//! * What cannot begin ends what has begun.
//!
//! # What it does not know
//!
//! How the parts work.

use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

use clap::ArgMatches;

use super::pulls::Pulls;
use super::reconcile::Reconciling;
use super::serve::server_config;
use super::spools::Spools;
use super::streams::Keeping;
use super::{Fail, STORE};
use crate::config::Config;
use crate::engine::Engine;
use crate::model::WallMs;
use crate::server::{self, Running};

/// What has begun.
#[derive(Default)]
pub(super) struct Beside {
    reconciling: Option<Reconciling>,
    running: Option<Running>,
    spools: Option<Spools>,
    pulls: Option<Pulls>,
    keeping: Option<Keeping>,
}

impl Beside {
    /// Begins all of it, and says where the server listens.
    ///
    /// # Errors
    /// The system gives no threads, or the address is taken; nothing of it runs.
    pub(super) fn start(
        engine: &Engine,
        config: &mut Config,
        arguments: &ArgMatches,
    ) -> Result<(Beside, SocketAddr), Fail> {
        let mut beside = Beside::default();
        match beside.begin(engine, config, arguments) {
            Ok(addr) => Ok((beside, addr)),
            Err(fail) => {
                beside.stop(Duration::ZERO);
                Err(fail)
            }
        }
    }

    fn begin(&mut self, engine: &Engine, config: &mut Config, arguments: &ArgMatches) -> Result<SocketAddr, Fail> {
        let reconciling =
            self.reconciling.insert(Reconciling::start(engine, std::mem::take(&mut config.reconcile), &config.peers)?);
        let asked = server_config(arguments, config, engine, reconciling);
        let addr = self.running.insert(server::start(engine.clone(), asked)?).addr();
        self.spools = Some(Spools::start(&config.sources, engine)?);
        self.pulls = Some(Pulls::start(&config.sources, engine)?);
        let streams = config.sources.callers().filter(|source| source.is_stream).map(|source| source.name.clone());
        self.keeping = Some(Keeping::begin(std::mem::take(&mut config.peers), streams.collect(), engine)?);
        Ok(addr)
    }

    /// Whether all of it runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_running)
            && self.pulls.as_ref().is_some_and(Pulls::are_running)
            && self.spools.as_ref().is_some_and(Spools::are_running)
            && self.reconciling.as_ref().is_some_and(Reconciling::is_running)
            && self.keeping.as_ref().is_some_and(Keeping::are_running)
    }

    /// Ends it: nothing more comes in.
    pub(super) fn stop(self, limit: Duration) {
        // What is being compared takes longest to notice.
        self.reconciling.iter().for_each(Reconciling::cut);
        self.keeping.into_iter().for_each(Keeping::end);
        if let Some(pulls) = &self.pulls {
            pulls.stop(limit);
        }
        if let Some(running) = self.running {
            running.stop(limit);
        }
        self.spools.into_iter().for_each(Spools::stop);
        self.reconciling.into_iter().for_each(Reconciling::stop);
    }
}

/// Begins a thread of this name.
///
/// # Errors
/// The system gives none.
pub(super) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fail> {
    let begun = Builder::new().name(name).spawn(work);
    begun.map_err(|error| Fail::new(STORE, format!("the system gives no thread: {error}")))
}

/// The time of day, for whoever works beside the engine.
pub(super) fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
