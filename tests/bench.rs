//! `goniec bench` with tiny counts: every row is there and plausible, and nothing is left behind. No figure is judged.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn bench(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(["bench", "--json", "--data"]).arg(dir).args(arguments).stdin(Stdio::null());
    command
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Processes of this machine that name the directory, or are children of this one.
fn processes_of(dir: &Path) -> Vec<String> {
    let name = dir.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("a Linux").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&name)).collect()
}

fn check_nothing_is_left(dir: &Path) {
    assert_eq!(processes_of(dir), Vec::<String>::new());
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("no {name}: {row}"))
}

#[test]
fn every_row_is_there_and_plausible() {
    let dir = tempfile::tempdir().unwrap();
    let has_redis = Command::new("redis-server").arg("--version").output().is_ok();
    if !has_redis {
        println!(
            "SKIPPED: every_row_is_there_and_plausible: redis-server is not installed, nothing to compare accepts with"
        );
        return;
    }
    let rows = rows(&bench(dir.path(), &["--messages", "600", "--rounds", "2"]).output().unwrap());
    let parts: Vec<&str> = rows.iter().map(|row| row["part"].as_str().unwrap()).collect();
    let usual = [&["lives"; 4][..], &["accepts"; 2], &["deliveries"; 2], &["intake", "idle", "binary"]].concat();
    assert_eq!(parts, usual);
    for row in &rows {
        assert!(number(row, "goniec") > 0.0, "{row}");
        if row["unit"] == "/s" {
            let (least, middle, most) = (number(row, "ratio_min"), number(row, "ratio"), number(row, "ratio_max"));
            assert!(0.0001 < least && least <= middle && middle <= most && most < 1_000.0, "{row}");
            assert_eq!(row["rounds"], 2);
        }
    }
    assert!(rows.iter().filter(|row| row["against"].to_string().contains("Redis")).count() == 2);
    check_nothing_is_left(dir.path());
}

#[test]
fn what_waits_is_measured_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let asked = ["--only", "keys", "--only", "memory", "--only", "start", "--messages", "2000", "--rounds", "1"];
    let rows = rows(&bench(dir.path(), &asked).output().unwrap());
    let found: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["part"].as_str().unwrap(), row["unit"].as_str().unwrap())).collect();
    let waiting = [("memory", "MB"), ("memory", "MB"), ("memory", "MB"), ("start", "s"), ("start", "s")];
    assert_eq!(found, [&[("keys", "/s"); 3][..], &waiting].concat());
    for row in &rows {
        assert!(number(row, "goniec") > 0.0, "{row}");
    }
    check_nothing_is_left(dir.path());
}

#[test]
fn what_misbehaves_is_measured_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let parts = ["hung", "slow", "returning", "returning", "rules"];
    let asked = ["--only", "hung", "--only", "slow", "--only", "returning", "--only", "rules", "--only", "workers"];
    let rows =
        rows(&bench(dir.path(), &[&asked[..], &["--messages", "100", "--rounds", "1"]].concat()).output().unwrap());
    let found: Vec<&str> = rows.iter().map(|row| row["part"].as_str().unwrap()).collect();
    assert_eq!(found, [&parts[..], &["workers"; 6]].concat());
    for row in &rows {
        assert!(number(row, "goniec") > 0.0, "{row}");
    }
    check_nothing_is_left(dir.path());
}

#[test]
fn both_sides_are_compared_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let asked = ["--only", "reconcile", "--only", "manifest", "--messages", "2000", "--rounds", "1"];
    let rows = rows(&bench(dir.path(), &asked).output().unwrap());
    let of = |part: &str| rows.iter().filter(|row| row["part"] == part).collect::<Vec<_>>();
    let units: Vec<&str> = of("reconcile").iter().map(|row| row["unit"].as_str().unwrap()).collect();
    assert_eq!(units, ["s", "s", "kB", "", "MB"]);
    // Time, memory and those who wait, for each of five lists, and an end. How many came in within a short comparison is anybody's guess.
    assert_eq!(of("manifest").len(), 5 * 6 + 1);
    for row in rows.iter().filter(|row| row["unit"] != "ms") {
        assert!(number(row, "goniec") > 0.0, "{row}");
    }
    check_nothing_is_left(dir.path());
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Enough messages that it is surely under way when the signal comes.
    let mut child = bench(dir.path(), &["--only", "memory", "--messages", "1000000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(&mut child, || processes_of(dir.path()).iter().any(|line| line.contains(" serve ")));
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    check_nothing_is_left(dir.path());
}

#[test]
fn a_directory_that_is_not_there_is_a_mistake_of_usage() {
    let output = bench(Path::new("/no/such/directory"), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is no directory") && said.contains("--data"), "{said}");
}

fn wait_until(child: &mut Child, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < until, "it never came to that");
        // Polls; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(5));
    }
}
