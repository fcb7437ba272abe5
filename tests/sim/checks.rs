//! The invariants of a world: after every turn what is cheap, from time to time and after every crash all of it, built anew.

use std::collections::{BTreeMap, BTreeSet};

use goniec::model::{Abandoned, Place, State};
use goniec::store::{Pattern, Query, StateName, Store, Unfinished};

use super::ledger::Made;
use super::world::{ATTEMPTS_MAX, NAMES, TIMEOUT_MS, World};

fn is_final(state: StateName) -> bool {
    match state {
        StateName::Delivered | StateName::Abandoned => true,
        StateName::Queued | StateName::Sending | StateName::Failed => false,
    }
}

impl World {
    fn is_damaged(&self, place: Place) -> bool {
        let record = self.store.inner.get(place).expect("reads");
        let ledger = self.ledger.lock().expect("a ledger");
        let n = record.and_then(|record| ledger.by_id.get(&record.id).copied());
        n.is_some_and(|n| ledger.made[n].was_damaged)
    }

    /// S3: every unfinished message that is not held has one wake-up, and nothing else has one. S4: nothing rests in `Sending` but what is out,
    /// and nothing is out twice. S2 of what is unfinished.
    pub fn check_turn(&mut self) {
        let Some(turn) = &self.turn else { return };
        let mut wakes = turn.wakes();
        let mut wrong = Vec::new();
        let out: BTreeSet<_> = self.flights.values().map(|flying| flying.flight.place()).collect();
        if out.len() != self.flights.len() {
            wrong.push("S4: a message is out twice".to_owned());
        }
        let mut recount = BTreeMap::new();
        let read = self.store.inner.unfinished(&|_| false, &mut |found| {
            let count = wakes.remove(&found.place).unwrap_or(0);
            *recount.entry((found.dest, StateName::of(found.state))).or_insert(0u64) += 1;
            if matches!(found.state, State::Sending(_)) && !out.contains(&found.place) && !self.is_damaged(found.place)
            {
                wrong.push(format!("S4: {} rests in Sending", found.place));
            } else if count != u32::from(!found.state.is_held()) {
                wrong.push(format!("S3: {} ({}) has {count} wake-ups", found.place, found.state));
            }
        });
        read.expect("reads");
        let kept = self.store.counts().into_iter().filter(|count| count.messages > 0 && !is_final(count.state));
        let kept: BTreeMap<_, _> = kept.map(|count| ((count.dest, count.state), count.messages)).collect();
        if kept != recount {
            wrong.push(format!("S2: counts are {kept:?} and should be {recount:?}"));
        }
        for lane in turn.lanes(self.now()) {
            let dest = self.store.inner.destination(&lane.name).expect("a number");
            let waiting: u64 = recount.iter().filter(|((of, _), _)| *of == dest).map(|(_, count)| count).sum();
            if lane.age.waiting != waiting || lane.age.oldest.is_some() != (waiting > 0) {
                wrong.push(format!("S2: {} waits as {:?}, and {waiting} do", lane.name, lane.age));
            }
        }
        for place in wakes.keys() {
            let state = self.store.inner.get(*place).expect("reads").map(|record| record.state);
            wrong.push(format!("S3: a wake-up for {place} ({state:?}), which waits for nothing"));
        }
        wrong.into_iter().for_each(|what| self.violated(what));
    }

    /// S1, S2, S5, S8 over everything that is there.
    pub fn check_all(&mut self) {
        let mut ledger = self.ledger.lock().expect("a ledger");
        let mut wrong = Vec::new();
        for (n, made) in ledger.made.iter().enumerate().filter(|(_, made)| !made.deleted) {
            if made.id.is_some_and(|id| self.store.inner.find(id).expect("finds").is_none()) {
                wrong.push(format!("S1: message {n} was acknowledged and is not there"));
            }
        }
        let mut recount = BTreeMap::new();
        let page = self.store.list(&Query { limit: usize::MAX, ..Query::default() }).expect("lists");
        for record in page.records {
            *recount.entry((record.envelope.destination.to_string(), StateName::of(record.state))).or_insert(0u64) += 1;
            let n = ledger.by_id.get(&record.id).copied();
            let arrived = n.is_none_or(|n| ledger.made[n].arrived || ledger.accepted.contains_key(&n));
            if record.state == State::Delivered && !arrived {
                wrong.push(format!("S5: {n:?} is delivered, and its destination does not have it"));
            }
            if record.series > ATTEMPTS_MAX {
                wrong.push(format!("S8: {n:?} had {} attempts in a series", record.series));
            }
            let reasons = self.store.inner.attempts(record.place).expect("reads");
            if reasons.iter().any(|attempt| attempt.class.is_some() && attempt.detail.is_empty()) {
                wrong.push(format!("S8: an attempt of {n:?} has no reason"));
            }
            let at = NAMES.iter().position(|name| **name == *record.envelope.destination).expect("a destination");
            let longest_ms = reasons.iter().map(|attempt| u64::from(attempt.duration_ms)).max().unwrap_or(0);
            if longest_ms > TIMEOUT_MS[at] + 250 {
                wrong.push(format!("L4: an attempt of {n:?} was held for {longest_ms} ms"));
            }
        }
        let names: BTreeMap<_, _> = self.store.destinations().into_iter().collect();
        let kept = self.store.counts().into_iter().filter(|count| count.messages > 0);
        let kept: BTreeMap<_, _> =
            kept.map(|count| ((names[&count.dest].to_string(), count.state), count.messages)).collect();
        if kept != recount {
            wrong.push(format!("S2: counts are {kept:?} and should be {recount:?}"));
        }
        if let Err(broken) = self.store.inner.check() {
            wrong.push(format!("S2: {broken}"));
        }
        wrong.into_iter().for_each(|what| ledger.violated(what));
    }

    /// Whether it waits for a key of which nothing may come: the newest of it has not arrived, or one of it is not there any more.
    fn waits_in_vain(&self, found: &Unfinished) -> bool {
        let record = self.store.inner.get(found.place).expect("reads").expect("a message");
        let Some(turn) = &self.turn else { return false };
        let shown = turn.show(record.id, self.now().wall).expect("is shown");
        let name = &*record.envelope.destination;
        let ledger = self.ledger.lock().expect("a ledger");
        shown.after.iter().any(|key| {
            let is_of_key = |made: &&Made| made.line.0 == name && made.line.1 == **key;
            let key = Some(Pattern::Exactly(key.to_string()));
            let query = Query { destinations: vec![found.dest], key, limit: usize::MAX, ..Query::default() };
            let of_key = self.store.inner.list(&query).expect("lists").records;
            let mut counts = of_key.iter().map(|record| record.state);
            let newest = counts.find(|state| !matches!(state, State::Abandoned(Abandoned::Superseded(_))));
            newest != Some(State::Delivered) || ledger.made.iter().filter(is_of_key).any(|made| made.deleted)
        })
    }

    /// How many messages wait for something that comes by itself: neither for a person, nor for a key that may never come, nor behind one that does.
    pub fn waiting(&self) -> usize {
        let (mut blocked, mut waiting) = (BTreeSet::new(), Vec::new());
        // Where only the latest of a key counts, one goes at a time, too.
        let in_lines = if self.is_limited { &[NAMES[0], NAMES[1], NAMES[3]][..] } else { &[NAMES[0], NAMES[3]] };
        let number = |name: &&str| self.store.inner.destination(name).expect("a number");
        let ordered: Vec<_> = in_lines.iter().map(number).collect();
        let read = self.store.inner.unfinished(&|_| false, &mut |found| {
            let of_key = (found.dest, found.key_hash);
            let is_stopped = found.state.is_held() || self.waits_in_vain(&found);
            if is_stopped && ordered.contains(&found.dest) {
                blocked.insert(of_key);
            } else if !is_stopped && !blocked.contains(&of_key) {
                waiting.push(found);
            }
        });
        read.expect("reads");
        waiting.len()
    }

    pub fn check_told(&mut self) {
        let page = self.store.list(&Query { limit: usize::MAX, ..Query::default() }).expect("lists");
        let needs =
            |state| matches!(state, State::Abandoned(Abandoned::Exhausted | Abandoned::Rejected | Abandoned::Expired));
        let ended = page.records.iter().filter(|record| needs(record.state)).count() as u64;
        let told = self.ledger.lock().expect("a ledger").told;
        if told < ended {
            self.violated(format!("S9: {ended} messages were abandoned and people told of {told}"));
        }
        if !self.store.untold(None, 1).expect("reads").is_empty() {
            self.violated("S9: someone is still to be told".into());
        }
    }
}
