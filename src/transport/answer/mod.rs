//! What an answer means to a destination that says it in its own way: a 200 with an error inside, a 409 for "I have it".
//!
//! [`Answers`] holds the rules of one destination. They are asked in this order: *uncertain*, *retry*, *reject*, *success*; the first that applies decides.
//! Where none does, the status decides ([`disposition`]), except that a destination with success rules has not
//! said yes until one of them applies.
//!
//! # What holds
//!
//! * A rule that fails, or needs a part of the answer that did not come, makes the attempt uncertain, with the rule and the reason in words.
//! * An answer's body is read and parsed only where a rule could look at it ([`Answers::reads`]), and to [`BODY_BYTES_MAX`].
//! * Extracting the reason or the remote id never changes what an answer means.
//!
//! # What it does not know
//!
//! Sockets, HTTP's own headers, when a message is tried again.

mod presence;
mod presets;
mod results;
mod status;

use std::fmt;

pub use self::presence::{Asked, Presence};
pub use self::presets::{PRESETS, Preset};
pub use self::results::{Missing, ResultRules, Results};
pub use self::status::Statuses;
pub use super::filter::Misparse;

use super::filter::{Filter, Stuck, Val, parse_json};
use crate::model::policy::{RETRY_AFTER_MS_MAX, disposition};
use crate::model::{Class, Delivery, Failure, Outcome, Receipt, Sent};

/// The most of an answer's body that is read for rules, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The longest reason and the longest remote id that are kept, in characters.
const REASON_CHARS_MAX: usize = 500;
pub(in crate::transport) const REMOTE_ID_CHARS_MAX: usize = 200;

/// What a rule makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The destination has the message.
    Success,
    /// Another attempt may change it; the class tells why.
    Retry(Class),
    /// Another attempt would not change it.
    Reject,
    /// Nobody can know.
    Uncertain,
}

/// One rule: every condition that is given must hold.
#[derive(Debug, Default)]
pub struct Rule {
    status: Option<Statuses>,
    body: Option<Filter>,
    when: Option<Filter>,
}

/// The rules of one destination.
#[derive(Debug, Default)]
pub struct Answers {
    rules: Vec<(Meaning, Rule)>,
    already_there: bool,
    reason: Option<Filter>,
    remote_id: Option<Filter>,
    retry_after: Option<Filter>,
}

/// An answer as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: &'a [(String, String)],
    /// The body; `None` where it did not come whole.
    pub body: Option<&'a [u8]>,
    /// Whether it answers several messages at once: a conflict then says of none of them that it is there.
    pub is_of_many: bool,
}

/// A text of a rule that is not one: which key it stands under, and what is wrong where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The key: `status`, `body`, `when`, `reason`, `remote_id`, `retry_after`, `preset`.
    pub key: &'static str,
    /// What is wrong, and where in the text of the key.
    pub problem: Misparse,
}

impl Rule {
    /// Reads a rule: a set of statuses (`"2xx,409"`), a filter over the body, a filter over `{status, headers, body}`.
    ///
    /// # Errors
    /// What does not parse, under which key and where.
    pub fn parse(status: Option<&str>, body: Option<&str>, when: Option<&str>) -> Result<Rule, Wrong> {
        let read =
            |key, text: Option<&str>| text.map(Filter::parse).transpose().map_err(|problem| Wrong { key, problem });
        let status = status.map(Statuses::parse).transpose();
        let rule = Rule {
            status: status.map_err(|problem| Wrong { key: "status", problem })?,
            body: read("body", body)?,
            when: read("when", when)?,
        };
        if rule.status.is_none() && rule.body.is_none() && rule.when.is_none() {
            let problem = "expected at least one of status, body, when".into();
            return Err(Wrong { key: "status", problem: Misparse { line: 1, column: 1, problem } });
        }
        Ok(rule)
    }

    fn reads(&self) -> bool {
        self.body.is_some() || self.when.is_some()
    }

    fn applies(&self, status: u16, input: &Val, body: &Val) -> Result<bool, (String, Stuck)> {
        if self.status.as_ref().is_some_and(|set| !set.has(status)) {
            return Ok(false);
        }
        for (filter, value) in [(&self.body, body), (&self.when, input)] {
            if let Some(filter) = filter
                && !filter.holds(value).map_err(|stuck| (filter.source().to_owned(), stuck))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Answers {
    /// No rules: the status decides.
    #[must_use]
    pub fn new() -> Answers {
        Answers::default()
    }

    /// The rules of a kind of destination that is known by name.
    ///
    /// # Errors
    /// There is no preset of this name; the known ones are told.
    pub fn preset(name: &str) -> Result<Answers, Wrong> {
        presets::read(name)
    }

    /// Adds a rule. Those of one meaning are alternatives.
    #[must_use]
    pub fn rule(mut self, meaning: Meaning, rule: Rule) -> Answers {
        self.rules.push((meaning, rule));
        self
    }

    /// Puts the rules of another beneath: of one meaning these are asked first, and what these extract is extracted as they say.
    #[must_use]
    pub fn over(mut self, other: Answers) -> Answers {
        self.rules.extend(other.rules);
        Answers {
            rules: self.rules,
            already_there: self.already_there || other.already_there,
            reason: self.reason.or(other.reason),
            remote_id: self.remote_id.or(other.remote_id),
            retry_after: self.retry_after.or(other.retry_after),
        }
    }

    /// Takes a 409 for a yes: the destination has the message already.
    #[must_use]
    pub fn already_there(mut self, is_yes: bool) -> Answers {
        self.already_there = is_yes;
        self
    }

    /// Extracts the destination's own words where it says no: a filter over `{status, headers, body}`.
    ///
    /// # Errors
    /// It does not parse.
    pub fn reason(mut self, filter: &str) -> Result<Answers, Wrong> {
        self.reason = Some(Filter::parse(filter).map_err(|problem| Wrong { key: "reason", problem })?);
        Ok(self)
    }

    /// Extracts what the destination calls the thing now: a filter over `{status, headers, body}`.
    ///
    /// # Errors
    /// It does not parse.
    pub fn remote_id(mut self, filter: &str) -> Result<Answers, Wrong> {
        self.remote_id = Some(Filter::parse(filter).map_err(|problem| Wrong { key: "remote_id", problem })?);
        Ok(self)
    }

    /// Extracts the seconds after which the destination wants to be asked again: a filter over `{status, headers, body}`.
    ///
    /// # Errors
    /// It does not parse.
    pub fn retry_after(mut self, filter: &str) -> Result<Answers, Wrong> {
        self.retry_after = Some(Filter::parse(filter).map_err(|problem| Wrong { key: "retry_after", problem })?);
        Ok(self)
    }

    /// Whether anything is asked of answers at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && !self.already_there && !self.extracts()
    }

    /// Whether the body of an answer with this status is needed.
    #[must_use]
    pub fn reads(&self, status: u16) -> bool {
        let asks = |rule: &Rule| rule.reads() && rule.status.as_ref().is_none_or(|set| set.has(status));
        self.extracts() || self.rules.iter().any(|(_, rule)| asks(rule))
    }

    fn extracts(&self) -> bool {
        self.reason.is_some() || self.remote_id.is_some() || self.retry_after.is_some()
    }

    /// What the answer means. The failure's words begin with `detail`, what the answer means without rules; the caller adds what it knows
    /// beside (the excerpt, `Retry-After`).
    #[must_use]
    pub fn judge(&self, seen: Seen<'_>, detail: &str) -> Outcome {
        let (body, input) = if self.reads(seen.status) { values(seen) } else { (Val::Cut, bare(seen)) };
        let failed = |class, sent, detail: String| {
            let failure = Failure { status: Some(seen.status), ..Failure::new(class, sent, detail) };
            Outcome::Failed(self.explained(failure, &input))
        };
        match self.meaning(seen, &input, &body) {
            Ok(Meaning::Success) => {
                let remote_id = self.remote_id.as_ref().and_then(|filter| filter.text(&input).ok().flatten());
                let remote_id = remote_id.map(|id| id.trim().chars().take(REMOTE_ID_CHARS_MAX).collect());
                Outcome::Delivered(Receipt { status: Some(seen.status), remote_id, ..Receipt::default() })
            }
            Ok(Meaning::Retry(class)) => failed(class, Sent::Answered, detail.to_owned()),
            Ok(Meaning::Reject) => {
                let (delivery, class) = disposition(seen.status);
                // A conflict that no rule speaks of stays one: as the first answer it is tried once more.
                let is_plain = delivery == Delivery::Rejected && !self.has_reject(seen.status, &input, &body);
                failed(if is_plain { class } else { Class::Rejected }, Sent::Answered, detail.to_owned())
            }
            Ok(Meaning::Uncertain) => {
                failed(Class::Body, Sent::Maybe, format!("{detail}, of which a rule says that nobody can know"))
            }
            Err((rule, Stuck::Failed(why))) => {
                failed(Class::Rule, Sent::Maybe, format!("{detail}, and the rule `{rule}` failed on it: {why}"))
            }
            Err((rule, Stuck::Cut)) => {
                let why = format!("its body did not come whole, or is longer than {BODY_BYTES_MAX} bytes");
                failed(Class::Rule, Sent::Maybe, format!("{detail}, and the rule `{rule}` cannot be asked: {why}"))
            }
        }
    }

    fn meaning(&self, seen: Seen<'_>, input: &Val, body: &Val) -> Result<Meaning, (String, Stuck)> {
        let status = seen.status;
        if self.already_there && status == 409 && !seen.is_of_many {
            return Ok(Meaning::Success);
        }
        for position in 0..ORDER {
            for (meaning, rule) in self.rules.iter().filter(|(meaning, _)| meaning.position() == position) {
                if rule.applies(status, input, body)? {
                    return Ok(*meaning);
                }
            }
        }
        let has_success = self.rules.iter().any(|(meaning, _)| *meaning == Meaning::Success);
        Ok(match disposition(status) {
            (Delivery::Delivered, _) if has_success => Meaning::Retry(Class::Body),
            (Delivery::Delivered, _) => Meaning::Success,
            (Delivery::Rejected, _) => Meaning::Reject,
            (Delivery::Retry | Delivery::Uncertain, class) => Meaning::Retry(class),
        })
    }

    fn has_reject(&self, status: u16, input: &Val, body: &Val) -> bool {
        let rejects = self.rules.iter().filter(|(meaning, _)| *meaning == Meaning::Reject);
        rejects.into_iter().any(|(_, rule)| rule.applies(status, input, body).unwrap_or(false))
    }

    /// The failure with the destination's own words and wishes.
    fn explained(&self, mut failure: Failure, input: &Val) -> Failure {
        if let Some(Ok(Some(words))) = self.reason.as_ref().map(|filter| filter.text(input)) {
            let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
            failure.detail =
                format!("{}: {}", failure.detail, words.chars().take(REASON_CHARS_MAX).collect::<String>());
        }
        let seconds =
            self.retry_after.as_ref().and_then(|filter| filter.first(input, Val::float).ok().flatten().flatten());
        if let Some(seconds) = seconds.filter(|seconds| *seconds >= 0.0) {
            let asked_ms = std::time::Duration::try_from_secs_f64(seconds).map_or(u128::MAX, |asked| asked.as_millis());
            failure.retry_after_ms = Some(u64::try_from(asked_ms).unwrap_or(u64::MAX).min(RETRY_AFTER_MS_MAX));
        }
        failure
    }
}

/// How many kinds of rules there are, in the order in which they are asked.
const ORDER: u8 = 4;

impl Meaning {
    fn position(self) -> u8 {
        match self {
            Meaning::Uncertain => 0,
            Meaning::Retry(_) => 1,
            Meaning::Reject => 2,
            Meaning::Success => 3,
        }
    }
}

/// The body, and the whole answer with it.
fn values(seen: Seen<'_>) -> (Val, Val) {
    let body = body_of(seen.body);
    let input = whole(seen, body.clone());
    (body, input)
}

/// The parsed body, or its text; what did not come whole is told from an empty one.
fn body_of(body: Option<&[u8]>) -> Val {
    match body {
        None => Val::Cut,
        Some(bytes) => parse_json(bytes).unwrap_or_else(|_| Val::text(String::from_utf8_lossy(bytes))),
    }
}

/// The answer without its body.
fn bare(seen: Seen<'_>) -> Val {
    whole(seen, Val::Cut)
}

fn whole(seen: Seen<'_>, body: Val) -> Val {
    let mut headers = std::collections::BTreeMap::new();
    for (name, value) in seen.headers {
        let joined = match headers.remove(name.as_str()) {
            Some(Val::Str(before)) => format!("{before}, {value}"),
            Some(_) | None => value.clone(),
        };
        headers.insert(name.as_str().into(), Val::text(joined));
    }
    let members = [("status", Val::Int(seen.status.into())), ("headers", Val::object(headers)), ("body", body)];
    Val::object(members.map(|(name, value)| (name.into(), value)).into())
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

#[cfg(test)]
mod tests;
