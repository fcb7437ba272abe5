//! The whole story of one key in plain words, over all destinations: accepted, tried, answered, held, edited, superseded, delivered, and why it waits now.
//!
//! # What holds
//!
//! * Lines are in order of time. Of a hundred messages at most is told, the newest, of fifty edits of each, and of what people did in the last ten
//!   thousand entries of the audit log; where there are more messages, that is said.
//! * What came from outside stands in a line as it came: whoever prints it makes it safe.
//!
//! # What it does not know
//!
//! How a line is shown.

use std::sync::Arc;

use crate::engine::{Deed, Engine, Shown, Target, Waits};
use crate::error::Error;
use crate::model::{Abandoned, Attempt, Class, Delivery, Id, Sent, State, WallMs};
use crate::store::{Pattern, Query, Revision};

/// How many messages are told of.
const MESSAGES_MAX: usize = 100;
/// How many edits of one message are told of, the newest.
const EDITS_MAX: u16 = 50;
/// How many entries of the audit log are looked through, the newest, and how many at once.
const ENTRIES_MAX: usize = 10_000;
const ENTRIES: usize = 1_000;

/// The story of a key.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// What happened, the oldest first; what waits is at the end.
    pub lines: Vec<Line>,
    /// Whether all messages of the key are told of.
    pub is_whole: bool,
    /// What could not be read, and so may be missing.
    pub damaged: Vec<String>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Line {
    /// When.
    pub at: WallMs,
    /// For which destination.
    pub destination: Arc<str>,
    /// To which message.
    pub id: Id,
    /// What, in one word.
    pub what: What,
    /// The same in plain words.
    pub text: String,
}

/// What happened, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was written down.
    Accepted,
    /// An attempt ended, and decided nothing.
    Attempt,
    /// It arrived.
    Delivered,
    /// It was given up.
    Abandoned,
    /// A newer message took its place.
    Superseded,
    /// A person gave it a new body.
    Edited,
    /// A person did something else to it.
    Acted,
    /// It is not final, and this is what it waits for.
    Waits,
}

impl What {
    /// The word of the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            What::Accepted => "accepted",
            What::Attempt => "attempt",
            What::Delivered => "delivered",
            What::Abandoned => "abandoned",
            What::Superseded => "superseded",
            What::Edited => "edited",
            What::Acted => "acted",
            What::Waits => "waits",
        }
    }
}

/// The story of a key.
///
/// # Errors
/// What hinders the read.
pub fn explain(engine: &Engine, key: &str) -> Result<Story, Error> {
    let query =
        Query { key: Some(Pattern::Exactly(key.to_owned())), limit: MESSAGES_MAX, scan_max: 0, ..Query::default() };
    let page = engine.list(&query)?;
    let mut story = Story { is_whole: page.next.is_none(), damaged: page.damaged, ..Story::default() };
    for shown in &page.messages {
        match (engine.attempts(shown.record.id), edits(engine, shown)) {
            (Ok(attempts), Ok(revisions)) => tell(shown, &attempts, &revisions, &mut story.lines),
            // It was deleted meanwhile.
            (Err(Error::NotFound(_)), _) | (_, Err(Error::NotFound(_))) => {}
            (Err(error), _) | (_, Err(error)) => {
                story.damaged.push(format!("message {}: {error}", shown.record.id));
                tell(shown, &[], &[], &mut story.lines);
            }
        }
    }
    if let Err(error) = acts(engine, &page.messages, &mut story.lines) {
        story.damaged.push(format!("the audit log: {error}"));
    }
    let order = |line: &Line| (line.what == What::Waits, line.at, line.id.accepted_at());
    story.lines.sort_by_key(order);
    Ok(story)
}

/// The newest edits of a message, one body in memory at a time.
fn edits(engine: &Engine, shown: &Shown) -> Result<Vec<Revision>, Error> {
    let newest = shown.record.revision;
    let mut edits = Vec::new();
    for number in newest.saturating_sub(EDITS_MAX).saturating_add(1).max(2)..=newest {
        let edit = engine.revision(shown.record.id, Some(number))?;
        edits.extend(edit.map(|edit| Revision { body: None, ..edit }));
    }
    Ok(edits)
}

/// What people did to these messages besides edits, which their revisions tell.
fn acts(engine: &Engine, told: &[Shown], lines: &mut Vec<Line>) -> Result<(), Error> {
    let Some(since) = told.iter().map(|shown| shown.record.id.accepted_at()).min() else { return Ok(()) };
    let mut before = None;
    for _ in 0..ENTRIES_MAX / ENTRIES {
        let page = engine.audit(before, ENTRIES)?;
        for (entry, _) in &page.entries {
            let deed = &entry.deed;
            let is_of = |id: Id| deed.target == Target::Message(id) || deed.messages.contains(&id);
            for record in told.iter().map(|shown| &shown.record).filter(|record| is_of(record.id)) {
                lines.extend(done(deed).map(|text| Line {
                    at: entry.at,
                    destination: record.envelope.destination.clone(),
                    id: record.id,
                    what: What::Acted,
                    text,
                }));
            }
        }
        let is_over = page.entries.last().is_none_or(|(entry, _)| entry.at < since);
        match page.next.filter(|_| !is_over) {
            Some(next) => before = Some(next),
            None => return Ok(()),
        }
    }
    Ok(())
}

/// What somebody did, and why; `None` where something else tells it.
fn done(deed: &Deed) -> Option<String> {
    let who = if deed.who.is_empty() { "a program" } else { &deed.who };
    // A job says what it does before it says to how many.
    let (act, more) = match &deed.target {
        Target::Job(number) => (deed.detail.split(':').next().unwrap_or_default(), format!(", in bulk job {number}")),
        Target::Node | Target::Message(_) | Target::Destination(_) | Target::Token(_) => {
            let colon = if deed.detail.is_empty() { "" } else { ": " };
            (deed.act.as_str(), format!("{colon}{}", deed.detail))
        }
    };
    let did = match act {
        "edit" => return None,
        "hold" => "held it",
        "release" => "let it go on",
        "resend" => "sent it again",
        "resolve" => "said that it is there",
        "cancel" => "cancelled it",
        other => other,
    };
    Some(format!("{who} {did}{more}"))
}

/// What happened to one message.
fn tell(shown: &Shown, attempts: &[Attempt], revisions: &[Revision], lines: &mut Vec<Line>) {
    let record = &shown.record;
    let mut say = |at: WallMs, what: What, text: String| {
        lines.push(Line { at, destination: record.envelope.destination.clone(), id: record.id, what, text });
    };
    say(record.id.accepted_at(), What::Accepted, accepted(shown));
    for revision in revisions {
        let text = format!("{} gave it a new body (revision {}): {}", revision.who, revision.number, revision.why);
        say(revision.at, What::Edited, text);
    }
    for attempt in attempts {
        let what = if attempt.outcome == Delivery::Delivered { What::Delivered } else { What::Attempt };
        say(attempt.started_at, what, tried(attempt));
    }
    match record.state {
        State::Delivered if attempts.iter().all(|attempt| attempt.outcome != Delivery::Delivered) => {
            say(record.updated_at, What::Delivered, "delivered: a person said that it is there".into());
        }
        State::Delivered => {}
        State::Abandoned(Abandoned::Superseded(by)) => {
            say(record.updated_at, What::Superseded, format!("a newer message of the key took its place: {by}"));
        }
        State::Abandoned(why) => say(record.updated_at, What::Abandoned, given_up(why).into()),
        State::Sending(_) | State::Queued(_) | State::Failed(_) => {
            let text = waits_in_words(shown).unwrap_or_default();
            say(record.updated_at, What::Waits, text);
        }
    }
}

fn accepted(shown: &Shown) -> String {
    let envelope = &shown.record.envelope;
    let mut text = "accepted".to_owned();
    if let Some(kind) = &envelope.kind {
        text += &format!(", type {kind}");
    }
    if let Some(version) = envelope.version {
        text += &format!(", version {version}");
    }
    for (at, words) in [(envelope.not_before, "not to go before"), (envelope.deadline, "of no use after")] {
        text += &at.map(|at| format!(", {words} {}", at.rfc3339())).unwrap_or_default();
    }
    text
}

/// One attempt in words: what was answered, and what that meant.
fn tried(attempt: &Attempt) -> String {
    let status = attempt.status.map(|status| format!(", status {status}")).unwrap_or_default();
    let remote = attempt.remote_id.as_ref().map(|id| format!(", called {id} there")).unwrap_or_default();
    let number = attempt.number;
    if attempt.outcome == Delivery::Delivered {
        return format!("attempt {number} delivered it in {} ms{status}{remote}", attempt.duration_ms);
    }
    let sent = match attempt.sent {
        Sent::No => ", and nothing had left",
        Sent::Maybe => ", and it may have arrived",
        Sent::Answered => "",
    };
    let class = attempt.class.map(Class::name).unwrap_or_default();
    let detail = if attempt.detail.is_empty() { String::new() } else { format!(": {}", attempt.detail) };
    format!("attempt {number} failed after {} ms ({class}{status}{sent}){detail}", attempt.duration_ms)
}

fn given_up(why: Abandoned) -> &'static str {
    match why {
        Abandoned::Exhausted => "given up: it used up its attempts",
        Abandoned::Rejected => "given up: the destination refused it",
        Abandoned::Expired => "given up: its deadline passed",
        Abandoned::Cancelled => "given up: a person cancelled it",
        Abandoned::Superseded(_) => "given up: a newer message of the key took its place",
    }
}

/// Why a message waits, in words; `None` where it has come to its end.
#[must_use]
pub fn waits_in_words(shown: &Shown) -> Option<String> {
    match shown.record.state {
        State::Sending(number) => Some(format!("attempt {number} is under way")),
        State::Queued(_) | State::Failed(_) => Some(waits(shown)),
        State::Delivered | State::Abandoned(_) => None,
    }
}

fn waits(shown: &Shown) -> String {
    let at = shown.due_at.map(|at| format!(" at {}", at.rfc3339())).unwrap_or_default();
    match shown.waits_for {
        None | Some(Waits::Due) if at.is_empty() => "it is next".into(),
        None | Some(Waits::Due) => format!("it is tried again{at}"),
        Some(Waits::NotBefore) => format!("it goes{at}, not before"),
        Some(Waits::NextCycle) => format!("it waits for the next cycle of its destination{at}"),
        Some(Waits::After) => format!("it waits until {} was delivered", shown.after.join(", ")),
        Some(Waits::KeyOrder) => "it waits for an earlier message of its key".into(),
        Some(Waits::Rate) => "it waits for the rate of its destination".into(),
        Some(Waits::Batch) => "it waits for others of its batch".into(),
        Some(Waits::Concurrency) => "it waits: as many are out as its destination takes at once".into(),
        Some(Waits::Breaker) => "it waits: its destination fails, and is left alone for a while".into(),
        Some(Waits::Closed) => "it waits: its destination is closed at this hour".into(),
        Some(Waits::Paused) => "it waits: its destination is paused, or no longer configured".into(),
        Some(Waits::Held) => "it is held, and waits for a person".into(),
    }
}
