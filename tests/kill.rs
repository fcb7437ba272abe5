//! Kill -9 at random moments: what was acknowledged is there, the indexes follow, and nothing is half done.
//!
//! The test runs itself as the child that is killed. `GONIEC_KILLS=N` kills N times instead of 20.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use goniec::model::{Id, Message, Queued, State, WallMs};
use goniec::store::sled::{Options, SledStore, verify};
use goniec::store::{Batch, Expect, Incoming, Move, Store};

const DIR: &str = "GONIEC_KILL_DIR";

fn options() -> Options {
    Options { cache_bytes: 4 << 20, ballast_bytes_max: 0, ..Options::default() }
}

/// Accepts and delivers until it is killed; says an id once it is durable.
fn child(dir: &str) {
    let store = SledStore::open(dir.as_ref(), options()).expect("opens");
    let erp = store.destination("erp").expect("a number");
    let ready = State::Queued(Queued::Ready);
    let mut out = std::io::stdout().lock();
    let mut waiting = Vec::new();
    for now in 0.. {
        let accepts = (0..20_u8).map(|n| Incoming::new(Message::to("erp").body(vec![n; 700]), erp)).collect();
        let moves = waiting
            .drain(..)
            .map(|place| Move {
                place,
                expect: Expect { state: ready, attempts: 0, revision: 1 },
                to: State::Delivered,
                by: None,
                attempts: 1,
                series: 1,
                attempt: None,
                amend: None,
                untold: false,
            })
            .collect();
        let done = store.commit(&Batch { now: WallMs(now), accepts, moves, ..Batch::default() }).expect("commits");
        store.sync(done.number).expect("syncs");
        for (id, place) in &done.accepted {
            writeln!(out, "acked {id}").expect("writes");
            waiting.push(*place);
        }
        out.flush().expect("writes");
    }
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    if let Ok(dir) = std::env::var(DIR) {
        return child(&dir);
    }
    let kills = std::env::var("GONIEC_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_u64);
    let dir = tempfile::tempdir().expect("a directory");
    let mut acknowledged: Vec<Id> = Vec::new();
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("itself"))
            .args(["what_was_acknowledged_survives_being_killed", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // Killed after a number of acknowledgements that differs from round to round, in the middle of the next commit.
        let until = 40 + usize::try_from(kill * 37 % 200).expect("small");
        let mut lines = lines.map_while(Result::ok).filter_map(|line| line.split_once("acked ")?.1.parse::<Id>().ok());
        acknowledged.extend(lines.by_ref().take(until));
        // The kill falls at another moment of the commit each time.
        std::thread::sleep(Duration::from_micros(kill * 331 % 3000));
        child.kill().expect("kills");
        child.wait().expect("ends");
        acknowledged.extend(lines);
        let found = verify(dir.path(), 4 << 20).expect("opens");
        assert_eq!(found.problems, Vec::<String>::new(), "kill {kill}");
    }
    let store = SledStore::open(dir.path(), options()).expect("opens");
    for id in &acknowledged {
        assert!(store.find(*id).expect("finds").is_some(), "message {id} was acknowledged and is gone");
    }
    assert!(acknowledged.len() > usize::try_from(kills).expect("small") * 40);
    println!("{kills} kills, {} acknowledged, all there", acknowledged.len());
}
