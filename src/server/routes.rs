//! The way of a request: its route is found in the [`table`], its head is judged, its body taken, and its handler asked.
//!
//! # What it does not know
//!
//! What the handlers do.

mod table;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, VARY};
use hyper::{Method, Request, Response, StatusCode};

use crate::engine::{Act, Hand};
use crate::model::percent::{Wrong, unescape};
use crate::source::{Source, Verdict};

pub use self::table::table;
pub(super) use self::table::{Handler, INTAKE_BYTES_MAX, ROUTES, Right, Route};

use super::access::Admitted;
use super::guard::Head;
use super::intake::now;
use super::listen::App;
use super::payload::{Answer, BodyLimits, Reply, Taken, take};
use super::problem::Problem;
use super::{
    access, alerts, bulk, console, events, incoming, intake, keys, manage, metrics, openapi, reconcile, session,
    sources, tokens,
};

/// The most bytes of a path with its query.
const URI_BYTES_MAX: usize = 4 << 10;
/// A request whose head has been judged.
pub(super) struct Call<'a> {
    /// What every request needs.
    pub(super) app: &'a Rc<App>,
    /// Where it comes from.
    pub(super) peer: IpAddr,
    /// Whom changes are ascribed to.
    pub(super) who: String,
    /// The source that it proved to be, or has still to prove with its body.
    pub(super) source: Option<Arc<Source>>,
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

/// The answer to a request, whatever it is.
pub(super) async fn answer(app: &Rc<App>, peer: IpAddr, head: Head, request: Request<Incoming>) -> Answer {
    let mut answer = judge(app, peer, head, request).await.unwrap_or_else(Problem::answer);
    if head.last {
        answer.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

async fn judge(app: &Rc<App>, peer: IpAddr, head: Head, request: Request<Incoming>) -> Result<Answer, Problem> {
    if let Some(why) = head.refuse {
        return Err(Problem::ambiguous(why));
    }
    let (parts, body) = request.into_parts();
    let path_bytes = parts.uri.path().len() + parts.uri.query().map_or(0, |query| query.len() + 1);
    if path_bytes > URI_BYTES_MAX {
        return Err(Problem::uri_too_long(URI_BYTES_MAX));
    }
    let (route, [name, second]) = find(&parts.method, parts.uri.path())?;
    let admitted = access::check(app, peer, &parts.method, &parts.headers, route.right, &name)?;
    let (who, source) = match admitted {
        Admitted::Person(who) => (who, None),
        Admitted::Source(source) => (source.name.to_string(), Some(source)),
    };
    let counted = source.clone();
    let answered = async {
        if parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Problem::unsupported("the body is compressed", "Send it without content-encoding."));
        }
        let (bytes_max, budget) = match &source {
            Some(source) => incoming::room(app, source),
            None => (route.bytes_max, &app.budget),
        };
        let limits = BodyLimits { bytes_max, whole: Duration::from_millis(app.config.body_ms_max) };
        let part = budget.part(source.as_ref().map(|source| source.name.clone()), peer);
        let body = take(&parts.headers, body, limits, part).await?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let call = Call { app, peer, who, source, headers: parts.headers, name, second, query, body };
        dispatch(route.handler, call).await
    };
    let answered = answered.await;
    if let (Some(source), Err(_)) = (counted, &answered) {
        source.tally.count(Verdict::Refused, now());
    }
    answered
}

async fn dispatch(handler: Handler, call: Call<'_>) -> Result<Answer, Problem> {
    match handler {
        Handler::Root => Ok(way_in(&call.headers)),
        Handler::Healthz => Ok(text(StatusCode::OK, "ok\n".into())),
        Handler::Readyz => {
            call.app.engine.ready()?;
            Ok(text(StatusCode::OK, "ready\n".into()))
        }
        Handler::PostMessages => intake::messages(call).await,
        Handler::PostSend => intake::send(call).await,
        Handler::Deliver => incoming::deliver(call).await,
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
        Handler::Streams => manage::streams(call).await,
        Handler::Pause => manage::steer(call, Hand::Pause).await,
        Handler::Resume => manage::steer(call, Hand::Resume).await,
        Handler::Cycle => manage::steer(call, Hand::Cycle).await,
        Handler::Sources => sources::list(call).await,
        Handler::RunSource => sources::run(call).await,
        Handler::BeginBulk => bulk::begin(call).await,
        Handler::Jobs => bulk::jobs(call).await,
        Handler::ShowJob => bulk::job(call).await,
        Handler::CancelJob => bulk::cancel(call).await,
        Handler::Audit => bulk::audit(call).await,
        Handler::VerifyAudit => bulk::verify(call).await,
        Handler::Incidents => bulk::incidents(call).await,
        Handler::ShowIncident => bulk::incident(call).await,
        Handler::Reconciled => reconcile::list(call).await,
        Handler::ShowReconciled => reconcile::show(call).await,
        Handler::Lacking => reconcile::lacking(call).await,
        Handler::Reconcile => reconcile::run(call).await,
        Handler::QueueMissing => reconcile::queue(call).await,
        Handler::Alerts => alerts::list(call).await,
        Handler::TestAlert => alerts::test(call).await,
        Handler::Events => events::follow(call),
        Handler::History => metrics::history(call).await,
        Handler::Metrics => metrics::metrics(call).await,
        Handler::OpenApi => openapi::answer(&call),
        Handler::Keys => keys::list(call).await,
        Handler::Key => keys::show(call).await,
        Handler::Explain => keys::story(call).await,
        Handler::Login => session::login(call).await,
        Handler::Logout => session::logout(call).await,
        Handler::Me => session::me(call).await,
        Handler::Tokens => tokens::list(call).await,
        Handler::MakeToken => tokens::make(call).await,
        Handler::RevokeToken => tokens::revoke(call).await,
        Handler::Console => console::page(&call),
        Handler::ConsoleFile => console::file(&call),
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
    unescape(text).map_err(|wrong| match wrong {
        Wrong::Digits => Problem::bad("a percent sign is not followed by two hex digits; write %25 for itself"),
        Wrong::Bytes => Problem::bad("what percent signs stand for is not UTF-8"),
    })
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

/// The console for a browser, the table of routes for everyone else.
fn way_in(headers: &HeaderMap) -> Answer {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut answer = if accepts.into_iter().any(|value| value.contains("text/html")) {
        let mut answer = text(StatusCode::SEE_OTHER, "The console is at /console.\n".into());
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/console"));
        answer
    } else {
        text(StatusCode::OK, root())
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    answer
}

fn root() -> String {
    format!("goniec {}\n\n{}", env!("CARGO_PKG_VERSION"), table())
}

#[cfg(test)]
mod tests;
