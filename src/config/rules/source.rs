//! The keys of `[source.NAME]` and `[[route]]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{DAY, Kind, Rule, SECOND, YEAR, rule};
use crate::source::PRESET_NAMES;

/// The rules of sources.
pub(super) const RULES: &[Rule] = &[
    rule("source", Kind::Named, "", "The systems that hand messages in by themselves, by name: `POST /v1/in/NAME`."),
    rule("source.*.verify", Kind::Table, "", "How the system proves who it is. Required but for `spool` and `poll`."),
    rule(
        "source.*.verify.preset",
        Kind::Choice(&PRESET_NAMES),
        "",
        "How it signs. Those of known systems also say where type and delivery id stand, and which answer is a yes. `none` believes everybody. Required.",
    ),
    rule(
        "source.*.verify.secret",
        Kind::Secrets,
        "",
        "The secret of the signature, the password or the token; several while a new one takes the place of the old. Required but for `none`.",
    ),
    rule("source.*.verify.user", Kind::Text, "", "`basic`: the user. Required there."),
    rule("source.*.verify.header", Kind::Text, "", "`hmac`: the header with the signature. Required there."),
    rule("source.*.verify.encoding", Kind::Choice(&["hex", "base64"]), "hex", "`hmac`: how the signature is written."),
    rule("source.*.verify.prefix", Kind::Text, "", "`hmac`: what stands before the signature, as `sha256=`."),
    rule(
        "source.*.verify.timestamp",
        Kind::Text,
        "",
        "`hmac` and `inpost`: the header with the time, where the time, a dot and the body are signed, not the body alone.",
    ),
    rule(
        "source.*.verify.tolerance",
        Kind::Span(SECOND, DAY),
        "5m",
        "How far a signed time may be from the clock of this machine.",
    ),
    rule(
        "source.*.key",
        Kind::Filter,
        "",
        "The business key in the body, as `.id`. What has none goes to `unrouted`, and is told.",
    ),
    rule(
        "source.*.version",
        Kind::Filter,
        "",
        "The version of the key's value in the body, a whole number: where the latest wins, what comes late with a lower one is superseded.",
    ),
    rule(
        "source.*.type",
        Kind::TableOr("filter"),
        "",
        "The type of a message: a filter over the body, or a header. The preset's without it.",
    ),
    rule("source.*.type.filter", Kind::Filter, "", "It stands in the body, there."),
    rule("source.*.type.header", Kind::Text, "", "It stands in this header."),
    rule(
        "source.*.delivery",
        Kind::TableOr("filter"),
        "",
        "The system's id of a delivery: what comes again within a day under the same id and with the same body is taken once. The preset's without it.",
    ),
    rule("source.*.delivery.filter", Kind::Filter, "", "It stands in the body, there."),
    rule("source.*.delivery.header", Kind::Text, "", "It stands in this header."),
    rule("source.*.headers", Kind::Texts, "", "Headers that are sent along with the message."),
    rule(
        "source.*.status",
        Kind::Whole(200, 299),
        "",
        "The status that the system takes for a yes; 200 with the presets of known systems, 202 otherwise.",
    ),
    rule(
        "source.*.spool",
        Kind::TableOr("dir"),
        "",
        "A folder: each file that is moved into it becomes messages, once. Then nobody calls: there is no `verify`.",
    ),
    rule(
        "source.*.spool.dir",
        Kind::Text,
        "",
        "The folder. It must be there, and no other source may have it. Required.",
    ),
    rule("source.*.spool.look", Kind::Span(SECOND / 10, DAY), "5s", "How often it is looked into."),
    rule(
        "source.*.spool.keep",
        Kind::Span(SECOND, 100 * YEAR),
        "30d",
        "How long a file that was taken stays in `done`. What is in `failed` stays.",
    ),
    rule(
        "source.*.spool.separator",
        Kind::Choice(&[",", ";", "|", "\t"]),
        ",",
        "What stands between the fields of a `.csv`.",
    ),
];

/// The rules of routes.
pub(super) const ROUTES: &[Rule] = &[
    rule(
        "route",
        Kind::Tables,
        "",
        "Which messages of sources go where. Every route that takes a message counts; what none takes goes to `unrouted`, where it is kept, and told.",
    ),
    rule("route[].from", Kind::Text, "", "Of this source; of all without it."),
    rule(
        "route[].type",
        Kind::Text,
        "",
        "Of this type; with a `*` at its end of all that begin so; of all without it.",
    ),
    rule("route[].when", Kind::Filter, "", "Where this filter over the body says neither `false` nor `null`."),
    rule("route[].to", Kind::Texts, "", "To these destinations, one message each. Required."),
];
