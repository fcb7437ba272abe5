//! A node with one destination, and what it serves to whoever scrapes it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::Message;
use goniec::engine::{Destination, Engine, Settings};
use goniec::model::{Class, Failure, Outcome, Receipt, Sent, WallMs};
use goniec::server::{ServerConfig, start};
use goniec::source::{Events, Pick, Source, Sources, Tally, Verdict};
use goniec::store::sled::{Options, SledStore};
use goniec::transport::secret::Proof;

const PATIENCE: Duration = Duration::from_secs(30);

/// A source of which something was taken.
fn source(name: &str) -> Sources {
    let source = Source {
        name: name.into(),
        proof: Proof::none(),
        kind: Pick::Nowhere,
        key: None,
        version: None,
        delivery: Pick::Nowhere,
        headers: Vec::new(),
        status: 200,
        is_id_enough: false,
        events: Events::None,
        pings: false,
        is_stream: false,
        spool: None,
        tally: Tally::default(),
    };
    source.tally.count(Verdict::Taken, WallMs(1_795_435_200_000));
    Sources { sources: vec![Arc::new(source)], ..Sources::default() }
}

/// `/metrics` of a node whose destination of this name took each message `yes` and refused the others, as soon as it knows of all.
pub fn metrics(name: &str, bodies: &[&'static str]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(&dir.path().join("data"), Options::default()).expect("a store");
    let says = |message: &Message| match message.body() {
        b"yes" => Outcome::Delivered(Receipt::default()),
        _ => Outcome::Failed(Failure::new(Class::Rejected, Sent::Answered, "no")),
    };
    let engine = Engine::start(Arc::new(store), vec![Destination::new(name, says)], Settings::default(), Vec::new());
    let engine = engine.expect("an engine");
    let drafts = bodies.iter().map(|body| Message::to(name).body(body.as_bytes().to_vec()));
    engine.accept_wait(drafts.collect()).expect("accepts");
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
    config.sources = Arc::new(source(name));
    let running = start(engine, config).expect("a server");
    let until = Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(running.addr()).expect("a connection");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        let (_, text) = answer.split_once("\r\n\r\n").expect("a body");
        let attempts = text.lines().filter(|line| line.starts_with("goniec_attempts_total{"));
        let done: usize = attempts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum();
        if done >= bodies.len() {
            return text.to_owned();
        }
        assert!(Instant::now() < until, "waited in vain: {text}");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(5));
    }
}
