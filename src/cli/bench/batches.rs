//! Batches: messages that go a hundred at a time over HTTP, against the same by themselves: whole lives, and delivering alone what waits.
//!
//! # What it does not know
//!
//! What the sink does.

use std::time::Instant;

use crate::engine::{BatchRule, Destination, Hand};
use crate::transport::http::Http;

use super::local::{self, Bodies, DESTINATION, Local, REQUEST};
use super::measure::{self, TIME_MAX};
use super::sink::Bare;
use super::table::Row;
use super::{Fail, Plan, lives};

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

/// A row for whole lives, and one for delivering alone what waits.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(BYTES), plan.messages.unwrap_or(MESSAGES));
    let sink = Bare::start()?;
    let url = format!("http://{}/", sink.address);
    let local = |batch| {
        let there = Destination { concurrency: OUT, batch, ..Destination::new(DESTINATION, Http::post(&url)) };
        Local::start(plan, there)
    };
    let together = Some(BatchRule { max: TOGETHER, wait_ms: 20 });
    let mut rows = Vec::new();
    for (what, measured) in [("whole lives", lives::through as Measured), ("delivering what waits", drained)] {
        let what = format!("{what} over HTTP in batches of {TOGETHER}, {bytes} B, {OUT} requests out at once");
        let run = |batch| measured(&local(batch)?, plan.producers, bytes, messages);
        let rounds = measure::rounds(plan, &what, || run(None), || run(together))?;
        rows.push(Row::compared("batches", what, &rounds, "single deliveries").goal(GOAL));
    }
    Ok(rows)
}

type Measured = fn(&Local, usize, usize, usize) -> Result<f64, Fail>;

/// Hands in so many messages to a paused destination, and says how many a second are delivered once it goes on.
fn drained(local: &Local, _: usize, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let (engine, bodies) = (local.engine(), Bodies::of(bytes));
    engine.steer_wait(DESTINATION, Hand::Pause)?;
    let mut accepted = 0;
    while accepted < messages {
        accepted += local::accept(engine, REQUEST.min(messages - accepted), &bodies)?;
    }
    let began = Instant::now();
    engine.steer_wait(DESTINATION, Hand::Resume)?;
    local::wait_delivered(engine, accepted, TIME_MAX * 6)?;
    Ok(measure::per_second(accepted, began.elapsed()))
}
