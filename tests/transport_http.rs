//! The HTTP transport against peers that behave, and peers that do not. Every outcome is compared whole: class, reach, status, words.

#[path = "transport_http/failing.rs"]
mod failing;
#[path = "common/peer.rs"]
mod peer;
#[path = "transport_http/phases.rs"]
mod phases;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goniec::model::policy::disposition;
use goniec::model::{Class, Delivery, Failure, NodeTag, Place, Sent, WallMs};
use goniec::transport::Transport;
use goniec::transport::http::{Client, Http, call};
use goniec::{Draft, Id, Message, Outcome};
use peer::Peer;

const PATIENCE: Duration = Duration::from_secs(5);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn message(draft: Draft) -> Message {
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, 2)),
        attempt: 3,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: Arc::new(draft.envelope),
        body: draft.body,
    }
}

fn order() -> Message {
    message(Message::to("erp").key("order:17").content_type("application/json").body(*b"{\"id\":17}"))
}

fn big(bytes: usize) -> Message {
    message(Message::to("erp").body(vec![b'x'; bytes]))
}

fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Delivered(receipt) => panic!("delivered: {receipt:?}"),
    }
}

fn delivered(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Delivered(receipt) => receipt.status.expect("a status"),
        Outcome::Failed(failure) => panic!("failed: {failure:?}"),
    }
}

#[track_caller]
fn check(failure: &Failure, class: Class, sent: Sent, words: &str) {
    assert_eq!((failure.class, failure.sent), (class, sent), "{failure:?}");
    assert!(failure.detail.contains(words), "{:?} does not say {words:?}", failure.detail);
    assert!(failure.detail.contains("127.0.0.1") || words.contains("URL"), "{:?} names no peer", failure.detail);
}

#[test]
fn a_message_arrives_with_its_headers_and_byte_for_byte() {
    let peer = Peer::answering(OK);
    let http = Http::post(&peer.url("/orders?x=1")).header("Authorization", "Bearer secret");
    let outcome = http.send(&order(), PATIENCE);
    assert_eq!(delivered(outcome), 200);
    let [request] = &peer.requests()[..] else { panic!("one request") };
    assert!(request.head.starts_with("POST /orders?x=1 HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.body, b"{\"id\":17}");
    for (name, value) in [
        ("host", peer.address().to_string().as_str()),
        ("content-length", "9"),
        ("content-type", "application/json"),
        ("authorization", "Bearer secret"),
        ("goniec-attempt", "3"),
        ("goniec-key", "order:17"),
        ("webhook-id", &order().id.to_string()),
        ("idempotency-key", &order().id.to_string()),
        ("user-agent", concat!("goniec/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}\n{}", request.head);
    }
    assert!(!format!("{http:?}").contains("secret"));
}

#[test]
fn the_length_of_a_body_does_not_matter() {
    let peer = Peer::answering(OK);
    let http = Http::post(&peer.url("/"));
    for bytes in [0, 1, 8 << 10, 48 << 10, (48 << 10) + 1, 3 << 20] {
        let sent = big(bytes);
        assert_eq!(delivered(http.send(&sent, PATIENCE)), 200);
        assert_eq!(peer.requests().last().expect("a request").body, &*sent.body, "{bytes} bytes");
    }
    assert_eq!(peer.connections(), 1, "the connection is kept");
}

#[test]
fn every_method_that_is_allowed_is_used_and_others_are_refused() {
    let peer = Peer::answering(OK);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(delivered(Http::post(&peer.url("/")).method(method).send(&order(), PATIENCE)), 200);
        assert!(peer.requests().last().expect("a request").head.starts_with(method));
    }
    assert!(Http::post(&peer.url("/")).method("GET").check().is_err());
}

#[test]
fn every_status_means_what_the_table_says() {
    for status in 200..=599_u16 {
        let has_body = !matches!(status, 204 | 304);
        let body = if has_body { "content-length: 2\r\n\r\nno" } else { "\r\n" };
        let peer = Peer::answering(format!("HTTP/1.1 {status} Some Words\r\n{body}"));
        let (delivery, class) = disposition(status);
        match Http::post(&peer.url("/")).send(&order(), PATIENCE) {
            Outcome::Delivered(receipt) => {
                assert_eq!((delivery, receipt.status), (Delivery::Delivered, Some(status)));
            }
            Outcome::Failed(failure) => {
                check(&failure, class, Sent::Answered, &format!("answered {status}"));
                assert_eq!((failure.status, failure.delivery()), (Some(status), delivery));
                assert_eq!(failure.excerpt.as_deref(), has_body.then_some("no"), "{status}");
            }
        }
    }
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    // 101 is the last answer of a connection that changes its protocol.
    for status in (100..=199).filter(|status| *status != 101) {
        let peer =
            Peer::answering(format!("HTTP/1.1 {status} Wait\r\n\r\nHTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(delivered(Http::post(&peer.url("/")).send(&order(), PATIENCE)), 201, "after {status}");
    }
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let target = Peer::answering(OK);
    let peer = Peer::answering(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        target.url("/there")
    ));
    let failure = failed(Http::post(&peer.url("/")).send(&order(), PATIENCE));
    check(
        &failure,
        Class::Redirect,
        Sent::Answered,
        &format!("a redirect, which is not followed, to {}", target.url("/there")),
    );
    assert_eq!(target.connections(), 0);
}

#[test]
fn a_destination_that_asks_for_time_is_heard() {
    for (value, expect) in [("7", Some(7_000)), ("soon", None), ("999999", Some(3_600_000))] {
        for status in [429, 503] {
            let answer = format!("HTTP/1.1 {status} Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
            let peer = Peer::answering(answer);
            let failure = failed(Http::post(&peer.url("/")).send(&order(), PATIENCE));
            check(&failure, Class::RateLimited, Sent::Answered, &format!("answered {status}"));
            assert_eq!(failure.retry_after_ms, expect, "{value}");
        }
    }
}

#[test]
fn old_and_careless_servers_are_understood() {
    for (answer, status) in [
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
        ("HTTP/1.1 200 OK\r\n\r\nno length, then closed", 200),
        ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 202),
    ] {
        let peer = Peer::start(move |line| {
            line.request();
            line.send(answer);
        });
        let http = Http::post(&peer.url("/"));
        for attempt in 1..=3 {
            assert_eq!(delivered(http.send(&order(), PATIENCE)), status, "{answer:?}");
            assert_eq!(peer.requests().len(), attempt);
            // A request that crosses with the close is truly uncertain; one after it must take a new connection.
            peer.wait_closed(attempt);
        }
    }
}

#[test]
fn an_answer_before_the_request_is_whole_is_heard() {
    // One peer closes after it answered, the other stays and reads no more.
    let closes = Peer::start(|line| {
        line.head();
        line.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig");
    });
    let stays = Peer::start(|line| {
        line.head();
        line.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
        // The slowness of this peer is what is tested, or the pace of a loop with an end.
        std::thread::sleep(Duration::from_secs(1));
    });
    for peer in [closes, stays] {
        let begun = Instant::now();
        let http = Http::post(&peer.url("/"));
        let failure = failed(http.send(&big(16 << 20), PATIENCE));
        check(&failure, Class::Rejected, Sent::Answered, "answered 413");
        assert_eq!(failure.excerpt.as_deref(), Some("big"));
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        let _ = http.send(&order(), Duration::from_millis(200));
        assert_eq!(peer.connections(), 2, "a connection with half a request is not used again");
    }
}

#[test]
fn a_kept_connection_that_the_peer_closed_is_noticed_and_nothing_is_sent_twice() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let peer = Peer::start(move |line| {
        line.request();
        line.send(OK);
        line.stream.shutdown(std::net::Shutdown::Both).expect("open until now");
        count.fetch_add(1, Ordering::SeqCst);
    });
    let http = Http::post(&peer.url("/"));
    for round in 1..=20 {
        assert_eq!(delivered(http.send(&order(), PATIENCE)), 200, "round {round}");
        let until = Instant::now() + PATIENCE;
        while closed.load(Ordering::SeqCst) < round {
            assert!(Instant::now() < until, "the peer never closed");
            std::thread::yield_now();
        }
    }
    assert_eq!((peer.requests().len(), peer.connections()), (20, 20));
}

#[test]
fn a_kept_connection_that_breaks_under_a_request_is_uncertain_and_not_tried_again() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let peer = Peer::start(move |line| {
        line.request();
        line.send(OK);
        count.fetch_add(1, Ordering::SeqCst);
        line.request();
        line.reset();
    });
    let http = Http::post(&peer.url("/"));
    assert_eq!(delivered(http.send(&order(), PATIENCE)), 200);
    let failure = failed(http.send(&order(), PATIENCE));
    check(&failure, Class::Protocol, Sent::Maybe, "closed the connection before it answered");
    assert_eq!((peer.connections(), peer.requests().len()), (1, 2), "one request each, none twice");
}

#[test]
fn connections_are_kept_for_as_many_as_send_at_once() {
    let peer = Peer::answering(OK);
    let http = Http::post(&peer.url("/"));
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(delivered(http.send(&order(), PATIENCE)), 200)));
            }
        });
    }
    assert_eq!(peer.requests().len(), 5 * 16 * 20);
    assert!(peer.connections() <= 16, "{} connections", peer.connections());
}

#[test]
fn a_shutdown_interrupts_what_is_out_and_refuses_the_rest() {
    let peer = Peer::start(|line| {
        line.request();
        line.hold(PATIENCE);
    });
    let http = Http::post(&peer.url("/"));
    std::thread::scope(|scope| {
        let out = scope.spawn(|| failed(http.send(&order(), PATIENCE)));
        let until = Instant::now() + PATIENCE;
        while peer.requests().is_empty() {
            assert!(Instant::now() < until, "the request never came");
            // The slowness of this peer is what is tested, or the pace of a loop with an end.
            std::thread::sleep(Duration::from_millis(2));
        }
        let begun = Instant::now();
        http.shutdown();
        check(&out.join().expect("no panic"), Class::Interrupted, Sent::Maybe, "goniec stopped");
        assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
    });
    check(&failed(http.send(&order(), PATIENCE)), Class::Interrupted, Sent::No, "goniec stopped");
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn a_url_that_cannot_be_used_is_told_before_and_at_every_attempt() {
    for url in ["", "erp", "ftp://erp/x", "http://", "http://user:hunter2@erp/", "http://erp:0/", "http:///x", "/x"] {
        let http = Http::post(url);
        assert!(http.check().is_err(), "{url:?}");
        let failure = failed(http.send(&order(), PATIENCE));
        assert_eq!((failure.class, failure.sent), (Class::Setup, Sent::No), "{url:?}");
        assert!(!failure.detail.contains("hunter2"), "{failure:?}");
    }
    assert_eq!(Http::post("https://erp.example:8443/orders?a=b").check(), Ok(()));
    for name in ["host", "Content-Length", "webhook-id", "goniec-attempt", "x y"] {
        assert!(Http::post("http://erp/").header(name, "1").check().is_err(), "{name}");
    }
    assert!(Http::post("http://erp/").header("x", "a\r\nb").check().is_err());
}

#[test]
fn the_client_of_the_command_line_asks_and_reads() {
    let peer = Peer::answering("HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nnone");
    let answer = call("GET", &peer.url("/v1/x"), &[("authorization", "Bearer t")], &[], PATIENCE).expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (404, &b"none"[..]));
    assert!(answer.headers.contains(&("content-type".into(), "text/plain".into())));
    let [request] = &peer.requests()[..] else { panic!("one request") };
    assert!(request.head.starts_with("GET /v1/x HTTP/1.1") && request.header("content-length").is_none());

    let client = Client::new();
    for number in 0..3 {
        client.call("POST", &peer.url("/v1/y"), &[], format!("{number}").as_bytes(), PATIENCE).expect("an answer");
    }
    assert_eq!((peer.requests().len(), peer.connections()), (4, 2));

    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let failure = call("GET", &format!("http://{free}/"), &[], &[], PATIENCE).expect_err("nobody listens");
    check(&failure, Class::Connect, Sent::No, "refused the connection");
}

#[test]
fn the_client_reads_a_stream_as_it_comes() {
    use std::io::Read;
    let peer = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\n\r\nfirst\n");
        // The slowness of this peer is what is tested, or the pace of a loop with an end.
        std::thread::sleep(Duration::from_millis(300));
        line.send("second\n");
    });
    let mut stream = Client::new()
        .open("GET", &peer.url("/"), &[], Duration::from_millis(200), Duration::from_secs(2))
        .expect("an answer");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end");
    assert_eq!((stream.status, text.as_str()), (200, "first\nsecond\n"));
}
