//! The verbs that look at messages and act on them: `ls`, `show`, `edit`, `resend`, `cancel`, `hold`, `release`, `rm`, `resolve`, `stats`, `tail`.
//!
//! # What it does not know
//!
//! What the acts mean: the node decides, and says why not.

use std::io::{BufRead, BufReader, IsTerminal, Write};

use clap::ArgMatches;
use comfy_table::{Table, presets};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::admin::filter::{BadFilter, Filter, WORDS};
use crate::model::media::is_json;
use crate::model::percent::escape;
use crate::model::{Id, Phase, WallMs};

use super::bulk::{self, agreed};
use super::client::{Node, refusal, yes};
use super::{Fail, NO, USAGE, say, say_json, text, visible};

/// Messages of one page of the node.
const PAGE: u64 = 500;

/// `ls`.
pub(super) fn ls(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let limit = arguments.get_one::<u64>("limit").copied().unwrap_or(50);
    let messages = listed(&node, &query(arguments, &words(arguments))?, limit)?;
    if arguments.get_flag("json") {
        return messages.iter().try_for_each(|message| say_json(&message));
    }
    if messages.is_empty() {
        return Err(Fail::new(NO, "no message matches"));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "ID",
        "STATE",
        "DESTINATION",
        "KEY",
        "TYPE",
        "TRIES",
        "WHY",
        "ACCEPTED",
    ]);
    for message in &messages {
        let after = message.get("after").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let waits_for =
            std::iter::once(field(message, "waits_for")).chain(after.map(visible)).collect::<Vec<_>>().join(" ");
        let why = [field(message, "reason"), waits_for, field(message, "last_class")];
        let why = why.into_iter().find(|word| !word.is_empty()).unwrap_or_default();
        let names = ["id", "state", "destination", "key", "type", "attempts"];
        let cells = names.map(|name| field(message, name)).into_iter().chain([why, field(message, "accepted_at")]);
        table.add_row(cells);
    }
    say(&table.to_string())
}

/// `show`.
pub(super) fn show(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let path = path(text(arguments, "id").unwrap_or_default())?;
    let mut message = node.json("GET", &path)?;
    let attempts = node.json("GET", &format!("{path}/attempts"))?;
    let revisions = node.json("GET", &format!("{path}/revisions"))?;
    if arguments.get_flag("json") {
        for (name, from) in [("attempts_made", attempts.get("attempts")), ("revisions", revisions.get("revisions"))] {
            if let (Some(whole), Some(part)) = (message.as_object_mut(), from) {
                whole.insert(name.to_owned(), part.clone());
            }
        }
        return say_json(&message);
    }
    let is_plain = |value: &Value| !value.is_null() && !value.is_array();
    for (name, _) in message.as_object().into_iter().flatten().filter(|(_, value)| is_plain(value)) {
        say(&format!("{name:<16} {}", field(&message, name)))?;
    }
    for awaited in message.get("awaited").and_then(Value::as_array).into_iter().flatten() {
        let stands = ["state", "reason", "newest"].map(|name| field(awaited, name)).join(" ");
        let stands = if stands.trim().is_empty() { "no message of it is known" } else { &stands };
        say(&format!("{:<16} {}  {stands}", "waits for key", field(awaited, "key")))?;
    }
    for attempt in attempts.get("attempts").and_then(Value::as_array).into_iter().flatten() {
        let words = ["number", "started_at", "outcome", "class", "status", "detail"].map(|name| field(attempt, name));
        say(&format!("attempt {} ({} ms)", words.join("  "), field(attempt, "duration_ms")))?;
        if let Some(phases) = attempt.get("phases").and_then(phases) {
            say(&format!("    {phases}"))?;
        }
        let answered = field(attempt, "response_excerpt");
        if !answered.is_empty() {
            say(&format!("    answered: {answered}"))?;
        }
    }
    for revision in revisions.get("revisions").and_then(Value::as_array).into_iter().flatten() {
        let words = ["number", "at", "who", "why", "body"].map(|name| field(revision, name));
        say(&format!("revision {}", words.join("  ")))?;
    }
    Ok(())
}

/// What the time of an attempt was spent on: `connect 1.2 ms, tls 12 ms, send 0 ms, wait 4.8 s, receive 0.1 ms`.
fn phases(shown: &Value) -> Option<String> {
    let phase = |phase: Phase| {
        let ms = shown.get(format!("{}_ms", phase.name()))?.as_f64()?;
        let took = if ms < 1_000.0 { format!("{ms} ms") } else { format!("{:.1} s", ms / 1_000.0) };
        Some(format!("{} {took}", phase.name()))
    };
    let is_reused = shown.get("is_reused")?.as_bool()?.then(|| "over a kept connection".to_owned());
    let phases: Vec<String> = is_reused.into_iter().chain(Phase::ALL.into_iter().filter_map(phase)).collect();
    Some(phases.join(", "))
}

/// `edit`.
pub(super) fn edit(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let ids = named("edit", arguments)?;
    if arguments.contains_id("field") {
        let ids = ids.map(|ids| ids.into_iter().map(|id| format!("id:{id}")).collect::<Vec<_>>().join(" "));
        return bulk::act("edit", &node, arguments, &ids.map_or_else(|| filter(arguments), Ok)?);
    }
    let [id] = ids.as_deref().unwrap_or_default() else {
        let hint = "With --field and --to, a field of all messages that match gets another value.";
        return Err(Fail::new(USAGE, "a new body is for one message: name its id").hint(hint));
    };
    let path = path(id)?;
    let message = node.json("GET", &path)?;
    let revision = field(&message, "revision");
    let body = match text(arguments, "file") {
        Some(file) => std::fs::read(file).map_err(|error| Fail::new(USAGE, format!("cannot read {file}: {error}")))?,
        None => in_editor(&yes(node.call("GET", &format!("{path}/body"), &[], &[])?)?.body)?,
    };
    sure(arguments, &field(&message, "content_type"), &body)?;
    let why = escape(text(arguments, "why").unwrap_or_default());
    let tag = format!("\"{revision}\"");
    // It has been asked for here.
    let put = format!("{path}/body?why={why}&as_is=true");
    let answer = yes(node.call("PUT", &put, &[("if-match", &tag)], &body)?)?;
    let shown: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    done(arguments, &shown)
}

/// Asks whether a body that is not what its content type says is meant.
fn sure(arguments: &ArgMatches, content_type: &str, body: &[u8]) -> Result<(), Fail> {
    let Err(wrong) = serde_json::from_slice::<&RawValue>(body) else { return Ok(()) };
    if !is_json(content_type) || arguments.get_flag("yes") {
        return Ok(());
    }
    let line = format!("the new body is no JSON, and its content type says {}: {wrong}", visible(content_type));
    if !std::io::stdin().is_terminal() {
        return Err(Fail::new(USAGE, line).hint("Say --yes where it is meant; nothing was changed."));
    }
    if agreed(&format!("{line}; keep it all the same?")) { Ok(()) } else { Err(Fail::new(NO, "nothing was changed")) }
}

/// `resend`, `cancel`, `hold`, `release`, `rm`, `resolve`.
pub(super) fn act(verb: &str, arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let Some(ids) = named(verb, arguments)? else { return bulk::act(verb, &node, arguments, &filter(arguments)?) };
    if arguments.try_get_one::<bool>("dry-run").ok().flatten() == Some(&true) {
        return say(&format!("{} messages", ids.len()));
    }
    let why = text(arguments, "why").map(|why| format!("why={}", escape(why))).unwrap_or_default();
    let (method, tail) = match verb {
        "rm" => ("DELETE", format!("?{why}")),
        "resend" => ("POST", format!("/resend?at={}&{why}", escape(text(arguments, "at").unwrap_or("now")))),
        "resolve" if arguments.get_flag("delivered") => ("POST", format!("/resolve?outcome=delivered&{why}")),
        "resolve" => ("POST", format!("/resolve?outcome=resend&{why}")),
        other => ("POST", format!("/{other}?{why}")),
    };
    let mut refused = None;
    for id in ids {
        match node.json(method, &format!("{}{tail}", path(&id)?)) {
            Ok(shown) if shown.is_null() => say(&format!("{id} removed"))?,
            Ok(shown) => done(arguments, &shown)?,
            Err(fail) if fail.code == super::UNREACHED => return Err(fail),
            Err(fail) => {
                say(&format!("{id} refused: {}", visible(&fail.line)))?;
                refused = Some(fail);
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

/// `stats`.
pub(super) fn stats(arguments: &ArgMatches) -> Result<(), Fail> {
    let stats = Node::of(arguments)?.json("GET", "/v1/stats")?;
    if arguments.get_flag("json") {
        return say_json(&stats);
    }
    for name in ["version", "started_at", "accepted", "attempts", "delivered", "sending", "commit"] {
        say(&format!("{name:<16} {}", field(&stats, name)))?;
    }
    let store = stats.get("store").unwrap_or(&Value::Null);
    say(&format!("{:<16} {} bytes used, {} free", "store", field(store, "used_bytes"), field(store, "free_bytes")))?;
    for what in stats.get("damaged").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        say(&format!("{:<16} {}", "damaged", visible(what)))?;
    }
    let names = ["name", "queued", "sending", "delivered", "failed", "abandoned"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(names.map(str::to_uppercase));
    for destination in stats.get("destinations").and_then(Value::as_array).into_iter().flatten() {
        table.add_row(names.map(|name| field(destination, name)));
    }
    say(&table.to_string())
}

/// `tail`.
pub(super) fn tail(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let mut stream = node.open(&format!("/v1/events?{}", query(arguments, &words(arguments))?))?;
    if stream.status != 200 {
        let mut body = Vec::new();
        drop(std::io::Read::read_to_end(&mut stream, &mut body));
        return Err(refusal(stream.status, &body));
    }
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| Fail::new(super::UNREACHED, format!("the events broke off: {error}")))?;
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if arguments.get_flag("json") {
            say_json(&data)?;
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let words = ["at", "id", "destination", "key", "state", "reason", "detail"].map(|name| field(&event, name));
        say(words.join("  ").trim_end())?;
    }
    Err(Fail::new(super::UNREACHED, "the node ended the events")
        .hint("It is stopping, or events came faster than they were read."))
}

/// The ids that are named, where nothing else is; `None` where a filter is meant.
fn named(verb: &str, arguments: &ArgMatches) -> Result<Option<Vec<String>>, Fail> {
    if verb == "resolve" {
        return Ok(Some(text(arguments, "id").map(str::to_owned).into_iter().collect()));
    }
    let words = words(arguments);
    let ids: Vec<String> =
        words.split_whitespace().filter(|word| word.parse::<Id>().is_ok()).map(str::to_owned).collect();
    if ids.is_empty() || ids.len() != words.split_whitespace().count() {
        return Ok(None);
    }
    if flags(arguments).next().is_some() {
        return Err(Fail::new(USAGE, "ids and a filter do not go together").hint("Name ids, or a filter."));
    }
    Ok(Some(ids))
}

/// Up to `limit` messages that match, over as many pages as it takes.
fn listed(node: &Node, query: &str, limit: u64) -> Result<Vec<Value>, Fail> {
    let mut messages: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let left = limit.saturating_sub(u64::try_from(messages.len()).unwrap_or(limit));
        let mut page = node.json("GET", &format!("/v1/messages?limit={}{cursor}&{query}", left.clamp(1, PAGE)))?;
        if let Some(more) = page.get_mut("messages").and_then(Value::as_array_mut) {
            messages.append(more);
        }
        for what in page.get("damaged").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            eprintln!("cannot be read, and may be missing here: {}", visible(what));
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) if u64::try_from(messages.len()).unwrap_or(limit) < limit => cursor = format!("&cursor={next}"),
            Some(_) | None => return Ok(messages),
        }
    }
}

fn words(arguments: &ArgMatches) -> String {
    let words: Vec<&str> = arguments.get_many::<String>("filter").into_iter().flatten().map(String::as_str).collect();
    words.join(" ")
}

/// The filter words and flags as a query; what is wrong with the words is said here, where the column can be pointed at.
fn query(arguments: &ArgMatches, words: &str) -> Result<String, Fail> {
    checked(words)?;
    let mut pairs = Vec::new();
    if !words.is_empty() {
        pairs.push(format!("filter={}", escape(words)));
    }
    pairs.extend(flags(arguments).map(|(name, value)| format!("{name}={}", escape(value))));
    Ok(pairs.join("&"))
}

/// The filter words and flags as one filter.
fn filter(arguments: &ArgMatches) -> Result<String, Fail> {
    let flags = flags(arguments).map(|(name, value)| {
        let word = if name == "destination" { "to" } else { name };
        format!("{word}:\"{value}\"")
    });
    let words = words(arguments);
    let filter = std::iter::once(words).filter(|words| !words.is_empty()).chain(flags).collect::<Vec<_>>().join(" ");
    checked(&filter)?;
    if filter.is_empty() {
        return Err(Fail::new(USAGE, "which messages?").hint("Name ids, or a filter such as state:failed to:erp."));
    }
    Ok(filter)
}

fn checked(words: &str) -> Result<(), Fail> {
    let wrong = |bad: BadFilter| Fail::new(USAGE, bad.to_string()).hint(format!("{words} <- column {}", bad.column));
    Filter::parse(words, WallMs(u64::MAX)).map(drop).map_err(wrong)
}

/// The flags of a filter that are set.
fn flags(arguments: &ArgMatches) -> impl Iterator<Item = (&'static str, &str)> {
    let flags = WORDS.into_iter().map(|word| if word == "to" { "destination" } else { word });
    flags.filter_map(|name| text(arguments, name).map(|value| (name, value)))
}

fn path(id: &str) -> Result<String, Fail> {
    let id: Id = id.parse().map_err(|wrong: crate::model::id::NotAnId| {
        Fail::new(USAGE, wrong.to_string())
            .hint("`goniec ls` shows the ids; `goniec ls key:KEY` finds by business key.")
    })?;
    Ok(format!("/v1/messages/{id}"))
}

/// A field as text that is safe to show.
pub(super) fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => visible(text),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            visible(&other.to_string())
        }
    }
}

fn done(arguments: &ArgMatches, shown: &Value) -> Result<(), Fail> {
    if arguments.get_flag("json") {
        return say_json(&shown);
    }
    say(&format!("{} {}", field(shown, "id"), field(shown, "state")))
}

fn in_editor(body: &[u8]) -> Result<Vec<u8>, Fail> {
    let failed = |what: String| Fail::new(USAGE, what).hint("Set EDITOR, or give the body with -f FILE.");
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR"));
    let editor = editor.map_err(|_| failed("no editor is named".into()))?;
    let file = std::env::temp_dir().join(format!("goniec-edit-{}", std::process::id()));
    let io = |error: std::io::Error| failed(format!("{}: {error}", file.display()));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut to| to.write_all(body))
        .map_err(io)?;
    let mut words = editor.split_whitespace();
    let status = std::process::Command::new(words.next().unwrap_or("vi")).args(words).arg(&file).status();
    let edited = std::fs::read(&file);
    drop(std::fs::remove_file(&file));
    match status {
        Ok(status) if status.success() => edited.map_err(io),
        Ok(status) => Err(failed(format!("{editor} ended with {status}; nothing was changed"))),
        Err(error) => Err(failed(format!("cannot run {editor}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attempt_spent_its_time_on_is_a_line_in_the_order_of_the_phases() {
        let shown = serde_json::json!({"wait_ms": 4812.8, "tls_ms": 12.0, "connect_ms": 1.2, "is_reused": false});
        assert_eq!(phases(&shown).as_deref(), Some("connect 1.2 ms, tls 12 ms, wait 4.8 s"));
        let kept = serde_json::json!({"send_ms": 0.0, "wait_ms": 0.4, "receive_ms": 0.1, "is_reused": true});
        let words = "over a kept connection, send 0 ms, wait 0.4 ms, receive 0.1 ms";
        assert_eq!(phases(&kept).as_deref(), Some(words));
        assert_eq!(phases(&Value::Null), None);
    }
}
