//! The keys of `[destination.NAME]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{DAY, Kind, MS, Rule, SECOND, YEAR, later, rule};
use crate::model::rate::RATE_COUNT_MAX;

/// The systems whose answers are known.
const PRESETS: &[&str] =
    &["baselinker", "odoo-jsonrpc", "shopify-graphql", "soap-fault", "standard", "woocommerce-batch"];

/// The rules.
pub(super) const RULES: &[Rule] = &[
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
    later("destination.*.probe", "Asks the destination whether a message arrived."),
    later("destination.*.late_after", "Tells of messages that are late but still tried."),
];
