//! The real binary over its own HTTP: what it prints, what it answers, and with which exit code it ends.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[path = "common/search.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod search;
#[path = "common/watched.rs"]
mod watched;

use watched::Watched;

struct Node {
    child: Watched,
    url: String,
    curl: String,
}

impl Node {
    /// Serves at a port that the system chooses, and reads what it prints.
    fn serve(dir: &Path, config: Option<&str>, token: Option<&str>) -> Node {
        let mut command = goniec(&["serve", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(dir).stdout(Stdio::piped());
        if let Some(file) = config {
            command.args(["--config", file]);
        }
        if let Some(token) = token {
            command.args(["--token", token]);
        }
        let mut child = Watched::start(&mut command, dir);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        let url = url.trim_end_matches(',').to_owned();
        lines.next();
        let curl = lines.next().unwrap().unwrap();
        Node { child, url, curl }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        goniec(arguments).env("GONIEC_URL", &self.url).output().unwrap()
    }

    fn feed(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = goniec(arguments);
        command.env("GONIEC_URL", &self.url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn goniec(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
    command.args(arguments).env_remove("GONIEC_TOKEN").env_remove("GONIEC_URL").stdin(Stdio::null());
    command
}

/// The output, once the exit code and the words of the error are as expected.
fn check(output: &Output, code: i32, says: &str) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(says) || err.contains(says), "{says:?} in {out}{err}");
    out.trim().to_owned()
}

#[test]
fn a_message_is_handed_in_shown_edited_resent_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, None);
    let held = check(&node.run(&["send", "log", "one", "--key", "ż 1", "--not-before", "1h"]), 0, "");
    let shown = check(&node.run(&["show", &held, "--json"]), 0, "");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((shown["state"].as_str(), shown["key"].as_str()), (Some("queued"), Some("ż 1")));
    assert_eq!(shown["revisions"][0]["body"], "one");

    check(&node.run(&["hold", &held]), 0, "queued");
    let body = dir.path().join("body");
    std::fs::write(&body, "two").unwrap();
    check(&node.run(&["edit", &held, "-f", body.to_str().unwrap(), "--why", "a slip"]), 0, &held);
    check(&node.run(&["show", &held]), 0, "a slip");
    check(&node.run(&["edit", &held, "-f", body.to_str().unwrap(), "--why", "x", "--dry-run"]), 2, "--field");
    let json = check(&node.run(&["send", "log", "{\"a\": 1e2}", "--not-before", "1h"]), 0, "");
    check(&node.run(&["edit", &json, "-f", body.to_str().unwrap(), "--why", "x"]), 2, "no JSON, and its content type");
    let field = ["edit", &json, "--field", "/a", "--to", "12345678901234567890123", "--why", "x"];
    check(&node.run(&[&field[..], &["--dry-run"]].concat()), 0, "1 messages");
    check(&node.run(&[&field[..], &["--yes"]].concat()), 0, "edit: 1 done, 0 refused");
    check(&node.run(&["show", &json, "--json"]), 0, "12345678901234567890123");
    check(&node.run(&["edit", &json, "--field", "/a", "--to", "PL", "--why", "x", "--yes"]), 2, "is JSON, not PL");
    check(&node.run(&["edit", &json, "-f", body.to_str().unwrap(), "--why", "meant", "--yes"]), 0, &json);
    check(&node.run(&["rm", &json]), 0, "removed");
    let edit = ["edit", "state:queued", "--field", "/country", "--to", "\"PL\"", "--why", "a slip"];
    let id = check(&node.run(&["send", "log", "{\"country\": \"Poland\"}", "--not-before", "1h"]), 0, "");
    let line = format!("{id}  /country: \"Poland\" -> \"PL\"");
    check(&node.run(&[&edit[..], &["--dry-run"]].concat()), 0, &line);
    check(&node.run(&[&edit[..], &["--yes"]].concat()), 1, "edit: 1 done, 1 refused");
    check(&node.run(&["cancel", &id]), 0, "abandoned");
    check(&node.run(&["rm", &id, "--yes"]), 0, &id);
    check(&node.run(&["cancel", &held]), 0, "abandoned");
    check(&node.run(&["ls", "state:abandoned", "reason:cancelled", "--json"]), 0, &held);
    check(&node.run(&["rm", "state:abandoned", "--dry-run"]), 0, "1 messages");
    check(&node.run(&["rm", "state:abandoned"]), 2, "--yes");
    check(&node.run(&["rm", "state:abandoned", "--yes", "--why", "a test"]), 0, "rm: 1 done, 0 refused");
    check(&node.run(&["bulk", "list"]), 0, "delete");
    check(&node.run(&["bulk", "show", "1"]), 0, "done");
    check(&node.run(&["bulk", "cancel", "77"]), 1, "no bulk job");
    check(&node.run(&["rm", "state:abandoned", "--yes"]), 1, "no message matches");
    check(&node.run(&["hold", "--state", "abandoned", "--destination", "nowhere", "--dry-run"]), 1, "nowhere");
    check(&node.run(&["audit"]), 0, "bulk-end");
    check(&node.run(&["audit", "--verify"]), 0, "sound");
    check(&node.run(&["audit", "--verify", "--head", "1:00"]), 2, "number and the hash");
    check(&node.run(&["show", &held]), 1, "no message");
    check(&node.run(&["stats"]), 0, "accepted");
}

#[test]
fn a_key_is_explained_and_what_is_behind_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, None);
    let held = check(&node.run(&["send", "log", "for Jan Kowalski", "--key", "order 7", "--not-before", "1h"]), 0, "");
    check(&node.run(&["send", "log", "for nobody", "--key", "order 8", "--not-before", "1h"]), 0, "");
    check(&node.run(&["keys", "--stale"]), 0, "order 7");
    let one = check(&node.run(&["keys", "--key", "order 7", "--destination", "log", "--json"]), 0, "");
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["in_sync"], &one["last_accepted"]["id"]), (&false.into(), &held.as_str().into()));
    check(&node.run(&["keys", "--older-than", "1h"]), 1, "no key matches");
    check(&node.run(&["keys", "--older-than", "0s"]), 0, "order 8");
    check(&node.run(&["keys", "--older-than", "15"]), 2, "no unit");

    let story = check(&node.run(&["explain", "order 7"]), 0, "accepted, not to go before");
    assert!(story.lines().last().unwrap().starts_with("now "), "{story}");
    check(&node.run(&["explain", "order 7", "--json"]), 0, "\"what\":\"waits\"");
    check(&node.run(&["explain", "order 9"]), 1, "no message has the key");

    for filter in ["\"Jan Kowalski\"", "text:Kowalski", &format!("id:{held}")] {
        let found = check(&node.run(&["ls", filter, "--json"]), 0, &held);
        assert_eq!(found.lines().count(), 1, "{filter}: {found}");
    }
    check(&node.run(&["ls", "--text", "kowalski"]), 1, "no message matches");
    check(&node.run(&["ls", "Kowalski"]), 2, "in double quotes");
}

#[test]
fn destinations_are_listed_paused_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("goniec.toml");
    let config = "[destination.erp]\nurl = \"http://127.0.0.1:1/\"\nretry = { cycle = \"0 6 * * * Europe/Warsaw\" }\n\
        [destination.shop]\nurl = \"http://127.0.0.1:1/\"\n";
    std::fs::write(&file, config).unwrap();
    let node = Node::serve(&dir.path().join("data"), file.to_str(), None);
    let text = check(&node.run(&["pause", "erp", "--why", "stock & taking"]), 0, "erp paused since");
    assert!(text.contains("person, local, stock & taking"), "{text}");
    check(&node.run(&["send", "erp", "x"]), 0, "");
    let text = check(&node.run(&["destinations"]), 0, "WAITS");
    assert!(text.lines().any(|line| line.contains("erp") && line.contains("stock & taking")), "{text}");
    check(&node.run(&["destinations", "--json"]), 0, "\"cause\":\"person\"");
    check(&node.run(&["resume", "erp"]), 0, "erp goes on");
    check(&node.run(&["cycle", "list"]), 0, "0 6 * * * Europe/Warsaw");
    check(&node.run(&["cycle", "run", "erp"]), 0, "erp");
    check(&node.run(&["cycle", "run", "shop"]), 2, "no cycle");
    check(&node.run(&["pause", "erpp"]), 1, "Did you mean");
    check(&node.run(&["pause"]), 2, "DESTINATION");
}

#[test]
fn lines_are_handed_in_whole_and_wrong_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, None);
    let lines: String = (0..250).map(|n| format!("{{\"n\" : {n}}}\n")).collect();
    check(&node.feed(&["send", "log", "--ndjson"], &lines), 0, "250 messages accepted");
    let listed = check(&node.run(&["ls", "--limit", "1000", "--json"]), 0, "");
    assert_eq!(listed.lines().count(), 250);
    check(&node.feed(&["send", "log", "--ndjson"], "{}\nnot json\n"), 2, "line 2");
    check(&node.feed(&["send", "lgo", "--ndjson"], "1\n"), 1, "unknown destination");
}

/// What waits for a key waits through a kill, and goes when one of that key was delivered.
#[test]
fn an_order_waits_for_its_customer_and_through_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, None);
    let after = ["--after", "customer:77", "--after", "ż,1"];
    let order = check(&node.run(&[&["send", "log", "x", "--key", "order:1"][..], &after].concat()), 0, "");
    check(&node.run(&["send", "log", "x", "--key", "k", "--after", "k"]), 1, "would wait for ever");
    check(
        &node.feed(&["send", "log", "--ndjson", "--after", "customer:77"], "{\"body\":1,\"key\":\"line\"}\n"),
        0,
        "1 messages",
    );
    check(&node.feed(&["send", "log", "--ndjson", "--after", "k"], "{\"body\":1,\"key\":\"k\"}\n"), 1, "line 1: ");
    drop(node);

    let node = Node::serve(dir.path(), None, None);
    check(&node.run(&["ls", "key:order:1"]), 0, "after customer:77 ż,1");
    let text = check(&node.run(&["show", &order]), 0, "");
    assert!(text.lines().any(|line| line == "waits for key    ż,1  no message of it is known"), "{text}");
    check(&node.run(&["send", "log", "x", "--key", "ż,1"]), 0, "");
    check(&node.run(&["send", "log", "x", "--key", "customer:77"]), 0, "");
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !check(&node.run(&["stats"]), 0, "").contains("delivered        4") {
        assert!(std::time::Instant::now() < limit, "{}", check(&node.run(&["ls"]), 0, ""));
    }
    assert!(!check(&node.run(&["show", &order]), 0, "delivered").contains("waits for key"));
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_the_right_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, None);
    check(&node.run(&["ls", "to:log", "stat:failed"]), 2, "column 8");
    check(&node.run(&["show", "17"]), 2, "goniec ls");
    check(&node.run(&["ls"]), 1, "no message matches");
    check(&node.run(&["send", "log", "x", "--deadline", "15"]), 2, "no unit");
    check(&node.run(&["stats", "--url", "http://127.0.0.1:1"]), 3, "cannot reach");
    check(&node.run(&["nonsense"]), 2, "nonsense");
    let listen = node.url.strip_prefix("http://").unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    check(&node.run(&["serve", "--data", other, "--listen", listen]), 2, "in use");
    let locked = node.run(&["serve", "--data", dir.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    check(&locked, 2, &format!("in use by process {}", node.child.id()));
    check(&node.run(&["serve", "--data", other, "--listen", "0.0.0.0:0"]), 2, "needs a token");
    let export = Path::new(other).join("export");
    std::fs::write(&export, goniec(&["export", "--data", other]).output().unwrap().stdout).unwrap();
    let import = |into: &str| {
        let mut command = goniec(&["import", "--data", into]);
        command.arg(&export).current_dir(Path::new(other).join("here")).output().unwrap()
    };
    std::fs::create_dir(Path::new(other).join("here")).unwrap();
    for (into, code, says) in [("..", 2, "is not empty"), ("", 2, "is no directory"), (".", 0, "")] {
        check(&import(into), code, says);
    }
    assert!(Path::new(other).join("here/witness").exists());
    let file = dir.path().join("goniec.toml");
    std::fs::write(&file, "[server]\nbody_mx = \"1MiB\"\n").unwrap();
    check(&node.run(&["check", "--config", file.to_str().unwrap()]), 2, "did you mean `body_max`?");
    let limited =
        "[destination.erp]\nurl = \"http://127.0.0.1:1\"\nrate = \"100/1m\"\nhours = \"Mon-Fri 08:00-18:00\"\n";
    std::fs::write(&file, limited).unwrap();
    let said = check(&node.run(&["check", "--config", file.to_str().unwrap()]), 0, "sound; 1 destination(s)");
    assert!(said.contains("  erp: at most 100/1m, 1 at once; open Mon-Fri 08:00-18:00"), "{said}");
}

#[test]
fn a_store_that_can_take_nothing_ends_with_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (file, body) = (dir.path().join("goniec.toml"), dir.path().join("body"));
    std::fs::write(&file, "[server]\nbody_max = \"16MiB\"\n[store]\nsize_max = \"64MiB\"\n").unwrap();
    std::fs::write(&body, vec![b'x'; 4 << 20]).unwrap();
    let node = Node::serve(&dir.path().join("data"), Some(file.to_str().unwrap()), None);
    let send = || node.run(&["send", "log", "-f", body.to_str().unwrap()]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while send().status.code() == Some(0) {
        assert!(std::time::Instant::now() < until, "a registry over its limit goes on taking messages");
    }
    check(&send(), 4, "full");
    check(&node.run(&["stats"]), 0, "accepted");
}

#[test]
fn a_registry_of_another_format_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    drop(Node::serve(dir.path(), None, None));
    let file = dir.path().join("format");
    let ours = std::fs::read_to_string(&file).unwrap();
    for (text, says) in
        [(ours.replacen("format ", "format 9", 1), "format 9"), ("something else\n".into(), "goniec registry")]
    {
        std::fs::write(&file, &text).unwrap();
        for verb in ["serve", "verify"] {
            check(&goniec(&[verb, "--data", data]).output().unwrap(), 2, says);
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "nothing is written");
    }
    std::fs::write(&file, ours).unwrap();
    check(&goniec(&["verify", "--data", data]).output().unwrap(), 0, "sound");
    std::fs::remove_file(dir.path().join("witness")).unwrap();
    check(&goniec(&["verify", "--data", data]).output().unwrap(), 4, "witness");
}

#[test]
fn a_node_outlives_the_reader_of_what_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = goniec(&["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"]);
    let mut child = Watched::start(command.arg(dir.path()).stdout(Stdio::piped()), dir.path());
    drop(child.stdout.take());
    let node = Node { child, url: format!("http://127.0.0.1:{port}"), curl: String::new() };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while node.run(&["stats"]).status.code() != Some(0) {
        assert!(std::time::Instant::now() < until, "the node ended with its reader");
    }
    check(&node.run(&["send", "log", "x"]), 0, "");
}

#[test]
fn every_verb_has_a_manual_page() {
    let whole = check(&goniec(&["man"]).output().unwrap(), 0, ".TH goniec");
    for verb in ["serve", "send", "verify", "man"] {
        assert!(whole.contains(verb));
        check(&goniec(&["man", verb]).output().unwrap(), 0, &format!(".TH goniec-{verb}"));
    }
    check(&goniec(&["man", "sedn"]).output().unwrap(), 2, "no verb");
}

#[test]
fn the_printed_curl_line_works_as_printed() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: the_printed_curl_line_works_as_printed: there is no curl");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, None);
    let output = Command::new("sh").args(["-c", &node.curl]).output().unwrap();
    check(&output, 0, "\"id\"");
}

#[test]
fn a_token_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::serve(dir.path(), None, Some("canary-of-the-node"));
    check(&node.run(&["stats"]), 2, "no valid token");
    check(&node.run(&["stats", "--token", "canary-of-the-node"]), 0, "accepted");
}

#[test]
fn a_signal_ends_cleanly_and_a_stopped_registry_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::serve(dir.path(), None, None);
    check(&node.run(&["send", "log", "x"]), 0, "");
    let pid = node.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
    let data = dir.path().to_str().unwrap();
    check(&goniec(&["verify", "--data", data]).output().unwrap(), 0, "1 messages, all of them sound");
    let into = tempfile::tempdir().unwrap();
    let into = into.path().join("new");
    let salvaged = goniec(&["salvage", data, "--into", into.to_str().unwrap()]).output().unwrap();
    check(&salvaged, 0, "1 messages carried over");
}

/// What `check` warns of, a node that is started without it says too.
#[test]
fn a_node_says_what_is_doubtful_in_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("goniec.toml"), dir.path().join("data"));
    // It ends at once, so that what it says can be read: a file is no registry.
    std::fs::write(&data, "a letter").unwrap();
    for (url, is_doubtful) in [("http://shop.example/", true), ("https://shop.example/", false)] {
        std::fs::write(&file, format!("[destination.shop]\nurl = \"{url}\"\n")).unwrap();
        let paths = [file.to_str().unwrap(), data.to_str().unwrap()];
        let output = goniec(&["serve", "--listen", "127.0.0.1:0", "--config", paths[0], "--data", paths[1]])
            .env("RUST_LOG", "warn")
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).contains("can be read on its way");
        assert_eq!(said, is_doubtful, "{output:?}");
    }
}

#[test]
fn a_script_of_the_sink_that_cannot_be_read_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("courier.sink");
    let run = |script: &str, flags: &[&str]| {
        std::fs::write(&file, script).unwrap();
        let script = ["sink", "--listen", "127.0.0.1:0", "--script", file.to_str().unwrap()];
        goniec(&[&script[..], flags].concat()).output().unwrap()
    };
    let output = run("until 2m -> 503\nuntil 3m -> rset\n", &[]);
    check(&output, 2, "courier.sink:2:13: \"rset\" is no word of a manner; did you mean reset?");
    check(&output, 2, "docs/sink.md");
    check(&run("", &["--do", "503 wiat 2s"]), 2, "--do: column 5: \"wiat\" is no word of a manner; did you mean wait?");
    check(&run("", &["--status", "5O3"]), 2, "--status: column 1");
    check(&run("", &["--fail", "80%", "--reset", "30%"]), 2, "more than all requests");
    let output = goniec(&["sink", "--script", "/nowhere.sink"]).output().unwrap();
    check(&output, 2, "cannot read /nowhere.sink");
}

/// The whole way by the binary alone: a sink with a script, a node, and messages of which one asks for a reset.
#[test]
fn a_sink_with_a_script_ends_when_it_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("shop.sink"), "key b attempt 1 -> 503 retry-after 0\n").unwrap();
    let mut command = goniec(&["sink", "--listen", "127.0.0.1:0", "--expect", "3", "--script"]);
    let mut sink =
        command.args([file("shop.sink"), "--ledger".into(), file("taken")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(sink.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let url = first.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',');
    let toml = format!("[destination.shop]\nurl = \"{url}\"\nretry = {{ backoff = \"fixed\", delay = \"50ms\" }}\n");
    std::fs::write(file("goniec.toml"), toml).unwrap();
    let node = Node::serve(&dir.path().join("data"), Some(&file("goniec.toml")), None);
    let line =
        |key: &str, headers: &str| format!("{{\"destination\":\"shop\",\"key\":\"{key}\",{headers}\"body\":1}}\n");
    let lines_in =
        [line("a", ""), line("b", ""), line("c", "\"headers\":{\"sink-do\":\"attempt 1 -> reset\"},")].concat();
    check(&node.feed(&["send", "shop", "--ndjson", "-"], &lines_in), 0, "");
    let figures = lines.map_while(Result::ok).last().unwrap();
    assert_eq!(sink.wait().unwrap().code(), Some(0), "{figures}");
    assert!(
        figures.contains("\"requests\":5,\"taken\":3,\"distinct\":3,") && figures.contains("\"reset\":1"),
        "{figures}"
    );
    assert_eq!(std::fs::read_to_string(file("taken")).unwrap().lines().count(), 3);
}
