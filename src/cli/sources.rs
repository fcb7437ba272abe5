//! `sources`: what a person sees of the systems that messages come from.
//!
//! # What it does not know
//!
//! How they are read: the node says it.

use clap::ArgMatches;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::client::Node;
use super::messages::field;
use super::{Fail, say, say_json};
use crate::model::percent::escape;

/// `sources`.
pub(super) fn list(arguments: &ArgMatches) -> Result<(), Fail> {
    let sources = all(&Node::of(arguments)?)?;
    if arguments.get_flag("json") {
        return sources.iter().try_for_each(|source| say_json(&source));
    }
    let names = ["name", "kind", "state", "read_at", "next_at", "items", "cursor", "last_error"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(names.map(|name| name.replace('_', " ").to_uppercase()));
    for source in &sources {
        table.add_row(names.map(|name| field(source, name)));
    }
    say(&table.to_string())
}

/// The sources that the node has.
pub(super) fn all(node: &Node) -> Result<Vec<Value>, Fail> {
    let answer = node.json("GET", "/v1/sources")?;
    Ok(answer.get("sources").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// Whether this is a source that is asked in cycles.
pub(super) fn has_cycle(source: &Value) -> bool {
    source.get("cycle").is_some_and(|cycle| !cycle.is_null())
}

/// Has a source read now.
pub(super) fn read(node: &Node, arguments: &ArgMatches, name: &str) -> Result<(), Fail> {
    let sure = if arguments.get_flag("yes") { "?sure=true" } else { "" };
    let shown = node.json("POST", &format!("/v1/sources/{}/run{sure}", escape(name)))?;
    if arguments.get_flag("json") {
        return say_json(&shown);
    }
    say(&format!("source {name} is read now; `goniec sources` tells what came of it"))
}
