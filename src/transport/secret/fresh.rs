//! Fresh secrets, and what stands for one where only its bearer may know it.
//!
//! # What it does not know
//!
//! What they open.

use crate::model::chain::Link;
use crate::model::percent::hex;

/// So many random bytes are beyond guessing.
const FRESH_BYTES: usize = 32;

/// A new secret of 256 random bits, in hex.
///
/// # Errors
///
/// The system has no random numbers to give.
pub fn fresh() -> Result<String, String> {
    let mut bytes = [0_u8; FRESH_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(hex(&bytes))
}

/// The SHA-256 of the bytes: enough to recognise a secret by, too little to tell it.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Link::over(bytes).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_secrets_are_long_and_differ() {
        let (one, other) = (fresh().expect("random"), fresh().expect("random"));
        assert_eq!((one.len(), other.len()), (64, 64));
        assert_ne!(one, other);
        assert_ne!(digest(one.as_bytes()), digest(other.as_bytes()));
    }
}
