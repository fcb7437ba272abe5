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
//! * A session has the name and the role of its token, and ends after twelve hours, at a logout, with its token where it has one, and with the process.
//! * Only the digest of its id is kept; there are at most [`SESSIONS_MAX`], and the oldest makes room.
//! * Who is wrong five times within a minute waits, and so does everyone where very many are wrong.
//!
//! # What it does not know
//!
//! What a role may do, and when a cookie counts: that is `access`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use hyper::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use crate::config::Role;
use crate::transport::secret::{digest, fresh};

use super::access::{self, Caller};
use super::listen::neighbourhood;
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
/// Wrong logins from one address within [`WINDOW`].
const WRONG_MAX: u32 = 5;
/// Wrong logins from all addresses within [`WINDOW`].
const WRONG_MAX_ALL: u32 = 100;
/// After so long it is forgotten that someone was wrong.
const WINDOW: Duration = Duration::from_secs(60);

/// The sessions there are, and who was wrong lately.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    kept: RefCell<HashMap<[u8; 32], Session>>,
    /// By address, when the last minute with a wrong login began, and how many there were. At most [`WRONG_MAX_ALL`] entries.
    wrong: RefCell<HashMap<IpAddr, (Instant, u32)>>,
}

#[derive(Debug)]
struct Session {
    name: String,
    role: Role,
    /// Whether a token opened it, with which it ends.
    by_token: bool,
    ends: Instant,
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
    let sessions = &call.app.sessions;
    let now = Instant::now();
    sessions.admit(call.peer, now)?;
    let holder = match &shown {
        Shown::Token(token) => access::bearer_of(&call.app.config, token.as_bytes()).ok_or_else(Problem::unauthorized),
        Shown::Code(code) => call.app.codes.take(code, now).ok_or_else(Problem::no_code),
    };
    let (name, role) = holder.inspect_err(|_| sessions.was_wrong(call.peer, now))?;
    let by_token = matches!(shown, Shown::Token(_));
    let id = sessions.begin(Session { name, role, by_token, ends: now + LIFE }, now).map_err(Problem::internal)?;
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
    let caller = access::caller(&call.app.config, &call.app.sessions, &call.headers);
    let rights = access::rights(&call.app.config, caller.as_ref().map(|caller| caller.role));
    let mut answer = json(StatusCode::OK, render::me(caller.as_ref(), access::needs_login(&call.app.config), &rights));
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
    /// Whose session the cookie names, where a token that opened it is still held.
    pub(super) fn find(&self, headers: &HeaderMap, is_held: impl Fn(&str, Role) -> bool) -> Option<Caller> {
        let id = cookie(headers)?;
        let kept = self.kept.borrow();
        let session = kept.get(&digest(id.as_bytes())).filter(|session| session.ends > Instant::now())?;
        if session.by_token && !is_held(&session.name, session.role) {
            return None;
        }
        Some(Caller { name: session.name.clone(), role: session.role, by_cookie: true })
    }

    fn begin(&self, session: Session, now: Instant) -> Result<String, String> {
        let id = fresh()?;
        let mut kept = self.kept.borrow_mut();
        kept.retain(|_, session| session.ends > now);
        while kept.len() >= SESSIONS_MAX {
            let oldest = kept.iter().min_by_key(|(_, session)| session.ends).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            kept.remove(&oldest);
        }
        kept.insert(digest(id.as_bytes()), session);
        Ok(id)
    }

    /// Lets a login be tried, or says when to come again.
    fn admit(&self, peer: IpAddr, now: Instant) -> Result<(), Problem> {
        let mut wrong = self.wrong.borrow_mut();
        wrong.retain(|_, (begun, _)| *begun + WINDOW > now);
        let all: u32 = wrong.values().map(|(_, count)| *count).sum();
        let here = wrong.get(&neighbourhood(peer));
        let ends = match here {
            Some((begun, count)) if *count >= WRONG_MAX => Some(*begun + WINDOW),
            Some(_) | None if all >= WRONG_MAX_ALL => wrong.values().map(|(begun, _)| *begun + WINDOW).min(),
            Some(_) | None => None,
        };
        ends.map_or(Ok(()), |ends| Err(Problem::too_many_logins(ends.saturating_duration_since(now).as_secs() + 1)))
    }

    fn was_wrong(&self, peer: IpAddr, now: Instant) {
        self.wrong.borrow_mut().entry(neighbourhood(peer)).or_insert((now, 0)).1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Token;
    use crate::server::ServerConfig;
    use crate::transport::secret::Secret;

    fn session(name: &str, role: Role, begun: Instant) -> Session {
        Session { name: name.into(), role, by_token: true, ends: begun + LIFE }
    }

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).expect("a value"))])
    }

    #[test]
    fn a_session_is_found_by_its_whole_id_until_it_ends() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let id = sessions.begin(session("anna", Role::Viewer, now), now).expect("random");
        let found =
            |cookie: &str| sessions.find(&headers(cookie), |_, _| true).map(|caller| (caller.name, caller.role));
        let anna = Some(("anna".to_owned(), Role::Viewer));
        assert_eq!(found(&format!("a=b; {NAME}={id}")), anna);
        assert_eq!(found(&format!("{NAME}={}", &id[1..])), None);
        assert_eq!(found(&format!("{NAME}=")), None);
        sessions.kept.borrow_mut().values_mut().for_each(|session| session.ends = now);
        assert_eq!(found(&format!("{NAME}={id}")), None, "it has ended");
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.begin(session("anna", Role::Operator, now), now).expect("random");
        let headers = headers(&format!("{NAME}={id}"));
        let token = |name: &str, role| Token { name: name.into(), role, secret: Secret::new("s3cret".into()) };
        for (tokens, expect) in [
            (vec![token("anna", Role::Operator)], true),
            (vec![token("jan", Role::Operator), token("anna", Role::Viewer)], false),
            (Vec::new(), false),
        ] {
            let config = ServerConfig { tokens, ..ServerConfig::new(([127, 0, 0, 1], 0).into()) };
            assert_eq!(access::caller(&config, &sessions, &headers).is_some(), expect, "{config:?}");
        }
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let first = sessions.begin(session("first", Role::Viewer, now), now).expect("random");
        for number in 1..=SESSIONS_MAX {
            let later = now + Duration::from_millis(u64::try_from(number).expect("small"));
            sessions.begin(session("next", Role::Viewer, later), later).expect("random");
        }
        assert_eq!(sessions.kept.borrow().len(), SESSIONS_MAX);
        assert!(sessions.find(&headers(&format!("{NAME}={first}")), |_, _| true).is_none());
    }

    #[test]
    fn who_is_wrong_too_often_waits() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let (guesser, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        for _ in 0..WRONG_MAX {
            assert!(sessions.admit(guesser, now).is_ok());
            sessions.was_wrong(guesser, now);
        }
        let refused = sessions.admit(guesser, now).expect_err("too many").answer();
        assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
        assert!(sessions.admit(other, now).is_ok(), "another address");
        assert!(sessions.admit(guesser, now + WINDOW).is_ok(), "a minute later");
        for number in 0..WRONG_MAX_ALL {
            sessions.was_wrong(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(sessions.admit(other, now).is_err(), "very many are wrong");
    }
}
