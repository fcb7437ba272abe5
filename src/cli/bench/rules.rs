//! Rules: whole lives over HTTP with a rule over the body of each answer, against the same without.
//!
//! # What it does not know
//!
//! How a rule is worked out.

use crate::engine::Destination;
use crate::transport::answer::{Answers, Meaning, Rule};
use crate::transport::http::Http;

use super::local::{DESTINATION, Local};
use super::sink::Bare;
use super::table::Row;
use super::{Fail, KIB, Plan, failed, lives, measure};

/// Messages of a round.
const MESSAGES: usize = 30_000;
/// How many are out at once.
const OUT: u16 = 16;
/// What is left of the rate, at least.
const GOAL: f64 = 0.8;
const SUCCESS: &str = ".status == \"SUCCESS\"";

/// One row.
pub(super) fn run(plan: &Plan) -> Result<Vec<Row>, Fail> {
    let (bytes, messages) = (plan.size.unwrap_or(KIB), plan.messages.unwrap_or(MESSAGES));
    let sink = Bare::start()?;
    let rule = || Rule::parse(None, Some(SUCCESS), None).map_err(|wrong| failed(wrong.problem.problem));
    let lives = |answers: Answers| {
        let http = Http::post(&format!("http://{}/", sink.address)).answers(answers);
        let there = Destination { concurrency: OUT, ..Destination::new(DESTINATION, http) };
        lives::through(&Local::start(plan, there)?, plan.producers, bytes, messages)
    };
    let what = format!("whole lives over HTTP, {bytes} B, success = {SUCCESS}");
    let with = || lives(Answers::new().rule(Meaning::Success, rule()?));
    let rounds = measure::rounds(plan, &what, || lives(Answers::new()), with)?;
    Ok(vec![Row::compared("rules", what, &rounds, "without the rule").goal(GOAL)])
}
