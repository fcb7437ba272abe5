//! A peer on loopback that does exactly what a test tells it, good or bad: raw sockets, one thread per connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A listening peer. Dropped, it stops listening and waits for its thread.
pub struct Peer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Everything up to and with the empty line.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// One connection of the peer.
pub struct Line {
    /// The socket.
    pub stream: TcpStream,
    requests: Arc<Mutex<Vec<Request>>>,
    rest: Vec<u8>,
}

impl Peer {
    /// Starts a peer that runs `script` for each connection.
    pub fn start(script: impl Fn(&mut Line) + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let closed = Arc::new(AtomicUsize::new(0));
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let script = Arc::new(script);
        let (counter, gone, seen, stopped) = (connections.clone(), closed.clone(), requests.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                let (script, gone) = (script.clone(), gone.clone());
                let mut line = Line { stream, requests: seen.clone(), rest: Vec::new() };
                std::thread::spawn(move || {
                    script(&mut line);
                    drop(line);
                    gone.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Peer { address, connections, closed, requests, stop, thread: Some(thread) }
    }

    /// A peer that answers every request of every connection with these bytes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Peer {
        let answer = answer.into();
        Peer::start(move |line| while line.request().is_some() && line.stream.write_all(&answer).is_ok() {})
    }

    /// Where it listens.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it took.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many connections were closed by the peer's side, at most ten seconds.
    pub fn wait_closed(&self, count: usize) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.closed.load(Ordering::SeqCst) < count {
            assert!(Instant::now() < until, "the peer closed {:?} connections of {count}", self.closed);
            std::thread::yield_now();
        }
    }

    /// The requests that came whole.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Line {
    /// Reads one whole request; `None` at the end of the connection.
    pub fn request(&mut self) -> Option<Request> {
        let request = self.head()?;
        let mut body = std::mem::take(&mut self.rest);
        let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let mut chunk = vec![0; 64 << 10];
        while body.len() < length {
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(read) => body.extend_from_slice(&chunk[..read]),
            }
        }
        self.rest = body.split_off(length);
        let request = Request { body, ..request };
        self.requests.lock().expect("no panic").push(request.clone());
        Some(request)
    }

    /// Reads the head of a request, and leaves its body.
    pub fn head(&mut self) -> Option<Request> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut chunk = vec![0; 64 << 10];
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                self.rest = bytes.split_off(end + 4);
                return Some(Request { head: String::from_utf8_lossy(&bytes).into_owned(), body: Vec::new() });
            }
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// Waits until the other side has sent something, and leaves it unread.
    pub fn wait_for_bytes(&mut self) {
        let _ = self.stream.peek(&mut [0]);
    }

    /// Ends the connection with a reset.
    pub fn reset(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Sends these bytes, and says whether they went.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Holds the connection until the other side ends it, at most for `most`.
    pub fn hold(&mut self, most: Duration) {
        let until = Instant::now() + most;
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(20)));
        while Instant::now() < until {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(_) => return,
            }
        }
    }
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}
