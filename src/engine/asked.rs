//! From what people ask to its part of the batch: acts on messages, one or many, and on destinations.
//!
//! # What holds
//!
//! * What a person asks is decided on what was read after the message was reserved.
//! * What cannot be written is answered here, once, and leaves no reservation behind.
//! * Every act that is written has its entry in the audit log, in the same batch.
//!
//! # What it does not know
//!
//! When the batch is written, and what becomes of it.

use super::accept::check_body;
use super::act::{Plan, plan};
use super::audit::{Deed, Target, stood};
use super::bulk::{DETAIL_CHARS_MAX, Going, Job, JobState, Step};
use super::commit::Committer;
use super::draft::{Asking, Cause, Draft, Noted};
use super::field::{Edited, FieldEdit};
use super::news::{News, Who};
use super::pause;
use super::pending::Steered;
use super::registry::Registry;
use super::request::Request;
use super::schedule::Taken;
use super::settle::attempt_number;
use super::token;
use super::words::{Act, By, Hand, Lane, Reply, Shown};
use crate::error::Error;
use crate::model::chain::Link;
use crate::model::{Body, Event, Id, Illegal, Place, Record, State, WallMs};
use crate::store::{Dest, Query, StoreError};

/// So many bytes of bodies are read for jobs in one batch, and then it is written: everything else waits meanwhile.
const STEP_BYTES_MAX: usize = 4 << 20;

/// What an act comes to, on a message that is reserved for it.
struct Planned {
    who: Who,
    record: Record,
    event: Event,
    plan: Plan,
    /// Its entry in the audit log; a job keeps one for many.
    deed: Option<Deed>,
}

/// Why an act is not planned.
enum Not {
    /// What is being written about the message is to be seen first.
    Yet,
    /// There is no such message.
    There,
    /// It does not happen.
    Because(Error),
}

impl From<Error> for Not {
    fn from(error: Error) -> Not {
        Not::Because(error)
    }
}

impl Committer {
    pub(super) fn enter_act(&mut self, draft: &mut Draft, id: Id, asked: By<Act>, reply: Reply<Shown>) {
        let place = match self.registry.place(id) {
            Ok(place) => place,
            Err(error) => return reply(Err(error)),
        };
        if let Err(error) = asked.check() {
            return reply(Err(error));
        }
        match self.plan(draft, place, &asked, None) {
            Ok(planned) => planned.enter(draft, None, reply),
            Err(Not::Yet) => self.put_off.push(Request::Act(id, asked, reply)),
            Err(Not::There) => reply(Err(Error::NotFound(id))),
            Err(Not::Because(error)) => reply(Err(error)),
        }
    }

    pub(super) fn enter_steer(&mut self, draft: &mut Draft, dest: Dest, asked: By<Hand>, reply: Reply<Lane>) {
        let Some(rules) = self.registry.rules(dest) else {
            return reply(Ok(self.registry.lane_shown(dest, draft.now)));
        };
        match asked.check().and_then(|()| pause::steer(&asked, rules, draft.now.wall)) {
            Ok(steer) => {
                self.watch.forget(dest);
                let target = Target::Destination(rules.name.to_string());
                let deed = Deed { detail: asked.why, ..Deed::new(&asked.who, asked.what.name(), target) };
                draft.steered.push(Steered { dest, steer, asked: Some((deed, reply)) });
            }
            Err(error) => reply(Err(error)),
        }
    }

    pub(super) fn enter_token(&mut self, draft: &mut Draft, asked: token::Asked, reply: Reply<()>) {
        if draft.noted.iter().any(|noted| noted.token.is_some()) {
            // What this batch does with tokens is to be seen first.
            return self.put_off.push(Request::Token(asked, reply));
        }
        match self.tokens.plan(&asked, draft.now.wall) {
            Ok((change, deed)) => draft.noted.push(Noted { deed, token: Some(change), reply }),
            Err(error) => reply(Err(error)),
        }
    }

    pub(super) fn enter_bulk(&mut self, draft: &mut Draft, step: Step, reply: Reply<Job>) {
        match step {
            Step::Begin(job) => self.begin_job(draft, *job, reply),
            Step::Go(going) => match self.job(draft, going.job) {
                Some(job) if job.is_running() => self.step_job(draft, job, &going, reply),
                Some(job) => draft.jobs.push((job, None, reply)),
                None => reply(Err(no_job(going.job))),
            },
            Step::Cancel { job, who } => match self.job(draft, job) {
                Some(mut job) if job.is_running() => {
                    job.end(JobState::Cancelled, draft.now.wall);
                    let deed = Deed::new(&who, "bulk-cancel", Target::Job(job.number));
                    draft.jobs.push((job, Some(deed), reply));
                }
                // What is planned for it is answered once it is written.
                Some(job) => draft.jobs.push((job, None, reply)),
                None => reply(Err(no_job(job))),
            },
        }
    }

    /// A job as it stands after what is planned for it already.
    fn job(&self, draft: &Draft, number: u64) -> Option<Job> {
        let planned = draft.jobs.iter().rev().map(|(job, ..)| job).find(|job| job.number == number);
        planned.or_else(|| self.bulk.get(number)).cloned()
    }

    fn begin_job(&self, draft: &mut Draft, mut job: Job, reply: Reply<Job>) {
        let begun = draft.jobs.iter().filter(|(job, ..)| self.bulk.get(job.number).is_none()).count();
        let Some(number) = self.bulk.next_number(begun) else { return reply(Err(Error::Busy)) };
        job.number = number;
        job.begun_at = draft.now.wall;
        // The log is kept for good, and values may be a person's: the job and the revisions have them.
        let act = job.act.field().map_or(job.act.name().to_owned(), |field| format!("edit {} in", field.path()));
        let detail = format!("{act} {} messages: {}", job.matched, job.filter);
        let detail = if job.why.is_empty() { detail } else { format!("{detail} ({})", job.why) };
        let deed = Deed { detail, ..Deed::new(&job.who, "bulk-begin", Target::Job(number)) };
        draft.jobs.push((job, Some(deed), reply));
    }

    /// Asks what is next of a job, in order, up to the first message of which something else is to be seen first.
    fn step_job(&mut self, draft: &mut Draft, mut job: Job, going: &Going, reply: Reply<Job>) {
        let Going { places, is_last, is_hindered, .. } = going;
        let asked = job.act.act().by(job.who.as_str(), job.why.clone());
        let reads_bodies = job.act.field().is_some() || job.query.text.is_some();
        let mut messages = Vec::new();
        let mut handled = 0;
        for place in places {
            if reads_bodies && draft.bodies_read >= STEP_BYTES_MAX {
                break;
            }
            if *is_hindered {
                // A damaged row kept it from being written, alone.
                job.refuse("what is kept of it is damaged");
                job.cursor = Some(*place);
                handled += 1;
                continue;
            }
            match self.plan(draft, *place, &asked, Some(&job.query)) {
                Ok(planned) => {
                    messages.push(planned.record.id);
                    planned.enter(draft, Some(job.number), Box::new(drop));
                    job.done += 1;
                }
                Err(Not::Yet) => break,
                Err(Not::There) => job.refuse("it is no longer there"),
                Err(Not::Because(Error::Store(error))) if !matches!(error, StoreError::Damaged(_)) => break,
                Err(Not::Because(error)) => job.refuse(&error.to_string()),
            }
            job.cursor = Some(*place);
            handled += 1;
        }
        let is_over = *is_last && handled == places.len();
        if handled == 0 && !is_over {
            return reply(Ok(job));
        }
        if is_over {
            job.end(JobState::Done, draft.now.wall);
        }
        let act = if is_over { "bulk-end" } else { "bulk-step" };
        let detail = format!("{}: {} done, {} refused", job.act.name(), job.done, job.refused);
        let deed = Deed { detail, messages, ..Deed::new(&job.who, act, Target::Job(job.number)) };
        draft.jobs.push((job, Some(deed), reply));
    }

    /// Reserves the message, reads it, and plans the act; not where it is no longer asked for.
    fn plan(
        &mut self,
        draft: &mut Draft,
        place: Place,
        asked: &By<Act>,
        query: Option<&Query>,
    ) -> Result<Planned, Not> {
        let taken = self.registry.scheduler().reserve(place).err();
        if taken == Some(Taken::Reserved) {
            return Err(Not::Yet);
        }
        // Only now, with the message reserved, is what we read the last word on it.
        let record = match self.registry.store.get(place) {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.registry.scheduler().forget(place);
                return Err(Not::There);
            }
            Err(error) => {
                self.registry.unreadable(place, &error);
                self.registry.scheduler().forget(place);
                return Err(Error::Store(error).into());
            }
        };
        if taken == Some(Taken::Out) && record.state.is_final() {
            // Its outcome is written, and the scheduler has yet to hear of it.
            return Err(Not::Yet);
        }
        if taken == Some(Taken::Out) {
            let state = State::Sending(attempt_number(record.state, record.attempts));
            let illegal = Illegal { state, event: event_of(&asked.what) };
            return Err(Error::Refused { id: record.id, illegal }.into());
        }
        match self.is_asked_for(draft, &record, query) {
            Ok(true) => self.plan_reserved(draft, record, asked, query.is_some()),
            Ok(false) => {
                self.registry.scheduler().forget(place);
                Err(Error::Invalid(format!("message {} no longer matches", record.id)).into())
            }
            Err(error) => {
                self.registry.scheduler().forget(place);
                Err(Error::Store(error).into())
            }
        }
    }

    /// Whether the message still matches: it may have been delivered since it was found.
    fn is_asked_for(&self, draft: &mut Draft, record: &Record, query: Option<&Query>) -> Result<bool, StoreError> {
        let Some(query) = query else { return Ok(true) };
        let dest = self.registry.destination(&record.envelope.destination).unwrap_or(Dest(u16::MAX));
        if !query.matches(record, dest) {
            return Ok(false);
        }
        if query.cause.is_some() && !query.is_by_cause(&self.registry.store.attempts(record.place)?) {
            return Ok(false);
        }
        if query.text.is_none() {
            return Ok(true);
        }
        let newest = self.registry.store.revision(record.place, record.revision)?;
        let body = newest.and_then(|newest| newest.body);
        draft.bodies_read += body.as_ref().map_or(0, |body| body.len());
        Ok(body.is_some_and(|body| query.is_in(&body)))
    }

    fn plan_reserved(
        &mut self,
        draft: &mut Draft,
        record: Record,
        asked: &By<Act>,
        is_of_job: bool,
    ) -> Result<Planned, Not> {
        let who = match self.registry.destination(&record.envelope.destination) {
            Ok(dest) => self.registry.who(dest, record.place, record.envelope.key.as_deref()),
            Err(error) => {
                self.registry.scheduler().forget(record.place);
                return Err(error.into());
            }
        };
        let registry = self.registry.clone();
        let rules = registry.rules(who.dest);
        let is_latest = rules.is_some_and(|rules| rules.latest_wins) && who.entry.hash != 0;
        if is_latest && !draft.lines.insert((who.dest, who.entry.hash)) {
            // What this batch does with its key is to be seen first.
            self.registry.scheduler().forget(record.place);
            return Err(Not::Yet);
        }
        let event = event_of(&asked.what);
        let admitted = self.admit(draft, &record, who, asked).and_then(|plan| {
            let deed = if is_of_job { None } else { Some(self.told(&record, asked, &plan)?) };
            Ok((plan, deed))
        });
        match admitted {
            Ok((plan, deed)) => {
                if matches!(event, Event::Arrived) {
                    self.overtake(draft, &record, who);
                }
                self.let_go(draft, who, event);
                Ok(Planned { who, record, event, plan, deed })
            }
            Err(error) => {
                draft.news.push(News::Unchanged(who));
                Err(error.into())
            }
        }
    }

    /// What the act comes to, where the message and its key admit it.
    fn admit(&self, draft: &mut Draft, record: &Record, who: Who, asked: &By<Act>) -> Result<Plan, Error> {
        let rules = self.registry.rules(who.dest);
        let event = event_of(&asked.what);
        let goes = matches!(event, Event::Resend(_) | Event::Release(_) | Event::Amend);
        let newer = rules.filter(|_| goes).map(|rules| self.newer(record, rules, who.dest)).transpose()?;
        let is_in_doubt = matches!(event, Event::Amend) && self.registry.is_in_doubt(who, record.state)?;
        if let Some((newer, version)) = newer.flatten() {
            return Err(Error::Overtaken { id: record.id, newer, version });
        }
        let rules = rules.map(|rules| &**rules);
        match &asked.what {
            Act::EditField(field) => {
                // Read whether it can be edited or not.
                draft.bodies_read += record.body_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
                let body = Body::from(self.registry.edited(record, field)?.body);
                let what = Act::Edit { body, content_type: None, read: Some(record.revision) };
                let edit = By { what, who: asked.who.clone(), why: asked.why.clone() };
                plan(record, &edit, rules, is_in_doubt, draft.now.wall)
            }
            Act::Edit { .. } | Act::Hold | Act::Release | Act::Resend(_) | Act::Arrived | Act::Cancel | Act::Delete => {
                plan(record, asked, rules, is_in_doubt, draft.now.wall)
            }
        }
    }

    /// What the audit log keeps of it.
    fn told(&self, record: &Record, asked: &By<Act>, plan: &Plan) -> Result<Deed, Error> {
        let mut deed = Deed::to_message(&asked.who, asked.what.name(), record);
        deed.detail = asked.why.clone();
        let Plan::Step(step) = plan else { return Ok(deed) };
        let Some(amend) = &step.amend else {
            deed.after = Some(stood(step.to, record.revision));
            return Ok(deed);
        };
        let old = self.registry.store.revision(record.place, record.revision)?.and_then(|revision| revision.body);
        let with = |stood: String, body: Option<&Body>| match body {
            Some(body) => format!("{stood}, body sha256 {}", Link::over(body)),
            None => format!("{stood}, without its body"),
        };
        deed.before = Some(with(stood(record.state, record.revision), old.as_ref()));
        deed.after = Some(with(stood(step.to, record.revision.saturating_add(1)), Some(&amend.body)));
        Ok(deed)
    }
}

impl Registry {
    /// The newest body of a message with another value for one field.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the body does not admit it, [`Error::TooLarge`], or what hinders the read.
    pub(super) fn edited(&self, record: &Record, field: &FieldEdit) -> Result<Edited, Error> {
        let newest = self.store.revision(record.place, record.revision)?;
        let body = newest.and_then(|newest| newest.body);
        let body = body.ok_or_else(|| Error::Invalid("its body was removed after its time".into()))?;
        let edited = field.apply(&body).map_err(Error::Invalid)?;
        check_body(u64::try_from(edited.body.len()).unwrap_or(u64::MAX), self)?;
        Ok(edited)
    }
}

impl Planned {
    /// Puts it into the batch; with an entry of the audit log of its own where it is no part of a bulk job, which keeps one for many.
    fn enter(self, draft: &mut Draft, job: Option<u64>, reply: Reply<Shown>) {
        let Planned { who, record, event, plan, deed } = self;
        let asking = Asking { who, record: Box::new(record), event, deed, job, reply };
        match plan {
            Plan::Step(step) => {
                draft.batch.moves.push(*step);
                draft.causes.push(Cause::Act(Box::new(asking)));
            }
            Plan::Delete(place) => {
                draft.batch.deletes.push(place);
                draft.deletes.push(asking);
            }
        }
    }
}

impl Job {
    fn refuse(&mut self, why: &str) {
        self.refused += 1;
        self.detail = Some(why.chars().take(DETAIL_CHARS_MAX).collect());
    }
}

fn no_job(number: u64) -> Error {
    Error::Invalid(format!("there is no bulk job {number}"))
}

fn event_of(act: &Act) -> Event {
    match act {
        Act::Edit { .. } | Act::EditField(_) => Event::Amend,
        Act::Hold => Event::Hold,
        Act::Release => Event::Release(WallMs(0)),
        Act::Resend(when) => Event::Resend(*when),
        Act::Arrived => Event::Arrived,
        Act::Cancel | Act::Delete => Event::Cancel,
    }
}
