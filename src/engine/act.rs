//! What a person asks of one message, as one step in its life.
//!
//! # What holds
//!
//! * Only [`advance`] decides what is permitted; a refusal changes nothing.
//! * A new series of attempts begins where a person sends, edits or releases; the attempts of before stay counted and kept.
//!
//! # What it does not know
//!
//! Who asks, over what, and how it is written.

use super::words::{Act, By, Destination};
use crate::error::Error;
use crate::model::{Event, Place, Queued, Record, State, WallMs, advance};
use crate::store::{Amendment, Expect, Move};

/// What an act comes to.
pub(super) enum Plan {
    /// A step in the life of the message.
    Step(Box<Move>),
    /// Its end in the registry.
    Delete(Place),
}

/// The step that an act means for a message that is not out. Where nobody knows whether its destination has it, an edit holds it too: what is
/// there would be the old body.
///
/// # Errors
/// [`Error::Refused`], [`Error::Stale`] or [`Error::Invalid`]; nothing has changed then.
pub(super) fn plan(
    record: &Record,
    asked: &By<Act>,
    rules: Option<&Destination>,
    is_in_doubt: bool,
    now: WallMs,
) -> Result<Plan, Error> {
    let mut amend = None;
    let event = match &asked.what {
        Act::Edit { body, content_type, read } => {
            if let Some(read) = (*read).filter(|read| *read != record.revision) {
                return Err(Error::Stale { id: record.id, read, stored: record.revision });
            }
            if record.revision == u16::MAX {
                return Err(Error::Invalid(format!("message {} has been edited as often as can be", record.id)));
            }
            amend = Some(Amendment {
                body: body.clone(),
                content_type: content_type.clone(),
                who: asked.who.to_string(),
                why: asked.why.clone(),
            });
            Event::Amend
        }
        // By now it is an edit like any other.
        Act::EditField(field) => return Err(Error::Invalid(format!("the field {field} was not read"))),
        Act::Hold => Event::Hold,
        Act::Release => Event::Release(now),
        Act::Resend(Queued::NextCycle) if rules.is_some_and(|rules| rules.cycle.is_none()) => {
            let words = format!("destination {:?} has no cycle to wait for", record.envelope.destination);
            return Err(Error::Invalid(words));
        }
        Act::Resend(when) => Event::Resend(*when),
        Act::Arrived => Event::Arrived,
        Act::Cancel => Event::Cancel,
        Act::Delete => return Ok(Plan::Delete(record.place)),
    };
    let holds = is_in_doubt && amend.is_some();
    let from = if holds { advance(record.state, Event::Hold) } else { Ok(record.state) };
    let to = from.and_then(|from| advance(from, event));
    let to = to.map_err(|illegal| Error::Refused { id: record.id, illegal })?;
    if amend.is_some() || matches!(event, Event::Resend(_)) {
        require_body(record, amend.is_some())?;
    }
    Ok(Plan::Step(Box::new(Move {
        place: record.place,
        expect: Expect { state: record.state, attempts: record.attempts, revision: record.revision },
        to,
        by: None,
        attempts: record.attempts,
        series: if begins_anew(event) { 0 } else { record.series },
        attempt: None,
        amend,
        untold: false,
    })))
}

fn require_body(record: &Record, has_new_body: bool) -> Result<(), Error> {
    if has_new_body || record.body_bytes.is_some() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the body of message {} was removed after its time; give a new one with edit",
        record.id
    )))
}

fn begins_anew(event: Event) -> bool {
    match event {
        Event::Amend | Event::Resend(_) | Event::Release(_) => true,
        Event::Claim(_)
        | Event::Delivered
        | Event::Retry(_)
        | Event::GiveUp(_)
        | Event::Hold
        | Event::Arrived
        | Event::Cancel
        | Event::Supersede(_)
        | Event::Expire => false,
    }
}

/// The step of a message whose deadline passed; `None` where it has reached its end already.
pub(super) fn expire(record: &Record) -> Option<Move> {
    let to: State = advance(record.state, Event::Expire).ok()?;
    Some(Move {
        place: record.place,
        expect: Expect { state: record.state, attempts: record.attempts, revision: record.revision },
        to,
        by: None,
        attempts: record.attempts,
        series: record.series,
        attempt: None,
        amend: None,
        untold: super::settle::must_be_told(to),
    })
}
