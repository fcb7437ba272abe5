//! What all stages share: the store, the destinations, the scheduler, the figures; and the reading side of the engine.
//!
//! # What holds
//!
//! * A message that is out is shown as `Sending` though the store, where claims live in memory, does not say so.
//! * Reading takes no part in writing: it waits for no commit.
//!
//! # What it does not know
//!
//! Threads and channels, and how anything is changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::after::Sought;
use super::ages::Ages;
use super::alert::{ANSWERING, FAILING, FULL, HAS_ROOM, PAUSED, RESUMED, RULE};
use super::bulk::Ledger;
use super::figures::{Counted, Figures};
use super::history::Chart;
use super::incident::Incidents;
use super::lane::Entry;
use super::ledger::Books;
use super::news::Who;
use super::notice::{Notice, Notified};
use super::pause::{self, Cause, Pause};
use super::pending::Steer;
use super::schedule::Scheduler;
use super::settle::Report;
use super::token::Tokens;
use super::verdict::Verdicts;
use super::words::{Destination, Lane, Settings, Stats, Transition};
use crate::error::Error;
use crate::model::breaker::Turned;
use crate::model::nearest::nearest;
use crate::model::{Delivery, Id, OnUncertain, Place, Stamp, State};
use crate::store::{Dest, Store, StoreError, key_hash};

/// What all stages share.
pub(super) struct Registry {
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: Settings,
    names: Vec<Arc<str>>,
    destinations: Vec<Option<Arc<Destination>>>,
    scheduler: Mutex<Scheduler>,
    ages: Mutex<Ages>,
    watchers: Mutex<Vec<Watcher>>,
    is_watched: AtomicBool,
    pub(super) figures: Figures,
    damage: Mutex<Damage>,
    /// What became of messages and could not be written, because a row of theirs is damaged.
    unwritten: Mutex<HashMap<Place, Report>>,
    /// Messages that await keys of which nobody has looked yet whether they were delivered before.
    pub(super) sought: Sought,
    /// How messages ended, where others want to hear of it.
    pub(super) verdicts: Verdicts,
    /// What has become of destinations, and the alerter has not taken yet.
    notices: Mutex<Vec<Notice>>,
    failure: Mutex<Option<String>>,
    jobs: Mutex<Ledger>,
    incidents: Mutex<Incidents>,
    tokens: Mutex<Tokens>,
    books: Mutex<Books>,
}

/// What cannot be read and so is not delivered.
#[derive(Default)]
struct Damage {
    known: BTreeSet<String>,
    /// What of it the alerter has not taken yet.
    fresh: Vec<String>,
}

/// How many things that cannot be read are remembered.
const DAMAGE_MAX: usize = 100;

pub(super) type Watcher = Box<dyn FnMut(&Transition) -> bool + Send>;

impl Registry {
    /// Joins the configured destinations with those that the store has met.
    ///
    /// # Errors
    /// What hinders the store from numbering a new destination.
    pub(super) fn new(
        store: Arc<dyn Store>,
        destinations: Vec<Destination>,
        settings: Settings,
        advance_max: usize,
        now: Stamp,
    ) -> Result<Registry, StoreError> {
        let mut numbered = Vec::new();
        for destination in destinations {
            numbered.push((store.destination(&destination.name)?, Arc::new(destination)));
        }
        let met = store.destinations();
        let lanes = met.iter().map(|(dest, _)| usize::from(dest.0) + 1).max().unwrap_or(0);
        let mut names = vec![Arc::from(""); lanes];
        for (dest, name) in met {
            if let Some(slot) = names.get_mut(usize::from(dest.0)) {
                *slot = name;
            }
        }
        let mut by_number: Vec<Option<Arc<Destination>>> = vec![None; lanes];
        for (dest, destination) in numbered {
            if let Some(slot) = by_number.get_mut(usize::from(dest.0)) {
                *slot = Some(destination);
            }
        }
        let rules: Vec<Option<&Destination>> = by_number.iter().map(Option::as_deref).collect();
        let scheduler = Mutex::new(Scheduler::new(&rules, advance_max, now));
        let late_after_ms = rules.iter().map(|rules| rules.and_then(|rules| rules.late_after_ms));
        let ages = Mutex::new(Ages::new(late_after_ms, now));
        let figures = Figures::new(lanes, now);
        let numbered = (0_u16..).map(Dest).zip(&by_number);
        let named = numbered.filter_map(|(dest, rules)| Some((dest, &**rules.as_ref()?)));
        let verdicts = Verdicts::open(named, &*store)?;
        let registry = Registry {
            store,
            settings,
            names,
            destinations: by_number,
            scheduler,
            ages,
            watchers: Mutex::new(Vec::new()),
            is_watched: AtomicBool::new(false),
            figures,
            damage: Mutex::default(),
            unwritten: Mutex::default(),
            sought: Sought::default(),
            verdicts,
            notices: Mutex::default(),
            failure: Mutex::new(None),
            jobs: Mutex::default(),
            incidents: Mutex::default(),
            tokens: Mutex::default(),
            books: Mutex::default(),
        };
        *registry.jobs() = Ledger::open(&registry)?;
        *registry.incidents() = Incidents::open(&registry)?;
        *registry.tokens() = Tokens::open(&registry)?;
        *registry.books() = Books::open(&registry)?;
        registry.pause_again()?;
        Ok(registry)
    }

    /// Pauses what was paused when the process ended, and says so once more.
    fn pause_again(&self) -> Result<(), StoreError> {
        let (known, damage) = pause::known(&*self.store)?;
        known.into_iter().for_each(|(dest, pause)| self.steer(dest, Steer::Pause(Some(pause))));
        // One that cannot be read must not keep all others from being delivered to.
        self.set_aside(damage.into_iter().map(|why| format!("a pause of a destination: {why}")).collect());
        Ok(())
    }

    /// The scheduler, for as long as the guard lives.
    pub(super) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long messages have been waiting, for as long as the guard lives.
    pub(super) fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bulk jobs as they are written, for as long as the guard lives.
    pub(super) fn jobs(&self) -> MutexGuard<'_, Ledger> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The incidents as they are written, for as long as the guard lives.
    pub(super) fn incidents(&self) -> MutexGuard<'_, Incidents> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokens as they are written, for as long as the guard lives.
    pub(super) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledgers of streams as they are written, for as long as the guard lives.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules of a destination; `None` where it is no longer configured.
    pub(super) fn rules(&self, dest: Dest) -> Option<&Arc<Destination>> {
        self.destinations.get(usize::from(dest.0)).and_then(Option::as_ref)
    }

    /// Every lane's rules, by number.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (Dest, Option<&Arc<Destination>>)> {
        self.destinations
            .iter()
            .enumerate()
            .filter_map(|(number, rules)| u16::try_from(number).ok().map(|number| (Dest(number), rules.as_ref())))
    }

    /// The number of a destination that the registry has met, configured or not.
    ///
    /// # Errors
    /// [`Error::UnknownDestination`], with the nearest name.
    pub(super) fn destination(&self, name: &str) -> Result<Dest, Error> {
        let position = self.names.iter().position(|known| **known == *name);
        position.and_then(|number| u16::try_from(number).ok()).map(Dest).ok_or_else(|| Error::UnknownDestination {
            name: name.chars().take(64).collect(),
            nearest: nearest(name, self.names.iter().map(|known| &**known)).map(str::to_owned),
        })
    }

    /// The number of a destination that takes messages.
    ///
    /// # Errors
    /// [`Error::UnknownDestination`] where it is not configured.
    pub(super) fn open_destination(&self, name: &str) -> Result<Dest, Error> {
        let dest = self.destination(name)?;
        match self.rules(dest) {
            Some(_) => Ok(dest),
            None => Err(Error::UnknownDestination { name: name.to_owned(), nearest: None }),
        }
    }

    /// A message as the scheduler knows it.
    pub(super) fn who(&self, dest: Dest, place: Place, key: Option<&str>) -> Who {
        let is_serial = self.rules(dest).is_some_and(|rules| rules.is_serial());
        let hash = if is_serial { key.map_or(0, key_hash) } else { 0 };
        Who { dest, entry: Entry { place, hash } }
    }

    /// Where the message of this id lies.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub(super) fn place(&self, id: Id) -> Result<Place, Error> {
        self.store.find(id)?.ok_or(Error::NotFound(id))
    }

    pub(super) fn stats(&self) -> Stats {
        let name = |dest: Dest| self.names.get(usize::from(dest.0)).cloned().unwrap_or_else(|| Arc::from("?"));
        Stats {
            counts: self
                .store
                .counts()
                .into_iter()
                .map(|count| (name(count.dest), count.state, count.messages))
                .collect(),
            sending: u64::try_from(self.scheduler().out()).unwrap_or(u64::MAX),
            accepted: self.figures.accepted(),
            attempts: self.figures.attempts(),
            delivered: self.figures.delivered(),
            commit: self.figures.commit.load(Ordering::Relaxed),
            room: self.store.room(),
            started_at: self.figures.started.wall,
            damaged: self.damage().known.iter().cloned().collect(),
        }
    }

    /// What was counted since the start.
    pub(super) fn counted(&self) -> Counted {
        self.figures.shown(&self.names)
    }

    /// The last hour, and what is due in the next.
    pub(super) fn chart(&self, now: Stamp) -> Chart {
        let minutes = self.figures.history().shown(now);
        let (due, is_due_whole) = self.scheduler().due(now);
        Chart { minutes, due, is_due_whole }
    }

    /// Stops the engine from taking anything more, for this reason. The first reason stays.
    pub(super) fn poison(&self, why: &str) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            log::error!("stopping: {why}");
            *failure = Some(why.to_owned());
        }
    }

    /// Whether nobody knows if the destination has this message, and it is to be asked before the message goes again. Not where a person sends
    /// it again or edits it: that is queued, and a person's word.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn is_in_doubt(&self, who: Who, state: State) -> Result<bool, StoreError> {
        let asks = self.rules(who.dest).is_some_and(|rules| rules.policy.on_uncertain == OnUncertain::Probe);
        if !asks || !matches!(state, State::Failed(_)) {
            return Ok(false);
        }
        let attempts = self.store.attempts(who.entry.place)?;
        Ok(attempts.last().is_some_and(|last| last.outcome == Delivery::Uncertain))
    }

    /// A message could not be read. Damage is that message's alone, and a full disk passes; anything else means that the disk fails, and stops the
    /// engine.
    pub(super) fn unreadable(&self, place: Place, error: &StoreError) {
        match error {
            StoreError::Damaged(what) => self.set_aside(vec![format!("message {place} cannot be read: {what}")]),
            StoreError::Closed => {}
            StoreError::Full(why) => log::warn!("message at {place} cannot be read while the disk is full: {why}"),
            StoreError::Locked { .. } | StoreError::Foreign(_) | StoreError::Io(_) | StoreError::Poisoned(_) => {
                self.poison(&format!("message at {place} cannot be read: {error}"))
            }
        }
    }

    /// The newest version of a key cannot be read: nothing can be told of its messages with versions.
    pub(super) fn unfenced(&self, error: &StoreError) {
        if let StoreError::Damaged(what) = error {
            self.set_aside(vec![format!("messages of a key with versions: {what}")]);
        }
    }

    /// Remembers what cannot be read and so is not delivered, and says so the first time.
    pub(super) fn set_aside(&self, damaged: Vec<String>) {
        let mut damage = self.damage();
        for what in damaged {
            if damage.known.len() < DAMAGE_MAX && damage.known.insert(what.clone()) {
                log::error!("set aside, and not delivered: {what}");
                damage.fresh.push(what);
            }
        }
    }

    /// Keeps what became of a message until it can be written: it must not be sent again for want of that.
    pub(super) fn keep_unwritten(&self, report: Report) {
        self.unwritten().insert(report.who.entry.place, Report { is_heard: true, ..report });
    }

    /// Takes out what is kept of this message, to try to write it again.
    pub(super) fn take_unwritten(&self, place: Place) -> Option<Report> {
        self.unwritten().remove(&place)
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<Place, Report>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was set aside since this was last asked.
    pub(super) fn fresh_damage(&self) -> Vec<String> {
        std::mem::take(&mut self.damage().fresh)
    }

    fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A destination is steered, durably.
    pub(super) fn steer(&self, dest: Dest, steer: Steer) {
        let pause = match steer {
            Steer::Cycle => return self.scheduler().run_cycle(dest),
            Steer::Pause(pause) => pause,
        };
        let before = {
            let mut scheduler = self.scheduler();
            let before = scheduler.paused(dest);
            scheduler.pause(dest, pause.clone());
            before
        };
        self.say_pause(dest, before, pause.as_ref());
    }

    /// Says what has become of a destination; a person is told of what goniec did by itself.
    fn say_pause(&self, dest: Dest, before: Option<Cause>, pause: Option<&Pause>) {
        match pause {
            Some(Pause { cause: Cause::Person, who, why, .. }) => {
                log::warn!("destination {} is paused by {who:?}: {why:?}", self.name(dest));
            }
            Some(pause) => self.note(dest, PAUSED, &format!("{}: {}", pause.cause.name(), pause.why)),
            None if before == Some(Cause::SetUp) => self.note(dest, RESUMED, "it takes messages again"),
            None => log::warn!("destination {} goes on", self.name(dest)),
        }
    }

    /// Has a person told that the registry takes nothing new, or takes it again.
    pub(super) fn note_room(&self, is_full: bool, words: String) {
        self.note_of(Notice::new(Arc::from("*"), if is_full { FULL } else { HAS_ROOM }, words));
    }

    /// Has a person told of this; whoever has it told may ask whether everybody was.
    pub(super) fn note_of(&self, notice: Notice) -> Notified {
        let notified = notice.notified.clone();
        self.notices().push(notice);
        notified
    }

    /// Has a person told of what became of a destination.
    fn note(&self, dest: Dest, reason: &'static str, why: &str) {
        self.note_of(Notice::new(self.name(dest), reason, why));
    }

    pub(super) fn name(&self, dest: Dest) -> Arc<str> {
        self.names.get(usize::from(dest.0)).cloned().unwrap_or_else(|| Arc::from("?"))
    }

    /// What has become of destinations since this was last asked.
    pub(super) fn fresh_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices())
    }

    /// Whether there is something that nobody was told of yet.
    pub(super) fn has_notices(&self) -> bool {
        !self.notices().is_empty() || !self.damage().fresh.is_empty()
    }

    fn notices(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this destination stands.
    pub(super) fn lane_shown(&self, dest: Dest, now: Stamp) -> Lane {
        let rules = self.rules(dest);
        let scheduler = self.scheduler();
        let (pause, waits_for, out, begins) = scheduler.standing(dest);
        let (is_by_account, breaker) = (scheduler.is_shut_by_account(dest), scheduler.breaker(dest));
        drop(scheduler);
        let account = rules.and_then(|rules| rules.account.as_ref()).filter(|_| is_by_account);
        let standing = self.ages().standing(dest, now);
        Lane {
            name: self.name(dest),
            is_configured: rules.is_some(),
            pause,
            waits_for,
            held_by: account.map(|account| account.name.clone()),
            out,
            age: standing.age,
            drains_in_ms: standing.drains_in_ms,
            incidents: self.incidents().open_of(dest),
            breaker,
            cycle: rules.and_then(|rules| rules.cycle.clone()).map(|cycle| (cycle, begins)),
        }
    }

    /// How all destinations stand.
    pub(super) fn lanes_shown(&self, now: Stamp) -> Vec<Lane> {
        self.lanes().map(|(dest, _)| self.lane_shown(dest, now)).filter(|lane| !lane.name.is_empty()).collect()
    }

    /// A destination's breaker has turned.
    pub(super) fn turned(&self, dest: Dest, turned: Turned) {
        match turned {
            Turned::Opened => {
                self.note(dest, FAILING, "it is left alone, and tried with one message from time to time")
            }
            Turned::Closed => self.note(dest, ANSWERING, "it takes messages again"),
        }
    }

    /// The rules of a destination do not tell what it answered: one failed, or none fits.
    pub(super) fn rule_failed(&self, dest: Dest, why: &str) {
        self.note(dest, RULE, why);
    }

    /// Why the engine takes nothing more, where it failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    pub(super) fn watch(&self, watcher: Watcher) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
        self.is_watched.store(true, Ordering::Relaxed);
    }

    /// Tells those who watch.
    pub(super) fn tell(&self, transitions: &[Transition]) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain_mut(|watcher| transitions.iter().all(&mut *watcher));
        self.is_watched.store(!watchers.is_empty(), Ordering::Relaxed);
    }
}
