//! A store of which single rows are damaged, which has room for so many commits, whose commits wait at a gate or fail, or at whose rows somebody
//! else is.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::Id;
use goniec::model::{Attempt, Place, Record, WallMs};
use goniec::store::memory::MemoryStore;
use goniec::store::{
    Batch, CommitNo, Committed, Count, Dest, Loaded, Page, Query, Retained, Retention, Revision, Room, Store,
    StoreError, Unfinished,
};

pub type Meddle = Box<dyn FnOnce(&MemoryStore) + Send>;

/// A memory store of which some rows are damaged: it refuses every batch and every read that touches one, as the contract says.
#[derive(Default)]
pub struct Faulty {
    pub inner: MemoryStore,
    pub damaged: Mutex<HashSet<Place>>,
    /// Rows of which reads are whole, and every batch that touches one is refused.
    pub hindered: Mutex<HashSet<Place>>,
    /// Whether a commit that meets damage poisons the store: not what the contract says.
    pub is_brittle: bool,
    /// How many commits there is room for; without it, for all.
    pub room_for: Mutex<Option<usize>>,
    /// Commits wait while it is shut; `waits` do.
    pub is_shut: AtomicBool,
    pub waits: AtomicUsize,
    /// The disk is gone.
    pub fails: AtomicBool,
    /// How much room there is, where it is not as much as in memory.
    pub room: Mutex<Option<Room>>,
    /// Called once, before the next commit: somebody else at the same rows.
    pub meddle: Mutex<Option<Meddle>>,
}

impl Faulty {
    pub fn damage(&self, id: Id) {
        self.damaged.lock().expect("whole").insert(id.place());
    }

    pub fn mend(&self) {
        self.damaged.lock().expect("whole").clear();
    }

    fn check(&self, place: Place) -> Result<(), StoreError> {
        match self.damaged.lock().expect("whole").contains(&place) {
            true => Err(StoreError::Damaged(format!("the status of message {place}"))),
            false => Ok(()),
        }
    }
}

impl Store for Faulty {
    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.waits.fetch_add(1, Ordering::SeqCst);
        // Waits for the gate, not for a time; the limit only ends a test that has failed.
        let limit = Instant::now() + Duration::from_secs(20);
        while self.is_shut.load(Ordering::SeqCst) {
            assert!(Instant::now() < limit, "the gate does not open");
            std::thread::yield_now();
        }
        self.waits.fetch_sub(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Io(std::io::Error::other("the disk is gone")));
        }
        if let Some(meddle) = self.meddle.lock().expect("whole").take() {
            meddle(&self.inner);
        }
        if let Some(left) = &mut *self.room_for.lock().expect("whole") {
            *left = left.checked_sub(1).ok_or(StoreError::Full("no room".into()))?;
        }
        let places = batch.moves.iter().map(|step| step.place).chain(batch.deletes.clone()).chain(batch.told.clone());
        for place in places {
            if self.hindered.lock().expect("whole").contains(&place) {
                return Err(StoreError::Damaged(format!("an attempt of message {place}")));
            }
            if let Err(damage) = self.check(place) {
                return Err(if self.is_brittle { StoreError::Poisoned(damage.to_string()) } else { damage });
            }
        }
        self.inner.commit(batch)
    }

    fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.note(key)
    }

    fn notes(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.inner.notes(prefix, each)
    }

    fn load(&self, place: Place) -> Result<Option<Loaded>, StoreError> {
        self.check(place)?;
        self.inner.load(place)
    }

    fn get(&self, place: Place) -> Result<Option<Record>, StoreError> {
        self.check(place)?;
        self.inner.get(place)
    }

    fn destination(&self, name: &str) -> Result<Dest, StoreError> {
        self.inner.destination(name)
    }

    fn destinations(&self) -> Vec<(Dest, Arc<str>)> {
        self.inner.destinations()
    }

    fn sync(&self, number: CommitNo) -> Result<(), StoreError> {
        self.inner.sync(number)
    }

    fn unfinished(
        &self,
        is_timed: &dyn Fn(Dest) -> bool,
        each: &mut dyn FnMut(Unfinished),
    ) -> Result<Vec<String>, StoreError> {
        self.inner.unfinished(is_timed, each)
    }

    fn idempotent(&self, since: WallMs, each: &mut dyn FnMut(u64, Place)) -> Result<Vec<String>, StoreError> {
        self.inner.idempotent(since, each)
    }

    fn untold(&self, after: Option<Place>, limit: usize) -> Result<Vec<Place>, StoreError> {
        self.inner.untold(after, limit)
    }

    fn find(&self, id: Id) -> Result<Option<Place>, StoreError> {
        self.inner.find(id)
    }

    fn attempts(&self, place: Place) -> Result<Vec<Attempt>, StoreError> {
        self.inner.attempts(place)
    }

    fn revision(&self, place: Place, number: u16) -> Result<Option<Revision>, StoreError> {
        self.inner.revision(place, number)
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        self.inner.list(query)
    }

    fn counts(&self) -> Vec<Count> {
        self.inner.counts()
    }

    fn retain(&self, rule: &Retention, now: WallMs) -> Result<Retained, StoreError> {
        self.inner.retain(rule, now)
    }

    fn room(&self) -> Room {
        self.room.lock().expect("whole").unwrap_or_else(|| self.inner.room())
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
