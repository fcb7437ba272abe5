//! A node of the real binary with sources, asked as a system and as a person would.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goniec::transport::http::call;
use serde_json::Value;
use tempfile::TempDir;

use super::peer::Peer;
use super::senders::SECRETS;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    dir: TempDir,
    child: Child,
    url: String,
}

/// A directory with a configuration and its secrets.
fn written(config: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let secrets = [("NEW", SECRETS[0]), ("OLD", SECRETS[1])];
    secrets.iter().for_each(|(name, secret)| std::fs::write(dir.path().join(name), secret).expect("writes"));
    configure(&dir, config);
    dir
}

fn configure(dir: &TempDir, config: &str) {
    let at = |name: &str| format!("file = \"{}\"", dir.path().join(name).display());
    let both = format!("[{{ {} }}, {{ {} }}]", at("BEARER"), at("OLDER"));
    std::fs::write(dir.path().join("BEARER"), "secret-of-the-new-days").expect("writes");
    std::fs::write(dir.path().join("OLDER"), "secret-of-the-old-days").expect("writes");
    let config = config.replace("{ file = \"SECRET\" }", &both);
    std::fs::write(dir.path().join("SHORT"), "fifteen bytes..").expect("writes");
    let config = config.replace("file = \"SHORT\"", &at("SHORT"));
    let config = config.replace("file = \"NEW\"", &at("NEW")).replace("file = \"OLD\"", &at("OLD"));
    std::fs::write(dir.path().join("goniec.toml"), config).expect("writes");
}

fn start(dir: &TempDir) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_goniec"))
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(dir.path().join("goniec.toml"))
        .arg("--data")
        .arg(dir.path().join("data"))
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let out = BufReader::new(child.stdout.take().expect("an output"));
    let first = out.lines().next().expect("a line").expect("text");
    let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
    (child, url.trim_end_matches(',').to_owned())
}

impl World {
    pub fn serve(config: &str) -> World {
        let dir = written(config);
        let (child, url) = start(&dir);
        World { dir, child, url }
    }

    /// Ends it by its process id without a chance to tidy up, and starts it again.
    pub fn kill_and_serve(&mut self) {
        self.child.kill().expect("ends");
        self.child.wait().expect("ended");
        (self.child, self.url) = start(&self.dir);
    }

    pub fn serve_again(&mut self, config: &str) {
        configure(&self.dir, config);
        self.kill_and_serve();
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The status and the text of the answer.
    pub fn post<V: AsRef<str>>(&self, path: &str, headers: &[(&str, V)], body: &[u8]) -> (u16, String) {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        self.ask("POST", path, &headers, body)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let answer = call(method, &format!("{}{path}", self.url), headers, body, PATIENCE).expect("an answer");
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask("GET", path, &[], b"");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    pub fn listed(&self, filter: &str) -> Vec<Value> {
        let filter = filter.replace(':', "%3A").replace(' ', "%20").replace('*', "%2A");
        self.json(&format!("/v1/messages?limit=1000&filter={filter}"))["messages"].as_array().expect("a list").clone()
    }

    /// The figure of this name and these labels; 0 where there is none.
    pub fn figure(&self, sample: &str) -> u64 {
        let (_, text) = self.ask("GET", "/metrics", &[], b"");
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    pub fn body(&self, message: &Value) -> String {
        self.ask("GET", &format!("/v1/messages/{}/body", message["id"].as_str().expect("an id")), &[], b"").1
    }

    pub fn attempts(&self, message: &Value) -> Vec<Value> {
        let id = message["id"].as_str().expect("an id");
        self.json(&format!("/v1/messages/{id}/attempts"))["attempts"].as_array().expect("a list").clone()
    }

    pub fn attempts_of(&self, id: &str) -> u64 {
        self.json(&format!("/v1/messages/{id}"))["attempts"].as_u64().expect("a number")
    }

    pub fn edit(&self, id: &str, body: &str) {
        let headers = [("if-match", "*"), ("content-type", "application/json")];
        let (status, said) = self.ask("PUT", &format!("/v1/messages/{id}/body?why=test"), &headers, body.as_bytes());
        assert_eq!(status, 200, "{said}");
    }

    /// Runs a verb of the command line against the node.
    pub fn run(&self, words: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
        let ended = command.args(words).args(["--url", &self.url]).stdin(Stdio::null()).output().expect("runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{words:?}: {said}");
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < limit, "waited in vain: {what}");
            // The pace of a loop with a deadline.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `check` says of a configuration.
pub fn check(config: &str) -> String {
    let dir = written(config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    let ended = command.args(["check", "--config"]).arg(dir.path().join("goniec.toml")).output().expect("runs");
    String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
}

/// A webhook that takes everything.
pub fn webhook() -> Peer {
    Peer::answering("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
}

/// A port that refuses.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("small")
}
