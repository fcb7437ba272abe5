//! Destinations that refuse, reset and close, at every moment (F09).

use goniec::model::{Class, Sent, State};

use super::stage::{Stage, play, scene};

#[test]
fn resets_and_closes_at_every_moment() {
    play(&[
        scene("request 1 -> reset at connect", "uncertain protocol maybe -", "delivered 2"),
        scene("request 1 -> reset at byte", "uncertain protocol maybe -", "delivered 2"),
        scene("request 1 -> reset at byte", "uncertain protocol maybe -", "delivered 2").big(),
        scene("attempt 1 -> reset at head", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> reset at head", "uncertain protocol maybe -", "delivered 2").big(),
        scene("attempt 1 -> reset", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> reset", "uncertain protocol maybe -", "delivered 2").big(),
        scene("attempt 1 -> wait 50ms reset", "uncertain protocol maybe -", "delivered 2"),
        scene("request 1 -> close at connect", "uncertain protocol maybe -", "delivered 2"),
        scene("request 1 -> close at byte", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> close at head", "uncertain protocol maybe -", "delivered 2").big(),
        scene("attempt 1 -> close", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1..5 -> reset", "uncertain protocol maybe -", "delivered 6"),
    ]);
}

#[test]
fn what_arrived_and_was_not_confirmed_is_sent_again_with_its_id() {
    play(&[
        scene("attempt 1 -> take reset", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> take close", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> take hang", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("attempt 1 -> take 500", "retry server answered 500", "delivered 2"),
    ]);
    let stage = Stage::new("attempt 1 -> take reset", 5_000);
    let id = stage.send("x");
    stage.until(id, |record| record.state == State::Delivered);
    assert_eq!((stage.sink.figures().duplicates, stage.sink.figures().distinct), (1, 1), "the id tells it");
}

#[test]
fn an_answer_counts_even_where_the_connection_ends_with_it() {
    play(&[
        scene("attempt 1 -> 503 close", "retry rate-limited answered 503", "delivered 2"),
        scene("attempt 1 -> 500 body no close", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 200 close", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 200 body hello hang", "delivered - answered 200", "delivered 1").within(300),
        scene("attempt 1 -> 422 body hello hang", "rejected rejected answered 422", "rejected 1").within(300),
        scene("attempt 1 -> 200 body hello cut 5B", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> 200 body hello cut 20B", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> 200 body hello cut 40B", "delivered - answered 200", "delivered 1"),
    ]);
}

#[test]
fn who_refuses_surely_has_nothing_and_is_found_again() {
    let stage = Stage::new("request 1 -> refuse 250ms", 5_000);
    let id = stage.send("x");
    let record = stage.until(id, |record| record.state == State::Delivered);
    let attempts = stage.attempts(id);
    let refused = &attempts[1..attempts.len() - 1];
    assert!(!refused.is_empty() && record.attempts > 2, "{attempts:?}");
    for attempt in refused {
        assert_eq!((attempt.class, attempt.sent), (Some(Class::Connect), Sent::No), "{attempt:?}");
        assert!(attempt.detail.contains("refused the connection"), "{attempt:?}");
    }
    assert_eq!(stage.came(id), 2, "the first and the last reached it");
}
