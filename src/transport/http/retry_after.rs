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

    /// What destinations send: seconds, dates in all three forms from 1970 to 9999, and what is neither.
    fn sent() -> impl Strategy<Value = String> {
        let date = (0..253_402_300_800_i64, 0..3_usize).prop_map(|(second, form)| {
            let at = jiff::Timestamp::from_second(second.min(253_402_207_200)).expect("a time");
            at.strftime(DATES[form]).to_string()
        });
        let odd = proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter);
        prop_oneof![
            any::<u64>().prop_map(|seconds| seconds.to_string()),
            (0..7_200_u64).prop_map(|seconds| format!(" {seconds}\t")),
            any::<i64>().prop_map(|seconds| (-seconds.saturating_abs()).to_string()),
            "[0-9]{1,80}",
            date.clone(),
            (date, any::<proptest::sample::Index>()).prop_map(|(date, at)| date[..at.index(date.len())].to_owned()),
            odd,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn whatever_comes_nothing_panics_and_nothing_is_longer_than_an_hour(value in sent(), now in 0..300_000_000_000_000_u64) {
            let asked_ms = parse(value.as_bytes(), WallMs(now));
            prop_assert!(asked_ms.is_none_or(|asked_ms| asked_ms <= RETRY_AFTER_MS_MAX));
            // Seconds mean themselves, whatever the clock says; what has a sign or a point means nothing.
            let text = value.trim_matches([' ', '\t']);
            if let (Ok(seconds), true) = (text.parse::<u64>(), text.bytes().all(|byte| byte.is_ascii_digit())) {
                prop_assert_eq!(asked_ms, Some(seconds.saturating_mul(1_000).min(RETRY_AFTER_MS_MAX)));
            }
            if text.starts_with(['-', '+']) {
                prop_assert_eq!(asked_ms, None);
            }
        }

        #[test]
        fn bytes_that_are_no_text_do_no_harm(value in proptest::collection::vec(any::<u8>(), 0..80), now in any::<u64>()) {
            prop_assert!(parse(&value, WallMs(now)).is_none_or(|asked_ms| asked_ms <= RETRY_AFTER_MS_MAX));
        }

        /// A date is as far away as it is, in whichever form; what lies behind is now.
        #[test]
        fn a_date_is_as_far_away_as_it_is(second in 946_684_800..4_000_000_000_u64, ahead_ms in 0..4_000_000_u64) {
            let at = jiff::Timestamp::from_second(i64::try_from(second).expect("small")).expect("a time");
            let (before, after) = (WallMs(second * 1_000 - ahead_ms), WallMs(second * 1_000 + ahead_ms));
            // Two digits of a year mean one from 1969 to 2068.
            let forms = if second < 3_124_224_000 { &DATES[..] } else { &[DATES[0], DATES[2]][..] };
            for form in forms {
                let text = at.strftime(form).to_string();
                prop_assert_eq!(parse(text.as_bytes(), before), Some(ahead_ms.min(RETRY_AFTER_MS_MAX)), "{}", text);
                prop_assert_eq!(parse(text.as_bytes(), after), Some(0), "{}", text);
            }
        }
    }
}
