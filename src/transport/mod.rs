//! What goniec does not own: the destination.
//!
//! A [`Transport`] takes one message there and says what became of it. Any closure is one.
//!
//! # The contract
//!
//! * `send` returns by its deadline, or soon after (a quarter of a second).
//! * It says [`Sent::Maybe`] only when it cannot know, and [`Sent::No`] only when not a byte of the message had left.
//! * It never follows a redirect and never tries twice: who retries, and when, is decided elsewhere.
//! * `probe` asks and changes nothing there. It says [`Probed::There`] and [`Probed::Absent`] only where the destination said so.
//!
//! # What it does not know
//!
//! States, policies, stores.

pub mod answer;
pub mod filter;
pub mod http;
pub mod secret;
pub mod shape;
pub mod smtp;

use std::fmt::Display;
use std::time::Duration;

use crate::model::{Class, Failure, Message, Outcome, Receipt, Sent};

/// A way to a destination.
pub trait Transport: Send + Sync + 'static {
    /// Sends the message once, and says by the deadline what became of it.
    fn send(&self, message: &Message, deadline: Duration) -> Outcome;

    /// Asks the destination whether it has the message of an attempt of which nobody knows, and says by the deadline what it answered.
    fn probe(&self, _message: &Message, _deadline: Duration) -> Probed {
        Probed::unasked()
    }

    /// Sends several messages at once, and says by the deadline what became of them.
    ///
    /// A way that knows no batches sends one after the other, each with its share of the time; the last says how the destination is.
    fn send_batch(&self, messages: &[Message], deadline: Duration) -> Batched {
        let share = deadline / u32::try_from(messages.len().max(1)).unwrap_or(u32::MAX);
        let each: Vec<Outcome> = messages.iter().map(|message| self.send(message, share)).collect();
        let request = each.last().cloned().unwrap_or_else(|| Outcome::Delivered(Receipt::default()));
        Batched { request, each: each.into_iter().map(Some).collect() }
    }

    /// Interrupts what is under way, so that a stop ends in time.
    fn shutdown(&self) {}
}

/// What a destination said to the question whether it has a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It has it.
    There(Receipt),
    /// It surely does not.
    Absent,
    /// It was not reached, or its answer does not tell: as a failure of the question, not of the message.
    Unknown(Failure),
}

impl Probed {
    /// Where nothing says how a destination is asked.
    fn unasked() -> Probed {
        Probed::Unknown(Failure::new(Class::Other, Sent::No, "there is no way to ask this destination"))
    }
}

/// What became of messages that went in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batched {
    /// How the request ended: what the destination is judged by.
    pub request: Outcome,
    /// What became of each message, in their order; `None` where the request's end is also the message's.
    pub each: Vec<Option<Outcome>>,
}

impl Batched {
    /// The request's end is that of all `count` messages.
    #[must_use]
    pub fn whole(request: Outcome, count: usize) -> Batched {
        Batched { request, each: vec![None; count] }
    }
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
