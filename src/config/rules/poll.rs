//! The keys of `poll` in `[source.NAME]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::destination::PRESETS;
use super::{DAY, Kind, MS, Rule, SECOND, YEAR, rule};

/// The rules.
pub(super) const RULES: &[Rule] = &[
    rule(
        "source.*.poll",
        Kind::Table,
        "",
        "How the system is asked for what is new, in each cycle. In place of `verify`: it hands in nothing by itself.",
    ),
    rule(
        "source.*.poll.url",
        Kind::Url,
        "",
        "Where it is asked. `{cursor}` in its path or query is where the last page said that the next begins, percent-encoded; nothing at first. Required.",
    ),
    rule("source.*.poll.method", Kind::Choice(&["GET", "POST"]), "GET", "How it is asked. `POST` needs a `body`."),
    rule(
        "source.*.poll.body",
        Kind::Text,
        "",
        "What is posted there: JSON, or the fields of a form as `name=value&name=value`, in which `{cursor}` stands. In JSON it is a number, and in quotes, as `\"{cursor}\"`, a text, at first `null`; in a form goniec encodes it, and JSON in a field is JSON.",
    ),
    rule(
        "source.*.poll.content_type",
        Kind::Text,
        "application/json",
        "What the body is: `application/json` or what ends in `+json`, or `application/x-www-form-urlencoded`.",
    ),
    rule(
        "source.*.poll.cycle",
        Kind::Cycle,
        "",
        "When it is asked. What fails is tried again in the next cycle. Required.",
    ),
    rule(
        "source.*.poll.items",
        Kind::Filter,
        ".[]",
        "What of a page becomes messages, one for each answer. Where it only names a place, as `.items[]`, items are kept byte for byte.",
    ),
    rule(
        "source.*.poll.cursor",
        Kind::Filter,
        "",
        "Where the next page begins, in the page: a text or a number. Where it is not there, `null` or empty, the cursor stays.",
    ),
    rule(
        "source.*.poll.begin",
        Kind::Text,
        "",
        "The cursor as long as no page has given one: `0`, or a date from which on it is read.",
    ),
    rule(
        "source.*.poll.more",
        Kind::Filter,
        "",
        "Whether there is more now, in the page. Without it there is while a page has something new, and another cursor. At most 100 pages are read in a cycle.",
    ),
    rule(
        "source.*.poll.preset",
        Kind::Choice(PRESETS),
        "",
        "The rules of a kind of system that is known, as destinations have them: which answers with 200 are errors, and where their words stand.",
    ),
    rule(
        "source.*.poll.success",
        Kind::OneOrMore,
        "",
        "What a 2xx must be to count as a page: one of these rules, of which every condition must hold. Any other is a failure.",
    ),
    rule("source.*.poll.success.status", Kind::Statuses, "", "Its status."),
    rule("source.*.poll.success.body", Kind::Filter, "", "Must be true of the page: `.errors == null`."),
    rule("source.*.poll.success.when", Kind::Filter, "", "Must be true of `{status, headers, body}`."),
    rule("source.*.poll.answers", Kind::Table, "", "What an answer that is no page says."),
    rule(
        "source.*.poll.answers.reason",
        Kind::Filter,
        "",
        "Its own words, out of `{status, headers, body}`: `.body.errors[0].message`.",
    ),
    rule(
        "source.*.poll.answers.retry_after",
        Kind::Filter,
        "",
        "The seconds for which it wants to be left alone, out of the same. The header `Retry-After` wins.",
    ),
    rule("source.*.poll.timeout", Kind::Span(10 * MS, 3_600 * SECOND), "30s", "How long one question may take."),
    rule(
        "source.*.poll.ask_above",
        Kind::Whole(0, 1_000_000_000),
        "1000",
        "A first reading that comes to more messages brings nothing until a person lets it in: `goniec cycle run NAME --yes`.",
    ),
    rule(
        "source.*.poll.remembers",
        Kind::Span(60 * SECOND, 10 * YEAR),
        "",
        "How long the system itself remembers what is new: `3d`. A person is told before it forgets something that was not read, and when it may have.",
    ),
    rule(
        "source.*.poll.gap_after",
        Kind::Span(SECOND, 10 * YEAR),
        "",
        "For how long it was not read when a person is told; two thirds of `remembers` without it.",
    ),
    rule(
        "source.*.poll.headers",
        Kind::Pairs,
        "",
        "Headers of every question: text, or a secret. Credentials must be secrets.",
    ),
    rule(
        "source.*.poll.auth",
        Kind::Table,
        "",
        "As whom goniec comes, as to a destination: one of `basic`, `bearer`, `oauth`, `session`.",
    ),
    rule("source.*.poll.auth.basic", Kind::Table, "", "By user and password."),
    rule("source.*.poll.auth.basic.user", Kind::Text, "", "The user. Required."),
    rule("source.*.poll.auth.basic.password", Kind::Secret, "", "The password. Required."),
    rule("source.*.poll.auth.bearer", Kind::Secret, "", "By a token that stays the same."),
    rule("source.*.poll.auth.oauth", Kind::Table, "", "By access tokens of OAuth 2.0, asked for when needed."),
    rule("source.*.poll.auth.oauth.url", Kind::Url, "", "The token endpoint. Required."),
    rule("source.*.poll.auth.oauth.client_id", Kind::Text, "", "The client. Required."),
    rule("source.*.poll.auth.oauth.client_secret", Kind::Secret, "", "Its secret. Required."),
    rule("source.*.poll.auth.oauth.scope", Kind::Text, "", "What the token is to be good for."),
    rule(
        "source.*.poll.auth.oauth.grant",
        Kind::Choice(&["client-credentials", "refresh-token"]),
        "client-credentials",
        "How tokens are asked for.",
    ),
    rule("source.*.poll.auth.oauth.refresh_token", Kind::Secret, "", "`refresh-token`: the first one."),
    rule("source.*.poll.auth.session", Kind::Table, "", "By the cookies of a login."),
    rule("source.*.poll.auth.session.url", Kind::Url, "", "Where goniec logs in, by `POST`. Required."),
    rule(
        "source.*.poll.auth.session.body",
        Kind::Pairs,
        "",
        "What it posts there as a JSON object: text, or a secret. Required.",
    ),
    rule("source.*.poll.auth.session.lifetime", Kind::Span(SECOND, DAY), "25m", "How long a session is used."),
    rule("source.*.poll.tls", Kind::Table, "", "Who is believed to be the system, and as whom goniec shows itself."),
    rule("source.*.poll.tls.ca", Kind::File, "", "Authorities in PEM. They replace those of the platform."),
    rule("source.*.poll.tls.cert", Kind::File, "", "The client certificate in PEM, and what leads to its authority."),
    rule("source.*.poll.tls.key", Kind::Secret, "", "Its private key in PEM, without a password."),
];
