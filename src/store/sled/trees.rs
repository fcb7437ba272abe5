//! The trees of one open sled database, and the only calls into sled and its collector.
//!
//! # What holds
//!
//! * A panic inside sled, which is what damage often looks like there, becomes [`StoreError::Damaged`] here.
//! * Every write goes through [`Trees::apply`]: one transaction over all trees, then `flush()`. That is atomic, and durable where the log is
//!   written through ([`super::through`]).
//! * The collector of epochs is driven after every write. Left alone, it lets memory grow without a bound.
//!
//! # What it does not know
//!
//! What the rows mean.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{IVec, Transactional};

use super::layout::{Row, SUM_BYTES, Seal, Tree, damaged};
use super::recent::{Recent, Verified};
use super::through::write_through;
use crate::store::StoreError;

/// Fixed when a database is made. A page is at most 19 rows and must stay under a quarter of it.
const SEGMENT_BYTES: usize = 2 << 20;
/// How many rows are written or read for each time the collector is driven.
const ROWS_PER_COLLECTION: usize = 32;

/// Threads of sled's outlive the handle that was dropped for a moment, and hold its lock: 5 s. That no other process has the registry is known
/// from the registry's own lock.
const LOCK_TRIES_MAX: u32 = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Where sled keeps its log.
const DB: &str = "db";
/// Where sled keeps its parameters.
const CONF: &str = "conf";

/// One open database.
pub(super) struct Trees {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    recent: Mutex<Recent>,
    seal: Seal,
    is_through: bool,
}

/// Why a transaction was not applied.
#[derive(Debug)]
pub(super) struct Unapplied {
    pub(super) error: StoreError,
    /// Whether rows may have been written, or nothing can be written any more: then nobody can know what of them stands until the database was opened again.
    pub(super) is_begun: bool,
}

impl From<Unapplied> for StoreError {
    fn from(unapplied: Unapplied) -> StoreError {
        unapplied.error
    }
}

/// Rows by their keys as a transaction found them; `None` where there was none.
pub(super) type Replaced = Vec<(IVec, Option<IVec>)>;

/// What one transaction writes: the last word on each key counts.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<(Tree, IVec), Option<IVec>>);

impl Writes {
    pub(super) fn put(&mut self, tree: Tree, key: &[u8], row: Vec<u8>) {
        let _before = self.0.insert((tree, IVec::from(key)), Some(IVec::from(row)));
    }

    pub(super) fn remove(&mut self, tree: Tree, key: &[u8]) {
        let _before = self.0.insert((tree, IVec::from(key)), None);
    }

    /// Whether a row is to be put under this key.
    pub(super) fn puts(&self, tree: Tree, key: &[u8]) -> bool {
        matches!(self.0.get(&(tree, IVec::from(key))), Some(Some(_)))
    }

    /// Takes back what was to be put under keys that begin with `prefix`.
    pub(super) fn take_back(&mut self, tree: Tree, prefix: &[u8]) {
        let from = (tree, IVec::from(prefix));
        for ((_, _), row) in
            self.0.range_mut(from..).take_while(|((at, key), _)| *at == tree && key.starts_with(prefix))
        {
            *row = None;
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.0.len()
    }
}

impl Trees {
    /// Opens, or makes, the database in this directory.
    pub(super) fn open(path: &Path, seal: Seal, cache_bytes: u64) -> Result<Trees, StoreError> {
        sweep(path)?;
        let mut tries = 0;
        let trees = loop {
            match Trees::try_open(path, seal, cache_bytes) {
                Err(StoreError::Locked { .. }) if tries < LOCK_TRIES_MAX => {
                    tries += 1;
                    // sled's threads give no sign when they are done.
                    std::thread::sleep(LOCK_PAUSE);
                }
                other => break other?,
            }
        };
        settle(path).map_err(super::open::disk)?;
        let is_through = write_through(&path.join(DB)).map_err(super::open::disk)?;
        if !is_through {
            log::warn!(
                "{} cannot be written through (attribute S of ext4, xfs, btrfs, f2fs): a power cut can damage the registry",
                path.display()
            );
        }
        Ok(Trees { is_through, ..trees })
    }

    /// What closes the rows.
    pub(super) fn seal(&self) -> Seal {
        self.seal
    }

    /// Whether what is flushed is durable.
    pub(super) fn is_through(&self) -> bool {
        self.is_through
    }

    fn try_open(path: &Path, seal: Seal, cache_bytes: u64) -> Result<Trees, StoreError> {
        guard("opening the database", || {
            let db = sled::Config::new()
                .path(path)
                .cache_capacity(cache_bytes)
                .segment_size(SEGMENT_BYTES)
                // Every commit flushes; a flush of its own accord could only fail where nobody hears it.
                .flush_every_ms(None)
                .open()?;
            let trees = Tree::ALL.iter().map(|tree| db.open_tree(tree.name())).collect::<Result<_, _>>()?;
            Ok(Trees { db, trees, recent: Mutex::default(), seal, is_through: false })
        })
    }

    /// Lets go of the database. A panic while it does so is of no further consequence.
    pub(super) fn shut(self) {
        let _outcome = catch_unwind(AssertUnwindSafe(|| {
            drop(self.trees);
            drop(self.db);
        }));
    }

    /// Applies the writes as one.
    ///
    /// # Errors
    /// [`Unapplied`] says whether anything was begun.
    pub(super) fn apply(&self, writes: &Writes) -> Result<(), Unapplied> {
        self.replace(writes).1
    }

    /// The same; gives the notes that it replaces as they were, also where it fails.
    pub(super) fn replace(&self, writes: &Writes) -> (Replaced, Result<(), Unapplied>) {
        self.recent().forget(|tree, chunk| writes.0.contains_key(&(tree, IVec::from(&chunk.to_be_bytes()))));
        // The transaction reads what it replaces, key by key, and writes only when all of that is known.
        let (is_begun, replaced) = (Cell::new(false), RefCell::new(Replaced::new()));
        let applied = guard("writing", || {
            let outcome = self.trees.as_slice().transaction(|trees| {
                let tree = |tree: Tree| {
                    trees.get(tree.index()).ok_or(ConflictableTransactionError::Storage(sled::Error::ReportableBug(
                        "a tree is missing".into(),
                    )))
                };
                for ((at, key), row) in &writes.0 {
                    // Every commit writes the head: where that is broken, none can.
                    is_begun.set(*at == Tree::Meta);
                    let before = match row {
                        Some(row) => tree(*at)?.insert(key, row)?,
                        None => tree(*at)?.remove(key)?,
                    };
                    if *at == Tree::Note {
                        replaced.borrow_mut().push((key.clone(), before));
                    }
                }
                is_begun.set(true);
                Ok::<(), ConflictableTransactionError<()>>(())
            });
            match outcome {
                Ok(()) => Ok(()),
                Err(TransactionError::Storage(error)) => Err(error),
                Err(TransactionError::Abort(())) => Ok(()),
            }
        });
        (replaced.take(), applied.map_err(|error| Unapplied { error, is_begun: is_begun.get() }))
    }

    /// Hands everything applied to the operating system.
    pub(super) fn flush(&self, rows: usize) -> Result<(), StoreError> {
        guard("flushing", || self.db.flush())?;
        for _ in 0..=rows / ROWS_PER_COLLECTION {
            collect();
        }
        Ok(())
    }

    /// The bytes under a key.
    pub(super) fn raw(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let tree_handle = self.tree(tree)?;
        guard("reading", || tree_handle.get(key)).map_err(|error| at(error, tree, key))
    }

    /// The framed row under a key, its check sum verified, through `each`.
    pub(super) fn row<T>(
        &self,
        tree: Tree,
        key: &[u8],
        each: impl FnOnce(Row<'_>) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.raw(tree, key)? else { return Ok(None) };
        let row = self.seal.unframe(tree, key, &bytes)?;
        each(row).map(Some).ok_or_else(|| damaged(tree, key, "it is not what it should be"))
    }

    /// The same for a row of a chunk, which is remembered: its neighbours will be asked for next.
    pub(super) fn chunk_row<T>(
        &self,
        tree: Tree,
        chunk: u64,
        each: impl FnOnce(Row<'_>) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let key = chunk.to_be_bytes();
        let known = self.recent().get(tree, chunk);
        let verified = match known {
            Some(verified) => verified,
            None => {
                let Some(bytes) = self.raw(tree, &key)? else { return Ok(None) };
                let row = self.seal.unframe(tree, &key, &bytes)?;
                let (commit, body) = (row.commit, bytes.len() - SUM_BYTES - row.body.len());
                let verified = Verified::new(commit, bytes, body);
                self.recent().put(tree, chunk, verified.clone());
                verified
            }
        };
        each(verified.row()).map(Some).ok_or_else(|| damaged(tree, &key, "it is not what it should be"))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows whose keys begin with `prefix`, in rising order.
    pub(super) fn under(&self, tree: Tree, prefix: &[u8]) -> Result<Walk, StoreError> {
        Ok(Walk { inner: self.tree(tree)?.scan_prefix(prefix), tree, seen: 0 })
    }

    /// The rows from `low` up to but without `high`.
    pub(super) fn between(&self, tree: Tree, low: u64, high: u64) -> Result<Walk, StoreError> {
        let inner = self.tree(tree)?.range(low.to_be_bytes()..high.to_be_bytes());
        Ok(Walk { inner, tree, seen: 0 })
    }

    fn tree(&self, tree: Tree) -> Result<&sled::Tree, StoreError> {
        self.trees.get(tree.index()).ok_or(StoreError::Closed)
    }
}

/// A walk over rows; [`Walk::back`] goes the other way.
pub(super) struct Walk {
    inner: sled::Iter,
    tree: Tree,
    seen: usize,
}

impl Walk {
    /// The next row in rising order.
    pub(super) fn forth(&mut self) -> Option<Result<(IVec, IVec), StoreError>> {
        self.step(|inner| inner.next())
    }

    /// The next row in falling order.
    pub(super) fn back(&mut self) -> Option<Result<(IVec, IVec), StoreError>> {
        self.step(|inner| inner.next_back())
    }

    fn step(
        &mut self,
        take: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(IVec, IVec)>>,
    ) -> Option<Result<(IVec, IVec), StoreError>> {
        self.seen += 1;
        if self.seen.is_multiple_of(ROWS_PER_COLLECTION) {
            collect();
        }
        let (inner, tree) = (&mut self.inner, self.tree);
        let taken = guard("reading", || take(inner).transpose());
        taken.map_err(|error| at(error, tree, b"")).transpose()
    }
}

/// Runs the collector of epochs once: a few bags of garbage are freed each time.
fn collect() {
    crossbeam_epoch::pin().flush();
}

/// Removes what a crash left and sled cannot live with: a torn snapshot, which it takes for a whole one; and parameters whose check sum
/// does not hold, which it reads all the same. It writes them anew, and ours never change. With either, it would refuse to open for ever.
fn sweep(path: &Path) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(StoreError::Io)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(StoreError::Io)?;
        }
        if name == CONF && !holds(&fs::read(entry.path()).map_err(StoreError::Io)?) {
            // Emptied and not removed: a crash before it is written anew must not leave a registry without the file.
            fs::File::create(entry.path()).map_err(super::open::disk)?;
        }
        if name == DB {
            // What a killed process wrote may lie in the page cache only. sled recovers it, and syncs a snapshot of it before it syncs the log
            // itself: a power cut in between would leave a snapshot of pages that are not there.
            fs::File::open(entry.path()).and_then(|db| db.sync_all()).map_err(super::open::disk)?;
            let _said_once_open = write_through(&entry.path()).map_err(super::open::disk)?;
        }
    }
    Ok(())
}

/// Whether these bytes end with the check sum of those before it.
fn holds(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(body, sum)| body.len() > 4 && crc32fast::hash(body) == u32::from_le_bytes(*sum))
}

/// Makes durable what sled wrote while it opened and syncs nowhere: its parameters, and the entries of the directory.
fn settle(path: &Path) -> std::io::Result<()> {
    fs::File::open(path.join(CONF))?.sync_all()?;
    fs::File::open(path)?.sync_all()
}

/// Calls sled, and turns its errors and its panics into ours.
fn guard<T>(doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(doing, error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            let first = text.lines().next().unwrap_or(text);
            Err(StoreError::Damaged(format!("the storage engine gave up while {doing}: {first}")))
        }
    }
}

fn translate(doing: &str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) if super::open::is_full(&source) => {
            StoreError::Full(format!("while {doing}: {source}"))
        }
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            StoreError::Locked { path: PathBuf::from("the database"), pid: None }
        }
        sled::Error::Io(source) => StoreError::Io(source),
        sled::Error::Corruption { .. } => {
            StoreError::Damaged(format!("the storage engine found broken pages while {doing}"))
        }
        sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_) => {
            StoreError::Damaged(format!("the storage engine failed while {doing}: {error}"))
        }
    }
}

/// Says which row an error of sled's was about.
fn at(error: StoreError, tree: Tree, key: &[u8]) -> StoreError {
    match error {
        StoreError::Damaged(what) if key.is_empty() => StoreError::Damaged(format!("tree {}: {what}", tree.name())),
        StoreError::Damaged(what) => damaged(tree, key, &what),
        StoreError::Full(_)
        | StoreError::Locked { .. }
        | StoreError::Foreign(_)
        | StoreError::Io(_)
        | StoreError::Poisoned(_)
        | StoreError::Closed => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_after_the_sweep_finds_the_file_of_parameters_still_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let (conf, torn) = (dir.path().join(CONF), dir.path().join("snap.0000000000000001.generating"));
        let whole = [b"parameters".as_slice(), &crc32fast::hash(b"parameters").to_le_bytes()].concat();
        std::fs::write(&torn, [1; 20]).expect("writes");
        // The control: what holds is left as it is.
        for (before, after) in [(whole.clone(), whole), (vec![0; 64], Vec::new()), (vec![0xff; 64], Vec::new())] {
            std::fs::write(&conf, &before).expect("writes");
            sweep(dir.path()).expect("sweeps");
            assert_eq!(std::fs::read(&conf).expect("a registry without it is refused"), after);
        }
        assert!(!torn.exists());
    }
}
