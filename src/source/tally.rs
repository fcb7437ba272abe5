//! What became of what a source sent, counted since the node started.
//!
//! # What it does not know
//!
//! Who counts, and who reads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::WallMs;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, for every destination that a route names.
    Taken,
    /// It came before, and stays as it was.
    Repeated,
    /// It was answered with a no.
    Refused,
    /// It only asked whether somebody listens.
    Ping,
    /// It is kept, and something of it rests where no route takes it.
    Unrouted,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 5] =
        [Verdict::Taken, Verdict::Repeated, Verdict::Refused, Verdict::Ping, Verdict::Unrouted];

    /// Its name, as figures have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Taken => "taken",
            Verdict::Repeated => "repeated",
            Verdict::Refused => "refused",
            Verdict::Ping => "ping",
            Verdict::Unrouted => "unrouted",
        }
    }
}

/// The count of each.
#[derive(Debug, Default)]
pub struct Tally {
    taken: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
    pings: AtomicU64,
    unrouted: AtomicU64,
    /// 0 where nothing was kept yet.
    kept_at_ms: AtomicU64,
}

impl Tally {
    /// Counts one.
    pub fn count(&self, verdict: Verdict, now: WallMs) {
        self.of(verdict).fetch_add(1, Ordering::Relaxed);
        if matches!(verdict, Verdict::Taken | Verdict::Unrouted) {
            self.kept_at_ms.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// How many there were of it.
    #[must_use]
    pub fn counted(&self, verdict: Verdict) -> u64 {
        self.of(verdict).load(Ordering::Relaxed)
    }

    /// When something was last kept.
    #[must_use]
    pub fn kept_at(&self) -> Option<WallMs> {
        Some(self.kept_at_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms > 0).map(WallMs)
    }

    fn of(&self, verdict: Verdict) -> &AtomicU64 {
        match verdict {
            Verdict::Taken => &self.taken,
            Verdict::Repeated => &self.repeated,
            Verdict::Refused => &self.refused,
            Verdict::Ping => &self.pings,
            Verdict::Unrouted => &self.unrouted,
        }
    }
}
