//! The engine over a registry with a damaged row: whoever touches it hears so, and everybody else goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use goniec::engine::{Act, Destination, Reply, Settings, Turn};
use goniec::model::{
    Abandoned, Backoff, Class, Failure, OnUncertain, Outcome, Policy, Queued, Retry, Sent, Stamp, State, WallMs,
};
use goniec::store::sled::{Options, SledStore};
use goniec::store::{Batch, Expect, Incoming, Move, Note, Retention, StateName, Store, StoreError};
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
    flip_first(dir, "chunk", &[]);
}

/// Flips a byte in the first row of a tree whose key begins so.
fn flip_first(dir: &Path, tree: &str, prefix: &[u8]) {
    let limit = Instant::now() + Duration::from_secs(20);
    // Threads of the storage engine outlive the store that was dropped for a moment, and hold its lock.
    let db = loop {
        match sled::Config::new().path(dir.join("sled")).segment_size(2 << 20).open() {
            Ok(db) => break db,
            Err(error) => assert!(Instant::now() < limit, "{error}"),
        }
    };
    let rows = db.open_tree(tree).expect("is there");
    let (key, row) = rows.scan_prefix(prefix).next().expect("a row").expect("reads");
    let mut bytes = row.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    rows.insert(key, bytes).expect("writes");
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

#[test]
fn a_note_that_is_damaged_hides_none_of_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || SledStore::open(dir.path(), Options { ballast_bytes_max: 0, ..Options::default() }).expect("opens");
    let store = open();
    let notes = (0..5_u8).map(|n| Note { key: vec![b'x', n], value: vec![n; 9] }).collect();
    let committed = store.commit(&Batch { notes, ..Batch::default() }).expect("writes");
    store.sync(committed.number).expect("syncs");
    store.close().expect("closes");
    drop(store);
    flip_first(dir.path(), "note", &[b'x', 1]);
    let store = open();
    let mut seen = Vec::new();
    let read = store.notes(b"x", &mut |key, _| seen.push(key[1]));
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    assert_eq!(seen, [0, 2, 3, 4]);
}

/// Ten chunks of a delivered message and one that somebody must still be told of.
fn filled(dir: &Path) {
    let store = SledStore::open(dir, Options { ballast_bytes_max: 0, ..Options::default() }).expect("opens");
    let dest = store.destination("erp").expect("a number");
    for n in 0..10 {
        let incoming = |bytes| {
            let draft = Message::to("erp").body(vec![n; bytes]);
            Incoming::new(draft, dest)
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

/// What the attempts of the first life say, so that their page is found in the file.
const MARKER: &str = "the-connection-was-refused-by-the-peer";

fn refused() -> Outcome {
    Outcome::Failed(Failure::new(Class::Connect, Sent::Maybe, MARKER))
}

/// Flips a bit of every row of attempts in the file itself, so that the storage engine finds the page broken. How many there were.
fn break_page_of_attempts(dir: &Path) -> usize {
    // Closed twice, so that the rows are in a snapshot's pages and not in what is read at the next start.
    SledStore::open(dir, Options { ballast_bytes_max: 0, ..Options::default() })
        .expect("opens")
        .close()
        .expect("closes");
    let path = dir.join("sled/db");
    let mut bytes = std::fs::read(&path).expect("reads");
    let found: Vec<usize> = bytes
        .windows(MARKER.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == MARKER.as_bytes())
        .map(|(at, _)| at)
        .collect();
    found.iter().for_each(|at| bytes[*at] ^= 1);
    std::fs::write(&path, bytes).expect("writes");
    found.len()
}

/// A message whose attempts fail, over a registry in which attempts may not be readable; how often it went out in half an hour, whether it is said,
/// and whether another message is taken and delivered.
fn attempts_after(is_broken: bool) -> (usize, bool, bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let retry = Retry { backoff: Backoff::Fixed(60_000), jitter_permille: 0, attempts: 9 };
    let policy = Policy { retry, on_uncertain: OnUncertain::Retry };
    let open = |sent: Arc<AtomicUsize>| {
        let store = SledStore::open(dir.path(), Options { ballast_bytes_max: 0, ..Options::default() }).expect("opens");
        let mut bad = Destination::new("bad", move |_: &Message| {
            sent.fetch_add(1, Ordering::SeqCst);
            refused()
        });
        bad.policy = policy.clone();
        let lanes = vec![bad, Destination::new("good", |_: &Message| ())];
        Turn::open(Arc::new(store), lanes, Settings::default(), Vec::new(), NOW).expect("opens")
    };
    let send = |turn: &mut Turn, to: &str, now: Stamp| {
        let (give, take) = reply();
        turn.accept(vec![Message::to(to).body(vec![7; 100_000])], give);
        while take.try_recv().map(|ids| ids.expect("accepted")).is_err() {
            turn.turn(now).expect("goes on");
        }
    };
    let first = Arc::new(AtomicUsize::new(0));
    let mut turn = open(first.clone());
    send(&mut turn, "bad", NOW);
    for _ in 0..5 {
        turn.turn(NOW).expect("turns");
    }
    assert_eq!(first.load(Ordering::SeqCst), 1, "one attempt, written down");
    // So much after it that it lies in a segment that a start does not read.
    for _ in 0..60 {
        send(&mut turn, "good", NOW);
    }
    drop(turn);
    if is_broken {
        assert!(break_page_of_attempts(dir.path()) > 0);
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let mut turn = open(sent.clone());
    for second in 0..1_800 {
        let now = Stamp { wall: NOW.wall.plus(second * 1_000), mono_ms: second * 1_000 };
        turn.turn(now).expect("one broken page does not stop the engine");
    }
    let now = Stamp { wall: NOW.wall.plus(1_800_000), mono_ms: 1_800_000 };
    send(&mut turn, "good", now);
    for _ in 0..5 {
        turn.turn(now).expect("turns");
    }
    let stats = turn.stats();
    let delivered = stats.counts.iter().any(|(_, state, messages)| *state == StateName::Delivered && *messages == 61);
    (sent.load(Ordering::SeqCst), !stats.damaged.is_empty(), delivered)
}

#[test]
fn a_message_whose_attempts_cannot_be_written_is_not_sent_over_and_over() {
    assert_eq!(attempts_after(true), (1, true, true), "sent once more, said, and everybody else goes on");
    // The control: sound, it has the eight attempts that are left.
    assert_eq!(attempts_after(false), (8, false, true));
}
