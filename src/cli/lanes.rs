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
use super::{Fail, NO, say, say_json, text};
use crate::model::percent::escape;
use crate::model::span::show_span;

/// `destinations`.
pub(super) fn list(arguments: &ArgMatches) -> Result<(), Fail> {
    let names = ["name", "queued", "sending", "delivered", "failed", "abandoned", "late", "oldest"];
    let head: Vec<String> =
        names.iter().map(|name| name.to_uppercase()).chain(["DRAINS", "WAITS"].map(str::to_owned)).collect();
    table(arguments, &head, |destination| {
        let drains = destination.get("drains_in_ms").and_then(Value::as_u64).map(show_span).unwrap_or_default();
        Some(names.iter().map(|name| field(destination, name)).chain([drains, why(destination)]).collect())
    })
}

/// `cycle`.
pub(super) fn cycle(arguments: &ArgMatches) -> Result<(), Fail> {
    match arguments.subcommand() {
        Some(("run", arguments)) => steer("cycle", arguments),
        Some((_, arguments)) => table(arguments, &["NAME", "CYCLE", "BEGINS"].map(str::to_owned), |destination| {
            let cycle = destination.get("cycle").filter(|cycle| !cycle.is_null())?;
            let begins = field(destination, "cycle_at");
            let begins = if begins.is_empty() { "nothing waits".to_owned() } else { begins };
            Some(vec![field(destination, "name"), cycle.as_str().unwrap_or_default().to_owned(), begins])
        }),
        None => Err(Fail::new(NO, "nothing to do")),
    }
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

/// Why nothing goes, in a few words.
fn why(destination: &Value) -> String {
    let Some(pause) = destination.get("paused").filter(|pause| !pause.is_null()) else {
        let (why, account) = (field(destination, "waits_for"), field(destination, "held_by"));
        return if account.is_empty() { why } else { format!("{why} (account {account})") };
    };
    let words = ["cause", "who", "why"].map(|name| field(pause, name));
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!("paused since {}: {}", field(pause, "at"), words.join(", "))
}

/// A table with a line for each destination that has one.
fn table(arguments: &ArgMatches, head: &[String], line: impl Fn(&Value) -> Option<Vec<String>>) -> Result<(), Fail> {
    let all = Node::of(arguments)?.json("GET", "/v1/destinations")?;
    let list = all.get("destinations").and_then(Value::as_array).into_iter().flatten();
    if arguments.get_flag("json") {
        return list.filter(|one| line(one).is_some()).try_for_each(|one| say_json(&one));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec());
    for destination in list {
        table.add_rows(line(destination));
    }
    say(&table.to_string())
}
