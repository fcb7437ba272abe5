//! Who may call: bearers of tokens by their roles, sessions of the console by theirs, sources by their proof, and no page in a browser that has no
//! business here.
//!
//! A page that a user of this machine visits can reach a loopback address. Two checks keep it out: the `Host` must be a name of
//! this machine (a rebound name is not), and a change that bears an `Origin` must come from this server's own pages. A change with the
//! cookie of a session must prove that.
//!
//! # What it does not know
//!
//! What the calls do.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use tokio::time::Instant;

use super::incoming;
use super::intake::now;
use super::keyring::Holder;
use super::listen::App;
use super::problem::Problem;
use super::routes::Right;
use crate::config::Role;
use crate::source::Source;

/// Who calls, as the token or the session tells.
#[derive(Debug)]
pub(super) struct Caller {
    /// The name of the token.
    pub(super) name: String,
    /// Its role.
    pub(super) role: Role,
}

/// Who was let in.
pub(super) enum Admitted {
    /// Whom changes are ascribed to.
    Person(String),
    /// A system that hands in by itself.
    Source(Arc<Source>),
}

/// Lets the request pass, or says why not; `name` is whom the path names.
pub(super) fn check(
    app: &App,
    peer: IpAddr,
    method: &Method,
    headers: &HeaderMap,
    right: Right,
    name: &str,
) -> Result<Admitted, Problem> {
    let host = host(headers)?;
    if app.config.listen.ip().is_loopback() {
        local(app, host.as_ref())?;
    }
    same_origin(method, headers, host.as_ref())?;
    let session = session(app, headers);
    if session.is_some() {
        from_the_console(method, headers)?;
    }
    if right == Right::Source {
        return incoming::admit(app, peer, headers, name).map(Admitted::Source);
    }
    if !app.keyring.needs_login() || right == Right::Anyone {
        return Ok(Admitted::Person(NOBODY.to_owned()));
    }
    let caller = session.map_or_else(|| bearer(app, peer, headers), |caller| Ok(Some(caller)))?;
    let caller = caller.ok_or_else(Problem::unauthorized)?;
    if may(caller.role, right) {
        return Ok(Admitted::Person(caller.name));
    }
    let able: Vec<&str> = Role::ALL.into_iter().filter(|role| may(*role, right)).map(Role::name).collect();
    Err(Problem::forbidden(format!(
        "the token {:?} has the role {}, which may not do this; {} may",
        caller.name,
        caller.role.name(),
        able.join(", ")
    )))
}

/// Who calls, where anything tells. A token that is borne counts before a session, also where it is wrong.
///
/// # Errors
/// The token opens nothing, or has to wait.
pub(super) fn caller(app: &App, peer: IpAddr, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    session(app, headers).map_or_else(|| bearer(app, peer, headers), |caller| Ok(Some(caller)))
}

/// Who bears a token, where any is borne.
fn bearer(app: &App, peer: IpAddr, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if !headers.contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    let borne = borne(headers).ok_or_else(Problem::unauthorized)?;
    let Holder { name, role, .. } = holder(app, peer, borne)?;
    Ok(Some(Caller { name, role }))
}

/// Whose token this is. What can be guessed waits where its address, or very many, were wrong too often; what cannot never does, so that nobody
/// is kept out by what others behind the same address try.
///
/// # Errors
/// It opens nothing, or has to wait.
pub(super) fn holder(app: &App, peer: IpAddr, borne: &[u8]) -> Result<Holder, Problem> {
    let found = app.keyring.bearer(borne);
    match found {
        Some(Holder { name, expires_at: Some(at), .. }) if at <= now() => Err(Problem::expired(&name, at)),
        Some(holder) if !holder.is_guessable => Ok(holder),
        Some(_) | None => guessed(app, peer, || found.ok_or_else(Problem::unauthorized)),
    }
}

/// What a try comes to that may be a guess; a wrong one counts.
pub(super) fn guessed<T>(app: &App, peer: IpAddr, tried: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    let now = Instant::now();
    app.guesses.admit(peer, now)?;
    tried().inspect_err(|_| app.guesses.was_wrong(peer, now))
}

/// Whether who was let in would be so again: since then a token may have been revoked, or a session ended.
pub(super) fn may_go_on(app: &App, headers: &HeaderMap, right: Right) -> bool {
    let held = |borne: &[u8]| app.keyring.bearer(borne).filter(|holder| !holder.is_over(now()));
    let role = match borne(headers) {
        Some(borne) => held(borne).map(|holder| holder.role),
        None => session(app, headers).map(|caller| caller.role),
    };
    !app.keyring.needs_login() || role.is_some_and(|role| may(role, right))
}

/// Whose session the cookie names. There is none where a token is borne.
fn session(app: &App, headers: &HeaderMap) -> Option<Caller> {
    if headers.contains_key(AUTHORIZATION) { None } else { app.sessions.find(headers, &app.keyring) }
}

/// What the bearer of this role may do; everything where no token is needed.
pub(super) fn rights(app: &App, role: Option<Role>) -> Vec<Right> {
    let holds = |right: &Right| !app.keyring.needs_login() || role.is_some_and(|role| may(role, *right));
    Right::ALL.into_iter().filter(holds).collect()
}

/// Whom changes are ascribed to where no token is needed.
pub(super) const NOBODY: &str = "local";

/// What only the console's own script sends.
const CONSOLE: &str = "goniec-console";
/// Where the page that calls is from, as the browser tells.
const FETCH_SITE: &str = "sec-fetch-site";

/// Which role may do what.
fn may(role: Role, right: Right) -> bool {
    match (role, right) {
        // No token proves to be a source.
        (_, Right::Source) => false,
        (_, Right::Anyone) | (Role::Admin, _) => true,
        (Role::Operator, right) => right != Right::Admin,
        (Role::Producer, right) => right == Right::Produce,
        (Role::Viewer, right) => right == Right::View,
    }
}

fn host(headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Problem::ambiguous("it has more than one host"));
    }
    let host = host.as_bytes();
    if host.is_empty() {
        return Ok(None);
    }
    Authority::try_from(host).map(Some).map_err(|_| Problem::bad("the host header is not a host"))
}

fn local(app: &App, host: Option<&Authority>) -> Result<(), Problem> {
    // A browser always sends a host; a client that sends none is no browser.
    let Some(host) = host else { return Ok(()) };
    let name = host.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    let is_public = app.config.public_host.as_deref().is_some_and(|public| public.eq_ignore_ascii_case(name));
    // A rebound name bears no token.
    if loopback || name.eq_ignore_ascii_case("localhost") || (is_public && app.keyring.needs_login()) {
        return Ok(());
    }
    Err(Problem::foreign(format!("goniec listens on this machine only, and {name:?} is not a name of it"))
        .hint("Use 127.0.0.1 or localhost in the address; behind a proxy, set `url` in [server], and tokens."))
}

fn same_origin(method: &Method, headers: &HeaderMap, host: Option<&Authority>) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("?");
    let from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match (from, host) {
        (Some(from), Some(host)) if from.eq_ignore_ascii_case(host.as_str()) => Ok(()),
        (Some(_) | None, _) => {
            let shown: String = origin.chars().take(64).collect();
            Err(Problem::foreign(format!("a page of {shown:?} may not change anything here")))
        }
    }
}

/// A change that a browser makes with its cookie must show that it comes from the console: the browser says where the page is from, and
/// only a page of this server can set the header.
fn from_the_console(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_ours = headers.contains_key(ORIGIN) || headers.get(FETCH_SITE).is_some_and(|site| site == "same-origin");
    if is_read || (is_ours && headers.get(CONSOLE).is_some_and(|value| value == "1")) {
        return Ok(());
    }
    Err(Problem::not_the_console())
}

fn borne(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    if scheme.eq_ignore_ascii_case(b"bearer ") { Some(token.trim_ascii()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Token;
    use crate::server::ServerConfig;
    use crate::transport::secret::Secret;
    use hyper::header::{HeaderName, HeaderValue};

    fn check_status(token: bool, method: &Method, headers: &[(HeaderName, &str)], expect: u16) {
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
        if token {
            let anna = Token { name: "anna".into(), role: Role::Operator, secret: Secret::new("s3cret".into()) };
            let shop = Token { name: "shop".into(), role: Role::Producer, secret: Secret::new("shop-secret".into()) };
            config.tokens = vec![anna, shop];
        }
        let app = App::alone(config);
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")))
            .collect();
        let status = check(&app, [127, 0, 0, 1].into(), method, &headers, Right::Operate, "")
            .map_or_else(|no| no.answer().status().as_u16(), |_| 200);
        assert_eq!(status, expect, "{headers:?}");
    }

    #[test]
    fn only_the_whole_token_opens() {
        for (borne, expect) in [
            ("Bearer s3cret", 200),
            ("bearer s3cret", 200),
            ("Bearer s3cre", 401),
            ("Bearer s3crets3cret", 401),
            ("Bearer ", 401),
            ("Basic s3cret", 401),
            ("s3cret", 401),
        ] {
            check_status(true, &Method::POST, &[(AUTHORIZATION, borne)], expect);
        }
        check_status(true, &Method::GET, &[], 401);
        check_status(false, &Method::GET, &[], 200);
    }

    #[test]
    fn a_role_may_do_what_it_is_for_and_no_more() {
        let rights = [Right::Anyone, Right::Produce, Right::View, Right::Operate, Right::Admin];
        for (role, allowed) in [
            (Role::Producer, [true, true, false, false, false]),
            (Role::Viewer, [true, false, true, false, false]),
            (Role::Operator, [true, true, true, true, false]),
            (Role::Admin, [true; 5]),
        ] {
            assert_eq!(rights.map(|right| may(role, right)), allowed, "{role:?}");
        }
        check_status(true, &Method::POST, &[(AUTHORIZATION, "Bearer shop-secret")], 403);
    }

    #[test]
    fn behind_a_proxy_its_own_name_is_taken_where_there_are_tokens() {
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
        config.public_host = Some("goniec.example.pl".into());
        let asked = |config: &ServerConfig, host: &str| {
            let host = Authority::try_from(host).expect("a host");
            local(&App::alone(config.clone()), Some(&host)).is_ok()
        };
        assert!(!asked(&config, "goniec.example.pl"), "without tokens anybody could come");
        config.tokens = vec![Token { name: "anna".into(), role: Role::Operator, secret: Secret::new("s3cret".into()) }];
        assert!(asked(&config, "Goniec.example.pl") && asked(&config, "goniec.example.pl:443"));
        assert!(!asked(&config, "evil.example") && !asked(&config, "goniec.example.pl.evil.example"));
    }

    #[test]
    fn a_rebound_name_and_a_foreign_page_are_kept_out() {
        for (host, expect) in [
            ("127.0.0.1:8420", 200),
            ("localhost", 200),
            ("[::1]:8420", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil.example", 403),
        ] {
            check_status(false, &Method::GET, &[(HOST, host)], expect);
        }
        let host = (HOST, "localhost:8420");
        check_status(false, &Method::POST, &[host.clone(), (ORIGIN, "http://localhost:8420")], 200);
        check_status(false, &Method::POST, &[host.clone(), (ORIGIN, "http://evil.example")], 403);
        check_status(false, &Method::POST, &[host.clone(), (ORIGIN, "null")], 403);
        check_status(false, &Method::GET, &[host, (ORIGIN, "http://evil.example")], 200);
    }
}
