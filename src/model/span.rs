//! Lengths of time as people write them: `250ms`, `2s`, `15m`, `1h30m`, `3d`, `2w`.
//!
//! A number without a unit is refused, because half of those who write one mean another unit than the other half.
//!
//! # What it does not know
//!
//! Points in time, calendars, zones.

use std::fmt;

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotASpan {
    /// A number that no unit follows.
    NoUnit(String),
    /// A unit that does not exist.
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit.
        unit: String,
    },
    /// Something else, or a length beyond all counting.
    Other(String),
}

const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// The milliseconds that the text means.
///
/// # Errors
///
/// [`NotASpan`], which says how to write it.
pub fn parse_span_ms(text: &str) -> Result<u64, NotASpan> {
    let shown = || text.chars().take(32).collect::<String>();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NotASpan::Other(shown()));
    }
    let mut sum_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| NotASpan::Other(shown()))?;
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() {
            return Err(if after.is_empty() { NotASpan::NoUnit(shown()) } else { NotASpan::Other(shown()) });
        }
        let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(NotASpan::UnknownUnit { text: shown(), unit: unit.chars().take(16).collect() });
        };
        sum_ms = number
            .checked_mul(*unit_ms)
            .and_then(|part_ms| sum_ms.checked_add(part_ms))
            .ok_or_else(|| NotASpan::Other(shown()))?;
        rest = after.trim_start();
    }
    Ok(sum_ms)
}

/// The length as people write it, rounded down to its two largest units: `1h 30m`, `2.5s`, `250ms`.
#[must_use]
pub fn show_span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 if ms % 1_000 >= 100 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        1_000..60_000 => format!("{}s", ms / 1_000),
        60_000..3_600_000 => pair(ms / 60_000, "m", ms % 60_000 / 1_000, "s"),
        3_600_000..86_400_000 => pair(ms / 3_600_000, "h", ms % 3_600_000 / 60_000, "m"),
        86_400_000.. => pair(ms / 86_400_000, "d", ms % 86_400_000 / 3_600_000, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit} {small}{small_unit}") }
}

impl fmt::Display for NotASpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotASpan::NoUnit(text) => {
                write!(f, "duration {text:?} has no unit; write {0}s, {0}m, {0}h or {0}d", text.trim())
            }
            NotASpan::UnknownUnit { text, unit } => {
                write!(f, "duration {text:?} has the unknown unit {unit:?}; there are ms, s, m, h, d, w")
            }
            NotASpan::Other(text) => write!(f, "{text:?} is not a duration; write it as 30s, 15m, 1h30m or 3d"),
        }
    }
}

impl std::error::Error for NotASpan {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("2s", 2_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            (" 3d ", 259_200_000),
            ("2w", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_span_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_way_to_write_it() {
        let refused = parse_span_ms("15").expect_err("no unit");
        assert_eq!(refused.to_string(), "duration \"15\" has no unit; write 15s, 15m, 15h or 15d");
    }

    #[test]
    fn what_is_not_a_length_is_refused() {
        for text in ["", " ", "m", "-5s", "5 s", "5y", "1.5h", "99999999999999999999s", "18446744073709551615w", "5s!"]
        {
            assert!(parse_span_ms(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_shown_by_their_two_largest_units() {
        for (ms, text) in [
            (7, "7ms"),
            (2_500, "2.5s"),
            (3_000, "3s"),
            (42_900, "42s"),
            (90_000, "1m 30s"),
            (3_600_000, "1h"),
            (90_061_000, "1d 1h"),
        ] {
            assert_eq!(show_span(ms), text);
        }
    }
}
