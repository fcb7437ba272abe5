//! `sink`: a destination to test against, which can misbehave, and reports duplicates and gaps.
//!
//! It answers every request that has a whole head and body with `--status`, after `--latency`; a part of them, chosen by `--fail`, with 500,
//! and a part, chosen by `--reset`, by closing the connection after the request was read. What it took counts once it answered with a yes.
//!
//! # What it does not know
//!
//! goniec: it sees requests, as any destination does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ArgMatches;

use crate::model::span::parse_span_ms;

use super::{Fail, USAGE, say, text};

/// The most bytes of a head and of a body.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: u64 = 64 << 20;
/// How often it reports, where anything has changed.
const REPORT: Duration = Duration::from_secs(1);

/// How it behaves.
struct Manner {
    status: u16,
    latency: Duration,
    fail_permille: u64,
    reset_permille: u64,
}

/// What came.
#[derive(Default, PartialEq, Eq, Clone, Copy)]
struct Figures {
    requests: u64,
    taken: u64,
    duplicates: u64,
    gaps: u64,
}

#[derive(Default)]
struct Ledger {
    requests: u64,
    taken: u64,
    ids: HashMap<String, u64>,
    runs: BTreeMap<String, BTreeSet<u64>>,
}

/// Serves until it is killed; prints its figures whenever they change.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let usage = |what: String| Fail::new(USAGE, what);
    let part = |name: &str| -> Result<u64, Fail> {
        let given = text(arguments, name).unwrap_or("0%");
        let percent: Option<u64> = given.trim_end_matches('%').parse().ok().filter(|percent| *percent <= 100);
        percent.map(|percent| percent * 10).ok_or_else(|| usage(format!("--{name} {given}: write it as 20%")))
    };
    let latency_ms =
        parse_span_ms(text(arguments, "latency").unwrap_or("0ms")).map_err(|wrong| usage(wrong.to_string()))?;
    let manner = Arc::new(Manner {
        status: arguments.get_one::<u16>("status").copied().unwrap_or(200),
        latency: Duration::from_millis(latency_ms),
        fail_permille: part("fail")?,
        reset_permille: part("reset")?,
    });
    let listen = text(arguments, "listen").unwrap_or("127.0.0.1:9000");
    let listener = TcpListener::bind(listen).map_err(|error| usage(format!("cannot listen on {listen}: {error}")))?;
    let addr = listener.local_addr().map_err(|error| usage(error.to_string()))?;
    say(&format!("sink listens on http://{addr}"))?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let counted = Arc::clone(&ledger);
    std::thread::spawn(move || report(&counted));
    for stream in listener.incoming().flatten() {
        let (manner, ledger) = (Arc::clone(&manner), Arc::clone(&ledger));
        // A peer that goes away is no concern of a sink.
        std::thread::spawn(move || drop(serve(stream, &manner, &ledger)));
    }
    Ok(())
}

fn report(ledger: &Mutex<Ledger>) {
    let mut last = Figures::default();
    loop {
        let now = ledger.lock().unwrap_or_else(PoisonError::into_inner).figures();
        if now != last {
            let line = format!(
                "{{\"requests\":{},\"taken\":{},\"duplicates\":{},\"gaps\":{}}}",
                now.requests, now.taken, now.duplicates, now.gaps
            );
            if say(&line).is_err() {
                return;
            }
            last = now;
        }
        // Figures are for people, who need them no oftener.
        std::thread::sleep(REPORT);
    }
}

fn serve(stream: TcpStream, manner: &Manner, ledger: &Mutex<Ledger>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut to = stream.try_clone()?;
    let mut from = BufReader::new(stream);
    let chance = RandomState::new();
    for number in 0_u64.. {
        let Some(headers) = head(&mut from)? else { return Ok(()) };
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        if length > BODY_BYTES_MAX {
            return Ok(());
        }
        std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink())?;
        // A sink is slow on purpose.
        std::thread::sleep(manner.latency);
        let draw = chance.hash_one(number) % 1_000;
        ledger.lock().unwrap_or_else(PoisonError::into_inner).requests += 1;
        if draw < manner.reset_permille {
            return Ok(());
        }
        let failed = draw < manner.reset_permille + manner.fail_permille;
        let status = if failed { 500 } else { manner.status };
        if (200..300).contains(&status) {
            ledger.lock().unwrap_or_else(PoisonError::into_inner).take(&headers);
        }
        to.write_all(format!("HTTP/1.1 {status} sink\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    }
    Ok(())
}

/// The headers of the next request, names in lower case; `None` at the end.
fn head(from: &mut impl BufRead) -> std::io::Result<Option<HashMap<String, String>>> {
    let mut headers = HashMap::new();
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        bytes += from.by_ref().take(u64::try_from(HEAD_BYTES_MAX).unwrap_or(u64::MAX)).read_line(&mut line)?;
        if line.is_empty() || bytes > HEAD_BYTES_MAX {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None if line.trim_end().is_empty() => return Ok(Some(headers)),
            None => {}
        }
    }
}

impl Ledger {
    fn take(&mut self, headers: &HashMap<String, String>) {
        self.taken += 1;
        if let Some(id) = headers.get("webhook-id") {
            *self.ids.entry(id.clone()).or_default() += 1;
        }
        let sequence = headers.get("goniec-sequence").and_then(|text| text.rsplit_once('/'));
        if let Some((run, Ok(number))) = sequence.map(|(run, number)| (run, number.parse())) {
            self.runs.entry(run.to_owned()).or_default().insert(number);
        }
    }

    fn figures(&self) -> Figures {
        let missing = |seen: &BTreeSet<u64>| {
            let distinct = u64::try_from(seen.len()).unwrap_or(u64::MAX);
            seen.last().copied().unwrap_or(0).saturating_sub(distinct)
        };
        Figures {
            requests: self.requests,
            taken: self.taken,
            duplicates: self.ids.values().map(|times| times.saturating_sub(1)).sum(),
            gaps: self.runs.values().map(missing).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_and_gaps_are_counted() {
        let mut ledger = Ledger::default();
        for (id, sequence) in [("a", "run/1"), ("b", "run/2"), ("b", "run/2"), ("d", "run/4")] {
            let headers = [("webhook-id", id), ("goniec-sequence", sequence)];
            ledger.take(&headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        }
        let figures = ledger.figures();
        assert_eq!((figures.taken, figures.duplicates, figures.gaps), (4, 1, 1));
    }
}
