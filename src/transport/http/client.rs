//! A small HTTP client for the command line, over the same sockets and names as deliveries.
//!
//! # What holds
//!
//! * Any status is an answer; only a request without an answer is an error, and it is told in the words of a failed attempt.
//! * A body is read to 64 MiB and no further, unless the caller reads it itself ([`Client::open`]).
//!
//! # What it does not know
//!
//! What the answers mean.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ureq::Agent;
use ureq::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use ureq::http::{Method, Request, Response};

use super::attempt;
use super::outcome::{self, Limits};
use super::resolver::Names;
use super::{CONNECT_DEFAULT, CONNECTIONS_DEFAULT, DEADLINE_MAX, RESOLVE_DEFAULT, Target, Tls, USER, agent, headers};
use crate::model::{Class, Failure, Phase, Sent};
use crate::transport::secret::Signing;

/// The longest body that is read into memory, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// An answer whose body the caller reads.
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    body: ureq::BodyReader<'static>,
    quiet_max: Duration,
}

/// Keeps its connections between calls.
pub struct Client {
    agent: (Agent, Names),
    body_bytes_max: usize,
    stopping: AtomicBool,
}

/// Asks once, over a connection of its own.
///
/// # Errors
/// No whole answer came: the failure says why, and whether the request may have arrived all the same.
pub fn call(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<Answer, Failure> {
    Client::new().call(method, url, headers, body, timeout)
}

impl Client {
    /// A client without connections yet.
    #[must_use]
    pub fn new() -> Client {
        Client::reading_at_most(BODY_BYTES_MAX, Tls::new())
    }

    /// A client for strangers: it takes no answer that is longer, and believes whom `tls` says.
    pub(super) fn reading_at_most(body_bytes_max: usize, tls: Tls) -> Client {
        let agent = agent(limits(DEADLINE_MAX), CONNECTIONS_DEFAULT, tls.config());
        Client { agent, body_bytes_max, stopping: AtomicBool::new(false) }
    }

    /// Asks, and reads the whole answer within `timeout`.
    ///
    /// # Errors
    /// No whole answer came: the failure says why, and whether the request may have arrived all the same.
    pub fn call(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let (answer, peer) = self.ask(method, url, headers, body, timeout)?;
        let status = answer.status().as_u16();
        let headers = listed(answer.headers());
        let mut whole = Vec::new();
        let most = u64::try_from(self.body_bytes_max).unwrap_or(u64::MAX);
        answer
            .into_body()
            .into_reader()
            .take(most.saturating_add(1))
            .read_to_end(&mut whole)
            .map_err(|error| self.broken(&ureq::Error::from(error), &peer, timeout))?;
        if whole.len() > self.body_bytes_max {
            let detail = format!("{peer} answered with more than {} bytes", self.body_bytes_max);
            return Err(Failure::new(Class::Protocol, Sent::Maybe, detail));
        }
        Ok(Answer { status, headers, body: whole })
    }

    /// Posts, and reads no more of the answer than its status: the body may be long, or never come.
    ///
    /// # Errors
    /// No answer came: the failure says why, and whether the request may have arrived all the same.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8], timeout: Duration) -> Result<u16, Failure> {
        self.ask("POST", url, headers, body, timeout).map(|(answer, _)| answer.status().as_u16())
    }

    /// The same, signed as Standard Webhooks has it, under this name.
    ///
    /// # Errors
    /// No answer came: the failure says why, and whether the request may have arrived all the same.
    pub fn post_signed(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        (id, signing): (&str, &Signing),
        timeout: Duration,
    ) -> Result<u16, Failure> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (timestamp, signature) = (now_s.to_string(), signing.signature(id, now_s, body));
        let signed =
            [("webhook-id", id), ("webhook-timestamp", timestamp.as_str()), ("webhook-signature", signature.as_str())];
        self.post(url, &[headers, &signed].concat(), body, timeout)
    }

    /// Asks, waits `timeout` for the head of the answer, and leaves its body to the caller. A read waits `quiet_max` at most.
    ///
    /// # Errors
    /// No answer came: the failure says why, and whether the request may have arrived all the same.
    pub fn open(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
        quiet_max: Duration,
    ) -> Result<Stream, Failure> {
        let (answer, _) = self.ask(method, url, headers, &[], timeout)?;
        Ok(Stream::of(answer, quiet_max))
    }

    /// Cuts off what is under way, and asks nobody any more.
    pub(super) fn shutdown(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let (agent, names) = &self.agent;
        names.close();
        agent.clone().shutdown();
    }

    fn broken(&self, error: &ureq::Error, peer: &str, timeout: Duration) -> Failure {
        outcome::broken(error, &attempt::current(), peer, limits(timeout), self.stopping.load(Ordering::Relaxed))
    }

    fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<(Response<ureq::Body>, String), Failure> {
        let wrong = |problem: String| Failure::new(Class::Setup, Sent::No, problem);
        let target = Target::parse(url).map_err(wrong)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong(format!("{method:?} is not a method")))?;
        let mut map = HeaderMap::new();
        map.insert(USER_AGENT, HeaderValue::from_static(USER));
        for (name, value) in headers {
            let (name, value) = headers::pair(name, value).map_err(wrong)?;
            map.append(name, value);
        }
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Failure::new(
                Class::Interrupted,
                Sent::No,
                format!("goniec stopped before {} was asked", target.peer),
            ));
        }
        attempt::begin(Instant::now() + timeout.min(DEADLINE_MAX));
        let takes_body = matches!(method, Method::POST | Method::PUT | Method::PATCH) || !body.is_empty();
        let answer = if takes_body {
            self.agent.0.run(assembled(method, &target, map, body))
        } else {
            self.agent.0.run(assembled(method, &target, map, ()))
        };
        match answer {
            Ok(answer) => Ok((answer, target.peer)),
            Err(error) => Err(self.broken(&error, &target.peer, timeout)),
        }
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Stream {
    /// An answer that has begun to come.
    pub(super) fn of(answer: Response<ureq::Body>, quiet_max: Duration) -> Stream {
        Stream {
            status: answer.status().as_u16(),
            headers: listed(answer.headers()),
            body: answer.into_body().into_reader(),
            quiet_max: quiet_max.min(DEADLINE_MAX),
        }
    }

    /// From now on a read waits so long at most.
    pub(super) fn wait_at_most(&mut self, quiet_max: Duration) {
        self.quiet_max = quiet_max;
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        attempt::begin(Instant::now() + self.quiet_max);
        attempt::enter(Phase::Receive, None);
        self.body.read(buffer)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("status", &self.status).finish_non_exhaustive()
    }
}

fn limits(deadline: Duration) -> Limits {
    Limits { resolve: RESOLVE_DEFAULT, connect: CONNECT_DEFAULT, deadline }
}

fn assembled<B>(method: Method, target: &Target, headers: HeaderMap, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target.uri.clone();
    *request.headers_mut() = headers;
    request
}

pub(super) fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
