//! Destinations that misbehave, as scripts of the sink, against the real transport and the real engine: what every attempt is written down as, what becomes
//! of the message, and that the next message goes on.
//!
//! Each scenario is a line of a table: what the sink does with the first request, and what must come of it.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "scenarios/answers.rs"]
mod answers;
#[path = "scenarios/connections.rs"]
mod connections;
#[path = "scenarios/oddities.rs"]
mod oddities;
#[path = "scenarios/returns.rs"]
mod returns;
#[path = "scenarios/stage.rs"]
mod stage;
#[path = "scenarios/waiting.rs"]
mod waiting;
