//! What the world outside knows: what was asked, what was answered, what each destination saw. It judges every send as it happens.
//!
//! A body says which message and which revision it is (`17.2`), so that a destination needs no other knowledge to tell what it saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goniec::model::policy::{Receipt, scatter};
use goniec::model::{Class, Failure, Id, Message, Outcome, Sent};
use goniec::store::{Store, key_hash};
use goniec::transport::Transport;

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
}

/// What a destination saw of a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    attempt: u16,
    epoch: u64,
    not_before_mono: u64,
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
    pub store: Option<Arc<dyn Store>>,
    pub told: u64,
    pub sends: u64,
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
            seen.not_before_mono = 0;
        }
    }

    /// Judges a send: S4, S6, S7, and that no retry comes before its delay.
    fn judge(&mut self, message: &Message, is_ordered: bool) -> Option<usize> {
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
        let seen = self.seen.get(&n).copied().unwrap_or_default();
        if seen.epoch == self.epoch && seen.attempt != 0 && message.attempt != seen.attempt + 1 {
            self.violated(format!("S4: attempt {} of {n} after {}", message.attempt, seen.attempt));
        }
        if seen.epoch == self.epoch && self.now_mono < seen.not_before_mono {
            let early = seen.not_before_mono - self.now_mono;
            self.violated(format!("F08: attempt {} of {n} is {early} ms early", message.attempt));
        }
        if is_ordered {
            self.judge_order(message, n);
        }
        self.seen.insert(n, Seen { attempt: message.attempt, epoch: self.epoch, not_before_mono: 0 });
        Some(n)
    }

    fn judge_order(&mut self, message: &Message, n: usize) {
        let Some(store) = self.store.clone() else { return };
        let own = key_hash(message.key().unwrap_or_default());
        let Ok(Some(place)) = store.find(message.id) else { return };
        let Ok(Some(dest)) = store.get(place).map(|record| record.map(|record| record.envelope.destination.clone()))
        else {
            return;
        };
        let mut before = Vec::new();
        let read = store.unfinished(&mut |other| {
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
    pub is_ordered: bool,
    /// The shortest delay before the next attempt, by the policy as it should be.
    pub delay_ms_min: u64,
    /// A planted fault: a refusal is taken for a delivery.
    pub refusal_delivers: bool,
}

impl Transport for Liar {
    fn send(&self, message: &Message, _deadline: Duration) -> Outcome {
        let mut ledger = self.ledger.lock().expect("a ledger");
        ledger.sends += 1;
        let Some(n) = ledger.judge(message, self.is_ordered) else { return refused(400) };
        let mut chance = ledger.chance.take().expect("chance");
        let (rates, healed) = (ledger.rates, ledger.healed);
        let kind = if healed { None } else { (0..rates.len()).find(|kind| chance.percent(rates[*kind])) };
        let status = [500, 502, 503, 408, 301, 999][usize::try_from(chance.below(6)).expect("small")];
        let takes_it = chance.percent(50);
        ledger.chance = Some(chance);
        let (outcome, taken) = match kind {
            None => (Outcome::Delivered(Receipt { status: Some(200) }), true),
            Some(0) => (Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer")), takes_it),
            Some(1) => (Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused")), false),
            Some(2) => (refused(status), false),
            Some(3) => {
                let mut failure = Failure::new(Class::RateLimited, Sent::Answered, "429");
                (failure.status, failure.retry_after_ms) = (Some(429), Some(90_000));
                (Outcome::Failed(failure), false)
            }
            Some(4) => (refused(422), false),
            Some(_) => {
                ledger.delay(n, self.delay_ms_min);
                drop(ledger);
                std::panic::resume_unwind(Box::new("the transport died"));
            }
        };
        if taken {
            *ledger.accepted.entry(n).or_default() += 1;
        }
        match &outcome {
            Outcome::Failed(failure) => {
                // Where a cycle decides, it decides alone.
                let asked_ms = failure.retry_after_ms.filter(|_| self.delay_ms_min > 0).unwrap_or(0);
                ledger.delay(n, self.delay_ms_min.max(asked_ms));
                if self.refusal_delivers && failure.status == Some(422) {
                    return Outcome::Delivered(Receipt { status: Some(422) });
                }
            }
            Outcome::Delivered(_) => {}
        }
        outcome
    }
}

impl Ledger {
    fn delay(&mut self, n: usize, delay_ms: u64) {
        let until = self.now_mono + delay_ms;
        if let Some(seen) = self.seen.get_mut(&n) {
            seen.not_before_mono = until;
        }
    }
}

fn refused(status: u16) -> Outcome {
    let (_, class) = goniec::model::policy::disposition(status);
    let mut failure = Failure::new(class, Sent::Answered, format!("the answer was {status}"));
    failure.status = Some(status);
    Outcome::Failed(failure)
}
