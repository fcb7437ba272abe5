//! What should be in sync and what is, key by key, and the story of a key.

use serde_json::Value;

use super::harness::{Api, keys as fields};

fn send(api: &Api, destination: &str, key: &str, state: &str) -> String {
    let id = api.call("POST", &format!("/v1/send/{destination}"), &[("goniec-key", key)], b"x").expect(202).text("id");
    api.until(&id, state);
    id
}

/// `GET /v1/keys`.
pub fn list(api: &Api) {
    send(api, "ok", "k-1", "delivered");
    send(api, "bad", "k-1", "abandoned");
    send(api, "bad", "k-2", "abandoned");
    send(api, "bad", "k-2", "abandoned");
    send(api, "ok", "k-3", "delivered");
    let held = api.call("POST", "/v1/send/ok", &[("goniec-key", "k-3"), ("goniec-not-before", "1h")], b"x");
    let held = held.expect(202).text("id");
    send(api, "ok", "k-4", "delivered");
    let found = |query: &str| -> Vec<String> {
        let page = api.get(&format!("/v1/keys?key=k-*&{query}")).expect(200).json();
        let name = |key: &Value| format!("{} {}", key["destination"].as_str().unwrap(), key["key"].as_str().unwrap());
        page["keys"].as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(found(""), ["ok k-4", "ok k-3", "bad k-2", "bad k-1", "ok k-1"]);
    assert_eq!(found("state=behind"), ["ok k-3", "bad k-2", "bad k-1"]);
    assert_eq!(found("state=in-sync"), ["ok k-4", "ok k-1"]);
    assert_eq!(found("destination=ok&state=behind"), ["ok k-3"]);
    assert_eq!(found("destination=ok,bad&limit=2"), ["ok k-4", "ok k-3"]);

    // Page by page each key comes once, though its messages stand on several.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/keys?key=k-*&limit=1{cursor}")).expect(200).json();
        paged.extend(page["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, ["k-4", "k-3", "k-2", "k-1", "k-1"]);

    // What a person cancelled nobody wants any more.
    api.post(&format!("/v1/messages/{held}/cancel")).expect(200);
    assert_eq!(found("destination=ok&state=behind"), Vec::<String>::new());
    for (query, status, words) in [
        ("state=late", 400, "behind or in-sync"),
        ("destination=okk", 422, "ok"),
        ("limit=0", 400, "limit"),
        ("cursor=x", 400, "cursor"),
        ("keys=1", 400, "Did you mean key?"),
        ("destination=ok,", 400, "empty part"),
    ] {
        api.get(&format!("/v1/keys?{query}")).expect(status).says(words);
    }
}

/// `GET /v1/keys/{destination}/{key}`.
pub fn show(api: &Api) {
    let first = send(api, "ok", "one/order", "delivered");
    let key = api.get("/v1/keys/ok/one%2Forder").expect(200).json();
    assert_eq!((&key["in_sync"], &key["last_delivered"]["id"]), (&true.into(), &first.as_str().into()));
    let refused = [send(api, "bad", "one/order", "abandoned"), send(api, "bad", "one/order", "abandoned")];
    let key = api.get("/v1/keys/bad/one%2Forder").expect(200).json();
    let oldest = api.get(&format!("/v1/messages/{}", refused[0])).expect(200).json();
    assert_eq!((&key["in_sync"], &key["last_accepted"]["id"]), (&false.into(), &refused[1].as_str().into()));
    assert_eq!((&key["behind_since"], &key["messages"]), (&oldest["accepted_at"], &2.into()));
    assert!(key["last_delivered"].is_null());
    api.get("/v1/keys/ok/nobody").expect(404).says("no message of the key");
    api.get("/v1/keys/okk/one%2Forder").expect(404).says("ok");
    api.get("/v1/keys/ok/one%2Forder?x=1").expect(400);
}

/// `GET /v1/explain`.
pub fn explain(api: &Api) {
    send(api, "ok", "told", "delivered");
    let refused = send(api, "bad", "told", "abandoned");
    let failed = send(api, "down", "told", "failed");
    api.post(&format!("/v1/messages/{failed}/hold?why=a%20look")).expect(200);
    let headers = [("if-match", "*"), ("x-goniec-why", "a slip \u{17c}")];
    let held = api.call("POST", "/v1/send/ok", &[("goniec-key", "told"), ("goniec-not-before", "1h")], b"x");
    let edited = held.expect(202).text("id");
    api.call("PUT", &format!("/v1/messages/{edited}/body"), &headers, b"y").expect(200);

    let story = api.get("/v1/explain?key=told").expect(200).json();
    assert_eq!((&story["key"], &story["is_whole"]), (&"told".into(), &true.into()));
    let lines = story["lines"].as_array().unwrap();
    assert_eq!(fields(&lines[0]), ["at", "destination", "id", "text", "what"]);
    let of = |id: &str| -> Vec<&str> {
        lines.iter().filter(|line| line["id"] == id).map(|line| line["what"].as_str().unwrap()).collect()
    };
    assert_eq!(of(&refused), ["accepted", "attempt", "abandoned"]);
    assert_eq!(of(&failed), ["accepted", "attempt", "acted", "waits"]);
    assert_eq!(of(&edited)[..2], ["accepted", "edited"]);
    assert!(!of(&edited).contains(&"acted"), "its revision tells of the edit");
    let text = |what: &str, id: &str| {
        let line = lines.iter().find(|line| line["what"] == what && line["id"] == id).unwrap();
        line["text"].as_str().unwrap().to_owned()
    };
    assert!(
        text("attempt", &refused).contains("(rejected, status 400): answered 400"),
        "{}",
        text("attempt", &refused)
    );
    assert_eq!(text("abandoned", &refused), "given up: the destination refused it");
    assert_eq!(text("waits", &failed), "it is held, and waits for a person");
    assert_eq!(text("acted", &failed), "local held it: a look");
    assert_eq!(text("edited", &edited), "local gave it a new body (revision 2): a slip \u{17c}");
    let times: Vec<&str> =
        lines.iter().filter(|line| line["what"] != "waits").map(|line| line["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");

    let nobody = api.get("/v1/explain?key=nobody").expect(200).json();
    assert_eq!(nobody["lines"].as_array().unwrap().len(), 0);
    api.get("/v1/explain").expect(400).says("which key");
    api.get("/v1/explain?keys=x").expect(400);
}
