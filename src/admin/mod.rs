//! What concerns the administrator: filters and times, the same in the command line, the API and the console; and the ways to be told.
//!
//! # What it does not know
//!
//! HTTP servers, terminals, clocks, async.

pub mod channel;
pub mod filter;
pub mod when;
