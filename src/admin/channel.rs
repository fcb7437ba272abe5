//! Ways to tell a person: a webhook and a command. (The first one, a line in the log, is the engine's own; mail has a file of its own.)
//!
//! # What holds
//!
//! * Telling ends: a webhook is given ten seconds, a command thirty, and then it is killed.
//! * An alert never carries a body of a message, only its id, its key, and what was said of its last attempt.
//!
//! # What it does not know
//!
//! Who is to be told of what, and when again.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use super::mail::fresh_name;
use super::when::rfc3339;
use crate::engine::{Alert, Channel};
use crate::transport::http::{Client, Http};
use crate::transport::secret::Signing;

/// How long a webhook may take.
const WEBHOOK_LIMIT: Duration = Duration::from_secs(10);
/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How often a command is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// The alert as JSON. `text` is a line for people, which is also what chat programs show of a webhook: what would call everybody or
/// become a link there is taken out of it. The other fields are as they are.
#[must_use]
pub fn to_json(alert: &Alert) -> String {
    json!({
        "text": chat_text(alert),
        "destination": &*alert.destination,
        "reason": alert.reason,
        "messages": alert.messages,
        "sample": alert.sample.map(|id| id.to_string()),
        "sample_key": alert.sample_key.as_deref(),
        "detail": alert.detail.as_deref(),
        "since": rfc3339(alert.since),
    })
    .to_string()
}

/// The line, as chat programs of Slack's manner take it: `<`, `>` and `&` are theirs.
fn chat_text(alert: &Alert) -> String {
    alert.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Posts the alert to a URL.
pub struct Webhook {
    url: String,
    peer: String,
    client: Client,
    signing: Option<Signing>,
}

impl Webhook {
    /// A webhook at this URL.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Webhook, String> {
        Http::post(url).check()?;
        let peer = url.split('/').nth(2).unwrap_or_default().to_owned();
        Ok(Webhook { url: url.to_owned(), peer, client: Client::new(), signing: None })
    }

    /// Signs every alert as Standard Webhooks has it.
    #[must_use]
    pub fn sign(self, signing: Signing) -> Webhook {
        Webhook { signing: Some(signing), ..self }
    }
}

impl Channel for Webhook {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        let headers = [("content-type", "application/json")];
        let body = to_json(alert);
        let posted = match &self.signing {
            Some(signing) => {
                self.client.post_signed(&self.url, &headers, body.as_bytes(), (&fresh_name(), signing), WEBHOOK_LIMIT)
            }
            None => self.client.post(&self.url, &headers, body.as_bytes(), WEBHOOK_LIMIT),
        };
        match posted {
            Ok(status) if (200..300).contains(&status) => Ok(()),
            Ok(status) => Err(format!("{} answered {status}", self.peer)),
            Err(failure) => Err(failure.detail),
        }
    }

    fn name(&self) -> String {
        // The path of a webhook is often its secret.
        format!("webhook {}", self.peer)
    }
}

/// Runs a program, without a shell, with the alert as JSON on its standard input.
pub struct Command {
    words: Vec<String>,
}

impl Command {
    /// The program and its arguments.
    #[must_use]
    pub fn new(words: Vec<String>) -> Command {
        Command { words }
    }

    fn run(&self, alert: &Alert) -> Result<(), String> {
        let (program, arguments) = self.words.split_first().ok_or("no program is named")?;
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot be run: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            // A pipe holds far more than an alert; a program that reads nothing is told by its exit code alone.
            let _ = input.write_all(to_json(alert).as_bytes());
        }
        // What it has to say goes where goniec's own words go: to standard error.
        let ended = wait(&mut child)?;
        if ended.success() { Ok(()) } else { Err(ended.to_string()) }
    }
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let mut left = COMMAND_LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) if left.is_zero() => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("killed after {} s", COMMAND_LIMIT.as_secs()));
            }
            Ok(None) => {
                // The pace of a loop that has an end.
                std::thread::sleep(LOOK);
                left = left.saturating_sub(LOOK);
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    }
}

impl Channel for Command {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.run(alert)
    }

    fn name(&self) -> String {
        format!("command {}", self.words.first().map_or("", String::as_str))
    }
}
