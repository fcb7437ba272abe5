//! Writing back: what a destination made of a message becomes a message to others, so that a shop shows what became of its order.
//!
//! ```text
//! a message is delivered or given up ─▶ a note in the same commit ─▶ one message for each who wants to hear, and the note goes in their commit
//! ```
//!
//! # What holds
//!
//! * A verdict stands in the commit that ends the message, and goes with the commit that keeps what is said of it: it is said once, whatever is killed
//!   when, and a disk that is full delays it only.
//! * What ends again before that was said is said as it ended last. What waits again by then is not said: it will end once more.
//! * That a newer message took its place is no verdict: the newer one will have one.
//!
//! # What it does not know
//!
//! Who hears, and in what shape: that is a destination like any other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::accept;
use super::draft::Draft;
use super::mark::{self, Mark};
use super::registry::Registry;
use super::request::Request;
use super::words::{Accepted, Destination};
use crate::error::Error;
use crate::model::{Abandoned, Body, Draft as Message, Envelope, Place, Record, Stamp, State, WallMs};
use crate::store::{Committed, Dest, Moved, Note, Store, StoreError};

/// What the marks of verdicts are called, before the place.
const NAME: &str = "verdict/";
/// How many are said at a time.
const SAID_MAX: usize = 64;
/// How soon what could not be said is tried again.
const AGAIN_MS: u64 = 1_000;

/// Who wants to hear how messages of a destination end.
struct Wanted {
    on_delivered: Vec<Arc<str>>,
    on_abandoned: Vec<Arc<str>>,
}

/// The verdicts that have not been said yet.
#[derive(Default)]
pub(super) struct Verdicts {
    wanted: HashMap<Dest, Wanted>,
    /// Where these messages lie, each with the time on the monotonic clock before which it is not tried: 16 bytes one.
    unsaid: Arc<Unsaid>,
}

#[derive(Default)]
struct Unsaid(Mutex<VecDeque<(u64, Place)>>);

impl Unsaid {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Place)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    /// Who wants to hear that a message ended so.
    fn of(&self, state: State) -> &[Arc<str>] {
        match state {
            State::Delivered => &self.on_delivered,
            State::Abandoned(Abandoned::Superseded(_)) => &[],
            State::Abandoned(
                Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired | Abandoned::Cancelled,
            ) => &self.on_abandoned,
            State::Queued(_) | State::Sending(_) | State::Failed(_) => &[],
        }
    }
}

impl Verdicts {
    /// The verdicts on messages of these destinations, with what an earlier process left unsaid.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn open<'a>(
        destinations: impl Iterator<Item = (Dest, &'a Destination)>,
        store: &dyn Store,
    ) -> Result<Verdicts, StoreError> {
        // Most destinations have nobody who listens.
        let heard = destinations.filter(|(_, rules)| !rules.on_delivered.is_empty() || !rules.on_abandoned.is_empty());
        let wanted = heard.map(|(dest, rules)| {
            let (on_delivered, on_abandoned) = (rules.on_delivered.clone(), rules.on_abandoned.clone());
            (dest, Wanted { on_delivered, on_abandoned })
        });
        let verdicts = Verdicts { wanted: wanted.collect(), unsaid: Arc::default() };
        mark::each(store, NAME, &mut |place| {
            if let Ok(place) = place.parse() {
                verdicts.unsaid.lock().push_back((0, Place::from_u64(place)));
            }
        })?;
        Ok(verdicts)
    }

    fn heard_by(&self, dest: Dest, state: State) -> &[Arc<str>] {
        self.wanted.get(&dest).map_or(&[], |wanted| wanted.of(state))
    }

    /// The notes of the verdicts in a batch.
    pub(super) fn notes<'a>(&'a self, draft: &'a Draft) -> impl Iterator<Item = Note> + 'a {
        let steps = draft.batch.moves.iter().zip(&draft.causes).filter(|_| !self.wanted.is_empty());
        let ends = steps.filter(|(step, cause)| !self.heard_by(cause.who().dest, step.to).is_empty());
        ends.map(|(step, _)| Mark { name: name(step.place), was: None, is: value(step.to, draft.now.wall) }.note())
    }

    /// The verdicts of a batch that was written are due.
    pub(super) fn came(&self, draft: &Draft, committed: &Committed) {
        if self.wanted.is_empty() {
            return;
        }
        for ((step, moved), cause) in draft.batch.moves.iter().zip(&committed.moved).zip(&draft.causes) {
            if *moved == Moved::Done && !self.heard_by(cause.who().dest, step.to).is_empty() {
                self.unsaid.lock().push_back((0, step.place));
            }
        }
    }

    /// Whether there is one to be said.
    pub(super) fn is_due(&self, now: Stamp) -> bool {
        self.next_due().is_some_and(|due_ms| due_ms <= now.mono_ms)
    }

    /// When the next one is to be said, on the monotonic clock.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.unsaid.lock().front().map(|(due_ms, _)| *due_ms)
    }

    /// Hands in what is to be said. What cannot be said now is tried again.
    pub(super) fn turn(&self, registry: &Registry, now: Stamp, hand_in: &mut dyn FnMut(Request)) {
        for _ in 0..SAID_MAX {
            let place = {
                let mut unsaid = self.unsaid.lock();
                match unsaid.pop_front_if(|(due_ms, _)| *due_ms <= now.mono_ms) {
                    Some((_, place)) => place,
                    None => return,
                }
            };
            let unsaid = self.unsaid.clone();
            let again = move || unsaid.lock().push_back((now.mono_ms.saturating_add(AGAIN_MS), place));
            match self.said(registry, place) {
                Ok(None) => {}
                Ok(Some((drafts, mark))) => match accept::check(drafts, registry) {
                    Ok(incoming) => {
                        let reply = move |said: Result<Accepted, Error>| match said {
                            Ok(_) | Err(Error::Marked(_)) => {}
                            Err(_) => again(),
                        };
                        hand_in(Request::Accept(incoming, Some(mark), Box::new(reply)));
                    }
                    Err(error) => {
                        log::error!("what became of message {place} cannot be said: {error}");
                        again();
                    }
                },
                Err(error) => {
                    registry.unreadable(place, &error);
                    again();
                }
            }
        }
    }

    /// What is to be said of a message, and the mark that goes with it; `None` where it was said.
    fn said(&self, registry: &Registry, place: Place) -> Result<Option<(Vec<Message>, Mark)>, StoreError> {
        let store = &*registry.store;
        let name = name(place);
        let Some(was) = mark::read(store, &name)? else { return Ok(None) };
        let record = store.get(place)?.filter(|record| was.starts_with(ending(record.state).as_bytes()));
        let drafts = match record {
            // It is gone, or waits again, or what was written of it did not count.
            None => Vec::new(),
            Some(record) => {
                let attempts = store.attempts(place)?;
                let detail = attempts.last().map(|attempt| attempt.detail.as_str()).filter(|detail| !detail.is_empty());
                let heard_by = self.heard_by(registry.store.destination(&record.envelope.destination)?, record.state);
                heard_by.iter().map(|to| verdict(to, &record, detail)).collect()
            }
        };
        Ok(Some((drafts, Mark { name, was: Some(was), is: Vec::new() })))
    }
}

/// The message to one who wants to hear.
fn verdict(to: &Arc<str>, record: &Record, detail: Option<&str>) -> Message {
    let Record { id, state, envelope, attempts, updated_at, remote_id, .. } = record;
    let body = json!({
        "id": id.to_string(),
        "destination": envelope.destination,
        "key": envelope.key,
        "type": envelope.kind,
        "state": state.name(),
        "reason": state.reason(),
        "detail": detail,
        "remote_id": remote_id,
        "attempts": attempts,
        "accepted_at": id.accepted_at().rfc3339(),
        "ended_at": updated_at.rfc3339(),
    });
    let envelope = Envelope {
        destination: to.clone(),
        key: envelope.key.clone(),
        kind: Some(Arc::from(format!("goniec.{}", state.name()))),
        content_type: Some(Arc::from("application/json")),
        traceparent: envelope.traceparent.clone(),
        ..Envelope::default()
    };
    Message { envelope, after: Vec::new(), body: Body::from(body.to_string().as_bytes()) }
}

fn name(place: Place) -> Arc<str> {
    Arc::from(format!("{NAME}{}", place.to_u64()))
}

/// What a mark says: how the message ended, and when.
fn value(state: State, at: WallMs) -> Vec<u8> {
    format!("{}{}", ending(state), at.0).into_bytes()
}

fn ending(state: State) -> String {
    format!("{} {} ", state.name(), state.reason().unwrap_or_default())
}
