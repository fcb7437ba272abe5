//! Mail over SMTP: the only file that knows lettre.
//!
//! # What holds
//!
//! * Nothing goes unencrypted, but to this machine itself or where the URL says so (`?tls=none`).
//! * Sending ends within [`LIMIT`], whatever the server does; one mail at a time, so that a server that hangs holds one thread.
//! * No text can add a header, a recipient or a command: addresses are parsed, headers are encoded, and lines of the body are stuffed.
//! * The password stands in no text that comes from here, also where the server sends it back.
//!
//! # What it does not know
//!
//! What is told, and to whom it matters.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{fmt, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{self, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder};
use lettre::{SmtpTransport, Transport};

use super::http::Tls;
use super::secret::Secret;
use crate::model::percent::unescape;

/// How long a mail may take from the look-up of the server to its yes.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// Where a server takes mail from programs, and where it does so under TLS from the first byte.
const SUBMISSION_PORT: u16 = 587;
const TLS_PORT: u16 = 465;
/// The most characters of what a server said that are passed on.
const SAID_MAX: usize = 300;

/// A mailbox: `admin@example.pl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(lettre::Address);

/// One mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// From whom.
    pub from: Address,
    /// To whom.
    pub to: Address,
    /// The subject: one line, of any characters.
    pub subject: String,
    /// The text.
    pub text: String,
    /// A name of its own.
    pub id: String,
    /// The name of what it belongs to: mails of one thread are shown together.
    pub thread: String,
}

/// The server that takes the mails.
pub struct Smtp {
    host: String,
    port: u16,
    tls: client::Tls,
    login: Option<(String, Secret)>,
    is_busy: Arc<AtomicBool>,
}

impl Address {
    /// The address that is written so.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Address, String> {
        let wrong = || format!("{text:?} is no address of a mailbox; write it as admin@example.pl");
        let address: lettre::Address = text.parse().map_err(|_| wrong())?;
        // Other characters than these need a server that says it takes them.
        if text.is_ascii() { Ok(Address(address)) } else { Err(wrong()) }
    }

    fn mailbox(&self, name: Option<&str>) -> Mailbox {
        Mailbox::new(name.map(str::to_owned), self.0.clone())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Mail {
    fn message(&self) -> Result<Message, String> {
        let named = |name: &str| format!("<{name}@{}>", self.from.0.domain());
        let header =
            |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        Message::builder()
            .from(self.from.mailbox(Some("goniec")))
            .to(self.to.mailbox(None))
            .subject(self.subject.as_str())
            .date_now()
            .message_id(Some(named(&self.id)))
            .in_reply_to(named(&self.thread))
            .references(named(&self.thread))
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .header(ContentType::TEXT_PLAIN)
            .body(self.text.clone())
            .map_err(|error| format!("the mail cannot be written: {error}"))
    }
}

impl Smtp {
    /// The server of this URL: `smtp://USER:PASSWORD@HOST:587` with STARTTLS, or `smtps://` with TLS from the first byte.
    ///
    /// # Errors
    /// What is wrong with it. The text holds nothing of the URL.
    pub fn new(url: &Secret) -> Result<Smtp, String> {
        let (scheme, rest) = url.text().split_once("://").ok_or(SAMPLE)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let (login, place) = place.rsplit_once('@').map_or((None, place), |(login, place)| (Some(login), place));
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
        let login = login.map(credentials).transpose()?;
        let is_plain = match (scheme, query) {
            ("smtps", None | Some("tls=required")) => false,
            ("smtps", Some(_)) => return Err("smtps:// is always encrypted; nothing but ?tls=required fits".into()),
            ("smtp", Some("tls=none")) => true,
            ("smtp", Some("tls=required")) => false,
            ("smtp", None) => is_this_machine(&host),
            ("smtp", Some(_)) => return Err("what follows the ? is not tls=required and not tls=none".into()),
            (_, _) => return Err(SAMPLE.into()),
        };
        let believed = TlsParameters::builder(host.clone());
        let tls = match scheme {
            _ if is_plain => client::Tls::None,
            "smtps" => client::Tls::Wrapper(built(believed)?),
            _ => client::Tls::Required(built(believed)?),
        };
        let port = port.unwrap_or(if scheme == "smtps" { TLS_PORT } else { SUBMISSION_PORT });
        Ok(Smtp { host, port, tls, login, is_busy: Arc::default() })
    }

    /// Believes these authorities (PEM) and no others.
    ///
    /// # Errors
    /// There is none in it, one that cannot be used, or nothing is encrypted.
    pub fn believe(&mut self, pem: &str) -> Result<(), String> {
        Tls::new().authorities(pem)?;
        let certificates = Certificate::from_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
        let believed = TlsParameters::builder(self.host.clone());
        let believed = believed.certificate_store(CertificateStore::None).add_root_certificate(certificates);
        self.tls = match self.tls {
            client::Tls::None => return Err("does nothing where nothing is encrypted; add ?tls=required".into()),
            client::Tls::Wrapper(_) => client::Tls::Wrapper(built(believed)?),
            client::Tls::Opportunistic(_) | client::Tls::Required(_) => client::Tls::Required(built(believed)?),
        };
        Ok(())
    }

    /// Host and port.
    #[must_use]
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether a password goes over the network unencrypted.
    #[must_use]
    pub fn exposes_password(&self) -> bool {
        self.login.is_some() && matches!(self.tls, client::Tls::None) && !is_this_machine(&self.host)
    }

    /// Sends the mail; returns once the server has taken it.
    ///
    /// # Errors
    /// Why nobody knows that it has; it may have all the same.
    pub fn send(&self, mail: &Mail) -> Result<(), String> {
        let peer = self.peer();
        let message = mail.message()?;
        let transport = self.transport();
        let Some(turn) = Turn::take(&self.is_busy) else { return Err(format!("{peer} is still busy with a mail")) };
        let (tell, told) = sync_channel(1);
        // Names are looked up, and servers that drip are waited for, without a limit of their own: the thread is left behind then.
        let work = move || {
            let sent = transport.send(&message);
            drop(turn);
            // Whoever asked may have gone; then nobody hears.
            let _ = tell.send(sent);
        };
        let spawned = std::thread::Builder::new().name("goniec-mail".into()).spawn(work);
        spawned.map_err(|error| format!("no thread for a mail: {error}"))?;
        match told.recv_timeout(LIMIT) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_silence(&error) => Err(format!("{peer} was silent for {} s", SILENCE.as_secs())),
            Ok(Err(error)) => Err(format!("{peer}: {}", self.masked(&error.to_string()))),
            Err(_) => Err(format!("{peer} has not taken the mail within {} s", LIMIT.as_secs())),
        }
    }

    fn transport(&self) -> SmtpTransport {
        let builder = SmtpTransport::builder_dangerous(self.host.as_str());
        let builder = builder.port(self.port).tls(self.tls.clone()).timeout(Some(SILENCE));
        match &self.login {
            Some((user, password)) => {
                builder.credentials(Credentials::new(user.clone(), password.text().to_owned())).build()
            }
            None => builder.build(),
        }
    }

    /// What a server said, without what must not be told: it may send back what it was sent.
    fn masked(&self, said: &str) -> String {
        let mut said = said.to_owned();
        if let Some((user, password)) = &self.login {
            let plain = format!("\0{user}\0{}", password.text());
            for hidden in [STANDARD.encode(plain), STANDARD.encode(password.text()), password.text().to_owned()] {
                said = said.replace(&hidden, "***");
            }
        }
        said.chars().take(SAID_MAX).collect()
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// The one mail that is under way. It ends also where its thread panics.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(is_busy: &Arc<AtomicBool>) -> Option<Turn> {
        (!is_busy.swap(true, Ordering::AcqRel)).then(|| Turn(is_busy.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

const SAMPLE: &str =
    "is no URL of a mail server; write it as smtp://USER:PASSWORD@HOST:587 (STARTTLS) or smtps://HOST:465 (TLS)";

/// Host and port of `mail.example.pl:587` or `[::1]:25`.
fn host_and_port(place: &str) -> Result<(String, Option<u16>), String> {
    let wrong = "host or port is wrong; in user and password write / as %2F, ? as %3F, @ as %40 and % as %25";
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(wrong)?,
        None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
    };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_of_name) {
        return Err(wrong.into());
    }
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(wrong)?),
        None if port.is_empty() => None,
        None => return Err(wrong.into()),
    };
    Ok((host.to_owned(), port))
}

/// User and password of `USER:PASSWORD`.
fn credentials(text: &str) -> Result<(String, Secret), String> {
    let (user, password) = text.split_once(':').ok_or("a user without a password; write USER:PASSWORD@")?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    if user.is_empty() || password.is_empty() || [&user, &password].iter().any(|text| text.contains('\0')) {
        return Err("user or password is empty, or has a zero byte in it".into());
    }
    Ok((user, Secret::new(password)))
}

/// The text that percent signs stand for.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = "a % in user or password is not followed by two hex digits; write % itself as %25";
    unescape(text).map_err(|_| wrong.into())
}

/// Whether the server said nothing for too long: sockets tell it in one of two ways.
fn is_silence(error: &dyn Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn built(tls: TlsParametersBuilder) -> Result<TlsParameters, String> {
    tls.build().map_err(|error| format!("TLS cannot be set up: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Smtp, String> {
        Smtp::new(&Secret::new(url.to_owned()))
    }

    #[test]
    fn a_url_tells_server_login_and_encryption() {
        let shown = |url: &str| {
            let smtp = server(url).unwrap_or_else(|wrong| panic!("{url}: {wrong}"));
            let tls = match smtp.tls {
                client::Tls::None => "none",
                client::Tls::Opportunistic(_) => "perhaps",
                client::Tls::Required(_) => "starttls",
                client::Tls::Wrapper(_) => "tls",
            };
            let login = smtp.login.map(|(user, password)| format!("{user} {}", password.text())).unwrap_or_default();
            format!("{}:{} {tls} {login}", smtp.host, smtp.port)
        };
        assert_eq!(shown("smtp://me%40x.pl:p%3A%2F@mail.x.pl"), "mail.x.pl:587 starttls me@x.pl p:/");
        assert_eq!(shown("smtp://a:b@mail.x.pl:25?tls=none"), "mail.x.pl:25 none a b");
        assert_eq!(shown("smtp://127.0.0.1:2525/"), "127.0.0.1:2525 none ");
        assert_eq!(shown("smtp://localhost:25?tls=required"), "localhost:25 starttls ");
        assert_eq!(shown("smtps://a:p@ss@[::1]"), "::1:465 tls a p@ss");
        assert!(server("smtp://a:b@mail.x.pl?tls=none").is_ok_and(|smtp| smtp.exposes_password()));
        assert!(server("smtp://a:b@127.0.0.1").is_ok_and(|smtp| !smtp.exposes_password()));
    }

    #[test]
    fn what_is_no_url_is_told_without_it() {
        for url in [
            "",
            "hunter2",
            "http://a:hunter2@x",
            "smtp://",
            "smtp://a:hunter2@",
            "smtp://a:hunter2/x@y@z:0",
            "smtp://a:hunter2@x:99999",
            "smtp://a:hunter2@x:25:26",
            "smtp://a:hunter2@x y",
            "smtp://a:hunter2@x\r\nMAIL FROM:<>",
            "smtp://hunter2@x",
            "smtp://a:hunter2%@x",
            "smtp://a:hunter2%00@x",
            "smtp://a:@x",
            "smtp://x?tls=hunter2",
            "smtps://x?tls=none",
            "smtp://[::1:25",
            "smtp://a:hunter2@x/path",
        ] {
            let wrong = server(url).expect_err(url);
            assert!(!wrong.contains("hunter2") && !wrong.is_empty(), "{url}: {wrong}");
        }
    }

    #[test]
    fn what_a_server_sends_back_tells_no_password() {
        let smtp = server("smtp://me:hunter2@x").expect("a server");
        let (plain, alone) = (STANDARD.encode("\0me\0hunter2"), STANDARD.encode("hunter2"));
        let said = smtp.masked(&format!("535 {plain} {alone} hunter2 {}", "x".repeat(9_000)));
        assert!(said.starts_with("535 *** *** *** xxx") && said.len() == SAID_MAX, "{said}");
        assert!(!format!("{smtp:?}").contains("hunter2"));
    }

    #[test]
    fn only_a_mailbox_is_an_address() {
        assert!(Address::parse("admin@example.pl").is_ok());
        for text in [
            "",
            "admin",
            "a@b@c",
            "a b@c.pl",
            "a@c.pl\r\nBcc: x@y.pl",
            "<a@c.pl>",
            "A <a@c.pl>",
            "a@ż.pl",
            "a@c.pl,b@c.pl",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
