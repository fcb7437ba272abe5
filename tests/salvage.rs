//! Salvage: what is carried out of a registry whose file is damaged. Rows are broken in the file itself, in every version that lies there.
//!
//! The control of each case is the same registry without the damage, or without the thing that is guarded.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use goniec::model::{Attempt, Class, Delivery, Draft, Failed, Message, Place, Sent, State, WallMs};
use goniec::store::sled::{Options, SledStore, Step, repair, salvage, verify};
use goniec::store::{Amendment, Batch, Expect, Incoming, Move, Note, Query, Store, StoreError};

const NOW: WallMs = WallMs(1_790_000_000_000);
/// The trees, by the number in their rows.
const CHUNK: u8 = 1;
const STAT: u8 = 2;
const META: u8 = 11;

fn options() -> Options {
    Options { cache_bytes: 4 << 20, ballast_bytes_max: 0, ..Options::default() }
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, options()).expect("opens")
}

fn accept(store: &dyn Store, now: WallMs, draft: Draft) -> Place {
    let dest = store.destination(&draft.envelope.destination).expect("a number");
    let incoming = Incoming::new(draft, dest);
    store.commit(&Batch { now, accepts: vec![incoming], ..Batch::default() }).expect("commits").accepted[0].1
}

fn moved(store: &dyn Store, place: Place, to: State, more: impl FnOnce(&mut Move)) {
    let record = store.get(place).expect("reads").expect("is there");
    let expect = Expect { state: record.state, attempts: record.attempts, revision: record.revision };
    let (attempts, series) = (record.attempts, record.series);
    let mut step = Move { place, expect, to, by: None, attempts, series, attempt: None, amend: None, untold: false };
    more(&mut step);
    let done = store.commit(&Batch { now: NOW, moves: vec![step], ..Batch::default() }).expect("commits");
    assert_eq!(done.moved, [goniec::store::Moved::Done]);
}

fn fail(store: &dyn Store, place: Place, number: u16) {
    moved(store, place, State::Failed(Failed::Due(NOW)), |step| {
        step.attempts = number;
        step.attempt = Some(Attempt {
            number,
            revision: 1,
            started_at: NOW,
            duration_ms: 3,
            outcome: Delivery::Retry,
            class: Some(Class::Connect),
            sent: Sent::No,
            status: None,
            detail: "refused".into(),
            response_excerpt: None,
            remote_id: None,
            phases: None,
        });
    });
}

fn edit(store: &dyn Store, place: Place, body: &[u8]) {
    let state = store.get(place).expect("reads").expect("is there").state;
    let amend = Amendment { body: body.into(), content_type: None, who: "anna".into(), why: "typing error".into() };
    moved(store, place, state, |step| step.amend = Some(amend));
}

/// Flips a bit in every row of this tree whose key begins so, in every version that lies in the file. How many there were.
fn break_rows(dir: &Path, tree: u8, key: &[u8]) -> usize {
    let path = dir.join("sled/db");
    let mut bytes = std::fs::read(&path).expect("reads");
    let head = [&[0x9b, b'g', b'n', tree][..]].concat();
    let is_row = |bytes: &[u8]| bytes.starts_with(&head) && bytes.get(5..).is_some_and(|rest| rest.starts_with(key));
    let found: Vec<usize> = (0..bytes.len()).filter(|at| is_row(&bytes[*at..])).collect();
    found.iter().for_each(|at| bytes[at + 5 + key.len()] ^= 1);
    std::fs::write(&path, bytes).expect("writes");
    found.len()
}

/// Salvages into a new directory; what was said, and the new registry, which is whole.
fn salvaged(dir: &Path) -> (tempfile::TempDir, Vec<String>, SledStore) {
    let into = tempfile::tempdir().expect("a directory");
    let done = salvage(dir, into.path(), options(), &|note, _| Some(note)).expect("salvages");
    let problems = verify(into.path(), 4 << 20).expect("verifies").problems;
    assert_eq!(problems, Vec::<String>::new());
    let store = open(into.path());
    (into, done.missing, store)
}

#[test]
fn a_message_whose_status_is_lost_keeps_its_edit_and_its_attempts() {
    for is_broken in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let place = accept(&store, NOW, Message::to("erp").body(b"old".to_vec()));
        let large = accept(&store, NOW, Message::to("erp").body(vec![1; 60_000]));
        fail(&store, place, 1);
        fail(&store, place, 2);
        edit(&store, place, b"new");
        edit(&store, large, &[2; 90_000]);
        store.close().expect("closes");
        if is_broken {
            assert!(break_rows(dir.path(), STAT, b"") > 0);
        }
        let (_into, missing, store) = salvaged(dir.path());
        assert_eq!(missing.is_empty(), !is_broken, "{missing:?}");
        let record = store.get(place).expect("reads").expect("is there");
        assert_eq!((record.attempts, record.revision), (2, 2), "broken: {is_broken}");
        assert_eq!(record.state.is_held(), is_broken);
        assert_eq!(&*store.load(place).expect("loads").expect("a body").message.body, b"new");
        assert_eq!(store.load(large).expect("loads").expect("a body").message.body.len(), 90_000);
        // The next edit is the third one, and can be read.
        edit(&store, large, &[3; 20_000]);
        assert_eq!(store.load(large).expect("loads").expect("a body").message.body.len(), 20_000);
        assert_eq!(store.revisions(large).expect("reads").len(), 3);
    }
}

#[test]
fn a_destination_whose_name_is_lost_has_the_one_its_messages_bear() {
    for tree in [META, STAT] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let erp = accept(&store, NOW, Message::to("erp").body(b"a".to_vec()));
        // An envelope that lies in parts.
        let shop = accept(&store, NOW, Message::to("shop").header("x-long", "y".repeat(15_000)).body(b"b".to_vec()));
        store.close().expect("closes");
        assert!(break_rows(dir.path(), META, b"d") > 0);
        if tree == STAT {
            assert!(break_rows(dir.path(), STAT, b"") > 0);
        }
        let (_into, _missing, store) = salvaged(dir.path());
        let names: HashMap<_, _> = store.destinations().into_iter().collect();
        let mut dests = Vec::new();
        for (place, name) in [(erp, "erp"), (shop, "shop")] {
            let mut found = Vec::new();
            store
                .unfinished(&|_| false, &mut |message| {
                    if message.place == place {
                        found.push(message.dest)
                    }
                })
                .expect("reads");
            assert_eq!(names.get(&found[0]).map(|name| &**name), Some(name), "it goes where it was to go");
            dests.push(found[0]);
        }
        let fresh = store.destination("crm").expect("a number");
        assert!(!dests.contains(&fresh), "no number is given twice");
    }
}

#[test]
fn a_lost_chunk_hides_nothing_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let places: Vec<Place> = (0..9_u64)
        .map(|n| {
            let mut draft = Message::to("erp").body(b"x".to_vec());
            draft.envelope.idempotency_key = Some(format!("k{n}").into());
            accept(&store, NOW.plus(n), draft)
        })
        .collect();
    store.close().expect("closes");
    let lost = places[4].chunk().to_be_bytes();
    assert!(break_rows(dir.path(), CHUNK, &lost) > 0 && break_rows(dir.path(), STAT, &lost) > 0);
    let (_into, missing, store) = salvaged(dir.path());
    assert!(missing.iter().any(|what| what.contains("chunk")), "{missing:?}");
    let mut keys = 0;
    store.idempotent(NOW, &mut |_, _| keys += 1).expect("reads");
    assert_eq!(keys, 8, "a repeated request is still known");
    let query = Query { since: Some(NOW), limit: 100, ..Query::default() };
    assert_eq!(store.list(&query).expect("lists").records.len(), 8);
}

#[test]
fn a_salvage_that_was_cut_off_opens_as_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let _place = accept(&store, NOW, Message::to("erp").body(b"x".to_vec()));
    store.close().expect("closes");
    for is_cut in [false, true] {
        let into = tempfile::tempdir().expect("a directory");
        let fault = move |_: Step| if is_cut { Err(std::io::Error::other("cut off")) } else { Ok(()) };
        let failing = Options { fault: Some(Arc::new(fault)), ..options() };
        let outcome = salvage(dir.path(), into.path(), failing, &|note, _| Some(note));
        assert_eq!(outcome.is_err(), is_cut);
        match SledStore::open(into.path(), options()) {
            Ok(store) => assert_eq!(store.counts().len(), 1),
            Err(StoreError::Foreign(why)) => assert!(is_cut && why.contains("cut off"), "{why}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_directory_without_a_registry_is_said_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("letter"), b"mine").expect("writes");
    let into = dir.path().join("new");
    let says = |outcome: Result<(), StoreError>| match outcome {
        Err(StoreError::Foreign(why)) => assert!(why.contains("no registry"), "{why}"),
        other => panic!("{other:?}"),
    };
    says(verify(dir.path(), 4 << 20).map(|_| ()));
    says(repair(dir.path(), &options()).map(|_| ()));
    says(salvage(dir.path(), &into, options(), &|note, _| Some(note)).map(|_| ()));
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("reads").map(|it| it.expect("reads").file_name()).collect();
    assert_eq!(left, ["letter"]);
}

#[test]
fn whoever_wrote_a_note_is_told_which_messages_are_lost_and_says_what_is_taken_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let places = [1, 2, 3].map(|n| accept(&store, WallMs(NOW.0 + n), Message::to("erp").body(b"{}".to_vec())));
    // What was delivered has gone on, and is not asked for again.
    let dest = store.destination("erp").expect("a number");
    let both = [0, 1].map(|_| Incoming::new(Message::to("erp").body(b"{}".to_vec()), dest));
    let both = store.commit(&Batch { now: NOW, accepts: both.into(), ..Batch::default() }).expect("commits").accepted;
    let [(_, waits), (_, went)] = both[..] else { panic!("two were accepted") };
    assert_eq!(waits.chunk(), went.chunk());
    moved(&store, went, State::Delivered, |_| ());
    let notes = ["mine", "gone"].map(|key| Note { key: key.into(), value: b"as it was".to_vec() });
    store.commit(&Batch { now: NOW, notes: notes.into(), ..Batch::default() }).expect("commits");
    // What a person deletes is not lost.
    store.commit(&Batch { now: NOW, deletes: vec![places[2]], ..Batch::default() }).expect("commits");
    store.close().expect("closes");
    assert!(break_rows(dir.path(), CHUNK, &places[0].chunk().to_be_bytes()) > 0);
    assert!(break_rows(dir.path(), CHUNK, &waits.chunk().to_be_bytes()) > 0);
    let beyond = Place::new(went.chunk() + 1, 0);
    let into = tempfile::tempdir().expect("a directory");
    let told = std::cell::RefCell::new(Vec::new());
    let takes = |note: Note, is_lost: &dyn Fn(Place) -> bool| {
        told.borrow_mut().push([places[0], places[1], places[2], waits, went, beyond].map(is_lost));
        (note.key == b"mine").then(|| Note { value: b"as it is".to_vec(), ..note })
    };
    let done = salvage(dir.path(), into.path(), options(), &takes).expect("salvages");
    assert_eq!(done.missing[0], format!("the 1 messages of chunk {}", places[0].chunk()));
    assert_eq!(*told.borrow(), [[true, false, false, true, false, true]; 2]);
    let store = open(into.path());
    assert_eq!(store.note(b"mine").expect("reads").as_deref(), Some(&b"as it is"[..]));
    assert_eq!(store.note(b"gone").expect("reads"), None);
}

/// The salt of a registry's check sums.
fn salt(dir: &Path) -> u32 {
    let text = std::fs::read_to_string(dir.join("format")).expect("reads");
    let salt = text.lines().find_map(|line| line.strip_prefix("salt ")).expect("a salt");
    u32::from_str_radix(salt, 16).expect("a number")
}

/// A row as it would lie in the file, whoever wrote it.
fn row(salt: u32, tree: u8, key: &[u8], commit: u64, body: &[u8]) -> Vec<u8> {
    let mut row = vec![0x9b, b'g', b'n', tree, u8::try_from(key.len()).expect("short")];
    row.extend_from_slice(key);
    row.extend_from_slice(&commit.to_be_bytes());
    row.extend_from_slice(&u32::try_from(body.len()).expect("short").to_be_bytes());
    row.extend_from_slice(body);
    row.extend_from_slice(&(crc32fast::hash(&row) ^ salt).to_le_bytes());
    row
}

#[test]
fn rows_of_commits_that_never_were_are_not_believed() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let place = accept(&store, NOW, Message::to("erp").body(b"mine".to_vec()));
    let done = store.commit(&Batch { now: NOW, ..Batch::default() }).expect("commits");
    store.sync(done.number).expect("syncs");
    store.close().expect("closes");
    let path = dir.path().join("sled/db");
    let (key, salt) = (place.chunk().to_be_bytes(), salt(dir.path()));
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes.extend(row(salt, CHUNK, &key, u64::MAX, b"another's"));
    bytes.extend(row(salt, STAT, &key, u64::MAX - 1, b""));
    std::fs::write(&path, bytes).expect("writes");
    let (_into, missing, store) = salvaged(dir.path());
    assert!(missing.iter().any(|what| what.contains("2 rows that claim a commit")), "{missing:?}");
    assert_eq!(&*store.load(place).expect("loads").expect("is there").message.body, b"mine");
    let more = accept(&store, NOW, Message::to("erp").body(b"more".to_vec()));
    assert!(store.get(more).expect("reads").is_some(), "commits go on");
}

#[test]
fn a_row_that_a_sender_wrote_into_a_body_is_none_of_ours() {
    // The control: with the salt, which nobody outside knows, the row would be believed.
    for is_known in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let mine = accept(&store, NOW, Message::to("erp").body(b"mine".to_vec()));
        let salt = salt(dir.path()).wrapping_add(u32::from(!is_known));
        let emptied = row(salt, STAT, &mine.chunk().to_be_bytes(), 500, &NOW.0.to_be_bytes());
        let hostile = accept(&store, NOW, Message::to("erp").body(emptied));
        store.close().expect("closes");
        assert!(break_rows(dir.path(), CHUNK, &hostile.chunk().to_be_bytes()) > 0);
        let (_into, missing, store) = salvaged(dir.path());
        assert!(!missing.is_empty());
        assert_eq!(store.load(mine).expect("reads").is_none(), is_known, "{missing:?}");
    }
}

#[test]
fn a_salvage_finds_out_the_salt_that_is_lost() {
    for lose in ["nothing", "file", "salt"] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        // As many rows under a salt of their own as a body holds, and each within the one before it.
        let mut forged = row(7, STAT, &1_u64.to_be_bytes(), 3, b"");
        while forged.len() < 60_000 {
            forged = row(7, STAT, &1_u64.to_be_bytes(), 3, &forged);
        }
        let places: Vec<Place> = (0..4).map(|_| accept(&store, NOW, Message::to("erp").body(forged.clone()))).collect();
        store.close().expect("closes");
        let format = dir.path().join("format");
        match lose {
            "file" => std::fs::remove_file(format).expect("removes"),
            "salt" => {
                let text = std::fs::read_to_string(&format).expect("reads");
                let other = format!("salt {:08x}", salt(dir.path()) ^ 1);
                let known = format!("salt {:08x}", salt(dir.path()));
                std::fs::write(&format, text.replace(&known, &other)).expect("writes");
                assert!(matches!(SledStore::open(dir.path(), options()), Err(StoreError::Damaged(_))));
            }
            _ => {}
        }
        let (_into, missing, store) = salvaged(dir.path());
        assert_eq!(missing, Vec::<String>::new(), "{lose} lost");
        for place in places {
            assert!(*store.load(place).expect("loads").expect("is there").message.body == *forged, "{lose} lost");
        }
    }
}

#[test]
fn a_file_larger_than_what_is_looked_at_at_a_time_is_carried_over_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let places: Vec<Place> =
        (0..3_u8).map(|n| accept(&store, NOW, Message::to("erp").body(vec![n; 16_000_000]))).collect();
    let last = accept(&store, NOW, Message::to("erp").body(b"last".to_vec()));
    store.close().expect("closes");
    assert!(std::fs::metadata(dir.path().join("sled/db")).expect("is there").len() > 48_000_000);
    let (_into, missing, store) = salvaged(dir.path());
    assert_eq!(missing, Vec::<String>::new());
    for (n, place) in (0..3_u8).zip(places) {
        assert!(*store.load(place).expect("loads").expect("is there").message.body == *vec![n; 16_000_000]);
    }
    assert_eq!(&*store.load(last).expect("loads").expect("is there").message.body, b"last");
}
