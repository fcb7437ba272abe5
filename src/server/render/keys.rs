//! The shapes of keys and of their stories.
//!
//! # What it does not know
//!
//! When a key is in sync.

use serde::Serialize;

use super::{bytes, cursor};
use crate::admin::explain::{Line, Story};
use crate::admin::keys::{KeyState, KeysPage};
use crate::admin::when::rfc3339;
use crate::model::Id;

#[derive(Serialize)]
struct KeyShape<'a> {
    destination: &'a str,
    key: &'a str,
    in_sync: bool,
    last_accepted: LastShape<'a>,
    last_delivered: Option<DeliveredShape>,
    behind_since: Option<String>,
    messages: usize,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    damaged: &'a [String],
}

#[derive(Serialize)]
struct LastShape<'a> {
    id: Id,
    at: String,
    state: &'a str,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct DeliveredShape {
    id: Id,
    at: String,
}

#[derive(Serialize)]
struct LineShape<'a> {
    at: String,
    destination: &'a str,
    id: Id,
    what: &'a str,
    text: &'a str,
}

/// How one key of a destination stands.
pub(in crate::server) fn key(stands: &KeyState) -> Vec<u8> {
    bytes(&key_shape(stands))
}

/// A page of keys.
pub(in crate::server) fn keys(page: &KeysPage) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        keys: Vec<KeyShape<'a>>,
        next: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scanned_until: Option<String>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        damaged: &'a [String],
    }
    bytes(&Shape {
        keys: page.keys.iter().map(key_shape).collect(),
        next: page.next.map(cursor),
        scanned_until: page.scanned_until.map(rfc3339),
        damaged: &page.damaged,
    })
}

fn key_shape(stands: &KeyState) -> KeyShape<'_> {
    let last = &stands.last_accepted.record;
    let delivered = stands.last_delivered.as_ref().map(|shown| &shown.record);
    KeyShape {
        destination: &stands.destination,
        key: &stands.key,
        in_sync: stands.is_in_sync(),
        last_accepted: LastShape {
            id: last.id,
            at: rfc3339(last.id.accepted_at()),
            state: last.state.name(),
            reason: last.state.reason(),
        },
        last_delivered: delivered.map(|record| DeliveredShape { id: record.id, at: rfc3339(record.updated_at) }),
        behind_since: stands.behind_since.map(rfc3339),
        messages: stands.messages,
        damaged: &stands.damaged,
    }
}

/// The story of a key.
pub(in crate::server) fn story(key: &str, story: &Story) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        key: &'a str,
        lines: Vec<LineShape<'a>>,
        is_whole: bool,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        damaged: &'a [String],
    }
    bytes(&Shape {
        key,
        lines: story.lines.iter().map(line).collect(),
        is_whole: story.is_whole,
        damaged: &story.damaged,
    })
}

fn line(line: &Line) -> LineShape<'_> {
    LineShape {
        at: rfc3339(line.at),
        destination: &line.destination,
        id: line.id,
        what: line.what.name(),
        text: &line.text,
    }
}
