//! Whether a destination is asked at all: the breaker, its probe, and the ramp after it.
//!
//! ```text
//!            nearly all of the last outcomes failed
//!   Closed ───────────────────────────────────────▶ Open until a time
//!     ▲                                             │  ▲
//!     │ as many successes as may be out             │  │ the canary failed
//!     │                                             ▼  │
//!   Ramp 1, 2, 4 … ◀───────────────────────── Probing: one canary is out
//!                        the canary arrived
//! ```
//!
//! # What holds
//!
//! * A destination that answers some of its messages stays closed: a busy one opens only when nine of its last twenty outcomes in ten failed,
//!   a quiet one when as many failed in a row as the rule says.
//! * While it is open nothing goes; while it is probed one message goes, and no second before the first is home.
//! * A failure on the ramp opens it again; the time until the next probe grows up to eight times, with chance in it.
//!
//! # What it does not know
//!
//! What counts as a failure of the destination, and any clock: a monotonic one is handed in.

use std::collections::VecDeque;

use super::policy::scatter;

/// How many outcomes are looked back at.
const LOOK_BACK: usize = 20;
/// How many of ten must have failed.
const FAILED_OF_TEN: usize = 9;
/// How often the time to the next probe doubles.
const DOUBLINGS_MAX: u32 = 3;

/// When a destination is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// After so many failures in a row. At least 1.
    pub failures: u16,
    /// Outcomes older than this are forgotten, in milliseconds.
    pub window_ms: u64,
    /// How long until one message is tried, in milliseconds.
    pub probe_ms: u64,
}

/// The breaker of one destination.
#[derive(Debug, Clone)]
pub struct Breaker {
    rule: BreakerRule,
    phase: Phase,
    /// When each of the last attempts ended, and whether it failed.
    ended: VecDeque<(u64, bool)>,
    /// How many probes in a row failed.
    failed_probes: u32,
}

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Everything.
    Closed,
    /// Nothing until this time on the monotonic clock; then one.
    Open(u64),
    /// One message, which is out where the flag is set.
    Probing(bool),
    /// So many at once, of which so many have arrived since the last widening.
    Ramp(u16, u16),
}

/// What has changed, for those who must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The destination is left alone.
    Opened,
    /// It is asked like before.
    Closed,
}

impl Phase {
    /// The word of the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Closed => "closed",
            Phase::Open(_) => "open",
            Phase::Probing(_) => "probing",
            Phase::Ramp(..) => "widening",
        }
    }
}

impl Default for BreakerRule {
    fn default() -> BreakerRule {
        BreakerRule { failures: 5, window_ms: 30_000, probe_ms: 15_000 }
    }
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(rule: BreakerRule) -> Breaker {
        Breaker { rule, phase: Phase::Closed, ended: VecDeque::new(), failed_probes: 0 }
    }

    /// What it lets through.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many messages may be out at once at `now_ms`, where the destination's own limit is `limit`.
    #[must_use]
    pub fn permits(&self, limit: usize, now_ms: u64) -> usize {
        match self.phase {
            Phase::Closed => limit,
            Phase::Open(until_ms) if now_ms < until_ms => 0,
            Phase::Open(_) | Phase::Probing(_) => 1,
            Phase::Ramp(width, _) => limit.min(usize::from(width)),
        }
    }

    /// A message has gone out.
    pub fn went(&mut self, now_ms: u64) {
        match self.phase {
            Phase::Open(until_ms) if now_ms >= until_ms => self.phase = Phase::Probing(true),
            Phase::Probing(false) => self.phase = Phase::Probing(true),
            Phase::Open(_) | Phase::Probing(true) | Phase::Closed | Phase::Ramp(..) => {}
        }
    }

    /// A message that went has come home without an answer of the destination: given back, or stopped by us.
    pub fn came_back(&mut self) {
        if self.phase == Phase::Probing(true) {
            self.phase = Phase::Probing(false);
        }
    }

    /// An attempt has ended. `limit` is the destination's own limit, `seed` brings chance into the time of the next probe.
    pub fn ended(&mut self, failed: bool, limit: usize, seed: u64, now_ms: u64) -> Option<Turned> {
        match (self.phase, failed) {
            (Phase::Closed, _) => {
                self.remember(failed, now_ms);
                if failed && self.is_down() { self.open(seed, now_ms, true) } else { None }
            }
            // What was out when it opened says nothing new, unless it arrived.
            (Phase::Open(_), true) => None,
            (Phase::Open(_) | Phase::Probing(_), false) => {
                self.phase = Phase::Ramp(2, 0);
                self.widen(limit)
            }
            (Phase::Probing(_), true) => {
                self.failed_probes = self.failed_probes.saturating_add(1);
                self.open(seed, now_ms, false)
            }
            (Phase::Ramp(..), true) => {
                self.remember(true, now_ms);
                self.open(seed, now_ms, false)
            }
            (Phase::Ramp(width, arrived), false) => {
                self.phase = Phase::Ramp(width, arrived.saturating_add(1));
                self.widen(limit)
            }
        }
    }

    /// Closes it, because a person says so.
    pub fn reset(&mut self) {
        self.phase = Phase::Closed;
        self.ended.clear();
        self.failed_probes = 0;
    }

    fn widen(&mut self, limit: usize) -> Option<Turned> {
        let Phase::Ramp(width, arrived) = self.phase else { return None };
        if usize::from(width) > limit {
            self.reset();
            return Some(Turned::Closed);
        }
        if arrived >= width {
            self.phase = Phase::Ramp(width.saturating_mul(2), 0);
            return self.widen(limit);
        }
        None
    }

    fn open(&mut self, seed: u64, now_ms: u64, is_news: bool) -> Option<Turned> {
        let whole_ms = self.rule.probe_ms.max(1).saturating_mul(1 << self.failed_probes.min(DOUBLINGS_MAX));
        // The first probe comes when it was promised; later ones up to a quarter earlier, so that many nodes do not knock together.
        let less_ms = if self.failed_probes == 0 { 0 } else { scatter(seed) % (whole_ms / 4).max(1) };
        self.phase = Phase::Open(now_ms.saturating_add(whole_ms - less_ms));
        self.ended.clear();
        is_news.then_some(Turned::Opened)
    }

    fn remember(&mut self, failed: bool, now_ms: u64) {
        while self.ended.front().is_some_and(|(at_ms, _)| at_ms.saturating_add(self.rule.window_ms) < now_ms) {
            self.ended.pop_front();
        }
        let look_back = LOOK_BACK.max(usize::from(self.rule.failures));
        if self.ended.len() >= look_back {
            self.ended.pop_front();
        }
        self.ended.push_back((now_ms, failed));
    }

    fn is_down(&self) -> bool {
        let in_a_row = self.ended.iter().rev().take_while(|(_, failed)| *failed).count();
        let failed = self.ended.iter().filter(|(_, failed)| *failed).count();
        in_a_row >= usize::from(self.rule.failures.max(1)) && failed * 10 >= self.ended.len() * FAILED_OF_TEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule = BreakerRule { failures: 5, window_ms: 30_000, probe_ms: 15_000 };

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(RULE);
        for turn in 1..=5 {
            let turned = breaker.ended(true, 4, 0, turn * 10);
            assert_eq!(turned, (turn == 5).then_some(Turned::Opened));
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_probes_with_one() {
        let mut breaker = opened();
        assert_eq!(breaker.phase(), Phase::Open(15_050));
        assert_eq!((breaker.permits(4, 15_049), breaker.permits(4, 15_050)), (0, 1));
        breaker.went(15_050);
        assert_eq!((breaker.phase(), breaker.permits(4, 15_051)), (Phase::Probing(true), 1));
        assert_eq!(breaker.ended(true, 4, 7, 16_000), None);
        let Phase::Open(until_ms) = breaker.phase() else { panic!("{:?}", breaker.phase()) };
        assert!((16_000 + 22_500..=16_000 + 30_000).contains(&until_ms), "{until_ms}");
    }

    #[test]
    fn it_ramps_up_and_closes() {
        let mut breaker = opened();
        breaker.went(20_000);
        let mut widths = Vec::new();
        let mut turned = None;
        while turned.is_none() {
            turned = breaker.ended(false, 8, 0, 20_001);
            widths.push(breaker.permits(8, 20_001));
        }
        assert_eq!(turned, Some(Turned::Closed));
        assert_eq!(widths, [2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8]);
        assert_eq!(breaker.phase(), Phase::Closed);
    }

    #[test]
    fn a_failure_on_the_ramp_opens_it_again() {
        let mut breaker = opened();
        breaker.went(20_000);
        assert_eq!(breaker.ended(false, 8, 0, 20_001), None);
        assert_eq!(breaker.ended(true, 8, 0, 20_002), None);
        assert_eq!(breaker.phase(), Phase::Open(35_002));
    }

    #[test]
    fn a_canary_that_nobody_sent_is_sent_again() {
        let mut breaker = opened();
        breaker.went(20_000);
        breaker.came_back();
        assert_eq!((breaker.phase(), breaker.permits(4, 20_000)), (Phase::Probing(false), 1));
    }

    #[test]
    fn half_of_the_answers_failing_leave_it_closed() {
        let mut opens = 0;
        for seed in 0..50u64 {
            let mut breaker = Breaker::new(RULE);
            // A first success: it is a destination that works, now and then.
            breaker.ended(false, 4, 0, 0);
            for turn in 0..400 {
                let failed = scatter(seed << 32 | turn).is_multiple_of(2);
                opens += u32::from(breaker.ended(failed, 4, turn, turn * 5) == Some(Turned::Opened));
                if breaker.phase() != Phase::Closed {
                    breaker.reset();
                }
            }
        }
        assert!(opens <= 60, "opened {opens} times in 20,000 outcomes");
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut breaker = Breaker::new(RULE);
        for turn in 0..20 {
            assert_eq!(breaker.ended(true, 4, 0, turn * 31_000), None, "turn {turn}");
        }
    }
}
