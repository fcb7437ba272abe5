//! Registries and manifests whose differences are known, because they were planted.

#[path = "../common/dice.rs"]
mod dice;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::{Alert, Channel, Destination, Engine, Kind, Rule, Settings};
use goniec::model::chain::Link;
use goniec::model::{Queued, WallMs};
use goniec::store::memory::MemoryStore;
use goniec::store::{Batch, Expect, Incoming, Move, Query, StateName, Store};
use goniec::{Message, State};

pub use dice::Dice;

/// When everything is compared: a day after the epoch of the ids.
pub const NOW: WallMs = WallMs(1_790_000_000_000);
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

/// What becomes of a key in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Matched,
    Missing,
    Stale,
    Unexpected,
    UnderWay,
    Settling,
    /// It is in no figure.
    Nowhere,
}

/// A message in the life of a key.
#[derive(Debug, Clone)]
struct Past {
    at: WallMs,
    version: u64,
    is_gone: bool,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Delivered,
    Held,
    Cancelled,
}

struct Key {
    name: String,
    known: Known,
    past: Vec<Past>,
    /// The versions that the manifest has of it: several lines where several.
    listed: Vec<Listed>,
}

/// A line: what it says of version, body and time.
#[derive(Clone, Copy)]
struct Listed {
    version: Option<u64>,
    /// The version whose body it has the hash of.
    hash: Option<u64>,
    changed: Option<WallMs>,
}

pub struct Planted {
    keys: Vec<Key>,
}

fn body(key: &str, version: u64) -> String {
    format!("{{\"order\":\"{key}\",\"version\":{version}}}")
}

fn before(ms: u64) -> WallMs {
    WallMs(NOW.0 - ms)
}

fn past(at: WallMs, version: u64) -> Past {
    Past { at, version, is_gone: false, end: End::Delivered }
}

const PLAIN: Listed = Listed { version: None, hash: None, changed: None };

impl Planted {
    /// So many keys that were delivered in their first version.
    pub fn plain(count: u64) -> Planted {
        let of = |number| Key {
            name: format!("order:{number}"),
            known: Known::Missing,
            past: vec![past(before(DAY + number), 1)],
            listed: Vec::new(),
        };
        Planted { keys: (0..count).map(of).collect() }
    }

    pub fn new(dice: &mut Dice) -> Planted {
        let count = 20 + dice.below(200);
        Planted { keys: (0..count).map(|number| key(number, dice)).collect() }
    }

    /// The keys of which this is known.
    pub fn of(&self, known: Known) -> BTreeSet<String> {
        self.keys.iter().filter(|key| key.known == known).map(|key| key.name.clone()).collect()
    }

    /// The manifest, with its content type.
    pub fn manifest(&self, dice: &mut Dice) -> (&'static str, String) {
        let mut lines: Vec<(&Key, Listed)> = Vec::new();
        for key in &self.keys {
            lines.extend(key.listed.iter().map(|listed| (key, *listed)));
        }
        for from in (1..lines.len()).rev() {
            lines.swap(from, dice.below(from as u64 + 1) as usize);
        }
        let words = |(key, listed): &(&Key, Listed)| {
            let hash = listed.hash.map(|version| Link::over(body(&key.name, version).as_bytes()).to_string());
            let version = listed.version.map(|version| version.to_string());
            [Some(key.name.clone()), version, hash, listed.changed.map(WallMs::rfc3339)]
        };
        let object = |line: &(&Key, Listed)| {
            let [key, version, hash, changed] = words(line);
            serde_json::json!({"key": key, "version": version, "hash": hash, "changed": changed, "more": [1]})
        };
        match dice.below(3) {
            0 => {
                let sign = [",", ";", "\t"][dice.below(3) as usize];
                let cell = |word: Option<String>| format!("\"{}\"", word.unwrap_or_default().replace('"', "\"\""));
                let mut text = ["note", "key", "version", "hash", "changed"].join(sign) + "\r\n";
                for line in &lines {
                    text += &format!("\"a{sign}\nb\"{sign}{}\r\n", words(line).map(cell).join(sign));
                }
                ("text/csv; charset=utf-8", text)
            }
            1 => ("application/x-ndjson", lines.iter().map(|line| format!("{}\n", object(line))).collect()),
            _ => {
                ("application/json", serde_json::Value::from(lines.iter().map(object).collect::<Vec<_>>()).to_string())
            }
        }
    }
}

/// A key of a random fate.
fn key(number: u64, dice: &mut Dice) -> Key {
    let name = format!("order:{number}/żółć \"{}\"", dice.below(1_000));
    let version = 2 + dice.below(1_000);
    // Anywhere from the moment that has settled to the edge of the window, both often met.
    let settled = [10 * MINUTE, 30 * DAY, 10 * MINUTE + dice.below(30 * DAY - 10 * MINUTE)][dice.below(3) as usize];
    let delivered = past(before(settled), version);
    let older = past(before(settled + 1 + dice.below(40 * DAY)), version - 1);
    let first = |newest: Past| if number.is_multiple_of(2) { vec![older.clone(), newest] } else { vec![newest] };
    let changed = Some(delivered.at);
    let same = Listed { version: Some(version), hash: Some(version), changed };
    let mut rest = Vec::new();
    let (known, mut life, listed) = match dice.below(16) {
        0 | 1 => (Known::Matched, first(delivered), vec![same]),
        2 => (Known::Matched, first(delivered), vec![Listed { version: Some(version + 1), ..PLAIN }]),
        3 => (Known::Matched, first(delivered), vec![Listed { hash: Some(version - 1), ..same }, same, PLAIN]),
        4 | 5 => (Known::Missing, first(delivered), vec![]),
        6 => (Known::Stale, first(delivered), vec![Listed { version: Some(version - 1), ..PLAIN }]),
        7 => (Known::Stale, first(delivered), vec![Listed { hash: Some(version - 1), ..same }]),
        8 => {
            let changed = Some(WallMs(before(settled).0 - 10 * MINUTE - 1));
            (Known::Stale, first(delivered), vec![Listed { changed, ..PLAIN }])
        }
        9 => (Known::Stale, first(Past { is_gone: true, ..delivered }), vec![same]),
        10 => (Known::Matched, first(Past { is_gone: true, ..delivered }), vec![]),
        11 => (Known::Unexpected, vec![], vec![Listed { changed: None, ..same }]),
        12 => {
            rest.push(Past { end: End::Held, ..past(before(dice.below(MINUTE)), version + 1) });
            (Known::UnderWay, first(delivered), vec![PLAIN; dice.below(2) as usize])
        }
        13 => (Known::Settling, first(past(before(dice.below(10 * MINUTE)), version)), vec![]),
        14 => {
            let old = past(before(30 * DAY + 1 + dice.below(9 * DAY)), version);
            (Known::Nowhere, vec![old], vec![PLAIN; dice.below(2) as usize])
        }
        _ => {
            let listed = [vec![PLAIN], vec![], vec![Listed { changed: Some(before(30 * DAY + 1)), ..PLAIN }]];
            let which = dice.below(3) as usize;
            let cancelled = Past { end: End::Cancelled, ..delivered };
            (Known::Nowhere, if which == 2 { vec![] } else { vec![cancelled] }, listed[which].clone())
        }
    };
    if known == Known::Missing && number.is_multiple_of(3) {
        // Nobody wants it, so the one before it counts.
        rest.push(Past { end: End::Cancelled, ..past(before(0), version + 1) });
    }
    life.append(&mut rest);
    Key { name, known, past: life, listed }
}

/// A registry that has lived what was planted, and its engine.
pub struct World {
    pub engine: Engine,
    pub store: Arc<MemoryStore>,
    sent: Arc<Mutex<BTreeSet<String>>>,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

/// A channel that remembers.
struct Heard(Arc<Mutex<Vec<(String, String)>>>);

impl Channel for Heard {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        let detail = alert.detail.clone().unwrap_or_default();
        self.0.lock().expect("no panic").push((alert.reason.to_owned(), detail));
        Ok(())
    }

    fn name(&self) -> String {
        "heard".into()
    }
}

impl World {
    pub fn with(planted: &Planted) -> World {
        let store = Arc::new(MemoryStore::default());
        let (erp, other) = (store.destination("erp").expect("a number"), store.destination("other").expect("a number"));
        let mut lives: Vec<(&Key, &Past)> =
            planted.keys.iter().flat_map(|key| key.past.iter().map(move |past| (key, past))).collect();
        lives.sort_by_key(|(_, past)| past.at);
        for (key, past) in lives {
            let kind = if past.is_gone { "order.deleted" } else { "order.changed" };
            let body = body(&key.name, past.version);
            let draft = Message::to("erp").key(&*key.name).version(past.version).kind(kind).body(body.as_bytes());
            let keyless = Message::to("erp").body(body.as_bytes());
            let elsewhere = Message::to("other").key(&*key.name).body(body.as_bytes());
            let incoming = [Incoming::new(draft, erp), Incoming::new(keyless, erp), Incoming::new(elsewhere, other)];
            let batch = Batch { now: past.at, accepts: incoming.to_vec(), ..Batch::default() };
            let accepted = store.commit(&batch).expect("writes").accepted;
            let ends = [past.end, End::Delivered, End::Delivered];
            let moves = accepted.iter().zip(ends).map(|((_, place), end)| ended(*place, end)).collect();
            store.commit(&Batch { now: past.at, moves, ..Batch::default() }).expect("writes");
        }
        let sent: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let heard = sent.clone();
        let take = move |message: &Message| {
            heard.lock().expect("no panic").insert(message.key().unwrap_or_default().to_owned());
        };
        let told: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let rule = Rule { kinds: vec![Kind::Reconcile], ..Rule::all(Heard(told.clone()), 0) };
        let destinations = vec![Destination::new("erp", take), Destination::new("other", |_: &Message| ())];
        // The clock of the engine is another one than that of the plot.
        let mut settings = Settings::default();
        (settings.retention.delivered_ms, settings.retention.abandoned_ms) = (u64::MAX, u64::MAX);
        settings.retention.bodies_ms = u64::MAX;
        let engine = Engine::start(store.clone(), destinations, settings, vec![rule]).expect("starts");
        World { engine, store, sent, told }
    }

    /// The keys that were sent, once these many were.
    pub fn sent(&self, count: usize) -> BTreeSet<String> {
        once(|| self.sent.lock().expect("no panic").clone(), |sent| sent.len() >= count)
    }

    /// What a person was told, once it is so much.
    pub fn told(&self, count: usize) -> Vec<(String, String)> {
        once(|| self.told.lock().expect("no panic").clone(), |told| told.len() >= count)
    }

    /// A time at which everything that was sent has settled, once it has arrived.
    pub fn settled(&self) -> WallMs {
        let waits = Query { states: vec![StateName::Queued, StateName::Sending], limit: 1, ..Query::default() };
        once(|| self.engine.list(&waits).expect("lists").messages, Vec::is_empty);
        let all = self.engine.list(&Query { limit: 1_000, ..Query::default() }).expect("lists").messages;
        let newest = all.iter().map(|shown| shown.record.updated_at).max().expect("a message");
        newest.plus(10 * MINUTE)
    }
}

/// What it is once it is so, or after ten seconds.
fn once<T>(is: impl Fn() -> T, enough: impl Fn(&T) -> bool) -> T {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let now = is();
        if enough(&now) || Instant::now() > until {
            return now;
        }
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.engine.shutdown(Duration::from_secs(5)).expect("ends");
    }
}

/// The step to this end.
fn ended(place: goniec::model::Place, end: End) -> Move {
    let queued = State::Queued(Queued::Ready);
    let (to, attempts) = match end {
        End::Delivered => (State::Delivered, 1),
        End::Held => (State::Queued(Queued::Held), 0),
        End::Cancelled => (State::Abandoned(goniec::model::Abandoned::Cancelled), 0),
    };
    Move {
        place,
        expect: Expect { state: queued, attempts: 0, revision: 1 },
        to,
        by: None,
        attempts,
        series: attempts,
        attempt: None,
        amend: None,
        untold: false,
    }
}

/// A whole answer with this content.
pub fn answer((content_type, text): &(&str, String)) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        .into_bytes()
}
