//! What an administrator asks of a node with many messages: lists, keys, figures and the console, each many times over one connection.
//!
//! # What it does not know
//!
//! How a node finds what it is asked for.

use std::collections::BTreeSet;
use std::iter::repeat_n;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::Node;
use super::table::Row;
use super::{Fail, Plan, failed, local, progress};
use crate::transport::http::{Answer, Client};

/// Messages, unless the caller says otherwise.
const MESSAGES: usize = 1_000_000;
/// Messages of a request.
const REQUEST: usize = 5_000;
/// How often each is asked.
const ASKS: usize = 200;
/// The goal for the slowest but one in a hundred.
const ASK_MS_MAX: f64 = 50.0;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take until every message stands where it shall.
const SETTLING_TIME_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(100);
/// Bodies, in bytes.
const BODY: usize = 100;
/// Less is no answer to any of the questions: a page without a message, or a key that is not known.
const ANSWER_BYTES_MIN: usize = 100;

/// Three that take what comes, and two that are paused: of these the messages of one wait, and those of the other are cancelled. With the share of each,
/// of twenty.
const DESTINATIONS: [(&str, usize); 5] = [("shop", 9), ("erp", 6), ("depot", 3), (WAITING, 1), (CANCELLED, 1)];
/// The sum of the shares.
const TURNS: usize = 20;
const WAITING: &str = "night";
const CANCELLED: &str = "gone";

/// The types, in turns.
const TYPES: [&str; 4] = ["order.created", "order.paid", "stock.changed", "price.changed"];

/// A row for each question.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (messages, bytes) = (plan.messages.unwrap_or(MESSAGES), plan.size.unwrap_or(BODY));
    let sink = super::sink::Bare::start()?;
    let node = Node::start(&local::fresh(plan), &config(sink.address))?;
    let there = Asked { client: Client::new(), url: format!("http://{}", node.address) };
    there.fill(messages, bytes)?;
    let middle = there.accepted_at(messages / 2)?;
    let mut rows = Vec::new();
    for (what, path) in questions(&there, messages, &middle)? {
        // An answer that is empty is no proof.
        let answer = there.get(&path)?;
        if answer.len() < ANSWER_BYTES_MIN {
            return Err(failed(format!("{path} answered with {} bytes only", answer.len())));
        }
        rows.push(row(&what, messages, || there.get(&path).map(drop))?);
    }
    rows.push(row("the console and all that it loads", messages, || there.console())?);
    node.stop()?;
    Ok(rows)
}

/// What is asked, in words and as a path.
fn questions(there: &Asked, messages: usize, middle: &str) -> Result<Vec<(String, String)>, Fail> {
    // Cursors are the node's own: this one leads on from the middle.
    let deep = there.list(&format!("until={middle}&limit=50"))?;
    let deep = deep.get("next").and_then(Value::as_str).ok_or_else(|| failed("a list without an end"))?.to_owned();
    let list = |what: &str, query: &str| (format!("a list: {what}"), format!("/v1/messages?limit=50&{query}"));
    Ok(vec![
        list("the newest 50", ""),
        list("50 that were delivered", "state=delivered"),
        list("50 that were given up", "state=abandoned"),
        list("50 that wait", "state=queued"),
        list("of one destination", "to=depot"),
        list("of one destination and state", "to=gone&state=abandoned"),
        list("of one key", &format!("key=sku:{}", messages / 3)),
        list("of one type", "type=price.changed"),
        list("older than the middle", &format!("until={middle}")),
        list("a page in the middle, by its cursor", &format!("cursor={deep}")),
        ("keys".into(), "/v1/keys?limit=50".into()),
        ("one key".into(), format!("/v1/keys/shop/sku:{}", messages / TURNS * TURNS / 2)),
        ("the figures of the node".into(), "/v1/stats".into()),
        ("the figures of each destination".into(), "/v1/destinations".into()),
        ("metrics".into(), "/metrics".into()),
    ])
}

/// Asks the same again and again.
fn row(what: &str, messages: usize, ask: impl Fn() -> Result<(), Fail>) -> Result<Row, Fail> {
    let mut took_ms = Vec::new();
    for _ in 0..ASKS {
        let began = Instant::now();
        ask()?;
        took_ms.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    took_ms.sort_by(f64::total_cmp);
    let at = |percent: usize| took_ms.get(took_ms.len() * percent / 100).copied().unwrap_or(f64::NAN);
    let (half, most) = (at(50), at(99));
    progress(&format!("lists: {what}: p50 {half:.2} ms, p99 {most:.2} ms"));
    let what = format!("{what}, among {messages}: p99 of {ASKS}, p50 {half:.2} ms");
    Ok(Row::at_most("lists", what, "ms", &[most], ASK_MS_MAX))
}

fn config(sink: SocketAddr) -> String {
    let one = |(name, _)| format!("[destination.{name}]\nurl = \"http://{sink}/\"\nconcurrency = 16\n");
    DESTINATIONS.map(one).concat()
}

/// So many lines from this number on, each with a destination, a key and a type of its own turn.
fn lines(first: usize, count: usize, bytes: usize) -> Vec<u8> {
    let turns: Vec<&str> = DESTINATIONS.iter().flat_map(|(name, share)| repeat_n(*name, *share)).collect();
    let mut all = Vec::with_capacity(count * (bytes + 96));
    for number in first..first + count {
        let destination = turns.get(number % turns.len()).copied().unwrap_or_default();
        let kind = TYPES.get(number / turns.len() % TYPES.len()).copied().unwrap_or_default();
        let head =
            format!("{{\"destination\":\"{destination}\",\"key\":\"sku:{number}\",\"type\":\"{kind}\",\"body\":");
        all.extend_from_slice(head.as_bytes());
        all.extend_from_slice(&local::body(bytes, number));
        all.extend_from_slice(b"}\n");
    }
    all
}

/// A node that is asked over one connection.
struct Asked {
    client: Client,
    url: String,
}

impl Asked {
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Fail> {
        let answer = self.client.call(method, &format!("{}{path}", self.url), headers, body, PATIENCE);
        let answer = answer.map_err(|failure| failed(failure.detail))?;
        match answer.status {
            200..=299 => Ok(answer),
            status => Err(failed(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer.body)))),
        }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, Fail> {
        self.call("GET", path, &[], &[]).map(|answer| answer.body)
    }

    fn list(&self, query: &str) -> Result<Value, Fail> {
        let page = self.get(&format!("/v1/messages?{query}"))?;
        serde_json::from_slice(&page).map_err(|error| failed(format!("a list that is no JSON: {error}")))
    }

    /// Hands all of them in, and waits until each stands where it shall.
    fn fill(&self, messages: usize, bytes: usize) -> Result<(), Fail> {
        let json = [("content-type", "application/json")];
        for name in [WAITING, CANCELLED] {
            self.call("POST", &format!("/v1/destinations/{name}/pause"), &[], &[])?;
        }
        for first in (0..messages).step_by(REQUEST) {
            let lines = lines(first, REQUEST.min(messages - first), bytes);
            self.call("POST", "/v1/messages", &[("content-type", "application/x-ndjson")], &lines)?;
            if first % (REQUEST * 20) == 0 {
                progress(&format!("lists: {first} of {messages} messages handed in"));
            }
        }
        let job = format!("{{\"action\":\"cancel\",\"filter\":\"to:{CANCELLED}\",\"why\":\"measured\"}}");
        self.call("POST", "/v1/bulk", &json, job.as_bytes())?;
        let until = Instant::now() + SETTLING_TIME_MAX;
        while self.waiting()? > messages / TURNS {
            if Instant::now() > until {
                return Err(failed(format!("not all was delivered and cancelled within {SETTLING_TIME_MAX:?}")));
            }
            // What is waited for is looked at again; the loop has a deadline.
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// How many messages are not final.
    fn waiting(&self) -> Result<usize, Fail> {
        let lanes: Value = serde_json::from_slice(&self.get("/v1/destinations")?).unwrap_or_default();
        let lanes = lanes.get("destinations").and_then(Value::as_array).ok_or_else(|| failed("no destinations"))?;
        let waiting = lanes.iter().filter_map(|lane| lane.get("waiting")?.as_u64()).sum::<u64>();
        Ok(usize::try_from(waiting).unwrap_or(usize::MAX))
    }

    /// When the message of this number was accepted.
    fn accepted_at(&self, number: usize) -> Result<String, Fail> {
        let found = self.list(&format!("key=sku:{number}"))?;
        let at = found.pointer("/messages/0/accepted_at").and_then(Value::as_str);
        at.map(str::to_owned).ok_or_else(|| failed(format!("message {number} is in no list")))
    }

    /// Everything that a browser loads before it shows the first page.
    fn console(&self) -> Result<(), Fail> {
        let (mut found, mut waiting) = (BTreeSet::new(), vec!["/console".to_owned(), "/console/words.json".to_owned()]);
        while let Some(path) = waiting.pop() {
            let file = String::from_utf8_lossy(&self.get(&path)?).into_owned();
            let named = file.split(['"', '\'']).filter(|text| text.starts_with("/console/") || text.starts_with("./"));
            let named = named.map(|text| text.replacen("./", "/console/", 1)).filter(|text| text.contains('.'));
            waiting.extend(named.filter(|path| found.insert(path.clone())));
        }
        let calls = ["/v1/stats", "/v1/destinations", "/v1/history"];
        calls.iter().try_for_each(|path| self.get(path).map(drop))
    }
}
