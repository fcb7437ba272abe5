//! What is shown of messages: what the store has, and what only the engine knows of them.
//!
//! # What it does not know
//!
//! Who asks, and in which form it is shown.

use std::sync::Arc;

use super::after;
use super::registry::Registry;
use super::words::{AwaitedKey, Shown, ShownPage, Waits};
use crate::error::Error;
use crate::model::{Attempt, Id, Message, Record, State, WallMs};
use crate::store::{Dest, Query, Revision};

impl Registry {
    /// One message with what only the engine knows of it.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub(super) fn show(&self, id: Id, now: WallMs) -> Result<Shown, Error> {
        let record = self.store.get(self.place(id)?)?.ok_or(Error::NotFound(id))?;
        Ok(self.shown(record, now))
    }

    /// A record with what only the engine knows of it.
    pub(super) fn shown(&self, mut record: Record, now: WallMs) -> Shown {
        let dest = self.destination(&record.envelope.destination).unwrap_or(Dest(u16::MAX));
        let who = self.who(dest, record.place, record.envelope.key.as_deref());
        let scheduler = self.scheduler();
        if !record.state.is_final() && scheduler.is_out(record.place) && !matches!(record.state, State::Sending(_)) {
            record.state = State::Sending(record.attempts.saturating_add(1));
        }
        let (mut waits_for, due_at) = scheduler.waits(who, record.state, now);
        drop(scheduler);
        let mut after = Vec::new();
        if waits_for == Some(Waits::After) {
            match after::keys_of(record.place, &*self.store) {
                // The scheduler has yet to hear of it.
                Ok(keys) if keys.is_empty() => waits_for = Some(Waits::Due),
                Ok(keys) => after = keys,
                // That is said by whoever needs them.
                Err(_) => {}
            }
        }
        Shown { record, waits_for, after, due_at }
    }

    /// The keys that a message still awaits, and how they stand.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub(super) fn awaited(&self, id: Id, now: WallMs) -> Result<Vec<AwaitedKey>, Error> {
        let Shown { record, after, .. } = self.show(id, now)?;
        let dest = self.destination(&record.envelope.destination)?;
        let stands = |key: Arc<str>| {
            let newest = after::newest(dest, &key, &*self.store)?.map(|newest| self.shown(newest, now).record);
            Ok(AwaitedKey { key, newest: newest.map(|newest| (newest.id, newest.state)) })
        };
        after.into_iter().map(stands).collect()
    }

    pub(super) fn message(&self, id: Id) -> Result<Message, Error> {
        Ok(self.store.load(self.place(id)?)?.ok_or(Error::NotFound(id))?.message)
    }

    pub(super) fn attempts(&self, id: Id) -> Result<Vec<Attempt>, Error> {
        Ok(self.store.attempts(self.place(id)?)?)
    }

    pub(super) fn revision(&self, id: Id, number: Option<u16>) -> Result<Option<Revision>, Error> {
        let place = self.place(id)?;
        let number = match number {
            Some(number) => number,
            None => self.store.get(place)?.ok_or(Error::NotFound(id))?.revision,
        };
        Ok(self.store.revision(place, number)?)
    }

    pub(super) fn revisions(&self, id: Id) -> Result<Vec<Revision>, Error> {
        Ok(self.store.revisions(self.place(id)?)?)
    }

    pub(super) fn list(&self, query: &Query, now: WallMs) -> Result<ShownPage, Error> {
        let page = if query.ids.is_empty() { self.store.list(query)? } else { self.named(query)? };
        Ok(ShownPage {
            messages: page.records.into_iter().map(|record| self.shown(record, now)).collect(),
            next: page.next,
            scanned_until: page.scanned_until,
            damaged: page.damaged,
        })
    }
}
