//! The figures of a node, read by Prometheus' own parser of OpenMetrics (`prometheus_client` of PyPI), and the rules of docs/alerts.yml, held against `promtool` and
//! against the names of the metrics. Where one of these is not there its test says so.

#![cfg(feature = "server")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use goniec::Message;
use goniec::engine::{Destination, Engine, Settings};
use goniec::server::{ServerConfig, start};
use goniec::store::memory::MemoryStore;

const RULES: &str = include_str!("../docs/alerts.yml");
const METRICS: &str = include_str!("../src/server/metrics.rs");

/// The names of our metrics in a text, without what a type appends.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter)).filter(|word| word.starts_with("goniec_"));
    let bare = |word: &str| {
        ["_total", "_bucket", "_info"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    words.map(bare).collect()
}

#[test]
fn every_metric_that_a_rule_asks_for_exists() {
    let expressions: String = RULES.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    let (asked, served) = (names(&expressions), names(METRICS));
    assert!(asked.len() >= 8, "{asked:?}");
    assert_eq!(asked.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(!served.contains("goniec_messages_lat"), "the control: a name that is none is found");
}

#[test]
fn promtool_takes_the_rules() {
    let check = |rules: &std::path::Path| Command::new("promtool").args(["check", "rules"]).arg(rules).output();
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.yml");
    std::fs::write(&broken, RULES.replace("> 900", "> > 900")).expect("writes");
    let Ok(said) = check(&broken) else {
        println!("SKIPPED: promtool_takes_the_rules: promtool is not installed (Debian's package `prometheus` has it)");
        return;
    };
    assert!(!said.status.success(), "the control: a broken rule is refused");
    let said = check(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml")).expect("promtool runs");
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

const PARSE: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1], newline='').read()))
assert len(families) > 15, families";

#[test]
fn the_parser_of_prometheus_reads_our_figures() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-client");
    std::fs::create_dir_all(&folder).expect("a folder");
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command
            .args(arguments)
            .env("PYTHONPATH", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let is_there = || python(&["-c", "import prometheus_client.openmetrics.parser"]);
    let target = folder.to_string_lossy().into_owned();
    let install = ["-m", "pip", "install", "-q", "--target", &target, "prometheus_client"];
    let is_ready = is_there() || (python(&install) && is_there());
    if !is_ready {
        println!("SKIPPED: the_parser_of_prometheus_reads_our_figures: prometheus_client cannot be installed with pip");
        return;
    }
    // A name as an administrator may well not choose it.
    let destinations = vec![Destination::new("erp \"\\ \u{17c}", |_: &Message| ())];
    let engine = Engine::start(Arc::new(MemoryStore::new()), destinations, Settings::default(), Vec::new());
    let engine = engine.expect("an engine");
    engine.accept_wait(vec![Message::to("erp \"\\ \u{17c}").body(b"x".to_vec())]).expect("accepts");
    let running = start(engine, ServerConfig::new(([127, 0, 0, 1], 0).into())).expect("a server");
    let mut stream = TcpStream::connect(running.addr()).expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (_, text) = answer.split_once("\r\n\r\n").expect("a body");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let reads = |text: &str| {
        std::fs::write(file.path(), text).expect("writes");
        python(&["-c", PARSE, &file.path().to_string_lossy()])
    };
    assert!(reads(text), "{text}");
    assert!(!reads(&text.replace("# EOF", "")), "the control: an end is missed");
    assert!(!reads(&text.replace("_bucket{", "_bucked{")), "the control: a sample of no family is found");
}
