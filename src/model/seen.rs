//! Letters that are not seen, and do something all the same: they steer a terminal, turn the direction of what follows, or hide.
//!
//! # What it does not know
//!
//! Where a text is shown.

/// Whether a letter is none of those that people see: control characters, marks of direction, what has no width, and what ends lines and paragraphs.
#[must_use]
pub fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with each of them written as an escape.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unseen(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// JSON with each of them written as JSON escapes it: they can stand within texts only. It means the same.
#[must_use]
pub fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_unseen(letter) {
            letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_steers_turns_or_hides() {
        assert_eq!(visible("a\u{1b}[31mb\r\nż\u{202e}\u{9b}"), "a\\u{1b}[31mb\\r\\nż\\u{202e}\\u{9b}");
        assert_eq!(visible_json("{\"a\":\"\u{9b}\u{200b}\u{e0041}ż\"}"), r#"{"a":"\u009b\u200b\udb40\udc41ż"}"#);
    }

    proptest! {
        #[test]
        fn json_means_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("a text");
            let shown = visible_json(&json);
            prop_assert!(!shown.contains(is_unseen));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
        }
    }
}
