//! Systems that are asked by POST: a journal that takes a form, GraphQL that takes JSON, cursors that want out of their place, and errors that come with 200.
//!
//! The engine and the HTTP client are real, the other side is a socket on loopback that reads what it gets as such systems do; only the clock is the test's.
//!
//! Its control is the escaping taken out: where `written` puts the cursor of a text in as it is, or `PageBody::write` the value of a field, the other side must not be able to read
//! what it gets in `hostile_cursors_stay_in_their_place`.

#[path = "common/asked.rs"]
mod node;
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "common/told.rs"]
mod told;

use std::sync::{Arc, Mutex};

use goniec::config::{Config, Process};
use goniec::model::percent::unescape;
use goniec::source::PullState;
use goniec::store::memory::MemoryDisk;
use node::{MINUTE, NOON, World, answer, config};
use peer::{Peer, Request};
use serde_json::{Value, json};

/// The value of a field of the form that was posted.
fn field(request: &Request, name: &str) -> Option<String> {
    let body = std::str::from_utf8(&request.body).ok()?;
    // As every reader of forms has it, a `+` is a space.
    let found = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    unescape(&found.replace('+', " ")).ok()
}

/// A journal as that of BaseLinker: entries whose ids rise, three a page, behind the id that is asked for.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<u64>>>);

impl Journal {
    fn add(&self, ids: impl IntoIterator<Item = u64>) {
        self.0.lock().expect("whole").extend(ids);
    }

    fn serve(&self) -> Peer {
        let journal = self.clone();
        Peer::start(move |line| {
            while let Some(request) = line.request() {
                line.send(answer("200 OK", &journal.answer(&request)));
            }
        })
    }

    fn answer(&self, request: &Request) -> String {
        let error = |code: &str, why: &str| {
            json!({"status": "ERROR", "error_code": code, "error_message": why, "logs": []}).to_string()
        };
        if !request.head.starts_with("POST /connector.php ") || request.header("x-bltoken").is_none() {
            return error("ERROR_EMPTY_TOKEN", "no token");
        }
        if request.header("content-type") != Some("application/x-www-form-urlencoded") {
            return error("ERROR_UNKNOWN_METHOD", "no form");
        }
        let parameters = field(request, "parameters").and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let (Some("getJournalList"), Some(parameters)) = (field(request, "method").as_deref(), parameters) else {
            return error("ERROR_UNKNOWN_METHOD", "no method, or no parameters");
        };
        let Some(last) = parameters["last_log_id"].as_u64() else {
            return error("ERROR_BAD_PARAMETERS", "last_log_id is no number");
        };
        let ids = self.0.lock().expect("whole");
        if ids.contains(&0) {
            return error("ERROR_BLOCKED_TOKEN", "the token is blocked until 03:20");
        }
        let logs: Vec<Value> =
            ids.iter().filter(|id| **id > last).take(3).map(|id| json!({"log_id": id, "log_type": 1})).collect();
        json!({"status": "SUCCESS", "logs": logs}).to_string()
    }
}

fn logs(ids: impl IntoIterator<Item = u64>) -> Vec<String> {
    ids.into_iter().map(|id| format!("{{\"log_id\":{id},\"log_type\":1}}")).collect()
}

const BASELINKER: &str = "method = \"POST\", content_type = \"application/x-www-form-urlencoded\", \
    body = 'method=getJournalList&parameters={\"last_log_id\": {cursor}}', begin = \"0\", headers = { x-bltoken = { env = \"PATH\" } }, \
    preset = \"baselinker\", items = \".logs[]\", cursor = \".logs[-1].log_id\"";

#[test]
fn a_journal_that_takes_a_form_comes_once_over_restarts_and_its_errors_are_told() {
    let journal = Journal::default();
    let peer = journal.serve();
    let sources = config(&peer.url("/connector.php"), BASELINKER, "key = \".log_id\"");
    let mut world = World::over(MemoryDisk::new(), sources.clone(), NOON);
    world.live(2 * MINUTE);
    assert_eq!((world.bodies("shop").len(), world.last_error()), (0, String::new()), "nothing yet");
    journal.add(1..=7);
    world.live(MINUTE);
    let mut world = world.again(sources.clone(), 5 * MINUTE);
    journal.add(8..=9);
    world.live(2 * MINUTE);
    assert_eq!(world.bodies("shop"), logs(1..=9));
    assert_eq!(world.pull.shown().cursor.as_deref(), Some("9"));
    // What is an error with 200 is no empty page.
    journal.add([0, 10]);
    world.live(MINUTE);
    let shown = world.pull.shown();
    assert_eq!((shown.state, shown.cursor.as_deref()), (PullState::Fails, Some("9")));
    let why = "answered 200 OK: ERROR_BLOCKED_TOKEN: the token is blocked until 03:20";
    assert!(world.last_error().ends_with(why), "{}", world.last_error());
    journal.0.lock().expect("whole").retain(|id| *id != 0);
    let mut world = world.again(sources, MINUTE);
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), logs(1..=10));
}

/// A shop that speaks GraphQL, whose pages have these cursors, one item each.
fn graphql(cursors: Vec<String>) -> Peer {
    Peer::start(move |line| {
        while let Some(request) = line.request() {
            let asked: Option<Value> = serde_json::from_slice(&request.body).ok();
            let is_question = asked.as_ref().is_some_and(|asked| {
                let known = asked["query"].as_str().is_some_and(|query| query.contains("{ cursor }"));
                known && asked.as_object().is_some_and(|asked| asked.len() == 2)
            });
            let after = asked.filter(|_| is_question).map(|asked| asked["variables"]["after"].clone());
            let at = match &after {
                Some(Value::Null) => Some(0),
                Some(Value::String(after)) => cursors.iter().position(|cursor| cursor == after).map(|at| at + 1),
                Some(_) | None => None,
            };
            let body = match at {
                Some(at) => {
                    let next = cursors.get(at).or(cursors.last());
                    let nodes: Vec<usize> = cursors.get(at).map(|_| at).into_iter().collect();
                    let info = json!({"hasNextPage": at + 1 < cursors.len(), "endCursor": next});
                    json!({"data": {"orders": {"nodes": nodes, "pageInfo": info}}})
                }
                None => {
                    json!({"data": {"orders": {"nodes": [99]}}, "errors": [{"message": format!("not after {after:?}")}]})
                }
            };
            if !line.send(answer("200 OK", &body.to_string())) {
                return;
            }
        }
    })
}

const GRAPHQL: &str = "method = \"POST\", items = \".data.orders.nodes[]\", cursor = \".data.orders.pageInfo.endCursor\", \
    more = \".data.orders.pageInfo.hasNextPage\", preset = \"shopify-graphql\", \
    body = '{\"query\": \"query($after: String) { orders(first: 1, after: $after) { edges { cursor } } }\", \"variables\": {\"after\": AFTER}}'";

#[test]
fn hostile_cursors_stay_in_their_place() {
    let hostile =
        ["7", "null", "\"", "\\", "a\"},\"x\":{\"y\":\"", "a\nb\r\n\r\nc", "&a=b%22+c", "{cursor}", "ż\u{1}\u{2028}"];
    let cursors: Vec<String> = hostile.iter().map(|cursor| (*cursor).to_owned()).collect();
    let count = cursors.len();
    let peer = graphql(cursors.clone());
    let mut world = World::new(&peer.url("/graphql"), &GRAPHQL.replace("AFTER", "\"{cursor}\""), "");
    world.live(3 * MINUTE);
    let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!((world.last_error(), world.bodies("shop")), (String::new(), numbers.clone()));
    // The same in the field of a form, where JSON and the form have their own signs.
    let known = cursors.clone();
    let peer = Peer::start(move |line| {
        while let Some(request) = line.request() {
            let parameters = field(&request, "p").and_then(|text| serde_json::from_str::<Value>(&text).ok());
            let (plain, within) = (field(&request, "z"), parameters.map(|parameters| parameters["after"].clone()));
            let is_first = plain.as_deref() == Some("") && within == Some(Value::Null);
            let at = known.iter().position(|cursor| {
                (plain.as_deref(), within.as_ref().and_then(Value::as_str)) == (Some(cursor), Some(cursor))
            });
            let at = if is_first { Some(0) } else { at.map(|at| at + 1) };
            let page = at.map(|at| json!({"items": known.get(at).map(|_| at).as_slice(), "next": known.get(at)}));
            line.send(answer("200 OK", &page.unwrap_or(json!({"lost": request.body})).to_string()));
        }
    });
    let form = "method = \"POST\", content_type = \"application/x-www-form-urlencoded\", body = 'p={\"after\": \"{cursor}\"}&z={cursor}', \
        items = \".items[]\", cursor = \".next\"";
    let mut world = World::new(&peer.url("/form"), form, "");
    world.live(3 * MINUTE);
    assert_eq!((world.last_error(), world.bodies("shop")), (String::new(), numbers));
}

#[test]
fn a_cursor_that_is_no_number_and_errors_beside_data_stop_the_source() {
    let peer = graphql(vec!["x\"7".into(), "b".into()]);
    let mut world = World::new(&peer.url("/graphql"), &GRAPHQL.replace("AFTER", "{cursor}"), "");
    world.pull.ask(true);
    world.live(MINUTE);
    assert_eq!(world.bodies("shop"), ["0"]);
    assert!(world.last_error().contains("the cursor \"x\\\"7\" is no number"), "{}", world.last_error());
    // A shop that says what it does not like, beside some data, has given no page.
    let mut world =
        World::new(&peer.url("/graphql"), &GRAPHQL.replace("AFTER", "\"{cursor}\"").replace("{ cursor }", "id"), "");
    world.live(MINUTE);
    assert!(world.last_error().contains("answered 200 OK: not after"), "{}", world.last_error());
    assert_eq!(world.bodies("shop").len(), 0);
}

#[test]
fn what_is_no_question_is_told_by_line_and_column() {
    let said = |poll: &str| {
        let text = format!(
            "[destination.a]\nurl = \"http://127.0.0.1:1/\"\n[[route]]\nto = [\"a\"]\n[source.erp]\npoll = {{ url = \"http://127.0.0.1:1/\", cycle = \"every 1m\", {poll} }}\n"
        );
        let wrong = Config::parse(&text, "test", &Process).map(drop).expect_err(poll);
        wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let next = "cursor = \".next\"";
    for (poll, expect) in [
        ("body = '{}'", "test:6:59: source.erp.poll.body: a GET has no body"),
        ("method = \"POST\"", "test:6:59: source.erp.poll.method: nothing says what is posted"),
        ("method = \"PUT\", body = '{}'", "\"PUT\" is none of GET, POST"),
        ("content_type = \"application/json\"", "content_type: does nothing without `body`"),
        (
            "method = \"POST\", body = '{\"a\": {cursor}}'",
            "test:6:76: source.erp.poll.body: nothing says what {cursor} is",
        ),
        (&format!("method = \"POST\", body = '{{}}', {next}"), "cursor: neither the body nor the URL has {cursor}"),
        (&format!("method = \"POST\", body = '{{\"a\": {{cursr}}}}', {next}"), "poll.body: column 8: JSON is expected"),
        (
            "method = \"POST\", body = 'a=b', content_type = \"text/xml\"",
            "content_type: column 1: a body is JSON or a form",
        ),
        (
            "method = \"POST\", body = '{}', headers = { Content-Type = \"text/xml\" }",
            "Content-Type: is said by `content_type`",
        ),
        (
            &format!("method = \"POST\", body = '[{{cursor}}]', {next}, begin = \"x\""),
            "poll.begin: the cursor \"x\" is no number",
        ),
        ("begin = \"7\"", "poll.begin: does nothing without `cursor`"),
        ("success = { body = '.a ==' }", "test:6:84: source.erp.poll.success.body"),
    ] {
        let said = said(poll);
        assert!(
            said.contains(expect) && said.lines().filter(|line| line.starts_with("test:")).count() == 1,
            "{poll}\n{said}"
        );
    }
}
