//! The listening side of a sink: takes requests, and misbehaves as often as it was told.
//!
//! Which request is failed or reset follows from the seed, the message's id and how often it came: the same seed does the same to the same messages.
//!
//! # What holds
//!
//! * A reset is a real one: the peer gets RST in place of an answer, after its request was read whole.
//! * What was taken is in the ledger before the answer leaves.
//!
//! # What it does not know
//!
//! goniec: it sees requests, as any destination does.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::policy::scatter;
use crate::store::key_hash;

use super::ledger::{Came, Figures, Ledger};

/// The most bytes of a head and of a body.
const HEAD_BYTES_MAX: u64 = 64 << 10;
const BODY_BYTES_MAX: u64 = 64 << 20;
/// A chance is so many of this many.
pub const CERTAIN: u32 = 10_000;

/// How a sink behaves.
#[derive(Debug, Clone)]
pub struct Manner {
    /// How long each answer takes.
    pub latency: Duration,
    /// How many of [`CERTAIN`] requests are failed.
    pub fail: u32,
    /// How many of [`CERTAIN`] connections are reset in place of an answer.
    pub reset: u32,
    /// The status of a failed request.
    pub status: u16,
    /// From which the failed ones are drawn.
    pub seed: u64,
}

/// A sink that runs. Dropped, it takes no more connections.
pub struct Sink {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Manner,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ledger: Ledger,
    /// Requests that came whole and are not answered yet.
    open: u64,
    stopped: bool,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { latency: Duration::ZERO, fail: 0, reset: 0, status: 503, seed: 1 }
    }
}

impl Sink {
    /// Listens, and takes what comes, in threads of its own. What it takes is also written to `ledger`, a line each.
    ///
    /// # Errors
    ///
    /// Nothing can listen there.
    pub fn start(
        listen: impl ToSocketAddrs,
        manner: Manner,
        ledger: Option<Box<dyn Write + Send>>,
    ) -> io::Result<Sink> {
        let listener = TcpListener::bind(listen)?;
        let addr = listener.local_addr()?;
        let state = Mutex::new(State { ledger: Ledger::new(ledger), open: 0, stopped: false });
        let shared = Arc::new(Shared { manner, state, changed: Condvar::new() });
        let taking = Arc::clone(&shared);
        std::thread::Builder::new().name("sink".into()).spawn(move || take_in(&listener, &taking))?;
        Ok(Sink { addr, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What came so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.state().ledger.figures()
    }

    /// Waits at most so long until `enough` is true of the figures and nothing is left unanswered, or the sink is stopped; tells whether it was.
    pub fn wait(&self, limit: Duration, enough: impl Fn(&Figures) -> bool) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            if state.open == 0 && enough(&state.ledger.figures()) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.stopped || left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Something that stops the sink when called, from any thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let (shared, addr) = (Arc::clone(&self.shared), self.addr);
        move || shared.stop(addr)
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.state().stopped
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop(self.addr);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, addr: SocketAddr) {
        if !std::mem::replace(&mut self.state().stopped, true) {
            // Wakes the thread that waits for a connection.
            drop(TcpStream::connect(addr));
        }
        self.changed.notify_all();
    }
}

fn take_in(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state().stopped {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        let serving = move || {
            if let Err(error) = serve(&stream, &shared) {
                log::debug!("a peer of the sink went away: {error}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("sink-peer".into()).spawn(serving) {
            log::warn!("the sink has no thread for a connection: {error}");
        }
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut to = stream;
    let mut from = BufReader::new(stream);
    let mut body = Vec::new();
    while let Some(headers) = head(&mut from)? {
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        if length > BODY_BYTES_MAX || headers.contains_key("transfer-encoding") {
            return to.write_all(b"HTTP/1.1 411 sink\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        body.clear();
        from.by_ref().take(length).read_to_end(&mut body)?;
        if u64::try_from(body.len()).unwrap_or(u64::MAX) < length {
            return Ok(());
        }
        let draw = {
            let mut state = shared.state();
            state.open += 1;
            let id = headers.get("webhook-id").map_or("", String::as_str);
            let times = state.ledger.came(id);
            draw(shared.manner.seed, id, times)
        };
        if !shared.manner.latency.is_zero() {
            // A sink is slow on purpose.
            std::thread::sleep(shared.manner.latency);
        }
        let answered = answer(stream, shared, draw, &headers, &body);
        shared.state().open -= 1;
        shared.changed.notify_all();
        if !answered? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers, or resets; whether the connection goes on.
fn answer(
    stream: &TcpStream,
    shared: &Shared,
    draw: u32,
    headers: &HashMap<String, String>,
    body: &[u8],
) -> io::Result<bool> {
    let manner = &shared.manner;
    if draw < manner.reset {
        shared.state().ledger.reset();
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        return Ok(false);
    }
    let failed = draw < manner.reset.saturating_add(manner.fail);
    let status = if failed { manner.status } else { 200 };
    if failed {
        shared.state().ledger.failed();
    }
    if (200..300).contains(&status) {
        let header = |name: &str| headers.get(name).cloned();
        let came = Came {
            id: header("webhook-id"),
            key: header("goniec-key"),
            sequence: header("goniec-sequence"),
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            crc32: crc32fast::hash(body),
        };
        shared.state().ledger.take(&came)?;
    }
    let mut to = stream;
    to.write_all(format!("HTTP/1.1 {status} sink\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    Ok(true)
}

/// The headers of the next request, names in lower case; `None` at the end.
fn head(from: &mut impl BufRead) -> io::Result<Option<HashMap<String, String>>> {
    let mut headers = HashMap::new();
    let mut left = HEAD_BYTES_MAX;
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = from.by_ref().take(left).read_line(&mut line)?;
        left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if !line.ends_with('\n') {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None if line.trim_end().is_empty() => return Ok(Some(headers)),
            None => {}
        }
    }
}

/// A number below [`CERTAIN`] for the message of this id when it comes for the so manieth time.
fn draw(seed: u64, id: &str, times: u64) -> u32 {
    let bits = scatter(seed ^ scatter(key_hash(id) ^ times));
    u32::try_from(bits % u64::from(CERTAIN)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] =
        b"POST / HTTP/1.1\r\nwebhook-id: a\r\ngoniec-key: k\r\ngoniec-sequence: r/1\r\ncontent-length: 2\r\n\r\nhi";

    fn sink(manner: Manner) -> (Sink, TcpStream) {
        let sink = Sink::start("127.0.0.1:0", manner, None).expect("a sink");
        let stream = TcpStream::connect(sink.addr()).expect("a connection");
        (sink, stream)
    }

    fn status(stream: &mut TcpStream) -> String {
        stream.write_all(REQUEST).expect("a request");
        let mut line = String::new();
        let mut from = BufReader::new(stream);
        from.read_line(&mut line).expect("an answer");
        from.read_line(&mut String::new()).expect("a length");
        from.read_line(&mut String::new()).expect("the end");
        line.trim().to_owned()
    }

    #[test]
    fn what_is_taken_is_answered_with_200_and_counted() {
        let (sink, mut stream) = sink(Manner::default());
        assert_eq!(status(&mut stream), "HTTP/1.1 200 sink");
        assert_eq!(status(&mut stream), "HTTP/1.1 200 sink");
        assert!(sink.wait(Duration::from_secs(5), |figures| figures.taken == 2));
        let figures = sink.figures();
        assert_eq!((figures.distinct, figures.duplicates, figures.gaps, figures.failed), (1, 1, 0, 0));
    }

    #[test]
    fn a_failure_is_503_where_nothing_else_is_said_and_takes_nothing() {
        let (sink, mut stream) = sink(Manner { fail: CERTAIN, ..Manner::default() });
        assert_eq!(status(&mut stream), "HTTP/1.1 503 sink");
        assert_eq!((sink.figures().taken, sink.figures().failed), (0, 1));
    }

    #[test]
    fn a_reset_is_a_real_one() {
        let (sink, mut stream) = sink(Manner { reset: CERTAIN, ..Manner::default() });
        stream.write_all(REQUEST).expect("a request");
        let error = stream.read(&mut [0; 1]).expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!((sink.figures().taken, sink.figures().reset), (0, 1));
    }

    #[test]
    fn the_same_seed_draws_the_same_and_in_the_right_measure() {
        let drawn = |seed| (0..10_000).map(|n| draw(seed, &format!("id-{n}"), 1)).collect::<Vec<_>>();
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let below = drawn(7).iter().filter(|drawn| **drawn < 2_000).count();
        assert!((1_800..2_200).contains(&below), "{below}");
        assert!((1..100).any(|times| draw(7, "id-1", times) >= 2_500), "no message fails for ever");
    }
}
