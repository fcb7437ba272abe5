//! Where a word about a delivery stands: in a header, or in the body.
//!
//! # What it does not know
//!
//! What the word is for.

use std::sync::Arc;

use crate::transport::filter::{Document, Filter};
use crate::transport::secret::{Came, webhook_header};

/// Where a word stands.
#[derive(Debug)]
pub enum Pick {
    /// Nowhere.
    Nowhere,
    /// In this header, in lower case.
    Header(String),
    /// In the body, where the filter finds it.
    Body(Filter),
    /// In the header that the signature of Standard Webhooks covers.
    WebhookId,
}

impl Pick {
    /// The word, where there is one; `came` is what is left of the head.
    ///
    /// # Errors
    /// The body was not read, or the filter failed: in words.
    pub(super) fn of(&self, came: Option<Came<'_>>, body: Option<&Document>) -> Result<Option<Arc<str>>, String> {
        match (self, body) {
            (Pick::Nowhere, _) => Ok(None),
            (Pick::Header(name), _) => Ok(came.and_then(|came| came.header(name)).map(Arc::from)),
            (Pick::WebhookId, _) => Ok(came.and_then(|came| webhook_header(came, "id")).map(Arc::from)),
            (Pick::Body(_), None) => Err("the body is not JSON".into()),
            (Pick::Body(filter), Some(body)) => {
                filter.pick(body).map(|word| word.map(Arc::from)).map_err(|stuck| stuck.to_string())
            }
        }
    }
}
