//! Keys: whole lives of messages with a key of their own each, where order binds and where only the latest counts, without and with versions,
//! against lanes without either.
//!
//! # What it does not know
//!
//! HTTP, and what messages of one key do to each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::engine::{Destination, Order};
use crate::model::Message;

use super::local::{self, Bodies, DESTINATION, Local, REQUEST};
use super::measure::{self, TIME_MAX};
use super::table::Row;
use super::{Fail, KIB, Plan};

/// Messages of a round.
const MESSAGES: usize = 50_000;
/// What is left of the rate, at least.
const GOAL: f64 = 0.8;

/// A row for each rule.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let ordered: fn(&mut Destination) = |destination| destination.order = Order::Key;
    let latest: fn(&mut Destination) = |destination| destination.latest_wins = true;
    let mut rows = Vec::new();
    let rules =
        [("order = key", ordered, false), ("latest_wins", latest, false), ("latest_wins, versions", latest, true)];
    for (name, rule, has_versions) in rules {
        let what = format!("distinct keys, {} B, {name}", plan.size.unwrap_or(KIB));
        let rounds = measure::rounds(plan, &what, || lives(plan, |_| (), false), || lives(plan, rule, has_versions))?;
        rows.push(Row::compared("keys", what, &rounds, "without").goal(GOAL));
    }
    Ok(rows)
}

fn lives(plan: &Plan, rule: impl FnOnce(&mut Destination), has_versions: bool) -> Result<f64, Fail> {
    let mut nowhere = Destination { concurrency: 1, ..Destination::new(DESTINATION, |_: &Message| ()) };
    rule(&mut nowhere);
    let local = Local::start(plan, nowhere)?;
    let (bodies, next) = (Bodies::of(plan.size.unwrap_or(KIB)), AtomicU64::new(0));
    let share = plan.messages.unwrap_or(MESSAGES).div_ceil(plan.producers.max(1));
    let keyed = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let draft = Message::to(DESTINATION).key(format!("sku-{number}")).body(bodies.next());
        if has_versions { draft.version(number) } else { draft }
    };
    let began = Instant::now();
    let accepted = measure::on_threads(plan.producers, |_| {
        let mut done = 0;
        while done < share && began.elapsed() < TIME_MAX {
            let drafts: Vec<_> = (0..REQUEST.min(share - done)).map(|_| keyed()).collect();
            done += drafts.len();
            local.engine().accept_wait(drafts)?;
        }
        Ok(done)
    })?;
    let accepted = accepted.into_iter().sum();
    local::wait_delivered(local.engine(), accepted, TIME_MAX * 6)?;
    Ok(measure::per_second(accepted, began.elapsed()))
}
