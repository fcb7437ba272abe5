//! What goniec does not own: durable memory.
//!
//! A [`Store`] keeps every message with its life. The seam lies at the level of intent: a store knows what a
//! message, a state and an attempt are, and nothing of who delivers or why. One suite
//! (`tests/conformance`) holds every implementation to the contract below.
//!
//! # The contract
//!
//! * **A commit is one.** Everything in a [`Batch`] happens or nothing of it, whatever is killed or cut when. The exception is
//!   said in the answer: a [`Move`] whose expectation does not hold is handed back as [`Moved::Stale`] and does not sink its batch.
//! * **Written is not durable.** After [`Store::commit`] returns, readers of this process see the batch; only when [`Store::sync`] has
//!   returned for its number (or a higher one) does it survive a power cut. Nobody outside may hear of it before.
//! * **Commits are numbered** from 1 without holes, and a start recovers a prefix of them: if commit *n* is there, so is every one below.
//!   What was synced is always there; if it is not, the store refuses to open and says which commits are missing.
//! * **One writer.** `commit` and `retain` are called by one thread at a time; `sync` and every reader may run beside them.
//! * **Order of acceptance** is the order of places: drafts of one batch get rising places, later batches higher ones. Ids rise with them.
//! * **Damage is loud.** A row that fails its check is an error that names what is missing ([`StoreError::Damaged`]), never an
//!   absent message, and never a panic.
//! * **After a failed write or sync the store is poisoned**: every later commit and sync fails with [`StoreError::Poisoned`] until it is
//!   opened again. A failed sync is never tried again on the same handle.
//! * **Time is given.** A store reads no clock.

mod batch;
pub mod memory;
mod query;
pub mod sled;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::batch::{
    Amendment, Batch, Committed, Expect, Incoming, Move, Moved, NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX, Newer, Note, Older,
    PlacedNote,
};
pub use self::query::{HELD, MANY_CAUSES, Page, Pattern, Query, StateName};

use crate::model::hash::{BASIS, fnv};
use crate::model::{Attempt, Body, Id, Message, Place, Record, State, WallMs};

/// The number of a commit, from 1; 0 is the empty store.
pub type CommitNo = u64;

/// The small number that stands for a destination's name inside a store. Given once, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dest(pub u16);

/// Durable memory for messages. See the contract above.
pub trait Store: Send + Sync + 'static {
    /// The number of this destination, given now if the store has not met the name. Durable on return.
    ///
    /// # Errors
    /// Whatever hinders the write.
    fn destination(&self, name: &str) -> Result<Dest, StoreError>;

    /// Every destination the store has met, by number.
    fn destinations(&self) -> Vec<(Dest, Arc<str>)>;

    /// Writes the batch as one. Seen by readers on return, durable only after [`Store::sync`].
    ///
    /// # Errors
    /// Nothing of the batch was kept.
    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError>;

    /// Makes every commit up to `number` survive a power cut.
    ///
    /// # Errors
    /// The commits may or may not survive; the store is poisoned.
    fn sync(&self, number: CommitNo) -> Result<(), StoreError>;

    /// Reads back what a start needs: every message that is not final, in order of acceptance. Rows that cannot be trusted are passed over, so
    /// that they do not keep all others from being delivered: the answer says which, a sentence each. The `not_before` of a message lies in its
    /// envelope, which may cost a read: it is told for the destinations that `is_timed` names.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where what is missing can be built anew (`verify --repair`), or nothing can be told of it.
    fn unfinished(
        &self,
        is_timed: &dyn Fn(Dest) -> bool,
        each: &mut dyn FnMut(Unfinished),
    ) -> Result<Vec<String>, StoreError>;

    /// Reads back the idempotency keys of the messages accepted at or after `since`, final ones too, in order of acceptance: the hash of each
    /// ([`idempotency_hash`]) and where its message lies. Messages without one are passed over; and so are rows that cannot be trusted: the answer says
    /// which, a sentence each.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn idempotent(&self, since: WallMs, each: &mut dyn FnMut(u64, Place)) -> Result<Vec<String>, StoreError>;

    /// Up to `limit` messages of whose fate a person must be told and has not been ([`Move::untold`]), oldest first, those `after` this place.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn untold(&self, after: Option<Place>, limit: usize) -> Result<Vec<Place>, StoreError>;

    /// Where the message of this id lies; `None` if the registry does not have it.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn find(&self, id: Id) -> Result<Option<Place>, StoreError>;

    /// The message at this place with its newest body and its life now; `None` if there is none. `Sending` is `attempt: 0` here.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn load(&self, place: Place) -> Result<Option<Loaded>, StoreError>;

    /// The message at this place without its body.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn get(&self, place: Place) -> Result<Option<Record>, StoreError>;

    /// The attempts that are kept of this message, oldest first: those that failed or of which something is said, the last 16, and what the status
    /// tells of a delivery.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn attempts(&self, place: Place) -> Result<Vec<Attempt>, StoreError>;

    /// A revision of this message's body, by its number from 1; `None` where there is none. A body that retention removed is `None` in it.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn revision(&self, place: Place, number: u16) -> Result<Option<Revision>, StoreError>;

    /// All its revisions, the first one first: as many bodies as were ever written lie in memory then.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn revisions(&self, place: Place) -> Result<Vec<Revision>, StoreError> {
        let newest = self.get(place)?.map_or(0, |record| record.revision);
        (1..=newest).filter_map(|number| self.revision(place, number).transpose()).collect()
    }

    /// One page of the messages that match, newest first.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn list(&self, query: &Query) -> Result<Page, StoreError>;

    /// The note under this key; `None` where there is none, or an empty one.
    ///
    /// # Errors
    /// Whatever hinders the read.
    fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every note that is not empty and whose key begins with `prefix`, in order of their keys. One that is damaged hides none of the others.
    ///
    /// # Errors
    /// Whatever hinders the read; where a note is damaged, after all others were read.
    fn notes(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// How many messages there are, by destination and state. Kept, never counted.
    fn counts(&self) -> Vec<Count>;

    /// One bounded step of retention: removes what may go at `now`, oldest first. What is not final stays, and so does what a person must still be
    /// told of. What ended while the clock was behind the times that the registry has given is not old for that.
    ///
    /// # Errors
    /// Whatever hinders the write.
    fn retain(&self, rule: &Retention, now: WallMs) -> Result<Retained, StoreError>;

    /// What the store occupies and what is left on its disk.
    fn room(&self) -> Room;

    /// Ends cleanly: everything committed is durable on return. Later calls are refused.
    ///
    /// # Errors
    /// Whatever hindered the last sync.
    fn close(&self) -> Result<(), StoreError>;
}

/// What a start needs to know of a message that is not final. Small: there may be ten million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Where it lies.
    pub place: Place,
    /// Its destination.
    pub dest: Dest,
    /// Its state; `Sending` where a durable claim was out when the process ended.
    pub state: State,
    /// Its attempts in all.
    pub attempts: u16,
    /// Its attempts since it was accepted, amended or last resent.
    pub series: u16,
    /// Its revision.
    pub revision: u16,
    /// The hash of its key ([`key_hash`]); 0 where it has none.
    pub key_hash: u64,
    /// When its state last changed.
    pub updated_at: WallMs,
    /// When it was accepted: the time in its id. Where that was given elsewhere, it may be when it came here.
    pub accepted_at: WallMs,
    /// The time before which it was not to go; `None` too where its destination was not asked for.
    pub not_before: Option<WallMs>,
    /// Its deadline.
    pub deadline: Option<WallMs>,
}

/// A message with its body and its life.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The message, with the newest body.
    pub message: Message,
    /// What a step that follows must expect.
    pub expect: Expect,
    /// Its attempts since it was accepted, amended or last resent.
    pub series: u16,
}

/// One body of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u16,
    /// The bytes; `None` where retention or erasure removed them.
    pub body: Option<Body>,
    /// Their content type.
    pub content_type: Option<Arc<str>>,
    /// When it was written.
    pub at: WallMs,
    /// Who wrote it: empty for the first.
    pub who: String,
    /// Why: empty for the first.
    pub why: String,
}

/// How many messages of a destination stand in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The destination.
    pub dest: Dest,
    /// The state.
    pub state: StateName,
    /// How many.
    pub messages: u64,
}

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Delivered messages, milliseconds since they were delivered.
    pub delivered_ms: u64,
    /// Abandoned messages, milliseconds since they were abandoned.
    pub abandoned_ms: u64,
    /// Bodies of final messages; not longer than their records.
    pub bodies_ms: u64,
    /// The most chunks (or rows) that one step may touch.
    pub step_max: usize,
}

/// What a step of retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Messages removed whole.
    pub messages: u64,
    /// Messages that lost their bodies.
    pub bodies: u64,
    /// Whether the step stopped at its limit, with more to do.
    pub more: bool,
}

/// What a store occupies and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes on disk.
    pub used_bytes: u64,
    /// Bytes free on that disk; `None` where the store has none.
    pub free_bytes: Option<u64>,
    /// Below this, accepts are refused.
    pub reserve_bytes: u64,
}

/// What a store could not do.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. Nothing of the batch was kept; reads and deletes still work.
    Full(String),
    /// A row cannot be trusted, or is missing. The text names which, and what it held.
    Damaged(String),
    /// Another process has the directory open.
    Locked {
        /// The directory.
        path: PathBuf,
        /// Its process, where known.
        pid: Option<u32>,
    },
    /// The directory holds another format, or something that is not ours.
    Foreign(String),
    /// The disk failed. The store is poisoned.
    Io(std::io::Error),
    /// An earlier failure poisoned the store; the text says which.
    Poisoned(String),
    /// The store was closed.
    Closed,
}

impl StoreError {
    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::Full(_) => "Free space on the disk; goniec goes on by itself, and nothing accepted was lost.",
            StoreError::Damaged(_) => {
                "Stop goniec and run `goniec verify`; `goniec salvage DIR --into NEW` carries over what can be read."
            }
            StoreError::Locked { .. } => "Stop the other process, or give this one another directory with --data.",
            StoreError::Foreign(_) => "Give another directory with --data, or use the goniec that wrote this one.",
            StoreError::Io(_) | StoreError::Poisoned(_) => {
                "Check the disk, then start goniec again; accepted messages are kept."
            }
            StoreError::Closed => "Open the registry again.",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(what) => write!(f, "the disk is full: {what}"),
            StoreError::Damaged(what) => write!(f, "registry damaged: {what}"),
            StoreError::Locked { path, pid: Some(pid) } => {
                write!(f, "{} is in use by process {pid}", path.display())
            }
            StoreError::Locked { path, pid: None } => write!(f, "{} is in use by another process", path.display()),
            StoreError::Foreign(what) => f.write_str(what),
            StoreError::Io(source) => write!(f, "the disk failed: {source}"),
            StoreError::Poisoned(why) => write!(f, "the store stopped after a failure: {why}"),
            StoreError::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io(source) => Some(source),
            StoreError::Full(_)
            | StoreError::Damaged(_)
            | StoreError::Locked { .. }
            | StoreError::Foreign(_)
            | StoreError::Poisoned(_)
            | StoreError::Closed => None,
        }
    }
}

/// The hash by which a status remembers a key: never 0.
#[must_use]
pub fn key_hash(key: &str) -> u64 {
    fnv(BASIS, key.bytes()).max(1)
}

/// Stands in an idempotency key before what says how its request is made up: no header can carry it.
pub const KEY_PART: char = '\u{1f}';

/// How an idempotency key begins that names all that matters of its message: another message under it is the same one, with other words around it.
pub const KEY_OF_ALL: &str = "\u{1e}all/";

/// What an idempotency key is looked up by: all before its last [`KEY_PART`], so that requests that are made up otherwise meet.
#[must_use]
pub fn idempotency_name(key: &str) -> &str {
    key.rsplit_once(KEY_PART).map_or(key, |(name, _)| name)
}

/// The hash by which a status remembers an idempotency key: that of its [`idempotency_name`].
#[must_use]
pub fn idempotency_hash(key: &str) -> u64 {
    key_hash(idempotency_name(key))
}
