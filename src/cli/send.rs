//! `send`: one message, or one a line.
//!
//! # What holds
//!
//! * A request that was answered 429 or 503, or not at all, is sent again with the same idempotency key: nothing doubles.
//!
//! # What it does not know
//!
//! What becomes of the messages.

mod lines;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, stdin};
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::percent::escape;
use crate::transport::http::Answer;

use super::client::{Node, yes};
use super::{Fail, USAGE, say, say_json, text, texts};

/// The pauses before a request is sent again, in milliseconds; after the last the node counts as unreachable.
const PAUSES_MS: [u64; 10] = [50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000];

/// Hands in.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    if arguments.get_flag("ndjson") {
        return lines::run(arguments, &node);
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
    for name in ["key", "version", "type", "not-before", "deadline"] {
        if let Some(value) = text(arguments, name) {
            let value = if matches!(name, "key" | "type") { escape(value) } else { value.to_owned() };
            headers.push((format!("goniec-{name}"), value));
        }
    }
    let after: Vec<String> = texts(arguments, "after").map(escape).collect();
    if !after.is_empty() {
        headers.push(("goniec-after".to_owned(), after.join(",")));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let destination = text(arguments, "destination").unwrap_or_default();
    let answer = hand_in(&node, &format!("/v1/send/{}", escape(destination)), &headers, &body)?;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if arguments.get_flag("json") {
        return say_json(&answer);
    }
    say(answer.get("id").and_then(Value::as_str).unwrap_or("?"))
}

/// Hands in; the answer, if it is a yes.
fn hand_in(node: &Node, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Fail> {
    yes(answered(node, path, headers, body)?)
}

/// Hands in, and again with the same keys while the node is full, stopping or away.
fn answered(node: &Node, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Fail> {
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
            (false, _) | (true, None) => return answer,
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
