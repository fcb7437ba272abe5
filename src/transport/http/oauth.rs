//! Access tokens of OAuth 2.0 (RFC 6749): client credentials, and refresh tokens that rotate.
//!
//! # What holds
//!
//! * One that is asked for holds for all messages ([`super::pass`]). It is used until [`MARGIN`] before it expires.
//! * A refresh token that came anew is handed to the [`TokenKeeper`] before anything is done with what came beside it. Where it cannot be
//!   kept, the new access token is not used, and the next attempt hands the same refresh token over again.
//!
//! # What it does not know
//!
//! Where refresh tokens are kept; messages.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use ureq::http::header::AUTHORIZATION;

use super::pass::{Issuer, Pass, Renewal};
use super::{Http, Tls, credentials};
use crate::model::Failure;
use crate::model::percent::escape;
use crate::transport::secret::Secret;

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(30);

/// The life of a token whose answer names none.
const LIFE_DEFAULT_S: u64 = 300;

/// What is said of an answer without one.
const NO_TOKEN: &str = "its answer holds no access token";

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
    client_id: String,
    client_secret: Secret,
    scope: Option<String>,
    grant: Grant,
    issuer: Issuer,
    /// Nobody waits for it: it belongs to whoever has the turn to ask.
    refresh: Mutex<Refresh>,
}

/// The refresh token.
#[derive(Default)]
struct Refresh {
    /// The one that came last.
    newest: Option<Secret>,
    /// It could not be kept yet.
    is_unkept: bool,
}

/// How long an exchange that may replace the refresh token is waited for, however little time its message has left: what is not heard is lost, and the
/// token before is void by then.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// What a token endpoint answers: each part by itself, so that a new refresh token is kept whatever the rest is.
#[derive(Deserialize)]
struct Granted {
    access_token: Option<Value>,
    expires_in: Option<Value>,
    refresh_token: Option<Value>,
}

impl Granted {
    fn text(part: Option<&Value>) -> Option<&str> {
        part.and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    /// For how long it is good. Some write a number, some a text, some a fraction.
    fn life_s(&self) -> u64 {
        let seconds = match &self.expires_in {
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_f64(),
            None => None,
        };
        let life = seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
        life.map_or(LIFE_DEFAULT_S, |life| life.as_secs()).min(LIFE_S_MAX)
    }
}

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
        let mut issuer = Issuer::new("access token", url, Tls::new());
        issuer.hidden.hide(&client_secret);
        issuer.hidden.hide(&credentials::pair(&escape(client_id), &Secret::new(escape(client_secret.text()))));
        if let Grant::RefreshToken { token, .. } = &grant {
            issuer.hidden.hide(token);
        }
        OAuth {
            client_id: client_id.to_owned(),
            client_secret,
            scope: scope.map(str::to_owned),
            grant,
            issuer,
            refresh: Mutex::default(),
        }
    }

    /// Has the newest refresh token kept, where that is still to be done.
    fn keep(&self, refresh: &mut Refresh) -> Result<(), Failure> {
        if let (Grant::RefreshToken { keeper, .. }, true, Some(token)) =
            (&self.grant, refresh.is_unkept, &refresh.newest)
        {
            let unkept = |why| self.issuer.failed(&format!("a new refresh token cannot be kept: {why}"));
            keeper.keep(token).map_err(unkept)?;
        }
        refresh.is_unkept = false;
        Ok(())
    }

    /// Finds the refresh token that is the newest, where none has come yet.
    fn recall(&self, refresh: &mut Refresh) -> Result<(), Failure> {
        if let (Grant::RefreshToken { token, keeper }, None) = (&self.grant, &refresh.newest) {
            let kept = keeper.newest().map_err(|why| self.issuer.failed(&why))?;
            let newest = kept.unwrap_or_else(|| token.clone());
            self.issuer.hidden.hide_what_came(&newest);
            refresh.newest = Some(newest);
        }
        Ok(())
    }

    fn ask(&self, refresh: &Refresh, deadline: Instant) -> Result<Granted, Failure> {
        let mut form = match &refresh.newest {
            None => String::from("grant_type=client_credentials"),
            Some(token) => format!("grant_type=refresh_token&refresh_token={}", escape(token.text())),
        };
        if let Some(scope) = &self.scope {
            form.push_str(&format!("&scope={}", escape(scope)));
        }
        let form = Secret::new(form);
        let password = Secret::new(escape(self.client_secret.text()));
        let authorization = credentials::basic(&escape(&self.client_id), &password);
        let authorization = authorization.map_err(|why| self.issuer.failed(&why))?;
        let authorization = authorization.to_str().map_err(|error| self.issuer.failed(&error.to_string()))?;
        let headers = [("authorization", authorization), ("content-type", "application/x-www-form-urlencoded")];
        let deadline = match &self.grant {
            Grant::ClientCredentials => deadline,
            Grant::RefreshToken { .. } => deadline.max(Instant::now() + EXCHANGE_LIMIT),
        };
        let answer = self.issuer.ask(&headers, &form, deadline)?;
        if (200..300).contains(&answer.status) {
            return serde_json::from_slice(&answer.body).map_err(|_| self.issuer.failed(NO_TOKEN));
        }
        let words = serde_json::from_slice::<Refused>(&answer.body).map_or(String::new(), |refused| {
            format!("{} {}", refused.error, refused.error_description.unwrap_or_default())
        });
        Err(self.issuer.told(&format!("it answered {}", answer.status), &words))
    }
}

impl Renewal for OAuth {
    fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    fn renew(&self, deadline: Instant) -> Result<(Pass, Duration), Failure> {
        let refresh = &mut *self.refresh.lock().unwrap_or_else(PoisonError::into_inner);
        self.keep(refresh)?;
        self.recall(refresh)?;
        let granted = self.ask(refresh, deadline)?;
        if let (Grant::RefreshToken { .. }, Some(token)) = (&self.grant, Granted::text(granted.refresh_token.as_ref()))
        {
            let token = Secret::new(token.to_owned());
            self.issuer.hidden.hide_what_came(&token);
            refresh.newest = Some(token);
            refresh.is_unkept = true;
            self.keep(refresh)?;
        }
        let token = Granted::text(granted.access_token.as_ref()).ok_or_else(|| self.issuer.failed(NO_TOKEN))?;
        let token = Secret::new(token.trim().to_owned());
        self.issuer.hidden.hide_what_came(&token);
        let value = credentials::bearer(&token).map_err(|why| self.issuer.failed(&why))?;
        let life = Duration::from_secs(granted.life_s());
        // Of a short life half is used: a margin longer than it would have every message ask.
        let used = life.saturating_sub(MARGIN).max(life / 2);
        Ok((Pass { name: AUTHORIZATION, value }, used))
    }
}

impl Http {
    /// Authorises by access tokens. A refused one is renewed once, and the message sent again within the same attempt.
    #[must_use]
    pub fn oauth(mut self, oauth: OAuth) -> Http {
        self.passes = Some(Box::new(oauth));
        self
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
