//! Workers: whole lives at several concurrencies, over a transport that does nothing and over HTTP, and how many threads run for them.
//!
//! # What it does not know
//!
//! When a worker is hired.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::engine::Destination;
use crate::model::Message;
use crate::transport::http::Http;

use super::local::{DESTINATION, Local};
use super::sink::Bare;
use super::table::Row;
use super::{Fail, KIB, Plan, failed, lives, measure};

/// Messages of a round, over nothing and over HTTP.
const MESSAGES: usize = 100_000;
const MESSAGES_HTTP: usize = 30_000;
/// What is compared, and with what.
const LEAST: u16 = 8;
const WIDTHS: [u16; 3] = [64, 256, 1_024];
/// How much is left of the rate, at least.
const GOAL: f64 = 0.9;
/// How often the threads are counted.
const LOOK: Duration = Duration::from_millis(20);

/// A destination of this concurrency.
type Way<'a> = &'a dyn Fn(u16) -> Destination;

/// A row for each concurrency and transport.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let bytes = plan.size.unwrap_or(KIB);
    let sink = Bare::start()?;
    let url = format!("http://{}/", sink.address);
    let nowhere = |_: u16| Destination::new(DESTINATION, |_: &Message| ());
    let http = |width: u16| Destination::new(DESTINATION, Http::post(&url).connections(usize::from(width)));
    let mut rows = Vec::new();
    let ways: [(&str, usize, Way<'_>); 2] = [("nothing", MESSAGES, &nowhere), ("HTTP", MESSAGES_HTTP, &http)];
    for (name, usual, way) in ways {
        let messages = plan.messages.unwrap_or(usual);
        let lives = |concurrency| {
            let there = Destination { concurrency, ..way(concurrency) };
            watched(|| lives::through(&Local::start(plan, there)?, plan.producers, bytes, messages))
        };
        for width in WIDTHS {
            let what = format!("lives over {name}, {bytes} B, {width} out at once");
            let (most, most_least) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let run = |width, most: &AtomicUsize| {
                let (rate, threads) = lives(width)?;
                most.fetch_max(threads, Ordering::Relaxed);
                Ok(rate)
            };
            let rounds = measure::rounds(plan, &what, || run(LEAST, &most_least), || run(width, &most))?;
            let against = format!("{LEAST} out at once, {} threads", most_least.into_inner());
            let what = format!("{what}, {} threads", most.into_inner());
            rows.push(Row::compared("workers", what, &rounds, &against).goal(GOAL));
        }
    }
    Ok(rows)
}

/// Runs something, and counts the most threads of this process meanwhile.
fn watched(run: impl FnOnce() -> Result<f64, Fail> + Send) -> Result<(f64, usize), Fail> {
    std::thread::scope(|scope| {
        let running = scope.spawn(run);
        let mut most = 0;
        while !running.is_finished() {
            most = most.max(threads());
            // What is waited for is looked at again; the run has a limit of its own.
            std::thread::sleep(LOOK);
        }
        let rate = running.join().unwrap_or_else(|_| Err(failed("a thread panicked")))?;
        Ok((rate, most))
    })
}

/// How many threads this process has; 0 where the system does not tell.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
