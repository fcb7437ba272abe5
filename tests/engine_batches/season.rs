//! Whole seasons of random failures, of requests and of single messages, and of crashes, on seeds that are printed.

use std::collections::BTreeMap;

use super::*;

const MESSAGES: u64 = 120;

/// What the destination was sent that it took, by key and in order.
type Seen = BTreeMap<String, Vec<u64>>;

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }
}

fn rule(order: Order, on_uncertain: OnUncertain) -> fn(&mut Destination) {
    let is_held = on_uncertain == OnUncertain::Hold;
    match (order, is_held) {
        (Order::Key, true) => |shop| (shop.order, shop.policy.on_uncertain) = (Order::Key, OnUncertain::Hold),
        (Order::Key, false) => |shop| shop.order = Order::Key,
        (Order::None, true) => |shop| shop.policy.on_uncertain = OnUncertain::Hold,
        (Order::None, false) => |_| (),
    }
}

fn number(message: &Message) -> u64 {
    String::from_utf8_lossy(message.body()).parse().expect("a number")
}

/// A request ends in one of ten ways; a fourth of its messages on their own where it arrived.
fn end(flight: &Flight, dice: &mut Dice, seen: &mut Seen) -> Batched {
    let way = dice.below(10);
    let is_alone = flight.messages().len() == 1;
    let request = match way {
        4 => answered(503),
        5 => Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "late")),
        6 | 7 if !is_alone => answered(400),
        6 | 7 => answered(503),
        8 => answered(401),
        _ => arrived(),
    };
    let mut each = Vec::new();
    for message in flight.messages() {
        let own = match (way, dice.below(8)) {
            (0..=3, 0) => Some(answered(500)),
            (0..=3, 1) => Some(Outcome::Failed(Failure::new(Class::Rule, Sent::Maybe, "no result"))),
            _ => None,
        };
        let has_it = match own.as_ref().unwrap_or(&request) {
            Outcome::Delivered(_) => true,
            Outcome::Failed(failure) => failure.sent == Sent::Maybe && dice.below(2) == 0,
        };
        if has_it {
            seen.entry(message.key().expect("a key").to_owned()).or_default().push(number(message));
        }
        each.push(own);
    }
    Batched { request, each }
}

fn live(day: Day, dice: &mut Dice, order: Order) -> Result<(), String> {
    let (mut day, mut seen, mut accepted, mut ids) = (day, Seen::new(), 0_u64, Vec::new());
    for round in 0.. {
        if accepted >= MESSAGES && day.is_quiet() {
            break;
        }
        if round > 20_000 {
            return Err(format!("it does not come to an end: {:?}", day.turn.stats().counts));
        }
        if accepted < MESSAGES {
            let more = 0..dice.below(9) as u64;
            let more: Vec<_> = more.map(|n| (format!("sku-{}", dice.below(12)), (accepted + n).to_string())).collect();
            accepted += more.len() as u64;
            ids.extend(day.accept(more));
        }
        if !day.out.is_empty() && dice.below(3) > 0 {
            let flight = day.out.swap_remove(dice.below(day.out.len()));
            let batched = end(&flight, dice, &mut seen);
            day.turn.land_batch(flight, batched, day.now);
            day.run();
        }
        if dice.below(60) == 0 {
            day = day.killed();
        }
        if dice.below(20) == 0 {
            let is_held = |id: &&Id| day.state(**id) == State::Failed(Failed::Held);
            for id in ids.iter().filter(is_held).copied().collect::<Vec<_>>() {
                day.act(id, Act::Resend(Queued::Ready)).map_err(|error| error.to_string())?;
            }
        }
        day.pass(dice.below(30_000) as u64);
        if let Some((place, count)) = day.turn.wakes().iter().find(|(_, count)| **count != 1) {
            return Err(format!("{place} is waited for {count} times"));
        }
    }
    for id in &ids {
        let message = day.turn.message(*id).map_err(|error| error.to_string())?;
        let is_there = message.key().and_then(|key| seen.get(key)).is_some_and(|seen| seen.contains(&number(&message)));
        if day.state(*id) != State::Delivered || !is_there {
            return Err(format!("{id} is {:?}, and at the destination: {is_there}", day.state(*id)));
        }
    }
    match seen.values().find(|numbers| order == Order::Key && !numbers.is_sorted()) {
        Some(numbers) => Err(format!("not in order: {numbers:?}")),
        None => Ok(()),
    }
}

#[test]
fn whatever_fails_every_message_ends_and_nothing_is_lost() {
    for seed in 0..200_u64 {
        let order = if seed % 2 == 0 { Order::Key } else { Order::None };
        let on_uncertain = if seed % 4 < 2 { OnUncertain::Retry } else { OnUncertain::Hold };
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        if let Err(wrong) = live(Day::begin(rule(order, on_uncertain)), &mut dice, order) {
            panic!("seed {seed}, {order:?}, {on_uncertain:?}: {wrong}");
        }
    }
}
