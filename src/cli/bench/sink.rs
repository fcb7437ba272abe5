//! The bare sink: a process that answers every request with a yes, and looks at nothing of it but its path and where it ends. It answers at once;
//! where the path is a number, after so many milliseconds.
//!
//! It ends with its standard input, so that it never outlives the run that started it.
//!
//! # What it does not know
//!
//! What comes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use super::children::Owned;
use super::{Fail, failed, this_program};
use crate::cli::say;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"status\":\"SUCCESS\"}";
const CHUNK_BYTES: usize = 64 << 10;

/// A bare sink in another process.
pub(super) struct Bare {
    /// Where it listens.
    pub(super) address: SocketAddr,
    _input: Option<ChildStdin>,
    _process: Owned,
}

impl Bare {
    /// Starts one.
    pub(super) fn start() -> Result<Bare, Fail> {
        let mut command = Command::new(this_program()?);
        command.args(["bench", "--as-sink"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let error = |error: std::io::Error| failed(format!("cannot start the sink: {error}"));
        let (process, pipes) = Owned::start(&mut command).map_err(error)?;
        let mut line = String::new();
        if let Some(output) = pipes.stdout {
            BufReader::new(output).read_line(&mut line).map_err(error)?;
        }
        let address = line.trim().parse().map_err(|_| failed(format!("the sink says {line:?} and no address")))?;
        Ok(Bare { address, _input: pipes.stdin, _process: process })
    }
}

/// Serves until standard input ends.
pub(super) fn run() -> Result<(), Fail> {
    let error = |error: std::io::Error| failed(format!("the sink: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error)?;
    say(&listener.local_addr().map_err(error)?.to_string())?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    std::io::stdin().lock().read_to_end(&mut Vec::new()).map_err(error)?;
    Ok(())
}

fn serve(mut stream: TcpStream) {
    let (mut held, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    if stream.set_nodelay(true).is_err() {
        return;
    }
    loop {
        while let Some(whole) = request(&held) {
            let wait_ms = wait_ms(&held);
            held.drain(..whole);
            if wait_ms > 0 {
                // The wait is what this destination is for.
                std::thread::sleep(Duration::from_millis(wait_ms));
            }
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => held.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// How long the answer to the request that these bytes begin with takes, in milliseconds.
fn wait_ms(held: &[u8]) -> u64 {
    let path = held.iter().skip_while(|byte| **byte != b'/').skip(1);
    let digits = path.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// Reads the next request or answer; `None` where there is none any more. What came of the one behind it stays in `held`.
pub(super) fn whole(stream: &mut TcpStream, held: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        if let Some(length) = request(held) {
            return Ok(Some(held.drain(..length).collect()));
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            read => held.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// The length of the request or answer that these bytes begin with, where it is whole.
fn request(held: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length:";
    let end = held.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = held.get(..end)?;
    let named = head.windows(LENGTH.len()).position(|name| name.eq_ignore_ascii_case(LENGTH));
    let digits = named.and_then(|at| head.get(at + LENGTH.len()..)).unwrap_or_default();
    let digits = digits.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    let whole = end.saturating_add(4).saturating_add(length);
    (held.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_where_its_length_says() {
        let one = b"POST / HTTP/1.1\r\nContent-Length: 12\r\nx: y\r\n\r\nhello, world";
        assert_eq!(request(one), Some(one.len()));
        assert_eq!(request(&one[..one.len() - 1]), None);
        assert_eq!(request(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
    }

    #[test]
    fn a_path_says_how_long_the_answer_takes() {
        assert_eq!(wait_ms(b"POST /50 HTTP/1.1\r\n"), 50);
        assert_eq!(wait_ms(b"POST / HTTP/1.1\r\n"), 0);
    }
}
