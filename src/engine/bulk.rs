//! Bulk jobs: one act on every message that matches, in order of acceptance, at a bounded pace.
//!
//! ```text
//! begin    count, note the job                                durable before anybody hears of it
//! step     a few messages, and how far the job is: one commit
//! end      everything was asked for, or a person cancelled it
//! ```
//!
//! # What holds
//!
//! * A step of a job and how far it then is are one commit: whatever is killed when, no message is acted on twice by one job, and none is left out
//!   that matched when the job was taken up and still does.
//! * A message that does not admit the act, because it is out for instance, or that no longer matches, is counted as refused, and stays as it is.
//! * What is accepted after the job began is none of it.
//! * A job that was under way when the process ended goes on with the next start.
//!
//! # What it does not know
//!
//! Filters as people write them, and what the acts mean.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::field::{Edited, FieldEdit};
use super::registry::Registry;
use super::request::Request;
use super::words::{Act, Shown};
use crate::error::Error;
use crate::model::rate::{Bucket, Rate};
use crate::model::{Place, Queued, Stamp, WallMs};
use crate::store::{NOTE_BYTES_MAX, Note, Query, StoreError};

/// The first byte of the keys of jobs.
const KIND: u8 = b'b';
/// So many jobs are remembered: a new one takes the note of the one so many before it.
const JOBS_KEPT: u64 = 128;
/// So many may be under way at once.
const JOBS_MAX: usize = 16;
/// How many messages one step asks for at most: their ids fit into one entry of the audit log.
const STEP_MAX: usize = 200;
/// How many messages are read together while what matches is gathered.
const PAGE: usize = 1_000;
/// How often a job with a pace takes a step, so that it has not a commit for each message.
const PACE_MS: u64 = 50;
/// How much of the reason of a refusal a job keeps: characters, and the most bytes that they take in its note.
pub(super) const DETAIL_CHARS_MAX: usize = 300;
const DETAIL_BYTES_MAX: usize = 2_000;
/// How soon a step is tried again that met a message in the middle of a write, and one that failed.
const SOON_MS: u64 = 5;
const AGAIN_MS: u64 = 1_000;

/// What is asked of all messages that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// What.
    pub act: BulkAct,
    /// Which messages; its limits and cursor are not looked at.
    pub query: Query,
    /// The same as the person wrote it.
    pub filter: String,
    /// So many in so much time; as fast as they can be written without.
    pub rate: Option<Rate>,
    /// How many the person believes they are: with any other number nothing is begun.
    pub count: Option<u64>,
}

/// What can be asked of many messages at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BulkAct {
    /// As [`Act::Resend`].
    Resend(Queued),
    /// As [`Act::Cancel`].
    Cancel,
    /// As [`Act::Hold`].
    Hold,
    /// As [`Act::Release`].
    Release,
    /// As [`Act::Delete`].
    Delete,
    /// As [`Act::EditField`].
    Edit(FieldEdit),
}

/// A bulk job, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number, from 1.
    pub number: u64,
    /// What is asked.
    pub act: BulkAct,
    /// Of which messages.
    pub query: Query,
    /// The same as the person wrote it.
    pub filter: String,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// The pace.
    pub rate: Option<Rate>,
    /// Whether it is under way.
    pub state: JobState,
    /// How many matched when it began.
    pub matched: u64,
    /// How many have been done.
    pub done: u64,
    /// How many did not admit it.
    pub refused: u64,
    /// Why the last of these did not.
    pub detail: Option<String>,
    /// The last message that it has looked at.
    pub(super) cursor: Option<Place>,
    /// The last message that there was when it began.
    last: Place,
    /// When it began.
    pub begun_at: WallMs,
    /// When it ended.
    pub ended_at: Option<WallMs>,
}

/// Whether a job is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It is.
    Running,
    /// All was asked for.
    Done,
    /// A person cancelled it; what was done stays done.
    Cancelled,
}

/// What the committer is asked for a job.
pub(super) enum Step {
    /// It begins; its number is given now.
    Begin(Box<Job>),
    /// These messages are next, the last of all perhaps.
    Go(Going),
    /// Somebody does not want it any more.
    Cancel { job: u64, who: Arc<str> },
}

/// The messages that are next of a job.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) job: u64,
    pub(super) places: Vec<Place>,
    /// Whether there are no more.
    pub(super) is_last: bool,
    /// Whether a damaged row keeps them from being written: then they are passed over.
    pub(super) is_hindered: bool,
}

/// What a bulk job would do.
#[derive(Debug, Clone)]
pub struct Preview {
    /// How many messages match.
    pub count: u64,
    /// The newest of them.
    pub samples: Vec<Shown>,
    /// Where a field is edited, what becomes of each of these, or why it would be refused.
    pub edits: Vec<Result<Edited, String>>,
    /// What could not be read, and so may be missing, a sentence each.
    pub damaged: Vec<String>,
}

impl BulkAct {
    /// What is asked of each message.
    pub(super) fn act(&self) -> Act {
        match self {
            BulkAct::Resend(when) => Act::Resend(*when),
            BulkAct::Cancel => Act::Cancel,
            BulkAct::Hold => Act::Hold,
            BulkAct::Release => Act::Release,
            BulkAct::Delete => Act::Delete,
            BulkAct::Edit(field) => Act::EditField(field.clone()),
        }
    }

    /// The field that it edits, where it does.
    #[must_use]
    pub fn field(&self) -> Option<&FieldEdit> {
        match self {
            BulkAct::Edit(field) => Some(field),
            BulkAct::Resend(_) | BulkAct::Cancel | BulkAct::Hold | BulkAct::Release | BulkAct::Delete => None,
        }
    }

    /// As the interface spells it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            BulkAct::Resend(_) => "resend",
            BulkAct::Cancel => "cancel",
            BulkAct::Hold => "hold",
            BulkAct::Release => "release",
            BulkAct::Delete => "delete",
            BulkAct::Edit(_) => "edit",
        }
    }
}

impl JobState {
    /// As the interface spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Cancelled => "cancelled",
        }
    }
}

impl Job {
    /// A job that is about to begin: what matches is counted.
    ///
    /// # Errors
    /// [`Error::Counted`] where that is another number than the person believes, or what hinders the read.
    pub(super) fn prepare(registry: &Registry, bulk: Bulk, who: &str, why: String, now: WallMs) -> Result<Job, Error> {
        let Found { places: found, damaged } = find(registry, &bulk.query, None, None)?;
        registry.set_aside(damaged);
        let matched = u64::try_from(found.len()).unwrap_or(u64::MAX);
        if let Some(expected) = bulk.count.filter(|expected| *expected != matched) {
            return Err(Error::Counted { expected, found: matched });
        }
        let job = Job {
            number: 0,
            act: bulk.act,
            query: bulk.query,
            filter: bulk.filter,
            who: who.to_owned(),
            why,
            rate: bulk.rate,
            state: JobState::Running,
            matched,
            done: 0,
            refused: 0,
            detail: None,
            cursor: None,
            last: found.last().copied().unwrap_or(Place::from_u64(0)),
            begun_at: now,
            ended_at: None,
        };
        let bytes = job.note().value.len();
        if bytes > NOTE_BYTES_MAX - DETAIL_BYTES_MAX {
            return Err(Error::Invalid(format!("the filter and the reason of a bulk job are too long: {bytes} bytes")));
        }
        Ok(job)
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == JobState::Running
    }

    /// Ends it.
    pub(super) fn end(&mut self, state: JobState, now: WallMs) {
        self.state = state;
        self.ended_at = Some(now);
    }

    /// Where its note lies. A number so many higher has the same place.
    fn key(number: u64) -> Vec<u8> {
        vec![KIND, u8::try_from(number % JOBS_KEPT).unwrap_or(0)]
    }

    pub(super) fn note(&self) -> Note {
        // What is short and ours can always be written.
        Note { key: Job::key(self.number), value: serde_json::to_vec(self).unwrap_or_default() }
    }
}

/// The jobs that are remembered.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(BTreeMap<u64, Job>);

impl Ledger {
    /// Those that the store knows.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn open(registry: &Registry) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger::default();
        let mut broken = Vec::new();
        let read = registry.store.notes(&[KIND], &mut |key, value| match serde_json::from_slice(value) {
            Ok(job) => ledger.insert(job),
            Err(error) => broken.push(format!("bulk job at {key:?}: {error}")),
        });
        match read {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => broken.push(format!("bulk jobs: {what}")),
            Err(error) => return Err(error),
        }
        registry.set_aside(broken);
        Ok(ledger)
    }

    /// Remembers how a job stands now.
    pub(super) fn insert(&mut self, job: Job) {
        if let Some(before) = job.number.checked_sub(JOBS_KEPT) {
            self.0.remove(&before);
        }
        self.0.insert(job.number, job);
    }

    pub(super) fn get(&self, number: u64) -> Option<&Job> {
        self.0.get(&number)
    }

    /// The number of the next job, of which `begun` more are about to begin; `None` where too many are under way.
    pub(super) fn next_number(&self, begun: usize) -> Option<u64> {
        let next = self.0.last_key_value().map_or(1, |(last, _)| last + 1) + u64::try_from(begun).unwrap_or(0);
        let has_room = self.running().count() + begun < JOBS_MAX;
        let is_free =
            next.checked_sub(JOBS_KEPT).and_then(|before| self.0.get(&before)).is_none_or(|job| !job.is_running());
        (has_room && is_free).then_some(next)
    }

    /// Newest first.
    pub(super) fn newest_first(&self) -> Vec<Job> {
        self.0.values().rev().cloned().collect()
    }

    fn running(&self) -> impl Iterator<Item = &Job> {
        self.0.values().filter(|job| job.is_running())
    }
}

/// Messages that match.
pub(super) struct Found {
    /// Where they lie, in order of acceptance.
    pub(super) places: Vec<Place>,
    /// What could not be read, and so may be missing.
    pub(super) damaged: Vec<String>,
}

/// The messages that match: those after `after`, up to `last`.
///
/// # Errors
/// What hinders the read.
pub(super) fn find(
    registry: &Registry,
    query: &Query,
    after: Option<Place>,
    last: Option<Place>,
) -> Result<Found, StoreError> {
    let before = last.map(|last| Place::from_u64(last.to_u64().saturating_add(1)));
    let mut query = Query { before, limit: PAGE, scan_max: 0, ..query.clone() };
    let (mut places, mut damaged) = (Vec::new(), Vec::new());
    loop {
        let mut page = registry.store.list(&query)?;
        damaged.append(&mut page.damaged);
        let is_new = |place: &Place| after.is_none_or(|after| *place > after);
        let found = page.records.len();
        places.extend(page.records.iter().map(|record| record.place).take_while(is_new));
        let is_over = page.records.last().is_some_and(|oldest| !is_new(&oldest.place));
        match page.next {
            Some(next) if !is_over && found > 0 => query.before = Some(next),
            Some(_) | None => break,
        }
    }
    places.reverse();
    Ok(Found { places, damaged })
}

/// Asks for the steps of the jobs that are under way.
pub(super) struct Runner {
    running: BTreeMap<u64, Running>,
    /// Called when a step has been answered.
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// A job that is under way.
struct Running {
    /// What is left, in order of acceptance.
    left: Vec<Place>,
    bucket: Option<Bucket>,
    /// Not before this time on the monotonic clock.
    not_before_ms: u64,
    /// How many messages its steps have: one, where a damaged row hindered the last.
    most: usize,
    /// Whether one alone is hindered by that.
    is_hindered: bool,
    /// The step that is being written: how many messages it has, and what became of it.
    asked: Option<(usize, Said)>,
}

/// Where the answer to a step will lie.
type Said = Arc<Mutex<Option<Result<Job, Error>>>>;

impl Runner {
    pub(super) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Runner {
        Runner { running: BTreeMap::new(), wake }
    }

    /// Hands in what is next of every job.
    pub(super) fn turn(&mut self, registry: &Registry, now: Stamp, hand_in: &mut dyn FnMut(Request)) {
        let running: Vec<Job> = registry.jobs().running().cloned().collect();
        self.running.retain(|number, _| running.iter().any(|job| job.number == *number));
        for job in running {
            let one = match self.running.entry(job.number) {
                Entry::Occupied(one) => one.into_mut(),
                Entry::Vacant(place) => match Running::begin(registry, &job, now) {
                    Ok(one) => place.insert(one),
                    Err(error) => {
                        log::error!("bulk job {} cannot go on: {error}", job.number);
                        continue;
                    }
                },
            };
            if let Some((places, is_last)) = one.next(now) {
                let is_hindered = one.is_hindered;
                let said = Said::default();
                one.asked = Some((places.len(), said.clone()));
                let wake = self.wake.clone();
                let reply = move |answer| {
                    *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                    wake();
                };
                hand_in(Request::Bulk(
                    Step::Go(Going { job: job.number, places, is_last, is_hindered }),
                    Box::new(reply),
                ));
            }
        }
    }

    /// When the next step may be asked for, on the monotonic clock; `None` while only an answer can bring one.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.running.values().filter(|one| one.asked.is_none()).map(|one| one.not_before_ms).min()
    }
}

impl Running {
    fn begin(registry: &Registry, job: &Job, now: Stamp) -> Result<Running, StoreError> {
        let bucket = job.rate.map(|rate| Bucket::new(rate, now.mono_ms));
        let Found { places: left, damaged } = find(registry, &job.query, job.cursor, Some(job.last))?;
        registry.set_aside(damaged);
        Ok(Running { left, bucket, not_before_ms: 0, asked: None, most: STEP_MAX, is_hindered: false })
    }

    /// The messages of the next step, and whether they are the last; `None` where it is not time.
    fn next(&mut self, now: Stamp) -> Option<(Vec<Place>, bool)> {
        self.hear(now)?;
        if now.mono_ms < self.not_before_ms {
            return None;
        }
        let mut most = self.left.len().min(self.most);
        if let Some(bucket) = &mut self.bucket {
            let room = usize::try_from(bucket.room(now.mono_ms)).unwrap_or(usize::MAX);
            if room == 0 && most > 0 {
                self.not_before_ms = bucket.next_ms(now.mono_ms).max(now.mono_ms + 1);
                return None;
            }
            most = most.min(room);
        }
        Some((self.left.iter().take(most).copied().collect(), most == self.left.len()))
    }

    /// Takes the answer to the step before; `None` while there is none.
    fn hear(&mut self, now: Stamp) -> Option<()> {
        let Some((asked, said)) = &self.asked else { return Some(()) };
        let answer = said.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let asked = *asked;
        self.asked = None;
        match answer {
            Ok(job) => {
                let handled = self.left.partition_point(|place| job.cursor.is_some_and(|cursor| *place <= cursor));
                self.left.drain(..handled);
                (self.most, self.is_hindered) = (STEP_MAX, false);
                if let Some(bucket) = &mut self.bucket {
                    (0..handled).for_each(|_| bucket.take(now.mono_ms));
                    self.not_before_ms = now.mono_ms + PACE_MS;
                } else if handled < asked {
                    self.not_before_ms = now.mono_ms + SOON_MS;
                }
            }
            Err(Error::Store(StoreError::Damaged(_))) if asked > 0 => {
                // The one that is damaged is found among fewer and fewer, and passed over. Where even that cannot be written, it is not the message.
                if self.is_hindered {
                    self.not_before_ms = now.mono_ms + AGAIN_MS;
                }
                self.is_hindered = asked == 1;
                self.most = asked.div_ceil(2);
            }
            Err(error) => {
                log::warn!("a bulk job waits: {error}");
                self.not_before_ms = now.mono_ms + AGAIN_MS;
            }
        }
        Some(())
    }
}
