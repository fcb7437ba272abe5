//! People are told: by a webhook and by a command, once per cause, over dead channels and kills.

#![cfg(feature = "cli")]

#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "common/search.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod search;
#[path = "common/watched.rs"]
mod watched;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use goniec::admin::channel::Webhook;
use goniec::engine::{Alert, Channel};
use goniec::transport::http::call;
use goniec::transport::secret::{Secret, Signing};
use peer::Peer;
use watched::Watched;

const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    _child: Watched,
    url: String,
}

impl Node {
    fn serve(dir: &Path) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg("--config").arg(dir.join("goniec.toml"));
        command.arg("--data").arg(dir.join("data")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Watched::start(&mut command, &dir.join("data"));
        let out = BufReader::new(child.stdout.take().expect("an output"));
        let first = out.lines().next().expect("a line").expect("text");
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        Node { _child: child, url: url.trim_end_matches(',').to_owned() }
    }

    fn hand_in(&self, destination: &str, count: usize) {
        let line = format!("{{\"destination\":\"{destination}\",\"key\":\"order:17\",\"body\":1}}\n");
        let url = format!("{}/v1/messages", self.url);
        let headers = [("content-type", "application/x-ndjson")];
        let answer = call("POST", &url, &headers, line.repeat(count).as_bytes(), PATIENCE).expect("an answer");
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that refuses.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// A webhook that answers 500 until it is mended.
fn webhook(is_mended: Arc<AtomicBool>) -> Peer {
    Peer::start(move |line| {
        while line.request().is_some() {
            let status = if is_mended.load(Ordering::SeqCst) { "204 No Content" } else { "500 Broken" };
            if !line.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")) {
                return;
            }
        }
    })
}

fn configure(dir: &Path, to: &str) {
    let port = closed_port();
    let text = format!(
        "[destination.erp]\nurl = \"http://127.0.0.1:{port}/\"\nretry = {{ attempts = 1 }}\n\
         [destination.shop]\nurl = \"http://127.0.0.1:{port}/\"\nretry = {{ attempts = 1 }}\n\
         [[alert]]\nto = [ {to} ]\n"
    );
    std::fs::write(dir.join("goniec.toml"), text).expect("writes");
}

fn told(peer: &Peer) -> Vec<serde_json::Value> {
    peer.requests().iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
}

#[test]
fn a_dead_webhook_is_told_later_over_a_kill_and_once_per_cause() {
    let dir = tempfile::tempdir().expect("a directory");
    let is_mended = Arc::new(AtomicBool::new(false));
    let peer = webhook(is_mended.clone());
    configure(dir.path(), &format!("{{ webhook = {:?} }}", peer.url("/hook/canary-path?door=canary-door")));

    let node = Node::serve(dir.path());
    node.hand_in("erp", 2_000);
    until("the dead webhook was tried", || !peer.requests().is_empty());
    drop(node);

    is_mended.store(true, Ordering::SeqCst);
    let before = peer.requests().len();
    let node = Node::serve(dir.path());
    until("the webhook was told after the kill", || peer.requests().len() > before);
    let first = &told(&peer)[before];
    assert_eq!((&first["destination"], &first["reason"]), (&"erp".into(), &"exhausted".into()));
    assert_eq!(first["sample_key"], "order:17");
    assert!(first["text"].as_str().is_some_and(|text| text.contains("refused the connection")), "{first}");
    // Another cause is told by itself; what was told of the first one does not come again with it, also not after a start.
    node.hand_in("shop", 10);
    let is_shop = |alert: &serde_json::Value| alert["destination"] == "shop";
    until("the second cause was told", || told(&peer)[before..].iter().any(is_shop));
    let of_erp = told(&peer)[before..].iter().filter(|alert| !is_shop(alert)).count();
    assert!(of_erp <= 2, "{of_erp} alerts of one cause");
    let sum: u64 =
        told(&peer)[before..].iter().filter(|alert| !is_shop(alert)).filter_map(|a| a["messages"].as_u64()).sum();
    assert!((1..=2_000).contains(&sum), "{sum} messages told of");
}

#[test]
fn a_command_gets_the_alert_on_its_standard_input() {
    let dir = tempfile::tempdir().expect("a directory");
    let heard = dir.path().join("heard");
    let script = dir.path().join("tell");
    std::fs::write(&script, "#!/bin/sh\n{ cat; echo; } >> \"$1\"\n").expect("writes");
    configure(dir.path(), &format!("{{ command = [\"/bin/sh\", {script:?}, {heard:?}] }}"));
    let node = Node::serve(dir.path());
    node.hand_in("erp", 3);
    let read = || std::fs::read_to_string(&heard).unwrap_or_default();
    until("the command ran", || read().ends_with("}\n"));
    let alert: serde_json::Value = serde_json::from_str(read().lines().next().expect("a line")).expect("JSON");
    assert_eq!((&alert["destination"], &alert["reason"]), (&"erp".into(), &"exhausted".into()));
}

fn alert(detail: &str) -> Alert {
    Alert {
        destination: "erp".into(),
        reason: "exhausted",
        messages: 1,
        sample: Some(goniec::Id::from_bytes([0; 16])),
        sample_key: None,
        detail: Some(detail.to_owned()),
        since: goniec::model::WallMs(1_790_000_000_000),
    }
}

#[test]
fn a_command_that_fails_or_is_absent_has_told_nobody() {
    let tell = |words: &str| goniec::admin::channel::Command::new(vec![words.into()]).tell(&alert(""));
    assert!(tell("/bin/false").is_err_and(|why| why.contains("exit status: 1")));
    assert!(tell("/nowhere/at-all").is_err_and(|why| why.contains("cannot be run")));
}

/// The head of an answer says that the alert arrived; its body may never come.
#[test]
fn a_webhook_whose_body_never_comes_has_been_told() {
    for (status, is_told) in [("200 OK", true), ("500 Broken", false)] {
        let peer = Peer::start(move |line| {
            while line.request().is_some() {
                if !line.send(format!("HTTP/1.1 {status}\r\ncontent-length: 100000000\r\n\r\n")) {
                    return;
                }
            }
        });
        assert_eq!(Webhook::new(&peer.url("/")).expect("a URL").tell(&alert("")).is_ok(), is_told);
        assert_eq!(peer.requests().len(), 1);
    }
}

#[test]
fn a_webhook_is_signed_and_its_text_calls_nobody() {
    let peer = webhook(Arc::new(AtomicBool::new(true)));
    let secret = || Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
    let signing = || Signing::standard_webhooks(&[secret()]).expect("a key");
    let signed = Webhook::new(&peer.url("/")).expect("a URL").sign(signing());
    let plain = Webhook::new(&peer.url("/")).expect("a URL");
    let detail = "<!channel> & <http://evil.example|click>";
    for webhook in [&signed, &signed, &plain] {
        webhook.tell(&alert(detail)).expect("is told");
    }
    let requests = peer.requests();
    let field = |at: usize, name: &str| {
        let line = requests[at].head.lines().find(|line| line.to_lowercase().starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    for (at, request) in requests.iter().take(2).enumerate() {
        let [id, stamp, signature] =
            ["id", "timestamp", "signature"].map(|part| field(at, &format!("webhook-{part}:")));
        let (id, stamp) = (id.expect("an id"), stamp.expect("a time").parse().expect("seconds"));
        assert_eq!(signature, Some(signing().signature(&id, stamp, &request.body)));
    }
    assert_ne!(field(0, "webhook-id:"), field(1, "webhook-id:"));
    assert_eq!(field(2, "webhook-signature:"), None);
    let body: serde_json::Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    let text = body["text"].as_str().expect("a text");
    assert!(text.contains("&lt;!channel&gt; &amp; ") && !text.contains(['<', '>']), "{text}");
    assert_eq!(body["detail"], detail);
}

#[test]
fn a_refused_file_is_told_as_it_lies_there_over_a_dead_webhook_and_a_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).expect("makes");
    let is_mended = Arc::new(AtomicBool::new(false));
    let peer = webhook(is_mended.clone());
    let text = format!(
        "[source.orders]\nspool = {{ dir = {spool:?}, look = \"100ms\" }}\n[[route]]\nto = [\"log\"]\n\
         [[alert]]\non = [\"source\"]\nto = [ {{ webhook = {:?} }} ]\n",
        peer.url("/hook")
    );
    std::fs::write(dir.path().join("goniec.toml"), text).expect("writes");
    let node = Node::serve(dir.path());
    std::fs::write(spool.join(".orders"), "{\"id\":1}\n{\"id\":}\n").expect("writes");
    std::fs::rename(spool.join(".orders"), spool.join("orders.ndjson")).expect("renames");
    until("the dead webhook was tried", || !peer.requests().is_empty());
    drop(node);

    is_mended.store(true, Ordering::SeqCst);
    let before = peer.requests().len();
    let node = Node::serve(dir.path());
    until("it is told after the kill", || peer.requests().len() > before);
    let told = told(&peer).pop().expect("one");
    assert_eq!(
        (told["destination"].as_str(), told["reason"].as_str()),
        (Some("orders"), Some("source-refused")),
        "{told}"
    );
    assert_eq!(told["detail"].as_str(), Some("orders.ndjson: line 2: column 7: not JSON: expected value"), "{told}");
    let answer = call("GET", &format!("{}/v1/sources", node.url), &[], b"", PATIENCE).expect("an answer");
    let shown: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let refused = &shown["sources"][0]["refused"];
    assert_eq!((refused["files"].as_u64(), refused["last"].as_str()), (Some(1), Some("orders.ndjson")), "{shown}");
    assert!(spool.join("failed/orders.ndjson").exists());
}
