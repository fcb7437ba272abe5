//! The ledgers of streams: which numbered messages are there, written by the commits that bring them or end them.
//!
//! ```text
//! sender    accepted ─▶ number (count)      delivered, or ended ─▶ entry
//! receiver  accepted ─▶ entry               the sender says that it ended ─▶ entry
//! ```
//!
//! # What holds
//!
//! * A number is given by the commit that accepts its message, so that numbers have no holes, whatever fails.
//! * An entry stands or falls with what it says: the message that was taken, or what became of it.
//! * That a message ended never takes the place of that it is there.
//!
//! # What it does not know
//!
//! How messages travel, and what a number means to whoever sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::book::Book;
use super::draft::{Cause, Draft};
use super::registry::Registry;
use super::streams::{EPOCHS_MAX, Heard};
use crate::model::ledger::{
    Content, ENTRY_BYTES, End, Entry, NUMBER_HEADER, Number, Origin, PAGE_NUMBERS, Page, Print, source_of,
};
use crate::model::{Envelope, Id, Place, State, WallMs, codec};
use crate::store::{Committed, Dest, Note, PlacedNote, Store, StoreError};
use crate::transport::secret::fresh;

/// The first byte of the keys of ledgers.
const KIND: u8 = b'l';
/// The second byte of the key of a count.
const COUNT: u8 = b'c';

/// Which side of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It sends.
    Out,
    /// It receives.
    In,
}

/// One side of a stream, in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Which side.
    pub side: Side,
    /// The destination where it sends, the source where it receives.
    pub name: Arc<str>,
    /// The epoch, drawn by the sender.
    pub epoch: u64,
}

/// The numbers that were given last to messages for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) epoch: u64,
    pub(super) last: u64,
}

/// All ledgers.
#[derive(Debug, Default)]
pub(super) struct Books {
    books: BTreeMap<Stream, Book>,
    counts: BTreeMap<Arc<str>, Count>,
    /// The names whose epoch was drawn since, and is not yet written down.
    drawn: BTreeSet<Arc<str>>,
}

/// What a commit writes into ledgers.
#[derive(Default)]
pub(super) struct Entering {
    pages: BTreeMap<(Stream, u64), Written>,
    counts: BTreeMap<Arc<str>, Count>,
}

/// A page as a commit leaves it.
#[derive(Default)]
struct Written {
    page: Page,
    /// The positions of messages of this very commit, by their numbers in it.
    places: BTreeMap<usize, usize>,
}

impl Stream {
    pub(super) fn key(&self, page: u64) -> Vec<u8> {
        let side = if self.side == Side::Out { b'o' } else { b'i' };
        [&[KIND, side][..], self.name.as_bytes(), &[0], &self.epoch.to_be_bytes(), &page.to_be_bytes()].concat()
    }

    fn of_key(key: &[u8]) -> Option<(Stream, u64)> {
        let (side, rest) = key.strip_prefix(&[KIND])?.split_first()?;
        let side = [(b'o', Side::Out), (b'i', Side::In)].into_iter().find(|(byte, _)| byte == side)?.1;
        let (rest, page) = rest.split_last_chunk::<8>()?;
        let (name, epoch) = rest.split_last_chunk::<8>()?;
        let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?;
        Some((Stream { side, name: name.into(), epoch: u64::from_be_bytes(*epoch) }, u64::from_be_bytes(*page)))
    }

    /// The number of this epoch.
    #[must_use]
    pub fn number(&self, n: u64) -> Number {
        Number { epoch: self.epoch, n }
    }
}

impl Count {
    fn note(self, name: &str) -> Note {
        // What is short and ours can always be written.
        let value = codec::encode(&(self.epoch, self.last)).unwrap_or_default();
        Note { key: [&[KIND, COUNT][..], name.as_bytes()].concat(), value }
    }
}

/// Whether this is the key of a count: of the numbers that this registry gives, and no other may.
pub(super) fn is_count(key: &[u8]) -> bool {
    key.starts_with(&[KIND, COUNT])
}

/// A note without what it says of lost messages that came by a stream; any other note as it is.
pub(super) fn without(note: Note, is_lost: &dyn Fn(Place) -> bool) -> Note {
    let came = Stream::of_key(&note.key).is_some_and(|(stream, _)| stream.side == Side::In);
    let Some(mut page) = Page::read(note.value.clone()).filter(|_| came) else { return note };
    for at in 0..PAGE_NUMBERS {
        if matches!(page.entry(at), Entry::There(place, _) if is_lost(place)) {
            page.set(at, Entry::Unknown);
        }
    }
    Note { value: page.bytes().to_vec(), ..note }
}

/// Sixty-four random bits.
fn epoch() -> Result<u64, StoreError> {
    let io = |why: String| StoreError::Io(std::io::Error::other(why));
    let random = fresh().map_err(io)?;
    u64::from_str_radix(random.get(..16).unwrap_or_default(), 16).map_err(|error| io(error.to_string()))
}

impl Books {
    /// The ledgers as they are written, and a count for each destination that numbers its messages.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn open(registry: &Registry) -> Result<Books, StoreError> {
        let mut books = Books::default();
        let mut damaged = Vec::new();
        let read = registry.store.notes(&[KIND], &mut |key, value| {
            if let Some(name) = key.strip_prefix(&[KIND, COUNT]) {
                match (std::str::from_utf8(name), codec::decode::<(u64, u64)>(value)) {
                    (Ok(name), Ok((epoch, last))) => drop(books.counts.insert(name.into(), Count { epoch, last })),
                    (_, _) => damaged.push("the count of a stream: it begins a new epoch".to_owned()),
                }
            } else if let (Some((stream, page)), Some(read)) = (Stream::of_key(key), Page::read(value.to_vec())) {
                books.books.entry(stream).or_default().put(page, read);
            }
        });
        match read {
            Ok(()) => {}
            Err(StoreError::Damaged(why)) => damaged.push(format!("a page of the ledger of a stream: {why}")),
            Err(error) => return Err(error),
        }
        registry.set_aside(damaged);
        for (stream, book) in &mut books.books {
            book.rise(stream, &*registry.store);
        }
        for (_, rules) in registry.lanes() {
            let Some(rules) = rules.filter(|rules| rules.is_numbered) else { continue };
            let count = match books.count(&rules.name) {
                Some(count) => count,
                None => Count { epoch: epoch()?, last: 0 },
            };
            books.counts.insert(rules.name.clone(), count);
            let _known = books.book_mut(&Stream { side: Side::Out, name: rules.name.clone(), epoch: count.epoch });
        }
        Ok(books)
    }

    /// The numbers that were given last to messages for this destination.
    pub(super) fn count(&self, name: &str) -> Option<Count> {
        self.counts.get(name).copied()
    }

    /// All sides of streams of which anything is known.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Stream, &Book)> {
        self.books.iter()
    }

    /// Whether this stream is known, or one more of its name may be.
    pub(super) fn has_room(&self, stream: &Stream, most: usize) -> bool {
        let first = Stream { epoch: 0, ..stream.clone() };
        let of_name = self.books.range(first..).take_while(|(known, _)| known.name == stream.name);
        self.books.contains_key(stream) || of_name.take(most).count() < most
    }

    pub(super) fn book(&self, stream: &Stream) -> Option<&Book> {
        self.books.get(stream)
    }

    pub(super) fn book_mut(&mut self, stream: &Stream) -> &mut Book {
        if !self.books.contains_key(stream) {
            self.books.insert(stream.clone(), Book::default());
        }
        self.books.entry(stream.clone()).or_default()
    }

    /// What is kept of a number.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn entry(&self, stream: &Stream, n: u64, store: &dyn Store) -> Result<Entry, StoreError> {
        let (page, at) = stream.number(n).at();
        let Some(book) = self.books.get(stream) else { return Ok(Entry::Unknown) };
        book.look(stream, page, store, |page| page.entry(at))
    }

    /// These pages of a stream in short.
    pub(super) fn print(&self, stream: &Stream, pages: Range<u64>) -> Print {
        let prints = self.books.get(stream).into_iter().flat_map(|book| book.prints(pages.clone()));
        prints.fold(Print::default(), |all, (_, print)| all.and(print))
    }

    /// The sender of a stream says which number it gave last.
    pub(super) fn hear(&mut self, stream: &Stream, last: u64, now: WallMs) {
        let book = self.book_mut(stream);
        book.announced = book.announced.max(last);
        book.heard_at = Some(now);
    }

    /// What the receiver of a stream says of it: how far it knows it, and whether it has holes.
    pub(super) fn told(&mut self, stream: &Stream, heard: &Heard, now: WallMs) {
        let book = self.book_mut(stream);
        book.theirs = heard.mark;
        book.heard_at = Some(now);
        book.gap(!heard.holes.is_empty(), now);
    }

    /// From now on messages for this destination are counted anew, where they are still counted in this epoch. The next commit writes that down,
    /// so that no start goes back to it.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn renew(&mut self, name: &str, stale: u64) -> Result<bool, StoreError> {
        let any = Stream { side: Side::Out, name: name.into(), epoch: u64::MAX };
        if !self.has_room(&any, EPOCHS_MAX) {
            return Ok(false);
        }
        let Some(count) = self.counts.get_mut(name).filter(|count| count.epoch == stale) else { return Ok(false) };
        *count = Count { epoch: epoch()?, last: 0 };
        let stream = Stream { side: Side::Out, name: name.into(), epoch: count.epoch };
        let _new = self.book_mut(&stream);
        self.drawn.insert(stream.name);
        Ok(true)
    }

    /// Gives the new messages of the batch their numbers, and reckons what it writes into ledgers.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn enter(&self, draft: &mut Draft, registry: &Registry) -> Result<Entering, StoreError> {
        let drawn = self.drawn.iter().filter_map(|name| Some((name.clone(), self.count(name)?)));
        let mut entering = Entering { counts: drawn.collect(), ..Entering::default() };
        let is_numbered = |dest: Dest| registry.rules(dest).filter(|rules| rules.is_numbered).map(|rules| &rules.name);
        for (position, incoming) in draft.batch.accepts.iter_mut().enumerate() {
            if let Some(name) = is_numbered(incoming.dest) {
                let number = entering.number(name, self)?;
                give(&mut incoming.draft.envelope, number);
                if incoming.newer.is_some() {
                    let stream = Stream { side: Side::Out, name: name.clone(), epoch: number.epoch };
                    entering.page(&stream, number.n, self, registry)?.end(number, End::Superseded);
                }
            }
            let envelope = &incoming.draft.envelope;
            if let Some((stream, origin, number)) = came(envelope) {
                let content = Content::of(origin.id, origin.revision, envelope, &incoming.draft.body);
                entering.page(&stream, number.n, self, registry)?.there(number, content, position);
            }
        }
        for (step, cause) in draft.batch.moves.iter().zip(&draft.causes) {
            let Some(name) = is_numbered(cause.who().dest).filter(|_| step.to.is_final()) else { continue };
            let Some((id, envelope)) = cause.what() else { continue };
            let Some(number) = Number::of(envelope) else { continue };
            let stream = Stream { side: Side::Out, name: name.clone(), epoch: number.epoch };
            let page = entering.page(&stream, number.n, self, registry)?;
            match step.to {
                State::Delivered => {
                    let content = content(cause, id, envelope, step.expect.revision, step.place, &*registry.store)?;
                    page.set(number, Entry::There(step.place, content));
                }
                State::Abandoned(why) => page.end(number, why.into()),
                State::Queued(_) | State::Sending(_) | State::Failed(_) => {}
            }
        }
        for asking in &draft.deletes {
            let record = &asking.record;
            if let Some((name, number)) = is_numbered(asking.who.dest).zip(Number::of(&record.envelope)) {
                let stream = Stream { side: Side::Out, name: name.clone(), epoch: number.epoch };
                entering.page(&stream, number.n, self, registry)?.end(number, End::Deleted);
            }
            if let Some((stream, _, number)) = came(&record.envelope) {
                entering.page(&stream, number.n, self, registry)?.remove(number, record.place);
            }
        }
        for came in draft.accepts.iter().filter_map(|accepting| accepting.stretch.as_ref()) {
            for (n, end) in &came.ended {
                entering.page(&came.stream, *n, self, registry)?.end(came.stream.number(*n), *end);
            }
        }
        draft.batch.pages = entering.pages();
        Ok(entering)
    }

    /// Takes over what a commit wrote.
    pub(super) fn adopt(&mut self, entering: Entering, committed: &Committed, store: &dyn Store) {
        for (name, count) in entering.counts {
            // One that began anew meanwhile stays so.
            if let Some(own) = self.counts.get_mut(&name).filter(|own| own.epoch == count.epoch) {
                *own = count;
                self.drawn.remove(&name);
            }
        }
        let mut touched: Vec<Stream> = Vec::new();
        for ((stream, number), Written { mut page, places }) in entering.pages {
            for (at, accepted) in places {
                if let (Entry::There(_, content), Some((_, place))) = (page.entry(at), committed.accepted.get(accepted))
                {
                    page.set(at, Entry::There(*place, content));
                }
            }
            self.book_mut(&stream).put(number, page);
            if touched.last() != Some(&stream) {
                touched.push(stream);
            }
        }
        for stream in touched {
            self.book_mut(&stream).rise(&stream, store);
        }
    }
}

/// Writes its number into the envelope, in the place of one that a commit did not keep.
fn give(envelope: &mut Envelope, number: Number) {
    envelope.headers.retain(|(name, _)| name != NUMBER_HEADER);
    envelope.headers.push((NUMBER_HEADER.to_owned(), number.to_string()));
}

/// The stream that a message came by, what it was there, and its number.
fn came(envelope: &Envelope) -> Option<(Stream, Origin, Number)> {
    let origin = Origin::of(envelope)?;
    let (number, name) = (origin.number?, source_of(envelope)?);
    Some((Stream { side: Side::In, name: name.into(), epoch: number.epoch }, origin, number))
}

/// What was delivered: as it was sent, or as it stands where a person says that it arrived.
fn content(
    cause: &Cause,
    id: Id,
    envelope: &Envelope,
    revision: u16,
    place: Place,
    store: &dyn Store,
) -> Result<Content, StoreError> {
    if let Cause::Report(report) = cause {
        return Ok(Content::of(id, revision, envelope, &report.loaded.message.body));
    }
    let body = store.load(place)?.map(|loaded| loaded.message.body).unwrap_or_else(|| [].into());
    Ok(Content::of(id, revision, envelope, &body))
}

impl Entering {
    /// The next number for this destination.
    fn number(&mut self, name: &Arc<str>, books: &Books) -> Result<Number, StoreError> {
        let known = self.counts.get(name).copied().or_else(|| books.count(name));
        let mut count = match known {
            Some(count) => count,
            None => Count { epoch: epoch()?, last: 0 },
        };
        count.last = count.last.saturating_add(1);
        self.counts.insert(name.clone(), count);
        Ok(Number { epoch: count.epoch, n: count.last })
    }

    /// The page of a number, as this commit leaves it so far.
    fn page(
        &mut self,
        stream: &Stream,
        n: u64,
        books: &Books,
        registry: &Registry,
    ) -> Result<&mut Written, StoreError> {
        let key = (stream.clone(), stream.number(n).at().0);
        if !self.pages.contains_key(&key) {
            let page = match books.book(stream) {
                Some(book) => book.page(stream, key.1, &*registry.store)?,
                None => Page::default(),
            };
            self.pages.insert(key.clone(), Written { page, places: BTreeMap::new() });
        }
        Ok(self.pages.entry(key).or_default())
    }

    fn pages(&self) -> Vec<PlacedNote> {
        let note = |((stream, number), written): (&(Stream, u64), &Written)| PlacedNote {
            note: Note { key: stream.key(*number), value: written.page.bytes().to_vec() },
            places: written.places.iter().map(|(at, accepted)| (at * ENTRY_BYTES, *accepted)).collect(),
        };
        self.pages.iter().map(note).collect()
    }

    /// The notes of the counts.
    pub(super) fn notes(&self) -> impl Iterator<Item = Note> + '_ {
        self.counts.iter().map(|(name, count)| count.note(name))
    }
}

impl Written {
    fn set(&mut self, number: Number, entry: Entry) {
        let (_, at) = number.at();
        self.places.remove(&at);
        self.page.set(at, entry);
    }

    /// A message of this very commit is there.
    fn there(&mut self, number: Number, content: Content, accepted: usize) {
        self.set(number, Entry::There(Place::from_u64(0), content));
        self.places.insert(number.at().1, accepted);
    }

    /// It ended, unless it is there.
    fn end(&mut self, number: Number, end: End) {
        if !matches!(self.page.entry(number.at().1), Entry::There(..)) {
            self.set(number, Entry::Ended(end));
        }
    }

    /// A person removed it from where it lay. It may have gone on from here, so nobody is asked for it: it came, and ended.
    fn remove(&mut self, number: Number, place: Place) {
        if matches!(self.page.entry(number.at().1), Entry::There(known, _) if known == place) {
            self.set(number, Entry::Ended(End::Deleted));
        }
    }
}

const _: () = assert!(PAGE_NUMBERS * ENTRY_BYTES <= crate::store::NOTE_BYTES_MAX);
