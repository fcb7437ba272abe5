//! The fields of a row of CSV, as RFC 4180 has them and no other way.
//!
//! # What it does not know
//!
//! Where a row ends: a quoted field may go over several lines, and whoever reads them bounds that.

/// The fields of a row without its end.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn fields(row: &str, separator: char) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = row;
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (plain, after) = rest.split_at(rest.find(separator).unwrap_or(rest.len()));
                if plain.contains('"') {
                    return Err("a quote stands within a field that is not quoted".into());
                }
                (plain.to_owned(), after)
            }
        };
        fields.push(field);
        rest = match (rest.is_empty(), rest.strip_prefix(separator)) {
            (true, _) => return Ok(fields),
            (false, Some(after)) => after,
            (false, None) => return Err("something stands behind the closing quote of a field".into()),
        };
    }
}

/// What stands within quotes, the first of which was read, and what is left behind them.
fn unquoted(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(on) => {
                field.push('"');
                rest = on;
            }
            None => return Ok((field, after)),
        }
    }
    Err("a quote that is opened is not closed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_the_standard_has_them() {
        assert_eq!(fields("a,\"b,\"\"c\",,\"\"", ',').expect("sound"), ["a", "b,\"c", "", ""]);
        assert_eq!(fields("", ';').expect("sound"), [""]);
        for (row, says) in [("a\"b", "not quoted"), ("\"a\"b", "behind the closing quote"), ("\"a", "is not closed")] {
            assert!(fields(row, ',').expect_err(row).contains(says), "{row}");
        }
    }
}
