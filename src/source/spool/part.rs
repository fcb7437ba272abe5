//! A file as messages: as many at once as one request has.
//!
//! # What holds
//!
//! * What comes to be refused is named by its line.
//!
//! # What it does not know
//!
//! What was taken, and where files go.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::sync::Arc;

use super::super::content::Content;
use super::super::handed::{Handed, Line, Word};
use super::super::{Arrived, Pick, SOURCE_HEADER, Source, Sources, picked, version as version_of};
use super::records::{Form, Record, Records, Spot, Wrong, malformed};
use crate::engine::{MESSAGES_MAX, REQUEST_BYTES_MAX};
use crate::model::percent::{escape_but, is_unreserved};
use crate::model::{Draft, Headers, WallMs};
use crate::store::KEY_OF_ALL;
use crate::transport::secret::Came;

/// By this a receiver can tell gaps.
const SEQUENCE: &str = "goniec-sequence";

/// The messages of one request.
#[derive(Debug)]
pub(super) struct Part {
    /// The messages.
    pub(super) drafts: Vec<Draft>,
    /// How far the file is taken with them.
    pub(super) spot: Spot,
    /// Whether there is nothing more.
    pub(super) is_last: bool,
}

/// Whether messages can be taken at all: why not, in words.
pub(super) type Check<'a> = &'a dyn Fn(Vec<Draft>) -> Result<(), String>;

/// What messages need of where they come from.
pub(super) struct From<'a> {
    /// Everybody who hands in, with their routes.
    pub(super) sources: &'a Sources,
    /// The one whose file it is.
    pub(super) source: &'a Source,
    /// The wall clock.
    pub(super) now: WallMs,
    /// Asked of every record.
    pub(super) check: Check<'a>,
}

/// A file that is being read.
pub(super) struct Reading<'a> {
    from: From<'a>,
    /// What its lines are numbered under.
    run: String,
    /// The type of its bodies, where they do not have one by themselves.
    content_type: Option<&'static str>,
    records: Records<BufReader<File>>,
    /// Where its first record begins.
    beginning: Spot,
    /// What had no room in the last request, and how far the file is taken with it.
    ahead: Option<(Vec<Draft>, Spot)>,
}

impl<'a> Reading<'a> {
    /// Begins to read the file of this name.
    ///
    /// # Errors
    /// The disk's; a table without a head.
    pub(super) fn begin(file: File, name: &OsStr, separator: u8, from: From<'a>) -> Result<Reading<'a>, Wrong> {
        let form = Form::of(name, separator);
        let records = Records::new(BufReader::new(file), form)?;
        let run = escape_but(&name.to_string_lossy(), is_unreserved);
        let beginning = records.spot();
        Ok(Reading { from, run, content_type: form.content_type(), records, beginning, ahead: None })
    }

    /// Where its first record begins.
    pub(super) fn beginning(&self) -> Spot {
        self.beginning
    }

    /// Goes on from this spot.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn wind(&mut self, spot: Spot) -> Result<(), Wrong> {
        self.ahead = None;
        self.records.inner().seek(SeekFrom::Start(spot.bytes)).map_err(Wrong::Disk)?;
        self.records.goes_on_at(spot);
        Ok(())
    }

    /// The messages of the next request.
    ///
    /// # Errors
    /// What is wrong with a record, by its line; the disk's.
    pub(super) fn part(&mut self) -> Result<Part, Wrong> {
        let mut part = Part { drafts: Vec::new(), spot: self.records.spot(), is_last: false };
        let (mut bytes, mut known) = (0, HashSet::new());
        loop {
            let next = match self.ahead.take() {
                Some(ahead) => Some(ahead),
                None => self.next()?,
            };
            let Some((drafts, spot)) = next else {
                part.is_last = true;
                part.spot = self.records.spot();
                return Ok(part);
            };
            let own: u64 = drafts.iter().map(|draft| u64::try_from(draft.body.len()).unwrap_or(u64::MAX)).sum();
            let is_full = part.drafts.len() + drafts.len() > MESSAGES_MAX || bytes + own > REQUEST_BYTES_MAX;
            if is_full && !part.drafts.is_empty() {
                self.ahead = Some((drafts, spot));
                return Ok(part);
            }
            bytes += own;
            part.spot = spot;
            // The same delivery twice in one request is one.
            part.drafts.extend(drafts.into_iter().filter(|draft| match &draft.envelope.idempotency_key {
                Some(key) if key.starts_with(KEY_OF_ALL) => known.insert(key.clone()),
                Some(_) | None => true,
            }));
        }
    }

    /// The messages of the next record, and how far the file is taken with them.
    fn next(&mut self) -> Result<Option<(Vec<Draft>, Spot)>, Wrong> {
        let Some(record) = self.records.next()? else { return Ok(None) };
        let spot = self.records.spot();
        let wrong = |what: String| malformed(record.line, &what);
        let drafts = self.drafts(&record, spot).map_err(wrong)?;
        (self.from.check)(drafts.clone()).map_err(wrong)?;
        Ok(Some((drafts, spot)))
    }

    fn drafts(&self, record: &Record, spot: Spot) -> Result<Vec<Draft>, String> {
        let mut drafts = match self.content_type {
            Some(content_type) => self.of_body(content_type, &record.bytes),
            None => match Line::read(&record.bytes)? {
                Line::Body(body, content_type) => self.of_body(content_type, &body),
                Line::Envelope(handed) => self.of_envelope(*handed)?,
            },
        };
        for Draft { envelope, .. } in &mut drafts {
            if envelope.headers.iter().all(|(name, _)| name != SEQUENCE) {
                envelope.headers.push((SEQUENCE.to_owned(), format!("{}/{}", self.run, spot.records)));
            }
        }
        Ok(drafts)
    }

    fn of_body(&self, content_type: &str, body: &[u8]) -> Vec<Draft> {
        let From { sources, source, now, .. } = self.from;
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        sources.drafts(source, &source.body(Came { headers: &headers, body, now }))
    }

    /// Where the envelope says nothing of it, its body and the routes say it.
    fn of_envelope(&self, handed: Handed<'_, Option<Word>>) -> Result<Vec<Draft>, String> {
        let From { sources, source, now, .. } = self.from;
        let (to, Draft { envelope: own, after, body }) = handed.apart(now, None)?;
        let content = Content::new(&body);
        let found = |pick: &Pick| pick.of(None, &content);
        let delivery = own.idempotency_key.clone().or_else(|| found(&source.delivery).ok().flatten());
        let came_from: Headers = vec![(SOURCE_HEADER.to_owned(), source.name.to_string())];
        let arrived = Arrived {
            kind: own.kind.clone().map_or_else(|| found(&source.kind), |kind| Ok(Some(kind))),
            subject: own.key.clone(),
            content_type: own.content_type.clone(),
            headers: came_from.into_iter().chain(own.headers).collect(),
            traceparent: own.traceparent.clone(),
            known_by: delivery.map(|id| source.known_by(&id, &body)),
            body: content,
        };
        let mut drafts = match to {
            Some(Word(to)) => vec![source.draft_to(&to, &arrived)],
            None => sources.drafts(source, &arrived),
        };
        for draft in &mut drafts {
            let envelope = &mut draft.envelope;
            (envelope.not_before, envelope.deadline) = (own.not_before, own.deadline);
            envelope.version = own.version.or(envelope.version);
            draft.after.clone_from(&after);
        }
        Ok(drafts)
    }
}

impl Source {
    /// What came as a message to a destination that it names itself: it needs no route, and what is not found in it is left out.
    fn draft_to(&self, to: &Arc<str>, arrived: &Arrived<'_>) -> Draft {
        let version = picked("version", self.version.as_ref(), &arrived.body).ok().flatten();
        let version = version.and_then(|text| version_of(&text).ok());
        let envelope = crate::model::Envelope {
            destination: to.clone(),
            key: arrived.subject.clone().or_else(|| self.key_of(arrived)),
            version,
            kind: arrived.kind.clone().ok().flatten(),
            content_type: arrived.content_type.clone(),
            headers: arrived.headers.clone(),
            idempotency_key: arrived.known_by.as_ref().map(|known| Arc::from(format!("{known}{to}"))),
            traceparent: arrived.traceparent.clone(),
            ..Default::default()
        };
        Draft { envelope, after: Vec::new(), body: arrived.body.bytes().into() }
    }
}
