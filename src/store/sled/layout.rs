//! The rows: what lies under which key, byte by byte.
//!
//! | tree     | key (big-endian)           | body of the row                                            | written |
//! |----------|----------------------------|------------------------------------------------------------|---------|
//! | `chunk`  | chunk 8                    | made at 8, then up to 64 [entries](super::entry::Entry)                  | once; rewritten by erasure |
//! | `stat`   | chunk 8                    | made at 8, then a [slot](super::slot::Slot) a message      | with the chunk, and once per commit that changes it |
//! | `open`   | chunk 8                    | nothing                                                    | while a message of the chunk is not final |
//! | `bad`    | place 8                    | nothing                                                    | while abandoned, but for superseded |
//! | `untold` | place 8                    | nothing                                                    | until a person was told |
//! | `att`    | place 8, attempt 2         | the attempt, then its remote id where it has one           | failed attempts and those with a remote id, the last 16 |
//! | `over`   | place 8, revision 2        | an [`Edit`] and its body                                   | with an edit |
//! | `part`   | place 8, revision 2, part 2| a piece of a body; revision 0: of an envelope              | what is too big for its row |
//! | `alias`  | id 16                      | place 8                                                    | ids that were given elsewhere |
//! | `keys`   | range 8                    | a Bloom filter over the keys of 256 chunks                 | once, when the range is full |
//! | `note`   | the note's own             | the note                                                   | pauses, fences, what messages wait for: see the engine |
//! | `meta`   | `c` group 2, `d` number 2  | counters and the head; the name of a destination           | one a commit; rare |
//!
//! Every row but the three markers is framed: magic, tree, key, commit, length, body, check sum. So a row can be trusted by itself,
//! and found again in a file that the storage engine refuses. A number that only the registry knows is mixed into the check sum: bytes that a sender
//! wrote into a body are never taken for a row.
//!
//! # What it does not know
//!
//! sled. Here are bytes only.

use std::io;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Attempt, Envelope, Id, Place, WallMs, codec};
use crate::store::StoreError;

/// The format of a registry. A registry of a higher one is refused before anything is written. Since 3, messages of a chunk may share a body.
pub(super) const FORMAT: u32 = 3;
/// The oldest format whose rows read as they do in this one.
pub(super) const FORMAT_OLDEST: u32 = 2;
/// The most bytes of a chunk, an edit or a part. sled keeps up to 19 rows in a page, and a page of more than a quarter segment (512 KiB) becomes a
/// file of its own that nothing ever syncs; so this must stay under 27,000.
pub(super) const ROW_BYTES_MAX: usize = 17_400;
/// The most messages of a chunk.
pub(super) const CHUNK_MESSAGES_MAX: usize = 64;
/// The most failed attempts that are kept of a message.
pub(super) const ATTEMPTS_MAX: u16 = 16;
/// No row's body is longer: an edit with the longest words, by far.
const BODY_BYTES_MAX: usize = 4 << 20;
/// How many chunks share one row of `keys`.
pub(super) const RANGE_CHUNKS: u64 = 256;
/// How many destinations share one row of counters.
pub(super) const GROUP_DESTS: u16 = 32;

pub(super) const MAGIC: [u8; 3] = [0x9b, b'g', b'n'];
const HEAD_BYTES: usize = 3 + 1 + 1;
/// The most bytes of a row with its frame.
pub(super) const FRAMED_BYTES_MAX: usize = HEAD_BYTES + 255 + 12 + BODY_BYTES_MAX + SUM_BYTES;
/// The bytes of the check sum that ends a row.
pub(super) const SUM_BYTES: usize = 4;

/// The trees, by the number that stands in their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Tree {
    Chunk = 1,
    Stat = 2,
    Open = 3,
    Bad = 4,
    Untold = 5,
    Att = 6,
    Over = 7,
    Part = 8,
    Alias = 9,
    Keys = 10,
    Meta = 11,
    Note = 12,
}

impl Tree {
    pub(super) const ALL: [Tree; 12] = [
        Tree::Chunk,
        Tree::Stat,
        Tree::Open,
        Tree::Bad,
        Tree::Untold,
        Tree::Att,
        Tree::Over,
        Tree::Part,
        Tree::Alias,
        Tree::Keys,
        Tree::Meta,
        Tree::Note,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Tree::Chunk => "chunk",
            Tree::Stat => "stat",
            Tree::Open => "open",
            Tree::Bad => "bad",
            Tree::Untold => "untold",
            Tree::Att => "att",
            Tree::Over => "over",
            Tree::Part => "part",
            Tree::Alias => "alias",
            Tree::Keys => "keys",
            Tree::Meta => "meta",
            Tree::Note => "note",
        }
    }

    /// The place in [`Tree::ALL`].
    pub(super) fn index(self) -> usize {
        usize::from(self.number()) - 1
    }

    fn number(self) -> u8 {
        #[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum of u8")]
        {
            self as u8
        }
    }

    fn of(number: u8) -> Option<Tree> {
        Tree::ALL.into_iter().find(|tree| tree.number() == number)
    }
}

/// A row as it lies in a tree, its check sum verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// The commit that wrote it.
    pub(super) commit: u64,
    /// What it holds.
    pub(super) body: &'a [u8],
}

/// What closes the rows of one registry: the salt of their check sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal(pub(super) u32);

impl Seal {
    /// Frames a row.
    pub(super) fn frame(self, tree: Tree, key: &[u8], commit: u64, body: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(HEAD_BYTES + key.len() + 12 + body.len() + SUM_BYTES);
        row.extend_from_slice(&MAGIC);
        row.push(tree.number());
        row.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        row.extend_from_slice(key);
        row.extend_from_slice(&commit.to_be_bytes());
        row.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        row.extend_from_slice(body);
        codec::seal(&mut row, self.0);
        row
    }

    /// The row under `key`, if these bytes are it.
    pub(super) fn unframe<'a>(self, tree: Tree, key: &[u8], bytes: &'a [u8]) -> Result<Row<'a>, StoreError> {
        match self.carve(bytes) {
            Some(carved) if carved.tree == tree && carved.key == key && carved.bytes == bytes.len() => Ok(carved.row),
            Some(carved) => Err(damaged(tree, key, &format!("another row lies in its place ({})", carved.tree.name()))),
            None => Err(damaged(tree, key, "its check sum does not hold")),
        }
    }

    /// The row that begins where `bytes` begins, if one does and is whole.
    pub(super) fn carve(self, bytes: &[u8]) -> Option<Carved<'_>> {
        let (carved, whole) = shape(bytes)?;
        codec::open(whole, self.0).ok()?;
        Some(carved)
    }

    /// The seal that would make a row of what begins where `bytes` begins, and how many bytes it takes.
    pub(super) fn of(bytes: &[u8]) -> Option<(Seal, usize)> {
        let (carved, whole) = shape(bytes)?;
        codec::salt_of(whole).map(|salt| (Seal(salt), carved.bytes))
    }
}

/// A row found at the beginning of a stretch of bytes.
pub(super) struct Carved<'a> {
    pub(super) tree: Tree,
    pub(super) key: &'a [u8],
    pub(super) row: Row<'a>,
    /// How many bytes it takes.
    pub(super) bytes: usize,
}

/// What has the shape of a row where `bytes` begins, and all its bytes; the check sum is not looked at.
fn shape(bytes: &[u8]) -> Option<(Carved<'_>, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (&tree, rest) = rest.split_first()?;
    let tree = Tree::of(tree)?;
    let (&key_bytes, rest) = rest.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(key_bytes))?;
    let mut cursor = Cursor(rest);
    let commit = cursor.u64()?;
    let body_bytes = usize::try_from(cursor.u32()?).ok().filter(|bytes| *bytes <= BODY_BYTES_MAX)?;
    let body = cursor.take(body_bytes)?;
    let whole = bytes.len() - cursor.0.len() + SUM_BYTES;
    Some((Carved { tree, key, row: Row { commit, body }, bytes: whole }, bytes.get(..whole)?))
}

/// The error that names a row.
pub(super) fn damaged(tree: Tree, key: &[u8], what: &str) -> StoreError {
    StoreError::Damaged(format!("{}: {what}", name(tree, key)))
}

/// A row's name for people.
pub(super) fn name(tree: Tree, key: &[u8]) -> String {
    let number = Cursor(key).u64().unwrap_or(0);
    let place = Place::from_u64(number);
    match tree {
        Tree::Chunk => format!("the messages of chunk {number}"),
        Tree::Stat => format!("the status of chunk {number}"),
        Tree::Open | Tree::Keys => format!("row {number} of index {}", tree.name()),
        Tree::Bad | Tree::Untold => format!("the entry of message {place} in index {}", tree.name()),
        Tree::Att => format!("an attempt of message {place}"),
        Tree::Over => format!("an edit of message {place}"),
        Tree::Part => format!("a part of the body of message {place}"),
        Tree::Alias => "the place of an id given elsewhere".to_owned(),
        Tree::Note => format!("the note {:?}", key.escape_ascii().to_string()),
        Tree::Meta => format!("the head of the registry ({:?})", key.escape_ascii().to_string()),
    }
}

/// The key of a message's own row or marker.
pub(super) fn place_key(place: Place) -> [u8; 8] {
    place.to_u64().to_be_bytes()
}

/// How the keys of all places of a chunk begin: a place ends with its slot.
pub(super) fn chunk_prefix(key: &[u8; 8]) -> &[u8] {
    let (_slot, chunk) = key.split_last().unwrap_or((&0, key));
    chunk
}

/// The key of an attempt or an edit: the place, then a number.
pub(super) fn numbered_key(place: Place, number: u16) -> [u8; 10] {
    let mut key = [0; 10];
    let (head, tail) = key.split_at_mut(8);
    head.copy_from_slice(&place_key(place));
    tail.copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of a part.
pub(super) fn part_key(place: Place, revision: u16, part: u16) -> [u8; 12] {
    let mut key = [0; 12];
    let (head, tail) = key.split_at_mut(10);
    head.copy_from_slice(&numbered_key(place, revision));
    tail.copy_from_slice(&part.to_be_bytes());
    key
}

/// The key of a row of counters.
pub(super) fn group_key(group: u16) -> [u8; 3] {
    let [high, low] = group.to_be_bytes();
    [b'c', high, low]
}

/// The key of a destination's name.
pub(super) fn dest_key(dest: u16) -> [u8; 3] {
    let [high, low] = dest.to_be_bytes();
    [b'd', high, low]
}

/// Appends a value; the registry's format says how.
pub(super) fn encode<T: Serialize>(value: &T, into: &mut Vec<u8>) -> Result<(), StoreError> {
    match codec::write(value, into) {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Io(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))),
    }
}

/// The value of these bytes, all of them.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::read(bytes).ok().filter(|(_, read)| *read == bytes.len()).map(|(value, _)| value)
}

/// The row of an attempt. Behind it stands what the destination calls the message, where it says so; and behind that the phases, before which nothing
/// stands for no name.
pub(super) fn encode_attempt(attempt: &Attempt) -> Result<Vec<u8>, StoreError> {
    let mut row = Vec::new();
    encode(attempt, &mut row)?;
    let name = attempt.remote_id.as_deref().or(attempt.phases.map(|_| ""));
    if let Some(name) = name {
        encode(&name, &mut row)?;
    }
    if let Some(phases) = &attempt.phases {
        encode(phases, &mut row)?;
    }
    Ok(row)
}

/// An edit's head: its length in 4 bytes, then the edit.
pub(super) fn encode_edit(edit: &Edit, into: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut head = Vec::new();
    encode(edit, &mut head)?;
    into.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(&head);
    Ok(())
}

/// The row of an edit, and whether its body has to lie in parts. Without a body it was removed.
pub(super) fn edit_row(mut edit: Edit, body: Option<&[u8]>) -> Result<(Vec<u8>, bool), StoreError> {
    let mut row = Vec::new();
    let Some(body) = body else {
        edit.kept = Kept::Removed;
        encode_edit(&edit, &mut row)?;
        return Ok((row, false));
    };
    edit.kept = Kept::Inline;
    encode_edit(&edit, &mut row)?;
    if row.len() + body.len() <= ROW_BYTES_MAX {
        row.extend_from_slice(body);
        return Ok((row, false));
    }
    edit.kept = Kept::Parts;
    row.clear();
    encode_edit(&edit, &mut row)?;
    Ok((row, true))
}

/// What is fixed of a message, as a chunk holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fixed {
    pub(super) id: Id,
    /// The message whose place it took.
    pub(super) supersedes: Option<Place>,
    pub(super) envelope: Envelope,
}

/// An edit, as `over` holds it: what precedes the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edit {
    pub(super) at: WallMs,
    pub(super) who: String,
    pub(super) why: String,
    /// The content type that holds from this revision on.
    pub(super) content_type: Option<Arc<str>>,
    pub(super) body_bytes: u32,
    pub(super) kept: Kept,
}

/// Where a body lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kept {
    /// Behind its row's head.
    Inline,
    /// In parts.
    Parts,
    /// Nowhere any more.
    Removed,
}

/// Reads numbers from the front of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
