//! The accepts of one commit: many messages packed into few chunks.
//!
//! A row costs sled about as much whatever it holds, so the messages of a commit share chunks of up to 64 messages or 17,400 bytes. A chunk
//! belongs to one commit and is never added to.
//!
//! # What it does not know
//!
//! How chunks are written, and what moves besides.

use serde::Serialize;

use super::entry::{ENTRY_BYTES, Laid, Owned, SHARED_BYTES};
use super::keys;
use super::layout::{CHUNK_MESSAGES_MAX, Kept, RANGE_CHUNKS, ROW_BYTES_MAX, Tree, dest_key, encode, place_key};
use super::plan::Plan;
use super::slot::{Flags, Hour, Slot, Stat};
use crate::model::{Envelope, Id, Place, Queued, State, Told, WallMs};
use crate::store::{Incoming, Older, StateName, StoreError, idempotency_hash, key_hash};

/// An envelope larger than this lies in parts, so that a chunk always has room for what it must hold itself.
pub(super) const FIXED_BYTES_MAX: usize = ROW_BYTES_MAX / 2;

/// [`Fixed`](super::layout::Fixed), borrowed.
#[derive(Serialize)]
struct FixedRef<'a> {
    id: Id,
    supersedes: Option<Place>,
    envelope: &'a Envelope,
}

/// The chunk being filled.
struct Filling {
    number: u64,
    body: Vec<u8>,
    stat: Stat,
    last: Option<Owned>,
}

impl Plan<'_> {
    /// Packs the messages; gives their ids and places in order.
    pub(super) fn accept(&mut self, accepts: &[Incoming]) -> Result<Vec<(Id, Place)>, StoreError> {
        let mut ids: Vec<(Id, Place)> = Vec::with_capacity(accepts.len());
        let mut filling: Option<Filling> = None;
        for incoming in accepts {
            let older = incoming.older.and_then(|older| match older {
                Older::At(place) => Some(place),
                Older::Accept(number) => ids.get(number).map(|(_, place)| *place),
            });
            let state = incoming.state(&ids);
            let current = match filling.take() {
                Some(current) if current.has_room(incoming) => current,
                Some(full) => {
                    self.close(full);
                    self.begin()
                }
                None => self.begin(),
            };
            let (id, place) = self.add(filling.insert(current), incoming, older, state)?;
            ids.push((id, place));
        }
        if let Some(last) = filling {
            self.close(last);
        }
        Ok(ids)
    }

    fn begin(&mut self) -> Filling {
        let number = self.head.next_chunk;
        self.head.next_chunk += 1;
        if number.is_multiple_of(RANGE_CHUNKS) && number > 0 {
            self.end_range(number / RANGE_CHUNKS - 1);
        }
        // Never before the chunk made before it, so that chunks can be searched by time.
        self.head.last_ms = self.head.last_ms.max(self.now.0);
        let made_at = WallMs(self.head.last_ms);
        Filling { number, body: made_at.0.to_be_bytes().to_vec(), stat: Stat::new(made_at), last: None }
    }

    /// Writes the filter of the range that is full, and begins the next.
    fn end_range(&mut self, range: u64) {
        let mut hashes = std::mem::take(&mut self.range_more);
        let before = if self.range_anew { Some([].as_slice()) } else { self.writer.range.as_deref() };
        self.range_anew = true;
        let Some(before) = before else { return };
        hashes.extend_from_slice(before);
        let filter = keys::filter(&mut hashes);
        self.put(Tree::Keys, &range.to_be_bytes(), &filter);
    }

    fn close(&mut self, full: Filling) {
        self.put(Tree::Chunk, &full.number.to_be_bytes(), &full.body);
        self.made(full.number, full.stat);
    }

    fn add(
        &mut self,
        filling: &mut Filling,
        incoming: &Incoming,
        supersedes: Option<Place>,
        state: State,
    ) -> Result<(Id, Place), StoreError> {
        let place = Place::new(filling.number, u8::try_from(filling.stat.len()).unwrap_or(u8::MAX));
        let id = incoming.id.unwrap_or_else(|| Id::compose(WallMs(self.head.last_ms), self.writer.node, place));
        let envelope = &incoming.draft.envelope;
        let mut fixed = Vec::with_capacity(256);
        encode(&FixedRef { id, supersedes, envelope }, &mut fixed)?;
        let fixed_in_parts = fixed.len() > FIXED_BYTES_MAX;
        if fixed_in_parts {
            self.parts(place, 0, &fixed);
            fixed.clear();
        }
        let body = &incoming.draft.body;
        let room = ROW_BYTES_MAX.saturating_sub(filling.body.len() + ENTRY_BYTES + fixed.len());
        let laid = Laid::of(body, room, filling.last.as_ref());
        if laid.needs_parts() {
            self.parts(place, 1, body);
        }
        let entry = laid.entry(&fixed, fixed_in_parts, body);
        entry.write(&mut filling.body);
        let body_bytes = entry.body_bytes;
        filling.last = laid.last(place.slot(), body, filling.last.take());
        let slot = Slot {
            state,
            flags: Flags {
                deadline: envelope.deadline.is_some(),
                alias: id.place() != place,
                parts: fixed_in_parts || laid.kept == Kept::Parts,
                behind: state.is_final() && self.is_clock_behind(),
                ..Flags::default()
            },
            hour: hour(envelope.not_before, state, id.accepted_at() == filling.stat.made_at()),
            attempts: 0,
            series: 0,
            revision: 1,
            dest: incoming.dest,
            last: Told::default(),
            updated_at: self.now,
            arrival: None,
            key_hash: envelope.key.as_deref().map_or(0, key_hash),
            idempotency_hash: envelope.idempotency_key.as_deref().map_or(0, idempotency_hash),
            body_bytes,
        };
        if slot.flags.alias {
            self.put(Tree::Alias, &id.to_bytes(), &place_key(place));
        }
        if slot.key_hash != 0 {
            self.range_more.push(slot.key_hash);
        }
        self.change.add(slot.dest, StateName::of(state), 1);
        filling.stat.push(&slot);
        if let Some(note) = &incoming.note {
            self.put(Tree::Note, &note.key, &[&*note.value, &id.to_bytes()].concat());
        }
        if let Some(own) = &incoming.own {
            self.put(Tree::Note, &[&*own.key, &place_key(place)].concat(), &own.value);
        }
        Ok((id, place))
    }

    /// Gives a destination its number.
    pub(super) fn name(&mut self, number: u16, name: &str) {
        self.put(Tree::Meta, &dest_key(number), name.as_bytes());
    }
}

/// Where a start finds this `not_before`: only an id of our own has the time of the chunk, by which a start then goes.
pub(super) fn hour(not_before: Option<WallMs>, state: State, is_own_id: bool) -> Hour {
    not_before.map_or(Hour::Nowhere, |at| match state == State::Queued(Queued::NotBefore(at)) && is_own_id {
        true => Hour::State,
        false => Hour::Envelope,
    })
}

impl Filling {
    /// Whether the chunk takes this message too. A body that would lie in parts anyway does not count.
    fn has_room(&self, incoming: &Incoming) -> bool {
        let envelope = &incoming.draft.envelope;
        let texts = [
            Some(&envelope.destination),
            envelope.key.as_ref(),
            envelope.kind.as_ref(),
            envelope.content_type.as_ref(),
            envelope.idempotency_key.as_ref(),
            envelope.traceparent.as_ref(),
        ];
        let text_bytes: usize = texts.into_iter().flatten().map(|text| text.len() + 6).sum();
        let header_bytes: usize = envelope.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
        // Id, place, times, version and lengths, at most.
        let fixed_bytes = 80 + text_bytes + header_bytes;
        let body_bytes = incoming.draft.body.len();
        let alone = 8 + ENTRY_BYTES + fixed_bytes + body_bytes;
        let is_shared = self.last.as_ref().is_some_and(|last| last.is_of(&incoming.draft.body));
        let here = match is_shared {
            true => SHARED_BYTES,
            false if alone > ROW_BYTES_MAX => 0,
            false => body_bytes,
        };
        let fixed_here = if fixed_bytes > FIXED_BYTES_MAX { 0 } else { fixed_bytes };
        self.stat.len() < CHUNK_MESSAGES_MAX && self.body.len() + ENTRY_BYTES + fixed_here + here <= ROW_BYTES_MAX
    }
}
