//! From a request to its part of the batch.
//!
//! # What holds
//!
//! * A request that asks for nothing that can be written is answered here, once, and leaves no reservation behind.
//!
//! # What it does not know
//!
//! When the batch is written, and what becomes of it.

use super::accept::Repeated;
use super::act::expire;
use super::commit::Committer;
use super::draft::{Accepting, Cause, Draft, Noted, Slot};
use super::fence;
use super::gate::Ended;
use super::mark::Mark;
use super::meet;
use super::news::{Delivery, News, Who};
use super::pending::{Steer, Steered};
use super::request::Request;
use super::send::{Found, bodiless, find};
use super::settle::{Report, attempt_number, interrupted, settle};
use super::words::{Accepted, Reply};
use crate::error::Error;
use crate::model::{Class, Event, Failure, Outcome, Place, Record, State, WallMs, advance};
use crate::store::{Dest, Expect, Incoming, Loaded, Move, Newer, idempotency_hash};

impl Committer {
    /// Puts what a request asks for into the batch, or answers it at once.
    pub(super) fn enter(&mut self, draft: &mut Draft, request: Request) {
        match request {
            Request::Accept(incoming, mark, reply) => self.enter_accept(draft, incoming, mark, reply),
            Request::Receive(arrivals, reply) => self.enter_receive(draft, *arrivals, reply),
            Request::Act(id, act, reply) => self.enter_act(draft, id, act, reply),
            Request::Steer(dest, hand, reply) => self.enter_steer(draft, dest, hand, reply),
            Request::Note(deed, reply) => draft.noted.push(Noted { deed, token: None, reply }),
            Request::Token(asked, reply) => self.enter_token(draft, asked, reply),
            Request::Bulk(step, reply) => self.enter_bulk(draft, step, reply),
            Request::Over(mut incidents) => draft.over.append(&mut incidents),
            Request::Claims(claims) => claims.into_iter().for_each(|claim| self.enter_claim(draft, claim)),
            Request::Supersede(pairs) => {
                pairs.into_iter().for_each(|(dest, older, newer)| self.enter_supersede(draft, dest, older, newer));
            }
            Request::Met(met) => met.into_iter().for_each(|met| self.enter_met(draft, met)),
            Request::Expire(passed) => passed.into_iter().for_each(|(who, at)| self.enter_expire(draft, who, at)),
            Request::Told(told) => told.into_iter().for_each(|(place, at)| self.enter_told(draft, place, at)),
            Request::Stop => {}
            Request::Reports(reports) => reports.into_iter().for_each(|report| self.enter_report(draft, report)),
            Request::Landed(request, reports) => self.enter_landed(draft, &request, reports),
        }
    }

    /// Takes the mark from a message of which everyone was told; not where it ended again meanwhile, because of that nobody was told.
    fn enter_told(&self, draft: &mut Draft, place: Place, at: WallMs) {
        let is_moved = draft.batch.moves.iter().any(|step| step.place == place);
        match self.registry.store.get(place) {
            Ok(Some(record)) if record.updated_at == at && !is_moved => draft.batch.told.push(place),
            // The next look finds it as it is now.
            Ok(_) => {}
            Err(error) => self.registry.unreadable(place, &error),
        }
    }

    /// The destination is judged once by how the request ended, however many messages went with it.
    fn enter_landed(&mut self, draft: &mut Draft, request: &Outcome, reports: Vec<Report>) {
        let Some(who) = reports.first().map(|report| report.who) else { return };
        let is_free = self.hear(draft, who.dest, request);
        let ended = Ended::of(request, who.entry.place.to_u64());
        draft.news.extend(ended.map(|ended| News::Ended(who.dest, ended)));
        for mut report in reports {
            if let Some(part) = &mut report.part {
                part.is_free = is_free || part.goes_alone;
                draft.news.extend(part.goes_alone.then_some(News::Alone(report.who)));
            }
            self.enter_report(draft, report);
        }
    }

    /// What an attempt tells of its destination. Whether it is none of the message's own.
    fn hear(&mut self, draft: &mut Draft, dest: Dest, outcome: &Outcome) -> bool {
        let planned = draft.steered.iter().rev().find_map(|Steered { dest: of, steer, .. }| match steer {
            Steer::Pause(pause) if *of == dest => Some(pause.as_ref().map(|pause| pause.cause)),
            Steer::Pause(_) | Steer::Cycle => None,
        });
        let paused = planned.unwrap_or_else(|| self.registry.scheduler().paused(dest));
        let heard = self.watch.hear(dest, outcome, paused, draft.now.wall);
        if let Some(change) = heard.change {
            draft.steered.push(Steered { dest, steer: Steer::Pause(change), asked: None });
        }
        heard.is_free
    }

    fn enter_report(&mut self, draft: &mut Draft, report: Report) {
        let dest = report.who.dest;
        let is_free = match &report.part {
            Some(part) => part.is_free,
            None if report.is_heard => false,
            None => self.hear(draft, dest, &report.outcome),
        };
        if let Outcome::Failed(Failure { class: Class::Rule, detail, .. }) = &report.outcome
            && self.failed_rules.insert(dest)
        {
            self.registry.rule_failed(dest, detail);
        }
        let rules = self.registry.rules(dest).map(|rules| &**rules);
        let policy = rules.map_or(&self.policy, |rules| &rules.policy);
        let step = settle(&report, policy, rules, is_free);
        let successor = self.latest.successor(report.who.entry.place);
        let given = successor.filter(|_| matches!(step.to, State::Failed(_)));
        let (who, message) = (report.who, report.loaded.message.clone());
        let expect = Expect { state: step.to, attempts: step.attempts, revision: step.expect.revision };
        let series = step.series;
        draft.batch.moves.push(step);
        draft.causes.push(Cause::Report(Box::new(report)));
        if let Some(newer) = given {
            self.give_place(draft, who, (expect, series), Newer::Known(newer), (message.id, message.envelope));
        }
    }

    fn enter_accept(&mut self, draft: &mut Draft, incoming: Vec<Incoming>, mark: Option<Mark>, reply: Reply<Accepted>) {
        let keys =
            || incoming.iter().filter_map(|one| one.draft.envelope.idempotency_key.as_deref()).map(idempotency_hash);
        let lines = || incoming.iter().filter_map(|one| self.line(one));
        let is_repeated = keys().any(|hash| draft.repeated.contains(&hash));
        if is_repeated || lines().any(|line| draft.lines.contains(&line)) || draft.marks(mark.as_ref()) {
            self.put_off.push(Request::Accept(incoming, mark, reply));
            return;
        }
        match mark.as_ref().map(|mark| (&mark.name, mark.is_current(&*self.registry.store))) {
            None | Some((_, Ok(true))) => {}
            Some((name, Ok(false))) => return reply(Err(Error::Marked(name.clone()))),
            Some((_, Err(error))) => return reply(Err(Error::Store(error))),
        }
        let mut slots = Vec::with_capacity(incoming.len());
        let mut fresh = Vec::with_capacity(incoming.len());
        let mut own = std::collections::HashSet::new();
        for one in incoming {
            match self.window.look_up(&one.draft, &*self.registry.store) {
                Ok(Repeated::No) => {
                    if let Some(key) = one.draft.envelope.idempotency_key.as_deref()
                        && !own.insert(idempotency_hash(key))
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
        if let Err(error) = self.take_fresh(draft, fresh) {
            return reply(Err(error));
        }
        draft.repeated.extend(own);
        draft.accepts.push(Accepting { reply, slots, mark, stretch: None });
    }

    /// Puts new messages into the batch, held against their fences and the older ones of their keys.
    ///
    /// # Errors
    /// A fence cannot be read; none of them is in the batch.
    pub(super) fn take_fresh(&mut self, draft: &mut Draft, mut fresh: Vec<Incoming>) -> Result<(), Error> {
        let first = draft.batch.accepts.len();
        if let Err(error) = fence::hold(&mut fresh, first, &*self.registry.store, |one| self.line(one).is_some()) {
            self.registry.unfenced(&error);
            return Err(Error::Store(error));
        }
        meet::note_fresh(&mut fresh);
        self.take_places(draft, &mut fresh);
        draft.batch.accepts.append(&mut fresh);
        Ok(())
    }

    pub(super) fn with_deadline(&self, mut incoming: Incoming, now: WallMs) -> Incoming {
        let rules = self.registry.rules(incoming.dest);
        if incoming.draft.envelope.deadline.is_none() {
            incoming.draft.envelope.deadline =
                rules.and_then(|rules| rules.deadline_ms).map(|deadline_ms| now.plus(deadline_ms));
        }
        incoming
    }

    fn enter_claim(&mut self, draft: &mut Draft, Delivery { who, loaded, is_in_doubt: _ }: Delivery) {
        if let Some(report) = self.registry.take_unwritten(who.entry.place) {
            return self.enter_report(draft, report);
        }
        let found = loaded.map(|loaded| Ok(Found::Whole(Box::new(loaded))));
        let loaded = match found.unwrap_or_else(|| find(&*self.registry.store, who.entry.place)) {
            Ok(Found::Whole(loaded)) => *loaded,
            Ok(Found::Bodiless(loaded)) => return self.enter_report(draft, bodiless(who, *loaded, draft.now)),
            Ok(Found::Gone) => return draft.news.push(News::Void(who)),
            Err(error) => {
                self.registry.unreadable(who.entry.place, &error);
                return draft.news.push(News::SetBack(who));
            }
        };
        let Expect { state, attempts, revision } = loaded.expect;
        if matches!(state, State::Sending(_)) {
            // It went out under a claim whose outcome could not be written: nobody can know any more.
            let report = Report::new(who, loaded, interrupted(&[]), draft.now, draft.now);
            return self.enter_report(draft, report);
        }
        let number = attempt_number(state, attempts);
        let to = match advance(state, Event::Claim(number)) {
            Ok(to) if !state.is_held() => to,
            Ok(_) | Err(_) => return draft.news.push(News::Settled { who, state }),
        };
        let is_in_doubt = match self.registry.is_in_doubt(who, state) {
            Ok(is_in_doubt) => is_in_doubt,
            Err(error) => {
                self.registry.unreadable(who.entry.place, &error);
                return draft.news.push(News::SetBack(who));
            }
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
        let loaded = Some(Loaded { expect, ..loaded });
        draft.causes.push(Cause::Claim(Box::new(Delivery { who, loaded, is_in_doubt })));
    }

    fn enter_expire(&mut self, draft: &mut Draft, who: Who, deadline: WallMs) {
        match self.registry.store.get(who.entry.place) {
            Ok(Some(record)) => match expire(&record) {
                Some(step) => {
                    self.let_go(draft, who, Event::Expire);
                    draft.batch.moves.push(step);
                    draft.causes.push(Cause::Expire(who, deadline, Box::new(record)));
                }
                None if record.state.is_final() => {
                    draft.news.push(self.changed(who, None, None));
                }
                // Its outcome could not be written: it is judged first.
                None => draft.news.push(News::Unexpired(who, deadline)),
            },
            Ok(None) => draft.news.push(self.changed(who, None, None)),
            Err(error) => {
                self.registry.unreadable(who.entry.place, &error);
                draft.news.push(News::Unexpired(who, deadline));
            }
        }
    }
}

pub(super) fn expect_of(record: &Record) -> Expect {
    Expect { state: record.state, attempts: record.attempts, revision: record.revision }
}
