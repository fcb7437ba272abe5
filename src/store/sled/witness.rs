//! The witness: a file outside sled that remembers which commit was the last to be durable.
//!
//! sled recovers from a cut or damaged log by leaving out the end of it, and says nothing. So the number of the last synced commit is written here
//! after each sync, in two slots by turns, and compared at every start: what sled recovered may be ahead of the witness, never behind.
//!
//! # What holds
//!
//! * A torn write spoils one slot and leaves the other.
//! * The file itself is synced at a clean stop only: after a power cut it may lag, never lead.
//!
//! # What it does not know
//!
//! What a commit is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::Cursor;
use crate::model::codec;

const MAGIC: [u8; 8] = *b"gnwitns1";
const SLOT_BYTES: usize = 28;
/// Apart by a page and more, so that no torn page spoils both.
const SLOT_OFFSETS: [u64; 2] = [0, 8192];

/// The open file.
pub(super) struct Witness {
    file: File,
    turn: u64,
}

/// What the file said when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Testimony {
    /// This commit was durable.
    Commit(u64),
    /// There is no file.
    Missing,
    /// There is one, and neither slot is whole.
    Broken,
}

impl Witness {
    /// Reads the file, if it is there.
    pub(super) fn read(path: &Path) -> io::Result<Testimony> {
        match File::open(path) {
            Ok(file) => Ok(newest(&file)?.map_or(Testimony::Broken, |(_, commit)| Testimony::Commit(commit))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Testimony::Missing),
            Err(error) => Err(error),
        }
    }

    /// Opens the file for writing, and makes it where it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Witness> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let turn = newest(&file)?.map_or(0, |(turn, _)| turn);
        Ok(Witness { file, turn })
    }

    /// Remembers that this commit is durable.
    pub(super) fn write(&mut self, commit: u64) -> io::Result<()> {
        self.turn += 1;
        let mut slot = MAGIC.to_vec();
        slot.extend_from_slice(&self.turn.to_be_bytes());
        slot.extend_from_slice(&commit.to_be_bytes());
        codec::seal(&mut slot, codec::NO_SALT);
        let offset = if self.turn.is_multiple_of(2) { SLOT_OFFSETS[0] } else { SLOT_OFFSETS[1] };
        self.file.write_all_at(&slot, offset)
    }

    /// Makes the file itself durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn newest(file: &File) -> io::Result<Option<(u64, u64)>> {
    let mut best = None;
    for offset in SLOT_OFFSETS {
        let mut slot = [0; SLOT_BYTES];
        match file.read_exact_at(&mut slot, offset) {
            Ok(()) => best = best.max(parse(&slot)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(best)
}

fn parse(slot: &[u8; SLOT_BYTES]) -> Option<(u64, u64)> {
    let mut cursor = Cursor(codec::open(slot, codec::NO_SALT).ok()?.strip_prefix(&MAGIC)?);
    Some((cursor.u64()?, cursor.u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_speaks() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("witness");
        assert_eq!(Witness::read(&path).expect("reads"), Testimony::Missing);
        let mut witness = Witness::open(&path).expect("opens");
        for commit in [3, 5, 9] {
            witness.write(commit).expect("writes");
        }
        assert_eq!(Witness::read(&path).expect("reads"), Testimony::Commit(9));
        // The third write went to the second slot; a tear there leaves the word of the second write.
        witness.file.write_all_at(b"torn", SLOT_OFFSETS[1] + 8).expect("tears");
        assert_eq!(Witness::read(&path).expect("reads"), Testimony::Commit(5));
        witness.file.write_all_at(b"torn", SLOT_OFFSETS[0] + 8).expect("tears");
        assert_eq!(Witness::read(&path).expect("reads"), Testimony::Broken);
    }
}
