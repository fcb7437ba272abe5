//! Sending: the only step that may happen twice.
//!
//! # What holds
//!
//! * What is sent is the newest revision, and the report names it: the outcome counts only for that life.
//! * A transport that panics is a failed attempt, not a lost worker.
//!
//! # What it does not know
//!
//! Who waits for the outcome, and the clock: it is given the moments around it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::schedule::Delivery;
use super::settle::attempt_number;
use super::words::Destination;
use crate::model::{Class, Event, Failure, Outcome, Sent, State, advance};
use crate::store::{Loaded, Store, StoreError};

/// A message in a worker's hands, ready to leave.
pub(super) struct Outgoing {
    pub(super) loaded: Loaded,
}

/// Brings the message to hand. `Ok(None)` where it is not to be sent any more: its claim is void.
///
/// # Errors
/// What hinders the read.
pub(super) fn pick_up(store: &dyn Store, delivery: Delivery) -> Result<Option<Outgoing>, StoreError> {
    let place = delivery.who.entry.place;
    let loaded = match delivery.loaded {
        Some(loaded) => Some(loaded),
        None => store.load(place)?,
    };
    Ok(loaded.and_then(|mut loaded| {
        let number = attempt_number(loaded.expect.state, loaded.expect.attempts);
        let is_claimed = loaded.expect.state == State::Sending(number);
        let may_go = !loaded.expect.state.is_held() && advance(loaded.expect.state, Event::Claim(number)).is_ok();
        loaded.message.attempt = number;
        (is_claimed || may_go).then_some(Outgoing { loaded })
    }))
}

/// Sends it once.
pub(super) fn send(outgoing: &Outgoing, destination: &Destination) -> Outcome {
    let deadline = Duration::from_millis(destination.timeout_ms);
    let attempt = || destination.transport.send(&outgoing.loaded.message, deadline);
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
        let words = format!("the transport panicked: {}", words_of(&*panic));
        Outcome::Failed(Failure::new(Class::Panic, Sent::Maybe, words))
    })
}

/// What a panic said.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
