//! What the destinations of an account let through together: its rate, how many may be out to all of them, and the time for which one of them was
//! asked to come no more.
//!
//! # What holds
//!
//! * It stands above the gates: a message goes where both its destination's gate and its account let it through.
//! * The destinations pass one message each in turn, the one first that has waited longest: a large backlog takes nobody's share.
//! * A 429 with `Retry-After` that one destination heard holds all of them.
//! * How many are out is counted anew before lanes are served: there is no count that could drift.
//!
//! # What it does not know
//!
//! Which messages wait, and what else holds a destination.

use std::collections::VecDeque;
use std::sync::Arc;

use super::gate::Room;
use super::news::Step;
use super::schedule::{Post, Scheduler};
use super::words::{Account, Destination, Waits};
use crate::model::Stamp;
use crate::model::rate::Bucket;

/// What stands before the destinations of an account, and lets them pass one by one.
pub(super) struct Turnstile {
    rules: Arc<Account>,
    /// The numbers of its lanes, that one first which has waited longest since it passed.
    lanes: VecDeque<usize>,
    bucket: Option<Bucket>,
    out: usize,
    /// Left alone until this time on the monotonic clock.
    asked_until_ms: u64,
}

impl Turnstile {
    /// One for each account that these destinations have, with the numbers of its lanes.
    pub(super) fn all(destinations: &[Option<&Destination>], now: Stamp) -> Vec<Turnstile> {
        let mut all: Vec<Turnstile> = Vec::new();
        for (number, destination) in destinations.iter().enumerate() {
            let Some(rules) = destination.and_then(|rules| rules.account.as_ref()) else { continue };
            match all.iter_mut().find(|known| Arc::ptr_eq(&known.rules, rules)) {
                Some(known) => known.lanes.push_back(number),
                None => all.push(Turnstile::new(rules.clone(), number, now)),
            }
        }
        all
    }

    fn new(rules: Arc<Account>, lane: usize, now: Stamp) -> Turnstile {
        let bucket = rules.rate.map(|rate| Bucket::new(rate, now.mono_ms));
        Turnstile { rules, lanes: VecDeque::from([lane]), bucket, out: 0, asked_until_ms: 0 }
    }

    /// Whether each message of its destinations must be weighed, so that none is given out in advance.
    pub(super) fn weighs(rules: &Account) -> bool {
        rules.rate.is_some() || rules.concurrency.is_some()
    }

    /// Whether the lane of this number is one of its own.
    pub(super) fn has(&self, lane: usize) -> bool {
        self.lanes.contains(&lane)
    }

    /// How many may go now to all its destinations together.
    pub(super) fn room(&mut self, now: Stamp) -> Room {
        if now.mono_ms < self.asked_until_ms {
            return Room::Shut(Waits::Rate, Some(self.asked_until_ms));
        }
        let limit = self.rules.concurrency.map_or(usize::MAX, usize::from);
        let mut room = limit.saturating_sub(self.out);
        if room == 0 {
            return Room::Shut(Waits::Concurrency, None);
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
        self.out += 1;
        self.bucket.iter_mut().for_each(|bucket| bucket.take(now.mono_ms));
    }

    /// A message that was given out was not sent.
    pub(super) fn came_back(&mut self) {
        self.bucket.iter_mut().for_each(Bucket::give_back);
    }

    /// One of its destinations was asked, for so long, to come no more.
    pub(super) fn asked(&mut self, asked_ms: u64, now: Stamp) {
        if asked_ms > 0 {
            self.asked_until_ms = self.asked_until_ms.max(now.mono_ms.saturating_add(asked_ms));
        }
    }

    /// This lane has passed: it is the last in the line from now on.
    fn passed(&mut self, lane: usize) {
        if let Some(at) = self.lanes.iter().position(|other| *other == lane) {
            self.lanes.remove(at);
            self.lanes.push_back(lane);
        }
    }
}

impl Post {
    /// How many of this lane may go now, by its gate and by its account; `None` where it is not configured.
    pub(super) fn room(&mut self, account: Option<&mut Turnstile>, now: Stamp) -> Option<Room> {
        let out = self.out();
        let own = self.gate.as_mut()?.room(out, now);
        let shared = account.map_or(Room::For(usize::MAX), |account| account.room(now));
        let (room, is_shut_by_account) = match (own, shared) {
            (Room::For(own), Room::For(shared)) => (Room::For(own.min(shared)), false),
            (Room::Shut(..), Room::For(_) | Room::Shut(..)) => (own, false),
            (Room::For(_), Room::Shut(..)) => (shared, true),
        };
        self.is_shut_by_account = is_shut_by_account;
        Some(room)
    }
}

impl Scheduler {
    /// Gives out what the lanes of this account may send, one request each in turn.
    pub(super) fn serve_account(&mut self, number: usize, now: Stamp, give: &mut dyn FnMut(Step)) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        let out = |lane: &usize| self.posts.get(*lane).map_or(0, Post::out);
        account.out = account.lanes.iter().map(out).sum();
        let mut waiting = account.lanes.clone();
        while let Some(lane) = waiting.pop_front() {
            if self.serve(lane, 1, now, give) > 0 {
                waiting.push_back(lane);
                self.accounts.get_mut(number).into_iter().for_each(|account| account.passed(lane));
            }
        }
    }
}
