//! Writing: a plan becomes rows on the disk, or leaves nothing behind.
//!
//! ```text
//! commit_plan ─▶ plan (reads) ─▶ write ─▶ adopted
//!                                  └─▶ after_failure: nothing begun ─▶ an error, and the store goes on
//!                                                     disk full     ─▶ ballast, reopen, once more ─▶ or refused, until there is room
//!                                                     anything else ─▶ poisoned
//! ```
//!
//! # What holds
//!
//! * A failed write leaves a database that cannot be trusted: it is opened anew before anybody reads on.
//! * A full disk poisons nothing. Where there is not even room to open the database, everything is answered [`StoreError::Full`] until there is.
//! * What was refused does not stand: where the disk kept it all the same, it is taken back.
//!
//! # What it does not know
//!
//! What the rows mean, and when a commit is durable.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::hot::Hot;
use super::plan::{Draft, Plan, View, Writer};
use super::trees::{Replaced, Unapplied};
use super::{SledStore, Step, lock, open, start};
use crate::model::WallMs;
use crate::store::{CommitNo, Count, Store, StoreError};

/// The least room that is worth trying to open the database with: sled writes a segment to its end, and a snapshot.
const REOPEN_BYTES_MIN: u64 = 4 << 20;

/// What must be taken back of a batch, where it stands.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// Where the chunks begin that it made.
    pub(super) first_chunk: u64,
    /// The notes that it wrote, as they were before: known once it was tried.
    pub(super) notes: Replaced,
}

/// The database, as far as it can be had.
pub(super) enum Database {
    Open(Box<View>),
    /// There was no room on the disk to open it anew. The counts are those of before.
    NoRoom {
        why: String,
        counts: Vec<Count>,
    },
    Closed,
}

impl Database {
    pub(super) fn view(&self) -> Result<&View, StoreError> {
        match self {
            Database::Open(view) => Ok(view),
            Database::NoRoom { why, .. } => Err(StoreError::Full(why.clone())),
            Database::Closed => Err(StoreError::Closed),
        }
    }

    fn view_mut(&mut self) -> Result<&mut View, StoreError> {
        match self {
            Database::Open(view) => Ok(view),
            Database::NoRoom { why, .. } => Err(StoreError::Full(why.clone())),
            Database::Closed => Err(StoreError::Closed),
        }
    }

    /// Whether what was flushed is durable. Of a database that waits for room, nobody knows.
    pub(super) fn is_through(&self) -> Result<bool, StoreError> {
        match self {
            Database::Open(view) => Ok(view.trees.is_through()),
            Database::NoRoom { .. } => Ok(false),
            Database::Closed => Err(StoreError::Closed),
        }
    }

    pub(super) fn counts(&self) -> Vec<Count> {
        match self {
            Database::Open(view) => view.counters.list(),
            Database::NoRoom { counts, .. } => counts.clone(),
            Database::Closed => Vec::new(),
        }
    }

    /// Lets go of the database.
    pub(super) fn close(&mut self) {
        if let Database::Open(view) = std::mem::replace(self, Database::Closed) {
            view.trees.shut();
        }
    }
}

impl SledStore {
    /// Plans under the read lock, writes, and takes over what was written.
    pub(super) fn commit_plan<T>(
        &self,
        now: WallMs,
        fill: impl FnOnce(&mut Plan<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        self.alive()?;
        if matches!(*self.database(), Database::NoRoom { .. }) || writer.refused.is_some() {
            self.recover(&mut writer)?;
        }
        let (answer, mut draft) = self.read(|view| {
            let mut plan = Plan::new(view, &writer, now);
            let answer = fill(&mut plan)?;
            Ok((answer, plan.draft()))
        })?;
        if draft.writes.rows() == 0 {
            return Ok(answer);
        }
        if let Err(unapplied) = self.write(&mut draft) {
            self.after_failure(&mut writer, &mut draft, unapplied)?;
        }
        self.written.store(draft.head.commit, Ordering::Release);
        writer.adopt(draft);
        Ok(answer)
    }

    fn write(&self, draft: &mut Draft) -> Result<(), Unapplied> {
        let begun = |error| Unapplied { error, is_begun: true };
        {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            let view = database.view_mut().map_err(begun)?;
            self.fault(Step::Apply).map_err(begun)?;
            let applied;
            (draft.refused.notes, applied) = view.trees.replace(&draft.writes);
            applied?;
            view.head = draft.head;
            view.counters.apply(&draft.change);
        }
        let flushed = self.fault(Step::Flush).and_then(|()| self.read(|view| view.trees.flush(draft.writes.rows())));
        flushed.map_err(|error| {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if let Database::Open(view) = &mut *database {
                view.counters.apply(&draft.change.reversed());
            }
            begun(error)
        })
    }

    /// What cannot be read while it is replaced hinders this batch alone. Otherwise the database is opened anew; where the disk was full and the
    /// ballast makes room, the same rows are written again; where there is none, nothing of the batch stands, and the store goes on. Every other
    /// failure poisons it.
    fn after_failure(&self, writer: &mut Writer, draft: &mut Draft, mut failed: Unapplied) -> Result<(), StoreError> {
        let [ballast, _] = &self.paths.ballasts;
        loop {
            let Unapplied { error, is_begun } = failed;
            if !matches!(error, StoreError::Full(_)) {
                if is_begun {
                    self.poison(&error);
                }
                return Err(error);
            }
            let is_room = std::fs::remove_file(ballast).is_ok();
            writer.refused = Some(draft.refused.clone());
            let recovered = self.reopen(writer)?;
            writer.refused = None;
            // A name takes no number: of that, the number says nothing, and it is written again.
            if recovered > self.written.load(Ordering::Acquire) {
                return Ok(());
            }
            if !is_room {
                return Err(error);
            }
            match self.write(draft) {
                Ok(()) => return Ok(()),
                Err(again) => failed = again,
            }
        }
    }

    /// Goes on after a full disk, if there is room by now, and takes back what was refused and stands all the same.
    pub(super) fn recover(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if let Database::NoRoom { why, .. } = &*self.database()
            && self.room().free_bytes.is_some_and(|free| free < REOPEN_BYTES_MIN)
        {
            return Err(StoreError::Full(why.clone()));
        }
        let recovered = self.reopen(writer)?;
        let _before = self.written.fetch_max(recovered, Ordering::AcqRel);
        let Some(refused) = writer.refused.clone() else { return Ok(()) };
        let mut draft = self.read(|view| {
            let mut plan = Plan::new(view, writer, WallMs(0));
            plan.take_back(&refused)?;
            Ok(plan.draft())
        })?;
        if draft.writes.rows() > 0 {
            if let Err(failed) = self.write(&mut draft) {
                let outcome = self.after_failure(writer, &mut draft, failed);
                // What was to be taken back still may have to be.
                writer.refused = Some(refused);
                outcome?;
            }
            self.written.store(draft.head.commit, Ordering::Release);
            writer.adopt(draft);
        }
        writer.refused = None;
        Ok(())
    }

    /// Opens the database anew; gives the commit that it stands at.
    fn reopen(&self, writer: &mut Writer) -> Result<CommitNo, StoreError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let counts = database.counts();
        database.close();
        let opened =
            self.fault(Step::Reopen).and_then(|()| open::view(&self.paths, self.seal, self.options.cache_bytes));
        let outcome = opened.and_then(|view| self.take_over(writer, view));
        match outcome {
            Ok(view) => {
                let commit = view.head.commit;
                *database = Database::Open(Box::new(view));
                Ok(commit)
            }
            Err(StoreError::Full(why)) => {
                log::error!("there is no room on the disk to go on with the registry: {why}");
                *database = Database::NoRoom { why: why.clone(), counts };
                Err(StoreError::Full(why))
            }
            Err(error) => {
                self.poison(&error);
                Err(error)
            }
        }
    }

    /// Begins anew with what the database says.
    fn take_over(&self, writer: &mut Writer, view: View) -> Result<View, StoreError> {
        let written = self.written.load(Ordering::Acquire);
        if view.head.commit < written {
            let first = view.head.commit + 1;
            view.trees.shut();
            return Err(StoreError::Damaged(format!("commits {first} to {written} are missing")));
        }
        writer.hot = Hot::default();
        writer.range = start::range(&view)?;
        Ok(view)
    }
}
