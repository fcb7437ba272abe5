//! Quiet hours of a rule of alerts: nothing is told, nothing is forgotten, also over a restart, and each cause is told once when they end. Whole nights in milliseconds.

#[path = "common/told.rs"]
mod told;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use goniec::engine::{Act, Agreement, Alert, Channel, Destination, Kind, Rule, RuleShown, Settings, Turn};
use goniec::model::timetable::Hours;
use goniec::model::{Class, Failure, Outcome, Queued, Receipt, Retry, Sent, Stamp, WallMs};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::{Id, Message};
use told::Told;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// 2026-11-23, 12:00 in Greenwich and 13:00 in Warsaw.
const NOON: WallMs = WallMs(1_795_435_200_000);

/// An engine with two destinations that give up every message at once, and one whose set-up is broken, under a clock of its own.
struct Night {
    /// Whether `erp` takes what comes.
    is_mended: Arc<AtomicBool>,
    turn: Turn,
    told: Told,
    /// Somebody who is told at any hour.
    pager: Told,
    now: Stamp,
}

impl Night {
    /// It begins so many milliseconds after noon.
    fn begin(disk: &MemoryDisk, after_ms: u64, quiet: Option<&str>, quiet_except: &[Kind]) -> Night {
        let is_mended = Arc::new(AtomicBool::new(false));
        let failing = |name, class, attempts| {
            let mended = is_mended.clone();
            let fails = move |_: &Message| match mended.load(Ordering::SeqCst) {
                true => Outcome::Delivered(Receipt::default()),
                false => Outcome::Failed(Failure::new(class, Sent::Answered, "no")),
            };
            let mut one = Destination::new(name, fails);
            one.policy.retry = Retry { attempts, ..Retry::default() };
            one
        };
        let destinations = vec![
            failing("erp", Class::Rejected, 1),
            failing("shop", Class::Rejected, 1),
            failing("door", Class::Auth, 20),
        ];
        let (told, pager) = (Told::default(), Told::default());
        let closed = quiet.map(|quiet| quiet.parse().expect("hours")).into_iter().collect();
        let hours = Hours { open: None, closed };
        let rule = Rule { hours, quiet_except: quiet_except.to_vec(), ..Rule::all(told.clone(), MINUTE_MS) };
        let store = Arc::new(MemoryStore::open(disk).expect("opens"));
        let now = Stamp { wall: NOON.plus(after_ms), mono_ms: 0 };
        let rules = vec![rule, Rule::all(pager.clone(), 0)];
        let turn = Turn::open(store, destinations, Settings::default(), rules, now).expect("opens");
        Night { is_mended, turn, told, pager, now }
    }

    fn accept(&mut self, name: &str, count: usize) -> Vec<Id> {
        let drafts = (0..count).map(|_| Message::to(name)).collect();
        let (give, take) = channel();
        self.turn.accept(drafts, Box::new(move |said| give.send(said.expect("accepts")).expect("listens")));
        self.turn.turn(self.now).expect("turns");
        take.try_recv().expect("answers")
    }

    fn resend(&mut self, id: Id) {
        self.turn.act(id, Act::Resend(Queued::Ready), Box::new(|said| drop(said.expect("resends"))));
    }

    /// So much time passes; what was told meanwhile.
    fn pass(&mut self, ms: u64) -> Vec<String> {
        let end_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < end_ms {
            self.turn.turn(self.now).expect("turns");
            let by_ms = (end_ms - self.now.mono_ms).min(10_000);
            self.now = Stamp { wall: self.now.wall.plus(by_ms), mono_ms: self.now.mono_ms + by_ms };
        }
        self.turn.turn(self.now).expect("turns");
        self.told.take()
    }

    fn rule(&self) -> RuleShown {
        self.turn.alert_rules(self.now.wall).remove(0)
    }
}

const QUIET: &str = "22:00-06:00 Europe/Warsaw";

#[test]
fn a_night_is_quiet_and_its_morning_tells_each_cause_once() {
    let mut night = Night::begin(&MemoryDisk::new(), 8 * HOUR_MS, Some(QUIET), &[]);
    night.accept("erp", 1);
    assert_eq!(night.pass(50 * MINUTE_MS), ["erp rejected"], "at nine in the evening people are told");
    assert_eq!(night.rule().quiet_until, None);
    night.pass(11 * MINUTE_MS);
    let five = NOON.plus(17 * HOUR_MS);
    assert_eq!((night.rule().quiet_until, night.rule().quiet), (Some(five), vec![QUIET.to_owned()]));
    let mut heard = Vec::new();
    for _ in 0..7 {
        night.accept("erp", 100);
        night.accept("shop", 1);
        heard.extend(night.pass(HOUR_MS));
    }
    assert_eq!(heard, Vec::<String>::new());
    let left_ms = five.since(night.now.wall);
    assert_eq!(night.pass(left_ms - MINUTE_MS), Vec::<String>::new(), "not a minute too soon");
    assert_eq!(night.pass(2 * MINUTE_MS), ["erp rejected", "shop rejected"]);
    assert_eq!(night.pass(HOUR_MS), Vec::<String>::new(), "and never again");
}

#[test]
fn without_quiet_hours_the_same_night_is_loud() {
    let mut night = Night::begin(&MemoryDisk::new(), 8 * HOUR_MS, None, &[]);
    let mut heard = 0;
    for _ in 0..9 {
        night.accept("erp", 100);
        heard += night.pass(HOUR_MS).len();
    }
    assert_eq!((heard, night.rule().quiet_until, night.rule().quiet), (9, None, Vec::new()));
}

#[test]
fn a_restart_in_the_night_forgets_nothing() {
    let disk = MemoryDisk::new();
    let mut night = Night::begin(&disk, 10 * HOUR_MS, Some(QUIET), &[]);
    night.accept("erp", 3);
    night.accept("door", 8);
    assert_eq!(night.pass(HOUR_MS), Vec::<String>::new());
    drop(night);
    let mut night = Night::begin(&disk, 12 * HOUR_MS, Some(QUIET), &[]);
    assert_eq!(night.pass(4 * HOUR_MS), Vec::<String>::new());
    assert_eq!(night.pass(2 * HOUR_MS), ["door paused", "erp rejected"]);
}

#[test]
fn what_is_excepted_is_told_at_any_hour() {
    let mut night = Night::begin(&MemoryDisk::new(), 10 * HOUR_MS, Some(QUIET), &[Kind::Paused]);
    night.accept("erp", 3);
    night.accept("door", 8);
    assert_eq!(night.pass(HOUR_MS), ["door paused"]);
    assert_eq!(night.rule().quiet_except, [Kind::Paused]);
    assert_eq!(night.pass(8 * HOUR_MS), ["erp rejected"]);
}

#[test]
fn what_was_put_right_in_the_night_is_told_to_nobody() {
    let mut night = Night::begin(&MemoryDisk::new(), 10 * HOUR_MS, Some(QUIET), &[]);
    let (right, rest) = (night.accept("erp", 3), night.accept("shop", 1));
    assert_eq!(night.pass(HOUR_MS), Vec::<String>::new());
    night.is_mended.store(true, Ordering::SeqCst);
    right.into_iter().for_each(|id| night.resend(id));
    assert_eq!(night.pass(8 * HOUR_MS), ["shop rejected"], "the one that still rests");
    night.resend(rest[0]);
    assert_eq!(night.pass(HOUR_MS), Vec::<String>::new());
}

#[test]
fn who_is_awake_hears_of_what_fails_anew_though_another_sleeps() {
    let mut night = Night::begin(&MemoryDisk::new(), 10 * HOUR_MS, Some(QUIET), &[]);
    let id = night.accept("erp", 1)[0];
    night.pass(MINUTE_MS);
    assert_eq!(night.pager.take(), ["erp rejected"]);
    night.resend(id);
    night.pass(MINUTE_MS);
    assert_eq!(night.pager.take(), ["erp rejected"], "it was refused again");
    assert_eq!(night.pass(9 * HOUR_MS), ["erp rejected"], "and the morning tells it once");
    assert_eq!(night.pager.take(), Vec::<String>::new());
}

/// Writes down the reason and the words.
struct Words(Arc<Mutex<Vec<String>>>);

impl Channel for Words {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        let words = format!("{} {}", alert.reason, alert.detail.as_deref().unwrap_or_default());
        self.0.lock().expect("whole").push(words);
        Ok(())
    }

    fn name(&self) -> String {
        "words".into()
    }
}

#[test]
fn what_comparisons_found_in_the_night_is_told_of_each() {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let hours = Hours { open: None, closed: vec![QUIET.parse().expect("hours")] };
    let rule = Rule { hours, ..Rule::all(Words(said.clone()), 0) };
    let midnight = Stamp { wall: NOON.plus(11 * HOUR_MS), mono_ms: 0 };
    let destinations = vec![Destination::new("erp", |_: &Message| ())];
    let store = Arc::new(MemoryStore::open(&MemoryDisk::new()).expect("opens"));
    let mut turn = Turn::open(store, destinations, Settings::default(), vec![rule], midnight).expect("opens");
    let erp = "erp".into();
    for (minute, (comparison, agreement, words)) in (1..).zip([
        ("stock", Agreement::Found, "stock: all is there"),
        ("orders", Agreement::Lost, "orders: 2 are missing"),
        ("orders", Agreement::Lost, "orders: 3 are missing"),
        ("orders", Agreement::Unread, "orders: no answer"),
        ("prices", Agreement::Lost, "prices: 1 is missing"),
        ("stream", Agreement::Lost, "the stream has a gap"),
        ("stream", Agreement::Found, "the stream has no gap"),
    ]) {
        turn.tell_agreement(&erp, comparison, agreement, words.to_owned());
        let now = Stamp { wall: midnight.wall.plus(minute * MINUTE_MS), mono_ms: minute * MINUTE_MS };
        turn.turn(now).expect("turns");
    }
    assert!(said.lock().expect("whole").is_empty(), "it is night");
    turn.turn(Stamp { wall: midnight.wall.plus(8 * HOUR_MS), mono_ms: 8 * HOUR_MS }).expect("turns");
    assert_eq!(
        *said.lock().expect("whole"),
        [
            "unread orders: no answer",
            "out-of-sync orders: 3 are missing; prices: 1 is missing",
            "in-sync stock: all is there; the stream has no gap",
        ]
    );
}
