//! Transitions as server-sent events: those that match, in order, and the cut of a reader that falls behind.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::harness::Api;

/// Opens the stream, and reads up to its first line.
fn open(api: &Api, query: &str) -> BufReader<TcpStream> {
    let mut stream = api.connect();
    write!(stream, "GET /v1/events?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
    let mut from = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("goniec follows\n") {
        assert!(from.read_line(&mut head).expect("a line") > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    from
}

/// The data of the next event.
fn next(from: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(from.read_line(&mut line).expect("a line") > 0, "the events ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).expect("JSON");
        }
    }
}

/// `GET /v1/events`.
pub fn follow(api: &Api) {
    let mut all = open(api, "to=ok");
    let mut abandoned = open(api, "state=abandoned");
    let id = api.send("ok");
    let bad = api.send("bad");
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "delivered") {
        let event = next(&mut all);
        assert_eq!((&event["id"], &event["destination"]), (&id.as_str().into(), &"ok".into()));
        states.push(event["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states.first().map(String::as_str), Some("queued"), "{states:?}");
    let event = next(&mut abandoned);
    assert_eq!((&event["id"], &event["reason"]), (&bad.as_str().into(), &"rejected".into()));
    api.get("/v1/events?stat=failed").expect(400).says("Did you mean state?");
}

#[test]
fn a_reader_that_falls_behind_is_cut_and_told() {
    let api = Api::start();
    let mut behind = open(&api, "");
    let key = "k".repeat(200);
    let line = format!("{{\"destination\":\"ok\",\"key\":\"{key}\",\"not_before\":\"1h\",\"body\":1}}\n");
    let lines = line.repeat(10_000);
    // About 20 MB of events: more than the sockets and the server's buffer hold.
    for _ in 0..5 {
        api.call("POST", "/v1/messages", &[("content-type", "application/x-ndjson")], lines.as_bytes()).expect(202);
    }
    let (mut events, mut last, mut line) = (0, String::new(), String::new());
    while behind.read_line(&mut line).expect("a line") > 0 {
        if line.starts_with("event: ") {
            events += 1;
            last.clone_from(&line);
        }
        line.clear();
        if last.trim() == "event: cut" {
            break;
        }
    }
    assert_eq!(last.trim(), "event: cut", "after {events} events");
    assert!(events < 50_000, "{events} events: the control, it was cut before the end");
}
