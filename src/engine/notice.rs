//! What a person is told beside messages: what became of a destination, a source, or the registry itself.
//!
//! # What holds
//!
//! * What is news of one thing takes the place of what is untold of it, and of nothing else.
//!
//! # What it does not know
//!
//! Whom it is told, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::alert::{Cause, UNREAD};
use super::rule::Kind;

/// What became of something, until everybody was told.
pub(super) struct Notice {
    /// Whose it is, and what became of it.
    pub(super) cause: Cause,
    /// Which of several things about it, where there are several; else empty.
    pub(super) about: Arc<str>,
    /// Why, in words.
    pub(super) words: String,
    /// Told once everybody was.
    pub(super) notified: Notified,
}

/// Whether everybody was told of something who is to be told of it; never where no rule tells it.
#[derive(Debug, Clone, Default)]
pub struct Notified(Arc<AtomicBool>);

impl Notified {
    /// Whether everybody was.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Everybody was.
    pub(super) fn everybody(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Notice {
    /// Of a destination or a source of this name; `*` is the registry itself.
    pub(super) fn new(name: Arc<str>, reason: &'static str, words: impl Into<String>) -> Notice {
        Notice { cause: (name, reason), about: Arc::default(), words: words.into(), notified: Notified::default() }
    }

    /// The same, of one of several things about it.
    pub(super) fn about(self, about: &str) -> Notice {
        Notice { about: Arc::from(about), ..self }
    }

    /// Whether the one before is of no more interest once this is known.
    pub(super) fn takes_the_place_of(&self, before: &Notice) -> bool {
        let ((name, reason), (name_before, reason_before)) = (&self.cause, &before.cause);
        let kind = Kind::of(reason);
        let is_of_it = (name, &self.about, kind) == (name_before, &before.about, Kind::of(reason_before));
        // That it cannot be read says nothing of what was found in it before.
        let is_news = *reason != UNREAD || *reason_before == UNREAD;
        is_of_it && is_news && !kind.is_of_many()
    }
}
