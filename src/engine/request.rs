//! What is asked of the committer.
//!
//! # What it does not know
//!
//! How it is written down, and when.

use super::after::Met;
use super::audit::Deed;
use super::bulk::{Job, Step as BulkStep};
use super::incident::Incident;
use super::mark::Mark;
use super::news::{Delivery, Who};
use super::settle::Report;
use super::streams::{Arrivals, Heard};
use super::token::Asked;
use super::words::{Accepted, Act, By, Hand, Lane, Reply, Shown};
use crate::error::Error;
use crate::model::{Id, Outcome, Place, WallMs};
use crate::store::{Dest, Incoming};

/// Something to be written down.
pub(super) enum Request {
    /// New messages, all or none, and how far was read where they came from.
    Accept(Vec<Incoming>, Option<Mark>, Reply<Accepted>),
    /// What another registry sends by a stream, all or none.
    Receive(Box<Arrivals>, Reply<Heard>),
    /// What a person asks of a message.
    Act(Id, By<Act>, Reply<Shown>),
    /// What a person asks of a destination.
    Steer(Dest, By<Hand>, Reply<Lane>),
    /// Something that a person did which is kept in the audit log alone.
    Note(Deed, Reply<()>),
    /// What somebody asks of the tokens.
    Token(Asked, Reply<()>),
    /// These incidents are over.
    Over(Vec<Incident>),
    /// What becomes of a bulk job.
    Bulk(BulkStep, Reply<Job>),
    /// Messages are about to go out to destinations that must not get them twice.
    Claims(Vec<Delivery>),
    /// The first is to give its place to the second, which is newer and of the same key: destination, both places.
    Supersede(Vec<(Dest, Place, Place)>),
    /// Messages of these keys were delivered: who awaits them awaits less.
    Met(Vec<Met>),
    /// Reserved messages' deadlines passed.
    Expire(Vec<(Who, WallMs)>),
    /// A person has been told of these.
    Told(Vec<(Place, WallMs)>),
    /// What became of attempts.
    Reports(Vec<Report>),
    /// How a request with several messages ended, and what became of each.
    Landed(Outcome, Vec<Report>),
    /// Nothing more will come.
    Stop,
}

impl Request {
    /// Answers whoever asked that it did not happen.
    pub(super) fn refuse(self, why: &dyn Fn() -> Error) {
        match self {
            Request::Accept(_, _, reply) => reply(Err(why())),
            Request::Receive(_, reply) => reply(Err(why())),
            Request::Act(_, _, reply) => reply(Err(why())),
            Request::Steer(_, _, reply) => reply(Err(why())),
            Request::Note(_, reply) | Request::Token(_, reply) => reply(Err(why())),
            Request::Bulk(_, reply) => reply(Err(why())),
            Request::Claims(_)
            | Request::Supersede(_)
            | Request::Met(_)
            | Request::Expire(..)
            | Request::Told(_)
            | Request::Over(_)
            | Request::Reports(_)
            | Request::Landed(..)
            | Request::Stop => {}
        }
    }

    /// The bytes of bodies that it brings along.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Request::Accept(incoming, ..) => incoming.iter().map(|one| one.draft.body.len()).sum(),
            Request::Receive(arrivals, _) => arrivals.bytes(),
            Request::Act(_, By { what: Act::Edit { body, .. }, .. }, _) => body.len(),
            Request::Act(..)
            | Request::Steer(..)
            | Request::Note(..)
            | Request::Token(..)
            | Request::Bulk(..)
            | Request::Claims(_)
            | Request::Supersede(_)
            | Request::Met(_)
            | Request::Expire(..)
            | Request::Told(_)
            | Request::Over(_)
            | Request::Reports(_)
            | Request::Landed(..)
            | Request::Stop => 0,
        }
    }
}
