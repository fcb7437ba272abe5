//! Writing back: how a message ended becomes a message to who wants to hear, once, whatever is killed when.

#[path = "common/faulty.rs"]
mod faulty;

use std::sync::{Arc, Mutex};

use faulty::Faulty;
use goniec::engine::{Act, Destination, Reply, Settings, Turn};
use goniec::model::{Backoff, Class, Failure, Outcome, Receipt, Retry, Sent, Stamp, WallMs};
use goniec::store::sled::{Options, SledStore};
use goniec::store::{Query, Store};
use goniec::{Draft, Id, Message};
use serde_json::{Value, json};

fn at(mono_ms: u64) -> Stamp {
    Stamp { wall: WallMs(1_790_000_000_000 + mono_ms), mono_ms }
}

/// An ERP that takes what says "yes" and rejects the rest, and a shop that hears of both and shows it.
struct World {
    store: Arc<Faulty>,
    turn: Turn,
    shown: Arc<Mutex<Vec<Value>>>,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        World::over(Arc::new(Faulty::default()), 0)
    }

    fn over(store: Arc<Faulty>, now_ms: u64) -> World {
        let mut erp = Destination::new("erp", |message: &Message| match message.body() {
            b"yes" => Outcome::Delivered(Receipt { remote_id: Some("ERP-7".into()), ..Receipt::default() }),
            _ => Outcome::Failed(Failure::new(Class::Other, Sent::Answered, "no such customer")),
        });
        erp.latest_wins = true;
        erp.policy.retry = Retry { backoff: Backoff::Fixed(10), jitter_permille: 0, attempts: 2 };
        (erp.on_delivered, erp.on_abandoned) = (vec!["shop".into()], vec!["shop".into()]);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let heard = shown.clone();
        let shop = Destination::new("shop", move |message: &Message| {
            heard.lock().expect("whole").push(serde_json::from_slice(message.body()).expect("JSON"));
        });
        let turn =
            Turn::open(store.clone(), vec![erp, shop], Settings::default(), Vec::new(), at(now_ms)).expect("opens");
        World { store, turn, shown, now_ms }
    }

    /// The process ends, and another one begins.
    fn again(self) -> World {
        World::over(self.store, self.now_ms)
    }

    fn live(&mut self, for_ms: u64) {
        let until_ms = self.now_ms + for_ms;
        while self.now_ms <= until_ms {
            let next = self.turn.turn(at(self.now_ms)).expect("turns");
            self.now_ms = next.unwrap_or(u64::MAX).clamp(self.now_ms + 1, until_ms + 1);
        }
    }

    fn accept(&mut self, draft: Draft) -> Id {
        let (give, take) = std::sync::mpsc::channel();
        let reply: Reply<Vec<Id>> = Box::new(move |said| give.send(said).expect("listens"));
        self.turn.accept(vec![draft], reply);
        self.live(0);
        take.try_recv().expect("answered").expect("taken")[0]
    }

    fn shown(&self) -> Vec<Value> {
        self.shown.lock().expect("whole").clone()
    }

    fn unsaid(&self) -> usize {
        let mut count = 0;
        self.store.notes(b"mverdict/", &mut |_, _| count += 1).expect("reads");
        count
    }

    fn messages(&self) -> usize {
        self.store.inner.list(&Query { limit: 100, ..Query::default() }).expect("lists").records.len()
    }
}

fn order(body: &str) -> Draft {
    Message::to("erp").key("order:17").kind("order.created").body(body.as_bytes())
}

#[test]
fn the_shop_hears_what_became_of_its_order() {
    let mut world = World::new();
    let id = world.accept(order("yes"));
    world.live(100);
    let [said] = &world.shown()[..] else { panic!("{:?}", world.shown()) };
    let wanted = json!({
        "id": id.to_string(), "destination": "erp", "key": "order:17", "type": "order.created", "state": "delivered",
        "reason": null, "detail": null, "remote_id": "ERP-7", "attempts": 1,
        "accepted_at": said["accepted_at"], "ended_at": said["ended_at"],
    });
    assert_eq!((said, world.unsaid()), (&wanted, 0));

    world.accept(order("no"));
    world.live(100);
    let said = &world.shown()[1];
    assert_eq!([&said["state"], &said["reason"], &said["detail"]], ["abandoned", "exhausted", "no such customer"]);
    assert_eq!((said["attempts"].as_u64(), world.shown().len(), world.messages()), (Some(2), 2, 4));
}

#[test]
fn what_a_newer_one_superseded_has_no_verdict_and_what_a_person_gave_up_has_one() {
    let mut world = World::new();
    let wait = |body: &str| order(body).not_before(WallMs(1_790_009_000_000));
    world.accept(wait("yes"));
    let newer = world.accept(wait("yes"));
    world.live(100);
    assert_eq!(world.shown(), Vec::<Value>::new());
    world.turn.act(newer, Act::Cancel, Box::new(|said| drop(said.expect("cancels"))));
    world.live(100);
    let said = &world.shown()[0];
    assert_eq!((said["id"].clone(), said["reason"].as_str()), (json!(newer.to_string()), Some("cancelled")));
}

#[test]
fn a_verdict_outlives_a_kill_and_a_full_disk_and_is_said_once() {
    let mut world = World::new();
    world.accept(order("no"));
    world.live(5);
    // There is room for how it ended, and not for what is said of it.
    *world.store.room_for.lock().expect("whole") = Some(1);
    world.live(500);
    assert_eq!((world.shown().len(), world.unsaid(), world.messages()), (0, 1, 1));
    let mut world = world.again();
    world.live(2_500);
    assert_eq!((world.shown().len(), world.unsaid()), (0, 1));
    *world.store.room_for.lock().expect("whole") = None;
    world.live(2_500);
    assert_eq!((world.shown().len(), world.unsaid(), world.messages()), (1, 0, 2));
    let mut world = world.again();
    world.live(2_500);
    assert_eq!((world.shown().len(), world.messages()), (0, 2));
}

#[test]
fn who_is_sent_again_before_it_was_said_is_said_as_it_ended_last() {
    let mut world = World::new();
    let id = world.accept(order("no"));
    world.live(5);
    *world.store.room_for.lock().expect("whole") = Some(1);
    world.live(500);
    let mut world = world.again();
    *world.store.room_for.lock().expect("whole") = None;
    let edit = Act::Edit { body: b"yes".as_slice().into(), content_type: None, read: None };
    world.turn.act(id, edit, Box::new(|said| drop(said.expect("edits"))));
    world.live(2_500);
    let states: Vec<Value> = world.shown().iter().map(|said| said["state"].clone()).collect();
    assert_eq!(states, ["delivered"]);
}

#[test]
fn what_was_said_leaves_no_row_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SledStore::open(dir.path(), Options::default()).expect("opens"));
    let mut erp = Destination::new("erp", |_: &Message| ());
    erp.on_delivered = vec!["shop".into()];
    let shop = Destination::new("shop", |_: &Message| ());
    let mut turn = Turn::open(store.clone(), vec![erp, shop], Settings::default(), Vec::new(), at(0)).expect("opens");
    turn.accept(vec![order("yes"), order("yes")], Box::new(|said| drop(said.expect("taken"))));
    for ms in 1..100 {
        turn.turn(at(ms)).expect("turns");
    }
    assert_eq!(store.list(&Query { limit: 9, ..Query::default() }).expect("lists").records.len(), 4);
    store.close().expect("closes");
    drop((turn, store));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let db = loop {
        // Threads of the storage engine may hold its lock a moment longer than the registry.
        match sled::Config::new().path(dir.path().join("sled")).segment_size(2 << 20).open() {
            Ok(db) => break db,
            Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
        }
        std::thread::yield_now();
    };
    let notes = db.open_tree("note").expect("is there");
    assert_eq!(notes.scan_prefix(b"mverdict/").count(), 0);
}
