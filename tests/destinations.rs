//! Destinations as a configuration describes them, over real connections: from the text of the file to what is kept of the answer.

#[expect(dead_code, reason = "the other tests of the transport use the rest of it")]
#[path = "common/peer.rs"]
mod peer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::config::{Config, Outside};
use goniec::engine::{Cause, Shown};
use goniec::model::{Abandoned, Attempt, Class, Delivery, Failed, Sent, State};
use goniec::store::Query;
use goniec::store::memory::MemoryStore;
use goniec::{Goniec, Message};
use peer::Peer;

const PATIENCE: Duration = Duration::from_secs(20);

struct Given(HashMap<&'static str, &'static str>);

impl Outside for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn variables(&self, _prefix: &str) -> Vec<String> {
        Vec::new()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("{path} is not there"))
    }
}

/// A node with the one destination `shop` that the lines describe.
fn node(peer: &Peer, lines: &str) -> (Goniec, Config) {
    let text = format!("[destination.shop]\nurl = \"{}\"\n{lines}", peer.url("/"));
    let outside = Given([("SECRET", "s3"), ("TOKEN", "r0")].into());
    let mut config = Config::parse(&text, "test.toml", &outside).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut opened = Goniec::over(Arc::new(MemoryStore::new()));
    for destination in std::mem::take(&mut config.destinations) {
        opened = opened.with(destination);
    }
    (opened.start().expect("starts"), config)
}

/// What became of one message, once its first attempt has ended.
fn sent(node: &Goniec, body: &str) -> (Shown, Attempt) {
    let id = node.send(Message::to("shop").content_type("application/json").body(body.as_bytes())).expect("is taken");
    let until = Instant::now() + PATIENCE;
    loop {
        let attempts = node.engine().attempts(id).expect("reads");
        if let Some(first) = attempts.first() {
            return (node.engine().show(id).expect("is there"), first.clone());
        }
        assert!(Instant::now() < until, "no attempt ended");
        // Polls until it is so; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// One attempt at a destination that is described so and answers so.
fn attempt(lines: &str, status: &str, body: &str) -> (Shown, Attempt) {
    let peer = Peer::answering(answer(status, body));
    let (node, _) = node(&peer, lines);
    let ended = sent(&node, r#"{"n":1}"#);
    node.shutdown(PATIENCE).expect("stops");
    ended
}

const RULES: &str = r#"
on_uncertain = "hold"
success = { status = "2xx", body = '.status == "OK"' }
[destination.shop.answers]
uncertain = { status = "2xx", body = '.status == "UNKNOWN"' }
retry = [ { body = '.status? == "BUSY"', class = "rate-limited" }, { status = "418", class = "server" } ]
reject = { status = "2xx", when = '.body.status == "BAD" and .headers["x-kind"] == null' }
already_there = true
reason = ".body.error"
remote_id = ".body.id"
"#;

#[test]
fn the_rules_of_a_configuration_decide_what_an_answer_means() {
    let (shown, first) = attempt(RULES, "200 OK", r#"{"status":"OK","id":4711}"#);
    assert_eq!((shown.record.state, shown.record.remote_id.as_deref()), (State::Delivered, Some("4711")));
    assert_eq!(first.remote_id.as_deref(), Some("4711"));

    let (_, first) = attempt(RULES, "200 OK", r#"{"status":"ERROR","error":"no such product"}"#);
    assert_eq!((first.outcome, first.class), (Delivery::Retry, Some(Class::Body)));
    assert!(first.detail.ends_with("answered 200 OK: no such product"), "{}", first.detail);

    let (_, first) = attempt(RULES, "200 OK", r#"{"status":"BUSY"}"#);
    assert_eq!((first.outcome, first.class), (Delivery::Retry, Some(Class::RateLimited)));
    let (_, first) = attempt(RULES, "418 Teapot", "");
    assert_eq!((first.outcome, first.class), (Delivery::Retry, Some(Class::Server)));

    let (shown, first) = attempt(RULES, "200 OK", r#"{"status":"BAD","error":"wrong size"}"#);
    assert_eq!(shown.record.state, State::Abandoned(Abandoned::Rejected));
    assert_eq!((first.outcome, first.class), (Delivery::Rejected, Some(Class::Rejected)));

    let (shown, first) = attempt(RULES, "200 OK", r#"{"status":"UNKNOWN"}"#);
    assert_eq!(shown.record.state, State::Failed(Failed::Held), "it waits for a person");
    assert_eq!((first.outcome, first.sent), (Delivery::Uncertain, Sent::Maybe));

    let (shown, _) = attempt(RULES, "409 Conflict", "");
    assert_eq!(shown.record.state, State::Delivered, "it is there already");
    let (shown, _) = attempt("", "409 Conflict", "");
    assert_ne!(shown.record.state, State::Delivered, "which is for the configuration to say");
}

#[test]
fn a_rule_that_fails_makes_the_attempt_uncertain() {
    let lines = "on_uncertain = \"hold\"\nsuccess = { body = '.items[0].ok' }";
    let (shown, first) = attempt(lines, "200 OK", r#"{"items":7}"#);
    assert_eq!(shown.record.state, State::Failed(Failed::Held));
    assert_eq!((first.outcome, first.class, first.sent), (Delivery::Uncertain, Some(Class::Rule), Sent::Maybe));
    assert!(first.detail.contains("the rule `.items[0].ok` failed on it"), "{}", first.detail);
    let (shown, _) = attempt(lines, "200 OK", r#"{"items":[{"ok":true}]}"#);
    assert_eq!(shown.record.state, State::Delivered);
}

#[test]
fn own_rules_come_before_those_of_a_preset() {
    let no = r#"{"status":"ERROR","error_code":"ERROR_BLOCKED_TOKEN","error_message":"blocked"}"#;
    let (_, first) = attempt("preset = \"baselinker\"", "200 OK", no);
    assert_eq!(first.class, Some(Class::RateLimited));
    let own = "preset = \"baselinker\"\nanswers = { retry = { body = '.status == \"ERROR\"', class = \"server\" } }";
    let (_, first) = attempt(own, "200 OK", no);
    assert_eq!(first.class, Some(Class::Server));
    assert!(first.detail.contains("ERROR_BLOCKED_TOKEN"), "the preset's reason stays: {}", first.detail);
}

#[test]
fn what_leaves_is_made_as_the_configuration_says_and_a_failure_is_told() {
    let peer = Peer::answering(answer("200 OK", ""));
    let lines = "body = { template = '<n>{{ body.n }}</n>', content_type = \"text/xml\" }\nhmac = { header = \"x-mac\", secret = { env = \"SECRET\" } }\nauth = { basic = { user = \"anna\", password = { env = \"SECRET\" } } }";
    let (node, _) = node(&peer, lines);
    let (shown, _) = sent(&node, r#"{"n":1}"#);
    assert_eq!(shown.record.state, State::Delivered);
    let request = peer.requests().remove(0);
    assert_eq!(request.body, b"<n>1</n>");
    for (name, value) in [("content-type", "text/xml"), ("authorization", "Basic YW5uYTpzMw==")] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.header("x-mac").map(str::len), Some(64));
    assert_eq!(&*node.body(shown.record.id).expect("a body"), br#"{"n":1}"#, "what was handed in stays");

    let (shown, first) = sent(&node, r#"{"m":1}"#);
    assert_eq!(shown.record.state, State::Abandoned(Abandoned::Rejected), "which is told to a person");
    assert_eq!((first.class, first.sent), (Some(Class::Template), Sent::No));
    assert!(first.detail.contains("undefined"), "{}", first.detail);
    assert_eq!(peer.requests().len(), 1);
    node.shutdown(PATIENCE).expect("stops");
}

#[test]
fn a_message_is_found_by_what_the_destination_calls_it() {
    let peer = Peer::answering(answer("200 OK", r#"{"id":"A-7"}"#));
    let (node, _) = node(&peer, "answers = { remote_id = \".body.id\" }");
    let (shown, _) = sent(&node, "{}");
    let found = |id: &str| {
        let query = Query { remote_id: Some(id.into()), limit: 10, ..Query::default() };
        node.engine().list(&query).expect("lists").messages.len()
    };
    assert_eq!((found("A-7"), found("A-"), found("a-7")), (1, 0, 0));
    assert_eq!(shown.record.remote_id.as_deref(), Some("A-7"));
    node.shutdown(PATIENCE).expect("stops");
}

#[test]
fn a_refresh_token_that_rotates_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let endpoint = Peer::answering(answer("200 OK", r#"{"access_token":"a","refresh_token":"r1"}"#));
    let shop = Peer::answering(answer("200 OK", ""));
    let lines = format!(
        "auth = {{ oauth = {{ url = \"{}\", client_id = \"me\", client_secret = {{ env = \"SECRET\" }}, grant = \"refresh-token\", refresh_token = {{ env = \"TOKEN\" }} }} }}",
        endpoint.url("/token")
    );
    for expected in ["r0", "r1"] {
        let (node, config) = node(&shop, &lines);
        config.shelf.open(dir.path().join("tokens"));
        assert_eq!(sent(&node, "{}").0.record.state, State::Delivered);
        node.shutdown(PATIENCE).expect("stops");
        let asked = endpoint.requests().pop().expect("a request");
        assert_eq!(String::from_utf8_lossy(&asked.body), format!("grant_type=refresh_token&refresh_token={expected}"));
    }
    // Where nobody says where tokens are kept, nothing is risked.
    let (node, _) = node(&shop, &lines);
    let (_, first) = sent(&node, "{}");
    assert_eq!((first.class, first.sent), (Some(Class::Auth), Sent::No));
    assert!(first.detail.contains("nobody has said where tokens are kept"), "{}", first.detail);
    assert_eq!(endpoint.requests().len(), 2);
    node.shutdown(PATIENCE).expect("stops");
}

#[test]
fn a_password_that_is_wrong_pauses_the_destination_and_costs_no_message_an_attempt() {
    let server = Peer::answering(answer("401 Unauthorized", r#"{"error":{"message":{"value":"Wrong user"}}}"#));
    let shop = Peer::answering(answer("200 OK", ""));
    let lines = format!(
        "concurrency = 1\nretry = {{ backoff = \"fixed\", delay = \"1ms\", attempts = 2 }}\nauth = {{ session = {{ url = \"{}\", body = {{ UserName = \"anna\", Password = {{ env = \"SECRET\" }} }} }} }}",
        server.url("/b1s/v1/Login")
    );
    let (node, _) = node(&shop, &lines);
    let (shown, first) = sent(&node, "{}");
    assert_eq!((first.class, first.sent), (Some(Class::Auth), Sent::No));
    assert!(
        first.detail.ends_with(r#"it answered 401: {"error":{"message":{"value":"Wrong user"}}}"#),
        "{}",
        first.detail
    );
    let until = Instant::now() + PATIENCE;
    let pause = loop {
        let lanes = node.engine().lanes();
        if let Some(pause) = lanes.into_iter().find(|lane| &*lane.name == "shop").and_then(|lane| lane.pause) {
            break pause;
        }
        assert!(Instant::now() < until, "it is never paused");
        // Polls until it is so; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(pause.cause, Cause::SetUp);
    let asked = server.requests();
    assert_eq!((asked.len(), shop.connections()), (5, 0));
    assert_eq!(asked[0].body, br#"{"Password":"s3","UserName":"anna"}"#);
    assert_ne!(
        node.engine().show(shown.record.id).expect("is there").record.state,
        State::Abandoned(Abandoned::Exhausted)
    );
    node.shutdown(PATIENCE).expect("stops");
}
