//! The functions that a filter may call beside those of jq's core.
//!
//! `jaq-std` brings the ones over texts and arrays (`startswith`, `sort_by`, `floor` ..); here is what depends on our values, and what jq
//! writes in itself. There is no clock, no environment, no input, no way out of the process.
//!
//! # What holds
//!
//! * Every function pays for the bytes and items it goes through.
//!
//! # What it does not know
//!
//! What a filter is for.

use jaq_core::data::JustLut;
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{Error, RunPtr, ValR, ValT, load};

use super::fuel::{self, Stop};
use super::json;
use super::value::Val;

/// What jq writes in itself. The orders of kinds (`null < false < true < numbers < texts < arrays < objects`) tell what a value is.
const WRITTEN: &str = r#"
def null: [][0];
def isboolean: . == true or . == false;
def isnumber: . > true and . < "";
def isstring: . >= "" and . < [];
def isarray: . >= [] and . < {};
def isobject: . >= {};
def abs: if . < 0 then - . end;
def type: if . == null then "null" elif isboolean then "boolean" elif . < "" then "number"
  elif . < [] then "string" elif . < {} then "array" else "object" end;
def values: select(. != null);
def nulls: select(. == null);
def booleans: select(isboolean);
def numbers: select(isnumber);
def strings: select(isstring);
def arrays: select(isarray);
def objects: select(isobject);
def iterables: select(. >= []);
def scalars: select(. < []);
def add(f): reduce f as $x (null; . + $x);
def add: add(.[]);
def min_by(f): reduce min_by_or_empty(f) as $x (null; $x);
def max_by(f): reduce max_by_or_empty(f) as $x (null; $x);
def min: min_by(.);
def max: max_by(.);
def unique_by(f): [group_by(f)[] | .[0]];
def unique: unique_by(.);
def keys: keys_unsorted | sort;
def flatten: [recurse(arrays[]) | select(isarray | not)];
def split($separator): if isstring and ($separator | isstring) then . / $separator
  else error("split wants texts") end;
def @text: tostring;
def @json: tojson;
"#;

/// The definitions, those of the interpreter's core included.
pub(super) fn definitions() -> impl Iterator<Item = load::parse::Def<&'static str>> {
    let written = load::parse(WRITTEN, |parser| parser.defs()).unwrap_or_default();
    jaq_core::defs().chain(written)
}

/// The native functions, those of the interpreter's core included.
pub(super) fn functions() -> impl Iterator<Item = Fun<JustLut<Val>>> {
    let library = jaq_std::base_funs().filter(|(name, _, _)| *name != "halt");
    jaq_core::funs().chain(library).chain(own().map(run::<JustLut<Val>>))
}

fn own() -> impl Iterator<Item = Filter<RunPtr<JustLut<Val>>>> {
    let own: [Filter<RunPtr<JustLut<Val>>>; 7] = [
        ("length", v(0), |cv| bome(length(cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Val::from(cv.1.to_string())))),
        ("fromjson", v(0), |cv| bome(from_json(cv.1))),
        ("tonumber", v(0), |cv| bome(to_number(cv.1))),
        ("has", v(1), |cv| unary(cv, |value, key| has(&value, &key))),
        ("contains", v(1), |cv| unary(cv, |value, part| Ok(Val::Bool(contains(&value, &part))))),
        ("element", v(1), |cv| unary(cv, element)),
    ];
    own.into_iter()
}

fn length(value: Val) -> ValR<Val> {
    match value {
        Val::Null | Val::Arr(_) | Val::Obj(_) => Ok(Val::from(value.size())),
        Val::Str(text) => {
            fuel::bytes(text.len());
            Ok(Val::from(text.chars().count()))
        }
        Val::Int(whole) => Ok(Val::Int(whole.saturating_abs())),
        Val::Num(number) => Ok(Val::Num(number.abs())),
        Val::Bool(_) => Err(Error::typ(value, "what has a length")),
        Val::Cut => fuel::stop(Stop::Cut),
    }
}

fn from_json(value: Val) -> ValR<Val> {
    let Val::Str(text) = &value else { return Err(Error::typ(value, "string")) };
    // A byte of JSON can become a value, which is many bytes.
    fuel::steps(text.len());
    json::parse(text.as_bytes()).map_err(|_| Error::typ(value, "JSON"))
}

fn to_number(value: Val) -> ValR<Val> {
    match &value {
        Val::Int(_) | Val::Num(_) => Ok(value),
        Val::Str(text) => Val::from_num(text.trim()),
        Val::Null | Val::Bool(_) | Val::Arr(_) | Val::Obj(_) => Err(Error::typ(value, "number")),
        Val::Cut => fuel::stop(Stop::Cut),
    }
}

fn has(value: &Val, key: &Val) -> ValR<Val> {
    match (value, key) {
        (Val::Obj(pairs), Val::Str(key)) => Ok(Val::Bool(pairs.map.get(key).is_some())),
        (Val::Arr(items), Val::Int(at)) => Ok(Val::Bool(usize::try_from(*at).is_ok_and(|at| at < items.list.len()))),
        (Val::Cut, _) => fuel::stop(Stop::Cut),
        (_, _) => Err(Error::index(value.clone(), key.clone())),
    }
}

/// Whether the part is in the value: a text in a text, each item in some item, each member in the member of its name.
fn contains(value: &Val, part: &Val) -> bool {
    match (value, part) {
        (Val::Str(text), Val::Str(part)) => {
            fuel::bytes(text.len());
            text.contains(&**part)
        }
        (Val::Arr(items), Val::Arr(parts)) => {
            parts.list.iter().all(|part| items.list.iter().any(|item| contains(item, part)))
        }
        (Val::Obj(pairs), Val::Obj(parts)) => {
            parts.map.iter().all(|(key, part)| pairs.map.get(key).is_some_and(|value| contains(value, part)))
        }
        (value, part) => value == part,
    }
}

/// The text of the first XML element of this local name, whatever its prefix and attributes; `null` where there is none. Entities are
/// resolved; what is inside of further elements is kept as it stands.
fn element(value: Val, name: Val) -> ValR<Val> {
    if let Val::Cut = value {
        fuel::stop(Stop::Cut)
    }
    let Val::Str(text) = value else { return Err(Error::typ(value, "string")) };
    let Val::Str(name) = name else { return Err(Error::typ(name, "string")) };
    fuel::steps(text.len() / 4 + 1);
    Ok(inside(&text, &name).map_or(Val::Null, |inner| Val::text(unescaped(inner.trim()))))
}

fn inside<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, behind) = after.split_once('>')?;
        rest = behind;
        let label = tag.trim_end_matches('/').split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
        if label.rsplit(':').next() != Some(name) {
            continue;
        }
        if tag.ends_with('/') {
            return Some("");
        }
        return behind.split_once(&format!("</{label}")).map(|(inner, _)| inner);
    }
    None
}

fn unescaped(text: &str) -> String {
    let text = text.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")).unwrap_or(text);
    let known = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    known.into_iter().fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}
