//! The keys of `[account.NAME]`.
//!
//! # What it does not know
//!
//! What is built from the values.

use super::{Kind, Rule, rule};
use crate::model::rate::RATE_COUNT_MAX;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    rule(
        "account",
        Kind::Named,
        "",
        "Limits that destinations share: those of a token or a client that serves several. A 429 with `Retry-After` that one of them hears holds all of them.",
    ),
    rule(
        "account.*.rate",
        Kind::Rate,
        "",
        "How many messages in how much time, to all its destinations together, each of them in turn.",
    ),
    rule(
        "account.*.burst",
        Kind::Whole(1, RATE_COUNT_MAX as u64),
        "",
        "How many may go at once after a pause; what fits into 50 ms without it. Never more than the rate lets through.",
    ),
    rule(
        "account.*.concurrency",
        Kind::Whole(1, 1_024),
        "",
        "How many messages may be out at once, to all of them together.",
    ),
];
