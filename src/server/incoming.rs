//! `POST /v1/in/{source}`: what systems hand in by themselves, believed, taken, and answered once it is durable.
//!
//! # What holds
//!
//! * A yes is said once everything that the delivery comes to is durable, with the status that its sender takes for one. Whether any destination is
//!   up does not matter.
//! * What was taken before is a yes again, with the ids that were given first.
//!
//! # What it does not know
//!
//! How senders sign, and which messages go where.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::time::Instant;

use crate::admin::reconcile;
use crate::engine::{Received, Took};
use crate::model::Draft;
use crate::model::ranges::{self, Question};
use crate::model::stream::{CONTENT_TYPE, WORDS_BYTES_MAX};
use crate::source::{Events, Refused, Source, Taken, UNROUTED, Verdict, answer};
use crate::transport::secret::{Came, Disproof};

use super::access::guessed;
use super::budget::Budget;
use super::intake::{now, taken};
use super::listen::{App, answered, blocking};
use super::manage::read as ask;
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, INTAKE_BYTES_MAX, json, with_type};

/// Deliveries larger than this are read on another thread, so that the others need not wait.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// How often the log says of one source that something is not believed.
const SAID_AGAIN: Duration = Duration::from_secs(1);

/// The source of this name. Where its proof stands in the head it is asked for here, before there is a body.
///
/// # Errors
/// There is no such source, or the head does not prove to be it, or has to wait.
pub(super) fn admit(app: &App, peer: IpAddr, headers: &HeaderMap, name: &str) -> Result<Arc<Source>, Problem> {
    let found = app.config.sources.callers().find(|source| *source.name == *name);
    let source = found.ok_or_else(|| Problem::no_source(name))?;
    if source.proof.is_in_head() {
        shown(app, peer, headers, source).inspect_err(|_| source.tally.count(Verdict::Refused, now()))?;
    }
    Ok(source.clone())
}

/// What the head shows, under the rule for tokens: what can be guessed waits where too many were wrong, what cannot never does.
fn shown(app: &App, peer: IpAddr, headers: &HeaderMap, source: &Source) -> Result<(), Problem> {
    let checked = source.proof.check(Came { headers: &once(headers), body: b"", now: now() });
    let is_a_guess = match &checked {
        Ok(()) => source.proof.is_guessable(),
        Err(Disproof::Wrong(_)) => true,
        Err(Disproof::Unsigned(_) | Disproof::OutOfTime(_)) => false,
    };
    let tried = || checked.map_err(|why| disbelieved(app, peer, source, &why));
    if is_a_guess { guessed(app, peer, tried) } else { tried() }
}

/// The most bytes of a body of this source, and out of which room they are: whoever has proved nothing yet takes none from those who have, and a backlog
/// that another registry hands over none from those who do not come again.
pub(super) fn room<'a>(app: &'a App, source: &Source) -> (usize, &'a Rc<Budget>) {
    let one = usize::try_from(app.engine.settings().body_bytes_max).unwrap_or(INTAKE_BYTES_MAX);
    let bytes_max = match source.events {
        // The largest message of another registry comes with its words.
        Events::None if source.is_stream => INTAKE_BYTES_MAX + WORDS_BYTES_MAX,
        Events::None => one.min(INTAKE_BYTES_MAX),
        Events::InBodies | Events::All => INTAKE_BYTES_MAX,
    };
    let budget = match (source.is_stream, source.proof.is_in_head()) {
        (true, _) => &app.peers,
        (false, true) => &app.budget,
        (false, false) => &app.strangers,
    };
    (bytes_max, budget)
}

/// `POST /v1/in/{source}`.
pub(super) async fn deliver(call: Call<'_>) -> Result<Answer, Problem> {
    let Some(source) = call.source.clone() else { return Err(Problem::no_source(&call.name)) };
    let status = StatusCode::from_u16(source.status).unwrap_or(StatusCode::ACCEPTED);
    let (headers, body, now) = (once(&call.headers), call.body.bytes.clone(), now());
    let is_short = body.len() <= INLINE_BYTES_MAX;
    let (sources, its) = (call.app.config.sources.clone(), source.clone());
    let read = move || sources.take(&its, Came { headers: &headers, body: &body, now });
    // A short one does not stand behind those who search the registry.
    let read = if is_short { Some(read()) } else { blocking(read).await };
    let read = read.ok_or_else(|| Problem::internal("the delivery could not be read"))?;
    let drafts = match read {
        Ok(Taken::Drafts(drafts)) => drafts,
        Ok(Taken::Stream(received)) => return stream(call.app, &source, received).await,
        Ok(Taken::Question(question)) => return ranges(call, source, question).await,
        Ok(Taken::Ping) => {
            source.tally.count(Verdict::Ping, now);
            // It takes nothing else for a yes.
            return Ok(json(StatusCode::OK, render::ids(&[], false)));
        }
        Err(Refused::NoFrame(why)) => return Err(Problem::bad(format!("this is no frame of a stream: {why}"))),
        Err(Refused::Malformed(why)) => return Err(Problem::bad(format!("this is no CloudEvent: {why}"))),
        Err(Refused::Disbelieved(why)) => return Err(disbelieved(call.app, call.peer, &source, &why)),
    };
    let is_single = drafts.len() == 1;
    let rests = rests(&drafts);
    let accepted = answered(|reply| call.app.engine.accept(drafts, reply)).await?;
    source.tally.count(verdict(accepted.is_replay, rests), now);
    let mut answer = taken(&accepted, is_single);
    *answer.status_mut() = status;
    Ok(answer)
}

/// Whether some of it goes nowhere.
fn rests(drafts: &[Draft]) -> bool {
    drafts.iter().any(|draft| *draft.envelope.destination == *UNROUTED)
}

/// What became of what is durable now.
fn verdict(is_known: bool, rests: bool) -> Verdict {
    match (is_known, rests) {
        (true, _) => Verdict::Repeated,
        (false, true) => Verdict::Unrouted,
        (false, false) => Verdict::Taken,
    }
}

/// What another registry sends by a stream.
async fn stream(app: &App, source: &Source, received: Received) -> Result<Answer, Problem> {
    let rest: Vec<bool> = received.items.iter().map(|item| rests(&item.drafts)).collect();
    let heard = answered(|reply| app.engine.receive(received, reply)).await?;
    for (took, rests) in heard.took.iter().zip(rest) {
        source.tally.count(verdict(*took == Took::Known, rests), now());
    }
    let body = answer(heard).encode().map_err(|_| Problem::internal("the answer cannot be written"))?;
    Ok(with_type(StatusCode::OK, body, CONTENT_TYPE))
}

/// How a stream looks here, for the registry that sends it.
async fn ranges(call: Call<'_>, source: Arc<Source>, question: Question) -> Result<Answer, Problem> {
    let said = ask(&call, move |engine| reconcile::answer(engine, &source.name, &question)).await?;
    let body = said.encode().map_err(|_| Problem::internal("the answer cannot be written"))?;
    Ok(with_type(StatusCode::OK, body, ranges::CONTENT_TYPE))
}

/// When it was last said of each source that something is not believed. Sources alone are in it, so it stays as small as they are few.
#[derive(Debug, Default)]
pub(super) struct Disbelief(RefCell<HashMap<Arc<str>, Instant>>);

impl Disbelief {
    fn is_due(&self, source: &Arc<str>, now: Instant) -> bool {
        let mut said = self.0.borrow_mut();
        let is_due = said.get(source).is_none_or(|last| now.saturating_duration_since(*last) >= SAID_AGAIN);
        if is_due {
            said.insert(source.clone(), now);
        }
        is_due
    }
}

/// The headers that came once and are text; what came twice could be read in two ways.
fn once(headers: &HeaderMap) -> BTreeMap<String, String> {
    let each = headers.keys().filter_map(|name| {
        let mut values = headers.get_all(name).iter();
        let value = std::str::from_utf8(values.next()?.as_bytes()).ok()?;
        values.next().is_none().then(|| (name.as_str().to_owned(), value.to_owned()))
    });
    each.collect()
}

/// Says it in the log, and to the sender without what would help to guess. Whoever has no secret cannot fill the log.
fn disbelieved(app: &App, peer: IpAddr, source: &Source, why: &Disproof) -> Problem {
    let name = &source.name;
    if app.disbelief.is_due(name, Instant::now()) {
        log::warn!("a delivery to source {name:?} from {peer} is not believed: {why}");
    }
    let (what, hint) = match why {
        Disproof::Unsigned(_) => (
            "nothing in it proves who it is from".to_owned(),
            "The log of the node says which header is expected; it must be there once.",
        ),
        Disproof::Wrong(_) => (why.to_string(), "The secret here and there must be the same one."),
        Disproof::OutOfTime(_) => {
            (why.to_string(), "Compare the clocks of both machines; a delivery that is sent again is signed again.")
        }
    };
    let detail = format!("the delivery to source {name:?} is not believed: {what}");
    Problem::disbelieved(detail, source.proof.challenge()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_silences_no_other() {
        let (said, now) = (Disbelief::default(), Instant::now());
        let is_due = |source: &str, after: Duration| said.is_due(&Arc::from(source), now + after);
        assert!(is_due("shop", Duration::ZERO) && is_due("erp", Duration::ZERO));
        assert!(!is_due("shop", SAID_AGAIN / 2) && is_due("shop", SAID_AGAIN));
    }
}
