//! Where something in a text stands in the file, though the file spells the text in its own way: quotes, escapes, folded lines.
//!
//! # What it does not know
//!
//! What the text says.

/// How many bytes into `raw`, a TOML string with its quotes, stands what is at this line and column (from 1, in characters) of the
/// `text` that it spells.
pub(super) fn place(raw: &str, text: &str, line: usize, column: usize) -> usize {
    let line_start: usize =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(|line| line.chars().count()).sum();
    let mut letters = line_start + column.saturating_sub(1);
    let quote = raw.chars().next().unwrap_or('"');
    let is_long = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let mut at = if is_long { 3 } else { 1 };
    if is_long {
        // A line break right after the quotes is not part of the text.
        at += [("\r\n", 2), ("\n", 1)]
            .iter()
            .find(|(end, _)| rest(raw, at).starts_with(end))
            .map_or(0, |(_, bytes)| *bytes);
    }
    loop {
        let (bytes, made) = step(rest(raw, at), quote == '"');
        if bytes == 0 || (letters == 0 && made > 0) {
            return at.min(raw.len());
        }
        letters = letters.saturating_sub(made);
        at += bytes;
    }
}

fn rest(raw: &str, at: usize) -> &str {
    raw.get(at..).unwrap_or_default()
}

/// How many bytes the next piece of a string takes, and how many letters it makes; none at the end.
fn step(raw: &str, has_escapes: bool) -> (usize, usize) {
    let mut letters = raw.chars();
    match (letters.next(), has_escapes) {
        (None, _) => (0, 0),
        (Some('\\'), true) => match letters.next() {
            Some('u') => (6, 1),
            Some('U') => (10, 1),
            Some('x') => (4, 1),
            Some(blank) if blank.is_whitespace() => {
                // A line that is folded: nothing up to the next letter counts.
                let after = raw.get(1..).unwrap_or_default();
                (1 + after.len() - after.trim_start().len(), 0)
            }
            Some(_) => (2, 1),
            None => (1, 0),
        },
        // The text has a line break where the file has both.
        (Some('\r'), _) if raw.starts_with("\r\n") => (1, 0),
        (Some(letter), _) => (letter.len_utf8(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `^` stands in the spelt text, the letter at this place of the text is found.
    #[track_caller]
    fn check(marked: &str, text: &str, line: usize, column: usize) {
        let at = marked.find('^').expect("a mark");
        assert_eq!(place(&marked.replacen('^', "", 1), text, line, column), at, "{marked}");
    }

    #[test]
    fn a_place_in_a_text_is_found_in_the_file() {
        check("'.a ^== 1'", ".a == 1", 1, 4);
        check("\".a ^== 1\"", ".a == 1", 1, 4);
        check("\".a == \\\"x\\\" ^and\"", ".a == \"x\" and", 1, 11);
        check("\"\\u0041ą\\t^b\"", "Aą\tb", 1, 4);
        check("'''\na\n ^b'''", "a\n b", 2, 2);
        check("\"\"\"\r\na\r\n^b\"\"\"", "a\nb", 2, 1);
        check("\"\"\"a \\\n   ^b\"\"\"", "a b", 1, 3);
        check("'ab^'", "ab", 1, 3);
        for (raw, line, column) in [("", 1, 1), ("'", 9, 9), ("\"\\", 1, 5), ("'a'", 7, 70)] {
            assert!(place(raw, "a", line, column) <= raw.len(), "{raw}");
        }
    }
}
