//! Whether the demo kept its promise: what was accepted, held against the registry and against what the systems took.
//!
//! # What holds
//!
//! * Lost is what was accepted and of which neither a system knows nor the registry that it is still to do, or why not.
//! * What the registry calls delivered, and its system did not take, is lost.
//!
//! # What it does not know
//!
//! Where the figures come from.

use std::collections::{HashMap, HashSet};

/// A message whose sender heard yes.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) destination: &'static str,
    pub(super) id: String,
}

/// How the registry says that a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stands {
    pub(super) state: String,
    pub(super) reason: String,
}

/// What became of all messages to one destination.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    /// Those whose place a newer one took.
    pub(super) superseded: u64,
    /// Those still under way, and those that rest until a person looks after them.
    pub(super) waiting: u64,
    /// Those that the visitor deleted.
    pub(super) removed: u64,
    /// Those that their system took more than once, though nobody asked for that.
    pub(super) twice: u64,
    pub(super) lost: u64,
}

/// Holds what was handed in for a destination against what is known of it. What was `touched`, the visitor may have sent once more, or deleted.
pub(super) fn judge(
    handed: &[Handed],
    destination: &str,
    registry: &HashMap<String, Stands>,
    touched: &HashSet<String>,
    taken: impl Fn(&str) -> u64,
) -> Tally {
    let mut tally = Tally::default();
    for Handed { id, .. } in handed.iter().filter(|handed| handed.destination == destination) {
        let times = taken(id);
        tally.accepted += 1;
        tally.twice += u64::from(times > 1 && !touched.contains(id));
        let place = match registry.get(id) {
            Some(stands) if stands.state == "delivered" && times > 0 => &mut tally.delivered,
            Some(stands) if stands.state == "delivered" => &mut tally.lost,
            Some(stands) if stands.reason == "superseded" => &mut tally.superseded,
            Some(_) => &mut tally.waiting,
            None if touched.contains(id) => &mut tally.removed,
            None => &mut tally.lost,
        };
        *place += 1;
    }
    tally
}

impl Tally {
    /// Whether nothing was lost, and nothing came twice.
    pub(super) fn is_sound(&self) -> bool {
        self.lost == 0 && self.twice == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tally of one message that stands so and was taken so often.
    fn tally(stands: Option<(&str, &str)>, is_touched: bool, times: u64) -> Tally {
        let handed = ["a", "b"].map(|destination| Handed { destination, id: format!("to {destination}") });
        let stands = stands.map(|(state, reason)| Stands { state: state.into(), reason: reason.into() });
        let registry = stands.into_iter().map(|stands| ("to a".to_owned(), stands)).collect();
        let touched = is_touched.then(|| "to a".to_owned()).into_iter().collect();
        judge(&handed, "a", &registry, &touched, |id| if id == "to a" { times } else { 0 })
    }

    #[test]
    fn what_was_accepted_is_somewhere_or_lost() {
        let one = Tally { accepted: 1, ..Tally::default() };
        for (stands, is_touched, times, expect) in [
            (Some(("delivered", "")), false, 1, Tally { delivered: 1, ..one }),
            (Some(("delivered", "")), false, 2, Tally { delivered: 1, twice: 1, ..one }),
            (Some(("delivered", "")), true, 2, Tally { delivered: 1, ..one }),
            (Some(("delivered", "")), false, 0, Tally { lost: 1, ..one }),
            (Some(("abandoned", "superseded")), false, 0, Tally { superseded: 1, ..one }),
            (Some(("abandoned", "rejected")), false, 0, Tally { waiting: 1, ..one }),
            (Some(("failed", "due")), false, 1, Tally { waiting: 1, ..one }),
            (None, true, 0, Tally { removed: 1, ..one }),
            (None, false, 0, Tally { lost: 1, ..one }),
        ] {
            let found = tally(stands, is_touched, times);
            assert_eq!(found, expect, "{stands:?} {is_touched} {times}");
            assert_eq!(found.is_sound(), expect.lost + expect.twice == 0);
        }
    }
}
