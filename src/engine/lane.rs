//! One destination's waiting room: what is ready to go, in which order, and how many may be out.
//!
//! A waiting message costs its place (8 bytes), and where order binds the hash of its key (8 more). Its body stays in
//! the store, but for a few fresh arrivals of a lane that keeps up.
//!
//! # What holds
//!
//! * Never more than `window` messages are out. The window begins at the destination's concurrency; a lane that empties what it
//!   was given gets more in advance, so that its workers need not wait for the scheduler, and loses it when it stalls.
//! * Where order binds, a message goes only when no earlier message of its key is unfinished: earlier by acceptance, also after retries,
//!   resends and restarts. Two keys of one hash are merely in line behind each other.
//! * Whatever waits in line as ready is in the ready queue, and nothing is there twice.
//!
//! # What it does not know
//!
//! Time: who becomes ready when is the scheduler's to say.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::place_map::PlaceHash;
use crate::model::Place;
use crate::store::Loaded;

/// The most messages that are handed to a lane's workers in advance.
pub(super) const WINDOW_MAX: usize = 1_024;
/// Bodies that a lane keeps in memory between acceptance and sending: at most so many,
const FRESH_MAX: usize = 8_192;
/// and of at most so many bytes together.
const FRESH_BYTES_MAX: usize = 8 << 20;

/// A message in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it lies.
    pub(super) place: Place,
    /// The hash of its key; 0 where it has none or order does not bind.
    pub(super) hash: u64,
}

/// One destination's waiting room.
pub(super) struct Lane {
    concurrency: usize,
    ordered: bool,
    advance_max: usize,
    open: bool,
    ready: Ready,
    lines: HashMap<u64, Line, PlaceHash>,
    out: usize,
    /// How many came home since the window was last looked at.
    home: usize,
    window: usize,
}

#[derive(Default)]
struct Ready {
    places: VecDeque<Place>,
    /// Beside `places` where order binds, else empty.
    hashes: VecDeque<u64>,
    /// Some of `places`, in the same order, with their bodies.
    fresh: VecDeque<(Place, Loaded)>,
    fresh_bytes: usize,
}

/// The unfinished messages of one key that the lane has met.
#[derive(Default)]
struct Line {
    out: Option<Place>,
    waiting: BTreeMap<Place, Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Behind an earlier one.
    Parked,
    /// In the ready queue.
    Ready,
    /// Waits for a time, a cycle or a person.
    Later,
}

impl Lane {
    /// An empty lane. One that is not `open` gives nothing out.
    pub(super) fn new(concurrency: usize, ordered: bool, advance_max: usize, open: bool) -> Lane {
        let concurrency = concurrency.max(1);
        Lane {
            concurrency,
            ordered,
            advance_max: advance_max.min(WINDOW_MAX),
            open,
            ready: Ready::default(),
            lines: HashMap::default(),
            out: 0,
            home: 0,
            window: concurrency,
        }
    }

    /// Whether anything could be given out now.
    pub(super) fn has_room(&self) -> bool {
        self.open && self.out < self.window && !self.ready.places.is_empty()
    }

    /// How many are out.
    pub(super) fn out(&self) -> usize {
        self.out
    }

    /// How many are in the ready queue; those that turn out to be behind others of their keys included.
    pub(super) fn ready(&self) -> usize {
        self.ready.places.len()
    }

    /// Whether more were given out than are under way at once.
    pub(super) fn is_ahead(&self) -> bool {
        self.out > self.concurrency
    }

    /// A message just accepted.
    pub(super) fn arrive(&mut self, entry: Entry, fresh: Option<Loaded>) {
        self.ready.push_back(entry, self.ordered);
        if let Some(loaded) = fresh {
            self.ready.keep(entry.place, loaded);
        }
    }

    /// A message whose time has come, or that a person sends again.
    pub(super) fn ripen(&mut self, entry: Entry) {
        if self.is_in_line(entry) {
            let line = self.lines.entry(entry.hash).or_default();
            if line.waiting.insert(entry.place, Standing::Ready) == Some(Standing::Ready) {
                return;
            }
        }
        self.ready.push_back(entry, self.ordered);
    }

    /// A message that waits for a time, a cycle or a person: it holds back the later ones of its key.
    pub(super) fn defer(&mut self, entry: Entry) {
        if self.is_in_line(entry) {
            self.lines.entry(entry.hash).or_default().waiting.insert(entry.place, Standing::Later);
        }
    }

    /// The next message to go, counted as out; `None` when there is none or no room. Whom `busy` names is set aside: it goes nowhere
    /// until it ripens again.
    pub(super) fn take(&mut self, mut busy: impl FnMut(Entry) -> bool) -> Option<(Entry, Option<Loaded>)> {
        while self.has_room() {
            let (entry, fresh) = self.ready.pop_front()?;
            if busy(entry) {
                self.defer(entry);
            } else if self.step_out(entry) {
                self.out += 1;
                return Some((entry, fresh));
            }
        }
        None
    }

    fn step_out(&mut self, entry: Entry) -> bool {
        if !self.is_in_line(entry) {
            return true;
        }
        let line = self.lines.entry(entry.hash).or_default();
        if line.out == Some(entry.place) || matches!(line.waiting.get(&entry.place), Some(Standing::Later)) {
            return false;
        }
        let is_first = line.waiting.keys().next().is_none_or(|first| *first >= entry.place);
        if line.out.is_none() && is_first {
            line.waiting.remove(&entry.place);
            line.out = Some(entry.place);
            return true;
        }
        line.waiting.insert(entry.place, Standing::Parked);
        false
    }

    /// A message that was out is no longer; where it goes on waiting, say so with [`Lane::defer`] or [`Lane::ripen`] *before*.
    pub(super) fn come_home(&mut self, entry: Entry) {
        self.out = self.out.saturating_sub(1);
        self.home += 1;
        if let Some(line) = self.lines.get_mut(&entry.hash).filter(|line| line.out == Some(entry.place)) {
            line.out = None;
            self.wake(entry.hash);
        }
    }

    /// A message that was given out, and not begun, comes back to where it was; with its body, where that is at hand.
    pub(super) fn give_back(&mut self, entry: Entry, fresh: Option<Loaded>) {
        self.out = self.out.saturating_sub(1);
        if self.is_in_line(entry) {
            let line = self.lines.entry(entry.hash).or_default();
            line.out = None;
            line.waiting.insert(entry.place, Standing::Ready);
        }
        self.ready.push_front(entry, self.ordered);
        if let Some(loaded) = fresh {
            self.ready.keep_first(entry.place, loaded);
        }
    }

    /// Messages that shall not go, whatever they waited for.
    pub(super) fn remove(&mut self, entries: &[Entry]) {
        self.ready.remove(entries);
        for entry in entries {
            if self.is_in_line(*entry)
                && let Some(line) = self.lines.get_mut(&entry.hash)
            {
                line.waiting.remove(&entry.place);
            }
        }
        // Only when all of them are gone: the next of a line must not be one that goes too.
        entries.iter().for_each(|entry| self.wake(entry.hash));
    }

    /// Whether an earlier message of its key holds this one back.
    pub(super) fn is_behind(&self, entry: Entry) -> bool {
        self.lines.get(&entry.hash).is_some_and(|line| {
            line.out.is_some_and(|out| out != entry.place)
                || line.waiting.keys().next().is_some_and(|first| *first < entry.place)
        })
    }

    /// The newest message of its key that waits behind this one.
    pub(super) fn newest_behind(&self, entry: Entry) -> Option<Place> {
        let newest = *self.lines.get(&entry.hash)?.waiting.keys().next_back()?;
        (newest > entry.place).then_some(newest)
    }

    /// Whether the destination is configured and not paused.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether as many are out as may be.
    pub(super) fn is_full(&self) -> bool {
        self.out >= self.window
    }

    /// Widens the window where the workers came home faster than they were sent.
    pub(super) fn widen(&mut self) {
        let came_home = std::mem::take(&mut self.home);
        if came_home * 2 >= self.window && self.out * 2 < self.window && !self.ready.places.is_empty() {
            self.window = (self.window * 2).min(self.concurrency.max(self.advance_max));
        }
    }

    /// Takes the advance back: what is not begun should be given back.
    pub(super) fn narrow(&mut self) {
        self.window = self.concurrency;
    }

    /// The messages in the ready queue: for checks of the whole.
    pub(super) fn ready_places(&self) -> impl Iterator<Item = Place> + '_ {
        self.ready.places.iter().copied()
    }

    /// The messages behind earlier ones of their keys: for checks of the whole.
    pub(super) fn parked_places(&self) -> impl Iterator<Item = Place> + '_ {
        self.lines.values().flat_map(|line| {
            line.waiting.iter().filter(|(_, standing)| **standing == Standing::Parked).map(|(place, _)| *place)
        })
    }

    fn is_in_line(&self, entry: Entry) -> bool {
        self.ordered && entry.hash != 0
    }

    fn wake(&mut self, hash: u64) {
        let Some(line) = self.lines.get_mut(&hash) else { return };
        if line.out.is_some() {
            return;
        }
        match line.waiting.iter_mut().next() {
            Some((place, standing @ Standing::Parked)) => {
                *standing = Standing::Ready;
                let entry = Entry { place: *place, hash };
                self.ready.push_front(entry, self.ordered);
            }
            Some((_, Standing::Ready | Standing::Later)) => {}
            None => {
                self.lines.remove(&hash);
            }
        }
    }
}

impl Ready {
    fn push_back(&mut self, entry: Entry, ordered: bool) {
        self.places.push_back(entry.place);
        if ordered {
            self.hashes.push_back(entry.hash);
        }
    }

    fn push_front(&mut self, entry: Entry, ordered: bool) {
        self.places.push_front(entry.place);
        if ordered {
            self.hashes.push_front(entry.hash);
        }
    }

    fn keep(&mut self, place: Place, loaded: Loaded) {
        let bytes = loaded.message.body.len();
        if self.fresh.len() < FRESH_MAX && self.fresh_bytes + bytes <= FRESH_BYTES_MAX {
            self.fresh_bytes += bytes;
            self.fresh.push_back((place, loaded));
        }
    }

    /// The same for the first of the queue: it fitted before.
    fn keep_first(&mut self, place: Place, loaded: Loaded) {
        self.fresh_bytes += loaded.message.body.len();
        self.fresh.push_front((place, loaded));
    }

    fn pop_front(&mut self) -> Option<(Entry, Option<Loaded>)> {
        let place = self.places.pop_front()?;
        let hash = self.hashes.pop_front().unwrap_or(0);
        let mut fresh = None;
        if self.fresh.front().is_some_and(|(first, _)| *first == place) {
            fresh = self.fresh.pop_front().map(|(_, loaded)| loaded);
        }
        if let Some(loaded) = &fresh {
            self.fresh_bytes -= loaded.message.body.len();
        }
        if self.places.is_empty() {
            self.fresh.clear();
            self.fresh_bytes = 0;
        }
        Some((Entry { place, hash }, fresh))
    }

    fn remove(&mut self, entries: &[Entry]) {
        let unwanted: std::collections::HashSet<Place, PlaceHash> = entries.iter().map(|entry| entry.place).collect();
        if self.hashes.is_empty() {
            self.places.retain(|place| !unwanted.contains(place));
        } else {
            let kept = self.places.iter().zip(&self.hashes).filter(|(place, _)| !unwanted.contains(place));
            (self.places, self.hashes) = kept.map(|(place, hash)| (*place, *hash)).unzip();
        }
        self.fresh.retain(|(place, _)| !unwanted.contains(place));
        self.fresh_bytes = self.fresh.iter().map(|(_, loaded)| loaded.message.body.len()).sum();
    }
}
