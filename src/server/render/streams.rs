//! The shapes of streams.
//!
//! # What it does not know
//!
//! What numbers mean.

use serde::Serialize;

use super::bytes;
use crate::admin::when::rfc3339;
use crate::engine::{Side, StreamShown};

#[derive(Serialize)]
struct StreamsShape<'a> {
    streams: Vec<StreamShape<'a>>,
}

#[derive(Serialize)]
struct StreamShape<'a> {
    role: &'static str,
    name: &'a str,
    epoch: String,
    is_current: bool,
    last: u64,
    mark: u64,
    theirs: Option<u64>,
    holes: Vec<HoleShape>,
    gap_since: Option<String>,
    heard_at: Option<String>,
}

#[derive(Serialize)]
struct HoleShape {
    from: u64,
    to: u64,
}

/// How every side of a stream stands, and what is missing in it.
pub(in crate::server) fn streams(all: &[(StreamShown, Vec<(u64, u64)>)]) -> Vec<u8> {
    let streams = all.iter().map(|(shown, holes)| StreamShape {
        role: if shown.stream.side == Side::Out { "sends" } else { "receives" },
        name: &shown.stream.name,
        epoch: format!("{:x}", shown.stream.epoch),
        is_current: shown.is_current,
        last: shown.last,
        mark: shown.mark,
        theirs: (shown.stream.side == Side::Out).then_some(shown.theirs),
        holes: holes.iter().map(|(from, to)| HoleShape { from: *from, to: *to }).collect(),
        gap_since: shown.gap_since.map(rfc3339),
        heard_at: shown.heard_at.map(rfc3339),
    });
    bytes(&StreamsShape { streams: streams.collect() })
}
