//! Pauses: by a person, for a set-up that looks broken, by a destination that says that it is gone. Hours of them in milliseconds.

#[path = "common/told.rs"]
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use goniec::engine::{By, Cause, Destination, Hand, Lane, Rule, Settings, Turn, Waits};
use goniec::model::{
    Abandoned, Backoff, Class, Failure, Outcome, Policy, Receipt, Retry, Sent, Stamp, State, WallMs, policy,
};
use goniec::store::Store;
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::{Error, Id, Message};
use told::Told;

const MINUTE_MS: u64 = 60_000;

/// What a destination answers, and how often it was asked.
#[derive(Clone)]
struct Shop {
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Shop {
    fn answering(status: u16) -> Shop {
        Shop { status: Arc::new(AtomicU16::new(status)), asked: Arc::default() }
    }

    fn destination(&self, name: &str) -> Destination {
        let shop = self.clone();
        let send = move |_: &Message| {
            shop.asked.fetch_add(1, Ordering::SeqCst);
            match shop.status.load(Ordering::SeqCst) {
                200 => Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() }),
                0 => Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused")),
                status => {
                    let (_, class) = policy::disposition(status);
                    let failure = Failure::new(class, Sent::Answered, format!("answered {status}"));
                    Outcome::Failed(Failure { status: Some(status), ..failure })
                }
            }
        };
        let retry = Retry { backoff: Backoff::Fixed(1_000), jitter_permille: 0, attempts: 3 };
        let policy = Policy { retry, ..Policy::default() };
        Destination { policy, concurrency: 2, ..Destination::new(name, send) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An engine under a clock of its own.
struct Day {
    turn: Turn,
    told: Told,
    now: Stamp,
}

impl Day {
    fn begin(disk: &MemoryDisk, shops: Vec<Destination>) -> Day {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(disk).expect("opens"));
        let told = Told::default();
        let rule = Rule::all(told.clone(), 1_000);
        let now = Stamp { wall: WallMs(1_795_435_200_000), mono_ms: 0 };
        let turn = Turn::open(store, shops, Settings::default(), vec![rule], now).expect("opens");
        Day { turn, told, now }
    }

    fn accept(&mut self, name: &str, count: usize) -> Vec<Id> {
        let (give, take) = channel();
        let drafts = (0..count).map(|_| Message::to(name)).collect();
        self.turn.accept(drafts, Box::new(move |said| give.send(said).expect("listens")));
        self.turn.turn(self.now).expect("turns");
        take.try_recv().expect("answers").expect("accepts")
    }

    fn steer(&mut self, name: &str, hand: impl Into<By<Hand>>) -> Result<Lane, Error> {
        let (give, take) = channel();
        self.turn.steer(name, hand, Box::new(move |said| give.send(said).expect("listens")));
        self.turn.turn(self.now).expect("turns");
        take.try_recv().expect("answers")
    }

    fn live(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        loop {
            let due = self.turn.turn(self.now).expect("turns").unwrap_or(end_ms).clamp(self.now.mono_ms + 1, end_ms);
            let by_ms = due - self.now.mono_ms;
            self.now = Stamp { wall: self.now.wall.plus(by_ms), mono_ms: due };
            if due >= end_ms {
                return;
            }
        }
    }

    fn state(&self, id: Id) -> State {
        self.turn.show(id, self.now.wall).expect("is there").record.state
    }

    fn waits(&self, id: Id) -> Option<Waits> {
        self.turn.show(id, self.now.wall).expect("is there").waits_for
    }
}

fn pause() -> By<Hand> {
    Hand::Pause.by("anna", "inventory")
}

#[test]
fn what_a_person_pauses_keeps_what_comes_in_and_outlives_the_process() {
    let disk = MemoryDisk::new();
    let shops = [Shop::answering(200), Shop::answering(200)];
    let destinations = || vec![shops[0].destination("shop"), shops[1].destination("other")];
    let mut day = Day::begin(&disk, destinations());
    let lane = day.steer("shop", pause()).expect("pauses");
    let pause = lane.pause.expect("is paused");
    assert_eq!((pause.cause, &*pause.who, &*pause.why), (Cause::Person, "anna", "inventory"));
    let ids = day.accept("shop", 3);
    // The control: the other one takes what it is given.
    day.accept("other", 2);
    day.live(60 * MINUTE_MS);
    assert_eq!((shops[0].asked(), shops[1].asked()), (0, 2));
    assert_eq!(day.waits(ids[0]), Some(Waits::Paused));
    drop(day);

    let mut day = Day::begin(&disk, destinations());
    day.live(60 * MINUTE_MS);
    assert_eq!((shops[0].asked(), day.waits(ids[2])), (0, Some(Waits::Paused)));
    assert_eq!(day.told.take(), Vec::<String>::new(), "whoever paused it knows of it");
    assert_eq!(day.steer("shop", Hand::Resume).expect("resumes").pause, None);
    assert!(ids.iter().all(|id| day.state(*id) == State::Delivered));
    drop(day);
    let mut day = Day::begin(&disk, destinations());
    day.accept("shop", 1);
    assert_eq!(shops[0].asked(), 4, "and it goes on after the next start");
    assert!(matches!(day.steer("shop", Hand::Cycle), Err(Error::Invalid(_))));
    assert!(matches!(day.steer("shopp", Hand::Resume), Err(Error::UnknownDestination { .. })));
}

#[test]
fn a_set_up_that_looks_broken_pauses_uses_up_no_message_and_heals_by_itself() {
    // The control: what is no fault of the set-up uses the messages up.
    for (status, is_set_up) in [(401, true), (503, false)] {
        let (disk, shop) = (MemoryDisk::new(), Shop::answering(status));
        let mut day = Day::begin(&disk, vec![shop.destination("shop")]);
        let ids = day.accept("shop", 8);
        day.live(4 * 60 * MINUTE_MS);
        let given_up = ids.iter().filter(|id| day.state(**id) == State::Abandoned(Abandoned::Exhausted)).count();
        let is_paused = ids.iter().any(|id| day.waits(*id) == Some(Waits::Paused));
        assert_eq!((given_up, is_paused), if is_set_up { (0, true) } else { (8, false) }, "{status}");
        if !is_set_up {
            continue;
        }
        // Five, what was out with them, and a probe after 1, 3, 7, 15 minutes and then every 16.
        assert!((10..30).contains(&shop.asked()), "asked {} times in four hours", shop.asked());
        assert_eq!(day.told.take(), ["shop paused"]);
        // That nobody is reached says nothing of the set-up.
        shop.status.store(0, Ordering::SeqCst);
        day.live(60 * MINUTE_MS);
        assert!(ids.iter().any(|id| day.waits(*id) == Some(Waits::Paused)));
        shop.status.store(200, Ordering::SeqCst);
        day.live(20 * MINUTE_MS);
        let states: Vec<State> = ids.iter().map(|id| day.state(*id)).collect();
        let delivered = states.iter().filter(|state| **state == State::Delivered).count();
        assert!(delivered >= 7, "{states:?}");
        assert!(day.told.take().contains(&"shop resumed".to_owned()));
    }
}

#[test]
fn a_set_up_pause_is_told_again_after_a_start_and_a_person_ends_it() {
    let (disk, shop) = (MemoryDisk::new(), Shop::answering(403));
    let mut day = Day::begin(&disk, vec![shop.destination("shop")]);
    let ids = day.accept("shop", 6);
    day.live(MINUTE_MS / 2);
    drop(day);
    let mut day = Day::begin(&disk, vec![shop.destination("shop")]);
    let asked = shop.asked();
    day.live(MINUTE_MS / 2);
    assert_eq!((shop.asked(), day.told.take()), (asked, vec!["shop paused".to_owned()]), "nobody asks again at once");
    shop.status.store(200, Ordering::SeqCst);
    day.steer("shop", Hand::Resume).expect("resumes");
    day.live(5_000);
    assert!(ids.iter().all(|id| day.state(*id) == State::Delivered));
}

#[test]
fn what_says_that_it_is_gone_is_asked_no_more_until_a_person_wants_it() {
    let (disk, shop) = (MemoryDisk::new(), Shop::answering(410));
    let mut day = Day::begin(&disk, vec![shop.destination("shop")]);
    let first = day.accept("shop", 1)[0];
    day.live(1_500);
    let later = day.accept("shop", 5);
    day.live(24 * 60 * MINUTE_MS);
    assert_eq!((shop.asked(), day.state(first)), (1, State::Abandoned(Abandoned::Rejected)));
    assert_eq!(day.waits(later[4]), Some(Waits::Paused));
    let told = day.told.take();
    assert!(told.contains(&"shop paused".to_owned()) && told.contains(&"shop rejected".to_owned()), "{told:?}");
    shop.status.store(200, Ordering::SeqCst);
    day.steer("shop", Hand::Resume).expect("resumes");
    assert!(later.iter().all(|id| day.state(*id) == State::Delivered));
}
