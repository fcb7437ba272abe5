//! Alerting: a person is told of what could not be delivered.
//!
//! The duty is durable: the write that abandons a message marks it untold, and the mark goes only after every rule that
//! concerns it has told someone. What is told is a cause, not a message: one alert for all failures of one destination with one reason, and
//! no second one within the digest window, and none within the quiet hours of a rule: what came up meanwhile is told when they end.
//!
//! # What holds
//!
//! * At least once: a crash between telling and marking tells again, never not at all.
//! * What a rule has yet to tell, for it is quiet or its channel fails, is told after a restart too: messages, because they are marked; destinations, where it is
//!   still so.
//! * A channel that fails is tried again after a while, and does not silence the others.
//! * An alert about a failing channel goes to the log only.
//!
//! # What it does not know
//!
//! SMTP, HTTP, processes: a [`Channel`] does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::incident::{Incident, Lookout};
use super::notice::Notice;
use super::overdue::{self, Overdue};
use super::registry::Registry;
use super::rule::{Kind, Rule};
use super::told::{RuleShown, Rules};
use crate::model::{Id, Place, Record, Stamp, State, WallMs};
use crate::store::StoreError;

/// A way to tell a person. It may block; it must end.
pub trait Channel: Send + Sync + 'static {
    /// Tells it.
    ///
    /// # Errors
    /// Why nobody has been told; it will be tried again.
    fn tell(&self, alert: &Alert) -> Result<(), String>;

    /// What the channel is called where it fails.
    fn name(&self) -> String;
}

/// Messages of one destination that came to rest, or wait for a person, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The destination; `*` where it is the registry that is damaged or full, and in a test; the source, where the reason begins with `source-`.
    pub destination: Arc<str>,
    /// The reason (`exhausted`, `rejected`, `expired`), `uncertain` for messages that wait for a person to say whether they arrived, `damaged`
    /// for what cannot be read and so is not delivered, `late` for messages that are still tried, or `will-be-late`, `on-time`, `silent`, `active`,
    /// `paused`, `resumed`, `failing` and `answering` for a destination itself, `full` and `has-room` for the disk, `source-asks`, `source-failing`, `source-read`,
    /// `source-forgets`, `source-forgot`, `source-refused`, `source-gap` and `source-whole` for a source, `out-of-sync`, `in-sync` and `unread` for what a destination says that it has, `rule` where its rules do not tell
    /// what it answered, `test` where a person tries the channel.
    pub reason: &'static str,
    /// How many since the alert before; rows, where they are damaged; all that are, where they are late.
    pub messages: u64,
    /// The first of them, the oldest where they are late; `None` where it cannot be read.
    pub sample: Option<Id>,
    /// Its key.
    pub sample_key: Option<Arc<str>>,
    /// What was said of its last attempt.
    pub detail: Option<String>,
    /// When the oldest of them came to this; when it was accepted, where they are late.
    pub since: WallMs,
}

impl Alert {
    /// What it is about, in a word, the same for what is over as for what began; with the destination it names the cause.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match Kind::of(self.reason) {
            Kind::Abandoned => self.reason,
            kind @ (Kind::Late
            | Kind::Silent
            | Kind::Paused
            | Kind::Breaker
            | Kind::Damaged
            | Kind::Disk
            | Kind::Incident
            | Kind::Source
            | Kind::Reconcile) => kind.name(),
        }
    }
}

/// How many untold messages are looked at together.
const UNTOLD_MAX: usize = 10_000;
/// How many marks are taken back in one commit: after a quiet night there are many, and everything else waits for it.
const TOLD_MAX: usize = 1_000;
/// How many of which not everybody was told are looked at again each time.
const RECHECK_MAX: usize = 1_000;
/// How long a channel that failed is left alone.
const AGAIN_MS: u64 = 30_000;
/// How often the registry is asked for untold messages while nothing is known.
pub(super) const LOOK_MS: u64 = 1_000;

pub(super) type Cause = (Arc<str>, &'static str);

/// The reason of what cannot be read.
pub(super) const DAMAGED: &str = "damaged";
/// Of the disk: that nothing new is taken, and that it is over.
pub(super) const FULL: &str = "full";
pub(super) const HAS_ROOM: &str = "has-room";
/// The reason of what a person tells to try a channel.
pub(super) const TEST: &str = "test";
/// Of destinations: what becomes of them, and that it is over.
pub(super) const PAUSED: &str = "paused";
pub(super) const FAILING: &str = "failing";
pub(super) const ANSWERING: &str = "answering";
pub(super) const RULE: &str = "rule";
pub(super) const RESUMED: &str = "resumed";
pub(super) const LATE: &str = "late";
pub(super) const WILL_BE_LATE: &str = "will-be-late";
pub(super) const ON_TIME: &str = "on-time";
pub(super) const SILENT: &str = "silent";
pub(super) const ACTIVE: &str = "active";
/// Of failures with one cause: still tried, at rest, and over.
pub(super) const INCIDENT: &str = "incident";
pub(super) const INCIDENT_AT_REST: &str = "incident-at-rest";
pub(super) const INCIDENT_LASTS: &str = "incident-lasts";
pub(super) const RECOVERED: &str = "recovered";
/// Of sources: that are asked, of their files, and of the numbers of their streams.
pub(super) const SOURCE_ASKS: &str = "source-asks";
pub(super) const SOURCE_FAILING: &str = "source-failing";
pub(super) const SOURCE_READ: &str = "source-read";
pub(super) const SOURCE_FORGETS: &str = "source-forgets";
pub(super) const SOURCE_FORGOT: &str = "source-forgot";
pub(super) const SOURCE_REFUSED: &str = "source-refused";
pub(super) const SOURCE_GAP: &str = "source-gap";
pub(super) const SOURCE_WHOLE: &str = "source-whole";
/// Of what a destination says that it has: something lacks, nothing does any more, and it cannot be read.
pub(super) const OUT_OF_SYNC: &str = "out-of-sync";
pub(super) const IN_SYNC: &str = "in-sync";
pub(super) const UNREAD: &str = "unread";

/// Tells what is untold, by rule and cause.
pub(super) struct Alerter {
    rules: Arc<Rules>,
    /// Untold messages, which rules have yet to tell of each, and when each came to this.
    known: BTreeMap<Place, (Cause, HashSet<usize>, WallMs)>,
    /// Not before this time on the monotonic clock, by rule and cause.
    told_until: HashMap<(usize, Cause), u64>,
    /// When a channel that failed is tried again, by rule.
    failed_until: HashMap<usize, u64>,
    /// What cannot be read and what became of destinations, and which rules have yet to tell of it.
    noted: Vec<(Notice, HashSet<usize>)>,
    /// Untold messages of which nothing can be read: told of as damage.
    unreadable: HashSet<Place>,
    overdue: Overdue,
    lookout: Lookout,
    /// Incidents that are over, until they are taken.
    over: Vec<Incident>,
    /// Where the next look goes on; `None` at the beginning.
    cursor: Option<Place>,
    /// Where the next recheck goes on; `None` at the beginning.
    rechecked: Option<Place>,
    next_look_ms: u64,
}

impl Alerter {
    pub(super) fn new(rules: Arc<Rules>) -> Alerter {
        Alerter {
            rules,
            known: BTreeMap::new(),
            told_until: HashMap::new(),
            failed_until: HashMap::new(),
            noted: Vec::new(),
            unreadable: HashSet::new(),
            overdue: Overdue::default(),
            lookout: Lookout::default(),
            over: Vec::new(),
            cursor: None,
            rechecked: None,
            next_look_ms: 0,
        }
    }

    /// Tells what may be told at `now`; answers with messages of which nobody has to be told any more, [`TOLD_MAX`] at most, as they were at that time.
    ///
    /// `go_on` is asked before each: telling may take long, and a stop does not wait for all of it.
    pub(super) fn turn(&mut self, registry: &Registry, now: Stamp, go_on: &dyn Fn() -> bool) -> Vec<(Place, WallMs)> {
        if now.mono_ms < self.next_look_ms {
            return Vec::new();
        }
        self.next_look_ms = now.mono_ms.saturating_add(LOOK_MS);
        self.look(registry);
        let damaged = |what: String| Notice::new(Arc::from("*"), DAMAGED, what);
        let mut notices: Vec<Notice> = registry.fresh_damage().into_iter().map(damaged).collect();
        notices.append(&mut registry.fresh_notices());
        notices.append(&mut self.overdue.look(registry, now));
        let (mut stirred, mut over) = self.lookout.look(registry, now);
        notices.append(&mut stirred);
        self.over.append(&mut over);
        for notice in notices {
            self.noted.retain(|(before, _)| !notice.takes_the_place_of(before));
            let rules = self.rules_for(&notice.cause);
            if !rules.is_empty() {
                self.noted.push((notice, rules));
            }
        }
        for rule in 0..self.rules.all().len() {
            self.tell(rule, registry, now, go_on);
        }
        self.noted.iter().filter(|(_, rules)| rules.is_empty()).for_each(|(notice, _)| notice.notified.everybody());
        self.noted.retain(|(_, rules)| !rules.is_empty());
        let told: Vec<(Place, WallMs)> = self
            .known
            .iter()
            .filter(|(_, (_, rules, _))| rules.is_empty())
            .take(TOLD_MAX)
            .map(|(place, (_, _, at))| (*place, *at))
            .collect();
        for (place, _) in &told {
            self.known.remove(place);
        }
        told
    }

    /// The incidents that are over, to be written down.
    pub(super) fn over(&mut self) -> Option<Vec<Incident>> {
        let over = std::mem::take(&mut self.over);
        (!over.is_empty()).then_some(over)
    }

    /// The rules, as an administrator sees them.
    pub(super) fn shown(&self, now: WallMs) -> Vec<RuleShown> {
        self.rules.shown(now)
    }

    /// When it wants to look again, on the monotonic clock; `None` where nobody waits to be told of anything.
    pub(super) fn next_due(&self, registry: &Registry, now: Stamp) -> Option<u64> {
        let is_unknown = || {
            let oldest = registry.store.untold(None, self.unreadable.len() + 1).unwrap_or_default();
            oldest.iter().any(|place| !self.unreadable.contains(place))
        };
        let is_any = !self.noted.is_empty() || registry.has_notices() || !self.known.is_empty() || is_unknown();
        let later = [self.overdue.next_due(registry, now), self.lookout.next_due(registry)].into_iter().flatten().min();
        let due = if is_any { Some(0) } else { later };
        due.map(|due| due.max(self.next_look_ms))
    }

    /// Looks at the next part of what is untold: those that a failing channel holds back must not hide the others.
    fn look(&mut self, registry: &Registry) {
        let after = self.cursor;
        let untold = match registry.store.untold(after, UNTOLD_MAX) {
            Ok(untold) => untold,
            // It passes, and the store has said so.
            Err(StoreError::Full(_)) => return,
            Err(error) => return log::error!("cannot read what is untold: {error}"),
        };
        self.cursor = untold.last().copied().filter(|_| untold.len() >= UNTOLD_MAX);
        let (until, still) = (self.cursor, untold.iter().collect::<HashSet<&Place>>());
        let is_elsewhere =
            |place: &Place| after.is_some_and(|after| *place <= after) || until.is_some_and(|until| *place > until);
        self.known.retain(|place, _| still.contains(place) || is_elsewhere(place));
        self.unreadable.retain(|place| still.contains(place) || is_elsewhere(place));
        for place in &untold {
            if self.known.contains_key(place) {
                continue;
            }
            self.take_up(*place, registry);
        }
        self.recheck(registry);
    }

    /// Looks at the next few again of which not everybody was told: while one rule is quiet or its channel fails, a message may be sent again and fail anew, and the
    /// others are to hear of that.
    fn recheck(&mut self, registry: &Registry) {
        let after = self.rechecked.map_or(Bound::Unbounded, Bound::Excluded);
        let next: Vec<Place> =
            self.known.range((after, Bound::Unbounded)).take(RECHECK_MAX).map(|(place, _)| *place).collect();
        self.rechecked = next.last().copied().filter(|_| next.len() >= RECHECK_MAX);
        next.into_iter().for_each(|place| self.take_up(place, registry));
    }

    /// Reads an untold message. What has become something else since it was known is taken up anew, for every rule that this concerns.
    fn take_up(&mut self, place: Place, registry: &Registry) {
        match registry.store.get(place) {
            Ok(Some(record)) => {
                if self.known.get(&place).is_some_and(|(.., at)| *at == record.updated_at) {
                    return;
                }
                let destination = record.envelope.destination.clone();
                // Whoever sent it again or cancelled it meanwhile knows of it.
                let is_moot = !super::settle::must_be_told(record.state);
                let cause = (destination, reason(&record));
                let rules = if is_moot { HashSet::new() } else { self.rules_for(&cause) };
                self.known.insert(place, (cause, rules, record.updated_at));
            }
            Ok(None) => {
                self.known.remove(&place);
            }
            Err(error) => {
                // What cannot be read cannot be told of in detail, and must not stop the rest.
                self.known.remove(&place);
                registry.unreadable(place, &error);
                if matches!(error, StoreError::Damaged(_)) {
                    self.unreadable.insert(place);
                }
            }
        }
    }

    fn rules_for(&self, cause: &Cause) -> HashSet<usize> {
        self.rules.all().iter().enumerate().filter(|(_, rule)| rule.concerns(cause)).map(|(number, _)| number).collect()
    }

    /// Tells by one rule what it has yet to tell; a channel that fails is left alone for a while.
    fn tell(&mut self, number: usize, registry: &Registry, now: Stamp, go_on: &dyn Fn() -> bool) {
        if !go_on() || self.failed_until.get(&number).is_some_and(|until| now.mono_ms < *until) {
            return;
        }
        let told = self
            .tell_noted(number, registry, now, go_on)
            .and_then(|()| self.tell_messages(number, registry, now, go_on));
        if let (Err(why), Some(rule)) = (told, self.rules.all().get(number)) {
            log::error!("alert channel {} failed: {}", rule.channel.name(), why.escape_debug());
            self.failed_until.insert(number, now.mono_ms.saturating_add(AGAIN_MS));
        }
    }

    fn tell_noted(
        &mut self,
        number: usize,
        registry: &Registry,
        now: Stamp,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let Some(rule) = self.rules.all().get(number) else { return Ok(()) };
        let concerned = self.noted.iter().filter(|(_, rules)| rules.contains(&number));
        // What became so last is told last: a person, and whatever reads along, believes that.
        let mut causes: Vec<Cause> = Vec::new();
        for (Notice { cause, .. }, _) in concerned {
            causes.retain(|known| known != cause);
            causes.push(cause.clone());
        }
        for (destination, reason) in causes {
            let about = (number, (destination.clone(), reason));
            if !go_on() || self.must_wait(rule, &about, now) {
                continue;
            }
            let is_it = |notice: &Notice| notice.cause == about.1;
            let of = || self.noted.iter().filter(|(notice, rules)| is_it(notice) && rules.contains(&number));
            let told = || Alert {
                destination: destination.clone(),
                reason,
                messages: u64::try_from(of().count()).unwrap_or(u64::MAX),
                sample: None,
                sample_key: None,
                detail: detail(of().map(|(notice, _)| notice)),
                since: now.wall,
            };
            let alert = if reason == LATE { overdue::compose(&destination, registry, now) } else { Some(told()) };
            // What is not late any more is said to be on time.
            if let Some(alert) = &alert {
                self.rules.tell(number, alert, now.wall)?;
            }
            for (_, rules) in self.noted.iter_mut().filter(|(notice, _)| is_it(notice)) {
                rules.remove(&number);
            }
            self.told_until.insert(about, now.mono_ms.saturating_add(rule.digest_ms));
        }
        Ok(())
    }

    /// Whether a rule tells nothing of this now: it did within its digest window, or it is quiet.
    fn must_wait(&self, rule: &Rule, about: &(usize, Cause), now: Stamp) -> bool {
        let is_told = self.told_until.get(about).is_some_and(|until| now.mono_ms < *until);
        is_told || rule.is_quiet_about(about.1.1, now.wall)
    }

    fn tell_messages(
        &mut self,
        number: usize,
        registry: &Registry,
        now: Stamp,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let rules = self.rules.clone();
        let Some(rule) = rules.all().get(number).filter(|rule| !rule.is_silent(now.wall)) else { return Ok(()) };
        let causes: BTreeSet<Cause> = self.yet_to_tell(number).map(|(_, cause)| cause.clone()).collect();
        for cause in causes {
            let about = (number, cause);
            if self.must_wait(rule, &about, now) {
                continue;
            }
            // What was kept for the end of quiet hours may have been put right, or have failed for another reason.
            for place in self.of_cause(&about) {
                if !go_on() {
                    return Ok(());
                }
                self.take_up(place, registry);
            }
            let places = self.of_cause(&about);
            let Some(alert) = compose(&about.1, &places, registry) else { continue };
            rules.tell(number, &alert, now.wall)?;
            self.told_until.insert(about, now.mono_ms.saturating_add(rule.digest_ms));
            for place in places {
                if let Some((_, rules, _)) = self.known.get_mut(&place) {
                    rules.remove(&number);
                }
            }
        }
        Ok(())
    }

    /// The messages that a rule has yet to tell of, each with its cause.
    fn yet_to_tell(&self, number: usize) -> impl Iterator<Item = (Place, &Cause)> {
        let untold = self.known.iter().filter(move |(_, (_, rules, _))| rules.contains(&number));
        untold.map(|(place, (cause, ..))| (*place, cause))
    }

    /// Those of one cause.
    fn of_cause(&self, (number, cause): &(usize, Cause)) -> Vec<Place> {
        self.yet_to_tell(*number).filter(|(_, of)| *of == cause).map(|(place, _)| place).collect()
    }
}

/// What the first of these says; of several things each says its own.
fn detail<'a>(mut notices: impl Iterator<Item = &'a Notice>) -> Option<String> {
    let first = notices.next()?;
    let others = notices.filter(|notice| notice.about != first.about);
    let words: Vec<&str> = std::iter::once(first).chain(others).map(|notice| notice.words.as_str()).collect();
    Some(words.join("; "))
}

fn compose(cause: &Cause, places: &[Place], registry: &Registry) -> Option<Alert> {
    let first = *places.first()?;
    let record = registry.store.get(first).ok().flatten()?;
    let detail =
        registry.store.attempts(first).ok().and_then(|attempts| attempts.last().map(|last| last.detail.clone()));
    Some(Alert {
        destination: cause.0.clone(),
        reason: cause.1,
        messages: u64::try_from(places.len()).unwrap_or(u64::MAX),
        sample: Some(record.id),
        sample_key: record.envelope.key.clone(),
        detail,
        since: record.updated_at,
    })
}

fn reason(record: &Record) -> &'static str {
    match record.state {
        State::Abandoned(reason) => reason.name(),
        State::Queued(_) | State::Sending(_) | State::Delivered | State::Failed(_) => "uncertain",
    }
}
