//! Timetables over the changes of summer time, long closures and wrong words.

use super::*;

fn at(text: &str) -> WallMs {
    WallMs(u64::try_from(text.parse::<Timestamp>().expect("a time").as_millisecond()).expect("after 1970"))
}

#[track_caller]
fn starts(cycle: &str, after: &str, expect: &[&str]) {
    let cycle: Cycle = cycle.parse().expect("a cycle");
    let mut now = at(after);
    for next in expect {
        now = cycle.next_start(now).expect("a start");
        assert_eq!(
            now,
            at(next),
            "{}",
            Timestamp::from_millisecond(i64::try_from(now.0).expect("near")).expect("near")
        );
    }
}

#[test]
fn cycles_start_at_whole_multiples_and_never_now() {
    let every = Cycle::Every(900_000);
    assert_eq!(every.next_start(WallMs(1)), Some(WallMs(900_000)));
    assert_eq!(every.next_start(WallMs(900_000)), Some(WallMs(1_800_000)));
    assert_eq!(every.next_start(WallMs(u64::MAX)), None);
}

#[test]
fn cron_lines_follow_their_zone_over_summer_time() {
    starts("0 6 * * *", "2026-11-24T05:00:00Z", &["2026-11-24T06:00:00Z", "2026-11-25T06:00:00Z"]);
    starts("0 6 * * MON-FRI Europe/Warsaw", "2026-11-27T05:00:00Z", &["2026-11-30T05:00:00Z"]);
    // 02:30 does not exist on 29 March 2026 in Warsaw, and exists twice on 25 October.
    starts("30 2 * * * Europe/Warsaw", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    starts("30 2 * * * Europe/Warsaw", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    starts("0 0 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
}

#[test]
fn wrong_timetables_are_refused_with_what_was_expected() {
    for (text, words) in [
        ("15m", "every 15m"),
        ("every 15", "unit"),
        ("every 10ms", "too short"),
        ("61 * * * *", "cron line"),
        ("0 0 30 2 *", "never comes"),
        ("0 6 * * * Europe/Warszawa", "Europe/Warsaw"),
        ("* * * * * * *", "five cron fields"),
        ("", "every 15m"),
    ] {
        let wrong = text.parse::<Cycle>().expect_err(text);
        assert!(wrong.contains(words), "{text:?}: {wrong}");
    }
}

fn office() -> Hours {
    Hours {
        open: Some("Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Warsaw".parse().expect("hours")),
        closed: vec![
            "Wed 12:00-12:30 Europe/Warsaw".parse().expect("a window"),
            "2026-11-26T00:00:00Z/2026-11-27T00:00:00Z".parse().expect("a window"),
        ],
    }
}

#[test]
fn hours_open_and_close() {
    let office = office();
    let monday_noon = at("2026-11-23T12:00:00Z");
    assert!(office.is_open(monday_noon));
    assert_eq!(office.closes_at(monday_noon), Some(at("2026-11-23T17:00:00Z")));
    assert_eq!(office.opens_at(at("2026-11-23T17:00:00Z")), Some(at("2026-11-24T07:00:00Z")));
    assert_eq!(office.opens_at(at("2026-11-25T11:10:00Z")), Some(at("2026-11-25T11:30:00Z")));
    // From Wednesday evening over the closed Thursday to Friday.
    assert_eq!(office.opens_at(at("2026-11-25T19:00:00Z")), Some(at("2026-11-27T07:00:00Z")));
    assert_eq!(office.opens_at(at("2026-11-28T14:00:00Z")), Some(at("2026-11-30T07:00:00Z")));
    assert_eq!(Hours::default().closes_at(monday_noon), None);
    assert!(Hours::default().is_open(monday_noon));
}

#[test]
fn a_night_shift_runs_into_the_next_day() {
    let night = Hours { open: Some("Fri 22:00-06:00".parse().expect("hours")), closed: Vec::new() };
    assert!(night.is_open(at("2026-11-27T23:00:00Z")) && night.is_open(at("2026-11-28T05:59:00Z")));
    assert!(!night.is_open(at("2026-11-28T06:00:00Z")) && !night.is_open(at("2026-11-27T05:00:00Z")));
    assert_eq!(night.closes_at(at("2026-11-27T23:00:00Z")), Some(at("2026-11-28T06:00:00Z")));
}

#[test]
fn what_never_opens_again_says_so() {
    let never = Hours { open: None, closed: vec!["Mon-Sun 00:00-24:00".parse().expect("a window")] };
    assert_eq!((never.is_open(WallMs(0)), never.opens_at(WallMs(0))), (false, None));
}

#[test]
fn opening_is_where_minutes_turn_open() {
    let office = office();
    let mut now = at("2026-10-23T00:00:00Z");
    for _ in 0..14 * 24 * 12 {
        let next = now.plus(300_000);
        if !office.is_open(now) && office.is_open(next) {
            assert_eq!(office.opens_at(now), Some(next));
        }
        if office.is_open(now) && !office.is_open(next) {
            assert_eq!(office.closes_at(now), Some(next));
        }
        now = next;
    }
}

#[test]
fn a_long_closure_is_looked_beyond() {
    let mut office = office();
    for window in ["2026-12-01T00:00:00Z/2027-02-01T00:00:00Z", "2027-02-01T00:00:00Z/2027-03-01T12:00:00Z"] {
        office.closed.push(window.parse().expect("a window"));
    }
    assert_eq!(office.opens_at(at("2026-11-30T17:00:00Z")), Some(at("2027-03-01T12:00:00Z")));
    assert_eq!(office.opens_at(at("2026-12-24T10:00:00Z")), Some(at("2027-03-01T12:00:00Z")));
}

#[test]
fn nights_follow_their_zone_over_summer_time() {
    for hours in ["02:30-06:00", "22:00-02:15", "02:10-02:20", "01:30-03:30"] {
        let night = Hours { open: Some(format!("{hours} Europe/Warsaw").parse().expect("hours")), closed: Vec::new() };
        for start in ["2026-03-28T22:00:00Z", "2026-10-24T21:00:00Z"] {
            let minutes: Vec<WallMs> = (0..600).map(|minute| at(start).plus(minute * 60_000)).collect();
            for pair in minutes.windows(2) {
                match (night.is_open(pair[0]), night.is_open(pair[1])) {
                    (false, true) => assert_eq!(night.opens_at(pair[0]), Some(pair[1]), "{hours}"),
                    (true, false) => assert_eq!(night.closes_at(pair[0]), Some(pair[1]), "{hours}"),
                    (true, true) | (false, false) => {}
                }
            }
        }
    }
}

#[test]
fn what_was_read_is_printed_as_it_was_written() {
    let weekly: Weekly = " Mon-Fri  08:00-18:00, Sat 09:00-13:00 Europe/Warsaw".parse().expect("hours");
    assert_eq!(weekly.to_string(), "Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Warsaw");
    for text in ["2026-12-24T00:00:00Z/2026-12-27T00:00:00Z", "Wed 12:00-12:30"] {
        assert_eq!(text.parse::<Closure>().expect("a window").to_string(), text);
    }
    assert_eq!(
        "0  6 * * MON  Europe/Warsaw".parse::<Cycle>().expect("a cycle").to_string(),
        "0 6 * * MON Europe/Warsaw"
    );
}

#[test]
fn wrong_hours_are_refused() {
    for text in
        ["Mon-Fri", "Mon-Fri 8-18", "Foo 08:00-18:00", "08:00-08:00", "24:00-25:00", "Mon 08:00-09:00 Nowhere/City", ""]
    {
        assert!(text.parse::<Weekly>().is_err(), "{text:?}");
    }
    assert!("2026-12-27T00:00:00Z/2026-12-24T00:00:00Z".parse::<Closure>().is_err());
}

/// The open time between two moments, against a count of every minute: over nights, weekends, maintenance and both changes of summer time.
#[test]
fn open_time_is_that_of_a_count_of_minutes() {
    let hours = Hours {
        open: Some("Mon-Fri 08:00-18:30, Sat 22:00-03:30 Europe/Warsaw".parse().expect("hours")),
        closed: vec![
            "Wed 12:00-13:00 Europe/Warsaw".parse().expect("a closure"),
            "2026-03-26T09:15:00Z/2026-03-27T10:00:00Z".parse().expect("a closure"),
        ],
    };
    for from in ["2026-03-24T11:30:00Z", "2026-10-22T16:31:00Z", "2026-07-03T03:00:00Z"].map(at) {
        let mut open_ms = 0;
        for minute in 0..6 * 1_440 {
            let now = from.plus(minute * 60_000);
            if minute % 97 == 0 {
                assert_eq!(hours.open_ms(from, now, u64::MAX), open_ms, "from {} to {}", from.0, now.0);
            }
            open_ms += if hours.is_open(now) { 60_000 } else { 0 };
        }
        assert_eq!(hours.open_ms(from, from.plus(6 * 86_400_000), 3_600_000), 3_600_000, "no more than is asked for");
    }
    assert_eq!(Hours::default().open_ms(WallMs(7), WallMs(10), u64::MAX), 3);
    assert_eq!(hours.open_ms(WallMs(9), WallMs(7), u64::MAX), 0);
    let year = hours.open_ms(WallMs(0), WallMs(u64::MAX), u64::MAX);
    assert!(year > 0, "an end of time is no endless loop");
}
