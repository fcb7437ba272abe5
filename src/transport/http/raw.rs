//! Bytes of another registry's making, and the bytes of the answer.
//!
//! # What it does not know
//!
//! What either says.

use std::time::Duration;

use super::batch::Wants;
use super::exchange::Time;
use super::{Http, headers, judged};
use crate::model::{Failure, Id, Outcome};

impl Http {
    /// Sends these bytes once, as one request for so many messages under this id, and says how that ended, with the body of an answer that says yes.
    #[must_use]
    pub fn exchange_raw(
        &self,
        id: Id,
        count: usize,
        content_type: &str,
        body: &[u8],
        deadline: Duration,
    ) -> (Outcome, Option<Vec<u8>>) {
        let (outcome, body) = self
            .ask_raw(id, count, content_type, body, deadline)
            .unwrap_or_else(|failure| (Outcome::Failed(failure), None));
        (self.discreet(outcome), body)
    }

    fn ask_raw(
        &self,
        id: Id,
        count: usize,
        content_type: &str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<(Outcome, Option<Vec<u8>>), Failure> {
        let (target, time) = (self.target()?, Time::begin(deadline));
        let id = id.to_string();
        let make = |pass: Option<&_>| {
            let headers = headers::of_batch(&self.fixed, &id, count, content_type, time.now)?;
            self.request(target, headers, || id.clone(), body, pass, time.now)
        };
        let answer = self.exchange(&target.peer, time, make)?;
        let wants = Wants { body: true, is_of_many: count > 1 };
        Ok(judged(&self.answers, answer, &target.peer, time.now, wants))
    }
}
