//! What should be in sync, what is, and since when not: destination by destination and key by key.
//!
//! A key is in sync when the newest of its messages that anybody still wants has been delivered. Nobody wants what a newer message took the place of, and what a
//! person cancelled; a key of which nobody wants anything is in no list.
//!
//! # What holds
//!
//! * A key stands in a list where its newest wanted message stands: once, however many pages there are, and without a memory of the pages before.
//! * A list has a budget of messages and one of keys; one that ends a page says how far it came.
//!
//! # What it does not know
//!
//! How any of it is shown.

use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::{Engine, Shown};
use crate::error::Error;
use crate::model::{Abandoned, Place, State, WallMs};
use crate::store::{Dest, Pattern, Query, StateName};

/// How many messages of one key are looked at.
const LOOKED_AT_MAX: usize = 1_000;
/// How many of them at a time, at most: most often the first tells it.
const STEP_MAX: usize = 64;
/// How many keys one page of a list looks into,
const KEYS_MAX: usize = 2_000;
/// and how many messages it reads, in steps of so many;
const READ_MAX: usize = 10_000;
const READ_STEP: usize = 200;
/// a step passes over so many.
const SCAN_MAX: usize = 200_000;

/// How one key of one destination stands.
#[derive(Debug, Clone)]
pub struct KeyState {
    /// The destination.
    pub destination: Arc<str>,
    /// The key.
    pub key: String,
    /// The newest message that is wanted; where there is none, the newest.
    pub last_accepted: Shown,
    /// The newest message that arrived.
    pub last_delivered: Option<Shown>,
    /// When the oldest wanted message after that was accepted; `None` where the key is in sync.
    pub behind_since: Option<WallMs>,
    /// How many messages were looked at.
    pub messages: usize,
    /// What could not be read of it: then it may stand otherwise.
    pub damaged: Vec<String>,
}

/// Which keys are asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Of these destinations; empty for all.
    pub destinations: Vec<Dest>,
    /// The key: exactly this, or beginning with it.
    pub key: Option<Pattern>,
    /// Only those that are in sync, or only those that are not.
    pub in_sync: Option<bool>,
    /// Older than this place: the cursor of the page before.
    pub before: Option<Place>,
    /// At most so many. At least 1.
    pub limit: usize,
}

/// A page of keys, those with the newest messages first.
#[derive(Debug, Clone, Default)]
pub struct KeysPage {
    /// The keys.
    pub keys: Vec<KeyState>,
    /// Where the next page begins.
    pub next: Option<Place>,
    /// Set where a budget ended the page: everything accepted after this time was looked at.
    pub scanned_until: Option<WallMs>,
    /// What could not be read, and so may be missing.
    pub damaged: Vec<String>,
}

impl KeyState {
    /// Whether the destination has what it should.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.behind_since.is_none()
    }
}

/// How one key of a destination stands; `None` where it has no message.
///
/// # Errors
/// [`Error::UnknownDestination`], or what hinders the read.
pub fn key(engine: &Engine, destination: &str, key: &str) -> Result<Option<KeyState>, Error> {
    let dest = engine.destination(destination)?;
    state(engine, dest, key)
}

/// One page of the keys that are asked for.
///
/// # Errors
/// What hinders the read.
pub fn keys(engine: &Engine, asked: &Asked) -> Result<KeysPage, Error> {
    let mut query = Query {
        destinations: asked.destinations.clone(),
        key: asked.key.clone(),
        // Whoever is behind has a message that has not arrived: the others need not be looked at.
        states: if asked.in_sync == Some(false) { UNDELIVERED.to_vec() } else { Vec::new() },
        before: asked.before,
        limit: READ_STEP,
        scan_max: SCAN_MAX,
        ..Query::default()
    };
    let mut page = KeysPage::default();
    let mut seen: HashSet<(Dest, Arc<str>)> = HashSet::new();
    let mut read = 0;
    loop {
        let found = engine.list(&query)?;
        let last = found.messages.last().map(|shown| shown.record.id.accepted_at());
        page.damaged.extend(found.damaged);
        for shown in found.messages {
            let record = &shown.record;
            page.next = Some(record.place);
            let Some(name) = record.envelope.key.clone().filter(|_| !is_passed_over(record.state)) else { continue };
            let dest = engine.destination(&record.envelope.destination)?;
            if !seen.insert((dest, name.clone())) {
                continue;
            }
            let Some(stands) = state(engine, dest, &name)? else { continue };
            page.damaged.extend(stands.damaged.iter().cloned());
            let is_wanted = asked.in_sync.is_none_or(|wanted| stands.is_in_sync() == wanted);
            if is_wanted && stands.last_accepted.record.place == record.place {
                page.keys.push(stands);
            }
            if page.keys.len() >= asked.limit {
                return Ok(page);
            }
            if seen.len() >= KEYS_MAX {
                page.scanned_until = Some(record.id.accepted_at());
                return Ok(page);
            }
        }
        read += READ_STEP;
        (page.next, page.scanned_until) = (found.next, found.scanned_until.or(last.filter(|_| read >= READ_MAX)));
        if page.next.is_none() {
            page.scanned_until = None;
        }
        if page.next.is_none() || page.scanned_until.is_some() {
            return Ok(page);
        }
        query.before = page.next;
    }
}

const UNDELIVERED: [StateName; 4] = [StateName::Queued, StateName::Sending, StateName::Failed, StateName::Abandoned];

/// Whether nobody wants a message that stands so.
fn is_passed_over(state: State) -> bool {
    matches!(state, State::Abandoned(Abandoned::Superseded(_) | Abandoned::Cancelled))
}

fn state(engine: &Engine, dest: Dest, key: &str) -> Result<Option<KeyState>, Error> {
    let mut query = Query { destinations: vec![dest], key: Some(Pattern::Exactly(key.to_owned())), ..Query::default() };
    let (mut newest, mut wanted, mut behind_since, mut messages) = (None, None, None, 0);
    let (mut delivered, mut damaged) = (None, Vec::new());
    while messages < LOOKED_AT_MAX && delivered.is_none() {
        query.limit = messages.clamp(1, STEP_MAX);
        let page = engine.list(&query)?;
        damaged.extend(page.damaged);
        for shown in page.messages {
            messages += 1;
            newest.get_or_insert_with(|| shown.clone());
            if is_passed_over(shown.record.state) {
                continue;
            }
            wanted.get_or_insert_with(|| shown.clone());
            if shown.record.state == State::Delivered {
                delivered = Some(shown);
                break;
            }
            behind_since = Some(shown.record.id.accepted_at());
        }
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let Some(last_accepted) = wanted.or(newest) else { return Ok(None) };
    Ok(Some(KeyState {
        destination: last_accepted.record.envelope.destination.clone(),
        key: key.to_owned(),
        last_accepted,
        last_delivered: delivered,
        behind_since,
        messages,
        damaged,
    }))
}
