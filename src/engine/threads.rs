//! The stages on threads of their own: only here and below does the engine spawn threads, make channels, and read the clock.
//!
//! ```text
//! callers ─┐ bounded          COMMITTER                       SYNCER
//! workers ─┴─────────▶ one transaction of many    ───▶ sync, then acknowledge    ───▶ SCHEDULER ──▶ WORKERS
//!                      requests                        callers and wake lanes         wheel, lanes      │
//!                          ▲                                                                            │
//!                          └──────────────────────────── outcomes ──────────────────────────────────────┘
//! ```
//!
//! # What holds
//!
//! * Every channel is bounded, and there is no ring of threads that wait for one another: the scheduler never waits for the committer.
//! * A thread that panics, and a write or sync that fails, poisons the registry: nothing more is acknowledged.
//! * A lane's workers are its own: a destination that hangs holds nobody's threads but its own.

mod give;
mod seek;
mod write;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded, select};

use super::alert::{Alerter, LOOK_MS};
use super::bulk::Runner;
use super::commit::Committer;
use super::crew::Crew;
use super::news::News;
use super::pending::poisoned;
use super::registry::Registry;
use super::request::Request;
use super::settle::Report;
use crate::error::Error;
use crate::model::{Outcome, Stamp, WallMs};
use crate::store::StoreError;
use give::schedule_loop;
use seek::seek_loop;
use write::{commit_loop, sync_loop};

/// How many requests may wait for the committer.
const INBOX_MAX: usize = 4_096;
/// How many bytes of bodies may wait for the committer before callers hear that the engine is full.
const INBOX_BYTES_MAX: usize = 64 << 20;
/// How many commits may wait for the syncer: none, so that what comes in during a sync makes one commit and not several.
const UNSYNCED_MAX: usize = 0;
/// How many commits' news may wait for the scheduler.
const NEWS_MAX: usize = 256;

/// The clock of the engine: the only one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The moment.
    pub(super) fn now(self) -> Stamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp { wall: WallMs(millis(wall)), mono_ms: millis(self.origin.elapsed()) }
    }

    /// Nanoseconds since the start.
    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The way in: what every thread and caller shares.
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    inbox: Sender<Request>,
    inbox_bytes: AtomicUsize,
    /// What became of attempts, until the committer takes it: never more than what is out.
    reports: Mutex<Vec<Report>>,
    /// Nothing new is taken.
    is_stopping: AtomicBool,
    /// Nothing that has not left is sent.
    is_draining: AtomicBool,
    full: AtomicBool,
    /// Wakes the thread of bulk jobs.
    wake: Sender<()>,
    /// How often the scheduler has gone round.
    pub(super) beats: AtomicU64,
}

/// The threads of a running engine.
pub(super) struct Threads {
    shared: Arc<Shared>,
    committer: JoinHandle<()>,
    syncer: JoinHandle<()>,
    scheduler: JoinHandle<()>,
    seeker: JoinHandle<()>,
    alerter: JoinHandle<()>,
    runner: JoinHandle<()>,
    crews: Arc<Vec<Option<Crew>>>,
    tell: Sender<Vec<News>>,
    stop_alerts: Sender<()>,
    stop_runner: Sender<()>,
}

impl Shared {
    /// Why nothing new is taken now, if so.
    pub(super) fn refusal(&self) -> Option<Error> {
        if let Some(why) = self.registry.failure() {
            return Some(poisoned(&why));
        }
        self.is_stopping.load(Ordering::Acquire).then_some(Error::Stopping)
    }

    /// Why nothing that takes room is taken now, if so.
    pub(super) fn no_room(&self) -> Option<Error> {
        let is_full = self.full.load(Ordering::Relaxed);
        is_full.then(|| {
            Error::Store(StoreError::Full("less is free than the reserve, or the size limit is reached".into()))
        })
    }

    /// Hands a request to the committer. Where it cannot, the request is answered so. Waits for room only if told to.
    pub(super) fn hand_in(&self, request: Request, wait: bool) {
        if self.refusal().is_some() {
            return request.refuse(&|| self.refusal().unwrap_or(Error::Stopping));
        }
        let bytes = request.bytes();
        if self.inbox_bytes.load(Ordering::Relaxed) > INBOX_BYTES_MAX && !wait {
            return request.refuse(&|| Error::Busy);
        }
        self.inbox_bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if wait {
            self.inbox.send(request).err().map(|back| (back.into_inner(), false))
        } else {
            match self.inbox.try_send(request) {
                Ok(()) => None,
                Err(TrySendError::Full(back)) => Some((back, true)),
                Err(TrySendError::Disconnected(back)) => Some((back, false)),
            }
        };
        if let Some((request, is_busy)) = refused {
            self.inbox_bytes.fetch_sub(bytes, Ordering::Relaxed);
            request.refuse(&|| if is_busy { Error::Busy } else { self.refusal().unwrap_or(Error::Stopping) });
        }
    }

    /// Hands in what became of an attempt. The first since the committer looked wakes it, and waits for room to do so.
    pub(super) fn report(&self, report: Report) {
        let is_first = {
            let mut reports = self.reports();
            reports.push(report);
            reports.len() == 1
        };
        if is_first && self.inbox.send(Request::Reports(Vec::new())).is_err() {
            log::error!("an outcome could not be written down: the committer has ended");
        }
    }

    /// Hands in what became of a batch, and waits for room to do so.
    pub(super) fn land(&self, request: Outcome, reports: Vec<Report>) {
        if self.inbox.send(Request::Landed(request, reports)).is_err() {
            log::error!("the outcomes of a batch could not be written down: the committer has ended");
        }
    }

    fn reports(&self) -> MutexGuard<'_, Vec<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the thread of bulk jobs that there is something for it.
    pub(super) fn wake_runner(&self) {
        // A channel that is full says so already.
        let _ = self.wake.try_send(());
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }
}

/// Starts every thread. What a start must settle first is settled on return.
///
/// # Errors
/// The store failed, or the system gives no threads.
pub(super) fn start(
    registry: Arc<Registry>,
    mut committer: Committer,
    alerter: Alerter,
    first: Vec<Request>,
    clock: Clock,
) -> Result<(Arc<Shared>, Threads), Error> {
    let mut news = Vec::new();
    if let Some(pending) = committer.write(first, clock.now())? {
        registry.store.sync(pending.number)?;
        pending.announce(&registry, clock.now(), &mut news);
    }
    registry.scheduler().hear(&mut news, clock.now());

    let (inbox, requests) = bounded(INBOX_MAX);
    let (unsynced, to_sync) = bounded(UNSYNCED_MAX);
    let (tell, heard) = bounded(NEWS_MAX);
    let ((stop_alerts, stopped_alerts), (stop_runner, stopped_runner)) = (bounded(1), bounded(1));
    let ((wake, woken), (wake_seeker, to_seek)) = (bounded(1), bounded(1));
    let shared = Arc::new(Shared {
        registry: registry.clone(),
        clock,
        inbox,
        inbox_bytes: AtomicUsize::new(0),
        reports: Mutex::default(),
        is_stopping: AtomicBool::new(false),
        is_draining: AtomicBool::new(false),
        full: AtomicBool::new(false),
        wake: wake.clone(),
        beats: AtomicU64::new(0),
    });
    let crews: Arc<Vec<Option<Crew>>> = Arc::new(
        registry.lanes().map(|(_, rules)| rules.map(|rules| Crew::new(rules.clone(), tell.clone()))).collect(),
    );
    let threads = Threads {
        committer: {
            let shared = shared.clone();
            spawn("goniec-commit", registry.clone(), move || {
                commit_loop(&shared, committer, &requests, &unsynced, &wake_seeker);
            })?
        },
        syncer: {
            let (shared, tell) = (shared.clone(), tell.clone());
            spawn("goniec-sync", registry.clone(), move || sync_loop(&shared, &to_sync, &tell))?
        },
        scheduler: {
            let (shared, crews) = (shared.clone(), crews.clone());
            spawn("goniec-schedule", registry.clone(), move || schedule_loop(&shared, &crews, &heard))?
        },
        seeker: {
            let shared = shared.clone();
            spawn("goniec-seek", registry.clone(), move || seek_loop(&shared, &to_seek))?
        },
        alerter: {
            let shared = shared.clone();
            spawn("goniec-alert", registry.clone(), move || alert_loop(&shared, alerter, &stopped_alerts))?
        },
        runner: {
            let shared = shared.clone();
            spawn("goniec-bulk", registry, move || bulk_loop(&shared, wake, &woken, &stopped_runner))?
        },
        shared: shared.clone(),
        crews,
        tell,
        stop_alerts,
        stop_runner,
    };
    Ok((shared, threads))
}

/// Spawns a thread whose panic poisons the registry.
pub(super) fn spawn(
    name: &str,
    registry: Arc<Registry>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    struct Guard(Arc<Registry>, String);
    impl Drop for Guard {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.poison(&format!("thread {} panicked", self.1));
            }
        }
    }
    let guard = Guard(registry, name.to_owned());
    let run = move || {
        let _guard = guard;
        body();
    };
    Builder::new().name(name.to_owned()).spawn(run).map_err(|error| Error::Store(StoreError::Io(error)))
}

fn alert_loop(shared: &Shared, mut alerter: Alerter, stop: &Receiver<()>) {
    let go_on = || matches!(stop.try_recv(), Err(TryRecvError::Empty));
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(LOOK_MS)) {
        let told = alerter.turn(&shared.registry, shared.clock.now(), &go_on);
        let told = (!told.is_empty()).then_some(Request::Told(told));
        let requests = told.into_iter().chain(alerter.over().map(Request::Over));
        if !requests.into_iter().all(|request| shared.inbox.send(request).is_ok()) {
            return;
        }
    }
}

/// Takes bulk jobs on, a step at a time.
fn bulk_loop(shared: &Shared, wake: Sender<()>, woken: &Receiver<()>, stop: &Receiver<()>) {
    // An answer that finds the channel full finds it woken already.
    let mut runner = Runner::new(Arc::new(move || {
        let _ = wake.try_send(());
    }));
    loop {
        let (registry, now) = (&shared.registry, shared.clock.now());
        runner.turn(registry, now, &mut |request| shared.hand_in(request, true));
        registry.verdicts.turn(registry, now, &mut |request| shared.hand_in(request, true));
        let due = runner.next_due().into_iter().chain(registry.verdicts.next_due()).min();
        let due_ms = due.unwrap_or(u64::MAX).saturating_sub(shared.clock.now().mono_ms);
        select! {
            recv(stop) -> _ => return,
            recv(woken) -> _ => {}
            default(Duration::from_millis(due_ms.clamp(1, LOOK_MS))) => {}
        }
    }
}

impl Threads {
    /// Takes nothing new, lets what is out come home for at most `limit`, writes it down, and ends every thread.
    ///
    /// # Errors
    /// The store failed before or during the stop.
    pub(super) fn stop(self, limit: Duration) -> Result<(), Error> {
        let Threads {
            shared,
            committer,
            syncer,
            scheduler,
            seeker,
            alerter,
            runner,
            crews,
            tell,
            stop_alerts,
            stop_runner,
        } = self;
        let until = Instant::now() + limit.min(STOP_MAX);
        shared.is_stopping.store(true, Ordering::Release);
        shared.is_draining.store(true, Ordering::Release);
        let is_out = || shared.registry.failure().is_none() && shared.registry.scheduler().out() > 0;
        let mut was_cut = false;
        while is_out() {
            if Instant::now() >= until && !was_cut {
                was_cut = true;
                log::warn!("cutting off what is still out after {} s", limit.as_secs());
                crews.iter().flatten().for_each(Crew::cut);
            }
            if was_cut && Instant::now() >= until + CUT_PATIENCE {
                log::warn!("leaving behind what did not come home; it will be judged at the next start");
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        drop(stop_alerts);
        drop(stop_runner);
        let _ = shared.inbox.send(Request::Stop);
        let joined = [committer.join(), syncer.join(), seeker.join()];
        crews.iter().flatten().for_each(Crew::dismiss);
        let _ = tell.send(Vec::new());
        let joined_rest = [scheduler.join(), runner.join(), join_within(alerter, until + CUT_PATIENCE)];
        let closed = shared.registry.store.close();
        if joined.iter().chain(&joined_rest).any(Result::is_err) {
            shared.registry.poison("a thread of the engine panicked");
        }
        match shared.registry.failure() {
            Some(why) => Err(poisoned(&why)),
            None => closed.map_err(Error::Store),
        }
    }
}

/// Joins the thread if it ends by then; else it is left behind. Whom it is telling of something is told once more after the next start.
fn join_within(thread: JoinHandle<()>, until: Instant) -> std::thread::Result<()> {
    while !thread.is_finished() {
        if Instant::now() >= until {
            log::warn!("leaving behind a channel of alerts that does not come to an end");
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    thread.join()
}

/// The longest that a stop waits for what is out.
const STOP_MAX: Duration = Duration::from_secs(86_400);
/// How long a transport that was cut off may take to notice.
const CUT_PATIENCE: Duration = Duration::from_secs(2);

/// A place for one value, and the wait for it; `None` where it will never come.
pub(super) fn once<T: Send + 'static>() -> (impl FnOnce(T) + Send, impl FnOnce() -> Option<T>) {
    let (give, take) = bounded(1);
    let give = move |value| {
        // Whoever asked may have gone; then nobody hears.
        let _ = give.send(value);
    };
    (give, move || take.recv().ok())
}
