//! Wrong tokens, passwords and codes, counted by the address that bears them, so that nobody guesses one.
//!
//! # What holds
//!
//! * Who is wrong five times within a minute waits, and so does everyone where very many are wrong.
//! * At most [`WRONG_MAX_ALL`] addresses are remembered.
//!
//! # What it does not know
//!
//! What was wrong, and who need not wait: that is `access`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::listen::neighbourhood;
use super::problem::Problem;

/// Wrong ones from one address within [`WINDOW`].
const WRONG_MAX: u32 = 5;
/// Wrong ones from all addresses within [`WINDOW`].
const WRONG_MAX_ALL: u32 = 100;
/// After so long it is forgotten that someone was wrong.
const WINDOW: Duration = Duration::from_secs(60);

/// By address, when the last minute with a wrong one began, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Guesses(RefCell<HashMap<IpAddr, (Instant, u32)>>);

impl Guesses {
    /// Lets one be tried, or says when to come again.
    pub(super) fn admit(&self, peer: IpAddr, now: Instant) -> Result<(), Problem> {
        let mut wrong = self.0.borrow_mut();
        wrong.retain(|_, (begun, _)| *begun + WINDOW > now);
        let all: u32 = wrong.values().map(|(_, count)| *count).sum();
        let here = wrong.get(&neighbourhood(peer));
        let ends = match here {
            Some((begun, count)) if *count >= WRONG_MAX => Some(*begun + WINDOW),
            Some(_) | None if all >= WRONG_MAX_ALL => wrong.values().map(|(begun, _)| *begun + WINDOW).min(),
            Some(_) | None => None,
        };
        ends.map_or(Ok(()), |ends| Err(Problem::too_many_guesses(ends.saturating_duration_since(now).as_secs() + 1)))
    }

    /// Counts a wrong one.
    pub(super) fn was_wrong(&self, peer: IpAddr, now: Instant) {
        self.0.borrow_mut().entry(neighbourhood(peer)).or_insert((now, 0)).1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn who_is_wrong_too_often_waits() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let (guesser, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        for _ in 0..WRONG_MAX {
            assert!(guesses.admit(guesser, now).is_ok());
            guesses.was_wrong(guesser, now);
        }
        let refused = guesses.admit(guesser, now).expect_err("too many").answer();
        assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
        assert!(guesses.admit(other, now).is_ok(), "another address");
        let mapped = |host| IpAddr::V6(Ipv4Addr::new(127, 0, 0, host).to_ipv6_mapped());
        assert!(guesses.admit(mapped(1), now).is_err() && guesses.admit(mapped(2), now).is_ok(), "as IPv6 writes them");
        assert!(guesses.admit(guesser, now + WINDOW).is_ok(), "a minute later");
        for number in 0..WRONG_MAX_ALL {
            guesses.was_wrong(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(guesses.admit(other, now).is_err(), "very many are wrong");
    }
}
