//! What answers mean: by rules, by presets over answers as the systems give them, and where rules fail.

use super::*;

fn judged(answers: &Answers, status: u16, body: Option<&str>) -> Outcome {
    let headers = [("content-type".to_owned(), "application/json".to_owned()), ("x-id".to_owned(), "h-1".to_owned())];
    let seen = Seen { status, headers: &headers, body: body.map(str::as_bytes), is_of_many: false };
    answers.judge(seen, &format!("shop answered {status}"))
}

/// How it ended, its class, and the words or the remote id.
fn told(outcome: Outcome) -> (Delivery, Option<Class>, String) {
    match outcome {
        Outcome::Delivered(receipt) => (Delivery::Delivered, None, receipt.remote_id.unwrap_or_default()),
        Outcome::Failed(failure) => (failure.delivery(), Some(failure.class), failure.detail),
    }
}

fn check(preset: &str, status: u16, body: &str, delivery: Delivery, class: Option<Class>, words: &str) {
    let answers = Answers::preset(preset).unwrap_or_else(|wrong| panic!("{preset}: {wrong}"));
    let told = told(judged(&answers, status, Some(body)));
    assert_eq!((told.0, told.1), (delivery, class), "{preset} {status} {body}: {}", told.2);
    assert!(told.2.contains(words), "{preset} {status} {body}: {:?} has not {words:?}", told.2);
}

use Class::{Body, RateLimited, Rejected, Server, Setup};
use Delivery::{Delivered, Rejected as No, Retry, Uncertain};

#[test]
fn every_preset_parses() {
    for preset in PRESETS {
        assert!(Answers::preset(preset.name).is_ok(), "{}: {:?}", preset.name, Answers::preset(preset.name).err());
    }
    let wrong = Answers::preset("baselnker").expect_err("no such preset");
    assert!(wrong.to_string().contains("expected one of standard, baselinker"), "{wrong}");
}

#[test]
fn baselinker() {
    let p = "baselinker";
    check(p, 200, r#"{"status":"SUCCESS","order_id":143476260}"#, Delivered, None, "143476260");
    check(p, 200, r#"{"status":"SUCCESS","warnings":{}}"#, Delivered, None, "");
    let bad = r#"{"status":"ERROR","error_code":"ERROR_NO_PRODUCT","error_message":"No product with the given ID"}"#;
    check(p, 200, bad, No, Some(Rejected), "ERROR_NO_PRODUCT: No product with the given ID");
    let blocked = r#"{"status":"ERROR","error_code":"ERROR_BLOCKED_TOKEN","error_message":"Query limit exceeded, token blocked until 2026-11-24 10:01:00"}"#;
    check(p, 200, blocked, Retry, Some(RateLimited), "Query limit exceeded");
    let token = r#"{"status":"ERROR","error_code":"ERROR_BAD_TOKEN","error_message":"Invalid user token"}"#;
    check(p, 200, token, Retry, Some(Setup), "Invalid user token");
    for garbage in ["<html>maintenance</html>", "", "[]", "null", "7", r#"{"status":1}"#] {
        check(p, 200, garbage, Retry, Some(Body), "answered 200");
    }
    check(p, 502, "<html>bad gateway</html>", Retry, Some(Server), "answered 502");
}

#[test]
fn odoo() {
    let p = "odoo-jsonrpc";
    check(p, 200, r#"{"jsonrpc":"2.0","id":1,"result":42}"#, Delivered, None, "42");
    check(p, 200, r#"{"jsonrpc":"2.0","id":1,"result":[7]}"#, Delivered, None, "7");
    check(p, 200, r#"{"jsonrpc":"2.0","id":1,"result":false}"#, Delivered, None, "");
    let error = |name: &str, code: u16, text: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"Odoo Server Error","data":{{"name":"{name}","message":"{text}","arguments":[]}}}}}}"#
        )
    };
    check(
        p,
        200,
        &error("odoo.exceptions.ValidationError", 200, "Partner is required"),
        No,
        Some(Rejected),
        "Partner is required",
    );
    check(p, 200, &error("odoo.exceptions.AccessDenied", 200, "Access Denied"), Retry, Some(Setup), "Access Denied");
    check(
        p,
        200,
        &error("odoo.http.SessionExpiredException", 100, "Session expired"),
        Retry,
        Some(Setup),
        "Session expired",
    );
    let locked = error("psycopg2.errors.SerializationFailure", 200, "could not serialize access");
    check(p, 200, &locked, Retry, Some(Server), "could not serialize");
    check(p, 429, "slow down", Retry, Some(RateLimited), "answered 429");
    check(p, 200, "<html>", Retry, Some(Body), "");
}

#[test]
fn shopify() {
    let p = "shopify-graphql";
    let created = r#"{"data":{"productCreate":{"product":{"id":"gid://shopify/Product/1072481062"},"userErrors":[]}},"extensions":{"cost":{"requestedQueryCost":10}}}"#;
    check(p, 200, created, Delivered, None, "gid://shopify/Product/1072481062");
    let business = r#"{"data":{"productUpdate":{"product":null,"userErrors":[{"field":["input","title"],"message":"can't be blank"}]}}}"#;
    check(p, 200, business, No, Some(Rejected), "input title can't be blank");
    let throttled = r#"{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":202,"actualQueryCost":null,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":118,"restoreRate":50.0}}}}"#;
    check(p, 200, throttled, Retry, Some(RateLimited), "Throttled");
    let answers = Answers::preset(p).expect("a preset");
    match judged(&answers, 200, Some(throttled)) {
        Outcome::Failed(failure) => assert_eq!(failure.retry_after_ms, Some(1_680)),
        Outcome::Delivered(_) => panic!("it is throttled"),
    }
    let denied =
        r#"{"errors":[{"message":"Access denied for productCreate field.","extensions":{"code":"ACCESS_DENIED"}}]}"#;
    check(p, 200, denied, Retry, Some(Setup), "Access denied");
    let syntax = r#"{"errors":[{"message":"Parse error on \"}\"","locations":[{"line":1,"column":2}]}]}"#;
    check(p, 200, syntax, No, Some(Rejected), "Parse error");
    check(p, 401, r#"{"errors":"[API] Invalid API key or access token"}"#, Retry, Some(Setup), "Invalid API key");
    check(p, 200, "not json", Retry, Some(Body), "");
}

#[test]
fn woocommerce() {
    let p = "woocommerce-batch";
    let good = r#"{"create":[{"id":799,"name":"A"}],"update":[{"id":800,"name":"B"}]}"#;
    check(p, 200, good, Delivered, None, "799,800");
    let partly = r#"{"update":[{"id":1,"name":"A"},{"id":0,"error":{"code":"woocommerce_rest_product_invalid_id","message":"Invalid ID.","data":{"status":400}}}]}"#;
    check(p, 200, partly, No, Some(Rejected), "item 0: woocommerce_rest_product_invalid_id Invalid ID.");
    let auth =
        r#"{"code":"woocommerce_rest_cannot_batch","message":"Sorry, you are not allowed","data":{"status":401}}"#;
    check(p, 401, auth, Retry, Some(Setup), "you are not allowed");
    check(p, 503, "<html>Briefly unavailable for scheduled maintenance</html>", Retry, Some(RateLimited), "");
    check(p, 200, "<b>Warning</b>: PHP", Retry, Some(Body), "");
}

#[test]
fn soap() {
    let p = "soap-fault";
    let good = r#"<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="x"><SOAP-ENV:Body><ns1:createResponse/></SOAP-ENV:Body></SOAP-ENV:Envelope>"#;
    check(p, 200, good, Delivered, None, "");
    let fault = |code: &str, text: &str| {
        format!(
            "<s:Envelope><s:Body><s:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring></s:Fault></s:Body></s:Envelope>"
        )
    };
    check(p, 200, &fault("s:Client", "Nieprawid&#322;owy kod &amp; NIP"), No, Some(Rejected), "kod & NIP");
    check(p, 500, &fault("100", "Authentication failed"), No, Some(Rejected), "100: Authentication failed");
    check(p, 500, &fault("s:Server", "deadlock"), Retry, Some(Server), "s:Server: deadlock");
    let newer = "<e:Envelope><e:Body><e:Fault><e:Code><e:Value>e:Receiver</e:Value></e:Code><e:Reason><e:Text xml:lang=\"en\">busy</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>";
    check(p, 500, newer, Retry, Some(Server), "busy");
    check(p, 200, r#"{"status":"ok"}"#, Retry, Some(Body), "");
    check(p, 500, "oops", Retry, Some(Server), "answered 500");
}

#[test]
fn standard() {
    let p = "standard";
    check(p, 204, "", Delivered, None, "");
    check(p, 200, "any garbage", Delivered, None, "");
    let problem = r#"{"type":"/p/bad","title":"Bad order","status":422,"detail":"no lines"}"#;
    check(p, 422, problem, No, Some(Rejected), "Bad order: no lines");
    check(p, 410, "", No, Some(Class::Gone), "answered 410");
    check(p, 429, "", Retry, Some(RateLimited), "");
    check(p, 401, "who?", Retry, Some(Setup), "");
}

fn rule(status: &str, body: &str, when: &str) -> Rule {
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    Rule::parse(given(status), given(body), given(when)).expect("a rule")
}

#[test]
fn the_first_rule_that_applies_decides_in_the_order_of_care() {
    let answers = Answers::new()
        .rule(Meaning::Success, rule("2xx", "", ""))
        .rule(Meaning::Reject, rule("", ".code >= 10", ""))
        .rule(Meaning::Retry(Class::Server), rule("", ".code >= 20", ""))
        .rule(Meaning::Uncertain, rule("", "", ".status == 200 and .body.code >= 30"));
    for (code, expect) in [(1, Delivered), (10, No), (20, Retry), (30, Uncertain)] {
        assert_eq!(told(judged(&answers, 200, Some(&format!("{{\"code\":{code}}}")))).0, expect, "{code}");
    }
}

#[test]
fn headers_and_statuses_can_say_yes() {
    let answers = Answers::new().rule(Meaning::Success, rule("200,409", "", ".headers[\"x-id\"] == \"h-1\""));
    let answers = answers.remote_id(".headers[\"x-id\"]").expect("a filter");
    assert_eq!(told(judged(&answers, 409, Some(""))), (Delivered, None, "h-1".into()));
    assert_eq!(told(judged(&Answers::new().already_there(true), 409, None)).0, Delivered);
    let plain = told(judged(&Answers::new().already_there(false), 409, None));
    assert_eq!((plain.0, plain.1), (No, Some(Class::Conflict)));
    let firm = Answers::new().rule(Meaning::Reject, rule("409", "", ""));
    assert_eq!(told(judged(&firm, 409, None)).1, Some(Rejected), "a rule's no is final");
}

#[test]
fn a_rule_that_fails_makes_the_attempt_uncertain() {
    for bad in [".a.b.c", "error(\"why\")", "last(range(1e12))", ". | .[0] | .x"] {
        let answers = Answers::new().rule(Meaning::Success, rule("2xx", bad, ""));
        let (delivery, class, words) = told(judged(&answers, 200, Some(r#"{"a":1}"#)));
        assert_eq!((delivery, class), (Uncertain, Some(Class::Rule)), "{bad}: {words}");
        assert!(words.contains(bad) && words.contains("failed on it"), "{words}");
    }
}

#[test]
fn a_body_that_did_not_come_whole_matters_only_where_a_rule_looks_at_it() {
    let over = |when: &str| Answers::new().rule(Meaning::Success, rule("", "", when));
    assert_eq!(told(judged(&over(".status == 200"), 200, None)).0, Delivered);
    let (delivery, class, words) = told(judged(&over(".body.ok"), 200, None));
    assert_eq!((delivery, class), (Uncertain, Some(Class::Rule)), "{words}");
    let by_status = Answers::new().rule(Meaning::Success, rule("200", "", ""));
    assert!(!by_status.reads(200) && !by_status.is_empty() && Answers::new().is_empty());
    let careful = Answers::new().rule(Meaning::Success, rule("2xx", ".ok", ""));
    assert!(careful.reads(200) && !careful.reads(500));
    let reason = Answers::new().reason(".body.why").expect("a filter");
    assert_eq!(told(judged(&reason, 422, None)), (No, Some(Rejected), "shop answered 422".into()));
}

#[test]
fn rules_that_do_not_parse_are_told_with_key_and_column() {
    for (status, body, when, expect) in [
        (Some("2xz"), None, None, "status: column 1: expected a status"),
        (None, Some(".a =="), None, "body: column 6: expected term"),
        (None, None, Some("nope"), "when: column 1: there is no filter \"nope\""),
        (None, None, None, "expected at least one of"),
    ] {
        let wrong = Rule::parse(status, body, when).expect_err("wrong").to_string();
        assert!(wrong.contains(expect), "{wrong}");
    }
    assert!(Answers::new().reason("[").expect_err("wrong").to_string().starts_with("reason: column"));
}
