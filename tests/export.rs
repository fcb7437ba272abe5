//! Export and import: what comes out goes in again as it was, and what was cut or changed does not.
//!
//! The contract of stores is run over registries that are exported and imported whenever they are opened again.

mod conformance;

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use conformance::{T0, World};
use goniec::engine::{Destination, Engine, Settings};
use goniec::model::{Draft, Message, State};
use goniec::store::sled::{Exported, Options, SledStore, export, import, salvage, verify};
use goniec::store::{Batch, Incoming, Note, Query, Store, StoreError};

fn options() -> Options {
    Options { cache_bytes: 4 << 20, ballast_bytes_max: 0, ..Options::default() }
}

fn exported(dir: &Path) -> Vec<u8> {
    let mut lines = Vec::new();
    export(dir, options().cache_bytes, &mut lines, &mut |_, _| ()).expect("exports");
    lines
}

fn imported(lines: &[u8], into: &Path) -> Result<Exported, StoreError> {
    import(&mut &*lines, into, options(), &|_| true)
}

/// A registry that is another one each time that it is opened: made of what the one before was.
fn carried() -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let number = AtomicU32::new(0);
    World {
        crash: None,
        fail_write: None,
        fail_sync: None,
        verify: Box::new(|_| {}),
        open: Box::new(move || {
            let at = |number: u32| dir.path().join(number.to_string());
            let before = number.fetch_add(1, Ordering::SeqCst);
            let (old, new) = (at(before), at(before + 1));
            if old.exists() {
                let lines = exported(&old);
                imported(&lines, &new)?;
                assert_eq!(String::from_utf8(exported(&new)), String::from_utf8(lines), "the same lines");
                // Some cases put what does not belong together into a registry, and that stays so.
                let problems = |dir: &Path| verify(dir, options().cache_bytes).expect("opens").problems;
                assert_eq!(problems(&new), problems(&old));
            }
            Ok(Box::new(SledStore::open(&new, options())?))
        }),
    }
}

#[test]
fn an_imported_registry_keeps_the_contract() {
    conformance::run(carried);
}

/// A registry with messages that went, failed and wait, edits, large bodies, and notes.
fn lived(dir: &Path) {
    let store = SledStore::open(dir, options()).expect("opens");
    let dest = store.destination("erp").expect("a number");
    let notes = (0..3).map(|n| Note { key: vec![b'p', n], value: vec![n; 40] }).collect();
    store.commit(&Batch { now: T0, notes, ..Batch::default() }).expect("commits");
    for size in [0, 10, 60_000] {
        let body: Vec<u8> = (0..size).map(|byte| u8::try_from(byte % 256).expect("a byte")).collect();
        let draft = Message::to("erp").key("a\u{1b}\u{202e}").body(body);
        let batch = Batch { now: T0, accepts: vec![Incoming::new(draft, dest)], ..Batch::default() };
        store.commit(&batch).expect("commits");
    }
    store.close().expect("closes");
}

#[test]
fn what_was_cut_or_changed_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    lived(&old);
    let lines = exported(&old);
    assert!(lines.iter().all(|byte| (0x20..0x80).contains(byte) || *byte == b'\n'), "nothing that steers a terminal");
    let nothing_is_left = |what: &str| {
        assert!(!new.exists() && !dir.path().join("new.partial").exists(), "{what}");
    };
    let ends: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == b'\n').collect();
    for cut in ends.iter().flat_map(|end| [*end, *end + 1]).chain([0, 1, 40]).filter(|cut| *cut < lines.len()) {
        let refused = imported(&lines[..cut], &new).expect_err("refuses");
        assert!(matches!(&refused, StoreError::Foreign(what) if what.starts_with("line ")), "{cut}: {refused}");
        nothing_is_left(&format!("cut at {cut}"));
    }
    // A byte of every line and of many places within, each on its own.
    for at in (0..lines.len()).step_by(lines.len() / 150).chain(ends.iter().map(|end| end - 1)) {
        let mut changed = lines.clone();
        changed[at] ^= 1;
        let refused = imported(&changed, &new);
        assert!(refused.is_err(), "byte {at} is another");
        nothing_is_left(&format!("byte {at}"));
    }
    // A line left out, one that comes twice, and something behind the end.
    let each: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    for number in 0..each.len() {
        let without: Vec<u8> =
            each.iter().enumerate().filter(|(at, _)| *at != number).flat_map(|(_, line)| *line).copied().collect();
        let twice: Vec<u8> =
            each.iter().enumerate().flat_map(|(at, line)| line.repeat(1 + usize::from(at == number))).collect();
        assert!(imported(&without, &new).is_err() && imported(&twice, &new).is_err(), "line {}", number + 1);
        nothing_is_left(&format!("line {number}"));
    }
    // The control.
    assert_eq!(imported(&lines, &new).expect("imports").messages, 3);
}

#[test]
fn a_higher_version_is_refused_and_so_is_a_directory_in_use() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    lived(&old);
    let lines = String::from_utf8(exported(&old)).expect("text");
    let later = lines.replacen("\"version\":1", "\"version\":2,\"more\":true", 1);
    let refused = imported(later.as_bytes(), &new).expect_err("refuses").to_string();
    assert_eq!(refused, "line 1: the export has version 2, and this goniec reads up to 1");
    assert_eq!(imported(b"{}\n", &new).expect_err("refuses").to_string(), "line 1: this is no export of a registry");
    let refused = imported(lines.as_bytes(), &old).expect_err("refuses").to_string();
    assert!(refused.ends_with("is not empty"), "{refused}");
    // What is not ours is left alone; what an import left that was cut off is not.
    let partial = dir.path().join("new.partial");
    fs::create_dir(&partial).expect("a directory");
    fs::write(partial.join("mine"), "x").expect("writes");
    assert!(imported(lines.as_bytes(), &new).expect_err("refuses").to_string().contains("in the way"));
    fs::write(partial.join("salvaging"), "").expect("writes");
    fs::create_dir(&new).expect("a directory");
    assert!(imported(lines.as_bytes(), &new).is_ok(), "an empty directory will do");
    assert!(!partial.exists());
}

#[test]
fn a_note_that_is_bound_to_its_registry_stays_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    lived(&old);
    let lines = exported(&old);
    import(&mut &*lines, &new, options(), &|note| note.key != [b'p', 1]).expect("imports");
    let store = SledStore::open(&new, options()).expect("opens");
    let mut keys = Vec::new();
    store.notes(b"", &mut |key, _| keys.push(key.to_vec())).expect("reads");
    assert_eq!(keys, [vec![b'p', 0], vec![b'p', 2]]);
}

#[test]
fn a_damaged_registry_is_not_exported_and_a_salvaged_one_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, saved) = (dir.path().join("old"), dir.path().join("saved"));
    lived(&old);
    let whole = exported(&old);
    salvage(&old, &saved, options(), &|note, _| Some(note)).expect("salvages");
    assert_eq!(String::from_utf8(exported(&saved)), String::from_utf8(whole), "the same registry");
    let db: PathBuf = old.join("sled/db");
    let mut bytes = fs::read(&db).expect("reads");
    // Every copy of the body that lies in parts.
    let piece: Vec<u8> = (0..=255).collect();
    let places: Vec<usize> = (0..bytes.len() - 256).filter(|at| bytes[*at..*at + 256] == piece[..]).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(&db, bytes).expect("writes");
    let mut lines = Vec::new();
    assert!(export(&old, options().cache_bytes, &mut lines, &mut |_, _| ()).is_err());
    assert!(imported(&lines, &dir.path().join("new")).is_err(), "what was written of it is no export");
}

/// Bytes before which something else happens.
struct Meanwhile<'a, F: FnMut()>(&'a [u8], F);

impl<F: FnMut()> Read for Meanwhile<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        (self.1)();
        self.0.read(into)
    }
}

/// What else is done with the directory while an import is under way.
fn imported_while(lines: &[u8], into: &Path, meanwhile: impl FnMut()) -> Result<Exported, StoreError> {
    let first = lines.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let mut from = (&lines[..first]).chain(BufReader::with_capacity(1 << 20, Meanwhile(&lines[first..], meanwhile)));
    import(&mut from, into, options(), &|_| true)
}

#[test]
fn an_import_leaves_alone_what_another_has_begun() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    lived(&old);
    let lines = exported(&old);
    let mut second = None;
    let first = imported_while(&lines, &new, || second = second.take().or_else(|| Some(imported(&lines, &new))));
    assert!(matches!(second, Some(Err(StoreError::Locked { .. }))), "{second:?}");
    assert_eq!(first.expect("imports").messages, 3);
    // Somebody puts something there before it is done.
    let busy = dir.path().join("busy");
    fs::create_dir(&busy).expect("a directory");
    let refused = imported_while(&lines, &busy, || fs::write(busy.join("mine"), "x").expect("writes"));
    assert!(matches!(refused, Err(StoreError::Foreign(what)) if what.ends_with("busy is not empty")));
    assert!(busy.join("mine").exists() && !dir.path().join("busy.partial").exists());
}

#[test]
fn an_imported_registry_goes_on_delivering() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let start = |dir: &Path, works: bool| {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(dir, options()).expect("opens"));
        let erp = Destination::new("erp", move |_: &Message| if works { Ok(()) } else { Err("no".to_owned()) });
        (store.clone(), Engine::start(store, vec![erp], Settings::default(), Vec::new()).expect("starts"))
    };
    let limit = Duration::from_secs(10);
    let (_, engine) = start(&old, false);
    let draft = |n: u32| {
        let mut draft = Message::to("erp").key(format!("k{n}")).body(n.to_be_bytes());
        draft.envelope.idempotency_key = Some(format!("i{n}").into());
        draft
    };
    let drafts = |count: u32| -> Vec<Draft> { (0..count).map(draft).collect() };
    let ids = engine.accept_wait(drafts(100)).expect("taken");
    engine.shutdown(limit).expect("ends");
    imported(&exported(&old), &new).expect("imports");
    let (store, engine) = start(&new, true);
    // What was taken there is known here.
    assert_eq!(engine.accept_wait(drafts(100)).expect("taken before"), ids);
    for id in &ids {
        drop(engine.act_wait(*id, goniec::engine::Act::Resend(goniec::model::Queued::Ready)));
    }
    let until = Instant::now() + limit;
    let delivered = || {
        let page = store.list(&Query { limit: 1_000, ..Query::default() }).expect("lists");
        page.records.iter().filter(|record| record.state == State::Delivered).count()
    };
    while delivered() < 100 {
        assert!(Instant::now() < until, "{} of 100 are delivered", delivered());
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(10));
    }
    engine.shutdown(limit).expect("ends");
}
