//! Salvage: carrying what can be read out of a damaged registry into a new one, also where sled refuses to open the old.
//!
//! Every row of ours lies whole in sled's log with its magic, key, commit and check sum. So the raw file is [searched](super::search) for rows, the
//! newest of each key counts, and a fresh registry is written from them with the same chunk numbers: ids and places stay.
//!
//! # What holds
//!
//! * The old directory is not written to.
//! * A message whose status is lost is queued again and held, with its last edit, for a person to decide; what is missing is said.
//! * A destination whose name is lost has the one that its messages bear; no number is given to another name.
//! * What was deleted and left its empty status row behind stays deleted.
//! * Notes are taken over as whoever wrote them says, who is told which messages are lost.
//!
//! # What it does not know
//!
//! How rows are found, and sled's own format.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use super::entry::{Entries, Entry};
use super::fresh::Fresh;
use super::head::{Counters, Head};
use super::layout::{Cursor, Fixed, Kept, Tree, decode, numbered_key, place_key};
use super::open::{self, Paths};
use super::search::Found;
use super::slot::{Flags, Hour, Slot, Stat};
use super::witness::{Testimony, Witness};
use super::{Options, read};
use crate::model::{Attempt, Place, Queued, State, Told, WallMs};
use crate::store::{Dest, Note, StoreError, idempotency_hash, key_hash};

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

/// The names of the destinations by number.
type Names = BTreeMap<u16, Vec<u8>>;

/// How far commits may be ahead of the witness: those of moments. What claims more was not written by us.
const COMMITS_AHEAD_MAX: u64 = 1_000_000;
/// The least that a chunk leaves in the file: its status row.
const STAT_ROW_BYTES_MIN: u64 = 32;
/// Where a message goes of which nobody knows where it was to go.
const UNKNOWN: &[u8] = b"unknown";

/// What a new registry takes over of a note of the old one; the second says of a place whether what lay there is lost.
pub type Takes<'a> = &'a dyn Fn(Note, &dyn Fn(Place) -> bool) -> Option<Note>;

/// Carries what can be read in the registry `from` into a new one in `into`, and of notes what `takes` says. It takes memory for the keys of the old
/// one's rows, about 100 bytes each.
///
/// # Errors
/// [`StoreError::Foreign`] where there is nothing in `from`, or `into` exists and is not empty; the disk's errors.
pub fn salvage(from: &Path, into: &Path, options: Options, takes: Takes<'_>) -> Result<Salvaged, StoreError> {
    let old = Paths::of(from);
    if !old.db.exists() {
        return Err(open::none_in(from));
    }
    if fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StoreError::Foreign(format!("{} is not empty", into.display())));
    }
    let testimony = Witness::read(&old.witness).map_err(open::disk)?;
    let commit_max = match testimony {
        Testimony::Commit(last) => last.saturating_add(COMMITS_AHEAD_MAX),
        Testimony::Missing | Testimony::Broken => u64::MAX / 2,
    };
    let known = open::read_format(&old).ok().flatten();
    let file = File::open(&old.db).map_err(open::disk)?;
    let chunks_max = file.metadata().map_err(open::disk)?.len() / STAT_ROW_BYTES_MIN;
    let found = Found::newest(file, known.map(|identity| identity.seal), commit_max).map_err(open::disk)?;
    // Ids go on as they were.
    let new = Fresh::begin(into, known.map(|identity| identity.node), options.cache_bytes)?;
    let mut carry = Carry {
        found: &found,
        new,
        names: Names::new(),
        lost: BTreeSet::new(),
        lost_chunks: BTreeSet::new(),
        salvaged: Salvaged::default(),
    };
    let carried = carry.all(chunks_max, testimony, takes);
    let Carry { new, salvaged, .. } = carry;
    if let Err(error) = carried {
        new.leave();
        return Err(error);
    }
    new.end(into, options)?;
    Ok(salvaged)
}

/// A salvage under way.
struct Carry<'a> {
    found: &'a Found,
    new: Fresh,
    names: Names,
    /// The messages that are lost: those that had not been delivered, where their statuses say so, and the chunks of which nothing is known.
    lost: BTreeSet<Place>,
    lost_chunks: BTreeSet<u64>,
    salvaged: Salvaged,
}

impl Carry<'_> {
    /// Writes the rows of the new registry, the head last.
    fn all(&mut self, chunks_max: u64, testimony: Testimony, takes: Takes<'_>) -> Result<(), StoreError> {
        if self.found.strange > 0 {
            let strange = self.found.strange;
            self.miss(format!("{strange} rows that claim a commit which never was: no row of ours"));
        }
        let (head, counters) = self.head_of(chunks_max)?;
        self.new.head = head;
        self.name(&head)?;
        self.chunks(&head)?;
        for (dest, name) in std::mem::take(&mut self.names) {
            self.new.name(dest, &name)?;
        }
        for tree in [Tree::Alias, Tree::Keys] {
            self.rows(tree, b"")?;
        }
        self.notes(takes)?;
        if self.new.counters().list() != counters.list() {
            self.miss("changes of status: the counters differ, so some messages stand where they stood before".into());
        }
        match testimony {
            Testimony::Commit(last) if last > head.commit => {
                self.miss(format!("commits {} to {last}", head.commit + 1));
            }
            Testimony::Commit(_) => {}
            Testimony::Missing | Testimony::Broken => {
                self.miss("the witness: whether later commits are missing cannot be known".into());
            }
        }
        Ok(())
    }

    fn miss(&mut self, what: String) {
        self.salvaged.missing.push(what);
    }

    /// The head as far as rows tell of it, and the counters.
    fn head_of(&self, chunks_max: u64) -> Result<(Head, Counters), StoreError> {
        let mut head = Head { next_chunk: 1, floor: 1, ..Head::default() };
        let mut counters = Counters::default();
        for (tree, key, commit) in self.found.keys() {
            head.commit = head.commit.max(commit);
            if tree == Tree::Chunk {
                head.next_chunk = head.next_chunk.max(Cursor(key).u64().unwrap_or(0).saturating_add(1));
            }
        }
        for row in self.found.under(Tree::Meta, b"c") {
            let (_, commit, body) = row.map_err(open::disk)?;
            if let Some(read) = counters.read(commit, &body) {
                head.next_chunk = head.next_chunk.max(read.next_chunk);
                head.floor = head.floor.max(read.floor);
                head.last_ms = head.last_ms.max(read.last_ms);
            }
        }
        head.next_chunk = head.next_chunk.min(head.floor.saturating_add(chunks_max));
        Ok((head, counters))
    }

    /// Carries the chunks and what their messages have beside them.
    fn chunks(&mut self, head: &Head) -> Result<(), StoreError> {
        let mut made_at = WallMs(0);
        for chunk in head.floor..head.next_chunk {
            let messages = self.row(Tree::Chunk, &chunk.to_be_bytes())?;
            let stat = self.status(chunk, made_at, messages.as_ref().map(|(_, body)| body.as_slice()))?;
            let entries = messages.as_ref().and_then(|(_, body)| Entries::read(body));
            made_at = made_at.max(stat.made_at());
            for (number, slot) in stat.slots() {
                self.salvaged.messages += 1;
                let place = Place::new(chunk, number);
                self.new.message(place, &slot);
                for tree in [Tree::Att, Tree::Over] {
                    self.rows(tree, &place_key(place))?;
                }
                if let Some(entry) = entries.as_ref().and_then(|entries| entries.list.get(usize::from(number))) {
                    self.parts(place, entry)?;
                }
            }
            self.new.chunk(chunk, messages.as_ref().map(|(commit, body)| (*commit, body.as_slice())), &stat)?;
        }
        Ok(())
    }

    /// Carries what lies in parts of a message. The parts of bodies that were removed are in the file too: they stay behind.
    fn parts(&mut self, place: Place, entry: &Entry<'_>) -> Result<(), StoreError> {
        let mut needed = Vec::new();
        if entry.fixed_in_parts {
            needed.push(numbered_key(place, 0));
        }
        if let Some(owner) = entry.parts_at(place.slot()) {
            needed.push(numbered_key(Place::new(place.chunk(), owner), 1));
        }
        for row in self.found.under(Tree::Over, &place_key(place)) {
            let (key, _, body) = row.map_err(open::disk)?;
            let is_in_parts = read::read_edit(&body).is_some_and(|(edit, _)| edit.kept == Kept::Parts);
            needed.extend(<[u8; 10]>::try_from(key).ok().filter(|_| is_in_parts));
        }
        needed.iter().try_for_each(|key| self.rows(Tree::Part, key))
    }

    fn row(&self, tree: Tree, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.found.row(tree, key).map_err(open::disk)
    }

    /// Carries what is taken over of the notes.
    fn notes(&mut self, takes: Takes<'_>) -> Result<(), StoreError> {
        for row in self.found.under(Tree::Note, b"") {
            let (key, commit, value) = row.map_err(open::disk)?;
            let next_chunk = self.new.head.next_chunk;
            let note = takes(Note { key: key.to_vec(), value }, &|place| {
                // What comes next will lie where the last ones lay.
                let is_unknown = self.lost_chunks.contains(&place.chunk()) || place.chunk() >= next_chunk;
                is_unknown || self.lost.contains(&place)
            });
            if let Some(note) = note {
                self.new.put(Tree::Note, &note.key, commit, &note.value)?;
            }
        }
        Ok(())
    }

    /// Carries the rows of a tree whose keys begin so.
    fn rows(&mut self, tree: Tree, prefix: &[u8]) -> Result<(), StoreError> {
        for row in self.found.under(tree, prefix) {
            let (key, commit, body) = row.map_err(open::disk)?;
            self.new.put(tree, key, commit, &body)?;
        }
        Ok(())
    }

    /// Finds the names of the destinations. A number whose name is lost, and that statuses bear, has the name that its messages bear.
    fn name(&mut self, head: &Head) -> Result<(), StoreError> {
        for row in self.found.under(Tree::Meta, b"d") {
            let (key, _, body) = row.map_err(open::disk)?;
            if let Some(number) = key.get(1..).and_then(|number| Cursor(number).u16()) {
                let _new = self.names.insert(number, body);
            }
        }
        for chunk in head.floor..head.next_chunk {
            let key = chunk.to_be_bytes();
            let stat = self.row(Tree::Stat, &key)?.and_then(|(_, body)| Stat::read(&body));
            let Some(stat) = stat.filter(|stat| stat.slots().any(|(_, slot)| !self.is_named(slot.dest))) else {
                continue;
            };
            let messages = self.row(Tree::Chunk, &key)?;
            let entries = messages.as_ref().and_then(|(_, body)| Entries::read(body));
            for (number, slot) in stat.slots() {
                if self.is_named(slot.dest) {
                    continue;
                }
                let entry = entries.as_ref().and_then(|entries| entries.list.get(usize::from(number)));
                let fixed = match entry {
                    Some(entry) => self.fixed_of(Place::new(chunk, number), entry)?,
                    None => None,
                };
                // The number is taken, whether its name is known or not.
                let name = fixed.map_or(UNKNOWN.to_vec(), |fixed| fixed.envelope.destination.as_bytes().to_vec());
                let _before = self.names.insert(slot.dest.0, name);
            }
        }
        Ok(())
    }

    fn is_named(&self, dest: Dest) -> bool {
        self.names.get(&dest.0).is_some_and(|name| name != UNKNOWN)
    }

    /// The number of the destination with this name; a new one where it has none.
    fn number_of(&mut self, name: &[u8]) -> Dest {
        if let Some((number, _)) = self.names.iter().find(|(_, known)| *known == name) {
            return Dest(*number);
        }
        let next = self.names.last_key_value().map_or(0, |(highest, _)| highest.saturating_add(1));
        let _before = self.names.insert(next, name.to_vec());
        Dest(next)
    }

    /// What never changes of a message, wherever it lies.
    fn fixed_of(&self, place: Place, entry: &Entry<'_>) -> Result<Option<Fixed>, StoreError> {
        if !entry.fixed_in_parts {
            return Ok(decode(entry.fixed));
        }
        let mut joined = Vec::new();
        for row in self.found.under(Tree::Part, &numbered_key(place, 0)) {
            joined.extend(row.map_err(open::disk)?.2);
        }
        Ok(decode(&joined))
    }

    /// The slots of a chunk: as they were, or made up where the row is lost, or none. A lost chunk has the time of the one before it, because times
    /// rise with the numbers.
    fn status(&mut self, chunk: u64, before: WallMs, messages: Option<&[u8]>) -> Result<Stat, StoreError> {
        let stat = self.row(Tree::Stat, &chunk.to_be_bytes())?.and_then(|(_, body)| Stat::read(&body));
        match (stat, messages.and_then(Entries::read)) {
            (Some(stat), Some(_)) => Ok(stat),
            (Some(mut stat), None) => {
                if !stat.is_empty() {
                    let undelivered = stat.slots().filter(|(_, slot)| slot.state != State::Delivered);
                    self.lost.extend(undelivered.map(|(number, _)| Place::new(chunk, number)));
                    self.miss(format!("the {} messages of chunk {chunk}", stat.slots().count()));
                }
                stat.clear();
                Ok(stat)
            }
            (None, Some(entries)) => {
                let stat = self.made_up(chunk, &entries)?;
                self.salvaged.held += u64::try_from(stat.slots().count()).unwrap_or(0);
                self.miss(format!("the status of chunk {chunk}: its messages are queued again, and held"));
                Ok(stat)
            }
            (None, None) => {
                self.lost_chunks.insert(chunk);
                self.miss(format!("chunk {chunk}"));
                Ok(Stat::new(before))
            }
        }
    }

    /// Statuses for messages of which only the messages are left, and what rows beside them tell: edits and attempts.
    fn made_up(&mut self, chunk: u64, entries: &Entries<'_>) -> Result<Stat, StoreError> {
        let mut stat = Stat::new(entries.made_at);
        for entry in &entries.list {
            let number = u8::try_from(stat.len()).unwrap_or(u8::MAX);
            let slot = self.held(Place::new(chunk, number), entry, entries.made_at)?;
            stat.push(&slot);
            if entry.gone {
                stat.erase(number);
            }
        }
        Ok(stat)
    }

    /// A message that waits for a person, with its last edit and its last attempt.
    fn held(&mut self, place: Place, entry: &Entry<'_>, made_at: WallMs) -> Result<Slot, StoreError> {
        let prefix = place_key(place);
        let fixed = if entry.gone { None } else { self.fixed_of(place, entry)? };
        let (mut edit, mut last) = (None, None::<Attempt>);
        for row in self.found.under(Tree::Over, &prefix) {
            let (key, _, body) = row.map_err(open::disk)?;
            let revision = key.get(prefix.len()..).and_then(|number| Cursor(number).u16());
            // In rising order: the newest that can be read counts.
            edit = revision.zip(read::read_edit(&body).map(|(edit, _)| edit)).or(edit);
        }
        for row in self.found.under(Tree::Att, &prefix) {
            last = read::read_attempt(&row.map_err(open::disk)?.2).or(last);
        }
        let (kept, body_bytes) =
            edit.as_ref().map_or((entry.kept, entry.body_bytes), |(_, edit)| (edit.kept, edit.body_bytes));
        let envelope = fixed.as_ref().map(|fixed| &fixed.envelope);
        let name = envelope.map_or(UNKNOWN, |envelope| envelope.destination.as_bytes());
        Ok(Slot {
            state: State::Queued(Queued::Held),
            flags: Flags {
                attempts: last.is_some(),
                bodiless: kept == Kept::Removed,
                deadline: envelope.is_some_and(|envelope| envelope.deadline.is_some()),
                alias: fixed.as_ref().is_some_and(|fixed| fixed.id.place() != place),
                parts: entry.kept == Kept::Parts || self.found.under(Tree::Part, &prefix).next().is_some(),
                ..Flags::default()
            },
            hour: Hour::default(),
            attempts: last.as_ref().map_or(0, |attempt| attempt.number),
            series: 0,
            revision: edit.map_or(1, |(revision, _)| revision),
            dest: if entry.gone { Dest(0) } else { self.number_of(name) },
            last: last.map_or(Told::default(), |attempt| Told { class: attempt.class, status: attempt.status }),
            updated_at: made_at,
            arrival: None,
            key_hash: envelope.and_then(|envelope| envelope.key.as_deref()).map_or(0, key_hash),
            idempotency_hash: envelope
                .and_then(|envelope| envelope.idempotency_key.as_deref())
                .map_or(0, idempotency_hash),
            body_bytes,
        })
    }
}
