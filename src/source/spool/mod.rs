//! A folder into which files are moved: each becomes messages, once.
//!
//! ```text
//! DIR/orders.csv ─▶ sound from its first line to its last ─▶ messages and how far it was read, in one commit ─▶ DIR/done/orders.csv
//!                        └─▶ DIR/failed/orders.csv, and beside it orders.csv.why
//! ```
//!
//! # What holds
//!
//! * A file is taken once, whatever is killed when: how far it was read is a mark in the commit of the messages, and it moves only after the mark that
//!   says so is durable. A start first finishes what the mark says.
//! * Nothing of a file is taken before all of it was read once and is sound. One that fits a request is taken whole or not at all.
//! * No more than one request of a file lies in memory.
//! * What cannot be taken is told, to whoever hears of sources too, and kept beside its reason.
//!
//! # What it does not know
//!
//! Clocks and threads. Who writes the files: they are to be moved into the folder when they are whole.

mod duty;
mod folder;
mod part;
mod records;

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use self::duty::Duty;
use self::folder::{Folder, Identity};
use self::part::{From, Part, Reading};
use self::records::{Spot, Wrong};
use super::Sources;
use crate::engine::{Engine, Mark};
use crate::error::Error;
use crate::model::seen::visible;
use crate::model::{Draft, WallMs};

/// The most letters of a reason.
const WHY_CHARS_MAX: usize = 2_000;
/// What is said of a file that is another one than before.
const CHANGED: &str = "it changes while it is read";
/// How often it is looked after files that were kept long enough.
const SWEEP_MS: u64 = 3_600_000;

/// A folder into which files are moved, as the configuration has it.
#[derive(Debug)]
pub struct Spool {
    /// The folder.
    pub dir: PathBuf,
    /// How often it is looked into.
    pub look_ms: u64,
    /// How long what was taken is kept in `done`.
    pub keep_ms: u64,
    /// What stands between the fields of a table.
    pub separator: u8,
    /// How it goes.
    pub status: Mutex<Status>,
}

/// How it goes with a spool, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// When it was last looked into.
    pub looked_at: Option<WallMs>,
    /// The file that was last taken or refused.
    pub last_file: Option<String>,
    /// Files that were taken.
    pub taken: u64,
    /// Files that could not be.
    pub refused: u64,
    /// Messages that they came to.
    pub messages: u64,
    /// Files that wait.
    pub waiting: u64,
    /// What was last wrong.
    pub last_error: Option<String>,
    /// What lies in `failed`, also from before the start; `None` where nothing does.
    pub aside: Option<Aside>,
}

/// Files that could not be taken and lie there still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// How many.
    pub files: u64,
    /// The one that came there last.
    pub last: String,
    /// When it did.
    pub last_at: WallMs,
    /// Why it could not be taken; empty where nothing beside it says so.
    pub why: String,
}

impl Spool {
    /// How it goes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How far a file was taken, as the mark keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    file: Identity,
    spot: Spot,
    messages: u64,
    stage: Stage,
}

/// What is to become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// There is more of it.
    Taking,
    /// It was taken whole.
    Taken,
    /// The rest of it cannot be.
    Refused(String),
}

/// Why a file is not gone on with.
enum Stop {
    /// It cannot be taken, now or ever: in words.
    Refused(String),
    /// It can perhaps be taken another time: why not now.
    Later(String),
    /// Nothing more can be taken for now.
    All(String),
}

/// Takes the files of one spool.
pub struct Spooler {
    sources: Arc<Sources>,
    source: Arc<str>,
    engine: Engine,
    folder: Folder,
    /// The mark as it was last read or written.
    mark: Option<Vec<u8>>,
    /// What was last said to be wrong, so that it is said once.
    said: Option<String>,
    swept_at: Option<WallMs>,
    duty: Duty,
    /// When `failed` had last changed as it was looked into.
    aside_at: Option<(i64, i64)>,
}

impl Spooler {
    /// One for each source that has a spool.
    #[must_use]
    pub fn all(sources: &Arc<Sources>, engine: &Engine) -> Vec<Spooler> {
        let each = sources.sources.iter().filter_map(|source| {
            let folder = Folder::new(&source.spool.as_ref()?.dir);
            Some(Spooler {
                sources: sources.clone(),
                source: source.name.clone(),
                engine: engine.clone(),
                folder,
                mark: None,
                said: None,
                swept_at: None,
                duty: Duty::default(),
                aside_at: None,
            })
        });
        each.collect()
    }

    /// How often it wants its turn.
    #[must_use]
    pub fn look_ms(&self) -> u64 {
        self.spool().map_or(u64::MAX, |spool| spool.look_ms)
    }

    /// Takes what is there. Whether there may be more at once. Where `is_over` it ends between two commits.
    pub fn turn(&mut self, now: WallMs, is_over: &dyn Fn() -> bool) -> bool {
        let (more, wrong) = self.look(now, is_over).unwrap_or_else(|stopped| (false, Some(stopped.words())));
        self.duty.tell(&self.engine, &self.source);
        self.duty.stands(&self.engine, &self.source, now, wrong.as_deref());
        match wrong {
            Some(why) => self.complain(why),
            None => {
                self.said = None;
                self.note(|status| status.last_error = None);
            }
        }
        more
    }

    /// Whether there may be more at once, and what is wrong with files that stay.
    fn look(&mut self, now: WallMs, is_over: &dyn Fn() -> bool) -> Result<(bool, Option<String>), Stop> {
        self.folder.prepare().map_err(|error| Stop::All(format!("its folder cannot be used: {error}")))?;
        self.mark = self.engine.mark(&self.mark_name()).map_err(all)?;
        self.duty.recall(&self.engine, &self.source).map_err(Stop::All)?;
        self.finish(now, is_over)?;
        let waiting =
            self.folder.waiting().map_err(|error| Stop::All(format!("its folder cannot be read: {error}")))?;
        self.note(|status| (status.looked_at, status.waiting) = (Some(now), waiting.files));
        let (mut settled, mut wrong) = (0_u64, None);
        for name in &waiting.names {
            if is_over() {
                return Ok((false, wrong));
            }
            match self.take(name, None, now, is_over) {
                Ok(()) => settled += 1,
                Err(Stop::Refused(why)) => {
                    self.refuse(name, &why).map_err(Stop::All)?;
                    settled += 1;
                }
                Err(Stop::Later(why)) => wrong = Some(format!("{}: {why}", shown(name))),
                Err(stopped @ Stop::All(_)) => return Err(stopped),
            }
            self.note(|status| status.waiting = waiting.files.saturating_sub(settled));
        }
        if is_over() {
            return Ok((false, wrong));
        }
        self.forget()?;
        self.see_aside().map_err(|error| Stop::All(format!("what could not be taken cannot be looked at: {error}")))?;
        self.sweep(now).map_err(|error| Stop::All(format!("what was taken long ago cannot be removed: {error}")))?;
        Ok((settled > 0 && settled < waiting.files, wrong))
    }

    /// Brings to its end what the mark tells of.
    fn finish(&mut self, now: WallMs, is_over: &dyn Fn() -> bool) -> Result<(), Stop> {
        let progress = self.progress().map_err(Stop::All)?;
        let taken = progress.as_ref().filter(|progress| progress.stage == Stage::Taken);
        self.odd(self.folder.settle(taken.map(|progress| &progress.file)))?;
        let Some(progress) = progress else { return Ok(()) };
        let name = progress.file.name();
        let is_there = self.folder.identity(&name).map_err(all)?.as_ref() == Some(&progress.file);
        match (&progress.stage, is_there) {
            (Stage::Taken, true) => self.is_taken(&progress.file, progress.messages)?,
            (Stage::Refused(why), true) => self.refuse(&name, why).map_err(Stop::All)?,
            (Stage::Taking, true) => match self.take(&name, Some(&progress), now, is_over) {
                Err(Stop::Refused(why)) => self.refuse(&name, &why).map_err(Stop::All)?,
                other => return other,
            },
            (Stage::Taking, false) => {
                let Progress { spot: Spot { lines, .. }, messages, .. } = progress;
                let why = format!(
                    "it was removed or replaced when {messages} messages of it, to its line {lines}, were taken: the rest was not. What has \
                     its name now is taken from its beginning"
                );
                log::error!("source {:?}: {}: {why}", self.source, shown(&name));
                self.duty.owe(&self.engine, &self.source, &shown(&name), &why).map_err(Stop::All)?;
                self.folder.lost(&name, &why).map_err(all)?;
                self.note(|status| (status.last_file, status.refused) = (Some(shown(&name)), status.refused + 1));
            }
            (Stage::Taken | Stage::Refused(_), false) => {}
        }
        self.forget()
    }

    /// Takes a file, or the rest of it.
    fn take(
        &mut self,
        name: &OsStr,
        from: Option<&Progress>,
        now: WallMs,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), Stop> {
        let opened = self.folder.open(name).map_err(|error| {
            let why = format!("it cannot be opened: {error}");
            if error.kind() == ErrorKind::PermissionDenied { Stop::Refused(why) } else { Stop::Later(why) }
        })?;
        let (file, identity) = match (opened, from) {
            (Some(found), None) => found,
            (Some(found), Some(before)) if found.1 == before.file => found,
            // What is gone by now has its turn when it is met again.
            (None, None) => return Ok(()),
            (Some(_) | None, Some(_)) => return Err(Stop::All(CHANGED.into())),
        };
        let (sources, engine) = (self.sources.clone(), self.engine.clone());
        let Some(source) = sources.find(&self.source) else { return Ok(()) };
        let separator = source.spool.as_ref().map_or(b',', |spool| spool.separator);
        let check = |drafts| engine.check(drafts).map_err(|error: Error| error.to_string());
        let from_it = From { sources: &sources, source, now, check: &check };
        let mut reading = Reading::begin(file, name, separator, from_it).map_err(stop)?;
        let Some(mut part) = first(&mut reading, from.map(|before| before.spot), is_over)? else { return Ok(()) };
        let (mut is_begun, mut messages) = (from.is_some(), from.map_or(0, |before| before.messages));
        loop {
            let Part { drafts, spot, is_last } = part;
            if self.folder.identity(name).map_err(all)?.as_ref() != Some(&identity) {
                return Err(if is_begun { Stop::All(CHANGED.into()) } else { Stop::Later(CHANGED.into()) });
            }
            messages += u64::try_from(drafts.len()).unwrap_or(0);
            let stage = if is_last { Stage::Taken } else { Stage::Taking };
            self.accept(drafts, &Progress { file: identity.clone(), spot, messages, stage })?;
            if is_last {
                return self.is_taken(&identity, messages);
            }
            if is_over() {
                return Ok(());
            }
            is_begun = true;
            // What there is of it already stays the first thing to go on with.
            part = reading.part().map_err(|wrong| match stop(wrong) {
                Stop::Later(why) | Stop::All(why) => Stop::All(format!("{}: {why}", shown(name))),
                refused @ Stop::Refused(_) => refused,
            })?;
        }
    }

    /// A file was taken whole, and that is durable.
    fn is_taken(&mut self, file: &Identity, messages: u64) -> Result<(), Stop> {
        let name = shown(&file.name());
        self.moved(file)?;
        log::info!("source {:?}: {name} is taken, {messages} messages", self.source);
        self.note(|status| {
            status.last_file = Some(name);
            status.taken += 1;
            status.messages += messages;
        });
        Ok(())
    }

    fn moved(&self, file: &Identity) -> Result<(), Stop> {
        self.odd(self.folder.done(file))
    }

    /// Says what was odd about a file that was taken.
    fn odd(&self, moved: io::Result<Option<String>>) -> Result<(), Stop> {
        let odd = moved.map_err(|error| Stop::All(format!("what was taken cannot be moved: {error}")))?;
        if let Some(odd) = odd {
            log::error!("source {:?}: a file that was taken: {odd}", self.source);
        }
        Ok(())
    }

    /// Puts a file aside, with the reason. Where something of it was taken, that it ends so is durable first.
    fn refuse(&mut self, name: &OsStr, why: &str) -> Result<(), String> {
        let before = self.progress()?.filter(|before| before.stage == Stage::Taking && before.file.name() == *name);
        let why: String = why.chars().take(WHY_CHARS_MAX).collect();
        let why = match before {
            Some(before) => {
                let Progress { messages, spot: Spot { lines, .. }, .. } = before;
                let why =
                    format!("{why}\n{messages} messages of it, to its line {lines}, were taken; the rest was not");
                let ended = Progress { stage: Stage::Refused(why.clone()), ..before };
                self.accept(Vec::new(), &ended).map_err(Stop::words)?;
                why
            }
            None => why,
        };
        log::error!("source {:?}: {} cannot be taken: {}", self.source, shown(name), visible(&why));
        self.duty.owe(&self.engine, &self.source, &shown(name), &visible(&why))?;
        self.folder.failed(name, &why).map_err(|error| format!("it cannot be put aside: {error}"))?;
        self.note(|status| {
            status.last_file = Some(shown(name));
            status.refused += 1;
        });
        Ok(())
    }

    /// Takes the messages, and with them how far the file is taken then.
    fn accept(&mut self, drafts: Vec<Draft>, progress: &Progress) -> Result<(), Stop> {
        let is = serde_json::to_vec(progress).map_err(|error| Stop::All(error.to_string()))?;
        let mark = Mark { name: self.mark_name(), was: self.mark.clone(), is: is.clone() };
        let lines = progress.spot.lines;
        match self.engine.accept_marked_wait(drafts, mark) {
            Ok(_) => {
                self.mark = Some(is);
                Ok(())
            }
            Err(error @ (Error::Invalid(_) | Error::TooLarge { .. } | Error::After(_) | Error::Conflict { .. })) => {
                Err(Stop::Refused(format!("to line {lines}: {error}")))
            }
            Err(error) => Err(all(error)),
        }
    }

    /// Takes the mark away: nothing is left to be gone on with.
    fn forget(&mut self) -> Result<(), Stop> {
        if self.mark.is_some() {
            let mark = Mark { name: self.mark_name(), was: self.mark.take(), is: Vec::new() };
            self.engine.accept_marked_wait(Vec::new(), mark).map_err(all)?;
        }
        Ok(())
    }

    /// What the mark tells of.
    fn progress(&self) -> Result<Option<Progress>, String> {
        let read = self.mark.as_ref().map(|mark| serde_json::from_slice(mark)).transpose();
        read.map_err(|error| format!("its mark cannot be read: {error}"))
    }

    /// Looks at what could not be taken, where that has changed.
    fn see_aside(&mut self) -> io::Result<()> {
        let changed = self.folder.aside_changed()?;
        if self.aside_at != Some(changed) {
            let folder::Aside { files, last, last_at, why } = self.folder.aside()?;
            let aside = last.map(|last| Aside { files, last: shown(&last), last_at, why: visible(&why) });
            self.note(|status| status.aside = aside);
            self.aside_at = Some(changed);
        }
        Ok(())
    }

    fn sweep(&mut self, now: WallMs) -> io::Result<()> {
        let keep_ms = self.spool().map_or(u64::MAX, |spool| spool.keep_ms);
        if self.swept_at.is_some_and(|last| now.0.saturating_sub(last.0) < SWEEP_MS) {
            return Ok(());
        }
        self.swept_at = Some(now);
        let removed = self.folder.sweep(WallMs(now.0.saturating_sub(keep_ms)))?;
        if removed > 0 {
            log::info!("source {:?}: {removed} files were taken long ago, and are removed", self.source);
        }
        Ok(())
    }

    fn mark_name(&self) -> Arc<str> {
        Arc::from(format!("spool/{}", self.source))
    }

    fn spool(&self) -> Option<&Spool> {
        self.sources.find(&self.source)?.spool.as_ref()
    }

    fn note(&self, change: impl FnOnce(&mut Status)) {
        if let Some(spool) = self.spool() {
            change(&mut spool.status.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Says what is wrong, once.
    fn complain(&mut self, why: String) {
        if self.said.as_ref() != Some(&why) {
            log::error!("source {:?}: {}", self.source, visible(&why));
            self.said = Some(why.clone());
        }
        self.note(|status| status.last_error = Some(why));
    }
}

impl Stop {
    fn words(self) -> String {
        match self {
            Stop::Refused(why) | Stop::Later(why) | Stop::All(why) => why,
        }
    }
}

/// The first part of a file that is to be taken: where nothing of it was, all of it is read once before. `None` where there is no time for that.
fn first(reading: &mut Reading<'_>, from: Option<Spot>, is_over: &dyn Fn() -> bool) -> Result<Option<Part>, Stop> {
    let beginning = reading.beginning();
    from.map_or(Ok(()), |from| reading.wind(from)).map_err(stop)?;
    let part = reading.part().map_err(stop)?;
    if from.is_some() || part.is_last {
        return Ok(Some(part));
    }
    drop(part);
    while !reading.part().map_err(stop)?.is_last {
        if is_over() {
            return Ok(None);
        }
    }
    reading.wind(beginning).map_err(stop)?;
    reading.part().map(Some).map_err(stop)
}

fn stop(wrong: Wrong) -> Stop {
    match wrong {
        Wrong::Malformed(why) => Stop::Refused(why),
        Wrong::Disk(error) => Stop::Later(format!("it cannot be read: {error}")),
    }
}

fn all(error: impl ToString) -> Stop {
    Stop::All(error.to_string())
}

/// A name as people see it.
fn shown(name: &OsStr) -> String {
    visible(&name.to_string_lossy())
}
