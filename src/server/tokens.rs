//! Tokens that an administrator makes and revokes while the node runs.
//!
//! # What holds
//!
//! * A token is `gon_` and 256 random bits. It stands in the one answer that makes it, and nowhere else.
//!
//! # What it does not know
//!
//! Which tokens must stay: the engine says so.

use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Deserialize;

use crate::admin::when::{Toward, parse_when};
use crate::config::Role;
use crate::engine::Grant;
use crate::transport::secret::{digest, fresh};

use super::access::NOBODY;
use super::intake::now;
use super::listen::answered;
use super::manage::parameters;
use super::payload::{Answer, Reply};
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};

/// What tokens begin with, so that a search for lost ones finds them.
const PREFIX: &str = "gon_";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with name and role")]
struct Handed {
    name: String,
    role: String,
    expires: Option<String>,
}

/// `GET /v1/tokens`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    Ok(json(StatusCode::OK, render::tokens(&call.app.keyring.listed(), now())))
}

/// `POST /v1/tokens`: the one answer that has the token.
pub(super) async fn make(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let handed: Handed = serde_json::from_slice(&call.body.bytes).map_err(|wrong| {
        Problem::bad(wrong.to_string())
            .hint("Send {\"name\":\"anna\",\"role\":\"operator\",\"expires\":\"90d\"}; it may be without expires.")
    })?;
    let role = Role::of(&handed.role).ok_or_else(|| {
        let role: String = handed.role.chars().take(64).collect();
        Problem::bad(format!("unknown role {role:?}")).hint("There are producer, viewer, operator and admin.")
    })?;
    let until = handed.expires.as_deref().map(|text| parse_when(text, Toward::Future, now()));
    let until = until.transpose().map_err(Problem::bad)?;
    if until.is_some_and(|at| at <= now()) {
        return Err(Problem::bad("the token would have expired already").hint("expires is a time ahead, or as 90d."));
    }
    if handed.name == NOBODY {
        let detail = format!("{NOBODY:?} is whom changes are ascribed to where no token is needed");
        return Err(Problem::bad(detail).hint("Choose another name."));
    }
    let token = format!("{PREFIX}{}", fresh().map_err(Problem::internal)?);
    let grant = Grant::new(&handed.name, role, digest(token.as_bytes()), until).map_err(Problem::bad)?;
    let made = render::made_token(&grant, &token);
    let beside = call.app.keyring.beside();
    answered(|reply| call.app.engine.make_token(grant, &call.who, beside, reply)).await?;
    let mut answer = json(StatusCode::CREATED, made);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// `DELETE /v1/tokens/{name}`.
pub(super) async fn revoke(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let beside = call.app.keyring.beside();
    answered(|reply| call.app.engine.revoke_token(&call.name, &call.who, beside, reply)).await?;
    let mut answer = Response::new(Reply::Whole(None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}
