//! Lists: newest first, a page at a time, within a budget.
//!
//! A list walks the chunks backwards and looks at slots; only what a slot cannot rule out costs its record. States that are indexed, and an exact
//! key, let it pass over chunks that cannot hold an answer.
//!
//! # What holds
//!
//! * Nothing is passed over in silence: what cannot be read is an entry of [`Page::damaged`].
//! * The caller advances by one chunk under the lock, or by as many bodies as are read in a moment, so that a long list does not hold up commits.
//!
//! # What it does not know
//!
//! Who asks, and how a page is shown.

use super::keys;
use super::layout::{Cursor, RANGE_CHUNKS, Tree, damaged};
use super::plan::View;
use super::read;
use super::slot::{Slot, Stat};
use crate::model::{Place, Record};
use crate::store::{HELD, Page, Pattern, Query, StateName, StoreError, key_hash};

/// How many bytes of bodies are read under the lock, and then one more body.
const READ_BYTES_MAX: usize = 256 << 10;

/// Which chunks may hold what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Any.
    Every,
    /// Those with a marker in `open`.
    Open,
    /// Those with an entry in `bad`.
    Bad,
}

/// One page being made.
pub(super) struct Walk<'q> {
    query: &'q Query,
    source: Source,
    hash: Option<u64>,
    page: Page,
    looked_at: usize,
    /// Only chunks below it are left to look at; `None` before the first.
    below: Option<u64>,
    /// Where a chunk was left half-way, because enough bodies had been read under the lock: what is here and above was looked at.
    left_at: Option<Place>,
    /// How many bytes of bodies were read since the lock was last let go.
    read_bytes: usize,
    /// Whether times of ids rise with chunks: not where ids were given elsewhere.
    by_time: bool,
    /// The range whose filter admitted the key.
    admitted: Option<u64>,
}

impl<'q> Walk<'q> {
    pub(super) fn new(query: &'q Query) -> Walk<'q> {
        let hash = match &query.key {
            Some(Pattern::Exactly(key)) => Some(key_hash(key)),
            Some(Pattern::Prefix(_)) | None => None,
        };
        let page = Page::default();
        Walk {
            query,
            source: source(query),
            hash,
            page,
            looked_at: 0,
            below: None,
            left_at: None,
            read_bytes: 0,
            by_time: false,
            admitted: None,
        }
    }

    pub(super) fn page(self) -> Page {
        self.page
    }

    /// Looks at the next chunk; whether there may be more.
    pub(super) fn advance(&mut self, view: &View) -> Result<bool, StoreError> {
        if self.query.limit == 0 {
            return Ok(false);
        }
        let below = match self.below {
            Some(below) => below,
            None => self.begin(view)?,
        };
        let Some(chunk) = self.next(view, below)? else {
            self.page.next = None;
            return Ok(false);
        };
        (self.below, self.read_bytes) = (Some(chunk), 0);
        match read::stat(&view.trees, &view.head, chunk) {
            Ok(Some(stat)) => self.chunk(view, chunk, &stat),
            Ok(None) => Ok(true),
            Err(StoreError::Damaged(what)) => {
                self.page.damaged.push(what);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Where to begin: below the cursor, and below everything that is too young.
    fn begin(&mut self, view: &View) -> Result<u64, StoreError> {
        let mut high = view.head.next_chunk;
        if let Some(before) = self.query.before {
            high = high.min(before.chunk().saturating_add(u64::from(before.slot() > 0)));
        }
        self.by_time = view.trees.under(Tree::Alias, b"")?.forth().is_none();
        if let Some(until) = self.query.until
            && self.by_time
        {
            let mut low = view.head.floor;
            while low < high {
                let middle = low + (high - low) / 2;
                match read::stat(&view.trees, &view.head, middle) {
                    Ok(Some(stat)) if stat.made_at() < until => low = middle + 1,
                    Ok(Some(_)) => high = middle,
                    // A hole in the way: look at everything instead.
                    Ok(None) | Err(_) => {
                        low = high;
                    }
                }
            }
        }
        Ok(high)
    }

    /// The next chunk to look at.
    fn next(&mut self, view: &View, below: u64) -> Result<Option<u64>, StoreError> {
        let floor = view.head.floor;
        match self.source {
            Source::Open => self.marked(view, Tree::Open, below, 1),
            Source::Bad => self.marked(view, Tree::Bad, below, 1 << 8),
            Source::Every => {
                let Some(mut chunk) = below.checked_sub(1).filter(|chunk| *chunk >= floor) else { return Ok(None) };
                while let Some(hash) = self.hash {
                    let range = chunk / RANGE_CHUNKS;
                    if self.admitted == Some(range) || self.admits(view, range, hash) {
                        self.admitted = Some(range);
                        break;
                    }
                    match (range * RANGE_CHUNKS).checked_sub(1).filter(|chunk| *chunk >= floor) {
                        Some(before) => chunk = before,
                        None => return Ok(None),
                    }
                }
                Ok(Some(chunk))
            }
        }
    }

    /// Whether a range may hold the key. A filter that cannot be read rules nothing out.
    fn admits(&self, view: &View, range: u64, hash: u64) -> bool {
        let row = view.trees.row(Tree::Keys, &range.to_be_bytes(), |row| Some(keys::admits(row.body, hash)));
        row.ok().flatten().unwrap_or(true)
    }

    /// The highest chunk below `below` that an index names; keys of the index are chunks times `scale`, or places.
    fn marked(&mut self, view: &View, tree: Tree, below: u64, scale: u64) -> Result<Option<u64>, StoreError> {
        let mut walk = view.trees.between(tree, 0, below.saturating_mul(scale))?;
        match walk.back() {
            None => Ok(None),
            Some(Ok((key, _))) => {
                let number = Cursor(&key).u64().ok_or_else(|| damaged(tree, &key, "its key is broken"))?;
                Ok(Some(number / scale))
            }
            Some(Err(StoreError::Damaged(what))) => {
                // The index cannot be read here; the chunks themselves still can.
                self.page.damaged.push(what);
                self.source = Source::Every;
                self.next(view, below)
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Looks at the messages of a chunk.
    fn chunk(&mut self, view: &View, chunk: u64, stat: &Stat) -> Result<bool, StoreError> {
        let query = self.query;
        if self.by_time && query.since.is_some_and(|since| stat.made_at() < since) {
            self.page.next = None;
            return Ok(false);
        }
        for (number, slot) in stat.slots().rev() {
            let place = Place::new(chunk, number);
            if query.before.into_iter().chain(self.left_at).any(|before| place >= before) {
                continue;
            }
            if query.scan_max > 0 && self.looked_at >= query.scan_max {
                self.page.scanned_until = Some(stat.made_at());
                return Ok(false);
            }
            self.looked_at += 1;
            self.page.next = Some(place);
            if !self.slot_matches(&slot) {
                continue;
            }
            match read::record(&view.trees, &view.head, place, &slot) {
                Ok(record) if query.matches(&record, slot.dest) => match self.is_by_what_is_kept(view, &record) {
                    Ok(true) => self.page.records.push(record),
                    Ok(false) => {}
                    Err(StoreError::Damaged(what)) => self.page.damaged.push(format!("message {place}: {what}")),
                    Err(error) => return Err(error),
                },
                Ok(_) => {}
                Err(StoreError::Damaged(what)) => self.page.damaged.push(format!("message {place}: {what}")),
                Err(error) => return Err(error),
            }
            if self.page.records.len() >= query.limit {
                return Ok(false);
            }
            if self.read_bytes > READ_BYTES_MAX {
                (self.below, self.left_at) = (Some(chunk.saturating_add(1)), Some(place));
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// Whether its attempts and its newest body are those that are asked for: only then are they read.
    fn is_by_what_is_kept(&mut self, view: &View, record: &Record) -> Result<bool, StoreError> {
        if self.query.cause.is_some() {
            let attempts = read::attempts(&view.trees, &view.head, record.place)?;
            if !self.query.is_by_cause(&attempts) {
                return Ok(false);
            }
        }
        if self.query.text.is_none() {
            return Ok(true);
        }
        let newest = read::revision(&view.trees, &view.head, record.place, record.revision)?;
        let Some(body) = newest.and_then(|newest| newest.body) else { return Ok(false) };
        self.read_bytes = self.read_bytes.saturating_add(body.len());
        self.looked_at = self.looked_at.saturating_add(Query::costs(&body));
        Ok(self.query.is_in(&body))
    }

    /// What can be told from the slot alone.
    fn slot_matches(&self, slot: &Slot) -> bool {
        let query = self.query;
        (query.states.is_empty() || query.states.contains(&StateName::of(slot.state)))
            && (query.destinations.is_empty() || query.destinations.contains(&slot.dest))
            && self.hash.is_none_or(|hash| hash == slot.key_hash)
            && (query.key.is_none() || slot.key_hash != 0)
            && (query.text.is_none() || !slot.flags.bodiless)
            && (query.remote_id.is_none() || (slot.arrival.is_some() && slot.flags.attempts))
            && query.cause.is_none_or(|cause| slot.last.class == Some(cause.class))
            && query.reason.as_deref().is_none_or(|reason| {
                slot.state.reason() == Some(reason)
                    || slot.last.class.is_some_and(|class| class.name() == reason)
                    || (reason == HELD && slot.state.is_held())
            })
    }
}

/// The index that holds everything asked for, if one does.
fn source(query: &Query) -> Source {
    let waits = |state: &StateName| matches!(state, StateName::Queued | StateName::Sending | StateName::Failed);
    let abandoned = |state: &StateName| *state == StateName::Abandoned;
    // What was superseded is abandoned and yet no failure; only a reason that it cannot have leaves it out.
    let failure = query
        .reason
        .as_deref()
        .is_some_and(|reason| matches!(reason, "exhausted" | "rejected" | "expired" | "cancelled"));
    if query.states.is_empty() {
        Source::Every
    } else if query.states.iter().all(waits) {
        Source::Open
    } else if query.states.iter().all(abandoned) && (failure || query.cause.is_some()) {
        Source::Bad
    } else {
        Source::Every
    }
}
