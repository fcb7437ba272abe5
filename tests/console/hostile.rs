//! Strings that mean harm, in every field that a sender, a destination or a person fills: no script runs, no dialog opens, nothing outside is
//! asked for, and nothing of it becomes markup.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::browser::{Browser, browser};
use super::strings::strings;
use super::world::World;

/// The fields of a message that a string can fill; one that a field does not take stands in the body alone.
fn hand_in(world: &World, text: &str, destination: &str) -> String {
    let plain = !text.chars().any(char::is_control);
    let mut envelope = json!({"destination": destination, "body": text});
    if plain && text.is_ascii() {
        envelope["headers"] = json!({ "x-note": text });
    }
    if plain {
        envelope["key"] = text.into();
        envelope["type"] = text.into();
        envelope["idempotency_key"] = format!("{destination}{text}").into();
    }
    world.hand_in(&envelope)
}

const WATCH: &str = "window.harm = []; window.pwned = () => harm.push('script');
    document.addEventListener('securitypolicyviolation', event => harm.push(event.violatedDirective + ' ' + event.blockedURI));
    for (const name of ['alert', 'confirm', 'prompt', 'open']) window[name] = () => harm.push(name);";

fn check(browser: &Browser, page: &str, text: &str) {
    browser.turn(page);
    harmless(browser, page, text);
}

fn harmless(browser: &Browser, page: &str, text: &str) {
    assert!(!browser.has_alert(), "{text:?} opened a dialog on {page}");
    let harm = browser.js("return harm", json!([]));
    assert_eq!(harm, json!([]), "{text:?} on {page}");
    let markup = "return [...document.querySelectorAll('script, img, iframe, object, embed, style, link, base, meta, video, audio, marquee')]
        .filter(e => !e.closest('head')).map(e => e.outerHTML)";
    assert_eq!(browser.js(markup, json!([])), json!([]), "{text:?} became markup on {page}");
}

/// The preview of an edit shows what a field has now, and what it would have.
fn preview(browser: &Browser, world: &World, strings: &[String]) {
    for (n, some) in strings.chunks(10).enumerate() {
        for text in some {
            let body = json!({ "a": text });
            world.hand_in(
                &json!({"destination": "shop", "type": format!("edit-{n}"), "body": body, "not_before": "1h"}),
            );
        }
        let page = format!("#/messages?filter=type:edit-{n}");
        browser.turn(&page);
        browser.click("thead input");
        browser.click(".actions [data-act=edit]");
        browser.write("dialog label.field:nth-of-type(1) input", "/a");
        let to = json!(format!("new {}", some[0])).to_string();
        browser.js("document.querySelectorAll('dialog input')[2].value = arguments[0]", json!([to]));
        browser.click("dialog button[type=submit]");
        let now = "[...document.querySelectorAll('.sample small')].filter(e => e.textContent.includes('now ')).length";
        browser.until("the preview", &format!("{now} === arguments[0]"), json!([some.len()]));
        some.iter().for_each(|text| harmless(browser, &page, text));
        browser.click("dialog .end button[type=button]");
        browser.until("an end of the dialog", "!document.querySelector('dialog')", json!([]));
    }
}

#[test]
fn sixty_strings_that_mean_harm_stay_text() {
    let Some(browser) = browser("sixty_strings_that_mean_harm_stay_text") else { return };
    let world = World::start(&[]);
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, calls) = (outside.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for _ in outside.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let strings = strings(port);
    assert!(strings.len() >= 60, "{}", strings.len());
    browser.open(&world.page("?lang=en", "#/now"));
    browser.js(WATCH, json!([]));
    let ids: Vec<String> = strings.iter().map(|text| hand_in(&world, text, "mirror")).collect();
    for (text, id) in strings.iter().zip(&ids) {
        world.until(id, "abandoned");
        check(&browser, &format!("#/message/{id}"), text);
        let shown = browser.js("return document.querySelector('pre.text').textContent", json!([]));
        assert_eq!(tame(shown.as_str().unwrap()), tame(text), "it is shown as it is");
    }
    for (text, id) in strings.iter().zip(&ids).filter(|(text, _)| !text.contains(['\r', '\n', '\0'])) {
        let word: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        world.call("POST", &format!("/v1/destinations/mirror/pause?why={word}"), &[], b"");
        let headers = [("if-match", "*"), ("content-type", "text/html")];
        world.call("PUT", &format!("/v1/messages/{id}/body?why={word}"), &headers, text.as_bytes());
        check(&browser, &format!("#/messages?filter={word}&n={}", &id[28..]), text);
        check(&browser, &format!("#/destinations?name={word}"), text);
        check(&browser, &format!("#/keys?explain={word}"), text);
    }
    // What names no page is the first page.
    for text in strings.iter().filter(|text| !text.contains('\0')).step_by(8) {
        let word: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        check(&browser, &format!("#/{word}"), text);
    }
    check(&browser, "#/__proto__", "a name that every object has");
    for page in [
        "#/now",
        "#/messages",
        "#/messages?filter=to:mirror%20state:queued",
        "#/destinations",
        "#/keys",
        "#/cycles",
        "#/audit",
        "#/system",
    ] {
        check(&browser, page, "all of them");
    }
    preview(&browser, &world, &strings);
    assert_eq!(calls.load(Ordering::SeqCst), 0, "nothing outside was asked for");
    // The control: what is watched for is seen.
    browser.js(
        "pwned(); document.body.append(Object.assign(document.createElement('img'), {src: arguments[0]}))",
        json!([format!("http://127.0.0.1:{port}/leak")]),
    );
    browser.until("the policy's word", "harm.some(what => what.startsWith('img-src'))", json!([]));
    assert_eq!(browser.js("return harm[0]", json!([])), Value::from("script"));
}

/// Without what a page shows in place of signs that would act on a screen or a reader.
fn tame(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{fffd}')).collect()
}
