//! The last hour by minutes, and what is due in the next one: what a chart is drawn from.
//!
//! # What holds
//!
//! * Kept in memory only, an hour of it, whatever passes.
//! * Minutes run on the monotonic clock, carried on from the wall clock of the start: one that jumps tears no hole, and counts nothing twice.
//! * Latencies are kept in buckets that are a quarter of an octave wide: a quantile is the upper end of its bucket, at most a quarter too large.
//! * Looking ahead looks at [`LOOKED_AT_MAX`] timers at most.
//!
//! # What it does not know
//!
//! Destinations: it counts all of them together.

use std::collections::VecDeque;

use super::alarm::Alarm;
use super::schedule::Scheduler;
use crate::model::{Abandoned, Stamp, State, WallMs};
use crate::store::Move;

/// The minutes that are kept, and looked ahead.
const MINUTES: u64 = 60;
const MINUTE_MS: u64 = 60_000;
/// How many timers are looked at to see what is due: that takes a millisecond or two, in which the scheduler stands.
const LOOKED_AT_MAX: usize = 100_000;
/// The buckets of latencies: four an octave, up to twelve days.
const BUCKETS: usize = 120;

/// The last hour.
pub(super) struct History {
    started: Stamp,
    /// Minutes in which something happened, the oldest first.
    minutes: VecDeque<(u64, Minute)>,
}

/// What happened in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Minute {
    pub(super) accepted: u64,
    delivered: u64,
    failed: u64,
    abandoned: u64,
    latencies: [u32; BUCKETS],
}

/// The last hour by minutes, and what is due in the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chart {
    /// Sixty minutes, the oldest first; the last one is under way.
    pub minutes: Vec<Past>,
    /// Sixty minutes, the one that is under way first.
    pub due: Vec<Due>,
    /// Whether all timers were looked at: where there are too many, `due` has too few.
    pub is_due_whole: bool,
}

/// What happened in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Its beginning.
    pub at: WallMs,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages delivered by an attempt.
    pub delivered: u64,
    /// Attempts that failed and left their message to be tried again, or held.
    pub failed: u64,
    /// Messages given up: out of attempts, refused, or past their deadline. Not those that were cancelled or superseded.
    pub abandoned: u64,
    /// How long half of those that were delivered had taken at most, in milliseconds; `None` where none was.
    pub latency_p50_ms: Option<u64>,
    /// The same, for nineteen of twenty.
    pub latency_p95_ms: Option<u64>,
}

/// What is due in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its beginning.
    pub at: WallMs,
    /// Messages whose time comes then: of a retry, a `not_before`, or a cycle. Not what is ready and waits for room.
    pub messages: u64,
}

impl Default for Minute {
    fn default() -> Minute {
        Minute { accepted: 0, delivered: 0, failed: 0, abandoned: 0, latencies: [0; BUCKETS] }
    }
}

impl History {
    /// Nothing yet.
    pub(super) fn new(started: Stamp) -> History {
        History { started, minutes: VecDeque::new() }
    }

    /// Adds what happened at this moment.
    pub(super) fn add(&mut self, happened: Minute, now: Stamp) {
        let number = self.number(now);
        match self.minutes.back_mut() {
            Some((last, minute)) if *last >= number => minute.add(&happened),
            Some(_) | None => self.minutes.push_back((number, happened)),
        }
        while self.minutes.front().is_some_and(|(oldest, _)| number.saturating_sub(*oldest) >= MINUTES) {
            self.minutes.pop_front();
        }
    }

    /// The last sixty minutes.
    pub(super) fn shown(&self, now: Stamp) -> Vec<Past> {
        let newest = self.number(now);
        let minutes = (0..MINUTES).rev().map(|ago| {
            let number = newest.saturating_sub(ago);
            let found = self.minutes.iter().find(|(known, _)| *known == number).map(|(_, minute)| minute);
            let at = WallMs(begin(now.wall).0.saturating_sub(ago * MINUTE_MS));
            found.unwrap_or(&Minute::default()).shown(at)
        });
        minutes.collect()
    }

    /// The number of the minute, by a clock that never jumps.
    fn number(&self, now: Stamp) -> u64 {
        self.started.wall.0.saturating_add(now.mono_ms.saturating_sub(self.started.mono_ms)) / MINUTE_MS
    }
}

impl Minute {
    /// A step was taken; what was delivered is told with its latency.
    pub(super) fn step(&mut self, step: &Move) {
        match step.to {
            State::Failed(_) if step.attempt.is_some() => self.failed += 1,
            State::Abandoned(Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired) => self.abandoned += 1,
            State::Abandoned(Abandoned::Superseded(_) | Abandoned::Cancelled)
            | State::Failed(_)
            | State::Queued(_)
            | State::Sending(_)
            | State::Delivered => {}
        }
    }

    /// A message was delivered, so long after it was accepted.
    pub(super) fn delivered(&mut self, latency_ms: u64) {
        self.delivered += 1;
        if let Some(count) = self.latencies.get_mut(bucket(latency_ms)) {
            *count = count.saturating_add(1);
        }
    }

    fn add(&mut self, other: &Minute) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.abandoned += other.abandoned;
        for (count, more) in self.latencies.iter_mut().zip(other.latencies) {
            *count = count.saturating_add(more);
        }
    }

    fn shown(&self, at: WallMs) -> Past {
        Past {
            at,
            accepted: self.accepted,
            delivered: self.delivered,
            failed: self.failed,
            abandoned: self.abandoned,
            latency_p50_ms: self.latency_ms(50),
            latency_p95_ms: self.latency_ms(95),
        }
    }

    /// What so many of a hundred latencies did not exceed.
    fn latency_ms(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.latencies.iter().map(|count| u64::from(*count)).sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let reaches = |count: &u32| {
            seen += u64::from(*count);
            seen >= wanted
        };
        self.latencies.iter().position(reaches).map(bucket_end)
    }
}

impl Scheduler {
    /// What is due in each of the next sixty minutes, and whether all timers were looked at.
    pub(super) fn due(&self, now: Stamp) -> (Vec<Due>, bool) {
        let first = begin(now.wall);
        let at = |minute: u64| Due { at: first.plus(minute * MINUTE_MS), messages: 0 };
        let mut due: Vec<Due> = (0..MINUTES).map(at).collect();
        let (timers, is_whole) = self.wheel.look(LOOKED_AT_MAX);
        for (_, due_ms, alarm) in timers {
            let messages = match alarm {
                Alarm::Retry(_) | Alarm::NotBefore(..) => 1,
                Alarm::Cycle(dest, _) => u64::try_from(self.cycling(dest)).unwrap_or(u64::MAX),
                Alarm::Deadline(..) | Alarm::Gate(_) => 0,
            };
            let wall = now.wall.plus(due_ms.saturating_sub(now.mono_ms));
            let minute = usize::try_from(wall.since(first) / MINUTE_MS).unwrap_or(usize::MAX);
            if let Some(due) = due.get_mut(minute) {
                due.messages = due.messages.saturating_add(messages);
            }
        }
        (due, is_whole)
    }
}

fn begin(at: WallMs) -> WallMs {
    WallMs(at.0 - at.0 % MINUTE_MS)
}

/// The bucket of a latency: its two highest bits after the first say which quarter of its octave it is in.
fn bucket(ms: u64) -> usize {
    let number = match ms {
        0..4 => ms,
        _ => {
            let octave = u64::from(ms.ilog2());
            (octave - 1) * 4 + (ms >> (octave - 2) & 3)
        }
    };
    usize::try_from(number).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest latency of a bucket.
fn bucket_end(bucket: usize) -> u64 {
    let number = u64::try_from(bucket).unwrap_or(0);
    if number < 4 { number } else { ((5 + number % 4) << (number / 4 - 1)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_up_to_its_end() {
        for bucket_number in 0..BUCKETS - 1 {
            let end = bucket_end(bucket_number);
            assert_eq!((bucket(end), bucket(end + 1)), (bucket_number, bucket_number + 1), "{end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_never_too_small_and_at_most_a_quarter_too_large() {
        let mut minute = Minute::default();
        (1..=1_000).for_each(|ms| minute.delivered(ms));
        for (percent, exact) in [(50, 500), (95, 950)] {
            let told = minute.latency_ms(percent).expect("some were delivered");
            assert!(told >= exact && told <= exact * 5 / 4, "{percent} of a hundred: {told}");
        }
        assert_eq!(Minute::default().latency_ms(50), None);
    }

    #[test]
    fn an_hour_is_kept_also_where_the_wall_clock_jumps() {
        let at = |minute: u64, wall: u64| Stamp { wall: WallMs(wall), mono_ms: minute * MINUTE_MS };
        let began = 1_800_000_000_000 / MINUTE_MS * MINUTE_MS;
        let mut history = History::new(at(0, began));
        let one = Minute { accepted: 1, ..Minute::default() };
        for minute in 0..200 {
            // An hour back, and a day ahead.
            let jump = if minute % 2 == 0 { 86_400_000 } else { 0 };
            history.add(one.clone(), at(minute, began - 3_600_000 + jump));
        }
        assert_eq!(history.minutes.len(), 60);
        let shown = history.shown(at(199, began + 199 * MINUTE_MS));
        assert!(shown.iter().all(|past| past.accepted == 1));
        assert_eq!(shown.last().map(|past| past.at.0), Some(began + 199 * MINUTE_MS));
        let later = history.shown(at(230, began + 230 * MINUTE_MS));
        assert_eq!(later.iter().map(|past| past.accepted).sum::<u64>(), 29, "what is older than an hour is not shown");
    }
}
