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
//! * A row that is damaged hinders only what touches it.
//! * A full disk refuses what is new and still writes down what became of the old.
//!
//! # What it does not know
//!
//! Threads, channels, the clock; who syncs and when.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::accept::Window;
use super::after::Awaited;
use super::ages::Aged;
use super::audit::Log;
use super::bulk::Ledger;
use super::draft::{Accepting, Asking, Cause, Draft, Slot};
use super::gate::Ended;
use super::latest::Latest;
use super::news::{News, Who};
use super::pause::Watch;
use super::pending::{Answer, Pending, transition};
use super::registry::Registry;
use super::request::Request;
use super::settle::Report;
use super::token::Tokens;
use super::words::Accepted;
use crate::error::Error;
use crate::model::{Envelope, Event, Id, Illegal, Message, Place, Policy, Queued, Record, Stamp, State, WallMs};
use crate::store::{Committed, Dest, Expect, Incoming, Loaded, Move, Moved, Note, Older, StoreError, idempotency_hash};

/// How soon a full disk is tried again.
const ROOM_MS: u64 = 1_000;

/// Gathers requests into commits.
pub(super) struct Committer {
    pub(super) registry: Arc<Registry>,
    pub(super) window: Window,
    /// Requests that must wait for a write that is under way.
    pub(super) put_off: Vec<Request>,
    /// What a full disk keeps from being written, and when it is tried again, on the monotonic clock.
    waiting: Option<(Draft, u64)>,
    pub(super) policy: Policy,
    pub(super) watch: Watch,
    pub(super) latest: Latest,
    pub(super) audit: Log,
    pub(super) bulk: Ledger,
    pub(super) tokens: Tokens,
    pub(super) awaited: Awaited,
    /// Destinations of which it was told that a rule over their answers fails.
    pub(super) failed_rules: HashSet<Dest>,
}

impl Committer {
    /// A committer that remembers the idempotency keys of the last day.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn new(
        registry: Arc<Registry>,
        latest: Latest,
        awaited: Awaited,
        now: Stamp,
    ) -> Result<Committer, StoreError> {
        let mut window = Window::default();
        let since = WallMs(now.wall.0.saturating_sub(super::accept::IDEMPOTENCY_MS));
        let aside = registry.store.idempotent(since, &mut |hash, place| window.remember(hash, place, now.mono_ms))?;
        registry.set_aside(aside);
        let audit = Log::open(&registry)?;
        let (bulk, tokens) = (registry.jobs().clone(), registry.tokens().clone());
        Ok(Committer {
            registry,
            window,
            put_off: Vec::new(),
            waiting: None,
            policy: Policy::default(),
            watch: Watch::default(),
            latest,
            audit,
            bulk,
            tokens,
            awaited,
            failed_rules: HashSet::new(),
        })
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
        if let Some((waiting, _)) = self.waiting.take_if(|(_, until_ms)| *until_ms <= now.mono_ms) {
            draft.take_in(waiting);
            self.await_anew(&mut draft);
        }
        let put_off = std::mem::take(&mut self.put_off);
        for request in put_off.into_iter().chain(requests) {
            self.enter(&mut draft, request);
        }
        draft.stir(&self.registry.incidents());
        draft.take_notes();
        if draft.is_empty() {
            return Ok(draft.only_news());
        }
        match self.commit(&mut draft) {
            Ok(committed) => Ok(Some(self.pending(draft, &committed))),
            Err(StoreError::Damaged(why)) => self.write_singly(draft, &why).map(Some),
            Err(StoreError::Full(why)) => Ok(self.wait_for_room(draft, &why)),
            Err(error) => {
                let why = error.to_string();
                self.registry.poison(&why);
                draft.refuse_all(&why);
                Err(error)
            }
        }
    }

    /// Commits the batch; on a full disk, what of it is not new.
    fn commit(&mut self, draft: &mut Draft) -> Result<Committed, StoreError> {
        match self.commit_whole(draft) {
            Err(StoreError::Full(why)) if !draft.accepts.is_empty() => {
                draft.refuse_accepts(&why);
                if draft.is_empty() {
                    return Ok(Committed::default());
                }
                self.commit_whole(draft)
            }
            result => result,
        }
    }

    /// Commits the batch with its entries of the audit log, and with what it writes into ledgers.
    fn commit_whole(&mut self, draft: &mut Draft) -> Result<Committed, StoreError> {
        let (entries, head) = self.audit.chain(draft.deeds(), draft.now.wall);
        let entering = self.registry.books().enter(draft, &self.registry)?;
        let own = draft.batch.notes.len();
        let verdicts: Vec<Note> = self.registry.verdicts.notes(draft).collect();
        // What ends again in the commit that says how it ended before is still to be said.
        draft.batch.dropped.retain(|key| verdicts.iter().all(|note| note.key != *key));
        draft.batch.notes.extend(entries.into_iter().chain(entering.notes()).chain(verdicts));
        let result = self.registry.store.commit(&draft.batch);
        match &result {
            Ok(committed) => {
                self.audit.advance(head, draft.now.wall);
                self.registry.books().adopt(entering, committed, &*self.registry.store);
            }
            Err(_) => draft.batch.notes.truncate(own),
        }
        result
    }

    /// A damaged row sinks the whole batch that touches it: written one by one, only what touches it is refused.
    fn write_singly(&mut self, mut draft: Draft, why: &str) -> Result<Pending, StoreError> {
        log::error!("a batch met damage, and is written item by item: {why}");
        let parts = draft.split();
        let mut whole = Pending { news: draft.news, ..Pending::default() };
        let mut parts = parts.into_iter();
        while let Some(mut part) = parts.next() {
            match self.commit(&mut part) {
                Ok(committed) => whole.append(self.pending(part, &committed)),
                Err(StoreError::Damaged(why)) => part.set_back(&why, &self.registry, &mut whole.news),
                Err(StoreError::Full(why)) => {
                    let told = self.wait_for_room(part, &why);
                    told.into_iter().for_each(|told| whole.append(told));
                }
                Err(error) => {
                    let why = error.to_string();
                    self.registry.poison(&why);
                    parts.chain([part]).for_each(|part| part.refuse_all(&why));
                    whole.refuse(&why);
                    return Err(error);
                }
            }
        }
        Ok(whole)
    }

    /// On a full disk without a ballast, people hear so, and what became of messages waits until there is room.
    fn wait_for_room(&mut self, mut draft: Draft, why: &str) -> Option<Pending> {
        draft.refuse_people(why);
        let news = std::mem::take(&mut draft.news);
        let until_ms = draft.now.mono_ms.saturating_add(ROOM_MS);
        if !draft.is_empty() {
            match &mut self.waiting {
                Some((waiting, _)) => waiting.take_in(draft),
                None => self.waiting = Some((draft, until_ms)),
            }
        }
        (!news.is_empty()).then_some(Pending { news, ..Pending::default() })
    }

    /// When what waits for room on the disk is tried again, on the monotonic clock.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.waiting.as_ref().map(|(_, until_ms)| *until_ms)
    }

    /// Sorts what the store did to those who wait for it.
    fn pending(&mut self, draft: Draft, committed: &Committed) -> Pending {
        self.count_ages(&draft, committed);
        self.registry.figures.count(&draft, committed);
        self.registry.verdicts.came(&draft, committed);
        draft.jobs.iter().for_each(|(job, ..)| self.bulk.insert(job.clone()));
        draft.noted.iter().filter_map(|noted| noted.token.as_ref()).for_each(|change| self.tokens.apply(change));
        if !draft.stirred.is_empty() {
            draft.stirred.apply(&mut self.registry.incidents());
        }
        let mut pending = Pending {
            number: committed.number,
            news: draft.news,
            steered: draft.steered,
            noted: draft.noted.into_iter().map(|noted| (noted.token, noted.reply)).collect(),
            jobs: draft.jobs.into_iter().map(|(job, _, reply)| (job, reply)).collect(),
            ..Pending::default()
        };
        let watched = self.registry.is_watched();
        self.met(&mut pending, draft.awaitings);
        for Accepting { reply, slots, .. } in draft.accepts {
            let id = |slot: Slot| match slot {
                Slot::New(position) => committed.accepted.get(position).map(|(id, _)| *id),
                Slot::Before(id) => Some(id),
            };
            let is_replay = slots.iter().all(|slot| matches!(slot, Slot::Before(_)));
            let ids = slots.into_iter().filter_map(id).collect();
            pending.replies.push(Answer::Accepted(reply, Accepted { ids, is_replay }));
        }
        let moves = draft.batch.moves.iter().zip(&committed.moved);
        let given: HashSet<usize> =
            moves.filter(|(_, moved)| **moved == Moved::Done).filter_map(|(step, _)| step.by).collect();
        for (number, incoming) in draft.batch.accepts.into_iter().enumerate() {
            let Some((id, place)) = committed.accepted.get(number) else { continue };
            let older = incoming.older.filter(|_| !given.contains(&number)).and_then(|older| match older {
                Older::At(place) => Some(place),
                Older::Accept(number) => committed.accepted.get(number).map(|(_, place)| *place),
            });
            if let Some(older) = older {
                // It was out, or came in with this one.
                self.put_off.push(Request::Supersede(vec![(incoming.dest, older, *place)]));
            }
            let state = incoming.state(&committed.accepted);
            self.accepted(&mut pending, incoming, state, (*id, *place), draft.now, watched);
        }
        for ((step, moved), cause) in draft.batch.moves.iter().zip(&committed.moved).zip(draft.causes) {
            self.moved(&mut pending, step, *moved, cause, draft.now, watched);
        }
        for (Asking { who, record, reply, .. }, was_there) in draft.deletes.into_iter().zip(&committed.deleted) {
            self.ends(who);
            pending.news.push(self.changed(who, None, None));
            pending.replies.push(match was_there {
                true => Answer::Shown(reply, record),
                false => Answer::Refused(reply, Error::NotFound(record.id)),
            });
        }
        pending
    }

    /// Counts who waits from now on, and who waits no more.
    fn count_ages(&self, draft: &Draft, committed: &Committed) {
        let (batch, now) = (&draft.batch, draft.now);
        let mut ages = self.registry.ages();
        for (incoming, (id, place)) in batch.accepts.iter().zip(&committed.accepted) {
            let aged = Aged::of(incoming.dest, *place, *id, &incoming.draft.envelope);
            ages.accepted(aged, now);
            ages.moved(aged, false, incoming.state(&committed.accepted).is_final(), now);
        }
        for ((step, moved), cause) in batch.moves.iter().zip(&committed.moved).zip(&draft.causes) {
            if let (Moved::Done, Some(aged)) = (moved, cause.aged()) {
                ages.moved(aged, step.expect.state.is_final(), step.to.is_final(), now);
                if matches!(cause, Cause::Report(_)) && step.to.is_final() {
                    ages.ended(cause.who().dest, step.to, now);
                }
            }
        }
        for (Asking { who, record, .. }, was_there) in draft.deletes.iter().zip(&committed.deleted) {
            let was_open = *was_there && !record.state.is_final();
            ages.moved(Aged::of(who.dest, record.place, record.id, &record.envelope), !was_open, true, now);
        }
    }

    fn accepted(
        &mut self,
        pending: &mut Pending,
        Incoming { draft, dest, wait, .. }: Incoming,
        state: State,
        (id, place): (Id, Place),
        now: Stamp,
        watched: bool,
    ) {
        let who = self.registry.who(dest, place, draft.envelope.key.as_deref());
        if let Some(key) = &draft.envelope.idempotency_key {
            self.window.remember(idempotency_hash(key), place, now.mono_ms);
        }
        if watched {
            pending.transitions.push(transition(id, &draft.envelope, state, 0, now.wall, None));
        }
        if state.is_final() {
            // A newer version took its place before it came: it waits for nothing.
            return;
        }
        self.begins(who);
        let (deadline, awaits) = (draft.envelope.deadline, !draft.after.is_empty());
        self.awaits(dest, place, &draft.after);
        let loaded = Loaded {
            message: Message {
                id,
                attempt: 0,
                revision: 1,
                content_type: draft.envelope.content_type.clone(),
                envelope: Arc::new(draft.envelope),
                body: draft.body,
            },
            expect: Expect { state, attempts: 0, revision: 1 },
            series: 0,
        };
        let fresh = (wait == Queued::Ready && !awaits).then_some(loaded);
        pending.news.push(News::Accepted { who, wait, deadline, awaits, fresh });
    }

    fn moved(&mut self, pending: &mut Pending, step: &Move, moved: Moved, cause: Cause, now: Stamp, watched: bool) {
        let done = moved == Moved::Done;
        let tell = |pending: &mut Pending, id: Id, envelope: &Envelope| {
            if watched && done {
                let detail = step.attempt.as_ref().map(|attempt| attempt.detail.clone());
                let detail = detail.filter(|detail| !detail.is_empty());
                pending.transitions.push(transition(id, envelope, step.to, step.attempts, now.wall, detail));
            }
        };
        self.meets(step, moved, &cause);
        match state_after(step, moved) {
            Some(state) if !state.is_final() => {}
            Some(_) | None => self.ends(cause.who()),
        }
        match cause {
            Cause::Report(report) => {
                let is_alone = report.part.is_none() && !report.is_heard;
                let ended = Ended::of(&report.outcome, report.who.entry.place.to_u64()).filter(|_| is_alone);
                pending.news.extend(ended.map(|ended| News::Ended(report.who.dest, ended)));
                let Report { who, loaded: Loaded { message, .. }, .. } = *report;
                if done {
                    tell(pending, message.id, &message.envelope);
                } else {
                    log::warn!("late outcome of message {}: it is {moved:?} by now", message.id);
                    self.registry.figures.late.fetch_add(1, Ordering::Relaxed);
                }
                pending.news.push(stands(who, step, moved));
            }
            Cause::Claim(delivery) if done => pending.news.push(News::Claimed(*delivery)),
            Cause::Claim(delivery) => pending.news.push(stands(delivery.who, step, moved)),
            Cause::Act(asking) => {
                let Asking { who, record, event, reply, .. } = *asking;
                tell(pending, record.id, &record.envelope);
                let deadline = record.envelope.deadline;
                if done && !step.to.is_final() {
                    self.begins(who);
                }
                pending.news.push(self.changed(who, state_after(step, moved), deadline));
                pending.replies.push(match refusal(&record, event, moved) {
                    Some(error) => Answer::Refused(reply, error),
                    None => Answer::Shown(reply, record),
                });
            }
            Cause::Supersede(who, id, envelope) => {
                tell(pending, id, &envelope);
                let deadline = envelope.deadline;
                pending.news.push(self.changed(who, state_after(step, moved), deadline));
            }
            Cause::Expire(who, _, record) => {
                tell(pending, record.id, &record.envelope);
                pending.news.push(self.changed(who, state_after(step, moved), None));
            }
        }
    }

    /// A message whose key's latest counts waits from now on.
    fn begins(&mut self, who: Who) {
        if self.registry.rules(who.dest).is_some_and(|rules| rules.latest_wins) && who.entry.hash != 0 {
            self.latest.begins((who.dest, who.entry.hash), who.entry.place);
        }
    }

    fn ends(&mut self, who: Who) {
        if who.entry.hash != 0 {
            self.latest.ended((who.dest, who.entry.hash), who.entry.place);
        }
    }
}

/// Where the message stands after a step that may not have counted; `None` where it is gone.
fn state_after(step: &Move, moved: Moved) -> Option<State> {
    match moved {
        Moved::Done => Some(step.to),
        Moved::Stale(found) => Some(found.state),
        Moved::Gone => None,
    }
}

/// What the scheduler must hear of a message that was out: it waits as it now stands, whoever made it so.
fn stands(who: Who, step: &Move, moved: Moved) -> News {
    match state_after(step, moved) {
        Some(state) => News::Settled { who, state },
        None => News::Void(who),
    }
}

/// Why what a person asked did not happen, where the message was not what was read of it.
fn refusal(record: &Record, event: Event, moved: Moved) -> Option<Error> {
    match moved {
        Moved::Done => None,
        Moved::Gone => Some(Error::NotFound(record.id)),
        Moved::Stale(found) if found.revision != record.revision => {
            Some(Error::Stale { id: record.id, read: record.revision, stored: found.revision })
        }
        Moved::Stale(found) => Some(Error::Refused { id: record.id, illegal: Illegal { state: found.state, event } }),
    }
}
