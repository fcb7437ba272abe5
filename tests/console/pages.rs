//! What the pages show, and how they are reached: deep links, a filter's error, events, the keyboard, answers of calls that others make.

use serde_json::json;

use super::browser::browser;
use super::stub::Stub;
use super::world::World;

#[test]
fn a_wrong_filter_is_marked_where_it_is_wrong() {
    let Some(browser) = browser("a_wrong_filter_is_marked_where_it_is_wrong") else { return };
    let world = World::start(&[]);
    let id = world.hand_in(&json!({"destination": "shop", "key": "zażółć 1", "body": "x"}));
    world.until(&id, "delivered");
    browser.open(&world.page("?lang=en", "#/messages"));
    browser.press("/");
    browser.press("state:delivered frm:shop\u{e007}");
    browser.sees("#filter-wrong", "column 17");
    assert_eq!(browser.text("#filter-wrong mark"), "frm:shop");
    browser.write("#filter", "state:delivered key:\"zażółć 1\"\u{e007}");
    browser.sees("tbody", &id[28..]);
    let hash = browser.js("return location.hash", json!([]));
    assert_eq!(hash, "#/messages?filter=state%3Adelivered%20key%3A%22za%C5%BC%C3%B3%C5%82%C4%87%201%22");
    // The address alone leads there again.
    browser.open(&world.page("?lang=pl", hash.as_str().unwrap()));
    browser.sees("tbody", &id[28..]);
    assert_eq!(
        browser.js("return document.getElementById('filter').value", json!([])),
        "state:delivered key:\"zażółć 1\""
    );
    assert_eq!(browser.count(".tabs [aria-current=true]"), 1);
    assert!(browser.text(".tabs [aria-current=true]").to_lowercase().starts_with("dostarczono"));
}

#[test]
fn what_happens_appears_and_takes_neither_focus_nor_selection() {
    let Some(browser) = browser("what_happens_appears_and_takes_neither_focus_nor_selection") else { return };
    let world = World::start(&[]);
    let first = world.hand_in(&json!({"destination": "shop", "key": "first", "body": "x", "not_before": "1h"}));
    browser.open(&world.page("?lang=en", "#/messages"));
    browser.sees("header", "Live");
    browser.click("tbody input");
    browser.sees(".actions", "1 selected");
    let is_there = "return document.activeElement === document.querySelector('tbody input')";
    assert_eq!(browser.js(is_there, json!([])), true, "what appears over the list takes no focus");
    browser.press("j");
    let focused = "return document.activeElement.getAttribute('href')";
    assert_eq!(browser.js(focused, json!([])), format!("#/message/{first}"));
    for number in 0..20 {
        world.hand_in(&json!({"destination": "courier", "key": format!("later-{number}"), "body": "x"}));
    }
    browser.sees("tbody", "later-19");
    assert_eq!(browser.js(focused, json!([])), format!("#/message/{first}"), "the focus is where it was");
    browser.sees(".actions", "1 selected");
    assert_eq!(browser.js("return document.querySelector('tr.chosen input').checked", json!([])), true);
    // A page of a list goes on at its cursor.
    browser.turn("#/messages?filter=to:courier");
    for number in 0..40 {
        world.hand_in(&json!({"destination": "courier", "key": format!("more-{number}"), "body": "x"}));
    }
    browser.sees(".pager", "Older");
    browser.click(".pager [rel=next]");
    browser.sees("tbody", "later-0");
    browser.click(".pager a");
    browser.sees("tbody", "more-39");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn every_page_is_reached_by_the_keyboard_and_says_its_name() {
    let Some(browser) = browser("every_page_is_reached_by_the_keyboard_and_says_its_name") else { return };
    let world = World::start(&[]);
    let id = world.hand_in(&json!({"destination": "shop", "body": "x"}));
    world.until(&id, "delivered");
    browser.open(&world.page("?lang=en&theme=dark", "#/now"));
    let names = [
        ("m", "Messages"),
        ("k", "Keys"),
        ("d", "Destinations"),
        ("i", "Incidents"),
        ("c", "Cycles"),
        ("a", "Audit"),
        ("s", "System"),
        ("n", "Now"),
    ];
    for (letter, name) in names {
        browser.press(&format!("g{letter}"));
        browser.sees("main[data-at]:not([aria-busy]) h1", name);
        assert_eq!(browser.js("return document.title", json!([])), format!("{name} · goniec"));
        assert_eq!(browser.text("nav [aria-current=page]"), name);
    }
    browser.press("gm");
    browser.sees("tbody", &id[28..]);
    browser.press("j\u{e007}");
    browser.sees("main h1", &id[28..]);
    browser.press("?");
    browser.sees("dialog", "next, previous row");
    // The theme and the language stay chosen.
    browser.js("document.querySelector('dialog').close()", json!([]));
    browser.click("header [lang=pl]");
    browser.open(&world.page("", "#/now"));
    assert_eq!(browser.text("main h1"), "Teraz");
    assert_eq!(browser.js("return document.documentElement.dataset.theme", json!([])), "dark");
}

#[test]
fn what_other_calls_answer_is_drawn() {
    let Some(browser) = browser("what_other_calls_answer_is_drawn") else { return };
    let world = World::start(&[]);
    let stub = Stub::before(world.port());
    browser.open(&stub.page("?lang=en", "#/now"));
    browser.sees("p.first", "3 things need you");
    browser.sees(".needs", "courier: 38 messages fail for one cause");
    browser.sees(".needs", "webhook 127.0.0.1:9009 cannot be told of trouble");
    assert_eq!(browser.count("figure svg.chart"), 3);
    // 45 to 64 a minute: the picture, its sentence and its table say the same.
    browser.sees("figcaption", "3,270 accepted");
    assert_eq!(browser.count("figure:first-child tbody tr"), 60);
    browser.turn("#/keys");
    browser.sees("tbody", "behind");
    browser.turn("#/keys?explain=order:4715");
    browser.sees(".life", "the destination has it, as R-4711");
    browser.turn("#/audit");
    browser.click(".head button");
    browser.sees("main [role=status]", "The chain is whole: 42 entries.");
    browser.turn("#/system");
    browser.click("tbody button");
    browser.sees("#notices", "was told");
    browser.turn("#/incidents");
    browser.click("tbody [data-act=resend]");
    browser.sees("dialog", "Resend: 1,204 messages.");
    browser.sees("dialog .sample", "order:4710");
    browser.write("dialog label:nth-of-type(1) input", "the courier is back");
    browser.write("dialog label:nth-of-type(3) input", "1203");
    browser.click("dialog button[type=submit]");
    assert_eq!(browser.count("dialog:modal"), 1, "a wrong count sends nothing");
    browser.write("dialog label:nth-of-type(3) input", "1204");
    browser.click("dialog button[type=submit]");
    browser.until("the end of the dialog", "!document.querySelector('dialog')", json!([]));
    browser.sees("#notices", "Job 17");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_node_that_goes_away_is_said_and_what_is_known_stays() {
    let Some(browser) = browser("a_node_that_goes_away_is_said_and_what_is_known_stays") else { return };
    let world = World::start(&[]);
    let id = world.hand_in(&json!({"destination": "shop", "body": "x"}));
    world.until(&id, "delivered");
    browser.open(&world.page("?lang=en", "#/messages"));
    browser.sees("tbody", &id[28..]);
    // Everything that the page loaded came from this server.
    let kept = "return performance.getEntriesByType('resource').every(entry => entry.name.startsWith(location.origin))";
    assert_eq!(browser.js(kept, json!([])), true);
    drop(world);
    browser.sees(".refusal", "The node cannot be reached");
    browser.sees("tbody", &id[28..]);
}

#[test]
fn where_nothing_can_be_followed_the_page_looks_by_itself() {
    let Some(browser) = browser("where_nothing_can_be_followed_the_page_looks_by_itself") else { return };
    let world = World::start(&[]);
    let stub = Stub::without_events(world.port());
    browser.open(&stub.page("?lang=en", "#/messages"));
    browser.sees("header", "Every 5 s");
    let id = world.hand_in(&json!({"destination": "shop", "body": "x"}));
    browser.sees("tbody", &id[28..]);
    // Paused, it looks no more until it is told to.
    browser.click(".live");
    browser.sees("header", "Paused");
}
