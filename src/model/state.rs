//! The life of a message: every state, every event, and the one function that joins them.
//!
//! [`advance`] permits or refuses; [`judge`](super::policy::judge) decides what to ask for. The payload sits in the variants, so that a
//! retry without a due time or an abandonment without a reason cannot be written.
//!
//! # What holds
//!
//! * The match in [`advance`] has no `_` arm: a new state or event asks its question at compile time.
//! * `docs/states.md` is printed from [`table`], and a test fails when it is stale.
//! * Coming due is no event: a ripe `Failed` is claimed directly.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::Id;
use super::time::WallMs;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Accepted, and not tried since it was accepted, amended or resent.
    Queued(Queued),
    /// Out: the attempt of this number is under way.
    Sending(u16),
    /// The destination has it.
    Delivered,
    /// The last attempt failed, and there will be another.
    Failed(Failed),
    /// Rests undelivered, for a reason.
    Abandoned(Abandoned),
}

/// What a queued message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Queued {
    /// Nothing: it goes as soon as its destination's lane takes it.
    Ready,
    /// A time that its sender or an administrator set.
    NotBefore(WallMs),
    /// The destination's next sync cycle.
    NextCycle,
    /// A person.
    Held,
}

/// What a failed message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failed {
    /// The time of its next attempt.
    Due(WallMs),
    /// The destination's next sync cycle.
    NextCycle,
    /// A person.
    Held,
}

/// Why a message rests undelivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abandoned {
    /// Every permitted attempt failed.
    Exhausted,
    /// The destination refused it in a way that another attempt would not change.
    Rejected,
    /// Its deadline passed.
    Expired,
    /// A newer message of its key took its place.
    Superseded(Id),
    /// An administrator cancelled it.
    Cancelled,
}

/// What may happen to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A worker takes it out as the attempt of this number.
    Claim(u16),
    /// The attempt ended and the destination has it.
    Delivered,
    /// The attempt failed and another will follow.
    Retry(Failed),
    /// The attempt failed and no other will follow.
    GiveUp(Abandoned),
    /// A person stops it.
    Hold,
    /// A person lets it go on, now.
    Release(WallMs),
    /// A person or a probe knows that the destination has it.
    Arrived,
    /// A person changed its body.
    Amend,
    /// A person wants it sent (again).
    Resend(Queued),
    /// A person gives it up.
    Cancel,
    /// A newer message of its key takes its place.
    Supersede(Id),
    /// Its deadline passed.
    Expire,
}

/// An event that the state does not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal {
    /// Where the message stood.
    pub state: State,
    /// What was asked of it.
    pub event: Event,
}

/// The whole life: where `event` takes a message that stands at `state`.
///
/// # Errors
///
/// [`Illegal`] where the state does not admit the event; nothing has changed then.
pub fn advance(state: State, event: Event) -> Result<State, Illegal> {
    use Event as E;
    use State as S;
    match (state, event) {
        (S::Queued(_) | S::Failed(_), E::Claim(attempt)) => Ok(S::Sending(attempt)),

        (S::Sending(_), E::Delivered) => Ok(S::Delivered),
        (S::Sending(_), E::Retry(wait)) => Ok(S::Failed(wait)),
        (S::Sending(_), E::GiveUp(reason)) => Ok(S::Abandoned(reason)),

        (S::Queued(_), E::Hold) => Ok(S::Queued(Queued::Held)),
        (S::Failed(_), E::Hold) => Ok(S::Failed(Failed::Held)),
        (S::Queued(_), E::Release(_)) => Ok(S::Queued(Queued::Ready)),
        (S::Failed(_), E::Release(now)) => Ok(S::Failed(Failed::Due(now))),
        (S::Failed(_) | S::Abandoned(_), E::Arrived) => Ok(S::Delivered),

        // A hold is a person's word; changing the body does not take it back.
        (S::Queued(wait), E::Amend) => Ok(S::Queued(wait)),
        (S::Failed(Failed::Held), E::Amend) => Ok(S::Queued(Queued::Held)),
        (S::Failed(Failed::Due(_) | Failed::NextCycle) | S::Abandoned(_), E::Amend) => Ok(S::Queued(Queued::Ready)),
        (S::Queued(_) | S::Delivered | S::Failed(_) | S::Abandoned(_), E::Resend(when)) => Ok(S::Queued(when)),

        (S::Queued(_) | S::Failed(_), E::Cancel) => Ok(S::Abandoned(Abandoned::Cancelled)),
        (S::Queued(_) | S::Failed(_), E::Supersede(by)) => Ok(S::Abandoned(Abandoned::Superseded(by))),
        (S::Queued(_) | S::Failed(_), E::Expire) => Ok(S::Abandoned(Abandoned::Expired)),

        (S::Queued(_), E::Delivered | E::Retry(_) | E::GiveUp(_) | E::Arrived)
        | (
            S::Sending(_),
            E::Claim(_)
            | E::Hold
            | E::Release(_)
            | E::Arrived
            | E::Amend
            | E::Resend(_)
            | E::Cancel
            | E::Supersede(_)
            | E::Expire,
        )
        | (
            S::Delivered,
            E::Claim(_)
            | E::Delivered
            | E::Retry(_)
            | E::GiveUp(_)
            | E::Hold
            | E::Release(_)
            | E::Arrived
            | E::Amend
            | E::Cancel
            | E::Supersede(_)
            | E::Expire,
        )
        | (S::Failed(_), E::Delivered | E::Retry(_) | E::GiveUp(_))
        | (
            S::Abandoned(_),
            E::Claim(_)
            | E::Delivered
            | E::Retry(_)
            | E::GiveUp(_)
            | E::Hold
            | E::Release(_)
            | E::Cancel
            | E::Supersede(_)
            | E::Expire,
        ) => Err(Illegal { state, event }),
    }
}

impl State {
    /// Whether nothing more will happen to the message by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            State::Delivered | State::Abandoned(_) => true,
            State::Queued(_) | State::Sending(_) | State::Failed(_) => false,
        }
    }

    /// The state's name, as the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Queued(_) => "queued",
            State::Sending(_) => "sending",
            State::Delivered => "delivered",
            State::Failed(_) => "failed",
            State::Abandoned(_) => "abandoned",
        }
    }

    /// Why an abandoned message rests, as the interface spells it.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            State::Abandoned(reason) => Some(reason.name()),
            State::Queued(_) | State::Sending(_) | State::Delivered | State::Failed(_) => None,
        }
    }

    /// When the message is due, where it waits for a time.
    #[must_use]
    pub fn due(self) -> Option<WallMs> {
        match self {
            State::Queued(Queued::NotBefore(at)) | State::Failed(Failed::Due(at)) => Some(at),
            State::Queued(Queued::Ready | Queued::NextCycle | Queued::Held)
            | State::Failed(Failed::NextCycle | Failed::Held)
            | State::Sending(_)
            | State::Delivered
            | State::Abandoned(_) => None,
        }
    }

    /// Whether it waits for a person.
    #[must_use]
    pub fn is_held(self) -> bool {
        matches!(self, State::Queued(Queued::Held) | State::Failed(Failed::Held))
    }
}

impl Abandoned {
    /// Whether the message came to rest by its failures: not where a person or a newer message ended it.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired => true,
            Abandoned::Superseded(_) | Abandoned::Cancelled => false,
        }
    }

    /// The reason, as the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Abandoned::Exhausted => "exhausted",
            Abandoned::Rejected => "rejected",
            Abandoned::Expired => "expired",
            Abandoned::Superseded(_) => "superseded",
            Abandoned::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            State::Queued(Queued::Held) | State::Failed(Failed::Held) => f.write_str(" (held)"),
            State::Queued(Queued::NextCycle) | State::Failed(Failed::NextCycle) => f.write_str(" (next cycle)"),
            State::Sending(attempt) => write!(f, " (attempt {attempt})"),
            State::Abandoned(reason) => write!(f, " ({})", reason.name()),
            State::Queued(Queued::Ready | Queued::NotBefore(_)) | State::Delivered | State::Failed(Failed::Due(_)) => {
                Ok(())
            }
        }
    }
}

impl Event {
    /// The event's name: the column heads of the table, and the words of a refusal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Event::Claim(_) => "claim",
            Event::Delivered => "delivered",
            Event::Retry(_) => "failed, retry",
            Event::GiveUp(_) => "failed, give up",
            Event::Hold => "hold",
            Event::Release(_) => "release",
            Event::Arrived => "arrived",
            Event::Amend => "amend",
            Event::Resend(_) => "resend",
            Event::Cancel => "cancel",
            Event::Supersede(_) => "supersede",
            Event::Expire => "expire",
        }
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not admit {}", self.state, self.event.name())
    }
}

impl std::error::Error for Illegal {}

/// The table of `docs/states.md`, printed from [`advance`] itself: a row a state, a column an event.
#[must_use]
pub fn table() -> String {
    let by = Id::from_bytes([0; 16]);
    let states = [
        State::Queued(Queued::Ready),
        State::Sending(1),
        State::Delivered,
        State::Failed(Failed::Due(WallMs(0))),
        State::Abandoned(Abandoned::Exhausted),
    ];
    let events = [
        Event::Claim(1),
        Event::Delivered,
        Event::Retry(Failed::Due(WallMs(0))),
        Event::GiveUp(Abandoned::Exhausted),
        Event::Hold,
        Event::Release(WallMs(0)),
        Event::Arrived,
        Event::Amend,
        Event::Resend(Queued::Ready),
        Event::Cancel,
        Event::Supersede(by),
        Event::Expire,
    ];
    let mut text = String::from("| |");
    for event in events {
        text.push_str(&format!(" {} |", event.name()));
    }
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(events.len())));
    for state in states {
        text.push_str(&format!("| {} |", title(state)));
        for event in events {
            let cell = match advance(state, event) {
                Ok(next) if next.is_held() => format!("{} (held)", title(next)),
                Ok(State::Abandoned(reason)) => format!("Abandoned ({})", reason.name()),
                Ok(next) => title(next).to_owned(),
                Err(Illegal { .. }) => "-".to_owned(),
            };
            text.push_str(&format!(" {cell} |"));
        }
        text.push('\n');
    }
    text
}

fn title(state: State) -> &'static str {
    match state {
        State::Queued(_) => "Queued",
        State::Sending(_) => "Sending",
        State::Delivered => "Delivered",
        State::Failed(_) => "Failed",
        State::Abandoned(_) => "Abandoned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_states_is_the_table_of_the_code() {
        let page = include_str!("../../docs/states.md");
        assert!(page.contains(&table()), "docs/states.md is stale; its table is now:\n{}", table());
    }

    #[test]
    fn a_hold_survives_an_edit() {
        for held in [State::Queued(Queued::Held), State::Failed(Failed::Held)] {
            assert_eq!(advance(held, Event::Amend), Ok(State::Queued(Queued::Held)));
        }
    }

    #[test]
    fn nothing_but_the_end_of_its_attempt_moves_a_message_that_is_out() {
        let out = State::Sending(3);
        for event in [
            Event::Hold,
            Event::Release(WallMs(1)),
            Event::Arrived,
            Event::Amend,
            Event::Resend(Queued::Ready),
            Event::Cancel,
            Event::Expire,
        ] {
            assert_eq!(advance(out, event), Err(Illegal { state: out, event }));
        }
    }
}
