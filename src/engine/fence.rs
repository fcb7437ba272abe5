//! Version fences: of the messages of one key, where only the latest counts and they carry versions, the highest version is the latest.
//!
//! The fence of a key is a note of the store: the highest version that was accepted, and the message that carried it.
//!
//! # What holds
//!
//! * A fence rises with the commit that accepts the message, and never falls: it outlives its messages, whatever becomes of them.
//! * What comes with a lower version is accepted and rests at once, superseded by the message that holds the fence.
//! * Of equal versions the one accepted last counts, as without versions. A message without one claims none: it counts by its acceptance,
//!   and leaves the fence as it is.
//!
//! # What it does not know
//!
//! Who waits, who is out, and how notes are written.

use std::collections::HashMap;

use crate::model::{Envelope, Id};
use crate::store::{Dest, Incoming, NOTE_KEY_BYTES_MAX, Newer, Note, Store, StoreError};

/// The first byte of the keys of fences.
const KIND: u8 = b'f';
/// The longest key of a message with a version where the latest wins, in bytes: it stands in the fence's own key.
pub const VERSIONED_KEY_BYTES_MAX: usize = NOTE_KEY_BYTES_MAX - 3;

/// The highest version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) version: u64,
    /// The message that carried it.
    pub(super) id: Id,
}

/// Holds the new messages of a request against the fences of their keys: what is below is superseded before it waits, what is not raises its
/// fence. `first` is the number of the first one in its batch, which has no others of these keys.
///
/// # Errors
/// A fence cannot be read.
pub(super) fn hold(
    fresh: &mut [Incoming],
    first: usize,
    store: &dyn Store,
    is_latest: impl Fn(&Incoming) -> bool,
) -> Result<(), StoreError> {
    let mut raised: HashMap<Vec<u8>, (u64, Newer)> = HashMap::new();
    for (number, one) in (first..).zip(fresh) {
        let Some((key, version)) = claim(one.dest, &one.draft.envelope).filter(|_| is_latest(one)) else { continue };
        let highest = match raised.get(&key) {
            Some(highest) => Some(*highest),
            None => read(&key, store)?.map(|fence| (fence.version, Newer::Known(fence.id))),
        };
        match highest {
            Some((highest, newer)) if version < highest => one.newer = Some(newer),
            Some(_) | None => {
                // The store puts the id behind it.
                one.note = Some(Note { key: key.clone(), value: version.to_be_bytes().into() });
                raised.insert(key, (version, Newer::Accept(number)));
            }
        }
    }
    Ok(())
}

/// The fence that this message is below.
///
/// # Errors
/// It cannot be read.
pub(super) fn above(dest: Dest, envelope: &Envelope, store: &dyn Store) -> Result<Option<Fence>, StoreError> {
    let Some((key, version)) = claim(dest, envelope) else { return Ok(None) };
    Ok(read(&key, store)?.filter(|fence| version < fence.version))
}

/// The key of the fence that a message is held against, and the version that it claims.
fn claim(dest: Dest, envelope: &Envelope) -> Option<(Vec<u8>, u64)> {
    let (key, version) = envelope.key.as_ref().zip(envelope.version)?;
    Some(([&[KIND], &dest.0.to_be_bytes()[..], key.as_bytes()].concat(), version))
}

fn read(key: &[u8], store: &dyn Store) -> Result<Option<Fence>, StoreError> {
    let Some(value) = store.note(key)? else { return Ok(None) };
    let fence = value.split_first_chunk::<8>().and_then(|(version, id)| {
        Some(Fence { version: u64::from_be_bytes(*version), id: Id::from_bytes(id.try_into().ok()?) })
    });
    // What cannot be told must not let an older version through.
    let damaged = || StoreError::Damaged(format!("the version fence {:?} is none", key.escape_ascii().to_string()));
    fence.map(Some).ok_or_else(damaged)
}
