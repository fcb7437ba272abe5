//! The scheduler by itself: reservations, and gates that shut.

use super::*;
use crate::model::timetable::Closure;
use crate::model::{Message, WallMs};

fn scheduler(now: Stamp) -> (Scheduler, Who) {
    let rules = Destination::new("erp", |_: &Message| ());
    let mut scheduler = Scheduler::new(&[Some(&rules)], 0, now);
    let who = Who { dest: Dest(0), entry: Entry { place: Place::new(1, 0), hash: 0 } };
    scheduler.stand(who, State::Queued(Queued::Ready), now);
    (scheduler, who)
}

fn given(scheduler: &mut Scheduler, now: Stamp) -> usize {
    let mut given = 0;
    scheduler.next(now, &mut |_| given += 1);
    given
}

#[test]
fn a_lane_that_was_given_all_it_has_notices_that_its_gate_shuts() {
    let now = Stamp { wall: WallMs(5_000), mono_ms: 5 };
    let mut rules = Destination::new("erp", |_: &Message| ());
    (rules.concurrency, rules.hours.closed) = (1, vec![Closure::Once(WallMs(6_000), WallMs(9_000))]);
    let mut scheduler = Scheduler::new(&[Some(&rules)], 64, now);
    let whos = [0, 1, 2].map(|slot| Who { dest: Dest(0), entry: Entry { place: Place::new(1, slot), hash: 0 } });
    whos.into_iter().for_each(|who| scheduler.stand(who, State::Queued(Queued::Ready), now));
    assert_eq!(given(&mut scheduler, now), 1);
    scheduler.hear(&mut vec![News::Settled { who: whos[0], state: State::Delivered }], now);
    assert_eq!((given(&mut scheduler, now), scheduler.is_shut(Dest(0))), (2, false));
    assert_eq!(scheduler.ahead(), [Dest(0)]);
    let closed = Stamp { wall: WallMs(6_000), mono_ms: 1_005 };
    assert_eq!((given(&mut scheduler, closed), scheduler.is_shut(Dest(0))), (0, true));
    assert!(scheduler.next_due().is_some_and(|due_ms| (1_006..=4_005).contains(&due_ms)), "and it is looked at again");
}

#[test]
fn a_reservation_that_changed_nothing_loses_no_turn() {
    let now = Stamp { wall: WallMs(5), mono_ms: 5 };
    let (mut scheduler, who) = scheduler(now);
    scheduler.reserve(who.entry.place).expect("is free");
    assert_eq!(given(&mut scheduler, now), 0, "it does not go out meanwhile");
    assert_eq!(scheduler.reserve(who.entry.place), Err(Taken::Reserved));
    scheduler.forget(who.entry.place);
    assert_eq!(given(&mut scheduler, now), 1);
    scheduler.forget(who.entry.place);
    assert_eq!(scheduler.reserve(who.entry.place), Err(Taken::Out), "what is out stays out");
}
