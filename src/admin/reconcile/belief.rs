//! What is believed to be at a destination, key by key, and what a manifest says of it.
//!
//! # What holds
//!
//! * Of a key the newest message counts that was delivered. While a newer one waits, nothing is expected of the key: it is under way.
//! * A key takes [`KEY_BYTES`] bytes and its share of a table that is up to half empty, however long it is: 150 at most. Beyond [`KEYS_MAX`] keys nothing is
//!   compared. Keys are known by 128 bits of two hashes that nobody outside can foresee.
//!
//! # What it does not know
//!
//! Where manifests come from, and what is done about the difference.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use super::manifest::Line;
use super::report::{Report, Sample, Side};
use super::rules::Scope;
use crate::engine::Engine;
use crate::error::Error;
use crate::model::chain::Link;
use crate::model::{Id, Place, Record, State, WallMs};
use crate::store::{Query, StoreError};

/// How many keys are compared at most: those of the registry, and those of a manifest that the registry does not know.
pub const KEYS_MAX: usize = 2_000_000;
/// What a key takes beside the table that it lies in.
pub const KEY_BYTES: usize = size_of::<u128>() + size_of::<Believed>();
/// How many messages are read together.
const PAGE: usize = 1_000;
/// How many of what differs are remembered by name, until it is known which of them are told.
const NAMED_MAX: usize = 1_000;
/// How many samples of each a report has,
pub(super) const SAMPLES: usize = 10;
/// and how much of a key they show, in characters.
const KEY_CHARS_MAX: usize = 100;

/// What is believed of a key.
#[derive(Debug, Clone, Copy)]
struct Believed {
    /// Its newest message that was delivered; where there is none, the newest.
    id: Id,
    /// When it was delivered.
    at: WallMs,
    version: Option<u64>,
    stand: Stand,
    said: Said,
}

/// How a key stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// The destination should have it.
    Delivered,
    /// The destination should have it no more.
    Gone,
    /// Something newer than what was delivered waits.
    UnderWay,
    /// Nothing of it arrived, and nothing waits.
    Known,
}

/// What the manifest says of a key, from the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Nothing,
    Older,
    /// It could not be held against the body, because that was removed or cannot be read.
    Untold,
    Same,
}

/// What is believed of a destination, and what a manifest said so far.
pub(super) struct Belief<'a> {
    engine: &'a Engine,
    scope: &'a Scope,
    now: WallMs,
    hashes: (RandomState, RandomState),
    keys: HashMap<u128, Believed>,
    /// Keys that only the manifest has, and when it last changed them.
    unknown: HashMap<u128, Option<WallMs>>,
    /// Some of them by name,
    names: Vec<(u128, String)>,
    /// and of keys that are older there, what the difference is.
    differences: HashMap<u128, String>,
    /// The newest message that was seen.
    newest: Option<Place>,
    damaged: u64,
}

/// What is to be sent again, the oldest delivery first.
pub(super) type Found = Vec<(Id, WallMs)>;

impl<'a> Belief<'a> {
    /// What is believed at `now`.
    ///
    /// # Errors
    /// What hinders the read; there are too many keys, or the node stops: in words.
    pub(super) fn read(
        engine: &'a Engine,
        scope: &'a Scope,
        now: WallMs,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Belief<'a>, String> {
        let mut belief = Belief {
            engine,
            scope,
            now,
            hashes: (RandomState::new(), RandomState::new()),
            keys: HashMap::new(),
            unknown: HashMap::new(),
            names: Vec::new(),
            differences: HashMap::new(),
            newest: None,
            damaged: 0,
        };
        let newest = belief.walk(None, go_on, &mut |belief, record, key| belief.believe(record, key))?;
        belief.newest = newest;
        Ok(belief)
    }

    /// Gives the messages with keys that are asked about, newest first, down to `after`; the answer is the newest of all.
    fn walk(
        &mut self,
        after: Option<Place>,
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&mut Self, &Record, u128) -> Result<(), String>,
    ) -> Result<Option<Place>, String> {
        let dest = self.engine.destination(&self.scope.destination).map_err(|error| error.to_string())?;
        let mut query =
            Query { destinations: vec![dest], key: self.scope.keys.clone(), limit: PAGE, ..Query::default() };
        let mut newest = after;
        loop {
            if !go_on() {
                return Err("the node stops".into());
            }
            let page = self.engine.list(&query).map_err(|error| error.to_string())?;
            self.damaged += u64::try_from(page.damaged.len()).unwrap_or(u64::MAX);
            for shown in page.messages {
                let record = shown.record;
                if after.is_some_and(|after| record.place <= after) {
                    return Ok(newest);
                }
                newest = newest.max(Some(record.place));
                let Some(key) = record.envelope.key.as_deref().filter(|_| self.scope.is_of(&record)) else { continue };
                let key = self.hash(key);
                each(self, &record, key)?;
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(newest),
            }
        }
    }

    fn hash(&self, key: &str) -> u128 {
        let (high, low) = &self.hashes;
        u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key))
    }

    /// Takes in a message that is older than all before.
    fn believe(&mut self, record: &Record, key: u128) -> Result<(), String> {
        let stand = match record.state {
            State::Queued(_) | State::Sending(_) | State::Failed(_) => Stand::UnderWay,
            State::Delivered if self.scope.is_gone(record) => Stand::Gone,
            State::Delivered => Stand::Delivered,
            State::Abandoned(_) => Stand::Known,
        };
        let is_full = self.keys.len() >= KEYS_MAX;
        let version = record.envelope.version;
        let believed = Believed { id: record.id, at: record.updated_at, version, stand, said: Said::Nothing };
        match self.keys.entry(key) {
            Entry::Vacant(_) if is_full => Err(too_many()),
            Entry::Vacant(place) => {
                place.insert(believed);
                Ok(())
            }
            Entry::Occupied(mut known) if known.get().stand == Stand::Known => {
                known.insert(believed);
                Ok(())
            }
            Entry::Occupied(_) => Ok(()),
        }
    }

    /// Hears a line of the manifest.
    ///
    /// # Errors
    /// There are too many keys, or the message cannot be read: in words.
    pub(super) fn hear(&mut self, line: Line) -> Result<(), String> {
        let key = self.hash(&line.key);
        let Some(believed) = self.keys.get(&key).copied() else { return self.unknown(key, line) };
        let (said, difference) = match believed.stand {
            Stand::Gone => (Said::Older, Some("there, and removed here".to_owned())),
            Stand::Delivered => self.held(&believed, &line)?,
            Stand::UnderWay | Stand::Known => (Said::Same, None),
        };
        if let Some(difference) = difference
            && self.differences.len() < NAMED_MAX
        {
            self.differences.insert(key, difference);
        }
        if let Some(known) = self.keys.get_mut(&key) {
            known.said = known.said.max(said);
        }
        Ok(())
    }

    fn unknown(&mut self, key: u128, line: Line) -> Result<(), String> {
        let is_old = line.updated_at.is_some_and(|at| at < self.scope.since(self.now));
        if self.scope.ignores_unexpected || is_old || !self.scope.is_asked(&line.key) {
            return Ok(());
        }
        if self.unknown.len() >= KEYS_MAX {
            return Err(too_many());
        }
        if self.unknown.insert(key, line.updated_at).is_none() && self.names.len() < NAMED_MAX {
            self.names.push((key, line.key));
        }
        Ok(())
    }

    /// The line held against what was delivered, and in what it is behind that.
    fn held(&mut self, believed: &Believed, line: &Line) -> Result<(Said, Option<String>), String> {
        let older = |why: String| Ok((Said::Older, Some(why)));
        if let (Some(here), Some(there)) = (believed.version, line.version)
            && there < here
        {
            return older(format!("version {there} there, {here} here"));
        }
        if let Some(at) = line.updated_at
            && at.plus(self.scope.settle_ms) < believed.id.accepted_at()
        {
            return older(format!("last changed there {}", at.rfc3339()));
        }
        let Some(there) = &line.hash else { return Ok((Said::Same, None)) };
        let body = match self.engine.revision(believed.id, None) {
            Ok(revision) => revision.and_then(|revision| revision.body),
            // It was deleted a moment ago.
            Err(Error::NotFound(_)) => None,
            Err(Error::Store(StoreError::Damaged(_))) => {
                self.damaged += 1;
                None
            }
            Err(error) => return Err(error.to_string()),
        };
        match body {
            None => Ok((Said::Untold, None)),
            Some(body) if Link::over(&body).to_string() == *there => Ok((Said::Same, None)),
            Some(_) => older("another body there".to_owned()),
        }
    }

    /// What it comes to, once the manifest was heard to its end after `lines` lines.
    ///
    /// # Errors
    /// What hinders the read, in words.
    pub(super) fn judge(mut self, lines: u64, go_on: &dyn Fn() -> bool) -> Result<(Report, Found), String> {
        // What came while the manifest was read is known here too, and is under way.
        let newest = self.newest;
        self.walk(newest, go_on, &mut |belief, _, key| {
            belief.unknown.remove(&key);
            if let Some(known) = belief.keys.get_mut(&key) {
                known.stand = Stand::UnderWay;
            }
            Ok(())
        })?;
        let mut report = Report { at: self.now, lines, ..Report::default() };
        let (since, settled) = (self.scope.since(self.now), WallMs(self.now.0.saturating_sub(self.scope.settle_ms)));
        let (mut missing, mut stale) = (Vec::new(), Vec::new());
        for (key, known) in &self.keys {
            let is_of_window = known.id.accepted_at() >= since;
            match (known.stand, known.said) {
                (Stand::Known, _) => {}
                _ if !is_of_window => {}
                (Stand::UnderWay, _) => report.under_way += 1,
                (Stand::Delivered, Said::Same) | (Stand::Gone, Said::Nothing) => report.matched += 1,
                (Stand::Delivered, Said::Untold) => report.uncompared += 1,
                (Stand::Delivered | Stand::Gone, _) if known.at > settled => report.settling += 1,
                (Stand::Delivered, Said::Nothing) => missing.push((known.at, known.id, *key)),
                (Stand::Delivered | Stand::Gone, Said::Older | Said::Untold | Said::Same) => {
                    stale.push((known.at, known.id, *key))
                }
            }
        }
        missing.sort_unstable();
        stale.sort_unstable();
        report.missing = self.side(&missing)?;
        report.stale = self.side(&stale)?;
        report.unexpected = self.unexpected();
        report.damaged = self.damaged;
        let mut found: Vec<_> = missing.into_iter().chain(stale).collect();
        found.sort_unstable();
        Ok((report, found.into_iter().map(|(at, id, _)| (id, at)).collect()))
    }

    /// How many differ in one way, and the oldest of them.
    fn side(&self, found: &[(WallMs, Id, u128)]) -> Result<Side, String> {
        let mut samples = Vec::new();
        for (at, id, key) in found.iter().take(SAMPLES) {
            let name = match self.engine.show(*id) {
                Ok(shown) => shown.record.envelope.key.as_deref().map(beginning),
                Err(Error::NotFound(_) | Error::Store(StoreError::Damaged(_))) => None,
                Err(error) => return Err(error.to_string()),
            };
            let why = self.differences.get(key).cloned();
            samples.push(Sample { key: name.unwrap_or_default(), id: Some(*id), at: Some(*at), why });
        }
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
        Ok(Side { count, oldest_at: found.first().map(|(at, ..)| *at), samples })
    }

    /// How many only the manifest has, and the oldest of those that are known by name.
    fn unexpected(&self) -> Side {
        let named = self.names.iter().filter_map(|(key, name)| Some((self.unknown.get(key).copied()?, name)));
        let mut named: Vec<_> = named.collect();
        named.sort_by_key(|(at, _)| at.unwrap_or(WallMs(u64::MAX)));
        let sample =
            |(at, name): &(Option<WallMs>, &String)| Sample { key: beginning(name), id: None, at: *at, why: None };
        Side {
            count: u64::try_from(self.unknown.len()).unwrap_or(u64::MAX),
            oldest_at: self.unknown.values().flatten().min().copied(),
            samples: named.iter().take(SAMPLES).map(sample).collect(),
        }
    }
}

pub(super) fn beginning(key: &str) -> String {
    key.chars().take(KEY_CHARS_MAX).collect()
}

fn too_many() -> String {
    format!("there are more than {KEYS_MAX} keys; say in `keys` or `types` which of them it lists")
}
