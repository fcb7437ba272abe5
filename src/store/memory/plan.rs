//! From a batch to its changes: compare and set, ids, and what each step leaves behind.
//!
//! A plan reads the tables and touches nothing, so that a write that fails leaves no trace.
//!
//! # What it does not know
//!
//! How changes reach the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Batch, Committed, Incoming, Move, Moved, Retained, Retention, StateName};
use super::change::{Change, Edition, Status};
use super::tables::Tables;
use crate::model::{Abandoned, Delivery, Id, Place, State, WallMs};

/// A batch being turned into changes.
struct Plan<'a> {
    tables: &'a Tables,
    /// Statuses as this batch has left them so far.
    statuses: BTreeMap<Place, Status>,
    /// Content types of bodies that this batch has written.
    content_types: BTreeMap<Place, Option<Arc<str>>>,
    gone: BTreeSet<Place>,
    next_message: u64,
    last_id_at: WallMs,
    changes: Vec<Change>,
}

/// What a batch changes, and the answer to it; its number is not given yet.
pub(super) fn commit(tables: &Tables, batch: &Batch) -> (Vec<Change>, Committed) {
    let mut plan = Plan {
        tables,
        statuses: BTreeMap::new(),
        content_types: BTreeMap::new(),
        gone: BTreeSet::new(),
        next_message: tables.next_message,
        last_id_at: tables.last_id_at,
        changes: Vec::new(),
    };
    let mut done = Committed::default();
    for incoming in &batch.accepts {
        let state = incoming.state(&done.accepted);
        done.accepted.push(plan.accept(incoming, state, batch.now));
    }
    for step in &batch.moves {
        let newer = step.by.and_then(|by| done.accepted.get(by)).copied();
        done.moved.push(plan.step(step, newer, batch.now));
    }
    for place in &batch.told {
        plan.told(*place);
    }
    for place in &batch.deletes {
        done.deleted.push(plan.delete(*place));
    }
    let notes = batch.noted(&done.accepted);
    plan.changes.extend(notes.map(|(key, value)| Change::Note { key: key.to_vec(), value: value.into_owned() }));
    plan.changes.extend(batch.dropped.iter().map(|key| Change::Note { key: key.clone(), value: Vec::new() }));
    (plan.finish(), done)
}

/// One step of retention: bodies first, then whole messages, each oldest first.
pub(super) fn retain(tables: &Tables, rule: &Retention, now: WallMs) -> (Vec<Change>, Retained) {
    let (mut changes, mut done) = (Vec::new(), Retained::default());
    let index = tables.index();
    let old = |ended_at: WallMs, keep_ms: u64| ended_at.plus(keep_ms) <= now;
    let bodies = index.bodied.iter().take_while(|(ended_at, _)| old(*ended_at, rule.bodies_ms));
    let bodies = bodies.map(|(_, place)| Change::BodiesGone { place: *place });
    let whole = [(StateName::Delivered, rule.delivered_ms), (StateName::Abandoned, rule.abandoned_ms)];
    let whole = whole.into_iter().flat_map(|(state, keep_ms)| {
        let from = (state, WallMs(0), Place::from_u64(0));
        let rows = index.ended.range(from..).take_while(move |(name, at, _)| *name == state && old(*at, keep_ms));
        rows.map(|(_, _, place)| Change::Gone { place: *place })
    });
    for change in bodies.chain(whole) {
        if changes.len() >= rule.step_max {
            done.more = true;
            break;
        }
        match &change {
            Change::BodiesGone { .. } => done.bodies += 1,
            Change::Gone { .. } => done.messages += 1,
            Change::Registry { .. }
            | Change::Destination { .. }
            | Change::Accepted { .. }
            | Change::Status { .. }
            | Change::Revision { .. }
            | Change::Attempt { .. }
            | Change::Note { .. }
            | Change::RemoteId { .. } => {}
        }
        changes.push(change);
    }
    (changes, done)
}

impl Plan<'_> {
    fn accept(&mut self, incoming: &Incoming, state: State, now: WallMs) -> (Id, Place) {
        let place = Tables::place(self.next_message);
        self.next_message += 1;
        let id = incoming.id.unwrap_or_else(|| {
            self.last_id_at = self.last_id_at.max(now);
            Id::compose(self.last_id_at, self.tables.node, place)
        });
        let envelope = Arc::new(incoming.draft.envelope.clone());
        let content_type = envelope.content_type.clone();
        self.changes.push(Change::Accepted { place, id, dest: incoming.dest.0, envelope });
        let revision = Edition::first(Arc::clone(&incoming.draft.body), content_type.clone(), now);
        self.changes.push(Change::Revision { place, revision });
        self.content_types.insert(place, content_type);
        if let Some(note) = &incoming.note {
            let value = [&*note.value, &id.to_bytes()].concat();
            self.changes.push(Change::Note { key: note.key.clone(), value });
        }
        if let Some(own) = &incoming.own {
            let key = [&*own.key, &place.to_u64().to_be_bytes()].concat();
            self.changes.push(Change::Note { key, value: own.value.clone() });
        }
        // As with what ends later: a clock that is behind must not age it.
        let updated_at = if state.is_final() { now.max(self.last_id_at) } else { now };
        self.set(place, Status { state, updated_at, ..Status::fresh() });
        (id, place)
    }

    fn step(&mut self, step: &Move, newer: Option<(Id, Place)>, now: WallMs) -> Moved {
        let Some(before) = self.status(step.place) else { return Moved::Gone };
        if before.expect() != step.expect {
            return Moved::Stale(before.expect());
        }
        let mut after = Status {
            state: step.to,
            attempts: step.attempts,
            series: step.series,
            // A clock that is behind for a minute must not age what ends in it.
            updated_at: now.max(self.last_id_at),
            delivered_in_ms: None,
            phases: None,
            untold: before.untold || step.untold,
            ..before
        };
        if let Some((id, _)) = newer {
            after.state = State::Abandoned(Abandoned::Superseded(id));
        }
        if let State::Abandoned(Abandoned::Superseded(id)) = after.state {
            self.supersede(step.place, id);
        }
        if let Some(amendment) = &step.amend {
            after.revision = before.revision.saturating_add(1);
            let content_type = amendment.content_type.clone().or_else(|| self.content_type(step.place));
            self.content_types.insert(step.place, content_type.clone());
            let by = (amendment.who.clone(), amendment.why.clone());
            let revision = Edition::new(after.revision, Arc::clone(&amendment.body), content_type, now, by);
            self.changes.push(Change::Revision { place: step.place, revision });
        }
        if let Some(attempt) = &step.attempt {
            after.status = attempt.status;
            let had_one = self.tables.row(step.place).is_some_and(|row| row.remote_id.is_some());
            if attempt.outcome == Delivery::Delivered && (attempt.remote_id.is_some() || had_one) {
                let remote_id = attempt.remote_id.clone();
                self.changes.push(Change::RemoteId { place: step.place, remote_id });
            }
            if attempt.outcome == Delivery::Delivered && attempt.detail.is_empty() {
                (after.class, after.delivered_in_ms, after.phases) = (None, Some(attempt.duration_ms), attempt.phases);
            } else {
                after.class = attempt.class;
                self.changes.push(Change::attempt(step.place, attempt.clone()));
            }
        }
        self.set(step.place, after);
        Moved::Done
    }

    /// Writes on the newer message which one it took the place of.
    fn supersede(&mut self, older: Place, newer: Id) {
        let given = || self.given().find(|(_, id)| *id == newer).map(|(place, _)| place);
        let Some(newer) = self.tables.find(newer).or_else(given) else { return };
        let id = self.tables.row(older).map(|row| row.id);
        let id = id.or_else(|| self.given().find(|(place, _)| *place == older).map(|(_, id)| id));
        if let Some(status) = self.status(newer) {
            self.set(newer, Status { supersedes: id, ..status });
        }
    }

    /// The ids that this batch itself gave.
    fn given(&self) -> impl Iterator<Item = (Place, Id)> {
        self.changes.iter().filter_map(|change| match change {
            Change::Accepted { place, id, .. } => Some((*place, *id)),
            Change::Registry { .. }
            | Change::Destination { .. }
            | Change::Status { .. }
            | Change::Revision { .. }
            | Change::Attempt { .. }
            | Change::BodiesGone { .. }
            | Change::Gone { .. }
            | Change::Note { .. }
            | Change::RemoteId { .. } => None,
        })
    }

    fn told(&mut self, place: Place) {
        if let Some(status) = self.status(place).filter(|status| status.untold) {
            self.set(place, Status { untold: false, ..status });
        }
    }

    fn delete(&mut self, place: Place) -> bool {
        let there = self.status(place).is_some();
        if there {
            self.gone.insert(place);
        }
        there
    }

    fn status(&self, place: Place) -> Option<Status> {
        if self.gone.contains(&place) {
            return None;
        }
        self.statuses.get(&place).copied().or_else(|| self.tables.row(place).map(|row| row.status))
    }

    fn content_type(&self, place: Place) -> Option<Arc<str>> {
        let written = self.content_types.get(&place).cloned();
        written.unwrap_or_else(|| self.tables.row(place)?.editions.last()?.content_type.clone())
    }

    fn set(&mut self, place: Place, status: Status) {
        self.statuses.insert(place, status);
    }

    /// The changes in an order in which they can be applied: one status a message, removals last.
    fn finish(mut self) -> Vec<Change> {
        let statuses = std::mem::take(&mut self.statuses);
        self.changes.extend(statuses.into_iter().map(|(place, status)| Change::Status { place, status }));
        self.changes.extend(self.gone.iter().map(|place| Change::Gone { place: *place }));
        if self.next_message != self.tables.next_message {
            let (node, next_message, last_id_at) = (self.tables.node, self.next_message, self.last_id_at);
            self.changes.push(Change::Registry { node, next_message, last_id_at });
        }
        self.changes
    }
}
