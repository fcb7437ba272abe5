//! What authorises goniec, and what it signs with: values that are never shown.
//!
//! # What holds
//!
//! * A [`Secret`] has no `Display`, no serialisation, and a `Debug` without its content. Its bytes are overwritten when it is dropped.
//! * Only this floor can read one (`Secret::expose`): nothing above the transport needs to.
//!
//! # What it does not know
//!
//! Where secrets come from; the configuration reads them.

mod sign;

use std::fmt;

use zeroize::Zeroize;

pub use self::sign::{Encoding, Hmac, Signing};

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(text.into_bytes().into_boxed_slice())
    }

    /// The content.
    pub(in crate::transport) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The content as text.
    pub(in crate::transport) fn text(&self) -> &str {
        // It was made from a text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Secret {
        Secret(bytes.into_boxed_slice())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("canary-4711".into());
        let nested = Some((secret.clone(), Signing::standard_webhooks(&[secret]).is_err()));
        assert_eq!(format!("{nested:?}"), "Some((Secret(..), true))");
    }
}
