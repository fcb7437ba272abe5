//! The bare limits: the storage engine and the HTTP client by themselves, doing as little as can be done.
//!
//! # What it does not know
//!
//! goniec.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::measure::{TIME_MAX, per_second};
use super::{Fail, failed};

/// What the storage engine may keep of its pages in memory, in bytes: twice what goniec gives it.
const CACHE_BYTES: u64 = 64 << 20;
/// How many inserts go between two looks at the clock.
const STEP: usize = 256;

/// Inserts rows of so many bytes from one thread, in ascending order, without a flush; so many a second.
pub(super) fn inserts(dir: &Path, bytes: usize, count: usize) -> Result<f64, Fail> {
    let error = |error: sled::Error| failed(format!("the plain inserts failed: {error}"));
    let db = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open().map_err(error)?;
    let body = vec![b'x'; bytes];
    let began = Instant::now();
    let mut done = 0;
    while done < count && began.elapsed() < TIME_MAX {
        let until = count.min(done + STEP);
        for number in done..until {
            db.insert(number.to_be_bytes(), body.as_slice()).map_err(error)?;
        }
        done = until;
    }
    let rate = per_second(done, began.elapsed());
    drop(db);
    // What is left goes with the scratch directory.
    drop(std::fs::remove_dir_all(dir));
    Ok(rate)
}

/// The one address, found at no cost.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

/// A bare client with the best settings: a resolver of its own, and connections that all stay.
pub(super) struct Caller {
    agent: Agent,
    url: String,
    body: Vec<u8>,
}

impl Caller {
    /// A caller of this address.
    pub(super) fn new(address: SocketAddr, bytes: usize) -> Caller {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(256)
            .max_idle_connections_per_host(256)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Fixed(address));
        Caller { agent, url: format!("http://{address}/"), body: vec![b'x'; bytes] }
    }

    /// Posts once, and reads the answer.
    pub(super) fn call(&self) -> Result<(), Fail> {
        let error = |error: ureq::Error| failed(format!("the bare client failed: {error}"));
        let request = self.agent.post(&self.url).content_type("application/json");
        let mut answer = request.send(self.body.as_slice()).map_err(error)?;
        answer.body_mut().read_to_vec().map_err(error)?;
        Ok(())
    }
}
