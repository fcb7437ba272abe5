//! The interface described for machines: `GET /openapi.json`, OpenAPI 3.1.
//!
//! The document is made of the table of routes. What the table does not say of a route (parameters, bodies, answers) is said here, by a match over the
//! handlers: a route that is not described does not compile. The shapes of JSON stand in `openapi.json` beside this file.
//!
//! # What holds
//!
//! * Every status that a route can answer is told; the tests hold every answer that they get against it.
//!
//! # What it does not know
//!
//! What the handlers do.

use std::sync::LazyLock;

use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::manage::{filter_names, parameters};
use super::payload::Answer;
use super::problem::Problem;
use super::routes::{self, Call, Handler, ROUTES, Right, Route};

const SCHEMAS: &str = include_str!("openapi.json");
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";
const ANY: &str = "*/*";

/// What every route can answer besides: a request that is not well-formed, from elsewhere, too slow, too large, of a kind that is not taken; a node that is full,
/// or failed, or stops.
const ALWAYS: [u16; 10] = [400, 403, 408, 413, 414, 415, 429, 431, 500, 503];
/// What acting on a message can answer: it is not there, it does not admit that.
const ACTED: [u16; 3] = [404, 409, 507];

/// `GET /openapi.json`.
pub(super) fn answer(call: &Call<'_>) -> Result<Answer, Problem> {
    static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| document().to_string().into_bytes());
    parameters(call, [])?;
    Ok(routes::json(StatusCode::OK, DOCUMENT.clone()))
}

/// What the table does not say of a route.
struct Described {
    /// Parameters of the query, and headers.
    query: &'static [Parameter],
    headers: &'static [Parameter],
    /// The body that it takes: content types with the names of their schemas.
    takes: &'static [(&'static str, &'static str)],
    /// Its yes, with the content type and the name of the schema; neither where it has no body.
    yes: (u16, Option<(&'static str, &'static str)>),
    /// Another yes, where it has two.
    also: Option<(u16, Option<(&'static str, &'static str)>)>,
    /// What it can refuse with beyond [`ALWAYS`].
    no: &'static [u16],
}

/// A parameter, the name of its schema, and whether it must be there.
type Parameter = (&'static str, &'static str, bool);

/// A route that is read, by nothing but its path.
const fn reads(schema: &'static str) -> Described {
    Described { query: &[], headers: &[], takes: &[], yes: (200, Some((JSON, schema))), also: None, no: &[] }
}

/// An act on a message.
const fn acts() -> Described {
    Described { query: WHY, headers: WHY_TOO, no: &ACTED, ..reads("Message") }
}

/// An act on a destination.
const fn steers() -> Described {
    Described { query: WHY, headers: WHY_TOO, no: &[404, 422, 507], ..reads("Lane") }
}

/// Why somebody asks.
const WHY: &[Parameter] = &[("why", "Word", false)];
/// What a person has seen, and agrees to.
const SEEN: &[Parameter] = &[("count", "Count", false), ("at", "Time", false)];
const WHY_TOO: &[Parameter] = &[("x-goniec-why", "Word", false)];
/// A bulk job that begins, or what it would do.
const fn begins() -> Described {
    Described {
        takes: &[(JSON, "BulkAsked")],
        yes: (202, Some((JSON, "Job"))),
        also: Some((200, Some((JSON, "Preview")))),
        no: &[404, 409, 422, 507],
        ..reads("Job")
    }
}

/// A file of the console, or that the browser has it.
const fn serves(kind: (&'static str, &'static str)) -> Described {
    Described { yes: (200, Some(kind)), also: Some((304, None)), no: &[404], ..reads("Text") }
}

const PAGED: &[Parameter] = &[("limit", "Limit", false), ("cursor", "Cursor", false)];
const KEYED: &[Parameter] = &[
    ("destination", "Word", false),
    ("key", "Word", false),
    ("state", "KeyState", false),
    ("limit", "Limit", false),
    ("cursor", "Cursor", false),
];
const ENVELOPE_HEADERS: &[Parameter] = &[
    ("goniec-key", "Word", false),
    ("goniec-type", "Word", false),
    ("goniec-version", "Version", false),
    ("goniec-after", "Word", false),
    ("goniec-not-before", "When", false),
    ("goniec-deadline", "When", false),
    ("idempotency-key", "Word", false),
    ("traceparent", "Word", false),
];

/// What takes a body without an envelope.
fn takes_bare() -> Described {
    Described {
        headers: ENVELOPE_HEADERS,
        takes: &[(ANY, "Bytes")],
        yes: (202, Some((JSON, "Accepted"))),
        no: &[404, 422, 507],
        ..reads("Accepted")
    }
}

/// What a system hands in by itself.
fn delivers() -> Described {
    Described {
        takes: &[(ANY, "Bytes")],
        yes: (202, Some((JSON, "Accepted"))),
        also: Some((200, Some((JSON, "Accepted")))),
        no: &[401, 404, 422, 507],
        ..reads("Accepted")
    }
}

/// That a source is read now.
fn reads_source() -> Described {
    Described {
        query: &[("sure", "Yes", false), ("why", "Word", false)],
        yes: (202, Some((JSON, "Source"))),
        no: &[404, 422, 507],
        ..reads("Source")
    }
}

/// What makes a token.
fn makes() -> Described {
    Described {
        takes: &[(JSON, "NewToken")],
        yes: (201, Some((JSON, "MadeToken"))),
        no: &[409, 507],
        ..reads("MadeToken")
    }
}

/// A new body.
fn edits() -> Described {
    Described {
        query: &[("why", "Word", false), ("as_is", "Yes", false)],
        headers: &[("if-match", "Word", false), ("x-goniec-why", "Word", false)],
        takes: &[(ANY, "Bytes")],
        no: &[404, 409, 412, 422, 428, 507],
        ..reads("Message")
    }
}

/// What is done of a comparison after the answer.
fn compares() -> Described {
    Described { yes: (202, Some((JSON, "Agreement"))), no: &[404], ..reads("Agreement") }
}

fn described(handler: Handler) -> Described {
    match handler {
        // A browser is sent on to the console.
        Handler::Root => {
            Described { also: Some((303, Some((TEXT, "Text")))), yes: (200, Some((TEXT, "Text"))), ..reads("Text") }
        }
        Handler::Healthz => Described { yes: (200, Some((TEXT, "Text"))), ..reads("Text") },
        Handler::Readyz => Described { yes: (200, Some((TEXT, "Text"))), no: &[507], ..reads("Text") },
        Handler::PostMessages => Described {
            headers: &[("idempotency-key", "Word", false), ("traceparent", "Word", false)],
            takes: &[(JSON, "Handed"), (LINES, "Bytes")],
            yes: (202, Some((JSON, "Accepted"))),
            no: &[422, 507],
            ..reads("Accepted")
        },
        Handler::PostSend => takes_bare(),
        Handler::Deliver => delivers(),
        Handler::ListMessages => Described { query: PAGED, no: &[422], ..reads("Messages") },
        Handler::ShowMessage => Described { no: &[404], ..reads("Message") },
        Handler::ShowBody => Described {
            query: &[("revision", "Revision", false)],
            yes: (200, Some((ANY, "Bytes"))),
            no: &[404, 410],
            ..reads("Bytes")
        },
        Handler::ShowAttempts => Described { no: &[404], ..reads("Attempts") },
        Handler::ShowRevisions => Described { no: &[404], ..reads("Revisions") },
        Handler::PutBody => edits(),
        Handler::Resend => Described { query: &[("at", "At", false), ("why", "Word", false)], ..acts() },
        Handler::Resolve => Described { query: &[("outcome", "Outcome", true), ("why", "Word", false)], ..acts() },
        Handler::Cancel | Handler::Hold | Handler::Release => acts(),
        Handler::Delete => Described { yes: (204, None), ..acts() },
        Handler::Stats => reads("Stats"),
        Handler::Streams => reads("Streams"),
        Handler::Destinations => reads("Destinations"),
        Handler::Pause | Handler::Resume | Handler::Cycle => steers(),
        Handler::Sources => reads("Sources"),
        Handler::RunSource => reads_source(),
        Handler::Events => Described { yes: (200, Some(("text/event-stream", "Text"))), ..reads("Text") },
        Handler::History => reads("History"),
        Handler::Metrics => Described { yes: (200, Some(("application/openmetrics-text", "Text"))), ..reads("Text") },
        Handler::OpenApi => reads("Document"),
        Handler::Keys => Described { query: KEYED, no: &[422], ..reads("Keys") },
        Handler::Key => Described { no: &[404], ..reads("Key") },
        Handler::Login => Described { takes: &[(JSON, "Login")], yes: (204, None), no: &[401], ..reads("Login") },
        Handler::Logout => Described { yes: (204, None), ..reads("Login") },
        Handler::Me => reads("Me"),
        Handler::Tokens => reads("Tokens"),
        Handler::MakeToken => makes(),
        Handler::RevokeToken => Described { yes: (204, None), no: &[404, 409, 507], ..reads("Tokens") },
        Handler::Console => serves(("text/html", "Text")),
        Handler::ConsoleFile => serves((ANY, "Bytes")),
        Handler::BeginBulk => begins(),
        Handler::Jobs => reads("Jobs"),
        Handler::ShowJob => Described { no: &[404], ..reads("Job") },
        Handler::CancelJob => Described { no: &[404, 507], ..reads("Job") },
        Handler::Audit => Described { query: PAGED, ..reads("Audit") },
        Handler::VerifyAudit => Described { query: &[("head", "Word", false)], ..reads("Soundness") },
        Handler::Incidents => Described { query: &[("state", "IncidentState", false)], ..reads("Incidents") },
        Handler::Reconciled => reads("Agreements"),
        Handler::ShowReconciled => Described { no: &[404], ..reads("Agreement") },
        Handler::Lacking => Described { query: &[("from", "Count", false)], no: &[404, 409], ..reads("Lacking") },
        Handler::Reconcile => compares(),
        Handler::QueueMissing => Described { query: SEEN, no: &[404, 409], ..compares() },
        Handler::Alerts => reads("AlertRules"),
        Handler::TestAlert => Described { no: &[404], ..reads("Tested") },
        Handler::ShowIncident => Described { no: &[404], ..reads("Incident") },
        Handler::Explain => Described { query: &[("key", "Word", true)], ..reads("Story") },
    }
}

/// Whether the words of the filter are parameters of a route.
fn is_filtered(handler: Handler) -> bool {
    matches!(handler, Handler::ListMessages | Handler::Events)
}

/// The whole document.
fn document() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(operations) = operations.as_object_mut() {
            operations.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "goniec",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Registry and delivery engine between business systems.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let described = described(route.handler);
    let mut parameters: Vec<Value> =
        in_path(route.path).map(|name| parameter("path", (name, name_schema(name), true))).collect();
    if is_filtered(route.handler) {
        let words = filter_names().map(|name| (name, filter_schema(name), false));
        parameters.extend(words.map(|word| parameter("query", word)));
    }
    parameters.extend(described.query.iter().map(|word| parameter("query", *word)));
    parameters.extend(described.headers.iter().map(|word| parameter("header", *word)));
    let mut responses = Map::new();
    for (status, body) in std::iter::once(described.yes).chain(described.also) {
        let content = body.map_or_else(|| json!({}), |(content_type, schema)| json!({ content_type: of(schema) }));
        responses.insert(status.to_string(), json!({ "description": "Yes.", "content": content }));
    }
    let needs_token = (!matches!(route.right, Right::Anyone | Right::Source)).then_some(401);
    for status in ALWAYS.iter().chain(&needs_token).chain(described.no) {
        let said = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
        let content = json!({ "application/problem+json": of("Problem") });
        responses.insert(status.to_string(), json!({ "description": said, "content": content }));
    }
    let mut operation = json!({
        "operationId": format!("{:?}", route.handler),
        "summary": route.what,
        "parameters": parameters,
        "responses": responses,
        "security": if needs_token.is_some() { json!([{ "token": [] }, {}]) } else { json!([]) },
        "x-goniec-right": route.right.name(),
    });
    if let (false, Some(operation)) = (described.takes.is_empty(), operation.as_object_mut()) {
        let content: Map<String, Value> =
            described.takes.iter().map(|(kind, schema)| ((*kind).to_owned(), of(schema))).collect();
        operation.insert("requestBody".into(), json!({ "required": route.method == Method::POST, "content": content }));
    }
    operation
}

fn parameter(place: &str, (name, schema, is_required): Parameter) -> Value {
    json!({ "name": name, "in": place, "required": is_required, "schema": { "$ref": reference(schema) } })
}

/// A content of this schema.
fn of(schema: &str) -> Value {
    json!({ "schema": { "$ref": reference(schema) } })
}

fn reference(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}

/// The names that stand in a path.
fn in_path(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// What stands there.
fn name_schema(name: &str) -> &'static str {
    match name {
        "id" => "Id",
        _ => "Word",
    }
}

/// The form of a word of the filter.
fn filter_schema(name: &str) -> &'static str {
    match name {
        "state" => "States",
        "id" => "Ids",
        "since" | "until" => "When",
        _ => "Word",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that the document refers to.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn whatever_is_referred_to_is_there_and_whatever_is_there_is_referred_to() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().expect("the schemas are JSON");
        let known: Vec<String> = schemas.keys().map(|name| reference(name)).collect();
        for name in &found {
            assert!(known.contains(name), "{name} is referred to and not there");
        }
        for name in &known {
            assert!(found.contains(name), "{name} is there for nothing");
        }
    }

    #[test]
    fn every_route_is_in_the_document() {
        let document = document();
        for route in &ROUTES {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert_eq!(operation["summary"], route.what, "{method} {}", route.path);
        }
    }
}
