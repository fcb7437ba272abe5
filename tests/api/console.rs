//! The console's files as they are served, and its sessions: who gets one, what it opens, what it does not.

use goniec::config::{Role, Token};
use goniec::engine::Settings;
use goniec::transport::secret::Secret;
use serde_json::Value;

use super::harness::{Answer, Api};

/// What the console sends with a change.
const OURS: [(&str, &str); 2] = [("goniec-console", "1"), ("sec-fetch-site", "same-origin")];

pub fn page(api: &Api) {
    let page = api.get("/console").expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    check_headers(&page);
    let browser = api.call("GET", "/", &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], b"").expect(303);
    assert_eq!(browser.header("location"), Some("/console"));
}

pub fn files(api: &Api) {
    let script = api.get("/console/app.js").expect(200);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    check_headers(&script);
    let tag = script.header("etag").expect("a tag");
    let again = api.call("GET", "/console/app.js", &[("if-none-match", tag)], b"").expect(304);
    assert!(again.body.is_empty() && again.header("etag") == Some(tag));
    api.call("GET", "/console/app.js", &[("if-none-match", "\"other\"")], b"").expect(200);
    for stranger in ["tests.rs", "nothing", "..%2Fmod.rs", "%2e%2e"] {
        api.get(&format!("/console/{stranger}")).expect(404);
    }
}

fn check_headers(answer: &Answer) {
    let policy = answer.header("content-security-policy").expect("a policy");
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
}

pub fn login(api: &Api) {
    for nonsense in
        ["", "token", "{}", "{\"token\": 1}", "{\"token\":\"a\",\"more\":1}", "{\"token\":\"a\",\"code\":\"b\"}"]
    {
        api.call("POST", "/v1/login", &[], nonsense.as_bytes()).expect(400).says("token");
    }
    // There are no tokens here, and so none is right.
    api.call("POST", "/v1/login", &[], b"{\"token\":\"\"}").expect(401);
    api.call("POST", "/v1/login", &[], b"{\"code\":\"\"}").expect(401).says("Ask for a new link");
}

pub fn logout(api: &Api) {
    let out = api.post("/v1/logout").expect(204);
    assert!(
        out.header("set-cookie")
            .expect("a cookie")
            .starts_with("goniec-session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
    );
}

pub fn me(api: &Api) {
    let me = api.get("/v1/me").expect(200).json();
    assert_eq!((&me["name"], &me["role"], &me["needs_login"]), (&Value::Null, &Value::Null, &false.into()));
    assert_eq!(me["rights"], serde_json::json!(["view", "produce", "operate", "admin"]));
}

fn guarded() -> Api {
    let token = |name: &str, role| Token { name: name.into(), role, secret: Secret::new(format!("{name}-secret")) };
    let tokens = vec![token("viewer", Role::Viewer), token("operator", Role::Operator)];
    let mut api = Api::with(Settings::default(), |config| config.tokens = tokens);
    api.without_token();
    api
}

/// Logs in, and returns the cookie.
fn enter(api: &Api, name: &str) -> String {
    let body = format!("{{\"token\":\"{name}-secret\"}}");
    let cookie = api.call("POST", "/v1/login", &[], body.as_bytes()).expect(204);
    let cookie = cookie.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"), "{cookie}");
    let (session, _) = cookie.split_once(';').expect("attributes");
    assert_eq!(session.len(), "goniec-session=".len() + 64, "256 bits");
    session.to_owned()
}

#[test]
fn a_session_may_do_what_its_token_may_and_ends_at_the_logout() {
    let api = guarded();
    api.get("/v1/stats").expect(401);
    assert_eq!(api.get("/v1/me").expect(200).json()["needs_login"], true);
    let cookie = enter(&api, "viewer");
    let with = [("cookie", &*cookie), OURS[0], OURS[1]];
    api.call("GET", "/v1/stats", &with[..1], b"").expect(200);
    let me = api.call("GET", "/v1/me", &with[..1], b"").expect(200).json();
    assert_eq!((&me["name"], &me["role"]), (&"viewer".into(), &"viewer".into()));
    assert_eq!(me["rights"], serde_json::json!(["view"]));
    api.call("POST", "/v1/destinations/ok/pause", &with, b"").expect(403);
    api.call("POST", "/v1/logout", &with, b"").expect(204);
    api.call("GET", "/v1/stats", &with[..1], b"").expect(401);
}

#[test]
fn a_code_opens_a_session_once_without_a_token() {
    let api = guarded();
    let code = api.running.one_time_code("guide", Role::Viewer).expect("a code");
    assert_eq!(code.len(), 64, "256 bits");
    let body = format!("{{\"code\":\"{code}\"}}");
    let login = || api.call("POST", "/v1/login", &[], body.as_bytes());
    let opened = login().expect(204);
    let (session, _) = opened.header("set-cookie").expect("a cookie").split_once(';').expect("attributes");
    let me = api.call("GET", "/v1/me", &[("cookie", session)], b"").expect(200).json();
    assert_eq!((&me["name"], &me["role"]), (&"guide".into(), &"viewer".into()));
    api.call("GET", "/v1/stats", &[("cookie", session)], b"").expect(200);
    api.call("POST", "/v1/destinations/ok/pause", &[("cookie", session), OURS[0], OURS[1]], b"").expect(403);
    // It is no token, and it was used: each further try is a guess.
    api.call("GET", "/v1/stats", &[("authorization", &format!("Bearer {code}"))], b"").expect(401);
    for _ in 1..5 {
        login().expect(401);
    }
    login().expect(429);
}

#[test]
fn a_cookie_alone_changes_nothing() {
    let api = guarded();
    let cookie = enter(&api, "operator");
    let session = ("cookie", &*cookie);
    let pause = "/v1/destinations/ok/pause";
    let ours = ("origin", "http://localhost");
    for forged in [
        &[session][..],
        &[session, OURS[0]],
        &[session, OURS[1]],
        &[session, OURS[0], ("sec-fetch-site", "cross-site")],
        &[session, OURS[0], ("sec-fetch-site", "same-site")],
        &[session, ("goniec-console", "0"), OURS[1]],
        &[session, OURS[0], ("origin", "http://evil.example")],
        &[session, ours],
    ] {
        api.call("POST", pause, forged, b"").expect(403);
    }
    let lanes = api.call("GET", "/v1/destinations", &[session], b"").expect(200).json();
    assert!(lanes["destinations"].as_array().unwrap().iter().all(|lane| lane["paused"].is_null()), "{lanes}");
    api.call("POST", pause, &[session, OURS[0], OURS[1]], b"").expect(200);
    api.call("POST", pause, &[session, OURS[0], ours], b"").expect(200);
    // A token that is borne counts before the cookie, also where it is wrong.
    api.call("POST", pause, &[session, OURS[0], OURS[1], ("authorization", "Bearer wrong")], b"").expect(401);
}

#[test]
fn who_guesses_tokens_waits_but_not_who_bears_what_nobody_can_guess() {
    let long = "a token of a good length";
    let api = {
        let token = |name: &str, secret: &str| Token {
            name: name.into(),
            role: Role::Operator,
            secret: Secret::new(secret.into()),
        };
        let tokens = vec![token("short", "fifteen bytes.."), token("long", long)];
        let mut api = Api::with(Settings::default(), |config| config.tokens = tokens);
        api.without_token();
        api
    };
    let login = |token: &str| api.call("POST", "/v1/login", &[], format!("{{\"token\":\"{token}\"}}").as_bytes());
    let bears = |path: &str, token: &str| api.call("GET", path, &[("authorization", &format!("Bearer {token}"))], b"");
    login("fifteen bytes..").expect(204);
    bears("/v1/stats", "fifteen bytes..").expect(200);
    // Wherever they are tried they count together.
    login("guess").expect(401);
    api.call("POST", "/v1/login", &[], b"{\"code\":\"guess\"}").expect(401);
    bears("/v1/stats", "guess").expect(401);
    assert_eq!(bears("/v1/me", "guess").expect(200).json()["name"], Value::Null);
    bears("/v1/messages", "guess").expect(401);
    for token in ["guess", "fifteen bytes.."] {
        let refused = login(token).expect(429);
        let after = refused.header("retry-after").and_then(|after| after.parse::<u32>().ok());
        assert!(after.is_some_and(|seconds| (1..=60).contains(&seconds)));
        bears("/v1/stats", token).expect(429);
        bears("/v1/me", token).expect(429);
        bears("/healthz", token).expect(200);
    }
    for _ in 0..20 {
        bears("/v1/stats", long).expect(200);
        login(long).expect(204);
    }
    let code = api.running.one_time_code("guide", Role::Viewer).expect("a code");
    api.call("POST", "/v1/login", &[], format!("{{\"code\":\"{code}\"}}").as_bytes()).expect(204);
    api.get("/v1/stats").expect(401);
}
