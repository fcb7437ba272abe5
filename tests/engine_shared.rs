//! Limits that several destinations share, and destinations that send in cycles only. Days of them in milliseconds.

#[path = "common/day.rs"]
mod day;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use day::{Day, NOON, answered, delivered, destination, most_within};
use goniec::engine::{Account, Act, Destination, Hand, Lane, Order, Waits};
use goniec::model::rate::Rate;
use goniec::model::{Abandoned, Backoff, Draft, Queued, State};
use goniec::store::memory::MemoryStore;
use goniec::{Goniec, Id, Message};

const MINUTE_MS: u64 = 60_000;

fn account(rate: Option<Rate>, concurrency: Option<u16>) -> Arc<Account> {
    Arc::new(Account { name: "baselinker".into(), rate, concurrency })
}

/// Destinations of one account, and `log`, which has none.
fn of_one_account(names: &[&str], account: &Arc<Account>) -> Vec<Destination> {
    let own = |name: &&str| {
        let cycle = Some("every 15m".parse().expect("a cycle"));
        Destination { account: Some(account.clone()), concurrency: 64, cycle, ..destination(name) }
    };
    let mut all: Vec<Destination> = names.iter().map(own).collect();
    all.insert(1, destination("log"));
    all
}

fn backlog(name: &str, count: usize) -> Vec<Draft> {
    (0..count).map(|_| Message::to(name)).collect()
}

fn counts(day: &Day, from: usize, to: usize) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    day.went_to[from..to].iter().for_each(|name| *counts.entry(&**name).or_insert(0) += 1);
    counts
}

/// How a destination with a timetable stands: what is asked of it to hear so begins a cycle that nothing waits for.
fn lane(day: &mut Day, name: &str) -> Lane {
    let answer = Arc::new(Mutex::new(None));
    let taken = answer.clone();
    let reply = move |lane: Result<Lane, _>| *taken.lock().expect("whole") = Some(lane.expect("stands"));
    day.turn.steer(name, Hand::Cycle, Box::new(reply));
    day.stir();
    answer.lock().expect("whole").take().expect("an answer")
}

#[test]
fn an_account_keeps_its_rate_over_all_its_destinations() {
    for rate in [Rate::new(60, MINUTE_MS), Rate::new(60, MINUTE_MS).with_burst(20), Rate::new(900, 1_000)] {
        let mut day = Day::of(
            Arc::new(MemoryStore::new()),
            NOON,
            20,
            of_one_account(&["orders", "stock", "prices"], &account(Some(rate), None)),
        );
        for name in ["orders", "stock", "prices", "log"] {
            day.accept_all(backlog(name, 200));
        }
        day.live(20 * MINUTE_MS, delivered);
        let shared: Vec<u64> =
            (0..day.sent.len()).filter(|at| &*day.went_to[*at] != "log").map(|at| day.sent[at].0).collect();
        let count = usize::try_from(rate.count).expect("small");
        assert_eq!(shared.len(), 600);
        assert!(most_within(&shared, rate.per_ms) <= count, "{rate}: {}", most_within(&shared, rate.per_ms));
        let ideal_ms = 600 * rate.per_ms / u64::from(rate.count);
        assert!(shared[599] <= ideal_ms + ideal_ms / 5 + 50, "{rate}: the last at {} of {ideal_ms} ms", shared[599]);
        // Who is not of the account does not wait for it.
        let log = (0..day.sent.len()).filter(|at| &*day.went_to[*at] == "log").map(|at| day.sent[at].0).max();
        assert!(log.is_some_and(|last_ms| last_ms < 2_000), "{rate}: {log:?}");
    }
}

/// One message at a time, or many at once: whose backlog is a hundred times larger gets no more of the account than the others.
#[test]
fn destinations_of_an_account_get_equal_shares() {
    for (rate, concurrency) in [
        (Some(Rate::new(60, MINUTE_MS)), None),
        (Some(Rate::new(600, MINUTE_MS).with_burst(50)), None),
        (None, Some(1)),
        (None, Some(2)),
        (None, Some(7)),
        (Some(Rate::new(900, 1_000)), Some(4)),
    ] {
        for takes_ms in [0, 7, 1_500] {
            let all = of_one_account(&["orders", "stock", "prices"], &account(rate, concurrency));
            let mut day = Day::of(Arc::new(MemoryStore::new()), NOON, takes_ms, all);
            day.accept_all(backlog("orders", 3_000));
            day.accept_all([backlog("stock", 30), backlog("prices", 30)].concat());
            day.live(24 * 60 * MINUTE_MS, delivered);
            assert_eq!(day.sent.len(), 3_060);
            // Until the first of the small ones is done; what went before the others were there is not counted.
            let from = day.went_to.iter().position(|name| &**name != "orders").expect("one of the others");
            let last = |name: &str| day.went_to.iter().rposition(|went| &**went == name).expect("went");
            let to = last("stock").min(last("prices"));
            let counts = counts(&day, from, to);
            let most = counts.values().max().copied().unwrap_or(0);
            let least = counts.values().min().copied().unwrap_or(0);
            assert!(counts.len() == 3 && most <= least + 2, "{rate:?} {concurrency:?} {takes_ms} ms: {counts:?}");
        }
    }
}

#[test]
fn no_more_is_out_to_an_account_than_it_takes() {
    let mut day =
        Day::of(Arc::new(MemoryStore::new()), NOON, 50, of_one_account(&["orders", "stock"], &account(None, Some(3))));
    let ids = day.accept_all([backlog("orders", 40), backlog("stock", 40)].concat());
    day.live(49, delivered);
    assert_eq!(day.sent.iter().map(|(_, out)| *out).max(), Some(3));
    assert_eq!(day.shown(ids[39]).1, Some(Waits::Concurrency));
    let stock = lane(&mut day, "stock");
    assert_eq!((stock.waits_for, stock.held_by.as_deref()), (Some(Waits::Concurrency), Some("baselinker")));
    day.live(MINUTE_MS, delivered);
    assert_eq!((day.sent.len(), day.sent.iter().map(|(_, out)| *out).max()), (80, Some(3)));
    // Without a limit that holds it, nobody is named.
    assert_eq!(lane(&mut day, "stock").held_by, None);
}

#[test]
fn what_one_destination_was_told_binds_its_account() {
    let run = |status: u16| {
        let all = of_one_account(&["orders", "stock"], &account(None, None));
        let mut day = Day::of(Arc::new(MemoryStore::new()), NOON, 10, all);
        day.accept_all(backlog("orders", 1));
        day.live(20, |_| answered(status, Some(MINUTE_MS)));
        let id = day.accept_all(backlog("stock", 1))[0];
        day.accept_all(backlog("log", 1));
        day.live(30_000, delivered);
        let before = (day.went_to.iter().map(|name| name.to_string()).collect::<Vec<_>>(), day.shown(id).1);
        day.live(2 * MINUTE_MS, delivered);
        assert_eq!(day.sent.len(), 4, "{status}");
        (before, day.sent[2].0)
    };
    let ((went_to, waits), next_ms) = run(429);
    assert_eq!((went_to, waits), (vec!["orders".into(), "log".into()], Some(Waits::Rate)));
    assert_eq!(next_ms, MINUTE_MS + 10);
    // The control: that its host is overloaded says nothing of others.
    let ((went_to, waits), _) = run(503);
    assert_eq!((went_to.len(), waits), (3, None));
}

/// On threads and a real clock: two destinations of one account under 50 a second together.
#[test]
fn an_account_keeps_its_rate_on_threads() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let account = account(Some(Rate::new(50, 1_000)), Some(2));
    let sink = |name: &str| {
        let ledger = times.clone();
        let sink = move |_: &Message| ledger.lock().expect("whole").push(Instant::now());
        Destination { account: Some(account.clone()), ..Destination::new(name, sink) }
    };
    let goniec =
        Goniec::over(Arc::new(MemoryStore::new())).with(sink("orders")).with(sink("stock")).start().expect("starts");
    goniec.send_all([backlog("orders", 50), backlog("stock", 50)].concat()).expect("accepts");
    let limit = Instant::now() + Duration::from_secs(20);
    while goniec.engine().stats().delivered < 100 {
        assert!(Instant::now() < limit, "waited in vain");
        std::thread::yield_now();
    }
    let times = times.lock().expect("whole");
    assert!(times[99] - times[0] >= Duration::from_millis(1_500), "{:?}", times[99] - times[0]);
}

/// Noon is a start of a quarter of an hour.
fn in_quarters(rule: impl FnOnce(&mut Destination)) -> Day {
    Day::new(NOON, 5, |erp| {
        (erp.cycle, erp.only_in_cycles) = (Some("every 15m".parse().expect("a cycle")), true);
        erp.policy.retry.backoff = Backoff::NextCycle;
        rule(erp);
    })
}

const QUARTER_MS: u64 = 15 * MINUTE_MS;

fn act(day: &mut Day, id: Id, act: Act) {
    day.turn.act(id, act, Box::new(|answer| drop(answer.expect("is done"))));
    day.stir();
}

#[test]
fn what_is_sent_in_cycles_only_waits_for_the_next_one() {
    let mut day = in_quarters(|_| ());
    day.live(MINUTE_MS, delivered);
    let ids = day.accept(3);
    let later = day.accept_all(vec![Message::to("erp").not_before(NOON.plus(QUARTER_MS + MINUTE_MS))])[0];
    assert_eq!(day.shown(ids[0]), (State::Queued(Queued::NextCycle), Some(Waits::NextCycle), 0));
    let due_at = day.turn.show(ids[0], day.now.wall).expect("is there").due_at;
    assert_eq!(due_at, Some(NOON.plus(QUARTER_MS)));
    // What fails waits for the next one; what came meanwhile goes with it, and what may go a minute after the first with the second.
    day.live(QUARTER_MS + 1, |_| answered(503, None));
    day.live(QUARTER_MS + MINUTE_MS, |_| answered(503, None));
    let fresh = day.accept(1)[0];
    day.live(4 * QUARTER_MS, delivered);
    let expect = [vec![QUARTER_MS; 3], vec![2 * QUARTER_MS; 5]].concat();
    assert_eq!(day.times(), expect);
    assert!([ids[0], later, fresh].iter().all(|id| day.shown(*id).0 == State::Delivered));
    // The control: without the rule they go at once.
    let mut day = in_quarters(|erp| erp.only_in_cycles = false);
    day.live(MINUTE_MS, delivered);
    day.accept(1);
    day.live(2 * MINUTE_MS, delivered);
    assert_eq!(day.times(), [MINUTE_MS]);
}

#[test]
fn a_delay_is_waited_out_before_the_cycle() {
    let mut day = in_quarters(|erp| erp.policy.retry.backoff = Backoff::Fixed(20 * MINUTE_MS));
    day.live(MINUTE_MS, delivered);
    day.accept(1);
    day.live(QUARTER_MS + MINUTE_MS, |_| answered(503, None));
    day.live(8 * QUARTER_MS, delivered);
    assert_eq!(day.times(), [QUARTER_MS, 3 * QUARTER_MS]);
}

#[test]
fn a_person_need_not_wait_for_the_cycle() {
    let mut day = in_quarters(|_| ());
    day.live(MINUTE_MS, delivered);
    let ids = day.accept(4);
    act(&mut day, ids[0], Act::Resend(Queued::Ready));
    act(&mut day, ids[1], Act::Hold);
    act(&mut day, ids[1], Act::Release);
    day.live(2 * MINUTE_MS, delivered);
    assert_eq!(day.times(), [MINUTE_MS, MINUTE_MS]);
    assert!([ids[0], ids[1]].iter().all(|id| day.shown(*id).0 == State::Delivered));
    day.turn.steer("erp", Hand::Cycle, Box::new(|answer| drop(answer.expect("begins"))));
    day.stir();
    day.live(3 * MINUTE_MS, delivered);
    assert_eq!(day.times(), [MINUTE_MS, MINUTE_MS, 2 * MINUTE_MS, 2 * MINUTE_MS]);
}

#[test]
fn order_holds_within_and_between_cycles() {
    let mut day = in_quarters(|erp| erp.order = Order::Key);
    day.live(MINUTE_MS, delivered);
    let ids = day.accept_all((0..3).map(|_| Message::to("erp").key("sku")).collect());
    day.live(QUARTER_MS + MINUTE_MS, |_| answered(503, None));
    assert_eq!(day.shown(ids[1]).1, Some(Waits::KeyOrder), "its cycle has begun, and the one before it has not gone");
    let more = day.accept_all(vec![Message::to("erp").key("sku")])[0];
    day.live(4 * QUARTER_MS, delivered);
    assert_eq!(day.ids, [ids[0], ids[0], ids[1], ids[2], more]);
    assert_eq!(day.times()[..2], [QUARTER_MS, 2 * QUARTER_MS]);
}

#[test]
fn what_was_superseded_while_it_waited_for_the_cycle_never_goes() {
    let mut day = in_quarters(|erp| erp.latest_wins = true);
    day.live(MINUTE_MS, delivered);
    let price = || vec![Message::to("erp").key("sku")];
    let ids: Vec<Id> = (0..5).map(|_| day.accept_all(price())[0]).collect();
    day.live(2 * QUARTER_MS, delivered);
    assert_eq!((day.ids.as_slice(), day.times()), (&ids[4..], vec![QUARTER_MS]));
    assert!(ids[..4].iter().all(|id| matches!(day.shown(*id).0, State::Abandoned(Abandoned::Superseded(_)))));
}

/// What waits for a cycle waits for it over a start too, and goes at once where there is no timetable any more.
#[test]
fn a_start_keeps_what_waits_for_a_cycle() {
    let store = Arc::new(MemoryStore::new());
    let erp = |cycle: Option<&str>| {
        let cycle = cycle.map(|cycle| cycle.parse().expect("a cycle"));
        vec![Destination { cycle, only_in_cycles: true, ..destination("erp") }]
    };
    let mut day = Day::of(store.clone(), NOON, 5, erp(Some("every 15m")));
    day.live(MINUTE_MS, delivered);
    let id = day.accept(1)[0];
    drop(day);
    let mut day = Day::of(store.clone(), NOON.plus(2 * MINUTE_MS), 5, erp(Some("every 15m")));
    day.live(12 * MINUTE_MS, delivered);
    assert_eq!((day.times(), day.shown(id).1), (vec![], Some(Waits::NextCycle)));
    drop(day);
    let mut day = Day::of(store, NOON.plus(3 * MINUTE_MS), 5, erp(None));
    day.live(10, delivered);
    assert_eq!((day.times(), day.shown(id).0), (vec![0], State::Delivered));
}
