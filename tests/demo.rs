//! `goniec demo` from the binary: its stories come true while the interface is asked, it says no where something came twice, goes on until a signal, and refuses what it cannot do.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use goniec::model::Record;
use goniec::store::sled::{Options, SledStore};
use goniec::store::{Query, StateName, Store};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

/// A demo that runs, as a visitor has it.
struct Demo {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    /// What it has said so far.
    said: String,
    url: String,
    code: String,
    dir: PathBuf,
    agent: ureq::Agent,
    cookie: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let mut command = goniec(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a demo");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        let (url, code, dir, cookie) = (String::new(), String::new(), PathBuf::new(), String::new());
        let mut demo = Demo { child, lines, said: String::new(), url, code, dir, agent, cookie };
        let link = demo.until("console#/login?code=");
        let (_, link) = link.split_once("http://").unwrap();
        let (host, code) = link.split_once("/console#/login?code=").unwrap();
        (demo.url, demo.code) = (format!("http://{host}"), code.trim().to_owned());
        let config = demo.until("goniec.toml");
        demo.dir = Path::new(config.split_whitespace().last().unwrap()).parent().unwrap().to_owned();
        demo
    }

    /// Reads on until it says this; the line.
    fn until(&mut self, words: &str) -> String {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("{words:?} is not in\n{}", self.said)).unwrap();
            self.said += &format!("{line}\n");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Opens the link; the status.
    fn log_in(&mut self) -> u16 {
        let sent = self.agent.post(format!("{}/v1/login", self.url)).header("content-type", "application/json");
        let answer = sent.send(serde_json::json!({ "code": self.code }).to_string()).unwrap();
        if let Some(cookie) = answer.headers().get("set-cookie") {
            self.cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        answer.status().as_u16()
    }

    /// Reads; `None` where nobody answers any more.
    fn get(&self, path: &str) -> Option<Value> {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).header("cookie", &self.cookie).call().ok()?;
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
    }

    /// What it said on both ways, once it has ended with this code.
    fn ends(mut self, code: i32) -> (String, String) {
        for line in self.lines.by_ref() {
            self.said += &format!("{}\n", line.unwrap());
        }
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{}\n{log}", self.said);
        (std::mem::take(&mut self.said), log)
    }

    fn interrupt(&self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn goniec(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.arg("demo").args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// The account, a destination a line: accepted, delivered, superseded, waiting, removed, twice, lost.
fn account(said: &str) -> Vec<(String, Vec<u64>)> {
    let lines = said.lines().skip_while(|line| !line.contains("ACCEPTED")).skip(1);
    let rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).take_while(|words| words.len() == 8);
    rows.map(|words| (words[0].to_owned(), words[1..].iter().map(|word| word.parse().unwrap()).collect())).collect()
}

#[test]
fn its_stories_come_true_while_one_looks() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("kept");
    let mut demo = Demo::start(&["--once", "--pace", "6", "--listen", "127.0.0.1:0", "--data", dir.to_str().unwrap()]);
    assert_eq!((demo.log_in(), demo.log_in()), (204, 401), "the link works once");
    // Everything that a person can see at a time and not afterwards.
    let mut seen = [false; 3];
    while demo.child.try_wait().unwrap().is_none() {
        let destinations = demo.get("/v1/destinations").unwrap_or_default();
        let lane =
            |name: &str| destinations["destinations"].as_array()?.iter().find(|one| one["name"] == name).cloned();
        if let (Some(courier), Some(erp)) = (lane("courier"), lane("erp")) {
            seen[0] |= courier["breaker"] == "open" && courier["waiting"].as_u64() >= Some(20);
            seen[1] |= erp["late"] == 2;
        }
        let incidents = demo.get("/v1/incidents").unwrap_or_default();
        let is_of_erp = |one: &Value| one["destination"] == "erp" && one["detail"].to_string().contains("month-end");
        seen[2] |= incidents["incidents"].as_array().is_some_and(|all| all.iter().any(is_of_erp));
        // Looks until it ends, which it does.
        std::thread::sleep(Duration::from_millis(20));
    }
    let (said, log) = demo.ends(0);
    assert_eq!(seen, [true; 3], "an open breaker, late orders, their incident\n{said}");
    for words in ["counts 30 of 30 shipments, 0 of them twice", "4 of 4 articles; it took 0 stale ones", "is true"] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    for words in ["2 message(s) to erp undelivered: late", "shipping.postcode is empty"] {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    // The account is what the registry that it left says.
    let rows = account(&said);
    assert_eq!(
        rows.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["courier", "erp", "shop-prices", "shop-stock"]
    );
    let sum = |column: usize| rows.iter().map(|(_, row)| row[column]).sum::<u64>();
    assert_eq!((sum(0), sum(1) + sum(2), [3, 4, 5, 6].map(sum)), (83, 83, [0; 4]), "{said}");
    let store = SledStore::open(&dir.join("registry"), Options::default()).expect("a sound registry");
    let list = |state| store.list(&Query { states: vec![state], limit: 1_000, ..Query::default() }).unwrap().records;
    let (delivered, abandoned) = (list(StateName::Delivered), list(StateName::Abandoned));
    let count = |records: &[Record]| u64::try_from(records.len()).unwrap();
    assert_eq!((count(&delivered), count(&abandoned)), (sum(1), sum(2)));
    assert_eq!(delivered.iter().filter(|record| record.revision == 2).count(), 1, "one body was mended");
}

#[test]
fn it_says_no_where_the_courier_has_something_twice() {
    let rule = "attempt 1 key order:10405 -> take reset";
    let mut demo = Demo::start(&["--once", "--pace", "10", "--listen", "127.0.0.1:0", "--courier", rule]);
    let dir = demo.dir.clone();
    demo.until("counts");
    let (said, log) = demo.ends(1);
    assert!(said.contains("NOT TRUE: the courier has every shipment, none twice"), "{said}");
    assert!(log.contains("not everything that was promised is true"), "{log}");
    let rows = account(&said);
    assert_eq!((rows[0].1[5], rows[0].1[6]), (1, 0), "one twice, none lost: {said}");
    assert!(!dir.exists(), "what it wrote is gone");
}

#[test]
fn it_goes_on_until_a_signal_and_the_visitor_can_mend_what_was_left() {
    let mut demo = Demo::start(&["--pace", "10", "--listen", "127.0.0.1:0"]);
    assert_eq!(demo.log_in(), 204);
    demo.until("can mend this one");
    let link = demo.until("console#/message/");
    let path = format!("/v1/messages/{}", link.rsplit('/').next().unwrap().trim());
    let message = demo.get(&path).unwrap();
    assert_eq!((&message["state"], &message["reason"]), (&"abandoned".into(), &"rejected".into()));
    let read = demo.agent.get(format!("{}{path}/body", demo.url)).header("cookie", &demo.cookie).call();
    let body = read.unwrap().body_mut().read_to_string().unwrap();
    let mended = body.replace("\"postcode\": \"\"", "\"postcode\": \"00-238\"");
    assert_ne!(mended, body);
    let put = demo.agent.put(format!("{}{path}/body?why=a%20slip", demo.url)).header("cookie", &demo.cookie);
    let put = put.header("origin", &demo.url).header("goniec-console", "1").header("if-match", "\"1\"");
    assert_eq!(put.header("content-type", "application/json").send(mended).unwrap().status(), 200);
    demo.until("has the order that you mended");
    demo.until("takes no prices for a moment");
    demo.interrupt();
    let dir = demo.dir.clone();
    let (said, _) = demo.ends(0);
    let rows = account(&said);
    assert_eq!(rows.len(), 4, "{said}");
    for (name, row) in rows {
        assert!(row[0] > 0 && row[0] == row[1] + row[2] && row[3..] == [0; 4], "{name}: {row:?}\n{said}");
    }
    assert!(!dir.exists(), "what it wrote is gone");
}

#[test]
fn where_its_usual_port_is_taken_it_takes_another_and_says_so() {
    // Whoever has it already will do as well.
    let _taken = TcpListener::bind("127.0.0.1:8420");
    let mut demo = Demo::start(&[]);
    assert!(demo.said.contains("cannot listen on 127.0.0.1:8420"), "{}", demo.said);
    assert!(!demo.url.ends_with(":8420"));
    assert_eq!(demo.log_in(), 204);
    let dir = demo.dir.clone();
    assert!(dir.exists());
    demo.interrupt();
    let (said, _) = demo.ends(0);
    assert_eq!(account(&said).len(), 4, "a signal before the first act is no haste: {said}");
    assert!(!dir.exists());
}

#[test]
fn what_it_cannot_do_is_refused_and_touches_nothing() {
    let begun = Instant::now();
    let refused = |arguments: &[&str], words: &str| {
        let Output { status, stdout, stderr } = goniec(arguments).output().unwrap();
        let (said, log) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!((status.code(), &*said), (Some(2), ""), "{arguments:?}: {log}");
        assert!(log.contains(words), "{arguments:?}: {words:?} is not in {log}");
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    refused(&["--listen", &taken.local_addr().unwrap().to_string()], "in use");
    refused(&["--listen", "0.0.0.0:0"], "other machines");
    refused(&["--listen", "nowhere"], "invalid");
    refused(&["--pace", "0"], "1..=10");
    refused(&["--courier", "ky a -> 503"], "column 1: \"ky\" is no condition");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("format");
    std::fs::write(&file, "somebody's").unwrap();
    refused(&["--data", dir.path().to_str().unwrap()], "is not empty");
    refused(&["--data", file.to_str().unwrap()], "cannot use");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    assert!(begun.elapsed() < PATIENCE, "none of them began to play");
}
