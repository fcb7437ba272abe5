//! The same two nodes with threads, on the disks that three days left behind, and a network that is sound.

use std::fs::write;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use goniec::admin::reconcile::{Ask, Plan, Reconciler, Report, answer};
use goniec::config::{Config, Process};
use goniec::engine::{Act, Engine, Heard, Item, Received, Settings};
use goniec::model::ledger::Number;
use goniec::model::ranges::{Answer, Question};
use goniec::model::{Envelope, Outcome, Receipt, WallMs};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::store::{Query, StateName};
use goniec::{Error, Id, Message};

use crate::Plant;
use crate::systems::{ERP, PEER, SHOP, SOURCE, Systems, routed};

/// Long after everything, by whatever clock.
const LATER: WallMs = WallMs(4_000_000_000_000);

pub struct Both {
    pub engines: [Engine; 2],
    systems: Systems,
}

/// The way from one side to the ledger of the other.
struct Asking {
    from: usize,
    there: Engine,
}

impl Ask for Asking {
    fn ask(&self, question: &Question) -> Result<Answer, String> {
        answer(&self.there, &SOURCE[self.from].into(), question).map_err(|error| error.to_string())
    }
}

/// Gives a message to the other node, and waits until it is durable there.
fn hand_over(there: &Engine, from: usize, message: &Message) -> Outcome {
    let Number { epoch, n } = Number::of(&message.envelope).expect("numbered");
    let drafts = vec![routed(from, &message.envelope, message.body())];
    let items = vec![Item { n, id: message.id(), revision: message.revision, drafts }];
    let received = Received { source: SOURCE[from].into(), epoch, last: n, ended: Vec::new(), items };
    let (give, take) = channel();
    // Who no longer waits does not hear it.
    there.receive(received, Box::new(move |heard: Result<Heard, Error>| drop(give.send(heard))));
    take.recv().expect("answers").expect("taken");
    Outcome::Delivered(Receipt::default())
}

impl Both {
    pub fn start(disks: [MemoryDisk; 2], systems: &Systems) -> Both {
        let ways: [Arc<OnceLock<Engine>>; 2] = Default::default();
        let engines = [SHOP, ERP].map(|side| {
            let there = ways[1 - side].clone();
            let peer = move |message: &Message| hand_over(there.get().expect("started"), side, message);
            let destinations = systems.destinations(side, Plant::Nothing, peer);
            // The clock of the engine is another one than that of the three days.
            let mut settings = Settings::default();
            (settings.retention.delivered_ms, settings.retention.abandoned_ms) = (u64::MAX, u64::MAX);
            settings.retention.bodies_ms = u64::MAX;
            let store = Arc::new(MemoryStore::open(&disks[side]).expect("opens"));
            Engine::start(store, destinations, settings, Vec::new()).expect("starts")
        });
        for (way, engine) in ways.iter().zip(&engines) {
            assert!(way.set(engine.clone()).is_ok());
        }
        Both { engines, systems: systems.clone() }
    }

    /// The comparison of what this side sent with the ledger of the other.
    pub fn with_ledger(&self, from: usize) -> Reconciler {
        let ask = Asking { from, there: self.engines[1 - from].clone() };
        let plan = Plan::with_registry(PEER[from].into(), Box::new(ask));
        Reconciler::new(&self.engines[from], vec![plan], LATER).expect("begins")
    }

    /// The comparison of the ERP's node with the table of the ERP, as this file lists it.
    pub fn with_table(&self, file: &std::path::Path) -> Reconciler {
        let config = format!(
            "[destination.erp-orders]\nurl = \"http://127.0.0.1:9/\"\n[reconcile.orders]\ndestination = \"erp-orders\"\n\
             settle = \"0s\"\nmanifest = {{ file = {file:?}, key = \"key\" }}\n"
        );
        let read = Config::parse(&config, "test", &Process).unwrap_or_else(|wrong| panic!("{config}: {wrong:?}"));
        let mut plans = read.reconcile;
        plans.iter_mut().for_each(|plan| plan.scope.window_ms = u64::MAX);
        Reconciler::new(&self.engines[ERP], plans, LATER).expect("begins")
    }

    /// Writes the table of the ERP as a list.
    pub fn list_table(&self, file: &std::path::Path) {
        let rows: String = self.systems.known().orders.keys().map(|key| format!("{{\"key\":{key:?}}}\n")).collect();
        write(file, rows).expect("writes");
    }

    /// The message of an order at the ERP's node.
    pub fn order(&self, key: &str) -> Id {
        let all = self.engines[ERP].list(&Query { limit: 100_000, ..Query::default() }).expect("lists").messages;
        let is_it =
            |envelope: &Envelope| &*envelope.destination == "erp-orders" && envelope.key.as_deref() == Some(key);
        let order = all.iter().find(|shown| is_it(&shown.record.envelope));
        order.unwrap_or_else(|| panic!("{key} is not there")).record.id
    }

    pub fn delete(&self, key: &str) {
        self.engines[ERP].act_wait(self.order(key), Act::Delete).expect("deleted");
    }

    /// Waits until it is so, and nothing is queued or out on either side.
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let states = vec![StateName::Queued, StateName::Sending];
        let query = Query { states, limit: 1, ..Query::default() };
        let is_still = |engine: &Engine| engine.list(&query).expect("lists").messages.is_empty();
        let until = Instant::now() + Duration::from_secs(20);
        while !(is_so() && self.engines.iter().all(is_still)) {
            assert!(Instant::now() < until, "{what}");
            // The pace of a loop with a deadline.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Compares once, and gives what it came to.
pub fn report(reconciler: &Reconciler, name: &str) -> Report {
    assert!(reconciler.ask(name));
    reconciler.turn(LATER);
    reconciler.named(name).expect("it is there").report
}

impl Drop for Both {
    fn drop(&mut self) {
        for engine in &self.engines {
            engine.shutdown(Duration::from_secs(5)).expect("ends");
        }
    }
}
