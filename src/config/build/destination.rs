//! One `[destination.NAME]`: the way there, and how it is delivered to.
//!
//! # What it does not know
//!
//! Other destinations.

use std::sync::Arc;

use super::super::Problem;
use super::super::fields::{Field, Section};
use super::answers::answers;
use super::batch::batch;
use super::credentials::credentials;
use super::peer::{is_peer, peer};
use super::probe::uncertain;
use super::together::together;
use super::{missing, note, rate};
use crate::engine::{Destination, Order};
use crate::model::breaker::BreakerRule;
use crate::model::{Backoff, Policy, Retry};
use crate::source::Peer;
use crate::transport::http::{Http, check_header};
use crate::transport::secret::Shelf;
use crate::transport::shape::Shape;

/// Stands for a URL that is not sound, so that the rest is looked at too; what was noted keeps it from being used.
const NOWHERE: &str = "http://127.0.0.1/";

/// The destination of this name. What does not go together is noted.
pub(super) fn destination(
    name: &str,
    section: &Section,
    shelf: &Shelf,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> (Destination, Option<Peer>) {
    missing(section, &[("url", "url = \"http://127.0.0.1:9001/orders\"")], problems);
    let mut url = section.text("url").unwrap_or(NOWHERE);
    if let Err(wrong) = Http::post(url).check() {
        note(problems, section.place("url"), &wrong, "");
        url = NOWHERE;
    }
    let mut http = Http::post(url);
    together(name, section, warnings, problems);
    http = http.method(section.text("method").unwrap_or("POST"));
    http = with_headers(http, section, problems);
    http = http.answers(answers(section, problems));
    http = shaped(http, section, problems);
    http = credentials(http, name, section, shelf, problems);
    let (mut http, on_uncertain) = uncertain(http, name, section, warnings, problems);
    let concurrency = section.number("concurrency").and_then(|number| u16::try_from(number).ok());
    if let Some(connections) = concurrency {
        http = http.connections(usize::from(connections));
    }
    let batch = section.section("batch").map(|together| {
        let (rule, format, results) = batch(together, section, problems);
        http = std::mem::replace(&mut http, Http::post(url)).batch(format, results);
        rule
    });
    let (mut built, peer) = if is_peer(section, problems) {
        let (built, peer) = peer(name, http);
        (built, Some(peer))
    } else {
        (Destination { batch, ..Destination::new(name, http) }, None)
    };
    built.concurrency = concurrency.unwrap_or(built.concurrency);
    built.latest_wins = section.has("latest_wins");
    built.order = if section.text("order") == Some("key") { Order::Key } else { Order::None };
    built.timeout_ms = section.number("timeout").unwrap_or(built.timeout_ms);
    built.deadline_ms = section.number("deadline");
    built.late_after_ms = section.number("late_after");
    built.silent_after_ms = section.number("silent_after");
    let heard_by = |key| section.texts(key).into_iter().flatten().map(|name| Arc::from(name.as_str())).collect();
    (built.on_delivered, built.on_abandoned) = (heard_by("on_delivered"), heard_by("on_abandoned"));
    let empty = Section::default();
    let retry = section.section("retry").unwrap_or(&empty);
    if let Some(Field::Cycle(cycle)) = retry.field("cycle") {
        built.cycle = Some(cycle.clone());
    }
    built.only_in_cycles = section.text("send") == Some("cycle");
    if built.only_in_cycles && !retry.has("cycle") {
        note(problems, section.place("send"), "there is no timetable", "retry = { cycle = \"every 15m\" }");
    }
    built.policy = Policy { retry: build_retry(retry, problems), on_uncertain };
    hold_back(&mut built, section, problems);
    (built, peer)
}

/// The way there with the headers of this table. What is wrong with one is noted.
pub(super) fn with_headers(mut http: Http, section: &Section, problems: &mut Vec<Problem>) -> Http {
    for (header, (place, value)) in section.section("headers").into_iter().flat_map(|headers| &headers.fields) {
        let with = |http: Http| {
            if let Field::Text(text) = value {
                http.header(header, text)
            } else if let Field::Secret(secret) = value {
                http.secret_header(header, secret)
            } else {
                http
            }
        };
        match with(Http::post(NOWHERE)).check() {
            Ok(()) => http = with(http),
            Err(wrong) => note(problems, place, &wrong, ""),
        }
    }
    http
}

/// What holds messages back: rate, breaker, hours.
fn hold_back(built: &mut Destination, section: &Section, problems: &mut Vec<Problem>) {
    built.rate = rate(section, problems);
    built.breaker = section.section("breaker").map(|breaker| {
        let default = BreakerRule::default();
        let failures = breaker.number("failures").and_then(|number| u16::try_from(number).ok());
        BreakerRule {
            failures: failures.unwrap_or(default.failures),
            window_ms: breaker.number("window").unwrap_or(default.window_ms),
            probe_ms: breaker.number("probe").unwrap_or(default.probe_ms),
        }
    });
    if let Some(Field::Hours(open)) = section.field("hours") {
        built.hours.open = Some(open.clone());
    }
    if let Some(Field::Closures(closed)) = section.field("maintenance") {
        built.hours.closed.clone_from(closed);
    }
    if !built.hours.ever_open() {
        note(problems, section.place("maintenance"), "the destination never opens", "");
    }
}

/// The way there with what it makes of each body, where it makes something of it.
fn shaped(http: Http, section: &Section, problems: &mut Vec<Problem>) -> Http {
    let Some(body) = section.section("body") else { return http };
    let content_type = body.text("content_type").unwrap_or("application/json");
    let shape = match (body.text("template"), body.text("filter")) {
        (Some(template), None) => Shape::template(template, content_type),
        (None, Some(filter)) => Shape::filter(filter, content_type),
        (None, None) if !body.refused.is_empty() => return http,
        (_, _) => {
            note(problems, &body.place, "one of template and filter is expected", "filter = \"{sku: .body.sku}\"");
            return http;
        }
    };
    if let Err(wrong) = check_header("content-type", content_type) {
        note(problems, body.place("content_type"), &wrong, "");
    }
    match shape {
        Ok(shape) => http.shape(shape),
        Err(wrong) => {
            note(problems, &body.place, &wrong.to_string(), "");
            http
        }
    }
}

fn build_retry(section: &Section, problems: &mut Vec<Problem>) -> Retry {
    let default = Retry::default();
    let (mut first_ms, mut max_ms) = (2_000, 600_000);
    if let Backoff::Exponential { first_ms: first, max_ms: max } = default.backoff {
        (first_ms, max_ms) = (first, max);
    }
    let used: &[&str] = match (section.text("backoff"), section.field("cycle")) {
        (Some("fixed"), _) => &["delay"],
        (Some("list"), _) => &["delays"],
        (Some("standard"), _) => &[],
        (None, Some(_)) => &[],
        (Some(_) | None, _) => &["first", "max"],
    };
    for name in ["delay", "delays", "first", "max"].iter().filter(|name| !used.contains(*name)) {
        if section.fields.contains_key(*name) {
            let what = "does nothing here";
            let hint = "`first` and `max` belong to backoff = \"exponential\", `delay` to \"fixed\", `delays` to \"list\"; with a cycle alone, the next cycle decides";
            note(problems, section.place(name), what, hint);
        }
    }
    let is_standard = section.text("backoff") == Some("standard");
    let backoff = match (section.text("backoff"), section.field("cycle"), section.field("delays")) {
        (Some("standard"), _, _) => Backoff::List(STANDARD_S.map(|delay_s| delay_s * 1_000).into()),
        (Some("fixed"), _, _) => Backoff::Fixed(section.number("delay").unwrap_or(FIXED_MS)),
        (Some("list"), _, Some(Field::Numbers(delays_ms))) => Backoff::List(delays_ms.clone()),
        (Some("list"), _, _) => {
            note(problems, &section.place, "a list needs its delays", "delays = [\"1s\", \"1m\", \"1h\"]");
            Backoff::List(vec![FIXED_MS])
        }
        (None, Some(_), _) => Backoff::NextCycle,
        (Some(_) | None, _, _) => {
            let first_ms = section.number("first").unwrap_or(first_ms);
            let max_ms = section.number("max").unwrap_or(max_ms.max(first_ms));
            if first_ms > max_ms {
                note(problems, section.place("first"), "longer than `max`", "");
            }
            Backoff::Exponential { first_ms, max_ms }
        }
    };
    let attempts = section.number("attempts").and_then(|number| u16::try_from(number).ok());
    let jitter_permille = match section.field("jitter") {
        Some(Field::Share(share)) => (0..=1_000_u16).find(|permille| f64::from(*permille) >= share * 1_000.0 - 0.5),
        Some(_) | None => None,
    };
    Retry {
        backoff,
        jitter_permille: jitter_permille.unwrap_or(default.jitter_permille),
        attempts: attempts.unwrap_or(if is_standard { STANDARD_ATTEMPTS } else { default.attempts }),
    }
}

/// The delay of `fixed` where none is written. The table of rules says the same.
const FIXED_MS: u64 = 60_000;

/// The delays of `standard`, in seconds: the first attempt goes at once, and each later one so long after the one before.
const STANDARD_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// How many attempts that makes.
const STANDARD_ATTEMPTS: u16 = 10;
