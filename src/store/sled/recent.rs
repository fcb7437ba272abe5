//! The rows of chunks that were read last, their check sums verified: whoever drains a backlog reads each chunk once, not once a message.
//!
//! # What holds
//!
//! * A row is here only as it lies in its tree: a write of it takes it out before any reader can see the new one.
//! * Never more than a few rows, so a few hundred kilobytes.
//!
//! # What it does not know
//!
//! What the rows hold, and locks: callers see to it that no write comes between a read and what is remembered of it.

use sled::IVec;

use super::layout::{Row, Tree};

/// How many rows are remembered.
const ROWS_MAX: usize = 16;

/// A row that was read and verified.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    commit: u64,
    bytes: IVec,
    /// Where its body begins.
    body: usize,
}

/// The rows that were read last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    rows: Vec<(Tree, u64, Verified)>,
    /// The one to be replaced next.
    next: usize,
}

impl Verified {
    /// A row whose check sum was found to hold, and where its body begins.
    pub(super) fn new(commit: u64, bytes: IVec, body: usize) -> Verified {
        Verified { commit, bytes, body }
    }

    /// The row.
    pub(super) fn row(&self) -> Row<'_> {
        let end = self.bytes.len().saturating_sub(super::layout::SUM_BYTES);
        Row { commit: self.commit, body: self.bytes.get(self.body..end).unwrap_or(&[]) }
    }
}

impl Recent {
    /// The row of this chunk, if it is remembered.
    pub(super) fn get(&self, tree: Tree, chunk: u64) -> Option<Verified> {
        self.rows.iter().find(|(at, number, _)| *at == tree && *number == chunk).map(|(_, _, row)| row.clone())
    }

    /// Remembers a row.
    pub(super) fn put(&mut self, tree: Tree, chunk: u64, row: Verified) {
        let row = (tree, chunk, row);
        if self.rows.len() < ROWS_MAX {
            self.rows.push(row);
            return;
        }
        self.next = (self.next + 1) % ROWS_MAX;
        if let Some(oldest) = self.rows.get_mut(self.next) {
            *oldest = row;
        }
    }

    /// Forgets the rows that are written now.
    pub(super) fn forget(&mut self, is_written: impl Fn(Tree, u64) -> bool) {
        self.rows.retain(|(tree, chunk, _)| !is_written(*tree, *chunk));
    }
}
