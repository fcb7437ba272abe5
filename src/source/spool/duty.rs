//! What a person has to be told of a spool: files that cannot be taken, and that nothing can be for long.
//!
//! # What holds
//!
//! * The duty is durable before a file is put aside, and ends when everybody was told: whatever is killed when, nobody misses a file. He may hear of it twice.
//! * One telling is under way at a time, however many files there are; what comes up meanwhile is the next one.
//! * What stands in the way of a whole folder, or of files that stay in it, is told where it lasts; that it is over, where it was told.
//!
//! # What it does not know
//!
//! Why a file cannot be taken, and where it lies then.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::told_mark;
use crate::engine::{Engine, Mark, Notified, SourceNews};
use crate::model::WallMs;

/// What stands in the way for so long is told.
const LASTS_MS: u64 = 600_000;
/// How much of a reason is told, in characters.
const WHY_CHARS_MAX: usize = 500;

/// What has to be told, and what is being told.
#[derive(Debug, Default)]
pub(super) struct Duty {
    owed: Owed,
    /// As it stands in the registry.
    mark: Option<Vec<u8>>,
    is_recalled: bool,
    /// What tells that so many of them were told.
    telling: Option<(Notified, u64)>,
    /// Since when something stands in the way, and whether that was told.
    stuck: Option<(WallMs, bool)>,
}

/// Files of which nobody was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Owed {
    files: u64,
    /// The last of them.
    last: String,
    why: String,
}

impl Duty {
    /// Recalls what nobody was told of before a start.
    ///
    /// # Errors
    /// Why that cannot be read, in words.
    pub(super) fn recall(&mut self, engine: &Engine, source: &str) -> Result<(), String> {
        if !self.is_recalled {
            self.mark = engine.mark(&told_mark(source)).map_err(|error| error.to_string())?;
            self.owed = self.mark.as_ref().and_then(|mark| serde_json::from_slice(mark).ok()).unwrap_or_default();
            self.is_recalled = true;
        }
        Ok(())
    }

    /// A person has to be told of this file from now on.
    ///
    /// # Errors
    /// Why that cannot be written down, in words.
    pub(super) fn owe(&mut self, engine: &Engine, source: &str, name: &str, why: &str) -> Result<(), String> {
        let why: String = why.chars().take(WHY_CHARS_MAX).collect();
        // It could not be put aside a moment ago.
        let is_known = self.owed.files > 0 && (self.owed.last.as_str(), &self.owed.why) == (name, &why);
        let files = self.owed.files + u64::from(!is_known);
        self.becomes(engine, source, Owed { files, last: name.to_owned(), why })
    }

    /// Has a person told of what there is, and takes note of what everybody was told.
    pub(super) fn tell(&mut self, engine: &Engine, source: &Arc<str>) {
        if let Some((notified, told)) = &self.telling {
            let files = self.owed.files.saturating_sub(*told);
            let left = if files > 0 { Owed { files, ..self.owed.clone() } } else { Owed::default() };
            // What cannot be written down, as on a full disk, is so in the next turn.
            if !notified.is_everybody() || self.becomes(engine, source, left).is_err() {
                return;
            }
            self.telling = None;
        }
        let Owed { files, last, why } = &self.owed;
        let words = match files {
            0 => return,
            1 => format!("{last}: {why}"),
            files => format!("{files} files, the last of them {last}: {why}"),
        };
        self.telling = Some((engine.note_source(source, SourceNews::Refused, words), *files));
    }

    /// This stands in the way now, or nothing does.
    pub(super) fn stands(&mut self, engine: &Engine, source: &Arc<str>, now: WallMs, wrong: Option<&str>) {
        let Some(why) = wrong else {
            if self.stuck.take().is_some_and(|(_, is_told)| is_told) {
                engine.note_source(source, SourceNews::Read, String::new());
            }
            return;
        };
        let (since, is_told) = self.stuck.map_or((now, false), |(since, is_told)| (since.min(now), is_told));
        let lasts = now.since(since) >= LASTS_MS;
        if lasts && !is_told {
            engine.note_source(source, SourceNews::Failing, why.chars().take(WHY_CHARS_MAX).collect());
        }
        self.stuck = Some((since, is_told || lasts));
    }

    fn becomes(&mut self, engine: &Engine, source: &str, owed: Owed) -> Result<(), String> {
        if owed == self.owed {
            return Ok(());
        }
        let is =
            if owed.files > 0 { serde_json::to_vec(&owed).map_err(|error| error.to_string())? } else { Vec::new() };
        let mark = Mark { name: told_mark(source).into(), was: self.mark.clone(), is: is.clone() };
        engine.accept_marked_wait(Vec::new(), mark).map_err(|error| error.to_string())?;
        self.mark = Some(is).filter(|is| !is.is_empty());
        self.owed = owed;
        Ok(())
    }
}
