//! Folders of files: what becomes of each, of hostile ones too, and that a half-taken one is gone on with where it was left.

#[path = "common/spooled.rs"]
mod spooled;
#[path = "common/told.rs"]
mod told;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goniec::Message;
use goniec::config::{Config, Process};
use goniec::engine::{Act, Destination, Engine, Settings};
use goniec::model::{Queued, WallMs};
use goniec::source::{UNROUTED, Unrouted};
use goniec::store::Query;
use goniec::store::memory::{DiskFault, MemoryStore};
use serde_json::Value;
use spooled::{ROUTE, World, world};

#[test]
fn each_form_becomes_messages() {
    let mut world = world(ROUTE);
    let lines = "{\"id\":1,\"kind\":\"order\"}\n\n{\"body\":{\"id\":2},\"key\":\"own\",\"type\":\"price\",\"headers\":{\"x-a\":\"1\"}}\n\
                 {\"body\":\"text\",\"destination\":\"shop\",\"idempotency_key\":\"i\",\"after\":[\"k\"],\"key\":\"mine\"}\n";
    world.put("1.ndjson", lines);
    world.put("2.csv", "id;kind\r\n3;\"a;b\"\r\n");
    world.put("3.json", "{ \"id\" : 4.0 }");
    world.put("4.xml", "<id>5</id>");
    let status = world.look();
    assert_eq!((status.taken, status.refused, status.waiting, status.messages), (4, 0, 0, 7), "{status:?}");
    assert_eq!((status.last_file.as_deref(), status.last_error), (Some("4.xml"), None));
    let seen: Vec<String> = world
        .records()
        .iter()
        .map(|(record, body)| {
            let envelope = &record.envelope;
            let header =
                |name: &str| envelope.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
            assert_eq!(header("goniec-source"), Some("orders"));
            let words = [envelope.key.as_deref(), envelope.kind.as_deref(), header("goniec-sequence"), header("x-a")];
            format!("{} {} {body}", envelope.destination, words.map(|word| word.unwrap_or("-")).join(" "))
        })
        .collect();
    assert_eq!(
        seen,
        [
            "erp 1 order 1.ndjson/1 - {\"id\":1,\"kind\":\"order\"}",
            "erp 2 price 1.ndjson/2 1 {\"id\":2}",
            "shop 2 price 1.ndjson/2 1 {\"id\":2}",
            "shop mine - 1.ndjson/3 - text",
            "erp 3 a;b 2.csv/1 - {\"id\":\"3\",\"kind\":\"a;b\"}",
            "erp 4.0 - 3.json/1 - { \"id\" : 4.0 }",
            "unrouted - - 4.xml/1 - <id>5</id>",
        ]
    );
    assert_eq!(world.files("done").len(), 4);
    assert!(world.files("").is_empty() && world.files("failed").is_empty());
}

#[test]
fn what_is_wrong_is_put_aside_whole_and_told_by_line() {
    let mut world = world(ROUTE);
    world.put("a.ndjson", "{\"id\":1}\n{\"id\":}\n{\"id\":3}\n");
    world.put("b.ndjson", "{\"id\":1}\n{\"body\":1,\"destination\":\"nowhere\"}\n");
    world.put("c.csv", "id;kind\n1\n");
    world.put("d.json", "{");
    world.put("e.ndjson", "{\"body\":1,\"bdy\":2}\n");
    world.put("f.bin", vec![0; (1 << 20) + 1]);
    let status = world.look();
    assert_eq!((status.taken, status.refused, status.waiting), (0, 6, 0), "{status:?}");
    assert!(world.bodies().is_empty(), "nothing of them");
    for (name, says) in [
        ("a.ndjson", "line 2: column 7: not JSON"),
        ("b.ndjson", "line 2: unknown destination \"nowhere\""),
        ("c.csv", "line 2: it has 1 fields, and the head has 2"),
        ("d.json", "line 1: column 1: not JSON"),
        ("e.ndjson", "line 1: column 15: unknown field `bdy`"),
        ("f.bin", "line 1: the body has 1048577 bytes"),
    ] {
        assert!(world.why(name).starts_with(says), "{name}: {}", world.why(name));
    }
    assert_eq!(fs::read(world.dir.path().join("failed/d.json")).expect("is kept"), b"{");
    // Mended, it is a file like any other.
    world.put("a.ndjson", "{\"id\":1}\n");
    assert_eq!(world.look().taken, 1);
}

#[test]
fn only_whole_plain_files_are_looked_at() {
    let mut world = world(ROUTE);
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(secret.path(), "secret").expect("writes");
    symlink(secret.path(), world.dir.path().join("a.json")).expect("links");
    symlink("/", world.dir.path().join("b")).expect("links");
    assert!(
        std::process::Command::new("mkfifo").arg(world.dir.path().join("c.json")).status().expect("runs").success()
    );
    fs::create_dir(world.dir.path().join("d.json")).expect("a folder");
    for name in [".hidden.json", "e.json.tmp", "f.json.part"] {
        world.put(name, "1");
    }
    let status = world.look();
    assert_eq!((status.taken, status.refused, status.waiting, status.last_error), (0, 0, 0, None));
    assert!(world.bodies().is_empty() && world.files("done").is_empty());
    assert_eq!(world.files("").len(), 7, "they are left alone");
}

#[test]
fn what_rested_goes_on_with_the_version_that_it_brought() {
    let mut world = world("");
    world.put("a.ndjson", r#"{"body":{"id":1},"key":"k","type":"order","version":7}"#);
    world.look();
    let rests = world.records()[0].0.clone();
    assert_eq!((&*rests.envelope.destination, rests.envelope.version), (UNROUTED, Some(7)));
    world.engine.shutdown(Duration::from_secs(10)).expect("ends");
    // The routes were written, and the node was started again.
    let config = format!(
        "[destination.erp]\nurl = \"http://127.0.0.1:1/\"\n[source.orders]\nspool = {:?}\n[[route]]\nto = [\"erp\"]\n",
        world.dir.path()
    );
    let sources = Config::parse(&config, "test", &Process).expect("sound").sources;
    let unrouted = Unrouted::new(sources);
    let destinations = vec![Destination::new("erp", |_: &Message| ()), Destination::new(UNROUTED, unrouted.clone())];
    let store = Arc::new(MemoryStore::open(&world.disk).expect("opens"));
    let engine = Engine::start(store, destinations, Settings::default(), Vec::new()).expect("starts");
    unrouted.hands_to(&engine);
    engine.act_wait(rests.id, Act::Resend(Queued::Ready)).expect("is sent again");
    let query = Query { limit: 9, ..Query::default() };
    let until = Instant::now() + Duration::from_secs(10);
    let gone_on = loop {
        let page = engine.list(&query).expect("lists");
        let erp = page.messages.into_iter().find(|shown| &*shown.record.envelope.destination == "erp");
        if let Some(shown) = erp {
            break shown.record;
        }
        assert!(Instant::now() < until, "it does not go on");
        std::thread::yield_now();
    };
    assert_eq!((gone_on.envelope.version, gone_on.envelope.key.as_deref()), (Some(7), Some("k")));
    engine.shutdown(Duration::from_secs(10)).expect("ends");
}

#[test]
fn a_link_in_place_of_done_leads_nowhere() {
    let mut world = world(ROUTE);
    let elsewhere = tempfile::tempdir().expect("a folder");
    symlink(elsewhere.path(), world.dir.path().join("done")).expect("links");
    world.put("a.json", "{\"id\":1}");
    let status = world.look();
    assert!(status.last_error.is_some_and(|why| why.contains("no folder of its own")));
    assert!(world.bodies().is_empty() && world.files("").contains(&PathBuf::from("a.json")));
    assert_eq!(fs::read_dir(elsewhere.path()).expect("lists").count(), 0);
}

#[test]
fn names_steer_nothing() {
    let mut world = world(ROUTE);
    let names: [&[u8]; 5] = [b"a\n\x1b[31m.json", b"..json", b"%2e%2e%2f.json", b"\xff\xfe.json", "ż.json".as_bytes()];
    for name in names {
        world.put(OsStr::from_bytes(name), "{\"id\":1}");
    }
    let long = "n".repeat(250) + ".json";
    world.put(&long, "{\"id\":1}");
    world.put("z.json", "{");
    let status = world.look();
    // One begins with a dot.
    assert_eq!((status.taken, status.refused), (5, 1), "{status:?}");
    assert_eq!(world.files("done").len(), 5);
    assert!(world.records().iter().all(|(record, _)| {
        record.envelope.headers.iter().all(|(_, value)| value.bytes().all(|byte| byte.is_ascii_graphic()))
    }));
}

#[test]
fn a_name_comes_again_and_takes_no_place() {
    let mut world = world(ROUTE);
    for number in 1..=3 {
        world.put("a.json", format!("{{\"id\":{number}}}"));
        world.put("b.json", format!("{number}{{"));
        world.look();
    }
    assert_eq!(world.bodies(), ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    assert_eq!(world.files("done"), ["a.json", "a.json.1", "a.json.2"].map(PathBuf::from));
    assert_eq!(world.files("failed").len(), 6);
    // What a person moves back is a new file, although nothing of it has changed.
    fs::rename(world.dir.path().join("done/a.json"), world.dir.path().join("a.json")).expect("moves");
    let status = world.look();
    assert_eq!(world.bodies().len(), 4, "{status:?}");
}

#[test]
fn an_empty_file_is_no_message_but_where_it_is_a_body() {
    let mut world = world(ROUTE);
    ["a.ndjson", "b.csv", "c.json", "d.dat"].iter().for_each(|name| world.put(name, ""));
    let status = world.look();
    assert_eq!((status.taken, status.refused, status.messages), (2, 2, 1), "{status:?}");
    assert_eq!(world.files("done"), ["a.ndjson", "d.dat"].map(PathBuf::from));
}

fn many(lines: usize) -> String {
    (0..lines).map(|number| format!("{{\"id\":{number}}}\n")).collect()
}

fn check_each_once(world: &World, lines: usize) {
    let mut ids: Vec<u64> = world
        .bodies()
        .iter()
        .map(|body| serde_json::from_str::<Value>(body).expect("JSON")["id"].as_u64().expect("a number"))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..u64::try_from(lines).expect("small")).collect::<Vec<_>>());
}

#[test]
fn a_large_file_is_gone_on_with_where_it_was_left() {
    const LINES: usize = 25_000;
    let mut world = world(ROUTE);
    world.put("a.ndjson", many(LINES));
    // Asked before the file, between the two parts that are only read, and once the first was taken.
    world.look_until(3);
    assert_eq!(world.bodies().len(), 10_000, "one request of it");
    world.again();
    world.look_until(1);
    assert_eq!(world.bodies().len(), 20_000);
    world.again();
    assert_eq!(world.look().waiting, 0);
    check_each_once(&world, LINES);
    assert_eq!(world.files("done"), [PathBuf::from("a.ndjson")]);
}

#[test]
fn nothing_of_a_large_file_is_taken_where_its_last_line_is_wrong() {
    let mut world = world(ROUTE);
    world.put("a.ndjson", many(25_000) + "{");
    assert_eq!(world.look().refused, 1);
    assert!(world.why("a.ndjson").starts_with("line 25001: column 1"), "{}", world.why("a.ndjson"));
    assert!(world.bodies().is_empty());
}

#[test]
fn a_half_taken_file_that_is_replaced_is_told_and_the_new_one_taken() {
    let mut world = world(ROUTE);
    world.put("a.ndjson", many(25_000));
    world.look_until(3);
    assert_eq!(world.bodies().len(), 10_000, "one request of it");
    world.put("a.ndjson", "{\"id\":\"new\"}\n");
    let status = world.look();
    assert_eq!((status.taken, status.refused), (1, 1), "{status:?}");
    assert!(world.why("a.ndjson").contains("10000 messages of it, to its line 10000, were taken"));
    assert_eq!(world.bodies().len(), 10_001);
}

#[test]
fn what_was_taken_goes_after_its_time() {
    let mut world = world(ROUTE);
    world.put("a.json", "{\"id\":1}");
    world.put("b.json", "{");
    world.look();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = u64::try_from(now.as_millis()).expect("small");
    let day_ms = 86_400_000;
    world.spooler.turn(WallMs(now + 29 * day_ms), &|| false);
    assert_eq!(world.files("done").len(), 1);
    world.spooler.turn(WallMs(now + 31 * day_ms), &|| false);
    assert_eq!((world.files("done").len(), world.files("failed").len()), (0, 2));
}

#[test]
fn on_a_full_disk_files_wait() {
    let mut world = world(ROUTE);
    world.disk.set_capacity(Some(1));
    world.put("a.ndjson", many(100));
    let status = world.look();
    assert!(status.last_error.as_ref().is_some_and(|why| why.contains("full")), "{status:?}");
    assert_eq!((status.taken, status.refused, world.files("").len(), world.bodies().len()), (0, 0, 1, 0));
    world.disk.set_capacity(None);
    let until = Instant::now() + Duration::from_secs(30);
    while world.look().taken == 0 {
        assert!(Instant::now() < until, "{:?}", world.look());
        // The pace of a loop with a deadline: the engine finds out by itself that there is room.
        std::thread::sleep(Duration::from_millis(20));
    }
    check_each_once(&world, 100);
}

#[test]
fn a_file_moves_only_once_its_messages_are_durable() {
    let mut world = world("");
    world.put("orders.ndjson", many(3));
    world.disk.fail_sync(0, DiskFault::Io);
    for _ in 0..3 {
        let status = world.look();
        assert!(status.last_error.is_some(), "{status:?}");
        assert!(world.dir.path().join("orders.ndjson").exists(), "what it brought may be gone");
    }
    assert!(world.engine.shutdown(std::time::Duration::from_secs(10)).is_err(), "the disk failed");
    world.disk.crash(1);
    world.disk.heal();
    (world.store, world.engine, world.spooler) = spooled::run(&world.disk, &world.sources, &world.told);
    world.look();
    check_each_once(&world, 3);
    assert!(!world.dir.path().join("orders.ndjson").exists());
}

#[test]
fn what_may_not_be_read_is_put_aside() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = world(ROUTE);
    world.put("a.json", "{\"id\":1}");
    let path = world.dir.path().join("a.json");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).expect("is ours");
    // Whoever may read everything reads this too.
    let is_readable = fs::File::open(&path).is_ok();
    let status = world.look();
    assert_eq!((status.taken, status.refused), if is_readable { (1, 0) } else { (0, 1) });
    assert!(is_readable || world.why("a.json").starts_with("it cannot be opened"));
}
