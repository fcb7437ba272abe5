//! Retention: what is final and old enough goes, bodies before records, oldest chunks first, in bounded steps.
//!
//! A step goes on where the one before stopped. A chunk whose messages are all gone is removed whole; one that keeps some is rewritten once for all
//! that may go together, not once a message.
//!
//! # What holds
//!
//! * What is not final, and what a person must still be told of, stays.
//! * What ended while the clock was behind is dated anew, once the clock has caught up: a clock that was wrong for a minute ages nothing.
//! * A chunk that cannot be read is passed over, and so is a lost one; the floor stays below it.
//! * The floor rises over chunks that are gone, and only then do their status rows go: a lost chunk is never taken for a deleted one.
//!
//! # What it does not know
//!
//! When it is run, and how the times were decided.

use std::ops::Range;

use super::layout::{Kept, RANGE_CHUNKS, Tree, encode_edit, place_key};
use super::plan::Plan;
use super::read;
use super::slot::{Slot, Stat};
use crate::model::{Place, State, WallMs};
use crate::store::{Retained, Retention, StoreError};

/// How many chunks a step looks at for each that it may change.
const LOOKS_PER_CHANGE: usize = 16;

/// What may go from a chunk.
#[derive(Debug, Default)]
struct Due {
    whole: Vec<u8>,
    bodies: Vec<u8>,
    /// What is dated anew, and kept from now on as long as it would have been.
    redated: Vec<u8>,
}

impl Plan<'_> {
    /// One step through these chunks. Gives what it removed and where the next step begins.
    pub(super) fn retain(&mut self, rule: &Retention, chunks: Range<u64>) -> Result<(Retained, u64), StoreError> {
        let mut done = Retained::default();
        let step_max = rule.step_max.max(1);
        let shortest_ms = rule.bodies_ms.min(rule.delivered_ms).min(rule.abandoned_ms);
        let (mut changed, mut looked_at) = (0, 0);
        let mut chunk = chunks.start.max(self.head.floor);
        while chunk < chunks.end.min(self.view.head.next_chunk) {
            if changed >= step_max || looked_at >= step_max.saturating_mul(LOOKS_PER_CHANGE) {
                done.more = true;
                break;
            }
            looked_at += 1;
            let Some(stat) = read::stat(&self.view.trees, &self.view.head, chunk)? else {
                chunk += 1;
                continue;
            };
            // Where the clock was ahead once, everything since says that it was made then: the slots know better.
            let is_from_the_future = stat.made_at() > self.now;
            if !is_from_the_future && self.now.since(stat.made_at()) < shortest_ms {
                break;
            }
            let due = due(&stat, rule, self.now, self.is_clock_behind());
            changed += usize::from(!due.whole.is_empty() || !due.bodies.is_empty() || !due.redated.is_empty());
            for number in due.redated {
                self.redate(Place::new(chunk, number))?;
            }
            for number in due.whole {
                let _there = self.delete(Place::new(chunk, number))?;
                done.messages += 1;
            }
            for number in due.bodies {
                self.strip(Place::new(chunk, number))?;
                done.bodies += 1;
            }
            chunk += 1;
        }
        self.finish_chunks()?;
        let risen = self.raise_floor(step_max.saturating_mul(LOOKS_PER_CHANGE))?;
        if changed > 0 || risen {
            self.finish_head();
        }
        let next = if done.more { chunk } else { 0 };
        Ok((done, next))
    }

    /// Lets a message have ended now.
    fn redate(&mut self, place: Place) -> Result<(), StoreError> {
        let Some(mut slot) = self.slot(place)? else { return Ok(()) };
        slot.updated_at = self.now;
        slot.flags.behind = false;
        self.set(place, &slot);
        Ok(())
    }

    /// Removes the bodies of a message; the record stays.
    fn strip(&mut self, place: Place) -> Result<(), StoreError> {
        let Some(mut slot) = self.slot(place)? else { return Ok(()) };
        slot.flags.bodiless = true;
        if slot.revision > 1 {
            let mut walk = self.view.trees.under(Tree::Over, &place_key(place))?;
            while let Some(row) = walk.forth() {
                let (key, row) = row?;
                let row = self.view.trees.seal().unframe(Tree::Over, &key, &row)?;
                let edit = read::read_edit(row.body)
                    .ok_or_else(|| super::layout::damaged(Tree::Over, &key, "it is not what it should be"))?;
                let mut body = Vec::new();
                encode_edit(&super::layout::Edit { kept: Kept::Removed, ..edit.0 }, &mut body)?;
                self.put(Tree::Over, &key, &body);
            }
        }
        // Revision 0 is the envelope's.
        self.forget_parts(slot.flags.parts, place, |revision| revision > 1)?;
        self.set(place, &slot);
        if let Some(touched) = self.touched.get_mut(&place.chunk()) {
            touched.has_parts |= slot.flags.parts;
            let _new = touched.stripped.insert(place.slot());
        }
        Ok(())
    }

    /// Moves the floor over chunks of which nothing is left; whether it moved.
    fn raise_floor(&mut self, steps_max: usize) -> Result<bool, StoreError> {
        let before = self.head.floor;
        for _ in 0..steps_max {
            let chunk = self.head.floor;
            if chunk >= self.view.head.next_chunk {
                break;
            }
            let gone = match self.touched.get(&chunk) {
                Some(touched) => touched.stat.is_empty(),
                None => match read::stat(&self.view.trees, &self.view.head, chunk) {
                    Err(StoreError::Damaged(_)) => false,
                    stat => stat?.is_some_and(|stat| stat.is_empty()),
                },
            };
            if !gone {
                break;
            }
            self.writes.remove(Tree::Stat, &chunk.to_be_bytes());
            self.head.floor += 1;
            if self.head.floor.is_multiple_of(RANGE_CHUNKS) {
                self.writes.remove(Tree::Keys, &(chunk / RANGE_CHUNKS).to_be_bytes());
            }
        }
        Ok(self.head.floor > before)
    }
}

/// What may go now: delivered messages of a chunk go together, and so do abandoned ones, and bodies.
fn due(stat: &Stat, rule: &Retention, now: WallMs, is_clock_behind: bool) -> Due {
    let together = |may_go: &dyn Fn(&Slot) -> Option<bool>| -> Vec<u8> {
        let judged: Vec<(u8, bool)> =
            stat.slots().filter_map(|(number, slot)| may_go(&slot).map(|may| (number, may))).collect();
        if judged.iter().all(|(_, may)| *may) {
            judged.into_iter().map(|(number, _)| number).collect()
        } else {
            Vec::new()
        }
    };
    // While the clock is still behind, its times can be compared with each other.
    let is_undated = |slot: &Slot| slot.flags.behind && !is_clock_behind;
    let old = |slot: &Slot, ms: u64| !is_undated(slot) && now.since(slot.updated_at) >= ms;
    let redated = stat.slots().filter(|(_, slot)| slot.state.is_final() && is_undated(slot));
    let redated = redated.map(|(number, _)| number).collect();
    let mut whole = together(&|slot| (slot.state == State::Delivered).then(|| old(slot, rule.delivered_ms)));
    whole.extend(together(&|slot| {
        let abandoned = slot.state.is_final() && slot.state != State::Delivered && !slot.flags.untold;
        abandoned.then(|| old(slot, rule.abandoned_ms))
    }));
    let mut bodies = together(&|slot| {
        (slot.state.is_final() && !slot.flags.bodiless && !slot.flags.untold).then(|| old(slot, rule.bodies_ms))
    });
    bodies.retain(|number| !whole.contains(number));
    Due { whole, bodies, redated }
}
