//! The audit log: every act of a person, in a chain of hashes, written with what it did.
//!
//! ```text
//! note 'j' + number   the entry in JSON, then the link of the chain that covers it and the link before
//! note 'J'            the number and the link of the last entry: where a start goes on
//! ```
//!
//! # What holds
//!
//! * An act and its entry are one commit: there is neither without the other.
//! * Numbers are dense from 1. An entry that is changed, cut out, put in or moved breaks the chain, and [`verify`] says where.
//! * Entries that are cut off at the end, together with the note of the last, are seen only by somebody who has a later link: the log prints
//!   it every day and at every start.
//! * No entry holds a body, only its SHA-256.
//!
//! # What it does not know
//!
//! Who may do what, and how an entry is shown.

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use crate::error::Error;
use crate::model::chain::Link;
use crate::model::{Id, Record, State, WallMs};
use crate::store::{Note, Store, StoreError};

/// The first byte of the keys of entries.
const KIND: u8 = b'j';
/// The key of what is known of the last entry.
const HEAD: &[u8] = b"J";
/// The most bytes of a deed that comes from elsewhere; one of ours is shorter.
const ENTRY_BYTES_MAX: usize = 12_000;
/// How often the last link is printed.
const DAY_MS: u64 = 86_400_000;

/// Something that a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Who; empty where a program did that has goniec inside.
    pub who: String,
    /// What, in one word.
    pub act: String,
    /// To what.
    #[serde(default)]
    pub target: Target,
    /// The key of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// More about it, in words: the reason that was given, for instance.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How it stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How it stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The messages, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Id>,
}

/// What a deed was done to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The node.
    #[default]
    Node,
    /// A message.
    Message(Id),
    /// A destination.
    Destination(String),
    /// A bulk job.
    Job(u64),
    /// A token.
    Token(String),
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: WallMs,
    /// What was done.
    #[serde(flatten)]
    pub deed: Deed,
}

/// The last entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number; 0 where there is none.
    pub number: u64,
    /// Its link.
    pub link: Link,
}

/// One page of the log, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The entries with their links.
    pub entries: Vec<(Entry, Link)>,
    /// The number of the next older entry.
    pub next: Option<u64>,
    /// The last entry of all.
    pub head: Head,
}

/// What a check of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soundness {
    /// How many entries are sound, from the first.
    pub entries: u64,
    /// What the store says is the last.
    pub head: Head,
    /// The number of the first entry that is wrong, and how.
    pub wrong: Option<(u64, String)>,
}

impl Deed {
    /// A deed without more.
    #[must_use]
    pub fn new(who: &str, act: &str, target: Target) -> Deed {
        Deed {
            who: who.to_owned(),
            act: act.to_owned(),
            target,
            key: None,
            detail: String::new(),
            before: None,
            after: None,
            messages: Vec::new(),
        }
    }

    /// Whether the log takes it.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub(super) fn check(&self) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_or(0, |value| value.len());
        if bytes > ENTRY_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "an entry of the audit log has at most {ENTRY_BYTES_MAX} bytes, not {bytes}"
            )));
        }
        Ok(())
    }

    /// A deed to a message, which stood so.
    pub(super) fn to_message(who: &str, act: &str, record: &Record) -> Deed {
        Deed {
            key: record.envelope.key.as_deref().map(str::to_owned),
            before: Some(stood(record.state, record.revision)),
            ..Deed::new(who, act, Target::Message(record.id))
        }
    }
}

/// How a message stands, in words.
pub(super) fn stood(state: State, revision: u16) -> String {
    format!("{state}, revision {revision}")
}

/// The end of the chain, where new entries go.
pub(super) struct Log {
    head: Head,
    /// The day on which the head was last printed.
    printed: u64,
}

impl Head {
    const NONE: Head = Head { number: 0, link: Link::START };
}

impl Log {
    /// The chain as the store has it. One whose end cannot be read goes on after what can be read, and [`verify`] tells of it.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn open(registry: &Registry) -> Result<Log, StoreError> {
        let store = &*registry.store;
        let head = match head(store) {
            Ok(head) if head.number > 0 => head,
            Ok(_) => last(store, registry)?,
            Err(StoreError::Damaged(what)) => {
                registry.set_aside(vec![format!("the audit log: {what}")]);
                last(store, registry)?
            }
            Err(error) => return Err(error),
        };
        if head.number > 0 {
            log::info!("the audit log ends with entry {} {}", head.number, head.link);
        }
        Ok(Log { head, printed: 0 })
    }

    /// The deeds as notes, and the chain with them: it counts once they are written.
    pub(super) fn chain<'a>(&self, deeds: impl Iterator<Item = &'a Deed>, at: WallMs) -> (Vec<Note>, Head) {
        let mut head = self.head;
        let mut notes = Vec::new();
        for deed in deeds {
            let entry = Entry { number: head.number + 1, at, deed: deed.clone() };
            // What is short and ours can always be written.
            let mut value = serde_json::to_vec(&entry).unwrap_or_default();
            head = Head { number: entry.number, link: head.link.follow(&value) };
            value.extend(head.link.bytes());
            notes.push(Note { key: key(head.number), value });
        }
        if head != self.head {
            let value = [&head.number.to_be_bytes()[..], &head.link.bytes()].concat();
            notes.push(Note { key: HEAD.to_vec(), value });
        }
        (notes, head)
    }

    /// The notes were written.
    pub(super) fn advance(&mut self, head: Head, now: WallMs) {
        let day = now.0 / DAY_MS;
        if head != self.head && day > self.printed {
            log::info!("audit log: entry {} {}", head.number, head.link);
            self.printed = day;
        }
        self.head = head;
    }
}

fn key(number: u64) -> Vec<u8> {
    [&[KIND][..], &number.to_be_bytes()].concat()
}

/// The last entry, as the store has it.
fn head(store: &dyn Store) -> Result<Head, StoreError> {
    let Some(value) = store.note(HEAD)? else { return Ok(Head::NONE) };
    let broken = || StoreError::Damaged("the end of the audit log".into());
    let (number, link) = value.split_first_chunk::<8>().ok_or_else(broken)?;
    let link: [u8; Link::BYTES] = link.try_into().map_err(|_| broken())?;
    Ok(Head { number: u64::from_be_bytes(*number), link: link.into() })
}

/// What lies where an entry should.
enum Row {
    /// The entry, its bytes, and its link.
    Whole(Box<Entry>, Vec<u8>, Link),
    /// Something that is none.
    Broken(String),
    Absent,
}

impl Row {
    /// The entry; or why it is none.
    fn whole(self) -> Result<(Entry, Vec<u8>, Link), String> {
        match self {
            Row::Whole(entry, bytes, link) => Ok((*entry, bytes, link)),
            Row::Broken(what) => Err(what),
            Row::Absent => Err("it is not there".into()),
        }
    }
}

fn read(store: &dyn Store, number: u64) -> Result<Row, StoreError> {
    let value = match store.note(&key(number)) {
        Ok(Some(value)) => value,
        Ok(None) => return Ok(Row::Absent),
        Err(StoreError::Damaged(what)) => return Ok(Row::Broken(what)),
        Err(error) => return Err(error),
    };
    let Some((bytes, link)) = value.split_last_chunk::<{ Link::BYTES }>() else {
        return Ok(Row::Broken("it is cut short".into()));
    };
    Ok(match serde_json::from_slice(bytes) {
        Ok(entry) => Row::Whole(Box::new(entry), bytes.to_vec(), Link::from(*link)),
        Err(error) => Row::Broken(format!("it is no entry: {error}")),
    })
}

/// The last entry that can be read, where the note of it is lost.
fn last(store: &dyn Store, registry: &Registry) -> Result<Head, StoreError> {
    let mut head = Head::NONE;
    let read = store.notes(&[KIND], &mut |key, value| {
        let number = key.get(1..).and_then(|number| <[u8; 8]>::try_from(number).ok()).map(u64::from_be_bytes);
        if let (Some(number), Some(link)) = (number, value.last_chunk::<{ Link::BYTES }>()) {
            head = Head { number, link: Link::from(*link) };
        }
    });
    match read {
        Ok(()) => Ok(head),
        Err(StoreError::Damaged(what)) => {
            registry.set_aside(vec![format!("the audit log: {what}")]);
            Ok(head)
        }
        Err(error) => Err(error),
    }
}

/// One page: the entries from `before` (not itself) backwards.
///
/// # Errors
/// What hinders the read.
pub(super) fn page(store: &dyn Store, before: Option<u64>, limit: usize) -> Result<Audited, Error> {
    let head = head(store)?;
    let from = before.map_or(head.number, |before| before.saturating_sub(1).min(head.number));
    let mut entries = Vec::new();
    let mut number = from;
    while number > 0 && entries.len() < limit {
        entries.push(match read(store, number)?.whole() {
            Ok((entry, _, link)) => (entry, link),
            Err(what) => {
                let deed = Deed { detail: what, ..Deed::new("", "unreadable", Target::Node) };
                (Entry { number, at: WallMs(0), deed }, Link::START)
            }
        });
        number -= 1;
    }
    Ok(Audited { entries, next: (number > 0).then_some(number + 1), head })
}

/// Follows the chain from its beginning to its end; to `known` where somebody wrote that down.
///
/// # Errors
/// What hinders the read.
pub(super) fn verify(store: &dyn Store, known: Option<Head>) -> Result<Soundness, Error> {
    let mut head = match head(store) {
        Ok(head) => head,
        Err(StoreError::Damaged(what)) => {
            return Ok(Soundness { entries: 0, head: Head::NONE, wrong: Some((0, what)) });
        }
        Err(error) => return Err(error.into()),
    };
    let (mut link, mut number) = (Link::START, 0);
    loop {
        if let Some(wrong) = follow(store, &mut link, &mut number, head, known)? {
            return Ok(Soundness { entries: wrong.0.saturating_sub(1), head, wrong: Some(wrong) });
        }
        // Somebody may have done something meanwhile: then the end is further on. An entry and its end come at once, so they are read in this order.
        let has_more = !matches!(read(store, head.number + 1)?, Row::Absent);
        let now = self::head(store)?;
        if now == head {
            return Ok(Soundness { entries: head.number, head, wrong: end(head, has_more, known) });
        }
        head = now;
    }
}

/// What is wrong at the end of the chain, behind which there is more or not.
fn end(head: Head, has_more: bool, known: Option<Head>) -> Option<(u64, String)> {
    let next = head.number + 1;
    if has_more {
        return Some((next, "it is there, and the log ends before it".into()));
    }
    let cut = known.filter(|known| known.number > head.number);
    cut.map(|known| (next, format!("the log ends before entry {}, which was written down", known.number)))
}

/// Follows the chain up to its end, from the entry after `number`; answers with the first that is wrong, and how.
fn follow(
    store: &dyn Store,
    link: &mut Link,
    number: &mut u64,
    head: Head,
    known: Option<Head>,
) -> Result<Option<(u64, String)>, Error> {
    let wrong = |number: u64, what: String| Ok(Some((number, what)));
    while *number < head.number {
        *number += 1;
        let number = *number;
        let (entry, bytes, own) = match read(store, number)?.whole() {
            Ok(found) => found,
            Err(what) => return wrong(number, what),
        };
        *link = link.follow(&bytes);
        if entry.number != number {
            return wrong(number, format!("it says that it is entry {}", entry.number));
        }
        if own != *link {
            return wrong(number, "it does not follow from the one before: one of them was changed".into());
        }
        if known.is_some_and(|known| known.number == number && known.link != *link) {
            return wrong(number, "it is not the entry that was written down".into());
        }
    }
    if *link != head.link {
        return wrong(head.number, "it is not the last entry that was written".into());
    }
    Ok(None)
}
