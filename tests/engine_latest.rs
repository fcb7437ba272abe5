//! Latest wins: of the messages of one key the newest one counts, whatever happens to the others. Days of price changes in milliseconds.

#[path = "common/shop.rs"]
mod shop;

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::channel;

use goniec::engine::{Act, Flight};
use goniec::model::{Class, Failure, Outcome, Queued, Sent, State};
use goniec::{Error, Message};
use shop::{Day, arrived, below, failed, superseded};

#[test]
fn a_newer_price_takes_the_place_of_the_one_that_waits() {
    // The control: without the rule, every price goes.
    for latest_wins in [true, false] {
        let mut day = Day::begin(latest_wins);
        let first = day.price("1");
        day.land("1", failed());
        let second = day.price("2");
        if !latest_wins {
            assert!(matches!(day.state(first), State::Failed(_)));
            continue;
        }
        assert_eq!((day.state(first), day.out()), (superseded(second), vec!["2".to_owned()]));
        assert_eq!(day.shown(second).record.supersedes, Some(first), "they name each other");
        day.land("2", arrived());
        day.pass(3_600_000);
        assert_eq!((day.out().len(), day.state(second)), (0, State::Delivered));
    }
}

#[test]
fn what_comes_while_one_is_out_waits_and_goes_once_after_it() {
    let mut day = Day::begin(true);
    let first = day.price("1");
    let second = day.price("2");
    let third = day.price("3");
    assert_eq!(day.out(), ["1"], "one of a key at a time");
    assert_eq!(day.state(second), superseded(third));
    day.land("1", arrived());
    assert_eq!((day.state(first), day.out()), (State::Delivered, vec!["3".to_owned()]));
    assert_eq!(day.shown(second).record.supersedes, None, "the first one arrived");
    day.land("3", arrived());
    assert_eq!(day.state(third), State::Delivered);
}

#[test]
fn what_does_not_arrive_gives_its_place_to_what_came_meanwhile() {
    let mut day = Day::begin(true);
    let first = day.price("1");
    let second = day.price("2");
    day.land("1", failed());
    assert_eq!((day.state(first), day.out()), (superseded(second), vec!["2".to_owned()]));
    assert_eq!(day.shown(second).record.supersedes, Some(first));
    assert_eq!(day.shown(first).record.attempts, 1, "the attempt is kept");
}

#[test]
fn of_one_request_the_last_of_a_key_goes_and_other_keys_are_left_alone() {
    let mut day = Day::begin(true);
    let ids = day.prices(&[("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")]);
    let mut out = day.out();
    out.sort();
    // The first of a key may have left before the next commit.
    assert!(out.contains(&"b1".to_owned()) && out.len() == 2, "{out:?}");
    for body in out {
        day.land(&body, arrived());
    }
    let rest = day.out();
    rest.iter().for_each(|body| assert_eq!(body, "a3"));
    if !rest.is_empty() {
        day.land("a3", arrived());
    }
    assert_eq!((day.state(ids[3]), day.state(ids[2])), (State::Delivered, superseded(ids[3])));
}

#[test]
fn a_start_goes_on_with_the_newest() {
    let mut day = Day::begin(true);
    let first = day.price("1");
    let second = day.price("2");
    assert_eq!(day.out(), ["1"]);
    let mut day = day.killed();
    // The first may have arrived; sent once more before the second it would do no harm, but nobody needs it.
    assert_eq!((day.state(first), day.out()), (superseded(second), vec!["2".to_owned()]));
    let third = day.price("3");
    day.land("2", failed());
    assert_eq!((day.state(second), day.out()), (superseded(third), vec!["3".to_owned()]));
}

#[test]
fn an_older_price_is_not_sent_again_after_a_newer_one() {
    let mut day = Day::begin(true);
    let first = day.price("1");
    day.land("1", arrived());
    let second = day.price("2");
    day.land("2", arrived());
    let edit = Act::Edit { body: b"0"[..].into(), content_type: None, read: None };
    for act in [Act::Resend(Queued::Ready), edit] {
        match day.act(first, act) {
            Err(Error::Overtaken { id, newer, version }) => assert_eq!((id, newer, version), (first, second, None)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(day.out(), Vec::<String>::new());
    // The control: the newest one can be sent again, and then it is the one that a newer takes the place of.
    day.act(second, Act::Resend(Queued::Ready)).expect("resends");
    assert_eq!(day.out(), ["2"]);
    let third = day.price("3");
    day.land("2", failed());
    assert_eq!(day.state(second), superseded(third));
    // One that a person gave up overtakes nobody.
    day.land("3", failed());
    day.act(third, Act::Cancel).expect("cancels");
    day.act(second, Act::Resend(Queued::Ready)).expect("resends");
    assert_eq!(day.out(), ["2"]);
}

#[test]
fn a_hash_that_two_keys_share_joins_nobody_and_no_key_waits_for_nobody() {
    let mut day = Day::begin(true);
    let (give, take) = channel();
    let drafts = (0..3).map(|n| Message::to("shop").body(format!("{n}").into_bytes())).collect();
    day.turn.accept(drafts, Box::new(move |said| give.send(said).expect("listens")));
    day.run();
    assert_eq!(take.try_recv().expect("answers").expect("accepts").len(), 3);
    assert_eq!(day.out(), ["0", "1", "2"], "without a key nothing is older or newer");
}

/// 10,000 price changes over 500 keys at a shop that fails half of its answers, with crashes: what was applied last is what was accepted last.
#[test]
fn the_last_price_applied_is_the_last_one_accepted() {
    let seed = std::env::var("GONIEC_LATEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x51ed_270b_u64);
    println!("GONIEC_LATEST_SEED={seed}");
    let (wrong, sends) = changes_of_prices(true, seed);
    assert_eq!(wrong, Vec::<String>::new());
    assert!(sends < 10_000, "what was overtaken was not sent: {sends} of 10,000");
    // The control: without the rule a retry brings an old price back.
    assert!(!changes_of_prices(false, seed).0.is_empty());
}

/// What was applied wrongly, and how often something was sent.
fn changes_of_prices(latest_wins: bool, seed: u64) -> (Vec<String>, u64) {
    let mut below = below(seed);
    let (mut applied, mut accepted) = (HashMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    let (mut wrong, mut sends, mut changes, mut crashes) = (Vec::new(), 0, 0, 0);
    let mut day = Day::begin(latest_wins);
    let mut apply = |flight: &Flight, applies: bool| {
        sends += 1;
        let key = flight.message().key().expect("a key").to_owned();
        let price: u64 = String::from_utf8_lossy(&flight.message().body).parse().expect("a number");
        if applies && let Some(before) = applied.insert(key.clone(), price).filter(|before| *before > price) {
            wrong.push(format!("{key}: {price} after {before}"));
        }
    };
    while changes < 10_000 || !day.is_quiet() {
        if changes < 10_000 {
            let batch = 0..1 + below(20);
            let batch: Vec<(String, u64)> = batch.map(|n| (format!("sku-{}", below(500)), changes + n)).collect();
            changes += batch.len() as u64;
            accepted.extend(batch.iter().cloned());
            let texts: Vec<(String, String)> = batch.into_iter().map(|(key, n)| (key, n.to_string())).collect();
            let pairs: Vec<(&str, &str)> = texts.iter().map(|(key, price)| (&**key, &**price)).collect();
            day.prices(&pairs);
        }
        for _ in 0..=below(6).min(day.out.len() as u64) {
            if day.out.is_empty() {
                break;
            }
            let flight = day.out.swap_remove(usize::try_from(below(day.out.len() as u64)).expect("small"));
            // Half of the answers fail, and half of those were applied all the same.
            let (fails, applies) = (below(2) == 0, below(2) == 0);
            apply(&flight, applies || !fails);
            let late = || Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "late"));
            day.turn.land(flight, if fails { late() } else { arrived() }, day.now);
            day.run();
        }
        if below(400) == 0 && changes < 10_000 {
            crashes += 1;
            for flight in std::mem::take(&mut day.out) {
                apply(&flight, below(2) == 0);
            }
            day = day.killed();
        }
        day.pass(1 + below(20_000));
    }
    println!("latest wins: {latest_wins}: {changes} changes, {sends} sends, {crashes} crashes");
    let last = accepted.iter().filter(|(key, price)| applied.get(*key) != Some(price));
    wrong.extend(last.map(|(key, price)| format!("{key}: {price} is not the last one")));
    (wrong, sends)
}
