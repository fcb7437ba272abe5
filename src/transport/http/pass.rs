//! What opens a destination for a while, an access token or the cookies of a session: asked for by one, used by all.
//!
//! # What holds
//!
//! * However many messages need a pass, one of them asks for it; the others wait for what comes of it, each until its own deadline. What kept it from
//!   coming holds for all who waited: a wrong password is not tried once for each, as accounts are locked by that. Where the asker merely ran out of
//!   its own time, the next one asks.
//! * A pass that a destination refused is not given out again; whoever still holds it gets the one that replaces it.
//! * Of an answer at most [`ANSWER_BYTES_MAX`] are read, and no redirect is followed.
//!
//! # What it does not know
//!
//! Messages; what is asked for a pass, and where in the answer it stands.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::client::{Answer, Client};
use super::tls::Tls;
use crate::model::{Class, Failure, Sent};
use crate::transport::secret::{Hidden, Secret};

/// Who gives out passes has little to say.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The most words of an answer that are told, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// The header that opens a destination. Its value is marked sensitive.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

/// How a kind of passes is asked for.
pub(super) trait Renewal: Send + Sync {
    /// Who gives them out.
    fn issuer(&self) -> &Issuer;

    /// Asks for a new one; it comes with the time for which it is used.
    ///
    /// # Errors
    /// None can be had.
    fn renew(&self, deadline: Instant) -> Result<(Pass, Duration), Failure>;

    /// A pass that is good for now. `refused` is one that the destination did not take: it is not given out again.
    ///
    /// # Errors
    /// None can be had: nothing was sent to the destination.
    fn pass(&self, refused: Option<&Arc<Pass>>, deadline: Instant) -> Result<Arc<Pass>, Failure> {
        self.issuer().pass(refused, deadline, || self.renew(deadline))
    }
}

/// Who gives out passes, and the one that was given out last.
pub(super) struct Issuer {
    /// What is given out, as the texts name it.
    what: &'static str,
    url: String,
    /// What is shown to who gives them out, and what came from there.
    pub(super) hidden: Hidden,
    client: Client,
    desk: Mutex<Desk>,
    back: Condvar,
}

#[derive(Default)]
struct Desk {
    /// The pass, and until when it is used.
    pass: Option<(Arc<Pass>, Instant)>,
    /// Whether somebody asks for the next one. The lock is free meanwhile, so that the others can wait for as long as they may.
    is_asked: bool,
    /// How often none could be had, and why the last time.
    failures: u64,
    failure: Option<Failure>,
}

/// The turn to ask.
struct Turn<'a>(&'a Issuer);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_asked = false;
        self.0.back.notify_all();
    }
}

impl Pass {
    /// Shows it.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }
}

impl Issuer {
    /// Asks at `url`, and believes whom `tls` says.
    pub(super) fn new(what: &'static str, url: &str, tls: Tls) -> Issuer {
        let client = Client::reading_at_most(ANSWER_BYTES_MAX, tls);
        let mut hidden = Hidden::default();
        hidden.hide_query(url);
        Issuer { what, url: url.to_owned(), hidden, client, desk: Mutex::default(), back: Condvar::new() }
    }

    fn pass(
        &self,
        refused: Option<&Arc<Pass>>,
        deadline: Instant,
        renew: impl FnOnce() -> Result<(Pass, Duration), Failure>,
    ) -> Result<Arc<Pass>, Failure> {
        let mut desk = self.lock();
        let failures = desk.failures;
        loop {
            if let Some((pass, until)) = &desk.pass
                && Instant::now() < *until
                && refused.is_none_or(|refused| !Arc::ptr_eq(refused, pass))
            {
                return Ok(Arc::clone(pass));
            }
            if let Some(failure) = desk.failure.as_ref().filter(|_| desk.failures != failures) {
                return Err(failure.clone());
            }
            if !desk.is_asked {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failed("another message waited for its answer all the time"));
            }
            desk = self.back.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (desk.pass, desk.is_asked) = (None, true);
        drop(desk);
        let _turn = Turn(self);
        let asked_at = Instant::now();
        let renewed = renew();
        let mut desk = self.lock();
        match renewed {
            Ok((pass, life)) => {
                let pass = Arc::new(pass);
                desk.pass = Some((Arc::clone(&pass), asked_at + life));
                // What is asked for may come after the time of who asked: it is there for the next.
                if Instant::now() < deadline { Ok(pass) } else { Err(self.failed("it came when the time was up")) }
            }
            Err(failure) => {
                // What came when the time was up says nothing to who has more of it.
                if Instant::now() < deadline {
                    desk.failures += 1;
                    desk.failure = Some(failure.clone());
                }
                Err(failure)
            }
        }
    }

    /// Posts this, and gives the answer.
    pub(super) fn ask(&self, headers: &[(&str, &str)], body: &Secret, deadline: Instant) -> Result<Answer, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let headers = [&[("accept", "application/json")], headers].concat();
        self.client.call("POST", &self.url, &headers, body.expose(), left).map_err(|failure| {
            // What our own stop cut off is no fault of the other side, and nothing has left for the destination.
            let is_ours = failure.class == Class::Interrupted;
            if is_ours { Failure { sent: Sent::No, ..failure } } else { self.failed(&failure.detail) }
        })
    }

    /// Cuts off what is asked, and asks no more.
    pub(super) fn shutdown(&self) {
        self.client.shutdown();
    }

    /// No pass can be had.
    pub(super) fn failed(&self, why: &str) -> Failure {
        // What stands in a query is often a secret.
        let url = self.url.split('?').next().unwrap_or_default();
        Failure::new(Class::Auth, Sent::No, format!("no {} from {url}: {why}", self.what))
    }

    /// The same, with the words of an answer, as many as fit.
    pub(super) fn told(&self, why: &str, words: &str) -> Failure {
        let words: String = words.chars().take(WORDS_CHARS_MAX).collect();
        let colon = if words.is_empty() { "" } else { ": " };
        self.failed(&format!("{why}{colon}{}", words.trim_end()))
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // A panic in between leaves nothing half-made.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("what", &self.what).field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer::new("pass", "http://127.0.0.1:9/", Tls::new())
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn pass(value: &'static str) -> Pass {
        Pass { name: HeaderName::from_static("cookie"), value: HeaderValue::from_static(value) }
    }

    #[test]
    fn what_kept_a_pass_from_coming_holds_for_all_who_waited() {
        let issuer = issuer();
        issuer.lock().is_asked = true;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| issuer.pass(None, later(), || panic!("it asks")).map(|_| ()));
            // Nothing tells when it waits; so others fail until it has heard of one.
            while !waiting.is_finished() {
                let mut desk = issuer.lock();
                desk.failures += 1;
                desk.failure = Some(issuer.failed("wrong password"));
                drop(desk);
                issuer.back.notify_all();
                std::thread::yield_now();
            }
            let failure = waiting.join().expect("ends").expect_err("there is none");
            assert_eq!(failure.detail, "no pass from http://127.0.0.1:9/: wrong password");
        });
        issuer.lock().is_asked = false;
        // Who comes later asks anew.
        let got = issuer.pass(None, later(), || Ok((pass("s=1"), Duration::from_secs(9)))).expect("a pass");
        assert_eq!(got.value, "s=1");
    }

    #[test]
    fn only_what_came_in_time_is_told_to_others() {
        let issuer = issuer();
        for (deadline, failures) in [(Instant::now(), 0), (later(), 1)] {
            issuer.pass(None, deadline, || Err(issuer.failed("no"))).expect_err("there is none");
            assert_eq!(issuer.lock().failures, failures);
        }
    }

    #[test]
    fn a_panic_in_between_gives_the_turn_back() {
        let issuer = issuer();
        let asked = std::panic::AssertUnwindSafe(|| issuer.pass(None, later(), || panic!("on purpose")).map(|_| ()));
        assert!(std::panic::catch_unwind(asked).is_err());
        assert!(issuer.pass(None, later(), || Ok((pass("s=1"), Duration::ZERO))).is_ok());
    }

    #[test]
    fn a_pass_shows_its_value_to_nobody_but_the_destination() {
        let mut value = HeaderValue::from_static("canary");
        value.set_sensitive(true);
        let shown = format!("{:?}", Pass { value, ..pass("") });
        assert!(!shown.contains("canary"), "{shown}");
    }
}
