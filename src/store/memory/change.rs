//! What a commit changes, and the record that carries it to the disk.
//!
//! A record is physical: it says what each row is afterwards, not what was asked. Reading a log back is therefore no second
//! implementation of the commit, only the same changes put into the same tables.
//!
//! ```text
//!  4 bytes   8 bytes    8 bytes   4 bytes             n bytes                4 bytes
//!  length    sequence   commit    CRC of the record   changes and bodies     CRC of all from the
//!                                 before this one                            sequence on
//! ```
//!
//! # What it does not know
//!
//! Sectors, and which changes follow from which request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::{CommitNo, StoreError};
use crate::model::codec::{self, CodecError};
use crate::model::{Attempt, Body, Class, Envelope, Id, NodeTag, Phases, Place, State, WallMs};

/// One changed row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Change {
    /// What the registry as a whole remembers.
    Registry { node: NodeTag, next_message: u64, last_id_at: WallMs },
    /// A destination got its number.
    Destination { number: u16, name: Arc<str> },
    /// A message was written down.
    Accepted { place: Place, id: Id, dest: u16, envelope: Arc<Envelope> },
    /// Where a message stands.
    Status { place: Place, status: Status },
    /// A body. Its bytes follow the change in the record.
    Revision { place: Place, revision: Edition },
    /// An attempt that failed, or of which something is said; what the destination calls the message since; and what its time was spent on.
    Attempt { place: Place, attempt: Attempt, remote_id: Option<String>, phases: Option<Phases> },
    /// All bodies of a message were removed.
    BodiesGone { place: Place },
    /// A message was removed whole.
    Gone { place: Place },
    /// Something was noted.
    Note { key: Vec<u8>, value: Vec<u8> },
    /// What the destination calls a message that was delivered.
    RemoteId { place: Place, remote_id: Option<String> },
}

/// Where a message stands: everything about it that changes, but bodies and attempts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) attempts: u16,
    pub(super) series: u16,
    pub(super) revision: u16,
    pub(super) updated_at: WallMs,
    /// The class of the last failure.
    pub(super) class: Option<Class>,
    /// The last HTTP status.
    pub(super) status: Option<u16>,
    /// How long the attempt took that delivered; `None` where none did.
    pub(super) delivered_in_ms: Option<u32>,
    /// What the time of that attempt was spent on.
    pub(super) phases: Option<Phases>,
    pub(super) supersedes: Option<Id>,
    pub(super) untold: bool,
}

/// One body of a message and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Edition {
    pub(super) number: u16,
    pub(super) content_type: Option<Arc<str>>,
    pub(super) at: WallMs,
    pub(super) who: String,
    pub(super) why: String,
    /// How many bytes follow; `None` where the body was removed.
    body_bytes: Option<u64>,
    #[serde(skip)]
    pub(super) body: Option<Body>,
}

/// One record of the log, read back.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) mark: Mark,
    /// The checksum of the record that came before it.
    pub(super) before: u32,
    /// Its own, which the next record must name.
    pub(super) crc: u32,
    pub(super) changes: Vec<Change>,
    /// How many bytes it takes in the log.
    pub(super) bytes: usize,
}

/// How far a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Mark {
    /// Its records, counted.
    pub(super) sequence: u64,
    /// Its commits: not every record is one.
    pub(super) commit: CommitNo,
}

const LENGTH_BYTES: usize = 4;

impl Change {
    /// That of an attempt whole.
    pub(super) fn attempt(place: Place, attempt: Attempt) -> Change {
        Change::Attempt { place, remote_id: attempt.remote_id.clone(), phases: attempt.phases, attempt }
    }
}

impl Edition {
    /// The body that a message was accepted with.
    pub(super) fn first(body: Body, content_type: Option<Arc<str>>, at: WallMs) -> Edition {
        Edition::new(1, body, content_type, at, (String::new(), String::new()))
    }

    /// A body, by whom and why.
    pub(super) fn new(
        number: u16,
        body: Body,
        content_type: Option<Arc<str>>,
        at: WallMs,
        (who, why): (String, String),
    ) -> Edition {
        let body_bytes = u64::try_from(body.len()).ok();
        Edition { number, content_type, at, who, why, body_bytes, body: Some(body) }
    }

    /// How long the body is; `None` where it was removed.
    pub(super) fn body_bytes(&self) -> Option<u64> {
        self.body_bytes
    }

    /// Removes the body and keeps where it came from.
    pub(super) fn erase(&mut self) {
        (self.body, self.body_bytes) = (None, None);
    }
}

/// The record of these changes, after the record with the checksum `before`; with its own.
pub(super) fn encode(mark: Mark, before: u32, changes: &[Change]) -> Result<(Vec<u8>, u32), StoreError> {
    let mut sealed = Vec::with_capacity(64 + changes.len() * 64);
    sealed.extend_from_slice(&mark.sequence.to_le_bytes());
    sealed.extend_from_slice(&mark.commit.to_le_bytes());
    sealed.extend_from_slice(&before.to_le_bytes());
    for change in changes {
        codec::write(change, &mut sealed).map_err(damaged)?;
        if let Change::Revision { revision: Edition { body: Some(body), .. }, .. } = change {
            sealed.extend_from_slice(body);
        }
    }
    codec::seal(&mut sealed, codec::NO_SALT);
    let crc = crc_of(&sealed);
    let length = u32::try_from(sealed.len()).map_err(|_| StoreError::Full("a commit of more than 4 GiB".into()))?;
    let mut record = length.to_le_bytes().to_vec();
    record.append(&mut sealed);
    Ok((record, crc))
}

/// The record at the beginning of `log`; `None` where none that is whole begins there.
pub(super) fn decode(log: &[u8]) -> Result<Option<Record>, StoreError> {
    let Some((length, rest)) = log.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some(sealed) = rest.get(..length) else { return Ok(None) };
    let Ok(content) = codec::open(sealed, codec::NO_SALT) else { return Ok(None) };
    let Some((sequence, content)) = content.split_first_chunk::<8>() else { return Ok(None) };
    let Some((commit, content)) = content.split_first_chunk::<8>() else { return Ok(None) };
    let Some((before, content)) = content.split_first_chunk::<4>() else { return Ok(None) };
    let mark = Mark { sequence: u64::from_le_bytes(*sequence), commit: u64::from_le_bytes(*commit) };
    let changes = changes_of(content).map_err(damaged)?;
    let (before, bytes) = (u32::from_le_bytes(*before), LENGTH_BYTES.saturating_add(length));
    Ok(Some(Record { mark, before, crc: crc_of(sealed), changes, bytes }))
}

fn changes_of(mut content: &[u8]) -> Result<Vec<Change>, CodecError> {
    let mut changes = Vec::new();
    while !content.is_empty() {
        let (mut change, used) = codec::read::<Change>(content)?;
        content = content.get(used..).unwrap_or_default();
        if let Change::Revision { revision: Edition { body, body_bytes: Some(bytes), .. }, .. } = &mut change {
            let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
            let (own, rest) = content.split_at_checked(bytes).ok_or(CodecError::Checksum)?;
            *body = Some(Arc::from(own));
            content = rest;
        }
        changes.push(change);
    }
    Ok(changes)
}

fn damaged(source: CodecError) -> StoreError {
    StoreError::Damaged(format!("a change in the log: {source}"))
}

fn crc_of(sealed: &[u8]) -> u32 {
    sealed.last_chunk::<4>().map_or(0, |crc| u32::from_le_bytes(*crc))
}
