//! Strings that mean harm, in every field that they fit and through every verb that prints them: nothing that a verb prints steers the terminal, and its JSON
//! gives each string back as it was.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goniec::transport::http::call;
use serde_json::{Value, json};

/// Besides those of the console: what steers a terminal, turns what follows it, or hides in it.
const MORE: [&str; 8] = [
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;http://evil.example\u{1b}\\click\u{1b}]8;;\u{1b}\\",
    "\u{9b}2J\u{9d}x\u{9c}",
    "a\rb\u{8}\u{8}\u{8}c\u{7f}",
    "\u{2066}a\u{2069}\u{200f}\u{61c}",
    "a\u{200b}b\u{feff}c\u{e0041}",
    "one\u{2028}two\u{2029}three\u{85}four",
    "\t\u{c}\u{b}x",
];
const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Node {
    /// Serves `mirror`, which answers that it refuses everything, and with what.
    fn serve(refusal: &peer::Peer) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let config = format!("[destination.mirror]\nurl = \"{}\"\n", refusal.url("/"));
        std::fs::write(dir.path().join("goniec.toml"), config).unwrap();
        let mut command = goniec(&["serve", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(dir.path().join("data")).arg("--config").arg(dir.path().join("goniec.toml"));
        let mut child = command.env("RUST_LOG", "off").stdout(Stdio::piped()).spawn().unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        Node { url: url.trim_end_matches(',').to_owned(), child, _dir: dir }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let answer = call(method, &format!("{}{path}", self.url), headers, body, PATIENCE).expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// What a verb prints, on both sides; nothing of it is a letter that is not seen.
    fn says(&self, words: &[&str]) -> String {
        let output = goniec(words).env("GONIEC_URL", &self.url).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        assert!(output.status.success(), "{words:?}: {said:?}");
        said.iter().for_each(|text| harmless(text, words));
        let [printed, _] = said;
        printed
    }

    /// The same with `--json`: the objects, one a line.
    fn tells(&self, words: &[&str]) -> Vec<Value> {
        let said = self.says(&[words, &["--json"]].concat());
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
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
    command.args(words).env_remove("GONIEC_TOKEN").env_remove("GONIEC_CONFIG").stdin(Stdio::null());
    command
}

/// Said here once more, and more widely than the node says it: only ends of lines are not letters.
fn steers(letter: char) -> bool {
    let turns =
        matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    (letter.is_control() && letter != '\n') || turns || matches!(letter, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn harmless(text: &str, words: &[&str]) {
    let found = text.chars().find(|letter| steers(*letter));
    assert_eq!(found, None, "{words:?} prints {:?}", text.lines().find(|line| line.contains(steers)));
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Hands a string in, in every field that takes it; gives the id and whether it is the key too.
fn hand_in(node: &Node, text: &str) -> (String, bool) {
    let whole = json!({"destination": "mirror", "body": text, "key": text, "type": text, "idempotency_key": text});
    let bare = json!({"destination": "mirror", "body": text});
    let json = [("content-type", "application/json")];
    for (envelope, is_key) in [(whole, true), (bare, false)] {
        let (status, answer) = node.ask("POST", "/v1/messages", &json, envelope.to_string().as_bytes());
        if status == 202 {
            return (answer["id"].as_str().unwrap().to_owned(), is_key);
        }
    }
    panic!("{text:?} is not even taken as a body");
}

#[test]
fn no_string_steers_the_terminal_of_whoever_lists_it() {
    let mut strings = hostile::strings(9);
    strings.extend(MORE.map(str::to_owned));
    let refused = strings.join(" ").replace(['\r', '\n'], " ");
    let answer =
        format!("HTTP/1.1 400 Bad\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{refused}", refused.len());
    let refusal = peer::Peer::answering(answer);
    let node = Node::serve(&refusal);
    let tail = |words: &[&str]| {
        let mut command = goniec(words);
        command.env("GONIEC_URL", &node.url).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut tails = [tail(&["tail"]), tail(&["tail", "--json"])];
    let heard = tails.each_mut().map(|child| {
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>())
    });
    let (mut keys, mut whys) = (0, 0);
    let said: Vec<(String, String, bool)> = strings
        .iter()
        .map(|text| {
            let (id, is_key) = hand_in(&node, text);
            (text.clone(), id, is_key)
        })
        .collect();
    for (text, id, is_key) in &said {
        let why = encoded(text);
        let (status, _) = node.ask("POST", &format!("/v1/destinations/mirror/pause?why={why}"), &[], b"");
        if status == 200 {
            whys += 1;
            node.says(&["destinations"]);
            let lanes = node.tells(&["destinations"]);
            let paused = lanes.iter().find(|lane| lane["name"] == "mirror").unwrap();
            assert_eq!(paused["paused"]["why"], **text, "{text:?}");
            node.ask("POST", &format!("/v1/messages/{id}/resend?why={why}"), &[], b"");
        }
        node.says(&["show", id]);
        let shown = &node.tells(&["show", id])[0];
        assert_eq!(shown["revisions"][0]["body"], **text, "{text:?}");
        if *is_key {
            keys += 1;
            assert_eq!((&shown["key"], &shown["type"]), (&json!(text), &json!(text)));
            // What begins like a flag is named after two dashes.
            node.says(&["explain", "--", text]);
            let story = &node.tells(&["explain", text])[0];
            assert_eq!(story["key"], **text, "{text:?}");
        }
    }
    assert!(keys >= 55 && whys >= 55, "{keys} are keys, {whys} are reasons");
    for verb in ["ls", "keys", "audit", "incidents", "destinations"] {
        let limit: &[&str] = if ["ls", "keys", "audit"].contains(&verb) { &["--limit", "1000"] } else { &[] };
        let words = [&[verb][..], limit].concat();
        assert!(!node.says(&words).is_empty(), "{verb}");
        let told = node.tells(&words);
        let named = |text: &str| told.iter().any(|one| one["key"] == *text);
        if ["ls", "keys"].contains(&verb) {
            assert!(said.iter().filter(|(.., is_key)| *is_key).all(|(text, ..)| named(text)), "{verb}");
        }
    }
    drop(node);
    for (child, heard) in tails.iter_mut().zip(heard) {
        child.wait().unwrap();
        let lines = heard.join().unwrap();
        assert!(lines.len() >= strings.len(), "{} transitions were seen", lines.len());
        lines.iter().for_each(|line| harmless(line, &["tail"]));
    }
    // The controls.
    assert!(steers('\u{1b}') && steers('\u{202e}') && steers('\u{9b}') && !steers('ż') && !steers('\n'));
    println!("{} strings, {keys} of them as keys, {whys} as reasons", strings.len());
}
