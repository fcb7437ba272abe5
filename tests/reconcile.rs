//! Whether destinations have what was delivered to them: exactly the planted differences are found, whatever a manifest looks like; and hostile ones do no harm.

#[path = "reconcile/moving.rs"]
mod moving;
#[cfg(feature = "cli")]
#[path = "reconcile/node.rs"]
mod node;
#[path = "reconcile/pair.rs"]
mod pair;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "reconcile/plant.rs"]
mod plant;

#[cfg(feature = "cli")]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Write;
#[cfg(feature = "cli")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use goniec::admin::reconcile::{Reconciler, Refused, Report, Standing};
use goniec::config::{Config, Process};
use goniec::model::WallMs;
use goniec::store::{Retention, Store};
use pair::{FATES, Fate, Pair};
use peer::Peer;
use plant::{Dice, Known, NOW, Planted, World, answer};

/// The comparisons of this configuration, over what the world has.
fn reconciler(world: &World, config: &str) -> Reconciler {
    let config = format!("[destination.erp]\nurl = \"http://127.0.0.1:9/\"\n{config}");
    let read = Config::parse(&config, "test", &Process);
    let config = read.unwrap_or_else(|problems| panic!("{config}: {problems:?}"));
    Reconciler::new(&world.engine, config.reconcile, NOW).expect("begins")
}

/// Compares once, and gives what it came to.
fn report(reconciler: &Reconciler, now: WallMs) -> Report {
    assert!(reconciler.ask("orders"));
    reconciler.turn(now);
    reconciler.named("orders").expect("it is there").report
}

fn manifest(peer: &Peer, more: &str) -> String {
    let url = peer.url("/list");
    format!(
        "[reconcile.orders]\ndestination = \"erp\"\ngone_types = [\"order.deleted\"]\nsince = \"30d\"\nsettle = \"10m\"\n{more}\n\
         [reconcile.orders.manifest]\nurl = \"{url}\"\nkey = \"key\"\nversion = \"version\"\nhash = \"hash\"\nupdated_at = \"changed\"\n"
    )
}

#[test]
fn exactly_what_was_planted_is_found_and_sent_again() {
    let mut dice = Dice::new("reconcile");
    for round in 0..100 {
        let seed = dice.0;
        let planted = Planted::new(&mut dice);
        let world = World::with(&planted);
        let peer = Peer::answering(answer(&planted.manifest(&mut dice)));
        let reconciler = reconciler(&world, &manifest(&peer, ""));
        let found = report(&reconciler, NOW);
        let about = format!("round {round}, seed {seed}: {found:?}");
        assert_eq!(found.failure, None, "{about}");
        for (side, known) in
            [(&found.missing, Known::Missing), (&found.stale, Known::Stale), (&found.unexpected, Known::Unexpected)]
        {
            let expected = planted.of(known);
            assert_eq!(side.count, expected.len() as u64, "{known:?}: {about}");
            assert!(side.samples.iter().all(|sample| expected.contains(&sample.key)), "{known:?}: {about}");
            assert_eq!(side.samples.len(), expected.len().min(10), "{known:?}: {about}");
        }
        assert_eq!(found.matched, planted.of(Known::Matched).len() as u64, "{about}");
        assert_eq!(found.under_way, planted.of(Known::UnderWay).len() as u64, "{about}");
        assert_eq!(found.settling, planted.of(Known::Settling).len() as u64, "{about}");
        let lacking: BTreeSet<String> = planted.of(Known::Missing).union(&planted.of(Known::Stale)).cloned().collect();
        assert_eq!(found.behind_since, (!lacking.is_empty()).then_some(NOW), "{about}");
        let listed = reconciler.listed("orders", 0).expect("it is there").expect("it is known");
        assert_eq!(listed.lacking.iter().map(|one| one.key.clone()).collect::<BTreeSet<_>>(), lacking, "{about}");
        assert_eq!((listed.at, listed.next), (NOW, None), "{about}");
        let wanted = reconciler.want("orders", "anna", Some(lacking.len() as u64), None).expect("it is there");
        assert!(wanted.is_ok(), "{about}: {wanted:?}");
        reconciler.turn(NOW);
        assert_eq!(world.sent(lacking.len()), lacking, "{about}");
        assert!(matches!(reconciler.want("orders", "anna", None, None), Some(Err(Refused::Uncompared))), "{about}");
    }
}

/// A peer whose answer can be changed.
fn changing() -> (Peer, Arc<Mutex<Vec<u8>>>) {
    let says: Arc<Mutex<Vec<u8>>> = Arc::default();
    let said = says.clone();
    let peer = Peer::start(move |line| {
        while line.request().is_some() {
            let answer = said.lock().expect("no panic").clone();
            // What has no end but that of the connection ends here.
            if line.stream.write_all(&answer).is_err() || !answer.windows(14).any(|part| part == b"content-length") {
                return;
            }
        }
    });
    (peer, says)
}

fn says(says: &Mutex<Vec<u8>>, answer: impl Into<Vec<u8>>) {
    *says.lock().expect("no panic") = answer.into();
}

fn csv(keys: impl Iterator<Item = u64>) -> String {
    let lines: String = keys.map(|number| format!("order:{number},1,,\n")).collect();
    format!("key,version,hash,changed\n{lines}")
}

#[test]
fn what_is_not_whole_or_not_understood_changes_nothing() {
    let world = World::with(&Planted::plain(50));
    let (peer, said) = changing();
    let reconciler = reconciler(&world, &manifest(&peer, "on_missing = \"queue\"\nask_above = 1000"));
    says(&said, answer(&("text/csv", csv(0..50))));
    let first = report(&reconciler, NOW);
    assert_eq!((first.standing(), first.matched, first.lines), (Standing::InSync, 50, 50), "{first:?}");
    let whole = csv(0..50);
    let chunk = format!("{:x}\r\n{whole}\r\n", whole.len());
    let deep = "[".repeat(100_000);
    let long = format!("key,version,hash,changed\n{},1,,\n", "x".repeat(70_000));
    for (raw, expect) in [
        (format!("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: 999999\r\n\r\n{whole}"), "line 51"),
        (format!("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"), "line 51"),
        (
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\nconnection: close\r\n\r\n{}", &whole[..200]),
            "in the middle of a line",
        ),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(), "500"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n".to_owned(), "302"),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n".to_owned(), "204"),
        (String::new(), "127.0.0.1"),
    ] {
        says(&said, raw.clone());
        let report = report(&reconciler, NOW);
        let why = report.failure.clone().unwrap_or_else(|| panic!("{raw:.80}: {report:?}")).why;
        assert!(why.contains(expect), "{raw:.80}: {why}");
        assert_eq!((report.standing(), report.matched), (Standing::Unread, 50), "{raw:.80}: {report:?}");
    }
    for (kind, text, expect) in [
        ("text/csv", "", "empty"),
        ("text/csv", "id,version,hash,changed\n", "no column \"key\""),
        ("text/csv", "key,version,hash,changed\na,1,\n", "line 2: it has 3 cells"),
        ("text/csv", "key,version,hash,changed\n,1,,\n", "line 2: it has no key"),
        ("text/csv", "key,version,hash,changed\na,-1,,\n", "line 2: the version \"-1\" is not a whole number"),
        ("text/csv", "key,version,hash,changed\na,1,beef,\n", "is not SHA-256 in hex"),
        ("text/csv", "key,version,hash,changed\na,1,,2h\n", "the time \"2h\" is not"),
        ("text/csv", "key,version,hash,changed\n\"a,1,,\n", "line 2: it ends in the middle"),
        ("text/csv", "key,version,hash,changed\n\"a\"b,1,,\n", "behind the closing quote"),
        ("text/csv", &long, "more than 65536 bytes"),
        ("application/x-ndjson", "{\"key\":\"a\"}\n{\"key\":\n", "line 2: it is no JSON"),
        ("application/x-ndjson", "{\"version\":1}\n", "line 1: it has no key"),
        ("application/x-ndjson", "17\n", "line 1"),
        ("application/json", "{\"orders\":[]}", "there is no array"),
        ("application/json", "[{\"key\":\"a\"}", "cut off"),
        ("application/json", &deep, "no JSON document"),
        ("text/html", "<html>", "set `format`"),
    ] {
        says(&said, answer(&(kind, text.to_owned())));
        let report = report(&reconciler, NOW);
        let why = report.failure.clone().unwrap_or_else(|| panic!("{text:.80}: {report:?}")).why;
        assert!(why.contains(expect), "{text:.80}: {why}");
    }
    assert!(world.sent(0).is_empty(), "nothing was sent again");
    assert!(matches!(reconciler.want("orders", "anna", None, None), Some(Err(Refused::Uncompared))));
    says(&said, answer(&("text/csv", csv(0..50))));
    assert_eq!(report(&reconciler, NOW).standing(), Standing::InSync);
}

#[test]
fn a_rule_sends_again_and_asks_where_that_may_be_a_mistake() {
    let world = World::with(&Planted::plain(50));
    let (peer, said) = changing();
    let config = manifest(&peer, "on_missing = \"queue\"\nask_above = 10").replace("30d", "300d");
    let reconciler = reconciler(&world, &config);
    let compare = |keys: std::ops::Range<u64>| {
        says(&said, answer(&("text/csv", csv(keys))));
        report(&reconciler, NOW)
    };
    let asked = |report: &Report, expect: &str| {
        let asks = report.asks.clone().unwrap_or_default();
        assert!(asks.contains(expect) && report.queued.is_none(), "{expect}: {report:?}");
    };
    asked(&compare(0..0), "empty");
    asked(&compare(0..39), "more than 10");
    // It asks again: a list that shrank is not what the next one is held against.
    for _ in 0..2 {
        asked(&compare(0..19), "has 19 lines, and had 39 before");
    }
    assert!(world.sent(0).is_empty(), "a person decides");
    compare(0..41);
    let sent = world.sent(9);
    assert_eq!(sent, (41..50).map(|number| format!("order:{number}")).collect());
    let queued = reconciler.named("orders").expect("there").report.queued.expect("it was sent again");
    assert_eq!((queued.who.as_str(), queued.messages, queued.refused), ("reconcile orders", 9, 0));
    let entries = world.engine.audit(None, 100).expect("a log").entries;
    let entry = &entries[0].0;
    assert_eq!((entry.deed.act.as_str(), entry.deed.detail.as_str()), ("reconcile", "orders: 9 sent again, 0 not"));
    // They arrived now, by the clock of the engine, and are asked for again only once they have settled and are missing all the same.
    let later = world.settled();
    says(&said, answer(&("text/csv", csv(0..41))));
    // So it is after a restart.
    let anew = self::reconciler(&world, &config);
    for reconciler in [&reconciler, &anew] {
        let report = report(reconciler, later);
        assert!(report.asks.as_deref().is_some_and(|why| why.contains("sent again before")), "{report:?}");
    }
}

#[test]
fn what_is_older_than_what_came_since_is_not_sent_again() {
    let world = World::with(&Planted::plain(5));
    let (peer, said) = changing();
    let reconciler = reconciler(&world, &manifest(&peer, "").replace("30d", "300d"));
    says(&said, answer(&("text/csv", csv(0..4))));
    assert_eq!(report(&reconciler, NOW).missing.count, 1);
    world.engine.accept_wait(vec![goniec::Message::to("erp").key("order:4").body(*b"2")]).expect("taken");
    assert_eq!(world.sent(1).len(), 1);
    assert!(reconciler.want("orders", "anna", Some(1), None).expect("it is there").is_ok());
    reconciler.turn(NOW);
    let queued = reconciler.named("orders").expect("there").report.queued.expect("it was tried");
    assert_eq!((queued.messages, queued.refused), (0, 1), "{queued:?}");
    assert!(queued.detail.is_some_and(|why| why.contains("of its key has come since")));
}

#[test]
fn what_cannot_be_held_against_a_body_is_not_in_sync() {
    let world = World::with(&Planted::plain(50));
    let (peer, said) = changing();
    let reconciler = reconciler(&world, &manifest(&peer, ""));
    let hash = "ab".repeat(32);
    let hashed = |version: u64| (20..50).map(|n| format!("order:{n},{version},{hash},\n")).collect::<String>();
    let compare = |version| {
        says(&said, answer(&("text/csv", csv(0..20) + &hashed(version))));
        let report = report(&reconciler, NOW);
        (report.standing(), report.matched, report.stale.count, report.uncompared)
    };
    assert_eq!(compare(1), (Standing::Behind, 20, 30, 0), "the bodies are others");
    let rule = Retention { delivered_ms: u64::MAX, abandoned_ms: u64::MAX, bodies_ms: 3_600_000, step_max: 1_000 };
    assert!(world.store.retain(&rule, NOW).expect("retains").bodies >= 50);
    assert_eq!(compare(1), (Standing::Incomplete, 20, 0, 30));
    assert_eq!(compare(0), (Standing::Behind, 20, 30, 0), "what the version says needs no body");
}

#[test]
fn what_it_came_to_outlives_the_process_and_a_person_is_told_once() {
    let world = World::with(&Planted::plain(50));
    let (peer, said) = changing();
    let config = manifest(&peer, "");
    let first = reconciler(&world, &config);
    says(&said, answer(&("text/csv", csv(0..49))));
    let found = report(&first, NOW);
    assert_eq!((found.missing.count, found.behind_since), (1, Some(NOW)));
    assert_eq!(report(&first, NOW).missing.count, 1, "of the same a person is told no more");
    world.told(1);
    let second = reconciler(&world, &config);
    let shown = second.named("orders").expect("there");
    assert_eq!(
        (shown.report, shown.can_queue),
        (found.clone(), false),
        "it is kept, and what lacks is looked for anew"
    );
    // Who tells has the untold in memory: nobody may have heard of it yet.
    let same = report(&second, NOW);
    assert_eq!((same.missing.count, same.behind_since), (1, Some(NOW)));
    world.told(2);
    says(&said, answer(&("text/csv", csv(0..48))));
    let grown = report(&second, NOW.plus(1));
    assert_eq!((grown.missing.count, grown.behind_since), (2, Some(NOW)));
    world.told(3);
    says(&said, answer(&("text/csv", csv(0..50))));
    let over = report(&second, NOW.plus(2));
    assert_eq!((over.missing.count, over.behind_since), (0, None));
    let told = world.told(4);
    let words: Vec<&str> = told.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(words, ["out-of-sync", "out-of-sync", "out-of-sync", "in-sync"], "{told:?}");
}

/// An ERP that takes orders and lists them, until it is down.
#[cfg(feature = "cli")]
fn erp(has: Arc<Mutex<BTreeMap<String, u64>>>, is_down: Arc<AtomicBool>) -> Peer {
    Peer::start(move |line| {
        while let Some(request) = line.request() {
            let mut orders = has.lock().expect("no panic");
            let text = if request.head.starts_with("POST") {
                let key = request.header("goniec-key").expect("a key").to_owned();
                *orders.entry(key).or_default() += 1;
                String::new()
            } else {
                assert_eq!(request.header("authorization"), Some("Basic YW5uYTpzZWNyZXQtb2YtdGhlLWxpc3Q="));
                orders.keys().map(|key| format!("{{\"no\":{:?}}}\n", key.trim_start_matches("order:"))).collect()
            };
            drop(orders);
            let status = if is_down.load(Ordering::SeqCst) { "500 Oops" } else { "200 OK" };
            let head = "\r\ncontent-type: application/x-ndjson\r\ncontent-length";
            if !line.send(format!("HTTP/1.1 {status}{head}: {}\r\n\r\n{text}", text.len())) {
                return;
            }
        }
    })
}

/// By the binary: an order that was deleted at the ERP behind goniec's back is found and sent again.
#[cfg(feature = "cli")]
#[test]
fn a_node_finds_what_an_erp_lost_and_a_verb_sends_it_again() {
    let (has, is_down): (Arc<Mutex<BTreeMap<String, u64>>>, Arc<AtomicBool>) = Default::default();
    let erp = erp(has.clone(), is_down.clone());
    let (orders, list) = (erp.url("/orders"), erp.url("/orders/list"));
    let node = node::Node::serve(&format!(
        "[destination.erp]\nurl = \"{orders}\"\n[reconcile.orders]\ndestination = \"erp\"\nsettle = \"0s\"\n\
         manifest = {{ url = \"{list}\", key = '\"order:\" + .no', auth = {{ basic = {{ user = \"anna\", password = {{ env = \"PASSWORD\" }} }} }} }}\n"
    ));
    for number in 0..20 {
        let key = format!("order:{number}");
        let (status, said) = node.ask("POST", "/v1/send/erp", &[("goniec-key", &key)], "{}");
        assert_eq!(status, 202, "{said}");
    }
    node.until("all is there", |_| has.lock().expect("no panic").len() == 20);
    let code = |words: &[&str]| {
        let ended = node.run(words);
        let said = [ended.stdout, ended.stderr].concat();
        (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    node.until("it is settled", |_| code(&["reconcile", "orders"]).0 == Some(0));
    assert_eq!(node.json("/v1/reconcile/orders")["matched"], 20);
    for lost in ["order:7", "order:13"] {
        has.lock().expect("no panic").remove(lost);
    }
    let (status, said) = code(&["reconcile", "orders"]);
    assert!(status == Some(1) && said.contains("order:7 ") && said.contains("not in sync: orders"), "{said}");
    let (status, said) = code(&["reconcile", "orders", "--list", "--last"]);
    assert!(status == Some(1) && said.lines().count() == 3, "{said}");
    assert!(said.contains("order:7  ") && said.contains("order:13  "), "{said}");
    let (status, said) = code(&["reconcile", "orders", "--queue"]);
    assert!(status == Some(2) && said.contains("2 messages would be sent again"), "{said}");
    let (status, said) = node.ask("POST", "/v1/reconcile/orders/queue?count=3", &[], "");
    assert!(status == 409 && said.contains("counted"), "{said}");
    let (status, said) = code(&["reconcile", "orders", "--queue", "--yes"]);
    assert!(status == Some(0) && said.contains("2 sent again, 0 refused"), "{said}");
    node.until("all is there again", |_| has.lock().expect("no panic").len() == 20);
    assert!(has.lock().expect("no panic").values().all(|times| *times == 1), "each once, and what was lost once more");
    node.until("they agree", |_| code(&["reconcile", "orders"]).0 == Some(0));
    let (status, said) = code(&["reconcile"]);
    assert!(status == Some(0) && said.contains("in-sync"), "{said}");
    assert_eq!(code(&["reconcile", "order"]).0, Some(1), "there is none of this name");
    // Of a list that does not come nothing is sent by what was found before.
    has.lock().expect("no panic").remove("order:7");
    assert_eq!(code(&["reconcile", "orders"]).0, Some(1));
    is_down.store(true, Ordering::SeqCst);
    for words in [&["reconcile", "orders", "--queue", "--yes"][..], &["reconcile", "orders", "--last"]] {
        let (status, said) = code(words);
        let is_told = said.contains("orders could not be compared: ") && said.contains("500");
        assert!(status == Some(1) && is_told && !said.contains("compared anew"), "{said}");
    }
    assert_eq!(node.json("/v1/reconcile/orders")["missing"]["count"], 1, "what was known stays");
    assert_eq!(has.lock().expect("no panic").len(), 19);
}

#[test]
fn two_registries_find_exactly_where_they_differ() {
    let mut dice = Dice::new("two registries");
    for round in 0..100 {
        let seed = dice.0;
        let fates: Vec<Fate> = (0..dice.below(40)).map(|_| FATES[dice.below(15).min(10) as usize]).collect();
        let pair = Pair::with(&fates);
        let invented = dice.below(3) == 0;
        if invented {
            pair.invent();
        }
        let reconciler = pair.reconciler();
        assert!(reconciler.ask("peer"));
        reconciler.turn(pair::now());
        let report = reconciler.named("peer").expect("there").report;
        let about = format!("round {round}, seed {seed}: {report:?}, {fates:?}");
        assert_eq!(report.failure, None, "{about}");
        let of = |fate: Fate| fates.iter().filter(|own| **own == fate).count() as u64;
        // Without a message of it a registry has no stream to ask for.
        let only_there = of(Fate::UnheardAndCancelled) + u64::from(invented && pair.streams() > 0);
        assert_eq!(report.missing.count, of(Fate::Removed) + of(Fate::RemovedAndForgotten), "{about}");
        assert_eq!(
            (report.stale.count, report.conflicting.count),
            (of(Fate::Outdated), of(Fate::Garbled) + of(Fate::Taken)),
            "{about}"
        );
        assert_eq!(report.unexpected.count, only_there, "{about}");
        assert_eq!(report.under_way, of(Fate::Unheard) + of(Fate::Cancelled), "{about}");
        let agreed = of(Fate::Arrives) + of(Fate::RemovedAndOvertaken) + of(Fate::RemovedAndCancelled);
        assert_eq!(report.matched, agreed, "{about}");
        let named = |side: &[goniec::admin::reconcile::Sample], fate| {
            // What is no longer here has no name.
            let mut named = side.iter().filter(|sample| !sample.key.is_empty());
            named.all(|sample| fates[sample.key[6..].parse::<usize>().expect("a number")] == fate)
        };
        assert!(
            named(&report.missing.samples, Fate::Removed)
                && named(&report.stale.samples, Fate::Outdated)
                && report.conflicting.samples.iter().all(|sample| {
                    matches!(fates[sample.key[6..].parse::<usize>().expect("a number")], Fate::Garbled | Fate::Taken)
                }),
            "{about}"
        );
        let there = pair.there();
        assert!(matches!(reconciler.want("peer", "anna", Some(report.lacking()), None), Some(Ok(()))), "{about}");
        reconciler.turn(pair::now());
        pair.settle();
        assert!(reconciler.ask("peer"));
        reconciler.turn(pair::now());
        let after = reconciler.named("peer").expect("there").report;
        assert_eq!(after.missing.count, of(Fate::RemovedAndForgotten), "what is gone here too: {about}: {after:?}");
        assert_eq!(after.stale.count, 0, "{about}: {after:?}");
        // What lies there in its place stays, alone: that is for a person to look at.
        assert_eq!(after.conflicting, report.conflicting, "{about}: {after:?}");
        assert_eq!(pair.there(), there + of(Fate::Removed) + of(Fate::Outdated), "{about}: no second copy");
    }
}

/// By two nodes: what was removed behind goniec's back is found over the signed way of the stream, and sent again.
#[cfg(feature = "cli")]
#[test]
fn a_node_finds_what_another_node_lost() {
    let secret = "secret = { env = \"STREAM_SECRET\" }";
    let there = node::Node::serve(&format!(
        "[source.here]\nverify = {{ preset = \"goniec\", {secret} }}\n[[route]]\nto = [\"log\"]\n"
    ));
    let here = node::Node::serve(&format!(
        "[destination.peer]\ntype = \"goniec\"\nurl = \"{}\"\nsign = {{ {secret} }}\n",
        there.at("/v1/in/here")
    ));
    for number in 0..20 {
        let key = format!("order:{number}");
        assert_eq!(here.ask("POST", "/v1/send/peer", &[("goniec-key", &key)], "{}").0, 202);
    }
    let count = |node: &node::Node| {
        node.json("/v1/messages?state=delivered&limit=100")["messages"].as_array().expect("a list").len()
    };
    here.until("all is there", |here| count(here) == 20 && count(&there) == 20);
    let run = |words: &[&str]| here.run(words).status.code();
    assert_eq!(run(&["reconcile", "peer"]), Some(0));
    let lost = there.json("/v1/messages?key=order%3A7")["messages"][0]["id"].clone();
    let lost = format!("/v1/messages/{}", lost.as_str().expect("an id"));
    assert_eq!(there.ask("DELETE", &lost, &[], "").0, 204);
    assert_eq!(run(&["reconcile", "peer"]), Some(1));
    assert_eq!(here.json("/v1/reconcile/peer")["missing"]["samples"][0]["key"], "order:7");
    assert_eq!(count(&there), 19, "nothing comes again before a person says so");
    run(&["reconcile", "peer", "--queue", "--yes"]);
    there.until("it is there again", |there| count(there) == 20);
    here.until("they agree", |_| run(&["reconcile", "peer"]) == Some(0));
    // Only who has the secret is told anything.
    let question = [("content-type", goniec::model::ranges::CONTENT_TYPE)];
    assert_eq!(there.ask("POST", "/v1/in/here", &question, "").0, 401);
}
