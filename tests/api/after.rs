//! What waits for other keys: given in an envelope or a header, shown with what it waits for, let go by deliveries and by people.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::Api;

const JSON: (&str, &str) = ("content-type", "application/json");

fn hand_in(api: &Api, key: &str, after: &[&str]) -> String {
    let envelope = json!({"destination": "ok", "key": key, "after": after, "body": 1}).to_string();
    api.call("POST", "/v1/messages", &[JSON], envelope.as_bytes()).expect(202).text("id")
}

fn show(api: &Api, id: &str) -> Value {
    api.get(&format!("/v1/messages/{id}")).expect(200).json()
}

/// Waits until the message waits for these keys.
fn until_after(api: &Api, id: &str, keys: &[&str]) -> Value {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let shown = show(api, id);
        if shown["after"] == json!(keys) {
            assert_eq!((&shown["waits_for"], &shown["attempts"]), (&json!("after"), &json!(0)), "{shown}");
            return shown;
        }
        assert!(Instant::now() < limit, "{shown}");
        std::thread::yield_now();
    }
}

#[test]
fn a_message_waits_for_other_keys_and_says_how_they_stand() {
    let api = Api::start();
    let order = hand_in(&api, "order:1", &["customer:77", "art, %"]);
    let shown = until_after(&api, &order, &["customer:77", "art, %"]);
    let unknown = |key: &str| json!({"key": key, "newest": null, "state": null, "reason": null});
    assert_eq!(shown["awaited"], json!([unknown("customer:77"), unknown("art, %")]));

    let headers = [("goniec-key", "customer:77"), ("goniec-not-before", "1h")];
    let customer = api.call("POST", "/v1/send/ok", &headers, b"x").expect(202).text("id");
    api.post(&format!("/v1/messages/{customer}/cancel")).expect(200);
    let rests = json!({"key": "customer:77", "newest": customer, "state": "abandoned", "reason": "cancelled"});
    assert_eq!(show(&api, &order)["awaited"][0], rests);
    api.post(&format!("/v1/messages/{customer}/resend")).expect(200);
    until_after(&api, &order, &["art, %"]);
    let list = api.get("/v1/messages?key=order:1").expect(200).json();
    assert_eq!((&list["messages"][0]["after"], list["messages"][0].get("awaited")), (&json!(["art, %"]), None));

    hand_in(&api, "art, %", &[]);
    let delivered = api.until(&order, "delivered");
    assert_eq!((&delivered["after"], &delivered["awaited"]), (&json!([]), &json!([])));
    // What is there is not waited for.
    api.until(&hand_in(&api, "order:2", &["customer:77"]), "delivered");
}

#[test]
fn the_bare_body_names_keys_in_a_header_and_a_person_lets_it_go() {
    let api = Api::start();
    let headers = [("goniec-after", "customer:%2C77,  z%C5%82y"), ("idempotency-key", "once")];
    let send = |headers: &[(&str, &str)]| api.call("POST", "/v1/send/ok", headers, b"x");
    let order = send(&headers).expect(202).text("id");
    until_after(&api, &order, &["customer:,77", "zły"]);
    // What it waits for is not what it is.
    let again = send(&[("goniec-after", "another"), ("idempotency-key", "once")]).expect(202);
    assert_eq!((again.text("id"), again.header("idempotency-replayed")), (order.clone(), Some("true")));
    until_after(&api, &order, &["customer:,77", "zły"]);
    api.post(&format!("/v1/messages/{order}/release")).expect(200);
    api.until(&order, "delivered");
}

#[test]
fn what_nobody_can_wait_for_is_refused() {
    let api = Api::start();
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    for (after, status, says) in [
        (json!(["own"]), 422, "own key"),
        (json!(["own"]), 422, "names the keys of other messages"),
        (json!([""]), 422, "is empty"),
        (json!(["k".repeat(513)]), 422, "513 bytes, 512 are allowed"),
        (json!(many), 400, "more than 16 keys"),
        (json!("customer"), 400, "an array of keys"),
        (json!([1]), 400, "expected a string"),
        (json!({"key": 1}), 400, "an array of keys"),
    ] {
        let envelope = json!({"destination": "ok", "key": "own", "after": after, "body": 1});
        let post = |body: &str| api.call("POST", "/v1/messages", &[JSON], body.as_bytes());
        post(&envelope.to_string()).expect(status).says(says);
        let fine = json!({"destination": "ok", "body": 1, "after": null});
        let item = if status == 422 { "message 2: " } else { "line 1 column" };
        post(&json!([fine, envelope]).to_string()).expect(status).says(says).says(item);
    }
    for (after, status, says) in [
        ("own", 422, "own key"),
        ("", 422, "is empty"),
        ("a,,b", 422, "is empty"),
        (&many.join(","), 422, "17 keys, 16 are allowed"),
        ("%zz", 400, "percent"),
    ] {
        let headers = [("goniec-key", "own"), ("goniec-after", after)];
        api.call("POST", "/v1/send/ok", &headers, b"x").expect(status).says(says);
    }
    assert_eq!(api.count(""), 0, "of what is refused nothing is kept");
}
