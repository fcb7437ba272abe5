//! Batches: many messages in one request, each with an end of its own. Days of them in milliseconds.

#[path = "engine_batches/season.rs"]
mod season;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::channel;

use goniec::engine::{Act, BatchRule, Destination, Flight, Hand, Order, Settings, Shown, Turn, Waits};
use goniec::model::rate::Rate;
use goniec::model::{
    Abandoned, Backoff, Class, Failed, Failure, OnUncertain, Outcome, Policy, Queued, Receipt, Retry, Sent, Stamp,
    State, WallMs,
};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::store::{StateName, Store};
use goniec::transport::Batched;
use goniec::{Error, Id, Message};

const WAIT_MS: u64 = 200;

fn arrived() -> Outcome {
    Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() })
}

fn answered(status: u16) -> Outcome {
    let (_, class) = goniec::model::policy::disposition(status);
    Outcome::Failed(Failure {
        status: Some(status),
        ..Failure::new(class, Sent::Answered, format!("answered {status}"))
    })
}

/// An engine under a clock of its own, whose requests end when the test says so.
struct Day {
    disk: MemoryDisk,
    turn: Turn,
    now: Stamp,
    out: Vec<Flight>,
    /// When each request went, and with how many.
    went: Vec<(u64, usize)>,
    rule: fn(&mut Destination),
}

impl Day {
    fn begin(rule: fn(&mut Destination)) -> Day {
        Day::on(MemoryDisk::new(), rule, 0)
    }

    fn on(disk: MemoryDisk, rule: fn(&mut Destination), mono_ms: u64) -> Day {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&disk).expect("opens"));
        let now = Stamp { wall: WallMs(1_795_435_200_000 + mono_ms), mono_ms };
        let mut shop = Destination::new("shop", |_: &Message| ());
        let retry = Retry { backoff: Backoff::Fixed(60_000), jitter_permille: 0, attempts: u16::MAX };
        shop.policy = Policy { retry, ..Policy::default() };
        shop.batch = Some(BatchRule { max: 10, wait_ms: WAIT_MS });
        rule(&mut shop);
        let settings = Settings { body_bytes_max: 16 << 20, ..Settings::default() };
        let turn = Turn::open(store, vec![shop], settings, Vec::new(), now).expect("opens");
        let mut day = Day { disk, turn, now, out: Vec::new(), went: Vec::new(), rule };
        day.run();
        day
    }

    /// The process dies; what was out may have arrived.
    fn killed(self) -> Day {
        Day::on(self.disk, self.rule, self.now.mono_ms)
    }

    fn run(&mut self) -> Option<u64> {
        loop {
            let before = self.out.len();
            let due = self.turn.turn_out(self.now, &mut self.out).expect("turns");
            if self.out.len() == before {
                return due;
            }
            let sizes = self.out[before..].iter().map(|flight| (self.now.mono_ms, flight.messages().len()));
            self.went.extend(sizes);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = Stamp { wall: self.now.wall.plus(ms), mono_ms: self.now.mono_ms + ms };
        self.run();
    }

    fn accept(&mut self, messages: impl IntoIterator<Item = (String, String)>) -> Vec<Id> {
        let (give, take) = channel();
        let draft = |(key, body): (String, String)| Message::to("shop").key(key).body(body.into_bytes());
        let drafts = messages.into_iter().map(draft).collect();
        self.turn.accept(drafts, Box::new(move |said| give.send(said).expect("listens")));
        self.run();
        take.try_recv().expect("answers").expect("accepts")
    }

    /// So many messages of a key of their own each.
    fn apart(&mut self, count: usize) -> Vec<Id> {
        self.accept((0..count).map(|number| (format!("sku-{number}"), format!("{number}"))))
    }

    /// The first request that is out ends so; what it held.
    fn land(&mut self, outcome: Outcome) -> Vec<Id> {
        let flight = self.out.remove(0);
        let ids = flight.messages().iter().map(|message| message.id()).collect();
        self.turn.land(flight, outcome, self.now);
        self.run();
        ids
    }

    fn land_each(&mut self, each: impl Fn(&Message) -> Option<Outcome>) {
        let flight = self.out.remove(0);
        let each = flight.messages().into_iter().map(each).collect();
        self.turn.land_batch(flight, Batched { request: arrived(), each }, self.now);
        self.run();
    }

    fn sizes(&self) -> Vec<usize> {
        self.went.iter().map(|(_, size)| *size).collect()
    }

    fn shown(&self, id: Id) -> Shown {
        self.turn.show(id, self.now.wall).expect("is there")
    }

    fn state(&self, id: Id) -> State {
        self.shown(id).record.state
    }

    fn act(&mut self, id: Id, act: Act) -> Result<Shown, Error> {
        let (give, take) = channel();
        self.turn.act(id, act, Box::new(move |said| give.send(said).expect("listens")));
        self.run();
        take.try_recv().expect("answers")
    }

    fn detail(&self, id: Id) -> String {
        self.turn.attempts(id).expect("reads").last().expect("an attempt").detail.clone()
    }

    fn is_quiet(&self) -> bool {
        let waits = |name: &StateName| !matches!(name, StateName::Delivered | StateName::Abandoned);
        self.out.is_empty() && !self.turn.stats().counts.iter().any(|(_, name, count)| *count > 0 && waits(name))
    }
}

#[test]
fn full_batches_go_at_once_and_the_rest_after_its_time() {
    let mut day = Day::begin(|_| ());
    let ids = day.apart(25);
    assert_eq!(day.went, [(0, 10), (0, 10)]);
    let last = day.shown(ids[24]);
    assert_eq!((last.record.state, last.waits_for), (State::Queued(Queued::Ready), Some(Waits::Batch)));
    day.pass(WAIT_MS - 1);
    assert_eq!(day.went.len(), 2);
    assert!(day.run().is_some_and(|due_ms| due_ms <= WAIT_MS), "it wakes by itself");
    day.pass(1);
    assert_eq!(day.went[2..], [(WAIT_MS, 5)]);
    while !day.out.is_empty() {
        day.land(arrived());
    }
    assert!(ids.iter().all(|id| day.state(*id) == State::Delivered));
    let attempt = day.turn.attempts(ids[3]).expect("reads").remove(0);
    assert_eq!((attempt.number, attempt.duration_ms), (1, 200));
}

#[test]
fn what_comes_meanwhile_goes_along_and_a_lone_message_waits_its_time() {
    let mut day = Day::begin(|_| ());
    day.apart(3);
    day.pass(WAIT_MS / 2);
    day.apart(6);
    assert_eq!(day.sizes(), [0; 0]);
    day.apart(1);
    assert_eq!(day.went, [(WAIT_MS / 2, 10)]);
    day.apart(1);
    day.pass(WAIT_MS - 1);
    assert_eq!(day.went.len(), 1);
    day.pass(1);
    assert_eq!(day.went[1..], [(WAIT_MS / 2 + WAIT_MS, 1)]);
}

#[test]
fn a_batch_holds_one_message_of_a_key_and_each_key_keeps_its_order() {
    let run = |order: Order| {
        let mut day = Day::begin(match order {
            Order::Key => |shop| shop.order = Order::Key,
            Order::None => |_| (),
        });
        day.accept((0..40).map(|number| (format!("sku-{}", number % 4), number.to_string())));
        let (mut seen, mut doubles) = (HashMap::<String, Vec<u64>>::new(), 0);
        for _ in 0..200 {
            for flight in std::mem::take(&mut day.out) {
                let mut keys = HashSet::new();
                for message in flight.messages() {
                    let key = message.key().expect("a key").to_owned();
                    doubles += usize::from(!keys.insert(key.clone()));
                    let number = String::from_utf8_lossy(message.body()).parse().expect("a number");
                    seen.entry(key).or_default().push(number);
                }
                day.turn.land(flight, arrived(), day.now);
            }
            day.pass(WAIT_MS);
        }
        assert!(day.is_quiet());
        (seen, doubles, day.sizes())
    };
    let (seen, doubles, sizes) = run(Order::Key);
    assert_eq!((doubles, sizes.iter().max()), (0, Some(&4)));
    assert!(seen.values().all(|numbers| numbers.len() == 10 && numbers.is_sorted()), "{seen:?}");
    // The control: where order does not bind, one batch holds many of a key.
    assert!(run(Order::None).1 > 0);
}

#[test]
fn rate_and_concurrency_count_requests() {
    let mut day = Day::begin(|shop| shop.rate = Some(Rate::new(10, 1_000)));
    let ids = day.apart(100);
    for _ in 0..2_000 {
        while !day.out.is_empty() {
            day.land(arrived());
        }
        day.pass(1);
    }
    assert!(ids.iter().all(|id| day.state(*id) == State::Delivered));
    assert_eq!(day.went, (0..10).map(|number| (number * 100, 10)).collect::<Vec<_>>());

    let mut day = Day::begin(|shop| shop.concurrency = 2);
    let ids = day.apart(50);
    assert_eq!(day.sizes(), [10, 10]);
    assert_eq!(day.shown(ids[49]).waits_for, Some(Waits::Concurrency));
    day.land_each(|_| None);
    assert_eq!(day.sizes(), [10, 10, 10]);

    let mut day = Day::begin(|shop| shop.concurrency = 2);
    for _ in 0..3 {
        day.apart(1);
        day.pass(WAIT_MS);
    }
    assert_eq!(day.sizes(), [1, 1], "a batch that is not full is a request like any other");
}

#[test]
fn each_message_gets_its_own_end() {
    let mut day = Day::begin(|_| ());
    let ids = day.apart(10);
    let late = || Outcome::Failed(Failure::new(Class::Rule, Sent::Maybe, "no result for it"));
    day.land_each(|message| match message.body() {
        b"1" => Some(answered(422)),
        b"2" => Some(answered(500)),
        b"3" => Some(late()),
        _ => None,
    });
    let states: Vec<State> = ids.iter().map(|id| day.state(*id)).collect();
    let due = State::Failed(Failed::Due(day.now.wall.plus(60_000)));
    assert_eq!(states[..4], [State::Delivered, State::Abandoned(Abandoned::Rejected), due, due]);
    assert!(states[4..].iter().all(|state| *state == State::Delivered));
    assert!(day.detail(ids[1]).starts_with("answered 422; one of 10 that went together"), "{}", day.detail(ids[1]));
    day.pass(60_000);
    day.pass(WAIT_MS);
    assert_eq!(day.sizes(), [10, 2], "what is tried again goes together too");
}

#[test]
fn a_transport_that_leaves_a_message_out_makes_all_uncertain() {
    let mut day = Day::begin(|shop| shop.policy.on_uncertain = OnUncertain::Hold);
    let ids = day.apart(10);
    let flight = day.out.remove(0);
    day.turn.land_batch(flight, Batched { request: arrived(), each: vec![None; 9] }, day.now);
    day.run();
    assert!(ids.iter().all(|id| day.state(*id) == State::Failed(Failed::Held)));
}

#[test]
fn one_poisonous_message_does_not_make_the_others_rest() {
    let mut day = Day::begin(|shop| shop.order = Order::Key);
    let ids = day.apart(10);
    let later = day.accept([("sku-4".to_owned(), "later".to_owned())])[0];
    let answer = |flight: &Flight| {
        let has_poison = flight.messages().iter().any(|message| message.body() == b"4");
        if has_poison { answered(400) } else { arrived() }
    };
    let mut requests = Vec::new();
    while !day.out.is_empty() || !day.turn.wakes().is_empty() {
        for flight in std::mem::take(&mut day.out) {
            requests.push(flight.messages().len());
            let outcome = answer(&flight);
            day.turn.land(flight, outcome, day.now);
        }
        day.run();
        day.pass(1);
        assert!(day.now.mono_ms < 2_000);
    }
    assert_eq!(requests, [10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    for id in &ids {
        let is_poison = *id == ids[4];
        let expect = if is_poison { State::Abandoned(Abandoned::Rejected) } else { State::Delivered };
        let record = day.shown(*id).record;
        assert_eq!((record.state, record.attempts, record.series), (expect, 2, 1), "the shared no is no attempt");
    }
    assert_eq!(day.state(later), State::Delivered);
    assert!(day.now.mono_ms < WAIT_MS + 30, "what goes alone waits for no batch: {}", day.now.mono_ms);
}

#[test]
fn a_set_up_that_is_broken_is_one_fault_for_each_request() {
    let mut day = Day::begin(|shop| shop.concurrency = 1);
    let ids = day.apart(50);
    for _ in 0..4 {
        day.land(answered(401));
    }
    assert_eq!(day.turn.stats().sending, 10, "four are not five");
    day.land(answered(401));
    for _ in 0..150 {
        day.pass(1_000);
    }
    assert_eq!(day.sizes(), [10, 10, 10, 10, 10, 10], "paused after five, and tried with one after a minute");
    let series: Vec<u16> = ids.iter().map(|id| day.shown(*id).record.series).collect();
    let expect: Vec<u16> = [1; 10].into_iter().chain([0; 40]).collect();
    assert_eq!(series, expect, "the first request counts for its messages");
    day.land(arrived());
    day.pass(WAIT_MS);
    assert!(day.sizes().len() > 6, "it goes on");

    // A request that arrived says that the destination works, whatever it says of messages.
    let mut day = Day::begin(|shop| shop.breaker = Some(Default::default()));
    day.apart(300);
    for _ in 0..30 {
        day.land_each(|_| Some(answered(500)));
    }
    assert!(day.sizes().len() == 30, "{:?}", day.sizes());
}

#[test]
fn who_is_held_edited_or_cancelled_while_it_waits_is_not_in_the_batch_as_it_was() {
    let mut day = Day::begin(|shop| shop.order = Order::Key);
    let ids = day.apart(9);
    day.act(ids[0], Act::Hold).expect("it waits");
    day.act(ids[1], Act::Cancel).expect("it waits");
    let edit = Act::Edit { body: Arc::from(*b"new"), content_type: None, read: None };
    day.act(ids[2], edit).expect("it waits");
    day.pass(WAIT_MS);
    let bodies: Vec<&[u8]> = day.out[0].messages().iter().map(|message| message.body()).collect();
    assert_eq!(bodies.len(), 7);
    assert!(bodies.contains(&b"new".as_slice()) && !bodies.contains(&b"2".as_slice()));
    assert!(matches!(day.act(ids[3], Act::Hold), Err(Error::Refused { .. })), "it is out");
    day.land(arrived());
    day.act(ids[0], Act::Release).expect("it is held");
    day.pass(WAIT_MS);
    assert_eq!(day.sizes(), [7, 1]);
}

#[test]
fn what_waits_at_a_closed_door_goes_when_it_opens() {
    let mut day = Day::begin(|_| ());
    let steer = |day: &mut Day, hand| {
        day.turn.steer("shop", hand, Box::new(|said| drop(said.expect("steers"))));
        day.run();
    };
    steer(&mut day, Hand::Pause);
    day.apart(5);
    day.pass(10_000);
    assert_eq!(day.sizes(), [0; 0]);
    steer(&mut day, Hand::Resume);
    assert_eq!(day.went, [(10_000, 5)], "they have waited long enough");
}

#[test]
fn a_crash_in_the_middle_sends_all_of_it_again_or_holds_each() {
    let mut day = Day::begin(|_| ());
    let ids = day.apart(10);
    let before: Vec<Id> = day.out[0].messages().iter().map(|message| message.id()).collect();
    let mut day = day.killed();
    day.pass(WAIT_MS);
    let after: Vec<Id> = day.out[0].messages().iter().map(|message| message.id()).collect();
    assert_eq!((after.len(), Id::of_batch(after)), (10, Id::of_batch(before)), "the same batch has the same name");
    day.land(arrived());
    assert!(ids.iter().all(|id| day.state(*id) == State::Delivered));

    let mut day = Day::begin(|shop| shop.policy.on_uncertain = OnUncertain::Hold);
    let (ids, waiting) = (day.apart(10), day.apart(3));
    let mut day = day.killed();
    assert!(ids.iter().all(|id| day.state(*id) == State::Failed(Failed::Held)), "nobody knows of any of them");
    day.pass(WAIT_MS);
    let out: Vec<Id> = day.out[0].messages().iter().map(|message| message.id()).collect();
    assert_eq!((day.sizes(), out), (vec![3], waiting), "what only waited for its batch is not uncertain");
}

#[test]
fn bodies_that_are_too_many_together_go_in_several_requests() {
    for on_uncertain in [OnUncertain::Retry, OnUncertain::Hold] {
        let mut day = Day::begin(match on_uncertain {
            OnUncertain::Hold => |shop| shop.policy.on_uncertain = OnUncertain::Hold,
            OnUncertain::Retry | OnUncertain::Probe => |_| (),
        });
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.extend(day.accept([(format!("sku-{number}"), "x".repeat(6 << 20))]));
        }
        day.pass(WAIT_MS);
        while !day.out.is_empty() {
            day.land(arrived());
            day.pass(WAIT_MS);
        }
        assert_eq!(day.sizes(), [2, 2, 1], "{on_uncertain:?}");
        assert!(ids.iter().all(|id| day.state(*id) == State::Delivered));
    }
}
