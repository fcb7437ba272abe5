//! The messages of a chunk, as its row holds them, and the bodies that several of them share.
//!
//! What one source hands in for three destinations is three messages with one body. They are accepted by one commit and so lie beside each other in a
//! chunk: the body is written with the first of them, and the others say so.
//!
//! # What holds
//!
//! * A body is shared within its chunk only. So nothing is counted: who still needs it is read in one row.
//! * A body that lies in the row goes with the first message that is left, whenever the row is rewritten. One in parts stays where it is, under
//!   the place of a message that may be gone, until nobody needs it.
//! * An edit is a row of its own: what is changed for one destination is changed for none of the others.
//!
//! # What it does not know
//!
//! Who accepts, and what is removed when.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::layout::{Cursor, Kept};
use crate::model::{Body, WallMs};

/// One message in a chunk: flags 1, envelope's length 4, body's length 4, where it is shared the slot of its owner 1, then envelope and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The encoded [`Fixed`](super::layout::Fixed); empty where it lies in parts or is gone.
    pub(super) fixed: &'a [u8],
    pub(super) fixed_in_parts: bool,
    /// The body; empty where it lies in parts or was removed.
    pub(super) body: &'a [u8],
    pub(super) body_bytes: u32,
    pub(super) kept: Kept,
    /// The slot of the message with which the body lies, where that is another one. A body in the row lies with an earlier one.
    pub(super) owner: Option<u8>,
    /// The message was deleted.
    pub(super) gone: bool,
}

const FIXED_IN_PARTS: u8 = 1;
const BODY_IN_PARTS: u8 = 2;
const BODY_REMOVED: u8 = 4;
const GONE: u8 = 8;
const BODY_SHARED: u8 = 16;
/// What an entry takes beside its envelope and body.
pub(super) const ENTRY_BYTES: usize = 9;
/// What a body takes that lies with another message.
pub(super) const SHARED_BYTES: usize = 1;

impl<'a> Entry<'a> {
    pub(super) const ERASED: Entry<'static> = Entry {
        fixed: &[],
        fixed_in_parts: false,
        body: &[],
        body_bytes: 0,
        kept: Kept::Removed,
        owner: None,
        gone: true,
    };

    /// The same without its body.
    pub(super) fn stripped(&self) -> Entry<'a> {
        Entry { body: &[], kept: Kept::Removed, owner: None, ..self.clone() }
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let flags = if self.fixed_in_parts { FIXED_IN_PARTS } else { 0 }
            | match self.kept {
                Kept::Inline => 0,
                Kept::Parts => BODY_IN_PARTS,
                Kept::Removed => BODY_REMOVED,
            }
            | if self.owner.is_some() { BODY_SHARED } else { 0 }
            | if self.gone { GONE } else { 0 };
        into.push(flags);
        into.extend_from_slice(&u32::try_from(self.fixed.len()).unwrap_or(u32::MAX).to_be_bytes());
        into.extend_from_slice(&self.body_bytes.to_be_bytes());
        into.extend(self.owner);
        into.extend_from_slice(self.fixed);
        if self.owner.is_none() {
            into.extend_from_slice(self.body);
        }
    }

    /// The entry at the front. The body of another one is not looked up.
    fn read(cursor: &mut Cursor<'a>) -> Option<Entry<'a>> {
        let flags = cursor.u8()?;
        let fixed_bytes = usize::try_from(cursor.u32()?).ok()?;
        let body_bytes = cursor.u32()?;
        let owner = if flags & BODY_SHARED != 0 { Some(cursor.u8()?) } else { None };
        let fixed = cursor.take(fixed_bytes)?;
        let kept = match flags & (BODY_IN_PARTS | BODY_REMOVED) {
            0 => Kept::Inline,
            BODY_IN_PARTS => Kept::Parts,
            _ => Kept::Removed,
        };
        let is_here = kept == Kept::Inline && owner.is_none();
        let body = cursor.take(if is_here { usize::try_from(body_bytes).ok()? } else { 0 })?;
        let fixed_in_parts = flags & FIXED_IN_PARTS != 0;
        Some(Entry { fixed, fixed_in_parts, body, body_bytes, kept, owner, gone: flags & GONE != 0 })
    }

    /// The same with its body, where that lies in the row with another message: with which one, `of` finds.
    fn joined(self, of: impl FnOnce(u8) -> Option<Entry<'a>>) -> Option<Entry<'a>> {
        let Some(owner) = self.owner.filter(|_| self.kept == Kept::Inline) else { return Some(self) };
        let owner = of(owner)?;
        let is_one = owner.kept == Kept::Inline && owner.body_bytes == self.body_bytes;
        is_one.then_some(Entry { body: owner.body, ..self })
    }

    /// The slot under whose place the parts of the body lie, which is at `slot` itself where it has them alone.
    pub(super) fn parts_at(&self, slot: u8) -> Option<u8> {
        (self.kept == Kept::Parts).then_some(self.owner.unwrap_or(slot))
    }
}

/// The messages of a chunk, as its row holds them.
pub(super) struct Entries<'a> {
    pub(super) made_at: WallMs,
    pub(super) list: Vec<Entry<'a>>,
}

impl<'a> Entries<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Entries<'a>> {
        let mut cursor = Cursor(body);
        let made_at = WallMs(cursor.u64()?);
        let mut list: Vec<Entry<'a>> = Vec::new();
        while !cursor.0.is_empty() {
            let entry = Entry::read(&mut cursor)?.joined(|owner| list.get(usize::from(owner)).cloned())?;
            list.push(entry);
        }
        Some(Entries { made_at, list })
    }

    /// One message of the row.
    pub(super) fn one(body: &'a [u8], slot: u8) -> Option<Entry<'a>> {
        nth(body, slot)?.joined(|owner| nth(body, owner).filter(|found| owner < slot && found.owner.is_none()))
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut body = self.made_at.0.to_be_bytes().to_vec();
        for entry in &self.list {
            entry.write(&mut body);
        }
        body
    }

    /// Erases these messages, and takes the bodies of those. Gives the slots under whose places parts lie that nobody needs any more.
    pub(super) fn remove(&mut self, erased: &BTreeSet<u8>, bare: &BTreeSet<u8>) -> Option<BTreeSet<u8>> {
        let before = self.owners();
        for number in bare {
            let entry = self.list.get_mut(usize::from(*number))?;
            *entry = entry.stripped();
        }
        for number in erased {
            *self.list.get_mut(usize::from(*number))? = Entry::ERASED;
        }
        self.settle();
        let after = self.owners();
        Some(before.difference(&after).copied().collect())
    }

    /// Gives a body that lies in the row, and whose owner has it no more, to the first message that is left with it.
    fn settle(&mut self) {
        let mut heirs: Vec<(u8, u8)> = Vec::new();
        let has_it: Vec<bool> = self.list.iter().map(|entry| entry.kept == Kept::Inline).collect();
        for (slot, entry) in (0_u8..).zip(&mut self.list) {
            let Some(owner) = entry.owner.filter(|_| entry.kept == Kept::Inline) else { continue };
            if has_it.get(usize::from(owner)) == Some(&true) {
                continue;
            }
            entry.owner = heirs.iter().find(|(of, _)| *of == owner).map(|(_, heir)| *heir);
            if entry.owner.is_none() {
                heirs.push((owner, slot));
            }
        }
    }

    /// The slots under whose places the parts of bodies lie.
    fn owners(&self) -> BTreeSet<u8> {
        (0_u8..).zip(&self.list).filter_map(|(slot, entry)| entry.parts_at(slot)).collect()
    }
}

/// The entry in this slot, without a body that is another's.
fn nth(body: &[u8], slot: u8) -> Option<Entry<'_>> {
    let mut cursor = Cursor(body);
    let _made_at = cursor.u64()?;
    for _ in 0..slot {
        let _before = Entry::read(&mut cursor)?;
    }
    Entry::read(&mut cursor)
}

/// The last body in a chunk being filled that is nobody else's: the next message may have the same.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) slot: u8,
    pub(super) body: Body,
    pub(super) kept: Kept,
}

impl Owned {
    /// Whether it is this one too. Of an empty one there is nothing to share.
    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        !body.is_empty() && (std::ptr::eq(&*self.body, body) || *self.body == *body)
    }
}

/// Where the body of the next message of a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Laid {
    pub(super) kept: Kept,
    pub(super) owner: Option<u8>,
}

impl Laid {
    /// Nowhere any more.
    pub(super) const REMOVED: Laid = Laid { kept: Kept::Removed, owner: None };

    /// Where this body lies, with so much room in the row: with the last one, where it is the same.
    pub(super) fn of(body: &[u8], room: usize, last: Option<&Owned>) -> Laid {
        match last.filter(|last| room >= SHARED_BYTES && last.is_of(body)) {
            Some(last) => Laid { kept: last.kept, owner: Some(last.slot) },
            None if body.len() <= room => Laid { kept: Kept::Inline, owner: None },
            None => Laid { kept: Kept::Parts, owner: None },
        }
    }

    /// The entry of a message whose body is laid so.
    pub(super) fn entry<'a>(self, fixed: &'a [u8], fixed_in_parts: bool, body: &'a [u8]) -> Entry<'a> {
        let Laid { kept, owner } = self;
        let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let body = if kept == Kept::Inline { body } else { &[] };
        Entry { fixed, fixed_in_parts, body, body_bytes, kept, owner, gone: false }
    }

    /// The last body that is nobody else's, once this one of the message in `slot` lies there.
    pub(super) fn last(self, slot: u8, body: &Body, before: Option<Owned>) -> Option<Owned> {
        if self.owner.is_some() { before } else { Some(Owned { slot, body: Arc::clone(body), kept: self.kept }) }
    }

    /// Whether its parts are still to be written.
    pub(super) fn needs_parts(self) -> bool {
        self.kept == Kept::Parts && self.owner.is_none()
    }
}

#[cfg(test)]
mod tests;
