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
use ureq::http::header::LOCATION;
use ureq::http::{Request, Response, StatusCode};

use super::outcome::{self, Limits};
use super::pass::Pass;
use super::{ANSWER_BYTES_MAX, ANSWER_WAIT, DEADLINE_MAX, Http, attempt, drain, wall};
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
