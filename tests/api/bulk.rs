//! Many messages at once, and the audit log.

use serde_json::Value;

use super::harness::{Api, keys};

const JSON: (&str, &str) = ("content-type", "application/json");

fn bulk(api: &Api, body: &str) -> super::harness::Answer {
    api.call("POST", "/v1/bulk", &[JSON], body.as_bytes())
}

fn ended(api: &Api, id: &str) -> Value {
    for _ in 0..500 {
        let job = api.get(&format!("/v1/bulk/{id}")).expect(200).json();
        if job["state"] != "running" {
            return job;
        }
        // The pace of a loop that has an end.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("job {id} does not end");
}

/// Three messages that wait, under a key of their own.
fn waiting(api: &Api, key: &str) -> Vec<String> {
    let sent = (0..3).map(|_| {
        let body = format!(r#"{{"destination":"ok","body":1,"key":"{key}","not_before":"1h"}}"#);
        api.call("POST", "/v1/messages", &[JSON], body.as_bytes()).expect(202).text("id")
    });
    sent.collect()
}

/// `POST /v1/bulk`.
pub fn begin(api: &Api) {
    let ids = waiting(api, "bulk-1");
    let preview = bulk(api, r#"{"action":"cancel","filter":"key:bulk-1","dry_run":true}"#).expect(200).json();
    assert_eq!((preview["count"].as_u64(), preview["sample"].as_array().map(Vec::len)), (Some(3), Some(3)));
    bulk(api, r#"{"action":"cancel","filter":"key:bulk-1","count":2}"#).expect(409).says("3 messages match, not 2");
    let job = bulk(api, r#"{"action":"cancel","filter":"key:bulk-1","count":3,"why":"a test"}"#).expect(202).json();
    let fields = keys(&job).join(" ");
    let known = "action at begun_at detail done edit ended_at filter id matched rate refused state who why";
    assert_eq!(fields, known);
    let job = ended(api, job["id"].as_str().unwrap());
    assert_eq!((job["done"].as_u64(), job["refused"].as_u64(), job["who"].as_str()), (Some(3), Some(0), Some("local")));
    ids.iter().for_each(|id| assert_eq!(api.until(id, "abandoned")["reason"], "cancelled"));
    for (body, says) in [
        ("{", "EOF"),
        (r#"{"action":"cancel"}"#, "missing field `filter`"),
        (r#"{"action":"burn","filter":"key:a"}"#, "unknown action"),
        (r#"{"action":"cancel","filter":" "}"#, "the filter is empty"),
        (r#"{"action":"cancel","filter":"stat:failed"}"#, "column 1"),
        (r#"{"action":"cancel","filter":"key:a","at":"1h"}"#, "only what is resent"),
        (r#"{"action":"resend","filter":"key:a","at":"soon"}"#, "at is now"),
        (r#"{"action":"resend","filter":"key:a","rate":"many"}"#, "is no rate"),
        (r#"{"action":"resend","filter":"key:a","unknown":1}"#, "unknown field"),
        (r#"{"action":"resend","filter":"key:a","field":"/a"}"#, "only an edit"),
        (r#"{"action":"edit","filter":"key:a","field":"/a","why":"x"}"#, "the value that it gets"),
        (r#"{"action":"edit","filter":"key:a","field":"/a","to":null}"#, "an edit needs a reason"),
        (r#"{"action":"edit","filter":"key:a","field":"a","to":1,"why":"x"}"#, "a JSON Pointer"),
    ] {
        bulk(api, body).expect(400).says(says);
    }
    bulk(api, r#"{"action":"resend","filter":"to:nowhere"}"#).expect(422).says("nowhere");
    edit(api);
}

/// An edit of a field: only the bytes of the field change, and the preview says which.
fn edit(api: &Api) {
    let id = api.waiting("many-ids");
    let among = |count: usize| {
        let ids = vec![id.as_str(); count].join(",");
        bulk(api, &format!(r#"{{"action":"hold","filter":"id:{ids}","dry_run":true}}"#))
    };
    assert_eq!(among(55).expect(200).json()["count"], 1, "more than a page of the console");
    among(56).expect(400).says("at most 2048 bytes");
    let sent = [r#"{"n": 1e400,"to" :"Lodz"}"#, r#"{"to":"Gdynia"}"#].map(|body| {
        let body = format!(r#"{{"destination":"ok","body":{body},"key":"bulk-edit","not_before":"1h"}}"#);
        api.call("POST", "/v1/messages", &[JSON], body.as_bytes()).expect(202).text("id")
    });
    let asked = r#""action":"edit","filter":"key:bulk-edit","field":"/to","from":"Lodz","to":"Łódź""#;
    let preview = bulk(api, &format!(r#"{{{asked},"dry_run":true}}"#)).expect(200).json();
    let edits = preview["edits"].as_array().expect("edits");
    assert_eq!(edits[0]["refused"], "its field /to has another value", "the newest first");
    assert_eq!((edits[1]["id"].as_str(), edits[1]["before"].as_str()), (Some(sent[0].as_str()), Some("\"Lodz\"")));
    let job = bulk(api, &format!(r#"{{{asked},"why":"the town"}}"#)).expect(202).json();
    assert_eq!(job["edit"], "/to from \"Lodz\" to \"Łódź\"");
    let job = ended(api, job["id"].as_str().unwrap());
    assert_eq!((job["done"].as_u64(), job["refused"].as_u64()), (Some(1), Some(1)));
    let body = |id: &str| api.get(&format!("/v1/messages/{id}/body")).expect(200).body;
    assert_eq!(String::from_utf8_lossy(&body(&sent[0])), r#"{"n": 1e400,"to" :"Łódź"}"#);
    assert_eq!(String::from_utf8_lossy(&body(&sent[1])), r#"{"to":"Gdynia"}"#);
}

/// `GET /v1/bulk`.
pub fn jobs(api: &Api) {
    let first = bulk(api, r#"{"action":"hold","filter":"key:none-1"}"#).expect(202).text("id");
    let second = bulk(api, r#"{"action":"hold","filter":"key:none-2"}"#).expect(202).text("id");
    let jobs = api.get("/v1/bulk").expect(200).json();
    let ids: Vec<&str> = jobs["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..2], [second.as_str(), first.as_str()]);
    api.get("/v1/bulk?limit=3").expect(400).says("unknown parameter");
}

/// `GET /v1/bulk/{id}`.
pub fn job(api: &Api) {
    let id = bulk(api, r#"{"action":"hold","filter":"key:none-3"}"#).expect(202).text("id");
    assert_eq!(ended(api, &id)["state"], "done");
    for none in ["99999", "x", "18446744073709551616"] {
        api.get(&format!("/v1/bulk/{none}")).expect(404).says("no bulk job");
    }
}

/// `DELETE /v1/bulk/{id}`.
pub fn cancel(api: &Api) {
    waiting(api, "bulk-2");
    let id = bulk(api, r#"{"action":"hold","filter":"key:bulk-2","rate":"1/1h"}"#).expect(202).text("id");
    let path = format!("/v1/bulk/{id}");
    let job = api.call("DELETE", &path, &[], b"").expect(200).json();
    assert_eq!(job["state"], "cancelled");
    assert_eq!(api.call("DELETE", &path, &[], b"").expect(200).json(), job);
    api.call("DELETE", "/v1/bulk/99999", &[], b"").expect(404);
    let entry = &api.get("/v1/audit?limit=1").expect(200).json()["entries"][0];
    assert_eq!((&entry["act"], &entry["target"]["job"]), (&"bulk-cancel".into(), &id.as_str().into()));
}

/// `GET /v1/audit`.
pub fn audit(api: &Api) {
    let id = api.waiting("x");
    api.post(&format!("/v1/messages/{id}/hold?why=stock+is+wrong")).expect(200);
    api.call("DELETE", &format!("/v1/messages/{id}"), &[("x-goniec-why", "by mistake")], b"").expect(204);
    let page = api.get("/v1/audit?limit=2").expect(200).json();
    let told = |n: usize| ["act", "who", "detail"].map(|field| page["entries"][n][field].as_str().unwrap().to_owned());
    assert_eq!(told(0), ["delete", "local", "by mistake"]);
    assert_eq!(told(1), ["hold", "local", "stock is wrong"]);
    assert_eq!(page["entries"][1]["target"]["message"], id.as_str());
    assert_eq!(page["entries"][0]["hash"], page["head"]["hash"]);
    let next = page["next"].as_str().expect("there is more");
    let older = api.get(&format!("/v1/audit?limit=1&cursor={next}")).expect(200).json();
    let number = |page: &Value, n: usize| page["entries"][n]["number"].as_u64().unwrap();
    assert_eq!(number(&older, 0) + 1, number(&page, 1));
    api.get("/v1/audit?limit=0").expect(400).says("limit");
    api.get("/v1/audit?cursor=x").expect(400).says("cursor");
    let (long, id) = ("x".repeat(1_025), api.waiting("x"));
    api.post(&format!("/v1/messages/{id}/hold?why={long}")).expect(400).says("1024 bytes");
}

/// `GET /v1/audit/verify`.
pub fn verify(api: &Api) {
    let id = api.waiting("x");
    api.post(&format!("/v1/messages/{id}/hold")).expect(200);
    let found = api.get("/v1/audit/verify").expect(200).json();
    assert_eq!(
        (&found["is_sound"], &found["wrong"], &found["entries"]),
        (&true.into(), &Value::Null, &found["head"]["number"])
    );
    let head = format!("{}:{}", found["head"]["number"], found["head"]["hash"].as_str().unwrap());
    api.post(&format!("/v1/messages/{id}/release")).expect(200);
    api.until(&id, "delivered");
    assert_eq!(api.get(&format!("/v1/audit/verify?head={head}")).expect(200).json()["is_sound"], true);
    let forged = head.replace(&head[head.len() - 4..], "0000");
    let found = api.get(&format!("/v1/audit/verify?head={forged}")).expect(200).json();
    assert!(found["is_sound"] == false && found["wrong"]["what"].as_str().unwrap().contains("written down"));
    api.get("/v1/audit/verify?head=17").expect(400).says("number and the hash");
}

/// `GET /v1/incidents`.
pub fn incidents(api: &Api) {
    let id = api.send("bad");
    api.until(&id, "abandoned");
    let all = api.get("/v1/incidents").expect(200).json();
    let incident =
        all["incidents"].as_array().unwrap().iter().find(|one| one["destination"] == "bad").expect("there is one");
    let known = "class closed_at destination detail failures filter first_at id last_at messages oldest open open_is_least reason rested sample state times";
    assert_eq!(keys(incident).join(" "), known);
    assert_eq!((&incident["state"], &incident["class"]), (&"open".into(), &"rejected".into()));
    let filter = incident["filter"].as_str().unwrap();
    let found = api.get(&format!("/v1/messages?filter={filter}")).expect(200).json();
    let listed = found["messages"].as_array().unwrap();
    assert!(listed.iter().any(|message| message["id"] == id.as_str()));
    assert!(listed.iter().all(|message| message["destination"] == "bad"));
    assert_eq!(
        api.get(&format!("/v1/messages?filter={filter}+to:ok")).expect(200).json()["messages"].as_array().map(Vec::len),
        Some(0)
    );
    let none = api.get("/v1/incidents?state=closed").expect(200).json();
    assert!(none["incidents"].as_array().unwrap().iter().all(|one| one["state"] == "closed"));
    api.get("/v1/incidents?state=burning").expect(400).says("open, closed or all");
    api.get("/v1/messages?incident=xyz").expect(400).says("16 hex digits");
    api.get("/v1/messages?incident=0000000000000001").expect(400).says("no incident");
}

/// `GET /v1/incidents/{id}`.
pub fn incident(api: &Api) {
    let id = api.send("bad");
    api.until(&id, "abandoned");
    let all = api.get("/v1/incidents").expect(200).json();
    let number = all["incidents"][0]["id"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/incidents/{number}")).expect(200).json()["id"], number);
    for none in ["0000000000000001", "x"] {
        api.get(&format!("/v1/incidents/{none}")).expect(404).says("no incident");
    }
}
