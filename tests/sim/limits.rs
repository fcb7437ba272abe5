//! What destinations are held to in a world with limits, and the judge of it, which knows the rules and none of the engine's arithmetic.
//!
//! What the engine learns of a destination it forgets in a crash, and does not learn from an outcome that met a damaged row. Nor does the judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use goniec::engine::{Account, Destination};
use goniec::model::breaker::BreakerRule;
use goniec::model::rate::Rate;

use super::ledger::Drawn;
use super::plant::Plant;
use super::world::NAMES;

/// Which destination has a breaker and is down at times, which a rate, and which hours.
const FRAIL: usize = 0;
const PACED: usize = 1;
const CLOSED: usize = 2;
/// Which wants the latest of a key only.
const LATEST: usize = 1;
/// Which share an account: one of them has a timetable.
const OF_ACCOUNT: [usize; 2] = [0, 3];
/// Which writes each send down before it goes.
const CLAIMED: usize = 2;

const RATE_COUNT: u32 = 3;
const RATE_MS: u64 = 60_000;
const FAILURES: u16 = 3;
const PROBE_MS: u64 = 60_000;
/// A breaker looks back at so many outcomes: when all of them failed, it is open whatever came before.
const LOOK_BACK: usize = 20;
/// Minutes of the day, UTC, in which nothing goes: from the first, before the second.
const CLOSED_MIN: [(u64, u64); 2] = [(240, 330), (720, 780)];

/// Sets the limits of the rules, or those of a planted fault.
pub fn set(destinations: &mut [Destination], plant: Plant) {
    let count = RATE_COUNT + u32::from(plant == Plant::RateTooHigh);
    destinations[PACED].rate = Some(Rate::new(count, RATE_MS).with_burst(2));
    destinations[LATEST].latest_wins = plant != Plant::LatestIgnored;
    if plant != Plant::AccountIgnored {
        let rate = Some(Rate::new(RATE_COUNT, RATE_MS).with_burst(2));
        let account = Arc::new(Account { name: "account".into(), rate, concurrency: None });
        OF_ACCOUNT.into_iter().for_each(|at| destinations[at].account = Some(account.clone()));
    }
    if plant != Plant::HoursIgnored {
        let window = |(from, to): (u64, u64)| {
            let text = format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60);
            text.parse().expect("a window")
        };
        destinations[CLOSED].hours.closed = CLOSED_MIN.into_iter().map(window).collect();
    }
    if plant != Plant::BreakerIgnored {
        let probe_ms = if plant == Plant::ProbeTooEarly { PROBE_MS / 20 } else { PROBE_MS };
        let rule = BreakerRule { failures: FAILURES, window_ms: 86_400_000, probe_ms };
        destinations[FRAIL].breaker = Some(rule);
    }
}

/// Whether this one wants the latest of a key only.
pub fn only_latest(name: &str) -> bool {
    name == NAMES[LATEST]
}

/// What the judge remembers.
#[derive(Debug, Default)]
pub struct Limits {
    /// The frail one answers nothing until then.
    pub down_until_ms: u64,
    /// When attempts began that the rate counts, and those that the rate of the account counts.
    began_ms: Vec<u64>,
    account_began_ms: Vec<u64>,
    /// How many of the last outcomes of the frail one were failures, one after another.
    failed_in_a_row: usize,
    frail_began_ms: u64,
    /// Who was paused by a person, and when that was answered.
    paused_ms: BTreeMap<String, u64>,
    /// How often each was steered.
    wishes: BTreeMap<String, u64>,
    /// Who asked to be left alone, when and until when.
    asked_ms: BTreeMap<String, (u64, u64)>,
}

impl Limits {
    /// The power was cut. What a person paused stays so.
    pub fn forget(&mut self) {
        let (paused_ms, wishes) = (std::mem::take(&mut self.paused_ms), std::mem::take(&mut self.wishes));
        *self = Limits { down_until_ms: self.down_until_ms, paused_ms, wishes, ..Limits::default() };
    }

    /// A person steers this one; gives the number of the wish.
    pub fn steer(&mut self, name: &str) -> u64 {
        self.paused_ms.remove(name);
        let wishes = self.wishes.entry(name.to_owned()).or_default();
        *wishes += 1;
        *wishes
    }

    /// A person was told that nothing more goes there, and that was the last wish.
    pub fn paused(&mut self, name: &str, wish: u64, now_ms: u64) {
        if self.wishes.get(name) == Some(&wish) {
            self.paused_ms.insert(name.to_owned(), now_ms);
        }
    }

    pub fn is_down(&self, name: &str, now_ms: u64) -> bool {
        name == NAMES[FRAIL] && now_ms < self.down_until_ms
    }

    /// An attempt begins, and so many are out with it. What is wrong with that.
    pub fn begin(&mut self, name: &str, out: u16, now_ms: u64, wall_ms: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        let (asked_ms, until_ms) = self.asked_ms.get(name).copied().unwrap_or_default();
        // Where sends are claimed in the store first, one that was claimed when the answer came goes.
        let is_claimed = name == NAMES[CLAIMED] && now_ms == asked_ms;
        if now_ms < until_ms && !is_claimed {
            wrong.push(format!("R4: {name} asked to be left alone for {} ms more", until_ms - now_ms));
        }
        if let Some(paused_ms) = self.paused_ms.get(name)
            && !(name == NAMES[CLAIMED] && now_ms == *paused_ms)
        {
            wrong.push(format!("R5: {name} was paused {} ms ago", now_ms - paused_ms));
        }
        let is_of_account = OF_ACCOUNT.iter().any(|at| name == NAMES[*at]);
        for (rule, is_counted, began_ms) in [
            ("R1", name == NAMES[PACED], &mut self.began_ms),
            ("R8: to the account", is_of_account, &mut self.account_began_ms),
        ] {
            if is_counted {
                began_ms.retain(|at_ms| at_ms + RATE_MS > now_ms);
                began_ms.push(now_ms);
                if began_ms.len() > RATE_COUNT as usize {
                    wrong.push(format!("{rule}: {} within a minute, {RATE_COUNT} may be", began_ms.len()));
                }
            }
        }
        let minute = wall_ms / 60_000 % 1_440;
        if name == NAMES[CLOSED] && CLOSED_MIN.iter().any(|(from, to)| (*from..*to).contains(&minute)) {
            wrong.push(format!("R2: {name} is closed in minute {minute} of the day"));
        }
        if name == NAMES[FRAIL] {
            let since_ms = now_ms - self.frail_began_ms;
            // Probes come up to a quarter early.
            if self.failed_in_a_row >= LOOK_BACK && (out > 1 || since_ms < PROBE_MS * 3 / 4) {
                let row = self.failed_in_a_row;
                wrong.push(format!(
                    "R3: {out} are out to {name} {since_ms} ms after the last one, and {row} failed in a row"
                ));
            }
            self.frail_began_ms = now_ms;
        }
        wrong
    }

    /// An attempt ended, and the engine hears of it where that is known.
    pub fn ended(&mut self, name: &str, drawn: Drawn, is_known: bool, now_ms: u64) {
        if name == NAMES[FRAIL] {
            self.failed_in_a_row = if drawn.is_its_fault && is_known { self.failed_in_a_row + 1 } else { 0 };
        }
        if is_known && drawn.asked_ms > 0 {
            let (asked_ms, until_ms) = self.asked_ms.entry(name.to_owned()).or_default();
            (*asked_ms, *until_ms) = (now_ms, (*until_ms).max(now_ms + drawn.asked_ms));
        }
    }
}
