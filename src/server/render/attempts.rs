//! The shape of attempts.
//!
//! # What it does not know
//!
//! How long any of them is kept.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::bytes;
use crate::admin::when::rfc3339;
use crate::model::{Attempt, Phase, Phases};

#[derive(Serialize)]
struct AttemptShape<'a> {
    number: u16,
    revision: u16,
    started_at: String,
    duration_ms: u32,
    outcome: &'a str,
    class: Option<&'a str>,
    sent: &'a str,
    status: Option<u16>,
    detail: &'a str,
    response_excerpt: Option<&'a str>,
    remote_id: Option<&'a str>,
    phases: Option<PhasesShape>,
}

/// Each phase that happened, in milliseconds; those that did not are left out.
struct PhasesShape(Phases);

impl Serialize for PhasesShape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for phase in Phase::ALL {
            if let Some(ms) = self.0.ms(phase) {
                map.serialize_entry(&format!("{}_ms", phase.name()), &ms)?;
            }
        }
        map.serialize_entry("is_reused", &self.0.is_reused)?;
        map.end()
    }
}

/// The attempts of a message.
pub(in crate::server) fn attempts(attempts: &[Attempt]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        attempts: Vec<AttemptShape<'a>>,
    }
    bytes(&Shape { attempts: attempts.iter().map(attempt).collect() })
}

fn attempt(attempt: &Attempt) -> AttemptShape<'_> {
    AttemptShape {
        number: attempt.number,
        revision: attempt.revision,
        started_at: rfc3339(attempt.started_at),
        duration_ms: attempt.duration_ms,
        outcome: attempt.outcome.name(),
        class: attempt.class.map(|class| class.name()),
        sent: attempt.sent.name(),
        status: attempt.status,
        detail: &attempt.detail,
        response_excerpt: attempt.response_excerpt.as_deref(),
        remote_id: attempt.remote_id.as_deref(),
        phases: attempt.phases.map(PhasesShape),
    }
}
