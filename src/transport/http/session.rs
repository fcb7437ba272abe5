//! Sessions that are opened by a login and shown by cookies: `POST https://sap.example/b1s/v1/Login`.
//!
//! # What holds
//!
//! * One login holds for all messages ([`super::pass`]). The cookies of its answer go along as one header with everything that is asked of the
//!   destination, until the session is as old as it may be or the destination refuses it with 401.
//! * Cookies are names and values to us: their attributes, and the cookies of later answers, change nothing. The last of a name counts, and one without a
//!   value is taken back.
//! * What cannot be sent back as it came is refused, as is more than [`COOKIES_MAX`] or [`COOKIES_BYTES_MAX`].
//!
//! # What it does not know
//!
//! Logging out: a session that is not used ends by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use ureq::http::header::COOKIE;

use super::client::Answer;
use super::pass::{Issuer, Pass, Renewal};
use super::{Http, Tls, credentials};
use crate::model::Failure;
use crate::transport::secret::Secret;

/// How long a session is used, by default: somewhat less than half an hour, at which many systems end one.
const LIFE_DEFAULT: Duration = Duration::from_secs(25 * 60);

/// The most cookies of a session.
const COOKIES_MAX: usize = 16;

/// The longest header of them, in bytes: about what servers take.
const COOKIES_BYTES_MAX: usize = 8 << 10;

/// A login, and how long it holds.
pub struct Session {
    /// What is posted: JSON.
    login: Secret,
    life: Duration,
    issuer: Issuer,
}

impl Session {
    /// Logs in at `url` by a JSON object of these texts and secrets, each with its name, and believes there whom `tls` says.
    #[must_use]
    pub fn new(url: &str, texts: &[(&str, &str)], secrets: &[(&str, &Secret)], tls: Tls) -> Session {
        let secret = secrets.iter().map(|(name, secret)| (*name, secret.text()));
        let fields: BTreeMap<&str, &str> = texts.iter().copied().chain(secret).collect();
        let mut issuer = Issuer::new("session", url, tls);
        secrets.iter().for_each(|(_, secret)| issuer.hidden.hide(secret));
        Session { login: Secret::new(json(&fields)), life: LIFE_DEFAULT, issuer }
    }

    /// Uses a session for so long.
    #[must_use]
    pub fn lasting(mut self, life: Duration) -> Session {
        self.life = life;
        self
    }

    /// What an answer says, on one line, without our secrets.
    fn words(&self, answer: &Answer) -> String {
        let text = self.issuer.hidden.blot(&String::from_utf8_lossy(&answer.body));
        let clean: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        clean.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Renewal for Session {
    fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    fn renew(&self, deadline: Instant) -> Result<(Pass, Duration), Failure> {
        let answer = self.issuer.ask(&[("content-type", "application/json")], &self.login, deadline)?;
        if !(200..300).contains(&answer.status) {
            let what = format!("it answered {}", answer.status);
            return Err(self.issuer.told(&what, &self.words(&answer)));
        }
        let cookies = match cookies(&answer.headers) {
            Ok(Some(cookies)) => cookies,
            // Some say no with a 200.
            Ok(None) => return Err(self.issuer.told("its answer sets no cookie", &self.words(&answer))),
            Err(wrong) => return Err(self.issuer.failed(&wrong)),
        };
        self.issuer.hidden.hide_cookies(cookies.text());
        let value = credentials::sensitive(&cookies).map_err(|why| self.issuer.failed(&why))?;
        Ok((Pass { name: COOKIE, value }, self.life))
    }
}

impl Http {
    /// Authorises by the cookies of a session. A refused one is opened anew once, and the message sent again within the same attempt.
    #[must_use]
    pub fn session(mut self, session: Session) -> Http {
        self.passes = Some(Box::new(session));
        self
    }
}

/// The header that sends the cookies of an answer back; `None` where it sets none.
fn cookies(headers: &[(String, String)]) -> Result<Option<Secret>, String> {
    let mut cookies: Vec<(&str, &str)> = Vec::new();
    for (_, line) in headers.iter().filter(|(name, _)| name == "set-cookie") {
        let cookie = line.split_once(';').map_or(&**line, |(cookie, _)| cookie);
        let (name, value) = cookie.split_once('=').unwrap_or_default();
        let (name, value) = (name.trim(), value.trim());
        let is_name = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',');
        if name.is_empty() || !name.bytes().all(is_name) || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err("its answer sets a cookie that cannot be sent back".into());
        }
        cookies.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            cookies.push((name, value));
        }
        if cookies.len() > COOKIES_MAX {
            return Err(format!("its answer sets more than {COOKIES_MAX} cookies"));
        }
    }
    let header: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let header = Secret::new(header.join("; "));
    match header.text().len() {
        0 => Ok(None),
        1..=COOKIES_BYTES_MAX => Ok(Some(header)),
        _ => Err(format!("its answer sets cookies of more than {COOKIES_BYTES_MAX} bytes")),
    }
}

/// Texts as JSON, which spells any of them.
fn json(texts: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(texts).unwrap_or_default()
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_back(set: &[&str]) -> Result<Option<String>, String> {
        let mut headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        headers.extend(set.iter().map(|line| ("set-cookie".to_owned(), (*line).to_owned())));
        cookies(&headers).map(|header| header.map(|header| header.text().to_owned()))
    }

    #[test]
    fn names_and_values_are_sent_back_and_attributes_are_not() {
        let sap = ["B1SESSION=3a1c-77; HttpOnly; SameSite=None", "ROUTEID=.node2; path=/b1s; Secure"];
        assert_eq!(sent_back(&sap), Ok(Some("B1SESSION=3a1c-77; ROUTEID=.node2".into())));
        for (set, expect) in [
            (&["a=1;b=2"][..], Some("a=1")),
            (&[" a = \"x, y\" ;Path=/"], Some("a=\"x, y\"")),
            (&["a=b=c=="], Some("a=b=c==")),
            (&["a=1", "b=2", "a=3"], Some("b=2; a=3")),
            (&["a=1", "a=; Max-Age=0"], None),
            (&[], None),
        ] {
            assert_eq!(sent_back(set), Ok(expect.map(str::to_owned)), "{set:?}");
        }
    }

    #[test]
    fn what_cannot_be_sent_back_as_it_came_is_refused() {
        for cookie in
            ["", ";", "=1", "a", "a b=1", "a=\u{1}", "a=x\ty", "a=\u{7f}", "a=\u{fffd}", "ą=1", "\"a=1", "a,b=1"]
        {
            let wrong = sent_back(&["fine=1", cookie]).expect_err(cookie);
            assert!(wrong.contains("cannot be sent back"), "{cookie:?}: {wrong}");
        }
        let many: Vec<String> = (0..=COOKIES_MAX).map(|number| format!("c{number}=1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(sent_back(&many[..COOKIES_MAX]).is_ok());
        assert!(sent_back(&many).expect_err("too many").contains("more than 16 cookies"));
        let long = |bytes: usize| format!("a={}", "x".repeat(bytes - 2));
        assert!(sent_back(&[&long(COOKIES_BYTES_MAX)]).is_ok());
        assert!(sent_back(&[&long(COOKIES_BYTES_MAX + 1)]).expect_err("too long").contains("more than 8192 bytes"));
    }
}
