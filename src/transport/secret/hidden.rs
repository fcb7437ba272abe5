//! Secrets that no text may show, whoever wrote it: a destination can send back whatever goniec showed it.
//!
//! # What holds
//!
//! * A hidden secret is blotted out as it is, and as JSON, forms and URLs, HTML, base64 and hex spell it, also within the base64 of more.
//! * So is the beginning of one with which a text ends, as where an answer was cut in the middle of it: all but up to three bytes.
//! * A blotted text is never longer than it was.
//!
//! # What it does not know
//!
//! Other spellings: who is shown a secret and wants to spread it can spell it as he likes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Secret;
use crate::model::percent::{escape, hex, unescape};

/// How many secrets that came are hidden at a time: the last access tokens, or the cookies of the last sessions.
const CAME_MAX: usize = 64;
/// The shortest beginning of a secret that is blotted out, in bytes: a shorter one ends many a text by chance.
const BEGINNING_BYTES_MIN: usize = 4;
/// The shortest value among others, in a query or a cookie, that is taken for a secret, in bytes: `lang=pl` is none.
const VALUE_BYTES_MIN: usize = 8;
/// The fewest letters of base64 that are taken for a secret.
const BASE64_LETTERS_MIN: usize = 6;
/// What stands for a secret.
const BLOT: &str = "***";

/// Secrets, each with its spellings.
#[derive(Default)]
pub(in crate::transport) struct Hidden {
    known: Vec<Vec<Secret>>,
    /// Those that came from elsewhere, the newest last.
    came: Mutex<VecDeque<Vec<Secret>>>,
}

impl Hidden {
    /// Hides this one.
    pub(in crate::transport) fn hide(&mut self, secret: &Secret) {
        self.known.push(spellings(secret));
    }

    /// Hides what is long enough to be a secret among the values of a URL's query.
    pub(in crate::transport) fn hide_query(&mut self, url: &str) {
        let (_, query) = url.split_once('?').unwrap_or_default();
        let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        for value in values.filter(|value| value.len() >= VALUE_BYTES_MIN) {
            self.hide(&Secret::new(value.to_owned()));
            // As the other side reads it.
            let meant = unescape(&value.replace('+', " ")).ok().filter(|meant| meant != value);
            meant.into_iter().for_each(|meant| self.hide(&Secret::new(meant)));
        }
    }

    /// Hides what is long enough to be a secret among the values of cookies that came.
    pub(in crate::transport) fn hide_cookies(&self, cookies: &str) {
        let values = cookies.split("; ").filter_map(|cookie| Some(cookie.split_once('=')?.1));
        for value in values.filter(|value| value.len() >= VALUE_BYTES_MIN) {
            self.hide_what_came(&Secret::new(value.to_owned()));
        }
    }

    /// Hides one that came from elsewhere, in the place of the oldest such where there are many.
    pub(in crate::transport) fn hide_what_came(&self, secret: &Secret) {
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        if came.len() >= CAME_MAX {
            came.pop_front();
        }
        came.push_back(spellings(secret));
    }

    /// The text without them; of one that came whole only whole secrets are blotted out.
    #[must_use]
    pub(in crate::transport) fn blot_whole(&self, text: &str) -> String {
        self.blotted(text, false)
    }

    /// The text without them, and without the beginning of one at its end.
    #[must_use]
    pub(in crate::transport) fn blot(&self, text: &str) -> String {
        self.blotted(text, true)
    }

    fn blotted(&self, text: &str, may_be_cut: bool) -> String {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || self.known.iter().chain(came.iter()).flatten().map(Secret::text);
        // The longest first: one may stand within another.
        let mut found: Vec<&str> = all().filter(|secret| text.contains(secret)).collect();
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut blotted = text.to_owned();
        for secret in found {
            blotted = blotted.replace(secret, BLOT.get(..secret.len()).unwrap_or(BLOT));
        }
        // What was cut in the middle of a letter ends with one that stands for it.
        let end = blotted.trim_end_matches(char::REPLACEMENT_CHARACTER);
        if let Some(bytes) = all().filter(|_| may_be_cut).filter_map(|secret| begun(end, secret)).max() {
            blotted.truncate(end.len() - bytes);
            blotted.push_str(BLOT);
        }
        blotted
    }
}

/// How many bytes of this secret the text ends with.
fn begun(text: &str, secret: &str) -> Option<usize> {
    let lengths = BEGINNING_BYTES_MIN..secret.len().min(text.len() + 1);
    lengths.rev().find(|bytes| secret.get(..*bytes).is_some_and(|beginning| text.ends_with(beginning)))
}

/// The secret as others may write it.
fn spellings(secret: &Secret) -> Vec<Secret> {
    let (bytes, text) = (secret.expose(), secret.text());
    // What was sent as JSON comes back as a text of JSON.
    let (json, twice) = (quoted(text), quoted(&quoted(text)));
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // As a form or a URL carries it.
    let url = escape(text);
    let mut all = vec![text.to_owned(), json, twice, url, html, hex(bytes)];
    for before in 0..3 {
        let base64 = within_base64(bytes, before);
        all.extend([base64.replace('+', "-").replace('/', "_"), base64]);
    }
    let mut spellings: Vec<Secret> = Vec::new();
    for spelling in all.into_iter().filter(|spelling| !spelling.is_empty()).map(Secret::new) {
        if !spellings.iter().any(|known| known.equals(&spelling)) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// The letters that tell of these bytes alone within the base64 of more, where so many bytes of three stand before them; empty where they are too few to be told from
/// others.
fn within_base64(bytes: &[u8], before: usize) -> String {
    let encoded = STANDARD_NO_PAD.encode([&vec![0; before], bytes].concat());
    let own = (before * 8).div_ceil(6)..(before + bytes.len()) * 8 / 6;
    encoded.get(own).filter(|own| own.len() >= BASE64_LETTERS_MIN).unwrap_or_default().to_owned()
}

/// As JSON spells it, without the quotes.
fn quoted(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(secrets: &[&str]) -> Hidden {
        let mut hidden = Hidden::default();
        secrets.iter().for_each(|secret| hidden.hide(&Secret::new((*secret).to_owned())));
        hidden
    }

    #[test]
    fn a_secret_is_blotted_out_in_every_spelling_and_the_rest_stays() {
        let hidden = hidden(&["p\"w&/ż-4711", "4711"]);
        for spelling in [
            "p\"w&/ż-4711",
            "p\\\"w&/ż-4711",
            "p\\\\\\\"w&/ż-4711",
            "p%22w%26%2F%C5%BC-4711",
            "p&quot;w&amp;/ż-4711",
            "702277262fc5bc2d34373131",
        ] {
            assert_eq!(hidden.blot(&format!("user anna, {spelling}; bye")), "user anna, ***; bye", "{spelling}");
        }
        assert_eq!(hidden.blot("nothing of it"), "nothing of it");
        assert_eq!(hidden.blot(""), "");
    }

    #[test]
    fn base64_of_more_than_a_secret_shows_none_of_it() {
        let hidden = hidden(&["canary-?>4711"]);
        for before in ["", "a", "ab", "Bearer "] {
            let whole = STANDARD_NO_PAD.encode(format!("{before}canary-?>4711"));
            let blotted = hidden.blot(&whole);
            assert!(blotted.len() < whole.len() - 12 && blotted.contains("***"), "{whole}: {blotted}");
            assert_eq!(hidden.blot(&whole.replace('+', "-").replace('/', "_")), blotted);
        }
    }

    #[test]
    fn a_text_that_was_cut_shows_no_beginning_of_one() {
        let hidden = hidden(&["ósma-tajemnica"]);
        assert_eq!(hidden.blot("wrong: ósma-tajemn"), "wrong: ***");
        assert_eq!(hidden.blot("wrong: ósma-\u{fffd}"), "wrong: ***");
        assert_eq!(hidden.blot("wrong: ós"), "wrong: ós", "so little ends many a text");
        assert_eq!(hidden.blot("wrong: ósma-taj, is it?"), "wrong: ósma-taj, is it?", "the control: no end");
    }

    #[test]
    fn a_number_that_ends_as_a_secret_begins_stays_where_it_came_whole() {
        // Its hex spelling begins with 7333.
        let hidden = hidden(&["s3cret-of-the-shop"]);
        assert_eq!((hidden.blot_whole("127333"), hidden.blot("127333")), ("127333".to_owned(), "12***".to_owned()));
        assert_eq!(hidden.blot_whole("id s3cret-of-the-shop"), "id ***");
    }

    #[test]
    fn a_cookie_that_is_short_opens_nothing_and_stays() {
        let hidden = Hidden::default();
        hidden.hide_cookies("lang=pl; is_guest=0; B1SESSION=4711-4711-4711");
        assert_eq!(hidden.blot("order 10070 pl 4711-4711-4711"), "order 10070 pl ***");
    }

    #[test]
    fn what_a_query_opens_with_is_hidden_and_what_it_asks_for_is_not() {
        let mut hidden = Hidden::default();
        hidden.hide_query("http://shop.test/orders/12345678?v=2&api_key=4711-4711&order=0&17");
        let told = hidden.blot("no /orders/12345678?v=2&api_key=4711-4711&order=0");
        assert_eq!(told, "no /orders/12345678?v=2&api_key=***&order=0");
        hidden.hide_query("http://shop.test/?key=ab%2Bcd%3D%3D1234");
        assert_eq!(hidden.blot("bad key ab+cd==1234, ab%2Bcd%3D%3D1234"), "bad key ***, ***");
    }

    #[test]
    fn a_blotted_text_is_never_longer_and_old_tokens_are_forgotten() {
        assert_eq!(hidden(&["a", ""]).blot("banana"), "b*n*n*");
        let hidden = hidden(&[]);
        for number in 0..=CAME_MAX {
            hidden.hide_what_came(&Secret::new(format!("token-{number:04}")));
        }
        assert_eq!(hidden.blot("token-0000, token-0001"), "token-0000, ***");
    }
}
