//! Which messages are asked for, and the page that answers.
//!
//! # What holds
//!
//! * Every store holds a message against the same words: what a list, a bulk job and an incident mean by one is decided here.
//!
//! # What it does not know
//!
//! Indexes and budgets: how a store finds what matches.

use serde::{Deserialize, Serialize};

use super::Dest;
use crate::model::cause::Cause;
use crate::model::{Attempt, Class, Id, Place, Record, State, WallMs};

/// Which messages a list shows. Every part that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// States, by name; empty for all.
    pub states: Vec<StateName>,
    /// Destinations; empty for all.
    pub destinations: Vec<Dest>,
    /// The key: exactly this, or beginning with it.
    pub key: Option<Pattern>,
    /// The type: exactly this, or beginning with it.
    pub kind: Option<Pattern>,
    /// The reason of an abandonment, or the class of the last failure.
    pub reason: Option<String>,
    /// What the destination calls it, exactly.
    pub remote_id: Option<String>,
    /// Still undelivered, and its last attempt failed by this cause.
    pub cause: Option<Cause>,
    /// What stands somewhere in the newest body, byte for byte. A body counts as one message looked at more for each KiB.
    pub text: Option<String>,
    /// One of these; empty for all.
    pub ids: Vec<Id>,
    /// Accepted at or after.
    pub since: Option<WallMs>,
    /// Accepted before.
    pub until: Option<WallMs>,
    /// Older than this place: the cursor of the page before.
    pub before: Option<Place>,
    /// At most so many.
    pub limit: usize,
    /// Looks at no more than so many messages; 0 for no limit.
    pub scan_max: usize,
}

/// A word to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// The whole word.
    Exactly(String),
    /// The beginning of it (`sku-1*`).
    Prefix(String),
}

/// A state without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StateName {
    /// See [`State::Queued`].
    Queued,
    /// See [`State::Sending`].
    Sending,
    /// See [`State::Delivered`].
    Delivered,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Abandoned`].
    Abandoned,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The messages, newest first.
    pub records: Vec<Record>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Place>,
    /// Set where the budget ended the page: everything accepted after this time was looked at.
    pub scanned_until: Option<WallMs>,
    /// What in the range of this page could not be read, and so may be missing from it: one sentence for each row.
    pub damaged: Vec<String>,
}

/// The reason of what waits for a person.
pub const HELD: &str = "held";
/// Stands for every cause of a class, where there are too many to tell apart.
pub const MANY_CAUSES: &str = "many causes";

impl StateName {
    /// The name of this state.
    #[must_use]
    pub fn of(state: State) -> StateName {
        match state {
            State::Queued(_) => StateName::Queued,
            State::Sending(_) => StateName::Sending,
            State::Delivered => StateName::Delivered,
            State::Failed(_) => StateName::Failed,
            State::Abandoned(_) => StateName::Abandoned,
        }
    }
}

/// Whether the message waits, or came to rest by its failures.
fn is_undelivered(state: State) -> bool {
    match state {
        State::Queued(_) | State::Sending(_) | State::Failed(_) => true,
        State::Abandoned(reason) => reason.is_failure(),
        State::Delivered => false,
    }
}

impl Pattern {
    /// Whether the word matches.
    #[must_use]
    pub fn matches(&self, word: &str) -> bool {
        match self {
            Pattern::Exactly(whole) => word == whole,
            Pattern::Prefix(beginning) => word.starts_with(beginning.as_str()),
        }
    }
}

impl Query {
    /// Whether the last attempt failed by the cause that is asked for, if one is: what [`Query::matches`] cannot tell from the record alone.
    #[must_use]
    pub fn is_by_cause(&self, attempts: &[Attempt]) -> bool {
        let last = attempts.iter().rev().find_map(|attempt| Some(Cause::of(attempt.class?, &attempt.detail)));
        self.cause.is_none_or(|cause| {
            last == Some(cause)
                || (last.is_some_and(|last| last.class == cause.class) && cause == Cause::of(cause.class, MANY_CAUSES))
        })
    }

    /// Whether a message of this life and envelope is asked for; `before`, the limits and, after all else, `cause` and `text` are the store's to keep.
    #[must_use]
    pub fn matches(&self, record: &Record, dest: Dest) -> bool {
        let at = record.id.accepted_at();
        let word = |pattern: &Option<Pattern>, word: Option<&str>| match (pattern, word) {
            (None, _) => true,
            (Some(pattern), Some(word)) => pattern.matches(word),
            (Some(_), None) => false,
        };
        (self.states.is_empty() || self.states.contains(&StateName::of(record.state)))
            && (self.destinations.is_empty() || self.destinations.contains(&dest))
            && word(&self.key, record.envelope.key.as_deref())
            && word(&self.kind, record.envelope.kind.as_deref())
            && (self.remote_id.is_none() || self.remote_id == record.remote_id)
            && self.cause.is_none_or(|cause| record.last.class == Some(cause.class) && is_undelivered(record.state))
            && (self.ids.is_empty() || self.ids.contains(&record.id))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.reason.as_deref().is_none_or(|reason| {
                record.state.reason() == Some(reason)
                    || record.last.class.map(Class::name) == Some(reason)
                    || (reason == HELD && record.state.is_held())
            })
    }

    /// Whether the text that is asked for stands in this body.
    #[must_use]
    pub fn is_in(&self, body: &[u8]) -> bool {
        let Some(text) = self.text.as_deref().filter(|text| !text.is_empty()) else { return true };
        body.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// How many messages looked at a look into a body counts for.
    #[must_use]
    pub fn costs(body: &[u8]) -> usize {
        body.len() / 1_024
    }
}
