//! Accessibility by axe-core, fetched from npm below the target folder: every page, three widths, both languages, both themes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::browser::{Browser, browser};
use super::stub::Stub;
use super::world::World;

/// Every rule that a standard up to WCAG 2.2 AA has, and what is good practice.
const ALL: &str = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']";
/// What another theme can break.
const COLOURS: &str = "{type: 'rule', values: ['color-contrast', 'link-in-text-block']}";
const RUN: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, {runOnly: RULES, resultTypes: ['violations']}).then(
        found => done(found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160) + ' ' + n.failureSummary).join(' | '))),
        error => done([String(error)]))";

/// The script of axe-core, or `None` where it cannot be had.
fn axe_core() -> Option<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe-core");
    let script: PathBuf = folder.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let mut install = Command::new("npm");
        install.args(["install", "--silent", "--prefix"]).arg(&folder).arg("axe-core@4");
        let _ = install.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    std::fs::read_to_string(script).ok()
}

fn violations(browser: &Browser, rules: &str) -> Vec<String> {
    let found = browser.js_later(&RUN.replace("RULES", rules));
    found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Every page with something on it, and the forms that open over them.
fn pages(world: &World) -> Vec<String> {
    let refused =
        world.hand_in(&json!({"destination": "erp", "key": "order:1", "type": "order.new", "body": {"order": 1}}));
    let delivered = world.hand_in(&json!({"destination": "shop", "key": "sku-1", "body": "plain"}));
    let cycled = world.hand_in(&json!({"destination": "cycled", "key": "stock:1", "body": [1, 2]}));
    let down = world.hand_in(&json!({"destination": "courier", "body": {"parcel": 1}}));
    world.until(&refused, "abandoned");
    world.until(&delivered, "delivered");
    world.until(&down, "failed");
    world.call("POST", "/v1/destinations/courier/pause?why=moving", &[], b"");
    world.call("POST", &format!("/v1/messages/{cycled}/hold"), &[], b"");
    let fixed = [
        "now",
        "messages",
        "messages?filter=state:failed%20frm:erp",
        "messages?filter=key:none",
        "keys",
        "keys?explain=order:4715",
        "destinations",
        "incidents",
        "incidents?id=5f2a90c1d4e7b836",
        "cycles",
        "audit",
        "system",
    ];
    let messages = [refused, delivered, cycled, down].map(|id| format!("message/{id}"));
    fixed.iter().map(ToString::to_string).chain(messages).map(|page| format!("#/{page}")).collect()
}

#[test]
fn no_page_keeps_anyone_out() {
    const NAME: &str = "no_page_keeps_anyone_out";
    let Some(axe) = axe_core() else {
        println!("SKIPPED: {NAME}: axe-core cannot be installed with npm");
        return;
    };
    let Some(browser) = browser(NAME) else { return };
    let world = World::start(&[]);
    let stub = Stub::before(world.port());
    let pages = pages(&world);
    let mut found = Vec::new();
    for width in [320, 768, 1_280] {
        browser.width(width);
        for (language, theme) in [("en", "light"), ("en", "dark"), ("pl", "light"), ("pl", "dark")] {
            let rules = if theme == "light" { ALL } else { COLOURS };
            browser.open(&stub.page(&format!("?lang={language}&theme={theme}"), "#/now"));
            browser.js(&axe, json!([]));
            for page in &pages {
                browser.turn(page);
                let mut wrong = violations(&browser, rules);
                let wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
                if browser.js(wide, json!([])) == true {
                    wrong.push("the page is wider than the window".into());
                }
                found.extend(wrong.into_iter().map(|what| format!("{page} at {width}, {language}, {theme}: {what}")));
            }
            found.extend(
                forms(&browser, &pages, rules).into_iter().map(|what| format!("{width}, {language}, {theme}: {what}")),
            );
        }
    }
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // The control: a fault that is planted is found.
    browser.js(
        "document.querySelector('main').append(document.createElement('img'), document.createElement('button'))",
        Value::Array(vec![]),
    );
    assert!(violations(&browser, ALL).len() >= 2);
}

/// The editor, and the dialogs.
fn forms(browser: &Browser, pages: &[String], rules: &str) -> Vec<String> {
    let message = pages.iter().find(|page| page.starts_with("#/message/")).unwrap();
    browser.turn(message);
    browser.click("[data-act=edit]");
    browser.write(".editor textarea", "{\"order\": }");
    let mut found = violations(browser, rules);
    browser.click("[data-act=delete]");
    found.extend(violations(browser, rules));
    browser.js("document.querySelector('dialog').close()", json!([]));
    browser.turn("#/messages");
    browser.click("thead input");
    found.extend(violations(browser, rules));
    browser.click(".actions [data-act=edit]");
    browser.write("dialog label.field:nth-of-type(1) input", "/order");
    browser.write("dialog label.field:nth-of-type(3) input", "no JSON");
    browser.click("dialog button[type=submit]");
    browser.sees("dialog .refusal", "JSON");
    found.extend(violations(browser, rules));
    browser.js("document.querySelector('dialog').close()", json!([]));
    browser.js("document.activeElement.blur()", json!([]));
    browser.press("?");
    found.extend(violations(browser, rules));
    browser.js("document.querySelector('dialog').close()", json!([]));
    found
}
