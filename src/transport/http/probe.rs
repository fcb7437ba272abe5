//! The question whether a destination has a message: `GET https://shop.example/orders?external_id={id}`.
//!
//! # What holds
//!
//! * It is asked with the destination's own headers and authorisation, and nothing of the message but what the URL names; it has no body and is
//!   not signed.
//! * Names are percent-encoded, none is empty and none makes a segment `.` or `..` of the path, so that no name leads anywhere else; the host is fixed.
//! * A key is no answer by itself: a short one stands in any JSON. Only an id that stands in an answer tells without a filter.
//! * It follows no redirect, and ends by its deadline.
//!
//! # What it does not know
//!
//! What becomes of the message.

use std::time::Duration;

use ureq::http::header::RETRY_AFTER;
use ureq::http::{Method, Response};

use super::answer::{BODY_BYTES_MAX, Seen};
use super::exchange::Time;
use super::{ANSWER_BYTES_MAX, ANSWER_WAIT, DEADLINE_MAX, EXCERPT_BYTES_MAX, Http, Target};
use super::{attempt, client, drain, excerpt, exchange, headers, retry_after, wall};
use crate::model::percent::escape;
use crate::model::{Class, Failure, Message, Receipt, Sent, WallMs};
use crate::transport::Probed;
use crate::transport::answer::{Asked, Presence};

/// How a destination is asked whether it has a message.
#[derive(Debug)]
pub struct Question {
    method: Method,
    parts: Vec<Part>,
    presence: Presence,
    limit: Duration,
}

/// A part of the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Id,
    Key,
    Kind,
}

impl Question {
    /// Reads a question: `GET` or `HEAD`, and a URL that names the message by `{id}`, or by `{key}` where a filter says when it is there or
    /// absent; `{type}` may stand in it too.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(request: &str, presence: Presence) -> Result<Question, String> {
        let Some((method, url)) = request.trim().split_once(' ') else {
            return Err(format!("{request:?} is no question; write it as GET https://.../orders?external_id={{id}}"));
        };
        let method = match method {
            "GET" => Method::GET,
            "HEAD" if presence.has_found() => Method::HEAD,
            "HEAD" => return Err("a HEAD has no body to look into; say in `found` what means that it is there".into()),
            _ => return Err(format!("the method {method:?} is neither GET nor HEAD")),
        };
        let parts = parts(url.trim())?;
        if !parts.iter().any(Part::is_name) {
            return Err("the URL names no message; it needs {id} or {key}".into());
        }
        if !parts.contains(&Part::Id) && !presence.has_rules() {
            let hint = "say in `found` what means that the message is there, or name it by {id}";
            return Err(format!("a key alone tells nothing, as a short one may stand in any answer; {hint}"));
        }
        let question = Question { method, parts, presence, limit: DEADLINE_MAX };
        stands_well(url.trim(), &question.sample(), "the message is named")?;
        Ok(question)
    }

    /// Gives it so long, and never more than an attempt has.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Question {
        self.limit = limit;
        self
    }

    /// The URL, with each part as this says; `None` where the message lacks one, or has an empty one.
    fn url<'a>(&self, value: impl Fn(&Part) -> Option<&'a str>) -> Option<String> {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Id | Part::Key | Part::Kind => {
                    url.push_str(&escape(value(part).filter(|text| !text.is_empty())?))
                }
            }
        }
        Some(url)
    }

    /// The URL of a message of which every name is `0`.
    pub(super) fn sample(&self) -> String {
        self.url(|_| Some("0")).unwrap_or_default()
    }

    /// Whether the message is named in the path.
    fn is_in_path(&self) -> bool {
        let before = self.parts.iter().take_while(|part| !matches!(part, Part::Text(text) if text.contains('?')));
        before.into_iter().any(Part::is_name)
    }
}

impl Part {
    fn is_name(&self) -> bool {
        matches!(self, Part::Id | Part::Key)
    }
}

fn parts(url: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = url;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { return Err("a `{` in the URL is never closed".into()) };
        parts.push(Part::Text(text.to_owned()));
        parts.push(match name {
            "id" => Part::Id,
            "key" => Part::Key,
            "type" => Part::Kind,
            _ => return Err(format!("there is no {{{name}}}; known are {{id}}, {{key}} and {{type}}")),
        });
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    match parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
        true => Err("a `}` in the URL was never opened".into()),
        false => Ok(parts),
    }
}

/// Whether names stand where they may in a URL, and lead nowhere else in it; `sample` is the URL with some, `what` begins the sentence about them.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn stands_well(url: &str, sample: &str, what: &str) -> Result<(), String> {
    let host = url.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    if host.contains('{') || url.contains('#') {
        return Err(format!("{what} in the path or in the query of the URL, and nowhere else"));
    }
    Target::parse(sample)?;
    if leads_elsewhere(sample) {
        return Err("a segment of the URL's path is `.` or `..`; write it without".into());
    }
    Ok(())
}

/// Whether a segment of the path is `.` or `..`, which servers take for another path. A dot may be written as `%2e`.
pub(super) fn leads_elsewhere(url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | ".."))
}

impl Http {
    /// Asks the destination.
    pub(super) fn ask(&self, question: &Question, message: &Message, deadline: Duration) -> Probed {
        let time = Time::begin(deadline.min(question.limit));
        let unknown = |class, why: String| Probed::Unknown(Failure::new(class, Sent::No, why));
        let id = headers::id(message);
        let (key, kind) = (message.key(), message.envelope.kind.as_deref());
        let url = question.url(|part| match part {
            Part::Id => Some(&id),
            Part::Key => key,
            Part::Kind => kind,
            Part::Text(_) => None,
        });
        let Some(url) = url else {
            return unknown(Class::Rule, "the message has not what the question names it by".into());
        };
        if leads_elsewhere(&url) {
            return unknown(Class::Rule, "the name of the message makes another path of the URL".into());
        }
        let target = match Target::parse(&url) {
            Ok(target) => target,
            // The texts of a target quote it, and a name is none of theirs.
            Err(_) => return unknown(Class::Rule, "the name of the message makes no URL".into()),
        };
        let make = |pass: Option<&_>| Ok(self.question(&question.method, &target, None, pass));
        let asked_id = question.parts.contains(&Part::Id).then_some(&*id);
        match self.exchange(&target.peer, time, make) {
            Ok(answer) => judged(question, answer, &target.peer, asked_id, wall()),
            Err(failure) => Probed::Unknown(failure),
        }
    }
}

fn judged(question: &Question, answer: Response<ureq::Body>, peer: &str, id: Option<&str>, now: WallMs) -> Probed {
    attempt::hurry(ANSWER_WAIT);
    let status = answer.status();
    let detail = exchange::refused(&answer, peer).detail;
    let retry_after_ms = answer.headers().get(RETRY_AFTER).and_then(|value| retry_after::parse(value.as_bytes(), now));
    let headers = client::listed(answer.headers());
    let (body, is_whole) = if question.method == Method::HEAD {
        (drain(answer, ANSWER_BYTES_MAX, 0).0, false)
    } else {
        drain(answer, BODY_BYTES_MAX, BODY_BYTES_MAX)
    };
    let seen = Seen { status: status.as_u16(), headers: &headers, body: is_whole.then_some(&*body), is_of_many: false };
    let phases = attempt::current().phases();
    match question.presence.judge(seen, Asked { id, is_in_path: question.is_in_path() }, &detail) {
        Probed::There(receipt) => Probed::There(Receipt { phases, ..receipt }),
        Probed::Absent => Probed::Absent,
        Probed::Unknown(failure) => Probed::Unknown(Failure {
            phases,
            retry_after_ms,
            excerpt: excerpt(body.get(..EXCERPT_BYTES_MAX).unwrap_or(&body)),
            ..failure
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(request: &str) -> Result<Question, String> {
        Question::parse(request, Presence::default())
    }

    #[test]
    fn a_question_names_its_message_and_nothing_leads_elsewhere() {
        let question = parse("GET http://shop.test:81/o/{key}/x?t={type}&id={id}").expect("a question");
        let url = question.url(|part| match part {
            Part::Id => Some("1-2"),
            Part::Key => Some("../a?b=ż#&%"),
            Part::Kind => Some("order.created"),
            Part::Text(_) => None,
        });
        assert_eq!(url.as_deref(), Some("http://shop.test:81/o/..%2Fa%3Fb%3D%C5%BC%23%26%25/x?t=order.created&id=1-2"));
        assert!(question.is_in_path());
        assert!(!parse("GET http://shop.test/o?id={id}").expect("a question").is_in_path());
        assert_eq!(question.url(|_| None), None);
        assert_eq!(question.url(|part| Some(if *part == Part::Key { "" } else { "1" })), None, "an empty name is none");
    }

    #[test]
    fn what_is_no_question_is_told() {
        for (request, expect) in [
            ("http://shop.test/{id}", "is no question"),
            ("POST http://shop.test/{id}", "neither GET nor HEAD"),
            ("HEAD http://shop.test/{id}", "say in `found`"),
            ("GET http://shop.test/orders", "needs {id} or {key}"),
            ("GET http://shop.test/{type}", "needs {id} or {key}"),
            ("GET http://shop.test/{key}", "say in `found`"),
            ("GET http://shop.test/a/../{id}", "`.` or `..`"),
            ("GET http://shop.test/%2E/{id}", "`.` or `..`"),
            ("GET http://shop.test/{ids}", "there is no {ids}"),
            ("GET http://shop.test/{id", "never closed"),
            ("GET http://shop.test/id}/{id}", "never opened"),
            ("GET http://{key}.test/{id}", "nowhere else"),
            ("GET http://shop.test/#{id}", "nowhere else"),
            ("GET ftp://shop.test/{id}", "neither http:// nor https://"),
            ("GET http://anna:pw@shop.test/{id}", "user name or password"),
        ] {
            let wrong = parse(request).expect_err(request);
            assert!(wrong.contains(expect), "{request}: {wrong}");
        }
    }

    #[test]
    fn a_key_names_a_message_where_a_filter_tells() {
        for (found, absent) in [(Some(".body.total > 0"), None), (None, Some(".body.total == 0"))] {
            let presence = Presence::parse(found, absent, None).expect("filters");
            assert!(Question::parse("GET http://shop.test/{key}", presence).is_ok());
        }
    }
}
