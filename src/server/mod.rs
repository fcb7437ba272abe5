//! Ingest and administration over HTTP: hyper on a current-thread runtime in one thread of its own.
//!
//! ```text
//! listen   accept, caps in all and per address, one task a connection
//! guard    the bytes of a connection: head limit and deadline, ambiguous lengths, idle and stalled peers
//! routes   the one table: method, path, right, handler
//! access   token, session, Host and Origin; session: who shows a token in a browser; codes: links that open a session once
//! keyring  who holds which token; tokens: how they are made and revoked; guesses: who was wrong too often
//! payload  bodies both ways: limits, deadlines, minimum rate; budget: the memory for them, and who makes way in it
//! incoming POST /v1/in/{source}: what systems hand in by themselves
//! intake   POST /v1/messages, POST /v1/send/{destination}
//! manage   what is read, and what a person asks of a message
//! bulk     one act on all that match, incidents, and the audit log
//! alerts   whether people can be told
//! sources  where messages come from
//! keys     what should be in sync and what is, key by key
//! reconcile  whether destinations have what was delivered to them
//! metrics  figures for machines: OpenMetrics, and the last hour by minutes
//! events   transitions as server-sent events
//! console  pages for people, embedded
//! openapi  the table of routes, described for machines
//! render   every shape of JSON; problem: every error
//! ```
//!
//! # What holds
//!
//! * `202` is answered only after the engine said that the messages are durable.
//! * No peer holds anything for ever: every wait on a peer has a deadline, every buffer a limit.
//! * This is the only folder that knows an async runtime; the engine is called without ever blocking the thread.
//!
//! # What it does not know
//!
//! Stores, transports, configuration files.

mod access;
mod alerts;
mod budget;
mod bulk;
mod codes;
mod console;
mod events;
mod guard;
mod guesses;
mod incoming;
mod intake;
mod keyring;
mod keys;
mod listen;
mod manage;
mod metrics;
mod openapi;
mod payload;
mod problem;
mod reconcile;
mod render;
mod routes;
mod session;
mod sources;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::reconcile::Reconciler;
use crate::config::{Role, Token};
use crate::engine::Engine;
use crate::error::Error;
use crate::source::Sources;

use codes::Codes;
use keyring::Keyring;

pub use routes::table as routes_table;

/// How a server listens, whom it lets in, and its limits. Every limit has its default here.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where it listens. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// What requests must bear one of, where there are any, here or in the registry. Needed for any address but loopback.
    pub tokens: Vec<Token>,
    /// The host by which people reach it through a proxy: with tokens, requests for it are taken on a loopback address too.
    pub public_host: Option<String>,
    /// The names of the configured destinations, to be listed also while they have no messages.
    pub destinations: Vec<String>,
    /// Who hands in by itself, and what of it goes where.
    pub sources: Arc<Sources>,
    /// What compares destinations with what they say that they have.
    pub reconciler: Option<Arc<Reconciler>>,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once from one address that is not loopback.
    pub connections_per_address_max: usize,
    /// How long a request's head may take, from its first byte (or the connection's beginning) to its last.
    pub head_ms_max: u64,
    /// How long a request's body may take.
    pub body_ms_max: u64,
    /// How long a connection may rest between two requests.
    pub idle_ms_max: u64,
    /// How long a peer may leave an answer unread.
    pub stall_ms_max: u64,
    /// Bytes of request bodies in memory at once, over all connections. Where they are spent, of the bodies that are still coming the largest of whoever
    /// holds most is refused; so it is in the rooms below.
    pub bodies_bytes_max: usize,
    /// Besides these, bytes of bodies that are not believed before they are read: those of webhooks, which are signed.
    pub strangers_bytes_max: usize,
    /// Besides these, bytes of bodies that other registries send: twice what one of them has under way.
    pub peers_bytes_max: usize,
}

/// A server that runs. Dropping it leaves the server running until the process ends.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    codes: Codes,
    thread: JoinHandle<()>,
}

/// Listens, and serves in a thread of its own.
///
/// # Errors
///
/// [`Error::Config`] where an address other than loopback has no token, or where nothing can listen there.
pub fn start(engine: Engine, config: ServerConfig) -> Result<Running, Error> {
    if !config.keyring(&engine).needs_login() && !config.listen.ip().is_loopback() {
        return Err(Error::Config(format!(
            "{} can be reached from other machines and needs a token: set `tokens` in [server] or --token, or listen on 127.0.0.1 and make one with `goniec token new`",
            config.listen
        )));
    }
    let listen = config.listen;
    let failed = move |source: std::io::Error| Error::Config(format!("cannot listen on {listen}: {}", spoken(&source)));
    let (stop, stopped) = watch::channel(None);
    let (tell, told) = sync_channel(1);
    let codes = Codes::default();
    let taken = codes.clone();
    let thread = std::thread::Builder::new()
        .name("goniec-server".into())
        .spawn(move || listen::run(engine, config, taken, stopped, |bound| drop(tell.send(bound))))
        .map_err(failed)?;
    match told.recv() {
        Ok(Ok(addr)) => Ok(Running { addr, stop, codes, thread }),
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(Error::Config(format!("cannot listen on {listen}: the server's thread ended"))),
    }
}

fn spoken(source: &std::io::Error) -> String {
    let kind = source.kind();
    if kind == std::io::ErrorKind::AddrInUse {
        return "the address is in use, perhaps by another goniec; choose another with --listen".into();
    }
    if kind == std::io::ErrorKind::PermissionDenied {
        return "it is not permitted; ports below 1024 need a privilege".into();
    }
    source.to_string()
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A code that opens a session of the console with this name and role: once, within ten minutes, at `/console#/login?code=CODE`. Who
    /// may have it is the caller's to say: it opens without a token, and the session lasts as others do.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: the system has no random numbers to give.
    pub fn one_time_code(&self, name: &str, role: Role) -> Result<String, Error> {
        self.codes.make(name, role, Instant::now()).map_err(Error::Config)
    }

    /// Takes nothing new, lets the requests that have begun come to their end within the limit, and ends the thread.
    pub fn stop(self, limit: Duration) {
        self.stop.send_replace(Some(limit));
        if self.thread.join().is_err() {
            log::error!("the server's thread panicked");
        }
    }

    /// Whether the server's thread still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

impl ServerConfig {
    /// The defaults, listening at this address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> ServerConfig {
        ServerConfig {
            listen,
            tokens: Vec::new(),
            public_host: None,
            destinations: Vec::new(),
            sources: Arc::default(),
            reconciler: None,
            connections_max: 4_096,
            connections_per_address_max: 256,
            head_ms_max: 10_000,
            body_ms_max: 30_000,
            idle_ms_max: 60_000,
            stall_ms_max: 30_000,
            bodies_bytes_max: 128 << 20,
            strangers_bytes_max: 32 << 20,
            peers_bytes_max: 64 << 20,
        }
    }

    /// Who holds which token, where this listens.
    fn keyring(&self, engine: &Engine) -> Keyring {
        Keyring::new(engine, &self.tokens, self.listen.ip().is_loopback())
    }
}
