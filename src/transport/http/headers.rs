//! The headers of a delivery: ours, the destination's, the message's.
//!
//! Ours win over the destination's, and the destination's over the message's: a sender cannot change who goniec is, where a message
//! goes or what authorises it.
//!
//! # What holds
//!
//! * The names that frame a request ([`RESERVED`]) and the prefixes `webhook-` and `goniec-` are set here or not at all;
//!   `goniec-sequence` alone passes, as senders number their messages with it.
//! * A key or type that is more than visible ASCII travels percent-encoded (UTF-8, `%` too), so that any text arrives whole.
//! * A trace that came with the message goes on with a span of this attempt; a message without one begins one, named after its id
//!   and not sampled, because goniec exports no spans.
//!
//! # What it does not know
//!
//! Which clock `now` came from.

use ureq::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::model::percent::escape_but;
use crate::model::policy::scatter;
use crate::model::{Message, WallMs};

/// Headers that frame a request or a connection: nobody but the transport sets them.
pub const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What each delivery says of itself.
const OURS: [&str; 2] = ["idempotency-key", "traceparent"];

/// The only header of a reserved prefix that a sender may set.
const SEQUENCE: &str = "goniec-sequence";

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const GONIEC_BATCH: HeaderName = HeaderName::from_static("goniec-batch");
const GONIEC_ATTEMPT: HeaderName = HeaderName::from_static("goniec-attempt");
const GONIEC_KEY: HeaderName = HeaderName::from_static("goniec-key");
const GONIEC_TYPE: HeaderName = HeaderName::from_static("goniec-type");

/// Whether a header of this name is left out of deliveries, because it is not the sender's to set.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    RESERVED.iter().chain(&OURS).any(|other| is(other)) || begins("webhook-") || (begins("goniec-") && !is(SEQUENCE))
}

/// Whether a header can be sent at all: its name is a token, its value has no line break and no NUL.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    pair(name, value).map(|_| ())
}

/// The header as it is sent.
pub(super) fn pair(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let shown: String = name.chars().take(64).collect();
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{shown:?} is not a header name"))?;
    let value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        .map_err(|_| format!("the value of header {shown:?} has a character that cannot be sent"))?;
    Ok((name, value))
}

/// Every header of one attempt at `message`, over the destination's own.
pub(super) fn of_delivery(fixed: &HeaderMap, message: &Message, now: WallMs) -> Result<HeaderMap, String> {
    let mut headers = fixed.clone();
    let envelope = &message.envelope;
    if let Some(content_type) = message.content_type.as_deref().filter(|_| !fixed.contains_key(CONTENT_TYPE)) {
        headers.insert(CONTENT_TYPE, pair("content-type", content_type)?.1);
    }
    for (name, value) in envelope.headers.iter().filter(|(name, _)| !is_reserved(name)) {
        let (name, value) = pair(name, value)?;
        if name != CONTENT_TYPE && !fixed.contains_key(&name) {
            headers.append(name, value);
        }
    }
    let id = HeaderValue::from_str(&id(message)).map_err(|error| error.to_string())?;
    headers.insert(WEBHOOK_ID, id.clone());
    headers.insert(IDEMPOTENCY_KEY, id);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now.0 / 1_000));
    headers.insert(GONIEC_ATTEMPT, HeaderValue::from(message.attempt));
    if let Some(key) = &envelope.key {
        headers.insert(GONIEC_KEY, encoded(key)?);
    }
    if let Some(kind) = &envelope.kind {
        headers.insert(GONIEC_TYPE, encoded(kind)?);
    }
    headers.insert(TRACEPARENT, traceparent(message)?);
    Ok(headers)
}

/// Every header of a request with so many messages, over the destination's own. Those of single messages do not go along.
pub(super) fn of_batch(
    fixed: &HeaderMap,
    id: &str,
    count: usize,
    content_type: &str,
    now: WallMs,
) -> Result<HeaderMap, String> {
    let mut headers = fixed.clone();
    if !fixed.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, pair("content-type", content_type)?.1);
    }
    let id = HeaderValue::from_str(id).map_err(|error| error.to_string())?;
    headers.insert(WEBHOOK_ID, id.clone());
    headers.insert(IDEMPOTENCY_KEY, id);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now.0 / 1_000));
    headers.insert(GONIEC_BATCH, HeaderValue::from(count));
    Ok(headers)
}

/// The id as it is sent, and signed.
pub(super) fn id(message: &Message) -> String {
    uuid::Uuid::from_bytes(message.id.to_bytes()).hyphenated().to_string()
}

fn encoded(text: &str) -> Result<HeaderValue, String> {
    let written = escape_but(text, |byte| byte.is_ascii_graphic() && byte != b'%');
    HeaderValue::from_str(&written).map_err(|error| error.to_string())
}

/// The W3C trace context of this attempt.
fn traceparent(message: &Message) -> Result<HeaderValue, String> {
    let id = u128::from_be_bytes(message.id.to_bytes());
    let low = u64::try_from(id & u128::from(u64::MAX)).unwrap_or(1);
    // A span of zero means "none" to the standard.
    let span = scatter(low ^ scatter(u64::from(message.attempt))).max(1);
    let text = match message.envelope.traceparent.as_deref().and_then(parts) {
        Some((trace, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{id:032x}-{span:016x}-00"),
    };
    HeaderValue::from_str(&text).map_err(|error| error.to_string())
}

/// The trace id and the flags of a well-formed `traceparent`.
fn parts(text: &str) -> Option<(&str, &str)> {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_some = |part: &str| part.bytes().any(|byte| byte != b'0');
    let mut fields = text.trim().split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_whole = is_hex(version, 2) && version != "ff" && (version != "00" || fields.next().is_none());
    let is_sound = is_hex(trace, 32) && is_some(trace) && is_hex(span, 16) && is_some(span) && is_hex(flags, 2);
    (is_whole && is_sound).then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Draft, Id, NodeTag, Place};

    fn message(draft: Draft) -> Message {
        Message {
            id: Id::compose(WallMs(1_790_000_000_123), NodeTag::new(1), Place::new(2, 3)),
            attempt: 7,
            revision: 1,
            content_type: draft.envelope.content_type.clone(),
            envelope: draft.envelope.into(),
            body: draft.body,
        }
    }

    fn sent(draft: Draft) -> HeaderMap {
        let mut fixed = HeaderMap::new();
        fixed.insert("authorization", HeaderValue::from_static("Bearer ours"));
        of_delivery(&fixed, &message(draft), WallMs(1_790_000_001_999)).expect("headers")
    }

    fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().expect("text"))
    }

    #[test]
    fn a_delivery_says_what_it_is() {
        let headers = sent(Message::to("erp").key("order:17").kind("order.created").content_type("application/json"));
        let id = text(&headers, "webhook-id").expect("an id").to_owned();
        assert_eq!(id.parse::<Id>().expect("an id").accepted_at(), WallMs(1_790_000_000_123));
        assert_eq!(text(&headers, "idempotency-key"), Some(id.as_str()));
        for (name, value) in [
            ("webhook-timestamp", "1790000001"),
            ("goniec-attempt", "7"),
            ("goniec-key", "order:17"),
            ("goniec-type", "order.created"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(text(&headers, name), Some(value), "{name}");
        }
        let trace = text(&headers, "traceparent").expect("a trace");
        assert_eq!(trace.get(3..35).map(str::to_owned), Some(id.replace('-', "")));
        assert!(parts(trace).is_some(), "{trace}");
    }

    #[test]
    fn a_message_cannot_set_what_is_not_its_own() {
        let headers = sent(
            Message::to("erp")
                .header("Host", "evil")
                .header("Content-Length", "1")
                .header("Transfer-Encoding", "chunked")
                .header("Webhook-Id", "evil")
                .header("goniec-attempt", "1")
                .header("Authorization", "evil")
                .header("X-Shop", "one")
                .header("x-shop", "two")
                .header("goniec-sequence", "run/9"),
        );
        for name in ["host", "content-length", "transfer-encoding"] {
            assert_eq!(text(&headers, name), None, "{name}");
        }
        assert!(!headers.values().any(|value| value == "evil"));
        assert_eq!(headers.get_all("x-shop").iter().count(), 2);
        assert_eq!(text(&headers, "goniec-sequence"), Some("run/9"));
        assert_eq!(text(&headers, "authorization"), Some("Bearer ours"));
    }

    #[test]
    fn any_key_arrives_whole() {
        let headers = sent(Message::to("erp").key("zamówienie 100%\r\n"));
        assert_eq!(text(&headers, "goniec-key"), Some("zam%C3%B3wienie%20100%25%0D%0A"));
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own_and_a_bad_one_does_not() {
        let own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = |text: &str| {
            let mut draft = Message::to("erp");
            draft.envelope.traceparent = Some(text.into());
            sent(draft).get("traceparent").expect("a trace").to_str().expect("text").to_owned()
        };
        let child = trace(own);
        assert!(child.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && child.ends_with("-01"), "{child}");
        assert!(!child.contains("00f067aa0ba902b7"));
        for bad in ["", "00-x", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-4b-00-01"] {
            assert!(trace(bad).ends_with("-00"), "{bad:?}");
        }
    }

    #[test]
    fn what_would_break_a_request_is_not_sent() {
        for (name, value) in [("x y", "1"), ("", "1"), ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\0")] {
            assert!(check(name, value).is_err(), "{name:?} {value:?}");
        }
        assert_eq!(check("x-name", "zażółć"), Ok(()));
        let broken = Message::to("erp").header("x", "a\r\nb: c");
        assert!(of_delivery(&HeaderMap::new(), &message(broken), WallMs(0)).is_err());
    }
}
