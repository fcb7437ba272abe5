//! Sends again what the other side lacks.
//!
//! # What holds
//!
//! * Each message is asked for by itself, with its own entry of the audit log; one more says how many they were. What was left out when the process
//!   ended is found again by the next comparison.
//!
//! # What it does not know
//!
//! Who may ask for it.

use std::sync::mpsc::channel;

use super::Reconciler;
use super::belief::Found;
use super::report::Queued;
use super::rules::{Other, Plan, Scope};
use crate::engine::{Act, Deed, Engine, Target};
use crate::error::Error;
use crate::model::{Id, Queued as Wait, Record, State, WallMs};
use crate::store::{Pattern, Query};

/// How many are asked for at a time: many acts share a commit.
const TOGETHER: usize = 100;
/// How much of the reason of a refusal is kept, in characters.
const DETAIL_CHARS_MAX: usize = 300;

impl Reconciler {
    /// Sends again what was found, because `who` wants it.
    pub(super) fn queue(&self, number: usize, plan: &Plan, who: &str, found: &Found, now: WallMs) {
        // Written down before they go: whoever is ended in between must not send them once more by himself.
        let mut report = self.of(number, |kept| kept.report.clone()).unwrap_or_default();
        report.sent.add(found.iter().map(|(id, _)| *id));
        self.keep(number, plan, report);
        let mut queued = Queued { at: now, who: who.to_owned(), ..Queued::default() };
        for some in found.chunks(TOGETHER) {
            if self.is_stopping() {
                break;
            }
            self.send(plan, some, &mut queued);
        }
        let Queued { messages, refused, .. } = queued;
        let detail = format!("{}: {messages} sent again, {refused} not", plan.name);
        let target = Target::Destination(plan.scope.destination.to_string());
        if let Err(error) = self.engine.record(Deed { detail, ..Deed::new(who, "reconcile", target) }) {
            log::warn!("that reconcile {} sent {messages} messages again is not in the audit log: {error}", plan.name);
        }
        let report = self.of(number, |kept| kept.report.clone()).unwrap_or_default();
        self.keep(number, plan, super::Report { queued: Some(queued), asks: None, ..report });
    }

    /// Asks for these together, and counts what came of each.
    fn send(&self, plan: &Plan, some: &[(Id, WallMs)], queued: &mut Queued) {
        let (give, take) = channel();
        for (id, at) in some {
            let (id, give) = (*id, give.clone());
            if let Err(why) = self.still_stands(plan, id, *at) {
                drop(give.send(Err(why)));
                continue;
            }
            let act = Act::Resend(Wait::Ready).by(queued.who.as_str(), format!("reconcile {}", plan.name));
            // Who does not wait for the answer does not hear it.
            let reply = move |came: Result<_, Error>| drop(give.send(came.map(drop)));
            self.engine.act(id, act, Box::new(reply));
        }
        drop(give);
        for came in take {
            match came {
                Ok(()) => queued.messages += 1,
                Err(error) => {
                    queued.refused += 1;
                    queued.detail = Some(error.to_string().chars().take(DETAIL_CHARS_MAX).collect());
                }
            }
        }
    }

    /// Whether the message is still the delivery that was found to be missing, and the newest of its key.
    fn still_stands(&self, plan: &Plan, id: Id, at: WallMs) -> Result<(), Error> {
        let record = self.engine.show(id)?.record;
        if record.state != State::Delivered || record.updated_at != at {
            return Err(Error::Invalid(format!("message {id} has changed since it was compared")));
        }
        // Between registries the number decides, not the key.
        let (Other::Manifest(_), Some(key)) = (&plan.other, &record.envelope.key) else { return Ok(()) };
        match newest(&self.engine, &plan.scope, key)? {
            Some(newest) if newest != id => {
                Err(Error::Invalid(format!("{newest} of its key has come since it was compared")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The newest message of a key that counts, and was not given up.
pub(super) fn newest(engine: &Engine, scope: &Scope, key: &str) -> Result<Option<Id>, Error> {
    let destinations = vec![engine.destination(&scope.destination)?];
    let key = Some(Pattern::Exactly(key.to_owned()));
    let mut query = Query { destinations, key, limit: TOGETHER, ..Query::default() };
    loop {
        let page = engine.list(&query)?;
        let counts = |record: &Record| scope.is_of(record) && !matches!(record.state, State::Abandoned(_));
        if let Some(newest) = page.messages.iter().find(|shown| counts(&shown.record)) {
            return Ok(Some(newest.record.id));
        }
        match page.next {
            Some(next) => query.before = Some(next),
            None => return Ok(None),
        }
    }
}
