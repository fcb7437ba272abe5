//! A spool of a running engine, looked into when a test says so.

#![allow(dead_code, reason = "each harness uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goniec::config::{Config, Process};
use goniec::engine::{Destination, Engine, Kind, Rule, Settings, SourceNews};
use goniec::model::WallMs;
use goniec::source::{SpoolStatus, Spooler, UNROUTED};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::store::{Query, Store};
use goniec::{Message, Record};
use tempfile::TempDir;

use super::told::Told;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const NOW: WallMs = WallMs(1_790_000_000_000);

/// A spool of a running engine, looked into when a test says so.
pub struct World {
    pub dir: TempDir,
    pub disk: MemoryDisk,
    pub store: Arc<MemoryStore>,
    pub engine: Engine,
    pub told: Told,
    pub spooler: Spooler,
    pub sources: Arc<goniec::source::Sources>,
}

pub fn world(more: &str) -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[destination.erp]\nurl = \"http://127.0.0.1:1/\"\n[destination.shop]\nurl = \"http://127.0.0.1:1/\"\n[source.orders]\nspool = {{ dir = {:?}, separator = \";\" }}\n{more}",
        dir.path()
    );
    let config = Config::parse(&config, "test", &Process).expect("sound");
    let disk = MemoryDisk::default();
    let told = Told::default();
    let (store, engine, spooler) = run(&disk, &config.sources, &told);
    World { dir, disk, store, engine, told, spooler, sources: config.sources }
}

pub fn run(
    disk: &MemoryDisk,
    sources: &Arc<goniec::source::Sources>,
    told: &Told,
) -> (Arc<MemoryStore>, Engine, Spooler) {
    let destinations = ["erp", "shop", UNROUTED].map(|name| Destination::new(name, |_: &Message| ()));
    let store = Arc::new(MemoryStore::open(disk).expect("opens"));
    let rules = vec![Rule { kinds: vec![Kind::Source], ..Rule::all(told.clone(), 1) }];
    let engine = Engine::start(store.clone(), destinations.into(), Settings::default(), rules).expect("starts");
    let spooler = Spooler::all(sources, &engine).remove(0);
    (store, engine, spooler)
}

impl World {
    pub fn put(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        let hidden = self.dir.path().join(".coming");
        fs::write(&hidden, content).expect("writes");
        fs::rename(hidden, self.dir.path().join(name.as_ref())).expect("renames");
    }

    pub fn look(&mut self) -> SpoolStatus {
        while self.spooler.turn(NOW, &|| false) {}
        self.sources.sources[0].spool.as_ref().expect("a spool").status()
    }

    /// Looks, and is over once that was asked so often.
    pub fn look_until(&mut self, asked: usize) {
        let count = AtomicUsize::new(0);
        self.spooler.turn(NOW, &|| count.fetch_add(1, Ordering::Relaxed) + 1 >= asked);
    }

    /// Ends the engine and begins anew with what is durable.
    pub fn again(&mut self) {
        self.engine.shutdown(Duration::from_secs(10)).expect("ends");
        (self.store, self.engine, self.spooler) = run(&self.disk, &self.sources, &self.told);
    }

    pub fn records(&self) -> Vec<(Record, String)> {
        let store = &self.store;
        let mut query = Query { limit: 1_000, ..Query::default() };
        let mut all = Vec::new();
        loop {
            let page = store.list(&query).expect("lists");
            for record in page.records {
                let body = store.load(record.place).expect("reads").expect("is there").message.body;
                all.push((record, String::from_utf8_lossy(&body).into_owned()));
            }
            let Some(next) = page.next else { break };
            query.before = Some(next);
        }
        all.reverse();
        all
    }

    pub fn bodies(&self) -> Vec<String> {
        self.records().into_iter().map(|(_, body)| body).collect()
    }

    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.dir.path().join(folder))
            .expect("lists")
            .map(|entry| PathBuf::from(entry.expect("an entry").file_name()))
            .filter(|name| name != Path::new("done") && name != Path::new("failed"))
            .collect();
        files.sort();
        files
    }

    /// Sees that this was told since it was last asked, and nothing else: the last is what this says itself.
    pub fn is_told(&self, expect: &[&str]) {
        let until = Instant::now() + PATIENCE;
        self.engine.note_source(&Arc::from("~"), SourceNews::Read, String::new());
        let mut told = Vec::new();
        while !told.contains(&"~ source-read".to_owned()) {
            assert!(Instant::now() < until, "told {told:?}");
            told.append(&mut self.told.take());
            std::thread::yield_now();
        }
        assert_eq!(told[..told.len() - 1], *expect);
    }

    /// Looks until nothing has to be told any more.
    pub fn look_until_told(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.engine.mark("told/orders").expect("reads").is_some() {
            assert!(Instant::now() < until, "it is not told");
            self.look();
        }
    }

    pub fn why(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("failed").join(format!("{name}.why"))).expect("a reason")
    }
}

/// What becomes of its files.
pub const ROUTE: &str =
    "key = \".id\"\ntype = \".kind\"\n[[route]]\nto = [\"erp\"]\n[[route]]\ntype = \"price\"\nto = [\"shop\"]\n";
