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

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Pick, Sources, UNROUTED, of_source};
use crate::engine::{Accepted, Engine};
use crate::error::Error;
use crate::model::{Class, Draft, Envelope, Failure, Message, Outcome, Receipt, Sent};
use crate::store::KEY_OF_ALL;
use crate::transport::Transport;
use crate::transport::filter::Document;

/// Where messages rest that no route takes.
#[derive(Clone)]
pub struct Unrouted {
    sources: Arc<Sources>,
    engine: Arc<Mutex<Option<Engine>>>,
}

impl Unrouted {
    /// The resting place of what these sources hand in.
    #[must_use]
    pub fn new(sources: Arc<Sources>) -> Unrouted {
        Unrouted { sources, engine: Arc::default() }
    }

    /// From now on messages that a route takes are handed to this engine.
    pub fn hands_to(&self, engine: &Engine) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.clone());
    }

    /// The messages that this one becomes.
    fn drafts(&self, message: &Message) -> Result<Vec<Draft>, String> {
        let own = &message.envelope;
        let name = of_source(own);
        let source = name.and_then(|name| self.sources.find(name));
        let source = source.ok_or_else(|| format!("there is no source {:?} any more", name.unwrap_or_default()))?;
        let document = Document::read(message.body());
        let kind = match (&own.kind, &source.kind) {
            (None, Pick::Body(_)) => {
                let picked = source.kind.of(None, document.as_ref());
                picked.map_err(|why| format!("the type: {why}"))?
            }
            (kind, _) => kind.clone(),
        };
        let plan = self.sources.plan(source, kind.as_deref(), own.key.clone(), document.as_ref())?;
        let further = plan.to.into_iter().map(|to| {
            let envelope = Envelope {
                idempotency_key: Some(further_key(own.idempotency_key.as_deref(), message, &to)),
                destination: to,
                key: plan.key.clone(),
                version: plan.version,
                kind: kind.clone(),
                content_type: message.content_type.clone(),
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

/// Accepts them, and waits until that is durable.
fn accepted(engine: &Engine, drafts: Vec<Draft>) -> Result<Accepted, Error> {
    let (give, take) = sync_channel(1);
    engine.accept(drafts, Box::new(move |answer| drop(give.send(answer))));
    take.recv().unwrap_or(Err(Error::Stopping))
}

impl Transport for Unrouted {
    fn send(&self, message: &Message, _deadline: Duration) -> Outcome {
        let failed = |class, sent, why: String| Outcome::Failed(Failure::new(class, sent, why));
        let drafts = match self.drafts(message) {
            Ok(drafts) => drafts,
            Err(why) => return failed(Class::Rejected, Sent::Answered, why),
        };
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(engine) = engine else {
            return failed(Class::Other, Sent::No, "the node does not take anything at the moment".into());
        };
        let to = drafts.iter().map(|draft| &*draft.envelope.destination).collect::<Vec<_>>().join(", ");
        match accepted(&engine, drafts) {
            Ok(accepted) => {
                let before =
                    if accepted.is_replay { ": it had been taken there before, and stays as it was" } else { "" };
                Outcome::Delivered(Receipt { detail: format!("routed to {to}{before}"), ..Receipt::default() })
            }
            // It will be the same next time: a person has to look at it.
            Err(error @ (Error::Invalid(_) | Error::TooLarge { .. } | Error::After(_))) => {
                failed(Class::Rejected, Sent::Answered, error.to_string())
            }
            Err(error) => failed(Class::Other, Sent::No, error.to_string()),
        }
    }

    fn shutdown(&self) {
        // What is under way ends; an engine that ends by itself has nothing under way.
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
