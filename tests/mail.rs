//! People are told by mail: a real node, a real SMTP server, and mails that Python's own `email` reads without a complaint.
//!
//! The control of each refusal is the same node with a server that is right: there the mail arrives. Skipped, aloud, where `aiosmtpd` or
//! `openssl` cannot be had.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "common/smtp.rs"]
mod smtp;
#[path = "common/tls.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod tls;

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peer::Peer;
use serde_json::{Value, json};
use smtp::{MailServer, Node, header, is_there, until};

const PASSWORD: &str = "correct horse/battery";
const IN_URL: &str = "correct%20horse%2Fbattery";

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `erp` and `shop` refuse the connection, and give a message up after one attempt.
fn configure(dir: &Path, smtp: &str, digest: &str) {
    let port = closed_port();
    let lane = |name: &str| {
        format!(
            "[destination.{name}]\nurl = \"http://127.0.0.1:{port}/\"\nconcurrency = 64\nretry = {{ attempts = 1 }}\n"
        )
    };
    let to = format!(
        "{{ email = \"anna@example.pl\", from = \"node@example.pl\", smtp = {{ url = {{ env = \"SMTP_URL\" }}{smtp} }} }}"
    );
    let text = format!(
        "[server]\nurl = \"https://goniec.example.pl\"\n{}{}[[alert]]\nto = [ {to} ]\ndigest = \"{digest}\"\n",
        lane("erp"),
        lane("shop")
    );
    std::fs::write(dir.join("goniec.toml"), text).unwrap();
}

fn line(destination: &str, key: &str) -> String {
    format!("{}\n", json!({ "destination": destination, "key": key, "body": "the payload" }))
}

#[test]
fn a_hundred_thousand_failures_of_one_cause_are_one_mail() {
    if !is_there("a_hundred_thousand_failures_of_one_cause_are_one_mail") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(&json!({}));
    configure(dir.path(), "", "10m");
    let node = Node::serve(dir.path(), &format!("smtp://127.0.0.1:{}", server.port), "off");
    let lines = line("erp", "order:17").repeat(10_000);
    for _ in 0..10 {
        node.call("POST", "/v1/messages", &lines);
    }
    let is_erp = |lane: &&Value| lane["name"] == "erp";
    let given_up = || {
        let stats = node.call("GET", "/v1/stats", "");
        stats["destinations"].as_array().unwrap().iter().find(is_erp).unwrap()["abandoned"].as_u64()
    };
    until("all were given up", || given_up() == Some(100_000));
    // Both causes are looked at in one turn, this one last.
    node.call("POST", "/v1/messages", &line("shop", "order:18"));
    let shop = server.mail("shop");
    let of_erp: Vec<Value> =
        server.mails().into_iter().filter(|mail| header(mail, "subject").contains("erp")).collect();
    let [erp] = of_erp.as_slice() else { panic!("{} mails of one cause", of_erp.len()) };
    assert_eq!((&erp["from"], &erp["to"]), (&"node@example.pl".into(), &json!(["anna@example.pl"])));
    assert_eq!((header(erp, "from"), header(erp, "to")), ("goniec <node@example.pl>".into(), "anna@example.pl".into()));
    assert_eq!(header(erp, "auto-submitted"), "auto-generated");
    assert!(header(erp, "subject").contains("given up: tried as often as allowed"), "{erp}");
    let own = header(erp, "message-id");
    assert!(own.ends_with("@example.pl>") && own != header(&shop, "message-id") && !header(erp, "date").is_empty());
    assert_ne!(header(erp, "references"), header(&shop, "references"));
    let text = erp["text"].as_str().unwrap();
    for part in [
        "Its key: order:17\n",
        "refused the connection",
        "goniec resend to:erp state:abandoned",
        "https://goniec.example.pl/console#/messages?filter=to:erp",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!erp.to_string().contains("the payload"), "{erp}");
}

#[test]
fn passwords_go_over_tls_to_whom_they_are_for_and_nowhere_else() {
    let name = "passwords_go_over_tls_to_whom_they_are_for_and_nowhere_else";
    let Some(dir) = is_there(name).then(|| tls::authorities(name)).flatten() else { return };
    let path = |file: &str| dir.path().join(file).to_string_lossy().into_owned();
    tls::certificate(dir.path(), "good", "ca", "localhost", "-days 30");
    let manner = |tls: &str| json!({ "tls": tls, "certificate": path("good.pem"), "key": path("good.key"), "password": PASSWORD });
    let (starttls, wrapped, plain) =
        (MailServer::start(&manner("starttls")), MailServer::start(&manner("tls")), MailServer::start(&json!({})));
    let starts = format!("localhost:{}?tls=required", starttls.port);
    let told = |ca: &str, url: &str| {
        configure(dir.path(), &format!(", tls = {{ ca = {:?} }}", path(ca)), "10m");
        Node::serve(dir.path(), url, "trace").test()
    };
    let right = format!("anna:{IN_URL}");
    assert_eq!(told("ca.pem", &format!("smtp://{right}@{starts}")), "");
    assert_eq!(told("ca.pem", &format!("smtps://{right}@localhost:{}", wrapped.port)), "");
    for server in [&starttls, &wrapped] {
        let mail = server.mail("A test");
        assert_eq!((&mail["tls"], &mail["user"]), (&true.into(), &"anna".into()), "{mail}");
    }
    // Another authority, another password, and a server that does not encrypt.
    let wrong = [
        ("other.pem", format!("smtp://{right}@{starts}"), "certificate"),
        ("other.pem", format!("smtps://{right}@localhost:{}", wrapped.port), "certificate"),
        ("ca.pem", format!("smtp://anna:hunter2@{starts}"), "535): not ***"),
        ("ca.pem", format!("smtp://{right}@localhost:{}?tls=required", plain.port), "STARTTLS"),
    ];
    for (ca, url, why) in &wrong {
        let said = told(ca, url);
        assert!(said.contains(why), "{why}: {said}");
    }
    let counts = [&starttls, &wrapped, &plain].map(|server| server.mails().len());
    assert_eq!(counts, [1, 1, 0]);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("TRACE"), "the log has everything in it");
    for secret in [PASSWORD, IN_URL, "hunter2", "AGh1bnRlcjI", "aHVudGVyMg"] {
        assert!(!log.contains(secret), "{secret} stands in the log");
    }
}

#[test]
fn what_a_server_refuses_is_shown_and_told_later() {
    if !is_there("what_a_server_refuses_is_shown_and_told_later") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "", "10m");
    for (answer, why) in [("451 not now", "451): not now"), ("550 nobody\x1b[31m here", "550): nobody")] {
        let server = MailServer::start(&json!({ "answer": answer }));
        let node = Node::serve(dir.path(), &format!("smtp://127.0.0.1:{}", server.port), "off");
        assert_eq!(node.rule()["state"], "ok");
        let said = node.test();
        assert!(said.contains(why), "{why}: {said}");
        let rule = node.rule();
        assert_eq!((&rule["state"], &rule["channel"]), (&"failing".into(), &"email anna@example.pl".into()));
        assert!(rule["failing_since"].is_string() && rule["last_error"] == said.as_str(), "{rule}");
        // Another server at the same address: the channel is alive again.
        let port = server.port;
        drop(server);
        let server = MailServer::start(&json!({ "port": port }));
        assert_eq!(node.test(), "");
        server.mail("A test");
        let rule = node.rule();
        assert_eq!((&rule["state"], &rule["failing_since"]), (&"ok".into(), &Value::Null), "{rule}");
        let entries = node.call("GET", "/v1/audit", "")["entries"].clone();
        let details = [&entries[0], &entries[1]].map(|entry| (entry["act"].clone(), entry["detail"].clone()));
        assert_eq!(details[0], ("alert-test".into(), "rule 1: told".into()));
        assert_eq!(details[1].1, format!("rule 1: nobody was told: {said}"));
    }
}

#[test]
fn a_server_that_hangs_or_drips_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "", "10m");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = is_over.clone();
    let server = std::thread::spawn(move || {
        let silent = listener.accept().unwrap();
        let (mut drips, _) = listener.accept().unwrap();
        // Always a little more, never an end.
        while !ends.load(Ordering::SeqCst) && drips.write_all(b"220-wait\r\n").is_ok() {
            // The pace of a loop that has an end.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        drop(silent);
    });
    let node = Node::serve(dir.path(), &url, "off");
    let silent = node.test();
    assert!(silent.contains("was silent for 10 s"), "{silent}");
    let drips = node.test();
    assert!(drips.contains("has not taken the mail within 30 s"), "{drips}");
    // One mail at a time: the thread that was left behind is the only one.
    let busy = node.test();
    assert!(busy.contains("still busy"), "{busy}");
    is_over.store(true, Ordering::SeqCst);
    server.join().unwrap();
}

#[test]
fn what_was_given_up_while_nobody_could_be_told_is_told_over_a_kill() {
    if !is_there("what_was_given_up_while_nobody_could_be_told_is_told_over_a_kill") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "", "10m");
    let port = closed_port();
    let url = format!("smtp://127.0.0.1:{port}");
    let is_failing = |node: &Node| node.rule()["state"] == "failing";
    let node = Node::serve(dir.path(), &url, "off");
    node.call("POST", "/v1/messages", &line("erp", "order:17"));
    until("the dead channel is shown", || is_failing(&node));
    drop(node);
    let node = Node::serve(dir.path(), &url, "off");
    until("the dead channel is shown again", || is_failing(&node));
    let server = MailServer::start(&json!({ "port": port }));
    let mail = server.mail("1 message to erp given up");
    assert!(mail["text"].as_str().unwrap().contains("Its key: order:17\n"), "{mail}");
    until("the channel works", || !is_failing(&node));
}

#[test]
fn nothing_that_is_sent_or_answered_gets_out_of_its_line() {
    if !is_there("nothing_that_is_sent_or_answered_gets_out_of_its_line") {
        return;
    }
    let hostile = [
        "a\r\nBcc: evil@example.com\r\n\r\nnew body",
        "\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
        "=?utf-8?q?=0D=0ABcc:_evil=40example.com?=",
        "\u{202e}txt.exe\u{2066}\u{200b}\u{feff}",
        "nul\0nul\u{7f}\u{85}\u{2028}",
        "zażółć gęślą jaźń 🚚 \u{1b}[31m",
    ];
    let peer = Peer::start(move |line| {
        while let Some(request) = line.request() {
            let at = request.head.split("/d").nth(1).and_then(|rest| rest.chars().next()).and_then(|c| c.to_digit(10));
            let body = format!("{}{}", hostile[usize::try_from(at.unwrap()).unwrap()], "x".repeat(10_000));
            line.send(format!("HTTP/1.1 400 Bad\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(&json!({}));
    let lanes = (0..hostile.len()).map(|at| format!("[destination.d{at}]\nurl = {:?}\n", peer.url(&format!("/d{at}"))));
    let to = "to = [ { email = \"anna@example.pl\", smtp = { url = { env = \"SMTP_URL\" } } } ]";
    let text = format!("{}[[alert]]\n{to}\n", lanes.collect::<String>());
    std::fs::write(dir.path().join("goniec.toml"), text).unwrap();
    let node = Node::serve(dir.path(), &format!("smtp://127.0.0.1:{}", server.port), "off");
    for (at, key) in hostile.iter().enumerate() {
        let long = format!("{key}{}", "k".repeat(200));
        node.call("POST", "/v1/messages", &line(&format!("d{at}"), &long));
    }
    let names = [
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "auto-submitted",
        "content-type",
        "content-transfer-encoding",
    ];
    for at in 0..hostile.len() {
        let mail = server.mail(&format!("to d{at} given up: refused"));
        assert_eq!(mail["to"], json!(["anna@example.pl"]), "{mail}");
        for pair in mail["headers"].as_array().unwrap() {
            let name = pair[0].as_str().unwrap().to_lowercase();
            assert!(names.contains(&name.as_str()) || name == "mime-version", "{name}: {mail}");
        }
        let text = mail["text"].as_str().unwrap();
        assert!(
            text.lines().all(|line| line.chars().count() < 1_000 && !line.starts_with("Bcc") && line != "."),
            "{text}"
        );
        let is_hidden =
            |c: char| c.is_control() || ('\u{2000}'..'\u{2070}').contains(&c) && c != '…' || c == '\u{feff}';
        assert!(!text.replace('\n', "").contains(is_hidden), "{text:?}");
        assert!(text.len() < 4_000, "{}", text.len());
    }
    assert_eq!(server.mails().len(), hostile.len());
}

#[test]
fn that_it_is_over_comes_into_the_thread_of_what_it_ends() {
    if !is_there("that_it_is_over_comes_into_the_thread_of_what_it_ends") {
        return;
    }
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let peer = Peer::start(move |line| {
        while line.request().is_some() {
            let status = if mended.load(Ordering::SeqCst) { "200 OK" } else { "500 Broken" };
            line.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(&json!({}));
    let text = format!(
        "[destination.erp]\nurl = {:?}\nbreaker = {{ failures = 3, probe = \"1s\" }}\nretry = {{ backoff = \"fixed\", delay = \"100ms\" }}\n\
         [[alert]]\non = [\"breaker\"]\nto = [ {{ email = \"anna@example.pl\", smtp = {{ url = {{ env = \"SMTP_URL\" }} }} }} ]\n",
        peer.url("/")
    );
    std::fs::write(dir.path().join("goniec.toml"), text).unwrap();
    let node = Node::serve(dir.path(), &format!("smtp://127.0.0.1:{}", server.port), "off");
    node.call("POST", "/v1/messages", &line("erp", "a").repeat(20));
    let begun = server.mail("erp fails and is left alone");
    is_mended.store(true, Ordering::SeqCst);
    let over = server.mail("Over: erp answers again");
    assert_eq!(header(&begun, "references"), header(&over, "references"));
    assert_eq!(header(&over, "in-reply-to"), header(&over, "references"));
    assert_ne!(header(&begun, "message-id"), header(&over, "message-id"));
}
