//! Latest wins: of the messages of one key, at a destination that wants only the last word, a newer one takes the place of the older.
//!
//! ```text
//! the older one waits      it is superseded by the commit that accepts the newer
//! the older one is out     the newer waits behind it; where that attempt fails, it is superseded then
//! both came in one request the first is superseded by the commit after
//! ```
//!
//! # What holds
//!
//! * One message of a key is out at a time, so nothing older arrives after something newer.
//! * Only what has not ended is superseded. What is superseded stays, and names its successor.
//!
//! # What it does not know
//!
//! Who is out, and how anything is written.

use std::collections::HashMap;

use crate::model::{Id, Place};
use crate::store::{Dest, Unfinished};

/// A key of a destination, by its hash.
pub(super) type Line = (Dest, u64);

/// The last messages of keys: memory for those that have not ended.
#[derive(Debug, Default)]
pub(super) struct Latest {
    newest: HashMap<Line, Place>,
    /// Who takes the place of a message that was out when its successor came, where it does not arrive.
    successors: HashMap<Place, Id>,
}

impl Latest {
    /// The newest message of this key, which may have ended.
    pub(super) fn newest(&self, line: Line) -> Option<Place> {
        self.newest.get(&line).copied()
    }

    /// A message of this key was accepted, or begins anew.
    pub(super) fn begins(&mut self, line: Line, place: Place) {
        let newest = self.newest.entry(line).or_insert(place);
        *newest = place.max(*newest);
    }

    /// A message of this key has ended.
    pub(super) fn ended(&mut self, line: Line, place: Place) {
        if self.newest.get(&line) == Some(&place) {
            self.newest.remove(&line);
        }
        self.successors.remove(&place);
    }

    /// A message that is out is to be superseded by this one, where it does not arrive.
    pub(super) fn follows(&mut self, older: Place, newer: Id) {
        self.successors.insert(older, newer);
    }

    /// Who takes the place of this message.
    pub(super) fn successor(&mut self, older: Place) -> Option<Id> {
        self.successors.remove(&older)
    }
}

/// What a start finds of keys: their unfinished messages in order.
#[derive(Debug, Default)]
pub(super) struct Found(HashMap<Line, Vec<Place>>);

impl Found {
    pub(super) fn add(&mut self, found: &Unfinished) {
        if found.key_hash != 0 {
            self.0.entry((found.dest, found.key_hash)).or_default().push(found.place);
        }
    }

    /// The messages that a newer one of their key follows, and that one.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Dest, Place, Place)> {
        self.0.iter().flat_map(|((dest, _), places)| {
            let mut places = places.clone();
            places.sort_unstable();
            let next = places.clone().into_iter().skip(1);
            places.into_iter().zip(next).map(|(older, newer)| (*dest, older, newer)).collect::<Vec<_>>()
        })
    }

    /// What is to be remembered of them.
    pub(super) fn latest(self) -> Latest {
        let mut latest = Latest::default();
        for (line, places) in self.0 {
            places.into_iter().for_each(|place| latest.begins(line, place));
        }
        latest
    }
}
