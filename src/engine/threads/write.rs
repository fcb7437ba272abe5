//! The committer and the syncer: many requests, one durable write.
//!
//! # What holds
//!
//! * What comes in while a commit is synced makes the next commit, however much it is, within the limits.
//! * After a failure every request is answered that it did not happen.
//!
//! # What it does not know
//!
//! What a request means.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::super::commit::Committer;
use super::super::news::News;
use super::super::pending::Pending;
use super::super::request::Request;
use super::Shared;
use crate::error::Error;
use crate::model::Stamp;
use crate::store::StoreError;

/// How many requests one commit holds at most, beside the outcomes that have come in,
const REQUESTS_MAX: usize = 256;
/// and how many bytes of bodies; a larger request is alone.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// How often a busy committer looks after retention and the disk.
const CARE_MS: u64 = 1_000;
/// How soon the committer tries again what it put off.
const AGAIN: Duration = Duration::from_millis(1);
/// How often a stop looks whether what was put off can be written.
const PUT_OFF_TRIES: usize = 500;

/// A write that is not yet durable, and when it was begun, in nanoseconds.
pub(super) type Begun = (Pending, u64);

/// Writes down what comes in, until the last sender is gone.
pub(super) fn commit_loop(
    shared: &Shared,
    mut committer: Committer,
    inbox: &Receiver<Request>,
    unsynced: &Sender<Begun>,
    wake_seeker: &Sender<()>,
) {
    let mut next_care_ms = 0;
    loop {
        if !shared.registry.sought.is_empty() {
            // Where it is awake already, it looks again before it sleeps.
            let _ = wake_seeker.try_send(());
        }
        if shared.registry.verdicts.is_due(shared.clock.now()) {
            shared.wake_runner();
        }
        let patience = if committer.has_put_off() { AGAIN } else { Duration::from_millis(CARE_MS) };
        let requests = match gather(shared, inbox, patience) {
            Ok(requests) => requests,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
        };
        let (now, began) = (shared.clock.now(), shared.clock.nanos());
        let is_last = requests.iter().any(|request| matches!(request, Request::Stop));
        match committer.write(requests, now) {
            Ok(Some(pending)) => {
                if unsynced.send((pending, began)).is_err() {
                    return;
                }
            }
            Ok(None) => {}
            // Everyone has been told; from here on every request is refused, until the last sender is gone.
            Err(_) => return refuse_rest(shared, inbox, is_last),
        }
        if is_last {
            return wind_up(shared, &mut committer, inbox, unsynced);
        }
        if now.mono_ms >= next_care_ms {
            let has_more = care(shared, now);
            next_care_ms = now.mono_ms + if has_more { CARE_MS / 50 } else { CARE_MS };
        }
    }
}

/// After a failure: refuses what comes, until the stop has come.
fn refuse_rest(shared: &Shared, inbox: &Receiver<Request>, mut is_last: bool) {
    let refusal = || shared.refusal().unwrap_or(Error::Stopping);
    while !is_last {
        let Ok(request) = inbox.recv() else { return };
        is_last = matches!(request, Request::Stop);
        request.refuse(&refusal);
    }
    inbox.try_iter().for_each(|request| request.refuse(&refusal));
}

/// The last of the committer: what it put off is written or refused, and what came too late is refused.
fn wind_up(shared: &Shared, committer: &mut Committer, inbox: &Receiver<Request>, unsynced: &Sender<Begun>) {
    for _ in 0..PUT_OFF_TRIES {
        if !committer.has_put_off() {
            break;
        }
        std::thread::park_timeout(AGAIN);
        let began = shared.clock.nanos();
        if let Ok(Some(pending)) = committer.write(Vec::new(), shared.clock.now())
            && unsynced.send((pending, began)).is_err()
        {
            break;
        }
    }
    let refusal = || shared.refusal().unwrap_or(Error::Stopping);
    committer.refuse_put_off(&refusal);
    inbox.try_iter().for_each(|request| request.refuse(&refusal));
}

/// Gathers what has come in, up to the limits of one commit.
fn gather(shared: &Shared, inbox: &Receiver<Request>, patience: Duration) -> Result<Vec<Request>, RecvTimeoutError> {
    let first = inbox.recv_timeout(patience)?;
    let mut gathered = Vec::new();
    let (mut requests, mut bytes) = (0, 0);
    let mut next = Some(first);
    while let Some(request) = next {
        let size = request.bytes();
        shared.inbox_bytes.fetch_sub(size, Ordering::Relaxed);
        bytes += size;
        match &request {
            // What comes from within is bounded by what may be out.
            Request::Reports(_)
            | Request::Landed(..)
            | Request::Claims(_)
            | Request::Supersede(_)
            | Request::Met(_) => {}
            Request::Expire(passed) => requests += passed.len(),
            Request::Accept(..)
            | Request::Receive(..)
            | Request::Act(..)
            | Request::Steer(..)
            | Request::Note(..)
            | Request::Token(..)
            | Request::Bulk(..)
            | Request::Told(_)
            | Request::Over(_)
            | Request::Stop => requests += 1,
        }
        gathered.push(request);
        let is_enough = requests >= REQUESTS_MAX || bytes >= COMMIT_BYTES_MAX;
        next = if is_enough { None } else { inbox.try_recv().ok() };
    }
    let reports = std::mem::take(&mut *shared.reports());
    if !reports.is_empty() {
        gathered.push(Request::Reports(reports));
    }
    Ok(gathered)
}

/// A step of retention, and a look at the disk. Whether retention has more to do.
fn care(shared: &Shared, now: Stamp) -> bool {
    let registry = &shared.registry;
    let room = registry.store.room();
    let is_full = room.free_bytes.is_some_and(|free| free < room.reserve_bytes)
        || registry.settings.store_bytes_max.is_some_and(|bytes_max| room.used_bytes >= bytes_max);
    if is_full != shared.full.swap(is_full, Ordering::Relaxed) {
        let words = if is_full { "is short: nothing new is taken" } else { "suffices again" };
        let free = room.free_bytes.map_or_else(|| "unknown".to_owned(), |free| free.to_string());
        let words = format!("room on the disk {words} ({} bytes used, {free} free)", room.used_bytes);
        log::warn!("{words}");
        registry.note_room(is_full, words);
    }
    match registry.store.retain(&registry.settings.retention, now.wall) {
        Ok(retained) => retained.more,
        Err(StoreError::Full(_)) => false,
        Err(StoreError::Damaged(why)) => {
            log::error!("retention stands still: {why}");
            false
        }
        Err(error) => {
            registry.poison(&error.to_string());
            false
        }
    }
}

/// Makes durable what was written, and tells whom it concerns.
pub(super) fn sync_loop(shared: &Shared, to_sync: &Receiver<Begun>, tell: &Sender<Vec<News>>) {
    while let Ok(first) = to_sync.recv() {
        let mut pendings = vec![first];
        pendings.extend(to_sync.try_iter());
        let number = pendings.iter().map(|(pending, _)| pending.number).max().unwrap_or(0);
        let synced = match (number, shared.registry.failure()) {
            (0, _) => Ok(()),
            (_, Some(why)) => Err(StoreError::Poisoned(why)),
            (number, None) => shared.registry.store.sync(number),
        };
        match synced {
            Ok(()) => {
                let now = shared.clock.now();
                let mut news = Vec::new();
                let nanos = shared.clock.nanos();
                for (pending, began) in pendings {
                    if pending.number > 0 {
                        shared.registry.figures.committed(nanos.saturating_sub(began) / 1_000);
                    }
                    pending.announce(&shared.registry, now, &mut news);
                }
                if !news.is_empty() && tell.send(news).is_err() {
                    return;
                }
            }
            Err(error) => {
                let why = error.to_string();
                shared.registry.poison(&why);
                for (pending, _) in pendings {
                    pending.refuse(&why);
                }
            }
        }
    }
}
