//! What failures have in common: their class, and what was said of them without what differs from message to message.
//!
//! # What holds
//!
//! * Numbers, ids, hashes and what stands in quotes do not count: `order 4711 unknown` and `order 4712 unknown` are one cause.
//! * The same words are the same cause in every version: the hash is kept on disk.
//!
//! # What it does not know
//!
//! Destinations: a cause at two of them is two.

use serde::{Deserialize, Serialize};

use super::hash::{BASIS, fnv};
use super::policy::Class;

/// The most characters of a cause's words.
const WORDS_CHARS_MAX: usize = 160;

/// The cause of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cause {
    /// Their class.
    pub class: Class,
    /// The hash of [`words`].
    pub hash: u64,
}

impl Cause {
    /// The cause of a failure of which this was said.
    #[must_use]
    pub fn of(class: Class, detail: &str) -> Cause {
        Cause { class, hash: fnv(BASIS, words(detail).bytes()) }
    }
}

/// What was said, without what differs from message to message.
#[must_use]
pub fn words(detail: &str) -> String {
    let mut said = String::new();
    let mut rest = detail;
    while let Some(first) = rest.chars().next() {
        if matches!(first, '"' | '\'' | '`')
            && let Some((_, after)) = rest[first.len_utf8()..].split_once(first)
        {
            said.push('…');
            rest = after;
        } else if first.is_alphanumeric() {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            said.push_str(if differs(word) { "#" } else { word });
            rest = after;
        } else {
            if !(first.is_whitespace() && said.ends_with(' ')) {
                said.push(if first.is_whitespace() { ' ' } else { first });
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    let said = said.trim();
    said.chars().take(WORDS_CHARS_MAX).collect()
}

/// Whether a word names one thing and not a kind: it has a digit in it. A status code stands for a kind.
fn differs(word: &str) -> bool {
    let is_status = word.len() == 3 && word.starts_with(['1', '2', '3', '4', '5']) && word.parse::<u16>().is_ok();
    word.chars().any(|c| c.is_ascii_digit()) && !is_status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_message_to_message_does_not_count() {
        let same = |one: &str, other: &str| Cause::of(Class::Rejected, one) == Cause::of(Class::Rejected, other);
        assert!(same("answered 422: order 4711 unknown", "answered 422: order 9 unknown"));
        assert!(same("no sku \"A-1\" in warehouse 2", "no sku \"B\" in warehouse 31"));
        assert!(same("id 01a2185e-6040-7000-8000-000000000226 gone", "id 01a2185e-6041-7000-8000-000000000227 gone"));
        assert!(!same("answered 422: order unknown", "answered 404: order unknown"), "a status says what happened");
        assert!(!same("no such sku", "no such customer"));
        assert_ne!(Cause::of(Class::Server, "x"), Cause::of(Class::Rejected, "x"));
    }

    #[test]
    fn hostile_words_are_cut() {
        assert_eq!(words(&"ż".repeat(1_000)).chars().count(), WORDS_CHARS_MAX);
        assert_eq!(words("it's \"open"), "it's \"open");
        assert_eq!(words("  a \n\t b  "), "a b");
        assert_eq!(words(""), "");
    }
}
