//! The engine over a store that fails for single messages: only whoever asked about them hears of it, and nothing is forgotten.

#[path = "common/faulty.rs"]
mod faulty;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use faulty::Faulty;
use goniec::engine::{Act, Bulk, BulkAct, By, Cycle, Destination, JobState, Settings, Shown, Turn};
use goniec::model::{
    Abandoned, Backoff, Class, Failed, Failure, Outcome, Place, Policy, Queued, Retry, Sent, Stamp, State, WallMs,
};
use goniec::store::memory::MemoryStore;
use goniec::store::{Batch, Expect, Move, Moved, Query, Retention, StateName, Store, StoreError};
use goniec::{Draft, Error, Id, Message};

const MINUTE_MS: u64 = 60_000;

fn at(mono_ms: u64) -> Stamp {
    Stamp { wall: WallMs(1_790_000_000_000 + mono_ms), mono_ms }
}

fn open(store: &Arc<Faulty>, destination: Destination, now: Stamp) -> Turn {
    Turn::open(store.clone(), vec![destination], Settings::default(), Vec::new(), now).expect("opens")
}

/// A way to answer later, and what was answered.
fn answer<T: Send + 'static>() -> (goniec::engine::Reply<T>, impl Fn() -> Result<T, Error>) {
    let (give, take) = std::sync::mpsc::channel();
    (Box::new(move |said| give.send(said).expect("someone listens")), move || take.try_recv().expect("was answered"))
}

fn accept(turn: &mut Turn, drafts: Vec<Draft>, now: Stamp) -> Vec<Id> {
    let (reply, said) = answer();
    turn.accept(drafts, reply);
    turn.turn(now).expect("turns");
    said().expect("accepts")
}

fn act(turn: &mut Turn, id: Id, act: Act, now: Stamp) -> Result<Shown, Error> {
    let (reply, said) = answer();
    turn.act(id, act, reply);
    turn.turn(now).expect("turns");
    said()
}

fn state(store: &Faulty, id: Id) -> State {
    store.inner.get(id.place()).expect("reads").expect("is there").state
}

/// Damages the row of the message whose body says so, at the moment it is first sent: after it was read, before its outcome is written.
fn damages_what_it_sends(store: &Arc<Faulty>) -> Destination {
    let (store, is_done) = (store.clone(), AtomicBool::new(false));
    Destination::new("erp", move |message: &Message| {
        if message.body() == b"bad" && !is_done.swap(true, Ordering::SeqCst) {
            store.damage(message.id());
        }
    })
}

fn five() -> Vec<Draft> {
    [&b"a"[..], b"b", b"bad", b"c", b"d"].map(|body| Message::to("erp").body(body)).into()
}

#[test]
fn a_damaged_row_hinders_only_its_own_message() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, damages_what_it_sends(&store), at(0));
    let ids = accept(&mut turn, five(), at(0));
    let states: Vec<bool> = ids.iter().map(|id| state(&store, *id) == State::Delivered).collect();
    assert_eq!(states, [true, true, false, true, true]);
    assert_eq!(turn.wakes().get(&ids[2].place()), Some(&1), "it is neither lost nor waited for twice");

    let later = accept(&mut turn, vec![Message::to("erp")], at(1_000));
    assert_eq!(state(&store, later[0]), State::Delivered, "the engine goes on");

    turn.turn(at(2 * MINUTE_MS)).expect("turns");
    assert_ne!(state(&store, ids[2]), State::Delivered, "the row is still damaged");
    store.mend();
    turn.turn(at(4 * MINUTE_MS)).expect("turns");
    assert_eq!(state(&store, ids[2]), State::Delivered);
}

/// What is met while there is no room is written with the rest of what waited, and takes back nothing that was written meanwhile.
#[test]
fn without_room_no_key_is_forgotten_that_was_met() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, Destination::new("erp", |_: &Message| ()), at(0));
    let of = |key: &str, at_ms: u64| Message::to("erp").key(key).not_before(at(at_ms).wall);
    let order = accept(&mut turn, vec![Message::to("erp").after("a").after("b")], at(0))[0];
    accept(&mut turn, vec![of("a", 1_000), of("b", 1_500)], at(0));
    // The delivery is written, and what it means for the order is not.
    *store.room_for.lock().expect("whole") = Some(1);
    turn.turn(at(1_000)).expect("turns");
    let refused = act(&mut turn, order, Act::Release, at(1_200));
    assert!(matches!(refused, Err(Error::Store(StoreError::Full(_)))), "{refused:?}");
    assert_eq!(turn.show(order, at(1_200).wall).expect("is there").after.len(), 2);
    *store.room_for.lock().expect("whole") = None;
    turn.turn(at(1_500)).expect("turns");
    assert_ne!(state(&store, order), State::Delivered, "what waits for room waits a second");
    turn.turn(at(2_500)).expect("turns");
    assert_eq!(state(&store, order), State::Delivered);
    store.notes(b"a", &mut |_, _| panic!("a note is left")).expect("reads");
}

/// Begins to cancel everything that waits.
fn cancel_all(turn: &mut Turn, now: Stamp) {
    let query = Query { states: vec![StateName::Queued], ..Query::default() };
    let what = Bulk { act: BulkAct::Cancel, query, filter: "state:queued".into(), rate: None, count: None };
    let (reply, said) = answer();
    turn.bulk(By { what, who: "anna".into(), why: String::new() }, now.wall, reply);
    turn.turn(now).expect("turns");
    said().expect("begins");
}

/// So many messages that wait for an hour.
fn waiting(turn: &mut Turn, count: usize) -> Vec<Id> {
    let later = at(60 * MINUTE_MS).wall;
    accept(turn, (0..count).map(|_| Message::to("erp").not_before(later)).collect(), at(0))
}

/// The messages that the audit log says were acted on, as often as it says so.
fn acted_on(turn: &Turn) -> Vec<Id> {
    let entries = turn.audit(None, 10_000).expect("reads").entries;
    let mut ids: Vec<Id> = entries.into_iter().flat_map(|(entry, _)| entry.deed.messages).collect();
    ids.sort();
    ids
}

#[test]
fn a_bulk_job_passes_over_the_messages_that_are_damaged_and_acts_on_each_other_once() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, Destination::new("erp", |_: &Message| ()), at(0));
    let ids = waiting(&mut turn, 450);
    let hindered = [ids[0], ids[137], ids[138], ids[449]];
    store.hindered.lock().expect("whole").extend(hindered.map(Id::place));
    cancel_all(&mut turn, at(1));
    (2..200).for_each(|ms| assert!(turn.turn(at(ms)).is_ok()));
    let job = turn.jobs().remove(0);
    assert_eq!((job.state, job.done, job.refused), (JobState::Done, 446, 4));
    assert!(job.detail.is_some_and(|why| why.contains("damaged")));
    for id in &ids {
        let is_waiting = matches!(state(&store, *id), State::Queued(_));
        assert_eq!(is_waiting, hindered.contains(id), "{id}");
    }
    let others: Vec<Id> = ids.iter().copied().filter(|id| !hindered.contains(id)).collect();
    assert_eq!(acted_on(&turn), others, "the log says of each what was done, and nothing else");
    assert_eq!(turn.verify_audit(None).expect("reads").wrong, None);
    // Whoever was passed over can still be acted on.
    store.hindered.lock().expect("whole").clear();
    act(&mut turn, ids[137], Act::Cancel, at(300)).expect("cancels");
}

#[test]
fn a_bulk_job_waits_for_room_and_leaves_nobody_out() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, Destination::new("erp", |_: &Message| ()), at(0));
    let ids = waiting(&mut turn, 500);
    *store.room_for.lock().expect("whole") = Some(2);
    cancel_all(&mut turn, at(1));
    (2..50).for_each(|ms| assert!(turn.turn(at(ms)).is_ok()));
    let job = turn.jobs().remove(0);
    assert_eq!((job.state, job.done), (JobState::Running, 200), "its beginning and one step had room");
    assert_eq!(acted_on(&turn), ids[..200]);
    *store.room_for.lock().expect("whole") = None;
    (1..4).for_each(|s| assert!(turn.turn(at(s * 1_000)).is_ok()));
    let job = turn.jobs().remove(0);
    assert_eq!((job.state, job.done, job.refused), (JobState::Done, 500, 0));
    assert_eq!(acted_on(&turn), ids);
    assert!(ids.iter().all(|id| state(&store, *id) == State::Abandoned(Abandoned::Cancelled)));
}

#[test]
fn a_store_that_is_poisoned_stops_the_engine() {
    let store = Arc::new(Faulty { is_brittle: true, ..Faulty::default() });
    let mut turn = open(&store, damages_what_it_sends(&store), at(0));
    turn.accept(five(), Box::new(|_| ()));
    assert!(turn.turn(at(0)).is_err());
}

#[test]
fn who_asks_about_a_damaged_message_hears_so_and_the_neighbours_do_not() {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, Destination::new("erp", |_: &Message| ()), at(0));
    let later = WallMs(at(0).wall.0 + 10 * MINUTE_MS);
    let ids = accept(&mut turn, five().into_iter().map(|draft| draft.not_before(later)).collect(), at(0));
    let victim = ids[2];
    let (first, first_said) = answer();
    let (second, second_said) = answer();
    let (third, third_said) = answer();
    turn.act(ids[1], Act::Cancel, first);
    turn.act(victim, Act::Cancel, second);
    turn.accept(vec![Message::to("erp")], third);
    // What is read of it is whole; only the batch that touches it is refused.
    let faulty = store.clone();
    *store.meddle.lock().expect("whole") = Some(Box::new(move |_| faulty.damage(victim)));
    turn.turn(at(1)).expect("turns");
    assert_eq!(first_said().expect("cancels").record.state, State::Abandoned(Abandoned::Cancelled));
    assert!(matches!(second_said(), Err(Error::Store(StoreError::Damaged(_)))));
    assert_eq!(third_said().expect("accepts").len(), 1);
    store.mend();
    turn.turn(at(11 * MINUTE_MS)).expect("turns");
    assert_eq!(state(&store, victim), State::Delivered, "it waited on where it had waited");
}

#[test]
fn a_deadline_that_cannot_be_written_is_looked_at_again() {
    let store = Arc::new(Faulty::default());
    let slow =
        Policy { retry: Retry { backoff: Backoff::Fixed(60 * MINUTE_MS), ..Retry::default() }, ..Policy::default() };
    let fails = |_: &Message| Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused"));
    let destination = Destination { policy: slow, deadline_ms: Some(MINUTE_MS), ..Destination::new("erp", fails) };
    let mut turn = open(&store, destination, at(0));
    let id = accept(&mut turn, vec![Message::to("erp")], at(0))[0];
    store.damage(id);
    turn.turn(at(2 * MINUTE_MS)).expect("turns");
    assert!(matches!(state(&store, id), State::Failed(_)));
    store.mend();
    // No reservation is left behind: a person may change it.
    let held = act(&mut turn, id, Act::Hold, at(2 * MINUTE_MS + 1)).expect("holds");
    assert_eq!(held.record.state, State::Failed(Failed::Held));
    assert_eq!(turn.wakes().get(&id.place()), None);
}

#[test]
fn a_deadline_that_could_not_be_read_ends_the_message_later() {
    let store = Arc::new(Faulty::default());
    let destination = Destination { deadline_ms: Some(MINUTE_MS), ..Destination::new("erp", |_: &Message| ()) };
    let mut turn = open(&store, destination, at(0));
    let later = WallMs(at(0).wall.0 + 60 * MINUTE_MS);
    let id = accept(&mut turn, vec![Message::to("erp").not_before(later)], at(0))[0];
    store.damage(id);
    turn.turn(at(2 * MINUTE_MS)).expect("turns");
    store.mend();
    turn.turn(at(4 * MINUTE_MS)).expect("turns");
    assert_eq!(state(&store, id), State::Abandoned(Abandoned::Expired));
}

fn meddled(to: Option<State>) -> (Result<Shown, Error>, Id) {
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, Destination::new("erp", |_: &Message| ()), at(0));
    let later = WallMs(at(0).wall.0 + 60 * MINUTE_MS);
    let id = accept(&mut turn, vec![Message::to("erp").not_before(later)], at(0))[0];
    let place = id.place();
    *store.meddle.lock().expect("whole") = Some(Box::new(move |inner: &MemoryStore| {
        let mut batch = Batch { now: at(1).wall, ..Batch::default() };
        match to {
            Some(to) => batch.moves.push(step(place, State::Queued(Queued::NotBefore(later)), to)),
            None => batch.deletes.push(place),
        }
        let done = inner.commit(&batch).expect("commits");
        assert!(done.moved.iter().all(|moved| *moved == Moved::Done), "{done:?}");
    }));
    (act(&mut turn, id, Act::Cancel, at(1)), id)
}

fn step(place: Place, from: State, to: State) -> Move {
    let expect = Expect { state: from, attempts: 0, revision: 1 };
    Move { place, expect, to, by: None, attempts: 0, series: 0, attempt: None, amend: None, untold: false }
}

#[test]
fn an_act_that_came_too_late_is_no_success() {
    let (said, id) = meddled(Some(State::Delivered));
    assert!(
        matches!(said, Err(Error::Refused { id: named, illegal }) if named == id && illegal.state == State::Delivered)
    );
    let (said, id) = meddled(None);
    assert!(matches!(said, Err(Error::NotFound(named)) if named == id));
}

#[test]
fn a_message_without_its_body_rests_with_the_reason() {
    let store = Arc::new(Faulty::default());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let destination = || {
        let count = count.clone();
        Destination::new("erp", move |_: &Message| {
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    let mut turn = open(&store, destination(), at(0));
    let id = accept(&mut turn, vec![Message::to("erp").body(*b"x")], at(0))[0];
    assert_eq!((state(&store, id), sent.load(Ordering::SeqCst)), (State::Delivered, 1));
    let all = Retention { delivered_ms: u64::MAX, abandoned_ms: u64::MAX, bodies_ms: 0, step_max: 9 };
    assert_eq!(store.inner.retain(&all, at(MINUTE_MS).wall).expect("retains").bodies, 1);
    let again = Move {
        expect: Expect { state: State::Delivered, attempts: 1, revision: 1 },
        attempts: 1,
        ..step(id.place(), State::Delivered, State::Queued(Queued::Ready))
    };
    store.inner.commit(&Batch { moves: vec![again], ..Batch::default() }).expect("commits");

    drop(turn);
    let mut turn = open(&store, destination(), at(2 * MINUTE_MS));
    turn.turn(at(2 * MINUTE_MS)).expect("turns");
    assert_eq!(state(&store, id), State::Abandoned(Abandoned::Rejected));
    let last = store.inner.attempts(id.place()).expect("reads").pop().expect("an attempt");
    assert!(last.detail.contains("body was removed"), "{}", last.detail);
    assert_eq!(sent.load(Ordering::SeqCst), 1, "nothing without a body went out");
    assert!(turn.wakes().is_empty());
}

fn second_attempt_at(retry_after_ms: Option<u64>) -> u64 {
    let sent: Arc<Mutex<usize>> = Arc::default();
    let count = sent.clone();
    let busy = move |_: &Message| {
        *count.lock().expect("whole") += 1;
        Outcome::Failed(Failure {
            status: Some(503),
            retry_after_ms,
            ..Failure::new(Class::RateLimited, Sent::Answered, "busy")
        })
    };
    let next_cycle = Retry { backoff: Backoff::NextCycle, jitter_permille: 0, attempts: 9 };
    let destination = Destination {
        policy: Policy { retry: next_cycle, ..Policy::default() },
        cycle: Some(Cycle::Every(10 * MINUTE_MS)),
        ..Destination::new("erp", busy)
    };
    let store = Arc::new(Faulty::default());
    let mut turn = open(&store, destination, at(0));
    accept(&mut turn, vec![Message::to("erp")], at(0));
    for minute in 1..60 {
        turn.turn(at(minute * MINUTE_MS)).expect("turns");
        if *sent.lock().expect("whole") == 2 {
            return minute;
        }
    }
    60
}

#[test]
fn who_asks_to_be_left_alone_is_past_the_next_cycle_too() {
    let plain = second_attempt_at(None);
    assert!(plain <= 10, "{plain}");
    assert_eq!(second_attempt_at(Some(MINUTE_MS / 2)), plain, "the cycle is later");
    assert_eq!(second_attempt_at(Some((plain + 1) * MINUTE_MS)), plain + 10, "the first cycle after it");
}

#[test]
fn a_batch_that_is_written_item_by_item_keeps_each_fence_with_its_message() {
    let store = Arc::new(Faulty::default());
    let destination = Destination { latest_wins: true, ..Destination::new("erp", |_: &Message| ()) };
    let mut turn = open(&store, destination, at(0));
    let price = |key: &str, version| Message::to("erp").key(key).version(version);
    let later = WallMs(at(0).wall.0 + 60 * MINUTE_MS);
    let victim = accept(&mut turn, vec![Message::to("erp").not_before(later)], at(0))[0];
    let (act, acted) = answer();
    let (first, first_said) = answer();
    let (second, second_said) = answer();
    turn.act(victim, Act::Cancel, act);
    turn.accept(vec![Message::to("erp")], first);
    turn.accept(vec![price("a", 1), price("b", 5), price("b", 4), price("a", 0)], second);
    let faulty = store.clone();
    *store.meddle.lock().expect("whole") = Some(Box::new(move |_| faulty.damage(victim)));
    turn.turn(at(1)).expect("turns");
    assert!(acted().is_err() && first_said().is_ok());
    let ids = second_said().expect("accepts");
    let superseded = |by: Id| State::Abandoned(Abandoned::Superseded(by));
    let states = ids.iter().map(|id| state(&store, *id)).collect::<Vec<_>>();
    assert_eq!(states, [State::Delivered, State::Delivered, superseded(ids[1]), superseded(ids[0])]);
    let below = accept(&mut turn, vec![price("b", 4)], at(2))[0];
    assert_eq!(state(&store, below), superseded(ids[1]), "the fence was written with its message");
}
