//! The shape of the last hour by minutes.
//!
//! # What it does not know
//!
//! What is counted.

use serde::Serialize;

use super::bytes;
use crate::admin::when::rfc3339;
use crate::engine::{Chart, Past};

#[derive(Serialize)]
struct ChartShape {
    minutes: Vec<PastShape>,
    due: Vec<DueShape>,
    is_due_whole: bool,
}

#[derive(Serialize)]
struct PastShape {
    at: String,
    accepted: u64,
    delivered: u64,
    failed: u64,
    abandoned: u64,
    latency_p50_ms: Option<u64>,
    latency_p95_ms: Option<u64>,
}

#[derive(Serialize)]
struct DueShape {
    at: String,
    messages: u64,
}

/// The last hour, and what is due in the next.
pub(in crate::server) fn chart(chart: &Chart) -> Vec<u8> {
    bytes(&ChartShape {
        minutes: chart.minutes.iter().map(past).collect(),
        due: chart.due.iter().map(|due| DueShape { at: rfc3339(due.at), messages: due.messages }).collect(),
        is_due_whole: chart.is_due_whole,
    })
}

fn past(past: &Past) -> PastShape {
    PastShape {
        at: rfc3339(past.at),
        accepted: past.accepted,
        delivered: past.delivered,
        failed: past.failed,
        abandoned: past.abandoned,
        latency_p50_ms: past.latency_p50_ms,
        latency_p95_ms: past.latency_p95_ms,
    }
}
