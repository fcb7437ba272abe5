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

use std::collections::{HashMap, HashSet, VecDeque};

use super::cycle::next_start;
use super::lane::{Entry, Lane};
use super::place_map::PlaceHash;
use super::words::{Cycle, Destination, Waits};
use crate::model::wheel::{Handle, Wheel};
use crate::model::{Failed, OnUncertain, Place, Queued, Stamp, State, WallMs};
use crate::store::{Dest, Loaded, Unfinished};

/// Something durable that concerns the order of things to do.
#[derive(Debug)]
pub(super) enum News {
    /// A message was accepted.
    Accepted {
        /// The message.
        who: Who,
        /// What it waits for.
        wait: Queued,
        /// When it is of no more use.
        deadline: Option<WallMs>,
        /// The message itself, so that a lane that keeps up need not read it back.
        fresh: Option<Loaded>,
    },
    /// A claim was written; it may be sent now.
    Claimed {
        /// The message.
        who: Who,
        /// With its body.
        loaded: Loaded,
    },
    /// An attempt ended, and this is what became of the message.
    Settled {
        /// The message.
        who: Who,
        /// What it is now.
        state: State,
    },
    /// A claim came to nothing: the message was not what it was thought to be.
    Void(Who),
    /// Somebody changed a message that was reserved.
    Changed {
        /// The message.
        who: Who,
        /// What it is now; `None` where it is gone or final already.
        state: Option<State>,
        /// When it is of no more use, where that still binds it.
        deadline: Option<WallMs>,
    },
    /// A reservation ended without a change.
    Unchanged {
        /// The message.
        who: Who,
        /// What it still is.
        state: State,
    },
}

/// A message, as the scheduler knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who {
    /// Its lane.
    pub(super) dest: Dest,
    /// Its place and the hash of its key.
    pub(super) entry: Entry,
}

/// What shall be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this message now.
    Send(Delivery),
    /// Write down that this message goes out, before it does.
    Claim(Who),
    /// Give this message up: its deadline passed.
    Expire(Who),
}

/// A message on its way to a worker.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The message.
    pub(super) who: Who,
    /// The message itself, where it is at hand.
    pub(super) loaded: Option<Loaded>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Out,
    Reserved,
}

#[derive(Debug, Clone, Copy)]
enum Alarm {
    /// A retry: an interval.
    Retry(Who),
    /// Not before a wall time.
    NotBefore(Who, WallMs),
    /// A deadline, a wall time.
    Deadline(Who, WallMs),
    /// A lane's next cycle, a wall time.
    Cycle(Dest, WallMs),
}

/// A lane and what its administrator decided.
struct Post {
    lane: Lane,
    cycle: Option<Cycle>,
    durable_claims: bool,
    cycling: Vec<Entry>,
    cycle_alarm: Option<WallMs>,
}

/// Decides who goes when.
pub(super) struct Scheduler {
    posts: Vec<Post>,
    wheel: Wheel<Alarm>,
    claims: HashMap<Place, Claim, PlaceHash>,
    deadlines: HashMap<Place, (Handle, Alarm), PlaceHash>,
    steps: VecDeque<Step>,
    clock_gap_ms: i128,
    first: usize,
}

/// A wall clock that moves by more than this against the monotonic one has jumped.
const JUMP_MS: i128 = 1_000;
/// How soon a deadline that passed during an attempt is looked at again.
const DEADLINE_AGAIN_MS: u64 = 100;

impl Scheduler {
    /// A scheduler with a lane for every destination that the store has met; `None` for those that are no longer configured.
    pub(super) fn new(destinations: &[Option<&Destination>], advance_max: usize, now: Stamp) -> Scheduler {
        let post = |destination: &Option<&Destination>| match destination {
            Some(rule) => Post {
                lane: Lane::new(rule.concurrency, rule.order, advance_max, true),
                cycle: rule.cycle.clone(),
                durable_claims: rule.policy.on_uncertain != OnUncertain::Retry,
                cycling: Vec::new(),
                cycle_alarm: None,
            },
            None => Post {
                lane: Lane::new(1, super::words::Order::None, 0, false),
                cycle: None,
                durable_claims: false,
                cycling: Vec::new(),
                cycle_alarm: None,
            },
        };
        Scheduler {
            posts: destinations.iter().map(post).collect(),
            wheel: Wheel::new(now.mono_ms),
            claims: HashMap::default(),
            deadlines: HashMap::default(),
            steps: VecDeque::new(),
            clock_gap_ms: gap(now),
            first: 0,
        }
    }

    /// A message that a start found unfinished. `Sending` does not come here: recovery has judged it.
    pub(super) fn recover(&mut self, found: &Unfinished, now: Stamp) {
        let who = Who { dest: found.dest, entry: Entry { place: found.place, hash: found.key_hash } };
        if let Some(deadline) = found.deadline.filter(|deadline| found.updated_at <= *deadline) {
            self.arm_deadline(who, deadline, now);
        }
        // A wall clock that went back while we were down must not stretch a delay.
        let mut state = found.state;
        if let State::Failed(Failed::Due(at)) = state {
            let remains_ms = at.since(now.wall).min(at.since(found.updated_at));
            state = State::Failed(Failed::Due(now.wall.plus(remains_ms)));
        }
        self.stand(who, state, now);
    }

    /// Takes in what has become durable.
    pub(super) fn hear(&mut self, news: &mut Vec<News>, now: Stamp) {
        self.notice_jump(now);
        let mut changes = Vec::new();
        for item in news.drain(..) {
            if matches!(item, News::Changed { .. } | News::Unchanged { .. }) {
                changes.push(item);
                continue;
            }
            self.change(&mut changes, now);
            match item {
                News::Accepted { who, wait, deadline, fresh } => self.accepted(who, wait, deadline, fresh, now),
                News::Claimed { who, loaded } => {
                    self.steps.push_back(Step::Send(Delivery { who, loaded: Some(loaded) }));
                }
                News::Settled { who, state } => self.settled(who, state, now),
                News::Void(who) => {
                    self.claims.remove(&who.entry.place);
                    self.with_lane(who.dest, |lane| lane.come_home(who.entry));
                }
                News::Changed { .. } | News::Unchanged { .. } => {}
            }
        }
        self.change(&mut changes, now);
        for post in &mut self.posts {
            post.lane.widen();
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
            self.serve(number, give);
        }
        self.first = if lanes == 0 { 0 } else { (self.first + 1) % lanes };
    }

    /// Of what shall be done, only what was claimed already: nothing new goes out.
    pub(super) fn next_claimed(&mut self, give: &mut dyn FnMut(Step)) {
        self.steps.drain(..).for_each(give);
    }

    fn serve(&mut self, number: usize, give: &mut dyn FnMut(Step)) {
        let Some(post) = self.posts.get_mut(number) else { return };
        let Ok(dest) = u16::try_from(number).map(Dest) else { return };
        let claims = &mut self.claims;
        while let Some((entry, fresh)) = post.lane.take(|entry| claims.contains_key(&entry.place)) {
            claims.insert(entry.place, Claim::Out);
            let who = Who { dest, entry };
            if post.durable_claims {
                give(Step::Claim(who));
            } else {
                give(Step::Send(Delivery { who, loaded: fresh }));
            }
        }
    }

    /// When there is something to do again, on the monotonic clock; `None` while only news can bring it.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.wheel.next_due()
    }

    /// Whether something can be done at once.
    pub(super) fn has_work(&self) -> bool {
        !self.steps.is_empty() || self.posts.iter().any(|post| post.lane.has_room())
    }

    /// Reserves a message for a person's change, so that it does not go out meanwhile.
    ///
    /// # Errors
    /// [`Taken`] where it is out, or reserved already.
    pub(super) fn reserve(&mut self, place: Place) -> Result<(), Taken> {
        match self.claims.get(&place) {
            Some(Claim::Out) => Err(Taken::Out),
            Some(Claim::Reserved) => Err(Taken::Reserved),
            None => {
                self.claims.insert(place, Claim::Reserved);
                Ok(())
            }
        }
    }

    /// Ends a reservation of a message that turned out not to be there.
    pub(super) fn forget(&mut self, place: Place) {
        if self.claims.get(&place) == Some(&Claim::Reserved) {
            self.claims.remove(&place);
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

    /// A delivery that no worker began: as if it had not been given out.
    pub(super) fn give_back(&mut self, delivery: &Delivery) {
        self.claims.remove(&delivery.who.entry.place);
        self.with_lane(delivery.who.dest, |lane| lane.give_back(delivery.who.entry));
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

    /// Why the message has not gone out, and when it is due where that is a time.
    pub(super) fn waits(&self, who: Who, state: State, now: WallMs) -> (Option<Waits>, Option<WallMs>) {
        let Some(post) = self.posts.get(usize::from(who.dest.0)) else { return (Some(Waits::Paused), state.due()) };
        let ready = || match &post.lane {
            lane if !lane.is_open() => Waits::Paused,
            lane if lane.is_behind(who.entry) => Waits::KeyOrder,
            lane if lane.is_full() => Waits::Concurrency,
            _ => Waits::Due,
        };
        match state {
            State::Sending(_) | State::Delivered | State::Abandoned(_) => (None, None),
            State::Queued(Queued::Held) | State::Failed(Failed::Held) => (Some(Waits::Held), None),
            State::Queued(Queued::NotBefore(at)) if at > now => (Some(Waits::NotBefore), Some(at)),
            State::Failed(Failed::Due(at)) if at > now => (Some(Waits::Due), Some(at)),
            State::Queued(Queued::NotBefore(at)) | State::Failed(Failed::Due(at)) => (Some(ready()), Some(at)),
            State::Queued(Queued::NextCycle) | State::Failed(Failed::NextCycle) => {
                (Some(Waits::NextCycle), post.cycle_alarm)
            }
            State::Queued(Queued::Ready) => (Some(ready()), None),
        }
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
        }
        self.stand(who, state, now);
        self.with_lane(who.dest, |lane| lane.come_home(who.entry));
    }

    fn changed(&mut self, who: Who, state: Option<State>, deadline: Option<WallMs>, now: Stamp) {
        self.claims.remove(&who.entry.place);
        self.disarm_deadline(who.entry.place);
        if let Some(state) = state.filter(|state| !state.is_final()) {
            if let Some(deadline) = deadline.filter(|deadline| *deadline > now.wall) {
                self.arm_deadline(who, deadline, now);
            }
            self.stand(who, state, now);
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
                News::Changed { who, state, deadline } => self.changed(who, state, deadline, now),
                News::Unchanged { who, state } => {
                    self.claims.remove(&who.entry.place);
                    self.stand(who, state, now);
                }
                News::Accepted { .. } | News::Claimed { .. } | News::Settled { .. } | News::Void(_) => {}
            }
        }
    }

    fn take_out(&mut self, changes: &[News]) {
        let mut dropped: HashMap<Dest, Vec<Entry>> = HashMap::new();
        let mut places: HashSet<Place, PlaceHash> = HashSet::default();
        for item in changes {
            if let News::Changed { who, .. } | News::Unchanged { who, .. } = item {
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
                post.cycling.retain(|entry| !places.contains(&entry.place));
                post.lane.remove(&entries);
            }
        }
    }

    /// Puts an unfinished message where its state says that it waits.
    fn stand(&mut self, who: Who, state: State, now: Stamp) {
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
            State::Sending(_) | State::Delivered | State::Abandoned(_) => {}
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
        post.cycling.push(who.entry);
        if post.cycle_alarm.is_none() {
            let at = next_start(cycle, now.wall);
            post.cycle_alarm = Some(at);
            self.wheel.insert(mono(at, now), Alarm::Cycle(who.dest, at));
        }
    }

    /// Rings every alarm whose time has come.
    fn ring(&mut self, now: Stamp) {
        let mut due = Vec::new();
        self.wheel.advance(now.mono_ms, &mut due);
        for alarm in due {
            match alarm {
                Alarm::NotBefore(_, at) | Alarm::Deadline(_, at) | Alarm::Cycle(_, at) if at > now.wall => {
                    self.arm(alarm, mono(at, now));
                }
                Alarm::Retry(who) | Alarm::NotBefore(who, _) => self.with_lane(who.dest, |lane| lane.ripen(who.entry)),
                Alarm::Deadline(who, _) => self.pass_deadline(who, alarm, now),
                Alarm::Cycle(dest, _) => self.begin_cycle(dest),
            }
        }
    }

    fn begin_cycle(&mut self, dest: Dest) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        post.cycle_alarm = None;
        for entry in std::mem::take(&mut post.cycling) {
            post.lane.ripen(entry);
        }
    }

    fn pass_deadline(&mut self, who: Who, alarm: Alarm, now: Stamp) {
        self.deadlines.remove(&who.entry.place);
        match self.reserve(who.entry.place) {
            Ok(()) => self.steps.push_back(Step::Expire(who)),
            Err(Taken::Out | Taken::Reserved) => self.arm(alarm, now.mono_ms.saturating_add(DEADLINE_AGAIN_MS)),
        }
    }

    fn arm_deadline(&mut self, who: Who, deadline: WallMs, now: Stamp) {
        self.arm(Alarm::Deadline(who, deadline), mono(deadline, now));
    }

    fn arm(&mut self, alarm: Alarm, mono_ms: u64) {
        let handle = self.wheel.insert(mono_ms, alarm);
        if let Alarm::Deadline(who, _) = alarm {
            self.deadlines.insert(who.entry.place, (handle, alarm));
        }
    }

    fn disarm_deadline(&mut self, place: Place) {
        if let Some((handle, _)) = self.deadlines.remove(&place) {
            self.wheel.cancel(handle);
        }
    }

    /// When the wall clock has jumped, what is bound to it is armed anew; intervals stay as they are.
    fn notice_jump(&mut self, now: Stamp) {
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
                Alarm::Retry(_) => {}
            }
        }
    }

    fn rearm_cycle(&mut self, dest: Dest, now: Stamp) {
        let Some(post) = self.posts.get_mut(usize::from(dest.0)) else { return };
        let Some(cycle) = &post.cycle else { return };
        let at = next_start(cycle, now.wall);
        post.cycle_alarm = Some(at);
        self.arm(Alarm::Cycle(dest, at), mono(at, now));
    }

    fn with_lane(&mut self, dest: Dest, act: impl FnOnce(&mut Lane)) {
        if let Some(post) = self.posts.get_mut(usize::from(dest.0)) {
            act(&mut post.lane);
        }
    }

    /// How often each message is waited for, wherever that is: for checks of the whole. Held ones wait for nobody.
    pub(super) fn wakes(&self) -> HashMap<Place, u32> {
        let mut wakes = HashMap::new();
        let mut count = |place: Place| *wakes.entry(place).or_insert(0) += 1;
        for post in &self.posts {
            post.lane.ready_places().for_each(&mut count);
            post.lane.parked_places().for_each(&mut count);
            post.cycling.iter().for_each(|entry| count(entry.place));
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

/// Why a message cannot be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is out.
    Out,
    /// Another change to it is being written.
    Reserved,
}

fn gap(now: Stamp) -> i128 {
    i128::from(now.wall.0) - i128::from(now.mono_ms)
}

/// The monotonic time of a wall time.
fn mono(at: WallMs, now: Stamp) -> u64 {
    now.mono_ms.saturating_add(at.since(now.wall))
}
