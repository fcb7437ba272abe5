//! Transitions as they happen, as server-sent events.
//!
//! The engine's thread must never wait for a reader: each has a bounded buffer, and one that falls behind is cut with a last
//! event that says so. Nobody hears of anything once their token is revoked or their session has ended.
//!
//! # What it does not know
//!
//! What happened before: nothing is replayed.

use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::admin::filter::Filter;
use crate::engine::Transition;
use crate::store::StateName;

use super::access;
use super::intake::now;
use super::listen::{App, before_stop};
use super::manage::filter;
use super::payload::{Answer, Reply};
use super::problem::Problem;
use super::render;
use super::routes::{Call, Right};

/// Those who follow at once.
const FOLLOWERS_MAX: usize = 64;
/// Events that wait for one reader.
const BUFFER: usize = 1_024;
/// Those that wait go out together, so that a reader's right is looked up once for all of them.
const TOGETHER: usize = 64;
/// The last event of a reader that fell behind.
const CUT: &[u8] = b"event: cut\ndata: {\"detail\":\"events came faster than they were read; follow again\"}\n\n";
/// Quiet for so long, and a comment is sent, so that both sides know that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `GET /v1/events`.
pub(super) fn follow(call: Call<'_>) -> Result<Answer, Problem> {
    let (filter, _) = filter(&call.query, now(), &[])?;
    if call.app.followers.get() >= FOLLOWERS_MAX {
        return Err(Problem::crowded(format!("{FOLLOWERS_MAX} follow the events already")));
    }
    let (seen, events) = mpsc::channel(BUFFER);
    call.app.engine.watch(Box::new(move |transition| {
        // A full buffer ends the watch: the reader hears of it when it has read what waits.
        !seen.is_closed() && (!admits(&filter, transition) || seen.try_send(event(transition)).is_ok())
    }));
    let (pieces, stream) = mpsc::channel(1);
    // Counted here: many may ask before the first of their tasks runs.
    call.app.followers.set(call.app.followers.get() + 1);
    tokio::task::spawn_local(pump(Rc::clone(call.app), call.headers, events, pieces));
    let mut answer = Response::new(Reply::Stream(stream));
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

async fn pump(app: Rc<App>, headers: HeaderMap, mut events: mpsc::Receiver<Bytes>, pieces: mpsc::Sender<Bytes>) {
    let mut stopped = app.stopped.clone();
    let mut next = Some(Bytes::from_static(b": goniec follows\n\n"));
    while let Some(piece) = next.take() {
        if !access::may_go_on(&app, &headers, Right::View) || pieces.send(piece).await.is_err() {
            break;
        }
        let mut waiting = Vec::new();
        next = match before_stop(&mut stopped, timeout(HEARTBEAT, events.recv_many(&mut waiting, TOGETHER))).await {
            None => None,
            Some(Err(_)) => Some(Bytes::from_static(b": still here\n\n")),
            Some(Ok(0)) => {
                drop(pieces.send(Bytes::from_static(CUT)).await);
                None
            }
            Some(Ok(_)) => Some(Bytes::from(waiting.concat())),
        };
    }
    app.followers.set(app.followers.get().saturating_sub(1));
}

fn admits(filter: &Filter, transition: &Transition) -> bool {
    let state = StateName::of(transition.state);
    filter.matches(transition.id, &transition.destination, transition.key.as_deref(), state)
}

fn event(transition: &Transition) -> Bytes {
    let mut bytes = b"event: transition\ndata: ".to_vec();
    bytes.extend_from_slice(&render::transition(transition));
    bytes.extend_from_slice(b"\n\n");
    Bytes::from(bytes)
}
