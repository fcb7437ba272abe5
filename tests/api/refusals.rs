//! What is refused whatever the route: wrong methods, wrong tokens, a node that is full, a disk that fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use goniec::engine::Settings;
use goniec::store::memory::DiskFault;

use super::harness::{Api, UNKNOWN};
use super::routes;

fn filled(path: &str) -> String {
    path.replace("{id}", UNKNOWN).replace("{destination}", "ok")
}

#[test]
fn what_no_route_has_is_refused() {
    let api = Api::start();
    let paths: BTreeSet<String> = routes().into_iter().map(|(_, path, _)| path).collect();
    for path in paths {
        let methods: BTreeSet<String> =
            routes().into_iter().filter(|(_, other, _)| *other == path).map(|(method, ..)| method).collect();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if !methods.contains(method) {
                let refused = api.call(method, &filled(&path), &[], b"").expect(405);
                let allow: BTreeSet<String> =
                    refused.header("allow").expect("allow").split(", ").map(str::to_owned).collect();
                assert_eq!(allow, methods, "{path}");
            }
        }
    }
    for path in ["/v1", "/v1/", "/v1/messages/", "/v1/bulks", "/nothing", "//"] {
        api.get(path).expect(404).says("GET / lists");
    }
    api.get(&format!("/{}", "x".repeat(5_000))).expect(414);
    api.call("POST", "/v1/send/ok", &[("origin", "http://evil.example")], b"x").expect(403);
}

#[test]
fn a_full_node_says_when_to_come_again() {
    let api = Api::with(Settings::default(), |config| config.bodies_bytes_max = 100);
    let refused = api.call("POST", "/v1/send/ok", &[], &[b'x'; 101]).expect(429);
    assert!(refused.header("retry-after").and_then(|after| after.parse::<u32>().ok()).is_some_and(|after| after > 0));
    api.call("POST", "/v1/send/ok", &[], &[b'x'; 100]).expect(202);
    assert_eq!(api.count(""), 1);
}

/// Whoever has proved nothing yet has a room of its own for bodies.
#[test]
fn strangers_take_no_room_from_those_who_were_let_in() {
    let api = Api::with(Settings::default(), |config| config.strangers_bytes_max = 100);
    let body = format!(r#"{{"id":"{}"}}"#, "k".repeat(100)).into_bytes();
    let order = ("x-topic", "order");
    let proved = [order, ("authorization", "Bearer source-secret")];
    api.call("POST", "/v1/in/open", &[order], &body).expect(429);
    api.call("POST", "/v1/in/closed", &proved, &body).expect(200);
    api.call("POST", "/v1/send/ok", &[], &body).expect(202);
    let none = Api::with(Settings::default(), |config| config.bodies_bytes_max = 100);
    none.call("POST", "/v1/send/ok", &[], &body).expect(429);
    none.call("POST", "/v1/in/closed", &proved, &body).expect(429);
    none.call("POST", "/v1/in/open", &[order], &body).expect(202);
}

#[test]
fn beyond_the_size_nothing_is_taken_and_everything_else_goes_on() {
    let api = Api::with(Settings { store_bytes_max: Some(1), ..Settings::default() }, |_| ());
    let kept = api.waiting("x");
    let limit = Instant::now() + Duration::from_secs(20);
    // The size is looked at from time to time, and so are we.
    let refused = loop {
        let answer = api.call("POST", "/v1/send/ok", &[], b"x");
        if answer.status != 202 {
            break answer.expect(507);
        }
        assert!(Instant::now() < limit, "still taken");
    };
    refused.says("size limit");
    assert!(refused.header("retry-after").is_some());
    api.get("/readyz").expect(507);
    api.get("/healthz").expect(200);
    api.get("/v1/messages").expect(200);
    api.post(&format!("/v1/messages/{kept}/cancel")).expect(200);
    api.call("DELETE", &format!("/v1/messages/{kept}"), &[], b"").expect(204);
    api.get("/v1/stats").expect(200);
}

#[test]
fn a_store_that_failed_takes_nothing_and_is_not_ready() {
    let api = Api::start();
    let kept = api.waiting("x");
    api.disk.fail_sync(0, DiskFault::Io);
    let refused = api.call("POST", "/v1/send/ok", &[], b"x").expect(503);
    assert!(refused.header("retry-after").is_some());
    api.call("POST", "/v1/send/ok", &[], b"x").expect(503);
    api.get("/readyz").expect(503);
    api.get("/healthz").expect(200);
    api.post(&format!("/v1/messages/{kept}/cancel")).expect(503);
}
