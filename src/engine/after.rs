//! After: messages that wait until messages of other keys have been delivered to their destination.
//!
//! ```text
//! accepted ─▶ awaits its keys ─▶ (seek: was one of that key delivered before?) ─┬─▶ met: one key less ─▶ none left: it goes as any other
//!                                 one of that key is delivered ─────────────────┘
//! ```
//!
//! Which keys a message still awaits is a note of its own, written by the commit that accepts it, shortened by the commits after those that
//! deliver what it waits for, and dropped when nothing is left of it or a person lets it go.
//!
//! # What holds
//!
//! * A delivery after the acceptance of a message meets its key. One before it does where the newest message of that key is delivered, those aside
//!   that a newer one superseded.
//! * A message awaits its keys before anybody looks for what was delivered before, so that no delivery is overlooked between the two.
//! * What was met once stays met, through restarts, and when what met it is removed after its time.
//! * Keys are compared whole. Hashes only say who may be meant.
//!
//! # What it does not know
//!
//! Who goes first, and how commits are made.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::place_map::PlaceHash;
use super::registry::Registry;
use super::request::Request;
use crate::error::Error;
use crate::model::{Abandoned, Draft, Place, Record, State, codec};
use crate::store::{Dest, Note, Pattern, Query, Store, StoreError, Unfinished, key_hash};

/// The first byte of the keys of these notes.
const KIND: u8 = b'a';
/// The most keys that a message may wait for.
pub const AFTER_KEYS_MAX: usize = 16;
/// How many messages' keys are looked for in one go.
const SEEK_MAX: usize = 256;

/// The keys that a message awaits.
pub(super) type Keys = Vec<Arc<str>>;

/// Who awaits which key.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// By destination, hash of the key, and place: 24 bytes each, and what the tree takes.
    by_key: BTreeSet<(Dest, u64, Place)>,
    /// Whether there may be messages of which nobody can read what they await.
    is_unsure: bool,
}

impl Awaited {
    /// From now on the message awaits these keys.
    pub(super) fn awaits(&mut self, dest: Dest, place: Place, keys: &[Arc<str>]) {
        self.by_key.extend(keys.iter().map(|key| (dest, key_hash(key), place)));
    }

    /// Of the keys that the message awaited, only the `rest` is left.
    pub(super) fn leaves(&mut self, dest: Dest, place: Place, before: &[Arc<str>], rest: &[Arc<str>]) {
        for key in before {
            let _was_there = self.by_key.remove(&(dest, key_hash(key), place));
        }
        // Two keys may have one hash.
        self.awaits(dest, place, rest);
    }

    /// Who may await this key, from this place on.
    pub(super) fn of(&self, dest: Dest, key: &str, from: Place) -> impl Iterator<Item = Place> {
        let hash = key_hash(key);
        let from = self.by_key.range((dest, hash, from)..);
        from.take_while(move |(of, other, _)| (*of, *other) == (dest, hash)).map(|(_, _, place)| *place)
    }

    /// A start found this message, with these keys; `None` where they cannot be read. Whether it awaits any.
    pub(super) fn found(&mut self, found: &Unfinished, keys: Option<Keys>) -> bool {
        match &keys {
            Some(keys) => self.awaits(found.dest, found.place, keys),
            None => self.is_unsure = true,
        }
        keys.is_none_or(|keys| !keys.is_empty())
    }

    /// Whether nobody awaits anything.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && !self.is_unsure
    }
}

/// A key of which a message was delivered, and from which place on those are to be told that await it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Met {
    pub(super) dest: Dest,
    pub(super) key: Arc<str>,
    pub(super) from: Place,
    /// Nobody after this place awaits it by that: what came later looks for itself.
    pub(super) to: Place,
}

/// Whether a message can wait for the keys that its sender names; each of them is then kept once.
///
/// # Errors
/// [`Error::After`]
pub(super) fn check(draft: &mut Draft, word_bytes_max: usize) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::After(what));
    if draft.after.len() > AFTER_KEYS_MAX {
        return refuse(format!("it waits for {} keys, {AFTER_KEYS_MAX} are allowed", draft.after.len()));
    }
    for key in &draft.after {
        if key.is_empty() {
            return refuse("one of the keys that it waits for is empty".into());
        }
        if key.len() > word_bytes_max {
            return refuse(format!("a key that it waits for has {} bytes, {word_bytes_max} are allowed", key.len()));
        }
        if draft.envelope.key.as_ref() == Some(key) {
            return refuse(format!("it waits for its own key {key:?}, and would wait for ever"));
        }
    }
    let mut known = BTreeSet::new();
    draft.after.retain(|key| known.insert(key.clone()));
    Ok(())
}

/// The note of a message that awaits these keys, without its place; `None` where it awaits none.
pub(super) fn note_of(keys: &[Arc<str>]) -> Option<Note> {
    // Words within their limits can always be written.
    let value = codec::encode(keys).ok().filter(|_| !keys.is_empty())?;
    Some(Note { key: vec![KIND], value })
}

/// The key of the note of the message at this place.
pub(super) fn note_key(place: Place) -> Vec<u8> {
    [&[KIND][..], &place.to_u64().to_be_bytes()].concat()
}

/// The keys that the message at this place awaits; none where it awaits nothing.
///
/// # Errors
/// They cannot be read.
pub(super) fn keys_of(place: Place, store: &dyn Store) -> Result<Keys, StoreError> {
    let Some(value) = store.note(&note_key(place))? else { return Ok(Keys::new()) };
    codec::decode(&value).map_err(|error| StoreError::Damaged(format!("what message {place} waits for: {error}")))
}

/// What a start finds of messages that await keys.
pub(super) enum Noted {
    /// All of them.
    All(HashMap<Place, Keys, PlaceHash>),
    /// Something of it cannot be read, so each message is to be asked for.
    Damaged,
}

impl Noted {
    /// Reads all notes of messages that await keys.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn read(registry: &Registry) -> Result<Noted, StoreError> {
        let mut all = HashMap::default();
        let mut is_whole = true;
        let read = registry.store.notes(&[KIND], &mut |key, value| {
            let place = key.get(1..).and_then(|place| <[u8; 8]>::try_from(place).ok()).map(u64::from_be_bytes);
            match (place.map(Place::from_u64), codec::decode(value)) {
                (Some(place), Ok(keys)) => drop(all.insert(place, keys)),
                (_, _) => is_whole = false,
            }
        });
        match read {
            Ok(()) if is_whole => Ok(Noted::All(all)),
            Ok(()) | Err(StoreError::Damaged(_)) => Ok(Noted::Damaged),
            Err(error) => Err(error),
        }
    }

    /// The keys that this message awaits, none where it does not; `None` where that cannot be read, and it must not go for that.
    pub(super) fn take(&mut self, place: Place, registry: &Registry) -> Option<Keys> {
        match self {
            Noted::All(all) => Some(all.remove(&place).unwrap_or_default()),
            Noted::Damaged => {
                keys_of(place, &*registry.store).inspect_err(|error| registry.unreadable(place, error)).ok()
            }
        }
    }
}

/// Messages that await keys of which nobody has looked yet whether they were delivered before.
#[derive(Debug, Default)]
pub(super) struct Sought(Mutex<VecDeque<(Dest, Place)>>);

impl Sought {
    /// This one, which awaits its keys already.
    pub(super) fn add(&self, dest: Dest, place: Place) {
        self.lock().push_back((dest, place));
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn take(&self, most: usize) -> Vec<(Dest, Place)> {
        let mut sought = self.lock();
        let most = most.min(sought.len());
        sought.drain(..most).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Dest, Place)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for what was delivered before somebody came to await it: what of it is to be written down. Empty once nobody waits to be looked after.
pub(super) fn seek(registry: &Registry) -> Option<Request> {
    let sought = registry.sought.take(SEEK_MAX);
    let mut keys = BTreeSet::new();
    for (dest, place) in &sought {
        match keys_of(*place, &*registry.store) {
            Ok(awaited) => keys.extend(awaited.into_iter().map(|key| (*dest, key))),
            Err(error) => registry.unreadable(*place, &error),
        }
    }
    let is_met = |(dest, key): &(Dest, Arc<str>)| match newest(*dest, key, &*registry.store) {
        Ok(newest) => newest.is_some_and(|record| record.state == State::Delivered),
        Err(error) => {
            unread(registry, key, &error);
            false
        }
    };
    let (from, to) = (Place::from_u64(0), sought.iter().map(|(_, place)| *place).max().unwrap_or(Place::from_u64(0)));
    let met: Vec<Met> = keys.into_iter().filter(is_met).map(|(dest, key)| Met { dest, key, from, to }).collect();
    (!sought.is_empty()).then_some(Request::Met(met))
}

/// What was delivered of a key cannot be read: who awaits it waits for what comes.
fn unread(registry: &Registry, key: &str, error: &StoreError) {
    match error {
        StoreError::Damaged(what) => registry.set_aside(vec![format!("what was delivered of key {key:?}: {what}")]),
        StoreError::Closed | StoreError::Full(_) => {}
        StoreError::Locked { .. } | StoreError::Foreign(_) | StoreError::Io(_) | StoreError::Poisoned(_) => {
            registry.poison(&format!("what was delivered of key {key:?} cannot be read: {error}"));
        }
    }
}

/// The newest message of a key, those aside that a newer one superseded.
///
/// # Errors
/// What hinders the read.
pub(super) fn newest(dest: Dest, key: &str, store: &dyn Store) -> Result<Option<Record>, StoreError> {
    let key = Some(Pattern::Exactly(key.to_owned()));
    let mut query = Query { destinations: vec![dest], key, limit: 1, ..Query::default() };
    loop {
        let page = store.list(&query)?;
        if let Some(what) = page.damaged.into_iter().next() {
            return Err(StoreError::Damaged(what));
        }
        let newest = page.records.into_iter().next();
        match newest {
            Some(Record { state: State::Abandoned(Abandoned::Superseded(_)), place, .. }) => query.before = Some(place),
            Some(_) | None => return Ok(newest),
        }
    }
}
