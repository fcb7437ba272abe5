//! Scheduling: who goes when. Queued | Failed -> Sending, in memory.
//!
//! The scheduler hears what has become durable ([`News`]), keeps every unfinished message in exactly one place (ready, out, on the
//! timer wheel, waiting for a cycle, or for a person) and says what shall be done next ([`Step`]).
//!
//! # What holds
//!
//! * It learns only of what is durable, so nothing goes out that a power cut could take back.
//! * A message has at most one claim: it is out, or a person's change to it is being written, never both.
//! * Intervals run on the monotonic clock. What is bound to the wall clock (not before, deadlines, cycles) is put right when that clock jumps.
//!
//! # What it does not know
//!
//! Threads, stores, transports, the clock. It is given news and `now`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::account::Turnstile;
use super::alarm::{Alarm, gap};
use super::gate::{Ended, Gate, Room};
use super::lane::{Entry, Lane};
use super::news::{News, Step, Who};
use super::parcel::Batches;
use super::pause::{Cause, Pause};
use super::place_map::PlaceHash;
use super::words::{Cycle, Destination, Waits};
use crate::model::breaker::Turned;
use crate::model::wheel::{Handle, Wheel};
use crate::model::{Failed, OnUncertain, Place, Queued, Stamp, State, WallMs};
use crate::store::{Dest, Loaded, Unfinished};

/// Why a message may not go out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is out.
    Out,
    /// A change to it is being written.
    Reserved,
    /// The same, and its turn came meanwhile.
    Missed(Who),
}

/// A lane and what its administrator decided.
pub(super) struct Post {
    pub(super) lane: Lane,
    pub(super) cycle: Option<Cycle>,
    durable_claims: bool,
    /// Whether only the newest message of a key counts.
    latest_wins: bool,
    /// How its messages go together; `None` where each goes by itself.
    pub(super) batches: Option<Batches>,
    /// What waits for the next cycle: places and hashes, in order of acceptance.
    pub(super) cycling: BTreeMap<Place, u64>,
    pub(super) cycle_alarm: Option<WallMs>,
    /// What awaits keys, whatever it waits for then: places, with hashes and states.
    pub(super) awaiting: BTreeMap<Place, (u64, State)>,
    /// What the destination lets through; `None` where it is not configured, and nothing goes anyway.
    pub(super) gate: Option<Gate>,
    /// When the gate is looked at again, on the monotonic clock.
    pub(super) gate_alarm: Option<(u64, Handle)>,
    /// Why nothing was let through when it was last asked,
    pub(super) shut: Option<Waits>,
    /// and whether it was the account that let nothing through.
    pub(super) is_shut_by_account: bool,
    /// The number of its account.
    pub(super) account: Option<usize>,
}

/// Decides who goes when.
pub(super) struct Scheduler {
    pub(super) posts: Vec<Post>,
    pub(super) accounts: Vec<Turnstile>,
    pub(super) wheel: Wheel<Alarm>,
    pub(super) claims: HashMap<Place, Claim, PlaceHash>,
    pub(super) deadlines: HashMap<Place, (Handle, Alarm), PlaceHash>,
    pub(super) steps: VecDeque<Step>,
    pub(super) clock_gap_ms: i128,
    first: usize,
}

/// Whether a claim is written down before the message leaves.
pub(super) fn has_durable_claims(rule: &Destination) -> bool {
    rule.policy.on_uncertain != OnUncertain::Retry
}

/// How many a lane may be given in advance: none where a claim is durable, because after a crash nobody could tell those that were merely
/// given from those that had left, and a person would have to look into each; nor where the gate must weigh each.
fn advance_of(rule: &Destination, advance_max: usize) -> usize {
    if has_durable_claims(rule) || !Gate::is_plain(rule) || rule.batch.is_some() { 0 } else { advance_max }
}

impl Scheduler {
    /// A scheduler with a lane for every destination that the store has met; `None` for those that are no longer configured.
    pub(super) fn new(destinations: &[Option<&Destination>], advance_max: usize, now: Stamp) -> Scheduler {
        let accounts = Turnstile::all(destinations, now);
        let lane =
            |rule: &Destination| Lane::new(rule.out_max(), rule.is_serial(), advance_of(rule, advance_max), true);
        let post = |(number, destination): (usize, &Option<&Destination>)| Post {
            lane: destination.map_or_else(|| Lane::new(1, false, 0, false), lane),
            gate: destination.map(|rule| Gate::new(rule, now)),
            gate_alarm: None,
            shut: None,
            is_shut_by_account: false,
            account: accounts.iter().position(|account| account.has(number)),
            cycle: destination.and_then(|rule| rule.cycle.clone()),
            durable_claims: destination.is_some_and(has_durable_claims),
            latest_wins: destination.is_some_and(|rule| rule.latest_wins),
            batches: destination.and_then(Batches::of),
            cycling: BTreeMap::new(),
            cycle_alarm: None,
            awaiting: BTreeMap::new(),
        };
        Scheduler {
            posts: destinations.iter().enumerate().map(post).collect(),
            accounts,
            wheel: Wheel::new(now.mono_ms),
            claims: HashMap::default(),
            deadlines: HashMap::default(),
            steps: VecDeque::new(),
            clock_gap_ms: gap(now),
            first: 0,
        }
    }

    /// A message that a start found unfinished, and whether it awaits keys. `Sending` does not come here: recovery has judged it.
    pub(super) fn recover(&mut self, found: &Unfinished, awaits: bool, now: Stamp) {
        let who = Who { dest: found.dest, entry: Entry { place: found.place, hash: found.key_hash } };
        self.arm_found(found, now);
        // A wall clock that went back while we were down must not stretch a delay.
        let mut state = found.state;
        if let State::Failed(Failed::Due(at)) = state {
            let remains_ms = at.since(now.wall).min(at.since(found.updated_at));
            state = State::Failed(Failed::Due(now.wall.plus(remains_ms)));
        }
        self.await_or_stand(who, state, awaits, now);
    }

    /// The deadline of a message that a start found, where it still binds.
    pub(super) fn arm_found(&mut self, found: &Unfinished, now: Stamp) {
        let who = Who { dest: found.dest, entry: Entry { place: found.place, hash: found.key_hash } };
        if let Some(deadline) = found.deadline.filter(|deadline| found.updated_at <= *deadline) {
            self.arm_deadline(who, deadline, now);
        }
    }

    /// Takes in what has become durable.
    pub(super) fn hear(&mut self, news: &mut Vec<News>, now: Stamp) {
        self.notice_jump(now);
        let mut changes = Vec::new();
        for item in news.drain(..) {
            if matches!(item, News::Changed { .. }) {
                changes.push(item);
                continue;
            }
            self.change(&mut changes, now);
            match item {
                News::Accepted { who, wait, deadline, awaits: true, fresh: _ } => {
                    deadline.into_iter().for_each(|deadline| self.arm_deadline(who, deadline, now));
                    self.await_keys(who, State::Queued(wait));
                }
                News::Accepted { who, wait, deadline, awaits: false, fresh } => {
                    self.accepted(who, wait, deadline, fresh, now);
                }
                News::Met(dest, place) => self.met(dest, place, now),
                News::Claimed(delivery) => self.claimed(delivery),
                News::Alone(who) => self.set_alone(who, true),
                News::Settled { who, state } => self.settled(who, state, now),
                News::Ended(dest, ended) => self.ended(dest, ended, now),
                News::SetBack(who) => self.set_back(who, now),
                News::Unexpired(who, deadline) => self.unexpired(who, deadline, now),
                News::Void(who) => {
                    self.claims.remove(&who.entry.place);
                    self.disarm_deadline(who.entry.place);
                    self.set_alone(who, false);
                    self.come_home(who);
                }
                News::Unchanged(who) => self.forget(who.entry.place),
                News::Steered => {}
                News::Changed { .. } => {}
            }
        }
        self.change(&mut changes, now);
        for post in &mut self.posts {
            post.lane.widen();
            if post.lane.out() == 0
                && let Some(gate) = &mut post.gate
            {
                gate.is_idle();
            }
        }
    }

    /// What shall be done now: handed to `give` one by one, lanes in turn.
    pub(super) fn next(&mut self, now: Stamp, give: &mut dyn FnMut(Step)) {
        self.notice_jump(now);
        self.ring(now);
        self.steps.drain(..).for_each(&mut *give);
        let lanes = self.posts.len();
        for turn in 0..lanes {
            let number = (self.first + turn) % lanes;
            if self.posts.get(number).is_some_and(|post| post.account.is_none()) {
                self.serve(number, usize::MAX, now, give);
            }
        }
        self.first = if lanes == 0 { 0 } else { (self.first + 1) % lanes };
        (0..self.accounts.len()).for_each(|account| self.serve_account(account, now, give));
    }

    /// Of what shall be done, only what was claimed already: nothing new goes out.
    pub(super) fn next_claimed(&mut self, give: &mut dyn FnMut(Step)) {
        self.steps.drain(..).for_each(give);
    }

    /// Gives out at most so many parcels of a lane; how many it were.
    pub(super) fn serve(&mut self, number: usize, most: usize, now: Stamp, give: &mut dyn FnMut(Step)) -> usize {
        let Some(post) = self.posts.get_mut(number) else { return 0 };
        let Ok(dest) = u16::try_from(number).map(Dest) else { return 0 };
        let mut account = post.account.and_then(|account| self.accounts.get_mut(account));
        let mut given = 0;
        post.shut = None;
        if let Some(batches) = &mut post.batches {
            batches.look(post.lane.ready() > 0, now);
        }
        // A lane that was given more in advance is asked too: where its gate has shut, that is called back.
        while given < most && (post.lane.has_room() || post.lane.is_ahead()) {
            let mut left = match post.room(account.as_deref_mut(), now) {
                Some(Room::For(room)) => room.min(most - given),
                Some(Room::Shut(why, again_ms)) => {
                    post.hold(why, again_ms, dest, &mut self.wheel);
                    return given;
                }
                None => return given,
            };
            if !post.lane.has_room() {
                return given;
            }
            while left > 0 {
                let parcel = match post.next(&mut self.claims, dest, now) {
                    Ok(Some(parcel)) => parcel,
                    Ok(None) => break,
                    Err((why, again_ms)) => {
                        post.hold(why, again_ms, dest, &mut self.wheel);
                        return given;
                    }
                };
                (left, given) = (left - 1, given + 1);
                post.gate.iter_mut().for_each(|gate| gate.went(now));
                account.iter_mut().for_each(|account| account.went(now));
                give(if post.durable_claims { Step::Claim(parcel) } else { Step::Send(parcel) });
            }
        }
        given
    }

    /// An attempt tells of its destination.
    fn ended(&mut self, dest: Dest, ended: Ended, now: Stamp) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        if let Some(account) = post.account.and_then(|account| self.accounts.get_mut(account)) {
            account.asked(ended.asked_of_account_ms(), now);
        }
        match post.gate.as_mut().and_then(|gate| gate.ended(ended, now)) {
            Some(Turned::Opened) => self.steps.push_back(Step::Turned(dest, Turned::Opened)),
            Some(Turned::Closed) => self.steps.push_back(Step::Turned(dest, Turned::Closed)),
            None => {}
        }
    }

    /// Whether the lane's gate let nothing through when it was last asked.
    pub(super) fn is_shut(&self, dest: Dest) -> bool {
        self.posts.get(usize::from(dest.0)).is_some_and(|post| post.shut.is_some())
    }

    /// From now on this destination is paused, or is not.
    pub(super) fn pause(&mut self, dest: Dest, pause: Option<Pause>) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        // Why else nothing goes is seen when it is next asked.
        post.shut = None;
        if let Some(gate) = &mut post.gate {
            gate.set_pause(pause);
        }
    }

    /// The pause of this destination, if it is paused.
    pub(super) fn paused(&self, dest: Dest) -> Option<Cause> {
        self.posts.get(usize::from(dest.0))?.gate.as_ref()?.pause().map(|pause| pause.cause)
    }

    /// When there is something to do again, on the monotonic clock; `None` while only news can bring it.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.wheel.next_due()
    }

    /// Whether something can be done at once.
    pub(super) fn has_work(&self) -> bool {
        !self.steps.is_empty() || self.posts.iter().any(|post| post.shut.is_none() && post.lane.has_room())
    }

    /// Reserves a message for a person's change, so that it does not go out meanwhile.
    ///
    /// # Errors
    /// [`Taken`] where it is out, or reserved already.
    pub(super) fn reserve(&mut self, place: Place) -> Result<(), Taken> {
        match self.claims.get(&place) {
            Some(Claim::Out) => Err(Taken::Out),
            Some(Claim::Reserved | Claim::Missed(_)) => Err(Taken::Reserved),
            None => {
                self.claims.insert(place, Claim::Reserved);
                Ok(())
            }
        }
    }

    /// Ends a reservation under which nothing was changed: the message goes on waiting where it waited.
    pub(super) fn forget(&mut self, place: Place) {
        match self.claims.get(&place).copied() {
            Some(Claim::Reserved) => {
                self.claims.remove(&place);
            }
            Some(Claim::Missed(who)) => {
                self.claims.remove(&place);
                self.with_lane(who.dest, |lane| lane.ripen(who.entry));
            }
            Some(Claim::Out) | None => {}
        }
    }

    /// Whether the message is out.
    pub(super) fn is_out(&self, place: Place) -> bool {
        self.claims.get(&place) == Some(&Claim::Out)
    }

    /// How many are out.
    pub(super) fn out(&self) -> usize {
        self.posts.iter().map(|post| post.lane.out()).sum()
    }

    /// The lanes that were given more than they can have under way.
    pub(super) fn ahead(&self) -> Vec<Dest> {
        let number = |(number, post): (usize, &Post)| post.lane.is_ahead().then_some(number);
        self.posts
            .iter()
            .enumerate()
            .filter_map(number)
            .filter_map(|number| u16::try_from(number).ok().map(Dest))
            .collect()
    }

    /// Takes a lane's advance back: it has stalled.
    pub(super) fn narrow(&mut self, dest: Dest) {
        self.with_lane(dest, Lane::narrow);
    }

    fn accepted(&mut self, who: Who, wait: Queued, deadline: Option<WallMs>, fresh: Option<Loaded>, now: Stamp) {
        if let Some(deadline) = deadline {
            self.arm_deadline(who, deadline, now);
        }
        match wait {
            Queued::Ready => self.with_lane(who.dest, |lane| lane.arrive(who.entry, fresh)),
            Queued::NotBefore(_) | Queued::NextCycle | Queued::Held => self.stand(who, State::Queued(wait), now),
        }
    }

    fn settled(&mut self, who: Who, state: State, now: Stamp) {
        self.claims.remove(&who.entry.place);
        if state.is_final() {
            self.disarm_deadline(who.entry.place);
            self.set_alone(who, false);
        }
        self.stand(who, state, now);
        self.come_home(who);
        let post = self.posts.get(usize::from(who.dest.0)).filter(|post| post.latest_wins && !state.is_final());
        if let Some(newer) = post.and_then(|post| post.lane.newest_behind(who.entry)) {
            self.steps.push_back(Step::Supersede(who.dest, who.entry.place, newer));
        }
    }

    fn changed(&mut self, who: Who, state: Option<State>, deadline: Option<WallMs>, awaits: bool, now: Stamp) {
        self.claims.remove(&who.entry.place);
        self.set_alone(who, false);
        self.disarm_deadline(who.entry.place);
        if let Some(state) = state.filter(|state| !state.is_final()) {
            if let Some(deadline) = deadline.filter(|deadline| *deadline > now.wall) {
                self.arm_deadline(who, deadline, now);
            }
            self.await_or_stand(who, state, awaits, now);
        }
    }

    /// Takes a run of changed messages out of wherever they waited, all in one pass, and puts them where they now belong.
    fn change(&mut self, changes: &mut Vec<News>, now: Stamp) {
        if changes.is_empty() {
            return;
        }
        self.take_out(changes);
        for item in changes.drain(..) {
            match item {
                News::Changed { who, state, deadline, awaits } => self.changed(who, state, deadline, awaits, now),
                News::Accepted { .. }
                | News::Claimed(_)
                | News::Settled { .. }
                | News::Ended(..)
                | News::Steered
                | News::Void(_)
                | News::Alone(_)
                | News::Met(..)
                | News::SetBack(_)
                | News::Unchanged(_)
                | News::Unexpired(..) => {}
            }
        }
    }

    fn take_out(&mut self, changes: &[News]) {
        let mut dropped: HashMap<Dest, Vec<Entry>> = HashMap::new();
        let mut places: HashSet<Place, PlaceHash> = HashSet::default();
        for item in changes {
            if let News::Changed { who, .. } = item {
                dropped.entry(who.dest).or_default().push(who.entry);
                places.insert(who.entry.place);
            }
        }
        let is_dropped = |who: &Who| places.contains(&who.entry.place);
        let stale: Vec<Handle> = self
            .wheel
            .iter()
            .filter(|(_, _, alarm)| matches!(alarm, Alarm::Retry(who) | Alarm::NotBefore(who, _) if is_dropped(who)))
            .map(|(handle, _, _)| handle)
            .collect();
        for handle in stale {
            self.wheel.cancel(handle);
        }
        for (dest, entries) in dropped {
            if let Some(post) = self.posts.get_mut(usize::from(dest.0)) {
                for entry in &entries {
                    post.cycling.remove(&entry.place);
                    post.awaiting.remove(&entry.place);
                }
                post.lane.remove(&entries);
            }
        }
    }

    pub(super) fn with_lane(&mut self, dest: Dest, act: impl FnOnce(&mut Lane)) {
        if let Some(post) = self.posts.get_mut(usize::from(dest.0)) {
            act(&mut post.lane);
        }
    }
}

/// Whether the message is taken. A reservation remembers that its turn came.
pub(super) fn is_taken(claims: &mut HashMap<Place, Claim, PlaceHash>, dest: Dest, entry: Entry) -> bool {
    match claims.get_mut(&entry.place) {
        Some(claim @ Claim::Reserved) => {
            *claim = Claim::Missed(Who { dest, entry });
            true
        }
        Some(Claim::Out | Claim::Missed(_)) => true,
        None => false,
    }
}

/// Why a message cannot be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is out.
    Out,
    /// Another change to it is being written.
    Reserved,
}

#[cfg(test)]
mod tests;
