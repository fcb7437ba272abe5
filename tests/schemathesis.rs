//! The interface held against its own description by `schemathesis` of PyPI, which makes requests out of `/openapi.json`, good ones and bad ones: none is answered
//! with a failure of ours, with a status that is not described, or with another shape. Where it cannot be installed the test says so.

#![cfg(feature = "server")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use goniec::Message;
use goniec::config::{Role, Token};
use goniec::engine::{Destination, Engine, Settings};
use goniec::server::{ServerConfig, start};
use goniec::store::memory::MemoryStore;
use goniec::transport::secret::Secret;

/// How long it asks, in seconds.
const SECONDS: &str = "40";

fn python(folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", folder).stdin(Stdio::null());
    command
}

fn is_there(folder: &Path) -> bool {
    let mut asked = python(folder);
    asked.args(["-m", "schemathesis.cli", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

#[test]
fn no_request_is_answered_otherwise_than_described() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    std::fs::create_dir_all(&folder).expect("a folder");
    if !is_there(&folder) {
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "install", "-q", "--target"]).arg(&folder).arg("schemathesis");
        drop(install.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
    if !is_there(&folder) {
        println!("SKIPPED: no_request_is_answered_otherwise_than_described: schemathesis cannot be installed with pip");
        return;
    }
    let destinations = vec![Destination::new("erp", |_: &Message| ())];
    let engine = Engine::start(Arc::new(MemoryStore::new()), destinations, Settings::default(), Vec::new());
    let engine = engine.expect("an engine");
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
    config.destinations = vec!["erp".into()];
    // With a token from the start: the first one that is made would shut the node before whoever asks.
    let secret = Secret::new("the administrator asks".into());
    config.tokens = vec![Token { name: "root".into(), role: Role::Admin, secret }];
    let running = start(engine, config).expect("a server");
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let output = python(&folder)
        .args(["-m", "schemathesis.cli", "run", "--checks", checks, "--phases", "examples,coverage,fuzzing"])
        // The events never end.
        .args(["--exclude-path", "/v1/events", "--max-time", SECONDS, "--request-timeout", "20", "--no-color"])
        .args(["--warnings", "off", "--suppress-health-check", "all", "--seed", "1"])
        .args(["--header", "Authorization: Bearer the administrator asks"])
        .arg(format!("http://{}/openapi.json", running.addr()))
        .current_dir(&folder)
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "schemathesis found something");
    assert!(said.contains("Test cases"), "the control: it asked");
}
