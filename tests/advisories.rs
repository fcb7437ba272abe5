//! The dependency tree against facts: known advisories, licences, sources.
//!
//! Works without a network: advisories come from the dated list in `advisories.toml`, licences and the permitted registry from
//! `deny.toml`, the tree from `Cargo.lock` and `cargo metadata`. Knows nothing of advisories newer than its list, and says how old that is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

const SNAPSHOT_AGE_DAYS_MAX: i64 = 45;

fn read(path: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).parse().expect("is TOML")
}

fn tables<'a>(table: &'a Table, key: &str) -> Vec<&'a Table> {
    table[key].as_array().expect("is an array").iter().map(|v| v.as_table().expect("holds tables")).collect()
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A version's release numbers; what follows `-` or `+` is left out.
fn version(text: &str) -> Vec<u64> {
    text.split(['-', '+']).next().unwrap_or_default().split('.').map(|n| n.parse().expect("is a number")).collect()
}

/// What the list holds against this lock file, given the advisories that are ignored with a reason.
fn against(lock: &Table, list: &Table, ignored: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for package in tables(lock, "package") {
        for fact in tables(list, "advisory").into_iter().filter(|fact| text(fact, "crate") == text(package, "name")) {
            let (id, name, at) = (text(fact, "id"), text(package, "name"), text(package, "version"));
            if fact.contains_key("unmaintained") {
                if !ignored.contains(id) {
                    found.push(format!("{id}: {name} {at} is unmaintained, and deny.toml gives no reason to keep it"));
                }
            } else if version(at) < version(text(fact, "patched")) {
                found.push(format!("{id}: {name} {at} is older than {}", text(fact, "patched")));
            }
        }
    }
    found
}

fn ignored() -> BTreeSet<String> {
    let deny = read("deny.toml");
    let advisories = deny["advisories"].as_table().expect("is a table");
    tables(advisories, "ignore")
        .iter()
        .map(|entry| {
            assert!(!text(entry, "reason").is_empty(), "{} is ignored without a reason", text(entry, "id"));
            text(entry, "id").to_owned()
        })
        .collect()
}

#[test]
fn no_known_advisory_concerns_the_lock_file() {
    let list = read("tests/advisories.toml");
    let found = against(&read("Cargo.lock"), &list, &ignored());
    assert!(found.is_empty(), "{}", found.join("\n"));
    let snapshot: jiff::Timestamp = format!("{}T00:00:00Z", text(&list, "snapshot")).parse().expect("is a date");
    let days = jiff::Timestamp::now().duration_since(snapshot).as_hours() / 24;
    if days > SNAPSHOT_AGE_DAYS_MAX {
        println!("warning: the list of advisories is {days} days old; renew tests/advisories.toml");
    }
}

#[test]
fn only_what_is_in_the_lock_file_is_ignored() {
    let lock = read("Cargo.lock");
    let names: BTreeSet<&str> = tables(&lock, "package").iter().map(|p| text(p, "name")).collect();
    let list = read("tests/advisories.toml");
    for id in ignored() {
        let about = tables(&list, "advisory").into_iter().find(|fact| text(fact, "id") == id);
        let about = about.unwrap_or_else(|| panic!("{id} is ignored but not in tests/advisories.toml"));
        assert!(names.contains(text(about, "crate")), "{id} is ignored, but {} is gone", text(about, "crate"));
    }
}

#[test]
fn a_planted_advisory_is_found() {
    let lock: Table =
        "package = [{ name = \"a\", version = \"0.5.14\" }, { name = \"b\", version = \"1.0.0\" }]".parse().unwrap();
    let list: Table =
        "advisory = [{ id = \"X-1\", crate = \"a\", patched = \"0.5.15\" }, { id = \"X-2\", crate = \"b\", unmaintained = true }]"
            .parse()
            .unwrap();
    assert_eq!(against(&lock, &list, &BTreeSet::new()).len(), 2);
    assert_eq!(against(&lock, &list, &BTreeSet::from(["X-2".to_owned()])).len(), 1);
}

/// Whether an SPDX expression can be met with the allowed licences. Read from the left; `AND` binds before `OR`, `/` is an old `OR`.
fn permitted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "\u{1f}WITH\u{1f}");
    let tokens: Vec<String> = spaced.split(' ').filter(|t| !t.is_empty()).map(|t| t.replace('\u{1f}', " ")).collect();
    let mut at = 0;
    any(&tokens, &mut at, allowed)
}

fn any(tokens: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, at, allowed);
    while tokens.get(*at).is_some_and(|t| t == "OR") {
        *at += 1;
        met |= all(tokens, at, allowed);
    }
    met
}

fn all(tokens: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at).is_some_and(|t| t == "AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if token == "(" {
        let met = any(tokens, at, allowed);
        *at += 1;
        return met;
    }
    allowed.contains(token)
}

#[test]
fn every_licence_is_allowed_and_every_source_is_the_registry() {
    let host = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("names its host").to_owned();
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", &host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let tree: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let deny = read("deny.toml");
    let strings = |table: &str, key: &str| -> BTreeSet<String> {
        deny[table][key].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let (allowed, registries) = (strings("licenses", "allow"), strings("sources", "allow-registry"));
    let banned: BTreeSet<&str> =
        tables(deny["bans"].as_table().unwrap(), "deny").iter().map(|ban| text(ban, "crate")).collect();
    let packages = tree["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "the tree is read whole");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(permitted(licence, &allowed), "{name}: the licence {licence} is not in deny.toml");
        assert!(!banned.contains(name), "{name} is banned in deny.toml");
        if let Some(source) = package["source"].as_str() {
            let registry = source.strip_prefix("registry+").unwrap_or(source);
            assert!(registries.contains(registry), "{name} comes from {source}");
        }
    }
}

#[test]
fn licences_are_read_as_written() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned));
    for fine in
        ["MIT", "GPL-3.0/MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "Apache-2.0 WITH LLVM-exception OR GPL-3.0"]
    {
        assert!(permitted(fine, &allowed), "{fine}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 AND (MIT OR ISC)", "none", "Apache-2.0"] {
        assert!(!permitted(refused, &allowed), "{refused}");
    }
}
