//! A batch taken apart, so that what is damaged sinks only what touches it.
//!
//! # What holds
//!
//! * What stands or falls together stays together: a request with its messages and its mark, a step of a bulk job, who gives his place with who takes it.
//!
//! # What it does not know
//!
//! How each part is written, and in what order it is told.

use std::collections::{BTreeMap, HashMap};

use super::super::meet::Awaitings;
use super::{Accepting, Cause, Draft, Slot};
use crate::model::Place;
use crate::store::{Incoming, Newer, Older};

impl Draft {
    /// The same, one thing a batch: what each accept request, move, deletion and mark asks for, with whoever waits for it.
    /// What there is to say without a write stays behind.
    pub(in crate::engine) fn split(&mut self) -> Vec<Draft> {
        let now = self.now;
        let batch = std::mem::take(&mut self.batch);
        let (mut parts, mut awaitings) = self.split_met();
        let mut incoming: Vec<Option<Incoming>> = batch.accepts.into_iter().map(Some).collect();
        // In which part, and where in it, a new message is now.
        let mut at: HashMap<usize, (usize, usize)> = HashMap::new();
        for Accepting { reply, slots, mark, stretch } in self.accepts.drain(..) {
            let mut part = Draft::new(now);
            let slots = slots.into_iter().map(|slot| match slot {
                Slot::New(position) => {
                    let own = part.batch.accepts.len();
                    let mut one = incoming.get_mut(position).and_then(Option::take);
                    let own_of = |before: usize| at.get(&before).map_or(before, |(_, own)| *own);
                    if let Some(Incoming { older: Some(Older::Accept(before)), .. }) = &mut one {
                        *before = own_of(*before);
                    }
                    if let Some(Incoming { newer: Some(Newer::Accept(before)), .. }) = &mut one {
                        *before = own_of(*before);
                    }
                    part.batch.accepts.extend(one);
                    at.insert(position, (parts.len(), own));
                    Slot::New(own)
                }
                Slot::Before(id) => Slot::Before(id),
            });
            let slots = slots.collect();
            part.accepts.push(Accepting { reply, slots, mark, stretch });
            parts.push(part);
        }
        // The steps of bulk jobs, each of which is one thing.
        let mut steps: BTreeMap<u64, Draft> = BTreeMap::new();
        for (mut step, cause) in batch.moves.into_iter().zip(self.causes.drain(..)) {
            if let Some((part, own)) = step.by.and_then(|by| at.get(&by)) {
                // It stands or falls with the message that takes its place.
                step.by = Some(*own);
                if let Some(part) = parts.get_mut(*part) {
                    part.awaitings.extend(awaitings.remove_entry(&step.place));
                    part.batch.moves.push(step);
                    part.causes.push(cause);
                }
                continue;
            }
            let job = match &cause {
                Cause::Act(asking) => asking.job,
                Cause::Report(_) | Cause::Claim(_) | Cause::Supersede(..) | Cause::Expire(..) => None,
            };
            let mut part = job.and_then(|job| steps.remove(&job)).unwrap_or_else(|| Draft::new(now));
            part.awaitings.extend(awaitings.remove_entry(&step.place));
            part.batch.moves.push(step);
            part.causes.push(cause);
            put(part, job, &mut parts, &mut steps);
        }
        for (place, delete) in batch.deletes.into_iter().zip(self.deletes.drain(..)) {
            let job = delete.job;
            let mut part = job.and_then(|job| steps.remove(&job)).unwrap_or_else(|| Draft::new(now));
            part.awaitings.extend(awaitings.remove_entry(&place));
            part.batch.deletes.push(place);
            part.deletes.push(delete);
            put(part, job, &mut parts, &mut steps);
        }
        self.split_rest(batch.told, steps, &mut parts);
        parts.iter_mut().for_each(Draft::take_notes);
        parts
    }

    /// What is left of [`Draft::split`] once messages are accepted, moved and deleted.
    fn split_rest(&mut self, told: Vec<Place>, mut steps: BTreeMap<u64, Draft>, parts: &mut Vec<Draft>) {
        let now = self.now;
        for steered in self.steered.drain(..) {
            let mut part = Draft::new(now);
            part.steered.push(steered);
            parts.push(part);
        }
        for noted in self.noted.drain(..) {
            let mut part = Draft::new(now);
            part.noted.push(noted);
            parts.push(part);
        }
        for place in told {
            let mut part = Draft::new(now);
            part.batch.told.push(place);
            parts.push(part);
        }
        if !self.stirred.is_empty() {
            let mut part = Draft::new(now);
            part.stirred = std::mem::take(&mut self.stirred);
            parts.push(part);
        }
        // What a job says that it has done stands or falls with that.
        for job in self.jobs.drain(..) {
            let mut part = steps.remove(&job.0.number).unwrap_or_else(|| Draft::new(now));
            part.jobs.push(job);
            parts.push(part);
        }
    }

    /// What was met, one message a batch, and who is let go with a step besides. What was met comes first, so that nothing of who is let go is left.
    fn split_met(&mut self) -> (Vec<Draft>, Awaitings) {
        let mut awaitings = std::mem::take(&mut self.awaitings);
        let mut parts = Vec::new();
        for (place, awaiting) in &awaitings {
            if let Some(met) = awaiting.clone().held() {
                let mut part = Draft::new(self.now);
                let _none = part.awaitings.insert(*place, met);
                parts.push(part);
            }
        }
        awaitings.retain(|_, awaiting| awaiting.is_let_go());
        (parts, awaitings)
    }
}

/// Puts a part where it belongs: among the steps of jobs, or among the others.
fn put(part: Draft, job: Option<u64>, parts: &mut Vec<Draft>, steps: &mut BTreeMap<u64, Draft>) {
    match job {
        Some(job) => drop(steps.insert(job, part)),
        None => parts.push(part),
    }
}
