//! `streams`, and the thread that keeps the streams to other registries and watches those from them.
//!
//! # What it does not know
//!
//! What is said, and what becomes of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::beside::{spawn, wall};
use super::client::Node;
use super::messages::field;
use super::{Fail, say, say_json};
use crate::engine::Engine;
use crate::error::Error;
use crate::source::{Keeper, Peer, Watch};

/// How many holes of a stream are listed.
const HOLES_SHOWN: usize = 4;
/// How often it looks whether a stream is due.
const LOOK: Duration = Duration::from_millis(500);
/// How long the other side may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// A keeper that goes round on a thread of its own.
pub(super) struct Keeping {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeping {
    /// Begins to keep the streams to these registries, and to watch those that come by these sources; `None` where there are none.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn begin(peers: Vec<Peer>, sources: Vec<Arc<str>>, engine: &Engine) -> Result<Option<Keeping>, Fail> {
        if peers.is_empty() && sources.is_empty() {
            return Ok(None);
        }
        let (stop, stopped) = channel();
        let engine = engine.clone();
        let thread = spawn("goniec-streams".to_owned(), move || keep(&peers, sources, engine, &stopped))?;
        Ok(Some(Keeping { stop, thread }))
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it: at most one question is still waited for.
    pub(super) fn end(self) {
        drop(self.stop);
        // A panic there was told where it happened.
        let _ = self.thread.join();
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

fn keep(peers: &[Peer], sources: Vec<Arc<str>>, mut engine: Engine, stopped: &Receiver<()>) {
    let mut keeper = Keeper::new(peers.iter().map(|peer| peer.destination.clone()).collect());
    let mut watch = Watch::new(sources);
    let began = Instant::now();
    let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = turn(&mut keeper, peers, &mut engine, &now_ms, stopped) {
            log::warn!("streams are not kept now: {error}");
        }
        if let Err(error) = watch.turn(&engine, now_ms()) {
            log::warn!("streams that come in are not watched now: {error}");
        }
    }
}

fn turn(
    keeper: &mut Keeper,
    peers: &[Peer],
    engine: &mut Engine,
    now_ms: &dyn Fn() -> u64,
    stopped: &Receiver<()>,
) -> Result<(), Error> {
    for word in keeper.due(&*engine, now_ms(), wall()) {
        if !matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
            break;
        }
        let Some(peer) = peers.iter().find(|peer| peer.destination == word.stream.name) else { continue };
        match peer.ask(word.stream.epoch, word.last, &word.ended, DEADLINE) {
            // What hinders one stream hinders none of the others.
            Ok(heard) => match keeper.heard(engine, &word.stream, &heard, now_ms(), wall()) {
                Ok(()) => {}
                Err(error) => log::warn!("stream to {:?} is not kept now: {error}", word.stream.name),
            },
            // Deliveries tell of a peer that is away, and its breaker.
            Err(failure) => log::debug!("stream to {:?}: {}", word.stream.name, failure.detail),
        }
    }
    Ok(())
}
