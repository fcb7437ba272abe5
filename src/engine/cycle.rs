//! Timetables: when the next sync cycle starts.
//!
//! # What it does not know
//!
//! The clock, and who waits.

use super::words::Cycle;
use crate::model::WallMs;

/// The first start of the timetable after `now`.
pub(super) fn next_start(cycle: &Cycle, now: WallMs) -> WallMs {
    match cycle {
        Cycle::Every(period_ms) => {
            let period_ms = (*period_ms).max(1);
            WallMs((now.0 / period_ms).saturating_add(1).saturating_mul(period_ms))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_start_at_whole_multiples_and_never_now() {
        let every = Cycle::Every(900_000);
        assert_eq!(next_start(&every, WallMs(1)), WallMs(900_000));
        assert_eq!(next_start(&every, WallMs(900_000)), WallMs(1_800_000));
    }
}
