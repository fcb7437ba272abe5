//! Verify: every row of a stopped registry, read and held against the others.
//!
//! # What holds
//!
//! * Nothing is written but what opening a database writes.
//! * A registry that cannot be opened is an error; one that can be is a list of what is wrong with it, empty where all is well.
//!
//! # What it does not know
//!
//! How to mend anything: `repair` and `salvage` do.

use std::path::Path;
use std::sync::Arc;

use super::head::{Change, Counters, Open};
use super::keys;
use super::layout::{Cursor, RANGE_CHUNKS, Tree, name, place_key};
use super::open;
use super::plan::View;
use super::read;
use super::start;
use crate::model::{Id, Place};
use crate::store::{Dest, StateName, StoreError};

/// What is to be said where the head's sum over the unfinished differs, and their number does not.
pub(super) const UNDONE: &str = "what was done last with messages that wait (an edit, a hold, an attempt) has been undone: \
    some statuses are older ones";

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Messages looked at.
    pub messages: u64,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

impl Verified {
    /// Takes down what a check came to.
    fn note(&mut self, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            self.problems.push(error.to_string());
        }
    }
}

/// Reads everything in the registry `dir`, which nobody may have open.
///
/// # Errors
/// The registry cannot be opened; the error says why.
pub fn verify(dir: &Path, cache_bytes: u64) -> Result<Verified, StoreError> {
    let held = open::hold_known(dir, cache_bytes)?;
    let view = open::view(&held.paths, held.identity.seal, cache_bytes)?;
    let found = check(&view);
    view.trees.shut();
    Ok(found)
}

/// Reads everything that this view shows.
pub(super) fn check(view: &View) -> Verified {
    let mut found = Verified::default();
    let names = start::names(&view.trees).unwrap_or_else(|error| {
        found.problems.push(error.to_string());
        Vec::new()
    });
    let mut change = Change::default();
    let mut open = Open::default();
    for chunk in view.head.floor..view.head.next_chunk {
        match read::stat(&view.trees, &view.head, chunk) {
            Ok(Some(stat)) => {
                let marked = view.trees.raw(Tree::Open, &chunk.to_be_bytes()).map(|marker| marker.is_some());
                if !matches!(marked, Ok(marked) if marked == stat.is_open()) {
                    found
                        .problems
                        .push(format!("chunk {chunk}: the index of the unfinished does not follow its status"));
                }
                open.add(stat.mark(chunk));
                for (number, slot) in stat.slots() {
                    change.add(slot.dest, StateName::of(slot.state), 1);
                    found.messages += 1;
                    found.note(message(view, &names, Place::new(chunk, number)));
                }
            }
            Ok(None) => {}
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    let mut counters = Counters::default();
    counters.apply(&change);
    if found.problems.is_empty() {
        if counters.list() != view.counters.list() || open.chunks != view.head.open.chunks {
            found.problems.push("the kept counters do not follow the messages".into());
        } else if open != view.head.open {
            found.problems.push(UNDONE.into());
        }
    }
    for tree in [Tree::Open, Tree::Bad, Tree::Untold] {
        found.note(index(view, tree));
    }
    found.note(aliases(view));
    found.note(start::notes(&view.trees, b"", &mut |_, _| {}));
    for range in ranges(view) {
        found.note(filter(view, range));
    }
    found
}

fn message(view: &View, names: &[(Dest, Arc<str>)], place: Place) -> Result<(), StoreError> {
    let (trees, head) = (&view.trees, &view.head);
    let Some(slot) = read::slot(trees, head, place)? else { return Ok(()) };
    let record = read::record(trees, head, place, &slot)?;
    for number in 1..=slot.revision {
        let _body = read::revision(trees, head, place, number)?;
    }
    let _attempts = read::attempts(trees, head, place)?;
    if read::find(trees, head, record.id)? != Some(place) {
        return Err(StoreError::Damaged(format!("message {place} is not found by its id {}", record.id)));
    }
    let destination = &record.envelope.destination;
    if !names.iter().any(|(dest, name)| *dest == slot.dest && **name == **destination) {
        let number = slot.dest.0;
        return Err(StoreError::Damaged(format!(
            "message {place}: destination {number} is not known as {destination:?}"
        )));
    }
    for (tree, set) in [(Tree::Bad, slot.is_bad()), (Tree::Untold, slot.flags.untold)] {
        if trees.raw(tree, &place_key(place))?.is_some() != set {
            return Err(StoreError::Damaged(format!("message {place}: index {} does not follow it", tree.name())));
        }
    }
    Ok(())
}

/// Every entry of an index must be a message, or a chunk.
fn index(view: &View, tree: Tree) -> Result<(), StoreError> {
    let mut walk = view.trees.under(tree, b"")?;
    while let Some(row) = walk.forth() {
        let (key, _) = row?;
        let there = match Cursor(&key).u64() {
            Some(chunk) if tree == Tree::Open => read::stat(&view.trees, &view.head, chunk)?.is_some(),
            Some(place) => read::slot(&view.trees, &view.head, Place::from_u64(place))?.is_some(),
            None => false,
        };
        if !there {
            let what = name(tree, &key);
            return Err(StoreError::Damaged(format!("{what} names a message that is not there")));
        }
    }
    Ok(())
}

/// Every id given elsewhere must name a message that bears it.
fn aliases(view: &View) -> Result<(), StoreError> {
    let mut walk = view.trees.under(Tree::Alias, b"")?;
    while let Some(row) = walk.forth() {
        let (key, row) = row?;
        let place = Cursor(view.trees.seal().unframe(Tree::Alias, &key, &row)?.body).u64().map(Place::from_u64);
        let id = match place {
            Some(place) => read::id_at(&view.trees, &view.head, place)?,
            None => None,
        };
        if id.map(Id::to_bytes).as_ref().map(<[u8; 16]>::as_slice) != Some(&key) {
            return Err(StoreError::Damaged(format!("{} is another message's", name(Tree::Alias, &key))));
        }
    }
    Ok(())
}

/// The ranges of chunks that are full, and so have a filter.
pub(super) fn ranges(view: &View) -> std::ops::Range<u64> {
    view.head.floor / RANGE_CHUNKS..view.head.next_chunk.saturating_sub(1) / RANGE_CHUNKS
}

/// The hashes of the keys in a range.
pub(super) fn hashes(view: &View, range: u64) -> Result<Vec<u64>, StoreError> {
    let low = range * RANGE_CHUNKS;
    let mut hashes = Vec::new();
    for chunk in low.max(view.head.floor)..low + RANGE_CHUNKS {
        if let Some(stat) = read::stat(&view.trees, &view.head, chunk)? {
            hashes.extend(stat.slots().map(|(_, slot)| slot.key_hash).filter(|hash| *hash != 0));
        }
    }
    Ok(hashes)
}

/// A filter must admit every key of its range.
pub(super) fn filter(view: &View, range: u64) -> Result<(), StoreError> {
    let hashes = hashes(view, range)?;
    let key = range.to_be_bytes();
    let admits = view.trees.row(Tree::Keys, &key, |row| {
        Some(!row.body.is_empty() && hashes.iter().all(|hash| keys::admits(row.body, *hash)))
    })?;
    match admits {
        Some(true) => Ok(()),
        Some(false) => Err(super::layout::damaged(Tree::Keys, &key, "it denies a key that is there")),
        None => Err(super::layout::damaged(Tree::Keys, &key, "it is missing")),
    }
}
