//! Deliveries over HTTP/1.1, and a small client for the command line: the only part that knows ureq.
//!
//! One [`Http`] is one destination: it has its own connections, names and time-outs, so that one slow peer takes nothing from another.
//!
//! # What holds
//!
//! * One `send` is one request at most, but for the repetition after a pass (an access token, a session) was refused with 401 and renewed. Redirects are not followed; a connection that breaks is not tried again, even where it had rested in
//!   the pool: who retries is decided elsewhere.
//! * Everything waits under the attempt's deadline: the look-up, the connection, the handshake, each write and each read.
//! * An answer counts once its head is there: of its body at most [`ANSWER_BYTES_MAX`] are read for at most [`ANSWER_WAIT`], so that the connection
//!   can be used again, and where rules look at the answer, as much as they may see; and the first [`EXCERPT_BYTES_MAX`] are kept where the answer says no. No body is decompressed.
//! * The proxies of the environment are ignored.
//! * What a destination sends back of what it was shown, a password or a token, stands in nothing that is told of it.
//!
//! # What it does not know
//!
//! States, policies, when to try again.

mod attempt;
mod batch;
mod buffers;
mod client;
mod credentials;
mod discreet;
mod exchange;
mod fetch;
mod headers;
mod oauth;
mod outcome;
mod page;
mod page_body;
mod pass;
mod probe;
mod raw;
mod resolver;
mod retry_after;
mod session;
mod tls;
mod wire;

use std::fmt;
use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ureq::Agent;
use ureq::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use ureq::http::{Method, Request, Response, Uri};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{Connector, RustlsConnector};

pub use self::batch::Format;
pub use self::client::{Answer, Client, Stream, call};
pub use self::fetch::Fetched;
pub use self::headers::{RESERVED, check as check_header, is_reserved};

pub use self::oauth::{Grant, OAuth, TokenKeeper};
pub use self::page::{Address, PAGE_BYTES_MAX};
pub use self::page_body::PageBody;
pub use self::probe::Question;
pub use self::session::Session;
pub use self::tls::Tls;

use self::batch::{Batching, Wants};
use self::credentials::Credentials;
use self::exchange::Time;
use self::outcome::Limits;
use self::pass::{Pass, Renewal};
use self::resolver::Names;
use super::answer::{self, Answers, Seen};
use super::secret::Hidden;
use super::shape::Shape;
use super::{Batched, Probed, Transport};
use crate::model::policy::disposition;
use crate::model::{Class, Delivery, Failure, Message, Outcome, Receipt, Sent, WallMs};

/// The most of an answer's body that is read, in bytes. A longer one costs the connection.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The most of an answer's body that is kept, in bytes.
pub const EXCERPT_BYTES_MAX: usize = 2 << 10;

/// How long the body of an answer is waited for once its head is there.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a connection may rest: less than the shortest keep-alive that is common among servers (5 s), or a peer that closes just then makes
/// a message uncertain.
const REST_MAX: Duration = Duration::from_secs(4);

/// Connections that may rest, by default: at least as many as messages may be out at once.
const CONNECTIONS_DEFAULT: usize = 256;

/// For finding the address, by default.
const RESOLVE_DEFAULT: Duration = Duration::from_secs(5);

/// For TCP and TLS together, by default.
const CONNECT_DEFAULT: Duration = Duration::from_secs(5);

/// The longest deadline that is kept; longer ones are cut to it.
const DEADLINE_MAX: Duration = Duration::from_secs(86_400);

const USER: &str = concat!("goniec/", env!("CARGO_PKG_VERSION"));

/// A destination that takes messages over HTTP.
pub struct Http {
    target: Result<Target, String>,
    method: Method,
    fixed: HeaderMap,
    limits: Limits,
    connections_max: usize,
    tls: Tls,
    answers: Answers,
    credentials: Credentials,
    /// What it shows the destination, and no text shows.
    hidden: Hidden,
    shape: Option<Shape>,
    batching: Batching,
    passes: Option<Box<dyn Renewal>>,
    question: Option<Question>,
    agent: OnceLock<(Agent, Names)>,
    stopping: AtomicBool,
}

/// Where requests go.
struct Target {
    uri: Uri,
    /// Host and port, as the texts name it.
    peer: String,
}

impl Http {
    /// A destination that takes messages by `POST`. A URL that cannot be used fails every attempt with the reason; [`Http::check`] tells it
    /// before.
    #[must_use]
    pub fn post(url: &str) -> Http {
        let mut fixed = HeaderMap::new();
        fixed.insert(USER_AGENT, HeaderValue::from_static(USER));
        let mut hidden = Hidden::default();
        hidden.hide_query(url);
        Http {
            target: Target::parse(url),
            method: Method::POST,
            fixed,
            limits: Limits { resolve: RESOLVE_DEFAULT, connect: CONNECT_DEFAULT, deadline: DEADLINE_MAX },
            connections_max: CONNECTIONS_DEFAULT,
            tls: Tls::new(),
            answers: Answers::new(),
            credentials: Credentials::default(),
            hidden,
            shape: None,
            batching: Batching::default(),
            passes: None,
            question: None,
            agent: OnceLock::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Uses another method: `POST`, `PUT`, `PATCH` or `DELETE`.
    #[must_use]
    pub fn method(mut self, method: &str) -> Http {
        match method.to_ascii_uppercase().as_str() {
            "POST" => self.method = Method::POST,
            "PUT" => self.method = Method::PUT,
            "PATCH" => self.method = Method::PATCH,
            "DELETE" => self.method = Method::DELETE,
            _ => self.target = Err(format!("the method {method:?} is none of POST, PUT, PATCH, DELETE")),
        }
        self
    }

    /// Sends this header with every message. It wins over the message's own; its value is never shown.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Http {
        if is_reserved(name) {
            self.target = Err(format!("the header {name:?} is set by goniec itself"));
            return self;
        }
        match headers::pair(name, value) {
            Ok((name, mut value)) => {
                value.set_sensitive(true);
                self.fixed.insert(name, value);
            }
            Err(problem) => self.target = Err(problem),
        }
        self
    }

    /// Believes whom this says, and speaks as whom it says.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Http {
        self.tls = tls;
        self
    }

    /// Gives the connection (TCP and TLS together) so long.
    #[must_use]
    pub fn connect_within(mut self, limit: Duration) -> Http {
        self.limits.connect = limit;
        self
    }

    /// Gives a look-up so long.
    #[must_use]
    pub fn resolve_within(mut self, limit: Duration) -> Http {
        self.limits.resolve = limit;
        self
    }

    /// Lets so many connections rest between messages: at least as many as may be out at once.
    #[must_use]
    pub fn connections(mut self, most: usize) -> Http {
        self.connections_max = most.max(1);
        self
    }

    /// Judges answers by these rules, where the status alone does not tell.
    #[must_use]
    pub fn answers(mut self, answers: Answers) -> Http {
        self.answers = answers;
        self
    }

    /// Sends what this makes of a message instead of its body.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Http {
        self.shape = Some(shape);
        self
    }

    /// Asks like this whether a message is there.
    #[must_use]
    pub fn asks(mut self, question: Question) -> Http {
        self.hidden.hide_query(&question.sample());
        self.question = Some(question);
        self
    }

    /// What keeps this destination from ever being reached, if anything does.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn check(&self) -> Result<(), String> {
        self.target.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn agent(&self) -> &(Agent, Names) {
        self.agent.get_or_init(|| agent(self.limits, self.connections_max, self.tls.config()))
    }

    fn target(&self) -> Result<&Target, Failure> {
        self.target.as_ref().map_err(|problem| Failure::new(Class::Setup, Sent::No, problem.clone()))
    }

    fn deliver(&self, message: &Message, deadline: Duration) -> Result<Outcome, Failure> {
        let (target, time) = (self.target()?, Time::begin(deadline));
        let shaped = self.shape.as_ref().map(|shape| shape.apply(message)).transpose();
        let shaped = shaped.map_err(|problem| Failure::new(Class::Template, Sent::No, problem))?;
        let body = shaped.as_deref().unwrap_or(&message.body);
        let make = |pass: Option<&_>| {
            let mut headers = headers::of_delivery(&self.fixed, message, time.now)?;
            if let Some(shape) = self.shape.as_ref().filter(|_| !self.fixed.contains_key(CONTENT_TYPE)) {
                headers.insert(CONTENT_TYPE, headers::pair("content-type", shape.content_type())?.1);
            }
            self.request(target, headers, || headers::id(message), body, pass, time.now)
        };
        let answer = self.exchange(&target.peer, time, make)?;
        Ok(judged(&self.answers, answer, &target.peer, time.now, Wants::default()).0)
    }

    /// A request with these headers, authorised and signed under this id.
    fn request<'a>(
        &self,
        target: &Target,
        mut headers: HeaderMap,
        id: impl FnOnce() -> String,
        body: &'a [u8],
        pass: Option<&Pass>,
        now: WallMs,
    ) -> Result<Request<&'a [u8]>, String> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target.uri.clone();
        self.credentials.authorise(&mut headers, pass);
        self.credentials.sign(&mut headers, id, now.0 / 1_000, body)?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Transport for Http {
    fn send(&self, message: &Message, deadline: Duration) -> Outcome {
        self.discreet(self.deliver(message, deadline).unwrap_or_else(Outcome::Failed))
    }

    fn send_batch(&self, messages: &[Message], deadline: Duration) -> Batched {
        self.discreet_of_many(self.deliver_batch(messages, deadline))
    }

    fn probe(&self, message: &Message, deadline: Duration) -> Probed {
        match &self.question {
            Some(question) => self.discreet_answer(self.ask(question, message, deadline)),
            None => Probed::unasked(),
        }
    }

    fn shutdown(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let (agent, names) = self.agent();
        names.close();
        agent.clone().shutdown();
        self.passes.iter().for_each(|passes| passes.issuer().shutdown());
    }
}

impl Target {
    fn parse(url: &str) -> Result<Target, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(format!("the URL {url:?} begins with neither http:// nor https://"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(format!("the URL {url:?} names no host"));
        };
        if authority.as_str().contains('@') {
            return Err("the URL carries a user name or password; use the header `authorization` instead".into());
        }
        if authority.port_u16() == Some(0) || authority.as_str().ends_with(':') {
            return Err(format!("the URL {url:?} has no usable port"));
        }
        let peer = authority.to_string();
        Ok(Target { uri, peer })
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.target.as_ref().map(|target| &target.peer);
        f.debug_struct("Http").field("method", &self.method).field("peer", &peer).finish_non_exhaustive()
    }
}

/// An agent with its resolver, with everything set that ureq leaves open.
fn agent(limits: Limits, connections_max: usize, tls: TlsConfig) -> (Agent, Names) {
    let names = Names::new(limits.resolve);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .accept_encoding("identity")
        .tls_config(tls)
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_connections(connections_max)
        .max_idle_connections_per_host(connections_max)
        .max_idle_age(REST_MAX)
        // The connector, the socket and the resolver keep the attempt's own deadline, which no configuration of an agent can know.
        // These are the second line, should one of them ever wait somewhere else.
        .timeout_global(Some(DEADLINE_MAX))
        .timeout_resolve(Some(limits.resolve))
        .timeout_connect(Some(limits.connect))
        .build();
    let connector =
        ().chain(wire::WireConnector { connect: limits.connect }).chain(RustlsConnector::default()).chain(wire::Stands);
    (Agent::with_parts(config, connector, names.clone()), names)
}

/// What an answer means, and the beginning of it where it says no; where it says yes and its body is wanted, that, if it came whole.
fn judged(
    answers: &Answers,
    answer: Response<ureq::Body>,
    peer: &str,
    now: WallMs,
    wants: Wants,
) -> (Outcome, Option<Vec<u8>>) {
    attempt::hurry(ANSWER_WAIT);
    let status = answer.status();
    let has_rules = wants.body || !answers.is_empty();
    if !has_rules && disposition(status.as_u16()).0 == Delivery::Delivered {
        drain(answer, ANSWER_BYTES_MAX, 0);
        let receipt =
            Receipt { status: Some(status.as_u16()), phases: attempt::current().phases(), ..Receipt::default() };
        return (Outcome::Delivered(receipt), None);
    }
    let retry_after_ms = answer.headers().get(RETRY_AFTER).and_then(|value| retry_after::parse(value.as_bytes(), now));
    let failure = exchange::refused(&answer, peer);
    let (outcome, (body, is_whole)) = if has_rules {
        ruled(answers, answer, &failure.detail, wants)
    } else {
        (Outcome::Failed(failure), drain(answer, ANSWER_BYTES_MAX, EXCERPT_BYTES_MAX))
    };
    match outcome.over(attempt::current().phases()) {
        Outcome::Delivered(receipt) => (Outcome::Delivered(receipt), (wants.body && is_whole).then_some(body)),
        Outcome::Failed(mut failure) => {
            failure.retry_after_ms = retry_after_ms.or(failure.retry_after_ms);
            failure.excerpt = excerpt(body.get(..EXCERPT_BYTES_MAX).unwrap_or(&body));
            (Outcome::Failed(failure), None)
        }
    }
}

/// What the rules make of an answer, and what was read of its body, and whether that is all of it.
fn ruled(
    answers: &Answers,
    answer: Response<ureq::Body>,
    detail: &str,
    Wants { body: wants_body, is_of_many }: Wants,
) -> (Outcome, (Vec<u8>, bool)) {
    let status = answer.status().as_u16();
    let headers = client::listed(answer.headers());
    if !wants_body && !answers.reads(status) {
        let read = drain(answer, ANSWER_BYTES_MAX, EXCERPT_BYTES_MAX);
        return (answers.judge(Seen { status, headers: &headers, body: None, is_of_many }, detail), read);
    }
    let (body, is_whole) = drain(answer, answer::BODY_BYTES_MAX, answer::BODY_BYTES_MAX);
    let seen = Seen { status, headers: &headers, body: is_whole.then_some(&*body), is_of_many };
    (answers.judge(seen, detail), (body, is_whole))
}

/// Reads `most` bytes of the body, so that the connection can be used again, and keeps the first `keep`. Whether it came whole is
/// for the rules; to the status a body that ends early changes nothing. With that the request has ended.
fn drain(answer: Response<ureq::Body>, most: usize, keep: usize) -> (Vec<u8>, bool) {
    let drained = read(answer, most, keep);
    attempt::end();
    drained
}

fn read(answer: Response<ureq::Body>, most: usize, keep: usize) -> (Vec<u8>, bool) {
    let mut kept = Vec::new();
    let mut reader = answer.into_body().into_reader();
    let mut seen = 0;
    let mut chunk = [0; 4 << 10];
    // One read beyond the most tells a body of just that length from a longer one.
    while seen <= most {
        match reader.read(&mut chunk) {
            Ok(0) => return (kept, seen <= most),
            Err(_) => return (kept, false),
            Ok(read) => {
                let wanted = read.min(keep.saturating_sub(kept.len()));
                kept.extend_from_slice(chunk.get(..wanted).unwrap_or_default());
                seen += read;
            }
        }
    }
    (kept, false)
}

/// The bytes as text of at most [`EXCERPT_BYTES_MAX`]: what is not UTF-8, or would move a terminal's cursor, is replaced.
fn excerpt(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let is_bad = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    let mut clean: String =
        text.chars().map(|letter| if is_bad(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect();
    // What is replaced takes three bytes for one.
    clean.truncate(clean.floor_char_boundary(EXCERPT_BYTES_MAX));
    (!clean.trim().is_empty()).then_some(clean)
}

/// The wall clock, for the headers of a request and for dates in an answer.
fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
