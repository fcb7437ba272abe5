//! The workers of one lane: threads that begin when there is work and end when there is none.
//!
//! # What holds
//!
//! * Never more threads than the destination's concurrency, so never more requests under way.
//! * What was not begun can be called back, in the order in which it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::lane::WINDOW_MAX;
use super::news::{Delivery, News, Parcel};
use super::send::{Outgoing, Picked, pick_up, send};
use super::send_batch::{Gathered, gather, reports, send_batch};
use super::settle::Report;
use super::threads::{Shared, spawn};
use super::words::Destination;
use crate::model::OnUncertain;

/// How long a worker without work stays.
const IDLE: Duration = Duration::from_secs(10);

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
}

impl Crew {
    pub(super) fn new(rules: Arc<Destination>, tell: Sender<Vec<News>>) -> Crew {
        let (give, take) = bounded(WINDOW_MAX.max(usize::from(rules.concurrency)));
        Crew { rules, give, take, tell, counts: Arc::new(Counts::default()) }
    }

    /// Gives a parcel to whoever is free; a new worker begins where none is and one may.
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
        let workers = self.counts.workers.load(Ordering::Acquire);
        if workers < usize::from(self.rules.concurrency) && self.counts.busy.load(Ordering::Acquire) > workers {
            self.hire(shared);
        }
    }

    /// Work that lies there with nobody to do it gets a worker: none could be had when it was given.
    pub(super) fn revive(&self, shared: &Arc<Shared>) {
        if self.counts.workers.load(Ordering::Acquire) == 0 && !self.take.is_empty() {
            self.hire(shared);
        }
    }

    fn hire(&self, shared: &Arc<Shared>) {
        self.counts.workers.fetch_add(1, Ordering::AcqRel);
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

    fn work(&self, shared: &Shared) {
        loop {
            while let Ok(given) = self.take.recv_timeout(IDLE) {
                match given {
                    Some(Parcel::One(delivery)) => self.deliver(delivery, shared),
                    Some(Parcel::Batch(deliveries)) => self.deliver_batch(deliveries, shared),
                    None => return,
                }
                self.counts.ended.fetch_add(1, Ordering::Relaxed);
                self.counts.busy.fetch_sub(1, Ordering::AcqRel);
            }
            self.counts.workers.fetch_sub(1, Ordering::AcqRel);
            // Work given between the last look and the leave would find nobody.
            if self.take.is_empty() {
                return;
            }
            // Somebody may have been hired for it meanwhile.
            let back = |workers: usize| (workers < usize::from(self.rules.concurrency)).then_some(workers + 1);
            if self.counts.workers.fetch_update(Ordering::AcqRel, Ordering::Acquire, back).is_err() {
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
        if self.rules.policy.on_uncertain != OnUncertain::Retry {
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
