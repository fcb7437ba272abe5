//! The slot: where one message stands, in 56 bytes.
//!
//! ```text
//!  0 state 1   1 flags 1   2 attempts 2   4 series 2   6 revision 2   8 destination 2   10 class 1   11 hour 1
//! 12 status 2  14 updated at 6, ms        20 detail 16, by state        36 key hash 8   44 idempotency hash 8
//! 52 bytes of the newest body 4
//! ```
//!
//! The detail is the due time of what waits for one, the attempt of what is out, the delivery of what was delivered (with its phases in the last four
//! bytes, where they fit), and the id of the successor of what was superseded.
//!
//! # What it does not know
//!
//! Who moves a message, and where the slot lies.

use serde::{Deserialize, Serialize};

use crate::model::{Abandoned, Class, Failed, Id, Phases, Queued, State, Told, WallMs};
use crate::store::{Dest, Expect};

use super::layout::Cursor;

/// The bytes of a slot.
pub(super) const SLOT_BYTES: usize = 56;

/// Where one message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) flags: Flags,
    pub(super) hour: Hour,
    pub(super) attempts: u16,
    pub(super) series: u16,
    pub(super) revision: u16,
    pub(super) dest: Dest,
    pub(super) last: Told,
    pub(super) updated_at: WallMs,
    /// The attempt that delivered it, while it is delivered by one.
    pub(super) arrival: Option<Arrival>,
    pub(super) key_hash: u64,
    pub(super) idempotency_hash: u64,
    pub(super) body_bytes: u32,
}

/// What is true of a message beside its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// Attempts are kept as rows.
    pub(super) attempts: bool,
    /// Its bodies were removed.
    pub(super) bodiless: bool,
    /// Its envelope has a deadline.
    pub(super) deadline: bool,
    /// A person must be told of it.
    pub(super) untold: bool,
    /// Its id was given elsewhere.
    pub(super) alias: bool,
    /// Something of it lies in parts.
    pub(super) parts: bool,
    /// Its state changed while the clock was behind what the registry has seen: the time of it says little.
    pub(super) behind: bool,
}

/// Where the `not_before` of a message is to be found, without which nobody knows since when it has been waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Hour {
    /// In its envelope, if anywhere: rows from before slots knew better say this of every message.
    #[default]
    Envelope,
    /// Nowhere: it has none.
    Nowhere,
    /// In its state: it still waits for just this time, and its id says when the chunk was made.
    State,
}

/// The attempt that delivered a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arrival {
    pub(super) started_at: WallMs,
    pub(super) duration_ms: u32,
    pub(super) revision: u16,
    /// What its time was spent on, where that fits.
    pub(super) phases: Option<Phases>,
}

/// The slots of a chunk, as its row of `stat` holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    body: Vec<u8>,
}

impl Stat {
    /// The slots of this row; `None` if it is none.
    pub(super) fn read(body: &[u8]) -> Option<Stat> {
        let slots = body.get(8..)?;
        let states = slots.chunks_exact(SLOT_BYTES).all(|slot| slot.first().is_some_and(|code| *code <= CODE_MAX));
        (slots.len() % SLOT_BYTES == 0 && states).then(|| Stat { body: body.to_vec() })
    }

    /// An empty chunk made at this time.
    pub(super) fn new(made_at: WallMs) -> Stat {
        Stat { body: made_at.0.to_be_bytes().to_vec() }
    }

    /// The row's body.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// When the chunk was made.
    pub(super) fn made_at(&self) -> WallMs {
        WallMs(Cursor(&self.body).u64().unwrap_or(0))
    }

    /// How many messages it has, the deleted ones among them.
    pub(super) fn len(&self) -> usize {
        self.body.len().saturating_sub(8) / SLOT_BYTES
    }

    pub(super) fn push(&mut self, slot: &Slot) {
        self.body.extend_from_slice(&slot.encode());
    }

    /// The slot of this number; `None` where there is none or its message was deleted.
    pub(super) fn get(&self, slot: u8) -> Option<Slot> {
        let at = 8 + usize::from(slot) * SLOT_BYTES;
        Slot::decode(self.body.get(at..at + SLOT_BYTES)?)
    }

    /// Every message that is there.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = (u8, Slot)> {
        (0..=u8::try_from(self.len().saturating_sub(1)).unwrap_or(u8::MAX))
            .filter_map(|number| self.get(number).map(|slot| (number, slot)))
    }

    pub(super) fn set(&mut self, number: u8, slot: &Slot) {
        self.write(number, &slot.encode());
    }

    /// Forgets the message of this number.
    pub(super) fn erase(&mut self, number: u8) {
        self.write(number, &[0; SLOT_BYTES]);
    }

    /// Forgets every message.
    pub(super) fn clear(&mut self) {
        self.body.truncate(8);
    }

    fn write(&mut self, number: u8, bytes: &[u8; SLOT_BYTES]) {
        let at = 8 + usize::from(number) * SLOT_BYTES;
        if let Some(place) = self.body.get_mut(at..at + SLOT_BYTES) {
            place.copy_from_slice(bytes);
        }
    }

    /// Whether a message of it is not final.
    pub(super) fn is_open(&self) -> bool {
        self.codes().any(|code| (CODE_OPEN_MIN..=CODE_OPEN_MAX).contains(&code))
    }

    /// What this chunk adds to the head's sum over chunks with unfinished messages; `None` where it has none.
    pub(super) fn mark(&self, chunk: u64) -> Option<u64> {
        // The upper half keeps equal statuses of two chunks apart.
        self.is_open().then(|| chunk << 32 ^ u64::from(crc32fast::hash(&self.body)))
    }

    /// Whether no message of it is left.
    pub(super) fn is_empty(&self) -> bool {
        self.codes().all(|code| code == 0)
    }

    fn codes(&self) -> impl Iterator<Item = u8> {
        self.body.get(8..).unwrap_or(&[]).chunks_exact(SLOT_BYTES).map(|slot| slot.first().copied().unwrap_or(0))
    }
}

impl Slot {
    /// What a step must expect of this message.
    pub(super) fn expect(&self) -> Expect {
        Expect { state: self.state, attempts: self.attempts, revision: self.revision }
    }

    /// Whether the message belongs into the index of failures.
    pub(super) fn is_bad(&self) -> bool {
        match self.state {
            State::Abandoned(
                Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired | Abandoned::Cancelled,
            ) => true,
            State::Abandoned(Abandoned::Superseded(_))
            | State::Queued(_)
            | State::Sending(_)
            | State::Delivered
            | State::Failed(_) => false,
        }
    }

    fn encode(&self) -> [u8; SLOT_BYTES] {
        let (code, detail) = self.state_bytes();
        let mut out = [0; SLOT_BYTES];
        let mut rest = out.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            if let Some((own, after)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
                own.copy_from_slice(bytes);
                rest = after;
            }
        };
        put(&[code, self.flags.encode() | if self.arrival.is_some() { ARRIVAL } else { 0 }]);
        for number in [self.attempts, self.series, self.revision, self.dest.0] {
            put(&number.to_be_bytes());
        }
        put(&[self.last.class.map_or(0, class_code), self.hour.encode()]);
        put(&self.last.status.unwrap_or(0).to_be_bytes());
        put(&six(self.updated_at));
        put(&detail);
        put(&self.key_hash.to_be_bytes());
        put(&self.idempotency_hash.to_be_bytes());
        put(&self.body_bytes.to_be_bytes());
        out
    }

    fn state_bytes(&self) -> (u8, [u8; 16]) {
        let time = |at: WallMs| wide(u128::from(at.0));
        let none = [0; 16];
        match self.state {
            State::Queued(Queued::Ready) => (1, none),
            State::Queued(Queued::NotBefore(at)) => (2, time(at)),
            State::Queued(Queued::NextCycle) => (3, none),
            State::Queued(Queued::Held) => (4, none),
            State::Sending(attempt) => (5, wide(u128::from(attempt))),
            State::Failed(Failed::Due(at)) => (6, time(at)),
            State::Failed(Failed::NextCycle) => (7, none),
            State::Failed(Failed::Held) => (8, none),
            State::Delivered => (9, self.arrival.map_or(none, Arrival::encode)),
            State::Abandoned(Abandoned::Exhausted) => (10, none),
            State::Abandoned(Abandoned::Rejected) => (11, none),
            State::Abandoned(Abandoned::Expired) => (12, none),
            State::Abandoned(Abandoned::Superseded(by)) => (13, by.to_bytes()),
            State::Abandoned(Abandoned::Cancelled) => (14, none),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Slot> {
        let mut cursor = Cursor(bytes);
        let code = cursor.u8()?;
        let flags = cursor.u8()?;
        let [attempts, series, revision, dest] = [cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?];
        let class = class_of(cursor.u8()?);
        let hour = Hour::decode(cursor.u8()?);
        let status = Some(cursor.u16()?).filter(|status| *status != 0);
        let updated_at = unsix(cursor.array()?);
        let detail: [u8; 16] = cursor.array()?;
        let state = state_of(code, detail)?;
        let arrived = state == State::Delivered && flags & ARRIVAL != 0;
        Some(Slot {
            state,
            flags: Flags::decode(flags),
            hour,
            attempts,
            series,
            revision,
            dest: Dest(dest),
            last: Told { class, status },
            updated_at,
            arrival: if arrived { Arrival::decode(detail) } else { None },
            key_hash: cursor.u64()?,
            idempotency_hash: cursor.u64()?,
            body_bytes: cursor.u32()?,
        })
    }
}

const CODE_OPEN_MIN: u8 = 1;
const CODE_OPEN_MAX: u8 = 8;
const CODE_MAX: u8 = 14;

fn state_of(code: u8, detail: [u8; 16]) -> Option<State> {
    let number = u128::from_be_bytes(detail);
    let time = WallMs(u64::try_from(number).unwrap_or(u64::MAX));
    Some(match code {
        1 => State::Queued(Queued::Ready),
        2 => State::Queued(Queued::NotBefore(time)),
        3 => State::Queued(Queued::NextCycle),
        4 => State::Queued(Queued::Held),
        5 => State::Sending(u16::try_from(number).unwrap_or(u16::MAX)),
        6 => State::Failed(Failed::Due(time)),
        7 => State::Failed(Failed::NextCycle),
        8 => State::Failed(Failed::Held),
        9 => State::Delivered,
        10 => State::Abandoned(Abandoned::Exhausted),
        11 => State::Abandoned(Abandoned::Rejected),
        12 => State::Abandoned(Abandoned::Expired),
        13 => State::Abandoned(Abandoned::Superseded(Id::from_bytes(detail))),
        14 => State::Abandoned(Abandoned::Cancelled),
        _ => return None,
    })
}

impl Arrival {
    fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        let (started, rest) = out.split_at_mut(6);
        started.copy_from_slice(&six(self.started_at));
        let (duration, rest) = rest.split_at_mut(4);
        duration.copy_from_slice(&self.duration_ms.to_be_bytes());
        let (revision, phases) = rest.split_at_mut(2);
        revision.copy_from_slice(&self.revision.to_be_bytes());
        phases.copy_from_slice(&self.phases.and_then(|phases| phases.pack()).unwrap_or_default());
        out
    }

    fn decode(detail: [u8; 16]) -> Option<Arrival> {
        let mut cursor = Cursor(&detail);
        Some(Arrival {
            started_at: unsix(cursor.array()?),
            duration_ms: cursor.u32()?,
            revision: cursor.u16()?,
            // Rows written before phases were kept left the bytes empty.
            phases: Phases::unpack(cursor.array()?),
        })
    }
}

const ARRIVAL: u8 = 64;
const BEHIND: u8 = 128;

impl Flags {
    fn encode(self) -> u8 {
        [self.attempts, self.bodiless, self.deadline, self.untold, self.alias, self.parts]
            .iter()
            .enumerate()
            .fold(if self.behind { BEHIND } else { 0 }, |byte, (bit, set)| byte | u8::from(*set) << bit)
    }

    fn decode(byte: u8) -> Flags {
        let bit = |number: u8| byte & 1 << number != 0;
        Flags {
            attempts: bit(0),
            bodiless: bit(1),
            deadline: bit(2),
            untold: bit(3),
            alias: bit(4),
            parts: bit(5),
            behind: byte & BEHIND != 0,
        }
    }
}

impl Hour {
    fn encode(self) -> u8 {
        match self {
            Hour::Envelope => 0,
            Hour::Nowhere => 1,
            Hour::State => 2,
        }
    }

    fn decode(code: u8) -> Hour {
        match code {
            1 => Hour::Nowhere,
            2 => Hour::State,
            _ => Hour::Envelope,
        }
    }

    /// The same once the state is another.
    pub(super) fn moved(self) -> Hour {
        match self {
            Hour::Envelope | Hour::State => Hour::Envelope,
            Hour::Nowhere => Hour::Nowhere,
        }
    }
}

fn wide(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

/// The lower 48 bits of a time, as an id holds it: enough to the year 10889.
fn six(at: WallMs) -> [u8; 6] {
    let [_, _, bytes @ ..] = at.0.min(0xffff_ffff_ffff).to_be_bytes();
    bytes
}

fn unsix(bytes: [u8; 6]) -> WallMs {
    let mut wide = [0; 8];
    wide.split_at_mut(2).1.copy_from_slice(&bytes);
    WallMs(u64::from_be_bytes(wide))
}

/// The classes by the numbers that stand for them on disk: never reused, never moved.
const CLASSES: [(u8, Class); 19] = [
    (1, Class::Dns),
    (2, Class::Connect),
    (3, Class::Tls),
    (4, Class::Timeout),
    (5, Class::Protocol),
    (6, Class::RateLimited),
    (7, Class::Setup),
    (8, Class::Rejected),
    (9, Class::Server),
    (10, Class::Redirect),
    (11, Class::Interrupted),
    (12, Class::Panic),
    (13, Class::Other),
    (14, Class::Gone),
    (15, Class::Conflict),
    (16, Class::Body),
    (17, Class::Rule),
    (18, Class::Template),
    (19, Class::Auth),
];

fn class_code(class: Class) -> u8 {
    CLASSES.iter().find(|(_, known)| *known == class).map_or(13, |(code, _)| *code)
}

fn class_of(code: u8) -> Option<Class> {
    CLASSES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(flags: Flags, hour: Hour) -> Slot {
        Slot {
            state: State::Failed(Failed::Due(WallMs(9))),
            flags,
            hour,
            attempts: 1,
            series: 2,
            revision: 3,
            dest: Dest(4),
            last: Told { class: Some(Class::Auth), status: Some(401) },
            updated_at: WallMs(5),
            arrival: None,
            key_hash: 6,
            idempotency_hash: 7,
            body_bytes: 8,
        }
    }

    #[test]
    fn every_flag_has_a_bit_of_its_own() {
        let none = Flags::default();
        for flags in [
            none,
            Flags { attempts: true, ..none },
            Flags { bodiless: true, ..none },
            Flags { deadline: true, ..none },
            Flags { untold: true, ..none },
            Flags { alias: true, ..none },
            Flags { parts: true, ..none },
            Flags { behind: true, ..none },
        ] {
            let slot = slot(flags, Hour::Nowhere);
            assert_eq!(Slot::decode(&slot.encode()), Some(slot));
        }
    }

    #[test]
    fn a_delivery_keeps_its_phases_and_one_from_before_has_none() {
        let phases = Phases::unpack([4, 3, 2, 1]);
        let arrival = Arrival { started_at: WallMs(9), duration_ms: 8, revision: 7, phases };
        let delivered =
            Slot { state: State::Delivered, arrival: Some(arrival), ..slot(Flags::default(), Hour::Nowhere) };
        let mut bytes = delivered.encode();
        assert_eq!(Slot::decode(&bytes), Some(delivered.clone()));
        // The row of a registry that kept none.
        bytes[32..36].fill(0);
        let before = Slot { arrival: Some(Arrival { phases: None, ..arrival }), ..delivered };
        assert_eq!(Slot::decode(&bytes), Some(before));
    }

    #[test]
    fn what_a_row_does_not_tell_of_the_hour_lies_in_the_envelope() {
        let slot = |hour| slot(Flags::default(), hour);
        let mut bytes = slot(Hour::State).encode();
        assert_eq!(Slot::decode(&bytes), Some(slot(Hour::State)));
        // Rows written before left the byte empty; ones written later may know more.
        for code in [0, 3, 255] {
            bytes[11] = code;
            assert_eq!(Slot::decode(&bytes), Some(slot(Hour::Envelope)), "{code}");
        }
    }
}
