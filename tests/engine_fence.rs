//! Versions: where only the latest of a key counts, an older version never follows a newer one, in whatever order they come.

#[path = "common/shop.rs"]
mod shop;

use std::collections::{BTreeMap, HashMap};

use goniec::engine::{Act, Flight, VERSIONED_KEY_BYTES_MAX};
use goniec::model::{Class, Failure, Outcome, Queued, Sent, State};
use goniec::store::{Batch, Note, Retention, StoreError, key_hash};
use goniec::{Draft, Error, Id};
use shop::{Day, arrived, below, failed, price, superseded};

const KEY: &str = "sku-1";

fn hand_in(day: &mut Day, version: u64) -> Id {
    day.hand_in(vec![price(KEY, &version.to_string(), Some(version))]).expect("accepts")[0]
}

#[test]
fn a_lower_version_rests_at_once_and_names_the_one_above_it() {
    // The control: without the rule a version does nothing.
    for latest_wins in [true, false] {
        let mut day = Day::begin(latest_wins);
        let five = hand_in(&mut day, 5);
        let four = hand_in(&mut day, 4);
        if !latest_wins {
            assert_eq!(day.out(), ["5", "4"]);
            continue;
        }
        assert_eq!((day.state(four), day.out()), (superseded(five), vec!["5".to_owned()]));
        assert_eq!(day.shown(five).record.supersedes, None, "it took the place of nothing that waited");
        assert_eq!(day.turn.wakes().get(&four.place()), None, "nothing waits for it");
        // Neither when the newer one does not arrive, nor after a power cut.
        day.land("5", failed());
        day.pass(60_000);
        assert_eq!(day.out(), ["5"]);
        let mut day = day.killed();
        day.pass(3_600_000);
        assert_eq!((day.state(four), day.out()), (superseded(five), vec!["5".to_owned()]));
        day.land("5", failed());
        let six = hand_in(&mut day, 6);
        assert_eq!((day.state(five), day.out()), (superseded(six), vec!["6".to_owned()]));
        assert_eq!(day.shown(six).record.supersedes, Some(five));
    }
}

#[test]
fn of_equal_versions_the_one_accepted_last_counts() {
    let mut day = Day::begin(true);
    let first = hand_in(&mut day, 5);
    day.land("5", failed());
    let second = hand_in(&mut day, 5);
    assert_eq!((day.state(first), day.out().len()), (superseded(second), 1));
    let lower = hand_in(&mut day, 0);
    assert_eq!(day.state(lower), superseded(second), "the last one holds the fence");
    day.land("5", failed());
    let highest = hand_in(&mut day, u64::MAX);
    assert_eq!(day.state(second), superseded(highest));
}

#[test]
fn versions_of_one_request_may_come_in_any_order() {
    let mut day = Day::begin(true);
    let one = |body: &str, version| price(KEY, body, version);
    let drafts = vec![one("a", Some(5)), one("b", Some(3)), one("c", Some(7)), one("d", None), one("e", Some(6))];
    let ids = day.hand_in(drafts).expect("accepts");
    while let Some(body) = day.out().first().cloned() {
        assert!(body == "a" || body == "d", "{body} went out");
        day.land(&body, arrived());
    }
    assert_eq!([day.state(ids[1]), day.state(ids[4])], [superseded(ids[0]), superseded(ids[2])]);
    assert_eq!((day.state(ids[2]), day.state(ids[3])), (superseded(ids[3]), State::Delivered));
    let six = hand_in(&mut day, 6);
    assert_eq!(day.state(six), superseded(ids[2]), "a message without a version leaves the fence as it is");
}

#[test]
fn a_message_without_a_version_counts_by_its_acceptance() {
    let mut day = Day::begin(true);
    let five = hand_in(&mut day, 5);
    day.land("5", failed());
    let plain = day.price("plain");
    assert_eq!((day.state(five), day.out()), (superseded(plain), vec!["plain".to_owned()]));
    let four = hand_in(&mut day, 4);
    assert_eq!(day.state(four), superseded(five));
    day.land("plain", failed());
    let six = hand_in(&mut day, 6);
    assert_eq!((day.state(plain), day.out()), (superseded(six), vec!["6".to_owned()]));
}

#[test]
fn the_fence_outlives_the_message_that_raised_it() {
    let gone: [fn(&mut Day, Id); 3] = [
        |day, five| {
            day.act(five, Act::Delete).expect("deletes");
        },
        |day, _| {
            let all = Retention { delivered_ms: 0, abandoned_ms: 0, bodies_ms: 0, step_max: 99 };
            let later = day.now.wall.plus(1);
            assert_eq!(day.store.retain(&all, later).expect("retains").messages, 1);
        },
        |day, five| {
            day.act(five, Act::Resend(Queued::Ready)).expect("resends");
            day.land("5", failed());
            day.act(five, Act::Cancel).expect("cancels");
        },
    ];
    for go in gone {
        let mut day = Day::begin(true);
        let five = hand_in(&mut day, 5);
        day.land("5", arrived());
        go(&mut day, five);
        let mut day = day.killed();
        let four = hand_in(&mut day, 4);
        assert_eq!((day.state(four), day.out().len()), (superseded(five), 0));
        match day.act(four, Act::Resend(Queued::Ready)) {
            Err(error @ Error::Overtaken { .. }) => {
                assert!(error.to_string().contains("an older version than 5"), "{error}");
                assert!(error.hint().is_some_and(|hint| hint.contains("version 5 or higher")), "{error:?}");
            }
            other => panic!("{other:?}"),
        }
        // The control, and the way out.
        let again = hand_in(&mut day, 5);
        day.land("5", arrived());
        assert_eq!(day.state(again), State::Delivered);
    }
}

#[test]
fn a_person_cannot_send_an_older_version_after_a_newer_one() {
    let mut day = Day::begin(true);
    let five = hand_in(&mut day, 5);
    let four = hand_in(&mut day, 4);
    day.land("5", arrived());
    let edit = Act::Edit { body: b"0"[..].into(), content_type: None, read: None };
    for act in [Act::Resend(Queued::Ready), Act::Resend(Queued::Held), edit] {
        match day.act(four, act) {
            Err(Error::Overtaken { id, newer, version }) => assert_eq!((id, newer, version), (four, five, Some(5))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((day.out().len(), day.state(four)), (0, superseded(five)));
    day.act(five, Act::Resend(Queued::Ready)).expect("the newest can be sent again");
    assert_eq!(day.out(), ["5"]);
}

#[test]
fn an_older_version_that_a_person_says_has_arrived_takes_nobodys_place() {
    let mut day = Day::begin(true);
    let five = hand_in(&mut day, 5);
    let four = hand_in(&mut day, 4);
    day.land("5", failed());
    day.act(four, Act::Arrived).expect("it is said");
    day.pass(60_000);
    assert_eq!((day.state(four), day.out()), (State::Delivered, vec!["5".to_owned()]));
    day.land("5", arrived());
    day.act(five, Act::Resend(Queued::Ready)).expect("it is the newest still");
    // The control: of equal versions the later one is the newer.
    day.land("5", failed());
    let again = hand_in(&mut day, 5);
    assert_eq!(day.state(five), superseded(again));
}

#[test]
fn behind_an_older_version_that_a_person_says_has_arrived_a_newer_message_is_seen() {
    let mut day = Day::begin(true);
    let five = hand_in(&mut day, 5);
    day.land("5", arrived());
    let plain = day.price("plain");
    day.land("plain", arrived());
    let four = hand_in(&mut day, 4);
    day.act(four, Act::Arrived).expect("it is said");
    let refused = day.act(five, Act::Resend(Queued::Ready));
    assert!(matches!(refused, Err(Error::Overtaken { newer, version: None, .. }) if newer == plain), "{refused:?}");
    // The control: with that one out of the way, it goes.
    day.act(plain, Act::Delete).expect("deletes");
    day.act(five, Act::Resend(Queued::Ready)).expect("resends");
    assert_eq!(day.out(), ["5"]);
}

#[test]
fn what_a_full_disk_refuses_raises_no_fence() {
    let mut day = Day::begin(true);
    hand_in(&mut day, 1);
    day.disk.set_capacity(Some(1));
    let refused = day.hand_in(vec![price(KEY, "9", Some(9)), price(KEY, "8", Some(8))]);
    assert!(matches!(refused, Err(Error::Store(StoreError::Full(_)))), "{refused:?}");
    day.disk.set_capacity(None);
    day.land("1", arrived());
    let two = hand_in(&mut day, 2);
    day.land("2", arrived());
    assert_eq!(day.state(two), State::Delivered);
}

#[test]
fn keys_of_one_hash_have_fences_and_messages_of_their_own() {
    let (one, other) = ("8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ");
    assert_eq!(key_hash(one), key_hash(other), "a known collision");
    let mut day = Day::begin(true);
    let ids = day.hand_in(vec![price(one, "one", Some(5)), price(other, "other", Some(4))]).expect("accepts");
    // They wait in one line, and a start must not take the one for older than the other.
    let mut day = day.killed();
    for _ in 0..2 {
        let body = day.out().first().cloned().expect("one at a time");
        day.land(&body, arrived());
    }
    assert_eq!([day.state(ids[0]), day.state(ids[1])], [State::Delivered; 2]);
    let below = day.hand_in(vec![price(other, "x", Some(3))]).expect("accepts");
    assert_eq!(day.state(below[0]), superseded(ids[1]));
}

#[test]
fn a_key_too_long_for_a_fence_is_refused_where_it_would_need_one() {
    let long = "k".repeat(VERSIONED_KEY_BYTES_MAX + 1);
    let mut day = Day::begin(true);
    let refused = day.hand_in(vec![price(&long, "1", Some(1))]);
    assert!(matches!(&refused, Err(Error::Invalid(what)) if what.contains("197 are allowed")), "{refused:?}");
    let longest = &long[1..];
    let ids = day.hand_in(vec![price(longest, "2", Some(2)), price(longest, "1", Some(1)), price(&long, "0", None)]);
    let ids = ids.expect("accepts");
    assert_eq!(day.state(ids[1]), superseded(ids[0]));
    Day::begin(false).hand_in(vec![price(&long, "1", Some(1))]).expect("needs none");
}

#[test]
fn a_fence_that_cannot_be_told_lets_no_version_through_and_is_said() {
    let mut day = Day::begin(true);
    let five = hand_in(&mut day, 5);
    day.land("5", failed());
    let dest = day.store.destination("shop").expect("a number").0;
    let fence = Note { key: [b"f", &dest.to_be_bytes()[..], KEY.as_bytes()].concat(), value: b"?".to_vec() };
    assert_eq!(day.store.note(&fence.key).expect("reads").map(|value| value.len()), Some(24), "it is the fence");
    let done = day.store.commit(&Batch { notes: vec![fence], ..Batch::default() }).expect("commits");
    day.store.sync(done.number).expect("syncs");
    let refused = day.hand_in(vec![price(KEY, "6", Some(6))]);
    assert!(matches!(refused, Err(Error::Store(StoreError::Damaged(_)))), "{refused:?}");
    assert!(day.turn.stats().damaged[0].contains("sku-1"), "{:?}", day.turn.stats().damaged);
    let ids = day.hand_in(vec![price("sku-2", "1", Some(1)), price(KEY, "plain", None)]).expect("others are taken");
    assert_eq!(day.state(five), superseded(ids[1]));
}

/// Versions in any order over few keys, at a shop that fails half of its answers, with power cuts and people: what was applied last is the highest
/// version accepted, of equal ones the last.
#[test]
fn the_last_price_applied_is_that_of_the_highest_version() {
    let seed = std::env::var("GONIEC_FENCE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x2f6e_2b1d_u64);
    println!("GONIEC_FENCE_SEED={seed}");
    assert_eq!(changes_of_prices(true, seed), Vec::<String>::new());
    // The control: where no versions are given, the last one accepted is applied, whatever it is.
    assert!(!changes_of_prices(false, seed).is_empty());
}

fn changes_of_prices(has_versions: bool, seed: u64) -> Vec<String> {
    let mut below = below(seed);
    // A price is its number of acceptance, and says its version: `12 of 7`.
    let (mut applied, mut wanted) = (HashMap::<String, String>::new(), BTreeMap::<String, (u64, String)>::new());
    let (mut changes, mut sends, mut crashes) = (0_u64, 0_u64, 0_u64);
    let mut ids: Vec<Id> = Vec::new();
    let mut day = Day::begin(true);
    let mut apply = |flight: &Flight| {
        let body = String::from_utf8_lossy(&flight.message().body).into_owned();
        applied.insert(flight.message().key().expect("a key").to_owned(), body);
    };
    while changes < 4_000 || !day.is_quiet() {
        if changes < 4_000 {
            let mut drafts: Vec<Draft> = Vec::new();
            for _ in 0..1 + below(6) {
                changes += 1;
                let (key, version) = (format!("sku-{}", below(40)), changes / 8 + below(60));
                let body = format!("{changes} of {version}");
                drafts.push(price(&key, &body, has_versions.then_some(version)));
                let newest = wanted.entry(key).or_default();
                if version >= newest.0 {
                    *newest = (version, body);
                }
            }
            ids.extend(day.hand_in(drafts).expect("accepts"));
        }
        for _ in 0..=below(6).min(day.out.len() as u64) {
            if day.out.is_empty() {
                break;
            }
            let flight = day.out.swap_remove(usize::try_from(below(day.out.len() as u64)).expect("small"));
            // Half of the answers fail, and half of those were applied all the same.
            let (fails, applies) = (below(2) == 0, below(2) == 0);
            sends += 1;
            if applies || !fails {
                apply(&flight);
            }
            let late = || Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "late"));
            day.turn.land(flight, if fails { late() } else { arrived() }, day.now);
            day.run();
        }
        if below(10) == 0 {
            let id = ids[usize::try_from(below(ids.len() as u64)).expect("small")];
            // What was overtaken is refused; the newest goes once more.
            let _said = day.act(id, Act::Resend(Queued::Ready));
        }
        if below(300) == 0 {
            crashes += 1;
            for flight in std::mem::take(&mut day.out) {
                if below(2) == 0 {
                    apply(&flight);
                }
            }
            day = day.killed();
        }
        day.pass(1 + below(20_000));
    }
    println!("versions: {has_versions}: {changes} changes, {sends} sends, {crashes} crashes");
    let last = wanted.iter().filter(|(key, (_, body))| applied.get(*key) != Some(body));
    last.map(|(key, (_, body))| format!("{key}: {:?} instead of {body}", applied.get(key))).collect()
}
