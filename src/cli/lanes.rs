//! `destinations`, `pause`, `resume`, `cycle`: what a person sees and does of destinations.
//!
//! # What it does not know
//!
//! What holds messages back: the node says it.

use clap::ArgMatches;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::client::Node;
use super::messages::field;
use super::{Fail, NO, say, say_json, sources, text};
use crate::model::percent::escape;
use crate::model::span::show_span;

/// `destinations`.
pub(super) fn list(arguments: &ArgMatches) -> Result<(), Fail> {
    let names = ["name", "queued", "sending", "delivered", "failed", "abandoned", "late", "oldest"];
    let head: Vec<String> =
        names.iter().map(|name| name.to_uppercase()).chain(["DRAINS", "WAITS"].map(str::to_owned)).collect();
    let list = destinations(&Node::of(arguments)?)?;
    if arguments.get_flag("json") {
        return list.iter().try_for_each(say_json);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for destination in &list {
        let drains = destination.get("drains_in_ms").and_then(Value::as_u64).map(show_span).unwrap_or_default();
        table.add_row(names.iter().map(|name| field(destination, name)).chain([drains, why(destination)]));
    }
    say(&table.to_string())
}

/// `cycle`.
pub(super) fn cycle(arguments: &ArgMatches) -> Result<(), Fail> {
    match arguments.subcommand() {
        Some(("run", arguments)) => begin(arguments),
        Some((_, arguments)) => timetables(arguments),
        None => Err(Fail::new(NO, "nothing to do")),
    }
}

/// `cycle run`: of the destination and of the source of this name, where there are both.
fn begin(arguments: &ArgMatches) -> Result<(), Fail> {
    let (node, name) = (Node::of(arguments)?, text(arguments, "destination").unwrap_or_default());
    let is_named = |one: &Value| one.get("name").and_then(Value::as_str) == Some(name);
    let is_source = sources::all(&node)?.iter().any(|source| is_named(source) && sources::has_cycle(source));
    if is_source {
        sources::read(&node, arguments, name)?;
    }
    // Who names neither hears what destinations there are.
    if !is_source || destinations(&node)?.iter().any(is_named) { steer("cycle", arguments) } else { Ok(()) }
}

/// `cycle list`.
fn timetables(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let has_cycle = |one: &Value| sources::has_cycle(one);
    let (to, from) = (destinations(&node)?.into_iter(), sources::all(&node)?.into_iter());
    let (to, from) = (to.filter(has_cycle).collect::<Vec<_>>(), from.filter(has_cycle).collect::<Vec<_>>());
    if arguments.get_flag("json") {
        return to.iter().chain(&from).try_for_each(say_json);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["NAME", "CYCLE", "BEGINS"]);
    let mut add = |one: &Value, at: &str, otherwise: &str| {
        let begins = field(one, at);
        let begins = if begins.is_empty() { otherwise.to_owned() } else { begins };
        table.add_row([field(one, "name"), field(one, "cycle"), begins]);
    };
    to.iter().for_each(|destination| add(destination, "cycle_at", "nothing waits"));
    from.iter().for_each(|source| add(source, "next_at", "a person is asked"));
    say(&table.to_string())
}

/// The destinations that the node has.
fn destinations(node: &Node) -> Result<Vec<Value>, Fail> {
    let all = node.json("GET", "/v1/destinations")?;
    Ok(all.get("destinations").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// `pause`, `resume`, `cycle run`.
pub(super) fn steer(verb: &str, arguments: &ArgMatches) -> Result<(), Fail> {
    let name = text(arguments, "destination").unwrap_or_default();
    let query = match (verb, text(arguments, "why")) {
        ("pause", Some(why)) => format!("?why={}", escape(why)),
        (_, _) => String::new(),
    };
    let shown = Node::of(arguments)?.json("POST", &format!("/v1/destinations/{}/{verb}{query}", escape(name)))?;
    if arguments.get_flag("json") {
        return say_json(&shown);
    }
    let stands = why(&shown);
    say(&format!("{name} {}", if stands.is_empty() { "goes on".to_owned() } else { stands }))
}

/// What waits though nothing holds it: the time of each has not come.
fn later(destination: &Value) -> String {
    let waits = |state: &str| destination.get(state).and_then(Value::as_u64).is_some_and(|count| count > 0);
    let cycle_at = field(destination, "cycle_at");
    match (cycle_at.is_empty(), waits("failed"), waits("queued")) {
        (false, _, _) => format!("next-cycle at {cycle_at}"),
        (true, true, _) => "the next attempt".to_owned(),
        (true, false, true) => "not-before".to_owned(),
        (true, false, false) => String::new(),
    }
}

/// Why nothing goes, in a few words.
fn why(destination: &Value) -> String {
    let Some(pause) = destination.get("paused").filter(|pause| !pause.is_null()) else {
        let (why, account) = (field(destination, "waits_for"), field(destination, "held_by"));
        let why = if why.is_empty() { later(destination) } else { why };
        return if account.is_empty() { why } else { format!("{why} (account {account})") };
    };
    let words = ["cause", "who", "why"].map(|name| field(pause, name));
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!("paused since {}: {}", field(pause, "at"), words.join(", "))
}
