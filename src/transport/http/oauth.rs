//! Access tokens of OAuth 2.0 (RFC 6749): client credentials, and refresh tokens that rotate.
//!
//! # What holds
//!
//! * However many messages need a token, the token endpoint is asked by one of them; the others wait for its answer, each until its own deadline.
//! * A token is used until [`MARGIN`] before it expires. One that a destination refused is renewed once, by whoever still holds it.
//! * A refresh token that came anew is handed to the [`TokenKeeper`] before anything is done with what came beside it. Where it cannot be
//!   kept, the new access token is not used, and the next attempt hands the same refresh token over again.
//!
//! # What it does not know
//!
//! Where refresh tokens are kept; messages.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::Client;
use crate::model::{Class, Failure, Sent};
use crate::transport::secret::Secret;

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(30);

/// The life of a token whose answer names none.
const LIFE_DEFAULT_S: u64 = 300;

/// The longest life that is believed.
const LIFE_S_MAX: u64 = 86_400;

/// Keeps refresh tokens over a restart.
pub trait TokenKeeper: Send + Sync + 'static {
    /// The refresh token that was kept last and follows the one in the [`Grant`]; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be told, in words: the one in the grant may be void, and is not used.
    fn newest(&self) -> Result<Option<Secret>, String>;

    /// Makes the refresh token durable; it replaces the one before, which the other side may have voided already.
    ///
    /// # Errors
    /// It is not durable, in words.
    fn keep(&self, refresh_token: &Secret) -> Result<(), String>;
}

/// How tokens are asked for.
pub enum Grant {
    /// By the client's own credentials.
    ClientCredentials,
    /// By a refresh token, which may be replaced with every answer.
    RefreshToken {
        /// The newest that is kept.
        token: Secret,
        /// Keeps those that come.
        keeper: Arc<dyn TokenKeeper>,
    },
}

/// A token endpoint, and who asks it.
pub struct OAuth {
    url: String,
    client_id: String,
    client_secret: Secret,
    scope: Option<String>,
    grant: Grant,
    client: Client,
    held: Mutex<Held>,
    back: Condvar,
}

/// What is held.
#[derive(Default)]
struct Held {
    /// The token, and until when it is used.
    access: Option<(Arc<Secret>, Instant)>,
    /// The refresh token that came last.
    refresh: Option<Secret>,
    /// A refresh token that came and could not be kept yet.
    unkept: bool,
    /// Whether somebody has it out of the lock.
    is_out: bool,
}

/// What is held, in the hands of one: the lock is free meanwhile, so that the others can wait for as long as they may.
struct Hand<'a> {
    of: &'a OAuth,
    held: Held,
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        // A panic in between leaves nothing half-made.
        *self.of.lock() = std::mem::take(&mut self.held);
        self.of.back.notify_one();
    }
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// A token endpoint has little to say.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a token endpoint answers where it refuses.
#[derive(Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

impl OAuth {
    /// Asks the token endpoint at `url` in the name of this client, with HTTP basic authorisation.
    #[must_use]
    pub fn new(url: &str, client_id: &str, client_secret: Secret, scope: Option<&str>, grant: Grant) -> OAuth {
        OAuth {
            url: url.to_owned(),
            client_id: client_id.to_owned(),
            client_secret,
            scope: scope.map(str::to_owned),
            grant,
            client: Client::reading_at_most(ANSWER_BYTES_MAX),
            held: Mutex::default(),
            back: Condvar::new(),
        }
    }

    /// A token that is good for now. `refused` is one that the destination did not take: it is not given out again.
    ///
    /// # Errors
    /// None can be had: nothing was sent to the destination.
    pub(super) fn token(&self, refused: Option<&Arc<Secret>>, deadline: Instant) -> Result<Arc<Secret>, Failure> {
        // Whoever has it in hand asks; who waits here finds its answer.
        let mut hand = self.take(deadline)?;
        let held = &mut hand.held;
        if let Some((token, until)) = &held.access
            && Instant::now() < *until
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, token))
        {
            return Ok(Arc::clone(token));
        }
        held.access = None;
        self.keep(held)?;
        self.recall(held)?;
        let granted = self.ask(held, deadline)?;
        if let (Grant::RefreshToken { .. }, Some(refresh)) = (&self.grant, granted.refresh_token) {
            held.refresh = Some(Secret::new(refresh));
            held.unkept = true;
            self.keep(held)?;
        }
        let life = Duration::from_secs(granted.expires_in.unwrap_or(LIFE_DEFAULT_S).min(LIFE_S_MAX));
        // Of a short life half is used: a margin longer than it would have every message ask.
        let used = life.saturating_sub(MARGIN).max(life / 2);
        let token = Arc::new(Secret::new(granted.access_token));
        held.access = Some((Arc::clone(&token), Instant::now() + used));
        Ok(token)
    }

    /// Cuts off what is asked, and asks no more.
    pub(super) fn shutdown(&self) {
        self.client.shutdown();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in hand what is held, as soon as nobody else has it.
    fn take(&self, deadline: Instant) -> Result<Hand<'_>, Failure> {
        let mut held = self.lock();
        while held.is_out {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed("another message waited for its answer all the time".into()));
            }
            held = self.back.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let out = Held { is_out: true, ..Held::default() };
        Ok(Hand { of: self, held: std::mem::replace(&mut held, out) })
    }

    /// Has the newest refresh token kept, where that is still to be done.
    fn keep(&self, held: &mut Held) -> Result<(), Failure> {
        if let (Grant::RefreshToken { keeper, .. }, true, Some(refresh)) = (&self.grant, held.unkept, &held.refresh) {
            keeper.keep(refresh).map_err(|why| self.failed(format!("a new refresh token cannot be kept: {why}")))?;
        }
        held.unkept = false;
        Ok(())
    }

    /// Finds the refresh token that is the newest, where none has come yet.
    fn recall(&self, held: &mut Held) -> Result<(), Failure> {
        if let (Grant::RefreshToken { token, keeper }, None) = (&self.grant, &held.refresh) {
            let kept = keeper.newest().map_err(|why| self.failed(why))?;
            held.refresh = Some(kept.unwrap_or_else(|| token.clone()));
        }
        Ok(())
    }

    fn ask(&self, held: &Held, deadline: Instant) -> Result<Granted, Failure> {
        let mut form = match &held.refresh {
            None => String::from("grant_type=client_credentials"),
            Some(token) => format!("grant_type=refresh_token&refresh_token={}", escaped(token.text())),
        };
        if let Some(scope) = &self.scope {
            form.push_str(&format!("&scope={}", escaped(scope)));
        }
        let form = Secret::new(form);
        let password = Secret::new(escaped(self.client_secret.text()));
        let authorization = super::credentials::basic(&escaped(&self.client_id), &password);
        let authorization = authorization.map_err(|why| self.failed(why))?;
        let authorization = authorization.to_str().map_err(|error| self.failed(error.to_string()))?;
        let headers = [
            ("authorization", authorization),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        ];
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.client.call("POST", &self.url, &headers, form.expose(), left);
        let answer = answer.map_err(|failure| {
            // What our own stop cut off is no fault of the endpoint, and nothing has left for the destination.
            let is_ours = failure.class == Class::Interrupted;
            if is_ours { Failure { sent: Sent::No, ..failure } } else { self.failed(failure.detail) }
        })?;
        if answer.status == 200 {
            return serde_json::from_slice(&answer.body)
                .map_err(|_| self.failed("its answer holds no access token".into()));
        }
        let why = serde_json::from_slice::<Refused>(&answer.body).map_or(String::new(), |refused| {
            let words = format!(": {} {}", refused.error, refused.error_description.unwrap_or_default());
            words.chars().take(200).collect()
        });
        Err(self.failed(format!("it answered {}{}", answer.status, why.trim_end())))
    }

    fn failed(&self, why: String) -> Failure {
        Failure::new(Class::Auth, Sent::No, format!("no access token from {}: {why}", self.url))
    }
}

/// As a form carries it.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) { escaped.push(char::from(byte)) } else { escaped.push_str(&format!("%{byte:02X}")) }
    }
    escaped
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth").field("url", &self.url).finish_non_exhaustive()
    }
}
