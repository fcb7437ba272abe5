//! What the acts of the demo are played with: the node as the systems and the administrator call it, the clock, and the voice that tells.
//!
//! # What holds
//!
//! * Everything asked of the node goes over its HTTP interface, with the token of whoever asks.
//! * What an act promises is looked for in the node and in the ledgers of the systems; what does not come true is said, and remembered.
//! * Every wait ends: by what it waits for, by its limit, by a signal, or with the node.
//!
//! # What it does not know
//!
//! The stories.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::client::{Node, yes};
use super::super::messages::field;
use super::super::{Fail, UNREACHED, say, visible};
use super::goods::{COURIER, ERP, Envelope};
use super::judge::{Handed, Stands};
use super::plan::{Pace, Tokens, VISITOR};
use super::systems::Systems;
use crate::engine::Engine;
use crate::model::percent::escape;

/// How often it is looked whether something has come true, or a signal came.
const LOOK: Duration = Duration::from_millis(50);
/// How long a promise may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many messages are asked for by their ids at once, and how many are listed on a page.
const NAMED_MAX: usize = 50;
const PAGE: usize = 1_000;

/// Why the play does not go on.
pub(super) enum Halt {
    /// Somebody wants it to end.
    Stopped,
    /// It cannot.
    Failed(Fail),
}

impl From<Fail> for Halt {
    fn from(fail: Fail) -> Halt {
        Halt::Failed(fail)
    }
}

/// The stage.
pub(super) struct Stage<'a> {
    pub(super) systems: &'a Systems,
    pub(super) pace: Pace,
    /// The web shop hands in orders and shipments, the ERP prices and stock.
    shop: Node,
    erp: Node,
    /// The administrator of the story.
    pub(super) anna: Node,
    /// Whoever looks.
    eye: Node,
    engine: Engine,
    url: String,
    begun: Instant,
    signals: &'a AtomicU32,
    /// What was accepted.
    pub(super) handed: Vec<Handed>,
    /// What was promised and is not so.
    pub(super) broken: Vec<String>,
}

impl<'a> Stage<'a> {
    /// A stage before its first act.
    pub(super) fn new(
        systems: &'a Systems,
        pace: Pace,
        tokens: &Tokens,
        (engine, url): (Engine, String),
        (begun, signals): (Instant, &'a AtomicU32),
    ) -> Stage<'a> {
        let node = |name: &str| Node::at(&url, Some(tokens.of(name)));
        Stage {
            systems,
            pace,
            shop: node("shop"),
            erp: node("erp"),
            anna: node("anna"),
            eye: node(VISITOR),
            engine,
            url,
            begun,
            signals,
            handed: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// A line: when, who, what.
    pub(super) fn tell(&self, who: &str, what: &str) -> Result<(), Fail> {
        say(&line(self.begun, who, what))
    }

    /// The beginning of an act.
    pub(super) fn act(&self, title: &str) -> Result<(), Fail> {
        say(&format!("\n{title}"))
    }

    /// The address of a page of the console.
    pub(super) fn page(&self, hash: &str) -> String {
        format!("{}/console#/{hash}", self.url)
    }

    /// Lets so many milliseconds of the story pass.
    pub(super) fn rest(&self, ms: u64) -> Result<(), Halt> {
        self.wait(Duration::from_millis(self.pace.ms(ms)), |_| Ok(false)).map(drop)
    }

    /// Waits for what was promised, and says so where it does not come; whether it did.
    pub(super) fn promise(
        &mut self,
        what: &str,
        is_so: impl Fn(&Stage<'_>) -> Result<bool, Fail>,
    ) -> Result<bool, Halt> {
        let is_so = self.wait(PATIENCE, is_so)?;
        self.check(what, is_so)?;
        Ok(is_so)
    }

    /// What is so or will never be.
    pub(super) fn check(&mut self, what: &str, is_so: bool) -> Result<(), Fail> {
        if !is_so {
            self.tell("demo", &format!("NOT TRUE: {what}"))?;
            self.broken.push(what.to_owned());
        }
        Ok(())
    }

    /// Waits at most so long until it is so; tells whether it is.
    fn wait(&self, limit: Duration, is_so: impl Fn(&Stage<'_>) -> Result<bool, Fail>) -> Result<bool, Halt> {
        self.look(limit, |stage| match stage.signals.load(Ordering::SeqCst) {
            0 => Ok(is_so(stage)?),
            _ => Err(Halt::Stopped),
        })
    }

    /// Waits at most so long, also after a signal, until nothing is under way any more; whether that is so.
    pub(super) fn come_home(&self, limit: Duration) -> Result<bool, Fail> {
        let is_home = |stage: &Stage<'_>| {
            let all = stage.read("/v1/destinations")?;
            Ok(list(&all, "destinations").iter().all(|one| field(one, "waiting") == "0"))
        };
        self.look(limit, is_home)
    }

    fn look<E: From<Fail>>(&self, limit: Duration, is_so: impl Fn(&Stage<'_>) -> Result<bool, E>) -> Result<bool, E> {
        let until = Instant::now() + limit;
        loop {
            if let Some(error) = self.engine.failure() {
                return Err(Fail::from(error).into());
            }
            if is_so(self)? {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // The pace of a loop that has an end.
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Hands messages of one system in, all or none; their ids, once they are accepted.
    pub(super) fn hand_in(&mut self, all: &[Envelope]) -> Result<Vec<String>, Fail> {
        let is_of_shop = all.iter().any(|one| matches!(one.destination, COURIER | ERP));
        let node = if is_of_shop { &self.shop } else { &self.erp };
        let bodies: Vec<String> = all.iter().map(Envelope::json).collect();
        let body = format!("[{}]", bodies.join(","));
        let headers = [("content-type", "application/json")];
        let said = parsed(&yes(node.call("POST", "/v1/messages", &headers, body.as_bytes())?)?.body)?;
        let ids: Vec<String> = list(&said, "ids").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let handed = all.iter().zip(&ids).map(|(one, id)| Handed { destination: one.destination, id: id.clone() });
        self.handed.extend(handed);
        Ok(ids)
    }

    /// Reads.
    pub(super) fn read(&self, path: &str) -> Result<Value, Fail> {
        self.eye.json("GET", path)
    }

    /// How these messages stand.
    pub(super) fn stands(&self, ids: &[String]) -> Result<HashMap<String, Stands>, Fail> {
        let mut all = HashMap::new();
        for some in ids.chunks(NAMED_MAX) {
            let page = self.read(&format!("/v1/messages?limit={NAMED_MAX}&id={}", some.join(",")))?;
            all.extend(list(&page, "messages").iter().map(stands));
        }
        Ok(all)
    }

    /// Whether all of them were delivered.
    pub(super) fn all_delivered(&self, ids: &[String]) -> Result<bool, Fail> {
        let stand = self.stands(ids)?;
        Ok(ids.iter().all(|id| stand.get(id).is_some_and(|stands| stands.state == "delivered")))
    }

    /// How a destination stands.
    pub(super) fn destination(&self, name: &str) -> Result<Value, Fail> {
        let all = self.read("/v1/destinations")?;
        let found = list(&all, "destinations").iter().find(|one| field(one, "name") == name);
        Ok(found.cloned().unwrap_or_default())
    }

    /// Every message of the registry.
    pub(super) fn registry(&self) -> Result<HashMap<String, Stands>, Fail> {
        let mut all = HashMap::new();
        self.pages("/v1/messages", "messages", |message| all.extend([stands(message)]))?;
        Ok(all)
    }

    /// The messages that the visitor has done something to.
    pub(super) fn touched(&self) -> Result<HashSet<String>, Fail> {
        let mut all = HashSet::new();
        self.pages("/v1/audit", "entries", |entry| {
            if field(entry, "who") == VISITOR {
                let target = entry.pointer("/target/message").into_iter();
                all.extend(target.chain(list(entry, "messages")).filter_map(Value::as_str).map(str::to_owned));
            }
        })?;
        Ok(all)
    }

    fn pages(&self, path: &str, name: &str, mut take: impl FnMut(&Value)) -> Result<(), Fail> {
        let mut next = String::new();
        loop {
            let page = self.read(&format!("{path}?limit={PAGE}{next}"))?;
            list(&page, name).iter().for_each(&mut take);
            match page.get("next").and_then(Value::as_str) {
                Some(cursor) => next = format!("&cursor={}", escape(cursor)),
                None => return Ok(()),
            }
        }
    }
}

/// A line of the play.
pub(super) fn line(begun: Instant, who: &str, what: &str) -> String {
    format!("{:>4} s  {who:<8} {}", begun.elapsed().as_secs(), visible(what))
}

/// The list of this name; none where there is no such.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn stands(message: &Value) -> (String, Stands) {
    (field(message, "id"), Stands { state: field(message, "state"), reason: field(message, "reason") })
}

fn parsed(body: &[u8]) -> Result<Value, Fail> {
    serde_json::from_slice(body).map_err(|error| Fail::new(UNREACHED, format!("the node answers no JSON: {error}")))
}
