//! How far a source was read: the value of its mark.
//!
//! # What holds
//!
//! * It says at which cursor the next page begins, and how many of that page's first items were taken already: where a page is more than one commit, and where
//!   its cursor stays. Those are known again by their digest, so that a page that only grew at its end is taken from where it was left, and one that is another is taken whole.
//!
//! # What it does not know
//!
//! Where pages come from.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Mark};
use crate::error::Error;
use crate::model::WallMs;
use crate::model::percent::hex;
use crate::transport::secret::digest;

/// The longest cursor, in bytes.
pub const CURSOR_BYTES_MAX: usize = 2_048;

/// What nothing hashes to.
const NOTHING: [u8; 32] = [0; 32];

/// How far a source was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Where the next page begins.
    pub(super) cursor: String,
    /// How many of its first items were taken.
    #[serde(default)]
    pub(super) taken: usize,
    /// Their digest, in hex; empty where none were.
    #[serde(default)]
    pub(super) digest: String,
    /// When it was last read.
    pub(super) read_at: u64,
    /// Whether nothing came so far: the first reading is still to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_untaken: bool,
}

/// A digest of items, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    pub(super) fn new() -> Chain {
        Chain(NOTHING)
    }

    pub(super) fn add(&mut self, item: &[u8]) {
        self.0 = digest(&[self.0, digest(item)].concat());
    }

    fn text(self) -> String {
        if self.0 == NOTHING { String::new() } else { hex(&self.0) }
    }
}

impl Progress {
    /// At the beginning of the page of this cursor.
    pub(super) fn at(cursor: &str) -> Progress {
        Progress { cursor: cursor.to_owned(), ..Progress::default() }
    }

    /// After so many items of the same page, of which this is the digest.
    pub(super) fn after(&self, taken: usize, chain: Chain) -> Progress {
        Progress { taken, digest: chain.text(), ..Progress::at(&self.cursor) }
    }

    /// How many of the first items were taken, with their digest: all that were, or none where others stand in their place.
    pub(super) fn known(&self, items: &[Cow<'_, [u8]>]) -> (usize, Chain) {
        let mut chain = Chain::new();
        let first = items.get(..self.taken).unwrap_or_default();
        first.iter().for_each(|item| chain.add(item));
        if first.is_empty() || chain.text() != self.digest { (0, Chain::new()) } else { (first.len(), chain) }
    }

    /// Whether it says the same, the time aside.
    pub(super) fn is_at(&self, other: &Progress) -> bool {
        (&self.cursor, self.taken, &self.digest) == (&other.cursor, other.taken, &other.digest)
    }

    pub(super) fn read_at(&self) -> WallMs {
        WallMs(self.read_at)
    }
}

/// The mark of a source, with what it says.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// As it stands in the registry; `None` before the first reading.
    bytes: Option<Vec<u8>>,
    pub(super) progress: Option<Progress>,
}

/// The name of the mark of a source.
fn mark_name(source: &str) -> String {
    format!("poll/{source}")
}

impl Kept {
    /// What is kept of this source.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(super) fn read(engine: &Engine, source: &str) -> Result<Kept, String> {
        let bytes = engine.mark(&mark_name(source)).map_err(|error| error.to_string())?;
        let progress = bytes.as_deref().map(serde_json::from_slice).transpose();
        let progress = progress.map_err(|error| format!("how far it was read cannot be read: {error}"))?;
        Ok(Kept { bytes, progress })
    }

    /// The mark that goes on from here to there.
    pub(super) fn mark(&self, source: &str, to: &Progress) -> Mark {
        // What is short and ours can always be written.
        let is = serde_json::to_vec(to).unwrap_or_default();
        Mark { name: mark_name(source).into(), was: self.bytes.clone(), is }
    }

    /// As it is after that.
    pub(super) fn moved(mark: Vec<u8>, progress: Progress) -> Kept {
        Kept { bytes: Some(mark), progress: Some(progress) }
    }
}

/// Whether nothing of it was kept because the node stops.
pub(super) fn is_stop(error: &Error) -> bool {
    matches!(error, Error::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(texts: &[&'static str]) -> Vec<Cow<'static, [u8]>> {
        texts.iter().map(|text| Cow::Borrowed(text.as_bytes())).collect()
    }

    #[test]
    fn a_page_that_grew_is_known_and_another_is_not() {
        let (_, nothing) = Progress::at("7").known(&items(&["1", "2"]));
        let mut chain = nothing;
        ["1", "2"].iter().for_each(|item| chain.add(item.as_bytes()));
        let left = Progress::at("7").after(2, chain);
        assert_eq!(left.known(&items(&["1", "2"])).0, 2);
        assert_eq!(left.known(&items(&["1", "2", "3"])).0, 2);
        for other in [&["1"][..], &[], &["1", "3"], &["2", "1"], &["12", ""], &["3", "1", "2"]] {
            assert_eq!(left.known(&items(other)).0, 0, "{other:?}");
        }
    }
}
