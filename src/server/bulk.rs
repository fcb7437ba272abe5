//! One act on all messages that match, what fails for which cause, and the audit log.
//!
//! # What it does not know
//!
//! What an act means for a message, and how a job goes on: the engine does.

use hyper::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::admin::filter::Filter;
use crate::engine::{Bulk, BulkAct, By, FieldEdit, Head};
use crate::model::Queued;
use crate::model::rate::Rate;

use super::intake::now;
use super::manage::{asked, parameters, read, when};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};

/// How many messages a dry run shows.
const SAMPLES: usize = 10;
/// The most bytes of a filter that a job keeps: the ids of a page of the console fit.
const FILTER_BYTES_MAX: usize = 2_048;
/// The entries of a page of the audit log where nothing is said, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with action and filter")]
struct Handed {
    action: String,
    filter: String,
    #[serde(default)]
    dry_run: bool,
    at: Option<String>,
    rate: Option<String>,
    count: Option<u64>,
    #[serde(default)]
    why: String,
    field: Option<String>,
    #[serde(default, deserialize_with = "given")]
    from: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "given")]
    to: Option<Box<RawValue>>,
}

/// A value that is given, also where it is `null`.
fn given<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(reader).map(Some)
}

/// `POST /v1/bulk`: counts what matches, or begins a job.
pub(super) async fn begin(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let handed: Handed = serde_json::from_slice(&call.body.bytes).map_err(|wrong| {
        Problem::bad(wrong.to_string()).hint("Send {\"action\":\"resend\",\"filter\":\"state:failed to:erp\"}.")
    })?;
    let act = act(&handed)?;
    let rate: Option<Rate> = handed.rate.as_deref().map(str::parse).transpose().map_err(Problem::bad)?;
    if handed.filter.len() > FILTER_BYTES_MAX {
        let bytes = handed.filter.len();
        return Err(Problem::bad(format!("a filter has at most {FILTER_BYTES_MAX} bytes here, not {bytes}")));
    }
    let filter = Filter::parse(&handed.filter, now()).map_err(|bad| Problem::bad(bad.to_string()))?;
    if filter.is_all() {
        let hint = "Say which messages: state:failed to:erp. All of them are since:1970-01-01T00:00:00Z.";
        return Err(Problem::bad("the filter is empty").hint(hint));
    }
    let query = asked(&call.app.engine, filter)?;
    if handed.dry_run {
        let name = act.name();
        let preview = read(&call, move |engine| engine.preview(&act, &query, SAMPLES)).await?;
        return Ok(json(StatusCode::OK, render::preview(name, &handed.filter, &preview)));
    }
    let Handed { filter, count, why, .. } = handed;
    let asked = By { what: Bulk { act, query, filter, rate, count }, who: call.who.as_str().into(), why };
    let job = read(&call, move |engine| engine.bulk(asked)).await?;
    Ok(json(StatusCode::ACCEPTED, render::job(&job)))
}

fn act(handed: &Handed) -> Result<BulkAct, Problem> {
    let act = match handed.action.as_str() {
        "resend" => BulkAct::Resend(when(handed.at.as_deref())?),
        "cancel" => BulkAct::Cancel,
        "hold" => BulkAct::Hold,
        "release" => BulkAct::Release,
        "delete" => BulkAct::Delete,
        "edit" => BulkAct::Edit(field(handed)?),
        other => {
            let detail = format!("unknown action {other:?}");
            return Err(Problem::bad(detail).hint("There are resend, cancel, hold, release, delete and edit."));
        }
    };
    if handed.at.is_some() && handed.action != "resend" {
        return Err(Problem::bad("only what is resent has a time (at)"));
    }
    if act.field().is_none() && (handed.field.is_some() || handed.from.is_some() || handed.to.is_some()) {
        return Err(Problem::bad("only an edit has a field, from and to"));
    }
    Ok(act)
}

/// The field that is edited, and why.
fn field(handed: &Handed) -> Result<FieldEdit, Problem> {
    let (Some(path), Some(to)) = (&handed.field, &handed.to) else {
        let hint = "Send {\"action\":\"edit\",\"field\":\"/customer/phone\",\"to\":\"+48 22 123 45 67\",...}.";
        return Err(Problem::bad("an edit names a field, and the value that it gets (to)").hint(hint));
    };
    if handed.why.trim().is_empty() && !handed.dry_run {
        return Err(Problem::bad("an edit needs a reason").hint("Say it in \"why\"."));
    }
    FieldEdit::new(path, handed.from.as_deref().map(RawValue::get), to.get()).map_err(Problem::bad)
}

/// `GET /v1/bulk`.
pub(super) async fn jobs(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    Ok(json(StatusCode::OK, render::jobs(&call.app.engine.jobs())))
}

/// `GET /v1/bulk/{id}`.
pub(super) async fn job(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let job = call.app.engine.job(number(&call)?).ok_or_else(|| no_job(&call))?;
    Ok(json(StatusCode::OK, render::job(&job)))
}

/// `DELETE /v1/bulk/{id}`.
pub(super) async fn cancel(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let (number, who) = (number(&call)?, call.who.clone());
    if call.app.engine.job(number).is_none() {
        return Err(no_job(&call));
    }
    let job = read(&call, move |engine| engine.cancel_job(number, &who)).await?;
    Ok(json(StatusCode::OK, render::job(&job)))
}

fn number(call: &Call<'_>) -> Result<u64, Problem> {
    call.name.parse().map_err(|_| no_job(call))
}

fn no_job(call: &Call<'_>) -> Problem {
    let name: String = call.name.chars().take(64).collect();
    Problem::no_job(format!("there is no bulk job {name:?}; the last 128 are kept"))
}

/// `GET /v1/incidents`: `?state=open`, `closed` or `all`.
pub(super) async fn incidents(call: Call<'_>) -> Result<Answer, Problem> {
    let [state] = parameters(&call, ["state"])?;
    let (open, closed) = match state.as_deref() {
        None | Some("open") => (true, false),
        Some("closed") => (false, true),
        Some("all") => (true, true),
        Some(_) => return Err(Problem::bad("state is open, closed or all")),
    };
    let mut incidents = read(&call, move |engine| engine.incidents(closed)).await?;
    incidents.retain(|shown| open || shown.incident.closed_at.is_some());
    Ok(json(StatusCode::OK, render::incidents(&incidents)))
}

/// `GET /v1/incidents/{id}`.
pub(super) async fn incident(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let number = u64::from_str_radix(&call.name, 16).ok();
    let found = read(&call, move |engine| number.map_or(Ok(None), |number| engine.incident(number))).await?;
    let name: String = call.name.chars().take(64).collect();
    let incident = found.ok_or_else(|| Problem::no_incident(format!("there is no incident {name:?}")))?;
    Ok(json(StatusCode::OK, render::incident(&incident)))
}

/// `GET /v1/audit`.
pub(super) async fn audit(call: Call<'_>) -> Result<Answer, Problem> {
    let [limit, cursor] = parameters(&call, ["limit", "cursor"])?;
    let limit = match limit {
        Some(limit) => limit.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)),
        None => Some(LIMIT),
    };
    let limit = limit.ok_or_else(|| Problem::bad(format!("limit is a number from 1 to {LIMIT_MAX}")))?;
    let before = cursor.map(|cursor| cursor.parse().map_err(|_| Problem::bad("the cursor is none of a `next`")));
    let before = before.transpose()?;
    let page = read(&call, move |engine| engine.audit(before, limit)).await?;
    Ok(json(StatusCode::OK, render::audited(&page)))
}

/// `GET /v1/audit/verify`: `?head=NUMBER:HASH` is an entry that somebody wrote down.
pub(super) async fn verify(call: Call<'_>) -> Result<Answer, Problem> {
    let [head] = parameters(&call, ["head"])?;
    let known = head.map(|head| known(&head)).transpose()?;
    let soundness = read(&call, move |engine| engine.verify_audit(known)).await?;
    Ok(json(StatusCode::OK, render::soundness(&soundness)))
}

fn known(head: &str) -> Result<Head, Problem> {
    let wrong =
        || Problem::bad("head is the number and the hash of an entry: 17:9f86d0…").hint("The node's log prints them.");
    let (number, link) = head.split_once(':').ok_or_else(wrong)?;
    Ok(Head { number: number.parse().map_err(|_| wrong())?, link: link.parse().map_err(|_| wrong())? })
}

/// When a job resends, as the interface spells it.
pub(super) fn at(act: &BulkAct) -> Option<String> {
    match act {
        BulkAct::Resend(Queued::NextCycle) => Some("next-cycle".into()),
        BulkAct::Resend(Queued::NotBefore(at)) => Some(crate::admin::when::rfc3339(*at)),
        BulkAct::Resend(Queued::Ready | Queued::Held) => Some("now".into()),
        BulkAct::Cancel | BulkAct::Hold | BulkAct::Release | BulkAct::Delete | BulkAct::Edit(_) => None,
    }
}
