//! Bodies both ways: how a request's body is read under limits, and what an answer's body is.
//!
//! # What holds
//!
//! * A request's body has a limit in bytes, a deadline for the whole, and after a grace a minimum rate.
//! * Bodies in memory have a budget; who has to make way in it is answered `429`.
//! * A body that is too large is read on for a while and thrown away, so that the peer hears why.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{EXPECT, HeaderMap};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

use super::budget::Part;
use super::listen::before;
use super::problem::Problem;

/// What the server answers.
pub(super) type Answer = hyper::Response<Reply>;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Reply {
    /// All there is.
    Whole(Option<Bytes>),
    /// What comes, until the sender ends it.
    Stream(Receiver<Bytes>),
}

/// A request's body that holds its part of the budget.
#[derive(Debug)]
pub(super) struct Taken {
    /// The bytes.
    pub(super) bytes: Bytes,
    _part: Part,
}

/// The limits of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// The most bytes.
    pub(super) bytes_max: usize,
    /// The time for the whole.
    pub(super) whole: Duration,
}

/// How long a body may be slow before its rate counts.
const GRACE: Duration = Duration::from_secs(5);
/// The least rate after that, in bytes a second since the beginning.
const BYTES_PER_S_MIN: u64 = 1_024;
/// How much of a body that is too large is read and thrown away.
const DISCARD_BYTES_MAX: usize = 32 << 20;

/// Reads the whole body.
pub(super) async fn take(
    headers: &HeaderMap,
    mut body: Incoming,
    limits: BodyLimits,
    part: Part,
) -> Result<Taken, Problem> {
    let begun = Instant::now();
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > limits.bytes_max {
        // A peer that asked whether to continue has its answer and sends nothing.
        if !headers.contains_key(EXPECT) {
            discard(&mut body, begun + limits.whole).await;
        }
        return Err(Problem::too_large(limits.bytes_max));
    }
    let mut first: Option<Bytes> = None;
    let mut all: Vec<u8> = Vec::new();
    let mut bytes = 0;
    loop {
        let (come, must_go) = (next(&mut body, begun, limits.whole, bytes), part.makes_way());
        let Some(data) = before(must_go, come).await?? else { break };
        bytes += data.len();
        if bytes > limits.bytes_max {
            drop((first, all, part));
            discard(&mut body, begun + limits.whole).await;
            return Err(Problem::too_large(limits.bytes_max));
        }
        part.grow(data.len())?;
        match first.take() {
            // Most bodies come in one piece, which need not be copied.
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(piece) => {
                all.reserve(told.min(1 << 20).max(piece.len() + data.len()));
                all.extend_from_slice(&piece);
                all.extend_from_slice(&data);
            }
        }
    }
    part.complete();
    let bytes = first.unwrap_or_else(|| Bytes::from(all));
    Ok(Taken { bytes, _part: part })
}

/// The next piece of the body; `None` at its end.
async fn next(body: &mut Incoming, begun: Instant, whole: Duration, bytes: usize) -> Result<Option<Bytes>, Problem> {
    loop {
        let rate_ms = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000) / BYTES_PER_S_MIN;
        let deadline = begun + whole.min(GRACE + Duration::from_millis(rate_ms));
        match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Problem::too_slow()),
            Ok(None) => return Ok(None),
            Ok(Some(Err(source))) => return Err(Problem::broken(format!("the body broke off: {source}"))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn discard(body: &mut Incoming, deadline: Instant) {
    let mut bytes = 0;
    while bytes < DISCARD_BYTES_MAX {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Ok(Some(Err(_)) | None) | Err(_) => return,
        }
    }
}

impl Reply {
    /// A body that is all there.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Reply {
        Reply::Whole(Some(bytes.into()))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Reply::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Reply::Stream(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Reply::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(0)))
            }
            Reply::Stream(_) => SizeHint::default(),
        }
    }
}
