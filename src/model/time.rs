//! Time as an argument: the two clocks of one moment.
//!
//! A wall time is stored and shown; an interval is measured on the monotonic clock, so that a wall
//! clock that jumps neither fires a schedule at once nor freezes it.
//!
//! # What it does not know
//!
//! How to read a clock. The edges of the program do, and hand a [`Stamp`] down.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct WallMs(pub u64);

impl WallMs {
    /// This time and `ms` milliseconds, at most the end of time.
    #[must_use]
    pub fn plus(self, ms: u64) -> WallMs {
        WallMs(self.0.saturating_add(ms))
    }

    /// How many milliseconds this time lies after `earlier`; 0 where it does not.
    #[must_use]
    pub fn since(self, earlier: WallMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time in RFC 3339, UTC, with milliseconds.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let stamp = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        format!("{:.3}", stamp.unwrap_or(jiff::Timestamp::MAX))
    }
}

/// One moment, read once from both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The wall clock: what is stored and shown.
    pub wall: WallMs,
    /// The monotonic clock, in milliseconds since any fixed moment: what intervals run on.
    pub mono_ms: u64,
}
