//! Ingest: envelopes and raw bodies become drafts, and `202` is said once the engine has them durable.
//!
//! A `body` that is JSON is handed on as its own text, byte for byte: it is never parsed into values and printed again.
//!
//! # What holds
//!
//! * All messages of one request are taken, or none.
//! * What is refused is named by line and column, or by the number of its item.
//!
//! # What it does not know
//!
//! Which destinations exist, and what else the engine limits.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::admin::when::{Toward, parse_when};
use crate::engine::{Accepted, MESSAGES_MAX};
use crate::error::Error;
use crate::model::media::{essence, is_json};
use crate::model::{Body, Draft, Envelope, Headers, WallMs};
use crate::source::handed::{Array, Handed, too_many, without_place};
use crate::store::KEY_PART;

use super::listen::{answered, blocking};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, decode, json};

/// Requests larger than this are read on another thread, so that the others need not wait.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// What the head says of all messages of the request.
#[derive(Clone)]
struct Common {
    now: WallMs,
    idempotency_key: Option<String>,
    traceparent: Option<Arc<str>>,
}

/// How the messages of a request are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
}

/// `POST /v1/messages`.
pub(super) async fn messages(call: Call<'_>) -> Result<Answer, Problem> {
    let form = form(&call.headers)?;
    let common = common(&call.headers)?;
    let bytes = call.body.bytes.clone();
    let parse = move || match form {
        Form::Json => of_json(&bytes, &common),
        Form::Lines => of_lines(&bytes, &common).map(|drafts| (drafts, false)),
    };
    let parsed = if call.body.bytes.len() <= INLINE_BYTES_MAX { Some(parse()) } else { blocking(parse).await };
    let (drafts, single) = parsed.ok_or_else(|| Problem::internal("the request could not be read"))??;
    let accepted = answered(|reply| call.app.engine.accept(drafts, reply)).await?;
    Ok(taken(&accepted, single))
}

/// `POST /v1/send/{destination}`.
pub(super) async fn send(call: Call<'_>) -> Result<Answer, Problem> {
    let headers = &call.headers;
    let common = common(headers)?;
    let arc = |name: &'static str| Ok::<_, Problem>(text(headers, name)?.map(Arc::<str>::from));
    // As deliveries write them: what no header can carry stands as percent signs.
    let spelled = |name: &'static str| match text(headers, name)? {
        Some(value) => decode(value).map(|value| Some(Arc::<str>::from(value))),
        None => Ok(None),
    };
    let when = |name: &'static str| match text(headers, name)? {
        Some(value) => parse_when(value, Toward::Future, common.now)
            .map(Some)
            .map_err(|wrong| Problem::bad(format!("{name}: {wrong}"))),
        None => Ok(None),
    };
    let mut along = Headers::new();
    if let Some(sequence) = text(headers, "goniec-sequence")? {
        along.push(("goniec-sequence".into(), sequence.into()));
    }
    let envelope = Envelope {
        destination: Arc::from(call.name.as_str()),
        key: spelled("goniec-key")?,
        kind: spelled("goniec-type")?,
        content_type: arc(CONTENT_TYPE.as_str())?,
        headers: along,
        not_before: when("goniec-not-before")?,
        deadline: when("goniec-deadline")?,
        idempotency_key: common.idempotency_key.map(Arc::from),
        version: text(headers, "goniec-version")?.map(version).transpose()?,
        traceparent: common.traceparent,
    };
    let after = text(headers, "goniec-after")?.map(keys).transpose()?.unwrap_or_default();
    let draft = Draft { envelope, after, body: Body::from(&*call.body.bytes) };
    match answered(|reply| call.app.engine.accept(vec![draft], reply)).await {
        Ok(accepted) => Ok(taken(&accepted, true)),
        Err(error @ Error::UnknownDestination { .. }) => Err(Problem::no_destination(&error)),
        Err(error) => Err(error.into()),
    }
}

/// The yes, and whether it was said before.
pub(super) fn taken(accepted: &Accepted, single: bool) -> Answer {
    let mut answer = json(StatusCode::ACCEPTED, render::ids(&accepted.ids, single));
    if accepted.is_replay {
        answer.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    answer
}

/// An idempotency key, as a header writes it: a string in quotes, or, as many send it, the bare word.
fn idempotency_key(text: &str) -> Result<String, Problem> {
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(unescaped);
    match quoted.unwrap_or_else(|| text.to_owned()) {
        key if key.is_empty() => Err(Problem::bad("the header idempotency-key is empty")),
        key => Ok(key),
    }
}

/// What stands between quotes, where it is well-formed: only quotes and backslashes are escaped.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return None,
            '\\' => plain.push(letters.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// The version of a key's value, as a header writes it.
fn version(text: &str) -> Result<u64, Problem> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| is_plain)
        .ok_or_else(|| Problem::bad(format!("goniec-version: {text:?} is no whole number from 0 to {}", u64::MAX)))
}

/// The keys that a message waits for, as a header writes them: apart by commas, and each as a key is.
fn keys(text: &str) -> Result<Vec<Arc<str>>, Problem> {
    text.split(',').map(|key| decode(key.trim()).map(Arc::from)).collect()
}

/// The wall clock, read at this edge.
pub(super) fn now() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Problem::bad(format!("the header {name} is given twice")));
    }
    value
        .map(|value| std::str::from_utf8(value.as_bytes()))
        .transpose()
        .map_err(|_| Problem::bad(format!("the header {name} is not UTF-8")))
}

fn common(headers: &HeaderMap) -> Result<Common, Problem> {
    Ok(Common {
        now: now(),
        idempotency_key: text(headers, "idempotency-key")?.map(idempotency_key).transpose()?,
        traceparent: text(headers, "traceparent")?.map(Arc::from),
    })
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let Some(content_type) = text(headers, CONTENT_TYPE.as_str())? else { return Ok(Form::Json) };
    if is_json(content_type) {
        return Ok(Form::Json);
    }
    match essence(content_type).as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(Form::Lines)
        }
        other => Err(Problem::unsupported(
            format!("envelopes come as application/json or application/x-ndjson, not as {other:?}"),
            "Send `content-type: application/json`, or the bare body to /v1/send/DESTINATION.",
        )),
    }
}

/// One envelope or an array of them; whether it was one.
fn of_json(bytes: &[u8], common: &Common) -> Result<(Vec<Draft>, bool), Problem> {
    let wrong = |error: &serde_json::Error| Problem::bad(format!("the JSON is not well-formed: {error}"));
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        let handed: Handed = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
        let mut draft = handed.draft(common.now, common.traceparent.as_ref()).map_err(Problem::bad)?;
        let own = draft.envelope.idempotency_key.take();
        draft.envelope.idempotency_key = own.or_else(|| common.idempotency_key.as_deref().map(Arc::from));
        return Ok((vec![draft], true));
    }
    let Array(handed) = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    let count = within(handed.len())?;
    let mut drafts = Vec::with_capacity(count);
    for (number, one) in (1..).zip(handed) {
        drafts.push(
            one.draft(common.now, common.traceparent.as_ref())
                .map_err(|what| Problem::bad(format!("item {number}: {what}")))?,
        );
    }
    Ok((named(drafts, common), false))
}

/// One envelope a line; empty lines are passed over.
fn of_lines(bytes: &[u8], common: &Common) -> Result<Vec<Draft>, Problem> {
    let mut drafts = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |error: serde_json::Error| {
            Problem::bad(format!("line {number}, column {}: {}", error.column(), without_place(&error)))
        };
        let handed: Handed = serde_json::from_slice(line).map_err(wrong)?;
        let draft = handed.draft(common.now, common.traceparent.as_ref());
        drafts.push(draft.map_err(|what| Problem::bad(format!("line {number}: {what}")))?);
        within(drafts.len())?;
    }
    within(drafts.len())?;
    Ok(named(drafts, common))
}

/// The messages of a batch, each known by the key of the request, its number and how many they are. The first is looked up by the key
/// alone, so that any other request with the key meets it and is seen to be another one.
fn named(mut drafts: Vec<Draft>, common: &Common) -> Vec<Draft> {
    let Some(key) = &common.idempotency_key else { return drafts };
    let count = drafts.len();
    for (number, draft) in (1..).zip(&mut drafts) {
        let name = if number == 1 { key.clone() } else { format!("{key}{KEY_PART}{number}") };
        draft.envelope.idempotency_key.get_or_insert_with(|| format!("{name}{KEY_PART}{count}").into());
    }
    drafts
}

fn within(count: usize) -> Result<usize, Problem> {
    match count {
        0 => Err(Problem::bad("the request has no message")),
        1..=MESSAGES_MAX => Ok(count),
        _ => Err(Problem::bad(too_many())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::handed::{DEPTH_MAX, HEADERS_MAX};

    fn common(key: Option<&str>) -> Common {
        Common { now: WallMs(1_000), idempotency_key: key.map(str::to_owned), traceparent: None }
    }

    fn one(json: &str) -> Draft {
        let (mut drafts, single) =
            of_json(json.as_bytes(), &common(None)).unwrap_or_else(|no| panic!("{json}: {no:?}"));
        assert!(single);
        drafts.remove(0)
    }

    fn check_bad(result: Result<Vec<Draft>, Problem>, says: &str) {
        let problem = format!("{:?}", result.expect_err(says));
        assert!(problem.contains(says), "{says}: {problem}");
    }

    fn json_of(json: &str) -> Result<Vec<Draft>, Problem> {
        of_json(json.as_bytes(), &common(None)).map(|(drafts, _)| drafts)
    }

    #[test]
    fn a_body_is_its_own_text_untouched() {
        for (body, bytes, content_type) in [
            (r#"{ "b" : 1.0,  "a":1e2 }"#, r#"{ "b" : 1.0,  "a":1e2 }"#, "application/json"),
            ("[1, 2]", "[1, 2]", "application/json"),
            ("12.50", "12.50", "application/json"),
            ("false", "false", "application/json"),
            (r#""za\u017c\n""#, "zaż\n", "text/plain; charset=utf-8"),
            (r#""""#, "", "text/plain; charset=utf-8"),
        ] {
            let draft = one(&format!(r#"{{"destination":"a","body":{body}}}"#));
            assert_eq!(&*draft.body, bytes.as_bytes());
            assert_eq!(draft.envelope.content_type.as_deref(), Some(content_type));
        }
        assert_eq!(&*one(r#"{"destination":"a","body_base64":"AP8="}"#).body, [0, 255]);
    }

    #[test]
    fn every_field_reaches_the_draft() {
        let draft =
            one(r#"{"destination":"erp","body":1,"key":"k","type":"t","content_type":"x/y","headers":{"X-A":"1"},
                "not_before":"1s","deadline":"1970-01-01T00:01:00Z","idempotency_key":"i","version":7}"#);
        let envelope = draft.envelope;
        assert_eq!(
            (&*envelope.destination, envelope.key.as_deref(), envelope.kind.as_deref()),
            ("erp", Some("k"), Some("t"))
        );
        assert_eq!(envelope.content_type.as_deref(), Some("x/y"));
        assert_eq!(envelope.headers, [("x-a".to_owned(), "1".to_owned())]);
        assert_eq!((envelope.not_before, envelope.deadline), (Some(WallMs(2_000)), Some(WallMs(60_000))));
        assert_eq!((envelope.idempotency_key.as_deref(), envelope.version), (Some("i"), Some(7)));
    }

    #[test]
    fn a_key_for_the_request_names_each_message() {
        let lines =
            b"{\"destination\":\"a\",\"body\":1}\n\n{\"destination\":\"a\",\"body\":2,\"idempotency_key\":\"own\"}\n";
        let drafts = of_lines(lines, &common(Some("k"))).expect("two lines");
        let keys: Vec<_> = drafts.iter().map(|draft| draft.envelope.idempotency_key.as_deref()).collect();
        assert_eq!(keys, [Some("k\u{1f}2"), Some("own")]);
        let (single, _) = of_json(b"{\"destination\":\"a\",\"body\":1}", &common(Some("k"))).expect("one");
        assert_eq!(single.first().and_then(|draft| draft.envelope.idempotency_key.as_deref()), Some("k"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check_bad(json_of("{\n\"destination\": oops}"), "line 2 column");
        check_bad(json_of(r#"{"destination":"a"}"#), "no body");
        check_bad(json_of(r#"{"destination":"a","body":null}"#), "no body");
        check_bad(json_of(r#"{"destination":"a","bdy":1}"#), "unknown field `bdy`");
        check_bad(
            json_of(r#"[{"destination":"a","body":1},{"destination":"a","body":1,"deadline":"15"}]"#),
            "item 2: deadline",
        );
        check_bad(json_of("[]"), "no message");
        check_bad(json_of("17"), "an envelope");
        check_bad(json_of("\"\u{0}"), "the JSON");
        check_bad(
            of_json(b"{\"destination\":\"\xff\",\"body\":1}", &common(None)).map(|(drafts, _)| drafts),
            "unicode",
        );
        check_bad(
            of_lines(b"{\"destination\":\"a\",\"body\":1}\n{\"destination\"}", &common(None)),
            "line 2, column 15",
        );
        for name in ["host", "Webhook-Id", "a b", ""] {
            check_bad(json_of(&format!(r#"{{"destination":"a","body":1,"headers":{{"{name}":"x"}}}}"#)), "header");
        }
        check_bad(json_of(r#"{"destination":"a","body":1,"headers":{"x":"a\r\nb"}}"#), "cannot be sent");
        check_bad(json_of(r#"{"destination":"a","body":1,"content_type":"a/b\r\nx: y"}"#), "cannot be sent");
    }

    #[test]
    fn a_bomb_of_brackets_is_refused() {
        let nested =
            |depth: usize| format!(r#"{{"destination":"a","body":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(json_of(&nested(DEPTH_MAX)).is_ok());
        check_bad(json_of(&nested(DEPTH_MAX + 1)), "nested");
        assert!(json_of(&format!(r#"{{"destination":"a","body":["{}\"["]}}"#, "[".repeat(500))).is_ok());
    }

    #[test]
    fn there_is_a_most_of_messages() {
        let lines = "{\"destination\":\"a\",\"body\":1}\n".repeat(MESSAGES_MAX + 1);
        check_bad(of_lines(lines.as_bytes(), &common(None)), "more than the 10000");
        // An array is read no further than that: what would come after it is not even well-formed.
        let one = r#"{"destination":"a","body":1}"#;
        let array = |count: usize, end: &str| format!("[{}{end}", vec![one; count].join(","));
        assert_eq!(json_of(&array(MESSAGES_MAX, "]")).map(|drafts| drafts.len()).ok(), Some(MESSAGES_MAX));
        check_bad(json_of(&array(MESSAGES_MAX + 1, ",oops")), "more than the 10000");
    }

    #[test]
    fn there_is_a_most_of_headers() {
        let with = |count: usize, end: &str| {
            let headers: Vec<String> = (0..count).map(|n| format!("\"x-{n}\":\"\"")).collect();
            format!("{{\"destination\":\"a\",\"body\":1,\"headers\":{{{}{end}", headers.join(","))
        };
        assert!(json_of(&with(HEADERS_MAX, "}}")).is_ok());
        check_bad(json_of(&with(HEADERS_MAX + 1, ",oops")), "more than 64 headers");
    }
}
