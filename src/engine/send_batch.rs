//! Sending many at once: the members of a batch are brought to hand, go as one request, and each gets what became of it.
//!
//! # What holds
//!
//! * Every member is picked up by itself: one that is gone, held or cannot be read does not keep the others.
//! * No more than [`BATCH_BYTES_MAX`] of bodies go together, but for one that is larger alone.
//! * Where a batch of more than one is refused as a whole, nobody knows which of it was meant: each of it goes alone next, and the attempt counts for none.
//! * An answer of a transport that leaves a member out makes every member uncertain.
//!
//! # What it does not know
//!
//! Who waits for the outcomes, and the clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::news::{Delivery, News, Who};
use super::parcel::BATCH_BYTES_MAX;
use super::registry::Registry;
use super::schedule::has_durable_claims;
use super::send::{Outgoing, Picked, ask, panicked, pick_up};
use super::settle::{Part, Report};
use super::words::Destination;
use crate::model::{Class, Cost, Delivery as Ended, Failure, Message, Outcome, Sent, Stamp};
use crate::transport::Batched;

/// A message in a worker's hands, with what the scheduler knows it by.
pub(super) type Member = (Who, Outgoing);

/// What became of deliveries that were to go together.
#[derive(Default)]
pub(super) struct Gathered {
    /// They go.
    pub(super) going: Vec<Member>,
    /// They cannot go, and that is their outcome.
    pub(super) ended: Vec<Report>,
    /// What the scheduler is to hear of those that do not go.
    pub(super) news: Vec<News>,
    /// They go with the next request: they had no room in this one, and that they go is written down.
    pub(super) rest: Vec<Delivery>,
}

/// Brings to hand what goes together. What has no room goes back in line, or with the next request where that it goes is written down.
pub(super) fn gather(registry: &Registry, rules: &Destination, deliveries: Vec<Delivery>, now: Stamp) -> Gathered {
    let mut gathered = Gathered::default();
    let mut bytes = 0_usize;
    let mut deliveries = deliveries.into_iter();
    for delivery in deliveries.by_ref() {
        let who = delivery.who;
        match pick_up(registry, delivery, now) {
            Ok(Picked::Go(outgoing)) => {
                bytes = bytes.saturating_add(outgoing.loaded.message.body.len());
                if bytes > BATCH_BYTES_MAX && !gathered.going.is_empty() {
                    let Outgoing { loaded, is_in_doubt } = outgoing;
                    gathered.rest.push(Delivery { who, loaded: Some(loaded), is_in_doubt });
                    break;
                }
                gathered.going.push((who, outgoing));
            }
            Ok(Picked::Ended(report)) => gathered.ended.push(*report),
            Ok(Picked::Stays(state)) => gathered.news.push(News::Settled { who, state }),
            Ok(Picked::Gone) => gathered.news.push(News::Void(who)),
            Err(error) => {
                registry.unreadable(who.entry.place, &error);
                gathered.news.push(News::SetBack(who));
            }
        }
    }
    gathered.rest.extend(deliveries);
    let Some(dest) = gathered.rest.first().map(|delivery| delivery.who.dest) else { return gathered };
    if has_durable_claims(rules) {
        registry.scheduler().goes_again(dest, now);
    } else {
        registry.scheduler().leave_out(&gathered.rest, now);
        gathered.rest.clear();
        gathered.news.push(News::Steered);
    }
    gathered
}

/// Sends them once, together; those of which nobody knows whether they are there, only where the destination says that they are not.
pub(super) fn send_batch(members: &[&Outgoing], destination: &Destination) -> Batched {
    let deadline = Duration::from_millis(destination.timeout_ms);
    let asked = ask_each(members, destination);
    let goes = members.iter().zip(&asked).filter(|(_, asked)| asked.is_none());
    let messages: Vec<Message> = goes.map(|(outgoing, _)| outgoing.loaded.message.clone()).collect();
    if let Some(last) = asked.iter().flatten().last().filter(|_| messages.is_empty()).cloned() {
        return Batched { request: last, each: asked };
    }
    let attempt = || destination.transport.send_batch(&messages, deadline);
    let sent = catch_unwind(AssertUnwindSafe(attempt));
    among(sent.unwrap_or_else(|panic| Batched::whole(panicked(&*panic), messages.len())), asked)
}

/// What comes of those of which nobody knows whether they are there; `None` for those that are to go. Where nobody is there to answer, the others are
/// not asked after: that could take as long as all of them.
fn ask_each(members: &[&Outgoing], destination: &Destination) -> Vec<Option<Outcome>> {
    let mut unanswered: Option<Outcome> = None;
    let ask_one = |outgoing: &&Outgoing| {
        if outgoing.is_in_doubt && unanswered.is_some() {
            return unanswered.clone();
        }
        let asked = catch_unwind(AssertUnwindSafe(|| ask(outgoing, destination)));
        let asked = asked.unwrap_or_else(|panic| Some(panicked(&*panic)));
        if let Some(Outcome::Failed(failure @ Failure { cost: Cost::Free, .. })) = &asked {
            let detail =
                format!("not asked, as nobody answered about another message of its batch: {}", failure.detail);
            unanswered = Some(Outcome::Failed(Failure { detail, phases: None, ..failure.clone() }));
        }
        asked
    };
    members.iter().map(ask_one).collect()
}

/// What became of those that went, among those that were asked about.
fn among(Batched { request, each }: Batched, asked: Vec<Option<Outcome>>) -> Batched {
    let count = asked.iter().filter(|asked| asked.is_none()).count();
    let mut went = complete(each, count).into_iter();
    let each = asked.into_iter().map(|asked| if asked.is_some() { asked } else { went.next().flatten() });
    Batched { request, each: each.collect() }
}

/// What a transport told of each message, where it told of as many as went; else nobody knows of any.
fn complete(each: Vec<Option<Outcome>>, count: usize) -> Vec<Option<Outcome>> {
    if each.len() == count {
        return each;
    }
    let words = format!("the transport told of {} messages where {count} went", each.len());
    vec![Some(Outcome::Failed(Failure::new(Class::Other, Sent::Maybe, words))); count]
}

/// What each of them is to be told, beside how the request ended.
pub(super) fn reports(members: Vec<Member>, batched: Batched, began: Stamp, ended: Stamp) -> (Outcome, Vec<Report>) {
    let (request, count) = (batched.request, members.len());
    let each = complete(batched.each, count);
    let words: Arc<str> = format!("one of {count} that went together").into();
    // One that is gone for good refuses whatever comes.
    let is_refused = matches!(&request, Outcome::Failed(failure) if failure.delivery() == Ended::Rejected && failure.class != Class::Gone);
    let is_shared = is_refused && each.iter().filter(|own| own.is_none()).count() > 1;
    let report = |((who, outgoing), own): (Member, Option<Outcome>)| {
        let part = Part { words: words.clone(), is_free: false, goes_alone: is_shared && own.is_none() };
        let outcome = own.unwrap_or_else(|| request.clone());
        Report { part: Some(part), ..Report::new(who, outgoing.loaded, outcome, began, ended) }
    };
    let reports = members.into_iter().zip(each).map(report).collect();
    (request, reports)
}
