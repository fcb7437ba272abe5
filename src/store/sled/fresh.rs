//! A registry that is written from what is known of another one: by salvage, and by import.
//!
//! # What holds
//!
//! * Chunks keep their numbers, so that ids and places stay.
//! * Indexes and counters are not carried over but built anew from the statuses.
//! * One that was cut off leaves nothing that opens as a registry.
//!
//! # What it does not know
//!
//! Where the rows come from.

use std::fs::{self, File};
use std::path::Path;

use super::head::{Change, Counters, Head};
use super::layout::{Tree, dest_key, group_key, place_key};
use super::open::{self, Held};
use super::plan::View;
use super::slot::{Slot, Stat};
use super::trees::Writes;
use super::{Options, SledStore, Step};
use crate::model::{NodeTag, Place};
use crate::store::{StateName, Store, StoreError};

/// How many rows, or bytes, one transaction of the new registry takes.
const ROWS_PER_WRITE: usize = 512;
const BYTES_PER_WRITE: usize = 8 << 20;

/// The new registry.
pub(super) struct Fresh {
    held: Held,
    view: View,
    writes: Writes,
    bytes: usize,
    change: Change,
    /// The head, as far as it is known.
    pub(super) head: Head,
}

impl Fresh {
    /// Makes it in this directory. With the tag of the old one ids go on as they were; the rows are closed anew in any case.
    pub(super) fn begin(dir: &Path, node: Option<NodeTag>, cache_bytes: u64) -> Result<Fresh, StoreError> {
        let held = open::hold_for_salvage(dir, cache_bytes)?;
        let seal = held.identity.seal;
        if let Some(node) = node {
            open::write_format(&held.paths, held.identity.with_node(node))?;
        }
        let view = open::view(&held.paths, seal, cache_bytes)?;
        let (writes, change) = (Writes::default(), Change::default());
        Ok(Fresh { held, view, writes, bytes: 0, change, head: Head::default() })
    }

    /// Puts a row.
    pub(super) fn put(&mut self, tree: Tree, key: &[u8], commit: u64, body: &[u8]) -> Result<(), StoreError> {
        self.writes.put(tree, key, self.view.trees.seal().frame(tree, key, commit, body));
        self.bytes += body.len();
        if self.writes.rows() >= ROWS_PER_WRITE || self.bytes >= BYTES_PER_WRITE { self.write() } else { Ok(()) }
    }

    /// Gives a destination its number.
    pub(super) fn name(&mut self, number: u16, name: &[u8]) -> Result<(), StoreError> {
        self.put(Tree::Meta, &dest_key(number), self.head.commit, name)
    }

    /// Counts a message, and puts it into the indexes that it belongs to.
    pub(super) fn message(&mut self, place: Place, slot: &Slot) {
        self.change.add(slot.dest, StateName::of(slot.state), 1);
        let key = place_key(place);
        if slot.is_bad() {
            self.writes.put(Tree::Bad, &key, Vec::new());
        }
        if slot.flags.untold {
            self.writes.put(Tree::Untold, &key, Vec::new());
        }
    }

    /// Puts a chunk, with the commit and the body of its messages where any are left.
    pub(super) fn chunk(&mut self, number: u64, messages: Option<(u64, &[u8])>, stat: &Stat) -> Result<(), StoreError> {
        let key = number.to_be_bytes();
        if let Some((commit, body)) = messages.filter(|_| !stat.is_empty()) {
            self.put(Tree::Chunk, &key, commit, body)?;
        }
        self.head.open.add(stat.mark(number));
        if stat.is_open() {
            self.writes.put(Tree::Open, &key, Vec::new());
        }
        self.put(Tree::Stat, &key, self.head.commit, stat.bytes())
    }

    /// How many messages it has, by destination and state.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        counters.apply(&self.change);
        counters
    }

    /// Writes the head and the counters, last of all, and makes a registry of it.
    pub(super) fn end(mut self, dir: &Path, options: Options) -> Result<(), StoreError> {
        let ended = self.last_rows(&options);
        let Fresh { held, view, .. } = self;
        view.trees.shut();
        ended?;
        File::open(&held.paths.db).and_then(|db| db.sync_all()).map_err(open::disk)?;
        fs::remove_file(&held.paths.salvaging).map_err(open::disk)?;
        open::sync_dir(dir)?;
        drop(held);
        SledStore::open(dir, options)?.close()
    }

    /// Lets go of it, unfinished.
    pub(super) fn leave(self) {
        self.view.trees.shut();
    }

    fn last_rows(&mut self, options: &Options) -> Result<(), StoreError> {
        self.write()?;
        for group in self.change.groups() {
            let row = Counters::default().row(&self.head, group, &self.change);
            self.put(Tree::Meta, &group_key(group), self.head.commit, &row)?;
        }
        options.fault.as_ref().map_or(Ok(()), |fault| fault(Step::Apply)).map_err(open::disk)?;
        self.write()
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let writes = std::mem::take(&mut self.writes);
        self.bytes = 0;
        self.view.trees.apply(&writes)?;
        self.view.trees.flush(writes.rows())
    }
}
