//! The workers of a lane: as many as may be out where a destination hangs, never more, and few where few are enough.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::Destination;
use goniec::model::{Failure, Outcome, Receipt};
use goniec::store::memory::MemoryStore;
use goniec::transport::Transport;
use goniec::{Goniec, Message};

const LIMIT: Duration = Duration::from_secs(60);

/// A destination that takes everything at once, or keeps everyone waiting.
#[derive(Default)]
struct Door {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_shut: bool,
    inside: usize,
    most: usize,
}

impl Door {
    fn set(&self, is_shut: bool) {
        self.state.lock().expect("whole").is_shut = is_shut;
        self.changed.notify_all();
    }

    /// Waits until so many are inside at once.
    fn wait_for(&self, inside: usize) {
        let state = self.state.lock().expect("whole");
        let (state, _) = self.changed.wait_timeout_while(state, LIMIT, |state| state.inside < inside).expect("whole");
        assert_eq!(state.inside, inside, "not all came in");
    }
}

struct Through(Arc<Door>);

impl Transport for Through {
    fn send(&self, _: &Message, _: Duration) -> Outcome {
        let mut state = self.0.state.lock().expect("whole");
        state.inside += 1;
        state.most = state.most.max(state.inside);
        self.0.changed.notify_all();
        let (mut state, waited) =
            self.0.changed.wait_timeout_while(state, LIMIT, |state| state.is_shut).expect("whole");
        state.inside -= 1;
        match waited.timed_out() {
            false => Outcome::Delivered(Receipt::default()),
            true => Outcome::Failed(Failure::new(goniec::model::Class::Timeout, goniec::model::Sent::Maybe, "shut")),
        }
    }

    fn shutdown(&self) {
        self.0.set(false);
    }
}

fn goniec(door: &Arc<Door>, concurrency: u16) -> Goniec {
    let erp = Destination { concurrency, ..Destination::new("erp", Through(door.clone())) };
    Goniec::over(Arc::new(MemoryStore::new())).with(erp).start().expect("starts")
}

fn send(goniec: &Goniec, count: usize) {
    goniec.send_all((0..count).map(|_| Message::to("erp")).collect()).expect("accepts");
}

fn wait_delivered(goniec: &Goniec, count: u64) {
    let until = Instant::now() + LIMIT;
    while goniec.engine().stats().delivered < count {
        assert!(Instant::now() < until, "{} of {count} were delivered", goniec.engine().stats().delivered);
        std::thread::yield_now();
    }
}

/// It hangs from the beginning, and later, when its lane has learnt that a few workers are enough for it.
#[test]
fn a_destination_that_hangs_gets_all_that_may_be_out_and_never_more() {
    const MOST: usize = 100;
    let door = Arc::new(Door::default());
    door.set(true);
    let goniec = goniec(&door, 100);
    send(&goniec, 1_000);
    door.wait_for(MOST);
    door.set(false);
    wait_delivered(&goniec, 1_000);
    for round in 1..=3 {
        send(&goniec, 5_000);
        wait_delivered(&goniec, 6_000 * round);
        door.set(true);
        send(&goniec, 1_000);
        door.wait_for(MOST);
        door.set(false);
        wait_delivered(&goniec, 1_000 + 6_000 * round);
    }
    assert_eq!(door.state.lock().expect("whole").most, MOST);
    goniec.shutdown(LIMIT).expect("stops");
}

/// Work that comes while workers leave is done: bursts, each after the last one was, over lanes of every width.
#[test]
fn no_work_lies_there_without_a_worker() {
    for concurrency in [1, 2, 9, 64] {
        let door = Arc::new(Door::default());
        let goniec = goniec(&door, concurrency);
        let mut sent = 0;
        for burst in [1, 2, 100, 1, 700, 3, 1_500, 1] {
            send(&goniec, burst);
            sent += burst as u64;
            wait_delivered(&goniec, sent);
        }
        assert!(door.state.lock().expect("whole").most <= usize::from(concurrency));
        goniec.shutdown(LIMIT).expect("stops");
    }
}
