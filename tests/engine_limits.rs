//! What holds messages back from a destination: its rate, its breaker, its hours, its timetable and what it asks for. Days of them in milliseconds.

#[path = "common/day.rs"]
mod day;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use day::{Day, NOON, answered, delivered, most_within};
use goniec::engine::{Destination, Waits};
use goniec::model::breaker::BreakerRule;
use goniec::model::rate::Rate;
use goniec::model::timetable::Hours;
use goniec::model::{Abandoned, Backoff, Class, Failed, Failure, Outcome, Retry, Sent, State, WallMs};
use goniec::store::memory::MemoryStore;
use goniec::{Goniec, Message};

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_rate_is_kept_in_every_window_and_used_whole() {
    let run = |rate: Option<Rate>| {
        let mut day = Day::new(NOON, 20, |erp| (erp.rate, erp.concurrency) = (rate, 64));
        let ids = day.accept(1_000);
        day.live(20 * 60_000, delivered);
        assert!(ids.iter().all(|id| day.shown(*id).0 == State::Delivered));
        day.times()
    };
    for rate in
        [Rate::new(100, 60_000), Rate::new(100, 60_000).with_burst(30), Rate::new(9, 1_000), Rate::new(5_000, 60_000)]
    {
        let times = run(Some(rate));
        let count = usize::try_from(rate.count).expect("small");
        assert!(most_within(&times, rate.per_ms) <= count, "{rate}: {}", most_within(&times, rate.per_ms));
        let ideal_ms = 1_000 * rate.per_ms / u64::from(rate.count);
        assert!(times[999] <= ideal_ms + ideal_ms / 10, "{rate}: the last at {} of {ideal_ms} ms", times[999]);
    }
    // The control: without a rate they go as fast as they come home.
    assert!(most_within(&run(None), 60_000) == 1_000);
}

#[test]
fn what_one_message_was_told_binds_the_destination() {
    let mut day = Day::new(NOON, 10, |erp| erp.concurrency = 1);
    let ids = day.accept(10);
    day.live(60_009, |at_ms| if at_ms == 0 { answered(429, Some(60_000)) } else { delivered(at_ms) });
    assert_eq!(day.times(), [0]);
    assert_eq!(day.shown(ids[5]), (State::Queued(goniec::model::Queued::Ready), Some(Waits::Rate), 0));
    day.live(120_000, delivered);
    assert_eq!((day.sent.len(), day.sent[1].0), (11, 60_010));
}

#[test]
fn a_breaker_opens_probes_with_one_and_closes() {
    const DOWN_MS: u64 = 600_000;
    let rule = BreakerRule { failures: 5, window_ms: 30_000, probe_ms: 10_000 };
    let answer = |at_ms| if at_ms < DOWN_MS { answered(500, None) } else { delivered(at_ms) };
    let mut day = Day::new(NOON, 10, |erp| (erp.breaker, erp.concurrency) = (Some(rule), 4));
    let ids = day.accept(40);
    day.live(9_000, answer);
    let opened = day.sent.len();
    assert!((5..=9).contains(&opened), "{opened} attempts until it opened");
    assert_eq!(day.shown(ids[39]), (State::Queued(goniec::model::Queued::Ready), Some(Waits::Breaker), 0));
    day.live(DOWN_MS - 1, answer);
    let probes = &day.sent[opened..];
    assert!((6..=14).contains(&probes.len()), "{probes:?}");
    assert!(probes.iter().all(|(_, out)| *out == 1), "{probes:?}");
    let gaps: Vec<u64> = probes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.iter().all(|gap| (7_500..=80_100).contains(gap)), "{gaps:?}");
    day.live(DOWN_MS + 120_000, answer);
    assert!(ids.iter().all(|id| day.shown(*id).0 == State::Delivered));
    let widths: Vec<usize> = day.sent[opened..].iter().map(|(_, out)| *out).skip_while(|out| *out == 1).collect();
    assert_eq!((widths.first(), widths.iter().max()), (Some(&2), Some(&4)), "{widths:?}");

    // The control: without a breaker all forty knock every second.
    let mut day = Day::new(NOON, 10, |erp| erp.concurrency = 4);
    day.accept(40);
    day.live(60_000, answer);
    assert!(day.sent.len() > 1_000, "{}", day.sent.len());
}

#[test]
fn a_destination_that_refuses_messages_works() {
    let rule = BreakerRule { failures: 2, window_ms: 30_000, probe_ms: 10_000 };
    let mut day = Day::new(NOON, 0, |erp| (erp.breaker, erp.concurrency) = (Some(rule), 1));
    let ids = day.accept(30);
    day.live(1_000, |_| answered(422, None));
    assert!(ids.iter().all(|id| day.shown(*id).0 == State::Abandoned(Abandoned::Rejected)));
}

fn open(hours: &str) -> Hours {
    Hours { open: Some(hours.parse().expect("hours")), closed: Vec::new() }
}

/// A night behind a closed door costs no attempt, and the door opens on time.
#[test]
fn closed_hours_burn_no_attempts() {
    let almost_six = WallMs(NOON.0 + 6 * HOUR_MS - 10_000);
    let mut day = Day::new(almost_six, 0, |erp| {
        erp.hours = open("Mon-Fri 08:00-18:00");
        erp.policy.retry = Retry { backoff: Backoff::Fixed(30_000), jitter_permille: 0, attempts: 2 };
    });
    let tried = day.accept(1)[0];
    day.live(11_000, |_| answered(503, None));
    let fresh = day.accept(1)[0];
    day.live(13 * HOUR_MS, |_| answered(503, None));
    assert_eq!(day.times(), [0], "nothing goes at night");
    assert_eq!(day.shown(fresh).1, Some(Waits::Closed));
    assert_eq!((day.shown(tried).1, day.shown(tried).2), (Some(Waits::Closed), 1));
    day.live(15 * HOUR_MS, delivered);
    let opened_ms = 14 * HOUR_MS + 10_000;
    assert_eq!(day.times(), [0, opened_ms, opened_ms]);
    assert_eq!((day.shown(tried).0, day.shown(tried).2), (State::Delivered, 2));
}

/// The clock is set while the door is closed: neither is it opened too early, nor kept closed.
#[test]
fn hours_follow_a_wall_clock_that_jumps() {
    let mut day = Day::new(WallMs(NOON.0 + 8 * HOUR_MS), 0, |erp| erp.hours = open("08:00-18:00"));
    let id = day.accept(1)[0];
    day.live(60_000, delivered);
    assert_eq!(day.shown(id).1, Some(Waits::Closed));
    day.now.wall = WallMs(day.now.wall.0 - HOUR_MS);
    day.live(12 * HOUR_MS + 30_000, delivered);
    assert_eq!(day.times(), [0; 0], "an hour later than it was thought");
    day.live(13 * HOUR_MS, delivered);
    assert_eq!(day.times(), [13 * HOUR_MS]);
    let next = day.accept(1)[0];
    day.live(24 * HOUR_MS, delivered);
    assert_eq!(day.shown(next).0, State::Delivered);
    day.now.wall = WallMs(NOON.0 + 3_652 * 24 * HOUR_MS + 8 * HOUR_MS);
    let late = day.accept(1)[0];
    day.live(24 * HOUR_MS + 1_000, delivered);
    assert_eq!(day.shown(late).1, Some(Waits::Closed));
    day.now.wall = day.now.wall.plus(14 * HOUR_MS);
    day.live(24 * HOUR_MS + 2_000, delivered);
    assert_eq!(day.shown(late).0, State::Delivered);
}

#[test]
fn what_failed_waits_for_the_cron_line_in_its_zone() {
    let mut day = Day::new(NOON, 0, |erp| {
        erp.cycle = Some("0 6 * * MON-FRI Europe/Warsaw".parse().expect("a cycle"));
        erp.policy.retry.backoff = Backoff::NextCycle;
    });
    let id = day.accept(1)[0];
    day.live(30 * HOUR_MS, |at_ms| if at_ms == 0 { answered(503, None) } else { delivered(at_ms) });
    // Six in the morning in Warsaw is five in UTC, seventeen hours after noon.
    assert_eq!(day.times(), [0, 17 * HOUR_MS]);
    assert_eq!(day.shown(id).0, State::Delivered);
}

/// On threads and a real clock: a hundred messages under 50 a second take the time that they must.
#[test]
fn a_rate_is_kept_on_threads() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let ledger = times.clone();
    let sink = move |_: &Message| ledger.lock().expect("whole").push(Instant::now());
    let erp = Destination { rate: Some(Rate::new(50, 1_000)), ..Destination::new("erp", sink) };
    let goniec = Goniec::over(Arc::new(MemoryStore::new())).with(erp).start().expect("starts");
    goniec.send_all((0..100).map(|_| Message::to("erp")).collect()).expect("accepts");
    let limit = Instant::now() + Duration::from_secs(20);
    while goniec.engine().stats().delivered < 100 {
        assert!(Instant::now() < limit, "waited in vain");
        std::thread::yield_now();
    }
    let times = times.lock().expect("whole");
    // Only how late an attempt began is left to the machine: between the first and the hundredth lie at least 1.9 s of pace.
    assert!(times[99] - times[0] >= Duration::from_millis(1_500), "{:?}", times[99] - times[0]);
}

#[test]
fn a_lost_answer_counts_against_the_destination() {
    let lost = || Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer"));
    let rule = BreakerRule { failures: 3, window_ms: 60_000, probe_ms: 10_000 };
    let mut day = Day::new(NOON, 5, |erp| (erp.breaker, erp.concurrency) = (Some(rule), 1));
    let ids = day.accept(10);
    day.live(9_000, |_| lost());
    assert_eq!(day.sent.len(), 3);
    assert!(matches!(day.shown(ids[0]).0, State::Failed(Failed::Due(_))));
    assert_eq!(day.shown(ids[9]).1, Some(Waits::Breaker));
}
