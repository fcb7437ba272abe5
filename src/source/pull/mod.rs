//! Systems that are asked: in each cycle a source is read from where it was left, page by page.
//!
//! ```text
//! cycle ─▶ GET …?since={cursor}, or POST with a body ─▶ items ─▶ routes ─▶ messages and the next cursor, one commit ─▶ the next page, while there is more
//! ```
//!
//! # What holds
//!
//! * How far a source was read is written by the commit that keeps the messages of what was read: nothing is read twice or skipped, whatever is killed when.
//! * A source is asked in its cycles, or when a person says so: one question after another, [`PAGES_MAX`] of them at most.
//! * One that would bring more than a person expects at its first reading brings nothing until a person has let it in.
//! * One that forgets is told of before it has forgotten, and when it has.
//!
//! # What it does not know
//!
//! Threads and clocks: whoever runs it says what time it is.

mod asker;
mod items;
mod progress;
mod reading;
mod told;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::Cycle;
use crate::model::WallMs;
use crate::transport::Transport;
use crate::transport::filter::Filter;
use crate::transport::http::{Address, Http};

pub use self::asker::Asker;
pub use self::items::{ITEMS_MAX, Items};
pub use self::progress::CURSOR_BYTES_MAX;
pub use self::reading::PAGES_MAX;

/// How a source is asked.
#[derive(Debug)]
pub struct PullRule {
    /// Where, and with which body.
    pub address: Address,
    /// The cursor while it has given none; empty where that is so.
    pub begin: String,
    /// When.
    pub cycle: Cycle,
    /// What of a page becomes messages.
    pub items: Items,
    /// Where the next page begins; without it every page begins at the same place.
    pub cursor: Option<Filter>,
    /// Whether there is more now. Without it there is while a page has something new, and another cursor.
    pub more: Option<Filter>,
    /// How long one question may take.
    pub timeout: Duration,
    /// A first reading that comes to more messages asks a person.
    pub ask_above: u64,
    /// How long the source itself remembers.
    pub memory: Option<Memory>,
}

/// How long a source remembers what it has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// For so many milliseconds.
    pub remembers_ms: u64,
    /// A person is told when it was not read for so many.
    pub tell_after_ms: u64,
}

/// A source that is asked.
#[derive(Debug)]
pub struct Pull {
    /// Its name, the same as that of its [`Source`](super::Source).
    pub name: Arc<str>,
    /// How it is asked.
    pub rule: PullRule,
    from: Http,
    desk: Mutex<Desk>,
    woken: Condvar,
}

/// What is asked of it, and how it stands.
#[derive(Debug, Default)]
struct Desk {
    asked: Option<Asked>,
    is_stopping: bool,
    shown: PullShown,
}

/// That a person wants it read now.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Whatever it brings.
    is_sure: bool,
}

/// How a source stands, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullShown {
    /// What it does.
    pub state: PullState,
    /// Where it goes on; `None` before its first reading.
    pub cursor: Option<String>,
    /// When it was last read; durable to a minute.
    pub read_at: Option<WallMs>,
    /// When it is read next; `None` where a person is asked.
    pub next_at: Option<WallMs>,
    /// How many items it brought.
    pub items: u64,
    /// How often it could not be read.
    pub failures: u64,
    /// Since when it cannot be read.
    pub failing_since: Option<WallMs>,
    /// Why it could last not be read.
    pub last_error: Option<String>,
    /// To how many messages its first reading comes, at least, where a person is asked.
    pub asks: Option<u64>,
    /// Until when it remembers what was not read.
    pub forgets_at: Option<WallMs>,
    /// From when to when it may have forgotten something that was not read.
    pub forgot: Option<(WallMs, WallMs)>,
}

/// What a source does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullState {
    /// It waits for its next cycle.
    #[default]
    Waits,
    /// It is being read.
    Reads,
    /// It could not be read, and waits for its next cycle.
    Fails,
    /// It waits for a person.
    Asks,
}

impl PullState {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PullState::Waits => "waits",
            PullState::Reads => "reads",
            PullState::Fails => "fails",
            PullState::Asks => "asks",
        }
    }
}

impl Pull {
    /// A source of this name that is asked so, in this way.
    #[must_use]
    pub fn new(name: &str, rule: PullRule, from: Http) -> Pull {
        Pull { name: Arc::from(name), rule, from, desk: Mutex::default(), woken: Condvar::new() }
    }

    /// Has it read now, and not only in its next cycle. `is_sure` lets its first reading in, whatever that brings.
    pub fn ask(&self, is_sure: bool) {
        let mut desk = self.desk();
        let was_sure = desk.asked.is_some_and(|asked| asked.is_sure);
        desk.asked = Some(Asked { is_sure: is_sure || was_sure });
        drop(desk);
        self.woken.notify_all();
    }

    /// How it stands.
    #[must_use]
    pub fn shown(&self) -> PullShown {
        self.desk().shown.clone()
    }

    /// Waits for so long, or until somebody wants something of it.
    pub fn wait(&self, longest: Duration) {
        let is_quiet = |desk: &mut Desk| desk.asked.is_none() && !desk.is_stopping;
        let waited = self.woken.wait_timeout_while(self.desk(), longest, is_quiet);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Cuts off what is asked, and asks no more.
    pub fn stop(&self) {
        self.desk().is_stopping = true;
        self.woken.notify_all();
        self.from.shutdown();
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.desk().is_stopping
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // What is written there is whole at any time.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
