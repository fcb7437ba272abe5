//! What goniec does not own: the destination.
//!
//! A [`Transport`] takes one message there and says what became of it. Any closure is one.
//!
//! # The contract
//!
//! * `send` returns by its deadline, or soon after (a quarter of a second).
//! * It says [`Sent::Maybe`] only when it cannot know, and [`Sent::No`] only when not a byte of the message had left.
//! * It never follows a redirect and never tries twice: who retries, and when, is decided elsewhere.
//!
//! # What it does not know
//!
//! States, policies, stores.

pub mod answer;
pub mod filter;
pub mod http;
pub mod secret;
pub mod shape;

use std::fmt::Display;
use std::time::Duration;

use crate::model::{Class, Failure, Message, Outcome, Receipt, Sent};

/// A way to a destination.
pub trait Transport: Send + Sync + 'static {
    /// Sends the message once, and says by the deadline what became of it.
    fn send(&self, message: &Message, deadline: Duration) -> Outcome;

    /// Interrupts what is under way, so that a stop ends in time.
    fn shutdown(&self) {}
}

/// What a closure may answer: nothing, a result, or an outcome of its own.
pub trait IntoOutcome {
    /// The outcome that the answer means.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Delivered(Receipt::default())
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<T, E: Display> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(_) => Outcome::Delivered(Receipt::default()),
            Err(why) => Outcome::Failed(Failure::new(Class::Other, Sent::Answered, why.to_string())),
        }
    }
}

impl<F, R> Transport for F
where
    F: Fn(&Message) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    fn send(&self, message: &Message, _deadline: Duration) -> Outcome {
        self(message).into_outcome()
    }
}
