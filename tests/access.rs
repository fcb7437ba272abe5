//! Who may do what, asked of the running binary: every route times every role times whatever a caller can bear, and the life of a token.
//!
//! The rights are those of `docs/http.md`, so that a route which opens to more than it says is found; what a role may do stands here once more.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const ROLES: [&str; 4] = ["producer", "viewer", "operator", "admin"];
/// What the console sends with a change.
const OURS: &str = "goniec-console: 1\r\nsec-fetch-site: same-origin\r\n";

/// The binary, serving.
struct Node {
    child: Child,
    addr: SocketAddr,
}

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Node {
    /// Serves at a port that the system chooses, and says where.
    fn serve(data: &Path, config: Option<&Path>) -> Node {
        let mut command = goniec(&["serve", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(data).env("RUST_LOG", "off").stdout(Stdio::piped()).stdin(Stdio::null());
        command.envs(ROLES.map(|role| (role.to_uppercase(), configured(role))));
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let mut child = command.spawn().expect("a node");
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).expect("a line");
        let (_, url) = first.split_once("http://").expect("an address");
        let addr = url.split(',').next().unwrap().parse().expect("an address");
        Node { child, addr }
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}");
        write!(stream, "{head}content-length: {length}\r\n\r\n{body}").expect("a request");
        let mut from = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(from.read_line(&mut head).expect("a head"), 0, "{method} {path}: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        from.read_exact(&mut body).expect("a body");
        Answer { status, head, body: String::from_utf8(body).expect("text") }
    }

    /// As the administrator of the configuration.
    fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, &bearing(&configured("admin")), body)
    }

    /// Makes a token by the interface.
    fn make(&self, name: &str, role: &str, expires: &str) -> String {
        let made = self.admin("POST", "/v1/tokens", &format!("{{\"name\":\"{name}\",\"role\":\"{role}\"{expires}}}"));
        assert_eq!(made.status, 201, "{}", made.body);
        json(&made.body)["token"].as_str().unwrap().to_owned()
    }

    /// Logs in, and gives the cookie as a header.
    fn enter(&self, token: &str) -> String {
        let entered = self.ask("POST", "/v1/login", "", &format!("{{\"token\":\"{token}\"}}"));
        assert_eq!(entered.status, 204, "{}", entered.body);
        let cookie = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
        format!("cookie: {}\r\n", cookie.split(';').next().unwrap())
    }

    /// The command line, with this token if any.
    fn run(&self, token: &str, words: &[&str]) -> Output {
        let mut command = goniec(words);
        command.env("GONIEC_URL", format!("http://{}", self.addr)).stdin(Stdio::null());
        if !token.is_empty() {
            command.env("GONIEC_TOKEN", token);
        }
        command.output().expect("it runs")
    }

    /// The same; it must end so, and what it printed where it must end well, else what it said.
    fn says(&self, token: &str, words: &[&str], code: i32) -> String {
        let output = self.run(token, words);
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said:?}");
        let [printed, complained] = said;
        if code == 0 { printed } else { complained }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn goniec(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(words).env_remove("GONIEC_TOKEN").env_remove("GONIEC_URL").env_remove("GONIEC_CONFIG");
    command
}

/// The token of this role in the configuration.
fn configured(role: &str) -> String {
    format!("{role} of the configuration")
}

fn bearing(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn config(dir: &Path) -> std::path::PathBuf {
    let token = |role: &str| {
        format!("{{ name = \"cfg-{role}\", role = \"{role}\", secret = {{ env = \"{}\" }} }}", role.to_uppercase())
    };
    let path = dir.join("goniec.toml");
    std::fs::write(&path, format!("[server]\ntokens = [ {} ]\n", ROLES.map(token).join(", "))).expect("a file");
    path
}

/// Method, path and right of every route, as the document promises them.
fn promised() -> Vec<(String, String, String)> {
    let page = include_str!("../docs/http.md");
    let lines = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let routes = lines.filter_map(|(call, rest)| {
        let (method, path) = call.split_once(" /")?;
        let right = rest.split(' ').next()?;
        let is_route = ["anyone", "source", "produce", "view", "operate", "admin"].contains(&right);
        is_route.then(|| (method.to_owned(), format!("/{path}"), right.to_owned()))
    });
    routes.collect()
}

/// What a caller can bear.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Borne {
    Nothing,
    /// What is no token at all.
    Malformed,
    Wrong,
    Configured,
    Kept,
    Expired,
    Revoked,
    /// The cookie of a session, with what the console sends.
    Session,
    /// The cookie alone.
    Cookie,
    /// The cookie of a session that was ended, with what the console sends.
    Ended,
    /// The cookie of a session whose token was revoked.
    Orphaned,
}

const BORNE: [Borne; 11] = [
    Borne::Nothing,
    Borne::Malformed,
    Borne::Wrong,
    Borne::Configured,
    Borne::Kept,
    Borne::Expired,
    Borne::Revoked,
    Borne::Session,
    Borne::Cookie,
    Borne::Ended,
    Borne::Orphaned,
];

/// The tokens of one role.
struct Held {
    role: &'static str,
    kept: String,
    expired: String,
    revoked: String,
    orphaned: String,
}

impl Held {
    fn of(node: &Node, role: &'static str) -> Held {
        let kept = node.make(&format!("kept-{role}"), role, "");
        let expired = node.make(&format!("expired-{role}"), role, ",\"expires\":\"500ms\"");
        let revoked = node.make(&format!("revoked-{role}"), role, "");
        let orphaned = node.enter(&revoked);
        let gone = node.admin("DELETE", &format!("/v1/tokens/revoked-{role}"), "");
        assert_eq!(gone.status, 204, "{}", gone.body);
        // The name is free, and what had it before stays revoked.
        node.make(&format!("revoked-{role}"), role, "");
        Held { role, kept, expired, revoked, orphaned }
    }

    /// The headers of one call.
    fn headers(&self, node: &Node, borne: Borne) -> String {
        match borne {
            Borne::Nothing => String::new(),
            Borne::Malformed => format!("authorization: Bearer{}\r\n", configured(self.role)),
            Borne::Wrong => bearing("gon_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
            Borne::Configured => bearing(&configured(self.role)),
            Borne::Kept => bearing(&self.kept),
            Borne::Expired => bearing(&self.expired),
            Borne::Revoked => bearing(&self.revoked),
            // A session of its own, because the call may end it.
            Borne::Session => node.enter(&self.kept) + OURS,
            Borne::Cookie => node.enter(&configured(self.role)),
            Borne::Ended => {
                let session = node.enter(&self.kept) + OURS;
                assert_eq!(node.ask("POST", "/v1/logout", &session, "").status, 204);
                session
            }
            Borne::Orphaned => format!("{}{OURS}", self.orphaned),
        }
    }
}

/// The one rule: whether the call is let in, and with what it is refused otherwise.
fn refusal(method: &str, right: &str, role: &str, borne: Borne) -> Option<&'static [u16]> {
    let may = match role {
        "producer" => right == "produce",
        "viewer" => right == "view",
        "operator" => right != "admin",
        _ => true,
    };
    // Who is no source hears that there is none of this name, whatever the token.
    let is_open = ["anyone", "source"].contains(&right);
    let known: Option<&[u16]> = if may || is_open { None } else { Some(&[403]) };
    let unknown = |refused: &'static [u16]| if is_open { None } else { Some(refused) };
    match borne {
        Borne::Configured | Borne::Kept | Borne::Session => known,
        Borne::Cookie if method == "GET" => known,
        // Also where nobody must be known: another page may have made the browser call.
        Borne::Cookie => Some(&[403]),
        Borne::Nothing | Borne::Malformed | Borne::Expired | Borne::Ended | Borne::Orphaned => unknown(&[401]),
        // Where there were too many already, they are not even looked at.
        Borne::Wrong | Borne::Revoked => unknown(&[401, 429]),
    }
}

#[test]
fn every_route_opens_to_those_roles_that_it_says_whatever_they_bear() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Node::serve(&dir.path().join("data"), Some(&config(dir.path())));
    let routes = promised();
    let listed = node.ask("GET", "/", "", "").body;
    assert_eq!(listed.lines().filter(|line| line.contains(" /")).count(), routes.len(), "{listed}");
    let held = ROLES.map(|role| Held::of(&node, role));
    let limit = Instant::now() + PATIENCE;
    while ROLES.len() > node.admin("GET", "/v1/tokens", "").body.matches("\"state\":\"expired\"").count() {
        assert!(Instant::now() < limit, "they expire");
    }
    let mut cells = 0;
    for (method, path, right) in &routes {
        // What is not there: the call is let in, and does nothing.
        let parts: Vec<&str> =
            path.split('/').map(|part| if part.starts_with('{') { "nobody" } else { part }).collect();
        for held in &held {
            for borne in BORNE {
                let answer = node.ask(method, &parts.join("/"), &held.headers(&node, borne), "");
                let cell = format!("{method} {path} ({right}) as {} bearing {borne:?}: {}", held.role, answer.status);
                match refusal(method, right, held.role, borne) {
                    Some(refused) => assert!(refused.contains(&answer.status), "{cell} {}", answer.body),
                    None if path == "/v1/me" && answer.status == 429 => {
                        assert!(matches!(borne, Borne::Wrong | Borne::Revoked), "{cell}");
                    }
                    None if path == "/v1/login" => assert_eq!(answer.status, 400, "{cell}"),
                    None => assert!(![401, 403, 429, 500, 503].contains(&answer.status), "{cell} {}", answer.body),
                }
                cells += 1;
            }
        }
    }
    println!("{cells} cells: {} routes, {} roles, {} states of a token", routes.len(), ROLES.len(), BORNE.len());
    assert_eq!(cells, routes.len() * ROLES.len() * BORNE.len());
}

#[test]
fn a_token_is_made_used_and_revoked_while_the_node_runs_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let node = Node::serve(&data, None);
    assert!(node.says("", &["token", "new", "shop", "--role", "producer"], 1).contains("must be that of an admin"));
    assert!(node.says("", &["token", "new", "root", "--role", "admin", "--expires", "1d"], 1).contains("never expire"));
    let root = node.says("", &["token", "new", "root", "--role", "admin"], 0).trim().to_owned();
    assert!(root.len() == 68 && root.starts_with("gon_"), "256 bits");
    // From now on the node is shut.
    assert!(node.says("", &["ls"], 2).contains("bears no valid token"));
    assert!(node.says("", &["token", "ls"], 2).contains("bears no valid token"));
    let shop =
        node.says(&root, &["token", "new", "shop", "--role", "producer", "--expires", "90d"], 0).trim().to_owned();
    assert!(node.says(&shop, &["send", "log", "x"], 0).len() >= 36);
    assert!(node.says(&shop, &["token", "ls"], 2).contains("role producer"));
    for (words, said) in [
        (&["token", "new", "shop", "--role", "viewer"][..], "there is a token of the name"),
        (&["token", "rm", "nobody"], "there is no token"),
        (&["token", "rm", "root"], "last token of an admin"),
    ] {
        assert!(node.says(&root, words, 1).contains(said), "{words:?}");
    }
    for (words, said) in [
        (&["token", "new", "a b", "--role", "viewer"][..], "letters and digits"),
        (&["token", "new", "local", "--role", "viewer"], "ascribed to"),
        (&["token", "new", "x", "--role", "viewer", "--expires", "soon"], "not a duration"),
        (&["token", "new", "x", "--role", "viewer", "--expires", "2001-01-01T00:00:00Z"], "expired already"),
        (&["token", "new", "x", "--role", "king"], "possible values"),
    ] {
        assert!(node.says(&root, words, 2).contains(said), "{words:?}");
    }
    drop(node);

    let node = Node::serve(&data, None);
    let listed = node.says(&root, &["token", "ls", "--json"], 0);
    assert!(!listed.contains("gon_"), "{listed}");
    let names: Vec<(String, String)> = listed
        .lines()
        .map(json)
        .map(|token| (token["name"].as_str().unwrap().to_owned(), token["role"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(names, [("root".into(), "admin".into()), ("shop".into(), "producer".into())]);
    node.says(&shop, &["send", "log", "x"], 0);
    assert_eq!(node.says(&root, &["token", "rm", "shop"], 0), "shop: revoked\n");
    assert!(node.says(&shop, &["send", "log", "x"], 2).contains("bears no valid token"));
    let audit = node.says(&root, &["audit", "--json"], 0);
    let acts: Vec<String> = audit
        .lines()
        .map(json)
        .map(|entry| {
            [&entry["who"], &entry["act"], &entry["target"]["token"]]
                .map(|word| word.as_str().unwrap().to_owned())
                .join(" ")
        })
        .collect();
    assert_eq!(acts, ["root token-revoke shop", "root token-new shop", "local token-new root"]);
    // The last one may go where only this machine can call; then no token is needed again.
    node.says(&root, &["token", "rm", "root"], 0);
    node.says("", &["ls"], 0);
    drop(node);
    assert_eq!(Node::serve(&data, None).says("", &["token", "ls", "--json"], 0), "");
}
