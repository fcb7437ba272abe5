//! The style that matters, as a test: floors, headers, clocks, lengths, what may know what, and links that lead somewhere.
//!
//! Every rule is run over the whole repository, and over a planted fault that it must find.

#[path = "tidy/markdown.rs"]
mod markdown;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use source::Source;

type Rule = fn(&Source) -> Vec<String>;

const TOP: &[&str] =
    &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "benches", "deny.toml", "docs", "src", "tests"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below the folder whose name ends like this, by its path from the top; pictures are not read.
fn files(folder: &str, ending: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for path in entries.map(|entry| entry.expect("is listed").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) && path.extension().is_none_or(|kind| kind != "png") {
                let name = path.strip_prefix(root()).expect("is below").to_string_lossy().replace('\\', "/");
                found.insert(name, fs::read_to_string(&path).expect("is text"));
            }
        }
    }
    found
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let all = folders.iter().flat_map(|folder| files(folder, ".rs"));
    all.map(|(path, text)| Source::new(&path, &text)).collect()
}

fn hold(rule: Rule, folders: &[&str]) {
    let sources = sources(folders);
    assert!(!sources.is_empty(), "the rule looks at something");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The rule finds as many faults in this text as are planted.
fn planted(rule: Rule, path: &str, text: &str, faults: usize) {
    let found = rule(&Source::new(path, text));
    assert_eq!(found.len(), faults, "{path}: {text}\n{found:?}");
}

#[test]
fn imports_point_down() {
    hold(rules::floors, &["src"]);
    planted(rules::floors, "src/model/a.rs", "use crate::store::Store;", 1);
    planted(rules::floors, "src/model/a.rs", "use super::super::{engine::{Host, model}, model::Id, cli};", 2);
    planted(rules::floors, "src/store/mod.rs", "use crate::{model::Id,\n transport::Transport};", 1);
    planted(rules::floors, "src/store/sled/mod.rs", "fn f(x: super::super::engine::X) {}", 1);
    planted(rules::floors, "src/engine/a.rs", "use crate::store::engine; use crate::model::Id; use super::threads;", 0);
    planted(rules::floors, "src/engine/a.rs", "#[cfg(test)]\nmod tests {\n use crate::cli;\n}\n// crate::cli\n", 0);
}

#[test]
fn every_file_opens_with_its_header() {
    hold(rules::header, &["src", "tests", "benches"]);
    planted(rules::header, "src/a.rs", "use std::fs;\n//! late\n", 1);
}

#[test]
fn clocks_are_read_at_the_edges_only() {
    hold(rules::clocks, &["src"]);
    planted(rules::clocks, "src/model/a.rs", "let now = std::time::Instant::now();\nlet past = then.elapsed();", 2);
    planted(rules::clocks, "src/engine/send.rs", "let now = SystemTime::now();", 1);
    planted(rules::clocks, "src/engine/threads.rs", "let now = SystemTime::now();", 0);
}

#[test]
fn what_is_known_by_one_is_known_by_one() {
    hold(rules::known_by_one, &["src"]);
    planted(rules::known_by_one, "src/engine/a.rs", "use sled::Db;\nlet a = ureq::agent();\nstd::thread::spawn(f);", 3);
    planted(rules::known_by_one, "src/admin/a.rs", "use crossbeam_channel::bounded;\nuse tokio::net;", 2);
    planted(rules::known_by_one, "src/engine/a.rs", "use crate::store::sled::Sled;", 0);
    planted(rules::known_by_one, "src/store/sled/open.rs", "use sled::Db;", 0);
}

#[test]
fn functions_and_files_are_short() {
    hold(rules::lengths, &["src", "tests", "benches"]);
    let long = |lines: usize| format!("pub(crate) fn long(\n    a: u8,\n) {{\n{}}}\n", "    work();\n".repeat(lines));
    planted(rules::lengths, "src/a.rs", &long(66), 0);
    planted(rules::lengths, "src/a.rs", &long(67), 1);
    planted(rules::lengths, "src/a.rs", &"// line\n".repeat(501), 1);
}

#[test]
fn nothing_is_left_over() {
    hold(rules::leftovers, &["src", "tests", "benches"]);
    let text = [concat!("// TO", "DO later"), concat!("to", "do!()"), concat!("#[ig", "nore]")].join("\n");
    planted(rules::leftovers, "src/a.rs", &text, 3);
    planted(rules::leftovers, "src/a.rs", concat!("// MASTO", "DON"), 0);
}

#[test]
fn sleeps_say_why() {
    hold(rules::sleeps, &["src", "tests", "benches"]);
    planted(rules::sleeps, "tests/a.rs", "fn f() {\n    thread::sleep(LONG);\n}", 1);
    planted(rules::sleeps, "tests/a.rs", "// Polls: the loop has a deadline.\nthread::sleep(SHORT);", 0);
}

#[test]
fn only_tests_name_what_lies_outside() {
    let mut found: Vec<String> = sources(&["src", "tests", "benches"]).iter().flat_map(rules::outside).collect();
    let rest = files("docs", "").into_iter().chain(files(".ci", ""));
    let single = TOP.iter().filter_map(|name| Some(((*name).to_owned(), fs::read_to_string(root().join(name)).ok()?)));
    found.extend(rest.chain(single).flat_map(|(path, text)| rules::outside(&Source::new(&path, &text))));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    planted(rules::outside, "docs/a.md", concat!("see ../", "shared/a.md"), 1);
}

/// What lies at the top but should not: neither permitted, nor hidden, nor named by .gitignore.
fn strays<'a>(names: impl IntoIterator<Item = &'a str>, ignored: &str) -> Vec<String> {
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let strays = names.into_iter().filter(|name| !TOP.contains(name) && !name.starts_with('.') && !is_ignored(name));
    strays.map(str::to_owned).collect()
}

#[test]
fn the_top_holds_what_belongs_there() {
    let names: Vec<String> = fs::read_dir(root())
        .expect("is listed")
        .map(|entry| entry.expect("is listed").file_name().to_string_lossy().into_owned())
        .collect();
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    assert_eq!(strays(names.iter().map(String::as_str), &ignored), Vec::<String>::new());
    assert_eq!(strays(["src", "notes.txt", ".ci", "target"], "/target\n"), ["notes.txt"]);
}

#[test]
fn documents_have_one_title_and_live_links() {
    let mut all = files("docs", ".md");
    all.extend(fs::read_to_string(root().join("README.md")).map(|text| ("README.md".to_owned(), text)));
    assert!(!all.is_empty());
    let mut found = Vec::new();
    for (path, text) in &all {
        found.extend(markdown::one_title(path, text));
        found.extend(markdown::dead_links(path, &all, |to| root().join(to).exists()));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
