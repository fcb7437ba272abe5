//! Salvage: carrying what can be read out of a damaged registry into a new one, also where sled refuses to open the old.
//!
//! Every row of ours lies whole in sled's log with its magic, key, commit and check sum. So the raw file is searched for rows, the newest of each key
//! counts, and a fresh registry is written from them with the same chunk numbers: ids and places stay.
//!
//! # What holds
//!
//! * The old directory is not written to.
//! * Indexes and counters are not carried over but rebuilt from the statuses.
//! * A message whose status is lost is queued again and held, for a person to decide; what is missing is said.
//! * What was deleted and left its empty status row behind stays deleted.
//!
//! # What it does not know
//!
//! sled's own format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::head::{Change, Counters, Head};
use super::layout::{Cursor, Entries, Fixed, Tree, carve, decode, frame, group_key, place_key};
use super::open::{self, Paths};
use super::slot::{Flags, Slot, Stat};
use super::trees::Writes;
use super::witness::{Testimony, Witness};
use super::{Options, SledStore};
use crate::model::{Place, Queued, State, Told};
use crate::store::{Dest, StateName, Store, StoreError, key_hash};

/// What a salvage did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Messages carried over.
    pub messages: u64,
    /// Of them, those whose status was lost: they are queued and held.
    pub held: u64,
    /// What is missing, a sentence each.
    pub missing: Vec<String>,
}

/// The newest row of each key: its commit and its body.
type Rows = BTreeMap<(Tree, Vec<u8>), (u64, Vec<u8>)>;

/// Rows as the new registry takes them.
type Framed = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// How many rows one transaction of the new registry takes.
const ROWS_PER_WRITE: usize = 512;

/// Carries what can be read in the registry `from` into a new one in `into`.
///
/// # Errors
/// [`StoreError::Foreign`] where `into` exists and is not empty; the disk's errors.
pub fn salvage(from: &Path, into: &Path, options: Options) -> Result<Salvaged, StoreError> {
    let old = Paths::of(from);
    if fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StoreError::Foreign(format!("{} is not empty", into.display())));
    }
    let bytes = fs::read(&old.db).map_err(open::disk)?;
    let rows = newest(&bytes);
    drop(bytes);
    let node = open::read_format(&old).ok().flatten();
    let mut salvaged = Salvaged::default();
    let (head, change, kept) = rebuild(rows, &mut salvaged);
    match Witness::read(&old.witness).map_err(open::disk)? {
        Testimony::Commit(last) if last > head.commit => {
            salvaged.missing.push(format!("commits {} to {last}", head.commit + 1));
        }
        Testimony::Commit(_) => {}
        Testimony::Missing | Testimony::Broken => {
            salvaged.missing.push("the witness: whether later commits are missing cannot be known".into());
        }
    }
    SledStore::open(into, options.clone())?.close()?;
    let held = open::hold(into, options.cache_bytes)?;
    if let Some(node) = node {
        open::write_format(&held.paths, node)?;
    }
    let view = open::view(&held.paths, options.cache_bytes)?;
    let mut writes = Writes::default();
    for ((tree, key), row) in kept {
        writes.put(tree, &key, row);
        if writes.rows() >= ROWS_PER_WRITE {
            view.trees.apply(&std::mem::take(&mut writes))?;
            view.trees.flush(ROWS_PER_WRITE)?;
        }
    }
    for group in change.groups() {
        let row = Counters::default().row(&head, group, &change);
        writes.put(Tree::Meta, &group_key(group), frame(Tree::Meta, &group_key(group), head.commit, &row));
    }
    view.trees.apply(&writes)?;
    view.trees.flush(writes.rows())?;
    view.trees.shut();
    drop(held);
    SledStore::open(into, options)?.close()?;
    Ok(salvaged)
}

/// Searches the file for whole rows.
fn newest(bytes: &[u8]) -> Rows {
    let mut rows = Rows::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match carve(rest) {
            Some(found) => {
                let key = (found.tree, found.key.to_vec());
                let newer = rows.get(&key).is_none_or(|(commit, _)| *commit <= found.row.commit);
                if newer {
                    let _older = rows.insert(key, (found.row.commit, found.row.body.to_vec()));
                }
                rest = rest.get(found.bytes..).unwrap_or(&[]);
            }
            None => rest = rest.get(1..).unwrap_or(&[]),
        }
    }
    rows
}

/// The rows of the new registry, its head and its counters.
fn rebuild(rows: Rows, salvaged: &mut Salvaged) -> (Head, Change, Framed) {
    let mut head = Head { next_chunk: 1, floor: 1, ..Head::default() };
    let mut counters = Counters::default();
    for ((tree, key), (commit, body)) in &rows {
        head.commit = head.commit.max(*commit);
        match tree {
            Tree::Meta if key.starts_with(b"c") => {
                if let Some(read) = counters.read(*commit, body) {
                    head.next_chunk = head.next_chunk.max(read.next_chunk);
                    head.floor = head.floor.max(read.floor);
                    head.last_ms = head.last_ms.max(read.last_ms);
                }
            }
            Tree::Chunk => head.next_chunk = head.next_chunk.max(Cursor(key).u64().unwrap_or(0).saturating_add(1)),
            Tree::Meta
            | Tree::Stat
            | Tree::Open
            | Tree::Bad
            | Tree::Untold
            | Tree::Att
            | Tree::Over
            | Tree::Part
            | Tree::Alias
            | Tree::Keys => {}
        }
    }
    let mut kept = Framed::new();
    let mut change = Change::default();
    for chunk in head.floor..head.next_chunk {
        let stat = status(&rows, chunk, salvaged);
        for (number, slot) in stat.slots() {
            salvaged.messages += 1;
            change.add(slot.dest, StateName::of(slot.state), 1);
            keep_rows(&rows, Place::new(chunk, number), &slot, &mut kept);
        }
        let key = chunk.to_be_bytes();
        if let Some((commit, body)) = rows.get(&(Tree::Chunk, key.to_vec())).filter(|_| !stat.is_empty()) {
            let _new = kept.insert((Tree::Chunk, key.to_vec()), frame(Tree::Chunk, &key, *commit, body));
        }
        if stat.is_open() {
            head.open_chunks += 1;
            let _new = kept.insert((Tree::Open, key.to_vec()), Vec::new());
        }
        let row = frame(Tree::Stat, &key, head.commit, stat.bytes());
        let _new = kept.insert((Tree::Stat, key.to_vec()), row);
    }
    for ((tree, key), (commit, body)) in &rows {
        let name = *tree == Tree::Meta && key.starts_with(b"d");
        if name || matches!(tree, Tree::Alias | Tree::Keys) {
            let _new = kept.insert((*tree, key.clone()), frame(*tree, key, *commit, body));
        }
    }
    let mut recounted = Counters::default();
    recounted.apply(&change);
    if recounted.list() != counters.list() {
        salvaged
            .missing
            .push("changes of status: the counters differ, so some messages stand where they stood before".into());
    }
    (head, change, kept)
}

/// The slots of a chunk: as they were, or made up where the row is lost, or none.
fn status(rows: &Rows, chunk: u64, salvaged: &mut Salvaged) -> Stat {
    let key = chunk.to_be_bytes().to_vec();
    let stat = rows.get(&(Tree::Stat, key.clone())).and_then(|(_, body)| Stat::read(body));
    let messages = rows.get(&(Tree::Chunk, key)).and_then(|(_, body)| Entries::read(body));
    match (stat, messages) {
        (Some(stat), Some(_)) => stat,
        (Some(mut stat), None) => {
            if !stat.is_empty() {
                salvaged.missing.push(format!("the {} messages of chunk {chunk}", stat.slots().count()));
            }
            stat.clear();
            stat
        }
        (None, Some(entries)) => {
            let stat = made_up(rows, &entries);
            salvaged.held += u64::try_from(stat.slots().count()).unwrap_or(0);
            salvaged.missing.push(format!("the status of chunk {chunk}: its messages are queued again, and held"));
            stat
        }
        (None, None) => {
            salvaged.missing.push(format!("chunk {chunk}"));
            Stat::new(crate::model::WallMs(0))
        }
    }
}

/// Statuses for messages of which only the messages are left.
fn made_up(rows: &Rows, entries: &Entries<'_>) -> Stat {
    let mut stat = Stat::new(entries.made_at);
    for entry in &entries.list {
        let fixed: Option<Fixed> = decode(entry.fixed);
        let envelope = fixed.map(|fixed| fixed.envelope);
        let name = envelope.as_ref().map(|envelope| envelope.destination.as_bytes());
        let dest = rows.iter().find_map(|((tree, key), (_, body))| {
            let named = *tree == Tree::Meta && key.starts_with(b"d") && Some(body.as_slice()) == name;
            named.then(|| key.get(1..).and_then(|number| Cursor(number).u16())).flatten()
        });
        let slot = Slot {
            state: State::Queued(Queued::Held),
            flags: Flags {
                deadline: envelope.as_ref().is_some_and(|envelope| envelope.deadline.is_some()),
                parts: entry.fixed_in_parts || entry.kept == super::layout::Kept::Parts,
                ..Flags::default()
            },
            attempts: 0,
            series: 0,
            revision: 1,
            dest: Dest(dest.unwrap_or(0)),
            last: Told::default(),
            updated_at: entries.made_at,
            arrival: None,
            key_hash: envelope.as_ref().and_then(|envelope| envelope.key.as_deref()).map_or(0, key_hash),
            idempotency_hash: envelope.and_then(|envelope| envelope.idempotency_key).map_or(0, |key| key_hash(&key)),
            body_bytes: entry.body_bytes,
        };
        let number = u8::try_from(stat.len()).unwrap_or(u8::MAX);
        stat.push(&slot);
        if entry.gone {
            stat.erase(number);
        }
    }
    stat
}

/// The rows that a message has beside its chunk.
fn keep_rows(rows: &Rows, place: Place, slot: &Slot, kept: &mut Framed) {
    let prefix = place_key(place);
    for tree in [Tree::Att, Tree::Over, Tree::Part] {
        let from = (tree, prefix.to_vec());
        for ((_, key), (commit, body)) in
            rows.range(from..).take_while(|((at, key), _)| *at == tree && key.starts_with(&prefix))
        {
            let _new = kept.insert((tree, key.clone()), frame(tree, key, *commit, body));
        }
    }
    if slot.is_bad() {
        let _new = kept.insert((Tree::Bad, prefix.to_vec()), Vec::new());
    }
    if slot.flags.untold {
        let _new = kept.insert((Tree::Untold, prefix.to_vec()), Vec::new());
    }
}
