//! Accepting: what is handed in is checked against every limit before it is written down.
//!
//! # What holds
//!
//! * A request is taken whole or not at all, and every limit has its name here.
//! * The same idempotency key names the same message: a repetition within the window answers with the id that was given first.
//!
//! # What it does not know
//!
//! How drafts came, and when they are durable.

use std::collections::{HashMap, VecDeque};

use super::after;
use super::fence::VERSIONED_KEY_BYTES_MAX;
use super::mark::{self, Mark};
use super::place_map::PlaceHash;
use super::registry::Registry;
use super::request::Request;
use super::words::{Accepted, Reply};
use super::{Engine, answer};
use crate::error::Error;
use crate::model::ledger::SOURCE_HEADER;
use crate::model::ledger::is_of_ledger;
use crate::model::{Draft, Envelope, Id, Place, Queued};
use crate::store::{Incoming, KEY_OF_ALL, Store, StoreError, idempotency_hash, idempotency_name};

/// The most messages of one request.
pub const MESSAGES_MAX: usize = 10_000;
/// The most bytes of one request's bodies.
pub const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// The longest key, idempotency key, type or content type, in bytes.
pub const WORD_BYTES_MAX: usize = 512;
/// The most bytes of a message's own headers, names and values together.
pub const HEADER_BYTES_MAX: usize = 4_096;
/// The most headers of a message's own. Empty ones take room, too.
const HEADERS_MAX: usize = 512;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_MS: u64 = 86_400_000;
/// How many idempotency keys are remembered at most: the newest.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1_000_000;

impl Engine {
    /// Takes messages, all or none; answers with their ids once they are durable. Never blocks: a full engine answers [`Error::Busy`].
    pub fn accept(&self, drafts: Vec<Draft>, reply: Reply<Accepted>) {
        self.take_in(drafts, None, reply, false);
    }

    /// Takes messages, all or none, and returns their ids once they are durable. Waits while the engine is full.
    ///
    /// # Errors
    /// Nothing of it was kept.
    pub fn accept_wait(&self, drafts: Vec<Draft>) -> Result<Vec<Id>, Error> {
        let (reply, answer) = answer();
        self.take_in(drafts, None, reply, true);
        answer().map(|accepted: Accepted| accepted.ids)
    }

    /// Takes messages and moves a mark, all or none; answers once that is durable. There may be no messages. Never blocks.
    pub fn accept_marked(&self, drafts: Vec<Draft>, mark: Mark, reply: Reply<Accepted>) {
        self.take_in(drafts, Some(mark), reply, false);
    }

    /// The same; waits while the engine is full, and until it is durable.
    ///
    /// # Errors
    /// [`Error::Marked`] where the mark is another by now; nothing of it was kept.
    pub fn accept_marked_wait(&self, drafts: Vec<Draft>, mark: Mark) -> Result<Vec<Id>, Error> {
        let (reply, answer) = answer();
        self.take_in(drafts, Some(mark), reply, true);
        answer().map(|accepted: Accepted| accepted.ids)
    }

    /// The mark of this name, as it was last written; `None` where there is none.
    ///
    /// # Errors
    /// What hinders the read. An engine that failed gives none: what it wrote last may not have become durable, and nobody may go on from there.
    pub fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let mark = mark::read(&*self.shared.registry.store, name)?;
        self.failure().map_or(Ok(mark), Err)
    }

    /// Whether these messages can be taken at all, as far as they and the limits tell. Nothing is kept.
    ///
    /// # Errors
    /// The first that cannot be, as [`Engine::accept`] says it.
    pub fn check(&self, drafts: Vec<Draft>) -> Result<(), Error> {
        check(drafts, &self.shared.registry).map(drop)
    }

    fn take_in(&self, drafts: Vec<Draft>, mark: Option<Mark>, reply: Reply<Accepted>, wait: bool) {
        if let Some(error) = self.shared.no_room() {
            return reply(Err(error));
        }
        if let Some(Err(error)) = mark.as_ref().map(Mark::check) {
            return reply(Err(error));
        }
        match check(drafts, &self.shared.registry) {
            Ok(incoming) if incoming.is_empty() && mark.is_none() => reply(Ok(Accepted::default())),
            Ok(incoming) => self.shared.hand_in(Request::Accept(incoming, mark, reply), wait),
            Err(error) => reply(Err(error)),
        }
    }
}

/// Checks the drafts of one request and gives each its destination's number.
///
/// # Errors
/// The first draft that cannot be taken, by its position where there are several.
pub(super) fn check(drafts: Vec<Draft>, registry: &Registry) -> Result<Vec<Incoming>, Error> {
    if drafts.len() > MESSAGES_MAX {
        return Err(Error::Invalid(format!("{} messages in one request, {MESSAGES_MAX} are allowed", drafts.len())));
    }
    let bytes: u64 = drafts.iter().map(|draft| length(&draft.body)).sum();
    let is_single = drafts.len() == 1;
    if bytes > REQUEST_BYTES_MAX && !is_single {
        return Err(Error::TooLarge { bytes, bytes_max: REQUEST_BYTES_MAX });
    }
    check_each(drafts, registry)
}

/// The same where what they come to together is another's to limit.
///
/// # Errors
/// The first draft that cannot be taken, by its position where there are several.
pub(super) fn check_each(drafts: Vec<Draft>, registry: &Registry) -> Result<Vec<Incoming>, Error> {
    let is_single = drafts.len() == 1;
    let mut incoming = Vec::with_capacity(drafts.len());
    for (position, draft) in drafts.into_iter().enumerate() {
        let checked = check_one(draft, registry);
        match checked {
            Ok(one) => incoming.push(one),
            Err(Error::Invalid(what)) if !is_single => {
                return Err(Error::Invalid(format!("message {}: {what}", position + 1)));
            }
            Err(Error::After(what)) if !is_single => {
                return Err(Error::After(format!("message {}: {what}", position + 1)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(incoming)
}

fn check_one(mut draft: Draft, registry: &Registry) -> Result<Incoming, Error> {
    // What a ledger says of a message is never the sender's to say.
    draft.envelope.headers.retain(|(name, _)| !is_of_ledger(name));
    let dest = registry.open_destination(&draft.envelope.destination)?;
    let cycle = registry.rules(dest).and_then(|rules| rules.only_cycle());
    check_body(length(&draft.body), registry)?;
    after::check(&mut draft, WORD_BYTES_MAX)?;
    let envelope = &draft.envelope;
    let words = [
        ("key", &envelope.key),
        ("type", &envelope.kind),
        ("content type", &envelope.content_type),
        ("idempotency key", &envelope.idempotency_key),
        ("traceparent", &envelope.traceparent),
    ];
    for (name, word) in words {
        let bytes = word.as_ref().map_or(0, |word| word.len());
        if bytes > WORD_BYTES_MAX {
            return Err(Error::Invalid(format!("the {name} has {bytes} bytes, {WORD_BYTES_MAX} are allowed")));
        }
    }
    // What says where a message came from is ours, and takes nothing of its room.
    let own = envelope.headers.iter().filter(|(name, _)| name != SOURCE_HEADER && !is_of_ledger(name));
    let (headers, header_bytes) =
        own.fold((0, 0), |(count, bytes), (name, value)| (count + 1, bytes + name.len() + value.len()));
    if headers > HEADERS_MAX {
        return Err(Error::Invalid(format!("{headers} headers, {HEADERS_MAX} are allowed")));
    }
    if header_bytes > HEADER_BYTES_MAX {
        return Err(Error::Invalid(format!("the headers have {header_bytes} bytes, {HEADER_BYTES_MAX} are allowed")));
    }
    let is_latest = registry.rules(dest).is_some_and(|rules| rules.latest_wins);
    let key_bytes = envelope.key.as_ref().map_or(0, |key| key.len());
    if is_latest && envelope.version.is_some() && key_bytes > VERSIONED_KEY_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "the key has {key_bytes} bytes, {VERSIONED_KEY_BYTES_MAX} are allowed with a version where the latest wins"
        )));
    }
    let wait = match (envelope.not_before, cycle) {
        (None, None) => Queued::Ready,
        (None, Some(_)) => Queued::NextCycle,
        (Some(at), None) => Queued::NotBefore(at),
        (Some(at), Some(cycle)) => Queued::NotBefore(cycle.at_or_after(at)),
    };
    Ok(Incoming { wait, ..Incoming::new(draft, dest) })
}

/// Checks the size of one body.
///
/// # Errors
/// [`Error::TooLarge`].
pub(super) fn check_body(bytes: u64, registry: &Registry) -> Result<(), Error> {
    let bytes_max = registry.settings.body_bytes_max.min(REQUEST_BYTES_MAX);
    if bytes > bytes_max { Err(Error::TooLarge { bytes, bytes_max }) } else { Ok(()) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The idempotency keys of the last day.
#[derive(Default)]
pub(super) struct Window {
    by_hash: HashMap<u64, Place, PlaceHash>,
    /// When each was remembered, on the monotonic clock: the other one can jump over a day.
    in_order: VecDeque<(u64, u64, Place)>,
}

/// What an idempotency key says of a draft.
pub(super) enum Repeated {
    /// Nothing: it is new.
    No,
    /// It was accepted before.
    Before(Id),
    /// Another message came with this key.
    Conflict(Id),
}

impl Window {
    /// Remembers the key of a message, at this monotonic time.
    pub(super) fn remember(&mut self, hash: u64, place: Place, mono_ms: u64) {
        self.by_hash.insert(hash, place);
        self.in_order.push_back((mono_ms, hash, place));
        while self.in_order.len() > IDEMPOTENCY_KEYS_MAX
            || self.in_order.front().is_some_and(|(first, _, _)| mono_ms.saturating_sub(*first) > IDEMPOTENCY_MS)
        {
            if let Some((_, hash, place)) = self.in_order.pop_front()
                && self.by_hash.get(&hash) == Some(&place)
            {
                self.by_hash.remove(&hash);
            }
        }
    }

    /// Whether the draft repeats a message that the store still has.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn look_up(&self, draft: &Draft, store: &dyn Store) -> Result<Repeated, StoreError> {
        let Some(key) = &draft.envelope.idempotency_key else { return Ok(Repeated::No) };
        let Some(place) = self.by_hash.get(&idempotency_hash(key)).copied() else { return Ok(Repeated::No) };
        let Some(record) = store.get(place)? else { return Ok(Repeated::No) };
        if record.envelope.idempotency_key.as_deref().map(idempotency_name) != Some(idempotency_name(key)) {
            return Ok(Repeated::No);
        }
        if key.starts_with(KEY_OF_ALL) {
            return Ok(Repeated::Before(record.id));
        }
        let first = store.revision(place, 1)?.and_then(|revision| revision.body);
        let is_same = is_repeated(&draft.envelope, &record.envelope) && first.is_none_or(|body| body == draft.body);
        Ok(if is_same { Repeated::Before(record.id) } else { Repeated::Conflict(record.id) })
    }
}

/// Whether two envelopes ask for the same, times and trace aside: a time that is given as `1h` is another one a second later.
fn is_repeated(again: &Envelope, first: &Envelope) -> bool {
    let Envelope {
        destination,
        key,
        kind,
        content_type,
        headers,
        not_before: _,
        deadline: _,
        idempotency_key,
        version,
        traceparent: _,
    } = again;
    *destination == first.destination
        && *key == first.key
        && *kind == first.kind
        && *content_type == first.content_type
        && headers.iter().eq(first.headers.iter().filter(|(name, _)| !is_of_ledger(name)))
        && *idempotency_key == first.idempotency_key
        && *version == first.version
}
