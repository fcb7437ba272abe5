//! Peers that fail on the way: what the outcome says of whether the message may have reached them.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goniec::model::{Class, Sent};
use goniec::transport::Transport;
use goniec::transport::http::Http;

use super::peer::{Line, Peer};
use super::{OK, PATIENCE, big, check, delivered, failed, order};

#[test]
fn who_refuses_the_connection_surely_has_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let failure = failed(Http::post(&format!("http://{free}/")).send(&order(), PATIENCE));
    check(&failure, Class::Connect, Sent::No, "refused the connection");
}

#[test]
fn a_name_that_does_not_resolve_surely_has_nothing() {
    let failure = failed(Http::post("http://no-such-host.invalid/").send(&order(), PATIENCE));
    assert_eq!((failure.class, failure.sent), (Class::Dns, Sent::No), "{failure:?}");
    assert!(failure.detail.contains("no-such-host.invalid does not resolve"), "{failure:?}");
}

#[test]
fn a_peer_that_takes_no_connection_in_time_surely_has_nothing() {
    // A listener whose queue is full answers no more SYN; the queue of one connection is filled first.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket().expect("an address");
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue never fills");
    }
    let http = Http::post(&format!("http://{address}/")).connect_within(Duration::from_millis(300));
    let begun = Instant::now();
    let failure = failed(http.send(&order(), PATIENCE));
    check(&failure, Class::Connect, Sent::No, "took no connection within 300ms");
    assert!(begun.elapsed() < Duration::from_millis(550), "{:?}", begun.elapsed());
}

#[test]
fn what_speaks_no_tls_surely_has_nothing() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let peer = Peer::start(move |line| {
            line.wait_for_bytes();
            line.send(answer);
        });
        let failure = failed(Http::post(&format!("https://{}/", peer.address())).send(&order(), PATIENCE));
        check(&failure, Class::Tls, Sent::No, "failed the TLS handshake");
    }
}

#[test]
fn a_handshake_that_hangs_ends_with_the_time_to_connect() {
    let peer = Peer::start(|line| line.hold(PATIENCE));
    let http = Http::post(&format!("https://{}/", peer.address())).connect_within(Duration::from_millis(300));
    let begun = Instant::now();
    let failure = failed(http.send(&order(), PATIENCE));
    check(&failure, Class::Tls, Sent::No, "did not finish the TLS handshake within 300ms");
    assert!(begun.elapsed() < Duration::from_millis(550), "{:?}", begun.elapsed());
}

#[test]
fn a_reset_at_any_time_after_the_request_began_to_leave_may_have_left_it_there() {
    // Each peer resets at another moment: request unread, head read, half the body read, all read.
    let moments: [fn(&mut Line); 4] = [
        |line| line.wait_for_bytes(),
        |line| drop(line.head()),
        |line| {
            line.head();
            line.wait_for_bytes();
        },
        |line| drop(line.request()),
    ];
    for (number, moment) in moments.into_iter().enumerate() {
        let peer = Peer::start(move |line| {
            moment(line);
            line.reset();
        });
        let failure = failed(Http::post(&peer.url("/")).send(&big(3 << 20), PATIENCE));
        assert_eq!((failure.class, failure.sent), (Class::Protocol, Sent::Maybe), "moment {number}: {failure:?}");
        assert!(failure.detail.contains("closed the connection before it answered"), "moment {number}: {failure:?}");
        assert_eq!(peer.connections(), 1, "moment {number}: nothing is sent twice");
    }
}

#[test]
fn a_peer_that_reads_all_and_closes_may_have_it() {
    let peer = Peer::start(|line| drop(line.request()));
    let failure = failed(Http::post(&peer.url("/")).send(&order(), PATIENCE));
    check(&failure, Class::Protocol, Sent::Maybe, "closed the connection before it answered");
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn a_peer_that_hangs_is_left_at_the_deadline() {
    for deadline in [Duration::from_millis(150), Duration::from_millis(600)] {
        let peer = Peer::start(|line| {
            line.request();
            line.hold(PATIENCE);
        });
        let begun = Instant::now();
        let failure = failed(Http::post(&peer.url("/")).send(&order(), deadline));
        check(&failure, Class::Timeout, Sent::Maybe, &format!("did not answer within {}ms", deadline.as_millis()));
        let took = begun.elapsed();
        assert!(took >= deadline && took < deadline + Duration::from_millis(250), "{took:?} of {deadline:?}");
    }
}

#[test]
fn a_peer_that_takes_no_body_is_left_at_the_deadline() {
    let peer = Peer::start(|line| {
        line.head();
        // The slowness of this peer is what is tested, or the pace of a loop with an end.
        std::thread::sleep(Duration::from_secs(1));
    });
    let begun = Instant::now();
    let failure = failed(Http::post(&peer.url("/")).send(&big(16 << 20), Duration::from_millis(400)));
    check(&failure, Class::Timeout, Sent::Maybe, "within 400ms");
    assert!(begun.elapsed() < Duration::from_millis(650), "{:?}", begun.elapsed());
}

#[test]
fn a_head_that_drips_is_left_at_the_deadline() {
    let peer = Peer::start(|line| {
        line.request();
        for byte in OK.bytes().cycle().take(500) {
            if !line.send([byte]) {
                return;
            }
            // The slowness of this peer is what is tested, or the pace of a loop with an end.
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    let begun = Instant::now();
    let failure = failed(Http::post(&peer.url("/")).send(&order(), Duration::from_millis(400)));
    check(&failure, Class::Timeout, Sent::Maybe, "did not finish its answer within 400ms");
    assert!(begun.elapsed() < Duration::from_millis(650), "{:?}", begun.elapsed());
}

#[test]
fn a_body_that_drips_or_never_ends_changes_nothing_of_what_the_head_said() {
    let drips = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while line.send("x") {
            // The slowness of this peer is what is tested, or the pace of a loop with an end.
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    let begun = Instant::now();
    assert_eq!(delivered(Http::post(&drips.url("/")).send(&order(), Duration::from_millis(400))), 200);
    assert!(begun.elapsed() < Duration::from_millis(650), "{:?}", begun.elapsed());

    let endless = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 500 Broken\r\ntransfer-encoding: chunked\r\n\r\n");
        while line.send("400\r\n") && line.send([b'y'; 0x400]) && line.send("\r\n") {}
    });
    let begun = Instant::now();
    let failure = failed(Http::post(&endless.url("/")).send(&order(), PATIENCE));
    assert_eq!((failure.status, failure.sent), (Some(500), Sent::Answered));
    assert_eq!(failure.excerpt.expect("an excerpt").len(), goniec::transport::http::EXCERPT_BYTES_MAX);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_body_that_breaks_off_changes_nothing_of_what_the_head_said() {
    let peer = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 503 Busy\r\ncontent-length: 1000\r\n\r\nhalf");
    });
    let failure = failed(Http::post(&peer.url("/")).send(&order(), PATIENCE));
    check(&failure, Class::RateLimited, Sent::Answered, "answered 503 Service Unavailable");
    assert_eq!(failure.excerpt.as_deref(), Some("half"));
}

#[test]
fn what_is_not_http_is_uncertain_and_told() {
    for (garbage, words) in [
        ("SSH-2.0-OpenSSH_9.9\r\n", "answered with what is not HTTP"),
        ("\0\0\0\0\0\0\0\0\0\0", "answered with what is not HTTP"),
        ("HTTP/1.1 200 OK\r\nbroken header\r\n\r\n", "answered with what is not HTTP"),
        ("HTTP/1.1 20", "closed the connection in the middle of its answer"),
    ] {
        let peer = Peer::start(move |line| {
            line.request();
            line.send(garbage);
        });
        let failure = failed(Http::post(&peer.url("/")).send(&order(), PATIENCE));
        check(&failure, Class::Protocol, Sent::Maybe, words);
    }
}

#[test]
fn a_huge_head_is_cut_off() {
    let peer = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nx: ");
        while line.send([b'x'; 4096]) {}
    });
    let failure = failed(Http::post(&peer.url("/")).send(&order(), PATIENCE));
    check(&failure, Class::Protocol, Sent::Maybe, "answered with a head of more than");
}

#[test]
fn a_chunk_size_that_never_ends_is_cut_off() {
    let poured = Arc::new(AtomicUsize::new(0));
    let count = poured.clone();
    let peer = Peer::start(move |line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while line.send([b'A'; 4096]) {
            count.fetch_add(4096, Ordering::SeqCst);
        }
    });
    // The head has said what became of the message; of the rest, no more is taken than a head may have, and what sockets hold.
    assert_eq!(delivered(Http::post(&peer.url("/")).send(&order(), PATIENCE)), 200);
    let bytes = poured.load(Ordering::SeqCst);
    assert!(bytes < 16 << 20, "{bytes} bytes were taken");
}
