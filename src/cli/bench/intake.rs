//! Intake of lines over HTTP, durable, against accepts of the same messages in this process.
//!
//! # What it does not know
//!
//! Deliveries: what is accepted waits.

use super::accepts::over_http;
use super::lines::{self, Peer};
use super::local::{self, Bodies, DESTINATION, Gate, Local, REQUEST};
use super::measure;
use super::table::Row;
use super::{Fail, KIB, Plan};

/// Messages of a round.
const MESSAGES: usize = 50_000;
/// The goal, of accepts in this process.
const GOAL: f64 = 0.7;

/// One row.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(MESSAGES));
    let what = format!("intake of lines in requests of {REQUEST}, {bytes} B, HTTP");
    let rounds =
        measure::rounds(plan, &what, || in_process(plan, bytes, messages), || over_lines(plan, bytes, messages))?;
    Ok(vec![Row::compared("intake", what, &rounds, "the same requests through the library").goal(GOAL)])
}

fn in_process(plan: &Plan, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let local = Local::start(plan, Gate::destination())?;
    let bodies = Bodies::of(bytes);
    measure::calls(plan.producers, messages, || local::accept(local.engine(), REQUEST, &bodies))
}

fn over_lines(plan: &Plan, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let requests = messages.div_ceil(REQUEST);
    let rate = over_http(plan, |address| {
        let request = lines::post(address, "/v1/messages", "application/x-ndjson", &ndjson(REQUEST, bytes, None));
        Peer { address, requests: vec![request], whole: lines::accepted }.ask(plan.producers, plan.producers, requests)
    })?;
    Ok(rate * f64::from(u16::try_from(REQUEST).unwrap_or(u16::MAX)))
}

/// So many envelopes, one a line; the first of these keys, where there are any, is the first line's.
pub(super) fn ndjson(count: usize, bytes: usize, keys: Option<(usize, usize)>) -> Vec<u8> {
    let mut all = Vec::with_capacity(count * (bytes + 64));
    for number in 0..count {
        all.extend_from_slice(format!("{{\"destination\":\"{DESTINATION}\",").as_bytes());
        if let Some((first, keys)) = keys {
            all.extend_from_slice(format!("\"key\":\"sku:{}\",", (first + number) % keys.max(1)).as_bytes());
        }
        all.extend_from_slice(b"\"body\":");
        all.extend_from_slice(&local::body(bytes, keys.map_or(0, |(first, _)| first) + number));
        all.extend_from_slice(b"}\n");
    }
    all
}
