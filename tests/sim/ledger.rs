//! What the world outside knows: what was asked, what was answered, what each destination saw. It judges every send as it happens.
//!
//! A body says which message and which revision it is (`17.2`), so that a destination needs no other knowledge to tell what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goniec::model::policy::{Receipt, scatter};
use goniec::model::{Class, Failure, Id, Message, Outcome, Record, Sent};
use goniec::store::{Pattern, Query, StateName, Store, key_hash};
use goniec::transport::{Probed, Transport};

use super::limits::{self, Limits};
use super::plant::Planted;

/// Chance that follows from a seed.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.0) % limit.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A message as the world outside knows it.
#[derive(Debug, Clone, Default)]
pub struct Made {
    pub id: Option<Id>,
    /// The newest revision that was acknowledged, and the newest that was asked for: between them the truth lies.
    pub acknowledged: u64,
    pub asked: u64,
    /// A delete was asked for, and not surely refused.
    pub deleted: bool,
    /// A person said that it had arrived.
    pub arrived: bool,
    /// Its row could not be read or written at times, and so an outcome may not have been written down.
    pub was_damaged: bool,
    /// Its sender was told no.
    pub refused: bool,
    /// The version it claims, and of which key, where that counts.
    pub version: Option<(String, u64)>,
    /// Where it goes, its key, and the keys that it waits for.
    pub line: (&'static str, String),
    pub after: Vec<String>,
    /// A person wanted it to go, or may have.
    pub is_let_go: bool,
    /// Its sender was told yes after somebody had been told so of a newer version.
    pub is_below: bool,
}

/// An attempt as its destination sees it, decided when it begins and true when it ends.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    pub n: usize,
    /// How long it takes.
    pub takes_ms: u64,
    /// The destination takes the message.
    pub taken: bool,
    /// How long the message must wait before its next attempt.
    pub delay_ms: u64,
    /// The outcome tells for sure that the destination does not have it.
    pub surely_not: bool,
    /// The destination failed, and did not just refuse.
    pub is_its_fault: bool,
    /// How long it asks to be left alone.
    pub asked_ms: u64,
}

/// What a destination saw of a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    attempt: u16,
    epoch: u64,
    not_before_mono: u64,
    /// It may be there already: only a person may let it go out again, where the destination must not get it twice.
    maybe_there: bool,
}

#[derive(Default)]
pub struct Ledger {
    pub made: Vec<Made>,
    pub by_id: BTreeMap<Id, usize>,
    pub seen: BTreeMap<usize, Seen>,
    pub accepted: BTreeMap<usize, u64>,
    pub violations: Vec<String>,
    pub hash: u64,
    pub epoch: u64,
    pub now_mono: u64,
    pub healed: bool,
    pub rates: [u64; 6],
    pub chance: Option<Chance>,
    pub store: Option<Arc<Planted>>,
    pub told: u64,
    pub sends: u64,
    /// The attempt that began last.
    pub drawn: Option<Drawn>,
    /// How many are out, by destination; how many may be.
    pub out: BTreeMap<String, u16>,
    pub concurrency: u16,
    pub now_wall: u64,
    /// The keys of which a message has arrived, by destination.
    pub there: BTreeSet<(&'static str, String)>,
    /// The newest version of a key that anybody was told is accepted.
    pub newest: BTreeMap<String, u64>,
    /// What the destinations of this world are held to; `None` in a world without limits.
    pub limits: Option<Limits>,
}

pub type Shared = Arc<Mutex<Ledger>>;

impl Ledger {
    pub fn note(&mut self, what: &str) {
        self.hash = scatter(self.hash ^ key_hash(what));
    }

    pub fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A person acted on the message: it may go out again at once.
    pub fn acted(&mut self, n: usize) {
        if let Some(seen) = self.seen.get_mut(&n) {
            (seen.not_before_mono, seen.maybe_there) = (0, false);
        }
    }

    /// An attempt ended, and the engine will hear of it.
    pub fn landed(&mut self, drawn: Drawn, destination: &str) {
        self.came_home(drawn, destination);
        let is_known = !self.made[drawn.n].was_damaged;
        if let Some(limits) = &mut self.limits {
            limits.ended(destination, drawn, is_known, self.now_mono);
        }
        self.delay(drawn.n, drawn.delay_ms);
        if let Some(seen) = self.seen.get_mut(&drawn.n) {
            seen.maybe_there = !drawn.surely_not;
        }
    }

    /// An attempt was under way when the power was cut: its destination may have it, the engine will never hear.
    pub fn cut_off(&mut self, drawn: Drawn, arrives: bool, destination: &str) {
        self.came_home(Drawn { taken: drawn.taken && arrives, ..drawn }, destination);
    }

    fn came_home(&mut self, drawn: Drawn, destination: &str) {
        self.note(&format!("end of {} at {}", drawn.n, self.now_mono));
        if drawn.taken {
            *self.accepted.entry(drawn.n).or_default() += 1;
            self.there.insert(self.made[drawn.n].line.clone());
        }
        if let Some(out) = self.out.get_mut(destination) {
            *out -= 1;
        }
    }

    fn delay(&mut self, n: usize, delay_ms: u64) {
        let until = self.now_mono + delay_ms;
        if let Some(seen) = self.seen.get_mut(&n) {
            seen.not_before_mono = until;
        }
    }

    /// S12: no more are out than the destination takes at once.
    fn judge_width(&mut self, destination: &str) {
        let out = self.out.entry(destination.to_owned()).or_default();
        *out += 1;
        if *out > self.concurrency {
            let words = format!("S12: {out} are out to {destination}, {} may be", self.concurrency);
            self.violated(words);
        }
    }

    fn judge_limits(&mut self, destination: &str, message: &Message) {
        let out = self.out.get(destination).copied().unwrap_or(0);
        let (now_mono, now_wall) = (self.now_mono, self.now_wall);
        let wrong = self.limits.as_mut().map(|limits| limits.begin(destination, out, now_mono, now_wall));
        wrong.into_iter().flatten().for_each(|what| self.violated(what));
        if self.limits.is_some() && limits::only_latest(destination) {
            self.judge_latest(message);
        }
    }

    /// Nothing goes out after a newer message of its key has arrived.
    fn judge_latest(&mut self, message: &Message) {
        let Some((store, key)) = self.store.clone().zip(message.key()) else { return };
        let Ok(Some(place)) = store.inner.find(message.id) else { return };
        let dest = store.inner.destination(&message.envelope.destination).expect("a number");
        let query = Query {
            states: vec![StateName::Delivered],
            destinations: vec![dest],
            key: Some(Pattern::Exactly(key.to_owned())),
            limit: usize::MAX,
            ..Query::default()
        };
        // What a person says of one that came below a newer version counts for nothing.
        let counts = |other: &Record| self.by_id.get(&other.id).is_none_or(|n| !self.made[*n].is_below);
        let mut arrived = store.inner.list(&query).expect("lists").records.into_iter();
        if let Some(newer) = arrived.find(counts).filter(|newest| newest.place > place) {
            self.violated(format!("R6: {place} goes out, and {} of its key has arrived", newer.place));
        }
    }

    /// A message is acknowledged: from now on it, or one above it, is the newest version of its key.
    pub fn hold(&mut self, n: usize) {
        let Some((key, version)) = self.made[n].version.clone() else { return };
        let newest = self.newest.entry(key).or_default();
        self.made[n].is_below = version < *newest;
        *newest = version.max(*newest);
    }

    /// Judges a send: S4, S6, S7, S10, R7, A1, and that no retry comes before its delay.
    fn judge(&mut self, message: &Message, is_ordered: bool, only_once: bool) -> Option<usize> {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        let Some((n, revision)) = text.split_once('.') else {
            self.violated(format!("S6: unknown body {text:?}"));
            return None;
        };
        let (n, revision) = (n.parse::<usize>().expect("a number"), revision.parse::<u64>().expect("a number"));
        self.note(&format!("send {text} {} at {}", message.attempt, self.now_mono));
        let made = self.made.get(n).cloned().unwrap_or_default();
        if made.id.is_some_and(|id| id != message.id) {
            self.violated(format!("S6: message {n} was accepted as {:?} and went out as {}", made.id, message.id));
        }
        if !(made.acknowledged..=made.asked).contains(&revision) {
            self.violated(format!("S6: revision {revision} of {n} went out, {} is the newest", made.acknowledged));
        }
        if made.refused {
            self.violated(format!("S6: message {n} went out, and its sender was told no"));
        }
        if made.is_below {
            self.violated(format!(
                "R7: {n} went out with version {:?}, and a newer one had come before it",
                made.version
            ));
        }
        let is_there = |key: &String| self.there.contains(&(made.line.0, key.clone()));
        if let Some(key) = made.after.iter().find(|key| !made.is_let_go && !is_there(key)) {
            self.violated(format!("A1: {n} went out, and no message of {key}, for which it waits, has arrived"));
        }
        let seen = self.seen.get(&n).copied().unwrap_or_default();
        if only_once && seen.maybe_there {
            self.violated(format!("S10: {n} went out again, and nobody can know whether it was there already"));
        }
        let is_known = seen.epoch == self.epoch && !made.was_damaged;
        if is_known && seen.attempt != 0 && message.attempt != seen.attempt + 1 {
            self.violated(format!("S4: attempt {} of {n} after {}", message.attempt, seen.attempt));
        }
        if is_known && self.now_mono < seen.not_before_mono {
            let early = seen.not_before_mono - self.now_mono;
            self.violated(format!("F08: attempt {} of {n} is {early} ms early", message.attempt));
        }
        if is_ordered {
            self.judge_order(message, n);
        }
        self.seen
            .insert(n, Seen { attempt: message.attempt, epoch: self.epoch, not_before_mono: 0, maybe_there: true });
        Some(n)
    }

    fn judge_order(&mut self, message: &Message, n: usize) {
        let Some(store) = self.store.clone() else { return };
        let own = key_hash(message.key().unwrap_or_default());
        let store = &store.inner;
        let Ok(Some(place)) = store.find(message.id) else { return };
        let Ok(Some(dest)) = store.get(place).map(|record| record.map(|record| record.envelope.destination.clone()))
        else {
            return;
        };
        let mut before = Vec::new();
        let read = store.unfinished(&|_| false, &mut |other| {
            if other.key_hash == own && other.place < place {
                before.push(other.place);
            }
        });
        read.expect("reads");
        for other in before {
            let record = store.get(other).expect("reads").expect("a message");
            if record.envelope.destination == dest {
                self.violated(format!("S7: {n} went out before {other}, which stands at {}", record.state));
            }
        }
    }
}

/// A destination that lies, hangs, refuses and dies.
pub struct Liar {
    pub ledger: Shared,
    pub name: &'static str,
    pub is_ordered: bool,
    /// It must get nothing twice.
    pub only_once: bool,
    /// The shortest delay before the next attempt, by the policy as it should be.
    pub delay_ms_min: u64,
    /// How long an attempt may take, by the rules as they should be.
    pub timeout_ms: u64,
    /// A planted fault: a refusal is taken for a delivery.
    pub refusal_delivers: bool,
    /// A planted fault: it is left alone for less than it asked for.
    pub asks_for_less: bool,
    /// A planted fault: that it has a message is taken for the opposite.
    pub there_ignored: bool,
}

impl Transport for Liar {
    fn send(&self, message: &Message, deadline: Duration) -> Outcome {
        let mut ledger = self.ledger.lock().expect("a ledger");
        ledger.sends += 1;
        if deadline != Duration::from_millis(self.timeout_ms) {
            ledger.violated(format!("L4: an attempt may take {deadline:?} instead of {} ms", self.timeout_ms));
        }
        ledger.judge_width(self.name);
        ledger.judge_limits(self.name, message);
        let Some(n) = ledger.judge(message, self.is_ordered, self.only_once) else { return refused(400) };
        let mut chance = ledger.chance.take().expect("chance");
        let (rates, healed) = (ledger.rates, ledger.healed);
        let kind = if healed { None } else { (0..rates.len()).find(|kind| chance.percent(rates[*kind])) };
        let is_down = ledger.limits.as_ref().is_some_and(|limits| limits.is_down(self.name, ledger.now_mono));
        let kind = if is_down && !healed { Some(1) } else { kind };
        let status = [500, 502, 503, 408, 301, 999][usize::try_from(chance.below(6)).expect("small")];
        let takes_it = chance.percent(50);
        let takes_ms = match chance.below(4) {
            0 => 0,
            1 | 2 => chance.below(300),
            _ => chance.below(self.timeout_ms),
        };
        ledger.chance = Some(chance);
        let delay_ms = self.delay_ms_min;
        let is_its_fault = !matches!(kind, None | Some(4));
        let mut drawn = Drawn { n, takes_ms, taken: false, delay_ms, surely_not: false, is_its_fault, asked_ms: 0 };
        let mut outcome = match kind {
            None => {
                (drawn.taken, drawn.delay_ms) = (true, 0);
                Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() })
            }
            Some(0) => {
                // It hangs until its time is over.
                (drawn.taken, drawn.takes_ms) = (takes_it, self.timeout_ms);
                Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer"))
            }
            Some(1) => Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused")),
            Some(2) => refused(status),
            Some(3) => {
                let mut failure = Failure::new(Class::RateLimited, Sent::Answered, "429");
                (failure.status, failure.retry_after_ms) = (Some(429), Some(90_000));
                // Where a cycle decides, it decides alone: it runs on the wall clock, which jumps.
                if self.delay_ms_min > 0 {
                    drawn.delay_ms = 90_000;
                }
                drawn.asked_ms = 90_000;
                if self.asks_for_less {
                    (drawn.delay_ms, failure.retry_after_ms) = (self.delay_ms_min, None);
                }
                Outcome::Failed(failure)
            }
            Some(4) => refused(422),
            Some(_) => {
                drawn.takes_ms = 0;
                ledger.drawn = Some(drawn);
                drop(ledger);
                std::panic::resume_unwind(Box::new("the transport died"));
            }
        };
        if let Outcome::Failed(failure) = &outcome {
            drawn.surely_not = failure.sent != Sent::Maybe;
            if self.refusal_delivers && failure.status == Some(422) {
                outcome = Outcome::Delivered(Receipt { status: Some(422), ..Receipt::default() });
            }
        }
        ledger.drawn = Some(drawn);
        outcome
    }

    fn probe(&self, message: &Message, _deadline: Duration) -> Probed {
        let mut ledger = self.ledger.lock().expect("a ledger");
        let text = String::from_utf8_lossy(&message.body);
        let n: Option<usize> = text.split_once('.').and_then(|(n, _)| n.parse().ok());
        let mut chance = ledger.chance.take().expect("chance");
        let way = chance.below(10);
        ledger.chance = Some(chance);
        let way = if ledger.healed { 9 } else { way };
        let is_there = n.is_some_and(|n| ledger.accepted.contains_key(&n));
        let (now_mono, epoch) = (ledger.now_mono, ledger.epoch);
        ledger.note(&format!("question {way} after {n:?} at {now_mono}"));
        let unknown = |class| Probed::Unknown(Failure::new(class, Sent::No, "who knows"));
        let told = match way {
            0 | 1 => unknown(Class::Connect),
            2 => unknown(Class::Rule),
            _ if is_there && !self.there_ignored => Probed::There(Receipt::default()),
            _ => Probed::Absent,
        };
        if let Some(seen) = n.and_then(|n| ledger.seen.get_mut(&n)) {
            match &told {
                Probed::Absent => seen.maybe_there = is_there,
                Probed::There(_) | Probed::Unknown(_) => {
                    (seen.attempt, seen.epoch) = (message.attempt, epoch);
                    seen.not_before_mono = now_mono + self.delay_ms_min;
                }
            }
        }
        told
    }
}

fn refused(status: u16) -> Outcome {
    let (_, class) = goniec::model::policy::disposition(status);
    let mut failure = Failure::new(class, Sent::Answered, format!("the answer was {status}"));
    failure.status = Some(status);
    Outcome::Failed(failure)
}
