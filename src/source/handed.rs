//! Envelopes as they come in JSON: read without copying bodies, and no further than their limits.
//!
//! # What it does not know
//!
//! What becomes of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::admin::when::{Toward, parse_when};
use crate::engine::AFTER_KEYS_MAX;
#[cfg(feature = "server")]
use crate::engine::MESSAGES_MAX;
use crate::model::{Body, Draft, Envelope, Headers, WallMs};
use crate::transport::http::{check_header, is_reserved};

/// The most headers that a message may bring along.
pub(crate) const HEADERS_MAX: usize = 64;
/// The most bytes of one line: the largest body in base64, with its envelope.
pub(crate) const LINE_BYTES_MAX: u64 = 32 << 20;
/// The most brackets within brackets of a JSON body.
pub(crate) const DEPTH_MAX: usize = 128;

/// One message as it is handed in. Where others say where it goes, its destination is an `Option`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an envelope, which is a JSON object")]
#[serde(bound(deserialize = "D: Deserialize<'de>"))]
pub(crate) struct Handed<'a, D = Word> {
    pub(crate) destination: D,
    #[serde(borrow)]
    pub(crate) body: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) body_base64: Option<Cow<'a, str>>,
    pub(crate) key: Option<Word>,
    pub(crate) r#type: Option<Word>,
    pub(crate) content_type: Option<Word>,
    #[serde(default)]
    pub(crate) headers: Along,
    pub(crate) not_before: Option<Word>,
    pub(crate) deadline: Option<Word>,
    pub(crate) idempotency_key: Option<Word>,
    pub(crate) version: Option<u64>,
    #[serde(default)]
    pub(crate) after: After,
    pub(crate) traceparent: Option<Word>,
}

/// A line of messages: an envelope where it has a body in it, else a body by itself.
pub(crate) enum Line<'a> {
    /// An envelope.
    Envelope(Box<Handed<'a, Option<Word>>>),
    /// A body, with the content type that it has by itself.
    Body(Body, &'static str),
}

/// Whether an object has a body in it. The rest of it is passed over.
struct HasBody(bool);

/// A text that is copied once.
pub(crate) struct Word(pub(crate) Arc<str>);

/// The envelopes of an array. One too many ends the reading: written short, they take much more room in memory than in the request.
#[cfg(feature = "server")]
pub(crate) struct Array<'a>(pub(crate) Vec<Handed<'a>>);

/// Headers in the order given.
#[derive(Default)]
pub(crate) struct Along(pub(crate) Headers);

/// The keys that a message waits for. One too many ends the reading.
#[derive(Default)]
pub(crate) struct After(pub(crate) Vec<Arc<str>>);

/// Whether a JSON value is an envelope, and not a body by itself: it is an object with a `body` or a `body_base64` in it.
#[must_use]
pub(crate) fn is_envelope(json: &str) -> bool {
    serde_json::from_str(json).is_ok_and(|HasBody(has)| has)
}

impl<'a> Line<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, and in which column.
    pub(crate) fn read(line: &'a [u8]) -> Result<Line<'a>, String> {
        let text = text(line)?;
        let bad = |error: serde_json::Error| format!("column {}: {}", error.column(), without_place(&error));
        let raw: &RawValue = serde_json::from_str(text).map_err(not_json)?;
        if is_envelope(text) {
            return serde_json::from_str(text).map(|handed| Line::Envelope(Box::new(handed))).map_err(bad);
        }
        let (body, natural_type) = body(Some(raw).filter(|raw| raw.get() != "null"), None)?;
        Ok(Line::Body(body, natural_type))
    }
}

/// The bytes as text.
///
/// # Errors
/// Which byte is none.
pub(crate) fn text(line: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(line).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))
}

/// What is said of a line that is not well-formed.
pub(crate) fn not_json(error: serde_json::Error) -> String {
    format!("column {}: not JSON: {}", error.column(), without_place(&error))
}

/// What is said of a request with one message too many.
#[cfg(feature = "server")]
pub(crate) fn too_many() -> String {
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

impl<'de> Deserialize<'de> for HasBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HasBody, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = HasBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HasBody, A::Error> {
                let mut has = false;
                while let Some((name, _)) = map.next_entry::<Cow<'de, str>, de::IgnoredAny>()? {
                    has |= name == "body" || name == "body_base64";
                }
                Ok(HasBody(has))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(feature = "server")]
impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<'a>, D::Error> {
        struct Envelopes<'a>(std::marker::PhantomData<&'a ()>);
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
        deserializer.deserialize_seq(Envelopes(std::marker::PhantomData))
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

#[cfg(feature = "server")]
impl Handed<'_> {
    /// The message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn draft(self, now: WallMs, traceparent: Option<&Arc<str>>) -> Result<Draft, String> {
        let (Word(destination), mut draft) = self.apart(now, traceparent)?;
        draft.envelope.destination = destination;
        Ok(draft)
    }
}

impl<D> Handed<'_, D> {
    /// Where it goes, and the message without that.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn apart(self, now: WallMs, traceparent: Option<&Arc<str>>) -> Result<(D, Draft), String> {
        let (body, natural_type) = body(self.body, self.body_base64.as_deref())?;
        let when = |name: &str, value: Option<Word>| match value {
            Some(Word(value)) => {
                parse_when(&value, Toward::Future, now).map(Some).map_err(|wrong| format!("{name}: {wrong}"))
            }
            None => Ok(None),
        };
        check_headers(&self.headers.0)?;
        let plain = |word: Option<Word>| word.map(|Word(word)| word);
        let idempotency_key = plain(self.idempotency_key);
        if idempotency_key.as_deref().is_some_and(|key| key.contains(char::is_control)) {
            return Err("its idempotency_key has a control character".into());
        }
        let content_type = plain(self.content_type);
        content_type.as_deref().map_or(Ok(()), |content_type| check_header("content-type", content_type))?;
        let draft = Draft {
            envelope: Envelope {
                destination: Arc::default(),
                key: plain(self.key),
                kind: plain(self.r#type),
                content_type: content_type.or_else(|| Some(Arc::from(natural_type))),
                headers: self.headers.0,
                not_before: when("not_before", self.not_before)?,
                deadline: when("deadline", self.deadline)?,
                idempotency_key,
                version: self.version,
                traceparent: plain(self.traceparent).or_else(|| traceparent.cloned()),
            },
            after: self.after.0,
            body,
        };
        Ok((self.destination, draft))
    }
}

/// The bytes of a body, and the content type that they have by themselves.
fn body(raw: Option<&RawValue>, encoded: Option<&str>) -> Result<(Body, &'static str), String> {
    match (raw.map(RawValue::get), encoded) {
        (Some(_), Some(_)) => Err("it has both a body and a body_base64".into()),
        (None, None) => Err("it has no body; write \"body\": ..., or \"body_base64\": \"...\"".into()),
        (None, Some(encoded)) => {
            let bytes = STANDARD.decode(encoded).map_err(|error| format!("its body_base64: {error}"))?;
            Ok((Body::from(bytes), "application/octet-stream"))
        }
        (Some(raw), None) if raw.starts_with('"') => {
            let text: Cow<'_, str> = serde_json::from_str(raw).map_err(|error| format!("its body: {error}"))?;
            Ok((Body::from(text.as_bytes()), "text/plain; charset=utf-8"))
        }
        (Some(raw), None) => {
            if depth_exceeds(raw.as_bytes(), DEPTH_MAX) {
                return Err(format!("its body is nested more than {DEPTH_MAX} deep"));
            }
            Ok((Body::from(raw.as_bytes()), "application/json"))
        }
    }
}

/// Whether well-formed JSON has more brackets within brackets than that.
fn depth_exceeds(json: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (true | false, _) => {}
        }
    }
    false
}

fn check_headers(headers: &Headers) -> Result<(), String> {
    for (name, value) in headers {
        check_header(name, value)?;
        if is_reserved(name) {
            return Err(format!("the header {name:?} is set by goniec itself"));
        }
    }
    Ok(())
}

/// What serde_json says, without the place, which counts from the beginning of the line here.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match said.rsplit_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => said,
    }
}
