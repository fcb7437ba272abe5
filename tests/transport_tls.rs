//! The binary against real TLS servers: `openssl s_server` on loopback, with certificates made for the test, and peers that break a handshake off.
//!
//! What is not right ends the attempt as `tls` with the exact reason, and nothing of the message reaches the server. What breaks after the
//! handshake is uncertain. The control is a certificate that is right: the same message arrives. Skipped, aloud, where there is no `openssl`.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
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

const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// An authority, which is also a certificate for this host that nobody else has signed.
fn authority(dir: &Path, name: &str) {
    openssl(
        dir,
        &format!(
            "req -x509 {EC} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30 -addext subjectAltName=DNS:localhost"
        ),
    );
}

/// A certificate of this authority, for this host; `valid` is for `openssl ca`.
fn certificate(dir: &Path, name: &str, by: &str, host: &str, valid: &str) {
    let ext = format!("subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:false\n");
    std::fs::write(dir.join(format!("{name}.ext")), ext).unwrap();
    std::fs::write(dir.join(format!("{name}.index")), "").unwrap();
    let config = format!(
        "[ca]\ndefault_ca=own\n[own]\ndatabase={name}.index\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    );
    std::fs::write(dir.join(format!("{name}.conf")), config).unwrap();
    openssl(dir, &format!("req -new {EC} -keyout {name}.key -out {name}.csr -subj /CN={host}"));
    openssl(
        dir,
        &format!(
            "ca -batch -notext -config {name}.conf -cert {by}.pem -keyfile {by}.key -in {name}.csr -out {name}.pem -extfile {name}.ext {valid}"
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

/// A server of a scenario.
struct Server {
    port: u16,
    /// Ended when it is dropped.
    child: Option<Running>,
    /// What it read of the request.
    heard: JoinHandle<String>,
}

/// `openssl s_server` with this certificate, which takes nothing for a while after the first byte, answers, and is ended where `is_killed`.
fn tls_server(dir: &Path, name: &str, extra: &str, answer: &'static str, is_killed: bool, pause: Duration) -> Server {
    let port = free_port();
    let child = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert", &format!("{name}.pem")])
        .args(["-key", &format!("{name}.key")])
        .args(extra.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut child = Running(child);
    let (mut answers, heard) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
    let pid = child.0.id().to_string();
    let heard = std::thread::spawn(move || {
        let mut heard = BufReader::new(heard);
        let mut all = String::new();
        // Everything up to the end of the body; then it answers.
        while !all.ends_with(BODY) {
            let mut byte = [0];
            match heard.read(&mut byte) {
                Ok(1) => all.push(char::from(byte[0])),
                _ => return all,
            }
            if all.len() == 1 {
                // A peer that takes nothing for a while: what it does not read, its socket does not take.
                std::thread::sleep(pause);
            }
        }
        let _ = answers.write_all(answer.as_bytes()).and_then(|()| answers.flush());
        if is_killed {
            // The server reads its input and sends it on; nothing tells when it has. What it has not sent by then only cuts the answer earlier.
            std::thread::sleep(Duration::from_millis(200));
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
        let _rest = heard.read_line(&mut String::new());
        all
    });
    until("the server listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    Server { port, child: Some(child), heard }
}

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

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

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

fn tried(listen: u16, name: &str, body: &str) -> Value {
    let (status, answer) = ask(listen, "POST", &format!("/v1/send/{name}"), "", body.as_bytes()).expect("answers");
    assert_eq!(status, 202);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let path = format!("/v1/messages/{}/attempts", answer["id"].as_str().unwrap());
    until(name, || {
        let (_, attempts) = ask(listen, "GET", &path, "", b"")?;
        let attempts: Value = serde_json::from_slice(&attempts).ok()?;
        attempts["attempts"].as_array()?.first().filter(|first| !first["outcome"].is_null()).cloned()
    })
}

/// A node that trusts our authority alone, with a destination for each of these ports.
fn node(dir: &Path, servers: &[(&str, u16)]) -> (Running, u16) {
    let listen = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(["serve", "--data", "data", "--listen", &format!("127.0.0.1:{listen}")]);
    for (name, port) in servers {
        command.args(["--to", &format!("{name}=https://localhost:{port}/in")]);
    }
    command.env("SSL_CERT_FILE", dir.join("ca.pem")).env("GONIEC_SERVER_BODY_MAX", "16MiB").env("RUST_LOG", "off");
    let node = Running(command.current_dir(dir).stdout(Stdio::null()).spawn().expect("starts"));
    until("the node answers", || ask(listen, "GET", "/healthz", "", b"").filter(|(status, _)| *status == 200));
    (node, listen)
}

#[test]
fn what_is_not_right_is_named_and_nothing_leaves() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: what_is_not_right_is_named_and_nothing_leaves: there is no openssl");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for name in ["ca", "other"] {
        authority(dir, name);
    }
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
    let (node, listen) = node(dir, &ports);

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
