//! What should be in sync and what is, key by key; and the whole story of one key.
//!
//! # What it does not know
//!
//! When a key is in sync, and how its story is told.

use hyper::StatusCode;

use super::manage::{LIMIT, limit, parameters, read};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json, pairs};
use crate::admin::explain::explain;
use crate::admin::filter::{each_word, pattern};
use crate::admin::keys::{Asked, key, keys};
use crate::model::nearest::nearest;

/// The parameters of a list of keys.
const NAMES: [&str; 5] = ["destination", "key", "state", "limit", "cursor"];
/// The states of a key, and whether that is in sync.
const STATES: [(&str, bool); 2] = [("behind", false), ("in-sync", true)];

/// `GET /v1/keys`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let mut asked = Asked { limit: LIMIT, ..Asked::default() };
    for (name, value) in pairs(&call.query)? {
        match name.as_str() {
            "destination" => {
                for name in each_word(&value).map_err(Problem::bad)? {
                    asked.destinations.push(call.app.engine.destination(&name)?);
                }
            }
            "key" => asked.key = Some(pattern(&value)),
            "state" => {
                let state = STATES.iter().find(|(known, _)| *known == value);
                let (_, in_sync) =
                    state.ok_or_else(|| Problem::bad(format!("state {value:?} is none: it is behind or in-sync")))?;
                asked.in_sync = Some(*in_sync);
            }
            "limit" => asked.limit = limit(&value)?,
            "cursor" => {
                let place = render::place(&value).ok_or_else(|| Problem::bad("the cursor is none of a `next`"))?;
                asked.before = Some(place);
            }
            _ => {
                let problem = Problem::bad(format!("unknown parameter {name:?}"));
                return Err(match nearest(&name, NAMES) {
                    Some(near) => problem.hint(format!("Did you mean {near}?")),
                    None => problem.hint(format!("There are {}.", NAMES.join(", "))),
                });
            }
        }
    }
    let page = read(&call, move |engine| keys(engine, &asked)).await?;
    Ok(json(StatusCode::OK, render::keys(&page)))
}

/// `GET /v1/keys/{destination}/{key}`.
pub(super) async fn show(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    call.app.engine.destination(&call.name).map_err(|error| Problem::no_destination(&error))?;
    let (destination, name) = (call.name.clone(), call.second.clone());
    let found = read(&call, move |engine| key(engine, &destination, &name)).await?;
    let stands = found.ok_or_else(|| Problem::no_key(&call.name, &call.second))?;
    Ok(json(StatusCode::OK, render::key(&stands)))
}

/// `GET /v1/explain?key=`.
pub(super) async fn story(call: Call<'_>) -> Result<Answer, Problem> {
    let [key] = parameters(&call, ["key"])?;
    let key = key.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Problem::bad("which key?").hint("Send ?key=KEY."))?;
    let asked = key.clone();
    let story = read(&call, move |engine| explain(engine, &asked)).await?;
    Ok(json(StatusCode::OK, render::story(&key, &story)))
}
