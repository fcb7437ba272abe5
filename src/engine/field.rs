//! One field of a JSON body gets another value; every other byte stays as its sender wrote it.
//!
//! ```text
//! {"order": 17, "phone": "12 34", "net": 1e400}
//!    /phone  ─────────────▲▲▲▲▲▲▲  only these bytes are exchanged
//! ```
//!
//! # What holds
//!
//! * Numbers that no machine holds, the order of fields and the space between them are kept: nothing is written anew but the field.
//! * What is not there is not made up, and a name that stands twice in one object is refused: nobody could say which one counts.
//! * A body is looked at once for each step of the path, and the path is short.
//!
//! # What it does not know
//!
//! Messages, and whether they may be edited.
//!
//! The path is a JSON Pointer (RFC 6901).

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most steps of a path.
const STEPS_MAX: usize = 16;
/// The most bytes of a path, and of a value.
const BYTES_MAX: usize = 1_024;

/// A field, the value that it gets, and the one that it must have for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldEdit {
    path: String,
    from: Option<String>,
    to: String,
}

/// A body whose field has been exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole body.
    pub body: Vec<u8>,
    /// The value before, as it was written.
    pub before: String,
}

impl FieldEdit {
    /// The field at `path`, a JSON Pointer like `/customer/phone`, gets the value `to`, where it has the value `from` now. Both are JSON.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn new(path: &str, from: Option<&str>, to: &str) -> Result<FieldEdit, String> {
        let longest = [path.len(), to.len(), from.map_or(0, str::len)].into_iter().max().unwrap_or(0);
        if longest > BYTES_MAX {
            return Err(format!("a field and its values have at most {BYTES_MAX} bytes each, not {longest}"));
        }
        if !path.starts_with('/') {
            return Err(format!("a field is a JSON Pointer like /customer/phone, not {path:?}"));
        }
        let count = steps(path).count();
        if count > STEPS_MAX {
            return Err(format!("a field lies at most {STEPS_MAX} steps deep, not {count}"));
        }
        steps(path).try_for_each(|step| step.map(drop))?;
        let json = |text: &str| {
            let raw: Result<&RawValue, _> = serde_json::from_str(text);
            raw.map(|raw| raw.get().to_owned()).map_err(|_| format!("{text} is not JSON; a text stands in quotes"))
        };
        Ok(FieldEdit { path: path.to_owned(), from: from.map(json).transpose()?, to: json(to)? })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value that the field gets, as JSON.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The body with the field exchanged.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub fn apply(&self, body: &[u8]) -> Result<Edited, String> {
        let text = std::str::from_utf8(body).map_err(|_| "its body is not JSON".to_owned())?;
        let whole: &RawValue = serde_json::from_str(text).map_err(|_| "its body is not JSON".to_owned())?;
        let mut value = whole;
        for step in steps(&self.path) {
            value = step_into(value, &step?).map_err(|why| format!("its body has no field {}: {why}", self.path))?;
        }
        let before = value.get();
        if self.from.as_ref().is_some_and(|from| !is_same(from, before)) {
            return Err(format!("its field {} has another value", self.path));
        }
        if is_same(&self.to, before) {
            return Err(format!("its field {} has that value already", self.path));
        }
        // A raw value borrows from the text that it was read from.
        let start = (before.as_ptr() as usize).checked_sub(text.as_ptr() as usize);
        let around = start.and_then(|start| {
            let (head, rest) = text.split_at_checked(start)?;
            Some((head, rest.strip_prefix(before)?))
        });
        let (head, tail) = around.ok_or_else(|| "its body cannot be divided".to_owned())?;
        Ok(Edited { body: [head, &self.to, tail].concat().into_bytes(), before: before.to_owned() })
    }
}

impl fmt::Display for FieldEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldEdit { path, from, to } = self;
        match from {
            Some(from) => write!(f, "{path} from {from} to {to}"),
            None => write!(f, "{path} to {to}"),
        }
    }
}

/// The steps of a path, with `~1` and `~0` read as what they stand for.
fn steps(path: &str) -> impl Iterator<Item = Result<String, String>> {
    path.split('/').skip(1).map(|step| {
        let plain = step.replace("~1", "").replace("~0", "");
        if plain.contains('~') {
            return Err(format!("in a field ~ is written ~0, and / is ~1, not {step:?}"));
        }
        Ok(step.replace("~1", "/").replace("~0", "~"))
    })
}

/// Whether two values are the same: texts by what they say, everything else as it is written.
fn is_same(one: &str, other: &str) -> bool {
    let text = |raw: &str| serde_json::from_str::<String>(raw).ok();
    one == other || text(one).is_some_and(|one| Some(one) == text(other))
}

/// What lies one step deeper.
fn step_into<'a>(value: &'a RawValue, step: &str) -> Result<&'a RawValue, String> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    // Nothing lies within the others.
    let found = if value.get().starts_with(['{', '[']) { Step(step).deserialize(&mut reader) } else { Ok(None) };
    found.map_err(|error| error.to_string())?.ok_or_else(|| format!("there is no {step:?}"))
}

/// Looks for one step in an object or an array.
struct Step<'s>(&'s str);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object or an array with {:?}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = map.next_key()? {
            if name != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(de::Error::custom(format!("{name:?} stands there twice")));
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // RFC 6901: no zeros before the number.
        let wanted = self.0.parse().ok().filter(|number: &usize| number.to_string() == self.0);
        let mut found = None;
        let mut number = 0;
        while let Some(item) = items.next_element::<&RawValue>()? {
            if Some(number) == wanted {
                found = Some(item);
            }
            number += 1;
        }
        Ok(found)
    }
}

/// The name of a field, which may have to be read out of its escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(path: &str, to: &str, body: &str) -> Result<String, String> {
        let edited = FieldEdit::new(path, None, to)?.apply(body.as_bytes())?;
        Ok(String::from_utf8(edited.body).expect("text"))
    }

    #[test]
    fn only_the_bytes_of_the_field_change() {
        for (path, to, body, expect) in [
            (
                "/phone",
                "\"+48\"",
                r#"{ "n": 1e400 , "phone" : "12" , "n2":12345678901234567890123 }"#,
                r#"{ "n": 1e400 , "phone" : "+48" , "n2":12345678901234567890123 }"#,
            ),
            ("/a/1/b", "null", r#"{"a":[0,{"b":{"c":[1]}},2]}"#, r#"{"a":[0,{"b":null},2]}"#),
            ("/a~1b/~0", "7", r#"{"a/b":{"~":1,"x":"ż"}}"#, r#"{"a/b":{"~":7,"x":"ż"}}"#),
            ("/ż", "2", " {\"\\u017c\": 1}\n", " {\"\\u017c\": 2}\n"),
            ("/", "2", r#"{"":1}"#, r#"{"":2}"#),
            ("/a", " [1, 2] ", r#"{"a":"x"}"#, r#"{"a":[1, 2]}"#),
        ] {
            let edited = apply(path, to, body);
            assert_eq!(edited.clone().unwrap_or_default(), expect, "{body}: {edited:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_in_words() {
        for (path, to, body, expect) in [
            ("/a", "1", "no", "its body is not JSON"),
            ("/a", "1", "\u{feff}{}", "its body is not JSON"),
            ("/a", "1", "{\"b\":1}", "its body has no field /a: there is no \"a\""),
            ("/a/b", "1", "{\"a\":1}", "there is no \"b\""),
            ("/a/b", "1", "{\"a\":\"Jan Kowalski\"}", "has no field /a/b: there is no \"b\""),
            ("/0", "1", "[]", "there is no \"0\""),
            ("/01", "1", "[1,2]", "there is no \"01\""),
            ("/-", "1", "[1,2]", "there is no \"-\""),
            ("/a", "1", "{\"a\":2,\"\\u0061\":3}", "stands there twice"),
            ("/a", "1", "{\"a\":1}", "has that value already"),
            ("/a", "\"ż\"", "{\"a\":\"\\u017c\"}", "has that value already"),
            ("a", "1", "{}", "a JSON Pointer like /customer/phone"),
            ("", "1", "{}", "a JSON Pointer like /customer/phone"),
            ("/~2", "1", "{}", "~ is written ~0"),
            ("/a~", "1", "{}", "~ is written ~0"),
            ("/a", "yes", "{}", "is not JSON; a text stands in quotes"),
        ] {
            let refused = apply(path, to, body).expect_err("refused");
            assert!(refused.contains(expect), "{path} {to} {body}: {refused}");
        }
        assert!(FieldEdit::new(&"/a".repeat(17), None, "1").is_err_and(|why| why.contains("16 steps")));
        assert!(FieldEdit::new(&"/a".repeat(600), None, "1").is_err_and(|why| why.contains("1024 bytes")));
    }

    #[test]
    fn a_field_with_another_value_than_was_believed_stays() {
        let edit = FieldEdit::new("/a", Some("\"old\""), "\"new\"").expect("sound");
        let before = edit.apply(br#"{"a":"\u006fld"}"#).map(|edited| edited.before);
        assert_eq!(before.as_deref(), Ok(r#""\u006fld""#));
        assert!(edit.apply(br#"{"a":"older"}"#).is_err_and(|why| why.contains("another value")));
        assert_eq!(edit.to_string(), "/a from \"old\" to \"new\"");
    }

    #[test]
    fn a_body_that_is_deep_is_no_danger() {
        let deep = format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let edited = apply("/a", "2", &deep);
        assert!(edited.is_err() || edited.is_ok_and(|body| body.len() == deep.len()));
    }
}
