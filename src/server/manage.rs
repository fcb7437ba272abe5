//! What is read of messages, and what a person asks of one.
//!
//! Reads go to the store on a reader's thread; changes are handed to the engine, which answers when they are durable.
//!
//! # What it does not know
//!
//! What an act means for a message: the engine decides, and says why not.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH};
use hyper::{Response, StatusCode};
use serde_json::value::RawValue;

use crate::admin::filter::{Filter, WORDS};
use crate::admin::when::{Toward, parse_when};
use crate::engine::{Act, Engine, Hand, Shown};
use crate::error::Error;
use crate::model::cause::Cause;
use crate::model::media::is_json;
use crate::model::nearest::nearest;
use crate::model::{Body, Id, Queued, WallMs};
use crate::store::{Dest, Query, Revision};

use super::intake::{now, text};
use super::listen::{answered, blocking};
use super::payload::{Answer, Reply};
use super::problem::Problem;
use super::render;
use super::routes::{Call, json, pairs};

/// The messages of a page where nothing is said.
pub(super) const LIMIT: usize = 50;
/// The most messages of a page.
const LIMIT_MAX: usize = 1_000;
/// The most messages that one request for a page looks at.
const SCAN_MAX: usize = 200_000;

/// `GET /v1/messages`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let (filter, rest) = filter(&call.query, now(), &["limit", "cursor"])?;
    let mut query = asked(&call.app.engine, filter)?;
    for (name, value) in rest {
        if name == "cursor" {
            let place = render::place(&value).ok_or_else(|| Problem::bad("the cursor is none of a `next`"))?;
            query.before = Some(place);
        } else {
            query.limit = limit(&value)?;
        }
    }
    let page = read(&call, move |engine| engine.list(&query)).await?;
    Ok(json(StatusCode::OK, render::list(&page)))
}

/// `GET /v1/messages/{id}`.
pub(super) async fn show(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let (shown, awaited) = read(&call, move |engine| {
        let shown = engine.show(id)?;
        // Where that cannot be told, the message is shown all the same.
        let awaited = if shown.after.is_empty() { Vec::new() } else { engine.awaited(id).unwrap_or_default() };
        Ok((shown, awaited))
    })
    .await?;
    Ok(with_revision(json(StatusCode::OK, render::message_whole(&shown, &awaited)), shown.record.revision))
}

/// `GET /v1/messages/{id}/body`: the bytes themselves; `?revision=N` for an older one.
pub(super) async fn body(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let [revision] = parameters(&call, ["revision"])?;
    let wanted = match revision {
        Some(number) => Some(number.parse::<u16>().map_err(|_| Problem::bad("revision is a number from 1"))?),
        None => None,
    };
    let found = read(&call, move |engine| engine.revision(id, wanted)).await?;
    let named = || wanted.map_or("any revision".into(), |number| format!("revision {number}"));
    let revision = found.ok_or_else(|| Problem::no_revision(format!("message {id} has not {}", named())))?;
    let Some(bytes) = revision.body else {
        return Err(Problem::gone(format!("the body of message {id} was removed after its time")));
    };
    let mut answer = Response::new(Reply::whole(bytes.to_vec()));
    let named = revision.content_type.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, named.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    // What came from elsewhere must not act as a page of this server.
    headers.insert("content-security-policy", HeaderValue::from_static("sandbox; default-src 'none'"));
    Ok(with_revision(answer, revision.number))
}

/// `GET /v1/messages/{id}/attempts`.
pub(super) async fn attempts(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let attempts = read(&call, move |engine| engine.attempts(id)).await?;
    Ok(json(StatusCode::OK, render::attempts(&attempts)))
}

/// `GET /v1/messages/{id}/revisions`.
pub(super) async fn revisions(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let revisions = read(&call, move |engine| listed(engine, id)).await?;
    Ok(json(StatusCode::OK, render::revisions(&revisions)))
}

/// How many bytes of bodies a list of revisions holds.
const LISTED_BODIES_BYTES_MAX: usize = 16 << 20;

/// The revisions of a message with the lengths of their bodies; a body that is more than one answer should hold is left out.
fn listed(engine: &Engine, id: Id) -> Result<Vec<(Revision, Option<usize>)>, Error> {
    let newest = engine.show(id)?.record.revision;
    let mut bytes = 0_usize;
    let mut listed = Vec::new();
    for number in 1..=newest {
        let Some(mut revision) = engine.revision(id, Some(number))? else { continue };
        let length = revision.body.as_ref().map(|body| body.len());
        let all = bytes.saturating_add(length.unwrap_or(0));
        if all > LISTED_BODIES_BYTES_MAX {
            revision.body = None;
        } else {
            bytes = all;
        }
        listed.push((revision, length));
    }
    Ok(listed)
}

/// `PUT /v1/messages/{id}/body`: a new revision.
pub(super) async fn edit(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let read = match text(&call.headers, IF_MATCH.as_str())? {
        None => return Err(Problem::precondition_required()),
        Some("*") => None,
        Some(tag) => {
            let number = tag.trim().trim_matches('"').parse();
            Some(number.map_err(|_| Problem::bad(format!("if-match is a revision like \"1\", not {tag}")))?)
        }
    };
    let [why, as_is] = parameters(&call, ["why", "as_is"])?;
    let why = reason(&call, why)?;
    if why.trim().is_empty() {
        return Err(
            Problem::bad("a new body needs a reason").hint("Send it as ?why=TEXT, or in the header x-goniec-why.")
        );
    }
    let content_type: Option<Arc<str>> = text(&call.headers, CONTENT_TYPE.as_str())?.map(Arc::from);
    match as_is.as_deref() {
        None | Some("false") => is_its_type(&call, id, content_type.as_deref()).await?,
        Some("true") => {}
        Some(other) => return Err(Problem::bad(format!("as_is is true or false, not {other:?}"))),
    }
    done(&call, id, Act::Edit { body: Body::from(&*call.body.bytes), content_type, read }, Some(why)).await
}

/// Whether a new body is what its content type says, given or kept.
async fn is_its_type(call: &Call<'_>, id: Id, given: Option<&str>) -> Result<(), Problem> {
    let body = call.body.bytes.clone();
    let Some(wrong) = blocking(move || serde_json::from_slice::<&RawValue>(&body).err()).await.flatten() else {
        return Ok(());
    };
    let kept = match given {
        Some(given) => Some(Arc::from(given)),
        None => read(call, move |engine| engine.show(id)).await?.record.content_type,
    };
    match kept {
        Some(kept) if is_json(&kept) => Err(Problem::not_its_type(&kept, &wrong)),
        Some(_) | None => Ok(()),
    }
}

/// `POST /v1/messages/{id}/resend`.
pub(super) async fn resend(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let [at, why] = parameters(&call, ["at", "why"])?;
    done(&call, id, Act::Resend(when(at.as_deref())?), why).await
}

/// When something is sent again: `now`, `next-cycle` or a time.
pub(super) fn when(at: Option<&str>) -> Result<Queued, Problem> {
    match at {
        None | Some("now") => Ok(Queued::Ready),
        Some("next-cycle") => Ok(Queued::NextCycle),
        Some(time) => {
            let at = parse_when(time, Toward::Future, now());
            at.map(Queued::NotBefore).map_err(|wrong| Problem::bad(format!("at is now, next-cycle or a time: {wrong}")))
        }
    }
}

/// `POST /v1/messages/{id}/resolve`: `?outcome=delivered` or `?outcome=resend`.
pub(super) async fn resolve(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let [outcome, why] = parameters(&call, ["outcome", "why"])?;
    let act = match outcome.as_deref() {
        Some("delivered") => Act::Arrived,
        Some("resend") => Act::Resend(Queued::Ready),
        Some(_) | None => return Err(Problem::bad("outcome is delivered or resend").hint("Send ?outcome=delivered.")),
    };
    done(&call, id, act, why).await
}

/// `POST /v1/messages/{id}/cancel`, `/hold`, `/release`.
pub(super) async fn act(call: Call<'_>, act: Act) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let [why] = parameters(&call, ["why"])?;
    done(&call, id, act, why).await
}

/// `DELETE /v1/messages/{id}`.
pub(super) async fn delete(call: Call<'_>) -> Result<Answer, Problem> {
    let id = id(&call)?;
    let [why] = parameters(&call, ["why"])?;
    let asked = Act::Delete.by(call.who.as_str(), reason(&call, why)?);
    answered(|reply| call.app.engine.act(id, asked, reply)).await?;
    let mut answer = Response::new(Reply::Whole(None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

/// `GET /v1/stats`.
pub(super) async fn stats(call: Call<'_>) -> Result<Answer, Problem> {
    let stats = read(&call, |engine| Ok(engine.stats())).await?;
    Ok(json(StatusCode::OK, render::stats(&stats, &call.app.config.destinations)))
}

/// `GET /v1/streams`.
pub(super) async fn streams(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let streams = read(&call, |engine| {
        let each = engine.streams().into_iter().map(|shown| {
            let holes = engine.stream_holes(&shown.stream, shown.last)?;
            Ok((shown, holes))
        });
        each.collect::<Result<Vec<_>, Error>>()
    });
    Ok(json(StatusCode::OK, render::streams(&streams.await?)))
}

/// `GET /v1/destinations`.
pub(super) async fn destinations(call: Call<'_>) -> Result<Answer, Problem> {
    let (stats, lanes) = read(&call, |engine| Ok((engine.stats(), engine.lanes()))).await?;
    Ok(json(StatusCode::OK, render::destinations(&stats, &lanes)))
}

/// `POST /v1/destinations/{name}/pause`, `/resume`, `/cycle`.
pub(super) async fn steer(call: Call<'_>, hand: Hand) -> Result<Answer, Problem> {
    let [why] = parameters(&call, ["why"])?;
    let asked = hand.by(call.who.as_str(), reason(&call, why)?);
    // What is no destination is no path.
    call.app.engine.destination(&call.name).map_err(|error| Problem::no_destination(&error))?;
    let lane = answered(|reply| call.app.engine.steer(&call.name, asked, reply)).await?;
    Ok(json(StatusCode::OK, render::lane(&lane)))
}

/// The parameters that the words of the filter are: each by its name, all of them as `filter`, and `to` also in full.
pub(super) fn filter_names() -> impl Iterator<Item = &'static str> {
    ["filter", "destination"].into_iter().chain(WORDS)
}

/// The length of a page.
pub(super) fn limit(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Problem::bad(format!("limit is a number from 1 to {LIMIT_MAX}")))
}

/// The filter of a query: its words as parameters, or the whole language as `filter`. Gives back the parameters named in `others`.
pub(super) fn filter(
    query: &str,
    now: WallMs,
    others: &[&'static str],
) -> Result<(Filter, Vec<(String, String)>), Problem> {
    let mut pairs = pairs(query)?;
    let whole = pairs.iter().position(|(name, _)| name == "filter").map(|position| pairs.remove(position).1);
    let mut filter = match whole {
        Some(text) => Filter::parse(&text, now).map_err(|bad| Problem::bad(bad.to_string()))?,
        None => Filter::default(),
    };
    let mut rest = Vec::new();
    for (name, value) in pairs {
        if others.contains(&name.as_str()) {
            rest.push((name, value));
        } else if filter_names().any(|known| known == name) {
            let word = if name == "destination" { "to" } else { name.as_str() };
            filter.add(word, &value, now).map_err(Problem::bad)?;
        } else {
            let known = filter_names().chain(others.iter().copied());
            let problem = Problem::bad(format!("unknown parameter {name:?}"));
            return Err(match nearest(&name, known) {
                Some(near) => problem.hint(format!("Did you mean {near}?")),
                None => problem,
            });
        }
    }
    Ok((filter, rest))
}

/// A number that no destination has.
const NOWHERE: Dest = Dest(u16::MAX);

/// The destination and the cause of an incident.
fn cause(engine: &Engine, number: u64) -> Result<(Dest, Cause), Problem> {
    let found = engine.cause(number).ok_or_else(|| {
        Problem::bad(format!("there is no incident {number:016x}")).hint("GET /v1/incidents?state=all lists them.")
    })?;
    Ok(found)
}

/// The query that the filter means here.
pub(super) fn asked(engine: &Engine, filter: Filter) -> Result<Query, Problem> {
    let destinations: Result<Vec<_>, Error> = filter.destinations.iter().map(|name| engine.destination(name)).collect();
    let cause = filter.incident.map(|number| cause(engine, number)).transpose()?;
    let mut destinations = destinations?;
    if let Some((dest, _)) = cause {
        // Of another destination it has none.
        destinations = if destinations.is_empty() || destinations.contains(&dest) { vec![dest] } else { vec![NOWHERE] };
    }
    Ok(Query {
        states: filter.states,
        destinations,
        key: filter.key,
        kind: filter.kind,
        reason: filter.reason,
        remote_id: filter.remote_id,
        cause: cause.map(|(_, cause)| cause),
        text: filter.text,
        ids: filter.ids,
        since: filter.since,
        until: filter.until,
        before: None,
        limit: LIMIT,
        scan_max: SCAN_MAX,
    })
}

/// What a read of the engine finds, on a thread that may block.
pub(super) async fn read<T: Send + 'static>(
    call: &Call<'_>,
    read: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
) -> Result<T, Problem> {
    let engine = call.app.engine.clone();
    let result = blocking(move || read(&engine)).await;
    Ok(result.ok_or_else(|| Problem::internal("the read failed"))??)
}

async fn done(call: &Call<'_>, id: Id, act: Act, why: Option<String>) -> Result<Answer, Problem> {
    let asked = act.by(call.who.as_str(), reason(call, why)?);
    let shown: Shown = answered(|reply| call.app.engine.act(id, asked, reply)).await?;
    Ok(with_revision(json(StatusCode::OK, render::message(&shown)), shown.record.revision))
}

fn id(call: &Call<'_>) -> Result<Id, Problem> {
    call.name.parse().map_err(|wrong: crate::model::id::NotAnId| Problem::bad(wrong.to_string()))
}

/// Why: what the query says, or the header.
fn reason(call: &Call<'_>, in_query: Option<String>) -> Result<String, Problem> {
    let why = in_query.or(text(&call.headers, "x-goniec-why")?.map(str::to_owned)).unwrap_or_default();
    Ok(why)
}

/// The values of the parameters that are allowed here; each at most once.
pub(super) fn parameters<const N: usize>(call: &Call<'_>, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for (given, text) in pairs(&call.query)? {
        let known = names.iter().zip(&mut values).find(|(name, _)| **name == given).map(|(_, value)| value);
        let Some(value) = known else {
            let there =
                if N == 0 { "No parameters are known here.".into() } else { format!("There is {}.", names.join(", ")) };
            return Err(Problem::bad(format!("unknown parameter {given:?}")).hint(there));
        };
        if value.replace(text).is_some() {
            return Err(Problem::bad(format!("{given} is given twice")));
        }
    }
    Ok(values)
}

fn with_revision(mut answer: Answer, revision: u16) -> Answer {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}
