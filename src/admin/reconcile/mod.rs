//! Whether two systems agree: what was delivered to one, key by key, against what it says that it has.
//!
//! A list of failures shows what was tried and failed. What a system lost, or what was deleted behind goniec's back, only a comparison shows.
//!
//! ```text
//! due       by its timetable, or because a person asked
//! believe   the newest delivered message of each key            belief.rs
//! read      the manifest, whole or not at all                   manifest.rs, rows.rs
//! judge     missing, stale, unexpected, matched                 belief.rs
//! or        the ledger of another goniec, where it differs      streams.rs
//! keep      the report, and whom it concerns is told            report.rs
//! queue     what is missing or stale goes again                 where a rule or a person says so
//! ```
//!
//! # What holds
//!
//! * What came of a comparison outlives the process; what is to be sent again is looked for anew after a start.
//! * A message is sent again only while it still stands as it did when it was found.
//! * What a person agrees to is what that person has seen: what another comparison finds meanwhile does not take its place.
//! * A rule sends nothing again after an empty list, one of less than half as many lines as before, more than `ask_above` keys, or a message that it has
//!   sent before: then a person decides.
//! * One comparison at a time.
//!
//! # What it does not know
//!
//! Clocks and threads: whoever calls [`Reconciler::turn`] has them.

mod belief;
mod listed;
mod manifest;
mod queue;
mod report;
mod rows;
mod rules;
mod streams;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::belief::{KEY_BYTES, KEYS_MAX};
pub use self::listed::Listed;
pub use self::manifest::{Column, Fields, Format, LINE_BYTES_MAX, Line, MANIFEST_BYTES_MAX, Manifest, Origin};
pub use self::report::{Failed, Queued, Report, Sample, Sent, Side, Standing};
pub use self::rules::{Ask, Other, Plan, Scope};
pub use self::streams::answer;

use self::belief::{Belief, Found};
use crate::engine::{Agreement, Engine, MARK_BYTES_MAX, Mark};
use crate::error::Error;
use crate::model::WallMs;

/// Compares, by timetables and when asked.
pub struct Reconciler {
    engine: Engine,
    plans: Vec<Plan>,
    kept: Mutex<Vec<Kept>>,
    is_stopping: AtomicBool,
}

/// What is known of a comparison.
#[derive(Default)]
struct Kept {
    report: Report,
    /// The report as it was last written.
    mark: Option<Vec<u8>>,
    due: WallMs,
    /// Whether somebody wants it compared now,
    is_asked: bool,
    is_running: bool,
    /// and what somebody wants sent again.
    wants: Option<Wanted>,
    /// What the last comparison found; `None` where there was none since the start, or it is wanted.
    found: Option<Found>,
    /// How many were not as they were delivered when a person was last told, since the start: what is told of rests in memory, and what nobody heard of is told anew,
    told: u64,
    /// and whether a person was told that it cannot be read.
    is_told_unread: bool,
}

/// What is to be sent again, and who wants that.
struct Wanted {
    who: String,
    found: Found,
    /// How many lines the list had that it was missing in.
    lines: u64,
}

/// A comparison as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its name.
    pub name: Arc<str>,
    /// The destination.
    pub destination: Arc<str>,
    /// What it last came to.
    pub report: Report,
    /// Whether it is being compared, or is about to be, or what was found is being sent again.
    pub is_running: bool,
    /// Whether what was found can be sent again: it was found since the start, and it is something.
    pub can_queue: bool,
    /// When it is compared next.
    pub next_at: WallMs,
}

/// Why nothing is sent again, or listed.
#[derive(Debug)]
pub enum Refused {
    /// What lacks is not known: there was no comparison since the start, there is one now, or there was one since the person looked.
    Uncompared,
    /// It is another number than the person believes.
    Counted(Error),
    /// It cannot be read.
    Unread(Error),
}

/// Why a comparison ends before its time.
const STOPS: &str = "the node stops";

/// What the mark of a comparison is called.
fn mark_of(name: &str) -> Arc<str> {
    Arc::from(format!("reconcile/{name}"))
}

impl Reconciler {
    /// The comparisons of these plans, with what they came to before.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn new(engine: &Engine, plans: Vec<Plan>, now: WallMs) -> Result<Reconciler, Error> {
        let mut kept = Vec::new();
        for plan in &plans {
            let mark = engine.mark(&mark_of(&plan.name))?;
            // What cannot be read is compared anew.
            let report = mark.as_deref().and_then(|mark| serde_json::from_slice(mark).ok()).unwrap_or_default();
            kept.push(Kept { report, mark, due: plan.cycle.after(now), ..Kept::default() });
        }
        Ok(Reconciler { engine: engine.clone(), plans, kept: Mutex::new(kept), is_stopping: AtomicBool::new(false) })
    }

    /// Every comparison.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let kept = self.kept();
        let shown = |(plan, kept): (&Plan, &Kept)| Shown {
            name: plan.name.clone(),
            destination: plan.scope.destination.clone(),
            report: kept.report.clone(),
            is_running: kept.is_running || kept.is_asked || kept.wants.is_some(),
            can_queue: kept.found.as_ref().is_some_and(|found| !found.is_empty()),
            next_at: kept.due,
        };
        self.plans.iter().zip(&*kept).map(shown).collect()
    }

    /// The one of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Shown> {
        self.shown().into_iter().find(|shown| *shown.name == *name)
    }

    /// Has it compared now. `false` where there is none of this name.
    pub fn ask(&self, name: &str) -> bool {
        self.with(name, |kept| kept.is_asked = true).is_some()
    }

    /// Has what was found sent again, because somebody wants it, who has seen so many, of the comparison of this time; `None` where there is none of
    /// this name.
    ///
    /// # Errors
    /// It is not known what there is, or it is not what the person has seen.
    pub fn want(&self, name: &str, who: &str, count: Option<u64>, at: Option<WallMs>) -> Option<Result<(), Refused>> {
        self.with(name, |kept| {
            let is_anew = at.is_some_and(|at| at != kept.report.at);
            if kept.found.is_none() || is_anew || kept.is_running || kept.is_asked {
                return Err(Refused::Uncompared);
            }
            // As the report says it: what is no longer kept here is among them, and cannot go.
            let found = kept.report.lacking();
            if let Some(expected) = count.filter(|expected| *expected != found) {
                return Err(Refused::Counted(Error::Counted { expected, found }));
            }
            let lines = kept.report.lines;
            kept.wants = kept.found.take().map(|found| Wanted { who: who.to_owned(), found, lines });
            Ok(())
        })
    }

    /// Does what is due at `now`: it may take as long as a manifest takes to come.
    pub fn turn(&self, now: WallMs) {
        for (number, plan) in self.plans.iter().enumerate() {
            if self.is_stopping() {
                return;
            }
            // What a person agreed to goes before anything else is found.
            let wanted = self.of(number, |kept| {
                let wanted = kept.wants.take()?;
                kept.is_running = true;
                // A person believes this list, however short it is.
                kept.report.believed_lines = wanted.lines;
                Some(wanted)
            });
            if let Some(Wanted { who, found, .. }) = wanted.flatten() {
                self.queue(number, plan, &who, &found, now);
                self.of(number, |kept| kept.is_running = false);
            }
            let is_due = self.of(number, |kept| {
                let is_due = kept.is_asked || kept.due <= now;
                if is_due {
                    (kept.is_running, kept.is_asked, kept.due) = (true, false, plan.cycle.after(now));
                }
                is_due
            });
            if is_due == Some(true) {
                self.compare(number, plan, now);
                self.of(number, |kept| kept.is_running = false);
            }
        }
    }

    /// Cuts off what is under way, and does nothing more.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let manifests = self.plans.iter().filter_map(|plan| match &plan.other {
            Other::Manifest(manifest) => Some(manifest),
            // Its way there is that of its destination, and is ended with it.
            Other::Registry(_) => None,
        });
        manifests.for_each(|manifest| manifest.shutdown());
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    fn compare(&self, number: usize, plan: &Plan, now: WallMs) {
        let go_on = || !self.is_stopping();
        let compared = match &plan.other {
            Other::Manifest(manifest) => {
                let has_digests = manifest.fields.hash.is_some();
                let belief = Belief::read(&self.engine, &plan.scope, has_digests, now, &go_on);
                belief.and_then(|mut belief| {
                    let lines = manifest.read(&go_on, &mut |line| belief.hear(line))?;
                    let (report, found) = belief.judge(lines, &go_on)?;
                    Ok((manifest.discreet(report), found))
                })
            }
            Other::Registry(ask) => streams::compare(&self.engine, &plan.scope.destination, &**ask, now, &go_on),
        };
        if self.is_stopping() {
            return;
        }
        let before = self.of(number, |kept| kept.report.clone()).unwrap_or_default();
        match compared {
            Ok((mut report, found)) => {
                report.behind_since = (report.lacking() > 0).then(|| before.behind_since.unwrap_or(now));
                report.queued = before.queued.clone();
                report.sent = if report.is_settled() { Sent::default() } else { before.sent.clone() };
                self.tell(number, plan, &before, &report);
                let goes = plan.is_queued && report.lacking() > 0;
                report.asks = goes.then(|| asks(plan, &before, &report, &found)).flatten();
                let is_queued = goes && report.asks.is_none();
                // A list that shrank is not what the next one is held against.
                let is_odd = report.shrank(&before);
                report.believed_lines = if is_odd { before.believed_lines } else { report.lines };
                self.keep(number, plan, report);
                if is_queued {
                    self.of(number, |kept| kept.found = None);
                    self.queue(number, plan, &format!("reconcile {}", plan.name), &found, now);
                } else {
                    self.of(number, |kept| kept.found = Some(found));
                }
            }
            Err(why) => {
                log::warn!("reconcile {}: {}", plan.name, why.escape_debug());
                let is_told = self.of(number, |kept| {
                    kept.found = None;
                    std::mem::replace(&mut kept.is_told_unread, true)
                });
                if is_told == Some(false) {
                    self.say(plan, Agreement::Unread, &why);
                }
                self.keep(number, plan, Report { failure: Some(Failed { at: now, why }), ..before });
            }
        }
    }

    /// Has a person told of what has grown, and that it is over: the destination agrees once all that compares it does.
    fn tell(&self, number: usize, plan: &Plan, before: &Report, report: &Report) {
        let (apart, is_of) = (report.apart(), &plan.scope.destination);
        let told = self.of(number, |kept| {
            kept.is_told_unread = false;
            let now = if apart == 0 { 0 } else { kept.told.max(apart) };
            std::mem::replace(&mut kept.told, now)
        });
        if apart > told.unwrap_or(0) {
            let (missing, stale) = (report.missing.count, report.stale.count);
            let conflicting = match report.conflicting.count {
                0 => String::new(),
                count => format!(", {count} conflict with what is there, and a person must look"),
            };
            self.say(
                plan,
                Agreement::Lost,
                &format!("{missing} keys are missing there, {stale} are stale{conflicting}"),
            );
        } else if apart == 0 && (before.apart() > 0 || before.failure.is_some()) {
            let mut others = self.shown();
            others.retain(|other| other.destination == *is_of && other.name != plan.name && other.report.apart() > 0);
            if others.is_empty() {
                let is_whole = report.uncompared == 0 && report.damaged == 0;
                let words = if is_whole { "all is there" } else { "all that could be compared is there" };
                return self.say(plan, Agreement::Found, words);
            }
            let others: Vec<&str> = others.iter().map(|other| &*other.name).collect();
            self.say(plan, Agreement::Lost, &format!("all is there; still out of sync: {}", others.join(", ")));
        }
    }

    fn say(&self, plan: &Plan, agreement: Agreement, words: &str) {
        let words = format!("{}: {words}", plan.name);
        self.engine.tell_agreement(&plan.scope.destination, &plan.name, agreement, words);
    }

    /// Remembers a report, durably; one that cannot be written is remembered until the process ends.
    fn keep(&self, number: usize, plan: &Plan, report: Report) {
        let is = report.bytes(MARK_BYTES_MAX);
        let was = self.of(number, |kept| kept.mark.clone()).flatten();
        let mark = Mark { name: mark_of(&plan.name), was, is: is.clone() };
        let written = self.engine.accept_marked_wait(Vec::new(), mark);
        if let Err(error) = &written {
            log::warn!("what reconcile {} came to cannot be written: {error}", plan.name);
        }
        self.of(number, |kept| {
            kept.report = report;
            if written.is_ok() {
                kept.mark = Some(is);
            }
        });
    }

    fn with<T>(&self, name: &str, what: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let number = self.plans.iter().position(|plan| *plan.name == *name)?;
        self.of(number, what)
    }

    fn of<T>(&self, number: usize, what: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        self.kept().get_mut(number).map(what)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a person is to decide whether what was found is sent again.
fn asks(plan: &Plan, before: &Report, report: &Report, found: &Found) -> Option<String> {
    if report.lines == 0 {
        Some("the list is empty".into())
    } else if report.shrank(before) {
        Some(format!("the list has {} lines, and had {} before", report.lines, before.believed_lines))
    } else if report.lacking() > plan.ask_above {
        Some(format!("more than {} are missing or stale", plan.ask_above))
    } else if found.iter().any(|(id, _)| report.sent.may_have(*id)) {
        Some("some were sent again before, or could not be, and are missing or stale all the same".into())
    } else {
        None
    }
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler").field("plans", &self.plans.len()).finish_non_exhaustive()
    }
}
