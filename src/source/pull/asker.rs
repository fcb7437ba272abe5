//! When a source is read, and what a person is told of it.
//!
//! # What holds
//!
//! * A source is read once in a cycle, however long it takes and whatever fails: the next cycle is the next try, and a later one where it asks to be left alone.
//!   A cycle that passed while the node was down is made up for at once.
//! * What fails is said in the log once per cause, and a person is told where it lasts. What is forgotten is told even if it is read again a moment later.
//! * That it fails, that it asks, and that it forgets, is told once, over any number of starts.
//! * While a person is asked, the source is left alone.
//!
//! # What it does not know
//!
//! Clocks and threads.

use std::sync::Arc;

use super::progress::Kept;
use super::reading::{Ended, Reading, Trouble};
use super::told::{Telling, Told};
use super::{Memory, Pull, PullState};
use crate::engine::{Engine, SourceNews};
use crate::model::WallMs;
use crate::model::cause::words;
use crate::model::span::show_span;
use crate::source::{Sources, told_mark};

/// A person is told of what failed so often, or where the next try is so long after the first failure.
const FAILURES_TOLD: u64 = 3;
const LASTS_MS: u64 = 600_000;

/// Reads one source, whenever it is time.
pub struct Asker {
    pull: Arc<Pull>,
    source: Arc<str>,
    sources: Arc<Sources>,
    engine: Engine,
    /// When it is read next; `None` where that has to be found out.
    due: Option<WallMs>,
    /// Not before.
    left_alone_until: WallMs,
    turned_at: WallMs,
    failing: Option<Failing>,
    /// What was told of what it forgets, and that it asks.
    told: Told,
    /// That it was told that it fails.
    told_failing: Told,
    asks: bool,
    /// Whether a person said yes to it, and it could not be read since.
    is_sure: bool,
}

/// Failures since it was last read.
struct Failing {
    since: WallMs,
    failures: u64,
    cause: String,
}

impl Asker {
    /// Reads this source into that engine. `sources` has the source itself, and where its messages go.
    #[must_use]
    pub fn new(pull: Arc<Pull>, sources: Arc<Sources>, engine: Engine) -> Asker {
        let told = Told::under(told_mark(&pull.name));
        let told_failing = Told::under(format!("failing/{}", pull.name));
        Asker {
            source: pull.name.clone(),
            pull,
            sources,
            engine,
            due: None,
            left_alone_until: WallMs(0),
            turned_at: WallMs(0),
            failing: None,
            told,
            told_failing,
            asks: false,
            is_sure: false,
        }
    }

    /// Reads it, if it is time or a person wants it. Between two turns [`Asker::next_turn`] is asked.
    pub fn turn(&mut self, now: WallMs) {
        let asked = self.pull.desk().asked.take();
        self.is_sure |= asked.as_ref().is_some_and(|asked| asked.is_sure);
        if now < self.turned_at {
            // The clock was put back: what was far away may be near.
            self.due = None;
            self.left_alone_until = WallMs(0);
        }
        self.turned_at = now;
        let kept = match Kept::read(&self.engine, &self.source) {
            Ok(kept) => kept,
            Err(why) => return self.failed(Trouble::new(why), now),
        };
        let read_at = kept.progress.as_ref().map(|progress| progress.read_at());
        // Of one that has brought nothing yet the first reading is still to come.
        let taken_at =
            kept.progress.as_ref().filter(|progress| !progress.is_untaken).map(|progress| progress.read_at());
        let recalled = [&mut self.told, &mut self.told_failing].map(|told| told.recall(&self.engine, taken_at));
        if let Err(why) = recalled.into_iter().collect::<Result<(), String>>() {
            return self.failed(Trouble::new(format!("what was told of it cannot be read: {why}")), now);
        }
        if let Some(progress) = &kept.progress {
            let mut desk = self.pull.desk();
            desk.shown.cursor.get_or_insert_with(|| progress.cursor.clone());
            desk.shown.read_at.get_or_insert(progress.read_at());
        }
        let first = read_at.map_or(now, |read_at| read_at.min(now));
        let due = *self.due.get_or_insert_with(|| self.pull.rule.cycle.after(first));
        self.missed(read_at, now);
        let is_due = due <= now;
        if is_due {
            self.due = None;
        }
        if asked.is_some() || (is_due && (!self.asks || self.is_sure)) {
            self.read(kept, now);
        }
        self.watch(now);
        self.told.keep(&self.engine, now);
        self.told_failing.keep(&self.engine, now);
    }

    /// When the next turn is, at the latest.
    pub fn next_turn(&mut self, now: WallMs) -> WallMs {
        let cycle = &self.pull.rule.cycle;
        let next = *self.due.get_or_insert_with(|| cycle.after(now).max(cycle.at_or_after(self.left_alone_until)));
        self.pull.desk().shown.next_at = Some(next).filter(|_| !self.asks || self.is_sure);
        next
    }

    fn read(&mut self, kept: Kept, now: WallMs) {
        let sources = self.sources.clone();
        let Some(source) = sources.find(&self.source) else { return };
        self.pull.desk().shown.state = PullState::Reads;
        let ended = Reading::new(&self.pull, &sources, source, &self.engine, now, kept).run(self.is_sure);
        self.left_alone_until = WallMs(0);
        match ended {
            Ok(Ended::Read) => self.succeeded(now),
            Ok(Ended::Asks(count)) => self.asks(count, now),
            Err(trouble) if trouble.is_stop => {}
            Err(trouble) => self.failed(trouble, now),
        }
    }

    fn succeeded(&mut self, now: WallMs) {
        let was_told = self.told_failing.telling() == Telling::Fails || self.told.telling() == Telling::Nears;
        self.failing = None;
        self.asks = false;
        self.is_sure = false;
        self.told.is_over();
        self.told_failing.is_over();
        {
            let shown = &mut self.pull.desk().shown;
            shown.state = PullState::Waits;
            shown.read_at = Some(now);
            shown.failing_since = None;
            shown.asks = None;
        }
        if was_told {
            self.engine.note_source(&self.source, SourceNews::Read, String::new());
        }
    }

    fn asks(&mut self, count: u64, now: WallMs) {
        self.failing = None;
        self.told_failing.is_over();
        {
            let shown = &mut self.pull.desk().shown;
            shown.state = PullState::Asks;
            shown.asks = Some(count);
            shown.failing_since = None;
        }
        self.asks = true;
        if self.told.telling() != Telling::Asks {
            let why = format!(
                "its first reading at {} comes to {count} messages or more, and {} may come unasked; `goniec cycle run {} --yes` lets them in",
                now.rfc3339(),
                self.pull.rule.ask_above,
                self.source
            );
            self.told.tells(Telling::Asks, self.engine.note_source(&self.source, SourceNews::Asks, why));
        }
    }

    fn failed(&mut self, trouble: Trouble, now: WallMs) {
        let Trouble { why, retry_after_ms, is_stop: _ } = trouble;
        // A page may begin with anything.
        let why = self.pull.from.discreet_text(&why);
        self.due = None;
        self.left_alone_until = retry_after_ms.map_or(WallMs(0), |wait_ms| now.plus(wait_ms));
        let next = self.next_turn(now);
        let cause = words(&why);
        let before = self.failing.take();
        if before.as_ref().is_none_or(|before| before.cause != cause) {
            log::warn!("source {} cannot be read: {}", self.source, why.escape_debug());
        }
        let (since, failures) = before.map_or((now, 0), |before| (before.since, before.failures));
        let failures = failures + 1;
        let lasts = failures >= FAILURES_TOLD || next.since(since) >= LASTS_MS;
        if lasts && self.told_failing.telling() != Telling::Fails {
            let notified = self.engine.note_source(&self.source, SourceNews::Failing, why.clone());
            self.told_failing.tells(Telling::Fails, notified);
        }
        self.failing = Some(Failing { since, failures, cause });
        let shown = &mut self.pull.desk().shown;
        shown.state = if self.asks && !self.is_sure { PullState::Asks } else { PullState::Fails };
        shown.failures += 1;
        shown.failing_since.get_or_insert(since);
        shown.last_error = Some(why);
    }

    /// Tells that the source may have forgotten something; what is read now does not bring it back.
    fn missed(&mut self, read_at: Option<WallMs>, now: WallMs) {
        let (Some(read_at), Some(Memory { remembers_ms, .. })) = (read_at, self.pull.rule.memory) else { return };
        if now.since(read_at) < remembers_ms {
            return;
        }
        let until = WallMs(now.0.saturating_sub(remembers_ms));
        self.pull.desk().shown.forgot = Some((read_at, until));
        if self.told.telling() == Telling::Closed {
            return;
        }
        let (from, until) = (read_at.rfc3339(), until.rfc3339());
        let why = format!(
            "it was last read at {from} and remembers {}: what happened there until {until} and was not read may be gone",
            show_span(remembers_ms)
        );
        self.told.tells(Telling::Closed, self.engine.note_source(&self.source, SourceNews::Forgot, why));
    }

    /// Tells that the source will forget something, where it was not read for long.
    fn watch(&mut self, now: WallMs) {
        let shown = self.pull.shown();
        let (Some(read_at), Some(memory)) = (shown.read_at, self.pull.rule.memory) else { return };
        let forgets_at = read_at.plus(memory.remembers_ms);
        self.pull.desk().shown.forgets_at = Some(forgets_at);
        if self.told.telling() >= Telling::Nears || now.since(read_at) < memory.tell_after_ms {
            return;
        }
        let why = format!(
            "it was last read at {} and forgets from {} on what was not read",
            read_at.rfc3339(),
            forgets_at.rfc3339()
        );
        self.told.tells(Telling::Nears, self.engine.note_source(&self.source, SourceNews::Forgets, why));
    }
}
