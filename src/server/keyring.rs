//! Who holds which token: those of the configuration and those of the registry, asked in one place.
//!
//! # What holds
//!
//! * A token is recognised by its SHA-256, which is compared with that of every other: the time tells nothing of which was nearly right.
//! * Whether a login is needed changes with the first token and the last; one that has expired or cannot be read counts for that, too.
//!
//! # What it does not know
//!
//! Requests, sessions, and what a role may do.

use crate::config::{Role, Token};
use crate::engine::{Beside, Engine, Grant};
use crate::model::WallMs;
use crate::transport::secret::digest;

/// The tokens that open this node.
pub(super) struct Keyring {
    configured: Vec<Configured>,
    engine: Engine,
    may_be_open: bool,
}

/// A token of the configuration. What it is known by is not shown: a short one could be found by it.
struct Configured {
    name: String,
    role: Role,
    digest: [u8; 32],
    is_guessable: bool,
}

/// Whose token it is.
pub(super) struct Holder {
    /// Whom changes are ascribed to.
    pub(super) name: String,
    /// What they may do.
    pub(super) role: Role,
    /// What the token is known by.
    pub(super) digest: [u8; 32],
    /// Whether the token is so short that somebody may have guessed it.
    pub(super) is_guessable: bool,
    /// Until when it opens anything.
    pub(super) expires_at: Option<WallMs>,
}

/// A token as it is listed.
pub(super) enum Listed<'a> {
    /// One of the configuration.
    Configured(&'a str, Role),
    /// One of the registry; `None` where it cannot be read.
    Kept(String, Option<Grant>),
}

impl Keyring {
    /// The tokens of the configuration, and whatever the engine keeps. `may_be_open` says that only this machine can call.
    pub(super) fn new(engine: &Engine, tokens: &[Token], may_be_open: bool) -> Keyring {
        let configured = |token: &Token| Configured {
            name: token.name.clone(),
            role: token.role,
            digest: token.secret.digest(),
            is_guessable: token.secret.is_guessable(),
        };
        Keyring { configured: tokens.iter().map(configured).collect(), engine: engine.clone(), may_be_open }
    }

    /// Whether calls must bear a token or a session.
    pub(super) fn needs_login(&self) -> bool {
        !self.configured.is_empty() || self.engine.has_tokens()
    }

    /// Whose token these bytes are.
    pub(super) fn bearer(&self, borne: &[u8]) -> Option<Holder> {
        // Nothing is no token, whatever the configuration says.
        if borne.is_empty() { None } else { self.holder(digest(borne)) }
    }

    /// Whose token has this SHA-256.
    pub(super) fn holder(&self, digest: [u8; 32]) -> Option<Holder> {
        let known =
            self.configured.iter().fold(None, |known, token| (token.digest == digest).then_some(token).or(known));
        let configured = known.map(|token| Holder {
            name: token.name.clone(),
            role: token.role,
            digest,
            is_guessable: token.is_guessable,
            expires_at: None,
        });
        let kept = self.engine.token(digest).map(|Grant { name, role, expires_at, .. }| Holder {
            name,
            role,
            digest,
            is_guessable: false,
            expires_at,
        });
        configured.or(kept)
    }

    /// What the registry has to know of the tokens that it does not keep.
    pub(super) fn beside(&self) -> Beside {
        Beside {
            names: self.configured.iter().map(|token| token.name.clone()).collect(),
            has_admin: self.configured.iter().any(|token| token.role == Role::Admin),
            may_be_open: self.may_be_open,
        }
    }

    /// All of them: those of the configuration first.
    pub(super) fn listed(&self) -> Vec<Listed<'_>> {
        let configured = self.configured.iter().map(|token| Listed::Configured(&token.name, token.role));
        configured.chain(self.engine.tokens().into_iter().map(|(name, grant)| Listed::Kept(name, grant))).collect()
    }
}

impl Holder {
    /// Whether its time is over.
    pub(super) fn is_over(&self, now: WallMs) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}
