//! Import: a new registry out of the lines of an export, whole or not at all.
//!
//! # What holds
//!
//! * It is written beside its place and moved there at the end: what was cut off is no registry.
//! * What is wrong is named by its line, and so is what is missing: the lines are counted and hashed.
//! * Messages keep their places and ids, and stand where they stood.
//!
//! # What it does not know
//!
//! Where the lines come from, and what notes mean.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::accept::{FIXED_BYTES_MAX, hour};
use super::carried::{Bytes, Chunk, End, Line, Message, Registry, Tried, VERSION, Versioned};
use super::entry::{ENTRY_BYTES, Entry, Laid, Owned};
use super::export::Exported;
use super::fresh::Fresh;
use super::head::Head;
use super::keys;
use super::layout::{
    CHUNK_MESSAGES_MAX, Edit, Fixed, Kept, RANGE_CHUNKS, ROW_BYTES_MAX, Tree, edit_row, encode, encode_attempt,
    numbered_key, part_key, place_key,
};
use super::open;
use super::slot::{Flags, Hour, Slot, Stat};
use super::{Options, Paths};
use crate::model::chain::Link;
use crate::model::{Body, Place, Queued, State, Told, WallMs};
use crate::store::{Dest, NOTE_KEY_BYTES_MAX, Note, StoreError, idempotency_hash, key_hash};

/// The most bytes of a line: the largest body, escaped, with room to spare.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// What a directory is called while it is written.
const PARTIAL: &str = ".partial";

/// Makes a registry in `into`, which must not be there or be empty, out of the lines of an export; `keeps` says which notes it takes over.
///
/// # Errors
/// [`StoreError::Foreign`] names the line and what is wrong with it; the disk's errors. Nothing is in `into` then.
pub fn import(
    from: &mut dyn BufRead,
    into: &Path,
    options: Options,
    keeps: &dyn Fn(&Note) -> bool,
) -> Result<Exported, StoreError> {
    // With a name, as what is written first stands beside it.
    let into = &std::path::absolute(into)
        .map_err(|error| StoreError::Foreign(format!("{:?} is no directory: {error}", into.display().to_string())))?;
    if fs::symlink_metadata(into).is_ok() && !fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(in_use(into));
    }
    let mut lines = Lines { from, number: 0, link: Link::START };
    let registry = lines.opening()?;
    let partial = partial(into)?;
    let mut import = Import::begin(&partial, registry, &options, keeps)?;
    let (done, fresh) = match import.all(&mut lines) {
        Ok(()) => (import.done, import.fresh),
        Err(error) => {
            import.fresh.leave();
            // What is left of it opens as nothing, and the next import takes it away.
            let _left = fs::remove_dir_all(&partial);
            return Err(error);
        }
    };
    fresh.end(&partial, options)?;
    if let Err(error) = make_way(into) {
        let _left = fs::remove_dir_all(&partial);
        return Err(error);
    }
    fs::rename(&partial, into).map_err(open::disk)?;
    into.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), open::sync_dir)?;
    Ok(done)
}

fn in_use(into: &Path) -> StoreError {
    StoreError::Foreign(format!("{} is not empty", into.display()))
}

/// Removes the empty directory, unless somebody has put something into it meanwhile.
fn make_way(into: &Path) -> Result<(), StoreError> {
    match fs::remove_dir(into) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(in_use(into)),
        Err(error) => Err(open::disk(error)),
    }
}

/// The directory that is written. What an import that was cut off has left there goes; one that is under way stays.
fn partial(into: &Path) -> Result<PathBuf, StoreError> {
    let mut name = into.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    let partial = into.with_file_name(name);
    if partial.exists() {
        if !Paths::of(&partial).salvaging.exists() {
            let words = format!("{} is in the way: an import writes there first", partial.display());
            return Err(StoreError::Foreign(words));
        }
        let _held = open::lock(&Paths::of(&partial))?;
        fs::remove_dir_all(&partial).map_err(open::disk)?;
    }
    Ok(partial)
}

/// The lines, counted and hashed.
struct Lines<'a> {
    from: &'a mut dyn BufRead,
    number: u64,
    /// Over the lines before the one that was read last.
    link: Link,
}

impl Lines<'_> {
    /// The bytes of the next line.
    fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.number += 1;
        self.from.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(open::disk)?;
        match bytes.last() {
            Some(b'\n') => Ok(bytes),
            Some(_) if u64::try_from(bytes.len()) == Ok(LINE_BYTES_MAX) => {
                Err(self.wrong(format!("it has more than {LINE_BYTES_MAX} bytes")))
            }
            Some(_) | None => Err(self.wrong("the export ends here, before its last line: it was cut".into())),
        }
    }

    /// What the registry is.
    fn opening(&mut self) -> Result<Registry, StoreError> {
        let bytes = self.bytes()?;
        let read: Result<Versioned, _> = serde_json::from_slice(&bytes);
        let version = read.map_err(|_| self.wrong("this is no export of a registry".into()))?.registry.version;
        if version > VERSION {
            let words = format!("the export has version {version}, and this goniec reads up to {VERSION}");
            return Err(self.wrong(words));
        }
        let Line::Registry(registry) = self.line(&bytes)? else {
            return Err(self.wrong("this is no export of a registry".into()));
        };
        Ok(registry)
    }

    /// The next line.
    fn next(&mut self) -> Result<Line, StoreError> {
        let bytes = self.bytes()?;
        let line = self.line(&bytes);
        if !matches!(line, Ok(Line::End(_))) {
            self.link = self.link.follow(&bytes);
        }
        line
    }

    fn line(&mut self, bytes: &[u8]) -> Result<Line, StoreError> {
        if self.number == 1 {
            self.link = self.link.follow(bytes);
        }
        serde_json::from_slice(bytes).map_err(|error| self.wrong(format!("column {}: {error}", error.column())))
    }

    fn wrong(&self, what: String) -> StoreError {
        StoreError::Foreign(format!("line {}: {what}", self.number))
    }
}

/// A chunk that is being filled.
struct Filling {
    number: u64,
    slots: usize,
    body: Vec<u8>,
    stat: Stat,
    last: Option<Owned>,
}

/// A message of which not all bodies have come.
struct Coming {
    place: Place,
    message: Message,
    slot: Slot,
    bodies: u16,
}

/// An import under way.
struct Import<'a> {
    fresh: Fresh,
    registry: Registry,
    keeps: &'a dyn Fn(&Note) -> bool,
    done: Exported,
    names: BTreeSet<u16>,
    next_chunk: u64,
    filling: Option<Filling>,
    coming: Option<Coming>,
    /// The hashes of the keys in the range of chunks being filled.
    range: Vec<u64>,
}

impl<'a> Import<'a> {
    fn begin(
        dir: &Path,
        registry: Registry,
        options: &Options,
        keeps: &'a dyn Fn(&Note) -> bool,
    ) -> Result<Import<'a>, StoreError> {
        let Registry { node, commit, floor, next_chunk, last_ms, .. } = registry;
        let mut fresh = Fresh::begin(dir, Some(node), options.cache_bytes)?;
        fresh.head = Head { commit, next_chunk, floor, last_ms, ..Head::default() };
        let (done, names, range) = (Exported::default(), BTreeSet::new(), Vec::new());
        Ok(Import { fresh, registry, keeps, done, names, next_chunk: floor, filling: None, coming: None, range })
    }

    fn all(&mut self, lines: &mut Lines<'_>) -> Result<(), StoreError> {
        loop {
            let line = lines.next()?;
            if let Line::End(end) = &line {
                self.close().map_err(|what| what.at(lines))?;
                return self.check(*end, lines);
            }
            self.take(line).map_err(|what| what.at(lines))?;
        }
    }

    fn check(&self, end: End, lines: &mut Lines<'_>) -> Result<(), StoreError> {
        let Exported { messages, bodies, notes } = self.done;
        if end.sha256 != lines.link || end != (End { messages, bodies, notes, sha256: lines.link }) {
            return Err(lines.wrong("the export is not as it was written: its hash or its counts differ".into()));
        }
        if self.next_chunk != self.registry.next_chunk {
            return Err(lines.wrong(format!("chunk {} is missing", self.next_chunk)));
        }
        match lines.from.fill_buf().map_err(open::disk)? {
            [] => Ok(()),
            _ => Err(StoreError::Foreign(format!("line {}: something follows the end", lines.number + 1))),
        }
    }

    fn take(&mut self, line: Line) -> Result<(), Wrong> {
        if !matches!(line, Line::Body(_)) {
            self.settle()?;
        }
        match line {
            Line::Registry(_) | Line::End(_) => Err(said("it stands where it does not belong")),
            Line::Destination(destination) => {
                if !self.names.insert(destination.number) {
                    return Err(Wrong::Line(format!("destination {} comes twice", destination.number)));
                }
                Ok(self.fresh.name(destination.number, destination.name.as_bytes())?)
            }
            Line::Chunk(chunk) => self.chunk(chunk),
            Line::Message(message) => self.message(*message),
            Line::Body(body) => self.body(body),
            Line::Note(note) => {
                self.close()?;
                let note = note.note().map_err(Wrong::Line)?;
                if note.key.len() > NOTE_KEY_BYTES_MAX {
                    return Err(said("the key of the note is too long"));
                }
                self.done.notes += 1;
                if (self.keeps)(&note) {
                    self.put(Tree::Note, &note.key, &note.value)?;
                }
                Ok(())
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), Wrong> {
        self.close()?;
        if chunk.number != self.next_chunk || chunk.number >= self.registry.next_chunk {
            return Err(Wrong::Line(format!("chunk {} is expected", self.next_chunk)));
        }
        if usize::from(chunk.slots) > CHUNK_MESSAGES_MAX {
            return Err(Wrong::Line(format!("a chunk has at most {CHUNK_MESSAGES_MAX} messages")));
        }
        self.next_chunk += 1;
        if chunk.number.is_multiple_of(RANGE_CHUNKS) && chunk.number > 0 && chunk.number > self.registry.floor {
            let filter = keys::filter(&mut std::mem::take(&mut self.range));
            let range = chunk.number / RANGE_CHUNKS - 1;
            self.put(Tree::Keys, &range.to_be_bytes(), &filter)?;
        }
        let body = chunk.made_at.0.to_be_bytes().to_vec();
        let (number, slots) = (chunk.number, usize::from(chunk.slots));
        self.filling = Some(Filling { number, slots, body, stat: Stat::new(chunk.made_at), last: None });
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<(), Wrong> {
        let filling = self.filling.as_mut().ok_or_else(|| said("a message stands within a chunk"))?;
        let slot = usize::from(message.slot);
        if slot < filling.stat.len() || slot >= filling.slots {
            return Err(said("its slot is not the next one of its chunk"));
        }
        if message.revision == 0 {
            return Err(said("a message has a body at least"));
        }
        if !self.names.contains(&message.destination) {
            return Err(Wrong::Line(format!("there is no destination {}", message.destination)));
        }
        filling.pad(slot);
        let place = Place::new(filling.number, message.slot);
        let envelope = &message.envelope;
        let is_own = message.id.accepted_at() == filling.stat.made_at();
        let slot = Slot {
            state: message.state,
            flags: Flags {
                attempts: !message.tried.is_empty(),
                deadline: envelope.deadline.is_some(),
                untold: message.untold,
                alias: message.id.place() != place,
                behind: message.behind,
                ..Flags::default()
            },
            hour: hour(envelope.not_before, message.state, is_own),
            attempts: message.attempts,
            series: message.series,
            revision: message.revision,
            dest: Dest(message.destination),
            last: message.last,
            updated_at: message.updated_at,
            arrival: message.arrival,
            key_hash: envelope.key.as_deref().map_or(0, key_hash),
            idempotency_hash: envelope.idempotency_key.as_deref().map_or(0, idempotency_hash),
            body_bytes: message.body_bytes,
        };
        self.done.messages += 1;
        self.coming = Some(Coming { place, message, slot, bodies: 0 });
        Ok(())
    }

    fn body(&mut self, body: Bytes) -> Result<(), Wrong> {
        let mut coming = self.coming.take().ok_or_else(|| said("a body follows its message"))?;
        let number = coming.bodies + 1;
        if body.number != number || number > coming.slot.revision || (number > 1) != body.edit.is_some() {
            return Err(Wrong::Line(format!("body {number} of {} is expected", coming.slot.revision)));
        }
        coming.bodies = number;
        self.done.bodies += 1;
        let (bytes, edit) = body.parts().map_err(Wrong::Line)?;
        coming.slot.flags.bodiless = bytes.is_none();
        match edit {
            None => self.first(&mut coming, bytes.map(Body::from))?,
            Some(edit) => {
                let body_bytes = bytes.as_ref().map_or(0, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                let (at, who, why, content_type) = (edit.at, edit.who, edit.why, edit.content_type);
                let edit = Edit { at, who, why, content_type, body_bytes, kept: Kept::Inline };
                let (row, in_parts) = edit_row(edit, bytes.as_deref())?;
                if in_parts {
                    self.parts(&mut coming, number, bytes.as_deref().unwrap_or_default())?;
                }
                self.put(Tree::Over, &numbered_key(coming.place, number), &row)?;
            }
        }
        self.coming = Some(coming);
        Ok(())
    }

    /// What lies in the chunk of a message.
    fn first(&mut self, coming: &mut Coming, body: Option<Body>) -> Result<(), Wrong> {
        let Message { id, supersedes, ref envelope, .. } = coming.message;
        let mut fixed = Vec::new();
        encode(&Fixed { id, supersedes, envelope: envelope.clone() }, &mut fixed)?;
        let fixed_in_parts = fixed.len() > FIXED_BYTES_MAX;
        if fixed_in_parts {
            self.parts(coming, 0, &fixed)?;
            fixed.clear();
        }
        let Some(filling) = &self.filling else { return Ok(()) };
        let room = ROW_BYTES_MAX.checked_sub(filling.body.len() + ENTRY_BYTES + fixed.len());
        let room = room.ok_or_else(|| said("more stands in its chunk than one can hold"))?;
        let laid = match &body {
            Some(body) => Laid::of(body, room, filling.last.as_ref()),
            None => Laid::REMOVED,
        };
        let bytes = body.unwrap_or_default();
        if laid.needs_parts() {
            self.parts(coming, 1, &bytes)?;
        }
        coming.slot.flags.parts |= laid.kept == Kept::Parts;
        if let Some(filling) = &mut self.filling {
            laid.entry(&fixed, fixed_in_parts, &bytes).write(&mut filling.body);
            filling.last = laid.last(coming.place.slot(), &bytes, filling.last.take());
        }
        Ok(())
    }

    /// What is left to write of the message that has come whole.
    fn settle(&mut self) -> Result<(), Wrong> {
        let Some(Coming { place, message, slot, bodies }) = self.coming.take() else { return Ok(()) };
        if bodies != slot.revision {
            return Err(Wrong::Line(format!("body {} of {} is expected", bodies + 1, slot.revision)));
        }
        for attempt in message.tried.into_iter().map(Tried::attempt) {
            self.put(Tree::Att, &numbered_key(place, attempt.number), &encode_attempt(&attempt)?)?;
        }
        if slot.flags.alias {
            self.put(Tree::Alias, &message.id.to_bytes(), &place_key(place))?;
        }
        if slot.key_hash != 0 {
            self.range.push(slot.key_hash);
        }
        self.fresh.message(place, &slot);
        if let Some(filling) = &mut self.filling {
            filling.stat.push(&slot);
        }
        Ok(())
    }

    /// Writes the chunk that has come whole.
    fn close(&mut self) -> Result<(), Wrong> {
        self.settle()?;
        let Some(mut filling) = self.filling.take() else { return Ok(()) };
        filling.pad(filling.slots);
        if filling.stat.is_empty() {
            filling.stat.clear();
        }
        if filling.body.len() > ROW_BYTES_MAX {
            return Err(said("more stands in the chunk before than one can hold"));
        }
        Ok(self.fresh.chunk(filling.number, Some((self.registry.commit, &filling.body)), &filling.stat)?)
    }

    fn put(&mut self, tree: Tree, key: &[u8], body: &[u8]) -> Result<(), Wrong> {
        if body.len() > ROW_BYTES_MAX {
            return Err(said("it has more than a row can hold"));
        }
        Ok(self.fresh.put(tree, key, self.registry.commit, body)?)
    }

    fn parts(&mut self, coming: &mut Coming, revision: u16, bytes: &[u8]) -> Result<(), Wrong> {
        coming.slot.flags.parts = true;
        for (number, piece) in (0..).zip(bytes.chunks(ROW_BYTES_MAX)) {
            self.put(Tree::Part, &part_key(coming.place, revision, number), piece)?;
        }
        Ok(())
    }
}

impl Filling {
    /// Lets all slots before this one that were not told of be those of deleted messages.
    fn pad(&mut self, slot: usize) {
        while self.stat.len() < slot {
            let number = u8::try_from(self.stat.len()).unwrap_or(u8::MAX);
            self.stat.push(&Slot::blank());
            self.stat.erase(number);
            Entry::ERASED.write(&mut self.body);
        }
    }
}

impl Slot {
    /// One that says nothing.
    fn blank() -> Slot {
        Slot {
            state: State::Queued(Queued::Ready),
            flags: Flags::default(),
            hour: Hour::default(),
            attempts: 0,
            series: 0,
            revision: 0,
            dest: Dest(0),
            last: Told::default(),
            updated_at: WallMs(0),
            arrival: None,
            key_hash: 0,
            idempotency_hash: 0,
            body_bytes: 0,
        }
    }
}

/// Why a line is not taken.
enum Wrong {
    /// What is wrong with it.
    Line(String),
    /// It cannot be written.
    Store(StoreError),
}

impl Wrong {
    fn at(self, lines: &Lines<'_>) -> StoreError {
        match self {
            Wrong::Line(what) => lines.wrong(what),
            Wrong::Store(error) => error,
        }
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Wrong {
        Wrong::Store(error)
    }
}

fn said(what: &str) -> Wrong {
    Wrong::Line(what.to_owned())
}
