//! Answers judged by rules, over real connections: what is read, what it means, what it costs the connection.

#[expect(dead_code, reason = "the other tests of the transport use the rest of it")]
#[path = "common/peer.rs"]
mod peer;

use std::io::Write;
use std::time::{Duration, Instant};

use goniec::model::{Class, Delivery, Failure, NodeTag, Place, WallMs};
use goniec::transport::Transport;
use goniec::transport::answer::{Answers, Meaning, Rule};
use goniec::transport::http::Http;
use goniec::{Id, Message, Outcome};
use peer::Peer;

fn message() -> Message {
    let draft = Message::to("shop").key("order:17").content_type("application/json").body(&b"{\"n\":1}"[..]);
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, 2)),
        attempt: 1,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: draft.envelope.into(),
        body: draft.body,
    }
}

fn answer(status: &str, head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn success() -> Answers {
    let rule = Rule::parse(Some("2xx"), Some(".status == \"SUCCESS\""), None).expect("a rule");
    Answers::new()
        .rule(Meaning::Success, rule)
        .reason(".body.error")
        .expect("a filter")
        .remote_id(".body.id")
        .expect("a filter")
}

fn send(peer: &Peer, answers: Answers) -> Outcome {
    Http::post(&peer.url("/")).answers(answers).send(&message(), Duration::from_secs(10))
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Delivered(receipt) => panic!("delivered: {receipt:?}"),
    }
}

#[test]
fn a_yes_in_the_body_is_delivered_with_its_remote_id() {
    let peer = Peer::answering(answer("200 OK", "", r#"{"status":"SUCCESS","id":4711}"#));
    match send(&peer, success()) {
        Outcome::Delivered(receipt) => {
            assert_eq!((receipt.status, receipt.remote_id.as_deref()), (Some(200), Some("4711")));
        }
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

#[test]
fn a_no_in_the_body_is_told_in_the_words_of_the_destination() {
    let peer =
        Peer::answering(answer("200 OK", "retry-after: 7\r\n", r#"{"status":"ERROR","error":"no such product"}"#));
    let failure = failure(send(&peer, success()));
    assert_eq!((failure.delivery(), failure.class, failure.status), (Delivery::Retry, Class::Body, Some(200)));
    assert!(failure.detail.contains("answered 200 OK: no such product"), "{}", failure.detail);
    assert_eq!(failure.retry_after_ms, Some(7_000));
    assert!(failure.excerpt.expect("an excerpt").contains("ERROR"));
}

#[test]
fn without_rules_the_same_answer_is_a_yes() {
    let peer = Peer::answering(answer("200 OK", "", r#"{"status":"ERROR"}"#));
    assert!(matches!(send(&peer, Answers::new()), Outcome::Delivered(_)));
}

#[test]
fn a_body_beyond_the_limit_or_cut_off_is_uncertain_where_a_rule_needs_it() {
    let long = format!("{{\"status\":\"SUCCESS\",\"fill\":\"{}\"}}", "x".repeat(1 << 20));
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"status\":\"SUCC".to_vec();
    for bytes in [answer("200 OK", "", &long), cut] {
        let peer = Peer::start(move |line| {
            if line.request().is_some() {
                let _ = line.stream.write_all(&bytes);
            }
        });
        let failure = failure(send(&peer, success()));
        assert_eq!((failure.delivery(), failure.class), (Delivery::Uncertain, Class::Rule), "{}", failure.detail);
        let by_status = Rule::parse(Some("200"), None, None).expect("a rule");
        assert!(matches!(send(&peer, Answers::new().rule(Meaning::Success, by_status)), Outcome::Delivered(_)));
    }
}

#[test]
fn a_body_just_as_long_as_the_limit_is_read() {
    let frame = r#"{"status":"SUCCESS","id":1,"fill":""}"#.len();
    let body = format!(r#"{{"status":"SUCCESS","id":1,"fill":"{}"}}"#, "x".repeat((1 << 20) - frame));
    let peer = Peer::answering(answer("200 OK", "", &body));
    assert!(matches!(send(&peer, success()), Outcome::Delivered(_)));
}

#[test]
fn a_rule_that_would_run_for_ever_ends_the_attempt_soon() {
    let rule = Rule::parse(None, Some("last(range(1e12)) > 0"), None).expect("a rule");
    let peer = Peer::answering(answer("200 OK", "", "{}"));
    let begun = Instant::now();
    let failure = failure(send(&peer, Answers::new().rule(Meaning::Success, rule)));
    assert_eq!(failure.delivery(), Delivery::Uncertain);
    assert!(failure.detail.contains("steps"), "{}", failure.detail);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_connection_serves_on_after_a_rule_has_read_the_body() {
    let peer = Peer::answering(answer("200 OK", "", r#"{"status":"SUCCESS"}"#));
    let http = Http::post(&peer.url("/")).answers(success());
    for _ in 0..5 {
        assert!(matches!(http.send(&message(), Duration::from_secs(10)), Outcome::Delivered(_)));
    }
    assert_eq!(peer.connections(), 1);
}
