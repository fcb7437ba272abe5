//! Reading: one message, put together from its rows.
//!
//! Chunk numbers have no holes: from the floor up to the next chunk each has a status row. So a row that is not there is told from a message that
//! never was.
//!
//! # What it does not know
//!
//! Locks: callers see to it that no commit comes between the rows of one message.

use std::sync::Arc;

use super::entry::Entries;
use super::head::Head;
use super::layout::{Cursor, Edit, Fixed, Kept, Tree, damaged, decode, name, numbered_key, part_key, place_key};
use super::slot::{Arrival, Slot, Stat};
use super::trees::Trees;
use crate::model::{Abandoned, Attempt, Body, Delivery, Id, Message, Place, Record, Sent, State, codec};
use crate::store::{Loaded, Revision, StoreError};

/// The slots of a chunk; `None` where there is no such chunk (any more).
pub(super) fn stat(trees: &Trees, head: &Head, chunk: u64) -> Result<Option<Stat>, StoreError> {
    if chunk < head.floor || chunk >= head.next_chunk {
        return Ok(None);
    }
    let key = chunk.to_be_bytes();
    let stat = trees.chunk_row(Tree::Stat, chunk, |row| Stat::read(row.body))?;
    stat.map(Some).ok_or_else(|| damaged(Tree::Stat, &key, "it is missing"))
}

/// Where the message of this place stands; `None` if there is none.
pub(super) fn slot(trees: &Trees, head: &Head, place: Place) -> Result<Option<Slot>, StoreError> {
    Ok(stat(trees, head, place.chunk())?.and_then(|stat| stat.get(place.slot())))
}

/// What a chunk says of one message: the fixed part, and the body where it lies there.
struct First {
    fixed: Fixed,
    body: Option<Body>,
    kept: Kept,
    /// The message under whose place its parts lie, where it is in parts.
    owner: Place,
    body_bytes: u32,
}

fn first(trees: &Trees, place: Place, with_body: bool) -> Result<Option<First>, StoreError> {
    let key = place.chunk().to_be_bytes();
    let read = trees.chunk_row(Tree::Chunk, place.chunk(), |row| {
        let entry = Entries::one(row.body, place.slot())?;
        if entry.gone {
            return Some(None);
        }
        let body = (with_body && entry.kept == Kept::Inline).then(|| Body::from(entry.body));
        let fixed = if entry.fixed_in_parts { None } else { Some(decode::<Fixed>(entry.fixed)?) };
        let owner = entry.owner.map_or(place, |slot| Place::new(place.chunk(), slot));
        Some(Some((fixed, body, entry.kept, owner, entry.body_bytes)))
    })?;
    let Some(found) = read else { return Err(damaged(Tree::Chunk, &key, "it is missing")) };
    let Some((fixed, body, kept, owner, body_bytes)) = found else { return Ok(None) };
    let fixed = match fixed {
        Some(fixed) => fixed,
        None => {
            let bytes = parts(trees, place, 0, None)?;
            decode(&bytes).ok_or_else(|| damaged(Tree::Part, &part_key(place, 0, 0), "it is no envelope"))?
        }
    };
    Ok(Some(First { fixed, body, kept, owner, body_bytes }))
}

/// What never changes of the message at this place.
pub(super) fn fixed(trees: &Trees, place: Place) -> Result<Option<Fixed>, StoreError> {
    Ok(first(trees, place, false)?.map(|first| first.fixed))
}

/// The parts of a body or envelope, joined.
pub(super) fn parts(trees: &Trees, place: Place, revision: u16, bytes: Option<u32>) -> Result<Vec<u8>, StoreError> {
    let mut joined = Vec::new();
    let mut walk = trees.under(Tree::Part, &numbered_key(place, revision))?;
    let mut expected = 0_u16;
    while let Some(row) = walk.forth() {
        let (key, row) = row?;
        let row = trees.seal().unframe(Tree::Part, &key, &row)?;
        if *key != part_key(place, revision, expected) {
            break;
        }
        joined.extend_from_slice(row.body);
        expected = expected.saturating_add(1);
    }
    let complete = bytes.map_or(expected > 0, |bytes| u32::try_from(joined.len()) == Ok(bytes));
    if complete {
        Ok(joined)
    } else {
        let what = format!("{} bytes of it are left of {}", joined.len(), bytes.unwrap_or(0));
        Err(damaged(Tree::Part, &part_key(place, revision, expected), &what))
    }
}

/// An edit and, where it lies in the same row, its body.
pub(super) fn edit(trees: &Trees, place: Place, revision: u16) -> Result<Option<(Edit, Option<Body>)>, StoreError> {
    trees.row(Tree::Over, &numbered_key(place, revision), |row| read_edit(row.body))
}

/// An edit from the body of its row.
pub(super) fn read_edit(body: &[u8]) -> Option<(Edit, Option<Body>)> {
    let mut cursor = Cursor(body);
    let head = usize::try_from(cursor.u32()?).ok()?;
    let edit: Edit = decode(cursor.take(head)?)?;
    let inline = edit.kept == Kept::Inline;
    (!inline || u32::try_from(cursor.0.len()) == Ok(edit.body_bytes))
        .then(|| (edit, inline.then(|| Body::from(cursor.0))))
}

/// The edit that a slot says there is.
fn edit_of(trees: &Trees, place: Place, revision: u16) -> Result<(Edit, Option<Body>), StoreError> {
    edit(trees, place, revision)?
        .ok_or_else(|| damaged(Tree::Over, &numbered_key(place, revision), &format!("revision {revision} is missing")))
}

fn lost(place: Place) -> StoreError {
    damaged(Tree::Chunk, &place.chunk().to_be_bytes(), &format!("message {place} is not in it, and its status is"))
}

/// The message without its body.
pub(super) fn record(trees: &Trees, head: &Head, place: Place, slot: &Slot) -> Result<Record, StoreError> {
    let first = first(trees, place, false)?.ok_or_else(|| lost(place))?;
    let content_type = if slot.revision > 1 {
        edit_of(trees, place, slot.revision)?.0.content_type
    } else {
        first.fixed.envelope.content_type.clone()
    };
    let by = State::Abandoned(Abandoned::Superseded(first.fixed.id));
    let supersedes = match first.fixed.supersedes {
        // Where its successor was accepted while it was out, it may have arrived after all.
        Some(older) => match self::slot(trees, head, older)? {
            Some(of) if of.state == by => id_at(trees, head, older)?,
            Some(_) | None => None,
        },
        None => None,
    };
    Ok(Record {
        id: first.fixed.id,
        place,
        envelope: Arc::new(first.fixed.envelope),
        content_type,
        state: slot.state,
        attempts: slot.attempts,
        series: slot.series,
        revision: slot.revision,
        body_bytes: (!slot.flags.bodiless).then_some(u64::from(slot.body_bytes)),
        updated_at: slot.updated_at,
        last: slot.last,
        supersedes,
        remote_id: remote_id(trees, place, slot)?,
    })
}

/// What the destination calls a message that is delivered. Where it said so, the delivery is a row too.
pub(super) fn remote_id(trees: &Trees, place: Place, slot: &Slot) -> Result<Option<String>, StoreError> {
    if slot.state != State::Delivered || !slot.flags.attempts {
        return Ok(None);
    }
    let row = trees.row(Tree::Att, &numbered_key(place, slot.attempts), |row| read_attempt(row.body))?;
    Ok(row.and_then(|attempt| attempt.remote_id))
}

/// The delivery that a slot tells of, as an attempt.
pub(super) fn arrived(slot: &Slot, arrival: Arrival) -> Attempt {
    Attempt {
        number: slot.attempts,
        revision: arrival.revision,
        started_at: arrival.started_at,
        duration_ms: arrival.duration_ms,
        outcome: Delivery::Delivered,
        class: None,
        sent: Sent::Answered,
        status: slot.last.status,
        detail: String::new(),
        response_excerpt: None,
        remote_id: None,
        phases: arrival.phases,
    }
}

/// An attempt from the body of its row.
pub(super) fn read_attempt(body: &[u8]) -> Option<Attempt> {
    let (attempt, used) = codec::read::<Attempt>(body).ok()?;
    let rest = body.get(used..)?;
    if rest.is_empty() {
        return Some(attempt);
    }
    let (name, used) = codec::read::<String>(rest).ok()?;
    let rest = rest.get(used..)?;
    if rest.is_empty() {
        return Some(Attempt { remote_id: Some(name), ..attempt });
    }
    let remote_id = Some(name).filter(|name| !name.is_empty());
    Some(Attempt { remote_id, phases: Some(decode(rest)?), ..attempt })
}

/// The id of the message at this place, if it is still there.
pub(super) fn id_at(trees: &Trees, head: &Head, place: Place) -> Result<Option<Id>, StoreError> {
    match slot(trees, head, place)? {
        Some(_) => Ok(fixed(trees, place)?.map(|fixed| fixed.id)),
        None => Ok(None),
    }
}

/// The message with its newest body.
pub(super) fn load(trees: &Trees, head: &Head, place: Place) -> Result<Option<Loaded>, StoreError> {
    // Without a body there is nothing to send.
    let Some(slot) = slot(trees, head, place)?.filter(|slot| !slot.flags.bodiless) else { return Ok(None) };
    let first = first(trees, place, slot.revision == 1)?.ok_or_else(|| lost(place))?;
    let mut content_type = first.fixed.envelope.content_type.clone();
    let body = if slot.revision > 1 {
        let (edit, inline) = edit_of(trees, place, slot.revision)?;
        content_type = edit.content_type.clone();
        body_of(trees, place, slot.revision, edit.kept, edit.body_bytes, inline)?
    } else {
        body_of(trees, first.owner, 1, first.kept, first.body_bytes, first.body)?
    };
    let message = Message {
        id: first.fixed.id,
        attempt: 0,
        revision: slot.revision,
        envelope: Arc::new(first.fixed.envelope),
        content_type,
        body: body.unwrap_or_else(|| Arc::from([])),
    };
    Ok(Some(Loaded { message, expect: slot.expect(), series: slot.series }))
}

fn body_of(
    trees: &Trees,
    place: Place,
    revision: u16,
    kept: Kept,
    bytes: u32,
    inline: Option<Body>,
) -> Result<Option<Body>, StoreError> {
    match kept {
        Kept::Inline => Ok(inline),
        Kept::Parts => parts(trees, place, revision, Some(bytes)).map(|bytes| Some(Body::from(bytes))),
        Kept::Removed => Ok(None),
    }
}

/// One revision of a message; `None` where there is none of this number.
pub(super) fn revision(trees: &Trees, head: &Head, place: Place, number: u16) -> Result<Option<Revision>, StoreError> {
    let newest = slot(trees, head, place)?.map_or(0, |slot| slot.revision);
    if number == 0 || number > newest {
        return Ok(None);
    }
    if number == 1 {
        let first = first(trees, place, true)?.ok_or_else(|| lost(place))?;
        return Ok(Some(Revision {
            number,
            body: body_of(trees, first.owner, number, first.kept, first.body_bytes, first.body)?,
            content_type: first.fixed.envelope.content_type,
            at: first.fixed.id.accepted_at(),
            who: String::new(),
            why: String::new(),
        }));
    }
    let (edit, inline) = edit_of(trees, place, number)?;
    Ok(Some(Revision {
        number,
        body: body_of(trees, place, number, edit.kept, edit.body_bytes, inline)?,
        content_type: edit.content_type,
        at: edit.at,
        who: edit.who,
        why: edit.why,
    }))
}

/// The attempts that are kept, oldest first.
pub(super) fn attempts(trees: &Trees, head: &Head, place: Place) -> Result<Vec<Attempt>, StoreError> {
    let Some(slot) = slot(trees, head, place)? else { return Ok(Vec::new()) };
    let mut attempts = attempt_rows(trees, place, &slot)?;
    if let Some(arrival) = slot.arrival
        && attempts.last().is_none_or(|last| last.number < slot.attempts)
    {
        attempts.push(arrived(&slot, arrival));
    }
    Ok(attempts)
}

/// The attempts that are rows of their own.
pub(super) fn attempt_rows(trees: &Trees, place: Place, slot: &Slot) -> Result<Vec<Attempt>, StoreError> {
    let mut attempts = Vec::new();
    if slot.flags.attempts {
        let mut walk = trees.under(Tree::Att, &place_key(place))?;
        while let Some(row) = walk.forth() {
            let (key, row) = row?;
            let row = trees.seal().unframe(Tree::Att, &key, &row)?;
            attempts.push(read_attempt(row.body).ok_or_else(|| damaged(Tree::Att, &key, "it is no attempt"))?);
        }
        if attempts.is_empty() {
            return Err(StoreError::Damaged(format!("{}: none is left", name(Tree::Att, &place_key(place)))));
        }
    }
    Ok(attempts)
}

/// Where the message of this id lies.
pub(super) fn find(trees: &Trees, head: &Head, id: Id) -> Result<Option<Place>, StoreError> {
    let hint = id.place();
    if id_at(trees, head, hint)? == Some(id) {
        return Ok(Some(hint));
    }
    let key = id.to_bytes();
    let alias = trees.row(Tree::Alias, &key, |row| Cursor(row.body).u64().map(Place::from_u64))?;
    match alias {
        Some(place) if slot(trees, head, place)?.is_some() => Ok(Some(place)),
        Some(_) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Class, Phase, Phases, WallMs};
    use crate::store::sled::layout::encode;

    /// The row of an attempt as registries have it that keep no phases: attempt 1 of revision 1, begun at 1000, 8 ms long, which failed and may
    /// have arrived, without a status; "no".
    const BEFORE: [u8; 14] = [1, 1, 251, 232, 3, 8, 1, 1, 3, 1, 0, 2, b'n', b'o'];

    #[test]
    fn rows_from_before_phases_were_kept_read_as_they_did() {
        let attempt = Attempt {
            number: 1,
            revision: 1,
            started_at: WallMs(1_000),
            duration_ms: 8,
            outcome: Delivery::Retry,
            class: Some(Class::Timeout),
            sent: Sent::Maybe,
            status: None,
            detail: "no".into(),
            response_excerpt: None,
            remote_id: None,
            phases: None,
        };
        let before = [&BEFORE[..], &[0]].concat();
        assert_eq!(read_attempt(&before), Some(attempt.clone()));
        let named = [&before[..], b"\x044711"].concat();
        assert_eq!(read_attempt(&named), Some(Attempt { remote_id: Some("4711".into()), ..attempt.clone() }));
        // And with phases behind the name, or behind none.
        let mut phases = Phases::default();
        phases.note(Phase::Wait, 4_800_000);
        for (start, remote_id) in [(&named[..], Some("4711".to_owned())), (&[&before[..], &[0]].concat(), None)] {
            let mut row = start.to_vec();
            encode(&phases, &mut row).expect("fits");
            let whole = Attempt { remote_id, phases: Some(phases), ..attempt.clone() };
            assert_eq!(read_attempt(&row), Some(whole));
            row.push(0);
            assert_eq!(read_attempt(&row), None, "more than an attempt");
            assert_eq!(read_attempt(&row[..row.len() - 2]), None, "less than one");
        }
    }
}
