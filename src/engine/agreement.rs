//! Whether a destination has what was delivered to it: what a person is told of that.
//!
//! # What it does not know
//!
//! Who compares, and how.

use std::sync::Arc;

use super::Engine;
use super::alert::{IN_SYNC, OUT_OF_SYNC, UNREAD};

/// What became of the agreement with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// It lacks something, or more than before.
    Lost,
    /// It has everything again.
    Found,
    /// What it has cannot be read.
    Unread,
}

impl Agreement {
    fn reason(self) -> &'static str {
        match self {
            Agreement::Lost => OUT_OF_SYNC,
            Agreement::Found => IN_SYNC,
            Agreement::Unread => UNREAD,
        }
    }
}

impl Engine {
    /// Has a person told of what became of the agreement with a destination.
    pub fn tell_agreement(&self, destination: &Arc<str>, agreement: Agreement, words: String) {
        self.shared.registry.note_of(destination.clone(), agreement.reason(), words);
    }
}
