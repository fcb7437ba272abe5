//! `poll` of a `[source.NAME]`: how a system is asked for what is new.
//!
//! # What it does not know
//!
//! What becomes of what it answers.

use std::sync::Arc;
use std::time::Duration;

use super::super::Problem;
use super::super::fields::{Field, Section};
use super::answers::answers;
use super::credentials::credentials;
use super::destination::with_headers;
use super::source::{filter, pick};
use super::{missing, note};
use crate::source::{CURSOR_BYTES_MAX, Items, Memory, Pick, Preset, Pull, PullRule, Source, Standing, Tally};
use crate::transport::answer::Wrong;
use crate::transport::filter::Filter;
use crate::transport::http::{Address, Http, PageBody};
use crate::transport::secret::{Proof, Shelf};

/// How long a question may take where nothing is said. The table of rules says the same, as of the three that follow.
const TIMEOUT_MS: u64 = 30_000;
const ASK_ABOVE: u64 = 1_000;
const ITEMS: &str = ".[]";
const CONTENT_TYPE: &str = "application/json";
/// How an address is written.
const SAMPLE: &str = "url = \"http://127.0.0.1:9003/prices?since={cursor}\"";
/// How a body is written.
const BODY: &str = "body = '{\"after\": \"{cursor}\"}'";

/// What an item of a system that is asked becomes: as with one that hands in, but it has no headers, and nobody waits for an answer.
pub(super) fn source(name: &str, section: &Section, problems: &mut Vec<Problem>) -> Option<Source> {
    for key in ["verify", "status", "headers", "spool"].into_iter().filter(|key| section.has(key)) {
        note(problems, section.place(key), "does nothing beside `poll`: the system is asked, and hands in nothing", "");
    }
    let mut word = |key: &str| match pick(section, key, Standing::Nowhere, problems) {
        Pick::Header(_) => {
            note(
                problems,
                section.place(key),
                "an item of a page has no headers",
                "a filter over the item, as \".id\"",
            );
            Pick::Nowhere
        }
        other @ (Pick::Nowhere | Pick::Body(_) | Pick::WebhookId) => other,
    };
    let (kind, delivery) = (word("type"), word("delivery"));
    let preset = Preset::named("none")?;
    Some(Source {
        name: Arc::from(name),
        proof: Proof::none(),
        kind,
        key: filter(section, "key"),
        version: filter(section, "version"),
        delivery,
        headers: Vec::new(),
        status: preset.status,
        is_id_enough: false,
        events: preset.events,
        pings: preset.pings,
        is_stream: false,
        tally: Tally::default(),
        spool: None,
    })
}

/// How it is asked, where it is.
pub(super) fn pull(
    name: &str,
    section: &Section,
    shelf: &Shelf,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Pull>> {
    let poll = section.section("poll")?;
    missing(poll, &[("url", SAMPLE), ("cycle", "cycle = \"every 1m\"")], problems);
    let address = address(poll, problems)?;
    let from = with_headers(Http::post(&address.sample()), poll, problems).answers(answers(poll, problems));
    // A name of a destination has no such sign.
    let from = credentials(from, &format!("source:{name}"), poll, shelf, problems);
    let cycle = if let Some(Field::Cycle(cycle)) = poll.field("cycle") { cycle.clone() } else { return None };
    let cursor = filter(poll, "cursor");
    if cursor.is_none() && !section.has("delivery") && !section.has("version") {
        let words = "has neither a cursor nor a delivery or version: all that a page lists is taken again whenever it is another than before, but for what is added at its end";
        warnings.push(format!("source {name:?} {words}"));
    }
    if poll.has("more") && cursor.is_none() {
        note(problems, poll.place("more"), "does nothing without `cursor`", "cursor = \".next\"");
    }
    let items = filter(poll, "items").or_else(|| Filter::parse(ITEMS).ok())?;
    let rule = PullRule {
        address,
        begin: poll.text("begin").unwrap_or_default().to_owned(),
        cycle,
        items: Items::new(items),
        cursor,
        more: filter(poll, "more"),
        timeout: Duration::from_millis(poll.number("timeout").unwrap_or(TIMEOUT_MS)),
        ask_above: poll.number("ask_above").unwrap_or(ASK_ABOVE),
        memory: memory(poll, problems),
    };
    Some(Arc::new(Pull::new(name, rule, from)))
}

/// Where it is asked, and with which body.
fn address(poll: &Section, problems: &mut Vec<Problem>) -> Option<Address> {
    let address = match Address::parse(poll.text("url")?) {
        Ok(address) => address,
        Err(wrong) => {
            note(problems, poll.place("url"), &wrong, SAMPLE);
            return None;
        }
    };
    let posted = body(poll, problems);
    let is_posted = posted.is_some();
    let address = posted.into_iter().fold(address, Address::posting);
    // What is wrong with a body has been said.
    let is_sound = is_posted || !poll.has("body");
    match (address.has_cursor(), poll.has("cursor")) {
        (true, false) => {
            let place = poll.place(if is_posted { "body" } else { "url" });
            note(problems, place, "nothing says what {cursor} is", "cursor = \".next\"");
        }
        (false, true) if is_posted => {
            note(problems, poll.place("cursor"), "neither the body nor the URL has {cursor}", BODY);
        }
        (false, true) if is_sound => note(problems, poll.place("cursor"), "the URL has no {cursor}", SAMPLE),
        (true, true) | (false, _) => {}
    }
    let Some(begin) = poll.text("begin") else { return Some(address) };
    let wrong = if !poll.has("cursor") {
        Err("does nothing without `cursor`".to_owned())
    } else if begin.len() > CURSOR_BYTES_MAX {
        Err(format!("it has more than {CURSOR_BYTES_MAX} bytes"))
    } else {
        address.takes(begin)
    };
    if let Err(wrong) = wrong {
        note(problems, poll.place("begin"), &wrong, "");
    }
    Some(address)
}

/// What is posted, where it is sound.
fn body(poll: &Section, problems: &mut Vec<Problem>) -> Option<PageBody> {
    match (poll.text("method") == Some("POST"), poll.has("body")) {
        (true, false) => note(problems, poll.place("method"), "nothing says what is posted", BODY),
        (false, true) if !poll.refused.contains("method") => {
            note(problems, poll.place("body"), "a GET has no body", "method = \"POST\"");
        }
        (true, true) | (false, _) => {}
    }
    if poll.has("content_type") && !poll.has("body") {
        note(problems, poll.place("content_type"), "does nothing without `body`", BODY);
    }
    let text = poll.text("body")?;
    let headers = poll.section("headers").into_iter().flat_map(|headers| &headers.fields);
    for (_, (place, _)) in headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        note(problems, place, "is said by `content_type`", CONTENT_TYPE);
    }
    let parsed = PageBody::parse(text, poll.text("content_type").unwrap_or(CONTENT_TYPE));
    let wrong = |Wrong { key, problem }| {
        let place = poll.place(if poll.has(key) { key } else { "body" });
        note(problems, place, &problem.to_string(), if key == "body" { BODY } else { "" });
    };
    parsed.map_err(wrong).ok()
}

fn memory(poll: &Section, problems: &mut Vec<Problem>) -> Option<Memory> {
    let remembers_ms = poll.number("remembers");
    let tell_after_ms = poll.number("gap_after");
    let wrong = match (remembers_ms, tell_after_ms) {
        (None, Some(_)) if !poll.has("remembers") => Some(("does nothing without `remembers`", "remembers = \"3d\"")),
        (Some(remembers_ms), Some(after_ms)) if after_ms >= remembers_ms => Some(("not less than `remembers`", "")),
        (_, _) => None,
    };
    if let Some((what, hint)) = wrong {
        note(problems, poll.place("gap_after"), what, hint);
    }
    let remembers_ms = remembers_ms?;
    Some(Memory { remembers_ms, tell_after_ms: tell_after_ms.unwrap_or(remembers_ms / 3 * 2) })
}
