//! Whether another goniec has what was delivered to it: its ledger against ours, number by number, as far as they differ.
//!
//! # What holds
//!
//! * What cannot be mended by sending it again is not among what is sent again: under the same number lies another message, or another body.
//! * What is under way is no difference: a number that is known there and not yet here counts only where no message that waits has it.
//! * What changes here while both are compared is no difference either, and is left to the next comparison.
//!
//! # What it does not know
//!
//! How questions travel.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::belief::{SAMPLES, SCAN_MAX, beginning};
use super::report::{Report, Sample, Side};
use super::rules::Ask;
use super::{Found, STOPS};
use crate::engine::{Engine, Side as Way, Stream, StreamShown};
use crate::error::Error;
use crate::model::ledger::{Content, End, Number, Page, Print, UNSAID};
use crate::model::ranges::{Answer, Broken, Compared, Difference, Question, Ranges, differences, said};
use crate::model::{State, WallMs};
use crate::store::{Query, StateName};

/// How many messages are read together.
const PAGE: usize = 1_000;

/// One side of a stream in this registry.
struct Own<'a> {
    engine: &'a Engine,
    stream: &'a Stream,
    pages: u64,
}

impl<'a> Own<'a> {
    fn of(engine: &'a Engine, stream: &'a Stream, last: u64) -> Own<'a> {
        let pages = if last == 0 { 0 } else { stream.number(last).at().0.saturating_add(1) };
        Own { engine, stream, pages }
    }
}

impl Ranges for Own<'_> {
    type Error = Error;

    fn pages(&self) -> u64 {
        self.pages
    }

    fn print(&self, pages: Range<u64>) -> Print {
        self.engine.ledger_print(self.stream, pages)
    }

    fn said(&self, page: u64) -> Result<Vec<u64>, Error> {
        Ok(said(self.engine.ledger_page(self.stream, page)?.entries()))
    }
}

/// What this registry answers a goniec that sends to it as this source.
///
/// # Errors
/// What hinders the read.
pub fn answer(engine: &Engine, source: &Arc<str>, question: &Question) -> Result<Answer, Error> {
    let stream = Stream { side: Way::In, name: source.clone(), epoch: question.epoch };
    let known = engine.streams().into_iter().find(|shown| shown.stream == stream);
    question.answer(&Own::of(engine, &stream, known.map_or(0, |shown| shown.last)))
}

/// Compares every stream to a destination with what the other side has of it.
///
/// # Errors
/// Either side could not be read: in words.
pub(super) fn compare(
    engine: &Engine,
    destination: &Arc<str>,
    ask: &dyn Ask,
    now: WallMs,
    go_on: &dyn Fn() -> bool,
) -> Result<(Report, Found), String> {
    let mut apart = Apart { engine, report: Report { at: now, ..Report::default() }, found: Vec::new() };
    let streams = engine.streams();
    for StreamShown { stream, last, .. } in
        streams.iter().filter(|shown| shown.stream.side == Way::Out && shown.stream.name == *destination)
    {
        let own = Own::of(engine, stream, *last);
        let known = own.print(0..own.pages).known;
        let mut asking = |question: &Question| {
            if go_on() { ask.ask(question) } else { Err(STOPS.to_owned()) }
        };
        let Compared { differences, same, unseen } =
            differences(&own, stream.epoch, &mut asking).map_err(|broken| match broken {
                Broken::Here(error) => error.to_string(),
                Broken::There(why) => why,
            })?;
        apart.judge(stream, *last, &differences, go_on)?;
        apart.report.lines += known;
        apart.report.matched += same;
        // The other side says how many, and may say anything.
        apart.report.uncompared = apart.report.uncompared.saturating_add(unseen);
    }
    let Apart { report, found, .. } = apart;
    Ok((report, found))
}

fn told(error: Error) -> String {
    error.to_string()
}

/// What differs, as far as it was judged.
struct Apart<'a> {
    engine: &'a Engine,
    report: Report,
    found: Found,
}

impl Apart<'_> {
    /// Judges what differs in one stream, and differs still.
    fn judge(
        &mut self,
        stream: &Stream,
        last: u64,
        differ: &[Difference],
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        // What only the other side says is there may be on its way back to us, and is looked for among what waits.
        let mut doubtful = BTreeMap::new();
        let mut lacking = Vec::new();
        for Difference { n, here, there } in differ {
            let is_there = Content::of_said(*there).is_some();
            match (*here, End::of_said(*here)) {
                // Where it is not there either, the other side hears of it with the next exchange.
                (UNSAID, _) if !is_there => {}
                (UNSAID, _) => drop(doubtful.insert(*n, *here)),
                (_, Some(_)) if is_there => drop(doubtful.insert(*n, *here)),
                (_, Some(_)) if *there == UNSAID => self.report.under_way += 1,
                // It ended on both sides, though not by the same.
                (_, Some(_)) => self.report.matched += 1,
                (_, None) => lacking.push((*n, *here, *there)),
            }
        }
        let mut written = Written::of(self.engine, stream);
        for (n, here, there) in lacking {
            if !go_on() {
                return Err(STOPS.into());
            }
            if written.said(n).map_err(told)? == here {
                self.lacks(stream, n, here, there).map_err(told)?;
            } else {
                // It was sent again, and has arrived meanwhile.
                self.report.under_way += 1;
            }
        }
        let waiting = self.waiting(stream, &doubtful, go_on)?;
        // Read after what waits: what does not wait any more is written by now.
        let mut written = Written::of(self.engine, stream);
        for (n, here) in doubtful {
            if waiting.contains(&n) || written.said(n).map_err(told)? != here {
                self.report.under_way += 1;
                continue;
            }
            let why = match End::of_said(here) {
                Some(end) => format!("ended here as {}", end.name()),
                None if n > last => "never given here".to_owned(),
                None => "not known here".to_owned(),
            };
            self.only_there(stream.number(n), why);
        }
        Ok(())
    }

    /// The other side has not what was delivered to it, or has something else.
    fn lacks(&mut self, stream: &Stream, n: u64, here: u64, there: u64) -> Result<(), Error> {
        let id = self.engine.ledger_message(stream, n)?;
        let shown = match id.map(|id| self.engine.show(id)) {
            None | Some(Err(Error::NotFound(_))) => None,
            Some(shown) => Some(shown?.record),
        };
        let ended = End::of_said(there);
        let state = shown.as_ref().map(|record| record.state);
        // The other side lost it, and was told why it does not come again: a newer one took its place, or it was sent again and given up.
        let is_agreed = match state {
            Some(State::Delivered) => ended == Some(End::Superseded),
            Some(State::Abandoned(_)) => ended.is_some(),
            // That it was removed nobody here said: what was delivered never ends so.
            None => ended.is_some_and(|end| end != End::Deleted),
            Some(State::Queued(_) | State::Sending(_) | State::Failed(_)) => false,
        };
        // It was sent again and is on its way, or arrived since this comparison began; or it was given up, and that is told with the next exchange.
        let is_new = shown.as_ref().is_some_and(|record| record.updated_at > self.report.at);
        let is_under_way = match state {
            Some(State::Queued(_) | State::Sending(_) | State::Failed(_)) => true,
            Some(State::Abandoned(_)) => there == UNSAID,
            Some(State::Delivered) => is_new,
            None => false,
        };
        if is_agreed || is_under_way {
            let count = if is_agreed { &mut self.report.matched } else { &mut self.report.under_way };
            *count += 1;
            return Ok(());
        }
        let delivered = shown.as_ref().filter(|record| record.state == State::Delivered);
        let at = delivered.map(|record| record.updated_at);
        let key = delivered.and_then(|record| record.envelope.key.as_deref()).map(beginning);
        let is_older = |other: Content| Content::of_said(here).is_some_and(|own| other.revision < own.revision);
        let (side, is_mended, why) = match Content::of_said(there) {
            None if ended == Some(End::Deleted) => (&mut self.report.missing, true, "removed there"),
            None => (&mut self.report.missing, true, "not there"),
            Some(other) if is_older(other) => (&mut self.report.stale, true, "an older revision there"),
            // Sent again it would be taken there as one more message, and this number would say the same as before.
            Some(_) => (&mut self.report.conflicting, false, "another message or body there"),
        };
        let why = format!("number {}: {why}", stream.number(n));
        add(side, Sample { key: key.unwrap_or_default(), id, at, why: Some(why) });
        // One whose body and record were removed here is told, and cannot go again.
        self.found.extend(id.zip(at).filter(|_| is_mended));
        Ok(())
    }

    fn only_there(&mut self, number: Number, why: String) {
        let why = Some(format!("number {number}: {why}"));
        add(&mut self.report.unexpected, Sample { key: String::new(), id: None, at: None, why });
    }

    /// Which of these numbers are those of messages that wait, or are out.
    fn waiting(
        &self,
        stream: &Stream,
        asked: &BTreeMap<u64, u64>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<BTreeSet<u64>, String> {
        let mut query = Query {
            states: vec![StateName::Queued, StateName::Sending, StateName::Failed],
            destinations: vec![self.engine.destination(&stream.name).map_err(told)?],
            limit: PAGE,
            scan_max: SCAN_MAX,
            ..Query::default()
        };
        let mut waiting = BTreeSet::new();
        while waiting.len() < asked.len() {
            if !go_on() {
                return Err(STOPS.into());
            }
            let page = self.engine.list(&query).map_err(told)?;
            let numbers = page.messages.iter().filter_map(|shown| Number::of(&shown.record.envelope));
            let numbers = numbers.filter(|number| number.epoch == stream.epoch).map(|number| number.n);
            waiting.extend(numbers.filter(|n| asked.contains_key(n)));
            match page.next {
                Some(next) => query.before = Some(next),
                None => break,
            }
        }
        Ok(waiting)
    }
}

/// What is written of numbers by now, read a page at a time.
struct Written<'a> {
    engine: &'a Engine,
    stream: &'a Stream,
    page: Option<(u64, Page)>,
}

impl<'a> Written<'a> {
    fn of(engine: &'a Engine, stream: &'a Stream) -> Written<'a> {
        Written { engine, stream, page: None }
    }

    /// What is said of this number; numbers are asked for in their order.
    fn said(&mut self, n: u64) -> Result<u64, Error> {
        let (number, at) = self.stream.number(n).at();
        let page = match self.page.take() {
            Some((read, page)) if read == number => page,
            Some(_) | None => self.engine.ledger_written(self.stream, number)?,
        };
        let said = page.entry(at).said();
        self.page = Some((number, page));
        Ok(said)
    }
}

/// Counts one that differs; differences come by their numbers, and so the oldest first.
fn add(side: &mut Side, sample: Sample) {
    side.count += 1;
    side.oldest_at = [side.oldest_at, sample.at].into_iter().flatten().min();
    if side.samples.len() < SAMPLES {
        side.samples.push(sample);
    }
}
