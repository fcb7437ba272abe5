//! What must hold of a world in the end.

use std::collections::{BTreeMap, BTreeSet};

use goniec::Id;
use goniec::engine::{Side, Stream, StreamShown};
use goniec::model::ledger::{Entry, Number, Origin};
use goniec::model::{Record, State};
use goniec::store::{Query, Store};

use super::{Node, World};

/// A message there: its id and revision at its sender, and its body.
pub type Copied = (Id, u16, Vec<u8>);

fn list(node: &Node) -> Vec<Record> {
    node.store.list(&Query { limit: 100_000, ..Query::default() }).expect("lists").records
}

fn body(node: &Node, record: &Record) -> Vec<u8> {
    node.store.load(record.place).expect("reads").expect("there").message.body.to_vec()
}

fn origin(record: &Record) -> Origin {
    Origin::of(&record.envelope).expect("every message has an origin")
}

fn number(record: &Record) -> Number {
    Number::of(&record.envelope).expect("every message has a number")
}

impl World {
    /// What is there, and how often.
    pub fn arrived(&self) -> BTreeMap<Copied, u32> {
        let mut arrived = BTreeMap::new();
        for record in list(&self.receiver) {
            let Origin { id, revision, .. } = origin(&record);
            *arrived.entry((id, revision, body(&self.receiver, &record))).or_default() += 1;
        }
        arrived
    }

    /// What is missing, by what both say.
    pub fn holes(&self) -> Option<String> {
        let streams = |node: &Node| -> Vec<StreamShown> { node.turn.streams() };
        for out in streams(&self.sender) {
            let there = streams(&self.receiver).into_iter().find(|shown| shown.stream.epoch == out.stream.epoch);
            let known = there.as_ref().map_or(0, |shown| shown.mark);
            if known < out.last || out.mark < out.last {
                return Some(format!("sender {out:?}, receiver {there:?}"));
            }
        }
        None
    }

    /// What does not hold in the end.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(self.holes().map(|holes| format!("a hole after quiet: {holes}")));
        let arrived = self.arrived();
        let twice = arrived.iter().filter(|(_, count)| **count > 1);
        found.extend(twice.map(|((id, revision, _), count)| format!("{id}/{revision} arrived {count} times")));
        let gone = self.stays.iter().filter(|copied| !arrived.contains_key(copied));
        found.extend(gone.map(|(id, revision, _)| format!("{id}/{revision} had arrived and is gone")));
        let sent = self.judge_sender(&arrived, &mut found);
        self.judge_receiver(&sent, &mut found);
        for id in self.taken.lock().expect("no panic").iter() {
            // A person may have removed it.
            if self.sender.store.find(*id).expect("reads").is_none() && !self.is_known_as_removed(*id) {
                found.push(format!("{id} was acknowledged and is gone"));
            }
        }
        found
    }

    /// What does not hold of the messages of the sender; with their numbers.
    fn judge_sender(&self, arrived: &BTreeMap<Copied, u32>, found: &mut Vec<String>) -> BTreeMap<(u64, u64), Record> {
        let mut sent: BTreeMap<(u64, u64), Record> = BTreeMap::new();
        let newest: BTreeMap<Id, u16> = arrived.keys().map(|(id, revision, _)| (*id, *revision)).collect();
        for record in list(&self.sender) {
            let number = number(&record);
            let copied = (record.id, record.revision, body(&self.sender, &record));
            // A sender that was put back may have sent a later edit, which it no longer knows.
            let is_there = arrived.contains_key(&copied) || newest.get(&record.id) > Some(&record.revision);
            let stream = Stream { side: Side::In, name: "here".into(), epoch: number.epoch };
            let (page, at) = number.at();
            let entry = self.receiver.turn.ledger_page(&stream, page).expect("reads").entry(at);
            // What came after its end was told is known as ended where a disk forgot that it came: a comparison finds it, and the keeper does not.
            let is_forgotten = self.lies && matches!(entry, Entry::Ended(_));
            match record.state {
                State::Delivered if !is_there && !is_forgotten => {
                    found.push(format!("{} was delivered and is not there: {entry:?}", record.id));
                }
                State::Abandoned(_) if entry == Entry::Unknown => {
                    found.push(format!("{} ended, and nobody there knows why it did not come", record.id));
                }
                State::Delivered | State::Abandoned(_) => {}
                State::Queued(_) | State::Sending(_) | State::Failed(_) => {
                    found.push(format!("{} still waits: {:?}", record.id, record.state));
                }
            }
            if let Some(other) = sent.insert((number.epoch, number.n), record.clone()) {
                found.push(format!("{number} is the number of {} and of {}", other.id, record.id));
            }
        }
        sent
    }

    /// What does not hold of the numbers there: each is one message's, and where the sender still counts both mean the same by it.
    fn judge_receiver(&self, sent: &BTreeMap<(u64, u64), Record>, found: &mut Vec<String>) {
        let (current, last) = self.sender.turn.numbered("peer").expect("numbered");
        let mut owners: BTreeMap<(u64, u64), BTreeSet<Id>> = BTreeMap::new();
        for record in list(&self.receiver) {
            let Origin { id, number: Some(number), .. } = origin(&record) else { continue };
            owners.entry((number.epoch, number.n)).or_default().insert(id);
        }
        for ((epoch, n), ids) in owners {
            let number = Number { epoch, n };
            let stream = Stream { side: Side::In, name: "here".into(), epoch };
            let Some(known) = self.receiver.turn.ledger_message(&stream, n).expect("reads") else {
                found.push(format!("{number} arrived, and the ledger there does not say so"));
                continue;
            };
            let known = origin(&self.receiver.turn.show(known, self.now().wall).expect("there").record).id;
            if ids != BTreeSet::from([known]) {
                found.push(format!("{number} is the number of {ids:?} there, and the ledger says of {known}"));
            }
            if epoch != current {
                continue;
            }
            if n > last {
                found.push(format!("{number} is known there, was not given here, and its epoch goes on"));
            }
            // One that ended here never went, so nobody heard that its number is another's.
            let own = sent.get(&(epoch, n)).filter(|own| own.id != known && own.state == State::Delivered);
            found.extend(own.map(|own| format!("{number} is that of {} here, of {known} there, and counts", own.id)));
        }
    }

    pub fn is_known_as_removed(&self, id: Id) -> bool {
        let audit = self.sender.turn.audit(None, 10_000).expect("reads");
        audit.entries.iter().any(|entry| format!("{entry:?}").contains(&id.to_string()))
    }
}
