//! The shop and the ERP themselves, whatever becomes of the nodes beside them: what they hand in, and what they have taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use goniec::engine::{BatchRule, Destination};
use goniec::model::ledger::SOURCE_HEADER;
use goniec::model::{Backoff, Class, Envelope, Failure, Outcome, Receipt, Sent};
use goniec::transport::Transport;
use goniec::{Draft, Id, Message};

use crate::Plant;

/// The two sides.
pub const SHOP: usize = 0;
pub const ERP: usize = 1;
/// The destination by which each side sends to the other,
pub const PEER: [&str; 2] = ["erp-node", "shop-node"];
/// and the source as which each is known there.
pub const SOURCE: [&str; 2] = ["shop", "erp"];
/// How long a sender waits for an answer.
pub const TIMEOUT_MS: u64 = 30_000;
/// How long until it tries again.
const AGAIN_MS: u64 = 300_000;

pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        goniec::model::policy::scatter(self.0) % end.max(1)
    }

    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// What both systems know.
pub struct Known {
    pub chance: Chance,
    /// Whether each answers at all,
    pub is_down: [bool; 2],
    /// and of how many requests in a hundred each says nothing, or a no.
    pub faults: u64,
    /// What waits for the yes of its node, by idempotency key.
    pub outbox: [BTreeMap<String, Draft>; 2],
    /// The orders that the shop heard a yes for.
    pub accepted: BTreeSet<String>,
    /// The ERP's table of orders, each with the ids under which it came.
    pub orders: BTreeMap<String, BTreeSet<Id>>,
    /// What the ERP has of each article, by version,
    pub newest: BTreeMap<String, u64>,
    /// and what the shop shows: what it was told last.
    pub shown: BTreeMap<String, u64>,
    /// The orders of which the shop knows that the ERP has them.
    pub confirmed: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Systems(Arc<Mutex<Known>>);

impl Systems {
    pub fn new(seed: u64) -> Systems {
        Systems(Arc::new(Mutex::new(Known {
            chance: Chance(seed),
            is_down: [false; 2],
            faults: 10,
            outbox: Default::default(),
            accepted: BTreeSet::new(),
            orders: BTreeMap::new(),
            newest: BTreeMap::new(),
            shown: BTreeMap::new(),
            confirmed: BTreeSet::new(),
        })))
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no panic")
    }

    /// An interface of one of them: sometimes it says nothing, and has taken what came all the same.
    fn interface(&self, side: usize, name: &'static str) -> impl Transport + use<> {
        let systems = self.clone();
        move |message: &Message| {
            let mut known = systems.known();
            let faults = known.faults;
            if known.is_down[side] || known.chance.percent(faults) {
                return Outcome::Failed(Failure::new(Class::Connect, Sent::No, "down"));
            }
            known.take(name, message);
            if known.chance.percent(faults) {
                return Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "nobody knows"));
            }
            Outcome::Delivered(Receipt::default())
        }
    }

    /// The destinations of the node of one side; `peer` is the way to the other node.
    pub fn destinations(&self, side: usize, plant: Plant, peer: impl Transport) -> Vec<Destination> {
        let own = |name: &'static str| {
            let mut to = Destination { concurrency: 3, ..Destination::new(name, self.interface(side, name)) };
            to.policy.retry.attempts = 10_000;
            to.policy.retry.backoff = Backoff::Fixed(AGAIN_MS);
            to
        };
        let latest = |name| Destination { latest_wins: plant != Plant::NotTheLatest, ..own(name) };
        let mut all = match side {
            SHOP => vec![latest("shop-prices"), latest("shop-stock"), own("shop-status")],
            _ => vec![Destination { on_delivered: vec![PEER[ERP].into()], ..own("erp-orders") }],
        };
        let batch = Some(BatchRule { max: 200, wait_ms: 0 });
        let mut to_peer = Destination::new(PEER[side], peer);
        to_peer = Destination { is_numbered: true, batch, concurrency: 3, timeout_ms: TIMEOUT_MS, ..to_peer };
        to_peer.policy.retry.attempts = 10_000;
        to_peer.policy.retry.backoff = Backoff::Fixed(AGAIN_MS / 5);
        all.push(to_peer);
        all
    }
}

impl Known {
    fn take(&mut self, name: &str, message: &Message) {
        let key = message.key().expect("everything has a key").to_owned();
        match name {
            "erp-orders" => drop(self.orders.entry(key).or_default().insert(message.id())),
            "shop-status" => drop(self.confirmed.insert(key)),
            _ => {
                let body = std::str::from_utf8(message.body()).expect("text");
                self.shown.insert(key, body.parse().expect("a version"));
            }
        }
    }

    /// The shop sells.
    pub fn order(&mut self, number: u64) {
        let key = format!("order:{number}");
        let draft = Message::to(PEER[SHOP]).key(key.as_str()).kind("order.created").body(key.as_bytes());
        self.put_out(SHOP, key, draft);
    }

    /// The ERP changes what it has of an article.
    pub fn change(&mut self, key: &str) {
        let version = self.newest.entry(key.to_owned()).or_default();
        *version += 1;
        let version = *version;
        let kind = if key.starts_with("price") { "price.changed" } else { "stock.changed" };
        let body = version.to_string().into_bytes();
        let draft = Message::to(PEER[ERP]).key(key).kind(kind).version(version).body(body);
        self.put_out(ERP, format!("{key}/{version}"), draft);
    }

    fn put_out(&mut self, side: usize, delivery: String, mut draft: Draft) {
        draft.envelope.idempotency_key = Some(delivery.as_str().into());
        self.outbox[side].insert(delivery, draft);
    }

    /// What does not hold between the two systems, once all is at rest.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for key in &self.accepted {
            let came = self.orders.get(key).map_or(0, BTreeSet::len);
            if came != 1 {
                found.push(format!("{key} was accepted, and came to the ERP under {came} ids"));
            }
            if !self.confirmed.contains(key) {
                found.push(format!("{key} was accepted, and the shop never heard that the ERP has it"));
            }
        }
        let strange = self.orders.keys().filter(|key| !self.accepted.contains(*key));
        found.extend(strange.map(|key| format!("nobody ordered {key}")));
        for (key, version) in &self.newest {
            if self.shown.get(key) != Some(version) {
                found.push(format!("{key} is {version} in the ERP, and the shop shows {:?}", self.shown.get(key)));
            }
        }
        found
    }
}

/// What a message from one side becomes at the other, by its type.
pub fn routed(from: usize, envelope: &Envelope, body: &[u8]) -> Draft {
    let to = match envelope.kind.as_deref() {
        Some("price.changed") => "shop-prices",
        Some("stock.changed") => "shop-stock",
        Some("goniec.delivered") => "shop-status",
        _ => "erp-orders",
    };
    let mut draft = Message::to(to).header(SOURCE_HEADER, SOURCE[from]).body(body);
    draft.envelope.key = envelope.key.clone();
    draft.envelope.kind = envelope.kind.clone();
    draft.envelope.version = envelope.version;
    draft
}
