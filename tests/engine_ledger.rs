//! Ledgers of streams: numbers without holes, entries that stand or fall with what they say, and what comes twice taken once.

#[path = "common/faulty.rs"]
mod faulty;

use std::sync::{Arc, Mutex};

use faulty::Faulty;
use goniec::engine::{
    Act, Destination, Heard, Item, REQUEST_BYTES_MAX, Received, Settings, Side, Stream, StreamShown, Took, Turn,
};
use goniec::model::ledger::{Content, End, Entry, NUMBER_MAX, Number, Page};
use goniec::model::{Class, Envelope, Failure, NodeTag, Outcome, Place, Sent, Stamp, WallMs};
use goniec::source::Keeper;
use goniec::store::{Query, Store};
use goniec::transport::IntoOutcome;
use goniec::{Draft, Id, Message};

fn now(mono_ms: u64) -> Stamp {
    Stamp { wall: WallMs(1_790_000_000_000 + mono_ms), mono_ms }
}

/// A node that sends to `peer` by number, where a body of `no` is refused, and takes messages for `erp`.
fn open(store: &Arc<Faulty>) -> Turn {
    let judge = |message: &Message| match message.body() {
        b"no" => Outcome::Failed(Failure::new(Class::Rejected, Sent::Answered, "no")),
        _ => ().into_outcome(),
    };
    let peer = Destination { is_numbered: true, ..Destination::new("peer", judge) };
    let erp = Destination::new("erp", |_: &Message| ());
    let settings = Settings { body_bytes_max: REQUEST_BYTES_MAX, ..Settings::default() };
    Turn::open(store.clone(), vec![peer, erp], settings, Vec::new(), now(0)).expect("opens")
}

fn hand_in(turn: &mut Turn, bodies: &[&str]) -> Result<Vec<Id>, goniec::Error> {
    let said = Arc::new(Mutex::new(None));
    let heard = said.clone();
    let drafts = bodies.iter().map(|body| Message::to("peer").key(*body).body(body.as_bytes())).collect();
    turn.accept(drafts, Box::new(move |answer| *heard.lock().expect("no panic") = Some(answer)));
    turn.turn(now(1)).expect("turns");
    let answer = said.lock().expect("no panic").take();
    answer.expect("answered")
}

fn number(turn: &Turn, id: Id) -> Number {
    Number::of(&turn.message(id).expect("there").envelope).expect("numbered")
}

fn stands(turn: &Turn, side: Side) -> StreamShown {
    let all = turn.streams();
    all.into_iter().find(|shown| shown.stream.side == side).expect("known")
}

fn holes(turn: &Turn, shown: &StreamShown) -> Vec<(u64, u64)> {
    turn.stream_holes(&shown.stream, shown.last).expect("reads")
}

fn page(turn: &Turn, side: Side) -> Page {
    turn.ledger_page(&stands(turn, side).stream, 0).expect("reads")
}

fn id_of(n: u64) -> Id {
    Id::compose(WallMs(9), NodeTag::new(1), Place::new(n, 0))
}

fn item(n: u64, body: &str, revision: u16) -> Item {
    named(n, id_of(n), body, revision)
}

fn named(n: u64, id: Id, body: &str, revision: u16) -> Item {
    let draft = Message::to("erp").header("goniec-source", "shop").body(body.as_bytes());
    Item { n, id, revision, drafts: vec![draft] }
}

fn received(last: u64, ended: &[(u64, End)], items: Vec<Item>) -> Received {
    Received { source: "shop".into(), epoch: 7, last, ended: ended.to_vec(), items }
}

fn receive(turn: &mut Turn, received: Vec<Received>) -> Vec<Heard> {
    let said = Arc::new(Mutex::new(Vec::new()));
    for one in received {
        let heard = said.clone();
        let keep = move |answer: Result<Heard, goniec::Error>| heard.lock().expect("no panic").push(answer);
        turn.receive(one, Box::new(keep));
    }
    turn.turn(now(2)).expect("turns");
    std::mem::take(&mut *said.lock().expect("no panic")).into_iter().map(|said| said.expect("taken")).collect()
}

fn taken(store: &Faulty) -> Vec<Vec<u8>> {
    let page = store.list(&Query { limit: 1_000, ..Query::default() }).expect("lists");
    let body = |place| store.load(place).expect("reads").expect("there").message.body.to_vec();
    page.records.iter().rev().map(|record| body(record.place)).collect()
}

#[test]
fn numbers_have_no_holes_where_a_full_disk_refuses_and_after_a_start() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let first = hand_in(&mut turn, &["a", "b"]).expect("taken");
    *store.room_for.lock().expect("whole") = Some(0);
    hand_in(&mut turn, &["c"]).expect_err("there is no room");
    *store.room_for.lock().expect("whole") = None;
    let second = hand_in(&mut turn, &["d"]).expect("taken");
    drop(turn);
    let mut turn = open(&store);
    let third = hand_in(&mut turn, &["e"]).expect("taken");
    let numbers: Vec<Number> = [first, second, third].concat().into_iter().map(|id| number(&turn, id)).collect();
    assert_eq!(numbers.iter().map(|number| number.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(numbers.iter().all(|number| number.epoch == numbers[0].epoch), "{numbers:?}");
    assert_eq!(turn.numbered("peer"), Some((numbers[0].epoch, 4)));
}

#[test]
fn what_became_of_each_number_is_kept_and_outlives_a_start() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let ids = hand_in(&mut turn, &["a", "no"]).expect("taken");
    turn.steer("peer", goniec::engine::Hand::Pause, Box::new(drop));
    turn.turn(now(2)).expect("turns");
    let later = hand_in(&mut turn, &["c", "d", "e"]).expect("taken");
    turn.act(later[0], Act::Cancel, Box::new(drop));
    turn.act(later[1], Act::Delete, Box::new(drop));
    // What was delivered stays so, whatever a person does with the message here.
    turn.act(ids[0], Act::Delete, Box::new(drop));
    turn.turn(now(3)).expect("turns");
    let envelope = Envelope { key: Some("a".into()), ..Envelope::default() };
    for turn in [turn, open(&store)] {
        let shown = stands(&turn, Side::Out);
        assert_eq!((shown.last, shown.mark, holes(&turn, &shown).as_slice()), (5, 4, [(5, 5)].as_slice()));
        let entries: Vec<Entry> = page(&turn, Side::Out).entries().take(5).collect();
        let [Entry::There(_, delivered), rest @ ..] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(*delivered, Content::of(ids[0], 1, &envelope, b"a"));
        let ended = [End::Rejected, End::Cancelled, End::Deleted].map(Entry::Ended);
        assert_eq!(rest, [&ended[..], &[Entry::Unknown]].concat());
    }
}

#[test]
fn what_comes_again_is_taken_once_within_a_commit_and_after_a_start() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let both = vec![received(2, &[], vec![item(1, "a", 1)]), received(2, &[], vec![item(1, "a", 1), item(2, "b", 1)])];
    let heard = receive(&mut turn, both);
    assert_eq!(heard[0].took, [Took::New]);
    assert_eq!(heard[1].took, [Took::Known, Took::New]);
    drop(turn);
    let mut turn = open(&store);
    let heard = receive(&mut turn, vec![received(5, &[], vec![item(2, "b", 1), item(4, "d", 1)])]);
    assert_eq!(heard[0].took, [Took::Known, Took::New]);
    assert_eq!((heard[0].mark, heard[0].highest, heard[0].holes.as_slice()), (2, 4, [(3, 3), (5, 5)].as_slice()));
    assert_eq!(taken(&store), [b"a", b"b", b"d"]);
    let said = turn.ledger_message(&stands(&turn, Side::In).stream, 4).expect("reads").expect("there");
    assert_eq!(&*turn.message(said).expect("there").body, b"d");
}

#[test]
fn a_higher_revision_is_a_new_message_and_a_lower_one_is_known() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let mut took =
        |body, revision| receive(&mut turn, vec![received(1, &[], vec![item(1, body, revision)])])[0].took[0];
    assert_eq!(
        [took("a", 1), took("b", 3), took("b", 3), took("c", 2)],
        [Took::New, Took::New, Took::Known, Took::Known]
    );
    assert_eq!(taken(&store), [b"a", b"b"]);
}

#[test]
fn another_message_under_a_known_number_is_taken_once_and_told() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let other = || named(1, id_of(99), "x", 1);
    let all = vec![received(1, &[], vec![item(1, "a", 1)]), received(1, &[], vec![other()])];
    let heard = receive(&mut turn, all);
    assert_eq!((heard[0].took[0], heard[1].took[0]), (Took::New, Took::Conflict));
    assert_eq!(receive(&mut turn, vec![received(1, &[], vec![other()])])[0].took, [Took::Conflict]);
    let twice = receive(&mut turn, vec![received(2, &[], vec![item(2, "b", 1), named(2, id_of(98), "y", 1)])]);
    assert_eq!(twice[0].took, [Took::New, Took::Conflict]);
    assert_eq!(taken(&store), [&b"a"[..], b"x", b"b", b"y"]);
}

#[test]
fn an_end_fills_its_hole_until_the_message_comes_after_all() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let ended = [(1, End::Cancelled), (2, End::Expired)];
    let heard = receive(&mut turn, vec![received(2, &[], vec![item(2, "b", 1)]), received(2, &ended, Vec::new())]);
    assert_eq!((heard[1].mark, heard[1].holes.len()), (2, 0));
    assert_eq!(page(&turn, Side::In).entry(0), Entry::Ended(End::Cancelled));
    assert!(matches!(page(&turn, Side::In).entry(1), Entry::There(..)), "what is there stays there");
    assert_eq!(receive(&mut turn, vec![received(2, &[], vec![item(1, "a", 1)])])[0].took, [Took::New]);
    assert!(matches!(page(&turn, Side::In).entry(0), Entry::There(..)));
}

#[test]
fn what_a_person_removes_ended_and_comes_again_only_where_it_is_sent_again() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    receive(&mut turn, vec![received(300, &[], (1..=300).map(|n| item(n, "a", 1)).collect())]);
    let shown = stands(&turn, Side::In);
    assert_eq!((shown.mark, shown.last), (300, 300));
    let id = turn.ledger_message(&shown.stream, 3).expect("reads").expect("there");
    turn.act(id, Act::Delete, Box::new(drop));
    turn.turn(now(3)).expect("turns");
    assert_eq!(holes(&turn, &stands(&turn, Side::In)), []);
    assert_eq!(stands(&turn, Side::In).mark, 300);
    assert_eq!(page(&turn, Side::In).entry(2), Entry::Ended(End::Deleted));
    assert_eq!(receive(&mut turn, vec![received(300, &[], vec![item(3, "a", 1)])])[0].took, [Took::New]);
    assert!(matches!(page(&turn, Side::In).entry(2), Entry::There(..)));
}

#[test]
fn nobody_outside_writes_what_only_a_ledger_says() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let forged = format!("{}/1/7.9", id_of(9));
    let forge = |to: &str| -> Draft {
        let draft = Message::to(to).header("goniec-source", "shop").header("goniec-number", "7.1000");
        draft.header("goniec-origin", forged.as_str())
    };
    turn.accept(vec![forge("erp"), forge("peer")], Box::new(drop));
    turn.turn(now(1)).expect("turns");
    let streams: Vec<Stream> = turn.streams().into_iter().map(|shown| shown.stream).collect();
    assert!(streams.iter().all(|stream| stream.side == Side::Out), "{streams:?}");
    assert_eq!(turn.numbered("peer").map(|(_, last)| last), Some(1));
}

#[test]
fn a_registry_that_was_set_back_counts_anew_and_old_numbers_stay() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let first = hand_in(&mut turn, &["a"]).expect("taken");
    let (stale, _) = turn.numbered("peer").expect("numbered");
    assert!(turn.begin_epoch("peer", stale).expect("random"));
    assert!(!turn.begin_epoch("peer", stale).expect("random"), "once");
    let second = hand_in(&mut turn, &["b"]).expect("taken");
    assert_eq!(number(&turn, first[0]), Number { epoch: stale, n: 1 });
    let anew = number(&turn, second[0]);
    assert!(anew.epoch != stale && anew.n == 1, "{anew}");
    drop(turn);
    let turn = open(&store);
    assert_eq!(turn.numbered("peer"), Some((anew.epoch, 1)));
    let shown = turn.streams();
    assert_eq!(shown.iter().filter(|shown| shown.is_current).count(), 1);
    assert!(shown.iter().all(|shown| shown.mark == 1), "{shown:?}");
}

#[test]
fn a_number_beyond_all_measure_is_refused_and_the_highest_is_taken() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let heard = receive(&mut turn, vec![received(NUMBER_MAX, &[], vec![item(NUMBER_MAX, "a", 1), item(2, "b", 1)])]);
    assert_eq!((heard[0].mark, heard[0].highest), (0, NUMBER_MAX));
    assert_eq!(heard[0].holes, [(1, 1), (3, NUMBER_MAX - 1)]);
    let beyond = NUMBER_MAX + 1;
    let wrong = [
        received(beyond, &[], Vec::new()),
        received(1, &[], vec![item(beyond, "c", 1)]),
        received(1, &[(u64::MAX, End::Expired)], Vec::new()),
        received(1, &[(0, End::Expired)], Vec::new()),
    ];
    for one in wrong {
        let said = Arc::new(Mutex::new(None));
        let heard = said.clone();
        turn.receive(one, Box::new(move |answer| *heard.lock().expect("no panic") = Some(answer)));
        let answer = said.lock().expect("no panic").take();
        assert!(matches!(answer, Some(Err(goniec::Error::Invalid(_)))), "{answer:?}");
    }
}

#[test]
fn what_a_newer_one_overtook_is_told_as_superseded_where_it_is_missing() {
    let store = Arc::new(Faulty::default());
    let peer = Destination { is_numbered: true, latest_wins: true, ..Destination::new("peer", |_: &Message| ()) };
    let mut turn = Turn::open(store, vec![peer], Settings::default(), Vec::new(), now(0)).expect("opens");
    let mut at = 0;
    for body in ["a", "b"] {
        turn.accept(
            vec![Message::to("peer").key("k").body(body.as_bytes())],
            Box::new(|said| drop(said.expect("taken"))),
        );
        at += 10;
        turn.turn(now(at)).expect("turns");
    }
    let stream = stands(&turn, Side::Out).stream;
    let mut keeper = Keeper::new(vec!["peer".into()]);
    let heard = Heard { took: Vec::new(), mark: 0, highest: 2, holes: vec![(1, 1)] };
    for round in 1..=2 {
        assert_eq!(keeper.due(&turn, round * 20_000, now(at + round).wall).len(), 1);
        keeper.heard(&mut turn, &stream, &heard, round * 20_000, now(at + round).wall).expect("reads");
        turn.turn(now(at + round)).expect("turns");
    }
    let words = keeper.due(&turn, 40_000, now(at + 3).wall);
    assert_eq!(words.iter().map(|word| word.ended.clone()).collect::<Vec<_>>(), [vec![(1, End::Superseded)]]);
}

#[test]
fn what_arrived_while_the_other_side_was_asked_is_not_sent_again() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let id = hand_in(&mut turn, &["a"]).expect("taken")[0];
    let stream = stands(&turn, Side::Out).stream;
    let heard = Heard { took: Vec::new(), mark: 0, highest: 1, holes: vec![(1, 1)] };
    // Asked in the moment in which it arrived, and a moment later.
    for (round, attempts) in [(1, 1), (2, 2)] {
        let mut keeper = Keeper::new(vec!["peer".into()]);
        assert_eq!(keeper.due(&turn, round, now(round).wall).len(), 1);
        keeper.heard(&mut turn, &stream, &heard, round, now(5).wall).expect("reads");
        turn.turn(now(5)).expect("turns");
        assert_eq!(turn.show(id, now(5).wall).expect("there").record.attempts, attempts);
    }
}

#[test]
fn the_same_revision_with_other_content_is_a_conflict_and_taken() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let both = |body| vec![received(1, &[], vec![item(1, body, 2)])];
    assert_eq!(receive(&mut turn, both("a"))[0].took, [Took::New]);
    assert_eq!(receive(&mut turn, both("b"))[0].took, [Took::Conflict]);
    assert_eq!(receive(&mut turn, both("b"))[0].took, [Took::Conflict]);
    assert_eq!(receive(&mut turn, vec![received(1, &[], vec![item(1, "c", 1)])])[0].took, [Took::Known]);
    assert_eq!(taken(&store), [b"a", b"b"]);
}

/// A sender that is put back twice may edit a message in three ways, each the second.
#[test]
fn each_content_of_one_revision_is_taken_once() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let mut took = |body| receive(&mut turn, vec![received(1, &[], vec![item(1, body, 2)])])[0].took[0];
    assert_eq!(
        [took("a"), took("b"), took("c"), took("b"), took("c")],
        [Took::New, Took::Conflict, Took::Conflict, Took::Conflict, Took::Conflict]
    );
    assert_eq!(taken(&store), [b"a", b"b", b"c"]);
}

/// A start between a new epoch and its first message does not go back to the old one.
#[test]
fn a_new_epoch_is_written_with_the_next_commit() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let first = hand_in(&mut turn, &["a"]).expect("taken");
    let (stale, _) = turn.numbered("peer").expect("numbered");
    assert!(turn.begin_epoch("peer", stale).expect("random"));
    let anew = turn.numbered("peer");
    turn.act(first[0], Act::Resend(goniec::model::Queued::Ready), Box::new(drop));
    turn.turn(now(2)).expect("turns");
    drop(turn);
    assert_eq!(open(&store).numbered("peer"), anew);
}

/// Whoever sends it does not know how many messages it becomes there.
#[test]
fn the_largest_message_is_taken_for_several_destinations() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let body = "b".repeat(usize::try_from(REQUEST_BYTES_MAX).expect("small"));
    let mut one = item(1, &body, 1);
    let again = Draft {
        envelope: Envelope { key: Some("again".into()), ..one.drafts[0].envelope.clone() },
        ..one.drafts[0].clone()
    };
    one.drafts.push(again);
    assert_eq!(receive(&mut turn, vec![received(1, &[], vec![one])])[0].took, [Took::New]);
    assert_eq!(taken(&store).iter().map(Vec::len).collect::<Vec<_>>(), [body.len(); 2]);
}

#[test]
fn headers_without_end_are_refused_and_end_nothing() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store);
    let mut one = item(1, "a", 1);
    one.drafts[0].envelope.headers.extend((0..600).map(|_| (String::new(), String::new())));
    let said = Arc::new(Mutex::new(None));
    let heard = said.clone();
    let keep = move |answer: Result<Heard, goniec::Error>| *heard.lock().expect("no panic") = Some(answer);
    turn.receive(received(1, &[], vec![one]), Box::new(keep));
    turn.turn(now(3)).expect("turns");
    let answer = said.lock().expect("no panic").take().expect("answered");
    assert!(matches!(&answer, Err(goniec::Error::Invalid(why)) if why.contains("headers")), "{answer:?}");
    assert_eq!(receive(&mut turn, vec![received(1, &[], vec![item(1, "a", 1)])])[0].took, [Took::New]);
}
