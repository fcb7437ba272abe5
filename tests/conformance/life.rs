//! Cases of what a commit writes: acceptance, steps, compare and set, bodies.

use super::*;
use goniec::model::{Id, NodeTag, Place, Queued, State, WallMs};
use goniec::store::{
    Amendment, Batch, Incoming, Move, Moved, NOTE_BYTES_MAX, NOTE_KEY_BYTES_MAX, Newer, Note, Older, Retention,
    StoreError, key_hash,
};

pub const CASES: &[super::Case] = &[
    ("commits are numbered from one without holes", commits_are_numbered),
    ("places and ids rise in order of acceptance, also when the clock goes back", places_and_ids_rise),
    ("an accepted message is there as it was handed in", accepted_as_handed_in),
    ("a stale step is handed back and does not sink its batch", stale_steps_are_handed_back),
    ("state, attempts and revision are compared, each by itself", each_part_is_compared),
    ("several steps of one batch apply in order", steps_apply_in_order),
    ("a message of the same commit may take another's place", superseded_by_the_same_commit),
    ("a message may give its place to one that came before it did so", superseded_later_than_its_successor_came),
    (
        "a message may be superseded from the beginning, and a note may name a message of its commit",
        superseded_at_birth,
    ),
    ("an edit makes a revision and keeps the ones before", edits_keep_the_original),
    ("a kept id is found at its new place", kept_ids_are_found),
    ("bodies of every size come back", bodies_of_every_size),
    ("many messages in one commit come back", many_in_one_commit),
    ("destinations keep their numbers", destinations_keep_their_numbers),
    ("notes stand or fall with their commit, and the last word counts", notes_stand_with_their_commit),
    ("a message may bring a note under its place, and what is dropped is gone", notes_of_messages),
];

fn notes_stand_with_their_commit(world: &World) {
    let store = world.opened();
    let note = |key: &[u8], value: &[u8]| Note { key: key.to_vec(), value: value.to_vec() };
    let batch = |notes| Batch { now: T0, notes, ..Batch::default() };
    commit(&*store, &batch(vec![note(b"p/a", b"1"), note(b"p/b", b"2"), note(b"q", b"3"), note(b"p/a", b"4")]));
    commit(&*store, &batch(vec![note(b"p/b", b"")]));
    let store = world.reopened(store);
    let read = |key: &[u8]| store.note(key).expect("reads");
    assert_eq!((read(b"p/a"), read(b"p/b"), read(b"p")), (Some(b"4".to_vec()), None, None));
    let mut under = Vec::new();
    store.notes(b"p/", &mut |key, value| under.push((key.to_vec(), value.to_vec()))).expect("reads");
    assert_eq!(under, [(b"p/a".to_vec(), b"4".to_vec())]);
    let dest = store.destination("erp").expect("a number");
    for wrong in [note(&[b'k'; NOTE_KEY_BYTES_MAX + 1], b""), note(b"k", &[0; NOTE_BYTES_MAX + 1])] {
        let refused = Batch { accepts: vec![incoming(dest, draft("k"))], ..batch(vec![wrong]) };
        assert!(matches!(store.commit(&refused), Err(StoreError::Io(_))));
    }
    assert_eq!(dump(&*store).messages.len(), 0, "a refused commit keeps nothing");
    commit(&*store, &batch(vec![note(&[b'k'; NOTE_KEY_BYTES_MAX], &[7; NOTE_BYTES_MAX])]));
    world.reopened(store);
}

fn notes_of_messages(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let own = |key: &[u8]| Some(Note { key: key.to_vec(), value: b"k".to_vec() });
    let one = |own| Incoming { own, ..incoming(dest, draft("x")) };
    let batch = |accepts| Batch { now: T0, accepts, ..Batch::default() };
    let done = commit(&*store, &batch(vec![one(own(b"a")), one(None), one(own(b"a"))]));
    let key = |at: usize| [b"a", &done.accepted[at].1.to_u64().to_be_bytes()[..]].concat();
    let store = world.reopened(store);
    assert_eq!(dump(&*store).notes, [(key(0), b"k".to_vec()), (key(2), b"k".to_vec())]);
    let too_long = batch(vec![one(own(&[b'k'; NOTE_KEY_BYTES_MAX - 7]))]);
    assert!(matches!(store.commit(&too_long), Err(StoreError::Io(_))), "its place has no room behind it");
    commit(&*store, &batch(vec![one(own(&[b'k'; NOTE_KEY_BYTES_MAX - 8]))]));
    // Dropped is the last word, in one commit with others too, and of what is not there.
    let notes = vec![Note { key: key(2), value: b"more".to_vec() }];
    let dropped = vec![key(2), key(0), b"nothing".to_vec()];
    commit(&*store, &Batch { notes, dropped, ..batch(Vec::new()) });
    let store = world.reopened(store);
    assert_eq!(dump(&*store).notes.len(), 1);
    assert!(store.note(&key(2)).expect("reads").is_none());
    world.reopened(store);
}

fn commits_are_numbered(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    for number in 1..=5 {
        let accepts = if number == 3 { Vec::new() } else { vec![incoming(dest, draft("k"))] };
        let done = store.commit(&Batch { now: T0, accepts, ..Batch::default() }).expect("commits");
        assert_eq!(done.number, number);
        store.sync(number).expect("syncs");
        store.sync(1).expect("an older number may be synced again");
    }
    let store = world.reopened(store);
    store.destination("courier").expect("a number");
    assert_eq!(store.commit(&Batch::default()).expect("commits").number, 6);
}

fn places_and_ids_rise(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let mut given = Vec::new();
    for now in [T0, T0, T0.plus(5), WallMs(T0.0 - 3_600_000), T0.plus(6)] {
        let accepts = (0..70).map(|n| incoming(dest, draft(&format!("k{n}")))).collect();
        given.extend(commit(&*store, &Batch { now, accepts, ..Batch::default() }).accepted);
    }
    let store = world.reopened(store);
    given.push(accept(&*store, WallMs(5), draft("after")));
    assert!(given.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "ids and places rise");
    assert!(given.iter().all(|(id, place)| id.place() == *place), "an id names its place");
    assert!(given.iter().all(|(id, place)| store.find(*id).expect("finds") == Some(*place)));
    let foreign = Id::compose(T0, NodeTag::new(given[0].0.node().to_u16() ^ 1), given[0].1);
    assert_eq!(store.find(foreign).expect("finds"), None, "the place in an id is only a hint");
}

fn accepted_as_handed_in(world: &World) {
    let store = world.opened();
    let mut full = draft("sku:4711")
        .content_type("application/json")
        .header("X-Trace", "é")
        .not_before(T0.plus(60))
        .deadline(T0.plus(99));
    full.envelope.idempotency_key = Some("idem".into());
    full.envelope.version = Some(u64::MAX);
    full.envelope.traceparent = Some("00-0af7".into());
    let dest = store.destination("erp").expect("a number");
    let wait = Queued::NotBefore(T0.plus(60));
    let accepts = vec![Incoming { wait, ..incoming(dest, full.clone()) }];
    let (id, place) = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() }).accepted[0];
    let store = world.reopened(store);
    let kept = record(&*store, place);
    assert_eq!((kept.id, kept.place, kept.state), (id, place, State::Queued(wait)));
    assert_eq!(*kept.envelope, full.envelope);
    assert_eq!((kept.attempts, kept.series, kept.revision, kept.body_bytes), (0, 0, 1, Some(8)));
    assert_eq!((kept.updated_at, id.accepted_at()), (T0, T0));
    let loaded = store.load(place).expect("loads").expect("a message");
    assert_eq!((loaded.message.id, loaded.message.attempt, loaded.series), (id, 0, 0));
    assert_eq!(loaded.message.content_type.as_deref(), Some("application/json"));
    assert_eq!((&*loaded.message.body, loaded.expect), (&*full.body, expect(&*store, place)));
    assert_eq!(*loaded.message.envelope, full.envelope);
}

fn stale_steps_are_handed_back(world: &World) {
    let store = world.opened();
    let (_, first) = accept(&*store, T0, draft("a"));
    let (_, second) = accept(&*store, T0, draft("b"));
    let stale = step(&*store, first, exhausted());
    moved(&*store, T0, vec![failure(&*store, first, due(9), T0)]);
    let is = expect(&*store, first);
    let nowhere = Place::new(second.chunk() + 1_000, 0);
    let moves = vec![
        stale,
        step(&*store, second, State::Queued(Queued::Held)),
        Move { place: nowhere, ..step(&*store, second, exhausted()) },
    ];
    let dest = store.destination("erp").expect("a number");
    let done =
        commit(&*store, &Batch { now: T0, moves, accepts: vec![incoming(dest, draft("c"))], ..Batch::default() });
    assert_eq!(done.moved, [Moved::Stale(is), Moved::Done, Moved::Gone]);
    let store = world.reopened(store);
    assert_eq!(expect(&*store, first), is, "nothing was written for the stale step");
    assert_eq!(record(&*store, second).state, State::Queued(Queued::Held));
    assert_eq!(record(&*store, done.accepted[0].1).envelope.key.as_deref(), Some("c"));
}

fn each_part_is_compared(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    moved(&*store, T0, vec![failure(&*store, place, due(500), T0)]);
    let right = step(&*store, place, exhausted());
    let mut wrong = [right.clone(), right.clone(), right.clone()];
    wrong[0].expect.state = due(501);
    wrong[1].expect.attempts = 0;
    wrong[2].expect.revision = 2;
    for step in wrong {
        let done = commit(&*store, &Batch { now: T0, moves: vec![step], ..Batch::default() });
        assert_eq!(done.moved, [Moved::Stale(right.expect)]);
        assert_eq!(expect(&*store, place), right.expect);
    }
    moved(&*store, T0, vec![right]);
}

fn steps_apply_in_order(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    let first = failure(&*store, place, due(7), T0);
    let mut second = first.clone();
    second.expect = goniec::store::Expect { state: due(7), attempts: 1, revision: 1 };
    (second.attempts, second.series, second.to) = (2, 2, exhausted());
    let repeated = first.clone();
    let done = commit(&*store, &Batch { now: T0.plus(3), moves: vec![first, second, repeated], ..Batch::default() });
    let end = goniec::store::Expect { state: exhausted(), attempts: 2, revision: 1 };
    assert_eq!(done.moved, [Moved::Done, Moved::Done, Moved::Stale(end)]);
    let store = world.reopened(store);
    assert_eq!((record(&*store, place).updated_at, expect(&*store, place)), (T0.plus(3), end));
}

fn superseded_by_the_same_commit(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let (old, place) = accept(&*store, T0, draft("price"));
    let gone = State::Abandoned(Abandoned::Superseded(Id::from_bytes([0; 16])));
    let moves = vec![Move { by: Some(1), ..step(&*store, place, gone) }];
    let older = Some(Older::At(place));
    let accepts = vec![incoming(dest, draft("other")), Incoming { older, ..incoming(dest, draft("price")) }];
    let done = commit(&*store, &Batch { now: T0, accepts, moves: moves.clone(), ..Batch::default() });
    let (new, newer) = done.accepted[1];
    let accepts = vec![incoming(dest, draft("x")), Incoming { older, ..incoming(dest, draft("y")) }];
    let again = commit(&*store, &Batch { now: T0, accepts, moves, ..Batch::default() });
    let store = world.reopened(store);
    assert_eq!(record(&*store, place).state, State::Abandoned(Abandoned::Superseded(new)));
    assert_eq!(record(&*store, newer).supersedes, Some(old));
    assert_eq!(record(&*store, done.accepted[0].1).supersedes, None);
    assert!(matches!(again.moved[..], [Moved::Stale(_)]));
    assert_eq!(record(&*store, again.accepted[1].1).supersedes, None, "a stale step supersedes nothing");
}

fn superseded_later_than_its_successor_came(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let older = |older| Incoming { older: Some(older), ..incoming(dest, draft("price")) };
    let (first, at) = accept(&*store, T0, draft("price"));
    let accepts = vec![older(Older::At(at)), older(Older::Accept(0))];
    let done = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() });
    let [(second, second_at), (third, third_at)] = done.accepted[..] else { panic!("two") };
    let names = |store: &dyn Store| [second_at, third_at].map(|place| record(store, place).supersedes);
    assert_eq!(names(&*store), [None, None], "nobody has given its place yet");
    let gone = |by| State::Abandoned(Abandoned::Superseded(by));
    for (place, by) in [(at, second), (second_at, third)] {
        let moves = vec![step(&*store, place, gone(by))];
        commit(&*store, &Batch { now: T0.plus(1), moves, ..Batch::default() });
    }
    let store = world.reopened(store);
    assert_eq!(names(&*store), [Some(first), Some(second)]);
    assert_eq!(record(&*store, at).state, gone(second));
}

fn superseded_at_birth(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let gone = |by| State::Abandoned(Abandoned::Superseded(by));
    let below = |newer| {
        let mut draft = draft("price").deadline(T0.plus(9));
        draft.envelope.idempotency_key = Some("once".into());
        Incoming { newer: Some(newer), ..incoming(dest, draft) }
    };
    let note = Note { key: b"f/price".to_vec(), value: b"7".to_vec() };
    let raises = || Incoming { note: Some(note.clone()), ..incoming(dest, draft("price")) };
    let accepts = vec![raises(), below(Newer::Accept(0)), raises(), below(Newer::Accept(2))];
    let done = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() });
    let [(first, _), (_, below_first), (second, _), (_, below_second)] = done.accepted[..] else { panic!("four") };
    // A commit of nothing else.
    let accepts = vec![below(Newer::Known(first))];
    let (_, alone) = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() }).accepted[0];
    let store = world.reopened(store);
    let states = [below_first, below_second, alone].map(|place| record(&*store, place).state);
    assert_eq!(states, [gone(first), gone(second), gone(first)]);
    assert_eq!(store.note(&note.key).expect("reads"), Some([b"7", &second.to_bytes()[..]].concat()), "the last word");
    let found = dump(&*store);
    assert_eq!((found.unfinished.len(), found.idempotent.len(), found.untold.len()), (2, 3, 0));
    assert!(found.messages.iter().all(|(record, ..)| record.supersedes.is_none()), "they took no waiting one's place");
    assert_eq!(store.counts().iter().map(|count| count.messages).sum::<u64>(), 5);
    // It goes on like any other that rests.
    moved(&*store, T0, vec![step(&*store, alone, State::Queued(Queued::Ready))]);
    let store = world.reopened(store);
    assert_eq!(dump(&*store).unfinished.len(), 3);
    let all = Retention { delivered_ms: 0, abandoned_ms: 0, bodies_ms: 0, step_max: 99 };
    assert_eq!(store.retain(&all, T0.plus(1)).expect("retains").messages, 2);
    assert!(store.note(&note.key).expect("reads").is_some(), "a note outlives its message");
    world.reopened(store);
}

fn edits_keep_the_original(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a").content_type("text/plain"));
    let edit = |body: &str, content_type: Option<&str>, who: &str| {
        let content_type = content_type.map(Into::into);
        let amend = Amendment { body: body.as_bytes().into(), content_type, who: who.into(), why: "typo".into() };
        Move { amend: Some(amend), ..step(&*store, place, State::Queued(Queued::Ready)) }
    };
    moved(&*store, T0.plus(1), vec![edit("second", None, "anna")]);
    moved(&*store, T0.plus(2), vec![edit("", Some("application/json"), "jan")]);
    let store = world.reopened(store);
    let revisions = store.revisions(place).expect("reads");
    let shown: Vec<_> = revisions
        .iter()
        .map(|r| (r.number, r.body.as_deref(), r.content_type.as_deref(), r.at, r.who.as_str(), r.why.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (1, Some(&b"a"[..]), Some("text/plain"), T0, "", ""),
            (2, Some(&b"second"[..]), Some("text/plain"), T0.plus(1), "anna", "typo"),
            (3, Some(&b""[..]), Some("application/json"), T0.plus(2), "jan", "typo"),
        ]
    );
    let kept = record(&*store, place);
    assert_eq!((kept.revision, kept.body_bytes, kept.content_type.as_deref()), (3, Some(0), Some("application/json")));
    assert_eq!(kept.envelope.content_type.as_deref(), Some("text/plain"), "what was accepted stays");
    let loaded = store.load(place).expect("loads").expect("a message");
    assert_eq!((&*loaded.message.body, loaded.expect.revision), (&b""[..], 3));
}

fn kept_ids_are_found(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let (own, first) = accept(&*store, T0, draft("own"));
    // The hints of these ids name a place that is taken, and one that is not there.
    let ids = [first, Place::new(1 << 40, 7)].map(|hint| Id::compose(WallMs(77), NodeTag::new(0x123), hint));
    let accepts = ids.map(|id| Incoming { id: Some(id), ..incoming(dest, draft("kept")) }).into();
    let done = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() });
    let store = world.reopened(store);
    for (id, (given, place)) in ids.into_iter().zip(done.accepted.iter().copied()) {
        assert_eq!((given, store.find(id).expect("finds")), (id, Some(place)));
        assert_eq!(record(&*store, place).id, id);
        assert_eq!(store.load(place).expect("loads").expect("a message").message.id, id);
    }
    assert_eq!(store.find(own).expect("finds"), Some(first));
    commit(&*store, &Batch { deletes: vec![done.accepted[0].1], ..Batch::default() });
    assert_eq!(store.find(ids[0]).expect("finds"), None, "the kept id goes with its message");
    assert_eq!(store.find(own).expect("finds"), Some(first));
}

fn bodies_of_every_size(world: &World) {
    const SIZES: [usize; 14] =
        [0, 1, 100, 4_000, 5_700, 5_900, 5_990, 6_000, 6_001, 12_001, 65_536, 300_000, 1 << 20, 16 << 20];
    let store = world.opened();
    let body = |size: usize| -> Vec<u8> { (0..size).map(|at| (at * 31 + size).to_le_bytes()[0]).collect() };
    let places: Vec<_> = SIZES.iter().map(|size| accept(&*store, T0, draft("b").body(body(*size))).1).collect();
    store.close().expect("closes");
    drop(store);
    let store = world.opened();
    for (size, place) in SIZES.into_iter().zip(places) {
        let loaded = store.load(place).expect("loads").expect("a message");
        assert!(*loaded.message.body == *body(size), "a body of {size} bytes comes back");
        assert_eq!(record(&*store, place).body_bytes, u64::try_from(size).ok());
    }
}

fn many_in_one_commit(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    let key = |n: usize| format!("k{n}:{}", "x".repeat(n * 7 % 900));
    let accepts = (0..256).map(|n| incoming(dest, draft(&key(n)))).collect();
    let done = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() });
    let moves = done.accepted.iter().map(|(_, place)| failure(&*store, *place, due(1), T0)).collect();
    moved(&*store, T0, moves);
    let store = world.reopened(store);
    for (n, (_, place)) in done.accepted.into_iter().enumerate() {
        let loaded = store.load(place).expect("loads").expect("a message");
        assert_eq!((loaded.message.key(), &*loaded.message.body), (Some(&*key(n)), key(n).as_bytes()));
        assert_eq!((loaded.expect.state, loaded.expect.attempts), (due(1), 1));
    }
}

fn destinations_keep_their_numbers(world: &World) {
    let store = world.opened();
    let names: Vec<String> = (0..300).map(|n| format!("destination-{n}")).collect();
    let given: Vec<_> = names.iter().map(|name| store.destination(name).expect("a number")).collect();
    assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    let store = world.reopened(store);
    for (name, dest) in names.iter().zip(&given) {
        assert_eq!(store.destination(name).expect("a number"), *dest);
        assert!(store.destinations().iter().any(|(number, known)| number == dest && **known == **name));
    }
    assert!(!given.contains(&store.destination("another").expect("a number")));
    assert_ne!(key_hash("a"), key_hash("b"));
}
