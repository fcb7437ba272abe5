//! What can go wrong between a caller and the registry.
//!
//! Three things look like errors and are kept apart. A *failed attempt* is data: it is a
//! [`Failure`](crate::model::Failure), stored with its message and shown to the administrator. A *broken invariant* is our bug: it panics,
//! and poisons the engine. Only what the caller can act on is an [`Error`].

use std::fmt;
use std::sync::Arc;

use crate::model::{Id, Illegal};
use crate::store::StoreError;

/// An operation on the registry that did not happen.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The registry has no such message.
    NotFound(Id),
    /// The registry knows no destination of this name.
    UnknownDestination {
        /// The name that was given.
        name: String,
        /// The nearest one that exists.
        nearest: Option<String>,
    },
    /// What was handed in is beyond a limit or not well-formed; the text says which and where.
    Invalid(String),
    /// The message cannot wait for the keys that its sender names; the text says why not.
    After(String),
    /// A body is larger than the registry takes.
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The most there may be.
        bytes_max: u64,
    },
    /// The message stands where this operation is not allowed.
    Refused {
        /// The message.
        id: Id,
        /// What was asked, and where the message stood.
        illegal: Illegal,
    },
    /// Someone else changed the message since the caller read it.
    Stale {
        /// The message.
        id: Id,
        /// The revision the caller had read.
        read: u16,
        /// The revision now stored.
        stored: u16,
    },
    /// The same idempotency key came with another message.
    Conflict {
        /// The message that the key named first.
        id: Id,
    },
    /// A newer message of its key has taken its place, and the destination wants the latest only.
    Overtaken {
        /// The message.
        id: Id,
        /// The newer one, or the one with the newest version of its key.
        newer: Id,
        /// That version, where the message carries an older one.
        version: Option<u64>,
    },
    /// Another number of messages matches than the caller believes.
    Counted {
        /// What the caller believes.
        expected: u64,
        /// How many match.
        found: u64,
    },
    /// The registry has no token of this name.
    NoToken(String),
    /// The tokens stay as they are.
    Token {
        /// Why.
        why: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// Somebody else read on from the same mark, or it was never there. Nothing of the request was kept.
    Marked(Arc<str>),
    /// The engine takes nothing for now: its queue is full.
    Busy,
    /// The engine is stopping or stopped.
    Stopping,
    /// The store could not read or write. Nothing of the request was kept.
    Store(StoreError),
    /// The configuration is wrong; the text says where and how.
    Config(String),
}

impl Error {
    /// What the reader can do about it: one sentence, or `None` where there is nothing to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        use crate::model::State;
        match self {
            Error::NotFound(_) => {
                Some("It may have been deleted, or removed after its time; `goniec ls` shows what there is.".into())
            }
            Error::UnknownDestination { nearest: Some(nearest), .. } => Some(format!("Did you mean {nearest:?}?")),
            Error::UnknownDestination { nearest: None, .. } => {
                Some("Destinations are defined in the configuration, as [destination.NAME].".into())
            }
            Error::Refused { illegal: Illegal { state: State::Sending(_), .. }, .. } => {
                Some("It is out for delivery; wait for the attempt to end, then try again.".into())
            }
            Error::Stale { .. } => Some("Read it again and repeat the change.".into()),
            Error::Counted { .. } => Some("Look at them again: some came or went meanwhile.".into()),
            Error::NoToken(_) => Some("`goniec token ls` lists them.".into()),
            Error::Token { hint, .. } => Some((*hint).into()),
            Error::Marked(_) => Some("Read on from the mark that there is now.".into()),
            Error::Busy => Some("Try again in a moment.".into()),
            Error::Stopping => Some("Try again when goniec runs again.".into()),
            Error::Store(source) => Some(source.hint().into()),
            Error::TooLarge { .. } => Some("The limit is `body_max` in [server]; 16MiB at most.".into()),
            Error::After(_) => Some("`after` names the keys of other messages to the same destination.".into()),
            Error::Overtaken { newer, version: None, .. } => {
                Some(format!("Resend or edit {newer}, or hand in a new message."))
            }
            Error::Overtaken { newer, version: Some(version), .. } => {
                Some(format!("Resend or edit {newer}, or hand in a new message of version {version} or higher."))
            }
            Error::Invalid(_) | Error::Refused { .. } | Error::Conflict { .. } | Error::Config(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound(id) => write!(f, "no message {id}"),
            Error::UnknownDestination { name, .. } => write!(f, "unknown destination {name:?}"),
            Error::Invalid(what) | Error::After(what) | Error::Config(what) => f.write_str(what),
            Error::TooLarge { bytes, bytes_max } => write!(f, "the body has {bytes} bytes, {bytes_max} are allowed"),
            Error::Refused { id, illegal } => {
                write!(f, "message {id} is {} and does not admit {}", illegal.state, illegal.event.name())
            }
            Error::Stale { id, read, stored } => {
                write!(f, "message {id} is at revision {stored}, and revision {read} was read")
            }
            Error::Conflict { id } => write!(f, "the idempotency key already names message {id}, which is another one"),
            Error::Overtaken { id, newer, version: None } => {
                write!(f, "message {id} is older than {newer}, and its destination takes the latest of a key only")
            }
            Error::Overtaken { id, newer, version: Some(version) } => {
                write!(
                    f,
                    "message {id} has an older version than {version}, which came with {newer}, and its destination takes the latest of a key only"
                )
            }
            Error::Counted { expected, found } => write!(f, "{found} messages match, not {expected}"),
            Error::NoToken(name) => write!(f, "there is no token {name:?}"),
            Error::Token { why, .. } => f.write_str(why),
            Error::Marked(name) => write!(f, "the mark {name:?} is another by now"),
            Error::Busy => f.write_str("goniec is full"),
            Error::Stopping => f.write_str("goniec is stopping"),
            Error::Store(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Store(source) => Some(source),
            Error::Refused { illegal, .. } => Some(illegal),
            Error::NotFound(_)
            | Error::UnknownDestination { .. }
            | Error::Invalid(_)
            | Error::After(_)
            | Error::TooLarge { .. }
            | Error::Stale { .. }
            | Error::Conflict { .. }
            | Error::Overtaken { .. }
            | Error::Counted { .. }
            | Error::NoToken(_)
            | Error::Token { .. }
            | Error::Marked(_)
            | Error::Busy
            | Error::Stopping
            | Error::Config(_) => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Error {
        Error::Store(source)
    }
}
