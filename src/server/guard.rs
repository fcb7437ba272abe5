//! The bytes of one connection, watched on their way to hyper.
//!
//! hyper reads requests well and waits for ever: it has one time limit for the head and the pause before it, none for a peer that
//! reads nothing, and it settles silently what two lengths in one head shall mean. This layer adds what is missing:
//!
//! * a head has a deadline from its first byte, however its bytes drip, and a pause between requests has a longer one;
//! * a peer that leaves an answer unread is cut;
//! * a head with two lengths, or a length and an encoding, is marked, and the service refuses it ([`Wire::next`]).
//!
//! It follows the framing of plain lengths only. After a chunked body the connection is closed with the answer, so that there is never
//! a second opinion on where the next request begins.
//!
//! # What it does not know
//!
//! What the requests mean.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ServerConfig;

/// The most bytes of a head.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most headers in a head.
pub(super) const HEADERS_MAX: usize = 100;

/// A connection with its watch.
pub(super) struct Guarded {
    stream: TcpStream,
    wire: Rc<Wire>,
    phase: Phase,
    limits: Limits,
    fresh: bool,
    active_at: Instant,
    stalled_at: Option<Instant>,
    read_alarm: Pin<Box<Sleep>>,
    write_alarm: Pin<Box<Sleep>>,
}

/// What the watch and the service of one connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Wire {
    heads: RefCell<VecDeque<Head>>,
    serving: Cell<bool>,
}

/// What the watch saw in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Why the request must be refused.
    pub(super) refuse: Option<&'static str>,
    /// Whether the answer must be the connection's last.
    pub(super) last: bool,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    head: Duration,
    idle: Duration,
    stall: Duration,
}

/// Where in the stream of requests the next byte belongs.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Between requests, or in a head of which these bytes have come.
    Head { bytes: Vec<u8>, since: Option<Instant> },
    /// In a body of which so many bytes are still to come.
    Body(u64),
    /// The framing is hyper's alone from here; the connection ends with the answer.
    Blind,
}

/// What the bytes of a head are.
enum Seen {
    Partial,
    Malformed,
    Whole { head_bytes: usize, head: Head, body_bytes: u64 },
}

impl Wire {
    /// The head of the request that hyper hands out now. Requests come out in the order of their heads.
    pub(super) fn next(&self) -> Head {
        self.serving.set(true);
        let unseen = Head { refuse: Some("its head could not be read"), last: true };
        self.heads.borrow_mut().pop_front().unwrap_or(unseen)
    }

    /// The answer to that request is ready: the pause between requests counts again.
    pub(super) fn served(&self) {
        self.serving.set(false);
    }
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, wire: Rc<Wire>, config: &ServerConfig) -> Guarded {
        let now = Instant::now();
        let limits = Limits {
            head: Duration::from_millis(config.head_ms_max),
            idle: Duration::from_millis(config.idle_ms_max),
            stall: Duration::from_millis(config.stall_ms_max),
        };
        Guarded {
            stream,
            wire,
            phase: Phase::Head { bytes: Vec::new(), since: None },
            limits,
            fresh: true,
            active_at: now,
            stalled_at: None,
            read_alarm: Box::pin(sleep_until(now + limits.head)),
            write_alarm: Box::pin(sleep_until(now + limits.stall)),
        }
    }

    /// When a read that has nothing to read must give up.
    fn read_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Head { since: Some(since), .. } => Some(*since + self.limits.head),
            Phase::Head { since: None, .. } if self.fresh => Some(self.active_at + self.limits.head),
            Phase::Head { since: None, .. } if !self.wire.serving.get() => Some(self.active_at + self.limits.idle),
            // A body's time is kept where it is read, and an answer's where it is written.
            Phase::Head { since: None, .. } | Phase::Body(_) | Phase::Blind => None,
        }
    }

    /// Follows the framing through bytes that have just come.
    fn follow(&mut self, mut new: &[u8], now: Instant) {
        self.active_at = now;
        while !new.is_empty() {
            new = match std::mem::replace(&mut self.phase, Phase::Blind) {
                Phase::Blind => &[],
                Phase::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(new.len());
                    self.phase = after_head(left.saturating_sub(u64::try_from(here).unwrap_or(left)));
                    new.get(here..).unwrap_or_default()
                }
                Phase::Head { bytes, since } => self.follow_head(bytes, since.unwrap_or(now), new),
            };
        }
    }

    /// Takes what belongs to the head, and gives back the rest.
    fn follow_head<'a>(&mut self, mut bytes: Vec<u8>, since: Instant, new: &'a [u8]) -> &'a [u8] {
        let before = bytes.len();
        let seen = if before == 0 {
            inspect(new)
        } else {
            bytes.extend_from_slice(new);
            // Only the end of a line can end a head; a dripping peer must not cost a parse for every byte.
            if new.contains(&b'\n') { inspect(&bytes) } else { Seen::Partial }
        };
        match seen {
            Seen::Partial => {
                if before == 0 {
                    bytes.extend_from_slice(new);
                }
                // hyper answers 431 at the same limit.
                if bytes.len() < HEAD_BYTES_MAX {
                    self.phase = Phase::Head { bytes, since: Some(since) };
                }
                &[]
            }
            Seen::Malformed => &[],
            Seen::Whole { head_bytes, head, body_bytes } => {
                self.fresh = false;
                self.wire.heads.borrow_mut().push_back(head);
                if !head.last {
                    self.phase = after_head(body_bytes);
                }
                new.get(head_bytes.saturating_sub(before)..).unwrap_or_default()
            }
        }
    }
}

fn after_head(body_bytes: u64) -> Phase {
    if body_bytes == 0 { Phase::Head { bytes: Vec::new(), since: None } } else { Phase::Body(body_bytes) }
}

/// Reads a head with the parser that hyper uses, so that both see the same.
fn inspect(bytes: &[u8]) -> Seen {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Seen::Partial,
        Err(_) => return Seen::Malformed,
    };
    let named =
        |name: &'static str| request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    let mut lengths = named("content-length");
    let length = lengths.next();
    let encoded = named("transfer-encoding").next().is_some();
    let refuse = match (length, encoded) {
        (Some(_), true) => Some("it has both a content-length and a transfer-encoding"),
        (Some(_), false) if lengths.next().is_some() => Some("it has more than one content-length"),
        (Some(_), false) | (None, _) => None,
    };
    let body_bytes = match length {
        // hyper refuses what is not a number.
        Some(length) => std::str::from_utf8(length.value).ok().and_then(|text| text.trim().parse().ok()),
        None => Some(0),
    };
    match body_bytes {
        Some(body_bytes) => {
            Seen::Whole { head_bytes, head: Head { refuse, last: encoded || refuse.is_some() }, body_bytes }
        }
        None => Seen::Malformed,
    }
}

fn cut(why: &'static str) -> Poll<io::Result<()>> {
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
}

/// Whether the deadline has passed; the task is woken when it does.
fn passed(alarm: &mut Pin<Box<Sleep>>, deadline: Instant, cx: &mut Context<'_>) -> bool {
    if alarm.deadline() != deadline {
        alarm.as_mut().reset(deadline);
    }
    alarm.as_mut().poll(cx).is_ready()
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                if !new.is_empty() {
                    this.follow(new, Instant::now());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(source)) => Poll::Ready(Err(source)),
            Poll::Pending => match this.read_deadline() {
                Some(deadline) if passed(&mut this.read_alarm, deadline, cx) => cut("no request came in time"),
                Some(_) | None => Poll::Pending,
            },
        }
    }
}

impl Guarded {
    /// Keeps the time that a peer leaves an answer unread.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(done) => {
                self.stalled_at = None;
                self.active_at = Instant::now();
                Poll::Ready(done)
            }
            Poll::Pending => {
                let deadline = *self.stalled_at.get_or_insert_with(Instant::now) + self.limits.stall;
                if passed(&mut self.write_alarm, deadline, cx) {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the answer was not read in time",
                    )));
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expect: Option<(Option<&str>, bool, u64)>) {
        let seen = match inspect(head.as_bytes()) {
            Seen::Whole { head_bytes, head: seen, body_bytes } => {
                assert_eq!(head_bytes, head.len());
                Some((seen.refuse, seen.last, body_bytes))
            }
            Seen::Partial | Seen::Malformed => None,
        };
        assert_eq!(seen, expect, "{head:?}");
    }

    #[test]
    fn ambiguous_lengths_are_marked() {
        let both = Some("it has both a content-length and a transfer-encoding");
        let twice = Some("it has more than one content-length");
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some((None, false, 0)));
        check("POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n", Some((None, false, 7)));
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", Some((None, true, 0)));
        check("POST / HTTP/1.1\r\ncontent-length: 7\r\nContent-length: 7\r\n\r\n", Some((twice, true, 7)));
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 7\r\n\r\n", Some((both, true, 7)));
        check("POST / HTTP/1.1\r\ncontent-length: seven\r\n\r\n", None);
        check("POST / HTTP/1.1\r\ncontent-le", None);
    }
}
