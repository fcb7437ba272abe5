//! The scheduler's thread: it hears what is durable and gives out what may go.
//!
//! # What holds
//!
//! * It never waits for the committer: what that has no room for stays in the outbox.
//! * A lane that stalls loses what it was given in advance.
//!
//! # What it does not know
//!
//! Who goes first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TrySendError};

use super::super::crew::Crew;
use super::super::news::{News, Step};
use super::super::request::Request;
use super::Shared;
use crate::store::Dest;

/// A lane that was given work in advance and ended nothing for so long has stalled.
const STALL: Duration = Duration::from_millis(250);
/// A lane in which work lies is looked at this often;
const LOOK: Duration = Duration::from_millis(25);
/// where it ended fewer meanwhile, it is slow or hangs, and gets all the workers that it may have: threads that wait for a processor end more.
const FEW_ENDED: u64 = 25;
/// How many messages one request gives up.
const EXPIRE_MAX: usize = 4_096;
/// The longest that the scheduler sleeps.
const NAP: Duration = Duration::from_secs(1);

/// Gives out what may go, until it hears nothing at all.
pub(super) fn schedule_loop(shared: &Arc<Shared>, crews: &[Option<Crew>], heard: &Receiver<Vec<News>>) {
    let mut outbox: VecDeque<Request> = VecDeque::new();
    let mut progress: Vec<(u64, Instant)> = crews.iter().map(|_| (0, Instant::now())).collect();
    let mut looked = progress.clone();
    let mut patience = Duration::ZERO;
    loop {
        let mut news = match heard.recv_timeout(patience) {
            Ok(news) if news.is_empty() => return,
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Ok(mut more) = heard.try_recv() {
            if more.is_empty() {
                return;
            }
            news.append(&mut more);
        }
        shared.beats.fetch_add(1, Ordering::Relaxed);
        let now = shared.clock.now();
        let mut steps = Vec::new();
        let next_due = {
            let mut scheduler = shared.registry.scheduler();
            scheduler.hear(&mut news, now);
            let mut give = |step| steps.push(step);
            if shared.is_draining() || shared.registry.failure().is_some() {
                scheduler.next_claimed(&mut give);
            } else {
                scheduler.next(now, &mut give);
            }
            scheduler.next_due()
        };
        let (mut claims, mut passed, mut overtaken) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Claim(parcel) => claims.extend(parcel.into_deliveries()),
                Step::Turned(dest, turned) => shared.registry.turned(dest, turned),
                Step::Expire(who, deadline) => passed.push((who, deadline)),
                Step::Supersede(dest, older, newer) => overtaken.push((dest, older, newer)),
                Step::Send(parcel) => {
                    if let Some(Some(crew)) = parcel.dest().and_then(|dest| crews.get(usize::from(dest.0))) {
                        crew.give(parcel, shared);
                    }
                }
            }
        }
        if !claims.is_empty() {
            outbox.push_back(Request::Claims(claims));
        }
        if !overtaken.is_empty() {
            outbox.push_back(Request::Supersede(overtaken));
        }
        // Many deadlines pass at one moment; one by one they would leave no room for anything else.
        while !passed.is_empty() {
            let rest = passed.split_off(passed.len().min(EXPIRE_MAX));
            outbox.push_back(Request::Expire(std::mem::replace(&mut passed, rest)));
        }
        let has_waiting = hire(shared, crews, &mut looked);
        flush(shared, &mut outbox);
        let is_ahead = call_back(shared, crews, &mut progress);
        patience = next_due.map_or(NAP, |due| Duration::from_millis(due.saturating_sub(now.mono_ms))).min(NAP);
        if is_ahead || has_waiting || !outbox.is_empty() || shared.is_draining() {
            patience = patience.min(Duration::from_millis(20));
        }
    }
}

/// Hands to the committer what it has room for; it is never waited for.
fn flush(shared: &Shared, outbox: &mut VecDeque<Request>) {
    while let Some(request) = outbox.pop_front() {
        match shared.inbox.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(back)) => {
                outbox.push_front(back);
                return;
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

/// Lets workers begin where work lies there, as many as that lane needs. Whether it does in any lane.
fn hire(shared: &Arc<Shared>, crews: &[Option<Crew>], looked: &mut [(u64, Instant)]) -> bool {
    let now = Instant::now();
    let mut is_any = false;
    for (crew, (ended, since)) in crews.iter().zip(looked) {
        let Some(crew) = crew else { continue };
        let (has_waiting, ended_now) = (crew.has_waiting(), crew.ended());
        if has_waiting && now.duration_since(*since) >= LOOK {
            crew.find(ended_now.saturating_sub(*ended) < FEW_ENDED);
        }
        if !has_waiting || now.duration_since(*since) >= LOOK {
            (*ended, *since) = (ended_now, now);
        }
        if has_waiting {
            crew.hire(shared);
        }
        is_any |= has_waiting;
    }
    is_any
}

/// Takes back what stalled lanes were given in advance. Whether any lane is ahead.
fn call_back(shared: &Shared, crews: &[Option<Crew>], progress: &mut [(u64, Instant)]) -> bool {
    let is_draining = shared.is_draining();
    let ahead: Vec<Dest> = {
        let scheduler = shared.registry.scheduler();
        if is_draining { shared.registry.lanes().map(|(dest, _)| dest).collect() } else { scheduler.ahead() }
    };
    for dest in &ahead {
        let number = usize::from(dest.0);
        let (Some(Some(crew)), Some((ended, since))) = (crews.get(number), progress.get_mut(number)) else { continue };
        let ended_now = crew.ended();
        if ended_now != *ended {
            (*ended, *since) = (ended_now, Instant::now());
        }
        if is_draining || since.elapsed() >= STALL || shared.registry.scheduler().is_shut(*dest) {
            let back = crew.call_back();
            let mut scheduler = shared.registry.scheduler();
            scheduler.narrow(*dest);
            for parcel in back.iter().rev() {
                scheduler.give_back(parcel);
            }
        }
    }
    !ahead.is_empty()
}
