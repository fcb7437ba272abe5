//! Cron lines of five fields in a time zone, searched by `croner` over the calendar of `jiff`.
//!
//! # What it does not know
//!
//! The clock, and what starts then.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ZonedDateTime};

use super::time::WallMs;
use super::zone::{local, parse_zone, wall};

/// A cron line in its zone.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    line: croner::Cron,
    zone: TimeZone,
}

impl Cron {
    /// The first time after `now` that the line means; `None` where the calendar ends before.
    #[must_use]
    pub fn next_after(&self, now: WallMs) -> Option<WallMs> {
        let next = self.line.find_next_occurrence(&Local(local(now, &self.zone)?), false).ok()?;
        wall(&next.0).filter(|start| *start > now)
    }
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Cron, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (line, zone) = match fields.as_slice() {
            [line @ .., zone] if line.len() == 5 => (line.join(" "), parse_zone(zone)?),
            line if line.len() == 5 => (line.join(" "), TimeZone::UTC),
            _ => return Err(format!("{text:?} is no timetable; write `every 15m`, or five cron fields and a zone")),
        };
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let read = parser.parse(&line).map_err(|wrong| format!("{line:?} is no cron line: {wrong}"))?;
        Ok(Cron { text: fields.join(" "), line: read, zone })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        self.text == other.text
    }
}

/// What the clocks of a zone show, as `croner` searches it.
#[derive(Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let part = |value: i8| u32::from(value.unsigned_abs());
        let (date, time) = (self.0.date(), self.0.time());
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(date.year()), part(date.month()), part(date.day())),
            CivilTime::from_parts_unchecked(part(time.hour()), part(time.minute()), part(time.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::from(self.0.weekday().to_sunday_zero_offset().unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Local>, CronError> {
        let at = self.0.time_zone().to_ambiguous_zoned_datetime(datetime(civil).ok_or(CronError::InvalidDate)?);
        let beyond = |_| CronError::InvalidTime;
        Ok(match at.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(Local(at.unambiguous().map_err(beyond)?)),
            AmbiguousOffset::Fold { .. } => {
                let earlier = at.clone().earlier().map_err(beyond)?;
                Resolution::Ambiguous(Local(earlier), Local(at.later().map_err(beyond)?))
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Local> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Local)
    }

    fn cmp_instant(&self, other: &Local) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

/// `None` outside the years of the calendar.
fn datetime(civil: CivilDateTime) -> Option<DateTime> {
    let part = |value: u32| i8::try_from(value).ok();
    let (year, month, day) = (i16::try_from(civil.year()).ok()?, part(civil.month())?, part(civil.day())?);
    DateTime::new(year, month, day, part(civil.hour())?, part(civil.minute())?, part(civil.second())?, 0).ok()
}
