//! A destination that was down comes back to many messages: how fast they go, and that it never gets more than its rate.
//!
//! # What it does not know
//!
//! HTTP, and the arithmetic of rates: what came is counted by its times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Destination;
use crate::model::breaker::BreakerRule;
use crate::model::rate::Rate;
use crate::model::{Backoff, Message};

use super::local::{self, Bodies, DESTINATION, Local, REQUEST};
use super::measure::{self, TIME_MAX};
use super::table::Row;
use super::{Fail, KIB, Plan};

/// Messages that wait.
const MESSAGES: usize = 100_000;
/// How many it takes in a second.
const PER_SECOND: u32 = 5_000;
const SECOND: Duration = Duration::from_secs(1);
/// How many are out at once.
const OUT: u16 = 16;
/// It is left alone after so many failures in a row, and tried again after so long.
const BREAKER: BreakerRule = BreakerRule { failures: 5, window_ms: 30_000, probe_ms: 500 };
/// How much longer than the ideal it may take.
const SLACK: f64 = 1.2;

/// A row for the most that came within any second, and one for the time from the first that it took to the last.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(MESSAGES));
    let (is_up, came) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::with_capacity(messages))));
    let (up, ledger) = (is_up.clone(), came.clone());
    let take = move |_: &Message| {
        if !up.load(Ordering::Acquire) {
            return Err("down");
        }
        ledger.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        Ok(())
    };
    let mut there = Destination { concurrency: OUT, ..Destination::new(DESTINATION, take) };
    (there.rate, there.breaker) = (Some(Rate::new(PER_SECOND, 1_000)), Some(BREAKER));
    there.policy.retry.backoff = Backoff::Fixed(1_000);
    let local = Local::start(plan, there)?;
    let bodies = Bodies::of(bytes);
    let mut accepted = 0;
    while accepted < messages {
        accepted += local::accept(local.engine(), REQUEST.min(messages - accepted), &bodies)?;
    }
    is_up.store(true, Ordering::Release);
    local::wait_delivered(local.engine(), accepted, TIME_MAX * 6)?;
    let times = came.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let took = times.last().zip(times.first()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    let ideal_s = measure::float(u64::try_from(accepted).unwrap_or(u64::MAX)) / f64::from(PER_SECOND);
    let peak = format!("the most within a second, {accepted} wait when it comes back");
    let drain = format!("until the last of {accepted} at {PER_SECOND}/s, {ideal_s:.1} s at best");
    Ok(vec![
        Row::at_most("returning", peak, "/s", &[most_within(&times, SECOND)], f64::from(PER_SECOND)),
        Row::at_most("returning", drain, "s", &[took.as_secs_f64()], ideal_s * SLACK),
    ])
}

/// The most of these ascending times that lie within any window of this length.
fn most_within(times: &[Instant], window: Duration) -> f64 {
    let (mut most, mut first) = (0, times.iter().peekable());
    let mut within = 0_u64;
    for time in times {
        within += 1;
        while first.next_if(|oldest| time.duration_since(**oldest) >= window).is_some() {
            within -= 1;
        }
        most = most.max(within);
    }
    measure::float(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_window_is_found() {
        let start = Instant::now();
        let times: Vec<Instant> =
            [0, 10, 900, 1_000, 1_005, 1_899, 2_500].map(|ms| start + Duration::from_millis(ms)).into();
        assert!((most_within(&times, SECOND) - 4.0).abs() < f64::EPSILON, "{}", most_within(&times, SECOND));
    }
}
