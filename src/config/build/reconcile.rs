//! `[reconcile.NAME]`: what systems say that they have, and what is done where that is not what was delivered.
//!
//! # What it does not know
//!
//! How anything is compared.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::Problem;
use super::super::fields::{Field, Section};
use super::credentials::credentials;
use super::destination::with_headers;
use super::{missing, note};
use crate::admin::filter::pattern;
use crate::admin::reconcile::{Column, Fields, Format, Manifest, Origin, Other, Plan, Scope};
use crate::model::nearest::nearest;
use crate::model::timetable::Cycle;
use crate::store::{Pattern, Retention};
use crate::transport::filter::Filter;
use crate::transport::http::Http;
use crate::transport::secret::Shelf;

/// The defaults. The table of rules says the same.
const CYCLE_MS: u64 = 3_600_000;
const WINDOW_MS: u64 = 30 * 86_400_000;
const SETTLE_MS: u64 = 600_000;
const ASK_ABOVE: u64 = 100;

/// The comparisons with destinations of these names.
pub(super) fn reconciled(root: &Section, destinations: &[&str], problems: &mut Vec<Problem>) -> Vec<Plan> {
    let named = root.section("reconcile").into_iter().flat_map(Section::named);
    let is_registry = |name: &str| {
        let destination = root.section("destination").and_then(|named| named.section(name));
        destination.is_some_and(|section| section.text("type") == Some("goniec"))
    };
    let named: Vec<(&str, &Section)> = named.collect();
    for (_, section) in named.iter().filter(|(name, _)| is_registry(name)) {
        let what = "is the name of another registry, which is compared under it without a list";
        note(problems, &section.place, what, "another name");
    }
    named.into_iter().filter_map(|(name, section)| plan(name, section, destinations, problems)).collect()
}

fn plan(name: &str, section: &Section, destinations: &[&str], problems: &mut Vec<Problem>) -> Option<Plan> {
    let keys = [
        ("destination", "destination = \"erp\""),
        ("manifest", "manifest = { url = \"https://erp.example/orders.csv\", key = \"order_no\" }"),
    ];
    missing(section, &keys, problems);
    let (destination, table) = (section.text("destination")?, section.section("manifest")?);
    if !destinations.contains(&destination) {
        let near = nearest(destination, destinations.iter().copied());
        let hint = near.map(|near| format!("did you mean {near:?}?")).unwrap_or_default();
        note(problems, section.place("destination"), &format!("there is no destination {destination:?}"), &hint);
    }
    let is_queued = section.text("on_missing") == Some("queue");
    if section.has("ask_above") && !is_queued {
        note(problems, section.place("ask_above"), "does nothing here", "on_missing = \"queue\"");
    }
    let patterns = |key: &str| -> Vec<Pattern> {
        section.texts(key).unwrap_or_default().iter().map(|text| pattern(text)).collect()
    };
    Some(Plan {
        name: Arc::from(name),
        other: Other::Manifest(Box::new(manifest(name, table, problems)?)),
        cycle: match table.field("cycle") {
            Some(Field::Cycle(cycle)) => cycle.clone(),
            Some(_) | None => Cycle::Every(CYCLE_MS),
        },
        scope: Scope {
            destination: Arc::from(destination),
            keys: section.text("keys").map(pattern),
            types: patterns("types"),
            gone_types: patterns("gone_types"),
            window_ms: section.number("since").unwrap_or(WINDOW_MS),
            settle_ms: section.number("settle").unwrap_or(SETTLE_MS),
            ignores_unexpected: section.text("on_unexpected") == Some("ignore"),
        },
        is_queued,
        ask_above: section.number("ask_above").unwrap_or(ASK_ABOVE),
    })
}

/// What these say that may be untrue once this is kept no longer, in words.
pub(super) fn doubtful(plans: &[Plan], keep: &Retention) -> Vec<String> {
    let mut warnings = Vec::new();
    for Plan { name, other, scope, .. } in plans {
        let Other::Manifest(manifest) = other else { continue };
        let mut warn = |words: &str| warnings.push(format!("reconcile {name:?} {words}"));
        let Fields { hash, updated_at, .. } = &manifest.fields;
        if hash.is_some() && scope.window_ms > keep.bodies_ms {
            warn(
                "compares hashes of bodies that `keep_bodies` has removed: what is older is not compared; a shorter `since` leaves it out",
            );
        }
        if updated_at.is_none() && !scope.ignores_unexpected && keep.delivered_ms < u64::MAX {
            warn("has no `updated_at`: what the list keeps longer than `keep_delivered` is told as unexpected");
        }
    }
    warnings
}

fn manifest(name: &str, table: &Section, problems: &mut Vec<Problem>) -> Option<Manifest> {
    missing(table, &[("key", "key = \"order_no\"")], problems);
    let format = table.text("format").and_then(|name| Format::NAMES.iter().find(|(_, known)| *known == name));
    let format = format.map(|(format, _)| *format);
    if table.has("items") && format.is_some_and(|format| format != Format::Json) {
        note(problems, table.place("items"), "does nothing here", "format = \"json\"");
    }
    let mut column = |key: &str| Some(of(table.text(key)?, table, key, problems));
    let (key, version, hash, updated_at) = (column("key"), column("version"), column("hash"), column("updated_at"));
    let items = table.text("items").and_then(|text| Filter::parse(text).ok());
    let origin = origin(name, table, problems)?;
    Some(Manifest { origin, format, fields: Fields { items, key: key?, version, hash, updated_at } })
}

fn origin(name: &str, table: &Section, problems: &mut Vec<Problem>) -> Option<Origin> {
    match (table.text("url"), table.text("file")) {
        (Some(url), None) => {
            if let Err(wrong) = Http::post(url).check() {
                note(problems, table.place("url"), &wrong, "");
                return None;
            }
            let http = with_headers(Http::post(url), table, problems);
            // What is not in the table of rules is not there: nothing that is kept on the shelf.
            let http = credentials(http, name, table, &Shelf::default(), problems);
            Some(Origin::Url(Box::new(http), url.to_owned()))
        }
        (None, Some(path)) => {
            for key in ["headers", "auth", "tls"].into_iter().filter(|key| table.has(key)) {
                note(problems, table.place(key), "does nothing with a file", "");
            }
            Some(Origin::File(PathBuf::from(path)))
        }
        (None, None) if table.refused.contains("url") || table.refused.contains("file") => None,
        (Some(_) | None, Some(_) | None) => {
            let hint = "url = \"https://erp.example/orders.csv\"";
            note(problems, &table.place, "one of url and file is expected", hint);
            None
        }
    }
}

/// Where a word of a line stands: letters, digits, spaces, `_` and `-` are a name, everything else is a filter.
fn of(text: &str, table: &Section, key: &str, problems: &mut Vec<Problem>) -> Column {
    let is_name = text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '-'));
    if !is_name {
        match Filter::parse(text) {
            Ok(filter) => return Column::Found(filter),
            Err(wrong) => note(problems, table.place(key), &wrong.to_string(), "a column name, or a filter as .id"),
        }
    }
    Column::Named(text.trim().to_owned())
}
