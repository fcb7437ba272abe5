//! The head: what every commit writes of the registry as a whole, and the counters it keeps.
//!
//! A row holds the counters of 32 destinations, so that a commit rewrites little however many destinations there are. Each row carries the
//! commit that wrote it and the same head; the row of the highest commit speaks for the registry.
//!
//! # What it does not know
//!
//! What is counted.

use std::collections::BTreeMap;

use super::layout::{Cursor, GROUP_DESTS};
use crate::store::{Count, Dest, StateName};

/// What a registry knows of itself as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The commit that it is the state of.
    pub(super) commit: u64,
    /// The chunk to be made next. Every chunk from the floor up to it has a status row.
    pub(super) next_chunk: u64,
    /// No chunk below it is left.
    pub(super) floor: u64,
    /// The chunks that have messages which are not final.
    pub(super) open: Open,
    /// The highest time that an id was given.
    pub(super) last_ms: u64,
}

/// The chunks with unfinished messages, as a number and a sum over what each says: where they do not come to the same, something was lost or came
/// back from before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) chunks: u64,
    sum: u64,
}

impl Open {
    /// Counts a chunk by its [mark](super::slot::Stat::mark).
    pub(super) fn add(&mut self, mark: Option<u64>) {
        self.replace(None, mark);
    }

    /// Lets a chunk that had one mark have another, or none.
    pub(super) fn replace(&mut self, before: Option<u64>, after: Option<u64>) {
        if let Some(mark) = before {
            self.chunks = self.chunks.saturating_sub(1);
            self.sum = self.sum.wrapping_sub(mark);
        }
        if let Some(mark) = after {
            self.chunks += 1;
            self.sum = self.sum.wrapping_add(mark);
        }
    }
}

/// How many messages there are, by destination and state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters(Vec<[u64; 5]>);

/// How a commit changes the counters.
#[derive(Debug, Default)]
pub(super) struct Change(BTreeMap<(u16, usize), i64>);

const STATES: [StateName; 5] =
    [StateName::Queued, StateName::Sending, StateName::Delivered, StateName::Failed, StateName::Abandoned];

impl Change {
    pub(super) fn add(&mut self, dest: Dest, state: StateName, by: i64) {
        let index = STATES.iter().position(|name| *name == state).unwrap_or(0);
        *self.0.entry((dest.0, index)).or_default() += by;
    }

    /// What takes this change back.
    pub(super) fn reversed(&self) -> Change {
        Change(self.0.iter().map(|(key, by)| (*key, by.saturating_neg())).collect())
    }

    /// The groups of destinations that it touches; the first one if it touches none, so that every commit leaves its number.
    pub(super) fn groups(&self) -> Vec<u16> {
        let mut groups: Vec<u16> = self.0.keys().map(|(dest, _)| dest / GROUP_DESTS).collect();
        groups.dedup();
        if groups.is_empty() {
            groups.push(0);
        }
        groups
    }
}

impl Counters {
    pub(super) fn apply(&mut self, change: &Change) {
        for ((dest, state), by) in &change.0 {
            let dest = usize::from(*dest);
            if self.0.len() <= dest {
                self.0.resize(dest + 1, [0; 5]);
            }
            if let Some(count) = self.0.get_mut(dest).and_then(|row| row.get_mut(*state)) {
                *count = count.saturating_add_signed(*by);
            }
        }
    }

    /// Every counter that is not 0.
    pub(super) fn list(&self) -> Vec<Count> {
        let mut list = Vec::new();
        for (dest, row) in self.0.iter().enumerate() {
            for (state, messages) in STATES.into_iter().zip(row) {
                if *messages > 0 {
                    list.push(Count {
                        dest: Dest(u16::try_from(dest).unwrap_or(u16::MAX)),
                        state,
                        messages: *messages,
                    });
                }
            }
        }
        list
    }

    /// The body of the row of this group, if `change` has happened.
    pub(super) fn row(&self, head: &Head, group: u16, change: &Change) -> Vec<u8> {
        let mut body = Vec::new();
        for number in [head.next_chunk, head.floor, head.open.chunks, head.open.sum, head.last_ms] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        let first = group.saturating_mul(GROUP_DESTS);
        for dest in first..first.saturating_add(GROUP_DESTS) {
            let before = self.0.get(usize::from(dest)).copied().unwrap_or_default();
            let row: Vec<u64> = before
                .iter()
                .enumerate()
                .map(|(state, count)| count.saturating_add_signed(change.0.get(&(dest, state)).copied().unwrap_or(0)))
                .collect();
            if row.iter().any(|count| *count > 0) {
                body.extend_from_slice(&dest.to_be_bytes());
                row.iter().for_each(|count| body.extend_from_slice(&count.to_be_bytes()));
            }
        }
        body
    }

    /// Takes over the counters of a row, and gives its head.
    pub(super) fn read(&mut self, commit: u64, body: &[u8]) -> Option<Head> {
        let mut cursor = Cursor(body);
        let [next_chunk, floor] = [cursor.u64()?, cursor.u64()?];
        let open = Open { chunks: cursor.u64()?, sum: cursor.u64()? };
        let last_ms = cursor.u64()?;
        while !cursor.0.is_empty() {
            let dest = usize::from(cursor.u16()?);
            if self.0.len() <= dest {
                self.0.resize(dest + 1, [0; 5]);
            }
            for count in self.0.get_mut(dest)? {
                *count = cursor.u64()?;
            }
        }
        Some(Head { commit, next_chunk, floor, open, last_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_the_counters_are_after_the_change() {
        let mut counters = Counters::default();
        let mut change = Change::default();
        change.add(Dest(1), StateName::Queued, 5);
        change.add(Dest(40), StateName::Delivered, 2);
        assert_eq!(change.groups(), [0, 1]);
        let mut open = Open::default();
        [5, u64::MAX].iter().for_each(|mark| open.add(Some(*mark)));
        open.replace(Some(5), Some(6));
        assert_eq!(open, Open { chunks: 2, sum: 5 });
        let head = Head { commit: 3, next_chunk: 9, floor: 1, open, last_ms: 77 };
        let rows = [counters.row(&head, 0, &change), counters.row(&head, 1, &change)];
        counters.apply(&change);
        let mut again = Counters::default();
        for row in &rows {
            assert_eq!(again.read(3, row), Some(head));
        }
        assert_eq!(again, counters);
        assert_eq!(again.list().len(), 2);
        assert_eq!(Change::default().groups(), [0]);
    }
}
