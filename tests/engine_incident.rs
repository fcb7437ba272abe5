//! Incidents: one a cause, opened by failures, over when what failed has arrived, told once. Hours in milliseconds.

#[path = "common/told.rs"]
mod told;

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use goniec::engine::{Act, Destination, IncidentShown, Kind, Rule, Settings, Turn};
use goniec::model::{
    Abandoned, Backoff, Class, Failure, Outcome, Policy, Queued, Receipt, Retry, Sent, Stamp, State, WallMs,
};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::store::{Query, StateName, Store};
use goniec::{Id, Message};
use told::Told;

const NOON: WallMs = WallMs(1_795_435_200_000);
const MINUTE_MS: u64 = 60_000;

/// What a destination answers to a key: nothing said is a yes.
type Answers = Arc<Mutex<BTreeMap<String, (u16, String)>>>;

struct Day {
    disk: MemoryDisk,
    store: Arc<dyn Store>,
    turn: Turn,
    now: Stamp,
    answers: Answers,
    told: Told,
    kinds: Vec<Kind>,
}

fn erp(answers: &Answers) -> Destination {
    let answers = answers.clone();
    let send = move |message: &Message| {
        let key = message.envelope.key.as_deref().unwrap_or_default();
        match answers.lock().expect("whole").get(key) {
            None => Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() }),
            Some((status, said)) => {
                let (_, class) = goniec::model::policy::disposition(*status);
                let failure = Failure::new(class, Sent::Answered, format!("answered {status}: {said}"));
                Outcome::Failed(Failure { status: Some(*status), ..failure })
            }
        }
    };
    let retry = Retry { backoff: Backoff::Fixed(10_000), jitter_permille: 0, attempts: 1_000 };
    Destination { policy: Policy { retry, ..Policy::default() }, ..Destination::new("erp", send) }
}

impl Day {
    fn begin(disk: MemoryDisk, answers: Answers, kinds: &[Kind]) -> Day {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&disk).expect("opens"));
        let now = Stamp { wall: NOON, mono_ms: 0 };
        let told = Told::default();
        let rule = Rule { kinds: kinds.to_vec(), ..Rule::all(told.clone(), 1_000) };
        let turn = Turn::open(store.clone(), vec![erp(&answers)], Settings::default(), vec![rule], now).expect("opens");
        Day { disk, store, turn, now, answers, told, kinds: kinds.to_vec() }
    }

    fn new(kinds: &[Kind]) -> Day {
        Day::begin(MemoryDisk::new(), Answers::default(), kinds)
    }

    fn restart(self) -> Day {
        drop(self.turn);
        drop(self.store);
        self.disk.crash(1);
        let now = self.now;
        let mut day = Day::begin(self.disk, self.answers, &self.kinds);
        day.now.wall = now.wall;
        day
    }

    /// What a key is answered from now on.
    fn says(&self, key: &str, status: u16, said: &str) {
        self.answers.lock().expect("whole").insert(key.into(), (status, said.into()));
    }

    fn mend(&self) {
        self.answers.lock().expect("whole").clear();
    }

    fn send(&mut self, key: &str) -> Id {
        let (give, take) = channel();
        let reply = Box::new(move |said| give.send(said).expect("listens"));
        self.turn.accept(vec![Message::to("erp").key(key)], reply);
        self.turn.turn(self.now).expect("turns");
        take.try_recv().expect("answers").expect("accepts")[0]
    }

    fn act(&mut self, id: Id, act: Act) {
        self.turn.act(id, act, Box::new(|said| drop(said.expect("acts"))));
        self.turn.turn(self.now).expect("turns");
    }

    fn pass(&mut self, ms: u64) {
        let until_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < until_ms {
            let by_ms = 1_000.min(until_ms - self.now.mono_ms);
            self.now = Stamp { wall: self.now.wall.plus(by_ms), mono_ms: self.now.mono_ms + by_ms };
            self.turn.turn(self.now).expect("turns");
        }
    }

    fn incidents(&self) -> Vec<IncidentShown> {
        self.turn.incidents().expect("reads")
    }

    fn open(&self) -> Vec<IncidentShown> {
        self.incidents().into_iter().filter(|shown| shown.incident.closed_at.is_none()).collect()
    }

    fn told(&self) -> Vec<String> {
        self.told.take()
    }
}

#[test]
fn failures_of_one_cause_are_one_incident_and_of_two_are_two() {
    let mut day = Day::new(&[Kind::Incident]);
    for n in 0..30 {
        day.says(&format!("k{n}"), 422, &format!("order {n} has no customer"));
    }
    day.says("other", 422, "the sku is unknown");
    let ids: Vec<Id> = (0..30).map(|n| day.send(&format!("k{n}"))).collect();
    let other = day.send("other");
    let open = day.open();
    assert_eq!(open.len(), 2);
    let many = open.iter().find(|shown| shown.incident.failures == 30).expect("one of them");
    assert_eq!((many.open, many.incident.messages, many.incident.rested), (30, 30, 30));
    assert_eq!((&*many.destination, many.incident.cause.class), ("erp", Class::Rejected));
    assert_eq!(many.incident.words, "answered 422: order # has no customer");
    assert_eq!((many.incident.sample, many.oldest.as_ref().map(|(id, _)| *id)), (ids[0], Some(ids[0])));
    // Its messages are found by it.
    let query = Query {
        destinations: vec![many.incident.dest],
        cause: Some(many.incident.cause),
        limit: 100,
        ..Query::default()
    };
    let found = day.turn.list(&query, day.now.wall).expect("lists");
    assert_eq!(found.messages.len(), 30);
    assert!(found.messages.iter().all(|shown| shown.record.id != other));
    day.pass(40_000);
    assert_eq!(day.told(), ["erp incident-at-rest"], "both in one");
}

#[test]
fn an_incident_is_over_when_all_of_it_arrived_or_a_person_ended_it() {
    let mut day = Day::new(&[Kind::Incident]);
    (0..4).for_each(|n| day.says(&format!("k{n}"), 422, "no customer"));
    let ids: Vec<Id> = (0..4).map(|n| day.send(&format!("k{n}"))).collect();
    day.pass(40_000);
    assert_eq!(day.told().len(), 1);
    day.mend();
    day.act(ids[0], Act::Resend(Queued::Ready));
    day.act(ids[1], Act::Delete);
    day.act(ids[2], Act::Arrived);
    day.pass(40_000);
    assert_eq!((day.open()[0].open, day.told().len()), (1, 0), "one is left");
    day.act(ids[3], Act::Resend(Queued::NotBefore(day.now.wall.plus(MINUTE_MS))));
    day.pass(40_000);
    assert_eq!(day.open().len(), 1, "that it is queued again is not that it arrived");
    day.pass(MINUTE_MS);
    assert_eq!((day.open().len(), day.told()), (0, vec!["erp recovered".to_owned()]));
    // The same again opens it anew.
    day.says("k9", 422, "no customer");
    day.send("k9");
    let again = &day.open()[0].incident;
    assert_eq!((again.times, again.failures, again.first_at), (2, 1, day.now.wall));
}

#[test]
fn what_heals_within_a_minute_wakes_nobody_and_what_lasts_is_told_once() {
    let mut day = Day::new(&[Kind::Incident]);
    day.says("k", 503, "busy");
    day.send("k");
    day.pass(45_000);
    assert!(day.open()[0].incident.failures >= 5);
    day.mend();
    day.pass(MINUTE_MS);
    assert_eq!((day.open().len(), day.told()), (0, vec![]));
    day.says("k", 503, "busy");
    day.send("k");
    day.pass(30 * MINUTE_MS);
    assert_eq!(day.told(), ["erp incident"]);
    day.mend();
    day.pass(MINUTE_MS);
    assert_eq!(day.told(), ["erp recovered"]);
}

#[test]
fn who_hears_of_what_was_given_up_is_not_told_twice() {
    let mut day = Day::new(&[Kind::Abandoned, Kind::Incident]);
    day.says("k", 422, "no");
    let id = day.send("k");
    day.pass(40_000);
    assert_eq!(day.told(), ["erp rejected"]);
    day.mend();
    day.act(id, Act::Resend(Queued::Ready));
    day.pass(40_000);
    assert_eq!(day.told(), ["erp recovered"]);
}

#[test]
fn what_lasts_is_told_also_to_who_heard_of_what_was_given_up() {
    let mut day = Day::new(&[Kind::Abandoned, Kind::Incident]);
    day.says("k", 422, "no customer");
    day.send("k");
    day.pass(40_000);
    assert_eq!(day.told(), ["erp rejected"], "the first is told as what it is");
    for _ in 0..6 {
        day.send("k");
        day.pass(20_000);
    }
    let lasting: Vec<String> = day.told().into_iter().filter(|told| told.starts_with("erp incident")).collect();
    assert_eq!(lasting, ["erp incident-lasts"]);
}

#[test]
fn counts_and_what_is_open_outlive_a_crash() {
    let mut day = Day::new(&[Kind::Incident]);
    (0..5).for_each(|n| day.says(&format!("k{n}"), 422, "no customer"));
    let ids: Vec<Id> = (0..5).map(|n| day.send(&format!("k{n}"))).collect();
    day.pass(40_000);
    let before = day.incidents();
    day = day.restart();
    assert_eq!(day.incidents(), before);
    day.pass(40_000);
    assert_eq!(day.told(), ["erp incident-at-rest"], "once more after a start");
    day.mend();
    ids.iter().for_each(|id| day.act(*id, Act::Resend(Queued::Ready)));
    day = day.restart();
    day.pass(40_000);
    assert_eq!(day.open().len(), 0, "it is over, whoever looked before");
}

#[test]
fn there_are_at_most_so_many_whatever_a_destination_says() {
    let mut day = Day::new(&[Kind::Incident]);
    let word = |mut n: usize| {
        let mut word = String::new();
        while n > 0 {
            word.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        word
    };
    for n in 1..1_400 {
        day.says("k", 422, &format!("cause {}", word(n)));
        day.send("k");
    }
    let open = day.open();
    assert!(open.len() <= 1_025, "{}", open.len());
    let failures: u64 = open.iter().map(|shown| shown.incident.failures).sum();
    assert_eq!(failures, 1_399, "none is forgotten");
    let rest = open.iter().find(|shown| shown.incident.words == "many causes").expect("there is one");
    assert!(rest.open > 300);
}

#[test]
fn the_store_on_disk_finds_the_same_messages() {
    let dir = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = Arc::new(
        goniec::store::sled::SledStore::open(dir.path(), goniec::store::sled::Options::default()).expect("opens"),
    );
    let answers = Answers::default();
    (0..200).for_each(|n| drop(answers.lock().expect("whole").insert(format!("k{n}"), (422, format!("no {}", n % 2)))));
    (0..200).step_by(3).for_each(|n| {
        let said = (503, "busy".to_owned());
        answers.lock().expect("whole").insert(format!("k{n}"), said);
    });
    let now = Stamp { wall: NOON, mono_ms: 0 };
    let mut turn = Turn::open(store, vec![erp(&answers)], Settings::default(), Vec::new(), now).expect("opens");
    let drafts = (0..250).map(|n| Message::to("erp").key(format!("k{n}"))).collect();
    turn.accept(drafts, Box::new(|said| drop(said.expect("accepts"))));
    turn.turn(now).expect("turns");
    let mut open: Vec<(String, u64)> =
        turn.incidents().expect("reads").into_iter().map(|shown| (shown.incident.words, shown.open)).collect();
    open.sort();
    assert_eq!(open, [("answered 422: no #".to_owned(), 133), ("answered 503: busy".to_owned(), 67)]);
    let rejected = Query { states: vec![StateName::Abandoned], limit: 1, ..Query::default() };
    let page = turn.list(&rejected, NOON).expect("lists");
    assert_eq!(page.messages[0].record.state, State::Abandoned(Abandoned::Rejected));
}
