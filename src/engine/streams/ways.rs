//! The ways to streams and their ledgers, for whoever runs the engine on threads and whoever drives it.
//!
//! # What it does not know
//!
//! How a message that comes by a stream is met.

use std::ops::Range;

use super::super::ledger::{Side, Stream};
use super::super::registry::Registry;
use super::super::request::Request;
use super::super::words::Reply;
use super::super::{Engine, Turn};
use super::{Arrivals, HOLES_MAX, Heard, Received, StreamShown};
use crate::error::Error;
use crate::model::ledger::{Entry, Page, Print};
use crate::model::{Id, Place, WallMs};

/// How every side of a stream stands.
fn shown(registry: &Registry) -> Vec<StreamShown> {
    let books = registry.books();
    let each = books.all().map(|(stream, book)| {
        let count = books.count(&stream.name).filter(|_| stream.side == Side::Out);
        let count = count.filter(|count| count.epoch == stream.epoch);
        StreamShown {
            stream: stream.clone(),
            is_current: stream.side == Side::In || count.is_some(),
            last: count.map_or(0, |count| count.last).max(book.announced).max(book.highest),
            mark: book.mark,
            theirs: book.theirs,
            gap_since: book.gap_since,
            heard_at: book.heard_at,
        }
    });
    each.collect()
}

/// What is missing in a stream: ranges up to this number of which nothing is known here.
fn holes(registry: &Registry, stream: &Stream, last: u64) -> Result<Vec<(u64, u64)>, Error> {
    let books = registry.books();
    let most = (HOLES_MAX, usize::MAX);
    Ok(books.book(stream).map_or(Ok(Vec::new()), |book| book.holes(stream, last, most, &*registry.store))?)
}

/// The message of a number, where its place is known.
fn message(registry: &Registry, stream: &Stream, n: u64) -> Result<Option<Id>, Error> {
    let entry = registry.books().entry(stream, n, &*registry.store)?;
    let place: Option<Place> = if let Entry::There(place, _) = entry { Some(place) } else { None };
    let record = place.map(|place| registry.store.get(place)).transpose()?.flatten();
    Ok(record.map(|record| record.id))
}

fn page(registry: &Registry, stream: &Stream, page: u64) -> Result<Page, Error> {
    let books = registry.books();
    let book = books.book(stream);
    Ok(book.map_or_else(|| Ok(Page::default()), |book| book.page(stream, page, &*registry.store))?)
}

/// A page as it lies in the store; one that was never written has no entries.
fn written(registry: &Registry, stream: &Stream, page: u64) -> Result<Page, Error> {
    Ok(registry.store.note(&stream.key(page))?.and_then(Page::read).unwrap_or_default())
}

impl Engine {
    /// Takes what another registry sends, all or none; answers once it is durable. Never blocks: a full engine answers [`Error::Busy`].
    pub fn receive(&self, received: Received, reply: Reply<Heard>) {
        // A question takes no room.
        let takes_room = !received.items.is_empty() || !received.ended.is_empty();
        if let Some(error) = self.shared.no_room().filter(|_| takes_room) {
            return reply(Err(error));
        }
        match Arrivals::check(received, &self.shared.registry) {
            Ok(arrivals) => self.shared.hand_in(Request::Receive(Box::new(arrivals), reply), false),
            Err(error) => reply(Err(error)),
        }
    }

    /// How every side of a stream stands of which anything is known here.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamShown> {
        shown(&self.shared.registry)
    }

    /// Ranges of numbers of a stream up to `last` of which nothing is known here: the first [`HOLES_MAX`].
    ///
    /// # Errors
    /// What hinders the read.
    pub fn stream_holes(&self, stream: &Stream, last: u64) -> Result<Vec<(u64, u64)>, Error> {
        holes(&self.shared.registry, stream, last)
    }

    /// The epoch and the last number of messages for a destination that numbers them.
    #[must_use]
    pub fn numbered(&self, destination: &str) -> Option<(u64, u64)> {
        self.shared.registry.books().count(destination).map(|count| (count.epoch, count.last))
    }

    /// The other side of a stream that sends said how it stands there.
    pub fn told(&self, stream: &Stream, heard: &Heard) {
        self.shared.registry.books().told(stream, heard, self.shared.clock.now().wall);
    }

    /// Counts the messages for a destination anew from the next one on, where they are still counted in this epoch: its other side knows numbers that
    /// were not given here. Whether it does now.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn begin_epoch(&self, destination: &str, stale: u64) -> Result<bool, Error> {
        Ok(self.shared.registry.books().renew(destination, stale)?)
    }

    /// These pages of a ledger in short: the same on both sides where they agree.
    #[must_use]
    pub fn ledger_print(&self, stream: &Stream, pages: Range<u64>) -> Print {
        self.shared.registry.books().print(stream, pages)
    }

    /// A page of a ledger, whole.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn ledger_page(&self, stream: &Stream, number: u64) -> Result<Page, Error> {
        page(&self.shared.registry, stream, number)
    }

    /// A page of a ledger as it is written: whoever has read that a message was delivered finds it here, which [`Engine::ledger_page`] tells a moment later.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn ledger_written(&self, stream: &Stream, number: u64) -> Result<Page, Error> {
        written(&self.shared.registry, stream, number)
    }

    /// The message of a number, where it is there.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn ledger_message(&self, stream: &Stream, n: u64) -> Result<Option<Id>, Error> {
        message(&self.shared.registry, stream, n)
    }
}

impl Turn {
    /// Takes what another registry sends, all or none; the next turn writes it down and answers.
    pub fn receive(&mut self, received: Received, reply: Reply<Heard>) {
        match Arrivals::check(received, &self.registry) {
            Ok(arrivals) => self.inbox.push(Request::Receive(Box::new(arrivals), reply)),
            Err(error) => reply(Err(error)),
        }
    }

    /// How every side of a stream stands of which anything is known here.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamShown> {
        shown(&self.registry)
    }

    /// Ranges of numbers of a stream up to `last` of which nothing is known here: the first [`HOLES_MAX`].
    ///
    /// # Errors
    /// What hinders the read.
    pub fn stream_holes(&self, stream: &Stream, last: u64) -> Result<Vec<(u64, u64)>, Error> {
        holes(&self.registry, stream, last)
    }

    /// The epoch and the last number of messages for a destination that numbers them.
    #[must_use]
    pub fn numbered(&self, destination: &str) -> Option<(u64, u64)> {
        self.registry.books().count(destination).map(|count| (count.epoch, count.last))
    }

    /// The other side of a stream that sends said how it stands there.
    pub fn told(&self, stream: &Stream, heard: &Heard, now: WallMs) {
        self.registry.books().told(stream, heard, now);
    }

    /// Counts the messages for a destination anew from the next one on, where they are still counted in this epoch: its other side knows numbers that
    /// were not given here. Whether it does now.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn begin_epoch(&self, destination: &str, stale: u64) -> Result<bool, Error> {
        Ok(self.registry.books().renew(destination, stale)?)
    }

    /// These pages of a ledger in short: the same on both sides where they agree.
    #[must_use]
    pub fn ledger_print(&self, stream: &Stream, pages: Range<u64>) -> Print {
        self.registry.books().print(stream, pages)
    }

    /// A page of a ledger, whole.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn ledger_page(&self, stream: &Stream, number: u64) -> Result<Page, Error> {
        page(&self.registry, stream, number)
    }

    /// The message of a number, where it is there.
    ///
    /// # Errors
    /// What hinders the read.
    pub fn ledger_message(&self, stream: &Stream, n: u64) -> Result<Option<Id>, Error> {
        message(&self.registry, stream, n)
    }
}
