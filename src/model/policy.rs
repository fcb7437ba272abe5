//! What an outcome means: delivered, try again and when, or give up and why.
//!
//! [`judge`] is the only place that decides it; what an HTTP status means is known by [`statuses`](super::statuses) alone.
//!
//! # What holds
//!
//! * A failed delivery is data ([`Failure`]), never an error of ours.
//! * A retry always has a time or a cycle; an end always has a reason.
//! * Chance is an argument: the same outcome, seed and moment give the same verdict.
//!
//! # What it does not know
//!
//! Who sent, over what, and where the verdict is written.

use serde::{Deserialize, Serialize};

pub use super::statuses::disposition;

use super::phases::Phases;
use super::state::{Abandoned, Failed};
use super::time::WallMs;

/// How an attempt ended, as the transport saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has the message.
    Delivered(Receipt),
    /// The attempt failed, or nobody can know.
    Failed(Failure),
}

/// What the destination said to a delivered message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The HTTP status, where the transport has one.
    pub status: Option<u16>,
    /// What the destination calls the thing now, where its answer was asked for it.
    pub remote_id: Option<String>,
    /// What was found, in words, where the message was there already and did not go now; empty otherwise.
    pub detail: String,
    /// What the time was spent on, where the transport makes requests.
    pub phases: Option<Phases>,
}

/// Why an attempt failed: kept whole with the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it was.
    pub class: Class,
    /// Whether the destination may have the message all the same.
    pub sent: Sent,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// What happened, in words, for the administrator.
    pub detail: String,
    /// The beginning of what the destination answered.
    pub excerpt: Option<String>,
    /// How long the destination asked to be left alone.
    pub retry_after_ms: Option<u64>,
    /// What the attempt uses up.
    pub cost: Cost,
    /// What the time was spent on, where the transport makes requests.
    pub phases: Option<Phases>,
}

/// How many of the attempts that a message gets an attempt uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Cost {
    /// Itself.
    #[default]
    One,
    /// None: nothing left but the question whether the message is there, and nobody was there to answer it.
    Free,
    /// All that are left: there shall be no other one.
    All,
}

/// The kinds of failure: stored, shown, counted and searched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// The name did not resolve.
    Dns,
    /// No connection: refused, unreachable, or not made in time.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// No complete answer within the deadline.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Protocol,
    /// The destination is overloaded: 429 or 503.
    RateLimited,
    /// The set-up looks broken: 401, 403, 404 or 405.
    Setup,
    /// The destination refused the message.
    Rejected,
    /// The destination failed: 5xx, 408 or 425.
    Server,
    /// A redirect, which is never followed.
    Redirect,
    /// The process died while the message was out.
    Interrupted,
    /// The transport panicked.
    Panic,
    /// A closure's or an unknown failure.
    Other,
    /// The destination says that it is gone for good: 410.
    Gone,
    /// The destination says that it has something else there, or the same already: 409.
    Conflict,
    /// The status says yes and the body says no.
    Body,
    /// A rule over the answer failed: what the answer means is not known.
    Rule,
    /// What should have left could not be made from the message.
    Template,
    /// No access token could be had; the destination was not asked.
    Auth,
}

/// Whether bytes of the message had left when the attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sent {
    /// Surely not: the destination cannot have the message.
    No,
    /// Some or all had, and no answer came: the destination may have it.
    Maybe,
    /// The destination answered, and its answer says no.
    Answered,
}

/// How an attempt ended, in the four words of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Delivery {
    /// The destination has it.
    Delivered,
    /// It does not have it; another attempt may change that.
    Retry,
    /// It refused, and another attempt would not change that.
    Rejected,
    /// Nobody can know.
    Uncertain,
}

/// What a destination's administrator decided about failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// When a failed message is tried again, and how often.
    pub retry: Retry,
    /// What a time-out after sending means here.
    pub on_uncertain: OnUncertain,
}

/// When a failed message is tried again, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The delay before each next attempt.
    pub backoff: Backoff,
    /// How much of each delay is left to chance, in thousandths: a delay `d` becomes one between `d * (1 - jitter)` and `d`.
    pub jitter_permille: u16,
    /// How many attempts a message gets since it was accepted or last resent. At least 1.
    pub attempts: u16,
}

/// The delay before each next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backoff {
    /// Doubles from `first_ms` after the first failure up to `max_ms`.
    Exponential {
        /// The delay after the first failure.
        first_ms: u64,
        /// The longest delay.
        max_ms: u64,
    },
    /// Always the same, in milliseconds.
    Fixed(u64),
    /// One after another, in milliseconds; the last repeats. Never empty.
    List(Vec<u64>),
    /// The destination's next sync cycle.
    NextCycle,
}

/// What happens to a message that may or may not have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUncertain {
    /// It is sent again, with the same id: for destinations that recognise a repetition.
    #[default]
    Retry,
    /// It waits for a person.
    Hold,
    /// The destination is asked whether it has it before it is sent again. Where no attempt is left and nobody knows, it waits for a person.
    Probe,
}

/// What shall become of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// It is tried again.
    Retry(Failed),
    /// It rests.
    GiveUp(Abandoned),
}

/// The attempts behind a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// How many attempts it has used up since it was accepted or last resent, this one included.
    pub attempts: u16,
    /// How many failed so far, those that used up nothing too: the delay grows with them.
    pub failures: u16,
    /// Where the jitter comes from; the message's id and attempt make a good one.
    pub seed: u64,
}

/// What shall become of a message after `outcome`.
#[must_use]
pub fn judge(outcome: &Outcome, tried: Tried, policy: &Policy, now: WallMs) -> Verdict {
    let failure = match outcome {
        Outcome::Delivered(_) => return Verdict::Delivered,
        Outcome::Failed(failure) => failure,
    };
    match failure.delivery() {
        Delivery::Delivered => Verdict::Delivered,
        Delivery::Rejected if failure.class == Class::Conflict && tried.attempts < 2 => {
            retry(failure, tried, policy, now)
        }
        Delivery::Rejected => Verdict::GiveUp(Abandoned::Rejected),
        Delivery::Uncertain => match policy.on_uncertain {
            OnUncertain::Retry => retry(failure, tried, policy, now),
            // What may be there is never given up: a person is asked.
            OnUncertain::Probe if tried.attempts >= policy.retry.attempts => Verdict::Retry(Failed::Held),
            OnUncertain::Probe => retry(failure, tried, policy, now),
            OnUncertain::Hold => Verdict::Retry(Failed::Held),
        },
        Delivery::Retry => retry(failure, tried, policy, now),
    }
}

fn retry(failure: &Failure, tried: Tried, policy: &Policy, now: WallMs) -> Verdict {
    // What our own stop cut off before it left says nothing of the destination: it is no message's last attempt.
    let is_cut_by_us = failure.class == Class::Interrupted && failure.sent == Sent::No;
    if tried.attempts >= policy.retry.attempts && !is_cut_by_us {
        return Verdict::GiveUp(Abandoned::Exhausted);
    }
    match policy.retry.delay_ms(tried) {
        Some(delay_ms) => {
            let asked_ms = failure.retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX);
            Verdict::Retry(Failed::Due(now.plus(delay_ms.max(asked_ms))))
        }
        None => Verdict::Retry(Failed::NextCycle),
    }
}

/// The longest time a destination may ask to be left alone: an hour.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

impl Retry {
    /// The delay after the attempts made so far, or `None` where the next cycle decides.
    #[must_use]
    pub fn delay_ms(&self, tried: Tried) -> Option<u64> {
        let failures_before = u32::from(tried.failures.saturating_sub(1));
        let whole_ms = match &self.backoff {
            Backoff::Exponential { first_ms, max_ms } => {
                first_ms.saturating_mul(1u64.checked_shl(failures_before.min(63)).unwrap_or(u64::MAX)).min(*max_ms)
            }
            Backoff::Fixed(delay_ms) => *delay_ms,
            Backoff::List(delays_ms) => {
                let position = usize::try_from(failures_before).unwrap_or(usize::MAX);
                delays_ms.get(position).or(delays_ms.last()).copied().unwrap_or(0)
            }
            Backoff::NextCycle => return None,
        };
        let spread_ms = u64::try_from(u128::from(whole_ms) * u128::from(self.jitter_permille.min(1000)) / 1000);
        let spread_ms = spread_ms.unwrap_or(whole_ms);
        let less_ms = if spread_ms == 0 { 0 } else { scatter(tried.seed) % spread_ms.saturating_add(1).max(1) };
        Some(whole_ms - less_ms)
    }
}

/// Spreads a seed over all 64 bits (the finaliser of SplitMix64, by Sebastiano Vigna, public domain).
#[must_use]
pub fn scatter(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Outcome {
    /// What the time was spent on, where the transport makes requests.
    #[must_use]
    pub fn phases(&self) -> Option<Phases> {
        match self {
            Outcome::Delivered(receipt) => receipt.phases,
            Outcome::Failed(failure) => failure.phases,
        }
    }

    /// The same outcome of a request whose time was spent so.
    #[must_use]
    pub fn over(self, phases: Option<Phases>) -> Outcome {
        match self {
            Outcome::Delivered(receipt) => Outcome::Delivered(Receipt { phases, ..receipt }),
            Outcome::Failed(failure) => Outcome::Failed(Failure { phases, ..failure }),
        }
    }
}

impl Failure {
    /// A failure of which only the class, the reach and the words are known.
    #[must_use]
    pub fn new(class: Class, sent: Sent, detail: impl Into<String>) -> Failure {
        let detail = detail.into();
        Failure {
            class,
            sent,
            status: None,
            detail,
            excerpt: None,
            retry_after_ms: None,
            cost: Cost::One,
            phases: None,
        }
    }

    /// How the attempt ended, in the four words of the interface. The class decides it, as a rule may have judged otherwise than the status
    /// would have it.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self.sent {
            Sent::Maybe => Delivery::Uncertain,
            Sent::No | Sent::Answered => self.class.delivery(),
        }
    }
}

impl Class {
    /// Every class, for lists and searches.
    pub const ALL: [Class; 19] = [
        Class::Dns,
        Class::Connect,
        Class::Tls,
        Class::Timeout,
        Class::Protocol,
        Class::RateLimited,
        Class::Setup,
        Class::Rejected,
        Class::Server,
        Class::Redirect,
        Class::Interrupted,
        Class::Panic,
        Class::Other,
        Class::Gone,
        Class::Conflict,
        Class::Body,
        Class::Rule,
        Class::Template,
        Class::Auth,
    ];

    /// Whether another attempt may change anything, where it is known that the destination does not have the message.
    #[must_use]
    pub fn delivery(self) -> Delivery {
        match self {
            Class::Rejected | Class::Gone | Class::Conflict | Class::Template => Delivery::Rejected,
            Class::Dns
            | Class::Connect
            | Class::Tls
            | Class::Timeout
            | Class::Protocol
            | Class::RateLimited
            | Class::Setup
            | Class::Server
            | Class::Redirect
            | Class::Interrupted
            | Class::Panic
            | Class::Other
            | Class::Body
            | Class::Rule
            | Class::Auth => Delivery::Retry,
        }
    }

    /// The class, as the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Dns => "dns",
            Class::Connect => "connect",
            Class::Tls => "tls",
            Class::Timeout => "timeout",
            Class::Protocol => "protocol",
            Class::RateLimited => "rate-limited",
            Class::Setup => "setup",
            Class::Rejected => "rejected",
            Class::Server => "server",
            Class::Redirect => "redirect",
            Class::Interrupted => "interrupted",
            Class::Panic => "panic",
            Class::Other => "other",
            Class::Gone => "gone",
            Class::Conflict => "conflict",
            Class::Body => "body",
            Class::Rule => "rule",
            Class::Template => "template",
            Class::Auth => "auth",
        }
    }
}

impl Sent {
    /// The word of the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Sent::No => "no",
            Sent::Maybe => "maybe",
            Sent::Answered => "answered",
        }
    }
}

impl Delivery {
    /// The word of the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Delivery::Delivered => "delivered",
            Delivery::Retry => "retry",
            Delivery::Rejected => "rejected",
            Delivery::Uncertain => "uncertain",
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { retry: Retry::default(), on_uncertain: OnUncertain::Retry }
    }
}

impl Default for Retry {
    /// Exponential from 2 s to 10 min with a fifth of jitter, 20 attempts: a little over two hours.
    fn default() -> Retry {
        Retry { backoff: Backoff::Exponential { first_ms: 2_000, max_ms: 600_000 }, jitter_permille: 200, attempts: 20 }
    }
}

#[cfg(test)]
mod tests;
