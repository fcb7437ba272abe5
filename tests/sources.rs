//! What systems hand in by themselves: signatures made by other people's code, replays over kills, routes, and what no route takes.

#![cfg(feature = "cli")]

#[path = "sources/crowd.rs"]
mod crowd;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "sources/peers.rs"]
mod peers;
#[path = "sources/refused.rs"]
mod refused;
#[path = "sources/senders.rs"]
mod senders;
#[path = "sources/world.rs"]
mod world;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use senders::{SECRETS, Sender, flipped};
use serde_json::{Value, json};
use world::{World, now_s};

/// Every preset against signatures that are not ours: right, wrong in each byte, of another body, of another time, and come again.
fn holds(sender: &Sender) {
    let Some(sign) = sender.ready() else { return };
    let world = World::serve(&sender.config());
    let path = format!("/v1/in/{}", sender.name);
    let body = r#"{"id":"evt_17","type":"order.created","event":"order.created","data":{"zażółć":[12345678901234567890123,"x"]}}"#;
    let at = now_s();
    for (number, secret) in SECRETS.iter().enumerate() {
        let id = format!("delivery-{number}");
        let signed = sign(secret, &id, at, body);
        let headers = sender.headers(&id, at, &signed);
        let first = world.post(&path, &headers, body.as_bytes());
        assert_eq!(first.0, sender.status, "{}: {}", sender.name, first.1);
        let again = world.post(&path, &headers, body.as_bytes());
        assert_eq!(again, first, "{}: come again", sender.name);
        for (at_byte, changed) in flipped(&signed, sender.proving(&signed)) {
            let wrong = world.post(&path, &sender.headers(&id, at, &changed), body.as_bytes());
            assert_eq!(wrong.0, 401, "{}: byte {at_byte}: {}", sender.name, wrong.1);
            assert!(!wrong.1.contains("secret-of-the-old-days") && !wrong.1.contains(&signed), "{}", wrong.1);
        }
        let other = body.replace("17", "18");
        assert_eq!(world.post(&path, &headers, other.as_bytes()).0, 401, "{}: another body", sender.name);
        assert_eq!(world.post::<String>(&path, &[], body.as_bytes()).0, 401, "{}: no signature", sender.name);
        if sender.is_timed {
            for at in [at - 400, at + 400] {
                let late = sender.headers(&id, at, &sign(secret, &id, at, body));
                let refused = world.post(&path, &late, body.as_bytes());
                assert!(refused.0 == 401 && refused.1.contains("seconds from now"), "{}: {refused:?}", sender.name);
            }
        }
    }
    let stranger = sign("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "d", at, body);
    assert_eq!(world.post(&path, &sender.headers("d", at, &stranger), body.as_bytes()).0, 401, "{}", sender.name);
    // One message for each secret under its own delivery id; without ids one for each time that was signed.
    let taken = world.listed("to:log");
    assert_eq!(taken.len(), sender.taken, "{}: {taken:?}", sender.name);
    assert!(taken.iter().all(|message| message["type"] == "order.created"), "{}: {taken:?}", sender.name);
    assert_eq!(world.body(&taken[0]), body, "{}: as it came, byte for byte", sender.name);
}

#[test]
fn standard_webhooks_as_its_own_library_signs() {
    holds(&senders::STANDARD_WEBHOOKS);
}

#[test]
fn standard_webhooks_as_svix_signs() {
    holds(&senders::SVIX);
}

#[test]
fn stripe_as_its_own_library_signs() {
    holds(&senders::STRIPE);
}

#[test]
fn github_as_octokit_signs() {
    holds(&senders::GITHUB);
}

#[test]
fn shopify_as_python_signs() {
    holds(&senders::SHOPIFY);
}

#[test]
fn inpost_as_python_signs_with_its_time() {
    holds(&senders::INPOST);
}

/// Events made by the library of CloudEvents come in its three forms, are taken once, and go on as events that it reads again.
#[test]
fn events_of_their_own_library_come_and_go() {
    let Some(library) = senders::cloudevents() else { return };
    let shop = world::webhook();
    let world = World::serve(&format!(
        "[destination.shop]\nurl = \"{}\"\n[source.bus]\nverify = {{ preset = \"none\" }}\n[[route]]\ntype = \"price.*\"\n\
         when = \".net > 1\"\nto = [\"shop\"]\n",
        shop.url("/")
    ));
    let event = |id: &str, net: u32| {
        let attributes = json!({
            "id": id, "source": "/shop/1", "type": "price.changed", "subject": "sku:4711", "priority": "high",
            "time": "2026-11-23T12:00:00+00:00"
        });
        json!({ "attributes": attributes, "data": { "net": net, "name": "żółw" } })
    };
    let post = |how: &str, events: &Value| {
        let made = library(how, events);
        let headers = made["headers"].as_object().expect("headers");
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
        world.post("/v1/in/bus", &headers, made["body"].as_str().expect("a body").as_bytes())
    };
    let first = post("structured", &json!([event("1", 2)]));
    assert_eq!(first.0, 202, "{}", first.1);
    assert_eq!(post("structured", &json!([event("1", 2)])), first, "come again");
    assert_eq!(post("binary", &json!([event("2", 3)])).0, 202);
    let batch = post("batch", &json!([event("3", 4), event("1", 2), event("4", 0)]));
    assert_eq!(batch.0, 202, "{}", batch.1);
    world.until("three arrive", |world| world.listed("to:shop state:delivered").len() == 3);
    assert_eq!(world.listed("to:shop key:sku:4711 type:price.changed").len(), 3);
    world.until("the fourth rests", |world| world.listed("to:unrouted state:abandoned").len() == 1);
    let mut seen: Vec<String> = Vec::new();
    for request in shop.requests() {
        let headers = request.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers: serde_json::Map<String, Value> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.into())).collect();
        let read = library("read", &json!({ "headers": headers, "body": STANDARD.encode(&request.body) }));
        let attributes = &read["attributes"];
        for (name, expect) in
            [("source", "/shop/1"), ("type", "price.changed"), ("subject", "sku:4711"), ("priority", "high")]
        {
            assert_eq!(attributes[name], expect, "{read}");
        }
        let data: Value = serde_json::from_str(read["data"].as_str().expect("text")).expect("JSON");
        seen.push(format!("{} {}", attributes["id"].as_str().expect("an id"), data["net"]));
    }
    seen.sort();
    assert_eq!(seen, ["1 2", "2 3", "3 4"]);
    // One that was taken before keeps no other from being taken, also where it says something else around itself by now.
    let mut again = event("1", 2);
    again["attributes"]["time"] = json!("2026-11-23T13:00:00+00:00");
    let both = post("batch", &json!([again, event("5", 6)]));
    assert_eq!(both.0, 202, "{}", both.1);
    world.until("the new one arrives", |world| world.listed("to:shop state:delivered").len() == 4);
    let wrong = world.post("/v1/in/bus", &[("ce-specversion", "1.0"), ("ce-id", "1")], b"{}");
    assert!(wrong.0 == 400 && wrong.1.contains("this is no CloudEvent: it has no source"), "{wrong:?}");
}

/// WooCommerce speaks HTTP/1.0, and asks first whether somebody listens; anything but 200 counts as a failure, and after five it stops for good.
#[test]
fn woocommerce_hears_exactly_200() {
    let sender = &senders::WOOCOMMERCE;
    holds(sender);
    let world = World::serve(&sender.config());
    let say = |headers: &str, body: &str| {
        let mut stream = TcpStream::connect(world.address()).expect("connects");
        let head = format!("POST /v1/in/woocommerce HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n", body.len());
        stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        answer
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let ping = say(form, "webhook_id=17");
    assert!(ping.starts_with("HTTP/1.0 200") || ping.starts_with("HTTP/1.1 200"), "{ping}");
    for (headers, body) in [
        (form, "webhook_id=17&x=1"),
        (form, "webhook_id=a"),
        (form, "{\"id\":1}"),
        ("Content-Type: application/json\r\n", "webhook_id=17"),
    ] {
        let refused = say(headers, body);
        assert!(refused.contains(" 401 "), "{body}: {refused}");
    }
    assert!(world.listed("since:1h").is_empty(), "a ping is no message");
}

/// Who names no source, or does not prove in the head what has to be proved there, is told so before a body is taken: it holds no room. A shop that
/// sends no events sends no more than one message.
#[test]
fn the_head_is_judged_before_the_body() {
    let shop = senders::WOOCOMMERCE.config();
    let world = World::serve(&format!(
        "{shop}[source.bus]\nverify = {{ preset = \"bearer\", secret = {{ file = \"SECRET\" }} }}\n\
         [source.erp]\nverify = {{ preset = \"basic\", user = \"erp\", secret = {{ file = \"SECRET\" }} }}\n"
    ));
    let begun = |source: &str, headers: &str, length: u32| {
        let mut stream = TcpStream::connect(world.address()).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let head =
            format!("POST /v1/in/{source} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).expect("writes");
        let mut answer = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        answer.by_ref().next().unwrap_or_default() + &answer.collect::<Vec<_>>().join("\n")
    };
    for (source, headers, length, says) in [
        ("nobody", "", 1_000_000, ["404", ""]),
        ("bus", "", 1_000_000, ["401", "www-authenticate: Bearer"]),
        ("bus", "Authorization: Bearer x\r\n", 1_000_000, ["401", "www-authenticate: Bearer"]),
        ("erp", "Authorization: Basic eDp4\r\n", 1_000_000, ["401", "www-authenticate: Basic"]),
        ("bus", "Authorization: Bearer secret-of-the-new-days\r\nExpect: 100-continue\r\n", 1_100_000, ["100", ""]),
        ("woocommerce", "Expect: 100-continue\r\n", 1_100_000, ["413", ""]),
        ("woocommerce", "", 0, ["401", "www-authenticate: Signature"]),
    ] {
        let answer = begun(source, headers, length);
        assert!(says.iter().all(|part| answer.contains(part)), "{source} {headers}: {answer}");
    }
}

/// Who guesses the secret of a source waits, whichever he guesses; a system whose secret nobody can guess does not, nor does one that signs.
#[test]
fn who_guesses_secrets_of_sources_waits() {
    let world = World::serve(&format!(
        "{}[source.short]\nverify = {{ preset = \"basic\", user = \"erp\", secret = {{ file = \"SHORT\" }} }}\n\
         [source.long]\nverify = {{ preset = \"bearer\", secret = {{ file = \"SECRET\" }} }}\n",
        senders::WOOCOMMERCE.config()
    ));
    let shows = |source: &str, what: &str| {
        let headers: Vec<(&str, &str)> =
            Some(("authorization", what)).filter(|_| !what.is_empty()).into_iter().collect();
        world.post(&format!("/v1/in/{source}"), &headers, b"{}").0
    };
    let (short, long) = (format!("Basic {}", STANDARD.encode("erp:fifteen bytes..")), "Bearer secret-of-the-new-days");
    let guess = format!("Basic {}", STANDARD.encode("erp:fifteen bytes!!"));
    for _ in 0..6 {
        assert_eq!((shows("short", ""), shows("long", "")), (401, 401), "nothing is no guess");
        let signed = [("x-wc-webhook-signature", STANDARD.encode([0; 32]))];
        assert_eq!(world.post("/v1/in/woocommerce", &signed, b"{}").0, 401, "nobody guesses a signature");
    }
    assert_eq!(shows("short", &short), 202);
    for (source, what) in
        [("short", &*guess), ("long", "Bearer x"), ("short", &guess), ("long", &guess), ("short", &guess)]
    {
        assert_eq!(shows(source, what), 401, "{source}");
    }
    assert_eq!((shows("short", &guess), shows("long", "Bearer x"), shows("short", &short)), (429, 429, 429));
    assert_eq!((shows("long", long), shows("short", "")), (202, 401));
    let refused = world.figure("goniec_source_deliveries_total{source=\"short\",result=\"refused\"}");
    assert_eq!(refused, 6 + 3 + 2 + 1);
}

/// What became of each delivery is counted, and when something was last kept.
#[test]
fn what_a_source_sends_is_counted_by_what_became_of_it() {
    let world = World::serve(
        "[source.shop]\nverify = { preset = \"woocommerce\", secret = { file = \"SECRET\" } }\n\
         [source.bus]\nverify = { preset = \"bearer\", secret = { file = \"SECRET\" } }\n\
         delivery = { header = \"x-id\" }\ntype = { header = \"x-topic\" }\n[[route]]\ntype = \"order\"\nto = [\"log\"]\n",
    );
    let sample = |source: &str, result: &str| {
        world.figure(&format!("goniec_source_deliveries_total{{source=\"{source}\",result=\"{result}\"}}"))
    };
    let last = || world.figure("goniec_source_last_taken_timestamp_seconds{source=\"bus\"}");
    assert_eq!(last(), 0);
    let bearer = ("authorization", "Bearer secret-of-the-new-days");
    for (headers, status) in [
        (vec![bearer, ("x-id", "1"), ("x-topic", "order")], 202),
        (vec![bearer, ("x-id", "1"), ("x-topic", "order")], 202),
        (vec![bearer, ("x-id", "2"), ("x-topic", "price")], 202),
        (vec![bearer, ("content-type", "application/cloudevents+json")], 400),
        (vec![bearer, ("content-encoding", "gzip")], 415),
        (vec![], 401),
    ] {
        assert_eq!(world.post("/v1/in/bus", &headers, b"{}").0, status, "{headers:?}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(world.post("/v1/in/shop", &form, b"webhook_id=17").0, 200);
    assert_eq!(world.post("/v1/in/shop", &form, b"id=17").0, 401);
    let results = ["taken", "repeated", "refused", "ping", "unrouted"];
    assert_eq!(results.map(|result| sample("bus", result)), [1, 1, 3, 0, 1]);
    assert_eq!(results.map(|result| sample("shop", result)), [0, 0, 1, 1, 0]);
    assert!(last().abs_diff(u64::try_from(now_s()).expect("after 1970")) < 60, "{}", last());
}

/// The yes comes whether any destination is up, and a replay is known again after a kill.
#[test]
fn a_replay_is_known_over_a_kill_and_no_destination_matters() {
    let mut world = World::serve(&format!(
        "[destination.erp]\nurl = \"http://127.0.0.1:{}/\"\n[destination.courier]\nurl = \"http://127.0.0.1:{}/\"\n\
         [source.shop]\nverify = {{ preset = \"bearer\", secret = {{ file = \"SECRET\" }} }}\nkey = \".id\"\n\
         type = {{ header = \"x-topic\" }}\ndelivery = {{ header = \"x-delivery\" }}\nstatus = 200\n\
         [[route]]\nfrom = \"shop\"\ntype = \"order.*\"\nto = [\"erp\", \"courier\"]\n",
        world::closed_port(),
        world::closed_port(),
    ));
    let headers =
        [("authorization", "Bearer secret-of-the-new-days"), ("x-topic", "order.created"), ("x-delivery", "d-1")];
    let first = world.post("/v1/in/shop", &headers, b"{\"id\":17}");
    assert_eq!(first.0, 200, "{}", first.1);
    for _ in 0..3 {
        world.kill_and_serve();
        assert_eq!(world.post("/v1/in/shop", &headers, b"{\"id\":17}"), first);
    }
    let both = world.listed("key:17 type:order.created");
    let mut to: Vec<&str> = both.iter().filter_map(|message| message["destination"].as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["courier", "erp"]);
    // The same id over another body is another delivery; a retry counter beside it is not.
    assert_ne!(world.post("/v1/in/shop", &headers, b"{\"id\":18}").1, first.1);
    let counted = [headers.as_slice(), &[("x-retry", "2"), ("content-type", "application/json")]].concat();
    assert_eq!(world.post("/v1/in/shop", &counted, b"{\"id\":17}").0, 200);
    assert_eq!(world.listed("since:1h").len(), 4);
}

/// What no route takes is kept and told, and goes its way once a route does.
#[test]
fn what_no_route_takes_is_kept_told_and_sent_on_once_one_does() {
    let hook = world::webhook();
    let config = |route: &str| {
        format!(
            "[source.shop]\nverify = {{ preset = \"bearer\", secret = {{ file = \"SECRET\" }} }}\nkey = \".order.id\"\n\
             type = \".topic\"\n[[alert]]\non = [\"abandoned\"]\nto = [ {{ webhook = \"{}\" }} ]\n\
             [[route]]\nfrom = \"shop\"\ntype = \"order.*\"\nwhen = \".order.total > 100\"\nto = [\"log\"]\n{route}",
            hook.url("/told")
        )
    };
    let mut world = World::serve(&config(""));
    let bearer = [("authorization", "Bearer secret-of-the-old-days")];
    let bodies = [
        r#"{"topic":"order.created","order":{"id":1,"total":500}}"#,
        r#"{"topic":"order.created","order":{"id":2,"total":50}}"#,
        r#"{"topic":"price.changed","order":{"id":3,"total":500}}"#,
        r#"{"topic":"order.created","order":{"total":500}}"#,
        r#"not JSON at all"#,
        r#"{"order":{"id":6,"total":500}}"#,
    ];
    for body in bodies {
        assert_eq!(world.post("/v1/in/shop", &bearer, body.as_bytes()).0, 202, "{body}");
    }
    world.until("five rest", |world| world.listed("to:unrouted state:abandoned reason:rejected").len() == 5);
    world.until("somebody is told", |_| !hook.requests().is_empty());
    assert_eq!(world.listed("to:unrouted key:2").len(), 1, "whoever asks after an order finds it");
    let why = |world: &World, body: &str| {
        let rests = world.listed("to:unrouted");
        let one = rests.iter().find(|message| world.body(message) == body).expect("it is there");
        world.attempts(one)[0]["detail"].as_str().unwrap_or_default().to_owned()
    };
    for (body, says) in [
        (bodies[1], "no route takes \"order.created\" from \"shop\""),
        (bodies[2], "no route takes \"price.changed\" from \"shop\""),
        (bodies[3], "the body has no key: .order.id"),
        (bodies[4], "the type: the body is no JSON"),
        (bodies[5], "no route takes what has no type from \"shop\""),
    ] {
        assert_eq!(why(&world, body), says);
    }
    world.serve_again(&config("[[route]]\ntype = \"price.*\"\nto = [\"log\"]\n"));
    world.run(&["resend", "to:unrouted", "--yes"]);
    world.until("one has gone on", |world| world.listed("to:log type:price.changed state:delivered").len() == 1);
    let gone = &world.listed("to:unrouted type:price.changed")[0];
    assert_eq!(gone["state"], "delivered");
    let price = &world.listed("to:log type:price.changed")[0];
    assert_eq!((price["key"].as_str(), world.body(price)), (Some("3"), bodies[2].to_owned()));
    // Edited until its key is found, the fourth goes on too; a repetition sends nothing twice.
    let keyless = world.listed("to:unrouted").into_iter().find(|message| world.body(message) == bodies[3]);
    let keyless = keyless.expect("it is there")["id"].as_str().expect("an id").to_owned();
    world.until("it was refused again", |world| world.attempts_of(&keyless) == 2);
    world.edit(&keyless, r#"{"topic":"order.created","order":{"id":4,"total":500}}"#);
    world.until("it has gone on", |world| world.listed("to:log key:4 state:delivered").len() == 1);
    world.run(&["resend", &keyless]);
    world.until("it came again", |world| world.attempts_of(&keyless) == 4);
    assert_eq!(world.listed("to:log key:4").len(), 1);
}

/// A word that no message can have is never taken for none: what has one rests, also when it is sent again, until its source finds another.
#[test]
fn what_has_a_word_that_is_too_long_rests_until_a_person_mends_it() {
    let config = |bus: &str, shop: &str| {
        format!(
            "[destination.stock]\nurl = \"http://127.0.0.1:{}/\"\nlatest_wins = true\n\
             [source.bus]\nverify = {{ preset = \"none\" }}\n{bus}\n\
             [source.shop]\nverify = {{ preset = \"none\" }}\nkey = \".id\"\nversion = \".v\"\n{shop}\n\
             [[route]]\nto = [\"log\"]\n[[route]]\ntype = \"stock\"\nto = [\"stock\"]\n",
            world::closed_port()
        )
    };
    let mut world = World::serve(&config("", "type = { header = \"x-topic\" }"));
    let (long, fits, beside) = ("l".repeat(600), "k".repeat(197), "k".repeat(198));
    let event = |kind: &str, subject: &str| {
        json!({"specversion": "1.0", "id": subject, "source": "s", "type": kind, "subject": subject,
               "data": {"id": 1, "type": "order"}})
    };
    let structured = [("content-type", "application/cloudevents+json")];
    for event in [event(&long, "o"), event("order", &long)] {
        assert_eq!(world.post("/v1/in/bus", &structured, event.to_string().as_bytes()).0, 202);
    }
    let order = |key: &str, version: &str| format!(r#"{{"id":"{key}","v":"{version}","topic":"order"}}"#);
    for (topic, body) in [
        (&*long, order("1", "1")),
        ("order", order(&long, "1")),
        ("order", order("2", "+5")),
        ("stock", order(&beside, "1")),
        ("stock", order(&fits, "1")),
        ("order", order(&beside, "1")),
    ] {
        assert_eq!(world.post("/v1/in/shop", &[("x-topic", topic)], body.as_bytes()).0, 202, "{topic} {body}");
    }
    let reasons = |world: &World, attempts: usize| {
        let rests = world.listed("to:unrouted state:abandoned");
        let tried: Vec<Vec<Value>> = rests.iter().map(|message| world.attempts(message)).collect();
        let ripe = tried.iter().filter(|tried| tried.len() == attempts);
        let mut said: Vec<String> =
            ripe.filter_map(|tried| Some(tried.last()?["detail"].as_str()?.to_owned())).collect();
        said.sort();
        said
    };
    let expect = [
        "the key has 198 bytes, 197 are allowed beside a version for \"stock\", where the latest wins",
        "the key has 600 bytes, 512 are allowed",
        "the key has 600 bytes, 512 are allowed",
        "the type has 600 bytes, 512 are allowed",
        "the type has 600 bytes, 512 are allowed",
        "the version is no whole number: \"+5\"",
    ];
    world.until("six rest", |world| reasons(world, 1) == expect);
    world.run(&["resend", "to:unrouted", "--yes"]);
    world.until("they rest again", |world| reasons(world, 2) == expect);
    assert_eq!(world.listed("to:log").len(), 2, "nothing went on without its word");
    assert_eq!(world.listed("to:stock").len(), 1);
    world.serve_again(&config("key = \".id\"\ntype = \".type\"", "type = \".topic\""));
    world.run(&["resend", "to:unrouted", "--yes"]);
    world.until("three are left", |world| reasons(world, 3).len() == 3);
    world.until("three have gone on", |world| world.listed("to:log state:delivered").len() == 5);
    let key = |key: &str| world.listed(&format!("to:log key:{key} type:order")).len();
    assert_eq!((key("1"), key(&beside)), (3, 1), "by the key in the data, and the type in the body");
}

/// A delivery that rested, came again once there was a route, and was then sent on, is there once.
#[test]
fn what_rested_and_came_again_goes_on_once() {
    let config = |route: &str| {
        format!(
            "[source.shop]\nverify = {{ preset = \"bearer\", secret = {{ file = \"SECRET\" }} }}\ntype = \".topic\"\n\
             delivery = {{ header = \"x-delivery\" }}\n{route}"
        )
    };
    let mut world = World::serve(&config(""));
    let send = |world: &World, id: &str| {
        let headers = [("authorization", "Bearer secret-of-the-new-days"), ("x-delivery", id)];
        let answer = world.post("/v1/in/shop", &headers, br#"{"topic":"price"}"#);
        assert_eq!(answer.0, 202, "{}", answer.1);
    };
    send(&world, "before");
    send(&world, "after");
    world.until("both rest", |world| world.listed("to:unrouted state:abandoned").len() == 2);
    world.serve_again(&config("[[route]]\nto = [\"log\"]\n"));
    send(&world, "before");
    world.run(&["resend", "to:unrouted", "--yes"]);
    world.until("both went on", |world| world.listed("to:unrouted state:delivered").len() == 2);
    send(&world, "after");
    assert_eq!(world.listed("to:log").len(), 2);
}

/// What no signature covers changes nothing of a signed delivery.
#[test]
fn what_is_not_signed_is_not_believed() {
    let Some(sign) = senders::SVIX.ready() else { return };
    let world = World::serve(&senders::SVIX.config());
    let (body, at) = (r#"{"type":"order.created"}"#, now_s());
    let signed = sign(SECRETS[0], "d-1", at, body);
    let headers = senders::SVIX.headers("d-1", at, &signed);
    let first = world.post("/v1/in/standard-webhooks", &headers, body.as_bytes());
    assert_eq!(first.0, 200, "{}", first.1);
    let also = |more: &[(&'static str, &str)]| {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        [headers.clone(), more.collect()].concat()
    };
    let event = [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "s"), ("ce-type", "order.paid")];
    for more in [&event[..], &[("webhook-id", "a"), ("webhook-id", "b")]] {
        assert_eq!(world.post("/v1/in/standard-webhooks", &also(more), body.as_bytes()), first, "{more:?}");
    }
    assert_eq!(world.listed("to:log").len(), 1);
}
