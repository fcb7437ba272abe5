//! A disk that forgets: what was written and not synced may be lost, torn or reordered by a crash, in sectors of 512 bytes.
//!
//! The disk outlives the stores that are opened on it, as a real one does. Its faults are ordered from outside, by number or by seed,
//! so that a run can be repeated exactly.
//!
//! # What holds
//!
//! * What was synced survives every crash. Of what was written since, each sector survives or not, on its own, in any state it was in.
//! * A store that was opened before the last crash can write no more.
//!
//! # What it does not know
//!
//! What the bytes mean.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::StoreError;
use super::change::Mark;
use crate::model::policy::scatter;

/// The unit that is written whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// A simulated disk with one registry on it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Disk>>,
}

/// How an ordered fault shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The disk fails (`EIO`).
    Io,
    /// The disk is full (`ENOSPC`).
    Full,
}

#[derive(Debug, Default)]
struct Disk {
    /// What a reader of the running machine sees.
    image: Vec<u8>,
    /// What is safe.
    durable: Vec<u8>,
    /// Where each write since the last sync ended.
    ends: Vec<usize>,
    /// How far the synced log goes, kept apart from it.
    witness: Mark,
    /// Which opening may write: a crash ends all before it.
    opening: u64,
    writes: u64,
    syncs: u64,
    write_fault: Option<(u64, DiskFault)>,
    sync_fault: Option<(u64, DiskFault)>,
    capacity_bytes: Option<u64>,
    syncs_lie: bool,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Cuts the power. Of what was not synced, an arbitrary part that follows from `seed` is kept; stores that were open can write no more.
    pub fn crash(&self, seed: u64) {
        let mut disk = self.lock();
        disk.image = disk.survivors(seed);
        disk.durable = disk.image.clone();
        disk.ends.clear();
        disk.opening += 1;
    }

    /// A disk of its own with what is safe on this one by now, and without its faults: a backup, and what is put back from one.
    #[must_use]
    pub fn copy(&self) -> MemoryDisk {
        let disk = self.lock();
        let (image, durable, witness) = (disk.durable.clone(), disk.durable.clone(), disk.witness);
        MemoryDisk { shared: Arc::new(Mutex::new(Disk { image, durable, witness, ..Disk::default() })) }
    }

    /// Lets the write after the next `after` ones fail, half done.
    pub fn fail_write(&self, after: u64, fault: DiskFault) {
        let mut disk = self.lock();
        disk.write_fault = Some((disk.writes + after, fault));
    }

    /// Lets the sync after the next `after` ones fail.
    pub fn fail_sync(&self, after: u64, fault: DiskFault) {
        let mut disk = self.lock();
        disk.sync_fault = Some((disk.syncs + after, fault));
    }

    /// Takes back every fault that was ordered and has not happened.
    pub fn heal(&self) {
        let mut disk = self.lock();
        (disk.write_fault, disk.sync_fault, disk.syncs_lie) = (None, None, false);
    }

    /// Makes every sync answer at once without doing anything: a disk that lies, or a program that forgot to ask.
    pub fn lie_about_syncs(&self, lie: bool) {
        self.lock().syncs_lie = lie;
    }

    /// Sets how much fits on the disk; `None` for no limit.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.lock().capacity_bytes = capacity_bytes;
    }

    /// Damages the medium: cuts so many bytes off the end of what is safe.
    pub fn cut(&self, bytes: usize) {
        let mut disk = self.lock();
        let left = disk.durable.len().saturating_sub(bytes);
        disk.durable.truncate(left);
        disk.image = disk.durable.clone();
    }

    /// Damages the medium: flips one bit of what is safe, counted from its beginning and around.
    pub fn flip(&self, bit: usize) {
        let mut disk = self.lock();
        let bits = disk.durable.len().saturating_mul(8).max(1);
        if let Some(byte) = disk.durable.get_mut((bit % bits) / 8) {
            *byte ^= 1 << (bit % 8);
        }
        disk.image = disk.durable.clone();
    }

    /// How many writes and syncs there were.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let disk = self.lock();
        (disk.writes, disk.syncs)
    }

    /// How many bytes lie on the disk, and how many fit.
    pub(super) fn usage(&self) -> (u64, Option<u64>) {
        let disk = self.lock();
        (bytes_of(&disk.image), disk.capacity_bytes)
    }

    /// Gives the right to write to a new opening; with the log and the witness.
    pub(super) fn open(&self) -> (u64, Vec<u8>, Mark) {
        let mut disk = self.lock();
        disk.opening += 1;
        (disk.opening, disk.image.clone(), disk.witness)
    }

    /// Appends a record.
    pub(super) fn append(&self, opening: u64, record: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.lock();
        disk.admit(opening)?;
        disk.writes += 1;
        let writes = disk.writes;
        if let Some((_, fault)) = disk.write_fault.take_if(|(at, _)| *at < writes) {
            // A write that fails may have been half done; its end is missing, so that it never reads as whole.
            let half = record.get(..record.len() / 2).unwrap_or_default();
            disk.put(half);
            return Err(fault.error("write"));
        }
        disk.put(record);
        Ok(())
    }

    /// Makes everything that was appended safe; says whether it did.
    pub(super) fn sync(&self, opening: u64, mark: Mark) -> Result<bool, StoreError> {
        let mut disk = self.lock();
        disk.admit(opening)?;
        disk.syncs += 1;
        let syncs = disk.syncs;
        if let Some((_, fault)) = disk.sync_fault.take_if(|(at, _)| *at < syncs) {
            return Err(fault.error("sync"));
        }
        if disk.syncs_lie {
            return Ok(false);
        }
        let from = disk.durable.len();
        let added = disk.image.get(from..).unwrap_or_default().to_vec();
        disk.durable.extend_from_slice(&added);
        disk.ends.clear();
        disk.witness = disk.witness.max(mark);
        Ok(true)
    }

    /// Puts another log in the place of the whole one, safely: what a new file, a sync and a rename do.
    pub(super) fn replace(&self, opening: u64, log: Vec<u8>, mark: Mark) -> Result<(), StoreError> {
        let mut disk = self.lock();
        disk.admit(opening)?;
        disk.durable.clone_from(&log);
        disk.image = log;
        disk.ends.clear();
        disk.witness = mark;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn admit(&self, opening: u64) -> Result<(), StoreError> {
        if opening == self.opening { Ok(()) } else { Err(StoreError::Closed) }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.image.extend_from_slice(bytes);
        self.ends.push(self.image.len());
    }

    /// The image after a power cut: every sector as it was after some write since the last sync, or as it was then.
    fn survivors(&self, seed: u64) -> Vec<u8> {
        // How much is kept is drawn first: nothing, everything and all between are equally worth trying.
        let kept_percent = (scatter(seed) % 6) * 20;
        let first = self.durable.len() / SECTOR_BYTES;
        let mut after = self.durable.get(..first * SECTOR_BYTES).unwrap_or_default().to_vec();
        for (nth, sector) in (0u64..).zip(self.image.chunks(SECTOR_BYTES).skip(first)) {
            let chance = scatter(scatter(seed ^ 0x5ec7).wrapping_add(nth));
            let choices = bytes_of(&self.ends).max(1);
            let end = if chance % 100 < kept_percent {
                // Mostly the newest state, else one between.
                let which =
                    if kept_percent == 100 || chance >> 32 & 3 != 0 { choices - 1 } else { (chance >> 34) % choices };
                usize::try_from(which)
                    .ok()
                    .and_then(|which| self.ends.get(which))
                    .copied()
                    .unwrap_or(self.durable.len())
            } else {
                self.durable.len()
            };
            let kept = end.saturating_sub(after.len()).min(sector.len());
            let start = after.len();
            after.extend_from_slice(sector.get(..kept).unwrap_or_default());
            after.resize(start + SECTOR_BYTES, 0);
        }
        after
    }
}

impl DiskFault {
    fn error(self, call: &str) -> StoreError {
        match self {
            DiskFault::Io => StoreError::Io(std::io::Error::other(format!("ordered fault at {call}"))),
            DiskFault::Full => StoreError::Full(format!("ordered fault at {call}")),
        }
    }
}

fn bytes_of<T>(slice: &[T]) -> u64 {
    u64::try_from(slice.len()).unwrap_or(u64::MAX)
}
