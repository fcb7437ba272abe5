//! Roles: what the bearer of a token is for.
//!
//! # What it does not know
//!
//! Calls, and which role may make which: that is the server's table.

use serde::{Deserialize, Serialize};

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hands in messages.
    Producer,
    /// Reads.
    Viewer,
    /// Reads, hands in, and acts on messages and destinations.
    Operator,
    /// Everything; makes and revokes tokens.
    Admin,
}

impl Role {
    /// All of them, from the least to the most.
    pub const ALL: [Role; 4] = [Role::Producer, Role::Viewer, Role::Operator, Role::Admin];

    /// The word of the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Producer => "producer",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == word)
    }
}
