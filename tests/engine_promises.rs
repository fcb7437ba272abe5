//! Promises of the engine at their edges: stops over a failing store, claims and crashes, dead channels, deadlines, clocks.

#[path = "common/faulty.rs"]
mod faulty;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use faulty::Faulty;
use goniec::engine::{Act, Alert, Channel, Destination, Engine, Kind, Rule, Settings, Turn};
use goniec::model::{
    Abandoned, Backoff, Class, Failed, Failure, OnUncertain, Outcome, Policy, Queued, Retry, Sent, Stamp, State, WallMs,
};
use goniec::store::memory::MemoryStore;
use goniec::store::{Room, StateName, Store};
use goniec::{Draft, Error, Id, Message};

const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a condition, not for a time; the limit only ends a test that has failed.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn at(mono_ms: u64) -> Stamp {
    Stamp { wall: WallMs(1_790_000_000_000 + mono_ms), mono_ms }
}

fn fixed(ms: u64, attempts: u16) -> Policy {
    let retry = Retry { backoff: Backoff::Fixed(ms), jitter_permille: 0, attempts };
    Policy { retry, on_uncertain: OnUncertain::Retry }
}

fn refused() -> Outcome {
    Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused"))
}

fn turn(store: Arc<dyn Store>, destinations: Vec<Destination>, rules: Vec<Rule>) -> Turn {
    Turn::open(store, destinations, Settings::default(), rules, at(0)).expect("opens")
}

fn accept(turn: &mut Turn, drafts: Vec<Draft>, now: Stamp) -> Vec<Id> {
    let (give, take) = channel();
    turn.accept(drafts, Box::new(move |said| give.send(said).expect("someone listens")));
    turn.turn(now).expect("turns");
    take.try_recv().expect("was answered").expect("accepts")
}

/// A channel that notes what it is told, and fails where it shall.
#[derive(Default, Clone)]
struct Notes {
    is_dead: bool,
    tries: Arc<AtomicUsize>,
    told: Arc<Mutex<Vec<Alert>>>,
}

impl Channel for Notes {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        if self.is_dead {
            return Err("nobody is there".into());
        }
        self.told.lock().expect("whole").push(alert.clone());
        Ok(())
    }

    fn name(&self) -> String {
        "notes".into()
    }
}

fn rule(channel: &Notes, destinations: &[&str]) -> Rule {
    Rule { destinations: destinations.iter().map(|name| Arc::from(*name)).collect(), ..Rule::all(channel.clone(), 0) }
}

#[test]
fn a_stop_ends_also_where_the_commit_that_holds_it_fails() {
    let store = Arc::new(Faulty::default());
    let erp = Destination::new("erp", |_: &Message| ());
    let engine = Engine::start(store.clone(), vec![erp], Settings::default(), Vec::new()).expect("starts");
    store.is_shut.store(true, Ordering::SeqCst);
    let (give, take) = channel();
    let hand_in = || {
        let give = give.clone();
        engine.accept(vec![Message::to("erp")], Box::new(move |said| give.send(said.is_ok()).expect("listens")));
    };
    hand_in();
    until("the first commit is at the gate", || store.waits.load(Ordering::SeqCst) == 1);
    hand_in();
    let (ended, has_ended) = channel();
    let stopping = engine.clone();
    let stop = std::thread::spawn(move || ended.send(stopping.shutdown(Duration::ZERO)).expect("listens"));
    until("the stop has begun", || matches!(engine.ready(), Err(Error::Stopping)));
    // The word to stop follows at once; it lies beside the second request when the gate opens.
    std::thread::sleep(Duration::from_millis(100));
    store.fails.store(true, Ordering::SeqCst);
    store.is_shut.store(false, Ordering::SeqCst);
    assert!(has_ended.recv_timeout(PATIENCE).expect("it ends").is_err(), "and says that the store failed");
    stop.join().expect("ends");
    assert_eq!([take.recv(), take.recv()], [Ok(false), Ok(false)], "everyone was answered");
}

#[test]
fn a_lane_with_durable_claims_claims_no_more_than_may_be_out() {
    for (on_uncertain, is_ahead) in [(OnUncertain::Hold, false), (OnUncertain::Retry, true)] {
        let store = Arc::new(MemoryStore::new());
        let (sent, hangs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (count, wait) = (sent.clone(), hangs.clone());
        let send = move |_: &Message| {
            // At first it is fast, so that a lane that may be given more in advance is; then it hangs.
            if count.fetch_add(1, Ordering::SeqCst) == 2_000 {
                until("it may go on", || !wait.load(Ordering::SeqCst));
            }
        };
        let policy = Policy { on_uncertain, ..Policy::default() };
        let erp = Destination { concurrency: 1, policy, ..Destination::new("erp", send) };
        let engine = Engine::start(store.clone(), vec![erp], Settings::default(), Vec::new()).expect("starts");
        for _ in 0..40 {
            let drafts = (0..100).map(|_| Message::to("erp")).collect();
            let _ids = engine.accept_wait(drafts).expect("accepts");
        }
        until("it hangs", || sent.load(Ordering::SeqCst) == 2_001);
        let claimed = |store: &MemoryStore| -> u64 {
            store.counts().iter().filter(|count| count.state == StateName::Sending).map(|count| count.messages).sum()
        };
        if is_ahead {
            // The control: without durable claims nothing of what is out is in the store.
            assert_eq!(claimed(&store), 0);
        } else {
            assert_eq!((claimed(&store), engine.stats().sending), (1, 1));
        }
        hangs.store(false, Ordering::SeqCst);
        until("all is delivered", || engine.stats().delivered == 4_000);
        engine.shutdown(PATIENCE).expect("stops");
    }
}

#[test]
fn a_dead_channel_hides_no_message_from_the_others() {
    let store = Arc::new(MemoryStore::new());
    let (dead, alive) = (Notes { is_dead: true, ..Notes::default() }, Notes::default());
    let fails = |name: &str| Destination { policy: fixed(1, 1), ..Destination::new(name, |_: &Message| refused()) };
    let rules = vec![rule(&dead, &["erp"]), rule(&alive, &["shop"])];
    let mut turn = turn(store.clone(), vec![fails("erp"), fails("shop")], rules);
    // As many as are looked at together, and more; all of them wait for the dead channel.
    for _ in 0..3 {
        let _ids = accept(&mut turn, (0..4_000).map(|_| Message::to("erp")).collect(), at(0));
    }
    let id = accept(&mut turn, vec![Message::to("shop")], at(1))[0];
    for second in 1..10 {
        let due = turn.turn(at(second * 1_000)).expect("turns");
        assert!(due.is_some_and(|due| due <= (second + 1) * 1_000), "somebody waits to be told: {due:?}");
    }
    let told = alive.told.lock().expect("whole").clone();
    assert_eq!((told.len(), told[0].sample), (1, Some(id)));
    // A channel that failed is left alone as a whole, not once a cause.
    assert_eq!(dead.tries.load(Ordering::SeqCst), 1);
    assert!(!store.untold(None, 1).expect("reads").is_empty());
}

#[test]
fn a_person_is_told_of_what_cannot_be_read() {
    for is_lost in [true, false] {
        let store = Arc::new(Faulty::default());
        let notes = Notes::default();
        let erp = Destination::new("erp", |_: &Message| ());
        let mut turn = turn(store.clone(), vec![erp], vec![rule(&notes, &["shop"])]);
        let later = at(60_000).wall;
        let id = accept(&mut turn, vec![Message::to("erp").not_before(later)], at(0))[0];
        if is_lost {
            store.damaged.lock().expect("whole").insert(id.place());
        }
        for now in [60_000, 61_000, 62_000] {
            turn.turn(at(now)).expect("turns");
        }
        let told = notes.told.lock().expect("whole").clone();
        // Whose it was, nobody can know: every rule tells, and once.
        assert_eq!(told.len(), usize::from(is_lost), "{told:?}");
        assert_eq!(turn.stats().damaged.len(), usize::from(is_lost));
        if let Some(alert) = told.first() {
            assert_eq!((alert.reason, &*alert.destination, alert.sample), ("damaged", "*", None));
            assert!(alert.to_string().starts_with("1 part(s) of the registry cannot be read"), "{alert}");
        }
    }
}

#[test]
fn a_deadline_that_passes_while_the_message_is_out_is_kept() {
    for (deadline_ms, expected) in [(5_000, true), (50_000, false)] {
        let store = Arc::new(MemoryStore::new());
        let erp = Destination { policy: fixed(600_000, 9), ..Destination::new("erp", |_: &Message| refused()) };
        let mut turn = turn(store.clone(), vec![erp], Vec::new());
        let mut flights = Vec::new();
        turn.accept(vec![Message::to("erp").deadline(at(deadline_ms).wall)], Box::new(|said| assert!(said.is_ok())));
        turn.turn_out(at(0), &mut flights).expect("turns");
        let flight = flights.pop().expect("it is out");
        let place = flight.place();
        turn.land(flight, refused(), at(10_000));
        turn.turn_out(at(10_000), &mut flights).expect("turns");
        let state = store.get(place).expect("reads").expect("is there").state;
        let retry = State::Failed(Failed::Due(at(610_000).wall));
        assert_eq!(state, if expected { State::Abandoned(Abandoned::Expired) } else { retry });
    }
}

#[test]
fn an_act_that_is_refused_moves_no_retry() {
    let store = Arc::new(MemoryStore::new());
    let sends = Arc::new(AtomicUsize::new(0));
    let count = sends.clone();
    let send = move |_: &Message| {
        count.fetch_add(1, Ordering::SeqCst);
        refused()
    };
    let erp = Destination { policy: fixed(60_000, 9), ..Destination::new("erp", send) };
    let mut turn = turn(store, vec![erp], Vec::new());
    let id = accept(&mut turn, vec![Message::to("erp")], at(0))[0];
    // The wall clock was put back by a year since.
    let back = |mono_ms: u64| Stamp { wall: WallMs(at(mono_ms).wall.0 - 31_536_000_000), mono_ms };
    let (give, take) = channel();
    let stale = Act::Edit { body: Arc::from(*b"new"), content_type: None, read: Some(9) };
    turn.act(id, stale, Box::new(move |said| give.send(said.is_err()).expect("listens")));
    turn.turn(back(1_000)).expect("turns");
    assert_eq!(take.try_recv(), Ok(true), "it was read at another revision");
    turn.turn(back(59_999)).expect("turns");
    assert_eq!(sends.load(Ordering::SeqCst), 1);
    turn.turn(back(60_000)).expect("turns");
    assert_eq!(sends.load(Ordering::SeqCst), 2, "an interval runs on the monotonic clock");
}

/// A machine without a clock of its own starts in 1970, and is put right: what was remembered a moment ago is not a day old.
#[test]
fn a_clock_put_right_forgets_no_idempotency_key() {
    let draft = |key: &str| {
        let mut draft = Message::to("erp").body(b"x".to_vec());
        draft.envelope.idempotency_key = Some(key.into());
        draft
    };
    let wrong = |mono_ms: u64| Stamp { wall: WallMs(mono_ms), mono_ms };
    const DAY_MS: u64 = 86_400_000;
    for (later, is_known) in [(at(2_000), true), (at(2 * DAY_MS), false)] {
        let lanes = vec![Destination::new("erp", |_: &Message| ())];
        let mut turn = Turn::open(Arc::new(MemoryStore::default()), lanes, Settings::default(), Vec::new(), wrong(0))
            .expect("opens");
        let first = accept(&mut turn, vec![draft("a")], wrong(1_000));
        let _other = accept(&mut turn, vec![draft("b")], later);
        let again = accept(&mut turn, vec![draft("a")], later);
        assert_eq!(first == again, is_known, "a day of the monotonic clock ends the window, and nothing else");
    }
}

/// A channel that takes its time.
#[derive(Default, Clone)]
struct Slow {
    begun: Arc<AtomicUsize>,
    is_free: Arc<AtomicBool>,
    told: Arc<AtomicUsize>,
}

impl Channel for Slow {
    fn tell(&self, _: &Alert) -> Result<(), String> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        until("the channel is free", || self.is_free.load(Ordering::SeqCst));
        self.told.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn name(&self) -> String {
        "slow".into()
    }
}

/// While a person is told of an end, another one sends the message again, and it ends again: of that, too, somebody is told.
#[test]
fn a_second_end_is_told_though_the_first_was_being_told() {
    let refuses = || Outcome::Failed(Failure::new(Class::Rejected, Sent::Answered, "no such article"));
    let erp = Destination::new("erp", move |_: &Message| refuses());
    let slow = Slow::default();
    let rule = Rule::all(slow.clone(), 0);
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::start(store.clone(), vec![erp], Settings::default(), vec![rule]).expect("starts");
    let id = engine.accept_wait(vec![Message::to("erp")]).expect("accepts")[0];
    until("the first end is being told", || slow.begun.load(Ordering::SeqCst) == 1);
    // The time of an end is what tells two of them apart.
    let began = Instant::now();
    until("two milliseconds have passed", || began.elapsed() > Duration::from_millis(2));
    let _shown = engine.act_wait(id, Act::Resend(Queued::Ready)).expect("resends");
    until("it ended again", || {
        let record = engine.show(id).expect("shows").record;
        record.attempts == 2 && record.state.is_final()
    });
    slow.is_free.store(true, Ordering::SeqCst);
    until("the second end is told", || slow.told.load(Ordering::SeqCst) == 2);
    until("and the mark is gone", || store.untold(None, 10).expect("reads").is_empty());
    engine.shutdown(Duration::from_secs(1)).expect("ends");
}

/// A stop waits for no channel that hangs, and nobody is told of anything more once it has ended.
#[test]
fn a_stop_does_not_wait_for_a_channel_that_hangs() {
    let refuses = |_: &Message| Outcome::Failed(Failure::new(Class::Rejected, Sent::Answered, "no such article"));
    let shops: Vec<Destination> = ["a", "b", "c"].map(|name| Destination::new(name, refuses)).into();
    let slow = Slow::default();
    let rule = Rule::all(slow.clone(), 0);
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::start(store.clone(), shops, Settings::default(), vec![rule]).expect("starts");
    let drafts = ["a", "b", "c"].map(Message::to).into();
    let _ids = engine.accept_wait(drafts).expect("accepts");
    until("all have ended", || store.untold(None, 10).expect("reads").len() == 3);
    until("the first is being told", || slow.begun.load(Ordering::SeqCst) >= 1);
    engine.shutdown(Duration::ZERO).expect("stops");
    let begun = slow.begun.load(Ordering::SeqCst);
    assert!(!slow.is_free.load(Ordering::SeqCst) && slow.told.load(Ordering::SeqCst) < begun, "it was left behind");
    slow.is_free.store(true, Ordering::SeqCst);
    drop(engine);
    until("it has come to an end", || Arc::strong_count(&slow.told) == 1);
    assert_eq!((slow.begun.load(Ordering::SeqCst), slow.told.load(Ordering::SeqCst)), (begun, begun));
}

/// That nothing is taken for want of room is told once, whatever destinations a rule names, and so is that it is over.
#[test]
fn a_person_is_told_that_nothing_is_taken_for_want_of_room() {
    let store = Arc::new(Faulty::default());
    let (notes, deaf) = (Notes::default(), Notes::default());
    let rules = vec![
        Rule { kinds: vec![Kind::Disk], ..rule(&notes, &["shop"]) },
        Rule { kinds: vec![Kind::Damaged], ..rule(&deaf, &[]) },
    ];
    let erp = Destination::new("erp", |_: &Message| ());
    let engine = Engine::start(store.clone(), vec![erp], Settings::default(), rules).expect("starts");
    let set = |free_bytes| {
        let room = Room { free_bytes: Some(free_bytes), reserve_bytes: 100, ..Room::default() };
        *store.room.lock().expect("whole") = Some(room);
    };
    let told = || notes.told.lock().expect("whole").iter().map(|alert| alert.reason).collect::<Vec<_>>();
    set(99);
    until("somebody is told", || told() == ["full"]);
    assert!(engine.accept_wait(vec![Message::to("erp")]).is_err(), "nothing is taken");
    set(100);
    until("it is over", || told() == ["full", "has-room"]);
    engine.accept_wait(vec![Message::to("erp")]).expect("it is taken again");
    assert!(deaf.told.lock().expect("whole").is_empty(), "who did not ask for it");
    engine.shutdown(PATIENCE).expect("ends");
}
