//! Faults planted one at a time, in the seams around the engine: the store, the clock, the policy, the transport.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use goniec::model::{Abandoned, Attempt, Delivery, Id, Place, Record, State, WallMs};
use goniec::store::memory::MemoryStore;
use goniec::store::{
    Batch, CommitNo, Committed, Count, Dest, Loaded, Move, Moved, Page, Query, Retained, Retention, Revision, Room,
    Store, StoreError, Unfinished,
};

/// What is broken in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// Syncs do nothing.
    NoSync,
    /// What is acknowledged is synced only with the commit after it.
    AckBeforeSync,
    /// Every third timer is forgotten by a start.
    TimerForgotten,
    /// A start overlooks what was out.
    ClaimForgotten,
    /// Attempts are written one too low.
    AttemptsOffByOne,
    /// Counts stay as they were at the start.
    IndexNotUpdated,
    /// Nobody is marked to be told.
    UntoldLost,
    /// Intervals run on the wall clock.
    WallClockForIntervals,
    /// Retries come at half of their delay.
    RetryTooEarly,
    /// A message has one attempt more than it may.
    LimitOffByOne,
    /// The first body is sent after an edit.
    WrongBody,
    /// A refusal counts as a delivery.
    RefusalDelivers,
    /// Order of keys does not bind.
    OrderIgnored,
    /// What may have arrived is sent again where nothing may arrive twice.
    UncertainRetried,
    /// One more is out than may be.
    WidthOffByOne,
    /// Attempts may take twice their time.
    TimeoutIgnored,
    /// Every tenth outcome is lost on its way home.
    OutcomeLost,
    /// A person's cancel, hold or word that it arrived is answered as done and not written.
    ActNotDone,
    /// An edit is answered as done, and its body is not written.
    EditNotDone,
    /// Retention takes a message that has not ended.
    RetentionTooKeen,
    /// A destination gets one more in a minute than its rate says.
    RateTooHigh,
    /// Destinations of an account do not share its rate.
    AccountIgnored,
    /// Hours do not bind.
    HoursIgnored,
    /// A destination that is down is asked like before.
    BreakerIgnored,
    /// The breaker's canary flies sooner than it may.
    ProbeTooEarly,
    /// A destination that asks to be left alone is not.
    AskedForgotten,
    /// Older messages of a key go on after newer ones.
    LatestIgnored,
    /// A lower version of a key goes as if it were the newest.
    FenceIgnored,
    /// It is not written down what a message waits for.
    AfterForgotten,
    /// What was delivered before somebody waited for it is overlooked.
    DeliveredOverlooked,
    /// A pause is answered as done, and not written.
    PauseNotKept,
    /// A destination that says that it has a message is taken to say that it has not.
    ThereIgnored,
    /// It is forgotten that nobody knows whether a message arrived, so nobody asks.
    DoubtForgotten,
}

const CANCELLED: State = State::Abandoned(Abandoned::Cancelled);

/// A memory store with a fault in it.
pub struct Planted {
    pub inner: MemoryStore,
    pub plant: Plant,
    pub first_counts: Vec<Count>,
    pub syncs: AtomicU64,
    /// Rows that cannot be read or written for a while.
    pub damaged: Mutex<BTreeSet<Place>>,
}

impl Planted {
    pub fn new(inner: MemoryStore, plant: Plant) -> Planted {
        let first_counts = inner.counts();
        Planted { inner, plant, first_counts, syncs: AtomicU64::new(0), damaged: Mutex::default() }
    }

    fn sound(&self, place: Place) -> Result<(), StoreError> {
        match self.damaged.lock().expect("places").contains(&place) {
            true => Err(StoreError::Damaged(format!("the row at {place} is damaged"))),
            false => Ok(()),
        }
    }

    /// A batch without the steps that the planted fault drops, and which those are.
    fn thinned(&self, batch: &Batch) -> (Batch, Vec<usize>) {
        let mut thin = batch.clone();
        let by_person = |step: &Move| step.attempt.is_none() && step.amend.is_none();
        let is_act = |step: &Move| by_person(step) && (step.to.is_held() || step.to == CANCELLED);
        let is_dropped = |step: &Move| match self.plant {
            Plant::ActNotDone => is_act(step),
            Plant::EditNotDone => step.amend.is_some(),
            _ => false,
        };
        thin.moves.retain(|step| !is_dropped(step));
        if self.plant == Plant::PauseNotKept {
            thin.notes.clear();
        }
        if self.plant == Plant::FenceIgnored {
            thin.accepts.iter_mut().for_each(|one| one.note = None);
        }
        if self.plant == Plant::AfterForgotten {
            thin.accepts.iter_mut().for_each(|one| one.own = None);
        }
        let dropped = (0..).zip(&batch.moves).filter(|(_, step)| is_dropped(step)).map(|(at, _)| at);
        (thin, dropped.collect())
    }
}

impl Store for Planted {
    fn destination(&self, name: &str) -> Result<Dest, StoreError> {
        self.inner.destination(name)
    }

    fn destinations(&self) -> Vec<(Dest, Arc<str>)> {
        self.inner.destinations()
    }

    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let moved = batch.moves.iter().map(|step| step.place);
        for place in moved.chain(batch.deletes.iter().copied()).chain(batch.told.iter().copied()) {
            self.sound(place)?;
        }
        let (mut batch, dropped) = self.thinned(batch);
        for step in &mut batch.moves {
            if self.plant == Plant::UntoldLost {
                step.untold = false;
            }
            if self.plant == Plant::AttemptsOffByOne && step.attempt.is_some() {
                step.attempts = step.attempts.saturating_sub(1);
            }
        }
        let mut committed = self.inner.commit(&batch)?;
        for at in dropped {
            committed.moved.insert(at, Moved::Done);
        }
        Ok(committed)
    }

    fn sync(&self, number: CommitNo) -> Result<(), StoreError> {
        // Every second sync is left to the one after it.
        if self.plant == Plant::AckBeforeSync && self.syncs.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Ok(());
        }
        self.inner.sync(number)
    }

    fn unfinished(
        &self,
        is_timed: &dyn Fn(Dest) -> bool,
        each: &mut dyn FnMut(Unfinished),
    ) -> Result<Vec<String>, StoreError> {
        let mut timers = 0u64;
        self.inner.unfinished(is_timed, &mut |found| {
            timers += u64::from(found.state.due().is_some());
            let forgotten = match self.plant {
                Plant::TimerForgotten => found.state.due().is_some() && timers.is_multiple_of(3),
                Plant::ClaimForgotten => matches!(found.state, State::Sending(_)),
                _ => false,
            };
            if !forgotten {
                each(found);
            }
        })
    }

    fn idempotent(&self, since: WallMs, each: &mut dyn FnMut(u64, Place)) -> Result<Vec<String>, StoreError> {
        self.inner.idempotent(since, each)
    }

    fn untold(&self, after: Option<Place>, limit: usize) -> Result<Vec<Place>, StoreError> {
        self.inner.untold(after, limit)
    }

    fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.note(key)
    }

    fn notes(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.inner.notes(prefix, each)
    }

    fn find(&self, id: Id) -> Result<Option<Place>, StoreError> {
        self.inner.find(id)
    }

    fn load(&self, place: Place) -> Result<Option<Loaded>, StoreError> {
        self.sound(place)?;
        let mut loaded = self.inner.load(place)?;
        if self.plant == Plant::WrongBody
            && let Some(loaded) = &mut loaded
            && let Some(body) = self.inner.revision(place, 1)?.and_then(|first| first.body)
        {
            loaded.message.body = body;
        }
        Ok(loaded)
    }

    fn get(&self, place: Place) -> Result<Option<Record>, StoreError> {
        self.sound(place)?;
        self.inner.get(place)
    }

    fn attempts(&self, place: Place) -> Result<Vec<Attempt>, StoreError> {
        self.sound(place)?;
        let mut attempts = self.inner.attempts(place)?;
        if self.plant == Plant::DoubtForgotten {
            attempts.retain(|attempt| attempt.outcome != Delivery::Uncertain);
        }
        Ok(attempts)
    }

    fn revision(&self, place: Place, number: u16) -> Result<Option<Revision>, StoreError> {
        self.sound(place)?;
        self.inner.revision(place, number)
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        if self.plant == Plant::DeliveredOverlooked && query.key.is_some() {
            return Ok(Page::default());
        }
        self.inner.list(query)
    }

    fn counts(&self) -> Vec<Count> {
        if self.plant == Plant::IndexNotUpdated { self.first_counts.clone() } else { self.inner.counts() }
    }

    fn retain(&self, rule: &Retention, now: WallMs) -> Result<Retained, StoreError> {
        if self.plant == Plant::RetentionTooKeen {
            let mut first = None;
            let _aside = self.inner.unfinished(&|_| false, &mut |found| first = first.or(Some(found.place)))?;
            self.inner.commit(&Batch { now, deletes: first.into_iter().collect(), ..Batch::default() })?;
        }
        self.inner.retain(rule, now)
    }

    fn room(&self) -> Room {
        self.inner.room()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}
