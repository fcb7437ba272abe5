//! The name that someone may have meant: for every error that says "unknown".
//!
//! # What it does not know
//!
//! What the names stand for.

/// The name nearest to `word`, where one is near enough to be meant: a third of its letters may differ, and it need not be complete.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (if begins(name, &word) { 1 } else { distance(&word, &name.to_lowercase()) }, name))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

fn begins(name: &str, word: &str) -> bool {
    word.chars().count() >= 3 && name.to_lowercase().starts_with(word)
}

/// How many letters must be added, removed, changed, or swapped with their neighbours. Texts beyond 64 letters are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    if a.chars().count() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let a: Vec<char> = a.chars().collect();
    // The distances of the beginnings of `a` (rows) and `b` (columns): the last two rows are enough.
    let (mut before, mut row): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for (i, letter) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            left = (at(&row, j) + usize::from(letter != other)).min(at(&row, j + 1) + 1).min(left + 1);
            let is_swapped = i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(letter);
            if is_swapped {
                left = left.min(at(&before, j - 1) + 1);
            }
            next.push(left);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["courier", "erp", "shop-prices"];
        assert_eq!(nearest("frist", ["first", "max"]), Some("first"));
        for (word, meant) in [
            ("curier", Some("courier")),
            ("COURIER", Some("courier")),
            ("shop", Some("shop-prices")),
            ("epr", Some("erp")),
            ("ert", Some("erp")),
            ("warehouse", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word:?}");
        }
    }

    #[test]
    fn the_distance_counts_letters() {
        for (a, b, edits) in [("", "abc", 3), ("kitten", "sitting", 3), ("żółw", "żółty", 2), ("same", "same", 0)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
