//! Destinations that answer: with statuses that mean something, that mean nothing, and with what they say of when to come again (F11, F12).

use goniec::model::{Failed, State};

use super::stage::{Scenario, Stage, play, scene};

#[test]
fn statuses_mean_what_the_table_says() {
    play(&[
        scene("attempt 1 -> 201", "delivered - answered 201", "delivered 1"),
        scene("attempt 1 -> 204", "delivered - answered 204", "delivered 1"),
        scene("attempt 1 -> 299 body '{\"error\":\"no\"}'", "delivered - answered 299", "delivered 1"),
        scene("attempt 1 -> 301 header 'location: /there'", "retry redirect answered 301", "delivered 2"),
        scene("attempt 1 -> 307", "retry redirect answered 307", "delivered 2"),
        scene("attempt 1 -> 400 body 'no such sku'", "rejected rejected answered 400", "rejected 1"),
        scene("attempt 1 -> 401", "retry setup answered 401", "delivered 2"),
        scene("attempt 1 -> 404", "retry setup answered 404", "delivered 2"),
        scene("attempt 1 -> 408", "retry server answered 408", "delivered 2"),
        scene("attempt 1 -> 409", "rejected conflict answered 409", "delivered 2"),
        scene("attempt 1 -> 413", "rejected rejected answered 413", "rejected 1"),
        scene("attempt 1 -> 422", "rejected rejected answered 422", "rejected 1"),
        scene("attempt 1 -> 425", "retry server answered 425", "delivered 2"),
        scene("attempt 1 -> 429", "retry rate-limited answered 429", "delivered 2"),
        scene("attempt 1 -> 500", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 502 fill 1MiB", "retry server answered 502", "delivered 2"),
        scene("attempt 1..3 -> 503", "retry rate-limited answered 503", "delivered 4"),
        scene("attempt 1 -> 504", "retry server answered 504", "delivered 2"),
        scene("attempt 1 -> 599", "retry server answered 599", "delivered 2"),
    ]);
}

#[test]
fn statuses_that_do_not_exist_are_no_yes() {
    play(&[
        scene("attempt 1 -> 000", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> 099", "uncertain protocol maybe -", "delivered 2"),
        scene(
            "attempt 1 -> raw 'HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n'",
            "retry protocol answered 101",
            "delivered 2",
        ),
        scene("attempt 1 -> 600", "retry protocol answered 600", "delivered 2"),
        scene("attempt 1 -> 999", "retry protocol answered 999", "delivered 2"),
        scene("attempt 1 -> raw 'HTTP/1.1 20 OK\\r\\n\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> raw 'HTTP/1.1 2000 OK\\r\\n\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> raw 'HTTP/1.1 -200 OK\\r\\n\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
        scene(
            "attempt 1 -> raw 'HTTP/1.1 200 \\xff\\xfe\\r\\ncontent-length: 0\\r\\n\\r\\n'",
            "delivered - answered 200",
            "delivered 1",
        ),
        scene("attempt 1 -> 200 body '\\x00\\xff\\x1b[31m' close", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 500 body '\\x00\\xff\\x1b[31m' close", "retry server answered 500", "delivered 2"),
    ]);
}

/// What a destination asks for binds it: clamped to an hour, ignored where it is garbage.
#[test]
fn what_it_says_of_when_to_come_again_is_kept() {
    const HOUR: u64 = 3_600_000;
    let scripts: [(&str, u64, u64); 15] = [
        ("429 retry-after 2", 1_500, 2_000),
        ("503 retry-after ' 90 '", 89_000, 90_000),
        ("429 retry-after-date 90s imf", 88_000, 91_000),
        ("429 retry-after-date 90s rfc850", 88_000, 91_000),
        ("429 retry-after-date 90s asctime", 88_000, 91_000),
        ("503 retry-after 999999", HOUR - 1_000, HOUR),
        ("503 retry-after 99999999999999999999999", HOUR - 1_000, HOUR),
        ("503 retry-after-date 300d imf", HOUR - 1_000, HOUR),
        ("503 retry-after 60 retry-after 7", 59_000, 60_000),
        ("503 retry-after-date -90s imf", 0, 20),
        ("503 retry-after 0", 0, 20),
        ("503 retry-after -1", 0, 20),
        ("503 retry-after soon", 0, 20),
        ("503 retry-after 1.5", 0, 20),
        ("503 retry-after '\\x01\\x02'", 0, 20),
    ];
    for (manner, least_ms, most_ms) in scripts {
        let stage = Stage::new(&format!("-> {manner}"), 5_000);
        let id = stage.send("x");
        stage.until(id, |record| record.attempts == if most_ms > 20 { 1 } else { 3 });
        let attempt = stage.attempts(id).remove(0);
        let ended_at = attempt.started_at.plus(attempt.duration_ms.into());
        let record = stage.until(id, |record| matches!(record.state, State::Failed(Failed::Due(_))) || most_ms <= 20);
        if let State::Failed(Failed::Due(due_at)) = record.state {
            let asked_ms = due_at.since(ended_at);
            // What was asked is counted from the end of the attempt, which is known to some milliseconds.
            assert!((least_ms..=most_ms + 250).contains(&asked_ms), "{manner}: {asked_ms}");
        }
    }
}

/// The control of all these tables: a sink that behaves brings nothing to light.
#[test]
fn a_destination_that_behaves_needs_one_attempt() {
    play(&[scene("-> 200", "delivered - answered 200", "delivered 1")]);
    let misread = std::panic::catch_unwind(|| {
        play(&[Scenario { then: "delivered 2", ..scene("-> 200", "delivered - answered 200", "") }])
    });
    assert!(misread.is_err(), "a table that expects otherwise is red");
}
