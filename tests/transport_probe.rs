//! The question whether a message is there, over real connections: what is asked, what the answers mean, how long it takes.

#[expect(dead_code, reason = "the other tests of the transport use the rest of it")]
#[path = "common/peer.rs"]
mod peer;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::engine::{Destination, Settings, Turn};
use goniec::model::{
    Backoff, Class, Delivery, Failure, NodeTag, OnUncertain, Place, Policy, Retry, Sent, Stamp, State, WallMs,
};
use goniec::store::memory::MemoryStore;
use goniec::transport::answer::Presence;
use goniec::transport::http::{Http, Question};
use goniec::transport::secret::{Secret, Signing};
use goniec::transport::{Probed, Transport};
use goniec::{Id, Message};
use peer::Peer;

const LIMIT: Duration = Duration::from_secs(10);

fn message() -> Message {
    let draft = Message::to("shop").key("zamówienie/17").header("x-own", "1").body(&b"{\"n\":1}"[..]);
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, 2)),
        attempt: 2,
        revision: 1,
        content_type: Some("application/json".into()),
        envelope: draft.envelope.into(),
        body: draft.body,
    }
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn question(peer: &Peer, method: &str, path: &str, found: Option<&str>) -> Question {
    let presence = Presence::parse(found, None, Some(".body.no")).expect("filters");
    Question::parse(&format!("{method} {}", peer.url(path)), presence).expect("a question")
}

fn asking(peer: &Peer, path: &str, found: Option<&str>) -> Http {
    Http::post(&peer.url("/orders")).asks(question(peer, "GET", path, found))
}

fn unknown(probed: Probed) -> Failure {
    match probed {
        Probed::Unknown(failure) => failure,
        Probed::There(_) | Probed::Absent => panic!("it is known: {probed:?}"),
    }
}

#[test]
fn it_is_asked_with_what_the_destination_believes_and_nothing_of_the_message() {
    let peer = Peer::answering(answer("200 OK", "[]"));
    let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
    let http = asking(&peer, "/orders?ref={key}&of={id}", None)
        .header("x-shop", "7")
        .header("content-type", "application/json")
        .bearer(&Secret::new("token".into()))
        .sign(Signing::standard_webhooks(&[key]).expect("a key"));
    assert_eq!(http.probe(&message(), LIMIT), Probed::Absent);
    let request = peer.requests().remove(0);
    let head = request.head.to_ascii_lowercase();
    let id = message().id;
    assert!(head.starts_with(&format!("get /orders?ref=zam%c3%b3wienie%2f17&of={id} http/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nx-shop: 7\r\n") && head.contains("\r\nauthorization: bearer token\r\n"), "{head}");
    for absent in ["x-own", "content-type", "content-length", "webhook-", "idempotency-key", "goniec-"] {
        assert!(!head.contains(&format!("\r\n{absent}")), "{absent}: {head}");
    }
    assert_eq!(request.body, b"");
}

#[test]
fn an_answer_says_there_absent_or_nothing_that_tells() {
    let id = message().id.to_string();
    for (status, body, expect) in [
        ("200 OK", format!(r#"[{{"external_id":"{id}"}}]"#), "there"),
        ("200 OK", "[]".to_owned(), "absent"),
        ("200 OK", String::new(), "absent"),
        ("404 Not Found", "no".to_owned(), "absent"),
        ("410 Gone", String::new(), "rule"),
        ("200 OK", r#"{"orders":[]}"#.to_owned(), "rule"),
        ("503 Service Unavailable", "[]".to_owned(), "rate-limited"),
        ("302 Found", String::new(), "redirect"),
    ] {
        let peer = Peer::answering(answer(status, &body));
        let told = match asking(&peer, "/orders/{id}", None).probe(&message(), LIMIT) {
            Probed::There(receipt) => {
                assert_eq!(receipt.status, Some(200));
                "there"
            }
            Probed::Absent => "absent",
            Probed::Unknown(failure) => failure.class.name(),
        };
        assert_eq!(told, expect, "{status} {body}");
        assert_eq!(peer.requests().len(), 1, "no redirect is followed");
    }
}

#[test]
fn a_filter_finds_it_and_what_it_is_called() {
    let peer = Peer::answering(answer("200 OK", r#"{"total":1,"no":"ORD-17"}"#));
    match asking(&peer, "/orders?id={id}", Some(".body.total > 0")).probe(&message(), LIMIT) {
        Probed::There(receipt) => assert_eq!(receipt.remote_id.as_deref(), Some("ORD-17")),
        other @ (Probed::Absent | Probed::Unknown(_)) => panic!("{other:?}"),
    }
    let head = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n");
    let http = Http::post(&head.url("/")).asks(question(&head, "HEAD", "/o/{id}", Some(".status == 200")));
    assert!(matches!(http.probe(&message(), LIMIT), Probed::There(_)));
    let looks = Http::post(&head.url("/")).asks(question(&head, "HEAD", "/o/{id}", Some(".body.total > 0")));
    assert_eq!(unknown(looks.probe(&message(), LIMIT)).class, Class::Rule, "a HEAD has no body to look into");
}

#[test]
fn what_cannot_be_asked_is_unknown_and_says_why() {
    let peer = Peer::answering(answer("200 OK", "[]"));
    let kindless = asking(&peer, "/{id}/{type}", None).probe(&message(), LIMIT);
    assert!(unknown(kindless).detail.contains("has not what the question names it by"));
    for (key, path) in
        [("", "/orders/{key}"), ("..", "/orders/{key}"), (".", "/{key}/x?of={id}"), (".", "/orders/.{key}")]
    {
        let mut hostile = message();
        hostile.envelope = Message::to("shop").key(key).envelope.into();
        let failure = unknown(asking(&peer, path, Some("true")).probe(&hostile, LIMIT));
        assert_eq!((failure.class, failure.sent), (Class::Rule, Sent::No), "{key:?} {path}: {}", failure.detail);
    }
    assert_eq!(peer.connections(), 0);
    let cut = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\n\r\n");
    });
    assert_eq!(unknown(asking(&cut, "/{id}", None).probe(&message(), LIMIT)).class, Class::Rule, "no length was told");
    assert_eq!(unknown(Http::post(&peer.url("/")).probe(&message(), LIMIT)).class, Class::Other);
    let closed = Peer::answering("");
    let address = closed.url("/{id}");
    drop(closed);
    let gone = Question::parse(&format!("GET {address}"), Presence::default()).expect("a question");
    let failure = unknown(Http::post("http://127.0.0.1:9/").asks(gone).probe(&message(), LIMIT));
    assert_eq!(failure.class, Class::Connect, "{}", failure.detail);
}

#[test]
fn a_question_ends_by_its_own_deadline() {
    let peer = Peer::start(|line| {
        let _ = line.request();
        let _ = line.request();
    });
    let question = question(&peer, "GET", "/{id}", None).within(Duration::from_millis(50));
    let begun = Instant::now();
    let failure = unknown(Http::post(&peer.url("/")).asks(question).probe(&message(), LIMIT));
    assert_eq!(failure.class, Class::Timeout, "{}", failure.detail);
    assert!(begun.elapsed() < LIMIT, "it waited for the deadline of the attempt");
}

/// The whole of it: an order is taken and its answer lost, the shop is asked, and the order is there once.
#[test]
fn an_order_whose_answer_was_lost_is_found_and_not_sent_again() {
    let peer = Peer::start(|line| {
        while let Some(request) = line.request() {
            let Some(id) = request.head.strip_prefix("GET /orders?id=").and_then(|rest| rest.split(' ').next()) else {
                // The order is taken, and the connection breaks.
                return;
            };
            let body = format!(r#"{{"orders":[{{"ref":"{id}","no":"ORD-17"}}]}}"#);
            if line.stream.write_all(&answer("200 OK", &body)).is_err() {
                return;
            }
        }
    });
    let retry = Retry { backoff: Backoff::Fixed(1_000), jitter_permille: 0, attempts: 5 };
    let policy = Policy { retry, on_uncertain: OnUncertain::Probe };
    let http = asking(&peer, "/orders?id={id}", Some(".body.orders | length > 0"));
    let shop = Destination { policy, ..Destination::new("shop", http) };
    let at = |mono_ms| Stamp { wall: WallMs(1_790_000_000_000 + mono_ms), mono_ms };
    let store = Arc::new(MemoryStore::default());
    let mut turn = Turn::open(store, vec![shop], Settings::default(), Vec::new(), at(0)).expect("opens");
    let (give, take) = std::sync::mpsc::channel();
    turn.accept(vec![Message::to("shop").body(*b"{}")], Box::new(move |said| give.send(said).expect("listens")));
    turn.turn(at(0)).expect("turns");
    let id = take.try_recv().expect("answers").expect("accepts")[0];
    assert!(matches!(turn.show(id, at(0).wall).expect("shows").record.state, State::Failed(_)));
    turn.turn(at(1_000)).expect("turns");
    assert_eq!(turn.show(id, at(1_000).wall).expect("shows").record.state, State::Delivered);
    let methods: Vec<String> =
        peer.requests().iter().filter_map(|request| request.head.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(methods, ["POST", "GET"]);
    let attempts = turn.attempts(id).expect("reads");
    assert_eq!(attempts[0].outcome, Delivery::Uncertain);
    assert!(attempts[1].detail.starts_with("asked, the destination has the message"), "{}", attempts[1].detail);
}
