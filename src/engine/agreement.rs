//! Whether a destination has what was delivered to it: what a person is told of that.
//!
//! # What it does not know
//!
//! Who compares, and how.

use std::sync::Arc;

use super::alert::{IN_SYNC, OUT_OF_SYNC, UNREAD};
use super::notice::Notice;
use super::{Engine, Turn};

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
    /// Has a person told of what became of the agreement with a destination, by this comparison. What another found is told all the same.
    pub fn tell_agreement(&self, destination: &Arc<str>, comparison: &str, agreement: Agreement, words: String) {
        self.shared.registry.note_of(notice(destination, comparison, agreement, words));
    }
}

impl Turn {
    /// Has a person told, as [`Engine::tell_agreement`].
    pub fn tell_agreement(&self, destination: &Arc<str>, comparison: &str, agreement: Agreement, words: String) {
        self.registry.note_of(notice(destination, comparison, agreement, words));
    }
}

fn notice(destination: &Arc<str>, comparison: &str, agreement: Agreement, words: String) -> Notice {
    Notice::new(destination.clone(), agreement.reason(), words).about(comparison)
}
