//! What messages that wait cost a node: memory, and the time of a start.
//!
//! # What it does not know
//!
//! How a node holds them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::lines::{self, Peer};
use super::local::{self, DESTINATION};
use super::node::Node;
use super::streams::wait_delivered;
use super::table::Row;
use super::{Fail, KIB, Plan, failed, intake, megabytes, progress};

/// Messages of a request.
const REQUEST: usize = 1_000;
/// Whatever a start leaves to be done shows within such a moment.
const MOMENT: Duration = Duration::from_secs(2);
/// How often it is looked whether a node has ended.
const LOOK: Duration = Duration::from_millis(5);
/// Rounds of delivering and removing.
const CHURNS: usize = 10;
/// How long the messages of one of them may take.
const CHURN_TIME_MAX: Duration = Duration::from_secs(120);
/// Messages that wait, unless the caller says otherwise; a fifth as many are delivered in each round, ten times as many small ones wait.
const WAITING: usize = 1_000_000;
/// Bodies of the small ones, in bytes.
const SMALL: usize = 200;

const IDLE_MB_MAX: f64 = 20.0;
const WAITING_MB_MAX: f64 = 260.0;
const START_S_MAX: f64 = 2.0;
const START_SMALL_S_MAX: f64 = 5.0;
/// The last round may leave so many times the memory of the second one: the first fills what is kept ready.
const FLAT: f64 = 1.1;

/// The memory of a node that has nothing to do.
pub(super) fn idle(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let node = Node::start(&local::fresh(plan), "")?;
    // What is measured is what is left after a moment's rest.
    std::thread::sleep(MOMENT);
    let memory = memory_mb(&node)?;
    progress(&format!("idle: {memory:.0} MB"));
    Ok(vec![Row::at_most("idle", "memory of an idle node".into(), "MB", &[memory], IDLE_MB_MAX)])
}

/// The memory of a node with many messages, and after many more were delivered and removed.
pub(super) fn memory(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(WAITING));
    let peer = Shut::open()?;
    let dir = local::fresh(plan);
    let node = Node::start(&dir, &peer.config(true))?;
    fill(&node, "memory", messages, bytes, messages / 10)?;
    let filled = memory_mb(&node)?;
    peer.stop(node)?;
    let mut started = Vec::new();
    for _ in 0..plan.rounds {
        let node = Node::start(&dir, &peer.config(true))?;
        // As above.
        std::thread::sleep(MOMENT);
        started.push(memory_mb(&node)?);
        peer.stop(node)?;
    }
    let what = |when: &str| format!("memory, {messages} of {bytes} B with ordering keys wait, {when}");
    let mut rows = vec![
        Row::at_most("memory", what("after their intake"), "MB", &[filled], WAITING_MB_MAX),
        Row::at_most("memory", what("after a start"), "MB", &started, WAITING_MB_MAX),
    ];
    rows.push(churn(plan, (messages / 5).max(1), bytes)?);
    Ok(rows)
}

/// Ten rounds, each delivered and removed.
fn churn(plan: &Plan, messages: usize, bytes: usize) -> Result<Row, Fail> {
    let sink = super::sink::Bare::start()?;
    let config = format!(
        "[store]\nkeep_delivered = \"1s\"\nkeep_bodies = \"1s\"\n[destination.{DESTINATION}]\nurl = \"http://{}/\"\n",
        sink.address
    );
    let node = Node::start(&local::fresh(plan), &config)?;
    let mut all = Vec::new();
    for round in 1..=CHURNS {
        let before = node.delivered()?;
        let handed_in = fill(&node, "churn", messages, bytes, 0)?;
        wait_delivered(&node, before + handed_in, CHURN_TIME_MAX)?;
        all.push(memory_mb(&node)?);
        progress(&format!("churn: round {round} of {CHURNS}: {:.0} MB", all.last().copied().unwrap_or_default()));
    }
    node.stop()?;
    let second = all.get(1).copied().unwrap_or_default();
    let what = format!("memory after the last of {CHURNS} rounds of {messages}, {second:.0} MB after the second");
    Ok(Row::at_most("memory", what, "MB", all.last().map_or(&[], std::slice::from_ref), second * FLAT))
}

/// The time of a start with many messages that wait.
pub(super) fn start(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let messages = plan.messages.unwrap_or(WAITING);
    let bytes = plan.size.unwrap_or(KIB);
    let many = messages.saturating_mul(10);
    let mut rows = Vec::new();
    for (messages, bytes, keys, words, goal) in [
        (messages, bytes, messages / 10, " with ordering keys", START_S_MAX),
        (many, plan.size.unwrap_or(SMALL), 0, "", START_SMALL_S_MAX),
    ] {
        let peer = Shut::open()?;
        let dir = local::fresh(plan);
        let config = peer.config(keys > 0);
        let node = Node::start(&dir, &config)?;
        fill(&node, "start", messages, bytes, keys)?;
        peer.stop(node)?;
        let mut took = Vec::new();
        for round in 1..=plan.rounds {
            let node = Node::start(&dir, &config)?;
            took.push(node.took.as_secs_f64());
            progress(&format!("start: round {round} of {}: {:.2} s", plan.rounds, node.took.as_secs_f64()));
            peer.stop(node)?;
        }
        remove(&dir);
        rows.push(Row::at_most("start", format!("start, {messages} of {bytes} B wait{words}"), "s", &took, goal));
    }
    Ok(rows)
}

/// Hands in so many messages over HTTP, with so many different keys; how many they were in the end.
pub(super) fn fill(node: &Node, name: &str, messages: usize, bytes: usize, keys: usize) -> Result<u64, Fail> {
    let step = REQUEST.min(messages.max(1));
    let requests = messages.div_ceil(step);
    // Keys repeat with as many different requests as they need.
    let different = if keys == 0 { 1 } else { keys.div_ceil(step).min(requests) };
    let each = requests.div_ceil(different);
    for number in 0..different {
        let keys = (keys > 0).then_some((number * step, keys));
        let body = intake::ndjson(step, bytes, keys);
        let request = lines::post(node.address, "/v1/messages", "application/x-ndjson", &body);
        let peer = Peer { address: node.address, requests: vec![request], whole: lines::accepted };
        peer.ask_all(each)?;
        if number % 10 == 0 || different == 1 {
            progress(&format!("{name}: {} of {messages} messages handed in", (number + 1) * each * step));
        }
    }
    Ok(u64::try_from(different * each * step).unwrap_or(u64::MAX))
}

fn memory_mb(node: &Node) -> Result<f64, Fail> {
    node.memory_bytes().map(megabytes).ok_or_else(|| failed("this system does not tell the memory of a process"))
}

fn remove(dir: &Path) {
    // What is left goes with the scratch directory.
    drop(std::fs::remove_dir_all(dir));
}

/// A destination that never takes what is sent: its connections are not looked at before it is let go.
struct Shut(TcpListener);

impl Shut {
    fn open() -> Result<Shut, Fail> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        listener.map(Shut).map_err(|error| failed(format!("no free port: {error}")))
    }

    /// Ends a node: what hangs here is let go, so that it need not be waited for.
    fn stop(&self, node: Node) -> Result<(), Fail> {
        std::thread::scope(|threads| {
            let stopping = threads.spawn(|| node.stop());
            while !stopping.is_finished() {
                while let Ok((hanging, _)) = self.0.accept() {
                    drop(hanging);
                }
                // What is waited for is looked at again; the node has a limit of its own.
                std::thread::sleep(LOOK);
            }
            stopping.join().unwrap_or_else(|_| Err(failed("the thread that stops a node panicked")))
        })
    }

    fn config(&self, by_key: bool) -> String {
        let port = self.0.local_addr().map_or(0, |address| address.port());
        let order = if by_key { "key" } else { "none" };
        format!(
            "[destination.{DESTINATION}]\nurl = \"http://127.0.0.1:{port}/\"\norder = \"{order}\"\ntimeout = \"1h\"\n\
             concurrency = 1\n"
        )
    }
}
