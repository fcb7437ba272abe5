//! The binary killed by SIGKILL while files are moved into its folder: every file, and every line of it, is taken once.
//!
//! `GONIEC_SPOOL_KILLS` sets the kills.

#![cfg(feature = "cli")]

#[path = "common/node.rs"]
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use goniec::store::sled::{Options, SledStore};
use goniec::store::{Query, Store};
use node::{Dice, rounds, verify};

const PATIENCE: Duration = Duration::from_secs(60);
/// More lines than one request has: such a file is taken in parts.
const LARGE: u64 = 12_000;

struct Spool {
    dir: PathBuf,
    data: PathBuf,
    config: PathBuf,
    /// How many messages each file comes to.
    files: BTreeMap<String, u64>,
}

impl Spool {
    fn new(dir: &Path) -> Spool {
        let spool = dir.join("in");
        fs::create_dir(&spool).unwrap();
        let config = dir.join("goniec.toml");
        let text =
            format!("[source.shop]\nspool = {{ dir = {spool:?}, look = \"100ms\" }}\n[[route]]\nto = [\"log\"]\n");
        fs::write(&config, text).unwrap();
        Spool { dir: spool, data: dir.join("data"), config, files: BTreeMap::new() }
    }

    fn start(&self) -> Child {
        let mut child = Command::new(env!("CARGO_BIN_EXE_goniec"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&self.config)
            .arg("--data")
            .arg(&self.data)
            .env("RUST_LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("listens"), "starts: {first}");
        child
    }

    /// Moves a file into the folder, of a form that is drawn.
    fn put(&mut self, dice: &mut Dice) {
        let number = self.files.len();
        let line = |n: u64| format!("{{\"f\":{number},\"n\":{n}}}");
        let (lines, form) = match dice.below(12) {
            0 => (LARGE, 0),
            other => (1 + dice.below(60), other % 4),
        };
        let (name, lines, content) = match form {
            0 => (format!("{number:05}.ndjson"), lines, (0..lines).map(|n| line(n) + "\n").collect()),
            1 => {
                let rows: String = (0..lines).map(|n| format!("{number},{n}\n")).collect();
                (format!("{number:05}.csv"), lines, format!("f,n\n{rows}"))
            }
            2 => (format!("{number:05}.json"), 1, line(0)),
            _ => (format!("{number:05}.txt"), 1, line(0)),
        };
        let hidden = self.dir.join(".coming");
        fs::write(&hidden, content).unwrap();
        fs::rename(hidden, self.dir.join(&name)).unwrap();
        self.files.insert(name, lines);
    }

    fn names(&self, folder: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.dir.join(folder)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// How often each body is in the registry, whitespace and quotes aside: a row of a table has its numbers as texts.
    fn taken(&self) -> BTreeMap<String, u64> {
        let store = SledStore::open(&self.data, Options::default()).unwrap();
        let mut query = Query { limit: 1_000, ..Query::default() };
        let mut taken = BTreeMap::new();
        loop {
            let page = store.list(&query).unwrap();
            for record in &page.records {
                let body = store.load(record.place).unwrap().unwrap().message.body;
                *taken
                    .entry(String::from_utf8_lossy(&body).replace(":\"", ":").replace("\",", ",").replace("\"}", "}"))
                    .or_default() += 1;
            }
            let Some(next) = page.next else { break };
            query.before = Some(next);
        }
        taken
    }
}

#[test]
fn every_line_is_taken_once_when_killed() {
    let (kills, mut dice) = (rounds("GONIEC_SPOOL_KILLS", 10), Dice::new("spool"));
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path());
    for _ in 0..kills {
        (0..dice.below(3)).for_each(|_| spool.put(&mut dice));
        let mut child = spool.start();
        for _ in 0..1 + dice.below(3) {
            spool.put(&mut dice);
            // The moment of the kill, and of what comes before it, is what is drawn.
            thread::sleep(Duration::from_millis(dice.below(160)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = spool.start();
    let until = Instant::now() + PATIENCE;
    while !spool.names("").is_empty() {
        assert!(Instant::now() < until, "{:?} are left", spool.names(""));
        // The pace of a loop with a deadline.
        thread::sleep(Duration::from_millis(50));
    }
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    assert_eq!(child.wait().unwrap().code(), Some(0), "a clean stop");
    assert_eq!(spool.names("failed"), BTreeSet::new());
    assert_eq!(spool.names("done"), spool.files.keys().cloned().collect(), "every file, under its name");
    let (taken, mut lines) = (spool.taken(), 0);
    for (number, (name, count)) in spool.files.iter().enumerate() {
        for n in 0..*count {
            let times = taken.get(&format!("{{\"f\":{number},\"n\":{n}}}")).copied().unwrap_or(0);
            assert_eq!(times, 1, "line {} of {name} was taken {times} times", n + 1);
            lines += 1;
        }
    }
    assert_eq!(taken.values().sum::<u64>(), lines, "and nothing else");
    verify(&spool.data);
    println!("{kills} kills, {} files, {lines} messages, each once", spool.files.len());
}
