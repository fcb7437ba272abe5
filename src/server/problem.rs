//! Every error that the server answers: RFC 9457, one constructor a kind.
//!
//! # What it does not know
//!
//! Routes and requests.

use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::error::Error;
use crate::model::WallMs;
use crate::store::StoreError;
use crate::transport::secret::UNGUESSABLE_BYTES;

use super::payload::{Answer, Reply};

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Problem(Box<Said>);

#[derive(Debug)]
struct Said {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    hint: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
    last: bool,
    /// The revision that there is, where another was meant.
    revision: Option<u16>,
}

/// The JSON of a problem.
#[derive(Serialize)]
struct Shape<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    hint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        let (detail, hint, header, last, revision) = (detail.into(), None, None, false, None);
        Problem(Box::new(Said { status, kind, title, detail, hint, header, last, revision }))
    }

    /// The request is not well-formed.
    pub(super) fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", "The request is not well-formed", detail)
    }

    /// The head leaves open where the request ends.
    pub(super) fn ambiguous(why: &str) -> Problem {
        let detail = format!("the request was refused: {why}");
        Problem::new(StatusCode::BAD_REQUEST, "ambiguous", "The request is ambiguous", detail).last()
    }

    /// The token is missing or wrong.
    pub(super) fn unauthorized() -> Problem {
        let detail = "the request bears no valid token";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed", detail)
            .hint("Send `Authorization: Bearer TOKEN`; the command line takes --token or GONIEC_TOKEN.")
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The token is right, and its time is over.
    pub(super) fn expired(name: &str, at: WallMs) -> Problem {
        let detail = format!("the token {name:?} expired at {}", at.rfc3339());
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "The token has expired", detail)
            .hint("Ask an administrator for a new one.")
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// A one-time code opens nothing.
    pub(super) fn no_code() -> Problem {
        let detail = "the code is wrong, was used, or is older than ten minutes";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "The link does not open the console", detail)
            .hint("Ask for a new link, or log in with a token.")
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// A new body is not what its content type says.
    pub(super) fn not_its_type(content_type: &str, wrong: &serde_json::Error) -> Problem {
        let detail = format!("the new body is no JSON, and its content type says {content_type:?}: {wrong}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-its-type", "The body is not what its type says", detail)
            .hint("Send it with ?as_is=true where it is meant, or with another content type.")
    }

    /// Nobody hands in under this name.
    pub(super) fn no_source(name: &str) -> Problem {
        let shown: String = name.chars().take(64).collect();
        let detail = format!("there is no source {shown:?}");
        Problem::new(StatusCode::NOT_FOUND, "no-source", "There is no such source", detail)
            .hint("Sources are the tables [source.NAME] of the configuration.")
    }

    /// What came does not prove that it is from its source.
    pub(super) fn disbelieved(detail: impl Into<String>, challenge: &'static str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "not-believed", "The delivery is not believed", detail)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// The bearer is known, and may not do this.
    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "The token's role does not allow it", detail)
            .hint("An administrator gives another token; roles of the configuration stand in [server].")
    }

    /// A change by a cookie that does not prove that the console asked for it.
    pub(super) fn not_the_console() -> Problem {
        Problem::foreign("a change with a cookie must come from the console itself")
            .hint("Programs send `Authorization: Bearer TOKEN`; the cookie is for the console alone.")
    }

    /// The request came from a page that has no business here.
    pub(super) fn foreign(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "foreign-origin", "The request comes from elsewhere", detail)
    }

    /// There is nothing at this path.
    pub(super) fn no_route(path: &str) -> Problem {
        let shown: String = path.chars().take(128).collect();
        Problem::new(StatusCode::NOT_FOUND, "no-route", "There is nothing here", format!("no route {shown:?}"))
            .hint("The calls begin with /v1/; GET / lists them.")
    }

    /// The path exists, but not for this method.
    pub(super) fn method(method: &str, allow: &str) -> Problem {
        let detail = format!("{method} is not allowed here; {allow} is");
        let value = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static("GET"));
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "The method is not allowed", detail).header(ALLOW, value)
    }

    /// A path names a destination that does not exist.
    pub(super) fn no_destination(error: &Error) -> Problem {
        let mut problem = Problem::of(error);
        problem.0.status = StatusCode::NOT_FOUND;
        problem
    }

    /// A destination has no message of this key.
    pub(super) fn no_key(destination: &str, key: &str) -> Problem {
        let shown: String = key.chars().take(128).collect();
        let detail = format!("{destination} has no message of the key {shown:?}");
        Problem::new(StatusCode::NOT_FOUND, "no-key", "There is no such key", detail).hint("GET /v1/keys lists them.")
    }

    /// The path of the request is too long.
    pub(super) fn uri_too_long(bytes_max: usize) -> Problem {
        let detail = format!("the path and query have more than {bytes_max} bytes");
        Problem::new(StatusCode::URI_TOO_LONG, "uri-too-long", "The address is too long", detail).last()
    }

    /// The body is larger than the route takes.
    pub(super) fn too_large(bytes_max: usize) -> Problem {
        let detail = format!("the request has more than the {bytes_max} bytes that are allowed here");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail).last()
    }

    /// The body came too slowly.
    pub(super) fn too_slow() -> Problem {
        let detail = "the body did not come in time";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The request was too slow", detail).last()
    }

    /// The body broke off.
    pub(super) fn broken(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "broken-body", "The body did not come whole", detail).last()
    }

    /// The body is of a kind that is not taken.
    pub(super) fn unsupported(detail: impl Into<String>, hint: &str) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", "This kind of body is not taken", detail)
            .hint(hint)
            .last()
    }

    /// A change must say what it was made on.
    pub(super) fn precondition_required() -> Problem {
        let detail = "a new body needs the revision that was read";
        let status = StatusCode::PRECONDITION_REQUIRED;
        Problem::new(status, "precondition-required", "The revision is missing", detail)
            .hint("Send `If-Match: \"N\"` with the revision, or `If-Match: *` to replace whatever there is.")
    }

    /// There is no such incident.
    pub(super) fn no_incident(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no-incident", "There is no such incident", detail)
            .hint("GET /v1/incidents?state=all lists them.")
    }

    /// Nothing is compared under this name.
    pub(super) fn no_reconcile(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no-reconcile", "There is no such comparison", detail)
            .hint("GET /v1/reconcile lists the tables [reconcile.NAME] of the configuration.")
    }

    /// It is not known what would be sent again.
    pub(super) fn uncompared() -> Problem {
        let detail = "it is not known what would be sent again: it was not compared since the start, is being compared, or was compared anew";
        Problem::new(StatusCode::CONFLICT, "uncompared", "It is not known what is missing", detail)
            .hint("POST /v1/reconcile/{name}/run compares anew.")
    }

    /// There is no such bulk job.
    pub(super) fn no_job(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no-job", "There is no such bulk job", detail)
            .hint("GET /v1/bulk lists those that are kept.")
    }

    /// There is no alert rule of this number.
    pub(super) fn no_rule(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no-rule", "There is no such alert rule", detail)
            .hint("GET /v1/alerts lists them.")
    }

    /// The message has no such revision.
    pub(super) fn no_revision(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no-revision", "There is no such revision", detail)
            .hint("GET /v1/messages/{id}/revisions lists them.")
    }

    /// The body of a message is no longer kept.
    pub(super) fn gone(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::GONE, "gone", "It is no longer kept", detail)
    }

    /// As many as are served at once.
    pub(super) fn crowded(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "goniec is full", detail)
            .hint("Try again in a moment.")
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Wrong tokens are too many.
    pub(super) fn too_many_guesses(seconds: u64) -> Problem {
        let detail = format!("too many tokens, passwords or codes were wrong; the next one counts in {seconds} s");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-guesses", "Too many wrong tokens", detail)
            .hint(format!(
                "Wait, then come with the right token; one of {UNGUESSABLE_BYTES} bytes or more never waits."
            ))
            .header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// A fault of ours.
    pub(super) fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "goniec failed", detail)
    }

    /// What the engine said.
    pub(super) fn of(error: &Error) -> Problem {
        use StatusCode as S;
        let (status, kind, title, retry_after) = match error {
            Error::NotFound(_) => (S::NOT_FOUND, "not-found", "There is no such message", None),
            Error::UnknownDestination { .. } => {
                (S::UNPROCESSABLE_ENTITY, "unknown-destination", "There is no such destination", None)
            }
            Error::Invalid(_) => (S::BAD_REQUEST, "invalid", "The message is not well-formed", None),
            Error::After(_) => (S::UNPROCESSABLE_ENTITY, "after", "The message cannot wait for these keys", None),
            Error::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", None),
            Error::Refused { .. } => (S::CONFLICT, "refused", "The message does not admit this now", None),
            Error::Stale { .. } => (S::PRECONDITION_FAILED, "stale", "The message changed meanwhile", None),
            Error::Conflict { .. } => {
                (S::UNPROCESSABLE_ENTITY, "conflict", "The idempotency key names another message", None)
            }
            Error::Overtaken { .. } => (S::CONFLICT, "overtaken", "A newer message has taken its place", None),
            Error::Counted { .. } => (S::CONFLICT, "counted", "Another number of messages matches", None),
            Error::NoToken(_) => (S::NOT_FOUND, "no-token", "There is no such token", None),
            Error::Token { .. } => (S::CONFLICT, "token", "The tokens stay as they are", None),
            Error::Marked(_) => (S::CONFLICT, "marked", "Somebody else read on", None),
            Error::Busy => (S::TOO_MANY_REQUESTS, "busy", "goniec is full", Some("1")),
            Error::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "goniec is stopping", Some("5")),
            Error::Store(StoreError::Full(_)) => (S::INSUFFICIENT_STORAGE, "disk-full", "The disk is full", Some("30")),
            Error::Store(_) => (S::SERVICE_UNAVAILABLE, "store-failed", "The store failed", Some("30")),
            Error::Config(_) => (S::INTERNAL_SERVER_ERROR, "configuration", "The configuration is wrong", None),
        };
        let mut problem = Problem::new(status, kind, title, error.to_string());
        problem.0.hint = error.hint();
        if let Error::Stale { stored, .. } = error {
            problem.0.revision = Some(*stored);
        }
        match retry_after {
            Some(seconds) => problem.header(RETRY_AFTER, HeaderValue::from_static(seconds)),
            None => problem,
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Adds what the reader can do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = Some(hint.into());
        self
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    /// Makes the answer the last of its connection.
    fn last(mut self) -> Problem {
        self.0.last = true;
        self
    }

    /// The answer.
    pub(super) fn answer(self) -> Answer {
        let said = *self.0;
        let shape = Shape {
            r#type: format!("urn:goniec:problem:{}", said.kind),
            title: said.title,
            status: said.status.as_u16(),
            detail: &said.detail,
            hint: said.hint.as_deref().filter(|hint| !hint.is_empty()).unwrap_or_else(|| usual_hint(said.status)),
            revision: said.revision,
        };
        let mut answer = Response::new(Reply::whole(serde_json::to_vec(&shape).unwrap_or_default()));
        *answer.status_mut() = said.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = said.header {
            headers.insert(name, value);
        }
        if said.last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// What the reader can do where nothing better is known.
fn usual_hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "Call from a program or page of this machine, or with a token whose role allows it.",
        404 | 405 | 414 => "GET / lists the calls.",
        408 => "Send it again, faster.",
        409 => "Read the message again; its state says what it admits.",
        410 => "Bodies are kept as long as `keep_bodies` in [store] says.",
        413 => "Send less in one request.",
        429 | 503 => "Try again in a moment.",
        500 => "The log of the node says more.",
        _ => "Correct the request; repeated as it is, it is refused again.",
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::of(&error)
    }
}
