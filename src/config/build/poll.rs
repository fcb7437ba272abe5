//! `poll` of a `[source.NAME]`: how a system is asked for what is new.
//!
//! # What it does not know
//!
//! What becomes of what it answers.

use std::sync::Arc;
use std::time::Duration;

use super::super::Problem;
use super::super::fields::{Field, Section};
use super::credentials::credentials;
use super::destination::with_headers;
use super::source::{filter, pick};
use super::{missing, note};
use crate::source::{Items, Memory, Pick, Preset, Pull, PullRule, Source, Standing, Tally};
use crate::transport::filter::Filter;
use crate::transport::http::{Address, Http};
use crate::transport::secret::{Proof, Shelf};

/// How long a question may take where nothing is said. The table of rules says the same, as of the two that follow.
const TIMEOUT_MS: u64 = 30_000;
const ASK_ABOVE: u64 = 1_000;
const ITEMS: &str = ".[]";
/// How an address is written.
const SAMPLE: &str = "url = \"http://127.0.0.1:9003/prices?since={cursor}\"";

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
    let url = poll.text("url")?;
    let address = match Address::parse(url) {
        Ok(address) => address,
        Err(wrong) => {
            note(problems, poll.place("url"), &wrong, SAMPLE);
            return None;
        }
    };
    let from = with_headers(Http::post(&address.sample()), poll, problems);
    // A name of a destination has no such sign.
    let from = credentials(from, &format!("source:{name}"), poll, shelf, problems);
    let cycle = if let Some(Field::Cycle(cycle)) = poll.field("cycle") { cycle.clone() } else { return None };
    let cursor = filter(poll, "cursor");
    match (address.has_cursor(), &cursor) {
        (true, None) => note(problems, poll.place("url"), "nothing says what {cursor} is", "cursor = \".next\""),
        (false, Some(_)) => note(problems, poll.place("cursor"), "the URL has no {cursor}", SAMPLE),
        (true, Some(_)) | (false, None) => {}
    }
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
