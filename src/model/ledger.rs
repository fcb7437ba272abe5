//! The ledger of a stream: which of its numbered messages are there, and which will never come.
//!
//! Messages from one registry to one destination are numbered from 1 without holes within an epoch. Sender and receiver each keep, for every
//! number, sixteen bytes: where the message lies, what it says in short, and which revision that was; or why it ended before it came. What both
//! sides keep of a number is the same where both agree.
//!
//! ```text
//! page of 256 numbers   entry, 16 bytes:  place 8   digest 6   revision 2
//! ```
//!
//! # What holds
//!
//! * An entry that was never written reads as [`Entry::Unknown`], whatever is beside it.
//! * The print of a page is the sum of those of its entries, so that one entry changes it without the others being read.
//!
//! # What it does not know
//!
//! Which stream a page belongs to, where it lies, and who has which side.

use std::fmt;
use std::str::FromStr;

use super::chain::Link;
use super::id::{Id, Place};
use super::message::Envelope;
use super::policy::scatter;
use super::state::Abandoned;

/// How many numbers a page has.
pub const PAGE_NUMBERS: usize = 256;
/// How many bytes an entry has.
pub const ENTRY_BYTES: usize = 16;
/// How many bytes a page has.
pub const PAGE_BYTES: usize = PAGE_NUMBERS * ENTRY_BYTES;
/// The highest number: no registry gives so many, and what is beyond is nobody's.
pub const NUMBER_MAX: u64 = 1 << 62;
/// The header of a message that has a number in the stream to its destination. Only goniec sets it, and it never leaves.
pub const NUMBER_HEADER: &str = "goniec-number";
/// The header of a message that came by a stream: what it was where it came from. Only goniec sets it, and it never leaves.
pub const ORIGIN_HEADER: &str = "goniec-origin";

/// The header of a message that names the source it came from. Only goniec sets it, and it never leaves.
pub const SOURCE_HEADER: &str = "goniec-source";

const DIGEST_BYTES: usize = 6;

/// The number of a message in its stream: dense from 1 within an epoch, given with its acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    /// Which count it is of; drawn anew where a registry cannot know which numbers it gave before.
    pub epoch: u64,
    /// The number, from 1.
    pub n: u64,
}

/// What a message was where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its id there.
    pub id: Id,
    /// The revision that was sent.
    pub revision: u16,
    /// Its number; `None` where it has none, or another message has it here.
    pub number: Option<Number>,
}

/// What a message says, in short: enough to tell whether both sides have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The beginning of a SHA-256 over the sender's id, key, type, version and body.
    pub digest: [u8; DIGEST_BYTES],
    /// The revision, from 1.
    pub revision: u16,
}

/// What a ledger keeps of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: it has not come, or was taken out of the registry.
    Unknown,
    /// The message was taken, or delivered: it lies, or lay, here.
    There(Place, Content),
    /// It ended at its sender before it was delivered.
    Ended(End),
}

/// What [`Entry::said`] says where nothing is known: no content has it, as a revision is never 0.
pub const UNSAID: u64 = 0;

/// Why a message ended before it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// A newer one took its place.
    Superseded = 1,
    /// A person gave it up.
    Cancelled = 2,
    /// A person removed it.
    Deleted = 3,
    /// Its deadline passed.
    Expired = 4,
    /// It was refused.
    Rejected = 5,
    /// Every attempt failed.
    Exhausted = 6,
}

/// Two hundred and fifty-six entries.
#[derive(Clone, PartialEq, Eq)]
pub struct Page(Vec<u8>);

/// A page, or a range of numbers, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Print {
    /// How many of its numbers are known.
    pub known: u64,
    /// The prints of their entries, combined by exclusive or: the same entries give the same, in whatever order they came.
    pub mixed: u64,
}

impl Number {
    /// The page that it stands on, and where there.
    #[must_use]
    pub fn at(self) -> (u64, usize) {
        let before = self.n.saturating_sub(1);
        let per_page = PAGE_NUMBERS as u64;
        (before / per_page, usize::try_from(before % per_page).unwrap_or(0))
    }

    /// The number in a header of the message, where it has one there.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Option<Number> {
        header(envelope, NUMBER_HEADER)?.parse().ok()
    }
}

/// The first number of a page.
#[must_use]
pub fn first_of(page: u64) -> u64 {
    page.saturating_mul(PAGE_NUMBERS as u64).saturating_add(1)
}

/// Whether a header only says which number a message has, or what it was where it came from.
#[must_use]
pub fn is_of_ledger(header: &str) -> bool {
    header == NUMBER_HEADER || header == ORIGIN_HEADER
}

/// The source that a message came from, where one handed it in.
#[must_use]
pub fn source_of(envelope: &Envelope) -> Option<&str> {
    header(envelope, SOURCE_HEADER)
}

fn header<'a>(envelope: &'a Envelope, name: &str) -> Option<&'a str> {
    envelope.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.epoch, self.n)
    }
}

impl FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Number, ()> {
        let (epoch, n) = text.split_once('.').ok_or(())?;
        let n = n.parse().ok().filter(|n| (1..=NUMBER_MAX).contains(n)).ok_or(())?;
        Ok(Number { epoch: u64::from_str_radix(epoch, 16).map_err(|_| ())?, n })
    }
}

impl Origin {
    /// What a header of the message says of it.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Option<Origin> {
        header(envelope, ORIGIN_HEADER)?.parse().ok()
    }
}

/// `ID/REVISION/EPOCH.N`, the last without a number as `-`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.id, self.revision)?;
        match self.number {
            Some(number) => number.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Origin, ()> {
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().ok_or(());
        let (id, revision, number) = (part()?, part()?, part()?);
        Ok(Origin {
            id: id.parse().map_err(|_| ())?,
            revision: revision.parse().map_err(|_| ())?,
            number: if number == "-" { None } else { Some(number.parse()?) },
        })
    }
}

impl Content {
    /// Of a message: its id where it was first accepted, its words, and its newest body.
    #[must_use]
    pub fn of(id: Id, revision: u16, envelope: &Envelope, body: &[u8]) -> Content {
        let mut bytes = Vec::with_capacity(64 + body.len());
        bytes.extend_from_slice(&id.to_bytes());
        for word in [&envelope.key, &envelope.kind] {
            // What has no word is told from what has an empty one.
            let length = word.as_ref().map_or(u32::MAX, |word| u32::try_from(word.len()).unwrap_or(u32::MAX));
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(word.as_deref().unwrap_or_default().as_bytes());
        }
        bytes.push(u8::from(envelope.version.is_some()));
        bytes.extend_from_slice(&envelope.version.unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(body);
        let whole = Link::over(&bytes).bytes();
        Content { digest: whole.first_chunk().copied().unwrap_or_default(), revision }
    }

    /// What [`Entry::said`] says of a message that is there; `None` where it says anything else.
    #[must_use]
    pub fn of_said(said: u64) -> Option<Content> {
        let [a, b, c, d, e, f, high, low] = said.to_be_bytes();
        let is_content = said != UNSAID && End::of_said(said).is_none();
        is_content.then(|| Content { digest: [a, b, c, d, e, f], revision: u16::from_be_bytes([high, low]) })
    }

    /// In one number: never [`UNSAID`].
    #[must_use]
    pub fn said(self) -> u64 {
        let [a, b, c, d, e, f] = self.digest;
        let [high, low] = self.revision.to_be_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, high, low])
    }
}

impl Entry {
    /// What is the same on both sides where they agree; 0 where nothing is known.
    #[must_use]
    pub fn print(self, n: u64) -> u64 {
        match self.said() {
            UNSAID => 0,
            said => scatter(said ^ scatter(n)),
        }
    }

    /// The same in one number: [`UNSAID`] where nothing is known.
    #[must_use]
    pub fn said(self) -> u64 {
        match self {
            Entry::Unknown => UNSAID,
            Entry::There(_, content) => content.said(),
            Entry::Ended(end) => u64::MAX - u64::from(end as u8),
        }
    }

    fn read(bytes: &[u8; ENTRY_BYTES]) -> Entry {
        let place = u64::from_be_bytes(bytes.first_chunk().copied().unwrap_or_default());
        let end = End::of_said(place);
        let digest = bytes.get(8..14).and_then(|digest| digest.try_into().ok()).unwrap_or_default();
        let revision = u16::from_be_bytes(bytes.last_chunk().copied().unwrap_or_default());
        match (end, revision) {
            (Some(end), _) => Entry::Ended(end),
            (None, 0) => Entry::Unknown,
            (None, revision) => Entry::There(Place::from_u64(place), Content { digest, revision }),
        }
    }

    fn bytes(self) -> [u8; ENTRY_BYTES] {
        let (place, digest, revision) = match self {
            Entry::Unknown => (0, [0; DIGEST_BYTES], 0),
            Entry::There(place, Content { digest, revision }) => (place.to_u64(), digest, revision.max(1)),
            Entry::Ended(end) => (u64::MAX - u64::from(end as u8), [0; DIGEST_BYTES], 0),
        };
        let mut bytes = [0; ENTRY_BYTES];
        let parts = place.to_be_bytes().into_iter().chain(digest).chain(revision.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }
}

impl End {
    /// Every reason.
    pub const ALL: [End; 6] =
        [End::Superseded, End::Cancelled, End::Deleted, End::Expired, End::Rejected, End::Exhausted];

    /// The reason of one byte; `None` where it stands for none.
    #[must_use]
    pub fn of_byte(byte: u8) -> Option<End> {
        End::ALL.into_iter().find(|end| *end as u8 == byte)
    }

    /// The reason that [`Entry::said`] says.
    #[must_use]
    pub fn of_said(said: u64) -> Option<End> {
        End::ALL.into_iter().find(|end| u64::MAX - u64::from(*end as u8) == said)
    }

    /// The reason, as the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            End::Superseded => "superseded",
            End::Cancelled => "cancelled",
            End::Deleted => "deleted",
            End::Expired => "expired",
            End::Rejected => "rejected",
            End::Exhausted => "exhausted",
        }
    }
}

impl From<Abandoned> for End {
    fn from(reason: Abandoned) -> End {
        match reason {
            Abandoned::Exhausted => End::Exhausted,
            Abandoned::Rejected => End::Rejected,
            Abandoned::Expired => End::Expired,
            Abandoned::Superseded(_) => End::Superseded,
            Abandoned::Cancelled => End::Cancelled,
        }
    }
}

impl Default for Page {
    fn default() -> Page {
        Page(vec![0; PAGE_BYTES])
    }
}

impl Page {
    /// The page of these bytes; `None` where they are none.
    #[must_use]
    pub fn read(bytes: Vec<u8>) -> Option<Page> {
        (bytes.len() == PAGE_BYTES).then_some(Page(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The entry at this position.
    #[must_use]
    pub fn entry(&self, at: usize) -> Entry {
        let (entries, _) = self.0.as_chunks::<ENTRY_BYTES>();
        entries.get(at).map_or(Entry::Unknown, Entry::read)
    }

    /// Writes an entry.
    pub fn set(&mut self, at: usize, entry: Entry) {
        let (entries, _) = self.0.as_chunks_mut::<ENTRY_BYTES>();
        if let Some(place) = entries.get_mut(at) {
            *place = entry.bytes();
        }
    }

    /// All entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.as_chunks::<ENTRY_BYTES>().0.iter().map(Entry::read)
    }

    /// The page in short; `page` is its number.
    #[must_use]
    pub fn print(&self, page: u64) -> Print {
        (first_of(page)..).zip(self.entries()).fold(Print::default(), |print, (n, entry)| print.with(entry, n))
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries().enumerate().filter(|(_, entry)| *entry != Entry::Unknown)).finish()
    }
}

impl Print {
    /// With this entry too.
    #[must_use]
    pub fn with(self, entry: Entry, n: u64) -> Print {
        Print { known: self.known + u64::from(entry != Entry::Unknown), mixed: self.mixed ^ entry.print(n) }
    }

    /// Of both ranges together.
    #[must_use]
    pub fn and(self, other: Print) -> Print {
        Print { known: self.known + other.known, mixed: self.mixed ^ other.mixed }
    }

    /// Whether a page has no hole.
    #[must_use]
    pub fn is_whole_page(self) -> bool {
        self.known == PAGE_NUMBERS as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeTag, WallMs};

    fn id() -> Id {
        Id::compose(WallMs(7), NodeTag::new(3), Place::new(9, 4))
    }

    #[test]
    fn entries_are_read_as_they_are_written() {
        let content = Content { digest: [1, 2, 3, 4, 5, 6], revision: 2 };
        let there = Entry::There(Place::from_u64(0), content);
        let mut page = Page::default();
        page.set(0, there);
        page.set(255, Entry::There(Place::from_u64((1 << 62) - 1), content));
        End::ALL.into_iter().enumerate().for_each(|(at, end)| page.set(at + 1, Entry::Ended(end)));
        let again = Page::read(page.bytes().to_vec()).expect("a page");
        assert_eq!(again.entry(0), there);
        assert_eq!(Content::of_said(there.said()), Some(content));
        assert_eq!([Entry::Unknown, again.entry(6)].map(|entry| Content::of_said(entry.said())), [None, None]);
        assert_eq!(again.entry(6), Entry::Ended(End::Exhausted));
        assert_eq!(again.entry(7), Entry::Unknown);
        assert_eq!(again.print(3), page.print(3));
        assert_eq!(page.print(3).known, 8);
        assert_ne!(page.print(3).mixed, page.print(4).mixed, "a number is part of its print");
        page.set(0, Entry::Unknown);
        assert_ne!(again.print(3).mixed, page.print(3).mixed);
        assert_eq!(Page::read(vec![0; 4]), None);
    }

    #[test]
    fn content_is_all_that_both_sides_must_agree_on() {
        let envelope = |key: Option<&str>, kind: Option<&str>, version| Envelope {
            key: key.map(Into::into),
            kind: kind.map(Into::into),
            version,
            ..Envelope::default()
        };
        let all = [
            Content::of(id(), 1, &envelope(Some("a"), Some("b"), Some(0)), b"x"),
            Content::of(id(), 1, &envelope(Some("a"), Some("b"), None), b"x"),
            Content::of(id(), 1, &envelope(Some("ab"), Some(""), None), b"x"),
            Content::of(id(), 1, &envelope(Some("ab"), None, None), b"x"),
            Content::of(id(), 1, &envelope(None, None, None), b"abx"),
            Content::of(Id::from_bytes([0; 16]), 1, &envelope(None, None, None), b"abx"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other.digest != one.digest), "{at}");
        }
    }

    #[test]
    fn numbers_and_origins_are_read_as_they_are_written() {
        let number = Number { epoch: u64::MAX, n: 257 };
        assert_eq!(number.at(), (1, 0));
        assert_eq!((first_of(1), Number { n: 256, ..number }.at()), (257, (0, 255)));
        assert_eq!(number.to_string().parse(), Ok(number));
        for number in [None, Some(number)] {
            let origin = Origin { id: id(), revision: 3, number };
            assert_eq!(origin.to_string().parse(), Ok(origin));
        }
        for wrong in ["", "1", "g.1", "1.0", "1.-1", "1.18446744073709551616"] {
            assert_eq!(wrong.parse::<Number>(), Err(()), "{wrong}");
            assert_eq!(format!("{}/1/{wrong}", id()).parse::<Origin>(), Err(()), "{wrong}");
        }
    }
}
