//! `sink`: a destination to test against, which can misbehave, and reports duplicates and gaps.
//!
//! It answers every request that came whole with 200, after `--latency`; a part of them, chosen by `--fail`, with `--status`, and a part, chosen by
//! `--reset`, with a reset of the connection. What it answered with a yes counts as taken.
//!
//! # What it does not know
//!
//! goniec: it sees requests, as any destination does.

mod ledger;
mod peer;

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use clap::ArgMatches;

use crate::model::span::parse_span_ms;

pub use ledger::Figures;
pub use peer::{CERTAIN, Manner, Sink};

use super::{Fail, NO, USAGE, say, text};

/// How often it reports, where anything has changed.
const REPORT: Duration = Duration::from_secs(1);

/// Serves until it is stopped or has what it expects; prints its figures whenever they change, and at the end.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let usage = |what: String| Fail::new(USAGE, what);
    let manner = manner(arguments)?;
    let seed = manner.seed;
    let expected = arguments.get_one::<u64>("expect").copied();
    let ledger = match text(arguments, "ledger") {
        None => None,
        Some(path) => {
            let file = File::create(path).map_err(|error| usage(format!("cannot write {path}: {error}")))?;
            Some(Box::new(file) as Box<dyn Write + Send>)
        }
    };
    let listen = text(arguments, "listen").unwrap_or("127.0.0.1:9000");
    let sink = Sink::start(listen, manner, ledger).map_err(|error| {
        usage(format!("cannot listen on {listen}: {error}")).hint("Choose another address with --listen.")
    })?;
    ctrlc::set_handler(sink.stopper()).map_err(|error| usage(format!("cannot listen to signals: {error}")))?;
    say(&format!("sink listens on http://{}, seed {seed}", sink.addr()))?;
    let enough = |figures: &Figures| expected.is_some_and(|expected| figures.distinct >= expected);
    let mut last = Figures::default();
    let came = loop {
        let came = sink.wait(REPORT, enough);
        let figures = sink.figures();
        if figures != last {
            say(&spoken(&figures))?;
            last = figures;
        }
        if came || sink.is_stopped() {
            break came;
        }
    };
    match expected {
        None => Ok(()),
        Some(expected) if !came => Err(Fail::new(NO, format!("{} of {expected} messages came", last.distinct))),
        Some(_) if last.gaps > 0 || last.duplicates > 0 => {
            Err(Fail::new(NO, format!("{} gaps, {} duplicates", last.gaps, last.duplicates)))
        }
        Some(_) => Ok(()),
    }
}

fn manner(arguments: &ArgMatches) -> Result<Manner, Fail> {
    let usage = |what: String| Fail::new(USAGE, what);
    let part = |name: &str| match text(arguments, name).map(|given| (given, rate(given))) {
        None => Ok(0),
        Some((_, Some(rate))) => Ok(rate),
        Some((given, None)) => Err(usage(format!("--{name} {given:?} is no rate")).hint("Write it as 20%, or as 0.2.")),
    };
    let latency_ms = match text(arguments, "latency").map(parse_span_ms) {
        None => 0,
        Some(Ok(latency_ms)) => latency_ms,
        Some(Err(wrong)) => return Err(usage(format!("--latency: {wrong}"))),
    };
    let manner = Manner {
        latency: Duration::from_millis(latency_ms),
        fail: part("fail")?,
        reset: part("reset")?,
        status: arguments.get_one::<u16>("status").copied().unwrap_or(Manner::default().status),
        seed: arguments.get_one::<u64>("seed").copied().unwrap_or(Manner::default().seed),
    };
    if manner.fail + manner.reset > CERTAIN {
        return Err(usage("--fail and --reset are more than all requests together".into()));
    }
    Ok(manner)
}

/// `20%`, `12.5%`, `0.2`, as so many of [`CERTAIN`].
fn rate(text: &str) -> Option<u32> {
    let (number, digits) = match text.strip_suffix('%') {
        Some(number) => (number, 2),
        None => (text, 4),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let plain = |part: &str| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > digits {
        return None;
    }
    let rate: u32 = format!("{whole}{fraction:0<digits$}").parse().ok()?;
    Some(rate).filter(|rate| *rate <= CERTAIN)
}

fn spoken(figures: &Figures) -> String {
    let Figures { requests, taken, distinct, duplicates, gaps, failed, reset } = *figures;
    format!(
        "{{\"requests\":{requests},\"taken\":{taken},\"distinct\":{distinct},\"duplicates\":{duplicates},\"gaps\":{gaps},\
         \"failed\":{failed},\"reset\":{reset}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_both_spellings() {
        for (text, expect) in [
            ("20%", Some(2_000)),
            ("12.5%", Some(1_250)),
            ("0.2", Some(2_000)),
            ("1", Some(10_000)),
            ("0", Some(0)),
            ("100%", Some(10_000)),
            ("101%", None),
            ("20", None),
            ("-1%", None),
            ("%", None),
            ("a", None),
            ("0.00001", None),
        ] {
            assert_eq!(rate(text), expect, "{text}");
        }
    }
}
