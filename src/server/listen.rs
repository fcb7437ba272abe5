//! The thread of the server: accepts connections under caps, and serves each in a task of its own.
//!
//! # What holds
//!
//! * Caps in all and per address are kept before a byte is read; who is beyond them hears `503` at once and is closed.
//! * A stop closes what rests, lets what has begun come to its end within the limit, and then ends the thread.
//!
//! # What it does not know
//!
//! Routes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::engine::Engine;

use super::ServerConfig;
use super::budget::Budget;
use super::codes::Codes;
use super::guard::{Guarded, HEAD_BYTES_MAX, HEADERS_MAX, Wire};
use super::guesses::Guesses;
use super::incoming::Disbelief;
use super::keyring::Keyring;
use super::routes;
use super::session::Sessions;

/// Threads for what blocks: reads of the store.
const READERS_MAX: usize = 4;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: u32 = 1_024;

/// What every request needs.
pub(super) struct App {
    /// The engine.
    pub(super) engine: Engine,
    /// The limits.
    pub(super) config: ServerConfig,
    /// The bodies in memory of those who were let in.
    pub(super) budget: Rc<Budget>,
    /// The bodies in memory of those who prove with them who they are.
    pub(super) strangers: Rc<Budget>,
    /// The bodies in memory that other registries send.
    pub(super) peers: Rc<Budget>,
    /// When the server stops: within which limit.
    pub(super) stopped: watch::Receiver<Option<Duration>>,
    /// How many follow the events.
    pub(super) followers: Cell<usize>,
    /// Who holds which token.
    pub(super) keyring: Keyring,
    /// Who was wrong lately.
    pub(super) guesses: Guesses,
    /// When the log last said that a delivery is not believed.
    pub(super) disbelief: Disbelief,
    /// Who is in the console.
    pub(super) sessions: Sessions,
    /// What opens it once.
    pub(super) codes: Codes,
}

/// The connections there are.
#[derive(Default)]
struct Crowd {
    all: Cell<usize>,
    by_address: RefCell<HashMap<IpAddr, usize>>,
}

/// One connection's place in the crowd.
struct Admission {
    crowd: Rc<Crowd>,
    address: Option<IpAddr>,
}

impl App {
    fn new(engine: Engine, config: ServerConfig, codes: Codes, stopped: watch::Receiver<Option<Duration>>) -> App {
        App {
            budget: Rc::new(Budget::new(config.bodies_bytes_max)),
            strangers: Rc::new(Budget::new(config.strangers_bytes_max)),
            peers: Rc::new(Budget::new(config.peers_bytes_max)),
            keyring: config.keyring(&engine),
            engine,
            config,
            stopped,
            followers: Cell::new(0),
            guesses: Guesses::default(),
            disbelief: Disbelief::default(),
            sessions: Sessions::default(),
            codes,
        }
    }

    /// One over an engine of its own, which nobody can reach.
    #[cfg(test)]
    pub(super) fn alone(config: ServerConfig) -> App {
        let store = std::sync::Arc::new(crate::store::memory::MemoryStore::new());
        let engine = Engine::start(store, Vec::new(), crate::engine::Settings::default(), Vec::new());
        App::new(engine.expect("an engine"), config, Codes::default(), watch::channel(None).1)
    }
}

/// Runs the server until it is stopped; tells first where it listens.
pub(super) fn run(
    engine: Engine,
    config: ServerConfig,
    codes: Codes,
    stopped: watch::Receiver<Option<Duration>>,
    tell: impl FnOnce(io::Result<SocketAddr>),
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(READERS_MAX)
        .thread_name("goniec-reader")
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => return tell(Err(source)),
    };
    let local = LocalSet::new();
    let work = async move {
        match listen(config.listen) {
            Ok((listener, addr)) => {
                tell(Ok(addr));
                serve(listener, Rc::new(App::new(engine, config, codes, stopped))).await;
            }
            Err(source) => tell(Err(source)),
        }
    };
    local.block_on(&runtime, work);
    // A read that still runs must not hold the stop.
    runtime.shutdown_timeout(Duration::from_millis(200));
}

fn listen(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let listener = socket.listen(BACKLOG)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

async fn serve(listener: TcpListener, app: Rc<App>) {
    let crowd = Rc::new(Crowd::default());
    let mut stopped = app.stopped.clone();
    loop {
        let accepted = before_stop(&mut stopped, listener.accept()).await;
        match accepted {
            None => break,
            Some(Ok((stream, peer))) => match crowd.admit(peer.ip(), &app.config) {
                Some(admission) => {
                    tokio::task::spawn_local(connection(stream, peer.ip(), Rc::clone(&app), admission));
                }
                None => turn_away(&stream),
            },
            // Out of descriptors, most likely: those who leave make room.
            Some(Err(source)) => {
                log::warn!("cannot accept a connection: {source}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let limit = (*app.stopped.borrow()).unwrap_or_default();
    let deadline = Instant::now() + limit;
    while crowd.all.get() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Says that there is no room, if the socket takes it at once.
fn turn_away(stream: &TcpStream) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    if let Err(source) = stream.try_write(FULL) {
        log::debug!("a connection was turned away unheard: {source}");
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, app: Rc<App>, admission: Admission) {
    if let Err(source) = stream.set_nodelay(true) {
        log::debug!("cannot set nodelay: {source}");
    }
    let wire = Rc::new(Wire::default());
    let io = TokioIo::new(Guarded::new(stream, Rc::clone(&wire), &app.config));
    let mut stopped = app.stopped.clone();
    // The guard keeps the time; with a limit of its own hyper polls the connection while it rests, so that the guard can.
    let rest = Duration::from_millis(app.config.idle_ms_max.max(app.config.head_ms_max).saturating_add(1_000));
    let service = service_fn(move |request| {
        let head = wire.next();
        let (app, wire) = (Rc::clone(&app), Rc::clone(&wire));
        async move {
            let answer = routes::answer(&app, peer, head, request).await;
            wire.served();
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(rest)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
    );
    let ended = {
        let mut stop = pin!(async move { drop(stopped.wait_for(Option::is_some).await) });
        let mut stopping = false;
        poll_fn(|cx| {
            if !stopping && stop.as_mut().poll(cx).is_ready() {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        })
        .await
    };
    if let Err(source) = ended {
        log::debug!("a connection ended early: {source}");
    }
    drop(admission);
}

impl Crowd {
    fn admit(self: &Rc<Self>, ip: IpAddr, config: &ServerConfig) -> Option<Admission> {
        let ip = ip.to_canonical();
        if self.all.get() >= config.connections_max {
            return None;
        }
        // Everything on this machine shares one address; only the cap in all binds it.
        let address = if ip.is_loopback() { None } else { Some(neighbourhood(ip)) };
        if let Some(address) = address {
            let mut by_address = self.by_address.borrow_mut();
            let here = by_address.entry(address).or_insert(0);
            if *here >= config.connections_per_address_max {
                return None;
            }
            *here += 1;
        }
        self.all.set(self.all.get() + 1);
        Some(Admission { crowd: Rc::clone(self), address })
    }
}

/// One IPv4 address, also where IPv6 writes it; of IPv6 the 64 bits that one customer gets.
pub(super) fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.crowd.all.set(self.crowd.all.get().saturating_sub(1));
        if let Some(address) = self.address {
            let mut by_address = self.crowd.by_address.borrow_mut();
            let left = by_address.get_mut(&address).map(|here| {
                *here = here.saturating_sub(1);
                *here
            });
            if left == Some(0) {
                by_address.remove(&address);
            }
        }
    }
}

/// What the work comes to, or `None` where the stop comes first.
pub(super) async fn before_stop<T>(
    stopped: &mut watch::Receiver<Option<Duration>>,
    work: impl Future<Output = T>,
) -> Option<T> {
    before(stopped.wait_for(Option::is_some), work).await.ok()
}

/// What the work comes to.
///
/// # Errors
/// What else came first.
pub(super) async fn before<T, E>(other: impl Future<Output = E>, work: impl Future<Output = T>) -> Result<T, E> {
    let (mut other, mut work) = (pin!(other), pin!(work));
    poll_fn(|cx| match other.as_mut().poll(cx) {
        Poll::Ready(came) => Poll::Ready(Err(came)),
        Poll::Pending => work.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// Runs what blocks on a reader's thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Waits for the engine's answer to a call that never blocks.
pub(super) async fn answered<T: Send + 'static>(
    call: impl FnOnce(crate::engine::Reply<T>),
) -> Result<T, crate::error::Error> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    call(Box::new(move |result| drop(reply.send(result))));
    answer.await.unwrap_or(Err(crate::error::Error::Stopping))
}
