//! One-time codes: a link from the process itself that opens the console once, without a token.
//!
//! Only who holds the handle of the server can make one, so there is no call for it. The link bears it behind `#`, which no browser sends: it
//! stands in no log and no `Referer`.
//!
//! # What holds
//!
//! * A code is 256 random bits, opens once and within ten minutes, and ends with the process; only its digest is kept.
//! * There are at most [`CODES_MAX`] that nobody has used; the oldest makes room.
//!
//! # What it does not know
//!
//! Sessions, and what a role may do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Role;
use crate::transport::secret::{digest, fresh};

/// How long a code waits for its use.
const LIFE: Duration = Duration::from_secs(600);
/// Codes at once.
const CODES_MAX: usize = 64;

/// The codes that nobody has used yet, oldest first. Clones share them: the handle makes them, the server's thread takes them.
#[derive(Debug, Clone, Default)]
pub(super) struct Codes(Arc<Mutex<Vec<Code>>>);

#[derive(Debug)]
struct Code {
    digest: [u8; 32],
    name: String,
    role: Role,
    ends: Instant,
}

impl Codes {
    /// A new code for a session of this name and role.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub(super) fn make(&self, name: &str, role: Role, now: Instant) -> Result<String, String> {
        let code = fresh()?;
        let mut codes = self.unused(now);
        let surplus = (codes.len() + 1).saturating_sub(CODES_MAX);
        codes.drain(..surplus);
        codes.push(Code { digest: digest(code.as_bytes()), name: name.to_owned(), role, ends: now + LIFE });
        Ok(code)
    }

    /// Whose session this code opens; it opens no other.
    pub(super) fn take(&self, borne: &str, now: Instant) -> Option<(String, Role)> {
        let digest = digest(borne.as_bytes());
        let mut codes = self.unused(now);
        let at = codes.iter().position(|code| code.digest == digest)?;
        let code = codes.remove(at);
        Some((code.name, code.role))
    }

    fn unused(&self, now: Instant) -> MutexGuard<'_, Vec<Code>> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|code| code.ends > now);
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_opens_once_and_in_time() {
        let (codes, now) = (Codes::default(), Instant::now());
        let make = || codes.make("anna", Role::Viewer, now).expect("random");
        let (first, late) = (make(), make());
        assert_eq!(codes.take("", now), None);
        assert_eq!(codes.take(&first[1..], now), None);
        assert_eq!(codes.take(&first, now), Some(("anna".into(), Role::Viewer)));
        assert_eq!(codes.take(&first, now), None, "it was used");
        assert_eq!(codes.take(&late, now + LIFE), None, "it is too old");
    }

    #[test]
    fn the_oldest_code_makes_room() {
        let (codes, now) = (Codes::default(), Instant::now());
        let made: Vec<String> = (0..=CODES_MAX).map(|_| codes.make("a", Role::Viewer, now).expect("random")).collect();
        assert_eq!(codes.take(&made[0], now), None);
        assert!(made[1..].iter().all(|code| codes.take(code, now).is_some()));
    }
}
