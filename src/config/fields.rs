//! Fields: what stood in the file and stood the test of its rule, each with its place.
//!
//! # What it does not know
//!
//! TOML, rules, and what is built from them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Cycle;
use crate::model::rate::Rate;
use crate::model::timetable::{Closure, Weekly};
use crate::transport::secret::Secret;

/// Where a field stands: in the file, or in a variable.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The file or the variable.
    pub(super) source: String,
    /// Line and column in it.
    pub(super) at: Option<(usize, usize)>,
    /// The path of the key.
    pub(super) path: String,
}

/// A table of fields that stood the test.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    pub(super) place: Place,
    pub(super) fields: BTreeMap<String, (Place, Field)>,
    /// Keys that are there and did not stand it; what is wrong with them has been said.
    pub(super) refused: BTreeSet<String>,
}

/// What a key holds.
#[derive(Debug, Clone)]
pub(super) enum Field {
    Section(Section),
    Sections(Vec<Section>),
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Numbers(Vec<u64>),
    Share(f64),
    Yes,
    Cycle(Cycle),
    Rate(Rate),
    Hours(Weekly),
    Closures(Vec<Closure>),
    /// The secret itself: it goes nowhere but into what uses it.
    Secret(Secret),
    Secrets(Vec<Secret>),
}

impl Section {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name).map(|(_, field)| field)
    }

    /// Whether the key is there, sound or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name) || self.refused.contains(name)
    }

    pub(super) fn place(&self, name: &str) -> &Place {
        self.fields.get(name).map_or(&self.place, |(place, _)| place)
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        if let Some(Field::Section(section)) = self.field(name) { Some(section) } else { None }
    }

    pub(super) fn sections(&self, name: &str) -> &[Section] {
        if let Some(Field::Sections(sections)) = self.field(name) { sections } else { &[] }
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.fields.iter().filter_map(|(name, (_, field))| {
            if let Field::Section(section) = field { Some((name.as_str(), section)) } else { None }
        })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Some(Field::Text(text)) = self.field(name) { Some(text) } else { None }
    }

    pub(super) fn texts(&self, name: &str) -> Option<&[String]> {
        if let Some(Field::Texts(texts)) = self.field(name) { Some(texts) } else { None }
    }

    pub(super) fn secret(&self, name: &str) -> Option<&Secret> {
        if let Some(Field::Secret(secret)) = self.field(name) { Some(secret) } else { None }
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        if let Some(Field::Number(number)) = self.field(name) { Some(*number) } else { None }
    }
}
