//! Which messages of a source go where.
//!
//! # What it does not know
//!
//! What becomes of those that no route takes.

use std::sync::Arc;

use super::content::Content;
use crate::store::Pattern;
use crate::transport::filter::Filter;

/// Messages like this go there.
#[derive(Debug)]
pub struct Route {
    /// Of this source; of all without it.
    pub from: Option<Arc<str>>,
    /// Of this type; of all, and of none, without it.
    pub kind: Option<Pattern>,
    /// Whose body the filter means; all without it.
    pub when: Option<Filter>,
    /// To these destinations.
    pub to: Vec<Arc<str>>,
}

impl Route {
    /// Whether it takes this message.
    ///
    /// # Errors
    /// The filter cannot tell: in words.
    pub(super) fn takes(&self, from: &str, kind: Option<&str>, body: &Content<'_>) -> Result<bool, String> {
        let is_of = self.from.as_deref().is_none_or(|wanted| wanted == from);
        let is_kind = self.kind.as_ref().is_none_or(|wanted| kind.is_some_and(|kind| wanted.matches(kind)));
        if !is_of || !is_kind {
            return Ok(false);
        }
        match &self.when {
            None => Ok(true),
            Some(when) => when.means(body.document()?).map_err(|stuck| stuck.to_string()),
        }
    }
}
