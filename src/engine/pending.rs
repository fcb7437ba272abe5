//! A write that is not yet durable, and those who wait for it.
//!
//! # What holds
//!
//! * Nobody hears of anything before it is durable: replies, news and transitions sit here until the sync.
//! * Every reply is given exactly once.
//!
//! # What it does not know
//!
//! Who syncs, and when.

use std::sync::atomic::Ordering;

use super::audit::Deed;
use super::bulk::Job;
use super::news::News;
use super::pause::Pause;
use super::registry::Registry;
use super::token::Change;
use super::words::{Accepted, Lane, Reply, Shown, Transition};
use crate::error::Error;
use crate::model::{Envelope, Id, Record, Stamp, State, WallMs};
use crate::store::{CommitNo, Dest, StoreError};

/// A write that is not yet durable, and those who wait for it.
#[derive(Default)]
pub(super) struct Pending {
    /// What to sync.
    pub(super) number: CommitNo,
    pub(super) replies: Vec<Answer>,
    pub(super) news: Vec<News>,
    pub(super) transitions: Vec<Transition>,
    pub(super) steered: Vec<Steered>,
    pub(super) noted: Vec<(Option<Change>, Reply<()>)>,
    pub(super) jobs: Vec<(Job, Reply<Job>)>,
}

/// What becomes of a destination; where a person asked for it, that, and who waits.
pub(super) struct Steered {
    pub(super) dest: Dest,
    pub(super) steer: Steer,
    pub(super) asked: Option<(Deed, Reply<Lane>)>,
}

/// What is to be done with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Steer {
    /// It is paused from now on, or is not.
    Pause(Option<Pause>),
    /// Its next cycle begins.
    Cycle,
}

/// A reply, and what it will say.
pub(super) enum Answer {
    /// The messages were taken.
    Accepted(Reply<Accepted>, Accepted),
    /// It happened.
    Shown(Reply<Shown>, Box<Record>),
    /// It did not happen after all.
    Refused(Reply<Shown>, Error),
}

impl Pending {
    /// Tells everyone who waited, now that it is durable; what concerns the order of things to do goes into `news`.
    pub(super) fn announce(self, registry: &Registry, now: Stamp, news: &mut Vec<News>) {
        registry.figures.commit.fetch_max(self.number, Ordering::Relaxed);
        for answer in self.replies {
            match answer {
                Answer::Accepted(reply, accepted) => reply(Ok(accepted)),
                Answer::Refused(reply, error) => reply(Err(error)),
                Answer::Shown(reply, record) => {
                    let shown = match registry.store.get(record.place) {
                        Ok(Some(after)) => registry.shown(after, now.wall),
                        Ok(None) | Err(_) => {
                            Shown { record: *record, waits_for: None, after: Vec::new(), due_at: None }
                        }
                    };
                    reply(Ok(shown));
                }
            }
        }
        if !self.transitions.is_empty() {
            registry.tell(&self.transitions);
        }
        for Steered { dest, steer, asked } in self.steered {
            registry.steer(dest, steer);
            news.push(News::Steered);
            if let Some((_, reply)) = asked {
                reply(Ok(registry.lane_shown(dest, now)));
            }
        }
        for (job, reply) in self.jobs {
            registry.jobs().insert(job.clone());
            reply(Ok(job));
        }
        for (change, reply) in self.noted {
            if let Some(change) = change {
                registry.tokens().apply(&change);
                change.say();
            }
            reply(Ok(()));
        }
        news.extend(self.news);
    }

    /// Takes in what another write did.
    pub(super) fn append(&mut self, mut other: Pending) {
        self.number = self.number.max(other.number);
        self.replies.append(&mut other.replies);
        self.news.append(&mut other.news);
        self.transitions.append(&mut other.transitions);
        self.steered.append(&mut other.steered);
        self.noted.append(&mut other.noted);
        self.jobs.append(&mut other.jobs);
    }

    /// Tells everyone who waited that the write is not known to be durable.
    pub(super) fn refuse(self, why: &str) {
        for answer in self.replies {
            match answer {
                Answer::Accepted(reply, _) => reply(Err(poisoned(why))),
                Answer::Shown(reply, _) | Answer::Refused(reply, _) => reply(Err(poisoned(why))),
            }
        }
        let asked = self.steered.into_iter().filter_map(|steered| steered.asked);
        asked.for_each(|(_, reply)| reply(Err(poisoned(why))));
        self.noted.into_iter().for_each(|(_, reply)| reply(Err(poisoned(why))));
        self.jobs.into_iter().for_each(|(_, reply)| reply(Err(poisoned(why))));
    }
}

/// The error of an engine that failed for this reason.
pub(super) fn poisoned(why: &str) -> Error {
    Error::Store(StoreError::Poisoned(why.to_owned()))
}

/// Something that happened, as those who watch are told of it.
pub(super) fn transition(
    id: Id,
    envelope: &Envelope,
    state: State,
    attempts: u16,
    at: WallMs,
    detail: Option<String>,
) -> Transition {
    Transition { id, destination: envelope.destination.clone(), key: envelope.key.clone(), state, attempts, at, detail }
}
