//! The nouns: what a caller hands in, what a transport sees, what the registry shows.
//!
//! A body is bytes; nothing here looks into it. What never changes after acceptance sits in the [`Envelope`].
//!
//! # What it does not know
//!
//! How any of it is stored or sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{Id, Place};
use super::phases::Phases;
use super::policy::{Class, Delivery, Sent};
use super::state::State;
use super::time::WallMs;

/// The bytes of a message, shared and never changed.
pub type Body = Arc<[u8]>;

/// Headers that travel with a message: names in lower case, in the order given.
pub type Headers = Vec<(String, String)>;

/// Everything about a message but its body and its life. Fixed at acceptance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The name of the destination.
    pub destination: Arc<str>,
    /// The business key (`sku:4711`).
    pub key: Option<Arc<str>>,
    /// The type (`order.created`).
    pub kind: Option<Arc<str>>,
    /// The content type of the body as accepted.
    pub content_type: Option<Arc<str>>,
    /// Headers to send along.
    pub headers: Headers,
    /// Not to be sent before this time.
    pub not_before: Option<WallMs>,
    /// Of no use after this time.
    pub deadline: Option<WallMs>,
    /// What makes a repetition of the same request recognisable.
    pub idempotency_key: Option<Arc<str>>,
    /// The version of the key's value that this message carries.
    pub version: Option<u64>,
    /// The W3C trace that the message belongs to.
    pub traceparent: Option<Arc<str>>,
}

/// A message that a caller hands in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Everything but the body.
    pub envelope: Envelope,
    /// The keys that it waits for: it goes once a message of each has been delivered to the same destination.
    pub after: Vec<Arc<str>>,
    /// The bytes to deliver.
    pub body: Body,
}

/// An accepted message, as a transport sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name, the same on every attempt.
    pub id: Id,
    /// The number of this attempt, from 1; 0 while none is under way.
    pub attempt: u16,
    /// The number of its body: 1 as accepted, one more with every edit.
    pub revision: u16,
    /// Everything but the body.
    pub envelope: Arc<Envelope>,
    /// The content type of the body now: an edit may have changed it.
    pub content_type: Option<Arc<str>>,
    /// The bytes to deliver: the newest revision.
    pub body: Body,
}

impl Message {
    /// Begins a message to the destination of this name.
    #[must_use]
    pub fn to(destination: impl Into<Arc<str>>) -> Draft {
        let envelope = Envelope { destination: destination.into(), ..Envelope::default() };
        Draft { envelope, after: Vec::new(), body: Arc::from([]) }
    }

    /// The bytes to deliver.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its name, the same on every attempt.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The business key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.envelope.key.as_deref()
    }
}

impl Draft {
    /// Sets the bytes to deliver.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Draft {
        self.body = body.into();
        self
    }

    /// Sets the business key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Draft {
        self.envelope.key = Some(key.into());
        self
    }

    /// Sets the version of the key's value.
    #[must_use]
    pub fn version(mut self, version: u64) -> Draft {
        self.envelope.version = Some(version);
        self
    }

    /// Adds a key of the same destination: it goes once a message of that key has been delivered.
    #[must_use]
    pub fn after(mut self, key: impl Into<Arc<str>>) -> Draft {
        self.after.push(key.into());
        self
    }

    /// Sets the type.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Arc<str>>) -> Draft {
        self.envelope.kind = Some(kind.into());
        self
    }

    /// Sets the content type of the body.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Arc<str>>) -> Draft {
        self.envelope.content_type = Some(content_type.into());
        self
    }

    /// Adds a header to send along.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Draft {
        self.envelope.headers.push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// Does not send it before this time.
    #[must_use]
    pub fn not_before(mut self, at: WallMs) -> Draft {
        self.envelope.not_before = Some(at);
        self
    }

    /// Gives it up as expired after this time.
    #[must_use]
    pub fn deadline(mut self, at: WallMs) -> Draft {
        self.envelope.deadline = Some(at);
        self
    }
}

/// One message as the registry shows it, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: Id,
    /// Where it lies in this registry.
    pub place: Place,
    /// Everything fixed at acceptance.
    pub envelope: Arc<Envelope>,
    /// The content type of the newest revision.
    pub content_type: Option<Arc<str>>,
    /// Where it stands. The store never shows [`State::Sending`] but for durable claims; who is out is the engine's to say.
    pub state: State,
    /// How many attempts it had in all.
    pub attempts: u16,
    /// How many attempts it had since it was accepted, amended or last resent.
    pub series: u16,
    /// The number of its body: 1 as accepted, one more with every edit.
    pub revision: u16,
    /// The bytes of the newest revision; `None` after retention removed the body.
    pub body_bytes: Option<u64>,
    /// When its state last changed.
    pub updated_at: WallMs,
    /// The last failure's class and status, or the delivery's status.
    pub last: Told,
    /// The message that this one superseded.
    pub supersedes: Option<Id>,
    /// What the destination calls it, where it is delivered and the answer was asked for that.
    pub remote_id: Option<String>,
}

impl Record {
    /// Where the message stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }
}

/// What the last attempt is remembered by in the status itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The class of the last failure.
    pub class: Option<Class>,
    /// The last HTTP status.
    pub status: Option<u16>,
}

/// One try, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u16,
    /// The revision of the message that was sent.
    pub revision: u16,
    /// When it began.
    pub started_at: WallMs,
    /// How long it took.
    pub duration_ms: u32,
    /// How it ended.
    pub outcome: Delivery,
    /// What kind of failure it was; `None` where it was delivered.
    pub class: Option<Class>,
    /// Whether bytes had left.
    pub sent: Sent,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// What happened, in words.
    pub detail: String,
    /// The beginning of the answer.
    pub response_excerpt: Option<String>,
    /// What the destination calls the thing now, where it was delivered and the answer was asked for that. A store writes it beside the rest.
    #[serde(skip)]
    pub remote_id: Option<String>,
    /// What its time was spent on, where it was a request. A store writes it beside the rest.
    #[serde(skip)]
    pub phases: Option<Phases>,
}
