//! A gap in a stream that comes in is told where it is seen, where its sender says nothing any more: once, also over a start, and once that it is closed.
//!
//! The control: while the sender is heard nothing is told.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/told.rs"]
mod told;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use goniec::Message;
use goniec::engine::{Destination, Engine, Heard, Item, Received, Rule, Settings};
use goniec::model::{Id, NodeTag, Place, WallMs};
use goniec::source::{SILENT_MS, Watch};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use told::Told;

fn start(disk: &MemoryDisk, told: &Told) -> Engine {
    let store = Arc::new(MemoryStore::open(disk).expect("opens"));
    let erp = Destination::new("erp", |_: &Message| ());
    Engine::start(store, vec![erp], Settings::default(), vec![Rule::all(told.clone(), 0)]).expect("starts")
}

/// Takes these numbers of a sender that gave so many.
fn receive(engine: &Engine, last: u64, numbers: &[u64]) -> Heard {
    let item = |n: u64| {
        let draft = Message::to("erp").header("goniec-source", "shop").body(n.to_string().into_bytes());
        Item { n, id: Id::compose(WallMs(9), NodeTag::new(1), Place::new(n, 0)), revision: 1, drafts: vec![draft] }
    };
    let items = numbers.iter().map(|n| item(*n)).collect();
    let (said, heard) = channel();
    let received = Received { source: "shop".into(), epoch: 7, last, ended: Vec::new(), items };
    engine.receive(received, Box::new(move |answer| said.send(answer).expect("waited for")));
    heard.recv_timeout(Duration::from_secs(10)).expect("answered").expect("taken")
}

fn wait(told: &Told, for_what: &[&str]) {
    let end = Instant::now() + Duration::from_secs(30);
    let mut all = Vec::new();
    while all.len() < for_what.len() {
        assert!(Instant::now() < end, "not in time: {for_what:?}, told were {all:?}");
        all.extend(told.take());
        // The engine tells on a thread of its own.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(all, for_what);
}

#[test]
fn a_gap_whose_sender_is_silent_is_told_once_over_a_start_and_once_that_it_is_closed() {
    let (disk, told) = (MemoryDisk::new(), Told::default());
    let engine = start(&disk, &told);
    let mut watch = Watch::new(vec!["shop".into()]);
    assert_eq!(receive(&engine, 5, &[1, 3]).holes, [(2, 2), (4, 5)]);
    watch.turn(&engine, 0);
    receive(&engine, 5, &[]);
    watch.turn(&engine, SILENT_MS);
    watch.turn(&engine, 2 * SILENT_MS);
    watch.turn(&engine, 3 * SILENT_MS);
    wait(&told, &["shop out-of-sync"]);
    engine.shutdown(Duration::from_secs(10)).expect("ends");

    let engine = start(&disk, &told);
    let mut watch = Watch::new(vec!["shop".into()]);
    [0, SILENT_MS, 2 * SILENT_MS].into_iter().for_each(|at| watch.turn(&engine, at));
    assert_eq!(receive(&engine, 5, &[2, 4, 5]).mark, 5);
    watch.turn(&engine, 3 * SILENT_MS);
    watch.turn(&engine, 4 * SILENT_MS);
    wait(&told, &["shop in-sync"]);
    assert_eq!(engine.mark("gap/shop/7").expect("reads"), None);
    engine.shutdown(Duration::from_secs(10)).expect("ends");
}

#[test]
fn a_sender_that_is_heard_tells_of_its_gaps_itself() {
    let (disk, told) = (MemoryDisk::new(), Told::default());
    let engine = start(&disk, &told);
    let mut watch = Watch::new(vec!["shop".into()]);
    for round in 0..10 {
        receive(&engine, 5, &[1, 3]);
        watch.turn(&engine, round * (SILENT_MS - 1));
        // It is heard at another time than before.
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(engine.mark("gap/shop/7").expect("reads"), None);
    engine.shutdown(Duration::from_secs(10)).expect("ends");
    assert_eq!(told.take(), Vec::<String>::new());
}
