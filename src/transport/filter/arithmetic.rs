//! What `+ - * / %` mean between values, as jq has it.
//!
//! # What holds
//!
//! * Whole numbers stay whole while they fit; else they become floats. Nothing overflows.
//! * What grows is paid for before it is made.
//!
//! # What it does not know
//!
//! Paths, filters.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;
use jaq_core::{Error, ValR};

use super::fuel::{self, Level, Stop};
use super::value::Val;

/// Calculates with two numbers, whole where that is exact.
fn numbers(
    one: Val,
    sign: Math,
    two: Val,
    whole: impl Fn(i128, i128) -> Option<i128>,
    float: impl Fn(f64, f64) -> f64,
) -> ValR<Val> {
    if let (Val::Int(one), Val::Int(two)) = (&one, &two)
        && let Some(result) = whole(*one, *two)
    {
        return Ok(Val::Int(result));
    }
    match (one.float(), two.float()) {
        (Some(one), Some(two)) => Ok(Val::Num(float(one, two))),
        (_, _) if matches!(one, Val::Cut) || matches!(two, Val::Cut) => fuel::stop(Stop::Cut),
        (_, _) => Err(Error::math(one, sign, two)),
    }
}

impl Add for Val {
    type Output = ValR<Val>;

    fn add(self, other: Val) -> ValR<Val> {
        fuel::step();
        match (self, other) {
            (Val::Null, known) | (known, Val::Null) => Ok(known),
            (Val::Str(one), Val::Str(two)) => {
                fuel::bytes(one.len().saturating_add(two.len()));
                Ok(Val::text([&*one, &*two].concat()))
            }
            (Val::Arr(one), Val::Arr(two)) => Ok(Val::array(one.list.iter().chain(&two.list).cloned().collect())),
            (Val::Obj(one), Val::Obj(two)) => {
                let mut map = one.map.copied();
                map.extend(two.map.iter().map(|(key, value)| (Rc::clone(key), value.clone())));
                Ok(Val::object(map))
            }
            (one, two) => numbers(one, Math::Add, two, i128::checked_add, |one, two| one + two),
        }
    }
}

impl Sub for Val {
    type Output = ValR<Val>;

    fn sub(self, other: Val) -> ValR<Val> {
        fuel::step();
        match (self, other) {
            (Val::Arr(one), Val::Arr(two)) => {
                Ok(Val::array(one.list.iter().filter(|item| !two.list.contains(item)).cloned().collect()))
            }
            (one, two) => numbers(one, Math::Sub, two, i128::checked_sub, |one, two| one - two),
        }
    }
}

impl Mul for Val {
    type Output = ValR<Val>;

    fn mul(self, other: Val) -> ValR<Val> {
        fuel::step();
        match (self, other) {
            (Val::Str(text), Val::Int(times)) | (Val::Int(times), Val::Str(text)) => {
                let times = usize::try_from(times).unwrap_or(if times < 0 { 0 } else { usize::MAX });
                if times == 0 {
                    return Ok(Val::Null);
                }
                fuel::bytes(text.len().saturating_mul(times));
                Ok(Val::text(text.repeat(if text.is_empty() { 1 } else { times })))
            }
            (Val::Obj(one), Val::Obj(two)) => Ok(merged(&one, &two)),
            (one, two) => numbers(one, Math::Mul, two, i128::checked_mul, |one, two| one * two),
        }
    }
}

/// The second object over the first, member by member.
fn merged(one: &super::value::Pairs, two: &super::value::Pairs) -> Val {
    let _level = Level::enter();
    let mut map = one.map.copied();
    for (key, over) in two.map.iter() {
        let value = match (map.get(key), over) {
            (Some(Val::Obj(under)), Val::Obj(over)) => merged(under, over),
            (_, over) => over.clone(),
        };
        map.insert(Rc::clone(key), value);
    }
    Val::object(map)
}

impl Div for Val {
    type Output = ValR<Val>;

    fn div(self, other: Val) -> ValR<Val> {
        fuel::step();
        match (self, other) {
            (Val::Str(text), Val::Str(separator)) => {
                fuel::steps(text.len());
                Ok(if text.is_empty() {
                    Val::array(Vec::new())
                } else if separator.is_empty() {
                    Val::array(text.chars().map(|letter| Val::text(letter.to_string())).collect())
                } else {
                    Val::array(text.split(&*separator).map(Val::text).collect())
                })
            }
            (one, two) => {
                let exact = |one: i128, two: i128| (one.checked_rem(two)? == 0).then(|| one.checked_div(two)).flatten();
                numbers(one, Math::Div, two, exact, |one, two| one / two)
            }
        }
    }
}

impl Rem for Val {
    type Output = ValR<Val>;

    fn rem(self, other: Val) -> ValR<Val> {
        fuel::step();
        numbers(self, Math::Rem, other, i128::checked_rem, |one, two| one % two)
    }
}

impl Neg for Val {
    type Output = ValR<Val>;

    fn neg(self) -> ValR<Val> {
        numbers(Val::Int(0), Math::Sub, self, i128::checked_sub, |one, two| one - two)
    }
}
