//! Alerting: a person is told of what could not be delivered.
//!
//! The duty is durable: the write that abandons a message marks it untold, and the mark goes only after every rule that
//! concerns it has told someone. What is told is a cause, not a message: one alert for all failures of one destination with one reason, and
//! no second one within the digest window.
//!
//! # What holds
//!
//! * At least once: a crash between telling and marking tells again, never not at all.
//! * A channel that fails is tried again after a while, and does not silence the others.
//! * An alert about a failing channel goes to the log only.
//!
//! # What it does not know
//!
//! SMTP, HTTP, processes: a [`Channel`] does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::registry::Registry;
use crate::model::{Id, Place, Record, Stamp, State, WallMs};

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

/// Who is to be told of what.
pub struct Rule {
    /// Only of these destinations; of all where empty.
    pub destinations: Vec<Arc<str>>,
    /// The way to tell.
    pub channel: Arc<dyn Channel>,
    /// No second alert of one cause within so many milliseconds.
    pub digest_ms: u64,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("channel", &self.channel.name()).finish_non_exhaustive()
    }
}

/// Messages of one destination that came to rest, or wait for a person, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The destination.
    pub destination: Arc<str>,
    /// The reason (`exhausted`, `rejected`, `expired`), or `uncertain` for messages that wait for a person to say whether they arrived.
    pub reason: &'static str,
    /// How many since the alert before.
    pub messages: u64,
    /// The first of them.
    pub sample: Id,
    /// Its key.
    pub sample_key: Option<Arc<str>>,
    /// What was said of its last attempt.
    pub detail: Option<String>,
    /// When the oldest of them came to this.
    pub since: WallMs,
}

/// The first channel: a line in the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogLine;

impl Channel for LogLine {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        log::warn!("{alert}");
        Ok(())
    }

    fn name(&self) -> String {
        "log".to_owned()
    }
}

impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Alert { destination, reason, messages, sample, detail, .. } = self;
        write!(f, "{messages} message(s) to {destination} undelivered: {reason}; first {sample}")?;
        match detail {
            Some(detail) if !detail.is_empty() => write!(f, ": {}", detail.escape_debug()),
            Some(_) | None => Ok(()),
        }
    }
}

/// How many untold messages are looked at together.
const UNTOLD_MAX: usize = 10_000;
/// How long a channel that failed is left alone.
const AGAIN_MS: u64 = 30_000;
/// How often the registry is asked for untold messages while nothing is known.
pub(super) const LOOK_MS: u64 = 1_000;

type Cause = (Arc<str>, &'static str);

/// Tells what is untold, by rule and cause.
pub(super) struct Alerter {
    rules: Vec<Rule>,
    /// Untold messages, and which rules have yet to tell of each.
    known: BTreeMap<Place, (Cause, HashSet<usize>)>,
    /// Not before this time on the monotonic clock, by rule and cause.
    quiet_until: HashMap<(usize, Cause), u64>,
    next_look_ms: u64,
}

impl Alerter {
    pub(super) fn new(rules: Vec<Rule>) -> Alerter {
        Alerter { rules, known: BTreeMap::new(), quiet_until: HashMap::new(), next_look_ms: 0 }
    }

    /// Tells what may be told at `now`; answers with the messages of which everyone has been told.
    pub(super) fn turn(&mut self, registry: &Registry, now: Stamp) -> Vec<Place> {
        if now.mono_ms < self.next_look_ms {
            return Vec::new();
        }
        self.next_look_ms = now.mono_ms.saturating_add(LOOK_MS);
        self.look(registry);
        for rule in 0..self.rules.len() {
            self.tell(rule, registry, now);
        }
        let told: Vec<Place> =
            self.known.iter().filter(|(_, (_, rules))| rules.is_empty()).map(|(place, _)| *place).collect();
        for place in &told {
            self.known.remove(place);
        }
        told
    }

    fn look(&mut self, registry: &Registry) {
        let untold = match registry.store.untold(UNTOLD_MAX) {
            Ok(untold) => untold,
            Err(error) => return log::error!("cannot read what is untold: {error}"),
        };
        let still: HashSet<&Place> = untold.iter().collect();
        self.known.retain(|place, _| still.contains(place));
        for place in &untold {
            if self.known.contains_key(place) {
                continue;
            }
            let found = registry.store.get(*place);
            // What cannot be read cannot be told of in detail, and must not stop the rest.
            if let Err(error) = &found {
                registry.unreadable(*place, error);
            }
            if let Ok(Some(record)) = found {
                let destination = record.envelope.destination.clone();
                // Whoever sent it again or cancelled it meanwhile knows of it.
                let is_moot = !super::settle::must_be_told(record.state);
                let rules = if is_moot { HashSet::new() } else { self.rules_for(&destination) };
                self.known.insert(*place, ((destination, reason(&record)), rules));
            }
        }
    }

    fn rules_for(&self, destination: &Arc<str>) -> HashSet<usize> {
        let concerns = |rule: &Rule| rule.destinations.is_empty() || rule.destinations.contains(destination);
        self.rules.iter().enumerate().filter(|(_, rule)| concerns(rule)).map(|(number, _)| number).collect()
    }

    fn tell(&mut self, number: usize, registry: &Registry, now: Stamp) {
        let Some(rule) = self.rules.get(number) else { return };
        let mut causes: BTreeMap<Cause, Vec<Place>> = BTreeMap::new();
        for (place, (cause, rules)) in &self.known {
            if rules.contains(&number) {
                causes.entry(cause.clone()).or_default().push(*place);
            }
        }
        for (cause, places) in causes {
            let quiet = (number, cause.clone());
            if self.quiet_until.get(&quiet).is_some_and(|until| now.mono_ms < *until) {
                continue;
            }
            let Some(alert) = compose(&cause, &places, registry) else { continue };
            match rule.channel.tell(&alert) {
                Ok(()) => {
                    self.quiet_until.insert(quiet, now.mono_ms.saturating_add(rule.digest_ms));
                    for place in places {
                        if let Some((_, rules)) = self.known.get_mut(&place) {
                            rules.remove(&number);
                        }
                    }
                }
                Err(why) => {
                    log::error!("alert channel {} failed: {}", rule.channel.name(), why.escape_debug());
                    self.quiet_until.insert(quiet, now.mono_ms.saturating_add(AGAIN_MS));
                }
            }
        }
    }
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
        sample: record.id,
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
