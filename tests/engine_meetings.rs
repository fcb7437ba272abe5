//! Where one rule of a destination meets another, or the end of the process: batches and questions, batches and cycles, deadlines and crashes, the
//! latest that wins and crashes. Each was found to go wrong once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use goniec::engine::{BatchRule, Destination, Flight, Settings, Turn};
use goniec::model::{
    Abandoned, Backoff, Class, Failed, Failure, OnUncertain, Outcome, Policy, Receipt, Retry, Sent, Stamp, State,
    WallMs,
};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::transport::{Probed, Transport};
use goniec::{Draft, Id, Message};

const HOUR_MS: u64 = 3_600_000;

fn at(ms: u64) -> Stamp {
    Stamp { wall: WallMs(1_795_435_200_000 + ms), mono_ms: ms }
}

fn destination(transport: impl Transport, on_uncertain: OnUncertain, delay_ms: u64) -> Destination {
    let retry = Retry { backoff: Backoff::Fixed(delay_ms), jitter_permille: 0, attempts: 5 };
    Destination { policy: Policy { retry, on_uncertain }, ..Destination::new("shop", transport) }
}

fn open(disk: &MemoryDisk, shop: Destination, ms: u64) -> Turn {
    let store = Arc::new(MemoryStore::open(disk).expect("opens"));
    Turn::open(store, vec![shop], Settings::default(), Vec::new(), at(ms)).expect("starts")
}

fn accept(turn: &mut Turn, drafts: Vec<Draft>, ms: u64, out: &mut Vec<Flight>) -> Vec<Id> {
    let (give, take) = channel();
    turn.accept(drafts, Box::new(move |said| give.send(said).expect("listens")));
    turn.turn_out(at(ms), out).expect("turns");
    take.try_recv().expect("answers").expect("accepts")
}

fn state(turn: &Turn, id: Id) -> State {
    turn.show(id, at(0).wall).expect("is there").record.state
}

/// Answers nothing to what is sent; asked, it has every message that has a key, and cannot be asked after others.
struct Keyed {
    asked: Arc<AtomicUsize>,
    panics: bool,
}

impl Transport for Keyed {
    fn send(&self, _: &Message, _: Duration) -> Outcome {
        Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer"))
    }

    fn probe(&self, message: &Message, _: Duration) -> Probed {
        if message.key().is_some() {
            self.asked.fetch_add(1, Ordering::Relaxed);
            return Probed::There(Receipt::default());
        }
        assert!(!self.panics, "a question that breaks");
        Probed::Unknown(Failure::new(Class::Rule, Sent::No, "the message has no key"))
    }
}

#[test]
fn a_message_that_cannot_be_asked_after_keeps_no_other_of_its_batch_in_doubt() {
    for panics in [false, true] {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut shop = destination(Keyed { asked: asked.clone(), panics }, OnUncertain::Probe, 60_000);
        shop.batch = Some(BatchRule { max: 3, wait_ms: 100 });
        let (mut turn, mut out) = (open(&MemoryDisk::new(), shop, 0), Vec::new());
        let one = |key: Option<&str>| match key {
            Some(key) => Message::to("shop").key(key),
            None => Message::to("shop"),
        };
        let ids = accept(&mut turn, [None, Some("a"), Some("b")].map(one).into(), 0, &mut out);
        assert_eq!(out.len(), 1, "they go together");
        for flight in out.drain(..) {
            let batched = flight.send_batch();
            turn.land_batch(flight, batched, at(0));
        }
        for second in 0..3_600 {
            turn.turn(at(second * 1_000)).expect("turns");
        }
        let states: Vec<State> = ids.iter().map(|id| state(&turn, *id)).collect();
        assert_eq!(states, [State::Failed(Failed::Held), State::Delivered, State::Delivered], "panics: {panics}");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}

/// Takes nothing, and says that it has nothing.
struct Refusing;

impl Transport for Refusing {
    fn send(&self, _: &Message, _: Duration) -> Outcome {
        Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused"))
    }

    fn probe(&self, _: &Message, _: Duration) -> Probed {
        Probed::Absent
    }
}

#[test]
fn a_deadline_binds_what_was_out_when_the_process_ended() {
    let shop = || {
        let mut shop = destination(Refusing, OnUncertain::Probe, HOUR_MS / 2);
        shop.policy.retry.attempts = 50;
        shop
    };
    for ends in [false, true] {
        let (disk, mut out) = (MemoryDisk::new(), Vec::new());
        let mut turn = open(&disk, shop(), 0);
        let id = accept(&mut turn, vec![Message::to("shop").deadline(at(HOUR_MS).wall)], 0, &mut out)[0];
        let flight = out.pop().expect("it is out");
        if ends {
            drop((flight, turn));
            turn = open(&disk, shop(), 1);
        } else {
            turn.land(flight, Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer")), at(1));
        }
        for minute in 0..180 {
            turn.turn(at(1 + minute * 60_000)).expect("turns");
        }
        assert_eq!(state(&turn, id), State::Abandoned(Abandoned::Expired), "the process ends: {ends}");
    }
}

#[test]
fn what_was_out_when_the_process_ended_gives_its_place_to_the_newer() {
    let shop = || Destination { latest_wins: true, ..destination(Refusing, OnUncertain::Probe, 60_000) };
    let (disk, mut out) = (MemoryDisk::new(), Vec::new());
    let mut turn = open(&disk, shop(), 0);
    let older = accept(&mut turn, vec![Message::to("shop").key("sku").body(*b"1")], 0, &mut out)[0];
    let newer = accept(&mut turn, vec![Message::to("shop").key("sku").body(*b"2")], 1, &mut out)[0];
    assert_eq!(out.len(), 1, "the newer waits behind the older");
    drop((out, turn));
    let mut turn = open(&disk, shop(), 2);
    let mut out = Vec::new();
    turn.turn_out(at(2), &mut out).expect("turns");
    assert_eq!(state(&turn, older), State::Abandoned(Abandoned::Superseded(newer)));
    let bodies: Vec<&[u8]> = out.iter().map(|flight| flight.message().body()).collect();
    assert_eq!(bodies, [b"2"], "the newer goes at once, and the older never again");
}

#[test]
fn what_was_refused_together_goes_alone_at_once_though_its_destination_sends_in_cycles() {
    let mut shop = destination(|_: &Message| (), OnUncertain::Retry, 60_000);
    shop.cycle = Some("every 24h".parse().expect("a timetable"));
    (shop.only_in_cycles, shop.batch) = (true, Some(BatchRule { max: 3, wait_ms: 0 }));
    let (mut turn, mut out) = (open(&MemoryDisk::new(), shop, 0), Vec::new());
    let drafts = ["a", "b", "c"].map(|key| Message::to("shop").key(key)).into();
    let ids = accept(&mut turn, drafts, 0, &mut out);
    let mut requests = Vec::new();
    for minute in 0..2 * 24 * 60 {
        loop {
            turn.turn_out(at(minute * 60_000), &mut out).expect("turns");
            if out.is_empty() {
                break;
            }
            for flight in out.drain(..) {
                requests.push((minute, flight.messages().len()));
                let is_poison = flight.messages().iter().any(|message| message.key() == Some("b"));
                let refused = Outcome::Failed(Failure::new(Class::Rejected, Sent::Answered, "answered 400"));
                let came = if is_poison { refused } else { Outcome::Delivered(Receipt::default()) };
                turn.land(flight, came, at(minute * 60_000));
            }
        }
    }
    let counts: Vec<usize> = requests.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [3, 1, 1, 1], "{requests:?}");
    let (first, last) = (requests[0].0, requests[3].0);
    assert!(last <= first + 1, "they do not wait for the next cycle: {requests:?}");
    let states: Vec<State> = ids.iter().map(|id| state(&turn, *id)).collect();
    assert_eq!(states, [State::Delivered, State::Abandoned(Abandoned::Rejected), State::Delivered]);
}
