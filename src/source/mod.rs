//! What others hand in by themselves: whose it is, what it is, and where it goes.
//!
//! ```text
//! POST /v1/in/{source} ─▶ proved over the raw bytes ─▶ key, type, delivery id ─▶ routes ─▶ one message for each destination
//!                                                                                   └─▶ unrouted: kept, and told
//! GET in each cycle (`pull`) ─▶ items ─▶ the same
//! ```
//!
//! # What holds
//!
//! * Nothing of a body is looked at before its sender is believed. One question alone is answered unproved: whether somebody listens.
//! * What is believed becomes a message: for each destination that a route names, or for [`UNROUTED`], where it rests abandoned with the reason,
//!   is told like everything else that rests so, and goes its way when it is sent again after the routes were mended.
//! * A delivery that comes again under the same id with the same body is taken once for each destination; where the id alone names it, as with
//!   Stripe, Standard Webhooks and events, whatever its body is by then. Where nothing names it, a signed time does, with the body: who has read
//!   such a delivery cannot have it taken again.
//!
//! # What it does not know
//!
//! HTTP, and when something is durable.

mod content;
mod event;
pub(crate) mod handed;
mod keeper;
mod peer;
mod pick;
mod preset;
mod pull;
mod route;
mod spool;
mod stream;
mod tally;
mod unrouted;
mod watch;

use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::{HEADER_BYTES_MAX, MESSAGES_MAX, Received, VERSIONED_KEY_BYTES_MAX, WORD_BYTES_MAX};
use crate::model::ledger::{self, SOURCE_HEADER, is_of_ledger};
use crate::model::percent::hex;
use crate::model::ranges::{self, Question};
use crate::model::{Body, Draft, Envelope, Headers};
use crate::store::KEY_OF_ALL;
use crate::transport::filter::Filter;
use crate::transport::secret::{Came, Disproof, Proof, digest};

use self::content::Content;
use self::event::Event;
pub use self::event::Events;
pub use self::keeper::{EVERY_MS, Keeper, Ledgers, Numbered, Word};
pub use self::peer::{Peer, is_set_back};
pub use self::pick::Pick;
pub use self::preset::{PRESET_NAMES, Preset, Signs, Standing};
pub use self::pull::{
    Asker, CURSOR_BYTES_MAX, ITEMS_MAX, Items, Memory, PAGES_MAX, Pull, PullRule, PullShown, PullState,
};
pub use self::route::Route;
pub use self::spool::{Aside, Spool, Spooler, Status as SpoolStatus};
pub use self::stream::answer;
pub use self::tally::{Tally, Verdict};
pub use self::unrouted::Unrouted;
pub use self::watch::{SILENT_MS, Watch};

/// The destination of what no route takes.
pub const UNROUTED: &str = "unrouted";
/// The headers of one that rests because these words, which did not stand in its body, are too long to be kept: how many bytes they had.
const LONG_TYPE: &str = "goniec-long-type";
const LONG_KEY: &str = "goniec-long-key";
/// Before the time that names a delivery: no id of a sender is taken for one.
const SIGNED_AT: &str = "\u{1f}signed ";

/// A system that hands messages in.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: Arc<str>,
    /// How it proves who it is.
    pub proof: Proof,
    /// The type of what it sends.
    pub kind: Pick,
    /// The business key, out of the body.
    pub key: Option<Filter>,
    /// The version of the key's value, out of the body.
    pub version: Option<Filter>,
    /// The sender's id of a delivery.
    pub delivery: Pick,
    /// Headers that a message takes along, in lower case.
    pub headers: Vec<String>,
    /// The status of the answer to what was taken.
    pub status: u16,
    /// Whether the sender's id alone names a delivery, whatever comes under it.
    pub is_id_enough: bool,
    /// In which forms it may send CloudEvents.
    pub events: Events,
    /// Whether it asks first, unsigned, whether somebody listens.
    pub pings: bool,
    /// Whether it is another registry, which sends by number.
    pub is_stream: bool,
    /// What became of what it sent.
    pub tally: Tally,
    /// Where its files come, if it hands in files.
    pub spool: Option<Spool>,
}

/// The systems that hand in, and which of their messages go where.
#[derive(Debug, Default)]
pub struct Sources {
    /// The systems.
    pub sources: Vec<Arc<Source>>,
    /// Which messages go where, in the order of the configuration.
    pub routes: Vec<Route>,
    /// Those of the systems that are asked, and do not hand in by themselves.
    pub pulls: Vec<Arc<Pull>>,
    /// The destinations where the latest wins: a key has fewer bytes there beside a version.
    pub latest: HashSet<Arc<str>>,
}

/// What a delivery comes to.
#[derive(Debug)]
pub enum Taken {
    /// The sender only wants to know whether somebody listens.
    Ping,
    /// These messages are to be accepted, all or none.
    Drafts(Vec<Draft>),
    /// Another registry sends this by a stream.
    Stream(Received),
    /// Another registry asks how its stream looks here.
    Question(Question),
}

/// Why nothing is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It may be from somebody else.
    Disbelieved(Disproof),
    /// It says that it is an event, and is none: in words.
    Malformed(String),
    /// It is no frame of a stream: in words.
    NoFrame(String),
}

/// One thing that came, and is believed.
struct Arrived<'a> {
    body: Content<'a>,
    kind: Result<Option<Arc<str>>, String>,
    /// Its key, where the source says no other.
    subject: Option<Arc<str>>,
    content_type: Option<Arc<str>>,
    headers: Headers,
    traceparent: Option<Arc<str>>,
    /// What it is known by when it comes again, before the destination.
    known_by: Option<String>,
}

/// What the body says of a message, and where it goes.
struct Plan {
    key: Option<Arc<str>>,
    version: Option<u64>,
    to: Vec<Arc<str>>,
}

/// The name of the mark that says what was, or has yet to be, told of a source.
fn told_mark(source: &str) -> String {
    format!("told/{source}")
}

/// Whether a message can have this word at all.
fn fits(word: &Arc<str>) -> bool {
    word.len() <= WORD_BYTES_MAX
}

/// That a word is too long for a message.
fn too_long(name: &str, bytes: &str) -> String {
    format!("the {name} has {bytes} bytes, {WORD_BYTES_MAX} are allowed")
}

/// Whether this header only says where a message came from.
#[must_use]
pub fn is_of_source(header: &str) -> bool {
    header == SOURCE_HEADER || is_of_ledger(header)
}

/// The source that a message came from, where one handed it in.
#[must_use]
pub fn of_source(envelope: &Envelope) -> Option<&str> {
    ledger::source_of(envelope)
}

impl Sources {
    /// The source of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| *source.name == *name)
    }

    /// How the source of this name is asked, where it is.
    #[must_use]
    pub fn pull(&self, name: &str) -> Option<&Arc<Pull>> {
        self.pulls.iter().find(|pull| *pull.name == *name)
    }

    /// Those that hand in by themselves: neither are they asked, nor do their files lie somewhere.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.iter().filter(|source| source.calls() && self.pull(&source.name).is_none())
    }

    /// What becomes of what came from a source.
    ///
    /// # Errors
    /// Why it is not believed, or is not what it says it is.
    pub fn take(&self, source: &Source, came: Came<'_>) -> Result<Taken, Refused> {
        if source.is_ping(came) {
            return Ok(Taken::Ping);
        }
        source.proof.check(came).map_err(Refused::Disbelieved)?;
        if source.is_stream && came.header("content-type") == Some(ranges::CONTENT_TYPE) {
            let question = Question::decode(came.body).map_err(|error| Refused::NoFrame(error.to_string()))?;
            return Ok(Taken::Question(question));
        }
        if source.is_stream {
            return self.receive(source, came).map(Taken::Stream);
        }
        let Some(events) = event::read(came, source.events) else {
            return Ok(Taken::Drafts(self.drafts(source, &source.body(came))));
        };
        let events = events.map_err(Refused::Malformed)?;
        let mut drafts: Vec<Draft> = Vec::new();
        let mut known = HashSet::new();
        for event in &events {
            let own = self.drafts(source, &source.event(came, event)).into_iter();
            // The same event twice in one batch is one.
            drafts.extend(own.filter(|draft| known.insert(draft.envelope.idempotency_key.clone())));
            if drafts.len() > MESSAGES_MAX {
                let many =
                    format!("a batch comes to at most {MESSAGES_MAX} messages, one for each destination of each event");
                return Err(Refused::Malformed(many));
            }
        }
        Ok(Taken::Drafts(drafts))
    }

    /// The messages of one thing that came: one for each destination.
    fn drafts(&self, source: &Source, arrived: &Arrived<'_>) -> Vec<Draft> {
        let planned = match &arrived.kind {
            Ok(kind) => self.plan(source, kind.as_deref(), arrived.subject.clone(), &arrived.body),
            Err(why) => Err(format!("the type: {why}")),
        };
        let (plan, headers) = match planned {
            Ok(plan) => (plan, going_on(&arrived.headers)),
            // Whoever asks after the key finds it there too.
            Err(_) => {
                let plan = Plan { key: source.key_of(arrived), version: None, to: vec![Arc::from(UNROUTED)] };
                (plan, arrived.headers.clone())
            }
        };
        let mut envelope = Envelope {
            key: plan.key.or_else(|| arrived.subject.clone()).filter(fits),
            version: plan.version,
            kind: arrived.kind.clone().ok().flatten().filter(fits),
            content_type: arrived.content_type.clone(),
            headers,
            traceparent: arrived.traceparent.clone(),
            ..Envelope::default()
        };
        let body = Body::from(arrived.body.bytes());
        let drafts = plan.to.into_iter().map(|to| {
            envelope.idempotency_key = arrived.known_by.as_ref().map(|known| Arc::from(format!("{known}{to}")));
            envelope.destination = to;
            Draft { envelope: envelope.clone(), after: Vec::new(), body: body.clone() }
        });
        drafts.collect()
    }

    /// The key of a message and where it goes.
    ///
    /// # Errors
    /// Why it goes nowhere, in words.
    fn plan(
        &self,
        source: &Source,
        kind: Option<&str>,
        subject: Option<Arc<str>>,
        body: &Content<'_>,
    ) -> Result<Plan, String> {
        let key = picked("key", source.key.as_ref(), body)?.map(Arc::from).or(subject);
        for (name, word) in [("key", key.as_deref()), ("type", kind)] {
            let bytes = word.map_or(0, str::len);
            if bytes > WORD_BYTES_MAX {
                return Err(too_long(name, &bytes.to_string()));
            }
        }
        let version = picked("version", source.version.as_ref(), body)?.as_deref().map(version).transpose()?;
        let to = self.destinations(source, kind, body)?;
        if to.is_empty() {
            let what = kind.map_or_else(|| "what has no type".to_owned(), |kind| format!("{kind:?}"));
            return Err(format!("no route takes {what} from {:?}", source.name));
        }
        let key_bytes = key.as_ref().map_or(0, |key| key.len());
        let latest = to.iter().find(|to| self.latest.contains(*to));
        if let Some(to) = latest.filter(|_| version.is_some() && key_bytes > VERSIONED_KEY_BYTES_MAX) {
            return Err(format!(
                "the key has {key_bytes} bytes, {VERSIONED_KEY_BYTES_MAX} are allowed beside a version for {to:?}, where the latest wins"
            ));
        }
        Ok(Plan { key, version, to })
    }

    /// Where messages of this type with this body go.
    ///
    /// # Errors
    /// A route cannot tell whether it takes them.
    fn destinations(&self, source: &Source, kind: Option<&str>, body: &Content<'_>) -> Result<Vec<Arc<str>>, String> {
        let mut to: Vec<Arc<str>> = Vec::new();
        for (number, route) in (1..).zip(&self.routes) {
            let takes = route.takes(&source.name, kind, body).map_err(|why| format!("route {number}: {why}"))?;
            to.extend(route.to.iter().filter(|_| takes).cloned());
        }
        to.sort_unstable();
        to.dedup();
        Ok(to)
    }
}

/// What a filter that must find something finds.
fn picked(name: &str, filter: Option<&Filter>, body: &Content<'_>) -> Result<Option<String>, String> {
    let Some(filter) = filter else { return Ok(None) };
    match filter.pick(body.document().map_err(|why| format!("the {name} cannot be found: {why}"))?) {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => Err(format!("the body has no {name}: {}", filter.source())),
        Err(stuck) => Err(format!("the {name} cannot be found: {stuck}")),
    }
}

/// A version, which is digits and nothing else.
fn version(text: &str) -> Result<u64, String> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_digits);
    number.ok_or_else(|| format!("the version is no whole number: {text:?}"))
}

impl Source {
    /// Whether it hands in by itself, in requests.
    #[must_use]
    pub fn calls(&self) -> bool {
        self.spool.is_none()
    }

    /// Whether this is the question of WooCommerce whether somebody listens: a form with one number, which it does not sign.
    fn is_ping(&self, came: Came<'_>) -> bool {
        let is_form = came.header("content-type").is_some_and(|is| is.starts_with("application/x-www-form-urlencoded"));
        let number = came.body.strip_prefix(b"webhook_id=");
        self.pings
            && is_form
            && number.is_some_and(|number| number.len() <= 20 && number.iter().all(u8::is_ascii_digit))
    }

    /// What came as it is.
    fn body<'a>(&self, came: Came<'a>) -> Arrived<'a> {
        let body = Content::new(came.body);
        let kind = self.kind.of(Some(came), &body);
        let long = match (&self.kind, &kind) {
            (Pick::Body(_), _) | (_, Err(_)) => None,
            (Pick::Nowhere | Pick::Header(_) | Pick::WebhookId, Ok(kind)) => long(LONG_TYPE, kind.as_ref()),
        };
        let known_by = match (self.delivery.of(Some(came), &body).ok().flatten(), self.proof.signed_time(came)) {
            (Some(id), _) => Some(self.known_by(&id, if self.is_id_enough { b"" } else { came.body })),
            (None, Some(time)) => Some(self.known_by(&format!("{SIGNED_AT}{time}"), came.body)),
            (None, None) => None,
        };
        Arrived {
            kind,
            subject: None,
            content_type: came.header("content-type").map(Arc::from).filter(fits),
            headers: self.along(came, long.into_iter().collect()),
            traceparent: came.header("traceparent").map(Arc::from).filter(fits),
            known_by,
            body,
        }
    }

    /// An event of what came.
    fn event<'a>(&self, came: Came<'_>, event: &'a Event) -> Arrived<'a> {
        let word = |name| event.attribute(name).map(Arc::from);
        let (kind, subject) = (word("type"), word("subject"));
        let long = [long(LONG_TYPE, kind.as_ref()), long(LONG_KEY, subject.as_ref())];
        Arrived {
            body: Content::new(&event.data),
            content_type: event.content_type.as_deref().map(Arc::from).filter(fits),
            headers: self.along(came, long.into_iter().flatten().chain(event.headers.iter().cloned()).collect()),
            traceparent: word("traceparent").or_else(|| came.header("traceparent").map(Arc::from)).filter(fits),
            known_by: Some(self.known_by(&event.name(), b"")),
            kind: Ok(kind),
            subject,
        }
    }

    /// The key in the body, where one is found.
    fn key_of(&self, arrived: &Arrived<'_>) -> Option<Arc<str>> {
        let found = self.key.as_ref()?.pick(arrived.body.document().ok()?);
        found.ok().flatten().map(Arc::from)
    }

    /// The headers that a message takes along: those that it needs, and as many of the others as it may have.
    fn along(&self, came: Came<'_>, more: Headers) -> Headers {
        let kept = self.headers.iter().filter_map(|name| Some((name.clone(), came.header(name)?.to_owned())));
        let mut all: Headers = std::iter::once((SOURCE_HEADER.to_owned(), self.name.to_string())).chain(more).collect();
        let length = |(name, value): &(String, String)| name.len() + value.len();
        let mut bytes: usize = all.iter().map(length).sum();
        for header in kept {
            let is_there = all.iter().any(|(name, _)| *name == header.0);
            if !is_there && bytes + length(&header) <= HEADER_BYTES_MAX {
                bytes += length(&header);
                all.push(header);
            }
        }
        all
    }

    /// What names a delivery, so that it is taken once; the destination is to follow. Where the id is not enough, another body under it is another
    /// delivery.
    fn known_by(&self, id: &str, body: &[u8]) -> String {
        let parts = [self.name.as_bytes(), id.as_bytes(), body].map(digest).concat();
        format!("{KEY_OF_ALL}{}/{}/", self.name, hex(&digest(&parts)))
    }
}

/// The headers of a message that goes on.
fn going_on(headers: &Headers) -> Headers {
    headers.iter().filter(|(name, _)| ![LONG_TYPE, LONG_KEY].contains(&name.as_str())).cloned().collect()
}

/// The header that says that this word is too long, where it is.
fn long(header: &str, word: Option<&Arc<str>>) -> Option<(String, String)> {
    word.filter(|word| !fits(word)).map(|word| (header.to_owned(), word.len().to_string()))
}
