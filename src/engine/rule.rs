//! A rule of alerts: who is told of what, by which way, and when he wants to be left alone.
//!
//! # What holds
//!
//! * A rule that names nothing tells everything but incidents.
//! * What comes up in its quiet hours is none the less its own: it is told later, not never.
//!
//! # What it does not know
//!
//! What has been told.

use std::sync::Arc;

use super::alert::{
    ACTIVE, ANSWERING, Cause, Channel, DAMAGED, FAILING, FULL, HAS_ROOM, IN_SYNC, INCIDENT, INCIDENT_AT_REST,
    INCIDENT_LASTS, LATE, ON_TIME, OUT_OF_SYNC, PAUSED, RECOVERED, RESUMED, SILENT, SOURCE_ASKS, SOURCE_FAILING,
    SOURCE_FORGETS, SOURCE_FORGOT, SOURCE_GAP, SOURCE_READ, SOURCE_REFUSED, SOURCE_WHOLE, UNREAD, WILL_BE_LATE,
};
use crate::model::WallMs;
use crate::model::timetable::Hours;

/// What a person can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Messages that came to rest undelivered, those that wait for a person, rules that fail, and what cannot be read and so is not delivered.
    Abandoned,
    /// Messages that wait longer than their destination's `late_after`, that some will, and that none does or will any more.
    Late,
    /// Destinations to which nothing came or went for long, and that something does again.
    Silent,
    /// Destinations that are paused, and that go on.
    Paused,
    /// Destinations that fail and are left alone by their breaker, and that answer again.
    Breaker,
    /// What cannot be read and so is not delivered, alone.
    Damaged,
    /// That nothing new is taken for want of room, and that it is again.
    Disk,
    /// Failures of a destination with one cause that do not heal by themselves, and that they are over.
    Incident,
    /// Sources that cannot be read, ask, or forget what was not read, and that are read again; files of theirs that cannot be taken.
    Source,
    /// Destinations that lack what was delivered to them, and that they have it again.
    Reconcile,
}

/// Who is to be told of what.
pub struct Rule {
    /// Only of these destinations; of all where empty.
    pub destinations: Vec<Arc<str>>,
    /// Only of this; of everything but incidents where empty.
    pub kinds: Vec<Kind>,
    /// The way to tell.
    pub channel: Arc<dyn Channel>,
    /// No second alert of one cause within so many milliseconds.
    pub digest_ms: u64,
    /// While these are closed nothing is told: it is told when they open.
    pub hours: Hours,
    /// What is told at any hour.
    pub quiet_except: Vec<Kind>,
}

impl Rule {
    /// A rule that tells everything of all destinations at any hour, a cause once in so many milliseconds.
    pub fn all(channel: impl Channel, digest_ms: u64) -> Rule {
        Rule {
            destinations: Vec::new(),
            kinds: Vec::new(),
            channel: Arc::new(channel),
            digest_ms,
            hours: Hours::default(),
            quiet_except: Vec::new(),
        }
    }

    fn hears(&self, kind: Kind) -> bool {
        // An incident tells of the same failures once more, from another side: only who asks for that hears it.
        (self.kinds.is_empty() && kind != Kind::Incident) || self.kinds.iter().any(|own| own.covers(kind))
    }

    /// Whether everything is kept for later at this time.
    pub(super) fn is_silent(&self, now: WallMs) -> bool {
        self.quiet_except.is_empty() && !self.hours.is_open(now)
    }

    /// Whether what has this reason is kept for later at this time.
    pub(super) fn is_quiet_about(&self, reason: &str, now: WallMs) -> bool {
        let kind = Kind::of(reason);
        !self.hours.is_open(now) && !self.quiet_except.iter().any(|own| own.covers(kind))
    }

    /// Whether it tells of this. The registry itself is everyone's, whatever its destinations, and so are sources, which are none.
    pub(super) fn concerns(&self, (destination, reason): &Cause) -> bool {
        let kind = Kind::of(reason);
        // The messages that came to rest are told themselves where they are heard of.
        let is_told_already = match *reason {
            INCIDENT_AT_REST => self.hears(Kind::Abandoned),
            INCIDENT_LASTS => !self.hears(Kind::Abandoned),
            _ => false,
        };
        if is_told_already {
            return false;
        }
        let is_of = || self.destinations.is_empty() || self.destinations.contains(destination);
        self.hears(kind) && (matches!(kind, Kind::Damaged | Kind::Disk | Kind::Source) || is_of())
    }
}

impl Kind {
    /// Every kind, with its name.
    const NAMES: [(Kind, &str); 10] = [
        (Kind::Abandoned, "abandoned"),
        (Kind::Late, "late"),
        (Kind::Silent, "silent"),
        (Kind::Paused, "paused"),
        (Kind::Breaker, "breaker"),
        (Kind::Damaged, "damaged"),
        (Kind::Disk, "disk"),
        (Kind::Incident, "incident"),
        (Kind::Source, "source"),
        (Kind::Reconcile, "reconcile"),
    ];

    /// Whether who asks for this asks for that one too.
    fn covers(self, kind: Kind) -> bool {
        self == kind || (self == Kind::Abandoned && kind == Kind::Damaged)
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        Kind::NAMES.into_iter().find(|(_, known)| *known == name).map(|(kind, _)| kind)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Kind::NAMES.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// What a reason belongs to.
    pub(super) fn of(reason: &str) -> Kind {
        match reason {
            LATE | WILL_BE_LATE | ON_TIME => Kind::Late,
            SILENT | ACTIVE => Kind::Silent,
            PAUSED | RESUMED => Kind::Paused,
            FAILING | ANSWERING => Kind::Breaker,
            DAMAGED => Kind::Damaged,
            FULL | HAS_ROOM => Kind::Disk,
            OUT_OF_SYNC | IN_SYNC | UNREAD => Kind::Reconcile,
            INCIDENT | INCIDENT_AT_REST | INCIDENT_LASTS | RECOVERED => Kind::Incident,
            SOURCE_ASKS | SOURCE_FAILING | SOURCE_READ | SOURCE_FORGETS | SOURCE_FORGOT => Kind::Source,
            SOURCE_REFUSED | SOURCE_GAP | SOURCE_WHOLE => Kind::Source,
            _ => Kind::Abandoned,
        }
    }

    /// Whether there may be several of one destination at a time.
    pub(super) fn is_of_many(self) -> bool {
        matches!(self, Kind::Damaged | Kind::Incident | Kind::Source)
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("channel", &self.channel.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_line::LogLine;
    use super::*;

    #[test]
    fn who_asks_for_what_rests_asks_for_damage_too_by_day_and_by_night() {
        let closed = vec!["00:00-23:59 UTC".parse().expect("hours")];
        let rule = |kinds: &[Kind]| Rule {
            kinds: kinds.to_vec(),
            hours: Hours { open: None, closed: closed.clone() },
            quiet_except: kinds.to_vec(),
            ..Rule::all(LogLine, 0)
        };
        let noon = WallMs(1_795_435_200_000);
        let heard = |kinds: &[Kind], reason| {
            let rule = rule(kinds);
            rule.concerns(&(Arc::from("erp"), reason)) && !rule.is_quiet_about(reason, noon)
        };
        assert!(heard(&[Kind::Abandoned], DAMAGED) && heard(&[Kind::Damaged], DAMAGED));
        assert!(!heard(&[Kind::Paused], DAMAGED) && !heard(&[Kind::Damaged], "rejected"));
        assert!(rule(&[Kind::Paused]).is_quiet_about(DAMAGED, noon));
    }
}
