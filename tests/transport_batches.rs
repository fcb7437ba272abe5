//! Many messages in one request over HTTP: each format as it arrives, and what answers of known shapes say of each message.

#[expect(dead_code, reason = "the other tests of the transport use the rest of it")]
#[path = "common/peer.rs"]
mod peer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::engine::{BatchRule, Destination, Engine, Settings};
use goniec::model::{Abandoned, Class, NodeTag, OnUncertain, Phase, Place, Sent, State, WallMs};
use goniec::store::memory::MemoryStore;
use goniec::transport::answer::{Answers, Missing, ResultRules, Results};
use goniec::transport::http::{Format, Http};
use goniec::transport::secret::{Secret, Signing};
use goniec::transport::shape::Shape;
use goniec::transport::{Batched, Transport};
use goniec::{Draft, Id, Message, Outcome};
use peer::Peer;

const PATIENCE: Duration = Duration::from_secs(5);

fn message(slot: u8, draft: Draft) -> Message {
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, slot)),
        attempt: 1,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: Arc::new(draft.envelope),
        body: draft.body,
    }
}

fn json(slot: u8, key: &str, body: &str) -> Message {
    message(slot, Message::to("shop").key(key).kind("price").content_type("application/json").body(body.as_bytes()))
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn sent(http: impl FnOnce(Http) -> Http, messages: &[Message]) -> (peer::Request, Batched) {
    let peer = Peer::answering(answer(200, "ok"));
    let batched = http(Http::post(&peer.url("/batch"))).send_batch(messages, PATIENCE);
    (peer.requests().pop().expect("a request"), batched)
}

fn three() -> Vec<Message> {
    vec![json(1, "a", "{\"n\": 1,\r\n \"t\": \"x y\"}"), json(2, "b", "[12345678901234567890]"), json(3, "c", " null ")]
}

fn text(request: &peer::Request) -> &str {
    std::str::from_utf8(&request.body).expect("text")
}

#[test]
fn an_array_and_lines_hold_the_bodies_to_the_last_digit() {
    let (request, batched) = sent(|http| http.batch(Format::JsonArray, None).header("x-shop", "main"), &three());
    assert_eq!(text(&request), "[{\"n\": 1,\r\n \"t\": \"x y\"},[12345678901234567890],null]");
    let id = Id::of_batch(three().iter().map(|message| message.id)).to_string();
    for (name, value) in [
        ("content-type", "application/json"),
        ("goniec-batch", "3"),
        ("webhook-id", &*id),
        ("idempotency-key", &*id),
        ("x-shop", "main"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!((request.header("goniec-key"), request.header("goniec-attempt")), (None, None));
    assert_eq!(batched, Batched::whole(batched.request.clone(), 3));
    assert!(matches!(batched.request, Outcome::Delivered(_)));

    let (request, _) = sent(|http| http.batch(Format::Ndjson, None), &three());
    assert_eq!(text(&request), "{\"n\": 1, \"t\": \"x y\"}\n[12345678901234567890]\nnull\n");
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
}

#[test]
fn a_batch_has_the_name_of_its_members_and_one_alone_its_own() {
    let of = |messages: &[Message]| sent(|http| http, messages).0.header("webhook-id").expect("an id").to_owned();
    let all = three();
    assert_eq!(of(&all), of(&three()), "the same again");
    let (turned, fewer) = ([all[1].clone(), all[0].clone(), all[2].clone()], &all[..2]);
    assert!(of(&turned) != of(&all) && of(fewer) != of(&all));
    assert_eq!(of(&all[..1]), all[0].id.to_string());
}

#[test]
fn what_does_not_fit_the_format_stays_behind_alone() {
    let mut messages = three();
    messages.insert(1, message(9, Message::to("shop").body(*b"no json")));
    for format in [Format::JsonArray, Format::Ndjson] {
        let (request, batched) = sent(|http| http.batch(format, None), &messages);
        assert_eq!(request.header("goniec-batch"), Some("3"));
        let Some(Outcome::Failed(failure)) = &batched.each[1] else { panic!("{batched:?}") };
        assert_eq!((failure.class, failure.sent), (Class::Template, Sent::No));
        assert!(failure.detail.contains("is not JSON"), "{}", failure.detail);
        assert!([0, 2, 3].into_iter().all(|at| batched.each[at].is_none()));
        let gone = Id::of_batch(three().iter().map(|message| message.id)).to_string();
        assert_eq!(request.header("webhook-id"), Some(&*gone), "it is named after those that go");
    }
    let peer = Peer::answering(answer(200, "ok"));
    let batched = Http::post(&peer.url("/")).send_batch(&messages[1..2], PATIENCE);
    assert!(matches!(&batched.request, Outcome::Failed(failure) if failure.sent == Sent::No));
    assert_eq!(peer.requests().len(), 0, "there was nothing to send");
}

#[test]
fn cloud_events_go_as_their_batch_format_has_it() {
    let messages =
        [json(1, "sku:1", "{\"price\":1}"), message(2, Message::to("shop").content_type("text/csv").body(*b"a;b"))];
    let (request, _) = sent(|http| http.batch(Format::CloudEvents("/erp".into()), None), &messages);
    assert_eq!(request.header("content-type"), Some("application/cloudevents-batch+json"));
    let (one, two) = (messages[0].id, messages[1].id);
    let expect = format!(
        "[{{\"specversion\":\"1.0\",\"id\":\"{one}\",\"source\":\"/erp\",\"type\":\"price\",\"subject\":\"sku:1\",\
         \"time\":\"2026-09-21T14:13:20.000Z\",\"datacontenttype\":\"application/json\",\"data\":{{\"price\":1}}}},\
         {{\"specversion\":\"1.0\",\"id\":\"{two}\",\"source\":\"/erp\",\"type\":\"goniec.message\",\
         \"time\":\"2026-09-21T14:13:20.000Z\",\"datacontenttype\":\"text/csv\",\"data_base64\":\"YTti\"}}]"
    );
    assert_eq!(text(&request), expect);
}

#[test]
fn what_a_shape_makes_is_told_as_its_own_type_and_a_fixed_header_wins() {
    let shape = || Shape::template("<n>{{ body.n }}</n>", "application/xml").expect("a template");
    let messages = [json(1, "a", "{\"n\":1}")];
    let (request, _) = sent(|http| http.shape(shape()).batch(Format::CloudEvents("/erp".into()), None), &messages);
    let events: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(events[0]["datacontenttype"], "application/xml");
    assert!(events[0]["data"].is_null() && events[0]["data_base64"].is_string(), "{events}");
    let peer = Peer::answering(answer(200, "ok"));
    let typed = |http: Http| http.shape(shape()).send(&messages[0], PATIENCE);
    typed(Http::post(&peer.url("/")));
    typed(Http::post(&peer.url("/")).header("content-type", "text/x-shop"));
    let types: Vec<_> =
        peer.requests().iter().map(|request| request.header("content-type").map(str::to_owned)).collect();
    assert_eq!(types, [Some("application/xml".to_owned()), Some("text/x-shop".to_owned())]);
}

#[test]
fn a_conflict_of_many_says_of_none_that_it_is_there() {
    let peer = Peer::answering(answer(409, "one of them exists"));
    let shop = Http::post(&peer.url("/")).answers(Answers::new().already_there(true)).batch(Format::JsonArray, None);
    let Outcome::Failed(failure) = shop.send_batch(&three(), PATIENCE).request else { panic!("it is refused") };
    assert_eq!((failure.class, failure.delivery()), (Class::Conflict, goniec::model::Delivery::Rejected));
    assert!(matches!(shop.send_batch(&three()[..1], PATIENCE).request, Outcome::Delivered(_)));
}

#[test]
fn a_template_makes_the_whole_and_the_signature_covers_it() {
    let template =
        "{\"create\":[{% for m in messages %}{{ m.body|tojson }}{% if not loop.last %},{% endif %}{% endfor %}]}";
    let shape = Shape::template(template, "application/json").expect("a template");
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
    let signing = || Signing::standard_webhooks(std::slice::from_ref(&secret)).expect("a secret");
    let messages = [json(1, "a", "{\"sku\":1}"), json(2, "b", "{\"sku\":2}")];
    let (request, _) = sent(|http| http.batch(Format::Template(shape), None).sign(signing()), &messages);
    assert_eq!(text(&request), "{\"create\":[{\"sku\": 1},{\"sku\": 2}]}");
    let timestamp = request.header("webhook-timestamp").expect("a time").parse().expect("seconds");
    let expect = signing().signature(request.header("webhook-id").expect("an id"), timestamp, &request.body);
    assert_eq!(request.header("webhook-signature"), Some(&*expect));

    let shape = Shape::template("{{ messages[0].body.nope.x }}", "t").expect("a template");
    let peer = Peer::answering(answer(200, "ok"));
    let batched = Http::post(&peer.url("/")).batch(Format::Template(shape), None).send_batch(&messages, PATIENCE);
    let Outcome::Failed(failure) = &batched.request else { panic!("{batched:?}") };
    assert_eq!((failure.class, failure.sent, peer.requests().len()), (Class::Template, Sent::No, 0));
}

/// What each message came to: `+` and its remote id, `-` refused, `~` again, `?` nobody knows; the last three with their words.
fn ends(status: u16, body: &str, rules: &ResultRules<'_>, answers: Answers, messages: &[Message]) -> Vec<String> {
    let peer = Peer::answering(answer(status, body));
    let results = Results::parse(rules).expect("rules");
    let http = Http::post(&peer.url("/")).answers(answers).batch(Format::JsonArray, Some(results));
    let batched = http.send_batch(messages, PATIENCE);
    let end = |own: &Option<Outcome>| match own.as_ref().unwrap_or(&batched.request) {
        Outcome::Delivered(receipt) => format!("+{}", receipt.remote_id.as_deref().unwrap_or_default()),
        Outcome::Failed(failure) => {
            let sign = match failure.delivery() {
                goniec::model::Delivery::Rejected => '-',
                goniec::model::Delivery::Uncertain => '?',
                _ => '~',
            };
            format!("{sign}{}", failure.detail)
        }
    };
    assert_eq!(batched.each.len(), messages.len());
    let phases = batched.request.phases();
    assert!(phases.is_some_and(|phases| phases.last() == Some(Phase::Receive)), "{phases:?}");
    assert!(
        batched.each.iter().flatten().all(|own| own.phases() == phases),
        "each went with the one request: {batched:?}"
    );
    batched.each.iter().map(end).collect()
}

const WOO: ResultRules<'_> = ResultRules {
    items: "(.create // []) + (.update // [])",
    by: None,
    success: ".id > 0 and .error == null",
    reject: Some(".error.data.status | . != null and . < 500"),
    reason: Some("\"\\(.error.code): \\(.error.message)\""),
    remote_id: Some(".id"),
    missing: Missing::Uncertain,
};

#[test]
fn woocommerce_says_of_each_item_what_became_of_it() {
    let body = r#"{"create":[{"id":799,"sku":"A"},
        {"id":0,"error":{"code":"woocommerce_product_image_upload_error","message":"too slow","data":{"status":503}}},
        {"id":0,"error":{"code":"product_invalid_sku","message":"Invalid or duplicated SKU.","data":{"status":400}}}]}"#;
    let ends = ends(200, body, &WOO, Answers::new(), &three());
    assert_eq!(ends[0], "+799");
    assert_eq!(ends[1], "~its result says no: woocommerce_product_image_upload_error: too slow");
    assert_eq!(ends[2], "-its result says no: product_invalid_sku: Invalid or duplicated SKU.");
}

#[test]
fn what_the_answer_does_not_tell_of_is_never_delivered() {
    let run = |status, body: &str| ends(status, body, &WOO, Answers::new(), &three());
    for (body, says) in [
        (r#"{"create":[{"id":1},{"id":2}]}"#, "2 results for 3 messages"),
        (r#"{"create":[{"id":1},{"id":2},{"id":3},{"id":4}]}"#, "4 results for 3 messages"),
        (r#"{}"#, "0 results for 3 messages"),
        ("<html>", "failed on the answer"),
        ("", "failed on the answer"),
    ] {
        let ends = run(200, body);
        assert!(ends.iter().all(|end| end.starts_with('?') && end.contains(says)), "{body}: {ends:?}");
    }
    let ends = run(200, r#"{"create":[{"id":1},7,{"id":3}]}"#);
    assert!(
        ends[0] == "+1" && ends[1].starts_with("?the rule `.id > 0 and .error == null` failed") && ends[2] == "+3",
        "{ends:?}"
    );
    let ends = run(200, r#"{"create":[{"id":1},null,{}]}"#);
    assert!(ends[0] == "+1" && ends[1].starts_with('~') && ends[2].starts_with('~'), "no error is no yes: {ends:?}");
    // A request that failed is the end of all, whatever its body says.
    let ends = run(503, r#"{"create":[{"id":1},{"id":2},{"id":3}]}"#);
    assert!(ends.iter().all(|end| end.starts_with('~')), "{ends:?}");
    let peer = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"create\":[");
    });
    let results = Results::parse(&WOO).expect("rules");
    let batched = Http::post(&peer.url("/")).batch(Format::JsonArray, Some(results)).send_batch(&three(), PATIENCE);
    let is_uncertain =
        |own: &Option<Outcome>| matches!(own, Some(Outcome::Failed(failure)) if failure.sent == Sent::Maybe);
    assert!(batched.each.iter().all(is_uncertain), "{batched:?}");
}

#[test]
fn results_of_dhl24_stand_beside_errors_and_name_their_message() {
    let rules = ResultRules {
        items: ".",
        by: Some(".reference // .error.reference"),
        success: "has(\"shipmentId\")",
        reject: Some(".error.code >= 400"),
        reason: Some(".error.message"),
        remote_id: Some(".shipmentId"),
        missing: Missing::Uncertain,
    };
    let run = |body: &str| ends(200, body, &rules, Answers::new(), &three());
    let both = r#"[{"error":{"reference":"c","code":422,"message":"postcode"}},{"reference":"a","shipmentId":"123"}]"#;
    assert_eq!(run(both), ["+123", "?no result of the answer is its own", "-its result says no: postcode"]);
    let twice =
        r#"[{"reference":"a","shipmentId":"1"},{"reference":"a","shipmentId":"2"},{"reference":"b","shipmentId":"3"}]"#;
    assert!(run(twice)[0].starts_with("?more than one") && run(twice)[1] == "+3", "{:?}", run(twice));
    // Two messages of one key cannot be told apart by it, but by their ids.
    let same = [json(1, "a", "1"), json(2, "a", "2")];
    let body = r#"[{"reference":"a","shipmentId":"1"}]"#;
    assert!(ends(200, body, &rules, Answers::new(), &same).iter().all(|end| end.starts_with('?')));
    let body = format!(r#"[{{"reference":"{}","shipmentId":"1"}}]"#, same[1].id);
    let by_id = ends(200, &body, &rules, Answers::new(), &same);
    assert!(by_id[0].starts_with('?') && by_id[1] == "+1", "{by_id:?}");
}

#[test]
fn baselinker_names_only_what_it_refuses() {
    let rules = ResultRules {
        items: "[.warnings | objects | to_entries[]]",
        by: Some(".key"),
        success: "false",
        reject: Some("true"),
        reason: Some(".value"),
        missing: Missing::Delivered,
        ..ResultRules::default()
    };
    let preset = || Answers::preset("baselinker").expect("a preset");
    let run = |body: &str| ends(200, body, &rules, preset(), &three());
    let warned = r#"{"status":"SUCCESS","counter":2,"warnings":{"b":"Unknown product"}}"#;
    assert_eq!(run(warned), ["+", "-its result says no: Unknown product", "+"]);
    assert_eq!(run(r#"{"status":"SUCCESS","counter":3,"warnings":""}"#), ["+", "+", "+"]);
    // A refusal that is nobody's could be anybody's.
    let stray = run(r#"{"status":"SUCCESS","warnings":{"zz":"Unknown product"}}"#);
    assert!(stray.iter().all(|end| end.starts_with('?')), "{stray:?}");
    let blocked = run(r#"{"status":"ERROR","error_code":"ERROR_BLOCKED_TOKEN","error_message":"slow down"}"#);
    assert!(blocked.iter().all(|end| end.starts_with('~') && end.contains("BLOCKED_TOKEN")), "{blocked:?}");
}

#[test]
fn a_rule_that_is_no_filter_is_told_with_its_key() {
    let wrong = Results::parse(&ResultRules { by: Some(".a ==="), ..WOO }).expect_err("no filter");
    assert_eq!(wrong.key, "match");
}

#[test]
fn the_engine_sends_batches_on_its_threads_and_takes_a_refused_one_apart() {
    let peer = Peer::start(|line| {
        while let Some(request) = line.request() {
            let is_refused = String::from_utf8_lossy(&request.body).contains("poison");
            line.send(answer(if is_refused { 400 } else { 200 }, "ok"));
        }
    });
    for on_uncertain in [OnUncertain::Retry, OnUncertain::Hold] {
        let mut shop = Destination::new("shop", Http::post(&peer.url("/")).batch(Format::JsonArray, None));
        shop.batch = Some(BatchRule { max: 10, wait_ms: 20 });
        shop.policy.on_uncertain = on_uncertain;
        let store = Arc::new(MemoryStore::new());
        let engine = Engine::start(store, vec![shop], Settings::default(), Vec::new()).expect("starts");
        let body = |number: usize| if number == 44 { "\"poison\"".to_owned() } else { number.to_string() };
        let drafts = (0..100).map(|number| Message::to("shop").body(body(number).into_bytes())).collect();
        let ids = engine.accept_wait(drafts).expect("accepts");
        let state = |id: &Id| engine.show(*id).expect("is there").record.state;
        let until = Instant::now() + Duration::from_secs(30);
        while !ids.iter().all(|id| state(id).is_final()) {
            assert!(Instant::now() < until, "{:?}", engine.stats().counts);
            std::thread::yield_now();
        }
        for (number, id) in ids.iter().enumerate() {
            let expect = if number == 44 { State::Abandoned(Abandoned::Rejected) } else { State::Delivered };
            assert_eq!(state(id), expect, "{number}");
        }
        engine.shutdown(PATIENCE).expect("stops");
    }
    let whole = peer.requests().iter().filter(|request| request.header("goniec-batch") == Some("10")).count();
    assert!(whole >= 20, "{whole} whole batches for two times a hundred messages");
}
