//! The binary on a disk that fails: writes and sync calls that answer EIO and ENOSPC, writes that take long, a disk that is really full, and little memory.
//!
//! Ledgers outside the node hold it to its word: nothing acknowledged is lost, and after a failed sync nothing is acknowledged.
//! `GONIEC_FAULTS` sets how many calls in turn are made to fail. What this machine cannot do is skipped, aloud.

#![cfg(feature = "cli")]

#[path = "common/disk.rs"]
mod disk;
#[path = "common/node.rs"]
mod node;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use disk::{Disk, run};
use node::{Node, Producers, Sink, ask, lost, rounds};

/// How long a node may go on before it counts as one that met no fault.
const UNHURT: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(30);

fn can_trace(name: &str) -> bool {
    let can = run("strace", &["-f", "-o", "/dev/null", "-e", "inject=fdatasync:delay_enter=1", "true"]);
    if !can {
        println!("SKIPPED: {name}: strace cannot trace here");
    }
    can
}

/// `strace` around the node, doing this to its calls.
fn tracer(inject: &str) -> Vec<String> {
    let calls = inject.split(':').next().unwrap_or_default();
    ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("inject={inject}")])
        .collect()
}

fn words(tracer: &[String]) -> Vec<&str> {
    tracer.iter().map(String::as_str).collect()
}

/// A node whose call number `n` fails; what it acknowledged, and its exit code where it ended.
fn life(data: &Path, sink: u16, inject: &str) -> (HashMap<String, Vec<u8>>, Option<i32>) {
    let tracer = tracer(inject);
    let Some(mut node) = Node::start(data, sink, &words(&tracer)) else { return (HashMap::new(), Some(4)) };
    let producers = Producers::start(3, 200);
    producers.port.store(node.port, Ordering::SeqCst);
    let code = node.ended_within(UNHURT);
    node.kill();
    (producers.finish(), code)
}

/// Lets one call after another fail; how many nodes ended by it.
fn each_sync_fails(call: &str, error: &str) -> usize {
    let (sink, calls) = (Sink::start(), rounds("GONIEC_FAULTS", 6));
    let mut ended = 0;
    for n in 1..=calls {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (ledger, code) = life(&data, sink.port, &format!("{call}:error={error}:when={n}"));
        assert!(code.is_none_or(|code| code == 4), "{call} number {n} answered {error}: exit {code:?}");
        assert_eq!(lost(&data, sink.port, &ledger), 0, "{call} number {n} answered {error}: of {}", ledger.len());
        ended += usize::from(code.is_some());
        println!("{call} number {n} answered {error}: exit {code:?}, {} acknowledged, none lost", ledger.len());
    }
    ended
}

#[test]
fn a_failed_sync_ends_the_node_and_loses_nothing() {
    if !can_trace("a_failed_sync_ends_the_node_and_loses_nothing") {
        return;
    }
    // The log is written through: most syncs are inside of a write. A full disk ends no node, it is refused work.
    for (call, error, ends) in [
        ("pwrite64", "EIO", true),
        ("pwrite64", "ENOSPC", false),
        ("fdatasync", "EIO", true),
        ("fdatasync", "ENOSPC", true),
        ("fsync", "EIO", true),
    ] {
        let ended = each_sync_fails(call, error);
        assert!(ended > 0 || !ends, "no node met a failing {call}: the harness injects nothing");
    }
}

#[test]
fn the_control_a_message_that_was_never_accepted_counts_as_lost() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let data = dir.path().join("data");
    let mut node = Node::start(&data, sink.port, &[]).expect("starts");
    let (_, answer) = ask(node.port, "POST", "/v1/send/sink", "", b"one").expect("answers");
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let id = answer["id"].as_str().unwrap().to_owned();
    node.stop();
    let other = id.replace(&id[..8], "01999999");
    assert_eq!(lost(&data, sink.port, &HashMap::from([(id.clone(), b"one".to_vec())])), 0);
    assert_eq!(lost(&data, sink.port, &HashMap::from([(id, b"two".to_vec())])), 1);
    assert_eq!(lost(&data, sink.port, &HashMap::from([(other, b"one".to_vec())])), 1);
}

#[test]
fn slow_syncs_cost_throughput_and_nothing_else() {
    if !can_trace("slow_syncs_cost_throughput_and_nothing_else") {
        return;
    }
    let sink = Sink::start();
    let mut acknowledged = Vec::new();
    for delay_us in [5_000, 500_000] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let tracer = tracer(&format!("pwrite64:delay_enter={delay_us}"));
        let mut node = Node::start(&data, sink.port, &words(&tracer)).expect("starts");
        let producers = Producers::start(8, 200);
        producers.port.store(node.port, Ordering::SeqCst);
        let until = Instant::now() + PATIENCE;
        while producers.acknowledged.lock().unwrap().len() < 20 {
            assert!(Instant::now() < until, "with syncs of {delay_us} us nothing is acknowledged any more");
            let (status, _) = ask(node.port, "GET", "/healthz", "", b"").expect("answers while the disk is slow");
            assert_eq!(status, 200);
        }
        node.kill();
        let ledger = producers.finish();
        assert_eq!(lost(&data, sink.port, &ledger), 0, "killed on a slow disk");
        acknowledged.push(ledger.len());
    }
    println!("acknowledged on slow disks, none lost: {acknowledged:?}");
}

/// Hands in until the node says something else than yes; what it said.
fn fill(node: &Node, ledger: &mut HashMap<String, Vec<u8>>) -> (u16, String) {
    for n in 0..5_000 {
        let body = [format!("{n}").into_bytes(), vec![b'x'; 200_000]].concat();
        let (status, answer) = ask(node.port, "POST", "/v1/send/sink", "", &body).expect("a full disk still answers");
        let answer = String::from_utf8(answer).unwrap();
        if status != 202 {
            return (status, answer);
        }
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        ledger.insert(answer["id"].as_str().unwrap().to_owned(), body);
    }
    panic!("the disk is never full");
}

fn is_full(answer: &(u16, String)) -> bool {
    answer.0 == 507 && answer.1.contains("\"hint\"")
}

fn status(node: &Node, method: &str, path: &str) -> u16 {
    ask(node.port, method, path, "", b"").expect("answers").0
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_goes_on() {
    let name = "a_full_disk_refuses_loses_nothing_and_goes_on";
    let Some(disk) = Disk::new("ext4", 160) else {
        println!("SKIPPED: {name}: this machine cannot mount a file system of its own (needs root and loop devices)");
        return;
    };
    let (sink, data) = (Sink::start(), disk.data());
    // Somebody else's file takes the room that is freed later.
    let foreign = Path::new(disk.path()).join("foreign");
    std::fs::write(&foreign, vec![7; 48 << 20]).unwrap();
    let mut ledger = HashMap::new();
    let mut node = Node::start(&data, sink.port, &[]).expect("starts");
    let first = fill(&node, &mut ledger);
    assert!(is_full(&first), "{first:?}");
    assert!(ledger.len() > 10, "{} before the disk was full", ledger.len());
    let victim = ledger.keys().next().cloned().unwrap();
    assert_eq!(status(&node, "DELETE", &format!("/v1/messages/{victim}")) / 100, 2, "deletes work within the reserve");
    ledger.remove(&victim);
    // And to the brim, behind its back: now the reserve is gone too.
    let brim = Path::new(disk.path()).join("brim");
    let mut file = std::fs::File::create(&brim).unwrap();
    while file.write_all(&[1; 64 << 10]).is_ok() {}
    drop(file);
    assert_eq!(status(&node, "GET", "/v1/messages?limit=5"), 200, "lists work on a full disk");
    assert_eq!(status(&node, "GET", "/healthz"), 200);
    // What became of messages may have needed the ballast before, and the brim took its room: then there is none for a person.
    let has_ballast = data.join("ballast").exists();
    let victim = ledger.keys().next().cloned().unwrap();
    let answer = status(&node, "DELETE", &format!("/v1/messages/{victim}"));
    assert!(
        answer / 100 == 2 || (answer == 507 && !has_ballast),
        "deletes work on a full disk: {answer}, {has_ballast}"
    );
    ledger.remove(&victim);
    assert_eq!(lost_here(&node, &ledger), 0);
    // A restart while it is full.
    node.kill();
    let node = Node::start(&data, sink.port, &[]).expect("starts");
    assert_eq!(lost_here(&node, &ledger), 0, "after a start on a full disk");
    // Whatever room it still finds is taken from it, until there is none even to open the database anew.
    let mut refused = 0;
    for round in 0..2_000 {
        let mut file = std::fs::OpenOptions::new().append(true).open(&brim).unwrap();
        while file.write_all(&[1; 4 << 10]).is_ok() {}
        drop(file);
        let victim = ledger.keys().next().cloned().unwrap();
        match status(&node, "DELETE", &format!("/v1/messages/{victim}")) {
            507 => refused += 1,
            answer => assert_eq!(answer / 100, 2, "round {round}"),
        }
        // Refused or not, it may be gone: a write that failed may have been whole.
        ledger.remove(&victim);
        assert_eq!(status(&node, "GET", "/healthz"), 200, "a full disk ends no node, round {round}");
        if refused == 5 || ledger.len() < 10 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk was never full to the last");
    // Room again: it goes on by itself.
    std::fs::remove_file(&brim).unwrap();
    std::fs::remove_file(&foreign).unwrap();
    let until = Instant::now() + PATIENCE;
    while ask(node.port, "POST", "/v1/send/sink", "", b"again").expect("answers").0 != 202 {
        assert!(Instant::now() < until, "it does not go on after space was freed");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lost_here(&node, &ledger), 0, "after the disk had room again");
    println!("{} acknowledged before the disk was full, none lost", ledger.len());
}

fn lost_here(node: &Node, ledger: &HashMap<String, Vec<u8>>) -> usize {
    let is_there = |(id, body): (&String, &Vec<u8>)| {
        ask(node.port, "GET", &format!("/v1/messages/{id}/body"), "", b"") == Some((200, body.clone()))
    };
    ledger.iter().filter(|entry| !is_there(*entry)).count()
}

/// A memory control group with a limit, gone when dropped.
struct Group(PathBuf);

impl Group {
    fn new(name: &str, limit_bytes: u64) -> Option<Group> {
        let name = format!("goniec-test-{}-{name}", std::process::id());
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let dir = Path::new(root).join(&name);
            if !Path::new(root).join(limit).exists() && limit != "memory.max" || std::fs::create_dir(&dir).is_err() {
                continue;
            }
            let group = Group(dir);
            if std::fs::write(group.0.join(limit), limit_bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(5);
        // The kernel lets it go once its last process is gone.
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_hundred_thousand_pending_fit_into_little_memory() {
    little_memory("a_hundred_thousand_pending_fit_into_little_memory", "");
}

/// Where messages can be late, a start reads of each when it was to go.
#[test]
fn a_hundred_thousand_pending_that_can_be_late_fit_into_little_memory() {
    little_memory("a_hundred_thousand_pending_that_can_be_late_fit_into_little_memory", "late_after = '1h'\n");
}

fn little_memory(name: &str, rule: &str) {
    const PENDING: usize = 100_000;
    let Some(group) = Group::new(name, 64 << 20) else {
        println!("SKIPPED: {name}: no memory control group can be made here");
        return;
    };
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let data = dir.path().join("data");
    let config = dir.path().join("goniec.toml");
    let url = format!("url = 'http://127.0.0.1:{}/'", sink.port);
    std::fs::write(&config, format!("[destination.later]\n{url}\n{rule}")).unwrap();
    let (procs, config) = (group.0.join("cgroup.procs"), config.display());
    let enter = format!("echo $$ > {} && exec \"$0\" \"$@\" --config {config}", procs.display());
    let mut node = Node::start(&data, sink.port, &["sh", "-c", &enter]).expect("starts in 64 MiB");
    let line = format!("{{\"destination\":\"later\",\"not_before\":\"1h\",\"body\":\"{}\"}}\n", "x".repeat(1_000));
    let batch = line.repeat(500);
    let mut ids = Vec::new();
    while ids.len() < PENDING {
        let kind = "content-type: application/x-ndjson\r\n";
        let (status, answer) = ask(node.port, "POST", "/v1/messages", kind, batch.as_bytes()).expect("still runs");
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&answer));
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        ids.extend(answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    }
    assert_eq!(node.stop(), Some(0), "a clean stop in little memory");
    let node = Node::start(&data, sink.port, &["sh", "-c", &enter]).expect("starts again with all of them");
    assert_eq!(status(&node, "GET", "/v1/messages?limit=50"), 200);
    let some: Vec<&String> = ids.iter().step_by(997).collect();
    for id in &some {
        assert_eq!(status(&node, "POST", &format!("/v1/messages/{id}/resend")) / 100, 2, "a resend of {id}");
    }
    let until = Instant::now() + PATIENCE;
    while some.iter().any(|id| !sink.seen.lock().unwrap().contains_key(*id)) {
        assert!(Instant::now() < until, "not everything that was resent has come");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = std::fs::read_to_string(group.0.join("memory.oom_control")).unwrap_or_default();
    assert!(!killed.contains("oom_kill 1"), "{killed}");
    println!("{name}: {PENDING} in 64 MiB: accepted, started again, listed, {} delivered", some.len());
}
