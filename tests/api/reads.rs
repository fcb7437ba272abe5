//! What is read: lists with every filter, one message in all its parts, figures, signs of life.

use std::collections::BTreeSet;

use super::harness::{Api, UNKNOWN, keys};

/// The fields that a message has at least.
const MESSAGE: [&str; 18] = [
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
    "superseded_by",
    "source",
    "supersedes",
    "remote_id",
];

pub fn root(api: &Api) {
    api.get("/").expect(200).says("/v1/messages");
}

pub fn healthz(api: &Api) {
    api.get("/healthz").expect(200).says("ok");
    assert_eq!(api.call("HEAD", "/healthz", &[], b"").expect(200).body, b"");
}

pub fn readyz(api: &Api) {
    api.get("/readyz").expect(200).says("ready");
}

/// `GET /v1/messages`.
pub fn list(api: &Api) {
    let send = |destination: &str, key: &str, kind: &str| {
        let headers = [("goniec-key", key), ("goniec-type", kind)];
        api.call("POST", &format!("/v1/send/{destination}"), &headers, b"x").expect(202).text("id")
    };
    let delivered = send("ok", "sku-1", "price.changed");
    let rejected = send("bad", "sku-2", "price.removed");
    let failed = send("down", "sku-1", "order.created");
    api.until(&delivered, "delivered");
    api.until(&rejected, "abandoned");
    let down = api.until(&failed, "failed");
    for (query, expect) in [
        ("key=sku-1", &[&failed, &delivered][..]),
        ("key=sku-*", &[&failed, &rejected, &delivered]),
        ("key=sku-1&type=price.*", &[&delivered]),
        ("key=sku-*&type=price.*", &[&rejected, &delivered]),
        ("key=sku-*&state=abandoned", &[&rejected]),
        ("key=sku-*&state=abandoned,failed", &[&failed, &rejected]),
        ("key=sku-*&destination=ok", &[&delivered]),
        ("key=sku-*&to=ok,bad", &[&rejected, &delivered]),
        ("key=sku-*&reason=rejected", &[&rejected]),
        ("key=sku-*&since=1h", &[&failed, &rejected, &delivered]),
        ("key=sku-*&until=1h", &[]),
        ("filter=key:sku-*+state:failed", &[&failed]),
        ("key=sku-*&text=x", &[&failed, &rejected, &delivered]),
        ("key=sku-*&text=y", &[]),
        ("filter=key:sku-*+%22x%22+to:bad", &[&rejected]),
        (&format!("id={delivered},{failed}"), &[&failed, &delivered]),
        (&format!("filter=id:{delivered}+state:failed"), &[]),
        (&format!("id={UNKNOWN}"), &[]),
        ("filter=key:sku-*+to:bad+type:price.removed+since:1h", &[&rejected]),
    ] {
        let list = api.get(&format!("/v1/messages?{query}")).expect(200).json();
        let found: Vec<&str> =
            list["messages"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(found, expect.iter().map(|id| id.as_str()).collect::<Vec<_>>(), "{query}, newest first");
        assert!(list["next"].is_null(), "{query}: {list}");
    }
    let since = down["accepted_at"].as_str().unwrap().replace(':', "%3A");
    assert!(api.count(&format!("key=sku-*&since={since}")) >= 1);
    for (query, says) in [
        ("stat=failed", "Did you mean state?"),
        ("state=faild", "did you mean failed?"),
        ("since=15", "no unit"),
        ("limit=0", "from 1 to 1000"),
        ("limit=1001", "from 1 to 1000"),
        ("cursor=nonsense", "cursor"),
        ("filter=key%3Aa+stat%3Ab", "column 7"),
        ("key=%zz", "percent"),
    ] {
        api.get(&format!("/v1/messages?{query}")).expect(400).says(says);
    }
    api.get("/v1/messages?to=okk").expect(422).says("okk");
    pages(api);
}

/// A cursor followed to the end meets every row once, whatever comes meanwhile.
fn pages(api: &Api) {
    let lines: String =
        (0..100).map(|n| format!("{{\"destination\":\"ok\",\"key\":\"page\",\"body\":{n}}}\n")).collect();
    let headers = [("content-type", "application/x-ndjson")];
    let accepted = api.call("POST", "/v1/messages", &headers, lines.as_bytes()).expect(202).json();
    let accepted: BTreeSet<String> =
        accepted["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().into()).collect();
    let (mut seen, mut cursor, mut pages) = (Vec::<String>::new(), String::new(), 0);
    loop {
        let page = api.get(&format!("/v1/messages?key=page&limit=7{cursor}")).expect(200).json();
        seen.extend(page["messages"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        pages += 1;
        // New ones arrive at the head of the list while its tail is read.
        api.call("POST", "/v1/send/ok", &[("goniec-key", "page")], b"x").expect(202);
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(pages >= 15, "{pages} pages of 7 for 100");
    assert!(seen.is_sorted_by(|newer, older| newer > older), "newest first, none twice");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), accepted, "each once, none that came later");
}

/// `GET /v1/messages/{id}`.
pub fn show(api: &Api) {
    let id = api.waiting("x");
    let answer = api.get(&format!("/v1/messages/{id}")).expect(200);
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let shown = answer.json();
    for field in MESSAGE {
        assert!(shown.get(field).is_some(), "{field} in {shown}");
    }
    assert_eq!((shown["body_bytes"].as_u64(), shown["attempts"].as_u64()), (Some(1), Some(0)));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = api.call("POST", "/v1/send/ok", &[("traceparent", trace)], b"x").expect(202).text("id");
    assert_eq!(api.get(&format!("/v1/messages/{traced}")).expect(200).json()["traceparent"], trace);
    let accepted_at = shown["accepted_at"].as_str().unwrap();
    assert!(accepted_at.len() == 24 && accepted_at.ends_with('Z'), "{accepted_at}");
    check_unknown(api, "");
}

/// `GET /v1/messages/{id}/body`.
pub fn body(api: &Api) {
    let id = api.waiting("one");
    let edit = format!("/v1/messages/{id}/body?why=x");
    api.call("PUT", &edit, &[("if-match", "\"1\""), ("content-type", "text/html")], b"two").expect(200);
    let newest = api.get(&format!("/v1/messages/{id}/body")).expect(200);
    assert_eq!((&newest.body[..], newest.header("content-type")), (&b"two"[..], Some("text/html")));
    assert_eq!(newest.header("etag"), Some("\"2\""));
    assert_eq!(newest.header("x-content-type-options"), Some("nosniff"));
    assert!(newest.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    let first = api.get(&format!("/v1/messages/{id}/body?revision=1")).expect(200);
    assert_eq!((&first.body[..], first.header("etag")), (&b"one"[..], Some("\"1\"")));
    api.get(&format!("/v1/messages/{id}/body?revision=3")).expect(404).says("revision 3");
    api.get(&format!("/v1/messages/{id}/body?revision=x")).expect(400);
    check_unknown(api, "/body");
}

/// `GET /v1/messages/{id}/attempts`.
pub fn attempts(api: &Api) {
    let id = api.send("bad");
    api.until(&id, "abandoned");
    let attempts = api.get(&format!("/v1/messages/{id}/attempts")).expect(200).json();
    let [attempt] = attempts["attempts"].as_array().unwrap().as_slice() else { panic!("{attempts}") };
    for field in ["number", "started_at", "duration_ms", "outcome", "class", "status", "detail", "response_excerpt"] {
        assert!(attempt.get(field).is_some(), "{field} in {attempt}");
    }
    assert_eq!(
        (&attempt["number"], &attempt["outcome"], &attempt["status"]),
        (&1.into(), &"rejected".into(), &400.into())
    );
    assert!(attempt["phases"].is_null(), "a closure makes no request: {attempt}");
    check_unknown(api, "/attempts");
}

/// `GET /v1/messages/{id}/revisions`.
pub fn revisions(api: &Api) {
    let id = api.waiting("one");
    let edit = format!("/v1/messages/{id}/body?why=a+slip");
    api.call("PUT", &edit, &[("if-match", "\"1\"")], b"\xff").expect(200);
    let revisions = api.get(&format!("/v1/messages/{id}/revisions")).expect(200).json();
    let [first, second] = revisions["revisions"].as_array().unwrap().as_slice() else { panic!("{revisions}") };
    assert_eq!((&first["number"], &first["body"]), (&1.into(), &"one".into()));
    assert_eq!((&second["number"], &second["why"], &second["who"]), (&2.into(), &"a slip".into(), &"local".into()));
    assert_eq!(second["body_base64"], "/w==", "what is no text comes in base64");
    // Of 18 bodies of 1 MiB beside the small ones 15 have room in the answer.
    let large = vec![b'x'; 1 << 20];
    for number in 2..20 {
        api.call("PUT", &edit, &[("if-match", &format!("\"{number}\""))], &large).expect(200);
    }
    let listed = api.get(&format!("/v1/messages/{id}/revisions")).expect(200).json();
    let listed = listed["revisions"].as_array().unwrap();
    assert!(listed[2..].iter().all(|one| one["body_bytes"].as_u64() == Some(1 << 20)));
    let has_body: Vec<bool> =
        listed.iter().map(|one| one["body"].is_string() || one["body_base64"].is_string()).collect();
    assert_eq!(has_body, [vec![true; 17], vec![false; 3]].concat());
    assert_eq!(api.get(&format!("/v1/messages/{id}/body?revision=20")).expect(200).body.len(), large.len());
    check_unknown(api, "/revisions");
}

fn check_unknown(api: &Api, tail: &str) {
    api.get(&format!("/v1/messages/{UNKNOWN}{tail}")).expect(404).says("no message");
    api.get(&format!("/v1/messages/17{tail}")).expect(400).says("id");
}

/// `GET /v1/stats`.
pub fn stats(api: &Api) {
    let before = api.get("/v1/stats").expect(200).json();
    for field in ["version", "started_at", "sending", "accepted", "attempts", "delivered", "commit", "store"] {
        assert!(before.get(field).is_some(), "{field} in {before}");
    }
    api.waiting("x");
    let after = api.get("/v1/stats").expect(200).json();
    assert_eq!(after["accepted"].as_u64(), before["accepted"].as_u64().map(|accepted| accepted + 1));
}

/// `GET /v1/destinations`.
pub fn destinations(api: &Api) {
    let list = api.get("/v1/destinations").expect(200).json();
    let names: BTreeSet<&str> =
        list["destinations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["bad", "cycled", "down", "ok", "slow"]));
    for field in ["name", "queued", "sending", "delivered", "failed", "abandoned", "drains_in_ms"] {
        assert!(keys(&list["destinations"][0]).contains(&field), "{field} in {list}");
    }
}

/// `GET /v1/reconcile`: this node compares nothing; what one does that does is held by `tests/reconcile.rs`.
pub fn reconcile(api: &Api) {
    assert_eq!(api.get("/v1/reconcile").expect(200).json(), serde_json::json!({ "reconcile": [] }));
    api.get("/v1/reconcile?x=1").expect(400);
}

/// `GET /v1/reconcile/{name}`.
pub fn reconcile_one(api: &Api) {
    api.get("/v1/reconcile/orders").expect(404).says("no comparison");
}

/// `GET /v1/reconcile/{name}/lacking`.
pub fn reconcile_lacking(api: &Api) {
    api.get("/v1/reconcile/orders/lacking").expect(404).says("no comparison");
    api.get("/v1/reconcile/orders/lacking?from=x").expect(400).says("whole number");
}

/// `POST /v1/reconcile/{name}/run`.
pub fn reconcile_run(api: &Api) {
    api.post("/v1/reconcile/orders/run").expect(404).says("no comparison");
}

/// `POST /v1/reconcile/{name}/queue`.
pub fn reconcile_queue(api: &Api) {
    api.post("/v1/reconcile/orders/queue?count=1").expect(404).says("no comparison");
    api.post("/v1/reconcile/orders/queue?count=x").expect(400).says("whole number");
}

/// `GET /v1/streams`.
pub fn streams(api: &Api) {
    assert_eq!(api.get("/v1/streams").expect(200).json(), serde_json::json!({ "streams": [] }));
    api.get("/v1/streams?x=1").expect(400);
}
