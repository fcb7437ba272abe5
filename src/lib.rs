//! goniec (Polish: errand-runner): the registry and delivery engine that stands between business systems.
//!
//! Every message is written down durably before its sender hears yes, delivered as an explicit state machine, tried again when
//! that fails, and kept with its reasons for those who run it.

#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::dbg_macro,
        clippy::todo,
        clippy::wildcard_enum_match_arm,
        clippy::allow_attributes_without_reason
    )
)]

pub mod admin;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod engine;
pub mod error;
mod goniec;
pub mod model;
#[cfg(feature = "server")]
pub mod server;
pub mod source;
pub mod store;
pub mod transport;

pub use error::Error;
pub use goniec::{Goniec, Opened};
pub use model::{Draft, Id, Message, Outcome, Record, State};
