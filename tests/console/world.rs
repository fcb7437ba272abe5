//! A node to look at: a server over the engine and the memory store, with destinations that behave in known ways.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::Message;
use goniec::config::{Role, Token};
use goniec::engine::{Cycle, Destination, Engine, Settings};
use goniec::model::policy::disposition;
use goniec::model::{Backoff, Failure, Outcome, Policy, Receipt, Retry, Sent};
use goniec::server::{Running, ServerConfig, start};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::transport::secret::Secret;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node that serves its console.
pub struct World {
    running: Option<Running>,
    port: u16,
}

impl World {
    /// Destinations: `shop` takes everything, `erp` refuses what has no customer, `courier` is down, `cycled` sends in its cycle, `mirror` refuses
    /// everything with the body as its answer, its words, and its name for the message.
    pub fn start(tokens: &[(&str, Role)]) -> World {
        let disk = MemoryDisk::new();
        let store = MemoryStore::open(&disk).expect("a store");
        let once_a_day = Some(Cycle::Every(86_400_000));
        let patient =
            Policy { retry: Retry { backoff: Backoff::Fixed(600_000), ..Retry::default() }, ..Policy::default() };
        let destinations = vec![
            Destination::new("shop", |_: &Message| ()),
            Destination::new("erp", |message: &Message| {
                match message.body().windows(8).any(|word| word == b"customer") {
                    true => Outcome::Delivered(Receipt {
                        status: Some(200),
                        remote_id: Some("R-4711".into()),
                        ..Receipt::default()
                    }),
                    false => refused(422, "the order has no customer", "{\"error\":\"no customer\"}"),
                }
            }),
            Destination {
                policy: patient,
                ..Destination::new("courier", |_: &Message| refused(500, "it is down", "down"))
            },
            Destination { only_in_cycles: true, cycle: once_a_day, ..Destination::new("cycled", |_: &Message| ()) },
            Destination::new("mirror", |message: &Message| {
                let text = String::from_utf8_lossy(message.body()).into_owned();
                refused(422, &text, &text)
            }),
        ];
        let engine = Engine::start(Arc::new(store), destinations, Settings::default(), Vec::new()).expect("an engine");
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
        config.destinations = engine.destinations().iter().map(ToString::to_string).collect();
        let token = |(name, role): &(&str, Role)| Token {
            name: (*name).into(),
            role: *role,
            secret: Secret::new(format!("{name}-secret")),
        };
        config.tokens = tokens.iter().map(token).collect();
        let running = start(engine, config).expect("a server");
        World { port: running.addr().port(), running: Some(running) }
    }

    /// The port of the node.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a page.
    pub fn page(&self, query: &str, hash: &str) -> String {
        format!("http://127.0.0.1:{}/console{query}{hash}", self.port)
    }

    /// A code that opens the console once.
    pub fn code(&self, name: &str, role: Role) -> String {
        self.running.as_ref().expect("it runs").one_time_code(name, role).expect("a code")
    }

    /// Calls the node; an answer in JSON, or null.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let given: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{given}content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        assert!(answer.starts_with(b"HTTP/1.1 2"), "{method} {path}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer[at + 4..]).unwrap_or(Value::Null)
    }

    /// Hands in an envelope; its id.
    pub fn hand_in(&self, envelope: &Value) -> String {
        let body = envelope.to_string();
        let said = self.call("POST", "/v1/messages", &[("content-type", "application/json")], body.as_bytes());
        said["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the message is in this state.
    pub fn until(&self, id: &str, state: &str) -> Value {
        let limit = Instant::now() + PATIENCE;
        loop {
            let shown = self.call("GET", &format!("/v1/messages/{id}"), &[], b"");
            if shown["state"] == state {
                return shown;
            }
            assert!(Instant::now() < limit, "{id} is not {state}: {shown}");
            std::thread::yield_now();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(Duration::ZERO);
        }
    }
}

fn refused(status: u16, detail: &str, answer: &str) -> Outcome {
    let (_, class) = disposition(status);
    let failure = Failure::new(class, Sent::Answered, detail);
    Outcome::Failed(Failure { status: Some(status), excerpt: Some(answer.to_owned()), ..failure })
}
