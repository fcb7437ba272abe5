//! How the messages of a destination go together, and what an answer says of each.
//!
//! # What it does not know
//!
//! When a batch is full, and whether texts parse: they stood that test when they were read.

use super::super::Problem;
use super::super::fields::Section;
use super::{missing, note};
use crate::engine::BatchRule;
use crate::transport::answer::{Missing, ResultRules, Results, Wrong};
use crate::transport::http::{Format, check_header};
use crate::transport::shape::Shape;

/// How many go together where nothing is written, and how long the first waits. The table of rules says the same.
const MAX: u16 = 100;
const WAIT_MS: u64 = 200;
/// The source of events where none is written. The table of rules says the same.
const SOURCE: &str = "/goniec";

/// The rule of a `batch` table in the table of its destination.
pub(super) fn batch(
    batch: &Section,
    destination: &Section,
    problems: &mut Vec<Problem>,
) -> (BatchRule, Format, Option<Results>) {
    let max = batch.number("max").and_then(|number| u16::try_from(number).ok()).unwrap_or(MAX);
    let rule = BatchRule { max, wait_ms: batch.number("wait").unwrap_or(WAIT_MS) };
    let format = format(batch, destination, problems);
    (rule, format, batch.section("results").and_then(|own| results(own, problems)))
}

fn format(batch: &Section, destination: &Section, problems: &mut Vec<Problem>) -> Format {
    let word = batch.text("format").unwrap_or("json-array");
    for (key, of) in [("template", "template"), ("content_type", "template"), ("source", "cloudevents-batch")] {
        if batch.has(key) && word != of && !batch.refused.contains("format") {
            note(problems, batch.place(key), "does nothing here", &format!("format = {of:?}"));
        }
    }
    match word {
        "ndjson" => Format::Ndjson,
        "cloudevents-batch" => Format::CloudEvents(batch.text("source").unwrap_or(SOURCE).to_owned()),
        "template" => template(batch, destination, problems),
        _ => Format::JsonArray,
    }
}

fn template(batch: &Section, destination: &Section, problems: &mut Vec<Problem>) -> Format {
    if destination.has("body") {
        let what = "does nothing beside the template of `batch`, which sees the bodies as they were handed in";
        note(problems, destination.place("body"), what, "");
    }
    let content_type = batch.text("content_type").unwrap_or("application/json");
    if let Err(wrong) = check_header("content-type", content_type) {
        note(problems, batch.place("content_type"), &wrong, "");
    }
    let Some(text) = batch.text("template") else {
        missing(batch, &[("template", "template = \"[{% for message in messages %}...{% endfor %}]\"")], problems);
        return Format::JsonArray;
    };
    Shape::template(text, content_type).map_or_else(
        |wrong| {
            note(problems, batch.place("template"), &wrong.to_string(), "");
            Format::JsonArray
        },
        Format::Template,
    )
}

fn results(own: &Section, problems: &mut Vec<Problem>) -> Option<Results> {
    missing(own, &[("items", "items = \".results\""), ("success", "success = \".ok == true\"")], problems);
    let rules = ResultRules {
        items: own.text("items")?,
        by: own.text("match"),
        success: own.text("success")?,
        reject: own.text("reject"),
        reason: own.text("reason"),
        remote_id: own.text("remote_id"),
        missing: if own.text("missing") == Some("delivered") { Missing::Delivered } else { Missing::Uncertain },
    };
    match Results::parse(&rules) {
        Ok(results) => Some(results),
        Err(Wrong { key, problem }) => {
            note(problems, own.place(key), &problem.to_string(), "");
            None
        }
    }
}
