//! A destination that returns finds 20,000 messages waiting, and is not run down by them (F16). Hours in milliseconds, under a clock of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use goniec::Message;
use goniec::engine::{Destination, Flight, Order, Settings, Turn};
use goniec::model::breaker::BreakerRule;
use goniec::model::rate::Rate;
use goniec::model::{Backoff, Class, Failure, Outcome, Receipt, Retry, Sent, Stamp, WallMs};
use goniec::store::memory::MemoryStore;

const WAITING: usize = 20_000;
const KEYS: usize = 400;
const DOWN_MS: u64 = 600_000;
const TAKES_MS: u64 = 40;
const CONCURRENCY: u16 = 16;
const RATE: u32 = 200;

/// What was sent: when, how many were out with it, and the key and number of the message.
struct Sends(Vec<(u64, usize, usize, usize)>);

/// Everything is accepted while the destination is down; it returns after ten minutes.
fn returns(rate: Option<Rate>, breaker: Option<BreakerRule>) -> Sends {
    let mut shop = Destination::new("shop", |_: &Message| ());
    (shop.rate, shop.breaker, shop.concurrency, shop.order) = (rate, breaker, CONCURRENCY, Order::Key);
    shop.policy.retry = Retry { backoff: Backoff::Fixed(5_000), jitter_permille: 500, attempts: 60_000 };
    let mut now = Stamp { wall: WallMs(1_795_435_200_000), mono_ms: 0 };
    let store = Arc::new(MemoryStore::new());
    let mut turn = Turn::open(store, vec![shop], Settings::default(), Vec::new(), now).expect("opens");
    for block in 0..WAITING / 500 {
        let message = |n: usize| Message::to("shop").key(format!("{}", n % KEYS)).body(n.to_string().into_bytes());
        let drafts = (block * 500..(block + 1) * 500).map(message).collect();
        turn.accept(drafts, Box::new(|answer| drop(answer.expect("accepts"))));
    }
    let (mut sends, mut delivered) = (Vec::new(), 0);
    let (mut flights, mut out): (Vec<Flight>, BTreeMap<(u64, usize), Flight>) = Default::default();
    while delivered < WAITING {
        while let Some(first) = out.first_entry().filter(|first| first.key().0 <= now.mono_ms) {
            let ((at_ms, _), flight) = first.remove_entry();
            let is_up = at_ms >= DOWN_MS;
            delivered += usize::from(is_up);
            turn.land(flight, if is_up { arrived() } else { down() }, now);
        }
        let due = turn.turn_out(now, &mut flights).expect("turns");
        let is_busy = !flights.is_empty();
        for flight in flights.drain(..) {
            let number: usize = String::from_utf8_lossy(&flight.message().body).parse().expect("a number");
            out.insert((now.mono_ms + TAKES_MS, sends.len()), flight);
            sends.push((now.mono_ms, out.len(), number % KEYS, number));
        }
        if !is_busy {
            let lands = out.first_key_value().map(|(key, _)| key.0);
            let next = due.into_iter().chain(lands).min().unwrap_or(0).max(now.mono_ms + 1);
            now = Stamp { wall: now.wall.plus(next - now.mono_ms), mono_ms: next };
        }
        assert!(now.mono_ms < 3_600_000, "{delivered} delivered after an hour");
    }
    Sends(sends)
}

fn arrived() -> Outcome {
    Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() })
}

fn down() -> Outcome {
    Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused the connection"))
}

impl Sends {
    /// The most that began within any second.
    fn peak(&self) -> usize {
        let mut first = 0;
        let within = |(last, (at_ms, ..)): (usize, &(u64, usize, usize, usize))| {
            while self.0[first].0 + 1_000 <= *at_ms {
                first += 1;
            }
            last + 1 - first
        };
        self.0.iter().enumerate().map(within).max().unwrap_or(0)
    }

    fn after(&self, ms: u64) -> impl Iterator<Item = &(u64, usize, usize, usize)> {
        self.0.iter().filter(move |(at_ms, ..)| *at_ms >= ms)
    }
}

#[test]
fn twenty_thousand_that_waited_come_in_at_the_rate_and_from_one_upwards() {
    let breaker = BreakerRule { failures: 5, window_ms: 30_000, probe_ms: 15_000 };
    let sends = returns(Some(Rate::new(RATE, 1_000)), Some(breaker));
    assert!(sends.peak() <= RATE as usize, "{} within a second", sends.peak());
    let knocks = sends.0.len() - WAITING;
    assert!(knocks < 60, "{knocks} attempts while it was down");
    // One probe, then more at once, never more than it is configured for.
    let widths: Vec<usize> = sends.after(DOWN_MS).map(|(_, out, ..)| *out).collect();
    assert_eq!(widths[0], 1, "{:?}", &widths[..20]);
    let full = widths.iter().position(|out| *out >= 8).expect("it is used whole");
    assert!(full >= 6, "a ramp: {:?}", &widths[..20]);
    assert!(widths.iter().all(|out| *out <= usize::from(CONCURRENCY)));
    // Oldest first within a key.
    let mut last = HashMap::new();
    for (_, _, key, number) in sends.after(DOWN_MS) {
        assert!(last.insert(key, number).is_none_or(|before| before < number), "key {key}: {number} too early");
    }
    let ideal_ms = WAITING as u64 * 1_000 / u64::from(RATE);
    let (from, to) = (sends.after(DOWN_MS).next().expect("sent").0, sends.0.last().expect("sent").0);
    assert!(to - from <= ideal_ms * 12 / 10, "drained in {} of {ideal_ms} ms", to - from);
}

/// The control: without rate and breaker it is knocked at all the time, and run down when it returns.
#[test]
fn without_limits_it_is_run_down() {
    let sends = returns(None, None);
    assert!(sends.peak() > RATE as usize, "{} within a second", sends.peak());
    assert!(sends.0.len() - WAITING > 10_000, "{} attempts while it was down", sends.0.len() - WAITING);
}
