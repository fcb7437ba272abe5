//! The words that the engine and its callers share: what is configured, what is asked, what is shown.
//!
//! # What it does not know
//!
//! How any of it is done.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
pub use crate::model::timetable::Cycle;

use super::ages::Age;
use super::field::FieldEdit;
use super::pause::Pause;
use crate::model::breaker::{BreakerRule, Phase};
use crate::model::rate::Rate;
use crate::model::timetable::Hours;
use crate::model::{Body, Id, Policy, Queued, Record, State, WallMs};
use crate::store::{Retention, Room, StateName};
use crate::transport::Transport;

/// The most bytes of a reason.
pub(super) const WHY_BYTES_MAX: usize = 1_024;
/// The most bytes of the name of whoever asks.
const WHO_BYTES_MAX: usize = 256;

/// How a request is answered: called once, from a thread of the engine; it must not block.
pub type Reply<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

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
    /// Whether its messages are numbered, and a ledger of them is kept.
    pub is_numbered: bool,
    /// Whether messages of one key go one at a time, in order of acceptance.
    pub order: Order,
    /// Whether only the newest message of a key is of use: it takes the place of older ones that have not arrived.
    pub latest_wins: bool,
    /// Its timetable: when messages that wait for the next cycle go.
    pub cycle: Option<Cycle>,
    /// Whether new messages wait for the next cycle too. What a person sends goes when the person says.
    pub only_in_cycles: bool,
    /// When it takes messages.
    pub hours: Hours,
    /// How much it takes in how much time.
    pub rate: Option<Rate>,
    /// The limits that it shares with every destination that has the same account, the same `Arc`.
    pub account: Option<Arc<Account>>,
    /// When it is left alone because it fails.
    pub breaker: Option<BreakerRule>,
    /// How messages go together; `None` where each goes by itself. Then `concurrency`, `rate` and `breaker` count requests.
    pub batch: Option<BatchRule>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// Given to every message without a deadline of its own, in milliseconds from acceptance.
    pub deadline_ms: Option<u64>,
    /// A message that has been waiting for so long is late, and that is told while it is still tried; in milliseconds from acceptance, or from the time
    /// before which it was not to go.
    pub late_after_ms: Option<u64>,
    /// Where nothing came or went for so much of its opening hours, that is told; in milliseconds.
    pub silent_after_ms: Option<u64>,
    /// The destinations that hear of each message that was delivered,
    pub on_delivered: Vec<Arc<str>>,
    /// and of each that was given up.
    pub on_abandoned: Vec<Arc<str>>,
}

/// Limits that several destinations share: those of a token, or of a client that a service knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: Arc<str>,
    /// How much its destinations take together in how much time.
    pub rate: Option<Rate>,
    /// How many messages may be out to all of them at once.
    pub concurrency: Option<u16>,
}

/// How many messages go together, and how long the first waits for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// So many at most. At least 1.
    pub max: u16,
    /// A batch that is not full goes so long after the first of it was ready, in milliseconds.
    pub wait_ms: u64,
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

/// What became of a request to take messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The ids, in the order of the request.
    pub ids: Vec<Id>,
    /// Whether it repeats a request, by its idempotency keys, and nothing of it was new.
    pub is_replay: bool,
}

/// What is asked, by whom and why: the audit log keeps that.
#[derive(Debug, Clone)]
pub struct By<T> {
    /// What.
    pub what: T,
    /// Who; empty where a program asks that has goniec inside.
    pub who: Arc<str>,
    /// Why; may be empty.
    pub why: String,
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
        /// The revision that was read.
        read: Option<u16>,
    },
    /// Another value for one field of its body.
    EditField(FieldEdit),
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

/// What a person asks of one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hand {
    /// Send nothing until further notice.
    Pause,
    /// Go on.
    Resume,
    /// Let its next cycle begin now.
    Cycle,
}

/// How a destination stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is configured: nothing goes where it is not.
    pub is_configured: bool,
    /// Why it is paused, if it is.
    pub pause: Option<Pause>,
    /// Why nothing goes now although something is ready.
    pub waits_for: Option<Waits>,
    /// The account that holds it, where nothing goes for a limit that it shares.
    pub held_by: Option<Arc<str>>,
    /// How many are out.
    pub out: usize,
    /// How many wait, and for how long.
    pub age: Age,
    /// How many milliseconds it takes until all have gone that wait, as it drains now; `None` where nothing waits, where that is not known, and
    /// without `late_after`.
    pub drains_in_ms: Option<u64>,
    /// How many incidents of it are open.
    pub incidents: usize,
    /// What its breaker lets through, where it has one.
    pub breaker: Option<Phase>,
    /// Its timetable, and when it begins next where something waits for it.
    pub cycle: Option<(Cycle, Option<WallMs>)>,
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
    /// Messages of other keys.
    After,
    /// An earlier message of its key.
    KeyOrder,
    /// The destination's rate.
    Rate,
    /// The others of its batch.
    Batch,
    /// As many are out as the destination takes at once.
    Concurrency,
    /// The destination's breaker is open.
    Breaker,
    /// The destination is closed at this hour.
    Closed,
    /// The destination is paused, or no longer configured.
    Paused,
    /// A person.
    Held,
}

/// A message as the engine shows it: the record, and what only the engine knows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The record; its state is [`State::Sending`] while the message is out.
    pub record: Record,
    /// Why it has not gone out; `None` where it is out or final.
    pub waits_for: Option<Waits>,
    /// The keys that it still awaits.
    pub after: Vec<Arc<str>>,
    /// When it is due, where it waits for a time or a cycle.
    pub due_at: Option<WallMs>,
}

/// A key that a message awaits, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedKey {
    /// The key.
    pub key: Arc<str>,
    /// The newest message of it at that destination, those aside that a newer one superseded; `None` where there is none.
    pub newest: Option<(Id, State)>,
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
    /// What in the range of this page could not be read, and so may be missing from it.
    pub damaged: Vec<String>,
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
    /// What cannot be read and so is not delivered, a sentence each: `goniec verify` tells the whole of it.
    pub damaged: Vec<String>,
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
    pub state: State,
    /// Its attempts in all.
    pub attempts: u16,
    /// When.
    pub at: WallMs,
    /// What was said of a failure.
    pub detail: Option<String>,
}

impl<T> From<T> for By<T> {
    fn from(what: T) -> By<T> {
        By { what, who: Arc::from(""), why: String::new() }
    }
}

impl<T> By<T> {
    /// Whether the audit log takes who and why.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub(super) fn check(&self) -> Result<(), Error> {
        let (who, why) = (self.who.len(), self.why.len());
        if who > WHO_BYTES_MAX {
            return Err(Error::Invalid(format!("a name has at most {WHO_BYTES_MAX} bytes, not {who}")));
        }
        if why > WHY_BYTES_MAX {
            return Err(Error::Invalid(format!("a reason has at most {WHY_BYTES_MAX} bytes, not {why}")));
        }
        Ok(())
    }
}

impl Act {
    /// This, asked by somebody for a reason.
    pub fn by(self, who: impl Into<Arc<str>>, why: impl Into<String>) -> By<Act> {
        By { what: self, who: who.into(), why: why.into() }
    }

    /// What the audit log calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Act::Edit { .. } | Act::EditField(_) => "edit",
            Act::Hold => "hold",
            Act::Release => "release",
            Act::Resend(_) => "resend",
            Act::Arrived => "resolve",
            Act::Cancel => "cancel",
            Act::Delete => "delete",
        }
    }
}

impl Hand {
    /// This, asked by somebody for a reason.
    pub fn by(self, who: impl Into<Arc<str>>, why: impl Into<String>) -> By<Hand> {
        By { what: self, who: who.into(), why: why.into() }
    }

    /// What the audit log calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Hand::Pause => "pause",
            Hand::Resume => "resume",
            Hand::Cycle => "cycle",
        }
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
            is_numbered: false,
            order: Order::None,
            latest_wins: false,
            cycle: None,
            only_in_cycles: false,
            hours: Hours::default(),
            rate: None,
            account: None,
            breaker: None,
            batch: None,
            timeout_ms: 30_000,
            deadline_ms: None,
            late_after_ms: None,
            silent_after_ms: None,
            on_delivered: Vec::new(),
            on_abandoned: Vec::new(),
        }
    }
}

impl Destination {
    /// How many messages may be out at once: as many requests as it takes, full ones.
    pub(super) fn out_max(&self) -> usize {
        usize::from(self.concurrency.max(1)) * usize::from(self.batch.map_or(1, |batch| batch.max.max(1)))
    }

    /// Whether the messages of one key go one at a time.
    pub(super) fn is_serial(&self) -> bool {
        self.order == Order::Key || self.latest_wins
    }

    /// The timetable that binds every message of it, where it sends in cycles only.
    pub(super) fn only_cycle(&self) -> Option<&Cycle> {
        self.cycle.as_ref().filter(|_| self.only_in_cycles)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
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
            Waits::After => "after",
            Waits::KeyOrder => "key-order",
            Waits::Rate => "rate",
            Waits::Batch => "batch",
            Waits::Concurrency => "concurrency",
            Waits::Breaker => "breaker",
            Waits::Closed => "closed",
            Waits::Paused => "paused",
            Waits::Held => "held",
        }
    }
}
