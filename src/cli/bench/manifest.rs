//! A registry of many messages against lists of as many lines: how long it takes, how much memory, and who waits for it meanwhile.
//!
//! # What holds
//!
//! * What the lists lack, and have too many, is found, and nothing else; a run in which it is not is a failure, whatever its figures.
//! * What a comparison does to others is held against the moments before it, in the same node, and so is what a thread does to them that only
//!   computes: what a comparison does beyond that is its own.
//!
//! # What it does not know
//!
//! How lists are read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::local::{self, BODIES, DESTINATION};
use super::measure::Round;
use super::node::Node;
use super::reconcile::compared;
use super::sink::{Bare, whole};
use super::streams::{BYTES, wait_delivered};
use super::table::Row;
use super::waiting::fill;
use super::{Fail, Plan, failed, megabytes, progress};
use crate::model::chain::Link;
use crate::transport::http::Client;

/// Messages and lines, unless the caller says otherwise.
const MESSAGES: usize = 1_000_000;
/// Keys that no list has, and keys that every list has too many.
const MISSING: u64 = 10;
const UNEXPECTED: u64 = 5;
/// Lines come in another order than messages: each is so many keys behind the one before. No count of messages has this factor, which is prime.
const STRIDE: u64 = 611_953;
/// Where messages go that come in meanwhile.
const OTHER: &str = "other";
/// How long is looked what others wait for before anything is compared, and how long beside a thread that computes.
const BEFORE: Duration = Duration::from_secs(2);
/// How long others rest between two messages.
const REST: Duration = Duration::from_millis(2);
/// How long one request may take, and how long until everything was delivered.
const PATIENCE: Duration = Duration::from_secs(60);
const TIME_MAX: Duration = Duration::from_secs(600);
/// When a node is stopped, after its comparison began.
const STOPPED_AFTER: Duration = Duration::from_millis(500);

/// The comparisons, what each is with, and what the configuration says of it.
const COMPARISONS: [(&str, &str, &str); 5] = [
    ("csv", "a file of CSV", "key = \"key\""),
    ("ndjson", "a file of NDJSON", "key = \"key\""),
    ("url", "CSV at a URL", "key = \"key\""),
    ("picked", "a file of CSV whose key a filter makes", "key = '\"sku:\" + .no'"),
    ("hash", "a file of CSV with hashes", "key = \"key\", hash = \"hash\""),
];

/// Rows for each kind of list, and for those who wait.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (messages, bytes) = (plan.messages.unwrap_or(MESSAGES), plan.size.unwrap_or(BYTES));
    let sink = Bare::start()?;
    let dir = local::fresh(plan);
    let lists = Lists::new(plan)?;
    let config = lists.config(sink.address);
    let node = Node::start(&dir, &config)?;
    let messages = fill(&node, "manifest", messages, bytes, messages)?;
    wait_delivered(&node, messages, TIME_MAX)?;
    node.stop()?;
    lists.write(messages, bytes)?;
    let mut rows = Vec::new();
    for (name, words, _) in COMPARISONS {
        let mut rounds = Vec::new();
        for round in 1..=plan.rounds {
            let node = Node::start(&dir, &config)?;
            let measured = measured(&node, name, messages)?;
            progress(&format!("manifest: {words}, round {round} of {}: {measured}", plan.rounds));
            rounds.push(measured);
            node.stop()?;
        }
        let what = |what: &str| format!("{messages} messages against {words}{what}");
        let all = |of: fn(&Measured) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
        rows.push(Row::new("manifest", what(""), "s", &all(|round| round.seconds)));
        rows.push(Row::new("manifest", what(", the most memory of the node"), "MB", &all(|round| round.memory_mb)));
        let before = "the seconds before it";
        for (words, of) in [
            (", p99 of accepting meanwhile", Waited::accept_ms as fn(&Waited) -> f64),
            (", p99 until delivered meanwhile", Waited::life_ms),
        ] {
            let waited = |phase: Phase| rounds.iter().map(move |round| of(round.waited(phase)));
            let beside = |phase: Phase| {
                let both = waited(phase).zip(waited(Phase::Quiet));
                both.map(|(own, bare)| Round { own, bare }).collect::<Vec<_>>()
            };
            rows.push(Row::beside("manifest", what(words), "ms", &beside(Phase::Compared), before));
            let only = format!("{}, while a thread computes in its place", what(words));
            rows.push(Row::beside("manifest", only, "ms", &beside(Phase::Computed), before));
        }
    }
    rows.push(stopped(plan, &dir, &config)?);
    Ok(rows)
}

/// What goes on while others hand messages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing else.
    Quiet,
    /// A thread computes.
    Computed,
    /// The node compares.
    Compared,
    /// It is over.
    Over,
}

/// What one comparison took, and what others waited for before it, beside a thread that computes, and meanwhile.
struct Measured {
    seconds: f64,
    memory_mb: f64,
    quiet: Waited,
    computed: Waited,
    compared: Waited,
}

/// What the slowest but one in a hundred waited for, in milliseconds.
struct Waited {
    accept_ms: f64,
    life_ms: f64,
}

impl Waited {
    fn accept_ms(&self) -> f64 {
        self.accept_ms
    }

    fn life_ms(&self) -> f64 {
        self.life_ms
    }

    fn of(lived: &[Lived], phase: Phase) -> Waited {
        let p99 = |of: fn(&Lived) -> f64| {
            let mut ms: Vec<f64> = lived.iter().filter(|lived| lived.phase == phase).map(of).collect();
            ms.sort_by(f64::total_cmp);
            ms.get(ms.len() * 99 / 100).copied().unwrap_or(f64::NAN)
        };
        Waited { accept_ms: p99(|lived| lived.accept_ms), life_ms: p99(|lived| lived.life_ms) }
    }
}

impl Measured {
    fn waited(&self, phase: Phase) -> &Waited {
        match phase {
            Phase::Quiet => &self.quiet,
            Phase::Computed => &self.computed,
            Phase::Compared | Phase::Over => &self.compared,
        }
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s, {:.0} MB; p99 accepted, delivered in ms:", self.seconds, self.memory_mb)?;
        for (name, waited) in [("quiet", &self.quiet), ("computing", &self.computed), ("comparing", &self.compared)] {
            write!(f, " {name} {:.1}, {:.1};", waited.accept_ms, waited.life_ms)?;
        }
        Ok(())
    }
}

/// Compares, while another destination has something to do.
fn measured(node: &Node, name: &str, messages: u64) -> Result<Measured, Fail> {
    let phase = Mutex::new(Phase::Quiet);
    let now = || *phase.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = |next| *phase.lock().unwrap_or_else(PoisonError::into_inner) = next;
    let (compared, lived) = std::thread::scope(|threads| {
        let others = threads.spawn(|| lives(node, now));
        // What is measured is what goes on in this time.
        std::thread::sleep(BEFORE);
        begin(Phase::Computed);
        let began = Instant::now();
        while began.elapsed() < BEFORE {
            std::hint::spin_loop();
        }
        begin(Phase::Compared);
        let compared = compared(node, name);
        begin(Phase::Over);
        (compared, others.join().unwrap_or_else(|_| Err(failed("a thread panicked"))))
    });
    let ((seconds, report), lived) = (compared?, lived?);
    let count = |what: &str| report.pointer(&format!("/{what}")).and_then(Value::as_u64);
    let found = (count("matched"), count("missing/count"), count("stale/count"), count("unexpected/count"));
    if found != (Some(messages - MISSING), Some(MISSING), Some(0), Some(UNEXPECTED)) {
        return Err(failed(format!("what the list lacks was not found, or something else: {report}")));
    }
    Ok(Measured {
        seconds,
        memory_mb: node.memory_peak_bytes().map_or(f64::NAN, megabytes),
        quiet: Waited::of(&lived, Phase::Quiet),
        computed: Waited::of(&lived, Phase::Computed),
        compared: Waited::of(&lived, Phase::Compared),
    })
}

/// One message that somebody handed in.
struct Lived {
    phase: Phase,
    accept_ms: f64,
    life_ms: f64,
}

/// Hands messages in one after the other, and looks until each is delivered.
fn lives(node: &Node, now: impl Fn() -> Phase) -> Result<Vec<Lived>, Fail> {
    let client = Client::new();
    let ask = |method: &str, path: &str, body: &[u8]| -> Result<Value, Fail> {
        let answer = client.call(method, &format!("http://{}{path}", node.address), &[], body, PATIENCE);
        let answer = answer.map_err(|failure| failed(failure.detail))?;
        serde_json::from_slice(&answer.body).map_err(|_| failed(format!("{path} answers {}", answer.status)))
    };
    let mut all = Vec::new();
    loop {
        let phase = now();
        if phase == Phase::Over {
            return Ok(all);
        }
        let began = Instant::now();
        let ms = || began.elapsed().as_secs_f64() * 1_000.0;
        let taken = ask("POST", &format!("/v1/send/{OTHER}"), b"{}")?;
        let accept_ms = ms();
        let id = taken.get("id").and_then(Value::as_str).ok_or_else(|| failed(format!("not taken: {taken}")))?;
        let path = format!("/v1/messages/{id}");
        while ask("GET", &path, &[])?.get("state").and_then(Value::as_str) != Some("delivered") {
            if began.elapsed() > PATIENCE {
                return Err(failed(format!("message {id} was not delivered within {PATIENCE:?}")));
            }
        }
        all.push(Lived { phase, accept_ms, life_ms: ms() });
        // The pace at which others come; the loop ends with the comparison.
        std::thread::sleep(REST);
    }
}

/// How long a node takes to end that compares.
fn stopped(plan: &Plan, dir: &Path, config: &str) -> Result<Row, Fail> {
    let mut took = Vec::new();
    for _ in 0..plan.rounds {
        let node = Node::start(dir, config)?;
        node.post("/v1/reconcile/hash/run")?;
        // What is measured is an end in its midst.
        std::thread::sleep(STOPPED_AFTER);
        let began = Instant::now();
        node.stop()?;
        took.push(began.elapsed().as_secs_f64());
    }
    Ok(Row::new("manifest", "the end of a node that compares".into(), "s", &took))
}

/// The lists, one of each kind.
struct Lists {
    csv: PathBuf,
    ndjson: PathBuf,
    /// Where the first is too.
    address: SocketAddr,
}

impl Lists {
    /// Lists that are written later.
    fn new(plan: &Plan) -> Result<Lists, Fail> {
        let name = local::fresh(plan);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.map_err(|error| failed(format!("no free port: {error}")))?;
        let address = listener.local_addr().map_err(|error| failed(format!("no address: {error}")))?;
        let lists = Lists { csv: name.with_extension("csv"), ndjson: name.with_extension("ndjson"), address };
        let csv = lists.csv.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks tells what is wrong.
                drop(serve(stream, &csv));
            }
        });
        Ok(lists)
    }

    fn config(&self, sink: SocketAddr) -> String {
        let mut config = String::new();
        for name in [DESTINATION, OTHER] {
            let _text = write!(config, "[destination.{name}]\nurl = \"http://{sink}/\"\nconcurrency = 16\n");
        }
        for (name, _, fields) in COMPARISONS {
            let origin = match name {
                "url" => format!("url = \"http://{}/list.csv\"", self.address),
                "ndjson" => format!("file = \"{}\"", self.ndjson.display()),
                _ => format!("file = \"{}\"", self.csv.display()),
            };
            let _text = write!(
                config,
                "[reconcile.{name}]\ndestination = \"{DESTINATION}\"\nsettle = \"0s\"\nmanifest = {{ {origin}, {fields}, cycle = \"every 24h\" }}\n"
            );
        }
        config
    }

    /// Lists all but a few of so many keys, and some that nobody knows.
    fn write(&self, messages: u64, bytes: usize) -> Result<(), Fail> {
        let error = |error: std::io::Error| failed(format!("cannot write a list: {error}"));
        // A JSON string is sent as its text.
        let hash = |number| Link::over(local::words(bytes.saturating_sub(2), number).as_bytes()).to_string();
        let hashes: Vec<String> = (0..BODIES).map(hash).collect();
        let file = |path: &Path| std::fs::File::create(path).map(std::io::BufWriter::new).map_err(error);
        let (mut csv, mut ndjson) = (file(&self.csv)?, file(&self.ndjson)?);
        csv.write_all(b"key,no,changed,hash\n").map_err(error)?;
        let keys = (0..messages).map(|number| number * STRIDE % messages);
        for number in keys.filter(|number| *number >= MISSING).chain(messages..messages + UNEXPECTED) {
            let hash = usize::try_from(number).ok().and_then(|number| hashes.get(number % BODIES));
            let hash = hash.map_or("", String::as_str);
            writeln!(csv, "sku:{number},{number},2100-01-01T00:00:00Z,{hash}").map_err(error)?;
            writeln!(ndjson, "{{\"key\":\"sku:{number}\",\"no\":{number},\"changed\":\"2100-01-01T00:00:00Z\"}}")
                .map_err(error)?;
        }
        csv.flush().and_then(|()| ndjson.flush()).map_err(error)
    }
}

/// Answers each request with the file.
fn serve(mut stream: std::net::TcpStream, csv: &Path) -> std::io::Result<()> {
    let mut held = Vec::new();
    while whole(&mut stream, &mut held)?.is_some() {
        let mut file = std::fs::File::open(csv)?;
        let length = file.metadata()?.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: {length}\r\n\r\n")?;
        std::io::copy(&mut file, &mut stream)?;
    }
    Ok(())
}
