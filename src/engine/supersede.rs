//! Giving places away: where only the newest message of a key counts, the older one that waits ends with the commit that brings the newer.
//!
//! # What holds
//!
//! * What is out is not superseded; its successor is remembered, and takes its place where it comes home without success.
//! * What a person sends again, edits or says of a message is held against the newest of its key too.
//!
//! # What it does not know
//!
//! When the batch is written, and what becomes of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::commit::Committer;
use super::draft::{Cause, Draft};
use super::enter::expect_of;
use super::fence;
use super::latest::Line;
use super::news::{News, Who};
use super::request::Request;
use super::schedule::Taken;
use super::words::Destination;
use crate::error::Error;
use crate::model::{Abandoned, Envelope, Event, Id, Place, Record, State, advance};
use crate::store::{Dest, Expect, Incoming, Move, Newer, Older, Pattern, Query, StateName, key_hash};

impl Committer {
    /// A newer message takes the place of this one: one that is there, or one of this batch.
    pub(super) fn give_place(
        &mut self,
        draft: &mut Draft,
        who: Who,
        (expect, series): (Expect, u16),
        newer: Newer,
        (id, envelope): (Id, Arc<Envelope>),
    ) {
        let (known, by) = match newer {
            Newer::Known(known) => (known, None),
            // The store fills in the id that it gives.
            Newer::Accept(number) => (id, Some(number)),
        };
        let Ok(to) = advance(expect.state, Event::Supersede(known)) else {
            return draft.news.push(News::Unchanged(who));
        };
        self.let_go(draft, who, Event::Supersede(known));
        draft.batch.moves.push(Move {
            place: who.entry.place,
            expect,
            to,
            by,
            attempts: expect.attempts,
            series,
            attempt: None,
            amend: None,
            untold: false,
        });
        draft.causes.push(Cause::Supersede(who, id, envelope));
    }

    /// An older message of a key gives its place to a newer one, where it still waits; where it is out, once it comes home without success.
    pub(super) fn enter_supersede(&mut self, draft: &mut Draft, dest: Dest, older: Place, newer: Place) {
        let store = self.registry.store.clone();
        let successor = match store.get(newer) {
            // What was given up itself takes nobody's place.
            Ok(Some(Record { state: State::Abandoned(why), .. })) if !matches!(why, Abandoned::Superseded(_)) => return,
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => return self.registry.unreadable(newer, &error),
        };
        let taken = self.registry.scheduler().reserve(older);
        if matches!(taken, Err(Taken::Reserved)) {
            return self.put_off.push(Request::Supersede(vec![(dest, older, newer)]));
        }
        let is_ours = taken.is_ok();
        match store.get(older) {
            // Two keys may have one hash.
            Ok(Some(record)) if !record.state.is_final() && record.envelope.key == successor.envelope.key => {
                if !is_ours || matches!(record.state, State::Sending(_)) {
                    if is_ours {
                        self.registry.scheduler().forget(older);
                    }
                    return self.latest.follows(older, successor.id);
                }
                let who = self.registry.who(dest, older, record.envelope.key.as_deref());
                let stands = (expect_of(&record), record.series);
                return self.give_place(draft, who, stands, Newer::Known(successor.id), (record.id, record.envelope));
            }
            Ok(_) => {}
            Err(error) => self.registry.unreadable(older, &error),
        }
        if is_ours {
            self.registry.scheduler().forget(older);
        }
    }

    /// Lets new messages take the places of older ones of their keys.
    pub(super) fn take_places(&mut self, draft: &mut Draft, fresh: &mut [Incoming]) {
        let first = draft.batch.accepts.len();
        let mut own: HashMap<(Line, Arc<str>), usize> = HashMap::new();
        for (number, one) in (first..).zip(fresh) {
            let (Some(line), Some(key)) = (self.line(one), one.draft.envelope.key.clone()) else { continue };
            let _new = draft.lines.insert(line);
            if one.newer.is_some() {
                // It is below its fence.
                continue;
            }
            let before = own.insert((line, key.clone()), number);
            if let Some(before) = before {
                one.older = Some(Older::Accept(before));
            } else if let Some((place, record)) = self.older(line, &key) {
                one.older = Some(Older::At(place));
                if let Some(record) = record {
                    let who = self.registry.who(one.dest, place, Some(&key));
                    let stands = (expect_of(&record), record.series);
                    self.give_place(draft, who, stands, Newer::Accept(number), (record.id, record.envelope));
                }
            }
        }
    }

    /// The key of a message of which only the latest counts.
    pub(super) fn line(&self, one: &Incoming) -> Option<Line> {
        let key = one.draft.envelope.key.as_deref()?;
        self.registry.rules(one.dest)?.latest_wins.then(|| (one.dest, key_hash(key)))
    }

    /// The message whose place a new one of this key is to take; its record where it waits, and is reserved now.
    fn older(&self, line: Line, key: &str) -> Option<(Place, Option<Record>)> {
        let place = self.latest.newest(line)?;
        let is_ours = self.registry.scheduler().reserve(place).is_ok();
        let found = self.registry.store.get(place).ok().flatten();
        // Two keys may have one hash.
        let found = found.filter(|record| !record.state.is_final() && record.envelope.key.as_deref() == Some(key));
        if is_ours && found.is_none() {
            self.registry.scheduler().forget(place);
        }
        found.map(|record| (place, is_ours.then_some(record)))
    }

    /// A person says that this message has arrived: an older one of its key that waits must not go after it.
    pub(super) fn overtake(&mut self, draft: &mut Draft, record: &Record, who: Who) {
        let is_latest = self.registry.rules(who.dest).is_some_and(|rules| rules.latest_wins);
        let Some(key) = record.envelope.key.clone().filter(|_| is_latest) else { return };
        let line = (who.dest, who.entry.hash);
        let is_last = self.latest.newest(line).is_none_or(|newest| newest >= record.place);
        // Where nothing can be told of its version, what waits goes.
        let is_below = || !matches!(fence::above(who.dest, &record.envelope, &*self.registry.store), Ok(None));
        if is_last || is_below() {
            return;
        }
        match self.older(line, &key) {
            Some((place, Some(older))) => {
                let of = self.registry.who(who.dest, place, Some(&key));
                let stands = (expect_of(&older), older.series);
                self.give_place(draft, of, stands, Newer::Known(record.id), (older.id, older.envelope));
            }
            Some((place, None)) => self.latest.follows(place, record.id),
            None => {}
        }
    }

    /// The newer message of its key that has arrived, or that waits, where only the latest counts; or the one with the newest version, and that.
    pub(super) fn newer(
        &self,
        record: &Record,
        rules: &Destination,
        dest: Dest,
    ) -> Result<Option<(Id, Option<u64>)>, Error> {
        let Some(key) = record.envelope.key.as_deref().filter(|_| rules.latest_wins) else { return Ok(None) };
        let store = &*self.registry.store;
        let above = fence::above(dest, &record.envelope, store).inspect_err(|error| self.registry.unfenced(error))?;
        if let Some(fence) = above {
            return Ok(Some((fence.id, Some(fence.version))));
        }
        let mut query = Query {
            states: vec![StateName::Queued, StateName::Sending, StateName::Delivered, StateName::Failed],
            destinations: vec![dest],
            key: Some(Pattern::Exactly(key.to_owned())),
            limit: 1,
            ..Query::default()
        };
        loop {
            let newest = store.list(&query)?.records.into_iter().next();
            let Some(newest) = newest.filter(|newest| newest.place > record.place) else { return Ok(None) };
            let versions = newest.envelope.version.zip(record.envelope.version);
            if versions.is_none_or(|(newest, own)| newest >= own) {
                return Ok(Some((newest.id, None)));
            }
            // It came below this one, and a person said that it arrived.
            query.before = Some(newest.place);
        }
    }
}
