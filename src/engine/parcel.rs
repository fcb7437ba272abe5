//! Parcels: what goes out as one request. A message alone, or a batch of a lane that takes many at once.
//!
//! ```text
//! ready ─▶ enough, or the first waited long enough ─▶ out (claims written first, where they are durable) ─▶ one request ─▶ each comes home
//!                                                                                        refused as a whole ─▶ each goes alone
//! ```
//!
//! # What holds
//!
//! * A batch holds one message of a key at most where order binds: only the first of a key is ever out.
//! * A batch is out until the last of it is home. Concurrency, rate and breaker count batches, not messages.
//! * Where claims are durable, a batch leaves when the last claim that still stands is written.
//! * What was refused together goes alone before any of it is given up; that is remembered until it ends, a person changes it, or the process ends.
//!
//! # What it does not know
//!
//! How a batch is sent, and what an answer to it means.

use std::collections::{HashMap, HashSet};

use super::account::Turnstile;
use super::alarm::Alarm;
use super::gate::Gate;
use super::lane::{Entry, Lane};
use super::news::{Delivery, Parcel, Step, Who};
use super::place_map::PlaceHash;
use super::schedule::{Claim, Post, Scheduler, is_taken};
use super::words::{BatchRule, Destination, Waits};
use crate::model::wheel::Wheel;
use crate::model::{Place, Stamp};
use crate::store::{Dest, Loaded};

/// The most bytes of bodies that go together.
pub(super) const BATCH_BYTES_MAX: usize = 16 << 20;

/// The claims of all lanes.
type Claims = HashMap<Place, Claim, PlaceHash>;

/// Why nothing more goes now, and when to look again on the monotonic clock.
pub(super) type Held = (Waits, Option<u64>);

/// The batches of one lane: which are out, and what may not go with others.
pub(super) struct Batches {
    rule: BatchRule,
    concurrency: usize,
    /// Since when something is ready and no batch has gone, on the monotonic clock.
    since_ms: Option<u64>,
    alone: HashSet<Place, PlaceHash>,
    last: u64,
    of: HashMap<Place, u64, PlaceHash>,
    out: HashMap<u64, Out>,
}

/// A batch that is out.
#[derive(Default)]
struct Out {
    /// How many of it are not home.
    members: usize,
    /// Those of which the claim is written, while others are still waited for.
    claimed: Vec<Delivery>,
}

impl Batches {
    /// The batches of a lane that has this rule.
    pub(super) fn of(rules: &Destination) -> Option<Batches> {
        rules.batch.map(|rule| Batches {
            rule: BatchRule { max: rule.max.max(1), ..rule },
            concurrency: usize::from(rules.concurrency.max(1)),
            since_ms: None,
            alone: HashSet::default(),
            last: 0,
            of: HashMap::default(),
            out: HashMap::new(),
        })
    }

    /// Looks at the clock: something is ready, or nothing is.
    pub(super) fn look(&mut self, is_ready: bool, now: Stamp) {
        self.since_ms = is_ready.then(|| self.since_ms.unwrap_or(now.mono_ms));
    }

    /// How many are out.
    pub(super) fn out(&self) -> usize {
        self.out.len()
    }

    fn next(&mut self, lane: &mut Lane, claims: &mut Claims, dest: Dest, now: Stamp) -> Result<Option<Parcel>, Held> {
        if self.out.len() >= self.concurrency {
            return Err((Waits::Concurrency, None));
        }
        let (max, due_ms) = (usize::from(self.rule.max), self.due_ms(now));
        let is_due = due_ms <= now.mono_ms;
        if !is_due && lane.ready() < max && self.alone.is_empty() {
            return Err((Waits::Batch, Some(due_ms)));
        }
        let mut taken: Vec<(Entry, Option<Loaded>)> = Vec::new();
        let mut alone = None;
        while taken.len() < max
            && alone.is_none()
            && let Some(next) = lane.take(|entry| is_taken(claims, dest, entry))
        {
            if self.alone.contains(&next.0.place) { alone = Some(next) } else { taken.push(next) }
        }
        let is_batch = alone.is_none();
        let goes = match alone {
            Some(alone) => vec![alone],
            None if is_due || taken.len() >= max => std::mem::take(&mut taken),
            None => Vec::new(),
        };
        // Those behind others of their keys are gone from the queue now, and the rest waits on as it was.
        taken.into_iter().rev().for_each(|(entry, fresh)| lane.give_back(entry, fresh));
        match goes.is_empty() {
            true if lane.ready() == 0 => Ok(None),
            true => Err((Waits::Batch, Some(due_ms))),
            false => {
                if is_batch {
                    self.since_ms = Some(now.mono_ms);
                }
                Ok(Some(self.go(goes, claims, dest)))
            }
        }
    }

    fn due_ms(&self, now: Stamp) -> u64 {
        self.since_ms.unwrap_or(now.mono_ms).saturating_add(self.rule.wait_ms)
    }

    fn go(&mut self, goes: Vec<(Entry, Option<Loaded>)>, claims: &mut Claims, dest: Dest) -> Parcel {
        self.last += 1;
        self.out.insert(self.last, Out { members: goes.len(), claimed: Vec::new() });
        let deliveries = goes.into_iter().map(|(entry, loaded)| {
            claims.insert(entry.place, Claim::Out);
            self.of.insert(entry.place, self.last);
            Delivery { who: Who { dest, entry }, loaded, is_in_doubt: false }
        });
        Parcel::Batch(deliveries.collect())
    }

    /// A message of a batch is home. What of its batch leaves now that it was the last whose claim was waited for.
    pub(super) fn come_home(&mut self, place: Place) -> Option<Parcel> {
        let number = self.of.remove(&place)?;
        let out = self.out.get_mut(&number)?;
        out.members = out.members.saturating_sub(1);
        self.leave(number)
    }

    /// The claim of a message is written. What leaves now that it was the last.
    pub(super) fn claimed(&mut self, mut delivery: Delivery) -> Option<Parcel> {
        let number = *self.of.get(&delivery.who.entry.place)?;
        let out = self.out.get_mut(&number)?;
        let bytes = |delivery: &Delivery| delivery.loaded.as_ref().map_or(0, |loaded| loaded.message.body.len());
        if out.claimed.iter().map(bytes).sum::<usize>() > BATCH_BYTES_MAX {
            // It is read back when it goes.
            delivery.loaded = None;
        }
        out.claimed.push(delivery);
        self.leave(number)
    }

    fn leave(&mut self, number: u64) -> Option<Parcel> {
        let out = self.out.get_mut(&number)?;
        if out.members == 0 {
            self.out.remove(&number);
            return None;
        }
        (out.claimed.len() == out.members).then(|| Parcel::Batch(std::mem::take(&mut out.claimed)))
    }

    /// From now on it goes alone, or may go with others again.
    pub(super) fn set_alone(&mut self, place: Place, is_alone: bool) {
        if is_alone {
            self.alone.insert(place);
        } else {
            self.alone.remove(&place);
        }
    }
}

impl Post {
    /// How many requests are out.
    pub(super) fn out(&self) -> usize {
        self.batches.as_ref().map_or_else(|| self.lane.out(), Batches::out)
    }

    /// The next parcel to go, counted as out; `None` where there is none.
    ///
    /// # Errors
    /// What there is waits: why, and until when.
    pub(super) fn next(&mut self, claims: &mut Claims, dest: Dest, now: Stamp) -> Result<Option<Parcel>, Held> {
        if let Some(batches) = &mut self.batches {
            return batches.next(&mut self.lane, claims, dest, now);
        }
        let Some((entry, loaded)) = self.lane.take(|entry| is_taken(claims, dest, entry)) else { return Ok(None) };
        claims.insert(entry.place, Claim::Out);
        Ok(Some(Parcel::One(Delivery { who: Who { dest, entry }, loaded, is_in_doubt: false })))
    }
}

impl Post {
    /// Nothing goes until it is looked at again.
    pub(super) fn hold(&mut self, why: Waits, again_ms: Option<u64>, dest: Dest, wheel: &mut Wheel<Alarm>) {
        self.shut = Some(why);
        if let Some(again_ms) = again_ms.filter(|at| self.gate_alarm.is_none_or(|(armed, _)| *at < armed)) {
            if let Some((_, later)) = self.gate_alarm {
                wheel.cancel(later);
            }
            self.gate_alarm = Some((again_ms, wheel.insert(again_ms, Alarm::Gate(dest))));
        }
    }
}

impl Scheduler {
    /// A message that was out is home; where it goes on waiting, that is said before.
    pub(super) fn come_home(&mut self, who: Who) {
        let Some(post) = self.posts.get_mut(usize::from(who.dest.0)) else { return };
        post.lane.come_home(who.entry);
        let leaves = post.batches.as_mut().and_then(|batches| batches.come_home(who.entry.place));
        self.steps.extend(leaves.map(Step::Send));
    }

    /// A claim was written: the message goes, with those that it goes together with.
    pub(super) fn claimed(&mut self, delivery: Delivery) {
        let Some(post) = self.posts.get_mut(usize::from(delivery.who.dest.0)) else { return };
        let leaves = match &mut post.batches {
            Some(batches) => batches.claimed(delivery),
            None => Some(Parcel::One(delivery)),
        };
        self.steps.extend(leaves.map(Step::Send));
    }

    /// Whether the message goes alone where others go together.
    pub(super) fn set_alone(&mut self, who: Who, is_alone: bool) {
        let post = self.posts.get_mut(usize::from(who.dest.0));
        if let Some(batches) = post.and_then(|post| post.batches.as_mut()) {
            batches.set_alone(who.entry.place, is_alone);
        }
    }

    /// A parcel that no worker began: as if it had not been given out.
    pub(super) fn give_back(&mut self, parcel: &Parcel) {
        self.take_back(parcel.deliveries());
        let Some(post) = parcel.dest().and_then(|dest| self.posts.get_mut(usize::from(dest.0))) else { return };
        post.gate.iter_mut().for_each(Gate::came_back);
        let account = post.account.and_then(|account| self.accounts.get_mut(account));
        account.into_iter().for_each(Turnstile::came_back);
    }

    /// What had no room in the request that its batch became: it has waited long enough.
    pub(super) fn leave_out(&mut self, rest: &[Delivery], now: Stamp) {
        self.take_back(rest);
        let post = rest.first().and_then(|first| self.posts.get_mut(usize::from(first.who.dest.0)));
        if let Some(batches) = post.and_then(|post| post.batches.as_mut()) {
            batches.since_ms = Some(now.mono_ms.saturating_sub(batches.rule.wait_ms));
        }
    }

    fn take_back(&mut self, rest: &[Delivery]) {
        for Delivery { who, .. } in rest.iter().rev() {
            self.claims.remove(&who.entry.place);
            if let Some(post) = self.posts.get_mut(usize::from(who.dest.0)) {
                post.lane.give_back(who.entry, None);
                // Only what is not claimed durably is given back, so nothing waits for it.
                let _ = post.batches.as_mut().and_then(|batches| batches.come_home(who.entry.place));
            }
        }
    }

    /// A batch became one request more than it was counted for.
    pub(super) fn goes_again(&mut self, dest: Dest, now: Stamp) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        post.gate.iter_mut().for_each(|gate| gate.went(now));
        let account = post.account.and_then(|account| self.accounts.get_mut(account));
        account.into_iter().for_each(|account| account.went(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Message, WallMs};

    #[test]
    fn where_claims_are_written_a_batch_leaves_with_the_last_that_stands() {
        let rule = BatchRule { max: 3, wait_ms: 0 };
        let rules = Destination { batch: Some(rule), ..Destination::new("erp", |_: &Message| ()) };
        let mut batches = Batches::of(&rules).expect("it takes batches");
        let mut lane = Lane::new(rules.out_max(), false, 0, true);
        let place = |slot| Place::new(1, slot);
        (0..3).for_each(|slot| lane.arrive(Entry { place: place(slot), hash: 0 }, None));
        let now = Stamp { wall: WallMs(0), mono_ms: 0 };
        let parcel = batches.next(&mut lane, &mut HashMap::default(), Dest(0), now).expect("nothing holds it");
        let mut deliveries = parcel.expect("three").into_deliveries();
        assert_eq!(deliveries.len(), 3);
        assert!(batches.claimed(deliveries.remove(0)).is_none());
        assert!(batches.claimed(deliveries.remove(0)).is_none());
        let left = batches.come_home(place(2)).expect("nothing is waited for any more");
        assert_eq!(left.deliveries().len(), 2);
        assert!(batches.come_home(place(0)).is_none());
        assert_eq!(batches.out(), 1);
        assert!(batches.come_home(place(1)).is_none());
        assert_eq!(batches.out(), 0);
    }
}
