//! The listening side of a sink: raw sockets, because it must send what no HTTP library would. Each connection has a thread.
//!
//! # What holds
//!
//! * Whatever waits, hangs or drips ends when the sink does.
//! * Who refuses connections does not listen: the kernel says no.
//!
//! # What it does not know
//!
//! What is done with a request.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::{Figures, Ledger};
use super::line::Line;
use super::script::Script;

/// How often it is tried to listen again.
const LOOK: Duration = Duration::from_millis(50);

/// A sink that runs. Dropped, it takes no more connections.
pub struct Sink {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    addr: SocketAddr,
    state: Mutex<State>,
    /// A request was answered.
    pub(super) changed: Condvar,
    /// The sink was stopped, or listens or listens not.
    turned: Condvar,
}

pub(super) struct State {
    script: Arc<Script>,
    pub(super) ledger: Ledger,
    /// Requests that came whole and are not answered yet.
    pub(super) open: u64,
    /// Requests of which anything came.
    pub(super) begun: u64,
    /// When the first of them came.
    pub(super) first: Option<Instant>,
    /// Nothing is listened to until then.
    pub(super) refuses_until: Option<Instant>,
    listens: bool,
    pub(super) stopped: bool,
}

impl Sink {
    /// Listens, and takes what comes, in threads of its own. What it takes is also written to `ledger`, a line each.
    ///
    /// # Errors
    ///
    /// Nothing can listen there.
    pub fn start(
        listen: impl ToSocketAddrs,
        script: Script,
        ledger: Option<Box<dyn Write + Send>>,
    ) -> io::Result<Sink> {
        let listener = TcpListener::bind(listen)?;
        let addr = listener.local_addr()?;
        let state = State {
            script: Arc::new(script),
            ledger: Ledger::new(ledger),
            open: 0,
            begun: 0,
            first: None,
            refuses_until: None,
            listens: true,
            stopped: false,
        };
        let (changed, turned) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { addr, state: Mutex::new(state), changed, turned });
        let taking = Arc::clone(&shared);
        std::thread::Builder::new().name("sink".into()).spawn(move || taking.take_in(listener))?;
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

    /// How often the head of a message with this `webhook-id` came.
    #[must_use]
    pub fn times(&self, id: &str) -> u64 {
        self.shared.state().ledger.times(id)
    }

    /// How often the message with this `webhook-id` was taken.
    #[must_use]
    pub fn taken(&self, id: &str) -> u64 {
        self.shared.state().ledger.taken(id)
    }

    /// The CRC-32 of the body that was taken last with this key.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<u32> {
        self.shared.state().ledger.last(key)
    }

    /// Behaves by this script from the next moment of any request on; its clock starts anew with the next request.
    pub fn play(&self, script: Script) {
        let mut state = self.shared.state();
        (state.script, state.first) = (Arc::new(script), None);
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
        let shared = Arc::clone(&self.shared);
        move || shared.stop()
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.state().stopped
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn script(&self) -> Arc<Script> {
        Arc::clone(&self.state().script)
    }

    fn stop(&self) {
        if !std::mem::replace(&mut self.state().stopped, true) {
            self.wake();
        }
        self.turned.notify_all();
        self.changed.notify_all();
    }

    /// Wakes the thread that waits for a connection.
    fn wake(&self) {
        drop(TcpStream::connect(self.addr));
    }

    /// Waits so long, or until the sink is stopped; tells whether it goes on.
    pub(super) fn pause(&self, span: Duration) -> bool {
        let waited = self.turned.wait_timeout_while(self.state(), span, |state| !state.stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    fn take_in(self: &Arc<Self>, listener: TcpListener) {
        let mut listener = listener;
        loop {
            let taken = listener.accept();
            let until = {
                let state = self.state();
                if state.stopped {
                    return;
                }
                state.refuses_until
            };
            if let Some(until) = until {
                drop(listener);
                match self.away(until) {
                    Some(back) => listener = back,
                    None => return,
                }
            } else if let Ok((stream, _)) = taken {
                self.serve(stream);
            }
        }
    }

    /// Listens not until then, and then again; `None` where the sink was stopped meanwhile.
    fn away(&self, until: Instant) -> Option<TcpListener> {
        self.state().listens = false;
        self.turned.notify_all();
        let mut goes_on = self.pause(until.saturating_duration_since(Instant::now()));
        while goes_on {
            if let Ok(listener) = TcpListener::bind(self.addr) {
                let mut state = self.state();
                (state.listens, state.refuses_until) = (true, None);
                return Some(listener);
            }
            goes_on = self.pause(LOOK);
        }
        None
    }

    /// Asks to listen no more for so long, and waits until it is so.
    pub(super) fn refuse(&self, span: Duration) {
        self.state().refuses_until = Some(Instant::now() + span);
        self.wake();
        let waits = |state: &mut State| state.listens && state.refuses_until.is_some() && !state.stopped;
        drop(self.turned.wait_while(self.state(), waits));
    }

    fn serve(self: &Arc<Self>, stream: TcpStream) {
        let shared = Arc::clone(self);
        let serving = move || {
            if let Err(error) = (Line { stream: &stream, shared: &shared }).serve() {
                log::debug!("a peer of the sink went away: {error}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("sink-peer".into()).spawn(serving) {
            log::warn!("the sink has no thread for a connection: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};

    use super::*;

    fn request(extra: &str) -> Vec<u8> {
        let head = "POST /in HTTP/1.1\r\nwebhook-id: a\r\ngoniec-key: k\r\ngoniec-sequence: r/1\r\n";
        format!("{head}{extra}content-length: 2\r\n\r\nhi").into_bytes()
    }

    fn sink(script: &str) -> (Sink, TcpStream) {
        let sink = Sink::start("127.0.0.1:0", Script::parse(script).expect("a script"), None).expect("a sink");
        let stream = TcpStream::connect(sink.addr()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        (sink, stream)
    }

    /// The first line of the answer to a request on this connection.
    fn ask(stream: &mut TcpStream, extra: &str) -> io::Result<String> {
        stream.write_all(&request(extra))?;
        let mut from = BufReader::new(stream);
        let mut first = String::new();
        from.read_line(&mut first)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            length =
                line.strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().expect("a length"));
            if line.trim().is_empty() {
                break;
            }
        }
        from.take(length).read_to_end(&mut Vec::new())?;
        Ok(first.trim().to_owned())
    }

    #[test]
    fn what_is_taken_is_answered_with_200_and_counted() {
        let (sink, mut stream) = sink("");
        for _ in 0..2 {
            assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 200 sink");
        }
        assert!(sink.wait(Duration::from_secs(5), |figures| figures.taken == 2));
        let figures = sink.figures();
        assert_eq!((figures.distinct, figures.duplicates, figures.gaps, figures.failed), (1, 1, 0, 0));
        assert_eq!((sink.last("k"), sink.times("a")), (Some(crc32fast::hash(b"hi")), 2));
    }

    #[test]
    fn rules_are_asked_for_each_request() {
        let (sink, mut stream) = sink("request 1 -> 503\nattempt 2 path /in -> 404\nattempt 3 -> take 500");
        let answers: Vec<String> = (0..4).map(|_| ask(&mut stream, "").expect("an answer")).collect();
        assert_eq!(answers, ["503", "404", "500", "200"].map(|status| format!("HTTP/1.1 {status} sink")));
        assert_eq!((sink.figures().taken, sink.figures().failed), (2, 2));
    }

    #[test]
    fn a_request_can_say_how_it_is_dealt_with() {
        let (sink, mut stream) = sink("-> 503");
        assert_eq!(ask(&mut stream, "Sink-Do: 201\r\n").expect("an answer"), "HTTP/1.1 201 sink");
        assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 503 sink");
        for (expect, line) in
            [("503", "attempt 9 -> 202"), ("202", "attempt 4 key k -> 202"), ("201", "201 body '-> x'")]
        {
            let answer = ask(&mut stream, &format!("sink-do: {line}\r\n")).expect("an answer");
            assert_eq!(answer, format!("HTTP/1.1 {expect} sink"), "{line}");
        }
        for wrong in ["rset", "reset at connect", "request 1.. -> reset at byte", "ky a -> 503"] {
            assert_eq!(ask(&mut stream, &format!("sink-do: {wrong}\r\n")).expect("an answer"), "HTTP/1.1 400 sink");
        }
        ask(&mut stream, "sink-do: reset at head\r\n").expect_err("no answer");
        assert_eq!((sink.figures().taken, sink.figures().reset), (3, 1));
    }

    #[test]
    fn a_reset_is_a_real_one_at_every_moment() {
        for moment in ["connect", "byte", "head", "request"] {
            let (sink, mut stream) = sink(&format!("-> reset at {moment}"));
            // What is written after the reset fails too.
            let _ = stream.write_all(&request(""));
            let error = stream.read(&mut [0; 1]).expect_err("no answer");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{moment}");
            assert_eq!((sink.figures().taken, sink.figures().reset), (0, 1), "{moment}");
        }
    }

    #[test]
    fn an_early_answer_leaves_the_connection_in_step() {
        for moment in ["connect", "byte", "head"] {
            let (sink, mut stream) = sink(&format!("request 1 -> 413 at {moment}"));
            assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 413 sink", "{moment}");
            assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 200 sink", "{moment}");
            assert_eq!((sink.figures().requests, sink.figures().taken), (2, 1), "{moment}");
        }
    }

    #[test]
    fn who_refuses_listens_again_later() {
        let (sink, mut stream) = sink("request 1 -> refuse 300ms");
        ask(&mut stream, "").expect_err("no answer");
        let refused = TcpStream::connect(sink.addr()).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let until = Instant::now() + Duration::from_secs(10);
        let mut back = loop {
            match TcpStream::connect(sink.addr()) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        };
        assert_eq!(ask(&mut back, "").expect("an answer"), "HTTP/1.1 200 sink");
    }

    #[test]
    fn what_hangs_and_drips_ends_with_the_sink() {
        for manner in ["hang", "hang at head", "drip 1h", "wait 1h", "endless"] {
            let (sink, mut stream) = sink(&format!("-> {manner}"));
            stream.write_all(&request("")).expect("a request");
            // What an endless body sends is read, so that the sink is not stopped while it cannot write.
            let reading = std::thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
            sink.wait(Duration::from_millis(50), |_| false);
            drop(sink);
            // A reset ends it as well as a close; the patience of this side does not.
            let ended = reading.join().expect("no panic");
            assert!(!ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock), "{manner}");
        }
    }

    #[test]
    fn another_script_holds_from_the_next_request_on_and_its_clock_begins_anew() {
        let (sink, mut stream) = sink("until 1h -> 503");
        assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 503 sink");
        sink.play(Script::parse("from 1h -> 500\ncontains hi -> 422").expect("a script"));
        assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 422 sink");
        sink.play(Script::parse("contains ho -> 422").expect("a script"));
        assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 200 sink");
        assert_eq!((sink.times("a"), sink.taken("a"), sink.taken("b")), (3, 1, 0));
    }

    #[test]
    fn a_timetable_runs_from_the_first_request() {
        let (_sink, mut stream) = sink("until 300ms -> 503\nfrom 1h -> 500");
        assert_eq!(ask(&mut stream, "").expect("an answer"), "HTTP/1.1 503 sink");
        let until = Instant::now() + Duration::from_secs(10);
        while ask(&mut stream, "").expect("an answer") != "HTTP/1.1 200 sink" {
            assert!(Instant::now() < until, "the time never comes");
        }
    }
}
