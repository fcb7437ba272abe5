//! Telling a person by mail: what the mail says, so that it can be read on a phone and acted on.
//!
//! # What holds
//!
//! * A mail never carries a body of a message, only its id, its key, and what was said of its last attempt, each cut to a line.
//! * All mails of one cause are one thread, and that it is over comes into the thread of what it ends.
//! * What comes from outside cannot break a line, hide or turn text around, or become a part of a command that is to be copied.
//!
//! # What it does not know
//!
//! SMTP, and when somebody is told again.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use crate::engine::{Alert, Channel};
use crate::model::Id;
use crate::model::percent::{escape_but, is_unreserved};
use crate::store::key_hash;
use crate::transport::smtp::{Address, Mail, Smtp};

/// The most characters of a text from outside.
const SHOWN_MAX: usize = 200;
/// The most characters of it in a subject.
const SUBJECT_MAX: usize = 64;

/// Sends the alert as a mail.
pub struct Mailer {
    smtp: Smtp,
    from: Address,
    to: Address,
    /// Where people reach this node.
    node: Option<String>,
}

impl Mailer {
    /// Mails from one address to another. `node` is the URL at which people reach this node, where they do.
    #[must_use]
    pub fn new(smtp: Smtp, from: Address, to: Address, node: Option<&str>) -> Mailer {
        Mailer { smtp, from, to, node: node.map(|url| url.trim_end_matches('/').to_owned()) }
    }

    fn mail(&self, alert: &Alert) -> Mail {
        let subject = format!("goniec: {}", headline(alert, SUBJECT_MAX));
        // The name of the thread must outlive the process; every mail needs a new one of its own.
        let thread = format!("{}.{:016x}", alert.topic(), key_hash(&alert.destination));
        let id = fresh_name();
        Mail { from: self.from.clone(), to: self.to.clone(), subject, text: self.text(alert), id, thread }
    }

    fn text(&self, alert: &Alert) -> String {
        let mut text = format!("{}.\n\n", headline(alert, SHOWN_MAX));
        let mut say = |name: &str, what: &str| {
            if !what.is_empty() {
                let _ = writeln!(text, "{name}: {}", line(what, SHOWN_MAX));
            }
        };
        if alert.sample.is_some() {
            say("How many", &alert.messages.to_string());
        }
        say("Since", &alert.since.rfc3339());
        say("First message", &alert.sample.map(|id| id.to_string()).unwrap_or_default());
        say("Its key", alert.sample_key.as_deref().unwrap_or_default());
        let about = if alert.sample.is_some() { "It was told" } else { "What is known" };
        say(about, alert.detail.as_deref().unwrap_or_default());
        let commands = commands(alert);
        if !commands.is_empty() {
            text.push_str("\nWhat to do next:\n\n");
            commands.iter().for_each(|command| text.extend(["  ", command, "\n"]));
        }
        if let Some(node) = &self.node {
            let _ = write!(text, "\n{node}/console{}\n", fragment(alert));
        }
        text
    }
}

impl Channel for Mailer {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.smtp.send(&self.mail(alert))
    }

    fn name(&self) -> String {
        format!("email {}", self.to)
    }
}

/// A name that nothing else has.
pub(super) fn fresh_name() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

/// What happened, in one sentence without its full stop.
fn headline(alert: &Alert, longest: usize) -> String {
    let (to, count) = (line(&alert.destination, longest), alert.messages);
    let messages = if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    match alert.reason {
        "exhausted" => format!("{messages} to {to} given up: tried as often as allowed"),
        "rejected" => format!("{messages} to {to} given up: refused"),
        "expired" => format!("{messages} to {to} given up: too late"),
        "uncertain" => format!("{messages} to {to} may have arrived: somebody must decide"),
        "late" => format!("{messages} to {to} late"),
        "will-be-late" => format!("Messages to {to} will be late"),
        "on-time" => format!("Over: messages to {to} are on time again"),
        "silent" => format!("Nothing comes or goes for {to}"),
        "active" => format!("Over: something comes or goes for {to} again"),
        "paused" => format!("{to} is paused: nothing is sent there"),
        "resumed" => format!("Over: {to} goes on"),
        "failing" => format!("{to} fails and is left alone"),
        "answering" => format!("Over: {to} answers again"),
        "incident" | "incident-lasts" => format!("Deliveries to {to} fail, and go on failing"),
        "incident-at-rest" => format!("Messages to {to} came to rest undelivered"),
        "recovered" => format!("Over: what failed at {to} is delivered or dealt with"),
        "rule" => format!("The rules of {to} do not tell what it answered"),
        "damaged" => format!("{count} part(s) of the registry cannot be read"),
        "full" => "Nothing new is taken: the disk is full, or the size limit is reached".to_owned(),
        "has-room" => "Over: there is room again, and messages are taken".to_owned(),
        "source-asks" => format!("Source {to} would bring many messages at first, and asks"),
        "source-failing" => format!("Source {to} cannot be read"),
        "source-read" => format!("Over: source {to} is read again"),
        "source-forgets" => format!("Source {to} will soon forget what was not read"),
        "source-forgot" => format!("Source {to} may have forgotten what was not read"),
        "source-refused" => format!("Files of source {to} cannot be taken"),
        "source-gap" => format!("Source {to} owes messages, and is silent"),
        "source-whole" => format!("Over: nothing that source {to} sent is missing"),
        "test" => "A test: you are told by this goniec".to_owned(),
        // What it says itself begins with all that matters.
        _ => line(&alert.to_string(), longest),
    }
}

/// What can be typed next, the first thing first.
fn commands(alert: &Alert) -> Vec<String> {
    // A name is part of a command only where no shell sees more in it.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = !alert.destination.starts_with('-') && alert.destination.chars().all(is_plain);
    let to = if is_name { &*alert.destination } else { "NAME" };
    let show = |id: Id| format!("goniec show {id}");
    let first = alert.sample.map(show);
    let rest: Vec<String> = match alert.reason {
        "exhausted" | "rejected" | "expired" => {
            let these = format!("to:{to} state:abandoned reason:{}", alert.reason);
            ["ls", "resend"].map(|verb| format!("goniec {verb} {these}")).into()
        }
        "uncertain" => {
            let id = alert.sample.map_or_else(|| "ID".to_owned(), |id| id.to_string());
            vec![format!("goniec resolve {id} --delivered"), format!("goniec resolve {id} --resend")]
        }
        "late" | "will-be-late" => {
            vec!["goniec destinations".to_owned(), format!("goniec ls to:{to} state:queued,failed")]
        }
        "failing" | "silent" | "rule" => {
            vec!["goniec destinations".to_owned(), format!("goniec ls to:{to} --limit 10")]
        }
        "incident" | "incident-lasts" | "incident-at-rest" => {
            vec!["goniec incidents".to_owned(), "goniec resend incident:ID   (once it is mended)".to_owned()]
        }
        "paused" => vec!["goniec destinations".to_owned(), format!("goniec resume {to}")],
        "full" => vec!["goniec stats".to_owned(), "df -h   (where the registry lies)".to_owned()],
        "source-asks" => vec!["goniec sources".to_owned(), format!("goniec cycle run {to} --yes")],
        "source-refused" => {
            vec!["goniec sources".to_owned(), "ls FOLDER/failed   (once mended, move it back)".to_owned()]
        }
        "source-gap" => vec!["goniec streams".to_owned()],
        "source-failing" | "source-forgets" | "source-forgot" => {
            vec!["goniec sources".to_owned(), format!("goniec cycle run {to}   (once it is mended)")]
        }
        "damaged" => vec!["goniec stats".to_owned(), "goniec verify   (the node stopped)".to_owned()],
        _ => Vec::new(),
    };
    first.into_iter().chain(rest).collect()
}

/// Where in the console it is seen.
fn fragment(alert: &Alert) -> String {
    let filter = match alert.reason {
        "exhausted" | "rejected" | "expired" => {
            format!("to:{} state:abandoned reason:{}", alert.destination, alert.reason)
        }
        "uncertain" => format!("to:{} reason:held", alert.destination),
        "late" => format!("to:{} state:queued,failed", alert.destination),
        "incident" | "incident-lasts" | "incident-at-rest" | "recovered" => return "#/incidents".to_owned(),
        _ => return String::new(),
    };
    let is_plain = |byte| is_unreserved(byte) || matches!(byte, b':' | b',');
    format!("#/messages?filter={}", escape_but(&filter, is_plain))
}

/// The text on one line, with nothing in it that is not seen, and no longer than this.
pub(super) fn line(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for (position, c) in text.chars().enumerate() {
        if position >= longest {
            shown.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            // What is not printed: line ends, other control characters, and what turns or hides text.
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::WallMs;
    use crate::transport::secret::Secret;

    fn mailer(node: Option<&str>) -> Mailer {
        let smtp = Smtp::new(&Secret::new("smtp://127.0.0.1:25".into())).expect("a server");
        let address = |text| Address::parse(text).expect("an address");
        Mailer::new(smtp, address("node@example.pl"), address("anna@example.pl"), node)
    }

    fn alert(destination: &str, reason: &'static str, key: &str, detail: &str) -> Alert {
        Alert {
            destination: Arc::from(destination),
            reason,
            messages: 12,
            sample: Some("0192f0c1-2b3a-7c4d-8e5f-000000000017".parse().expect("an id")),
            sample_key: Some(Arc::from(key)),
            detail: Some(detail.to_owned()),
            since: WallMs(1_795_435_200_000),
        }
    }

    #[test]
    fn a_mail_says_what_happened_and_what_to_do() {
        let mailer = mailer(Some("https://goniec.example.pl/"));
        let mail = mailer.mail(&alert("erp", "exhausted", "order:17", "erp.example answered 503"));
        assert_eq!(mail.subject, "goniec: 12 messages to erp given up: tried as often as allowed");
        let expected = "12 messages to erp given up: tried as often as allowed.\n\n\
            How many: 12\nSince: 2026-11-23T12:00:00.000Z\nFirst message: 0192f0c1-2b3a-7c4d-8e5f-000000000017\n\
            Its key: order:17\nIt was told: erp.example answered 503\n\nWhat to do next:\n\n\
            \x20 goniec show 0192f0c1-2b3a-7c4d-8e5f-000000000017\n\
            \x20 goniec ls to:erp state:abandoned reason:exhausted\n\
            \x20 goniec resend to:erp state:abandoned reason:exhausted\n\n\
            https://goniec.example.pl/console#/messages?filter=to:erp%20state:abandoned%20reason:exhausted\n";
        assert_eq!(mail.text, expected);
    }

    #[test]
    fn what_is_over_comes_into_the_thread_of_what_it_ends() {
        let mailer = mailer(None);
        let mail = |to: &str, reason| mailer.mail(&Alert { sample: None, ..alert(to, reason, "", "") });
        for (begun, over) in [
            ("failing", "answering"),
            ("incident", "recovered"),
            ("late", "on-time"),
            ("silent", "active"),
            ("paused", "resumed"),
            ("full", "has-room"),
            ("source-failing", "source-read"),
        ] {
            assert_eq!(mail("erp", begun).thread, mail("erp", over).thread, "{begun}");
            assert!(mail("erp", over).subject.starts_with("goniec: Over: "), "{over}");
            assert_ne!(mail("erp", begun).thread, mail("shop", over).thread, "{begun}");
        }
        assert_ne!(mail("erp", "exhausted").thread, mail("erp", "rejected").thread);
        assert_ne!(mail("erp", "exhausted").id, mail("erp", "exhausted").id);
    }

    #[test]
    fn nothing_from_outside_breaks_out_of_its_line() {
        let hostile = format!("a\r\nBcc: x@y\0\u{202e}\u{200b}\u{2028}=?utf-8?q?b?={}", "ż".repeat(10_000));
        let mail = mailer(None).mail(&alert(&hostile, "exhausted", &hostile, &hostile));
        let is_hidden = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}' | '\u{2028}');
        assert!(!mail.subject.contains(is_hidden) && mail.subject.chars().count() < 200, "{}", mail.subject);
        assert!(mail.text.lines().all(|line| line.chars().count() < 300 && !line.contains(is_hidden)), "{}", mail.text);
        assert!(mail.text.contains("goniec resend to:NAME state:abandoned"), "{}", mail.text);
        let steers = mailer(None).mail(&alert("x;reboot", "paused", "", ""));
        assert!(steers.text.contains("goniec resume NAME\n"), "{}", steers.text);
    }
}
