//! The binary killed by SIGKILL at random while it reads a journal that grows: every entry becomes one message, none is skipped.
//!
//! The journal knows what it gave and is asked by a cursor; pages are so large that some are several commits. `GONIEC_PULL_KILLS` sets the kills (10 in CI; 100 were
//! run for docs/durability.md).
//!
//! Its control, tried by hand: where `Reading::keep` accepts the messages first and moves the mark in a commit of its own after them, entries come twice; where it moves
//! the mark first, entries are missing. Either failed here within 25 kills.

#![cfg(feature = "cli")]

#[path = "common/node.rs"]
mod node;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use node::{Dice, ask, rounds, verify};
use peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);
/// More than a commit takes at once, so that some pages are two.
const PAGE: usize = 14_000;

/// A journal of numbered entries. It grows with every question, and gives what it has from where it is asked to, a page at most.
struct Journal {
    peer: Peer,
    length: Arc<AtomicUsize>,
    growth: Arc<AtomicUsize>,
}

impl Journal {
    fn start() -> Journal {
        let (length, growth) = (Arc::new(AtomicUsize::new(500)), Arc::new(AtomicUsize::new(0)));
        let (end, grows, questions) = (length.clone(), growth.clone(), AtomicUsize::new(0));
        let peer = Peer::start(move |line| {
            while let Some(request) = line.request() {
                let since =
                    request.head.split(&['=', ' '][..]).nth(2).and_then(|since| since.parse().ok()).unwrap_or(0);
                // A few at a time, and now and then more than a commit takes.
                let is_much = questions.fetch_add(1, Ordering::SeqCst) % 8 == 0;
                let by = grows.load(Ordering::SeqCst).min(if is_much { usize::MAX } else { 300 });
                let end = end.fetch_add(by, Ordering::SeqCst) + by;
                let until = end.min(since + PAGE).max(since);
                let items: Vec<String> = (since..until).map(|number| format!("{{\"n\":{number}}}")).collect();
                let body = format!("{{\"items\":[{}],\"next\":{until}}}", items.join(","));
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                if !line.send(head + &body) {
                    return;
                }
            }
        });
        Journal { peer, length, growth }
    }
}

/// The binary with its source; killed when it is dropped.
struct Reader {
    child: Child,
    port: u16,
}

impl Reader {
    fn start(config: &Path, data: &Path) -> Reader {
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let child = Command::new(env!("CARGO_BIN_EXE_goniec"))
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--config"])
            .arg(config)
            .arg("--data")
            .arg(data)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        let reader = Reader { child, port };
        let until = Instant::now() + PATIENCE;
        while ask(port, "GET", "/healthz", "", b"").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < until, "the node does not start");
            // Polls until it answers; the loop has a deadline.
            thread::sleep(Duration::from_millis(3));
        }
        reader
    }

    fn get(&self, path: &str) -> serde_json::Value {
        let (status, body) = ask(self.port, "GET", path, "", b"").expect("answers");
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    /// How often each entry became a message, by its number.
    fn taken(&self) -> HashMap<usize, usize> {
        let (mut taken, mut path) = (HashMap::new(), "/v1/messages?to=held&limit=1000".to_owned());
        loop {
            let page = self.get(&path);
            for message in page["messages"].as_array().expect("a list") {
                let number = message["key"].as_str().expect("a key").parse().expect("a number");
                *taken.entry(number).or_insert(0) += 1;
            }
            let Some(next) = page["next"].as_str() else { return taken };
            path = format!("/v1/messages?to=held&limit=1000&cursor={next}");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_entry_comes_once_whatever_is_killed() {
    let (kills, mut dice) = (rounds("GONIEC_PULL_KILLS", 10), Dice::new("kill_pulled"));
    let (dir, journal) = (tempfile::tempdir().expect("a directory"), Journal::start());
    let (config, data) = (dir.path().join("goniec.toml"), dir.path().join("data"));
    // The destination refuses connections and waits for long: what is taken stays where it can be counted.
    let text = format!(
        "[destination.held]\nurl = \"http://127.0.0.1:1/\"\nretry = {{ backoff = \"fixed\", delay = \"1h\" }}\nbreaker = {{ failures = 1, probe = \"1h\" }}\n\
         [source.erp]\npoll = {{ url = \"{}\", cycle = \"every 1s\", items = \".items[]\", cursor = \".next\" }}\nkey = \".n\"\n[[route]]\nto = [\"held\"]\n",
        journal.peer.url("/journal?since={cursor}")
    );
    std::fs::write(&config, text).expect("writes");
    journal.growth.store(PAGE + 1_000, Ordering::SeqCst);
    for kill in 0..kills {
        let reader = Reader::start(&config, &data);
        // A person lets it in, and has it read without waiting for its cycle.
        let asked = ask(reader.port, "POST", "/v1/sources/erp/run?sure=true", "", b"");
        assert!(asked.is_none_or(|(status, _)| status == 202), "kill {kill}");
        // The moment of the kill is what is drawn.
        thread::sleep(Duration::from_millis(dice.below(400)));
        drop(reader);
    }
    journal.growth.store(0, Ordering::SeqCst);
    let reader = Reader::start(&config, &data);
    let until = Instant::now() + PATIENCE;
    let end = journal.length.load(Ordering::SeqCst);
    let last = end.to_string();
    loop {
        let source = reader.get("/v1/sources")["sources"][0].clone();
        if source["cursor"].as_str() == Some(&last) {
            break;
        }
        assert!(Instant::now() < until, "it does not come to the end, {end}: {source}");
        // Polls until all was read; the loop has a deadline.
        thread::sleep(Duration::from_millis(50));
    }
    let taken = reader.taken();
    let twice = taken.values().filter(|count| **count > 1).count();
    let missing = (0..end).filter(|number| !taken.contains_key(number)).count();
    println!("{kills} kills, {end} entries, {} questions", journal.peer.requests().len());
    assert_eq!((twice, missing, taken.len()), (0, 0, end), "twice, missing, in all");
    assert!(end > 500, "the journal grew");
    drop(reader);
    verify(&data);
}
