//! Values and rules: what a message is, how it may move, when it is tried again.
//!
//! Everything here is a value or a pure function of its arguments. Time is an argument ([`Stamp`]),
//! chance is an argument, and nothing is ever written to or read from the outside.
//!
//! # What it does not know
//!
//! Clocks, files, sockets, threads, logs, and every floor above it. `tests/tidy.rs` holds it to that.

pub mod breaker;
pub mod cause;
pub mod chain;
pub mod codec;
pub mod cron;
pub(crate) mod csv;
pub mod forecast;
pub mod hash;
pub mod id;
pub mod ledger;
pub mod media;
pub mod message;
pub mod nearest;
pub mod percent;
pub mod phases;
pub mod policy;
pub mod ranges;
pub mod rate;
pub mod role;
pub mod seen;
pub mod span;
pub mod state;
pub mod statuses;
pub mod stream;
pub mod time;
pub mod timetable;
pub mod wheel;
mod zone;

pub use id::{Id, NodeTag, Place};
pub use message::{Attempt, Body, Draft, Envelope, Headers, Message, Record, Told};
pub use phases::{Phase, Phases};
pub use policy::{
    Backoff, Class, Cost, Delivery, Failure, OnUncertain, Outcome, Policy, Receipt, Retry, Sent, Verdict, judge,
};
pub use state::{Abandoned, Event, Failed, Illegal, Queued, State, advance};
pub use time::{Stamp, WallMs};
