//! The binary and real TLS servers: `openssl s_server` on loopback, with certificates made for the test.
//!
//! Shared by the harnesses of TLS. Knows nothing of what is right and what is not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::ask;

const PATIENCE: Duration = Duration::from_secs(20);
const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
/// What a message ends with.
pub const BODY: &str = "the body that must not leak";
/// An answer that says yes.
pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A child that is ended by its pid.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of a scenario.
pub struct Server {
    pub port: u16,
    /// Ended when it is dropped.
    pub child: Option<Running>,
    /// What it read of the request.
    pub heard: JoinHandle<String>,
}

/// A directory with two authorities, `ca` and `other`; none, aloud, where there is no `openssl`.
pub fn authorities(test: &str) -> Option<tempfile::TempDir> {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: {test}: there is no openssl");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["ca", "other"] {
        // Also a certificate for this host that nobody else has signed.
        let own = format!("-keyout {name}.key -out {name}.pem -subj /CN={name} -days 30");
        openssl(dir.path(), &format!("req -x509 {EC} {own} -addext subjectAltName=DNS:localhost"));
    }
    Some(dir)
}

/// A certificate of this authority, for this host; `valid` is for `openssl ca`.
pub fn certificate(dir: &Path, name: &str, by: &str, host: &str, valid: &str) {
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

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("runs");
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
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

/// `openssl s_server` with this certificate, which takes nothing for a while after the first byte, answers, and is ended where `is_killed`.
pub fn tls_server(
    dir: &Path,
    name: &str,
    extra: &str,
    answer: &'static str,
    is_killed: bool,
    pause: Duration,
) -> Server {
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
        // Everything up to the end of the body, which a login ends with a brace; then it answers.
        while !all.ends_with(BODY) && !all.ends_with('}') {
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

/// A node of its own over this configuration, whose platform trusts this authority alone.
pub fn node(dir: &Path, config: &str, trusted: &str) -> (Running, u16) {
    let listen = free_port();
    let file = format!("{listen}.toml");
    std::fs::write(dir.join(&file), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(["serve", "--data", &format!("{listen}.data"), "--listen", &format!("127.0.0.1:{listen}")]);
    command.args(["--config", &file]).env("SSL_CERT_FILE", dir.join(trusted)).env("RUST_LOG", "off");
    let node = Running(command.current_dir(dir).stdout(Stdio::null()).spawn().expect("starts"));
    until("the node answers", || ask(listen, "GET", "/healthz", "", b"").filter(|(status, _)| *status == 200));
    (node, listen)
}

/// What became of one message: its first attempt.
pub fn tried(listen: u16, name: &str, body: &str) -> Value {
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
