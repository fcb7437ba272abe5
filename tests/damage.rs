//! Damage: flipped bits, zeroed pages, cut tails, missing files. Never a message silently missing or altered, and never a panic for the caller.
//!
//! `GONIEC_DAMAGE_CASES=N` runs N cases instead of 200; `GONIEC_DAMAGE_SEED=N` begins with another.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use goniec::model::{Id, Message, Place, Queued, State, WallMs};
use goniec::store::sled::{Options, SledStore, repair, salvage, verify};
use goniec::store::{Amendment, Batch, Expect, Incoming, Move, Store, StoreError};

type Ledger = BTreeMap<Id, (State, Arc<[u8]>)>;

fn options() -> Options {
    Options { cache_bytes: 4 << 20, ballast_bytes_max: 0, ..Options::default() }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A registry of 400 messages in 40 commits, half of them delivered, and what it must say.
fn filled(dir: &Path) -> Ledger {
    let store = SledStore::open(dir, options()).expect("opens");
    let erp = store.destination("erp").expect("a number");
    let mut ledger = Ledger::new();
    for round in 0..40_u64 {
        let accepts: Vec<Incoming> = (0..10_u64)
            .map(|n| {
                let bytes = usize::try_from((round * 37 + n * 113) % 3000).expect("small");
                let body = vec![u8::try_from(round).expect("small"); bytes];
                let draft = Message::to("erp").key(format!("sku:{n}")).body(body);
                Incoming::new(draft, erp)
            })
            .collect();
        let done = store
            .commit(&Batch { now: WallMs(1000 + round), accepts: accepts.clone(), ..Batch::default() })
            .expect("commits");
        let ready = State::Queued(Queued::Ready);
        for (n, (id, _)) in done.accepted.iter().enumerate() {
            let state = if n % 2 == 0 { State::Delivered } else { ready };
            let _new = ledger.insert(*id, (state, accepts[n].draft.body.clone()));
        }
        let moves = done
            .accepted
            .iter()
            .step_by(2)
            .map(|(_, place)| Move {
                place: *place,
                expect: Expect { state: ready, attempts: 0, revision: 1 },
                to: State::Delivered,
                by: None,
                attempts: 1,
                series: 1,
                attempt: None,
                amend: None,
                untold: false,
            })
            .collect();
        let done = store.commit(&Batch { now: WallMs(1000 + round), moves, ..Batch::default() }).expect("commits");
        store.sync(done.number).expect("syncs");
    }
    store.close().expect("closes");
    ledger
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let target = to.join(entry.file_name());
        if entry.metadata().expect("reads").is_dir() {
            copy(&entry.path(), &target);
        } else {
            let _bytes = fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// A generator of numbers that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = vec![dir.join("format"), dir.join("witness"), dir.join("sled/db"), dir.join("sled/conf")];
    let snaps = fs::read_dir(dir.join("sled")).expect("reads").map(|entry| entry.expect("reads").path());
    files.extend(snaps.filter(|path| path.to_string_lossy().contains("snap.")));
    files
}

/// Does one kind of damage; says what.
fn damage(dir: &Path, dice: &mut Dice) -> String {
    let db = dir.join("sled/db");
    let bytes = fs::metadata(&db).expect("is there").len();
    let file = OpenOptions::new().read(true).write(true).open(&db).expect("opens");
    match dice.below(8) {
        0..4 => {
            let (at, bit) = (dice.below(bytes), dice.below(8));
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("reads");
            file.write_all_at(&[byte[0] ^ 1 << bit], at).expect("writes");
            format!("bit {bit} of byte {at} flipped")
        }
        4 | 5 => {
            let at = dice.below(bytes / 4096) * 4096;
            file.write_all_at(&[0; 4096], at).expect("writes");
            format!("page at {at} zeroed")
        }
        6 => {
            let cut = 1 + dice.below(bytes.min(1 << 20));
            file.set_len(bytes - cut).expect("cuts");
            format!("{cut} bytes cut off")
        }
        _ => {
            let files = files(dir);
            let at = usize::try_from(dice.below(u64::try_from(files.len()).expect("small"))).expect("small");
            fs::remove_file(&files[at]).expect("removes");
            format!("{} removed", files[at].display())
        }
    }
}

/// What one reading of a registry came to.
#[derive(Debug, PartialEq)]
enum Found {
    Intact,
    Reported,
    Silent(String),
}

/// Opens it and compares every message. Only an error may stand where a message does not.
fn read(dir: &Path, ledger: &Ledger) -> Found {
    let store = match SledStore::open(dir, options()) {
        Ok(store) => store,
        Err(StoreError::Damaged(_) | StoreError::Foreign(_) | StoreError::Io(_)) => return Found::Reported,
        Err(other) => return Found::Silent(format!("refused for the wrong reason: {other}")),
    };
    let mut reported = false;
    let mut waiting = 0;
    let told = store.unfinished(&|_| false, &mut |_| waiting += 1);
    let expected = ledger.values().filter(|(state, _)| !state.is_final()).count();
    match told {
        Ok(aside) if aside.is_empty() && waiting != expected => {
            return Found::Silent(format!("{waiting} of {expected} unfinished"));
        }
        Ok(aside) => reported |= !aside.is_empty(),
        Err(_) => reported = true,
    }
    for (id, (state, body)) in ledger {
        let loaded = store.find(*id).and_then(|place| match place {
            Some(place) => store.load(place),
            None => Ok(None),
        });
        match loaded {
            Ok(Some(loaded)) if loaded.expect.state == *state && loaded.message.body == *body => {}
            Ok(Some(_)) => return Found::Silent(format!("message {id} is altered")),
            Ok(None) => return Found::Silent(format!("message {id} is missing")),
            Err(_) => reported = true,
        }
    }
    if reported { Found::Reported } else { Found::Intact }
}

#[test]
fn damage_is_reported_and_the_rest_is_carried_over() {
    let cases = number("GONIEC_DAMAGE_CASES", 200);
    let seed = number("GONIEC_DAMAGE_SEED", 0x9e37_79b9);
    let whole = tempfile::tempdir().expect("a directory");
    let ledger = filled(whole.path());
    let (mut intact, mut reported, mut carried) = (0, 0, 0);
    for case in 0..cases {
        let mut dice = Dice((seed + case).wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        let what = damage(dir.path(), &mut dice);
        let saved = tempfile::tempdir().expect("a directory");
        // Before anything opens it: sled writes when it opens.
        let rescued = salvage(dir.path(), saved.path(), options(), &|note, _| Some(note));
        match read(dir.path(), &ledger) {
            Found::Intact => intact += 1,
            Found::Reported => reported += 1,
            Found::Silent(why) => panic!("seed {seed}, case {case}: {what}: {why}"),
        }
        if let Ok(rescued) = rescued {
            carried += 1;
            rescued_matches(saved.path(), &ledger, &rescued.missing, &format!("seed {seed}, case {case}: {what}"));
        } else {
            assert!(what.contains("db removed"), "seed {seed}, case {case}: {what}: {rescued:?}");
        }
    }
    println!("seed {seed}: {cases} cases, {intact} intact, {reported} reported, {carried} salvaged");
    // The control: damage that nothing notices would leave these at 0.
    assert!(reported > cases / 20 && carried > cases / 2, "{intact} intact, {reported} reported, {carried} salvaged");
}

/// Whatever the new registry has is as it was, and whatever it lacks was said.
fn rescued_matches(dir: &Path, ledger: &Ledger, missing: &[String], what: &str) {
    let store = SledStore::open(dir, options()).expect("opens");
    let mut lost = 0;
    for (id, (state, body)) in ledger {
        let place = store.find(*id).expect("finds");
        match place.map(|place| store.load(place).expect("loads").expect("is there")) {
            Some(loaded) => {
                assert!(loaded.message.body == *body, "{what}: message {id} is altered");
                let held = loaded.expect.state == State::Queued(Queued::Held);
                let older = !missing.is_empty();
                assert!(
                    loaded.expect.state == *state || held || older,
                    "{what}: message {id} is {}",
                    loaded.expect.state
                );
            }
            None => lost += 1,
        }
    }
    assert!(lost == 0 || !missing.is_empty(), "{what}: {lost} messages are missing without a word");
    // A page of 4 KiB or a bit costs a chunk or two, never the registry.
    assert!(what.contains("cut") || lost <= 60, "{what}: {lost} messages lost: {missing:?}");
    store.close().expect("closes");
}

#[test]
fn verify_is_content_with_a_whole_registry_and_with_no_riddled_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = filled(dir.path());
    let found = verify(dir.path(), 4 << 20).expect("opens");
    assert_eq!(
        (found.messages, found.problems.len()),
        (u64::try_from(ledger.len()).expect("small"), 0),
        "{:?}",
        found.problems
    );
    let db = dir.path().join("sled/db");
    let bytes = fs::read(&db).expect("reads");
    let file = OpenOptions::new().write(true).open(&db).expect("opens");
    for at in (0..bytes.len()).step_by(997) {
        file.write_all_at(&[bytes[at] ^ 1], u64::try_from(at).expect("small")).expect("writes");
    }
    assert!(
        verify(dir.path(), 4 << 20).is_ok_and(|found| !found.problems.is_empty())
            || verify(dir.path(), 4 << 20).is_err()
    );
}

/// A registry in which each of many messages has been edited or held, after as many were accepted; where they lie.
fn acted_on(dir: &Path, is_edit: bool) -> Vec<Place> {
    let store = SledStore::open(dir, options()).expect("opens");
    let erp = store.destination("erp").expect("a number");
    let accept = |n: u64| {
        let draft = Message::to("erp").body(b"old".to_vec());
        let incoming = Incoming::new(draft, erp);
        let done = store.commit(&Batch { now: WallMs(1000 + n), accepts: vec![incoming], ..Batch::default() });
        done.expect("commits").accepted[0].1
    };
    let places: Vec<Place> = (0..300).map(accept).collect();
    for place in &places {
        let amend = Amendment { body: vec![1; 15_000].into(), content_type: None, who: "anna".into(), why: "x".into() };
        let step = Move {
            place: *place,
            expect: Expect { state: State::Queued(Queued::Ready), attempts: 0, revision: 1 },
            to: State::Queued(if is_edit { Queued::Ready } else { Queued::Held }),
            by: None,
            attempts: 0,
            series: 0,
            attempt: None,
            amend: Some(amend),
            untold: false,
        };
        let done = store.commit(&Batch { now: WallMs(2000), moves: vec![step], ..Batch::default() }).expect("commits");
        store.sync(done.number).expect("syncs");
    }
    store.close().expect("closes");
    places
}

/// What the start says after a bit was flipped in what sled wrote last of this message's status; `None` where it opens nothing.
fn start_after(dir: &Path, place: Place) -> Option<(Result<Vec<String>, StoreError>, u16)> {
    let db = dir.join("sled/db");
    let mut bytes = fs::read(&db).expect("reads");
    let head = [&[0x9b, b'g', b'n', 2, 8][..], &place.chunk().to_be_bytes()].concat();
    let last = bytes.windows(head.len()).rposition(|window| window == head).expect("a row");
    bytes[last + head.len() + 20] ^= 1;
    fs::write(&db, bytes).expect("writes");
    let store = SledStore::open(dir, options()).ok()?;
    let found = store.load(place).map_or(0, |it| it.expect("is there").expect.revision);
    let told = store.unfinished(&|_| false, &mut |_| ());
    store.close().expect("closes");
    Some((told, found))
}

#[test]
fn nothing_that_was_done_is_undone_without_a_word() {
    for is_edit in [true, false] {
        let whole = tempfile::tempdir().expect("a directory");
        let places = acted_on(whole.path(), is_edit);
        let mut undone = 0;
        for place in places.iter().step_by(10) {
            let dir = tempfile::tempdir().expect("a directory");
            copy(whole.path(), dir.path());
            let Some((told, revision)) = start_after(dir.path(), *place) else { continue };
            println!("{place}: revision {revision}, {told:?}");
            assert!(revision != 1 || told.is_err() || told.is_ok_and(|aside| !aside.is_empty()), "{place}");
            let found = verify(dir.path(), 4 << 20).map_or(Vec::new(), |found| found.problems);
            if revision == 1 && found.iter().any(|what| what.contains("undone")) {
                undone += 1;
                let done = repair(dir.path(), &options()).expect("repairs");
                assert!(done.mended.iter().any(|what| what.contains("taken as it is")), "{:?}", done.mended);
                assert_eq!(done.left.problems, Vec::<String>::new());
                let store = SledStore::open(dir.path(), options()).expect("opens");
                assert_eq!(store.unfinished(&|_| false, &mut |_| ()).expect("starts"), Vec::<String>::new());
            }
        }
        // The control: there is something to be said.
        assert!(undone > 0, "edits: {is_edit}");
    }
}
