//! What a start reads back: the names, everything unfinished, what nobody was told of.
//!
//! # What holds
//!
//! * The unfinished messages found are counted against the kept counters: an index row that got lost is damage, and not a message that is
//!   never delivered. It can be built anew, so it refuses a start.
//! * A status or an envelope that cannot be trusted cannot be built anew: it is passed over, and said.
//!
//! # What it does not know
//!
//! What the engine rebuilds from it.

use std::sync::Arc;

use super::head::Open;
use super::layout::{Cursor, Fixed, RANGE_CHUNKS, Tree, damaged};
use super::plan::View;
use super::read;
use super::slot::{Hour, Slot, Stat};
use super::trees::{Trees, Walk};
use super::verify::UNDONE;
use crate::model::{Place, WallMs};
use crate::store::{Dest, StateName, StoreError, Unfinished};

/// The destinations by number.
pub(super) fn names(trees: &Trees) -> Result<Vec<(Dest, Arc<str>)>, StoreError> {
    let mut names = Vec::new();
    let mut walk = trees.under(Tree::Meta, b"d")?;
    while let Some(row) = walk.forth() {
        let (key, row) = row?;
        let row = trees.seal().unframe(Tree::Meta, &key, &row)?;
        let number = key.get(1..).and_then(|number| Cursor(number).u16());
        match (number, std::str::from_utf8(row.body)) {
            (Some(number), Ok(name)) => names.push((Dest(number), Arc::from(name))),
            (None, _) | (_, Err(_)) => return Err(damaged(Tree::Meta, &key, "it is no destination's name")),
        }
    }
    Ok(names)
}

/// The note under this key, where there is one that is not empty.
pub(super) fn note(trees: &Trees, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(trees.row(Tree::Note, key, |row| Some(row.body.to_vec()))?.filter(|note| !note.is_empty()))
}

/// The notes whose keys begin with `prefix`, all that can be read; the first that cannot is the error.
pub(super) fn notes(trees: &Trees, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
    let mut walk = trees.under(Tree::Note, prefix)?;
    let mut damage = None;
    while let Some(row) = walk.forth() {
        let (key, row) = row?;
        match trees.seal().unframe(Tree::Note, &key, &row) {
            Ok(row) if row.body.is_empty() => {}
            Ok(row) => each(&key, row.body),
            Err(error) => drop(damage.get_or_insert(error)),
        }
    }
    damage.map_or(Ok(()), Err)
}

/// The hashes of the keys in the range of chunks being filled; `None` where a status in it cannot be read.
pub(super) fn range(view: &View) -> Result<Option<Vec<u64>>, StoreError> {
    let next = view.head.next_chunk;
    // A range ends with the commit that makes the next one's first chunk.
    let low = next.saturating_sub(1) / RANGE_CHUNKS * RANGE_CHUNKS;
    let mut hashes = Vec::new();
    for chunk in low.max(view.head.floor)..next {
        match read::stat(&view.trees, &view.head, chunk) {
            Ok(Some(stat)) => hashes.extend(stat.slots().map(|(_, slot)| slot.key_hash).filter(|hash| *hash != 0)),
            Ok(None) => {}
            Err(StoreError::Damaged(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(hashes))
}

/// The status rows of rising chunks, each read once: a walk that jumps where the chunks do.
struct Stats<'a> {
    view: &'a View,
    walk: Walk,
    /// The chunk whose row the walk gives next; `None` where that cannot be known.
    next: Option<u64>,
}

impl<'a> Stats<'a> {
    fn new(view: &'a View) -> Result<Stats<'a>, StoreError> {
        let floor = view.head.floor;
        Ok(Stats { view, walk: view.trees.between(Tree::Stat, floor, view.head.next_chunk)?, next: Some(floor) })
    }

    /// The slots of this chunk, or why they cannot be trusted. An error of the walk itself is the outer one.
    fn at(&mut self, chunk: u64) -> Result<Result<Stat, StoreError>, StoreError> {
        let wanted = chunk.to_be_bytes();
        if self.next != Some(chunk) {
            self.walk = self.view.trees.between(Tree::Stat, chunk, self.view.head.next_chunk)?;
        }
        self.next = None;
        let Some((key, row)) = self.walk.forth().transpose()?.filter(|(key, _)| **key == wanted) else {
            return Ok(Err(damaged(Tree::Stat, &wanted, "it is missing")));
        };
        self.next = Some(chunk + 1);
        Ok(stat(self.view, &key, &row))
    }
}

/// The slots in this row.
fn stat(view: &View, key: &[u8], row: &[u8]) -> Result<Stat, StoreError> {
    let row = view.trees.seal().unframe(Tree::Stat, key, row)?;
    Stat::read(row.body).ok_or_else(|| damaged(Tree::Stat, key, "it is not what it should be"))
}

/// Every message that is not final, in order of acceptance; gives what had to be passed over.
pub(super) fn unfinished(
    view: &View,
    is_timed: &dyn Fn(Dest) -> bool,
    each: &mut dyn FnMut(Unfinished),
) -> Result<Vec<String>, StoreError> {
    let mut aside = Aside::default();
    let (mut found, mut open, mut unread) = (0_u64, Open::default(), 0_u64);
    // Both walks rise together.
    let mut markers = view.trees.between(Tree::Open, 0, u64::MAX)?;
    let mut stats = Stats::new(view)?;
    while let Some(marker) = markers.forth() {
        let (wanted, _) = marker?;
        let chunk = Cursor(&wanted).u64().unwrap_or(0);
        let Some(stat) = aside.take(stats.at(chunk)?)? else {
            unread += 1;
            continue;
        };
        open.add(stat.mark(chunk));
        for (number, slot) in stat.slots().filter(|(_, slot)| !slot.state.is_final()) {
            found += 1;
            let place = Place::new(chunk, number);
            let is_timed = is_timed(slot.dest);
            let is_read = slot.flags.deadline || is_timed && slot.hour == Hour::Envelope;
            // A message whose times cannot be read cannot be sent either: whoever tries says so.
            let fixed = if is_read { aside.take(read::fixed(&view.trees, place))?.flatten() } else { None };
            let found = unfinished_of(place, &slot, stat.made_at(), fixed);
            each(Unfinished { not_before: found.not_before.filter(|_| is_timed), ..found });
        }
    }
    let waits = |name: StateName| matches!(name, StateName::Queued | StateName::Sending | StateName::Failed);
    let expected: u64 =
        view.counters.list().iter().filter(|count| waits(count.state)).map(|count| count.messages).sum();
    let unseen = expected.checked_sub(found).filter(|unseen| *unseen == 0 || unread > 0);
    let chunks = open.chunks + unread;
    match unseen {
        Some(_) if chunks == view.head.open.chunks && unread == 0 && open != view.head.open => {
            Err(StoreError::Damaged(UNDONE.into()))
        }
        Some(unseen) if chunks == view.head.open.chunks => {
            if unseen > 0 {
                aside
                    .told
                    .push(format!("{unseen} of {expected} messages that wait lie in statuses that cannot be read"));
            }
            Ok(aside.told)
        }
        Some(_) | None => Err(StoreError::Damaged(format!(
            "{expected} messages in {} chunks wait to be delivered, and {found} in {chunks} were found",
            view.head.open.chunks
        ))),
    }
}

/// What a start passes over.
#[derive(Default)]
struct Aside {
    told: Vec<String>,
}

impl Aside {
    /// Sets damage aside; every other error stays one.
    fn take<T>(&mut self, outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Damaged(what)) => {
                self.told.push(what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn unfinished_of(place: Place, slot: &Slot, made_at: WallMs, fixed: Option<Fixed>) -> Unfinished {
    let accepted_at = fixed.as_ref().map_or(made_at, |fixed| fixed.id.accepted_at());
    Unfinished {
        place,
        dest: slot.dest,
        state: slot.state,
        attempts: slot.attempts,
        series: slot.series,
        revision: slot.revision,
        key_hash: slot.key_hash,
        updated_at: slot.updated_at,
        accepted_at,
        not_before: match slot.hour {
            Hour::Envelope => fixed.as_ref().and_then(|fixed| fixed.envelope.not_before),
            Hour::Nowhere => None,
            Hour::State => slot.state.due(),
        },
        deadline: fixed.as_ref().and_then(|fixed| fixed.envelope.deadline),
    }
}

/// The idempotency hashes of what was accepted at or after `since`, in order of acceptance; gives what had to be passed over.
pub(super) fn idempotent(
    view: &View,
    since: WallMs,
    each: &mut dyn FnMut(u64, Place),
) -> Result<Vec<String>, StoreError> {
    // Chunks rise with time: walk back to the first one that is old enough, then forth.
    let mut aside = Aside::default();
    let mut expected = view.head.next_chunk;
    let mut back = view.trees.between(Tree::Stat, view.head.floor, view.head.next_chunk)?;
    let mut hits: Vec<(u64, Place)> = Vec::new();
    while let Some(row) = back.back() {
        let (key, row) = row?;
        let chunk = Cursor(&key).u64().unwrap_or(0);
        if chunk + 1 < expected {
            aside.told.push(format!("the statuses of chunks {} to {} are missing", chunk + 1, expected - 1));
        }
        expected = chunk;
        let Some(stat) = aside.take(stat(view, &key, &row))? else { continue };
        if stat.made_at() < since {
            break;
        }
        let of_chunk = stat.slots().rev().filter(|(_, slot)| slot.idempotency_hash != 0);
        hits.extend(of_chunk.map(|(number, slot)| (slot.idempotency_hash, Place::new(chunk, number))));
    }
    for (hash, place) in hits.into_iter().rev() {
        each(hash, place);
    }
    Ok(aside.told)
}

/// The oldest messages after this place of which nobody was told.
pub(super) fn untold(view: &View, after: Option<Place>, limit: usize) -> Result<Vec<Place>, StoreError> {
    let mut places = Vec::new();
    let low = after.map_or(0, |place| place.to_u64().saturating_add(1));
    let mut walk = view.trees.between(Tree::Untold, low, u64::MAX)?;
    while places.len() < limit {
        let Some(row) = walk.forth() else { break };
        let (key, _) = row?;
        places.extend(Cursor(&key).u64().map(Place::from_u64));
    }
    Ok(places)
}
