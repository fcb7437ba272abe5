//! Verify: every row of a stopped registry, read and held against the others.
//!
//! # What holds
//!
//! * Nothing is written but what opening a database writes.
//! * A registry that cannot be opened is an error; one that can be is a list of what is wrong with it, empty where all is well.
//!
//! # What it does not know
//!
//! How to mend anything: `salvage` does.

use std::path::Path;

use super::head::{Change, Counters};
use super::layout::{Cursor, Tree, unframe};
use super::open;
use super::plan::View;
use super::read;
use crate::model::Place;
use crate::store::{StateName, StoreError};

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Messages looked at.
    pub messages: u64,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

/// Reads everything in the registry `dir`, which nobody may have open.
///
/// # Errors
/// The registry cannot be opened; the error says why.
pub fn verify(dir: &Path, cache_bytes: u64) -> Result<Verified, StoreError> {
    let held = open::hold(dir, cache_bytes)?;
    let view = open::view(&held.paths, cache_bytes)?;
    let mut found = Verified::default();
    let mut change = Change::default();
    let mut open_chunks = 0;
    for chunk in view.head.floor..view.head.next_chunk {
        match read::stat(&view.trees, &view.head, chunk) {
            Ok(Some(stat)) => {
                let marked = view.trees.raw(Tree::Open, &chunk.to_be_bytes()).map(|marker| marker.is_some());
                if !matches!(marked, Ok(marked) if marked == stat.is_open()) {
                    found
                        .problems
                        .push(format!("chunk {chunk}: the index of the unfinished does not follow its status"));
                }
                open_chunks += u64::from(stat.is_open());
                for (number, slot) in stat.slots() {
                    change.add(slot.dest, StateName::of(slot.state), 1);
                    message(&view, Place::new(chunk, number), &mut found);
                }
            }
            Ok(None) => {}
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    let mut counters = Counters::default();
    counters.apply(&change);
    if found.problems.is_empty() && (counters.list() != view.counters.list() || open_chunks != view.head.open_chunks) {
        found.problems.push("the kept counters do not follow the messages".into());
    }
    for tree in [Tree::Bad, Tree::Untold] {
        index(&view, tree, &mut found);
    }
    view.trees.shut();
    Ok(found)
}

fn message(view: &View, place: Place, found: &mut Verified) {
    found.messages += 1;
    let checks = || -> Result<(), StoreError> {
        let (trees, head) = (&view.trees, &view.head);
        let Some(slot) = read::slot(trees, head, place)? else { return Ok(()) };
        let record = read::record(trees, head, place, &slot)?;
        let _bodies = read::revisions(trees, head, place)?;
        let _attempts = read::attempts(trees, head, place)?;
        if read::find(trees, head, record.id)? != Some(place) {
            return Err(StoreError::Damaged(format!("message {place} is not found by its id {}", record.id)));
        }
        for (tree, set) in [(Tree::Bad, slot.is_bad()), (Tree::Untold, slot.flags.untold)] {
            if trees.raw(tree, &super::layout::place_key(place))?.is_some() != set {
                return Err(StoreError::Damaged(format!("message {place}: index {} does not follow it", tree.name())));
            }
        }
        Ok(())
    };
    if let Err(error) = checks() {
        found.problems.push(error.to_string());
    }
}

/// Every entry of an index must be a message.
fn index(view: &View, tree: Tree, found: &mut Verified) {
    let walked = || -> Result<(), StoreError> {
        let mut walk = view.trees.under(tree, b"")?;
        while let Some(row) = walk.forth() {
            let (key, _) = row?;
            let place = Cursor(&key).u64().map(Place::from_u64);
            let there = match place {
                Some(place) => read::slot(&view.trees, &view.head, place)?.is_some(),
                None => false,
            };
            if !there {
                return Err(StoreError::Damaged(format!(
                    "{} names a message that is not there",
                    super::layout::name(tree, &key)
                )));
            }
        }
        let mut walk = view.trees.under(Tree::Alias, b"")?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let _whole = unframe(Tree::Alias, &key, &row)?;
        }
        Ok(())
    };
    if let Err(error) = walked() {
        found.problems.push(error.to_string());
    }
}
