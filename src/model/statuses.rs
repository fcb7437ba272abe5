//! What an HTTP status means by default: one table, read by the transport and printed into `docs/statuses.md`.
//!
//! # What holds
//!
//! * Every status has a meaning, and the class of a failure says the same as the outcome beside it.
//!
//! # What it does not know
//!
//! Bodies, the rules of a destination, when a message is tried again.

use super::policy::{Class, Delivery};

/// A row of the table of statuses: from, to, how the attempt ended, of what class, and what follows for the message or the destination.
type Row = (u16, u16, Delivery, Class, &'static str);

/// What every HTTP status means by default. The first row that has the status counts.
const STATUSES: [Row; 15] = [
    (200, 299, Delivery::Delivered, Class::Other, "the destination has it"),
    (300, 399, Delivery::Retry, Class::Redirect, "never followed"),
    (401, 401, Delivery::Retry, Class::Setup, "counts as broken set-up: the fifth in a row pauses the destination"),
    (403, 405, Delivery::Retry, Class::Setup, "counts as broken set-up: the fifth in a row pauses the destination"),
    (408, 408, Delivery::Retry, Class::Server, "the destination did not get it in time"),
    (
        409,
        409,
        Delivery::Rejected,
        Class::Conflict,
        "as the first answer tried once more, else it rests; delivered where `already_there` is set",
    ),
    (
        410,
        410,
        Delivery::Rejected,
        Class::Gone,
        "it rests, its destination is paused, and a person is told: nobody is there any more",
    ),
    (425, 425, Delivery::Retry, Class::Server, "too early"),
    (429, 429, Delivery::Retry, Class::RateLimited, "`Retry-After` is kept for the destination"),
    (400, 499, Delivery::Rejected, Class::Rejected, "it rests, and a person is told"),
    (503, 503, Delivery::Retry, Class::RateLimited, "`Retry-After` is kept for the destination"),
    (500, 599, Delivery::Retry, Class::Server, "the destination failed"),
    (100, 199, Delivery::Retry, Class::Protocol, "not a final answer"),
    (0, 99, Delivery::Retry, Class::Protocol, "not a status"),
    (600, u16::MAX, Delivery::Retry, Class::Protocol, "not a status"),
];

/// What an HTTP status means by default: how the attempt ended, and of what class it is.
#[must_use]
pub fn disposition(status: u16) -> (Delivery, Class) {
    let row = STATUSES.iter().find(|(from, to, ..)| (*from..=*to).contains(&status));
    row.map_or((Delivery::Retry, Class::Protocol), |(_, _, delivery, class, _)| (*delivery, *class))
}

/// The table of `docs/statuses.md`, printed from what [`disposition`] reads.
#[must_use]
pub fn status_table() -> String {
    let mut text = String::from("| status | outcome | class | what follows |\n|---|---|---|---|\n");
    for (from, to, delivery, class, note) in STATUSES.iter().filter(|(from, to, ..)| *from >= 100 && *to < 600) {
        let span = if from == to { from.to_string() } else { format!("{from} to {to}") };
        let class = if *delivery == Delivery::Delivered { "" } else { class.name() };
        text.push_str(&format!("| {span} | {} | {class} | {note} |\n", delivery.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_means_what_the_policy_says() {
        for status in 0..=u16::MAX {
            let expect = match status {
                200..=299 => Delivery::Delivered,
                401 | 403 | 404 | 405 | 408 | 425 | 429 => Delivery::Retry,
                400..=499 => Delivery::Rejected,
                _ => Delivery::Retry,
            };
            let (delivery, class) = disposition(status);
            assert_eq!(delivery, expect, "{status}");
            if delivery != Delivery::Delivered {
                assert_eq!(class.delivery(), delivery, "{status}: the class must say the same");
            }
        }
        assert_eq!(disposition(410).1, Class::Gone);
        assert_eq!(disposition(402).1, Class::Rejected);
    }

    #[test]
    fn the_page_of_statuses_is_the_table_of_the_code() {
        let page = include_str!("../../docs/statuses.md");
        assert!(page.contains(&status_table()), "docs/statuses.md is stale; its table is now:\n{}", status_table());
    }
}
