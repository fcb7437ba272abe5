//! Names to addresses, without a thread per request.
//!
//! With a time-out set, ureq's own resolver starts a thread for every request, which costs two thirds of the throughput. Here
//! literals and `localhost` need no look-up, answers are kept, and only `getaddrinfo` runs on a thread, at most one per name and
//! [`LOOKUPS_MAX`] in all, so that a dead name server holds up few threads however many workers wait for it.
//!
//! # What holds
//!
//! * An answer is fresh for [`FRESH`]. After that it is still used for [`STALE`], while one thread asks again in the background.
//! * Who waits, waits until the request's deadline at most.
//! * Failures are told to those who wait, and not kept.
//!
//! # What it does not know
//!
//! Who asks, and how `getaddrinfo` finds out.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::attempt;
use crate::model::Phase;

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);

/// How long an answer is used while nobody could find a newer one.
const STALE: Duration = Duration::from_secs(300);

/// Look-ups under way at once, at most.
const LOOKUPS_MAX: usize = 4;

/// Names that are remembered, at most.
const NAMES_MAX: usize = 1_024;

/// The most addresses that ureq takes.
const ADDRESSES_MAX: usize = 16;

/// Asks the system for the addresses of a name.
pub(super) type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The resolver of one agent. Clones share what they know.
#[derive(Clone)]
pub(super) struct Names {
    shared: Arc<Shared>,
    limit: Duration,
}

struct Shared {
    known: Mutex<Known>,
    told: Condvar,
    ask: Box<Ask>,
}

#[derive(Default)]
struct Known {
    names: HashMap<String, Name>,
    looking: usize,
    closed: bool,
}

#[derive(Default)]
struct Name {
    answer: Option<(Instant, Arc<[IpAddr]>)>,
    looking: bool,
    /// What the last look-up failed with, and which look-up that was.
    failure: Option<String>,
    lookups: u64,
}

impl Names {
    /// A resolver that asks the system and gives a look-up `limit`.
    pub(super) fn new(limit: Duration) -> Names {
        Names::asking(limit, Box::new(getaddrinfo))
    }

    /// A resolver that asks `ask`.
    pub(super) fn asking(limit: Duration, ask: Box<Ask>) -> Names {
        Names { shared: Arc::new(Shared { known: Mutex::default(), told: Condvar::new(), ask }), limit }
    }

    /// Wakes all who wait; later look-ups fail.
    pub(super) fn close(&self) {
        lock(&self.shared.known).closed = true;
        self.shared.told.notify_all();
    }

    fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, Error> {
        let mut known = lock(&self.shared.known);
        // A name that is remembered costs no look-up.
        let mut waits_until = None;
        let mut waits_for = None;
        loop {
            if known.closed {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "shut down").into());
            }
            let now = Instant::now();
            let is_room = known.looking < LOOKUPS_MAX;
            let name = known.name(host, now);
            let may_look = is_room && !name.looking;
            if let Some((at, answer)) = name.answer.clone().filter(|(at, _)| now.saturating_duration_since(*at) < STALE)
            {
                if may_look && now.saturating_duration_since(at) >= FRESH {
                    self.look_up(&mut known, host)?;
                }
                return Ok(answer);
            }
            if let Some(failure) = name.failure.as_ref().filter(|_| waits_for.is_some_and(|one| name.lookups >= one)) {
                return Err(io::Error::new(io::ErrorKind::NotFound, failure.clone()).into());
            }
            if waits_for.is_none() && (name.looking || may_look) {
                waits_for = Some(name.lookups.saturating_add(1));
            }
            let until = *waits_until.get_or_insert_with(|| {
                attempt::enter(Phase::Dns, Some(self.limit));
                attempt::current().until
            });
            if may_look {
                self.look_up(&mut known, host)?;
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Err(Error::Timeout(Timeout::Resolve));
            }
            known = self.shared.told.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Starts the one look-up of this name.
    fn look_up(&self, known: &mut Known, host: &str) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let host_owned = host.to_owned();
        std::thread::Builder::new().name("goniec-resolve".into()).spawn(move || {
            let found = (shared.ask)(&host_owned);
            let mut known = lock(&shared.known);
            known.looking = known.looking.saturating_sub(1);
            if let Some(name) = known.names.get_mut(&host_owned) {
                name.looking = false;
                name.lookups = name.lookups.saturating_add(1);
                match found {
                    Ok(addresses) if !addresses.is_empty() => {
                        name.failure = None;
                        name.answer = Some((Instant::now(), addresses.into()));
                    }
                    Ok(_) => name.failure = Some("the name has no address".into()),
                    Err(error) => name.failure = Some(error.to_string()),
                }
            }
            drop(known);
            shared.told.notify_all();
        })?;
        known.looking += 1;
        if let Some(name) = known.names.get_mut(host) {
            name.looking = true;
        }
        Ok(())
    }
}

impl Known {
    fn name(&mut self, host: &str, now: Instant) -> &mut Name {
        if !self.names.contains_key(host) {
            if self.names.len() >= NAMES_MAX {
                let is_of_use = |at: &Instant| now.saturating_duration_since(*at) < FRESH;
                self.names.retain(|_, name| name.looking || name.answer.as_ref().is_some_and(|(at, _)| is_of_use(at)));
            }
            self.names.insert(host.to_owned(), Name::default());
        }
        self.names.entry(host.to_owned()).or_default()
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _config: &Config, _timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let mut found = self.empty();
        match without_lookup(host) {
            Some(addresses) => addresses.iter().for_each(|address| found.push(SocketAddr::new(*address, port))),
            None => {
                for address in self.addresses(host)?.iter().take(ADDRESSES_MAX) {
                    found.push(SocketAddr::new(*address, port));
                }
            }
        }
        Ok(found)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

const LOOPBACK: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The addresses of a literal, or of `localhost`, which is this machine whatever a name server says (RFC 6761).
fn without_lookup(host: &str) -> Option<Literal> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Some(Literal::One([address]));
    }
    let is_local = bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost");
    is_local.then_some(Literal::Loopback)
}

enum Literal {
    One([IpAddr; 1]),
    Loopback,
}

impl Literal {
    fn iter(&self) -> std::slice::Iter<'_, IpAddr> {
        match self {
            Literal::One(one) => one.iter(),
            Literal::Loopback => LOOPBACK.iter(),
        }
    }
}

fn getaddrinfo(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for found in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&found.ip()) {
            addresses.push(found.ip());
        }
    }
    Ok(addresses)
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn patient() {
        attempt::begin(Instant::now() + Duration::from_secs(10));
    }

    #[test]
    fn literals_and_localhost_are_never_looked_up() {
        let names = Names::asking(Duration::from_secs(5), Box::new(|host| panic!("{host} was looked up")));
        patient();
        for (uri, first) in [
            ("http://127.0.0.1:9001/x", "127.0.0.1:9001"),
            ("http://[::1]:7/", "[::1]:7"),
            ("https://192.0.2.7/", "192.0.2.7:443"),
            ("http://LocalHost/", "127.0.0.1:80"),
            ("http://shop.localhost:81/", "127.0.0.1:81"),
        ] {
            let uri: Uri = uri.parse().expect("a uri");
            let found = names.resolve(&uri, &Config::default(), NextTimeout::default()).expect("an address");
            assert_eq!(found.first().map(ToString::to_string).as_deref(), Some(first), "{uri}");
        }
    }

    #[test]
    fn many_who_ask_for_one_name_cost_one_lookup_and_later_ones_none() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let ask = move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            // The slow look-up itself.
            std::thread::sleep(Duration::from_millis(50));
            Ok(vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))])
        };
        let names = Names::asking(Duration::from_secs(5), Box::new(ask));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    patient();
                    assert_eq!(names.addresses("a.example").expect("an answer").len(), 1);
                });
            }
        });
        patient();
        names.addresses("a.example").expect("an answer");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_lookup_takes_its_time_and_what_is_remembered_took_none() {
        let ask = |_: &str| {
            // The slow look-up itself.
            std::thread::sleep(Duration::from_millis(64));
            Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
        };
        let names = Names::asking(Duration::from_secs(5), Box::new(ask));
        let dns_ms = || {
            patient();
            names.addresses("c.example").expect("an answer");
            attempt::end().phases().and_then(|phases| phases.ms(Phase::Dns))
        };
        let first = dns_ms();
        assert!(first.is_some_and(|ms| ms >= 63.0), "{first:?}");
        assert_eq!(dns_ms(), None);
    }

    #[test]
    fn a_lookup_that_hangs_ends_at_the_limit_and_holds_up_few_threads() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let (release, gate) = crossbeam_channel::bounded::<()>(0);
        let ask = move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = gate.recv();
            Err(io::Error::other("released"))
        };
        let names = Names::asking(Duration::from_millis(80), Box::new(ask));
        std::thread::scope(|scope| {
            for number in 0..24 {
                let names = &names;
                scope.spawn(move || {
                    patient();
                    let begun = Instant::now();
                    let error = names.addresses(&format!("{}.example", number % 8)).expect_err("nobody answered");
                    assert!(matches!(error, Error::Timeout(Timeout::Resolve)), "{error}");
                    assert!(begun.elapsed() < Duration::from_millis(80 + 250), "{:?}", begun.elapsed());
                });
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), LOOKUPS_MAX);
        drop(release);
    }

    #[test]
    fn a_failure_is_told_to_who_waits_and_the_next_one_asks_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let ask = move |_: &str| match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err(io::Error::other("no such name")),
            _ => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        };
        let names = Names::asking(Duration::from_secs(5), Box::new(ask));
        patient();
        assert!(names.addresses("b.example").expect_err("a failure").to_string().contains("no such name"));
        patient();
        names.addresses("b.example").expect("an answer");
    }
}
