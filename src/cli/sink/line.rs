//! One connection of a sink: at each moment of a request (the connection stands, the first byte, the head, all of it) the script is asked; the request's own
//! header [`DO`] goes before it.
//!
//! # What holds
//!
//! * A reset is a real one: the peer gets RST.
//! * What was taken is in the ledger before the answer leaves.
//!
//! # What it does not know
//!
//! goniec: it sees requests, as any destination does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::answer::{Answer, Pen};
use super::ledger::Came;
use super::manner::{End, Manner, Moment};
use super::peer::Shared;
use super::script::{Head, Seen};

/// The header by which a request says itself how it is dealt with.
pub const DO: &str = "sink-do";

/// The most bytes of a head and of a body.
const HEAD_BYTES_MAX: u64 = 64 << 10;
const BODY_BYTES_MAX: u64 = 64 << 20;
/// How often a connection that hangs is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long one hangs of which nothing is read, so that nobody sees the other side go.
const HANG_MAX: Duration = Duration::from_secs(600);

/// One connection.
pub(super) struct Line<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) shared: &'a Shared,
}

/// Writes to a connection.
struct Stylus<'a> {
    line: &'a Line<'a>,
    left: u64,
}

impl Line<'_> {
    /// Serves it to its end.
    pub(super) fn serve(&self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut from = BufReader::new(self.stream);
        let first = self.begin();
        let at_once = self.chosen(self.seen(Moment::Connect, first, None, 0));
        let mut is_dealt_with = at_once.is_some();
        if !at_once.map_or(Ok(true), |manner| self.act(&manner, None))? {
            return Ok(());
        }
        let mut number = Some(first);
        while !from.fill_buf()?.is_empty() {
            if self.shared.state().refuses_until.is_some() {
                return self.reset();
            }
            let number = number.take().unwrap_or_else(|| self.begin());
            if !self.request(&mut from, number, is_dealt_with)? {
                return Ok(());
            }
            is_dealt_with = false;
        }
        Ok(())
    }

    /// Takes one request of which the first byte is there; whether the connection goes on.
    fn request(&self, from: &mut BufReader<&TcpStream>, number: u64, is_dealt_with: bool) -> io::Result<bool> {
        let early = if is_dealt_with { None } else { self.chosen(self.seen(Moment::Byte, number, None, 0)) };
        let is_dealt_with = is_dealt_with || early.is_some();
        if !early.map_or(Ok(true), |manner| self.act(&manner, None))? {
            return Ok(false);
        }
        let Some(head) = head(from)? else { return Ok(false) };
        let times = self.shared.state().ledger.came(head.headers.get("webhook-id").map_or("", String::as_str));
        let seen = |moment| self.seen(moment, number, Some(&head), times);
        let own = head.headers.get(DO).and_then(|line| self.own(line, seen(Moment::Head)));
        let chosen = |seen: Seen<'_>| match &own {
            _ if is_dealt_with => None,
            Some(own) => Some(own).filter(|own| own.at == seen.moment).cloned(),
            None => self.chosen(seen),
        };
        let early = chosen(seen(Moment::Head));
        let is_dealt_with = is_dealt_with || early.is_some();
        if !early.map_or(Ok(true), |manner| self.act(&manner, None))? {
            return Ok(false);
        }
        let Some(body) = self.body(from, &head)? else { return Ok(false) };
        self.shared.state().ledger.whole();
        if is_dealt_with {
            return Ok(true);
        }
        let manner = chosen(Seen { body: Some(&body), ..seen(Moment::Request) });
        self.act(&manner.unwrap_or_else(Manner::yes), Some(&came(&head, &body)))
    }

    /// The body of a request; `None` where it does not come whole, or has none of the lengths that a sink takes.
    fn body(&self, from: &mut BufReader<&TcpStream>, head: &Head) -> io::Result<Option<Vec<u8>>> {
        let length = head.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        if length > BODY_BYTES_MAX || head.headers.contains_key("transfer-encoding") {
            let mut to = self.stream;
            to.write_all(b"HTTP/1.1 411 sink\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
            return Ok(None);
        }
        let mut body = Vec::new();
        from.by_ref().take(length).read_to_end(&mut body)?;
        Ok(Some(body).filter(|body| u64::try_from(body.len()).is_ok_and(|bytes| bytes == length)))
    }

    /// The number of a request that begins.
    fn begin(&self) -> u64 {
        let mut state = self.shared.state();
        state.begun += 1;
        state.first.get_or_insert_with(Instant::now);
        state.begun
    }

    fn chosen(&self, seen: Seen<'_>) -> Option<Manner> {
        self.shared.script().choose(seen).cloned()
    }

    fn seen<'b>(&self, moment: Moment, number: u64, head: Option<&'b Head>, times: u64) -> Seen<'b> {
        let since = self.shared.state().first.map_or(Duration::ZERO, |first| first.elapsed());
        Seen { moment, number, since, head, body: None, times }
    }

    /// What a request asks for itself; an answer that says what is wrong, where it cannot be had.
    fn own(&self, line: &str, seen: Seen<'_>) -> Option<Manner> {
        match self.shared.script().asked(line, seen) {
            Ok(Some(own)) if matches!(own.at, Moment::Connect | Moment::Byte) => {
                Some(Manner::refusing(&format!("{DO}: a request can ask for what happens at head or at request\n")))
            }
            Ok(own) => own,
            Err(wrong) => Some(Manner::refusing(&format!("{DO}: column {}: {wrong}\n", wrong.column))),
        }
    }

    /// Deals with a request, which came whole where `came` is given; whether the connection goes on.
    fn act(&self, manner: &Manner, came: Option<&Came>) -> io::Result<bool> {
        self.shared.state().open += 1;
        let answered = self.answer(manner, came);
        self.shared.state().open -= 1;
        self.shared.changed.notify_all();
        answered?;
        match manner.end {
            End::Keep => return Ok(!self.shared.state().stopped),
            End::Close => {}
            End::Reset => self.reset()?,
            End::Hang => self.hang(came.is_some())?,
            End::Refuse(span) => {
                self.shared.refuse(span);
                self.reset()?;
            }
        }
        Ok(false)
    }

    /// Writes down what becomes of the request, then says it.
    fn answer(&self, manner: &Manner, came: Option<&Came>) -> io::Result<()> {
        let wait = manner.wait.unwrap_or(if came.is_some() { self.shared.script().latency } else { Duration::ZERO });
        if !wait.is_zero() && !self.shared.pause(wait) {
            return Ok(());
        }
        let is_yes = manner.is_taken || manner.answer.as_ref().is_some_and(Answer::is_yes);
        {
            let ledger = &mut self.shared.state().ledger;
            match (came.filter(|_| is_yes), manner.end, &manner.answer) {
                (Some(came), ..) => ledger.take(came)?,
                (None, End::Reset | End::Refuse(_), None) => ledger.reset(),
                (None, ..) => ledger.failed(),
            }
        }
        let Some(answer) = &manner.answer else { return Ok(()) };
        answer.write(&mut Stylus { line: self, left: answer.cut.unwrap_or(u64::MAX) })
    }

    /// Makes the end of this connection a reset.
    fn reset(&self) -> io::Result<()> {
        socket2::SockRef::from(self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Keeps the connection, until the other side goes. What was not read stays unread, so that the other side cannot send on.
    fn hang(&self, is_read: bool) -> io::Result<()> {
        if !is_read {
            self.shared.pause(HANG_MAX);
            return Ok(());
        }
        self.stream.set_read_timeout(Some(LOOK))?;
        let mut from = self.stream;
        while self.shared.pause(Duration::ZERO) {
            match from.read(&mut [0; 4 << 10]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Pen for Stylus<'_> {
    fn put(&mut self, bytes: &[u8], drip: Option<Duration>) -> io::Result<()> {
        let mut to = self.line.stream;
        for piece in bytes.chunks(if drip.is_some() { 1 } else { bytes.len().max(1) }) {
            let many = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
            to.write_all(piece.get(..many).unwrap_or_default())?;
            self.left -= u64::try_from(many).unwrap_or(self.left);
            if self.is_done() || drip.is_some_and(|span| !self.line.shared.pause(span)) {
                break;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.line.shared.state().stopped
    }
}

fn came(head: &Head, body: &[u8]) -> Came {
    let header = |name: &str| head.headers.get(name).cloned();
    Came {
        id: header("webhook-id"),
        key: header("goniec-key"),
        sequence: header("goniec-sequence"),
        body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
        crc32: crc32fast::hash(body),
    }
}

/// The head of the next request; `None` at the end.
fn head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut head: Option<Head> = None;
    let mut left = HEAD_BYTES_MAX;
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = from.by_ref().take(left).read_line(&mut line)?;
        left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if !line.ends_with('\n') {
            return Ok(None);
        }
        match (&mut head, line.trim_end().split_once(':')) {
            (None, _) => {
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                head = Some(Head { path, ..Head::default() });
            }
            (Some(head), Some((name, value))) => {
                head.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            (Some(_), None) if line.trim_end().is_empty() => return Ok(head),
            (Some(_), None) => {}
        }
    }
}
