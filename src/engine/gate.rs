//! What a destination lets through now: whether it is paused, its opening hours, the time it asked to be left alone, its rate, its breaker.
//!
//! # What holds
//!
//! * A shut gate burns no attempts: what waits behind it waits as it was.
//! * Whatever shuts it also says when to look again, unless only an attempt that is out can open it.
//! * A `Retry-After` binds the destination, not only the message that heard it.
//! * What was let through goes: a gate that shuts while a claim is being written down does not take it back.
//!
//! # What it does not know
//!
//! Which messages wait, and in which order they go.

use super::account::Turnstile;
use super::pause::{Cause, PROBE_MS, PROBE_MS_MAX, Pause};
use super::words::{Destination, Waits};
use crate::model::breaker::{Breaker, Phase, Turned};
use crate::model::policy::RETRY_AFTER_MS_MAX;
use crate::model::rate::Bucket;
use crate::model::timetable::Hours;
use crate::model::{Class, Delivery, Failure, Outcome, Sent, Stamp, WallMs};

/// The gate of one destination.
pub(super) struct Gate {
    limit: usize,
    pause: Option<Pause>,
    probe: Option<Probe>,
    hours: Hours,
    /// Closed from the first time, at which the hours were looked into, to the second, at which it opens.
    closed: Option<(WallMs, WallMs)>,
    bucket: Option<Bucket>,
    breaker: Option<Breaker>,
    /// Left alone until this time on the monotonic clock.
    asked_until_ms: u64,
}

/// How a paused destination is tried.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// When, on the monotonic clock.
    at_ms: u64,
    /// How long after that again.
    wait_ms: u64,
    is_out: bool,
}

/// How an attempt ended, as far as it concerns the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// It failed, or could not be reached.
    failed: bool,
    /// How long it asked to be left alone.
    asked_ms: u64,
    /// It said that too much came: that may be due to all destinations of its account.
    is_too_much: bool,
    /// Where chance comes from.
    seed: u64,
}

/// What a gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// So many.
    For(usize),
    /// None, for this reason; look again at this time on the monotonic clock, where a time opens it.
    Shut(Waits, Option<u64>),
}

impl Ended {
    /// What this outcome says of the destination; `None` where it says nothing: we stopped, or nothing that could leave was there.
    pub(super) fn of(outcome: &Outcome, seed: u64) -> Option<Ended> {
        match outcome {
            Outcome::Delivered(_) => Some(Ended { failed: false, asked_ms: 0, is_too_much: false, seed }),
            Outcome::Failed(failure) if is_ours(failure) => None,
            Outcome::Failed(failure) => Some(Ended {
                failed: is_its_fault(failure),
                asked_ms: failure.retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX),
                // A 503 is of this class too, and speaks for its own host alone.
                is_too_much: failure.class == Class::RateLimited && failure.status != Some(503),
                seed,
            }),
        }
    }

    /// How long its account was asked to be left alone.
    pub(super) fn asked_of_account_ms(self) -> u64 {
        if self.is_too_much { self.asked_ms } else { 0 }
    }
}

/// Whether the destination had no part in the failure.
pub(super) fn is_ours(failure: &Failure) -> bool {
    failure.class == Class::Interrupted || (failure.sent == Sent::No && failure.class.delivery() == Delivery::Rejected)
}

/// Whether the failure is one of the destination: it was not reached, did not answer, or says that it fails. One that refuses a message works.
fn is_its_fault(failure: &Failure) -> bool {
    match failure.sent {
        Sent::Maybe => true,
        Sent::No | Sent::Answered => failure.class.delivery() != Delivery::Rejected,
    }
}

impl Gate {
    /// The gate that these rules make.
    pub(super) fn new(rules: &Destination, now: Stamp) -> Gate {
        Gate {
            limit: usize::from(rules.concurrency.max(1)),
            pause: None,
            probe: None,
            hours: rules.hours.clone(),
            closed: None,
            bucket: rules.rate.map(|rate| Bucket::new(rate, now.mono_ms)),
            breaker: rules.breaker.map(Breaker::new),
            asked_until_ms: 0,
        }
    }

    /// Whether so much may be given out in advance as helps: not where each message must be weighed.
    pub(super) fn is_plain(rules: &Destination) -> bool {
        let is_shared = rules.account.as_ref().is_some_and(|account| Turnstile::weighs(account));
        rules.rate.is_none() && rules.breaker.is_none() && !is_shared
    }

    /// From now on it is paused, or is not.
    pub(super) fn set_pause(&mut self, pause: Option<Pause>) {
        (self.pause, self.probe) = (pause, None);
    }

    /// Why it is paused, if it is.
    pub(super) fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    /// What its breaker lets through, where it has one.
    pub(super) fn breaker(&self) -> Option<Phase> {
        self.breaker.as_ref().map(Breaker::phase)
    }

    /// Why nothing but a probe may go.
    fn paused(&mut self, out: usize, now: Stamp) -> Option<Room> {
        match self.pause.as_ref()?.cause {
            Cause::Person | Cause::Gone => Some(Room::Shut(Waits::Paused, None)),
            Cause::SetUp => {
                let first = || Probe { at_ms: now.mono_ms.saturating_add(PROBE_MS), wait_ms: PROBE_MS, is_out: false };
                let probe = self.probe.get_or_insert_with(first);
                probe.is_out &= out > 0;
                match (out, probe.at_ms) {
                    (0, at_ms) if at_ms <= now.mono_ms => None,
                    (0, at_ms) => Some(Room::Shut(Waits::Paused, Some(at_ms))),
                    (_, _) => Some(Room::Shut(Waits::Paused, None)),
                }
            }
        }
    }

    /// How many may go now, while so many are out.
    pub(super) fn room(&mut self, out: usize, now: Stamp) -> Room {
        if let Some(shut) = self.paused(out, now) {
            return shut;
        }
        let in_ms = |opens: WallMs| now.mono_ms.saturating_add(opens.since(now.wall));
        if let Some((_, opens)) = self.closed.filter(|(from, opens)| *from <= now.wall && now.wall < *opens) {
            return Room::Shut(Waits::Closed, Some(in_ms(opens)));
        }
        if !self.hours.is_open(now.wall) {
            let opens = self.hours.opens_at(now.wall);
            self.closed = opens.map(|opens| (now.wall, opens));
            return Room::Shut(Waits::Closed, opens.map(in_ms));
        }
        if now.mono_ms < self.asked_until_ms {
            return Room::Shut(Waits::Rate, Some(self.asked_until_ms));
        }
        let mut room = if self.pause.is_some() { 1 } else { usize::MAX };
        if let Some(breaker) = &self.breaker {
            room = room.min(breaker.permits(self.limit, now.mono_ms).saturating_sub(out));
            if room == 0 {
                return match breaker.phase() {
                    Phase::Open(until_ms) if out == 0 => Room::Shut(Waits::Breaker, Some(until_ms)),
                    Phase::Open(_) | Phase::Probing(_) | Phase::Ramp(..) => Room::Shut(Waits::Breaker, None),
                    Phase::Closed => Room::Shut(Waits::Concurrency, None),
                };
            }
        }
        if let Some(bucket) = &mut self.bucket {
            room = room.min(usize::try_from(bucket.room(now.mono_ms)).unwrap_or(usize::MAX));
            if room == 0 {
                return Room::Shut(Waits::Rate, Some(bucket.next_ms(now.mono_ms)));
            }
        }
        Room::For(room)
    }

    /// A message has gone.
    pub(super) fn went(&mut self, now: Stamp) {
        if let Some(probe) = &mut self.probe {
            probe.is_out = true;
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now.mono_ms);
        }
        if let Some(breaker) = &mut self.breaker {
            breaker.went(now.mono_ms);
        }
    }

    /// A message that was given out was not sent.
    pub(super) fn came_back(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.give_back();
        }
    }

    /// Nothing is out: a canary that never flew may be sent again.
    pub(super) fn is_idle(&mut self) {
        if let Some(breaker) = &mut self.breaker {
            breaker.came_back();
        }
    }

    /// An attempt has ended. What has turned by it.
    pub(super) fn ended(&mut self, ended: Ended, now: Stamp) -> Option<Turned> {
        if ended.asked_ms > 0 {
            self.asked_until_ms = self.asked_until_ms.max(now.mono_ms.saturating_add(ended.asked_ms));
        }
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.is_out) {
            let wait_ms = probe.wait_ms.saturating_mul(2).min(PROBE_MS_MAX);
            *probe = Probe { at_ms: now.mono_ms.saturating_add(wait_ms), wait_ms, is_out: false };
        }
        self.breaker.as_mut()?.ended(ended.failed, self.limit, ended.seed, now.mono_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::breaker::BreakerRule;
    use crate::model::rate::Rate;
    use crate::model::{Message, Receipt};

    const NOW: Stamp = Stamp { wall: WallMs(1_795_435_200_000), mono_ms: 1_000 };

    fn at(ms: u64) -> Stamp {
        Stamp { wall: NOW.wall.plus(ms), mono_ms: NOW.mono_ms + ms }
    }

    fn gate(rule: impl FnOnce(&mut Destination)) -> Gate {
        let mut rules = Destination::new("erp", |_: &Message| ());
        rule(&mut rules);
        Gate::new(&rules, NOW)
    }

    fn said(class: Class, sent: Sent, retry_after_ms: Option<u64>) -> Option<Ended> {
        Ended::of(&Outcome::Failed(Failure { retry_after_ms, ..Failure::new(class, sent, "no") }), 0)
    }

    fn failed(class: Class, sent: Sent, retry_after_ms: Option<u64>) -> Ended {
        said(class, sent, retry_after_ms).expect("it says something of the destination")
    }

    #[test]
    fn what_we_did_ourselves_says_nothing_of_the_destination() {
        assert_eq!(said(Class::Interrupted, Sent::Maybe, None), None);
        assert_eq!(said(Class::Rejected, Sent::No, None), None, "its body is gone: nobody was asked");
        assert!(said(Class::Rejected, Sent::Answered, None).is_some());
        assert!(said(Class::Connect, Sent::No, None).is_some());
    }

    #[test]
    fn a_pause_lets_nothing_through_and_one_for_the_set_up_a_probe_from_time_to_time() {
        let pause = |cause| Some(Pause { cause, who: String::new(), why: String::new(), at: NOW.wall });
        let mut gate = gate(|_| ());
        for cause in [Cause::Person, Cause::Gone] {
            gate.set_pause(pause(cause));
            assert_eq!(gate.room(0, at(1 << 40)), Room::Shut(Waits::Paused, None), "{cause:?}");
        }
        gate.set_pause(pause(Cause::SetUp));
        assert_eq!(gate.room(3, NOW), Room::Shut(Waits::Paused, None), "what is out comes home first");
        gate.ended(failed(Class::Setup, Sent::Answered, None), at(5));
        let first_ms = NOW.mono_ms + PROBE_MS;
        assert_eq!(gate.room(0, at(5)), Room::Shut(Waits::Paused, Some(first_ms)));
        assert_eq!(gate.room(0, at(PROBE_MS)), Room::For(1));
        gate.went(at(PROBE_MS));
        assert_eq!(gate.room(1, at(PROBE_MS)), Room::Shut(Waits::Paused, None));
        gate.ended(failed(Class::Setup, Sent::Answered, None), at(PROBE_MS));
        assert_eq!(gate.room(0, at(PROBE_MS)), Room::Shut(Waits::Paused, Some(first_ms + 2 * PROBE_MS)));
        gate.set_pause(None);
        assert_eq!(gate.room(0, at(PROBE_MS)), Room::For(usize::MAX));
    }

    #[test]
    fn a_plain_gate_is_open() {
        assert_eq!(gate(|_| ()).room(999, NOW), Room::For(usize::MAX));
    }

    #[test]
    fn a_destination_that_asks_is_left_alone_and_not_for_ever() {
        let mut gate = gate(|_| ());
        gate.ended(failed(Class::RateLimited, Sent::Answered, Some(5_000)), NOW);
        assert_eq!(gate.room(0, at(4_999)), Room::Shut(Waits::Rate, Some(6_000)));
        assert_eq!(gate.room(0, at(5_000)), Room::For(usize::MAX));
        gate.ended(failed(Class::RateLimited, Sent::Answered, Some(u64::MAX)), at(5_000));
        assert_eq!(gate.room(0, at(5_000 + RETRY_AFTER_MS_MAX)), Room::For(usize::MAX));
    }

    #[test]
    fn a_rate_gives_room_by_and_by() {
        let mut gate = gate(|rules| rules.rate = Some(Rate::new(10, 1_000)));
        assert_eq!(gate.room(0, NOW), Room::For(1));
        gate.went(NOW);
        assert_eq!(gate.room(1, NOW), Room::Shut(Waits::Rate, Some(1_100)));
        gate.came_back();
        assert_eq!(gate.room(0, NOW), Room::For(1));
    }

    #[test]
    fn a_breaker_shuts_probes_and_opens_and_a_refusal_is_no_failure_of_the_destination() {
        let rule = BreakerRule { failures: 3, window_ms: 30_000, probe_ms: 1_000 };
        let mut gate = gate(|rules| rules.breaker = Some(rule));
        for _ in 0..9 {
            assert_eq!(gate.ended(failed(Class::Rejected, Sent::Answered, None), NOW), None);
        }
        for _ in 0..90 {
            gate.ended(failed(Class::Connect, Sent::No, None), NOW);
        }
        assert_eq!(gate.room(0, NOW), Room::Shut(Waits::Breaker, Some(2_000)));
        assert_eq!(gate.room(0, at(1_000)), Room::For(1));
        gate.went(at(1_000));
        assert_eq!(gate.room(1, at(1_000)), Room::Shut(Waits::Breaker, None));
        gate.is_idle();
        assert_eq!(gate.room(0, at(1_000)), Room::For(1), "a canary that never flew is sent again");
        gate.went(at(1_000));
        let arrived = Ended::of(&Outcome::Delivered(Receipt::default()), 0).expect("it answered");
        gate.ended(arrived, at(1_010));
        assert_eq!(gate.room(0, at(1_010)), Room::For(2));
    }

    #[test]
    fn closed_hours_say_when_they_open() {
        let open = "Mon-Sun 13:00-14:00".parse().expect("hours");
        let mut gate = gate(|rules| rules.hours = Hours { open: Some(open), closed: Vec::new() });
        // Noon on a day in November 2026.
        assert_eq!(gate.room(0, NOW), Room::Shut(Waits::Closed, Some(3_601_000)));
        assert_eq!(gate.room(0, at(3_600_000)), Room::For(usize::MAX));
    }
}
