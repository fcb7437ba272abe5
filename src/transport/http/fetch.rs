//! What a system holds ready to be read: one `GET`, with the credentials of a destination, whose body is read as it comes.
//!
//! # What holds
//!
//! * A body that ends before its time is an error, never a shorter body. An answer that does not say where it ends is told as such.
//! * All of it comes before the deadline, or an error does. No redirect is followed.
//!
//! # What it does not know
//!
//! What is read, and how long it may be.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use ureq::http::{Method, StatusCode};

use super::Http;
use super::client::Stream;
use super::exchange::{Time, no};
use crate::model::Failure;

/// How long a read may wait for the next bytes.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// An answer whose body is to be read.
#[derive(Debug)]
pub struct Fetched {
    /// Its content type, as it came.
    pub content_type: Option<String>,
    /// Whether the answer says where it ends: a body that is cut off shows then.
    pub is_bounded: bool,
    /// How many bytes are still to come, where that was said.
    left: Option<u64>,
    until: Instant,
    body: Stream,
}

impl Http {
    /// Asks for what is there, and leaves the body to the caller, who has until the deadline to read it.
    ///
    /// # Errors
    /// There was no answer, or another one than 200.
    pub fn fetch(&self, deadline: Duration) -> Result<Fetched, Failure> {
        self.ask_for(deadline).map_err(|failure| self.discreet_failure(failure))
    }

    fn ask_for(&self, deadline: Duration) -> Result<Fetched, Failure> {
        let (target, until, time) = (self.target()?, Instant::now() + deadline, Time::begin(deadline));
        let make = |pass: Option<&_>| Ok(self.question(&Method::GET, target, Some("*/*"), pass));
        let answer = self.exchange(&target.peer, time, make)?;
        if answer.status() != StatusCode::OK {
            return Err(no(answer, &target.peer, time.now));
        }
        let (headers, text) = (answer.headers(), |value: &HeaderValue| value.to_str().ok().map(str::to_owned));
        let left = length(headers);
        Ok(Fetched {
            content_type: headers.get(CONTENT_TYPE).and_then(text),
            is_bounded: left.is_some() || headers.contains_key(TRANSFER_ENCODING),
            left,
            until,
            body: Stream::of(answer, QUIET_MAX),
        })
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let quiet = self.until.saturating_duration_since(Instant::now());
        if quiet.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it was not all there in time"));
        }
        self.body.wait_at_most(quiet.min(QUIET_MAX));
        let read = self.body.read(buffer)?;
        let Some(left) = &mut self.left else { return Ok(read) };
        if read == 0 && *left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended {left} bytes early")));
        }
        *left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}
