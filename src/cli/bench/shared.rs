//! Messages to three destinations with one body, as routes make them, against the same with a body each: how fast they are accepted, and what room
//! they take on the disk.
//!
//! # What it does not know
//!
//! Routes and deliveries: what is accepted waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::Destination;
use crate::model::{Body, Draft, Message};

use super::local::{Gate, Local, REQUEST};
use super::measure::{self, float};
use super::table::Row;
use super::{Fail, KIB, Plan};

/// Messages of a round.
const MESSAGES: usize = 45_000;
/// The bytes of a body.
const BYTES: usize = 4 * KIB;
/// Where each goes.
const NAMES: [&str; 3] = ["erp", "courier", "books"];
/// The goals: as fast at least, in less than half the room.
const RATE_MIN: f64 = 1.0;
const ROOM_MAX: f64 = 0.5;

/// A row for the rate, and one for the room.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let bytes = plan.size.unwrap_or(BYTES);
    let what = format!("accepts, {bytes} B to {} destinations, one body", NAMES.len());
    let rooms: [Mutex<Vec<f64>>; 2] = Default::default();
    let [each, one] = &rooms;
    let rounds = measure::rounds(plan, &what, || accepts(plan, each, false), || accepts(plan, one, true))?;
    let [each, one] = rooms.map(|rooms| rooms.into_inner().unwrap_or_else(PoisonError::into_inner));
    let ratios: Vec<f64> = one.iter().zip(&each).map(|(one, each)| one / each).collect();
    let room = format!("room, {bytes} B to {} destinations, one body, of that of a body each", NAMES.len());
    Ok(vec![
        Row::compared("shared", what, &rounds, "a body each").goal(RATE_MIN),
        Row::at_most("shared", room, "times", &ratios, ROOM_MAX),
    ])
}

/// Accepts messages, and takes down how many bytes of the disk each takes.
fn accepts(plan: &Plan, rooms: &Mutex<Vec<f64>>, is_one: bool) -> Result<f64, Fail> {
    let gate = |name: &str| Destination { concurrency: 1, ..Destination::new(name, Gate::default()) };
    let local = Local::with(plan, NAMES.map(gate).into())?;
    let (bytes, next) = (plan.size.unwrap_or(BYTES), AtomicUsize::new(0));
    let number = || next.fetch_add(1, Ordering::Relaxed);
    let rate = measure::calls(plan.producers, plan.messages.unwrap_or(MESSAGES), || {
        let drafts: Vec<Draft> = (0..REQUEST).flat_map(|_| fan_out(bytes, &number, is_one)).collect();
        let count = drafts.len();
        local.engine().accept_wait(drafts)?;
        Ok(count)
    })?;
    let stats = local.engine().stats();
    let room = float(stats.room.used_bytes) / float(stats.accepted.max(1));
    rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    Ok(rate)
}

/// One message for each destination, all with one body, or with one each.
fn fan_out(bytes: usize, number: &impl Fn() -> usize, is_one: bool) -> [Draft; NAMES.len()] {
    let body = || Body::from(format!("\"{:0width$}\"", number(), width = bytes.saturating_sub(2)).into_bytes());
    let one = is_one.then(body);
    NAMES.map(|name| Message::to(name).body(one.clone().unwrap_or_else(body)))
}
