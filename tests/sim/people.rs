//! What people do in a world: they hand messages in, and act on them. What they are told is compared with what is there.

use goniec::engine::{Act, Hand};
use goniec::error::Error;
use goniec::model::{Abandoned, Id, Message, Queued, State, WallMs};
use goniec::store::{Store, StoreError};

use super::ledger::{Ledger, Made};
use super::limits;
use super::world::{BODY_BYTES_MAX, NAMES, World};

impl World {
    pub fn accept(&mut self) {
        for _ in 0..1 + self.chance.below(2) {
            let mut drafts = Vec::new();
            let too_large = self.chance.percent(5);
            let first = self.ledger.lock().expect("a ledger").made.len();
            for n in (first..).take(usize::try_from(1 + self.chance.below(5)).expect("small")) {
                let name = NAMES[usize::try_from(self.chance.below(4)).expect("small")];
                let key = format!("k{}", self.chance.below(6));
                let mut draft = Message::to(name).key(key.clone()).body(format!("{n}.1").into_bytes());
                if self.is_limited && limits::only_latest(name) && self.chance.percent(60) {
                    draft = draft.version(self.chance.below(40));
                }
                if self.chance.percent(10) {
                    draft = draft.not_before(WallMs(self.wall + self.chance.below(1_800_000)));
                }
                if self.chance.percent(5) {
                    draft = draft.deadline(WallMs(self.wall + 1 + self.chance.below(600_000)));
                }
                if too_large {
                    draft = draft.body(vec![b'x'; BODY_BYTES_MAX as usize + usize::from(n == first)]);
                }
                let after = if self.has_after { self.after(&key) } else { Vec::new() };
                draft = after.iter().fold(draft, |draft, key| draft.after(key.as_str()));
                let version = draft.envelope.version;
                drafts.push(draft);
                let made = Made {
                    acknowledged: 1,
                    asked: 1,
                    version: version.map(|version| (key.clone(), version)),
                    line: (name, key),
                    after,
                    ..Made::default()
                };
                self.ledger.lock().expect("a ledger").made.push(made);
            }
            let (ledger, count) = (self.ledger.clone(), drafts.len());
            let reply = move |answer: Result<Vec<Id>, Error>| {
                let mut ledger = ledger.lock().expect("a ledger");
                if let Err(Error::TooLarge { .. } | Error::Store(StoreError::Full(_))) = &answer {
                    ledger.note(&format!("refused {first}"));
                    ledger.made[first..first + count].iter_mut().for_each(|made| made.refused = true);
                }
                for (n, id) in (first..).zip(answer.unwrap_or_default()) {
                    ledger.note(&format!("accepted {n} {id}"));
                    ledger.made[n].id = Some(id);
                    ledger.hold(n);
                    ledger.by_id.insert(id, n);
                }
            };
            if let Some(turn) = &mut self.turn {
                turn.accept(drafts, Box::new(reply));
            }
        }
    }

    /// The keys that a message of this one waits for. What else comes by chance stays as it is.
    fn after(&self, own: &str) -> Vec<String> {
        let mut chance = self.chance.clone();
        let count = if chance.percent(25) { 1 + chance.below(2) } else { 0 };
        (0..count).map(|_| format!("k{}", chance.below(6))).filter(|key| key != own).collect()
    }

    /// Pauses a destination, or lets it go on.
    pub fn steer(&mut self) {
        let name = NAMES[usize::try_from(self.chance.below(4)).expect("small")];
        if self.chance.percent(60) {
            return self.resume(name);
        }
        let wish = self.wish(name);
        let ledger = self.ledger.clone();
        let reply = move |answer: Result<goniec::engine::Lane, Error>| {
            let mut ledger = ledger.lock().expect("a ledger");
            ledger.note(&format!("pause {name}: {}", answer.is_ok()));
            let now_ms = ledger.now_mono;
            if let (Ok(_), Some(limits)) = (&answer, &mut ledger.limits) {
                limits.paused(name, wish, now_ms);
            }
        };
        if let Some(turn) = &mut self.turn {
            turn.steer(name, Hand::Pause, Box::new(reply));
        }
    }

    fn wish(&self, name: &str) -> u64 {
        self.ledger.lock().expect("a ledger").limits.as_mut().map_or(0, |limits| limits.steer(name))
    }

    /// Lets a destination go on.
    pub fn resume(&mut self, name: &str) {
        let _wish = self.wish(name);
        if let Some(turn) = &mut self.turn {
            turn.steer(name, Hand::Resume, Box::new(|_| ()));
        }
    }

    pub fn act(&mut self) {
        let mut ledger = self.ledger.lock().expect("a ledger");
        if ledger.made.is_empty() {
            return;
        }
        let n = usize::try_from(self.chance.below(ledger.made.len() as u64)).expect("small");
        let Some(id) = ledger.made[n].id.filter(|_| !ledger.made[n].deleted) else { return };
        let what = self.chance.below(8);
        let act = match what {
            0 => Act::Hold,
            1 | 2 => Act::Release,
            3 => Act::Resend(Queued::Ready),
            4 => Act::Cancel,
            5 => {
                // It may be believed, whatever is heard of that.
                let line = ledger.made[n].line.clone();
                ledger.there.insert(line);
                Act::Arrived
            }
            6 => {
                ledger.made[n].deleted = true;
                Act::Delete
            }
            _ => {
                ledger.made[n].asked += 1;
                let body = format!("{n}.{}", ledger.made[n].asked).into_bytes().into();
                Act::Edit { body, content_type: None, read: None }
            }
        };
        // Who edits what rests sends it, and a message with a deadline or a newer one of its key may come to rest by itself.
        ledger.made[n].is_let_go |= matches!(what, 1..=3 | 7);
        let asked = ledger.made[n].asked;
        drop(ledger);
        let ledger = self.ledger.clone();
        let reply = move |answer: Result<goniec::engine::Shown, Error>| {
            let mut ledger = ledger.lock().expect("a ledger");
            ledger.note(&format!("act {what} on {n}: {}", answer.is_ok()));
            ledger.acted(n);
            let damaged = matches!(answer, Err(Error::Store(StoreError::Damaged(_))));
            let unknown = !damaged && matches!(answer, Err(Error::Store(_) | Error::Stopping));
            if answer.is_ok() {
                ledger.judge_act(n, id, what, asked);
            }
            let made = &mut ledger.made[n];
            match what {
                5 if answer.is_ok() || unknown => made.arrived = true,
                6 if answer.is_err() && !unknown => made.deleted = false,
                7 if answer.is_ok() => made.acknowledged = asked,
                7 if !unknown && made.asked == asked => made.asked = asked - 1,
                _ => {}
            }
        };
        if let Some(turn) = &mut self.turn {
            turn.act(id, act, Box::new(reply));
        }
    }
}

impl Ledger {
    /// What was answered as done is done.
    fn judge_act(&mut self, n: usize, id: Id, what: u64, asked: u64) {
        let Some(store) = self.store.clone() else { return };
        let place = store.inner.find(id).expect("finds");
        let record = place.and_then(|place| store.inner.get(place).expect("reads"));
        let state = record.map(|record| record.state);
        let body = || place.and_then(|place| store.inner.load(place).expect("reads")).map(|found| found.message.body);
        let is_done = match what {
            0 => state.is_some_and(State::is_held),
            1 | 2 => state.is_some_and(|state| !state.is_held() && !state.is_final()),
            3 => state == Some(State::Queued(Queued::Ready)),
            4 => state == Some(State::Abandoned(Abandoned::Cancelled)),
            5 => state == Some(State::Delivered),
            6 => state.is_none(),
            _ => body().is_some_and(|body| *body == *format!("{n}.{asked}").as_bytes()),
        };
        if !is_done {
            self.violated(format!("S2: act {what} on {n} was answered as done, and it stands at {state:?}"));
        }
    }
}
