//! Every key of the configuration in one table: where it stands, what it takes, what it is otherwise, what it is for.
//!
//! Reading, refusing, defaults and `docs/configuration.md` all come from this table.
//!
//! # What it does not know
//!
//! TOML, files, and what is built from the values.

mod account;
mod alert;
mod destination;
mod node;
mod poll;
mod reconcile;
mod source;

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
    /// The same, or the text of the key of this name alone.
    TableOr(&'static str),
    /// Tables by names that the administrator gives.
    Named,
    /// A list of tables.
    Tables,
    /// A table, or a list of such tables.
    OneOrMore,
    /// Any text.
    Text,
    /// The path of a file; its text is what counts.
    File,
    /// A set of statuses.
    Statuses,
    /// A `jaq` filter.
    Filter,
    /// A `minijinja` template: a text, or `{ file = "PATH" }`.
    Template,
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
    /// The same, or a list of them.
    Secrets,
    /// Texts or secrets by the names that the other side gives.
    Pairs,
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

/// The tables, one for each part of the file, in the order in which the page tells them.
const TABLES: [&[Rule]; 8] = [
    node::RULES,
    account::RULES,
    destination::RULES,
    source::RULES,
    poll::RULES,
    source::ROUTES,
    reconcile::RULES,
    alert::RULES,
];

/// Every rule.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    TABLES.into_iter().flatten()
}

/// The rule of this path.
pub(super) fn find(path: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.path == path)
}

/// The names of the keys directly in this table.
pub(super) fn names(table: &str) -> impl Iterator<Item = &'static str> {
    all().filter_map(move |rule| {
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
            | Kind::TableOr(_)
            | Kind::Named
            | Kind::Tables
            | Kind::OneOrMore
            | Kind::File
            | Kind::Statuses
            | Kind::Filter
            | Kind::Template
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
            | Kind::Secrets
            | Kind::Pairs => false,
        };
        let (table, name) = self.path.split_once('.')?;
        let is_there = matches!(table, "server" | "store") && !name.contains(['[', '.']);
        (is_plain && is_there).then(|| format!("GONIEC_{}_{}", table.to_uppercase(), name.to_uppercase()))
    }
}
