//! Systems that hand in, each signing with code that is not ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The new secret and the old one, in a form that Standard Webhooks takes too.
pub const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

/// A system and the code that signs for it.
pub struct Sender {
    pub name: &'static str,
    pub status: u16,
    pub is_timed: bool,
    /// How many messages the two secrets come to, each sent twice.
    pub taken: usize,
    headers: &'static [(&'static str, &'static str)],
    package: Option<(&'static str, &'static str)>,
    script: &'static str,
}

/// What signs: with a secret, a delivery id, a time and a body.
pub type Sign = Box<dyn Fn(&str, &str, i64, &str) -> String>;

const PYTHON_HMAC: &str = "import base64, hashlib, hmac, sys
secret, id, at, body, signed, form = sys.argv[1:]
mac = hmac.new(secret.encode(), signed.format(at=at, body=body).encode(), hashlib.sha256).digest()
print(base64.b64encode(mac).decode() if form == 'base64' else mac.hex())";

const STANDARD: &str = "import datetime, sys
from standardwebhooks.webhooks import Webhook
secret, id, at, body = sys.argv[1:]
print(Webhook(secret).sign(id, datetime.datetime.fromtimestamp(int(at), datetime.timezone.utc), body))";

pub const STANDARD_WEBHOOKS: Sender = Sender {
    name: "standard-webhooks",
    status: 200,
    is_timed: true,
    taken: 2,
    headers: &[("webhook-id", "{id}"), ("webhook-timestamp", "{at}"), ("webhook-signature", "{signed}")],
    package: Some(("pip", "standardwebhooks")),
    script: STANDARD,
};

pub const SVIX: Sender = Sender {
    headers: &[("svix-id", "{id}"), ("svix-timestamp", "{at}"), ("svix-signature", "{signed}")],
    package: Some(("pip", "svix")),
    script: "import datetime, sys
from svix.webhooks import Webhook
secret, id, at, body = sys.argv[1:]
print(Webhook(secret).sign(id, datetime.datetime.fromtimestamp(int(at), datetime.timezone.utc), body))",
    ..STANDARD_WEBHOOKS
};

pub const STRIPE: Sender = Sender {
    name: "stripe",
    // Its id of a delivery is that of the event, the same under both secrets.
    taken: 1,
    headers: &[("stripe-signature", "{signed}")],
    package: Some(("pip", "stripe")),
    script: "import sys
import stripe
secret, id, at, body = sys.argv[1:]
print('t=%s,v1=%s' % (at, stripe.WebhookSignature._compute_signature('%s.%s' % (at, body), secret)))",
    ..STANDARD_WEBHOOKS
};

pub const GITHUB: Sender = Sender {
    name: "github",
    status: 200,
    is_timed: false,
    taken: 2,
    headers: &[("x-hub-signature-256", "{signed}"), ("x-github-delivery", "{id}"), ("x-github-event", "order.created")],
    package: Some(("npm", "@octokit/webhooks-methods")),
    script: "const [secret, id, at, body] = process.argv.slice(1);
import('@octokit/webhooks-methods').then(({ sign }) => sign(secret, body)).then(signed => console.log(signed));",
};

pub const SHOPIFY: Sender = Sender {
    name: "shopify",
    headers: &[
        ("x-shopify-hmac-sha256", "{signed}"),
        ("x-shopify-webhook-id", "{id}"),
        ("x-shopify-topic", "order.created"),
    ],
    package: None,
    script: "{body} base64",
    ..GITHUB
};

pub const WOOCOMMERCE: Sender = Sender {
    name: "woocommerce",
    headers: &[
        ("x-wc-webhook-signature", "{signed}"),
        ("x-wc-webhook-delivery-id", "{id}"),
        ("x-wc-webhook-topic", "order.created"),
    ],
    ..SHOPIFY
};

pub const INPOST: Sender = Sender {
    name: "inpost",
    is_timed: true,
    // It names no delivery: the signed time does, the same under both secrets.
    taken: 1,
    headers: &[("x-inpost-signature", "{signed}"), ("x-inpost-timestamp", "{at}")],
    script: "{at}.{body} base64",
    ..SHOPIFY
};

/// Makes an event as its own library writes it, or reads one: prints the headers and the body as JSON.
const EVENTS: &str = "import base64, json, sys
from cloudevents.conversion import to_binary, to_json, to_structured
from cloudevents.http import CloudEvent, from_http
how, given = sys.argv[1], json.loads(sys.argv[2])
if how == 'read':
    event = from_http(given['headers'], base64.b64decode(given['body']), data_unmarshaller=lambda data: data)
    data = event.data.decode() if isinstance(event.data, bytes) else event.data
    print(json.dumps({'attributes': dict(event.get_attributes()), 'data': data}))
else:
    events = [CloudEvent(one['attributes'], one['data']) for one in given]
    if how == 'batch':
        headers = {'content-type': 'application/cloudevents-batch+json'}
        body = ('[' + ','.join(to_json(one).decode() for one in events) + ']').encode()
    else:
        headers, body = (to_binary if how == 'binary' else to_structured)(events[0])
    print(json.dumps({'headers': headers, 'body': body.decode()}))";

/// The library of CloudEvents, where it is there: `how` is `binary`, `structured`, `batch` or `read`.
pub fn cloudevents() -> Option<impl Fn(&str, &serde_json::Value) -> serde_json::Value> {
    const PACKAGE: &str = "cloudevents==1.12.0";
    let folder = folder(PACKAGE);
    let run = move |how: &str, given: &serde_json::Value| {
        let mut command = Command::new("python3");
        let text = output(command.args(["-c", EVENTS, how, &given.to_string()]).env("PYTHONPATH", &folder))?;
        serde_json::from_str::<serde_json::Value>(&text).ok()
    };
    let probe = serde_json::json!([{"attributes": {"type": "t", "source": "s"}, "data": 1}]);
    if run("binary", &probe).is_none() {
        install("pip", PACKAGE);
        if run("binary", &probe).is_none() {
            println!("SKIPPED: events_of_their_own_library_come_and_go: cloudevents cannot be installed with pip");
            return None;
        }
    }
    Some(move |how: &str, given: &serde_json::Value| run(how, given).expect("the library runs"))
}

impl Sender {
    /// The configuration of a node that believes this sender.
    pub fn config(&self) -> String {
        let time = if self.name == "inpost" { ", timestamp = \"x-inpost-timestamp\"" } else { "" };
        format!(
            "[source.{0}]\nverify = {{ preset = \"{0}\", secret = [{{ file = \"NEW\" }}, {{ file = \"OLD\" }}]{time} }}\n\
             [[route]]\nfrom = \"{0}\"\nto = [\"log\"]\n",
            self.name
        )
    }

    /// What signs, where its code is there.
    pub fn ready(&self) -> Option<Sign> {
        let Some((from, package)) = self.package else {
            let (signed, form) = self.script.split_once(' ').expect("two words");
            return Some(Box::new(move |secret, id, at, body| {
                output(Command::new("python3").args([
                    "-c",
                    PYTHON_HMAC,
                    secret,
                    id,
                    &at.to_string(),
                    body,
                    signed,
                    form,
                ]))
                .expect("python3 signs")
            }));
        };
        let folder = folder(&package.replace(['@', '/'], "-"));
        let script = self.script;
        let run = move |secret: &str, id: &str, at: i64, body: &str| {
            let mut command = Command::new(if from == "npm" { "node" } else { "python3" });
            let flag = if from == "npm" { "-e" } else { "-c" };
            command.args([flag, script, secret, id, &at.to_string(), body]).current_dir(&folder);
            output(command.env("PYTHONPATH", &folder))
        };
        if run(SECRETS[0], "x", 1, "{}").is_none() {
            install(from, package);
            if run(SECRETS[0], "x", 1, "{}").is_none() {
                println!("SKIPPED: {}_signs: {package} cannot be installed with {from}", self.name);
                return None;
            }
        }
        Some(Box::new(move |secret, id, at, body| run(secret, id, at, body).expect("it signs")))
    }

    /// The headers of a delivery.
    pub fn headers<'a>(&self, id: &'a str, at: i64, signed: &'a str) -> Vec<(&'static str, String)> {
        let fill = |form: &str| form.replace("{id}", id).replace("{at}", &at.to_string()).replace("{signed}", signed);
        self.headers.iter().map(|(name, form)| (*name, fill(form))).collect()
    }

    /// Where in its header the part begins that proves something.
    pub fn proving(&self, signed: &str) -> usize {
        ["v1=", "v1,", "sha256="].iter().find_map(|mark| signed.find(mark).map(|at| at + mark.len())).unwrap_or(0)
    }
}

/// The text with one byte changed, for every byte from there on.
pub fn flipped(text: &str, from: usize) -> impl Iterator<Item = (usize, String)> + '_ {
    (from..text.len()).map(|at| {
        let mut changed = text.to_owned();
        changed.replace_range(at..=at, if text[at..].starts_with('0') { "1" } else { "0" });
        (at, changed)
    })
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sources-{name}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn install(from: &str, package: &str) {
    let folder = folder(&package.replace(['@', '/'], "-"));
    let mut command = if from == "npm" {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--prefix"]);
        npm
    } else {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--target"]);
        pip
    };
    drop(output(command.arg(&folder).arg(package)));
}

/// What it writes, where it ends well.
fn output(command: &mut Command) -> Option<String> {
    let ended = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}
