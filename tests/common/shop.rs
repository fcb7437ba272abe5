//! An engine under a clock of its own, with one destination whose attempts end when the test says so. Days of price changes in milliseconds.

#![allow(dead_code, reason = "each harness uses its part")]

use std::sync::Arc;
use std::sync::mpsc::channel;

use goniec::engine::{Act, Destination, Flight, Settings, Shown, Turn};
use goniec::model::{Abandoned, Backoff, Class, Failure, Outcome, Policy, Receipt, Retry, Sent, Stamp, State, WallMs};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::store::{StateName, Store};
use goniec::{Draft, Error, Id, Message};

type Rule = fn(&mut Destination);

fn shop(rule: Rule) -> Destination {
    let retry = Retry { backoff: Backoff::Fixed(60_000), jitter_permille: 0, attempts: 50 };
    let policy = Policy { retry, ..Policy::default() };
    let mut shop = Destination { policy, concurrency: 4, ..Destination::new("shop", |_: &Message| ()) };
    rule(&mut shop);
    shop
}

pub fn failed() -> Outcome {
    Outcome::Failed(Failure::new(Class::Server, Sent::Answered, "answered 500"))
}

pub fn arrived() -> Outcome {
    Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() })
}

pub fn superseded(by: Id) -> State {
    State::Abandoned(Abandoned::Superseded(by))
}

/// Chance that follows from a seed: numbers below a limit.
pub fn below(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut dice = seed | 1;
    move |limit| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % limit
    }
}

/// A price of a key at the shop.
pub fn price(key: &str, price: &str, version: Option<u64>) -> Draft {
    let draft = Message::to("shop").key(key).body(price.as_bytes().to_vec());
    match version {
        Some(version) => draft.version(version),
        None => draft,
    }
}

pub struct Day {
    pub disk: MemoryDisk,
    pub store: Arc<dyn Store>,
    pub turn: Turn,
    pub now: Stamp,
    pub out: Vec<Flight>,
    rule: Rule,
}

impl Day {
    pub fn begin(latest_wins: bool) -> Day {
        Day::with(if latest_wins { |shop| shop.latest_wins = true } else { |_| () })
    }

    /// A day under another rule.
    pub fn with(rule: Rule) -> Day {
        Day::on(MemoryDisk::new(), rule)
    }

    fn on(disk: MemoryDisk, rule: Rule) -> Day {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&disk).expect("opens"));
        let now = Stamp { wall: WallMs(1_795_435_200_000), mono_ms: 0 };
        let turn = Turn::open(store.clone(), vec![shop(rule)], Settings::default(), Vec::new(), now);
        let mut day = Day { disk, store, turn: turn.expect("opens"), now, out: Vec::new(), rule };
        day.run();
        day
    }

    /// The process dies, and what was written and not synced may be lost; what was out may have arrived.
    pub fn killed(self) -> Day {
        self.disk.crash(self.now.mono_ms);
        Day::on(self.disk, self.rule)
    }

    pub fn run(&mut self) {
        loop {
            let mut flights = Vec::new();
            self.turn.turn_out(self.now, &mut flights).expect("turns");
            if flights.is_empty() {
                return;
            }
            self.out.append(&mut flights);
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = Stamp { wall: self.now.wall.plus(ms), mono_ms: self.now.mono_ms + ms };
        self.run();
    }

    /// Hands in messages in one request.
    pub fn hand_in(&mut self, drafts: Vec<Draft>) -> Result<Vec<Id>, Error> {
        let (give, take) = channel();
        self.turn.accept(drafts, Box::new(move |said| give.send(said).expect("listens")));
        self.run();
        take.try_recv().expect("answers")
    }

    /// Hands in prices of these keys in one request.
    pub fn prices(&mut self, prices: &[(&str, &str)]) -> Vec<Id> {
        self.hand_in(prices.iter().map(|(key, text)| price(key, text, None)).collect()).expect("accepts")
    }

    pub fn price(&mut self, price: &str) -> Id {
        self.prices(&[("sku-1", price)])[0]
    }

    pub fn land(&mut self, body: &str, outcome: Outcome) {
        let at = self.out.iter().position(|flight| *flight.message().body == *body.as_bytes()).expect("it is out");
        let flight = self.out.remove(at);
        self.turn.land(flight, outcome, self.now);
        self.run();
    }

    pub fn out(&self) -> Vec<String> {
        self.out.iter().map(|flight| String::from_utf8_lossy(&flight.message().body).into_owned()).collect()
    }

    /// Whether nothing is out and nothing waits.
    pub fn is_quiet(&self) -> bool {
        let waits = |name: &StateName| !matches!(name, StateName::Delivered | StateName::Abandoned);
        self.out.is_empty() && !self.turn.stats().counts.iter().any(|(_, name, _)| waits(name))
    }

    pub fn shown(&self, id: Id) -> Shown {
        self.turn.show(id, self.now.wall).expect("is there")
    }

    pub fn state(&self, id: Id) -> State {
        self.shown(id).record.state
    }

    pub fn act(&mut self, id: Id, act: Act) -> Result<Shown, Error> {
        let (give, take) = channel();
        self.turn.act(id, act, Box::new(move |said| give.send(said).expect("listens")));
        self.run();
        take.try_recv().expect("answers")
    }
}
