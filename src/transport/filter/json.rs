//! Values from JSON and back.
//!
//! # What holds
//!
//! * Writing pays for itself, so a value that shares its parts a million times is not written out.
//! * A number that is not finite is written as `null`, as JSON has none.
//!
//! # What it does not know
//!
//! What the values mean.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fuel::{self, Stop};
use super::value::Val;

/// The value of this JSON text; `None` where it is none.
pub(in crate::transport) fn parse(text: &[u8]) -> Option<Val> {
    serde_json::from_slice(text).ok()
}

struct Builder;

impl<'de> Deserialize<'de> for Val {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Val, D::Error> {
        from.deserialize_any(Builder)
    }
}

impl<'de> Visitor<'de> for Builder {
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

    fn visit_str<E>(self, text: &str) -> Result<Val, E> {
        Ok(Val::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Val, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = from.next_element()? {
            list.push(item);
        }
        Ok(Val::array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Val, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = from.next_entry::<String, Val>()? {
            map.insert(Rc::from(key), value);
        }
        Ok(Val::object(map))
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
