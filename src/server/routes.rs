//! The one table of routes: method, path, right, limit, handler. What is not in it does not exist.
//!
//! # What it does not know
//!
//! What the handlers do.

use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::engine::{Act, Hand};

use super::guard::Head;
use super::listen::App;
use super::payload::{Answer, BodyLimits, Reply, Taken, take};
use super::problem::Problem;
use super::{access, bulk, events, intake, keys, manage, metrics, openapi};

/// The most bytes of a path with its query.
const URI_BYTES_MAX: usize = 4 << 10;
/// The most bytes of a request that hands in messages.
pub(super) const INTAKE_BYTES_MAX: usize = 16 << 20;
/// The most bytes of a body where none is expected.
const NOTHING_BYTES_MAX: usize = 64 << 10;

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Nothing: the way in, and signs of life.
    Anyone,
    /// Hand in messages.
    Produce,
    /// Read.
    View,
    /// Act on messages.
    Operate,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    Root,
    Healthz,
    Readyz,
    PostMessages,
    PostSend,
    ListMessages,
    ShowMessage,
    ShowBody,
    ShowAttempts,
    ShowRevisions,
    PutBody,
    Resend,
    Cancel,
    Hold,
    Release,
    Resolve,
    Delete,
    Stats,
    Destinations,
    Pause,
    Resume,
    Cycle,
    Events,
    BeginBulk,
    Jobs,
    ShowJob,
    CancelJob,
    Audit,
    VerifyAudit,
    Incidents,
    ShowIncident,
    History,
    Metrics,
    OpenApi,
    Keys,
    Key,
    Explain,
}

/// A line of the table.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) right: Right,
    bytes_max: usize,
    pub(super) handler: Handler,
    pub(super) what: &'static str,
}

/// A request whose head has been judged.
pub(super) struct Call<'a> {
    /// What every request needs.
    pub(super) app: &'a Rc<App>,
    /// Whom changes are ascribed to.
    pub(super) who: String,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// What the path has in place of `{..}`, decoded.
    pub(super) name: String,
    /// What it has in place of the second `{..}`, decoded.
    pub(super) second: String,
    /// The query, as it came.
    pub(super) query: String,
    /// Its body.
    pub(super) body: Taken,
}

const fn route(
    method: Method,
    path: &'static str,
    right: Right,
    bytes_max: usize,
    handler: Handler,
    what: &'static str,
) -> Route {
    Route { method, path, right, bytes_max, handler, what }
}

const G: Method = Method::GET;
const P: Method = Method::POST;

/// The table.
pub(super) static ROUTES: [Route; 37] = [
    route(G, "/", Right::Anyone, 0, Handler::Root, "what there is to call"),
    route(G, "/healthz", Right::Anyone, 0, Handler::Healthz, "whether the process lives"),
    route(G, "/readyz", Right::Anyone, 0, Handler::Readyz, "whether messages are taken; 503 or 507 where not"),
    route(
        P,
        "/v1/messages",
        Right::Produce,
        INTAKE_BYTES_MAX,
        Handler::PostMessages,
        "hands in one envelope, an array of them, or one a line; all or none",
    ),
    route(P, "/v1/send/{destination}", Right::Produce, INTAKE_BYTES_MAX, Handler::PostSend, "hands in the bare body"),
    route(
        G,
        "/v1/messages",
        Right::View,
        0,
        Handler::ListMessages,
        "lists, newest first: the words of the filter, `limit` (50; 1,000 at most), `cursor`",
    ),
    route(G, "/v1/messages/{id}", Right::View, 0, Handler::ShowMessage, "one message; its revision is the `ETag`"),
    route(
        G,
        "/v1/messages/{id}/body",
        Right::View,
        0,
        Handler::ShowBody,
        "the bytes of its body; `?revision=N` for an older one",
    ),
    route(G, "/v1/messages/{id}/attempts", Right::View, 0, Handler::ShowAttempts, "its attempts, oldest first"),
    route(
        G,
        "/v1/messages/{id}/revisions",
        Right::View,
        0,
        Handler::ShowRevisions,
        "its bodies, with who changed them and why; what goes beyond 16 MiB together is left out, with its length, and `/body?revision=N` has it",
    ),
    route(
        Method::PUT,
        "/v1/messages/{id}/body",
        Right::Operate,
        INTAKE_BYTES_MAX,
        Handler::PutBody,
        "a new body: needs `If-Match`, and `?why=` or `x-goniec-why`",
    ),
    route(
        P,
        "/v1/messages/{id}/resend",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Resend,
        "sends it again: `?at=now`, `next-cycle` or a time",
    ),
    route(P, "/v1/messages/{id}/cancel", Right::Operate, NOTHING_BYTES_MAX, Handler::Cancel, "gives it up"),
    route(
        P,
        "/v1/messages/{id}/hold",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Hold,
        "stops it until it is released",
    ),
    route(P, "/v1/messages/{id}/release", Right::Operate, NOTHING_BYTES_MAX, Handler::Release, "lets it go on, now"),
    route(
        P,
        "/v1/messages/{id}/resolve",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Resolve,
        "answers an uncertain one: `?outcome=delivered` or `resend`",
    ),
    route(
        Method::DELETE,
        "/v1/messages/{id}",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Delete,
        "removes it for good",
    ),
    route(G, "/v1/stats", Right::View, 0, Handler::Stats, "the node in figures"),
    route(
        G,
        "/v1/destinations",
        Right::View,
        0,
        Handler::Destinations,
        "what stands where, what is paused, and why nothing goes",
    ),
    route(
        P,
        "/v1/destinations/{name}/pause",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Pause,
        "sends nothing more, until it is resumed: `?why=`; what comes in is kept",
    ),
    route(
        P,
        "/v1/destinations/{name}/resume",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Resume,
        "goes on, whoever paused it",
    ),
    route(
        P,
        "/v1/destinations/{name}/cycle",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Cycle,
        "lets what waits for the next cycle go now",
    ),
    route(
        P,
        "/v1/bulk",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::BeginBulk,
        "one act on all messages that match: `dry_run` counts them and shows some, else a job begins (202)",
    ),
    route(G, "/v1/bulk", Right::View, 0, Handler::Jobs, "the last 128 bulk jobs, newest first"),
    route(G, "/v1/bulk/{id}", Right::View, 0, Handler::ShowJob, "one bulk job, and how far it is"),
    route(
        Method::DELETE,
        "/v1/bulk/{id}",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::CancelJob,
        "cancels a bulk job; what was done stays done",
    ),
    route(
        G,
        "/v1/incidents",
        Right::View,
        0,
        Handler::Incidents,
        "failures by destination and cause, those that failed last first: `?state=open`, `closed` or `all`",
    ),
    route(
        G,
        "/v1/incidents/{id}",
        Right::View,
        0,
        Handler::ShowIncident,
        "one incident; `incident:ID` is the filter of its messages",
    ),
    route(
        G,
        "/v1/audit",
        Right::View,
        0,
        Handler::Audit,
        "what people did, newest first: `limit` (50; 1,000 at most), `cursor`",
    ),
    route(
        G,
        "/v1/audit/verify",
        Right::View,
        0,
        Handler::VerifyAudit,
        "whether the chain of the audit log is whole; `?head=NUMBER:HASH` is an entry that was written down",
    ),
    route(
        G,
        "/v1/events",
        Right::View,
        0,
        Handler::Events,
        "transitions as they happen, as server-sent events; the words of the filter",
    ),
    route(
        G,
        "/v1/history",
        Right::View,
        0,
        Handler::History,
        "the last hour by minutes, and what is due in the next one",
    ),
    route(G, "/metrics", Right::View, 0, Handler::Metrics, "the figures of the node as OpenMetrics text"),
    route(G, "/openapi.json", Right::Anyone, 0, Handler::OpenApi, "this interface, described for machines"),
    route(
        G,
        "/v1/keys",
        Right::View,
        0,
        Handler::Keys,
        "what should be in sync and what is: `destination`, `key`, `state=behind` or `in-sync`, `limit`, `cursor`",
    ),
    route(G, "/v1/keys/{destination}/{key}", Right::View, 0, Handler::Key, "how one key of a destination stands"),
    route(
        G,
        "/v1/explain",
        Right::View,
        0,
        Handler::Explain,
        "the whole story of `?key=`, over all destinations, in plain words",
    ),
];

/// The answer to a request, whatever it is.
pub(super) async fn answer(app: &Rc<App>, head: Head, request: Request<Incoming>) -> Answer {
    let mut answer = judge(app, head, request).await.unwrap_or_else(Problem::answer);
    if head.last {
        answer.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

async fn judge(app: &Rc<App>, head: Head, request: Request<Incoming>) -> Result<Answer, Problem> {
    if let Some(why) = head.refuse {
        return Err(Problem::ambiguous(why));
    }
    let (parts, body) = request.into_parts();
    let path_bytes = parts.uri.path().len() + parts.uri.query().map_or(0, |query| query.len() + 1);
    if path_bytes > URI_BYTES_MAX {
        return Err(Problem::uri_too_long(URI_BYTES_MAX));
    }
    let (route, [name, second]) = find(&parts.method, parts.uri.path())?;
    let who = access::check(&app.config, &parts.method, &parts.headers, route.right)?.to_owned();
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::unsupported("the body is compressed", "Send it without content-encoding."));
    }
    let limits = BodyLimits { bytes_max: route.bytes_max, whole: Duration::from_millis(app.config.body_ms_max) };
    let body = take(&parts.headers, body, limits, &app.budget).await?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let call = Call { app, who, headers: parts.headers, name, second, query, body };
    dispatch(route.handler, call).await
}

async fn dispatch(handler: Handler, call: Call<'_>) -> Result<Answer, Problem> {
    match handler {
        Handler::Root => Ok(text(StatusCode::OK, root())),
        Handler::Healthz => Ok(text(StatusCode::OK, "ok\n".into())),
        Handler::Readyz => {
            call.app.engine.ready()?;
            Ok(text(StatusCode::OK, "ready\n".into()))
        }
        Handler::PostMessages => intake::messages(call).await,
        Handler::PostSend => intake::send(call).await,
        Handler::ListMessages => manage::list(call).await,
        Handler::ShowMessage => manage::show(call).await,
        Handler::ShowBody => manage::body(call).await,
        Handler::ShowAttempts => manage::attempts(call).await,
        Handler::ShowRevisions => manage::revisions(call).await,
        Handler::PutBody => manage::edit(call).await,
        Handler::Resend => manage::resend(call).await,
        Handler::Cancel => manage::act(call, Act::Cancel).await,
        Handler::Hold => manage::act(call, Act::Hold).await,
        Handler::Release => manage::act(call, Act::Release).await,
        Handler::Resolve => manage::resolve(call).await,
        Handler::Delete => manage::delete(call).await,
        Handler::Stats => manage::stats(call).await,
        Handler::Destinations => manage::destinations(call).await,
        Handler::Pause => manage::steer(call, Hand::Pause).await,
        Handler::Resume => manage::steer(call, Hand::Resume).await,
        Handler::Cycle => manage::steer(call, Hand::Cycle).await,
        Handler::BeginBulk => bulk::begin(call).await,
        Handler::Jobs => bulk::jobs(call).await,
        Handler::ShowJob => bulk::job(call).await,
        Handler::CancelJob => bulk::cancel(call).await,
        Handler::Audit => bulk::audit(call).await,
        Handler::VerifyAudit => bulk::verify(call).await,
        Handler::Incidents => bulk::incidents(call).await,
        Handler::ShowIncident => bulk::incident(call).await,
        Handler::Events => events::follow(call),
        Handler::History => metrics::history(call).await,
        Handler::Metrics => metrics::metrics(call).await,
        Handler::OpenApi => openapi::answer(&call),
        Handler::Keys => keys::list(call).await,
        Handler::Key => keys::show(call).await,
        Handler::Explain => keys::story(call).await,
    }
}

/// The route of a request, and what stands in the places of its `{..}`, two at most.
fn find(method: &Method, path: &str) -> Result<(&'static Route, [String; 2]), Problem> {
    let here: Vec<(&Route, [&str; 2])> =
        ROUTES.iter().filter_map(|route| holds(route.path, path).map(|names| (route, names))).collect();
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    match here.iter().find(|(route, _)| route.method == *wanted) {
        Some((route, [name, second])) => Ok((*route, [decode(name)?, decode(second)?])),
        None if here.is_empty() => Err(Problem::no_route(path)),
        None => {
            let allow: Vec<&str> = here.iter().map(|(route, _)| route.method.as_str()).collect();
            Err(Problem::method(method.as_str(), &allow.join(", ")))
        }
    }
}

/// What stands in the places of `{..}`, where the path has the form.
fn holds<'a>(form: &str, path: &'a str) -> Option<[&'a str; 2]> {
    let (mut forms, mut parts) = (form.split('/'), path.split('/'));
    let mut names = Vec::new();
    loop {
        match (forms.next(), parts.next()) {
            (None, None) => {
                let mut names = names.into_iter();
                return Some([names.next().unwrap_or_default(), names.next().unwrap_or_default()]);
            }
            (Some(form), Some(part)) if form.starts_with('{') && !part.is_empty() => names.push(part),
            (Some(form), Some(part)) if form == part => {}
            (Some(_) | None, _) => return None,
        }
    }
}

/// The text that percent signs stand for.
pub(super) fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?')),
            (Some(_) | None, _) => {
                return Err(Problem::bad("a percent sign is not followed by two hex digits; write %25 for itself"));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::bad("what percent signs stand for is not UTF-8"))
}

/// The query's pairs, decoded.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Ok((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, bytes: Vec<u8>) -> Answer {
    with_type(status, bytes, "application/json")
}

fn text(status: StatusCode, text: String) -> Answer {
    with_type(status, text.into_bytes(), "text/plain; charset=utf-8")
}

/// An answer of this type.
pub(super) fn with_type(status: StatusCode, bytes: Vec<u8>, content_type: &'static str) -> Answer {
    let mut answer = Response::new(Reply::whole(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn root() -> String {
    format!("goniec {}\n\n{}", env!("CARGO_PKG_VERSION"), table())
}

/// The routes, one a line: method, path, what a caller must be allowed to do, and what it does.
#[must_use]
pub fn table() -> String {
    let line = |route: &Route| {
        format!("{:<6} {:<31} {:<8} {}\n", route.method.as_str(), route.path, route.right.name(), route.what)
    };
    ROUTES.iter().map(line).collect()
}

/// The table of `docs/http.md`.
#[cfg(test)]
fn page() -> String {
    let line = |route: &Route| {
        format!("| `{} {}` | {} | {} |\n", route.method.as_str(), route.path, route.right.name(), route.what)
    };
    let lines: String = ROUTES.iter().map(line).collect();
    format!("| call | right | does |\n|---|---|---|\n{lines}")
}

impl Right {
    pub(super) fn name(self) -> &'static str {
        match self {
            Right::Anyone => "anyone",
            Right::Produce => "produce",
            Right::View => "view",
            Right::Operate => "operate",
        }
    }
}

#[cfg(test)]
mod tests;
