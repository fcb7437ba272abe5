//! The shapes of comparisons.

use serde::Serialize;

use super::bytes;
use crate::admin::reconcile::{Failed, Listed, Queued, Sample, Shown, Side};
use crate::admin::when::rfc3339;
use crate::model::{Id, WallMs};

#[derive(Serialize)]
struct AgreementShape<'a> {
    name: &'a str,
    destination: &'a str,
    state: &'a str,
    at: Option<String>,
    lines: u64,
    matched: u64,
    missing: SideShape<'a>,
    stale: SideShape<'a>,
    conflicting: SideShape<'a>,
    unexpected: SideShape<'a>,
    under_way: u64,
    settling: u64,
    uncompared: u64,
    damaged: u64,
    behind_since: Option<String>,
    failure: Option<FailedShape<'a>>,
    queued: Option<QueuedShape<'a>>,
    asks: Option<&'a str>,
    is_running: bool,
    can_queue: bool,
    next_at: String,
}

#[derive(Serialize)]
struct SideShape<'a> {
    count: u64,
    oldest_at: Option<String>,
    samples: Vec<SampleShape<'a>>,
}

#[derive(Serialize)]
struct SampleShape<'a> {
    key: &'a str,
    id: Option<Id>,
    at: Option<String>,
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct FailedShape<'a> {
    at: String,
    why: &'a str,
}

#[derive(Serialize)]
struct QueuedShape<'a> {
    at: String,
    who: &'a str,
    messages: u64,
    refused: u64,
    detail: Option<&'a str>,
}

/// One comparison.
pub(in crate::server) fn agreement(shown: &Shown) -> Vec<u8> {
    bytes(&shape(shown))
}

/// A page of what can be sent again.
pub(in crate::server) fn lacking(listed: &Listed) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        at: String,
        lacking: Vec<SampleShape<'a>>,
        next: Option<usize>,
    }
    let lacking = listed.lacking.iter().map(sample).collect();
    bytes(&Shape { at: rfc3339(listed.at), lacking, next: listed.next })
}

/// Comparisons.
pub(in crate::server) fn agreements(all: &[Shown]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        reconcile: Vec<AgreementShape<'a>>,
    }
    bytes(&Shape { reconcile: all.iter().map(shape).collect() })
}

fn shape(shown: &Shown) -> AgreementShape<'_> {
    let report = &shown.report;
    AgreementShape {
        name: &shown.name,
        destination: &shown.destination,
        state: report.standing().name(),
        at: (report.at != WallMs(0)).then(|| rfc3339(report.at)),
        lines: report.lines,
        matched: report.matched,
        missing: side(&report.missing),
        stale: side(&report.stale),
        conflicting: side(&report.conflicting),
        unexpected: side(&report.unexpected),
        under_way: report.under_way,
        settling: report.settling,
        uncompared: report.uncompared,
        damaged: report.damaged,
        behind_since: report.behind_since.map(rfc3339),
        failure: report.failure.as_ref().map(|Failed { at, why }| FailedShape { at: rfc3339(*at), why }),
        queued: report.queued.as_ref().map(queued),
        asks: report.asks.as_deref(),
        is_running: shown.is_running,
        can_queue: shown.can_queue,
        next_at: rfc3339(shown.next_at),
    }
}

fn side(side: &Side) -> SideShape<'_> {
    SideShape {
        count: side.count,
        oldest_at: side.oldest_at.map(rfc3339),
        samples: side.samples.iter().map(sample).collect(),
    }
}

fn sample(Sample { key, id, at, why }: &Sample) -> SampleShape<'_> {
    SampleShape { key, id: *id, at: at.map(rfc3339), why: why.as_deref() }
}

fn queued(queued: &Queued) -> QueuedShape<'_> {
    QueuedShape {
        at: rfc3339(queued.at),
        who: &queued.who,
        messages: queued.messages,
        refused: queued.refused,
        detail: queued.detail.as_deref(),
    }
}
