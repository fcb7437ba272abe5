//! A Redis server beside goniec: streams, with every append synced before its answer.
//!
//! # What it does not know
//!
//! What its figures are compared with.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::children::Owned;
use super::lines::Peer;
use super::{Fail, failed};

const PROGRAM: &str = "redis-server";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Another may take the free port before it does.
const TRIES: usize = 3;

/// A server that ends with this value.
pub(super) struct Redis {
    /// Its name and version.
    pub(super) name: String,
    address: SocketAddr,
    _server: Owned,
}

impl Redis {
    /// Starts one that writes to this directory; `None` where the machine has none.
    pub(super) fn start(dir: &Path) -> Result<Option<Redis>, Fail> {
        let Ok(said) = Command::new(PROGRAM).arg("--version").output() else { return Ok(None) };
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("of unknown version");
        std::fs::create_dir_all(dir).map_err(|error| failed(format!("cannot make {}: {error}", dir.display())))?;
        for _ in 0..TRIES {
            if let Some((address, server)) = listen(dir)? {
                return Ok(Some(Redis { name: format!("Redis {version}"), address, _server: server }));
            }
        }
        Err(failed("the redis-server of this machine does not listen"))
    }

    /// What appends a body of so many bytes to a stream.
    pub(super) fn appends(&self, body: &[u8]) -> Peer {
        let request = command(&[b"XADD", b"stream", b"*", b"body", body]);
        Peer { address: self.address, requests: vec![request], whole: bulk }
    }

    /// Empties the stream, so that every round begins alike.
    pub(super) fn empty(&self) -> Result<(), Fail> {
        Peer { address: self.address, requests: vec![command(&[b"UNLINK", b"stream"])], whole: bulk }
            .ask(1, 1, 1)
            .map(drop)
    }
}

fn listen(dir: &Path) -> Result<Option<(SocketAddr, Owned)>, Fail> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| failed(format!("no free port: {error}")))?;
    let mut program = Command::new(PROGRAM);
    program.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
    // No rewriting of the log beside: that would cost Redis time which has nothing to do with appends.
    program.args(["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
    program.arg("--dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (server, _) = Owned::start(&mut program).map_err(|error| failed(format!("cannot start {PROGRAM}: {error}")))?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && !server.has_ended() {
        if TcpStream::connect(address).is_ok() {
            return Ok(Some((address, server)));
        }
        // What is waited for is looked at again; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Where an answer ends: a bulk string, or a number.
fn bulk(held: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = held.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(held.get(..end).unwrap_or_default());
    let whole = match line.split_at_checked(1) {
        Some(("$", length)) => end + 4 + length.parse::<usize>().map_err(|_| format!("answered {line:?}"))?,
        Some((":", _)) => end + 2,
        Some(_) | None => return Err(format!("answered {line:?}")),
    };
    Ok((held.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_spoken() {
        assert_eq!(command(&[b"XADD", b"s"]), b"*2\r\n$4\r\nXADD\r\n$1\r\ns\r\n");
        assert_eq!(bulk(b"$3\r\n1-0\r\n"), Ok(Some(9)));
        assert_eq!(bulk(b"$3\r\n1-0\r"), Ok(None));
        assert_eq!(bulk(b":1\r\nrest"), Ok(Some(4)));
        assert!(bulk(b"-ERR no\r\n").is_err());
    }
}
