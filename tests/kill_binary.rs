//! The binary killed by SIGKILL at random while producers and a sink keep ledgers of their own.
//!
//! No acknowledged message is lost, each arrives with its body, nothing rests in Sending. `GONIEC_KILL_CYCLES` sets the cycles.

#![cfg(feature = "cli")]

#[path = "common/node.rs"]
mod node;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use node::{Dice, Node, Producers, Sink, ask, rounds, verify};

/// What a kill may send twice, on average: the eight that are out, and what came home and was not yet synced (one commit, one being made),
/// which three producers that wait for their answers, five messages at most, keep this small.
const TWICE_A_KILL_MAX: usize = 8 + 2 * 15;

/// After how many kills `goniec verify` reads the whole registry.
const KILLS_A_VERIFY: u64 = 30;

#[test]
fn nothing_acknowledged_is_lost_when_killed() {
    let (cycles, mut dice) = (rounds("GONIEC_KILL_CYCLES", 150), Dice::new("kill"));
    let (dir, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let data = dir.path().join("data");
    let producers = Producers::start(3, 200);
    for cycle in 0..cycles {
        let mut node =
            Node::start(&data, sink.port, &[]).unwrap_or_else(|| panic!("does not start after {cycle} kills"));
        producers.port.store(node.port, Ordering::SeqCst);
        // The moment of the kill is what is drawn.
        thread::sleep(Duration::from_millis(20 + dice.below(280)));
        node.kill();
        if cycle % KILLS_A_VERIFY == KILLS_A_VERIFY - 1 {
            verify(&data);
        }
        if cycle % 50 == 49 {
            println!("{} kills, {} acknowledged", cycle + 1, producers.acknowledged.lock().unwrap().len());
        }
    }
    let ledger = producers.finish();
    let mut node = Node::start(&data, sink.port, &[]).expect("starts at the end");
    let until = Instant::now() + Duration::from_secs(60);
    let missing = || {
        let seen = sink.seen.lock().unwrap();
        ledger.keys().filter(|id| !seen.contains_key(*id)).cloned().collect::<Vec<_>>()
    };
    let rest = |state: &str| {
        let (_, answer) =
            ask(node.port, "GET", &format!("/v1/messages?state={state}&limit=1"), "", b"").expect("answers");
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["messages"].as_array().map_or(1, Vec::len)
    };
    let unsettled = || ["queued", "sending", "failed"].iter().map(|state| rest(state)).sum::<usize>();
    while (!missing().is_empty() || unsettled() > 0) && Instant::now() < until {
        // Polls until all has come; the loop has a deadline.
        thread::sleep(Duration::from_millis(50));
    }
    assert!(ledger.len() > usize::try_from(cycles).unwrap(), "the producers worked");
    assert!(
        missing().is_empty(),
        "{} of {} acknowledged never came: {:?}",
        missing().len(),
        ledger.len(),
        missing().first()
    );
    assert_eq!((unsettled(), rest("abandoned")), (0, 0), "everything is Delivered");
    let seen = sink.seen.lock().unwrap();
    for (id, body) in &ledger {
        assert!(seen[id].iter().all(|came| came == body), "{id} came with another body");
    }
    let twice: usize = seen.values().map(|came| came.len() - 1).sum();
    println!("{cycles} kills, {} acknowledged, all delivered, {twice} sent twice", ledger.len());
    assert!(twice <= TWICE_A_KILL_MAX * usize::try_from(cycles).unwrap());
    assert_eq!(node.stop(), Some(0), "a clean stop");
    verify(&data);
}
