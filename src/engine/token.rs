//! Tokens of the registry: who may call, made and revoked while the node runs.
//!
//! ```text
//! note 't' + name   name, role, SHA-256 of the token, by whom and since when, until when; in JSON
//! ```
//!
//! # What holds
//!
//! * The token itself is kept nowhere: what is written down recognises it, and does not tell it.
//! * A token opens from when its note is durable, and no longer once its revocation is.
//! * Where there are tokens the node is shut, also where none of them can be read or all have expired.
//! * Whoever can come in can let others in: the first token is that of an admin and without an end, and the last such one stays while there are
//!   others.
//! * A token that cannot be read opens nothing and hides no other; it can be revoked by its name.
//!
//! # What it does not know
//!
//! What a role may do, and the tokens of the configuration beyond what it is told with each request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::audit::{Deed, Target};
use super::registry::Registry;
use super::request::Request;
use super::words::{By, Reply};
use crate::error::Error;
use crate::model::WallMs;
use crate::model::chain::Link;
use crate::model::role::Role;
use crate::store::{Note, StoreError};

/// The first byte of the keys of tokens.
const KIND: u8 = b't';
/// Tokens at once: each call is compared with all of them.
const TOKENS_MAX: usize = 256;
/// The longest name of one.
const NAME_BYTES_MAX: usize = 64;

/// A token of the registry, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whom changes are ascribed to.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    digest: Link,
    /// Who made it.
    pub made_by: String,
    /// Since when.
    pub made_at: WallMs,
    /// Until when, by the wall clock.
    pub expires_at: Option<WallMs>,
}

/// What opens the node besides, and is not kept here: the tokens of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Their names.
    pub names: Vec<String>,
    /// Whether one of them is an admin's.
    pub has_admin: bool,
    /// Whether the node may be without any token: only this machine can call it.
    pub may_be_open: bool,
}

/// What becomes of a token.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Make(Grant),
    Revoke(String),
}

/// What somebody asks of the tokens.
pub(super) struct Asked {
    change: Change,
    who: String,
    beside: Beside,
}

/// The tokens by their names; `None` is one that cannot be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    known: BTreeMap<String, Option<Grant>>,
    /// Whether there may be more than can be read.
    is_damaged: bool,
}

impl Grant {
    /// A token that is to be made, of which only the SHA-256 is given away.
    ///
    /// # Errors
    /// The name is none: one line that says what is expected.
    pub fn new(name: &str, role: Role, digest: [u8; 32], expires_at: Option<WallMs>) -> Result<Grant, String> {
        let is_sound = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
        let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_sound);
        if !is_name || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "the name of a token is 1 to {NAME_BYTES_MAX} letters and digits of ASCII, or any of . - _ @ behind the first"
            ));
        }
        let (name, digest) = (name.to_owned(), Link::from(digest));
        Ok(Grant { name, role, digest, made_by: String::new(), made_at: WallMs(0), expires_at })
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: WallMs) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether its bearer can let others in for good.
    fn keeps(&self) -> bool {
        self.role == Role::Admin && self.expires_at.is_none()
    }
}

impl Change {
    /// Says in the log what has become of a token.
    pub(super) fn say(&self) {
        match self {
            Change::Make(Grant { name, role, made_by, .. }) => {
                log::info!("token {name:?} of the role {} is made by {made_by:?}", role.name());
            }
            Change::Revoke(name) => log::info!("token {name:?} is revoked"),
        }
    }

    pub(super) fn note(&self) -> Note {
        let key = |name: &str| [&[KIND][..], name.as_bytes()].concat();
        match self {
            // What is short and ours can always be written.
            Change::Make(grant) => Note { key: key(&grant.name), value: serde_json::to_vec(grant).unwrap_or_default() },
            // Taken back, not dropped: a salvage must not find it again.
            Change::Revoke(name) => Note { key: key(name), value: Vec::new() },
        }
    }
}

impl Tokens {
    /// Those that the store knows. What cannot be read is set aside.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn open(registry: &Registry) -> Result<Tokens, StoreError> {
        let mut tokens = Tokens::default();
        let mut broken = Vec::new();
        let read = registry.store.notes(&[KIND], &mut |key, value| {
            let Ok(name) = String::from_utf8(key.get(1..).unwrap_or_default().to_vec()) else {
                tokens.is_damaged = true;
                return broken.push(format!("the token at {key:?}, which opens nothing, has no name"));
            };
            let grant = serde_json::from_slice(value).ok().filter(|grant: &Grant| grant.name == name);
            if grant.is_none() {
                broken.push(format!("the token {name:?}, which opens nothing, cannot be read"));
            }
            tokens.known.insert(name, grant);
        });
        match read {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => {
                tokens.is_damaged = true;
                broken.push(format!("a token, which opens nothing: {what}"));
            }
            Err(error) => return Err(error),
        }
        registry.set_aside(broken);
        Ok(tokens)
    }

    /// The token that has this SHA-256. Every one is compared.
    fn find(&self, digest: [u8; 32]) -> Option<&Grant> {
        let digest = Link::from(digest);
        self.known.values().flatten().fold(None, |found, grant| (grant.digest == digest).then_some(grant).or(found))
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty() && !self.is_damaged
    }

    /// What was written counts from now on.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Make(grant) => drop(self.known.insert(grant.name.clone(), Some(grant.clone()))),
            Change::Revoke(name) => drop(self.known.remove(name)),
        }
    }

    /// What is asked, as it is done, and how the audit log tells it.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoToken`]
    pub(super) fn plan(&self, asked: &Asked, now: WallMs) -> Result<(Change, Deed), Error> {
        let Asked { change, who, beside } = asked;
        match change {
            Change::Make(grant) => {
                self.check_make(grant, beside)?;
                let until = grant.expires_at.map(|at| format!(", until {}", at.rfc3339())).unwrap_or_default();
                let detail = format!("role {}{until}", grant.role.name());
                let deed = Deed { detail, ..Deed::new(who, "token-new", Target::Token(grant.name.clone())) };
                Ok((Change::Make(Grant { made_by: who.clone(), made_at: now, ..grant.clone() }), deed))
            }
            Change::Revoke(name) => {
                self.check_revoke(name, beside)?;
                Ok((change.clone(), Deed::new(who, "token-revoke", Target::Token(name.clone()))))
            }
        }
    }

    fn check_make(&self, grant: &Grant, beside: &Beside) -> Result<(), Error> {
        let name = &grant.name;
        if self.known.contains_key(name) || beside.names.contains(name) {
            return kept(format!("there is a token of the name {name:?}"), "Choose another name, or revoke that one.");
        }
        if self.known.len() >= TOKENS_MAX {
            return kept(format!("there are {TOKENS_MAX} tokens, as many as may be"), "Revoke one that nobody uses.");
        }
        if self.is_empty() && beside.names.is_empty() && !grant.keeps() {
            let why = "the first token shuts the node, so it must be that of an admin and never expire";
            return kept(why, "Make one of the role admin without an end first; with it, make this one.");
        }
        Ok(())
    }

    fn check_revoke(&self, name: &str, beside: &Beside) -> Result<(), Error> {
        let is_configured = || beside.names.iter().any(|configured| configured == name);
        let revoked = match self.known.get(name) {
            Some(revoked) => revoked,
            None if is_configured() => {
                let why = format!("the token {name:?} is one of the configuration");
                return kept(why, "Take it out of `tokens` in [server] (or --token away) and start the node again.");
            }
            None => return Err(Error::NoToken(name.chars().take(64).collect())),
        };
        let is_alone = self.known.len() == 1 && !self.is_damaged && beside.names.is_empty();
        if is_alone && !beside.may_be_open {
            let why = "without this last token anyone could call, and other machines can";
            return kept(why, "Make another one first, or listen on 127.0.0.1.");
        }
        let keeps = |grant: &Option<Grant>| grant.as_ref().is_some_and(Grant::keeps);
        let is_last = || self.known.values().filter(|grant| keeps(grant)).count() == 1;
        if !is_alone && keeps(revoked) && !beside.has_admin && is_last() {
            let why = format!("{name:?} is the last token of an admin that never expires, and there are others");
            return kept(why, "Make another one of the role admin first, or revoke the others.");
        }
        Ok(())
    }
}

fn kept(why: impl Into<String>, hint: &'static str) -> Result<(), Error> {
    Err(Error::Token { why: why.into(), hint })
}

impl Engine {
    /// Makes a token; durable when it is answered. Never blocks.
    pub fn make_token(&self, grant: Grant, who: &str, beside: Beside, reply: Reply<()>) {
        self.change_token(Change::Make(grant), who, beside, reply);
    }

    /// Revokes the token of this name; durable when it is answered. Never blocks.
    pub fn revoke_token(&self, name: &str, who: &str, beside: Beside, reply: Reply<()>) {
        self.change_token(Change::Revoke(name.to_owned()), who, beside, reply);
    }

    fn change_token(&self, change: Change, who: &str, beside: Beside, reply: Reply<()>) {
        match (By { what: (), who: who.into(), why: String::new() }).check() {
            Ok(()) => self.shared.hand_in(Request::Token(Asked { change, who: who.to_owned(), beside }, reply), false),
            Err(error) => reply(Err(error)),
        }
    }

    /// The token of the registry that has this SHA-256; its time may be over.
    #[must_use]
    pub fn token(&self, digest: [u8; 32]) -> Option<Grant> {
        self.shared.registry.tokens().find(digest).cloned()
    }

    /// The tokens of the registry by their names; `None` for one that cannot be read.
    #[must_use]
    pub fn tokens(&self) -> Vec<(String, Option<Grant>)> {
        self.shared.registry.tokens().known.clone().into_iter().collect()
    }

    /// Whether the registry has tokens, be they of use or not.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.shared.registry.tokens().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMs = WallMs(1_000);

    fn grant(name: &str, role: Role, expires_at: Option<WallMs>) -> Grant {
        Grant::new(name, role, [7; 32], expires_at).expect("a name")
    }

    fn tokens(held: &[(&str, Role, Option<WallMs>)]) -> Tokens {
        let mut tokens = Tokens::default();
        held.iter().for_each(|(name, role, until)| tokens.apply(&Change::Make(grant(name, *role, *until))));
        tokens
    }

    fn is_done(tokens: &Tokens, change: Change, beside: &Beside) -> bool {
        let asked = Asked { change, who: "anna".into(), beside: beside.clone() };
        tokens.plan(&asked, NOW).inspect_err(|error| assert!(error.hint().is_some(), "{error} has a hint")).is_ok()
    }

    #[test]
    fn a_name_is_short_and_stands_in_an_address_as_it_is() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        for (name, is_one) in [("anna", true), ("a.b-c_d@e", true), (longest.as_str(), true), ("", false)] {
            assert_eq!(Grant::new(name, Role::Viewer, [0; 32], None).is_ok(), is_one, "{name:?}");
        }
        for name in ["..", "-a", "a/b", "a b", "ż", "a\n", &format!("{longest}x")] {
            assert!(Grant::new(name, Role::Viewer, [0; 32], None).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_first_token_is_that_of_an_admin_for_good_unless_the_configuration_has_one() {
        let open = Beside { may_be_open: true, ..Beside::default() };
        let configured = Beside { names: vec!["cfg".into()], ..Beside::default() };
        for role in Role::ALL {
            for until in [None, Some(WallMs(9_000))] {
                let make = || Change::Make(grant("a", role, until));
                assert_eq!(is_done(&Tokens::default(), make(), &open), role == Role::Admin && until.is_none());
                assert!(is_done(&Tokens::default(), make(), &configured));
                assert!(is_done(&tokens(&[("root", Role::Admin, None)]), make(), &open));
            }
        }
        let damaged = Tokens { is_damaged: true, ..Tokens::default() };
        assert!(is_done(&damaged, Change::Make(grant("a", Role::Viewer, None)), &open), "it is no longer the first");
        assert!(!damaged.is_empty(), "what cannot be read shuts the node, too");
    }

    #[test]
    fn a_name_is_given_once_and_there_is_an_end_to_tokens() {
        let configured = Beside { names: vec!["cfg".into()], ..Beside::default() };
        let mut full = tokens(&[("root", Role::Admin, None)]);
        for (name, is_free) in [("root", false), ("cfg", false), ("Root", true)] {
            assert_eq!(is_done(&full, Change::Make(grant(name, Role::Viewer, None)), &configured), is_free, "{name}");
        }
        (1..TOKENS_MAX).for_each(|n| full.apply(&Change::Make(grant(&format!("t{n}"), Role::Viewer, None))));
        assert!(!is_done(&full, Change::Make(grant("more", Role::Viewer, None)), &configured));
    }

    #[test]
    fn the_last_admin_and_the_last_token_stay_where_they_must() {
        const SOON: Option<WallMs> = Some(WallMs(9_000));
        let (open, shut) = (Beside { may_be_open: true, ..Beside::default() }, Beside::default());
        let admin = Beside { names: vec!["cfg".into()], has_admin: true, may_be_open: false };
        let other = Beside { has_admin: false, ..admin.clone() };
        let revoke = |tokens: &Tokens, beside| is_done(tokens, Change::Revoke("root".into()), beside);
        let one = tokens(&[("root", Role::Admin, None)]);
        assert_eq!([&open, &shut, &admin, &other].map(|beside| revoke(&one, beside)), [true, false, true, false]);
        let hidden = Tokens { is_damaged: true, ..one.clone() };
        assert!(!revoke(&hidden, &open), "there may be others");
        for (second, is_free) in
            [(("b", Role::Admin, None), true), (("b", Role::Admin, SOON), false), (("b", Role::Operator, None), false)]
        {
            let two = tokens(&[("root", Role::Admin, None), second]);
            assert_eq!(revoke(&two, &open), is_free, "{second:?}");
            assert!(is_done(&two, Change::Revoke("b".into()), &open), "{second:?}");
        }
        assert!(!is_done(&one, Change::Revoke("cfg".into()), &admin), "it is one of the configuration");
        let both = Beside { names: vec!["root".into()], ..admin.clone() };
        assert!(revoke(&one, &both), "that of the registry goes where both are called so");
    }

    #[test]
    fn only_the_whole_digest_finds_a_token_which_ends_in_time() {
        let held = tokens(&[("root", Role::Admin, Some(WallMs(1_001)))]);
        let grant = held.find([7; 32]).expect("it is there");
        assert_eq!([NOW, WallMs(1_001)].map(|now| grant.is_over(now)), [false, true]);
        let mut near = [7; 32];
        near[31] = 8;
        assert_eq!(held.find(near), None);
    }
}
