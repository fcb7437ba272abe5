//! What two registries say to each other about a stream: a frame of numbered messages, and the answer to it.
//!
//! ```text
//! frame   format 1 | head | for each message: words, body as it is | CRC-32
//! answer  format 1 | how it stands there | CRC-32
//! ```
//!
//! # What holds
//!
//! * What is read is treated as hostile: checked before it is looked at, bounded by what came, never a panic.
//! * A frame says nothing of where a message goes there, and nothing of what only its own registry needs to know.
//!
//! # What it does not know
//!
//! How it travels and is proved, and what becomes of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError, FORMAT, NO_SALT};
use super::id::Id;
use super::ledger::{End, SOURCE_HEADER, is_of_ledger};
use super::message::{Body, Envelope, Headers, Message};
use super::time::WallMs;

/// The content type of both.
pub const CONTENT_TYPE: &str = "application/vnd.goniec.stream";
/// The most messages of one frame.
pub const FRAME_MESSAGES_MAX: usize = 10_000;
/// The most that a frame of one message takes beside its body: several times what the longest words take.
pub const WORDS_BYTES_MAX: usize = 64 << 10;
/// The most that a length or a number takes in a frame.
const NUMBER_BYTES_MAX: usize = 9;
/// What is of no length of its own in a message: number, id, revision, deadline, version, how much there is of the rest.
const FIXED_BYTES_MAX: usize = 128;

/// What a sender says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The epoch of its numbers.
    pub epoch: u64,
    /// The last number that it gave.
    pub last: u64,
    /// What ended before it was delivered.
    pub ended: Vec<(u64, End)>,
    /// What comes.
    pub messages: Vec<Carried>,
}

/// A message on its way to another registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its number; 0 where it has none.
    pub n: u64,
    /// Its id at its sender.
    pub id: Id,
    /// The revision of its body.
    pub revision: u16,
    /// Its words: without a destination.
    pub envelope: Envelope,
    /// Its bytes.
    pub body: Body,
}

/// What a receiver says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// What became of each message, in their order: a byte of the engine's.
    pub took: Vec<u8>,
    /// All numbers up to this one are known.
    pub mark: u64,
    /// The highest number that is known.
    pub highest: u64,
    /// Ranges of numbers of which nothing is known, the first ones.
    pub holes: Vec<(u64, u64)>,
}

/// Everything of a frame but its messages.
#[derive(Serialize, Deserialize)]
struct Head {
    epoch: u64,
    last: u64,
    ended: Vec<(u64, u8)>,
    count: u32,
}

/// Everything of a message but its body.
#[derive(Serialize)]
struct WordsRef<'a> {
    n: u64,
    id: Id,
    revision: u16,
    key: Option<&'a str>,
    kind: Option<&'a str>,
    content_type: Option<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
    deadline: Option<WallMs>,
    version: Option<u64>,
    traceparent: Option<&'a str>,
    body_bytes: u32,
}

/// [`WordsRef`], read.
#[derive(Deserialize)]
struct Words {
    n: u64,
    id: Id,
    revision: u16,
    key: Option<Arc<str>>,
    kind: Option<Arc<str>>,
    content_type: Option<Arc<str>>,
    headers: Headers,
    deadline: Option<WallMs>,
    version: Option<u64>,
    traceparent: Option<Arc<str>>,
    body_bytes: u32,
}

/// The bytes of a frame with these messages, each with its number.
///
/// # Errors
/// More is said of a message than can be written.
pub fn encode(
    epoch: u64,
    last: u64,
    ended: &[(u64, End)],
    messages: &[(u64, &Message)],
) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![FORMAT];
    let ended = ended.iter().map(|(n, end)| (*n, *end as u8)).collect();
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    codec::write(&Head { epoch, last, ended, count }, &mut bytes)?;
    for (n, message) in messages {
        let Envelope { key, kind, headers, deadline, version, traceparent, .. } = &*message.envelope;
        let own = headers.iter().filter(|(name, _)| name != SOURCE_HEADER && !is_of_ledger(name));
        let words = WordsRef {
            n: *n,
            id: message.id,
            revision: message.revision,
            key: key.as_deref(),
            kind: kind.as_deref(),
            content_type: message.content_type.as_deref(),
            headers: own.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            deadline: *deadline,
            version: *version,
            traceparent: traceparent.as_deref(),
            body_bytes: u32::try_from(message.body.len()).unwrap_or(u32::MAX),
        };
        codec::write(&words, &mut bytes)?;
        bytes.extend_from_slice(&message.body);
    }
    codec::seal(&mut bytes, NO_SALT);
    Ok(bytes)
}

/// No fewer bytes than a message takes in a frame.
#[must_use]
pub fn bytes_of(message: &Message) -> usize {
    let Envelope { key, kind, headers, traceparent, .. } = &*message.envelope;
    let words = [key, kind, &message.content_type, traceparent].into_iter().flatten().map(|word| &**word);
    let headers = headers.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    let words: usize = words.chain(headers).map(|word| NUMBER_BYTES_MAX + word.len()).sum();
    FIXED_BYTES_MAX + words + message.body.len()
}

/// The frame of these bytes.
///
/// # Errors
/// They are no whole frame.
pub fn decode(bytes: &[u8]) -> Result<Frame, CodecError> {
    let malformed = |what: &str| CodecError::Malformed(what.to_owned());
    let (format, rest) = codec::open(bytes, NO_SALT)?.split_first().ok_or(CodecError::Checksum)?;
    if *format != FORMAT {
        return Err(CodecError::Format(*format));
    }
    let (head, used) = codec::read::<Head>(rest)?;
    let mut rest = rest.get(used..).unwrap_or_default();
    let count = usize::try_from(head.count).ok().filter(|count| *count <= FRAME_MESSAGES_MAX);
    let count = count.ok_or_else(|| malformed("too many messages"))?;
    let ended = head.ended.into_iter().map(|(n, end)| Some((n, End::of_byte(end)?)));
    let ended = ended.collect::<Option<Vec<_>>>().ok_or_else(|| malformed("an end of no known reason"))?;
    let mut messages = Vec::new();
    for _ in 0..count {
        let (words, used) = codec::read::<Words>(rest)?;
        let body_bytes = usize::try_from(words.body_bytes).unwrap_or(usize::MAX);
        let behind = rest.get(used..).and_then(|behind| behind.split_at_checked(body_bytes));
        let (body, behind) = behind.ok_or_else(|| malformed("a body is cut"))?;
        messages.push(carried(words, body));
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(malformed("bytes after the end"));
    }
    Ok(Frame { epoch: head.epoch, last: head.last, ended, messages })
}

fn carried(words: Words, body: &[u8]) -> Carried {
    let Words { n, id, revision, key, kind, content_type, headers, deadline, version, traceparent, body_bytes: _ } =
        words;
    // Whoever sends says nothing of what is only ours to say.
    let headers = headers.into_iter().filter(|(name, _)| name != SOURCE_HEADER && !is_of_ledger(name)).collect();
    let envelope = Envelope { key, kind, content_type, headers, deadline, version, traceparent, ..Envelope::default() };
    Carried { n, id, revision, envelope, body: Body::from(body) }
}

impl Answer {
    /// Its bytes.
    ///
    /// # Errors
    /// It says more than can be written.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// The answer of these bytes.
    ///
    /// # Errors
    /// They are no whole answer.
    pub fn decode(bytes: &[u8]) -> Result<Answer, CodecError> {
        codec::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{NodeTag, Place};

    fn message(key: Option<String>, body: Vec<u8>, version: Option<u64>) -> Message {
        let headers = [("x-own", "1"), (SOURCE_HEADER, "shop"), ("goniec-number", "1.2"), ("goniec-origin", "x")];
        let envelope = Envelope {
            destination: "peer".into(),
            key: key.map(Into::into),
            kind: Some("order".into()),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            idempotency_key: Some("secret".into()),
            version,
            ..Envelope::default()
        };
        Message {
            id: Id::compose(WallMs(7), NodeTag::new(3), Place::new(9, 4)),
            attempt: 1,
            revision: 2,
            envelope: Arc::new(envelope),
            content_type: Some("text/plain".into()),
            body: body.into(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_frame_is_read_as_it_was_written(key: Option<String>, body: Vec<u8>, version: Option<u64>, n: u64, count in 0..5_usize) {
            let one = message(key.clone(), body.clone(), version);
            let frame = encode(7, 9, &[(3, End::Expired)], &vec![(n, &one); count]).expect("a frame");
            let read = decode(&frame).expect("reads");
            prop_assert_eq!((read.epoch, read.last, read.ended, read.messages.len()), (7, 9, vec![(3, End::Expired)], count));
            for carried in read.messages {
                prop_assert_eq!((carried.n, carried.id, carried.revision), (n, one.id, 2));
                prop_assert_eq!((carried.envelope.key.as_deref(), &*carried.body), (key.as_deref(), &*body));
                prop_assert_eq!(&carried.envelope.headers, &[("x-own".to_owned(), "1".to_owned())]);
                prop_assert!(carried.envelope.destination.is_empty() && carried.envelope.idempotency_key.is_none());
            }
        }

        #[test]
        fn no_message_takes_more_than_is_reckoned(key: Option<String>, body: Vec<u8>, version: Option<u64>, n: u64) {
            let one = message(key, body, version);
            let bytes = |count| encode(u64::MAX, u64::MAX, &[], &vec![(n, &one); count]).expect("a frame").len();
            prop_assert!(bytes(2) - bytes(1) <= bytes_of(&one));
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(body: Vec<u8>, at: usize, byte: u8) {
            let one = message(None, body, None);
            let frame = encode(7, 9, &[], &[(1, &one), (2, &one)]).expect("a frame");
            let mut damaged = codec::open(&frame, NO_SALT).expect("sealed").to_vec();
            prop_assert!(decode(&damaged).is_err());
            let at = at % damaged.len();
            damaged[at] = byte;
            codec::seal(&mut damaged, NO_SALT);
            let _ = decode(&damaged);
            damaged.truncate(at);
            codec::seal(&mut damaged, NO_SALT);
            prop_assert!(decode(&damaged).is_err());
        }
    }
}
