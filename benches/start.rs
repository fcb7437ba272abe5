//! What waiting messages cost: the memory of a running engine and the time of a start, each stage in a process of its own.
//!
//! ```text
//! idle     an engine with nothing in it
//! fill     MESSAGES handed in for a destination that hangs; those it does not hold wait
//! start    the same registry opened again
//! churn    ten rounds of MESSAGES / 5, delivered and then removed by retention
//! ```
//!
//! `cargo bench --bench start [-- BYTES [MESSAGES [KEYS]]]`; with KEYS, order binds and the messages are spread over so many keys.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::engine::{Destination, Engine, Order, Settings};
use goniec::store::Retention;
use goniec::store::sled::{Options, SledStore};
use goniec::{Draft, Message};

const REQUEST: usize = 1_000;
const ROUNDS: usize = 10;

/// What is measured.
#[derive(Clone, Copy)]
struct Plan {
    bytes: usize,
    messages: usize,
    /// 0: none, and no order.
    keys: usize,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let stage = words.iter().position(|word| word == "stage");
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let plan = Plan { bytes: number(0, 1_024), messages: number(1, 1_000_000), keys: number(2, 0) };
    if let Some(at) = stage {
        return run(&words[at + 1], Path::new(&words[at + 2]), plan);
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (stage, at) in [("idle", "idle"), ("fill", "filled"), ("start", "filled"), ("churn", "churned")] {
        let numbers = [plan.bytes, plan.messages, plan.keys].map(|number| number.to_string());
        let exe = std::env::current_exe().expect("a path");
        let status = Command::new(exe).args(numbers).arg("stage").arg(stage).arg(dir.path().join(at)).status();
        assert!(status.expect("runs").success(), "{stage}");
    }
}

fn run(stage: &str, dir: &Path, plan: Plan) {
    let began = Instant::now();
    let keep_nothing = stage == "churn";
    let engine = engine(dir, plan, keep_nothing);
    let took = began.elapsed();
    match stage {
        "idle" => println!("idle: {} MB", memory_mb()),
        "fill" => {
            let began = Instant::now();
            accept(&engine, plan, plan.messages);
            println!("fill: {} messages in {:.1} s, {} MB", plan.messages, began.elapsed().as_secs_f64(), memory_mb());
        }
        "start" => {
            let first = memory_mb();
            // Whatever a start leaves to be done shows within a moment.
            std::thread::sleep(Duration::from_secs(2));
            println!("start: {:.2} s, {first} MB, {} MB two seconds later", took.as_secs_f64(), memory_mb());
        }
        _ => churn(&engine, plan),
    }
    engine.shutdown(Duration::ZERO).expect("stops");
}

fn churn(engine: &Engine, plan: Plan) {
    for round in 1..=ROUNDS {
        let before = engine.stats().delivered;
        let messages = plan.messages / 5;
        accept(engine, plan, messages);
        let expected = before + u64::try_from(messages / REQUEST * REQUEST).expect("fits");
        while engine.stats().delivered < expected {
            // What is waited for is looked at again.
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("churn: round {round}, {} MB, {} MB on disk", memory_mb(), engine.stats().room.used_bytes >> 20);
    }
}

fn engine(dir: &Path, plan: Plan, delivers: bool) -> Engine {
    let store = Arc::new(SledStore::open(dir, Options::default()).expect("opens"));
    let opened = Instant::now();
    let order = if plan.keys == 0 { Order::None } else { Order::Key };
    let erp = Destination {
        order,
        ..Destination::new("erp", move |_: &Message| {
            if !delivers {
                std::thread::park_timeout(Duration::from_secs(3_600));
            }
        })
    };
    let mut settings = Settings::default();
    if delivers {
        settings.retention = Retention { delivered_ms: 0, abandoned_ms: 0, bodies_ms: 0, ..settings.retention };
    }
    let engine = Engine::start(store, vec![erp], settings, Vec::new()).expect("starts");
    if !delivers {
        println!("(engine started in {:.2} s)", opened.elapsed().as_secs_f64());
    }
    engine
}

fn accept(engine: &Engine, plan: Plan, messages: usize) {
    let body: Arc<[u8]> = vec![b'x'; plan.bytes].into();
    for request in 0..messages / REQUEST {
        let draft = |number: usize| {
            let draft: Draft = Message::to("erp").body(body.clone());
            if plan.keys == 0 { draft } else { draft.key(format!("sku:{}", (request * REQUEST + number) % plan.keys)) }
        };
        engine.accept_wait((0..REQUEST).map(draft).collect()).expect("accepts");
    }
}

/// The resident memory of this process.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kb: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kb >> 10
}
