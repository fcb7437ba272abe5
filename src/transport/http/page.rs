//! The pages of a system that is asked for what is new: `GET https://shop.example/events?since={cursor}`.
//!
//! # What holds
//!
//! * It is asked with the headers and the authorisation that a destination has; the question has no body and is not signed.
//! * The cursor is percent-encoded and makes no segment `.` or `..` of the path, so that it leads nowhere else; the host is fixed.
//! * It follows no redirect. A page is read whole within its deadline and [`PAGE_BYTES_MAX`], or not at all.
//!
//! # What it does not know
//!
//! What a page says, and when the next one is asked for.

use std::time::Duration;

use ureq::http::{Method, Response, StatusCode};

use super::exchange::{Time, no};
use super::probe::{leads_elsewhere, stands_well};
use super::{ANSWER_BYTES_MAX, Http, Target, drain};
use crate::model::percent::escape;
use crate::model::{Class, Failure, Sent};

/// The longest page, in bytes.
pub const PAGE_BYTES_MAX: usize = 16 << 20;

/// What stands in an address where the cursor goes.
const CURSOR: &str = "{cursor}";

/// Where a page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What stands before, between and after the cursors.
    parts: Vec<String>,
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
        let address = Address { parts };
        stands_well(url, &address.sample(), "the cursor stands")?;
        Ok(address)
    }

    /// Whether it says where to go on.
    #[must_use]
    pub fn has_cursor(&self) -> bool {
        self.parts.len() > 1
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
        let url = address.url(cursor);
        if leads_elsewhere(&url) {
            return Err(wrong("the cursor makes another path of the URL"));
        }
        // The texts of a target quote it, and a cursor is none of theirs.
        let target = Target::parse(&url).map_err(|_| wrong("the cursor makes no URL"))?;
        let make = |pass: Option<&_>| Ok(self.question(&Method::GET, &target, Some("application/json"), pass));
        let answer = self.exchange(&target.peer, time, make)?;
        match answer.status() {
            StatusCode::NO_CONTENT => {
                drain(answer, ANSWER_BYTES_MAX, 0);
                Ok(None)
            }
            status if status.is_success() => whole(answer, &target.peer).map(Some),
            _ => Err(no(answer, &target.peer, time.now)),
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
