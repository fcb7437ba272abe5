//! What a start reads back: the names, everything unfinished, what nobody was told of.
//!
//! # What holds
//!
//! * The unfinished messages found are counted against the kept counters: an index row that got lost is damage, and not a message that is
//!   never delivered.
//!
//! # What it does not know
//!
//! What the engine rebuilds from it.

use std::sync::Arc;

use super::layout::{Cursor, RANGE_CHUNKS, Tree, damaged, unframe};
use super::plan::View;
use super::read;
use super::slot::{Slot, Stat};
use super::trees::Trees;
use crate::model::{Place, WallMs};
use crate::store::{Dest, StateName, StoreError, Unfinished};

/// The destinations by number.
pub(super) fn names(trees: &Trees) -> Result<Vec<(Dest, Arc<str>)>, StoreError> {
    let mut names = Vec::new();
    let mut walk = trees.under(Tree::Meta, b"d")?;
    while let Some(row) = walk.forth() {
        let (key, row) = row?;
        let row = unframe(Tree::Meta, &key, &row)?;
        let number = key.get(1..).and_then(|number| Cursor(number).u16());
        match (number, std::str::from_utf8(row.body)) {
            (Some(number), Ok(name)) => names.push((Dest(number), Arc::from(name))),
            (None, _) | (_, Err(_)) => return Err(damaged(Tree::Meta, &key, "it is no destination's name")),
        }
    }
    Ok(names)
}

/// The hashes of the keys in the range of chunks being filled.
pub(super) fn range(view: &View) -> Result<Vec<u64>, StoreError> {
    let next = view.head.next_chunk;
    // A range ends with the commit that makes the next one's first chunk.
    let low = next.saturating_sub(1) / RANGE_CHUNKS * RANGE_CHUNKS;
    let mut hashes = Vec::new();
    for chunk in low.max(view.head.floor)..next {
        if let Some(stat) = read::stat(&view.trees, &view.head, chunk)? {
            hashes.extend(stat.slots().map(|(_, slot)| slot.key_hash).filter(|hash| *hash != 0));
        }
    }
    Ok(hashes)
}

/// Every message that is not final, in order of acceptance.
pub(super) fn unfinished(view: &View, each: &mut dyn FnMut(Unfinished)) -> Result<(), StoreError> {
    let mut found = 0_u64;
    let mut chunks = 0_u64;
    // Both walks rise together; the second one jumps where the first one does.
    let mut markers = view.trees.between(Tree::Open, 0, u64::MAX)?;
    let mut after = view.head.floor.saturating_sub(1);
    let mut stats = view.trees.between(Tree::Stat, view.head.floor, view.head.next_chunk)?;
    while let Some(marker) = markers.forth() {
        let (wanted, _) = marker?;
        chunks += 1;
        let chunk = Cursor(&wanted).u64().unwrap_or(0);
        if chunk > after + 1 {
            stats = view.trees.between(Tree::Stat, chunk, view.head.next_chunk)?;
        }
        after = chunk;
        let Some(row) = stats.forth() else { return Err(damaged(Tree::Stat, &wanted, "it is missing")) };
        let (key, row) = row?;
        if key != wanted {
            return Err(damaged(Tree::Stat, &wanted, "it is missing"));
        }
        let row = unframe(Tree::Stat, &key, &row)?;
        let stat = Stat::read(row.body).ok_or_else(|| damaged(Tree::Stat, &key, "it is not what it should be"))?;
        for (number, slot) in stat.slots().filter(|(_, slot)| !slot.state.is_final()) {
            found += 1;
            each(unfinished_of(view, Place::new(chunk, number), &slot)?);
        }
    }
    let open = |name: StateName| matches!(name, StateName::Queued | StateName::Sending | StateName::Failed);
    let expected: u64 = view.counters.list().iter().filter(|count| open(count.state)).map(|count| count.messages).sum();
    if found == expected && chunks == view.head.open_chunks {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "{expected} messages in {} chunks wait to be delivered, and {found} in {chunks} were found",
        view.head.open_chunks
    )))
}

fn unfinished_of(view: &View, place: Place, slot: &Slot) -> Result<Unfinished, StoreError> {
    let deadline = match slot.flags.deadline {
        true => read::fixed(&view.trees, place)?.and_then(|fixed| fixed.envelope.deadline),
        false => None,
    };
    Ok(Unfinished {
        place,
        dest: slot.dest,
        state: slot.state,
        attempts: slot.attempts,
        series: slot.series,
        revision: slot.revision,
        key_hash: slot.key_hash,
        updated_at: slot.updated_at,
        deadline,
    })
}

/// The idempotency hashes of what was accepted at or after `since`, in order of acceptance.
pub(super) fn idempotent(view: &View, since: WallMs, each: &mut dyn FnMut(u64, Place)) -> Result<(), StoreError> {
    // Chunks rise with time: walk back to the first one that is old enough, then forth.
    let mut low = view.head.next_chunk;
    let mut back = view.trees.between(Tree::Stat, view.head.floor, view.head.next_chunk)?;
    let mut hits: Vec<(u64, Place)> = Vec::new();
    while let Some(row) = back.back() {
        let (key, row) = row?;
        let row = unframe(Tree::Stat, &key, &row)?;
        let chunk = Cursor(&key).u64().unwrap_or(0);
        low = low.saturating_sub(1);
        if chunk != low {
            return Err(damaged(Tree::Stat, &low.to_be_bytes(), "it is missing"));
        }
        let stat = Stat::read(row.body).ok_or_else(|| damaged(Tree::Stat, &key, "it is not what it should be"))?;
        if stat.made_at() < since {
            break;
        }
        let of_chunk = stat.slots().rev().filter(|(_, slot)| slot.idempotency_hash != 0);
        hits.extend(of_chunk.map(|(number, slot)| (slot.idempotency_hash, Place::new(chunk, number))));
    }
    for (hash, place) in hits.into_iter().rev() {
        each(hash, place);
    }
    Ok(())
}

/// The oldest messages of which nobody was told.
pub(super) fn untold(view: &View, limit: usize) -> Result<Vec<Place>, StoreError> {
    let mut places = Vec::new();
    let mut walk = view.trees.under(Tree::Untold, b"")?;
    while places.len() < limit {
        let Some(row) = walk.forth() else { break };
        let (key, _) = row?;
        places.extend(Cursor(&key).u64().map(Place::from_u64));
    }
    Ok(places)
}
