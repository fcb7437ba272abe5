//! One world: a day of an engine on a forgetting disk, among lying destinations, under a jumping clock. All of it follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use goniec::engine::{Act, Alert, Channel, Cycle, Destination, Order, Rule, Settings, Turn};
use goniec::error::Error;
use goniec::model::{Abandoned, Backoff, Id, Message, OnUncertain, Queued, Stamp, State, WallMs};
use goniec::store::memory::{DiskFault, MemoryDisk, MemoryStore};
use goniec::store::{Query, StateName, Store};

use super::ledger::{Chance, Ledger, Liar, Made, Shared};
use super::plant::{Plant, Planted};

const DAY_MS: u64 = 86_400_000;
const NAMES: [&str; 4] = ["erp", "courier", "bank", "shop"];
const DELAY_MS: [u64; 4] = [20_000, 4_000, 60_000, 0];
const ATTEMPTS_MAX: u16 = 5;

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub hash: u64,
    pub violations: Vec<String>,
    pub messages: usize,
    pub sends: u64,
    pub crashes: u64,
    pub steps: u64,
}

struct World {
    chance: Chance,
    plant: Plant,
    disk: MemoryDisk,
    store: Arc<Planted>,
    turn: Option<Turn>,
    ledger: Shared,
    mono_ms: u64,
    wall: u64,
    wall_max: u64,
    crashes: u64,
    steps: u64,
}

struct Told(Shared);

impl Channel for Told {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.0.lock().expect("a ledger").told += alert.messages;
        Ok(())
    }

    fn name(&self) -> String {
        "ledger".into()
    }
}

/// Lives through the world of this seed.
pub fn live(seed: u64, plant: Plant) -> Ended {
    let mut world = World::new(seed, plant);
    let day_ends = world.mono_ms + DAY_MS;
    let mut next_event = world.mono_ms;
    let mut forced = vec![DAY_MS / 4, DAY_MS / 2, DAY_MS * 3 / 4];
    while world.mono_ms < day_ends && world.is_sound() {
        if world.mono_ms >= next_event {
            world.event();
            next_event = world.mono_ms + 1 + world.chance.below(DAY_MS / 70);
        }
        if forced.first().is_some_and(|at| world.mono_ms >= day_ends - DAY_MS + at) {
            forced.remove(0);
            world.crash();
        }
        let due = world.step();
        world.pass(due.map_or(next_event, |due| due.min(next_event)));
    }
    if world.is_sound() {
        world.settle_down();
    }
    let ledger = world.ledger.lock().expect("a ledger");
    let (hash, violations) = (ledger.hash, ledger.violations.clone());
    Ended {
        hash,
        violations,
        messages: ledger.made.len(),
        sends: ledger.sends,
        crashes: world.crashes,
        steps: world.steps,
    }
}

impl World {
    fn new(seed: u64, plant: Plant) -> World {
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut ledger = Ledger { chance: Some(Chance(seed ^ 0xfeed)), epoch: 1, ..Ledger::default() };
        for rate in &mut ledger.rates {
            *rate = if chance.percent(60) { chance.below(25) } else { 0 };
        }
        let disk = MemoryDisk::new();
        let store = Arc::new(Planted::new(MemoryStore::open(&disk).expect("opens"), plant));
        let wall = 1_790_000_000_000;
        let mut world = World {
            chance,
            plant,
            disk,
            store,
            turn: None,
            ledger: Arc::new(Mutex::new(ledger)),
            mono_ms: 5_000,
            wall,
            wall_max: wall,
            crashes: 0,
            steps: 0,
        };
        world.start();
        world
    }

    fn is_sound(&self) -> bool {
        self.ledger.lock().expect("a ledger").violations.is_empty()
    }

    fn violated(&self, what: String) {
        self.ledger.lock().expect("a ledger").violated(what);
    }

    fn now(&self) -> Stamp {
        let mono_ms = if self.plant == Plant::WallClockForIntervals { self.wall } else { self.mono_ms };
        Stamp { wall: WallMs(self.wall), mono_ms }
    }

    fn destinations(&self) -> Vec<Destination> {
        let planted = |plant| self.plant == plant;
        let attempts = ATTEMPTS_MAX + u16::from(planted(Plant::LimitOffByOne));
        let early = if planted(Plant::RetryTooEarly) { 2 } else { 1 };
        let one = |at: usize| {
            let liar = Liar {
                ledger: self.ledger.clone(),
                is_ordered: at == 0 || at == 3,
                delay_ms_min: DELAY_MS[at],
                refusal_delivers: planted(Plant::RefusalDelivers),
            };
            let mut destination = Destination::new(NAMES[at], liar);
            destination.policy.retry.attempts = attempts;
            destination.policy.retry.jitter_permille = 0;
            destination.policy.retry.backoff = Backoff::Fixed(DELAY_MS[at] / early);
            destination.concurrency = 2;
            destination
        };
        let mut all: Vec<Destination> = (0..NAMES.len()).map(one).collect();
        if !planted(Plant::OrderIgnored) {
            all[0].order = Order::Key;
            all[3].order = Order::Key;
        }
        all[2].policy.on_uncertain = OnUncertain::Hold;
        all[3].cycle = Some(Cycle::Every(300_000));
        all[3].policy.retry.backoff = Backoff::NextCycle;
        all
    }

    /// Opens the engine on what is on the disk.
    fn start(&mut self) {
        let store = match MemoryStore::open(&self.disk) {
            Ok(store) => store,
            Err(refusal) => return self.violated(format!("S11: {refusal}")),
        };
        if let Err(broken) = store.check() {
            self.violated(format!("S2: {broken}"));
        }
        self.store = Arc::new(Planted::new(store, self.plant));
        self.disk.lie_about_syncs(self.plant == Plant::NoSync);
        self.ledger.lock().expect("a ledger").store = Some(self.store.clone());
        let rule = Rule { destinations: Vec::new(), channel: Arc::new(Told(self.ledger.clone())), digest_ms: 0 };
        let turn = Turn::open(self.store.clone(), self.destinations(), Settings::default(), vec![rule], self.now());
        match turn {
            Ok(turn) => self.turn = Some(turn),
            Err(error) => self.violated(format!("a start failed: {error}")),
        }
    }

    fn crash(&mut self) {
        self.turn = None;
        self.crashes += 1;
        self.disk.heal();
        self.disk.crash(self.chance.below(u64::MAX));
        self.ledger.lock().expect("a ledger").epoch += 1;
        self.start();
        self.check_all();
    }

    fn pass(&mut self, until_mono: u64) {
        // A due time may be one of the wall clock, where that fault is planted.
        let by = until_mono.saturating_sub(self.mono_ms).clamp(1, DAY_MS / 60);
        self.mono_ms += by;
        self.wall += by;
        self.wall_max = self.wall_max.max(self.wall);
        self.ledger.lock().expect("a ledger").now_mono = self.mono_ms;
    }

    /// One turn of the engine; a store that fails is a crash.
    fn step(&mut self) -> Option<u64> {
        let now = self.now();
        let turned = self.turn.as_mut().map(|turn| turn.turn(now));
        self.steps += 1;
        match turned {
            Some(Ok(due)) => {
                self.check_wakes();
                if self.steps.is_multiple_of(64) {
                    self.check_all();
                }
                due
            }
            Some(Err(_)) => {
                self.crash();
                Some(self.mono_ms)
            }
            None => None,
        }
    }

    fn event(&mut self) {
        match self.chance.below(20) {
            0..=9 => self.accept(),
            10..=15 => (0..3).for_each(|_| self.act()),
            16 => {
                let hours = 1 + self.chance.below(if self.chance.clone().percent(20) { 90_000 } else { 9 });
                let by = hours * 3_600_000;
                self.wall = if self.chance.percent(50) { self.wall + by } else { self.wall.saturating_sub(by) };
                self.wall_max = self.wall_max.max(self.wall);
            }
            17 => self.disk.fail_write(self.chance.below(5), DiskFault::Io),
            18 => self.disk.fail_sync(self.chance.below(5), DiskFault::Full),
            _ => self.crash(),
        }
    }

    fn accept(&mut self) {
        for _ in 0..1 + self.chance.below(2) {
            let mut drafts = Vec::new();
            let first = self.ledger.lock().expect("a ledger").made.len();
            for n in (first..).take(usize::try_from(1 + self.chance.below(5)).expect("small")) {
                let name = NAMES[usize::try_from(self.chance.below(4)).expect("small")];
                let key = format!("k{}", self.chance.below(6));
                let mut draft = Message::to(name).key(key).body(format!("{n}.1").into_bytes());
                if self.chance.percent(10) {
                    draft = draft.not_before(WallMs(self.wall + self.chance.below(1_800_000)));
                }
                if self.chance.percent(5) {
                    draft = draft.deadline(WallMs(self.wall + 1 + self.chance.below(600_000)));
                }
                drafts.push(draft);
                let made = Made { acknowledged: 1, asked: 1, ..Made::default() };
                self.ledger.lock().expect("a ledger").made.push(made);
            }
            let ledger = self.ledger.clone();
            let reply = move |answer: Result<Vec<Id>, Error>| {
                let mut ledger = ledger.lock().expect("a ledger");
                for (n, id) in (first..).zip(answer.unwrap_or_default()) {
                    ledger.note(&format!("accepted {n} {id}"));
                    ledger.made[n].id = Some(id);
                    ledger.by_id.insert(id, n);
                }
            };
            if let Some(turn) = &mut self.turn {
                turn.accept(drafts, Box::new(reply));
            }
        }
    }

    fn act(&mut self) {
        let mut ledger = self.ledger.lock().expect("a ledger");
        if ledger.made.is_empty() {
            return;
        }
        let n = usize::try_from(self.chance.below(ledger.made.len() as u64)).expect("small");
        let Some(id) = ledger.made[n].id.filter(|_| !ledger.made[n].deleted) else { return };
        let what = self.chance.below(8);
        let act = match what {
            0 => Act::Hold,
            1 | 2 => Act::Release,
            3 => Act::Resend(Queued::Ready),
            4 => Act::Cancel,
            5 => Act::Arrived,
            6 => {
                ledger.made[n].deleted = true;
                Act::Delete
            }
            _ => {
                ledger.made[n].asked += 1;
                let body = format!("{n}.{}", ledger.made[n].asked).into_bytes().into();
                Act::Edit { body, content_type: None, who: "anna".into(), why: "typo".into(), read: None }
            }
        };
        let asked = ledger.made[n].asked;
        drop(ledger);
        let ledger = self.ledger.clone();
        let reply = move |answer: Result<goniec::engine::Shown, Error>| {
            let mut ledger = ledger.lock().expect("a ledger");
            ledger.note(&format!("act {what} on {n}: {}", answer.is_ok()));
            ledger.acted(n);
            let unknown = matches!(answer, Err(Error::Store(_) | Error::Stopping));
            let made = &mut ledger.made[n];
            match what {
                5 if answer.is_ok() || unknown => made.arrived = true,
                6 if answer.is_err() && !unknown => made.deleted = false,
                7 if answer.is_ok() => made.acknowledged = asked,
                7 if !unknown && made.asked == asked => made.asked = asked - 1,
                _ => {}
            }
        };
        if let Some(turn) = &mut self.turn {
            turn.act(id, act, Box::new(reply));
        }
    }

    /// S3: every unfinished message that is not held has one wake-up, and nothing else has one. S4: nothing rests in `Sending`.
    fn check_wakes(&mut self) {
        let Some(turn) = &self.turn else { return };
        let mut wakes = turn.wakes();
        let mut wrong = Vec::new();
        let read = self.store.inner.unfinished(&mut |found| {
            let count = wakes.remove(&found.place).unwrap_or(0);
            if matches!(found.state, State::Sending(_)) {
                wrong.push(format!("S4: {} rests in Sending", found.place));
            } else if count != u32::from(!found.state.is_held()) {
                wrong.push(format!("S3: {} ({}) has {count} wake-ups", found.place, found.state));
            }
        });
        read.expect("reads");
        for place in wakes.keys() {
            let state = self.store.get(*place).expect("reads").map(|record| record.state);
            wrong.push(format!("S3: a wake-up for {place} ({state:?}), which waits for nothing"));
        }
        wrong.into_iter().for_each(|what| self.violated(what));
    }

    /// S1, S2, S5, S8 over everything that is there.
    fn check_all(&mut self) {
        let mut ledger = self.ledger.lock().expect("a ledger");
        let mut wrong = Vec::new();
        for (n, made) in ledger.made.iter().enumerate().filter(|(_, made)| !made.deleted) {
            if made.id.is_some_and(|id| self.store.find(id).expect("finds").is_none()) {
                wrong.push(format!("S1: message {n} was acknowledged and is not there"));
            }
        }
        let mut recount = BTreeMap::new();
        let page = self.store.list(&Query { limit: usize::MAX, ..Query::default() }).expect("lists");
        for record in page.records {
            *recount.entry((record.envelope.destination.to_string(), StateName::of(record.state))).or_insert(0u64) += 1;
            let n = ledger.by_id.get(&record.id).copied();
            let arrived = n.is_none_or(|n| ledger.made[n].arrived || ledger.accepted.contains_key(&n));
            if record.state == State::Delivered && !arrived {
                wrong.push(format!("S5: {n:?} is delivered, and its destination does not have it"));
            }
            if record.series > ATTEMPTS_MAX {
                wrong.push(format!("S8: {n:?} had {} attempts in a series", record.series));
            }
            let reasons = self.store.attempts(record.place).expect("reads");
            if reasons.iter().any(|attempt| attempt.class.is_some() && attempt.detail.is_empty()) {
                wrong.push(format!("S8: an attempt of {n:?} has no reason"));
            }
        }
        let names: BTreeMap<_, _> = self.store.destinations().into_iter().collect();
        let kept = self.store.counts().into_iter().filter(|count| count.messages > 0);
        let kept: BTreeMap<_, _> =
            kept.map(|count| ((names[&count.dest].to_string(), count.state), count.messages)).collect();
        if kept != recount {
            wrong.push(format!("S2: counts are {kept:?} and should be {recount:?}"));
        }
        if let Err(broken) = self.store.inner.check() {
            wrong.push(format!("S2: {broken}"));
        }
        wrong.into_iter().for_each(|what| ledger.violated(what));
    }

    /// L1: faults stop, the clock runs, and everything that waits for no person comes to its end. Then S9: someone was told of each end.
    fn settle_down(&mut self) {
        self.disk.heal();
        self.disk.lie_about_syncs(self.plant == Plant::NoSync);
        self.wall = self.wall_max;
        self.ledger.lock().expect("a ledger").healed = true;
        let until = self.mono_ms + 4 * 3_600_000;
        let mut is_done = false;
        while self.mono_ms < until && self.is_sound() && !is_done {
            let due = self.step();
            self.pass(due.unwrap_or(0).max(self.mono_ms + 1_000));
            is_done = self.waiting() == 0;
        }
        (0..3).for_each(|_| {
            self.step();
            self.pass(self.mono_ms + 2_000);
        });
        if self.is_sound() && !is_done {
            let mut left = Vec::new();
            self.store.inner.unfinished(&mut |found| left.push(format!("{found:?}"))).expect("reads");
            self.violated(format!("L1: {} messages wait without end at {:?}: {left:#?}", self.waiting(), self.now()));
        }
        self.check_all();
        self.check_told();
    }

    /// How many messages wait for something that comes by itself: neither for a person nor behind one that does.
    fn waiting(&self) -> usize {
        let (mut blocked, mut waiting) = (BTreeSet::new(), Vec::new());
        let ordered = [NAMES[0], NAMES[3]].map(|name| self.store.inner.destination(name).expect("a number"));
        let read = self.store.inner.unfinished(&mut |found| {
            let of_key = (found.dest, found.key_hash);
            if found.state.is_held() && ordered.contains(&found.dest) {
                blocked.insert(of_key);
            } else if !found.state.is_held() && !blocked.contains(&of_key) {
                waiting.push(found);
            }
        });
        read.expect("reads");
        waiting.len()
    }

    fn check_told(&mut self) {
        let page = self.store.list(&Query { limit: usize::MAX, ..Query::default() }).expect("lists");
        let needs =
            |state| matches!(state, State::Abandoned(Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired));
        let ended = page.records.iter().filter(|record| needs(record.state)).count() as u64;
        let told = self.ledger.lock().expect("a ledger").told;
        if told < ended {
            self.violated(format!("S9: {ended} messages were abandoned and people told of {told}"));
        }
        if !self.store.untold(1).expect("reads").is_empty() {
            self.violated("S9: someone is still to be told".into());
        }
    }
}
