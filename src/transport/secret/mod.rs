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

mod fresh;
mod hidden;
mod proof;
mod shelf;
mod sign;

use std::fmt;

use zeroize::Zeroize;

pub use self::fresh::{digest, fresh};
pub(in crate::transport) use self::hidden::Hidden;
pub use self::proof::{Came, Disproof, Proof, webhook_header};
pub use self::shelf::{Kept, Shelf};
pub use self::sign::{Encoding, Hmac, Signing};

/// What has fewer bytes can be found by trying.
pub const UNGUESSABLE_BYTES: usize = 16;

/// What the name of a header has in it that bears a credential.
const CREDENTIALS: [&str; 9] =
    ["access-key", "api-key", "apikey", "authorization", "cookie", "passw", "pwd", "secret", "token"];
/// The same, as whole words of a name.
const CREDENTIAL_WORDS: [&str; 4] = ["auth", "pass", "sign", "signature"];

/// Whether a header, or a field, of this name bears a credential.
#[must_use]
pub fn names_credential(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    CREDENTIALS.iter().any(|part| lower.contains(part))
        || lower.split(|c: char| !c.is_alphanumeric()).any(|word| CREDENTIAL_WORDS.contains(&word))
}

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(text.into_bytes().into_boxed_slice())
    }

    /// Whether this is the secret. Takes a time that depends on the length of `text` alone.
    #[must_use]
    pub fn is(&self, text: &[u8]) -> bool {
        let mut own = self.0.iter().cycle();
        let mut different = u8::from(text.len() != self.0.len() || self.0.is_empty());
        for byte in text {
            different |= std::hint::black_box(byte ^ own.next().copied().unwrap_or(0));
        }
        different == 0
    }

    /// Whether both are the same.
    #[must_use]
    pub fn equals(&self, other: &Secret) -> bool {
        self.is(&other.0)
    }

    /// Its SHA-256.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.0)
    }

    /// Whether it is so short that somebody who tries may find it.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        self.0.len() < UNGUESSABLE_BYTES
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
    fn only_the_whole_secret_is_it() {
        let secret = Secret::new("s3cret".into());
        assert!(secret.is(b"s3cret") && secret.equals(&Secret::new("s3cret".into())));
        for other in ["", "s3cre", "s3crets", "s3crets3cret", "S3cret"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert!(!Secret::new(String::new()).is(b""), "nothing is no secret");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("canary-4711".into());
        let nested = Some((secret.clone(), Signing::standard_webhooks(&[secret]).is_err()));
        assert_eq!(format!("{nested:?}"), "Some((Secret(..), true))");
    }
}
