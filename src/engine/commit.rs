//! Committing: many requests and outcomes, one durable write.
//!
//! ```text
//! requests ─┐
//! reports  ─┴─▶ Committer::write ─▶ Pending ─▶ (Store::sync) ─▶ Pending::announce ─▶ replies, News, Transitions
//! ```
//!
//! # What holds
//!
//! * Nobody hears of anything before it is durable: replies, news and transitions sit in [`Pending`] until the sync.
//! * A request is kept whole or not at all, and gets exactly one reply.
//! * A full disk refuses what is new and still writes down what became of the old.
//!
//! # What it does not know
//!
//! Threads, channels, the clock; who syncs and when.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::accept::{Repeated, Window};
use super::act::{Plan, expire, plan};
use super::draft::{Cause, Draft, Slot};
use super::pending::{Answer, Pending};
use super::registry::Registry;
use super::schedule::{News, Taken, Who};
use super::settle::{Report, attempt_number, settle};
use super::words::{Act, Reply, Shown, Transition};
use crate::error::Error;
use crate::model::{
    Envelope, Event, Id, Illegal, Message, Place, Policy, Queued, Record, Stamp, State, WallMs, advance,
};
use crate::store::{Committed, Expect, Incoming, Loaded, Move, Moved, StoreError, key_hash};

/// Something to be written down.
pub(super) enum Request {
    /// New messages, all or none.
    Accept(Vec<Incoming>, Reply<Vec<Id>>),
    /// What a person asks of a message.
    Act(Id, Act, Reply<Shown>),
    /// A message is about to go out to a destination that must not get it twice.
    Claim(Who),
    /// A reserved message's deadline passed.
    Expire(Who),
    /// A person has been told of these.
    Told(Vec<Place>),
    /// What became of an attempt.
    Report(Box<Report>),
    /// Nothing more will come.
    Stop,
}

/// Gathers requests into commits.
pub(super) struct Committer {
    registry: Arc<Registry>,
    window: Window,
    /// Requests that must wait for a write that is under way.
    put_off: Vec<Request>,
    policy: Policy,
}

impl Committer {
    /// A committer that remembers the idempotency keys of the last day.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn new(registry: Arc<Registry>, now: Stamp) -> Result<Committer, StoreError> {
        let mut window = Window::default();
        let since = WallMs(now.wall.0.saturating_sub(super::accept::IDEMPOTENCY_MS));
        registry.store.idempotent(since, &mut |hash, place| window.remember(hash, place, now.wall))?;
        Ok(Committer { registry, window, put_off: Vec::new(), policy: Policy::default() })
    }

    /// Whether requests wait for a write that is under way, to be tried again with the next.
    pub(super) fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// Answers what was put off that it did not happen.
    pub(super) fn refuse_put_off(&mut self, why: &dyn Fn() -> Error) {
        self.put_off.drain(..).for_each(|request| request.refuse(why));
    }

    /// Writes the requests down as one commit. `Ok(None)` where there was nothing to write.
    ///
    /// # Errors
    /// The store failed: nothing was kept, everyone has been answered, and the registry takes nothing more.
    pub(super) fn write(&mut self, requests: Vec<Request>, now: Stamp) -> Result<Option<Pending>, StoreError> {
        let mut draft = Draft::new(now);
        let put_off = std::mem::take(&mut self.put_off);
        for request in put_off.into_iter().chain(requests) {
            self.enter(&mut draft, request);
        }
        self.write_draft(draft)
    }

    fn write_draft(&mut self, mut draft: Draft) -> Result<Option<Pending>, StoreError> {
        if draft.is_empty() {
            return Ok(draft.only_news());
        }
        match self.registry.store.commit(&draft.batch) {
            Ok(committed) => Ok(Some(self.pending(draft, &committed))),
            Err(StoreError::Full(why)) if !draft.accepts.is_empty() => {
                draft.refuse_accepts(&why);
                self.write_draft(draft)
            }
            Err(StoreError::Damaged(_)) if draft.items() > 1 => self.write_apart(draft),
            Err(StoreError::Damaged(what)) => Ok(draft.set_aside(&what)),
            Err(error) => {
                let why = error.to_string();
                self.registry.poison(&why);
                draft.refuse_all(&why);
                Err(error)
            }
        }
    }

    /// Writes every item by itself: one that touches a damaged row must not sink the others.
    fn write_apart(&mut self, draft: Draft) -> Result<Option<Pending>, StoreError> {
        let mut whole: Option<Pending> = None;
        let mut items = draft.apart().into_iter();
        while let Some(item) = items.next() {
            match self.write_draft(item) {
                Ok(Some(pending)) => match &mut whole {
                    Some(whole) => whole.join(pending),
                    None => whole = Some(pending),
                },
                Ok(None) => {}
                Err(error) => {
                    let why = error.to_string();
                    items.for_each(|item| item.refuse_all(&why));
                    whole.into_iter().for_each(|written| written.refuse(&why));
                    return Err(error);
                }
            }
        }
        Ok(whole)
    }

    fn enter(&mut self, draft: &mut Draft, request: Request) {
        match request {
            Request::Accept(incoming, reply) => self.enter_accept(draft, incoming, reply),
            Request::Act(id, act, reply) => self.enter_act(draft, id, act, reply),
            Request::Claim(who) => self.enter_claim(draft, who),
            Request::Expire(who) => self.enter_expire(draft, who),
            Request::Told(places) => draft.batch.told.extend(places),
            Request::Stop => {}
            Request::Report(report) => {
                let rules = self.registry.rules(report.who.dest);
                draft.batch.moves.push(settle(&report, rules.map_or(&self.policy, |rules| &rules.policy)));
                draft.causes.push(Cause::Report(report.who, Box::new(report.loaded.message)));
            }
        }
    }

    fn enter_accept(&mut self, draft: &mut Draft, incoming: Vec<Incoming>, reply: Reply<Vec<Id>>) {
        let keys = || incoming.iter().filter_map(|one| one.draft.envelope.idempotency_key.as_deref()).map(key_hash);
        if keys().any(|hash| draft.repeated.contains(&hash)) {
            self.put_off.push(Request::Accept(incoming, reply));
            return;
        }
        let mut slots = Vec::with_capacity(incoming.len());
        let mut fresh = Vec::with_capacity(incoming.len());
        let mut own = std::collections::HashSet::new();
        for one in incoming {
            match self.window.look_up(&one.draft, &*self.registry.store) {
                Ok(Repeated::No) => {
                    if let Some(key) = one.draft.envelope.idempotency_key.as_deref()
                        && !own.insert(key_hash(key))
                    {
                        let words = format!("the idempotency key {key:?} comes twice in one request");
                        return reply(Err(Error::Invalid(words)));
                    }
                    slots.push(Slot::New(draft.batch.accepts.len() + fresh.len()));
                    fresh.push(self.with_deadline(one, draft.now.wall));
                }
                Ok(Repeated::Before(id)) => slots.push(Slot::Before(id)),
                Ok(Repeated::Conflict(id)) => return reply(Err(Error::Conflict { id })),
                Err(error) => return reply(Err(Error::Store(error))),
            }
        }
        draft.repeated.extend(own);
        draft.batch.accepts.append(&mut fresh);
        draft.accepts.push((reply, slots));
    }

    fn with_deadline(&self, mut incoming: Incoming, now: WallMs) -> Incoming {
        let rules = self.registry.rules(incoming.dest);
        if incoming.draft.envelope.deadline.is_none() {
            incoming.draft.envelope.deadline =
                rules.and_then(|rules| rules.deadline_ms).map(|deadline_ms| now.plus(deadline_ms));
        }
        incoming
    }

    fn enter_act(&mut self, draft: &mut Draft, id: Id, act: Act, reply: Reply<Shown>) {
        let found = self.registry.place(id).and_then(|place| self.reserve(place));
        let (place, taken) = match found {
            Ok(found) => found,
            Err(error) => return reply(Err(error)),
        };
        if taken == Some(Taken::Reserved) {
            self.put_off.push(Request::Act(id, act, reply));
            return;
        }
        // Only now, with the message reserved, is what we read the last word on it.
        let record = match self.registry.store.get(place) {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.registry.scheduler().forget(place);
                return reply(Err(Error::NotFound(id)));
            }
            Err(error) => {
                self.registry.unreadable(place, &error);
                self.registry.scheduler().forget(place);
                return reply(Err(Error::Store(error)));
            }
        };
        if taken == Some(Taken::Out) && record.state.is_final() {
            // Its outcome is written, and the scheduler has yet to hear of it.
            self.put_off.push(Request::Act(id, act, reply));
            return;
        }
        if taken == Some(Taken::Out) {
            let state = State::Sending(attempt_number(record.state, record.attempts));
            return reply(Err(Error::Refused { id, illegal: Illegal { state, event: event_of(&act) } }));
        }
        self.enter_reserved_act(draft, record, act, reply);
    }

    fn enter_reserved_act(&mut self, draft: &mut Draft, record: Record, act: Act, reply: Reply<Shown>) {
        let who = match self.registry.destination(&record.envelope.destination) {
            Ok(dest) => self.registry.who(dest, record.place, record.envelope.key.as_deref()),
            Err(error) => {
                self.registry.scheduler().forget(record.place);
                return reply(Err(error));
            }
        };
        let rules = self.registry.rules(who.dest);
        let event = event_of(&act);
        match plan(&record, act, rules.map(|rules| &**rules), draft.now.wall) {
            Ok(Plan::Step(step)) => {
                draft.batch.moves.push(*step);
                draft.causes.push(Cause::Act(who, Box::new(record), event, reply));
            }
            Ok(Plan::Delete(place)) => {
                draft.batch.deletes.push(place);
                draft.deletes.push((who, Box::new(record), reply));
            }
            Err(error) => {
                draft.news.push(News::Unchanged { who, state: record.state });
                reply(Err(error));
            }
        }
    }

    fn reserve(&self, place: Place) -> Result<(Place, Option<Taken>), Error> {
        Ok((place, self.registry.scheduler().reserve(place).err()))
    }

    fn enter_claim(&mut self, draft: &mut Draft, who: Who) {
        let loaded = match self.registry.store.load(who.entry.place) {
            Ok(Some(loaded)) if !loaded.expect.state.is_held() => loaded,
            Ok(Some(_) | None) => return draft.news.push(News::Void(who)),
            Err(error) => {
                self.registry.unreadable(who.entry.place, &error);
                return draft.news.push(News::Void(who));
            }
        };
        let Expect { state, attempts, revision } = loaded.expect;
        let number = attempt_number(state, attempts);
        let Ok(to) = advance(state, Event::Claim(number)) else {
            return draft.news.push(News::Void(who));
        };
        draft.batch.moves.push(Move {
            place: who.entry.place,
            expect: loaded.expect,
            to,
            by: None,
            attempts: number,
            series: loaded.series,
            attempt: None,
            amend: None,
            untold: false,
        });
        let expect = Expect { state: to, attempts: number, revision };
        draft.causes.push(Cause::Claim(who, Box::new(Loaded { expect, ..loaded })));
    }

    fn enter_expire(&mut self, draft: &mut Draft, who: Who) {
        match self.registry.store.get(who.entry.place) {
            Ok(Some(record)) => match expire(&record) {
                Some(step) => {
                    draft.batch.moves.push(step);
                    draft.causes.push(Cause::Expire(who, Box::new(record)));
                }
                None => draft.news.push(News::Changed { who, state: None, deadline: None }),
            },
            Ok(None) => draft.news.push(News::Changed { who, state: None, deadline: None }),
            Err(error) => {
                self.registry.unreadable(who.entry.place, &error);
                draft.news.push(News::Changed { who, state: None, deadline: None });
            }
        }
    }

    /// Sorts what the store did to those who wait for it.
    fn pending(&mut self, draft: Draft, committed: &Committed) -> Pending {
        let mut pending =
            Pending { number: committed.number, replies: Vec::new(), news: draft.news, transitions: Vec::new() };
        let watched = self.registry.is_watched();
        for (reply, slots) in draft.accepts {
            let id = |slot: Slot| match slot {
                Slot::New(position) => committed.accepted.get(position).map(|(id, _)| *id),
                Slot::Before(id) => Some(id),
            };
            pending.replies.push(Answer::Ids(reply, slots.into_iter().filter_map(id).collect()));
        }
        for (incoming, (id, place)) in draft.batch.accepts.into_iter().zip(&committed.accepted) {
            self.accepted(&mut pending, incoming, *id, *place, draft.now, watched);
        }
        for ((step, moved), cause) in draft.batch.moves.iter().zip(&committed.moved).zip(draft.causes) {
            self.moved(&mut pending, step, *moved, cause, draft.now, watched);
        }
        for ((who, record, reply), was_there) in draft.deletes.into_iter().zip(&committed.deleted) {
            pending.news.push(News::Changed { who, state: None, deadline: None });
            pending.replies.push(match was_there {
                true => Answer::Shown(reply, record),
                false => Answer::Refused(reply, Error::NotFound(record.id)),
            });
        }
        pending
    }

    fn accepted(&mut self, pending: &mut Pending, incoming: Incoming, id: Id, place: Place, now: Stamp, watched: bool) {
        let Incoming { draft, dest, wait, id: _ } = incoming;
        let who = self.registry.who(dest, place, draft.envelope.key.as_deref());
        if let Some(key) = &draft.envelope.idempotency_key {
            self.window.remember(key_hash(key), place, now.wall);
        }
        let deadline = draft.envelope.deadline;
        let state = State::Queued(wait);
        if watched {
            pending.transitions.push(transition(id, &draft.envelope, state, 0, now.wall, None));
        }
        let loaded = Loaded {
            message: Message {
                id,
                attempt: 0,
                content_type: draft.envelope.content_type.clone(),
                envelope: Arc::new(draft.envelope),
                body: draft.body,
            },
            expect: Expect { state, attempts: 0, revision: 1 },
            series: 0,
        };
        let fresh = (wait == Queued::Ready).then_some(loaded);
        pending.news.push(News::Accepted { who, wait, deadline, fresh });
        self.registry.figures.accepted.fetch_add(1, Ordering::Relaxed);
    }

    fn moved(&self, pending: &mut Pending, step: &Move, moved: Moved, cause: Cause, now: Stamp, watched: bool) {
        let state = match moved {
            Moved::Done => Some(step.to),
            Moved::Stale(found) => Some(found.state),
            Moved::Gone => None,
        };
        match cause {
            Cause::Report(who, message) if moved == Moved::Done => {
                self.count(step);
                if watched {
                    let detail = step.attempt.as_ref().map(|attempt| attempt.detail.clone());
                    let detail = detail.filter(|detail| !detail.is_empty());
                    pending.transitions.push(transition(
                        message.id,
                        &message.envelope,
                        step.to,
                        step.attempts,
                        now.wall,
                        detail,
                    ));
                }
                pending.news.push(News::Settled { who, state: step.to });
            }
            Cause::Report(who, message) => {
                log::warn!("late outcome of message {}: it is {moved:?} by now", message.id);
                self.registry.figures.late.fetch_add(1, Ordering::Relaxed);
                pending.news.push(News::Void(who));
            }
            Cause::Claim(who, loaded) if moved == Moved::Done => {
                pending.news.push(News::Claimed { who, loaded: *loaded });
            }
            Cause::Claim(who, _) => pending.news.push(News::Void(who)),
            Cause::Act(who, record, event, reply) => {
                if watched && moved == Moved::Done {
                    pending.transitions.push(transition(
                        record.id,
                        &record.envelope,
                        step.to,
                        step.attempts,
                        now.wall,
                        None,
                    ));
                }
                pending.news.push(News::Changed { who, state, deadline: record.envelope.deadline });
                pending.replies.push(match moved {
                    Moved::Done => Answer::Shown(reply, record),
                    Moved::Stale(Expect { state, .. }) => {
                        Answer::Refused(reply, Error::Refused { id: record.id, illegal: Illegal { state, event } })
                    }
                    Moved::Gone => Answer::Refused(reply, Error::NotFound(record.id)),
                });
            }
            Cause::Expire(who, record) => {
                if watched && moved == Moved::Done {
                    pending.transitions.push(transition(
                        record.id,
                        &record.envelope,
                        step.to,
                        step.attempts,
                        now.wall,
                        None,
                    ));
                }
                pending.news.push(News::Changed { who, state, deadline: None });
            }
        }
    }

    fn count(&self, step: &Move) {
        let figures = &self.registry.figures;
        figures.attempts.fetch_add(1, Ordering::Relaxed);
        if step.to == State::Delivered {
            figures.delivered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Request {
    /// Answers whoever asked that it did not happen.
    pub(super) fn refuse(self, why: &dyn Fn() -> Error) {
        match self {
            Request::Accept(_, reply) => reply(Err(why())),
            Request::Act(_, _, reply) => reply(Err(why())),
            Request::Claim(_) | Request::Expire(_) | Request::Told(_) | Request::Report(_) | Request::Stop => {}
        }
    }

    /// The bytes of bodies that it brings along.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Request::Accept(incoming, _) => incoming.iter().map(|one| one.draft.body.len()).sum(),
            Request::Act(_, Act::Edit { body, .. }, _) => body.len(),
            Request::Act(..)
            | Request::Claim(_)
            | Request::Expire(_)
            | Request::Told(_)
            | Request::Report(_)
            | Request::Stop => 0,
        }
    }
}

fn transition(
    id: Id,
    envelope: &Envelope,
    state: State,
    attempts: u16,
    at: WallMs,
    detail: Option<String>,
) -> Transition {
    Transition { id, destination: envelope.destination.clone(), key: envelope.key.clone(), state, attempts, at, detail }
}

fn event_of(act: &Act) -> Event {
    match act {
        Act::Edit { .. } => Event::Amend,
        Act::Hold => Event::Hold,
        Act::Release => Event::Release(WallMs(0)),
        Act::Resend(when) => Event::Resend(*when),
        Act::Arrived => Event::Arrived,
        Act::Cancel | Act::Delete => Event::Cancel,
    }
}
