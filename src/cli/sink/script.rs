//! Which request a sink deals with how: rules of a script, one a line, read from above; the first that fits holds.
//!
//! ```text
//! until 2m                     -> 503
//! until 5m                     -> 429 retry-after 30
//! key order:* chance 10%       -> reset
//! ```
//!
//! # What holds
//!
//! * The same seed does the same to the same messages: chances are drawn from the seed, the message's id and how often it came.
//! * The chances of several rules are shares of one draw: 20 % and 5 % are a fifth and a twentieth of what fits both.
//!
//! # What it does not know
//!
//! What a manner does.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::model::policy::scatter;
use crate::store::key_hash;

use super::manner::{Manner, Moment};
use super::words::{Word, Words, Wrong};

/// A chance is so many of this many.
pub const CERTAIN: u32 = 10_000;

/// How a sink behaves: which request it deals with how.
#[derive(Debug, Default, Clone)]
pub struct Script {
    rules: Vec<Rule>,
    /// How long it waits before each answer where its manner says nothing.
    pub latency: Duration,
    /// From which chances are drawn.
    pub seed: u64,
}

/// Where a script is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, and what was expected there.
    pub wrong: Wrong,
}

#[derive(Debug, Clone)]
struct Rule {
    when: Vec<Condition>,
    /// In so many of [`CERTAIN`] cases.
    chance: Option<u32>,
    manner: Manner,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    From(Duration),
    Until(Duration),
    Request(Range),
    Attempt(Range),
    Path(Pattern),
    Header(String, Pattern),
    Contains(Vec<u8>),
}

/// Numbers from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range(u64, u64);

/// A text, or how one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Whole(String),
    Begins(String),
}

/// The head of a request.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: HashMap<String, String>,
}

/// What is known of a request when the rules are asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) moment: Moment,
    /// The number of the request, from 1.
    pub(super) number: u64,
    /// Since the first request.
    pub(super) since: Duration,
    /// Once it has been read.
    pub(super) head: Option<&'a Head>,
    /// Once all of it has been read.
    pub(super) body: Option<&'a [u8]>,
    /// How often this message has come.
    pub(super) times: u64,
}

/// The words of a condition.
const CONDITIONS: [&str; 10] =
    ["from", "until", "request", "attempt", "key", "type", "path", "header", "contains", "chance"];

impl Script {
    /// Reads a script, one rule a line.
    ///
    /// # Errors
    ///
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Script, Misread> {
        let mut script = Script { seed: 1, ..Script::default() };
        for (line, number) in text.lines().zip(1..) {
            script.line(line).map_err(|wrong| Misread { line: number, wrong })?;
        }
        Ok(script)
    }

    /// The manner that a request asks for by a line of its own, which may have conditions; `None` where they do not fit.
    pub(super) fn asked(&self, line: &str, seen: Seen<'_>) -> Result<Option<Manner>, Wrong> {
        let mut words = Words::of(line)?;
        if !words.has("->") {
            return Manner::read(&mut words).map(Some);
        }
        let mut own = Script { seed: self.seed, ..Script::default() };
        own.line(line)?;
        if own.rules.iter().flat_map(|rule| &rule.when).any(Condition::needs_body) {
            return Err(Wrong {
                column: 1,
                what: "a request says this before its body is read; expected no contains".into(),
            });
        }
        let moment = own.rules.first().map_or(seen.moment, |rule| rule.manner.at);
        Ok(own.choose(Seen { moment, ..seen }).cloned())
    }

    /// Adds a rule below the others.
    #[must_use]
    pub fn rule(mut self, chance: Option<u32>, manner: Manner) -> Script {
        self.rules.push(Rule { when: Vec::new(), chance, manner });
        self
    }

    fn line(&mut self, line: &str) -> Result<(), Wrong> {
        let mut words = Words::of(line)?;
        let Some(first) = words.next() else { return Ok(()) };
        if first.bare() == "seed" {
            self.seed = words.number(u64::MAX)?;
            return words.next().map_or(Ok(()), |word| Err(word.wrong("expected the end of the line")));
        }
        let (mut when, mut chance, mut word) = (Vec::new(), None, first);
        let (mut from, mut until) = (Duration::ZERO, Duration::MAX);
        while word.bare() != "->" {
            if word.bare() == "chance" {
                let share = words.expect("a rate, as 20%")?;
                let wrong = || share.wrong(format!("{:?} is no rate; write it as 20%, or as 0.2", share.shown()));
                chance = Some(rate(share.bare()).ok_or_else(wrong)?);
            } else {
                let one = condition(&word, &mut words)?;
                match &one {
                    Condition::From(begins) => from = from.max(*begins),
                    Condition::Until(ends) => until = until.min(*ends),
                    Condition::Request(_)
                    | Condition::Attempt(_)
                    | Condition::Path(_)
                    | Condition::Header(..)
                    | Condition::Contains(_) => {}
                }
                if from >= until {
                    return Err(word.wrong("it never holds; expected a `from` before its `until`"));
                }
                when.push(one);
            }
            word = words.expect("-> and what to do")?;
        }
        let manner = Manner::read(&mut words)?;
        if matches!(manner.at, Moment::Connect | Moment::Byte) && when.iter().any(Condition::needs_head) {
            return Err(word.wrong("before the head is read, nobody knows attempt, key, type, path, header or body; expected from, until, request or chance"));
        }
        if manner.at == Moment::Head && when.iter().any(Condition::needs_body) {
            return Err(word.wrong("before the body is read, nobody knows what it contains; expected no `at head`"));
        }
        self.rules.push(Rule { when, chance, manner });
        Ok(())
    }

    /// The manner of the first rule for this moment that fits.
    pub(super) fn choose(&self, seen: Seen<'_>) -> Option<&Manner> {
        let id = seen.head.and_then(|head| head.headers.get("webhook-id")).map_or("", String::as_str);
        let mut left = draw(self.seed, id, if seen.head.is_some() { seen.times } else { seen.number });
        for rule in self.rules.iter().filter(|rule| rule.manner.at == seen.moment) {
            if !rule.when.iter().all(|one| one.fits(seen)) {
                continue;
            }
            match rule.chance {
                Some(chance) if left >= chance => left -= chance,
                Some(_) | None => return Some(&rule.manner),
            }
        }
        None
    }
}

impl Condition {
    fn fits(&self, seen: Seen<'_>) -> bool {
        match self {
            Condition::From(from) => seen.since >= *from,
            Condition::Until(until) => seen.since < *until,
            Condition::Request(range) => range.holds(seen.number),
            Condition::Attempt(range) => range.holds(seen.times),
            Condition::Path(pattern) => seen.head.is_some_and(|head| pattern.fits(&head.path)),
            Condition::Header(name, pattern) => {
                seen.head.and_then(|head| head.headers.get(name)).is_some_and(|value| pattern.fits(value))
            }
            Condition::Contains(text) => {
                seen.body.is_some_and(|body| body.windows(text.len().max(1)).any(|part| part == text))
            }
        }
    }

    fn needs_head(&self) -> bool {
        matches!(self, Condition::Attempt(_) | Condition::Path(_) | Condition::Header(..)) || self.needs_body()
    }

    fn needs_body(&self) -> bool {
        matches!(self, Condition::Contains(_))
    }
}

impl Range {
    fn holds(self, number: u64) -> bool {
        (self.0..=self.1).contains(&number)
    }
}

impl Pattern {
    fn of(text: &str) -> Pattern {
        match text.strip_suffix('*') {
            Some(beginning) => Pattern::Begins(beginning.to_owned()),
            None => Pattern::Whole(text.to_owned()),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Pattern::Whole(whole) => text == whole,
            Pattern::Begins(beginning) => text.starts_with(beginning.as_str()),
        }
    }
}

fn condition(word: &Word, words: &mut Words) -> Result<Condition, Wrong> {
    let pattern = |words: &mut Words| Ok::<_, Wrong>(Pattern::of(words.expect("a text, as order:*")?.text()?));
    match word.bare() {
        "from" => words.span_ms().map(Duration::from_millis).map(Condition::From),
        "until" => words.span_ms().map(Duration::from_millis).map(Condition::Until),
        "request" => range(&words.expect("a number, as 3, or 1..10")?).map(Condition::Request),
        "attempt" => range(&words.expect("a number, as 3, or 1..10")?).map(Condition::Attempt),
        "path" => pattern(words).map(Condition::Path),
        "key" => pattern(words).map(|pattern| Condition::Header("goniec-key".into(), pattern)),
        "type" => pattern(words).map(|pattern| Condition::Header("goniec-type".into(), pattern)),
        "header" => {
            let word = words.expect("a header, as 'x-a: b*'")?;
            let pair = word.text()?.split_once(':');
            let (name, value) = pair.ok_or_else(|| word.wrong("expected a name and a text, as 'x-a: b*'"))?;
            Ok(Condition::Header(name.to_ascii_lowercase(), Pattern::of(value.trim())))
        }
        "contains" => Ok(Condition::Contains(words.expect("a text of the body")?.bytes)),
        _ => Err(word.unknown("condition, and no ->", &CONDITIONS)),
    }
}

fn range(word: &Word) -> Result<Range, Wrong> {
    let wrong =
        || word.wrong(format!("{:?} is no number and no range from 1 on; expected 3, 1..10 or 10..", word.shown()));
    let number = |text: &str, or: u64| if text.is_empty() { Some(or) } else { text.parse().ok() };
    let (from, to) = match word.bare().split_once("..") {
        Some((from, to)) => (number(from, 1), number(to, u64::MAX)),
        None => (word.bare().parse().ok(), word.bare().parse().ok()),
    };
    from.zip(to).filter(|(from, to)| (1..=*to).contains(from)).map(|(from, to)| Range(from, to)).ok_or_else(wrong)
}

/// `20%`, `12.5%`, `0.2`, as so many of [`CERTAIN`].
pub(super) fn rate(text: &str) -> Option<u32> {
    let (number, digits) = match text.strip_suffix('%') {
        Some(number) => (number, 2),
        None => (text, 4),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let plain = |part: &str| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > digits {
        return None;
    }
    let rate: u32 = format!("{whole}{fraction:0<digits$}").parse().ok()?;
    Some(rate).filter(|rate| *rate <= CERTAIN)
}

/// A number below [`CERTAIN`] for the message of this id when it comes for the so manieth time.
fn draw(seed: u64, id: &str, times: u64) -> u32 {
    let bits = scatter(seed ^ scatter(key_hash(id) ^ times));
    u32::try_from(bits % u64::from(CERTAIN)).unwrap_or(0)
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.wrong.column, self.wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(head: &Head, number: u64, since_s: u64, times: u64) -> Seen<'_> {
        let since = Duration::from_secs(since_s);
        Seen { moment: Moment::Request, number, since, head: Some(head), body: Some(b"{\"postcode\":\"\"}"), times }
    }

    fn status(script: &Script, seen: Seen<'_>) -> String {
        let manner = script.choose(seen);
        manner.and_then(|manner| manner.answer.as_ref()).map_or(String::new(), |answer| answer.status.clone())
    }

    #[test]
    fn the_first_rule_that_fits_holds() {
        let script = Script::parse(
            "# a courier\nseed 7\n\nuntil 2m -> 503\nuntil 3m -> 429 retry-after 30\n\
             key order:* attempt 1 -> 500\npath /stock* -> 507\nheader 'X-A: b' request 9.. -> 508\n\
             contains '\"name\"' -> 509\ncontains '\"postcode\":\"\"' request 8 -> 422\n",
        )
        .expect("a script");
        assert_eq!(script.seed, 7);
        let head = |key: &str, path: &str| {
            let headers = [("goniec-key", key), ("x-a", "b")].map(|(name, value)| (name.into(), value.into()));
            Head { path: path.into(), headers: headers.into() }
        };
        let (order, stock, other) = (head("order:1", "/"), head("x", "/stock/1"), head("x", "/"));
        for (head, number, since_s, times, expect) in [
            (&other, 1, 0, 1, "503"),
            (&other, 1, 120, 1, "429"),
            (&other, 1, 180, 1, ""),
            (&order, 1, 180, 1, "500"),
            (&order, 1, 180, 2, ""),
            (&stock, 1, 180, 2, "507"),
            (&other, 9, 180, 2, "508"),
            (&other, 8, 180, 2, "422"),
        ] {
            assert_eq!(
                status(&script, seen(head, number, since_s, times)),
                expect,
                "{head:?} {number} {since_s} {times}"
            );
        }
    }

    #[test]
    fn a_moment_has_its_own_rules() {
        let script = Script::parse("-> 500\nrequest 2 -> reset at connect").expect("a script");
        let at = |moment, number| Seen { moment, number, since: Duration::ZERO, head: None, body: None, times: 0 };
        assert!(script.choose(at(Moment::Connect, 1)).is_none());
        assert!(script.choose(at(Moment::Connect, 2)).is_some());
        assert!(script.choose(at(Moment::Request, 1)).is_some());
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        for (text, says) in [
            ("\n-> rset", "2:4: \"rset\" is no word of a manner; did you mean reset?"),
            ("until 2m 503", "1:10: \"503\" is no condition, and no ->; expected one of from, until"),
            ("until 2 -> 503", "1:7: duration \"2\" has no unit"),
            ("until 2m", "1:9: the line ends; expected -> and what to do"),
            ("until 2m ->", "1:12: the line ends; expected what to do"),
            ("request 3..1 -> 503", "1:9: \"3..1\" is no number and no range"),
            ("request 0 -> 503", "1:9: \"0\" is no number and no range from 1 on"),
            ("attempt 0.. -> 503", "1:9: \"0..\" is no number"),
            ("from 5m until 1m -> 503", "1:9: it never holds"),
            ("until 5m key a from 5m -> 503", "1:16: it never holds"),
            ("request x -> 503", "1:9: \"x\" is no number"),
            ("chance 101% -> 503", "1:8: \"101%\" is no rate"),
            ("key a -> reset at byte", "1:7: before the head is read"),
            ("contains x -> reset at byte", "1:12: before the head is read"),
            ("contains x -> 422 at head", "1:12: before the body is read"),
            ("header x -> 503", "1:8: expected a name and a text"),
            ("seed 1 2", "1:8: expected the end"),
            ("ky a -> 503", "1:1: \"ky\" is no condition, and no ->; did you mean key?"),
        ] {
            let misread = Script::parse(text).expect_err(text).to_string();
            assert!(misread.starts_with(says), "{text}: {misread}");
        }
    }

    #[test]
    fn chances_are_shares_of_one_draw_and_follow_from_the_seed() {
        let script =
            |seed| Script::parse(&format!("seed {seed}\nchance 20% -> 503\nchance 5% -> 500")).expect("a script");
        let drawn = |seed: u64| {
            let script = script(seed);
            let answers = (0..10_000).map(|n| {
                let headers = [("webhook-id".to_owned(), format!("id-{n}"))].into();
                status(&script, seen(&Head { headers, ..Head::default() }, 1, 0, 1))
            });
            answers.collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let count = |status: &str| drawn(7).iter().filter(|drawn| *drawn == status).count();
        assert!((1_800..2_200).contains(&count("503")) && (400..600).contains(&count("500")));
        assert!((1..100).any(|times| draw(7, "id-1", times) >= 2_500), "no message fails for ever");
    }

    #[test]
    fn rates_are_read_in_both_spellings() {
        for (text, expect) in [
            ("20%", Some(2_000)),
            ("12.5%", Some(1_250)),
            ("0.2", Some(2_000)),
            ("1", Some(10_000)),
            ("0", Some(0)),
            ("100%", Some(10_000)),
            ("101%", None),
            ("20", None),
            ("-1%", None),
            ("%", None),
            ("a", None),
            ("0.00001", None),
        ] {
            assert_eq!(rate(text), expect, "{text}");
        }
    }
}
