//! Timetables: when the next sync cycle starts, and when a destination is open.
//!
//! A cycle is `every 15m`, counted from the epoch, or a cron line of five fields with a zone after it
//! (`*/15 6-20 * * MON-FRI Europe/Warsaw`). Opening hours are `Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Warsaw`; a
//! maintenance window is written in the same way, or as two moments (`2026-12-24T00:00:00Z/2026-12-27T00:00:00Z`). Without a zone, UTC is meant.
//!
//! # What holds
//!
//! * The next start is always later than the time asked about, so that a cycle that takes no time cannot start itself again.
//! * Local times follow their zone over the changes of summer time: what falls into the hour that is skipped starts right
//!   after it, what falls into the repeated one starts once.
//! * A timetable that never comes (`0 0 30 2 *`) is refused when it is read.
//!
//! # What it does not know
//!
//! The clock, and who waits.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::cron::Cron;
use super::nearest::nearest;
use super::span::parse_span_ms;
use super::time::WallMs;
use super::zone::{local, parse_zone, wall};

/// The shortest period of a cycle, in milliseconds.
pub const CYCLE_MS_MIN: u64 = 1_000;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// How far opening hours are looked ahead: a week, and a day for the zone.
const DAYS_AHEAD: i64 = 8;
/// How many open stretches are added up at most: two a day for a year and more.
const STRETCHES_MAX: usize = 1_000;

/// When sync cycles start.
#[derive(Debug, Clone, PartialEq)]
pub enum Cycle {
    /// At whole multiples of so many milliseconds since the epoch. Never 0.
    Every(u64),
    /// By the calendar.
    Cron(Box<Cron>),
}

/// When a destination takes messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hours {
    /// Only then; `None` is always.
    pub open: Option<Weekly>,
    /// Not then, whatever the opening hours say.
    pub closed: Vec<Closure>,
}

/// Spans of time that come back every week.
#[derive(Debug, Clone, PartialEq)]
pub struct Weekly {
    /// As it was written.
    text: String,
    spans: Vec<WeekSpan>,
    zone: TimeZone,
}

/// A time in which nothing is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Closure {
    /// Every week.
    Weekly(Weekly),
    /// Once, from the first moment and before the second.
    Once(WallMs, WallMs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WeekSpan {
    /// Which days it begins on, Monday first.
    days: [bool; 7],
    from_min: i16,
    /// 1440 is midnight; not after `from_min` where the span runs into the next day.
    to_min: i16,
}

impl Cycle {
    /// The first start after `now`; `None` where the calendar ends before.
    #[must_use]
    pub fn next_start(&self, now: WallMs) -> Option<WallMs> {
        match self {
            Cycle::Every(period_ms) => {
                let period_ms = (*period_ms).max(1);
                (now.0 / period_ms).checked_add(1)?.checked_mul(period_ms).map(WallMs)
            }
            Cycle::Cron(cron) => cron.next_after(now),
        }
    }

    /// The first start after `now`, or the end of time.
    #[must_use]
    pub fn after(&self, now: WallMs) -> WallMs {
        self.next_start(now).unwrap_or(WallMs(u64::MAX))
    }

    /// The first start that is not before `at`, or the end of time.
    #[must_use]
    pub fn at_or_after(&self, at: WallMs) -> WallMs {
        self.after(WallMs(at.0.saturating_sub(1)))
    }
}

impl FromStr for Cycle {
    type Err = String;

    fn from_str(text: &str) -> Result<Cycle, String> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("every ") {
            let period_ms = parse_span_ms(period).map_err(|wrong| wrong.to_string())?;
            if period_ms < CYCLE_MS_MIN {
                return Err(format!("a cycle of {period:?} is too short; the shortest is 1s"));
            }
            return Ok(Cycle::Every(period_ms));
        }
        let cycle = Cycle::Cron(Box::new(text.parse()?));
        // Leap days come at most eight years apart, so a line without a start after any day of our time never starts.
        cycle.next_start(WallMs(0)).map(|_| cycle).ok_or_else(|| format!("the cron line {text:?} never comes"))
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cycle::Every(period_ms) => write!(f, "every {}", super::span::show_span(*period_ms)),
            Cycle::Cron(cron) => cron.fmt(f),
        }
    }
}

impl Hours {
    /// Whether it is open at `now`.
    #[must_use]
    pub fn is_open(&self, now: WallMs) -> bool {
        self.open.as_ref().is_none_or(|weekly| weekly.contains(now))
            && !self.closed.iter().any(|closure| closure.contains(now))
    }

    /// When it opens, where it is closed now; `None` where it is open, or not seen to open again.
    #[must_use]
    pub fn opens_at(&self, now: WallMs) -> Option<WallMs> {
        if self.is_open(now) {
            return None;
        }
        let mut from = now;
        // What comes every week opens within a week or never; only what is closed once may last longer, and each such time is passed once.
        for _ in 0..=self.closed.len() {
            while let Some(end) = self.once_until(from) {
                from = end;
            }
            if self.is_open(from) {
                return Some(from);
            }
            let mut edges: Vec<WallMs> = self.edges(from).into_iter().filter(|edge| *edge > from).collect();
            edges.sort_unstable();
            let stop = edges.into_iter().find(|edge| self.is_open(*edge) || self.once_until(*edge).is_some())?;
            if self.is_open(stop) {
                return Some(stop);
            }
            from = stop;
        }
        None
    }

    /// Whether it opens at all: what is closed at the beginning of time and never seen to open is closed every week.
    #[must_use]
    pub fn ever_open(&self) -> bool {
        let start = WallMs(0);
        self.is_open(start) || self.opens_at(start).is_some()
    }

    /// When the latest of what is closed once at this time ends.
    fn once_until(&self, at: WallMs) -> Option<WallMs> {
        let until = |closure: &Closure| match closure {
            Closure::Once(from, to) => (*from <= at && at < *to).then_some(*to),
            Closure::Weekly(_) => None,
        };
        self.closed.iter().filter_map(until).max()
    }

    /// When it closes, where it is open now; `None` where it is closed, or never closes.
    #[must_use]
    pub fn closes_at(&self, now: WallMs) -> Option<WallMs> {
        if !self.is_open(now) {
            return None;
        }
        let mut edges: Vec<WallMs> = self.edges(now).into_iter().filter(|edge| *edge > now).collect();
        edges.sort_unstable();
        edges.into_iter().find(|edge| !self.is_open(*edge))
    }

    /// For how long it is open from one time to another, in milliseconds. The sum ends where it has reached `enough_ms`, or after
    /// so many stretches: then it is rather too small.
    #[must_use]
    pub fn open_ms(&self, from: WallMs, to: WallMs, enough_ms: u64) -> u64 {
        let (mut at, mut open_ms) = (from, 0_u64);
        for _ in 0..STRETCHES_MAX {
            let Some(opens) = (if self.is_open(at) { Some(at) } else { self.opens_at(at) }) else { break };
            if opens >= to || open_ms >= enough_ms {
                break;
            }
            at = self.closes_at(opens).unwrap_or(to).min(to);
            open_ms = open_ms.saturating_add(at.since(opens));
        }
        open_ms.min(enough_ms)
    }

    fn edges(&self, now: WallMs) -> Vec<WallMs> {
        let mut edges = Vec::new();
        if let Some(open) = &self.open {
            open.edges(now, &mut edges);
        }
        for closure in &self.closed {
            match closure {
                Closure::Weekly(weekly) => weekly.edges(now, &mut edges),
                Closure::Once(from, to) => edges.extend([*from, *to]),
            }
        }
        edges
    }
}

impl Closure {
    fn contains(&self, now: WallMs) -> bool {
        match self {
            Closure::Weekly(weekly) => weekly.contains(now),
            Closure::Once(from, to) => *from <= now && now < *to,
        }
    }
}

impl FromStr for Closure {
    type Err = String;

    fn from_str(text: &str) -> Result<Closure, String> {
        let Some((from, to)) = text.split_once("Z/").map(|(from, to)| (format!("{from}Z"), to)) else {
            return text.parse().map(Closure::Weekly);
        };
        let moment = |text: &str| {
            let stamp = text.trim().parse::<Timestamp>().ok();
            stamp.and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok()).map(WallMs)
        };
        match (moment(&from), moment(to)) {
            (Some(from), Some(to)) if from < to => Ok(Closure::Once(from, to)),
            (Some(_), Some(_)) => Err(format!("{text:?} ends before it begins")),
            (_, _) => Err(format!("{text:?} is no span of time; write 2026-12-24T00:00:00Z/2026-12-27T00:00:00Z")),
        }
    }
}

impl fmt::Display for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |at: &WallMs| {
            let stamp = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            stamp.unwrap_or(Timestamp::MAX)
        };
        match self {
            Closure::Weekly(weekly) => weekly.fmt(f),
            Closure::Once(from, to) => write!(f, "{}/{}", moment(from), moment(to)),
        }
    }
}

impl Weekly {
    fn contains(&self, now: WallMs) -> bool {
        let Some(local) = local(now, &self.zone) else { return true };
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let today = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0);
        let yesterday = (today + 6) % 7;
        let on = |span: &WeekSpan, day: usize| span.days.get(day).copied().unwrap_or(false);
        self.spans.iter().any(|span| {
            if span.from_min < span.to_min {
                on(span, today) && (span.from_min..span.to_min).contains(&minute)
            } else {
                (on(span, today) && minute >= span.from_min) || (on(span, yesterday) && minute < span.to_min)
            }
        })
    }

    /// The moments of the coming week, and of the day before it, at which a span may begin or end.
    fn edges(&self, now: WallMs, edges: &mut Vec<WallMs>) {
        let Some(local) = local(now, &self.zone) else { return };
        for days in -1..=DAYS_AHEAD {
            let Ok(day) = local.date().checked_add(Span::new().days(days)) else { continue };
            for minute in self.spans.iter().flat_map(|span| [span.from_min, span.to_min]) {
                let (day, minute) = if minute >= 1_440 { (day.tomorrow().unwrap_or(day), 0) } else { (day, minute) };
                let (hour, minute) = (i8::try_from(minute / 60), i8::try_from(minute % 60));
                let (Ok(hour), Ok(minute)) = (hour, minute) else { continue };
                let Ok(time) = Time::new(hour, minute, 0, 0) else { continue };
                let zoned = self.zone.to_ambiguous_zoned_datetime(day.to_datetime(time));
                // A time that comes twice is an edge twice; one that is skipped lies beside the hour that is.
                for at in [zoned.clone().earlier(), zoned.later()] {
                    edges.extend(at.ok().as_ref().and_then(wall));
                }
            }
        }
        // Where the clocks are put forward or back, a span may begin or end in the middle.
        let week = self.zone.following(local.timestamp()).take(2);
        edges.extend(week.filter_map(|change| u64::try_from(change.timestamp().as_millisecond()).ok()).map(WallMs));
    }
}

impl FromStr for Weekly {
    type Err = String;

    fn from_str(text: &str) -> Result<Weekly, String> {
        let text = text.trim();
        let (spans, zone) = match text.rsplit_once(char::is_whitespace) {
            Some((spans, zone)) if !zone.starts_with(|letter: char| letter.is_ascii_digit()) => {
                (spans, parse_zone(zone)?)
            }
            Some(_) | None => (text, TimeZone::UTC),
        };
        let spans: Vec<WeekSpan> = spans.split(',').map(WeekSpan::from_str).collect::<Result<_, _>>()?;
        Ok(Weekly { text: words(text), spans, zone })
    }
}

impl fmt::Display for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for WeekSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<WeekSpan, String> {
        let wrong = || format!("{:?} are no hours; write Mon-Fri 08:00-18:00", text.trim());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words.as_slice() {
            [times] => ([true; 7], *times),
            [days, times] => (parse_days(days)?, *times),
            _ => return Err(wrong()),
        };
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let (from_min, to_min) = (parse_minute(from).ok_or_else(wrong)?, parse_minute(to).ok_or_else(wrong)?);
        if from_min == to_min || from_min == 1_440 {
            return Err(format!("{:?} is no time at all; the whole day is 00:00-24:00", text.trim()));
        }
        Ok(WeekSpan { days, from_min, to_min: if to_min == 0 { 1_440 } else { to_min } })
    }
}

/// The text with single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let day = |name: &str| {
        let lower = name.to_ascii_lowercase();
        DAYS.iter().position(|known| *known == lower).ok_or_else(|| match nearest(&lower, DAYS) {
            Some(near) => format!("{name:?} is no day of the week; did you mean {near:?}?"),
            None => format!("{name:?} is no day of the week: mon, tue, wed, thu, fri, sat, sun"),
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let mut days = [false; 7];
    for (number, is_on) in days.iter_mut().enumerate() {
        *is_on = if first <= last { (first..=last).contains(&number) } else { number >= first || number <= last };
    }
    Ok(days)
}

fn parse_minute(text: &str) -> Option<i16> {
    let (hour, minute) = text.split_once(':')?;
    let is_plain = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(hour) || !is_plain(minute) {
        return None;
    }
    let (hour, minute): (i16, i16) = (hour.parse().ok()?, minute.parse().ok()?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 1_440).then_some(total)
}

#[cfg(test)]
mod tests;
