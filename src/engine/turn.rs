//! All stages once, on the caller's thread, at the caller's `now`.
//!
//! An embedder may drive goniec this way instead of giving it threads; the simulator does.
//!
//! # What holds
//!
//! * The stages are those of the threads, in the same order: write, sync, announce, hear, give out, send.
//! * It reads no clock: `now` is the caller's, and so is the time between two turns.
//! * An attempt may be out for as long as the caller likes: [`Turn::turn_out`] hands it over, [`Turn::land`] takes its outcome.

use std::sync::Arc;

use super::accept;
use super::after;
use super::alert::Alerter;
use super::audit::{self, Audited, Head, Soundness};
use super::bulk::{Bulk, Job, Runner, Step as BulkStep};
use super::commit::Committer;
use super::figures::Counted;
use super::history::Chart;
use super::incident::{self, IncidentShown};
use super::mark::Mark;
use super::news::{Delivery, News, Parcel, Step};
use super::pending::Pending;
use super::recover::recover;
use super::registry::Registry;
use super::request::Request;
use super::rule::Rule;
use super::send::{Outgoing, Picked, pick_up, send};
use super::send_batch::{Gathered, Member, gather, reports, send_batch};
use super::settle::Report;
use super::told::{RuleShown, Rules};
use super::words::{Accepted, Act, By, Destination, Hand, Lane, Reply, Settings, Shown, ShownPage, Stats};
use crate::error::Error;
use crate::model::{Attempt, Draft, Id, Message, Outcome, Place, Stamp, WallMs};
use crate::store::{Query, Store, StoreError};
use crate::transport::Batched;

/// An engine without threads.
pub struct Turn {
    pub(super) registry: Arc<Registry>,
    committer: Committer,
    alerter: Alerter,
    pub(super) inbox: Vec<Request>,
    news: Vec<News>,
    runner: Runner,
}

/// An attempt that is under way, in the hands of whoever drives the engine. Its message stays out until [`Turn::land`] takes it back; one
/// that is dropped is out until the engine is opened again, and judged then as an attempt that was interrupted. Where the destination takes
/// batches, several messages go as one flight, and [`Turn::land_batch`] takes them back.
pub struct Flight {
    first: Member,
    /// Those that go with it; `None` where messages go by themselves.
    others: Option<Vec<Member>>,
    rules: Arc<Destination>,
    began: Stamp,
}

impl Flight {
    /// The message, as it goes out; of a batch the first.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.first.1.loaded.message
    }

    /// All messages of it, in the order in which they go.
    #[must_use]
    pub fn messages(&self) -> Vec<&Message> {
        let others = self.others.iter().flatten().map(|(_, outgoing)| &outgoing.loaded.message);
        std::iter::once(self.message()).chain(others).collect()
    }

    /// Where the message lies; of a batch the first.
    #[must_use]
    pub fn place(&self) -> Place {
        self.first.0.entry.place
    }

    /// Where all messages of it lie.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let others = self.others.iter().flatten().map(|(who, _)| who.entry.place);
        std::iter::once(self.place()).chain(others).collect()
    }

    /// Sends it once, by the way and within the time of its destination. A transport that panics is an outcome too.
    #[must_use]
    pub fn send(&self) -> Outcome {
        send(&self.first.1, &self.rules)
    }

    /// Sends it once, all of it: together where it is a batch.
    #[must_use]
    pub fn send_batch(&self) -> Batched {
        if self.others.is_none() {
            return Batched::whole(self.send(), 1);
        }
        let others = self.others.iter().flatten().map(|(_, outgoing)| outgoing);
        let members: Vec<&Outgoing> = std::iter::once(&self.first.1).chain(others).collect();
        send_batch(&members, &self.rules)
    }
}

impl Turn {
    /// Opens the engine on a store: every unfinished message has its wake-up again on return.
    ///
    /// # Errors
    /// What hinders the store.
    pub fn open(
        store: Arc<dyn Store>,
        destinations: Vec<Destination>,
        settings: Settings,
        rules: Vec<Rule>,
        now: Stamp,
    ) -> Result<Turn, Error> {
        let registry = Arc::new(Registry::new(store, destinations, settings, 0, now)?);
        let (inbox, latest, awaited) = recover(&registry, now)?;
        let committer = Committer::new(registry.clone(), latest, awaited, now)?;
        let alerter = Alerter::new(Rules::new(rules));
        let runner = Runner::new(Arc::new(|| {}));
        let mut turn = Turn { registry, committer, alerter, inbox, news: Vec::new(), runner };
        turn.write(now)?;
        Ok(turn)
    }

    /// Takes messages, all or none; the next turn writes them down and answers.
    pub fn accept(&mut self, drafts: Vec<Draft>, reply: Reply<Vec<Id>>) {
        self.take_in(drafts, None, reply);
    }

    /// Takes messages and moves a mark, all or none; the next turn writes it down and answers.
    pub fn accept_marked(&mut self, drafts: Vec<Draft>, mark: Mark, reply: Reply<Vec<Id>>) {
        self.take_in(drafts, Some(mark), reply);
    }

    fn take_in(&mut self, drafts: Vec<Draft>, mark: Option<Mark>, reply: Reply<Vec<Id>>) {
        if let Some(Err(error)) = mark.as_ref().map(Mark::check) {
            return reply(Err(error));
        }
        match accept::check(drafts, &self.registry) {
            Ok(incoming) => {
                let reply = Box::new(|said: Result<Accepted, Error>| reply(said.map(|accepted| accepted.ids)));
                self.inbox.push(Request::Accept(incoming, mark, reply));
            }
            Err(error) => reply(Err(error)),
        }
    }

    /// Does what a person asks of a message; the next turn writes it down and answers.
    pub fn act(&mut self, id: Id, act: impl Into<By<Act>>, reply: Reply<Shown>) {
        self.inbox.push(Request::Act(id, act.into(), reply));
    }

    /// Does what a person asks of a destination; the next turn writes it down and answers.
    pub fn steer(&mut self, destination: &str, hand: impl Into<By<Hand>>, reply: Reply<Lane>) {
        match self.registry.open_destination(destination) {
            Ok(dest) => self.inbox.push(Request::Steer(dest, hand.into(), reply)),
            Err(error) => reply(Err(error)),
        }
    }

    /// Begins a bulk job: what matches is counted now, and the next turn writes it down and answers.
    pub fn bulk(&mut self, asked: By<Bulk>, now: WallMs, reply: Reply<Job>) {
        let checked = asked.check();
        let By { what, who, why } = asked;
        match checked.and_then(|()| Job::prepare(&self.registry, what, &who, why, now)) {
            Ok(job) => self.inbox.push(Request::Bulk(BulkStep::Begin(Box::new(job)), reply)),
            Err(error) => reply(Err(error)),
        }
    }

    /// Cancels a bulk job; the next turn writes it down and answers.
    pub fn cancel_job(&mut self, number: u64, who: &str, reply: Reply<Job>) {
        self.inbox.push(Request::Bulk(BulkStep::Cancel { job: number, who: Arc::from(who) }, reply));
    }

    /// The last bulk jobs, newest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.registry.jobs().newest_first()
    }

    /// The incidents, those that failed last first, closed ones too.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn incidents(&self) -> Result<Vec<IncidentShown>, Error> {
        let known = self.registry.incidents().latest_first();
        known.into_iter().map(|incident| incident::shown(&self.registry, incident)).collect()
    }

    /// A page of the audit log, newest first: the entries before this number.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn audit(&self, before: Option<u64>, limit: usize) -> Result<Audited, Error> {
        audit::page(&*self.registry.store, before, limit)
    }

    /// Follows the audit log from its beginning to its end. `known` is an entry that somebody wrote down.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn verify_audit(&self, known: Option<Head>) -> Result<Soundness, Error> {
        audit::verify(&*self.registry.store, known)
    }

    /// Runs every stage until there is nothing to do at `now`, and waits for each attempt. Says when, on the monotonic clock, there will be
    /// something to do again; `None` while only the caller can bring it.
    ///
    /// # Errors
    /// The store failed; the engine takes nothing more and must be opened again.
    pub fn turn(&mut self, now: Stamp) -> Result<Option<u64>, Error> {
        let mut flights = Vec::new();
        loop {
            let due = self.turn_out(now, &mut flights)?;
            if flights.is_empty() {
                return Ok(due);
            }
            for flight in flights.drain(..) {
                let batched = flight.send_batch();
                self.land_batch(flight, batched, now);
            }
        }
    }

    /// As [`Turn::turn`], but what goes out is handed over in `flights` and waited for by the caller, who begins it before the next call. It
    /// returns as soon as it handed something over; once it hands over nothing, there is nothing more to do at `now`.
    ///
    /// # Errors
    /// The store failed; the engine takes nothing more and must be opened again.
    pub fn turn_out(&mut self, now: Stamp, flights: &mut Vec<Flight>) -> Result<Option<u64>, Error> {
        loop {
            self.write(now)?;
            self.inbox.extend(after::seek(&self.registry));
            let told = self.alerter.turn(&self.registry, now, &|| true);
            if !told.is_empty() {
                self.inbox.push(Request::Told(told));
            }
            self.inbox.extend(self.alerter.over().map(Request::Over));
            let mut steps = Vec::new();
            {
                let mut scheduler = self.registry.scheduler();
                scheduler.hear(&mut self.news, now);
                scheduler.next(now, &mut |step| steps.push(step));
            }
            for step in steps {
                self.take(step, now, flights);
            }
            if !flights.is_empty() {
                return Ok(Some(now.mono_ms));
            }
            self.runner.turn(&self.registry, now, &mut |request| self.inbox.push(request));
            self.registry.verdicts.turn(&self.registry, now, &mut |request| self.inbox.push(request));
            let is_idle = self.inbox.is_empty() && self.news.is_empty() && !self.committer.has_put_off();
            let is_idle = is_idle && self.registry.sought.is_empty();
            if is_idle && !self.registry.scheduler().has_work() {
                return Ok(self.next_due(now));
            }
        }
    }

    fn next_due(&self, now: Stamp) -> Option<u64> {
        let dues = [
            self.registry.scheduler().next_due(),
            self.committer.next_due(),
            self.alerter.next_due(&self.registry, now),
            self.runner.next_due(),
            self.registry.verdicts.next_due(),
        ];
        dues.into_iter().flatten().min()
    }

    /// Takes back an attempt that ended; the next turn writes down what became of it.
    pub fn land(&mut self, flight: Flight, outcome: Outcome, now: Stamp) {
        let count = flight.others.as_ref().map_or(1, |others| others.len() + 1);
        self.land_batch(flight, Batched::whole(outcome, count), now);
    }

    /// Takes back an attempt that was handed over, with what each message of it came to.
    pub fn land_batch(&mut self, flight: Flight, batched: Batched, now: Stamp) {
        let Flight { first, others, rules: _, began } = flight;
        let Some(others) = others else {
            let outcome = batched.each.into_iter().next().flatten().unwrap_or(batched.request);
            let report = Report::new(first.0, first.1.loaded, outcome, began, now);
            return self.inbox.push(Request::Reports(vec![report]));
        };
        let members = std::iter::once(first).chain(others).collect();
        let (request, reports) = reports(members, batched, began, now);
        self.inbox.push(Request::Landed(request, reports));
    }

    fn write(&mut self, now: Stamp) -> Result<(), Error> {
        if self.inbox.is_empty()
            && !self.committer.has_put_off()
            && self.committer.next_due().is_none_or(|due| due > now.mono_ms)
        {
            return Ok(());
        }
        let Some(pending) = self.committer.write(std::mem::take(&mut self.inbox), now)? else { return Ok(()) };
        self.sync(pending, now)
    }

    fn sync(&mut self, pending: Pending, now: Stamp) -> Result<(), Error> {
        match self.registry.store.sync(pending.number) {
            Ok(()) => {
                pending.announce(&self.registry, now, &mut self.news);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                self.registry.poison(&why);
                pending.refuse(&why);
                Err(Error::Store(error))
            }
        }
    }

    fn take(&mut self, step: Step, now: Stamp, flights: &mut Vec<Flight>) {
        match step {
            Step::Claim(parcel) => self.inbox.push(Request::Claims(parcel.into_deliveries())),
            Step::Turned(dest, turned) => self.registry.turned(dest, turned),
            Step::Supersede(dest, older, newer) => self.inbox.push(Request::Supersede(vec![(dest, older, newer)])),
            Step::Expire(who, deadline) => self.inbox.push(Request::Expire(vec![(who, deadline)])),
            Step::Send(Parcel::One(delivery)) => flights.extend(self.pick_up(delivery, now)),
            Step::Send(Parcel::Batch(deliveries)) => self.pick_up_batch(deliveries, now, flights),
        }
    }

    fn pick_up_batch(&mut self, mut deliveries: Vec<Delivery>, now: Stamp, flights: &mut Vec<Flight>) {
        let dest = deliveries.first().map(|delivery| delivery.who.dest);
        let Some(rules) = dest.and_then(|dest| self.registry.rules(dest).cloned()) else {
            return self.news.extend(deliveries.into_iter().map(|delivery| News::Void(delivery.who)));
        };
        while !deliveries.is_empty() {
            let Gathered { going, ended, news, rest } = gather(&self.registry, &rules, deliveries, now);
            self.inbox.extend((!ended.is_empty()).then_some(Request::Reports(ended)));
            self.news.extend(news);
            let mut going = going.into_iter();
            flights.extend(going.next().map(|first| Flight {
                first,
                others: Some(going.collect()),
                rules: rules.clone(),
                began: now,
            }));
            deliveries = rest;
        }
    }

    fn pick_up(&mut self, delivery: Delivery, now: Stamp) -> Option<Flight> {
        let who = delivery.who;
        let Some(rules) = self.registry.rules(who.dest).cloned() else {
            self.news.push(News::Void(who));
            return None;
        };
        match pick_up(&self.registry, delivery, now) {
            Ok(Picked::Go(outgoing)) => {
                return Some(Flight { first: (who, outgoing), others: None, rules, began: now });
            }
            Ok(Picked::Ended(report)) => self.inbox.push(Request::Reports(vec![*report])),
            Ok(Picked::Stays(state)) => self.news.push(News::Settled { who, state }),
            Ok(Picked::Gone) => self.news.push(News::Void(who)),
            Err(error) => {
                self.registry.unreadable(who.entry.place, &error);
                self.news.push(News::SetBack(who));
            }
        }
        None
    }

    /// One message. See [`Engine::show`](super::Engine::show).
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn show(&self, id: Id, now: WallMs) -> Result<Shown, Error> {
        self.registry.show(id, now)
    }

    /// One message with its newest body.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn message(&self, id: Id) -> Result<Message, Error> {
        self.registry.message(id)
    }

    /// The kept attempts of a message, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn attempts(&self, id: Id) -> Result<Vec<Attempt>, Error> {
        self.registry.attempts(id)
    }

    /// One page of the messages that match, newest first.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn list(&self, query: &Query, now: WallMs) -> Result<ShownPage, Error> {
        self.registry.list(query, now)
    }

    /// How every destination stands that is configured, or that messages were accepted for.
    #[must_use]
    pub fn lanes(&self, now: Stamp) -> Vec<Lane> {
        self.registry.lanes_shown(now)
    }

    /// The engine in figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.registry.stats()
    }

    /// What was counted since the start, by destination.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.registry.counted()
    }

    /// The last hour by minutes, and what is due in the next one.
    #[must_use]
    pub fn chart(&self, now: Stamp) -> Chart {
        self.registry.chart(now)
    }

    /// The rules of alerts, and how their channels stand.
    #[must_use]
    pub fn alert_rules(&self, now: WallMs) -> Vec<RuleShown> {
        self.alerter.shown(now)
    }

    /// How often each unfinished message is waited for: by a queue, a timer, a cycle or a claim. For checks of the whole: every message that is
    /// not final and not held must be here exactly once.
    #[must_use]
    pub fn wakes(&self) -> std::collections::HashMap<Place, u32> {
        self.registry.scheduler().wakes()
    }

    /// One bounded step of retention.
    ///
    /// # Errors
    /// What hinders the write.
    pub fn retain(&mut self, now: Stamp) -> Result<crate::store::Retained, StoreError> {
        self.registry.store.retain(&self.registry.settings.retention, now.wall)
    }
}
