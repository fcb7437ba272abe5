//! What is believed to be at a destination, key by key, and what a manifest says of it.
//!
//! # What holds
//!
//! * Of a key the newest message counts that was delivered. While a newer one waits, nothing is expected of the key: it is under way.
//! * What differs is looked up once more before it is told: what was sent again or removed while the list was read is no difference.
//! * A key may be listed several times: the line that says the most for it counts.
//! * A key takes [`KEY_BYTES`] bytes and its share of a table that is up to half empty, however long it is: 150 at most, and 225 while the table grows.
//!   Beyond [`KEYS_MAX`] keys nothing is compared. Keys are known by 128 bits of two hashes that nobody outside can foresee.
//!
//! # What it does not know
//!
//! Where manifests come from, and what is done about the difference.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::STOPS;
use super::manifest::{HASH_BYTES, Line};
use super::queue::newest;
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
const _: () = assert!(KEY_BYTES <= 64, "what the module and the documents say of memory");
/// How many messages are read together.
const PAGE: usize = 1_000;
/// How many are looked at for them: between two pages it is asked whether to go on.
pub(super) const SCAN_MAX: usize = 100_000;
/// How many of what differs are remembered by name, until it is known which of them are told.
const NAMED_MAX: usize = 1_000;
/// How many samples of each a report has,
pub(super) const SAMPLES: usize = 10;
/// and how much of a key they show, in characters.
const KEY_CHARS_MAX: usize = 100;
/// The digest where no body is compared, or none is there.
const NO_DIGEST: u64 = 0;

/// What is believed of a key; kept small, as there are many.
#[derive(Debug, Clone, Copy)]
struct Believed {
    /// Its newest message that was delivered; where there is none, the newest.
    id: Id,
    /// When it was delivered.
    at: WallMs,
    /// Its version, where it has one,
    version: u64,
    /// and the beginning of the SHA-256 of its body, or [`NO_DIGEST`].
    digest: u64,
    has_version: bool,
    stand: Stand,
    said: Said,
    /// Whether a newer one was given up: should a person send that again, it is the one that counts.
    is_second: bool,
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
    /// Whether bodies are compared.
    has_digests: bool,
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
    /// What is believed at `now`, of bodies too where `has_digests`.
    ///
    /// # Errors
    /// What hinders the read; there are too many keys, or the node stops: in words.
    pub(super) fn read(
        engine: &'a Engine,
        scope: &'a Scope,
        has_digests: bool,
        now: WallMs,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Belief<'a>, String> {
        let mut belief = Belief {
            engine,
            scope,
            has_digests,
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
        let key = self.scope.keys.clone();
        let mut query = Query { destinations: vec![dest], key, limit: PAGE, scan_max: SCAN_MAX, ..Query::default() };
        let mut newest = after;
        loop {
            if !go_on() {
                return Err(STOPS.into());
            }
            let page = self.engine.list(&query).map_err(|error| error.to_string())?;
            if after.is_none() {
                self.damaged += u64::try_from(page.damaged.len()).unwrap_or(u64::MAX);
            }
            for shown in page.messages {
                let record = shown.record;
                // A page of long bodies takes long.
                if !go_on() {
                    return Err(STOPS.into());
                }
                if after.is_some_and(|after| record.place <= after) {
                    return Ok(newest);
                }
                newest = newest.max(Some(record.place));
                let Some(key) = record.envelope.key.as_deref().filter(|_| self.scope.is_of(&record)) else { continue };
                let key = self.hash(key);
                each(self, &record, key)?;
            }
            match page.next.filter(|next| after.is_none_or(|after| *next > after)) {
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
        let is_second = match self.keys.get(&key).map(|known| known.stand) {
            None if is_full => return Err(too_many()),
            None => false,
            Some(Stand::Known) => true,
            Some(Stand::Delivered | Stand::Gone | Stand::UnderWay) => return Ok(()),
        };
        let digest = if stand == Stand::Delivered { self.digest(record)? } else { NO_DIGEST };
        let version = record.envelope.version;
        let believed = Believed {
            id: record.id,
            at: record.updated_at,
            version: version.unwrap_or_default(),
            digest,
            has_version: version.is_some(),
            stand,
            said: Said::Nothing,
            is_second,
        };
        self.keys.insert(key, believed);
        Ok(())
    }

    /// The digest of the body of a message, where bodies are compared: now, as messages come in the order in which they lie.
    fn digest(&mut self, record: &Record) -> Result<u64, String> {
        if !self.has_digests {
            return Ok(NO_DIGEST);
        }
        match self.engine.revision(record.id, Some(record.revision)) {
            Ok(revision) => {
                let body = revision.and_then(|revision| revision.body);
                Ok(body.map_or(NO_DIGEST, |body| beginning_of(&Link::over(&body).bytes())))
            }
            // It was deleted a moment ago.
            Err(Error::NotFound(_)) => Ok(NO_DIGEST),
            Err(Error::Store(StoreError::Damaged(_))) => {
                self.damaged += 1;
                Ok(NO_DIGEST)
            }
            Err(error) => Err(error.to_string()),
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
            Stand::Delivered => self.held(&believed, &line),
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
    fn held(&self, believed: &Believed, line: &Line) -> (Said, Option<String>) {
        let older = |why: String| (Said::Older, Some(why));
        let here = believed.has_version.then_some(believed.version);
        if let (Some(here), Some(there)) = (here, line.version)
            && there < here
        {
            return older(format!("version {there} there, {here} here"));
        }
        if let Some(at) = line.updated_at
            && at.plus(self.scope.settle_ms) < believed.id.accepted_at()
        {
            return older(format!("last changed there {}", at.rfc3339()));
        }
        match line.hash.as_ref().map(beginning_of) {
            None => (Said::Same, None),
            Some(_) if believed.digest == NO_DIGEST => (Said::Untold, None),
            Some(there) if believed.digest == there => (Said::Same, None),
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
        for found in [&mut missing, &mut stale] {
            found.sort_unstable();
            report.under_way += self.keep_standing(found, go_on)?;
        }
        report.missing = self.side(&missing)?;
        report.stale = self.side(&stale)?;
        report.unexpected = self.unexpected();
        report.damaged = self.damaged;
        let mut found: Vec<_> = missing.into_iter().chain(stale).collect();
        found.sort_unstable();
        Ok((report, found.into_iter().map(|(at, id, _)| (id, at)).collect()))
    }

    /// Leaves those that still stand as they were believed to. The answer is how many others are under way; what was removed meanwhile is none.
    fn keep_standing(&self, found: &mut Vec<(WallMs, Id, u128)>, go_on: &dyn Fn() -> bool) -> Result<u64, String> {
        let told = |error: Error| error.to_string();
        let (mut standing, mut under_way) = (Vec::new(), 0);
        for one in std::mem::take(found) {
            let (at, id, key) = one;
            if !go_on() {
                return Err(STOPS.into());
            }
            let record = match self.engine.show(id) {
                Ok(shown) => shown.record,
                Err(Error::NotFound(_)) => continue,
                Err(Error::Store(StoreError::Damaged(_))) => {
                    standing.push(one);
                    continue;
                }
                Err(error) => return Err(told(error)),
            };
            let is_second = self.keys.get(&key).is_some_and(|known| known.is_second);
            let newest = match record.envelope.key.as_deref().filter(|_| is_second) {
                Some(key) => newest(self.engine, self.scope, key).map_err(told)?,
                None => Some(id),
            };
            if record.state == State::Delivered && record.updated_at == at && newest == Some(id) {
                standing.push(one);
            } else {
                under_way += 1;
            }
        }
        *found = standing;
        Ok(under_way)
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

/// What is kept of a hash; of a hundred million million bodies two begin alike by chance.
fn beginning_of(hash: &[u8; HASH_BYTES]) -> u64 {
    hash.first_chunk().copied().map_or(NO_DIGEST, u64::from_be_bytes)
}

pub(super) fn beginning(key: &str) -> String {
    key.chars().take(KEY_CHARS_MAX).collect()
}

fn too_many() -> String {
    format!("there are more than {KEYS_MAX} keys; say in `keys` or `types` which of them it lists")
}
