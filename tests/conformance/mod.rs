//! What every store keeps: the sentences of the contract in `goniec::store`, each a case.
//!
//! A case gets a [`World`]: one empty registry that can be opened again and again and, where the implementation can do it, crashed and
//! made to fail. A case knows nothing of the implementation. [`run`] runs them all, each in a world of its own.

pub mod ends;
pub mod life;
pub mod reads;

use std::sync::Arc;

use goniec::model::{
    Abandoned, Attempt, Class, Delivery, Draft, Failed, Id, Message, Place, Record, Sent, State, WallMs,
};
use goniec::store::{Batch, Committed, Dest, Expect, Incoming, Move, Moved, Query, Revision, Store, StoreError};

/// A registry that can be opened, and what can be done to it.
pub struct World {
    /// Opens the registry. The opening before it was closed or dropped.
    pub open: Box<dyn Fn() -> Result<Box<dyn Store>, StoreError>>,
    /// Cuts the power and keeps, of what was not synced, what the seed says. `None` where it cannot be done in process.
    pub crash: Option<Box<dyn Fn(u64)>>,
    /// Lets the write after the next so many fail.
    pub fail_write: Option<Box<dyn Fn(u64)>>,
    /// Lets the sync after the next so many fail.
    pub fail_sync: Option<Box<dyn Fn(u64)>>,
    /// Whatever else the implementation can say about its own consistency.
    pub verify: Verify,
}

/// A look at an open store.
pub type Verify = Box<dyn Fn(&dyn Store)>;

type Case = (&'static str, fn(&World));

/// Runs every case, each in a world of its own.
pub fn run(world: impl Fn() -> World) {
    let cases: Vec<Case> = [life::CASES, reads::CASES, ends::CASES].concat();
    for (name, case) in cases {
        println!("case: {name}");
        case(&world());
    }
}

impl World {
    pub fn opened(&self) -> Box<dyn Store> {
        (self.open)().expect("the registry opens")
    }

    /// Ends cleanly and opens again. Everything that can be read must be as it was.
    pub fn reopened(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        let before = dump(&*store);
        store.close().expect("closes");
        drop(store);
        let store = self.opened();
        assert_eq!(dump(&*store), before, "a clean stop and start changes nothing");
        (self.verify)(&*store);
        store
    }
}

pub const T0: WallMs = WallMs(1_790_000_000_000);

pub fn draft(key: &str) -> Draft {
    Message::to("erp").key(key).kind("order.created").body(key.as_bytes().to_vec())
}

pub fn incoming(dest: Dest, draft: Draft) -> Incoming {
    Incoming::new(draft, dest)
}

/// Commits and syncs.
pub fn commit(store: &dyn Store, batch: &Batch) -> Committed {
    let done = store.commit(batch).expect("commits");
    store.sync(done.number).expect("syncs");
    done
}

/// Accepts one message for the destination `erp`.
pub fn accept(store: &dyn Store, now: WallMs, draft: Draft) -> (Id, Place) {
    let dest = store.destination("erp").expect("a number");
    commit(store, &Batch { now, accepts: vec![incoming(dest, draft)], ..Batch::default() }).accepted[0]
}

pub fn record(store: &dyn Store, place: Place) -> Record {
    store.get(place).expect("reads").expect("a message")
}

pub fn expect(store: &dyn Store, place: Place) -> Expect {
    let Record { state, attempts, revision, .. } = record(store, place);
    Expect { state, attempts, revision }
}

/// The step that takes a message as it is now to `to`, and changes nothing else.
pub fn step(store: &dyn Store, place: Place, to: State) -> Move {
    let now = record(store, place);
    Move {
        place,
        expect: expect(store, place),
        to,
        by: None,
        attempts: now.attempts,
        series: now.series,
        attempt: None,
        amend: None,
        untold: false,
    }
}

/// The step of an attempt that failed.
pub fn failure(store: &dyn Store, place: Place, to: State, at: WallMs) -> Move {
    let now = record(store, place);
    let attempt = Attempt {
        number: now.attempts + 1,
        revision: now.revision,
        started_at: at,
        duration_ms: 250,
        outcome: Delivery::Retry,
        class: Some(Class::Server),
        sent: Sent::Answered,
        status: Some(503),
        detail: format!("attempt {}: the answer was 503", now.attempts + 1),
        response_excerpt: Some("<busy>".into()),
        remote_id: None,
        phases: None,
    };
    let (attempts, series) = (now.attempts + 1, now.series + 1);
    Move { attempts, series, attempt: Some(attempt), ..step(store, place, to) }
}

/// The step of an attempt that delivered.
pub fn delivery(store: &dyn Store, place: Place, at: WallMs) -> Move {
    let mut step = failure(store, place, State::Delivered, at);
    if let Some(attempt) = &mut step.attempt {
        (attempt.outcome, attempt.class, attempt.status) = (Delivery::Delivered, None, Some(201));
        (attempt.detail, attempt.response_excerpt) = (String::new(), None);
    }
    step
}

/// The same, with what the destination calls it.
pub fn named_delivery(store: &dyn Store, place: Place, at: WallMs, remote_id: &str) -> Move {
    let mut step = delivery(store, place, at);
    if let Some(attempt) = &mut step.attempt {
        attempt.remote_id = Some(remote_id.to_owned());
    }
    step
}

/// Commits these steps and insists that they count.
pub fn moved(store: &dyn Store, now: WallMs, moves: Vec<Move>) -> Committed {
    let done = commit(store, &Batch { now, moves, ..Batch::default() });
    assert!(done.moved.iter().all(|moved| *moved == Moved::Done), "{:?}", done.moved);
    done
}

pub fn exhausted() -> State {
    State::Abandoned(Abandoned::Exhausted)
}

pub fn due(at: u64) -> State {
    State::Failed(Failed::Due(WallMs(at)))
}

/// Everything that can be read of one message.
type Whole = (Record, Vec<Revision>, Vec<Attempt>, Option<Vec<u8>>);

/// Everything that can be read, in order of acceptance.
#[derive(Debug, PartialEq)]
pub struct Dump {
    pub messages: Vec<Whole>,
    pub unfinished: Vec<String>,
    pub idempotent: Vec<(u64, Place)>,
    pub untold: Vec<Place>,
    pub notes: Vec<(Vec<u8>, Vec<u8>)>,
    pub counts: Vec<String>,
    pub destinations: Vec<(Dest, Arc<str>)>,
}

pub fn dump(store: &dyn Store) -> Dump {
    let page = store.list(&Query { limit: usize::MAX, ..Query::default() }).expect("lists");
    let whole = |record: Record| {
        let place = record.place;
        let body = store.load(place).expect("loads").map(|loaded| loaded.message.body.to_vec());
        assert_eq!(body.is_some(), record.body_bytes.is_some(), "a message without a body cannot be loaded");
        assert_eq!(store.find(record.id).expect("finds"), Some(place));
        (record, store.revisions(place).expect("reads"), store.attempts(place).expect("reads"), body)
    };
    let mut unfinished = Vec::new();
    store.unfinished(&|_| true, &mut |message| unfinished.push(format!("{message:?}"))).expect("reads");
    let mut idempotent = Vec::new();
    store.idempotent(WallMs(0), &mut |hash, place| idempotent.push((hash, place))).expect("reads");
    let mut counts: Vec<String> = store.counts().iter().filter(|c| c.messages > 0).map(|c| format!("{c:?}")).collect();
    counts.sort();
    let mut destinations = store.destinations();
    destinations.sort();
    let messages = page.records.into_iter().rev().map(whole).collect();
    let mut notes = Vec::new();
    store.notes(b"", &mut |key, value| notes.push((key.to_vec(), value.to_vec()))).expect("reads");
    let untold = store.untold(None, usize::MAX).expect("reads");
    Dump { messages, unfinished, idempotent, untold, notes, counts, destinations }
}
