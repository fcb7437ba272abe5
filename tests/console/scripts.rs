//! What the console's modules work out, asked for in the browser that runs them.

use std::process::Command;

use serde_json::{Value, json};

use super::browser::browser;
use super::world::World;

/// What the expression comes to, with the module as `m`.
fn in_module(browser: &super::browser::Browser, module: &str, expression: &str) -> Value {
    let script = format!(
        "const done = arguments[arguments.length - 1];
        import('/console/{module}').then(m => done({expression}), error => done(String(error)))"
    );
    browser.js_later(&script)
}

#[test]
fn json_is_set_out_without_touching_a_digit_and_changes_are_told_by_line() {
    let Some(browser) = browser("json_is_set_out_without_touching_a_digit_and_changes_are_told_by_line") else {
        return;
    };
    let world = World::start(&[]);
    browser.open(&world.page("?lang=en", "#/now"));
    let ask = |expression: &str| in_module(&browser, "body.js", expression);
    let text = r#"{"n":12345678901234567890.10,"e":{},"l":[ 1 ,[]],"s":"a:{,}\\\"]"}"#;
    let out = "{\n  \"n\": 12345678901234567890.10,\n  \"e\": {},\n  \"l\": [\n    1,\n    []\n  ],\n  \"s\": \"a:{,}\\\\\\\"]\"\n}";
    assert_eq!(ask(&format!("m.pretty({})", json!(text))), out);
    assert_eq!(ask("m.pretty('{\"a\": }')"), Value::Null);
    let kinds = ask("m.diff('a\\nb\\nc\\nd', 'a\\nx\\nc\\nd\\ne').map(line => line.kind + ' ' + line.text)");
    assert_eq!(kinds, json!(["same a", "gone b", "new x", "same c", "same d", "new e"]));
    let long = ask(
        "m.near(m.diff(Array(50).fill('x').join('\\n') + '\\nold', Array(50).fill('x').join('\\n') + '\\nnew')).map(l => l.kind)",
    );
    assert_eq!(long, json!(["gap", "same", "same", "same", "gone", "new"]));
}

#[test]
fn the_copied_curl_line_hands_the_same_message_in_and_holds_no_secret() {
    let Some(browser) = browser("the_copied_curl_line_hands_the_same_message_in_and_holds_no_secret") else { return };
    let world = World::start(&[]);
    browser.open(&world.page("?lang=en", "#/now"));
    let body = "it's $HOME \"quoted\" `id` \\ żółw\nsecond line";
    let message =
        json!({"destination": "shop", "key": "k'1 ż", "type": "t%", "content_type": "text/plain", "version": 7});
    let line = in_module(&browser, "body.js", &format!("m.curl({message}, {}, true)", json!(body)));
    let line = line.as_str().unwrap();
    assert!(line.contains("\"authorization: Bearer $GONIEC_TOKEN\""), "{line}");
    let ran = Command::new("sh").args(["-c", line]).env("GONIEC_TOKEN", "t").output().unwrap();
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{line}\n{ran:?}"));
    let shown = world.until(said["id"].as_str().unwrap(), "delivered");
    for field in ["key", "type", "content_type", "version"] {
        assert_eq!(shown[field], message[field], "{field}");
    }
    let kept = world.call("GET", &format!("/v1/messages/{}/revisions", shown["id"].as_str().unwrap()), &[], b"");
    assert_eq!(kept["revisions"][0]["body"], body);
}

#[test]
fn numbers_and_plurals_are_those_of_the_language() {
    let Some(browser) = browser("numbers_and_plurals_are_those_of_the_language") else { return };
    let world = World::start(&[]);
    let needs = |language: &str| {
        browser.open(&world.page(&format!("?lang={language}"), "#/now"));
        in_module(&browser, "words.js", "[1, 2, 5, 12, 22, 25, 1234].map(n => m.t('now.needs', {n, count: n}))")
    };
    let english = needs("en");
    assert_eq!((&english[0], &english[1]), (&"1 thing needs you".into(), &"2 things need you".into()));
    assert_eq!(english[6], "1,234 things need you");
    let polish = needs("pl");
    let expect = [
        "1 sprawa czeka na Ciebie",
        "2 sprawy czekają na Ciebie",
        "5 spraw czeka na Ciebie",
        "12 spraw czeka na Ciebie",
        "22 sprawy czekają na Ciebie",
        "25 spraw czeka na Ciebie",
    ];
    assert_eq!(polish.as_array().unwrap()[..6], expect.map(Value::from));
    let spans = in_module(&browser, "words.js", "[0, 999, 1500, 65000, 7500000, 90000000].map(m.span)");
    assert_eq!(spans, json!(["0 ms", "999 ms", "1,5 s", "1 min 5 s", "2 h 5 min", "1 d 1 h"]));
}
