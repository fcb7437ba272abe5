//! The engine on threads, over the memory store and the real one: what is accepted is delivered, retried, held, changed and told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::engine::{Act, Alert, Channel, Destination, LogLine, Order, Rule, Waits};
use goniec::model::{
    Abandoned, Backoff, Class, Failed, Failure, OnUncertain, Outcome, Policy, Queued, Receipt, Retry, Sent, State,
};
use goniec::store::memory::MemoryStore;
use goniec::{Error, Goniec, Id, Message};

/// Waits for a condition, not for a time; the limit only ends a test that has failed.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn quick(attempts: u16) -> Policy {
    let retry = Retry { backoff: Backoff::Fixed(1), jitter_permille: 0, attempts };
    Policy { retry, on_uncertain: OnUncertain::Retry }
}

fn says(status: u16) -> Outcome {
    let (_, class) = goniec::model::policy::disposition(status);
    Outcome::Failed(Failure {
        status: Some(status),
        ..Failure::new(class, Sent::Answered, format!("answered {status}"))
    })
}

fn delivered() -> Outcome {
    Outcome::Delivered(Receipt { status: Some(200), ..Receipt::default() })
}

fn start(destination: Destination) -> Goniec {
    Goniec::over(Arc::new(MemoryStore::new())).with(destination).start().expect("starts")
}

fn state(goniec: &Goniec, id: Id) -> State {
    goniec.get(id).expect("is there").state
}

#[test]
fn what_is_accepted_is_delivered_once_over_the_real_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let seen: Arc<Mutex<HashMap<Id, Vec<u8>>>> = Arc::default();
    let ledger = seen.clone();
    let goniec = Goniec::open(dir.path())
        .expect("opens")
        .destination("erp", move |message: &Message| {
            let before = ledger.lock().expect("whole").insert(message.id(), message.body().to_vec());
            assert_eq!(before, None, "sent twice");
        })
        .start()
        .expect("starts");
    let mut ids = HashMap::new();
    for round in 0..20 {
        let drafts: Vec<_> = (0..50).map(|n| Message::to("erp").body(format!("{round}:{n}").into_bytes())).collect();
        let bodies: Vec<_> = drafts.iter().map(|draft| draft.body.to_vec()).collect();
        ids.extend(goniec.send_all(drafts).expect("accepts").into_iter().zip(bodies));
    }
    until("all delivered", || goniec.engine().stats().delivered == 1_000);
    assert_eq!(*seen.lock().expect("whole"), ids);
    goniec.shutdown(Duration::from_secs(5)).expect("stops");

    let again = Goniec::open(dir.path()).expect("opens").destination("erp", |_: &Message| ()).start().expect("starts");
    for id in ids.keys() {
        assert_eq!(state(&again, *id), State::Delivered);
    }
    again.shutdown(Duration::from_secs(5)).expect("stops");
}

#[test]
fn a_failure_is_tried_again_and_every_reason_is_kept() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let transport = move |_: &Message| if count.fetch_add(1, Ordering::SeqCst) < 3 { says(503) } else { delivered() };
    let goniec = start(Destination { policy: quick(9), ..Destination::new("shop", transport) });
    let id = goniec.send(Message::to("shop")).expect("accepts");
    until("delivered", || state(&goniec, id) == State::Delivered);
    let attempts = goniec.engine().attempts(id).expect("reads");
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((attempts[0].status, attempts[0].class), (Some(503), Some(Class::RateLimited)));
    assert_eq!(attempts[0].detail, "answered 503");
    assert_eq!(tries.load(Ordering::SeqCst), 4);
}

#[test]
fn the_attempts_end_at_their_limit_and_a_refusal_at_once() {
    let goniec = start(Destination {
        policy: quick(3),
        ..Destination::new("shop", |message: &Message| says(if message.key() == Some("bad") { 422 } else { 500 }))
    });
    let worn = goniec.send(Message::to("shop")).expect("accepts");
    let bad = goniec.send(Message::to("shop").key("bad")).expect("accepts");
    until("abandoned", || state(&goniec, worn).is_final() && state(&goniec, bad).is_final());
    assert_eq!(state(&goniec, worn), State::Abandoned(Abandoned::Exhausted));
    assert_eq!(goniec.get(worn).expect("is there").attempts, 3);
    assert_eq!(state(&goniec, bad), State::Abandoned(Abandoned::Rejected));
    assert_eq!(goniec.get(bad).expect("is there").attempts, 1);
}

#[test]
fn a_transport_that_panics_is_a_failed_attempt() {
    let goniec = start(Destination {
        policy: quick(2),
        ..Destination::new("shop", |message: &Message| assert_ne!(message.key(), Some("bomb"), "boom"))
    });
    let bomb = goniec.send(Message::to("shop").key("bomb")).expect("accepts");
    let calm = goniec.send(Message::to("shop")).expect("accepts");
    until("both ended", || state(&goniec, bomb).is_final() && state(&goniec, calm).is_final());
    assert_eq!(state(&goniec, calm), State::Delivered);
    assert_eq!(state(&goniec, bomb), State::Abandoned(Abandoned::Exhausted));
    assert!(goniec.engine().attempts(bomb).expect("reads")[0].detail.contains("boom"));
}

#[test]
fn keys_keep_their_order_through_failures() {
    let seen: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
    let ledger = seen.clone();
    let calls = AtomicUsize::new(0);
    let goniec = start(Destination {
        policy: quick(1_000),
        order: Order::Key,
        concurrency: 8,
        ..Destination::new("shop", move |message: &Message| {
            if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                return says(500);
            }
            let key = message.key().unwrap_or_default().to_owned();
            ledger.lock().expect("whole").entry(key).or_default().push(message.body()[0]);
            delivered()
        })
    });
    for number in 0..50u8 {
        let drafts = (0..5).map(|key| Message::to("shop").key(format!("sku:{key}")).body(vec![number])).collect();
        goniec.send_all(drafts).expect("accepts");
    }
    until("all delivered", || goniec.engine().stats().delivered == 250);
    for (key, numbers) in seen.lock().expect("whole").iter() {
        assert_eq!(*numbers, (0..50).collect::<Vec<u8>>(), "{key}");
    }
}

#[test]
fn a_person_holds_edits_and_sends_again() {
    let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let ledger = bodies.clone();
    let goniec = start(Destination::new("shop", move |message: &Message| {
        ledger.lock().expect("whole").push(message.body().to_vec());
        if message.body() == b"broken" { says(422) } else { delivered() }
    }));
    let id = goniec.send(Message::to("shop").body(*b"broken")).expect("accepts");
    until("rejected", || state(&goniec, id) == State::Abandoned(Abandoned::Rejected));
    let edit = |read| Act::Edit { body: Arc::from(*b"mended"), content_type: None, read };
    assert!(matches!(goniec.act(id, edit(Some(7))), Err(Error::Stale { read: 7, stored: 1, .. })));
    goniec.act(id, edit(Some(1)).by("anna", "the mapping was wrong")).expect("edits");
    until("delivered", || state(&goniec, id) == State::Delivered);
    assert!(matches!(goniec.act(id, Act::Cancel), Err(Error::Refused { .. })));
    goniec.act(id, Act::Resend(Queued::Ready)).expect("resends");
    until("delivered again", || bodies.lock().expect("whole").len() == 3 && state(&goniec, id) == State::Delivered);
    assert_eq!(*bodies.lock().expect("whole"), [&b"broken"[..], b"mended", b"mended"]);
    let revisions = goniec.engine().revisions(id).expect("reads");
    assert_eq!(revisions.len(), 2);
    assert_eq!(revisions[0].body.as_deref(), Some(&b"broken"[..]));
    assert_eq!((&*revisions[1].who, &*revisions[1].why), ("anna", "the mapping was wrong"));
    goniec.act(id, Act::Delete).expect("deletes");
    assert!(matches!(goniec.get(id), Err(Error::NotFound(_))));
}

#[test]
fn a_held_message_waits_and_a_message_that_is_out_refuses() {
    let (let_go, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let goniec = start(Destination {
        concurrency: 1,
        ..Destination::new("shop", move |_: &Message| {
            let _ = gate.lock().expect("whole").recv();
        })
    });
    let out = goniec.send(Message::to("shop")).expect("accepts");
    until("out", || matches!(state(&goniec, out), State::Sending(1)));
    let held = goniec.send(Message::to("shop")).expect("accepts");
    let shown = goniec.engine().act_wait(held, Act::Hold).expect("holds");
    assert_eq!((shown.record.state, shown.waits_for), (State::Queued(Queued::Held), Some(Waits::Held)));
    assert!(matches!(goniec.act(out, Act::Cancel), Err(Error::Refused { .. })));
    let_go.send(()).expect("the transport waits");
    until("delivered", || state(&goniec, out) == State::Delivered);
    assert_eq!(state(&goniec, held), State::Queued(Queued::Held));
    goniec.act(held, Act::Release).expect("releases");
    let_go.send(()).expect("the transport waits");
    until("delivered", || state(&goniec, held) == State::Delivered);
}

#[test]
fn what_may_have_arrived_waits_for_a_person_who_says_so() {
    let lost = |_: &Message| Outcome::Failed(Failure::new(Class::Timeout, Sent::Maybe, "no answer"));
    let policy = Policy { on_uncertain: OnUncertain::Hold, ..quick(9) };
    let goniec = start(Destination { policy, ..Destination::new("courier", lost) });
    let id = goniec.send(Message::to("courier")).expect("accepts");
    until("held", || state(&goniec, id) == State::Failed(Failed::Held));
    assert_eq!(goniec.act(id, Act::Arrived).expect("resolves").state, State::Delivered);
}

#[test]
fn a_deadline_ends_what_is_late() {
    let goniec = start(Destination {
        policy: Policy { retry: Retry { backoff: Backoff::Fixed(60_000), ..Retry::default() }, ..Policy::default() },
        deadline_ms: Some(30),
        ..Destination::new("erp", |_: &Message| says(503))
    });
    let id = goniec.send(Message::to("erp")).expect("accepts");
    until("expired", || state(&goniec, id) == State::Abandoned(Abandoned::Expired));
}

#[test]
fn the_same_idempotency_key_names_the_same_message() {
    let goniec = start(Destination::new("erp", |_: &Message| ()));
    let keyed = |body: &[u8]| {
        let mut draft = Message::to("erp").body(body.to_vec());
        draft.envelope.idempotency_key = Some("k1".into());
        draft
    };
    let first = goniec.send(keyed(b"one")).expect("accepts");
    assert_eq!(goniec.send(keyed(b"one")).expect("accepts"), first);
    assert!(matches!(goniec.send(keyed(b"two")), Err(Error::Conflict { id }) if id == first));
    until("delivered", || goniec.engine().stats().delivered == 1);
    assert_eq!(goniec.engine().stats().accepted, 1);
}

#[test]
fn one_cause_is_told_once() {
    struct Ear(Mutex<Vec<Alert>>);
    impl Channel for Ear {
        fn tell(&self, alert: &Alert) -> Result<(), String> {
            self.0.lock().expect("whole").push(alert.clone());
            Ok(())
        }
        fn name(&self) -> String {
            "ear".into()
        }
    }
    let ear = Arc::new(Ear(Mutex::default()));
    let goniec = Goniec::over(Arc::new(MemoryStore::new()))
        .destination("shop", |_: &Message| says(422))
        .alert(Rule { channel: ear.clone(), ..Rule::all(LogLine, 3_600_000) })
        .start()
        .expect("starts");
    goniec.send_all((0..40).map(|_| Message::to("shop")).collect()).expect("accepts");
    until("told", || !ear.0.lock().expect("whole").is_empty());
    goniec.shutdown(Duration::from_secs(5)).expect("stops");
    let told = ear.0.lock().expect("whole");
    assert_eq!((told.len(), &*told[0].destination, told[0].reason), (1, "shop", "rejected"));
    assert!(told[0].detail.as_deref().is_some_and(|detail| detail.contains("422")));
}

#[test]
fn what_cannot_be_taken_is_refused_whole() {
    let goniec = start(Destination::new("erp", |_: &Message| ()));
    let wrong = goniec.send_all(vec![Message::to("erp"), Message::to("erpp")]).expect_err("refused");
    assert!(
        matches!(&wrong, Error::UnknownDestination { name, nearest: Some(near) } if name == "erpp" && near == "erp")
    );
    let large = goniec.send(Message::to("erp").body(vec![0; (1 << 20) + 1])).expect_err("refused");
    assert!(matches!(large, Error::TooLarge { bytes: 1_048_577, bytes_max: 1_048_576 }));
    assert_eq!(goniec.engine().stats().accepted, 0);
}
