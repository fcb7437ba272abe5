//! What an answer to the question "do you have this message?" means: there, absent, or nothing that tells.
//!
//! # What holds
//!
//! * A wrong *there* loses a message, a wrong *absent* brings it twice: whatever is in doubt is unknown.
//! * Only 2xx and 404 answer the question, and a 410 where `absent` claims it: what was there and was removed is not to be made anew. A 404 speaks of
//!   the message only where the path names it; else the address is wrong.
//! * Without filters, an answer says *there* only where the id that was asked for stands in it as a whole value, and *absent* only where it is empty: JSON
//!   with nothing in it, or no byte where the answer said that none would come. A key that stands in it says nothing.
//!
//! # What it does not know
//!
//! How the question is put, and what becomes of the message.

use super::{REMOTE_ID_CHARS_MAX, Seen, Wrong, values};
use crate::model::policy::disposition;
use crate::model::{Class, Delivery, Failure, Receipt, Sent};
use crate::transport::Probed;
use crate::transport::filter::{Filter, Stuck, Val};

/// The rules of one destination over the answers to its question: filters over `{status, headers, body}`.
#[derive(Debug, Default)]
pub struct Presence {
    found: Option<Filter>,
    absent: Option<Filter>,
    remote_id: Option<Filter>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The id of the message, where the question names it.
    pub id: Option<&'a str>,
    /// Whether it stands in the path, so that a 404 speaks of it.
    pub is_in_path: bool,
}

impl Presence {
    /// Reads the filters: when the message is there, when it is absent, and what the destination calls it.
    ///
    /// # Errors
    /// What does not parse, under which key and where.
    pub fn parse(found: Option<&str>, absent: Option<&str>, remote_id: Option<&str>) -> Result<Presence, Wrong> {
        let read =
            |key, text: Option<&str>| text.map(Filter::parse).transpose().map_err(|problem| Wrong { key, problem });
        Ok(Presence {
            found: read("found", found)?,
            absent: read("absent", absent)?,
            remote_id: read("remote_id", remote_id)?,
        })
    }

    /// Whether a filter says when a message is there.
    #[must_use]
    pub fn has_found(&self) -> bool {
        self.found.is_some()
    }

    /// Whether a filter says when a message is there, or when it is absent.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.found.is_some() || self.absent.is_some()
    }

    /// What the answer means; `detail` is what it is without rules, in words.
    #[must_use]
    pub fn judge(&self, seen: Seen<'_>, asked: Asked<'_>, detail: &str) -> Probed {
        let unknown = |class, why: &str| {
            let failure = Failure::new(class, Sent::Answered, format!("{detail}{why}"));
            Probed::Unknown(Failure { status: Some(seen.status), ..failure })
        };
        let (delivery, class) = disposition(seen.status);
        let (is_yes, is_gone) = (delivery == Delivery::Delivered, matches!(seen.status, 404 | 410));
        if !is_yes && !is_gone {
            // That the destination refuses it, or is gone, is said of the question and not of the message.
            return unknown(if delivery == Delivery::Rejected { Class::Rule } else { class }, "");
        }
        if is_gone && self.absent.is_none() {
            return match (asked.is_in_path, seen.status) {
                (false, _) => unknown(Class::Setup, ", which speaks of the address and not of the message"),
                (true, 410) => unknown(Class::Rule, ", so it may have been there; only `absent` can claim that"),
                (true, _) => Probed::Absent,
            };
        }
        let (body, input) = values(seen);
        let found = self.found.as_ref().filter(|_| is_yes);
        match (asks(found, &input), asks(self.absent.as_ref(), &input)) {
            (Err(why), _) | (_, Err(why)) => unknown(Class::Rule, &why),
            (Ok(Some(true)), Ok(None | Some(false))) => self.there(seen.status, &input, detail),
            (Ok(Some(false)), Ok(None)) | (Ok(Some(false) | None), Ok(Some(true))) => Probed::Absent,
            (Ok(Some(true)), Ok(Some(true))) => unknown(Class::Rule, ", which `found` and `absent` both claim"),
            (Ok(Some(false)), Ok(Some(false))) => unknown(Class::Rule, ", which neither `found` nor `absent` claims"),
            (Ok(None), Ok(_)) if is_gone => unknown(Class::Rule, ", which `absent` does not claim"),
            (Ok(None), Ok(_)) if asked.id.is_some_and(|id| body.has(id)) => self.there(seen.status, &input, detail),
            (Ok(None), Ok(None)) if is_empty(seen, &body) => Probed::Absent,
            (Ok(None), Ok(_)) => unknown(Class::Rule, ", in which neither the id of the message nor nothing stands"),
        }
    }

    fn there(&self, status: u16, input: &Val, detail: &str) -> Probed {
        let remote_id = self.remote_id.as_ref().and_then(|filter| filter.text(input).ok().flatten());
        let remote_id = remote_id.map(|id| id.trim().chars().take(REMOTE_ID_CHARS_MAX).collect());
        Probed::There(Receipt { status: Some(status), remote_id, detail: detail.to_owned(), ..Receipt::default() })
    }
}

/// What a filter says, where there is one.
fn asks(filter: Option<&Filter>, input: &Val) -> Result<Option<bool>, String> {
    let says = |filter: &Filter| {
        filter.holds(input).map_err(|stuck| match stuck {
            Stuck::Failed(why) => format!(", and the rule `{}` failed on it: {why}", filter.source()),
            Stuck::Cut => format!(", and the rule `{}` cannot be asked: its body did not come whole", filter.source()),
        })
    };
    filter.map(says).transpose()
}

/// Whether there is nothing in the answer. A body that did not come, or not whole, is not nothing; and where no length was told, no bytes may be
/// an answer that was cut off.
fn is_empty(seen: Seen<'_>, body: &Val) -> bool {
    let is_told = || seen.headers.iter().any(|(name, value)| name == "content-length" && value.trim() == "0");
    let is_nothing = seen.body.is_some_and(<[u8]>::is_empty) && (seen.status == 204 || is_told());
    is_nothing || body.is_bare()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01975a3e-0000-7000-8000-000000000001";

    fn judged(rules: &Presence, status: u16, body: Option<&str>, is_in_path: bool) -> String {
        let length = body.map(|body| ("content-length".to_owned(), body.len().to_string()));
        let seen = Seen { status, headers: length.as_slice(), body: body.map(str::as_bytes), is_of_many: false };
        match rules.judge(seen, Asked { id: Some(ID), is_in_path }, "shop answered") {
            Probed::There(receipt) => format!("there {}", receipt.remote_id.unwrap_or_default()).trim().to_owned(),
            Probed::Absent => "absent".to_owned(),
            Probed::Unknown(failure) => {
                assert!(!failure.detail.is_empty() && failure.status == Some(status));
                failure.class.name().to_owned()
            }
        }
    }

    fn rules(found: Option<&str>, absent: Option<&str>) -> Presence {
        Presence::parse(found, absent, Some(".body.id")).expect("filters")
    }

    #[test]
    fn without_filters_only_the_name_is_there_and_only_nothing_is_absent() {
        let plain = Presence::default();
        for (status, body, expect) in [
            (200, Some(format!(r#"{{"order":{{"external_id":"{ID}"}}}}"#)), "there"),
            (200, Some(format!(r#"[{{"n":1}},"{ID}"]"#)), "there"),
            (200, Some("[]".into()), "absent"),
            (200, Some(" {} ".into()), "absent"),
            (200, Some("null".into()), "absent"),
            (204, Some(String::new()), "absent"),
            (200, Some(String::new()), "absent"),
            (200, Some(" ".into()), "rule"),
            // A part of a text, a key, another order, a page for people, half an answer, no body at all: none of them tells.
            (200, Some(format!(r#"{{"q":"id={ID}"}}"#)), "rule"),
            (200, Some(format!(r#"{{"{ID}":0}}"#)), "rule"),
            (200, Some(r#"{"orders":[]}"#.into()), "rule"),
            (200, Some("<html>".into()), "rule"),
            (200, None, "rule"),
            (204, None, "rule"),
            (404, Some("{}".into()), "absent"),
            (410, None, "rule"),
            (400, Some("[]".into()), "rule"),
            (409, Some(format!("\"{ID}\"")), "rule"),
            (401, Some("[]".into()), "setup"),
            (302, Some("[]".into()), "redirect"),
            (429, Some("[]".into()), "rate-limited"),
            (500, Some(format!("[\"{ID}\"]")), "server"),
        ] {
            assert_eq!(judged(&plain, status, body.as_deref(), true), expect, "{status} {body:?}");
        }
        // Nothing is there under the address that names no message in its path: that is no answer about one.
        assert_eq!(judged(&plain, 404, Some("{}"), false), "setup");
    }

    #[test]
    fn no_bytes_are_nothing_only_where_that_was_told() {
        let judged = |status| {
            let seen = Seen { status, headers: &[], body: Some(b""), is_of_many: false };
            Presence::default().judge(seen, Asked { id: Some(ID), is_in_path: true }, "answered")
        };
        assert!(matches!(judged(200), Probed::Unknown(_)), "it may have been cut off");
        assert_eq!(judged(204), Probed::Absent);
    }

    #[test]
    fn a_key_that_stands_in_an_answer_says_nothing() {
        let seen = Seen { status: 200, headers: &[], body: Some(br#"{"page":1,"id":"1"}"#), is_of_many: false };
        let absent = rules(None, Some(".body.total == 0"));
        assert!(matches!(absent.judge(seen, Asked { id: None, is_in_path: false }, "answered"), Probed::Unknown(_)));
        assert!(matches!(absent.judge(seen, Asked { id: Some("1"), is_in_path: false }, "answered"), Probed::There(_)));
    }

    #[test]
    fn a_number_is_a_name_too() {
        let seen = Seen { status: 200, headers: &[], body: Some(br#"{"no":4711,"of":47110}"#), is_of_many: false };
        let judged = |id| Presence::default().judge(seen, Asked { id: Some(id), is_in_path: false }, "answered");
        assert!(matches!(judged("4711"), Probed::There(_)));
        assert!(matches!(judged("471"), Probed::Unknown(_)));
    }

    #[test]
    fn filters_decide_where_there_are_any() {
        let found = rules(Some(".body.total > 0"), None);
        let both = rules(Some(".body.total > 0"), Some(".body.total == 0"));
        let absent = rules(None, Some(".status == 404 or .body.total == 0"));
        for (rules, status, body, expect) in [
            (&found, 200, r#"{"total":1,"id":7}"#, "there 7"),
            (&found, 200, r#"{"total":0}"#, "absent"),
            (&found, 200, r#"{"total":{"a":1}} x"#, "rule"),
            (&found, 500, r#"{"total":1}"#, "server"),
            (&found, 404, r#"{"total":1}"#, "absent"),
            (&both, 200, r#"{"total":1}"#, "there"),
            (&both, 200, r#"{"total":0}"#, "absent"),
            (&both, 200, r#"{"total":null}"#, "rule"),
            (&both, 404, r#"{"total":1}"#, "rule"),
            (&absent, 404, "gone", "absent"),
            (&absent, 200, r#"{"total":0}"#, "absent"),
            (&absent, 200, "[]", "rule"),
            (&rules(None, Some(".status == 410")), 410, "", "absent"),
        ] {
            assert_eq!(judged(rules, status, Some(body), true), expect, "{rules:?} {status} {body}");
        }
        assert_eq!(judged(&found, 200, None, true), "rule", "half an answer");
        assert_eq!(judged(&rules(Some("true"), Some("true")), 200, Some("1"), true), "rule");
    }

    #[test]
    fn what_does_not_parse_is_told_under_its_key() {
        assert_eq!(Presence::parse(Some(".a ="), None, None).expect_err("no filter").key, "found");
        assert_eq!(Presence::parse(None, Some("]"), None).expect_err("no filter").key, "absent");
    }
}
