//! What waits for a time: retries, not before, deadlines, cycles; and the wall clock that jumps.
//!
//! # What holds
//!
//! * Intervals run on the monotonic clock. What is bound to the wall clock (not before, deadlines, cycles) is put right when that clock jumps.
//! * Each alarm rings once, and whatever it finds is put where it then waits.
//!
//! # What it does not know
//!
//! Who goes first, and how many may be out.

use super::lane::Entry;
use super::news::{Step, Who};
use super::schedule::{Scheduler, Taken};
use crate::model::wheel::Handle;
use crate::model::{Failed, Place, Queued, Stamp, State, WallMs};
use crate::store::Dest;

/// What is to happen at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Alarm {
    /// A retry: an interval.
    Retry(Who),
    /// Not before a wall time.
    NotBefore(Who, WallMs),
    /// A deadline, a wall time.
    Deadline(Who, WallMs),
    /// A lane's next cycle, a wall time.
    Cycle(Dest, WallMs),
    /// A lane's gate may open.
    Gate(Dest),
}

/// A wall clock that moves by more than this against the monotonic one has jumped.
pub(super) const JUMP_MS: i128 = 1_000;
/// How soon a deadline that passed during an attempt is looked at again.
const DEADLINE_AGAIN_MS: u64 = 100;
/// How long a message is left alone that could not be read or written.
const SET_BACK_MS: u64 = 60_000;

impl Scheduler {
    /// Puts an unfinished message where its state says that it waits.
    pub(super) fn stand(&mut self, who: Who, state: State, now: Stamp) {
        match state {
            State::Queued(Queued::Ready) => self.with_lane(who.dest, |lane| lane.ripen(who.entry)),
            State::Queued(Queued::NotBefore(at)) => {
                self.with_lane(who.dest, |lane| lane.defer(who.entry));
                self.wheel.insert(mono(at, now), Alarm::NotBefore(who, at));
            }
            State::Failed(Failed::Due(at)) => {
                self.with_lane(who.dest, |lane| lane.defer(who.entry));
                self.wheel.insert(mono(at, now), Alarm::Retry(who));
            }
            State::Queued(Queued::NextCycle) | State::Failed(Failed::NextCycle) => self.await_cycle(who, now),
            State::Queued(Queued::Held) | State::Failed(Failed::Held) => {
                self.with_lane(who.dest, |lane| lane.defer(who.entry));
            }
            // Nobody has it out any more, and its outcome could not be written: when it is claimed again, it is judged.
            State::Sending(_) => self.put_off(who, now),
            State::Delivered | State::Abandoned(_) => {}
        }
    }

    /// The same, once it awaits no keys.
    pub(super) fn await_or_stand(&mut self, who: Who, state: State, awaits: bool, now: Stamp) {
        if awaits { self.await_keys(who, state) } else { self.stand(who, state, now) }
    }

    /// A message that awaits keys, and then what its state says: it holds back the later ones of its own.
    pub(super) fn await_keys(&mut self, who: Who, state: State) {
        let Some(post) = self.posts.get_mut(usize::from(who.dest.0)) else { return };
        post.lane.defer(who.entry);
        post.awaiting.insert(who.entry.place, (who.entry.hash, state));
    }

    /// What the message awaited is met.
    pub(super) fn met(&mut self, dest: Dest, place: Place, now: Stamp) {
        let post = self.posts.get_mut(usize::from(dest.0));
        if let Some((hash, state)) = post.and_then(|post| post.awaiting.remove(&place)) {
            self.stand(Who { dest, entry: Entry { place, hash } }, state, now);
        }
    }

    fn await_cycle(&mut self, who: Who, now: Stamp) {
        let Some(post) = self.posts.get_mut(usize::from(who.dest.0)) else { return };
        let Some(cycle) = &post.cycle else {
            // Without a timetable any more, there is nothing to wait for.
            post.lane.ripen(who.entry);
            return;
        };
        post.lane.defer(who.entry);
        post.cycling.insert(who.entry.place, who.entry.hash);
        if post.cycle_alarm.is_none() {
            let at = cycle.after(now.wall);
            post.cycle_alarm = Some(at);
            self.wheel.insert(mono(at, now), Alarm::Cycle(who.dest, at));
        }
    }

    /// Rings every alarm whose time has come.
    pub(super) fn ring(&mut self, now: Stamp) {
        let mut due = Vec::new();
        self.wheel.advance(now.mono_ms, &mut due);
        for alarm in due {
            match alarm {
                Alarm::NotBefore(_, at) | Alarm::Deadline(_, at) | Alarm::Cycle(_, at) if at > now.wall => {
                    self.arm(alarm, mono(at, now));
                }
                Alarm::Retry(who) | Alarm::NotBefore(who, _) => self.with_lane(who.dest, |lane| lane.ripen(who.entry)),
                Alarm::Deadline(who, at) => self.pass_deadline(who, at, now),
                Alarm::Cycle(dest, _) => self.begin_cycle(dest),
                Alarm::Gate(dest) => {
                    if let Some(post) = self.posts.get_mut(usize::from(dest.0)) {
                        post.gate_alarm = None;
                    }
                }
            }
        }
    }

    fn begin_cycle(&mut self, dest: Dest) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        post.cycle_alarm = None;
        self.run_cycle(dest);
    }

    /// What waits for the next cycle goes now; the timetable stays as it is.
    pub(super) fn run_cycle(&mut self, dest: Dest) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        for (place, hash) in std::mem::take(&mut post.cycling) {
            post.lane.ripen(Entry { place, hash });
        }
    }

    fn pass_deadline(&mut self, who: Who, deadline: WallMs, now: Stamp) {
        self.deadlines.remove(&who.entry.place);
        match self.reserve(who.entry.place) {
            Ok(()) => self.steps.push_back(Step::Expire(who, deadline)),
            Err(Taken::Out | Taken::Reserved) => {
                self.arm(Alarm::Deadline(who, deadline), now.mono_ms.saturating_add(DEADLINE_AGAIN_MS));
            }
        }
    }

    /// A message that could not be given up: it goes on as before, and is looked at again.
    pub(super) fn unexpired(&mut self, who: Who, deadline: WallMs, now: Stamp) {
        self.forget(who.entry.place);
        self.arm(Alarm::Deadline(who, deadline), now.mono_ms.saturating_add(SET_BACK_MS));
    }

    /// A message that was out and cannot be read or written: it is tried again after a while.
    pub(super) fn set_back(&mut self, who: Who, now: Stamp) {
        self.claims.remove(&who.entry.place);
        self.put_off(who, now);
        self.come_home(who);
    }

    fn put_off(&mut self, who: Who, now: Stamp) {
        self.with_lane(who.dest, |lane| lane.defer(who.entry));
        self.arm(Alarm::Retry(who), now.mono_ms.saturating_add(SET_BACK_MS));
    }

    /// Gives the message up at its deadline.
    pub(super) fn arm_deadline(&mut self, who: Who, deadline: WallMs, now: Stamp) {
        self.arm(Alarm::Deadline(who, deadline), mono(deadline, now));
    }

    fn arm(&mut self, alarm: Alarm, mono_ms: u64) {
        let handle = self.wheel.insert(mono_ms, alarm);
        if let Alarm::Deadline(who, _) = alarm {
            self.deadlines.insert(who.entry.place, (handle, alarm));
        }
    }

    /// Its deadline binds it no more.
    pub(super) fn disarm_deadline(&mut self, place: Place) {
        if let Some((handle, _)) = self.deadlines.remove(&place) {
            self.wheel.cancel(handle);
        }
    }

    /// When the wall clock has jumped, what is bound to it is armed anew; intervals stay as they are.
    pub(super) fn notice_jump(&mut self, now: Stamp) {
        if (gap(now) - self.clock_gap_ms).abs() <= JUMP_MS {
            return;
        }
        self.clock_gap_ms = gap(now);
        let bound: Vec<(Handle, Alarm)> = self
            .wheel
            .iter()
            .filter(|(_, _, alarm)| matches!(alarm, Alarm::NotBefore(..) | Alarm::Deadline(..) | Alarm::Cycle(..)))
            .map(|(handle, _, alarm)| (handle, alarm))
            .collect();
        for (handle, alarm) in bound {
            self.wheel.cancel(handle);
            match alarm {
                Alarm::Cycle(dest, _) => self.rearm_cycle(dest, now),
                Alarm::NotBefore(_, at) | Alarm::Deadline(_, at) => self.arm(alarm, mono(at, now)),
                Alarm::Retry(_) | Alarm::Gate(_) => {}
            }
        }
    }

    fn rearm_cycle(&mut self, dest: Dest, now: Stamp) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        let Some(cycle) = &post.cycle else { return };
        let at = cycle.after(now.wall);
        post.cycle_alarm = Some(at);
        self.arm(Alarm::Cycle(dest, at), mono(at, now));
    }
}

/// How far the wall clock is ahead of the monotonic one.
pub(super) fn gap(now: Stamp) -> i128 {
    i128::from(now.wall.0) - i128::from(now.mono_ms)
}

/// The monotonic time of a wall time.
fn mono(at: WallMs, now: Stamp) -> u64 {
    now.mono_ms.saturating_add(at.since(now.wall))
}
