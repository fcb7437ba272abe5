//! Pauses: destinations to which nothing is sent until somebody says so, or a probe arrives.
//!
//! What comes in meanwhile is kept, and waits as it was; what is out comes home.
//!
//! # What holds
//!
//! * A pause outlives the process: it is a note of the store, written before anybody hears of it.
//! * A set-up that looks broken (a name, a certificate, a credential, an address) pauses its destination after [`FAULTS_MAX`] faults in a row, and
//!   uses up no message's attempts but the first one's. It is tried with one message from time to time, and goes on by itself when that arrives.
//! * What a person paused, and what says that it is gone for good, waits for a person.
//!
//! # What it does not know
//!
//! Who waits in which order, and how notes are written.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::gate::is_ours;
use super::pending::{Steer, Steered};
use super::words::{By, Destination, Hand, WHY_BYTES_MAX};
use crate::error::Error;
use crate::model::{Class, Outcome, WallMs, codec};
use crate::store::{Dest, Note, Store, StoreError};

/// Why and since when nothing is sent to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What it came from.
    pub cause: Cause,
    /// Who paused it; empty where goniec did.
    pub who: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub at: WallMs,
}

/// What a pause came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A person wanted it.
    Person,
    /// Its set-up looks broken.
    SetUp,
    /// It says that it is gone for good.
    Gone,
}

/// The first byte of the keys of pauses.
const KIND: u8 = b'p';

impl Cause {
    /// As the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cause::Person => "person",
            Cause::SetUp => "set-up",
            Cause::Gone => "gone",
        }
    }
}

/// What a person asked for, as it is done.
///
/// # Errors
/// [`Error::Invalid`]: there is no cycle.
pub(super) fn steer(hand: &By<Hand>, rules: &Destination, now: WallMs) -> Result<Steer, Error> {
    let By { what, who, why } = hand;
    match what {
        Hand::Pause => {
            let (who, why) = (who.to_string(), why.clone());
            Ok(Steer::Pause(Some(Pause { cause: Cause::Person, who, why, at: now })))
        }
        Hand::Resume => Ok(Steer::Pause(None)),
        Hand::Cycle if rules.cycle.is_none() => {
            Err(Error::Invalid(format!("destination {:?} has no cycle", rules.name)))
        }
        Hand::Cycle => Ok(Steer::Cycle),
    }
}

/// The notes of what is done with destinations: that they are paused, or are not.
pub(super) fn notes(steered: &[Steered]) -> Vec<Note> {
    let note = |Steered { dest, steer, .. }: &Steered| match steer {
        Steer::Pause(pause) => {
            // What is short and ours can always be written.
            let value = pause.as_ref().and_then(|pause| codec::encode(pause).ok()).unwrap_or_default();
            Some(Note { key: [&[KIND][..], &dest.0.to_be_bytes()].concat(), value })
        }
        Steer::Cycle => None,
    };
    steered.iter().filter_map(note).collect()
}

/// Pauses by destination.
type Known = Vec<(Dest, Pause)>;

/// The pauses that the store knows of, and what of them cannot be read.
///
/// # Errors
/// What hinders the read.
pub(super) fn known(store: &dyn Store) -> Result<(Known, Option<String>), StoreError> {
    let mut known = Vec::new();
    let read = store.notes(&[KIND], &mut |key, value| {
        let number = key.get(1..).and_then(|number| <[u8; 2]>::try_from(number).ok());
        if let Some(number) = number {
            // What cannot be read was a pause all the same: nobody said that it ended.
            let unknown = || Pause { cause: Cause::Person, who: String::new(), why: "?".into(), at: WallMs(0) };
            known.push((Dest(u16::from_be_bytes(number)), codec::decode(value).unwrap_or_else(|_| unknown())));
        }
    });
    match read {
        Ok(()) => Ok((known, None)),
        Err(StoreError::Damaged(why)) => Ok((known, Some(why))),
        Err(error) => Err(error),
    }
}

/// How many faults of the set-up in a row pause a destination.
const FAULTS_MAX: u16 = 5;
/// How long after it was paused for its set-up a destination is first tried again, and how long at most between two tries.
pub(super) const PROBE_MS: u64 = 60_000;
pub(super) const PROBE_MS_MAX: u64 = 16 * PROBE_MS;

/// Counts, by destination, the faults of its set-up in a row.
#[derive(Debug, Default)]
pub(super) struct Watch {
    in_a_row: HashMap<Dest, u16>,
}

/// What an outcome means for its destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The attempt is none of the message's own: it would have failed for any.
    pub(super) is_free: bool,
    /// From now on it is paused, or is not.
    pub(super) change: Option<Option<Pause>>,
}

impl Watch {
    /// Hears how an attempt ended, at a destination that is paused for this reason, if it is.
    pub(super) fn hear(&mut self, dest: Dest, outcome: &Outcome, paused: Option<Cause>, now: WallMs) -> Heard {
        let pause = |cause, why: &str| Some(Some(Pause { cause, who: String::new(), why: cut(why), at: now }));
        match outcome {
            Outcome::Failed(failure) if is_ours(failure) => Heard::default(),
            Outcome::Failed(failure) if failure.class == Class::Gone => {
                let is_news = paused.is_none_or(|cause| cause == Cause::SetUp);
                Heard { is_free: false, change: if is_news { pause(Cause::Gone, &failure.detail) } else { None } }
            }
            Outcome::Failed(failure) if is_of_set_up(failure.class) => {
                let in_a_row = self.in_a_row.entry(dest).or_default();
                let is_free = *in_a_row > 0 || paused == Some(Cause::SetUp);
                *in_a_row = in_a_row.saturating_add(1);
                let is_news = *in_a_row >= FAULTS_MAX && paused.is_none();
                Heard { is_free, change: if is_news { pause(Cause::SetUp, &failure.detail) } else { None } }
            }
            // Nobody answered: that says nothing of the set-up.
            Outcome::Failed(failure) if failure.status.is_none() => Heard::default(),
            Outcome::Delivered(_) | Outcome::Failed(_) => {
                self.in_a_row.remove(&dest);
                Heard { is_free: false, change: (paused == Some(Cause::SetUp)).then_some(None) }
            }
        }
    }

    /// Forgets what it counted of a destination: a person lets it go on.
    pub(super) fn forget(&mut self, dest: Dest) {
        self.in_a_row.remove(&dest);
    }
}

/// Whether a failure of this class is one of the set-up, and would be the same for every message.
fn is_of_set_up(class: Class) -> bool {
    match class {
        Class::Setup | Class::Tls | Class::Dns | Class::Auth => true,
        Class::Connect
        | Class::Timeout
        | Class::Protocol
        | Class::RateLimited
        | Class::Rejected
        | Class::Server
        | Class::Redirect
        | Class::Interrupted
        | Class::Panic
        | Class::Other
        | Class::Gone
        | Class::Conflict
        | Class::Body
        | Class::Rule
        | Class::Template => false,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(WHY_BYTES_MAX / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Receipt, Sent};

    const ERP: Dest = Dest(3);
    const NOW: WallMs = WallMs(7);

    fn failed(class: Class, status: Option<u16>) -> Outcome {
        Outcome::Failed(Failure { status, ..Failure::new(class, Sent::Answered, "no") })
    }

    #[test]
    fn five_faults_of_the_set_up_in_a_row_pause_and_use_up_one_attempt() {
        let mut watch = Watch::default();
        let fault = || failed(Class::Setup, Some(401));
        for turn in 1..=5 {
            let heard = watch.hear(ERP, &fault(), None, NOW);
            assert_eq!((heard.is_free, heard.change.is_some()), (turn > 1, turn == 5), "turn {turn}");
        }
        let paused = Some(Cause::SetUp);
        assert_eq!(watch.hear(ERP, &fault(), paused, NOW), Heard { is_free: true, change: None });
        let refused = failed(Class::Connect, None);
        assert_eq!(watch.hear(ERP, &refused, paused, NOW), Heard::default(), "that it cannot be reached says nothing");
        let arrived = Outcome::Delivered(Receipt::default());
        assert_eq!(watch.hear(ERP, &arrived, paused, NOW), Heard { is_free: false, change: Some(None) });
        assert!(!watch.hear(ERP, &fault(), None, NOW).is_free, "it counts from the beginning");
    }

    #[test]
    fn an_answer_in_between_breaks_the_row_and_another_destination_does_not() {
        let mut watch = Watch::default();
        for turn in 0..50 {
            assert_eq!(watch.hear(ERP, &failed(Class::Setup, Some(404)), None, NOW).change, None, "turn {turn}");
            watch.hear(Dest(4), &Outcome::Delivered(Receipt::default()), None, NOW);
            if turn % 4 == 3 {
                watch.hear(ERP, &failed(Class::Rejected, Some(422)), None, NOW);
            }
        }
    }

    #[test]
    fn what_is_gone_is_paused_at_once_and_waits_for_a_person() {
        let mut watch = Watch::default();
        let gone = || failed(Class::Gone, Some(410));
        let Some(Some(pause)) = watch.hear(ERP, &gone(), None, NOW).change else { panic!("it is paused") };
        assert_eq!((pause.cause, pause.at), (Cause::Gone, NOW));
        let paused = Some(Cause::Gone);
        assert_eq!(watch.hear(ERP, &gone(), paused, NOW).change, None);
        assert_eq!(watch.hear(ERP, &Outcome::Delivered(Receipt::default()), paused, NOW).change, None);
        assert_eq!(watch.hear(ERP, &gone(), Some(Cause::Person), NOW).change, None);
    }
}
