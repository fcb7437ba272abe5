//! What a write leaves to be done once it is durable: answers, news for the scheduler, transitions for those who watch.
//!
//! # What holds
//!
//! * Nobody hears of anything before it is durable: whoever holds a [`Pending`] syncs first.
//! * Every reply in it is given exactly once.
//!
//! # What it does not know
//!
//! What was written, and how it is synced.

use std::sync::atomic::Ordering;

use super::registry::Registry;
use super::schedule::News;
use super::words::{Reply, Shown, Transition};
use crate::error::Error;
use crate::model::{Id, Record, WallMs};
use crate::store::{CommitNo, StoreError};

/// A write that is not yet durable, and those who wait for it.
pub(super) struct Pending {
    /// What to sync.
    pub(super) number: CommitNo,
    pub(super) replies: Vec<Answer>,
    pub(super) news: Vec<News>,
    pub(super) transitions: Vec<Transition>,
}

/// An answer that waits.
pub(super) enum Answer {
    Ids(Reply<Vec<Id>>, Vec<Id>),
    Shown(Reply<Shown>, Box<Record>),
    /// It did not happen after all.
    Refused(Reply<Shown>, Error),
}

impl Pending {
    /// Tells everyone who waited, now that it is durable; what concerns the order of things to do goes into `news`.
    pub(super) fn announce(self, registry: &Registry, now: WallMs, news: &mut Vec<News>) {
        registry.figures.commit.fetch_max(self.number, Ordering::Relaxed);
        for answer in self.replies {
            match answer {
                Answer::Ids(reply, ids) => reply(Ok(ids)),
                Answer::Refused(reply, error) => reply(Err(error)),
                Answer::Shown(reply, record) => {
                    let shown = match registry.store.get(record.place) {
                        Ok(Some(after)) => registry.shown(after, now),
                        Ok(None) | Err(_) => Shown { record: *record, waits_for: None, due_at: None },
                    };
                    reply(Ok(shown));
                }
            }
        }
        if !self.transitions.is_empty() {
            registry.tell(&self.transitions);
        }
        news.extend(self.news);
    }

    /// Takes in another write, which came after this one.
    pub(super) fn join(&mut self, mut later: Pending) {
        self.number = self.number.max(later.number);
        self.replies.append(&mut later.replies);
        self.news.append(&mut later.news);
        self.transitions.append(&mut later.transitions);
    }

    /// Tells everyone who waited that the write is not known to be durable.
    pub(super) fn refuse(self, why: &str) {
        for answer in self.replies {
            match answer {
                Answer::Ids(reply, _) => reply(Err(poisoned(why))),
                Answer::Shown(reply, _) | Answer::Refused(reply, _) => reply(Err(poisoned(why))),
            }
        }
    }
}

pub(super) fn poisoned(why: &str) -> Error {
    Error::Store(StoreError::Poisoned(why.to_owned()))
}
