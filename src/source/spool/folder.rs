//! The folder of a spool: which files wait in it, and where they go when they are done with.
//!
//! # What holds
//!
//! * Only plain files count: no link leads out of the folder, and no pipe stops the reader.
//! * A file takes the place of no other one: where its name is taken it gets a number.
//! * A move is durable on return.
//!
//! # What it does not know
//!
//! What is in the files.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::WallMs;
use crate::model::percent::{hex, unhex};

/// Where files go that were taken.
const DONE: &str = "done";
/// What a file is called while it is moved. It begins with a dot, so it is not looked at.
const HELD: &str = ".goniec-taken";
/// Where files go that cannot be read.
const FAILED: &str = "failed";
/// How the name ends of a text that says why.
const WHY: &str = ".why";
/// How much of it is shown, in bytes.
const WHY_BYTES_SHOWN_MAX: u64 = 4_096;
/// The most names that are kept in mind at once.
const NAMES_MAX: usize = 1_000;
/// The most bytes of a name there: what is put behind it has room.
const NAME_BYTES_MAX: usize = 240;
/// How often a name is tried with another number.
const NUMBERS_MAX: u32 = 1_000_000;

/// A file as it was met: another one under its name, or another content, is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The bytes of its name, in hex.
    name: String,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

/// What lies among those that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// So many files.
    pub(super) files: u64,
    /// The one that came there last.
    pub(super) last: Option<OsString>,
    /// When it did; the reason of it, empty where none lies beside it.
    pub(super) last_at: WallMs,
    pub(super) why: String,
}

/// What waits in a folder.
pub(super) struct Waiting {
    /// The first names in order.
    pub(super) names: Vec<OsString>,
    /// How many files there are in all.
    pub(super) files: u64,
}

/// A folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Identity {
    fn of(name: &OsStr, found: &Metadata) -> Identity {
        Identity {
            name: hex(name.as_bytes()),
            inode: found.ino(),
            bytes: found.len(),
            modified_s: found.mtime(),
            modified_ns: found.mtime_nsec(),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> OsString {
        OsString::from_vec(unhex(&self.name).unwrap_or_default())
    }
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Folder {
        Folder { dir: dir.to_owned() }
    }

    /// Sees to it that both places beside it are there.
    pub(super) fn prepare(&self) -> io::Result<()> {
        for name in [DONE, FAILED] {
            match fs::create_dir(self.dir.join(name)) {
                Ok(()) => sync(&self.dir)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.own(name)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the place of this name is a folder in this one: a link would lead elsewhere, where nothing of ours is moved or removed.
    fn own(&self, name: &str) -> io::Result<()> {
        if fs::symlink_metadata(self.dir.join(name))?.is_dir() {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::NotADirectory, format!("{name} is no folder of its own, but a link or a file")))
    }

    /// The files that wait.
    pub(super) fn waiting(&self) -> io::Result<Waiting> {
        let mut first = BinaryHeap::new();
        let mut files = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_looked_at(&name) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            files += 1;
            first.push(name);
            if first.len() > NAMES_MAX {
                let _last = first.pop();
            }
        }
        Ok(Waiting { names: first.into_sorted_vec(), files })
    }

    /// The file of this name as it is now; `None` where there is none, or no plain one.
    pub(super) fn identity(&self, name: &OsStr) -> io::Result<Option<Identity>> {
        identity(&self.dir.join(name))
    }

    /// Opens a plain file; `None` where there is none.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<Option<(File, Identity)>> {
        let Some(identity) = self.identity(name)? else { return Ok(None) };
        let file = plain(&self.dir.join(name))?;
        Ok((Identity::of(name, &file.metadata()?) == identity).then_some((file, identity)))
    }

    /// Moves a file that was taken. What was odd about it, in words.
    pub(super) fn done(&self, file: &Identity) -> io::Result<Option<String>> {
        // Under this name nobody puts another one in its place, so that what is looked at is what is moved.
        fs::rename(self.dir.join(file.name()), self.dir.join(HELD))?;
        self.settle(Some(file))
    }

    /// Brings to its end what was being moved, where a process ended over it: this file was taken, and nothing else.
    pub(super) fn settle(&self, taken: Option<&Identity>) -> io::Result<Option<String>> {
        let held = OsStr::new(HELD);
        let Some(found) = identity(&self.dir.join(HELD))? else { return Ok(None) };
        let Some(taken) = taken.filter(|taken| taken.inode == found.inode) else {
            let name = taken.map_or_else(|| OsString::from("file"), Identity::name);
            self.put_back(&name)?;
            return Ok(Some("another file came in its place while it was taken: that one is taken for itself".into()));
        };
        let is_same = Identity { name: taken.name.clone(), ..found } == *taken;
        self.carry(held, &free(&self.dir.join(DONE), &taken.name())?)?;
        let bytes = taken.bytes;
        let odd = format!("it was written to while it was taken: what changed after {bytes} bytes was not taken");
        Ok((!is_same).then_some(odd))
    }

    /// Gives what was not taken its name again; where that has come anew, a number before it: what stands behind the dot says what it is.
    fn put_back(&self, name: &OsStr) -> io::Result<()> {
        for number in 0..NUMBERS_MAX {
            let mut to = OsString::new();
            if number > 0 {
                to.push(format!("{number}."));
            }
            to.push(name);
            match rename_new(&self.dir.join(HELD), &self.dir.join(to)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => return other.and_then(|()| sync(&self.dir)),
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "its name is taken with every number"))
    }

    /// Moves a file that cannot be read, and leaves a text beside it.
    pub(super) fn failed(&self, name: &OsStr, why: &str) -> io::Result<()> {
        let failed = self.dir.join(FAILED);
        let to = free(&failed, name)?;
        tell(&beside(&to), why)?;
        self.carry(name, &to)
    }

    /// Leaves a text of a file that is not there any more.
    pub(super) fn lost(&self, name: &OsStr, why: &str) -> io::Result<()> {
        let failed = self.dir.join(FAILED);
        tell(&beside(&free(&failed, name)?), why)?;
        sync(&failed)
    }

    /// When something was last put into the place of those that cannot be read, or taken out of it: seconds, and nanoseconds.
    pub(super) fn aside_changed(&self) -> io::Result<(i64, i64)> {
        let found = fs::symlink_metadata(self.dir.join(FAILED))?;
        Ok((found.mtime(), found.mtime_nsec()))
    }

    /// What lies there.
    pub(super) fn aside(&self) -> io::Result<Aside> {
        let failed = self.dir.join(FAILED);
        let (mut aside, mut newest) = (Aside::default(), (0, 0));
        for entry in fs::read_dir(&failed)? {
            let entry = entry?;
            let name = entry.file_name();
            // Somebody may be tidying up.
            let Ok(found) = entry.metadata() else { continue };
            if !found.is_file() || name.as_bytes().ends_with(WHY.as_bytes()) {
                continue;
            }
            aside.files += 1;
            let moved = (found.ctime(), found.ctime_nsec());
            // Of those that came at once the last in the order in which they are taken.
            if (moved, Some(&name)) >= (newest, aside.last.as_ref()) {
                newest = moved;
                aside.last = Some(name);
            }
        }
        let seconds = u64::try_from(newest.0).unwrap_or(0);
        aside.last_at =
            WallMs(seconds.saturating_mul(1_000).saturating_add(u64::try_from(newest.1 / 1_000_000).unwrap_or(0)));
        let said = |name: &OsString| beginning(&beside(&failed.join(name))).unwrap_or_default();
        aside.why = aside.last.as_ref().map(said).unwrap_or_default();
        Ok(aside)
    }

    /// Removes what was moved to the place of those that were taken before this time.
    pub(super) fn sweep(&self, before: WallMs) -> io::Result<u64> {
        self.own(DONE)?;
        let mut removed = 0;
        for entry in fs::read_dir(self.dir.join(DONE))? {
            let entry = entry?;
            let found = entry.metadata()?;
            // Its last change was the move.
            let moved_ms = found.ctime().saturating_mul(1_000).saturating_add(found.ctime_nsec() / 1_000_000);
            if found.is_file() && u64::try_from(moved_ms).is_ok_and(|moved_ms| moved_ms < before.0) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Moves it; both folders are durable on return.
    fn carry(&self, name: &OsStr, to: &Path) -> io::Result<()> {
        fs::rename(self.dir.join(name), to)?;
        to.parent().map_or(Ok(()), sync)?;
        sync(&self.dir)
    }
}

/// Whether a file of this name is meant: others are still being written, or are somebody else's.
fn is_looked_at(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.starts_with(b".") && !name.ends_with(b".tmp") && !name.ends_with(b".part")
}

/// Opens a plain file: what takes its place meanwhile neither leads elsewhere nor stops the reader.
fn plain(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    options.open(path)
}

/// The beginning of the text that says why.
fn beginning(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    plain(path)?.take(WHY_BYTES_SHOWN_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file().then(|| Identity::of(path.file_name().unwrap_or_default(), &found))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renames a file where nothing has the new name.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            other => return Ok(other?),
        }
    }
    if is_taken(to)? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// A path in this folder that is not taken, nor is that of a text beside it.
fn free(folder: &Path, name: &OsStr) -> io::Result<PathBuf> {
    let name = name.as_bytes();
    let name = OsStr::from_bytes(name.get(..NAME_BYTES_MAX).unwrap_or(name));
    for number in 0..NUMBERS_MAX {
        let mut name = name.to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let path = folder.join(name);
        if !is_taken(&path)? && !is_taken(&beside(&path))? {
            return Ok(path);
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "its name is taken with every number"))
}

fn is_taken(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The text beside a file.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(WHY);
    PathBuf::from(beside)
}

fn tell(path: &Path, why: &str) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(why.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_process_ended_over_is_moved_or_put_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(dir.path());
        folder.prepare().expect("is prepared");
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("writes");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        put("a.csv", "taken");
        let taken = folder.identity(OsStr::new("a.csv")).expect("reads").expect("is there");
        // It ended between the two moves.
        fs::rename(dir.path().join("a.csv"), dir.path().join(HELD)).expect("moves");
        assert_eq!(folder.settle(Some(&taken)).expect("settles"), None);
        assert_eq!((read("done/a.csv").as_deref(), read(HELD)), (Some("taken"), None));
        // Another one had come under its name; and a third, meanwhile.
        for (third, back) in [(None, "a.csv"), (Some("third"), "1.a.csv")] {
            third.into_iter().for_each(|text| put("a.csv", text));
            put(HELD, "another");
            assert!(folder.settle(Some(&taken)).expect("settles").is_some_and(|odd| odd.contains("another file")));
            assert_eq!((read(back).as_deref(), read(HELD)), (Some("another"), None));
            assert_eq!(third, third.and(read("a.csv").as_deref()));
        }
        put(HELD, "nobody knows");
        folder.settle(None).expect("settles");
        assert_eq!(read("file").as_deref(), Some("nobody knows"));
    }
}
