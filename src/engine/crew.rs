//! The workers of one lane: threads that begin when there is work and end when there is none, or when there are more of them than help.
//!
//! How many help follows from the shortest of the last deliveries: a destination that answers in microseconds is kept busy by a few, and more only
//! get in one another's way; one that takes 50 ms needs as many as may be out. The shortest is asked and not the mean, because deliveries that
//! wait for a processor take longer the more workers there are.
//!
//! # What holds
//!
//! * Never more threads than the destination's concurrency, so never more requests under way.
//! * Work never lies there without a worker; and where little comes to an end, as many begin as may be out.
//! * Where a gate weighs each message, or each claim is written down, each begins as soon as it is given.
//! * What was not begun can be called back, in the order in which it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::gate::Gate;
use super::lane::WINDOW_MAX;
use super::news::{Delivery, News, Parcel};
use super::schedule::has_durable_claims;
use super::send::{Outgoing, Picked, pick_up, send};
use super::send_batch::{Gathered, gather, reports, send_batch};
use super::settle::Report;
use super::threads::{Shared, spawn};
use super::words::Destination;

/// How long a worker without work stays.
const IDLE: Duration = Duration::from_secs(10);
/// So many workers are never too many.
const FEW: usize = 8;
/// One more helps for so many nanoseconds of the shortest delivery: a hundred thousand deliveries a second are more than a lane is given.
const NANOS_OF_ONE: u64 = 10_000;
/// By which part of it the shortest delivery is forgotten with each one that takes longer: a few thousand double it.
const FORGET: u64 = 4_096;
/// The shortest delivery of a lane that has made none: it begins with a few workers.
const NONE: u64 = 0;
/// The shortest delivery of a lane that hangs: as many workers help as may be out.
const HANGS: u64 = u64::MAX;

/// The workers of one lane.
#[derive(Clone)]
pub(super) struct Crew {
    rules: Arc<Destination>,
    /// `None` lets one worker go.
    give: Sender<Option<Parcel>>,
    take: Receiver<Option<Parcel>>,
    tell: Sender<Vec<News>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    workers: AtomicUsize,
    busy: AtomicUsize,
    ended: AtomicU64,
    /// The shortest of the last deliveries, in nanoseconds.
    shortest_ns: AtomicU64,
}

impl Crew {
    pub(super) fn new(rules: Arc<Destination>, tell: Sender<Vec<News>>) -> Crew {
        let (give, take) = bounded(WINDOW_MAX.max(usize::from(rules.concurrency)));
        Crew { rules, give, take, tell, counts: Arc::new(Counts::default()) }
    }

    /// Gives a parcel to whoever is free; a new worker begins where none is and one more helps.
    pub(super) fn give(&self, parcel: Parcel, shared: &Arc<Shared>) {
        self.counts.busy.fetch_add(1, Ordering::AcqRel);
        if let Err(back) = self.give.try_send(Some(parcel)) {
            // The scheduler gives no more than the window, which the channel holds; should it ever, nothing is lost.
            self.counts.busy.fetch_sub(1, Ordering::AcqRel);
            if let Some(parcel) = back.into_inner() {
                shared.registry.scheduler().give_back(&parcel);
            }
            return;
        }
        if self.counts.busy.load(Ordering::Acquire) > self.counts.workers.load(Ordering::Acquire) {
            self.hire(shared);
        }
    }

    /// Whether work lies there that nobody has begun.
    pub(super) fn has_waiting(&self) -> bool {
        !self.take.is_empty()
    }

    /// Says whether little comes to an end although work lies there. Where it no longer is so, what is short is learnt anew.
    pub(super) fn find(&self, hangs: bool) {
        let shortest_ns = &self.counts.shortest_ns;
        if hangs {
            shortest_ns.store(HANGS, Ordering::Relaxed);
        } else if shortest_ns.load(Ordering::Relaxed) == HANGS {
            shortest_ns.store(NONE, Ordering::Relaxed);
        }
    }

    /// How many workers help.
    fn useful(&self) -> usize {
        let most = usize::from(self.rules.concurrency);
        let shortest_ns = self.counts.shortest_ns.load(Ordering::Relaxed);
        if shortest_ns == HANGS || !Gate::is_plain(&self.rules) || has_durable_claims(&self.rules) {
            return most;
        }
        usize::try_from(shortest_ns / NANOS_OF_ONE).unwrap_or(most).max(FEW).min(most)
    }

    /// Learns from a delivery how long the shortest takes. Two who learn at once may lose what one of them has learnt: the next makes up for it.
    fn learn(&self, took_ns: u64) {
        let shortest_ns = match self.counts.shortest_ns.load(Ordering::Relaxed) {
            HANGS => return,
            NONE => took_ns,
            known_ns => took_ns.min(known_ns.saturating_add(known_ns / FORGET)),
        };
        self.counts.shortest_ns.store(shortest_ns.clamp(FORGET, HANGS - 1), Ordering::Relaxed);
    }

    /// One worker more or less, where `next` says so.
    fn count(&self, next: impl Fn(usize) -> Option<usize>) -> bool {
        self.counts.workers.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    /// Begins a worker where one more helps.
    pub(super) fn hire(&self, shared: &Arc<Shared>) {
        let useful = self.useful();
        if !self.count(|workers| (workers < useful).then_some(workers + 1)) {
            return;
        }
        let (crew, worker_shared) = (self.clone(), shared.clone());
        let name = format!("goniec-send-{}", self.rules.name.chars().take(16).collect::<String>());
        let spawned = spawn(&name, shared.registry.clone(), move || crew.work(&worker_shared));
        if let Err(error) = spawned {
            self.counts.workers.fetch_sub(1, Ordering::AcqRel);
            log::error!("no thread for destination {}: {error}", self.rules.name);
            if self.counts.workers.load(Ordering::Acquire) == 0 {
                let mut scheduler = shared.registry.scheduler();
                self.call_back().iter().rev().for_each(|parcel| scheduler.give_back(parcel));
            }
        }
    }

    fn work(&self, shared: &Arc<Shared>) {
        loop {
            while let Ok(given) = self.take.recv_timeout(IDLE) {
                let Some(parcel) = given else { return };
                if !self.take.is_empty() {
                    // Who begins then does the same: so they double until they are enough.
                    self.hire(shared);
                }
                let began_ns = shared.clock.nanos();
                match parcel {
                    Parcel::One(delivery) => self.deliver(delivery, shared),
                    Parcel::Batch(deliveries) => self.deliver_batch(deliveries, shared),
                }
                self.learn(shared.clock.nanos().saturating_sub(began_ns));
                self.counts.ended.fetch_add(1, Ordering::Relaxed);
                self.counts.busy.fetch_sub(1, Ordering::AcqRel);
                // Those who stay are enough for what lies there.
                let many = self.useful().saturating_mul(2);
                if self.count(|workers| (workers > many).then(|| workers - 1)) {
                    return;
                }
            }
            self.counts.workers.fetch_sub(1, Ordering::AcqRel);
            // Work given between the last look and the leave would find nobody.
            if self.take.is_empty() {
                return;
            }
            // Somebody may have been hired for it meanwhile.
            if !self.count(|workers| (workers < usize::from(self.rules.concurrency)).then_some(workers + 1)) {
                return;
            }
        }
    }

    fn deliver(&self, delivery: Delivery, shared: &Shared) {
        let who = delivery.who;
        let began = shared.clock.now();
        match pick_up(&shared.registry, delivery, began) {
            Ok(Picked::Go(outgoing)) => {
                let outcome = send(&outgoing, &self.rules);
                let ended = shared.clock.now();
                shared.report(Report::new(who, outgoing.loaded, outcome, began, ended));
            }
            Ok(Picked::Ended(report)) => shared.report(*report),
            Ok(Picked::Stays(state)) => self.tell(News::Settled { who, state }),
            Ok(Picked::Gone) => self.tell(News::Void(who)),
            Err(error) => {
                shared.registry.unreadable(who.entry.place, &error);
                self.tell(News::SetBack(who));
            }
        }
    }

    fn deliver_batch(&self, mut deliveries: Vec<Delivery>, shared: &Shared) {
        while !deliveries.is_empty() {
            let began = shared.clock.now();
            let Gathered { going, ended, news, rest } = gather(&shared.registry, &self.rules, deliveries, began);
            ended.into_iter().for_each(|report| shared.report(report));
            news.into_iter().for_each(|news| self.tell(news));
            if !going.is_empty() {
                let members: Vec<&Outgoing> = going.iter().map(|(_, outgoing)| outgoing).collect();
                let batched = send_batch(&members, &self.rules);
                let (request, reports) = reports(going, batched, began, shared.clock.now());
                shared.land(request, reports);
            }
            deliveries = rest;
        }
    }

    fn tell(&self, news: News) {
        // The scheduler has ended only where the engine has, and then nobody asks.
        let _ = self.tell.send(vec![news]);
    }

    /// What was given and not begun, in that order. A claim that was written down is kept: only sending it ends it.
    pub(super) fn call_back(&self) -> Vec<Parcel> {
        if has_durable_claims(&self.rules) {
            return Vec::new();
        }
        let back: Vec<Parcel> = self.take.try_iter().flatten().collect();
        self.counts.busy.fetch_sub(back.len(), Ordering::AcqRel);
        back
    }

    /// How many parcels have ended.
    pub(super) fn ended(&self) -> u64 {
        self.counts.ended.load(Ordering::Relaxed)
    }

    /// Interrupts what is under way.
    pub(super) fn cut(&self) {
        self.rules.transport.shutdown();
    }

    /// Lets the workers go.
    pub(super) fn dismiss(&self) {
        for _ in 0..self.counts.workers.load(Ordering::Acquire) {
            // A full channel means that nobody waits at it.
            let _ = self.give.try_send(None);
        }
    }
}
