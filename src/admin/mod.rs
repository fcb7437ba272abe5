//! What the administrator's words mean: filters and times, the same in the command line, the API and the console.
//!
//! # What it does not know
//!
//! HTTP, terminals, clocks, async.

pub mod filter;
pub mod when;
