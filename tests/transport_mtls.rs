//! The binary against a real TLS server that asks for a certificate of ours, and authorities that the configuration names: `openssl s_server` on
//! loopback, with certificates made for the test.
//!
//! What does not fit ends the attempt as `tls`, and nothing of the message reaches the server; with what fits the same message arrives. Skipped,
//! aloud, where there is no `openssl`.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

#[path = "common/tls.rs"]
mod tls;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tls::{BODY, OK, authorities, certificate, tls_server, tried};

/// What became of one message: its first attempt, and what the server read of it. The server is told `server`, the destination `destination`, in which
/// `PORT` is the server's; the platform trusts `trusted`.
fn attempt(dir: &Path, server: &str, destination: &str, trusted: &str) -> (Value, String) {
    let server = tls_server(dir, "server", &format!("-cert_chain ca.pem {server}"), OK, false, Duration::ZERO);
    let port = server.port.to_string();
    let rules = destination.replace("PORT", &port);
    let config = format!("[destination.tls]\nurl = \"https://localhost:{port}/in\"\n{rules}");
    let (node, listen) = tls::node(dir, &config, trusted);
    let first = tried(listen, "tls", BODY);
    drop(node);
    drop(server.child);
    (first, server.heard.join().unwrap())
}

#[test]
fn authorities_and_certificates_of_the_configuration_count() {
    let Some(kept) = authorities("authorities_and_certificates") else { return };
    let dir = kept.path();
    certificate(dir, "server", "ca", "localhost", "-days 30");
    certificate(dir, "client", "ca", "goniec", "-days 30");
    let demands = "-Verify 1 -verify_return_error -CAfile ca.pem";
    let known = "tls = { ca = \"ca.pem\", cert = \"client.pem\", key = { file = \"client.key\" } }";
    let unknown = "tls = { ca = \"ca.pem\", cert = \"other.pem\", key = { file = \"other.key\" } }";
    for (server, destination, arrives) in [
        ("", "tls = { ca = \"ca.pem\" }", true),
        ("", "", false),
        ("", "tls = { ca = \"other.pem\" }", false),
        (demands, known, true),
        (demands, "tls = { ca = \"ca.pem\" }", false),
        (demands, unknown, false),
    ] {
        let (attempt, heard) = attempt(dir, server, destination, "other.pem");
        assert_eq!(attempt["outcome"] == "delivered", arrives, "{server} {destination}: {attempt}");
        assert_eq!(heard.contains(BODY), arrives, "{server} {destination}: {heard}");
        if !arrives {
            let failed = (attempt["class"].as_str(), attempt["sent"].as_str());
            assert_eq!(failed, (Some("tls"), Some("no")), "{server} {destination}: {attempt}");
        }
    }
    // With the platform's trust alone the same server is one that is known: what `ca` says replaces it.
    assert_eq!(attempt(dir, "", "tls = { ca = \"other.pem\" }", "ca.pem").0["class"], "tls");
}

#[test]
fn a_login_believes_whom_its_destination_believes() {
    let Some(kept) = authorities("a_login_believes") else { return };
    let dir = kept.path();
    certificate(dir, "server", "ca", "localhost", "-days 30");
    let login = "auth = { session = { url = \"https://localhost:PORT/login\", body = { Password = { file = \"server.key\" } } } }";
    for (ca, heard_expected, words) in [("ca", true, "its answer sets no cookie"), ("other", false, "TLS handshake")] {
        let destination = format!("tls = {{ ca = \"{ca}.pem\" }}\n{login}");
        let (attempt, heard) = attempt(dir, "", &destination, "other.pem");
        assert_eq!((attempt["class"].as_str(), attempt["sent"].as_str()), (Some("auth"), Some("no")), "{attempt}");
        assert!(attempt["detail"].as_str().unwrap().contains(words), "{ca}: {attempt}");
        assert_eq!(heard.starts_with("POST /login "), heard_expected, "{ca}: {heard}");
    }
}
