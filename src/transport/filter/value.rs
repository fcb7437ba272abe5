//! The values of a filter: JSON, with what the interpreter wants of them.
//!
//! # What holds
//!
//! * Integers keep all their digits up to 38 of them; other numbers are 64-bit floats. The keys of an object are in order.
//! * Copying, comparing and building pay for themselves (see [`fuel`](super::fuel)).
//! * [`Val::Cut`] stands for what did not come whole: it can be carried about, but whoever looks into it ends the evaluation.
//!
//! # What it does not know
//!
//! Where values come from.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::fuel::{self, DEPTH_MAX, Stop};

/// A value.
#[derive(Debug)]
pub(in crate::transport) enum Val {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Num(f64),
    /// A text.
    Str(Rc<str>),
    /// An array.
    Arr(Rc<Items>),
    /// An object.
    Obj(Rc<Pairs>),
    /// What did not come whole.
    Cut,
}

/// The items of an array.
#[derive(Debug)]
pub(in crate::transport) struct Items {
    pub(super) list: Vec<Val>,
    depth: u16,
}

/// An object.
#[derive(Debug)]
pub(in crate::transport) struct Pairs {
    pub(super) map: Members,
    depth: u16,
}

/// The members of an object, in the order of their keys. They take no more room than they need: a document may have millions of objects.
#[derive(Debug)]
pub(super) struct Members(Box<[(Rc<str>, Val)]>);

impl Members {
    /// The value of this key.
    pub(super) fn get(&self, key: &str) -> Option<&Val> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&Rc<str>, &Val)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// A copy that can be changed.
    pub(super) fn copied(&self) -> BTreeMap<Rc<str>, Val> {
        self.iter().map(|(key, value)| (Rc::clone(key), value.clone())).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &Rc<str>> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl ExactSizeIterator<Item = &Val> {
        self.0.iter().map(|(_, value)| value)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<(Rc<str>, Val)>> for Members {
    /// Of several with one key the last counts.
    fn from(mut members: Vec<(Rc<str>, Val)>) -> Members {
        members.reverse();
        // It keeps the order of those that are alike.
        members.sort_by(|(one, _), (two, _)| one.cmp(two));
        members.dedup_by(|(one, _), (two, _)| one == two);
        Members(members.into_boxed_slice())
    }
}

impl From<BTreeMap<Rc<str>, Val>> for Members {
    fn from(map: BTreeMap<Rc<str>, Val>) -> Members {
        Members(map.into_iter().collect())
    }
}

impl Val {
    /// A text.
    pub(in crate::transport) fn text(text: impl Into<Rc<str>>) -> Val {
        Val::Str(text.into())
    }

    /// An array.
    pub(in crate::transport) fn array(list: Vec<Val>) -> Val {
        let depth = deeper(list.iter());
        Val::Arr(Rc::new(Items { list, depth }))
    }

    /// An object.
    pub(in crate::transport) fn object(map: BTreeMap<Rc<str>, Val>) -> Val {
        Val::of(map.into())
    }

    /// An object of these.
    pub(super) fn of(map: Members) -> Val {
        let depth = deeper(map.values());
        Val::Obj(Rc::new(Pairs { map, depth }))
    }

    /// The bytes of a text, the items of an array, the members of an object; 0 of everything else.
    pub(super) fn size(&self) -> usize {
        match self {
            Val::Str(text) => text.len(),
            Val::Arr(items) => items.list.len(),
            Val::Obj(pairs) => pairs.map.len(),
            Val::Null | Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Cut => 0,
        }
    }

    /// Whether this text, or a number that is written so, is a value anywhere in it.
    pub(in crate::transport) fn has(&self, name: &str) -> bool {
        match self {
            Val::Str(text) => **text == *name,
            Val::Int(whole) => whole.to_string() == name,
            Val::Arr(items) => items.list.iter().any(|item| item.has(name)),
            Val::Obj(pairs) => pairs.map.values().any(|member| member.has(name)),
            Val::Null | Val::Bool(_) | Val::Num(_) | Val::Cut => false,
        }
    }

    /// Whether nothing is in it: `null`, `[]`, `{}`.
    pub(in crate::transport) fn is_bare(&self) -> bool {
        match self {
            Val::Null => true,
            Val::Arr(items) => items.list.is_empty(),
            Val::Obj(pairs) => pairs.map.len() == 0,
            Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Str(_) | Val::Cut => false,
        }
    }

    /// The number as a float.
    pub(in crate::transport) fn float(&self) -> Option<f64> {
        match self {
            // The nearest float is what a calculation with floats wants.
            Val::Int(whole) => Some(*whole as f64),
            Val::Num(number) => Some(*number),
            Val::Null | Val::Bool(_) | Val::Str(_) | Val::Arr(_) | Val::Obj(_) | Val::Cut => None,
        }
    }

    fn depth(&self) -> u16 {
        match self {
            Val::Arr(items) => items.depth,
            Val::Obj(pairs) => pairs.depth,
            Val::Null | Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Str(_) | Val::Cut => 0,
        }
    }

    /// Where the kind of the value stands in the order of all values.
    fn rank(&self) -> u8 {
        match self {
            Val::Null => 0,
            Val::Bool(false) => 1,
            Val::Bool(true) => 2,
            Val::Int(_) | Val::Num(_) => 3,
            Val::Str(_) => 4,
            Val::Arr(_) => 5,
            Val::Obj(_) => 6,
            Val::Cut => fuel::stop(Stop::Cut),
        }
    }
}

fn deeper<'a>(children: impl ExactSizeIterator<Item = &'a Val>) -> u16 {
    fuel::steps(children.len() + 1);
    let depth = children.map(Val::depth).max().unwrap_or(0) + 1;
    if depth > DEPTH_MAX {
        fuel::stop(Stop::Depth);
    }
    depth
}

impl Clone for Val {
    fn clone(&self) -> Val {
        fuel::step();
        match self {
            Val::Null => Val::Null,
            Val::Bool(truth) => Val::Bool(*truth),
            Val::Int(whole) => Val::Int(*whole),
            Val::Num(number) => Val::Num(*number),
            Val::Str(text) => Val::Str(Rc::clone(text)),
            Val::Arr(items) => Val::Arr(Rc::clone(items)),
            Val::Obj(pairs) => Val::Obj(Rc::clone(pairs)),
            Val::Cut => Val::Cut,
        }
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Val) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Val {}

impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Val) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Val {
    fn cmp(&self, other: &Val) -> Ordering {
        fuel::step();
        match (self, other) {
            (Val::Int(one), Val::Int(two)) => one.cmp(two),
            (Val::Int(_) | Val::Num(_), Val::Int(_) | Val::Num(_)) => {
                numbers(self.float().unwrap_or(f64::NAN), other.float().unwrap_or(f64::NAN))
            }
            (Val::Str(one), Val::Str(two)) => {
                fuel::bytes(one.len().min(two.len()));
                one.cmp(two)
            }
            (Val::Arr(one), Val::Arr(two)) => one.list.cmp(&two.list),
            (Val::Obj(one), Val::Obj(two)) => {
                fuel::steps(one.map.len().min(two.map.len()));
                one.map.keys().cmp(two.map.keys()).then_with(|| one.map.values().cmp(two.map.values()))
            }
            (one, two) => one.rank().cmp(&two.rank()),
        }
    }
}

/// As numbers are ordered, with what is no number first and all zeros alike.
fn numbers(one: f64, two: f64) -> Ordering {
    one.partial_cmp(&two).unwrap_or_else(|| two.is_nan().cmp(&one.is_nan()))
}
