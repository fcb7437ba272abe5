//! A cheap hash for maps whose keys are places or hashes: both are already spread, and neither is chosen by a stranger
//! in a way that could hurt (a place is counted, and two keys of one hash are told apart by nothing here anyway).

use std::hash::{BuildHasher, Hasher};

use crate::model::policy::scatter;

/// Builds [`PlaceHasher`]s.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PlaceHash;

/// Spreads one number over 64 bits.
#[derive(Debug, Default)]
pub(super) struct PlaceHasher(u64);

impl BuildHasher for PlaceHash {
    type Hasher = PlaceHasher;

    fn build_hasher(&self) -> PlaceHasher {
        PlaceHasher(0)
    }
}

impl Hasher for PlaceHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = scatter(self.0 ^ number);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
