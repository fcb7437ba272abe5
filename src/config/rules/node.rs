//! The keys of `[server]` and `[store]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{KIB, Kind, MIB, Rule, SECOND, TIB, YEAR, rule};
use crate::engine::REQUEST_BYTES_MAX;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    rule("server", Kind::Table, "", "Where goniec listens, and who may call."),
    rule(
        "server.listen",
        Kind::Listen,
        "127.0.0.1:8420",
        "The address of the HTTP interface. One that other machines reach needs a token.",
    ),
    rule("server.url", Kind::Url, "", "Where people reach this node with a browser. Mails link to its console there."),
    rule("server.body_max", Kind::Size(KIB, REQUEST_BYTES_MAX), "1MiB", "The largest body of a message."),
    rule("server.tokens", Kind::Tables, "", "Tokens by name and role."),
    rule("server.tokens[].name", Kind::Text, "", "The name that is written down for what its bearer does."),
    rule(
        "server.tokens[].role",
        Kind::Choice(&["producer", "viewer", "operator", "admin"]),
        "",
        "`producer` hands in, `viewer` reads, `operator` does both and acts on messages and destinations, `admin` makes and revokes tokens besides.",
    ),
    rule(
        "server.tokens[].secret",
        Kind::Secret,
        "",
        "The token itself. A short one can be guessed, and `check` says so; where somebody guesses, it has to wait.",
    ),
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
];
