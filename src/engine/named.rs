//! A list of messages that are named: they are found by their ids, not looked for.
//!
//! # What holds
//!
//! * It is answered as a list of all messages would be: newest first, by every part of the query, a page at a time.
//!
//! # What it does not know
//!
//! Who asks.

use std::collections::BTreeSet;

use super::registry::Registry;
use crate::store::{Page, Query, StoreError};

impl Registry {
    /// One page of those that the query names.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn named(&self, query: &Query) -> Result<Page, StoreError> {
        let mut places = BTreeSet::new();
        for id in &query.ids {
            places.extend(self.store.find(*id)?);
        }
        let mut page = Page::default();
        for place in places.into_iter().rev().filter(|place| query.before.is_none_or(|before| *place < before)) {
            if page.records.len() >= query.limit {
                page.next = page.records.last().map(|record| record.place);
                break;
            }
            let record = match self.store.get(place) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(StoreError::Damaged(what)) => {
                    page.damaged.push(format!("message {place}: {what}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let dest = self.destination(&record.envelope.destination);
            if !dest.is_ok_and(|dest| query.matches(&record, dest)) {
                continue;
            }
            match query.cause.map_or(Ok(true), |_| Ok(query.is_by_cause(&self.store.attempts(place)?))) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(StoreError::Damaged(what)) => {
                    page.damaged.push(format!("message {place}: {what}"));
                    continue;
                }
                Err(error) => return Err(error),
            }
            if query.text.is_none() {
                page.records.push(record);
                continue;
            }
            match self.store.revision(place, record.revision) {
                Ok(newest)
                    if newest
                        .as_ref()
                        .and_then(|newest| newest.body.as_deref())
                        .is_some_and(|body| query.is_in(body)) =>
                {
                    page.records.push(record);
                }
                Ok(_) => {}
                Err(StoreError::Damaged(what)) => page.damaged.push(format!("body of message {place}: {what}")),
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }
}
