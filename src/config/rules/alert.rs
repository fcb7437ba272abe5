//! The keys of `[[alert]]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{DAY, Kind, Rule, SECOND, later, rule};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    rule("alert", Kind::Tables, "", "Who is told of what."),
    rule(
        "alert[].on",
        Kind::Choices(&["abandoned", "late", "silent", "paused", "breaker", "damaged"]),
        "",
        "What is told, everything without it. `abandoned`: messages given up or waiting for a person, rules over answers that fail, and what is `damaged`; `late`, `silent`, `paused`, `breaker`: that it is so, and that it is over.",
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
    later("alert[].to[].email", "Tells by mail."),
];
