//! The ledger of one side of a stream, as far as it is in memory: each page in short, a few of them whole.
//!
//! # What holds
//!
//! * A page that is not at hand is read from the store; one that cannot be read is as if nothing were known of it, and said.
//!
//! # What it does not know
//!
//! What writes pages, and when.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ledger::Stream;
use crate::model::WallMs;
use crate::model::ledger::{Entry, Page, Print, first_of};
use crate::store::{Store, StoreError};

/// How many pages of a stream are at hand: as many as are under way at once, and some.
const RECENT_MAX: usize = 128;

/// The ledger of one side of a stream, as far as it is in memory.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Every page that is written, in short.
    prints: BTreeMap<u64, Print>,
    /// Some of the highest, whole.
    recent: BTreeMap<u64, Page>,
    /// Every page before this one is whole.
    whole: u64,
    /// All numbers up to this one are known.
    pub(super) mark: u64,
    /// The highest number that is known.
    pub(super) highest: u64,
    /// The highest number that the sender said it gave.
    pub(super) announced: u64,
    /// All numbers up to this one are known on the other side, as it last said.
    pub(super) theirs: u64,
    /// When the other side was last heard.
    pub(super) heard_at: Option<WallMs>,
    /// Since when there has been a hole, where there is one.
    pub(super) gap_since: Option<WallMs>,
}

impl Book {
    /// Looks at a page; one that cannot be read is as if nothing were known of it.
    pub(super) fn look<T>(
        &self,
        stream: &Stream,
        page: u64,
        store: &dyn Store,
        look: impl FnOnce(&Page) -> T,
    ) -> Result<T, StoreError> {
        if let Some(page) = self.recent.get(&page) {
            return Ok(look(page));
        }
        if !self.prints.contains_key(&page) {
            return Ok(look(&Page::default()));
        }
        match store.note(&stream.key(page)) {
            Ok(read) => Ok(look(&read.and_then(Page::read).unwrap_or_default())),
            Err(StoreError::Damaged(why)) => {
                log::error!("page {page} of the ledger of stream {:?} is begun anew: {why}", stream.name);
                Ok(look(&Page::default()))
            }
            Err(error) => Err(error),
        }
    }

    /// A page is written.
    pub(super) fn put(&mut self, number: u64, page: Page) {
        let highest = page.entries().enumerate().filter(|(_, entry)| *entry != Entry::Unknown).last();
        if let Some((at, _)) = highest {
            let at = u64::try_from(at).unwrap_or(0);
            self.highest = self.highest.max(first_of(number).saturating_add(at));
        }
        let print = page.print(number);
        if !print.is_whole_page() {
            self.whole = self.whole.min(number);
        }
        self.prints.insert(number, print);
        self.recent.insert(number, page);
        while self.recent.len() > RECENT_MAX {
            drop(self.recent.pop_first());
        }
    }

    /// There are holes, or none.
    pub(super) fn gap(&mut self, is_there: bool, now: WallMs) {
        self.gap_since = is_there.then(|| self.gap_since.unwrap_or(now));
    }

    /// Raises the mark over what is known by now; lowers it where something was taken out.
    pub(super) fn rise(&mut self, stream: &Stream, store: &dyn Store) {
        while self.prints.get(&self.whole).is_some_and(|print| print.is_whole_page()) {
            self.whole += 1;
        }
        let known = |page: &Page| page.entries().take_while(|entry| *entry != Entry::Unknown).count();
        let beyond = self.look(stream, self.whole, store, known).unwrap_or(0);
        self.mark = first_of(self.whole).saturating_sub(1).saturating_add(u64::try_from(beyond).unwrap_or(0));
    }

    /// Those of these pages that are written, in short.
    pub(super) fn prints(&self, pages: Range<u64>) -> impl Iterator<Item = (u64, Print)> + '_ {
        self.prints.range(pages).map(|(page, print)| (*page, *print))
    }

    /// A page, whole.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn page(&self, stream: &Stream, page: u64, store: &dyn Store) -> Result<Page, StoreError> {
        self.look(stream, page, store, Page::clone)
    }

    /// The first ranges of numbers up to `last` of which nothing is known, at most so many, and not beyond so many pages.
    ///
    /// # Errors
    /// What hinders the read.
    pub(super) fn holes(
        &self,
        stream: &Stream,
        last: u64,
        (most, pages_max): (usize, usize),
        store: &dyn Store,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut holes: Vec<(u64, u64)> = Vec::new();
        let mut from = self.mark.saturating_add(1);
        for _ in 0..pages_max {
            if from > last || holes.len() > most {
                break;
            }
            let (page, at) = stream.number(from).at();
            let mut to = first_of(page.saturating_add(1)).saturating_sub(1).min(last);
            match self.prints.get(&page) {
                Some(print) if print.is_whole_page() => {}
                Some(_) => self.look(stream, page, store, |page| {
                    let unknown =
                        (from..=to).zip(page.entries().skip(at)).filter(|(_, entry)| *entry == Entry::Unknown);
                    unknown.for_each(|(n, _)| add(&mut holes, n, n));
                })?,
                // Between the pages that are there lie whole ranges.
                None => {
                    let next =
                        self.prints.range(page..).next().map_or(last, |(next, _)| first_of(*next).saturating_sub(1));
                    to = next.min(last);
                    add(&mut holes, from, to);
                }
            }
            match to.checked_add(1) {
                Some(next) => from = next,
                None => break,
            }
        }
        holes.truncate(most);
        Ok(holes)
    }
}

/// Adds a range behind the others, or to the last of them.
fn add(holes: &mut Vec<(u64, u64)>, from: u64, to: u64) {
    match holes.last_mut() {
        Some((_, last)) if last.saturating_add(1) == from => *last = to,
        Some(_) | None => holes.push((from, to)),
    }
}
