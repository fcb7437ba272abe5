//! How the interpreter reaches into values: by index, range and iteration, to read and to change.
//!
//! # What holds
//!
//! * A change of something deep goes no deeper than [`DEPTH_MAX`](super::fuel::DEPTH_MAX) calls.
//! * What is absent is `null`, as in jq; what cannot be reached into is an error of the filter.
//!
//! # What it does not know
//!
//! Arithmetic, JSON.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use jaq_core::box_iter::BoxIter;
use jaq_core::path::Opt;
use jaq_core::{Error, Exn, ValR, ValT, ValX};

use super::fuel::{self, Level, Stop};
use super::value::Val;

impl From<bool> for Val {
    fn from(truth: bool) -> Val {
        Val::Bool(truth)
    }
}

impl From<isize> for Val {
    fn from(whole: isize) -> Val {
        Val::Int(i128::try_from(whole).unwrap_or(i128::MAX))
    }
}

impl From<usize> for Val {
    fn from(whole: usize) -> Val {
        Val::Int(i128::try_from(whole).unwrap_or(i128::MAX))
    }
}

impl From<f64> for Val {
    fn from(number: f64) -> Val {
        Val::Num(number)
    }
}

impl From<String> for Val {
    fn from(text: String) -> Val {
        fuel::bytes(text.len());
        Val::text(text)
    }
}

impl From<Range<Option<Val>>> for Val {
    fn from(range: Range<Option<Val>>) -> Val {
        let ends = [("start", range.start), ("end", range.end)];
        Val::object(ends.into_iter().map(|(name, end)| (Rc::from(name), end.unwrap_or(Val::Null))).collect())
    }
}

impl FromIterator<Val> for Val {
    fn from_iter<I: IntoIterator<Item = Val>>(items: I) -> Val {
        let list = items.into_iter().inspect(|_| fuel::step()).collect();
        Val::array(list)
    }
}

/// The place in a list of this length that an index names, counted from its end where it is negative.
fn place(length: usize, index: i128) -> Option<usize> {
    let length = i128::try_from(length).ok()?;
    let index = if index < 0 { length.checked_add(index)? } else { index };
    usize::try_from(index).ok()
}

/// The beginning and the end that a range names in a list of this length.
fn span(length: usize, range: &Range<Option<&Val>>) -> Result<(usize, usize), Error<Val>> {
    let bound = |end: Option<&Val>, absent: usize| match end {
        None | Some(Val::Null) => Ok(absent),
        Some(Val::Int(index)) if *index < 0 => Ok(place(length, *index).unwrap_or(0)),
        Some(Val::Int(index)) => Ok(place(length, *index).unwrap_or(length).min(length)),
        Some(other) => Err(Error::typ(other.clone(), "integer")),
    };
    let from = bound(range.start, 0)?;
    Ok((from, bound(range.end, length)?.max(from)))
}

fn part(value: &Val, range: &Range<Option<&Val>>) -> ValR<Val> {
    match value {
        Val::Null => Ok(Val::Null),
        Val::Arr(items) => {
            let (from, to) = span(items.list.len(), range)?;
            Ok(items.list.get(from..to).unwrap_or_default().iter().cloned().collect())
        }
        Val::Str(text) => {
            fuel::bytes(text.len().saturating_mul(2));
            let (from, to) = span(text.chars().count(), range)?;
            Ok(Val::text(text.chars().skip(from).take(to - from).collect::<String>()))
        }
        Val::Cut => fuel::stop(Stop::Cut),
        Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Obj(_) => Err(Error::typ(value.clone(), "array or string")),
    }
}

fn members(value: Val) -> Result<Vec<(Val, Val)>, Error<Val>> {
    match value {
        Val::Arr(items) => Ok(items.list.iter().enumerate().map(|(at, item)| (Val::from(at), item.clone())).collect()),
        Val::Obj(pairs) => Ok(pairs.map.iter().map(|(key, item)| (Val::Str(Rc::clone(key)), item.clone())).collect()),
        Val::Cut => fuel::stop(Stop::Cut),
        Val::Null | Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Str(_) => Err(Error::typ(value, "iterable")),
    }
}

impl ValT for Val {
    fn from_num(digits: &str) -> ValR<Val> {
        match (digits.parse(), digits.parse()) {
            (Ok(whole), _) => Ok(Val::Int(whole)),
            (_, Ok(number)) => Ok(Val::Num(number)),
            (_, Err(_)) => Err(Error::str(format_args!("cannot read {digits:?} as a number"))),
        }
    }

    fn from_map<I: IntoIterator<Item = (Val, Val)>>(members: I) -> ValR<Val> {
        let mut map = BTreeMap::new();
        for (key, value) in members {
            fuel::step();
            let Val::Str(key) = key else { return Err(Error::typ(key, "string")) };
            map.insert(key, value);
        }
        Ok(Val::object(map))
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Val, Val), Val>> {
        match members(self) {
            Ok(list) => Box::new(list.into_iter().map(Ok)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Val>>> {
        match members(self) {
            Ok(list) => Box::new(list.into_iter().map(|(_, value)| Ok(value))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn index(self, index: &Val) -> ValR<Val> {
        fuel::step();
        match (&self, index) {
            (Val::Cut, _) | (_, Val::Cut) => fuel::stop(Stop::Cut),
            (Val::Null, _) => Ok(Val::Null),
            (Val::Obj(pairs), Val::Str(key)) => Ok(pairs.map.get(key).cloned().unwrap_or(Val::Null)),
            (Val::Arr(items), Val::Int(index)) => {
                let item = place(items.list.len(), *index).and_then(|at| items.list.get(at));
                Ok(item.cloned().unwrap_or(Val::Null))
            }
            (_, _) => Err(Error::index(self, index.clone())),
        }
    }

    fn range(self, range: Range<Option<&Val>>) -> ValR<Val> {
        part(&self, &range)
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Val>>>(self, opt: Opt, change: impl Fn(Val) -> I) -> ValX<'a, Val> {
        let _level = Level::enter();
        match self {
            Val::Arr(items) => items.list.iter().cloned().flat_map(change).collect(),
            Val::Obj(pairs) => {
                let mut map = BTreeMap::new();
                for (key, value) in pairs.map.iter() {
                    if let Some(value) = change(value.clone()).next().transpose()? {
                        map.insert(Rc::clone(key), value);
                    }
                }
                Ok(Val::object(map))
            }
            Val::Cut => fuel::stop(Stop::Cut),
            other @ (Val::Null | Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Str(_)) => {
                opt.fail(other, |other| Exn::from(Error::typ(other, "iterable")))
            }
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Val>>>(
        self,
        index: &Val,
        opt: Opt,
        change: impl Fn(Val) -> I,
    ) -> ValX<'a, Val> {
        let _level = Level::enter();
        match (self, index) {
            (Val::Cut, _) | (_, Val::Cut) => fuel::stop(Stop::Cut),
            (value @ (Val::Null | Val::Obj(_)), Val::Str(key)) => {
                let mut map = if let Val::Obj(pairs) = &value { pairs.map.copied() } else { BTreeMap::new() };
                let old = map.remove(key).unwrap_or(Val::Null);
                if let Some(new) = change(old).next().transpose()? {
                    map.insert(Rc::clone(key), new);
                }
                Ok(Val::object(map))
            }
            (Val::Arr(items), Val::Int(at)) => {
                let length = items.list.len();
                let Some(at) = place(length, *at).filter(|at| *at <= length) else {
                    let outside = || Error::str(format_args!("the index {at} is outside an array of {length}"));
                    return opt.fail(Val::Arr(items), |_| Exn::from(outside()));
                };
                let old = items.list.get(at).cloned().unwrap_or(Val::Null);
                let new: Vec<Val> = change(old).take(1).collect::<Result<_, _>>()?;
                let (before, after) = items.list.split_at(at);
                Ok(before.iter().cloned().chain(new).chain(after.iter().skip(1).cloned()).collect())
            }
            (other, _) => opt.fail(other, |other| Exn::from(Error::index(other, index.clone()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Val>>>(
        self,
        range: Range<Option<&Val>>,
        opt: Opt,
        change: impl Fn(Val) -> I,
    ) -> ValX<'a, Val> {
        let _level = Level::enter();
        let Val::Arr(items) = self else {
            return opt.fail(self, |other| Exn::from(Error::typ(other, "array")));
        };
        let (from, to) = span(items.list.len(), &range)?;
        let inside = items.list.get(from..to).unwrap_or_default().iter().cloned().collect();
        let new = match change(inside).next().transpose()? {
            Some(Val::Arr(new)) => new.list.to_vec(),
            Some(other) => return Err(Exn::from(Error::typ(other, "array"))),
            None => Vec::new(),
        };
        let before = items.list.iter().take(from).cloned();
        Ok(before.chain(new).chain(items.list.iter().skip(to).cloned()).collect())
    }

    fn as_bool(&self) -> bool {
        match self {
            Val::Null | Val::Bool(false) => false,
            Val::Cut => fuel::stop(Stop::Cut),
            Val::Bool(true) | Val::Int(_) | Val::Num(_) | Val::Str(_) | Val::Arr(_) | Val::Obj(_) => true,
        }
    }

    fn into_string(self) -> Val {
        if let Val::Str(_) = self { self } else { Val::from(self.to_string()) }
    }
}

impl jaq_std::ValT for Val {
    fn into_seq<S: FromIterator<Val>>(self) -> Result<S, Val> {
        if let Val::Cut = self {
            fuel::stop(Stop::Cut)
        }
        let Val::Arr(items) = self else { return Err(self) };
        Ok(items.list.iter().cloned().collect())
    }

    fn is_int(&self) -> bool {
        matches!(self, Val::Int(_))
    }

    fn as_isize(&self) -> Option<isize> {
        if let Val::Int(whole) = self { isize::try_from(*whole).ok() } else { None }
    }

    fn as_f64(&self) -> Option<f64> {
        self.float()
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Val::Str(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Val::Str(text) => {
                fuel::bytes(text.len());
                Some(text.as_bytes())
            }
            Val::Cut => fuel::stop(Stop::Cut),
            Val::Null | Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) => None,
        }
    }

    fn as_sub_str(&self, sub: &[u8]) -> Val {
        fuel::bytes(sub.len());
        Val::text(String::from_utf8_lossy(sub))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Val {
        fuel::bytes(bytes.as_ref().len());
        Val::text(String::from_utf8_lossy(bytes.as_ref()))
    }
}
