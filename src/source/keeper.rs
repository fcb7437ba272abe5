//! The keeper of streams that this registry sends: says from time to time how far they are, and fills what is missing there.
//!
//! ```text
//! due ─▶ last number, and what ended of what was missing ─▶ mark and holes ─▶ delivered here: sent again
//!                                                                          ─▶ ended here: told next, at once
//!                                                                          ─▶ waiting here: left to its retry
//! ```
//!
//! # What holds
//!
//! * A hole is filled by its message, or by why there is none; what nobody knows here either is told once.
//! * What is sent again stands in the audit log, as done by goniec.
//! * However many holes there are, a turn looks at a bounded number of them.
//!
//! # What it does not know
//!
//! The clock, threads, and how the other side is asked.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::{Act, Agreement, Engine, Heard, Side, Stream, StreamShown, Turn};
use crate::error::Error;
use crate::model::ledger::{End, Entry, Number, Page};
use crate::model::{Id, Queued, Record, State, WallMs};

/// How often the other side is told how a stream stands.
pub const EVERY_MS: u64 = 10_000;
/// How long holes of what is not on its way are left before a person is told.
const GAP_MS: u64 = 60_000;
/// How many messages are sent again by one turn.
const RESENDS_MAX: usize = 500;
/// What a person is told of beside comparisons.
const ITSELF: &str = "the stream itself";
/// Why a message is sent again, for the audit log.
const UNKNOWN_THERE: &str = "the other side of the stream does not know it";
/// How many ends are told by one request.
const ENDS_MAX: usize = 5_000;

/// What the keeper asks of its registry.
pub trait Ledgers {
    /// Every side of a stream.
    fn streams(&self) -> Vec<StreamShown>;
    /// A page of a ledger.
    ///
    /// # Errors
    /// What hinders the read.
    fn page(&self, stream: &Stream, page: u64) -> Result<Page, Error>;
    /// The message of a number, where it has a body, and where it stands.
    ///
    /// # Errors
    /// What hinders the read.
    fn message(&self, stream: &Stream, n: u64, now: WallMs) -> Result<Option<Numbered>, Error>;
    /// Sends a message again, and says whether it may.
    fn resend(&mut self, id: Id, why: &str, reply: Box<dyn FnOnce(Result<(), Error>) + Send>);
    /// Has a person told that a destination lacks what was delivered to it, or lacks nothing any more.
    fn tell(&self, stream: &Stream, agreement: Agreement, words: String);
}

/// What is said of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Which.
    pub stream: Stream,
    /// The last number that was given.
    pub last: u64,
    /// What ended before it was delivered.
    pub ended: Vec<(u64, End)>,
}

/// The keeper of the streams to some destinations.
#[derive(Debug, Default)]
pub struct Keeper {
    destinations: Vec<Arc<str>>,
    streams: BTreeMap<Stream, Kept>,
}

/// What the keeper remembers of a stream.
#[derive(Debug, Default)]
struct Kept {
    /// When it is due, on the monotonic clock.
    due_ms: u64,
    /// When the other side was last asked, on the wall clock.
    asked_at: WallMs,
    /// What cannot be sent again, because a newer message of its key has taken its place.
    overtaken: Arc<Mutex<BTreeSet<u64>>>,
    /// What ended of what was missing there.
    ended: Vec<(u64, End)>,
    /// Since when there have been holes of what is not on its way, on the monotonic clock.
    lost_since: Option<u64>,
    is_said: bool,
}

/// What is missing there and is not on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Gap {
    /// It was delivered, and is no longer here.
    lost: u64,
    /// It was delivered, and is sent again.
    again: usize,
    /// It is not known to have been given.
    ungiven: u64,
}

impl Keeper {
    /// The keeper of the streams to these destinations.
    #[must_use]
    pub fn new(destinations: Vec<Arc<str>>) -> Keeper {
        Keeper { destinations, streams: BTreeMap::new() }
    }

    /// What is to be said now: of the epoch that is counted in, and of those before in which something is missing there.
    pub fn due(&mut self, node: &impl Ledgers, now_ms: u64, wall: WallMs) -> Vec<Word> {
        let mut words = Vec::new();
        for shown in node.streams() {
            let StreamShown { stream, is_current, last, theirs, .. } = shown;
            let is_ours = stream.side == Side::Out && self.destinations.contains(&stream.name);
            if !is_ours || !(is_current || theirs < last) {
                continue;
            }
            let kept = self.streams.entry(stream.clone()).or_default();
            if kept.due_ms <= now_ms {
                (kept.due_ms, kept.asked_at) = (now_ms.saturating_add(EVERY_MS), wall);
                words.push(Word { stream, last, ended: std::mem::take(&mut kept.ended) });
            }
        }
        words
    }

    /// Fills what is missing there, as far as that is known here.
    ///
    /// # Errors
    /// What hinders the read; the rest is filled after the next answer.
    pub fn heard(
        &mut self,
        node: &mut impl Ledgers,
        stream: &Stream,
        heard: &Heard,
        now_ms: u64,
        wall: WallMs,
    ) -> Result<(), Error> {
        let (mut ended, mut gap) = (Vec::new(), Gap::default());
        // Of an epoch that is over it is not known how far it went.
        let own = node.streams().into_iter().find(|shown| shown.is_current && shown.stream == *stream);
        let given = own.map_or(u64::MAX, |shown| shown.last);
        let mut pages: BTreeMap<u64, Page> = BTreeMap::new();
        let Kept { asked_at, overtaken, .. } = self.streams.entry(stream.clone()).or_default();
        let (asked_at, overtaken) = (*asked_at, overtaken.clone());
        let known = std::mem::take(&mut *lock(&overtaken));
        let numbers = heard.holes.iter().flat_map(|(from, to)| *from..=*to);
        for n in numbers.take(ENDS_MAX) {
            let (page, at) = stream.number(n).at();
            if let btree_map::Entry::Vacant(free) = pages.entry(page) {
                free.insert(node.page(stream, page)?);
            }
            match pages.get(&page).map_or(Entry::Unknown, |page| page.entry(at)) {
                Entry::Ended(end) => ended.push((n, end)),
                Entry::Unknown if n > given => gap.ungiven += 1,
                // It waits, or is out.
                Entry::Unknown => {}
                Entry::There(..) if known.contains(&n) => ended.push((n, End::Superseded)),
                Entry::There(..) if gap.again >= RESENDS_MAX => {}
                Entry::There(..) => {
                    match node.message(stream, n, wall).map(|found| found.filter(|it| it.is(stream, n))) {
                        // It arrived while the other side was asked.
                        Ok(Some(Numbered { state: State::Delivered, at, .. })) if at >= asked_at => {}
                        Ok(Some(Numbered { id, state: State::Delivered, .. })) => {
                            node.resend(id, UNKNOWN_THERE, refusal(id, n, &overtaken));
                            gap.again += 1;
                        }
                        // It was delivered once, was sent again by a person, and given up.
                        Ok(Some(Numbered { state: State::Abandoned(why), .. })) => ended.push((n, why.into())),
                        Ok(Some(Numbered {
                            state: State::Queued(_) | State::Sending(_) | State::Failed(_), ..
                        })) => {}
                        Ok(None) => gap.lost += 1,
                        // It hides none of the others.
                        Err(error) => {
                            log::warn!("stream to {:?}: number {n} cannot be looked up: {error}", stream.name);
                            gap.lost += 1;
                        }
                    }
                }
            }
        }
        let kept = self.streams.entry(stream.clone()).or_default();
        if !ended.is_empty() {
            kept.due_ms = now_ms;
        }
        kept.ended = ended;
        let said = kept.gap(gap, now_ms);
        let mut others = self.streams.iter().filter(|(other, _)| other.name == stream.name);
        match said {
            // Another epoch still has one.
            Some((Agreement::Found, _)) if others.any(|(_, kept)| kept.is_said) => {}
            Some((agreement, words)) => node.tell(stream, agreement, words),
            None => {}
        }
        Ok(())
    }
}

impl Kept {
    /// What a person is told: once that holes stay open, and once that they are closed.
    fn gap(&mut self, gap: Gap, now_ms: u64) -> Option<(Agreement, String)> {
        if gap == Gap::default() {
            self.lost_since = None;
            let words = "the stream has no gap any more".to_owned();
            return std::mem::take(&mut self.is_said).then_some((Agreement::Found, words));
        }
        let since = *self.lost_since.get_or_insert(now_ms);
        let is_due = !self.is_said && now_ms.saturating_sub(since) >= GAP_MS;
        self.is_said |= is_due;
        is_due.then(|| (Agreement::Lost, gap.to_string()))
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { lost, again, ungiven } = *self;
        let again = u64::try_from(again).unwrap_or(u64::MAX);
        write!(f, "the stream has a gap that does not close")?;
        let parts = [
            (lost, "messages that were delivered are not known there, and are no longer here"),
            (again, "messages at least that were delivered are not known there, and were sent again"),
            (
                ungiven,
                "numbers were told there that are not known here: this registry was set back, or lost its power before they were safe",
            ),
        ];
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, what)| write!(f, "; {count} {what}"))
    }
}

/// What is made of the answer to a message's being sent again: where a newer one has taken its place, that is what became of it.
fn refusal(id: Id, n: u64, overtaken: &Arc<Mutex<BTreeSet<u64>>>) -> Box<dyn FnOnce(Result<(), Error>) + Send> {
    let overtaken = overtaken.clone();
    Box::new(move |answer| match answer {
        Ok(()) => {}
        Err(Error::Overtaken { .. }) => drop(lock(&overtaken).insert(n)),
        Err(error) => log::warn!("message {id} is not sent again: {error}"),
    })
}

fn lock(numbers: &Mutex<BTreeSet<u64>>) -> MutexGuard<'_, BTreeSet<u64>> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Which.
    pub id: Id,
    /// Where it stands,
    pub state: State,
    /// and since when.
    pub at: WallMs,
    /// Its number.
    pub number: Number,
}

impl Numbered {
    /// Whether it has this number: in a registry that lost its last messages another may lie in its place.
    fn is(&self, stream: &Stream, n: u64) -> bool {
        self.number == stream.number(n)
    }
}

/// Where a message stands; `None` where it could not be sent again.
fn standing(record: &Record) -> Option<Numbered> {
    let can_go = record.body_bytes.is_some();
    let Record { id, state, updated_at: at, .. } = *record;
    Number::of(&record.envelope).filter(|_| can_go).map(|number| Numbered { id, state, at, number })
}

impl Ledgers for Engine {
    fn streams(&self) -> Vec<StreamShown> {
        Engine::streams(self)
    }

    fn page(&self, stream: &Stream, page: u64) -> Result<Page, Error> {
        self.ledger_page(stream, page)
    }

    fn message(&self, stream: &Stream, n: u64, _now: WallMs) -> Result<Option<Numbered>, Error> {
        let Some(id) = self.ledger_message(stream, n)? else { return Ok(None) };
        Ok(standing(&self.show(id)?.record))
    }

    fn resend(&mut self, id: Id, why: &str, reply: Box<dyn FnOnce(Result<(), Error>) + Send>) {
        self.act(id, Act::Resend(Queued::Ready).by("goniec", why), Box::new(|said| reply(said.map(drop))));
    }

    fn tell(&self, stream: &Stream, agreement: Agreement, words: String) {
        // One epoch's gap is not another's.
        let about = format!("{ITSELF}, epoch {:x}", stream.epoch);
        self.tell_agreement(&stream.name, &about, agreement, words);
    }
}

impl Ledgers for Turn {
    fn streams(&self) -> Vec<StreamShown> {
        Turn::streams(self)
    }

    fn page(&self, stream: &Stream, page: u64) -> Result<Page, Error> {
        self.ledger_page(stream, page)
    }

    fn message(&self, stream: &Stream, n: u64, now: WallMs) -> Result<Option<Numbered>, Error> {
        let Some(id) = self.ledger_message(stream, n)? else { return Ok(None) };
        Ok(standing(&self.show(id, now)?.record))
    }

    fn resend(&mut self, id: Id, why: &str, reply: Box<dyn FnOnce(Result<(), Error>) + Send>) {
        self.act(id, Act::Resend(Queued::Ready).by("goniec", why), Box::new(|said| reply(said.map(drop))));
    }

    /// Whoever drives it looks for himself.
    fn tell(&self, _stream: &Stream, _agreement: Agreement, _words: String) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_once_of_a_gap_that_stays_and_once_that_it_is_closed() {
        let mut kept = Kept::default();
        let gap = |lost, again| Gap { lost, again, ungiven: 0 };
        assert_eq!(kept.gap(gap(0, 3), 1_000), None);
        assert_eq!(kept.gap(gap(0, 0), 2_000), None, "it closed in time, and nobody heard of it");
        assert_eq!(kept.gap(gap(2, 1), 10_000), None);
        assert_eq!(kept.gap(gap(2, 0), 10_000 + GAP_MS - 1), None);
        let told = kept.gap(gap(2, 0), 10_000 + GAP_MS).expect("is told");
        let words = told.1.as_str();
        assert!(
            told.0 == Agreement::Lost && words.contains("; 2 messages that were") && !words.contains("; 0"),
            "{told:?}"
        );
        assert_eq!(kept.gap(gap(2, 0), 10_000 + 2 * GAP_MS), None, "once");
        assert_eq!(kept.gap(gap(0, 0), 10_000 + 3 * GAP_MS).expect("is told").0, Agreement::Found);
        assert_eq!(kept.gap(gap(0, 0), 10_000 + 4 * GAP_MS), None);
    }
}
