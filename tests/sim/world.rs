//! One world: a day of an engine on a forgetting disk, among lying destinations, under a jumping clock. All of it follows from a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use goniec::engine::{Alert, Channel, Cycle, Destination, Flight, Order, Rule, Settings, Turn};
use goniec::error::Error;
use goniec::model::{Backoff, OnUncertain, Outcome, Stamp, WallMs};
use goniec::store::Store;
use goniec::store::memory::{DiskFault, MemoryDisk, MemoryStore};

use super::ledger::{Chance, Drawn, Ledger, Liar, Shared};
use super::limits::{self, Limits};
use super::plant::{Plant, Planted};

const DAY_MS: u64 = 86_400_000;
pub const NAMES: [&str; 4] = ["erp", "courier", "bank", "shop"];
const DELAY_MS: [u64; 4] = [20_000, 4_000, 60_000, 0];
pub const TIMEOUT_MS: [u64; 4] = [30_000, 5_000, 120_000, 600_000];
pub const ATTEMPTS_MAX: u16 = 5;
/// The largest body that is taken; every other one is far smaller.
pub const BODY_BYTES_MAX: u64 = 64;

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub hash: u64,
    pub violations: Vec<String>,
    pub messages: usize,
    pub sends: u64,
    pub crashes: u64,
    pub steps: u64,
    /// Attempts that were out when the power was cut.
    pub cut_off: u64,
}

pub struct World {
    pub chance: Chance,
    plant: Plant,
    pub is_limited: bool,
    /// Some messages wait for other keys. Not in every world: those of seeds that once found a fault stay as they were.
    pub has_after: bool,
    /// What must get nothing twice is asked whether it has a message; else a person is.
    is_asked: bool,
    disk: MemoryDisk,
    pub store: Arc<Planted>,
    pub turn: Option<Turn>,
    pub ledger: Shared,
    /// What is out, by the time at which it ends.
    pub flights: BTreeMap<(u64, u64), Flying>,
    /// Drawn from the seed: how many may be out to a destination, and how long what has ended is kept.
    concurrency: u16,
    retention_ms: u64,
    mono_ms: u64,
    pub wall: u64,
    wall_max: u64,
    crashes: u64,
    cut_off: u64,
    steps: u64,
    flown: u64,
}

/// An attempt that is out, and how it will end.
pub struct Flying {
    pub flight: Flight,
    outcome: Outcome,
    drawn: Option<Drawn>,
}

impl Flying {
    fn destination(&self) -> String {
        self.flight.message().envelope.destination.to_string()
    }
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
    live_through(World::new(seed, plant, false))
}

/// Lives through the world of this seed in which destinations have limits, and one of them is down for hours.
pub fn live_limited(seed: u64, plant: Plant) -> Ended {
    live_through(World::new(seed, plant, true))
}

fn live_through(mut world: World) -> Ended {
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
        world.pass(world.sooner(due).map_or(next_event, |due| due.min(next_event)));
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
        cut_off: world.cut_off,
    }
}

impl World {
    fn new(seed: u64, plant: Plant, is_limited: bool) -> World {
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut ledger = Ledger { chance: Some(Chance(seed ^ 0xfeed)), epoch: 1, ..Ledger::default() };
        for rate in &mut ledger.rates {
            *rate = if chance.percent(60) { chance.below(25) } else { 0 };
        }
        let concurrency = [1, 2, 2, 3][usize::try_from(chance.below(4)).expect("small")];
        ledger.concurrency = concurrency;
        ledger.limits = is_limited.then(Limits::default);
        let retention_ms = if chance.percent(50) { 1 + chance.below(3_600_000) } else { 30 * DAY_MS };
        let disk = MemoryDisk::new();
        let store = Arc::new(Planted::new(MemoryStore::open(&disk).expect("opens"), plant));
        let wall = 1_790_000_000_000;
        let mut world = World {
            chance,
            plant,
            is_limited,
            has_after: matches!(seed % 9, 4 | 5 | 7),
            is_asked: is_limited && seed % 2 == 1,
            disk,
            store,
            turn: None,
            ledger: Arc::new(Mutex::new(ledger)),
            flights: BTreeMap::new(),
            concurrency,
            retention_ms,
            mono_ms: 5_000,
            wall,
            wall_max: wall,
            crashes: 0,
            cut_off: 0,
            steps: 0,
            flown: 0,
        };
        world.start();
        world
    }

    pub fn is_sound(&self) -> bool {
        self.ledger.lock().expect("a ledger").violations.is_empty()
    }

    pub fn violated(&self, what: String) {
        self.ledger.lock().expect("a ledger").violated(what);
    }

    pub fn now(&self) -> Stamp {
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
                name: NAMES[at],
                is_ordered: at == 0 || at == 3,
                only_once: at == 2,
                timeout_ms: TIMEOUT_MS[at],
                delay_ms_min: DELAY_MS[at],
                refusal_delivers: planted(Plant::RefusalDelivers),
                asks_for_less: planted(Plant::AskedForgotten),
                there_ignored: planted(Plant::ThereIgnored),
            };
            let mut destination = Destination::new(NAMES[at], liar);
            destination.policy.retry.attempts = attempts;
            destination.policy.retry.jitter_permille = 0;
            destination.policy.retry.backoff = Backoff::Fixed(DELAY_MS[at] / early);
            destination.concurrency = self.concurrency + u16::from(planted(Plant::WidthOffByOne));
            destination.timeout_ms = TIMEOUT_MS[at] * if planted(Plant::TimeoutIgnored) { 2 } else { 1 };
            destination
        };
        let mut all: Vec<Destination> = (0..NAMES.len()).map(one).collect();
        if !planted(Plant::OrderIgnored) {
            all[0].order = Order::Key;
            all[3].order = Order::Key;
        }
        if !planted(Plant::UncertainRetried) {
            all[2].policy.on_uncertain = if self.is_asked { OnUncertain::Probe } else { OnUncertain::Hold };
        }
        all[3].cycle = Some(Cycle::Every(300_000));
        all[3].policy.retry.backoff = Backoff::NextCycle;
        if self.is_limited {
            limits::set(&mut all, self.plant);
        }
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
        let rule = Rule::all(Told(self.ledger.clone()), 0);
        let mut settings = Settings { body_bytes_max: BODY_BYTES_MAX, ..Settings::default() };
        let of_time = &mut settings.retention;
        (of_time.delivered_ms, of_time.abandoned_ms) = (self.retention_ms, self.retention_ms * 2);
        (of_time.bodies_ms, of_time.step_max) = (self.retention_ms / 2, 4);
        let turn = Turn::open(self.store.clone(), self.destinations(), settings, vec![rule], self.now());
        match turn {
            Ok(turn) => self.turn = Some(turn),
            Err(error) => self.violated(format!("a start failed: {error}")),
        }
    }

    fn crash(&mut self) {
        self.turn = None;
        self.crashes += 1;
        self.cut_off += self.flights.len() as u64;
        for (_, flying) in std::mem::take(&mut self.flights) {
            let arrives = self.chance.percent(50);
            if let Some(drawn) = flying.drawn {
                self.ledger.lock().expect("a ledger").cut_off(drawn, arrives, &flying.destination());
            }
        }
        self.disk.heal();
        self.disk.crash(self.chance.below(u64::MAX));
        let mut ledger = self.ledger.lock().expect("a ledger");
        ledger.epoch += 1;
        ledger.limits.iter_mut().for_each(Limits::forget);
        drop(ledger);
        self.start();
        self.check_all();
    }

    /// Lets the attempts end whose time has come.
    fn land(&mut self) {
        while let Some(first) = self.flights.first_entry().filter(|first| first.key().0 <= self.mono_ms) {
            let flying = first.remove();
            self.come_home(flying);
        }
    }

    fn come_home(&mut self, flying: Flying) {
        if let Some(drawn) = flying.drawn {
            self.ledger.lock().expect("a ledger").landed(drawn, &flying.destination());
        }
        if self.plant == Plant::OutcomeLost && self.chance.percent(10) {
            return;
        }
        let now = self.now();
        if let Some(turn) = &mut self.turn {
            turn.land(flying.flight, flying.outcome, now);
        }
    }

    /// Runs the engine until it waits for time, attempts or people.
    fn run(&mut self) -> Result<Option<u64>, Error> {
        let mut flights = Vec::new();
        loop {
            self.land();
            let now = self.now();
            let Some(turn) = self.turn.as_mut() else { return Ok(None) };
            let due = turn.turn_out(now, &mut flights)?;
            if flights.is_empty() {
                return Ok(due);
            }
            self.ledger.lock().expect("a ledger").now_wall = self.wall;
            for flight in flights.drain(..) {
                let outcome = flight.send();
                let drawn = self.ledger.lock().expect("a ledger").drawn.take();
                let ends = self.mono_ms + drawn.map_or(0, |drawn| drawn.takes_ms);
                // Of one moment there may be several: a question is no send.
                self.flown += 1;
                self.flights.insert((ends, self.flown), Flying { flight, outcome, drawn });
            }
        }
    }

    /// When something happens next: by the engine, or because an attempt ends.
    fn sooner(&self, due: Option<u64>) -> Option<u64> {
        let lands = self.flights.first_key_value().map(|(key, _)| key.0);
        due.into_iter().chain(lands).min()
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
        let turned = if self.turn.is_some() { self.run() } else { return None };
        self.steps += 1;
        match turned {
            Ok(due) => {
                self.check_turn();
                if self.steps.is_multiple_of(64) {
                    self.check_all();
                }
                due
            }
            Err(_) => {
                self.crash();
                Some(self.mono_ms)
            }
        }
    }

    fn event(&mut self) {
        match self.chance.below(24) {
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
            19 => self.retain(),
            20 => self.damage(),
            22 if self.is_limited => (0..2).for_each(|_| self.steer()),
            21 if self.is_limited => {
                let until_ms = self.mono_ms + self.chance.below(3 * 3_600_000);
                self.ledger
                    .lock()
                    .expect("a ledger")
                    .limits
                    .iter_mut()
                    .for_each(|limits| limits.down_until_ms = until_ms);
            }
            21 => {
                // The disk is full for what is new, or is not any more.
                let is_full = self.chance.percent(30);
                self.disk.set_capacity(is_full.then_some(1));
            }
            _ => self.crash(),
        }
    }

    /// Some rows cannot be read or written from now on, all others can again.
    fn damage(&mut self) {
        let percent = self.chance.below(20);
        let mut chance = self.chance.clone();
        let mut damaged = std::collections::BTreeSet::new();
        let each = &mut |found: goniec::store::Unfinished| {
            if chance.percent(percent) {
                damaged.insert(found.place);
            }
        };
        self.store.inner.unfinished(&|_| false, each).expect("reads");
        let mut ledger = self.ledger.lock().expect("a ledger");
        // A message whose sender never heard of it has no number here, and is left in peace.
        damaged.retain(|place| {
            let record = self.store.inner.get(*place).expect("reads").expect("a message");
            let known = ledger.by_id.get(&record.id).copied();
            known.inspect(|n| ledger.made[*n].was_damaged = true).is_some()
        });
        *self.store.damaged.lock().expect("places") = damaged;
    }

    /// A step of retention takes what has ended, and nothing else.
    fn retain(&mut self) {
        let unfinished = |world: &World| {
            let mut places = Vec::new();
            world.store.inner.unfinished(&|_| false, &mut |found| places.push(found.place)).expect("reads");
            places
        };
        let before = unfinished(self);
        let now = self.now();
        let Some(retained) = self.turn.as_mut().map(|turn| turn.retain(now)) else { return };
        if unfinished(self) != before {
            self.violated("S1: retention took a message that had not ended".into());
        }
        let mut ledger = self.ledger.lock().expect("a ledger");
        for made in &mut ledger.made {
            if made.id.is_some_and(|id| self.store.inner.find(id).expect("finds").is_none()) {
                made.deleted = true;
            }
        }
        drop(ledger);
        if retained.is_err() {
            self.crash();
        }
    }

    /// L1: faults stop, the clock runs, and everything that waits for no person comes to its end. Then S9: someone was told of each end.
    fn settle_down(&mut self) {
        self.disk.heal();
        self.disk.set_capacity(None);
        self.store.damaged.lock().expect("places").clear();
        self.disk.lie_about_syncs(self.plant == Plant::NoSync);
        self.wall = self.wall_max;
        self.ledger.lock().expect("a ledger").healed = true;
        if self.is_limited {
            NAMES.into_iter().for_each(|name| self.resume(name));
        }
        let until = self.mono_ms + 4 * 3_600_000;
        let mut is_done = false;
        while self.mono_ms < until && self.is_sound() && !is_done {
            let due = self.step();
            self.pass(self.sooner(due).unwrap_or(self.mono_ms + 1_000).max(self.mono_ms + 1));
            is_done = self.waiting() == 0;
        }
        // A held message may expire at any time: people hear of it a look later.
        for round in 0..10 {
            if round >= 3 && self.store.untold(None, 1).expect("reads").is_empty() {
                break;
            }
            self.step();
            self.pass(self.mono_ms + 2_000);
        }
        if self.is_sound() && !is_done {
            let mut left = Vec::new();
            self.store.inner.unfinished(&|_| false, &mut |found| left.push(format!("{found:?}"))).expect("reads");
            self.violated(format!("L1: {} messages wait without end at {:?}: {left:#?}", self.waiting(), self.now()));
        }
        self.check_all();
        self.check_told();
    }
}
