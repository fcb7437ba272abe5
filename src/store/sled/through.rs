//! The log is written through: what sled was told is written is on the disk.
//!
//! On Linux sled ends every write of its log with `sync_file_range`, takes that for a sync, and builds on it: it writes into the header of the
//! next segment up to where the log is whole, and overwrites segments whose pages it has written anew elsewhere. But `sync_file_range` makes no
//! size and no place of a file durable. A power cut then keeps the segment that was overwritten in place, and loses the one before it that had
//! made the file longer; what the headers claim is not there, and sled cuts the log far too early or finds pages gone.
//!
//! # What holds
//!
//! * The file has the attribute `S` (`chattr +S`): every write to it is an `fdatasync` of what it wrote, in this order. sled's assumptions
//!   become true by construction.
//! * On other systems there is nothing to do: there sled syncs the file after every write.
//!
//! # What it does not know
//!
//! What is in the file.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes every write to this file durable before it returns. Whether the file system can do that.
#[cfg(target_os = "linux")]
pub(super) fn write_through(path: &Path) -> io::Result<bool> {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

    let file = File::open(path)?;
    let Ok(flags) = ioctl_getflags(&file) else { return Ok(false) };
    if flags.contains(IFlags::SYNC) {
        return Ok(true);
    }
    if ioctl_setflags(&file, flags | IFlags::SYNC).is_err() {
        return Ok(false);
    }
    // The attribute itself, and all that was written before it.
    file.sync_all()?;
    Ok(ioctl_getflags(&file).is_ok_and(|flags| flags.contains(IFlags::SYNC)))
}

/// Makes every write to this file durable before it returns: sled does so itself here.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_through(path: &Path) -> io::Result<bool> {
    File::open(path).map(|_exists| true)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_through_has_the_attribute_and_one_that_is_not_has_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
        for path in [&ours, &other] {
            std::fs::write(path, b"log").expect("writes");
        }
        if !write_through(&ours).expect("opens") {
            println!("SKIPPED: write_through: this file system has no attribute S");
            return;
        }
        let has = |path| {
            rustix::fs::ioctl_getflags(File::open(path).expect("opens"))
                .expect("asks")
                .contains(rustix::fs::IFlags::SYNC)
        };
        assert!(has(&ours) && !has(&other));
        assert!(write_through(&ours).expect("opens"), "a second time changes nothing");
        assert!(write_through(&dir.path().join("none")).is_err());
    }
}
