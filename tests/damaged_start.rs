//! A start over damage: what cannot be read is set aside and said, and everything else is delivered.
//!
//! The control is in each test: the same registry without the damage delivers everything and sets nothing aside.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::{Destination, Settings, Turn};
use goniec::error::Error;
use goniec::model::{Message, Place, Queued, Stamp, State, WallMs};
use goniec::store::sled::{Options, SledStore, repair, verify};
use goniec::store::{Batch, Expect, Incoming, Move, Pattern, Query, Store};

const NOW: Stamp = Stamp { wall: WallMs(1_790_000_000_000), mono_ms: 0 };
/// Messages of one commit, and so of one chunk.
const EACH: u64 = 3;
/// The chunk that is damaged.
const SICK: u64 = 3;

fn options() -> Options {
    Options { cache_bytes: 4 << 20, ballast_bytes_max: 0, ..Options::default() }
}

/// What the messages have that these tests need.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// Each has a deadline, in a day.
    Deadline,
    /// The first of each chunk was durably out when the process ended.
    Out,
}

/// Writes commits of [`EACH`] messages to `erp`, until the next chunk is `until`.
fn fill(dir: &Path, until: u64, kind: Kind) {
    let store = SledStore::open(dir, options()).expect("opens");
    let erp = store.destination("erp").expect("a number");
    loop {
        let accepts = (0..EACH).map(|n| {
            let mut draft = Message::to("erp").key(format!("sku:{n}")).body(b"{}".to_vec());
            draft.envelope.idempotency_key = Some(format!("k{n}").into());
            if kind == Kind::Deadline {
                draft = draft.deadline(NOW.wall.plus(86_400_000));
            }
            Incoming::new(draft, erp)
        });
        let now = WallMs(NOW.wall.0 - 1000);
        let done =
            store.commit(&Batch { now, accepts: accepts.collect(), ..Batch::default() }).expect("commits").accepted;
        if kind == Kind::Out {
            let moves = vec![Move {
                place: done[0].1,
                expect: Expect { state: State::Queued(Queued::Ready), attempts: 0, revision: 1 },
                to: State::Sending(1),
                by: None,
                attempts: 0,
                series: 0,
                attempt: None,
                amend: None,
                untold: false,
            }];
            let _done = store.commit(&Batch { now, moves, ..Batch::default() }).expect("commits");
        }
        if done[0].1.chunk() + 1 >= until {
            break;
        }
    }
    store.close().expect("closes");
}

/// Opens the database behind everybody's back. Threads of the storage engine may hold its lock a moment longer than the registry.
fn behind(dir: &Path, act: impl FnOnce(&sled::Db)) {
    let until = Instant::now() + Duration::from_secs(5);
    let db = loop {
        match sled::Config::new().path(dir.join("sled")).segment_size(2 << 20).open() {
            Ok(db) => break db,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        // Polls until the lock is free; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(5));
    };
    act(&db);
    let _bytes = db.flush().expect("flushes");
}

/// Flips a bit in the middle of the row of a chunk.
fn flip(dir: &Path, tree: &str, chunk: u64) {
    behind(dir, |db| {
        let tree = db.open_tree(tree).expect("is there");
        let mut row = tree.get(chunk.to_be_bytes()).expect("reads").expect("is there").to_vec();
        let middle = row.len() / 2;
        row[middle] ^= 1;
        let _row = tree.insert(chunk.to_be_bytes(), row).expect("writes");
    });
}

/// What a run of the engine over this registry delivered, and what it set aside.
fn run(dir: &Path) -> Result<(BTreeSet<Place>, Vec<String>), Error> {
    let store = Arc::new(SledStore::open(dir, options())?);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let sink = {
        let seen = seen.clone();
        Destination::new("erp", move |message: &Message| {
            let _new = seen.lock().expect("is whole").insert(message.id().place());
        })
    };
    let mut turn = Turn::open(store.clone(), vec![sink], Settings::default(), Vec::new(), NOW)?;
    let mut now = NOW;
    for _ in 0..200 {
        if turn.turn(now)?.is_none() {
            break;
        }
        now = Stamp { wall: now.wall.plus(100), mono_ms: now.mono_ms + 100 };
    }
    let damaged = turn.stats().damaged;
    drop(turn);
    store.close()?;
    let seen = seen.lock().expect("is whole").clone();
    Ok((seen, damaged))
}

fn of_chunk(seen: &BTreeSet<Place>, chunk: u64) -> usize {
    seen.iter().filter(|place| place.chunk() == chunk).count()
}

/// A registry of chunks 1 to 6 of this kind, damaged in this tree where one is given, and a run over it.
fn run_over(kind: Kind, tree: Option<&str>) -> (tempfile::TempDir, BTreeSet<Place>, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path(), 7, kind);
    if let Some(tree) = tree {
        flip(dir.path(), tree, SICK);
    }
    let (seen, damaged) = run(dir.path()).expect("starts");
    (dir, seen, damaged)
}

#[test]
fn every_row_that_is_lost_costs_its_own_messages_only_and_is_said() {
    for kind in [Kind::Plain, Kind::Deadline, Kind::Out] {
        let (_dir, seen, damaged) = run_over(kind, None);
        assert_eq!((seen.len(), damaged.len()), (18, 0), "whole: {damaged:?}");
        for tree in ["stat", "chunk"] {
            let (dir, seen, damaged) = run_over(kind, Some(tree));
            assert_eq!((seen.len(), of_chunk(&seen, SICK)), (15, 0), "{tree}: {damaged:?}");
            assert!(damaged.iter().any(|what| what.contains(tree) && what.contains(" 3")), "{tree}: {damaged:?}");
            let unseen = damaged.iter().any(|what| what.starts_with("3 of 18 messages"));
            assert_eq!(unseen, tree == "stat", "{damaged:?}");
            // Nothing of it was made up: it is still there, and still unread, for the next start and for verify.
            let (seen, damaged) = run(dir.path()).expect("starts again");
            assert!(seen.is_empty() && !damaged.is_empty(), "{seen:?} {damaged:?}");
            assert!(!verify(dir.path(), 4 << 20).expect("opens").problems.is_empty());
        }
    }
}

#[test]
fn an_index_that_can_be_built_anew_still_refuses_a_start() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path(), 7, Kind::Plain);
    flip(dir.path(), "stat", SICK);
    behind(dir.path(), |db| {
        let _row = db.open_tree("open").expect("is there").remove(5_u64.to_be_bytes()).expect("removes");
    });
    // Going on would leave the messages of chunk 5, which are whole, undelivered.
    let refused = run(dir.path()).expect_err("refused").to_string();
    assert!(refused.contains("18 messages in 6 chunks wait") && refused.contains("in 5 were found"), "{refused}");
    let _mended = repair(dir.path(), &options()).expect("repairs");
    let (seen, _) = run(dir.path()).expect("starts");
    assert_eq!((seen.len(), of_chunk(&seen, 5)), (15, 3));
}

#[test]
fn a_range_with_a_status_that_is_lost_gets_no_filter_and_is_always_looked_at() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path(), 250, Kind::Plain);
    flip(dir.path(), "stat", SICK);
    fill(dir.path(), 520, Kind::Plain);
    let store = SledStore::open(dir.path(), options()).expect("opens");
    let key = |key: &str| Query { key: Some(Pattern::Exactly(key.into())), limit: 2000, ..Query::default() };
    let page = store.list(&key("sku:1")).expect("lists");
    assert_eq!((page.records.len(), page.damaged.len()), (518, 1), "{:?}", page.damaged);
    // No message has this key; but who asks hears that one may be in what is lost.
    let page = store.list(&key("sku:none")).expect("lists");
    assert_eq!((page.records.len(), page.damaged.len()), (0, 1));
    store.close().expect("closes");
    behind(dir.path(), |db| {
        let filters = db.open_tree("keys").expect("is there");
        let has = |range: u64| filters.contains_key(range.to_be_bytes()).expect("reads");
        assert!(!has(0) && has(1), "the range after it has one");
    });
}
