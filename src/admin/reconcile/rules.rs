//! What is compared with what, and what is done about the difference.
//!
//! # What it does not know
//!
//! How anything is compared.

use std::sync::Arc;

use super::manifest::Manifest;
use crate::model::ranges::{Answer, Question};
use crate::model::timetable::Cycle;
use crate::model::{Record, WallMs};
use crate::store::Pattern;

/// How often another registry is asked where nothing is written.
const REGISTRY_CYCLE_MS: u64 = 3_600_000;

/// Another registry, which is asked where its ledger differs.
pub trait Ask: Send + Sync {
    /// Takes a question there.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    fn ask(&self, question: &Question) -> Result<Answer, String>;
}

/// Who says what a destination has.
pub enum Other {
    /// A list of it.
    Manifest(Box<Manifest>),
    /// Another registry.
    Registry(Box<dyn Ask>),
}

/// One comparison: a destination with what it says it has.
#[derive(Debug)]
pub struct Plan {
    /// Its name.
    pub name: Arc<str>,
    /// What the other side says that it has.
    pub other: Other,
    /// When they are compared.
    pub cycle: Cycle,
    /// What counts.
    pub scope: Scope,
    /// Whether what is missing or stale is sent again without a person,
    pub is_queued: bool,
    /// where it is no more than so much.
    pub ask_above: u64,
}

/// Which keys count.
#[derive(Debug)]
pub struct Scope {
    /// Of this destination.
    pub destination: Arc<str>,
    /// These keys alone.
    pub keys: Option<Pattern>,
    /// Messages of these types alone; of all where empty.
    pub types: Vec<Pattern>,
    /// Types of messages after which the key is there no more.
    pub gone_types: Vec<Pattern>,
    /// Keys whose newest message was accepted so long ago at most, in milliseconds.
    pub window_ms: u64,
    /// What was delivered less than so long ago may still be missing, in milliseconds.
    pub settle_ms: u64,
    /// Whether what only the other side has is of no interest.
    pub ignores_unexpected: bool,
}

impl Plan {
    /// The comparison with another registry, which goes by the name of its destination.
    #[must_use]
    pub fn with_registry(destination: Arc<str>, ask: Box<dyn Ask>) -> Plan {
        let scope = Scope {
            destination: destination.clone(),
            keys: None,
            types: Vec::new(),
            gone_types: Vec::new(),
            window_ms: u64::MAX,
            settle_ms: 0,
            ignores_unexpected: false,
        };
        let cycle = Cycle::Every(REGISTRY_CYCLE_MS);
        Plan { name: destination, other: Other::Registry(ask), cycle, scope, is_queued: false, ask_above: 0 }
    }
}

impl std::fmt::Debug for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Other::Manifest(manifest) => manifest.fmt(f),
            Other::Registry(_) => f.write_str("a registry"),
        }
    }
}

impl Scope {
    /// Since when messages count at `now`.
    pub(super) fn since(&self, now: WallMs) -> WallMs {
        WallMs(now.0.saturating_sub(self.window_ms))
    }

    /// Whether a message counts.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.types.is_empty() || is_any(&self.types, record) || self.is_gone(record)
    }

    /// Whether a message takes its key away.
    pub(super) fn is_gone(&self, record: &Record) -> bool {
        is_any(&self.gone_types, record)
    }

    /// Whether the other side was asked about a key.
    pub(super) fn is_asked(&self, key: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.matches(key))
    }
}

fn is_any(types: &[Pattern], record: &Record) -> bool {
    let kind = record.envelope.kind.as_deref();
    kind.is_some_and(|kind| types.iter().any(|pattern| pattern.matches(kind)))
}
