//! `reconcile`: whether destinations have what was delivered to them; and the thread of a node that compares.
//!
//! # What holds
//!
//! * A person sees how many there are before anything is sent again, and the node refuses where it was compared anew since.
//!
//! # What it does not know
//!
//! How anything is compared: the node does it.

use std::io::IsTerminal;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::beside::{spawn, wall};
use super::bulk::agreed;
use super::client::Node;
use super::messages::field;
use super::{Fail, NO, USAGE, remote, say, say_json, switch, text};
use crate::admin::reconcile::{Ask, Plan, Reconciler};
use crate::engine::Engine;
use crate::model::percent::escape;
use crate::model::ranges::{Answer, Question};
use crate::source::Peer;

/// How often it is looked whether something is due, or over.
const LOOK: Duration = Duration::from_millis(200);

/// How long another registry may take to answer a question.
const WITHIN: Duration = Duration::from_secs(5);

/// The ways in which the sides differ, as the interface spells them.
const SIDES: [&str; 4] = ["missing", "stale", "conflicting", "unexpected"];

/// The verb.
pub(super) fn verb() -> Command {
    remote("reconcile", "Compares a destination with what was delivered to it; 1 where it has not all of that")
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .help("The comparison, as [reconcile.NAME]; what all last came to without it"),
        )
        .arg(
            switch("last", "Compares nothing, and shows what it last came to").requires("name").conflicts_with("queue"),
        )
        .arg(
            switch("list", "Lists all that can be sent again, and not the oldest alone")
                .requires("name")
                .conflicts_with("queue"),
        )
        .arg(switch("queue", "Sends again what is missing or stale").requires("name"))
        .arg(switch("yes", "Does not ask").requires("queue"))
}

/// `reconcile`.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let node = Node::of(arguments)?;
    let Some(name) = text(arguments, "name") else { return list(&node, arguments) };
    let path = format!("/v1/reconcile/{}", escape(name));
    let is_last = arguments.get_flag("last");
    if !is_last {
        node.json("POST", &format!("{path}/run"))?;
    }
    let mut shown = if is_last { node.json("GET", &path)? } else { over(&node, &path)? };
    // What is shown of one that failed is from the time before: nobody sends by that.
    let is_compared = failure(&shown).is_empty();
    if arguments.get_flag("queue") && is_compared && is_sent(&shown) {
        return queued(arguments, &shown, 0);
    }
    if arguments.get_flag("queue") && is_compared && lacking(&shown) > 0 {
        if !arguments.get_flag("json") {
            show(&shown)?;
        }
        ask(arguments, &shown)?;
        let count = lacking(&shown);
        node.json("POST", &format!("{path}/queue?count={count}&at={}", escape(&field(&shown, "at"))))?;
        shown = over(&node, &path)?;
        return queued(arguments, &shown, count);
    }
    if arguments.get_flag("list") && is_compared {
        lines(&node, &path, arguments)?;
    } else if arguments.get_flag("json") {
        say_json(&shown)?;
    } else {
        show(&shown)?;
    }
    match failure(&shown) {
        none if none.is_empty() => verdict(std::slice::from_ref(&shown)),
        why => Err(Fail::new(NO, format!("{name} could not be compared: {why}"))),
    }
}

/// Waits until nothing is under way.
fn over(node: &Node, path: &str) -> Result<Value, Fail> {
    loop {
        let shown = node.json("GET", path)?;
        if shown.get("is_running") != Some(&Value::Bool(true)) {
            return Ok(shown);
        }
        // The node says when it is over, and somebody may have to wait for a long list.
        std::thread::sleep(LOOK);
    }
}

fn ask(arguments: &ArgMatches, shown: &Value) -> Result<(), Fail> {
    if arguments.get_flag("yes") {
        return Ok(());
    }
    let count = lacking(shown);
    if !std::io::stdin().is_terminal() {
        return Err(Fail::new(USAGE, format!("{count} messages would be sent again")).hint("Say --yes."));
    }
    let is_meant = agreed(&format!("send {count} messages again?"));
    if is_meant { Ok(()) } else { Err(Fail::new(NO, "nothing was sent")) }
}

/// Lists what can be sent again, page by page.
fn lines(node: &Node, path: &str, arguments: &ArgMatches) -> Result<(), Fail> {
    let (mut from, mut compared) = (0, None);
    loop {
        let page = node.json("GET", &format!("{path}/lacking?from={from}"))?;
        let at = field(&page, "at");
        if *compared.get_or_insert_with(|| at.clone()) != at {
            return Err(Fail::new(NO, "it was compared anew meanwhile").hint("List it again."));
        }
        for one in page.get("lacking").and_then(Value::as_array).into_iter().flatten() {
            if arguments.get_flag("json") {
                say_json(&one)?;
            } else {
                say(["key", "id", "at"].map(|name| field(one, name)).join("  ").trim_end())?;
            }
        }
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// Whether a rule has sent what this comparison found.
fn is_sent(shown: &Value) -> bool {
    let at = shown.get("queued").map_or_else(String::new, |queued| field(queued, "at"));
    !at.is_empty() && at >= field(shown, "at")
}

/// Says what was sent again, of so many at least.
fn queued(arguments: &ArgMatches, shown: &Value, count: u64) -> Result<(), Fail> {
    let queued = shown.get("queued").unwrap_or(&Value::Null);
    if arguments.get_flag("json") {
        say_json(&queued)?;
    } else {
        say(&format!("{} sent again, {} refused", field(queued, "messages"), field(queued, "refused")))?;
    }
    let told = ["messages", "refused"].iter().filter_map(|name| queued.get(name)?.as_u64()).sum::<u64>();
    match field(queued, "detail") {
        none if none.is_empty() && told >= count => Ok(()),
        none if none.is_empty() => {
            Err(Fail::new(NO, format!("{} are not here any more, and cannot be sent", count - told)))
        }
        detail => Err(Fail::new(NO, format!("some were refused, the last because {detail}"))),
    }
}

fn list(node: &Node, arguments: &ArgMatches) -> Result<(), Fail> {
    let answer = node.json("GET", "/v1/reconcile")?;
    let all: Vec<Value> = answer.get("reconcile").and_then(Value::as_array).cloned().unwrap_or_default();
    if arguments.get_flag("json") {
        all.iter().try_for_each(|one| say_json(&one))?;
        return verdict(&all);
    }
    if all.is_empty() {
        return Err(Fail::new(NO, "nothing is compared").hint("The configuration has no table [reconcile.NAME]."));
    }
    let head = [
        "NAME",
        "DESTINATION",
        "STATE",
        "BEHIND SINCE",
        "MATCHED",
        "MISSING",
        "STALE",
        "CONFLICTING",
        "UNEXPECTED",
        "AT",
        "WHY",
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for one in &all {
        let [name, destination, state, since, matched, at] =
            ["name", "destination", "state", "behind_since", "matched", "at"].map(|name| field(one, name));
        let [missing, stale, conflicting, unexpected] = SIDES.map(|side| count(one, side).to_string());
        let why = failure(one);
        table.add_row([name, destination, state, since, matched, missing, stale, conflicting, unexpected, at, why]);
    }
    say(&table.to_string())?;
    verdict(&all)
}

/// Shows one comparison.
fn show(shown: &Value) -> Result<(), Fail> {
    say(&format!("{} with {}: {}", field(shown, "name"), field(shown, "destination"), field(shown, "state")))?;
    for (name, words) in [
        ("at", "compared at"),
        ("lines", "lines"),
        ("matched", "matched"),
        ("under_way", "under way"),
        ("settling", "settling"),
        ("uncompared", "not compared"),
        ("damaged", "cannot be read here"),
        ("behind_since", "behind since"),
        ("asks", "left to a person"),
        ("next_at", "next"),
    ] {
        let value = field(shown, name);
        if !value.is_empty() && value != "0" {
            say(&format!("  {words:<20} {value}"))?;
        }
    }
    // What was not compared may be of any kind.
    let is_part = ["uncompared", "damaged"].iter().any(|name| field(shown, name) != "0");
    let least = if is_part { "at least " } else { "" };
    for side in SIDES.into_iter().filter(|side| count(shown, side) > 0) {
        let of = shown.get(side).unwrap_or(&Value::Null);
        let oldest = field(of, "oldest_at");
        let oldest = if oldest.is_empty() { String::new() } else { format!(", the oldest of {oldest}") };
        say(&format!("  {side:<20} {least}{}{oldest}", count(shown, side)))?;
        for sample in of.get("samples").and_then(Value::as_array).into_iter().flatten() {
            let words = ["key", "id", "at", "why"].map(|name| field(sample, name));
            say(&format!("    {}", words.join("  ").trim_end()))?;
        }
    }
    Ok(())
}

/// Why it could not be compared the last time; empty where it could.
fn failure(shown: &Value) -> String {
    field(shown.get("failure").unwrap_or(&Value::Null), "why")
}

fn count(shown: &Value, side: &str) -> u64 {
    shown.get(side).and_then(|side| side.get("count")).and_then(Value::as_u64).unwrap_or(0)
}

fn lacking(shown: &Value) -> u64 {
    count(shown, "missing") + count(shown, "stale")
}

/// Yes where all agree.
fn verdict(all: &[Value]) -> Result<(), Fail> {
    let apart: Vec<String> =
        all.iter().filter(|one| field(one, "state") != "in-sync").map(|one| field(one, "name")).collect();
    if apart.is_empty() { Ok(()) } else { Err(Fail::new(NO, format!("not in sync: {}", apart.join(", ")))) }
}

/// The way to another registry.
struct Asking(Peer);

impl Ask for Asking {
    fn ask(&self, question: &Question) -> Result<Answer, String> {
        self.0.compare(question, WITHIN)
    }
}

/// What a node compares, with the thread that does it.
pub(super) struct Reconciling {
    reconciler: Arc<Reconciler>,
    thread: Option<JoinHandle<()>>,
}

impl Reconciling {
    /// Compares by these plans from now on, and with each of these registries.
    pub(super) fn start(engine: &Engine, mut plans: Vec<Plan>, peers: &[Peer]) -> Result<Reconciling, Fail> {
        let with = |peer: &Peer| Plan::with_registry(peer.destination.clone(), Box::new(Asking(peer.clone())));
        plans.extend(peers.iter().map(with));
        let is_any = !plans.is_empty();
        let reconciler = Arc::new(Reconciler::new(engine, plans, wall())?);
        let own = Arc::clone(&reconciler);
        let work = move || {
            while !own.is_stopping() {
                own.turn(wall());
                std::thread::park_timeout(LOOK);
            }
        };
        let thread = is_any.then(|| spawn("goniec-reconcile".to_owned(), work)).transpose()?;
        Ok(Reconciling { reconciler, thread })
    }

    /// Whether it runs, where there is anything to compare.
    pub(super) fn is_running(&self) -> bool {
        !self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// What compares.
    pub(super) fn reconciler(&self) -> Arc<Reconciler> {
        Arc::clone(&self.reconciler)
    }

    /// Cuts off what is under way.
    pub(super) fn cut(&self) {
        self.reconciler.stop();
    }

    /// Cuts off what is under way, and ends the thread.
    pub(super) fn stop(self) {
        self.cut();
        if let Some(thread) = self.thread {
            thread.thread().unpark();
            if thread.join().is_err() {
                log::error!("the thread that compares panicked");
            }
        }
    }
}
