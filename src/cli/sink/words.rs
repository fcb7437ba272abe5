//! The words of a script's line, with their columns: bare, or between `'` with escapes.
//!
//! # What holds
//!
//! * Whatever is wrong is said with the column at which it begins, and with what was expected there.
//!
//! # What it does not know
//!
//! What any word means.

use std::fmt;

use crate::config::parse_size;
use crate::model::nearest::nearest;
use crate::model::span::parse_span_ms;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub what: String,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) column: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) is_quoted: bool,
}

/// The words of a line, one after another.
#[derive(Debug, Clone)]
pub(super) struct Words {
    words: std::vec::IntoIter<Word>,
    /// Where the line ends.
    end: usize,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Word {
    pub(super) fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { column: self.column, what: what.into() }
    }

    /// The word as it is shown in a message.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.bytes).chars().take(40).collect()
    }

    /// The word where it is not quoted: only such a word can be one of the language.
    pub(super) fn bare(&self) -> &str {
        if self.is_quoted { "" } else { std::str::from_utf8(&self.bytes).unwrap_or_default() }
    }

    pub(super) fn text(&self) -> Result<&str, Wrong> {
        std::str::from_utf8(&self.bytes).map_err(|_| self.wrong(format!("{:?} is not UTF-8", self.shown())))
    }

    /// That the word is none of `known`, with the one that may have been meant.
    pub(super) fn unknown(&self, kind: &str, known: &[&str]) -> Wrong {
        let hint = match nearest(self.bare(), known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("expected one of {}", known.join(", ")),
        };
        self.wrong(format!("{:?} is no {kind}; {hint}", self.shown()))
    }
}

impl Words {
    /// The words of a line up to its comment.
    pub(super) fn of(line: &str) -> Result<Words, Wrong> {
        let mut letters = line.chars().zip(1..).peekable();
        let mut words = Vec::new();
        while let Some((letter, column)) = letters.next() {
            match letter {
                ' ' | '\t' => {}
                '#' => break,
                '\'' => words.push(Word { column, bytes: quoted(&mut letters, column)?, is_quoted: true }),
                _ => {
                    let mut text = String::from(letter);
                    while let Some((next, _)) = letters.next_if(|(next, _)| !matches!(next, ' ' | '\t')) {
                        text.push(next);
                    }
                    words.push(Word { column, bytes: text.into_bytes(), is_quoted: false });
                }
            }
        }
        Ok(Words { words: words.into_iter(), end: line.chars().count() + 1 })
    }

    /// Whether this word, bare, is among those to come.
    pub(super) fn has(&self, bare: &str) -> bool {
        self.words.as_slice().iter().any(|word| word.bare() == bare)
    }

    pub(super) fn next(&mut self) -> Option<Word> {
        self.words.next()
    }

    /// The next word, which must be there.
    pub(super) fn expect(&mut self, what: &str) -> Result<Word, Wrong> {
        let end = self.end;
        self.next().ok_or_else(|| Wrong { column: end, what: format!("the line ends; expected {what}") })
    }

    pub(super) fn span_ms(&mut self) -> Result<u64, Wrong> {
        let word = self.expect("a duration, as 2s")?;
        parse_span_ms(word.text()?).map_err(|wrong| word.wrong(wrong.to_string()))
    }

    pub(super) fn number(&mut self, most: u64) -> Result<u64, Wrong> {
        let word = self.expect("a number")?;
        let number = word.bare().parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| word.wrong(format!("{:?} is no number from 0 to {most}", word.shown())))
    }

    pub(super) fn bytes_count(&mut self, most: u64) -> Result<u64, Wrong> {
        let word = self.expect("a size, as 64KiB")?;
        parse_size(word.text()?, 0, most).map_err(|wrong| word.wrong(wrong))
    }
}

/// What stands between two `'`; the first has been read.
fn quoted(letters: &mut impl Iterator<Item = (char, usize)>, begins: usize) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    while let Some((letter, column)) = letters.next() {
        let escaped = match letter {
            '\'' => return Ok(bytes),
            '\\' => letters.next().map_or(' ', |(next, _)| next),
            _ => {
                bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                continue;
            }
        };
        match escaped {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            '\'' => bytes.push(b'\''),
            'x' => {
                let digits: String = letters.by_ref().take(2).map(|(digit, _)| digit).collect();
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
                let wrong = || Wrong { column, what: format!("\\x{digits} is no byte; expected \\x and two digits") };
                bytes.push(byte.ok_or_else(wrong)?);
            }
            _ => {
                return Err(Wrong {
                    column,
                    what: "an unknown escape; expected \\r, \\n, \\t, \\\\, \\' or \\x41".into(),
                });
            }
        }
    }
    Err(Wrong { column: begins, what: "a ' that is not closed; expected another one on the same line".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bare_or_quoted_and_end_at_a_comment() {
        let mut words = Words::of("a  -> 'b c\\r\\x00\\'ż' d#e # 'f").expect("words");
        let mut all = Vec::new();
        while let Some(word) = words.next() {
            all.push((word.column, word.bytes, word.is_quoted));
        }
        let quoted = "b c\r\0'ż".as_bytes().to_vec();
        assert_eq!(
            all,
            [(1, b"a".to_vec(), false), (4, b"->".to_vec(), false), (7, quoted, true), (22, b"d#e".to_vec(), false)]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_column() {
        for (line, column, says) in [
            ("a 'b", 3, "not closed"),
            ("'\\q'", 2, "unknown escape"),
            ("'\\x4'", 2, "two digits"),
            ("'\\", 2, "unknown escape"),
        ] {
            let wrong = Words::of(line).expect_err(line);
            assert!(wrong.column == column && wrong.what.contains(says), "{line}: {wrong:?}");
        }
    }
}
