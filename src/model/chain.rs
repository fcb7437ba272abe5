//! A chain of hashes: each link covers its entry and the link before, so that what was written cannot be changed, cut out or moved unseen.
//!
//! # What holds
//!
//! * A link is SHA-256 over the link before and the bytes of its entry. The first follows [`Link::START`].
//! * Entries at the end can be cut off with their links: only somebody who wrote down a later link sees that.
//!
//! # What it does not know
//!
//! What entries say, and where they lie.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::percent::{hex, unhex};

/// One link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; 32]);

impl Link {
    /// What the first link follows.
    pub const START: Link = Link([0; 32]);
    /// How many bytes it has.
    pub const BYTES: usize = 32;

    /// The link of an entry that follows this one.
    #[must_use]
    pub fn follow(self, entry: &[u8]) -> Link {
        Link(Sha256::new().chain_update(self.0).chain_update(entry).finalize().into())
    }

    /// SHA-256 of these bytes alone: what tells two bodies apart without showing either.
    #[must_use]
    pub fn over(bytes: &[u8]) -> Link {
        Link(Sha256::digest(bytes).into())
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Link {
    fn from(bytes: [u8; 32]) -> Link {
        Link(bytes)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Link, String> {
        let wrong = || {
            let mut shown: String = text.chars().take(80).collect();
            let _ = write!(shown, " is no hash: it has 64 hex digits");
            shown
        };
        let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
        Ok(Link(bytes))
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Link, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Link::over(b"abc").to_string(), abc);
        assert_eq!(abc.parse(), Ok(Link::over(b"abc")));
        for wrong in ["", "ba", &abc[1..], &format!("{abc}00"), &abc.replace('b', "g")] {
            assert!(wrong.parse::<Link>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn order_and_content_both_count() {
        let two = |first: &[u8], second: &[u8]| Link::START.follow(first).follow(second);
        assert_ne!(two(b"a", b"b"), two(b"b", b"a"));
        assert_ne!(two(b"a", b"b"), two(b"a", b"c"));
        assert_eq!(two(b"a", b"b"), two(b"a", b"b"));
    }
}
