//! What has been counted since the start, for machines that watch: by destination, with no message's name in it.
//!
//! # What holds
//!
//! * Only the committer counts, with relaxed atomics; whoever reads waits for nobody, and nobody waits for who reads.
//! * What is kept is bounded by the number of destinations.
//! * A count of a histogram is the sum of its buckets: it is never seen halfway.
//!
//! # What it does not know
//!
//! How figures are spelled, and what stands where now: the store counts that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::draft::{Cause, Draft};
use super::history::{History, Minute};
use crate::model::{Abandoned, Class, Delivery, Stamp, State};
use crate::store::{Committed, Dest, Move, Moved};

/// Milliseconds up to which attempts and deliveries are told apart: from one that is answered at once to one that waited for a day.
const ATTEMPT_MS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];
const LATENCY_MS: [u64; 14] =
    [10, 50, 100, 250, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 86_400_000];
/// Microseconds of a commit, from its beginning until it is durable,
const COMMIT_US: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];
/// and how much is in it.
const COMMIT_SIZE: [u64; 9] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000];

const OUTCOMES: [Delivery; 4] = [Delivery::Delivered, Delivery::Retry, Delivery::Rejected, Delivery::Uncertain];
/// One more than there are classes: a delivery has none.
const REASONS: usize = Class::ALL.len() + 1;

/// Counted since the start.
pub(super) struct Figures {
    pub(super) commit: AtomicU64,
    /// Outcomes of which the message was something else by then.
    pub(super) late: AtomicU64,
    pub(super) started: Stamp,
    tallies: Vec<Tally>,
    commit_us: Buckets,
    commit_size: Buckets,
    history: Mutex<History>,
}

/// What was counted of one destination.
struct Tally {
    accepted: AtomicU64,
    superseded: AtomicU64,
    deadline_missed: AtomicU64,
    attempts: [[AtomicU64; REASONS]; OUTCOMES.len()],
    attempt_ms: Buckets,
    latency_ms: Buckets,
}

/// A histogram.
struct Buckets {
    bounds: &'static [u64],
    /// One for each bound, and one for what is above them all.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// What the engine has counted since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Of each destination that the registry has met, by its number.
    pub destinations: Vec<CountedOf>,
    /// How long commits took from their beginning until they were durable, in microseconds. Without threads nothing is measured.
    pub commit_us: Histogram,
    /// How many messages and steps a commit had.
    pub commit_size: Histogram,
}

/// What the engine has counted of one destination since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedOf {
    /// Its name.
    pub name: Arc<str>,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages whose place a newer one took.
    pub superseded: u64,
    /// Messages given up because their deadline passed.
    pub deadline_missed: u64,
    /// Attempts that ended so, with the class of the failure; those that there were.
    pub attempts: Vec<(Delivery, Option<Class>, u64)>,
    /// How long attempts took, in milliseconds.
    pub attempt_ms: Histogram,
    /// From acceptance to delivery, in milliseconds.
    pub latency_ms: Histogram,
}

/// How often something was how large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// The upper bounds, themselves included.
    pub bounds: &'static [u64],
    /// How many were within each bound and above the one before; the last are above all of them.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

impl Figures {
    /// Of so many destinations, nothing yet.
    pub(super) fn new(destinations: usize, started: Stamp) -> Figures {
        Figures {
            commit: AtomicU64::new(0),
            late: AtomicU64::new(0),
            started,
            tallies: (0..destinations).map(|_| Tally::new()).collect(),
            commit_us: Buckets::new(&COMMIT_US),
            commit_size: Buckets::new(&COMMIT_SIZE),
            history: Mutex::new(History::new(started)),
        }
    }

    /// Counts what a commit did.
    pub(super) fn count(&self, draft: &Draft, committed: &Committed) {
        let batch = &draft.batch;
        let mut minute = Minute::default();
        for (incoming, _) in batch.accepts.iter().zip(&committed.accepted) {
            minute.accepted += 1;
            if let Some(tally) = self.tally(incoming.dest) {
                increment(&tally.accepted);
                tally.end(incoming.state(&committed.accepted));
            }
        }
        for ((step, moved), cause) in batch.moves.iter().zip(&committed.moved).zip(&draft.causes) {
            if *moved != Moved::Done {
                continue;
            }
            minute.step(step);
            if let Some(tally) = self.tally(cause.who().dest) {
                tally.step(step);
                if let Some(latency_ms) = latency_ms(cause).filter(|_| step.to == State::Delivered) {
                    tally.latency_ms.add(latency_ms);
                    minute.delivered(latency_ms);
                }
            }
        }
        let size = batch.accepts.len() + batch.moves.len() + batch.deletes.len();
        self.commit_size.add(u64::try_from(size).unwrap_or(u64::MAX));
        self.history().add(minute, draft.now);
    }

    /// A commit became durable after so long.
    pub(super) fn committed(&self, took_us: u64) {
        self.commit_us.add(took_us);
    }

    /// The last hour, for as long as the guard lives.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages were accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.tallies.iter().map(|tally| read(&tally.accepted)).sum()
    }

    /// How many attempts ended,
    pub(super) fn attempts(&self) -> u64 {
        self.tallies.iter().flat_map(|tally| &tally.attempts).flatten().map(read).sum()
    }

    /// and how many of them with a delivery.
    pub(super) fn delivered(&self) -> u64 {
        let delivered = |tally: &Tally| tally.latency_ms.shown().count();
        self.tallies.iter().map(delivered).sum()
    }

    /// What was counted, of the destinations of these names.
    pub(super) fn shown(&self, names: &[Arc<str>]) -> Counted {
        Counted {
            destinations: names.iter().zip(&self.tallies).map(|(name, tally)| tally.shown(name)).collect(),
            commit_us: self.commit_us.shown(),
            commit_size: self.commit_size.shown(),
        }
    }

    fn tally(&self, dest: Dest) -> Option<&Tally> {
        self.tallies.get(usize::from(dest.0))
    }
}

impl Tally {
    fn new() -> Tally {
        Tally {
            accepted: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            deadline_missed: AtomicU64::new(0),
            attempts: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            attempt_ms: Buckets::new(&ATTEMPT_MS),
            latency_ms: Buckets::new(&LATENCY_MS),
        }
    }

    fn step(&self, step: &Move) {
        self.end(step.to);
        let Some(attempt) = &step.attempt else { return };
        self.attempt_ms.add(u64::from(attempt.duration_ms));
        let outcome = OUTCOMES.iter().position(|outcome| *outcome == attempt.outcome);
        let reason = attempt.class.and_then(|class| Class::ALL.iter().position(|known| *known == class));
        let counts = outcome.and_then(|outcome| self.attempts.get(outcome));
        if let Some(count) = counts.and_then(|counts| counts.get(reason.map_or(0, |reason| reason + 1))) {
            increment(count);
        }
    }

    fn end(&self, state: State) {
        match state {
            State::Abandoned(Abandoned::Superseded(_)) => increment(&self.superseded),
            State::Abandoned(Abandoned::Expired) => increment(&self.deadline_missed),
            State::Abandoned(Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Cancelled)
            | State::Queued(_)
            | State::Sending(_)
            | State::Delivered
            | State::Failed(_) => {}
        }
    }

    fn shown(&self, name: &Arc<str>) -> CountedOf {
        let reasons = || std::iter::once(None).chain(Class::ALL.into_iter().map(Some));
        let of = |(outcome, counts): (Delivery, &[AtomicU64; REASONS])| {
            let counts: Vec<u64> = counts.iter().map(read).collect();
            reasons().zip(counts).map(move |(reason, count)| (outcome, reason, count)).collect::<Vec<_>>()
        };
        let attempts = OUTCOMES.into_iter().zip(&self.attempts).flat_map(of);
        CountedOf {
            name: name.clone(),
            accepted: read(&self.accepted),
            superseded: read(&self.superseded),
            deadline_missed: read(&self.deadline_missed),
            attempts: attempts.filter(|(.., count)| *count > 0).collect(),
            attempt_ms: self.attempt_ms.shown(),
            latency_ms: self.latency_ms.shown(),
        }
    }
}

impl Buckets {
    fn new(bounds: &'static [u64]) -> Buckets {
        Buckets { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: u64) {
        if let Some(count) = self.counts.get(self.bounds.partition_point(|bound| *bound < value)) {
            increment(count);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn shown(&self) -> Histogram {
        Histogram { bounds: self.bounds, counts: self.counts.iter().map(read).collect(), sum: read(&self.sum) }
    }
}

impl Histogram {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How long the message had been accepted when its attempt ended.
fn latency_ms(cause: &Cause) -> Option<u64> {
    match cause {
        Cause::Report(report) => Some(report.ended.wall.since(report.loaded.message.id.accepted_at())),
        Cause::Act(..) | Cause::Claim(_) | Cause::Supersede(..) | Cause::Expire(..) => None,
    }
}

fn increment(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_within_the_bound_that_it_reaches() {
        let buckets = Buckets::new(&COMMIT_SIZE);
        [0, 1, 2, 3, 5, 1_000, 1_001].into_iter().for_each(|value| buckets.add(value));
        let shown = buckets.shown();
        assert_eq!((shown.counts, shown.sum), (vec![2, 1, 2, 0, 0, 0, 0, 0, 1, 1], 2_012));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [&ATTEMPT_MS[..], &LATENCY_MS, &COMMIT_US, &COMMIT_SIZE] {
            assert!(bounds.is_sorted_by(|one, next| one < next), "{bounds:?}");
        }
    }
}
