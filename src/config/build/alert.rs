//! `[[alert]]`: who is told of what, and by which ways.
//!
//! # What it does not know
//!
//! What is told, and how the ways work.

use std::sync::Arc;

use super::super::fields::{Field, Section};
use super::super::{LOG, Problem};
use super::credentials::SECRET;
use super::{known, missing, note};
use crate::admin::channel::{Command, Webhook};
use crate::admin::mail::Mailer;
use crate::engine::{Channel, Kind, LogLine, Rule};
use crate::model::timetable::Hours;
use crate::source::UNROUTED;
use crate::transport::secret::Signing;
use crate::transport::smtp::{Address, Smtp};

/// The digest window where none is written. The table of rules says the same.
const DIGEST_MS: u64 = 600_000;
/// How quiet hours are written.
const QUIET: &str = "quiet = [\"22:00-06:00 Europe/Warsaw\"]";
/// What belongs to one way only, with the key that names the way.
const BELONGS: [(&str, &str); 3] = [("smtp", "email"), ("from", "email"), ("sign", "webhook")];

/// What all rules of alerts may name.
pub(super) struct Alerts<'a> {
    /// The destinations.
    pub(super) names: &'a [&'a str],
    /// Where people reach this node.
    pub(super) node: Option<&'a str>,
}

impl Alerts<'_> {
    /// The rules of one `[[alert]]`, one for each way to tell.
    pub(super) fn rules(
        &self,
        section: &Section,
        warnings: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Rule> {
        let destinations = section.texts("destinations").unwrap_or_default();
        for name in destinations.iter().filter(|name| ![LOG, UNROUTED].contains(&name.as_str())) {
            known(name, self.names, "destination", section.place("destinations"), problems);
        }
        if !section.has("to") {
            let hint = "to = [ { webhook = \"http://127.0.0.1:9009/alerts\" } ]";
            note(problems, &section.place, "nobody is told: `to` is missing", hint);
        }
        let hours = quiet(section, problems);
        let kinds = |key| section.texts(key).unwrap_or_default().iter().filter_map(|word| Kind::named(word)).collect();
        let channels = section.sections("to").iter().filter_map(|to| self.channel(to, warnings, problems));
        channels
            .map(|channel| Rule {
                destinations: destinations.iter().map(|name| Arc::from(name.as_str())).collect(),
                kinds: kinds("on"),
                channel,
                digest_ms: section.number("digest").unwrap_or(DIGEST_MS),
                hours: hours.clone(),
                quiet_except: kinds("quiet_except"),
            })
            .collect()
    }

    fn channel(
        &self,
        to: &Section,
        warnings: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<dyn Channel>> {
        for (key, way) in BELONGS.iter().filter(|(key, way)| to.has(key) && !to.has(way)) {
            note(problems, to.place(key), &format!("does nothing without `{way}`"), "");
        }
        let ways: Vec<&str> = ["email", "webhook", "command", "log"].into_iter().filter(|way| to.has(way)).collect();
        match ways.as_slice() {
            ["email"] => self.mailer(to, warnings, problems).map(|mailer| Arc::new(mailer) as Arc<dyn Channel>),
            ["webhook"] => webhook(to, problems).map(|webhook| Arc::new(webhook) as Arc<dyn Channel>),
            ["command"] => Some(Arc::new(Command::new(to.texts("command")?.to_vec()))),
            ["log"] => to.field("log").map(|_| Arc::new(LogLine) as Arc<dyn Channel>),
            [] if !to.refused.is_empty() => None,
            _ => {
                note(problems, &to.place, "one of email, webhook, command and log is expected", "one `to` for each");
                None
            }
        }
    }

    fn mailer(&self, to: &Section, warnings: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Mailer> {
        const URL: (&str, &str) = ("url", "url = { env = \"SMTP_URL\" }");
        missing(to, &[("smtp", "smtp = { url = { env = \"SMTP_URL\" } }")], problems);
        let mut address = |key: &str| {
            let parsed = Address::parse(to.text(key)?);
            parsed.map_err(|wrong| note(problems, to.place(key), &wrong, "")).ok()
        };
        let (mailbox, from) = (address("email"), address("from"));
        let smtp = to.section("smtp")?;
        missing(smtp, &[URL], problems);
        let url = smtp.secret("url")?;
        let mut server = match Smtp::new(url) {
            Ok(server) => server,
            Err(wrong) => {
                note(problems, smtp.place("url"), &wrong, "");
                return None;
            }
        };
        let ca = smtp.section("tls").and_then(|tls| Some((tls.place("ca"), tls.text("ca")?)));
        if let Some((place, Err(wrong))) = ca.map(|(place, ca)| (place, server.believe(ca))) {
            note(problems, place, &wrong, "");
        }
        if server.exposes_password() {
            warnings.push(format!("the password of {} goes there unencrypted (?tls=none)", server.peer()));
        }
        let mailbox = mailbox?;
        Some(Mailer::new(server, from.unwrap_or_else(|| mailbox.clone()), mailbox, self.node))
    }
}

/// The hours in which people are told.
fn quiet(section: &Section, problems: &mut Vec<Problem>) -> Hours {
    if section.has("quiet_except") && !section.has("quiet") {
        note(problems, section.place("quiet_except"), "does nothing without `quiet`", QUIET);
    }
    let Some(Field::Closures(closed)) = section.field("quiet") else { return Hours::default() };
    let hours = Hours { open: None, closed: closed.clone() };
    if !hours.ever_open() {
        note(problems, section.place("quiet"), "nobody is ever told: it never ends", QUIET);
    }
    hours
}

fn webhook(to: &Section, problems: &mut Vec<Problem>) -> Option<Webhook> {
    let made = Webhook::new(to.text("webhook")?);
    let webhook = made.map_err(|wrong| note(problems, to.place("webhook"), &wrong, "")).ok();
    let Some(sign) = to.section("sign") else { return webhook };
    missing(sign, &[("secret", SECRET)], problems);
    let Some(Field::Secrets(secrets)) = sign.field("secret") else { return None };
    match Signing::standard_webhooks(secrets) {
        Ok(signing) => webhook.map(|webhook| webhook.sign(signing)),
        Err(wrong) => {
            note(problems, sign.place("secret"), &wrong, "");
            None
        }
    }
}
