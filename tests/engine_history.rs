//! What is counted for machines, under a clock of its own: the last hour by minutes, what is due in the next, and every figure by destination.

#[path = "common/day.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod day;

use day::{Day, NOON, answered, delivered};
use goniec::engine::{Chart, Cycle, Destination};
use goniec::model::{Backoff, Class, Delivery, Retry};
use goniec::{Id, Message};

const MINUTE_MS: u64 = 60_000;

fn sums(chart: &Chart) -> [u64; 4] {
    let sum = |of: fn(&goniec::engine::Past) -> u64| chart.minutes.iter().map(of).sum();
    [sum(|past| past.accepted), sum(|past| past.delivered), sum(|past| past.failed), sum(|past| past.abandoned)]
}

fn retry(erp: &mut Destination, minutes: u64, attempts: u16) {
    erp.policy.retry = Retry { backoff: Backoff::Fixed(minutes * MINUTE_MS), jitter_permille: 0, attempts };
}

#[test]
fn an_hour_is_told_by_the_minute_and_then_forgotten() {
    let mut day = Day::new(NOON, 400, |erp| retry(erp, 10, 2));
    // Two in the first minute; one in the sixth, which fails there and in the sixteenth, and is given up.
    day.accept(2);
    day.live(5 * MINUTE_MS, delivered);
    day.accept(1);
    day.live(20 * MINUTE_MS, |_| answered(503, None));
    let chart = day.turn.chart(day.now);
    assert_eq!(chart.minutes.len(), 60);
    let at = |minute: usize| chart.minutes[minute];
    let of = |minute: usize| [at(minute).accepted, at(minute).delivered, at(minute).failed, at(minute).abandoned];
    // The last minute is the twentieth after noon.
    let noon = 59 - 20;
    assert_eq!(at(noon).at, NOON);
    assert_eq!((of(noon), of(noon + 5), of(noon + 15)), ([2, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]));
    assert_eq!(sums(&chart), [3, 2, 1, 1]);
    let p50_ms = at(noon).latency_p50_ms.expect("two were delivered");
    assert!((400..=500).contains(&p50_ms), "they took 400 ms, told as {p50_ms}");
    assert_eq!(at(noon + 5).latency_p50_ms, None);

    day.live(60 * MINUTE_MS, delivered);
    assert_eq!(sums(&day.turn.chart(day.now)), [1, 0, 1, 1], "noon is an hour ago");
    day.live(90 * MINUTE_MS, delivered);
    assert_eq!(sums(&day.turn.chart(day.now)), [0; 4]);
}

#[test]
fn what_is_due_is_told_before_it_goes() {
    let mut day = Day::new(NOON, 10, |erp| {
        retry(erp, 7, 20);
        erp.cycle = Some(Cycle::Every(30 * MINUTE_MS));
    });
    let later = |minutes: u64| Message::to("erp").not_before(NOON.plus(minutes * MINUTE_MS));
    day.accept_all(vec![later(3), later(3), later(59), later(60), Message::to("erp")]);
    day.live(MINUTE_MS, |_| answered(503, None));
    let chart = day.turn.chart(day.now);
    // A minute has passed: what was to go in the third and the sixtieth minute goes in the second and the fifty-ninth, the retry in the sixth.
    let due = |minute: usize| chart.due[minute].messages;
    assert_eq!((due(2), due(58), due(59), due(6)), (2, 1, 1, 1));
    assert_eq!((chart.due.iter().map(|due| due.messages).sum::<u64>(), chart.is_due_whole), (5, true));
    assert_eq!((chart.due.len(), chart.due[0].at), (60, NOON.plus(MINUTE_MS)));

    // The control: what has gone is due no more.
    day.live(10 * MINUTE_MS, delivered);
    assert_eq!(day.turn.chart(day.now).due.iter().map(|due| due.messages).sum::<u64>(), 2);
}

#[test]
fn a_cycle_is_due_with_all_that_waits_for_it() {
    let mut day = Day::new(NOON, 10, |erp| {
        (erp.cycle, erp.only_in_cycles) = (Some(Cycle::Every(30 * MINUTE_MS)), true);
    });
    day.accept(500);
    day.live(MINUTE_MS, delivered);
    let chart = day.turn.chart(day.now);
    assert_eq!(chart.due.iter().filter(|due| due.messages > 0).map(|due| due.messages).collect::<Vec<_>>(), [500]);
    day.live(40 * MINUTE_MS, delivered);
    assert_eq!(sums(&day.turn.chart(day.now)), [500, 500, 0, 0]);
}

#[test]
fn every_figure_of_a_destination_is_counted_where_it_belongs() {
    let mut day = Day::new(NOON, 250, |erp| {
        retry(erp, 1, 5);
        (erp.latest_wins, erp.concurrency) = (true, 1);
    });
    let price = |body: &str| Message::to("erp").key("sku").body(body.as_bytes().to_vec());
    let expired = Message::to("erp").deadline(NOON.plus(30_000));
    // The newer price waits behind the older, which fails once: then it takes its place.
    let ids: Vec<Id> = day.accept_all(vec![price("1")]);
    day.live(100, |_| answered(429, None));
    day.accept_all(vec![price("2"), expired]);
    day.live(10 * MINUTE_MS, |at_ms| if at_ms < MINUTE_MS { answered(429, None) } else { delivered(at_ms) });
    let counted = day.turn.counted();
    let erp = counted.destinations.iter().find(|one| &*one.name == "erp").expect("it is known");
    assert_eq!((erp.accepted, erp.superseded, erp.deadline_missed), (3, 1, 1), "{erp:?} {:?}", day.shown(ids[0]));
    let of = |outcome, class| erp.attempts.iter().find(|(o, c, _)| (*o, *c) == (outcome, class)).map(|(.., n)| *n);
    assert_eq!(of(Delivery::Delivered, None), Some(1));
    let failed = of(Delivery::Retry, Some(Class::RateLimited)).expect("some were refused");
    let ended = u64::try_from(day.sent.len()).expect("few");
    assert_eq!((failed + 1, erp.attempt_ms.count(), erp.attempt_ms.sum), (ended, ended, ended * 250));
    assert_eq!(erp.latency_ms.count(), 1);
    assert_eq!(counted.commit_us.count(), 0, "without threads nobody measures");
    assert!(counted.commit_size.count() > 0);
}
