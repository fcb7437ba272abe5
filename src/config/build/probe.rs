//! How a destination is asked whether it has a message, and what its answer means.
//!
//! # What it does not know
//!
//! When it is asked.

use std::time::Duration;

use super::super::Problem;
use super::super::fields::Section;
use super::note;
use crate::model::OnUncertain;
use crate::transport::answer::{Presence, Wrong};
use crate::transport::http::{Http, Question};

const SAMPLE: &str = "probe = \"GET https://shop.example/orders?external_id={id}\"";

/// What is done where nobody knows whether a message arrived, and the way there with its question, where it has one.
pub(super) fn uncertain(
    http: Http,
    name: &str,
    section: &Section,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> (Http, OnUncertain) {
    let on_uncertain = match section.text("on_uncertain") {
        Some("hold") => OnUncertain::Hold,
        Some("probe") => OnUncertain::Probe,
        Some(_) | None => OnUncertain::Retry,
    };
    match (on_uncertain, section.has("probe")) {
        (OnUncertain::Probe, true) => {}
        (OnUncertain::Probe, false) => {
            note(problems, section.place("on_uncertain"), "nothing says how it is asked", SAMPLE);
        }
        (OnUncertain::Retry | OnUncertain::Hold, true) => {
            note(problems, section.place("probe"), "does nothing here", "on_uncertain = \"probe\"");
        }
        (OnUncertain::Retry | OnUncertain::Hold, false) => {}
    }
    let retry = section.section("retry").filter(|retry| retry.number("attempts") == Some(1));
    if let Some(retry) = retry.filter(|_| on_uncertain == OnUncertain::Probe) {
        note(problems, retry.place("attempts"), "leaves no attempt that could ask", "at least 2");
    }
    let Some(probe) = section.section("probe").filter(|probe| probe.refused.is_empty()) else {
        return (http, on_uncertain);
    };
    match question(probe) {
        Ok(question) => {
            warn(name, section.text("url").unwrap_or_default(), probe, warnings);
            (http.asks(question), on_uncertain)
        }
        Err((key, wrong)) => {
            note(problems, probe.place(key), &wrong, SAMPLE);
            (http, on_uncertain)
        }
    }
}

/// The question, or under which key what is wrong with it.
fn question(probe: &Section) -> Result<Question, (&'static str, String)> {
    let presence = Presence::parse(probe.text("found"), probe.text("absent"), probe.text("remote_id"))
        .map_err(|Wrong { key, problem }| (key, problem.to_string()))?;
    let request = probe.text("request").ok_or(("request", "a request is missing".to_owned()))?;
    let question = Question::parse(request, presence).map_err(|wrong| ("request", wrong))?;
    Ok(match probe.number("timeout") {
        Some(limit_ms) => question.within(Duration::from_millis(limit_ms)),
        None => question,
    })
}

/// Says what may be meant, and is worth a second look.
fn warn(name: &str, url: &str, probe: &Section, warnings: &mut Vec<String>) {
    if probe.text("found").is_none() {
        let words = "without `found` any JSON in which the id stands is taken for a yes, even with `\"found\": false` beside it";
        warnings.push(format!("destination {name:?}: probe: {words}"));
    }
    let asked = probe.text("request").and_then(|request| request.split_once(' ')).map_or("", |(_, url)| url.trim());
    if origin(asked) != origin(url) {
        let words = "its question leads to another server than its messages, and its credentials go there too";
        warnings.push(format!("destination {name:?}: probe: {words}"));
    }
}

/// The scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}
