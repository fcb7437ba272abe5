//! What goes on after the acts: a little of everything, and now and then a system that is unwell, so that the console lives.
//!
//! # What holds
//!
//! * It lasts until a signal, or until the node ends; it hands in no more after very many messages.
//! * A node that does not take something now is asked again later; nothing that it refused counts as accepted.
//!
//! # What it does not know
//!
//! The stories.

use super::super::NO;
use super::goods::{ERP, Envelope, order, price, shipment, stock};
use super::stage::{Halt, Stage};
use super::systems::System;

/// The numbers of its orders begin here.
const ORDERS: u64 = 11_000;
/// How long a turn takes, and how many a round has.
const TURN_MS: u64 = 1_500;
const ROUND: u64 = 60;
/// After so many turns, some forty hours, it has been enough: an entry of each message is kept in memory.
const TURNS: u64 = 100_000;
/// Its prices go on above those of the acts, and begin anew before they are absurd.
const PRICE_STEPS: u64 = 40;

/// Who is unwell from which turn of a round to which, how, and in words.
const TIMETABLE: [(u64, u64, System, &str, &str, &str); 3] = [
    (14, 20, System::Courier, "courier", "-> 503 body 'overloaded'", "is overloaded for a moment"),
    (
        30,
        35,
        System::Shop,
        "shop",
        "path /stock* -> 503 body 'stocktaking'",
        "takes no stock levels; they wait for the next cycle",
    ),
    (
        44,
        49,
        System::Shop,
        "shop",
        "path /prices* -> 503 body 'price index is being rebuilt'",
        "takes no prices for a moment",
    ),
];

/// Goes on until it is stopped. `left` is the order that was left to the visitor.
pub(super) fn run(stage: &mut Stage<'_>, left: &str) -> Result<(), Halt> {
    stage.act("It goes on gently. Ctrl-C ends it, with an account of what became of every message")?;
    let mut is_mended = false;
    let mut turned_away = None;
    for turn in 0..TURNS {
        for (from, to, system, name, lines, words) in TIMETABLE {
            if turn % ROUND == from {
                stage.systems.play(system, lines)?;
                stage.tell(name, words)?;
            } else if turn % ROUND == to {
                stage.systems.play(system, "")?;
                stage.tell(name, "is well again")?;
            }
        }
        match work(turn).iter().try_for_each(|all| stage.hand_in(all).map(drop)) {
            Ok(()) => turned_away = None,
            Err(fail) if fail.code == NO && turned_away.as_ref() != Some(&fail.line) => {
                stage.tell("goniec", &format!("does not take it: {}", fail.line))?;
                turned_away = Some(fail.line);
            }
            Err(fail) if fail.code == NO => {}
            Err(fail) => return Err(fail.into()),
        }
        if !is_mended && stage.systems.behind(ERP).taken(left) > 0 {
            is_mended = true;
            stage.tell("erp", "has the order that you mended")?;
        }
        stage.rest(TURN_MS)?;
    }
    stage.tell("demo", "has gone on for long, and hands in no more")?;
    loop {
        stage.rest(TURN_MS)?;
    }
}

/// What is handed in at this turn, request by request.
fn work(turn: u64) -> Vec<Vec<Envelope>> {
    let mut work = Vec::new();
    if turn.is_multiple_of(3) {
        let number = ORDERS + turn / 3;
        work.push(vec![order(number), shipment(number)]);
    }
    if turn % 2 == 1 {
        work.push(vec![price(turn / 2, 6 + turn % PRICE_STEPS)]);
    }
    if turn % 4 == 2 {
        work.push(vec![stock(turn / 4, turn * 7)]);
    }
    work
}
