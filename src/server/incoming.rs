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

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::time::Instant;

use crate::source::{Refused, Source, Taken};
use crate::transport::secret::{Came, Disproof};

use super::intake::{now, taken};
use super::listen::{App, answered, blocking};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json};

/// Deliveries larger than this are read on another thread, so that the others need not wait.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// How often the log says that something is not believed.
const SAID_AGAIN: Duration = Duration::from_secs(1);

/// `POST /v1/in/{source}`.
pub(super) async fn deliver(call: Call<'_>) -> Result<Answer, Problem> {
    let sources = call.app.config.sources.clone();
    let name = call.name.clone();
    let status = known(call.app, &name)?.status;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::ACCEPTED);
    let (headers, body, now) = (once(&call.headers), call.body.bytes.clone(), now());
    let is_short = body.len() <= INLINE_BYTES_MAX;
    let read = move || {
        let source = sources.find(&name)?;
        Some(sources.take(source, Came { headers: &headers, body: &body, now }))
    };
    // A short one does not stand behind those who search the registry.
    let read = if is_short { read() } else { blocking(read).await.flatten() };
    let read = read.ok_or_else(|| Problem::internal("the delivery could not be read"))?;
    let drafts = match read {
        Ok(Taken::Drafts(drafts)) => drafts,
        // It takes nothing else for a yes.
        Ok(Taken::Ping) => return Ok(json(StatusCode::OK, render::ids(&[], false))),
        Err(Refused::Malformed(why)) => return Err(Problem::bad(format!("this is no CloudEvent: {why}"))),
        Err(Refused::Disbelieved(why)) => {
            // Whoever has no secret cannot fill the log.
            if call.app.disbelief.borrow_mut().is_due(Instant::now()) {
                log::warn!("a delivery to source {:?} from {} is not believed: {why}", call.name, call.peer);
            }
            return Err(disbelieved(&call.name, &why));
        }
    };
    let is_single = drafts.len() == 1;
    let accepted = answered(|reply| call.app.engine.accept(drafts, reply)).await?;
    let mut answer = taken(&accepted, is_single);
    *answer.status_mut() = status;
    Ok(answer)
}

/// The source of this name, if it hands in by itself; asked before the body is read.
pub(super) fn known<'a>(app: &'a App, name: &str) -> Result<&'a Source, Problem> {
    let sources = &app.config.sources;
    let hands_in = sources.find(name).filter(|source| source.calls() && sources.pull(name).is_none());
    hands_in.ok_or_else(|| Problem::no_source(name))
}

/// When it was last said that something is not believed.
#[derive(Debug, Default)]
pub(super) struct Disbelief(Option<Instant>);

impl Disbelief {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= SAID_AGAIN);
        if is_due {
            self.0 = Some(now);
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

fn disbelieved(source: &str, why: &Disproof) -> Problem {
    let problem = Problem::disbelieved(format!("the delivery to source {source:?} is not believed: {why}"));
    match why {
        Disproof::Unsigned(_) | Disproof::Wrong(_) => problem.hint("The secret here and there must be the same one."),
        Disproof::OutOfTime(_) => {
            problem.hint("Compare the clocks of both machines; a delivery that is sent again is signed again.")
        }
    }
}
