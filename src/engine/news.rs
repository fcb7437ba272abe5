//! What the scheduler hears, and what it says shall be done.
//!
//! # What it does not know
//!
//! Who tells, and who does it.

use super::gate::Ended;
use super::lane::Entry;
use crate::model::breaker::Turned;
use crate::model::{Place, Queued, State, WallMs};
use crate::store::{Dest, Loaded};

/// Something durable that concerns the order of things to do.
#[derive(Debug)]
pub(super) enum News {
    /// A message was accepted.
    Accepted {
        /// The message.
        who: Who,
        /// What it waits for.
        wait: Queued,
        /// When it is of no more use.
        deadline: Option<WallMs>,
        /// Whether it awaits keys, whatever it waits for then.
        awaits: bool,
        /// The message itself, so that a lane that keeps up need not read it back.
        fresh: Option<Loaded>,
    },
    /// A claim was written; it may be sent now.
    Claimed(Delivery),
    /// An attempt ended, and this is what became of the message.
    Settled {
        /// The message.
        who: Who,
        /// What it is now.
        state: State,
    },
    /// An attempt ended so: what it says of the destination.
    Ended(Dest, Ended),
    /// A person has steered a destination: whether something goes is to be asked anew.
    Steered,
    /// A claim came to nothing: the message is not there any more.
    Void(Who),
    /// A message that was out cannot be read or written now; it waits a while, and holds back the later ones of its key.
    SetBack(Who),
    /// A message whose deadline passed, this one, and that cannot be given up now.
    Unexpired(Who, WallMs),
    /// Somebody changed a message that was reserved.
    Changed {
        /// The message.
        who: Who,
        /// What it is now; `None` where it is gone or final already.
        state: Option<State>,
        /// When it is of no more use, where that still binds it.
        deadline: Option<WallMs>,
        /// Whether it still awaits keys.
        awaits: bool,
    },
    /// It was refused together with others: it goes alone from now on.
    Alone(Who),
    /// All keys that the message at this place awaited are met.
    Met(Dest, Place),
    /// A reservation ended without a change.
    Unchanged(Who),
}

/// A message, as the scheduler knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who {
    /// Its lane.
    pub(super) dest: Dest,
    /// Its place and the hash of its key.
    pub(super) entry: Entry,
}

/// What shall be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this now.
    Send(Parcel),
    /// Write down that this goes out, before it does.
    Claim(Parcel),
    /// Say that a destination is left alone, or asked again.
    Turned(Dest, Turned),
    /// Give this message up: its deadline passed, this one.
    Expire(Who, WallMs),
    /// A message that is home without success is to give its place to the other, which is newer: its attempt may have ended before that was known.
    Supersede(Dest, Place, Place),
}

/// What goes out as one request.
#[derive(Debug)]
pub(super) enum Parcel {
    /// A message by itself.
    One(Delivery),
    /// A batch: one message or several of one lane, never none.
    Batch(Vec<Delivery>),
}

impl Parcel {
    /// What is in it.
    pub(super) fn deliveries(&self) -> &[Delivery] {
        match self {
            Parcel::One(delivery) => std::slice::from_ref(delivery),
            Parcel::Batch(deliveries) => deliveries,
        }
    }

    /// The same, taken out.
    pub(super) fn into_deliveries(self) -> Vec<Delivery> {
        match self {
            Parcel::One(delivery) => vec![delivery],
            Parcel::Batch(deliveries) => deliveries,
        }
    }

    /// Its lane.
    pub(super) fn dest(&self) -> Option<Dest> {
        self.deliveries().first().map(|delivery| delivery.who.dest)
    }
}

/// A message on its way to a worker.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The message.
    pub(super) who: Who,
    /// The message itself, where it is at hand.
    pub(super) loaded: Option<Loaded>,
    /// Nobody knows whether it is there already: the destination is asked before it goes.
    pub(super) is_in_doubt: bool,
}
