//! Cases of what can be read: a start, lists, counts, attempts, what nobody was told of.

use super::*;
use goniec::Message;
use goniec::model::{Abandoned, Failed, Id, NodeTag, Phase, Phases, Place, Queued, State, WallMs};
use goniec::store::{Amendment, Batch, Incoming, Move, Pattern, Query, StateName, Unfinished, key_hash};

pub const CASES: &[super::Case] = &[
    ("a start finds every unfinished message as it was left", a_start_finds_the_unfinished),
    ("a start finds when each message was to go first", a_start_finds_when_each_was_to_go_first),
    ("idempotency keys are read back, final ones too", idempotency_keys_are_read_back),
    ("what nobody was told of stays so until someone is", untold_until_told),
    ("counts follow every change", counts_follow),
    ("lists filter by every part of a query", lists_filter),
    ("lists look into bodies", lists_look_into_bodies),
    ("pages join without gap or overlap", pages_join),
    ("a budget ends a page and says how far it looked", a_budget_ends_a_page),
    ("the last sixteen failed attempts are kept whole", attempts_are_kept),
    ("a delivery leaves its status and duration", a_delivery_is_an_attempt),
    ("a delivery of which something is said keeps its words", a_delivery_of_which_something_is_said_keeps_its_words),
    ("what the destination calls a message is kept while it is delivered", a_remote_id_is_kept),
    ("what an attempt spent its time on is kept with it", phases_are_kept),
];

fn a_start_finds_the_unfinished(world: &World) {
    let store = world.opened();
    let states = [
        State::Queued(Queued::Ready),
        State::Queued(Queued::NotBefore(T0.plus(5))),
        State::Queued(Queued::NextCycle),
        State::Queued(Queued::Held),
        State::Sending(1),
        State::Delivered,
        due(T0.0 + 9),
        State::Failed(Failed::NextCycle),
        State::Failed(Failed::Held),
        exhausted(),
        State::Abandoned(Abandoned::Rejected),
        State::Abandoned(Abandoned::Expired),
        State::Abandoned(Abandoned::Cancelled),
    ];
    let mut expected = Vec::new();
    for (n, state) in states.into_iter().enumerate() {
        let mut draft = draft("sku:1");
        draft.envelope.deadline = (n % 2 == 0).then_some(T0.plus(1_000));
        draft.envelope.not_before = (n % 4 == 1).then_some(T0.plus(500));
        draft.envelope.key = draft.envelope.key.filter(|_| n % 3 != 0);
        let (id, place) = accept(&*store, T0, draft);
        moved(&*store, T0.plus(2), vec![Move { attempts: 3, series: 2, ..step(&*store, place, state) }]);
        expected.push(Unfinished {
            place,
            dest: store.destination("erp").expect("a number"),
            state,
            attempts: 3,
            series: 2,
            revision: 1,
            key_hash: if n % 3 == 0 { 0 } else { key_hash("sku:1") },
            updated_at: T0.plus(2),
            accepted_at: id.accepted_at(),
            not_before: (n % 4 == 1).then_some(T0.plus(500)),
            deadline: (n % 2 == 0).then_some(T0.plus(1_000)),
        });
        assert_eq!(record(&*store, place).state, state);
    }
    expected.retain(|message| !message.state.is_final());
    let store = world.reopened(store);
    let mut found = Vec::new();
    store.unfinished(&|_| true, &mut |message| found.push(message)).expect("reads");
    assert_eq!(found, expected);
    // Nobody asks for it of this destination.
    expected.iter_mut().for_each(|message| message.not_before = None);
    found.clear();
    store.unfinished(&|_| false, &mut |message| found.push(message)).expect("reads");
    assert_eq!(found, expected);
}

/// Wherever its state says now that it waits: what counts is what its sender said.
fn a_start_finds_when_each_was_to_go_first(world: &World) {
    let store = world.opened();
    let (hour, other) = (T0.plus(500), State::Queued(Queued::NotBefore(T0.plus(9))));
    let given = Id::compose(WallMs(T0.0 - 1_000), NodeTag::new(9), Place::from_u64(7));
    let dest = store.destination("erp").expect("a number");
    let scheduled = |not_before| {
        let mut draft = draft("a");
        draft.envelope.not_before = not_before;
        Incoming { wait: Queued::NotBefore(hour), ..incoming(dest, draft) }
    };
    let mut accepts: Vec<Incoming> = (0..7).map(|_| scheduled(Some(hour))).collect();
    accepts[5].id = Some(given);
    accepts[6].wait = Queued::NotBefore(hour.plus(100));
    accepts.push(scheduled(None));
    let accepted = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() }).accepted;
    let places: Vec<Place> = accepted.iter().map(|(_, place)| *place).collect();
    let moves = |n: usize, to| moved(&*store, T0.plus(2), vec![step(&*store, places[n], to)]);
    moves(1, other);
    moves(2, due(T0.0 + 9));
    moves(3, exhausted());
    moves(3, other);
    moves(4, State::Queued(Queued::NotBefore(hour)));
    moves(7, other);
    let store = world.reopened(store);
    let mut found = Vec::new();
    store
        .unfinished(&|_| true, &mut |message| found.push((message.place, message.accepted_at, message.not_before)))
        .expect("reads");
    let said = |n: usize| (n < 7).then_some(hour);
    let expected: Vec<_> =
        accepted.iter().enumerate().map(|(n, (id, place))| (*place, id.accepted_at(), said(n))).collect();
    assert_eq!(found, expected);
}

fn idempotency_keys_are_read_back(world: &World) {
    let store = world.opened();
    let mut expected = Vec::new();
    for n in 0..6u64 {
        let mut draft = draft("a");
        draft.envelope.idempotency_key = (n != 2).then(|| format!("idem{n}").into());
        let (_, place) = accept(&*store, T0.plus(n), draft);
        if n == 4 {
            moved(&*store, T0.plus(n), vec![delivery(&*store, place, T0)]);
        }
        if n != 2 && n >= 1 {
            expected.push((key_hash(&format!("idem{n}")), place));
        }
    }
    let store = world.reopened(store);
    let mut found = Vec::new();
    store.idempotent(T0.plus(1), &mut |hash, place| found.push((hash, place))).expect("reads");
    assert_eq!(found, expected);
}

fn untold_until_told(world: &World) {
    let store = world.opened();
    let places: Vec<Place> = (0..5).map(|n| accept(&*store, T0, draft(&format!("k{n}"))).1).collect();
    for (n, place) in places.iter().enumerate() {
        moved(&*store, T0, vec![Move { untold: n != 1, ..step(&*store, *place, exhausted()) }]);
    }
    let store = world.reopened(store);
    assert_eq!(store.untold(None, 10).expect("reads"), [places[0], places[2], places[3], places[4]]);
    assert_eq!(store.untold(None, 2).expect("reads"), [places[0], places[2]]);
    assert_eq!(store.untold(Some(places[2]), 2).expect("reads"), [places[3], places[4]]);
    assert_eq!(store.untold(Some(places[1]), 1).expect("reads"), [places[2]]);
    assert_eq!(store.untold(Some(places[4]), 2).expect("reads"), []);
    commit(&*store, &Batch { told: vec![places[0], places[1], places[3]], ..Batch::default() });
    // A step that needs no telling does not take back one that did.
    moved(&*store, T0, vec![step(&*store, places[2], State::Queued(Queued::Ready))]);
    let store = world.reopened(store);
    assert_eq!(store.untold(None, 10).expect("reads"), [places[2], places[4]]);
    assert_eq!(record(&*store, places[0]).state, exhausted());
    commit(&*store, &Batch { deletes: vec![places[4]], told: vec![places[2]], ..Batch::default() });
    assert_eq!(store.untold(None, 10).expect("reads"), []);
}

fn counts_follow(world: &World) {
    let store = world.opened();
    let dests = ["erp", "shop"].map(|name| store.destination(name).expect("a number"));
    let mut places = Vec::new();
    for n in 0..150u64 {
        let dest = dests[usize::from(n % 3 == 0)];
        let accepts = vec![incoming(dest, draft(&format!("k{n}")))];
        places.push(commit(&*store, &Batch { now: T0.plus(n), accepts, ..Batch::default() }).accepted[0].1);
    }
    let states = [due(5), State::Delivered, exhausted(), State::Queued(Queued::Held), State::Sending(1)];
    for round in 0..3u64 {
        for (n, place) in places.iter().enumerate() {
            let pick = goniec::model::policy::scatter(round * 1_000 + n as u64);
            if pick.is_multiple_of(7) && store.get(*place).expect("reads").is_some() {
                commit(&*store, &Batch { deletes: vec![*place], ..Batch::default() });
            } else if store.get(*place).expect("reads").is_some() {
                let to = states[usize::try_from(pick % 5).expect("small")];
                moved(&*store, T0.plus(round), vec![step(&*store, *place, to)]);
            }
        }
        assert_eq!(counted(&*store), recounted(&*store));
        (world.verify)(&*store);
    }
    let store = world.reopened(store);
    assert_eq!(counted(&*store), recounted(&*store));
}

type Counts = std::collections::BTreeMap<(goniec::store::Dest, StateName), u64>;

fn counted(store: &dyn Store) -> Counts {
    let counts = store.counts().into_iter().filter(|count| count.messages > 0);
    counts.map(|count| ((count.dest, count.state), count.messages)).collect()
}

fn recounted(store: &dyn Store) -> Counts {
    let mut counts = Counts::new();
    for (dest, _) in store.destinations() {
        let query = Query { destinations: vec![dest], limit: usize::MAX, ..Query::default() };
        for record in store.list(&query).expect("lists").records {
            *counts.entry((dest, StateName::of(record.state))).or_default() += 1;
        }
    }
    counts
}

fn lists_filter(world: &World) {
    let store = world.opened();
    let shop = store.destination("shop").expect("a number");
    let erp = store.destination("erp").expect("a number");
    let mut all = Vec::new();
    for n in 0..24u64 {
        let mut draft = draft(&format!("sku-{n}"));
        draft.envelope.kind = (n % 4 != 0).then(|| if n % 2 == 0 { "price.set" } else { "order.created" }.into());
        let dest = if n % 3 == 0 { shop } else { erp };
        let accepts = vec![Incoming { wait: Queued::Ready, ..incoming(dest, draft) }];
        let place = commit(&*store, &Batch { now: T0.plus(n), accepts, ..Batch::default() }).accepted[0].1;
        match n % 4 {
            0 => {}
            1 => drop(moved(&*store, T0.plus(n), vec![failure(&*store, place, due(9), T0)])),
            2 => drop(moved(&*store, T0.plus(n), vec![failure(&*store, place, exhausted(), T0)])),
            _ if n % 8 == 3 => {
                drop(moved(&*store, T0.plus(n), vec![named_delivery(&*store, place, T0, &format!("r{}", n % 16))]));
            }
            _ => drop(moved(&*store, T0.plus(n), vec![delivery(&*store, place, T0)])),
        }
        all.push((place, dest));
    }
    let store = world.reopened(store);
    let exactly = |word: &str| Some(Pattern::Exactly(word.into()));
    let prefix = |word: &str| Some(Pattern::Prefix(word.into()));
    let query = || Query { limit: 100, ..Query::default() };
    let queries = [
        query(),
        Query { states: vec![StateName::Failed], ..query() },
        Query { states: vec![StateName::Queued, StateName::Delivered], ..query() },
        Query { states: vec![StateName::Sending], ..query() },
        Query { destinations: vec![shop], ..query() },
        Query { destinations: vec![shop, erp], states: vec![StateName::Abandoned], ..query() },
        Query { key: exactly("sku-7"), ..query() },
        Query { key: prefix("sku-1"), ..query() },
        Query { kind: exactly("price.set"), ..query() },
        Query { kind: prefix("order."), destinations: vec![erp], ..query() },
        Query { reason: Some("exhausted".into()), ..query() },
        Query { reason: Some("server".into()), ..query() },
        Query { remote_id: Some("r3".into()), ..query() },
        Query { remote_id: Some("r".into()), ..query() },
        Query { since: Some(T0.plus(5)), until: Some(T0.plus(9)), ..query() },
        Query { before: Some(all[12].0), ..query() },
        Query { before: Some(all[12].0), states: vec![StateName::Delivered], limit: 2, ..query() },
    ];
    for query in queries {
        let matching = all.iter().rev().filter(|(place, dest)| {
            query.before.is_none_or(|before| *place < before) && query.matches(&record(&*store, *place), *dest)
        });
        let expected: Vec<Place> = matching.map(|(place, _)| *place).take(query.limit).collect();
        let page = store.list(&query).expect("lists");
        assert_eq!(page.records.iter().map(|r| r.place).collect::<Vec<_>>(), expected, "{query:?}");
        assert!(page.records.iter().all(|shown| *shown == record(&*store, shown.place)), "a list shows whole records");
    }
}

fn lists_look_into_bodies(world: &World) {
    let store = world.opened();
    let mut places = Vec::new();
    // The third is too long for the row of its chunk, and one is edited: then only the new body counts.
    for body in ["name: Kowalski", "name: Nowak", &format!("{}Kowalski", "x".repeat(50_000)), "Kowalsk", "Kowalski"] {
        let draft = Message::to("erp").body(body.as_bytes().to_vec());
        places.push(accept(&*store, T0, draft).1);
    }
    let amend =
        |body: &str| Amendment { body: body.as_bytes().into(), content_type: None, who: "a".into(), why: "b".into() };
    let edit = |place, body| Move { amend: Some(amend(body)), ..step(&*store, place, State::Queued(Queued::Ready)) };
    moved(&*store, T0, vec![edit(places[1], "now Kowalski"), edit(places[4], "now Nowak")]);
    let store = world.reopened(store);
    let query = |text: &str| Query { text: Some(text.into()), limit: 10, ..Query::default() };
    let found = |query: Query| -> Vec<Place> {
        store.list(&query).expect("lists").records.iter().map(|record| record.place).collect()
    };
    assert_eq!(found(query("Kowalski")), [places[2], places[1], places[0]]);
    assert_eq!(found(query("now ")), [places[4], places[1]]);
    assert_eq!(found(Query { limit: 1, ..query("Kowalski") }), [places[2]]);
    assert_eq!(found(query("kowalski")), []);
    // A long body uses up a budget that five short ones would not.
    let page = store.list(&Query { scan_max: 20, ..query("Kowalski") }).expect("lists");
    assert_eq!(page.records.iter().map(|record| record.place).collect::<Vec<_>>(), [places[2]]);
    assert!(page.next.is_some() && page.scanned_until.is_some());
    let page = store.list(&Query { scan_max: 20, before: page.next, ..query("Kowalski") }).expect("lists");
    assert_eq!(page.records.iter().map(|record| record.place).collect::<Vec<_>>(), [places[1], places[0]]);
    // More than is read at a time: none is passed over, and none comes twice.
    let long =
        |n: usize| incoming(Dest(0), Message::to("erp").body(format!("{}needle{n}", "y".repeat(200_000)).into_bytes()));
    let accepts = (0..7).map(|n| Incoming { dest: store.destination("erp").expect("a number"), ..long(n) }).collect();
    let accepted = commit(&*store, &Batch { now: T0, accepts, ..Batch::default() }).accepted;
    let newest: Vec<Place> = accepted.iter().rev().map(|(_, place)| *place).collect();
    assert_eq!(found(query("needle")), newest);
    assert_eq!(found(query("needle3")), [accepted[3].1]);
}

fn pages_join(world: &World) {
    let store = world.opened();
    let dest = store.destination("erp").expect("a number");
    for chunk in 0..5u64 {
        let accepts = (0..50).map(|n| incoming(dest, draft(&format!("k{n}")))).collect();
        let done = commit(&*store, &Batch { now: T0.plus(chunk), accepts, ..Batch::default() });
        let failed = done.accepted.iter().step_by(3);
        moved(&*store, T0, failed.map(|(_, place)| failure(&*store, *place, due(1), T0)).collect());
    }
    for (states, limit) in [(vec![], 1), (vec![], 7), (vec![StateName::Failed], 7), (vec![StateName::Queued], 250)] {
        let whole = Query { states, limit: 1_000, ..Query::default() };
        let expected = store.list(&whole).expect("lists");
        assert_eq!(expected.next, None);
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = store.list(&Query { limit, before, ..whole.clone() }).expect("lists");
            assert!(page.records.len() <= limit);
            seen.extend(page.records);
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, expected.records);
    }
}

fn a_budget_ends_a_page(world: &World) {
    let store = world.opened();
    for n in 0..200u64 {
        accept(&*store, T0.plus(n), draft(&format!("k{n}")));
    }
    let rare = Query { key: Some(Pattern::Exactly("k3".into())), limit: 10, scan_max: 64, ..Query::default() };
    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    let mut reached = T0.plus(1_000);
    loop {
        let page = store.list(&Query { before, ..rare.clone() }).expect("lists");
        found.extend(page.records.into_iter().map(|record| record.id.accepted_at()));
        pages += 1;
        let Some(next) = page.next else { break };
        let until = page.scanned_until.expect("a page that its budget ended says how far it looked");
        assert!(until < reached, "each page looks further back");
        (reached, before) = (until, Some(next));
        assert_eq!(found.is_empty(), until > T0.plus(3));
    }
    assert_eq!(found, [T0.plus(3)]);
    assert!(pages >= 200 / 64, "{pages} pages");
}

fn attempts_are_kept(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    let mut all = Vec::new();
    for n in 0..20u64 {
        let step = failure(&*store, place, due(T0.0 + n), T0.plus(n));
        all.extend(step.attempt.clone());
        moved(&*store, T0.plus(n), vec![step]);
    }
    let store = world.reopened(store);
    assert_eq!(store.attempts(place).expect("reads"), all[4..]);
    let last = record(&*store, place).last;
    assert_eq!((last.class, last.status), (all[0].class, Some(503)));
    assert_eq!(store.attempts(Place::new(1 << 50, 0)).expect("reads"), []);
}

fn a_delivery_is_an_attempt(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    moved(&*store, T0.plus(10), vec![failure(&*store, place, due(5), T0)]);
    moved(&*store, WallMs(T0.0 + 5_250), vec![delivery(&*store, place, T0.plus(5_000))]);
    let store = world.reopened(store);
    let attempts = store.attempts(place).expect("reads");
    assert_eq!(attempts.len(), 2);
    let kept = (attempts[1].number, attempts[1].outcome, attempts[1].duration_ms, attempts[1].status);
    assert_eq!(kept, (2, goniec::model::Delivery::Delivered, 250, Some(201)));
    assert_eq!((attempts[1].class, attempts[1].revision), (None, 1));
    let now = record(&*store, place);
    assert_eq!((now.state, now.attempts, now.series), (State::Delivered, 2, 2));
    assert_eq!((now.last.class, now.last.status), (None, Some(201)));
}

fn a_delivery_of_which_something_is_said_keeps_its_words(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    moved(&*store, T0.plus(10), vec![failure(&*store, place, due(5), T0)]);
    let mut arriving = delivery(&*store, place, T0.plus(5_000));
    let said = arriving.attempt.as_mut().expect("an attempt");
    (said.detail, said.remote_id) = ("it was there already".into(), Some("ORD-17".into()));
    let said = said.clone();
    moved(&*store, T0.plus(5_250), vec![arriving]);
    let store = world.reopened(store);
    let attempts = store.attempts(place).expect("reads");
    assert_eq!((attempts.len(), attempts.last()), (2, Some(&said)));
    let now = record(&*store, place);
    assert_eq!((now.state, now.attempts, now.last.class, now.last.status), (State::Delivered, 2, None, Some(201)));
    assert_eq!(now.remote_id.as_deref(), Some("ORD-17"));
    // Sent again, the words stay.
    moved(&*store, T0.plus(6_000), vec![step(&*store, place, State::Queued(Queued::Ready))]);
    let kept = store.attempts(place).expect("reads");
    assert_eq!((kept.len(), kept.last().map(|last| &last.detail)), (2, Some(&said.detail)));
}

fn a_remote_id_is_kept(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    moved(&*store, T0, vec![failure(&*store, place, due(5), T0)]);
    moved(&*store, T0, vec![named_delivery(&*store, place, T0, "4711")]);
    let store = world.reopened(store);
    assert_eq!(record(&*store, place).remote_id.as_deref(), Some("4711"));
    let attempts = store.attempts(place).expect("reads");
    let ids: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.remote_id.as_deref())).collect();
    assert_eq!(ids, [(1, None), (2, Some("4711"))]);
    // Sent again it has no name there until it arrives, and then the one that it is given.
    moved(&*store, T0, vec![step(&*store, place, State::Queued(Queued::Ready))]);
    assert_eq!(record(&*store, place).remote_id, None);
    moved(&*store, T0, vec![named_delivery(&*store, place, T0, "4712")]);
    moved(&*store, T0, vec![step(&*store, place, State::Queued(Queued::Ready))]);
    moved(&*store, T0, vec![delivery(&*store, place, T0)]);
    let store = world.reopened(store);
    assert_eq!(record(&*store, place).remote_id, None, "the last answer did not say");
    (world.verify)(&*store);
}

fn phases_are_kept(world: &World) {
    let store = world.opened();
    let (_, place) = accept(&*store, T0, draft("a"));
    let mut refused = Phases::default();
    refused.note(Phase::Connect, 1_200);
    let mut fresh = Phases::default();
    Phase::ALL.into_iter().for_each(|phase| fresh.note(phase, 700_000));
    let mut kept = Phases::default();
    kept.is_reused = true;
    [Phase::Send, Phase::Wait, Phase::Receive].into_iter().for_each(|phase| kept.note(phase, 4_800_000));
    let spent = |mut step: Move, phases, remote_id: Option<&str>| {
        let attempt = step.attempt.as_mut().expect("an attempt");
        (attempt.phases, attempt.remote_id) = (phases, remote_id.map(str::to_owned));
        step
    };
    moved(&*store, T0, vec![spent(failure(&*store, place, due(5), T0), Some(refused), None)]);
    for (phases, remote_id) in
        [(Some(kept), None), (Some(fresh), None), (Some(kept), Some("4711")), (Some(fresh), Some("4712")), (None, None)]
    {
        moved(&*store, T0, vec![spent(delivery(&*store, place, T0), phases, remote_id)]);
        let attempts = store.attempts(place).expect("reads");
        assert_eq!(attempts.first().and_then(|first| first.phases), Some(refused));
        let last = attempts.last().expect("the delivery");
        assert_eq!(
            (last.number, last.phases, last.remote_id.as_deref()),
            (record(&*store, place).attempts, phases, remote_id)
        );
        moved(&*store, T0, vec![step(&*store, place, State::Queued(Queued::Ready))]);
    }
    moved(&*store, T0, vec![spent(delivery(&*store, place, T0), Some(kept), None)]);
    let store = world.reopened(store);
    let attempts = store.attempts(place).expect("reads");
    assert_eq!((attempts[0].phases, attempts.last().expect("one").phases), (Some(refused), Some(kept)));
    (world.verify)(&*store);
}
