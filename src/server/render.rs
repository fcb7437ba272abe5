//! Every shape of JSON that the server answers: messages, lists, attempts, revisions, figures, transitions.
//!
//! Fields may be added to a shape; none is ever renamed. Times are RFC 3339 with milliseconds.
//!
//! # What it does not know
//!
//! Where any of it comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::admin::explain::waits_in_words;
use crate::admin::when::rfc3339;
use crate::engine::{AwaitedKey, Lane, Shown, ShownPage, Stats, Transition, Waits};
use crate::model::breaker::Phase;
use crate::model::{Abandoned, Id, Place, State};
use crate::source::{is_of_source, of_source};
use crate::store::{Revision, StateName};
use crate::transport::secret::names_credential;

use super::access::Caller;
use super::routes::Right;

mod admin;
mod agreement;
mod attempts;
mod chart;
mod keys;
mod sources;
mod streams;

pub(super) use admin::{
    alert_rules, audited, incident, incidents, job, jobs, made_token, preview, soundness, tested, tokens,
};
pub(super) use agreement::{agreement, agreements, lacking};
pub(super) use attempts::attempts;
pub(super) use chart::chart;
pub(super) use keys::{key, keys, story};
pub(super) use sources::{source, sources};
pub(super) use streams::streams;

#[derive(Serialize)]
struct MessageShape<'a> {
    id: Id,
    state: &'a str,
    reason: Option<&'a str>,
    destination: &'a str,
    key: Option<&'a str>,
    r#type: Option<&'a str>,
    source: Option<&'a str>,
    content_type: Option<&'a str>,
    attempts: u16,
    revision: u16,
    body_bytes: Option<u64>,
    accepted_at: String,
    updated_at: String,
    not_before: Option<String>,
    deadline: Option<String>,
    due_at: Option<String>,
    waits_for: Option<&'a str>,
    after: &'a [Arc<str>],
    last_class: Option<&'a str>,
    last_status: Option<u16>,
    idempotency_key: Option<&'a str>,
    version: Option<u64>,
    traceparent: Option<&'a str>,
    superseded_by: Option<Id>,
    supersedes: Option<Id>,
    remote_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AwaitedShape<'a> {
    key: &'a str,
    newest: Option<Id>,
    state: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct ListShape<'a> {
    messages: Vec<MessageShape<'a>>,
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned_until: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    damaged: &'a [String],
}

#[derive(Serialize)]
struct RevisionShape<'a> {
    number: u16,
    at: String,
    who: &'a str,
    why: &'a str,
    content_type: Option<&'a str>,
    body_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
struct TransitionShape<'a> {
    id: Id,
    destination: &'a str,
    key: Option<&'a str>,
    state: &'a str,
    reason: Option<&'a str>,
    attempts: u16,
    at: String,
    due_at: Option<String>,
    detail: Option<&'a str>,
}

#[derive(Serialize, Default)]
struct CountsShape<'a> {
    name: &'a str,
    queued: u64,
    sending: u64,
    delivered: u64,
    failed: u64,
    abandoned: u64,
}

#[derive(Serialize)]
struct LaneShape<'a> {
    configured: bool,
    waits_for: Option<&'a str>,
    held_by: Option<&'a str>,
    paused: Option<PauseShape<'a>>,
    out: usize,
    waiting: u64,
    late: u64,
    oldest: Option<String>,
    drains_in_ms: Option<u64>,
    breaker: Option<&'a str>,
    cycle: Option<String>,
    cycle_at: Option<String>,
}

#[derive(Serialize)]
struct PauseShape<'a> {
    cause: &'a str,
    who: &'a str,
    why: &'a str,
    at: String,
}

#[derive(Serialize)]
struct StatsShape<'a> {
    version: &'a str,
    started_at: String,
    sending: u64,
    accepted: u64,
    attempts: u64,
    delivered: u64,
    commit: u64,
    store: StoreShape,
    destinations: Vec<CountsShape<'a>>,
    damaged: &'a [String],
}

#[derive(Serialize)]
struct StoreShape {
    used_bytes: u64,
    free_bytes: Option<u64>,
    reserve_bytes: u64,
}

/// The answer to what was accepted.
pub(super) fn ids(ids: &[Id], single: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct One {
        id: Id,
    }
    #[derive(Serialize)]
    struct Many<'a> {
        ids: &'a [Id],
    }
    match (single, ids) {
        (true, [id]) => bytes(&One { id: *id }),
        (true | false, ids) => bytes(&Many { ids }),
    }
}

/// One message.
pub(super) fn message(shown: &Shown) -> Vec<u8> {
    bytes(&shape(shown))
}

/// One message whole: with how the keys stand that it awaits, what is sent along with it, and why it waits, in words.
pub(super) fn message_whole(shown: &Shown, awaited: &[AwaitedKey]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        message: MessageShape<'a>,
        awaited: Vec<AwaitedShape<'a>>,
        headers: BTreeMap<&'a str, &'a str>,
        waits: Option<String>,
    }
    let awaited = awaited.iter().map(|AwaitedKey { key, newest }| AwaitedShape {
        key,
        newest: newest.map(|(id, _)| id),
        state: newest.map(|(_, state)| state.name()),
        reason: newest.and_then(|(_, state)| state.reason()),
    });
    // Its source has a field of its own, and what may be a credential is nobody's to read.
    let own = shown.record.envelope.headers.iter().filter(|(name, _)| !is_of_source(name));
    let headers = own.map(|(name, value)| (name.as_str(), if names_credential(name) { "***" } else { value.as_str() }));
    bytes(&Whole {
        message: shape(shown),
        awaited: awaited.collect(),
        headers: headers.collect(),
        waits: waits_in_words(shown),
    })
}

/// One page of a list.
pub(super) fn list(page: &ShownPage) -> Vec<u8> {
    bytes(&ListShape {
        messages: page.messages.iter().map(shape).collect(),
        next: page.next.map(cursor),
        scanned_until: page.scanned_until.map(rfc3339),
        damaged: &page.damaged,
    })
}

/// The bodies of a message and their lengths: as text where they are text, in base64 where they are not.
pub(super) fn revisions(revisions: &[(Revision, Option<usize>)]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        revisions: Vec<RevisionShape<'a>>,
    }
    bytes(&Shape { revisions: revisions.iter().map(|(of, body_bytes)| revision(of, *body_bytes)).collect() })
}

/// The figures of the engine.
pub(super) fn stats(stats: &Stats, names: &[String]) -> Vec<u8> {
    bytes(&StatsShape {
        version: env!("CARGO_PKG_VERSION"),
        started_at: rfc3339(stats.started_at),
        sending: stats.sending,
        accepted: stats.accepted,
        attempts: stats.attempts,
        delivered: stats.delivered,
        commit: stats.commit,
        store: StoreShape {
            used_bytes: stats.room.used_bytes,
            free_bytes: stats.room.free_bytes,
            reserve_bytes: stats.room.reserve_bytes,
        },
        destinations: counts(stats, names),
        damaged: &stats.damaged,
    })
}

/// The destinations with what stands where.
pub(super) fn destinations(stats: &Stats, lanes: &[Lane]) -> Vec<u8> {
    #[derive(Serialize)]
    struct One<'a> {
        #[serde(flatten)]
        counts: CountsShape<'a>,
        #[serde(flatten)]
        lane: Option<LaneShape<'a>>,
    }
    #[derive(Serialize)]
    struct Shape<'a> {
        destinations: Vec<One<'a>>,
    }
    let names: Vec<String> = lanes.iter().map(|lane| lane.name.to_string()).collect();
    let list = counts(stats, &names).into_iter().map(|counts| {
        let lane = lanes.iter().find(|lane| *lane.name == *counts.name).map(lane_shape);
        One { counts, lane }
    });
    bytes(&Shape { destinations: list.collect() })
}

/// How one destination stands.
pub(super) fn lane(lane: &Lane) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        name: &'a str,
        #[serde(flatten)]
        lane: LaneShape<'a>,
    }
    bytes(&Shape { name: &lane.name, lane: lane_shape(lane) })
}

fn lane_shape(lane: &Lane) -> LaneShape<'_> {
    LaneShape {
        configured: lane.is_configured,
        waits_for: lane.waits_for.map(Waits::name),
        held_by: lane.held_by.as_deref(),
        paused: lane.pause.as_ref().map(|pause| PauseShape {
            cause: pause.cause.name(),
            who: &pause.who,
            why: &pause.why,
            at: rfc3339(pause.at),
        }),
        out: lane.out,
        waiting: lane.age.waiting,
        late: lane.age.late,
        oldest: lane.age.oldest.map(rfc3339),
        drains_in_ms: lane.drains_in_ms,
        breaker: lane.breaker.map(Phase::name),
        cycle: lane.cycle.as_ref().map(|(cycle, _)| cycle.to_string()),
        cycle_at: lane.cycle.as_ref().and_then(|(_, begins)| *begins).map(rfc3339),
    }
}

/// A transition, as the data of an event.
pub(super) fn transition(transition: &Transition) -> Vec<u8> {
    bytes(&TransitionShape {
        id: transition.id,
        destination: &transition.destination,
        key: transition.key.as_deref(),
        state: transition.state.name(),
        reason: transition.state.reason(),
        attempts: transition.attempts,
        at: rfc3339(transition.at),
        due_at: transition.state.due().map(rfc3339),
        detail: transition.detail.as_deref(),
    })
}

/// Who asks, and what they may do.
pub(super) fn me(caller: Option<&Caller>, needs_login: bool, rights: &[Right]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        name: Option<&'a str>,
        role: Option<&'a str>,
        needs_login: bool,
        rights: Vec<&'a str>,
        version: &'a str,
    }
    bytes(&Shape {
        name: caller.map(|caller| caller.name.as_str()),
        role: caller.map(|caller| caller.role.name()),
        needs_login,
        rights: rights.iter().map(|right| right.name()).collect(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// The opaque text of a place in a list.
fn cursor(place: Place) -> String {
    format!("{:x}", place.to_u64())
}

/// The place of a text made for a `next`.
pub(super) fn place(cursor: &str) -> Option<Place> {
    u64::from_str_radix(cursor, 16).ok().map(Place::from_u64)
}

/// The JSON of a value of ours. Serialising them cannot fail: they have neither maps nor foreign implementations.
fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn shape(shown: &Shown) -> MessageShape<'_> {
    let record = &shown.record;
    let envelope = &record.envelope;
    MessageShape {
        id: record.id,
        state: record.state.name(),
        reason: record.state.reason(),
        destination: &envelope.destination,
        key: envelope.key.as_deref(),
        r#type: envelope.kind.as_deref(),
        content_type: record.content_type.as_deref(),
        attempts: record.attempts,
        revision: record.revision,
        body_bytes: record.body_bytes,
        accepted_at: rfc3339(record.id.accepted_at()),
        updated_at: rfc3339(record.updated_at),
        not_before: envelope.not_before.map(rfc3339),
        deadline: envelope.deadline.map(rfc3339),
        due_at: shown.due_at.or(record.state.due()).map(rfc3339),
        waits_for: shown.waits_for.map(|waits| waits.name()),
        after: &shown.after,
        last_class: record.last.class.map(|class| class.name()),
        last_status: record.last.status,
        idempotency_key: envelope.idempotency_key.as_deref(),
        version: envelope.version,
        source: of_source(envelope),
        traceparent: envelope.traceparent.as_deref(),
        superseded_by: superseded_by(record.state),
        supersedes: record.supersedes,
        remote_id: record.remote_id.as_deref(),
    }
}

fn superseded_by(state: State) -> Option<Id> {
    match state {
        State::Abandoned(Abandoned::Superseded(by)) => Some(by),
        State::Queued(_)
        | State::Sending(_)
        | State::Delivered
        | State::Failed(_)
        | State::Abandoned(Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired | Abandoned::Cancelled) => {
            None
        }
    }
}

fn revision(revision: &Revision, body_bytes: Option<usize>) -> RevisionShape<'_> {
    let text = revision.body.as_deref().map(std::str::from_utf8);
    RevisionShape {
        number: revision.number,
        at: rfc3339(revision.at),
        who: &revision.who,
        why: &revision.why,
        content_type: revision.content_type.as_deref(),
        body_bytes,
        body: text.and_then(Result::ok),
        body_base64: match (text, &revision.body) {
            (Some(Err(_)), Some(body)) => Some(STANDARD.encode(body)),
            (Some(_) | None, _) => None,
        },
    }
}

/// Every configured destination, and every other that has messages.
fn counts<'a>(stats: &'a Stats, names: &'a [String]) -> Vec<CountsShape<'a>> {
    let mut shapes: Vec<CountsShape<'a>> =
        names.iter().map(|name| CountsShape { name, ..CountsShape::default() }).collect();
    for (name, state, messages) in &stats.counts {
        let position = shapes.iter().position(|shape| shape.name == &**name).unwrap_or_else(|| {
            shapes.push(CountsShape { name, ..CountsShape::default() });
            shapes.len() - 1
        });
        if let Some(shape) = shapes.get_mut(position) {
            *shape.of(*state) += messages;
        }
    }
    shapes.sort_by_key(|shape| shape.name);
    shapes
}

impl CountsShape<'_> {
    fn of(&mut self, state: StateName) -> &mut u64 {
        match state {
            StateName::Queued => &mut self.queued,
            StateName::Sending => &mut self.sending,
            StateName::Delivered => &mut self.delivered,
            StateName::Failed => &mut self.failed,
            StateName::Abandoned => &mut self.abandoned,
        }
    }
}

#[cfg(test)]
mod tests;
