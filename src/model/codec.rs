//! Bytes that survive a crash: the only file that knows bincode.
//!
//! A value becomes a frame: a byte for the format, the value, and a CRC-32 of both. What is read back is treated as hostile: the
//! checksum is compared first, an unknown format is refused, and a length that the bytes only claim never decides how much memory is taken.
//!
//! ```text
//!  1 byte    n bytes    4 bytes
//!  format    value      CRC-32 (IEEE) of all before it, little-endian
//! ```
//!
//! For rows that hold many values under one checksum, [`write()`] and [`read`] do a value without a frame, [`seal`] and [`open`] the checksum alone.
//!
//! # What holds
//!
//! * Reading never panics, whatever the bytes, and takes at most 16 bytes of memory per byte read plus 1 MiB.
//! * One flipped bit anywhere in a frame is an error, never another value.
//!
//! # What it does not know
//!
//! What the values mean, and where the bytes lie.

use std::fmt;

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of what is written today.
pub const FORMAT: u8 = 1;

/// The largest encoded value that is written or read. Bodies are not values: stores keep them as they are.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

const CRC_BYTES: usize = 4;

/// Bytes that are not what was written, or a value that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecError {
    /// The checksum does not match, or there are too few bytes to hold one.
    Checksum,
    /// The bytes are of a format that this program does not know.
    Format(u8),
    /// The checksum matches and yet the bytes are not such a value; the text says where.
    Malformed(String),
    /// The value takes more than [`VALUE_BYTES_MAX`].
    TooLarge {
        /// The bytes it takes.
        bytes: usize,
    },
}

/// The value as a frame.
///
/// # Errors
/// [`CodecError::TooLarge`]; [`CodecError::Malformed`] for values that cannot be written at all.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut frame = vec![FORMAT];
    write(value, &mut frame)?;
    seal(&mut frame, NO_SALT);
    Ok(frame)
}

/// The value of a frame made by [`encode`].
///
/// # Errors
/// The bytes are not one whole frame of such a value.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, CodecError> {
    let (format, bytes) = open(frame, NO_SALT)?.split_first().ok_or(CodecError::Checksum)?;
    if *format != FORMAT {
        return Err(CodecError::Format(*format));
    }
    match read(bytes)? {
        (value, used) if used == bytes.len() => Ok(value),
        (_, used) => Err(CodecError::Malformed(format!("{} bytes after the end", bytes.len().saturating_sub(used)))),
    }
}

/// Appends the value alone and says how many bytes it took. On an error nothing is appended.
///
/// # Errors
/// As for [`encode`].
pub fn write<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<usize, CodecError> {
    let before = into.len();
    let written = bincode::serde::encode_into_std_write(value, into, config::standard());
    let problem = match written {
        Ok(bytes) if bytes <= VALUE_BYTES_MAX => return Ok(bytes),
        Ok(bytes) => CodecError::TooLarge { bytes },
        Err(source) => CodecError::Malformed(source.to_string()),
    };
    into.truncate(before);
    Err(problem)
}

/// The value at the beginning of these bytes, and how many of them it took.
///
/// # Errors
/// The bytes do not begin with such a value.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    // A number of 16 bytes may be written as one byte, and nothing grows more than that when it is read.
    // The limit is a part of the type, so the steps are few.
    let value = bytes.get(..VALUE_BYTES_MAX).unwrap_or(bytes);
    let read = match value.len() {
        0..=0xfff => bincode::serde::decode_from_slice(value, limit::<0x1_0000>()),
        0x1000..=0xffff => bincode::serde::decode_from_slice(value, limit::<0x10_0000>()),
        0x1_0000.. => bincode::serde::decode_from_slice(value, limit::<0x100_0000>()),
    };
    read.map_err(|source| CodecError::Malformed(source.to_string()))
}

fn limit<const BYTES_MAX: usize>() -> Configuration<LittleEndian, Varint, Limit<BYTES_MAX>> {
    config::standard().with_limit::<BYTES_MAX>()
}

/// What is mixed into a check sum that nobody outside needs to be kept from making.
pub const NO_SALT: u32 = 0;

/// Appends the check sum of everything in `bytes`, mixed with `salt`: who does not know that cannot make it.
pub fn seal(bytes: &mut Vec<u8>, salt: u32) {
    bytes.extend_from_slice(&(crc32fast::hash(bytes) ^ salt).to_le_bytes());
}

/// What [`seal`] closed with the same salt, without the check sum.
///
/// # Errors
/// [`CodecError::Checksum`]
pub fn open(bytes: &[u8], salt: u32) -> Result<&[u8], CodecError> {
    match split(bytes) {
        Some((sealed, found)) if found == salt => Ok(sealed),
        Some(_) | None => Err(CodecError::Checksum),
    }
}

/// The salt that [`seal`] closed these bytes with, if it did.
pub fn salt_of(bytes: &[u8]) -> Option<u32> {
    split(bytes).map(|(_, salt)| salt)
}

fn split(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (sealed, sum) = bytes.split_last_chunk::<CRC_BYTES>()?;
    Some((sealed, crc32fast::hash(sealed) ^ u32::from_le_bytes(*sum)))
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Checksum => f.write_str("the checksum does not match"),
            CodecError::Format(format) => write!(f, "format {format} is unknown, this goniec reads {FORMAT}"),
            CodecError::Malformed(what) => write!(f, "the bytes are not such a value: {what}"),
            CodecError::TooLarge { bytes } => write!(f, "the value takes {bytes} bytes, {VALUE_BYTES_MAX} are allowed"),
        }
    }
}

impl std::error::Error for CodecError {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::super::{Attempt, Class, Delivery, Envelope, Id, Sent, State, WallMs};
    use super::*;

    type Everything = (Envelope, Vec<Attempt>, State, Option<Id>, Vec<u64>);

    fn everything() -> impl Strategy<Value = Everything> {
        let text = || proptest::option::of(".{0,20}".prop_map(Arc::<str>::from));
        let headers = proptest::collection::vec((".{0,9}", ".{0,30}"), 0..4);
        let envelope = (".{0,9}", text(), text(), headers, proptest::option::of(any::<u64>()));
        let envelope = envelope.prop_map(|(destination, key, kind, headers, at)| Envelope {
            destination: destination.into(),
            key,
            kind,
            headers,
            not_before: at.map(WallMs),
            ..Envelope::default()
        });
        let attempt = (any::<u16>(), any::<u64>(), ".{0,40}", proptest::option::of(".{0,40}"));
        let attempt = attempt.prop_map(|(number, at, detail, response_excerpt)| Attempt {
            number,
            revision: 1,
            started_at: WallMs(at),
            duration_ms: 3,
            outcome: Delivery::Retry,
            class: Some(Class::Server),
            sent: Sent::Answered,
            status: Some(503),
            detail,
            response_excerpt,
            remote_id: None,
            phases: None,
        });
        let id = proptest::option::of(any::<[u8; 16]>().prop_map(Id::from_bytes));
        let numbers = proptest::collection::vec(any::<u64>(), 0..9);
        (envelope, proptest::collection::vec(attempt, 0..4), any::<u16>().prop_map(State::Sending), id, numbers)
    }

    /// Damaged bytes under a checksum that matches: what only the decoder itself can refuse.
    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        seal(&mut bytes, NO_SALT);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_written_is_read(value in everything()) {
            let frame = encode(&value).expect("a frame");
            prop_assert_eq!(decode::<Everything>(&frame), Ok(value));
        }

        #[test]
        fn a_flipped_bit_and_a_cut_are_errors(value in everything(), at in any::<usize>()) {
            let frame = encode(&value).expect("a frame");
            let mut flipped = frame.clone();
            flipped[(at / 8) % frame.len()] ^= 1 << (at % 8);
            prop_assert_eq!(decode::<Everything>(&flipped), Err(CodecError::Checksum));
            prop_assert_eq!(decode::<Everything>(&frame[..at % frame.len()]), Err(CodecError::Checksum));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode::<Everything>(&bytes).is_err());
            let mut framed = vec![FORMAT];
            framed.extend_from_slice(&bytes);
            // A value or an error, but a return.
            let _ = decode::<Everything>(&resealed(framed));
            let _ = read::<Everything>(&bytes);
        }

        #[test]
        fn damage_under_a_matching_checksum_never_panics(value in everything(), at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = open(&encode(&value).expect("a frame"), NO_SALT).expect("sealed").to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode::<Everything>(&resealed(bytes.clone()));
            bytes.truncate(at);
            prop_assert!(decode::<Everything>(&resealed(bytes)).is_err());
        }
    }

    #[test]
    fn an_unknown_format_is_refused_by_its_number() {
        assert_eq!(decode::<u8>(&resealed(vec![2, 7])), Err(CodecError::Format(2)));
        assert_eq!(decode::<u8>(&resealed(vec![FORMAT, 7])), Ok(7));
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        assert!(matches!(decode::<u8>(&resealed(vec![FORMAT, 7, 7])), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn a_length_that_is_only_claimed_takes_no_memory() {
        // The marker 253 begins a length of eight bytes; four exbibytes are claimed.
        for claim in [vec![FORMAT, 253, 0, 0, 0, 0, 0, 0, 0, 64], vec![FORMAT, 252, 0, 0, 0, 64]] {
            assert!(matches!(decode::<String>(&resealed(claim.clone())), Err(CodecError::Malformed(_))));
            assert!(matches!(decode::<Vec<(String, String)>>(&resealed(claim)), Err(CodecError::Malformed(_))));
        }
    }

    #[test]
    fn what_grows_most_when_read_is_still_read() {
        // A 128-bit number below 251 is one byte: the sixteenfold that the limit allows for.
        for count in [200, 4_000, 60_000, 1_000_000] {
            let numbers = vec![1u128; count];
            assert_eq!(decode::<Vec<u128>>(&encode(&numbers).expect("a frame")).as_ref(), Ok(&numbers), "{count}");
        }
    }

    #[test]
    fn a_value_beyond_the_limit_is_neither_written_nor_read() {
        let mut into = vec![9];
        let text = "x".repeat(VALUE_BYTES_MAX);
        assert!(matches!(write(&text, &mut into), Err(CodecError::TooLarge { .. })));
        assert_eq!(into, [9]);
        let largest = "x".repeat(VALUE_BYTES_MAX - 5);
        assert_eq!(decode::<String>(&encode(&largest).expect("a frame")), Ok(largest));
    }

    #[test]
    fn many_values_share_one_seal() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Row(u16, String);
        let mut row = Vec::new();
        let first = write(&Row(1, "one".into()), &mut row).expect("written");
        write(&Row(2, "two".into()), &mut row).expect("written");
        seal(&mut row, NO_SALT);
        let bytes = open(&row, NO_SALT).expect("sealed");
        assert_eq!(read::<Row>(bytes).expect("read"), (Row(1, "one".into()), first));
        assert_eq!(read::<Row>(&bytes[first..]).expect("read").0, Row(2, "two".into()));
    }
}
