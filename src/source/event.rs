//! CloudEvents 1.0 over HTTP: one in the headers with its data as the body, one as JSON, or many in one array.
//!
//! # What holds
//!
//! * Data that is JSON is kept as its own text; text and bytes are kept as what they stand for.
//! * The attributes of an event stay with it as `ce-` headers, so that a message goes on as an event in the binary form.
//!
//! # What it does not know
//!
//! Where events go. Source: the CloudEvents specification and its HTTP binding, 1.0.2.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::engine::{HEADER_BYTES_MAX, MESSAGES_MAX};
use crate::model::Headers;
use crate::model::media::{essence, is_json};
use crate::model::percent::{escape_but, unescape};
use crate::store::KEY_PART;
use crate::transport::http::check_header;
use crate::transport::secret::Came;

/// The most attributes of an event, and the most bytes of them as headers: the name of the source stands beside them.
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = HEADER_BYTES_MAX - 128;
/// The one version that is known.
const VERSION: &str = "1.0";
/// What every event has.
const NEEDED: [&str; 3] = ["id", "source", "type"];
/// What JSON has besides attributes.
const DATA: [&str; 2] = ["data", "data_base64"];

/// In which forms a source may send events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// In none: what it sends has a form of its own.
    None,
    /// As JSON: a signature covers the body, and with it the attributes.
    InBodies,
    /// In headers too.
    All,
}

/// The events of an array. One too many ends the reading: written short, they take much more room in memory than in the request.
struct Batch<'a>(Vec<Attributes<'a>>);

/// What an event has in JSON. One attribute too many ends the reading.
struct Attributes<'a>(BTreeMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Attributes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut attributes = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if attributes.len() >= ATTRIBUTES_MAX {
                        return Err(de::Error::custom(format!("more than {ATTRIBUTES_MAX} attributes")));
                    }
                    attributes.insert(name, value);
                }
                Ok(Attributes(attributes))
            }
        }

        reader.deserialize_map(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = items.next_element()? {
                    if events.len() >= MESSAGES_MAX {
                        return Err(de::Error::custom(format!("more than {MESSAGES_MAX} events")));
                    }
                    events.push(event);
                }
                Ok(Batch(events))
            }
        }

        reader.deserialize_seq(Reader)
    }
}

/// An event.
pub(super) struct Event {
    /// Its attributes by their names, `specversion` and `datacontenttype` left out.
    attributes: BTreeMap<String, String>,
    /// The same as headers.
    pub(super) headers: Headers,
    /// The content type of its data.
    pub(super) content_type: Option<String>,
    /// Its data.
    pub(super) data: Vec<u8>,
}

/// The events that came, where they are some.
///
/// # Errors
/// What is wrong with them, in words.
pub(super) fn read(came: Came<'_>, events: Events) -> Option<Result<Vec<Event>, String>> {
    if events == Events::None {
        return None;
    }
    let essence = essence(came.header("content-type").unwrap_or_default());
    if essence == "application/cloudevents+json" {
        let read: Result<Attributes, _> = serde_json::from_slice(came.body);
        return Some(read.map_err(not_json).and_then(structured).map(|event| vec![event]));
    }
    if essence == "application/cloudevents-batch+json" {
        let read: Result<Batch, _> = serde_json::from_slice(came.body);
        let each = |(number, event)| structured(event).map_err(|wrong| format!("event {number}: {wrong}"));
        return Some(read.map_err(not_json).and_then(|Batch(list)| (1..).zip(list).map(each).collect()));
    }
    let is_binary = events == Events::All && came.header("ce-specversion").is_some();
    is_binary.then(|| binary(came).map(|event| vec![event]))
}

fn not_json(error: serde_json::Error) -> String {
    format!("the JSON is not well-formed, or is no event: {error}")
}

fn binary(came: Came<'_>) -> Result<Event, String> {
    let named = came.headers.iter().filter_map(|(name, value)| Some((name.strip_prefix("ce-")?, value)));
    let attributes = named.map(|(name, value)| (name.to_owned(), unescaped(value))).collect();
    Event::of(attributes, came.header("content-type").map(str::to_owned), came.body.to_vec())
}

fn structured(Attributes(mut event): Attributes<'_>) -> Result<Event, String> {
    let [data, encoded] = DATA.map(|name| event.remove(name).map(RawValue::get).filter(|raw| *raw != "null"));
    let mut attributes = BTreeMap::new();
    for (name, raw) in event {
        match raw.get() {
            "null" => {}
            text if text.starts_with('"') => {
                let text = serde_json::from_str(text).map_err(|error| format!("its {name}: {error}"))?;
                attributes.insert(name, text);
            }
            text if text.starts_with(['{', '[']) => {
                return Err(format!("its {name} is no text, number, true or false"));
            }
            text => {
                attributes.insert(name, text.to_owned());
            }
        }
    }
    let content_type = attributes.remove("datacontenttype");
    let is_json = content_type.as_deref().is_none_or(is_json);
    let data = match (data, encoded) {
        (Some(_), Some(_)) => return Err("it has both data and data_base64".into()),
        (None, Some(encoded)) => {
            let text: String = serde_json::from_str(encoded).map_err(|error| format!("its data_base64: {error}"))?;
            STANDARD.decode(text).map_err(|error| format!("its data_base64: {error}"))?
        }
        (Some(text), None) if !is_json && text.starts_with('"') => {
            let text: String = serde_json::from_str(text).map_err(|error| format!("its data: {error}"))?;
            text.into_bytes()
        }
        (Some(raw), None) => raw.as_bytes().to_vec(),
        (None, None) => Vec::new(),
    };
    let content_type = content_type.or_else(|| Some("application/json".to_owned()).filter(|_| !data.is_empty()));
    Event::of(attributes, content_type, data)
}

impl Event {
    fn of(
        mut attributes: BTreeMap<String, String>,
        content_type: Option<String>,
        data: Vec<u8>,
    ) -> Result<Event, String> {
        match attributes.remove("specversion").as_deref() {
            Some(VERSION) => {}
            Some(other) => return Err(format!("specversion is {VERSION}, not {other:?}")),
            None => return Err(format!("it has no specversion; it is {VERSION}")),
        }
        let missing = NEEDED.iter().find(|name| attributes.get(**name).is_none_or(String::is_empty));
        if let Some(name) = missing {
            return Err(format!("it has no {name}"));
        }
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if let Some(name) = attributes.keys().find(|name| !is_name(name)) {
            return Err(format!("an attribute has a name of small letters and digits, not {name:?}"));
        }
        content_type.as_deref().map_or(Ok(()), |content_type| check_header("content-type", content_type))?;
        let version = std::iter::once(("ce-specversion".to_owned(), VERSION.to_owned()));
        let others = attributes.iter().map(|(name, value)| (format!("ce-{name}"), escaped(value)));
        let headers: Headers = version.chain(others).collect();
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > ATTRIBUTE_BYTES_MAX {
            return Err(format!("its attributes have {bytes} bytes as headers, {ATTRIBUTE_BYTES_MAX} are allowed"));
        }
        Ok(Event { attributes, headers, content_type, data })
    }

    /// An attribute by its name.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// What names it: no other event has the same.
    pub(super) fn name(&self) -> String {
        let part = |name| self.attribute(name).unwrap_or_default();
        format!("{}{KEY_PART}{}", part("source"), part("id"))
    }
}

/// As the HTTP binding writes an attribute: what is not printable ASCII, a space, a quote and a percent sign stand as percent signs.
fn escaped(text: &str) -> String {
    escape_but(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%'))
}

/// The text that percent signs stand for; as it stands where that is none.
fn unescaped(text: &str) -> String {
    unescape(text).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallMs;

    fn read(headers: &[(&str, &str)], body: &str) -> Result<Vec<Event>, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::read(Came { headers: &headers, body: body.as_bytes(), now: WallMs(0) }, Events::All).expect("events")
    }

    const ONE: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");

    #[test]
    fn data_is_kept_as_what_it_is() {
        for (rest, content_type, data) in [
            (r#","data":{ "a" : 1e400 }"#, Some("application/json"), r#"{ "a" : 1e400 }"#),
            (r#","data":"x""#, Some("application/json"), "\"x\""),
            (r#","datacontenttype":"text/plain","data":"za\u017c""#, Some("text/plain"), "zaż"),
            (r#","datacontenttype":"application/xml","data_base64":"PGEvPg==""#, Some("application/xml"), "<a/>"),
            (r#","data":null"#, None, ""),
            ("", None, ""),
        ] {
            let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"order"{rest}}}"#);
            let event = read(&[ONE], &body).expect("an event").remove(0);
            assert_eq!(
                (event.content_type.as_deref(), String::from_utf8_lossy(&event.data).as_ref()),
                (content_type, data)
            );
        }
    }

    #[test]
    fn attributes_go_round_through_headers() {
        let body =
            r#"{"specversion":"1.0","id":"1 \"%","source":"/żółw","type":"order","subject":"o:17","priority":3}"#;
        let event = read(&[ONE], body).expect("an event").remove(0);
        let headers: Vec<(&str, &str)> =
            event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert!(headers.contains(&("ce-source", "/%C5%BC%C3%B3%C5%82w")) && headers.contains(&("ce-priority", "3")));
        let again = read(&headers, "x").expect("an event").remove(0);
        assert_eq!((again.name(), again.attribute("subject")), (event.name(), Some("o:17")));
        assert_eq!(again.data, b"x");
    }

    #[test]
    fn what_is_no_event_is_refused_in_words() {
        for (body, says) in [
            ("[", "not well-formed"),
            ("[]", "no event"),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/plain\n"}"#,
                "content-type",
            ),
            (r#"{"id":"1","source":"s","type":"t"}"#, "no specversion"),
            (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "specversion is 1.0, not \"0.3\""),
            (r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "it has no id"),
            (r#"{"specversion":"1.0","id":"1","source":"s"}"#, "it has no type"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","a b":1}"#, "small letters and digits"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","a":{}}"#, "its a is no text"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"eA=="}"#, "both data"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"!"}"#, "its data_base64"),
        ] {
            let refused = read(&[ONE], body).map(|_| ()).expect_err(body);
            assert!(refused.contains(says), "{body}: {refused}");
        }
        let many: String = (0..80).map(|number| format!(",\"a{number}\":1")).collect();
        let long = format!(",\"aaa\":\"{}\"", "x".repeat(4_000));
        for (more, says) in [(many, "more than 64 attributes"), (long, "as headers")] {
            let body = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{more}}}"#);
            assert!(read(&[ONE], &body).is_err_and(|wrong| wrong.contains(says)), "{says}");
        }
        let batch = [("content-type", "application/cloudevents-batch+json")];
        let second = r#"[{"specversion":"1.0","id":"1","source":"s","type":"t"},{"specversion":"1.0"}]"#;
        assert!(read(&batch, second).is_err_and(|wrong| wrong == "event 2: it has no id"));
        assert!(read(&batch, "[]").is_ok_and(|events| events.is_empty()));
    }
}
