//! The keys of `[reconcile.NAME]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{DAY, Kind, Rule, SECOND, YEAR, rule};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    rule(
        "reconcile",
        Kind::Named,
        "",
        "What systems say that they have, by name, to be compared with what was delivered to them. [How](reconcile.md)",
    ),
    rule("reconcile.*.destination", Kind::Text, "", "The destination. Required."),
    rule("reconcile.*.manifest", Kind::Table, "", "The list of what it has, a line for each key. Required."),
    rule("reconcile.*.manifest.url", Kind::Url, "", "Where it is read, by `GET`. This or `file`."),
    rule("reconcile.*.manifest.file", Kind::Text, "", "The file that it is: finished ones are renamed into its place."),
    rule(
        "reconcile.*.manifest.cycle",
        Kind::Cycle,
        "every 1h",
        "When it is read: `every 1h`, or a cron line and a zone.",
    ),
    rule(
        "reconcile.*.manifest.format",
        Kind::Choice(&["csv", "ndjson", "json"]),
        "",
        "How it is written; its content type or the end of its name says it otherwise.",
    ),
    rule("reconcile.*.manifest.items", Kind::Filter, ".", "`json`: where the lines are, an array."),
    rule(
        "reconcile.*.manifest.key",
        Kind::Text,
        "",
        "The business key: the name of a column or field, or a filter over the line, as `\"order:\" + .id`. Required.",
    ),
    rule(
        "reconcile.*.manifest.version",
        Kind::Text,
        "",
        "The version of the key, a whole number: what is lower than what was delivered is stale.",
    ),
    rule(
        "reconcile.*.manifest.hash",
        Kind::Text,
        "",
        "SHA-256 of the body as it was handed in, in hex: another one is stale.",
    ),
    rule(
        "reconcile.*.manifest.updated_at",
        Kind::Text,
        "",
        "When it was last changed there, in RFC 3339 or seconds since 1970: what is more than `settle` older than the message that was delivered is stale.",
    ),
    rule("reconcile.*.manifest.headers", Kind::Pairs, "", "Headers of the request; secrets as elsewhere."),
    rule("reconcile.*.manifest.auth", Kind::Table, "", "As whom goniec comes: one of `basic` and `bearer`."),
    rule("reconcile.*.manifest.auth.basic", Kind::Table, "", "By user and password."),
    rule("reconcile.*.manifest.auth.basic.user", Kind::Text, "", "The user. Required."),
    rule("reconcile.*.manifest.auth.basic.password", Kind::Secret, "", "The password. Required."),
    rule("reconcile.*.manifest.auth.bearer", Kind::Secret, "", "By a token that stays the same."),
    rule("reconcile.*.manifest.tls", Kind::Table, "", "Whom goniec believes there, and as whom it comes."),
    rule("reconcile.*.manifest.tls.ca", Kind::File, "", "As in `destination.*.tls`."),
    rule("reconcile.*.manifest.tls.cert", Kind::File, "", "As in `destination.*.tls`."),
    rule("reconcile.*.manifest.tls.key", Kind::Secret, "", "As in `destination.*.tls`."),
    rule(
        "reconcile.*.keys",
        Kind::Text,
        "",
        "Keys that the list is about; with a `*` at its end all that begin so. All without it.",
    ),
    rule(
        "reconcile.*.types",
        Kind::Texts,
        "",
        "Types of messages that it is about, each with or without a `*`. All without it.",
    ),
    rule(
        "reconcile.*.gone_types",
        Kind::Texts,
        "",
        "Types of messages after which a key is there no more, as `order.deleted`: what is listed all the same is stale.",
    ),
    rule(
        "reconcile.*.since",
        Kind::Span(60 * SECOND, YEAR),
        "30d",
        "Only keys count whose newest delivered message was accepted so long ago at most: no more than the list goes back.",
    ),
    rule(
        "reconcile.*.settle",
        Kind::Span(0, DAY),
        "10m",
        "What was delivered so short a while before the list was read may still be missing in it.",
    ),
    rule(
        "reconcile.*.on_missing",
        Kind::Choice(&["tell", "queue"]),
        "tell",
        "What becomes of keys that are missing or stale. `tell`: a person is told. `queue`: their newest delivered messages are sent again, too.",
    ),
    rule(
        "reconcile.*.ask_above",
        Kind::Whole(1, 1_000_000),
        "100",
        "`queue`: a person decides where it is more than so many.",
    ),
    rule(
        "reconcile.*.on_unexpected",
        Kind::Choice(&["tell", "ignore"]),
        "tell",
        "Whether keys are counted that the list has and that no message ever was for.",
    ),
];
