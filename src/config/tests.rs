//! The configuration, right and wrong: every mistake named at its place, the page as the table says.

mod batch;
mod destination;

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::engine::{Kind, Order};
use crate::model::breaker::BreakerRule;
use crate::model::policy::scatter;
use crate::model::rate::Rate;
use crate::model::timetable::Hours;
use crate::model::{Backoff, OnUncertain, Policy, Retry};

/// An environment and files of a test's own.
#[derive(Default)]
struct Given(HashMap<&'static str, &'static str>);

impl Outside for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn variables(&self, prefix: &str) -> Vec<String> {
        self.0.keys().filter(|name| name.starts_with(prefix)).map(|name| (*name).to_owned()).collect()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.variable(path).ok_or_else(|| "no such file".into())
    }
}

fn given(pairs: &[(&'static str, &'static str)]) -> Given {
    Given(pairs.iter().copied().collect())
}

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    Config::parse(
        text,
        "goniec.toml",
        &given(&[
            ("TOKEN", "s3cret\n"),
            ("ANNA", "sixteen bytes...\n"),
            ("SMTP", "smtp://me:s3cret@mail.example"),
            ("/run/erp", "Bearer x"),
            ("orders.tmpl", "{\"id\": {{ body.id|tojson }}}"),
            ("broken.tmpl", "{\n  {{ body.id "),
            ("OLD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ("SIGNING", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ]),
    )
}

#[track_caller]
fn check_bad(text: &str, says: &[&str]) {
    let problems = parse(text).expect_err(text);
    let said = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(problems.len(), says.len(), "{said}");
    for (problem, words) in problems.iter().zip(says) {
        assert!(problem.to_string().contains(words), "{problem}\ndoes not say {words:?}");
    }
}

const WHOLE: &str = r#"
[server]
listen = "127.0.0.1:9420"
body_max = "2MiB"
tokens = [ { name = "anna", role = "operator", secret = { env = "ANNA" } } ]

[store]
url = "sled:data"
keep_delivered = "3d"
size_max = "20GiB"

[destination.courier]
url = "http://127.0.0.1:9001/x"
order = "key"
concurrency = 4
deadline = "30m"
on_uncertain = "hold"
retry = { backoff = "exponential", first = "1s", max = "5m", jitter = 0.25, attempts = 7 }

[destination.erp]
url = "http://127.0.0.1:9003/orders"
method = "PUT"
success = { status = "2xx", body = '.status == "SUCCESS"' }
sign = { secret = { env = "SIGNING" } }
headers = { authorization = { file = "/run/erp" }, x-shop = "main" }
late_after = "1h"
silent_after = "2d"
retry = { cycle = "every 5m" }

[[alert]]
on = ["abandoned", "late"]
destinations = ["courier"]
to = [ { webhook = "http://127.0.0.1:9009/alerts" }, { command = ["/usr/bin/mail", "root"] }, { log = true } ]
digest = "1m"
"#;

#[test]
fn a_configuration_is_read_whole() {
    let config = parse(WHOLE).expect("a configuration");
    assert_eq!(config.listen, Some(([127, 0, 0, 1], 9420).into()));
    let [anna] = config.tokens.as_slice() else { panic!("one token") };
    assert_eq!((&*anna.name, anna.role, anna.secret.is(b"sixteen bytes...")), ("anna", Role::Operator, true));
    assert_eq!(config.data.as_deref(), Some("data"));
    assert_eq!((config.settings.body_bytes_max, config.settings.store_bytes_max), (2 << 20, Some(20 << 30)));
    assert_eq!(config.settings.retention.delivered_ms, 3 * 86_400_000);
    let [courier, erp] = config.destinations.as_slice() else { panic!("two destinations") };
    let backoff = Backoff::Exponential { first_ms: 1_000, max_ms: 300_000 };
    let retry = Retry { backoff, jitter_permille: 250, attempts: 7 };
    assert_eq!(courier.policy, Policy { retry, on_uncertain: OnUncertain::Hold });
    assert_eq!((courier.order, courier.concurrency, courier.deadline_ms), (Order::Key, 4, Some(1_800_000)));
    assert_eq!(erp.policy.retry.backoff, Backoff::NextCycle);
    let names: Vec<String> = config.alerts.iter().map(|rule| rule.channel.name()).collect();
    assert_eq!(names, ["webhook 127.0.0.1:9009", "command /usr/bin/mail", "log"]);
    assert_eq!((erp.late_after_ms, erp.silent_after_ms), (Some(3_600_000), Some(172_800_000)));
    assert_eq!(config.alerts[2].kinds, [Kind::Abandoned, Kind::Late]);
    assert_eq!((config.alerts[0].digest_ms, config.alerts[0].destinations.len()), (60_000, 1));
}

#[test]
fn quiet_hours_are_read_and_what_never_ends_is_refused() {
    let with =
        |keys: &str| format!("[destination.a]\nurl = \"http://a/\"\n[[alert]]\nto = [ {{ log = true }} ]\n{keys}\n");
    let good = with(
        "quiet = [\"22:00-06:00 Europe/Warsaw\", \"2026-12-24T00:00:00Z/2026-12-27T00:00:00Z\"]\nquiet_except = [\"damaged\"]",
    );
    let config = Config::parse(&good, "goniec.toml", &given(&[])).expect("sound");
    let rule = &config.alerts[0];
    assert_eq!(
        rule.hours.closed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["22:00-06:00 Europe/Warsaw", "2026-12-24T00:00:00Z/2026-12-27T00:00:00Z"]
    );
    assert_eq!(rule.quiet_except, [Kind::Damaged]);
    for (keys, wrong) in [
        ("quiet = \"22-6\"", "goniec.toml:5:9: alert[0].quiet: \"22-6\" are no hours; write Mon-Fri 08:00-18:00"),
        ("quiet = true", "goniec.toml:5:9: alert[0].quiet: a span of the week or of time is expected"),
        ("quiet = \"22:00-06:00 Europe/Warsow\"", "did you mean \"Europe/Warsaw\"?"),
        ("quiet = \"00:00-24:00\"", "goniec.toml:5:1: alert[0].quiet: nobody is ever told: it never ends"),
        ("quiet_except = [\"damaged\"]", "goniec.toml:5:1: alert[0].quiet_except: does nothing without `quiet`"),
        (
            "quiet = \"22:00-06:00\"\nquiet_except = [\"disc\"]",
            "goniec.toml:6:16: alert[0].quiet_except: \"disc\" is none of abandoned",
        ),
    ] {
        check_bad(&with(keys), &[wrong]);
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    check_bad(
        "[server]\nbody_mx = \"1MiB\"\n\n[store]\nkeep_bodies = \"7\"\n  size_max = \"20\"\n\n[destination.a]\nconcurrency = 0\n",
        &[
            "goniec.toml:2:1: server.body_mx: unknown key\n  did you mean `body_max`?",
            "goniec.toml:5:15: store.keep_bodies: duration \"7\" has no unit",
            "goniec.toml:6:14: store.size_max: \"20\" is not a size",
            "goniec.toml:8:14: destination.a: a url is missing",
            "goniec.toml:9:15: destination.a.concurrency: 0 is not from 1 to 1024",
        ],
    );
}

#[test]
fn each_mistake_is_named() {
    let destination = |rest: &str| format!("[destination.a]\nurl = \"http://x\"\n{rest}");
    check_bad("[server", &["goniec.toml:1:"]);
    check_bad("[servr]\n", &["did you mean `server`?"]);
    check_bad("[server]\nbody_max = \"17MiB\"", &["not from 1KiB to 16MiB"]);
    check_bad("[server]\nlisten = \"localhost\"", &["no address to listen on"]);
    check_bad("[store]\nurl = \"postgres://x\"", &["sled:DIRECTORY"]);
    check_bad("[destination.a]\nurl = \"ftp://x\"", &["destination.a.url: the URL \"ftp://x\""]);
    check_bad("[destination.\"a b\"]\nurl = \"http://x\"", &["a name has"]);
    check_bad("destination = 3", &["a table is expected, not integer"]);
    check_bad(&destination("retry = { cycle = \"15m\" }"), &["every 15m"]);
    check_bad(&destination("retry = { backoff = \"list\" }"), &["needs its delays"]);
    check_bad(&destination("retry = { backoff = \"fixed\", first = \"1s\" }"), &["does nothing here"]);
    check_bad(&destination("retry = { first = \"1h\", max = \"1m\" }"), &["longer than `max`"]);
    check_bad(&destination("retry = { jitter = 1.5 }"), &["from 0 to 1"]);
    check_bad(&destination("late_after = 1"), &["destination.a.late_after"]);
    check_bad(&destination("silent_after = \"0s\""), &["destination.a.silent_after"]);
    check_bad(&destination("latest_wins = 1"), &["destination.a.latest_wins"]);
    check_bad(&destination("preset = \"baselinkr\""), &["did you mean \"baselinker\"?"]);
    check_bad(
        &destination("success = { body = \".status ==\" }"),
        &["goniec.toml:3:31: destination.a.success.body: expected"],
    );
    check_bad(&destination("success = { status = \"2xxx\" }"), &["destination.a.success.status"]);
    check_bad(&destination("success = {}"), &["at least one of"]);
    check_bad(&destination("sign = { scheme = \"standard-webhooks\" }"), &["a secret is missing"]);
    check_bad(&destination("sign = { secret = { env = \"TOKEN\" } }"), &["signing secret 1: expected whsec_"]);
    check_bad(&destination("on_uncertain = \"probe\""), &["destination.a.on_uncertain: nothing says how it is asked"]);
    let asked = |probe: &str| destination(&format!("on_uncertain = \"probe\"\nprobe = {probe}"));
    check_bad(&asked("\"GET http://a/\""), &["destination.a.probe: the URL names no message"]);
    check_bad(&asked("\"GET http://a/{ids}\""), &["there is no {ids}; known are {id}, {key} and {type}"]);
    check_bad(&asked("\"GET ftp://a/{id}\""), &["begins with neither http:// nor https://"]);
    check_bad(&asked("{ request = \"HEAD http://a/{id}\" }"), &["destination.a.probe.request: a HEAD has no body"]);
    check_bad(
        &asked("{ request = \"GET http://a/{id}\", found = \".a ==\" }"),
        &["destination.a.probe.found: expected"],
    );
    check_bad(&asked("{ found = \"true\" }"), &["a request is missing"]);
    check_bad(&asked("{ request = 1 }"), &["destination.a.probe.request"]);
    check_bad(&asked("1"), &["destination.a.probe"]);
    check_bad(&asked("{ request = \"GET http://a/{id}\", fond = \"1\" }"), &["did you mean `found`?"]);
    check_bad(&asked("\"GET http://a/{id}\"\nretry = { attempts = 1 }"), &["leaves no attempt that could ask"]);
    check_bad(&destination("probe = \"GET http://a/{id}\""), &["destination.a.probe: does nothing here"]);
    check_bad(&destination("order = \"keys\""), &["did you mean \"key\"?"]);
    check_bad(&destination("headers = { Authorization = \"Bearer x\" }"), &["must not stand in the file"]);
    check_bad(&destination("headers = { x-a = { env = \"NOT_THERE\" } }"), &["the environment has no NOT_THERE"]);
    check_bad(&destination("headers = { webhook-id = \"1\" }"), &["is set by goniec itself"]);
}

#[test]
fn what_holds_messages_back_is_read_and_told() {
    let text = r#"
        [destination.a]
        url = "http://127.0.0.1/x"
        rate = "100/1m"
        burst = 10
        breaker = { failures = 7, window = "1m", probe = "20s" }
        hours = "Mon-Fri 08:00-18:00 Europe/Warsaw"
        maintenance = ["Wed 12:00-12:30 Europe/Warsaw", "2026-12-24T00:00:00Z/2026-12-27T00:00:00Z"]
        retry = { cycle = "*/15 6-20 * * MON-FRI Europe/Warsaw" }
        [destination.b]
        url = "http://127.0.0.1/x"
        rate = "5/s"
        breaker = {}
        maintenance = "Sun 02:00-04:00"
        [destination.c]
        url = "http://127.0.0.1/x"
    "#;
    let config = parse(text).expect("a configuration");
    let [a, b, c] = config.destinations.as_slice() else { panic!("three destinations") };
    assert_eq!(a.rate, Some(Rate { count: 100, per_ms: 60_000, burst: 10 }));
    assert_eq!(a.breaker, Some(BreakerRule { failures: 7, window_ms: 60_000, probe_ms: 20_000 }));
    assert_eq!((a.hours.open.is_some(), a.hours.closed.len()), (true, 2));
    assert_eq!(a.cycle.as_ref().map(ToString::to_string).as_deref(), Some("*/15 6-20 * * MON-FRI Europe/Warsaw"));
    assert_eq!(a.policy.retry.backoff, Backoff::NextCycle);
    assert_eq!((b.rate.map(|rate| rate.burst), b.breaker), (Some(1), Some(BreakerRule::default())));
    assert_eq!(b.hours.closed.len(), 1);
    assert_eq!((c.rate, c.breaker, &c.hours), (None, None, &Hours::default()));
    assert_eq!(
        limits(a),
        "at most 100/1m, 10 at once; left alone after 7 failures in a row within 1m, tried 20s later; open Mon-Fri 08:00-18:00 \
         Europe/Warsaw; closed Wed 12:00-12:30 Europe/Warsaw; closed 2026-12-24T00:00:00Z/2026-12-27T00:00:00Z; \
         cycle */15 6-20 * * MON-FRI Europe/Warsaw"
    );
    assert_eq!(limits(c), "");
}

#[test]
fn what_holds_messages_back_is_right_or_refused_with_its_place() {
    let bad = |line: &str, says: &str| {
        check_bad(&format!("[destination.a]\nurl = \"http://127.0.0.1\"\n{line}"), &[says]);
    };
    bad("rate = \"100\"", "goniec.toml:3:8: destination.a.rate: \"100\" is no rate; write 100/1m");
    bad("rate = \"0/1m\"", "from 1 to 100000, not 0");
    bad("rate = \"5/100\"", "unit");
    bad("rate = 100", "a rate, as \"100/1m\", is expected, not integer");
    bad("burst = 5", "goniec.toml:3:1: destination.a.burst: does nothing without `rate`");
    bad("rate = \"5/1s\"\nburst = 6", "destination.a.burst: more than the rate lets through");
    bad("rate = \"5/1s\"\nburst = 0", "0 is not from 1 to 100000");
    bad("breaker = true", "a table is expected, not boolean");
    bad("breaker = { failures = 0 }", "0 is not from 1 to 1000");
    bad("breaker = { window = \"30\" }", "has no unit");
    bad("breaker = { prob = \"30s\" }", "did you mean `probe`?");
    bad("hours = \"Mon-Fri 8-18\"", "write Mon-Fri 08:00-18:00");
    bad("hours = \"Mon-Fry 08:00-18:00\"", "did you mean \"fri\"?");
    bad("hours = \"Mon-Fri 08:00-18:00 Europe/Warsow\"", "did you mean \"Europe/Warsaw\"?");
    bad("hours = 8", "opening hours, as \"Mon-Fri 08:00-18:00 Europe/Warsaw\", is expected");
    bad("maintenance = [\"2026-12-27T00:00:00Z/2026-12-24T00:00:00Z\"]", "ends before it begins");
    bad("maintenance = 4", "a span of the week or of time is expected");
    bad("maintenance = \"Mon-Sun 00:00-24:00\"", "the destination never opens");
    bad("retry = { cycle = \"61 * * * *\" }", "destination.a.retry.cycle: \"61 * * * *\" is no cron line");
    bad("retry = { cycle = \"0 6 * * * Europe/Warszawa\" }", "did you mean \"Europe/Warsaw\"?");
    bad("retry = { cycle = \"0 0 30 2 *\" }", "never comes");
}

#[test]
fn accounts_and_cycles_are_read_and_told() {
    let text = r#"
        [account.baselinker]
        rate = "100/1m"
        burst = 10
        concurrency = 5
        [account.spare]
        [destination.orders]
        url = "http://127.0.0.1/x"
        account = "baselinker"
        retry = { backoff = "standard" }
        [destination.stock]
        url = "http://127.0.0.1/y"
        account = "baselinker"
        send = "cycle"
        retry = { cycle = "every 15m" }
        [destination.other]
        url = "http://127.0.0.1/z"
        send = "at-once"
        retry = { backoff = "standard", attempts = 4 }
    "#;
    let config = parse(text).expect("a configuration");
    // By name, as the file's tables are read.
    let [orders, other, stock] = config.destinations.as_slice() else { panic!("three destinations") };
    let (Some(of_orders), Some(of_stock)) = (&orders.account, &stock.account) else { panic!("an account") };
    assert!(Arc::ptr_eq(of_orders, of_stock) && other.account.is_none(), "one account, shared");
    assert_eq!(of_orders.rate, Some(Rate { count: 100, per_ms: 60_000, burst: 10 }));
    assert_eq!((of_orders.concurrency, orders.policy.retry.attempts, other.policy.retry.attempts), (Some(5), 10, 4));
    assert_eq!((orders.only_in_cycles, stock.only_in_cycles, other.only_in_cycles), (false, true, false));
    let Backoff::List(delays_ms) = &orders.policy.retry.backoff else { panic!("a list") };
    assert_eq!((delays_ms.len(), delays_ms[0], delays_ms[8]), (9, 5_000, 86_400_000));
    assert_eq!(config.warnings, ["account \"spare\": no destination has it"]);
    assert_eq!(
        limits(stock),
        "of account baselinker, at most 100/1m together, 10 at once, 5 out together; cycle every 15m, in which alone it sends"
    );
}

#[test]
fn accounts_and_cycles_are_right_or_refused_with_their_place() {
    let bad = |account: &str, line: &str, says: &str| {
        check_bad(&format!("[account.base]\n{account}\n[destination.a]\nurl = \"http://127.0.0.1\"\n{line}"), &[says]);
    };
    bad(
        "",
        "account = \"bse\"",
        "goniec.toml:5:1: destination.a.account: there is no account \"bse\"\n  did you mean \"base\"?",
    );
    bad("rate = \"5\"", "account = \"base\"", "goniec.toml:2:8: account.base.rate: \"5\" is no rate");
    bad("burst = 5", "account = \"base\"", "account.base.burst: does nothing without `rate`");
    bad("concurrency = 0", "account = \"base\"", "0 is not from 1 to 1024");
    bad(
        "breaker = {}",
        "account = \"base\"",
        "account.base.breaker: unknown key\n  known here: rate, burst, concurrency",
    );
    bad("", "account = \"base\"\nsend = \"cycle\"", "goniec.toml:6:1: destination.a.send: there is no timetable");
    bad("", "account = \"base\"\nsend = \"cycles\"", "did you mean \"cycle\"?");
    bad("", "retry = { backoff = \"standard\", first = \"1s\" }", "does nothing here");
}

#[test]
fn tokens_and_alerts_are_whole_or_refused() {
    let token = |rest: &str| format!("[server]\ntokens = [ {{ {rest} }} ]");
    check_bad(&token("name = \"a\", role = \"admin\", secret = \"x\""), &["must not stand in the file"]);
    check_bad(&token("name = \"a\", role = \"boss\", secret = { env = \"TOKEN\" }"), &["is none of producer"]);
    check_bad(&token("name = \"a\", role = \"admin\""), &["a secret is missing"]);
    check_bad(&token("name = \"a\", role = \"admin\", secret = { file = \"/nowhere\" }"), &["/nowhere cannot be read"]);
    check_bad("[[alert]]\non = [\"abandoned\"]", &["nobody is told"]);
    let mail = |smtp: &str| format!("[[alert]]\nto = [ {{ email = \"a@b.pl\", smtp = {{ {smtp} }} }} ]");
    assert!(parse(&mail("url = { env = \"SMTP\" }")).is_ok());
    let said = [
        ("", "goniec.toml:2:28: alert[0].to[0].smtp: a url is missing"),
        ("url = \"smtp://x\"", "a secret must not stand in the file"),
        ("url = { env = \"NOBODY\" }", "goniec.toml:2:37: alert[0].to[0].smtp.url: the environment has no NOBODY"),
        ("url = { env = \"TOKEN\" }", "goniec.toml:2:37: alert[0].to[0].smtp.url: is no URL of a mail server"),
        ("url = { env = \"SMTP\" }, tls = { ca = \"/nowhere\" }", "/nowhere cannot be read"),
    ];
    for (smtp, wrong) in said {
        check_bad(&mail(smtp), &[wrong]);
    }
    check_bad("[[alert]]\nto = [ { email = \"a@b.pl\" } ]", &["2:8: alert[0].to[0]: a smtp is missing"]);
    let rest = "smtp = { url = { env = \"SMTP\" } }";
    let place = "goniec.toml:2:10: alert[0].to[0].email: \"a b@c\" is no address";
    check_bad(&format!("[[alert]]\nto = [ {{ email = \"a b@c\", {rest} }} ]"), &[place]);
    check_bad(&format!("[[alert]]\nto = [ {{ log = true, {rest} }} ]"), &["does nothing without `email`"]);
    let signed = "to = [ { webhook = \"http://127.0.0.1:1/\", sign = { secret = { env = \"TOKEN\" } } } ]";
    check_bad(&format!("[[alert]]\n{signed}"), &["sign.secret: signing secret 1: expected whsec_"]);
    check_bad("[server]\nurl = \"ftp://x\"", &["goniec.toml:2:1: server.url: "]);
    check_bad("[[alert]]\non = [\"incidents\"]\nto = [ { log = true } ]", &["alert[0].on"]);
    check_bad("[[alert]]\nto = [ { log = true, webhook = \"http://x\" } ]", &["one of email, webhook"]);
    check_bad("[[alert]]\ndestinations = [\"curier\"]\nto = [ { log = true } ]", &["no destination \"curier\""]);
}

#[test]
fn the_environment_wins_over_the_file() {
    let outside = given(&[("GONIEC_SERVER_LISTEN", "127.0.0.1:1"), ("GONIEC_STORE_KEEP_BODIES", "1d")]);
    let config = Config::parse("[server]\nlisten = \"127.0.0.1:2\"", "f", &outside).expect("a configuration");
    assert_eq!(config.listen, Some(([127, 0, 0, 1], 1).into()));
    assert_eq!(config.settings.retention.bodies_ms, 86_400_000);
    let outside = given(&[("GONIEC_SERVER_LISTN", "x"), ("GONIEC_STORE_SIZE_MAX", "1"), ("GONIEC_URL", "x")]);
    let problems = Config::parse("", "f", &outside).expect_err("two problems");
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|line| line.contains("did you mean `GONIEC_SERVER_LISTEN`?")), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("GONIEC_STORE_SIZE_MAX: \"1\" is not a size")), "{said:?}");
}

#[test]
fn a_token_that_can_be_guessed_is_warned_of() {
    let short = "[server]\ntokens = [ { name = \"jan\", role = \"viewer\", secret = { env = \"TOKEN\" } } ]";
    let config = parse(short).expect("a configuration");
    assert!(config.warnings.iter().any(|words| words.contains("\"jan\" has fewer than 16 bytes")), "{config:?}");
    assert_eq!(parse(WHOLE).expect("a configuration").warnings, Vec::<String>::new());
}

#[test]
fn a_plain_url_to_elsewhere_is_warned_of() {
    let config = parse("[destination.a]\nurl = \"http://erp.example/x\"").expect("a configuration");
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(parse(WHOLE).expect("a configuration").warnings, Vec::<String>::new());
}

/// The defaults that the page promises are those that hold.
#[test]
fn the_defaults_of_the_table_are_those_of_the_code() {
    let written = "[server]\nbody_max = \"1MiB\"\n[store]\nkeep_delivered = \"30d\"\nkeep_abandoned = \"365d\"\nkeep_bodies = \"7d\"\n";
    for line in written.lines().filter(|line| line.contains('=')) {
        let (key, value) = line.split_once(" = ").expect("a pair");
        let rule = rules::all().find(|rule| rule.path.ends_with(&format!(".{key}"))).expect("a rule");
        assert_eq!(rule.default, value.trim_matches('"'));
    }
    assert_eq!(parse(written).expect("sound").settings, parse("").expect("sound").settings);
    let plain = parse("[destination.a]\nurl = \"http://127.0.0.1\"").expect("sound");
    let spelled = parse(
        "[destination.a]\nurl = \"http://127.0.0.1\"\nconcurrency = 8\ntimeout = \"30s\"\norder = \"none\"\non_uncertain = \"retry\"\n\
         retry = { backoff = \"exponential\", first = \"2s\", max = \"10m\", jitter = 0.2, attempts = 20 }",
    )
    .expect("sound");
    let [plain, spelled] = [&plain.destinations[0], &spelled.destinations[0]];
    assert_eq!(
        (&plain.policy, plain.concurrency, plain.timeout_ms),
        (&spelled.policy, spelled.concurrency, spelled.timeout_ms)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_file_that_was_bent_is_read_or_refused_and_never_panics(seed in any::<u64>(), cuts in 1usize..6) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for cut in 0..cuts {
            text.push('\n');
            let chance = scatter(seed ^ cut as u64);
            let at = usize::try_from(chance).unwrap_or(0) % text.len();
            match chance >> 60 {
                0..4 => { text.remove(at); }
                4..8 => text.insert(at, ['"', '[', ']', '{', '=', '\n', 'ż', '\u{0}'][at % 8]),
                8..12 => text.truncate(at + 1),
                _ => { let (left, right) = (at, (at * 7) % text.len()); text.swap(left, right); }
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            let lines = text.matches('\n').count() + 1;
            for problem in problems {
                prop_assert!(problem.at.is_none_or(|(line, column)| line <= lines && column >= 1), "{problem}");
            }
        }
    }
}

#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("GONIEC_PRINT_DOCS").is_some() {
        std::fs::write(path, reference()).expect("writes");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == reference(),
        "docs/configuration.md is stale: GONIEC_PRINT_DOCS=1 cargo test --lib the_page_is_what"
    );
}

#[test]
fn a_destination_is_asked_as_the_configuration_says_and_what_may_be_meant_is_said() {
    let text = |url: &str, probe: &str| {
        format!("[destination.a]\nurl = \"{url}\"\non_uncertain = \"probe\"\nprobe = {probe}\n")
    };
    let short = parse(&text("http://127.0.0.1/x", "\"GET http://127.0.0.1/orders?id={id}\"")).expect("a configuration");
    assert_eq!(short.destinations[0].policy.on_uncertain, OnUncertain::Probe);
    assert!(short.warnings.len() == 1 && short.warnings[0].contains("without `found`"), "{:?}", short.warnings);
    let whole = "{ request = \"HEAD http://127.0.0.2/{key}\", found = \".status == 200\", timeout = \"2s\" }";
    let whole = parse(&text("http://127.0.0.1/x", whole)).expect("a configuration");
    assert!(whole.warnings.len() == 1 && whole.warnings[0].contains("another server"), "{:?}", whole.warnings);
}

#[test]
fn a_comparison_that_outlives_what_is_kept_is_warned_of() {
    let warned = |reconcile: &str, manifest: &str| {
        let text = format!(
            "[destination.erp]\nurl = \"http://127.0.0.1:9/\"\n[reconcile.orders]\ndestination = \"erp\"\n{reconcile}\n[reconcile.orders.manifest]\nfile = \"orders.csv\"\nkey = \"no\"\n{manifest}\n"
        );
        parse(&text).expect("a configuration").warnings
    };
    let both = warned("", "hash = \"sha256\"");
    assert!(both.len() == 2 && both[0].contains("keep_bodies") && both[1].contains("updated_at"), "{both:?}");
    assert_eq!(warned("since = \"7d\"", "hash = \"sha256\"\nupdated_at = \"changed\""), Vec::<String>::new());
    assert_eq!(warned("on_unexpected = \"ignore\"", ""), Vec::<String>::new());
}
