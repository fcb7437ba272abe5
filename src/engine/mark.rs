//! How far something was read that brings messages in: a small value under a name.
//!
//! # What holds
//!
//! * A mark is written by the commit that keeps the messages it brought, or not at all: what was read is neither read twice nor skipped, whatever is
//!   killed when.
//! * Of two who go on from the same mark one is refused, whole: compare and set.
//!
//! # What it does not know
//!
//! What the value means, and who reads.

use std::sync::Arc;

use crate::error::Error;
use crate::store::{NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX, Note, Store, StoreError};

const KIND: u8 = b'm';
/// The longest name of a mark, in bytes.
pub const MARK_NAME_BYTES_MAX: usize = NOTE_KEY_BYTES_MAX - 1;
/// The most bytes of a mark.
pub const MARK_BYTES_MAX: usize = NOTE_BYTES_MAX;

/// How far something was read, beside the messages that this brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What was read: 1 to [`MARK_NAME_BYTES_MAX`] bytes.
    pub name: Arc<str>,
    /// What the mark must be for any of it to count; `None` where there must be none.
    pub was: Option<Vec<u8>>,
    /// What it becomes: at most [`MARK_BYTES_MAX`] bytes; empty removes it, and leaves no row behind.
    pub is: Vec<u8>,
}

impl Mark {
    /// Whether it can be kept.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it is too long, or has no name.
    pub(super) fn check(&self) -> Result<(), Error> {
        let (name, bytes) = (self.name.len(), self.is.len());
        if name == 0 || name > MARK_NAME_BYTES_MAX {
            return Err(Error::Invalid(format!("the name of a mark has {name} bytes, 1 to {MARK_NAME_BYTES_MAX} fit")));
        }
        if bytes > MARK_BYTES_MAX {
            return Err(Error::Invalid(format!("a mark has {bytes} bytes, {MARK_BYTES_MAX} are allowed")));
        }
        Ok(())
    }

    /// Whether the mark still is what it must be.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn is_current(&self, store: &dyn Store) -> Result<bool, StoreError> {
        Ok(store.note(&key(&self.name))? == self.was)
    }

    pub(super) fn note(&self) -> Note {
        Note { key: key(&self.name), value: self.is.clone() }
    }
}

/// The mark of this name; `None` where there is none.
///
/// # Errors
/// What hinders the read.
pub(super) fn read(store: &dyn Store, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    store.note(&key(name))
}

/// What follows in the names of the marks that begin so. Those that are damaged are passed over.
///
/// # Errors
/// What hinders the read.
pub(super) fn each(store: &dyn Store, begin: &str, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
    let prefix = key(begin);
    let read = store.notes(&prefix, &mut |key, _| {
        if let Some(rest) = key.strip_prefix(&*prefix).and_then(|rest| std::str::from_utf8(rest).ok()) {
            each(rest);
        }
    });
    match read {
        Ok(()) | Err(StoreError::Damaged(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn key(name: &str) -> Vec<u8> {
    [&[KIND], name.as_bytes()].concat()
}
