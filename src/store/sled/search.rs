//! Search: the rows of a registry in a raw file, wherever in it they lie and whatever lies between them.
//!
//! # What holds
//!
//! * Memory grows with the keys found, not with the file: a row's body stays where it lies, and is read again when it is wanted.
//! * Only the newest row of a key counts.
//! * What bears the shape of a row and another seal is none. Where nobody knows the seal any more, it is the one that closes most of the file: what
//!   a sender wrote lies inside of what we wrote, so it is always less.
//!
//! # What it does not know
//!
//! sled's own format, and what the rows say.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::layout::{FRAMED_BYTES_MAX, MAGIC, ROW_BYTES_MAX, SUM_BYTES, Seal, Tree};

/// A tree and a key in it.
pub(super) type Key = (Tree, Vec<u8>);

/// How much of the file is looked at at a time.
const WINDOW_BYTES: usize = 4 * FRAMED_BYTES_MAX;
/// How often it is said how far the search has come.
const PROGRESS_BYTES: u64 = 1 << 30;
/// What is longer does not vote: the check sums of very long rows that are none would take very long.
const VOTER_BYTES_MAX: usize = 2 * ROW_BYTES_MAX;
/// A seal that closes so much is trusted to say where its rows end.
const TRUSTED_BYTES: u64 = 1 << 20;
/// How many seals are in the running at a time.
const SEALS_MAX: usize = 1 << 20;

/// Where a row's body lies.
#[derive(Debug, Clone, Copy)]
struct Lies {
    commit: u64,
    at: u64,
    bytes: usize,
}

/// The newest row of each key in a file.
pub(super) struct Found {
    file: File,
    rows: BTreeMap<Key, Lies>,
    /// How many rows claim a commit that never was.
    pub(super) strange: u64,
}

impl Found {
    /// Searches the file; a row of a commit above `commit_max` is none of ours.
    pub(super) fn newest(file: File, seal: Option<Seal>, commit_max: u64) -> io::Result<Found> {
        let mut found = Found { file, rows: BTreeMap::new(), strange: 0 };
        if let Some(seal) = seal {
            found.search(seal, commit_max)?;
        }
        // The seal is lost, or what tells of it is broken: then it closes nothing.
        if found.rows.is_empty()
            && let Some(voted) = vote(&found.file)?
        {
            found.search(voted, commit_max)?;
        }
        Ok(found)
    }

    fn search(&mut self, seal: Seal, commit_max: u64) -> io::Result<()> {
        let (rows, strange) = (&mut self.rows, &mut self.strange);
        scan(&self.file, |at, rest| {
            let carved = seal.carve(rest)?;
            let (commit, bytes) = (carved.row.commit, carved.row.body.len());
            let key = (carved.tree, carved.key.to_vec());
            if commit > commit_max {
                *strange += 1;
            } else if rows.get(&key).is_none_or(|older| older.commit <= commit) {
                let before = u64::try_from(carved.bytes - SUM_BYTES - bytes).unwrap_or(0);
                let _older = rows.insert(key, Lies { commit, at: at + before, bytes });
            }
            Some(carved.bytes)
        })
    }

    /// The commit and the body of the row under a key.
    pub(super) fn row(&self, tree: Tree, key: &[u8]) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.rows.get(&(tree, key.to_vec())).map(|lies| self.read(*lies)).transpose()
    }

    /// The rows of a tree whose keys begin with `prefix`, in rising order: keys, commits and bodies.
    pub(super) fn under(&self, tree: Tree, prefix: &[u8]) -> impl Iterator<Item = io::Result<(&[u8], u64, Vec<u8>)>> {
        let rows = self.rows.range((tree, prefix.to_vec())..);
        rows.take_while(move |((at, key), _)| *at == tree && key.starts_with(prefix)).map(|((_, key), lies)| {
            let (commit, body) = self.read(*lies)?;
            Ok((key.as_slice(), commit, body))
        })
    }

    /// The keys and the commits of all rows.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Tree, &[u8], u64)> {
        self.rows.iter().map(|((tree, key), lies)| (*tree, key.as_slice(), lies.commit))
    }

    fn read(&self, lies: Lies) -> io::Result<(u64, Vec<u8>)> {
        let mut body = vec![0; lies.bytes];
        let mut file = &self.file;
        let _at = file.seek(SeekFrom::Start(lies.at))?;
        file.read_exact(&mut body)?;
        Ok((lies.commit, body))
    }
}

/// Shows `each` every place where a row may begin, with all that a row can take from there; it says how long the row is, if it is one.
fn scan(mut file: &File, mut each: impl FnMut(u64, &[u8]) -> Option<usize>) -> io::Result<()> {
    let whole = file.seek(SeekFrom::End(0))?;
    let _at = file.seek(SeekFrom::Start(0))?;
    let (mut window, mut base, mut at, mut is_end) = (Vec::new(), 0_u64, 0_usize, false);
    loop {
        if !is_end && window.len() - at < FRAMED_BYTES_MAX {
            let _looked_at = window.drain(..at);
            drop(_looked_at);
            let before = base;
            base += u64::try_from(at).unwrap_or(0);
            at = 0;
            let room = WINDOW_BYTES - window.len();
            is_end = file.take(u64::try_from(room).unwrap_or(0)).read_to_end(&mut window)? < room;
            if base / PROGRESS_BYTES > before / PROGRESS_BYTES {
                log::info!("searched {} of {} MB for rows", base / 1_000_000, whole / 1_000_000);
            }
        }
        let rest = window.get(at..).unwrap_or(&[]);
        match rest.iter().position(|byte| *byte == MAGIC[0]) {
            Some(0) => at += each(base + u64::try_from(at).unwrap_or(0), rest).unwrap_or(1),
            Some(bytes) => at += bytes,
            None if is_end => return Ok(()),
            None => at = window.len(),
        }
    }
}

/// The seal that closes most of the file, if any closes two rows.
fn vote(file: &File) -> io::Result<Option<Seal>> {
    /// What a seal closes: how many rows that do not overlap, their bytes, and where the last one ends.
    #[derive(Default)]
    struct Closes {
        rows: u64,
        bytes: u64,
        end: u64,
    }
    let mut seals: HashMap<u32, Closes> = HashMap::new();
    scan(file, |at, rest| {
        let (Seal(salt), bytes) = Seal::of(rest).filter(|(_, bytes)| *bytes <= VOTER_BYTES_MAX)?;
        if seals.len() >= SEALS_MAX {
            seals.retain(|_, closes| closes.rows > 1);
        }
        let closes = seals.entry(salt).or_default();
        if at >= closes.end {
            let more = u64::try_from(bytes).unwrap_or(0);
            *closes = Closes { rows: closes.rows + 1, bytes: closes.bytes + more, end: at + more };
        }
        (closes.bytes > TRUSTED_BYTES).then_some(bytes)
    })?;
    let most = seals.into_iter().filter(|(_, closes)| closes.rows > 1).max_by_key(|(_, closes)| closes.bytes);
    Ok(most.map(|(salt, _)| Seal(salt)))
}
