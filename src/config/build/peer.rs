//! A destination that is another registry.
//!
//! # What it does not know
//!
//! How streams work.

use super::super::Problem;
use super::super::fields::Section;
use super::{missing, note};
use crate::engine::{BatchRule, Destination};
use crate::source::Peer;
use crate::transport::http::Http;

/// So many messages go together, without waiting for each other.
const BATCH: BatchRule = BatchRule { max: 2_000, wait_ms: 0 };
/// What says how bodies are made and answers are read: between registries that is settled.
const SETTLED: [&str; 7] = ["method", "preset", "success", "answers", "body", "batch", "probe"];

/// Whether the destination is another registry; what does not go with that is noted.
pub(super) fn is_peer(section: &Section, problems: &mut Vec<Problem>) -> bool {
    if section.text("type") != Some("goniec") {
        return false;
    }
    missing(section, &[("sign", "sign = { secret = { env = \"NAME\" } }")], problems);
    for key in SETTLED.iter().filter(|key| section.has(key)) {
        note(problems, section.place(key), "does nothing with type = \"goniec\"", "");
    }
    if section.text("on_uncertain").is_some_and(|word| word != "retry") {
        let what = "another registry takes a message once, however often it is sent";
        note(problems, section.place("on_uncertain"), what, "on_uncertain = \"retry\"");
    }
    true
}

/// The destination with what a stream needs, and the way there, which wants its engine.
pub(super) fn peer(name: &str, http: Http) -> (Destination, Peer) {
    let peer = Peer::new(name, http);
    let built = Destination { is_numbered: true, batch: Some(BATCH), ..Destination::new(name, peer.clone()) };
    (built, peer)
}
