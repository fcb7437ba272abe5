//! Many messages in one request: as a JSON array, as lines of JSON, as a batch of CloudEvents, or as a template makes them.
//!
//! # What holds
//!
//! * The same messages in the same order are the same batch: `webhook-id` and `idempotency-key` are named after the ids of those that go.
//! * A message that does not fit the format is refused by itself, before anything leaves, and the others go.
//! * What the answer says of single messages counts only where the request was a yes. A conflict of several is none: each of them may be new.
//!
//! # What it does not know
//!
//! Who goes together, and when.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::exchange::Time;
use super::{Http, headers, judged};
use crate::model::{Class, Failure, Id, Message, Outcome, Sent};
use crate::transport::Batched;
use crate::transport::answer::Results;
use crate::transport::shape::Shape;

/// How messages are put together.
#[derive(Debug, Default)]
pub enum Format {
    /// A JSON array of their bodies.
    #[default]
    JsonArray,
    /// A line of JSON for each.
    Ndjson,
    /// The JSON batch format of CloudEvents 1.0, with this `source`.
    CloudEvents(String),
    /// What a template or a filter makes of `{messages}`.
    Template(Shape),
}

/// How messages are put together, and what an answer says of each.
#[derive(Debug, Default)]
pub(super) struct Batching {
    pub(super) format: Format,
    /// `None` where the answer is the answer to all of them.
    pub(super) results: Option<Results>,
}

/// What is wanted of an answer, and of how many it is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants {
    /// Its body, where it says yes.
    pub(super) body: bool,
    /// It answers several messages.
    pub(super) is_of_many: bool,
}

/// A message as CloudEvents has it.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// The type of an event whose message has none; CloudEvents wants one.
const KIND: &str = "goniec.message";

impl Http {
    /// Puts messages together so, and reads what the answer says of each by these results; without them it is the answer to all.
    #[must_use]
    pub fn batch(mut self, format: Format, results: Option<Results>) -> Http {
        self.batching = Batching { format, results };
        self
    }

    pub(super) fn deliver_batch(&self, messages: &[Message], deadline: Duration) -> Batched {
        let refused = |problem: String| Outcome::Failed(Failure::new(Class::Template, Sent::No, problem));
        let parts: Vec<Result<Vec<u8>, String>> = messages.iter().map(|message| self.part(message)).collect();
        let mut each: Vec<Option<Outcome>> =
            parts.iter().map(|part| part.as_ref().err().cloned().map(refused)).collect();
        let going: Vec<&Message> =
            messages.iter().zip(&each).filter(|(_, own)| own.is_none()).map(|(message, _)| message).collect();
        if going.is_empty() {
            return Batched { request: refused("nothing of it can be sent".into()), each };
        }
        let id = Id::of_batch(going.iter().map(|message| message.id));
        let parts: Vec<Vec<u8>> = parts.into_iter().flatten().collect();
        match self.ask_batch(id, &going, &parts, deadline) {
            Err(failure) => Batched { request: Outcome::Failed(failure), each },
            Ok((request, None)) => Batched { request, each },
            Ok((request, Some(own))) => {
                let waiting = each.iter_mut().filter(|own| own.is_none());
                waiting.zip(own).for_each(|(waiting, own)| *waiting = Some(own));
                Batched { request, each }
            }
        }
    }

    /// A message as a part of its batch.
    fn part(&self, message: &Message) -> Result<Vec<u8>, String> {
        let shaped = self.shape.as_ref().map(|shape| shape.apply(message)).transpose()?;
        let body = shaped.as_deref().unwrap_or(&message.body);
        match &self.batching.format {
            Format::JsonArray => Ok(json(body)?.get().as_bytes().to_vec()),
            // No text of JSON has a raw line break in it; they stand between its parts only.
            Format::Ndjson => Ok(json(body)?.get().replace(['\n', '\r'], "").into_bytes()),
            Format::CloudEvents(source) => {
                let made = self.shape.as_ref().map(Shape::content_type);
                event(message, made.or(message.content_type.as_deref()), body, source)
            }
            Format::Template(_) => Ok(Vec::new()),
        }
    }

    /// How the request ended, and what its answer says of each message, where it is asked for that.
    fn ask_batch(
        &self,
        id: Id,
        going: &[&Message],
        parts: &[Vec<u8>],
        deadline: Duration,
    ) -> Result<(Outcome, Option<Vec<Outcome>>), Failure> {
        let (target, time) = (self.target()?, Time::begin(deadline));
        let (body, content_type) = match &self.batching.format {
            Format::JsonArray => (enclosed(parts), "application/json"),
            Format::CloudEvents(_) => (enclosed(parts), "application/cloudevents-batch+json"),
            Format::Ndjson => {
                (parts.iter().flat_map(|part| [part, &b"\n"[..]]).flatten().copied().collect(), "application/x-ndjson")
            }
            Format::Template(shape) => {
                let made =
                    shape.apply_all(id, going).map_err(|problem| Failure::new(Class::Template, Sent::No, problem))?;
                (made, shape.content_type())
            }
        };
        let id = id.to_string();
        let make = |pass: Option<&_>| {
            let headers = headers::of_batch(&self.fixed, &id, going.len(), content_type, time.now)?;
            self.request(target, headers, || id.clone(), &body, pass, time.now)
        };
        let answer = self.exchange(&target.peer, time, make)?;
        let status = answer.status().as_u16();
        let results = self.batching.results.as_ref();
        let wants = Wants { body: results.is_some(), is_of_many: going.len() > 1 };
        let (request, body) = judged(&self.answers, answer, &target.peer, time.now, wants);
        let each = results.filter(|_| matches!(request, Outcome::Delivered(_)));
        let phases = request.phases();
        let each = each.map(|results| results.each(status, body.as_deref(), going));
        Ok((request, each.map(|each| each.into_iter().map(|own| own.over(phases)).collect())))
    }
}

fn enclosed(parts: &[Vec<u8>]) -> Vec<u8> {
    [b"[", &*parts.join(&b","[..]), b"]"].concat()
}

fn json(body: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("its body is not JSON, and this destination takes JSON: {error}"))
}

fn event(message: &Message, content_type: Option<&str>, body: &[u8], source: &str) -> Result<Vec<u8>, String> {
    let is_json = content_type.is_none_or(|name| name.to_ascii_lowercase().contains("json"));
    let data = if is_json { json(body).ok() } else { None };
    let event = Event {
        specversion: "1.0",
        id: message.id.to_string(),
        source,
        kind: message.envelope.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or(KIND),
        subject: message.key().filter(|key| !key.is_empty()),
        time: message.id.accepted_at().rfc3339(),
        datacontenttype: content_type,
        data_base64: (data.is_none() && !body.is_empty()).then(|| STANDARD.encode(body)),
        data,
    };
    serde_json::to_vec(&event).map_err(|error| error.to_string())
}
