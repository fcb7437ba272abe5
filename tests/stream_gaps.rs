//! A gap in a stream that comes in is told where it is seen, where its sender says nothing any more: once, also over a start, and once that it is closed.
//!
//! And its sender tells of numbers that it does not know to have given.
//!
//! The controls: while the sender is heard its receiver tells nothing, and numbers that wait are not told.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/told.rs"]
mod told;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::{
    Agreement, Alert, Channel, Destination, Engine, Heard, Item, Received, Rule, Settings, Side, Stream, StreamShown,
};
use goniec::model::ledger::{Content, Entry, Page};
use goniec::model::{Abandoned, Envelope, Id, NodeTag, Place, State, WallMs};
use goniec::source::{Keeper, Ledgers, Numbered, SILENT_MS, Watch};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::{Error, Message};
use told::Told;

/// After so long a sender tells of a gap.
const MINUTE_MS: u64 = 60_000;

fn start(disk: &MemoryDisk, told: &Told) -> Engine {
    // Whom only this destination concerns is told of sources too.
    start_with(disk, vec![Rule { destinations: vec!["erp".into()], ..Rule::all(told.clone(), 0) }])
}

fn start_with(disk: &MemoryDisk, rules: Vec<Rule>) -> Engine {
    let store = Arc::new(MemoryStore::open(disk).expect("opens"));
    let erp = Destination::new("erp", |_: &Message| ());
    Engine::start(store, vec![erp], Settings::default(), rules).expect("starts")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        // The engine tells on a thread of its own.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Takes these numbers of a sender that gave so many.
fn receive(engine: &Engine, last: u64, numbers: &[u64]) -> Heard {
    receive_in(engine, 7, last, numbers)
}

fn receive_in(engine: &Engine, epoch: u64, last: u64, numbers: &[u64]) -> Heard {
    let item = |n: u64| {
        let draft = Message::to("erp").header("goniec-source", "shop").body(n.to_string().into_bytes());
        Item { n, id: Id::compose(WallMs(9), NodeTag::new(1), Place::new(n, 0)), revision: 1, drafts: vec![draft] }
    };
    let items = numbers.iter().map(|n| item(*n)).collect();
    let (said, heard) = channel();
    let received = Received { source: "shop".into(), epoch, last, ended: Vec::new(), items };
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
    wait(&told, &["shop source-gap"]);
    // Until it is written down that everybody was told, a start tells it again.
    let mut at = 3 * SILENT_MS;
    until("it is written down", || {
        at += SILENT_MS;
        watch.turn(&engine, at);
        engine.mark("gap/shop/7").expect("reads").is_some()
    });
    engine.shutdown(Duration::from_secs(10)).expect("ends");

    let engine = start(&disk, &told);
    let mut watch = Watch::new(vec!["shop".into()]);
    [0, SILENT_MS, 2 * SILENT_MS].into_iter().for_each(|at| watch.turn(&engine, at));
    assert_eq!(receive(&engine, 5, &[2, 4, 5]).mark, 5);
    let mut at = 3 * SILENT_MS;
    until("it is forgotten", || {
        at += SILENT_MS;
        watch.turn(&engine, at);
        engine.mark("gap/shop/7").expect("reads").is_none()
    });
    wait(&told, &["shop source-whole"]);
    engine.shutdown(Duration::from_secs(10)).expect("ends");
}

#[test]
fn a_gap_of_which_nobody_was_told_is_told_after_a_start() {
    let (disk, told) = (MemoryDisk::new(), Told::default());
    let watch_over = |engine: &Engine| {
        let mut watch = Watch::new(vec!["shop".into()]);
        [0, SILENT_MS, 2 * SILENT_MS].into_iter().for_each(|at| watch.turn(engine, at));
    };
    let engine = start_with(&disk, Vec::new());
    receive(&engine, 5, &[1, 3]);
    watch_over(&engine);
    assert_eq!(engine.mark("gap/shop/7").expect("reads"), None);
    engine.shutdown(Duration::from_secs(10)).expect("ends");
    let engine = start(&disk, &told);
    receive(&engine, 5, &[]);
    watch_over(&engine);
    wait(&told, &["shop source-gap"]);
    engine.shutdown(Duration::from_secs(10)).expect("ends");
}

/// A person who writes down why.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<String>>);

impl Channel for Words {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.0.lock().expect("whole").extend(alert.detail.clone());
        Ok(())
    }

    fn name(&self) -> String {
        "words".into()
    }
}

#[test]
fn the_gap_of_each_epoch_is_told_in_its_own_words() {
    let (disk, words) = (MemoryDisk::new(), Words::default());
    let engine = start_with(&disk, vec![Rule::all(words.clone(), 0)]);
    let mut watch = Watch::new(vec!["shop".into()]);
    [7, 8].into_iter().for_each(|epoch| drop(receive_in(&engine, epoch, 5, &[1, 3])));
    let mut at = 0;
    until("both are told, and that is written down", || {
        watch.turn(&engine, at);
        at += SILENT_MS;
        ["gap/shop/7", "gap/shop/8"].iter().all(|name| engine.mark(name).expect("reads").is_some())
    });
    engine.shutdown(Duration::from_secs(10)).expect("ends");
    let words = words.0.lock().expect("whole").clone();
    assert!(["epoch 7 ", "epoch 8 "].iter().all(|epoch| words.contains(epoch)), "{words}");
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

/// A registry in which another message lies where that of a number lay, given up.
struct Another(StreamShown);

impl Ledgers for Another {
    fn streams(&self) -> Vec<StreamShown> {
        vec![self.0.clone()]
    }

    fn page(&self, stream: &Stream, _page: u64) -> Result<Page, Error> {
        let place = Place::new(1, 0);
        let content = Content::of(Id::compose(WallMs(1), NodeTag::new(1), place), 1, &Envelope::default(), b"{}");
        let mut page = Page::default();
        page.set(stream.number(4).at().1, Entry::There(place, content));
        Ok(page)
    }

    fn message(&self, stream: &Stream, _n: u64, now: WallMs) -> Result<Option<Numbered>, Error> {
        let id = Id::compose(WallMs(1), NodeTag::new(1), Place::new(1, 0));
        let state = State::Abandoned(Abandoned::Cancelled);
        Ok(Some(Numbered { id, state, at: now, number: stream.number(9) }))
    }

    fn resend(&mut self, _id: Id, _why: &str, _reply: Box<dyn FnOnce(Result<(), Error>) + Send>) {}

    fn tell(&self, _stream: &Stream, _agreement: Agreement, _words: String) {}
}

#[test]
fn what_became_of_another_message_fills_no_hole() {
    let stream = Stream { side: Side::Out, name: "peer".into(), epoch: 7 };
    let shown = StreamShown {
        stream: stream.clone(),
        is_current: true,
        last: 5,
        mark: 5,
        theirs: 3,
        gap_since: None,
        heard_at: None,
    };
    let mut node = Another(shown);
    let mut keeper = Keeper::new(vec!["peer".into()]);
    let heard = Heard { took: Vec::new(), mark: 3, highest: 5, holes: vec![(4, 4)] };
    keeper.heard(&mut node, &stream, &heard, 0, WallMs(1)).expect("reads");
    let words = keeper.due(&node, MINUTE_MS, WallMs(2));
    assert_eq!(words.len(), 1);
    assert_eq!(words[0].ended, [], "number 4 is not what number 9 is");
}

/// A registry that gave so many numbers, of which all wait.
struct Waiting {
    shown: StreamShown,
    told: Mutex<Vec<String>>,
}

impl Ledgers for Waiting {
    fn streams(&self) -> Vec<StreamShown> {
        vec![self.shown.clone()]
    }

    fn page(&self, _stream: &Stream, _page: u64) -> Result<Page, Error> {
        Ok(Page::default())
    }

    fn message(&self, _stream: &Stream, _n: u64, _now: WallMs) -> Result<Option<Numbered>, Error> {
        Ok(None)
    }

    fn resend(&mut self, _id: Id, _why: &str, _reply: Box<dyn FnOnce(Result<(), Error>) + Send>) {}

    fn tell(&self, _stream: &Stream, _agreement: Agreement, words: String) {
        self.told.lock().expect("whole").push(words);
    }
}

#[test]
fn numbers_of_which_a_registry_that_was_set_back_knows_nothing_are_told_and_those_that_wait_are_not() {
    let stream = Stream { side: Side::Out, name: "peer".into(), epoch: 7 };
    for (holes, is_current, told) in
        [(vec![(4, 5), (7, 8)], true, 1), (vec![(4, 5)], true, 0), (vec![(4, 8)], false, 0)]
    {
        let shown = StreamShown {
            stream: stream.clone(),
            is_current,
            last: 5,
            mark: 3,
            theirs: 3,
            gap_since: None,
            heard_at: None,
        };
        let mut node = Waiting { shown, told: Mutex::default() };
        let mut keeper = Keeper::new(vec!["peer".into()]);
        let heard = Heard { took: Vec::new(), mark: 3, highest: 3, holes };
        for at in [0, MINUTE_MS, 2 * MINUTE_MS] {
            keeper.heard(&mut node, &stream, &heard, at, WallMs(at)).expect("reads");
        }
        let words = node.told.lock().expect("whole").clone();
        assert_eq!(words.len(), told, "{words:?}");
        assert!(words.iter().all(|words| words.contains("; 2 numbers were told there")), "{words:?}");
    }
}
