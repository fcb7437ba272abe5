//! A store that leaves out of its commits what a planted fault says.

use std::sync::Arc;

use goniec::Id;
use goniec::model::{Attempt, Place, Record, WallMs};
use goniec::store::memory::MemoryStore;
use goniec::store::{
    Batch, CommitNo, Committed, Count, Dest, Loaded, Page, Query, Retained, Retention, Revision, Room, Store,
    StoreError, Unfinished,
};

/// What is broken in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// The receiver takes what comes without asking its ledger.
    NoDedup,
    /// The receiver's ledger is no part of its commits.
    LedgerNotWritten,
    /// The sender's count is written once and never again.
    CountNotWritten,
    /// What ended is never told.
    EndsNotTold,
    /// What is missing is never sent again, on a receiver whose syncs lie.
    HolesIgnored,
    /// A sender that was put back hears of it and counts on.
    EpochKept,
    /// A sender that was put back counts anew until it is started again.
    EpochForgotten,
}

impl Plant {
    pub const FAULTS: [Plant; 7] = [
        Plant::NoDedup,
        Plant::LedgerNotWritten,
        Plant::CountNotWritten,
        Plant::EndsNotTold,
        Plant::HolesIgnored,
        Plant::EpochKept,
        Plant::EpochForgotten,
    ];

    /// Whether it shows only where a registry is put back.
    pub fn is_of_restores(self) -> bool {
        matches!(self, Plant::EpochKept | Plant::EpochForgotten)
    }
}

/// A store that leaves out some notes.
pub struct Leaky {
    pub inner: MemoryStore,
    pub plant: Plant,
}

impl Leaky {
    fn loses(&self, key: &[u8], value: &[u8]) -> bool {
        let known = || self.inner.note(key).ok().flatten();
        let is_known = || known().is_some();
        // A count begins with its epoch.
        let is_anew = || known().is_some_and(|known| known.get(..8) != value.get(..8));
        match self.plant {
            Plant::LedgerNotWritten => key.starts_with(b"li"),
            Plant::CountNotWritten => key.starts_with(b"lc") && is_known(),
            Plant::EpochForgotten => key.starts_with(b"lc") && is_anew(),
            Plant::Nothing | Plant::NoDedup | Plant::EndsNotTold | Plant::HolesIgnored | Plant::EpochKept => false,
        }
    }
}

impl Store for Leaky {
    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut batch = batch.clone();
        batch.notes.retain(|note| !self.loses(&note.key, &note.value));
        batch.pages.retain(|page| !self.loses(&page.note.key, &page.note.value));
        self.inner.commit(&batch)
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
    fn load(&self, place: Place) -> Result<Option<Loaded>, StoreError> {
        self.inner.load(place)
    }
    fn get(&self, place: Place) -> Result<Option<Record>, StoreError> {
        self.inner.get(place)
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
    fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.note(key)
    }
    fn notes(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.inner.notes(prefix, each)
    }
    fn counts(&self) -> Vec<Count> {
        self.inner.counts()
    }
    fn retain(&self, rule: &Retention, now: WallMs) -> Result<Retained, StoreError> {
        self.inner.retain(rule, now)
    }
    fn room(&self) -> Room {
        self.inner.room()
    }
    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
