//! The watch over streams that come in: a gap that stays while its sender is silent is told here, where nobody else would hear of it.
//!
//! A sender that lives looks after its gaps itself, and tells of those that do not close. One that is gone, or was set back and knows nothing of the
//! numbers any more, does not.
//!
//! # What holds
//!
//! * A gap is told once, also over a restart, and once more when it is closed. It is written down once everybody was told: until then a start tells it again.
//!
//! # What it does not know
//!
//! The clock, threads, and why something is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Engine, Mark, Notified, Side, SourceNews, Stream, StreamShown};
use crate::error::Error;
use crate::model::WallMs;

/// How often it looks.
const LOOK_MS: u64 = 10_000;
/// How long a sender is silent before a person is told of what it owes: longer than it takes to put a node in the place of another.
pub const SILENT_MS: u64 = 600_000;

/// The watch over the streams of some sources.
#[derive(Debug)]
pub struct Watch {
    sources: Vec<Arc<str>>,
    /// When it looks again, on the monotonic clock.
    due_ms: u64,
    streams: BTreeMap<Stream, Kept>,
}

/// What is remembered of a stream.
#[derive(Debug, Clone, Default)]
struct Kept {
    /// A person was told of all gaps up to this number; 0 where of none.
    told: u64,
    /// Of what is not written down yet.
    notified: Option<Notified>,
    /// When its sender was last heard,
    heard_at: Option<WallMs>,
    /// and since when, on the monotonic clock, that is all that was heard of it.
    silent_since_ms: u64,
}

impl Watch {
    /// The watch over what comes from these sources.
    #[must_use]
    pub fn new(sources: Vec<Arc<str>>) -> Watch {
        Watch { sources, due_ms: 0, streams: BTreeMap::new() }
    }

    /// Looks, where it is time to, and tells what is to be told.
    pub fn turn(&mut self, engine: &Engine, now_ms: u64) {
        if self.sources.is_empty() || now_ms < self.due_ms {
            return;
        }
        self.due_ms = now_ms.saturating_add(LOOK_MS);
        let is_ours = |shown: &StreamShown| shown.stream.side == Side::In && self.sources.contains(&shown.stream.name);
        let all: Vec<StreamShown> = engine.streams().into_iter().filter(is_ours).collect();
        for StreamShown { stream, .. } in &all {
            if !self.streams.contains_key(stream) {
                // What cannot be read is as if it had not been told.
                let told = engine.mark(&mark_of(stream)).map_or(0, |mark| told(mark.as_deref()));
                self.streams.insert(stream.clone(), Kept { told, silent_since_ms: now_ms, ..Kept::default() });
            }
        }
        for shown in &all {
            let said = self.streams.get_mut(&shown.stream).and_then(|kept| kept.look(shown, now_ms));
            let told = said.map_or(Ok(()), |up_to| self.tell(engine, &shown.stream, up_to));
            let told = told.and_then(|()| self.keep(engine, &shown.stream));
            // What hinders one stream hinders none of the others.
            if let Err(error) = told {
                log::warn!("stream from {:?}: a gap cannot be told: {error}", shown.stream.name);
            }
        }
    }

    /// Tells that a stream has gaps up to this number, or, where that is 0, none any more.
    fn tell(&mut self, engine: &Engine, stream: &Stream, up_to: u64) -> Result<(), Error> {
        let is_open = |(other, kept): (&Stream, &Kept)| other != stream && other.name == stream.name && kept.told > 0;
        let news = if up_to > 0 {
            let holes = engine.stream_holes(stream, up_to)?;
            Some((SourceNews::Gap, words(stream, &holes)))
        } else if self.streams.iter().any(is_open) {
            None
        } else {
            Some((SourceNews::Whole, String::new()))
        };
        let notified = news.map(|(news, words)| engine.note_stream(stream, news, words));
        let kept = self.streams.entry(stream.clone()).or_default();
        (kept.told, kept.notified) = (up_to, notified);
        if kept.notified.is_none() { self.write(engine, stream, up_to) } else { Ok(()) }
    }

    /// Writes down what everybody was told by now.
    fn keep(&mut self, engine: &Engine, stream: &Stream) -> Result<(), Error> {
        let Some(kept) = self.streams.get_mut(stream) else { return Ok(()) };
        if !kept.notified.as_ref().is_some_and(Notified::is_everybody) {
            return Ok(());
        }
        let told = kept.told;
        self.write(engine, stream, told)
    }

    fn write(&mut self, engine: &Engine, stream: &Stream, up_to: u64) -> Result<(), Error> {
        let (name, is) = (mark_of(stream), if up_to > 0 { up_to.to_string().into_bytes() } else { Vec::new() });
        let mark = Mark { was: engine.mark(&name)?, name: name.into(), is };
        engine.accept_marked_wait(Vec::new(), mark)?;
        if let Some(kept) = self.streams.get_mut(stream) {
            kept.notified = None;
        }
        Ok(())
    }
}

impl Kept {
    /// Up to which number a person is to be told of gaps now; 0 where that they are closed.
    fn look(&mut self, shown: &StreamShown, now_ms: u64) -> Option<u64> {
        if shown.heard_at != self.heard_at {
            (self.heard_at, self.silent_since_ms) = (shown.heard_at, now_ms);
        }
        // After a start it is not known how far the sender had come.
        let last = shown.last.max(self.told);
        let is_silent = now_ms.saturating_sub(self.silent_since_ms) >= SILENT_MS;
        match shown.mark < last {
            true => (is_silent && last > self.told).then_some(last),
            false => (self.told > 0).then_some(0),
        }
    }
}

/// The name of the mark of a stream.
fn mark_of(stream: &Stream) -> String {
    format!("gap/{}/{:x}", stream.name, stream.epoch)
}

/// What a mark says.
fn told(mark: Option<&[u8]>) -> u64 {
    mark.and_then(|mark| std::str::from_utf8(mark).ok()?.parse().ok()).unwrap_or(0)
}

fn words(stream: &Stream, holes: &[(u64, u64)]) -> String {
    let missing: u64 = holes.iter().map(|(from, to)| to - from + 1).sum();
    let first = holes.first().map_or(0, |(from, _)| *from);
    let (epoch, minutes) = (stream.epoch, SILENT_MS / 60_000);
    format!(
        "the stream that comes from it has a gap, and its sender has been silent for {minutes} minutes: {missing} numbers of epoch {epoch:x} are missing at least, {first} is the first"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mark: u64, last: u64, heard_at: Option<u64>) -> StreamShown {
        StreamShown {
            stream: Stream { side: Side::In, name: "shop".into(), epoch: 7 },
            is_current: true,
            last,
            mark,
            theirs: 0,
            gap_since: None,
            heard_at: heard_at.map(WallMs),
        }
    }

    #[test]
    fn a_gap_is_told_once_where_its_sender_is_silent_and_once_that_it_is_closed() {
        let mut kept = Kept::default();
        let mut look = |mark, last, heard_at, now_ms| {
            let said = kept.look(&shown(mark, last, heard_at), now_ms);
            said.into_iter().for_each(|up_to| kept.told = up_to);
            said
        };
        assert_eq!(look(3, 5, Some(1), 1_000), None);
        assert_eq!(look(3, 5, Some(2), SILENT_MS), None, "its sender was heard meanwhile");
        assert_eq!(look(3, 5, Some(2), 2 * SILENT_MS - 1), None);
        assert_eq!(look(3, 5, Some(2), 2 * SILENT_MS), Some(5));
        assert_eq!(look(4, 5, Some(2), 3 * SILENT_MS), None, "once");
        assert_eq!(look(4, 8, Some(3), 3 * SILENT_MS), None);
        assert_eq!(look(4, 8, Some(3), 4 * SILENT_MS), Some(8), "what came to it is another gap");
        // A start forgets how far the sender said it had come, and not what was told.
        assert_eq!(look(7, 7, None, 6 * SILENT_MS), None);
        assert_eq!(look(8, 8, Some(4), 6 * SILENT_MS), Some(0));
        assert_eq!(look(8, 8, Some(4), 9 * SILENT_MS), None);
    }
}
