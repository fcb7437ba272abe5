//! Durable accepts: 64 callers, each waiting for its answer, through the library and over HTTP, against Redis.
//!
//! # What it does not know
//!
//! Deliveries: what is accepted waits.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::server::{self, ServerConfig};

use super::lines::{self, CONNECTIONS, Peer};
use super::local::{self, BODIES, Bodies, DESTINATION, Gate, Local};
use super::measure;
use super::redis::Redis;
use super::table::Row;
use super::{Fail, KIB, Plan};

/// Messages of a round.
const MESSAGES: usize = 25_000;
/// The goal through the library, of Redis.
const GOAL: f64 = 1.0;
/// How long the requests that have begun may take when the server stops.
const REQUESTS_LIMIT: Duration = Duration::from_secs(5);

/// A row for the library, and one for HTTP.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(MESSAGES));
    let by_library = format!("accepts, {CONNECTIONS} callers, {bytes} B, library");
    let by_http = format!("accepts, {CONNECTIONS} callers, {bytes} B, HTTP");
    let Some(redis) = Redis::start(&local::fresh(plan))? else {
        let own = || Ok((library(plan, bytes, messages)?, http(plan, bytes, messages)?));
        let all = (0..plan.rounds).map(|_| own()).collect::<Result<Vec<(f64, f64)>, Fail>>()?;
        let absent = "redis-server is not on the path";
        return Ok(vec![
            Row::alone("accepts", by_library, all.iter().map(|(library, _)| *library), absent),
            Row::alone("accepts", by_http, all.iter().map(|(_, http)| *http), absent),
        ]);
    };
    let peer = redis.appends(&local::body(bytes, 0));
    let threads = peer.best(messages / 4)?;
    let bare = || {
        redis.empty()?;
        peer.ask(CONNECTIONS, threads, messages)
    };
    let against = format!("{} streams, appendfsync always, client on {threads} threads", redis.name);
    let rounds = measure::rounds(plan, &by_library, bare, || library(plan, bytes, messages))?;
    let library = Row::compared("accepts", by_library, &rounds, &against).goal(GOAL);
    let rounds = measure::rounds(plan, &by_http, bare, || http(plan, bytes, messages))?;
    Ok(vec![library, Row::compared("accepts", by_http, &rounds, &against)])
}

fn library(plan: &Plan, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let local = Local::start(plan, Gate::destination())?;
    let bodies = Bodies::of(bytes);
    measure::calls(CONNECTIONS, messages, || local::accept(local.engine(), 1, &bodies))
}

fn http(plan: &Plan, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let path = format!("/v1/send/{DESTINATION}");
    over_http(plan, |address| {
        let bodies = (0..BODIES).map(|number| local::body(bytes, number));
        let requests = bodies.map(|body| lines::post(address, &path, "application/json", &body)).collect();
        let peer = Peer { address, requests, whole: lines::accepted };
        let threads = peer.best(messages / 8)?;
        peer.ask(CONNECTIONS, threads, messages)
    })
}

/// Measures with a server in this process, whose messages wait.
pub(super) fn over_http(
    plan: &Plan,
    measure: impl FnOnce(std::net::SocketAddr) -> Result<f64, Fail>,
) -> Result<f64, Fail> {
    let local = Local::start(plan, Gate::destination())?;
    let server = server::start(local.engine().clone(), ServerConfig::new((Ipv4Addr::LOCALHOST, 0).into()))?;
    let measured = measure(server.addr());
    server.stop(REQUESTS_LIMIT);
    measured
}
