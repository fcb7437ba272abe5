//! Where messages come from: how each source stands, and that one is read now.
//!
//! # What it does not know
//!
//! How a source is read.

use hyper::StatusCode;

use crate::engine::{Deed, Target};

use super::manage::{parameters, read};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};

/// `GET /v1/sources`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    Ok(json(StatusCode::OK, render::sources(&call.app.config.sources)))
}

/// `POST /v1/sources/{name}/run`: answers once it is written down who wants it; the reading itself may take long.
pub(super) async fn run(call: Call<'_>) -> Result<Answer, Problem> {
    let [sure, why] = parameters(&call, ["sure", "why"])?;
    let is_sure = match sure.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(Problem::bad(format!("sure is true or false, not {other:?}"))),
    };
    let sources = &call.app.config.sources;
    let source = sources.find(&call.name).ok_or_else(|| Problem::no_source(&call.name))?;
    let Some(pull) = sources.pull(&call.name) else {
        return Err(Problem::bad("the source hands in by itself, and cannot be read"));
    };
    let sure = if is_sure { ", whatever its first reading comes to" } else { "" };
    let colon = if why.is_some() { ": " } else { "" };
    let detail = format!("source {}{sure}{colon}{}", call.name, why.unwrap_or_default());
    let deed = Deed { detail, ..Deed::new(call.who.as_str(), "source-run", Target::Node) };
    read(&call, move |engine| engine.record(deed)).await?;
    pull.ask(is_sure);
    Ok(json(StatusCode::ACCEPTED, render::source(source, Some(pull))))
}
