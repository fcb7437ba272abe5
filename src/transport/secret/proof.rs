//! Whether what came is from somebody who knows the secret: signatures over the raw bytes as known senders write them, and credentials in the head.
//!
//! # What holds
//!
//! * Nothing of the body is read before its signature was found right, and the comparison takes the same time wherever the two differ.
//! * Every secret is tried, so that a sender can change to a new one while the old one is still in use.
//! * A signed time counts where there is one: what is older or newer than the tolerance is refused, however well it is signed.
//!
//! # What it does not know
//!
//! Sources, requests, and what becomes of what came.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::sign::is_one_mac;
use super::{Encoding, Secret, Signing};
use crate::model::WallMs;
use crate::model::percent::unhex;

/// How far a signed time may be from now, where nothing is said. Standard Webhooks and Stripe have the same.
const TOLERANCE_MS: u64 = 300_000;

/// Where Stripe writes its signatures.
const STRIPE: &str = "stripe-signature";

/// How a sender proves who it is.
#[derive(Debug)]
pub struct Proof {
    scheme: Scheme,
    tolerance_ms: u64,
}

/// What came, before anything of it is believed.
#[derive(Clone, Copy)]
pub struct Came<'a> {
    /// The headers by their names in lower case, without those that came twice.
    pub headers: &'a BTreeMap<String, String>,
    /// The body as it came.
    pub body: &'a [u8],
    /// The wall clock.
    pub now: WallMs,
}

/// Why something is not believed. None of it shows what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disproof {
    /// The header that proves it is not there.
    Unsigned(String),
    /// It is there and is not right.
    Wrong(String),
    /// It is right, and was signed so many seconds before or after now.
    OutOfTime(u64),
}

impl fmt::Display for Disproof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disproof::Unsigned(header) => write!(f, "the header {header} is missing, or there twice"),
            Disproof::Wrong(header) => write!(f, "what {header} says is not right for this body and the secret here"),
            Disproof::OutOfTime(seconds) => write!(f, "it was signed {seconds} seconds from now"),
        }
    }
}

#[derive(Debug)]
enum Scheme {
    None,
    Basic { user: String, passwords: Vec<Secret> },
    Bearer(Vec<Secret>),
    Mac { header: String, encoding: Encoding, prefix: String, time: Option<String>, keys: Vec<Secret> },
    Stripe(Vec<Secret>),
    StandardWebhooks(Signing),
}

impl<'a> Came<'a> {
    /// A header by its name in lower case.
    #[must_use]
    pub fn header(self, name: &str) -> Option<&'a str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Proof {
    /// Everybody is believed.
    #[must_use]
    pub fn none() -> Proof {
        Proof::by(Scheme::None)
    }

    /// HTTP Basic with this user and one of these passwords.
    #[must_use]
    pub fn basic(user: &str, passwords: Vec<Secret>) -> Proof {
        Proof::by(Scheme::Basic { user: user.to_owned(), passwords })
    }

    /// `Authorization: Bearer` and one of these tokens.
    #[must_use]
    pub fn bearer(tokens: Vec<Secret>) -> Proof {
        Proof::by(Scheme::Bearer(tokens))
    }

    /// HMAC-SHA256 over the body in this header, after `prefix`.
    #[must_use]
    pub fn hmac(header: &str, encoding: Encoding, prefix: &str, keys: Vec<Secret>) -> Proof {
        let (header, prefix) = (header.to_ascii_lowercase(), prefix.to_owned());
        Proof::by(Scheme::Mac { header, encoding, prefix, time: None, keys })
    }

    /// The signatures of Stripe: `stripe-signature: t=TIME,v1=HEX`, over the time, a dot and the body.
    #[must_use]
    pub fn stripe(keys: Vec<Secret>) -> Proof {
        Proof::by(Scheme::Stripe(keys))
    }

    /// Standard Webhooks.
    ///
    /// # Errors
    /// As [`Signing::standard_webhooks`].
    pub fn standard_webhooks(secrets: &[Secret]) -> Result<Proof, String> {
        Signing::standard_webhooks(secrets).map(|keys| Proof::by(Scheme::StandardWebhooks(keys)))
    }

    fn by(scheme: Scheme) -> Proof {
        Proof { scheme, tolerance_ms: TOLERANCE_MS }
    }

    /// What an HMAC signs is the text of this header, a dot, and the body.
    #[must_use]
    pub fn timed_by(mut self, header: &str) -> Proof {
        if let Scheme::Mac { time, .. } = &mut self.scheme {
            *time = Some(header.to_ascii_lowercase());
        }
        self
    }

    /// How far a signed time may be from now.
    #[must_use]
    pub fn within(mut self, tolerance_ms: u64) -> Proof {
        self.tolerance_ms = tolerance_ms;
        self
    }

    /// Whether anything is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self.scheme, Scheme::None)
    }

    /// Whether all that proves it stands in the head, so that it can be asked for before there is a body.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        match self.scheme {
            Scheme::Basic { .. } | Scheme::Bearer(_) => true,
            Scheme::None | Scheme::Mac { .. } | Scheme::Stripe(_) | Scheme::StandardWebhooks(_) => false,
        }
    }

    /// Whether a secret that is shown as it is, is so short that somebody who tries may find it. A signature shows none.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        match &self.scheme {
            Scheme::Basic { passwords: secrets, .. } | Scheme::Bearer(secrets) => {
                secrets.iter().any(Secret::is_guessable)
            }
            Scheme::None | Scheme::Mac { .. } | Scheme::Stripe(_) | Scheme::StandardWebhooks(_) => false,
        }
    }

    /// How it is asked for, as `www-authenticate` has it. Signatures of bodies have no registered name.
    #[must_use]
    pub fn challenge(&self) -> &'static str {
        match self.scheme {
            Scheme::Basic { .. } => "Basic realm=\"goniec\"",
            Scheme::Bearer(_) => "Bearer",
            Scheme::None | Scheme::Mac { .. } | Scheme::Stripe(_) | Scheme::StandardWebhooks(_) => "Signature",
        }
    }

    /// Whether what came is from somebody who knows the secret.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check(&self, came: Came<'_>) -> Result<(), Disproof> {
        match &self.scheme {
            Scheme::None => Ok(()),
            Scheme::Basic { user, passwords } => basic(user, passwords, came),
            Scheme::Bearer(tokens) => {
                let shown = after_scheme(needed(came, "authorization")?, "bearer");
                let is_known = shown.is_some_and(|shown| any(tokens, |token| token.is(shown.as_bytes())));
                believed(is_known, "authorization")
            }
            Scheme::Mac { header, encoding, prefix, time, keys } => {
                let signature = needed(came, header)?;
                let time = time.as_ref().map(|name| needed(came, name).map(|text| (name, text))).transpose()?;
                let signed = match time {
                    Some((_, time)) => vec![time.as_bytes(), b".", came.body],
                    None => vec![came.body],
                };
                let written = signature.trim().strip_prefix(prefix.as_str()).and_then(|text| decoded(text, *encoding));
                believed(is_one_mac(keys, &signed, &written.into_iter().collect::<Vec<_>>()), header)?;
                // What is no time could be the beginning of another body: a dot divides the two, and only that.
                let wrong = |name: &String| Disproof::Wrong(name.clone());
                let at_ms =
                    time.as_ref().map(|(name, text)| instant_ms(text).ok_or_else(|| wrong(name))).transpose()?;
                at_ms.map_or(Ok(()), |at_ms| self.in_time(at_ms, came.now))
            }
            Scheme::Stripe(keys) => self.stripe_signature(keys, came),
            Scheme::StandardWebhooks(keys) => self.standard_signature(keys, came),
        }
    }

    /// The time that a signature covers, as it is written. Whoever has no secret can change nothing of it, so together with the body it names what was signed.
    #[must_use]
    pub fn signed_time<'a>(&self, came: Came<'a>) -> Option<&'a str> {
        match &self.scheme {
            Scheme::None | Scheme::Basic { .. } | Scheme::Bearer(_) => None,
            Scheme::Mac { time, .. } => came.header(time.as_ref()?),
            Scheme::Stripe(_) => stripe_time(&stripe_pairs(came.header(STRIPE)?)),
            Scheme::StandardWebhooks(_) => webhook_header(came, "timestamp"),
        }
    }

    fn stripe_signature(&self, keys: &[Secret], came: Came<'_>) -> Result<(), Disproof> {
        let pairs = stripe_pairs(needed(came, STRIPE)?);
        let time = stripe_time(&pairs).unwrap_or_default();
        let signed = [time.as_bytes(), b".", came.body];
        let written: Vec<Vec<u8>> = pairs
            .iter()
            .filter(|(name, _)| *name == "v1")
            .filter_map(|(_, text)| decoded(text, Encoding::Hex))
            .collect();
        believed(is_one_mac(keys, &signed, &written), STRIPE)?;
        self.in_time(seconds_ms(time).ok_or_else(|| Disproof::Wrong(STRIPE.into()))?, came.now)
    }

    fn standard_signature(&self, keys: &Signing, came: Came<'_>) -> Result<(), Disproof> {
        let either = |name| webhook_header(came, name).ok_or_else(|| Disproof::Unsigned(format!("webhook-{name}")));
        let (signature, id, time) = (either("signature")?, either("id")?, either("timestamp")?);
        believed(keys.signed(id, time, came.body, signature), "webhook-signature")?;
        self.in_time(seconds_ms(time).ok_or_else(|| Disproof::Wrong("webhook-timestamp".into()))?, came.now)
    }

    fn in_time(&self, at_ms: u64, now: WallMs) -> Result<(), Disproof> {
        let off_ms = at_ms.abs_diff(now.0);
        if off_ms <= self.tolerance_ms { Ok(()) } else { Err(Disproof::OutOfTime(off_ms / 1_000)) }
    }
}

/// The pairs that Stripe writes, apart by commas.
fn stripe_pairs(header: &str) -> Vec<(&str, &str)> {
    header.split(',').filter_map(|pair| pair.trim().split_once('=')).collect()
}

fn stripe_time<'a>(pairs: &[(&str, &'a str)]) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| *name == "t").map(|(_, time)| *time)
}

/// A header of Standard Webhooks by its last word. Svix is where the standard comes from, and its libraries still write its name.
#[must_use]
pub fn webhook_header<'a>(came: Came<'a>, name: &str) -> Option<&'a str> {
    came.header(&format!("webhook-{name}")).or_else(|| came.header(&format!("svix-{name}")))
}

fn basic(user: &str, passwords: &[Secret], came: Came<'_>) -> Result<(), Disproof> {
    let shown = after_scheme(needed(came, "authorization")?, "basic").and_then(|text| STANDARD.decode(text).ok());
    let shown = shown.unwrap_or_default();
    let cut = shown.iter().position(|byte| *byte == b':').unwrap_or(shown.len());
    let (name, password) = shown.split_at(cut);
    let password = password.strip_prefix(b":").unwrap_or_default();
    let is_user = Secret::new(user.to_owned()).is(name);
    believed(any(passwords, |known| known.is(password)) & is_user, "authorization")
}

/// What follows the name of a scheme in `authorization`.
fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = value.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn needed<'a>(came: Came<'a>, header: &str) -> Result<&'a str, Disproof> {
    came.header(header).ok_or_else(|| Disproof::Unsigned(header.to_owned()))
}

fn believed(is_right: bool, header: &str) -> Result<(), Disproof> {
    if is_right { Ok(()) } else { Err(Disproof::Wrong(header.to_owned())) }
}

/// Whether it holds for one of them. All are tried, so that the time does not tell which.
fn any(secrets: &[Secret], holds: impl Fn(&Secret) -> bool) -> bool {
    secrets.iter().fold(false, |known, secret| holds(secret) | known)
}

fn decoded(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Hex => unhex(text),
    }
}

fn seconds_ms(text: &str) -> Option<u64> {
    text.parse::<u64>().ok()?.checked_mul(1_000)
}

/// A time that a sender wrote in seconds, milliseconds or as RFC 3339.
fn instant_ms(text: &str) -> Option<u64> {
    match text.parse::<u64>() {
        Ok(ms) if ms > 100_000_000_000 => Some(ms),
        Ok(seconds) => seconds.checked_mul(1_000),
        Err(_) => text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sign::mac;
    use super::*;

    const NOW: WallMs = WallMs(1_795_435_200_000);
    const BODY: &[u8] = br#"{"id":17}"#;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    fn hex(key: &str, parts: &[&[u8]]) -> String {
        crate::model::percent::hex(&mac(&Secret::new(key.into()), parts))
    }

    fn base64(key: &str, parts: &[&[u8]]) -> String {
        STANDARD.encode(mac(&Secret::new(key.into()), parts))
    }

    fn check(proof: &Proof, headers: &[(&str, &str)], body: &[u8], now: WallMs) -> Result<(), Disproof> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        proof.check(Came { headers: &headers, body, now })
    }

    #[test]
    fn the_time_that_is_signed_is_told_as_it_is_written() {
        let hmac = || Proof::hmac("x-signed", Encoding::Hex, "", secrets(&["k"]));
        let headers = [("x-time", "17"), ("stripe-signature", "v1=00, t=18,t=19"), ("svix-timestamp", "20")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let came = Came { headers: &headers, body: BODY, now: NOW };
        let standard = Proof::standard_webhooks(&secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])).expect("a key");
        for (proof, told) in [
            (Proof::none(), None),
            (Proof::bearer(secrets(&["k"])), None),
            (hmac(), None),
            (hmac().timed_by("X-Time"), Some("17")),
            (Proof::stripe(secrets(&["k"])), Some("18")),
            (standard, Some("20")),
        ] {
            assert_eq!(proof.signed_time(came), told, "{proof:?}");
        }
    }

    #[test]
    fn every_scheme_takes_what_is_right_and_nothing_else() {
        let time = (NOW.0 / 1_000).to_string();
        let timed = [time.as_bytes(), b".".as_slice(), BODY];
        let keys = || secrets(&["new", "old"]);
        for key in ["new", "old"] {
            let (plain, plain_hex) = (base64(key, &[BODY]), hex(key, &[BODY]));
            let (dotted, dotted_hex) = (base64(key, &timed), hex(key, &timed));
            let (user, others) = (STANDARD.encode(format!("woo:{key}")), "v1=00,v1=");
            // How it is proved, what the headers hold besides it, and the part that proves it.
            for (proof, header, before, proving) in [
                (
                    Proof::hmac("X-WC-Webhook-Signature", Encoding::Base64, "", keys()),
                    "x-wc-webhook-signature",
                    "",
                    &plain,
                ),
                (
                    Proof::hmac("x-hub-signature-256", Encoding::Hex, "sha256=", keys()),
                    "x-hub-signature-256",
                    "sha256=",
                    &plain_hex,
                ),
                (
                    Proof::hmac("x-inpost-signature", Encoding::Base64, "", keys()).timed_by("X-Time"),
                    "x-inpost-signature",
                    "",
                    &dotted,
                ),
                (Proof::stripe(keys()), "stripe-signature", &*format!("t={time},{others}"), &dotted_hex),
                (Proof::basic("woo", keys()), "authorization", "Basic ", &user),
                (Proof::bearer(keys()), "authorization", "bearer ", &key.to_owned()),
            ] {
                let verdict = |proving: &str, body| {
                    let value = format!("{before}{proving}");
                    check(&proof, &[(header, &value), ("x-time", &time)], body, NOW)
                };
                assert_eq!(verdict(proving, BODY), Ok(()), "{proof:?}");
                assert_eq!(check(&proof, &[("x-time", &time)], BODY, NOW), Err(Disproof::Unsigned(header.into())));
                let wrong = Err(Disproof::Wrong(header.into()));
                if header != "authorization" {
                    assert_eq!(verdict(proving, br#"{"id":18}"#), wrong, "{proof:?}: another body");
                }
                for at in 0..proving.len() {
                    let mut changed = proving.clone();
                    changed.replace_range(at..=at, if proving[at..].starts_with('0') { "1" } else { "0" });
                    assert_eq!(verdict(&changed, BODY), wrong, "{proof:?}: {changed}");
                    assert_eq!(verdict(&proving[..at], BODY), wrong, "{proof:?}: cut");
                }
            }
        }
    }

    #[test]
    fn standard_webhooks_are_believed_under_both_names() {
        let time = (NOW.0 / 1_000).to_string();
        let whsec = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
        let proof = Proof::standard_webhooks(&secrets(&whsec)).expect("keys");
        for (key, prefix) in [(whsec[0], "webhook"), (whsec[1], "webhook"), (whsec[0], "svix")] {
            let signing = Signing::standard_webhooks(&secrets(&[key])).expect("a key");
            let signature = format!("v1a,AAAA {} v1,AAAA", signing.signature("msg_1", NOW.0 / 1_000, BODY));
            let names = ["id", "timestamp", "signature"].map(|name| format!("{prefix}-{name}"));
            let verdict = |id, time: &str, body, now| {
                check(&proof, &[(&names[0], id), (&names[1], time), (&names[2], &signature)], body, now)
            };
            let wrong = Err(Disproof::Wrong("webhook-signature".into()));
            assert_eq!(verdict("msg_1", &time, BODY, NOW), Ok(()));
            assert_eq!(verdict("msg_2", &time, BODY, NOW), wrong, "another id");
            assert_eq!(verdict("msg_1", "1795435201", BODY, NOW), wrong, "another time");
            assert_eq!(verdict("msg_1", &time, b"{}", NOW), wrong, "another body");
            let early = WallMs(NOW.0 - TOLERANCE_MS - 1_000);
            assert_eq!(verdict("msg_1", &time, BODY, early), Err(Disproof::OutOfTime(301)));
        }
        assert_eq!(check(&proof, &[], BODY, NOW), Err(Disproof::Unsigned("webhook-signature".into())));
    }

    #[test]
    fn a_signed_time_counts_to_the_second_and_both_ways() {
        let time = (NOW.0 / 1_000).to_string();
        let signature = format!("t={time},v1={}", hex("k", &[time.as_bytes(), b".", BODY]));
        let proof = Proof::stripe(secrets(&["k"])).within(60_000);
        let at = |now| check(&proof, &[("stripe-signature", &signature)], BODY, WallMs(now));
        assert_eq!([at(NOW.0 + 60_000), at(NOW.0 - 60_000)], [Ok(()), Ok(())]);
        assert_eq!(at(NOW.0 + 61_000), Err(Disproof::OutOfTime(61)));
        assert_eq!(at(NOW.0 - 61_000), Err(Disproof::OutOfTime(61)));
        let other = format!("t=1,v1={}", hex("k", &[time.as_bytes(), b".", BODY]));
        assert!(matches!(check(&proof, &[("stripe-signature", &other)], BODY, NOW), Err(Disproof::Wrong(_))));
    }

    #[test]
    fn no_part_of_a_body_passes_for_its_time() {
        let time = (NOW.0 / 1_000).to_string();
        let signature = base64("k", &[time.as_bytes(), b".", br#"{"net":12.50}"#]);
        let proof = Proof::hmac("x-sign", Encoding::Base64, "", secrets(&["k"])).timed_by("x-time");
        let at = |time: &str, body| check(&proof, &[("x-sign", &signature), ("x-time", time)], body, NOW);
        assert_eq!(at(&time, br#"{"net":12.50}"#), Ok(()));
        // The same bytes are signed, and divided at another dot.
        assert_eq!(at(&format!("{time}.{{\"net\":12"), b"50}"), Err(Disproof::Wrong("x-time".into())));
    }

    #[test]
    fn very_many_signatures_are_not_all_looked_at() {
        let time = (NOW.0 / 1_000).to_string();
        let right = hex("k", &[time.as_bytes(), b".", BODY]);
        let proof = Proof::stripe(secrets(&["k"]));
        let after = |count: usize| {
            let signature = format!("t={time}{},v1={right}", ",v1=00".repeat(count));
            check(&proof, &[("stripe-signature", &signature)], BODY, NOW)
        };
        assert_eq!((after(15), after(16)), (Ok(()), Err(Disproof::Wrong("stripe-signature".into()))));
    }

    #[test]
    fn nothing_is_believed_without_a_secret() {
        for proof in [
            Proof::bearer(Vec::new()),
            Proof::basic("", Vec::new()),
            Proof::hmac("x", Encoding::Hex, "", Vec::new()),
            Proof::stripe(Vec::new()),
        ] {
            let headers = [("authorization", "Bearer "), ("x", ""), ("stripe-signature", "t=1,v1=")];
            assert!(check(&proof, &headers, BODY, NOW).is_err(), "{proof:?}");
        }
        assert_eq!(check(&Proof::none(), &[], BODY, NOW), Ok(()));
    }
}
