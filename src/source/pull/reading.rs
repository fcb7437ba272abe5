//! One reading of a source: page after page, each with its mark, from where it was left to where there is no more.
//!
//! # What holds
//!
//! * The messages of a page and where the next one begins are one commit. A page that is more than one commit takes is several, and the mark says after each how
//!   many of its items were taken: what comes again after a kill is not taken again.
//! * A page whose cursor stays is taken as far as it is new. Of pages without end, [`PAGES_MAX`] are read at a time; one that leads back to an earlier one of the same
//!   reading is not taken, and ends it.
//! * Nothing is taken that cannot be taken whole: an item that is too large stops its source, and is told, until somebody looks at it.
//!
//! # What it does not know
//!
//! When it is read, and who is told that it cannot be.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::progress::{CURSOR_BYTES_MAX, Kept, Progress, is_stop};
use super::{Pull, PullRule};
use crate::engine::{Engine, MESSAGES_MAX, REQUEST_BYTES_MAX};
use crate::error::Error;
use crate::model::{Class, Draft, Failure, WallMs};
use crate::source::{Source, Sources, Taken};
use crate::transport::filter::{Document, Filter, Stuck};
use crate::transport::secret::Came;

/// The most pages of one reading.
pub const PAGES_MAX: usize = 100;
/// How old a mark may be where nothing but its time has changed.
const MARK_AGE_MS_MAX: u64 = 60_000;
/// How much of an answer is told, in characters.
const EXCERPT_CHARS_MAX: usize = 200;

/// How a reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything was taken that there was.
    Read,
    /// It would be its first, and comes to so many messages at least.
    Asks(u64),
}

/// Why it did not come to its end.
#[derive(Debug)]
pub(super) struct Trouble {
    /// In words.
    pub(super) why: String,
    /// For how long the source wants to be left alone.
    pub(super) retry_after_ms: Option<u64>,
    /// The node stops: it is no fault of the source.
    pub(super) is_stop: bool,
}

/// A reading under way.
pub(super) struct Reading<'a> {
    pull: &'a Pull,
    sources: &'a Sources,
    source: &'a Source,
    engine: &'a Engine,
    now: WallMs,
    kept: Kept,
    /// What the items of a page come with: nothing but their type.
    headers: BTreeMap<String, String>,
}

/// What a page says.
struct Page<'a> {
    items: Vec<Cow<'a, [u8]>>,
    /// Where the next one begins, where that is somewhere else.
    next: Option<String>,
    /// Whether there is more now, where it says so.
    more: Option<bool>,
}

/// Messages that become one commit.
#[derive(Default)]
struct Part {
    drafts: Vec<Draft>,
    bytes: u64,
}

impl Trouble {
    pub(super) fn new(why: String) -> Trouble {
        Trouble { why, retry_after_ms: None, is_stop: false }
    }

    /// That it stops.
    fn stop() -> Trouble {
        Trouble { is_stop: true, ..Trouble::new("the node stops".into()) }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        let excerpt: String = failure.excerpt.iter().flat_map(|text| text.chars()).take(EXCERPT_CHARS_MAX).collect();
        let excerpt = excerpt.split_whitespace().collect::<Vec<_>>().join(" ");
        let colon = if excerpt.is_empty() { "" } else { ": " };
        Trouble {
            why: format!("{}{colon}{excerpt}", failure.detail),
            retry_after_ms: failure.retry_after_ms,
            is_stop: failure.class == Class::Interrupted,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble { is_stop: is_stop(&error), ..Trouble::new(error.to_string()) }
    }
}

impl<'a> Reading<'a> {
    /// A reading that begins now, from where the source was left.
    pub(super) fn new(
        pull: &'a Pull,
        sources: &'a Sources,
        source: &'a Source,
        engine: &'a Engine,
        now: WallMs,
        kept: Kept,
    ) -> Reading<'a> {
        let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        Reading { pull, sources, source, engine, now, kept, headers }
    }

    /// Reads. `is_sure` takes the first reading whatever it comes to.
    ///
    /// # Errors
    /// Why it did not come to its end; what was taken before is kept.
    pub(super) fn run(&mut self, is_sure: bool) -> Result<Ended, Trouble> {
        if self.is_first()
            && !is_sure
            && let Some(count) = self.too_many()?
        {
            return Ok(Ended::Asks(count));
        }
        let mut read = HashSet::new();
        for _ in 0..PAGES_MAX {
            let mut at = self.kept.progress.clone().unwrap_or_default();
            if at.cursor.is_empty() {
                at.cursor.clone_from(&self.pull.rule.begin);
            }
            let body = self.ask(&at.cursor)?;
            let page = Page::of(&self.pull.rule, body.as_deref(), &at.cursor)?;
            read.insert(at.cursor.clone());
            if page.goes_on(!page.items.is_empty()).is_some_and(|next| read.contains(next)) {
                return Err(Trouble::new("its pages go in a circle: the next cursor was read a moment ago".into()));
            }
            if !self.take(&at, &page)? {
                break;
            }
        }
        Ok(Ended::Read)
    }

    /// Whether nothing was ever taken: a source that was empty so far is as new as one that was never read.
    fn is_first(&self) -> bool {
        self.kept.progress.as_ref().is_none_or(|progress| progress.is_untaken)
    }

    /// To how many messages the first reading comes, where that is more than may come unasked. Nothing of it is kept, on disk or in memory.
    fn too_many(&self) -> Result<Option<u64>, Trouble> {
        let kept = self.kept.progress.as_ref().map(|progress| &progress.cursor).filter(|cursor| !cursor.is_empty());
        let (mut cursor, mut count) = (kept.unwrap_or(&self.pull.rule.begin).clone(), 0_u64);
        for _ in 0..PAGES_MAX {
            let body = self.ask(&cursor)?;
            let page = Page::of(&self.pull.rule, body.as_deref(), &cursor)?;
            for item in &page.items {
                count += u64::try_from(self.messages(item)?.len()).unwrap_or(u64::MAX);
                if count > self.pull.rule.ask_above {
                    return Ok(Some(count));
                }
            }
            match page.goes_on(!page.items.is_empty()) {
                Some(next) => cursor = next.to_owned(),
                None => return Ok(None),
            }
        }
        // It has not come to its end: nobody knows to how many.
        Ok(Some(count))
    }

    fn ask(&self, cursor: &str) -> Result<Option<Vec<u8>>, Trouble> {
        if self.pull.is_stopping() {
            return Err(Trouble::stop());
        }
        Ok(self.pull.from.page(&self.pull.rule.address, cursor, self.pull.rule.timeout)?)
    }

    /// Takes what is new of a page. Whether there is more now.
    fn take(&mut self, at: &Progress, page: &Page<'_>) -> Result<bool, Trouble> {
        let (known, mut chain) = at.known(&page.items);
        let mut part = Part::default();
        let mut own = HashSet::new();
        for (number, item) in page.items.iter().enumerate().skip(known) {
            let mut drafts = self.messages(item)?;
            // What stands twice in one page is one where its sender says so.
            drafts.retain(|draft| draft.envelope.idempotency_key.as_ref().is_none_or(|key| own.insert(key.clone())));
            if !part.takes(&drafts) {
                self.keep(std::mem::take(&mut part), at.after(number, chain))?;
            }
            part.add(drafts);
            chain.add(item);
        }
        let end = match &page.next {
            Some(next) => Progress::at(next),
            None => at.after(page.items.len(), chain),
        };
        let count = page.items.len() - known;
        self.keep(part, end)?;
        self.pull.desk().shown.items += u64::try_from(count).unwrap_or(u64::MAX);
        if page.more == Some(true) && page.next.is_none() {
            return Err(Trouble::new(
                "the page says that there is more, and not where: its cursor stays the same".into(),
            ));
        }
        Ok(page.goes_on(count > 0).is_some())
    }

    /// Keeps messages, and how far that is.
    fn keep(&mut self, part: Part, end: Progress) -> Result<(), Trouble> {
        let is_untaken = part.drafts.is_empty() && self.is_first();
        let end = Progress { read_at: self.now.0, is_untaken, ..end };
        let is_there = self
            .kept
            .progress
            .as_ref()
            .is_some_and(|at| at.is_at(&end) && self.now.since(at.read_at()) < MARK_AGE_MS_MAX);
        if part.drafts.is_empty() && is_there {
            return Ok(());
        }
        let mark = self.kept.mark(&self.pull.name, &end);
        let bytes = mark.is.clone();
        self.engine.accept_marked_wait(part.drafts, mark)?;
        self.pull.desk().shown.cursor = Some(end.cursor.clone());
        self.kept = Kept::moved(bytes, end);
        Ok(())
    }

    /// What an item comes to.
    fn messages(&self, item: &[u8]) -> Result<Vec<Draft>, Trouble> {
        let came = Came { headers: &self.headers, body: item, now: self.now };
        match self.sources.take(self.source, came) {
            Ok(Taken::Drafts(drafts)) => Ok(drafts),
            // None of them can be of what was asked for: it is JSON, and nobody has to be believed.
            Ok(Taken::Ping | Taken::Stream(_) | Taken::Question(_)) | Err(_) => {
                Err(Trouble::new("an item is none".into()))
            }
        }
    }
}

impl<'a> Page<'a> {
    /// Reads a page; without a body it is an empty one.
    fn of(rule: &PullRule, body: Option<&'a [u8]>, cursor: &str) -> Result<Page<'a>, Trouble> {
        let Some(body) = body else { return Ok(Page { items: Vec::new(), next: None, more: None }) };
        let looks = !rule.items.is_place() || rule.cursor.is_some() || rule.more.is_some();
        let read = if looks { Document::read(body).ok() } else { None };
        let items = rule.items.of(body, read.as_ref()).map_err(|why| Trouble::new(with_beginning(&why, body)))?;
        let next = told("cursor", rule.cursor.as_ref(), read.as_ref(), Filter::word)?.flatten();
        let bytes = next.as_ref().map_or(0, String::len);
        if bytes > CURSOR_BYTES_MAX {
            let words = format!("the next cursor has {bytes} bytes, {CURSOR_BYTES_MAX} are allowed");
            return Err(Trouble::new(words));
        }
        let more = told("more", rule.more.as_ref(), read.as_ref(), Filter::means)?;
        Ok(Page { items, next: next.filter(|next| next != cursor), more })
    }

    /// Where the next page begins, where there is one now.
    fn goes_on(&self, has_news: bool) -> Option<&str> {
        self.next.as_deref().filter(|_| self.more.unwrap_or(has_news))
    }
}

/// What a filter tells of a page, where there is one.
fn told<T>(
    name: &str,
    filter: Option<&Filter>,
    read: Option<&Document>,
    tell: impl FnOnce(&Filter, &Document) -> Result<T, Stuck>,
) -> Result<Option<T>, Trouble> {
    let Some(filter) = filter else { return Ok(None) };
    let read =
        read.ok_or_else(|| Trouble::new("the page is no JSON, or is nested too deep, or has too many values".into()))?;
    tell(filter, read).map(Some).map_err(|stuck| Trouble::new(format!("{name}: {stuck}")))
}

/// What is wrong with a page, and how it begins: systems say there what they did not like.
fn with_beginning(why: &str, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..EXCERPT_CHARS_MAX).unwrap_or(body));
    let clean = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if clean.is_empty() { format!("{why}; it is empty") } else { format!("{why}; it begins: {clean}") }
}

impl Part {
    /// Whether these fit too.
    fn takes(&self, drafts: &[Draft]) -> bool {
        let is_within =
            self.drafts.len() + drafts.len() <= MESSAGES_MAX && self.bytes + size(drafts) <= REQUEST_BYTES_MAX;
        self.drafts.is_empty() || is_within
    }

    fn add(&mut self, drafts: Vec<Draft>) {
        self.bytes += size(&drafts);
        self.drafts.extend(drafts);
    }
}

fn size(drafts: &[Draft]) -> u64 {
    drafts.iter().map(|draft| u64::try_from(draft.body.len()).unwrap_or(u64::MAX)).sum()
}
