//! Export: a stopped registry as lines, whole or not at all.
//!
//! # What holds
//!
//! * Nothing is written but what opening a database writes.
//! * A row that cannot be trusted ends it: what is exported is everything.
//! * No more than one message and one of its bodies lie in memory.
//!
//! # What it does not know
//!
//! Where the lines go.

use std::io::Write;
use std::path::Path;

use super::carried::{Bytes, Chunk, Destination, Edited, End, Line, Message, Note, Registry, Tried, VERSION};
use super::layout::Tree;
use super::open;
use super::plan::View;
use super::slot::Slot;
use super::{read, start};
use crate::model::chain::Link;
use crate::model::seen::visible_json;
use crate::model::{NodeTag, Place};
use crate::store::StoreError;

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Messages.
    pub messages: u64,
    /// Their bodies, edits among them.
    pub bodies: u64,
    /// Notes.
    pub notes: u64,
}

/// Writes the registry in `dir`, which nobody may have open, as lines. `each` hears after each chunk how many of how many are done.
///
/// # Errors
/// The registry cannot be opened or read, or what is written to fails.
pub fn export(
    dir: &Path,
    cache_bytes: u64,
    to: &mut dyn Write,
    each: &mut dyn FnMut(u64, u64),
) -> Result<Exported, StoreError> {
    let held = open::hold_known(dir, cache_bytes)?;
    let view = open::view(&held.paths, held.identity.seal, cache_bytes)?;
    let mut export = Export { view: &view, to, link: Link::START, done: Exported::default() };
    let ended = export.all(held.identity.node, each);
    let done = export.done;
    view.trees.shut();
    ended.map(|()| done)
}

/// An export under way.
struct Export<'a> {
    view: &'a View,
    to: &'a mut dyn Write,
    link: Link,
    done: Exported,
}

impl Export<'_> {
    fn all(&mut self, node: NodeTag, each: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let head = self.view.head;
        let (commit, floor, next_chunk, last_ms) = (head.commit, head.floor, head.next_chunk, head.last_ms);
        self.line(&Line::Registry(Registry { version: VERSION, node, commit, floor, next_chunk, last_ms }))?;
        for (number, name) in start::names(&self.view.trees)? {
            self.line(&Line::Destination(Destination { number: number.0, name }))?;
        }
        for chunk in floor..next_chunk {
            self.chunk(chunk)?;
            each(chunk - floor + 1, next_chunk - floor);
        }
        let mut walk = self.view.trees.under(Tree::Note, b"")?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let row = self.view.trees.seal().unframe(Tree::Note, &key, &row)?;
            if !row.body.is_empty() {
                self.done.notes += 1;
                self.line(&Line::Note(Note::of(&key, row.body)))?;
            }
        }
        let Exported { messages, bodies, notes } = self.done;
        self.line(&Line::End(End { messages, bodies, notes, sha256: self.link }))?;
        self.to.flush().map_err(open::disk)
    }

    fn chunk(&mut self, number: u64) -> Result<(), StoreError> {
        let View { trees, head, .. } = self.view;
        let Some(stat) = read::stat(trees, head, number)? else { return Ok(()) };
        let slots = u8::try_from(stat.len()).unwrap_or(u8::MAX);
        self.line(&Line::Chunk(Chunk { number, made_at: stat.made_at(), slots }))?;
        for (slot, status) in stat.slots() {
            self.message(Place::new(number, slot), &status)?;
        }
        Ok(())
    }

    fn message(&mut self, place: Place, slot: &Slot) -> Result<(), StoreError> {
        let View { trees, head, .. } = self.view;
        let fixed = read::fixed(trees, place)?;
        let fixed = fixed.ok_or_else(|| StoreError::Damaged(format!("message {place} is not where its status is")))?;
        self.done.messages += 1;
        self.line(&Line::Message(Box::new(Message {
            slot: place.slot(),
            id: fixed.id,
            envelope: fixed.envelope,
            destination: slot.dest.0,
            state: slot.state,
            updated_at: slot.updated_at,
            attempts: slot.attempts,
            series: slot.series,
            revision: slot.revision,
            last: slot.last,
            supersedes: fixed.supersedes,
            untold: slot.flags.untold,
            behind: slot.flags.behind,
            body_bytes: slot.body_bytes,
            arrival: slot.arrival,
            tried: read::attempt_rows(trees, place, slot)?.into_iter().map(Tried::of).collect(),
        })))?;
        for number in 1..=slot.revision {
            let Some(revision) = read::revision(trees, head, place, number)? else { continue };
            let edit = (number > 1).then_some(Edited {
                content_type: revision.content_type,
                at: revision.at,
                who: revision.who,
                why: revision.why,
            });
            self.done.bodies += 1;
            self.line(&Line::Body(Bytes::of(number, revision.body.as_ref(), edit)))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<(), StoreError> {
        let json = serde_json::to_string(line).map_err(|error| open::disk(error.into()))?;
        // It may be written to a terminal.
        let mut bytes = visible_json(&json).into_bytes();
        bytes.push(b'\n');
        self.link = self.link.follow(&bytes);
        self.to.write_all(&bytes).map_err(open::disk)
    }
}
