//! `verify --repair`: every index emptied or wrong in turn, found, mended, and found whole; then everything is delivered.
//!
//! The control is in the same test: before the repair `verify` complains, or the registry refuses to open.

#![cfg(feature = "cli")]

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::{Destination, Settings, Turn};
use goniec::model::{Abandoned, Id, Message, NodeTag, Place, Queued, Stamp, State, WallMs};
use goniec::store::sled::{Options, SledStore, repair, salvage, verify};
use goniec::store::{Batch, Expect, Incoming, Move, Note, Store, StoreError};

const NOW: Stamp = Stamp { wall: WallMs(1_790_000_000_000), mono_ms: 0 };
const CACHE_BYTES: u64 = 4 << 20;

fn options() -> Options {
    Options { cache_bytes: CACHE_BYTES, ballast_bytes_max: 0, ..Options::default() }
}

fn step(place: Place, to: State, untold: bool) -> Move {
    let expect = Expect { state: State::Queued(Queued::Ready), attempts: 0, revision: 1 };
    Move { place, expect, to, by: None, attempts: 1, series: 1, attempt: None, amend: None, untold }
}

/// 270 chunks, so that one range of keys is full; every third message waits, delivered and abandoned ones between. Gives the ids that wait.
fn filled(dir: &Path) -> HashSet<Id> {
    let store = SledStore::open(dir, options()).expect("opens");
    let dests = [store.destination("erp").expect("a number"), store.destination("shop").expect("a number")];
    let mut waiting = HashSet::new();
    for round in 0..270_u64 {
        let accepts = (0..3_u64)
            .map(|n| {
                let at = usize::try_from(n % 2).expect("small");
                let draft = Message::to(["erp", "shop"][at]).key(format!("sku:{round}:{n}")).body(b"{}".to_vec());
                // Every tenth round keeps ids that were given elsewhere.
                let elsewhere = || Id::compose(WallMs(7 + round), NodeTag::new(9), Place::new(90_000 + round, 1));
                let id = (round % 10 == 0 && n == 0).then(elsewhere);
                Incoming { id, ..Incoming::new(draft, dests[at]) }
            })
            .collect();
        let now = WallMs(NOW.wall.0 - 1000 + round);
        let done = store.commit(&Batch { now, accepts, ..Batch::default() }).expect("commits");
        let _new = waiting.insert(done.accepted[0].0);
        let moves = vec![
            step(done.accepted[1].1, State::Delivered, false),
            step(done.accepted[2].1, State::Abandoned(Abandoned::Rejected), round % 2 == 0),
        ];
        let _done = store.commit(&Batch { now, moves, ..Batch::default() }).expect("commits");
    }
    store.close().expect("closes");
    waiting
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let target = to.join(entry.file_name());
        if entry.metadata().expect("reads").is_dir() {
            copy(&entry.path(), &target);
        } else {
            let _bytes = std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// What is done to a tree.
#[derive(Debug, Clone, Copy)]
enum Wreck {
    Emptied,
    /// Every row gone whose key begins like this.
    Without(u8),
    /// A bit of every row flipped.
    Flipped,
    /// Entries that name nothing, and every second one gone.
    Wrong,
}

const WRECKS: [(&str, Wreck); 14] = [
    ("open", Wreck::Emptied),
    ("open", Wreck::Wrong),
    ("bad", Wreck::Emptied),
    ("bad", Wreck::Wrong),
    ("untold", Wreck::Emptied),
    ("untold", Wreck::Wrong),
    ("alias", Wreck::Emptied),
    ("alias", Wreck::Flipped),
    ("keys", Wreck::Emptied),
    ("keys", Wreck::Flipped),
    ("meta", Wreck::Emptied),
    ("meta", Wreck::Flipped),
    ("meta", Wreck::Without(b'c')),
    ("meta", Wreck::Without(b'd')),
];

/// Does it behind everybody's back. Threads of the storage engine may hold its lock a moment longer than the registry.
fn wreck(dir: &Path, tree: &str, how: Wreck) {
    let until = Instant::now() + Duration::from_secs(5);
    let db = loop {
        match sled::Config::new().path(dir.join("sled")).segment_size(2 << 20).open() {
            Ok(db) => break db,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        // Polls until the lock is free; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(5));
    };
    let tree = db.open_tree(tree).expect("is there");
    let rows: Vec<_> = tree.iter().map(|row| row.expect("reads")).collect();
    assert!(!rows.is_empty(), "there is something to wreck");
    for (number, (key, row)) in rows.iter().enumerate() {
        let goes = match how {
            Wreck::Emptied => true,
            Wreck::Without(first) => key.first() == Some(&first),
            Wreck::Flipped => false,
            Wreck::Wrong => number % 2 == 0,
        };
        if goes {
            let _row = tree.remove(key).expect("removes");
        } else if matches!(how, Wreck::Flipped) {
            let mut bytes = row.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let _row = tree.insert(key, bytes).expect("writes");
        }
    }
    if matches!(how, Wreck::Wrong) {
        for stranger in [3_u64, 77 << 8 | 60, 1 << 40] {
            let _row = tree.insert(stranger.to_be_bytes(), b"").expect("writes");
        }
    }
    let _bytes = db.flush().expect("flushes");
}

/// Runs the engine until everything that waited has been delivered.
fn delivers(dir: &Path, waiting: &HashSet<Id>) {
    let store = Arc::new(SledStore::open(dir, options()).expect("opens"));
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let sink = |name: &str| {
        let seen = seen.clone();
        Destination::new(name, move |message: &Message| {
            let _new = seen.lock().expect("is whole").insert(message.id());
        })
    };
    let mut turn =
        Turn::open(store, vec![sink("erp"), sink("shop")], Settings::default(), Vec::new(), NOW).expect("starts");
    for _ in 0..1000 {
        if seen.lock().expect("is whole").len() >= waiting.len() {
            break;
        }
        turn.turn(NOW).expect("turns");
    }
    assert_eq!(&*seen.lock().expect("is whole"), waiting);
}

fn complains(dir: &Path) -> bool {
    verify(dir, CACHE_BYTES).map_or(true, |found| !found.problems.is_empty())
}

#[test]
fn every_index_is_built_anew() {
    let whole = tempfile::tempdir().expect("a directory");
    let waiting = filled(whole.path());
    assert!(!complains(whole.path()), "{:?}", verify(whole.path(), CACHE_BYTES));
    for (tree, how) in WRECKS {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        wreck(dir.path(), tree, how);
        assert!(complains(dir.path()), "{tree} {how:?}: nothing found");
        let done = repair(dir.path(), &options()).unwrap_or_else(|error| panic!("{tree} {how:?}: {error}"));
        assert!(!done.mended.is_empty() && done.left.problems.is_empty(), "{tree} {how:?}: {done:?}");
        assert!(!complains(dir.path()), "{tree} {how:?}: {:?}", verify(dir.path(), CACHE_BYTES));
        assert_eq!(repair(dir.path(), &options()).expect("repairs").mended, [""; 0], "{tree} {how:?}: again");
        delivers(dir.path(), &waiting);
    }
}

/// Notes follow from nothing: a repair of all else keeps them, and of one that is damaged it says so.
#[test]
fn notes_are_kept_by_a_repair_and_a_damaged_one_is_said() {
    let whole = tempfile::tempdir().expect("a directory");
    let waiting = filled(whole.path());
    let note = Note { key: b"p/erp".to_vec(), value: b"paused".to_vec() };
    let store = SledStore::open(whole.path(), options()).expect("opens");
    // The newest commit of all holds nothing but the note.
    store.commit(&Batch { now: NOW.wall, notes: vec![note], ..Batch::default() }).expect("commits");
    store.close().expect("closes");
    drop(store);
    let read = |dir: &Path| {
        let store = SledStore::open(dir, options()).expect("opens");
        let note = store.note(b"p/erp");
        store.close().expect("closes");
        note
    };
    for tree in ["meta", "open", "keys"] {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        wreck(dir.path(), tree, Wreck::Emptied);
        assert_eq!(repair(dir.path(), &options()).expect("repairs").left.problems, [""; 0], "{tree}");
        assert_eq!(read(dir.path()).expect("reads").as_deref(), Some(&b"paused"[..]), "{tree}");
        delivers(dir.path(), &waiting);
    }
    let into = tempfile::tempdir().expect("a directory");
    let salvaged = salvage(whole.path(), into.path(), options(), &|note, _| Some(note)).expect("salvages");
    assert_eq!(salvaged.missing, [""; 0]);
    assert_eq!(read(into.path()).expect("reads").as_deref(), Some(&b"paused"[..]));
    wreck(whole.path(), "note", Wreck::Flipped);
    assert!(complains(whole.path()));
    let left = repair(whole.path(), &options()).expect("repairs").left.problems;
    assert!(left.len() == 1 && left[0].contains("the note \"p/erp\""), "{left:?}");
    assert!(matches!(read(whole.path()), Err(StoreError::Damaged(_))));
    delivers(whole.path(), &waiting);
}

#[test]
fn a_repair_that_was_interrupted_is_repaired() {
    let whole = tempfile::tempdir().expect("a directory");
    let waiting = filled(whole.path());
    for tree in ["open", "bad", "untold", "alias", "keys", "meta"] {
        wreck(whole.path(), tree, Wreck::Emptied);
    }
    let mut interrupted = 0;
    for stop in 0..100 {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        let steps = AtomicU32::new(0);
        let fault = move |_| match steps.fetch_add(1, Ordering::SeqCst) {
            step if step < stop => Ok(()),
            _ => Err(std::io::Error::other("interrupted")),
        };
        let outcome = repair(dir.path(), &Options { fault: Some(Arc::new(fault)), ..options() });
        let is_done = outcome.is_ok();
        if !is_done {
            interrupted += 1;
            let done = repair(dir.path(), &options()).unwrap_or_else(|error| panic!("after {stop} steps: {error}"));
            assert_eq!(done.left.problems, [""; 0], "after {stop} steps");
        }
        if is_done || stop % 3 == 0 {
            delivers(dir.path(), &waiting);
        }
        if is_done {
            break;
        }
    }
    assert!((4..100).contains(&interrupted), "{interrupted} interruptions");
}

#[test]
fn the_verb_says_what_it_mended_and_a_lost_status_stays_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let _waiting = filled(dir.path());
    let run = |repair: &[&str]| {
        let mut goniec = Command::new(env!("CARGO_BIN_EXE_goniec"));
        let done = goniec.arg("verify").args(repair).arg("--data").arg(dir.path()).output().expect("runs");
        let text = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    wreck(dir.path(), "open", Wreck::Emptied);
    let (code, text) = run(&[]);
    assert!(code == Some(1) && text.contains("verify --repair"), "{code:?} {text}");
    let (code, text) = run(&["--repair"]);
    assert!(code == Some(0) && text.contains("mended: index, tree open: 270 rows"), "{code:?} {text}");
    assert_eq!(run(&[]).0, Some(0));
    wreck(dir.path(), "stat", Wreck::Wrong);
    let (code, text) = run(&["--repair"]);
    assert!(code == Some(1) && text.contains("salvage"), "{code:?} {text}");
}
