//! Rounds, threads, rates, medians.
//!
//! # What it does not know
//!
//! What is measured.

use std::time::{Duration, Instant};

use super::{Fail, Plan, failed, progress};

/// No measurement goes on for longer, whatever its count.
pub(super) const TIME_MAX: Duration = Duration::from_secs(10);

/// What one round found: so many a second, or another figure, of goniec and of what it is compared with.
#[derive(Clone, Copy)]
pub(super) struct Round {
    /// goniec.
    pub(super) own: f64,
    /// The bare limit.
    pub(super) bare: f64,
}

/// Measures in turns as often as the plan says: the bare limit, then goniec, the other way round in every second round.
pub(super) fn rounds(
    plan: &Plan,
    what: &str,
    mut bare: impl FnMut() -> Result<f64, Fail>,
    mut own: impl FnMut() -> Result<f64, Fail>,
) -> Result<Vec<Round>, Fail> {
    let mut all = Vec::new();
    for number in 1..=plan.rounds {
        let round = if number % 2 == 0 {
            let own = own()?;
            Round { own, bare: bare()? }
        } else {
            let bare = bare()?;
            Round { own: own()?, bare }
        };
        progress(&format!(
            "{what}: round {number} of {}: {:.0} against {:.0} a second, {:.2}",
            plan.rounds,
            round.own,
            round.bare,
            round.own / round.bare
        ));
        all.push(round);
    }
    Ok(all)
}

/// Does the same on so many threads, and gives what each answers.
pub(super) fn on_threads<T: Send>(
    threads: usize,
    work: impl Fn(usize) -> Result<T, Fail> + Sync,
) -> Result<Vec<T>, Fail> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(failed("a thread panicked")))).collect()
    })
}

/// Calls `once` on so many threads, `count` times in all, or until the time is up; answers how often it was called a second.
pub(super) fn calls(threads: usize, count: usize, once: impl Fn() -> Result<usize, Fail> + Sync) -> Result<f64, Fail> {
    let began = Instant::now();
    let share = count.div_ceil(threads.max(1));
    let done = on_threads(threads, |_| {
        let mut done = 0;
        while done < share && began.elapsed() < TIME_MAX {
            done += once()?;
        }
        Ok(done)
    })?;
    Ok(per_second(done.into_iter().sum(), began.elapsed()))
}

/// So many in this time, a second.
pub(super) fn per_second(count: usize, took: Duration) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX)) / took.as_secs_f64().max(1e-9)
}

/// A count as a number with a fraction; counts here are far below the four thousand million that this holds.
pub(super) fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The middle one, or the mean of the two in the middle; not a number where there is none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
    }

    #[test]
    fn every_call_is_counted() {
        let called = std::sync::atomic::AtomicUsize::new(0);
        let rate = calls(3, 10, || {
            called.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(1)
        });
        assert!(rate.expect("a rate") > 0.0);
        assert_eq!(called.into_inner(), 12, "each of three threads takes the same share, rounded up");
    }
}
