//! Two registries of many messages that differ in ten: how long it takes to find them, and how much goes over the wire for it.
//!
//! Everything between both nodes goes through a wire of this process, which counts what is said about ledgers and refuses all else: so nothing heals the
//! differences while they are looked for.
//!
//! # What holds
//!
//! * What was planted is found, and nothing else; a run in which it is not is a failure, whatever its figures.
//!
//! # What it does not know
//!
//! How ledgers are compared.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::local::DESTINATION;
use super::measure::float;
use super::node::Node;
use super::sink::whole;
use super::streams::{BYTES, Both, pause, wait_delivered};
use super::table::Row;
use super::waiting::fill;
use super::{Fail, Plan, failed, megabytes, progress};
use crate::model::ranges;

/// Messages, unless the caller says otherwise.
const MESSAGES: usize = 1_000_000;
/// Messages that are removed there, and those that have another body there.
const MISSING: usize = 7;
const STALE: usize = 3;
/// The goals.
const TOOK_S_MAX: f64 = 2.0;
const WIRE_KB_MAX: f64 = 200.0;
/// How long it may take until everything has arrived, and until both are compared.
const TIME_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether a comparison is over.
const LOOK: Duration = Duration::from_millis(5);
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// Comparisons of one pair of registries, the first and a later one after each start.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (messages, bytes) = (plan.messages.unwrap_or(MESSAGES), plan.size.unwrap_or(BYTES));
    let both = Both::new(plan)?;
    let messages = filled(&both, messages, bytes)?;
    let planted = planted(&both, messages)?;
    let (mut first, mut later, mut wire) = (Vec::new(), Vec::new(), Vec::new());
    let (mut questions, mut memory) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let receiver = both.receiver()?;
        let line = Wire::to(receiver.address)?;
        let sender = both.sender(line.address)?;
        for took in [&mut first, &mut later] {
            let before = line.counted();
            let (seconds, report) = compared(&sender, DESTINATION)?;
            planted.check(&report)?;
            let after = line.counted();
            took.push(seconds);
            wire.push(float(after.0 - before.0) / 1_000.0);
            questions.push(float(after.1 - before.1));
            progress(&format!(
                "reconcile: round {round} of {}: {seconds:.2} s, {} bytes, {} questions",
                plan.rounds,
                after.0 - before.0,
                after.1 - before.1
            ));
        }
        let peaks = [&sender, &receiver].map(Node::memory_peak_bytes).into_iter().flatten();
        memory.extend(peaks.max().map(megabytes));
        sender.stop()?;
        receiver.stop()?;
    }
    let what = |what: &str| format!("two registries of {messages} that differ in {}, {what}", MISSING + STALE);
    Ok(vec![
        Row::at_most("reconcile", what("compared first after a start"), "s", &first, TOOK_S_MAX),
        Row::at_most("reconcile", what("compared again"), "s", &later, TOOK_S_MAX),
        Row::at_most("reconcile", what("over the wire"), "kB", &wire, WIRE_KB_MAX),
        Row::new("reconcile", what("questions"), "", &questions),
        Row::new("reconcile", what("the most memory of either node"), "MB", &memory),
    ])
}

/// Sends so many from one to the other, each with a key of its own; how many they are.
fn filled(both: &Both, messages: usize, bytes: usize) -> Result<u64, Fail> {
    let receiver = both.receiver()?;
    pause(&receiver)?;
    let sender = both.sender(receiver.address)?;
    let count = fill(&sender, "reconcile", messages, bytes, messages)?;
    wait_delivered(&sender, count, TIME_MAX)?;
    sender.stop()?;
    receiver.stop()?;
    Ok(count)
}

/// The ids of the messages that differ, where they were sent.
struct Planted {
    missing: BTreeSet<String>,
    stale: BTreeSet<String>,
}

/// Removes some there, and edits others here as if they had arrived so.
fn planted(both: &Both, messages: u64) -> Result<Planted, Fail> {
    let receiver = both.receiver()?;
    let line = Wire::to(receiver.address)?;
    let sender = both.sender(line.address)?;
    pause(&sender)?;
    let mut planted = Planted { missing: BTreeSet::new(), stale: BTreeSet::new() };
    let count = u64::try_from(MISSING + STALE).unwrap_or(u64::MAX);
    for (number, place) in (0..count).zip(0_usize..) {
        let key = number * messages / count;
        let id = id_of(&sender, key)?;
        if place < MISSING {
            let _gone = receiver.ask("DELETE", &format!("/v1/messages/{}", id_of(&receiver, key)?), &[], &[])?;
            planted.missing.insert(id);
        } else {
            let path = format!("/v1/messages/{id}");
            sender.post(&format!("{path}/resend"))?;
            let headers = [("if-match", "\"1\""), ("x-goniec-why", "planted"), ("content-type", "application/json")];
            let _edited = sender.ask("PUT", &format!("{path}/body"), &headers, b"\"another\"")?;
            sender.post(&format!("{path}/cancel"))?;
            sender.post(&format!("{path}/resolve?outcome=delivered"))?;
            planted.stale.insert(id);
        }
    }
    sender.stop()?;
    receiver.stop()?;
    Ok(planted)
}

/// The id of the message with the key of this number.
fn id_of(node: &Node, number: u64) -> Result<String, Fail> {
    let found = node.ask("GET", &format!("/v1/messages?key=sku:{number}"), &[], &[])?;
    let id = found.pointer("/messages/0/id").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| failed(format!("message {number} is in no list")))
}

impl Planted {
    fn check(&self, report: &Value) -> Result<(), Fail> {
        let found = |side: &str| -> BTreeSet<String> {
            let samples = report.pointer(&format!("/{side}/samples")).and_then(Value::as_array);
            let ids = samples.into_iter().flatten().filter_map(|sample| sample.get("id")?.as_str());
            ids.map(str::to_owned).collect()
        };
        let none = report.pointer("/unexpected/count").and_then(Value::as_u64);
        if found("missing") == self.missing && found("stale") == self.stale && none == Some(0) {
            return Ok(());
        }
        Err(failed(format!("what was planted was not found, or something else: {report}")))
    }
}

/// Has this comparison made, and waits for it: how many seconds it took, and what it came to.
pub(super) fn compared(node: &Node, name: &str) -> Result<(f64, Value), Fail> {
    let path = format!("/v1/reconcile/{name}");
    let began = Instant::now();
    node.post(&format!("{path}/run"))?;
    loop {
        let shown = node.ask("GET", &path, &[], &[])?;
        match shown.get("is_running") {
            Some(Value::Bool(false)) if shown.get("failure").is_none_or(Value::is_null) => {
                return Ok((began.elapsed().as_secs_f64(), shown));
            }
            Some(Value::Bool(true)) if began.elapsed() < TIME_MAX => {}
            Some(_) | None => return Err(failed(format!("{name} could not be compared: {shown}"))),
        }
        // What is waited for is looked at again; the loop has a deadline.
        std::thread::sleep(LOOK);
    }
}

/// What lies between two nodes: questions about ledgers go through and are counted, everything else is refused.
struct Wire {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    questions: AtomicU64,
}

impl Wire {
    /// Lays one to this address. Its threads end with their connections.
    fn to(there: SocketAddr) -> Result<Wire, Fail> {
        let error = |error: std::io::Error| failed(format!("no wire between both nodes: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error)?;
        let wire = Wire { address: listener.local_addr().map_err(error)?, counts: Arc::default() };
        let counts = wire.counts.clone();
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let counts = counts.clone();
                // What breaks it is told by the node that asked.
                std::thread::spawn(move || drop(counts.carry(from, there)));
            }
        });
        Ok(wire)
    }

    /// How many bytes went over it in both directions, and how many questions.
    fn counted(&self) -> (u64, u64) {
        (self.counts.bytes.load(Ordering::Relaxed), self.counts.questions.load(Ordering::Relaxed))
    }
}

impl Counts {
    fn carry(&self, mut from: TcpStream, there: SocketAddr) -> std::io::Result<()> {
        let mut to = TcpStream::connect(there)?;
        to.set_nodelay(true)?;
        from.set_nodelay(true)?;
        let (mut asked, mut said) = (Vec::new(), Vec::new());
        while let Some(request) = whole(&mut from, &mut asked)? {
            let head = String::from_utf8_lossy(&request);
            if !head.contains(ranges::CONTENT_TYPE) {
                from.write_all(REFUSAL)?;
                continue;
            }
            to.write_all(&request)?;
            let Some(answer) = whole(&mut to, &mut said)? else { return Ok(()) };
            let bytes = request.len().saturating_add(answer.len());
            self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.questions.fetch_add(1, Ordering::Relaxed);
            from.write_all(&answer)?;
        }
        Ok(())
    }
}
