//! The rules of alerts with how their channels stand: whether a person can be told at all.
//!
//! # What holds
//!
//! * Whoever tells by a rule, the alerter or a person who tries it, leaves here what came of it.
//! * It is known since the start only: that something is untold is durable, that a channel failed is not.
//!
//! # What it does not know
//!
//! What is told, and when again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::alert::{Alert, TEST};
use super::rule::{Kind, Rule};
use crate::model::WallMs;

/// How the channel of a rule stands, as it was last used since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// When it last told somebody.
    pub last_told_at: Option<WallMs>,
    /// Since when it has failed every time; `None` where it did not fail last.
    pub failing_since: Option<WallMs>,
    /// Why it last failed, also where it works again.
    pub last_error: Option<String>,
}

/// A rule of alerts, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleShown {
    /// Its number, from 1 in the order in which the rules were given.
    pub number: usize,
    /// What it tells; everything where empty.
    pub kinds: Vec<Kind>,
    /// Of which destinations; of all where empty.
    pub destinations: Vec<Arc<str>>,
    /// What its channel is called.
    pub channel: String,
    /// No second alert of one cause within so many milliseconds.
    pub digest_ms: u64,
    /// When it is quiet, as it was written; never where empty.
    pub quiet: Vec<String>,
    /// What it tells all the same.
    pub quiet_except: Vec<Kind>,
    /// Until when it is quiet now; `None` where it is not.
    pub quiet_until: Option<WallMs>,
    /// How its channel stands.
    pub state: ChannelState,
}

/// The rules, shared by the alerter and whoever asks.
pub(super) struct Rules {
    rules: Vec<Rule>,
    channels: Mutex<Vec<ChannelState>>,
}

impl Rules {
    pub(super) fn new(rules: Vec<Rule>) -> Arc<Rules> {
        let channels = Mutex::new(vec![ChannelState::default(); rules.len()]);
        Arc::new(Rules { rules, channels })
    }

    pub(super) fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// Tells it by the channel of the rule in this position.
    ///
    /// # Errors
    /// Why nobody has been told.
    pub(super) fn tell(&self, position: usize, alert: &Alert, now: WallMs) -> Result<(), String> {
        let Some(rule) = self.rules.get(position) else { return Ok(()) };
        let told = rule.channel.tell(alert);
        if let Some(state) = self.channels().get_mut(position) {
            match &told {
                Ok(()) => {
                    state.last_told_at = Some(now);
                    state.failing_since = None;
                }
                Err(why) => {
                    state.failing_since.get_or_insert(now);
                    state.last_error = Some(why.clone());
                }
            }
        }
        told
    }

    /// Tells that this is a test, by the rule of this number; `None` where there is none.
    pub(super) fn test(&self, number: usize, now: WallMs) -> Option<Result<(), String>> {
        let position = number.checked_sub(1).filter(|position| *position < self.rules.len())?;
        let alert = Alert {
            destination: Arc::from("*"),
            reason: TEST,
            messages: 0,
            sample: None,
            sample_key: None,
            detail: None,
            since: now,
        };
        Some(self.tell(position, &alert, now))
    }

    pub(super) fn shown(&self, now: WallMs) -> Vec<RuleShown> {
        let channels = self.channels().clone();
        let numbered = self.rules.iter().zip(channels).enumerate();
        numbered
            .map(|(position, (rule, state))| RuleShown {
                number: position + 1,
                kinds: rule.kinds.clone(),
                destinations: rule.destinations.clone(),
                channel: rule.channel.name(),
                digest_ms: rule.digest_ms,
                quiet: rule.hours.closed.iter().map(ToString::to_string).collect(),
                quiet_except: rule.quiet_except.clone(),
                quiet_until: rule.hours.opens_at(now),
                state,
            })
            .collect()
    }

    fn channels(&self) -> MutexGuard<'_, Vec<ChannelState>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
