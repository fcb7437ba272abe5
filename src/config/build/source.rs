//! `[source.NAME]` and `[[route]]`: who hands in, how it proves who it is, and what goes where.
//!
//! # What it does not know
//!
//! What becomes of what came.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::super::fields::{Field, Section};
use super::super::{LOG, Problem};
use super::credentials::{SECRET, encoding};
use super::{known, missing, note, poll};
use crate::admin::filter::pattern;
use crate::engine::Destination;
use crate::source::{Pick, Preset, Route, Signs, Source, Sources, Spool, Standing, Tally, UNROUTED};
use crate::transport::filter::Filter;
use crate::transport::http::{check_header, is_reserved};
use crate::transport::secret::{Proof, Secret, Shelf, UNGUESSABLE_BYTES};

const SPOOL_LOOK_MS: u64 = 5_000;
const SPOOL_KEEP_MS: u64 = 30 * 86_400_000;

/// The sources, and the routes from them to destinations of these names.
pub(super) fn sources(
    root: &Section,
    named: &[&str],
    destinations: &[Destination],
    shelf: &Shelf,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Sources {
    let sections: Vec<(&str, &Section)> = root.section("source").into_iter().flat_map(Section::named).collect();
    let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    let built = sections.iter().filter_map(|(name, section)| source(name, section, warnings, problems));
    let sources = built.map(Arc::new).collect();
    let asked = sections.iter().filter_map(|(name, section)| poll::pull(name, section, shelf, warnings, problems));
    let pulls = asked.collect();
    one_folder_each(&sections, problems);
    let routes: Vec<Route> =
        root.sections("route").iter().filter_map(|section| route(section, &names, named, problems)).collect();
    let has_route = |name: &str| routes.iter().any(|route| route.from.as_deref().is_none_or(|from| from == name));
    let astray = names.iter().filter(|name| !has_route(name));
    warnings.extend(astray.map(|name| format!("source {name:?} has no route: all of its messages go to {UNROUTED:?}")));
    let latest = destinations.iter().filter(|to| to.latest_wins).map(|to| to.name.clone()).collect();
    Sources { sources, routes, pulls, latest }
}

/// No two sources take the files of one folder.
fn one_folder_each(named: &[(&str, &Section)], problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (name, section) in named {
        let Some((table, dir)) = section.section("spool").and_then(|table| Some((table, table.text("dir")?))) else {
            continue;
        };
        // However it is written: with `./`, a slash at its end, or by way of a link.
        let dir = std::fs::canonicalize(dir).or_else(|_| std::path::absolute(dir)).unwrap_or_default();
        let dir = dir.components().collect();
        if let Some(owner) = owners.insert(dir, name) {
            note(problems, table.place("dir"), &format!("is the folder of source {owner:?}"), "a folder of its own");
        }
    }
}

fn source(name: &str, section: &Section, warnings: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Source> {
    if section.has("poll") {
        return poll::source(name, section, problems);
    }
    let spool = section.section("spool").map(|table| spool(section, table, problems));
    let (preset, proof) = match &spool {
        // Whoever can write into the folder is believed.
        Some(_) => (Preset::named("none")?, Proof::none()),
        None => believed(name, section, warnings, problems)?,
    };
    let odd = ["key", "version", "type", "delivery", "headers", "status"].into_iter();
    for key in odd.filter(|key| preset.is_stream && section.has(key)) {
        note(problems, section.place(key), "does nothing with the preset \"goniec\": messages keep their words", "");
    }
    let headers = section.texts("headers").unwrap_or_default().iter().map(|name| name.to_ascii_lowercase());
    let headers: Vec<String> = headers.collect();
    for header in &headers {
        let wrong = match header.as_str() {
            "authorization" | "proxy-authorization" | "cookie" => Err("what proves who it is goes no further".into()),
            header if is_reserved(header) => Err("it is set by goniec itself".into()),
            header => check_header(header, ""),
        };
        if let Err(wrong) = wrong {
            note(problems, section.place("headers"), &format!("the header {header:?}: {wrong}"), "");
        }
    }
    Some(Source {
        name: Arc::from(name),
        proof,
        kind: pick(section, "type", preset.kind, problems),
        key: filter(section, "key"),
        version: filter(section, "version"),
        delivery: pick(section, "delivery", preset.delivery, problems),
        headers,
        status: section.number("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(preset.status),
        is_id_enough: preset.is_id_enough && !section.has("delivery"),
        events: preset.events,
        pings: preset.pings,
        is_stream: preset.is_stream,
        tally: Tally::default(),
        spool: match spool {
            Some(built) => Some(built?),
            None => None,
        },
    })
}

/// How a system signs that calls, and what it is believed by.
fn believed(
    name: &str,
    section: &Section,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<(Preset, Proof)> {
    missing(section, &[("verify", "verify = { preset = \"woocommerce\", secret = { env = \"NAME\" } }")], problems);
    let verify = section.section("verify")?;
    header(verify, "header", problems);
    header(verify, "timestamp", problems);
    missing(verify, &[("preset", "preset = \"woocommerce\"")], problems);
    let preset = Preset::named(verify.text("preset")?)?;
    let proof = proof(name, preset, verify, warnings, problems)?;
    if proof.is_none() {
        warnings.push(format!("source {name:?} believes everybody who reaches this node"));
    }
    Some((preset, proof))
}

/// The folder of a source that hands in files; `None` where it does not say which.
fn spool(source: &Section, table: &Section, problems: &mut Vec<Problem>) -> Option<Spool> {
    for key in ["verify", "headers", "status"] {
        if source.has(key) {
            note(problems, source.place(key), "does nothing with a spool: nobody calls", "");
        }
    }
    let in_header =
        ["type", "delivery"].into_iter().filter_map(|key| source.section(key)).filter(|of| of.has("header"));
    in_header.for_each(|of| note(problems, of.place("header"), "a file has no headers", "a filter"));
    missing(table, &[("dir", "dir = \"/var/spool/goniec/orders\"")], problems);
    Some(Spool {
        dir: PathBuf::from(table.text("dir")?),
        look_ms: table.number("look").unwrap_or(SPOOL_LOOK_MS),
        keep_ms: table.number("keep").unwrap_or(SPOOL_KEEP_MS),
        separator: table.text("separator").and_then(|letter| letter.bytes().next()).unwrap_or(b','),
        status: Mutex::default(),
    })
}

fn proof(
    name: &str,
    preset: Preset,
    verify: &Section,
    warnings: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<Proof> {
    let belongs: &[&str] = match preset.signs {
        Signs::Own => &["secret", "header", "encoding", "prefix", "timestamp", "tolerance"],
        Signs::Timed(..) => &["secret", "timestamp", "tolerance"],
        Signs::Stripe | Signs::StandardWebhooks => &["secret", "tolerance"],
        Signs::Basic => &["secret", "user"],
        Signs::Body(..) | Signs::Bearer => &["secret"],
        Signs::Nothing => &[],
    };
    let odd = verify.fields.keys().filter(|key| *key != "preset" && !belongs.contains(&key.as_str()));
    for key in odd {
        note(problems, verify.place(key), &format!("does nothing with the preset {:?}", preset.name), "");
    }
    let keys = match (preset.signs, verify.field("secret")) {
        (Signs::Nothing, _) => Vec::new(),
        (_, Some(Field::Secrets(secrets))) => secrets.clone(),
        (_, _) => {
            missing(verify, &[("secret", SECRET)], problems);
            return None;
        }
    };
    if keys.iter().any(|secret| secret.equals(&Secret::new(String::new()))) {
        note(problems, verify.place("secret"), "it is empty", "");
    }
    if keys.iter().any(Secret::is_guessable) {
        let words = format!("has a secret of fewer than {UNGUESSABLE_BYTES} bytes, which can be guessed");
        warnings.push(format!("source {name:?} {words}"));
    }
    let proof = match preset.signs {
        Signs::Body(header, encoding, prefix) => Proof::hmac(header, encoding, prefix, keys),
        Signs::Timed(header, encoding) => Proof::hmac(header, encoding, "", keys),
        Signs::Own => {
            missing(verify, &[("header", "header = \"x-signature\"")], problems);
            Proof::hmac(verify.text("header")?, encoding(verify), verify.text("prefix").unwrap_or_default(), keys)
        }
        Signs::Stripe => Proof::stripe(keys),
        Signs::StandardWebhooks => match Proof::standard_webhooks(&keys) {
            Ok(proof) => proof,
            Err(wrong) => {
                note(problems, verify.place("secret"), &wrong, "");
                return None;
            }
        },
        Signs::Basic => {
            missing(verify, &[("user", "user = \"woo\"")], problems);
            Proof::basic(verify.text("user")?, keys)
        }
        Signs::Bearer => Proof::bearer(keys),
        Signs::Nothing => Proof::none(),
    };
    if matches!(preset.signs, Signs::Own | Signs::Timed(..)) && verify.has("tolerance") && !verify.has("timestamp") {
        let hint = "timestamp = \"x-timestamp\", where the sender signs its time";
        note(problems, verify.place("tolerance"), "does nothing without `timestamp`", hint);
    }
    let proof = match verify.text("timestamp") {
        Some(header) => proof.timed_by(header),
        None => proof,
    };
    Some(match verify.number("tolerance") {
        Some(tolerance_ms) => proof.within(tolerance_ms),
        None => proof,
    })
}

/// Where a word stands: as it is written, or else as the preset has it.
pub(super) fn pick(section: &Section, key: &str, preset: Standing, problems: &mut Vec<Problem>) -> Pick {
    let Some(table) = section.section(key) else {
        return match preset {
            Standing::Nowhere => Pick::Nowhere,
            Standing::Header(name) => Pick::Header(name.to_owned()),
            Standing::WebhookId => Pick::WebhookId,
            // Ours; a test reads each.
            Standing::Body(text) => Filter::parse(text).map_or(Pick::Nowhere, Pick::Body),
        };
    };
    match (table.text("filter"), table.text("header")) {
        (Some(text), None) => match Filter::parse(text) {
            Ok(filter) => Pick::Body(filter),
            Err(wrong) => {
                note(problems, table.place("filter"), &wrong.to_string(), "");
                Pick::Nowhere
            }
        },
        (None, Some(name)) => {
            header(table, "header", problems);
            Pick::Header(name.to_ascii_lowercase())
        }
        (Some(_), Some(_)) | (None, None) if table.refused.is_empty() => {
            let hint = format!("{key} = {{ header = \"x-topic\" }}, or {key} = \".type\"");
            note(problems, &table.place, "one of filter and header is expected", &hint);
            Pick::Nowhere
        }
        (Some(_) | None, Some(_) | None) => Pick::Nowhere,
    }
}

/// Notes what is written there and is no name of a header.
fn header(section: &Section, key: &str, problems: &mut Vec<Problem>) {
    if let Some(Err(wrong)) = section.text(key).map(|name| check_header(name, "")) {
        note(problems, section.place(key), &wrong, "");
    }
}

pub(super) fn filter(section: &Section, key: &str) -> Option<Filter> {
    Filter::parse(section.text(key)?).ok()
}

fn route(section: &Section, sources: &[&str], destinations: &[&str], problems: &mut Vec<Problem>) -> Option<Route> {
    missing(section, &[("to", "to = [\"erp\"]")], problems);
    let from = section.text("from");
    if let Some(name) = from {
        known(name, sources, "source", section.place("from"), problems);
    }
    let to = section.texts("to")?;
    for name in to.iter().filter(|name| *name != LOG) {
        known(name, destinations, "destination", section.place("to"), problems);
    }
    Some(Route {
        from: from.map(Arc::from),
        kind: section.text("type").map(pattern),
        when: filter(section, "when"),
        to: to.iter().map(|name| Arc::from(name.as_str())).collect(),
    })
}
