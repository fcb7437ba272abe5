//! Clients that drip, stall, crowd and lie, against the real server; a good client is served well throughout.
//!
//! The limits are the server's own, shortened so that the test is; what is held is counted shortly before a deadline (the control: without
//! a deadline it would still be held after it) and nothing is left shortly after.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/null_store.rs"]
mod null_store;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use goniec::engine::{Engine, Settings};
use goniec::server::{Running, ServerConfig, start};
use null_store::NullStore;

const HEAD_MS: u64 = 1_500;
const BODY_MS: u64 = 1_500;

fn server(adjust: impl FnOnce(&mut ServerConfig)) -> Running {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
    config.head_ms_max = HEAD_MS;
    config.body_ms_max = BODY_MS;
    config.stall_ms_max = 1_500;
    adjust(&mut config);
    start(engine(), config).expect("a server")
}

fn engine() -> Engine {
    Engine::start(Arc::new(NullStore::default()), Vec::new(), Settings::default(), Vec::new()).expect("an engine")
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Everything that comes until the server closes, or nothing more comes for `wait`.
fn drain(stream: &mut TcpStream, wait: Duration) -> String {
    stream.set_read_timeout(Some(wait)).unwrap();
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        all.extend_from_slice(&piece[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn exchange(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(addr);
    // The server may refuse and close while the request is still being written.
    let _ = stream.write_all(request);
    drain(&mut stream, Duration::from_millis(400))
}

fn statuses(answers: &str) -> Vec<u16> {
    let mut found = Vec::new();
    for (at, _) in answers.match_indices("HTTP/1.1 ").chain(answers.match_indices("HTTP/1.0 ")) {
        found.extend(answers.get(at + 9..at + 12).and_then(|status| status.parse::<u16>().ok()));
    }
    found
}

/// Whether the server still holds the connection.
fn is_held(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut piece = [0; 4096];
    let held = loop {
        match stream.read(&mut piece) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).unwrap();
    held
}

/// A client that asks, reads, and asks again; it says how many answers it had and how long the slowest took.
struct Good {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, Duration)>,
}

impl Good {
    fn start(addr: SocketAddr) -> Good {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut answers, mut slowest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                let mut stream = connect(addr);
                stream.write_all(request).expect("a request");
                assert_eq!(statuses(&drain(&mut stream, Duration::from_secs(5))), [200]);
                answers += 1;
                slowest = slowest.max(asked.elapsed());
                // The pace of these clients; the loop has an end.
                std::thread::sleep(Duration::from_millis(20));
            }
            (answers, slowest)
        });
        Good { stop, thread }
    }

    fn check(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (answers, slowest) = self.thread.join().expect("the good client was served");
        assert!(answers > 10, "only {answers} answers");
        assert!(slowest < Duration::from_secs(1), "the slowest of {answers} answers took {slowest:?}");
    }
}

/// How many connections this process may hold on both sides.
fn pairs_at_most(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().nth(3)).and_then(|word| word.parse::<usize>().ok());
    let pairs = soft.unwrap_or(1_024).saturating_sub(200) / 2;
    if pairs < wanted {
        println!("the limit of open files allows {pairs} of {wanted} connections");
    }
    pairs.min(wanted)
}

#[test]
fn every_lie_about_a_request_is_refused_and_every_odd_truth_is_taken() {
    let server = server(|_| ());
    let long = "x".repeat(100_000);
    let long_uri = "y".repeat(5_000);
    let many = "a: b\r\n".repeat(101);
    for (name, request, expect) in [
        ("plain", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), &[200][..]),
        ("HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n".into(), &[200]),
        ("HTTP/1.0 with a body", "GET /healthz HTTP/1.0\r\ncontent-length: 0\r\n\r\n".into(), &[200]),
        ("two lengths", post("content-length: 7\r\ncontent-length: 9\r\n", "1234567"), &[400]),
        ("two equal lengths", post("content-length: 7\r\ncontent-length: 7\r\n", "1234567"), &[400]),
        ("length and encoding", post("content-length: 7\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("encoding and length", post("transfer-encoding: chunked\r\ncontent-length: 7\r\n", "0\r\n\r\n"), &[400]),
        ("a signed length", post("content-length: +7\r\n", "1234567"), &[400]),
        ("a length of words", post("content-length: seven\r\n", "1234567"), &[400]),
        ("an unknown encoding", post("transfer-encoding: cow\r\n", "1234567"), &[400]),
        ("a space before the colon", post("content-length : 7\r\n", "1234567"), &[400]),
        ("a folded header", post("a: b\r\n c\r\n", ""), &[400]),
        ("two hosts", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\n\r\n".into(), &[400]),
        ("a foreign host", "GET /healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n".into(), &[403]),
        ("a header of 100 KB", format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\na: {long}\r\n\r\n"), &[431]),
        ("101 headers", format!("GET /healthz HTTP/1.1\r\n{many}\r\n"), &[431]),
        ("a long address", format!("GET /{long_uri} HTTP/1.1\r\nhost: localhost\r\n\r\n"), &[414]),
        ("no HTTP at all", "\u{16}\u{3}\u{1}hello\r\n\r\n".into(), &[400]),
        ("a compressed body", post("content-encoding: gzip\r\ncontent-length: 1\r\n", "x"), &[415]),
        ("a body that is too large", post("content-length: 99999999\r\nexpect: 100-continue\r\n", ""), &[413]),
        ("no route", "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &[404]),
        ("a wrong method", "DELETE /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), &[405]),
        (
            "two at once",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
            &[200, 200],
        ),
        (
            "a lie behind a truth",
            format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n{}",
                post("content-length: 1\r\ncontent-length: 1\r\n", "x")
            ),
            &[200, 400],
        ),
    ] {
        let answers = exchange(server.addr(), request.as_bytes());
        assert_eq!(statuses(&answers), expect, "{name}: {answers}");
    }
    server.stop(Duration::from_secs(5));
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /v1/send/x HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}")
}

#[test]
fn a_request_hidden_behind_a_refused_one_is_never_seen() {
    let server = server(|_| ());
    let hidden = "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answers =
        exchange(server.addr(), post("content-length: 5\r\ntransfer-encoding: chunked\r\n", hidden).as_bytes());
    assert_eq!(statuses(&answers), [400], "{answers}");
    server.stop(Duration::from_secs(5));
}

#[test]
fn a_chunked_body_is_read() {
    let server = server(|_| ());
    let body = "4\r\n{\"de\r\n4\r\n\": 1\r\n0\r\n\r\n";
    let headers = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let request = format!("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}");
    let answer = exchange(server.addr(), request.as_bytes());
    // What it says of the JSON shows that the chunks were joined.
    assert!(answer.contains("unknown field `de`"), "{answer}");
    server.stop(Duration::from_secs(5));
}

#[test]
fn idle_connections_hinder_nobody_and_are_closed() {
    let server = server(|_| ());
    let addr = server.addr();
    let good = Good::start(addr);
    let begun = Instant::now();
    let mut idle: Vec<TcpStream> = (0..pairs_at_most(1_000)).map(|_| connect(addr)).collect();
    let held = idle.iter().filter(|stream| is_held(stream)).count();
    assert!(begun.elapsed() > Duration::from_millis(HEAD_MS) || held == idle.len(), "{held} of {}", idle.len());
    wait_until_none(&mut idle, Duration::from_millis(HEAD_MS + 3_000));
    good.check();
    server.stop(Duration::from_secs(5));
}

#[test]
fn dripping_heads_are_cut_at_the_deadline() {
    let beginning = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n";
    drip(300, beginning, "a", Duration::from_millis(HEAD_MS));
}

#[test]
fn dripping_bodies_are_cut_at_the_deadline() {
    let beginning = post("content-length: 1000\r\n", "");
    drip(100, &beginning, "a", Duration::from_millis(BODY_MS));
}

/// Many connections that send a byte every 100 ms, and so never rest.
fn drip(count: usize, beginning: &str, byte: &str, deadline: Duration) {
    let server = server(|_| ());
    let addr = server.addr();
    let good = Good::start(addr);
    let begun = Instant::now();
    let mut streams: Vec<TcpStream> = (0..pairs_at_most(count)).map(|_| connect(addr)).collect();
    for stream in &mut streams {
        stream.write_all(beginning.as_bytes()).unwrap();
    }
    let opened = Instant::now();
    while opened.elapsed() < deadline / 2 {
        for stream in &mut streams {
            let _ = stream.write_all(byte.as_bytes());
        }
        // The pace of these clients; the loop has an end.
        std::thread::sleep(Duration::from_millis(100));
    }
    if begun.elapsed() < deadline {
        let held = streams.iter().filter(|stream| is_held(stream)).count();
        assert_eq!(held, streams.len(), "cut before the deadline");
    }
    let end = opened + deadline + Duration::from_secs(3);
    while !streams.is_empty() && Instant::now() < end {
        for stream in &mut streams {
            let _ = stream.write_all(byte.as_bytes());
        }
        // The pace of these clients; the loop has an end.
        std::thread::sleep(Duration::from_millis(100));
        streams.retain(is_held);
    }
    assert_eq!(streams.len(), 0, "held after {:?}", opened.elapsed());
    good.check();
    server.stop(Duration::from_secs(5));
}

fn wait_until_none(streams: &mut Vec<TcpStream>, limit: Duration) {
    let end = Instant::now() + limit;
    while !streams.is_empty() && Instant::now() < end {
        // The pace of these clients; the loop has an end.
        std::thread::sleep(Duration::from_millis(50));
        streams.retain(is_held);
    }
    assert_eq!(streams.len(), 0, "still held");
}

#[test]
fn who_reads_no_answers_is_cut() {
    let server = server(|_| ());
    let good = Good::start(server.addr());
    let mut stream = connect(server.addr());
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    // Until the answers fill every buffer on the way, and then on, until the server has had enough.
    let end = Instant::now() + Duration::from_secs(20);
    let mut cut = false;
    while !cut && Instant::now() < end {
        cut = match stream.write(&request) {
            Ok(_) => false,
            Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        };
    }
    assert!(cut, "the server still waits for the peer to read");
    good.check();
    server.stop(Duration::from_secs(5));
}

#[test]
fn a_rest_between_requests_is_longer_than_a_head_may_take() {
    let server = server(|config| config.idle_ms_max = 3_000);
    let mut stream = connect(server.addr());
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).unwrap();
    assert_eq!(statuses(&drain(&mut stream, Duration::from_millis(HEAD_MS + 500))), [200]);
    stream.write_all(request).unwrap();
    assert_eq!(statuses(&drain(&mut stream, Duration::from_millis(300))), [200]);
    wait_until_none(&mut vec![stream], Duration::from_secs(6));
    server.stop(Duration::from_secs(5));
}

#[test]
fn who_is_beyond_the_cap_hears_so_and_room_is_given_back() {
    let server = server(|config| config.connections_max = 8);
    let addr = server.addr();
    let mut inside: Vec<TcpStream> = (0..8).map(|_| connect(addr)).collect();
    // Each has been answered once, so that all are surely inside.
    for stream in &mut inside {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert_eq!(statuses(&drain(stream, Duration::from_millis(200))), [200]);
    }
    assert_eq!(statuses(&drain(&mut connect(addr), Duration::from_secs(2))), [503]);
    drop(inside);
    let end = Instant::now() + Duration::from_secs(5);
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    while statuses(&exchange(addr, request)) != [200] {
        assert!(Instant::now() < end, "no room was given back");
    }
    server.stop(Duration::from_secs(5));
}

#[test]
fn a_stop_is_not_held_up_by_those_who_rest_or_drip() {
    let server = server(|config| config.head_ms_max = 60_000);
    let addr = server.addr();
    let mut resting = connect(addr);
    resting.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(statuses(&drain(&mut resting, Duration::from_millis(200))), [200]);
    let mut dripping = connect(addr);
    dripping.write_all(b"GET /healthz HT").unwrap();
    let begun = Instant::now();
    server.stop(Duration::from_secs(2));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(!is_held(&resting));
    assert!(TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err());
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let refused = start(engine(), ServerConfig::new(([0, 0, 0, 0], 0).into())).expect_err("no token");
    assert!(refused.to_string().contains("needs a token"), "{refused}");
}

#[test]
fn an_address_in_use_is_named() {
    let server = server(|_| ());
    let refused = start(engine(), ServerConfig::new(server.addr())).expect_err("in use");
    assert!(refused.to_string().contains("in use"), "{refused}");
    server.stop(Duration::from_secs(1));
}
