//! `streams`, and the threads that keep the streams to other registries and watch those from them.
//!
//! # What it does not know
//!
//! What is said, and what becomes of it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use comfy_table::{Table, presets};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use serde_json::Value;

use super::beside::{spawn, wall};
use super::client::Node;
use super::messages::field;
use super::{Fail, say, say_json};
use crate::engine::Engine;
use crate::source::{Keeper, Peer, Watch};

/// How many holes of a stream are listed.
const HOLES_SHOWN: usize = 4;
/// How often it looks whether a stream is due.
const LOOK: Duration = Duration::from_millis(500);
/// How long the other side may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Those that keep the streams, each on a thread of its own: a peer that does not answer holds up itself.
pub(super) struct Keeping {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Keeping {
    /// Begins to keep the streams to these registries, and to watch those that come by these sources.
    ///
    /// # Errors
    /// The system gives no thread; none of them runs.
    pub(super) fn begin(peers: Vec<Peer>, sources: Vec<Arc<str>>, engine: &Engine) -> Result<Keeping, Fail> {
        let (stop, stopped) = bounded(0);
        let mut keeping = Keeping { stop, threads: Vec::new() };
        for peer in peers {
            let (engine, stopped) = (engine.clone(), stopped.clone());
            let begun = spawn("goniec-stream".to_owned(), move || keep(&peer, engine, &stopped));
            keeping = keeping.with(begun)?;
        }
        if sources.is_empty() {
            return Ok(keeping);
        }
        let engine = engine.clone();
        keeping.with(spawn("goniec-watch".to_owned(), move || watch(sources, &engine, &stopped)))
    }

    fn with(mut self, begun: Result<JoinHandle<()>, Fail>) -> Result<Keeping, Fail> {
        match begun {
            Ok(thread) => self.threads.push(thread),
            Err(fail) => {
                self.end();
                return Err(fail);
            }
        }
        Ok(self)
    }

    /// Whether all of them run.
    pub(super) fn are_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends them: at most one question of each is still waited for.
    pub(super) fn end(self) {
        drop(self.stop);
        for thread in self.threads {
            // A panic there was told where it happened.
            let _ = thread.join();
        }
    }
}

/// `streams`.
pub(super) fn list(arguments: &ArgMatches) -> Result<(), Fail> {
    let all = Node::of(arguments)?.json("GET", "/v1/streams")?;
    let list = all.get("streams").and_then(Value::as_array).into_iter().flatten();
    if arguments.get_flag("json") {
        return list.into_iter().try_for_each(say_json);
    }
    let names = ["role", "name", "epoch", "last", "mark", "theirs", "gap_since", "heard_at"];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(names.iter().map(|name| name.to_uppercase()).chain(["HOLES".to_owned()]));
    for stream in list {
        table.add_row(names.iter().map(|name| field(stream, name)).chain([holes(stream)]));
    }
    say(&table.to_string())
}

/// The first holes, in a few words.
fn holes(stream: &Value) -> String {
    let all = stream.get("holes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let range = |hole: &Value| match (field(hole, "from"), field(hole, "to")) {
        (from, to) if from == to => from,
        (from, to) => format!("{from}-{to}"),
    };
    let shown: Vec<String> = all.iter().take(HOLES_SHOWN).map(range).collect();
    let more = if all.len() > HOLES_SHOWN { " ..." } else { "" };
    format!("{}{more}", shown.join(" "))
}

fn keep(peer: &Peer, mut engine: Engine, stopped: &Receiver<()>) {
    let mut keeper = Keeper::new(vec![peer.destination.clone()]);
    each_look(stopped, |now_ms| {
        for word in keeper.due(&engine, now_ms(), wall()) {
            if stopped.try_recv() != Err(TryRecvError::Empty) {
                break;
            }
            match peer.ask(word.stream.epoch, word.last, &word.ended, DEADLINE) {
                // What hinders one epoch hinders none of the others.
                Ok(heard) => match keeper.heard(&mut engine, &word.stream, &heard, now_ms(), wall()) {
                    Ok(()) => {}
                    Err(error) => log::warn!("stream to {:?} is not kept now: {error}", word.stream.name),
                },
                // Deliveries tell of a peer that is away, and its breaker.
                Err(failure) => log::debug!("stream to {:?}: {}", word.stream.name, failure.detail),
            }
        }
    });
}

fn watch(sources: Vec<Arc<str>>, engine: &Engine, stopped: &Receiver<()>) {
    let mut watch = Watch::new(sources);
    each_look(stopped, |now_ms| watch.turn(engine, now_ms()));
}

/// Does this again and again until it is stopped; it is given the monotonic clock.
fn each_look(stopped: &Receiver<()>, mut look: impl FnMut(&dyn Fn() -> u64)) {
    let began = Instant::now();
    let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        look(&now_ms);
    }
}
