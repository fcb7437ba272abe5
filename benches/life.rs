//! Whole lives: accepted, sent over a transport that does nothing, delivered, all durable; against plain `sled` inserts of the same bytes
//! without a flush, in the same run on the same disk. Prints a line a round and the median of the ratios.
//!
//! With `hold`, every message is claimed durably before it goes out (`on_uncertain = "hold"`).
//!
//! `cargo bench --bench life [-- BYTES [MESSAGES [ROUNDS [PRODUCERS [REQUEST]]]] [hold]]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::engine::{Destination, Engine, Settings};
use goniec::model::{OnUncertain, Policy};
use goniec::store::sled::{Options, SledStore};
use goniec::{Draft, Message};

/// What is measured.
struct Plan {
    bytes: usize,
    messages: usize,
    producers: usize,
    /// How many messages a request holds.
    request: usize,
    on_uncertain: OnUncertain,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let hold = std::env::args().any(|word| word == "hold");
    let rounds = number(2, 5);
    let plan = Plan {
        bytes: number(0, 1_024),
        messages: number(1, 200_000),
        producers: number(3, 4),
        request: number(4, 100),
        on_uncertain: if hold { OnUncertain::Hold } else { OnUncertain::Retry },
    };
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let plain = plain_inserts(plan.bytes, plan.messages);
        let (accepts, lives) = whole_lives(&plan);
        println!(
            "round {round}: {} B: plain inserts {plain:.0}/s, accepts {accepts:.0}/s, whole lives {lives:.0}/s, ratio {:.2}",
            plan.bytes,
            lives / plain
        );
        ratios.push(lives / plain);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio of {rounds}: {:.2}", ratios[ratios.len() / 2]);
}

fn per_second(messages: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(messages).expect("fits")) / took.as_secs_f64()
}

fn plain_inserts(bytes: usize, messages: usize) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let db = sled::Config::new().path(dir.path().join("db")).cache_capacity(64 << 20).open().expect("opens");
    let body = vec![b'x'; bytes];
    let began = Instant::now();
    for number in 0..u64::try_from(messages).expect("fits") {
        db.insert(number.to_be_bytes(), &*body).expect("inserts");
    }
    per_second(messages, began.elapsed())
}

fn whole_lives(plan: &Plan) -> (f64, f64) {
    let &Plan { bytes, messages, producers, request, on_uncertain } = plan;
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SledStore::open(dir.path(), Options::default()).expect("opens"));
    let policy = Policy { on_uncertain, ..Policy::default() };
    let nowhere = Destination { concurrency: 1, policy, ..Destination::new("nowhere", |_: &Message| ()) };
    let engine = Engine::start(store, vec![nowhere], Settings::default(), Vec::new()).expect("starts");
    let body: Arc<[u8]> = vec![b'x'; bytes].into();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..producers {
            let (engine, body) = (engine.clone(), body.clone());
            scope.spawn(move || {
                for _ in 0..messages / producers / request {
                    let drafts: Vec<Draft> = (0..request).map(|_| Message::to("nowhere").body(body.clone())).collect();
                    engine.accept_wait(drafts).expect("accepts");
                }
            });
        }
    });
    let accepted = began.elapsed();
    let expected = u64::try_from(messages / producers / request * request * producers).expect("fits");
    while engine.stats().delivered < expected {
        // What is waited for is looked at again.
        std::thread::sleep(Duration::from_millis(1));
    }
    let lived = began.elapsed();
    engine.shutdown(Duration::from_secs(10)).expect("stops");
    (per_second(messages, accepted), per_second(messages, lived))
}
