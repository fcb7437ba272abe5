//! What of a registry's notes is taken over by another one that is made of it.
//!
//! # What it does not know
//!
//! How registries are made.

use super::ledger::is_count;

/// Whether the note under this key names this registry towards others. One that is made of an export is another registry: it must not go on as if it
/// were the old one, so it does not take such a note over, and begins new epochs of its streams.
#[must_use]
pub fn is_bound_to_node(key: &[u8]) -> bool {
    is_count(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_a_registry_gives_are_its_own() {
        assert!(is_bound_to_node(b"lcerp"));
        assert!(!is_bound_to_node(b"lierp") && !is_bound_to_node(b"mpoll/erp") && !is_bound_to_node(b""));
    }
}
