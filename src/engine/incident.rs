//! Incidents: failures of one destination with one cause, opened once, told once, closed once.
//!
//! ```text
//! a failed attempt ─▶ Incident of its cause (note 'i' + number, in the commit of the attempt)
//! at every look     ─▶ is any message still undelivered by it? no: closed, and told
//! ```
//!
//! # What holds
//!
//! * How often and since when is written with the attempts that it counts: a crash loses no count.
//! * An incident is open while a message that last failed by it is neither delivered nor given up by a person. That is looked up, not counted: it cannot
//!   drift from what is.
//! * It is told where a message came to rest by it, or where it lasts: what heals by itself in a minute wakes nobody.
//! * There are at most so many at a time, whatever destinations say: beyond that, causes of one class are taken together.
//! * That it was told is not written down: what is still open is told once more after a start.
//!
//! # What it does not know
//!
//! Who is told, and how messages are found.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{INCIDENT, INCIDENT_AT_REST, INCIDENT_LASTS, RECOVERED};
use super::notice::Notice;
use super::registry::Registry;
use super::settle::must_be_told;
use crate::error::Error;
use crate::model::cause::{Cause, words};
use crate::model::hash::fnv;
use crate::model::span::show_span;
use crate::model::{Id, Place, Stamp, WallMs};
use crate::store::{Dest, MANY_CAUSES, Move, Note, Query, StateName, Store, StoreError};

/// The first byte of the keys of incidents.
const KIND: u8 = b'i';
/// How many incidents are kept; a new cause beyond them replaces the one that has been closed longest, and where all are open it counts for its class.
const INCIDENTS_MAX: usize = 1_024;
/// What has not healed after so many failures and so much time is told.
const FAILURES_MIN: u64 = 5;
const LASTS_MS: u64 = 60_000;
/// How often it is looked whether an incident is over.
const LOOK_MS: u64 = 30_000;
/// How many incidents are looked at together.
const LOOKED_AT_MAX: usize = 32;
/// How many messages of an incident are counted, and how far they are looked for.
const OPEN_MAX: usize = 1_000;
const SCAN_MAX: usize = 200_000;

/// Failures of one destination with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number: the same for the same destination and cause at every time.
    pub number: u64,
    /// The destination.
    pub dest: Dest,
    /// The cause.
    pub cause: Cause,
    /// The cause in words: what was said, without what differs from message to message.
    pub words: String,
    /// How many attempts failed by it since it opened.
    pub failures: u64,
    /// How many of them were the first failure of their message.
    pub messages: u64,
    /// How many messages came to rest by it, or wait for a person.
    pub rested: u64,
    /// When it opened.
    pub first_at: WallMs,
    /// When it last failed.
    pub last_at: WallMs,
    /// The first message that failed by it.
    pub sample: Id,
    /// Its key.
    pub sample_key: Option<String>,
    /// What was said of it, whole.
    pub detail: String,
    /// When it was over.
    pub closed_at: Option<WallMs>,
    /// How often it has opened.
    pub times: u32,
}

/// An incident as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentShown {
    /// The incident.
    pub incident: Incident,
    /// The name of its destination.
    pub destination: Arc<str>,
    /// How many messages are still undelivered by it; at least so many where `is_least`.
    pub open: u64,
    /// Whether there may be more.
    pub is_least: bool,
    /// The oldest of those that were counted, and its key.
    pub oldest: Option<(Id, Option<Arc<str>>)>,
}

impl Incident {
    /// Which messages are still undelivered by it, in two questions that indexes answer.
    fn queries(&self, limit: usize) -> [Query; 2] {
        let of = |states: &[StateName]| Query {
            states: states.to_vec(),
            destinations: vec![self.dest],
            cause: Some(self.cause),
            limit,
            scan_max: SCAN_MAX,
            ..Query::default()
        };
        // In this order: what is sent again in between goes from the first to the second, and is seen.
        [of(&[StateName::Abandoned]), of(&[StateName::Queued, StateName::Sending, StateName::Failed])]
    }

    /// Whether a message is still undelivered by it. Where that cannot be told within the budget, one is.
    fn is_over(&self, store: &dyn Store) -> Result<bool, StoreError> {
        for query in self.queries(1) {
            let page = store.list(&query)?;
            if !page.records.is_empty() || page.scanned_until.is_some() || !page.damaged.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    /// Whether it has gone on for long.
    fn lasts(&self) -> bool {
        self.failures >= FAILURES_MIN && self.last_at.0.saturating_sub(self.first_at.0) >= LASTS_MS
    }

    /// What is to be told of it, where that was told before.
    fn news(&self, told: Option<&'static str>) -> Option<&'static str> {
        match told {
            None if self.lasts() => Some(INCIDENT),
            None if self.rested > 0 => Some(INCIDENT_AT_REST),
            Some(INCIDENT_AT_REST) if self.lasts() => Some(INCIDENT_LASTS),
            Some(_) | None => None,
        }
    }

    fn summary(&self) -> String {
        let Incident { failures, messages, words, .. } = self;
        format!("{}: {words}; {failures} attempts failed, {messages} messages", self.cause.class.name())
    }

    pub(super) fn note(&self) -> Note {
        // What is short and ours can always be written.
        let value = serde_json::to_vec(self).unwrap_or_default();
        Note { key: key(self.number), value }
    }
}

/// Where the note of an incident lies.
fn key(number: u64) -> Vec<u8> {
    [&[KIND][..], &number.to_be_bytes()].concat()
}

/// The number of a cause at a destination.
fn number_of(dest: Dest, cause: Cause) -> u64 {
    fnv(cause.hash, cause.class.name().bytes().chain(dest.0.to_be_bytes()))
}

/// The incidents that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Incidents(BTreeMap<u64, Incident>);

impl Incidents {
    /// Those that the store knows. What cannot be read is set aside, and opens anew with its next failure.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn open(registry: &Registry) -> Result<Incidents, StoreError> {
        let mut incidents = Incidents::default();
        let mut broken = Vec::new();
        let read = registry.store.notes(&[KIND], &mut |key, value| match serde_json::from_slice(value) {
            Ok(incident) => incidents.insert(incident),
            Err(error) => broken.push(format!("incident at {key:?}: {error}")),
        });
        match read {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => broken.push(format!("incidents: {what}")),
            Err(error) => return Err(error),
        }
        registry.set_aside(broken);
        Ok(incidents)
    }

    pub(super) fn insert(&mut self, incident: Incident) {
        self.0.insert(incident.number, incident);
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.0.remove(&number);
    }

    pub(super) fn get(&self, number: u64) -> Option<&Incident> {
        self.0.get(&number)
    }

    /// How many of a destination are open.
    pub(super) fn open_of(&self, dest: Dest) -> usize {
        self.0.values().filter(|incident| incident.dest == dest && incident.is_open()).count()
    }

    /// Newest failure first.
    pub(super) fn latest_first(&self) -> Vec<Incident> {
        let mut all: Vec<Incident> = self.0.values().cloned().collect();
        all.sort_by_key(|incident| std::cmp::Reverse(incident.last_at));
        all
    }

    /// The one that has been closed longest, where there is no room for another.
    fn least(&self, is_taken: impl Fn(u64) -> bool) -> Option<u64> {
        let free = self.0.values().filter(|incident| !is_taken(incident.number));
        free.filter_map(|incident| Some((incident.closed_at?, incident.number))).min().map(|(_, number)| number)
    }
}

/// Whose attempt failed, and when.
pub(super) struct Failed<'a> {
    pub(super) dest: Dest,
    pub(super) id: Id,
    pub(super) key: Option<&'a str>,
    pub(super) at: WallMs,
}

/// What becomes of incidents by a batch.
#[derive(Debug, Default)]
pub(super) struct Stirred {
    changed: BTreeMap<u64, Incident>,
    /// Those that make room.
    gone: Vec<u64>,
}

impl Stirred {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// Counts a failed attempt.
    pub(super) fn count(&mut self, known: &Incidents, failed: &Failed<'_>, step: &Move) {
        let Failed { dest, id, key, at } = *failed;
        let Some((attempt, class)) = step.attempt.as_ref().and_then(|attempt| Some((attempt, attempt.class?))) else {
            return;
        };
        let cause = Cause::of(class, &attempt.detail);
        let mut number = number_of(dest, cause);
        let mut words = words(&attempt.detail);
        let mut cause = cause;
        let is_known = |number: u64| self.changed.contains_key(&number) || known.get(number).is_some();
        let fresh = self.changed.keys().filter(|number| known.get(**number).is_none()).count();
        if !is_known(number) && known.0.len() + fresh >= INCIDENTS_MAX + self.gone.len() {
            match known.least(|number| self.gone.contains(&number) || self.changed.contains_key(&number)) {
                Some(least) => self.gone.push(least),
                None => {
                    cause = Cause::of(class, MANY_CAUSES);
                    number = number_of(dest, cause);
                    words = MANY_CAUSES.into();
                }
            }
        }
        self.gone.retain(|gone| *gone != number);
        let before = self.changed.remove(&number).or_else(|| known.get(number).cloned());
        let times = before.as_ref().map_or(0, |before| before.times);
        let mut incident = before.filter(Incident::is_open).unwrap_or_else(|| Incident {
            number,
            dest,
            cause,
            words,
            failures: 0,
            messages: 0,
            rested: 0,
            first_at: at,
            last_at: at,
            sample: id,
            sample_key: key.map(str::to_owned),
            detail: attempt.detail.clone(),
            closed_at: None,
            times: times.saturating_add(1),
        });
        incident.failures += 1;
        incident.messages += u64::from(attempt.number <= 1);
        incident.rested += u64::from(must_be_told(step.to));
        incident.last_at = at;
        self.changed.insert(number, incident);
    }

    /// It is over, unless something has failed by it since.
    pub(super) fn close(&mut self, known: &Incidents, seen: &Incident, at: WallMs) {
        let is_same = known.get(seen.number) == Some(seen) && !self.changed.contains_key(&seen.number);
        if is_same {
            self.changed.insert(seen.number, Incident { closed_at: Some(at), ..seen.clone() });
        }
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = Note> {
        self.changed.values().map(Incident::note)
    }

    /// The keys of the notes of those that make room.
    pub(super) fn dropped(&self) -> impl Iterator<Item = Vec<u8>> {
        self.gone.iter().map(|number| key(*number))
    }

    pub(super) fn apply(&self, to: &mut Incidents) {
        self.gone.iter().for_each(|number| to.remove(*number));
        self.changed.values().for_each(|incident| to.insert(incident.clone()));
    }
}

/// Looks after what is open: what is to be told, and what is over.
#[derive(Default)]
pub(super) struct Lookout {
    /// What was told of each, and when it had opened then, by its number.
    told: BTreeMap<u64, (WallMs, &'static str)>,
    next_ms: u64,
    /// The last that was looked at: the next look goes on behind it.
    last: u64,
}

impl Lookout {
    /// What is to be told now, and the incidents that are over.
    pub(super) fn look(&mut self, registry: &Registry, now: Stamp) -> (Vec<Notice>, Vec<Incident>) {
        if now.mono_ms < self.next_ms {
            return (Vec::new(), Vec::new());
        }
        self.next_ms = now.mono_ms.saturating_add(LOOK_MS);
        let open: Vec<Incident> = {
            let incidents = registry.incidents();
            let after = incidents.0.range((Bound::Excluded(self.last), Bound::Unbounded));
            let around = after.chain(incidents.0.range(..=self.last)).map(|(_, incident)| incident);
            around.filter(|incident| incident.is_open()).take(LOOKED_AT_MAX).cloned().collect()
        };
        self.last = open.last().map_or(0, |incident| incident.number);
        let mut notices = Vec::new();
        let mut over = Vec::new();
        for incident in open {
            let name = registry.name(incident.dest);
            let told = self.told.get(&incident.number).filter(|(opened, _)| *opened == incident.first_at);
            let told = told.map(|(_, reason)| *reason);
            match incident.is_over(&*registry.store) {
                Ok(true) => {
                    self.told.remove(&incident.number);
                    if told.is_some() {
                        let lasted = show_span((now.wall.0.saturating_sub(incident.first_at.0) / 1_000).max(1) * 1_000);
                        let words = format!("{}; it is over after {lasted}", incident.summary());
                        notices.push(Notice::new(name, RECOVERED, words));
                    }
                    over.push(incident);
                }
                Ok(false) => {
                    if let Some(reason) = incident.news(told) {
                        notices.push(Notice::new(name, reason, incident.summary()));
                        self.told.insert(incident.number, (incident.first_at, reason));
                    }
                }
                Err(error) => log::error!("cannot look after incident {:016x}: {error}", incident.number),
            }
        }
        (notices, over)
    }

    /// When it wants to look again, on the monotonic clock; `None` where nothing is open.
    pub(super) fn next_due(&self, registry: &Registry) -> Option<u64> {
        registry.incidents().0.values().any(Incident::is_open).then_some(self.next_ms)
    }
}

/// An incident with what is still undelivered by it.
///
/// # Errors
/// What hinders the read.
pub(super) fn shown(registry: &Registry, incident: Incident) -> Result<IncidentShown, Error> {
    let mut open = 0;
    let mut is_least = false;
    let mut oldest: Option<(Place, Id, Option<Arc<str>>)> = None;
    if incident.is_open() {
        for query in incident.queries(OPEN_MAX) {
            let page = registry.store.list(&query)?;
            open += page.records.len();
            is_least |= page.scanned_until.is_some() || page.records.len() >= OPEN_MAX;
            let last = page.records.last().map(|record| (record.place, record.id, record.envelope.key.clone()));
            oldest = [oldest, last].into_iter().flatten().min_by_key(|(place, ..)| *place);
        }
    }
    Ok(IncidentShown {
        destination: registry.name(incident.dest),
        open: u64::try_from(open).unwrap_or(u64::MAX),
        is_least,
        oldest: oldest.map(|(_, id, key)| (id, key)),
        incident,
    })
}
