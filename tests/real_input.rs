//! Real input, end to end: real webhook bodies through `send --ndjson` into `serve`, over to a `sink` that fails and resets. Everything
//! ends Delivered, without a gap, byte for byte.
//!
//! `GONIEC_REAL_ROUNDS` says how often the whole file is sent; 10 times in every run of the tests, 100 times in the long form.

#![cfg(feature = "cli")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use goniec::transport::http::call;
use serde_json::value::RawValue;

const PATIENCE: Duration = Duration::from_secs(20);

/// A child that is ended by its own process id.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
        let first = lines.next().expect("a line").expect("text");
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        Running { child, lines, url: url.trim_end_matches(',').to_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn goniec(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(words).env_remove("GONIEC_URL").env_remove("GONIEC_TOKEN").env("RUST_LOG", "off");
    command
}

/// The real bodies: beside the repository, where they are kept for everyone.
fn input() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/github-webhooks.ndjson");
    path.exists().then_some(path)
}

/// The body of each line, as it stands there.
fn bodies(input: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(input).expect("reads");
    let body = |line: &str| {
        let fields: HashMap<String, &RawValue> = serde_json::from_str(line).expect("an envelope");
        fields["body"].get().as_bytes().to_vec()
    };
    text.lines().map(body).collect()
}

fn counts(url: &str) -> serde_json::Value {
    let answer = call("GET", &format!("{url}/v1/stats"), &[], b"", PATIENCE).expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn real_bodies_arrive_byte_for_byte() {
    let Some(input) = input() else {
        println!("SKIPPED: real_bodies_arrive_byte_for_byte: ../shared/data/github-webhooks.ndjson is not there");
        return;
    };
    let rounds: usize = std::env::var("GONIEC_REAL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let bodies = bodies(&input);
    let total = bodies.len() * rounds;
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = dir.path().join("ledger");

    let expect = total.to_string();
    let mut sink = goniec(&["sink", "--listen", "127.0.0.1:0", "--fail", "20%", "--reset", "5%", "--seed", "17"]);
    let mut sink = Running::start(sink.args(["--expect", &expect]).arg("--ledger").arg(&ledger));
    let config = dir.path().join("goniec.toml");
    let retry = "retry = { first = \"10ms\", max = \"200ms\", attempts = 60 }";
    std::fs::write(&config, format!("[destination.sink]\nurl = \"{}/\"\n{retry}\n", sink.url)).expect("writes");
    let mut node = goniec(&["serve", "--listen", "127.0.0.1:0"]);
    let node = Running::start(node.arg("--config").arg(&config).arg("--data").arg(dir.path().join("data")));

    let began = Instant::now();
    for _ in 0..rounds {
        let mut send = goniec(&["send", "sink", "--ndjson", "--json", "--url", &node.url, "-f"]);
        let sent = send.arg(&input).output().expect("runs");
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert!(
            said.contains(&format!("\"accepted\":{}", bodies.len())),
            "{said}{}",
            String::from_utf8_lossy(&sent.stderr)
        );
    }
    let figures: Vec<String> = sink.lines.by_ref().map(|line| line.expect("text")).collect();
    let code = sink.child.wait().expect("ends").code();
    assert_eq!(code, Some(0), "the sink found a duplicate or a gap: {:?}", figures.last());
    println!("{total} messages in {} s: {}", began.elapsed().as_secs(), figures.last().expect("figures"));

    // Byte for byte: each message of each run has the check sum and the length of its line.
    let expected: Vec<String> =
        bodies.iter().map(|body| format!("{:08x} {}", crc32fast::hash(body), body.len())).collect();
    let distinct: std::collections::HashSet<&String> = expected.iter().collect();
    assert!(distinct.len() * 10 > expected.len() * 9, "bodies this much alike would hide a mix-up");
    let mut seen = 0;
    for line in std::fs::read_to_string(&ledger).expect("reads").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, sequence, .., sum, bytes] = words.as_slice() else { panic!("{line}") };
        let number: usize = sequence.rsplit_once('/').expect("a run and a number").1.parse().expect("a number");
        assert_eq!(format!("{sum} {bytes}"), expected[number - 1], "line {number} did not arrive as it was sent");
        seen += 1;
    }
    assert_eq!(seen, total);

    let limit = Instant::now() + PATIENCE;
    loop {
        let stats = counts(&node.url);
        let delivered = stats["destinations"]["sink"]["delivered"].as_u64().or_else(|| stats["delivered"].as_u64());
        if delivered == Some(total as u64) {
            break;
        }
        assert!(Instant::now() < limit, "not everything is delivered: {stats}");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(10));
    }
}
