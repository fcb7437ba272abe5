//! What outcomes mean: delivered, again and when, held, or given up.

use super::*;

fn answered(status: u16) -> Outcome {
    let (_, class) = disposition(status);
    Outcome::Failed(Failure { status: Some(status), ..Failure::new(class, Sent::Answered, "answered") })
}

fn check(outcome: &Outcome, attempts: u16, policy: &Policy, expect: Verdict) {
    assert_eq!(judge(outcome, Tried { attempts, failures: attempts, seed: 1 }, policy, WallMs(1_000)), expect);
}

fn steady(attempts: u16) -> Policy {
    Policy {
        retry: Retry { backoff: Backoff::Fixed(500), jitter_permille: 0, attempts },
        on_uncertain: OnUncertain::Retry,
    }
}

#[test]
fn a_yes_of_the_status_does_not_overrule_a_no_of_the_class() {
    let failure = Failure { status: Some(200), ..Failure::new(Class::Body, Sent::Answered, "status ERROR") };
    assert_eq!(failure.delivery(), Delivery::Retry);
    assert_eq!(Failure { class: Class::Rejected, ..failure }.delivery(), Delivery::Rejected);
}

#[test]
fn the_last_attempt_is_the_last() {
    check(&answered(500), 2, &steady(3), Verdict::Retry(Failed::Due(WallMs(1_500))));
    check(&answered(500), 3, &steady(3), Verdict::GiveUp(Abandoned::Exhausted));
}

#[test]
fn our_own_stop_ends_no_message_that_never_left() {
    let cut = |sent| Outcome::Failed(Failure::new(Class::Interrupted, sent, "goniec stopped"));
    check(&cut(Sent::No), 3, &steady(3), Verdict::Retry(Failed::Due(WallMs(1_500))));
    // The control: what may have left is an attempt like any other, else a message that ends the process would go out for ever.
    check(&cut(Sent::Maybe), 3, &steady(3), Verdict::GiveUp(Abandoned::Exhausted));
}

#[test]
fn a_refusal_is_final_but_a_conflict_is_tried_once_more() {
    check(&answered(422), 1, &steady(9), Verdict::GiveUp(Abandoned::Rejected));
    check(&answered(409), 1, &steady(9), Verdict::Retry(Failed::Due(WallMs(1_500))));
    check(&answered(409), 2, &steady(9), Verdict::GiveUp(Abandoned::Rejected));
}

#[test]
fn what_may_have_arrived_is_held_where_the_destination_says_so() {
    let lost = Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer"));
    let refused = Outcome::Failed(Failure::new(Class::Connect, Sent::No, "refused"));
    let careful = Policy { on_uncertain: OnUncertain::Hold, ..steady(9) };
    check(&lost, 1, &careful, Verdict::Retry(Failed::Held));
    check(&lost, 1, &steady(9), Verdict::Retry(Failed::Due(WallMs(1_500))));
    check(&refused, 1, &careful, Verdict::Retry(Failed::Due(WallMs(1_500))));
}

#[test]
fn what_may_have_arrived_is_asked_after_while_attempts_are_left_and_then_held() {
    let lost = Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer"));
    let asking = Policy { on_uncertain: OnUncertain::Probe, ..steady(3) };
    check(&lost, 2, &asking, Verdict::Retry(Failed::Due(WallMs(1_500))));
    check(&lost, 3, &asking, Verdict::Retry(Failed::Held));
    // What surely is not there is given up as ever.
    check(&answered(500), 3, &asking, Verdict::GiveUp(Abandoned::Exhausted));
}

#[test]
fn a_destination_may_ask_for_more_time_but_not_for_ever() {
    let asks = |ms| match answered(503) {
        Outcome::Failed(failure) => Outcome::Failed(Failure { retry_after_ms: Some(ms), ..failure }),
        Outcome::Delivered(receipt) => Outcome::Delivered(receipt),
    };
    check(&asks(7_000), 1, &steady(9), Verdict::Retry(Failed::Due(WallMs(8_000))));
    check(&asks(10), 1, &steady(9), Verdict::Retry(Failed::Due(WallMs(1_500))));
    check(&asks(u64::MAX), 1, &steady(9), Verdict::Retry(Failed::Due(WallMs(1_000 + RETRY_AFTER_MS_MAX))));
}

#[test]
fn delays_double_up_to_the_longest_and_lists_repeat_their_last() {
    let delay = |backoff: &Backoff, attempts| {
        let tried = Tried { attempts: 1, failures: attempts, seed: 0 };
        Retry { backoff: backoff.clone(), jitter_permille: 0, attempts: 99 }.delay_ms(tried)
    };
    let doubling = Backoff::Exponential { first_ms: 100, max_ms: 1_000 };
    assert_eq!((1..=6).map(|n| delay(&doubling, n)).collect::<Vec<_>>(), [100, 200, 400, 800, 1_000, 1_000].map(Some));
    assert_eq!(delay(&doubling, u16::MAX), Some(1_000));
    let list = Backoff::List(vec![5, 7]);
    assert_eq!((1..=4).map(|n| delay(&list, n)).collect::<Vec<_>>(), [5, 7, 7, 7].map(Some));
    assert_eq!(delay(&Backoff::NextCycle, 1), None);
}

#[test]
fn jitter_only_shortens_and_stays_within_its_share() {
    let retry = Retry { backoff: Backoff::Fixed(1_000), jitter_permille: 200, attempts: 9 };
    let tried = |seed| Tried { attempts: 1, failures: 1, seed };
    let delays: Vec<u64> = (0..1_000).filter_map(|seed| retry.delay_ms(tried(seed))).collect();
    assert!(delays.iter().all(|delay| (800..=1_000).contains(delay)));
    assert!(delays.iter().any(|delay| *delay < 820) && delays.iter().any(|delay| *delay > 980));
}

#[test]
fn every_status_has_one_meaning() {
    for status in 0..=999 {
        let (delivery, _) = disposition(status);
        assert_eq!(delivery == Delivery::Delivered, (200..300).contains(&status), "{status}");
    }
}
