//! Values from JSON and back.
//!
//! # What holds
//!
//! * Writing pays for itself, so a value that shares its parts a million times is not written out.
//! * A number that is not finite is written as `null`, as JSON has none.
//! * However a document is made, its values take at most [`VALUES_BYTES_MAX`]; what comes to more is refused before it is there.
//! * [`unkept`] finds the numbers that reading would change.
//!
//! # What it does not know
//!
//! What the values mean.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::fuel::{self, Stop};
use super::value::{Members, Val};

/// The most bytes of memory that the values of a document come to. All that 16 MiB of JSON can say has room, but for millions of empty arrays and
/// objects; and a list of two million objects with a key and a version each.
pub const VALUES_BYTES_MAX: usize = 512 << 20;
/// What is reckoned for a value in an array, with what the array has in reserve; for an array or an object; for a member; and for a text or a key besides
/// its bytes.
const ITEM_BYTES: usize = 48;
const NEST_BYTES: usize = 80;
const MEMBER_BYTES: usize = 48;
const TEXT_BYTES: usize = 32;

/// Why a text is not read as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is none, or is nested too deep.
    NoJson,
    /// Its values come to more than [`VALUES_BYTES_MAX`].
    TooMuch,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::NoJson => f.write_str("is no JSON"),
            Unread::TooMuch => {
                write!(f, "has so many values that they would take more than {VALUES_BYTES_MAX} bytes of memory")
            }
        }
    }
}

/// The value of this JSON text.
///
/// # Errors
/// Why there is none.
pub(in crate::transport) fn parse(text: &[u8]) -> Result<Val, Unread> {
    let mut builder = Builder { left: VALUES_BYTES_MAX, keys: HashSet::new(), is_spent: false };
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = builder.deserialize(&mut from).and_then(|value| from.end().map(|()| value));
    value.map_err(|_| if builder.is_spent { Unread::TooMuch } else { Unread::NoJson })
}

/// The first number of this JSON text that would become another one: a whole number beyond 64 bits, or more digits than a float has.
#[must_use]
pub fn unkept(json: &str) -> Option<&str> {
    let mut rest = json;
    while let Some(at) = rest.find(|letter: char| letter == '"' || letter == '-' || letter.is_ascii_digit()) {
        let token = rest.get(at..)?;
        let length = if token.starts_with('"') { text_length(token) } else { number_length(token) };
        let (token, after) = token.split_at_checked(length)?;
        if !token.starts_with('"') && !is_kept(token) {
            return Some(token);
        }
        rest = after;
    }
    None
}

/// How many bytes the text at the beginning takes, with its quotes.
fn text_length(token: &str) -> usize {
    let mut is_escaped = false;
    let ends = |(_, byte): &(usize, u8)| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    };
    token.bytes().enumerate().skip(1).find(ends).map_or(token.len(), |(at, _)| at + 1)
}

fn number_length(token: &str) -> usize {
    token.find(|letter: char| !matches!(letter, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(token.len())
}

/// Whether the number is the same once it was read and written.
fn is_kept(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let written = number.parse::<f64>().ok().filter(|read| read.is_finite()).map(|read| format!("{read:e}"));
    written.is_some_and(|written| decimal(&written) == decimal(number))
}

/// The sign, the digits without zeros at either end, and the power of ten of the last of them: alike where the numbers are.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole.trim_start_matches('-'), part].concat();
    let kept = digits.trim_end_matches('0');
    let power = power.parse::<i64>().ok()?.checked_sub(i64::try_from(part.len()).ok()?)?;
    let power = power.checked_add(i64::try_from(digits.len() - kept.len()).ok()?)?;
    let kept = kept.trim_start_matches('0');
    Some(if kept.is_empty() { (false, String::new(), 0) } else { (whole.starts_with('-'), kept.to_owned(), power) })
}

/// Makes the values of one document.
struct Builder {
    /// The bytes that are left for more.
    left: usize,
    is_spent: bool,
    /// The keys there were: objects of a list have the same ones.
    keys: HashSet<Rc<str>>,
}

impl Builder {
    /// Takes so many bytes; called before they are used.
    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            self.is_spent = true;
            E::custom("too many values")
        })?;
        Ok(())
    }

    fn key<E: Error>(&mut self, key: &str) -> Result<Rc<str>, E> {
        if let Some(known) = self.keys.get(key) {
            return Ok(Rc::clone(known));
        }
        self.take(2 * TEXT_BYTES + key.len())?;
        let key: Rc<str> = Rc::from(key);
        self.keys.insert(Rc::clone(&key));
        Ok(key)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Builder {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Val, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Builder {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Val, E> {
        Ok(Val::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Val, E> {
        Ok(Val::Bool(truth))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Val, E> {
        Ok(Val::Int(whole.into()))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Val, E> {
        Ok(Val::Int(whole.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Val, E> {
        Ok(Val::Num(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Val, E> {
        self.take(TEXT_BYTES + text.len())?;
        Ok(Val::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Val, A::Error> {
        self.take(NEST_BYTES)?;
        let mut list = Vec::new();
        while let Some(item) = from.next_element_seed(&mut *self)? {
            self.take(ITEM_BYTES)?;
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(Val::array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Val, A::Error> {
        self.take(NEST_BYTES)?;
        let mut members = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            self.take(MEMBER_BYTES)?;
            let key = self.key(&key)?;
            members.push((key, from.next_value_seed(&mut *self)?));
        }
        Ok(Val::of(Members::from(members)))
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fuel::step();
        match self {
            Val::Null => f.write_str("null"),
            Val::Bool(truth) => write!(f, "{truth}"),
            Val::Int(whole) => write!(f, "{whole}"),
            Val::Num(number) if !number.is_finite() => f.write_str("null"),
            Val::Num(number) => f.write_str(&serde_json::to_string(number).map_err(|_| fmt::Error)?),
            Val::Str(text) => quoted(f, text),
            Val::Arr(items) => {
                f.write_str("[")?;
                for (position, item) in items.list.iter().enumerate() {
                    if position > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Val::Obj(pairs) => {
                f.write_str("{")?;
                for (position, (key, value)) in pairs.map.iter().enumerate() {
                    if position > 0 {
                        f.write_str(",")?;
                    }
                    quoted(f, key)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
            Val::Cut => fuel::stop(Stop::Cut),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    fuel::bytes(text.len());
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_reading_would_change_are_found_and_no_others() {
        for kept in [
            r#"{"a":[0,-0,-0.0,1.50,12e3,-9223372036854775808,18446744073709551615],"b":0.1}"#,
            "100000000000000000000",
            "1E+2",
            "0.000001",
            "5e-324",
            r#"{"99999999999999999999999":"\\\"123456789012345678901\\"}"#,
            "12.50000000000000000000",
        ] {
            assert_eq!(unkept(kept), None, "{kept}");
        }
        for (changed, number) in [
            ("[1, 123456789012345678901]", "123456789012345678901"),
            (r#"{"\\":-9223372036854775809}"#, "-9223372036854775809"),
            ("18446744073709551617 ", "18446744073709551617"),
            ("0.12345678901234567890", "0.12345678901234567890"),
            ("1e-400", "1e-400"),
        ] {
            assert_eq!(unkept(changed), Some(number), "{changed}");
        }
    }
}
