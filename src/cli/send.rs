//! `send`: one message, or one a line in batches.
//!
//! # What holds
//!
//! * A batch that was answered 429 or 503, or not at all, is sent again with the same idempotency keys: nothing doubles.
//! * Batches go one after another, so that the order of the lines is the order of acceptance.
//! * Each line carries `goniec-sequence: RUN/N`, so that a receiver can tell gaps.
//!
//! # What it does not know
//!
//! What becomes of the messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, IsTerminal, Read, stdin};
use std::time::Duration;

use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::transport::http::Answer;

use super::client::{Node, escaped, yes};
use super::{Fail, USAGE, say, text};

/// Lines of one request.
const BATCH: usize = 100;
/// Bytes of one request, so that large bodies do not sum up beyond what a node takes.
const BATCH_BYTES: usize = 4 << 20;
/// The pauses before a request is sent again, in milliseconds; after the last the node counts as unreachable.
const PAUSES_MS: [u64; 10] = [50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000];

/// Hands in.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    if arguments.get_flag("ndjson") {
        return lines(arguments, &node);
    }
    let mut body = Vec::new();
    match text(arguments, "body") {
        Some("-") => read_all(&mut stdin().lock(), &mut body)?,
        Some(given) => body.extend_from_slice(given.as_bytes()),
        None => read_all(&mut source(arguments)?, &mut body)?,
    }
    let run = run_name();
    let natural = if serde_json::from_slice::<&RawValue>(&body).is_ok() {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut headers = vec![
        ("content-type".to_owned(), text(arguments, "content-type").unwrap_or(natural).to_owned()),
        ("idempotency-key".to_owned(), text(arguments, "idempotency-key").unwrap_or(&run).to_owned()),
    ];
    for name in ["key", "type", "not-before", "deadline"] {
        if let Some(value) = text(arguments, name) {
            let value = if matches!(name, "key" | "type") { escaped(value) } else { value.to_owned() };
            headers.push((format!("goniec-{name}"), value));
        }
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let destination = text(arguments, "destination").unwrap_or_default();
    let answer = hand_in(&node, &format!("/v1/send/{}", escaped(destination)), &headers, &body)?;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if arguments.get_flag("json") {
        return say(&answer.to_string());
    }
    say(answer.get("id").and_then(Value::as_str).unwrap_or("?"))
}

fn lines(arguments: &ArgMatches, node: &Node) -> Result<(), Fail> {
    let bar = bar();
    let run = run_name();
    let mut accepted = 0;
    let mut batch = String::new();
    let mut in_batch = 0;
    let mut send = |batch: &mut String, in_batch: &mut u64| {
        if *in_batch > 0 {
            hand_in(node, "/v1/messages", &[("content-type", "application/x-ndjson")], batch.as_bytes()).map_err(
                |fail| Fail { line: format!("{} ({accepted} messages were accepted before)", fail.line), ..fail },
            )?;
            accepted += *in_batch;
            bar.inc(*in_batch);
            batch.clear();
            *in_batch = 0;
        }
        Ok::<u64, Fail>(accepted)
    };
    let mut sequence = 0;
    for (number, line) in (1_u64..).zip(BufReader::new(source(arguments)?).lines()) {
        let line = line.map_err(|error| Fail::new(USAGE, format!("line {number}: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        sequence += 1;
        let envelope = envelope(&line, arguments, &format!("{run}/{sequence}"));
        batch.push_str(&envelope.map_err(|what| Fail::new(USAGE, format!("line {number}: {what}")))?);
        batch.push('\n');
        in_batch += 1;
        if in_batch >= u64::try_from(BATCH).unwrap_or(u64::MAX) || batch.len() >= BATCH_BYTES {
            send(&mut batch, &mut in_batch)?;
        }
    }
    let accepted = send(&mut batch, &mut in_batch)?;
    bar.finish_and_clear();
    if arguments.get_flag("json") {
        return say(&format!("{{\"accepted\":{accepted},\"run\":\"{run}\"}}"));
    }
    say(&format!("{accepted} messages accepted, run {run}"))
}

/// The line as an envelope, its body's text untouched.
fn envelope(line: &str, arguments: &ArgMatches, sequence: &str) -> Result<String, String> {
    let raw: &RawValue = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let mut fields: BTreeMap<String, String> = match serde_json::from_str::<BTreeMap<String, &RawValue>>(line) {
        Ok(fields) if fields.contains_key("body") || fields.contains_key("body_base64") => {
            fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
        }
        Ok(_) | Err(_) => BTreeMap::from([("body".to_owned(), raw.get().to_owned())]),
    };
    let mut headers: BTreeMap<String, String> = match fields.get("headers") {
        Some(headers) => serde_json::from_str(headers).map_err(|error| format!("headers: {error}"))?,
        None => BTreeMap::new(),
    };
    headers.insert("goniec-sequence".into(), sequence.into());
    fields.insert("headers".into(), Value::from_iter(headers).to_string());
    let mut default = |name: &str, value: Option<&str>| {
        if let (Some(value), false) = (value, fields.contains_key(name)) {
            fields.insert(name.to_owned(), Value::from(value).to_string());
        }
    };
    default("destination", text(arguments, "destination"));
    default("key", text(arguments, "key"));
    default("type", text(arguments, "type"));
    default("content_type", text(arguments, "content-type"));
    default("not_before", text(arguments, "not-before"));
    default("deadline", text(arguments, "deadline"));
    default("idempotency_key", Some(sequence));
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    Ok(format!("{{{}}}", fields.join(",")))
}

/// Hands in, and again with the same keys while the node is full, stopping or away.
fn hand_in(node: &Node, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Fail> {
    let mut pauses_ms = PAUSES_MS.iter();
    loop {
        let answer = node.call("POST", path, headers, body);
        let again = match &answer {
            Ok(answer) => matches!(answer.status, 429 | 503),
            Err(_) => true,
        };
        match (again, pauses_ms.next()) {
            // The pace of a loop that has an end.
            (true, Some(pause_ms)) => std::thread::sleep(Duration::from_millis(*pause_ms)),
            (false, _) | (true, None) => return yes(answer?),
        }
    }
}

fn source(arguments: &ArgMatches) -> Result<Box<dyn Read>, Fail> {
    match text(arguments, "file") {
        Some("-") => Ok(Box::new(stdin())),
        None if text(arguments, "body").is_none_or(|body| body == "-") => Ok(Box::new(stdin())),
        None => Err(Fail::new(USAGE, "--ndjson reads a file or standard input, not an argument").hint("Give -f FILE.")),
        Some(path) => match File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(Fail::new(USAGE, format!("cannot read {path}: {error}"))),
        },
    }
}

fn read_all(from: &mut dyn Read, into: &mut Vec<u8>) -> Result<(), Fail> {
    from.read_to_end(into).map(drop).map_err(|error| Fail::new(USAGE, format!("cannot read the body: {error}")))
}

/// A name that no other run has.
fn run_name() -> String {
    let (high, low) = (RandomState::new().hash_one(1_u8), RandomState::new().hash_one(2_u8));
    format!("{high:016x}{low:016x}")
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} messages, {per_sec}, {elapsed}");
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
