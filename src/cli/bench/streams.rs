//! Messages that wait in one node, on their way into the registry of another by number.
//!
//! # What it does not know
//!
//! What a stream is.

use std::time::{Duration, Instant};

use super::local::{self, DESTINATION};
use super::node::Node;
use super::table::Row;
use super::waiting::fill;
use super::{Fail, Plan, failed, measure, progress};

/// Messages of a round, unless the caller says otherwise.
const MESSAGES: usize = 500_000;
/// Bodies, in bytes, unless the caller says otherwise.
const BYTES: usize = 200;
/// How long a round may take.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How often it is looked how far the sender is.
const LOOK: Duration = Duration::from_millis(10);
/// What both sign with: a bench has nothing to hide.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOTHING: &str = "the goal is 100,000 a second";

/// From a backlog of one node into the registry of another, whose destination is paused.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (messages, bytes) = (plan.messages.unwrap_or(MESSAGES), plan.size.unwrap_or(BYTES));
    let mut rates = Vec::new();
    for round in 1..=plan.rounds {
        let rate = one(plan, messages, bytes)?;
        progress(&format!("streams: round {round} of {}: {rate:.0} a second", plan.rounds));
        rates.push(rate);
    }
    let what = format!("{messages} of {bytes} B from a backlog into another registry");
    Ok(vec![Row::alone("streams", what, rates.into_iter(), NOTHING)])
}

fn one(plan: &Plan, messages: usize, bytes: usize) -> Result<f64, Fail> {
    let (here, there) = (local::fresh(plan), local::fresh(plan));
    let secret = there.with_extension("secret");
    std::fs::write(&secret, SECRET).map_err(|error| failed(format!("cannot write a secret: {error}")))?;
    let secret = format!("secret = {{ file = \"{}\" }}", secret.display());
    let receiver = Node::start(
        &there,
        &format!(
            "[destination.{DESTINATION}]\nurl = \"http://127.0.0.1:9/\"\n[source.here]\nverify = {{ preset = \"goniec\", {secret} }}\n\
             [[route]]\nto = [\"{DESTINATION}\"]\n"
        ),
    )?;
    receiver.post(&format!("/v1/destinations/{DESTINATION}/pause"))?;
    let url = format!("http://{}/v1/in/here", receiver.address);
    let sender = Node::start(
        &here,
        &format!("[destination.{DESTINATION}]\ntype = \"goniec\"\nurl = \"{url}\"\nsign = {{ {secret} }}\n"),
    )?;
    sender.post(&format!("/v1/destinations/{DESTINATION}/pause"))?;
    let handed_in = fill(&sender, "streams", messages, bytes, 0)?;
    let began = Instant::now();
    sender.post(&format!("/v1/destinations/{DESTINATION}/resume"))?;
    while sender.delivered()? < handed_in {
        if began.elapsed() > TIME_MAX {
            return Err(failed(format!("{handed_in} messages were not there within {TIME_MAX:?}")));
        }
        // What is waited for is looked at again; the loop has a deadline.
        std::thread::sleep(LOOK);
    }
    let took = began.elapsed();
    sender.stop()?;
    receiver.stop()?;
    Ok(measure::float(handed_in) / took.as_secs_f64())
}
