//! The first channel of alerts, a line in the log, and how an alert reads in one line.
//!
//! # What it does not know
//!
//! When something is told.

use super::alert::{
    Alert, Channel, DAMAGED, FULL, HAS_ROOM, INCIDENT, INCIDENT_AT_REST, INCIDENT_LASTS, LATE, RECOVERED, RULE,
    SOURCE_ASKS, SOURCE_FAILING, SOURCE_FORGETS, SOURCE_FORGOT, SOURCE_GAP, SOURCE_READ, SOURCE_REFUSED, SOURCE_WHOLE,
    TEST, WILL_BE_LATE,
};

/// The first channel: a line in the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogLine;

impl Channel for LogLine {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        log::warn!("{alert}");
        Ok(())
    }

    fn name(&self) -> String {
        "log".to_owned()
    }
}

impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Alert { destination, reason, messages, sample, detail, .. } = self;
        match sample {
            Some(sample) => {
                write!(f, "{messages} message(s) to {destination} undelivered: {reason}; first {sample}")?;
            }
            None if *reason == RULE => write!(f, "the rules of {destination} do not tell what it answered")?,
            None if *reason == LATE => write!(f, "{messages} message(s) to {destination} undelivered: late")?,
            None if *reason == WILL_BE_LATE => write!(f, "messages to {destination} will be late")?,
            None if matches!(*reason, INCIDENT | INCIDENT_AT_REST | INCIDENT_LASTS) => {
                write!(f, "deliveries to {destination} fail")?
            }
            None if *reason == RECOVERED => write!(f, "what failed at {destination} is over")?,
            None if *reason == TEST => write!(f, "a test: whoever reads this is told by goniec")?,
            None if *reason == DAMAGED => {
                write!(f, "{messages} part(s) of the registry cannot be read, and are not delivered")?;
            }
            None if *reason == FULL => write!(f, "the registry takes nothing new")?,
            None if *reason == HAS_ROOM => write!(f, "the registry takes messages again")?,
            None if *reason == SOURCE_ASKS => write!(f, "source {destination} asks before its first messages")?,
            None if *reason == SOURCE_FAILING => write!(f, "source {destination} cannot be read")?,
            None if *reason == SOURCE_READ => write!(f, "source {destination} is read again")?,
            None if *reason == SOURCE_FORGETS => write!(f, "source {destination} will forget what was not read")?,
            None if *reason == SOURCE_REFUSED => write!(f, "source {destination} has files that cannot be taken")?,
            None if *reason == SOURCE_GAP => write!(f, "the stream of source {destination} has a gap")?,
            None if *reason == SOURCE_WHOLE => write!(f, "the stream of source {destination} has no gap any more")?,
            None if *reason == SOURCE_FORGOT => write!(f, "source {destination} may have forgotten what was not read")?,
            None => write!(f, "destination {destination} is {reason}")?,
        }
        match detail {
            Some(detail) if !detail.is_empty() => write!(f, ": {}", detail.escape_debug()),
            Some(_) | None => Ok(()),
        }
    }
}
