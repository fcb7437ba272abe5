//! Sending: the only step that may happen twice.
//!
//! # What holds
//!
//! * A message in doubt goes only after its destination said that it does not have it. The question has a deadline of its own.
//! * What is sent is the newest revision, and the report names it: the outcome counts only for that life.
//! * A transport that panics is a failed attempt, not a lost worker.
//!
//! # What it does not know
//!
//! Who waits for the outcome, and the clock: it is given the moments around it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::news::{Delivery, Who};
use super::registry::Registry;
use super::settle::{Report, attempt_number};
use super::words::Destination;
use crate::model::{Body, Class, Cost, Event, Failure, Message, Outcome, Place, Receipt, Sent, Stamp, State, advance};
use crate::store::{Expect, Loaded, Store, StoreError};
use crate::transport::Probed;

/// A message in a worker's hands, ready to leave.
pub(super) struct Outgoing {
    pub(super) loaded: Loaded,
    /// The destination is asked first whether it has it.
    pub(super) is_in_doubt: bool,
}

/// What becomes of a message that was to go out.
pub(super) enum Picked {
    /// It goes.
    Go(Outgoing),
    /// It cannot go, and that is its outcome.
    Ended(Box<Report>),
    /// It does not go: this is where it stands.
    Stays(State),
    /// It is not there any more.
    Gone,
}

/// A message as it lies in the store.
pub(super) enum Found {
    /// With its body.
    Whole(Box<Loaded>),
    /// Its body was removed, and it is not final: its life, and an empty body.
    Bodiless(Box<Loaded>),
    /// It is not there, or final.
    Gone,
}

/// Reads the message at this place.
///
/// # Errors
/// What hinders the read.
pub(super) fn find(store: &dyn Store, place: Place) -> Result<Found, StoreError> {
    if let Some(loaded) = store.load(place)? {
        return Ok(Found::Whole(Box::new(loaded)));
    }
    let Some(record) = store.get(place)?.filter(|record| !record.state.is_final()) else { return Ok(Found::Gone) };
    let message = Message {
        id: record.id,
        attempt: 0,
        revision: record.revision,
        envelope: record.envelope,
        content_type: record.content_type,
        body: Body::from([]),
    };
    let expect = Expect { state: record.state, attempts: record.attempts, revision: record.revision };
    Ok(Found::Bodiless(Box::new(Loaded { message, expect, series: record.series })))
}

/// The outcome of a message whose body is no longer there: it rests, and a person is told why.
pub(super) fn bodiless(who: Who, loaded: Loaded, now: Stamp) -> Report {
    let words = "its body was removed after its time; give it a new one with edit";
    let outcome = Outcome::Failed(Failure::new(Class::Rejected, Sent::No, words));
    Report::new(who, loaded, outcome, now, now)
}

/// Brings the message to hand.
///
/// # Errors
/// What hinders the read.
pub(super) fn pick_up(registry: &Registry, delivery: Delivery, now: Stamp) -> Result<Picked, StoreError> {
    let who = delivery.who;
    // It went out before, and what became of it could not be written: that is tried again, and not sent again.
    if let Some(report) = registry.take_unwritten(who.entry.place) {
        return Ok(Picked::Ended(Box::new(report)));
    }
    let mut loaded = match delivery.loaded {
        Some(loaded) => loaded,
        None => match find(&*registry.store, who.entry.place)? {
            Found::Whole(loaded) => *loaded,
            Found::Bodiless(loaded) => return Ok(Picked::Ended(Box::new(bodiless(who, *loaded, now)))),
            Found::Gone => return Ok(Picked::Gone),
        },
    };
    let state = loaded.expect.state;
    let number = attempt_number(state, loaded.expect.attempts);
    let is_claimed = state == State::Sending(number);
    let may_go = !state.is_held() && advance(state, Event::Claim(number)).is_ok();
    loaded.message.attempt = number;
    Ok(if is_claimed || may_go {
        Picked::Go(Outgoing { loaded, is_in_doubt: delivery.is_in_doubt })
    } else {
        Picked::Stays(state)
    })
}

/// Sends it once; one of which nobody knows whether it is there, only where the destination says that it is not.
pub(super) fn send(outgoing: &Outgoing, destination: &Destination) -> Outcome {
    let deadline = Duration::from_millis(destination.timeout_ms);
    let (transport, message) = (&destination.transport, &outgoing.loaded.message);
    let attempt = || ask(outgoing, destination).unwrap_or_else(|| transport.send(message, deadline));
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| panicked(&*panic))
}

/// The outcome of an attempt in which the transport panicked.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let words = format!("the transport panicked: {}", words_of(panic));
    Outcome::Failed(Failure::new(Class::Panic, Sent::Maybe, words))
}

/// What comes of a message of which nobody knows whether it is there: `None` where it is to go.
pub(super) fn ask(outgoing: &Outgoing, destination: &Destination) -> Option<Outcome> {
    if !outgoing.is_in_doubt {
        return None;
    }
    match destination.transport.probe(&outgoing.loaded.message, Duration::from_millis(destination.timeout_ms)) {
        Probed::There(receipt) => Some(Outcome::Delivered(found(receipt))),
        Probed::Absent => None,
        Probed::Unknown(failure) => Some(Outcome::Failed(unanswered(failure))),
    }
}

/// A message that was there already, in words for whoever wonders why it did not go.
fn found(receipt: Receipt) -> Receipt {
    let name = receipt.remote_id.as_ref().map(|id| format!(", as {id}")).unwrap_or_default();
    let detail = format!("asked, the destination has the message{name}; it was not sent again. {}", receipt.detail);
    Receipt { detail: detail.trim_end().to_owned(), ..receipt }
}

/// A question without an answer that tells: the message is in doubt as before. Where nobody was there to answer, that uses up nothing.
fn unanswered(failure: Failure) -> Failure {
    let cost = match failure.class {
        Class::Dns
        | Class::Connect
        | Class::Tls
        | Class::Timeout
        | Class::Protocol
        | Class::RateLimited
        | Class::Server
        | Class::Interrupted
        | Class::Auth => Cost::Free,
        Class::Setup
        | Class::Rejected
        | Class::Redirect
        | Class::Panic
        | Class::Other
        | Class::Gone
        | Class::Conflict
        | Class::Body
        | Class::Rule
        | Class::Template => Cost::One,
    };
    let detail = format!("asked whether the destination has the message: {}", failure.detail);
    Failure { sent: Sent::Maybe, detail, cost, ..failure }
}

/// What a panic said.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
