//! The real binary as a child: started, asked over HTTP, ended by its own process id. And producers with a ledger of their own.
//!
//! Shared by the harnesses that kill it and cut its power. Knows the interface and nothing of the inside.

#![allow(dead_code, reason = "each harness uses its part")]

#[path = "dice.rs"]
mod dice;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "each harness uses its part")]
pub use dice::Dice;

const PATIENCE: Duration = Duration::from_secs(10);

/// The number of the next request.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What was acknowledged: id to body.
pub type Ledger = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// How often a harness goes round: `or`, unless the environment says otherwise.
pub fn rounds(variable: &str, or: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

pub struct Node {
    child: Child,
    pub port: u16,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    /// Starts `serve` on a free port; `None` where it ends before it listens. `tracer` stands before the command.
    pub fn start(data: &Path, sink: u16, tracer: &[&str]) -> Option<Node> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let words = [tracer, &[env!("CARGO_BIN_EXE_goniec"), "serve", "--data"]].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(data)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--to", &format!("sink=http://127.0.0.1:{sink}/")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        let until = Instant::now() + PATIENCE;
        while ask(port, "GET", "/healthz", "", b"").is_none_or(|(status, _)| status != 200) {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > until {
                println!(
                    "no node on port {port}: {}",
                    ended.map_or("still silent".to_owned(), |code| code.to_string())
                );
                drop(Node { child, port });
                return None;
            }
            // Polls until it answers; the loop has a deadline.
            thread::sleep(Duration::from_millis(3));
        }
        Some(Node { child, port })
    }

    /// SIGKILL, for what it started first, and waits for the end.
    pub fn kill(&mut self) {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-9", child]).status();
        }
        // A tracer ends by itself, once what it traced is gone and holds no file any more.
        if children.trim().is_empty() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }

    /// The exit code, where it ends by itself within this time.
    pub fn ended_within(&mut self, limit: Duration) -> Option<i32> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(ended) = self.child.try_wait().unwrap() {
                return ended.code();
            }
            // Polls until it ends; the loop has a deadline.
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        self.child.wait().ok()?.code()
    }
}

/// One request on a connection of its own; `None` where no whole answer came.
pub fn ask(port: u16, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    read(&mut BufReader::new(stream)).and_then(|(line, _, body)| Some((line.split(' ').nth(1)?.parse().ok()?, body)))
}

/// The first line, the headers in lower case, and as many bytes of body as they promise.
fn read(from: &mut impl BufRead) -> Option<(String, HashMap<String, String>, Vec<u8>)> {
    let mut first = String::new();
    from.read_line(&mut first).ok().filter(|n| *n > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((first, headers, body))
}

/// A destination with a ledger of its own: id to the bodies that came, in order.
pub struct Sink {
    pub port: u16,
    pub seen: Arc<Mutex<HashMap<String, Vec<Vec<u8>>>>>,
}

impl Sink {
    pub fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) =
            (listener.local_addr().unwrap().port(), Arc::<Mutex<HashMap<String, Vec<Vec<u8>>>>>::default());
        let ledger = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ledger = ledger.clone();
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((_, headers, body)) = read(&mut reader) {
                        ledger.lock().unwrap().entry(headers["webhook-id"].clone()).or_default().push(body);
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if reader.get_mut().write_all(answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Sink { port, seen }
    }
}

/// Threads that hand in as fast as they are answered, to whichever port is current; 0 is none.
pub struct Producers {
    pub port: Arc<AtomicU16>,
    pub acknowledged: Ledger,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Producers {
    pub fn start(count: usize, body_bytes: usize) -> Producers {
        let (port, stop, acknowledged) = (Arc::<AtomicU16>::default(), Arc::<AtomicBool>::default(), Ledger::default());
        let threads = (0..count)
            .map(|who| {
                let (port, stop, ledger) = (port.clone(), stop.clone(), acknowledged.clone());
                thread::spawn(move || {
                    loop {
                        // Never twice in this process: an idempotency key used again names the message it named before.
                        let n = NEXT.fetch_add(1, Ordering::SeqCst);
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        let to = port.load(Ordering::SeqCst);
                        let handed_in = if to == 0 { Vec::new() } else { hand_in(to, who, n, body_bytes) };
                        if handed_in.is_empty() {
                            // Nobody listens just now; looks again until it is told to stop.
                            thread::sleep(Duration::from_millis(2));
                        }
                        ledger.lock().unwrap().extend(handed_in);
                    }
                })
            })
            .collect();
        Producers { port, acknowledged, stop, threads }
    }

    /// Ends them and gives their ledger.
    pub fn finish(self) -> HashMap<String, Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a producer ends well"));
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

/// One message, or every third time a batch of five lines; what was acknowledged.
fn hand_in(port: u16, who: usize, n: u64, body_bytes: usize) -> Vec<(String, Vec<u8>)> {
    let body =
        |i: u64| format!("{{\"who\":{who},\"n\":{n},\"i\":{i},\"fill\":\"{}\"}}", "x".repeat(body_bytes)).into_bytes();
    let (path, kind, bodies): (_, _, Vec<Vec<u8>>) = if n % 3 == 2 && body_bytes < 10_000 {
        ("/v1/messages", "application/x-ndjson", (0..5).map(body).collect())
    } else {
        ("/v1/send/sink", "application/json", vec![body(0)])
    };
    let text = if bodies.len() == 1 {
        bodies[0].clone()
    } else {
        let line = |body: &Vec<u8>| [b"{\"destination\":\"sink\",\"body\":", body.as_slice(), b"}\n"].concat();
        bodies.iter().flat_map(line).collect()
    };
    let headers = format!("content-type: {kind}\r\nidempotency-key: {who}-{n}\r\n");
    let Some((202, answer)) = ask(port, "POST", path, &headers, &text) else { return Vec::new() };
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let ids = answer["ids"].as_array().cloned().unwrap_or_else(|| vec![answer["id"].clone()]);
    assert_eq!(ids.len(), bodies.len(), "an id for each: {answer}");
    ids.iter().map(|id| id.as_str().expect("an id").to_owned()).zip(bodies).collect()
}

/// Has `goniec verify` read the stopped registry, which must be sound.
pub fn verify(data: &Path) {
    let answer =
        Command::new(env!("CARGO_BIN_EXE_goniec")).args(["verify", "--data"]).arg(data).output().expect("runs");
    let said = [answer.stdout, answer.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(answer.status.success(), "{}: {said}", answer.status);
}

/// How many of the ledger are not there, or with another body; all of it where the registry does not open. Says what it found instead.
pub fn lost(data: &Path, sink: u16, ledger: &HashMap<String, Vec<u8>>) -> usize {
    let Some(node) = Node::start(data, sink, &[]) else {
        println!("the node does not start");
        return ledger.len().max(1);
    };
    let mut lost = 0;
    for (id, body) in ledger {
        let answer = ask(node.port, "GET", &format!("/v1/messages/{id}/body"), "", b"");
        if answer.as_ref().is_none_or(|(status, came)| *status != 200 || came != body) {
            lost += 1;
            if lost <= LOSSES_SHOWN_MAX {
                let found = answer.map(|(status, came)| (status, came.len()));
                println!("{id} of {} bytes: instead (status, bytes) {found:?}", body.len());
            }
        }
    }
    lost
}

/// How many losses are shown.
const LOSSES_SHOWN_MAX: usize = 3;
