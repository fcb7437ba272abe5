//! What a person is told of destinations: that one fails and is left alone, that it answers again, that a rule over its answers fails.

use std::sync::{Arc, Mutex};

use goniec::Message;
use goniec::engine::{Alert, Channel, Destination, Kind, Rule, Settings, Turn};
use goniec::model::breaker::BreakerRule;
use goniec::model::{Backoff, Class, Failure, Outcome, Receipt, Retry, Sent, Stamp, WallMs};
use goniec::store::memory::MemoryStore;

const DIGEST_MS: u64 = 600_000;

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<(String, String)>>>);

impl Channel for Ear {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.0.lock().expect("whole").push((alert.reason.to_owned(), alert.to_string()));
        Ok(())
    }

    fn name(&self) -> String {
        "ear".into()
    }
}

/// What is told of a day on which every attempt that begins before `mended_ms` comes to `outcome`, and every later one arrives.
fn told(kinds: &[Kind], breaker: Option<BreakerRule>, outcome: &Outcome, mended_ms: u64) -> Vec<(String, String)> {
    let mut erp = Destination::new("erp", |_: &Message| ());
    erp.policy.retry = Retry { backoff: Backoff::Fixed(1_000), jitter_permille: 0, attempts: 60_000 };
    erp.breaker = breaker;
    let ear = Ear::default();
    let rule = Rule { kinds: kinds.to_vec(), ..Rule::all(ear.clone(), DIGEST_MS) };
    let mut now = Stamp { wall: WallMs(1_795_435_200_000), mono_ms: 0 };
    let turn = Turn::open(Arc::new(MemoryStore::new()), vec![erp], Settings::default(), vec![rule], now);
    let mut turn = turn.expect("opens");
    turn.accept((0..50).map(|_| Message::to("erp")).collect(), Box::new(|said| drop(said.expect("accepts"))));
    let mut flights = Vec::new();
    while now.mono_ms < 2 * DIGEST_MS {
        let due = turn.turn_out(now, &mut flights).expect("turns");
        let is_over = flights.is_empty();
        for flight in flights.drain(..) {
            let arrived = Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() });
            let came = if now.mono_ms < mended_ms { outcome.clone() } else { arrived };
            turn.land(flight, came, now);
        }
        if is_over {
            let by_ms = due.unwrap_or(u64::MAX).saturating_sub(now.mono_ms).clamp(1, 1_000);
            now = Stamp { wall: now.wall.plus(by_ms), mono_ms: now.mono_ms + by_ms };
        }
    }
    ear.0.lock().expect("whole").clone()
}

fn failed(class: Class, sent: Sent) -> Outcome {
    Outcome::Failed(Failure::new(class, sent, "the rule `.status` failed on it"))
}

#[test]
fn a_destination_that_fails_is_told_once_and_so_is_that_it_answers() {
    let rule = BreakerRule { failures: 3, window_ms: 600_000, probe_ms: 5_000 };
    let down = failed(Class::Server, Sent::Answered);
    let told_of = |kinds: &[Kind], breaker| told(kinds, breaker, &down, 300_000);
    let breaker = told_of(&[Kind::Breaker], Some(rule));
    let reasons: Vec<&str> = breaker.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["failing", "answering"], "{breaker:?}");
    // The controls: nobody is told who does not ask for it, and nothing where there is no breaker.
    assert_eq!(told_of(&[Kind::Late], Some(rule)), []);
    assert_eq!(told_of(&[Kind::Breaker], None), []);
}

#[test]
fn a_rule_that_fails_is_told_once() {
    let told_of = |class| told(&[Kind::Abandoned], None, &failed(class, Sent::Maybe), 300_000);
    let rules = told_of(Class::Rule);
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert_eq!(rules[0].0, "rule");
    assert!(
        rules[0].1.contains("the rules of erp do not tell what it answered") && rules[0].1.contains(".status"),
        "{rules:?}"
    );
    // The control: an answer that was lost is no failing rule.
    assert_eq!(told_of(Class::Timeout), []);
}
