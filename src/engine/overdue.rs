//! What is overdue: messages that are late, and destinations to which nothing comes or goes any more.
//!
//! # What holds
//!
//! * A destination is said to be late while something of it is; once, again where more has become late, and once when nothing is late any more.
//! * That something will be late is said before it is, from how the destination drains; once, and once where it is averted. Time in which it is
//!   closed or paused says nothing of that, and what waits for a time or a cycle does not count.
//! * Silence is counted within opening hours only, by a clock that does not jump: what passed is measured, and the wall clock says only whether it was
//!   within the hours.
//! * Silence begins at the last message that came or went, also where that was before the start.
//! * Nothing is remembered over a start: what is still late, or still silent, is said once more.
//!
//! # What it does not know
//!
//! Who is told, how often, and how messages are counted.

use std::sync::Arc;

use super::ages::Standing;
use super::alarm::{JUMP_MS, gap};
use super::alert::{ACTIVE, Alert, LATE, ON_TIME, SILENT, WILL_BE_LATE};
use super::notice::Notice;
use super::registry::Registry;
use super::words::Destination;
use crate::model::forecast::{Drain, Forecast, Sample};
use crate::model::span::show_span;
use crate::model::timetable::Hours;
use crate::model::{Record, Stamp, State, WallMs};
use crate::store::{Dest, Query, StateName, StoreError};

/// Looks after the time of every destination that has a limit of it.
#[derive(Default)]
pub(super) struct Overdue {
    /// Known from the first look on.
    lines: Option<Vec<Line>>,
    /// How far the wall clock was ahead of the monotonic one at the last look.
    clock_gap_ms: Option<i128>,
}

/// A moment of a look at the time.
struct Moment {
    now: Stamp,
    /// By the clock of the ages, which never jumps.
    steady_ms: u64,
    /// Where the wall clock has jumped since the last look: what it would be now if it had not. What passed until then passed by that.
    unjumped: Option<WallMs>,
}

struct Line {
    dest: Dest,
    rules: Arc<Destination>,
    lateness: Option<Lateness>,
    silence: Option<Silence>,
}

/// What is late, and what will be.
struct Lateness {
    after_ms: u64,
    outlook: Outlook,
    turned_late: u64,
    forecast: Forecast,
}

/// What was last said of the lateness of a destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outlook {
    OnTime,
    WillBeLate,
    Late,
}

/// How long nothing has come or gone.
struct Silence {
    after_ms: u64,
    /// When something last did, as far as is known.
    active_ms: Option<u64>,
    /// Up to when it was counted, and how much of that was within the opening hours.
    counted_ms: u64,
    open_ms: u64,
    is_told: bool,
    /// Not before this time on the monotonic clock can it be long enough.
    due_ms: u64,
}

/// How many messages are looked at for the oldest of those that came in one second, and how far it is looked for them.
const SAMPLE_MAX: usize = 1_000;
const SCAN_MAX: usize = 100_000;

impl Overdue {
    /// Looks at the time; gives what has become of destinations.
    pub(super) fn look(&mut self, registry: &Registry, now: Stamp) -> Vec<Notice> {
        let gap_ms = self.clock_gap_ms.replace(gap(now)).filter(|gap_ms| (gap(now) - gap_ms).abs() > JUMP_MS);
        let unjumped = gap_ms.map(|gap_ms| WallMs(u64::try_from(i128::from(now.mono_ms) + gap_ms).unwrap_or(0)));
        let mut notices = Vec::new();
        for line in self.lines.get_or_insert_with(|| lines(registry)) {
            let (standing, steady_ms) = {
                let mut ages = registry.ages();
                (ages.standing(line.dest, now), ages.steady_ms(now))
            };
            let mut tell = |reason, why: String| notices.push(Notice::new(line.rules.name.clone(), reason, why));
            if let Some(lateness) = &mut line.lateness {
                lateness.foresee(line.dest, &line.rules.hours, registry, now);
                if let Some((reason, why)) = lateness.look(&standing) {
                    tell(reason, why);
                }
            }
            let Some(silence) = &mut line.silence else { continue };
            match silence.look(standing.active_ms, &Moment { now, steady_ms, unjumped }, &line.rules.hours) {
                Some(true) => tell(
                    SILENT,
                    format!("nothing came or went for {} of its opening hours", show_span(silence.after_ms)),
                ),
                Some(false) => tell(ACTIVE, "something came or went again".into()),
                None => {}
            }
        }
        notices
    }

    /// When there is something to look at, on the monotonic clock.
    pub(super) fn next_due(&self, registry: &Registry, now: Stamp) -> Option<u64> {
        let lines = self.lines.as_deref()?;
        let mut ages = registry.ages();
        let due = |line: &Line| {
            let standing = ages.standing(line.dest, now);
            let lateness = line.lateness.as_ref().and_then(|lateness| match lateness.outlook {
                Outlook::Late if standing.age.late == 0 => Some(now.mono_ms),
                Outlook::OnTime | Outlook::WillBeLate | Outlook::Late => lateness.forecast.due_ms(),
            });
            let silence = line.silence.as_ref().and_then(|silence| match silence.is_told {
                true => (silence.active_ms != Some(standing.active_ms)).then_some(now.mono_ms),
                false => Some(silence.due_ms),
            });
            lateness.into_iter().chain(silence).min()
        };
        let due = lines.iter().filter_map(due).min();
        due.into_iter().chain(ages.next_late(now)).min()
    }
}

fn lines(registry: &Registry) -> Vec<Line> {
    let line = |(dest, rules): (Dest, Option<&Arc<Destination>>)| {
        let rules = rules.filter(|rules| rules.late_after_ms.is_some() || rules.silent_after_ms.is_some())?;
        let silence =
            |after_ms| Silence { after_ms, active_ms: None, counted_ms: 0, open_ms: 0, is_told: false, due_ms: 0 };
        let silence = rules.silent_after_ms.map(silence);
        Some(Line { dest, rules: rules.clone(), lateness: rules.late_after_ms.map(Lateness::new), silence })
    };
    registry.lanes().filter_map(line).collect()
}

impl Lateness {
    fn new(after_ms: u64) -> Lateness {
        Lateness { after_ms, outlook: Outlook::OnTime, turned_late: 0, forecast: Forecast::new(after_ms) }
    }

    /// Looks at how the destination drains, where it is time to.
    fn foresee(&mut self, dest: Dest, hours: &Hours, registry: &Registry, now: Stamp) {
        if self.forecast.due_ms().is_some_and(|due_ms| now.mono_ms < due_ms) {
            return;
        }
        let (is_paused, deferred) = {
            let scheduler = registry.scheduler();
            (scheduler.paused(dest).is_some(), u64::try_from(scheduler.deferred(dest)).unwrap_or(u64::MAX))
        };
        let mut ages = registry.ages();
        if is_paused || !hours.is_open(now.wall) {
            self.forecast.shut();
        } else {
            let sample = ages.sample(dest, now);
            self.forecast.look(Sample { waiting: sample.waiting.saturating_sub(deferred), ..sample });
        }
        ages.foresee(dest, self.forecast.drain().map(Drain::takes_ms));
    }

    /// What is to be said of it now: the reason, and why.
    fn look(&mut self, standing: &Standing) -> Option<(&'static str, String)> {
        let has_more = standing.turned_late > self.turned_late;
        self.turned_late = standing.turned_late;
        if standing.age.late > 0 {
            self.forecast.has_come();
        }
        let outlook = match (standing.age.late, self.forecast.is_breach()) {
            (1.., _) => Outlook::Late,
            (0, true) => Outlook::WillBeLate,
            (0, false) => Outlook::OnTime,
        };
        match (std::mem::replace(&mut self.outlook, outlook), outlook) {
            (Outlook::Late, Outlook::Late) if !has_more => None,
            (_, Outlook::Late) => Some((LATE, String::new())),
            (Outlook::OnTime | Outlook::Late, Outlook::WillBeLate) => {
                let drain = self.forecast.drain().map(|drain| format!("{drain}, and ")).unwrap_or_default();
                Some((WILL_BE_LATE, format!("{drain}late_after is {}", show_span(self.after_ms))))
            }
            (Outlook::Late, Outlook::OnTime) => Some((ON_TIME, "nothing is late any more".into())),
            (Outlook::WillBeLate, Outlook::OnTime) => {
                Some((ON_TIME, "nothing has become late, nor is about to".into()))
            }
            (Outlook::WillBeLate, Outlook::WillBeLate) | (Outlook::OnTime, Outlook::OnTime) => None,
        }
    }
}

impl Silence {
    /// Whether it has become long enough, or has ended; `None` where neither.
    fn look(&mut self, active_ms: u64, moment: &Moment, hours: &Hours) -> Option<bool> {
        let Moment { now, steady_ms, unjumped } = *moment;
        let is_over = self.active_ms != Some(active_ms);
        let was_told = self.is_told;
        if is_over {
            self.active_ms = Some(active_ms);
            (self.counted_ms, self.open_ms, self.is_told) = (active_ms, 0, false);
        } else if self.is_told || (now.mono_ms < self.due_ms && unjumped.is_none()) {
            return None;
        }
        let ago_ms = steady_ms.saturating_sub(self.counted_ms);
        let to = unjumped.unwrap_or(now.wall);
        let from = WallMs(to.0.saturating_sub(ago_ms));
        let rest_ms = self.after_ms.saturating_sub(self.open_ms);
        self.open_ms = self.open_ms.saturating_add(hours.open_ms(from, to, rest_ms));
        self.counted_ms = steady_ms;
        self.is_told = self.open_ms >= self.after_ms;
        let opens_ms = hours.opens_at(now.wall).map_or(0, |at| at.since(now.wall));
        let rest_ms = self.after_ms.saturating_sub(self.open_ms);
        self.due_ms = now.mono_ms.saturating_add(opens_ms).saturating_add(rest_ms);
        match (was_told, self.is_told) {
            (false, true) => Some(true),
            (true, false) => Some(false),
            (false, false) | (true, true) => None,
        }
    }
}

/// What is to be said of a destination that is late, at this moment; `None` where it is not any more.
pub(super) fn compose(name: &Arc<str>, registry: &Registry, now: Stamp) -> Option<Alert> {
    let dest = registry.destination(name).ok()?;
    let standing = registry.ages().standing(dest, now);
    let oldest = oldest(dest, &standing, registry);
    let detail = oldest.as_ref().map(|record| {
        let attempts = registry.store.attempts(record.place).unwrap_or_default();
        let waits_for = || {
            let shown = registry.shown(record.clone(), now.wall);
            match shown.after.first() {
                Some(key) => format!("a message of {key}"),
                None => shown.waits_for.map_or("its answer", |why| why.name()).to_owned(),
            }
        };
        attempts
            .last()
            .map_or_else(|| format!("not tried yet, it waits for: {}", waits_for()), |last| last.detail.clone())
    });
    (standing.age.late > 0).then(|| Alert {
        destination: name.clone(),
        reason: LATE,
        messages: standing.age.late,
        sample: oldest.as_ref().map(|record| record.id),
        sample_key: oldest.and_then(|record| record.envelope.key.clone()),
        detail,
        since: standing.age.oldest.unwrap_or(now.wall),
    })
}

/// The oldest message that waits, or one of the same second; `None` where it cannot be found at once.
fn oldest(dest: Dest, standing: &Standing, registry: &Registry) -> Option<Record> {
    let (first, end) = standing.oldest_in?;
    let query = Query {
        states: vec![StateName::Queued, StateName::Sending, StateName::Failed],
        destinations: vec![dest],
        before: Some(end),
        limit: SAMPLE_MAX,
        scan_max: SCAN_MAX,
        ..Query::default()
    };
    // What cannot be read is told as damage.
    let page = registry.store.list(&query).ok()?;
    page.records.into_iter().take_while(|record| record.place >= first).last()
}

/// Finds out when something last came for the destinations that must not be silent, or went there.
///
/// # Errors
/// What hinders the read.
pub(super) fn recover(registry: &Registry) -> Result<(), StoreError> {
    let is_watched = |(dest, rules): (Dest, Option<&Arc<Destination>>)| {
        rules.is_some_and(|rules| rules.silent_after_ms.is_some()).then_some(dest)
    };
    let mut left: Vec<Dest> = registry.lanes().filter_map(is_watched).collect();
    let mut before = None;
    while !left.is_empty() {
        let query = Query { destinations: left.clone(), before, limit: 1, scan_max: SCAN_MAX, ..Query::default() };
        let page = match registry.store.list(&query) {
            Ok(page) => page,
            // It is told as damage by whoever must read it; silence then begins with the start.
            Err(StoreError::Damaged(_)) => break,
            Err(error) => return Err(error),
        };
        let mut ages = registry.ages();
        let Some(newest) = page.records.first() else {
            // Nothing came since then, and nothing is known of the time before.
            let at = page.scanned_until;
            left.iter().for_each(|dest| at.into_iter().for_each(|at| ages.was_active(*dest, at)));
            break;
        };
        let went_at = (newest.state == State::Delivered).then_some(newest.updated_at);
        if let Ok(dest) = registry.destination(&newest.envelope.destination) {
            ages.was_active(dest, went_at.unwrap_or_default().max(newest.id.accepted_at()));
            left.retain(|other| *other != dest);
        }
        before = Some(newest.place);
    }
    Ok(())
}
