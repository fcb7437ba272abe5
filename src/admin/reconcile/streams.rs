//! Whether another goniec has what was delivered to it: its ledger against ours, number by number, as far as they differ.
//!
//! # What holds
//!
//! * What cannot be mended by sending it again is not among what is sent again: under the same number lies another message, or another body.
//! * What is under way is no difference: a number that is known there and not yet here counts only where no message that waits has it.
//!
//! # What it does not know
//!
//! How questions travel.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::Found;
use super::belief::{SAMPLES, beginning};
use super::report::{Report, Sample, Side};
use super::rules::Ask;
use crate::engine::{Engine, Side as Way, Stream, StreamShown};
use crate::error::Error;
use crate::model::ledger::{Content, End, Number, Print, UNSAID};
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
    let told = |error: Error| error.to_string();
    let mut apart = Apart { engine, report: Report { at: now, ..Report::default() }, found: Vec::new() };
    let streams = engine.streams();
    for StreamShown { stream, last, .. } in
        streams.iter().filter(|shown| shown.stream.side == Way::Out && shown.stream.name == *destination)
    {
        let own = Own::of(engine, stream, *last);
        let known = own.print(0..own.pages).known;
        let mut asking = |question: &Question| {
            if go_on() { ask.ask(question) } else { Err("the node stops".to_owned()) }
        };
        let Compared { differences, same, unseen } =
            differences(&own, stream.epoch, &mut asking).map_err(|broken| match broken {
                Broken::Here(error) => error.to_string(),
                Broken::There(why) => why,
            })?;
        apart.judge(stream, *last, &differences).map_err(told)?;
        apart.report.lines += known;
        apart.report.matched += same;
        // The other side says how many, and may say anything.
        apart.report.uncompared = apart.report.uncompared.saturating_add(unseen);
    }
    let Apart { report, found, .. } = apart;
    Ok((report, found))
}

/// What differs, as far as it was judged.
struct Apart<'a> {
    engine: &'a Engine,
    report: Report,
    found: Found,
}

impl Apart<'_> {
    /// Judges what differs in one stream.
    fn judge(&mut self, stream: &Stream, last: u64, differ: &[Difference]) -> Result<(), Error> {
        let mut unknown = Vec::new();
        for Difference { n, here, there } in differ {
            let is_there = Content::of_said(*there).is_some();
            match (*here, End::of_said(*here)) {
                (UNSAID, _) if is_there => unknown.push(*n),
                // The other side hears of it with the next exchange.
                (UNSAID, _) => {}
                (_, Some(end)) if is_there => {
                    self.only_there(stream.number(*n), format!("ended here as {}", end.name()));
                }
                (_, Some(_)) if *there == UNSAID => self.report.under_way += 1,
                // It ended on both sides, though not by the same.
                (_, Some(_)) => self.report.matched += 1,
                (_, None) => self.lacks(stream, *n, *here, *there)?,
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let waiting = self.waiting(stream)?;
        for n in unknown {
            let (page, at) = stream.number(n).at();
            let is_known = || Ok::<_, Error>(self.engine.ledger_page(stream, page)?.entry(at).said() != UNSAID);
            if waiting.contains(&n) || is_known()? {
                self.report.under_way += 1;
            } else if n > last {
                self.only_there(stream.number(n), "never given here".to_owned());
            } else {
                self.only_there(stream.number(n), "not known here".to_owned());
            }
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
        // It was sent again and is on its way, or was given up, and that is told with the next exchange.
        let is_under_way = match state {
            Some(State::Queued(_) | State::Sending(_) | State::Failed(_)) => true,
            Some(State::Abandoned(_)) => there == UNSAID,
            Some(State::Delivered) | None => false,
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

    /// The numbers of the messages that wait, or are out.
    fn waiting(&self, stream: &Stream) -> Result<BTreeSet<u64>, Error> {
        let mut query = Query {
            states: vec![StateName::Queued, StateName::Sending, StateName::Failed],
            destinations: vec![self.engine.destination(&stream.name)?],
            limit: PAGE,
            ..Query::default()
        };
        let mut waiting = BTreeSet::new();
        loop {
            let page = self.engine.list(&query)?;
            let numbers = page.messages.iter().filter_map(|shown| Number::of(&shown.record.envelope));
            waiting.extend(numbers.filter(|number| number.epoch == stream.epoch).map(|number| number.n));
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(waiting),
            }
        }
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
