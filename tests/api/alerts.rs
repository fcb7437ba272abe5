//! Whether people can be told.

use super::harness::{Api, keys};

/// `GET /v1/alerts`.
pub fn list(api: &Api) {
    let all = api.get("/v1/alerts").expect(200).json();
    let [log, mute] = all["rules"].as_array().unwrap().as_slice() else { panic!("two rules: {all}") };
    let known = "channel destinations digest_ms failing_since last_error last_told_at number on quiet quiet_except quiet_until state";
    assert_eq!(keys(log).join(" "), known);
    assert_eq!((&log["number"], &log["channel"], &log["on"]), (&1.into(), &"log".into(), &serde_json::json!([])));
    assert_eq!((&mute["number"], &mute["on"]), (&2.into(), &serde_json::json!(["damaged"])));
    api.get("/v1/alerts?x=1").expect(400);
}

/// `POST /v1/alerts/{number}/test`.
pub fn test(api: &Api) {
    let told = api.post("/v1/alerts/1/test").expect(200).json();
    assert_eq!((&told["is_told"], &told["error"]), (&true.into(), &serde_json::Value::Null));
    let failed = api.post("/v1/alerts/2/test").expect(200).json();
    assert_eq!((&failed["is_told"], &failed["error"]), (&false.into(), &"nobody listens".into()));
    let rules = api.get("/v1/alerts").expect(200).json();
    let states = [0, 1].map(|at| rules["rules"][at]["state"].as_str().unwrap().to_owned());
    assert_eq!((states, &rules["rules"][1]["last_error"]), (["ok".into(), "failing".into()], &"nobody listens".into()));
    assert!(rules["rules"][0]["last_told_at"].is_string() && rules["rules"][1]["failing_since"].is_string());
    let entry = api.get("/v1/audit?limit=1").expect(200).json()["entries"][0].clone();
    assert_eq!(
        (&entry["act"], &entry["detail"]),
        (&"alert-test".into(), &"rule 2: nobody was told: nobody listens".into())
    );
    for number in ["0", "3", "-1", "x", "18446744073709551616"] {
        api.post(&format!("/v1/alerts/{number}/test")).expect(404).says("no alert rule");
    }
}
