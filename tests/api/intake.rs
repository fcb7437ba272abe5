//! What is handed in: one, an array, lines, the bare body; all or none; repeated; refused.

use super::harness::{Api, keys};

const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

/// `POST /v1/messages`.
pub fn messages(api: &Api) {
    let post = |headers: &[(&str, &str)], body: &str| api.call("POST", "/v1/messages", headers, body.as_bytes());
    let one = post(&[JSON], r#"{"destination":"ok","key":"one","body":{"a" : 1}}"#).expect(202).json();
    assert_eq!(keys(&one), ["id"]);
    let body = api.get(&format!("/v1/messages/{}/body", one["id"].as_str().unwrap())).expect(200);
    assert_eq!(body.body, br#"{"a" : 1}"#, "byte for byte");

    let array = r#"[{"destination":"ok","key":"k1","body":1},{"destination":"ok","key":"k2","body_base64":"/wA="}]"#;
    let several = post(&[JSON], array).expect(202).json();
    check_order(api, &several, &["k1", "k2"]);
    let second = several["ids"][1].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/messages/{second}/body")).expect(200).body, [0xff, 0]);
    let lines = "{\"destination\":\"ok\",\"key\":\"l1\",\"body\":\"ż\"}\n\n{\"destination\":\"ok\",\"key\":\"l2\",\"body\":[]}\n";
    check_order(api, &post(&[LINES], lines).expect(202).json(), &["l1", "l2"]);

    repeated(api);

    let before = api.count("");
    for (headers, body, status, says) in [
        (
            &[JSON][..],
            r#"[{"destination":"ok","body":1},{"destination":"okk","body":1}]"#,
            422,
            "Did you mean \\\"ok\\\"?",
        ),
        (&[LINES], "{\"destination\":\"ok\",\"body\":1}\n{\"destination\":", 400, "line 2, column"),
        (&[JSON], r#"{"destination":"ok"}"#, 400, "no body"),
        (&[JSON], r#"{"destination":"ok","body":1,"boody":1}"#, 400, "unknown field `boody`"),
        (&[JSON], r#"{"destination":"ok","body":1,"deadline":"15"}"#, 400, "no unit"),
        (&[JSON], r#"{"destination":"ok","body":1,"headers":{"webhook-id":"x"}}"#, 400, "set by goniec itself"),
        (&[JSON], "[]", 400, "no message"),
        (&[JSON], "", 400, "not well-formed"),
        (&[JSON], "{\"destination\":\"ok\",\"body\":1,\"key\":\"\u{0}\"}", 400, "control character"),
        (&[("content-type", "text/csv")], "a,b", 415, "text/csv"),
        (&[JSON, ("content-encoding", "gzip")], "x", 415, "compressed"),
        (&[JSON, ("idempotency-key", "a"), ("idempotency-key", "b")], "1", 400, "given twice"),
    ] {
        post(headers, body).expect(status).says(says);
    }
    api.call("POST", "/v1/messages", &[JSON], b"{\"destination\":\"\xff\",\"body\":1}").expect(400);
    let large =
        format!(r#"[{{"destination":"ok","body":1}},{{"destination":"ok","body":"{}"}}]"#, "x".repeat(1 << 20 | 1));
    post(&[JSON], &large).expect(413).says("1048576 are allowed");
    let many = "{\"destination\":\"ok\",\"body\":1}\n".repeat(10_001);
    post(&[LINES], &many).expect(400).says("10000");
    api.call("POST", "/v1/messages", &[JSON], &vec![b' '; (16 << 20) + 1]).expect(413);
    assert_eq!(api.count(""), before, "of what is refused nothing is kept");
}

/// The same request again, and others with its idempotency key.
fn repeated(api: &Api) {
    let post = |headers: &[(&str, &str)], body: &str| api.call("POST", "/v1/messages", headers, body.as_bytes());
    let repeat = [JSON, ("idempotency-key", "again")];
    let first = post(&repeat, r#"{"destination":"ok","body":1}"#).expect(202).json();
    let again = |key: &str, body: &str| post(&[JSON, ("idempotency-key", key)], body).expect(202);
    for key in ["again", "\"again\""] {
        let answer = again(key, r#"{"destination":"ok","body":1}"#);
        assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{key}");
        assert_eq!(answer.json(), first, "nothing doubles");
    }
    // Times that are given relative to now are others a moment later, and the first ones hold.
    let quoted = r#""a\"b\\""#;
    let body = |fields: &str| format!(r#"{{"destination":"ok","body":1,{fields}}}"#);
    let named = again(quoted, &body(r#""key":"a","version":1,"deadline":"1h""#));
    assert_eq!(named.header("idempotency-replayed"), None);
    let message = api.get(&format!("/v1/messages/{}", named.text("id"))).expect(200);
    assert_eq!(message.text("idempotency_key"), r#"a"b\"#);
    let later = again(quoted, &body(r#""key":"a","version":1,"deadline":"2h""#));
    assert_eq!(later.text("id"), named.text("id"));
    for other in [
        r#""key":"b","version":1"#,
        r#""key":"a","version":2"#,
        r#""key":"a","version":1,"type":"t""#,
        r#""key":"a","version":1,"content_type":"a/b""#,
        r#""key":"a","version":1,"headers":{"x":"1"}"#,
    ] {
        post(&[JSON, ("idempotency-key", quoted)], &body(other)).expect(422).says("already names message");
    }
    post(&[JSON, ("idempotency-key", "\"\"")], r#"{"destination":"ok","body":1}"#).expect(400).says("is empty");
    let lines = "{\"destination\":\"ok\",\"body\":1}\n{\"destination\":\"ok\",\"body\":2}\n";
    let both = post(&[LINES, ("idempotency-key", "lines")], lines).expect(202).json();
    let blank = post(&[LINES, ("idempotency-key", "lines")], &lines.replace('\n', "\n\n")).expect(202);
    assert_eq!(blank.header("idempotency-replayed"), Some("true"), "empty lines count for nothing");
    assert_eq!(blank.json(), both);
    post(&repeat, r#"{"destination":"ok","body":2}"#).expect(422).says("already names message");
    made_up_otherwise(api);
}

/// The same messages with the same idempotency key, but not as many, or not in the same form.
fn made_up_otherwise(api: &Api) {
    let one = r#"{"destination":"ok","body":1}"#;
    let of = |count: usize| format!("[{}]", vec![one; count].join(","));
    let requests = [one.to_owned(), of(1), of(2), of(3)];
    for (number, first) in requests.iter().enumerate() {
        let key = format!("made up {number}");
        let post = |body: &str| api.call("POST", "/v1/messages", &[JSON, ("idempotency-key", &key)], body.as_bytes());
        post(first).expect(202);
        let before = api.count("");
        for other in requests.iter().filter(|other| *other != first) {
            post(other).expect(422).says("already names message");
        }
        assert_eq!(post(first).expect(202).header("idempotency-replayed"), Some("true"));
        assert_eq!(api.count(""), before, "{first}: nothing of the others is kept");
    }
}

fn check_order(api: &Api, answer: &serde_json::Value, expect: &[&str]) {
    assert_eq!(keys(answer), ["ids"]);
    let ids = answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
    let found: Vec<String> = ids.map(|id| api.get(&format!("/v1/messages/{id}")).expect(200).text("key")).collect();
    assert_eq!(found, expect);
}

/// `POST /v1/send/{destination}`.
pub fn send(api: &Api) {
    let headers = [
        ("content-type", "text/csv"),
        ("goniec-key", "z%C5%82y 1"),
        ("goniec-type", "order.created"),
        ("goniec-version", "18446744073709551615"),
        ("goniec-not-before", "1h"),
        ("goniec-deadline", "2h"),
        ("idempotency-key", "csv"),
    ];
    let id = api.call("POST", "/v1/send/ok", &headers, b"a;b").expect(202).text("id");
    let shown = api.get(&format!("/v1/messages/{id}")).expect(200).json();
    for (field, expect) in [
        ("destination", "ok"),
        ("key", "zły 1"),
        ("type", "order.created"),
        ("content_type", "text/csv"),
        ("idempotency_key", "csv"),
        ("state", "queued"),
        ("waits_for", "not-before"),
    ] {
        assert_eq!(shown[field], expect, "{shown}");
    }
    assert_eq!(shown["version"], u64::MAX);
    assert!(shown["deadline"].as_str() > shown["due_at"].as_str(), "{shown}");
    assert_eq!(api.call("POST", "/v1/send/ok", &headers, b"a;b").expect(202).text("id"), id, "nothing doubles");

    api.call("POST", "/v1/send/okk", &[], b"x").expect(404).says("okk");
    api.call("POST", "/v1/send/%ff", &[], b"x").expect(400).says("UTF-8");
    api.call("POST", "/v1/send/ok", &[("goniec-deadline", "2")], b"x").expect(400).says("no unit");
    for wrong in ["", "-1", "+1", "1.0", "18446744073709551616"] {
        api.call("POST", "/v1/send/ok", &[("goniec-version", wrong)], b"x").expect(400).says("whole number");
    }
    api.call("POST", "/v1/send/ok", &[("goniec-key", "%zz")], b"x").expect(400).says("percent");
    api.call("POST", "/v1/send/ok", &[], &vec![0; (1 << 20) + 1]).expect(413).says("body_max");
    api.call("POST", "/v1/send/ok", &[], b"").expect(202);
}

/// `POST /v1/in/{source}`.
pub fn deliver(api: &Api) {
    let order = |delivery: &'static str| [("x-topic", "order"), ("x-delivery", delivery), ("x-shop", "pl")];
    let id = api.call("POST", "/v1/in/open", &order("d-1"), br#"{"id":"o-1"}"#).expect(202).text("id");
    let shown = api.get(&format!("/v1/messages/{id}")).expect(200).json();
    for (field, expect) in [("destination", "ok"), ("key", "o-1"), ("type", "order"), ("source", "open")] {
        assert_eq!(shown[field], expect, "{shown}");
    }
    let again = api.call("POST", "/v1/in/open", &order("d-1"), br#"{"id":"o-1"}"#).expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.text("id"), id);
    let both = api.call("POST", "/v1/in/open", &[("x-topic", "both")], br#"{"id":"o-2"}"#).expect(202).json();
    assert_eq!(both["ids"].as_array().map(Vec::len), Some(2), "one for each destination");
    let bearer = ("authorization", "Bearer source-secret");
    api.call("POST", "/v1/in/closed", &[bearer, ("x-topic", "order")], br#"{"id":"o-3"}"#).expect(200).text("id");
    api.call("POST", "/v1/in/closed", &[("x-topic", "order")], b"{}").expect(401).says("nothing in it proves");
    let wrong = [("authorization", "Bearer source-secreT")];
    api.call("POST", "/v1/in/closed", &wrong, b"{}").expect(401).says("is not right");
    api.call("POST", "/v1/in/closed", &[bearer, bearer], b"{}").expect(401).says("must be there once");
    // Nobody but goniec itself makes a key that stands for all of a message.
    let forged = r#"{"destination":"ok","body":1,"idempotency_key":"\u001eall/open/00/ok"}"#;
    api.call("POST", "/v1/messages", &[("content-type", "application/json")], forged.as_bytes())
        .expect(400)
        .says("control character");
    api.call("POST", "/v1/in/nobody", &[], b"{}").expect(404).says("there is no source");
}
