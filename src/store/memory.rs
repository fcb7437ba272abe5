//! The store without a disk of its own: ordered maps, and beneath them nothing, or a disk that forgets.
//!
//! For embedders that need no durability, [`MemoryStore::new`] keeps everything in memory and nothing else. For the simulator and for
//! tests, [`MemoryStore::open`] writes every commit to a [`MemoryDisk`], whose crashes lose, tear and reorder what was not synced, and reads it
//! back from there.
//!
//! # What holds
//!
//! * The contract of [`Store`]; `tests/store_conformance.rs` says so.
//! * A start recovers the longest prefix of whole records. If that is shorter than what was once synced, it refuses.
//! * The log stays within a few times the size of what it holds.
//!
//! # What it does not know
//!
//! Clocks, and who delivers.

mod change;
mod disk;
mod plan;
mod tables;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::change::{Change, Mark};
use self::tables::Tables;
use super::{
    Batch, CommitNo, Committed, Count, Dest, Loaded, Page, Query, Retained, Retention, Revision, Room, Store,
    StoreError, Unfinished,
};
use crate::model::{Attempt, Id, NodeTag, Place, Record, WallMs};

pub use self::disk::{DiskFault, MemoryDisk};

/// A log that is shorter is never rewritten, in bytes.
const COMPACT_BYTES_MIN: u64 = 64 << 10;

/// A [`Store`] in memory. See above.
#[derive(Debug)]
pub struct MemoryStore {
    tables: RwLock<Tables>,
    log: Mutex<Log>,
    closed: AtomicBool,
}

/// Where the log of this opening stands.
#[derive(Debug, Default)]
struct Log {
    disk: Option<MemoryDisk>,
    opening: u64,
    mark: Mark,
    /// The checksum of the last record.
    crc: u32,
    /// The size of the log when it was last rewritten, in bytes.
    compact_bytes: u64,
    /// Why nothing is written any more.
    poison: Option<String>,
}

impl MemoryStore {
    /// An empty store with nothing beneath it: it ends with the process. Its tag is drawn by chance, as every registry's is.
    #[must_use]
    pub fn new() -> MemoryStore {
        let [low, high, ..] = RandomState::new().hash_one(0).to_le_bytes();
        let tables = Tables::new(NodeTag::new(u16::from_le_bytes([low, high])));
        MemoryStore { tables: RwLock::new(tables), log: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// The store on this disk, as far as it survived; an empty one on an empty disk. An opening before it can write no more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where something is missing that was once synced.
    pub fn open(disk: &MemoryDisk) -> Result<MemoryStore, StoreError> {
        let (opening, image, witness) = disk.open();
        let mut tables = Tables::new(NodeTag::new(0));
        let mut log = Log { disk: Some(disk.clone()), opening, ..Log::default() };
        let mut rest = image.as_slice();
        while let Some(record) = change::decode(rest)?.filter(|record| log.is_next(record)) {
            (log.mark, log.crc) = (record.mark, record.crc);
            record.changes.into_iter().try_for_each(|change| tables.apply(change))?;
            rest = rest.get(record.bytes..).unwrap_or_default();
        }
        if log.mark < witness {
            let (first, last) = (log.mark.commit.saturating_add(1), witness.commit);
            let missing = if first <= last { format!("commits {first} to {last}") } else { "records".to_owned() };
            return Err(StoreError::Damaged(format!("{missing} are missing, which were once safe")));
        }
        // What lies behind the last whole record must not be there when the next one is written.
        log.rewrite(&tables)?;
        Ok(MemoryStore { tables: RwLock::new(tables), log: Mutex::new(log), closed: AtomicBool::new(false) })
    }

    /// Builds every index anew from the rows and compares.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where one differs.
    pub fn check(&self) -> Result<(), StoreError> {
        let tables = self.read()?;
        let (kept, implied) = (tables.index(), tables.reindexed());
        if *kept == implied {
            return Ok(());
        }
        Err(StoreError::Damaged(format!("an index does not follow from the rows: {kept:?} instead of {implied:?}")))
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Tables>, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        Ok(self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, Tables>, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        Ok(self.tables.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, place: Place, read: impl FnOnce(&tables::Row) -> T) -> Result<Option<T>, StoreError> {
        Ok(self.read()?.row(place).map(read))
    }
}

impl Log {
    /// Whether this record follows on the last one: neither a hole nor a remnant of a log that was there before.
    fn is_next(&self, record: &change::Record) -> bool {
        let first = self.mark == Mark::default();
        let next = record.mark.sequence == self.mark.sequence + 1 && record.mark.commit <= self.mark.commit + 1;
        record.before == self.crc && (first || next)
    }

    /// Writes the changes as the next record, and only then puts them into the tables.
    fn append(&mut self, tables: &mut Tables, changes: Vec<Change>, commits: u64) -> Result<CommitNo, StoreError> {
        if let Some(why) = &self.poison {
            return Err(StoreError::Poisoned(why.clone()));
        }
        let mark = Mark { sequence: self.mark.sequence + 1, commit: self.mark.commit + commits };
        if let Some(disk) = &self.disk {
            let (record, crc) = change::encode(mark, self.crc, &changes)?;
            self.room_for(&record, &changes)?;
            disk.append(self.opening, &record).inspect_err(|why| self.poison = Some(why.to_string()))?;
            self.crc = crc;
        }
        self.mark = mark;
        changes.into_iter().try_for_each(|change| tables.apply(change))?;
        Ok(mark.commit)
    }

    /// Refuses what would not fit, before it is tried. What takes no message in may always be written: it is how room is made.
    fn room_for(&self, record: &[u8], changes: &[Change]) -> Result<(), StoreError> {
        let Some((used, Some(capacity))) = self.disk.as_ref().map(MemoryDisk::usage) else { return Ok(()) };
        let takes_in = changes.iter().any(|change| matches!(change, Change::Accepted { .. }));
        let bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
        if takes_in && used.saturating_add(bytes) > capacity {
            return Err(StoreError::Full(format!("{bytes} bytes do not fit, {used} of {capacity} are used")));
        }
        Ok(())
    }

    fn sync(&mut self, tables: &Tables) -> Result<(), StoreError> {
        if let Some(why) = &self.poison {
            return Err(StoreError::Poisoned(why.clone()));
        }
        let Some(disk) = &self.disk else { return Ok(()) };
        let safe = disk.sync(self.opening, self.mark).inspect_err(|why| self.poison = Some(why.to_string()))?;
        let (used, _) = disk.usage();
        if safe && used > COMPACT_BYTES_MIN.max(self.compact_bytes.saturating_mul(4)) {
            self.rewrite(tables)?;
        }
        Ok(())
    }

    /// Puts one record that holds everything in the place of the log.
    fn rewrite(&mut self, tables: &Tables) -> Result<(), StoreError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let mark = Mark { sequence: self.mark.sequence + 1, commit: self.mark.commit };
        let (record, crc) = change::encode(mark, 0, &tables.snapshot())?;
        self.compact_bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
        disk.replace(self.opening, record, mark)?;
        (self.mark, self.crc) = (mark, crc);
        Ok(())
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl Store for MemoryStore {
    fn destination(&self, name: &str) -> Result<Dest, StoreError> {
        let mut tables = self.write()?;
        if let Some((number, _)) = tables.destinations.iter().find(|(_, known)| &***known == name) {
            return Ok(Dest(*number));
        }
        let number = tables.destinations.last_key_value().map_or(Some(1), |(last, _)| last.checked_add(1));
        let number = number.ok_or_else(|| StoreError::Full("65,535 destinations have been met".into()))?;
        let mut log = self.log();
        log.append(&mut tables, vec![Change::Destination { number, name: Arc::from(name) }], 0)?;
        log.sync(&tables)?;
        Ok(Dest(number))
    }

    fn destinations(&self) -> Vec<(Dest, Arc<str>)> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.destinations.iter().map(|(number, name)| (Dest(*number), Arc::clone(name))).collect()
    }

    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        batch.check_notes()?;
        let mut tables = self.write()?;
        let (changes, mut done) = plan::commit(&tables, batch);
        done.number = self.log().append(&mut tables, changes, 1)?;
        Ok(done)
    }

    fn sync(&self, _number: CommitNo) -> Result<(), StoreError> {
        let tables = self.read()?;
        self.log().sync(&tables)
    }

    fn unfinished(
        &self,
        is_timed: &dyn Fn(Dest) -> bool,
        each: &mut dyn FnMut(Unfinished),
    ) -> Result<Vec<String>, StoreError> {
        self.read()?.unfinished(is_timed).for_each(each);
        Ok(Vec::new())
    }

    fn idempotent(&self, since: WallMs, each: &mut dyn FnMut(u64, Place)) -> Result<Vec<String>, StoreError> {
        self.read()?.idempotent(since).for_each(|(hash, place)| each(hash, place));
        Ok(Vec::new())
    }

    fn untold(&self, after: Option<Place>, limit: usize) -> Result<Vec<Place>, StoreError> {
        Ok(self.read()?.untold(after, limit))
    }

    fn find(&self, id: Id) -> Result<Option<Place>, StoreError> {
        Ok(self.read()?.find(id))
    }

    fn load(&self, place: Place) -> Result<Option<Loaded>, StoreError> {
        Ok(self.with(place, tables::Row::loaded)?.flatten())
    }

    fn get(&self, place: Place) -> Result<Option<Record>, StoreError> {
        self.with(place, |row| row.record(place))
    }

    fn attempts(&self, place: Place) -> Result<Vec<Attempt>, StoreError> {
        Ok(self.with(place, tables::Row::attempts)?.unwrap_or_default())
    }

    fn revision(&self, place: Place, number: u16) -> Result<Option<Revision>, StoreError> {
        Ok(self.with(place, |row| row.revision(number))?.flatten())
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        Ok(self.read()?.list(query))
    }

    fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read()?.notes.get(key).filter(|value| !value.is_empty()).cloned())
    }

    fn notes(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let tables = self.read()?;
        let known = tables.notes.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        known.filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn counts(&self) -> Vec<Count> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).counts()
    }

    fn retain(&self, rule: &Retention, now: WallMs) -> Result<Retained, StoreError> {
        let mut tables = self.write()?;
        let (changes, done) = plan::retain(&tables, rule, now);
        if !changes.is_empty() {
            self.log().append(&mut tables, changes, 0)?;
        }
        Ok(done)
    }

    fn room(&self) -> Room {
        let (used_bytes, capacity) = self.log().disk.as_ref().map_or((0, None), MemoryDisk::usage);
        let free_bytes = capacity.map(|capacity| capacity.saturating_sub(used_bytes));
        Room { used_bytes, free_bytes, reserve_bytes: 0 }
    }

    fn close(&self) -> Result<(), StoreError> {
        let tables = self.read()?;
        let synced = self.log().sync(&tables);
        self.closed.store(true, Ordering::Release);
        synced
    }
}
