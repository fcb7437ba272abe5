//! Points in time as people write them, and as goniec writes them: the only file that knows the calendar.
//!
//! A time is RFC 3339 (`2026-11-23T14:00:00Z`) or relative to now (`15m`): ahead for what shall happen, back for
//! what has been.
//!
//! # What it does not know
//!
//! Clocks: now is an argument.

use crate::model::WallMs;
use crate::model::span::parse_span_ms;

/// Which way a relative time points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    /// `15m` is in a quarter of an hour.
    Future,
    /// `15m` was a quarter of an hour ago.
    Past,
}

/// The time that the text means at `now`.
///
/// # Errors
///
/// One line that says what is wrong and how to write it.
pub fn parse_when(text: &str, toward: Toward, now: WallMs) -> Result<WallMs, String> {
    let trimmed = text.trim();
    let looks_absolute = trimmed.contains([':', '-']) || trimmed.contains(['T', 'Z']);
    if looks_absolute {
        return parse_rfc3339(trimmed);
    }
    match (parse_span_ms(trimmed), toward) {
        (Ok(ms), Toward::Future) => Ok(now.plus(ms)),
        (Ok(ms), Toward::Past) => Ok(WallMs(now.0.saturating_sub(ms))),
        (Err(wrong), Toward::Future | Toward::Past) => Err(wrong.to_string()),
    }
}

/// The time in RFC 3339, UTC, with milliseconds.
#[must_use]
pub fn rfc3339(at: WallMs) -> String {
    at.rfc3339()
}

fn parse_rfc3339(text: &str) -> Result<WallMs, String> {
    let wrong = || {
        let shown: String = text.chars().take(48).collect();
        format!("{shown:?} is not a time; write it as 2026-11-23T14:00:00Z, or as 15m, 2h, 3d")
    };
    let stamp: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(stamp.as_millisecond()).map(WallMs).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: WallMs = WallMs(1_795_435_200_000);

    #[test]
    fn a_relative_time_points_ahead_or_back() {
        assert_eq!(parse_when("15m", Toward::Future, NOON), Ok(NOON.plus(900_000)));
        assert_eq!(parse_when("15m", Toward::Past, NOON), Ok(WallMs(NOON.0 - 900_000)));
    }

    #[test]
    fn a_time_is_written_as_it_is_read() {
        let written = rfc3339(NOON.plus(7));
        assert!(written.ends_with(".007Z"), "{written}");
        assert_eq!(parse_when(&written, Toward::Future, WallMs(0)), Ok(NOON.plus(7)));
        assert_eq!(parse_when("1970-01-01T01:00:00+01:00", Toward::Past, NOON), Ok(WallMs(0)));
    }

    #[test]
    fn what_is_no_time_is_refused_in_one_line() {
        for text in ["", "15", "soon", "2026-13-01T00:00:00Z", "2026-11-23", "1969-01-01T00:00:00Z"] {
            let refused = parse_when(text, Toward::Future, NOON).expect_err(text);
            assert!(!refused.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn the_end_of_time_is_still_a_text() {
        assert!(rfc3339(WallMs(u64::MAX)).starts_with("9999-"));
    }
}
