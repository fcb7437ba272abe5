//! What one commit writes, and what it did.
//!
//! # What it does not know
//!
//! How a store writes it; the contract stands above.

use std::borrow::Cow;
use std::sync::Arc;

use super::{CommitNo, Dest, StoreError};
use crate::model::{Abandoned, Attempt, Body, Draft, Id, Place, Queued, State, WallMs};

/// What one commit writes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The wall clock, for every time that this commit writes.
    pub now: WallMs,
    /// Messages to write down.
    pub accepts: Vec<Incoming>,
    /// Messages whose life goes on. Applied in this order; several may name one message.
    pub moves: Vec<Move>,
    /// Messages to remove for good: record, bodies, attempts.
    pub deletes: Vec<Place>,
    /// Messages whose end a person has now been told of.
    pub told: Vec<Place>,
    /// What else must be remembered, and stand or fall with this commit. The last word on a key counts; those of [`Batch::accepts`] come first.
    pub notes: Vec<Note>,
    /// Notes that say where messages of this very batch lie; written after [`Batch::notes`].
    pub pages: Vec<PlacedNote>,
    /// The keys of notes to remove for good, after all others. One that is taken back stays taken back whatever becomes of the registry; one that
    /// is dropped leaves no row behind, and a salvage may find it again.
    pub dropped: Vec<Vec<u8>>,
}

/// A small thing to remember under a key: that a destination is paused, how far a source was read, the newest version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// At most [`NOTE_KEY_BYTES_MAX`] bytes. The first says what kind it is.
    pub key: Vec<u8>,
    /// At most [`NOTE_BYTES_MAX`] bytes; empty takes the note back.
    pub value: Vec<u8>,
}

impl Batch {
    /// Whether a store takes its notes.
    ///
    /// # Errors
    /// A key or a value is too long.
    pub fn check_notes(&self) -> Result<(), StoreError> {
        self.accepts
            .iter()
            .filter_map(|one| one.note.as_ref())
            .chain(&self.notes)
            .chain(self.pages.iter().map(|page| &page.note))
            .try_for_each(|note| note.check(0))?;
        self.accepts.iter().filter_map(|one| one.own.as_ref()).try_for_each(|note| note.check(size_of::<u64>()))
    }

    /// The notes of the batch itself, key and value, once its messages have their places.
    pub(crate) fn noted<'a>(&'a self, accepted: &'a [(Id, Place)]) -> impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)> {
        let notes = self.notes.iter().map(|note| (&*note.key, Cow::Borrowed(&*note.value)));
        notes.chain(self.pages.iter().map(|page| (&*page.note.key, Cow::Owned(page.value(accepted)))))
    }
}

/// The longest key of a note.
pub const NOTE_KEY_BYTES_MAX: usize = 200;
/// The most bytes of a note.
pub const NOTE_BYTES_MAX: usize = 16_000;

impl Note {
    /// Whether a store takes it, with so much behind its key.
    ///
    /// # Errors
    /// The key or the value is too long.
    fn check(&self, more_bytes: usize) -> Result<(), StoreError> {
        if self.key.len() + more_bytes <= NOTE_KEY_BYTES_MAX && self.value.len() <= NOTE_BYTES_MAX {
            return Ok(());
        }
        let sizes = format!("a note of {} bytes under a key of {}", self.value.len(), self.key.len());
        Err(StoreError::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, sizes)))
    }
}

/// A note with places of messages in it that are given only by its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedNote {
    /// The note, whole but for those places.
    pub note: Note,
    /// Where in the value, and of which of [`Batch::accepts`], the eight bytes of a place stand, the high one first.
    pub places: Vec<(usize, usize)>,
}

impl PlacedNote {
    /// The value with the places of these messages.
    fn value(&self, accepted: &[(Id, Place)]) -> Vec<u8> {
        let mut value = self.note.value.clone();
        for (at, number) in &self.places {
            let place = accepted.get(*number).map(|(_, place)| place.to_u64().to_be_bytes());
            if let (Some(place), Some(bytes)) = (place, value.get_mut(*at..at.saturating_add(size_of::<u64>()))) {
                bytes.copy_from_slice(&place);
            }
        }
        value
    }
}

/// A message to write down.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What the caller handed in.
    pub draft: Draft,
    /// The number of its destination, from [`super::Store::destination`].
    pub dest: Dest,
    /// What it waits for.
    pub wait: Queued,
    /// Set where the message keeps the id it has elsewhere (import, salvage).
    pub id: Option<Id>,
    /// The message whose place it may come to take: its record names that one once it is superseded by it.
    pub older: Option<Older>,
    /// The message that took its place before it came: then it waits for nothing, and rests as superseded from the beginning.
    pub newer: Option<Newer>,
    /// Something to remember that stands or falls with it. Its id is put behind the value.
    pub note: Option<Note>,
    /// Something to remember of the message itself, that stands or falls with it. Its place is put behind the key, as eight bytes, the high one first.
    pub own: Option<Note>,
}

/// A message that a newer one may take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// One that is there.
    At(Place),
    /// One of the same batch, by its index in [`Batch::accepts`]: an earlier one.
    Accept(usize),
}

/// A message that takes the place of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// One that is there, or was.
    Known(Id),
    /// One of the same batch, by its index in [`Batch::accepts`]: an earlier one, where the older one is of that batch too.
    Accept(usize),
}

impl Incoming {
    /// A message that is ready to go.
    #[must_use]
    pub fn new(draft: Draft, dest: Dest) -> Incoming {
        Incoming { draft, dest, wait: Queued::Ready, id: None, older: None, newer: None, note: None, own: None }
    }

    /// Its state from the beginning; `accepted` are the messages of its batch before it, or all of them.
    #[must_use]
    pub fn state(&self, accepted: &[(Id, Place)]) -> State {
        let newer = self.newer.and_then(|newer| match newer {
            Newer::Known(id) => Some(id),
            Newer::Accept(number) => accepted.get(number).map(|(id, _)| *id),
        });
        newer.map_or(State::Queued(self.wait), |id| State::Abandoned(Abandoned::Superseded(id)))
    }
}

/// One step in the life of a message.
#[derive(Debug, Clone)]
pub struct Move {
    /// The message.
    pub place: Place,
    /// What it must be for this step to count.
    pub expect: Expect,
    /// What it becomes.
    pub to: State,
    /// The index in [`Batch::accepts`] of the message that takes its place. The id in `to`, which is given only by this commit, is then
    /// the store's to fill in.
    pub by: Option<usize>,
    /// How many attempts it then had in all.
    pub attempts: u16,
    /// How many of them since it was accepted, amended or last resent.
    pub series: u16,
    /// The attempt that ended with this step. Kept as a row where it failed or something is said of it, as status and duration otherwise.
    pub attempt: Option<Attempt>,
    /// A new body: the revision goes up by one.
    pub amend: Option<Amendment>,
    /// Whether a person must be told of it. Durable with the step itself.
    pub untold: bool,
}

/// What a message must be for a step to count: compare and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Its state, payload and all.
    pub state: State,
    /// Its attempts in all.
    pub attempts: u16,
    /// Its revision.
    pub revision: u16,
}

/// A new body for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// The new bytes.
    pub body: Body,
    /// Their content type; `None` keeps the one before.
    pub content_type: Option<Arc<str>>,
    /// Who changed it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What a commit did.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// The number to hand to [`super::Store::sync`].
    pub number: CommitNo,
    /// The ids of the accepted, in the order of [`Batch::accepts`], with their places.
    pub accepted: Vec<(Id, Place)>,
    /// What became of each of [`Batch::moves`], in its order.
    pub moved: Vec<Moved>,
    /// Whether each of [`Batch::deletes`] was there.
    pub deleted: Vec<bool>,
}

/// What became of a [`Move`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It counts.
    Done,
    /// The message was not what was expected; this is what it is. Nothing was written for it.
    Stale(Expect),
    /// There is no such message.
    Gone,
}
