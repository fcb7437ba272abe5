//! The registry of one machine: packed rows in sled, and what it takes to trust them.
//!
//! ```text
//! commit   plan (reads) -> one transaction over all trees -> flush        seen by readers; durable where the log is written through
//! sync     fdatasync of sled's file, where it is not -> witness           durable
//! open     lock -> format -> database -> compare with the witness         a gap is loud
//! retain   whole chunks, oldest first, in bounded steps
//! ```
//!
//! `verify` checks a stopped registry row by row; `repair` builds anew what follows from the rest; `salvage` carries what can be read into a new
//! one, also where sled refuses the old.
//!
//! # What it does not know
//!
//! Who delivers, and why a message moves. Only this folder knows sled and crossbeam-epoch.

mod accept;
mod carried;
mod entry;
mod export;
mod fresh;
mod head;
mod hot;
mod import;
mod keys;
mod layout;
mod list;
mod open;
mod plan;
mod read;
mod recent;
mod repair;
mod retain;
mod salvage;
mod search;
mod slot;
mod start;
mod through;
mod trees;
mod verify;
mod witness;
mod write;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::model::{Attempt, Id, Place, Record, WallMs};
use crate::store::{
    Batch, CommitNo, Committed, Count, Dest, Loaded, Page, Query, Retained, Retention, Revision, Room, Store,
    StoreError, Unfinished,
};
use layout::Seal;
use open::{Held, Identity, Paths};
use plan::{View, Writer};
use witness::Witness;
use write::Database;

pub use export::{Exported, export};
pub use import::import;
pub use repair::{Repaired, repair};
pub use salvage::{Salvaged, Takes, salvage};
pub use verify::{Verified, verify};

/// A step of writing at which a test lets the disk fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening the database anew, after a write met a full disk.
    Reopen,
    /// The transaction.
    Apply,
    /// Handing it to the operating system.
    Flush,
    /// Making it durable.
    Sync,
    /// Remembering that it is.
    Witness,
}

/// Called before each [`Step`]; an error is taken for the disk's.
pub type Fault = Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>;

/// How a registry is opened.
#[derive(Clone)]
pub struct Options {
    /// What sled may keep of its pages in memory.
    pub cache_bytes: u64,
    /// What is set aside on the disk, to be given up when it is full; less on a small disk.
    pub ballast_bytes_max: u64,
    /// Below this, accepts are to be refused; less on a small disk.
    pub reserve_bytes_max: u64,
    /// For tests: what fails.
    pub fault: Option<Fault>,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 32 << 20, ballast_bytes_max: 32 << 20, reserve_bytes_max: 64 << 20, fault: None }
    }
}

/// A registry in a directory of its own.
pub struct SledStore {
    paths: Paths,
    seal: Seal,
    options: Options,
    database: RwLock<Database>,
    writer: Mutex<Writer>,
    durable: Mutex<Durable>,
    names: RwLock<Vec<(Dest, Arc<str>)>>,
    /// The last commit written, and the last one synced.
    written: AtomicU64,
    synced: AtomicU64,
    failure: Mutex<Option<String>>,
    /// Keeps others out until the store is closed.
    lock: Mutex<Option<File>>,
}

/// What makes commits durable.
struct Durable {
    db: File,
    witness: Witness,
}

impl SledStore {
    /// Opens the registry in `dir`, and makes one where there is none.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Foreign`] and [`StoreError::Damaged`] as they say; [`StoreError::Full`] and
    /// [`StoreError::Io`] from the disk.
    pub fn open(dir: &Path, options: Options) -> Result<SledStore, StoreError> {
        let held = open::hold(dir, options.cache_bytes)?;
        let view = open::view(&held.paths, held.identity.seal, options.cache_bytes)?;
        open::raise_format(&held)?;
        let store = SledStore::assemble(held, view, options)?;
        store.restore_ballast();
        Ok(store)
    }

    fn assemble(held: Held, view: View, options: Options) -> Result<SledStore, StoreError> {
        let Held { paths, identity: Identity { node, seal, .. }, lock } = held;
        let names = start::names(&view.trees)?;
        let range = start::range(&view)?;
        let db = OpenOptions::new().read(true).write(true).open(&paths.db).map_err(open::disk)?;
        let witness = Witness::open(&paths.witness).map_err(open::disk)?;
        let number = view.head.commit;
        Ok(SledStore {
            paths,
            seal,
            options,
            database: RwLock::new(Database::Open(Box::new(view))),
            writer: Mutex::new(Writer { node, hot: hot::Hot::default(), range, sweep: 0, refused: None }),
            durable: Mutex::new(Durable { db, witness }),
            names: RwLock::new(names),
            written: AtomicU64::new(number),
            // What was recovered may lie in the page cache only: the first sync makes it durable.
            synced: AtomicU64::new(0),
            failure: Mutex::new(None),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Reads under the lock that keeps commits from coming between.
    fn read<T>(&self, each: impl FnOnce(&View) -> Result<T, StoreError>) -> Result<T, StoreError> {
        each(self.database().view()?)
    }

    /// Reads, and once more where a write has met a full disk: until it was opened anew, the storage engine refuses reads too.
    fn read_on<T>(&self, each: impl Fn(&View) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.read(&each) {
            Err(StoreError::Full(_)) => {
                let mut writer = lock(&self.writer);
                match self.read(&each) {
                    Err(StoreError::Full(_)) => self.recover(&mut writer).and_then(|()| self.read(&each)),
                    other => other,
                }
            }
            other => other,
        }
    }

    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<(), StoreError> {
        match lock(&self.failure).as_ref() {
            Some(why) => Err(StoreError::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    /// Remembers the first failure; from now on nothing is written.
    fn poison(&self, error: &StoreError) {
        let _first = lock(&self.failure).get_or_insert_with(|| error.to_string());
    }

    fn fault(&self, step: Step) -> Result<(), StoreError> {
        self.options.fault.as_ref().map_or(Ok(()), |fault| fault(step)).map_err(open::disk)
    }

    /// Sets space aside for the day the disk is full, where there is enough of it.
    fn restore_ballast(&self) {
        let bytes = self.ballast_bytes();
        for ballast in &self.paths.ballasts {
            let room = self.room();
            let free = room.free_bytes.unwrap_or(0);
            if ballast.exists() || bytes == 0 || free < room.reserve_bytes.saturating_add(bytes) {
                continue;
            }
            // Not having it is no failure: it only makes a full disk harder.
            if write_zeros(ballast, bytes).is_err() {
                let _gone = std::fs::remove_file(ballast);
            }
        }
    }

    fn ballast_bytes(&self) -> u64 {
        share(&self.paths.dir, self.options.ballast_bytes_max)
    }
}

impl Store for SledStore {
    fn destination(&self, name: &str) -> Result<Dest, StoreError> {
        if let Some((dest, _)) = self.names().iter().find(|(_, known)| &**known == name) {
            return Ok(*dest);
        }
        let dest = {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            if let Some((dest, _)) = names.iter().find(|(_, known)| &**known == name) {
                return Ok(*dest);
            }
            let next = names.iter().map(|(dest, _)| dest.0).max().map_or(0, |highest| highest.saturating_add(1));
            self.commit_plan(WallMs(0), |plan| {
                // A name is no commit: it takes no number.
                plan.head = plan.view.head;
                plan.name(next, name);
                Ok(())
            })?;
            names.push((Dest(next), Arc::from(name)));
            Dest(next)
        };
        // Whatever was synced before, the name was not.
        self.sync(0)?;
        Ok(dest)
    }

    fn destinations(&self) -> Vec<(Dest, Arc<str>)> {
        self.names().clone()
    }

    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.commit_plan(batch.now, |plan| plan.batch(batch))
    }

    fn sync(&self, number: CommitNo) -> Result<(), StoreError> {
        let mut durable = lock(&self.durable);
        self.alive()?;
        if self.synced.load(Ordering::Acquire) >= number && number > 0 {
            return Ok(());
        }
        // What was recovered may lie in the page cache only: the first sync makes it durable, whatever flushes do.
        let is_first = self.synced.load(Ordering::Acquire) == 0;
        let is_through = self.database().is_through()?;
        let target = self.written.load(Ordering::Acquire);
        let outcome = self
            .fault(Step::Sync)
            .and_then(|()| if is_through && !is_first { Ok(()) } else { durable.db.sync_data().map_err(open::disk) })
            .and_then(|()| self.fault(Step::Witness))
            .and_then(|()| durable.witness.write(target).map_err(open::disk));
        outcome.inspect(|()| self.synced.store(target, Ordering::Release)).inspect_err(|error| self.poison(error))
    }

    fn unfinished(
        &self,
        is_timed: &dyn Fn(Dest) -> bool,
        each: &mut dyn FnMut(Unfinished),
    ) -> Result<Vec<String>, StoreError> {
        self.read(|view| start::unfinished(view, is_timed, each))
    }

    fn idempotent(&self, since: WallMs, each: &mut dyn FnMut(u64, Place)) -> Result<Vec<String>, StoreError> {
        self.read(|view| start::idempotent(view, since, each))
    }

    fn untold(&self, after: Option<Place>, limit: usize) -> Result<Vec<Place>, StoreError> {
        self.read(|view| start::untold(view, after, limit))
    }

    fn find(&self, id: Id) -> Result<Option<Place>, StoreError> {
        self.read_on(|view| read::find(&view.trees, &view.head, id))
    }

    fn load(&self, place: Place) -> Result<Option<Loaded>, StoreError> {
        self.read_on(|view| read::load(&view.trees, &view.head, place))
    }

    fn get(&self, place: Place) -> Result<Option<Record>, StoreError> {
        self.read_on(|view| {
            let slot = read::slot(&view.trees, &view.head, place)?;
            slot.map(|slot| read::record(&view.trees, &view.head, place, &slot)).transpose()
        })
    }

    fn attempts(&self, place: Place) -> Result<Vec<Attempt>, StoreError> {
        self.read_on(|view| read::attempts(&view.trees, &view.head, place))
    }

    fn revision(&self, place: Place, number: u16) -> Result<Option<Revision>, StoreError> {
        self.read_on(|view| read::revision(&view.trees, &view.head, place, number))
    }

    fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let page = || {
            let mut walk = list::Walk::new(query);
            while self.read(|view| walk.advance(view))? {}
            Ok(walk.page())
        };
        match page() {
            Err(StoreError::Full(_)) => {
                self.read_on(|view| read::slot(&view.trees, &view.head, Place::new(0, 0))).and_then(|_| page())
            }
            other => other,
        }
    }

    fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_on(|view| start::note(&view.trees, key))
    }

    fn notes(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.read(|view| start::notes(&view.trees, prefix, each))
    }

    fn counts(&self) -> Vec<Count> {
        self.database().counts()
    }

    fn retain(&self, rule: &Retention, now: WallMs) -> Result<Retained, StoreError> {
        let from = lock(&self.writer).sweep;
        let (retained, next) = match self.commit_plan(now, |plan| plan.retain(rule, from..u64::MAX)) {
            Err(StoreError::Damaged(_)) => self.retain_around(rule, now, from)?,
            other => other?,
        };
        lock(&self.writer).sweep = next;
        self.restore_ballast();
        Ok(retained)
    }

    fn room(&self) -> Room {
        Room {
            used_bytes: std::fs::metadata(&self.paths.db).map_or(0, |db| db.len()),
            free_bytes: fs2::available_space(&self.paths.dir).ok(),
            reserve_bytes: share(&self.paths.dir, self.options.reserve_bytes_max),
        }
    }

    fn close(&self) -> Result<(), StoreError> {
        let _writer = lock(&self.writer);
        let outcome = match self.sync(0) {
            Err(StoreError::Closed) => return Ok(()),
            other => other,
        };
        self.database.write().unwrap_or_else(PoisonError::into_inner).close();
        let synced = lock(&self.durable).witness.sync().map_err(open::disk);
        lock(&self.lock).take();
        outcome.and(synced)
    }
}

impl SledStore {
    /// A step of retention chunk by chunk, past those that are damaged.
    fn retain_around(&self, rule: &Retention, now: WallMs, from: u64) -> Result<(Retained, u64), StoreError> {
        let head = self.read(|view| Ok(view.head))?;
        let first = from.max(head.floor);
        let end = first.saturating_add(u64::try_from(rule.step_max).unwrap_or(1).max(1)).min(head.next_chunk);
        let mut all = Retained::default();
        for chunk in first..end {
            match self.commit_plan(now, |plan| plan.retain(rule, chunk..chunk + 1)) {
                Ok((done, _)) => {
                    all.messages += done.messages;
                    all.bodies += done.bodies;
                }
                Err(StoreError::Damaged(why)) => log::error!("retention passes over chunk {chunk}: {why}"),
                Err(error) => return Err(error),
            }
        }
        all.more = end < head.next_chunk;
        Ok((all, if all.more { end } else { 0 }))
    }

    fn names(&self) -> RwLockReadGuard<'_, Vec<(Dest, Arc<str>)>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.database.get_mut().unwrap_or_else(PoisonError::into_inner).close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most `bytes_max`, and at most a sixteenth of the disk.
fn share(dir: &Path, bytes_max: u64) -> u64 {
    fs2::total_space(dir).map_or(bytes_max, |total| bytes_max.min(total / 16))
}

fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    file.sync_all()
}
