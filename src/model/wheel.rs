//! The timer wheel: what is due when, for millions of timers, at the cost of a few list links each.
//!
//! Six levels of 64 slots over ticks of 10 ms; a slot is a linked list through one slab, and a bit a slot says whether it is
//! occupied. A timer sits on the level of the highest digit (base 64) in which its tick differs from the present one, and sinks a
//! level whenever the present reaches its slot. What lies beyond the horizon of 21 years waits in a list of its own.
//!
//! # What holds
//!
//! * No timer fires early: a due time is rounded up to its tick, the present down. None fires more than a tick late of the caller.
//! * No timer is lost: every one is fired or cancelled exactly once, however far a step goes.
//! * Timers fire in order of their ticks, and within a tick in order of insertion.
//! * A handle outlives its timer harmlessly: it carries a generation, and cancelling a stale one does nothing.
//!
//! # What it does not know
//!
//! Any clock. Milliseconds of a monotonic clock are handed in, and one that steps back counts as standing still.

/// Milliseconds in a tick: how exactly timers fire.
pub const TICK_MS: u64 = 10;

const DIGIT_BITS: u32 = 6;
const SLOTS: u64 = 1 << DIGIT_BITS;
const LEVELS: u32 = 6;
const HORIZON_BITS: u32 = DIGIT_BITS * LEVELS;
/// The list of what was due when it came.
const READY: u16 = 384;
/// The list of what lies beyond the horizon.
const BEYOND: u16 = 385;
const LISTS: usize = 386;
/// In a vacant entry, instead of the list it is on.
const VACANT: u16 = u16::MAX;
/// No entry: the end of a list.
const NIL: u32 = u32::MAX;

/// Timers, each with a payload.
#[derive(Debug)]
pub struct Wheel<T> {
    /// The last tick of which everything has fired.
    tick: u64,
    entries: Vec<Entry<T>>,
    lists: Vec<List>,
    /// A bit a slot, for each level.
    occupied: [u64; 6],
    vacant: u32,
    len: usize,
}

/// Names a timer, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    due_tick: u64,
    payload: T,
    next: u32,
    previous: u32,
    generation: u32,
    list: u16,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel at this moment of the monotonic clock.
    #[must_use]
    pub fn new(now_mono_ms: u64) -> Wheel<T> {
        Wheel {
            tick: now_mono_ms / TICK_MS,
            entries: Vec::new(),
            lists: vec![List { first: NIL, last: NIL }; LISTS],
            occupied: [0; 6],
            vacant: NIL,
            len: 0,
        }
    }

    /// How many timers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer for this moment of the monotonic clock. One that has passed fires with the next [`Wheel::advance`].
    pub fn insert(&mut self, due_mono_ms: u64, payload: T) -> Handle {
        let due_tick = due_mono_ms.div_ceil(TICK_MS);
        let index = self.allot(due_tick, payload);
        self.link(index, self.list_of(due_tick));
        self.len += 1;
        Handle { index, generation: self.entries.get(at(index)).map_or(0, |entry| entry.generation) }
    }

    /// Takes a timer back: its payload, or `None` where it has fired or been cancelled before.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        let entry = self.entries.get(at(handle.index))?;
        if entry.generation != handle.generation || entry.list == VACANT {
            return None;
        }
        self.unlink(handle.index);
        Some(self.release(handle.index)?.1)
    }

    /// Moves on to this moment and appends to `due` what has come due, in order.
    pub fn advance(&mut self, now_mono_ms: u64, due: &mut Vec<T>) {
        let target = (now_mono_ms / TICK_MS).max(self.tick);
        self.fire(READY, due);
        while let Some((tick, list)) = self.next_stop(target).filter(|(tick, _)| *tick <= target) {
            self.tick = tick;
            if list < 64 {
                self.fire(list, due);
            } else {
                self.sink(list);
                self.fire(READY, due);
            }
        }
        self.tick = target;
    }

    /// When to call [`Wheel::advance`] next: at the next timer, or a few times before it if it is far away; never after it.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        if self.first(READY) != NIL {
            return Some(self.tick.saturating_mul(TICK_MS));
        }
        let (tick, _) = self.next_stop(0)?;
        Some(tick.saturating_mul(TICK_MS))
    }

    /// Every timer: its handle, the moment it is due (rounded up to a tick) and its payload, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, u64, T)> + '_ {
        self.look(usize::MAX).0
    }

    /// As [`Wheel::iter`], with a look at so many places at most, of which some may be vacant; and whether these are all.
    pub fn look(&self, places_max: usize) -> (impl Iterator<Item = (Handle, u64, T)> + '_, bool) {
        let occupied = (0u32..).zip(self.entries.iter().take(places_max)).filter(|(_, entry)| entry.list != VACANT);
        let timers = occupied.map(|(index, entry)| {
            let handle = Handle { index, generation: entry.generation };
            (handle, entry.due_tick.saturating_mul(TICK_MS), entry.payload)
        });
        (timers, self.entries.len() <= places_max)
    }

    /// Takes every timer out, in no particular order, for a rebuild. Handles given before become stale.
    pub fn drain(&mut self, mut each: impl FnMut(u64, T)) {
        for index in (0u32..).take(self.entries.len()) {
            if self.entries.get(at(index)).is_some_and(|entry| entry.list != VACANT) {
                self.unlink(index);
                if let Some((due_tick, payload)) = self.release(index) {
                    each(due_tick.saturating_mul(TICK_MS), payload);
                }
            }
        }
    }

    /// The list for a timer that is due at this tick, seen from the present one.
    fn list_of(&self, due_tick: u64) -> u16 {
        if due_tick <= self.tick {
            return READY;
        }
        let level = (63 - (due_tick ^ self.tick).leading_zeros()) / DIGIT_BITS;
        if level >= LEVELS {
            return BEYOND;
        }
        let slot = (due_tick >> (level * DIGIT_BITS)) % SLOTS;
        u16::try_from(u64::from(level) * SLOTS + slot).unwrap_or(BEYOND)
    }

    /// The next tick at which a slot fires or sinks, and its list. Everything on a lower level comes before everything on a higher one.
    fn next_stop(&self, target: u64) -> Option<(u64, u16)> {
        let lowest = (0u32..).zip(self.occupied).find(|(_, slots)| *slots != 0);
        if let Some((level, slots)) = lowest {
            let slot = u64::from(slots.trailing_zeros());
            let digits_above = self.tick >> ((level + 1) * DIGIT_BITS) << DIGIT_BITS;
            let list = u16::try_from(u64::from(level) * SLOTS + slot).unwrap_or(BEYOND);
            return Some(((digits_above | slot) << (level * DIGIT_BITS), list));
        }
        if self.first(BEYOND) == NIL {
            return None;
        }
        let horizon = (self.tick >> HORIZON_BITS).saturating_add(1) << HORIZON_BITS;
        // A long step need not stop at every horizon on its way, only at the first that brings a timer in.
        let stop = if target < horizon { horizon } else { self.first_beyond().unwrap_or(horizon) };
        Some((stop, BEYOND))
    }

    /// The horizon before the earliest timer that lies beyond.
    fn first_beyond(&self) -> Option<u64> {
        let beyond = self.entries.iter().filter(|entry| entry.list == BEYOND);
        beyond.map(|entry| entry.due_tick >> HORIZON_BITS << HORIZON_BITS).min()
    }

    /// Takes a list apart and puts its timers where they belong from here: at least one level lower.
    fn sink(&mut self, list: u16) {
        let mut index = self.first(list);
        self.empty(list);
        while let Some(entry) = self.entries.get(at(index)) {
            let (next, due_tick) = (entry.next, entry.due_tick);
            self.link(index, self.list_of(due_tick));
            index = next;
        }
    }

    /// Takes a list apart and hands out its payloads.
    fn fire(&mut self, list: u16, due: &mut Vec<T>) {
        let mut index = self.first(list);
        self.empty(list);
        while let Some(next) = self.entries.get(at(index)).map(|entry| entry.next) {
            due.extend(self.release(index).map(|(_, payload)| payload));
            index = next;
        }
    }

    fn first(&self, list: u16) -> u32 {
        self.lists.get(usize::from(list)).map_or(NIL, |list| list.first)
    }

    fn empty(&mut self, list: u16) {
        if let Some(list) = self.lists.get_mut(usize::from(list)) {
            *list = List { first: NIL, last: NIL };
        }
        self.mark(list, false);
    }

    fn mark(&mut self, list: u16, occupied: bool) {
        if let Some(slots) = self.occupied.get_mut(usize::from(list / 64)) {
            let bit = 1u64 << (list % 64);
            *slots = if occupied { *slots | bit } else { *slots & !bit };
        }
    }

    fn link(&mut self, index: u32, list: u16) {
        let Some(ends) = self.lists.get_mut(usize::from(list)) else { return };
        let last = std::mem::replace(&mut ends.last, index);
        if ends.first == NIL {
            ends.first = index;
        }
        if let Some(entry) = self.entries.get_mut(at(last)) {
            entry.next = index;
        }
        if let Some(entry) = self.entries.get_mut(at(index)) {
            (entry.next, entry.previous, entry.list) = (NIL, last, list);
        }
        self.mark(list, true);
    }

    fn unlink(&mut self, index: u32) {
        let Some(entry) = self.entries.get(at(index)) else { return };
        let (next, previous, list) = (entry.next, entry.previous, entry.list);
        if let Some(entry) = self.entries.get_mut(at(next)) {
            entry.previous = previous;
        }
        if let Some(entry) = self.entries.get_mut(at(previous)) {
            entry.next = next;
        }
        if let Some(ends) = self.lists.get_mut(usize::from(list)) {
            ends.first = if previous == NIL { next } else { ends.first };
            ends.last = if next == NIL { previous } else { ends.last };
        }
        if self.first(list) == NIL {
            self.mark(list, false);
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "four thousand million timers need more memory than a machine that runs this has"
    )]
    fn allot(&mut self, due_tick: u64, payload: T) -> u32 {
        let index = self.vacant;
        if let Some(entry) = self.entries.get_mut(at(index)) {
            self.vacant = entry.next;
            (entry.due_tick, entry.payload) = (due_tick, payload);
            return index;
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|index| *index != NIL).expect("a free timer");
        self.entries.push(Entry { due_tick, payload, next: NIL, previous: NIL, generation: 0, list: VACANT });
        index
    }

    /// Makes an entry that is on no list vacant; gives back its tick and its payload.
    fn release(&mut self, index: u32) -> Option<(u64, T)> {
        let entry = self.entries.get_mut(at(index))?;
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = VACANT;
        entry.next = self.vacant;
        self.vacant = index;
        self.len -= 1;
        Some((entry.due_tick, entry.payload))
    }
}

/// The position of an entry; that of `NIL` is beyond every slab.
fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn fired(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due
    }

    #[test]
    fn a_timer_is_never_early_and_at_most_a_tick_late() {
        for due in [1, 9, 10, 11, 639, 640, 641, 40_959, 40_960, 2_621_445] {
            let mut wheel = Wheel::new(0);
            wheel.insert(due, 1);
            let on = (0..).find(|now| !fired(&mut wheel, *now).is_empty());
            let on = on.expect("it fires");
            assert!(on >= due && on < due + TICK_MS, "due {due}, fired {on}");
        }
    }

    #[test]
    fn a_timer_beyond_the_horizon_sinks_and_fires_on_time() {
        let horizon = TICK_MS << HORIZON_BITS;
        for due in [horizon - 10, horizon, horizon + 10, 5 * horizon + 70, u64::MAX - 20] {
            let mut wheel = Wheel::new(30);
            wheel.insert(due, 7);
            assert!(fired(&mut wheel, due - 10).is_empty(), "{due}");
            assert_eq!(fired(&mut wheel, due.next_multiple_of(10)), [7], "{due}");
        }
    }

    #[test]
    fn sleeping_until_the_next_due_reaches_every_timer_in_few_steps() {
        let mut wheel = Wheel::new(0);
        for (payload, due) in (0..).zip([20, 700, 50_000, 3_000_000, 86_400_000, 400 * 86_400_000]) {
            wheel.insert(due, payload);
        }
        let (mut steps, mut seen) = (0, Vec::new());
        while let Some(now) = wheel.next_due() {
            wheel.advance(now, &mut seen);
            steps += 1;
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        assert!(steps <= 6 * 6, "{steps} steps");
    }

    #[test]
    fn a_stale_handle_cancels_nothing() {
        let mut wheel = Wheel::new(0);
        let first = wheel.insert(10, 1);
        assert_eq!(fired(&mut wheel, 10), [1]);
        let second = wheel.insert(20, 2);
        assert_eq!(first.index, second.index, "the entry is used again");
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(wheel.cancel(second), Some(2));
        assert_eq!(wheel.cancel(second), None);
        assert!(wheel.is_empty() && wheel.next_due().is_none());
    }

    #[test]
    fn a_drained_wheel_is_empty_and_its_handles_are_stale() {
        let mut wheel = Wheel::new(0);
        let handles: Vec<_> = [5, 7_000, TICK_MS << 40].map(|due| wheel.insert(due, 0)).into();
        let mut out = Vec::new();
        wheel.drain(|due, _| out.push(due));
        assert_eq!(out, [10, 7_000, TICK_MS << 40]);
        assert!(handles.into_iter().all(|handle| wheel.cancel(handle).is_none()));
        assert!(wheel.is_empty() && wheel.next_due().is_none() && wheel.iter().next().is_none());
    }

    #[test]
    fn an_entry_with_a_place_takes_32_bytes() {
        assert_eq!(size_of::<Entry<u64>>(), 32);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
        Sleep,
        Rebuild,
    }

    /// Lengths of time of every magnitude, so that every level and the list beyond are met.
    fn span() -> impl Strategy<Value = u64> {
        (0..42u32, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits))
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            5 => span().prop_map(Op::Insert),
            2 => any::<usize>().prop_map(Op::Cancel),
            3 => span().prop_map(Op::Advance),
            2 => Just(Op::Sleep),
            1 => Just(Op::Rebuild),
        ]
    }

    /// The wheel and the obvious thing in its place: a sorted map of (tick, number of insertion).
    struct Pair {
        wheel: Wheel<u32>,
        model: BTreeMap<(u64, u32), ()>,
        handles: Vec<(Handle, u32)>,
        dues: HashMap<u32, u64>,
        now: u64,
    }

    impl Pair {
        fn insert(&mut self, due: u64, number: u32) {
            // What has passed is due at the tick of its insertion, behind nothing.
            let tick = due.div_ceil(TICK_MS).max(self.now / TICK_MS);
            self.handles.push((self.wheel.insert(due, number), number));
            self.model.insert((tick, number), ());
            self.dues.insert(number, tick);
        }

        fn advance(&mut self, now: u64) {
            self.now = self.now.max(now);
            let due = fired(&mut self.wheel, now);
            let later = self.model.split_off(&(self.now / TICK_MS + 1, 0));
            let expected: Vec<u32> = std::mem::replace(&mut self.model, later).into_keys().map(|key| key.1).collect();
            assert_eq!(due, expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]
        #[test]
        fn the_wheel_is_a_sorted_map(start in span(), ops in proptest::collection::vec(op(), 1..120)) {
            let mut pair = Pair {
                wheel: Wheel::new(start), model: BTreeMap::new(), handles: Vec::new(), dues: HashMap::new(), now: start,
            };
            for (number, op) in (0u32..).zip(ops) {
                match op {
                    Op::Insert(after) => pair.insert((pair.now + after).saturating_sub(50), number),
                    Op::Cancel(_) if pair.handles.is_empty() => {}
                    Op::Cancel(which) => {
                        let (handle, number) = pair.handles[which % pair.handles.len()];
                        let there = pair.model.remove(&(pair.dues[&number], number)).is_some();
                        prop_assert_eq!(pair.wheel.cancel(handle), there.then_some(number));
                    }
                    Op::Advance(by) => pair.advance((pair.now + by).saturating_sub(30)),
                    Op::Sleep => {
                        let next = pair.wheel.next_due();
                        let first = pair.model.keys().next().map(|key| key.0 * TICK_MS);
                        prop_assert_eq!(next.is_some(), first.is_some());
                        if let (Some(next), Some(first)) = (next, first) {
                            prop_assert!(next <= first, "sleeps past {} until {}", first, next);
                            prop_assert!(next > pair.now || first <= pair.now, "wakes at once for nothing");
                            pair.advance(next);
                        }
                    }
                    Op::Rebuild => {
                        let mut out = Vec::new();
                        pair.wheel.drain(|due, number| out.push((due, number)));
                        out.sort_by_key(|(_, number)| *number);
                        pair.handles.clear();
                        for (due, number) in out {
                            pair.model.remove(&(pair.dues[&number], number));
                            pair.insert(due, number);
                        }
                    }
                }
                prop_assert_eq!(pair.wheel.len(), pair.model.len());
                prop_assert_eq!(pair.wheel.iter().count(), pair.model.len());
            }
            pair.advance(u64::MAX >> 1);
            prop_assert!(pair.wheel.is_empty());
        }
    }
}
