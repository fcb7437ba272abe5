//! Tokens of the registry: how they are made, listed and revoked, what is refused, and what a damaged one does to a node.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use goniec::config::{Role, Token};
use goniec::engine::{Beside, Engine, Grant, Settings};
use goniec::server::{ServerConfig, start};
use goniec::store::memory::{MemoryDisk, MemoryStore};
use goniec::store::{Batch, Note, Store};
use goniec::transport::secret::Secret;
use serde_json::{Value, json};

use super::harness::{Api, keys};

/// A node that is shut, called by an administrator. The other tests of routes share one that stays open.
fn shut() -> Api {
    over(MemoryDisk::new())
}

fn over(disk: MemoryDisk) -> Api {
    let root = Token { name: "root".into(), role: Role::Admin, secret: Secret::new("operator-secret".into()) };
    Api::over(disk, Settings::default(), |config| config.tokens = vec![root])
}

fn make(api: &Api, asked: &Value) -> super::harness::Answer {
    api.call("POST", "/v1/tokens", &[], asked.to_string().as_bytes())
}

/// `GET /v1/tokens`.
pub fn list(open: &Api) {
    assert_eq!(open.get("/v1/tokens").expect(200).json()["tokens"], json!([]));
    let api = shut();
    make(&api, &json!({"name": "anna", "role": "viewer", "expires": "90d"})).expect(201);
    let all = api.get("/v1/tokens").expect(200).json();
    let [root, anna] = all["tokens"].as_array().unwrap().as_slice() else { panic!("two tokens: {all}") };
    assert_eq!(keys(anna).join(" "), "expires_at from made_at made_by name role state");
    assert_eq!(
        (&root["name"], &root["from"], &root["made_at"]),
        (&"root".into(), &"configuration".into(), &Value::Null)
    );
    assert_eq!(
        (&anna["from"], &anna["state"], &anna["made_by"]),
        (&"registry".into(), &"valid".into(), &"root".into())
    );
    api.get("/v1/tokens?x=1").expect(400);
}

/// `POST /v1/tokens`.
pub fn new(open: &Api) {
    make(open, &json!({"name": "anna", "role": "operator"})).expect(409).says("must be that of an admin");
    let api = shut();
    let made = make(&api, &json!({"name": "anna", "role": "viewer", "expires": null})).expect(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let token = made.text("token");
    assert_eq!((made.text("name"), made.text("role"), token.len()), ("anna".into(), "viewer".into(), 68));
    let entry = api.get("/v1/audit?limit=1").expect(200).json()["entries"][0].clone();
    assert_eq!(
        (&entry["act"], &entry["who"], &entry["target"], &entry["detail"]),
        (&"token-new".into(), &"root".into(), &json!({"token": "anna"}), &"role viewer".into())
    );
    for taken in ["anna", "root"] {
        make(&api, &json!({"name": taken, "role": "viewer"})).expect(409).says("there is a token of the name");
    }
    for (asked, said) in [
        (json!({"name": "x"}), "missing field"),
        (json!({"name": "x", "role": "king"}), "producer, viewer, operator and admin"),
        (json!({"name": "x", "role": "viewer", "more": 1}), "unknown field"),
        (json!({"name": "", "role": "viewer"}), "1 to 64 letters"),
        (json!({"name": "x".repeat(65), "role": "viewer"}), "1 to 64 letters"),
        (json!({"name": "local", "role": "viewer"}), "another name"),
        (json!({"name": "x", "role": "viewer", "expires": "soon"}), "expires"),
        (json!({"name": "x", "role": "viewer", "expires": "1970-01-01T00:00:00Z"}), "expired already"),
        (json!({"name": "x", "role": "viewer", "expires": "0s"}), "expired already"),
    ] {
        let refused = make(&api, &asked).expect(400);
        if said != "expires" {
            refused.says(said);
        }
    }
    let all = api.get("/v1/tokens").expect(200).json();
    assert_eq!(all["tokens"].as_array().unwrap().len(), 2, "nothing of what was refused is there");
}

/// `DELETE /v1/tokens/{name}`.
pub fn revoke(open: &Api) {
    open.call("DELETE", "/v1/tokens/nobody", &[], b"").expect(404).says("no token");
    let mut api = shut();
    let token = make(&api, &json!({"name": "a@b.pl", "role": "viewer"})).expect(201).text("token");
    api.call("DELETE", "/v1/tokens/root", &[], b"").expect(409).says("of the configuration");
    api.call("DELETE", "/v1/tokens/a%40b.pl", &[], b"").expect(204);
    api.call("DELETE", "/v1/tokens/a%40b.pl", &[], b"").expect(404);
    api.without_token();
    api.call("GET", "/v1/stats", &[("authorization", &format!("Bearer {token}"))], b"").expect(401);
}

#[test]
fn who_follows_the_events_hears_nothing_once_the_token_is_revoked() {
    let api = shut();
    let token = make(&api, &json!({"name": "anna", "role": "viewer"})).expect(201).text("token");
    let mut stream = api.connect();
    let head = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer";
    write!(stream, "{head} {token}\r\n\r\n").expect("a request");
    let mut from = BufReader::new(stream);
    let mut heard = String::new();
    while !heard.contains("goniec follows\n") {
        assert!(from.read_line(&mut heard).expect("a line") > 0, "{heard}");
    }
    // The control: until then it hears what happens.
    let before = api.waiting("before");
    while !heard.contains(&before) {
        assert!(from.read_line(&mut heard).expect("a line") > 0, "{heard}");
    }
    api.call("DELETE", "/v1/tokens/anna", &[], b"").expect(204);
    let after = api.waiting("after");
    from.read_to_string(&mut heard).expect("the end");
    assert!(!heard.contains(&after), "{heard}");
}

#[test]
fn a_damaged_token_opens_nothing_hides_no_other_and_can_be_revoked() {
    let disk = MemoryDisk::new();
    let store = MemoryStore::open(&disk).expect("a store");
    let note = |name: &str, value: &[u8]| Note { key: name.into(), value: value.into() };
    // The second says that it is another one.
    let notes = vec![note("tbroken", b"?"), note("tmoved", b"{\"name\":\"root\"}")];
    let number = store.commit(&Batch { notes, ..Batch::default() }).expect("a commit").number;
    store.sync(number).expect("a sync");
    store.close().expect("a close");
    drop(store);
    // It is shut, though nothing of what is there can be read.
    let alone = Api::over(disk.clone(), Settings::default(), |_| ());
    alone.get("/v1/stats").expect(401);
    drop(alone);
    let api = over(disk);
    let damaged = api.get("/v1/stats").expect(200).json()["damaged"].to_string();
    assert!(damaged.contains("broken") && damaged.contains("moved"), "{damaged}");
    let all = api.get("/v1/tokens").expect(200).json();
    assert_eq!((&all["tokens"][1]["name"], &all["tokens"][1]["state"]), (&"broken".into(), &"damaged".into()));
    api.call("DELETE", "/v1/tokens/broken", &[], b"").expect(204);
    make(&api, &json!({"name": "broken", "role": "viewer"})).expect(201);
}

#[test]
fn other_machines_are_let_near_only_where_a_token_is_needed() {
    let engine = Engine::start(Arc::new(MemoryStore::new()), Vec::new(), Settings::default(), Vec::new()).unwrap();
    // An address that this machine does not have.
    let tried =
        || start(engine.clone(), ServerConfig::new(([192, 0, 2, 1], 0).into())).expect_err("refused").to_string();
    assert!(tried().contains("needs a token"));
    let loopback = start(engine.clone(), ServerConfig::new(([127, 0, 0, 1], 0).into())).expect("a server");
    let grant = Grant::new("root", Role::Admin, [7; 32], None).expect("a name");
    let (told, heard) = std::sync::mpsc::channel();
    engine.make_token(grant, "", Beside::default(), Box::new(move |made| told.send(made).unwrap()));
    heard.recv().unwrap().expect("a token");
    assert!(tried().contains("cannot listen"), "a token of the registry counts");
    loopback.stop(std::time::Duration::ZERO);
}

#[test]
fn of_two_admins_that_are_revoked_at_once_one_stays() {
    let engine = Engine::start(Arc::new(MemoryStore::new()), Vec::new(), Settings::default(), Vec::new()).unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let reply = || {
        let told = told.clone();
        Box::new(move |done| told.send(done).unwrap())
    };
    let make = |name: &str| {
        let grant = Grant::new(name, Role::Admin, [7; 32], None).expect("a name");
        engine.make_token(grant, "", Beside::default(), reply());
        heard.recv().unwrap()
    };
    make("a").expect("a token");
    for round in 0..50 {
        // Whichever of them stayed before.
        let _ = (make("a"), make("b"));
        ["a", "b"].iter().for_each(|name| engine.revoke_token(name, "", Beside::default(), reply()));
        let done = [heard.recv().unwrap().is_ok(), heard.recv().unwrap().is_ok()];
        assert_ne!(done[0], done[1], "round {round}");
        assert_eq!(engine.tokens().len(), 1, "round {round}");
    }
}
