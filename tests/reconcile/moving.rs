//! What moves while both sides are compared is no difference, and what a person agreed to is what goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use goniec::State;
use goniec::engine::Act;
use goniec::model::Queued;
use goniec::store::{Pattern, Query};

use super::*;

#[test]
fn what_moves_while_a_list_is_read_is_no_difference() {
    let world = World::with(&Planted::plain(6));
    let list = answer(&("text/csv", csv(0..1)));
    let id = |key: &str| id_of(&world, key);
    let (removed, resent) = (id("order:4"), id("order:3"));
    // The newest of its key was given up, so the one before it counts; until a person sends it again.
    let newer = goniec::Message::to("erp").key("order:2").not_before(WallMs(u64::MAX / 2)).body(*b"2");
    let newer = world.engine.accept_wait(vec![newer]).expect("taken")[0];
    world.engine.act_wait(newer, Act::Cancel).expect("cancelled");
    let engine = world.engine.clone();
    let peer = Peer::start(move |line| {
        while line.request().is_some() {
            engine.act_wait(removed, Act::Delete).expect("removed");
            for id in [resent, newer] {
                engine.act_wait(id, Act::Resend(Queued::Ready)).expect("sent again");
                until(|| engine.show(id).expect("it is there").record.state == State::Delivered);
            }
            line.send(&list);
        }
    });
    let reconciler = reconciler(&world, &manifest(&peer, "").replace("30d", "300d"));
    let found = report(&reconciler, NOW);
    let mut missing: Vec<&str> = found.missing.samples.iter().map(|sample| sample.key.as_str()).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["order:1", "order:5"], "{found:?}");
    assert_eq!((found.missing.count, found.stale.count, found.under_way), (2, 0, 2), "{found:?}");
}

#[test]
fn what_a_person_agreed_to_is_what_goes() {
    let world = World::with(&Planted::plain(6));
    let (peer, said) = changing();
    let reconciler = reconciler(&world, &manifest(&peer, "").replace("30d", "300d"));
    says(&said, answer(&("text/csv", csv(0..5))));
    assert_eq!(report(&reconciler, NOW).missing.count, 1);
    // Another comparison finds as many, and others.
    says(&said, answer(&("text/csv", csv(1..6))));
    let seen = NOW.plus(1);
    assert_eq!(report(&reconciler, seen).missing.count, 1);
    let wanted = |at| reconciler.want("orders", "anna", Some(1), Some(at)).expect("it is there");
    assert!(matches!(wanted(NOW), Err(Refused::Uncompared)), "it was compared anew since");
    assert!(wanted(seen).is_ok());
    assert!(matches!(wanted(seen), Err(Refused::Uncompared)), "once");
    says(&said, answer(&("text/csv", csv(0..0))));
    assert!(reconciler.ask("orders"));
    reconciler.turn(NOW.plus(2));
    assert_eq!(world.sent(1), BTreeSet::from(["order:0".to_owned()]));
    let queued = reconciler.named("orders").expect("there").report.queued.expect("it was sent again");
    assert_eq!((queued.who.as_str(), queued.messages, queued.refused), ("anna", 1, 0), "{queued:?}");
}

#[test]
fn messages_of_other_types_hinder_nothing() {
    let world = World::with(&Planted::plain(5));
    let (peer, said) = changing();
    let config = manifest(&peer, "types = [\"order.*\"]").replace("30d", "300d");
    let reconciler = reconciler(&world, &config);
    says(&said, answer(&("text/csv", csv(0..4))));
    assert_eq!(report(&reconciler, NOW).missing.count, 1);
    let label = || goniec::Message::to("erp").key("order:4").kind("label.printed").body(*b"2");
    world.engine.accept_wait((0..200).map(|_| label()).collect()).expect("taken");
    assert_eq!(world.sent(1).len(), 1);
    assert!(reconciler.want("orders", "anna", Some(1), None).expect("it is there").is_ok());
    reconciler.turn(NOW);
    let queued = reconciler.named("orders").expect("there").report.queued.expect("it was tried");
    assert_eq!((queued.messages, queued.refused), (1, 0), "{queued:?}");
}

#[test]
fn a_list_without_an_end_is_cut_off() {
    let world = World::with(&Planted::plain(5));
    let begun = Arc::new(AtomicU64::new(0));
    let seen = begun.clone();
    let peer = Peer::start(move |line| {
        while line.request().is_some() {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\nconnection: close\r\n\r\nkey,version,hash,changed\n";
            let mut goes_on = line.send(head);
            // Lines of nothing: there is always one more, and never a key.
            while goes_on {
                goes_on = line.send("\n".repeat(1_000));
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let reconciler = reconciler(&world, &manifest(&peer, ""));
    assert!(reconciler.ask("orders"));
    std::thread::scope(|threads| {
        let comparing = threads.spawn(|| reconciler.turn(NOW));
        until(|| begun.load(Ordering::SeqCst) > 10);
        reconciler.stop();
        comparing.join().expect("no panic");
    });
    assert_eq!(reconciler.named("orders").expect("there").report, Report::default(), "it changes nothing");
}

/// Waits until it is so.
fn until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "it never came to that");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn id_of(world: &World, key: &str) -> goniec::Id {
    let key = Some(Pattern::Exactly(key.to_owned()));
    let destinations = vec![world.engine.destination("erp").expect("there is one")];
    let query = Query { key, destinations, limit: 1, ..Query::default() };
    world.engine.list(&query).expect("lists").messages[0].record.id
}

#[test]
fn what_moves_while_two_registries_are_compared_is_no_difference() {
    let pair = Pair::with(&[&[Fate::Removed, Fate::UnheardAndCancelled][..], &[Fate::Arrives; 300]].concat());
    // Cancelled here, there all the same, and sent again by a person: it is on its way until it is settled here.
    let held = pair.id("order:1");
    pair.here.act_wait(held, Act::Resend(Queued::NotBefore(WallMs(u64::MAX / 2)))).expect("waits");
    let next = AtomicU64::new(0);
    let here = pair.here.clone();
    let reconciler = pair.reconciler_while(move || {
        let key = format!("order:{}", 1_000 + next.fetch_add(1, Ordering::SeqCst));
        let id = here.accept_wait(vec![goniec::Message::to("peer").key(key).body(*b"new")]).expect("taken")[0];
        until(|| here.show(id).expect("it is there").record.state == State::Delivered);
    });
    assert!(reconciler.ask("peer"));
    reconciler.turn(pair::now());
    let report = reconciler.named("peer").expect("there").report;
    let key: Vec<&str> = report.missing.samples.iter().map(|sample| sample.key.as_str()).collect();
    assert_eq!((key.as_slice(), report.missing.count), (&["order:0"][..], 1), "{report:?}");
    assert_eq!((report.stale.count, report.unexpected.count), (0, 0), "{report:?}");
    assert!(report.under_way >= 1, "{report:?}");
}
