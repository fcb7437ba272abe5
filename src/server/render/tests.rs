//! What is shown has the fields that the interface names.

use super::*;
use crate::engine::Age;
use std::sync::Arc;

use crate::model::{Attempt, Class, Delivery, Envelope, Failed, NodeTag, Phase, Phases, Record, Sent, Told, WallMs};

fn shown(state: State) -> Shown {
    let place = Place::new(5, 1);
    let record = Record {
        id: Id::compose(WallMs(1_795_435_200_000), NodeTag::new(1), place),
        place,
        envelope: Arc::new(Envelope { destination: "erp".into(), key: Some("k".into()), ..Envelope::default() }),
        content_type: None,
        state,
        attempts: 2,
        series: 2,
        revision: 1,
        body_bytes: Some(3),
        updated_at: WallMs(1_795_435_200_001),
        last: Told::default(),
        supersedes: None,
        remote_id: Some("4711".into()),
    };
    Shown { record, waits_for: None, after: Vec::new(), due_at: None }
}

#[test]
fn a_message_has_every_field_of_the_interface() {
    let json: serde_json::Value =
        serde_json::from_slice(&message(&shown(State::Failed(Failed::Due(WallMs(1_795_435_260_000)))))).expect("JSON");
    for field in [
        "id",
        "state",
        "reason",
        "destination",
        "key",
        "type",
        "content_type",
        "attempts",
        "revision",
        "body_bytes",
        "accepted_at",
        "updated_at",
        "due_at",
        "waits_for",
        "after",
        "superseded_by",
        "supersedes",
        "remote_id",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!((json["state"].as_str(), json["remote_id"].as_str()), (Some("failed"), Some("4711")));
    assert_eq!(json["accepted_at"], "2026-11-23T12:00:00.000Z");
    assert_eq!(json["due_at"], "2026-11-23T12:01:00.000Z");
}

#[test]
fn who_replaced_a_message_is_told() {
    let by = Id::compose(WallMs(1), NodeTag::new(1), Place::new(9, 9));
    let json: serde_json::Value =
        serde_json::from_slice(&message(&shown(State::Abandoned(Abandoned::Superseded(by))))).expect("JSON");
    assert_eq!((json["reason"].as_str(), json["superseded_by"].as_str()), (Some("superseded"), Some(&*by.to_string())));
}

#[test]
fn a_cursor_reads_back() {
    let at = Place::new(0x3f_ffff_ffff_ffff, 255);
    assert_eq!(place(&cursor(at)), Some(at));
    assert_eq!(place("no cursor"), None);
}

#[test]
fn destinations_without_messages_are_listed() {
    let stats = Stats { counts: vec![("erp".into(), StateName::Failed, 3)], ..Stats::default() };
    let lanes = ["shop", "erp"].map(|name| Lane {
        name: name.into(),
        is_configured: true,
        pause: None,
        waits_for: None,
        held_by: None,
        out: 0,
        age: Age { waiting: 3, oldest: Some(WallMs(0)), late: 1 },
        drains_in_ms: Some(1_500),
        incidents: 0,
        breaker: None,
        cycle: None,
    });
    let json: serde_json::Value = serde_json::from_slice(&destinations(&stats, &lanes)).expect("JSON");
    assert_eq!(json["destinations"][0]["failed"], 3);
    assert_eq!(json["destinations"][1]["name"], "shop");
    let of_time = ["waiting", "late", "oldest", "drains_in_ms"].map(|name| json["destinations"][1][name].to_string());
    assert_eq!(of_time, ["3", "1", "\"1970-01-01T00:00:00.000Z\"", "1500"]);
}

#[test]
fn an_attempt_tells_of_the_phases_that_happened_and_of_no_other() {
    let mut spent = Phases::default();
    spent.note(Phase::Connect, 1_250);
    spent.note(Phase::Tls, 12_040);
    spent.note(Phase::Wait, 0);
    let attempt = |phases| Attempt {
        number: 1,
        revision: 1,
        started_at: WallMs(1),
        duration_ms: 14,
        outcome: Delivery::Retry,
        class: Some(Class::Timeout),
        sent: Sent::Maybe,
        status: None,
        detail: String::new(),
        response_excerpt: None,
        remote_id: None,
        phases,
    };
    let json: serde_json::Value =
        serde_json::from_slice(&attempts(&[attempt(Some(spent)), attempt(None)])).expect("JSON");
    let expect = serde_json::json!({"connect_ms": 1.2, "tls_ms": 12.0, "wait_ms": 0.0, "is_reused": false});
    assert_eq!((&json["attempts"][0]["phases"], &json["attempts"][1]["phases"]), (&expect, &serde_json::Value::Null));
}
