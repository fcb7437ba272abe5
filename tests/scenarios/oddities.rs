//! Destinations whose answers are huge, broken, early, or no answers at all (F13).

use super::stage::{Stage, play, scene};

#[test]
fn however_large_an_answer_is_little_of_it_is_read_and_less_is_kept() {
    play(&[
        scene("attempt 1 -> 200 fill 64MiB", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 500 fill 64MiB", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 500 fill 64MiB chunked", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 200 gzip 1GiB", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 500 gzip 1GiB", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 200 head-fill 1MiB", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> 500 head-fill 64MiB", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> 200 head-fill 30KiB", "delivered - answered 200", "delivered 1"),
    ]);
}

#[test]
fn what_is_not_http_is_uncertain() {
    play(&[
        scene("attempt 1 -> raw 'SSH-2.0-OpenSSH_9.9\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> raw 'hello'", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> raw '<html>fine</html>\\r\\n\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
        scene(
            "attempt 1 -> raw '\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'",
            "uncertain protocol maybe -",
            "delivered 2",
        ),
        scene("attempt 1 -> raw '\\r\\n\\r\\n\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
        scene("attempt 1 -> raw '\\x16\\x03\\x01\\x02\\x00\\x01\\x00'", "uncertain protocol maybe -", "delivered 2"),
        scene(
            "attempt 1 -> raw 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'",
            "uncertain protocol maybe -",
            "delivered 2",
        ),
        scene(
            "attempt 1 -> raw 'HTTP/1.1 200 OK\\r\\nno colon\\r\\n\\r\\n'",
            "uncertain protocol maybe -",
            "delivered 2",
        ),
        scene("attempt 1 -> raw 'HTTP/9.9 200 OK\\r\\n\\r\\n'", "uncertain protocol maybe -", "delivered 2"),
    ]);
}

#[test]
fn lengths_that_lie_change_nothing_of_what_the_head_said() {
    play(&[
        scene("attempt 1 -> 200 length 1000 body short", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 500 length 1000 body short", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 200 length 1 body long", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 503 length 1 body long", "retry rate-limited answered 503", "delivered 2"),
        scene("attempt 1 -> 500 length 18446744073709551615", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 200 chunked length 3 body abc", "delivered - answered 200", "delivered 1"),
        scene(
            "attempt 1 -> raw 'HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\nZZ\\r\\nrubbish'",
            "delivered - answered 200",
            "delivered 1",
        ),
        scene(
            "attempt 1 -> raw 'HTTP/1.1 500 No\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n-1\\r\\n'",
            "retry server answered 500",
            "delivered 2",
        ),
        scene(
            "attempt 1 -> raw 'HTTP/1.1 500 No\\r\\ntransfer-encoding: chunked\\r\\n\\r\\nffffffffffffffffff\\r\\n'",
            "retry server answered 500",
            "delivered 2",
        ),
        scene("attempt 1 -> 200 chunked body abc cut 80B", "delivered - answered 200", "delivered 1"),
    ]);
}

#[test]
fn interim_answers_are_not_the_answer_however_many_come() {
    play(&[
        scene("attempt 1 -> 201 interim 1", "delivered - answered 201", "delivered 1"),
        scene("attempt 1 -> 422 interim 3", "rejected rejected answered 422", "rejected 1"),
        scene("attempt 1 -> 200 interim 10000", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 200 interim 10000 drip 1ms", "uncertain timeout maybe -", "delivered 2").within(300),
        scene("attempt 1 -> 503 interim 1 cut 30B", "uncertain protocol maybe -", "delivered 2"),
    ]);
}

#[test]
fn an_answer_before_the_request_is_whole_is_heard() {
    play(&[
        scene("attempt 1 -> 413 at head close", "rejected rejected answered 413", "rejected 1").big(),
        scene("attempt 1 -> 413 at head hang", "rejected rejected answered 413", "rejected 1").big(),
        scene("attempt 1 -> 503 at head close", "retry rate-limited answered 503", "delivered 2").big(),
        scene("attempt 1 -> 503 at head", "retry rate-limited answered 503", "delivered 2"),
    ]);
}

/// Of what never ends, no more is taken than the bounds of the transport and the sockets between both.
#[test]
fn what_never_ends_is_not_read_for_long() {
    let stage = Stage::new("attempt 1 -> 500 endless", 30_000);
    let id = stage.send("x");
    stage.until(id, super::stage::rests);
    let attempt = stage.attempts(id).remove(0);
    assert!(attempt.duration_ms < 5_000, "{attempt:?}");
    assert_eq!(attempt.response_excerpt.map(|text| text.len()), Some(goniec::transport::http::EXCERPT_BYTES_MAX));
}
