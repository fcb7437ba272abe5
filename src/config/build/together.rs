//! What of a destination does not go together, or does not do what it seems to.
//!
//! # What it does not know
//!
//! What is built from it, and whether each key stands the test alone.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::Problem;
use super::super::fields::Section;
use super::note;

/// Notes what cannot be meant, and warns of what may surprise.
pub(super) fn together(name: &str, section: &Section, warnings: &mut Vec<String>, problems: &mut Vec<Problem>) {
    refuse(section, problems);
    let warned = readable(section).into_iter().chain(surprising(section));
    warnings.extend(warned.map(|words| format!("destination {name:?}: {words}")));
}

fn refuse(section: &Section, problems: &mut Vec<Problem>) {
    let url = section.text("url").unwrap_or_default();
    if let Some(letter) = url.chars().find(|letter| matches!(letter, '{' | '}' | '#')) {
        let what = format!("a URL is sent as it stands, and {letter:?} means nothing in it");
        note(problems, section.place("url"), &what, "only `probe.request` takes the place of `{id}`");
    }
    if section.has("tls") && url.starts_with("http://") {
        note(problems, section.place("tls"), "does nothing beside a URL without encryption", "url = \"https://...\"");
    }
    let hmac = section.section("hmac");
    if let Some((hmac, header)) = hmac.and_then(|hmac| hmac.text("header").map(|header| (hmac, header))) {
        let is = |other: &str| header.eq_ignore_ascii_case(other);
        let is_fixed = section.section("headers").is_some_and(|headers| headers.fields.keys().any(|name| is(name)));
        if is("authorization") || is_fixed {
            note(problems, hmac.place("header"), "this header says something else", "header = \"x-signature\"");
        }
    }
    if let Some(body) = section.section("body").filter(|body| section.has("batch") && body.has("content_type")) {
        note(problems, body.place("content_type"), "does nothing beside `batch`", "the format of the batch decides");
    }
}

/// The URLs whose traffic others can read.
fn readable(section: &Section) -> Vec<String> {
    let oauth = section.section("auth").and_then(|auth| auth.section("oauth"));
    let probe = section.section("probe").and_then(|probe| probe.text("request"));
    let urls = [
        section.text("url"),
        oauth.and_then(|oauth| oauth.text("url")),
        probe.and_then(|request| request.split_once(' ')).map(|(_, url)| url.trim()),
    ];
    let far = urls.into_iter().flatten().filter(|url| url.starts_with("http://") && !is_near(url));
    far.map(|url| format!("what goes to {url} can be read on its way; https:// cannot")).collect()
}

fn surprising(section: &Section) -> Vec<String> {
    let mut words = Vec::new();
    let mut warn = |is_so: bool, what: &str| is_so.then(|| words.push(what.to_owned()));
    let number = |name| section.number(name);
    let deadline_ms = number("deadline").unwrap_or(u64::MAX);
    warn(
        number("late_after").is_some_and(|late_ms| late_ms >= deadline_ms),
        "late_after: nothing is ever late, as it is given up before: `deadline` is not longer",
    );
    warn(number("timeout").is_some_and(|timeout_ms| timeout_ms > deadline_ms), "timeout: longer than `deadline`");
    let asked = section.section("probe").and_then(|probe| probe.text("request")).unwrap_or_default();
    warn(
        section.has("latest_wins") && asked.contains("{key}") && !asked.contains("{id}"),
        "probe: where the latest wins, an older value of the key is taken for this one; ask by {id}",
    );
    let has = |table: &str, name: &str| section.section(table).is_some_and(|table| table.has(name));
    warn(
        has("answers", "already_there") && section.has("batch") && !has("batch", "results"),
        "answers.already_there: a 409 to a batch delivers all of it; `batch.results` tells them apart",
    );
    words
}

/// Whether a plain URL leads to this machine.
fn is_near(url: &str) -> bool {
    let rest = url.trim_start_matches("http://");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if let Some((host, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return host.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback());
    }
    let host = host.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}
