//! Bytes written with few letters: behind percent signs, as in addresses and headers (RFC 3986), and in hex.
//!
//! # What holds
//!
//! * What is written here is read here as the same text.
//!
//! # What it does not know
//!
//! Which letters a place takes: whoever writes there says so.

use std::fmt::Write;

/// Why percent signs stand for no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// One is not followed by two hex digits.
    Digits,
    /// What they stand for is not UTF-8.
    Bytes,
}

/// The text as a path, a query or a form carries it.
#[must_use]
pub fn escape(text: &str) -> String {
    escape_but(text, is_unreserved)
}

/// The text with a percent sign and two hex digits for each byte that is not plain.
pub fn escape_but(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Whether a byte means nothing of its own in an address.
#[must_use]
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The text that percent signs stand for.
///
/// # Errors
/// They stand for none.
pub fn unescape(text: &str) -> Result<String, Wrong> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(Wrong::Digits);
        let meant =
            if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).map_err(|_| Wrong::Digits)? } else { byte };
        bytes.push(meant);
    }
    String::from_utf8(bytes).map_err(|_| Wrong::Bytes)
}

/// Two lower-case hex digits a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing into a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The bytes of hex digits, small or large; `None` for anything else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_for_nothing_is_told() {
        for wrong in ["%", "%4", "%4g", "%+4", "%-1", "100%"] {
            assert_eq!(unescape(wrong), Err(Wrong::Digits), "{wrong}");
        }
        assert_eq!(unescape("%ff"), Err(Wrong::Bytes));
        assert_eq!(unescape("z%C5%82y%20%25").as_deref(), Ok("zły %"));
        assert_eq!([unhex("000aFF"), unhex("0"), unhex("0g"), unhex("+1")], [Some(vec![0, 10, 255]), None, None, None]);
        assert_eq!((hex(&[0, 10, 255]), escape("a b%")), ("000aff".to_owned(), "a%20b%25".to_owned()));
    }

    proptest! {
        #[test]
        fn every_text_goes_round(text in "\\PC*") {
            prop_assert_eq!(unescape(&escape(&text)), Ok(text));
        }
    }
}
