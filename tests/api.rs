//! Every call of the HTTP interface against a running server: its shapes, its statuses, and what it refuses.
//!
//! The server prints its own table of routes; a route without a test here fails the tests, and so does a test of a route that is gone.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "api/acts.rs"]
mod acts;
#[path = "api/after.rs"]
mod after;
#[path = "api/alerts.rs"]
mod alerts;
#[path = "api/bulk.rs"]
mod bulk;
#[path = "api/console.rs"]
mod console;
#[path = "api/described.rs"]
mod described;
#[path = "api/events.rs"]
mod events;
#[path = "api/harness.rs"]
mod harness;
#[path = "api/intake.rs"]
mod intake;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/machines.rs"]
mod machines;
#[path = "api/reads.rs"]
mod reads;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/sources.rs"]
mod sources;
#[path = "api/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;

use goniec::server::routes_table;
use harness::Api;

/// A test of one route.
type Case = fn(&Api);

/// The test of each route.
const CASES: [(&str, &str, Case); 56] = [
    ("GET", "/", reads::root),
    ("GET", "/healthz", reads::healthz),
    ("GET", "/readyz", reads::readyz),
    ("POST", "/v1/messages", intake::messages),
    ("POST", "/v1/send/{destination}", intake::send),
    ("POST", "/v1/in/{source}", intake::deliver),
    ("GET", "/v1/messages", reads::list),
    ("GET", "/v1/messages/{id}", reads::show),
    ("GET", "/v1/messages/{id}/body", reads::body),
    ("GET", "/v1/messages/{id}/attempts", reads::attempts),
    ("GET", "/v1/messages/{id}/revisions", reads::revisions),
    ("PUT", "/v1/messages/{id}/body", acts::edit),
    ("POST", "/v1/messages/{id}/resend", acts::resend),
    ("POST", "/v1/messages/{id}/cancel", acts::cancel),
    ("POST", "/v1/messages/{id}/hold", acts::hold),
    ("POST", "/v1/messages/{id}/release", acts::release),
    ("POST", "/v1/messages/{id}/resolve", acts::resolve),
    ("DELETE", "/v1/messages/{id}", acts::delete),
    ("GET", "/v1/stats", reads::stats),
    ("GET", "/v1/destinations", reads::destinations),
    ("GET", "/v1/streams", reads::streams),
    ("GET", "/v1/reconcile", reads::reconcile),
    ("GET", "/v1/reconcile/{name}", reads::reconcile_one),
    ("GET", "/v1/reconcile/{name}/lacking", reads::reconcile_lacking),
    ("POST", "/v1/reconcile/{name}/run", reads::reconcile_run),
    ("POST", "/v1/reconcile/{name}/queue", reads::reconcile_queue),
    ("POST", "/v1/destinations/{name}/pause", acts::pause),
    ("POST", "/v1/destinations/{name}/resume", acts::resume),
    ("POST", "/v1/destinations/{name}/cycle", acts::cycle),
    ("GET", "/v1/sources", sources::list),
    ("POST", "/v1/sources/{name}/run", sources::run),
    ("POST", "/v1/bulk", bulk::begin),
    ("GET", "/v1/bulk", bulk::jobs),
    ("GET", "/v1/bulk/{id}", bulk::job),
    ("DELETE", "/v1/bulk/{id}", bulk::cancel),
    ("GET", "/v1/incidents", bulk::incidents),
    ("GET", "/v1/incidents/{id}", bulk::incident),
    ("GET", "/v1/audit", bulk::audit),
    ("GET", "/v1/audit/verify", bulk::verify),
    ("GET", "/v1/alerts", alerts::list),
    ("POST", "/v1/alerts/{number}/test", alerts::test),
    ("GET", "/v1/events", events::follow),
    ("GET", "/v1/history", machines::history),
    ("GET", "/metrics", machines::metrics),
    ("GET", "/openapi.json", machines::document),
    ("GET", "/v1/keys", self::keys::list),
    ("GET", "/v1/keys/{destination}/{key}", self::keys::show),
    ("GET", "/v1/explain", self::keys::explain),
    ("POST", "/v1/login", console::login),
    ("POST", "/v1/logout", console::logout),
    ("GET", "/v1/me", console::me),
    ("GET", "/v1/tokens", tokens::list),
    ("POST", "/v1/tokens", tokens::new),
    ("DELETE", "/v1/tokens/{name}", tokens::revoke),
    ("GET", "/console", console::page),
    ("GET", "/console/{file}", console::files),
];

/// Method, path and right of every route that the server has.
pub fn routes() -> Vec<(String, String, String)> {
    let table = routes_table();
    let words = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words.map(|words| (words[0].clone(), words[1].clone(), words[2].clone())).collect()
}

#[test]
fn every_route_has_a_test_and_passes_it() {
    let served: BTreeSet<_> = routes().into_iter().map(|(method, path, _)| (method, path)).collect();
    let tested: BTreeSet<_> = CASES.iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
    assert_eq!(served, tested, "on the left what the server has, on the right what is tested");
    let api = Api::start();
    for (method, path, case) in CASES {
        println!("{method} {path}");
        case(&api);
    }
    // What was out while it was refused comes home all the same.
    let out = api.get("/v1/messages?to=slow").expect(200).json();
    api.open_gate();
    for message in out["messages"].as_array().unwrap() {
        api.until(message["id"].as_str().unwrap(), "delivered");
    }
}
