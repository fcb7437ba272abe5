//! What of a registry's notes is taken over by another one that is made of it.
//!
//! # What it does not know
//!
//! How registries are made.

/// Whether the note under this key names this registry towards others. One that is made of an export is another registry: it must not go on as if it
/// were the old one, so it does not take such a note over.
#[must_use]
pub fn is_bound_to_node(_key: &[u8]) -> bool {
    false
}
