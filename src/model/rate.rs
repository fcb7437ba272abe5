//! How much may go in how much time: `100/1m`, never more in any minute, whatever came before it.
//!
//! Two bounds hold at once. Over the long run sends are spaced evenly (a bucket that fills at the rate and holds the burst);
//! and in no window of the period does more go than the limit (a log of the last sends), so that a burst is paid for with
//! the time after it. A counterpart that counts strictly and blocks whoever counts differently never has cause to.
//!
//! # What holds
//!
//! * Any half-open window of the period, and of a fiftieth more, contains at most the limit: what is let through here begins a little later, one send
//!   sooner after that than another, and the counterpart counts what begins.
//! * The bucket begins with one send, not with a burst: what went before a restart is not known.
//! * A clock that stands still gives nothing.
//!
//! # What it does not know
//!
//! Any clock: milliseconds of a monotonic one are handed in.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::span::{parse_span_ms, show_span};

/// The most sends that a rate may name: the log of the last ones costs 8 bytes each.
pub const RATE_COUNT_MAX: u32 = 100_000;
/// The longest period of a rate: a day.
pub const RATE_MS_MAX: u64 = 86_400_000;
/// A burst that nobody chose lasts so long: what a scheduler that wakes this often needs to keep the rate.
const BURST_MS: u64 = 50;

/// A limit over time. Kept and shown as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// So many.
    pub count: u32,
    /// In so many milliseconds.
    pub per_ms: u64,
    /// At most so many at once. At least 1, at most `count`.
    pub burst: u32,
}

/// A rate, and what has gone under it.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// In shares: a send costs `per_ms` of them, and each millisecond brings `count`.
    shares: u128,
    filled_at_ms: u64,
    /// When the last sends went, the oldest first, at most `count`.
    went_ms: VecDeque<u64>,
}

impl Rate {
    /// A rate with the burst that fits it.
    #[must_use]
    pub fn new(count: u32, per_ms: u64) -> Rate {
        let (count, per_ms) = (count.clamp(1, RATE_COUNT_MAX), per_ms.clamp(1, RATE_MS_MAX));
        let burst = u64::from(count) * BURST_MS / per_ms;
        Rate { count, per_ms, burst: u32::try_from(burst).unwrap_or(count).clamp(1, count) }
    }

    /// The same rate with so many at once.
    #[must_use]
    pub fn with_burst(self, burst: u32) -> Rate {
        Rate { burst: burst.clamp(1, self.count), ..self }
    }
}

impl Bucket {
    /// A bucket under this rate, with one send in it.
    #[must_use]
    pub fn new(rate: Rate, now_ms: u64) -> Bucket {
        Bucket { rate, shares: u128::from(rate.per_ms), filled_at_ms: now_ms, went_ms: VecDeque::new() }
    }

    /// How many may go at once now.
    #[must_use]
    pub fn room(&mut self, now_ms: u64) -> u32 {
        self.fill(now_ms);
        let by_bucket = u32::try_from(self.shares / u128::from(self.rate.per_ms)).unwrap_or(u32::MAX);
        let gone = u32::try_from(self.went_ms.len()).unwrap_or(u32::MAX);
        by_bucket.min(self.rate.count.saturating_sub(gone))
    }

    /// Counts a send. Where there was no room, it is counted against what comes.
    pub fn take(&mut self, now_ms: u64) {
        self.fill(now_ms);
        self.shares = self.shares.saturating_sub(u128::from(self.rate.per_ms));
        self.went_ms.push_back(now_ms.max(self.filled_at_ms));
    }

    /// Takes back a send that did not happen after all.
    pub fn give_back(&mut self) {
        if self.went_ms.pop_back().is_some() {
            self.shares = (self.shares + u128::from(self.rate.per_ms)).min(self.full());
        }
    }

    /// The first millisecond at which one may go; `now_ms` where one may go now.
    #[must_use]
    pub fn next_ms(&mut self, now_ms: u64) -> u64 {
        if self.room(now_ms) > 0 {
            return now_ms;
        }
        let now_ms = now_ms.max(self.filled_at_ms);
        let missing = u128::from(self.rate.per_ms).saturating_sub(self.shares);
        let by_bucket = u64::try_from(missing.div_ceil(u128::from(self.rate.count))).unwrap_or(u64::MAX);
        let by_log = match (self.went_ms.front(), u32::try_from(self.went_ms.len())) {
            (Some(oldest), Ok(gone)) if gone < self.rate.count => *oldest.min(&now_ms),
            (Some(oldest), _) => oldest.saturating_add(self.window_ms()),
            (None, _) => now_ms,
        };
        now_ms.saturating_add(by_bucket).max(by_log)
    }

    fn fill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.filled_at_ms);
        if passed_ms > 0 {
            self.shares = (self.shares + u128::from(passed_ms) * u128::from(self.rate.count)).min(self.full());
            self.filled_at_ms = now_ms;
        }
        while self.went_ms.front().is_some_and(|went| went.saturating_add(self.window_ms()) <= self.filled_at_ms) {
            self.went_ms.pop_front();
        }
    }

    /// How long a send is counted.
    fn window_ms(&self) -> u64 {
        self.rate.per_ms + self.rate.per_ms / 50
    }

    fn full(&self) -> u128 {
        u128::from(self.rate.burst) * u128::from(self.rate.per_ms)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("{text:?} is no rate; write 100/1m, 5/s or 9000/1m");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        let per_ms = match per.starts_with(|letter: char| letter.is_ascii_digit()) {
            true => parse_span_ms(per),
            false => parse_span_ms(&format!("1{per}")),
        }
        .map_err(|wrong| wrong.to_string())?;
        if !(1..=RATE_COUNT_MAX).contains(&count) {
            return Err(format!("a rate counts from 1 to {RATE_COUNT_MAX}, not {count}"));
        }
        if !(1..=RATE_MS_MAX).contains(&per_ms) {
            return Err(format!("the period of a rate is at most {}, and not nothing", show_span(RATE_MS_MAX)));
        }
        Ok(Rate::new(count, per_ms))
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, show_span(self.per_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!("100/1m".parse(), Ok(Rate { count: 100, per_ms: 60_000, burst: 1 }));
        assert_eq!("5/s".parse(), Ok(Rate { count: 5, per_ms: 1_000, burst: 1 }));
        assert_eq!(Rate::new(100, 60_000).to_string(), "100/1m");
        assert_eq!("5000/1s".parse(), Ok(Rate { count: 5_000, per_ms: 1_000, burst: 250 }));
        for text in ["100", "0/1m", "-1/1m", "100/0s", "100/60", "100/fortnight", "1000000/1s", "5/400d", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_was_saved_up_goes_at_once_and_is_paid_for() {
        let mut bucket = Bucket::new(Rate::new(10, 1_000).with_burst(5), 0);
        assert_eq!((bucket.room(0), bucket.room(5_000)), (1, 5));
        (0..5).for_each(|_| bucket.take(5_000));
        assert_eq!((bucket.room(5_000), bucket.next_ms(5_000)), (0, 5_100));
        bucket.give_back();
        assert_eq!(bucket.room(5_000), 1);
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_the_limit_and_the_rate_is_kept(
            count in 1u32..50, per_ms in 1u64..5_000, burst in 1u32..50, steps in prop::collection::vec(0u64..700, 1..300)
        ) {
            let mut bucket = Bucket::new(Rate::new(count, per_ms).with_burst(burst), 0);
            let (mut now_ms, mut went) = (0, Vec::new());
            for step in steps {
                now_ms += step;
                while bucket.room(now_ms) > 0 {
                    bucket.take(now_ms);
                    went.push(now_ms);
                }
                let next_ms = bucket.next_ms(now_ms);
                prop_assert!(next_ms > now_ms);
                // Nothing may go before the time that was named, and something may at it.
                prop_assert_eq!(bucket.clone().room(next_ms - 1), 0);
                prop_assert!(bucket.clone().room(next_ms) > 0);
            }
            for (position, first) in went.iter().enumerate() {
                let within = went.iter().skip(position).take_while(|at| **at < first + per_ms + per_ms / 50).count();
                prop_assert!(within <= usize::try_from(count).unwrap());
            }
        }

        #[test]
        fn a_busy_lane_gets_its_whole_rate(count in 1u32..2_000, per_ms in 10u64..60_000) {
            let mut bucket = Bucket::new(Rate::new(count, per_ms), 0);
            let (mut now_ms, mut sent) = (0, 0u64);
            while now_ms < per_ms * 10 {
                while bucket.room(now_ms) > 0 {
                    bucket.take(now_ms);
                    sent += 1;
                }
                now_ms = bucket.next_ms(now_ms);
            }
            prop_assert!(sent * 100 >= u64::from(count) * 10 * 85, "{} of {}", sent, u64::from(count) * 10);
        }
    }
}
