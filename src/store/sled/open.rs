//! Opening a registry: the directory, the lock, the format, the witness, and the head.
//!
//! ```text
//! DIR/format     what this is, the node, the salt      written last, when the registry is made
//! DIR/lock       the pid of the process that has it    locked for as long as it runs
//! DIR/witness    the last durable commit               see `witness`
//! DIR/ballast    nothing, to be given up when the disk is full while we run
//! DIR/ballast.2  the same, for a start on a full disk
//! DIR/sled/      the database
//! DIR/creating   there while the registry is being made
//! DIR/salvaging  there while a salvage writes into it
//! ```
//!
//! # What holds
//!
//! * A registry of a format that is not known is refused before anything is written. One of an older format is read as it is, and says that it has
//!   the newer one before the first commit.
//! * A registry whose making was interrupted is made anew; nobody was promised anything yet. That it was is decided under the lock.
//! * What sled recovered is compared with the witness before anybody sees it.
//!
//! # What it does not know
//!
//! What is done with the registry once it is open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::head::{Counters, Head};
use super::layout::{FORMAT, FORMAT_OLDEST, Seal, Tree, damaged, group_key};
use super::plan::View;
use super::trees::{Trees, Writes};
use super::witness::{Testimony, Witness};
use crate::model::NodeTag;
use crate::store::StoreError;

/// The files of a registry.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    pub(super) sled: PathBuf,
    pub(super) db: PathBuf,
    pub(super) format: PathBuf,
    pub(super) witness: PathBuf,
    pub(super) ballasts: [PathBuf; 2],
    lock: PathBuf,
    creating: PathBuf,
    pub(super) salvaging: PathBuf,
}

impl Paths {
    pub(super) fn of(dir: &Path) -> Paths {
        Paths {
            dir: dir.to_owned(),
            sled: dir.join("sled"),
            db: dir.join("sled").join("db"),
            format: dir.join("format"),
            witness: dir.join("witness"),
            ballasts: [dir.join("ballast"), dir.join("ballast.2")],
            lock: dir.join("lock"),
            creating: dir.join("creating"),
            salvaging: dir.join("salvaging"),
        }
    }
}

/// What was drawn for a registry when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) node: NodeTag,
    pub(super) seal: Seal,
    format: u32,
}

/// A registry that is ours alone, not yet opened.
pub(super) struct Held {
    pub(super) paths: Paths,
    pub(super) identity: Identity,
    /// Held for as long as this lives.
    pub(super) lock: File,
}

/// Takes the directory for this process, and makes the registry where there is none.
pub(super) fn hold(dir: &Path, cache_bytes: u64) -> Result<Held, StoreError> {
    refuse_half(&Paths::of(dir))?;
    hold_after(dir, cache_bytes, || ())
}

/// Takes a registry that must be there already: a wrong directory is not made one.
pub(super) fn hold_known(dir: &Path, cache_bytes: u64) -> Result<Held, StoreError> {
    let paths = Paths::of(dir);
    refuse_half(&paths)?;
    match look(&paths)? {
        (_, true) => Err(none_in(dir)),
        (_, false) => hold_after(dir, cache_bytes, || ()),
    }
}

/// Makes the registry that a salvage writes into; nobody else opens it before the salvage has removed its mark.
pub(super) fn hold_for_salvage(dir: &Path, cache_bytes: u64) -> Result<Held, StoreError> {
    let paths = Paths::of(dir);
    fs::create_dir_all(dir).map_err(disk)?;
    File::create(&paths.salvaging).and_then(|file| file.sync_all()).map_err(disk)?;
    sync_dir(dir)?;
    hold_after(dir, cache_bytes, || ())
}

/// What there is to say of a directory without a registry.
pub(super) fn none_in(dir: &Path) -> StoreError {
    StoreError::Foreign(format!("there is no registry in {}", dir.display()))
}

/// Refuses what a salvage that was cut off has left: it looks like a registry, and most of it may be missing.
fn refuse_half(paths: &Paths) -> Result<(), StoreError> {
    if paths.salvaging.exists() {
        let dir = paths.dir.display();
        return Err(StoreError::Foreign(format!("a salvage into {dir} was cut off; remove it and salvage again")));
    }
    Ok(())
}

/// The same, with what another process does before the lock is ours.
fn hold_after(dir: &Path, cache_bytes: u64, meanwhile: impl FnOnce()) -> Result<Held, StoreError> {
    let paths = Paths::of(dir);
    // What is not ours is refused before anything is written; nothing else follows from this first look.
    let (known, anew) = look(&paths)?;
    if anew && known.is_none() && dir.join("db").exists() && dir.join("conf").exists() {
        return Err(StoreError::Foreign(format!("{} holds a database that is not goniec's", dir.display())));
    }
    fs::create_dir_all(dir).map_err(disk)?;
    meanwhile();
    let lock = lock(&paths)?;
    // Another process may have made the registry since: only under the lock is it known whether there is none.
    let (known, anew) = look(&paths)?;
    let identity = match known {
        Some(identity) if !anew => identity,
        Some(_) | None if anew => make(&paths, cache_bytes)?,
        Some(_) | None => {
            return Err(StoreError::Damaged(format!("{} is missing, and a database is there", paths.format.display())));
        }
    };
    Ok(Held { paths, identity, lock })
}

/// What the directory's registry is, if it has one, and whether one is to be made anew.
fn look(paths: &Paths) -> Result<(Option<Identity>, bool), StoreError> {
    let known = read_format(paths)?;
    let anew = paths.creating.exists() || known.is_none() && !paths.sled.exists() && !paths.witness.exists();
    Ok((known, anew))
}

/// Opens the database and compares it with the witness. On a full disk the ballasts make the room that this takes.
pub(super) fn view(paths: &Paths, seal: Seal, cache_bytes: u64) -> Result<View, StoreError> {
    let mut ballasts = paths.ballasts.iter();
    loop {
        match open_and_compare(paths, seal, cache_bytes) {
            Err(StoreError::Full(why)) => {
                let given = ballasts.by_ref().find(|ballast| fs::remove_file(ballast).is_ok());
                let Some(given) = given else { return Err(StoreError::Full(why)) };
                log::warn!("the disk is full: {} is given up to start", given.display());
            }
            other => return other,
        }
    }
}

fn open_and_compare(paths: &Paths, seal: Seal, cache_bytes: u64) -> Result<View, StoreError> {
    let (witnessed, trees) = database(paths, seal, cache_bytes)?;
    match head(&trees) {
        Ok((head, _)) if head.commit < witnessed => {
            trees.shut();
            let first = head.commit + 1;
            Err(StoreError::Damaged(format!("commits {first} to {witnessed} are missing")))
        }
        Ok((head, counters)) => Ok(View { trees, head, counters }),
        Err(error) => {
            trees.shut();
            Err(error)
        }
    }
}

/// Opens the database, whatever it holds; gives the commit that the witness knows, too.
pub(super) fn database(paths: &Paths, seal: Seal, cache_bytes: u64) -> Result<(u64, Trees), StoreError> {
    let witnessed = match Witness::read(&paths.witness).map_err(disk)? {
        Testimony::Commit(commit) => commit,
        Testimony::Missing => return Err(StoreError::Damaged(format!("{} is missing", paths.witness.display()))),
        Testimony::Broken => {
            return Err(StoreError::Damaged(format!("{} cannot be trusted", paths.witness.display())));
        }
    };
    for needed in [&paths.db, &paths.sled.join("conf")] {
        if !needed.exists() {
            return Err(StoreError::Damaged(format!("{} is missing", needed.display())));
        }
    }
    Ok((witnessed, Trees::open(&paths.sled, seal, cache_bytes)?))
}

/// Reads the head and the counters.
pub(super) fn head(trees: &Trees) -> Result<(Head, Counters), StoreError> {
    let mut counters = Counters::default();
    let mut newest: Option<Head> = None;
    let mut walk = trees.under(Tree::Meta, b"c")?;
    while let Some(row) = walk.forth() {
        let (key, row) = row?;
        let row = trees.seal().unframe(Tree::Meta, &key, &row)?;
        let head = counters.read(row.commit, row.body).ok_or_else(|| damaged(Tree::Meta, &key, "it is broken"))?;
        newest = newest.into_iter().chain([head]).max_by_key(|head| head.commit);
    }
    newest.map(|head| (head, counters)).ok_or_else(|| damaged(Tree::Meta, &group_key(0), "it is missing"))
}

fn make(paths: &Paths, cache_bytes: u64) -> Result<Identity, StoreError> {
    let identity = Identity::draw();
    File::create(&paths.creating).and_then(|file| file.sync_all()).map_err(disk)?;
    sync_dir(&paths.dir)?;
    for file in [&paths.format, &paths.witness] {
        remove(fs::remove_file(file))?;
    }
    remove(fs::remove_dir_all(&paths.sled))?;
    let trees = Trees::open(&paths.sled, identity.seal, cache_bytes)?;
    let empty = Head { next_chunk: 1, floor: 1, ..Head::default() };
    let body = Counters::default().row(&empty, 0, &super::head::Change::default());
    let mut writes = Writes::default();
    writes.put(Tree::Meta, &group_key(0), identity.seal.frame(Tree::Meta, &group_key(0), 0, &body));
    trees.apply(&writes)?;
    trees.flush(1)?;
    trees.shut();
    // A database that was never opened again keeps no snapshot, and then a flipped bit at its beginning can cost rows in silence.
    Trees::open(&paths.sled, identity.seal, cache_bytes)?.shut();
    File::open(&paths.db).and_then(|db| db.sync_all()).map_err(disk)?;
    let mut witness = Witness::open(&paths.witness).map_err(disk)?;
    // Both slots, so that no later write needs room on the disk.
    witness.write(0).and_then(|()| witness.write(0)).and_then(|()| witness.sync()).map_err(disk)?;
    write_format(paths, identity)?;
    fs::remove_file(&paths.creating).map_err(disk)?;
    sync_dir(&paths.sled)?;
    sync_dir(&paths.dir)?;
    if let Some(parent) = paths.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok(identity)
}

impl Identity {
    /// The same for a registry that goes on with the ids of another one.
    pub(super) fn with_node(self, node: NodeTag) -> Identity {
        Identity { node, ..self }
    }

    /// What a new registry is.
    fn draw() -> Identity {
        let random = || std::hash::RandomState::new().build_hasher().finish();
        let node = NodeTag::new(u16::try_from(random() & 0xfff).unwrap_or(0));
        Identity { node, seal: Seal(u32::try_from(random() >> 32).unwrap_or(0)), format: FORMAT }
    }
}

/// Lets a registry of an older format say that it has the newer one.
pub(super) fn raise_format(held: &Held) -> Result<(), StoreError> {
    if held.identity.format == FORMAT { Ok(()) } else { write_format(&held.paths, held.identity) }
}

/// Writes what this directory is. What it says before is as long: it is written over in its place, which takes no room and is never half done.
pub(super) fn write_format(paths: &Paths, identity: Identity) -> Result<(), StoreError> {
    let (node, Seal(salt)) = (identity.node.to_u16(), identity.seal);
    let text = format!("goniec registry\nformat {FORMAT}\nnode {node:03x}\nsalt {salt:08x}\n");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&paths.format);
    let mut file = opened.map_err(disk)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(disk)
}

/// What the registry is, if the directory says that it is one.
pub(super) fn read_format(paths: &Paths) -> Result<Option<Identity>, StoreError> {
    let bytes = match fs::read(&paths.format) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let path = paths.format.display();
    if lines.next() != Some("goniec registry") {
        return Err(StoreError::Foreign(format!("{path} does not say that this is a goniec registry")));
    }
    let number =
        lines.next().and_then(|line| line.strip_prefix("format ")).and_then(|number| number.parse::<u32>().ok());
    let format = match number {
        Some(format @ FORMAT_OLDEST..=FORMAT) => format,
        Some(other) => {
            return Err(StoreError::Foreign(format!(
                "the registry has format {other}, and this goniec reads formats {FORMAT_OLDEST} to {FORMAT}"
            )));
        }
        None => return Err(StoreError::Foreign(format!("{path} does not say its format"))),
    };
    let mut number = |name: &str| {
        let hex = lines.next().and_then(|line| line.strip_prefix(name));
        hex.and_then(|hex| u32::from_str_radix(hex, 16).ok())
    };
    let (node, salt) = (number("node ").and_then(|node| u16::try_from(node).ok()), number("salt "));
    match (node, salt) {
        (Some(node), Some(salt)) => Ok(Some(Identity { node: NodeTag::new(node), seal: Seal(salt), format })),
        (None, _) | (_, None) => Err(StoreError::Damaged(format!("{path} does not say its node and its salt"))),
    }
}

pub(super) fn lock(paths: &Paths) -> Result<File, StoreError> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&paths.lock).map_err(disk)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::Locked { path: paths.dir.clone(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(disk(error)),
    }
    // A full disk must not hinder a start: the pid is for people, the lock is the kernel's.
    let _told = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk)
}

fn remove(outcome: io::Result<()>) -> Result<(), StoreError> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// An error of the file system as ours.
pub(super) fn disk(error: io::Error) -> StoreError {
    if is_full(&error) { StoreError::Full(error.to_string()) } else { StoreError::Io(error) }
}

/// Whether there is no room: on the disk, or in what of it is allotted to us.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE_BYTES: u64 = 4 << 20;

    /// Makes the registry and writes a commit that somebody was promised.
    fn make_and_use(dir: &Path) {
        let held = hold(dir, CACHE_BYTES).expect("is made");
        let found = view(&held.paths, held.identity.seal, CACHE_BYTES).expect("opens");
        let head = Head { commit: 7, ..found.head };
        let body = found.counters.row(&head, 0, &super::super::head::Change::default());
        let mut writes = Writes::default();
        writes.put(Tree::Meta, &group_key(0), found.trees.seal().frame(Tree::Meta, &group_key(0), head.commit, &body));
        found.trees.apply(&writes).expect("writes");
        found.trees.flush(1).expect("flushes");
        found.trees.shut();
    }

    #[test]
    fn a_registry_that_another_process_made_before_the_lock_was_ours_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = hold_after(dir.path(), CACHE_BYTES, || make_and_use(dir.path())).expect("takes it");
        let found = view(&held.paths, held.identity.seal, CACHE_BYTES).expect("opens");
        assert_eq!(found.head.commit, 7);
        found.trees.shut();
        drop(held);
        // The control: what is still being made holds no promise, and is made anew.
        File::create(dir.path().join("creating")).expect("creates");
        let held = hold(dir.path(), CACHE_BYTES).expect("takes it");
        let found = view(&held.paths, held.identity.seal, CACHE_BYTES).expect("opens");
        assert_eq!(found.head.commit, 0);
        let made = fs::metadata(&held.paths.witness).expect("is there").len();
        let mut witness = Witness::open(&held.paths.witness).expect("opens");
        for commit in [1, 2] {
            witness.write(commit).expect("writes");
        }
        assert_eq!(fs::metadata(&held.paths.witness).expect("is there").len(), made, "no write makes it longer");
        found.trees.shut();
    }
}
