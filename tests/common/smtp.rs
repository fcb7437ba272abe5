//! A real SMTP server as a child: `aiosmtpd` of PyPI, installed below the target folder by the ordinary client. And a node that sends mail.
//!
//! Knows nothing of what a mail should say.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use goniec::transport::http::call;
use serde_json::Value;

pub const PATIENCE: Duration = Duration::from_secs(90);

/// A child that is ended by its pid, without a chance to tidy up.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that takes mails.
pub struct MailServer {
    _child: Running,
    pub port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
}

/// A running node.
pub struct Node {
    _child: Running,
    pub url: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("smtp-python")
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder()).stdin(Stdio::null());
    python
}

/// Whether there is a server to be had; says aloud that the test is skipped where there is none.
pub fn is_there(test: &str) -> bool {
    static INSTALL: Once = Once::new();
    let runs = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let has = || runs(python().args(["-c", "import aiosmtpd.smtp"]));
    INSTALL.call_once(|| {
        if !has() {
            runs(python().args(["-m", "pip", "install", "-q", "--target"]).arg(folder()).arg("aiosmtpd"));
        }
    });
    let is_there = has();
    if !is_there {
        println!("SKIPPED: {test}: aiosmtpd cannot be installed with pip");
    }
    is_there
}

impl MailServer {
    /// A server of this manner.
    pub fn start(manner: &Value) -> MailServer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/server.py");
        let mut child = python()
            .arg(script)
            .arg(manner.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
        let mut next = move || serde_json::from_str::<Value>(&lines.next()?.ok()?).ok();
        let first = next().expect("a server that listens");
        let port = first["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let mails = Arc::new(Mutex::new(Vec::new()));
        let heard = mails.clone();
        std::thread::spawn(move || {
            while let Some(mail) = next() {
                heard.lock().expect("whole").push(mail);
            }
        });
        MailServer { _child: Running(child), port, mails }
    }

    /// What came until now. All of it is well-formed.
    pub fn mails(&self) -> Vec<Value> {
        let mails = self.mails.lock().expect("whole").clone();
        for mail in &mails {
            assert!(mail["wrong"].is_null() && mail["defects"] == Value::Array(Vec::new()), "{mail}");
            assert!(mail["longest"].as_u64() < Some(999) && mail["bare"] == 0, "{mail}");
            assert_eq!((&mail["parts"], &mail["type"]), (&false.into(), &"text/plain utf-8".into()), "{mail}");
        }
        mails
    }

    /// The first mail whose subject has this in it, waited for.
    pub fn mail(&self, subject: &str) -> Value {
        let mut found = None;
        until(subject, || {
            found = self.mails().into_iter().find(|mail| header(mail, "subject").contains(subject));
            found.is_some()
        });
        found.expect("a mail")
    }
}

/// A header of a mail, which stands there once; empty where it does not.
pub fn header(mail: &Value, name: &str) -> String {
    let pairs = mail["headers"].as_array().into_iter().flatten();
    let values: Vec<&str> = pairs
        .filter(|pair| pair[0].as_str().is_some_and(|own| own.eq_ignore_ascii_case(name)))
        .filter_map(|pair| pair[1].as_str())
        .collect();
    assert!(values.len() < 2, "{name} stands twice: {mail}");
    values.first().map(|value| (*value).to_owned()).unwrap_or_default()
}

impl Node {
    /// A node over `goniec.toml` in this directory. Its log goes to `log`, with everything in it where it is to be looked through.
    pub fn serve(dir: &Path, smtp_url: &str, level: &str) -> Node {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("a log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_goniec"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(dir.join("goniec.toml"))
            .arg("--data")
            .arg(dir.join("data"))
            .env("RUST_LOG", level)
            .env("SMTP_URL", smtp_url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("an output"));
        let first = out.lines().next().expect("a line").expect("text");
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        Node { _child: Running(child), url: url.trim_end_matches(',').to_owned() }
    }

    pub fn call(&self, method: &str, path: &str, body: &str) -> Value {
        let headers = [("content-type", "application/x-ndjson")];
        let answer =
            call(method, &format!("{}{path}", self.url), &headers, body.as_bytes(), PATIENCE).expect("an answer");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status < 300, "{method} {path}: {} {text}", answer.status);
        serde_json::from_str(&text).expect("JSON")
    }

    /// Tells by the first rule that it is a test: why nobody was told, or empty.
    pub fn test(&self) -> String {
        let came = self.call("POST", "/v1/alerts/1/test", "");
        assert_eq!(came["is_told"].as_bool(), Some(came["error"].is_null()), "{came}");
        came["error"].as_str().unwrap_or_default().to_owned()
    }

    /// How the first rule stands.
    pub fn rule(&self) -> Value {
        self.call("GET", "/v1/alerts", "")["rules"][0].clone()
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(20));
    }
}
