//! After: a message waits until messages of other keys have been delivered to its destination. An order never reaches the ERP before its customer.

#[path = "common/shop.rs"]
mod shop;

use goniec::engine::{AFTER_KEYS_MAX, Act, BatchRule, Order, Shown, Waits};
use goniec::model::{Abandoned, Queued, State};
use goniec::store::{Batch, Expect, Move, Note, Retention, key_hash};
use goniec::{Draft, Error, Id};
use shop::{Day, arrived, failed, price, superseded};

/// A message of this key; its body is the key.
fn of(key: &str) -> Draft {
    price(key, key, None)
}

fn order(key: &str, after: &[&str]) -> Draft {
    after.iter().fold(of(key), |draft, key| draft.after(*key))
}

fn hand_in(day: &mut Day, draft: Draft) -> Id {
    day.hand_in(vec![draft]).expect("accepts")[0]
}

/// What the message waits for, and the keys that it still awaits; it has had no attempt.
fn waits(day: &Day, id: Id) -> (Option<Waits>, Vec<String>) {
    let Shown { record, waits_for, after, .. } = day.shown(id);
    assert_eq!(record.attempts, 0);
    (waits_for, after.iter().map(ToString::to_string).collect())
}

fn awaits(keys: &[&str]) -> (Option<Waits>, Vec<String>) {
    (Some(Waits::After), keys.iter().map(ToString::to_string).collect())
}

fn notes(day: &Day) -> usize {
    let mut notes = 0;
    day.store.notes(b"a", &mut |_, _| notes += 1).expect("reads");
    notes
}

#[test]
fn an_order_waits_for_its_customer_and_then_goes() {
    let mut day = Day::begin(false);
    let waiting = hand_in(&mut day, order("order", &["customer"]));
    assert_eq!((day.out(), waits(&day, waiting)), (vec![], awaits(&["customer"])));
    // Another key helps nobody, nor does a failure.
    hand_in(&mut day, of("other"));
    day.land("other", arrived());
    hand_in(&mut day, of("customer"));
    day.land("customer", failed());
    day.pass(59_000);
    assert_eq!((day.out(), waits(&day, waiting)), (vec![], awaits(&["customer"])));
    day.pass(1_000);
    day.land("customer", arrived());
    assert_eq!((day.out(), notes(&day)), (vec!["order".to_owned()], 0));
    day.land("order", failed());
    day.pass(60_000);
    assert_eq!(day.out(), ["order"], "once it has gone, it waits as any other");
    day.land("order", arrived());
    assert_eq!((day.state(waiting), day.is_quiet()), (State::Delivered, true));
}

#[test]
fn what_was_delivered_before_is_not_waited_for() {
    let mut day = Day::begin(false);
    hand_in(&mut day, of("customer"));
    day.land("customer", arrived());
    hand_in(&mut day, order("order", &["customer"]));
    assert_eq!(day.out(), ["order"]);
    // The newest of a key counts: this one is not there yet.
    hand_in(&mut day, of("customer"));
    let second = hand_in(&mut day, order("second", &["customer"]));
    assert_eq!(waits(&day, second), awaits(&["customer"]));
    day.land("customer", arrived());
    assert!(day.out().contains(&"second".to_owned()));
}

#[test]
fn in_one_request_and_in_one_commit_nothing_is_overlooked() {
    let mut day = Day::begin(false);
    let ids = day.hand_in(vec![order("order", &["customer"]), of("customer"), order("later", &["customer"])]);
    let ids = ids.expect("accepts");
    assert_eq!(day.out(), ["customer"]);
    // The delivery, and one more that waits for it, in one commit.
    let flight = day.out.remove(0);
    day.turn.land(flight, arrived(), day.now);
    let last = hand_in(&mut day, order("last", &["customer"]));
    let mut out = day.out();
    out.sort();
    assert_eq!(out, ["last", "later", "order"]);
    assert!([ids[0], ids[2], last].iter().all(|id| matches!(day.state(*id), State::Sending(1))));
}

#[test]
fn each_of_several_keys_must_be_there_and_what_was_met_stays_met() {
    let mut day = Day::begin(false);
    hand_in(&mut day, of("b"));
    day.land("b", arrived());
    let waiting = hand_in(&mut day, order("order", &["a", "b", "c", "a"]));
    assert_eq!(waits(&day, waiting), awaits(&["a", "c"]));
    hand_in(&mut day, of("a"));
    day.land("a", arrived());
    assert_eq!(waits(&day, waiting), awaits(&["c"]));
    // Neither a power cut nor the removal of what met it takes that back.
    let all = Retention { delivered_ms: 0, abandoned_ms: 0, bodies_ms: 0, step_max: 99 };
    assert_eq!(day.store.retain(&all, day.now.wall.plus(1)).expect("retains").messages, 2);
    // The next commit syncs what retention wrote.
    hand_in(&mut day, of("other"));
    day.land("other", arrived());
    let mut day = day.killed();
    assert_eq!((day.out(), waits(&day, waiting)), (vec![], awaits(&["c"])));
    hand_in(&mut day, of("c"));
    day.land("c", arrived());
    assert_eq!(day.out(), ["order"]);
    // What is no longer kept was not delivered, as far as anybody knows.
    let late = hand_in(&mut day, order("late", &["a"]));
    assert_eq!(waits(&day, late), awaits(&["a"]));
}

#[test]
fn a_crash_between_the_delivery_and_who_waits_for_it_loses_nothing() {
    // The control: where the delivery did not become durable either, it goes on waiting.
    for is_durable in [true, false] {
        let mut day = Day::begin(false);
        hand_in(&mut day, of("customer"));
        let waiting = hand_in(&mut day, order("order", &["customer"]));
        if is_durable {
            let place = day.out.remove(0).place();
            let record = day.store.get(place).expect("reads").expect("a message");
            let step = Move {
                place,
                expect: Expect { state: record.state, attempts: 0, revision: 1 },
                to: State::Delivered,
                by: None,
                attempts: 1,
                series: 1,
                attempt: None,
                amend: None,
                untold: false,
            };
            let batch = Batch { now: day.now.wall, moves: vec![step], ..Default::default() };
            let number = day.store.commit(&batch).expect("commits").number;
            day.store.sync(number).expect("syncs");
        }
        let day = day.killed();
        assert_eq!(day.out() == ["order"], is_durable, "{:?}", day.out());
        assert_eq!(waits(&day, waiting).0.is_some(), !is_durable);
    }
}

#[test]
fn what_rests_is_waited_for_until_it_is_sent_again() {
    let mut day = Day::begin(false);
    let customer = hand_in(&mut day, of("customer"));
    day.land("customer", failed());
    let waiting = hand_in(&mut day, order("order", &["customer"]));
    day.act(customer, Act::Cancel).expect("cancels");
    let late = hand_in(&mut day, order("late", &["customer"]));
    let mut day = day.killed();
    assert_eq!((waits(&day, waiting), waits(&day, late)), (awaits(&["customer"]), awaits(&["customer"])));
    day.act(customer, Act::Resend(Queued::Ready)).expect("resends");
    day.land("customer", arrived());
    let mut out = day.out();
    out.sort();
    assert_eq!(out, ["late", "order"]);
    // A person's word that it arrived is a delivery too.
    let mut day = Day::begin(false);
    let customer = hand_in(&mut day, of("customer"));
    day.land("customer", failed());
    hand_in(&mut day, order("order", &["customer"]));
    day.act(customer, Act::Arrived).expect("is believed");
    assert_eq!(day.out(), ["order"]);
}

#[test]
fn a_person_who_sends_it_knows_better() {
    let acts: [(fn() -> Act, bool); 5] = [
        (|| Act::Release, true),
        (|| Act::Resend(Queued::Ready), true),
        (|| Act::Hold, false),
        (|| Act::Cancel, false),
        (|| edit("order"), false),
    ];
    for (act, goes) in acts {
        let mut day = Day::begin(false);
        let waiting = hand_in(&mut day, order("order", &["customer"]));
        let said = day.act(waiting, act()).expect("acts");
        assert_eq!(said.after.is_empty(), !matches!(act(), Act::Edit { .. }), "{said:?}");
        assert_eq!(day.out().len(), usize::from(goes), "{:?}", act());
        // That, too, outlives the process.
        let day = day.killed();
        assert_eq!(day.out().len(), usize::from(goes), "{:?}", act());
        let is_kept = matches!(act(), Act::Hold | Act::Edit { .. });
        assert_eq!(notes(&day), usize::from(is_kept), "{:?}", act());
    }
}

fn edit(body: &str) -> Act {
    let body = body.as_bytes().into();
    Act::Edit { body, content_type: None, read: None }
}

#[test]
fn what_is_edited_waits_on_and_what_is_held_waits_for_its_person() {
    let mut day = Day::begin(false);
    let edited = hand_in(&mut day, order("order", &["customer"]));
    let held = hand_in(&mut day, order("held", &["customer"]));
    day.act(edited, edit("changed")).expect("edits");
    day.act(held, Act::Hold).expect("holds");
    assert_eq!(waits(&day, edited), awaits(&["customer"]));
    assert_eq!(waits(&day, held).0, Some(Waits::Held));
    hand_in(&mut day, of("customer"));
    day.land("customer", arrived());
    assert_eq!((day.out(), waits(&day, held).0), (vec!["changed".to_owned()], Some(Waits::Held)));
    day.act(held, Act::Release).expect("releases");
    assert_eq!(day.out(), ["changed", "held"]);
}

#[test]
fn what_ends_or_goes_is_awaited_and_awaits_no_more() {
    let mut day = Day::begin(false);
    let soon = day.now.wall.plus(1_000);
    let expired = hand_in(&mut day, order("expired", &["customer"]).deadline(soon));
    let deleted = hand_in(&mut day, order("deleted", &["customer"]));
    assert_eq!(notes(&day), 2);
    day.act(deleted, Act::Delete).expect("deletes");
    day.pass(2_000);
    assert_eq!((day.state(expired), notes(&day)), (State::Abandoned(Abandoned::Expired), 0));
    hand_in(&mut day, of("customer"));
    day.land("customer", arrived());
    assert!(day.is_quiet());
    // What a person sends after all waits for nothing.
    day.act(expired, Act::Resend(Queued::Ready)).expect("resends");
    assert_eq!(day.out(), ["expired"]);
}

#[test]
fn what_it_waits_for_besides_is_waited_for_then() {
    let mut day = Day::begin(false);
    let now = day.now.wall;
    let late = hand_in(&mut day, order("late", &["customer"]).not_before(now.plus(60_000)));
    let past = hand_in(&mut day, order("past", &["customer"]).not_before(now.plus(1_000)));
    day.pass(2_000);
    assert_eq!((waits(&day, late), waits(&day, past)), (awaits(&["customer"]), awaits(&["customer"])));
    hand_in(&mut day, of("customer"));
    day.land("customer", arrived());
    assert_eq!((day.out(), waits(&day, late).0), (vec!["past".to_owned()], Some(Waits::NotBefore)));
    day.pass(58_000);
    assert_eq!(day.out(), ["past", "late"]);
}

#[test]
fn in_a_line_it_holds_back_its_own_key_and_no_other() {
    let mut day = Day::with(|shop| shop.order = Order::Key);
    hand_in(&mut day, order("order", &["customer"]));
    let behind = hand_in(&mut day, price("order", "behind", None));
    hand_in(&mut day, of("other"));
    assert_eq!((day.out(), waits(&day, behind).0), (vec!["other".to_owned()], Some(Waits::KeyOrder)));
    let mut day = day.killed();
    day.land("other", arrived());
    hand_in(&mut day, of("customer"));
    day.land("customer", arrived());
    assert_eq!((day.out(), waits(&day, behind).0), (vec!["order".to_owned()], Some(Waits::KeyOrder)));
    day.land("order", arrived());
    assert_eq!(day.out(), ["behind"]);
}

#[test]
fn a_newer_one_takes_its_place_and_waits_for_what_it_says_itself() {
    let mut day = Day::with(|shop| shop.latest_wins = true);
    let first = hand_in(&mut day, order("order", &["customer"]));
    let second = hand_in(&mut day, order("order", &["article"]));
    assert_eq!((day.state(first), waits(&day, second), notes(&day)), (superseded(second), awaits(&["article"]), 1));
    // What it waits for may be superseded: one of that key must arrive.
    hand_in(&mut day, of("article"));
    day.land("article", failed());
    let newer = hand_in(&mut day, price("article", "newer", None));
    day.land("newer", failed());
    assert_eq!((day.out(), waits(&day, second)), (vec![], awaits(&["article"])));
    let mut day = day.killed();
    day.pass(60_000);
    day.land("newer", arrived());
    assert_eq!((day.state(newer), day.out()), (State::Delivered, vec!["order".to_owned()]));
    // What is superseded from the beginning keeps no note.
    hand_in(&mut day, price("v", "2", Some(2)));
    let below = hand_in(&mut day, price("v", "1", Some(1)).after("customer"));
    assert!(matches!(day.state(below), State::Abandoned(Abandoned::Superseded(_))));
    assert_eq!(notes(&day), 0);
}

#[test]
fn in_a_batch_it_goes_once_what_it_waits_for_is_there() {
    let mut day = Day::with(|shop| shop.batch = Some(BatchRule { max: 2, wait_ms: 1_000 }));
    hand_in(&mut day, order("order", &["customer"]));
    hand_in(&mut day, of("customer"));
    day.pass(1_000);
    let bodies = |day: &Day| day.out.iter().map(|flight| flight.messages().len()).collect::<Vec<_>>();
    assert_eq!((bodies(&day), day.out()), (vec![1], vec!["customer".to_owned()]), "they do not go together");
    day.land("customer", arrived());
    day.pass(1_000);
    assert_eq!(day.out(), ["order"]);
}

#[test]
fn a_loop_waits_and_is_seen() {
    let mut day = Day::begin(false);
    let a = hand_in(&mut day, order("a", &["b"]));
    let b = hand_in(&mut day, order("b", &["a"]));
    let mut day = day.killed();
    day.pass(86_400_000);
    assert_eq!((waits(&day, a), waits(&day, b)), (awaits(&["b"]), awaits(&["a"])));
    day.act(a, Act::Release).expect("releases");
    day.land("a", arrived());
    assert_eq!(day.out(), ["b"]);
}

#[test]
fn what_nobody_can_wait_for_is_refused() {
    let mut day = Day::begin(false);
    let many: Vec<String> = (0..=AFTER_KEYS_MAX).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "k".repeat(513);
    for (after, says) in [
        (&["order"][..], "its own key \"order\""),
        (&[""][..], "is empty"),
        (&[long.as_str()][..], "has 513 bytes, 512 are allowed"),
        (&many[..], "17 keys, 16 are allowed"),
    ] {
        let refused = day.hand_in(vec![of("fine"), order("order", after)]);
        let Err(Error::After(what)) = refused else { panic!("{after:?}: {refused:?}") };
        assert!(what.starts_with("message 2: ") && what.contains(says), "{what}");
    }
    assert!(day.is_quiet(), "nothing of such a request is kept");
    hand_in(&mut day, order("order", &many[1..]));
    assert_eq!(notes(&day), 1);
}

#[test]
fn keys_of_one_hash_are_two_keys() {
    let (one, other) = ("8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ");
    assert_eq!(key_hash(one), key_hash(other), "a known collision");
    let mut day = Day::begin(false);
    let waiting = hand_in(&mut day, order("order", &[one]));
    let both = hand_in(&mut day, order("both", &[one, other]));
    hand_in(&mut day, of(other));
    day.land(other, arrived());
    assert_eq!((waits(&day, waiting), waits(&day, both)), (awaits(&[one]), awaits(&[one])));
    let late = hand_in(&mut day, order("late", &[one]));
    assert_eq!(waits(&day, late), awaits(&[one]));
    hand_in(&mut day, of(one));
    day.land(one, arrived());
    assert_eq!(day.out().len(), 3);
}

/// Overwrites what the message waits for with what nobody can read.
fn garble(day: &Day, id: Id) {
    let key = [b"a", &id.place().to_u64().to_be_bytes()[..]].concat();
    assert!(day.store.note(&key).expect("reads").is_some(), "it is what it waits for");
    let notes = vec![Note { key, value: b"?".to_vec() }];
    let done = day.store.commit(&Batch { now: day.now.wall, notes, ..Batch::default() }).expect("commits");
    day.store.sync(done.number).expect("syncs");
}

#[test]
fn what_cannot_be_read_waits_for_a_person_and_holds_back_nobody_else() {
    for is_restarted in [false, true] {
        let mut day = Day::begin(false);
        let garbled = hand_in(&mut day, order("garbled", &["customer"]));
        let waiting = hand_in(&mut day, order("order", &["customer"]));
        garble(&day, garbled);
        if is_restarted {
            day = day.killed();
            assert_eq!(waits(&day, waiting), awaits(&["customer"]), "each is read by itself then");
        }
        hand_in(&mut day, of("customer"));
        day.land("customer", arrived());
        assert_eq!((day.out(), waits(&day, garbled)), (vec!["order".to_owned()], awaits(&[])));
        let damaged = day.turn.stats().damaged;
        assert!(damaged.iter().any(|what| what.contains("waits for")), "{damaged:?}");
        day.act(garbled, Act::Release).expect("releases");
        assert_eq!((day.out(), notes(&day)), (vec!["order".to_owned(), "garbled".to_owned()], 0));
    }
}

/// More than one commit takes; all of them wait for one key, and some for another besides.
#[test]
fn however_many_wait_for_a_key_all_of_them_go() {
    let mut day = Day::with(|shop| shop.concurrency = 5_000);
    for _ in 0..3 {
        let drafts = (0..1_000).map(|n| if n % 10 == 0 { order("o", &["c", "d"]) } else { order("o", &["c"]) });
        day.hand_in(drafts.collect()).expect("accepts");
    }
    hand_in(&mut day, of("c"));
    day.land("c", arrived());
    assert_eq!((day.out.len(), notes(&day)), (2_700, 300));
    hand_in(&mut day, of("d"));
    day.land("d", arrived());
    assert_eq!((day.out.len(), notes(&day)), (3_000, 0));
}
