//! What a comparison came to, as it is kept and shown.
//!
//! # What it does not know
//!
//! How anything is compared.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Id, WallMs};

/// Of how many messages that were sent again it is remembered which: they leave room in a mark.
const SENT_MAX: usize = 200;

/// What the last comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// When the other side was read.
    pub at: WallMs,
    /// How many lines it listed.
    pub lines: u64,
    /// Keys that are there as they should be.
    pub matched: u64,
    /// Keys that were delivered, and are not there.
    pub missing: Side,
    /// Keys that are older there than what was delivered.
    pub stale: Side,
    /// Messages under whose number another lies there, or another body: sent again they would lie there twice, and a person must look.
    pub conflicting: Side,
    /// Keys that are there, and of which no message is kept here.
    pub unexpected: Side,
    /// Keys of which something newer waits here.
    pub under_way: u64,
    /// Keys that differ, and were delivered too short a while ago to count.
    pub settling: u64,
    /// Keys whose body was removed here, or numbers that were not looked at, as too many differ: they may differ or not.
    pub uncompared: u64,
    /// Messages that could not be read here, so that their keys may be among the unexpected, or differ.
    pub damaged: u64,
    /// When something was first missing or stale, where something has been ever since.
    pub behind_since: Option<WallMs>,
    /// Why the last try to compare came to nothing, and when; the rest is from the time before.
    pub failure: Option<Failed>,
    /// What was last sent again.
    pub queued: Option<Queued>,
    /// Why the rule sent nothing again, and leaves it to a person.
    pub asks: Option<String>,
    /// What was sent again since everything was there.
    pub sent: Sent,
    /// The lines of the last list that had not shrunk, or by which a person had something sent again.
    pub believed_lines: u64,
}

impl Report {
    /// Whether it has less than half of the lines that there were.
    pub(super) fn shrank(&self, before: &Report) -> bool {
        self.lines == 0 || self.lines.saturating_mul(2) < before.believed_lines
    }
}

/// How many differ in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// How many.
    pub count: u64,
    /// When the oldest was delivered; where it was never, when it was last changed there.
    pub oldest_at: Option<WallMs>,
    /// The oldest of them.
    pub samples: Vec<Sample>,
}

/// One key that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The key, or its beginning; empty where it cannot be read.
    pub key: String,
    /// Its newest message that was delivered.
    pub id: Option<Id>,
    /// When.
    pub at: Option<WallMs>,
    /// What the difference is.
    pub why: Option<String>,
}

/// A try that came to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: WallMs,
    /// Why.
    pub why: String,
}

/// What was sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// When.
    pub at: WallMs,
    /// Who asked.
    pub who: String,
    /// How many messages.
    pub messages: u64,
    /// How many could not be,
    pub refused: u64,
    /// and why the last of them.
    pub detail: Option<String>,
}

/// Which messages were sent again, or were about to be when the process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    ids: BTreeSet<Id>,
    /// Whether there are others, of which nothing is remembered.
    has_others: bool,
}

impl Sent {
    pub(super) fn add(&mut self, ids: impl Iterator<Item = Id>) {
        for id in ids {
            if self.ids.len() < SENT_MAX {
                self.ids.insert(id);
            } else {
                self.has_others |= !self.ids.contains(&id);
            }
        }
    }

    /// Whether this one may be among them.
    pub(super) fn may_have(&self, id: Id) -> bool {
        self.has_others || self.ids.contains(&id)
    }
}

/// How the two sides stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has compared them yet.
    Unknown,
    /// They could not be compared the last time.
    Unread,
    /// The other side lacks something.
    Behind,
    /// The other side has something else in the place of something.
    Conflicting,
    /// The other side has something that this one knows nothing of.
    UnknownHere,
    /// They agree as far as they were compared, and some of it could not be.
    Incomplete,
    /// They agree.
    InSync,
}

impl Standing {
    /// As the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Standing::Unknown => "unknown",
            Standing::Unread => "unread",
            Standing::Behind => "behind",
            Standing::Conflicting => "conflicting",
            Standing::UnknownHere => "unknown-here",
            Standing::Incomplete => "incomplete",
            Standing::InSync => "in-sync",
        }
    }
}

impl Report {
    /// How many are to be sent again.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        self.missing.count.saturating_add(self.stale.count)
    }

    /// How many are not there as they were delivered.
    pub(super) fn apart(&self) -> u64 {
        self.lacking().saturating_add(self.conflicting.count)
    }

    /// Whether nothing lacks, and nothing is under way that may.
    pub(super) fn is_settled(&self) -> bool {
        self.lacking() == 0 && self.under_way == 0 && self.settling == 0
    }

    /// How the two sides stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Report { failure: Some(_), .. } => Standing::Unread,
            Report { at: WallMs(0), .. } => Standing::Unknown,
            report if report.lacking() > 0 => Standing::Behind,
            report if report.conflicting.count > 0 => Standing::Conflicting,
            report if report.unexpected.count > 0 => Standing::UnknownHere,
            report if report.uncompared > 0 || report.damaged > 0 => Standing::Incomplete,
            _ => Standing::InSync,
        }
    }

    /// The same as bytes to be kept, `most` at most: samples go where there is no room.
    pub(super) fn bytes(&self, most: usize) -> Vec<u8> {
        let mut kept = self.clone();
        loop {
            // What is ours can always be written.
            let bytes = serde_json::to_vec(&kept).unwrap_or_default();
            let sides = [&mut kept.missing, &mut kept.stale, &mut kept.conflicting, &mut kept.unexpected];
            let longest = sides.into_iter().max_by_key(|side| side.samples.len());
            match longest {
                Some(side) if bytes.len() > most && !side.samples.is_empty() => drop(side.samples.pop()),
                Some(_) | None => return bytes,
            }
        }
    }
}
