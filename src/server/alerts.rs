//! Whether people can be told: the rules of alerts, and a test of one.
//!
//! # What it does not know
//!
//! Channels: the engine uses them.

use hyper::StatusCode;

use super::manage::{parameters, read};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};

/// `GET /v1/alerts`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    Ok(json(StatusCode::OK, render::alert_rules(&call.app.engine.alert_rules())))
}

/// `POST /v1/alerts/{number}/test`: answers once the channel has told somebody, or failed.
pub(super) async fn test(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let no_rule = || {
        let name: String = call.name.chars().take(64).collect();
        Problem::no_rule(format!("there is no alert rule {name:?}"))
    };
    let number = call.name.parse().map_err(|_| no_rule())?;
    let who = call.who.clone();
    let told = read(&call, move |engine| engine.test_alert(number, &who)).await?.ok_or_else(no_rule)?;
    Ok(json(StatusCode::OK, render::tested(&told)))
}
