//! The rules for Rust files. Each takes one file and answers where it breaks the rule; an empty answer is a tidy file.

use super::source::{Source, has_word, item_end};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// The floors, from the ground: a module imports from floors below its own. Two of one height do not know each other.
const FLOORS: [(&str, u8); 8] = [
    ("model", 0),
    ("store", 1),
    ("transport", 1),
    ("engine", 2),
    ("admin", 3),
    ("source", 4),
    ("server", 5),
    ("cli", 6),
];

/// What is known in one place only, and where. A path that ends in `/` is a folder.
const KNOWN_BY: &[(&str, &[&str])] = &[
    ("bincode", &["src/model/codec.rs"]),
    // `goniec bench` measures both by themselves, to compare with.
    ("sled", &["src/store/sled/", "src/cli/bench/bare.rs"]),
    ("crossbeam_epoch", &["src/store/sled/"]),
    ("ureq", &["src/transport/http", "src/cli/bench/bare.rs"]),
    ("rustls", &["src/transport/http", "src/transport/secret/fresh.rs"]),
    ("lettre", &["src/transport/smtp.rs"]),
    ("jaq_core", &["src/transport/filter/"]),
    ("jaq_std", &["src/transport/filter/"]),
    ("minijinja", &["src/transport/shape"]),
    ("hmac", &["src/transport/secret/"]),
    ("sha2", &["src/transport/secret/", "src/model/chain.rs"]),
    ("zeroize", &["src/transport/secret/"]),
    // The resolver looks names up on threads of its own, because `getaddrinfo` cannot be given a deadline.
    ("crossbeam_channel", &["src/engine/threads", "src/engine/crew.rs", "src/transport/http/", "src/cli/"]),
    ("thread::spawn", &["src/engine/threads.rs", "src/transport/http/", "src/server/", "src/cli/"]),
    // A mail is sent on a thread of its own, because names and drips have no deadline there.
    (
        "thread::Builder",
        &["src/engine/threads.rs", "src/transport/http/", "src/transport/smtp.rs", "src/server/", "src/cli/"],
    ),
    ("tokio", &["src/server/"]),
    ("hyper", &["src/server/"]),
    ("hyper_util", &["src/server/"]),
    ("http_body_util", &["src/server/"]),
    ("clap", &["src/cli/"]),
    ("comfy_table", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
    ("ctrlc", &["src/cli/"]),
    ("env_logger", &["src/cli/"]),
    ("httparse", &["src/cli/", "src/server/guard.rs"]),
    ("toml", &["src/config.rs", "src/config/"]),
    ("uuid", &["src/model/id.rs", "src/transport/http/headers.rs"]),
];

/// Where a clock may be read. Everything else is given its time.
const CLOCKS_IN: &[&str] = &["src/engine/threads", "src/transport/http", "src/server/", "src/cli/", "src/main.rs"];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", ".elapsed()"];

/// Functions and files that are longer, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];
const LONG_FILES: &[&str] = &[
    // The contract of the store and every value that crosses it: one text, read as one.
    "src/store/mod.rs",
];

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

/// Files that are compiled for tests only.
fn is_test(path: &str) -> bool {
    !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

pub fn floors(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("src/").filter(|_| !is_test(&source.path)) else { return Vec::new() };
    let own = inside.split(['/', '.']).next().unwrap_or_default();
    let Some(height) = floor(own) else { return Vec::new() };
    // How many `super::` lead from this file to the crate.
    let depth = inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let whole = source.shipped.join("\n");
    let roots = ["crate::".to_owned(), "super::".repeat(depth)];
    let mut found = Vec::new();
    for root in &roots {
        for (at, _) in whole.match_indices(root.as_str()) {
            if whole[..at].ends_with("super::") {
                continue;
            }
            for name in heads(&whole[at + root.len()..]) {
                if name != own && floor(&name).is_some_and(|other| other >= height) {
                    let line = whole[..at].matches('\n').count();
                    found.push(source.at(line, &format!("{own} must not know {name}: imports point down only")));
                }
            }
        }
    }
    found
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(floor, _)| *floor == name).map(|(_, height)| *height)
}

/// The first names of a path: one, or those of a group in braces.
fn heads(path: &str) -> Vec<String> {
    let word =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

pub fn header(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    if first.starts_with("//! ") { Vec::new() } else { vec![source.at(0, "opens without a `//!` header")] }
}

pub fn clocks(source: &Source) -> Vec<String> {
    if is_test(&source.path) || is_in(&source.path, CLOCKS_IN) {
        return Vec::new();
    }
    lines(source, &source.shipped, |line| {
        CLOCKS.iter().find(|clock| line.contains(**clock)).map(|c| format!("reads a clock (`{c}`)"))
    })
}

pub fn known_by_one(source: &Source) -> Vec<String> {
    if is_test(&source.path) {
        return Vec::new();
    }
    let foreign = |line: &str| {
        let hit = KNOWN_BY.iter().find(|(name, places)| {
            let path = if name.contains("::") { (*name).to_owned() } else { format!("{name}::") };
            uses(line, &path) && !is_in(&source.path, places)
        });
        hit.map(|(name, places)| format!("uses {name}, which only {} may know", places.join(", ")))
    };
    lines(source, &source.shipped, foreign)
}

/// Whether the line names this path from its beginning: `sled::Db` or `::sled::Db`, not `store::sled::Db`.
fn uses(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = &line[..at];
        if path.starts_with("thread::") {
            return !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        }
        let outer = before.strip_suffix("::").unwrap_or(before);
        !outer.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

pub fn lengths(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let long = source.text.lines().count();
    if long > FILE_LINES_MAX && !LONG_FILES.contains(&source.path.as_str()) {
        found.push(source.at(0, &format!("{long} lines, at most {FILE_LINES_MAX}")));
    }
    for (number, line) in source.code.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let length = item_end(&source.code, number) + 1 - number;
        if length > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.contains(&(source.path.as_str(), &name)) {
            found.push(source.at(number, &format!("fn {name} has {length} lines, at most {FUNCTION_LINES_MAX}")));
        }
    }
    found
}

/// The name of the function whose definition begins on this line.
fn function(line: &str) -> Option<String> {
    let line = line.trim_start();
    let at = if line.starts_with("fn ") { 0 } else { line.find(" fn ")? + 1 };
    let is_definition = line[..at].split_whitespace().all(|word| {
        ["pub", "const", "async", "unsafe", "extern", "default"].contains(&word)
            || word.starts_with("pub(")
            || word.ends_with(')')
    });
    let name: String = line[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (is_definition && !name.is_empty()).then_some(name)
}

pub fn leftovers(source: &Source) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        if let Some(mark) = marks.iter().find(|mark| has_word(line, mark)) {
            found.push(source.at(number, &format!("left over: {mark}")));
        }
    }
    let calls = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!(")];
    found.extend(lines(source, &source.code, |line| {
        calls.iter().find(|c| line.contains(**c)).map(|c| format!("left over: {c}..)"))
    }));
    found.extend(lines(source, &source.code, |line| {
        line.contains("#[ignore").then(|| "an ignored test proves nothing".to_owned())
    }));
    found
}

/// A sleep is luck, unless a comment on its line or above says what makes it sound.
pub fn sleeps(source: &Source) -> Vec<String> {
    let text: Vec<&str> = source.text.lines().collect();
    let said = |number: usize| text.get(number).is_some_and(|line| line.contains("//"));
    let mut found = Vec::new();
    for (number, line) in source.code.iter().enumerate() {
        let is_said = said(number) || (number > 0 && said(number - 1));
        if line.contains("thread::sleep") && !line.contains("use ") && !is_said {
            found.push(source.at(number, "sleeps without saying why"));
        }
    }
    found
}

/// Data that is shared between checkouts may be absent; only tests, which say so, may name it.
pub fn outside(source: &Source) -> Vec<String> {
    let name = concat!("../", "shared");
    if source.path.starts_with("tests/") {
        return Vec::new();
    }
    let found = source.text.lines().enumerate().filter(|(_, line)| line.contains(name));
    found.map(|(number, _)| source.at(number, "names a folder outside the repository")).collect()
}

fn lines(source: &Source, lines: &[String], rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    lines.iter().enumerate().filter_map(|(number, line)| rule(line).map(|what| source.at(number, &what))).collect()
}
