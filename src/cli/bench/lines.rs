//! Connections that each wait for an answer before they ask again, over bare sockets.
//!
//! A thread takes care of one connection or of several: it asks on all of its own, then reads the answers of all. Which of these serves
//! the other side best is tried before anything is measured, for every peer alike.
//!
//! # What it does not know
//!
//! What is asked: where an answer ends is told by a function.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::measure::{TIME_MAX, on_threads, per_second};
use super::{Fail, failed};

/// How many connections ask.
pub(super) const CONNECTIONS: usize = 64;
/// How many threads take care of them, each tried.
const SHAPES: &[usize] = &[1, 2, 4, CONNECTIONS];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The length of the answer that these bytes begin with; `None` where more must come.
pub(super) type Whole = fn(&[u8]) -> Result<Option<usize>, String>;

/// Whom to ask, and what.
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    /// What is asked, by connection in turn.
    pub(super) requests: Vec<Vec<u8>>,
    /// Where an answer ends.
    pub(super) whole: Whole,
}

struct Line {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Peer {
    /// The number of threads that serves this peer best, found by trying each for so many requests.
    pub(super) fn best(&self, count: usize) -> Result<usize, Fail> {
        let mut best = (0.0, 1);
        for threads in SHAPES {
            let rate = self.ask(CONNECTIONS, *threads, count)?;
            if rate > best.0 {
                best = (rate, *threads);
            }
        }
        Ok(best.1)
    }

    /// Asks so often over so many connections, or until the time is up; answers a second.
    pub(super) fn ask(&self, connections: usize, threads: usize, count: usize) -> Result<f64, Fail> {
        let each = connections.div_ceil(threads.max(1));
        let mut groups = Vec::new();
        for _ in 0..threads {
            let lines = (0..each).map(|_| Line::connect(self.address)).collect::<std::io::Result<Vec<Line>>>();
            groups.push(Mutex::new(lines.map_err(|error| self.broken(&error))?));
        }
        let began = Instant::now();
        let share = count.div_ceil(threads.max(1));
        let done = on_threads(threads, |number| {
            let Some(group) = groups.get(number) else { return Ok(0) };
            let mut lines = group.lock().unwrap_or_else(PoisonError::into_inner);
            let mut done = 0;
            while done < share && began.elapsed() < TIME_MAX {
                for (at, line) in lines.iter_mut().enumerate() {
                    line.stream.write_all(self.request(number * each + at)).map_err(|error| self.broken(&error))?;
                }
                for line in lines.iter_mut() {
                    line.answer(self.whole).map_err(|error| self.broken(&error))?;
                }
                done += lines.len();
            }
            Ok(done)
        })?;
        Ok(per_second(done.into_iter().sum(), began.elapsed()))
    }

    /// Asks so often over one connection, however long that takes.
    pub(super) fn ask_all(&self, count: usize) -> Result<(), Fail> {
        let mut line = Line::connect(self.address).map_err(|error| self.broken(&error))?;
        for _ in 0..count {
            line.stream.write_all(self.request(0)).map_err(|error| self.broken(&error))?;
            line.answer(self.whole).map_err(|error| self.broken(&error))?;
        }
        Ok(())
    }

    fn request(&self, connection: usize) -> &[u8] {
        self.requests.get(connection % self.requests.len().max(1)).map_or(&[], Vec::as_slice)
    }

    fn broken(&self, error: &std::io::Error) -> Fail {
        failed(format!("{}: {error}", self.address))
    }
}

impl Line {
    fn connect(address: SocketAddr) -> std::io::Result<Line> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Line { stream, held: Vec::new() })
    }

    fn answer(&mut self, whole: Whole) -> std::io::Result<()> {
        let mut chunk = [0; 4 << 10];
        loop {
            if let Some(length) = whole(&self.held).map_err(std::io::Error::other)? {
                self.held.drain(..length.min(self.held.len()));
                return Ok(());
            }
            if self.held.len() > ANSWER_BYTES_MAX {
                return Err(std::io::Error::other("the answer does not end"));
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => self.held.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
        }
    }
}

/// A request by POST over a connection that stays.
pub(super) fn post(address: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Where an answer over HTTP ends, which must be `202`.
pub(super) fn accepted(held: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(held.get(..end).unwrap_or_default());
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    if first.split(' ').nth(1) != Some("202") {
        return Err(format!("answered {first:?}"));
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end + 4 + length.ok_or("an answer without a length")?;
    Ok((held.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(accepted(answer), Ok(Some(answer.len())));
        assert_eq!(accepted(&answer[..answer.len() - 1]), Ok(None));
        assert_eq!(accepted(&answer[..10]), Ok(None));
        assert!(accepted(b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
