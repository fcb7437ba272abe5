//! Recovering: what a start finds, before anything goes out.
//!
//! # What holds
//!
//! * Every unfinished message has its one wake-up again before the first worker starts.
//! * What was durably out when the process ended is judged at once, by its destination's rule for what nobody can know. Nothing rests in `Sending`
//!   but what cannot be read.
//! * A message that was out when the process ended three times in a row is taken for the cause: it is not sent again by itself.
//! * Where only the latest of a key counts, the older ones that wait are superseded before anything goes.
//! * What is damaged is set aside and said; it does not hinder a start.
//!
//! # What it does not know
//!
//! Why the process ended.

use super::after::{Awaited, Noted};
use super::ages::Aged;
use super::latest::{self, Latest};
use super::overdue;
use super::registry::Registry;
use super::request::Request;
use super::send::{Found, find};
use super::settle::{Report, interrupted};
use crate::model::{Place, Stamp, State};
use crate::store::StoreError;

/// Gives every unfinished message its wake-up, and says what was out and must be settled first.
///
/// # Errors
/// What hinders the read.
pub(super) fn recover(registry: &Registry, now: Stamp) -> Result<(Vec<Request>, Latest, Awaited), StoreError> {
    let mut keys = latest::Found::default();
    let (mut noted, mut awaited) = (Noted::read(registry)?, Awaited::default());
    let mut out: Vec<(crate::store::Dest, Place)> = Vec::new();
    {
        let mut scheduler = registry.scheduler();
        let mut ages = registry.ages();
        let is_timed = |dest| registry.rules(dest).is_some_and(|rules| rules.late_after_ms.is_some());
        let aside = registry.store.unfinished(&is_timed, &mut |found| {
            if registry.rules(found.dest).is_some_and(|rules| rules.latest_wins) {
                keys.add(&found);
            }
            ages.found(Aged::from(&found));
            match found.state {
                State::Sending(_) => {
                    scheduler.arm_found(&found, now);
                    out.push((found.dest, found.place));
                }
                State::Queued(_) => {
                    let awaits = awaited.found(&found, noted.take(found.place, registry));
                    if awaits {
                        registry.sought.add(found.dest, found.place);
                    }
                    scheduler.recover(&found, awaits, now);
                }
                // It went once, so it awaits nothing.
                State::Failed(_) => scheduler.recover(&found, false, now),
                State::Delivered | State::Abandoned(_) => {}
            }
        })?;
        registry.set_aside(aside);
    }
    overdue::recover(registry)?;
    // Before what was out is judged: its successor takes its place with that.
    let mut requests = vec![Request::Supersede(keys.pairs().collect())];
    for (dest, place) in out {
        // What was out is judged, whether its body is still there or not.
        let loaded = match find(&*registry.store, place) {
            Ok(Found::Whole(loaded) | Found::Bodiless(loaded)) => *loaded,
            Ok(Found::Gone) => continue,
            // Nothing can be said of it but that; it keeps nobody else waiting.
            Err(error @ StoreError::Damaged(_)) => {
                registry.unreadable(place, &error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let who = registry.who(dest, place, loaded.message.key());
        let before = match registry.store.attempts(place) {
            Ok(before) => before,
            // What it came to before is then not known; it is out all the same.
            Err(StoreError::Damaged(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let report = Report::new(who, loaded, interrupted(&before), now, now);
        requests.push(Request::Reports(vec![report]));
    }
    Ok((requests, keys.latest(), awaited))
}
