//! Credentials over real connections: what is sent, how often tokens are asked for, and in which order they are kept.

#[expect(dead_code, reason = "the other tests of the transport use the rest of it")]
#[path = "common/peer.rs"]
mod peer;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::model::{Class, NodeTag, Place, Sent, WallMs};
use goniec::transport::Transport;
use goniec::transport::http::{Grant, Http, OAuth, TokenKeeper};
use goniec::transport::secret::{Encoding, Hmac, Secret, Signing};
use goniec::transport::shape::Shape;
use goniec::{Id, Message, Outcome};
use peer::{Peer, Request};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const NO: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";

fn message() -> Message {
    let draft = Message::to("shop").key("order:17").content_type("application/json").body(&b"{\"n\":1}"[..]);
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, 2)),
        attempt: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: draft.envelope.into(),
        body: draft.body,
    }
}

fn send(http: &Http) -> Outcome {
    http.send(&message(), Duration::from_secs(10))
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
fn who_waits_for_anothers_token_waits_no_longer_than_it_may_and_a_stop_ends_the_wait() {
    let endpoint = Peer::start(|line| {
        let _request = line.request();
        line.hold(Duration::from_secs(60));
    });
    let shop = Peer::answering(OK);
    let oauth = OAuth::new(&endpoint.url("/token"), "me", secret("s3"), None, Grant::ClientCredentials);
    let http = Http::post(&shop.url("/")).oauth(oauth);
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| http.send(&message(), Duration::from_secs(50)));
        let limit = Instant::now() + Duration::from_secs(10);
        while endpoint.requests().is_empty() {
            assert!(Instant::now() < limit, "the token endpoint is asked");
            std::thread::yield_now();
        }
        let Outcome::Failed(failure) = http.send(&message(), Duration::from_millis(50)) else {
            panic!("there is no token");
        };
        assert_eq!((failure.class, failure.sent), (Class::Auth, Sent::No));
        assert!(!patient.is_finished(), "the other one still has the turn: {}", failure.detail);
        http.shutdown();
        let Outcome::Failed(failure) = patient.join().expect("ends") else { panic!("there is no token") };
        assert_eq!((failure.class, failure.sent), (Class::Interrupted, Sent::No), "{}", failure.detail);
    });
    assert_eq!(shop.connections(), 0);
}
