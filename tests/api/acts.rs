//! What a person asks of one message, and what is refused while it is out.

use super::harness::{Api, UNKNOWN};

/// What every act refuses: a message that is unknown, a text that is no id, a parameter that is unknown.
fn check_refusals(api: &Api, method: &str, tail: &str, headers: &[(&str, &str)]) {
    api.call(method, &format!("/v1/messages/{UNKNOWN}{tail}"), headers, b"").expect(404).says("no message");
    api.call(method, &format!("/v1/messages/17{tail}"), headers, b"").expect(400);
    let mark = if tail.contains('?') { '&' } else { '?' };
    api.call(method, &format!("/v1/messages/{UNKNOWN}{tail}{mark}nonsense=1"), headers, b"").expect(400).says("param");
    let slow = api.send("slow");
    api.until(&slow, "sending");
    api.call(method, &format!("/v1/messages/{slow}{tail}"), headers, b"").expect(409).says("out for delivery");
}

/// `PUT /v1/messages/{id}/body`.
pub fn edit(api: &Api) {
    let id = api.waiting("one");
    let path = format!("/v1/messages/{id}/body?why=a+slip");
    let put =
        |path: &str, tag: &str| api.call("PUT", path, &[("if-match", tag), ("content-type", "text/plain")], b"two");
    let edited = put(&path, "\"1\"").expect(200);
    assert_eq!((edited.header("etag"), &edited.json()["revision"]), (Some("\"2\""), &2.into()));
    let stale = put(&path, "\"1\"").expect(412);
    stale.says("at revision 2, and revision 1 was read");
    stale.says("\"revision\":2");
    api.call("PUT", &path, &[], b"x").expect(428).says("If-Match");
    put(&path, "one").expect(400).says("if-match");
    put(&format!("/v1/messages/{id}/body"), "*").expect(400).says("why");
    let forced =
        api.call("PUT", &format!("/v1/messages/{id}/body"), &[("if-match", "*"), ("x-goniec-why", "no")], b"3");
    assert_eq!(forced.expect(200).json()["revision"], 3);
    let json = [("if-match", "*"), ("content-type", "application/json")];
    let broken = api.call("PUT", &path, &json, b"{\"a\":");
    broken.expect(422).says("no JSON, and its content type says");
    api.call("PUT", &format!("{path}&as_is=maybe"), &json, b"{").expect(400).says("true or false");
    api.call("PUT", &format!("{path}&as_is=true"), &json, b"{").expect(200);
    // Its type is kept where none is given.
    api.call("PUT", &path, &[("if-match", "*")], b"{").expect(422).says("as_is=true");
    api.call("PUT", &path, &[("if-match", "*")], b"3").expect(200);
    let headers = [("if-match", "*"), ("content-type", "text/plain")];
    let large = vec![b'x'; (1 << 20) + 1];
    api.call("PUT", &path, &headers, &large).expect(413);
    assert_eq!(api.get(&format!("/v1/messages/{id}/body")).expect(200).body, b"3");
    check_refusals(api, "PUT", "/body?why=x", &[("if-match", "*")]);
}

/// `POST /v1/messages/{id}/resend`.
pub fn resend(api: &Api) {
    let id = api.send("ok");
    api.until(&id, "delivered");
    let again = api.post(&format!("/v1/messages/{id}/resend")).expect(200).json();
    assert_eq!(again["id"], id.as_str());
    assert_eq!(api.until(&id, "delivered")["attempts"], 2);
    let later = api.post(&format!("/v1/messages/{id}/resend?at=1h")).expect(200).json();
    assert_eq!((later["state"].as_str(), later["waits_for"].as_str()), (Some("queued"), Some("not-before")));
    api.post(&format!("/v1/messages/{id}/resend?at=soon")).expect(400).says("at is now");
    check_refusals(api, "POST", "/resend", &[]);
}

/// `POST /v1/messages/{id}/cancel`.
pub fn cancel(api: &Api) {
    let id = api.waiting("x");
    let shown = api.post(&format!("/v1/messages/{id}/cancel")).expect(200).json();
    assert_eq!((shown["state"].as_str(), shown["reason"].as_str()), (Some("abandoned"), Some("cancelled")));
    api.post(&format!("/v1/messages/{id}/cancel")).expect(409);
    check_refusals(api, "POST", "/cancel", &[]);
}

/// `POST /v1/messages/{id}/hold`.
pub fn hold(api: &Api) {
    let id = api.waiting("x");
    let shown = api.post(&format!("/v1/messages/{id}/hold")).expect(200).json();
    assert_eq!((shown["state"].as_str(), shown["waits_for"].as_str()), (Some("queued"), Some("held")));
    let held = api.get("/v1/messages?reason=held&state=queued,failed").expect(200).json();
    let held = held["messages"].as_array().unwrap();
    assert!(held.iter().any(|message| message["id"] == id.as_str()));
    assert!(held.iter().all(|message| message["waits_for"] == "held"));
    check_refusals(api, "POST", "/hold", &[]);
}

/// `POST /v1/messages/{id}/release`.
pub fn release(api: &Api) {
    let id = api.waiting("x");
    api.post(&format!("/v1/messages/{id}/hold")).expect(200);
    api.post(&format!("/v1/messages/{id}/release")).expect(200);
    api.until(&id, "delivered");
    api.post(&format!("/v1/messages/{id}/release")).expect(409);
    check_refusals(api, "POST", "/release", &[]);
}

/// `POST /v1/messages/{id}/resolve`.
pub fn resolve(api: &Api) {
    let id = api.waiting("x");
    api.post(&format!("/v1/messages/{id}/resolve")).expect(400).says("outcome");
    api.post(&format!("/v1/messages/{id}/resolve?outcome=maybe")).expect(400).says("outcome");
    api.post(&format!("/v1/messages/{id}/resolve?outcome=delivered")).expect(409).says("does not admit");
    let id = api.send("bad");
    api.until(&id, "abandoned");
    let shown = api.post(&format!("/v1/messages/{id}/resolve?outcome=delivered")).expect(200).json();
    assert_eq!(shown["state"], "delivered");
    let other = api.send("down");
    api.until(&other, "failed");
    api.post(&format!("/v1/messages/{other}/resolve?outcome=resend")).expect(200);
    assert_eq!(api.until(&other, "failed")["attempts"], 2);
    check_refusals(api, "POST", "/resolve?outcome=delivered", &[]);
}

/// `DELETE /v1/messages/{id}`.
pub fn delete(api: &Api) {
    let id = api.waiting("x");
    let path = format!("/v1/messages/{id}");
    assert_eq!(api.call("DELETE", &path, &[], b"").expect(204).body, b"");
    api.call("DELETE", &path, &[], b"").expect(404);
    for tail in ["", "/body", "/attempts", "/revisions"] {
        api.get(&format!("{path}{tail}")).expect(404);
    }
    check_refusals(api, "DELETE", "", &[]);
}

/// `POST /v1/destinations/{name}/pause`.
pub fn pause(api: &Api) {
    let path = "/v1/destinations/ok/pause";
    let shown = api.post(&format!("{path}?why=a+holiday")).expect(200).json();
    assert_eq!((&shown["name"], &shown["waits_for"]), (&"ok".into(), &"paused".into()));
    let paused = &shown["paused"];
    assert_eq!((&paused["cause"], &paused["who"]), (&"person".into(), &"local".into()), "{shown}");
    assert_eq!(paused["why"], "a holiday");
    let id = api.send("ok");
    assert_eq!(api.get(&format!("/v1/messages/{id}")).expect(200).json()["waits_for"], "paused");
    let list = api.get("/v1/destinations").expect(200).json();
    let of = |name: &str| list["destinations"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    assert_eq!(of("ok").unwrap()["paused"]["why"], "a holiday");
    assert!(of("bad").unwrap()["paused"].is_null(), "the control: only this one");
    api.post(&format!("{path}?why={}", "x".repeat(2_000))).expect(400).says("reason");
    check_lane(api, "pause");
    api.post("/v1/destinations/ok/resume").expect(200);
    api.until(&id, "delivered");
}

/// `POST /v1/destinations/{name}/resume`.
pub fn resume(api: &Api) {
    api.post("/v1/destinations/ok/pause").expect(200);
    for _ in 0..2 {
        let shown = api.post("/v1/destinations/ok/resume").expect(200).json();
        assert!(shown["paused"].is_null() && shown["waits_for"].is_null(), "{shown}");
    }
    check_lane(api, "resume");
}

/// `POST /v1/destinations/{name}/cycle`.
pub fn cycle(api: &Api) {
    let id = api.send("cycled");
    assert_eq!(api.until(&id, "failed")["waits_for"], "next-cycle");
    let shown = api.post("/v1/destinations/cycled/cycle").expect(200).json();
    assert_eq!(shown["cycle"], "every 1d");
    api.until(&id, "delivered");
    api.post("/v1/destinations/ok/cycle").expect(400).says("no cycle");
    check_lane(api, "cycle");
}

fn check_lane(api: &Api, verb: &str) {
    api.post(&format!("/v1/destinations/okk/{verb}")).expect(404).says("ok");
    api.post(&format!("/v1/destinations/ok/{verb}?nonsense=1")).expect(400).says("param");
}
