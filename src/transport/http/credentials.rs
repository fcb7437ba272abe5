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

/// `Basic`, from a user and a password.
pub(super) fn basic(user: &str, password: &Secret) -> Result<HeaderValue, String> {
    if user.contains(':') {
        return Err("the user of basic authorisation has a colon, which ends it".into());
    }
    let pair = Secret::from([user.as_bytes(), b":", password.expose()].concat());
    sensitive(&Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
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
