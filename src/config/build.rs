//! From fields to the values that they mean, with the defaults of what was not written.
//!
//! # What it does not know
//!
//! TOML: it is given fields that each stood the test of their rule. What it checks is how they go together.

mod account;
mod alert;
mod answers;
mod batch;
mod credentials;
mod destination;
mod peer;
mod poll;
mod probe;
mod reconcile;
mod source;
mod together;

use self::account::{account_of, accounts, unused};
use self::alert::Alerts;
use self::credentials::shared_refresh_tokens;
use self::destination::destination;
use self::reconcile::{doubtful, reconciled};
use self::source::sources;
use super::fields::{Field, Place, Section};
use super::{Config, Problem, Role, Token};
use crate::engine::{Destination, Settings};
use crate::model::nearest::nearest;
use crate::model::rate::Rate;
use crate::source::UNROUTED;
use crate::transport::http::Http;
use crate::transport::secret::UNGUESSABLE_BYTES;

/// The configuration that these fields mean. What does not go together is noted.
pub(super) fn build(root: &Section, problems: &mut Vec<Problem>) -> Config {
    let mut config = Config { settings: settings(root), ..Config::default() };
    let server = root.section("server");
    config.listen = server.and_then(|server| server.text("listen")).and_then(|text| text.parse().ok());
    config.tokens = server.map(|server| tokens(server, problems)).unwrap_or_default();
    for token in config.tokens.iter().filter(|token| token.secret.is_guessable()) {
        let words = format!(
            "has fewer than {UNGUESSABLE_BYTES} bytes and can be guessed; `openssl rand -hex 32` prints a better one"
        );
        config.warnings.push(format!("the token {:?} {words}", token.name));
    }
    if let Some(listen) = config.listen.filter(|listen| !listen.ip().is_loopback() && config.tokens.is_empty()) {
        let words = "can be reached from other machines: `serve` refuses it without `tokens` in [server], --token, or one made with `goniec token new`";
        config.warnings.push(format!("{listen} {words}"));
    }
    let data = root.section("store").and_then(|store| store.text("url")).and_then(|url| url.strip_prefix("sled:"));
    config.data = data.map(str::to_owned);
    let accounts = accounts(root, problems);
    for (name, section) in root.section("destination").into_iter().flat_map(Section::named) {
        let account = account_of(section, &accounts, problems);
        let (built, peer) = destination(name, section, &config.shelf, &mut config.warnings, problems);
        config.destinations.push(Destination { account, ..built });
        config.peers.extend(peer);
    }
    if let Some(section) = root.section("destination").filter(|named| named.has(UNROUTED)) {
        note(problems, section.place(UNROUTED), "is where messages rest that no route takes", "another name");
    }
    shared_refresh_tokens(root, problems);
    config.warnings.extend(unused(&accounts, &config.destinations));
    // One that is not sound is there all the same.
    let named = root.section("destination");
    let names: Vec<&str> = named.into_iter().flat_map(Section::named).map(|(name, _)| name).collect();
    let node = server.and_then(|server| node(server, problems));
    config.url = node.map(str::to_owned);
    verdicts(named, &names, problems);
    config.sources = sources(root, &names, &config.destinations, &config.shelf, &mut config.warnings, problems).into();
    config.reconcile = reconciled(root, &names, problems);
    config.warnings.extend(doubtful(&config.reconcile, &config.settings.retention));
    let alerts = Alerts { names: &names, node };
    for section in root.sections("alert") {
        config.alerts.extend(alerts.rules(section, &mut config.warnings, problems));
    }
    config
}

fn note(problems: &mut Vec<Problem>, place: &Place, what: &str, hint: &str) {
    let what = format!("{}: {what}", place.path);
    problems.push(Problem { source: place.source.clone(), at: place.at, what, hint: hint.to_owned() });
}

/// Notes a name that none of these is.
fn known(name: &str, names: &[&str], what: &str, place: &Place, problems: &mut Vec<Problem>) {
    if !names.contains(&name) {
        let near = nearest(name, names.iter().copied());
        let hint = near.map(|near| format!("did you mean {near:?}?")).unwrap_or_default();
        note(problems, place, &format!("there is no {what} {name:?}"), &hint);
    }
}

/// Notes each of these keys, given with a sample, that is not in the table.
fn missing(section: &Section, keys: &[(&str, &str)], problems: &mut Vec<Problem>) {
    for (key, sample) in keys.iter().filter(|(key, _)| !section.has(key)) {
        note(problems, &section.place, &format!("a {key} is missing"), sample);
    }
}

/// The rate of a table with its burst.
fn rate(section: &Section, problems: &mut Vec<Problem>) -> Option<Rate> {
    let burst = section.number("burst").and_then(|number| u32::try_from(number).ok());
    let rate = if let Some(Field::Rate(rate)) = section.field("rate") { Some(*rate) } else { None };
    let wrong = match (rate, burst) {
        (Some(rate), Some(burst)) if burst > rate.count => {
            Some(("more than the rate lets through", "at most what stands before the `/`"))
        }
        (None, Some(_)) if !section.has("rate") => Some(("does nothing without `rate`", "rate = \"100/1m\"")),
        (_, _) => None,
    };
    if let Some((what, hint)) = wrong {
        note(problems, section.place("burst"), what, hint);
    }
    rate.map(|rate| burst.map_or(rate, |burst| rate.with_burst(burst)))
}

/// Whether who hears how messages end is there, and nobody hears of what he hears.
fn verdicts(named: Option<&Section>, names: &[&str], problems: &mut Vec<Problem>) {
    const KEYS: [&str; 2] = ["on_delivered", "on_abandoned"];
    let sections: Vec<(&str, &Section)> = named.into_iter().flat_map(Section::named).collect();
    let speaks =
        |name: &str| sections.iter().any(|(own, section)| *own == name && KEYS.iter().any(|key| section.has(key)));
    for (section, key) in sections.iter().flat_map(|(_, section)| KEYS.map(|key| (section, key))) {
        for to in section.texts(key).into_iter().flatten().filter(|to| *to != "log") {
            if !names.contains(&to.as_str()) {
                let near = nearest(to, names.iter().copied());
                let hint = near.map(|near| format!("did you mean {near:?}?")).unwrap_or_default();
                note(problems, section.place(key), &format!("there is no destination {to:?}"), &hint);
            } else if speaks(to) {
                let words = format!("{to:?} tells others how its own messages end: that would go on and on");
                note(problems, section.place(key), &words, "a destination without on_delivered and on_abandoned");
            }
        }
    }
}

fn settings(root: &Section) -> Settings {
    let mut settings = Settings::default();
    if let Some(bytes) = root.section("server").and_then(|server| server.number("body_max")) {
        settings.body_bytes_max = bytes;
    }
    let Some(store) = root.section("store") else { return settings };
    settings.store_bytes_max = store.number("size_max");
    let keep = &mut settings.retention;
    keep.delivered_ms = store.number("keep_delivered").unwrap_or(keep.delivered_ms);
    keep.abandoned_ms = store.number("keep_abandoned").unwrap_or(keep.abandoned_ms);
    keep.bodies_ms = store.number("keep_bodies").unwrap_or(keep.bodies_ms);
    settings
}

/// Where people reach this node.
fn node<'a>(server: &'a Section, problems: &mut Vec<Problem>) -> Option<&'a str> {
    let url = server.text("url")?;
    match Http::post(url).check() {
        Ok(()) => Some(url),
        Err(wrong) => {
            note(problems, server.place("url"), &wrong, "url = \"https://goniec.example.pl\"");
            None
        }
    }
}

fn tokens(server: &Section, problems: &mut Vec<Problem>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for section in server.sections("tokens") {
        let keys = [
            ("name", "name = \"anna\""),
            ("role", "producer, viewer, operator or admin"),
            ("secret", "secret = { env = \"NAME\" }"),
        ];
        missing(section, &keys, problems);
        let (Some(name), Some(role), Some(secret)) =
            (section.text("name"), section.text("role").and_then(Role::of), section.secret("secret"))
        else {
            continue;
        };
        if tokens.iter().any(|other| other.name == name || other.secret.equals(secret)) {
            note(problems, &section.place, "another token has this name or this secret", "");
            continue;
        }
        tokens.push(Token { name: name.to_owned(), role, secret: secret.clone() });
    }
    tokens
}
