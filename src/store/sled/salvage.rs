//! Salvage: carrying what can be read out of a damaged registry into a new one, also where sled refuses to open the old.
//!
//! Every row of ours lies whole in sled's log with its magic, key, commit and check sum. So the raw file is searched for rows, the newest of each key
//! counts, and a fresh registry is written from them with the same chunk numbers: ids and places stay.
//!
//! # What holds
//!
//! * The old directory is not written to.
//! * Indexes and counters are not carried over but rebuilt from the statuses.
//! * A message whose status is lost is queued again and held, with its last edit, for a person to decide; what is missing is said.
//! * A destination whose name is lost has the one that its messages bear; no number is given to another name.
//! * A salvage that was cut off leaves nothing that opens as a registry.
//! * What was deleted and left its empty status row behind stays deleted.
//!
//! # What it does not know
//!
//! sled's own format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::head::{Change, Counters, Head};
use super::layout::{
    Cursor, Entries, Entry, Fixed, Kept, Tree, carve, decode, dest_key, frame, group_key, numbered_key, place_key,
};
use super::open::{self, Paths};
use super::slot::{Flags, Slot, Stat};
use super::trees::Writes;
use super::witness::{Testimony, Witness};
use super::{Options, SledStore, Step, read};
use crate::model::{Attempt, Place, Queued, State, Told, WallMs};
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

type Key = (Tree, Vec<u8>);

/// A row's commit and its body.
type Found = (u64, Vec<u8>);

/// The newest row of each key.
type Rows = BTreeMap<Key, Found>;

/// Rows as the new registry takes them.
type Framed = BTreeMap<Key, Vec<u8>>;

/// The names of the destinations by number.
type Names = BTreeMap<u16, Vec<u8>>;

/// How many rows one transaction of the new registry takes.
const ROWS_PER_WRITE: usize = 512;
/// How far commits may be ahead of the witness: those of moments. What claims more was not written by us.
const COMMITS_AHEAD_MAX: u64 = 1_000_000;
/// The least that a chunk leaves in the file: its status row.
const STAT_ROW_BYTES_MIN: u64 = 32;
/// Where a message goes of which nobody knows where it was to go.
const UNKNOWN: &[u8] = b"unknown";

/// Carries what can be read in the registry `from` into a new one in `into`. It takes up to three times the size of the old one's file as memory.
///
/// # Errors
/// [`StoreError::Foreign`] where there is nothing in `from`, or `into` exists and is not empty; the disk's errors.
pub fn salvage(from: &Path, into: &Path, options: Options) -> Result<Salvaged, StoreError> {
    let old = Paths::of(from);
    if !old.db.exists() {
        return Err(open::none_in(from));
    }
    if fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StoreError::Foreign(format!("{} is not empty", into.display())));
    }
    let mut salvaged = Salvaged::default();
    let testimony = Witness::read(&old.witness).map_err(open::disk)?;
    let commit_max = match testimony {
        Testimony::Commit(last) => last.saturating_add(COMMITS_AHEAD_MAX),
        Testimony::Missing | Testimony::Broken => u64::MAX / 2,
    };
    let bytes = fs::read(&old.db).map_err(open::disk)?;
    let chunks_max = u64::try_from(bytes.len()).unwrap_or(u64::MAX) / STAT_ROW_BYTES_MIN;
    let rows = newest(&bytes, commit_max, &mut salvaged);
    drop(bytes);
    let node = open::read_format(&old).ok().flatten();
    let rebuilt = rebuild(&rows, chunks_max, &mut salvaged);
    drop(rows);
    match testimony {
        Testimony::Commit(last) if last > rebuilt.head.commit => {
            salvaged.missing.push(format!("commits {} to {last}", rebuilt.head.commit + 1));
        }
        Testimony::Commit(_) => {}
        Testimony::Missing | Testimony::Broken => {
            salvaged.missing.push("the witness: whether later commits are missing cannot be known".into());
        }
    }
    let held = open::hold_for_salvage(into, options.cache_bytes)?;
    if let Some(node) = node {
        open::write_format(&held.paths, node)?;
    }
    write(&held.paths, rebuilt, &options)?;
    fs::remove_file(&held.paths.salvaging).map_err(open::disk)?;
    open::sync_dir(into)?;
    drop(held);
    SledStore::open(into, options)?.close()?;
    Ok(salvaged)
}

/// Writes the rows of the new registry, the head last.
fn write(paths: &Paths, rebuilt: Rebuilt, options: &Options) -> Result<(), StoreError> {
    let Rebuilt { head, change, kept } = rebuilt;
    let view = open::view(paths, options.cache_bytes)?;
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
    options.fault.as_ref().map_or(Ok(()), |fault| fault(Step::Apply)).map_err(open::disk)?;
    view.trees.apply(&writes)?;
    view.trees.flush(writes.rows())?;
    view.trees.shut();
    fs::File::open(&paths.db).and_then(|db| db.sync_all()).map_err(open::disk)
}

/// Searches the file for whole rows.
fn newest(bytes: &[u8], commit_max: u64, salvaged: &mut Salvaged) -> Rows {
    let mut rows = Rows::new();
    let mut rest = bytes;
    let mut strange = 0_u64;
    while !rest.is_empty() {
        let Some(found) = carve(rest) else {
            rest = rest.get(1..).unwrap_or(&[]);
            continue;
        };
        let key = (found.tree, found.key.to_vec());
        if found.row.commit > commit_max {
            strange += 1;
        } else if rows.get(&key).is_none_or(|(commit, _)| *commit <= found.row.commit) {
            let _older = rows.insert(key, (found.row.commit, found.row.body.to_vec()));
        }
        rest = rest.get(found.bytes..).unwrap_or(&[]);
    }
    if strange > 0 {
        salvaged.missing.push(format!("{strange} rows that claim a commit which never was: no row of ours"));
    }
    rows
}

/// What the new registry is to hold.
struct Rebuilt {
    head: Head,
    change: Change,
    kept: Framed,
}

/// The head as far as rows tell of it, and the counters.
fn head_of(rows: &Rows, chunks_max: u64) -> (Head, Counters) {
    let mut head = Head { next_chunk: 1, floor: 1, ..Head::default() };
    let mut counters = Counters::default();
    for ((tree, key), (commit, body)) in rows {
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
    head.next_chunk = head.next_chunk.min(head.floor.saturating_add(chunks_max));
    (head, counters)
}

/// The rows of the new registry, its head and its counters.
fn rebuild(rows: &Rows, chunks_max: u64, salvaged: &mut Salvaged) -> Rebuilt {
    let (mut head, counters) = head_of(rows, chunks_max);
    let mut names = names_of(rows, &head);
    let mut kept = Framed::new();
    let mut change = Change::default();
    let mut made_at = WallMs(0);
    for chunk in head.floor..head.next_chunk {
        let stat = status(rows, chunk, made_at, &mut names, salvaged);
        made_at = made_at.max(stat.made_at());
        for (number, slot) in stat.slots() {
            salvaged.messages += 1;
            change.add(slot.dest, StateName::of(slot.state), 1);
            keep_rows(rows, Place::new(chunk, number), &slot, &mut kept);
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
    for (dest, name) in names {
        let key = dest_key(dest);
        let _new = kept.insert((Tree::Meta, key.to_vec()), frame(Tree::Meta, &key, head.commit, &name));
    }
    for ((tree, key), (commit, body)) in rows {
        if matches!(tree, Tree::Alias | Tree::Keys) {
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
    Rebuilt { head, change, kept }
}

/// The names of the destinations. A number whose name is lost, and that statuses bear, has the name that its messages bear.
fn names_of(rows: &Rows, head: &Head) -> Names {
    let mut names = Names::new();
    for ((_, key), (_, body)) in under(rows, Tree::Meta, b"d") {
        if let Some(number) = key.get(1..).and_then(|number| Cursor(number).u16()) {
            let _new = names.insert(number, body.clone());
        }
    }
    for chunk in head.floor..head.next_chunk {
        let key = chunk.to_be_bytes().to_vec();
        let stat = rows.get(&(Tree::Stat, key.clone())).and_then(|(_, body)| Stat::read(body));
        let Some(stat) = stat.filter(|stat| stat.slots().any(|(_, slot)| !is_named(&names, slot.dest))) else {
            continue;
        };
        let entries = rows.get(&(Tree::Chunk, key)).and_then(|(_, body)| Entries::read(body));
        for (number, slot) in stat.slots() {
            if is_named(&names, slot.dest) {
                continue;
            }
            let entry = entries.as_ref().and_then(|entries| entries.list.get(usize::from(number)));
            let fixed = entry.and_then(|entry| fixed_of(rows, Place::new(chunk, number), entry));
            // The number is taken, whether its name is known or not.
            let name = fixed.map_or(UNKNOWN.to_vec(), |fixed| fixed.envelope.destination.as_bytes().to_vec());
            let _before = names.insert(slot.dest.0, name);
        }
    }
    names
}

fn is_named(names: &Names, dest: Dest) -> bool {
    names.get(&dest.0).is_some_and(|name| name != UNKNOWN)
}

/// What never changes of a message, wherever it lies.
fn fixed_of(rows: &Rows, place: Place, entry: &Entry<'_>) -> Option<Fixed> {
    if !entry.fixed_in_parts {
        return decode(entry.fixed);
    }
    let prefix = numbered_key(place, 0);
    let parts = under(rows, Tree::Part, &prefix);
    let joined: Vec<u8> = parts.flat_map(|(_, (_, body))| body.iter().copied()).collect();
    decode(&joined)
}

/// The number of the destination with this name; a new one where it has none.
fn number_of(names: &mut Names, name: &[u8]) -> Dest {
    if let Some((number, _)) = names.iter().find(|(_, known)| *known == name) {
        return Dest(*number);
    }
    let next = names.last_key_value().map_or(0, |(highest, _)| highest.saturating_add(1));
    let _before = names.insert(next, name.to_vec());
    Dest(next)
}

/// The slots of a chunk: as they were, or made up where the row is lost, or none. A lost chunk has the time of the one before it, because times
/// rise with the numbers.
fn status(rows: &Rows, chunk: u64, before: WallMs, names: &mut Names, salvaged: &mut Salvaged) -> Stat {
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
            let stat = made_up(rows, chunk, &entries, names);
            salvaged.held += u64::try_from(stat.slots().count()).unwrap_or(0);
            salvaged.missing.push(format!("the status of chunk {chunk}: its messages are queued again, and held"));
            stat
        }
        (None, None) => {
            salvaged.missing.push(format!("chunk {chunk}"));
            Stat::new(before)
        }
    }
}

/// Statuses for messages of which only the messages are left, and what rows beside them tell: edits and attempts.
fn made_up(rows: &Rows, chunk: u64, entries: &Entries<'_>, names: &mut Names) -> Stat {
    let mut stat = Stat::new(entries.made_at);
    for entry in &entries.list {
        let number = u8::try_from(stat.len()).unwrap_or(u8::MAX);
        let place = Place::new(chunk, number);
        let slot = held(rows, place, entry, entries.made_at, names);
        stat.push(&slot);
        if entry.gone {
            stat.erase(number);
        }
    }
    stat
}

/// A message that waits for a person, with its last edit and its last attempt.
fn held(rows: &Rows, place: Place, entry: &Entry<'_>, made_at: WallMs, names: &mut Names) -> Slot {
    let prefix = place_key(place);
    let fixed = if entry.gone { None } else { fixed_of(rows, place, entry) };
    let edit = under(rows, Tree::Over, &prefix).filter_map(|((_, key), (_, body))| {
        let revision = key.get(prefix.len()..).and_then(|number| Cursor(number).u16())?;
        read::read_edit(body).map(|(edit, _)| (revision, edit))
    });
    let edit = edit.max_by_key(|(revision, _)| *revision);
    let attempts = under(rows, Tree::Att, &prefix).filter_map(|(_, (_, body))| decode::<Attempt>(body));
    let last = attempts.max_by_key(|attempt| attempt.number);
    let (kept, body_bytes) =
        edit.as_ref().map_or((entry.kept, entry.body_bytes), |(_, edit)| (edit.kept, edit.body_bytes));
    let envelope = fixed.as_ref().map(|fixed| &fixed.envelope);
    let name = envelope.map_or(UNKNOWN, |envelope| envelope.destination.as_bytes());
    Slot {
        state: State::Queued(Queued::Held),
        flags: Flags {
            attempts: last.is_some(),
            bodiless: kept == Kept::Removed,
            deadline: envelope.is_some_and(|envelope| envelope.deadline.is_some()),
            alias: fixed.as_ref().is_some_and(|fixed| fixed.id.place() != place),
            parts: under(rows, Tree::Part, &prefix).next().is_some(),
            ..Flags::default()
        },
        attempts: last.as_ref().map_or(0, |attempt| attempt.number),
        series: 0,
        revision: edit.map_or(1, |(revision, _)| revision),
        dest: if entry.gone { Dest(0) } else { number_of(names, name) },
        last: last.map_or(Told::default(), |attempt| Told { class: attempt.class, status: attempt.status }),
        updated_at: made_at,
        arrival: None,
        key_hash: envelope.and_then(|envelope| envelope.key.as_deref()).map_or(0, key_hash),
        idempotency_hash: envelope.and_then(|envelope| envelope.idempotency_key.as_deref()).map_or(0, key_hash),
        body_bytes,
    }
}

/// The rows of a tree whose keys begin with `prefix`, in rising order.
fn under<'a>(rows: &'a Rows, tree: Tree, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Key, &'a Found)> {
    rows.range((tree, prefix.to_vec())..).take_while(move |((at, key), _)| *at == tree && key.starts_with(prefix))
}

/// The rows that a message has beside its chunk.
fn keep_rows(rows: &Rows, place: Place, slot: &Slot, kept: &mut Framed) {
    let prefix = place_key(place);
    for tree in [Tree::Att, Tree::Over, Tree::Part] {
        for ((_, key), (commit, body)) in under(rows, tree, &prefix) {
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
