//! Power cuts: the binary on a file system of its own that is shut down without a log flush, mounted again, and asked.
//!
//! Every acknowledged message is there with its body. The negative control runs the same binary with its sync calls suppressed by
//! `strace` and must lose. `GONIEC_POWER_CYCLES` sets the cycles. Skipped, aloud, where the machine cannot mount.

#![cfg(feature = "cli")]

#[path = "common/node.rs"]
mod node;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use node::{Dice, Node, Producers, Sink, ask, rounds};

const LOSSES_SHOWN_MAX: usize = 3;

fn run(program: &str, arguments: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A file system in a file, unmounted when dropped.
struct Disk {
    dir: tempfile::TempDir,
    mount: PathBuf,
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", self.path()]);
    }
}

impl Disk {
    fn new(kind: &str) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        std::fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let image = image.to_str().unwrap();
        let made = if kind == "xfs" { run("mkfs.xfs", &["-q", image]) } else { run("mkfs.ext4", &["-q", "-F", image]) };
        let disk = Disk { dir, mount };
        (made && disk.mounted()).then_some(disk)
    }

    fn path(&self) -> &str {
        self.mount.to_str().unwrap()
    }

    fn mounted(&self) -> bool {
        run("mount", &["-o", "loop", self.dir.path().join("image").to_str().unwrap(), self.path()])
    }

    fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Loses all that was not synced, and comes back.
    fn cut(&self, node: &mut Node) {
        assert!(run("xfs_io", &["-x", "-c", "shutdown", self.path()]), "the shutdown works");
        node.kill();
        assert!(run("umount", &[self.path()]) && self.mounted(), "mounts again after the cut");
    }
}

/// Runs producers against the node for a while, cuts, and tells what was acknowledged.
fn cycle(disk: &Disk, sink: u16, tracer: &[&str], millis: u64, body_bytes: usize) -> Option<HashMap<String, Vec<u8>>> {
    let mut node = Node::start(&disk.data(), sink, tracer)?;
    let producers = Producers::start(3, body_bytes);
    producers.port.store(node.port, Ordering::SeqCst);
    // The moment of the cut is what is drawn.
    thread::sleep(Duration::from_millis(millis));
    disk.cut(&mut node);
    Some(producers.finish())
}

/// How many of the ledger are not there, or with another body; all of it where the registry does not open. Says what it found instead.
fn lost(data: &Path, sink: u16, ledger: &HashMap<String, Vec<u8>>) -> usize {
    let Some(node) = Node::start(data, sink, &[]) else {
        println!("the node does not start");
        return ledger.len().max(1);
    };
    let mut lost = 0;
    for (id, body) in ledger {
        let answer = ask(node.port, "GET", &format!("/v1/messages/{id}/body"), "", b"");
        if answer.as_ref().is_none_or(|(status, came)| *status != 200 || came != body) {
            lost += 1;
            if lost <= LOSSES_SHOWN_MAX {
                let found = answer.map(|(status, came)| (status, came.len()));
                println!("{id} of {} bytes: instead (status, bytes) {found:?}", body.len());
            }
        }
    }
    lost
}

fn can_mount(name: &str) -> bool {
    let can = Disk::new("ext4").is_some() && Disk::new("xfs").is_some() && run("xfs_io", &["-V"]);
    if !can {
        println!(
            "SKIPPED: {name}: this machine cannot mount a file system of its own (needs root, loop devices, xfsprogs)"
        );
    }
    can
}

#[test]
fn nothing_acknowledged_is_lost_when_power_is_cut() {
    if !can_mount("nothing_acknowledged_is_lost_when_power_is_cut") {
        return;
    }
    let (cycles, mut dice, sink) = (rounds("GONIEC_POWER_CYCLES", 60), Dice::new("power_cut"), Sink::start());
    let (mut disk, mut old, mut acknowledged) = (None, HashMap::new(), 0);
    for number in 0..cycles {
        // A new database every third cut: half of the cuts hit young ones. One file system in four is xfs.
        if number % 3 == 0 {
            (disk, old) = (Disk::new(if number % 12 == 9 { "xfs" } else { "ext4" }), HashMap::new());
        }
        let disk = disk.as_ref().expect("mounts");
        let body_bytes = if number % 4 == 3 { 300_000 } else { 200 };
        let ledger = cycle(disk, sink.port, &[], 100 + dice.below(900), body_bytes).expect("starts");
        acknowledged += ledger.len();
        old.extend(ledger);
        let lost = lost(&disk.data(), sink.port, &old);
        assert_eq!(lost, 0, "cut {number}, {body_bytes} bytes: lost of {}", old.len());
        if number % 20 == 19 {
            println!("{} cuts, {acknowledged} acknowledged, none lost", number + 1);
        }
    }
    assert!(acknowledged > usize::try_from(cycles).unwrap(), "the producers worked");
    println!("{cycles} cuts, {acknowledged} acknowledged, none lost");
}

#[test]
fn without_sync_calls_something_is_lost() {
    let name = "without_sync_calls_something_is_lost";
    if !can_mount(name) {
        return;
    }
    if !run("strace", &["-o", "/dev/null", "true"]) {
        println!("SKIPPED: {name}: strace cannot trace here");
        return;
    }
    let tracer = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync,fsync",
        "-e",
        "inject=fdatasync,fsync:retval=0",
    ];
    let sink = Sink::start();
    for cut in 1..=10 {
        let disk = Disk::new("ext4").expect("mounts");
        let ledger = cycle(&disk, sink.port, &tracer, 500, 200).expect("starts");
        let lost = lost(&disk.data(), sink.port, &ledger);
        println!("control, cut {cut}: {lost} of {} acknowledged lost", ledger.len());
        if lost > 0 && !ledger.is_empty() {
            return;
        }
    }
    panic!("ten cuts without a sync call lost nothing: the harness does not cut power");
}
