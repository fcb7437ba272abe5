//! The status rows that were written last, so that settling what was accepted a moment ago reads nothing.
//!
//! # What holds
//!
//! * Memory is bounded by the slots of two generations. A chunk that was emptied is not kept: it has no slots, and so would never count.
//!
//! # What it does not know
//!
//! What is done with a row, and where else it lies.

use std::collections::HashMap;

use super::slot::Stat;

/// A generation: 32 thousand slots of 56 bytes.
const HOT_SLOTS_MAX: usize = 32 * 1024;

/// The rows, in two generations: where the young one is full, it becomes the old one, and what that held is forgotten.
#[derive(Debug, Default)]
pub(super) struct Hot {
    young: HashMap<u64, Stat>,
    old: HashMap<u64, Stat>,
    young_slots: usize,
}

impl Hot {
    pub(super) fn get(&self, chunk: u64) -> Option<&Stat> {
        self.young.get(&chunk).or_else(|| self.old.get(&chunk))
    }

    pub(super) fn put(&mut self, chunk: u64, stat: Stat) {
        if stat.is_empty() {
            let _before = (self.young.remove(&chunk), self.old.remove(&chunk));
            return;
        }
        self.young_slots += stat.len();
        let _before = self.young.insert(chunk, stat);
        if self.young_slots > HOT_SLOTS_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_slots = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::Slot;
    use super::*;
    use crate::model::{Queued, State, Told, WallMs};
    use crate::store::Dest;

    fn stat(messages: usize) -> Stat {
        let slot = Slot {
            state: State::Queued(Queued::Ready),
            flags: super::super::slot::Flags::default(),
            hour: super::super::slot::Hour::default(),
            attempts: 0,
            series: 0,
            revision: 1,
            dest: Dest(0),
            last: Told::default(),
            updated_at: WallMs(0),
            arrival: None,
            key_hash: 0,
            idempotency_hash: 0,
            body_bytes: 0,
        };
        let mut stat = Stat::new(WallMs(0));
        (0..messages).for_each(|_| stat.push(&slot));
        stat
    }

    fn emptied() -> Stat {
        let mut stat = stat(64);
        stat.clear();
        stat
    }

    #[test]
    fn an_emptied_chunk_is_forgotten_in_both_generations() {
        let mut hot = Hot::default();
        hot.put(1, stat(64));
        assert_eq!(hot.get(1).map(Stat::len), Some(64));
        hot.put(2, stat(HOT_SLOTS_MAX));
        assert!(hot.old.contains_key(&1) && hot.young.is_empty());
        for chunk in 1..10_000 {
            hot.put(chunk, emptied());
        }
        assert_eq!((hot.young.len(), hot.old.len()), (0, 0));
        assert_eq!(hot.get(1), None);
        // The control: as many that still hold a message are kept, up to the bound.
        for chunk in 1..100_000 {
            hot.put(chunk, stat(1));
        }
        assert!((1..=2 * HOT_SLOTS_MAX + 1).contains(&(hot.young.len() + hot.old.len())));
    }
}
