//! The one table of routes: method, path, right, limit, handler. What is not in it does not exist.
//!
//! # What it does not know
//!
//! What the handlers do.

use hyper::Method;

/// The most bytes of a request that hands in messages.
pub(in crate::server) const INTAKE_BYTES_MAX: usize = 16 << 20;
/// The most bytes of a body where none is expected.
const NOTHING_BYTES_MAX: usize = 64 << 10;

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Right {
    /// Nothing: the way in, and signs of life.
    Anyone,
    /// Prove to be the source that the path names.
    Source,
    /// Hand in messages.
    Produce,
    /// Read.
    View,
    /// Act on messages.
    Operate,
    /// Make and revoke tokens.
    Admin,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Handler {
    Root,
    Healthz,
    Readyz,
    PostMessages,
    PostSend,
    Deliver,
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
    Sources,
    RunSource,
    Streams,
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
    Reconciled,
    ShowReconciled,
    Lacking,
    Reconcile,
    QueueMissing,
    Alerts,
    TestAlert,
    History,
    Metrics,
    OpenApi,
    Keys,
    Key,
    Explain,
    Login,
    Logout,
    Me,
    Tokens,
    MakeToken,
    RevokeToken,
    Console,
    ConsoleFile,
}

/// A line of the table.
pub(in crate::server) struct Route {
    pub(in crate::server) method: Method,
    pub(in crate::server) path: &'static str,
    pub(in crate::server) right: Right,
    pub(in crate::server) bytes_max: usize,
    pub(in crate::server) handler: Handler,
    pub(in crate::server) what: &'static str,
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
pub(in crate::server) static ROUTES: [Route; 56] = [
    route(G, "/", Right::Anyone, 0, Handler::Root, "the console for a browser; for others what there is to call"),
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
        P,
        "/v1/in/{source}",
        Right::Source,
        INTAKE_BYTES_MAX,
        Handler::Deliver,
        "takes what a system hands in by itself, as its `[source.NAME]` proves it",
    ),
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
        "a new body: needs `If-Match`, and `?why=` or `x-goniec-why`; `?as_is=true` where it is not what its type says",
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
        G,
        "/v1/streams",
        Right::View,
        0,
        Handler::Streams,
        "the streams to and from other registries: how far each side is, and what is missing",
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
        G,
        "/v1/sources",
        Right::View,
        0,
        Handler::Sources,
        "where messages come from: how each source stands, when it was and will be read, and why not",
    ),
    route(
        P,
        "/v1/sources/{name}/run",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::RunSource,
        "reads a source now (202): `?sure=true` takes its first reading whatever it comes to, `?why=`",
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
        "/v1/reconcile",
        Right::View,
        0,
        Handler::Reconciled,
        "whether destinations have what was delivered to them, as they were last compared",
    ),
    route(G, "/v1/reconcile/{name}", Right::View, 0, Handler::ShowReconciled, "one comparison"),
    route(
        G,
        "/v1/reconcile/{name}/lacking",
        Right::View,
        0,
        Handler::Lacking,
        "what the last comparison found that can be sent again, 1,000 at a time: `?from=` is the `next` of the page before",
    ),
    route(
        P,
        "/v1/reconcile/{name}/run",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::Reconcile,
        "compares anew (202); `is_running` tells when it is over",
    ),
    route(
        P,
        "/v1/reconcile/{name}/queue",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::QueueMissing,
        "sends again what was found to be missing or stale (202): `?count=` is how many were seen to be, `?at=` in the comparison of which time",
    ),
    route(G, "/v1/alerts", Right::View, 0, Handler::Alerts, "the rules of alerts, and whether their channels work"),
    route(
        P,
        "/v1/alerts/{number}/test",
        Right::Operate,
        NOTHING_BYTES_MAX,
        Handler::TestAlert,
        "tells that it is a test",
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
    route(
        P,
        "/v1/login",
        Right::Anyone,
        NOTHING_BYTES_MAX,
        Handler::Login,
        "begins a session of the console: `{\"token\"}` or `{\"code\"}`; answers with its cookie",
    ),
    route(P, "/v1/logout", Right::Anyone, NOTHING_BYTES_MAX, Handler::Logout, "ends the session of the cookie"),
    route(G, "/v1/me", Right::Anyone, 0, Handler::Me, "who asks, and what they may do"),
    route(G, "/v1/tokens", Right::Admin, 0, Handler::Tokens, "the tokens, without what they are"),
    route(
        P,
        "/v1/tokens",
        Right::Admin,
        NOTHING_BYTES_MAX,
        Handler::MakeToken,
        "makes a token: `{\"name\",\"role\",\"expires\"}`; the answer alone has it",
    ),
    route(Method::DELETE, "/v1/tokens/{name}", Right::Admin, 0, Handler::RevokeToken, "revokes a token"),
    route(G, "/console", Right::Anyone, 0, Handler::Console, "the console"),
    route(G, "/console/{file}", Right::Anyone, 0, Handler::ConsoleFile, "its files"),
];

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
pub(super) fn page() -> String {
    let line = |route: &Route| {
        format!("| `{} {}` | {} | {} |\n", route.method.as_str(), route.path, route.right.name(), route.what)
    };
    let lines: String = ROUTES.iter().map(line).collect();
    format!("| call | right | does |\n|---|---|---|\n{lines}")
}

impl Right {
    /// All that a role can give.
    pub(in crate::server) const ALL: [Right; 4] = [Right::View, Right::Produce, Right::Operate, Right::Admin];

    /// Its name, as the table of routes has it.
    pub(in crate::server) fn name(self) -> &'static str {
        match self {
            Right::Anyone => "anyone",
            Right::Source => "source",
            Right::Produce => "produce",
            Right::View => "view",
            Right::Operate => "operate",
            Right::Admin => "admin",
        }
    }
}
