//! How far the request of this thread has come, and until when it may go on.
//!
//! ureq runs a request on the thread that asks for it, so the resolver, the connector and the socket of one request meet
//! here without being handed anything. What they note is what tells "surely not sent" from "may have arrived".
//!
//! # What holds
//!
//! * [`begin`] comes before every request, and before every read of a body that is read later.
//! * `left_bytes` counts what the kernel took after the connection stood, nothing of a handshake that failed.
//!
//! # What it does not know
//!
//! Sockets, names, answers.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What a request is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Finding the address.
    Resolving,
    /// Making the connection.
    Connecting,
    /// The TLS handshake.
    Handshaking,
    /// Sending and receiving, over a new connection or one that was kept.
    Open,
}

/// How far a request came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// What it is busy with.
    pub(super) phase: Phase,
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
        Attempt { phase: Phase::Resolving, is_fresh: false, deadline, until: deadline, left_bytes: 0, heard_bytes: 0 }
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
    change(|attempt| {
        attempt.phase = phase;
        attempt.is_fresh |= phase == Phase::Connecting;
        attempt.until = match limit {
            Some(limit) => attempt.deadline.min(Instant::now() + limit),
            None => attempt.deadline,
        };
        if phase == Phase::Open {
            attempt.left_bytes = 0;
            attempt.heard_bytes = 0;
        }
    });
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
