//! How long what stands in a line will take to drain, and whether that is too long.
//!
//! # What holds
//!
//! * Nothing is said of fewer than ten that drained: a rate of two or three messages is chance.
//! * Only what drained under a load like that of now counts. A line that half as many stood in says how fast they came, not how fast they can go.
//! * What the newest has stood already counts: a line to which nothing comes any more gets no better by growing shorter.
//! * A breach is expected after three looks in a row at more than the limit, and no longer at less than three quarters of it: it does not flap.
//! * What is not known changes nothing. An empty line is in time.
//! * A handful of samples is kept, however often it is looked.
//!
//! # What it does not know
//!
//! What a line is, when it is shut, and whom the forecast is told.

use std::collections::VecDeque;
use std::fmt;

use super::span::show_span;

/// So many must have drained before there is a rate.
const DRAINED_MIN: u64 = 10;
/// The rate is that of the last half of the limit, of so long at most,
const WINDOW_MS_MAX: u64 = 300_000;
/// and of so long at least: less is not looked at often enough.
const WINDOW_MS_MIN: u64 = 10_000;
/// How often it is looked in that time.
const LOOKS: u64 = 10;
/// So many looks in a row at more than the limit make a breach.
const LOOKS_ABOVE: u8 = 3;

/// A line at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, on a monotonic clock.
    pub at_ms: u64,
    /// How many have drained until then, ever.
    pub drained: u64,
    /// How many stand in it.
    pub waiting: u64,
    /// For how long the newest of them has.
    pub newest_ms: u64,
}

/// How a line drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    drained: u64,
    in_ms: u64,
    waiting: u64,
    newest_ms: u64,
}

/// What is expected of a line in which nobody should stand longer than a limit.
#[derive(Debug, Clone)]
pub struct Forecast {
    limit_ms: u64,
    window_ms: u64,
    /// The oldest first; at most as many as there are looks in the window, and one.
    samples: VecDeque<Sample>,
    drain: Option<Drain>,
    looks_above: u8,
    is_breach: bool,
}

impl Forecast {
    /// Of a line of which nothing is known.
    #[must_use]
    pub fn new(limit_ms: u64) -> Forecast {
        let window_ms = (limit_ms / 2).clamp(WINDOW_MS_MIN, WINDOW_MS_MAX);
        let samples = VecDeque::new();
        Forecast { limit_ms, window_ms, samples, drain: None, looks_above: 0, is_breach: false }
    }

    /// From when on the next look tells something, on the clock of the samples; `None` where it may begin at any time.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.samples.back().map(|newest| newest.at_ms.saturating_add(self.window_ms / LOOKS))
    }

    /// Looks at the line, where that is due.
    pub fn look(&mut self, now: Sample) {
        if self.due_ms().is_some_and(|due_ms| now.at_ms < due_ms) {
            return;
        }
        if now.waiting == 0 {
            self.shut();
            self.is_breach = false;
            return;
        }
        let is_of_now = |sample: &Sample| {
            now.at_ms.saturating_sub(sample.at_ms) <= self.window_ms && sample.waiting >= now.waiting.div_ceil(2)
        };
        let stale = self.samples.iter().rposition(|sample| !is_of_now(sample)).map_or(0, |position| position + 1);
        self.samples.drain(..stale);
        self.drain = self.samples.front().and_then(|oldest| Drain::between(*oldest, now));
        self.samples.push_back(now);
        let takes_ms = self.drain.map(|drain| drain.takes_ms().saturating_add(now.newest_ms));
        let is_above = takes_ms.is_some_and(|takes_ms| takes_ms > self.limit_ms);
        self.looks_above = if is_above { self.looks_above.saturating_add(1) } else { 0 };
        let is_below = takes_ms.is_some_and(|takes_ms| takes_ms < self.limit_ms - self.limit_ms / 4);
        self.is_breach = self.looks_above >= LOOKS_ABOVE || (self.is_breach && !is_below);
    }

    /// The line is shut, and does not drain for that: what was seen says nothing of what comes after. What was expected still is.
    pub fn shut(&mut self) {
        self.samples.clear();
        (self.drain, self.looks_above) = (None, 0);
    }

    /// What was expected has come: only further looks can tell what comes then.
    pub fn has_come(&mut self) {
        (self.looks_above, self.is_breach) = (0, false);
    }

    /// How it drains, as of the last look; `None` where that is not known.
    #[must_use]
    pub fn drain(&self) -> Option<Drain> {
        self.drain
    }

    /// Whether the newest that stands in the line is expected to stand there longer than the limit.
    #[must_use]
    pub fn is_breach(&self) -> bool {
        self.is_breach
    }
}

impl Drain {
    fn between(before: Sample, now: Sample) -> Option<Drain> {
        let drained = now.drained.saturating_sub(before.drained);
        let in_ms = now.at_ms.saturating_sub(before.at_ms);
        let Sample { waiting, newest_ms, .. } = now;
        (drained >= DRAINED_MIN && in_ms > 0).then_some(Drain { drained, in_ms, waiting, newest_ms })
    }

    /// How long it takes until all have drained that stand in the line, at this rate.
    #[must_use]
    pub fn takes_ms(self) -> u64 {
        scaled(self.waiting, self.in_ms, self.drained)
    }
}

impl fmt::Display for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |per_ms: u64| scaled(self.drained, per_ms.saturating_mul(10), self.in_ms);
        let rates = [("second", 1_000), ("minute", 60_000), ("hour", 3_600_000)].map(|(unit, ms)| (unit, tenths(ms)));
        // The shortest time in which a whole one drains.
        let [.., hourly] = rates;
        let (unit, tenths) = rates.into_iter().find(|(_, tenths)| *tenths >= 10).unwrap_or(hourly);
        let (waiting, takes) = (self.waiting, show_span(self.takes_ms()));
        let article = if unit == "hour" { "an" } else { "a" };
        let (whole, tenth) = (tenths / 10, tenths % 10);
        write!(f, "at {whole}.{tenth} messages {article} {unit} the {waiting} that wait take {takes}")?;
        if self.newest_ms < 1_000 { Ok(()) } else { write!(f, ", the newest came {} ago", show_span(self.newest_ms)) }
    }
}

/// `count * by / of`, or as much as a number holds.
fn scaled(count: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(count) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A look is due each 30 seconds, and ten that drain in that time are 200 within the limit.
    const LIMIT_MS: u64 = 600_000;
    const STEP_MS: u64 = 30_000;

    /// A line that is looked at whenever that is due.
    struct Watch {
        forecast: Forecast,
        now: Sample,
    }

    impl Watch {
        fn new(waiting: u64) -> Watch {
            let now = Sample { at_ms: 7, drained: 90, waiting, newest_ms: 0 };
            let mut forecast = Forecast::new(LIMIT_MS);
            forecast.look(now);
            Watch { forecast, now }
        }

        /// So many drain until the next look, and so many wait then.
        fn step(&mut self, drained: u64, waiting: u64) -> bool {
            let Sample { at_ms, drained: before, newest_ms, .. } = self.now;
            self.now = Sample { at_ms: at_ms + STEP_MS, drained: before + drained, waiting, newest_ms };
            assert_eq!(self.forecast.due_ms().unwrap_or(self.now.at_ms), self.now.at_ms);
            self.forecast.look(self.now);
            self.forecast.is_breach()
        }

        fn steps<const N: usize>(&mut self, drained: u64, waiting: [u64; N]) -> [bool; N] {
            waiting.map(|waiting| self.step(drained, waiting))
        }

        fn takes_ms(&self) -> Option<u64> {
            self.forecast.drain().map(Drain::takes_ms)
        }
    }

    #[test]
    fn a_breach_is_expected_after_three_looks_in_a_row_and_until_there_is_room_again() {
        let mut watch = Watch::new(205);
        assert_eq!(watch.steps(10, [205, 205, 200, 205, 205, 205]), [false, false, false, false, false, true]);
        assert_eq!(watch.takes_ms(), Some(615_000));
        let words = "at 20.0 messages a minute the 205 that wait take 10m 15s";
        assert_eq!(watch.forecast.drain().expect("it drains").to_string(), words);
        assert_eq!(watch.steps(10, [195, 205, 150, 149, 205, 205]), [true, true, true, false, false, false]);
    }

    #[test]
    fn a_few_that_drain_tell_nothing_and_what_is_not_known_changes_nothing() {
        let mut watch = Watch::new(900);
        assert_eq!(watch.steps(0, [900; 30]), [false; 30]);
        assert!(!watch.step(9, 900));
        assert_eq!(watch.takes_ms(), None);
        assert_eq!(watch.steps(1, [900; 3]), [false, false, true]);
        // It stops: that it comes in time is not known, and so not said.
        assert_eq!(watch.steps(0, [900; 30]), [true; 30]);
        assert_eq!(watch.takes_ms(), None);
        assert!(!watch.step(0, 0), "nobody waits");
    }

    /// Before a burst a line drains as fast as something comes, which says nothing of how fast it could.
    #[test]
    fn a_burst_is_not_measured_by_the_trickle_before_it() {
        let mut watch = Watch::new(3);
        watch.steps(10, [3; 20]);
        assert_eq!(watch.takes_ms(), Some(9_000));
        assert!(!watch.step(10, 1_000));
        assert_eq!(watch.takes_ms(), None, "none has drained under that load");
        assert_eq!(watch.steps(100, [900, 800, 700, 600]), [false; 4]);
        assert_eq!(watch.takes_ms(), Some(180_000));
    }

    #[test]
    fn a_line_to_which_nothing_comes_gets_no_better_by_growing_shorter() {
        let mut watch = Watch::new(250);
        for left in (50..250).rev().step_by(10) {
            let is_breach = watch.step(10, left);
            watch.now.newest_ms += STEP_MS;
            assert_eq!(is_breach, left < 230, "{left} wait");
        }
        let words = "at 20.0 messages a minute the 59 that wait take 2m 57s, the newest came 9m 30s ago";
        assert_eq!(watch.forecast.drain().expect("it drains").to_string(), words);
        watch.now.newest_ms = 0;
        assert!(!watch.step(10, 59), "with a newer one that stands there as long as it takes");
    }

    #[test]
    fn what_was_seen_before_it_was_shut_counts_no_more_and_what_was_expected_still_is() {
        let mut watch = Watch::new(100);
        watch.steps(10, [100; 3]);
        watch.forecast.shut();
        assert_eq!((watch.forecast.due_ms(), watch.takes_ms()), (None, None));
        watch.now.at_ms += 3 * STEP_MS;
        // With the time while it was shut these would take more than the limit.
        assert_eq!(watch.steps(10, [150; 4]), [false; 4]);
        assert_eq!(watch.takes_ms(), Some(450_000));
        watch.steps(10, [250; 3]);
        watch.forecast.shut();
        assert!(watch.forecast.is_breach());
        watch.forecast.has_come();
        assert_eq!(watch.steps(10, [250; 5]), [false, false, false, true, true], "three looks that tell something");
    }

    #[test]
    fn rates_are_shown_in_the_unit_in_which_one_drains() {
        let shown = |drained, in_ms, waiting| Drain { drained, in_ms, waiting, newest_ms: 0 }.to_string();
        assert_eq!(shown(32, 10_000, 4_100), "at 3.2 messages a second the 4100 that wait take 21m 21s");
        assert_eq!(shown(10, 300_000, 60), "at 2.0 messages a minute the 60 that wait take 30m");
        assert_eq!(shown(10, 72_000_000, 1), "at 0.5 messages an hour the 1 that wait take 2h");
    }

    proptest! {
        #[test]
        fn any_samples_are_taken_and_a_handful_is_kept(
            limit_ms in any::<u64>(), samples in prop::collection::vec(any::<[u64; 4]>(), 0..60)
        ) {
            let mut forecast = Forecast::new(limit_ms);
            for [at_ms, drained, waiting, newest_ms] in samples {
                forecast.look(Sample { at_ms, drained, waiting, newest_ms });
                prop_assert!(forecast.drain().is_none_or(|drain| !drain.to_string().is_empty()));
                prop_assert!(forecast.samples.len() <= 11);
            }
        }

        /// What drains evenly takes what it takes, wherever the window lies.
        #[test]
        fn an_even_drain_is_told_as_it_is(per_look in 10u64..5_000, waiting in 1u64..1_000_000, looks in 1usize..40) {
            let mut watch = Watch::new(waiting);
            let is_breach = (0..looks).map(|_| watch.step(per_look, waiting)).last();
            prop_assert!(watch.forecast.samples.len() <= 11);
            let takes_ms = waiting * STEP_MS / per_look;
            prop_assert_eq!(watch.takes_ms(), Some(takes_ms));
            prop_assert_eq!(is_breach, Some(looks >= 3 && takes_ms > LIMIT_MS));
        }
    }
}
