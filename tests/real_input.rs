//! Real webhook bodies through the whole path: `send --ndjson` into `serve`, over to a `sink` that fails and resets, all of them the real binary.
//!
//! The bodies lie beside the checkout, in `../shared/data`; where they are absent the test says so and counts as skipped. It goes
//! ten rounds; `GONIEC_REAL_ROUNDS=100` is the long form. `GONIEC_SEED` chooses what the sink fails.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;

/// How long one round may take before it counts as stuck.
const ROUND_MAX: Duration = Duration::from_secs(20);

/// A child of this test, ended by its own process id.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    url: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let mut child = goniec(arguments).stdout(Stdio::piped()).spawn().expect("a child");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        Running { url: url.trim_end_matches(',').to_owned(), child, out }
    }

    /// The exit code, and the last line that it printed.
    fn end(&mut self, limit: Duration) -> (Option<i32>, String) {
        let until = Instant::now() + limit;
        while self.child.try_wait().unwrap().is_none() && Instant::now() < until {
            // Polls until it ends; the loop has a deadline.
            std::thread::sleep(Duration::from_millis(20));
        }
        let code = self.child.try_wait().unwrap().and_then(|status| status.code());
        if code.is_none() {
            let _ = self.child.kill();
        }
        let last = (&mut self.out).lines().map_while(Result::ok).last().unwrap_or_default();
        (code, last)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn goniec(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("GONIEC_TOKEN").env_remove("GONIEC_URL").env("RUST_LOG", "off");
    command
}

fn number(variable: &str, or: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

/// The bodies as they stand in the file, by the number of their line.
fn bodies(file: &Path) -> BTreeMap<u64, String> {
    let text = std::fs::read_to_string(file).unwrap();
    let body = |line: &str| {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(line).expect("a line of the data");
        fields["body"].get().to_owned()
    };
    (1..).zip(text.lines().map(body)).collect()
}

#[test]
fn real_bodies_arrive_byte_for_byte_at_a_destination_that_misbehaves() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/github-webhooks.ndjson");
    if !file.exists() {
        println!(
            "SKIPPED: real_bodies_arrive_byte_for_byte_at_a_destination_that_misbehaves: there are no bodies in ../shared/data"
        );
        return;
    }
    let (rounds, seed) = (number("GONIEC_REAL_ROUNDS", 10), number("GONIEC_SEED", 20));
    let bodies = bodies(&file);
    let total = rounds * u64::try_from(bodies.len()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (ledger, config, data) = (path("ledger"), path("goniec.toml"), path("data"));
    let (total_text, seed_text) = (total.to_string(), seed.to_string());
    println!("seed of real_input: {seed}; {rounds} rounds, {total} messages");

    let mut sink = vec!["sink", "--listen", "127.0.0.1:0", "--fail", "20%", "--reset", "5%", "--seed", &seed_text];
    sink.extend(["--expect", &total_text, "--ledger", &ledger]);
    let mut sink = Running::start(&sink);
    let retry = "retry = { first = \"20ms\", max = \"500ms\", attempts = 20 }";
    std::fs::write(&config, format!("[destination.sink]\nurl = \"{}\"\nconcurrency = 4\n{retry}\n", sink.url)).unwrap();
    let node = Running::start(&["serve", "--config", &config, "--data", &data, "--listen", "127.0.0.1:0"]);

    let mut runs = Vec::new();
    for _ in 0..rounds {
        let file = file.to_str().unwrap();
        let sent = goniec(&["send", "sink", "--ndjson", "--json", "-f", file, "--url", &node.url]).output().unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        let said: Value = serde_json::from_slice(&sent.stdout).unwrap();
        assert_eq!(said["accepted"].as_u64(), Some(total / rounds), "{said}");
        runs.push(said["run"].as_str().unwrap().to_owned());
    }
    let (code, figures) = sink.end(ROUND_MAX * u32::try_from(rounds).unwrap());
    println!("sink: {figures}");
    assert_eq!(code, Some(0), "the sink misses messages, or has some twice: {figures}");
    let figures: Value = serde_json::from_str(&figures).unwrap();
    let count = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!((count("distinct"), count("gaps")), (total, 0));
    // It did misbehave: a quarter of all requests, within wide bounds.
    assert!(count("failed") > count("requests") / 8 && count("reset") > count("requests") / 50, "{figures}");

    check_delivered(&node.url, total);
    check_ledger(&ledger, &runs, &bodies);
    let last = goniec(&["ls", "--limit", "1", "--json", "--url", &node.url]).output().unwrap();
    let last: Value = serde_json::from_slice(&last.stdout).expect("one message");
    assert_eq!(last["state"], "delivered");
}

/// Every message ends Delivered: the last answers of the sink may still be on their way.
fn check_delivered(url: &str, total: u64) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let stats = goniec(&["stats", "--json", "--url", url]).output().unwrap();
        let stats: Value = serde_json::from_slice(&stats.stdout).expect("figures");
        let sink = stats["destinations"].as_array().unwrap().iter().find(|one| one["name"] == "sink").unwrap();
        if sink["delivered"].as_u64() == Some(total) {
            for state in ["queued", "sending", "failed", "abandoned"] {
                assert_eq!(sink[state], 0, "{stats}");
            }
            return;
        }
        assert!(Instant::now() < until, "not all are delivered: {stats}");
        // Polls until all are; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every line of every run is in the sink's ledger once, with the bytes of the file.
fn check_ledger(ledger: &str, runs: &[String], bodies: &BTreeMap<u64, String>) {
    let mut expected = BTreeMap::new();
    for run in runs {
        for (line, body) in bodies {
            let crc32 = format!("{:08x}", crc32fast::hash(body.as_bytes()));
            expected.insert(format!("{run}/{line}"), (crc32, u64::try_from(body.len()).unwrap()));
        }
    }
    for line in std::fs::read_to_string(ledger).unwrap().lines() {
        let took: Value = serde_json::from_str(line).unwrap();
        let sequence = took["sequence"].as_str().unwrap();
        let came = (took["crc32"].as_str().unwrap().to_owned(), took["body_bytes"].as_u64().unwrap());
        assert_eq!(expected.remove(sequence), Some(came), "{line}");
        assert_eq!(took["count"], 1, "{line}");
    }
    assert!(expected.is_empty(), "{} never came", expected.len());
}
