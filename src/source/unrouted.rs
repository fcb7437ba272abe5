//! The destination of what no route takes: it says why, and takes a message further once a route does.
//!
//! # What holds
//!
//! * A message goes further by being accepted for its destinations, each under a key of its own: it arrives here only once that is durable, and a
//!   repetition accepts nothing twice.
//!
//! # What it does not know
//!
//! When a person sends a message again.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::content::Content;
use super::{LONG_KEY, LONG_TYPE, Pick, Sources, UNROUTED, going_on, of_source, too_long};
use crate::engine::{Accepted, Engine};
use crate::error::Error;
use crate::model::{Class, Draft, Envelope, Failure, Message, Outcome, Receipt, Sent};
use crate::store::KEY_OF_ALL;
use crate::transport::Transport;

/// Where messages rest that no route takes.
#[derive(Clone)]
pub struct Unrouted {
    sources: Arc<Sources>,
    onward: Arc<Onward>,
}

/// The way on.
#[derive(Default)]
struct Onward {
    way: Mutex<Way>,
    changed: Condvar,
}

#[derive(Default)]
enum Way {
    /// The engine that sends this has not been named yet: it sends as soon as it starts.
    #[default]
    Coming,
    /// To this engine.
    Open(Engine),
    /// The node stops.
    Closed,
}

impl Onward {
    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn becomes(&self, way: Way) {
        *self.way() = way;
        self.changed.notify_all();
    }

    /// The engine, waited for within the limit.
    fn engine(&self, limit: Duration) -> Option<Engine> {
        let is_coming = |way: &mut Way| matches!(way, Way::Coming);
        let waited = self.changed.wait_timeout_while(self.way(), limit, is_coming);
        let (way, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &*way {
            Way::Open(engine) => Some(engine.clone()),
            Way::Coming | Way::Closed => None,
        }
    }
}

impl Unrouted {
    /// The resting place of what these sources hand in.
    #[must_use]
    pub fn new(sources: Arc<Sources>) -> Unrouted {
        Unrouted { sources, onward: Arc::default() }
    }

    /// From now on messages that a route takes are handed to this engine.
    pub fn hands_to(&self, engine: &Engine) {
        self.onward.becomes(Way::Open(engine.clone()));
    }

    /// The messages that this one becomes.
    fn drafts(&self, message: &Message) -> Result<Vec<Draft>, String> {
        let own = &message.envelope;
        let name = of_source(own);
        let source = name.and_then(|name| self.sources.find(name));
        let source = source.ok_or_else(|| format!("there is no source {:?} any more", name.unwrap_or_default()))?;
        let body = Content::new(message.body());
        let kind = match (&own.kind, &source.kind) {
            (None, Pick::Body(_)) => {
                let picked = source.kind.of(None, &body);
                picked.map_err(|why| format!("the type: {why}"))?
            }
            (kind, _) => kind.clone(),
        };
        for (name, header, is_there) in
            [("type", LONG_TYPE, kind.is_some()), ("key", LONG_KEY, own.key.is_some() || source.key.is_some())]
        {
            // It had one that could not be kept. Without it routes would take it for something else.
            let long = own.headers.iter().find(|(known, _)| !is_there && known == header);
            long.map_or(Ok(()), |(_, bytes)| Err(too_long(name, bytes)))?;
        }
        let plan = self.sources.plan(source, kind.as_deref(), own.key.clone(), &body)?;
        let further = plan.to.into_iter().map(|to| {
            let envelope = Envelope {
                idempotency_key: Some(further_key(own.idempotency_key.as_deref(), message, &to)),
                destination: to,
                key: plan.key.clone(),
                version: own.version.or(plan.version),
                kind: kind.clone(),
                content_type: message.content_type.clone(),
                headers: going_on(&own.headers),
                ..own.as_ref().clone()
            };
            Draft { envelope, after: Vec::new(), body: message.body.clone() }
        });
        Ok(further.collect())
    }
}

/// The key of the message that goes on: that of the delivery itself, so that it is taken once there whether it comes again before or after.
fn further_key(own: Option<&str>, message: &Message, to: &str) -> Arc<str> {
    match own.and_then(|own| own.strip_suffix(UNROUTED)).filter(|own| own.starts_with(KEY_OF_ALL)) {
        Some(delivery) => Arc::from(format!("{delivery}{to}")),
        None => Arc::from(format!("{KEY_OF_ALL}{}/{to}", message.id())),
    }
}

/// Accepts them, and waits within the limit until that is durable; `None` where it is not known by then.
fn accepted(engine: &Engine, drafts: Vec<Draft>, limit: Duration) -> Option<Result<Accepted, Error>> {
    let (give, take) = sync_channel(1);
    engine.accept(drafts, Box::new(move |answer| drop(give.send(answer))));
    match take.recv_timeout(limit) {
        Ok(answer) => Some(answer),
        Err(RecvTimeoutError::Disconnected) => Some(Err(Error::Stopping)),
        Err(RecvTimeoutError::Timeout) => None,
    }
}

impl Transport for Unrouted {
    fn send(&self, message: &Message, deadline: Duration) -> Outcome {
        let failed = |class, sent, why: String| Outcome::Failed(Failure::new(class, sent, why));
        let drafts = match self.drafts(message) {
            Ok(drafts) => drafts,
            Err(why) => return failed(Class::Rejected, Sent::Answered, why),
        };
        let Some(engine) = self.onward.engine(deadline) else {
            return failed(Class::Other, Sent::No, "the node does not take anything at the moment".into());
        };
        let to = drafts.iter().map(|draft| &*draft.envelope.destination).collect::<Vec<_>>().join(", ");
        match accepted(&engine, drafts, deadline) {
            Some(Ok(accepted)) => {
                let before =
                    if accepted.is_replay { ": it had been taken there before, and stays as it was" } else { "" };
                Outcome::Delivered(Receipt { detail: format!("routed to {to}{before}"), ..Receipt::default() })
            }
            // It will be the same next time: a person has to look at it.
            Some(Err(error @ (Error::Invalid(_) | Error::TooLarge { .. } | Error::After(_)))) => {
                failed(Class::Rejected, Sent::Answered, error.to_string())
            }
            Some(Err(error)) => failed(Class::Other, Sent::No, error.to_string()),
            // It is known when it comes again.
            None => failed(Class::Timeout, Sent::Maybe, "the node did not write it down in time".into()),
        }
    }

    fn shutdown(&self) {
        // What is under way ends; an engine that ends by itself has nothing under way.
        self.onward.becomes(Way::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Settings;
    use crate::store::memory::MemoryStore;

    #[test]
    fn what_is_sent_before_the_engine_is_named_waits_for_it() {
        let unrouted = Unrouted::new(Arc::default());
        assert!(unrouted.onward.engine(Duration::ZERO).is_none());
        let store = Arc::new(MemoryStore::new());
        let engine = Engine::start(store, Vec::new(), Settings::default(), Vec::new()).expect("an engine");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| unrouted.onward.engine(Duration::from_secs(30)));
            unrouted.hands_to(&engine);
            assert!(waits.join().expect("no panic").is_some());
        });
        unrouted.shutdown();
        assert!(unrouted.onward.engine(Duration::from_secs(30)).is_none(), "a node that stops waits for nothing");
    }
}
