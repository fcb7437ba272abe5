//! `token ls`, `token new` and `token rm`: who may call the node.
//!
//! # What holds
//!
//! * Standard output has a new token and nothing else, so that it can go where it is kept without being shown.
//!
//! # What it does not know
//!
//! Which tokens must stay: the node says so.

use clap::ArgMatches;
use serde_json::{Value, json};

use super::bulk::table;
use super::client::{Node, yes};
use super::messages::field;
use super::{Fail, NO, say, say_json, text};
use crate::model::percent::escape;

/// `token ls`, `token new`, `token rm`.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    match arguments.subcommand() {
        Some(("new", arguments)) => make(&Node::of(arguments)?, arguments),
        Some(("rm", arguments)) => revoke(&Node::of(arguments)?, arguments),
        Some((_, arguments)) => list(&Node::of(arguments)?, arguments),
        None => Err(Fail::new(NO, "nothing to do")),
    }
}

fn list(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let all = node.json("GET", "/v1/tokens")?;
    let tokens = all.get("tokens").and_then(Value::as_array).into_iter().flatten();
    table(arguments, &["name", "role", "from", "state", "made_by", "made_at", "expires_at"], tokens)
}

fn make(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let word = |name| text(arguments, name);
    let asked = json!({ "name": word("name"), "role": word("role"), "expires": word("expires") });
    let headers = [("content-type", "application/json")];
    let answer = yes(node.call("POST", "/v1/tokens", &headers, asked.to_string().as_bytes())?)?;
    let made: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if arguments.get_flag("json") {
        return say_json(&made);
    }
    say(&field(&made, "token"))?;
    eprintln!("This is the token; it is not shown again.");
    Ok(())
}

fn revoke(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let name = text(arguments, "name").unwrap_or_default();
    node.json("DELETE", &format!("/v1/tokens/{}", escape(name)))?;
    if arguments.get_flag("json") {
        return say_json(&json!({ "name": name, "is_revoked": true }));
    }
    say(&format!("{}: revoked", super::visible(name)))
}
