//! A body that is read as JSON when something first looks into it: most routes take what comes by its type alone.
//!
//! # What it does not know
//!
//! Who looks, and for what.

use std::cell::OnceCell;

use crate::transport::filter::{Document, Unread};

/// A body, and what it is as JSON.
pub(super) struct Content<'a> {
    bytes: &'a [u8],
    read: OnceCell<Result<Document, Unread>>,
}

impl<'a> Content<'a> {
    /// Looks at nothing yet.
    pub(super) fn new(bytes: &'a [u8]) -> Content<'a> {
        Content { bytes, read: OnceCell::new() }
    }

    /// The body as it came.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(super) fn document(&self) -> Result<&Document, String> {
        let read = self.read.get_or_init(|| Document::read(self.bytes));
        read.as_ref().map_err(|why| format!("the body {why}"))
    }
}
