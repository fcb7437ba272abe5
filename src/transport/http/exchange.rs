//! One request of a destination and its answer.
//!
//! # What holds
//!
//! * A request is made once, and once more where its pass was refused with 401 and could be renewed.
//!
//! # What it does not know
//!
//! What is asked for, and what the answer means.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ureq::AsSendBody;
use ureq::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use ureq::http::{Method, Request, Response, StatusCode};

use super::outcome::{self, Limits};
use super::pass::Pass;
use super::{
    ANSWER_BYTES_MAX, ANSWER_WAIT, DEADLINE_MAX, EXCERPT_BYTES_MAX, Http, Target, attempt, drain, excerpt, retry_after,
    wall,
};
use crate::model::{Class, Failure, Sent, WallMs};

/// The most of a `Location` that is told, in characters.
const LOCATION_CHARS_MAX: usize = 256;

/// When a request began, and until when it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) now: WallMs,
    deadline: Duration,
    until: Instant,
}

impl Time {
    pub(super) fn begin(deadline: Duration) -> Time {
        let deadline = deadline.min(DEADLINE_MAX);
        Time { now: wall(), deadline, until: Instant::now() + deadline }
    }
}

impl Http {
    /// Makes a request with a pass, where the destination wants one, and gives its answer.
    pub(super) fn exchange<B: AsSendBody>(
        &self,
        peer: &str,
        Time { deadline, until, .. }: Time,
        make: impl Fn(Option<&Pass>) -> Result<Request<B>, String>,
    ) -> Result<Response<ureq::Body>, Failure> {
        let mut pass = self.pass(None, until)?;
        let mut is_renewed = false;
        loop {
            let request = make(pass.as_deref())
                .map_err(|problem| Failure::new(Class::Rejected, Sent::No, format!("cannot be sent: {problem}")))?;
            attempt::begin(until);
            match self.agent().0.run(request) {
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && pass.is_some() && !is_renewed => {
                    attempt::hurry(ANSWER_WAIT);
                    drain(answer, ANSWER_BYTES_MAX, 0);
                    is_renewed = true;
                    pass = self.pass(pass.as_ref(), until)?;
                }
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let limits = Limits { deadline, ..self.limits };
                    let is_stopping = self.stopping.load(Ordering::Relaxed);
                    let ended = attempt::end();
                    let failure = outcome::broken(&error, &ended, peer, limits, is_stopping);
                    return Err(Failure { phases: ended.phases(), ..failure });
                }
            }
        }
    }

    /// A question: it has no body and is not signed, and bears the headers and the authorisation of the destination. It asks for what it accepts, where
    /// the destination's own headers do not.
    pub(super) fn question(
        &self,
        method: &Method,
        target: &Target,
        accept: Option<&'static str>,
        pass: Option<&Pass>,
    ) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = self.fixed.clone();
        let headers = request.headers_mut();
        headers.remove(CONTENT_TYPE);
        if let Some(accept) = accept {
            headers.entry(ACCEPT).or_insert(HeaderValue::from_static(accept));
        }
        self.credentials.authorise(headers, pass);
        request
    }

    /// The pass of an attempt, where the destination wants one.
    fn pass(&self, refused: Option<&Arc<Pass>>, until: Instant) -> Result<Option<Arc<Pass>>, Failure> {
        self.passes.as_ref().map(|passes| passes.pass(refused, until)).transpose()
    }
}

/// What an answer that says no is written down as, without what its body says.
pub(super) fn refused(answer: &Response<ureq::Body>, peer: &str) -> Failure {
    let location = answer.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let location: Option<String> = location.map(|text| text.chars().take(LOCATION_CHARS_MAX).collect());
    outcome::refused(answer.status(), peer, location.as_deref())
}

/// The same with the beginning of its body, and when it may be asked again, where it says that.
pub(super) fn no(answer: Response<ureq::Body>, peer: &str, now: WallMs) -> Failure {
    attempt::hurry(ANSWER_WAIT);
    let failure = refused(&answer, peer);
    let asked = answer.headers().get(RETRY_AFTER);
    let retry_after_ms = asked.and_then(|value| retry_after::parse(value.as_bytes(), now));
    let (body, _) = drain(answer, ANSWER_BYTES_MAX, EXCERPT_BYTES_MAX);
    Failure { retry_after_ms, excerpt: excerpt(&body), ..failure }
}
