//! What is late and what is silent is told: days of it in milliseconds, over restarts, closed hours and wall clocks that jump.

use std::sync::{Arc, Mutex};

use goniec::engine::{Act, Age, Alert, Channel, Destination, Flight, Hand, Kind, Rule, Settings, Turn};
use goniec::model::rate::Rate;
use goniec::model::timetable::{Closure, Hours};
use goniec::model::{Backoff, Class, Draft, Failure, Outcome, Queued, Receipt, Retry, Sent, Stamp, State, WallMs};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::{Id, Message};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Noon on Monday, 23 November 2026, UTC.
const NOON: WallMs = WallMs(1_795_435_200_000);

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Alert>>>);

impl Channel for Ear {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.0.lock().expect("whole").push(alert.clone());
        Ok(())
    }

    fn name(&self) -> String {
        "ear".into()
    }
}

/// A registry under a clock of its own that survives restarts.
struct Day {
    disk: MemoryDisk,
    turn: Option<Turn>,
    rule: Box<dyn Fn() -> Destination>,
    kinds: Vec<Kind>,
    now: Stamp,
    ear: Ear,
    is_down: bool,
}

impl Day {
    fn new(set: impl Fn(&mut Destination) + 'static) -> Day {
        let rule = move || {
            let mut erp = Destination::new("erp", |_: &Message| ());
            erp.policy.retry = Retry { backoff: Backoff::Fixed(10_000), jitter_permille: 0, attempts: 60_000 };
            set(&mut erp);
            erp
        };
        let now = Stamp { wall: NOON, mono_ms: 0 };
        let mut day = Day {
            disk: MemoryDisk::new(),
            turn: None,
            rule: Box::new(rule),
            kinds: vec![Kind::Late, Kind::Silent],
            now,
            ear: Ear::default(),
            is_down: false,
        };
        day.start();
        day
    }

    fn start(&mut self) {
        self.turn = None;
        let store = Arc::new(MemoryStore::open(&self.disk).expect("opens"));
        let rule = Rule { kinds: self.kinds.clone(), ..Rule::all(self.ear.clone(), 10 * MINUTE_MS) };
        let turn = Turn::open(store, vec![(self.rule)()], Settings::default(), vec![rule], self.now);
        self.turn = Some(turn.expect("starts"));
        self.live(0);
    }

    fn turn(&mut self) -> &mut Turn {
        self.turn.as_mut().expect("runs")
    }

    fn accept(&mut self, drafts: Vec<Draft>) -> Vec<Id> {
        let ids = Arc::new(Mutex::new(Vec::new()));
        let taken = ids.clone();
        self.turn().accept(drafts, Box::new(move |answer| *taken.lock().expect("whole") = answer.expect("accepts")));
        self.live(0);
        let ids = ids.lock().expect("whole").clone();
        assert!(!ids.is_empty());
        ids
    }

    fn one(&mut self) -> Id {
        self.accept(vec![Message::to("erp")])[0]
    }

    fn act(&mut self, id: Id, act: Act) {
        self.turn().act(id, act, Box::new(|answer| drop(answer.expect("is done"))));
        self.live(0);
    }

    fn steer(&mut self, hand: Hand) {
        self.turn().steer("erp", hand, Box::new(|answer| drop(answer.expect("is done"))));
        self.live(0);
    }

    /// Lives for so long, from one thing to do to the next.
    fn live(&mut self, for_ms: u64) {
        let until_ms = self.now.mono_ms + for_ms;
        let mut flights: Vec<Flight> = Vec::new();
        loop {
            let now = self.now;
            let due = self.turn().turn_out(now, &mut flights).expect("turns");
            if !flights.is_empty() {
                for flight in flights.drain(..) {
                    let no = || Outcome::Failed(Failure::new(Class::Server, Sent::Answered, "answered 503"));
                    let outcome = if self.is_down { no() } else { Outcome::Delivered(Receipt::default()) };
                    self.turn().land(flight, outcome, now);
                }
                continue;
            }
            if now.mono_ms >= until_ms {
                return;
            }
            self.pass(due.unwrap_or(u64::MAX).clamp(now.mono_ms + 1, until_ms) - now.mono_ms);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = Stamp { wall: self.now.wall.plus(ms), mono_ms: self.now.mono_ms + ms };
    }

    fn age(&mut self) -> Age {
        let now = self.now;
        self.turn().lanes(now)[0].age
    }

    /// What was told since this was last asked.
    fn told(&self) -> Vec<Alert> {
        std::mem::take(&mut *self.ear.0.lock().expect("whole"))
    }

    fn reasons(&self) -> Vec<&'static str> {
        self.told().iter().map(|alert| alert.reason).collect()
    }
}

fn late_after_an_hour(erp: &mut Destination) {
    erp.late_after_ms = Some(HOUR_MS);
}

#[test]
fn what_is_late_is_told_while_it_is_tried_and_once_more_when_nothing_is() {
    let mut day = Day::new(late_after_an_hour);
    day.is_down = true;
    let first = day.accept(vec![Message::to("erp").key("order:1")])[0];
    day.live(30 * MINUTE_MS);
    day.one();
    day.live(30 * MINUTE_MS);
    assert_eq!(day.reasons(), [""; 0], "an hour is not too long");
    assert_eq!(day.age(), Age { waiting: 2, oldest: Some(NOON), late: 0 });
    day.live(2_000);
    let told = day.told();
    let [late] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&*late.destination, late.reason, late.messages, late.since), ("erp", "late", 1, NOON));
    assert_eq!((late.sample, late.sample_key.as_deref()), (Some(first), Some("order:1")));
    assert_eq!(late.detail.as_deref(), Some("answered 503"));
    day.live(29 * MINUTE_MS);
    assert_eq!(day.reasons(), [""; 0], "it is told once");
    day.live(2 * MINUTE_MS);
    let told = day.told();
    assert_eq!((told.len(), told[0].messages), (1, 2), "again where more are late");
    assert_eq!(day.age().late, 2);
    day.is_down = false;
    day.live(MINUTE_MS);
    assert_eq!(day.reasons(), ["on-time"]);
    assert_eq!(day.age(), Age::default());
    day.live(24 * HOUR_MS);
    assert_eq!(day.reasons(), [""; 0]);
}

/// One alert a cause within the digest window, however many become late one after another.
#[test]
fn a_flood_of_late_messages_is_a_few_alerts() {
    let mut day = Day::new(late_after_an_hour);
    day.is_down = true;
    for _ in 0..60 {
        day.one();
        day.live(MINUTE_MS);
    }
    day.live(70 * MINUTE_MS);
    let counts: Vec<u64> = day.told().iter().map(|alert| alert.messages).collect();
    assert!((6..=8).contains(&counts.len()), "{counts:?}");
    assert_eq!(counts.last(), Some(&60));
}

#[test]
fn nobody_is_late_whom_a_person_ended_and_whoever_is_held_still_is() {
    let mut day = Day::new(late_after_an_hour);
    day.is_down = true;
    let [cancelled, held, deleted, edited] = [day.one(), day.one(), day.one(), day.one()];
    day.act(cancelled, Act::Cancel);
    day.act(held, Act::Hold);
    day.act(deleted, Act::Delete);
    let edit = Act::Edit { body: b"2"[..].into(), content_type: None, read: None };
    day.act(edited, edit);
    assert_eq!(day.age().waiting, 2);
    day.live(HOUR_MS + 2_000);
    assert_eq!(day.told()[0].messages, 2);
    day.act(cancelled, Act::Resend(Queued::Ready));
    assert_eq!(day.age(), Age { waiting: 3, oldest: Some(NOON), late: 3 }, "it came when the others did");
    day.is_down = false;
    day.act(held, Act::Release);
    day.live(MINUTE_MS);
    assert_eq!(day.age(), Age::default());
}

#[test]
fn what_was_superseded_waits_no_more_and_what_must_wait_is_not_late_for_that() {
    let mut day = Day::new(|erp| (erp.late_after_ms, erp.latest_wins) = (Some(HOUR_MS), true));
    day.is_down = true;
    for _ in 0..3 {
        day.accept(vec![Message::to("erp").key("sku:1")]);
        day.live(MINUTE_MS);
    }
    assert_eq!(day.age(), Age { waiting: 1, oldest: Some(NOON.plus(2 * MINUTE_MS)), late: 0 });
    let later = NOON.plus(5 * HOUR_MS);
    day.accept(vec![Message::to("erp").not_before(later)]);
    day.live(HOUR_MS);
    assert_eq!(day.age(), Age { waiting: 2, oldest: Some(NOON.plus(2 * MINUTE_MS)), late: 1 });
    day.live(4 * HOUR_MS + 56 * MINUTE_MS);
    assert_eq!(day.age().late, 1);
    // Its hour counts over a start, too.
    day.start();
    assert_eq!((day.age().waiting, day.age().late), (2, 1));
    day.live(2 * MINUTE_MS);
    assert_eq!(day.age().late, 2);
}

#[test]
fn what_is_late_over_a_start_is_told_once_more() {
    let mut day = Day::new(late_after_an_hour);
    day.is_down = true;
    day.one();
    day.live(40 * MINUTE_MS);
    day.start();
    day.live(20 * MINUTE_MS);
    assert_eq!(day.reasons(), [""; 0]);
    day.live(2_000);
    assert_eq!(day.reasons(), ["late"]);
    day.start();
    day.live(5 * HOUR_MS);
    assert_eq!(day.reasons(), ["late"], "once a start");
    day.is_down = false;
    day.live(MINUTE_MS);
    assert_eq!(day.reasons(), ["on-time"]);
}

#[test]
fn a_wall_clock_that_jumps_makes_nobody_late_and_keeps_nobody_from_it() {
    for by_ms in [HOUR_MS, 3_652 * 24 * HOUR_MS] {
        let mut day = Day::new(|erp| (erp.late_after_ms, erp.silent_after_ms) = (Some(HOUR_MS), Some(5 * HOUR_MS)));
        day.is_down = true;
        day.one();
        day.live(10 * MINUTE_MS);
        day.now.wall = day.now.wall.plus(by_ms);
        day.live(10 * MINUTE_MS);
        day.one();
        day.now.wall = WallMs(day.now.wall.0 - by_ms);
        day.live(10 * MINUTE_MS);
        day.one();
        day.live(30 * MINUTE_MS);
        assert_eq!(day.reasons(), [""; 0], "{by_ms}");
        day.live(2_000);
        assert_eq!(day.reasons(), ["late"], "{by_ms}");
        day.live(HOUR_MS);
        assert_eq!(day.age().late, 3, "{by_ms}");
    }
}

/// It takes six messages a minute: 360 within its hour.
fn six_a_minute(erp: &mut Destination) {
    (erp.late_after_ms, erp.rate) = (Some(HOUR_MS), Some(Rate::new(6, MINUTE_MS)));
}

fn many(count: usize) -> Vec<Draft> {
    vec![Message::to("erp"); count]
}

#[test]
fn what_a_slow_destination_cannot_take_in_time_is_told_before_anything_is_late() {
    let mut day = Day::new(six_a_minute);
    day.accept(many(500));
    day.live(5 * MINUTE_MS);
    let told = day.told();
    let [coming] = told.as_slice() else { panic!("{told:?}") };
    let said = coming.to_string();
    assert!(said.starts_with("messages to erp will be late: at 6.0 messages a minute the 4"), "{said}");
    assert!(said.contains(" that wait take 1h "), "{said}");
    assert!(said.contains(", the newest came 3m ") && said.ends_with(" ago, and late_after is 1h"), "{said}");
    assert_eq!((day.age().late, coming.sample), (0, None));
    day.live(54 * MINUTE_MS);
    assert_eq!(day.reasons(), [""; 0], "it is told once");
    day.live(2 * MINUTE_MS);
    assert_eq!(day.reasons(), ["late"]);
    day.live(22 * MINUTE_MS);
    assert_eq!(day.reasons(), [""; 0]);
    day.live(2 * MINUTE_MS);
    assert_eq!(day.reasons(), ["on-time"], "it is over once");
}

#[test]
fn what_was_foretold_and_is_averted_is_on_time() {
    let mut day = Day::new(six_a_minute);
    let ids = day.accept(many(500));
    day.live(5 * MINUTE_MS);
    assert_eq!(day.reasons(), ["will-be-late"]);
    let shown = |day: &mut Day| {
        let now = day.now;
        day.turn().lanes(now)[0].drains_in_ms
    };
    assert!(shown(&mut day).is_some_and(|ms| ms > HOUR_MS), "{:?}", shown(&mut day));
    for id in &ids[200..] {
        day.act(*id, Act::Cancel);
    }
    day.live(MINUTE_MS);
    assert_eq!(day.reasons(), ["on-time"]);
    assert!(shown(&mut day).is_some_and(|ms| ms < HOUR_MS / 2), "{:?}", shown(&mut day));
    day.live(HOUR_MS);
    assert_eq!((day.reasons(), shown(&mut day)), (vec![], None));
}

/// However little it drained before, and however long it is shut meanwhile.
#[test]
fn a_burst_that_drains_in_time_is_not_told() {
    for is_by_hours in [false, true] {
        let shut = [11 * MINUTE_MS, 15 * MINUTE_MS].map(|ms| NOON.plus(ms));
        let closed = move || if is_by_hours { vec![Closure::Once(shut[0], shut[1])] } else { Vec::new() };
        let mut day = Day::new(move |erp| {
            six_a_minute(erp);
            erp.hours = Hours { open: None, closed: closed() };
        });
        // Something waits all the time.
        day.is_down = true;
        let held = day.one();
        day.act(held, Act::Hold);
        day.is_down = false;
        for _ in 0..21 {
            day.one();
            day.live(20_000);
        }
        day.accept(many(280));
        day.act(held, Act::Cancel);
        day.live(4 * MINUTE_MS);
        assert_eq!(day.now.wall, shut[0]);
        if !is_by_hours {
            day.steer(Hand::Pause);
        }
        day.live(4 * MINUTE_MS);
        if !is_by_hours {
            day.steer(Hand::Resume);
        }
        // What is not to go before tomorrow takes nobody's place today.
        let tomorrow = day.now.wall.plus(24 * HOUR_MS);
        day.accept(vec![Message::to("erp").not_before(tomorrow); 900]);
        day.live(HOUR_MS);
        assert_eq!((day.reasons(), day.age().waiting), (vec![], 900), "by hours: {is_by_hours}");
        // As many that are to go now are told.
        day.accept(many(900));
        day.live(5 * MINUTE_MS);
        assert_eq!(day.reasons(), ["will-be-late"], "by hours: {is_by_hours}");
    }
}

#[test]
fn what_waits_for_a_cycle_is_not_in_line() {
    let mut day = Day::new(|erp| {
        six_a_minute(erp);
        (erp.cycle, erp.only_in_cycles) = (Some("every 50m".parse().expect("a cycle")), true);
    });
    day.accept(many(60));
    day.steer(Hand::Cycle);
    day.accept(many(350));
    day.live(8 * MINUTE_MS);
    assert_eq!((day.reasons(), day.age().waiting > 350), (vec![], true));
    day.accept(many(50));
    day.steer(Hand::Cycle);
    day.live(5 * MINUTE_MS);
    assert_eq!(day.reasons(), ["will-be-late"]);
}

#[test]
fn silence_is_told_once_and_ends_with_the_next_message() {
    let mut day = Day::new(|erp| erp.silent_after_ms = Some(2 * HOUR_MS));
    day.one();
    day.live(2 * HOUR_MS - 2_000);
    assert_eq!(day.reasons(), [""; 0]);
    day.live(4_000);
    let told = day.told();
    let [silent] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(silent.to_string(), "destination erp is silent: nothing came or went for 2h of its opening hours");
    day.live(100 * HOUR_MS);
    assert_eq!(day.reasons(), [""; 0], "it is told once");
    day.one();
    day.live(2_000);
    assert_eq!(day.reasons(), ["active"]);
    day.live(3 * HOUR_MS);
    assert_eq!(day.reasons(), ["silent"]);
}

#[test]
fn a_destination_that_never_had_a_message_is_silent_from_the_start_on() {
    let mut day = Day::new(|erp| erp.silent_after_ms = Some(2 * HOUR_MS));
    day.live(2 * HOUR_MS + 2_000);
    assert_eq!(day.reasons(), ["silent"]);
}

#[test]
fn silence_goes_on_over_a_start() {
    let mut day = Day::new(|erp| erp.silent_after_ms = Some(2 * HOUR_MS));
    day.one();
    day.live(90 * MINUTE_MS);
    day.turn = None;
    day.pass(20 * MINUTE_MS);
    day.start();
    day.live(9 * MINUTE_MS);
    assert_eq!(day.reasons(), [""; 0]);
    day.live(MINUTE_MS + 2_000);
    assert_eq!(day.reasons(), ["silent"]);
}

#[test]
fn only_opening_hours_are_silent() {
    let open = || Hours {
        open: Some("Mon-Fri 08:00-18:00".parse().expect("hours")),
        closed: vec![Closure::Once(NOON.plus(21 * HOUR_MS), NOON.plus(23 * HOUR_MS))],
    };
    let mut day = Day::new(move |erp| (erp.silent_after_ms, erp.hours) = (Some(8 * HOUR_MS), open()));
    day.one();
    // Six hours until the evening, one in the morning, two of maintenance, one more.
    day.live(24 * HOUR_MS - 2_000);
    assert_eq!(day.reasons(), [""; 0]);
    day.live(4_000);
    assert_eq!(day.reasons(), ["silent"]);
    day.one();
    day.live(2_000);
    assert_eq!(day.reasons(), ["active"]);
    // The wall clock jumps into the evening of a Saturday and back: what passed meanwhile was no opening hour.
    let jump_ms = 100 * HOUR_MS;
    day.live(HOUR_MS);
    day.now.wall = day.now.wall.plus(jump_ms);
    day.live(20 * HOUR_MS);
    day.now.wall = WallMs(day.now.wall.0 - 20 * HOUR_MS - jump_ms);
    // Five of this day's hours are left, and two come in the morning.
    day.live(21 * HOUR_MS - 10_000);
    assert_eq!(day.reasons(), [""; 0]);
    day.live(20_000);
    assert_eq!(day.reasons(), ["silent"]);
}

/// What a rule does not name it does not tell; the duty to tell of the abandoned stays with those that do.
#[test]
fn a_rule_hears_what_it_names() {
    for (kinds, expected) in [
        (vec![Kind::Abandoned], vec!["rejected"]),
        (vec![Kind::Silent], vec!["silent"]),
        (vec![], vec!["rejected", "silent"]),
    ] {
        let mut day = Day::new(|erp| {
            erp.silent_after_ms = Some(HOUR_MS);
            erp.policy.retry.attempts = 1;
        });
        day.kinds = kinds;
        day.start();
        day.is_down = true;
        let id = day.one();
        day.live(3 * HOUR_MS);
        let now = day.now;
        assert!(matches!(day.turn().show(id, now.wall).expect("is there").record.state, State::Abandoned(_)));
        let told: Vec<&str> =
            day.reasons().iter().map(|reason| if *reason == "exhausted" { "rejected" } else { *reason }).collect();
        assert_eq!(told, expected);
    }
}
