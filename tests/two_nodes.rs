//! Two nodes on one machine: what is sent through the first arrives in the second once, and is delivered by it, over kills of either.
//!
//! The control is the count: every message is looked up in the second registry by its key, exactly one each.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use goniec::transport::http::call;

const MESSAGES: usize = 200;
const KILLS: usize = 6;
const LIMIT: Duration = Duration::from_secs(60);

struct Node {
    child: Child,
    url: String,
}

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn serve(dir: &Path, port: u16, to: Option<&str>) -> Node {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(dir);
    if let Some(to) = to {
        command.args(["--to", to]);
    }
    command.env("RUST_LOG", "off").stdout(Stdio::null());
    let node = Node { child: command.spawn().expect("a node"), url: format!("http://127.0.0.1:{port}") };
    wait(|| ask(&node.url, "GET", "/readyz", &[], b"").is_some_and(|(status, _)| status == 200), "a node is ready");
    node
}

impl Node {
    fn kill(self) {
        drop(self);
    }
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

fn wait(mut done: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        // Another process is waited for; it cannot be asked to call back.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many messages of the second node have each key, and whether all are delivered.
fn ledger(url: &str) -> Option<(BTreeMap<String, usize>, bool)> {
    let (status, body) = ask(url, "GET", "/v1/messages?limit=1000", &[], b"")?;
    assert_eq!(status, 200);
    let page: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mut keys = BTreeMap::new();
    let mut all_delivered = true;
    for message in page["messages"].as_array().unwrap() {
        *keys.entry(message["key"].as_str().unwrap().to_owned()).or_default() += 1;
        all_delivered &= message["state"] == "delivered";
    }
    Some((keys, all_delivered))
}

#[test]
fn what_goes_in_here_comes_out_there_once_over_kills_of_either() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let (port_here, port_there) = (port(), port());
    let to = format!("peer=http://127.0.0.1:{port_there}/v1/send/log");
    let mut second = serve(&there, port_there, None);
    let mut first = serve(&here, port_here, Some(&to));
    for number in 0..MESSAGES {
        let key = format!("order:{number}");
        let headers = [("goniec-key", key.as_str()), ("idempotency-key", key.as_str()), ("content-type", "text/plain")];
        wait(
            || ask(&first.url, "POST", "/v1/send/peer", &headers, key.as_bytes()).is_some_and(|(code, _)| code == 202),
            "a message is accepted",
        );
        if number % (MESSAGES / KILLS) == MESSAGES / KILLS / 2 {
            if (number / (MESSAGES / KILLS)).is_multiple_of(2) {
                first.kill();
                first = serve(&here, port_here, Some(&to));
            } else {
                second.kill();
                second = serve(&there, port_there, None);
            }
        }
    }
    wait(
        || ledger(&second.url).is_some_and(|(keys, all_delivered)| keys.len() == MESSAGES && all_delivered),
        "everything arrives and is delivered",
    );
    let (keys, _) = ledger(&second.url).unwrap();
    let doubled: Vec<_> = keys.iter().filter(|(_, count)| **count != 1).collect();
    assert!(doubled.is_empty(), "arrived more than once: {doubled:?}");
    first.kill();
    second.kill();
}
