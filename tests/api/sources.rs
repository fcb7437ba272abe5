//! Where messages come from.

use super::harness::{Api, keys};

/// `GET /v1/sources`.
pub fn list(api: &Api) {
    let all = api.get("/v1/sources").expect(200).json();
    let [open, closed, journal] = all["sources"].as_array().unwrap().as_slice() else { panic!("three: {all}") };
    let known = "asks cursor cycle failing_since failures forgets_at forgot items kind last_error name next_at read_at refused state";
    assert_eq!(keys(journal).join(" "), known);
    assert_eq!(
        (&open["kind"], &closed["state"], &journal["kind"]),
        (&"webhook".into(), &serde_json::Value::Null, &"poll".into())
    );
    assert_eq!(
        (&journal["state"], &journal["cycle"], &journal["items"]),
        (&"waits".into(), &"every 1m".into(), &0.into())
    );
    api.get("/v1/sources?x=1").expect(400);
}

/// `POST /v1/sources/{name}/run`.
pub fn run(api: &Api) {
    let shown = api.post("/v1/sources/journal/run?sure=true&why=at%20last").expect(202).json();
    assert_eq!(shown["name"], "journal");
    let entry = api.get("/v1/audit?limit=1").expect(200).json()["entries"][0].clone();
    let detail = "source journal, whatever its first reading comes to: at last";
    assert_eq!((&entry["act"], &entry["detail"]), (&"source-run".into(), &detail.into()));
    api.post("/v1/sources/journal/run?sure=perhaps").expect(400).says("true or false");
    api.post("/v1/sources/nobody/run").expect(404).says("no source");
    api.post("/v1/sources/open/run").expect(400).says("hands in by itself");
    // What is asked hands in nothing.
    api.call("POST", "/v1/in/journal", &[("x-topic", "order")], b"{\"id\":1}").expect(404).says("no source");
}
