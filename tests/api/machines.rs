//! What machines read: figures as OpenMetrics, and the last hour by minutes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::harness::{Api, keys};

/// `GET /metrics`.
pub fn metrics(api: &Api) {
    let before = samples(&api.get("/metrics").expect(200).plain());
    let value = |samples: &BTreeMap<String, f64>, name: &str| samples.get(name).copied().unwrap_or(0.0);
    let (delivered, refused) = (api.send("ok"), api.send("bad"));
    api.until(&delivered, "delivered");
    api.until(&refused, "abandoned");
    api.waiting("waits");

    let answer = api.get("/metrics").expect(200);
    let kind = answer.header("content-type").unwrap_or_default();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.plain();
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains(&delivered), "no id is a label");
    let after = samples(&text);
    for (name, more) in [
        ("goniec_messages_accepted_total{destination=\"ok\"}", 2.0),
        ("goniec_attempts_total{destination=\"ok\",outcome=\"delivered\",reason=\"\"}", 1.0),
        ("goniec_attempts_total{destination=\"bad\",outcome=\"rejected\",reason=\"rejected\"}", 1.0),
        ("goniec_attempt_duration_seconds_count{destination=\"bad\"}", 1.0),
        ("goniec_delivery_latency_seconds_count{destination=\"ok\"}", 1.0),
        ("goniec_delivery_latency_seconds_bucket{destination=\"ok\",le=\"+Inf\"}", 1.0),
        ("goniec_delivery_latency_seconds_count{destination=\"bad\"}", 0.0),
        ("goniec_messages{destination=\"bad\",state=\"abandoned\"}", 1.0),
        ("goniec_messages_waiting{destination=\"ok\"}", 1.0),
    ] {
        assert_eq!(value(&after, name) - value(&before, name), more, "{name}");
    }
    assert_eq!(after["goniec_build_info{version=\"0.1.0\"}"], 1.0);
    assert_eq!(after["goniec_oldest_undelivered_seconds{destination=\"bad\"}"], 0.0, "nothing waits there");
    assert!(after["goniec_commit_duration_seconds_count"] >= 3.0);
    assert!(after["goniec_commit_batch_size_sum"] >= 5.0);
    api.get("/metrics?x=1").expect(400);
}

/// Every sample of the text, which must keep the rules of the format: a family is declared before its samples, and its samples stand together.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families: Vec<String> = Vec::new();
    for line in text.strip_suffix("# EOF\n").expect("the end").lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (family, kind) = declared.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
            assert!(!families.iter().any(|known| known == family), "{family} is declared twice");
            families.push(family.to_owned());
            continue;
        }
        let family = families.last().expect("a family first").clone();
        if line.starts_with('#') {
            assert!(line.starts_with(&format!("# HELP {family} ")) || line.starts_with(&format!("# UNIT {family} ")));
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(name.starts_with(&family), "{line} is no sample of {family}");
        assert!(samples.insert(name.to_owned(), value.parse().expect(line)).is_none(), "{name} twice");
    }
    samples
}

/// `GET /v1/history`.
pub fn history(api: &Api) {
    let sum = |chart: &serde_json::Value, list: &str, field: &str| -> u64 {
        chart[list].as_array().unwrap().iter().map(|minute| minute[field].as_u64().unwrap()).sum()
    };
    let before = api.get("/v1/history").expect(200).json();
    api.until(&api.send("ok"), "delivered");
    api.until(&api.send("bad"), "abandoned");
    let headers = [("goniec-not-before", "30m")];
    api.call("POST", "/v1/send/ok", &headers, b"later").expect(202);
    let due = |chart: &serde_json::Value| (29..32).map(|m| chart["due"][m]["messages"].as_u64().unwrap()).sum::<u64>();
    // The scheduler hears of a message after its sender.
    let limit = Instant::now() + Duration::from_secs(20);
    let mut after = api.get("/v1/history").expect(200).json();
    while due(&after) == due(&before) {
        assert!(Instant::now() < limit, "nothing is due: {after}");
        after = api.get("/v1/history").expect(200).json();
    }
    assert_eq!((after["minutes"].as_array().unwrap().len(), after["due"].as_array().unwrap().len()), (60, 60));
    for (field, more) in [("accepted", 3), ("delivered", 1), ("abandoned", 1)] {
        assert_eq!(sum(&after, "minutes", field) - sum(&before, "minutes", field), more, "{field}");
    }
    assert_eq!(due(&after) - due(&before), 1);
    assert_eq!(after["is_due_whole"], true);
    let fields = ["abandoned", "accepted", "at", "delivered", "failed", "latency_p50_ms", "latency_p95_ms"];
    assert_eq!(keys(&after["minutes"][59]), fields);
    api.get("/v1/history?minutes=5").expect(400);
}

/// `GET /openapi.json`.
pub fn document(api: &Api) {
    let document = api.get("/openapi.json").expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described: Vec<(String, String)> = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods = operations.as_object().unwrap().keys();
        described.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    let mut served: Vec<_> = super::routes().into_iter().map(|(method, path, _)| (method, path)).collect();
    served.sort();
    described.sort();
    assert_eq!(described, served);
}
