//! A node that asks one source, whose clock is a test's: the engine and the HTTP client are real, the other side is a socket on loopback.

#![allow(dead_code, reason = "each harness uses its part")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::Message;
use goniec::config::{Config, Process};
use goniec::engine::{Destination, Engine, Kind, Rule, Settings, SourceNews};
use goniec::model::WallMs;
use goniec::source::{Asker, Pull, Sources, UNROUTED, Unrouted};
use goniec::store::Query;
use goniec::store::memory::{MemoryDisk, MemoryStore};

use super::told::Told;

/// Noon on Monday, 23 November 2026, UTC.
pub const NOON: WallMs = WallMs(1_795_435_200_000);
pub const MINUTE: u64 = 60_000;
pub const DAY: u64 = 86_400_000;
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A node that asks one source, `erp`, whose clock is the test's.
pub struct World {
    pub disk: MemoryDisk,
    pub engine: Engine,
    pub told: Told,
    pub pull: Arc<Pull>,
    pub asker: Asker,
    pub now: WallMs,
}

/// A source of this URL, asked every minute; what it brings goes to `shop`.
pub fn config(url: &str, poll: &str, more: &str) -> Arc<Sources> {
    let cycle = if poll.contains("cycle") { "" } else { "cycle = \"every 1m\", " };
    let text = format!(
        "[destination.shop]\nurl = \"http://127.0.0.1:1/\"\n[source.erp]\npoll = {{ url = \"{url}\", {cycle}{poll} }}\n{more}\n\
         [[route]]\nfrom = \"erp\"\nto = [\"shop\"]\n"
    );
    Config::parse(&text, "test", &Process).unwrap_or_else(|wrong| panic!("{wrong:?}")).sources
}

impl World {
    pub fn new(url: &str, poll: &str, more: &str) -> World {
        World::over(MemoryDisk::new(), config(url, poll, more), NOON)
    }

    pub fn over(disk: MemoryDisk, sources: Arc<Sources>, now: WallMs) -> World {
        let store = MemoryStore::open(&disk).expect("a store");
        let told = Told::default();
        let rule = Rule { kinds: vec![Kind::Source], ..Rule::all(told.clone(), 1) };
        let unrouted = Destination::new(UNROUTED, Unrouted::new(sources.clone()));
        let shop = Destination::new("shop", |_: &Message| ());
        let engine = Engine::start(Arc::new(store), vec![shop, unrouted], Settings::default(), vec![rule]);
        let engine = engine.expect("an engine");
        let pull = sources.pull("erp").expect("it is asked").clone();
        let asker = Asker::new(pull.clone(), sources, engine.clone());
        World { disk, engine, told, pull, asker, now }
    }

    /// The same node after a stop, later.
    pub fn again(self, sources: Arc<Sources>, later_ms: u64) -> World {
        let World { disk, engine, now, .. } = self;
        engine.shutdown(Duration::from_secs(5)).expect("ends");
        World::over(disk, sources, now.plus(later_ms))
    }

    /// Lives so long, from turn to turn.
    pub fn live(&mut self, ms: u64) {
        let until = self.now.plus(ms);
        loop {
            self.asker.turn(self.now);
            let next = self.asker.next_turn(self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
        }
    }

    /// The bodies that were taken for a destination, oldest first.
    pub fn bodies(&self, to: &str) -> Vec<String> {
        let query = Query {
            destinations: self.engine.destination(to).into_iter().collect(),
            limit: 1_000_000,
            scan_max: usize::MAX,
            ..Query::default()
        };
        let page = self.engine.list(&query).expect("lists");
        let body = |id| self.engine.revision(id, None).expect("reads").and_then(|revision| revision.body);
        let text = |id| String::from_utf8_lossy(&body(id).expect("a body")).into_owned();
        page.messages.iter().rev().map(|shown| text(shown.record.id)).collect()
    }

    /// Waits until somebody was told all of this.
    pub fn is_told(&self, expect: &[&str]) {
        let until = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        while told.len() < expect.len() {
            assert!(Instant::now() < until, "told {told:?}, not {expect:?}");
            told.append(&mut self.told.take());
            std::thread::yield_now();
        }
        told.sort_unstable();
        assert_eq!(told, expect);
    }

    /// Waits until what was told is remembered over starts, under this mark.
    pub fn is_remembered(&mut self, mark: &str) {
        let until = Instant::now() + PATIENCE;
        while self.engine.mark(mark).expect("reads").is_none() {
            assert!(Instant::now() < until, "nothing is remembered");
            self.asker.turn(self.now);
        }
    }

    /// Sees that nobody was told of anything: what is told after it would have been told before.
    pub fn is_quiet(&self) {
        self.engine.note_source(&Arc::from("~"), SourceNews::Read, String::new());
        self.is_told(&["~ source-read"]);
    }

    pub fn last_error(&self) -> String {
        self.pull.shown().last_error.unwrap_or_default()
    }
}

/// An answer with this body of JSON.
pub fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
