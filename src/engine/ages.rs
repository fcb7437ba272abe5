//! Ages: how long what waits for each destination has been waiting, and when something last came or went.
//!
//! Kept by the committer with every message that begins or ceases to wait: a count for each second in which messages were accepted, and
//! nothing for each message.
//!
//! # What holds
//!
//! * Every message that is not final is counted once, from acceptance to its end: those that are tried, those that are held, those behind others.
//! * Ages run on the monotonic clock: a wall clock that jumps makes nobody late, and nobody young. Only a time before which a message was not to go
//!   is a wall time, and stays one. What a start finds has the age that its id says; one from the future is as old as the process.
//! * A message ceases to wait as it was counted: what a start found without its `not_before` is settled without it.
//! * Places rise in order of acceptance, so a place tells the second in which its message came, whatever the wall clock said then.
//! * A change costs two steps in a tree of seconds; what has become late is counted once, when it does.
//!
//! # What it does not know
//!
//! Why a message waits, what cannot be read, and whom it is told.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::model::forecast::Sample;
use crate::model::{Envelope, Id, Place, Stamp, State, WallMs};
use crate::store::{Dest, Unfinished};

/// The ages of all destinations.
pub(super) struct Ages {
    lines: Vec<Line>,
    started: Stamp,
}

/// A message, as far as its age is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aged {
    pub(super) dest: Dest,
    place: Place,
    accepted_at: WallMs,
    not_before: Option<WallMs>,
}

/// What waits for one destination.
#[derive(Debug, Default)]
struct Line {
    /// From the first place of each; they do not overlap, and their seconds rise with them.
    spans: BTreeMap<Place, Span>,
    /// How many were not to go before this wall second, which is after their acceptance.
    deferred: BTreeMap<u64, u64>,
    late_after_ms: Option<u64>,
    /// Everything in spans that begin here or before is late, and how much that is.
    late_to: Option<Place>,
    late: u64,
    waiting: u64,
    turned_late: u64,
    active_ms: u64,
    drained: u64,
    drains_in_ms: Option<u64>,
    /// The last message that a start found, where nothing can be late: of none up to it was read whether it was not to go before a time.
    untimed_to: Option<Place>,
}

/// Messages that were accepted within one second.
#[derive(Debug, Clone, Copy)]
struct Span {
    last: Place,
    at_s: u64,
    waiting: u64,
}

/// How one destination stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// How many messages wait: all that are not final.
    pub waiting: u64,
    /// When the oldest of them was accepted, or was first to go: the beginning of that second.
    pub oldest: Option<WallMs>,
    /// How many have waited longer than `late_after`.
    pub late: u64,
}

/// What a look at the time needs to know of one destination.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    pub(super) age: Age,
    /// How many have become late since the start, in all; it tells whether more have.
    pub(super) turned_late: u64,
    /// When something was last accepted or delivered, by [`Ages::steady_ms`].
    pub(super) active_ms: u64,
    /// How long it takes until all have gone that wait now, as far as that was foreseen.
    pub(super) drains_in_ms: Option<u64>,
    /// Where the oldest lies: in this range, the last one excluded. `None` where it was not to go before a time.
    pub(super) oldest_in: Option<(Place, Place)>,
}

impl Aged {
    /// The message of this envelope.
    pub(super) fn of(dest: Dest, place: Place, id: Id, envelope: &Envelope) -> Aged {
        Aged { dest, place, accepted_at: id.accepted_at(), not_before: envelope.not_before }
    }

    /// The wall second before which it was not to go, where that came after its acceptance.
    fn deferred_s(&self) -> Option<u64> {
        self.not_before.filter(|at| *at > self.accepted_at).map(|at| at.0 / 1_000)
    }
}

impl From<&Unfinished> for Aged {
    fn from(found: &Unfinished) -> Aged {
        let Unfinished { dest, place, accepted_at, not_before, .. } = *found;
        Aged { dest, place, accepted_at, not_before }
    }
}

impl Ages {
    /// Of so many destinations, each with the time after which its messages are late.
    pub(super) fn new(late_after_ms: impl Iterator<Item = Option<u64>>, started: Stamp) -> Ages {
        let line = |late_after_ms| Line { late_after_ms, active_ms: started.wall.0, ..Line::default() };
        Ages { lines: late_after_ms.map(line).collect(), started }
    }

    /// A clock that never jumps: the wall clock of the start, carried on by the monotonic one.
    pub(super) fn steady_ms(&self, now: Stamp) -> u64 {
        self.started.wall.0.saturating_add(now.mono_ms.saturating_sub(self.started.mono_ms))
    }

    /// A start found this message; they come in order of acceptance.
    pub(super) fn found(&mut self, message: Aged) {
        let at_s = message.accepted_at.min(self.started.wall).0 / 1_000;
        self.line(message.dest, |line| {
            if line.late_after_ms.is_none() {
                line.untimed_to = Some(message.place);
            }
            line.begins(message, at_s);
        });
    }

    /// A message was accepted.
    pub(super) fn accepted(&mut self, message: Aged, now: Stamp) {
        let steady_ms = self.steady_ms(now);
        self.line(message.dest, |line| {
            line.active_ms = steady_ms;
            line.begins(message, steady_ms / 1_000);
        });
    }

    /// An attempt took a message to this end.
    pub(super) fn ended(&mut self, dest: Dest, end: State, now: Stamp) {
        let steady_ms = self.steady_ms(now);
        self.line(dest, |line| {
            line.drained = line.drained.saturating_add(1);
            if end == State::Delivered {
                line.active_ms = steady_ms;
            }
        });
    }

    /// A step took a message to its end, or back from it.
    pub(super) fn moved(&mut self, message: Aged, was_final: bool, is_final: bool, now: Stamp) {
        match (was_final, is_final) {
            (false, true) => self.line(message.dest, |line| line.ends(message)),
            (true, false) => {
                let at_s = message.accepted_at.0.min(self.steady_ms(now)) / 1_000;
                self.line(message.dest, |line| line.returns(message, at_s));
            }
            (false, false) | (true, true) => {}
        }
    }

    /// Something came or went at this wall time, as the store remembers it.
    pub(super) fn was_active(&mut self, dest: Dest, at: WallMs) {
        let at_ms = at.min(self.started.wall).0;
        self.line(dest, |line| line.active_ms = at_ms);
    }

    /// How a destination stands.
    pub(super) fn standing(&mut self, dest: Dest, now: Stamp) -> Standing {
        let steady_ms = self.steady_ms(now);
        let Some(line) = self.lines.get_mut(usize::from(dest.0)) else { return Standing::default() };
        line.advance(steady_ms);
        let deferred_late = line.deferred_late(now.wall);
        let first = line.spans.first_key_value();
        let ago_ms = |span: &Span| steady_ms.saturating_sub(span.at_s * 1_000);
        let accepted = first.map(|(_, span)| WallMs(now.wall.0.saturating_sub(ago_ms(span))));
        let deferred = line.deferred.first_key_value().map(|(at_s, _)| WallMs(at_s * 1_000));
        let oldest = accepted.into_iter().chain(deferred).min();
        let after = |place: Place| Place::from_u64(place.to_u64().saturating_add(1));
        Standing {
            age: Age { waiting: line.waiting, oldest, late: line.late.saturating_add(deferred_late) },
            turned_late: line.turned_late.saturating_add(deferred_late),
            active_ms: line.active_ms,
            drains_in_ms: line.drains_in_ms.filter(|_| line.waiting > 0),
            oldest_in: first.filter(|_| accepted == oldest).map(|(first, span)| (*first, after(span.last))),
        }
    }

    /// How many attempts have brought to their end, and who waits that need not wait for a time of their own.
    pub(super) fn sample(&self, dest: Dest, now: Stamp) -> Sample {
        let (steady_ms, now_s) = (self.steady_ms(now), now.wall.0 / 1_000);
        let at = Sample { at_ms: now.mono_ms, drained: 0, waiting: 0, newest_ms: 0 };
        let Some(line) = self.lines.get(usize::from(dest.0)) else { return at };
        let deferred = line.deferred.range(now_s + 1..).map(|(_, count)| count).sum();
        let ago_ms = |at_s: u64, now_ms: u64| now_ms.saturating_sub(at_s.saturating_add(1).saturating_mul(1_000));
        let accepted = line.spans.last_key_value().map(|(_, span)| ago_ms(span.at_s, steady_ms));
        let due = line.deferred.range(..=now_s).next_back().map(|(at_s, _)| ago_ms(*at_s, now.wall.0));
        Sample {
            drained: line.drained,
            waiting: line.waiting.saturating_sub(deferred),
            newest_ms: accepted.into_iter().chain(due).min().unwrap_or(0),
            ..at
        }
    }

    /// Remembers how long it takes until all have gone that wait for a destination; `None` where that is not known.
    pub(super) fn foresee(&mut self, dest: Dest, drains_in_ms: Option<u64>) {
        self.line(dest, |line| line.drains_in_ms = drains_in_ms);
    }

    /// When the next message becomes late, on the monotonic clock, as the wall clock now stands.
    pub(super) fn next_late(&self, now: Stamp) -> Option<u64> {
        let mono = |steady_ms: u64| self.started.mono_ms.saturating_add(steady_ms.saturating_sub(self.started.wall.0));
        let next = |line: &Line| {
            let after_ms = line.late_after_ms?;
            let late_ms = |at_s: &u64| at_s.saturating_mul(1_000).saturating_add(1_000).saturating_add(after_ms);
            let spans = line.spans.range((line.late_to.map_or(Unbounded, Excluded), Unbounded));
            let accepted = spans.map(|(_, span)| mono(late_ms(&span.at_s))).next();
            let wall_to_mono = |at_ms: u64| now.mono_ms.saturating_add(at_ms.saturating_sub(now.wall.0));
            let deferred = line.deferred.keys().map(late_ms).find(|at_ms| *at_ms > now.wall.0).map(wall_to_mono);
            accepted.into_iter().chain(deferred).min()
        };
        self.lines.iter().filter_map(next).min()
    }

    fn line(&mut self, dest: Dest, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.get_mut(usize::from(dest.0)) {
            change(line);
        }
    }
}

impl Line {
    /// The wall second under which it counts, where it was not to go before one.
    fn deferred_s(&self, message: Aged) -> Option<u64> {
        message.deferred_s().filter(|_| self.untimed_to.is_none_or(|last| message.place > last))
    }

    /// A message begins to wait that is newer than all before.
    fn begins(&mut self, message: Aged, at_s: u64) {
        self.waiting += 1;
        if let Some(deferred_s) = self.deferred_s(message) {
            *self.deferred.entry(deferred_s).or_default() += 1;
            return;
        }
        if let Some(mut newest) = self.spans.last_entry() {
            let span = newest.get_mut();
            if span.at_s >= at_s {
                (span.last, span.waiting) = (message.place, span.waiting + 1);
                let is_late = self.late_to.is_some_and(|late_to| *newest.key() <= late_to);
                return self.count_late(is_late, 1);
            }
        }
        self.spans.insert(message.place, Span { last: message.place, at_s, waiting: 1 });
    }

    /// A message that had ended waits again: with those that came when it did.
    fn returns(&mut self, message: Aged, at_s: u64) {
        self.waiting += 1;
        if let Some(deferred_s) = self.deferred_s(message) {
            *self.deferred.entry(deferred_s).or_default() += 1;
            return;
        }
        let at = match self.spans.range_mut(..=message.place).next_back() {
            Some((first, span)) if message.place <= span.last => {
                span.waiting += 1;
                *first
            }
            before => {
                let before_s = before.map_or(0, |(_, span)| span.at_s);
                let after = self.spans.range((Excluded(message.place), Unbounded)).next();
                let after_s = after.map_or(u64::MAX, |(_, span)| span.at_s);
                let at_s = at_s.min(after_s).max(before_s);
                self.spans.insert(message.place, Span { last: message.place, at_s, waiting: 1 });
                message.place
            }
        };
        let is_late = self.late_to.is_some_and(|late_to| at <= late_to);
        self.count_late(is_late, 1);
    }

    /// A message waits no more.
    fn ends(&mut self, message: Aged) {
        if let Some(deferred_s) = self.deferred_s(message) {
            if let Some(count) = self.deferred.get_mut(&deferred_s) {
                self.waiting = self.waiting.saturating_sub(1);
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.deferred.remove(&deferred_s);
                }
            }
            return;
        }
        let found = self.spans.range_mut(..=message.place).next_back();
        // One that could not be read at the start was never counted.
        let Some((first, span)) = found.filter(|(_, span)| message.place <= span.last) else { return };
        let first = *first;
        span.waiting -= 1;
        if span.waiting == 0 {
            self.spans.remove(&first);
        }
        self.waiting = self.waiting.saturating_sub(1);
        if self.late_to.is_some_and(|late_to| first <= late_to) {
            self.late = self.late.saturating_sub(1);
        }
    }

    /// Counts what has become late by this steady time. What is late stays so until its end.
    fn advance(&mut self, steady_ms: u64) {
        let Some(after_ms) = self.late_after_ms else { return };
        loop {
            let next = self.spans.range((self.late_to.map_or(Unbounded, Excluded), Unbounded)).next();
            let Some((first, span)) = next.filter(|(_, span)| is_past(span.at_s, after_ms, steady_ms)) else { return };
            let (first, waiting) = (*first, span.waiting);
            self.late_to = Some(first);
            self.count_late(true, waiting);
        }
    }

    fn count_late(&mut self, is_late: bool, messages: u64) {
        if is_late {
            self.late = self.late.saturating_add(messages);
            self.turned_late = self.turned_late.saturating_add(messages);
        }
    }

    fn deferred_late(&self, now: WallMs) -> u64 {
        let Some(after_ms) = self.late_after_ms else { return 0 };
        self.deferred.iter().take_while(|(at_s, _)| is_past(**at_s, after_ms, now.0)).map(|(_, count)| count).sum()
    }
}

/// Whether all of that second is longer ago than `after_ms`.
fn is_past(at_s: u64, after_ms: u64, now_ms: u64) -> bool {
    at_s.saturating_mul(1_000).saturating_add(999).saturating_add(after_ms) < now_ms
}

#[cfg(test)]
mod tests;
