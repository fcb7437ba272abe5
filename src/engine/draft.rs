//! A commit in the making: what is asked of the store, and who asked for it.
//!
//! # What holds
//!
//! * Every cause stands beside its step, every reply beside its messages: in the same order as in the batch.
//! * However a draft ends (written, refused, taken apart, set aside), each of its callers hears once.
//!
//! # What it does not know
//!
//! How requests become steps, and what the store says.

use std::collections::HashSet;

use super::pending::{Pending, poisoned};
use super::schedule::{News, Who};
use super::words::{Reply, Shown};
use crate::error::Error;
use crate::model::{Event, Id, Message, Record, Stamp};
use crate::store::{Batch, Loaded, StoreError};

/// A batch in the making: what is asked of the store, and why.
pub(super) struct Draft {
    pub(super) batch: Batch,
    pub(super) now: Stamp,
    pub(super) accepts: Vec<(Reply<Vec<Id>>, Vec<Slot>)>,
    pub(super) causes: Vec<Cause>,
    pub(super) deletes: Vec<(Who, Box<Record>, Reply<Shown>)>,
    pub(super) news: Vec<News>,
    pub(super) repeated: HashSet<u64>,
}

/// Where an id of a request comes from.
pub(super) enum Slot {
    New(usize),
    Before(Id),
}

/// Why a move is in the batch.
pub(super) enum Cause {
    Report(Who, Box<Message>),
    Act(Who, Box<Record>, Event, Reply<Shown>),
    Claim(Who, Box<Loaded>),
    Expire(Who, Box<Record>),
}

impl Draft {
    pub(super) fn new(now: Stamp) -> Draft {
        Draft {
            batch: Batch { now: now.wall, ..Batch::default() },
            now,
            accepts: Vec::new(),
            causes: Vec::new(),
            deletes: Vec::new(),
            news: Vec::new(),
            repeated: HashSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let Batch { accepts, moves, deletes, told, .. } = &self.batch;
        self.accepts.is_empty() && accepts.is_empty() && moves.is_empty() && deletes.is_empty() && told.is_empty()
    }

    pub(super) fn only_news(self) -> Option<Pending> {
        let none = self.news.is_empty();
        (!none).then_some(Pending { number: 0, replies: Vec::new(), news: self.news, transitions: Vec::new() })
    }

    pub(super) fn refuse_accepts(&mut self, why: &str) {
        self.batch.accepts.clear();
        for (reply, _) in self.accepts.drain(..) {
            reply(Err(Error::Store(StoreError::Full(why.to_owned()))));
        }
    }

    pub(super) fn refuse_all(self, why: &str) {
        for (reply, _) in self.accepts {
            reply(Err(poisoned(why)));
        }
        for cause in self.causes {
            if let Cause::Act(_, _, _, reply) = cause {
                reply(Err(poisoned(why)));
            }
        }
        for (_, _, reply) in self.deletes {
            reply(Err(poisoned(why)));
        }
    }

    /// What it asks of the store, counted: requests, steps, deletes, told messages.
    pub(super) fn items(&self) -> usize {
        self.accepts.len() + self.causes.len() + self.deletes.len() + self.batch.told.len()
    }

    /// Each of its items in a draft of its own, in the same order. The news goes with the first.
    pub(super) fn apart(self) -> Vec<Draft> {
        let now = self.now;
        let mut items = Vec::with_capacity(self.items());
        let mut incoming = self.batch.accepts.into_iter();
        for (reply, mut slots) in self.accepts {
            let mut item = Draft::new(now);
            for slot in &mut slots {
                if let Slot::New(position) = slot {
                    *position = item.batch.accepts.len();
                    item.batch.accepts.extend(incoming.next());
                }
            }
            item.accepts.push((reply, slots));
            items.push(item);
        }
        for (step, cause) in self.batch.moves.into_iter().zip(self.causes) {
            let mut item = Draft::new(now);
            item.batch.moves.push(step);
            item.causes.push(cause);
            items.push(item);
        }
        for (place, delete) in self.batch.deletes.into_iter().zip(self.deletes) {
            let mut item = Draft::new(now);
            item.batch.deletes.push(place);
            item.deletes.push(delete);
            items.push(item);
        }
        for place in self.batch.told {
            let mut item = Draft::new(now);
            item.batch.told.push(place);
            items.push(item);
        }
        if let Some(first) = items.first_mut() {
            first.news = self.news;
        }
        items
    }

    /// Ends what cannot be written because a row it needs is damaged: its callers hear so, and the message is not tried again before a start.
    pub(super) fn set_aside(mut self, what: &str) -> Option<Pending> {
        log::error!("set aside: {what}");
        let damaged = || Error::Store(StoreError::Damaged(what.to_owned()));
        self.accepts.drain(..).for_each(|(reply, _)| reply(Err(damaged())));
        for cause in self.causes.drain(..) {
            match cause {
                Cause::Report(who, _) | Cause::Claim(who, _) => self.news.push(News::Void(who)),
                Cause::Expire(who, _) => self.news.push(News::Changed { who, state: None, deadline: None }),
                Cause::Act(who, record, _, reply) => {
                    self.news.push(News::Unchanged { who, state: record.state });
                    reply(Err(damaged()));
                }
            }
        }
        for (who, record, reply) in self.deletes.drain(..) {
            self.news.push(News::Unchanged { who, state: record.state });
            reply(Err(damaged()));
        }
        self.only_news()
    }
}
