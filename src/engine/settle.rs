//! Settling: what became of an attempt, as one step in the life of its message.
//!
//! ```text
//! outcome ─▶ judge ─▶ advance ─▶ Move ─▶ (commit) ─▶ wheel (Failed) or alert (Abandoned)
//! ```
//!
//! # What holds
//!
//! * A message leaves `Sending` only here. Recovery comes through here too.
//! * An outcome counts for the life it was sent from: state, attempts and revision are compared when it is written, and a late outcome is
//!   handed back without harm to its neighbours.
//! * What a person must know of is marked untold in the same write.
//!
//! # What it does not know
//!
//! Threads, stores, the clock. It is given outcomes and their times.

use std::sync::Arc;

use super::news::Who;
use super::words::Destination;
use crate::model::policy::{RETRY_AFTER_MS_MAX, Tried};
use crate::model::{
    Abandoned, Attempt, Class, Cost, Delivery, Event, Failed, Failure, Outcome, Policy, Sent, Stamp, State, Verdict,
    WallMs, advance, judge,
};
use crate::store::{Loaded, Move};

/// What a worker tells of an attempt.
#[derive(Debug)]
pub(super) struct Report {
    /// The message, as the scheduler knows it.
    pub(super) who: Who,
    /// The message, as it was sent.
    pub(super) loaded: Loaded,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// When it began.
    pub(super) began: Stamp,
    /// When it ended.
    pub(super) ended: Stamp,
    /// Where it went with others: then the destination is judged by how their request ended, not by this outcome.
    pub(super) part: Option<Part>,
    /// The destination was judged by it before: it could not be written then.
    pub(super) is_heard: bool,
}

/// A message's part in a batch.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Which batch, in words.
    pub(super) words: Arc<str>,
    /// The attempt is none of the message's own.
    pub(super) is_free: bool,
    /// It was refused together with others: it goes alone next, at once.
    pub(super) goes_alone: bool,
}

impl Report {
    /// What became of a message that went by itself.
    pub(super) fn new(who: Who, loaded: Loaded, outcome: Outcome, began: Stamp, ended: Stamp) -> Report {
        Report { who, loaded, outcome, began, ended, part: None, is_heard: false }
    }
}

/// The step that an ended attempt means for its message. One that is `is_free` counts as made, and not towards the limit of attempts.
pub(super) fn settle(report: &Report, policy: &Policy, rules: Option<&Destination>, is_free: bool) -> Move {
    let expect = report.loaded.expect;
    let number = attempt_number(expect.state, expect.attempts);
    let used = report.loaded.series;
    // What uses up nothing still waits longer each time.
    let (series, failures) = match cost(report, number, is_free) {
        Cost::One => (used.saturating_add(1), used.saturating_add(1)),
        Cost::Free => (used, number),
        Cost::All => (used.max(policy.retry.attempts), number),
    };
    let id = report.loaded.message.id;
    let seed = u64::from_be_bytes(id.to_bytes().last_chunk().copied().unwrap_or_default()) ^ u64::from(number) << 48;
    let verdict = match &report.part {
        Some(Part { goes_alone: true, .. }) => Verdict::Retry(Failed::Due(report.ended.wall)),
        Some(_) | None => judge(&report.outcome, Tried { attempts: series, failures, seed }, policy, report.ended.wall),
    };
    let event = match verdict {
        Verdict::Delivered => Event::Delivered,
        Verdict::Retry(Failed::Due(_) | Failed::NextCycle) if is_late(report) => Event::GiveUp(Abandoned::Expired),
        // It goes by itself now, whatever others wait for.
        Verdict::Retry(wait) if report.part.as_ref().is_some_and(|part| part.goes_alone) => Event::Retry(wait),
        Verdict::Retry(wait) => Event::Retry(no_sooner(wait, &report.outcome, rules, report.ended.wall)),
        Verdict::GiveUp(reason) => Event::GiveUp(reason),
    };
    let to = advance(State::Sending(number), event).unwrap_or(State::Failed(Failed::Due(report.ended.wall)));
    Move {
        place: report.who.entry.place,
        expect,
        to,
        by: None,
        attempts: number,
        series,
        attempt: Some(attempt(report, number)),
        amend: None,
        untold: must_be_told(to),
    }
}

/// How often a question that nobody answers uses up nothing: with the delays of the default, most of a day. Then a person must hear of it.
const FREE_MAX: u16 = 100;

/// What the attempt uses up of those that its message gets.
fn cost(report: &Report, number: u16, is_free: bool) -> Cost {
    let cost = match &report.outcome {
        Outcome::Delivered(_) => Cost::One,
        Outcome::Failed(failure) => failure.cost,
    };
    let free_before = number.saturating_sub(report.loaded.series).saturating_sub(1);
    match cost {
        Cost::One if is_free => Cost::Free,
        Cost::Free if free_before >= FREE_MAX && !is_free => Cost::One,
        Cost::One | Cost::Free | Cost::All => cost,
    }
}

/// Whether the deadline passed while the message was out. One that began after it was sent by a person, whom it binds no more.
fn is_late(report: &Report) -> bool {
    let deadline = report.loaded.message.envelope.deadline;
    deadline.is_some_and(|deadline| report.began.wall < deadline && deadline <= report.ended.wall)
}

/// A destination that asked to be left alone is, also where the next cycle would come sooner: then it is the first one after that time. One that
/// sends in cycles only waits out its delay, and then for a cycle.
fn no_sooner(wait: Failed, outcome: &Outcome, rules: Option<&Destination>, now: WallMs) -> Failed {
    let asked_ms = match outcome {
        Outcome::Failed(failure) => failure.retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX),
        Outcome::Delivered(_) => 0,
    };
    let asked = now.plus(asked_ms);
    match (wait, rules.and_then(|rules| rules.cycle.as_ref())) {
        (Failed::NextCycle, Some(cycle)) if asked > cycle.after(now) => Failed::Due(cycle.at_or_after(asked)),
        (Failed::NextCycle, None) if asked_ms > 0 => Failed::Due(asked),
        (Failed::Due(at), Some(cycle)) if rules.is_some_and(|rules| rules.only_in_cycles) => {
            Failed::Due(cycle.at_or_after(at))
        }
        (Failed::NextCycle | Failed::Due(_) | Failed::Held, _) => wait,
    }
}

/// The number of the attempt that a claim of this message makes or made.
pub(super) fn attempt_number(state: State, attempts: u16) -> u16 {
    match state {
        State::Sending(number) => number,
        State::Queued(_) | State::Delivered | State::Failed(_) | State::Abandoned(_) => attempts.saturating_add(1),
    }
}

/// Whether a person must know of a message that came to stand so.
pub(super) fn must_be_told(state: State) -> bool {
    match state {
        State::Abandoned(reason) => reason.is_failure(),
        State::Failed(Failed::Held) => true,
        State::Queued(_) | State::Sending(_) | State::Delivered | State::Failed(Failed::Due(_) | Failed::NextCycle) => {
            false
        }
    }
}

/// How many times in a row goniec may end with a message out before the message is taken for the cause of it.
const ENDS_MAX: usize = 3;

/// The outcome of an attempt that was out when the process ended: nobody can know. `before` are the attempts before it, as they are kept; one
/// that goniec never survives rests, and the others go on.
pub(super) fn interrupted(before: &[Attempt]) -> Outcome {
    let is_end = |attempt: &&Attempt| attempt.class == Some(Class::Interrupted) && attempt.sent == Sent::Maybe;
    let ends = before.iter().rev().take_while(is_end).count() + 1;
    let words = "goniec ended while the message was out; the destination may have it";
    let failure = Failure::new(Class::Interrupted, Sent::Maybe, words);
    Outcome::Failed(if ends < ENDS_MAX {
        failure
    } else {
        let detail = format!("{words}. That is {ends} times in a row, so it is not tried again by itself");
        Failure { detail, cost: Cost::All, ..failure }
    })
}

fn attempt(report: &Report, number: u16) -> Attempt {
    let duration_ms = report.ended.mono_ms.saturating_sub(report.began.mono_ms);
    let (outcome, class, sent, status, mut detail, response_excerpt) = match &report.outcome {
        Outcome::Delivered(receipt) => {
            let detail = cut(&receipt.detail, DETAIL_CHARS_MAX);
            (Delivery::Delivered, None, Sent::Answered, receipt.status, detail, None)
        }
        Outcome::Failed(failure) => (
            failure.delivery(),
            Some(failure.class),
            failure.sent,
            failure.status,
            cut(&failure.detail, DETAIL_CHARS_MAX),
            failure.excerpt.as_deref().map(|excerpt| cut(excerpt, EXCERPT_CHARS_MAX)),
        ),
    };
    // Of a delivery the batch is not told: what is said of one costs a row of its own.
    if let Some(part) = report.part.as_ref().filter(|_| class.is_some()) {
        detail = if detail.is_empty() { part.words.to_string() } else { format!("{detail}; {}", part.words) };
    }
    Attempt {
        number,
        revision: report.loaded.expect.revision,
        started_at: WallMs(report.began.wall.0),
        duration_ms: u32::try_from(duration_ms).unwrap_or(u32::MAX),
        outcome,
        class,
        sent,
        status,
        detail,
        response_excerpt,
        remote_id: match &report.outcome {
            Outcome::Delivered(receipt) => receipt.remote_id.clone(),
            Outcome::Failed(_) => None,
        },
        phases: report.outcome.phases(),
    }
}

/// What is kept of the words of a failure, in characters.
pub(super) const DETAIL_CHARS_MAX: usize = 512;
/// What is kept of an answer, in characters.
pub(super) const EXCERPT_CHARS_MAX: usize = 2_048;

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text.to_owned(),
    }
}
