//! `bulk`, `audit` and `incidents`, and what `resend`, `cancel`, `hold`, `release` and `rm` do to all messages that match.
//!
//! # What holds
//!
//! * A person sees how many there are before anything happens, and the node refuses where it is another number by then.
//! * The job is the node's: a client that goes away does not end it.
//!
//! # What it does not know
//!
//! What the acts mean, and how a job goes on.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::ArgMatches;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::client::{Node, yes};
use super::messages::field;
use super::{Fail, NO, USAGE, say, say_json, text, visible};
use crate::model::percent::escape;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Does this to all messages that match, once the user agreed to their number.
pub(super) fn act(verb: &str, node: &Node, arguments: &ArgMatches, filter: &str) -> Result<(), Fail> {
    let action = if verb == "rm" { "delete" } else { verb };
    let mut asked = Asked::new();
    put(&mut asked, "action", action);
    put(&mut asked, "filter", filter);
    for (name, value) in
        [("at", text(arguments, "at")), ("rate", text(arguments, "rate")), ("why", text(arguments, "why"))]
    {
        if let Some(value) = value {
            put(&mut asked, name, value);
        }
    }
    if verb == "edit" {
        put(&mut asked, "field", text(arguments, "field").unwrap_or_default());
        for name in ["from", "to"] {
            if let Some(value) = text(arguments, name) {
                asked.insert(name, serde_json::from_str(value).map_err(|_| not_json(name, value))?);
            }
        }
    }
    let mut preview = asked.clone();
    put(&mut preview, "dry_run", true);
    let preview = post(node, &preview)?;
    let count = preview.get("count").and_then(Value::as_u64).unwrap_or(0);
    if arguments.get_flag("dry-run") {
        if arguments.get_flag("json") {
            return say_json(&preview);
        }
        sample(arguments, &preview);
        return say(&format!("{count} messages"));
    }
    if count == 0 {
        return Err(Fail::new(NO, "no message matches"));
    }
    if !arguments.get_flag("yes") {
        agree(verb, arguments, count, &preview)?;
    }
    put(&mut asked, "count", count);
    let job = follow(node, post(node, &asked)?)?;
    if arguments.get_flag("json") {
        say_json(&job)?;
    } else {
        say(&format!("{verb}: {} done, {} refused", field(&job, "done"), field(&job, "refused")))?;
    }
    let detail = field(&job, "detail");
    match field(&job, "state").as_str() {
        "done" if detail.is_empty() => Ok(()),
        "done" => Err(Fail::new(NO, format!("some were refused, the last because {detail}"))),
        state => Err(Fail::new(NO, format!("the job is {state}"))),
    }
}

/// What the node is asked, as it is written: a number that no machine holds stays what it is.
type Asked = BTreeMap<&'static str, Box<RawValue>>;

fn put(asked: &mut Asked, name: &'static str, value: impl Serialize) {
    // What has no map with odd keys can always be written.
    if let Ok(value) = to_raw_value(&value) {
        asked.insert(name, value);
    }
}

fn post(node: &Node, asked: &Asked) -> Result<Value, Fail> {
    let headers = [("content-type", "application/json")];
    let body = serde_json::to_vec(asked).unwrap_or_default();
    let answer = yes(node.call("POST", "/v1/bulk", &headers, &body)?)?;
    Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn not_json(name: &str, value: &str) -> Fail {
    let hint = format!("A text stands in quotes, and those in quotes of the shell: --{name} '\"{}\"'", visible(value));
    Fail::new(USAGE, format!("--{name} is JSON, not {}", visible(value))).hint(hint)
}

fn agree(verb: &str, arguments: &ArgMatches, count: u64, preview: &Value) -> Result<(), Fail> {
    if !std::io::stdin().is_terminal() {
        return Err(Fail::new(USAGE, format!("{verb} would change {count} messages")).hint("Say --yes, or --dry-run."));
    }
    sample(arguments, preview);
    let is_meant = agreed(&format!("{verb} {count} messages?"));
    if is_meant { Ok(()) } else { Err(Fail::new(NO, "nothing was changed")) }
}

/// Whether the person at the terminal says yes.
pub(super) fn agreed(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    drop(std::io::stderr().flush());
    let mut answer = String::new();
    drop(std::io::stdin().read_line(&mut answer));
    answer.trim().eq_ignore_ascii_case("y")
}

/// Some of what matches, and what an edit would make of it.
fn sample(arguments: &ArgMatches, preview: &Value) {
    for message in preview.get("sample").and_then(Value::as_array).into_iter().flatten() {
        let words = ["id", "state", "destination", "key", "reason"].map(|name| field(message, name));
        eprintln!("  {}", words.join("  ").trim_end());
    }
    let [path, to] = ["field", "to"].map(|name| visible(text(arguments, name).unwrap_or_default()));
    for edit in preview.get("edits").and_then(Value::as_array).into_iter().flatten() {
        match edit.get("refused").and_then(Value::as_str) {
            Some(why) => eprintln!("  {}  is refused: {}", field(edit, "id"), visible(why)),
            None => eprintln!("  {}  {path}: {} -> {to}", field(edit, "id"), field(edit, "before")),
        }
    }
}

/// Looks at the job until it ends.
fn follow(node: &Node, mut job: Value) -> Result<Value, Fail> {
    let bar = ProgressBar::new(job.get("matched").and_then(Value::as_u64).unwrap_or(0));
    // A template of ours is sound.
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    let path = format!("/v1/bulk/{}", escape(&field(&job, "id")));
    while field(&job, "state") == "running" {
        // The pace of a look at the node.
        std::thread::sleep(LOOK);
        job = node.json("GET", &path)?;
        let handled = ["done", "refused"].map(|name| job.get(name).and_then(Value::as_u64).unwrap_or(0));
        bar.set_position(handled.iter().sum());
    }
    bar.finish_and_clear();
    Ok(job)
}

/// `bulk list`, `bulk show`, `bulk cancel`.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let Some((verb, arguments)) = arguments.subcommand() else { return Err(Fail::new(NO, "nothing to do")) };
    let node = Node::of(arguments)?;
    if verb == "list" {
        return list(&node, arguments);
    }
    let path = format!("/v1/bulk/{}", escape(text(arguments, "job").unwrap_or_default()));
    let job = node.json(if verb == "cancel" { "DELETE" } else { "GET" }, &path)?;
    if arguments.get_flag("json") {
        return say_json(&job);
    }
    for (name, _) in job.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        say(&format!("{name:<16} {}", field(&job, name)))?;
    }
    Ok(())
}

fn list(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let all = node.json("GET", "/v1/bulk")?;
    let jobs = all.get("jobs").and_then(Value::as_array).into_iter().flatten();
    let names = ["id", "action", "state", "matched", "done", "refused", "who", "begun_at", "filter"];
    table(arguments, &names, jobs)
}

/// `incidents`.
pub(super) fn incidents(arguments: &ArgMatches) -> Result<(), Fail> {
    let state = if arguments.get_flag("all") { "all" } else { "open" };
    let all = Node::of(arguments)?.json("GET", &format!("/v1/incidents?state={state}"))?;
    let incidents = all.get("incidents").and_then(Value::as_array).into_iter().flatten();
    let names = ["id", "state", "destination", "class", "open", "failures", "first_at", "last_at", "reason"];
    table(arguments, &names, incidents)
}

/// `audit`.
pub(super) fn audit(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    if arguments.get_flag("verify") {
        return verify(&node, arguments);
    }
    let limit = arguments.get_one::<u64>("limit").copied().unwrap_or(50);
    let mut entries: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let left = limit.saturating_sub(u64::try_from(entries.len()).unwrap_or(limit));
        let mut page = node.json("GET", &format!("/v1/audit?limit={}{cursor}", left.clamp(1, 500)))?;
        if let Some(more) = page.get_mut("entries").and_then(Value::as_array_mut) {
            entries.append(more);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) if u64::try_from(entries.len()).unwrap_or(limit) < limit => cursor = format!("&cursor={next}"),
            Some(_) | None => break,
        }
    }
    if arguments.get_flag("json") {
        return entries.iter().try_for_each(|entry| say_json(&entry));
    }
    let names = ["number", "at", "who", "act", "target", "key", "detail"];
    table(arguments, &names, entries.iter())
}

fn verify(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let head = text(arguments, "head").map(|head| format!("?head={}", escape(head))).unwrap_or_default();
    let found = node.json("GET", &format!("/v1/audit/verify{head}"))?;
    if arguments.get_flag("json") {
        say_json(&found)?;
    }
    if let Some(wrong) = found.get("wrong").filter(|wrong| !wrong.is_null()) {
        let line = format!(
            "the audit log is not what was written: entry {}: {}",
            field(wrong, "number"),
            field(wrong, "what")
        );
        return Err(Fail::new(NO, line).hint("Keep a copy of the data directory before anything else is done."));
    }
    if arguments.get_flag("json") {
        return Ok(());
    }
    let head = found.get("head").unwrap_or(&Value::Null);
    say(&format!(
        "{} entries, sound; the last is {}:{}",
        field(&found, "entries"),
        field(head, "number"),
        field(head, "hash")
    ))
}

/// Prints these fields of the rows, or the rows as they are.
pub(super) fn table<'a>(
    arguments: &ArgMatches,
    names: &[&str],
    mut rows: impl Iterator<Item = &'a Value>,
) -> Result<(), Fail> {
    if arguments.get_flag("json") {
        return rows.try_for_each(|row| say_json(&row));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(names.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(names.iter().map(|name| cell(row, name)));
    }
    say(&table.to_string())
}

/// A field as one cell: what something was done to has its own form.
fn cell(row: &Value, name: &str) -> String {
    match row.get(name) {
        Some(Value::Object(target)) => {
            let words =
                target.iter().map(|(kind, what)| format!("{kind} {}", visible(what.as_str().unwrap_or_default())));
            words.collect::<Vec<_>>().join(" ")
        }
        Some(_) | None => field(row, name),
    }
}
