//! The plan of one commit: what its batch comes to, row by row, before anything is written.
//!
//! A plan reads and reckons; it changes nothing. The store writes it with one transaction and only then takes over what the plan says, so that a
//! commit that fails leaves no trace in memory either.
//!
//! # What it does not know
//!
//! Disks that fill or fail, and whether the commit will be durable.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::Entries;
use super::head::{Change, Counters, Head};
use super::hot::Hot;
use super::layout::{
    ATTEMPTS_MAX, Edit, Kept, ROW_BYTES_MAX, Tree, chunk_prefix, damaged, edit_row, encode_attempt, group_key,
    numbered_key, part_key, place_key,
};
use super::slot::{Arrival, Slot, Stat};
use super::trees::{Trees, Writes};
use super::write::Refused;
use super::{read, start};

use crate::model::{Abandoned, Attempt, Delivery, Id, NodeTag, Place, State, WallMs};
use crate::store::{Amendment, Batch, Committed, Move, Moved, StateName, StoreError};

/// What readers and the writer see: the open database, its head and its counters.
pub(super) struct View {
    pub(super) trees: Trees,
    pub(super) head: Head,
    pub(super) counters: Counters,
}

/// What the writer knows between two commits.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) node: NodeTag,
    pub(super) hot: Hot,
    /// The hashes of the keys in the range of chunks being filled; `None` where one of its statuses cannot be read: then the range gets no
    /// filter, and is always looked at.
    pub(super) range: Option<Vec<u64>>,
    /// The chunk at which the next step of retention begins.
    pub(super) sweep: u64,
    /// A batch that was refused on a full disk, and of which nobody knows yet whether it stands.
    pub(super) refused: Option<Refused>,
}

/// A clock that is set back by no more is not behind.
const CLOCK_BEHIND_MS_MAX: u64 = 60_000;

/// A chunk that the commit touches.
pub(super) struct Touched {
    pub(super) stat: Stat,
    /// What of the head's mark is its share, as long as it has unfinished messages.
    was_open: Option<u64>,
    dirty: bool,
    erased: BTreeSet<u8>,
    pub(super) stripped: BTreeSet<u8>,
    /// Whether something of what is erased or stripped lies in parts.
    pub(super) has_parts: bool,
}

impl Touched {
    fn new(stat: Stat, was_open: Option<u64>, dirty: bool) -> Touched {
        let (erased, stripped) = (BTreeSet::new(), BTreeSet::new());
        Touched { stat, was_open, dirty, erased, stripped, has_parts: false }
    }
}

/// The plan of one commit.
pub(super) struct Plan<'a> {
    pub(super) view: &'a View,
    pub(super) writer: &'a Writer,
    pub(super) now: WallMs,
    pub(super) head: Head,
    pub(super) writes: Writes,
    pub(super) touched: BTreeMap<u64, Touched>,
    pub(super) change: Change,
    /// Whether this commit begins a new range of chunks.
    pub(super) range_anew: bool,
    /// The hashes of keys that it adds to the range.
    pub(super) range_more: Vec<u64>,
}

/// A finished plan, to be written and then taken over.
pub(super) struct Draft {
    pub(super) head: Head,
    pub(super) change: Change,
    pub(super) writes: Writes,
    /// What is to be taken back of it, where it is refused and stands all the same.
    pub(super) refused: Refused,
    touched: BTreeMap<u64, Touched>,
    range_anew: bool,
    range_more: Vec<u64>,
}

impl Writer {
    /// Takes over what a commit that was written has changed.
    pub(super) fn adopt(&mut self, draft: Draft) {
        for (chunk, touched) in draft.touched {
            self.hot.put(chunk, touched.stat);
        }
        if draft.range_anew {
            self.range = Some(Vec::new());
        }
        if let Some(range) = &mut self.range {
            range.extend(draft.range_more);
        }
    }
}

impl<'a> Plan<'a> {
    pub(super) fn new(view: &'a View, writer: &'a Writer, now: WallMs) -> Plan<'a> {
        let head = Head { commit: view.head.commit + 1, ..view.head };
        Plan {
            view,
            writer,
            now,
            head,
            writes: Writes::default(),
            touched: BTreeMap::new(),
            change: Change::default(),
            range_anew: false,
            range_more: Vec::new(),
        }
    }

    /// Whether the clock is behind the times that the registry has given already: it is wrong now, or it was wrong then.
    pub(super) fn is_clock_behind(&self) -> bool {
        self.view.head.last_ms.saturating_sub(self.now.0) > CLOCK_BEHIND_MS_MAX
    }

    /// Ends the reckoning.
    pub(super) fn draft(self) -> Draft {
        Draft {
            head: self.head,
            change: self.change,
            writes: self.writes,
            refused: Refused { first_chunk: self.view.head.next_chunk, notes: Vec::new() },
            touched: self.touched,
            range_anew: self.range_anew,
            range_more: self.range_more,
        }
    }

    /// Reckons the whole batch.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut committed = Committed { number: self.head.commit, ..Committed::default() };
        let mut followed: Vec<(Place, usize)> = Vec::new();
        for step in &batch.moves {
            let moved = self.step(step)?;
            if let (Moved::Done, Some(newer)) = (moved, step.by) {
                followed.push((step.place, newer));
            }
            committed.moved.push(moved);
        }
        for place in &batch.deletes {
            committed.deleted.push(self.delete(*place)?);
        }
        for place in &batch.told {
            self.told(*place)?;
        }
        batch.check_notes()?;
        committed.accepted = self.accept(&batch.accepts)?;
        for (key, value) in batch.noted(&committed.accepted) {
            self.put(Tree::Note, key, &value);
        }
        for key in &batch.dropped {
            self.writes.remove(Tree::Note, key);
        }
        for (place, newer) in followed {
            if let Some((id, _)) = committed.accepted.get(newer) {
                self.follow(place, *id)?;
            }
        }
        self.finish()?;
        Ok(committed)
    }

    /// The slot as the commit has it so far.
    pub(super) fn slot(&mut self, place: Place) -> Result<Option<Slot>, StoreError> {
        Ok(self.chunk(place.chunk())?.and_then(|touched| touched.stat.get(place.slot())))
    }

    pub(super) fn chunk(&mut self, chunk: u64) -> Result<Option<&mut Touched>, StoreError> {
        if !self.touched.contains_key(&chunk) {
            let stat = match self.writer.hot.get(chunk) {
                Some(stat) => Some(stat.clone()),
                None => read::stat(&self.view.trees, &self.view.head, chunk)?,
            };
            let Some(stat) = stat else { return Ok(None) };
            let was_open = stat.mark(chunk);
            let _none = self.touched.insert(chunk, Touched::new(stat, was_open, false));
        }
        Ok(self.touched.get_mut(&chunk))
    }

    pub(super) fn set(&mut self, place: Place, slot: &Slot) {
        if let Some(touched) = self.touched.get_mut(&place.chunk()) {
            touched.stat.set(place.slot(), slot);
            touched.dirty = true;
        }
    }

    /// A chunk that this commit makes.
    pub(super) fn made(&mut self, chunk: u64, stat: Stat) {
        let _none = self.touched.insert(chunk, Touched::new(stat, None, true));
    }

    pub(super) fn put(&mut self, tree: Tree, key: &[u8], body: &[u8]) {
        let row = self.view.trees.seal().frame(tree, key, self.head.commit, body);
        self.writes.put(tree, key, row);
    }

    pub(super) fn mark(&mut self, tree: Tree, key: &[u8], set: bool) {
        if set {
            self.writes.put(tree, key, Vec::new());
        } else {
            self.writes.remove(tree, key);
        }
    }

    fn step(&mut self, step: &Move) -> Result<Moved, StoreError> {
        let Some(before) = self.slot(step.place)? else { return Ok(Moved::Gone) };
        if before.expect() != step.expect {
            return Ok(Moved::Stale(before.expect()));
        }
        let mut after = before.clone();
        after.state = step.to;
        if after.state != before.state {
            after.hour = before.hour.moved();
        }
        after.attempts = step.attempts;
        after.series = step.series;
        after.updated_at = self.now;
        after.flags.behind = self.is_clock_behind();
        if step.to != State::Delivered {
            self.keep_arrival(step.place, &before, &mut after)?;
        }
        if let Some(attempt) = &step.attempt {
            self.attempt(step.place, attempt, &mut after)?;
        }
        if let Some(amendment) = &step.amend {
            self.amend(step.place, amendment, &mut after)?;
        }
        after.flags.untold = step.untold || before.flags.untold;
        if after.flags.untold != before.flags.untold {
            self.mark(Tree::Untold, &place_key(step.place), after.flags.untold);
        }
        if after.is_bad() != before.is_bad() {
            self.mark(Tree::Bad, &place_key(step.place), after.is_bad());
        }
        self.change.add(before.dest, StateName::of(before.state), -1);
        self.change.add(after.dest, StateName::of(after.state), 1);
        self.set(step.place, &after);
        Ok(Moved::Done)
    }

    /// A delivery lies in the slot; where the message goes on, it becomes a row.
    fn keep_arrival(&mut self, place: Place, before: &Slot, after: &mut Slot) -> Result<(), StoreError> {
        let Some(arrival) = after.arrival.take() else { return Ok(()) };
        after.flags.attempts = true;
        let key = numbered_key(place, before.attempts);
        // One of which there is more to say is a row already.
        let is_row = self.writes.puts(Tree::Att, &key)
            || before.flags.attempts && self.view.trees.row(Tree::Att, &key, |_| Some(()))?.is_some();
        if is_row { Ok(()) } else { self.attempt_row(place, &read::arrived(before, arrival)) }
    }

    fn attempt(&mut self, place: Place, attempt: &Attempt, after: &mut Slot) -> Result<(), StoreError> {
        after.last.status = attempt.status;
        after.last.class = attempt.class;
        match attempt.outcome {
            // What is said of a delivery does not fit into the slot.
            Delivery::Delivered if after.state == State::Delivered && attempt.detail.is_empty() => {
                let phases = attempt.phases.filter(|phases| phases.pack().is_some());
                after.arrival = Some(Arrival {
                    started_at: attempt.started_at,
                    duration_ms: attempt.duration_ms,
                    revision: attempt.revision,
                    phases,
                });
                if attempt.remote_id.is_none() && phases == attempt.phases {
                    return Ok(());
                }
                after.flags.attempts = true;
                self.attempt_row(place, attempt)
            }
            Delivery::Delivered | Delivery::Retry | Delivery::Rejected | Delivery::Uncertain => {
                after.flags.attempts = true;
                self.attempt_row(place, attempt)
            }
        }
    }

    fn attempt_row(&mut self, place: Place, attempt: &Attempt) -> Result<(), StoreError> {
        let body = encode_attempt(attempt)?;
        self.put(Tree::Att, &numbered_key(place, attempt.number), &body);
        if let Some(old) = attempt.number.checked_sub(ATTEMPTS_MAX) {
            self.writes.remove(Tree::Att, &numbered_key(place, old));
        }
        Ok(())
    }

    fn amend(&mut self, place: Place, amendment: &Amendment, after: &mut Slot) -> Result<(), StoreError> {
        let content_type = match &amendment.content_type {
            Some(given) => Some(given.clone()),
            None => self.content_type(place, after.revision)?,
        };
        after.revision = after.revision.saturating_add(1);
        after.body_bytes = u32::try_from(amendment.body.len()).unwrap_or(u32::MAX);
        // What retention took of the bodies before does not touch the new one.
        after.flags.bodiless = false;
        let edit = Edit {
            at: self.now,
            who: amendment.who.clone(),
            why: amendment.why.clone(),
            content_type,
            body_bytes: after.body_bytes,
            kept: Kept::Inline,
        };
        let (row, in_parts) = edit_row(edit, Some(&amendment.body))?;
        if in_parts {
            after.flags.parts = true;
            self.parts(place, after.revision, &amendment.body);
        }
        self.put(Tree::Over, &numbered_key(place, after.revision), &row);
        Ok(())
    }

    /// The content type that holds at this revision.
    fn content_type(&mut self, place: Place, revision: u16) -> Result<Option<std::sync::Arc<str>>, StoreError> {
        if revision > 1 {
            return Ok(read::edit(&self.view.trees, place, revision)?.and_then(|(edit, _)| edit.content_type));
        }
        Ok(read::fixed(&self.view.trees, place)?.and_then(|fixed| fixed.envelope.content_type))
    }

    /// Writes bytes as parts. Revision 0 is the envelope's.
    pub(super) fn parts(&mut self, place: Place, revision: u16, bytes: &[u8]) {
        for (number, piece) in bytes.chunks(ROW_BYTES_MAX).enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            self.put(Tree::Part, &part_key(place, revision, number), piece);
        }
    }

    fn follow(&mut self, place: Place, id: Id) -> Result<(), StoreError> {
        if let Some(mut slot) = self.slot(place)?
            && matches!(slot.state, State::Abandoned(Abandoned::Superseded(_)))
        {
            slot.state = State::Abandoned(Abandoned::Superseded(id));
            self.set(place, &slot);
        }
        Ok(())
    }

    /// Takes back the messages and notes of a batch that was refused, where it stands all the same: whoever asked for them was told no.
    pub(super) fn take_back(&mut self, refused: &Refused) -> Result<(), StoreError> {
        for chunk in refused.first_chunk..self.view.head.next_chunk {
            let numbers: Vec<u8> = match self.chunk(chunk)? {
                Some(touched) => touched.stat.slots().map(|(number, _)| number).collect(),
                None => Vec::new(),
            };
            for number in numbers {
                let _there = self.delete(Place::new(chunk, number))?;
            }
        }
        let seal = self.view.trees.seal();
        for (key, before) in &refused.notes {
            let row = before.as_ref().map(|row| seal.unframe(Tree::Note, key, row)).transpose();
            // What cannot be read is not worth putting back.
            let Ok(row) = row else { continue };
            let before = row.map_or(&[][..], |row| row.body);
            if start::note(&self.view.trees, key)?.unwrap_or_default() != before {
                self.put(Tree::Note, key, before);
            }
        }
        if self.writes.rows() > 0 || self.touched.values().any(|touched| touched.dirty) {
            self.finish()?;
        }
        Ok(())
    }

    fn told(&mut self, place: Place) -> Result<(), StoreError> {
        if let Some(mut slot) = self.slot(place)?
            && slot.flags.untold
        {
            slot.flags.untold = false;
            self.set(place, &slot);
            self.mark(Tree::Untold, &place_key(place), false);
        }
        Ok(())
    }

    /// Forgets a message for good; its bytes in the chunk go when the commit is finished.
    pub(super) fn delete(&mut self, place: Place) -> Result<bool, StoreError> {
        let Some(slot) = self.slot(place)? else { return Ok(false) };
        if slot.flags.alias
            && let Some(fixed) = read::fixed(&self.view.trees, place)?
        {
            self.writes.remove(Tree::Alias, &fixed.id.to_bytes());
        }
        let prefix = place_key(place);
        self.forget(Tree::Att, slot.flags.attempts, &prefix)?;
        self.forget(Tree::Over, slot.revision > 1, &prefix)?;
        // Who else needs its first body, the chunk knows.
        self.forget_parts(slot.flags.parts, place, |revision| revision != 1)?;
        if slot.is_bad() {
            self.mark(Tree::Bad, &place_key(place), false);
        }
        if slot.flags.untold {
            self.mark(Tree::Untold, &place_key(place), false);
        }
        self.change.add(slot.dest, StateName::of(slot.state), -1);
        if let Some(touched) = self.touched.get_mut(&place.chunk()) {
            touched.stat.erase(place.slot());
            touched.dirty = true;
            touched.has_parts |= slot.flags.parts;
            let _new = touched.erased.insert(place.slot());
        }
        Ok(true)
    }

    /// Removes the rows whose keys begin so from a tree, if there are any.
    fn forget(&mut self, tree: Tree, any: bool, prefix: &[u8]) -> Result<(), StoreError> {
        if any {
            self.writes.take_back(tree, prefix);
            let mut walk = self.view.trees.under(tree, prefix)?;
            while let Some(row) = walk.forth() {
                self.writes.remove(tree, &row?.0);
            }
        }
        Ok(())
    }

    /// Removes the parts of a message's bodies, if there are any: those of these revisions.
    pub(super) fn forget_parts(&mut self, any: bool, place: Place, of: impl Fn(u16) -> bool) -> Result<(), StoreError> {
        let newest = self.slot(place)?.map_or(0, |slot| slot.revision);
        (0..=newest)
            .filter(|revision| any && of(*revision))
            .try_for_each(|revision| self.forget(Tree::Part, true, &numbered_key(place, revision)))
    }

    /// Writes what the touched chunks and the head have become.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.finish_chunks()?;
        self.finish_head();
        Ok(())
    }

    /// Writes what the touched chunks have become.
    pub(super) fn finish_chunks(&mut self) -> Result<(), StoreError> {
        for (chunk, mut touched) in std::mem::take(&mut self.touched).into_iter().filter(|(_, touched)| touched.dirty) {
            let key = chunk.to_be_bytes();
            if touched.stat.is_empty() {
                // The empty status row stays until the floor has passed it: it tells a deleted chunk from a lost one.
                self.writes.remove(Tree::Chunk, &key);
                self.forget(Tree::Part, touched.has_parts, chunk_prefix(&place_key(Place::new(chunk, 0))))?;
                touched.stat.clear();
            } else if !touched.erased.is_empty() || !touched.stripped.is_empty() {
                self.rewrite(chunk, &touched)?;
            }
            let open = touched.stat.mark(chunk);
            if open.is_some() != touched.was_open.is_some() {
                self.mark(Tree::Open, &key, open.is_some());
            }
            self.head.open.replace(touched.was_open, open);
            self.put(Tree::Stat, &key, touched.stat.bytes());
            let _none = self.touched.insert(chunk, touched);
        }
        Ok(())
    }

    /// Writes the head and the counters.
    pub(super) fn finish_head(&mut self) {
        for group in self.change.groups() {
            let row = self.view.counters.row(&self.head, group, &self.change);
            self.put(Tree::Meta, &group_key(group), &row);
        }
    }

    /// Rewrites a chunk without the messages that were deleted and the bodies that were removed.
    fn rewrite(&mut self, chunk: u64, touched: &Touched) -> Result<(), StoreError> {
        let key = chunk.to_be_bytes();
        let rewritten = self.view.trees.row(Tree::Chunk, &key, |row| {
            let mut entries = Entries::read(row.body)?;
            let freed = entries.remove(&touched.erased, &touched.stripped)?;
            Some((entries.write(), freed))
        })?;
        let (body, freed) = rewritten.ok_or_else(|| damaged(Tree::Chunk, &key, "it is missing"))?;
        self.put(Tree::Chunk, &key, &body);
        for owner in freed {
            self.forget(Tree::Part, true, &numbered_key(Place::new(chunk, owner), 1))?;
        }
        Ok(())
    }
}
