//! Repair: what can be derived from the messages and their statuses, built anew in place.
//!
//! Indexes, counters, filters, the names of destinations and, where its row is lost, the head say nothing that chunks and statuses do not say. So
//! they are compared with them, and corrected.
//!
//! # What holds
//!
//! * Chunks, statuses, attempts, edits and parts are never written. What cannot be judged, because its status cannot be read, is left as it is.
//! * Nor are notes: nothing implies them. One that is damaged is left, and said.
//! * Every transaction leaves a registry that can be repaired again; the head comes last, so that nothing starts on half of a repair.
//! * Commits that the witness knows and the database does not are not made up: that stays damage.
//!
//! # What it does not know
//!
//! What to do about a lost chunk or status: `salvage` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use super::head::{Change, Counters, Head, Open};
use super::layout::{Cursor, Seal, Tree, dest_key, group_key, place_key};
use super::open::{self, Paths};
use super::plan::View;
use super::slot::Slot;
use super::trees::{Trees, Writes};
use super::verify::{self, Verified};
use super::{Options, Step, keys, read};
use crate::model::{Id, Place};
use crate::store::{StateName, StoreError};

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was mended, a sentence each.
    pub mended: Vec<String>,
    /// What a verification found afterwards.
    pub left: Verified,
}

/// How many rows one transaction takes.
const ROWS_PER_WRITE: usize = 512;

/// Mends the registry `dir`, which nobody may have open, and verifies it.
///
/// # Errors
/// The registry cannot be opened, or not be written; the error says why. What was mended until then stays mended.
pub fn repair(dir: &Path, options: &Options) -> Result<Repaired, StoreError> {
    let held = open::hold_known(dir, options.cache_bytes)?;
    let (view, is_derived) = opened(&held.paths, held.identity.seal, options.cache_bytes)?;
    let mut mending = Mending {
        view: &view,
        options,
        writes: Writes::default(),
        mended: BTreeMap::new(),
        is_whole: true,
        is_undone: false,
    };
    let outcome = mending.all(is_derived);
    let mended = mending.told(is_derived);
    view.trees.shut();
    outcome?;
    File::open(&held.paths.db).and_then(|db| db.sync_all()).map_err(open::disk)?;
    let view = open::view(&held.paths, held.identity.seal, options.cache_bytes)?;
    let left = verify::check(&view);
    view.trees.shut();
    Ok(Repaired { mended, left })
}

/// Opens the database; where the head cannot be read, with one derived from the rows.
fn opened(paths: &Paths, seal: Seal, cache_bytes: u64) -> Result<(View, bool), StoreError> {
    let why = match open::view(paths, seal, cache_bytes) {
        Err(StoreError::Damaged(why)) => why,
        other => return other.map(|view| (view, false)),
    };
    let (witnessed, trees) = open::database(paths, seal, cache_bytes)?;
    // A head that can be read and is too old tells of commits that are gone; nothing can be derived from what is not there.
    let derived = if open::head(&trees).is_ok() { Ok(None) } else { derived(&trees) };
    match derived {
        Ok(Some(head)) if head.commit >= witnessed => Ok((View { trees, head, counters: Counters::default() }, true)),
        Ok(_) => {
            trees.shut();
            Err(StoreError::Damaged(why))
        }
        Err(error) => {
            trees.shut();
            Err(error)
        }
    }
}

/// The head as the rows imply it; `None` where no chunk is left, because then nothing tells which numbers were given.
fn derived(trees: &Trees) -> Result<Option<Head>, StoreError> {
    let mut head = Head { floor: u64::MAX, ..Head::default() };
    for tree in [Tree::Chunk, Tree::Stat] {
        let mut walk = trees.under(tree, b"")?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let Some(chunk) = Cursor(&key).u64() else { continue };
            head.floor = head.floor.min(chunk);
            head.next_chunk = head.next_chunk.max(chunk.saturating_add(1));
            if let Ok(row) = trees.seal().unframe(tree, &key, &row) {
                head.commit = head.commit.max(row.commit);
                head.last_ms = head.last_ms.max(Cursor(row.body).u64().unwrap_or(0));
            }
        }
    }
    if head.next_chunk == 0 {
        return Ok(None);
    }
    for tree in [Tree::Att, Tree::Over, Tree::Part, Tree::Alias, Tree::Keys, Tree::Meta, Tree::Note] {
        let mut walk = trees.under(tree, b"")?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let Ok(row) = trees.seal().unframe(tree, &key, &row) else { continue };
            head.commit = head.commit.max(row.commit);
            let is_head = tree == Tree::Meta && key.starts_with(b"c");
            if let Some(known) = Counters::default().read(row.commit, row.body).filter(|_| is_head) {
                head.next_chunk = head.next_chunk.max(known.next_chunk);
                head.last_ms = head.last_ms.max(known.last_ms);
            }
        }
    }
    Ok(Some(head))
}

/// A repair under way.
struct Mending<'a> {
    view: &'a View,
    options: &'a Options,
    writes: Writes,
    /// How many rows of which tree.
    mended: BTreeMap<Tree, u64>,
    /// Whether every status could be read.
    is_whole: bool,
    /// Whether statuses are older ones, of as many messages in the same states.
    is_undone: bool,
}

impl Mending<'_> {
    fn all(&mut self, is_derived: bool) -> Result<(), StoreError> {
        let (change, open) = self.messages()?;
        for tree in [Tree::Open, Tree::Bad, Tree::Untold] {
            self.strangers(tree)?;
        }
        self.strange_aliases()?;
        for range in verify::ranges(self.view) {
            self.filter(range)?;
        }
        self.write()?;
        let mut counters = Counters::default();
        counters.apply(&change);
        let head = Head { open, ..self.view.head };
        let is_recounted = counters.list() != self.view.counters.list() || open.chunks != self.view.head.open.chunks;
        self.is_undone = !is_derived && self.is_whole && !is_recounted && open != self.view.head.open;
        if is_derived || self.is_undone || self.is_whole && is_recounted {
            self.head(&head, &change)?;
        }
        self.write()
    }

    /// Goes through the messages; gives their number by destination and state, and the chunks that have unfinished ones.
    fn messages(&mut self) -> Result<(Change, Open), StoreError> {
        let view = self.view;
        let (mut change, mut open) = (Change::default(), Open::default());
        let mut named = BTreeSet::new();
        for chunk in view.head.floor..view.head.next_chunk {
            let Ok(Some(stat)) = read::stat(&view.trees, &view.head, chunk) else {
                self.is_whole = false;
                continue;
            };
            self.marker(Tree::Open, &chunk.to_be_bytes(), stat.is_open())?;
            open.add(stat.mark(chunk));
            for (number, slot) in stat.slots() {
                let place = Place::new(chunk, number);
                change.add(slot.dest, StateName::of(slot.state), 1);
                self.marker(Tree::Bad, &place_key(place), slot.is_bad())?;
                self.marker(Tree::Untold, &place_key(place), slot.flags.untold)?;
                self.message(place, &slot, &mut named)?;
            }
        }
        self.names(&named)?;
        self.write()?;
        Ok((change, open))
    }

    /// The rows that only a message's envelope can tell: the name of its destination, and the place of an id given elsewhere.
    fn message(&mut self, place: Place, slot: &Slot, named: &mut BTreeSet<u16>) -> Result<(), StoreError> {
        if named.contains(&slot.dest.0) && !slot.flags.alias {
            return Ok(());
        }
        // An envelope that cannot be read tells nothing; the next message may.
        let Ok(Some(fixed)) = read::fixed(&self.view.trees, place) else { return Ok(()) };
        if named.insert(slot.dest.0) {
            self.row(Tree::Meta, &dest_key(slot.dest.0), fixed.envelope.destination.as_bytes())?;
        }
        let (trees, head) = (&self.view.trees, &self.view.head);
        let found = read::find(trees, head, fixed.id).ok().flatten();
        let is_found =
            found.is_some_and(|place| matches!(read::id_at(trees, head, place), Ok(Some(id)) if id == fixed.id));
        if slot.flags.alias && !is_found {
            self.row(Tree::Alias, &fixed.id.to_bytes(), &place_key(place))?;
        }
        Ok(())
    }

    /// Removes the names that cannot be read and that no message bears; the others were written anew.
    fn names(&mut self, named: &BTreeSet<u16>) -> Result<(), StoreError> {
        let mut walk = self.view.trees.under(Tree::Meta, b"d")?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let number = key.get(1..).and_then(|number| Cursor(number).u16());
            if self.seal().unframe(Tree::Meta, &key, &row).is_err()
                && !number.is_some_and(|number| named.contains(&number))
            {
                self.remove(Tree::Meta, &key)?;
            }
        }
        Ok(())
    }

    /// Removes the entries of an index that name nothing.
    fn strangers(&mut self, tree: Tree) -> Result<(), StoreError> {
        let view = self.view;
        let mut walk = view.trees.under(tree, b"")?;
        while let Some(row) = walk.forth() {
            let (key, _) = row?;
            let there = match Cursor(&key).u64() {
                Some(chunk) if tree == Tree::Open => read::stat(&view.trees, &view.head, chunk).map(|it| it.is_some()),
                Some(place) => read::slot(&view.trees, &view.head, Place::from_u64(place)).map(|it| it.is_some()),
                None => Ok(false),
            };
            if matches!(there, Ok(false)) {
                self.remove(tree, &key)?;
            }
        }
        self.write()
    }

    /// Removes the ids given elsewhere whose message is not there or is another one; those that are there were written before.
    fn strange_aliases(&mut self) -> Result<(), StoreError> {
        self.write()?;
        let view = self.view;
        let mut walk = view.trees.under(Tree::Alias, b"")?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let place = self.seal().unframe(Tree::Alias, &key, &row).ok().and_then(|row| Cursor(row.body).u64());
            let bears = match place {
                Some(place) => read::id_at(&view.trees, &view.head, Place::from_u64(place)),
                None => Ok(None),
            };
            if let Ok(id) = bears
                && id.map(Id::to_bytes).as_ref().map(<[u8; 16]>::as_slice) != Some(&key)
            {
                self.remove(Tree::Alias, &key)?;
            }
        }
        self.write()
    }

    fn filter(&mut self, range: u64) -> Result<(), StoreError> {
        if verify::filter(self.view, range).is_ok() {
            return Ok(());
        }
        match verify::hashes(self.view, range) {
            Ok(mut hashes) => self.row(Tree::Keys, &range.to_be_bytes(), &keys::filter(&mut hashes)),
            Err(_) => Ok(()),
        }
    }

    /// Writes the head and all counters, in a transaction of their own.
    fn head(&mut self, head: &Head, change: &Change) -> Result<(), StoreError> {
        let mut walk = self.view.trees.under(Tree::Meta, b"c")?;
        while let Some(row) = walk.forth() {
            self.writes.remove(Tree::Meta, &row?.0);
        }
        for group in change.groups() {
            let body = Counters::default().row(head, group, change);
            self.writes.put(
                Tree::Meta,
                &group_key(group),
                self.seal().frame(Tree::Meta, &group_key(group), head.commit, &body),
            );
            *self.mended.entry(Tree::Meta).or_default() += 1;
        }
        Ok(())
    }

    /// Sets or takes a marker.
    fn marker(&mut self, tree: Tree, key: &[u8], set: bool) -> Result<(), StoreError> {
        if self.view.trees.raw(tree, key)?.is_some() == set {
            return Ok(());
        }
        if !set {
            return self.remove(tree, key);
        }
        self.writes.put(tree, key, Vec::new());
        self.mended(tree)
    }

    /// Sees to it that this row is there. A repair is no commit: it takes no number.
    fn row(&mut self, tree: Tree, key: &[u8], body: &[u8]) -> Result<(), StoreError> {
        let bytes = self.view.trees.raw(tree, key)?;
        let is_there = bytes
            .as_deref()
            .and_then(|bytes| self.seal().carve(bytes))
            .is_some_and(|found| found.tree == tree && found.key == key && found.row.body == body);
        if is_there {
            return Ok(());
        }
        self.writes.put(tree, key, self.seal().frame(tree, key, self.view.head.commit, body));
        self.mended(tree)
    }

    fn remove(&mut self, tree: Tree, key: &[u8]) -> Result<(), StoreError> {
        self.writes.remove(tree, key);
        self.mended(tree)
    }

    fn mended(&mut self, tree: Tree) -> Result<(), StoreError> {
        *self.mended.entry(tree).or_default() += 1;
        if self.writes.rows() >= ROWS_PER_WRITE { self.write() } else { Ok(()) }
    }

    /// Writes what has come together, as one transaction.
    fn write(&mut self) -> Result<(), StoreError> {
        let writes = std::mem::take(&mut self.writes);
        if writes.rows() == 0 {
            return Ok(());
        }
        let fault = |step| self.options.fault.as_ref().map_or(Ok(()), |fault| fault(step)).map_err(open::disk);
        fault(Step::Apply)?;
        self.view.trees.apply(&writes)?;
        fault(Step::Flush)?;
        self.view.trees.flush(writes.rows())
    }

    fn seal(&self) -> Seal {
        self.view.trees.seal()
    }

    fn told(&self, is_derived: bool) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        if is_derived {
            told.push("the head of the registry, derived from the messages and their statuses".into());
        }
        if self.is_undone {
            told.push(format!("taken as it is, and not mended: {}", verify::UNDONE));
        }
        told.extend(self.mended.iter().map(|(tree, rows)| {
            let what = if *tree == Tree::Meta { "counters and names of destinations" } else { "index" };
            format!("{what}, tree {}: {rows} rows", tree.name())
        }));
        told
    }
}
