//! Systems that are asked: pages and their cursors, what is read twice or is too much, what asks, what is forgotten, and answers of every kind of badness.
//!
//! The engine and the HTTP client are real, the other side is a socket on loopback; only the clock is the test's.

#[path = "common/asked.rs"]
mod node;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "common/told.rs"]
mod told;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goniec::source::{PullState, UNROUTED};
use goniec::store::Query;
use goniec::store::memory::MemoryDisk;
use node::{DAY, MINUTE, NOON, PATIENCE, World, answer, config};
use peer::{Peer, Request};

/// What stands in the question's query under this name.
fn asked(request: &Request, name: &str) -> String {
    let query = request.head.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
    let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().to_owned()
}

/// A journal that gives so many entries a page from where it is asked to, or none while it is down.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>, Arc<AtomicBool>);

impl Journal {
    fn add(&self, bodies: impl IntoIterator<Item = String>) {
        self.0.lock().expect("whole").extend(bodies);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("whole").clone()
    }

    fn serve(&self, per_page: usize) -> Peer {
        let journal = self.clone();
        Peer::start(move |line| {
            while let Some(request) = line.request() {
                let since: usize = asked(&request, "since").parse().unwrap_or(0);
                let all = journal.all();
                let page: Vec<&str> = all.iter().skip(since).take(per_page).map(String::as_str).collect();
                let body = format!("{{\"items\":[{}],\"next\":{}}}", page.join(","), since + page.len());
                let status = if journal.1.load(Ordering::SeqCst) { "503 Service Unavailable" } else { "200 OK" };
                if !line.send(answer(status, &body)) {
                    return;
                }
            }
        })
    }
}

const CURSOR: &str = "items = \".items[]\", cursor = \".next\"";

fn entries(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("{{\"sku\":\"s{number}\", \"price\":{number}.50}}"))
}

#[test]
fn pages_follow_each_other_and_every_entry_comes_once_as_it_stands_there() {
    let journal = Journal::default();
    let peer = journal.serve(10);
    let url = peer.url("/prices?since={cursor}");
    let sources = config(&url, CURSOR, "key = \".sku\"\ntype = '\"price.changed\"'");
    let mut world = World::over(MemoryDisk::new(), sources.clone(), NOON);
    journal.add(entries(0..25));
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), journal.all(), "byte for byte, in their order");
    let asked_by_then = peer.requests().len();
    world.live(3 * MINUTE);
    assert_eq!(peer.requests().len() - asked_by_then, 3, "once in a cycle where nothing is new");
    journal.add(entries(25..26));
    world.live(MINUTE);
    let shown = world.pull.shown();
    assert_eq!((shown.items, shown.cursor.as_deref(), shown.state), (26, Some("26"), PullState::Waits));
    let message = world.engine.list(&Query { limit: 1, ..Query::default() }).expect("lists").messages.remove(0);
    let envelope = &message.record.envelope;
    assert_eq!((envelope.key.as_deref(), envelope.kind.as_deref()), (Some("s25"), Some("price.changed")));
    // After a long stop it goes on where it was left, at once.
    journal.add(entries(26..40));
    let mut world = world.again(sources, 5 * DAY);
    world.asker.turn(world.now);
    assert_eq!(world.bodies("shop"), journal.all());
    assert!(peer.requests().iter().all(|request| request.head.starts_with("GET /prices?since=")));
}

#[test]
fn a_page_of_more_than_one_commit_goes_on_after_the_part_that_was_kept() {
    let journal = Journal::default();
    let peer = journal.serve(100_000);
    // The first commit takes 10,000; one of the second cannot be taken, as if it had been killed between the two.
    journal.add(entries(0..12_000));
    journal.add([format!("\"{}\"", "x".repeat(2 << 20))]);
    let mut world = World::new(&peer.url("/prices?since={cursor}"), &format!("{CURSOR}, ask_above = 100000"), "");
    world.live(2 * MINUTE);
    assert_eq!(world.bodies("shop"), journal.all()[..10_000], "what fits in a commit");
    assert!(world.last_error().contains("2097154 bytes"), "{}", world.last_error());
    assert_eq!(world.pull.shown().cursor.as_deref(), Some(""), "the page is not done");
    // The page has grown meanwhile, and is another in what was not taken yet.
    journal.0.lock().expect("whole")[12_000] = "\"short\"".into();
    journal.add(entries(12_000..21_500));
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), journal.all());
    assert_eq!(world.pull.shown().state, PullState::Waits);
}

#[test]
fn a_first_reading_that_is_too_much_asks_and_keeps_nothing_until_it_is_let_in() {
    let journal = Journal::default();
    journal.add(entries(0..35));
    let peer = journal.serve(10);
    let mut world = World::new(&peer.url("/prices?since={cursor}"), &format!("{CURSOR}, ask_above = 20"), "");
    world.live(5 * MINUTE);
    let shown = world.pull.shown();
    assert_eq!((shown.state, shown.asks, shown.next_at), (PullState::Asks, Some(21), None));
    assert_eq!((world.bodies("shop").len(), peer.requests().len()), (0, 3), "it is left alone while a person is asked");
    world.is_told(&["erp source-asks"]);
    world.pull.ask(false);
    world.live(MINUTE);
    assert_eq!((world.bodies("shop").len(), peer.requests().len()), (0, 6), "asked again, it says the same");
    world.pull.ask(true);
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), journal.all());
    // Later ones are no first ones.
    journal.add(entries(35..90));
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), journal.all());
    assert_eq!(world.pull.shown().asks, None);
}

#[test]
fn a_source_that_was_empty_is_as_new_as_ever_and_a_yes_outlives_a_failure() {
    let journal = Journal::default();
    let peer = journal.serve(10);
    let mut world = World::new(&peer.url("/prices?since={cursor}"), &format!("{CURSOR}, ask_above = 20"), "");
    world.live(3 * MINUTE);
    assert_eq!(world.pull.shown().state, PullState::Waits);
    journal.add(entries(0..35));
    world.live(2 * MINUTE);
    let shown = world.pull.shown();
    assert_eq!((shown.state, shown.asks, world.bodies("shop").len()), (PullState::Asks, Some(21), 0));
    journal.1.store(true, Ordering::SeqCst);
    world.pull.ask(true);
    world.live(MINUTE);
    assert_eq!((world.pull.shown().state, world.bodies("shop").len()), (PullState::Fails, 0));
    journal.1.store(false, Ordering::SeqCst);
    world.live(2 * MINUTE);
    assert_eq!(world.bodies("shop"), journal.all(), "the next cycle reads what a person let in");
}

#[test]
fn a_first_reading_without_end_asks_too() {
    let peer = Peer::start(|line| {
        while let Some(request) = line.request() {
            let next = asked(&request, "since").parse().unwrap_or(0_u64) + 1;
            line.send(answer("200 OK", &format!("{{\"items\":[{next}],\"next\":{next}}}")));
        }
    });
    let mut world = World::new(&peer.url("/?since={cursor}"), CURSOR, "");
    world.live(2 * MINUTE);
    assert_eq!((world.pull.shown().asks, peer.requests().len()), (Some(100), 100));
    world.pull.ask(true);
    world.asker.turn(world.now);
    assert_eq!((world.bodies("shop").len(), peer.requests().len()), (100, 200), "so many pages at a time");
}

#[test]
fn a_gap_is_told_once_before_it_closes_and_once_when_it_has() {
    let journal = Journal::default();
    let peer = journal.serve(10);
    let memory = format!("{CURSOR}, cycle = \"every 1h\", remembers = \"3d\"");
    let sources = config(&peer.url("/?since={cursor}"), &memory, "");
    let mut world = World::over(MemoryDisk::new(), sources.clone(), NOON);
    world.live(DAY / 8);
    let down = Peer::answering(answer("503 Service Unavailable", "{}"));
    let broken = config(&down.url("/?since={cursor}"), &memory, "");
    let mut world = world.again(broken.clone(), MINUTE);
    world.live(DAY);
    world.is_told(&["erp source-failing"]);
    world.live(DAY);
    world.is_told(&["erp source-forgets"]);
    world.live(DAY / 2);
    assert_eq!(world.told.take(), [""; 0]);
    world.live(DAY);
    world.is_told(&["erp source-forgot"]);
    world.live(DAY);
    assert_eq!(world.told.take(), [""; 0]);
    let forgot = world.pull.shown().forgot.expect("told");
    assert!(forgot.1.since(forgot.0) > DAY, "{forgot:?}");
    let mut world = world.again(sources.clone(), MINUTE);
    world.live(DAY / 8);
    assert_eq!(world.pull.shown().state, PullState::Waits);
    world.is_told(&["erp source-read"]);
    // Whoever comes back too late hears of it, though it is read at once.
    let mut world = world.again(sources.clone(), 4 * DAY);
    world.live(DAY / 8);
    world.is_told(&["erp source-forgot"]);
    assert_eq!(world.pull.shown().state, PullState::Waits);
    let mut world = world.again(config(&peer.url("/?since={cursor}"), &memory, ""), DAY);
    world.live(5 * DAY);
    assert_eq!((world.told.take(), world.pull.shown().forgot), (Vec::new(), None), "what is read forgets nothing");
}

#[test]
fn what_was_told_is_not_told_again_by_a_start_and_a_new_gap_is() {
    let journal = Journal::default();
    journal.add(entries(0..35));
    let peer = journal.serve(10);
    let memory = format!("{CURSOR}, cycle = \"every 1h\", remembers = \"3d\", ask_above = 20");
    let sources = config(&peer.url("/?since={cursor}"), &memory, "");
    let mut world = World::over(MemoryDisk::new(), sources.clone(), NOON);
    world.live(DAY / 8);
    world.is_told(&["erp source-asks"]);
    world.is_remembered("told/erp");
    for _ in 0..3 {
        world = world.again(sources.clone(), MINUTE);
        world.live(DAY / 8);
        assert_eq!(world.pull.shown().state, PullState::Asks, "it asks still");
        world.is_quiet();
    }
    world.pull.ask(true);
    world.live(DAY / 8);
    let down = Peer::answering(answer("503 Service Unavailable", "{}"));
    let broken =
        config(&down.url("/?since={cursor}"), &format!("{}, gap_after = \"2h\"", memory.replace("1h", "1m")), "");
    for _ in 0..2 {
        // Two failures are not told by themselves.
        world = world.again(broken.clone(), DAY);
        world.asker.turn(world.now);
        world.is_told(&["erp source-forgets"]);
        world.is_remembered("told/erp");
        for _ in 0..3 {
            world = world.again(broken.clone(), MINUTE);
            world.asker.turn(world.now);
            world.is_quiet();
        }
        world = world.again(sources.clone(), MINUTE);
        world.asker.turn(world.now);
        world.is_told(&["erp source-read"]);
    }
}

#[test]
fn what_waits_to_be_told_is_told_after_a_start() {
    let journal = Journal::default();
    journal.add(entries(0..35));
    let peer = journal.serve(10);
    let sources = config(&peer.url("/?since={cursor}"), &format!("{CURSOR}, ask_above = 20"), "");
    let mut world = World::over(MemoryDisk::new(), sources.clone(), NOON);
    world.told.fails(true);
    world.live(5 * MINUTE);
    assert_eq!(world.pull.shown().state, PullState::Asks);
    let mut world = world.again(sources, MINUTE);
    world.live(5 * MINUTE);
    world.is_told(&["erp source-asks"]);
}

#[test]
fn what_failed_is_read_again_and_that_is_told() {
    let is_down = Arc::new(Mutex::new(true));
    let down = is_down.clone();
    let peer = Peer::start(move |line| {
        while line.request().is_some() {
            let is_down = *down.lock().expect("whole");
            let body = if is_down {
                answer("500 Internal Server Error", "{\"why\":\"night\"}")
            } else {
                answer("200 OK", "{\"items\":[],\"next\":\"\"}")
            };
            line.send(body);
        }
    });
    let sources = config(&peer.url("/?since={cursor}"), CURSOR, "");
    let mut world = World::over(MemoryDisk::new(), sources.clone(), NOON);
    world.live(2 * MINUTE);
    assert_eq!((world.pull.shown().failures, world.told.take()), (2, Vec::new()), "what passes wakes nobody");
    assert!(world.last_error().contains("500") && world.last_error().contains("night"), "{}", world.last_error());
    world.live(5 * MINUTE);
    world.is_told(&["erp source-failing"]);
    world.is_remembered("failing/erp");
    for _ in 0..3 {
        world = world.again(sources.clone(), MINUTE);
        world.live(5 * MINUTE);
        world.is_quiet();
    }
    let by_then = peer.requests().len();
    *is_down.lock().expect("whole") = false;
    world.live(MINUTE);
    world.is_told(&["erp source-read"]);
    assert_eq!(peer.requests().len() - by_then, 2, "once in a cycle, and the first that is read is counted before");
    // What fails anew is told anew.
    *is_down.lock().expect("whole") = true;
    world = world.again(sources, MINUTE);
    world.live(5 * MINUTE);
    world.is_told(&["erp source-failing"]);
}

/// What a source says, and what is told of it.
fn hostile() -> Vec<(&'static str, String, &'static str)> {
    let deep = format!("{{\"items\":[],\"next\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    vec![
        (
            "a page of 17 MB",
            answer("200 OK", &format!("{{\"items\":[\"{}\"]}}", "x".repeat(17 << 20))),
            "more than 16777216 bytes",
        ),
        (
            "an item of 10 MB",
            answer("200 OK", &format!("{{\"items\":[\"{}\"],\"next\":1}}", "x".repeat(10 << 20))),
            "10485762 bytes",
        ),
        ("deep JSON", answer("200 OK", &deep), "no JSON, or is nested too deep"),
        ("a page of a proxy", answer("200 OK", "<html>Wartung</html>"), "no JSON"),
        ("nothing", answer("200 OK", ""), "it is empty"),
        ("an error with 200", answer("200 OK", "{\"status\":\"ERROR\",\"error_code\":\"blocked\"}"), "blocked"),
        (
            "a cursor of 1 MB",
            answer("200 OK", &format!("{{\"items\":[1],\"next\":\"{}\"}}", "c".repeat(1 << 20))),
            "has 1048576 bytes",
        ),
        (
            "a cursor that is none",
            answer("200 OK", "{\"items\":[1],\"next\":{\"a\":1}}"),
            "neither a text nor a number",
        ),
        (
            "a cursor too long for a number",
            answer("200 OK", "{\"items\":[1],\"next\":123456789012345678901234}"),
            "told exactly",
        ),
        (
            "the metadata of a cloud",
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/meta-data/\r\ncontent-length: 0\r\n\r\n"
                .into(),
            "a redirect, which is not followed",
        ),
        ("401", answer("401 Unauthorized", "{}"), "401"),
        (
            "half a page",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\":[1]".into(),
            "did not finish its page",
        ),
        ("no HTTP", "220 smtp ready\r\n".into(), "not HTTP"),
    ]
}

#[test]
fn hostile_answers_bring_nothing_stop_nothing_and_are_told() {
    for (what, said, expect) in hostile() {
        let peer = Peer::start(move |line| {
            // Half an answer ends with its connection.
            while line.request().is_some() && line.send(&said) && what != "half a page" {}
        });
        let mut world = World::new(&peer.url("/?since={cursor}"), CURSOR, "");
        world.live(2 * MINUTE);
        assert!(world.last_error().contains(expect), "{what}: {}", world.last_error());
        assert_eq!((world.bodies("shop").len(), world.pull.shown().state), (0, PullState::Fails), "{what}");
        // Once in a cycle; or what is counted first, two pages of it, and then is not taken.
        assert!(matches!(peer.requests().len(), 2 | 6), "{what}: {} questions", peer.requests().len());
        assert!(world.last_error().len() < 1_000, "{what}: what is told is short");
    }
}

#[test]
fn a_source_that_wants_to_be_left_alone_is() {
    let peer = Peer::answering("HTTP/1.1 429 Too Many Requests\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n");
    let mut world = World::new(&peer.url("/?since={cursor}"), CURSOR, "");
    world.live(9 * MINUTE);
    assert_eq!(peer.requests().len(), 1);
    world.live(3 * MINUTE);
    assert_eq!(peer.requests().len(), 2);
    world.pull.ask(false);
    world.live(0);
    assert_eq!(peer.requests().len(), 3, "a person may ask at any time");
}

#[test]
fn a_cursor_that_stays_brings_what_is_new_of_its_page_and_more_without_a_place_to_go_is_told() {
    let page = Arc::new(Mutex::new("{\"items\":[1,2],\"next\":\"7\",\"more\":false}".to_owned()));
    let said = page.clone();
    let peer = Peer::start(move |line| {
        while line.request().is_some() {
            let body = said.lock().expect("whole").clone();
            line.send(answer("200 OK", &body));
        }
    });
    let mut world = World::new(&peer.url("/?since={cursor}"), &format!("{CURSOR}, more = \".more\""), "");
    world.live(3 * MINUTE);
    // The page of no cursor and the page of cursor 7 are two to whoever asks, though they say the same.
    assert_eq!(world.bodies("shop"), ["1", "2", "1", "2"]);
    *page.lock().expect("whole") = "{\"items\":[1,2,3],\"next\":\"7\",\"more\":false}".into();
    world.live(2 * MINUTE);
    assert_eq!(world.bodies("shop"), ["1", "2", "1", "2", "3"]);
    let by_then = peer.requests().len();
    *page.lock().expect("whole") = "{\"items\":[1,2,3],\"next\":\"7\",\"more\":true}".into();
    world.live(2 * MINUTE);
    assert!(world.last_error().contains("says that there is more"), "{}", world.last_error());
    assert_eq!((world.bodies("shop").len(), peer.requests().len() - by_then), (5, 2));
}

#[test]
fn pages_that_go_in_a_circle_are_told_and_not_followed() {
    let peer = Peer::start(|line| {
        while let Some(request) = line.request() {
            let next = if asked(&request, "since") == "a" { "b" } else { "a" };
            line.send(answer("200 OK", &format!("{{\"items\":[\"to {next}\"],\"next\":\"{next}\"}}")));
        }
    });
    let mut world = World::new(&peer.url("/?since={cursor}"), &format!("{CURSOR}, ask_above = 1000"), "");
    world.pull.ask(true);
    world.asker.turn(world.now);
    assert_eq!(world.bodies("shop"), ["\"to a\"", "\"to b\""], "the page that leads back is not taken");
    assert!(world.last_error().contains("in a circle"), "{}", world.last_error());
    world.live(3 * MINUTE);
    world.is_told(&["erp source-failing"]);
}

#[test]
fn a_list_without_a_cursor_brings_what_is_added_and_delivery_ids_make_the_rest_once() {
    let page = Arc::new(Mutex::new("[{\"id\":1},{\"id\":2},{\"id\":2}]".to_owned()));
    for (more, expect) in [("", &[1, 2, 2, 3, 3, 2][..]), ("delivery = \".id\"", &[1, 2, 3])] {
        *page.lock().expect("whole") = "[{\"id\":1},{\"id\":2},{\"id\":2}]".to_owned();
        let said = page.clone();
        let peer = Peer::start(move |line| {
            while line.request().is_some() {
                let body = said.lock().expect("whole").clone();
                line.send(answer("200 OK", &body));
            }
        });
        let mut world = World::new(&peer.url("/all"), "ask_above = 5", more);
        world.live(2 * MINUTE);
        for next in ["[{\"id\":1},{\"id\":2},{\"id\":2},{\"id\":3}]", "[{\"id\":3},{\"id\":2}]"] {
            *page.lock().expect("whole") = next.into();
            world.live(2 * MINUTE);
        }
        let bodies: Vec<String> = expect.iter().map(|id| format!("{{\"id\":{id}}}")).collect();
        assert_eq!(world.bodies("shop"), bodies, "{more}");
    }
}

#[test]
fn a_stop_cuts_off_what_is_asked() {
    let peer = Peer::start(|line| {
        line.request();
        line.hold(Duration::from_secs(60));
    });
    let mut world = World::new(&peer.url("/?since={cursor}"), &format!("{CURSOR}, timeout = \"1h\""), "");
    world.asker.turn(world.now);
    let pull = world.pull.clone();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while peer.requests().is_empty() && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
            pull.stop();
        });
        world.live(MINUTE);
    });
    let shown = world.pull.shown();
    assert_eq!(
        (shown.failures, peer.requests().len()),
        (0, 1),
        "{:?}: a stop is no fault of the source",
        shown.last_error
    );
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn what_has_no_key_rests_at_unrouted_and_the_others_go_on() {
    let journal = Journal::default();
    journal.add(["{\"sku\":\"a\"}", "{}", "7", "{\"sku\":\"b\"}"].map(str::to_owned));
    let peer = journal.serve(10);
    let mut world = World::new(&peer.url("/?since={cursor}"), CURSOR, "key = \".sku\"");
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), ["{\"sku\":\"a\"}", "{\"sku\":\"b\"}"]);
    assert_eq!(world.bodies(UNROUTED), ["{}", "7"]);
}
