//! Power cuts: the binary on a file system of its own that is shut down without a log flush, mounted again, and asked.
//!
//! Every acknowledged message is there with its body. The negative control runs the same binary with its sync calls suppressed by
//! `strace` and must lose. `GONIEC_POWER_CYCLES` sets the cycles. Skipped, aloud, where the machine cannot mount.

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
    for number in 0..cycles {
        // Of twelve cuts the first four hit a new database each, the others one that grows; both get small bodies and large ones.
        if number % 12 <= 4 {
            let is_xfs = number % 12 == 1 || number % 48 == 28;
            let mebibytes = if number % 12 == 4 { 2_000 } else { 400 };
            (disk, old) = (Disk::new(if is_xfs { "xfs" } else { "ext4" }, mebibytes), HashMap::new());
        }
        let disk = disk.as_ref().expect("mounts");
        let body_bytes = if number % 4 == 3 { 300_000 } else { 200 };
        let ledger = cycle(disk, sink.port, &[], 100 + dice.below(900), body_bytes).expect("starts");
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
        let disk = Disk::new("ext4", 400).expect("mounts");
        let ledger = cycle(&disk, sink.port, &tracer, 500, 200).expect("starts");
        let lost = lost(&disk.data(), sink.port, &ledger);
        println!("control, cut {cut}: {lost} of {} acknowledged lost", ledger.len());
        if lost > 0 && !ledger.is_empty() {
            return;
        }
    }
    panic!("ten cuts without a sync call lost nothing: the harness does not cut power");
}
