//! A node of the real binary that compares, and the verbs that ask it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use goniec::transport::http::call;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Ended when dropped, by its own process id.
pub struct Node {
    _dir: TempDir,
    child: Child,
    url: String,
}

impl Node {
    pub fn serve(config: &str) -> Node {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("goniec.toml"), config).expect("writes");
        let mut child = Command::new(env!("CARGO_BIN_EXE_goniec"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(dir.path().join("goniec.toml"))
            .arg("--data")
            .arg(dir.path().join("data"))
            .env("RUST_LOG", "error")
            .env("PASSWORD", "secret-of-the-list")
            .env("STREAM_SECRET", "whsec_c2VjcmV0LW9mLXRoZS1zdHJlYW0tMDEyMzQ1Njc4OQ==")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("an output"));
        let first = out.lines().next().expect("a line").expect("text");
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        Node { _dir: dir, child, url: url.trim_end_matches(',').to_owned() }
    }

    /// The address of a path of it.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The status and the text of an answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let answer = call(method, &format!("{}{path}", self.url), headers, body.as_bytes(), PATIENCE).expect("answers");
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    pub fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask("GET", path, &[], "");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Runs a verb of the command line.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
        command.args(words).args(["--url", &self.url]).stdin(Stdio::null()).output().expect("runs")
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut(&Node) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < limit, "waited in vain: {what}");
            // The pace of a loop with a deadline.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
