//! Envelopes as they come in JSON: read without copying bodies, and no further than their limits.
//!
//! # What it does not know
//!
//! What becomes of them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::engine::AFTER_KEYS_MAX;
use crate::model::Headers;

/// The most messages of one request.
pub(super) const MESSAGES_MAX: usize = 10_000;
/// The most headers that a message may bring along.
pub(super) const HEADERS_MAX: usize = 64;

/// One message as it is handed in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an envelope, which is a JSON object")]
pub(super) struct Handed<'a> {
    pub(super) destination: Word,
    #[serde(borrow)]
    pub(super) body: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) body_base64: Option<Cow<'a, str>>,
    pub(super) key: Option<Word>,
    pub(super) r#type: Option<Word>,
    pub(super) content_type: Option<Word>,
    #[serde(default)]
    pub(super) headers: Along,
    pub(super) not_before: Option<Word>,
    pub(super) deadline: Option<Word>,
    pub(super) idempotency_key: Option<Word>,
    pub(super) version: Option<u64>,
    #[serde(default)]
    pub(super) after: After,
    pub(super) traceparent: Option<Word>,
}

/// A text that is copied once.
pub(super) struct Word(pub(super) Arc<str>);

/// The envelopes of an array. One too many ends the reading: written short, they take much more room in memory than in the request.
pub(super) struct Array<'a>(pub(super) Vec<Handed<'a>>);

/// Headers in the order given.
#[derive(Default)]
pub(super) struct Along(pub(super) Headers);

/// The keys that a message waits for. One too many ends the reading.
#[derive(Default)]
pub(super) struct After(pub(super) Vec<Arc<str>>);

/// What is said of a request with one message too many.
pub(super) fn too_many() -> String {
    format!("the request has more than the {MESSAGES_MAX} messages that are allowed")
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
        struct Copied;
        impl Visitor<'_> for Copied {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(Arc::from(text)))
            }
        }
        deserializer.deserialize_str(Copied)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<'a>, D::Error> {
        struct Envelopes<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Envelopes<'a> {
            type Value = Array<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of envelopes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Array<'a>, A::Error> {
                let mut handed = Vec::new();
                while let Some(one) = seq.next_element()? {
                    if handed.len() >= MESSAGES_MAX {
                        return Err(de::Error::custom(too_many()));
                    }
                    handed.push(one);
                }
                Ok(Array(handed))
            }
        }
        deserializer.deserialize_seq(Envelopes(PhantomData))
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<After, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = After;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of keys")
            }

            fn visit_unit<E: de::Error>(self) -> Result<After, E> {
                Ok(After::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<After, A::Error> {
                let mut keys = Vec::new();
                while let Some(Word(key)) = seq.next_element()? {
                    if keys.len() >= AFTER_KEYS_MAX {
                        return Err(de::Error::custom(format!("it waits for more than {AFTER_KEYS_MAX} keys")));
                    }
                    keys.push(key);
                }
                Ok(After(keys))
            }
        }
        deserializer.deserialize_any(Keys)
    }
}

impl<'de> Deserialize<'de> for Along {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Along, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Along;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Along, A::Error> {
                let mut headers = Headers::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if headers.len() >= HEADERS_MAX {
                        return Err(de::Error::custom(format!("it has more than {HEADERS_MAX} headers")));
                    }
                    headers.push((name.to_ascii_lowercase(), value));
                }
                Ok(Along(headers))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
