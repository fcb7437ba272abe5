//! A batch in the making: what is asked of the store, and why.
//!
//! # What it does not know
//!
//! How requests become moves, and what the store makes of them.

mod split;

use std::collections::HashSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::ages::Aged;
use super::audit::Deed;
use super::bulk::Job;
use super::incident::{Failed, Incident, Incidents, Stirred};
use super::latest::Line;
use super::mark::Mark;
use super::meet::{self, Awaitings};
use super::news::{Delivery, News, Who};
use super::pause;
use super::pending::{Pending, Steered, poisoned};
use super::registry::Registry;
use super::settle::Report;
use super::streams::Stretch;
use super::token::Change;
use super::words::{Accepted, Reply, Shown};
use crate::error::Error;
use crate::model::{Envelope, Event, Id, Place, Record, Stamp, WallMs};
use crate::store::{Batch, StoreError};

/// A batch in the making: what is asked of the store, and why.
pub(super) struct Draft {
    pub(super) batch: Batch,
    pub(super) now: Stamp,
    pub(super) accepts: Vec<Accepting>,
    pub(super) causes: Vec<Cause>,
    pub(super) deletes: Vec<Asking>,
    pub(super) news: Vec<News>,
    /// What becomes of destinations.
    pub(super) steered: Vec<Steered>,
    /// What becomes of the keys that messages await.
    pub(super) awaitings: Awaitings,
    /// What is kept in the audit log alone, and what becomes of tokens.
    pub(super) noted: Vec<Noted>,
    /// Incidents that are over.
    pub(super) over: Vec<Incident>,
    /// What becomes of incidents by all of it.
    pub(super) stirred: Stirred,
    /// How bulk jobs stand then.
    pub(super) jobs: Vec<(Job, Option<Deed>, Reply<Job>)>,
    /// How many bytes of bodies were read for acts on many.
    pub(super) bodies_read: usize,
    /// The hashes of the idempotency keys that this batch accepts.
    pub(super) repeated: HashSet<u64>,
    /// The keys of which only the latest counts, and that this batch accepts a message of or changes one of.
    pub(super) lines: HashSet<Line>,
}

/// Something that a person did to no message, and what becomes of a token by it.
pub(super) struct Noted {
    pub(super) deed: Deed,
    pub(super) token: Option<Change>,
    pub(super) reply: Reply<()>,
}

/// A request that hands in messages.
pub(super) struct Accepting {
    pub(super) reply: Reply<Accepted>,
    /// Where each of its ids comes from.
    pub(super) slots: Vec<Slot>,
    /// How far was read where they came from.
    pub(super) mark: Option<Mark>,
    /// What it says of the stream that they came by.
    pub(super) stretch: Option<Stretch>,
}

/// Where an id of a request comes from.
pub(super) enum Slot {
    New(usize),
    Before(Id),
}

/// Why a move is in the batch.
pub(super) enum Cause {
    /// An attempt ended.
    Report(Box<Report>),
    /// A person asked for it.
    Act(Box<Asking>),
    /// The message goes out.
    Claim(Box<Delivery>),
    /// A newer one of its key takes its place.
    Supersede(Who, Id, Arc<Envelope>),
    /// Its deadline passed, this one.
    Expire(Who, WallMs, Box<Record>),
}

/// What a person asked of a message that was reserved and read for it.
pub(super) struct Asking {
    pub(super) who: Who,
    pub(super) record: Box<Record>,
    pub(super) event: Event,
    /// The entry of the audit log; `None` where a bulk job keeps one for many.
    pub(super) deed: Option<Deed>,
    /// The bulk job that it is part of: it stands or falls with the step.
    pub(super) job: Option<u64>,
    pub(super) reply: Reply<Shown>,
}

impl Cause {
    /// The message, as far as its age is concerned; that it goes out changes nothing of that.
    pub(super) fn aged(&self) -> Option<Aged> {
        let Who { dest, entry } = self.who();
        self.what().map(|(id, envelope)| Aged::of(dest, entry.place, id, envelope))
    }

    /// Its id and envelope; `None` where it only goes out.
    pub(super) fn what(&self) -> Option<(Id, &Envelope)> {
        match self {
            Cause::Report(report) => Some((report.loaded.message.id, &report.loaded.message.envelope)),
            Cause::Claim(_) => None,
            Cause::Act(asking) => Some((asking.record.id, &asking.record.envelope)),
            Cause::Expire(.., record) => Some((record.id, &record.envelope)),
            Cause::Supersede(_, id, envelope) => Some((*id, envelope)),
        }
    }

    /// The message.
    pub(super) fn who(&self) -> Who {
        match self {
            Cause::Report(report) => report.who,
            Cause::Claim(delivery) => delivery.who,
            Cause::Act(asking) => asking.who,
            Cause::Supersede(who, ..) | Cause::Expire(who, ..) => *who,
        }
    }
}

impl Draft {
    /// An empty batch at this moment.
    pub(super) fn new(now: Stamp) -> Draft {
        Draft {
            batch: Batch { now: now.wall, ..Batch::default() },
            now,
            accepts: Vec::new(),
            causes: Vec::new(),
            deletes: Vec::new(),
            news: Vec::new(),
            steered: Vec::new(),
            awaitings: Awaitings::new(),
            noted: Vec::new(),
            over: Vec::new(),
            stirred: Stirred::default(),
            jobs: Vec::new(),
            bodies_read: 0,
            repeated: HashSet::new(),
            lines: HashSet::new(),
        }
    }

    /// Whether nothing is asked of the store.
    pub(super) fn is_empty(&self) -> bool {
        let Batch { accepts, moves, deletes, told, notes, dropped, pages: _, now: _ } = &self.batch;
        let is_bare = accepts.is_empty() && moves.is_empty() && deletes.is_empty() && told.is_empty();
        let is_silent = notes.is_empty() && dropped.is_empty() && self.over.is_empty();
        self.accepts.is_empty() && is_bare && is_silent && self.deeds().next().is_none()
    }

    /// Reckons the notes that the batch writes and drops, beside those of new messages.
    pub(super) fn take_notes(&mut self) {
        let (met, dropped) = meet::notes(&self.awaitings);
        let jobs = self.jobs.iter().map(|(job, ..)| job.note());
        let tokens = self.noted.iter().filter_map(|noted| noted.token.as_ref()).map(Change::note);
        let marks = self.accepts.iter().filter_map(|one| one.mark.as_ref());
        let (moved, gone): (Vec<&Mark>, Vec<&Mark>) = marks.partition(|mark| !mark.is.is_empty());
        let marks = moved.into_iter().map(Mark::note);
        let gone: Vec<Vec<u8>> = gone.into_iter().map(|mark| mark.note().key).collect();
        let notes = pause::notes(&self.steered).into_iter().chain(met).chain(jobs).chain(tokens).chain(marks);
        self.batch.notes = notes.chain(self.stirred.notes()).collect();
        self.batch.dropped = dropped;
        self.batch.dropped.extend(self.stirred.dropped().chain(gone));
    }

    /// Counts what failed, and closes what is over: what waited for room is counted with the rest, on what is known by then.
    pub(super) fn stir(&mut self, known: &Incidents) {
        self.stirred = Stirred::default();
        for (step, cause) in self.batch.moves.iter().zip(&self.causes) {
            // What could not be written before was counted then.
            if let Cause::Report(report) = cause
                && !report.is_heard
            {
                let message = &report.loaded.message;
                let failed = Failed {
                    dest: report.who.dest,
                    id: message.id,
                    key: message.envelope.key.as_deref(),
                    at: self.now.wall,
                };
                self.stirred.count(known, &failed, step);
            }
        }
        self.over.iter().for_each(|seen| self.stirred.close(known, seen, self.now.wall));
    }

    /// Whether it moves this mark already.
    pub(super) fn marks(&self, mark: Option<&Mark>) -> bool {
        let moved = |name| self.accepts.iter().filter_map(|one| one.mark.as_ref()).any(|own| own.name == name);
        mark.is_some_and(|mark| moved(mark.name.clone()))
    }

    /// What there is to say without a write.
    pub(super) fn only_news(self) -> Option<Pending> {
        let is_any = !self.news.is_empty() || !self.steered.is_empty();
        is_any.then_some(Pending { news: self.news, steered: self.steered, ..Pending::default() })
    }

    /// Takes the new messages out and tells their senders that there is no room.
    pub(super) fn refuse_accepts(&mut self, why: &str) {
        self.batch.accepts.clear();
        // Who was to give its place to one of them keeps it.
        let steps = std::mem::take(&mut self.batch.moves).into_iter().zip(std::mem::take(&mut self.causes));
        for (step, cause) in steps {
            if step.by.is_some() {
                self.news.push(News::Unchanged(cause.who()));
            } else {
                self.batch.moves.push(step);
                self.causes.push(cause);
            }
        }
        for Accepting { reply, .. } in self.accepts.drain(..) {
            reply(Err(Error::Store(StoreError::Full(why.to_owned()))));
        }
        self.hold_awaitings();
    }

    /// Takes out what people ask for, and tells them that there is no room.
    pub(super) fn refuse_people(&mut self, why: &str) {
        let full = || Error::Store(StoreError::Full(why.to_owned()));
        self.refuse_accepts(why);
        let steps = std::mem::take(&mut self.batch.moves);
        for (step, cause) in steps.into_iter().zip(std::mem::take(&mut self.causes)) {
            match cause {
                Cause::Act(asking) => {
                    let Asking { who, reply, .. } = *asking;
                    self.news.push(News::Unchanged(who));
                    reply(Err(full()));
                }
                // It waits on as it was, unreserved, so that a person can still act on it.
                Cause::Expire(who, deadline, _) => self.news.push(News::Unexpired(who, deadline)),
                Cause::Report(..) | Cause::Claim(..) | Cause::Supersede(..) => {
                    self.batch.moves.push(step);
                    self.causes.push(cause);
                }
            }
        }
        for steered in std::mem::take(&mut self.steered) {
            match steered.asked {
                Some((_, reply)) => reply(Err(full())),
                None => self.steered.push(steered),
            }
        }
        self.noted.drain(..).for_each(|noted| (noted.reply)(Err(full())));
        self.jobs.drain(..).for_each(|(.., reply)| reply(Err(full())));
        self.batch.deletes.clear();
        for Asking { who, reply, .. } in self.deletes.drain(..) {
            self.news.push(News::Unchanged(who));
            reply(Err(full()));
        }
        self.hold_awaitings();
    }

    /// Who was to be let go with a step that is not taken awaits what it awaited.
    fn hold_awaitings(&mut self) {
        let stepping = self.causes.iter().map(|cause| cause.who().entry.place);
        let stepping: HashSet<Place> = stepping.chain(self.batch.deletes.iter().copied()).collect();
        self.awaitings.retain(|place, awaiting| stepping.contains(place) || awaiting.hold());
        self.take_notes();
    }

    /// Adds what another batch asks for that brings neither new messages nor what people ask.
    pub(super) fn take_in(&mut self, other: Draft) {
        self.batch.moves.extend(other.batch.moves);
        self.causes.extend(other.causes);
        self.batch.told.extend(other.batch.told);
        for (place, awaiting) in other.awaitings {
            match self.awaitings.entry(place) {
                Entry::Occupied(mut own) => own.get_mut().take_in(awaiting),
                Entry::Vacant(free) => drop(free.insert(awaiting)),
            }
        }
        self.steered.extend(other.steered);
        self.news.extend(other.news);
    }

    /// Tells everyone that nothing was written.
    pub(super) fn refuse_all(self, why: &str) {
        for Accepting { reply, .. } in self.accepts {
            reply(Err(poisoned(why)));
        }
        for cause in self.causes {
            if let Cause::Act(asking) = cause {
                (asking.reply)(Err(poisoned(why)));
            }
        }
        for Asking { reply, .. } in self.deletes {
            reply(Err(poisoned(why)));
        }
        let asked = self.steered.into_iter().filter_map(|steered| steered.asked);
        asked.for_each(|(_, reply)| reply(Err(poisoned(why))));
        self.noted.into_iter().for_each(|noted| (noted.reply)(Err(poisoned(why))));
        self.jobs.into_iter().for_each(|(.., reply)| reply(Err(poisoned(why))));
    }

    /// What of it the audit log keeps.
    pub(super) fn deeds(&self) -> impl Iterator<Item = &Deed> {
        let asked = self.causes.iter().filter_map(|cause| match cause {
            Cause::Act(asking) => Some(&**asking),
            Cause::Report(_) | Cause::Claim(_) | Cause::Supersede(..) | Cause::Expire(..) => None,
        });
        let of_messages = asked.chain(&self.deletes).filter_map(|asking| asking.deed.as_ref());
        let of_destinations = self.steered.iter().filter_map(|steered| steered.asked.as_ref()).map(|(deed, _)| deed);
        let of_jobs = self.jobs.iter().filter_map(|(_, deed, _)| deed.as_ref());
        of_messages.chain(of_destinations).chain(self.noted.iter().map(|noted| &noted.deed)).chain(of_jobs)
    }

    /// Tells everyone that a damaged row hindered the write; what concerns the order of things to do goes into `news`.
    pub(super) fn set_back(self, why: &str, registry: &Registry, news: &mut Vec<News>) {
        let damaged = || Error::Store(StoreError::Damaged(why.to_owned()));
        for Accepting { reply, .. } in self.accepts {
            reply(Err(damaged()));
        }
        for cause in self.causes {
            match cause {
                Cause::Report(report) => {
                    let id = report.loaded.message.id;
                    registry.set_aside(vec![format!("message {id}: what became of it cannot be written: {why}")]);
                    news.push(News::SetBack(report.who));
                    registry.keep_unwritten(*report);
                }
                Cause::Claim(delivery) => {
                    log::error!("message at {} is set back: {why}", delivery.who.entry.place);
                    news.push(News::SetBack(delivery.who));
                }
                Cause::Act(asking) => {
                    let Asking { who, reply, .. } = *asking;
                    news.push(News::Unchanged(who));
                    reply(Err(damaged()));
                }
                Cause::Supersede(who, id, _) => {
                    log::error!("message {id} keeps its place before a newer one: {why}");
                    news.push(News::Unchanged(who));
                }
                Cause::Expire(who, deadline, _) => {
                    log::error!(
                        "message at {} is past its deadline, and that cannot be written: {why}",
                        who.entry.place
                    );
                    news.push(News::Unexpired(who, deadline));
                }
            }
        }
        for Asking { who, reply, .. } in self.deletes {
            news.push(News::Unchanged(who));
            reply(Err(damaged()));
        }
        for Steered { dest, steer, asked } in self.steered {
            log::error!("destination {} cannot be steered ({steer:?}): {why}", dest.0);
            if let Some((_, reply)) = asked {
                reply(Err(damaged()));
            }
        }
        self.noted.into_iter().for_each(|noted| (noted.reply)(Err(damaged())));
        self.jobs.into_iter().for_each(|(.., reply)| reply(Err(damaged())));
        for place in self.awaitings.into_keys() {
            log::error!(
                "what message {place} waited for was delivered or is given up, and that cannot be written: {why}"
            );
        }
        if !self.batch.told.is_empty() {
            log::error!("a person was told of a message, and that cannot be written: {why}");
        }
    }
}
