//! What can be sent again, message by message: a report has room for the ten oldest, and who asks for all wants all.
//!
//! # What holds
//!
//! * A page is of one comparison, and says which: pages of the same one belong together.
//!
//! # What it does not know
//!
//! How anything is compared.

use super::belief::beginning;
use super::{Reconciler, Refused, Sample};
use crate::error::Error;
use crate::model::WallMs;
use crate::store::StoreError;

/// How many are listed together.
const LISTED_MAX: usize = 1_000;

/// A page of what was found missing or stale.
#[derive(Debug, Clone)]
pub struct Listed {
    /// When it was compared.
    pub at: WallMs,
    /// The messages, the oldest delivery first.
    pub lacking: Vec<Sample>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<usize>,
}

impl Reconciler {
    /// What can be sent again of what was found, from this position on; `None` where there is no comparison of this name.
    ///
    /// # Errors
    /// It is not known what there is; or what hinders the read.
    pub fn listed(&self, name: &str, from: usize) -> Option<Result<Listed, Refused>> {
        let found = self.with(name, |kept| {
            let found =
                kept.found.as_ref().filter(|_| !kept.is_running && !kept.is_asked).ok_or(Refused::Uncompared)?;
            let some: Vec<_> = found.iter().skip(from).take(LISTED_MAX).copied().collect();
            let next = from.saturating_add(LISTED_MAX);
            Ok((kept.report.at, some, Some(next).filter(|next| *next < found.len())))
        });
        Some(found?.and_then(|(at, some, next)| {
            let sample = |(id, at)| match self.engine.show(id) {
                Ok(shown) => {
                    let key = shown.record.envelope.key.as_deref().map(beginning).unwrap_or_default();
                    Ok(Sample { key, id: Some(id), at: Some(at), why: None })
                }
                Err(Error::NotFound(_) | Error::Store(StoreError::Damaged(_))) => {
                    Ok(Sample { id: Some(id), at: Some(at), ..Sample::default() })
                }
                Err(error) => Err(Refused::Unread(error)),
            };
            Ok(Listed { at, lacking: some.into_iter().map(sample).collect::<Result<_, _>>()?, next })
        }))
    }
}
