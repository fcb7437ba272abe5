//! Signatures over what leaves: Standard Webhooks, and an HMAC of one's own shape.
//!
//! # What holds
//!
//! * Standard Webhooks: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, once for each secret, divided
//!   by spaces; while a secret is changed the receiver finds the one it knows.
//! * What cannot be a key is told when it is set, never when a message leaves.
//!
//! # What it does not know
//!
//! Requests; it is given the parts that are signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{KeyInit, Mac};
use sha2::Sha256;

use super::Secret;
use crate::model::percent::hex;

type HmacSha256 = hmac::Hmac<Sha256>;

/// The prefix of the secrets of Standard Webhooks.
const PREFIX: &str = "whsec_";

/// The shortest and the longest key of Standard Webhooks, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The most secrets at a time.
const SECRETS_MAX: usize = 8;

/// The most signatures of one delivery that are looked at: one for each secret that its sender may have.
const SIGNATURES_MAX: usize = 16;

/// The keys of Standard Webhooks, the newest first.
#[derive(Debug)]
pub struct Signing {
    keys: Vec<Secret>,
}

/// A signature over the body, in a header of its own.
#[derive(Debug)]
pub struct Hmac {
    pub(in crate::transport) header: String,
    key: Secret,
    encoding: Encoding,
    prefix: String,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Two lower-case digits a byte.
    #[default]
    Hex,
    /// Base64, with padding.
    Base64,
}

impl Signing {
    /// Signs as Standard Webhooks wants it, with each of these `whsec_` secrets.
    ///
    /// # Errors
    /// None, too many, or one that is not base64 of 24 to 64 bytes. The text does not hold the secret.
    pub fn standard_webhooks(secrets: &[Secret]) -> Result<Signing, String> {
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            return Err(format!("expected 1 to {SECRETS_MAX} signing secrets, found {}", secrets.len()));
        }
        let keys = secrets.iter().enumerate().map(|(position, secret)| {
            let text = secret.text().trim();
            let decoded = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text));
            let key = decoded.ok().filter(|key| KEY_BYTES.contains(&key.len()));
            key.map(Secret::from).ok_or_else(|| {
                let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
                format!("signing secret {}: expected {PREFIX} and the base64 of {least} to {most} bytes", position + 1)
            })
        });
        Ok(Signing { keys: keys.collect::<Result<_, _>>()? })
    }

    /// What it signs with.
    pub(in crate::transport) fn keys(&self) -> &[Secret] {
        &self.keys
    }

    /// The value of `webhook-signature`.
    #[must_use]
    pub fn signature(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let timestamp = timestamp_s.to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let signed: Vec<String> =
            self.keys.iter().map(|key| format!("v1,{}", STANDARD.encode(mac(key, &parts)))).collect();
        signed.join(" ")
    }

    /// Whether one of the signatures of this `webhook-signature` is ours over the same.
    pub(super) fn signed(&self, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let written = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        is_one_mac(&self.keys, &parts, &written.collect::<Vec<_>>())
    }
}

impl Hmac {
    /// Signs the body with HMAC-SHA256, written after `prefix` (`sha256=`) into this header.
    #[must_use]
    pub fn new(header: &str, key: Secret, encoding: Encoding, prefix: &str) -> Hmac {
        Hmac { header: header.to_ascii_lowercase(), key, encoding, prefix: prefix.to_owned() }
    }

    /// What it signs with.
    pub(in crate::transport) fn key(&self) -> &Secret {
        &self.key
    }

    /// The value of the header.
    #[must_use]
    pub fn signature(&self, body: &[u8]) -> String {
        let mac = mac(&self.key, &[body]);
        let written = match self.encoding {
            Encoding::Hex => hex(&mac),
            Encoding::Base64 => STANDARD.encode(mac),
        };
        format!("{}{written}", self.prefix)
    }
}

pub(super) fn mac(key: &Secret, parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes a key of any length; an empty signature would be refused by whoever checks it.
    over(key, parts).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
}

/// Whether one of these is the HMAC by one of the keys, found out in a time that does not tell which, nor where the others differ. What is signed is read once for
/// each key, however many signatures there are.
pub(super) fn is_one_mac(keys: &[Secret], parts: &[&[u8]], written: &[Vec<u8>]) -> bool {
    let keys = keys.iter().filter(|key| !key.expose().is_empty());
    keys.filter_map(|key| over(key, parts)).fold(false, |known, mac| {
        let is_one = |known, one: &Vec<u8>| mac.clone().verify_slice(one).is_ok() | known;
        written.iter().take(SIGNATURES_MAX).fold(known, is_one)
    })
}

fn over(key: &Secret, parts: &[&[u8]]) -> Option<HmacSha256> {
    let mut mac = HmacSha256::new_from_slice(key.expose()).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_the_specification_is_signed_as_it_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let signing = Signing::standard_webhooks(std::slice::from_ref(&secret)).expect("a secret");
        let signature = signing.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into());
        let both = Signing::standard_webhooks(&[other, secret]).expect("secrets");
        let both = both.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(&signature), "{both}");
    }

    #[test]
    fn what_is_no_key_is_told_without_being_shown() {
        for text in ["whsec_short", "whsec_!!!!", "", "canary"] {
            let problem = Signing::standard_webhooks(&[Secret::new(text.into())]).map(|_| ()).expect_err(text);
            assert!(problem.contains("signing secret 1: expected whsec_") && !problem.contains("canary"), "{problem}");
        }
        assert!(Signing::standard_webhooks(&[]).is_err());
    }

    #[test]
    fn an_hmac_of_ones_own_shape_is_that_of_rfc_4231() {
        let hmac = |encoding| Hmac::new("X-Signature", Secret::new("Jefe".into()), encoding, "sha256=");
        let body = b"what do ya want for nothing?";
        let hex = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hmac(Encoding::Hex).signature(body), hex);
        assert_eq!(hmac(Encoding::Base64).signature(body), "sha256=W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    }
}
