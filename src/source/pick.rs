//! Where a word about a delivery stands: in a header, or in the body.
//!
//! # What it does not know
//!
//! What the word is for.

use std::sync::Arc;

use super::content::Content;
use crate::transport::filter::Filter;
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
    /// The word, where there is one that is not empty; `came` is what is left of the head.
    ///
    /// # Errors
    /// The body was not read, or the filter failed: in words.
    pub(super) fn of(&self, came: Option<Came<'_>>, body: &Content<'_>) -> Result<Option<Arc<str>>, String> {
        let header = match self {
            Pick::Nowhere => None,
            Pick::Header(name) => came.and_then(|came| came.header(name)),
            Pick::WebhookId => came.and_then(|came| webhook_header(came, "id")),
            Pick::Body(filter) => {
                let found = filter.pick(body.document()?);
                return found.map(|word| word.map(Arc::from)).map_err(|stuck| stuck.to_string());
            }
        };
        Ok(header.filter(|word| !word.trim().is_empty()).map(Arc::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallMs;

    #[test]
    fn an_empty_header_is_no_word() {
        for (text, word) in [("", None), (" \t", None), ("17", Some("17"))] {
            let headers = [("x-id".to_owned(), text.to_owned()), ("webhook-id".to_owned(), text.to_owned())].into();
            let came = Came { headers: &headers, body: b"", now: WallMs(0) };
            for pick in [Pick::Header("x-id".into()), Pick::WebhookId] {
                assert_eq!(pick.of(Some(came), &Content::new(b"")).expect("a header").as_deref(), word, "{pick:?}");
            }
        }
    }
}
