//! The node of the demo: an engine on the embedded store, and its server.
//!
//! # What it does not know
//!
//! What the node is asked to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::Fail;
use super::place::Place;
use super::plan::VISITOR;
use crate::config::{Config, Role};
use crate::engine::Engine;
use crate::error::Error;
use crate::server::{self, Running, ServerConfig};
use crate::store::sled::{Options, SledStore};

/// How long requests and deliveries that are under way may take to end.
const REQUESTS_LIMIT: Duration = Duration::from_secs(2);
const DELIVERIES_LIMIT: Duration = Duration::from_secs(10);

/// A node that runs.
pub(super) struct Host {
    pub(super) engine: Engine,
    running: Running,
    /// Why it does not listen where it usually does.
    pub(super) moved: Option<String>,
}

impl Host {
    /// Opens the registry, and listens at `listen`; where nobody named one at `usual`, or, if that cannot be had, at a free port.
    pub(super) fn start(
        config: Config,
        place: &Place,
        listen: Option<SocketAddr>,
        usual: SocketAddr,
    ) -> Result<Host, Fail> {
        let store = SledStore::open(&place.registry(), Options::default()).map_err(Error::Store)?;
        let engine = Engine::start(Arc::new(store), config.destinations, config.settings, config.alerts)?;
        let mut server = ServerConfig::new(listen.unwrap_or(usual));
        server.tokens = config.tokens;
        server.destinations = engine.destinations().iter().map(ToString::to_string).collect();
        let mut started = server::start(engine.clone(), server.clone()).map(|running| (running, None));
        if let (Err(error), None) = (&started, listen) {
            let moved = Some(error.to_string());
            server.listen.set_port(0);
            started = server::start(engine.clone(), server).map(|running| (running, moved));
        }
        match started {
            Ok((running, moved)) => Ok(Host { engine, running, moved }),
            Err(error) => {
                engine.shutdown(Duration::ZERO)?;
                Err(error.into())
            }
        }
    }

    /// The address of the node.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.running.addr())
    }

    /// A link that lets the visitor into the console, once.
    pub(super) fn link(&self) -> Result<String, Fail> {
        let code = self.running.one_time_code(VISITOR, Role::Admin)?;
        Ok(format!("{}/console#/login?code={code}", self.url()))
    }

    /// Takes nothing new, lets what is out come home, and closes the registry.
    pub(super) fn stop(self) -> Result<(), Fail> {
        self.running.stop(REQUESTS_LIMIT);
        Ok(self.engine.shutdown(DELIVERIES_LIMIT)?)
    }
}
