//! Every key of the configuration in one table: where it stands, what it takes, what it is otherwise, what it is for.
//!
//! Reading, refusing, defaults and `docs/configuration.md` all come from this table.
//!
//! # What it does not know
//!
//! TOML, files, and what is built from the values.

use crate::engine::REQUEST_BYTES_MAX;
use crate::model::rate::RATE_COUNT_MAX;

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Where it stands: `destination.*.retry.first`, `alert[].to[].log`.
    pub(super) path: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// What it is where nothing is written, as it would be written; empty for nothing.
    pub(super) default: &'static str,
    /// What it is for.
    pub(super) doc: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A table of keys.
    Table,
    /// Tables by names that the administrator gives.
    Named,
    /// A list of tables.
    Tables,
    /// Any text.
    Text,
    /// An address to listen on.
    Listen,
    /// `sled:PATH`.
    Store,
    /// An `http://` or `https://` URL.
    Url,
    /// Bytes with a unit, between the two.
    Size(u64, u64),
    /// A length of time with a unit, between the two in milliseconds.
    Span(u64, u64),
    /// Lengths of time, at least one, each between the two in milliseconds.
    Spans(u64, u64),
    /// A whole number between the two.
    Whole(u64, u64),
    /// A number from 0 to 1.
    Share,
    /// `true`.
    Yes,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// Texts, at least one.
    Texts,
    /// `every 15m`, or a cron line and a zone.
    Cycle,
    /// `100/1m`.
    Rate,
    /// `Mon-Fri 08:00-18:00 Europe/Warsaw`.
    Hours,
    /// Spans of the week or of time in which nothing is sent: one, or a list.
    Closures,
    /// `{ env = "NAME" }` or `{ file = "PATH" }`.
    Secret,
    /// Headers: texts or secrets by name.
    Headers,
    /// Nothing: a later version takes it.
    Later,
}

const MS: u64 = 1;
const SECOND: u64 = 1_000 * MS;
const DAY: u64 = 86_400 * SECOND;
const YEAR: u64 = 366 * DAY;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

const fn rule(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Rule {
    Rule { path, kind, default, doc }
}

const fn later(path: &'static str, doc: &'static str) -> Rule {
    Rule { path, kind: Kind::Later, default: "", doc }
}

/// The systems whose answers are known.
const PRESETS: &[&str] =
    &["baselinker", "odoo-jsonrpc", "shopify-graphql", "soap-fault", "standard", "woocommerce-batch"];

/// The table.
pub(super) const RULES: &[Rule] = &[
    rule("server", Kind::Table, "", "Where goniec listens, and who may call."),
    rule(
        "server.listen",
        Kind::Listen,
        "127.0.0.1:8420",
        "The address of the HTTP interface. One that other machines reach needs a token.",
    ),
    rule("server.body_max", Kind::Size(KIB, REQUEST_BYTES_MAX), "1MiB", "The largest body of a message."),
    rule("server.tokens", Kind::Tables, "", "Tokens by name and role."),
    rule("server.tokens[].name", Kind::Text, "", "The name that is written down for what its bearer does."),
    rule(
        "server.tokens[].role",
        Kind::Choice(&["producer", "viewer", "operator", "admin"]),
        "",
        "`producer` hands in, `viewer` reads, `operator` acts on messages and destinations, `admin` may do everything.",
    ),
    rule("server.tokens[].secret", Kind::Secret, "", "The token itself."),
    rule("store", Kind::Table, "", "Where messages are kept, and how long."),
    rule("store.url", Kind::Store, "sled:goniec-data", "`sled:` and the directory of the embedded store."),
    rule("store.keep_delivered", Kind::Span(SECOND, 100 * YEAR), "30d", "How long a delivered message stays."),
    rule("store.keep_abandoned", Kind::Span(SECOND, 100 * YEAR), "365d", "How long an abandoned message stays."),
    rule(
        "store.keep_bodies",
        Kind::Span(SECOND, 100 * YEAR),
        "7d",
        "How long the bodies of both stay; never longer than the messages.",
    ),
    rule(
        "store.size_max",
        Kind::Size(64 * MIB, 1_024 * TIB),
        "",
        "No message is taken while the store is larger. Without it the disk is the limit.",
    ),
    rule("destination", Kind::Named, "", "The systems that receive, by name: letters, digits, `-` and `_`."),
    rule("destination.*.url", Kind::Url, "", "Where messages go. Required."),
    rule("destination.*.method", Kind::Choice(&["POST", "PUT", "PATCH", "DELETE"]), "POST", "The HTTP method."),
    rule(
        "destination.*.headers",
        Kind::Headers,
        "",
        "Headers of every delivery: text, or a secret. Credentials must be secrets.",
    ),
    rule("destination.*.concurrency", Kind::Whole(1, 1_024), "8", "How many messages may be out at once."),
    rule(
        "destination.*.order",
        Kind::Choice(&["none", "key"]),
        "none",
        "`key`: messages of one key go one at a time, in order of acceptance.",
    ),
    rule(
        "destination.*.on_uncertain",
        Kind::Choice(&["retry", "hold"]),
        "retry",
        "What happens where nobody can know whether a message arrived: it is sent again with the same id, or held for a person.",
    ),
    rule("destination.*.timeout", Kind::Span(10 * MS, 3_600 * SECOND), "30s", "How long one attempt may take."),
    rule(
        "destination.*.deadline",
        Kind::Span(SECOND, 10 * YEAR),
        "",
        "Messages without a deadline of their own are given up so long after they were accepted.",
    ),
    rule("destination.*.retry", Kind::Table, "", "When a failed message is tried again."),
    rule(
        "destination.*.retry.backoff",
        Kind::Choice(&["exponential", "fixed", "list"]),
        "exponential",
        "How the delays grow. Not needed beside `cycle`: what fails then waits for the next cycle.",
    ),
    rule(
        "destination.*.retry.first",
        Kind::Span(MS, 30 * DAY),
        "2s",
        "`exponential`: the delay after the first failure; it doubles with each one.",
    ),
    rule("destination.*.retry.max", Kind::Span(MS, 30 * DAY), "10m", "`exponential`: the longest delay."),
    rule("destination.*.retry.delay", Kind::Span(MS, 30 * DAY), "1m", "`fixed`: the delay."),
    rule(
        "destination.*.retry.delays",
        Kind::Spans(MS, 30 * DAY),
        "",
        "`list`: the delays one after another; the last repeats. Required there.",
    ),
    rule(
        "destination.*.retry.jitter",
        Kind::Share,
        "0.2",
        "The share of each delay that is left to chance, which only shortens it.",
    ),
    rule(
        "destination.*.retry.attempts",
        Kind::Whole(1, 65_535),
        "20",
        "How often a message is tried before it is abandoned as exhausted.",
    ),
    rule(
        "destination.*.retry.cycle",
        Kind::Cycle,
        "",
        "The timetable of the destination. A cron line has five fields and may name a zone; without one UTC is meant.",
    ),
    rule(
        "destination.*.latest_wins",
        Kind::Yes,
        "",
        "Only the newest message of a key counts: it supersedes the older one that waits, or that is out and does not arrive. One of a key goes at a time.",
    ),
    rule(
        "destination.*.rate",
        Kind::Rate,
        "",
        "How many messages in how much time. No window of that length sees more, and sends are spaced evenly.",
    ),
    rule(
        "destination.*.burst",
        Kind::Whole(1, RATE_COUNT_MAX as u64),
        "",
        "How many may go at once after a pause; what fits into 50 ms without it. Never more than the rate lets through.",
    ),
    rule(
        "destination.*.breaker",
        Kind::Table,
        "",
        "Leaves the destination alone while it fails; without the table it is always asked. No attempts are used up meanwhile.",
    ),
    rule(
        "destination.*.breaker.failures",
        Kind::Whole(1, 1_000),
        "5",
        "It opens after so many failures in a row, where nine of ten of the last twenty attempts failed too.",
    ),
    rule("destination.*.breaker.window", Kind::Span(SECOND, DAY), "30s", "Attempts that ended earlier are forgotten."),
    rule(
        "destination.*.breaker.probe",
        Kind::Span(100 * MS, DAY),
        "15s",
        "So long after it opened one message is tried; the time grows up to eight times while that fails.",
    ),
    rule(
        "destination.*.hours",
        Kind::Hours,
        "",
        "When it takes messages; always without it. What waits for the opening uses up no attempts.",
    ),
    rule("destination.*.maintenance", Kind::Closures, "", "When it takes none, whatever `hours` says."),
    rule("alert", Kind::Tables, "", "Who is told of what."),
    rule(
        "alert[].on",
        Kind::Choices(&["abandoned"]),
        "abandoned",
        "What is told: messages that were abandoned, and those that wait for a person because nobody can know whether they arrived.",
    ),
    rule("alert[].destinations", Kind::Texts, "", "Only of these destinations; of all without it."),
    rule("alert[].to", Kind::Tables, "", "The ways to tell. Required."),
    rule("alert[].to[].webhook", Kind::Url, "", "Sends the alert there as JSON."),
    rule(
        "alert[].to[].command",
        Kind::Texts,
        "",
        "Runs this program with these arguments, and the alert as JSON on its standard input.",
    ),
    rule("alert[].to[].log", Kind::Yes, "", "Writes a line to the log."),
    rule(
        "alert[].digest",
        Kind::Span(SECOND, 7 * DAY),
        "10m",
        "One alert per cause within so long, never one per failure.",
    ),
    rule(
        "destination.*.preset",
        Kind::Choice(PRESETS),
        "",
        "The rules of a kind of system that is known: what its answers mean, and where its own words of failure stand.",
    ),
    rule(
        "destination.*.success",
        Kind::Table,
        "",
        "What an answer must be to count as delivered; any other is tried again.",
    ),
    rule("destination.*.success.status", Kind::Text, "", "Statuses: `2xx`, `200,409`, `200-204`."),
    rule(
        "destination.*.success.body",
        Kind::Text,
        "",
        "A `jaq` filter over the parsed body that must be true: `.status == \"SUCCESS\"`.",
    ),
    rule("destination.*.sign", Kind::Table, "", "Signs every delivery."),
    rule(
        "destination.*.sign.scheme",
        Kind::Choice(&["standard-webhooks"]),
        "standard-webhooks",
        "How: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`.",
    ),
    rule("destination.*.sign.secret", Kind::Secret, "", "The `whsec_` secret. Required."),
    later("source", "Systems that hand messages in by signed webhooks or are polled."),
    later("route", "Which messages of a source go where."),
    later("destination.*.probe", "Asks the destination whether a message arrived."),
    later("destination.*.late_after", "Tells of messages that are late but still tried."),
    later("alert[].to[].email", "Tells by mail."),
];

/// Words of the interface that a later version takes as the value of a key.
const LATER_WORDS: &[(&str, &[&str])] =
    &[("destination.*.on_uncertain", &["probe"]), ("alert[].on", &["incident", "late", "silent"])];

/// The words that a later version takes as the value of this key.
pub(super) fn later_words(path: &str) -> &'static [&'static str] {
    LATER_WORDS.iter().find(|(key, _)| *key == path).map_or(&[], |(_, words)| words)
}

/// The rule of this path.
pub(super) fn find(path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.path == path)
}

/// The names of the keys directly in this table, those of later versions left out.
pub(super) fn names(table: &str) -> impl Iterator<Item = &'static str> {
    RULES.iter().filter(|rule| rule.kind != Kind::Later).filter_map(move |rule| {
        let name = match table {
            "" => rule.path,
            table => rule.path.strip_prefix(table)?.strip_prefix('.')?,
        };
        (!name.contains(['.', '[', '*'])).then_some(name)
    })
}

impl Rule {
    /// The environment variable that sets the key, where one does: plain keys of `[server]` and `[store]`.
    pub(super) fn variable(&self) -> Option<String> {
        let is_plain = match self.kind {
            Kind::Listen | Kind::Store | Kind::Size(..) | Kind::Span(..) | Kind::Text => true,
            Kind::Table
            | Kind::Named
            | Kind::Tables
            | Kind::Url
            | Kind::Spans(..)
            | Kind::Whole(..)
            | Kind::Share
            | Kind::Yes
            | Kind::Choice(_)
            | Kind::Choices(_)
            | Kind::Texts
            | Kind::Cycle
            | Kind::Rate
            | Kind::Hours
            | Kind::Closures
            | Kind::Secret
            | Kind::Headers
            | Kind::Later => false,
        };
        let (table, name) = self.path.split_once('.')?;
        let is_there = matches!(table, "server" | "store") && !name.contains(['[', '.']);
        (is_plain && is_there).then(|| format!("GONIEC_{}_{}", table.to_uppercase(), name.to_uppercase()))
    }
}
