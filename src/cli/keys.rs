//! `keys`, `explain`: what should be in sync and what is, and the whole story of one key.
//!
//! # What it does not know
//!
//! When a key is in sync: the node says it.

use clap::ArgMatches;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::beside::wall;
use super::client::Node;
use super::messages::field;
use super::{Fail, NO, USAGE, say, say_json, text, visible};
use crate::admin::when::{Toward, parse_when};
use crate::model::percent::escape;

/// Keys of one page of the node.
const PAGE: usize = 500;

/// `keys`.
pub(super) fn list(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let keys = listed(&node, arguments)?;
    if arguments.get_flag("json") {
        return keys.iter().try_for_each(|key| say_json(&key));
    }
    if keys.is_empty() {
        return Err(Fail::new(NO, "no key matches"));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "DESTINATION",
        "KEY",
        "STANDS",
        "BEHIND SINCE",
        "LAST",
        "WHY",
        "ARRIVED",
    ]);
    for key in &keys {
        let part = |name: &str| key.get(name).unwrap_or(&Value::Null);
        let stands = if part("in_sync") == &Value::Bool(true) { "in sync" } else { "behind" };
        let last = part("last_accepted");
        table.add_row([
            field(key, "destination"),
            field(key, "key"),
            stands.to_owned(),
            field(key, "behind_since"),
            field(last, "state"),
            field(last, "reason"),
            field(part("last_delivered"), "at"),
        ]);
    }
    say(&table.to_string())
}

/// The keys that are asked for, over as many pages as it takes.
fn listed(node: &Node, arguments: &ArgMatches) -> Result<Vec<Value>, Fail> {
    let older = text(arguments, "older-than").map(before).transpose()?;
    let is_stale = arguments.get_flag("stale") || older.is_some();
    let limit = usize::try_from(arguments.get_one::<u64>("limit").copied().unwrap_or(50)).unwrap_or(usize::MAX);
    let mut query = format!("limit={PAGE}");
    for name in ["destination", "key"] {
        query += &text(arguments, name).map(|value| format!("&{name}={}", escape(value))).unwrap_or_default();
    }
    query += if is_stale { "&state=behind" } else { "" };
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.json("GET", &format!("/v1/keys?{query}{cursor}"))?;
        for what in page.get("damaged").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            eprintln!("cannot be read, and may be missing here: {}", visible(what));
        }
        // Times of the interface are of one length, so their texts stand in their order.
        let is_old = |key: &&Value| older.as_ref().is_none_or(|older| field(key, "behind_since") < *older);
        keys.extend(page.get("keys").and_then(Value::as_array).into_iter().flatten().filter(is_old).cloned());
        keys.truncate(limit);
        match page.get("next").and_then(Value::as_str) {
            Some(next) if keys.len() < limit => cursor = format!("&cursor={next}"),
            Some(_) | None => return Ok(keys),
        }
    }
}

/// The time before which a key that is old enough has been behind.
fn before(span: &str) -> Result<String, Fail> {
    let at =
        parse_when(span, Toward::Past, wall()).map_err(|wrong| Fail::new(USAGE, format!("--older-than: {wrong}")))?;
    Ok(at.rfc3339())
}

/// `explain`.
pub(super) fn explain(arguments: &ArgMatches) -> Result<(), Fail> {
    let key = text(arguments, "key").unwrap_or_default();
    let story = Node::of(arguments)?.json("GET", &format!("/v1/explain?key={}", escape(key)))?;
    if arguments.get_flag("json") {
        return say_json(&story);
    }
    let lines: Vec<&Value> = story.get("lines").and_then(Value::as_array).into_iter().flatten().collect();
    if lines.is_empty() {
        return Err(Fail::new(NO, format!("no message has the key {key:?}"))
            .hint("`goniec keys --key 'BEGINNING*'` lists the keys that begin so."));
    }
    if story.get("is_whole") == Some(&Value::Bool(false)) {
        say("older messages of this key are left out")?;
    }
    for what in story.get("damaged").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("cannot be read, and may be missing here: {}", visible(what));
    }
    for line in lines {
        // What is still to come has no time yet.
        let at = if field(line, "what") == "waits" { "now".to_owned() } else { field(line, "at") };
        say(&format!("{at:<24}  {}  {}  {}", field(line, "destination"), field(line, "id"), field(line, "text")))?;
    }
    Ok(())
}
