//! What concerns the administrator: filters and times, the same in the command line, the API and the console; what
//! becomes of a key, and whether a destination has what was delivered to it; and the ways to be told.
//!
//! # What it does not know
//!
//! HTTP servers, terminals, clocks, async.

pub mod channel;
pub mod explain;
pub mod filter;
pub mod keys;
pub mod mail;
pub mod reconcile;
pub mod when;
