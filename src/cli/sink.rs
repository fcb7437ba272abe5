//! `sink`: a destination to test against, which can misbehave, and reports duplicates and gaps.
//!
//! It answers every request that has a whole head and body with `--status`, after `--latency`; a part of them, chosen by `--fail`, with 503,
//! and a part, chosen by `--reset`, by resetting the connection after the request was read. Which ones, follows from the seed, the message's id
//! and how often it came. What it took counts once it answered with a yes.
//!
//! # What it does not know
//!
//! goniec: it sees requests, as any destination does.

mod ledger;

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ArgMatches;

use crate::model::policy::scatter;
use crate::model::span::parse_span_ms;
use crate::store::key_hash;

use super::{Fail, NO, USAGE, say, text};
use ledger::{Figures, Ledger};

/// The most bytes of a head and of a body.
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: u64 = 64 << 20;
/// How often it reports, where anything has changed.
const REPORT: Duration = Duration::from_secs(1);
/// How often it looks whether everything has come.
const LOOK: Duration = Duration::from_millis(10);

/// How it behaves.
struct Manner {
    status: u16,
    latency: Duration,
    fail_permille: u64,
    reset_permille: u64,
    seed: u64,
}

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Answer(u16),
    Reset,
}

type Book = Mutex<Ledger<Box<dyn Write + Send>>>;

/// Serves until it is killed or everything expected has come; prints its figures whenever they change.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let usage = |what: String| Fail::new(USAGE, what);
    let part = |name: &str| -> Result<u64, Fail> {
        let given = text(arguments, name).unwrap_or("0%");
        let percent: Option<u64> = given.trim_end_matches('%').parse().ok().filter(|percent| *percent <= 100);
        percent.map(|percent| percent * 10).ok_or_else(|| usage(format!("--{name} {given}: write it as 20%")))
    };
    let latency_ms =
        parse_span_ms(text(arguments, "latency").unwrap_or("0ms")).map_err(|wrong| usage(wrong.to_string()))?;
    let seed = arguments.get_one::<u64>("seed").copied().unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    let manner = Arc::new(Manner {
        status: arguments.get_one::<u16>("status").copied().unwrap_or(200),
        latency: Duration::from_millis(latency_ms),
        fail_permille: part("fail")?,
        reset_permille: part("reset")?,
        seed,
    });
    let out: Box<dyn Write + Send> = match text(arguments, "ledger") {
        Some(path) => {
            let file = File::create(path).map_err(|error| usage(format!("cannot write {path}: {error}")))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(std::io::sink()),
    };
    let listen = text(arguments, "listen").unwrap_or("127.0.0.1:9000");
    let listener = TcpListener::bind(listen).map_err(|error| usage(format!("cannot listen on {listen}: {error}")))?;
    let addr = listener.local_addr().map_err(|error| usage(error.to_string()))?;
    say(&format!("sink listens on http://{addr}, seed {seed}"))?;
    let book: Arc<Book> = Arc::new(Mutex::new(Ledger::new(out)));
    let written = Arc::clone(&book);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (manner, book) = (Arc::clone(&manner), Arc::clone(&written));
            // A peer that goes away is no concern of a sink.
            std::thread::spawn(move || drop(serve(stream, &manner, &book)));
        }
    });
    report(&book, arguments.get_one::<u64>("expect").copied())
}

fn locked(book: &Book) -> MutexGuard<'_, Ledger<Box<dyn Write + Send>>> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the figures as they change, until `expect` distinct messages were taken.
fn report(book: &Book, expect: Option<u64>) -> Result<(), Fail> {
    let mut last = Figures::default();
    let mut rested = REPORT;
    loop {
        let now = locked(book).figures();
        let is_all = expect.is_some_and(|expect| now.distinct >= expect);
        if now != last && (rested >= REPORT || is_all) {
            let flushed = locked(book).flush();
            flushed.map_err(|error| Fail::new(NO, format!("the ledger cannot be written: {error}")))?;
            say(&now.to_string())?;
            (last, rested) = (now, Duration::ZERO);
        }
        if is_all {
            return match (now.duplicates, now.gaps) {
                (0, 0) => Ok(()),
                (twice, gaps) => Err(Fail::new(NO, format!("{twice} came more than once, {gaps} are missing"))),
            };
        }
        // The pace of a report that people read.
        std::thread::sleep(LOOK);
        rested += LOOK;
    }
}

fn serve(stream: TcpStream, manner: &Manner, book: &Book) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut to = stream.try_clone()?;
    let mut from = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let Some(headers) = head(&mut from)? else { return Ok(()) };
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        if length > BODY_BYTES_MAX {
            return Ok(());
        }
        body.clear();
        if u64::try_from(from.by_ref().take(length).read_to_end(&mut body)?) != Ok(length) {
            return Ok(());
        }
        if !manner.latency.is_zero() {
            // A sink is slow on purpose.
            std::thread::sleep(manner.latency);
        }
        let id = headers.get("webhook-id").map_or("", String::as_str);
        let times = locked(book).came(id);
        match manner.deed(id, times) {
            Deed::Reset => {
                socket2::SockRef::from(&to).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Deed::Answer(status) => {
                if (200..300).contains(&status) {
                    locked(book).take(id, &headers, &body);
                }
                to.write_all(format!("HTTP/1.1 {status} sink\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
            }
        }
    }
}

impl Manner {
    /// What happens to the message of this id when it comes for the so manieth time.
    fn deed(&self, id: &str, times: u64) -> Deed {
        let draw = scatter(self.seed ^ scatter(key_hash(id) ^ times)) % 1_000;
        if draw < self.reset_permille {
            Deed::Reset
        } else if draw < self.reset_permille + self.fail_permille {
            Deed::Answer(503)
        } else {
            Deed::Answer(self.status)
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_does_the_same_to_the_same_messages() {
        let manner =
            |seed| Manner { status: 200, latency: Duration::ZERO, fail_permille: 200, reset_permille: 50, seed };
        let deeds = |seed| -> Vec<Deed> { (0..10_000).map(|n| manner(seed).deed(&format!("id-{n}"), 1)).collect() };
        assert_eq!(deeds(7), deeds(7));
        assert_ne!(deeds(7), deeds(8));
        let count = |deed| deeds(7).iter().filter(|other| **other == deed).count();
        let (failed, reset) = (count(Deed::Answer(503)), count(Deed::Reset));
        assert!((1_800..2_200).contains(&failed) && (400..600).contains(&reset), "{failed} and {reset} of 10,000");
        let again: Vec<Deed> = (1..100).map(|times| manner(7).deed("id-1", times)).collect();
        assert!(again.contains(&Deed::Answer(200)), "no message fails for ever");
    }
}
