//! What goes along with a delivery so that the destination believes it: `authorization`, passes, signatures.
//!
//! # What holds
//!
//! * Values are marked sensitive, so that no log of the HTTP library shows them.
//! * Signatures are over the bytes that leave, and the id and time that leave with them.
//!
//! # What it does not know
//!
//! Where secrets come from.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::pass::Pass;
use super::{Http, headers, is_reserved};
use crate::transport::secret::{Hmac, Secret, Signing};

/// What a destination is shown.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// The value of `authorization`, where it is fixed.
    pub(super) authorization: Option<HeaderValue>,
    /// Standard Webhooks.
    pub(super) signing: Option<Signing>,
    /// HMACs over the body.
    pub(super) hmacs: Vec<(HeaderName, Hmac)>,
}

impl Http {
    /// Sends this header with every message, as [`Http::header`].
    #[must_use]
    pub fn secret_header(mut self, name: &str, value: &Secret) -> Http {
        self.hidden.hide(value);
        // A scheme mostly stands before what is secret, and who answers repeats only that.
        if let Some((_, token)) = value.text().trim().rsplit_once(' ') {
            self.hidden.hide(&Secret::new(token.to_owned()));
        }
        self.header(name, value.text())
    }

    /// Authorises by user and password.
    #[must_use]
    pub fn basic(mut self, user: &str, password: &Secret) -> Http {
        self.hidden.hide(password);
        self.hidden.hide(&pair(user, password));
        self.authorised(basic(user, password))
    }

    /// Authorises by a token.
    #[must_use]
    pub fn bearer(mut self, token: &Secret) -> Http {
        self.hidden.hide(&Secret::new(token.text().trim().to_owned()));
        self.authorised(bearer(token))
    }

    fn authorised(mut self, value: Result<HeaderValue, String>) -> Http {
        match value {
            Ok(value) => self.credentials.authorization = Some(value),
            Err(problem) => self.target = Err(problem),
        }
        self
    }

    /// Signs every delivery as Standard Webhooks has it.
    #[must_use]
    pub fn sign(mut self, signing: Signing) -> Http {
        signing.keys().iter().for_each(|key| self.hidden.hide(key));
        self.credentials.signing = Some(signing);
        self
    }

    /// Signs every body with an HMAC in a header of its own.
    #[must_use]
    pub fn hmac(mut self, hmac: Hmac) -> Http {
        self.hidden.hide(hmac.key());
        match headers::pair(&hmac.header, "") {
            Ok((name, _)) if !is_reserved(name.as_str()) => self.credentials.hmacs.push((name, hmac)),
            Ok((name, _)) => self.target = Err(format!("the header {name:?} is set by goniec itself")),
            Err(problem) => self.target = Err(problem),
        }
        self
    }
}

/// User and password, as `Basic` carries them.
pub(super) fn pair(user: &str, password: &Secret) -> Secret {
    Secret::from([user.as_bytes(), b":", password.expose()].concat())
}

/// `Basic`, from a user and a password.
pub(super) fn basic(user: &str, password: &Secret) -> Result<HeaderValue, String> {
    if user.contains(':') {
        return Err("the user of basic authorisation has a colon, which ends it".into());
    }
    sensitive(&Secret::new(format!("Basic {}", STANDARD.encode(pair(user, password).expose()))))
}

/// `Bearer`, from a token.
pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, String> {
    sensitive(&Secret::new(format!("Bearer {}", token.text().trim())))
}

/// A value that no log shows.
pub(super) fn sensitive(text: &Secret) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_bytes(text.expose()).map_err(|_| "the credentials have a character that cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

impl Credentials {
    /// Adds what is fixed, and the pass.
    pub(super) fn authorise(&self, headers: &mut HeaderMap, pass: Option<&Pass>) {
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        pass.into_iter().for_each(|pass| pass.show(headers));
    }

    /// Adds what is signed.
    pub(super) fn sign(
        &self,
        headers: &mut HeaderMap,
        id: impl FnOnce() -> String,
        timestamp_s: u64,
        body: &[u8],
    ) -> Result<(), String> {
        if let Some(signing) = &self.signing {
            let signature = signing.signature(&id(), timestamp_s, body);
            let value = HeaderValue::from_str(&signature).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static("webhook-signature"), value);
        }
        for (name, hmac) in &self.hmacs {
            let value = HeaderValue::from_str(&hmac.signature(body)).map_err(|error| error.to_string())?;
            headers.insert(name.clone(), value);
        }
        Ok(())
    }
}
