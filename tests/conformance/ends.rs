//! Cases of endings: deletes, retention, closing, failures of the disk, power cuts.

use super::*;
use goniec::model::{State, WallMs, policy::scatter};
use goniec::store::{Batch, Incoming, Move, Newer, Note, Query, Retained, Retention, StoreError};

pub const CASES: &[super::Case] = &[
    ("a deleted message is gone whole", a_deleted_message_is_gone),
    ("retention removes bodies before records, by state and age", retention_by_state),
    ("retention takes nothing early that ended while the clock was behind", retention_after_a_clock_behind),
    ("retention leaves what nobody was told of", retention_of_untold),
    ("a step of retention is bounded and says whether there is more", retention_is_bounded),
    ("closing makes everything durable and ends every call", closing),
    ("a failed write poisons the store and keeps nothing of its batch", a_failed_write_poisons),
    ("a failed sync poisons the store", a_failed_sync_poisons),
    ("a power cut keeps what was synced and a prefix of the rest", a_power_cut_keeps_a_prefix),
    ("a batch survives a power cut whole or not at all", a_batch_is_one),
];

fn a_deleted_message_is_gone(world: &World) {
    let store = world.opened();
    let (id, place) = accept(&*store, T0, draft("a").body(vec![7; 20_000]));
    let (_, kept) = accept(&*store, T0, draft("b"));
    moved(&*store, T0, vec![failure(&*store, place, due(5), T0)]);
    let done = commit(&*store, &Batch { deletes: vec![place, place], ..Batch::default() });
    assert_eq!(done.deleted, [true, false]);
    let store = world.reopened(store);
    assert_eq!(store.find(id).expect("finds"), None);
    assert!(store.get(place).expect("reads").is_none() && store.load(place).expect("loads").is_none());
    assert_eq!(store.attempts(place).expect("reads"), []);
    assert_eq!(store.revisions(place).expect("reads"), []);
    assert_eq!(dump(&*store).messages.len(), 1);
    let done = commit(&*store, &Batch { deletes: vec![place, kept], ..Batch::default() });
    assert_eq!(done.deleted, [false, true]);
    let (after, _) = accept(&*store, T0, draft("c"));
    assert!(after > id, "places are not given twice");
}

const RULE: Retention = Retention { delivered_ms: 1_000, abandoned_ms: 5_000, bodies_ms: 100, step_max: 10_000 };

/// Runs retention to its end.
fn retained(store: &dyn Store, rule: &Retention, now: WallMs) -> (u64, u64) {
    let (mut messages, mut bodies) = (0, 0);
    loop {
        let Retained { messages: more_messages, bodies: more_bodies, more } = store.retain(rule, now).expect("retains");
        (messages, bodies) = (messages + more_messages, bodies + more_bodies);
        if !more {
            return (messages, bodies);
        }
    }
}

fn retention_by_state(world: &World) {
    let store = world.opened();
    let [waiting, delivered, abandoned] = ["w", "d", "a"].map(|key| accept(&*store, T0, draft(key)).1);
    // Bodies of one message stand for those of a whole chunk: what shares one must end with it.
    moved(&*store, T0, vec![delivery(&*store, delivered, T0), failure(&*store, abandoned, exhausted(), T0)]);
    assert_eq!(retained(&*store, &RULE, T0.plus(99)), (0, 0));
    assert_eq!(retained(&*store, &RULE, T0.plus(101)).0, 0);
    let store = world.reopened(store);
    for place in [delivered, abandoned] {
        assert_eq!(record(&*store, place).body_bytes, None, "the body goes first");
        assert!(store.load(place).expect("loads").is_none(), "without a body there is nothing to send");
        assert!(store.revisions(place).expect("reads").iter().all(|revision| revision.body.is_none()));
    }
    assert_eq!(store.attempts(abandoned).expect("reads").len(), 1, "reasons stay with the record");
    assert_eq!(&*store.load(waiting).expect("loads").expect("a message").message.body, b"w");
    assert_eq!(retained(&*store, &RULE, T0.plus(1_001)), (1, 0));
    assert!(store.get(delivered).expect("reads").is_none() && store.get(abandoned).expect("reads").is_some());
    let store = world.reopened(store);
    assert_eq!(retained(&*store, &RULE, T0.plus(5_001)), (1, 0));
    assert!(store.get(abandoned).expect("reads").is_none());
    assert_eq!(retained(&*store, &RULE, WallMs(u64::MAX / 2)), (0, 0), "what is not final is never removed");
    assert_eq!(record(&*store, waiting).body_bytes, Some(1));
}

fn retention_after_a_clock_behind(world: &World) {
    let store = world.opened();
    let [usual, behind] = ["u", "b"].map(|key| accept(&*store, T0, draft(key)).1);
    moved(&*store, T0, vec![failure(&*store, usual, exhausted(), T0)]);
    let start_of_time = WallMs(1_000);
    moved(&*store, start_of_time, vec![failure(&*store, behind, exhausted(), start_of_time)]);
    let newer = Some(Newer::Known(record(&*store, usual).id));
    let dest = store.destination("erp").expect("a number");
    let accepts = vec![Incoming { newer, ..incoming(dest, draft("b")) }];
    let (_, born) = commit(&*store, &Batch { now: start_of_time, accepts, ..Batch::default() }).accepted[0];
    let soon = T0.plus(60);
    assert_eq!(retained(&*store, &RULE, soon), (0, 0), "it ended a moment ago, whatever the clock said then");
    let store = world.reopened(store);
    assert!(store.load(behind).expect("loads").is_some());
    let _stripped = retained(&*store, &RULE, T0.plus(120));
    assert!([behind, born].iter().all(|place| store.get(*place).expect("reads").is_some()), "nor a moment later");
    // The control: it is not kept for ever, and what ended under the right clock goes on its day.
    let _removed = retained(&*store, &RULE, T0.plus(5_000));
    assert!(store.get(usual).expect("reads").is_none());
    let _removed = retained(&*store, &RULE, T0.plus(10_000));
    assert!(store.get(behind).expect("reads").is_none());
}

fn retention_of_untold(world: &World) {
    let store = world.opened();
    let [told, untold] = ["t", "u"].map(|key| accept(&*store, T0, draft(key)).1);
    moved(&*store, T0, vec![failure(&*store, told, exhausted(), T0)]);
    let end = Move { untold: true, ..failure(&*store, untold, exhausted(), T0) };
    moved(&*store, T0, vec![end]);
    let late = T0.plus(1_000_000);
    assert_eq!(retained(&*store, &RULE, late).0, 1);
    let store = world.reopened(store);
    assert!(store.get(told).expect("reads").is_none());
    assert!(store.load(untold).expect("loads").is_some() || store.get(untold).expect("reads").is_some());
    assert_eq!(record(&*store, untold).body_bytes, Some(1), "nor its body");
    // The control: once a person was told, it goes.
    commit(&*store, &Batch { now: T0, told: vec![untold], ..Batch::default() });
    assert_eq!(retained(&*store, &RULE, late).0, 1);
    assert!(store.get(untold).expect("reads").is_none());
}

fn retention_is_bounded(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    for chunk in 0..8u64 {
        let accepts = (0..30).map(|_| incoming(dest, draft("k").body(vec![1; 500]))).collect();
        let done = commit(&*store, &Batch { now: T0.plus(chunk), accepts, ..Batch::default() });
        moved(&*store, T0, done.accepted.iter().map(|(_, place)| delivery(&*store, *place, T0)).collect());
    }
    let rule = Retention { step_max: 4, ..RULE };
    let first = store.retain(&rule, T0.plus(10_000)).expect("retains");
    assert!(first.more && first.messages + first.bodies > 0, "{first:?}");
    let mut steps = 0;
    while store.retain(&rule, T0.plus(10_000)).expect("retains").more {
        steps += 1;
        assert!(steps < 1_000, "retention ends");
    }
    let store = world.reopened(store);
    assert_eq!(dump(&*store).messages.len(), 0);
    assert!(store.counts().iter().all(|count| count.messages == 0));
}

fn closing(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let batch = Batch { now: T0, accepts: vec![incoming(dest, draft("a"))], ..Batch::default() };
    let (id, _) = store.commit(&batch).expect("commits").accepted[0];
    store.close().expect("closes");
    assert!(matches!(store.commit(&batch), Err(StoreError::Closed)));
    assert!(matches!(store.find(id), Err(StoreError::Closed)));
    assert!(matches!(store.list(&Query::default()), Err(StoreError::Closed)));
    assert!(matches!(store.retain(&RULE, T0), Err(StoreError::Closed)));
    drop(store);
    if let Some(crash) = &world.crash {
        crash(1);
    }
    assert!(world.opened().find(id).expect("finds").is_some(), "closing synced it");
}

fn a_failed_write_poisons(world: &World) {
    let Some(fail_write) = &world.fail_write else { return };
    let store = world.opened();
    let (id, place) = accept(&*store, T0, draft("a"));
    let dest = store.destination("erp").expect("a number");
    fail_write(0);
    let moves = vec![step(&*store, place, exhausted())];
    let batch = Batch { now: T0, accepts: vec![incoming(dest, draft("b"))], moves, ..Batch::default() };
    let before = dump(&*store);
    assert!(matches!(store.commit(&batch), Err(StoreError::Io(_) | StoreError::Full(_))));
    assert!(matches!(store.commit(&batch), Err(StoreError::Poisoned(_))));
    assert!(matches!(store.sync(2), Err(StoreError::Poisoned(_))));
    assert_eq!(dump(&*store), before, "nothing of the batch was kept, and reads still work");
    drop(store);
    let store = world.opened();
    assert!(store.find(id).expect("finds").is_some());
    assert_eq!(store.commit(&batch).expect("opened again, it writes").number, 2);
}

fn a_failed_sync_poisons(world: &World) {
    let (Some(fail_sync), Some(crash)) = (&world.fail_sync, &world.crash) else { return };
    for seed in 0..20 {
        let store = world.opened();
        let (id, _) = accept(&*store, T0, draft("a"));
        let dest = store.destination("erp").expect("a number");
        let batch = Batch { now: T0, accepts: vec![incoming(dest, draft("b"))], ..Batch::default() };
        let number = store.commit(&batch).expect("commits").number;
        fail_sync(0);
        assert!(store.sync(number).is_err());
        assert!(matches!(store.sync(number), Err(StoreError::Poisoned(_))), "a failed sync is never tried again");
        assert!(matches!(store.commit(&batch), Err(StoreError::Poisoned(_))));
        drop(store);
        crash(seed);
        let store = world.opened();
        assert!(store.find(id).expect("finds").is_some());
        store.close().expect("closes");
    }
}

/// The keys of everything that is there, in order of acceptance.
fn keys(store: &dyn Store) -> Vec<String> {
    dump(store).messages.into_iter().filter_map(|whole| whole.0.envelope.key.as_deref().map(str::to_owned)).collect()
}

fn a_power_cut_keeps_a_prefix(world: &World) {
    let Some(crash) = &world.crash else { return };
    let (mut lost, mut kept, mut between) = (0, 0, 0);
    let mut all: Vec<String> = Vec::new();
    for seed in 0..200u64 {
        let store = world.opened();
        let dest = store.destination("erp").expect("a number");
        let write = |n: u64| {
            let key = format!("{seed}.{n}");
            let body = vec![b'x'; usize::try_from(scatter(seed * 100 + n) % 3_000).expect("small")];
            let accepts = vec![incoming(dest, draft(&key).body(body))];
            let done = store.commit(&Batch { now: T0, accepts, ..Batch::default() }).expect("commits");
            (key, done.number)
        };
        let (key, number) = write(0);
        store.sync(number).expect("syncs");
        all.push(key);
        let unsynced: Vec<String> = (1..=4).map(|n| write(n).0).collect();
        drop(store);
        crash(scatter(seed));
        let store = world.opened();
        (world.verify)(&*store);
        let found = keys(&*store);
        assert!(found.starts_with(&all), "seed {seed}: what was synced is there");
        let more = &found[all.len()..];
        assert!(unsynced.starts_with(more), "seed {seed}: of the rest a prefix is there, not {more:?}");
        match more.len() {
            0 => lost += 1,
            4 => kept += 1,
            _ => between += 1,
        }
        all = found;
        let done = store.commit(&Batch::default()).expect("commits");
        store.sync(done.number).expect("syncs");
        store.close().expect("closes");
    }
    assert!(lost > 10 && kept > 10 && between > 10, "every outcome was met: {lost}, {kept}, {between}");
}

fn a_batch_is_one(world: &World) {
    let Some(crash) = &world.crash else { return };
    let mut outcomes = [0; 2];
    for seed in 0..60u64 {
        let store = world.opened();
        let dest = store.destination("erp").expect("a number");
        let (_, moving) = accept(&*store, T0, draft("m"));
        let (_, dying) = accept(&*store, T0, draft("d"));
        let before = dump(&*store).messages.len();
        let mut accepts: Vec<_> = (0..20).map(|_| incoming(dest, draft("n").body(vec![0; 900]))).collect();
        accepts[7].note = Some(Note { key: b"n".to_vec(), value: Vec::new() });
        let moves = vec![failure(&*store, moving, due(5), T0)];
        let batch = Batch { now: T0, accepts, moves, deletes: vec![dying], ..Batch::default() };
        let named = store.commit(&batch).expect("commits").accepted[7].0;
        drop(store);
        crash(scatter(seed));
        let store = world.opened();
        (world.verify)(&*store);
        let happened = store.get(dying).expect("reads").is_none();
        outcomes[usize::from(happened)] += 1;
        assert_eq!(record(&*store, moving).state == due(5), happened);
        assert_eq!(store.attempts(moving).expect("reads").len(), usize::from(happened));
        assert_eq!(dump(&*store).messages.len(), if happened { before + 19 } else { before });
        let noted = store.note(b"n").expect("reads");
        assert_eq!(noted.as_deref() == Some(&named.to_bytes()[..]), happened, "a note stands with its message");
        assert!(happened || record(&*store, moving).state != State::Delivered);
        store.close().expect("closes");
    }
    assert!(outcomes.iter().all(|outcome| *outcome > 5), "both were met: {outcomes:?}");
}
