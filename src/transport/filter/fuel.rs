//! How long a filter may run: steps are counted, and when they are spent the evaluation is broken off.
//!
//! The interpreter offers no way to stop it, and errors can be caught by the filter itself (`try`), so an evaluation ends by unwinding:
//! [`stop`] throws without a panic message, [`within`] catches. Values count the steps, as nothing can be computed without touching them.
//!
//! # What holds
//!
//! * Every copy, comparison and construction of a value costs a step, bytes and items cost by their number. Memory is bounded by
//!   the steps, because none of them allocates more than it pays for.
//! * Nothing recurses deeper than [`DEPTH_MAX`]: neither a value nor an update.
//!
//! # What it does not know
//!
//! The clock: the same filter over the same input ends after the same number of steps.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The deepest value, and the deepest update.
pub(super) const DEPTH_MAX: u16 = 200;

/// Why an evaluation was broken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The steps are spent.
    Steps,
    /// A value or an update is too deep.
    Depth,
    /// It looked at what did not come whole.
    Cut,
    /// The interpreter failed.
    Panic,
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static DEPTH: Cell<u16> = const { Cell::new(0) };
}

/// Runs an evaluation that may take so many steps.
pub(super) fn within<T>(steps: u64, evaluate: impl FnOnce() -> T) -> Result<T, Stop> {
    LEFT.set(steps);
    DEPTH.set(0);
    let ended = catch_unwind(AssertUnwindSafe(evaluate));
    LEFT.set(u64::MAX);
    ended.map_err(|thrown| thrown.downcast::<Stop>().map_or(Stop::Panic, |stop| *stop))
}

/// Breaks the evaluation off.
pub(super) fn stop(why: Stop) -> ! {
    resume_unwind(Box::new(why))
}

/// Pays for one step.
pub(super) fn step() {
    steps(1);
}

/// Pays for many items or bytes; called before they are made.
pub(super) fn steps(count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    match LEFT.get().checked_sub(count) {
        Some(left) => LEFT.set(left),
        // Unwinding drops what was made so far; a step that is paid for meanwhile must not throw again.
        None => {
            LEFT.set(u64::MAX);
            stop(Stop::Steps)
        }
    }
}

/// Pays for so many bytes.
pub(super) fn bytes(count: usize) {
    steps(count / 32 + 1);
}

/// A level of recursion, until it is dropped.
pub(super) struct Level;

impl Level {
    /// Goes one level deeper.
    pub(super) fn enter() -> Level {
        let depth = DEPTH.get() + 1;
        if depth > DEPTH_MAX {
            stop(Stop::Depth);
        }
        DEPTH.set(depth);
        Level
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}
