//! The keys of `[[alert]]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{DAY, Kind, Rule, SECOND, rule};

/// What can be told.
const KINDS: &[&str] =
    &["abandoned", "late", "silent", "paused", "breaker", "damaged", "disk", "incident", "source", "reconcile"];

/// The rules.
pub(super) const RULES: &[Rule] = &[
    rule("alert", Kind::Tables, "", "Who is told of what."),
    rule(
        "alert[].on",
        Kind::Choices(KINDS),
        "",
        "What is told, everything but incidents without it. `abandoned`: messages given up or waiting for a person, rules over answers that fail, and what is `damaged`; `late`, `silent`, `paused`, `breaker`, `disk`: that it is so, and that it is over; `source`: systems that cannot be read, ask, or forget what was not read, and files that cannot be taken; `incident`: failures of one cause that last, and that nothing is undelivered by it any more; `reconcile`: that a destination lacks what was delivered to it, or more of it, and that it has it again.",
    ),
    rule("alert[].destinations", Kind::Texts, "", "Only of these destinations; of all without it."),
    rule("alert[].to", Kind::Tables, "", "The ways to tell. Required."),
    rule("alert[].to[].email", Kind::Text, "", "Sends the alert as a mail to this address. Needs `smtp`."),
    rule("alert[].to[].from", Kind::Text, "", "From which address; without it from the one in `email`."),
    rule("alert[].to[].smtp", Kind::Table, "", "The server that takes the mail."),
    rule(
        "alert[].to[].smtp.url",
        Kind::Secret,
        "",
        "`smtp://USER:PASSWORD@HOST:587` for STARTTLS, `smtps://HOST:465` for TLS. `smtp://` to this machine is not encrypted, nor is one that ends in `?tls=none`; `?tls=required` asks for STARTTLS here, too. In user and password `%40` is `@`. Required.",
    ),
    rule("alert[].to[].smtp.tls", Kind::Table, "", "Whom to believe to be the server."),
    rule("alert[].to[].smtp.tls.ca", Kind::File, "", "Authorities in PEM. They replace those of the platform."),
    rule(
        "alert[].to[].webhook",
        Kind::Url,
        "",
        "Sends the alert there as JSON. Its `text` is a line for chat programs (Slack, Mattermost).",
    ),
    rule("alert[].to[].sign", Kind::Table, "", "Signs what the webhook gets as Standard Webhooks has it."),
    rule("alert[].to[].sign.secret", Kind::Secrets, "", "The `whsec_` secret, or several, the newest first. Required."),
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
        "alert[].quiet",
        Kind::Closures,
        "",
        "When nobody is told: what comes up then is kept, also over a restart, and told when it ends, once per cause. `goniec alert test` tells at any hour, and so does the log.",
    ),
    rule(
        "alert[].quiet_except",
        Kind::Choices(KINDS),
        "",
        "What is told all the same while it is `quiet`: `[\"damaged\"]`. Nothing without it.",
    ),
];
