//! The files of the console: all of them are embedded, small enough, and the same in both languages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;

/// The most bytes of all files together.
const BYTES_MAX: usize = 156_000;

fn text(name: &str) -> &'static str {
    let (_, bytes) = FILES.iter().find(|(known, _)| *known == name).expect("a file");
    std::str::from_utf8(bytes).expect("is text")
}

/// Every message, in English and in Polish.
fn words() -> BTreeMap<String, [Value; 2]> {
    serde_json::from_str(text("words.json")).expect("an object")
}

#[test]
fn every_file_of_the_folder_is_embedded_and_has_a_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/console");
    let there = std::fs::read_dir(folder).expect("is listed").map(|entry| entry.expect("is listed").file_name());
    let there: BTreeSet<String> =
        there.map(|name| name.to_string_lossy().into_owned()).filter(|name| !name.ends_with(".rs")).collect();
    let embedded: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(there, embedded);
    assert!(embedded.iter().all(|name| kind(name) != "application/octet-stream"));
}

#[test]
fn all_files_together_are_small() {
    let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes, at most {BYTES_MAX}");
}

#[test]
fn every_module_says_what_it_is_for_and_is_short() {
    for (name, _) in FILES.iter().filter(|(name, _)| name.ends_with(".js")) {
        assert!(text(name).starts_with("// "), "{name} opens with what it is for");
        assert!(text(name).lines().count() <= 400, "{name} is too long");
    }
}

#[test]
fn text_stays_text() {
    let doors = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"];
    for (name, _) in FILES.iter().filter(|(name, _)| name.ends_with(".js") || name.ends_with(".html")) {
        for door in doors {
            assert!(!text(name).contains(door), "{name} has {door}");
        }
    }
}

/// The holes of a message, sorted.
fn holes(message: &str) -> Vec<&str> {
    let mut holes: Vec<&str> = message.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
    holes.sort_unstable();
    holes.dedup();
    holes
}

/// The forms of a message: its one text, or one for each of these plurals.
fn forms(message: &Value, plurals: &[&str], key: &str) -> Vec<String> {
    match message {
        Value::String(text) => vec![text.clone()],
        Value::Object(by_plural) => {
            let named: BTreeSet<&str> = by_plural.keys().map(String::as_str).collect();
            assert_eq!(named, plurals.iter().copied().collect(), "the plurals of {key}");
            by_plural.values().map(|text| text.as_str().expect("a text").to_owned()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => panic!("{key} is no message"),
    }
}

#[test]
fn both_languages_say_the_same_things() {
    for (key, [english, polish]) in &words() {
        let there = forms(english, &["one", "other"], key);
        let here = forms(polish, &["one", "few", "many"], key);
        assert_eq!(english.is_object(), polish.is_object(), "{key} has plurals in both or in none");
        let wanted = holes(there.last().expect("a form"));
        for form in here.iter().chain(&there) {
            assert!(!form.trim().is_empty(), "{key} says nothing");
            assert!(
                holes(form).iter().all(|hole| wanted.contains(hole)),
                "{key}: {form} has other holes than {wanted:?}"
            );
        }
    }
}

#[test]
fn what_is_said_is_there_and_what_is_there_is_said() {
    let words = words();
    let code: String = FILES
        .iter()
        .filter(|(name, _)| name.ends_with(".js"))
        .map(|(name, _)| text(name))
        .collect::<Vec<_>>()
        .join("\n");
    let said = |call: &str| -> BTreeSet<&str> {
        let ends = code.match_indices(call).filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric()));
        ends.filter_map(|(at, _)| Some(code[at + call.len()..].split_once('\'')?.0)).collect()
    };
    let all = said("t('").into_iter().chain(said("counted('"));
    let missing: BTreeSet<&str> = all.filter(|key| !words.contains_key(*key)).collect();
    assert!(missing.is_empty(), "no words for {missing:?}");
    // A key is named whole, or made of a beginning with a dot at its end and a word of the interface.
    let beginnings: BTreeSet<&str> = code
        .split(['\'', '`'])
        .filter_map(|piece| piece.split("${").next())
        .filter(|piece| piece.ends_with('.'))
        .collect();
    let unsaid: BTreeSet<&String> = words
        .keys()
        .filter(|key| !code.contains(&format!("'{key}'")))
        .filter(|key| key.rfind('.').is_none_or(|dot| !beginnings.contains(&key[..=dot])))
        .collect();
    assert!(unsaid.is_empty(), "nobody says {unsaid:?}");
}
