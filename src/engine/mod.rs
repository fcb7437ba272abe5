//! The path of a message, one file per verb: accept, schedule, send, settle, alert, recover.
//!
//! ```text
//! accept   check limits, write as Queued                      durable before the caller hears yes
//! schedule what is ripe, one lane per destination             Queued | Failed -> Sending (in memory)
//! send     transport.send under a deadline                    the only step that may happen twice
//! settle   judge -> advance -> one write for many outcomes    Delivered | Failed(due) | Abandoned(why)
//! alert    tell people; a durable flag, not an afterthought
//! ```
//!
//! [`Turn`] runs all of them once on the caller's thread at the caller's `now`; `threads` runs the same stages
//! on threads of their own and is the only part that spawns threads or makes channels.
//!
//! # What it does not know
//!
//! HTTP, configuration files, terminals, async.

mod accept;
mod account;
mod act;
mod after;
mod ages;
mod agreement;
mod alarm;
mod alert;
mod asked;
mod audit;
mod book;
mod bulk;
mod carried;
mod commit;
mod crew;
mod draft;
mod enter;
mod fence;
mod field;
mod figures;
mod gate;
mod history;
mod incident;
mod lane;
mod latest;
mod ledger;
mod log_line;
mod mark;
mod meet;
mod named;
mod news;
mod notice;
mod overdue;
mod parcel;
mod pause;
mod pending;
mod place_map;
mod recover;
mod registry;
mod request;
mod rule;
mod schedule;
mod send;
mod send_batch;
mod settle;
mod shown;
mod source;
mod standing;
mod streams;
mod supersede;
mod threads;
mod token;
mod told;
mod turn;
mod verdict;
mod words;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use accept::{
    HEADER_BYTES_MAX, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_MS, MESSAGES_MAX, REQUEST_BYTES_MAX, WORD_BYTES_MAX,
};
pub use after::AFTER_KEYS_MAX;
pub use ages::Age;
pub use agreement::Agreement;
pub use alert::{Alert, Channel};
pub use audit::{Audited, Deed, Entry, Head, Soundness, Target};
pub use bulk::{Bulk, BulkAct, Job, JobState, Preview};
pub use carried::{is_bound_to_node, salvaged};
pub use fence::VERSIONED_KEY_BYTES_MAX;
pub use field::{Edited, FieldEdit};
pub use figures::{Counted, CountedOf, Histogram};
pub use history::{Chart, Due, Past};
pub use incident::{Incident, IncidentShown};
pub use ledger::{Side, Stream};
pub use log_line::LogLine;
pub use mark::{MARK_BYTES_MAX, MARK_NAME_BYTES_MAX, Mark};
pub use notice::Notified;
pub use pause::{Cause, Pause};
pub use rule::{Kind, Rule};
pub use source::SourceNews;
pub use streams::{ENDED_MAX, HOLES_MAX, Heard, Item, Received, StreamShown, Took};
pub use token::{Beside, Grant};
pub use told::{ChannelState, RuleShown};
pub use turn::{Flight, Turn};
pub use words::{
    Accepted, Account, Act, AwaitedKey, BatchRule, By, Cycle, Destination, Hand, Lane, Order, Reply, Settings, Shown,
    ShownPage, Stats, Transition, Waits,
};

use crate::error::Error;
use crate::model::{Attempt, Id, Message, WallMs};
use crate::store::{Dest, Query, Revision, Store};
use alert::Alerter;
use bulk::Step;
use commit::Committer;
use lane::WINDOW_MAX;
use pending::poisoned;
use registry::Registry;
use request::Request;
use threads::{Clock, Shared, Threads};
use told::Rules;

/// A running engine. Clones share it; the last one to go ends it and cuts off what is out, unless
/// [`Engine::shutdown`] was called.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    owner: Arc<Owner>,
}

/// Ends the threads with the last clone of the engine.
struct Owner(Mutex<Option<Threads>>);

impl Engine {
    /// Starts the engine on a store: what a start must settle is settled, and deliveries begin.
    ///
    /// # Errors
    /// The store failed, or the system gives no threads.
    pub fn start(
        store: Arc<dyn Store>,
        destinations: Vec<Destination>,
        settings: Settings,
        rules: Vec<Rule>,
    ) -> Result<Engine, Error> {
        let clock = Clock::start();
        let now = clock.now();
        let registry = Arc::new(Registry::new(store, destinations, settings, WINDOW_MAX, now)?);
        let (first, latest, awaited) = recover::recover(&registry, now)?;
        let committer = Committer::new(registry.clone(), latest, awaited, now)?;
        let rules = Rules::new(rules);
        let alerter = Alerter::new(rules.clone());
        let (shared, threads) = threads::start(registry, committer, alerter, first, clock)?;
        Ok(Engine { shared, rules, owner: Arc::new(Owner(Mutex::new(Some(threads)))) })
    }

    /// Does what a person asks of a message; answers with what it then is, once that is durable. Never blocks.
    pub fn act(&self, id: Id, act: impl Into<By<Act>>, reply: Reply<Shown>) {
        let asked = act.into();
        if let Act::Edit { body, .. } = &asked.what {
            let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
            if let Err(error) = accept::check_body(bytes, &self.shared.registry) {
                return reply(Err(error));
            }
        }
        self.shared.hand_in(Request::Act(id, asked, reply), false);
    }

    /// Does what a person asks of a message, and returns what it then is, once that is durable.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn act_wait(&self, id: Id, act: impl Into<By<Act>>) -> Result<Shown, Error> {
        let (reply, answer) = answer();
        self.act(id, act, reply);
        answer()
    }

    /// Does what a person asks of a destination; answers with how it then stands, once that is durable. Never blocks.
    pub fn steer(&self, destination: &str, hand: impl Into<By<Hand>>, reply: Reply<Lane>) {
        match self.shared.registry.open_destination(destination) {
            Ok(dest) => self.shared.hand_in(Request::Steer(dest, hand.into(), reply), false),
            Err(error) => reply(Err(error)),
        }
    }

    /// Does what a person asks of a destination, and returns how it then stands, once that is durable.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn steer_wait(&self, destination: &str, hand: impl Into<By<Hand>>) -> Result<Lane, Error> {
        let (reply, answer) = answer();
        self.steer(destination, hand, reply);
        answer()
    }

    /// How many messages match, and the newest of them; and what the act would make of these where it edits a field.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn preview(&self, act: &BulkAct, query: &Query, samples: usize) -> Result<Preview, Error> {
        let found = bulk::find(&self.shared.registry, query, None, None)?;
        let page = self.list(&Query { limit: samples, ..query.clone() })?;
        let count = u64::try_from(found.places.len()).unwrap_or(u64::MAX);
        let edited = |shown: &Shown| Some(self.shared.registry.edited(&shown.record, act.field()?));
        let edits = page.messages.iter().filter_map(edited).map(|edit| edit.map_err(|why| why.to_string())).collect();
        Ok(Preview { count, samples: page.messages, edits, damaged: found.damaged })
    }

    /// Begins a bulk job, and returns it once it is durable. Its messages are counted first, which may take a while.
    ///
    /// # Errors
    /// [`Error::Counted`] where another number matches than was believed, [`Error::Busy`] where too many are under way, or what hinders the read.
    pub fn bulk(&self, asked: By<Bulk>) -> Result<Job, Error> {
        asked.check()?;
        let By { what, who, why } = asked;
        let job = Job::prepare(&self.shared.registry, what, &who, why, self.now())?;
        let (reply, answer) = answer();
        self.shared.hand_in(Request::Bulk(Step::Begin(Box::new(job)), reply), false);
        let job = answer()?;
        self.shared.wake_runner();
        Ok(job)
    }

    /// The last bulk jobs, newest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.registry.jobs().newest_first()
    }

    /// A bulk job, by its number.
    #[must_use]
    pub fn job(&self, number: u64) -> Option<Job> {
        self.shared.registry.jobs().get(number).cloned()
    }

    /// Cancels a bulk job, and returns how it then stands. What was done stays done.
    ///
    /// # Errors
    /// There is none of this number, or nothing has changed.
    pub fn cancel_job(&self, number: u64, who: &str) -> Result<Job, Error> {
        By { what: (), who: Arc::from(who), why: String::new() }.check()?;
        let (reply, answer) = answer();
        self.shared.hand_in(Request::Bulk(Step::Cancel { job: number, who: Arc::from(who) }, reply), false);
        answer()
    }

    /// The incidents, those that failed last first; closed ones too where they are asked for.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn incidents(&self, closed: bool) -> Result<Vec<IncidentShown>, Error> {
        let registry = &self.shared.registry;
        let known = registry.incidents().latest_first();
        let asked = known.into_iter().filter(|incident| closed || incident.closed_at.is_none());
        asked.map(|incident| incident::shown(registry, incident)).collect()
    }

    /// An incident, by its number.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn incident(&self, number: u64) -> Result<Option<IncidentShown>, Error> {
        let registry = &self.shared.registry;
        let known = registry.incidents().get(number).cloned();
        known.map(|incident| incident::shown(registry, incident)).transpose()
    }

    /// The destination and the cause of an incident, by its number.
    #[must_use]
    pub fn cause(&self, number: u64) -> Option<(Dest, crate::model::cause::Cause)> {
        self.shared.registry.incidents().get(number).map(|incident| (incident.dest, incident.cause))
    }

    /// Keeps in the audit log what was done elsewhere; it is durable on return.
    ///
    /// # Errors
    /// Nothing was kept.
    pub fn record(&self, deed: Deed) -> Result<(), Error> {
        deed.check()?;
        let (reply, answer) = answer();
        self.shared.hand_in(Request::Note(deed, reply), false);
        answer()
    }

    /// The rules of alerts, and how their channels stand.
    #[must_use]
    pub fn alert_rules(&self) -> Vec<RuleShown> {
        self.rules.shown(self.now())
    }

    /// Tells somebody by the rule of this number that this is a test, and keeps in the audit log that `who` did. Blocks as long as the channel
    /// does. The inner result says why nobody was told; `None` where there is no such rule.
    ///
    /// # Errors
    /// It was tried, and that could not be kept.
    pub fn test_alert(&self, number: usize, who: &str) -> Result<Option<Result<(), String>>, Error> {
        let Some(told) = self.rules.test(number, self.now()) else { return Ok(None) };
        let came = told.as_ref().map_or_else(|why| format!("nobody was told: {why}"), |()| "told".to_owned());
        let detail = format!("rule {number}: {came}");
        self.record(Deed { detail, ..Deed::new(who, "alert-test", Target::Node) })?;
        Ok(Some(told))
    }

    /// A page of the audit log, newest first: the entries before this number.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn audit(&self, before: Option<u64>, limit: usize) -> Result<Audited, Error> {
        audit::page(&*self.shared.registry.store, before, limit)
    }

    /// Follows the audit log from its beginning to its end. `known` is an entry that somebody wrote down.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn verify_audit(&self, known: Option<Head>) -> Result<Soundness, Error> {
        audit::verify(&*self.shared.registry.store, known)
    }

    /// How every destination stands that is configured, or that messages were accepted for.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        self.shared.registry.lanes_shown(self.shared.clock.now())
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn show(&self, id: Id) -> Result<Shown, Error> {
        self.shared.registry.show(id, self.now())
    }

    /// The keys that a message still awaits, and how the newest message of each stands: up to [`AFTER_KEYS_MAX`] searches by key.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn awaited(&self, id: Id) -> Result<Vec<AwaitedKey>, Error> {
        self.shared.registry.awaited(id, self.now())
    }

    /// One message with its newest body.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn message(&self, id: Id) -> Result<Message, Error> {
        self.shared.registry.message(id)
    }

    /// The kept attempts of a message, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn attempts(&self, id: Id) -> Result<Vec<Attempt>, Error> {
        self.shared.registry.attempts(id)
    }

    /// One body of a message, by the number of its revision, or the newest; `None` where there is no such revision.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn revision(&self, id: Id, number: Option<u16>) -> Result<Option<Revision>, Error> {
        self.shared.registry.revision(id, number)
    }

    /// The bodies of a message, the first one first, all of them in memory at once.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn revisions(&self, id: Id) -> Result<Vec<Revision>, Error> {
        self.shared.registry.revisions(id)
    }

    /// One page of the messages that match, newest first.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn list(&self, query: &Query) -> Result<ShownPage, Error> {
        self.shared.registry.list(query, self.now())
    }

    /// The engine in figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.registry.stats()
    }

    /// What was counted since the start, by destination.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.shared.registry.counted()
    }

    /// The last hour by minutes, and what is due in the next one.
    #[must_use]
    pub fn chart(&self) -> Chart {
        self.shared.registry.chart(self.shared.clock.now())
    }

    /// The number that stands for a destination in a [`Query`].
    ///
    /// # Errors
    /// [`Error::UnknownDestination`], with the nearest name.
    pub fn destination(&self, name: &str) -> Result<Dest, Error> {
        self.shared.registry.destination(name)
    }

    /// The names of the configured destinations.
    #[must_use]
    pub fn destinations(&self) -> Vec<Arc<str>> {
        self.shared.registry.lanes().filter_map(|(_, rules)| rules.map(|rules| rules.name.clone())).collect()
    }

    /// Whether the engine takes messages: `Err` says why not.
    ///
    /// # Errors
    /// Poisoned, stopping, or the disk is full.
    pub fn ready(&self) -> Result<(), Error> {
        match self.shared.refusal().or_else(|| self.shared.no_room()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Why the engine failed, if it has. It must then be opened again.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.registry.failure().map(|why| poisoned(&why))
    }

    /// How often the scheduler has gone round, which it does once a second at least: one that stands still hangs.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.shared.beats.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Calls `each` with every transition from now on, from a thread of the engine; it must not block, and ends the watch by answering `false`.
    pub fn watch(&self, each: Box<dyn FnMut(&Transition) -> bool + Send>) {
        self.shared.registry.watch(each);
    }

    /// The limits that this engine keeps.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.shared.registry.settings.clone()
    }

    /// Takes nothing new, lets what is out come home for at most `limit`, writes it down and closes the store.
    /// A second call returns at once.
    ///
    /// # Errors
    /// The store failed before or during the stop; what was acknowledged is kept.
    pub fn shutdown(&self, limit: Duration) -> Result<(), Error> {
        self.owner.stop(limit)
    }

    fn now(&self) -> WallMs {
        self.shared.clock.now().wall
    }
}

impl Owner {
    fn stop(&self, limit: Duration) -> Result<(), Error> {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        threads.map_or(Ok(()), |threads| threads.stop(limit))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Err(error) = self.stop(Duration::ZERO) {
            log::error!("the engine ended badly: {error}");
        }
    }
}

/// A reply, and the wait for it.
fn answer<T: Send + 'static>() -> (Reply<T>, impl FnOnce() -> Result<T, Error>) {
    let (reply, answer) = threads::once();
    (Box::new(reply), move || answer().unwrap_or(Err(Error::Stopping)))
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
