//! Streams: what another registry sends by number, taken once, and how each stream stands.
//!
//! # What holds
//!
//! * Whether a number is known is decided by the committer, after everything that was written before: two requests with the same number are taken
//!   one after the other.
//! * A number that came with another message is a conflict: that message is taken once all the same, known by its sender's id and what it says.
//! * The answer tells of what is durable.
//!
//! # What it does not know
//!
//! How messages travel, and who asks.

mod ways;

use std::collections::HashSet;
use std::sync::Arc;

use super::accept::{self, Repeated};
use super::commit::Committer;
use super::draft::{Accepting, Draft, Slot};
use super::ledger::{Side, Stream};
use super::registry::Registry;
use super::request::Request;
use super::words::{Accepted, Reply};
use crate::error::Error;
use crate::model::ledger::{Content, ENTRY_BYTES, End, Entry, NUMBER_MAX, ORIGIN_HEADER, Origin, PAGE_NUMBERS};
use crate::model::{Id, WallMs};
use crate::store::{Incoming, KEY_OF_ALL, StoreError, idempotency_hash};

/// How many holes are told at most.
pub const HOLES_MAX: usize = 256;
/// How many pages are searched for them where messages come.
const PAGES_MAX: usize = 64;
/// How many epochs of one source are known at most: a sender begins one only where it was set back.
pub(super) const EPOCHS_MAX: usize = 1_000;
/// How many ends of messages one request tells at most.
pub const ENDED_MAX: usize = 10_000;

/// What another registry sends.
#[derive(Debug)]
pub struct Received {
    /// The source that it came by.
    pub source: Arc<str>,
    /// The epoch of its numbers.
    pub epoch: u64,
    /// The last number that the sender gave.
    pub last: u64,
    /// What ended before it came.
    pub ended: Vec<(u64, End)>,
    /// What comes.
    pub items: Vec<Item>,
}

/// A message that another registry sends.
#[derive(Debug)]
pub struct Item {
    /// Its number; 0 where it has none.
    pub n: u64,
    /// Its id there.
    pub id: Id,
    /// Its revision there.
    pub revision: u16,
    /// The messages that it becomes here: one for each destination.
    pub drafts: Vec<crate::model::Draft>,
}

/// What became of a message that came by a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Took {
    /// It was taken.
    New = 0,
    /// It was there already.
    Known = 1,
    /// Another message has its number; it was taken all the same.
    Conflict = 2,
}

impl Took {
    /// As it is written.
    #[must_use]
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// What one byte says; `None` where it says nothing.
    #[must_use]
    pub fn of_byte(byte: u8) -> Option<Took> {
        [Took::New, Took::Known, Took::Conflict].into_iter().find(|took| took.byte() == byte)
    }
}

/// The answer to what came by a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What became of each message, in their order.
    pub took: Vec<Took>,
    /// All numbers up to this one are known here.
    pub mark: u64,
    /// The highest number that is known here.
    pub highest: u64,
    /// Ranges of numbers up to the last one given of which nothing is known, the first [`HOLES_MAX`].
    pub holes: Vec<(u64, u64)>,
}

/// How one side of a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamShown {
    /// Which.
    pub stream: Stream,
    /// Whether messages still get numbers of this epoch, as far as is known here.
    pub is_current: bool,
    /// The last number that was given, as far as is known here.
    pub last: u64,
    /// All numbers up to this one are known here: they were taken, or delivered, or ended.
    pub mark: u64,
    /// All numbers up to this one are known on the other side, as it last said; 0 where this side receives.
    pub theirs: u64,
    /// Since when there have been holes; `None` where there is none, or since the start.
    pub gap_since: Option<WallMs>,
    /// When the other side was last heard since the start.
    pub heard_at: Option<WallMs>,
}

/// What a request says of a stream, beside its messages.
pub(super) struct Stretch {
    pub(super) stream: Stream,
    /// The numbers of its messages.
    numbers: HashSet<u64>,
    /// What ended before it came.
    pub(super) ended: Vec<(u64, End)>,
}

/// A message that came by a stream, checked.
pub(super) struct Arrived {
    origin: Origin,
    content: Content,
    incoming: Vec<Incoming>,
}

/// What came by a stream, checked.
pub(super) struct Arrivals {
    stream: Stream,
    last: u64,
    ended: Vec<(u64, End)>,
    items: Vec<Arrived>,
}

impl Arrivals {
    /// The bytes of bodies that it brings along, and of the pages that it writes.
    pub(super) fn bytes(&self) -> usize {
        let all = self.items.iter().flat_map(|item| &item.incoming);
        let bodies: usize = all.map(|one| one.draft.body.len()).sum();
        let numbers = self.items.iter().filter_map(|item| item.origin.number).map(|number| number.n);
        let pages = numbers.chain(self.ended.iter().map(|(n, _)| *n)).map(|n| self.stream.number(n).at().0);
        bodies + pages.collect::<HashSet<_>>().len() * PAGE_NUMBERS * ENTRY_BYTES
    }

    /// The hashes of the keys under which messages without a number are known.
    fn keys(&self) -> impl Iterator<Item = u64> {
        let unnumbered = self.items.iter().filter(|item| item.origin.number.is_none());
        unnumbered.flat_map(|item| {
            let to = item.incoming.iter().map(|one| &one.draft.envelope.destination);
            to.map(|to| idempotency_hash(&own_key(&self.stream.name, &item.origin, item.content, to)))
        })
    }

    /// Checks what came against every limit.
    ///
    /// # Errors
    /// The first message that cannot be taken.
    pub(super) fn check(received: Received, registry: &Registry) -> Result<Arrivals, Error> {
        let Received { source, epoch, last, ended, items } = received;
        if ended.len() > ENDED_MAX {
            return Err(Error::Invalid(format!("{} ends in one request, {ENDED_MAX} are allowed", ended.len())));
        }
        let numbers = ended.iter().map(|(n, _)| *n).chain(items.iter().map(|item| item.n)).chain([last]);
        if numbers.max().unwrap_or(0) > NUMBER_MAX || ended.iter().any(|(n, _)| *n == 0) {
            return Err(Error::Invalid(format!("a number of a stream is 1 to {NUMBER_MAX}")));
        }
        let stream = Stream { side: Side::In, name: source, epoch };
        let each = items.into_iter().map(|Item { n, id, revision, drafts }| {
            let Some(first) = drafts.first() else {
                return Err(Error::Invalid(format!("message {id} goes nowhere")));
            };
            let content = Content::of(id, revision.max(1), &first.envelope, &first.body);
            let number = (n > 0).then(|| stream.number(n));
            let origin = Origin { id, revision: revision.max(1), number };
            // However many it becomes here: who sends it can make it no smaller.
            Ok(Arrived { origin, content, incoming: accept::check_each(drafts, registry)? })
        });
        Ok(Arrivals { items: each.collect::<Result<_, _>>()?, stream, last, ended })
    }
}

/// How a message that came by a stream is met.
enum Met {
    New,
    Known,
    /// Under a key of its own, since its number says nothing; whether it has one.
    Unnumbered(bool),
}

impl Committer {
    pub(super) fn enter_receive(&mut self, draft: &mut Draft, arrivals: Arrivals, reply: Reply<Heard>) {
        let numbers: HashSet<u64> =
            arrivals.items.iter().filter_map(|item| item.origin.number).map(|number| number.n).collect();
        let stretches = draft.accepts.iter().filter_map(|accepting| accepting.stretch.as_ref());
        let mut same = stretches.filter(|stretch| stretch.stream == arrivals.stream);
        let is_met = same.any(|stretch| !stretch.numbers.is_disjoint(&numbers));
        let mut lines = arrivals.items.iter().flat_map(|item| &item.incoming).filter_map(|one| self.line(one));
        let is_repeated = arrivals.keys().any(|hash| draft.repeated.contains(&hash));
        if is_met || is_repeated || lines.any(|line| draft.lines.contains(&line)) {
            return self.put_off.push(Request::Receive(Box::new(arrivals), reply));
        }
        let Arrivals { stream, last, ended, items } = arrivals;
        if !self.registry.books().has_room(&stream, EPOCHS_MAX) {
            let words = format!("source {:?} has begun {EPOCHS_MAX} epochs, and no other is taken", stream.name);
            return reply(Err(Error::Invalid(words)));
        }
        let (mut took, mut fresh, mut own) = (Vec::with_capacity(items.len()), Vec::new(), HashSet::new());
        let mut repeated = HashSet::new();
        for item in items {
            let met = match self.meet_number(&stream, &item, &own) {
                Ok(met) => met,
                Err(error) => return reply(Err(Error::Store(error))),
            };
            let own_number = item.origin.number.map(|number| number.n);
            match self.arrive(&stream.name, item, met, (&mut fresh, &mut repeated), draft) {
                Ok(said) => took.push(said),
                Err(error) => return reply(Err(Error::Store(error))),
            }
            own.extend(own_number);
        }
        let first = draft.batch.accepts.len();
        let slots: Vec<Slot> = (first..first + fresh.len()).map(Slot::New).collect();
        if let Err(error) = self.take_fresh(draft, fresh) {
            return reply(Err(error));
        }
        draft.repeated.extend(repeated);
        self.registry.books().hear(&stream, last, draft.now.wall);
        let (registry, of, now) = (self.registry.clone(), stream.clone(), draft.now.wall);
        let said = move |accepted: Result<Accepted, Error>| {
            reply(accepted.and_then(|_| Ok(heard(&registry, &of, took, now)?)));
        };
        let stretch = Some(Stretch { stream, numbers, ended });
        draft.accepts.push(Accepting { reply: Box::new(said), slots, mark: None, stretch });
    }

    /// Whether the message of this number is known; `own` are the numbers of its request before it.
    fn meet_number(&self, stream: &Stream, item: &Arrived, own: &HashSet<u64>) -> Result<Met, StoreError> {
        let Some(number) = item.origin.number else { return Ok(Met::Unnumbered(false)) };
        if own.contains(&number.n) {
            return Ok(Met::Unnumbered(true));
        }
        let store = &*self.registry.store;
        let (place, known) = match self.registry.books().entry(stream, number.n, store)? {
            // Where it ended, its sender thought better of it.
            Entry::Unknown | Entry::Ended(_) => return Ok(Met::New),
            Entry::There(_, known) if known == item.content => return Ok(Met::Known),
            Entry::There(place, known) => (place, known),
        };
        let record = store.get(place)?;
        let origin = record.and_then(|record| Origin::of(&record.envelope));
        let is_same = origin.map(|origin| origin.id == item.origin.id);
        Ok(match is_same {
            // One that is no longer here is taken for the same where it can be an edit of it.
            Some(true) | None if item.origin.revision > known.revision => Met::New,
            Some(true) if item.origin.revision < known.revision => Met::Known,
            // The same revision with another content comes from a sender that was set back.
            Some(_) | None => Met::Unnumbered(true),
        })
    }

    /// Puts a message that is not known among the fresh ones.
    fn arrive(
        &self,
        source: &str,
        item: Arrived,
        met: Met,
        (fresh, repeated): (&mut Vec<Incoming>, &mut HashSet<u64>),
        draft: &Draft,
    ) -> Result<Took, StoreError> {
        let Arrived { mut origin, content, mut incoming } = item;
        let said = match met {
            Met::Known => return Ok(Took::Known),
            Met::New => Took::New,
            Met::Unnumbered(is_conflict) => {
                origin.number = None;
                for one in &mut incoming {
                    let key = own_key(source, &origin, content, &one.draft.envelope.destination);
                    one.draft.envelope.idempotency_key = Some(key.into());
                }
                if is_conflict { Took::Conflict } else { Took::New }
            }
        };
        let mut is_first = true;
        let before = fresh.len();
        for mut one in incoming {
            if std::mem::take(&mut is_first) {
                one.draft.envelope.headers.push((ORIGIN_HEADER.to_owned(), origin.to_string()));
            }
            let hash = one.draft.envelope.idempotency_key.as_deref().map(idempotency_hash);
            let is_new = matches!(self.window.look_up(&one.draft, &*self.registry.store)?, Repeated::No)
                && hash.is_none_or(|hash| !draft.repeated.contains(&hash) && repeated.insert(hash));
            if is_new {
                fresh.push(self.with_deadline(one, draft.now.wall));
            }
        }
        Ok(if fresh.len() == before && said != Took::Conflict { Took::Known } else { said })
    }
}

/// What names a message whose number says nothing: by what it says too, as whoever is set back twice may edit one in two ways.
fn own_key(source: &str, origin: &Origin, content: Content, to: &str) -> String {
    format!("{KEY_OF_ALL}{source}/{}/{:x}/{to}", origin.id, content.said())
}

/// How a stream stands for whoever sends it.
fn heard(registry: &Registry, stream: &Stream, took: Vec<Took>, now: WallMs) -> Result<Heard, StoreError> {
    let mut books = registry.books();
    let book = books.book_mut(stream);
    // Whoever sends messages wants to know of the nearest only.
    let most = (HOLES_MAX, if took.is_empty() { usize::MAX } else { PAGES_MAX });
    let holes = book.holes(stream, book.announced.max(book.highest), most, &*registry.store)?;
    book.gap(!holes.is_empty(), now);
    Ok(Heard { took, mark: book.mark, highest: book.highest, holes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_that_ends_would_write_counts_towards_what_waits() {
        let stream = Stream { side: Side::In, name: "shop".into(), epoch: 7 };
        let ended = (0..100).map(|page| (1 + page * 1_000, End::Cancelled)).collect();
        let arrivals = Arrivals { stream, last: 0, ended, items: Vec::new() };
        assert_eq!(arrivals.bytes(), 100 * PAGE_NUMBERS * ENTRY_BYTES);
    }
}
