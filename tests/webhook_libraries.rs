//! Our signatures, verified by the public libraries of Standard Webhooks: `standardwebhooks` of PyPI and of npm, installed below the target
//! folder by the ordinary clients. Where one cannot be installed its test says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use goniec::transport::secret::{Secret, Signing};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

const PYTHON: &str = "import sys
from standardwebhooks.webhooks import Webhook
key, id, at, signature, body = sys.argv[1:]
Webhook(key).verify(body.encode(), {'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature})";

const NODE: &str = "const { Webhook } = require('standardwebhooks');
const [key, id, at, signature, body] = process.argv.slice(1);
new Webhook(key).verify(body, {'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature});";

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Asks the library about good signatures and tampered ones.
fn check(verify: impl Fn(&[&str]) -> bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (id, body, at) = ("0197-1", r#"{"zażółć":[1,2.5,null]}"#, now.to_string());
    let secret = |text: &str| Secret::new(text.to_owned());
    let both =
        Signing::standard_webhooks(&[secret(KEY), secret(OLD)]).expect("keys").signature(id, now, body.as_bytes());
    assert!(verify(&[KEY, id, &at, &both, body]), "signed with the new key");
    assert!(verify(&[OLD, id, &at, &both, body]), "signed with the old key");
    let one = Signing::standard_webhooks(&[secret(KEY)]).expect("a key").signature(id, now, body.as_bytes());
    assert!(verify(&[KEY, id, &at, &one, body]));
    let before = (now - 1).to_string();
    for tampered in [
        [OLD, id, &at, &one, body],
        [KEY, "0197-2", &at, &one, body],
        [KEY, id, &before, &one, body],
        [KEY, id, &at, &one, r#"{"zażółć":[1,2.5,nul1]}"#],
        [KEY, id, &at, &one.replace("v1,", "v2,"), body],
    ] {
        assert!(!verify(&tampered), "{tampered:?}");
    }
}

#[test]
fn the_library_of_pypi_verifies_what_we_sign() {
    let folder = folder("webhooks-python");
    let verify = |arguments: &[&str]| {
        runs(Command::new("python3").args(["-c", PYTHON]).args(arguments).env("PYTHONPATH", &folder))
    };
    let is_there = || runs(Command::new("python3").args(["-c", "import standardwebhooks"]).env("PYTHONPATH", &folder));
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "-q", "--target"]).arg(&folder).arg("standardwebhooks");
    let is_ready = is_there() || (runs(&mut install) && is_there());
    if !is_ready {
        println!("SKIPPED: the_library_of_pypi_verifies_what_we_sign: standardwebhooks cannot be installed with pip");
        return;
    }
    check(verify);
}

#[test]
fn the_library_of_npm_verifies_what_we_sign() {
    let folder = folder("webhooks-node");
    let node = |script: &str, arguments: &[&str]| {
        runs(Command::new("node").args(["-e", script]).args(arguments).current_dir(&folder))
    };
    let is_there = || node("require('standardwebhooks')", &[]);
    let mut install = Command::new("npm");
    install.args(["install", "--silent", "--prefix"]).arg(&folder).arg("standardwebhooks");
    let is_ready = is_there() || (runs(&mut install) && is_there());
    if !is_ready {
        println!("SKIPPED: the_library_of_npm_verifies_what_we_sign: standardwebhooks cannot be installed with npm");
        return;
    }
    check(|arguments| node(NODE, arguments));
}
