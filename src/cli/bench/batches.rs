//! Batches: whole lives of messages that go a hundred at a time over HTTP, against the same by themselves.
//!
//! # What it does not know
//!
//! What the sink does.

use crate::engine::{BatchRule, Destination};
use crate::transport::http::Http;

use super::local::{DESTINATION, Local};
use super::sink::Bare;
use super::table::Row;
use super::{Fail, Plan, lives, measure};

/// Messages of a round.
const MESSAGES: usize = 30_000;
/// Bytes of a body: what goes together is small.
const BYTES: usize = 200;
/// How many requests are out at once.
const OUT: u16 = 4;
/// How many messages go together.
const TOGETHER: u16 = 100;
/// The goal, of single deliveries.
const GOAL: f64 = 5.0;

/// A row.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(BYTES), plan.messages.unwrap_or(MESSAGES));
    let sink = Bare::start()?;
    let url = format!("http://{}/", sink.address);
    let through = |batch| {
        let there = Destination { concurrency: OUT, batch, ..Destination::new(DESTINATION, Http::post(&url)) };
        lives::through(&Local::start(plan, there)?, plan.producers, bytes, messages)
    };
    let what = format!("whole lives over HTTP in batches of {TOGETHER}, {bytes} B, {OUT} requests out at once");
    let together = Some(BatchRule { max: TOGETHER, wait_ms: 20 });
    let rounds = measure::rounds(plan, &what, || through(None), || through(together))?;
    Ok(vec![Row::compared("batches", what, &rounds, "single deliveries").goal(GOAL)])
}
