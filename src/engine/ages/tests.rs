//! Ages against a recount after random histories, over wall clocks that jump.

use super::*;
use crate::model::NodeTag;
use crate::model::policy::scatter;

const ERP: Dest = Dest(0);
const LATE_MS: u64 = 60_000;
const STARTED: Stamp = Stamp { wall: WallMs(1_790_000_000_400), mono_ms: 77 };

/// A message as somebody who remembers everything knows it.
#[derive(Debug, Clone, Copy)]
struct Known {
    aged: Aged,
    /// By the clock that never jumps.
    came_ms: u64,
    is_open: bool,
}

struct Life {
    chance: u64,
    now: Stamp,
    last_ms: u64,
    ages: Ages,
    known: Vec<Known>,
}

impl Life {
    fn new(seed: u64) -> Life {
        let ages = Ages::new([Some(LATE_MS)].into_iter(), STARTED);
        Life { chance: seed, now: STARTED, last_ms: 0, ages, known: Vec::new() }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.chance) % limit
    }

    fn pass(&mut self, ms: u64) {
        self.now = Stamp { wall: self.now.wall.plus(ms), mono_ms: self.now.mono_ms + ms };
    }

    fn accept(&mut self, not_before: Option<WallMs>) {
        self.last_ms = self.last_ms.max(self.now.wall.0);
        let place = Place::from_u64(10 * self.known.len() as u64);
        let id = Id::compose(WallMs(self.last_ms), NodeTag::new(1), place);
        let aged = Aged { dest: ERP, place, accepted_at: id.accepted_at(), not_before };
        self.ages.accepted(aged, self.now);
        self.known.push(Known { aged, came_ms: self.ages.steady_ms(self.now), is_open: true });
    }

    fn turn_over(&mut self, number: usize) {
        let Known { aged, is_open, .. } = self.known[number];
        self.ages.moved(aged, !is_open, is_open, self.now);
        self.known[number].is_open = !is_open;
    }

    fn check(&mut self, seed: u64) {
        let steady_ms = self.ages.steady_ms(self.now);
        let open: Vec<&Known> = self.known.iter().filter(|known| known.is_open).collect();
        let late = open.iter().filter(|known| match known.aged.deferred_s() {
            Some(at_s) => is_past(at_s, LATE_MS, self.now.wall.0),
            None => is_past(known.came_ms / 1_000, LATE_MS, steady_ms),
        });
        let came = |known: &&Known| known.came_ms / 1_000 * 1_000;
        let ago_ms = |came_ms: u64| WallMs(self.now.wall.0.saturating_sub(steady_ms - came_ms));
        let accepted = open.iter().filter(|known| known.aged.deferred_s().is_none()).map(|known| ago_ms(came(known)));
        let deferred = open.iter().filter_map(|known| known.aged.deferred_s()).map(|at_s| WallMs(at_s * 1_000));
        let expected =
            Age { waiting: open.len() as u64, late: late.count() as u64, oldest: accepted.chain(deferred).min() };
        let standing = self.ages.standing(ERP, self.now);
        assert_eq!(standing.age, expected, "seed {seed}");
        if let Some((first, end)) = standing.oldest_in {
            let is_there = |known: &&&Known| (first..end).contains(&known.aged.place);
            let there: Vec<_> = open.iter().filter(is_there).map(|known| ago_ms(came(known))).collect();
            assert!(there.contains(&expected.oldest.expect("an oldest")), "seed {seed}");
        }
    }
}

#[test]
fn ages_are_those_of_a_recount_after_every_change() {
    for seed in 0..60 {
        let mut life = Life::new(seed);
        // Where messages come back from their end, only the wall clock of their ids can tell when they came: it then runs evenly.
        let has_jumps = seed % 2 == 0;
        for _ in 0..400 {
            match life.below(12) {
                0..=4 => {
                    let not_before = (life.below(6) == 0).then(|| life.now.wall.plus(life.below(90_000)));
                    life.accept(not_before);
                }
                5..=8 if !life.known.is_empty() => {
                    let number = life.below(life.known.len() as u64) as usize;
                    if life.known[number].is_open || !has_jumps {
                        life.turn_over(number);
                    }
                }
                9 if has_jumps => {
                    let by_ms = 1 + life.below(400_000_000_000);
                    let wall = life.now.wall.0;
                    life.now.wall = WallMs(if life.below(2) == 0 { wall + by_ms } else { wall.saturating_sub(by_ms) });
                }
                _ => {
                    let ms = life.below(9_000);
                    life.pass(ms);
                }
            }
            life.check(seed);
        }
    }
}

#[test]
fn what_a_start_finds_is_as_old_as_its_id_says_and_no_older_than_the_process_where_that_lies_ahead() {
    let mut ages = Ages::new([Some(LATE_MS)].into_iter(), STARTED);
    let aged = |place, accepted_at| Aged { dest: ERP, place: Place::from_u64(place), accepted_at, not_before: None };
    ages.found(aged(1, WallMs(STARTED.wall.0 - 3 * LATE_MS)));
    ages.found(aged(2, WallMs(STARTED.wall.0 - 1_000)));
    ages.found(aged(3, WallMs(STARTED.wall.0 + 315_576_000_000)));
    let age = ages.standing(ERP, STARTED).age;
    assert_eq!((age.waiting, age.late), (3, 1));
    let due_ms = ages.next_late(STARTED).expect("one is late next");
    let then = |mono_ms: u64| Stamp { wall: STARTED.wall.plus(mono_ms - STARTED.mono_ms), mono_ms };
    assert_eq!(ages.standing(ERP, then(due_ms - 1)).age.late, 1, "not before it is");
    assert_eq!(ages.standing(ERP, then(due_ms)).age.late, 2);
    assert_eq!(ages.standing(ERP, then(STARTED.mono_ms + LATE_MS + 1_000)).age.late, 3, "and not in ten years");
    assert_eq!(ages.standing(ERP, then(due_ms)).turned_late, 3);
}

#[test]
fn what_a_start_finds_ceases_to_wait_as_it_was_counted() {
    const PLAIN: Dest = Dest(1);
    let mut ages = Ages::new([Some(LATE_MS), None].into_iter(), STARTED);
    let came = WallMs(STARTED.wall.0 - 2 * LATE_MS);
    let at = |seconds: u64| Some(STARTED.wall.plus(1_000 * seconds));
    let aged = |dest, place, not_before| Aged { dest, place: Place::from_u64(place), accepted_at: came, not_before };
    // Where nothing can be late, a start is not told what each envelope says.
    ages.found(aged(ERP, 1, at(30)));
    ages.found(aged(PLAIN, 2, None));
    ages.found(aged(PLAIN, 3, None));
    ages.found(aged(ERP, 4, None));
    ages.accepted(aged(PLAIN, 5, at(40)), STARTED);
    let standing = |ages: &mut Ages| [ERP, PLAIN].map(|dest| ages.standing(dest, STARTED).age);
    let second = |at: WallMs| Some(WallMs(at.0 / 1_000 * 1_000));
    let late = |waiting| Age { waiting, oldest: second(came), late: 1 };
    let plain = |waiting, oldest| Age { waiting, oldest, late: 0 };
    assert_eq!(standing(&mut ages), [late(2), plain(3, second(came))]);
    // What is settled then, is settled with its whole envelope.
    ages.moved(aged(PLAIN, 2, at(40)), false, true, STARTED);
    assert_eq!(standing(&mut ages), [late(2), plain(2, second(came))]);
    ages.moved(aged(PLAIN, 3, at(40)), false, true, STARTED);
    ages.moved(aged(ERP, 4, None), false, true, STARTED);
    let deferred = at(30).and_then(second);
    assert_eq!(standing(&mut ages), [Age { oldest: deferred, ..plain(1, None) }, plain(1, at(40).and_then(second))]);
    ages.moved(aged(PLAIN, 3, at(40)), true, false, STARTED);
    assert_eq!(standing(&mut ages)[1], plain(2, second(came)));
    for message in [aged(ERP, 1, at(30)), aged(PLAIN, 3, at(40)), aged(PLAIN, 5, at(40))] {
        ages.moved(message, false, true, STARTED);
    }
    assert_eq!(standing(&mut ages), [Age::default(); 2]);
}

#[test]
fn what_was_never_counted_takes_nobody_away() {
    let mut ages = Ages::new([None].into_iter(), STARTED);
    let aged = |place| Aged { dest: ERP, place: Place::from_u64(place), accepted_at: STARTED.wall, not_before: None };
    ages.accepted(aged(5), STARTED);
    ages.moved(aged(4), false, true, STARTED);
    ages.moved(Aged { dest: Dest(9), ..aged(5) }, false, true, STARTED);
    let age = ages.standing(ERP, STARTED).age;
    assert_eq!((age.waiting, age.late), (1, 0), "without a limit nothing is late");
}
