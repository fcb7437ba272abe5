//! goniec inside another program: a registry in a directory, its destinations, and the ten lines that use them.
//!
//! # What it does not know
//!
//! Configuration files, HTTP servers, the command line: the binary puts those on top of the same engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Act, By, Destination, Engine, LogLine, Rule, Settings};
use crate::error::Error;
use crate::model::{Body, Draft, Id, Record};
use crate::store::Store;
use crate::store::sled::{Options, SledStore};
use crate::transport::Transport;

/// A running registry inside this program.
///
/// ```no_run
/// # use goniec::{Goniec, Message};
/// # use goniec::transport::http::Http;
/// # use std::time::Duration;
/// # fn print(body: &[u8]) -> Result<(), std::io::Error> { let _ = body; Ok(()) }
/// # fn main() -> Result<(), goniec::Error> {
/// # let bytes = *b"{}";
/// let goniec = goniec::Goniec::open("goniec-data")?           // sled, defaults
///     .destination("erp", Http::post("http://127.0.0.1:9003/orders"))
///     .destination("printer", |message: &Message| print(message.body()))   // any closure is a transport
///     .start()?;
/// let id = goniec.send(Message::to("erp").key("order:17").body(bytes))?;   // durable when this returns
/// goniec.get(id)?.state();
/// goniec.shutdown(Duration::from_secs(10))?;                   // stops taking, lets what is out come home
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Goniec {
    engine: Engine,
}

/// A registry that is open and does not deliver yet.
pub struct Opened {
    store: Arc<dyn Store>,
    destinations: Vec<Destination>,
    settings: Settings,
    rules: Vec<Rule>,
}

impl Goniec {
    /// Opens the registry in this directory, and makes one where there is none.
    ///
    /// # Errors
    /// The directory is in use, damaged, of another format, or its disk fails.
    pub fn open(dir: impl AsRef<Path>) -> Result<Opened, Error> {
        let store = SledStore::open(dir.as_ref(), Options::default())?;
        Ok(Goniec::over(Arc::new(store)))
    }

    /// A registry over any store.
    #[must_use]
    pub fn over(store: Arc<dyn Store>) -> Opened {
        let told_by_log = Rule::all(LogLine, LOG_DIGEST_MS);
        Opened { store, destinations: Vec::new(), settings: Settings::default(), rules: vec![told_by_log] }
    }

    /// Takes a message; it is durable on return. Waits while the registry is full.
    ///
    /// # Errors
    /// The message was not kept.
    pub fn send(&self, draft: Draft) -> Result<Id, Error> {
        let ids = self.engine.accept_wait(vec![draft])?;
        ids.first().copied().ok_or(Error::Stopping)
    }

    /// Takes several messages, all or none; they are durable on return. Waits while the registry is full.
    ///
    /// # Errors
    /// None of the messages was kept.
    pub fn send_all(&self, drafts: Vec<Draft>) -> Result<Vec<Id>, Error> {
        self.engine.accept_wait(drafts)
    }

    /// One message and its life, without the body.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn get(&self, id: Id) -> Result<Record, Error> {
        Ok(self.engine.show(id)?.record)
    }

    /// The newest body of a message.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn body(&self, id: Id) -> Result<Body, Error> {
        Ok(self.engine.message(id)?.body)
    }

    /// Does what a person asks of a message; durable on return.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn act(&self, id: Id, act: impl Into<By<Act>>) -> Result<Record, Error> {
        Ok(self.engine.act_wait(id, act)?.record)
    }

    /// The engine underneath.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes nothing new, lets what is out come home for at most `limit`, and closes the registry.
    ///
    /// # Errors
    /// The store failed before or during the stop; what was acknowledged is kept.
    pub fn shutdown(&self, limit: Duration) -> Result<(), Error> {
        self.engine.shutdown(limit)
    }
}

impl Opened {
    /// Adds a destination with the defaults.
    #[must_use]
    pub fn destination(self, name: &str, transport: impl Transport) -> Opened {
        self.with(Destination::new(name, transport))
    }

    /// Adds a destination with rules of its own.
    #[must_use]
    pub fn with(mut self, destination: Destination) -> Opened {
        self.destinations.push(destination);
        self
    }

    /// Sets the limits and habits.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Opened {
        self.settings = settings;
        self
    }

    /// Adds a way to tell a person of what could not be delivered.
    #[must_use]
    pub fn alert(mut self, rule: Rule) -> Opened {
        self.rules.push(rule);
        self
    }

    /// Begins to deliver.
    ///
    /// # Errors
    /// The store failed, or the system gives no threads.
    pub fn start(self) -> Result<Goniec, Error> {
        Ok(Goniec { engine: Engine::start(self.store, self.destinations, self.settings, self.rules)? })
    }
}

/// The log hears of a cause once in so many milliseconds.
const LOG_DIGEST_MS: u64 = 60_000;
