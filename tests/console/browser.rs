//! A headless chromium that does what a person does: opens, clicks, types, reads. It speaks WebDriver over plain HTTP.
//!
//! It is ended by the process ids of what was started, also when a test fails.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What keeps chromium alone, and lets it run as root.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // It passes over turns of the page that come faster than a person makes them.
    "--disable-ipc-flooding-protection",
    "--hide-scrollbars",
];
/// The key of an element in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser at a time: the machine may be small.
static ALONE: Mutex<()> = Mutex::new(());

/// A browser with one window.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    profile: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// A browser, or `None` where there is none, which is said.
pub fn browser(test: &str) -> Option<Browser> {
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].into_iter().find(|path| Path::new(path).exists());
    let has_driver = Command::new("chromedriver").arg("--version").stdout(Stdio::null()).status().is_ok();
    match (chromium, has_driver) {
        (Some(chromium), true) => Some(Browser::start(chromium)),
        (Some(_) | None, _) => {
            println!("SKIPPED: {test}: chromium or chromedriver is not installed");
            None
        }
    }
}

impl Browser {
    fn start(chromium: &str) -> Browser {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        let session = format!("http://127.0.0.1:{port}");
        let mut browser = Browser { driver, agent, session, profile, _alone: alone };
        let until = Instant::now() + PATIENCE;
        while browser.call("GET", "/status", &Value::Null).is_err() {
            assert!(Instant::now() < until, "chromedriver does not answer");
            // Polls until it answers; the loop has a deadline.
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let options = json!({"binary": chromium, "args": flags});
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "unhandledPromptBehavior": "ignore", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let begun = browser.call("POST", "/session", &wanted).expect("a session");
        browser.session = format!("{}/session/{}", browser.session, begun["sessionId"].as_str().unwrap());
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let answer = match method {
            "GET" => self.agent.get(&url).call(),
            "DELETE" => self.agent.delete(&url).call(),
            _ => self.agent.post(&url).header("content-type", "application/json").send(body.to_string()),
        };
        let text = answer
            .map_err(|error| error.to_string())?
            .body_mut()
            .read_to_string()
            .map_err(|error| error.to_string())?;
        let said: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match said["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", said["value"]["message"].as_str().unwrap_or_default())),
            None => Ok(said["value"].clone()),
        }
    }

    /// Opens an address anew.
    pub fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({"url": "about:blank"})).unwrap();
        self.call("POST", "/url", &json!({ "url": url })).unwrap();
        self.settled();
    }

    /// Turns to another page of the console that is open, as a link does.
    pub fn turn(&self, hash: &str) {
        self.js("location.hash = arguments[0]", json!([hash]));
        self.until(
            &format!("the page {hash}"),
            "document.getElementById('main').dataset.at === arguments[0]",
            json!([hash]),
        );
        self.settled();
    }

    fn settled(&self) {
        self.until(
            "a page that is drawn",
            "document.querySelector('main[data-at]:not([aria-busy]), main.entry') !== null",
            json!([]),
        );
    }

    /// Runs the script in the page, and returns what it returns.
    pub fn js(&self, script: &str, arguments: Value) -> Value {
        self.call("POST", "/execute/sync", &json!({"script": script, "args": arguments})).unwrap()
    }

    /// Runs a script that calls its last argument when it is done.
    pub fn js_later(&self, script: &str) -> Value {
        self.call("POST", "/execute/async", &json!({"script": script, "args": []})).unwrap()
    }

    /// Waits until the expression is true.
    pub fn until(&self, what: &str, expression: &str, arguments: Value) {
        let until = Instant::now() + PATIENCE;
        while self.js(&format!("return Boolean({expression})"), arguments.clone()) != true {
            assert!(Instant::now() < until, "{what} does not come; the page says:\n{}", self.text("body"));
            // Polls until it is so; the loop has a deadline.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the part of the page has these words.
    pub fn sees(&self, selector: &str, words: &str) {
        let has = "[...document.querySelectorAll(arguments[0])].some(e => e.textContent.includes(arguments[1]))";
        self.until(&format!("{words:?} in {selector}"), has, json!([selector, words]));
    }

    /// What the part of the page says, as a person sees it.
    pub fn text(&self, selector: &str) -> String {
        let said = self.js("return document.querySelector(arguments[0])?.innerText ?? ''", json!([selector]));
        said.as_str().unwrap_or_default().to_owned()
    }

    /// How many there are.
    pub fn count(&self, selector: &str) -> u64 {
        self.js("return document.querySelectorAll(arguments[0]).length", json!([selector])).as_u64().unwrap()
    }

    fn element(&self, selector: &str) -> String {
        self.until(selector, "document.querySelector(arguments[0])", json!([selector]));
        let found = self.call("POST", "/element", &json!({"using": "css selector", "value": selector})).unwrap();
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks where a person would: what is hidden or covered cannot be clicked.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.call("POST", &format!("/element/{element}/click"), &json!({}))
            .unwrap_or_else(|no| panic!("{selector}: {no}"));
    }

    /// Types into a field, after what was in it is gone.
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.call("POST", &format!("/element/{element}/clear"), &json!({})).unwrap();
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text })).unwrap();
    }

    /// Presses keys wherever the focus is.
    pub fn press(&self, keys: &str) {
        let active = self.call("GET", "/element/active", &Value::Null).unwrap();
        let element = active[ELEMENT].as_str().unwrap();
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": keys })).unwrap();
    }

    /// The width of the window in CSS pixels.
    pub fn width(&self, width: u32) {
        let params = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": params});
        self.call("POST", "/goog/cdp/execute", &command).unwrap();
    }

    /// Whether a dialog of a script is open.
    pub fn has_alert(&self) -> bool {
        self.call("GET", "/alert/text", &Value::Null).is_ok()
    }

    /// What the page complained of, but for calls that this node does not have and answers that a test asks for.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({"type": "browser"})).unwrap();
        let said = log.as_array().unwrap().iter().filter_map(|entry| entry["message"].as_str());
        said.filter(|text| !text.contains("Failed to load resource")).map(str::to_owned).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let pids = descendants(self.driver.id());
        drop(self.call("DELETE", "", &Value::Null));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // What the session's end did not take along.
        for pid in pids.into_iter().filter(|pid| is_ours(*pid)) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// A number may have gone to another process meanwhile.
fn is_ours(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("chrom"))
}

/// The processes that this one began, and those that they began.
fn descendants(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    children.iter().copied().chain(children.iter().flat_map(|child| descendants(*child))).collect()
}
