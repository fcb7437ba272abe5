//! What an attempt spent its time on: the phases of its request, one after the other.
//!
//! Of most deliveries nothing else is kept than where they stand, in a row of fixed size. So a time has eleven bits: a tenth of a millisecond
//! exactly where it is short, and to within two per cent where it is long, never more than it was.
//!
//! # What holds
//!
//! * A phase that did not happen is absent, which is not the same as one that took no time.
//! * Together the phases take no longer than the attempt.
//! * Whatever the bytes, reading them gives times and never panics.
//!
//! # What it does not know
//!
//! Clocks, sockets, and which request it was.

use serde::{Deserialize, Serialize};

/// What a request is busy with, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Finding the address.
    Dns,
    /// Making the connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Handing the request over, its head and its body.
    Send,
    /// Waiting for the first byte of the answer.
    Wait,
    /// Receiving the rest of it.
    Receive,
}

/// How long each phase of a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// The request went over a connection that was there already.
    pub is_reused: bool,
    took: [Took; Phase::ALL.len()],
}

/// A time: 0 where there is none, else one more than its code. A code below 128 is that many tenths of a millisecond; above, its upper bits say how
/// often seven bits are doubled, of which the first is always set and left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Took(u16);

const MANTISSA_BITS: u32 = 6;
/// The code of the longest time that is kept: about five days.
const CODE_MAX: u16 = 26 << MANTISSA_BITS | 63;

impl Phase {
    /// All of them, in the order in which they happen.
    pub const ALL: [Phase; 6] = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::Send, Phase::Wait, Phase::Receive];

    /// Its name, as the interface has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Send => "send",
            Phase::Wait => "wait",
            Phase::Receive => "receive",
        }
    }

    fn index(self) -> usize {
        match self {
            Phase::Dns => 0,
            Phase::Connect => 1,
            Phase::Tls => 2,
            Phase::Send => 3,
            Phase::Wait => 4,
            Phase::Receive => 5,
        }
    }
}

impl Phases {
    /// Notes how long a phase took.
    pub fn note(&mut self, phase: Phase, took_us: u64) {
        if let Some(took) = self.took.get_mut(phase.index()) {
            *took = Took::of(took_us / 100);
        }
    }

    /// How long a phase took, in tenths of a millisecond; `None` where it did not happen.
    #[must_use]
    pub fn tenths(&self, phase: Phase) -> Option<u32> {
        self.took.get(phase.index()).and_then(|took| took.tenths())
    }

    /// How long a phase took, in milliseconds; `None` where it did not happen.
    #[must_use]
    pub fn ms(&self, phase: Phase) -> Option<f64> {
        self.tenths(phase).map(|tenths| f64::from(tenths) / 10.0)
    }

    /// The phase that happened last: where nothing was answered, the one in which the attempt failed. `None` where none happened.
    #[must_use]
    pub fn last(&self) -> Option<Phase> {
        Phase::ALL.into_iter().rev().find(|phase| self.tenths(*phase).is_some())
    }

    /// Those of a request over a kept connection that was answered within minutes, as four bytes, of which not all are zero. What else there is
    /// does not fit: `None`.
    #[must_use]
    pub fn pack(&self) -> Option<[u8; 4]> {
        let [Took(0), Took(0), Took(0), answered @ ..] = self.took else { return None };
        let fits = self.is_reused && answered.iter().all(|took| (1..1 << PACKED_BITS).contains(&took.0));
        let packed = answered.iter().fold(0, |packed, took| packed << PACKED_BITS | u32::from(took.0));
        fits.then(|| packed.to_be_bytes())
    }

    /// What [`Phases::pack`] made into these bytes; `None` of zeros.
    #[must_use]
    pub fn unpack(bytes: [u8; 4]) -> Option<Phases> {
        let packed = u32::from_be_bytes(bytes);
        let took = |position: u32| {
            Took(u16::try_from(packed >> (position * PACKED_BITS) & ((1 << PACKED_BITS) - 1)).unwrap_or_default())
        };
        let none = Took::default();
        (packed != 0).then(|| Phases { is_reused: true, took: [none, none, none, took(2), took(1), took(0)] })
    }
}

/// The bits of a packed time: enough for three minutes.
const PACKED_BITS: u32 = 10;

impl Took {
    fn of(tenths: u64) -> Took {
        let doubled = tenths.checked_ilog2().unwrap_or(0).saturating_sub(MANTISSA_BITS);
        let code = u64::from(doubled << MANTISSA_BITS).saturating_add(tenths >> doubled);
        Took(u16::try_from(code).unwrap_or(CODE_MAX).min(CODE_MAX) + 1)
    }

    fn tenths(self) -> Option<u32> {
        let code = u32::from(self.0.checked_sub(1)?.min(CODE_MAX));
        let doubled = (code >> MANTISSA_BITS).saturating_sub(1);
        Some((code - (doubled << MANTISSA_BITS)) << doubled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn over_a_kept_connection(send_us: u64, wait_us: u64, receive_us: u64) -> Phases {
        let mut phases = Phases { is_reused: true, ..Phases::default() };
        phases.note(Phase::Send, send_us);
        phases.note(Phase::Wait, wait_us);
        phases.note(Phase::Receive, receive_us);
        phases
    }

    proptest! {
        #[test]
        fn a_time_is_kept_to_within_two_per_cent_and_never_too_long(took_us in 0..1_u64 << 38, shift in 0_u32..40) {
            let tenths = (took_us >> shift) / 100;
            let mut phases = Phases::default();
            phases.note(Phase::Wait, took_us >> shift);
            let kept = u64::from(phases.tenths(Phase::Wait).expect("it happened"));
            prop_assert!(kept <= tenths && tenths - kept <= tenths / 64, "{tenths} is kept as {kept}");
        }

        #[test]
        fn any_bytes_give_times(code: u16, packed: [u8; 4]) {
            let _ = Took(code).tenths();
            let unpacked = Phases::unpack(packed);
            prop_assert_eq!(unpacked.is_none(), packed == [0; 4]);
        }
    }

    #[test]
    fn the_longest_time_is_kept_as_five_days() {
        let mut phases = Phases::default();
        phases.note(Phase::Receive, u64::MAX);
        assert!(phases.ms(Phase::Receive).expect("it happened") > 4.9 * 86_400_000.0);
    }

    #[test]
    fn the_usual_delivery_takes_four_bytes_and_anything_else_does_not_fit() {
        let usual = over_a_kept_connection(40, 4_800_000, 999);
        let bytes = usual.pack().expect("it fits");
        assert_eq!(Phases::unpack(bytes), Some(usual));
        let at_once = over_a_kept_connection(0, 0, 0);
        assert_eq!(at_once.pack().and_then(Phases::unpack), Some(at_once), "no time at all is not nothing");
        let mut looked_up = usual;
        looked_up.note(Phase::Dns, 0);
        let mut cut = Phases { is_reused: true, ..Phases::default() };
        cut.note(Phase::Send, 10);
        for other in [Phases { is_reused: false, ..usual }, looked_up, cut, over_a_kept_connection(0, 300_000_000, 0)] {
            assert_eq!(other.pack(), None, "{other:?}");
        }
        assert_eq!(
            (usual.last(), cut.last(), Phases::default().last()),
            (Some(Phase::Receive), Some(Phase::Send), None)
        );
    }
}
