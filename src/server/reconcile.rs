//! Whether systems have what was delivered to them.
//!
//! # What it does not know
//!
//! How anything is compared.

use hyper::StatusCode;

use super::listen::blocking;
use super::manage::parameters;
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};
use crate::admin::reconcile::{Reconciler, Refused, Shown};
use crate::admin::when::{Toward, parse_when};
use crate::model::WallMs;

/// `GET /v1/reconcile`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let all = reconciler(&call).map(Reconciler::shown).unwrap_or_default();
    Ok(json(StatusCode::OK, render::agreements(&all)))
}

/// `GET /v1/reconcile/{name}`.
pub(super) async fn show(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    Ok(json(StatusCode::OK, render::agreement(&named(&call)?)))
}

/// `GET /v1/reconcile/{name}/lacking`.
pub(super) async fn lacking(call: Call<'_>) -> Result<Answer, Problem> {
    let [from] = parameters(&call, ["from"])?;
    let from = from.map_or(Ok(0), |from| from.parse().map_err(|_| Problem::bad("from is a whole number")))?;
    let (reconciler, name) = (call.app.config.reconciler.clone(), call.name.clone());
    let listed = blocking(move || reconciler.and_then(|reconciler| reconciler.listed(&name, from))).await;
    match listed.ok_or_else(|| Problem::internal("the read failed"))? {
        Some(Ok(listed)) => Ok(json(StatusCode::OK, render::lacking(&listed))),
        Some(Err(refused)) => Err(refused.into()),
        None => Err(no_reconcile(&call)),
    }
}

/// `POST /v1/reconcile/{name}/run`: it is done by another thread, and shown when it is over.
pub(super) async fn run(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    named(&call)?;
    if let Some(reconciler) = reconciler(&call) {
        reconciler.ask(&call.name);
    }
    Ok(json(StatusCode::ACCEPTED, render::agreement(&named(&call)?)))
}

/// `POST /v1/reconcile/{name}/queue`: it is done by another thread, and shown when it is over.
pub(super) async fn queue(call: Call<'_>) -> Result<Answer, Problem> {
    let [count, at] = parameters(&call, ["count", "at"])?;
    let count = count.map(|count| count.parse().map_err(|_| Problem::bad("count is a whole number"))).transpose()?;
    let at = at.map(|at| parse_when(&at, Toward::Past, WallMs(0))).transpose().map_err(Problem::bad)?;
    named(&call)?;
    match reconciler(&call).and_then(|reconciler| reconciler.want(&call.name, &call.who, count, at)) {
        Some(Ok(())) => Ok(json(StatusCode::ACCEPTED, render::agreement(&named(&call)?))),
        Some(Err(refused)) => Err(refused.into()),
        None => Err(no_reconcile(&call)),
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Uncompared => Problem::uncompared(),
            Refused::Counted(error) | Refused::Unread(error) => error.into(),
        }
    }
}

fn reconciler<'a>(call: &'a Call<'_>) -> Option<&'a Reconciler> {
    call.app.config.reconciler.as_deref()
}

fn named(call: &Call<'_>) -> Result<Shown, Problem> {
    reconciler(call).and_then(|reconciler| reconciler.named(&call.name)).ok_or_else(|| no_reconcile(call))
}

fn no_reconcile(call: &Call<'_>) -> Problem {
    let name: String = call.name.chars().take(64).collect();
    Problem::no_reconcile(format!("there is no comparison {name:?}"))
}
