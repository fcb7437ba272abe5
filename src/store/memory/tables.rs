//! The rows of the store and the indexes over them, in ordered maps.
//!
//! [`Tables::apply`] is the only way in: a commit, a start and a step of retention all change rows by it, and every index follows from
//! the rows in one place, [`Index`].
//!
//! # What it does not know
//!
//! Disks, locks, and what was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::super::{
    Count, Dest, Expect, Loaded, Page, Query, Revision, StateName, StoreError, Unfinished, idempotency_hash, key_hash,
};
use super::change::{Change, Edition, Status};
use crate::model::{Attempt, Delivery, Envelope, Id, Message, NodeTag, Place, Record, Sent, State, Told, WallMs};

/// How many failed attempts are kept of a message.
const ATTEMPTS_MAX: usize = 16;

/// Everything the store knows.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) node: NodeTag,
    /// The number of the next message; its place follows from it.
    pub(super) next_message: u64,
    /// The time in the newest id: the next one is not below it.
    pub(super) last_id_at: WallMs,
    pub(super) destinations: BTreeMap<u16, Arc<str>>,
    pub(super) notes: BTreeMap<Vec<u8>, Vec<u8>>,
    rows: BTreeMap<Place, Row>,
    index: Index,
}

/// One message whole.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) dest: u16,
    pub(super) envelope: Arc<Envelope>,
    pub(super) status: Status,
    pub(super) editions: Vec<Edition>,
    attempts: Vec<Attempt>,
    /// What the destination called it when it was last delivered.
    pub(super) remote_id: Option<String>,
}

/// What is found without looking through the rows. Follows from them alone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Index {
    counts: BTreeMap<(Dest, StateName), u64>,
    unfinished: BTreeSet<Place>,
    untold: BTreeSet<Place>,
    /// Final messages by when they ended.
    pub(super) ended: BTreeSet<(StateName, WallMs, Place)>,
    /// Final messages that still have a body, by when they ended.
    pub(super) bodied: BTreeSet<(WallMs, Place)>,
    /// Messages whose ids name another place.
    aliases: BTreeMap<Id, Place>,
}

impl Tables {
    /// Empty ones, of the registry with this tag.
    pub(super) fn new(node: NodeTag) -> Tables {
        Tables {
            node,
            next_message: 0,
            last_id_at: WallMs(0),
            destinations: BTreeMap::new(),
            notes: BTreeMap::new(),
            rows: BTreeMap::new(),
            index: Index::default(),
        }
    }

    /// The place of the message of this number.
    pub(super) fn place(number: u64) -> Place {
        Place::new(number >> 6, u8::try_from(number & 63).unwrap_or(0))
    }

    /// Puts one change in.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Registry { node, next_message, last_id_at } => {
                self.node = node;
                self.next_message = self.next_message.max(next_message);
                self.last_id_at = self.last_id_at.max(last_id_at);
                Ok(())
            }
            Change::Destination { number, name } => {
                self.destinations.insert(number, name);
                Ok(())
            }
            Change::Accepted { place, id, dest, envelope } => {
                let status = Status::fresh();
                let row =
                    Row { id, dest, envelope, status, editions: Vec::new(), attempts: Vec::new(), remote_id: None };
                self.index.add(place, &row);
                self.rows.insert(place, row);
                Ok(())
            }
            Change::Note { key, value } => {
                if value.is_empty() {
                    self.notes.remove(&key);
                } else {
                    self.notes.insert(key, value);
                }
                Ok(())
            }
            Change::Status { place, status } => self.change(place, |row| row.status = status),
            Change::Revision { place, revision } => self.change(place, |row| row.editions.push(revision)),
            Change::Attempt { place, attempt, remote_id, phases } => self.change(place, |row| {
                row.attempts.push(Attempt { remote_id, phases, ..attempt });
                let surplus = row.attempts.len().saturating_sub(ATTEMPTS_MAX);
                row.attempts.drain(..surplus);
            }),
            Change::RemoteId { place, remote_id } => self.change(place, |row| row.remote_id = remote_id),
            Change::BodiesGone { place } => self.change(place, |row| row.editions.iter_mut().for_each(Edition::erase)),
            Change::Gone { place } => {
                let row = self.rows.remove(&place).ok_or_else(|| unknown(place))?;
                self.index.remove(place, &row);
                Ok(())
            }
        }
    }

    fn change(&mut self, place: Place, how: impl FnOnce(&mut Row)) -> Result<(), StoreError> {
        let row = self.rows.get_mut(&place).ok_or_else(|| unknown(place))?;
        self.index.remove(place, row);
        how(row);
        self.index.add(place, row);
        Ok(())
    }

    /// The changes that make empty tables equal to these.
    pub(super) fn snapshot(&self) -> Vec<Change> {
        let mut changes = vec![self.registry()];
        let names = self.destinations.iter();
        changes.extend(names.map(|(number, name)| Change::Destination { number: *number, name: Arc::clone(name) }));
        changes.extend(self.notes.clone().into_iter().map(|(key, value)| Change::Note { key, value }));
        for (place, row) in &self.rows {
            let place = *place;
            let (id, dest, envelope) = (row.id, row.dest, Arc::clone(&row.envelope));
            changes.push(Change::Accepted { place, id, dest, envelope });
            changes.extend(row.editions.iter().cloned().map(|revision| Change::Revision { place, revision }));
            changes.extend(row.attempts.iter().cloned().map(|attempt| Change::attempt(place, attempt)));
            let remote_id = row.remote_id.clone();
            changes.extend(remote_id.map(|remote_id| Change::RemoteId { place, remote_id: Some(remote_id) }));
            changes.push(Change::Status { place, status: row.status });
        }
        changes
    }

    /// What the registry as a whole remembers.
    pub(super) fn registry(&self) -> Change {
        Change::Registry { node: self.node, next_message: self.next_message, last_id_at: self.last_id_at }
    }

    pub(super) fn row(&self, place: Place) -> Option<&Row> {
        self.rows.get(&place)
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The indexes as the rows alone say they are.
    pub(super) fn reindexed(&self) -> Index {
        let mut index = Index::default();
        self.rows.iter().for_each(|(place, row)| index.add(*place, row));
        index
    }

    pub(super) fn counts(&self) -> Vec<Count> {
        let counts = self.index.counts.iter();
        counts.map(|((dest, state), messages)| Count { dest: *dest, state: *state, messages: *messages }).collect()
    }

    pub(super) fn find(&self, id: Id) -> Option<Place> {
        let place = Some(id.place()).filter(|place| self.rows.get(place).is_some_and(|row| row.id == id));
        place.or_else(|| self.index.aliases.get(&id).copied())
    }

    pub(super) fn untold(&self, after: Option<Place>, limit: usize) -> Vec<Place> {
        let low = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.index.untold.range((low, Bound::Unbounded)).take(limit).copied().collect()
    }

    pub(super) fn unfinished<'a>(
        &'a self,
        is_timed: &'a dyn Fn(Dest) -> bool,
    ) -> impl Iterator<Item = Unfinished> + 'a {
        let rows = self.index.unfinished.iter().filter_map(|place| Some((*place, self.rows.get(place)?)));
        rows.map(|(place, row)| Unfinished {
            place,
            dest: Dest(row.dest),
            state: row.status.state,
            attempts: row.status.attempts,
            series: row.status.series,
            revision: row.status.revision,
            key_hash: row.envelope.key.as_deref().map_or(0, key_hash),
            updated_at: row.status.updated_at,
            accepted_at: row.id.accepted_at(),
            not_before: row.envelope.not_before.filter(|_| is_timed(Dest(row.dest))),
            deadline: row.envelope.deadline,
        })
    }

    pub(super) fn idempotent(&self, since: WallMs) -> impl Iterator<Item = (u64, Place)> + '_ {
        let rows = self.rows.iter().filter(move |(_, row)| row.id.accepted_at() >= since);
        rows.filter_map(|(place, row)| Some((idempotency_hash(row.envelope.idempotency_key.as_deref()?), *place)))
    }

    /// One page, newest first.
    pub(super) fn list(&self, query: &Query) -> Page {
        let mut page = Page::default();
        let before = query.before.unwrap_or(Place::from_u64(u64::MAX));
        let (mut last, mut looked_at) = (None, 0_usize);
        for (place, row) in self.rows.range(..before).rev() {
            if page.records.len() >= query.limit {
                page.next = last;
                break;
            }
            if query.scan_max > 0 && looked_at >= query.scan_max {
                page.next = last;
                page.scanned_until = last.and_then(|place| self.row(place)).map(|row| row.id.accepted_at());
                break;
            }
            looked_at += 1;
            last = Some(*place);
            if query.cause.is_some_and(|cause| row.status.class != Some(cause.class)) {
                continue;
            }
            let record = row.record(*place);
            if query.matches(&record, Dest(row.dest)) && query.is_by_cause(&row.attempts) {
                let body = row.editions.last().and_then(|edition| edition.body.as_deref());
                let costs = body.filter(|_| query.text.is_some()).map_or(0, Query::costs);
                looked_at = looked_at.saturating_add(costs);
                if query.text.is_none() || body.is_some_and(|body| query.is_in(body)) {
                    page.records.push(record);
                }
            }
        }
        page
    }
}

impl Row {
    pub(super) fn record(&self, place: Place) -> Record {
        let newest = self.editions.last();
        Record {
            id: self.id,
            place,
            envelope: Arc::clone(&self.envelope),
            content_type: newest.and_then(|edition| edition.content_type.clone()),
            state: self.status.state,
            attempts: self.status.attempts,
            series: self.status.series,
            revision: self.status.revision,
            body_bytes: newest.and_then(Edition::body_bytes),
            updated_at: self.status.updated_at,
            last: Told { class: self.status.class, status: self.status.status },
            supersedes: self.status.supersedes,
            remote_id: self.remote_id.clone().filter(|_| self.status.state == State::Delivered),
        }
    }

    /// The message with its newest body; `None` where retention removed it.
    pub(super) fn loaded(&self) -> Option<Loaded> {
        let newest = self.editions.last()?;
        let message = Message {
            id: self.id,
            attempt: 0,
            revision: self.status.revision,
            envelope: Arc::clone(&self.envelope),
            content_type: newest.content_type.clone(),
            body: newest.body.clone()?,
        };
        Some(Loaded { message, expect: self.status.expect(), series: self.status.series })
    }

    pub(super) fn revision(&self, number: u16) -> Option<Revision> {
        let edition = self.editions.iter().find(|edition| edition.number == number)?;
        Some(Revision {
            number,
            body: edition.body.clone(),
            content_type: edition.content_type.clone(),
            at: edition.at,
            who: edition.who.clone(),
            why: edition.why.clone(),
        })
    }

    /// The failed attempts, and after them what the status tells of a delivery.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        let delivery = self.status.delivered_in_ms.map(|duration_ms| Attempt {
            number: self.status.attempts,
            revision: self.status.revision,
            started_at: WallMs(self.status.updated_at.since(WallMs(u64::from(duration_ms)))),
            duration_ms,
            outcome: Delivery::Delivered,
            class: None,
            sent: Sent::Answered,
            status: self.status.status,
            detail: String::new(),
            response_excerpt: None,
            remote_id: self.remote_id.clone(),
            phases: self.status.phases,
        });
        self.attempts.iter().cloned().chain(delivery).collect()
    }
}

impl Status {
    /// A status before its first: of a message that is being written down.
    pub(super) fn fresh() -> Status {
        Status {
            state: State::Queued(crate::model::Queued::Ready),
            attempts: 0,
            series: 0,
            revision: 1,
            updated_at: WallMs(0),
            class: None,
            status: None,
            delivered_in_ms: None,
            phases: None,
            supersedes: None,
            untold: false,
        }
    }

    pub(super) fn expect(&self) -> Expect {
        Expect { state: self.state, attempts: self.attempts, revision: self.revision }
    }
}

impl Index {
    fn add(&mut self, place: Place, row: &Row) {
        let (state, ended_at) = (StateName::of(row.status.state), row.status.updated_at);
        *self.counts.entry((Dest(row.dest), state)).or_default() += 1;
        if !row.status.state.is_final() {
            self.unfinished.insert(place);
        } else if !row.status.untold {
            // What a person must still be told of, retention does not see.
            self.ended.insert((state, ended_at, place));
            if row.editions.iter().any(|edition| edition.body.is_some()) {
                self.bodied.insert((ended_at, place));
            }
        }
        if row.status.untold {
            self.untold.insert(place);
        }
        if row.id.place() != place {
            self.aliases.insert(row.id, place);
        }
    }

    fn remove(&mut self, place: Place, row: &Row) {
        let (state, ended_at) = (StateName::of(row.status.state), row.status.updated_at);
        if let Some(count) = self.counts.get_mut(&(Dest(row.dest), state)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&(Dest(row.dest), state));
            }
        }
        self.ended.remove(&(state, ended_at, place));
        self.bodied.remove(&(ended_at, place));
        self.unfinished.remove(&place);
        self.untold.remove(&place);
        self.aliases.remove(&row.id);
    }
}

fn unknown(place: Place) -> StoreError {
    StoreError::Damaged(format!("the log changes message {place}, which it does not have"))
}
