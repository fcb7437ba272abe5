//! Destinations that hang, drip and never end (F10): the attempt ends at its deadline, and beside it nothing is late. And orders that wait for their customers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use goniec::cli::sink::{Script, Sink};
use goniec::engine::Destination;
use goniec::model::{Backoff, Retry};
use goniec::store::memory::MemoryStore;
use goniec::transport::http::Http;
use goniec::{Goniec, Message};

use super::stage::{PATIENCE, play, scene};

#[test]
fn who_says_nothing_is_left_at_the_deadline() {
    play(&[
        scene("request 1 -> hang at connect", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("request 1 -> hang at byte", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("request 1 -> hang at byte", "uncertain timeout maybe -", "delivered 2").within(300).big(),
        scene("attempt 1 -> hang at head", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("attempt 1 -> hang at head", "uncertain timeout maybe -", "delivered 2").within(300).big(),
        scene("attempt 1 -> hang", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("attempt 1 -> wait 2s 200", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("attempt 1 -> interim 1 raw '' hang", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("attempt 1 -> raw 'HTTP/1.1 200 OK\\r\\n' hang", "uncertain timeout maybe -", "delivered 2").within(200),
        scene("attempt 1 -> 200 drip 20ms", "uncertain timeout maybe -", "delivered 2").within(200),
    ]);
}

#[test]
fn who_answers_slowly_is_heard_within_the_deadline() {
    play(&[
        scene("attempt 1 -> wait 100ms 200", "delivered - answered 200", "delivered 1").within(2_000),
        scene("attempt 1 -> 500 drip 2ms", "retry server answered 500", "delivered 2").within(4_000),
        scene("attempt 1 -> 503 body 'in a while' drip-body 5ms", "retry rate-limited answered 503", "delivered 2"),
    ]);
}

#[test]
fn a_body_that_comes_slowly_or_for_ever_changes_nothing_of_what_the_head_said() {
    play(&[
        scene("attempt 1 -> 200 length 100 hang", "delivered - answered 200", "delivered 1").within(200),
        scene("attempt 1 -> 500 length 100 hang", "retry server answered 500", "delivered 2").within(200),
        scene("attempt 1 -> 200 fill 1KiB drip-body 10ms", "delivered - answered 200", "delivered 1").within(200),
        scene("attempt 1 -> 500 fill 1KiB drip-body 10ms", "retry server answered 500", "delivered 2").within(200),
        scene("attempt 1 -> 200 endless", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 200 endless chunked", "delivered - answered 200", "delivered 1"),
        scene("attempt 1 -> 500 endless", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 500 endless chunked", "retry server answered 500", "delivered 2"),
        scene("attempt 1 -> 500 endless chunked drip-body 10ms", "retry server answered 500", "delivered 2")
            .within(200),
    ]);
}

/// Two of ten destinations hang with all they have; the messages to the other eight all arrive, while those still hang.
#[test]
fn those_beside_one_that_hangs_are_not_late() {
    let sinks: Vec<Sink> = (0..10)
        .map(|n| Sink::start("127.0.0.1:0", Script::parse(if n < 2 { "-> hang" } else { "" }).unwrap(), None).unwrap())
        .collect();
    let mut opened = Goniec::over(std::sync::Arc::new(MemoryStore::new()));
    for (n, sink) in sinks.iter().enumerate() {
        opened = opened.with(Destination {
            concurrency: 4,
            timeout_ms: 3_600_000,
            ..Destination::new(format!("shop-{n}"), Http::post(&format!("http://{}/", sink.addr())))
        });
    }
    let goniec = opened.start().expect("starts");
    for _ in 0..50 {
        goniec.send_all((0..10).map(|n| Message::to(format!("shop-{n}")).body(*b"x")).collect()).expect("accepts");
    }
    let until = Instant::now() + PATIENCE;
    for sink in &sinks[2..] {
        assert!(sink.wait(until.saturating_duration_since(Instant::now()), |figures| figures.taken == 50));
    }
    assert!(sinks[..2].iter().all(|sink| sink.figures().taken == 0));
    goniec.shutdown(Duration::ZERO).expect("stops");
}

/// Orders come before their customers, whose first two requests all fail: none reaches the destination before its own customer does.
#[test]
fn no_order_comes_before_its_customer() {
    assert_eq!(early_orders(true), 0);
    // The control.
    assert!(early_orders(false) > 0, "orders that wait for nobody come first");
}

/// How many orders came before their customers.
fn early_orders(waits: bool) -> usize {
    const CUSTOMERS: usize = 40;
    const ORDERS: usize = 5;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let ledger = file.reopen().expect("a file");
    let script = Script::parse("attempt 1 key customer:* -> 503\nattempt 2 key customer:* -> reset at head").unwrap();
    let sink = Sink::start("127.0.0.1:0", script, Some(Box::new(ledger))).expect("a sink");
    let mut erp = Destination::new("erp", Http::post(&format!("http://{}/", sink.addr())));
    erp.policy.retry = Retry { backoff: Backoff::Fixed(20), jitter_permille: 0, attempts: 50 };
    let goniec = Goniec::over(std::sync::Arc::new(MemoryStore::new())).with(erp).start().expect("starts");
    for number in 0..CUSTOMERS {
        let customer = format!("customer:{number}");
        let order = |n| Message::to("erp").key(format!("order:{number}/{n}"));
        let after = |n| if waits { order(n).after(customer.as_str()) } else { order(n) };
        goniec.send_all((0..ORDERS).map(after).collect()).expect("accepts");
        goniec.send(Message::to("erp").key(customer)).expect("accepts");
    }
    let all = u64::try_from(CUSTOMERS * (ORDERS + 1)).expect("a number");
    assert!(sink.wait(PATIENCE, |figures| figures.distinct == all), "{:?}", sink.figures());
    goniec.shutdown(PATIENCE).expect("stops");
    let lines = std::fs::read_to_string(file.path()).expect("a ledger");
    let mut came_at: HashMap<String, usize> = HashMap::new();
    for (number, line) in lines.lines().enumerate() {
        let came: serde_json::Value = serde_json::from_str(line).expect("JSON");
        came_at.entry(came["key"].as_str().expect("a key").to_owned()).or_insert(number);
    }
    let orders = (0..CUSTOMERS).flat_map(|number| (0..ORDERS).map(move |n| (number, n)));
    orders
        .filter(|(number, n)| came_at[&format!("order:{number}/{n}")] < came_at[&format!("customer:{number}")])
        .count()
}
