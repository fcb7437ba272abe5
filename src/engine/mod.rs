//! The path of a message, one file per verb: accept, schedule, send, settle, alert, recover.
//!
//! ```text
//! accept   check limits, write as Queued                      durable before the caller hears yes
//! schedule what is ripe, one lane per destination             Queued | Failed -> Sending (in memory)
//! send     transport.send under a deadline                    the only step that may happen twice
//! settle   judge -> advance -> one write for many outcomes    Delivered | Failed(due) | Abandoned(why)
//! alert    tell people; a durable flag, not an afterthought
//! ```
//!
//! [`turn`] runs all of them once on the caller's thread at the caller's `now`; `threads` runs the same stages
//! on threads of their own and is the only file that spawns threads or makes channels.
//!
//! # What it does not know
//!
//! HTTP, configuration files, terminals, async.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::model::{Attempt, Body, Draft, Id, Message, Policy, Queued, Record, WallMs};
use crate::store::{Page, Query, Retention, Revision, Room, StateName};
use crate::transport::Transport;

/// How a request is answered: called once, from a thread of the engine; it must not block.
pub type Reply<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A running engine. Clones share it.
#[derive(Clone)]
pub struct Engine {}

/// One destination: the way there, and what its administrator decided.
pub struct Destination {
    /// Its name.
    pub name: Arc<str>,
    /// The way there.
    pub transport: Arc<dyn Transport>,
    /// What outcomes mean, and when to try again.
    pub policy: Policy,
    /// How many messages may be out at once. At least 1.
    pub concurrency: u16,
    /// Whether messages of one key go one at a time, in order of acceptance.
    pub order: Order,
    /// Its timetable: when messages that wait for the next cycle go.
    pub cycle: Option<Cycle>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// Given to every message without a deadline of its own, in milliseconds from acceptance.
    pub deadline_ms: Option<u64>,
}

/// Whether the order of acceptance binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// It does not.
    #[default]
    None,
    /// Messages of one key go one at a time, in order of acceptance.
    Key,
}

/// A timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cycle {
    /// At every whole multiple of so many milliseconds since the epoch.
    Every(u64),
}

/// Limits and habits of an engine. Every limit has its default here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The largest body that is taken, in bytes.
    pub body_bytes_max: u64,
    /// How long what is kept.
    pub retention: Retention,
    /// Refuse to take more once the store has this many bytes; `None` for no limit but the disk.
    pub store_bytes_max: Option<u64>,
}

/// What a person asks of one message.
#[derive(Debug, Clone)]
pub enum Act {
    /// A new body; `read` is the revision that was read, where it must still be the newest.
    Edit {
        /// The new bytes.
        body: Body,
        /// Their content type; `None` keeps the one before.
        content_type: Option<Arc<str>>,
        /// Who.
        who: String,
        /// Why.
        why: String,
        /// The revision that was read.
        read: Option<u16>,
    },
    /// Stop it.
    Hold,
    /// Let it go on, now.
    Release,
    /// Send it (again).
    Resend(Queued),
    /// The destination has it: a person knows.
    Arrived,
    /// Give it up.
    Cancel,
    /// Remove it for good.
    Delete,
}

/// Why a message has not gone out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Nothing holds it: it is next, or its time has come.
    Due,
    /// Its time has not come.
    NotBefore,
    /// The destination's next sync cycle.
    NextCycle,
    /// An earlier message of its key.
    KeyOrder,
    /// The destination's rate.
    Rate,
    /// As many are out as the destination takes at once.
    Concurrency,
    /// The destination's breaker is open.
    Breaker,
    /// The destination is paused, or no longer configured.
    Paused,
    /// A person.
    Held,
}

/// A message as the engine shows it: the record, and what only the engine knows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The record; its state is [`State::Sending`](crate::model::State::Sending) while the message is out.
    pub record: Record,
    /// Why it has not gone out; `None` where it is out or final.
    pub waits_for: Option<Waits>,
    /// When it is due, where it waits for a time or a cycle.
    pub due_at: Option<WallMs>,
}

/// A list as the engine shows it.
#[derive(Debug, Clone, Default)]
pub struct ShownPage {
    /// The messages, newest first.
    pub messages: Vec<Shown>,
    /// Where the next page begins.
    pub next: Option<crate::model::Place>,
    /// Set where a budget ended the page: everything accepted after this time was looked at.
    pub scanned_until: Option<WallMs>,
}

/// The engine in figures.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// How many messages stand where, by destination.
    pub counts: Vec<(Arc<str>, StateName, u64)>,
    /// Out right now.
    pub sending: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// Attempts that ended since the start.
    pub attempts: u64,
    /// Delivered since the start.
    pub delivered: u64,
    /// The number of the last durable commit.
    pub commit: u64,
    /// What the store occupies.
    pub room: Room,
    /// When the engine started.
    pub started_at: WallMs,
}

/// Something that happened to a message, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The message.
    pub id: Id,
    /// Its destination.
    pub destination: Arc<str>,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// What it is now.
    pub state: crate::model::State,
    /// Its attempts in all.
    pub attempts: u16,
    /// When.
    pub at: WallMs,
    /// What was said of a failure.
    pub detail: Option<String>,
}

impl Engine {
    /// Takes messages, all or none; answers with their ids once they are durable. Never blocks: a full engine answers [`Error::Busy`].
    pub fn accept(&self, drafts: Vec<Draft>, reply: Reply<Vec<Id>>) {
        let _ = drafts;
        reply(Err(Error::Stopping));
    }

    /// Does what a person asks of a message; answers with what it then is, once that is durable. Never blocks.
    pub fn act(&self, id: Id, act: Act, reply: Reply<Shown>) {
        let _ = (id, act);
        reply(Err(Error::Stopping));
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn show(&self, id: Id) -> Result<Shown, Error> {
        Err(Error::NotFound(id))
    }

    /// One message with its newest body.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn message(&self, id: Id) -> Result<Message, Error> {
        Err(Error::NotFound(id))
    }

    /// The kept attempts of a message, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn attempts(&self, id: Id) -> Result<Vec<Attempt>, Error> {
        Err(Error::NotFound(id))
    }

    /// The bodies of a message, the first one first.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what hinders the read.
    pub fn revisions(&self, id: Id) -> Result<Vec<Revision>, Error> {
        Err(Error::NotFound(id))
    }

    /// One page of the messages that match, newest first.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn list(&self, query: &Query) -> Result<ShownPage, Error> {
        let _ = (query, Page::default());
        Ok(ShownPage::default())
    }

    /// The engine in figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// The number that stands for a destination in a [`Query`].
    ///
    /// # Errors
    /// [`Error::UnknownDestination`], with the nearest name.
    pub fn destination(&self, name: &str) -> Result<crate::store::Dest, Error> {
        Err(Error::UnknownDestination { name: name.to_owned(), nearest: None })
    }

    /// Whether the engine takes messages: `Err` says why not.
    ///
    /// # Errors
    /// Poisoned, stopping, or the disk is full.
    pub fn ready(&self) -> Result<(), Error> {
        Err(Error::Stopping)
    }

    /// Calls `each` with every transition from now on, from a thread of the engine; it must not block, and ends the watch by answering `false`.
    pub fn watch(&self, each: Box<dyn FnMut(&Transition) -> bool + Send>) {
        let _ = each;
    }

    /// The limits that this engine keeps.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::default()
    }
}

impl Destination {
    /// A destination with the defaults of everything but name and transport.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, transport: impl Transport) -> Destination {
        Destination {
            name: name.into(),
            transport: Arc::new(transport),
            policy: Policy::default(),
            concurrency: 8,
            order: Order::None,
            cycle: None,
            timeout_ms: 30_000,
            deadline_ms: None,
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Default for Settings {
    fn default() -> Settings {
        const DAY_MS: u64 = 86_400_000;
        Settings {
            body_bytes_max: 1 << 20,
            retention: Retention {
                delivered_ms: 30 * DAY_MS,
                abandoned_ms: 365 * DAY_MS,
                bodies_ms: 7 * DAY_MS,
                step_max: 256,
            },
            store_bytes_max: None,
        }
    }
}

impl Waits {
    /// The reason, as the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Waits::Due => "due",
            Waits::NotBefore => "not-before",
            Waits::NextCycle => "next-cycle",
            Waits::KeyOrder => "key-order",
            Waits::Rate => "rate",
            Waits::Concurrency => "concurrency",
            Waits::Breaker => "breaker",
            Waits::Paused => "paused",
            Waits::Held => "held",
        }
    }
}
