//! The binary against a real TLS server that asks for a certificate of ours, and authorities that the configuration names: `openssl s_server` on
//! loopback, with certificates made for the test.
//!
//! What does not fit ends the attempt as `tls`, and nothing of the message reaches the server; with what fits the same message arrives. Skipped,
//! aloud, where there is no `openssl`.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use node::ask;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const BODY: &str = "the body that must not leak";

/// A child that is ended by its pid.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("runs");
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A certificate of an authority of ours, for this host, valid from `from` to `to` as openssl writes dates.
fn certificate(dir: &Path, name: &str, host: &str, dates: &str) {
    std::fs::write(dir.join("leaf.ext"), format!("subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:false\n"))
        .unwrap();
    openssl(
        dir,
        &format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={host}"
        ),
    );
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -extfile leaf.ext {dates}"
        ),
    );
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: waited in vain");
        // Polls until it is so; the loop has a deadline.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How the server and the node are set up beside the usual.
#[derive(Default)]
struct Setup<'a> {
    /// What the server is told, divided by blanks.
    server: &'a str,
    /// What the destination is told; `PORT` is the server's.
    destination: &'a str,
    /// Whom the platform trusts.
    trusted: Option<&'a Path>,
}

/// What became of one message: its first attempt, and what the server read of it.
fn attempt(dir: &Path, name: &str, body: &str, setup: &Setup<'_>) -> (Value, String) {
    let (tls, listen) = (free_port(), free_port());
    let server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{tls}"), "-cert", &format!("{name}.pem")])
        .args(["-key", &format!("{name}.key"), "-cert_chain", "ca.pem"])
        .args(setup.server.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut server = Running(server);
    let (mut answers, heard) = (server.0.stdin.take().unwrap(), server.0.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut heard = BufReader::new(heard);
        let mut all = String::new();
        // Everything up to the end of the body, which a login ends with a brace; then it answers.
        while !all.ends_with(BODY) && !all.ends_with('}') {
            let mut byte = [0];
            match heard.read(&mut byte) {
                Ok(1) => all.push(char::from(byte[0])),
                _ => return all,
            }
        }
        let _ = answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").and_then(|()| answers.flush());
        let _rest = heard.read_line(&mut String::new());
        all
    });
    until("the server listens", || TcpStream::connect(("127.0.0.1", tls)).ok());

    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(["serve", "--data", &format!("{name}.data"), "--listen", &format!("127.0.0.1:{listen}")]);
    let config = format!(
        "[destination.tls]\nurl = \"https://localhost:{tls}/in\"\n{}",
        setup.destination.replace("PORT", &tls.to_string())
    );
    std::fs::write(dir.join("goniec.toml"), config).unwrap();
    let nobody = dir.join("nobody.pem");
    command
        .args(["--config", "goniec.toml"])
        .env("SSL_CERT_FILE", setup.trusted.unwrap_or(&nobody))
        .env("RUST_LOG", "off");
    let node = Running(command.current_dir(dir).stdout(Stdio::null()).spawn().expect("starts"));
    until("the node answers", || ask(listen, "GET", "/healthz", "", b"").filter(|(status, _)| *status == 200));
    let (status, answer) = ask(listen, "POST", "/v1/send/tls", "", body.as_bytes()).expect("answers");
    assert_eq!(status, 202);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let path = format!("/v1/messages/{}/attempts", answer["id"].as_str().unwrap());
    let first = until("an attempt", || {
        let (_, attempts) = ask(listen, "GET", &path, "", b"")?;
        let attempts: Value = serde_json::from_slice(&attempts).ok()?;
        attempts["attempts"].as_array()?.first().filter(|first| !first["outcome"].is_null()).cloned()
    });
    drop(node);
    drop(server);
    (first, reader.join().unwrap())
}

/// A directory with two authorities; none where there is no `openssl`.
fn authorities(test: &str) -> Option<tempfile::TempDir> {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: {test}: there is no openssl");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    for authority in ["ca", "other"] {
        openssl(
            dir.path(),
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {authority}.key -out {authority}.pem -subj /CN={authority} -days 30"
            ),
        );
    }
    std::fs::copy(dir.path().join("other.pem"), dir.path().join("nobody.pem")).unwrap();
    Some(dir)
}

#[test]
fn authorities_and_certificates_of_the_configuration_count() {
    let Some(kept) = authorities("authorities_and_certificates") else { return };
    let dir = kept.path();
    certificate(dir, "server", "localhost", "-days 30");
    certificate(dir, "client", "goniec", "-days 30");
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
        let (attempt, heard) = attempt(dir, "server", BODY, &Setup { server, destination, ..Setup::default() });
        assert_eq!(attempt["outcome"] == "delivered", arrives, "{server} {destination}: {attempt}");
        assert_eq!(heard.contains(BODY), arrives, "{server} {destination}: {heard}");
        if !arrives {
            let failed = (attempt["class"].as_str(), attempt["sent"].as_str());
            assert_eq!(failed, (Some("tls"), Some("no")), "{server} {destination}: {attempt}");
        }
    }
    // With the platform's trust alone the same server is one that is known: what `ca` says replaces it.
    let ours = dir.join("ca.pem");
    let replaced = Setup { destination: "tls = { ca = \"other.pem\" }", trusted: Some(&ours), ..Setup::default() };
    assert_eq!(attempt(dir, "server", BODY, &replaced).0["class"], "tls");
}

#[test]
fn a_login_believes_whom_its_destination_believes() {
    let Some(kept) = authorities("a_login_believes") else { return };
    let dir = kept.path();
    certificate(dir, "server", "localhost", "-days 30");
    let login = "auth = { session = { url = \"https://localhost:PORT/login\", body = { Password = { file = \"server.key\" } } } }";
    for (ca, heard_expected, words) in [("ca", true, "its answer sets no cookie"), ("other", false, "TLS handshake")] {
        let destination = format!("tls = {{ ca = \"{ca}.pem\" }}\n{login}");
        let setup = Setup { destination: &destination, ..Setup::default() };
        let (attempt, heard) = attempt(dir, "server", BODY, &setup);
        assert_eq!((attempt["class"].as_str(), attempt["sent"].as_str()), (Some("auth"), Some("no")), "{attempt}");
        assert!(attempt["detail"].as_str().unwrap().contains(words), "{ca}: {attempt}");
        assert_eq!(heard.starts_with("POST /login "), heard_expected, "{ca}: {heard}");
    }
}
