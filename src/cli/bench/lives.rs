//! Whole lives: accepted in requests, sent over a transport that does nothing, delivered, all durable.
//!
//! # What it does not know
//!
//! HTTP.

use std::time::Instant;

use crate::engine::Destination;
use crate::model::{Message, OnUncertain, Policy};

use super::local::{self, Bodies, DESTINATION, Local, REQUEST};
use super::measure::{self, TIME_MAX};
use super::table::Row;
use super::{Fail, KIB, Plan, bare};

/// Bytes, messages of a round, whether claims are durable, the goal.
const CASES: &[(usize, usize, OnUncertain, f64)] = &[
    (200, 100_000, OnUncertain::Retry, 1.5),
    (KIB, 50_000, OnUncertain::Retry, 0.9),
    (8 * KIB, 10_000, OnUncertain::Retry, 0.7),
    (KIB, 50_000, OnUncertain::Hold, 0.5),
];

/// How many may be out where claims are durable.
const CLAIMED: u16 = 64;

/// A row for each case; with a size of the caller's, one without a durable claim and one with it.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let mut rows = Vec::new();
    for (bytes, messages, on_uncertain, goal) in CASES {
        // The caller's size stands for the ordinary one; the others do not show anything more then.
        if plan.size.is_some() && *bytes != KIB {
            continue;
        }
        let bytes = plan.size.unwrap_or(*bytes);
        let messages = plan.messages.unwrap_or(*messages);
        let durable = if matches!(on_uncertain, OnUncertain::Hold) { ", durable claim" } else { "" };
        let what = format!("whole lives, {bytes} B{durable}");
        let rounds = measure::rounds(
            plan,
            &what,
            || bare::inserts(&local::fresh(plan), bytes, messages),
            || lives(plan, bytes, messages, *on_uncertain),
        )?;
        rows.push(Row::compared("lives", what, &rounds, "plain inserts, not flushed").goal(*goal));
    }
    Ok(rows)
}

fn lives(plan: &Plan, bytes: usize, messages: usize, on_uncertain: OnUncertain) -> Result<f64, Fail> {
    let policy = Policy { on_uncertain, ..Policy::default() };
    // With a durable claim nothing is given in advance, so as many are claimed together as may be out.
    let concurrency = if on_uncertain == OnUncertain::Retry { 1 } else { CLAIMED };
    let nowhere = Destination { concurrency, policy, ..Destination::new(DESTINATION, |_: &Message| ()) };
    through(&Local::start(plan, nowhere)?, plan.producers, bytes, messages)
}

/// Hands in so many messages, waits until all are delivered, and says how many a second that makes.
pub(super) fn through(local: &Local, producers: usize, bytes: usize, messages: usize) -> Result<f64, Fail> {
    let bodies = Bodies::of(bytes);
    let began = Instant::now();
    let share = messages.div_ceil(producers.max(1));
    let accepted = measure::on_threads(producers, |_| {
        let mut done = 0;
        while done < share && began.elapsed() < TIME_MAX {
            done += local::accept(local.engine(), REQUEST.min(share - done), &bodies)?;
        }
        Ok(done)
    })?;
    let accepted = accepted.into_iter().sum();
    local::wait_delivered(local.engine(), accepted, TIME_MAX * 6)?;
    Ok(measure::per_second(accepted, began.elapsed()))
}
