//! `alert list` and `alert test`: whether people can be told.
//!
//! # What it does not know
//!
//! Channels: the node uses them.

use clap::ArgMatches;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::client::Node;
use super::messages::field;
use super::{Fail, NO, say, say_json};
use crate::model::span::show_span;

/// `alert list`, `alert test`.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    match arguments.subcommand() {
        Some(("test", arguments)) => test(&Node::of(arguments)?, arguments),
        Some((_, arguments)) => list(&Node::of(arguments)?, arguments),
        None => Err(Fail::new(NO, "nothing to do")),
    }
}

fn rules(node: &Node) -> Result<Vec<Value>, Fail> {
    let answer = node.json("GET", "/v1/alerts")?;
    Ok(answer.get("rules").and_then(Value::as_array).cloned().unwrap_or_default())
}

fn list(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let rules = rules(node)?;
    if arguments.get_flag("json") {
        return rules.iter().try_for_each(|rule| say_json(&rule));
    }
    let mut table = Table::new();
    let head = [
        "NUMBER",
        "CHANNEL",
        "ON",
        "DESTINATIONS",
        "DIGEST",
        "QUIET UNTIL",
        "STATE",
        "LAST TOLD",
        "FAILING SINCE",
        "LAST ERROR",
    ];
    table.load_style(presets::NOTHING).set_header(head);
    for rule in &rules {
        let digest = rule.get("digest_ms").and_then(Value::as_u64).map(show_span).unwrap_or_default();
        let [number, channel, quiet, state, told, since, error] =
            ["number", "channel", "quiet_until", "state", "last_told_at", "failing_since", "last_error"]
                .map(|name| field(rule, name));
        let (on, of) = (words(rule, "on", "everything"), words(rule, "destinations", "all"));
        table.add_row([number, channel, on, of, digest, quiet, state, told, since, error]);
    }
    say(&table.to_string())
}

/// A list as one cell.
fn words(rule: &Value, name: &str, empty: &str) -> String {
    let list = rule.get(name).and_then(Value::as_array).into_iter().flatten();
    let words: Vec<String> = list.map(|word| super::visible(word.as_str().unwrap_or_default())).collect();
    if words.is_empty() { empty.to_owned() } else { words.join(", ") }
}

/// Tells by one rule, or by every rule, that this is a test.
fn test(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let numbers: Vec<u64> = match arguments.get_one::<u64>("number") {
        Some(number) => vec![*number],
        None => rules(node)?.iter().filter_map(|rule| rule.get("number").and_then(Value::as_u64)).collect(),
    };
    let mut failed = 0_usize;
    for number in numbers {
        let came = node.json("POST", &format!("/v1/alerts/{number}/test"))?;
        let is_told = came.get("is_told").and_then(Value::as_bool).unwrap_or(false);
        failed += usize::from(!is_told);
        if arguments.get_flag("json") {
            say_json(&came)?;
        } else {
            let said = if is_told { "told".to_owned() } else { format!("nobody was told: {}", field(&came, "error")) };
            say(&format!("rule {number}: {said}"))?;
        }
    }
    if failed == 0 { Ok(()) } else { Err(Fail::new(NO, format!("{failed} rule(s) told nobody"))) }
}
