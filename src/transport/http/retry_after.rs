//! How long a destination asked to be left alone: seconds, or one of the three dates of HTTP (RFC 9110, 5.6.7 and 10.2.3).
//!
//! # What holds
//!
//! * What is none of these is ignored, never an error.
//! * Nothing above [`RETRY_AFTER_MS_MAX`](crate::model::policy::RETRY_AFTER_MS_MAX) comes out, whatever came in.
//!
//! # What it does not know
//!
//! Which clock `now` came from.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::WallMs;
use crate::model::policy::RETRY_AFTER_MS_MAX;

/// The dates of HTTP: the one in use, the one of RFC 850, the one of `asctime`.
const DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// The milliseconds from `now` that the header's value asks for; `None` where it asks for nothing.
pub(super) fn parse(value: &[u8], now: WallMs) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time, not garbage.
        let seconds: u64 = text.parse().unwrap_or(u64::MAX);
        return Some(seconds.saturating_mul(1_000).min(RETRY_AFTER_MS_MAX));
    }
    let date = DATES.iter().find_map(|format| DateTime::strptime(format, text).ok())?;
    // The last days of the year 9999 are beyond what jiff counts; they mean "for ever".
    let at = TimeZone::UTC.to_timestamp(date).map_or(i64::MAX, jiff::Timestamp::as_millisecond);
    let at = WallMs(u64::try_from(at).unwrap_or(0));
    Some(at.since(now).min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const THEN: WallMs = WallMs(784_111_777_000);

    #[test]
    fn seconds_and_the_three_dates_are_understood() {
        let before = WallMs(THEN.0 - 90_000);
        for (value, expect) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 7 ", Some(7_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(90_000)),
            ("Sun Nov  6 08:49:37 1994", Some(90_000)),
        ] {
            assert_eq!(parse(value.as_bytes(), before), expect, "{value:?}");
        }
    }

    #[test]
    fn long_times_are_cut_and_past_ones_are_now() {
        for value in ["3601", "99999999", "99999999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(parse(value.as_bytes(), THEN), Some(RETRY_AFTER_MS_MAX), "{value:?}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT", WallMs(THEN.0 + 1)), Some(0));
    }

    #[test]
    fn garbage_is_ignored() {
        for value in
            ["", " ", "-1", "+1", "1.5", "soon", "1s", "Sun, 06 Nov 1994", "06 Nov 1994 08:49:37 GMT", "１２０"]
        {
            assert_eq!(parse(value.as_bytes(), THEN), None, "{value:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe], THEN), None);
        assert_eq!(parse(&[b'9'; 65], THEN), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics_and_nothing_is_longer_than_an_hour(
            value in proptest::collection::vec(any::<u8>(), 0..80), now in any::<u64>()
        ) {
            prop_assert!(parse(&value, WallMs(now)).is_none_or(|asked_ms| asked_ms <= RETRY_AFTER_MS_MAX));
        }
    }
}
