//! The node, its configuration of canaries, and everything that can be asked of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use goniec::transport::http::call;
use serde_json::Value;

use super::hostile::{self, MANNERS};
use super::node::ask;
use super::peer::Peer;
use super::search::{Needles, files};
use super::tls;

const PATIENCE: Duration = Duration::from_secs(60);

/// The keys that can hold a secret, each of which has a canary in [`CONFIG`], or beside it where that is said.
pub const KNOWN_OF: [&str; 33] = [
    "alert.to[].sign.secret",
    "alert.to[].smtp.url",
    "alert.to[].webhook",
    "destination.auth.basic.password",
    "destination.auth.bearer",
    "destination.auth.oauth.client_secret",
    "destination.auth.oauth.refresh_token",
    "destination.auth.oauth.url",
    "destination.auth.session.body",
    "destination.auth.session.url",
    "destination.headers",
    "destination.hmac.secret",
    "destination.sign.secret",
    "destination.tls.key",
    "destination.url",
    "reconcile.manifest.auth.basic.password",
    "reconcile.manifest.auth.bearer",
    "reconcile.manifest.headers",
    "reconcile.manifest.tls.key",
    "reconcile.manifest.url",
    // The address of this node itself, which mails and pages show on purpose.
    "server.url",
    "server.tokens[].secret",
    "source.poll.auth.basic.password",
    "source.poll.auth.bearer",
    "source.poll.auth.oauth.client_secret",
    "source.poll.auth.oauth.refresh_token",
    "source.poll.auth.oauth.url",
    "source.poll.auth.session.body",
    "source.poll.auth.session.url",
    "source.poll.headers",
    "source.poll.tls.key",
    "source.poll.url",
    "source.verify.secret",
];

/// The secrets of the environment.
const SECRETS: [(&str, &str); 13] = [
    ("TOKEN", "canary-of-the-node-4711"),
    ("PASSWORD", "canary-basic-p\"w&/+4711"),
    ("BEARER", "canary-bearer-4711"),
    ("HEADER", "Token canary-header-4711"),
    ("KEY", "canary-api-key-4711"),
    ("CLIENT", "canary-client-s/cret+4711"),
    ("REFRESH", "canary-refresh-first"),
    ("REFRESH_TOO", "canary-refresh-second"),
    ("LOGIN", "canary-login-p\"w&/+4711"),
    // The base64 of `canary-signing-0123456789` and of `canary-alerting-0123456789`.
    ("SIGNING", "whsec_Y2FuYXJ5LXNpZ25pbmctMDEyMzQ1Njc4OQ=="),
    ("ALERTING", "whsec_Y2FuYXJ5LWFsZXJ0aW5nLTAxMjM0NTY3ODk="),
    ("HMAC", "canary-hmac-4711"),
    ("SOURCE", "canary-source-4711"),
];

const COMMON: &str = "timeout = \"800ms\"\nretry = { backoff = \"fixed\", delay = \"20ms\", attempts = 2 }\n\
     answers = { reason = \".body.said\", remote_id = \".body.said\" }\n";

const DESTINATIONS: [(&str, &str); 14] = [
    ("basic", "auth = { basic = { user = \"anna\", password = { env = \"PASSWORD\" } } }"),
    ("bearer", "auth = { bearer = { env = \"BEARER\" } }"),
    ("header", "headers = { authorization = { env = \"HEADER\" }, x-api-key = { env = \"KEY\" } }"),
    (
        "client",
        "auth = { oauth = { url = \"PEER/token/yes?door=canary-door-1\", client_id = \"goniec\", client_secret = { env = \"CLIENT\" } } }",
    ),
    (
        "refresh",
        "auth = { oauth = { url = \"PEER/token/yes\", client_id = \"anna\", client_secret = { env = \"CLIENT\" }, grant = \"refresh-token\", refresh_token = { env = \"REFRESH\" } } }",
    ),
    (
        "no-token",
        "auth = { oauth = { url = \"PEER/token/no?door=canary-door-2\", client_id = \"goniec\", client_secret = { env = \"CLIENT\" } } }",
    ),
    (
        "mute-token",
        "auth = { oauth = { url = \"PEER/token/mute\", client_id = \"goniec\", client_secret = { env = \"CLIENT\" } } }",
    ),
    (
        "session",
        "auth = { session = { url = \"PEER/login/yes?door=canary-door-3\", body = { User = \"anna\", Password = { env = \"LOGIN\" } } } }",
    ),
    (
        "no-session",
        "auth = { session = { url = \"PEER/login/no?door=canary-door-4\", body = { User = \"anna\", Password = { env = \"LOGIN\" } } } }",
    ),
    (
        "mute-session",
        "auth = { session = { url = \"PEER/login/mute\", body = { User = \"anna\", Password = { env = \"LOGIN\" } } } }",
    ),
    (
        "signed",
        "sign = { secret = { env = \"SIGNING\" } }\nhmac = { header = \"x-hmac\", secret = { env = \"HMAC\" } }",
    ),
    (
        "batched",
        "batch = { max = 4, wait = \"20ms\", results = { items = \".items\", success = \".ok\" } }\nauth = { bearer = { env = \"BEARER\" } }",
    ),
    (
        "asked",
        "on_uncertain = \"probe\"\nprobe = { request = \"GET PEER/probe/there?door=canary-door-5&id={id}\", found = \".body.found\", remote_id = \".body.said\" }\nauth = { bearer = { env = \"BEARER\" } }",
    ),
    (
        "asked-in-vain",
        "on_uncertain = \"probe\"\nprobe = { request = \"GET PEER/probe/down?id={id}&door=canary-door-6\", found = \".body.found\" }\nauth = { bearer = { env = \"BEARER\" } }",
    ),
];

const TLS: &str = "[destination.tls]\nurl = \"https://localhost:TLS/in?door=canary-door-7\"\ntimeout = \"5s\"\nretry = { attempts = 1 }\n\
     tls = { ca = \"ca.pem\", cert = \"ca.pem\", key = { file = \"ca.key\" } }\n";

const RECONCILE: &str = "[reconcile.by-basic]\ndestination = \"basic\"\n[reconcile.by-basic.manifest]\n\
     url = \"PEER/list?door=canary-door-9\"\nkey = \".said\"\nformat = \"json\"\nitems = \"[.]\"\ncycle = \"every 1s\"\n\
     auth = { basic = { user = \"anna\", password = { env = \"PASSWORD\" } } }\n\
     [reconcile.by-bearer]\ndestination = \"bearer\"\n[reconcile.by-bearer.manifest]\n\
     url = \"PEER/list?door=canary-door-10\"\nkey = \".said[:100]\"\nformat = \"json\"\nitems = \"[.]\"\ncycle = \"every 1s\"\n\
     auth = { bearer = { env = \"BEARER\" } }\nheaders = { x-api-key = { env = \"KEY\" } }\n\
     [reconcile.by-tls]\ndestination = \"tls\"\n[reconcile.by-tls.manifest]\n\
     url = \"https://localhost:TLS/list?door=canary-door-11\"\nkey = \".a\"\nformat = \"csv\"\ncycle = \"every 1s\"\n\
     tls = { ca = \"ca.pem\", cert = \"ca.pem\", key = { file = \"ca.key\" } }\n";

const SOURCE: &str = "[source.shop]\nverify = { preset = \"bearer\", secret = { env = \"SOURCE\" } }\n\
     [[route]]\nfrom = \"shop\"\nto = [\"basic\"]\n";

/// Systems that are asked, and send back whatever they were shown, with a yes and with a no.
const ASKED: [(&str, &str); 6] = [
    ("basic-there", "auth = { basic = { user = \"anna\", password = { env = \"PASSWORD\" } } }"),
    ("bearer-there", "auth = { bearer = { env = \"BEARER\" } }"),
    ("header-down", "headers = { x-api-key = { env = \"KEY\" } }"),
    (
        "refresh-there",
        "auth = { oauth = { url = \"PEER/token/yes?door=canary-door-9\", client_id = \"goniec\", client_secret = { env = \"CLIENT\" }, grant = \"refresh-token\", refresh_token = { env = \"REFRESH_TOO\" } } }",
    ),
    (
        "session-down",
        "auth = { session = { url = \"PEER/login/yes?door=canary-door-10\", body = { User = \"anna\", Password = { env = \"LOGIN\" } } } }",
    ),
    ("tls-down", "tls = { ca = \"ca.pem\", cert = \"ca.pem\", key = { file = \"ca.key\" } }"),
];

const ALERTS: &str = "[[alert]]\ndigest = \"1s\"\nto = [ { log = true }, { command = [\"/bin/cat\"] },\n\
     { webhook = \"PEER/hook/canary-hook-4711?door=canary-door-8\", sign = { secret = { env = \"ALERTING\" } } },\n\
     { webhook = \"http://127.0.0.1:9/hook/canary-hook-4711\" },\n\
     { email = \"anna@example.pl\", smtp = { url = { env = \"SMTP_URL\" } } } ]\n";

/// What is looked for: the beginning of every secret, and the key in its file.
pub fn needles(dir: &Path) -> Needles {
    let key = fs::read_to_string(dir.join("ca.key")).unwrap();
    let line = key.lines().find(|line| !line.starts_with('-')).unwrap();
    Needles::of("canary-").and(line.as_bytes())
}

/// A running node and what was heard of it, by the name of the place.
pub struct World {
    dir: PathBuf,
    node: Child,
    tail: Child,
    port: u16,
    heard: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What the node made itself and told once: a token, and the cookie of a session.
    made: Mutex<Vec<String>>,
    _peers: [Peer; 2],
    _tls: tls::Server,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.node, &mut self.tail] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl World {
    pub fn begin(dir: &Path) -> World {
        let (peer, mail) = (hostile::peer(), hostile::mail_server());
        tls::certificate(dir, "server", "ca", "localhost", "-days 30");
        let demands = "-Verify 1 -verify_return_error -CAfile ca.pem -cert_chain ca.pem";
        let server = tls::tls_server(dir, "server", demands, tls::OK, false, Duration::ZERO);
        let mut config = String::from("[server]\nurl = \"https://goniec.example\"\n");
        config.push_str("tokens = [ { name = \"boss\", role = \"admin\", secret = { env = \"TOKEN\" } } ]\n");
        for (number, (name, own)) in DESTINATIONS.iter().enumerate() {
            let url = format!("url = \"PEER/deliver?door=canary-way-{number}\"");
            config.push_str(&format!("[destination.{name}]\n{url}\n{COMMON}{own}\n"));
        }
        for (name, own) in ASKED {
            let (way, said) = name.split_once('-').expect("two words");
            let url = format!("PEER/probe/{said}?door=canary-ask-{way}&since={{cursor}}");
            let poll = format!("url = \"{url}\"\ncycle = \"every 1s\"\ncursor = \".next\"\n{own}\n");
            config.push_str(&format!("[source.{name}.poll]\n{poll}"));
        }
        config = (config + TLS + SOURCE + RECONCILE + ALERTS)
            .replace("PEER", &peer.url(""))
            .replace("TLS", &server.port.to_string());
        fs::write(dir.join("goniec.toml"), config).unwrap();
        let log = File::create(dir.join("log")).unwrap();
        let smtp = format!("smtp://anna:canary-mail-4711@{}", mail.address());
        let node = Command::new(env!("CARGO_BIN_EXE_goniec"))
            .args(["serve", "--config", "goniec.toml", "--data", "data", "--listen", "127.0.0.1:0"])
            .current_dir(dir)
            .envs(SECRETS)
            .env("SMTP_URL", smtp)
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut port = None;
        until("the node listens", || {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            port = log
                .split_once("listens on http://127.0.0.1:")
                .and_then(|(_, rest)| rest.split_once(','))
                .and_then(|(port, _)| port.parse().ok());
            port.is_some()
        });
        let port = port.expect("a port");
        let tail = client(dir, port).args(["tail", "--json"]).stdout(File::create(dir.join("tail")).unwrap()).spawn();
        let (dir, heard, made) = (dir.to_owned(), Mutex::default(), Mutex::default());
        World { dir, node, tail: tail.unwrap(), port, heard, made, _peers: [peer, mail], _tls: server }
    }

    /// Hands in a message of each manner for each destination, and waits until nothing more becomes of them.
    pub fn deliver(&self) {
        let mut lines = String::new();
        for (name, _) in DESTINATIONS.iter().chain(&[("tls", ""), ("log", "")]) {
            for manner in MANNERS {
                let body = format!("{{\"do\":\"{manner}\",\"of\":\"kanarek-4711\"}}");
                lines.push_str(&format!("{{\"destination\":\"{name}\",\"key\":\"{manner}\",\"body\":{body}}}\n"));
            }
        }
        let headers = "content-type: application/x-ndjson\r\n";
        assert_eq!(self.call("POST", "/v1/messages", headers, lines.as_bytes()), 202);
        self.until("everything was tried", || {
            let list = "/v1/messages?state=queued,sending,failed&limit=1000";
            let (_, waiting) = self.ask("GET", list, "", b"").expect("an answer");
            let waiting: Value = serde_json::from_slice(&waiting).unwrap();
            // Five faults of the set-up in a row pause a destination, and what nobody knows of is held for a person.
            let (_, all) = self.ask("GET", "/v1/destinations", "", b"").expect("an answer");
            let all: Value = serde_json::from_slice(&all).unwrap();
            let all = all["destinations"].as_array().unwrap();
            let is_paused = |name: &Value| all.iter().any(|one| one["name"] == *name && !one["paused"].is_null());
            let waits = |message: &Value| !is_paused(&message["destination"]) && message["waits_for"] != "held";
            !waiting["messages"].as_array().unwrap().iter().any(waits)
        });
    }

    /// Every route that the document tells of, with a method that it has.
    pub fn ask_everything(&self) {
        let (_, document) = self.ask("GET", "/openapi.json", "", b"").expect("the document");
        let document: Value = serde_json::from_slice(&document).unwrap();
        let id = self.ids()[0].clone();
        for (form, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
                let path = form
                    .replace("{destination}", "basic")
                    .replace("{source}", "shop")
                    .replace("/sources/{name}", "/sources/bearer-there")
                    .replace("{name}", "basic")
                    .replace("{number}", "3");
                let path = path.replace("{key}", "no").replace("{id}", &id);
                if !path.contains("/events") && path != "/v1/logout" {
                    self.call(&method, &path, "content-type: application/json\r\n", b"{}");
                }
            }
        }
        for id in self.ids() {
            for path in ["", "/body", "/attempts", "/revisions"] {
                self.call("GET", &format!("/v1/messages/{id}{path}"), "", b"");
            }
        }
        let (_, incidents) = self.ask("GET", "/v1/incidents", "", b"").expect("an answer");
        let incidents: Value = serde_json::from_slice(&incidents).unwrap();
        for incident in incidents["incidents"].as_array().unwrap() {
            self.call("GET", &format!("/v1/incidents/{}", incident["id"].as_str().unwrap()), "", b"");
        }
        // The right token in wrong places, and a wrong one.
        let token = SECRETS[0].1;
        let login = format!("{{\"token\":\"{token}\"}}");
        self.call("POST", "/v1/login", "content-type: application/json\r\n", login.as_bytes());
        self.call("POST", "/v1/login", "content-type: application/json\r\n", b"{\"token\":\"canary-wrong-token\"}");
        for header in [format!("x-api-key: {token}\r\n"), "authorization: Bearer canary-wrong\r\n".to_owned()] {
            let answer = ask(self.port, "GET", "/v1/stats", &header, b"").expect("an answer");
            self.hear(&format!("answer of {header}"), &answer.1);
        }
        // A system that hands in, as it should and with a word too many.
        for (secret, expect) in [("canary-source-4711", 202), ("canary-source-4711x", 401)] {
            let header = format!("authorization: Bearer {secret}\r\n");
            let (status, answer) = ask(self.port, "POST", "/v1/in/shop", &header, b"{\"id\":1}").expect("an answer");
            assert_eq!(status, expect);
            self.hear("answer of POST /v1/in/shop", &answer);
        }
        for number in 1..=5 {
            self.call("POST", &format!("/v1/alerts/{number}/test"), "", b"");
        }
        self.call("GET", "/v1/alerts", "", b"");
    }

    /// A token that the node makes, and a session by it: what it tells once is kept for [`World::end`] to look for.
    pub fn make_token(&self) {
        let made = client(&self.dir, self.port).args(["token", "new", "monika", "--role", "viewer"]).output().unwrap();
        let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        assert!(token.starts_with("gon_"), "{}", String::from_utf8_lossy(&made.stderr));
        let login = format!("{{\"token\":\"{token}\"}}");
        let url = format!("http://127.0.0.1:{}/v1/login", self.port);
        let headers = [("content-type", "application/json")];
        let answer = call("POST", &url, &headers, login.as_bytes(), PATIENCE).expect("an answer");
        let set = answer.headers.iter().find(|(name, _)| name == "set-cookie").map(|(_, cookie)| cookie);
        let cookie = set.and_then(|cookie| cookie.split(['=', ';']).nth(1)).unwrap().to_owned();
        for header in [format!("authorization: Bearer {token}\r\n"), format!("cookie: goniec-session={cookie}\r\n")] {
            let (status, stats) = ask(self.port, "GET", "/v1/stats", &header, b"").expect("an answer");
            assert_eq!(status, 200);
            self.hear("answer of GET /v1/stats", &stats);
        }
        self.made.lock().unwrap().extend([token, cookie]);
    }

    /// What the node made itself and told once.
    pub fn made(&self) -> Vec<String> {
        self.made.lock().unwrap().clone()
    }

    /// Every verb that asks a running node, and all that it says. Those that are no clients are told by name.
    pub fn every_verb(&self) {
        fs::write(self.dir.join("body"), "{\"do\":\"no\"}").unwrap();
        let id = self.ids()[0].clone();
        let words = [
            "check --config goniec.toml",
            "send basic {\"do\":\"yes\"}",
            "ls",
            "ls --json text:kanarek-4711",
            "show ID",
            "show ID --json",
            "keys",
            "explain no",
            "edit ID -f body --why better",
            "resend ID",
            "hold ID",
            "release ID",
            "cancel ID",
            "resolve ID --delivered",
            "resend --yes state:abandoned",
            "rm ID",
            "pause basic",
            "resume basic",
            "destinations",
            "sources",
            "sources --json",
            "streams",
            "reconcile",
            "reconcile by-basic",
            "reconcile by-bearer --json",
            "reconcile by-tls",
            "cycle list",
            "cycle run header-down --yes",
            "incidents --all",
            "incidents --json",
            "bulk list",
            "audit",
            "audit --verify",
            "alert list",
            "alert list --json",
            "alert test",
            "stats",
            "stats --json",
            "token ls",
            "token ls --json",
            "token rm monika",
            "completions bash",
            "man serve",
        ];
        for line in words {
            let line = line.replace("ID", &id);
            let done = client(&self.dir, self.port).args(line.split(' ')).output().unwrap();
            self.hear(&format!("output of {line}"), &[done.stdout, done.stderr].concat());
        }
        let help = Command::new(env!("CARGO_BIN_EXE_goniec")).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let verbs = help.lines().filter_map(|line| line.strip_prefix("  ")?.split("  ").next());
        for verb in verbs.filter(|verb| verb.len() > 1 && verb.chars().all(|letter| letter.is_ascii_lowercase())) {
            let is_elsewhere =
                ["serve", "tail", "verify", "salvage", "export", "import", "sink", "bench", "demo", "help"]
                    .contains(&verb);
            assert!(is_elsewhere || words.iter().any(|line| line.starts_with(verb)), "nobody asks by {verb}");
        }
    }

    /// Ends the node, and gives all that was heard, and what it left behind.
    pub fn end(mut self) -> BTreeMap<String, Vec<u8>> {
        let _ = Command::new("kill").arg(self.node.id().to_string()).status();
        assert!(self.node.wait().unwrap().success(), "the node ends well");
        for verb in
            [&["verify", "--data", "data"][..], &["export", "--data", "data"], &["salvage", "data", "--into", "saved"]]
        {
            let done = client(&self.dir, self.port).env_remove("GONIEC_URL").args(verb).output().unwrap();
            assert!(done.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&done.stderr));
            self.hear(&format!("output of {}", verb[0]), &[done.stdout, done.stderr].concat());
        }
        // The one place where a secret is kept, for its owner alone: refresh tokens that came.
        let kept = self.dir.join("data/tokens");
        let token = fs::read_to_string(kept.join("refresh.token")).unwrap();
        assert!(token.contains("canary-refresh-"), "the control: a token came and was kept");
        fs::remove_dir_all(kept).unwrap();
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        for folder in ["data", "saved"] {
            let below = files(&self.dir.join(folder)).into_iter();
            heard.extend(below.map(|(name, bytes)| (format!("{folder}/{name}"), bytes)));
        }
        for name in ["log", "tail"] {
            heard.insert(name.to_owned(), fs::read(self.dir.join(name)).unwrap());
        }
        assert!(String::from_utf8_lossy(&heard["log"]).contains(" TRACE "), "the control: the log is at trace");
        heard
    }

    fn ids(&self) -> Vec<String> {
        let (_, list) = self.ask("GET", "/v1/messages?limit=1000", "", b"").expect("an answer");
        let list: Value = serde_json::from_slice(&list).unwrap();
        list["messages"].as_array().unwrap().iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let headers = format!("authorization: Bearer {}\r\n{headers}", SECRETS[0].1);
        ask(self.port, method, path, &headers, body)
    }

    /// Asks, keeps the answer, and gives its status.
    fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> u16 {
        let (status, answer) = self.ask(method, path, headers, body).unwrap_or_else(|| panic!("{method} {path}"));
        self.hear(&format!("answer of {method} {path}"), &answer);
        assert!(status < 500 || path == "/readyz", "{method} {path}: {status}");
        status
    }

    fn hear(&self, name: &str, bytes: &[u8]) {
        self.heard.lock().unwrap().entry(name.to_owned()).or_default().extend_from_slice(bytes);
    }

    fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        until(what, holds);
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The command line, as whom may do everything.
fn client(dir: &Path, port: u16) -> Command {
    let mut client = Command::new(env!("CARGO_BIN_EXE_goniec"));
    client
        .current_dir(dir)
        .stdin(Stdio::null())
        .envs(SECRETS)
        .env("SMTP_URL", "smtp://anna:canary-mail-4711@127.0.0.1");
    client
        .env("GONIEC_URL", format!("http://127.0.0.1:{port}"))
        .env("GONIEC_TOKEN", SECRETS[0].1)
        .env("RUST_LOG", "trace");
    client
}
