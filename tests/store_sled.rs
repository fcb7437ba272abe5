//! The sled store where it is more than any store: opening, closing, locks, formats, what must not be synced late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use goniec::model::{Abandoned, Attempt, Class, Delivery, Draft, Failed, Message, Place, Queued, Sent, State, WallMs};
use goniec::store::sled::{Options, SledStore, Step, verify};
use goniec::store::{
    Amendment, Batch, Dest, Expect, Incoming, Move, Moved, Note, Older, Pattern, Query, Retention, StateName, Store,
    StoreError,
};

fn options() -> Options {
    Options { cache_bytes: 8 << 20, ballast_bytes_max: 0, ..Options::default() }
}

fn open(dir: &tempfile::TempDir) -> SledStore {
    SledStore::open(dir.path(), options()).expect("opens")
}

fn incoming(dest: Dest, draft: Draft) -> Incoming {
    Incoming::new(draft, dest)
}

fn drafts(dest: Dest, count: usize, bytes: usize) -> Vec<Incoming> {
    (0..count)
        .map(|n| incoming(dest, Message::to("erp").key(format!("sku:{n}")).body(vec![n.to_le_bytes()[0]; bytes])))
        .collect()
}

fn step(place: Place, from: State, to: State) -> Move {
    Move {
        place,
        expect: Expect { state: from, attempts: 0, revision: 1 },
        to,
        by: None,
        attempts: 1,
        series: 1,
        attempt: None,
        amend: None,
        untold: false,
    }
}

const READY: State = State::Queued(Queued::Ready);

#[test]
fn a_life_survives_a_clean_stop() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    let accepts = drafts(erp, 100, 300);
    let accepted =
        store.commit(&Batch { now: WallMs(1000), accepts: accepts.clone(), ..Batch::default() }).expect("commits");
    let places: Vec<Place> = accepted.accepted.iter().map(|(_, place)| *place).collect();
    let failed = State::Failed(Failed::Due(WallMs(9000)));
    let attempt = Attempt {
        number: 1,
        revision: 1,
        started_at: WallMs(1500),
        duration_ms: 20,
        outcome: Delivery::Retry,
        class: Some(Class::Timeout),
        sent: Sent::Maybe,
        status: None,
        detail: "no answer".into(),
        response_excerpt: None,
        remote_id: None,
        phases: None,
    };
    let arrived = Attempt {
        outcome: Delivery::Delivered,
        class: None,
        sent: Sent::Answered,
        status: Some(204),
        detail: String::new(),
        ..attempt.clone()
    };
    let moves = vec![
        Move { attempt: Some(arrived.clone()), ..step(places[0], READY, State::Delivered) },
        Move { attempt: Some(attempt.clone()), ..step(places[1], READY, failed) },
        Move { untold: true, ..step(places[2], READY, State::Abandoned(Abandoned::Rejected)) },
        step(places[3], State::Delivered, READY),
    ];
    let moved = store.commit(&Batch { now: WallMs(2000), moves, ..Batch::default() }).expect("commits");
    assert!(matches!(moved.moved[..], [Moved::Done, Moved::Done, Moved::Done, Moved::Stale(_)]), "{:?}", moved.moved);
    store.sync(moved.number).expect("syncs");
    store.close().expect("closes");
    assert!(matches!(store.get(places[0]), Err(StoreError::Closed)));
    drop(store);

    let store = open(&dir);
    let mut waiting = Vec::new();
    store.unfinished(&|_| false, &mut |one| waiting.push(one)).expect("reads");
    assert_eq!(waiting.len(), 98);
    assert_eq!((waiting[0].place, waiting[0].state, waiting[0].attempts), (places[1], failed, 1));
    assert_eq!(store.untold(None, 10).expect("reads"), [places[2]]);
    assert_eq!(store.attempts(places[0]).expect("reads"), [arrived]);
    assert_eq!(store.attempts(places[1]).expect("reads"), [attempt]);
    for (n, (id, place)) in accepted.accepted.iter().enumerate() {
        assert_eq!(store.find(*id).expect("finds"), Some(*place));
        let loaded = store.load(*place).expect("loads").expect("is there");
        assert_eq!((loaded.message.id, &loaded.message.body), (*id, &accepts[n].draft.body));
        assert_eq!(*loaded.message.envelope, accepts[n].draft.envelope);
    }
    let query = Query { states: vec![StateName::Abandoned], limit: 5, ..Query::default() };
    assert_eq!(store.list(&query).expect("lists").records.len(), 1);
    let counts = store.counts();
    assert_eq!(counts.iter().map(|count| count.messages).sum::<u64>(), 100);
}

#[test]
fn bodies_of_every_size_and_every_edit_read_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    let sizes = [0, 1, 17_000, 17_250, 17_300, 17_400, 17_401, 40_000, 1 << 20, 16 << 20];
    let mut accepts: Vec<Incoming> =
        sizes.iter().map(|bytes| incoming(erp, Message::to("erp").body(vec![7; *bytes]))).collect();
    let mut big = Message::to("erp").body(vec![1; 100]);
    big.envelope.headers = (0..60).map(|n| (format!("x-{n}"), "v".repeat(250))).collect();
    accepts.push(incoming(erp, big));
    let done = store.commit(&Batch { now: WallMs(1), accepts: accepts.clone(), ..Batch::default() }).expect("commits");
    for (n, (_, place)) in done.accepted.iter().enumerate() {
        let loaded = store.load(*place).expect("loads").expect("is there");
        assert!(loaded.message.body == accepts[n].draft.body, "body {n}");
        assert_eq!(*loaded.message.envelope, accepts[n].draft.envelope);
    }
    let place = done.accepted[3].1;
    for (n, bytes) in [10, 50_000, 17_390].into_iter().enumerate() {
        let amend =
            Amendment { body: Arc::from(vec![9; bytes]), content_type: None, who: "ann".into(), why: "typo".into() };
        let revision = 1 + u16::try_from(n).expect("small");
        let to = Move {
            amend: Some(amend),
            attempts: 0,
            expect: Expect { state: READY, attempts: 0, revision },
            ..step(place, READY, READY)
        };
        let done = store.commit(&Batch { now: WallMs(2), moves: vec![to], ..Batch::default() }).expect("commits");
        assert_eq!(done.moved, [Moved::Done]);
        assert_eq!(store.load(place).expect("loads").expect("is there").message.body.len(), bytes);
    }
    let bytes: Vec<usize> = store
        .revisions(place)
        .expect("reads")
        .iter()
        .map(|revision| revision.body.as_ref().map_or(0, |body| body.len()))
        .collect();
    assert_eq!(bytes, [17_250, 10, 50_000, 17_390]);
    let deletes = done.accepted.iter().map(|(_, place)| *place).collect();
    let gone = store.commit(&Batch { now: WallMs(3), deletes, ..Batch::default() }).expect("commits");
    assert!(gone.deleted.iter().all(|gone| *gone));
    assert_eq!(store.load(place).expect("loads").map(|loaded| loaded.expect), None);
    assert!(store.counts().is_empty());
    assert_no_blobs(&dir);
}

fn assert_no_blobs(dir: &tempfile::TempDir) {
    let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).expect("reads").count();
    assert_eq!(blobs, 0, "sled made files that are never synced");
}

#[test]
fn a_newer_message_and_the_one_it_supersedes_name_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    let older = store.commit(&Batch { accepts: drafts(erp, 1, 10), ..Batch::default() }).expect("commits").accepted[0];
    let by = State::Abandoned(Abandoned::Superseded(older.0));
    let moves = vec![Move { by: Some(0), ..step(older.1, READY, by) }];
    let older_at = Some(Older::At(older.1));
    let accepts = drafts(erp, 1, 10).into_iter().map(|one| Incoming { older: older_at, ..one }).collect();
    let newer = store.commit(&Batch { accepts, moves, ..Batch::default() }).expect("commits").accepted[0];
    let lost = store.get(older.1).expect("reads").expect("is there");
    assert_eq!(lost.state, State::Abandoned(Abandoned::Superseded(newer.0)));
    assert_eq!(store.get(newer.1).expect("reads").expect("is there").supersedes, Some(older.0));
}

#[test]
fn a_second_opener_is_refused_with_the_pid_and_a_stale_one_does_not_block() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let Err(StoreError::Locked { pid, .. }) = SledStore::open(dir.path(), options()) else {
        panic!("a second process was let in");
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(store);
    std::fs::write(dir.path().join("lock"), "1\n").expect("writes");
    drop(open(&dir));
}

#[test]
fn a_foreign_or_newer_directory_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open(&dir));
    let format = dir.path().join("format");
    let text = std::fs::read_to_string(&format).expect("reads").replace("format 3", "format 4");
    std::fs::write(&format, &text).expect("writes");
    let before = listing(dir.path());
    let error = SledStore::open(dir.path(), options()).err().expect("refused");
    assert!(error.to_string().contains("format 4"), "{error}");
    assert_eq!(listing(dir.path()), before);
}

#[test]
fn parameters_that_a_power_cut_left_torn_do_not_keep_the_registry_shut() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    let done = store.commit(&Batch { accepts: drafts(erp, 3, 10), ..Batch::default() }).expect("commits");
    store.sync(done.number).expect("syncs");
    store.close().expect("closes");
    drop(store);
    let conf = dir.path().join("sled").join("conf");
    let whole = std::fs::read(&conf).expect("reads");
    let torn = [vec![0; whole.len()], Vec::new(), whole[..whole.len() / 2].to_vec(), vec![0xff; whole.len()]];
    for (number, bytes) in torn.into_iter().enumerate() {
        std::fs::write(&conf, &bytes).expect("writes");
        // The control: left to itself, the storage engine refuses at least what reads as other parameters.
        let alone = sled::Config::new().path(dir.path().join("sled")).segment_size(2 << 20).open();
        assert!(number != 3 || alone.is_err(), "{alone:?}");
        drop(alone);
        std::fs::write(&conf, &bytes).expect("writes");
        let store = open(&dir);
        let found = store.list(&Query { limit: 10, ..Query::default() }).expect("lists");
        assert_eq!(found.records.len(), 3);
        store.close().expect("closes");
        drop(store);
        assert_eq!(std::fs::read(&conf).expect("reads"), whole);
    }
}

fn listing(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("reads") {
        let entry = entry.expect("reads");
        let meta = entry.metadata().expect("reads");
        if meta.is_dir() {
            all.extend(listing(&entry.path()));
        } else {
            all.push((entry.path(), meta.len(), meta.modified().expect("a time")));
        }
    }
    all.sort();
    all
}

#[test]
fn a_lost_commit_is_told_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let copy = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    let first = store.commit(&Batch { accepts: drafts(erp, 3, 10), ..Batch::default() }).expect("commits").number;
    store.close().expect("closes");
    drop(store);
    for file in ["db", "conf"] {
        std::fs::copy(dir.path().join("sled").join(file), copy.path().join(file)).expect("copies");
    }
    let store = open(&dir);
    let last = store.commit(&Batch { accepts: drafts(erp, 3, 10), ..Batch::default() }).expect("commits").number;
    store.close().expect("closes");
    drop(store);
    // The older file under the newer witness: what a disk does that lies about its syncs.
    std::fs::remove_dir_all(dir.path().join("sled")).expect("removes");
    std::fs::create_dir_all(dir.path().join("sled")).expect("creates");
    for file in ["db", "conf"] {
        std::fs::copy(copy.path().join(file), dir.path().join("sled").join(file)).expect("copies");
    }
    let error = SledStore::open(dir.path(), options()).err().expect("refused");
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    let said = error.to_string();
    assert!(said.contains(&format!("commits {} to {last} are missing", first + 1)), "{said}");
}

#[test]
fn an_exact_key_is_found_without_looking_at_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    // One message a chunk: 600 chunks are two full ranges and a part of a third.
    for n in 0..600 {
        let draft = Message::to("erp").key(format!("sku:{n}")).body(vec![0; 10]);
        store
            .commit(&Batch { now: WallMs(n), accepts: vec![incoming(erp, draft)], ..Batch::default() })
            .expect("commits");
    }
    for (key, expected) in [("sku:8", 1), ("sku:599", 1), ("sku:600", 0)] {
        let query = Query { key: Some(Pattern::Exactly(key.into())), limit: 10, scan_max: 400, ..Query::default() };
        assert_eq!(store.list(&query).expect("lists").records.len(), expected, "{key}");
    }
    // The control: where no filter helps, the budget ends the page.
    let query = Query { key: Some(Pattern::Prefix("sku:7".into())), limit: 500, scan_max: 400, ..Query::default() };
    let page = store.list(&query).expect("lists");
    assert!(page.scanned_until.is_some() && page.records.iter().all(|record| record.id.accepted_at() > WallMs(150)));
}

/// The Nth write, flush, sync or witness fails, for N = 1, 2, 3 and so on until a run meets no fault. Whatever was said to be durable is there
/// afterwards, nothing is acknowledged after a failure, and the next start writes again.
#[test]
fn whichever_step_fails_nothing_acknowledged_is_lost() {
    let mut faults = 0;
    for nth in 1.. {
        let dir = tempfile::tempdir().expect("a directory");
        let erp = open(&dir).destination("erp").expect("a number");
        let steps = Arc::new(AtomicU64::new(0));
        let counting = steps.clone();
        let fault = move |_| match counting.fetch_add(1, Ordering::SeqCst) + 1 {
            step if step == nth => Err(std::io::Error::other("the disk was told to fail")),
            _ => Ok(()),
        };
        let store = SledStore::open(dir.path(), Options { fault: Some(Arc::new(fault)), ..options() }).expect("opens");
        let mut acknowledged = Vec::new();
        let mut failed = false;
        for round in 0..6 {
            let batch = Batch { now: WallMs(round), accepts: drafts(erp, 5, 100), ..Batch::default() };
            let done = store.commit(&batch).and_then(|done| store.sync(done.number).map(|()| done));
            match done {
                Ok(_) if failed => panic!("fault {nth}: acknowledged after a failure"),
                Ok(done) => acknowledged.extend(done.accepted),
                Err(_) => failed = true,
            }
        }
        drop(store);
        let store = open(&dir);
        for (id, place) in &acknowledged {
            assert_eq!(store.find(*id).expect("finds"), Some(*place), "fault {nth}");
        }
        let mut waiting = 0;
        store.unfinished(&|_| false, &mut |_| waiting += 1).expect("the counters follow");
        assert!(waiting >= acknowledged.len() && waiting % 5 == 0, "fault {nth}: half a batch was kept");
        store.commit(&Batch { accepts: drafts(erp, 1, 10), ..Batch::default() }).expect("writes again");
        if !failed {
            assert_eq!(acknowledged.len(), 30);
            break;
        }
        faults += 1;
    }
    assert_eq!(faults, 24, "six rounds of four steps");
}

/// Rounds of filling and removing: the file levels off instead of growing with everything that ever passed.
#[test]
fn what_retention_frees_is_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir);
    let erp = store.destination("erp").expect("a number");
    let rule = Retention { delivered_ms: 0, abandoned_ms: 0, bodies_ms: 0, step_max: 64 };
    let mut sizes = Vec::new();
    for round in 0..10_u64 {
        for commit in 0..40 {
            let now = WallMs(round * 1000 + commit);
            let done =
                store.commit(&Batch { now, accepts: drafts(erp, 100, 1000), ..Batch::default() }).expect("commits");
            let moves = done.accepted.iter().map(|(_, place)| step(*place, READY, State::Delivered)).collect();
            store.commit(&Batch { now, moves, ..Batch::default() }).expect("commits");
        }
        while store.retain(&rule, WallMs(round * 1000 + 999)).expect("retains").more {}
        assert!(store.counts().is_empty(), "round {round}");
        sizes.push(store.room().used_bytes);
    }
    // Segments are given back in the background, so a single round may find some that are on their way.
    let early = sizes[..4].iter().max().copied().unwrap_or_default();
    let late = sizes[7..].iter().min().copied().unwrap_or_default();
    assert!(late < early * 3 / 2, "the file grew: {sizes:?}");
    // The control: a round writes more than the file would have to grow by to be told.
    assert!(early > 4_000_000, "{sizes:?}");
    assert_no_blobs(&dir);
}

/// A full disk costs nothing while there is ballast to give up; without it, it costs the batch, and the store goes on.
#[test]
fn a_full_disk_is_survived_by_giving_up_the_ballast() {
    for (ballast_bytes_max, is_kept) in [(1 << 20, true), (0, false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let full = Arc::new(AtomicU64::new(0));
        let watching = full.clone();
        let fault = move |_| match watching.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        };
        let options = Options { fault: Some(Arc::new(fault)), ballast_bytes_max, ..options() };
        let store = SledStore::open(dir.path(), options).expect("opens");
        let erp = store.destination("erp").expect("a number");
        let batch = Batch { accepts: drafts(erp, 5, 100), ..Batch::default() };
        let before = store.commit(&batch).expect("commits");
        full.store(1, Ordering::SeqCst);
        match store.commit(&batch) {
            Ok(done) if is_kept => assert_eq!(done.number, before.number + 1),
            Err(StoreError::Full(_)) if !is_kept => {}
            other => panic!("with {ballast_bytes_max} bytes of ballast: {other:?}"),
        }
        for (id, place) in &before.accepted {
            assert_eq!(store.find(*id).expect("reads still work"), Some(*place));
        }
        let deletes = vec![before.accepted[0].1];
        let done = store.commit(&Batch { deletes, ..Batch::default() }).expect("goes on");
        assert_eq!((done.number, done.deleted), (before.number + 1 + u64::from(is_kept), vec![true]));
        let messages: u64 = store.counts().iter().map(|count| count.messages).sum();
        assert_eq!(messages, if is_kept { 9 } else { 4 });
    }
}

/// Both ballasts are gone, and there is no room even to open the database: the store answers so, and goes on when there is room.
#[test]
fn a_disk_without_room_to_open_the_database_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let is_full = Arc::new(AtomicU64::new(0));
    let watching = is_full.clone();
    // Full after the rows were written: what was refused is on the disk all the same.
    let fault = move |step| match (step, watching.load(Ordering::SeqCst)) {
        (Step::Flush | Step::Reopen, 1) => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        _ => Ok(()),
    };
    let store = SledStore::open(dir.path(), Options { fault: Some(Arc::new(fault)), ..options() }).expect("opens");
    let erp = store.destination("erp").expect("a number");
    let mut batch = Batch { accepts: drafts(erp, 5, 100), ..Batch::default() };
    let before = store.commit(&batch).expect("commits");
    store.sync(before.number).expect("syncs");
    let counts = store.counts();
    let note = |key: &[u8], value: &[u8]| Note { key: key.to_vec(), value: value.to_vec() };
    let notes = vec![note(b"old", b"1"), note(b"kept", b"1")];
    store.commit(&Batch { notes, ..Batch::default() }).expect("commits");
    batch.accepts[0].note = Some(note(b"old", b"2"));
    batch.accepts[1].note = Some(note(b"old", b"3"));
    (batch.notes, batch.dropped) = (vec![note(b"new", b"1")], vec![b"kept".to_vec()]);
    is_full.store(1, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(matches!(store.commit(&batch), Err(StoreError::Full(_))));
        assert!(matches!(store.find(before.accepted[0].0), Err(StoreError::Full(_))));
        store.sync(before.number).expect("what was written is durable");
        assert_eq!(store.counts(), counts, "it says what it last knew");
    }
    is_full.store(0, Ordering::SeqCst);
    for (id, place) in &before.accepted {
        assert_eq!(store.find(*id).expect("reads again"), Some(*place));
    }
    assert_eq!(store.counts(), counts, "what was refused does not stand");
    let noted = |key: &[u8]| store.note(key).expect("reads");
    store.commit(&Batch::default()).expect("goes on");
    assert_eq!([noted(b"old"), noted(b"kept"), noted(b"new")], [Some(b"1".to_vec()), Some(b"1".to_vec()), None]);
    let after = store.commit(&batch).expect("goes on");
    store.sync(after.number).expect("syncs");
    let raised = Some([b"3", &after.accepted[1].0.to_bytes()[..]].concat());
    assert_eq!((noted(b"old"), noted(b"kept")), (raised, None));
    store.close().expect("closes");
    drop(store);
    let messages: u64 = open(&dir).counts().iter().map(|count| count.messages).sum();
    assert_eq!(messages, 10);
    assert!(verify(dir.path(), 8 << 20).expect("verifies").problems.is_empty());
}

/// A name takes no commit number, so the number that a reopened registry stands at does not say whether the name is in it.
#[test]
fn a_name_given_on_a_full_disk_is_written_or_refused() {
    for (ballast_bytes_max, is_kept) in [(1 << 20, true), (0, false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let full = Arc::new(AtomicU64::new(0));
        let watching = full.clone();
        let fault = move |_| match watching.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        };
        let store =
            SledStore::open(dir.path(), Options { fault: Some(Arc::new(fault)), ballast_bytes_max, ..options() })
                .expect("opens");
        let erp = store.destination("erp").expect("a number");
        full.store(1, Ordering::SeqCst);
        let given = match store.destination("crm") {
            Ok(crm) if is_kept => vec![erp, crm],
            Err(StoreError::Full(_)) if !is_kept => vec![erp],
            other => panic!("with {ballast_bytes_max} bytes of ballast: {other:?}"),
        };
        store.close().expect("closes");
        drop(store);
        let known: Vec<Dest> = open(&dir).destinations().into_iter().map(|(dest, _)| dest).collect();
        assert_eq!(known, given, "with {ballast_bytes_max} bytes of ballast");
    }
}

/// A clock that was ahead once, by a year, when a message was accepted: what ends under the right clock still goes when it is old.
#[test]
fn a_clock_that_was_ahead_once_does_not_stop_retention() {
    let rule = Retention { delivered_ms: 1_000, abandoned_ms: 1_000, bodies_ms: 1_000, step_max: 64 };
    for ahead_ms in [0, 365 * 86_400_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(&dir);
        let erp = store.destination("erp").expect("a number");
        let now = WallMs(1_790_000_000_000);
        let first = Batch { now: now.plus(ahead_ms), accepts: drafts(erp, 1, 10), ..Batch::default() };
        let _waits = store.commit(&first).expect("commits");
        let done = store.commit(&Batch { now, accepts: drafts(erp, 5, 10), ..Batch::default() }).expect("commits");
        let moves = done.accepted.iter().map(|(_, place)| step(*place, READY, State::Delivered)).collect();
        let _done = store.commit(&Batch { now, moves, ..Batch::default() }).expect("commits");
        // The control: what is too young stays, whatever the clock was.
        assert_eq!(store.retain(&rule, now.plus(999)).expect("retains").messages, 0, "ahead by {ahead_ms} ms");
        assert_eq!(store.retain(&rule, now.plus(1_000)).expect("retains").messages, 5, "ahead by {ahead_ms} ms");
    }
}
