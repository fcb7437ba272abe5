//! Sessions of the console: who has shown a token in a browser, and goes on with a cookie.
//!
//! ```text
//! POST /v1/login   token ─▶ access ─┐
//!                  code  ─▶ codes  ─┴▶ a session: 256 random bits in a cookie that no script can read
//! POST /v1/logout  its end
//! GET /v1/me       who is asking, and what they may do
//! ```
//!
//! # What holds
//!
//! * A session has the name and the role of its token, or of its code, and ends after twelve hours, at a logout, with its token where it has one, and
//!   with the process. Another token of the same name does not revive it.
//! * Only the digest of its id is kept; there are at most [`SESSIONS_MAX`], and the oldest makes room.
//!
//! # What it does not know
//!
//! What a role may do, and when a cookie counts: that is `access`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use hyper::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use crate::config::Role;
use crate::transport::secret::{digest, fresh};

use super::access::{self, Caller};
use super::intake;
use super::keyring::Keyring;
use super::payload::{Answer, Reply};
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};

/// The name of the cookie.
const NAME: &str = "goniec-session";
/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Sessions at once.
const SESSIONS_MAX: usize = 256;
/// The sessions there are.
#[derive(Default)]
pub(super) struct Sessions {
    kept: RefCell<HashMap<[u8; 32], Session>>,
}

struct Session {
    opened: Opened,
    ends: Instant,
}

/// What opened a session.
enum Opened {
    /// The token of this digest, with which it ends.
    ByToken([u8; 32]),
    /// A code for this name and role.
    ByCode(String, Role),
}

/// What a login sends.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shown {
    Token(String),
    Code(String),
}

/// `POST /v1/login`.
pub(super) async fn login(call: Call<'_>) -> Result<Answer, Problem> {
    let form =
        || Problem::bad("a login is {\"token\": \"...\"}, or {\"code\": \"...\"}").hint("Send the token as JSON.");
    let shown: Shown = serde_json::from_slice(&call.body.bytes).map_err(|_| form())?;
    let (app, now) = (call.app, Instant::now());
    let opened = match &shown {
        Shown::Token(token) => Opened::ByToken(access::holder(app, call.peer, token.as_bytes())?.digest),
        Shown::Code(code) => match app.codes.take(code, now) {
            Some((name, role)) => Opened::ByCode(name, role),
            None => access::guessed(app, call.peer, || Err(Problem::no_code()))?,
        },
    };
    let id = app.sessions.begin(opened, now).map_err(Problem::internal)?;
    // A browser that came over TLS, through a proxy, keeps the cookie to it.
    let is_secure = call.headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    Ok(with_cookie(&id, LIFE, is_secure))
}

/// `POST /v1/logout`.
pub(super) async fn logout(call: Call<'_>) -> Result<Answer, Problem> {
    if let Some(id) = cookie(&call.headers) {
        call.app.sessions.kept.borrow_mut().remove(&digest(id.as_bytes()));
    }
    Ok(with_cookie("", Duration::ZERO, false))
}

/// `GET /v1/me`.
pub(super) async fn me(call: Call<'_>) -> Result<Answer, Problem> {
    let caller = match access::caller(call.app, call.peer, &call.headers) {
        Err(no) if no.status() == StatusCode::UNAUTHORIZED => None,
        caller => caller?,
    };
    let rights = access::rights(call.app, caller.as_ref().map(|caller| caller.role));
    let mut answer = json(StatusCode::OK, render::me(caller.as_ref(), call.app.keyring.needs_login(), &rights));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn with_cookie(id: &str, life: Duration, is_secure: bool) -> Answer {
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!("{NAME}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}", life.as_secs());
    let mut answer = Response::new(Reply::Whole(None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The id in the cookie of a session.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).map(|(_, id)| id)
}

impl Sessions {
    /// Whose session the cookie names; where a token opened it, as long as that opens anything.
    pub(super) fn find(&self, headers: &HeaderMap, keyring: &Keyring) -> Option<Caller> {
        let id = cookie(headers)?;
        let kept = self.kept.borrow();
        let session = kept.get(&digest(id.as_bytes())).filter(|session| session.ends > Instant::now())?;
        match &session.opened {
            Opened::ByCode(name, role) => Some(Caller { name: name.clone(), role: *role }),
            Opened::ByToken(digest) => {
                let holder = keyring.holder(*digest).filter(|holder| !holder.is_over(intake::now()))?;
                Some(Caller { name: holder.name, role: holder.role })
            }
        }
    }

    fn begin(&self, opened: Opened, now: Instant) -> Result<String, String> {
        let id = fresh()?;
        let mut kept = self.kept.borrow_mut();
        kept.retain(|_, session| session.ends > now);
        while kept.len() >= SESSIONS_MAX {
            let oldest = kept.iter().min_by_key(|(_, session)| session.ends).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            kept.remove(&oldest);
        }
        kept.insert(digest(id.as_bytes()), Session { opened, ends: now + LIFE });
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Token;
    use crate::server::ServerConfig;
    use crate::server::listen::App;
    use crate::transport::secret::Secret;

    fn app(names: &[&str]) -> App {
        let token =
            |name: &&str| Token { name: (*name).into(), role: Role::Viewer, secret: Secret::new((*name).to_owned()) };
        let tokens = names.iter().map(token).collect();
        App::alone(ServerConfig { tokens, ..ServerConfig::new(([127, 0, 0, 1], 0).into()) })
    }

    fn found(app: &App, cookie: &str) -> Option<(String, Role)> {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).expect("a value"))]);
        app.sessions.find(&headers, &app.keyring).map(|caller| (caller.name, caller.role))
    }

    #[test]
    fn a_session_is_found_by_its_whole_id_until_it_ends() {
        let (app, now) = (app(&[]), Instant::now());
        let id = app.sessions.begin(Opened::ByCode("anna".into(), Role::Viewer), now).expect("random");
        assert_eq!(found(&app, &format!("a=b; {NAME}={id}")), Some(("anna".to_owned(), Role::Viewer)));
        assert_eq!(found(&app, &format!("{NAME}={}", &id[1..])), None);
        assert_eq!(found(&app, &format!("{NAME}=")), None);
        app.sessions.kept.borrow_mut().values_mut().for_each(|session| session.ends = now);
        assert_eq!(found(&app, &format!("{NAME}={id}")), None, "it has ended");
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let app = app(&["anna", "jan"]);
        for (secret, name) in [("anna", Some("anna")), ("jan", Some("jan")), ("gone", None)] {
            let id = app.sessions.begin(Opened::ByToken(digest(secret.as_bytes())), Instant::now()).expect("random");
            assert_eq!(found(&app, &format!("{NAME}={id}")).map(|(name, _)| name).as_deref(), name);
        }
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let (app, now) = (app(&[]), Instant::now());
        let begin = |at| app.sessions.begin(Opened::ByCode("anna".into(), Role::Viewer), at).expect("random");
        let first = begin(now);
        for number in 1..=SESSIONS_MAX {
            begin(now + Duration::from_millis(u64::try_from(number).expect("small")));
        }
        assert_eq!(app.sessions.kept.borrow().len(), SESSIONS_MAX);
        assert_eq!(found(&app, &format!("{NAME}={first}")), None);
    }
}
