//! Which statuses a rule is about: `"2xx"`, `"200,409"`, `"200-204, 5xx"`.
//!
//! # What holds
//!
//! * Only statuses that HTTP has (100 to 599) are in a set, and none is empty.
//!
//! # What it does not know
//!
//! What a status means.

use super::Misparse;

/// A set of statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Reads a set: statuses, classes (`4xx`) and ranges, divided by commas.
    ///
    /// # Errors
    /// What is none of these, with its place.
    pub fn parse(text: &str) -> Result<Statuses, Misparse> {
        let mut column = 1;
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let blanks = part.chars().take_while(|letter| letter.is_whitespace()).count();
            let Some(range) = range(part.trim()) else {
                let problem = format!("expected a status like 200, 2xx or 200-204, found {:?}", part.trim());
                return Err(Misparse { line: 1, column: column + blanks, problem });
            };
            ranges.push(range);
            column += part.chars().count() + 1;
        }
        Ok(Statuses(ranges))
    }

    /// Whether the status is in the set.
    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| {
        let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| is_plain && (100..=599).contains(status))
    };
    if let Some(first) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let from = status(&format!("{first}00"))?;
        return Some((from, from + 99));
    }
    match text.split_once('-') {
        Some((from, to)) => Some((status(from.trim())?, status(to.trim())?)).filter(|(from, to)| from <= to),
        None => status(text).map(|status| (status, status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read() {
        let set = Statuses::parse("2xx, 409,500-502").expect("a set");
        let inside: Vec<u16> = (0..1_000).filter(|status| set.has(*status)).collect();
        let expect: Vec<u16> = (200..300).chain([409]).chain(500..=502).collect();
        assert_eq!(inside, expect);
    }

    #[test]
    fn what_is_no_set_is_told_with_its_place() {
        for (text, column) in [
            ("", 1),
            ("2x", 1),
            ("200,", 5),
            ("200, abc", 6),
            ("600", 1),
            ("6xx", 1),
            ("0xx", 1),
            ("204-200", 1),
            ("+20", 1),
        ] {
            let problem = Statuses::parse(text).expect_err(text);
            assert_eq!(problem.column, column, "{text}");
            assert!(problem.problem.contains("expected a status"), "{problem}");
        }
    }
}
