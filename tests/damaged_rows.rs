//! The engine over a registry with a damaged row: whoever touches it hears so, and everybody else goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use goniec::engine::{Act, Destination, Reply, Settings, Turn};
use goniec::model::{Abandoned, Queued, Stamp, State, WallMs};
use goniec::store::sled::{Options, SledStore};
use goniec::store::{Batch, Expect, Incoming, Move, Retention, Store, StoreError};
use goniec::{Error, Id, Message};

const NOW: Stamp = Stamp { wall: WallMs(1_790_000_000_000), mono_ms: 0 };

fn open(dir: &Path) -> Turn {
    let options = Options { cache_bytes: 8 << 20, ballast_bytes_max: 0, ..Options::default() };
    let store = Arc::new(SledStore::open(dir, options).expect("opens"));
    let erp = Destination::new("erp", |_: &Message| ());
    Turn::open(store, vec![erp], Settings::default(), Vec::new(), NOW).expect("opens")
}

fn reply<T: Send + 'static>() -> (Reply<T>, Receiver<Result<T, Error>>) {
    let (give, take) = channel();
    (Box::new(move |answer| give.send(answer).expect("somebody waits")), take)
}

/// Accepts one message that waits for tomorrow, so that nothing sends it.
fn accept(turn: &mut Turn, key: &str) -> Receiver<Result<Vec<Id>, Error>> {
    let (give, take) = reply();
    let mut draft = Message::to("erp").key(key).body(key.as_bytes().to_vec());
    draft.envelope.not_before = Some(NOW.wall.plus(86_400_000));
    turn.accept(vec![draft], give);
    take
}

/// Flips a byte in the row that holds the messages of the first chunk, under the eyes of nobody.
fn damage(dir: &Path) {
    let db = sled::Config::new().path(dir.join("sled")).segment_size(2 << 20).open().expect("opens");
    let chunks = db.open_tree("chunk").expect("is there");
    let (key, row) = chunks.iter().next().expect("a row").expect("reads");
    let mut bytes = row.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    chunks.insert(key, bytes).expect("writes");
    db.flush().expect("flushes");
}

fn life(dir: &Path, is_damaged: bool) -> Vec<String> {
    let mut turn = open(dir);
    let first = accept(&mut turn, "a");
    turn.turn(NOW).expect("turns");
    let id = first.recv().expect("an answer").expect("accepted")[0];
    drop(turn);
    if is_damaged {
        damage(dir);
    }
    let mut turn = open(dir);
    let (give, deleted) = reply();
    turn.act(id, Act::Delete, give);
    let others: Vec<_> = (0..3).map(|n| accept(&mut turn, &format!("b{n}"))).collect();
    turn.turn(NOW).expect("one damaged row does not stop the engine");
    let mut heard = Vec::new();
    heard.push(match deleted.recv().expect("an answer") {
        Ok(_) => "deleted".to_owned(),
        Err(Error::Store(StoreError::Damaged(_))) => "damaged".to_owned(),
        Err(other) => panic!("{other}"),
    });
    for other in others {
        let id = other.recv().expect("an answer").expect("accepted beside a damaged row")[0];
        assert_eq!(turn.message(id).expect("is there").id(), id);
        heard.push("accepted".to_owned());
    }
    // And it goes on: the next one is taken as well.
    let next = accept(&mut turn, "c");
    turn.turn(NOW).expect("turns");
    next.recv().expect("an answer").expect("accepted");
    heard
}

#[test]
fn a_damaged_row_is_its_own_callers_trouble_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(life(dir.path(), true), ["damaged", "accepted", "accepted", "accepted"]);
}

#[test]
fn the_control_without_damage_deletes() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(life(dir.path(), false), ["deleted", "accepted", "accepted", "accepted"]);
}

/// Ten chunks of a delivered message and one that somebody must still be told of.
fn filled(dir: &Path) {
    let store = SledStore::open(dir, Options { ballast_bytes_max: 0, ..Options::default() }).expect("opens");
    let dest = store.destination("erp").expect("a number");
    for n in 0..10 {
        let incoming = |bytes| {
            let draft = Message::to("erp").body(vec![n; bytes]);
            Incoming { draft, dest, wait: Queued::Ready, id: None }
        };
        let accepts = vec![incoming(8_000), incoming(8_000)];
        let done = store.commit(&Batch { now: NOW.wall, accepts, ..Batch::default() }).expect("commits");
        let expect = Expect { state: State::Queued(Queued::Ready), attempts: 0, revision: 1 };
        let ends = [(State::Delivered, false), (State::Abandoned(Abandoned::Rejected), true)];
        let step = |(at, (to, untold)): (usize, (State, bool))| {
            let place = done.accepted[at].1;
            Move { place, expect, to, by: None, attempts: 1, series: 1, attempt: None, amend: None, untold }
        };
        let moves = ends.into_iter().enumerate().map(step).collect();
        let _done = store.commit(&Batch { now: NOW.wall, moves, ..Batch::default() }).expect("commits");
    }
    store.close().expect("closes");
}

/// How many messages retention removes, and how many are left.
fn retained(dir: &Path) -> (u64, u64) {
    let store = SledStore::open(dir, Options { ballast_bytes_max: 0, ..Options::default() }).expect("opens");
    let rule = Retention { delivered_ms: 1, abandoned_ms: 1, bodies_ms: 1, step_max: 4 };
    let mut removed = 0;
    for _ in 0..20 {
        let done = store.retain(&rule, NOW.wall.plus(86_400_000)).expect("a damaged chunk ends no step");
        removed += done.messages;
        if !done.more {
            break;
        }
    }
    let left = store.counts().iter().map(|count| count.messages).sum();
    (removed, left)
}

#[test]
fn retention_passes_over_a_damaged_chunk() {
    for (is_damaged, expected) in [(false, (10, 10)), (true, (9, 11))] {
        let dir = tempfile::tempdir().expect("a directory");
        filled(dir.path());
        if is_damaged {
            damage(dir.path());
        }
        assert_eq!(retained(dir.path()), expected, "damaged: {is_damaged}");
    }
}
