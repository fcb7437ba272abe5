//! Meeting: the keys that messages await, as the committer sees them met, or given up.
//!
//! # What holds
//!
//! * The delivery that meets a key is written first; who awaited it is written by a commit after it. After a crash between the two a start
//!   looks at the newest message of the key: only where a newer one has come and was not delivered does the message go on waiting, for that one.
//! * However many messages await one key, a commit lets go so many at a time.
//! * What ends a message, or sends it on a person's word, ends its waiting in the same commit.
//!
//! # What it does not know
//!
//! When the batch is written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::after::{self, Keys, Met};
use super::commit::Committer;
use super::draft::{Cause, Draft};
use super::news::{News, Who};
use super::pending::Pending;
use super::request::Request;
use crate::model::{Event, Place, State, WallMs};
use crate::store::{Dest, Incoming, Move, Moved, Note};

/// How many messages one commit lets know of keys that were met.
const MET_MAX: usize = 1_024;

/// What a batch does with the keys that a message awaits.
#[derive(Debug, Clone)]
pub(super) struct Awaiting {
    dest: Dest,
    /// What it awaits as far as that is written,
    before: Keys,
    /// what of it is met now,
    met: Keys,
    /// and whether it awaits nothing any more, whatever was met.
    is_let_go: bool,
}

/// The same by message.
pub(super) type Awaitings = BTreeMap<Place, Awaiting>;

impl Awaiting {
    fn rest(&self) -> Keys {
        match self.is_let_go {
            true => Keys::new(),
            false => self.before.iter().filter(|key| !self.met.contains(key)).cloned().collect(),
        }
    }

    fn is_changed(&self) -> bool {
        self.is_let_go || !self.met.is_empty()
    }

    /// Takes in what another batch did with the same.
    pub(super) fn take_in(&mut self, other: Awaiting) {
        self.met.extend(other.met);
        self.is_let_go |= other.is_let_go;
    }

    /// The message is not let go after all. Whether anything was met.
    pub(super) fn hold(&mut self) -> bool {
        self.is_let_go = false;
        self.is_changed()
    }

    /// What is met of it, where the message is not let go besides.
    pub(super) fn held(mut self) -> Option<Awaiting> {
        self.hold().then_some(self)
    }

    /// Whether it awaits nothing any more, whatever was met.
    pub(super) fn is_let_go(&self) -> bool {
        self.is_let_go
    }
}

/// The notes of what is left, and the keys of the notes of which nothing is.
pub(super) fn notes(awaitings: &Awaitings) -> (Vec<Note>, Vec<Vec<u8>>) {
    let (mut notes, mut dropped) = (Vec::new(), Vec::new());
    for (place, awaiting) in awaitings.iter().filter(|(_, awaiting)| awaiting.is_changed()) {
        let key = after::note_key(*place);
        match after::note_of(&awaiting.rest()) {
            Some(note) => notes.push(Note { key, ..note }),
            None => dropped.push(key),
        }
    }
    (notes, dropped)
}

/// New messages that wait for others, and wait at all, keep a note of that.
pub(super) fn note_fresh(fresh: &mut [Incoming]) {
    for one in fresh.iter_mut().filter(|one| one.newer.is_none()) {
        one.own = after::note_of(&one.draft.after);
    }
}

impl Committer {
    /// A message of this key was delivered: who awaits it awaits one key less.
    pub(super) fn enter_met(&mut self, draft: &mut Draft, met: Met) {
        let Met { dest, key, from, to } = &met;
        let room = MET_MAX.saturating_sub(draft.awaitings.len());
        let awaiting = self.awaited.of(*dest, key, *from).take_while(|place| place <= to);
        let mut places: Vec<Place> = awaiting.take(room + 1).collect();
        if let Some(from) = places.get(room).copied() {
            places.truncate(room);
            self.put_off.push(Request::Met(vec![Met { from, ..met.clone() }]));
        }
        for place in places {
            match self.awaiting(draft, *dest, place) {
                Some(awaiting) if awaiting.before.contains(key) => awaiting.met.push(key.clone()),
                // Two keys may have one hash.
                Some(_) => {}
                // Somebody dropped its note who could not read it.
                None => self.awaited.leaves(*dest, place, std::slice::from_ref(key), &[]),
            }
        }
    }

    /// What ends a message, or sends it on a person's word, ends its waiting for keys.
    pub(super) fn let_go(&mut self, draft: &mut Draft, who: Who, event: Event) {
        let ends = match event {
            Event::Release(_) | Event::Resend(_) | Event::Cancel | Event::Supersede(_) | Event::Expire => true,
            Event::Claim(_)
            | Event::Delivered
            | Event::Retry(_)
            | Event::GiveUp(_)
            | Event::Hold
            | Event::Arrived
            | Event::Amend => false,
        };
        if ends && let Some(awaiting) = self.awaiting(draft, who.dest, who.entry.place) {
            awaiting.is_let_go = true;
        }
    }

    /// What the batch does with the keys that this message awaits; `None` where it awaits none.
    fn awaiting<'a>(&self, draft: &'a mut Draft, dest: Dest, place: Place) -> Option<&'a mut Awaiting> {
        match draft.awaitings.entry(place) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if self.awaited.is_empty() => None,
            Entry::Vacant(free) => {
                let before = match after::keys_of(place, &*self.registry.store) {
                    Ok(keys) if keys.is_empty() => return None,
                    Ok(keys) => keys,
                    Err(error) => {
                        // Nothing meets what cannot be read; only a person lets it go.
                        self.registry.unreadable(place, &error);
                        Keys::new()
                    }
                };
                Some(free.insert(Awaiting { dest, before, met: Keys::new(), is_let_go: false }))
            }
        }
    }

    /// While a batch waited for room, others may have written what messages await.
    pub(super) fn await_anew(&self, draft: &mut Draft) {
        draft.awaitings.retain(|place, awaiting| match after::keys_of(*place, &*self.registry.store) {
            Ok(keys) => {
                awaiting.before = keys;
                !awaiting.before.is_empty()
            }
            Err(error) => {
                self.registry.unreadable(*place, &error);
                awaiting.is_let_go
            }
        });
    }

    /// Whether the message awaits keys, as it is written now; one of which that cannot be read does.
    fn is_awaiting(&self, place: Place) -> bool {
        let keys = || after::keys_of(place, &*self.registry.store);
        !self.awaited.is_empty() && keys().map_or(true, |keys| !keys.is_empty())
    }

    /// What was done with the keys that messages await is written.
    pub(super) fn met(&mut self, pending: &mut Pending, awaitings: Awaitings) {
        for (place, awaiting) in awaitings {
            let rest = awaiting.rest();
            self.awaited.leaves(awaiting.dest, place, &awaiting.before, &rest);
            if rest.is_empty() && awaiting.is_changed() && !awaiting.is_let_go {
                pending.news.push(News::Met(awaiting.dest, place));
            }
        }
    }

    /// A new message awaits these keys, of which some may have been delivered before.
    pub(super) fn awaits(&mut self, dest: Dest, place: Place, keys: &[Arc<str>]) {
        if !keys.is_empty() {
            self.awaited.awaits(dest, place, keys);
            self.registry.sought.add(dest, place);
        }
    }

    /// Where the message was delivered, who awaits its key is to be told with the next commit.
    pub(super) fn meets(&mut self, step: &Move, moved: Moved, cause: &Cause) {
        if moved != Moved::Done || step.to != State::Delivered || self.awaited.is_empty() {
            return;
        }
        let (dest, from, to) = (cause.who().dest, Place::from_u64(0), Place::from_u64(u64::MAX));
        let key = cause.what().and_then(|(_, envelope)| envelope.key.clone());
        if let Some(key) = key.filter(|key| self.awaited.of(dest, key, from).next().is_some()) {
            self.put_off.push(Request::Met(vec![Met { dest, key, from, to }]));
        }
    }

    /// What the scheduler must hear of a message that somebody changed.
    pub(super) fn changed(&self, who: Who, state: Option<State>, deadline: Option<WallMs>) -> News {
        let awaits = state.is_some_and(|state| !state.is_final()) && self.is_awaiting(who.entry.place);
        News::Changed { who, state, deadline, awaits }
    }
}
