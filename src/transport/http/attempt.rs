//! How far the request of this thread has come, until when it may go on, and what its time was spent on.
//!
//! ureq runs a request on the thread that asks for it, so the resolver, the connector and the socket of one request meet
//! here without being handed anything. What they note is what tells "surely not sent" from "may have arrived".
//!
//! # What holds
//!
//! * [`begin`] comes before every request, and before every read of a body that is read later.
//! * `left_bytes` counts what the kernel took after the connection stood, nothing of a handshake that failed.
//! * The phases follow each other without a gap from the first that happens to [`end`].
//!
//! # What it does not know
//!
//! Sockets, names, answers.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::model::{Phase, Phases};

/// How far a request came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// What it is busy with. One that has done nothing yet is about to find the address.
    pub(super) phase: Phase,
    /// Since when it is, once it is busy at all.
    pub(super) since: Option<Instant>,
    /// What its time was spent on before.
    pub(super) phases: Phases,
    /// Its connection is its own, made by it and not kept from another.
    pub(super) is_fresh: bool,
    /// When all of it must have ended.
    pub(super) deadline: Instant,
    /// When what it is busy with must have ended; never after the deadline.
    pub(super) until: Instant,
    /// Bytes of the request that the kernel took.
    pub(super) left_bytes: u64,
    /// Bytes of the answer that came.
    pub(super) heard_bytes: u64,
}

impl Attempt {
    /// One that has done nothing yet, and must have ended at `deadline`.
    pub(super) fn until(deadline: Instant) -> Attempt {
        Attempt {
            phase: Phase::Dns,
            since: None,
            phases: Phases::default(),
            is_fresh: false,
            deadline,
            until: deadline,
            left_bytes: 0,
            heard_bytes: 0,
        }
    }

    /// The connection stands, so that the request may have left.
    pub(super) fn is_connected(&self) -> bool {
        match self.phase {
            Phase::Dns | Phase::Connect | Phase::Tls => false,
            Phase::Send | Phase::Wait | Phase::Receive => true,
        }
    }

    /// What its time was spent on; `None` where nothing was done.
    pub(super) fn phases(&self) -> Option<Phases> {
        let mut phases = self.phases;
        phases.is_reused = self.is_connected() && !self.is_fresh;
        phases.last().map(|_| phases)
    }

    /// Puts the time since the last turn to what it was busy with.
    fn turn(&mut self, now: Instant, next: Option<Phase>) {
        if let Some(since) = self.since {
            let took = now.saturating_duration_since(since).as_micros();
            self.phases.note(self.phase, u64::try_from(took).unwrap_or(u64::MAX));
        }
        self.since = next.map(|_| now);
        self.phase = next.unwrap_or(self.phase);
    }
}

thread_local! {
    static CURRENT: Cell<Option<Attempt>> = const { Cell::new(None) };
}

/// Begins a request that must have ended at `deadline`.
pub(super) fn begin(deadline: Instant) {
    CURRENT.set(Some(Attempt::until(deadline)));
}

/// How far the request of this thread has come.
pub(super) fn current() -> Attempt {
    CURRENT.get().unwrap_or_else(|| Attempt::until(Instant::now()))
}

/// Enters a phase that may take `limit` at most.
pub(super) fn enter(phase: Phase, limit: Option<Duration>) {
    let now = Instant::now();
    change(|attempt| {
        attempt.turn(now, Some(phase));
        attempt.is_fresh |= phase == Phase::Connect;
        attempt.until = match limit {
            Some(limit) => attempt.deadline.min(now + limit),
            None => attempt.deadline,
        };
        if phase == Phase::Send {
            attempt.left_bytes = 0;
            attempt.heard_bytes = 0;
        }
    });
}

/// Goes on to `next` where `phase` is what the request is busy with. The time that is left stays the same.
pub(super) fn go_on(phase: Phase, next: Phase) {
    change(|attempt| {
        if attempt.phase == phase {
            attempt.turn(Instant::now(), Some(next));
        }
    });
}

/// Ends the phase that the request is busy with, and with it the request: as far as it came.
pub(super) fn end() -> Attempt {
    change(|attempt| attempt.turn(Instant::now(), None));
    current()
}

/// Leaves no more than `limit` for what remains.
pub(super) fn hurry(limit: Duration) {
    change(|attempt| attempt.until = attempt.until.min(Instant::now() + limit));
}

/// Notes that bytes left.
pub(super) fn left(bytes: usize) {
    change(|attempt| attempt.left_bytes = attempt.left_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
}

/// Notes that bytes came.
pub(super) fn heard(bytes: usize) {
    change(|attempt| {
        attempt.heard_bytes = attempt.heard_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))
    });
}

fn change(apply: impl FnOnce(&mut Attempt)) {
    let mut attempt = current();
    apply(&mut attempt);
    CURRENT.set(Some(attempt));
}
