//! A node with more to show: answers of its own for calls whose content a test must know (`answers.json`), the node's for all others.
//!
//! The figures of incidents, keys or history cannot be had in a moment from a real node; how they are drawn can be looked at all the same.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

const HEAD_BYTES_MAX: usize = 16 << 10;

/// Stands before a node.
pub struct Stub {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    pub fn before(node: u16) -> Stub {
        let mut answers: HashMap<String, Value> = serde_json::from_str(include_str!("answers.json")).unwrap();
        answers.insert("GET /v1/history".into(), history());
        Stub::with(node, answers)
    }

    /// As the node, but for the events, which nobody can follow.
    pub fn without_events(node: u16) -> Stub {
        Stub::with(node, HashMap::from([("GET /v1/events".into(), Value::Null)]))
    }

    fn with(node: u16, answers: HashMap<String, Value>) -> Stub {
        let answers = Arc::new(answers);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let answers = Arc::clone(&answers);
                // A browser that goes away in the middle is none of our business.
                std::thread::spawn(move || drop(serve(stream, node, &answers)));
            }
        });
        Stub { port, stop, thread: Some(thread) }
    }

    /// The address of a page.
    pub fn page(&self, query: &str, hash: &str) -> String {
        format!("http://127.0.0.1:{}/console{query}{hash}", self.port)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request a connection.
fn serve(mut client: TcpStream, node: u16, answers: &HashMap<String, Value>) -> std::io::Result<()> {
    let mut came = Vec::new();
    let end = loop {
        if let Some(at) = came.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4_096];
        let bytes = client.read(&mut piece)?;
        if bytes == 0 || came.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        came.extend_from_slice(&piece[..bytes]);
    };
    let head = String::from_utf8_lossy(&came[..end]).into_owned();
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let headers: Vec<&str> = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).collect();
    let length = headers
        .iter()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
    let mut body = came.split_off(end);
    let missing = u64::try_from(length.saturating_sub(body.len())).unwrap();
    (&client).take(missing).read_to_end(&mut body)?;
    let call = first.split(['?', ' ']).take(2).collect::<Vec<_>>().join(" ");
    if let Some(answer) = answers.get(&call) {
        let json = answer.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        return client.write_all(format!("{head}content-length: {}\r\n\r\n{json}", json.len()).as_bytes());
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", node))?;
    let rest: String = headers.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    upstream.write_all(format!("{first}\r\n{rest}connection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(&body)?;
    std::io::copy(&mut upstream, &mut client).map(drop)
}

/// An hour with a jam in its middle, and an hour of retries to come.
fn history() -> Value {
    let at = |minute: u64| format!("2026-11-26T{:02}:{:02}:00.000Z", 13 + minute / 60, minute % 60);
    let minute = |number: u64| {
        let jam = (24..34).contains(&number);
        let accepted = 45 + number * 7 % 20;
        let delivered = if jam { accepted / 2 } else { accepted };
        let latency = (number != 10).then_some(if jam { 1_900 } else { 80 + number % 9 });
        json!({"at": at(number), "accepted": accepted, "delivered": delivered, "failed": 0, "abandoned": 0,
            "latency_p50_ms": latency, "latency_p95_ms": latency.map(|ms| ms * 3)})
    };
    let due = |number: u64| json!({"at": at(60 + number), "messages": 20_u64.saturating_sub(number)});
    json!({"minutes": (0..60).map(minute).collect::<Vec<_>>(), "due": (0..60).map(due).collect::<Vec<_>>()})
}
