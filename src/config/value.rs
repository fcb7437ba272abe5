//! One value held against its kind.
//!
//! # What it does not know
//!
//! Where the value stands.

use toml::de::DeValue;

use super::fields::Field;
use super::rules::Kind;
use crate::model::nearest::nearest;
use crate::model::span::{parse_span_ms, show_span};
use crate::model::timetable::Closure;

/// A value of this kind.
pub(super) fn checked(kind: Kind, value: &DeValue<'_>) -> Result<Field, String> {
    let wrong = |wanted: &str| Err(format!("{wanted} is expected, not {}", value.type_str()));
    let texts = || -> Option<Vec<&str>> { value.as_array()?.iter().map(|item| item.get_ref().as_str()).collect() };
    match kind {
        Kind::Text | Kind::Url | Kind::Listen | Kind::Store => match value.as_str() {
            Some("") => Err("it is empty".into()),
            Some(text) => fitting(kind, text).map(|()| Field::Text(text.to_owned())),
            None => wrong("a text"),
        },
        Kind::Size(least, most) => match value.as_str() {
            Some(text) => parse_size(text, least, most).map(Field::Number),
            None => wrong("a size with a unit, as \"1MiB\","),
        },
        Kind::Span(least, most) => match value.as_str() {
            Some(text) => span(text, least, most).map(Field::Number),
            None => wrong("a duration with a unit, as \"30s\","),
        },
        Kind::Spans(least, most) => match texts() {
            Some(list) if !list.is_empty() => {
                list.into_iter().map(|text| span(text, least, most)).collect::<Result<_, _>>().map(Field::Numbers)
            }
            Some(_) | None => Err("a list of durations is expected, as [\"1s\", \"1m\"]".into()),
        },
        Kind::Whole(least, most) => match value.as_integer().and_then(|number| number.as_str().parse::<u64>().ok()) {
            Some(number) if (least..=most).contains(&number) => Ok(Field::Number(number)),
            Some(number) => Err(format!("{number} is not from {least} to {most}")),
            None => wrong(&format!("a whole number from {least} to {most}")),
        },
        Kind::Share => {
            let float = value.as_float().and_then(|number| number.as_str().parse::<f64>().ok());
            let whole = value.as_integer().and_then(|number| number.as_str().parse::<f64>().ok());
            match float.or(whole).filter(|share| (0.0..=1.0).contains(share)) {
                Some(share) => Ok(Field::Share(share)),
                None => Err("a number from 0 to 1 is expected".into()),
            }
        }
        Kind::Yes => match value.as_bool() {
            Some(true) => Ok(Field::Yes),
            Some(false) | None => Err("only `true` makes sense here".into()),
        },
        Kind::Choice(words) => match value.as_str() {
            Some(word) => choice(word, words).map(|()| Field::Text(word.to_owned())),
            None => wrong(&format!("one of {}", words.join(", "))),
        },
        Kind::Choices(words) => match texts() {
            Some(list) if !list.is_empty() => {
                list.iter().try_for_each(|word| choice(word, words))?;
                Ok(Field::Texts(list.into_iter().map(str::to_owned).collect()))
            }
            Some(_) | None => Err(format!("a list of some of {} is expected", words.join(", "))),
        },
        Kind::Texts => match texts() {
            Some(list) if !list.is_empty() => Ok(Field::Texts(list.into_iter().map(str::to_owned).collect())),
            Some(_) | None => Err("a list of texts is expected".into()),
        },
        Kind::Cycle | Kind::Rate | Kind::Hours | Kind::Closures => timed(kind, value),
        Kind::TableOr(name) => wrong(&format!("a table, or the text of its `{name}`,")),
        Kind::Table | Kind::Named | Kind::Pairs => wrong("a table"),
        Kind::Tables => wrong("a list of tables"),
        Kind::OneOrMore => wrong("a table or a list of tables"),
        Kind::File => wrong("the path of a file"),
        Kind::Statuses => wrong("a set of statuses, as \"2xx,409\","),
        Kind::Filter => wrong("a filter as a text"),
        Kind::Template => wrong("a template as a text, or { file = \"PATH\" },"),
        Kind::Secret | Kind::Secrets => wrong("something else"),
    }
}

fn fitting(kind: Kind, text: &str) -> Result<(), String> {
    if kind == Kind::Listen && text.parse::<std::net::SocketAddr>().is_err() {
        return Err(format!("{text:?} is no address to listen on; write it as 127.0.0.1:8420"));
    }
    if kind == Kind::Store && text.strip_prefix("sled:").is_none_or(str::is_empty) {
        return Err(format!("{text:?} is no store; write it as sled:DIRECTORY"));
    }
    Ok(())
}

fn choice(word: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&word) {
        return Ok(());
    }
    match nearest(word, words.iter().copied()) {
        Some(near) => Err(format!("{word:?} is none of {}; did you mean {near:?}?", words.join(", "))),
        None => Err(format!("{word:?} is none of {}", words.join(", "))),
    }
}

/// A timetable, a rate, hours, or windows.
fn timed(kind: Kind, value: &DeValue<'_>) -> Result<Field, String> {
    if kind == Kind::Closures {
        let one = |item: &DeValue<'_>| -> Result<Closure, String> {
            let sample = "a span of the week or of time is expected, as \"Sun 02:00-04:00 Europe/Warsaw\"";
            item.as_str().ok_or(sample)?.parse()
        };
        let closures = match value.as_array() {
            Some(list) => list.iter().map(|item| one(item.get_ref())).collect::<Result<_, _>>()?,
            None => vec![one(value)?],
        };
        return Ok(Field::Closures(closures));
    }
    let text = |sample: &str| value.as_str().ok_or_else(|| format!("{sample} is expected, not {}", value.type_str()));
    if kind == Kind::Cycle {
        return text("a timetable, as \"every 15m\",")?.parse().map(Field::Cycle);
    }
    if kind == Kind::Rate {
        return text("a rate, as \"100/1m\",")?.parse().map(Field::Rate);
    }
    text("opening hours, as \"Mon-Fri 08:00-18:00 Europe/Warsaw\",")?.parse().map(Field::Hours)
}

fn span(text: &str, least_ms: u64, most_ms: u64) -> Result<u64, String> {
    let ms = parse_span_ms(text).map_err(|wrong| wrong.to_string())?;
    if (least_ms..=most_ms).contains(&ms) {
        return Ok(ms);
    }
    Err(format!("{text:?} is not from {} to {}", show_span(least_ms), show_span(most_ms)))
}

/// The bytes that a size as people write it means, `512KiB`.
///
/// # Errors
/// It is no size, or out of these bounds: in words.
pub fn parse_size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let wrong = || format!("{text:?} is not a size; write it as 512KiB, 1MiB or 20GiB");
    let (number, shift) =
        UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).ok_or_else(wrong)?;
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if (least..=most).contains(&bytes) => Ok(bytes),
        Some(_) | None => Err(format!("{text:?} is not from {} to {}", show_size(least), show_size(most))),
    }
}

fn show_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = UNITS.iter().find(|(_, shift)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    fitting.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}
