//! Power cuts: the binary on a file system of its own that is shut down without a log flush, mounted again, and asked.
//!
//! Every acknowledged message is there with its body. The log is written through: with the sync calls of commits suppressed by `strace` nothing is lost
//! either. The negative control takes this from it too, by `chattr -S`, and must lose. `GONIEC_POWER_CYCLES` sets the cycles,
//! `GONIEC_POWER_BODY` the bytes of every body in place of small and large ones in turns, all in databases that grow old: the hardest
//! case, where segments are written anew while the file grows. Skipped, aloud, where the machine cannot mount.

#![cfg(feature = "cli")]

#[path = "common/disk.rs"]
mod disk;
#[path = "common/node.rs"]
mod node;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use disk::{Disk, run};
use node::{Dice, Node, Producers, Sink, lost, rounds, verify};

/// The binary with the sync calls for its commits suppressed; those of a start stay.
const WITHOUT_SYNC: [&str; 9] =
    ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:retval=0"];

/// Runs producers against the node for a while, cuts, and tells what was acknowledged.
fn cycle(disk: &Disk, node: Option<Node>, millis: u64, body_bytes: usize) -> Option<HashMap<String, Vec<u8>>> {
    let mut node = node?;
    let producers = Producers::start(3, body_bytes);
    producers.port.store(node.port, Ordering::SeqCst);
    // The moment of the cut is what is drawn.
    thread::sleep(Duration::from_millis(millis));
    disk.cut(&mut node);
    Some(producers.finish())
}

fn can_trace(name: &str) -> bool {
    let can = run("strace", &["-o", "/dev/null", "true"]);
    if !can {
        println!("SKIPPED: {name}: strace cannot trace here");
    }
    can
}

fn can_mount(name: &str) -> bool {
    let can = Disk::new("ext4", 400).is_some() && Disk::new("xfs", 400).is_some() && run("xfs_io", &["-V"]);
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
    let only = std::env::var("GONIEC_POWER_BODY").ok().map(|bytes| bytes.parse().expect("a number of bytes"));
    for number in 0..cycles {
        // Of twelve cuts the first four hit a new database each, the others one that grows; both get small bodies and large ones.
        if number % 12 <= 4 && (only.is_none() || number % 12 == 4) || number == 0 {
            let is_xfs = number % 12 == 1 || number % 48 == 28;
            let mebibytes = if number % 12 == 4 || only.is_some() { 2_000 } else { 400 };
            (disk, old) = (Disk::new(if is_xfs { "xfs" } else { "ext4" }, mebibytes), HashMap::new());
        }
        let disk = disk.as_ref().expect("mounts");
        let body_bytes = only.unwrap_or(if number % 4 == 3 { 300_000 } else { 200 });
        let node = Node::start(&disk.data(), sink.port, &[]);
        let ledger = cycle(disk, node, 100 + dice.below(900), body_bytes).expect("starts");
        acknowledged += ledger.len();
        old.extend(ledger);
        let lost = lost(&disk.data(), sink.port, &old);
        assert_eq!(lost, 0, "cut {number}, {body_bytes} bytes: lost of {}", old.len());
        if number % 12 == 11 {
            verify(&disk.data());
        }
        if number % 20 == 19 {
            println!("{} cuts, {acknowledged} acknowledged, none lost", number + 1);
        }
    }
    assert!(acknowledged > usize::try_from(cycles).unwrap(), "the producers worked");
    println!("{cycles} cuts, {acknowledged} acknowledged, none lost");
}

#[test]
fn what_is_written_is_durable_before_any_sync_call() {
    let name = "what_is_written_is_durable_before_any_sync_call";
    if !can_mount(name) || !can_trace(name) {
        return;
    }
    let sink = Sink::start();
    for (kind, body_bytes) in [("ext4", 200), ("ext4", 300_000), ("xfs", 300_000)] {
        let disk = Disk::new(kind, 2_000).expect("mounts");
        // A registry is made with sync calls; what it writes afterwards is the question.
        let _code = Node::start(&disk.data(), sink.port, &[]).expect("starts").stop();
        let mut old = HashMap::new();
        for cut in 1..=2 {
            let node = Node::start(&disk.data(), sink.port, &WITHOUT_SYNC);
            old.extend(cycle(&disk, node, 800, body_bytes).expect("starts"));
            assert_eq!(
                lost(&disk.data(), sink.port, &old),
                0,
                "{kind}, cut {cut}, {body_bytes} bytes: lost of {}",
                old.len()
            );
        }
        assert!(!old.is_empty(), "the producers worked");
    }
}

#[test]
fn without_sync_calls_and_not_written_through_something_is_lost() {
    let name = "without_sync_calls_and_not_written_through_something_is_lost";
    if !can_mount(name) || !can_trace(name) {
        return;
    }
    // Large enough for the file to grow by many segments in half a second: the space that sled overwrites in place is durable by itself.
    const BODY_BYTES: usize = 100_000;
    let sink = Sink::start();
    for cut in 1..=10 {
        let disk = Disk::new("ext4", 2_000).expect("mounts");
        let node = Node::start(&disk.data(), sink.port, &WITHOUT_SYNC);
        assert!(run("chattr", &["-S", disk.data().join("sled").join("db").to_str().unwrap()]), "the attribute goes");
        let ledger = cycle(&disk, node, 500, BODY_BYTES).expect("starts");
        let lost = lost(&disk.data(), sink.port, &ledger);
        println!("control, cut {cut}: {lost} of {} acknowledged lost", ledger.len());
        if lost > 0 && !ledger.is_empty() {
            return;
        }
    }
    panic!("ten cuts without a sync call lost nothing: the harness does not cut power");
}
