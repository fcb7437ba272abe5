//! The name of a message: a UUIDv7 (RFC 9562) whose free bits say where the message lies.
//!
//! ```text
//!  48 bits          4    12 bits     2    54 bits          8 bits
//!  accepted at, ms  0x7  node tag    0b10 chunk            slot
//! ```
//!
//! Ids of one node rise in order of acceptance, also when the wall clock goes back: the giver of ids
//! never uses a time below the one it used before. The [`Place`] is a hint that saves an index row; a
//! record carries its whole id, and a reader compares it.
//!
//! # What it does not know
//!
//! Which store a place belongs to, and who counts chunks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::policy::scatter;
use super::time::WallMs;

/// The name of a message, unique over nodes and ordered by time of acceptance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u128);

/// Where a message lies in its registry: a chunk (54 bits) and a slot in it (8 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place(u64);

/// The 12 bits that tell ids of one registry from another's; drawn once when a registry is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTag(u16);

/// A text that is not the name of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnId(pub String);

const CHUNK_BITS: u32 = 54;
const VERSION: u128 = 0x7 << 76;
/// What a batch is named by is of nobody's scheme but ours.
const BATCH_VERSION: u128 = 0x8 << 76;
const VARIANT: u128 = 0b10 << 62;
const PLACE_MASK: u128 = (1 << 62) - 1;

impl Id {
    /// The id of the message accepted at `at` by the registry `node` and kept at `place`.
    #[must_use]
    pub fn compose(at: WallMs, node: NodeTag, place: Place) -> Id {
        let time = u128::from(at.0 & 0xffff_ffff_ffff) << 80;
        Id(time | VERSION | u128::from(node.0) << 64 | VARIANT | u128::from(place.0))
    }

    /// When the message was accepted.
    #[must_use]
    pub fn accepted_at(self) -> WallMs {
        WallMs(u64::try_from(self.0 >> 80).unwrap_or(u64::MAX))
    }

    /// Where the message lies, if this registry gave the id. A hint: compare the id in the record.
    #[must_use]
    pub fn place(self) -> Place {
        Place(u64::try_from(self.0 & PLACE_MASK).unwrap_or(u64::MAX))
    }

    /// The registry that gave the id.
    #[must_use]
    pub fn node(self) -> NodeTag {
        NodeTag::new(u16::try_from((self.0 >> 64) & 0xfff).unwrap_or(0))
    }

    /// The sixteen bytes, big-endian, as they sort.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The name of a batch of these messages: the same for the same ones in the same order. One alone lends the batch its own name.
    #[must_use]
    pub fn of_batch(ids: impl IntoIterator<Item = Id>) -> Id {
        let mut ids = ids.into_iter();
        let Some(first) = ids.next() else { return Id(0) };
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
        let mut is_alone = true;
        let mix = |(high, low): (u64, u64), id: Id| {
            let high = scatter(scatter(high ^ half(id.0 >> 64)) ^ half(id.0));
            (high, scatter(scatter(low ^ half(id.0)) ^ high))
        };
        let (high, low) = ids.inspect(|_| is_alone = false).fold(mix((0, 1), first), mix);
        let mixed = (u128::from(high) << 64 | u128::from(low)) & !(0xf << 76) & !(0b11 << 62);
        if is_alone { first } else { Id(mixed | BATCH_VERSION | VARIANT) }
    }

    /// The id of sixteen bytes made by [`Id::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        Id(u128::from_be_bytes(bytes))
    }
}

impl Place {
    /// The slot `slot` of the chunk `chunk`, of which the lower 54 bits count.
    #[must_use]
    pub fn new(chunk: u64, slot: u8) -> Place {
        Place((chunk & ((1 << CHUNK_BITS) - 1)) << 8 | u64::from(slot))
    }

    /// The number of the chunk.
    #[must_use]
    pub fn chunk(self) -> u64 {
        self.0 >> 8
    }

    /// The slot in the chunk.
    #[must_use]
    pub fn slot(self) -> u8 {
        self.0.to_be_bytes()[7]
    }

    /// Chunk and slot as one number; places in order of acceptance are numbers in rising order.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// The place of a number made by [`Place::to_u64`].
    #[must_use]
    pub fn from_u64(number: u64) -> Place {
        Place(number & ((1 << 62) - 1))
    }
}

impl NodeTag {
    /// The lower 12 bits of `tag`.
    #[must_use]
    pub fn new(tag: u16) -> NodeTag {
        NodeTag(tag & 0xfff)
    }

    /// The 12 bits as a number.
    #[must_use]
    pub fn to_u16(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chunk(), self.slot())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a message id", self.0)
    }
}

impl std::error::Error for NotAnId {}

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Id, NotAnId> {
        match uuid::Uuid::try_parse(text) {
            Ok(uuid) if uuid.get_version_num() == 7 => Ok(Id(uuid.as_u128())),
            Ok(_) | Err(_) => Err(NotAnId(text.chars().take(64).collect())),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            u128::deserialize(deserializer).map(Id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_time_node_and_place() {
        let place = Place::new(0x3f_ffff_ffff_fff1, 63);
        let id = Id::compose(WallMs(1_790_000_000_123), NodeTag::new(0xabc), place);
        assert_eq!(id.accepted_at(), WallMs(1_790_000_000_123));
        assert_eq!(id.node(), NodeTag::new(0xabc));
        assert_eq!((id.place().chunk(), id.place().slot()), (place.chunk(), 63));
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_and_reads_back() {
        let id = Id::compose(WallMs(1), NodeTag::new(2), Place::new(3, 4));
        let uuid = uuid::Uuid::try_parse(&id.to_string()).expect("a uuid");
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(Id::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn ids_sort_by_time_and_then_by_arrival() {
        let node = NodeTag::new(7);
        let early = Id::compose(WallMs(10), node, Place::new(9, 9));
        let late = Id::compose(WallMs(11), node, Place::new(1, 0));
        let later = Id::compose(WallMs(11), node, Place::new(1, 1));
        assert!(early < late && late < later);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn what_is_not_a_version_7_uuid_is_refused() {
        for text in ["", "17", "67e55044-10b1-426f-9247-bb680e5fe0c8", "0192f3a0-zzzz-7000-8000-000000000000"] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
