//! Destinations under a clock of their own: whole days in milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use goniec::engine::{Destination, Flight, Settings, Turn, Waits};
use goniec::model::{Backoff, Failure, Outcome, Receipt, Retry, Sent, Stamp, State, WallMs};
use goniec::store::Store;
use goniec::store::memory::MemoryStore;
use goniec::{Id, Message};

/// Noon on Monday, 23 November 2026, UTC.
pub const NOON: WallMs = WallMs(1_795_435_200_000);

pub struct Day {
    pub turn: Turn,
    pub now: Stamp,
    takes_ms: u64,
    /// What is out, by the time at which it ends.
    out: BTreeMap<(u64, usize), (Flight, Outcome)>,
    /// What goes out as soon as the clock runs again.
    waiting: Vec<Flight>,
    /// When each attempt began, and how many were out with it.
    pub sent: Vec<(u64, usize)>,
    /// Which message each attempt was of.
    pub ids: Vec<Id>,
    /// Where each attempt went.
    pub went_to: Vec<Arc<str>>,
}

/// A destination that tries again after a second.
pub fn destination(name: &str) -> Destination {
    let mut destination = Destination::new(name, |_: &Message| ());
    destination.policy.retry = Retry { backoff: Backoff::Fixed(1_000), jitter_permille: 0, attempts: 60_000 };
    destination
}

impl Day {
    /// A day of one destination, `erp`.
    pub fn new(wall: WallMs, takes_ms: u64, rule: impl FnOnce(&mut Destination)) -> Day {
        let mut erp = destination("erp");
        rule(&mut erp);
        Day::of(Arc::new(MemoryStore::new()), wall, takes_ms, vec![erp])
    }

    /// A day of several, over this store.
    pub fn of(store: Arc<dyn Store>, wall: WallMs, takes_ms: u64, destinations: Vec<Destination>) -> Day {
        let now = Stamp { wall, mono_ms: 0 };
        let turn = Turn::open(store, destinations, Settings::default(), Vec::new(), now).expect("starts");
        let (out, waiting) = (BTreeMap::new(), Vec::new());
        Day { turn, now, takes_ms, out, waiting, sent: Vec::new(), ids: Vec::new(), went_to: Vec::new() }
    }

    /// Hands in so many for `erp`.
    pub fn accept(&mut self, count: usize) -> Vec<Id> {
        self.accept_all((0..count).map(|_| Message::to("erp")).collect())
    }

    pub fn accept_all(&mut self, drafts: Vec<goniec::model::Draft>) -> Vec<Id> {
        let (count, ids) = (drafts.len(), Arc::new(Mutex::new(Vec::new())));
        let taken = ids.clone();
        let reply = move |answer: Result<Vec<Id>, _>| *taken.lock().expect("whole") = answer.expect("accepts");
        self.turn.accept(drafts, Box::new(reply));
        self.stir();
        let ids = ids.lock().expect("whole").clone();
        assert_eq!(ids.len(), count);
        ids
    }

    /// Writes down what was asked for; what goes out by it waits for the clock.
    pub fn stir(&mut self) {
        let mut flights = Vec::new();
        self.turn.turn_out(self.now, &mut flights).expect("turns");
        self.waiting.append(&mut flights);
    }

    /// Lives until then; `answer` says what an attempt comes to that begins at a time.
    pub fn live(&mut self, until_ms: u64, answer: impl Fn(u64) -> Outcome) {
        let mut flights = std::mem::take(&mut self.waiting);
        loop {
            while let Some(first) = self.out.first_entry().filter(|first| first.key().0 <= self.now.mono_ms) {
                let (flight, outcome) = first.remove();
                self.turn.land(flight, outcome, self.now);
            }
            let due =
                if flights.is_empty() { self.turn.turn_out(self.now, &mut flights).expect("turns") } else { None };
            if !flights.is_empty() {
                for flight in flights.drain(..) {
                    let key = (self.now.mono_ms + self.takes_ms, self.sent.len());
                    self.ids.push(flight.message().id);
                    self.went_to.push(flight.message().envelope.destination.clone());
                    self.out.insert(key, (flight, answer(self.now.mono_ms)));
                    self.sent.push((self.now.mono_ms, self.out.len()));
                }
                continue;
            }
            let lands = self.out.first_key_value().map(|(key, _)| key.0);
            let next = due.into_iter().chain(lands).min().unwrap_or(u64::MAX).max(self.now.mono_ms + 1);
            let by_ms = next.min(until_ms).saturating_sub(self.now.mono_ms);
            self.now = Stamp { wall: self.now.wall.plus(by_ms), mono_ms: self.now.mono_ms + by_ms };
            if by_ms == 0 || next > until_ms {
                return;
            }
        }
    }

    pub fn shown(&self, id: Id) -> (State, Option<Waits>, u16) {
        let shown = self.turn.show(id, self.now.wall).expect("is there");
        (shown.record.state, shown.waits_for, shown.record.attempts)
    }

    pub fn times(&self) -> Vec<u64> {
        self.sent.iter().map(|(at_ms, _)| *at_ms).collect()
    }
}

pub fn delivered(_: u64) -> Outcome {
    Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() })
}

pub fn answered(status: u16, retry_after_ms: Option<u64>) -> Outcome {
    let (_, class) = goniec::model::policy::disposition(status);
    let failure = Failure::new(class, Sent::Answered, format!("answered {status}"));
    Outcome::Failed(Failure { status: Some(status), retry_after_ms, ..failure })
}

/// The most attempts that began within any so many milliseconds.
pub fn most_within(times: &[u64], window_ms: u64) -> usize {
    let from = |first: usize| times[first..].iter().take_while(|at| **at < times[first] + window_ms).count();
    (0..times.len()).map(from).max().unwrap_or(0)
}
