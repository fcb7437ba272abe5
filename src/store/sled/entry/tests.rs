//! Bodies that several messages have, over whatever becomes of each of them.

use std::path::Path;
use std::sync::Arc;

use super::super::layout::{ROW_BYTES_MAX, Tree};
use super::super::{Options, SledStore, export, import, salvage, verify};
use super::*;
use crate::model::policy::scatter;
use crate::model::{Body, Message, Place, State};
use crate::store::{Amendment, Batch, Incoming, Move, Retention, Store};

fn options() -> Options {
    Options { cache_bytes: 8 << 20, ballast_bytes_max: 0, reserve_bytes_max: 0, ..Options::default() }
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, options()).expect("opens")
}

fn body(bytes: usize, of: u8) -> Body {
    Arc::from(vec![of; bytes])
}

/// Accepts, of each of these bodies, one message for each of these destinations; the bytes of one are not those of the other.
fn fan_out(store: &SledStore, destinations: usize, bodies: &[&Body]) -> Vec<Place> {
    let accept = |body: &Body, number: usize| {
        let name = format!("to-{number}");
        let dest = store.destination(&name).expect("a number");
        Incoming::new(Message::to(&*name).key(format!("order:{number}")).body(body.to_vec()), dest)
    };
    let accepts = bodies.iter().flat_map(|body| (0..destinations).map(|number| accept(body, number)));
    let batch = Batch { now: WallMs(1_000), accepts: accepts.collect(), ..Batch::default() };
    store.commit(&batch).expect("commits").accepted.into_iter().map(|(_, place)| place).collect()
}

fn delete(store: &SledStore, place: Place) {
    let done = store.commit(&Batch { now: WallMs(2_000), deletes: vec![place], ..Batch::default() }).expect("commits");
    assert_eq!(done.deleted, [true]);
}

/// A step to this state, perhaps with another body.
fn step(store: &SledStore, place: Place, to: State, body: Option<Body>) {
    let loaded = store.load(place).expect("loads").expect("is there");
    let amend = body.map(|body| Amendment { body, content_type: None, who: "ann".into(), why: "typo".into() });
    let (expect, attempts) = (loaded.expect, loaded.expect.attempts);
    let move_ = Move { place, expect, to, by: None, attempts, series: 0, attempt: None, amend, untold: false };
    store.commit(&Batch { now: WallMs(2_000), moves: vec![move_], ..Batch::default() }).expect("commits");
}

/// How many rows of bodies and envelopes in parts there are.
fn parts(store: &SledStore) -> usize {
    let count = store.read(|view| {
        let mut walk = view.trees.under(Tree::Part, b"")?;
        Ok(std::iter::from_fn(|| walk.forth()).count())
    });
    count.expect("reads")
}

/// The bytes of the chunk in which this message lies.
fn chunk_bytes(store: &SledStore, place: Place) -> usize {
    let key = place.chunk().to_be_bytes();
    let bytes = store.read(|view| view.trees.row(Tree::Chunk, &key, |row| Some(row.body.len())));
    bytes.expect("reads").unwrap_or(0)
}

#[test]
fn a_body_is_written_once_whoever_goes_first() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (bytes, in_parts) in [(1, 0), (5_000, 0), (ROW_BYTES_MAX, 1), (100_000, 6)] {
        for order in orders {
            let dir = tempfile::tempdir().expect("a directory");
            let mut store = open(dir.path());
            let whole = body(bytes, 7);
            // Of the other one, which stays in the chunk, nothing is to be told.
            let places = fan_out(&store, 3, &[&whole, &body(1, 9)]);
            assert_eq!(parts(&store), in_parts, "{bytes} bytes are written once");
            let inline = if in_parts == 0 { bytes } else { 0 };
            assert!(chunk_bytes(&store, places[0]) < inline + 1_000, "{bytes} bytes are written once");
            for (number, gone) in order.into_iter().enumerate() {
                delete(&store, places[gone]);
                store.close().expect("closes");
                drop(store);
                assert_eq!(verify(dir.path(), 8 << 20).expect("opens").problems, [""; 0]);
                store = open(dir.path());
                for left in order.into_iter().skip(number + 1) {
                    let loaded = store.load(places[left]).expect("loads").expect("is there");
                    assert!(loaded.message.body == whole, "message {left} of {bytes} bytes after {order:?}");
                }
            }
            assert_eq!(parts(&store), 0, "nobody needs {bytes} bytes any more, deleted as {order:?}");
        }
    }
}

#[test]
fn an_edit_is_for_one_destination_and_retention_leaves_what_another_needs() {
    for bytes in [5_000, 50_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let places = fan_out(&store, 3, &[&body(bytes, 7)]);
        step(&store, places[1], State::Queued(crate::model::Queued::Ready), Some(body(bytes, 8)));
        let read = |place: Place| store.load(place).expect("loads").map(|loaded| loaded.message.body);
        assert_eq!(
            places.iter().map(|place| read(*place)).collect::<Vec<_>>(),
            [7, 8, 7].map(|of| Some(body(bytes, of)))
        );
        step(&store, places[0], State::Delivered, None);
        let rule = Retention { delivered_ms: 5_000, abandoned_ms: 5_000, bodies_ms: 1_000, step_max: 100 };
        let done = store.retain(&rule, WallMs(4_000)).expect("retains");
        assert_eq!((done.messages, done.bodies), (0, 1));
        assert_eq!(read(places[0]), None, "its body is gone, although another has the same");
        assert!(store.revision(places[0], 1).expect("reads").is_some_and(|revision| revision.body.is_none()));
        let first = store.revision(places[1], 1).expect("reads").and_then(|revision| revision.body);
        assert_eq!((first, read(places[2])), (Some(body(bytes, 7)), Some(body(bytes, 7))));
        store.retain(&rule, WallMs(9_000)).expect("retains");
        assert!(store.get(places[0]).expect("reads").is_none());
        assert_eq!(read(places[2]), Some(body(bytes, 7)));
        delete(&store, places[1]);
        assert_eq!(read(places[2]), Some(body(bytes, 7)));
        delete(&store, places[2]);
        assert_eq!(parts(&store), 0);
    }
}

/// What there is to be of one message: its bodies, the newest last; those that were removed too.
struct Known {
    place: Place,
    bodies: Vec<Body>,
}

/// Compares every message with what is known of it.
fn compare(store: &SledStore, known: &[Known], seed: u64) {
    for one in known {
        let revisions = store.revisions(one.place).expect("reads");
        assert_eq!(revisions.len(), one.bodies.len(), "seed {seed}, {}", one.place);
        for (revision, body) in revisions.iter().zip(&one.bodies) {
            assert!(revision.body.as_ref().is_none_or(|read| read == body), "seed {seed}, {}", one.place);
        }
        let record = store.get(one.place).expect("reads").expect("is there");
        let is_bare = revisions.iter().all(|revision| revision.body.is_none());
        assert_eq!(record.body_bytes.is_none(), is_bare, "seed {seed}, {}", one.place);
        assert!(!is_bare || record.state.is_final(), "seed {seed}, {}: a body is gone that may be sent", one.place);
    }
}

/// Ends the store and gives what verification, export with import, and salvage make of it.
fn carried(store: SledStore, dir: &Path, seed: u64) -> Vec<SledStore> {
    store.close().expect("closes");
    drop(store);
    assert_eq!(verify(dir, 8 << 20).expect("opens").problems, [""; 0], "seed {seed}");
    let mut lines = Vec::new();
    export(dir, 8 << 20, &mut lines, &mut |_, _| {}).expect("exports");
    let (imported, salvaged) = (dir.join("imported"), dir.join("salvaged"));
    import(&mut &*lines, &imported, options(), &|_| true).expect("imports");
    assert_eq!(
        salvage(dir, &salvaged, options(), &|note, _| Some(note)).expect("salvages").missing,
        [""; 0],
        "seed {seed}"
    );
    assert_eq!(verify(&salvaged, 8 << 20).expect("opens").problems, [""; 0], "seed {seed}");
    assert_eq!(verify(&imported, 8 << 20).expect("opens").problems, [""; 0], "seed {seed}");
    vec![open(&imported), open(&salvaged), open(dir)]
}

#[test]
fn whatever_becomes_of_some_the_others_keep_their_bodies() {
    for seed in 0..8 {
        println!("seed of shared bodies: {seed}");
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let mut known: Vec<Known> = Vec::new();
        let mut drawn = 0;
        let mut draw = |below: usize| {
            drawn += 1;
            usize::try_from(scatter(seed << 32 | drawn) % u64::try_from(below).expect("small")).expect("small")
        };
        for _ in 0..150 {
            let at = draw(known.len().max(1));
            let [body, other] = [(); 2].map(|()| body([1, 300, 9_000, 20_000, 60_000][draw(5)], [1, 2][draw(2)]));
            match draw(10) {
                0..=2 => {
                    let (destinations, bodies) = (1 + draw(5), [&body, &other]);
                    let bodies = &bodies[..1 + draw(2)];
                    let places = fan_out(&store, destinations, bodies);
                    let of = bodies.iter().flat_map(|body| std::iter::repeat_n((*body).clone(), destinations));
                    known.extend(places.into_iter().zip(of).map(|(place, body)| Known { place, bodies: vec![body] }));
                }
                3..=5 if !known.is_empty() => delete(&store, known.remove(at).place),
                6 if !known.is_empty() && store.load(known[at].place).expect("loads").is_some() => {
                    let to = store.get(known[at].place).expect("reads").expect("is there").state;
                    step(&store, known[at].place, to, Some(body.clone()));
                    known[at].bodies.push(body);
                }
                7 | 8 if !known.is_empty() && store.load(known[at].place).expect("loads").is_some() => {
                    step(&store, known[at].place, State::Delivered, None);
                }
                _ => {
                    let rule =
                        Retention { delivered_ms: u64::MAX, abandoned_ms: u64::MAX, bodies_ms: 500, step_max: 100 };
                    store.retain(&rule, WallMs(3_000)).expect("retains");
                }
            }
        }
        compare(&store, &known, seed);
        for store in carried(store, dir.path(), seed) {
            compare(&store, &known, seed);
            for (number, one) in known.iter().enumerate() {
                delete(&store, one.place);
                // Those that may have shared with it come next.
                compare(&store, &known[number + 1..known.len().min(number + 6)], seed);
            }
            assert_eq!(parts(&store), 0, "seed {seed}: nobody needs anything any more");
        }
    }
}

#[test]
fn a_registry_of_the_format_before_opens_and_then_says_the_newer_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    // Nothing is shared: so these are rows of that format.
    let places = fan_out(&store, 1, &[&body(100, 1), &body(100, 2)]);
    store.close().expect("closes");
    drop(store);
    let path = dir.path().join("format");
    let says = || std::fs::read_to_string(&path).expect("reads");
    let newer = says();
    assert!(newer.contains("format 3"), "{newer}");
    let older = newer.replace("format 3", "format 2");
    std::fs::write(&path, &older).expect("writes");
    assert_eq!(verify(dir.path(), 8 << 20).expect("opens").problems, [""; 0]);
    assert_eq!(says(), older, "looking changes nothing");
    let store = open(dir.path());
    assert_eq!(says(), newer, "before anything is written");
    let read = places.iter().map(|place| store.load(*place).expect("loads").expect("is there").message.body);
    assert_eq!(read.collect::<Vec<_>>(), [body(100, 1), body(100, 2)]);
    let more = fan_out(&store, 2, &[&body(100, 3)]);
    assert_eq!(store.load(more[1]).expect("loads").expect("is there").message.body, body(100, 3));
    std::fs::write(&path, older.replace("format 2", "format 1")).expect("writes");
    drop(store);
    assert!(SledStore::open(dir.path(), options()).is_err_and(|error| error.to_string().contains("format 1")));
}

#[test]
fn a_row_that_says_what_cannot_be_is_refused() {
    let own = Entry {
        fixed: b"a",
        body: b"same",
        body_bytes: 4,
        kept: Kept::Inline,
        gone: false,
        fixed_in_parts: false,
        owner: None,
    };
    let shared = Entry { fixed: b"b", owner: Some(0), ..own.clone() };
    let row = |list: Vec<Entry<'static>>| Entries { made_at: WallMs(1), list }.write();
    let good = row(vec![own.clone(), shared.clone()]);
    assert_eq!(Entries::read(&good).expect("reads").list, [own.clone(), shared.clone()]);
    assert_eq!(Entries::one(&good, 1), Some(shared.clone()));
    // Itself, one behind it, one that is not there, one that is gone, one of another length.
    let another = Entry { body: b"other", body_bytes: 5, ..own.clone() };
    let wrong = [
        vec![Entry { owner: Some(0), ..shared.clone() }],
        vec![Entry { owner: Some(1), ..shared.clone() }, own.clone()],
        vec![own, Entry { owner: Some(9), ..shared.clone() }],
        vec![Entry::ERASED, shared.clone()],
        vec![another, shared],
    ];
    for list in wrong {
        let slot = list.iter().position(|entry| entry.owner.is_some()).and_then(|slot| u8::try_from(slot).ok());
        let row = row(list);
        assert!(Entries::read(&row).is_none(), "{row:?}");
        assert!(Entries::one(&row, slot.expect("one is shared")).is_none(), "{row:?}");
    }
}
