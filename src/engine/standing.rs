//! How messages and lanes stand: why something has not gone, and what waits for what.
//!
//! # What holds
//!
//! * Looking changes nothing: a reason is that of the last time at which the lane was asked.
//!
//! # What it does not know
//!
//! Who asks.

use std::collections::HashMap;

use super::alarm::Alarm;
use super::gate::Gate;
use super::news::Who;
use super::pause::Pause;
use super::schedule::Scheduler;
use super::words::Waits;
use crate::model::breaker::Phase;
use crate::model::{Failed, Place, Queued, State, WallMs};
use crate::store::Dest;

impl Scheduler {
    /// Why the message has not gone out, and when it is due where that is a time.
    pub(super) fn waits(&self, who: Who, state: State, now: WallMs) -> (Option<Waits>, Option<WallMs>) {
        let Some(post) = self.posts.get(usize::from(who.dest.0)) else { return (Some(Waits::Paused), state.due()) };
        let ready = || match &post.lane {
            lane if !lane.is_open() || post.gate.as_ref().is_some_and(|gate| gate.pause().is_some()) => Waits::Paused,
            lane if lane.is_behind(who.entry) => Waits::KeyOrder,
            _ if post.shut.is_some() => post.shut.unwrap_or(Waits::Due),
            lane if lane.is_full() => Waits::Concurrency,
            _ => Waits::Due,
        };
        match state {
            State::Sending(_) | State::Delivered | State::Abandoned(_) => (None, None),
            State::Queued(Queued::Held) | State::Failed(Failed::Held) => (Some(Waits::Held), None),
            State::Queued(_) | State::Failed(_) if post.awaiting.contains_key(&who.entry.place) => {
                (Some(Waits::After), None)
            }
            State::Queued(Queued::NotBefore(at)) if at > now => (Some(Waits::NotBefore), Some(at)),
            State::Failed(Failed::Due(at)) if at > now => (Some(Waits::Due), Some(at)),
            State::Queued(Queued::NotBefore(at)) | State::Failed(Failed::Due(at)) => (Some(ready()), Some(at)),
            State::Queued(Queued::NextCycle) | State::Failed(Failed::NextCycle)
                if post.cycling.contains_key(&who.entry.place) =>
            {
                (Some(Waits::NextCycle), post.cycle_alarm)
            }
            // Its cycle has begun.
            State::Queued(Queued::NextCycle) | State::Failed(Failed::NextCycle) => (Some(ready()), None),
            State::Queued(Queued::Ready) => (Some(ready()), None),
        }
    }

    /// How a lane stands: why it is paused, why nothing goes, how many are out, when its cycle begins.
    pub(super) fn standing(&self, dest: Dest) -> (Option<Pause>, Option<Waits>, usize, Option<WallMs>) {
        let Some(post) = self.posts.get(usize::from(dest.0)) else { return (None, Some(Waits::Paused), 0, None) };
        let pause = post.gate.as_ref().and_then(Gate::pause).cloned();
        let shut = if post.gate.is_none() || pause.is_some() { Some(Waits::Paused) } else { post.shut };
        (pause, shut, post.lane.out(), post.cycle_alarm)
    }

    /// What a lane's breaker lets through, where it has one.
    pub(super) fn breaker(&self, dest: Dest) -> Option<Phase> {
        self.posts.get(usize::from(dest.0))?.gate.as_ref()?.breaker()
    }

    /// How many of a lane wait for its cycle.
    pub(super) fn cycling(&self, dest: Dest) -> usize {
        self.posts.get(usize::from(dest.0)).map_or(0, |post| post.cycling.len())
    }

    /// How many of a lane wait for its cycle, or for keys.
    pub(super) fn deferred(&self, dest: Dest) -> usize {
        self.posts.get(usize::from(dest.0)).map_or(0, |post| post.cycling.len() + post.awaiting.len())
    }

    /// Whether it was its account that let nothing through.
    pub(super) fn is_shut_by_account(&self, dest: Dest) -> bool {
        self.posts.get(usize::from(dest.0)).is_some_and(|post| post.shut.is_some() && post.is_shut_by_account)
    }

    /// How often each message is waited for, wherever that is: for checks of the whole. Held ones wait for nobody.
    pub(super) fn wakes(&self) -> HashMap<Place, u32> {
        let mut wakes = HashMap::new();
        let mut count = |place: Place| *wakes.entry(place).or_insert(0) += 1;
        for post in &self.posts {
            post.lane.ready_places().for_each(&mut count);
            post.lane.parked_places().for_each(&mut count);
            post.cycling.keys().for_each(|place| count(*place));
            let unheld = post.awaiting.iter().filter(|(_, (_, state))| !state.is_held());
            unheld.for_each(|(place, _)| count(*place));
        }
        for (_, _, alarm) in self.wheel.iter() {
            if let Alarm::Retry(who) | Alarm::NotBefore(who, _) = alarm {
                count(who.entry.place);
            }
        }
        self.claims.keys().for_each(|place| count(*place));
        wakes
    }
}
