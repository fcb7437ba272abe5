//! Streams between two nodes of the real binary: what is acknowledged here arrives there once, over kills of either, and both say that nothing is
//! missing.
//!
//! The controls: every message is looked up there by its key, exactly one each; and what a backup there does not have comes again.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use goniec::transport::http::call;
use serde_json::Value;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const LIMIT: Duration = Duration::from_secs(90);
/// How many messages go in between two kills.
const BETWEEN: usize = 25;

struct Node {
    child: Child,
    url: String,
}

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn serve(dir: &Path, port: u16) -> Node {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(dir.join("data"));
    command.arg("--config").arg(dir.join("goniec.toml"));
    command.env("RUST_LOG", "off").env("STREAM_SECRET", SECRET).stdout(Stdio::null());
    let node = Node { child: command.spawn().expect("a node"), url: format!("http://127.0.0.1:{port}") };
    wait(|| ask(&node.url, "GET", "/readyz", &[], b"").is_some_and(|(status, _)| status == 200), "a node is ready");
    node
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn ask(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let answer = call(method, &format!("{url}{path}"), headers, body, Duration::from_secs(5)).ok()?;
    Some((answer.status, answer.body))
}

fn json(url: &str, path: &str) -> Option<Value> {
    let (status, body) = ask(url, "GET", path, &[], b"")?;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).ok()
}

fn wait(mut done: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        // Another process is waited for; it cannot be asked to call back.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two nodes' directories: the first sends to the second, which writes what comes into its log.
fn set_up(dir: &Path, to: u16) -> [std::path::PathBuf; 2] {
    let dirs = ["here", "there"].map(|name| dir.join(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let here = format!(
        "[server]\nbody_max = \"16MiB\"\n[destination.peer]\ntype = \"goniec\"\nurl = \"http://127.0.0.1:{to}/v1/in/here\"\nsign = {{ secret = {{ env = \"STREAM_SECRET\" }} }}\n\
         retry = {{ first = \"50ms\", max = \"200ms\", attempts = 1000 }}\n"
    );
    let there = "[server]\nbody_max = \"16MiB\"\n[source.here]\nverify = { preset = \"goniec\", secret = { env = \"STREAM_SECRET\" } }\n[[route]]\nto = [\"log\"]\n";
    std::fs::write(dirs[0].join("goniec.toml"), here).unwrap();
    std::fs::write(dirs[1].join("goniec.toml"), there).unwrap();
    dirs
}

/// Copies a folder and what is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to)
        } else {
            let _bytes = std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Hands in `count` messages, keyed from `first` on, until they are acknowledged.
fn hand_in(node: &Node, first: usize, count: usize) {
    let all: Vec<Value> = (first..first + count)
        .map(|number| {
            let key = format!("order:{number}");
            serde_json::json!({ "destination": "peer", "key": key, "idempotency_key": key, "body": { "number": number } })
        })
        .collect();
    let body = serde_json::to_vec(&all).unwrap();
    let headers = [("content-type", "application/json")];
    wait(
        || ask(&node.url, "POST", "/v1/messages", &headers, &body).is_some_and(|(code, _)| code == 202),
        "messages are accepted",
    );
}

/// How many messages have each key there, or `None` where it does not answer.
fn keys(node: &Node) -> Option<BTreeMap<String, usize>> {
    let mut keys = BTreeMap::new();
    let mut path = "/v1/messages?limit=1000".to_owned();
    loop {
        let page = json(&node.url, &path)?;
        for message in page["messages"].as_array().unwrap() {
            *keys.entry(message["key"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let Some(next) = page["next"].as_str() else { return Some(keys) };
        path = format!("/v1/messages?limit=1000&cursor={next}");
    }
}

/// Whether this side of its only stream says that all these numbers are known here.
fn is_whole(node: &Node, last: usize) -> bool {
    let Some(all) = json(&node.url, "/v1/streams") else { return false };
    let [stream] = all["streams"].as_array().unwrap().as_slice() else { return false };
    stream["last"] == last && stream["mark"] == last && stream["holes"] == serde_json::json!([])
}

#[test]
fn what_is_acknowledged_here_is_there_once_over_kills_of_either() {
    let kills = std::env::var("GONIEC_STREAM_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let dir = tempfile::tempdir().unwrap();
    let (port_here, port_there) = (port(), port());
    let [here, there] = set_up(dir.path(), port_there);
    let mut first = serve(&here, port_here);
    let mut second = serve(&there, port_there);
    for round in 0..kills {
        hand_in(&first, round * BETWEEN, BETWEEN);
        // In the middle of what is under way: the first round's kill falls on a busy node.
        if round % 2 == 0 {
            drop(first);
            first = serve(&here, port_here);
        } else {
            drop(second);
            second = serve(&there, port_there);
        }
    }
    let count = kills * BETWEEN;
    wait(|| is_whole(&second, count) && is_whole(&first, count), "both say that all is there");
    let keys = keys(&second).unwrap();
    assert_eq!(keys.len(), count);
    let doubled: Vec<_> = keys.iter().filter(|(_, count)| **count != 1).collect();
    assert!(doubled.is_empty(), "arrived more than once: {doubled:?}");
}

#[test]
fn what_is_missing_there_is_sent_again_and_what_ended_here_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (port_here, port_there) = (port(), port());
    let [here, there] = set_up(dir.path(), port_there);
    let first = serve(&here, port_here);
    let mut second = serve(&there, port_there);
    // What a backup knows is put back when there was more.
    hand_in(&first, 0, 1);
    wait(|| is_whole(&second, 1) && is_whole(&first, 1), "all is there");
    drop(second);
    copy(&there.join("data"), &there.join("backup"));
    second = serve(&there, port_there);
    hand_in(&first, 1, 2);
    wait(|| is_whole(&second, 3) && is_whole(&first, 3), "all is there");
    drop(second);
    std::fs::remove_dir_all(there.join("data")).unwrap();
    std::fs::rename(there.join("backup"), there.join("data")).unwrap();
    second = serve(&there, port_there);
    assert_eq!(keys(&second).unwrap().len(), 1);
    let id = |node: &Node, key: &str| {
        let page = json(&node.url, &format!("/v1/messages?key={key}")).unwrap();
        page["messages"][0]["id"].as_str().unwrap().to_owned()
    };
    // One is removed there by a person, who is not contradicted; and one never goes.
    let (code, _) = ask(&second.url, "DELETE", &format!("/v1/messages/{}", id(&second, "order:0")), &[], b"").unwrap();
    assert_eq!(code, 204);
    ask(&first.url, "POST", "/v1/destinations/peer/pause", &[], b"").unwrap();
    hand_in(&first, 3, 2);
    let (code, _) =
        ask(&first.url, "POST", &format!("/v1/messages/{}/cancel", id(&first, "order:3")), &[], b"").unwrap();
    assert_eq!(code, 200);
    ask(&first.url, "POST", "/v1/destinations/peer/resume", &[], b"").unwrap();
    wait(|| is_whole(&second, 5) && is_whole(&first, 5), "the holes are filled");
    let keys = keys(&second).unwrap();
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["order:1", "order:2", "order:4"]);
    assert!(keys.values().all(|count| *count == 1), "{keys:?}");
    let audit = json(&first.url, "/v1/audit").unwrap().to_string();
    assert!(audit.contains("does not know it") && audit.contains("goniec"), "{audit}");
}

/// The longest words that a message can have come beside the largest body.
#[test]
fn the_largest_message_that_is_taken_here_arrives_there() {
    let dir = tempfile::tempdir().unwrap();
    let (port_here, port_there) = (port(), port());
    let [here, there] = set_up(dir.path(), port_there);
    let first = serve(&here, port_here);
    let second = serve(&there, port_there);
    let (key, sequence) = ("k".repeat(512), "s".repeat(4_096 - "goniec-sequence".len()));
    let headers = [
        ("goniec-key", key.as_str()),
        ("goniec-type", &key),
        ("content-type", "text/plain"),
        ("goniec-sequence", &sequence),
    ];
    let hand_in = |body: &[u8]| ask(&first.url, "POST", "/v1/send/peer", &headers, body).unwrap();
    let body = vec![b'b'; 16 << 20];
    let (code, said) = hand_in(&body);
    assert_eq!(code, 202, "{}", String::from_utf8_lossy(&said));
    wait(|| is_whole(&second, 1) && is_whole(&first, 1), "it is there");
    let page = json(&second.url, "/v1/messages").unwrap();
    let [one] = page["messages"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!((one["key"].as_str(), one["body_bytes"].as_u64()), (Some(key.as_str()), Some(16 << 20)), "{one}");
    // No larger one would be.
    let (code, _) = ask(&first.url, "POST", "/v1/send/peer", &headers[..3], &[&body[..], b"b"].concat()).unwrap();
    assert_eq!(code, 413);
    let longer = format!("{sequence}s");
    let headers = [&headers[..3], &[("goniec-sequence", longer.as_str())]].concat();
    let (code, _) = ask(&first.url, "POST", "/v1/send/peer", &headers, b"b").unwrap();
    assert_eq!(code, 400);
}
