//! What a person does in the console, and what the node makes of it.

use goniec::config::Role;
use serde_json::{Value, json};

use super::browser::{Browser, browser};
use super::world::World;

/// A refused order: it has no customer.
fn order(world: &World, number: u32) -> String {
    let envelope =
        json!({"destination": "erp", "key": format!("order:{number}"), "type": "order.new", "body": {"order": number}});
    let id = world.hand_in(&envelope);
    world.until(&id, "abandoned");
    id
}

/// A message that waits for an hour.
fn waiting(world: &World, key: &str) -> String {
    world.hand_in(&json!({"destination": "shop", "key": key, "body": key, "not_before": "1h"}))
}

fn message(world: &World, id: &str) -> Value {
    world.call("GET", &format!("/v1/messages/{id}"), &[], b"")
}

#[test]
fn a_broken_body_is_mended_with_a_reason_and_delivered() {
    let Some(browser) = browser("a_broken_body_is_mended_with_a_reason_and_delivered") else { return };
    let world = World::start(&[]);
    let id = order(&world, 17);
    browser.open(&world.page("?lang=en", &format!("#/message/{id}")));
    browser.sees(".sentence", "failed with 422");
    browser.sees(".attempt pre", "no customer");
    browser.press("e");
    browser.write(".editor textarea", "{\"order\": 17, }");
    browser.sees(".editor", "not valid JSON");
    browser.write(".editor textarea", "{\"order\": 17, \"customer\": \"Zażółć\"}");
    browser.sees(".editor .diff .new", "\"customer\": \"Zażółć\"");
    // Without a reason the browser keeps the form.
    browser.click(".editor button[type=submit]");
    assert_eq!(message(&world, &id)["revision"], 1);
    browser.write(".editor label.field:last-of-type input", "the shop forgot the customer");
    browser.click(".editor button[type=submit]");
    world.until(&id, "delivered");
    browser.sees(".verdict", "delivered");
    browser.sees(".life", "the shop forgot the customer");
    browser.sees("dd", "R-4711");
    assert_eq!(browser.count(".editor"), 0, "the editor is closed");
    let revisions = world.call("GET", &format!("/v1/messages/{id}/revisions"), &[], b"");
    assert_eq!(revisions["revisions"][1]["why"], "the shop forgot the customer");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn who_was_overtaken_sees_both_versions_and_loses_neither() {
    let Some(browser) = browser("who_was_overtaken_sees_both_versions_and_loses_neither") else { return };
    let world = World::start(&[]);
    let id = waiting(&world, "sku-1");
    browser.open(&world.page("?lang=en", &format!("#/message/{id}")));
    browser.click("[data-act=edit]");
    browser.write(".editor textarea", "mine");
    browser.write(".editor label.field:last-of-type input", "because");
    let theirs = [("if-match", "\"1\""), ("x-goniec-why", "they were faster"), ("content-type", "text/plain")];
    world.call("PUT", &format!("/v1/messages/{id}/body"), &theirs, b"theirs");
    browser.click(".editor button[type=submit]");
    browser.sees(".editor .refusal", "saved revision 2 meanwhile");
    browser.sees(".editor .refusal", "they were faster");
    browser.sees(".editor .refusal .gone", "theirs");
    browser.sees(".editor .refusal .new", "mine");
    assert_eq!(message(&world, &id)["revision"], 2, "nothing was overwritten");
    browser.click(".editor .refusal .row button:last-child");
    browser.click(".editor button[type=submit]");
    browser.sees(".life", "because");
    let body = world.call("GET", &format!("/v1/messages/{id}/revisions"), &[], b"");
    assert_eq!((&body["revisions"][1]["body"], &body["revisions"][2]["body"]), (&"theirs".into(), &"mine".into()));
}

#[test]
fn messages_are_held_released_given_up_and_deleted_one_by_one_and_together() {
    let Some(browser) = browser("messages_are_held_released_given_up_and_deleted_one_by_one_and_together") else {
        return;
    };
    let world = World::start(&[]);
    let ids = ["a", "b", "c"].map(|key| waiting(&world, key));
    browser.open(&world.page("?lang=en", &format!("#/message/{}", ids[0])));
    browser.click("[data-act=hold]");
    browser.sees(".verdict", "held");
    browser.click("[data-act=release]");
    world.until(&ids[0], "delivered");
    browser.sees(".verdict", "delivered");
    browser.click("[data-act=resend]");
    browser.sees(".life", "attempt 2");
    browser.turn("#/messages?filter=state:queued");
    browser.click("thead input");
    browser.sees(".actions", "2 selected");
    browser.click(".actions [data-act=cancel]");
    browser.sees("dialog", "Give up: 2 messages.");
    browser.sees("dialog .sample", "shop");
    browser.write("dialog input", "3");
    browser.click("dialog button[type=submit]");
    assert_eq!(browser.count("dialog:modal"), 1, "a wrong count does nothing");
    browser.write("dialog input", "2");
    browser.click("dialog button[type=submit]");
    world.until(&ids[1], "abandoned");
    world.until(&ids[2], "abandoned");
    browser.sees(".empty", "Nothing matches.");
    browser.turn(&format!("#/message/{}", ids[1]));
    browser.click("[data-act=delete]");
    browser.click("dialog button[type=submit]");
    browser.until("the list", "location.hash === '#/messages'", json!([]));
    browser.sees("tbody", &ids[2][28..]);
    let list = world.call("GET", "/v1/messages", &[], b"");
    assert_eq!(list["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn one_field_of_many_gets_another_value_as_it_is_written() {
    let Some(browser) = browser("one_field_of_many_gets_another_value_as_it_is_written") else { return };
    let world = World::start(&[]);
    let headers = [("content-type", "application/json"), ("goniec-not-before", "1h")];
    let body = r#"{"n": 1e400, "to" :"Poland"}"#;
    let waiting = |_| world.call("POST", "/v1/send/shop", &headers, body.as_bytes())["id"].as_str().unwrap().to_owned();
    let ids: Vec<String> = (0..51).map(waiting).collect();
    let there = world.hand_in(&json!({"destination": "shop", "body": {"to": "Poland"}}));
    world.until(&there, "delivered");
    browser.open(&world.page("?lang=en", "#/messages?filter=to:shop"));
    browser.click("thead input");
    // Those that are picked: a page of ids is not too long, and what does not admit it is left out.
    browser.click(".actions [data-act=edit]");
    browser.sees("dialog .quiet", "1 left out");
    let [path, from, to] = [1, 2, 3].map(|at| format!("dialog label.field:nth-of-type({at}) input"));
    let submit = "dialog button[type=submit]";
    browser.write(&path, "/to");
    browser.write(&to, "1");
    browser.click(submit);
    browser.sees("dialog", "Edit: 49 messages.");
    assert_eq!(browser.count("dialog"), 1, "the first is closed");
    browser.click("dialog .end button[type=button]");
    let back = "!document.querySelector('dialog') && document.activeElement.dataset.act === 'edit'";
    browser.until("the focus where it was", back, json!([]));
    // All that match: what is refused is refused inside, and nothing that was typed is lost.
    browser.click(".actions > .link");
    browser.click(".actions [data-act=edit]");
    let typed = |values: [&str; 3]| {
        let fields = "return [...document.querySelectorAll('dialog input')].map(input => input.value)";
        assert_eq!(browser.js(fields, json!([])), json!(values));
    };
    for (values, says) in [
        (["/to", "", "PL"], "New valueJSON: a text"),
        (["/to", "", r#"1,"from":2"#], "New valueJSON: a text"),
        (["/to", "Poland", "1"], "(optional)JSON: a text"),
        (["to", r#""Poland""#, "1"], "a JSON Pointer"),
    ] {
        [&path, &from, &to].into_iter().zip(values).for_each(|(field, value)| browser.write(field, value));
        browser.click(submit);
        browser.sees("dialog .refusal", says);
        typed(values);
    }
    browser.write(&path, "/to");
    browser.write(&to, " 12345678901234567890.10 ");
    browser.click(submit);
    browser.sees("dialog", "Edit: 52 messages.");
    browser.sees("dialog p", "/to → 12345678901234567890.10");
    browser.sees("dialog .sample", "now \"Poland\"");
    browser.write("dialog label.field:nth-of-type(1) input", "numbers, please");
    browser.write("dialog label.field:nth-of-type(2) input", "52");
    browser.click(submit);
    browser.sees(".job", "done · 51 / 52 · 1 refused.");
    for id in &ids {
        let kept = world.call("GET", &format!("/v1/messages/{id}/revisions"), &[], b"");
        let last = &kept["revisions"][1];
        assert_eq!(
            (&last["body"], &last["why"]),
            (&body.replace("\"Poland\"", "12345678901234567890.10").into(), &"numbers, please".into())
        );
    }
    assert_eq!(message(&world, &there)["revision"], 1);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_destination_is_paused_with_a_reason_resumed_and_its_cycle_run() {
    let Some(browser) = browser("a_destination_is_paused_with_a_reason_resumed_and_its_cycle_run") else { return };
    let world = World::start(&[]);
    let id = world.hand_in(&json!({"destination": "cycled", "body": "x"}));
    browser.open(&world.page("?lang=en", "#/destinations?name=shop"));
    browser.click("[data-act=pause]");
    browser.write("dialog input", "stock-taking");
    browser.click("dialog button[type=submit]");
    browser.sees("tbody", "stock-taking");
    browser.turn("#/now");
    browser.sees(".needs", "shop is paused");
    browser.turn("#/destinations?name=shop");
    browser.click("[data-act=resume]");
    browser.sees("tbody", "flows");
    browser.turn("#/now");
    browser.sees("p.first", "All is well");
    browser.turn("#/cycles");
    browser.sees("tbody", "cycled");
    browser.click("tbody button");
    world.until(&id, "delivered");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_viewer_logs_in_and_sees_nothing_that_acts() {
    let Some(browser) = browser("a_viewer_logs_in_and_sees_nothing_that_acts") else { return };
    let world = World::start(&[("viewer", Role::Viewer), ("operator", Role::Operator)]);
    let bearer =
        [("authorization", "Bearer operator-secret"), ("content-type", "text/plain"), ("goniec-not-before", "1h")];
    let id = world.call("POST", "/v1/send/shop", &bearer, b"x")["id"].as_str().unwrap().to_owned();
    browser.open(&world.page("?lang=en", "#/messages"));
    browser.write("#token", "a guess");
    browser.click("button[type=submit]");
    browser.sees("#login-wrong", "no token of this node");
    enter(&browser, "viewer");
    browser.sees("header", "viewer");
    browser.sees("tbody", &id[28..]);
    assert_eq!(browser.count("main input[type=checkbox]"), 0);
    for page in [format!("#/message/{id}"), "#/destinations".into(), "#/cycles".into()] {
        browser.turn(&page);
        assert_eq!(browser.count("main [data-act], main td button"), 0, "{page}");
    }
    browser.click(".bar > .row > button:last-child");
    browser.until("the login", "document.getElementById('token')", json!([]));
    // The control: who may act sees what acts.
    enter(&browser, "operator");
    browser.turn(&format!("#/message/{id}"));
    assert!(browser.count("main [data-act]") > 3);
    browser.click("[data-act=hold]");
    browser.sees(".verdict", "held");
    assert_eq!(browser.js("return document.cookie", json!([])), "", "no script reads the session");
}

#[test]
fn a_link_with_a_code_opens_the_console_once_and_leaves_the_address() {
    let Some(browser) = browser("a_link_with_a_code_opens_the_console_once_and_leaves_the_address") else { return };
    let world = World::start(&[("operator", Role::Operator)]);
    let link = |code: &str| world.page("?lang=en", &format!("#/login?code={code}"));
    let follow = |code: &str| drop(browser.js("location.hash = arguments[0]", json!([format!("#/login?code={code}")])));
    let first = world.code("guide", Role::Viewer);
    browser.open(&link(&first));
    browser.sees("header", "guide");
    assert_eq!(browser.js("return location.hash", json!([])), "");
    browser.click(".bar > .row > button:last-child");
    browser.until("the login", "document.getElementById('token')", json!([]));
    // In the page that is open, too: a link that was used says so, a fresh one opens, and who leaves is asked again.
    follow(&first);
    browser.sees("#notices", "was used");
    follow(&world.code("other", Role::Operator));
    browser.sees("header", "other");
    browser.click(".bar > .row > button:last-child");
    browser.until("the login", "document.getElementById('token')", json!([]));
}

fn enter(browser: &Browser, name: &str) {
    browser.write("#token", &format!("{name}-secret"));
    browser.click("button[type=submit]");
    browser.until("the console", "document.querySelector('main[data-at]:not([aria-busy])')", json!([]));
}
