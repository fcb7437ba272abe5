//! The one filter language: `state:failed to:courier key:sku-1* type:order.* reason:rate remote:4711 "Kowalski" since:2h`.
//!
//! Words are joined by *and*; several values of one word (`state:failed,abandoned`, or the word twice) by *or*. A `*` at the end
//! of a key or type stands for any ending. A value with spaces is put in double quotes; a word that begins with
//! a quote is what stands somewhere in the body, as `text:` is. `since:` and `until:` speak of the time of acceptance.
//!
//! # What it does not know
//!
//! Which destinations exist, and how a list is answered.

use std::fmt;

use crate::model::id::NotAnId;
use crate::model::nearest::nearest;
use crate::model::{Abandoned, Class, Id, WallMs};
use crate::store::{HELD, Pattern, StateName};

use super::when::{Toward, parse_when};

/// Which messages are meant. Every part that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// States; empty for all.
    pub states: Vec<StateName>,
    /// Names of destinations; empty for all.
    pub destinations: Vec<String>,
    /// The key.
    pub key: Option<Pattern>,
    /// The type.
    pub kind: Option<Pattern>,
    /// The reason of an abandonment, or the class of the last failure.
    pub reason: Option<String>,
    /// What the destination calls it.
    pub remote_id: Option<String>,
    /// The incident that it is undelivered by.
    pub incident: Option<u64>,
    /// What stands somewhere in the body, byte for byte.
    pub text: Option<String>,
    /// Ids; empty for all.
    pub ids: Vec<Id>,
    /// Accepted at or after.
    pub since: Option<WallMs>,
    /// Accepted before.
    pub until: Option<WallMs>,
}

/// A filter that says nothing sensible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFilter {
    /// What is wrong.
    pub what: String,
    /// Where the wrong word begins: a column from 1, in characters.
    pub column: usize,
}

/// The words of the language.
pub const WORDS: [&str; 11] =
    ["state", "to", "key", "type", "reason", "remote", "incident", "text", "id", "since", "until"];

/// The names of the states, as the interface spells them.
pub const STATES: [(&str, StateName); 5] = [
    ("queued", StateName::Queued),
    ("sending", StateName::Sending),
    ("delivered", StateName::Delivered),
    ("failed", StateName::Failed),
    ("abandoned", StateName::Abandoned),
];

impl Filter {
    /// Reads a filter; relative times count back from `now`.
    ///
    /// # Errors
    ///
    /// [`BadFilter`] points at the word that is wrong.
    pub fn parse(text: &str, now: WallMs) -> Result<Filter, BadFilter> {
        let mut filter = Filter::default();
        for Word { column, word, is_quoted } in split(text)? {
            let at = |what: String| BadFilter { what, column };
            if is_quoted {
                filter.add("text", &word, now).map_err(at)?;
                continue;
            }
            let Some((name, value)) = word.split_once(':') else {
                return Err(at(format!(
                    "{word:?} is not a filter word; write one of {}, or in double quotes what stands in the body",
                    spelled()
                )));
            };
            filter.add(name, value, now).map_err(at)?;
        }
        Ok(filter)
    }

    /// Adds one word, given apart from its value: `add("state", "failed", now)`.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong with the word or the value.
    pub fn add(&mut self, name: &str, value: &str, now: WallMs) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("{name}: has no value"));
        }
        let when = || parse_when(value, Toward::Past, now);
        match name {
            "state" => self.states.extend(each(value, state)?),
            "to" => self.destinations.extend(each_word(value)?),
            "key" => set(&mut self.key, name, pattern(value))?,
            "type" => set(&mut self.kind, name, pattern(value))?,
            "reason" => set(&mut self.reason, name, reason(value)?)?,
            "remote" => set(&mut self.remote_id, name, value.to_owned())?,
            "incident" => set(&mut self.incident, name, incident(value)?)?,
            "text" => set(&mut self.text, name, value.to_owned())?,
            "id" => self.ids.extend(each(value, |id| id.parse::<Id>().map_err(|wrong: NotAnId| wrong.to_string()))?),
            "since" => set(&mut self.since, name, when()?)?,
            "until" => set(&mut self.until, name, when()?)?,
            _ => {
                let hint = nearest(name, WORDS).map_or(".".into(), |near| format!("; did you mean {near}:?"));
                return Err(format!("unknown filter word {name:?}{hint} There are {}", spelled()));
            }
        }
        Ok(())
    }

    /// Whether nothing is asked for: every message matches.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a message that is seen in passing matches: what is known of it is its id, destination, key and state.
    #[must_use]
    pub fn matches(&self, id: Id, destination: &str, key: Option<&str>, state: StateName) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && (self.destinations.is_empty() || self.destinations.iter().any(|name| name == destination))
            && self.key.as_ref().is_none_or(|pattern| key.is_some_and(|key| pattern.matches(key)))
            && (self.ids.is_empty() || self.ids.contains(&id))
            && self.since.is_none_or(|since| id.accepted_at() >= since)
            && self.until.is_none_or(|until| id.accepted_at() < until)
    }
}

fn spelled() -> String {
    WORDS.map(|word| format!("{word}:")).join(" ")
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name}: is given twice")),
    }
}

/// An empty part is refused: passed over, a value of commas only would ask for everything.
fn each<T>(value: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let part = |one: &str| if one.is_empty() { Err(format!("{value:?} has an empty part")) } else { read(one) };
    value.split(',').map(part).collect()
}

/// Words with commas between them.
pub(crate) fn each_word(value: &str) -> Result<Vec<String>, String> {
    each(value, |word| Ok(word.to_owned()))
}

fn state(name: &str) -> Result<StateName, String> {
    match STATES.iter().find(|(known, _)| *known == name) {
        Some((_, state)) => Ok(*state),
        None => Err(unknown("state", name, &STATES.map(|(known, _)| known))),
    }
}

fn incident(value: &str) -> Result<u64, String> {
    u64::from_str_radix(value, 16).map_err(|_| format!("{value:?} is no incident; it has 16 hex digits"))
}

/// A word, or with a `*` at its end the beginning of one.
pub(crate) fn pattern(value: &str) -> Pattern {
    match value.strip_suffix('*') {
        Some(beginning) => Pattern::Prefix(beginning.to_owned()),
        None => Pattern::Exactly(value.to_owned()),
    }
}

/// A reason may be shortened to any beginning that only one of them has.
fn reason(value: &str) -> Result<String, String> {
    let names = reasons();
    let mut begun = names.iter().filter(|name| name.starts_with(value));
    if names.contains(&value) {
        return Ok(value.to_owned());
    }
    match (begun.next(), begun.next()) {
        (Some(only), None) => Ok((*only).to_owned()),
        (Some(_), Some(_)) | (None, _) => Err(unknown("reason", value, &names)),
    }
}

fn reasons() -> Vec<&'static str> {
    let abandoned = [
        Abandoned::Exhausted,
        Abandoned::Rejected,
        Abandoned::Expired,
        Abandoned::Superseded(Id::from_bytes([0; 16])),
        Abandoned::Cancelled,
    ];
    // A refusal is a reason and a class, of one name.
    let classes = Class::ALL.iter().filter(|class| **class != Class::Rejected);
    abandoned.iter().map(|reason| reason.name()).chain([HELD]).chain(classes.map(|class| class.name())).collect()
}

fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    let hint = nearest(name, names.iter().copied()).map_or(".".into(), |near| format!("; did you mean {near}?"));
    format!("unknown {what} {name:?}{hint} There are {}", names.join(", "))
}

/// A word of a filter.
struct Word {
    /// Where it begins: a column from 1, in characters.
    column: usize,
    /// The word, without its quotes.
    word: String,
    /// Whether it begins with a quote: then it is a text, not a word with a value.
    is_quoted: bool,
}

/// The words with their columns; quotes keep spaces together.
fn split(text: &str) -> Result<Vec<Word>, BadFilter> {
    let mut words: Vec<Word> = Vec::new();
    let mut quote_at = None;
    let mut inside = false;
    for (position, letter) in text.chars().enumerate() {
        let column = position + 1;
        if letter == '"' {
            quote_at = if quote_at.is_some() { None } else { Some(column) };
        } else if letter.is_whitespace() && quote_at.is_none() {
            inside = false;
            continue;
        }
        if !inside {
            words.push(Word { column, word: String::new(), is_quoted: letter == '"' });
            inside = true;
        }
        if let (true, Some(last)) = (letter != '"', words.last_mut()) {
            last.word.push(letter);
        }
    }
    match quote_at {
        Some(column) => Err(BadFilter { what: "the quote is not closed".into(), column }),
        None => Ok(words),
    }
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad filter at column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for BadFilter {}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMs = WallMs(1_795_435_200_000);

    fn read(text: &str) -> Filter {
        Filter::parse(text, NOW).unwrap_or_else(|bad| panic!("{text}: {bad}"))
    }

    fn check_bad(text: &str, column: usize, says: &str) {
        let bad = Filter::parse(text, NOW).expect_err(text);
        assert_eq!(bad.column, column, "{text}: {bad}");
        assert!(bad.what.contains(says), "{text}: {bad}");
    }

    #[test]
    fn every_word_of_the_interface_is_read() {
        let filter = read(
            "state:failed to:courier key:sku-1* type:order.* reason:rate remote:4711 text:4.20 id:019012f0-0000-7000-8000-000000000001 \
             since:2h until:2026-11-23T14:00:00Z",
        );
        assert_eq!(
            filter,
            Filter {
                states: vec![StateName::Failed],
                destinations: vec!["courier".into()],
                key: Some(Pattern::Prefix("sku-1".into())),
                kind: Some(Pattern::Prefix("order.".into())),
                reason: Some("rate-limited".into()),
                remote_id: Some("4711".into()),
                incident: None,
                text: Some("4.20".into()),
                ids: vec!["019012f0-0000-7000-8000-000000000001".parse().expect("an id")],
                since: Some(WallMs(NOW.0 - 7_200_000)),
                until: Some(WallMs(1_795_442_400_000)),
            }
        );
    }

    #[test]
    fn several_values_are_joined_by_or_and_quotes_keep_spaces() {
        assert_eq!(read("state:failed,queued state:abandoned").states.len(), 3);
        assert_eq!(read("key:\"a b\"").key, Some(Pattern::Exactly("a b".into())));
        assert_eq!(read("key:order:17").key, Some(Pattern::Exactly("order:17".into())));
        assert_eq!(read("\"Jan Kowalski\" to:erp").text.as_deref(), Some("Jan Kowalski"));
        assert_eq!(read("\"state:failed\"").text.as_deref(), Some("state:failed"));
        assert!(read("  ").is_all());
    }

    #[test]
    fn a_bad_word_is_pointed_at() {
        check_bad("state:faild", 1, "did you mean failed?");
        check_bad("state:nowhere", 1, "unknown state \"nowhere\". There are");
        check_bad("colour:red", 1, "unknown filter word \"colour\". There are");
        check_bad("to:erp stat:failed", 8, "did you mean state:?");
        check_bad("to:erp  oops", 9, "not a filter word");
        check_bad("since:15", 1, "no unit");
        check_bad("żółw:1", 1, "unknown filter word");
        check_bad("to:ę key:\"a", 10, "not closed");
        check_bad("key:a key:b", 7, "twice");
        check_bad("reason:re", 1, "unknown reason");
        check_bad("state:", 1, "no value");
        check_bad("to:,", 1, "empty part");
        check_bad("state:failed,", 1, "empty part");
        check_bad("to:erp \"\"", 8, "no value");
        check_bad("\"a\" text:b", 5, "twice");
        check_bad("to:erp id:17", 8, "17");
    }

    #[test]
    fn what_passes_by_is_held_against_the_filter() {
        let filter = read("state:failed to:erp,courier key:sku-*");
        let id = Id::from_bytes([1; 16]);
        assert!(filter.matches(id, "erp", Some("sku-1"), StateName::Failed));
        assert!(!filter.matches(id, "shop", Some("sku-1"), StateName::Failed));
        assert!(!filter.matches(id, "erp", Some("order-1"), StateName::Failed));
        assert!(!filter.matches(id, "erp", None, StateName::Failed));
        assert!(!filter.matches(id, "erp", Some("sku-1"), StateName::Delivered));
    }
}
