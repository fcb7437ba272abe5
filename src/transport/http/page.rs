//! The pages of a system that is asked for what is new: `GET https://shop.example/events?since={cursor}`, or a `POST` with a body.
//!
//! # What holds
//!
//! * It is asked with the headers and the authorisation that a destination has; the question is not signed.
//! * The cursor is percent-encoded and makes no segment `.` or `..` of the path, so that it leads nowhere else; the host is fixed.
//! * It follows no redirect. A page is read whole within its deadline and [`PAGE_BYTES_MAX`], or not at all; what the rules over its answers say is no yes is no page.
//!
//! # What it does not know
//!
//! What a page says, and when the next one is asked for.

use std::time::Duration;

use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{Method, Response, StatusCode};

use super::answer::Seen;
use super::exchange::{Time, no, refused};
use super::page_body::PageBody;
use super::probe::{leads_elsewhere, stands_well};
use super::{ANSWER_BYTES_MAX, EXCERPT_BYTES_MAX, Http, Target, client, drain, excerpt, retry_after};
use crate::model::percent::escape;
use crate::model::{Class, Failure, Outcome, Sent, WallMs};

/// The longest page, in bytes.
pub const PAGE_BYTES_MAX: usize = 16 << 20;

/// What stands where the cursor goes.
pub(super) const CURSOR: &str = "{cursor}";
/// What a page is.
const JSON: &str = "application/json";

/// Where a page is asked for, and with which body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What stands before, between and after the cursors.
    parts: Vec<String>,
    /// It is asked by `POST` with this; by `GET` without.
    body: Option<PageBody>,
}

impl Address {
    /// Reads an address: a URL that may have `{cursor}` in its path or query.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(url: &str) -> Result<Address, String> {
        let parts: Vec<String> = url.trim().split(CURSOR).map(str::to_owned).collect();
        if parts.iter().any(|part| part.contains(['{', '}'])) {
            return Err(format!("of what stands in braces only {CURSOR} is known"));
        }
        let address = Address { parts, body: None };
        stands_well(url, &address.sample(), "the cursor stands")?;
        Ok(address)
    }

    /// Asks by `POST` with this body.
    #[must_use]
    pub fn posting(self, body: PageBody) -> Address {
        Address { body: Some(body), ..self }
    }

    /// Whether it says where to go on.
    #[must_use]
    pub fn has_cursor(&self) -> bool {
        self.parts.len() > 1 || self.body.as_ref().is_some_and(PageBody::has_cursor)
    }

    /// Whether a page can be asked for with this cursor.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn takes(&self, cursor: &str) -> Result<(), String> {
        self.question(cursor).map(drop)
    }

    /// The URL and the body of the page at this cursor.
    fn question(&self, cursor: &str) -> Result<(String, Option<String>), String> {
        let url = self.url(cursor);
        if leads_elsewhere(&url) {
            return Err("the cursor makes another path of the URL".into());
        }
        Ok((url, self.body.as_ref().map(|body| body.write(cursor)).transpose()?))
    }

    /// The URL of a page whose cursor is `0`.
    #[must_use]
    pub fn sample(&self) -> String {
        self.url("0")
    }

    fn url(&self, cursor: &str) -> String {
        self.parts.join(&escape(cursor))
    }
}

impl Http {
    /// Asks for the page at this cursor; `None` where the answer is that there is none (204).
    ///
    /// # Errors
    /// No whole page came: the failure says why, and when it may be asked for again where the answer said that.
    pub fn page(&self, address: &Address, cursor: &str, deadline: Duration) -> Result<Option<Vec<u8>>, Failure> {
        self.asked(address, cursor, deadline).map_err(|failure| self.discreet_failure(failure))
    }

    fn asked(&self, address: &Address, cursor: &str, deadline: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let time = Time::begin(deadline);
        let wrong = |why: &str| Failure::new(Class::Rule, Sent::No, why.to_owned());
        let (url, written) = address.question(cursor).map_err(|why| wrong(&why))?;
        // The texts of a target quote it, and a cursor is none of theirs.
        let target = Target::parse(&url).map_err(|_| wrong("the cursor makes no URL"))?;
        let answer = match (&address.body, &written) {
            (Some(body), Some(written)) => {
                let make = |pass: Option<&_>| {
                    let mut request = self.question(&Method::POST, &target, Some(JSON), pass);
                    request.headers_mut().insert(CONTENT_TYPE, body.content_type().clone());
                    Ok(request.map(|()| written.as_bytes()))
                };
                self.exchange(&target.peer, time, make)?
            }
            (_, _) => {
                let make = |pass: Option<&_>| Ok(self.question(&Method::GET, &target, Some(JSON), pass));
                self.exchange(&target.peer, time, make)?
            }
        };
        match answer.status() {
            StatusCode::NO_CONTENT => {
                drain(answer, ANSWER_BYTES_MAX, 0);
                Ok(None)
            }
            status if status.is_success() => self.sound(answer, &target.peer, time.now).map(Some),
            _ => Err(no(answer, &target.peer, time.now)),
        }
    }

    /// The page that this answer is, where the rules do not say that it is none.
    fn sound(&self, answer: Response<ureq::Body>, peer: &str, now: WallMs) -> Result<Vec<u8>, Failure> {
        if self.answers.is_empty() {
            return whole(answer, peer);
        }
        let status = answer.status().as_u16();
        let headers = client::listed(answer.headers());
        let asked = answer.headers().get(RETRY_AFTER);
        let retry_after_ms = asked.and_then(|value| retry_after::parse(value.as_bytes(), now));
        let detail = refused(&answer, peer).detail;
        let body = whole(answer, peer)?;
        let seen = Seen { status, headers: &headers, body: Some(&body), is_of_many: false };
        match self.answers.judge(seen, &detail) {
            Outcome::Delivered(_) => Ok(body),
            Outcome::Failed(failure) => {
                // Where it gave its reason, the beginning of the page would only repeat it.
                let beginning = body.get(..EXCERPT_BYTES_MAX).unwrap_or(&body);
                let excerpt = if failure.detail == detail { excerpt(beginning) } else { None };
                Err(Failure { retry_after_ms: retry_after_ms.or(failure.retry_after_ms), excerpt, ..failure })
            }
        }
    }
}

fn whole(answer: Response<ureq::Body>, peer: &str) -> Result<Vec<u8>, Failure> {
    let (body, is_whole) = drain(answer, PAGE_BYTES_MAX, PAGE_BYTES_MAX);
    if is_whole {
        return Ok(body);
    }
    let detail = if body.len() >= PAGE_BYTES_MAX {
        format!("{peer} answered with a page of more than {PAGE_BYTES_MAX} bytes; ask for fewer at a time")
    } else {
        format!("{peer} did not finish its page of which {} bytes came", body.len())
    };
    Err(Failure::new(Class::Protocol, Sent::Answered, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_stays_in_its_place() {
        let address = Address::parse("http://shop.test:81/o/{cursor}/x?since={cursor}&n=5").expect("an address");
        let cursor = "../a?b=ż&c#d%";
        assert_eq!(
            address.url(cursor),
            "http://shop.test:81/o/..%2Fa%3Fb%3D%C5%BC%26c%23d%25/x?since=..%2Fa%3Fb%3D%C5%BC%26c%23d%25&n=5"
        );
        assert!(address.has_cursor() && !Address::parse("http://shop.test/all").expect("an address").has_cursor());
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (url, expect) in [
            ("http://{cursor}.test/", "nowhere else"),
            ("http://shop.test/#{cursor}", "nowhere else"),
            ("http://shop.test/{since}", "only {cursor} is known"),
            ("http://shop.test/{cursor", "only {cursor} is known"),
            ("http://shop.test/a/../{cursor}", "`.` or `..`"),
            ("ftp://shop.test/{cursor}", "neither http:// nor https://"),
            ("http://anna:pw@shop.test/{cursor}", "user name or password"),
        ] {
            let wrong = Address::parse(url).expect_err(url);
            assert!(wrong.contains(expect), "{url}: {wrong}");
        }
    }
}
