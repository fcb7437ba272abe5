//! Configuration for people: the table of rules as a page, `docs/configuration.md`, and what a destination was configured to be held to.
//!
//! # What it does not know
//!
//! Where it is printed.

use std::fmt::Write;

use super::rules::{self, Kind, Rule};
use crate::engine::{Account, Destination};
use crate::model::span::show_span;

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for (title, table) in [
        ("[server]", "server"),
        ("[store]", "store"),
        ("[account.NAME]", "account"),
        ("[destination.NAME]", "destination"),
        ("[source.NAME]", "source"),
        ("[[route]]", "route"),
        ("[reconcile.NAME]", "reconcile"),
        ("[[alert]]", "alert"),
    ] {
        let _ = write!(page, "\n## `{title}`\n\n");
        if let Some(rule) = rules::all().find(|rule| rule.path == table) {
            let _ = write!(page, "{}\n\n", rule.doc);
        }
        page.push_str("| key | takes | default | what it is for |\n|---|---|---|---|\n");
        let (dotted, listed) = (format!("{table}."), format!("{table}[]"));
        let inside = |rule: &&Rule| rule.path.starts_with(&dotted) || rule.path.starts_with(&listed);
        for rule in rules::all().filter(inside) {
            let _ = writeln!(page, "{}", row(rule, table));
        }
    }
    page
}

/// What holds messages back from a destination, in words: its rate, its breaker, its hours and its timetable. Empty where nothing does.
#[must_use]
pub fn limits(destination: &Destination) -> String {
    let mut words = Vec::new();
    if let Some(rate) = destination.rate {
        words.push(format!("at most {rate}, {} at once", rate.burst));
    }
    if let Some(breaker) = destination.breaker {
        let (window, probe) = (show_span(breaker.window_ms), show_span(breaker.probe_ms));
        words.push(format!(
            "left alone after {} failures in a row within {window}, tried {probe} later",
            breaker.failures
        ));
    }
    words.extend(destination.hours.open.iter().map(|open| format!("open {open}")));
    words.extend(destination.hours.closed.iter().map(|closed| format!("closed {closed}")));
    words.extend(destination.account.iter().map(|account| shared(account)));
    let only = if destination.only_in_cycles { ", in which alone it sends" } else { "" };
    words.extend(destination.cycle.iter().map(|cycle| format!("cycle {cycle}{only}")));
    words.join("; ")
}

/// What an account holds its destinations to, in words.
fn shared(account: &Account) -> String {
    let rate = account.rate.map(|rate| format!(", at most {rate} together, {} at once", rate.burst));
    let out = account.concurrency.map(|most| format!(", {most} out together"));
    format!("of account {}{}{}", account.name, rate.unwrap_or_default(), out.unwrap_or_default())
}

fn row(rule: &Rule, table: &str) -> String {
    let key =
        rule.path.trim_start_matches(table).trim_start_matches("[]").trim_start_matches(".*").trim_start_matches('.');
    let default = if rule.default.is_empty() { String::new() } else { format!("`{}`", rule.default) };
    let variable = rule.variable().map(|name| format!(" `{name}`")).unwrap_or_default();
    format!("| `{key}` | {} | {default} | {}{variable} |", takes(rule.kind), rule.doc)
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Table | Kind::Named => "a table".into(),
        Kind::TableOr(name) => format!("a table, or its `{name}`"),
        Kind::Tables => "a list of tables".into(),
        Kind::OneOrMore => "a table, or a list of them".into(),
        Kind::File => "the path of a file".into(),
        Kind::Statuses => "`2xx`, `200,409`, `200-204`".into(),
        Kind::Filter => "a `jaq` filter".into(),
        Kind::Template => "a `minijinja` template, or `{ file = \"PATH\" }`".into(),
        Kind::Text => "text".into(),
        Kind::Listen => "address and port".into(),
        Kind::Store => "`sled:DIRECTORY`".into(),
        Kind::Url => "a URL".into(),
        Kind::Size(_, most) if most >= 1 << 40 => "a size".into(),
        Kind::Size(_, most) => format!("a size up to {} MiB", most >> 20),
        Kind::Span(least, most) => format!("a duration from {} to {}", show_span(least), show_span(most)),
        Kind::Spans(least, most) => format!("durations, each from {} to {}", show_span(least), show_span(most)),
        Kind::Whole(least, most) => format!("{least} to {most}"),
        Kind::Share => "0 to 1".into(),
        Kind::Yes => "`true`".into(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Choices(words) => {
            format!("a list of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
        Kind::Texts => "a list of texts".into(),
        Kind::Cycle => "`every 15m`, or `0 6 * * MON-FRI Europe/Warsaw`".into(),
        Kind::Rate => "`100/1m`".into(),
        Kind::Hours => "`Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Warsaw`".into(),
        Kind::Closures => {
            "`Sun 02:00-04:00 Europe/Warsaw` or `2026-12-24T00:00:00Z/2026-12-27T00:00:00Z`, or a list of them".into()
        }
        Kind::Secret => "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`".into(),
        Kind::Secrets => "a secret, or a list of them".into(),
        Kind::Pairs => "names and texts or secrets".into(),
    }
}

const HEAD: &str = "\
# Configuration

This page is printed from the table in `src/config/rules`; a test fails when it is stale.

goniec runs without a file. It reads the one that `--config` names, else the one in `GONIEC_CONFIG`, else `goniec.toml` in the working directory, else
`/etc/goniec/goniec.toml`. `goniec check` says which it read, and everything that is wrong with it: line, column, key, and what to do.

* A duration has a unit: `250ms`, `2s`, `15m`, `1h30m`, `3d`, `2w`. So has a size: `512KiB`, `1MiB`, `20GiB`.
* A secret comes from the environment, `{ env = \"NAME\" }`, or from a file, `{ file = \"/run/secrets/name\" }`. It never stands in the file, and is never printed.
* The plain keys of `[server]` and `[store]` can be set by the environment variables named beside them, which win over the file.
* An unknown key, or an unknown variable of these names, is an error that names the nearest known one.
";
