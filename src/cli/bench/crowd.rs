//! Many destinations over HTTP: what one that hangs costs the others, and how many slow ones are kept busy.
//!
//! # What it does not know
//!
//! What the sink does, and how threads are shared out.

use std::time::Instant;

use crate::engine::Destination;
use crate::model::{Draft, Message};
use crate::transport::http::Http;

use super::local::{self, Bodies, Local, REQUEST};
use super::measure::{self, TIME_MAX};
use super::sink::Bare;
use super::table::Row;
use super::{Fail, KIB, Plan};

/// How many destinations share the machine with one that hangs.
const OTHERS: usize = 9;
/// Messages of a round for each of them.
const MESSAGES: usize = 4_000;
/// How long what hangs takes, in milliseconds: longer than any run.
const HANGS_MS: u64 = 3_600_000;
/// How many slow destinations there are, how many messages each has out, and how long each takes for one, in milliseconds.
const SLOW: usize = 100;
const SLOW_OUT: u16 = 4;
const SLOW_MS: u64 = 50;
/// Messages of a round for each slow one.
const SLOW_MESSAGES: usize = 320;
/// The goal of both.
const GOAL: f64 = 0.9;

/// Ten destinations of which one hangs, against the nine others by themselves.
pub(super) fn hung(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(MESSAGES));
    let sink = Bare::start()?;
    let others = || (0..OTHERS).map(|number| there(&sink, number, 0)).collect::<Vec<_>>();
    let without = || through(&Local::with(plan, others())?, OTHERS, bytes, messages);
    let what = format!("{OTHERS} destinations over HTTP, {bytes} B, beside one that hangs");
    let rounds = measure::rounds(plan, &what, without, || {
        let hanging = there(&sink, OTHERS, HANGS_MS);
        let name = hanging.name.clone();
        let local = Local::with(plan, others().into_iter().chain([hanging]).collect())?;
        for _ in 0..messages.div_ceil(REQUEST) {
            local.engine().accept_wait(drafts(&name, REQUEST, bytes))?;
        }
        through(&local, OTHERS, bytes, messages)
    })?;
    Ok(vec![Row::compared("hung", what, &rounds, "the same without it").goal(GOAL)])
}

/// Slow destinations, against what they could take.
pub(super) fn slow(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(SLOW_MESSAGES));
    let sink = Bare::start()?;
    let ideal = measure::per_second(SLOW * usize::from(SLOW_OUT), std::time::Duration::from_millis(SLOW_MS));
    let what = format!("{SLOW} destinations over HTTP, {bytes} B, {SLOW_MS} ms each, {SLOW_OUT} out at once");
    let own = || {
        let slow = |number| Destination { concurrency: SLOW_OUT, ..there(&sink, number, SLOW_MS) };
        through(&Local::with(plan, (0..SLOW).map(slow).collect())?, SLOW, bytes, messages)
    };
    let rounds = measure::rounds(plan, &what, || Ok(ideal), own)?;
    Ok(vec![Row::compared("slow", what, &rounds, "the ideal").goal(GOAL)])
}

fn there(sink: &Bare, number: usize, takes_ms: u64) -> Destination {
    Destination::new(name(number), Http::post(&format!("http://{}/{takes_ms}", sink.address)))
}

fn name(number: usize) -> String {
    format!("there-{number}")
}

fn drafts(name: &str, count: usize, bytes: usize) -> Vec<Draft> {
    let bodies = Bodies::of(bytes);
    (0..count).map(|_| Message::to(name).body(bodies.next())).collect()
}

/// Hands in so many messages for each of the first destinations, by turns, waits until all are delivered, and says how many a second that makes.
fn through(local: &Local, destinations: usize, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let began = Instant::now();
    let mut accepted = 0;
    let mut left = messages;
    while left > 0 && began.elapsed() < TIME_MAX {
        let step = REQUEST.min(left);
        for number in 0..destinations {
            local.engine().accept_wait(drafts(&name(number), step, bytes))?;
        }
        (left, accepted) = (left - step, accepted + step * destinations);
    }
    local::wait_delivered(local.engine(), accepted, TIME_MAX * 6)?;
    Ok(measure::per_second(accepted, began.elapsed()))
}
