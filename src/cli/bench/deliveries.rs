//! Deliveries over HTTP to a bare sink in another process: whole lives, and the transport by itself.
//!
//! # What it does not know
//!
//! What the sink does.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Destination;
use crate::model::{Id, Message, NodeTag, Outcome, Place, WallMs};
use crate::transport::Transport;
use crate::transport::http::Http;

use super::bare::Caller;
use super::local::{self, DESTINATION, Local};
use super::sink::Bare;
use super::table::Row;
use super::{Fail, KIB, Plan, failed, lives, measure};

/// Messages of a round.
const MESSAGES: usize = 30_000;
/// How many are out at once, and how many threads call the bare client.
const OUT: u16 = 16;
/// The goal of whole lives, of the bare client.
const GOAL: f64 = 0.6;
/// How long one delivery may take.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAINST: &str = "a bare HTTP client in a loop";

/// A row for whole lives, and one for the transport alone.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(MESSAGES));
    let sink = Bare::start()?;
    let url = format!("http://{}/", sink.address);
    let out = usize::from(OUT);
    let caller = Caller::new(sink.address, bytes);
    let bare = || measure::calls(out, messages, || caller.call().map(|()| 1));

    let what = format!("whole lives over HTTP, {bytes} B, {OUT} out at once");
    let rounds = measure::rounds(plan, &what, bare, || {
        let there = Destination { concurrency: OUT, ..Destination::new(DESTINATION, Http::post(&url)) };
        lives::through(&Local::start(plan, there)?, plan.producers, bytes, messages)
    })?;
    let lives = Row::compared("deliveries", what, &rounds, AGAINST).goal(GOAL);

    let what = format!("the HTTP transport alone, {bytes} B, {OUT} threads");
    let (http, message) = (Http::post(&url), message(bytes));
    let rounds = measure::rounds(plan, &what, bare, || {
        measure::calls(out, messages, || match http.send(&message, PATIENCE) {
            Outcome::Delivered(_) => Ok(1),
            Outcome::Failed(failure) => Err(failed(format!("the transport failed: {}", failure.detail))),
        })
    })?;
    Ok(vec![lives, Row::compared("deliveries", what, &rounds, AGAINST)])
}

fn message(bytes: usize) -> Message {
    let draft = Message::to(DESTINATION).key("order:17").content_type("application/json").body(local::body(bytes, 0));
    Message {
        id: Id::compose(WallMs(0), NodeTag::new(7), Place::new(1, 2)),
        attempt: 1,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: Arc::new(draft.envelope),
        body: draft.body,
    }
}
