//! Every store against one suite: the contract of `goniec::store` in cases.

mod conformance;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use conformance::World;
use goniec::store::memory::{DiskFault, MemoryDisk, MemoryStore};
use goniec::store::sled::{Options, SledStore, Step};
use goniec::store::{Batch, Store, StoreError};

/// A registry on a disk that forgets.
fn memory() -> World {
    let disk = MemoryDisk::new();
    let with = |act: fn(&MemoryDisk, u64)| -> Option<Box<dyn Fn(u64)>> {
        let disk = disk.clone();
        Some(Box::new(move |argument| act(&disk, argument)))
    };
    World {
        crash: with(|disk, seed| disk.crash(seed)),
        fail_write: with(|disk, after| disk.fail_write(after, DiskFault::Io)),
        fail_sync: with(|disk, after| disk.fail_sync(after, DiskFault::Full)),
        verify: Box::new(|_| {}),
        open: Box::new(move || {
            let store = MemoryStore::open(&disk)?;
            store.check()?;
            Ok(Box::new(store))
        }),
    }
}

/// A registry on sled in a directory of its own, with the disk's failures put in where it writes.
fn sled() -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let failing: Arc<[AtomicI64; 2]> = Arc::new([AtomicI64::new(-1), AtomicI64::new(-1)]);
    let fail_after = |which: usize| -> Option<Box<dyn Fn(u64)>> {
        let failing = failing.clone();
        Some(Box::new(move |after| failing[which].store(i64::try_from(after).expect("small"), Ordering::SeqCst)))
    };
    World {
        crash: None,
        fail_write: fail_after(0),
        fail_sync: fail_after(1),
        verify: Box::new(|_| {}),
        open: Box::new(move || {
            let failing = failing.clone();
            failing.iter().for_each(|left| left.store(-1, Ordering::SeqCst));
            let fault = move |step: Step| match step {
                Step::Apply => fails(&failing[0]),
                Step::Sync => fails(&failing[1]),
                Step::Flush | Step::Witness | Step::Reopen => Ok(()),
            };
            let fault = Some(Arc::new(fault) as _);
            let options = Options { cache_bytes: 8 << 20, ballast_bytes_max: 0, fault, ..Options::default() };
            Ok(Box::new(SledStore::open(dir.path(), options)?))
        }),
    }
}

/// Counts down to the failure, and then past it.
fn fails(left: &AtomicI64) -> std::io::Result<()> {
    match left.fetch_sub(1, Ordering::SeqCst) {
        0 => Err(std::io::Error::other("the disk was told to fail")),
        _ => Ok(()),
    }
}

#[test]
fn the_sled_store_keeps_the_contract() {
    conformance::run(sled);
}

#[test]
fn the_memory_store_keeps_the_contract() {
    conformance::run(memory);
}

#[test]
fn a_memory_store_without_a_disk_takes_and_gives_back() {
    let store = MemoryStore::new();
    let (id, place) = conformance::accept(&store, conformance::T0, conformance::draft("a"));
    assert_eq!(store.find(id).expect("finds"), Some(place));
    store.check().expect("its indexes follow from its rows");
    assert_eq!(store.room().used_bytes, 0);
}

/// Every bit of a small registry, flipped on its own: the start refuses or everything is as it was. Never a message less.
#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let filled = || {
        let disk = MemoryDisk::new();
        let store = MemoryStore::open(&disk).expect("opens");
        for key in ["a", "b"] {
            conformance::accept(&store, conformance::T0, conformance::draft(key));
        }
        disk
    };
    let whole = conformance::dump(&MemoryStore::open(&filled()).expect("opens"));
    let bits = usize::try_from(MemoryStore::open(&filled()).expect("opens").room().used_bytes).expect("small") * 8;
    let mut refused = 0;
    for bit in 0..bits {
        let disk = filled();
        disk.flip(bit);
        match MemoryStore::open(&disk) {
            Ok(store) => assert_eq!(conformance::dump(&store), whole, "bit {bit}"),
            Err(StoreError::Damaged(_)) => refused += 1,
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert!(refused > bits / 2, "{refused} of {bits} were noticed");
}

#[test]
fn a_cut_tail_is_refused_and_says_what_is_missing() {
    let disk = MemoryDisk::new();
    let store = MemoryStore::open(&disk).expect("opens");
    for key in ["a", "b", "c"] {
        conformance::accept(&store, conformance::T0, conformance::draft(key));
    }
    disk.cut(1);
    let refusal = MemoryStore::open(&disk).expect_err("refuses").to_string();
    assert_eq!(refusal, "registry damaged: commits 3 to 3 are missing, which were once safe");
}

#[test]
fn an_older_opening_can_write_no_more() {
    let disk = MemoryDisk::new();
    let old = MemoryStore::open(&disk).expect("opens");
    disk.crash(0);
    assert!(matches!(old.commit(&Batch::default()), Err(StoreError::Closed)));
    let new = MemoryStore::open(&disk).expect("opens");
    assert_eq!(new.commit(&Batch::default()).expect("commits").number, 1);
    assert!(old.sync(1).is_err() && old.destination("erp").is_err());
}

#[test]
fn a_full_disk_refuses_what_is_new_and_still_deletes() {
    let disk = MemoryDisk::new();
    let store = MemoryStore::open(&disk).expect("opens");
    let (_, place) = conformance::accept(&store, conformance::T0, conformance::draft("a"));
    disk.set_capacity(Some(store.room().used_bytes + 100));
    let dest = store.destination("erp").expect("a number");
    let big = conformance::incoming(dest, conformance::draft("b").body(vec![0; 4_000]));
    let accepts = Batch { accepts: vec![big], ..Batch::default() };
    assert!(matches!(store.commit(&accepts), Err(StoreError::Full(_))));
    let done = conformance::commit(&store, &Batch { deletes: vec![place], ..Batch::default() });
    assert_eq!((done.number, done.deleted), (2, vec![true]), "a refusal neither poisons nor takes a number");
    disk.set_capacity(None);
    assert_eq!(store.commit(&accepts).expect("commits").number, 3);
}

#[test]
fn the_log_stays_within_a_few_times_what_it_holds() {
    let disk = MemoryDisk::new();
    let store = MemoryStore::open(&disk).expect("opens");
    let mut largest = 0;
    for n in 0..3_000 {
        let (_, place) = conformance::accept(&store, conformance::T0.plus(n), conformance::draft("a"));
        conformance::commit(&store, &Batch { deletes: vec![place], ..Batch::default() });
        largest = largest.max(store.room().used_bytes);
    }
    assert!(largest < 128 << 10, "{largest} bytes for a registry that holds one message at a time");
    assert!(MemoryStore::open(&disk).expect("opens").check().is_ok());
}

/// The control of the power cuts: on a disk that lies about syncs, something that was synced is lost.
#[test]
fn a_disk_that_lies_loses_what_was_synced() {
    let lost = (0..20).filter(|seed| {
        let disk = MemoryDisk::new();
        let store = MemoryStore::open(&disk).expect("opens");
        disk.lie_about_syncs(true);
        let (id, _) = conformance::accept(&store, conformance::T0, conformance::draft("a"));
        disk.crash(*seed);
        MemoryStore::open(&disk).expect("opens").find(id).expect("finds").is_none()
    });
    assert!(lost.count() > 3);
}
