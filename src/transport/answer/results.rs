//! What an answer to many messages says of each: an array of results, and which of them is whose.
//!
//! # What holds
//!
//! * A message is delivered only where its own result says so, or where the destination names only what it refuses and named everything it
//!   refused so that it could be found ([`Missing::Delivered`]).
//! * A result that is missing, that two messages could claim, that comes twice, or of which a rule fails, makes its message uncertain, with the reason.
//! * An answer with more results than messages says nothing of any: it is not about this batch.
//!
//! # What it does not know
//!
//! Whether the request itself arrived: it is asked only where that is a yes.

use super::{REASON_CHARS_MAX, REMOTE_ID_CHARS_MAX, Wrong, body_of};
use crate::model::{Class, Failure, Message, Outcome, Receipt, Sent};
use crate::transport::filter::{Filter, Stuck, Val};

/// What is kept of a result that says no, in characters.
const EXCERPT_CHARS_MAX: usize = 2_000;

/// The rules in the words of a configuration: filters over the parsed body, and over one result.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResultRules<'a> {
    /// Over the body: an array of results.
    pub items: &'a str,
    /// Over a result: the id or the key of its message; `None` where results stand in the order of the messages.
    pub by: Option<&'a str>,
    /// Over a result: whether it says yes.
    pub success: &'a str,
    /// Over a result that says no: whether another attempt is of no use.
    pub reject: Option<&'a str>,
    /// Over a result that says no: the destination's own words.
    pub reason: Option<&'a str>,
    /// Over a result that says yes: what the destination calls the thing now.
    pub remote_id: Option<&'a str>,
    /// What a message without a result is.
    pub missing: Missing,
}

/// What a message is of which the answer says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// Nobody can know.
    #[default]
    Uncertain,
    /// Delivered: the destination names only what it refuses.
    Delivered,
}

/// How the results of an answer are read.
#[derive(Debug)]
pub struct Results {
    items: Filter,
    by: Option<Filter>,
    success: Filter,
    reject: Option<Filter>,
    reason: Option<Filter>,
    remote_id: Option<Filter>,
    missing: Missing,
}

/// Whose result was found.
#[derive(Clone, Copy)]
enum Found {
    Nothing,
    At(usize),
    Several,
}

impl Results {
    /// Reads the rules.
    ///
    /// # Errors
    /// A text is not a filter: under which key, and where.
    pub fn parse(rules: &ResultRules<'_>) -> Result<Results, Wrong> {
        let perhaps = |key, text: Option<&str>| text.map(|text| read(key, text)).transpose();
        Ok(Results {
            items: read("items", rules.items)?,
            by: perhaps("match", rules.by)?,
            success: read("success", rules.success)?,
            reject: perhaps("reject", rules.reject)?,
            reason: perhaps("reason", rules.reason)?,
            remote_id: perhaps("remote_id", rules.remote_id)?,
            missing: rules.missing,
        })
    }

    /// What became of each of these messages, which went in this order, by the body of the answer; `None` where that did not come whole.
    #[must_use]
    pub fn each(&self, status: u16, body: Option<&[u8]>, messages: &[&Message]) -> Vec<Outcome> {
        match self.found(body, messages) {
            Ok((items, found, is_complete)) => {
                let outcome = |found: Found| match found {
                    Found::At(at) => items
                        .get(at)
                        .map_or_else(|| lost(status, "its result is missing"), |item| self.judge(status, item)),
                    Found::Several => lost(status, "more than one result of the answer could be its own"),
                    Found::Nothing if self.missing == Missing::Delivered && is_complete => arrived(status, None),
                    Found::Nothing => lost(status, "no result of the answer is its own"),
                };
                found.into_iter().map(outcome).collect()
            }
            Err(why) => vec![lost(status, &why); messages.len()],
        }
    }

    /// The results, which one is whose, and whether each of them was somebody's.
    fn found(&self, body: Option<&[u8]>, messages: &[&Message]) -> Result<(Vec<Val>, Vec<Found>, bool), String> {
        let items = self.items.list(&body_of(body)).map_err(|stuck| stuck_at(&self.items, stuck))?;
        let items = items.ok_or_else(|| format!("the rule `{}` gives no array of results", self.items.source()))?;
        let (count, expected) = (items.len(), messages.len());
        if count > expected || (self.by.is_none() && count != expected) {
            return Err(format!("the answer has {count} results for {expected} messages"));
        }
        let Some(by) = &self.by else { return Ok((items, (0..expected).map(Found::At).collect(), true)) };
        let mut found = vec![Found::Nothing; expected];
        let mut is_complete = true;
        for (at, item) in items.iter().enumerate() {
            let name = by.text(item).ok().flatten();
            let is_its = |message: &Message| name.as_deref().is_some_and(|name| is_named(message, name));
            let mut own =
                messages.iter().zip(&mut found).filter(|(message, _)| is_its(message)).map(|(_, found)| found);
            match (own.next(), own.next()) {
                (None, _) => is_complete = false,
                (Some(found @ Found::Nothing), None) => *found = Found::At(at),
                (Some(found), None) => *found = Found::Several,
                (Some(first), Some(second)) => {
                    (*first, *second) = (Found::Several, Found::Several);
                    own.for_each(|found| *found = Found::Several);
                }
            }
        }
        Ok((items, found, is_complete))
    }

    fn judge(&self, status: u16, item: &Val) -> Outcome {
        match self.success.holds(item) {
            Ok(true) => {
                let remote_id = self.remote_id.as_ref().and_then(|filter| filter.text(item).ok().flatten());
                return arrived(status, remote_id.map(|id| id.trim().chars().take(REMOTE_ID_CHARS_MAX).collect()));
            }
            Ok(false) => {}
            Err(stuck) => return lost(status, &stuck_at(&self.success, stuck)),
        }
        let class = match self.reject.as_ref().map(|filter| (filter, filter.holds(item))) {
            Some((_, Ok(true))) => Class::Rejected,
            Some((_, Ok(false))) | None => Class::Body,
            Some((filter, Err(stuck))) => return lost(status, &stuck_at(filter, stuck)),
        };
        let words = self.reason.as_ref().and_then(|filter| filter.text(item).ok().flatten()).unwrap_or_default();
        let words: String =
            words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS_MAX).collect();
        let detail =
            if words.is_empty() { "its result says no".into() } else { format!("its result says no: {words}") };
        let excerpt = Some(item.to_string().chars().take(EXCERPT_CHARS_MAX).collect());
        Outcome::Failed(Failure { status: Some(status), excerpt, ..Failure::new(class, Sent::Answered, detail) })
    }
}

fn read(key: &'static str, text: &str) -> Result<Filter, Wrong> {
    Filter::parse(text).map_err(|problem| Wrong { key, problem })
}

fn is_named(message: &Message, name: &str) -> bool {
    message.key() == Some(name) || message.id().to_string() == name
}

fn arrived(status: u16, remote_id: Option<String>) -> Outcome {
    Outcome::Delivered(Receipt { status: Some(status), remote_id, ..Receipt::default() })
}

/// Nobody can know what became of it.
fn lost(status: u16, why: &str) -> Outcome {
    Outcome::Failed(Failure { status: Some(status), ..Failure::new(Class::Rule, Sent::Maybe, why) })
}

fn stuck_at(filter: &Filter, stuck: Stuck) -> String {
    match stuck {
        Stuck::Failed(why) => format!("the rule `{}` failed on the answer: {why}", filter.source()),
        Stuck::Cut => format!("the rule `{}` cannot be asked: the answer did not come whole", filter.source()),
    }
}
