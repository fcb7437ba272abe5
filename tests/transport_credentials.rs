//! Credentials over real connections: what is sent, how often tokens are asked for, and in which order they are kept.

#[expect(dead_code, reason = "the other tests of the transport use the rest of it")]
#[path = "common/peer.rs"]
mod peer;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::model::{Class, Failure, NodeTag, Place, Sent, WallMs};
use goniec::transport::answer::Presence;
use goniec::transport::http::{Format, Grant, Http, OAuth, Question, Session, Tls, TokenKeeper};
use goniec::transport::secret::{Encoding, Hmac, Secret, Signing};
use goniec::transport::shape::Shape;
use goniec::transport::{Probed, Transport};
use goniec::{Id, Message, Outcome};
use peer::{Peer, Request};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const NO: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";

fn message() -> Message {
    let draft = Message::to("shop").key("order:17").content_type("application/json").body(&b"{\"n\":1}"[..]);
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, 2)),
        attempt: 1,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: draft.envelope.into(),
        body: draft.body,
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn send(http: &Http) -> Outcome {
    http.send(&message(), PATIENCE)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

#[test]
fn fixed_credentials_and_signatures_are_over_what_leaves() {
    let peer = Peer::answering(OK);
    let key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let http = Http::post(&peer.url("/"))
        .basic("anna", &secret("pass"))
        .shape(Shape::filter("{m: .body.n}", "application/x-made").expect("a filter"))
        .sign(Signing::standard_webhooks(std::slice::from_ref(&key)).expect("a key"))
        .hmac(Hmac::new("X-Hmac", secret("k"), Encoding::Hex, "sha256="));
    assert!(matches!(send(&http), Outcome::Delivered(_)));
    let request = peer.requests().remove(0);
    assert_eq!(request.body, b"{\"m\":1}");
    assert_eq!(header(&request, "content-type").as_deref(), Some("application/x-made"));
    assert_eq!(header(&request, "authorization").as_deref(), Some("Basic YW5uYTpwYXNz"));
    let at = header(&request, "webhook-timestamp").expect("a time").parse().expect("a number");
    let id = header(&request, "webhook-id").expect("an id");
    let again = Signing::standard_webhooks(&[key]).expect("a key").signature(&id, at, &request.body);
    assert_eq!(header(&request, "webhook-signature"), Some(again));
    let hmac = Hmac::new("x-hmac", secret("k"), Encoding::Hex, "sha256=").signature(&request.body);
    assert_eq!(header(&request, "x-hmac"), Some(hmac));
    assert!(!format!("{http:?}").contains("pass"));
}

#[test]
fn a_shape_that_fails_sends_nothing() {
    let peer = Peer::answering(OK);
    let shape = Shape::template("{{ body.absent.x }}", "text/plain").expect("a template");
    match send(&Http::post(&peer.url("/")).shape(shape)) {
        Outcome::Failed(failure) => assert_eq!((failure.class, failure.sent), (Class::Template, Sent::No)),
        Outcome::Delivered(_) => panic!("nothing could be sent"),
    }
    assert_eq!(peer.connections(), 0);
}

/// A token endpoint that counts, and gives `t1`, `t2`, .. with refresh tokens `r1`, `r2`, ..
fn tokens(asked: &Arc<AtomicUsize>) -> Peer {
    let asked = Arc::clone(asked);
    Peer::start(move |line| {
        while line.request().is_some() {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            // Long enough for the others to come while the first one asks.
            std::thread::sleep(Duration::from_millis(100));
            let body = format!(r#"{{"access_token":"t{number}","expires_in":3600,"refresh_token":"r{number}"}}"#);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if line.stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn many_messages_ask_for_one_token() {
    let asked = Arc::default();
    let (endpoint, shop) = (tokens(&asked), Peer::answering(OK));
    let oauth = OAuth::new(&endpoint.url("/token"), "me", secret("s3"), Some("orders"), Grant::ClientCredentials);
    let http = Http::post(&shop.url("/")).oauth(oauth);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(matches!(send(&http), Outcome::Delivered(_))));
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(shop.requests().iter().all(|request| header(request, "authorization").as_deref() == Some("Bearer t1")));
    let request = endpoint.requests().remove(0);
    assert_eq!(request.body, b"grant_type=client_credentials&scope=orders");
    assert_eq!(header(&request, "authorization").as_deref(), Some("Basic bWU6czM="));
}

#[test]
fn a_refused_token_is_renewed_once_within_the_attempt() {
    let asked = Arc::default();
    let endpoint = tokens(&asked);
    for (answers, is_delivered) in [(vec![NO, OK], true), (vec![NO, NO], false)] {
        let answers = Mutex::new(answers.into_iter());
        let shop = Peer::start(move |line| {
            while line.request().is_some() {
                let answer = answers.lock().expect("a lock").next().expect("no third request");
                line.stream.write_all(answer.as_bytes()).expect("written");
            }
        });
        let oauth = OAuth::new(&endpoint.url("/"), "me", secret("s3"), None, Grant::ClientCredentials);
        let outcome = send(&Http::post(&shop.url("/")).oauth(oauth));
        assert_eq!(matches!(outcome, Outcome::Delivered(_)), is_delivered, "{outcome:?}");
        let requests = shop.requests();
        assert_eq!(requests.len(), 2);
        assert_ne!(header(&requests[0], "authorization"), header(&requests[1], "authorization"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[derive(Default)]
struct Shelf {
    kept: Mutex<Vec<String>>,
    is_full: AtomicBool,
}

struct ShelfKeeper(Arc<Shelf>, Peer);

impl TokenKeeper for ShelfKeeper {
    fn newest(&self) -> Result<Option<Secret>, String> {
        Ok(None)
    }

    fn keep(&self, refresh_token: &Secret) -> Result<(), String> {
        assert_eq!(format!("{refresh_token:?}"), "Secret(..)");
        assert_eq!(self.1.connections(), 0, "the token is used before it is kept");
        if self.0.is_full.load(Ordering::SeqCst) {
            return Err("no room".into());
        }
        self.0.kept.lock().expect("a lock").push("kept".into());
        Ok(())
    }
}

#[test]
fn a_new_refresh_token_is_kept_before_the_access_token_is_used() {
    let asked = Arc::default();
    let (endpoint, shop) = (tokens(&asked), Peer::answering(OK));
    let shelf = Arc::new(Shelf::default());
    shelf.is_full.store(true, Ordering::SeqCst);
    let url = shop.url("/");
    let keeper = Arc::new(ShelfKeeper(Arc::clone(&shelf), shop));
    let grant = Grant::RefreshToken { token: secret("r0"), keeper };
    let http = Http::post(&url).oauth(OAuth::new(&endpoint.url("/"), "me", secret("s"), None, grant));
    for _ in 0..2 {
        match send(&http) {
            Outcome::Failed(failure) => {
                assert_eq!((failure.class, failure.sent), (Class::Auth, Sent::No));
                assert!(failure.detail.contains("cannot be kept: no room"), "{}", failure.detail);
            }
            Outcome::Delivered(_) => panic!("the refresh token was not kept"),
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a token that is not kept is not exchanged");
    shelf.is_full.store(false, Ordering::SeqCst);
    assert!(matches!(send(&http), Outcome::Delivered(_)));
    assert_eq!(
        shelf.kept.lock().expect("a lock").len(),
        2,
        "the one that waited, and the one that came with the token"
    );
    let bodies: Vec<String> =
        endpoint.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert_eq!(bodies, ["grant_type=refresh_token&refresh_token=r0", "grant_type=refresh_token&refresh_token=r1"]);
}

/// Counts what it is given to keep.
#[derive(Default)]
struct Drawer(AtomicUsize);

impl TokenKeeper for Drawer {
    fn newest(&self) -> Result<Option<Secret>, String> {
        Ok(None)
    }

    fn keep(&self, _: &Secret) -> Result<(), String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_new_refresh_token_is_kept_whatever_else_the_answer_says_and_however_late_it_comes() {
    for (answer, takes_ms, arrives, kept) in [
        (r#"{"access_token":"t","expires_in":"3600","refresh_token":"r1"}"#, 0, true, 1),
        (r#"{"access_token":"t","expires_in":3600.5,"refresh_token":"r1"}"#, 0, true, 1),
        (r#"{"access_token":"t","expires_in":-1,"refresh_token":"r1"}"#, 0, true, 1),
        (r#"{"refresh_token":"r1"}"#, 0, false, 1),
        (r#"{"access_token":7,"refresh_token":"r1"}"#, 0, false, 1),
        (r#"{"access_token":"t","refresh_token":" "}"#, 0, true, 0),
        (r#"{"access_token":"t","refresh_token":null}"#, 0, true, 0),
        (r#"{"access_token":"t","refresh_token":"r1"}"#, 400, false, 1),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let endpoint = Peer::start(move |line| {
            while line.request().is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                // A token endpoint that is slower than the message may wait.
                std::thread::sleep(Duration::from_millis(takes_ms));
                let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                if line.stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let (shop, drawer) = (Peer::answering(OK), Arc::new(Drawer::default()));
        let grant = Grant::RefreshToken { token: secret("r0"), keeper: drawer.clone() };
        let http = Http::post(&shop.url("/")).oauth(OAuth::new(&endpoint.url("/"), "me", secret("s"), None, grant));
        let limit = if takes_ms == 0 { PATIENCE } else { Duration::from_millis(150) };
        let outcome = http.send(&message(), limit);
        assert_eq!(matches!(outcome, Outcome::Delivered(_)), arrives, "{answer}: {outcome:?}");
        assert_eq!(drawer.0.load(Ordering::SeqCst), kept, "{answer}");
        if takes_ms > 0 {
            assert!(matches!(send(&http), Outcome::Delivered(_)), "what came too late for one is there for the next");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "the token before is void, and not shown again");
        }
    }
}

#[test]
fn a_token_endpoint_that_never_ends_fills_no_memory() {
    for (filler, is_sent) in [(1_000, true), (2 << 20, false)] {
        let body = format!(r#"{{"access_token":"t","filler":"{}"}}"#, "x".repeat(filler));
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (endpoint, shop) = (Peer::answering(answer), Peer::answering(OK));
        let oauth = OAuth::new(&endpoint.url("/token"), "me", secret("s3"), None, Grant::ClientCredentials);
        let outcome = send(&Http::post(&shop.url("/")).oauth(oauth));
        assert_eq!(matches!(outcome, Outcome::Delivered(_)), is_sent, "{filler}: {outcome:?}");
        assert_eq!(shop.requests().len(), usize::from(is_sent));
    }
}

#[test]
fn who_waits_for_anothers_pass_waits_no_longer_than_it_may_and_a_stop_ends_the_wait() {
    let ways: [fn(&str) -> Http; 2] = [
        |url| {
            Http::post("http://127.0.0.1:9/").oauth(OAuth::new(url, "me", secret("s3"), None, Grant::ClientCredentials))
        },
        |url| Http::post("http://127.0.0.1:9/").session(session(url)),
    ];
    for way in ways {
        let endpoint = Peer::start(|line| {
            let _request = line.request();
            line.hold(Duration::from_secs(60));
        });
        let http = way(&endpoint.url("/"));
        std::thread::scope(|scope| {
            let patient = scope.spawn(|| http.send(&message(), Duration::from_secs(50)));
            let limit = Instant::now() + Duration::from_secs(10);
            while endpoint.requests().is_empty() {
                assert!(Instant::now() < limit, "the endpoint is asked");
                std::thread::yield_now();
            }
            let failure = failed(http.send(&message(), Duration::from_millis(50)));
            assert_eq!((failure.class, failure.sent), (Class::Auth, Sent::No));
            assert!(!patient.is_finished(), "the other one still has the turn: {}", failure.detail);
            http.shutdown();
            let failure = failed(patient.join().expect("ends"));
            assert_eq!((failure.class, failure.sent), (Class::Interrupted, Sent::No), "{}", failure.detail);
        });
    }
}

fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Delivered(_) => panic!("it was delivered"),
    }
}

fn session(url: &str) -> Session {
    Session::new(url, &[("CompanyDB", "SHOP")], &[("Password", &secret("can\"ary"))], Tls::new())
}

/// A server that opens sessions `1`, `2`, .. and counts them.
fn logins(opened: &Arc<AtomicUsize>) -> Peer {
    let opened = Arc::clone(opened);
    Peer::start(move |line| {
        while line.request().is_some() {
            let number = opened.fetch_add(1, Ordering::SeqCst) + 1;
            // Long enough for the others to come while the first one asks.
            std::thread::sleep(Duration::from_millis(100));
            let cookies = format!(
                "Set-Cookie: B1SESSION={number}-a; HttpOnly; path=/b1s; SameSite=None\r\nset-cookie: ROUTEID=.node{number}; path=/b1s"
            );
            if !line.send(format!("HTTP/1.1 200 OK\r\n{cookies}\r\ncontent-length: 2\r\n\r\n{{}}")) {
                return;
            }
        }
    })
}

/// A destination that takes what comes with this session, and sets a cookie of its own with every answer.
fn open_to(cookie: &'static str) -> Peer {
    Peer::start(move |line| {
        while let Some(request) = line.request() {
            let status = if request.header("cookie") == Some(cookie) { "200 OK" } else { "401 Unauthorized" };
            if !line.send(format!("HTTP/1.1 {status}\r\nset-cookie: B1SESSION=later\r\ncontent-length: 2\r\n\r\n[]")) {
                return;
            }
        }
    })
}

#[test]
fn many_messages_open_one_session_and_everything_carries_it() {
    let opened = Arc::default();
    let (server, shop) = (logins(&opened), open_to("B1SESSION=1-a; ROUTEID=.node1"));
    let question = Question::parse(&format!("GET {}?id={{id}}", shop.url("/orders")), Presence::default());
    let http = Http::post(&shop.url("/"))
        .header("x-shop", "7")
        .session(session(&server.url("/b1s/v1/Login")))
        .batch(Format::JsonArray, None)
        .asks(question.expect("a question"));
    let mut with_cookie = message();
    with_cookie.envelope = Message::to("shop").header("Cookie", "evil=1").envelope.into();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(matches!(send(&http), Outcome::Delivered(_))));
            scope.spawn(|| assert!(matches!(http.send(&with_cookie, PATIENCE), Outcome::Delivered(_))));
            scope.spawn(|| assert!(matches!(http.send_batch(&[message()], PATIENCE).request, Outcome::Delivered(_))));
            scope.spawn(|| assert_eq!(http.probe(&message(), PATIENCE), Probed::Absent));
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    for request in shop.requests() {
        assert_eq!(request.head.to_ascii_lowercase().matches("\r\ncookie:").count(), 1, "{}", request.head);
        assert_eq!(header(&request, "x-shop").as_deref(), Some("7"));
    }
    let [login] = server.requests().try_into().expect("one login");
    assert!(login.head.starts_with("POST /b1s/v1/Login HTTP/1.1\r\n"), "{}", login.head);
    assert_eq!(header(&login, "content-type").as_deref(), Some("application/json"));
    assert_eq!(login.body, br#"{"CompanyDB":"SHOP","Password":"can\"ary"}"#);
    assert!(!format!("{http:?}{:?}", session("http://127.0.0.1/")).contains("ary"));
}

#[test]
fn a_session_that_has_ended_is_opened_anew_once_for_all_and_within_the_attempt() {
    let opened = Arc::default();
    let (server, shop) = (logins(&opened), open_to("B1SESSION=2-a; ROUTEID=.node2"));
    let http = Http::post(&shop.url("/")).session(session(&server.url("/")));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(matches!(send(&http), Outcome::Delivered(_))));
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    // Where the new one is refused, too, that is the answer.
    let shop = open_to("B1SESSION=0");
    let failure = failed(send(&Http::post(&shop.url("/")).session(session(&server.url("/")))));
    assert_eq!((failure.class, failure.status), (Class::Setup, Some(401)));
    assert_eq!((shop.requests().len(), opened.load(Ordering::SeqCst)), (2, 4));
}

#[test]
fn a_session_is_used_for_its_lifetime() {
    for (life, logins_expected) in [(Duration::from_secs(3_600), 1), (Duration::ZERO, 2)] {
        let opened = Arc::default();
        let (server, shop) = (logins(&opened), Peer::answering(OK));
        let http = Http::post(&shop.url("/")).session(session(&server.url("/")).lasting(life));
        for _ in 0..2 {
            assert!(matches!(send(&http), Outcome::Delivered(_)));
        }
        assert_eq!(opened.load(Ordering::SeqCst), logins_expected, "{life:?}");
    }
}

#[test]
fn a_login_that_fails_is_told_in_the_words_of_the_answer_and_nothing_is_sent() {
    let elsewhere = Peer::answering(OK);
    let redirect = format!("302 Found\r\nset-cookie: s=1\r\nlocation: {}", elsewhere.url("/"));
    let many: String = (0..17).map(|number| format!("\r\nset-cookie: c{number}=1")).collect();
    let long = format!("200 OK\r\nset-cookie: s={}", "x".repeat(8 << 10));
    for (head, body, words) in [
        (
            "401 Unauthorized",
            r#"{"error":{"code":301,"message":{"value":"Fail to\nlog in"}}}"#,
            r#"it answered 401: {"error":{"code":301,"message":{"value":"Fail to\nlog in"}}}"#,
        ),
        (
            "401 Unauthorized",
            "can\"ary is\u{1b}[2J wrong,\r\n  can\\\"ary too",
            "it answered 401: *** is [2J wrong, *** too",
        ),
        ("503 Service Unavailable", "", "it answered 503"),
        (&redirect, "", "it answered 302"),
        ("200 OK", "Invalid database", "its answer sets no cookie: Invalid database"),
        ("200 OK\r\nset-cookie: s=; Max-Age=0", "", "its answer sets no cookie"),
        ("200 OK\r\nset-cookie: s=a\tb", "", "its answer sets a cookie that cannot be sent back"),
        ("200 OK\r\nset-cookie: s=zażółć", "", "its answer sets a cookie that cannot be sent back"),
        ("200 OK\r\nset-cookie: nameless", "", "its answer sets a cookie that cannot be sent back"),
        ("200 OK\r\nset-cookie: a b=1", "", "its answer sets a cookie that cannot be sent back"),
        (&format!("200 OK{many}"), "", "its answer sets more than 16 cookies"),
        (&long, "", "its answer sets cookies of more than 8192 bytes"),
    ] {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (server, shop) = (Peer::answering(answer), Peer::answering(OK));
        let url = server.url("/Login");
        let failure = failed(send(&Http::post(&shop.url("/")).session(session(&url))));
        assert_eq!((failure.class, failure.sent), (Class::Auth, Sent::No));
        assert_eq!(failure.detail, format!("no session from {url}: {words}"));
        assert_eq!((shop.connections(), server.requests().len()), (0, 1), "{words}");
    }
    assert_eq!(elsewhere.connections(), 0);
}
