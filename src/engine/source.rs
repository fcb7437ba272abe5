//! What a person is told of a source: the system or the folder that messages come from.
//!
//! # What holds
//!
//! * It is told as everything else is: by every rule that hears of sources, at its hours, a cause once in a digest window.
//! * Whoever has it told learns when everybody was, and can remember it until then: what waits for a channel or the end of quiet hours is in memory only.
//!
//! # What it does not know
//!
//! How a source is read.

use std::sync::Arc;

use super::Engine;
use super::alert::{
    SOURCE_ASKS, SOURCE_FAILING, SOURCE_FORGETS, SOURCE_FORGOT, SOURCE_GAP, SOURCE_READ, SOURCE_REFUSED, SOURCE_WHOLE,
};
use super::ledger::Stream;
use super::notice::{Notice, Notified};

/// What becomes of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceNews {
    /// It would bring more messages at first than may come unasked.
    Asks,
    /// It cannot be read.
    Failing,
    /// It is read again.
    Read,
    /// It was not read for so long that it will soon forget what was not read.
    Forgets,
    /// It may have forgotten what was not read.
    Forgot,
    /// A file of it cannot be taken.
    Refused,
    /// Its stream has a gap, and it is silent.
    Gap,
    /// Its stream has no gap any more.
    Whole,
}

impl SourceNews {
    fn reason(self) -> &'static str {
        match self {
            SourceNews::Asks => SOURCE_ASKS,
            SourceNews::Failing => SOURCE_FAILING,
            SourceNews::Read => SOURCE_READ,
            SourceNews::Forgets => SOURCE_FORGETS,
            SourceNews::Forgot => SOURCE_FORGOT,
            SourceNews::Refused => SOURCE_REFUSED,
            SourceNews::Gap => SOURCE_GAP,
            SourceNews::Whole => SOURCE_WHOLE,
        }
    }
}

impl Engine {
    /// Has a person told of what became of a stream of a source, and why: each stream's words are told, where there are several.
    pub fn note_stream(&self, stream: &Stream, news: SourceNews, why: String) -> Notified {
        let notice = Notice::new(stream.name.clone(), news.reason(), why);
        self.shared.registry.note_of(notice.about(&format!("{:x}", stream.epoch)))
    }

    /// Has a person told of what became of a source, and why.
    pub fn note_source(&self, source: &Arc<str>, news: SourceNews, why: String) -> Notified {
        self.shared.registry.note_of(Notice::new(source.clone(), news.reason(), why))
    }
}
