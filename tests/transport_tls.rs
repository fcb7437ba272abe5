//! The binary against real TLS servers: `openssl s_server` on loopback, with certificates made for the test, and peers that break a handshake off.
//!
//! What is not right ends the attempt as `tls` with the exact reason, and nothing of the message reaches the server. What breaks after the
//! handshake is uncertain. The control is a certificate that is right: the same message arrives. Skipped, aloud, where there is no `openssl`.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

#[path = "common/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tls::{BODY, OK, Server, authorities, certificate, tls_server, tried};

/// A peer that does this with each connection, once something has come.
fn raw_server(deed: impl Fn(&mut TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return String::new() };
        let mut bytes = [0; 4096];
        let many = stream.read(&mut bytes).unwrap_or(0);
        deed(&mut stream);
        String::from_utf8_lossy(&bytes[..many]).into_owned()
    });
    Server { port, child: None, heard }
}

fn reset(stream: &mut TcpStream) {
    socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Every scenario: its name, its server, and what its first attempt is: class, whether bytes left, and words of the reason.
fn scenarios(dir: &Path) -> Vec<(&'static str, Server, &'static str, &'static str, &'static str)> {
    let real = |name: &str, extra: &str| tls_server(dir, name, extra, OK, false, Duration::ZERO);
    let dying = |answer: &'static str| tls_server(dir, "right", "", answer, true, Duration::ZERO);
    vec![
        ("right", real("right", ""), "-", "answered", ""),
        ("right-1-2", real("right", "-tls1_2"), "-", "answered", ""),
        ("expired", real("expired", ""), "tls", "no", "expired"),
        ("not-yet", real("not-yet", ""), "tls", "no", "not valid yet"),
        ("elsewhere", real("elsewhere", ""), "tls", "no", "not valid for name"),
        ("unknown-ca", real("unknown", ""), "tls", "no", "UnknownIssuer"),
        ("self-signed", real("other", ""), "tls", "no", "invalid peer certificate"),
        ("old-version", real("right", "-tls1_1 -cipher DEFAULT@SECLEVEL=0"), "tls", "no", "ProtocolVersion"),
        ("plain-http", raw_server(|to| drop(to.write_all(OK.as_bytes()))), "tls", "no", "handshake"),
        ("closes-in-handshake", raw_server(|_| ()), "tls", "no", "handshake"),
        ("resets-in-handshake", raw_server(reset), "tls", "no", "handshake"),
        (
            "half-a-record",
            raw_server(|to| drop(to.write_all(b"\x16\x03\x03\x00\x40\x02\x00"))),
            "tls",
            "no",
            "handshake",
        ),
        (
            "an-alert",
            raw_server(|to| drop(to.write_all(b"\x15\x03\x03\x00\x02\x02\x28"))),
            "tls",
            "no",
            "HandshakeFailure",
        ),
        (
            "stalls",
            raw_server(|to| drop(to.read_to_end(&mut Vec::new()))),
            "tls",
            "no",
            "did not finish the TLS handshake within 5s",
        ),
        ("dies-before-the-answer", dying(""), "protocol", "maybe", "closed the connection"),
        ("dies-in-the-head", dying("HTTP/1.1 200 O"), "protocol", "maybe", "closed the connection"),
        ("dies-in-the-body", dying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"), "-", "answered", ""),
    ]
}

#[test]
fn what_is_not_right_is_named_and_nothing_leaves() {
    let Some(kept) = authorities("what_is_not_right_is_named_and_nothing_leaves") else { return };
    let dir = kept.path();
    certificate(dir, "right", "ca", "localhost", "-days 30");
    certificate(dir, "elsewhere", "ca", "shop.example", "-days 30");
    certificate(dir, "unknown", "other", "localhost", "-days 30");
    certificate(dir, "expired", "ca", "localhost", "-startdate 20200101000000Z -enddate 20210101000000Z");
    certificate(dir, "not-yet", "ca", "localhost", "-startdate 20480101000000Z -enddate 20490101000000Z");
    let scenarios = scenarios(dir);
    // Larger than every buffer on the way, to a server that has sent its session tickets and takes nothing for a while: those are no answer.
    let slow = tls_server(dir, "right", "", OK, false, Duration::from_millis(600));
    let mut ports: Vec<(&str, u16)> = scenarios.iter().map(|(name, server, ..)| (*name, server.port)).collect();
    ports.push(("slow", slow.port));
    let line = |(name, port): &(&str, u16)| format!("[destination.{name}]\nurl = 'https://localhost:{port}/in'\n");
    let destinations: String = ports.iter().map(line).collect();
    let (node, listen) = tls::node(dir, &format!("[server]\nbody_max = '16MiB'\n{destinations}"), "ca.pem");

    let attempts: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = scenarios.iter().map(|(name, ..)| scope.spawn(move || tried(listen, name, BODY))).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let large = format!("{}{BODY}", "x".repeat(12 << 20));
    let large_one = tried(listen, "slow", &large);
    drop(node);
    let mut wrong = Vec::new();
    for ((name, server, class, sent, words), attempt) in scenarios.into_iter().zip(attempts) {
        let detail = attempt["detail"].as_str().unwrap_or_default();
        let is_so =
            attempt["class"].as_str().unwrap_or("-") == class && attempt["sent"] == sent && detail.contains(words);
        drop(server.child);
        let heard = server.heard.join().unwrap();
        // In clear text it is heard by nobody, and where the handshake failed by nobody at all.
        if !is_so || heard.contains(BODY) != (sent != "no") {
            wrong.push(format!("{name}: heard {:?}: {attempt}", heard.len()));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    drop(slow.child);
    assert_eq!(large_one["outcome"], "delivered", "{large_one}");
    assert!(slow.heard.join().unwrap().ends_with(&large));
}

/// Holds every connection up for so long before the first byte goes on to `port`, as a slow network does.
fn held_up(port: u16, held: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let Ok((near, _)) = listener.accept() else { return };
        // The slow network itself.
        std::thread::sleep(held);
        let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || drop(std::io::copy(&mut back_from, &mut back_to)));
        let (mut from, mut to) = (near, far);
        drop(std::io::copy(&mut from, &mut to));
    });
    own
}

#[test]
fn the_time_of_a_handshake_is_no_wait_and_tickets_are_no_answer() {
    let Some(kept) = authorities("the_time_of_a_handshake_is_no_wait_and_tickets_are_no_answer") else { return };
    let dir = kept.path();
    certificate(dir, "right", "ca", "localhost", "-days 30");
    let (held, pause) = (Duration::from_millis(250), Duration::from_millis(600));
    // Its session tickets come at once, its answer does not.
    let server = tls_server(dir, "right", "", OK, false, pause);
    let port = held_up(server.port, held);
    let (node, listen) =
        tls::node(dir, &format!("[destination.shop]\nurl = 'https://localhost:{port}/in'\n"), "ca.pem");
    let attempt = tried(listen, "shop", BODY);
    drop((node, server.child));
    let phases = attempt["phases"].as_object().expect("a request");
    let names: Vec<&str> = phases.keys().map(String::as_str).collect();
    assert_eq!(names, ["connect_ms", "is_reused", "receive_ms", "send_ms", "tls_ms", "wait_ms"]);
    let least_ms = |time: Duration| time.as_secs_f64() * 1_000.0 * 63.0 / 64.0;
    for (phase, time) in [("tls_ms", held), ("wait_ms", pause)] {
        assert!(phases[phase].as_f64().unwrap() >= least_ms(time), "{phase} of {attempt}");
    }
    // The attempt's own length is the difference of two whole milliseconds.
    let whole_ms: f64 = phases.values().filter_map(Value::as_f64).sum();
    assert!(whole_ms <= attempt["duration_ms"].as_f64().unwrap() + 1.0, "{attempt}");
    assert_eq!((&attempt["outcome"], &phases["is_reused"]), (&"delivered".into(), &false.into()));
}
