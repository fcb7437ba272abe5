//! Messages that wait in one node, on their way into the registry of another by number.
//!
//! # What it does not know
//!
//! What a stream is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::local::{self, DESTINATION};
use super::node::Node;
use super::table::Row;
use super::waiting::fill;
use super::{Fail, Plan, failed, measure, progress};

/// Messages of a round, unless the caller says otherwise.
const MESSAGES: usize = 500_000;
/// Bodies, in bytes, unless the caller says otherwise.
pub(super) const BYTES: usize = 200;
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
    let both = Both::new(plan)?;
    let receiver = both.receiver()?;
    pause(&receiver)?;
    let sender = both.sender(receiver.address)?;
    pause(&sender)?;
    let handed_in = fill(&sender, "streams", messages, bytes, 0)?;
    let began = Instant::now();
    sender.post(&format!("/v1/destinations/{DESTINATION}/resume"))?;
    wait_delivered(&sender, handed_in, TIME_MAX)?;
    let took = began.elapsed();
    sender.stop()?;
    receiver.stop()?;
    Ok(measure::float(handed_in) / took.as_secs_f64())
}

/// The registries of two nodes, the first of which sends to the second by number.
pub(super) struct Both {
    here: PathBuf,
    there: PathBuf,
    secret: String,
}

impl Both {
    /// Two registries that have not begun.
    pub(super) fn new(plan: &Plan) -> Result<Both, Fail> {
        let (here, there) = (local::fresh(plan), local::fresh(plan));
        let file = there.with_extension("secret");
        std::fs::write(&file, SECRET).map_err(|error| failed(format!("cannot write a secret: {error}")))?;
        Ok(Both { here, there, secret: format!("secret = {{ file = \"{}\" }}", file.display()) })
    }

    /// Starts the node that receives.
    pub(super) fn receiver(&self) -> Result<Node, Fail> {
        let config = format!(
            "[destination.{DESTINATION}]\nurl = \"http://127.0.0.1:9/\"\n[source.here]\nverify = {{ preset = \"goniec\", {} }}\n\
             [[route]]\nto = [\"{DESTINATION}\"]\n",
            self.secret
        );
        Node::start(&self.there, &config)
    }

    /// Starts the node that sends, to a receiver at this address.
    pub(super) fn sender(&self, to: SocketAddr) -> Result<Node, Fail> {
        let config = format!(
            "[destination.{DESTINATION}]\ntype = \"goniec\"\nurl = \"http://{to}/v1/in/here\"\nsign = {{ {} }}\n",
            self.secret
        );
        Node::start(&self.here, &config)
    }
}

/// Lets the destination of a node wait.
pub(super) fn pause(node: &Node) -> Result<(), Fail> {
    node.post(&format!("/v1/destinations/{DESTINATION}/pause"))
}

/// Waits until a node has delivered so many.
pub(super) fn wait_delivered(node: &Node, count: u64, limit: Duration) -> Result<(), Fail> {
    let began = Instant::now();
    while node.delivered()? < count {
        if began.elapsed() > limit {
            return Err(failed(format!("{count} messages were not there within {limit:?}")));
        }
        // What is waited for is looked at again; the loop has a deadline.
        std::thread::sleep(LOOK);
    }
    Ok(())
}
