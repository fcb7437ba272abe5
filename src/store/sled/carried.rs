//! A registry as lines of JSON: what `export` writes and `import` reads.
//!
//! ```text
//! {"registry":…}                       what it is, and how far it has come
//! {"destination":…}                    the name behind a number, one a line
//! {"chunk":…}                          some messages that were accepted together
//!   {"message":…}  {"body":…} …        one of them, and every body that it ever had, the first one first
//! {"note":…}                           what else it remembers, in base64
//! {"end":…}                            how much there was, and a hash over it
//! ```
//!
//! # What holds
//!
//! * Places are told, so that ids and what notes say of places hold in the registry that is made of it.
//! * Indexes and counters are left out: they follow from the rest.
//!
//! # What it does not know
//!
//! Files, and rows.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::slot::Arrival;
use crate::model::chain::Link;
use crate::model::{Attempt, Body, Envelope, Id, NodeTag, Phases, Place, State, Told, WallMs};

/// The version of the form. A higher one is refused.
pub(super) const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Registry(Registry),
    Destination(Destination),
    Chunk(Chunk),
    Message(Box<Message>),
    Body(Bytes),
    Note(Note),
    End(End),
}

/// What it is, and how far it has come.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    pub(super) version: u32,
    pub(super) node: NodeTag,
    pub(super) commit: u64,
    /// The first chunk that is left, and the one to be made next.
    pub(super) floor: u64,
    pub(super) next_chunk: u64,
    /// The highest time that an id was given.
    pub(super) last_ms: u64,
}

/// Its version alone, whatever else a later one says.
#[derive(Deserialize)]
pub(super) struct Versioned {
    pub(super) registry: Version,
}

#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Destination {
    pub(super) number: u16,
    pub(super) name: Arc<str>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chunk {
    pub(super) number: u64,
    pub(super) made_at: WallMs,
    /// How many messages it was made of, those that were deleted among them.
    pub(super) slots: u8,
}

/// A message without its bodies.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) slot: u8,
    pub(super) id: Id,
    pub(super) envelope: Envelope,
    /// The number of its destination.
    pub(super) destination: u16,
    pub(super) state: State,
    pub(super) updated_at: WallMs,
    pub(super) attempts: u16,
    pub(super) series: u16,
    pub(super) revision: u16,
    /// The last failure's class and status, or the delivery's status.
    pub(super) last: Told,
    /// Where the message lies whose place it took.
    pub(super) supersedes: Option<Place>,
    /// A person must still be told of it.
    pub(super) untold: bool,
    /// Its state changed while the clock was behind.
    pub(super) behind: bool,
    /// The bytes of its newest body, also where that was removed.
    pub(super) body_bytes: u32,
    pub(super) arrival: Option<Arrival>,
    pub(super) tried: Vec<Tried>,
}

/// An attempt, and what is kept beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tried {
    attempt: Attempt,
    remote_id: Option<String>,
    phases: Option<Phases>,
}

/// A body: as text, or in base64, or neither where it was removed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bytes {
    pub(super) number: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Of an edit: its content type, when, who and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edit: Option<Edited>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    pub(super) content_type: Option<Arc<str>>,
    pub(super) at: WallMs,
    pub(super) who: String,
    pub(super) why: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    key: String,
    value: String,
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) messages: u64,
    pub(super) bodies: u64,
    pub(super) notes: u64,
    /// SHA-256, line after line: each over the one before it and the bytes of its line.
    pub(super) sha256: Link,
}

impl Tried {
    pub(super) fn of(mut attempt: Attempt) -> Tried {
        let (remote_id, phases) = (attempt.remote_id.take(), attempt.phases.take());
        Tried { attempt, remote_id, phases }
    }

    pub(super) fn attempt(self) -> Attempt {
        Attempt { remote_id: self.remote_id, phases: self.phases, ..self.attempt }
    }
}

impl Bytes {
    pub(super) fn of(number: u16, body: Option<&Body>, edit: Option<Edited>) -> Bytes {
        // What a person can read, and what takes no more room than it has bytes.
        let is_plain =
            |text: &&str| !text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'));
        let text = body.and_then(|body| std::str::from_utf8(body).ok()).filter(is_plain).map(str::to_owned);
        let base64 = body.filter(|_| text.is_none()).map(|body| STANDARD.encode(body));
        Bytes { number, text, base64, edit }
    }

    /// The body, and what there is to say of the edit that made it.
    pub(super) fn parts(self) -> Result<(Option<Vec<u8>>, Option<Edited>), String> {
        let body = match (self.text, self.base64) {
            (Some(_), Some(_)) => return Err("a body is text or base64, not both".into()),
            (Some(text), None) => Some(text.into_bytes()),
            (None, Some(base64)) => Some(unbase64("a body", &base64)?),
            (None, None) => None,
        };
        Ok((body, self.edit))
    }
}

impl Note {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Note {
        Note { key: STANDARD.encode(key), value: STANDARD.encode(value) }
    }

    /// The note that the store keeps.
    pub(super) fn note(&self) -> Result<crate::store::Note, String> {
        let (key, value) = (unbase64("a note's key", &self.key)?, unbase64("a note", &self.value)?);
        Ok(crate::store::Note { key, value })
    }
}

fn unbase64(what: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("{what}: {error}"))
}
