//! A server over the engine and the memory store, and a client that holds every refusal against the form of a problem.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::{Alert, Channel, Cycle, Destination, Engine, Kind, LogLine, Rule, Settings};
use goniec::model::{Backoff, Class, Failure, Outcome, Policy, Receipt, Retry, Sent};
use goniec::server::{Running, ServerConfig, start};
use goniec::source::{Events, Items, Pick, Pull, PullRule, Route, Source, Sources, Tally};
use goniec::store::Pattern;
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::transport::filter::Filter;
use goniec::transport::http::{Address, Http};
use goniec::transport::secret::{Proof, Secret};
use goniec::{Message, model};
use serde_json::Value;

use super::described;

const PATIENCE: Duration = Duration::from_secs(20);

/// A valid id that names no message.
pub const UNKNOWN: &str = "019012f0-0000-7000-8000-000000000001";

/// A running server and what stands behind it.
pub struct Api {
    pub running: Running,
    pub disk: MemoryDisk,
    gate: Arc<(Mutex<bool>, Condvar)>,
    token: Option<&'static str>,
}

/// A channel that tells nobody.
struct Mute;

impl Channel for Mute {
    fn tell(&self, _: &Alert) -> Result<(), String> {
        Err("nobody listens".into())
    }

    fn name(&self) -> String {
        "mute".into()
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// `open` believes everybody, `closed` who bears a token, `journal` is asked; orders go to `ok`.
fn sources() -> Arc<Sources> {
    let source = |name: &str, proof: Proof, status: u16| Source {
        name: name.into(),
        proof,
        kind: Pick::Header("x-topic".into()),
        key: Some(Filter::parse(".id").expect("a filter")),
        version: None,
        delivery: Pick::Header("x-delivery".into()),
        headers: vec!["x-shop".into()],
        status,
        is_id_enough: false,
        spool: None,
        events: if name == "closed" { Events::None } else { Events::All },
        pings: false,
        is_stream: false,
        tally: Tally::default(),
    };
    let address = Address::parse("http://127.0.0.1:1/?since={cursor}").expect("an address");
    let rule = PullRule {
        begin: String::new(),
        cycle: Cycle::Every(60_000),
        items: Items::new(Filter::parse(".items[]").expect("a filter")),
        cursor: Filter::parse(".next").ok(),
        more: None,
        timeout: Duration::from_secs(1),
        ask_above: 10,
        memory: None,
        address,
    };
    let pull = Pull::new("journal", rule, Http::post("http://127.0.0.1:1/"));
    let closed = Proof::bearer(vec![Secret::new("source-secret".into())]);
    let to = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let route = |kind: &str, to| Route { from: None, kind: Some(Pattern::Exactly(kind.into())), when: None, to };
    Arc::new(Sources {
        sources: [
            source("open", Proof::none(), 202),
            source("closed", closed, 200),
            source("journal", Proof::none(), 202),
        ]
        .map(Arc::new)
        .into(),
        routes: vec![route("order", to(&["ok"])), route("both", to(&["ok", "bad"]))],
        pulls: vec![Arc::new(pull)],
        ..Sources::default()
    })
}

impl Api {
    pub fn start() -> Api {
        Api::with(Settings::default(), |_| ())
    }

    /// Destinations: `ok` takes everything, `bad` rejects everything, `down` fails everything, `slow` waits until the gate is opened, `cycled` fails the first
    /// time and tries again once a day.
    pub fn with(settings: Settings, adjust: impl FnOnce(&mut ServerConfig)) -> Api {
        Api::over(MemoryDisk::new(), settings, adjust)
    }

    /// The same over what this disk has.
    pub fn over(disk: MemoryDisk, settings: Settings, adjust: impl FnOnce(&mut ServerConfig)) -> Api {
        let store = MemoryStore::open(&disk).expect("a store");
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let waits = gate.clone();
        let slow = move |_: &Message| {
            let (open, changed) = &*waits;
            drop(changed.wait_timeout_while(open.lock().unwrap(), PATIENCE, |open| !*open).unwrap());
        };
        let policy = Policy {
            retry: Retry { backoff: Backoff::NextCycle, jitter_permille: 0, attempts: 20 },
            ..Policy::default()
        };
        let tries = AtomicU32::new(0);
        let fails_once = move |_: &Message| match tries.fetch_add(1, Ordering::SeqCst) {
            0 => Api::says(503),
            _ => Outcome::Delivered(Receipt::default()),
        };
        let destinations = vec![
            Destination::new("ok", |_: &Message| ()),
            Destination::new("bad", |_: &Message| Api::says(400)),
            Destination::new("down", |_: &Message| Api::says(503)),
            Destination::new("slow", slow),
            Destination { policy, cycle: Some(Cycle::Every(86_400_000)), ..Destination::new("cycled", fails_once) },
        ];
        let mute = Rule { kinds: vec![Kind::Damaged], ..Rule::all(Mute, 60_000) };
        let rules = vec![Rule::all(LogLine, 60_000), mute];
        let engine = Engine::start(Arc::new(store), destinations, settings, rules).expect("an engine");
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
        config.destinations = engine.destinations().iter().map(ToString::to_string).collect();
        config.sources = sources();
        adjust(&mut config);
        let token = config.tokens.first().map(|_| "operator-secret");
        Api { running: start(engine, config).expect("a server"), disk, gate, token }
    }

    fn says(status: u16) -> Outcome {
        let (_, class): (_, Class) = model::policy::disposition(status);
        let failure = Failure::new(class, Sent::Answered, format!("answered {status}"));
        Outcome::Failed(Failure { status: Some(status), ..failure })
    }

    /// Lets `slow` go on.
    pub fn open_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    /// Bears no token from here on.
    pub fn without_token(&mut self) {
        self.token = None;
    }

    /// Sends a request; a refusal must have the form of a problem, and the answer must be one that the interface tells of.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.call_plainly(method, path, headers, body);
        described::check(self, method, path, &answer);
        answer
    }

    /// The same, without a look at what the interface tells.
    pub fn call_plainly(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut stream = self.connect();
        stream.write_all(format!("{head}\r\n").as_bytes()).expect("a request");
        // The server may refuse before the whole body was written.
        let _ = stream.write_all(body);
        let answer = read(stream, method == "HEAD");
        if answer.status >= 400 && method != "HEAD" {
            answer.check_problem();
        }
        answer
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.running.addr()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str) -> Answer {
        self.call("POST", path, &[], b"")
    }

    /// Hands in one message that waits, and returns its id.
    pub fn waiting(&self, body: &str) -> String {
        let headers = [("goniec-not-before", "1h"), ("content-type", "text/plain")];
        self.call("POST", "/v1/send/ok", &headers, body.as_bytes()).expect(202).text("id")
    }

    /// Hands in one message.
    pub fn send(&self, destination: &str) -> String {
        self.call("POST", &format!("/v1/send/{destination}"), &[], b"x").expect(202).text("id")
    }

    /// Waits until the message is in this state.
    pub fn until(&self, id: &str, state: &str) -> Value {
        let limit = Instant::now() + PATIENCE;
        loop {
            let shown = self.get(&format!("/v1/messages/{id}")).expect(200).json();
            if shown["state"] == state {
                return shown;
            }
            assert!(Instant::now() < limit, "{id} is not {state}: {shown}");
            std::thread::yield_now();
        }
    }

    /// How many messages match.
    pub fn count(&self, query: &str) -> usize {
        let list = self.get(&format!("/v1/messages?limit=1000&{query}")).expect(200).json();
        list["messages"].as_array().unwrap().len()
    }
}

impl Answer {
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The body of an answer that is text.
    pub fn plain(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub fn text(&self, field: &str) -> String {
        self.json()[field].as_str().expect(field).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The detail and the hint of a refusal.
    pub fn says(&self, words: &str) -> &Answer {
        let body = String::from_utf8_lossy(&self.body);
        assert!(body.contains(words), "{words:?} in {body}");
        self
    }

    fn check_problem(&self) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{} {body}", self.status);
        let problem: Value = serde_json::from_slice(&self.body).expect("JSON");
        for field in ["type", "title", "detail", "hint"] {
            let text = problem[field].as_str().unwrap_or_default();
            assert!(!text.is_empty() && !text.contains('\n'), "{field} in {body}");
        }
        assert!(problem["type"].as_str().unwrap().starts_with("urn:goniec:problem:"), "{body}");
        assert_eq!(problem["status"], self.status, "{body}");
    }
}

/// The keys of an object.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn read(stream: TcpStream, is_head: bool) -> Answer {
    let mut from = BufReader::new(stream);
    let mut line = String::new();
    from.read_line(&mut line).expect("an answer");
    let status = line.split(' ').nth(1).expect("a status").parse().expect("a number");
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; if is_head { 0 } else { length }];
    std::io::Read::read_exact(&mut from, &mut body).expect("a body");
    Answer { status, headers, body }
}
