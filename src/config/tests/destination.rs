//! What answers mean, what leaves, and as whom goniec comes: every key, right and wrong.

use super::*;

/// A certificate of nobody, which is its own authority, and its key: made for these tests, good for nothing else.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUeLw9bLKjkUK26PtKB3qnMwvy/6AwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjYxMTIyMTRaGA8yMTI2MTEwMjExMjIx
NFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHxj
uODMuj1j58skzKrxt8BAZRs7XkN7NNyi/xWHSSPX2tszW1yxAm9CDFzkSkHLF7Sn
lk8pQjB06u72Lu/05vGjUzBRMB0GA1UdDgQWBBSkEC4vrCNoeqAcCnxiXDbBCGhP
hTAfBgNVHSMEGDAWgBSkEC4vrCNoeqAcCnxiXDbBCGhPhTAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIBF4nlX9CoqV2ZIxKZfpaMF5ZtATSXn6zMi4
efgnMbmDAiEA2y2qmbuUJQPMMdOVJh/Qf6XKOyNVEUnK/D4OcnvzMc4=
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLcpZ5gfSByrAE+18
/duJpzhFglLeIlm4ExqqCeHw8xyhRANCAAR8Y7jgzLo9Y+fLJMyq8bfAQGUbO15D
ezTcov8Vh0kj19rbM1tcsQJvQgxc5EpByxe0p5ZPKUIwdOru9i7v9Obx
-----END PRIVATE KEY-----
";

const SIGNING: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// An environment in which every variable is a secret, and every file what its name says.
struct Everything;

impl Outside for Everything {
    fn variable(&self, _name: &str) -> Option<String> {
        Some(SIGNING.into())
    }

    fn variables(&self, _prefix: &str) -> Vec<String> {
        Vec::new()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Ok(match path.rsplit_once('.') {
            Some((_, "pem")) => CERTIFICATE,
            Some((_, "key")) => KEY,
            Some(_) | None => SIGNING,
        }
        .into())
    }
}

fn with(rest: &str) -> String {
    format!("[destination.a]\nurl = \"https://127.0.0.1/x\"\n{rest}")
}

#[track_caller]
fn bad(rest: &str, says: &str) {
    check_bad(&with(rest), &[says]);
}

/// Every key of this page, sound.
const FULL: &str = r#"
preset = "baselinker"
success = [ { status = "2xx", when = '.headers["x-ok"] == "1"' }, { body = ".ok" } ]
body = { template = { file = "orders.tmpl" }, content_type = "text/json" }
auth = { oauth = { url = "https://auth.example/token", client_id = "me", client_secret = { env = "TOKEN" }, scope = "orders", grant = "refresh-token", refresh_token = { file = "/run/erp" } } }
sign = { secret = [ { env = "SIGNING" }, { env = "OLD" } ] }
hmac = { header = "x-mac", secret = { env = "TOKEN" }, algorithm = "sha256", encoding = "base64", prefix = "sha256=" }
[destination.a.answers]
already_there = true
reason = ".body.error"
remote_id = ".body.id"
retry_after = ".body.wait"
uncertain = { when = '.body.state == "unknown"' }
retry = [ { body = '.error == "LOCKED"', class = "rate-limited" }, { status = "404", class = "server" } ]
reject = [ { status = "200", body = ".error != null" } ]
"#;

#[test]
fn every_key_is_read() {
    parse(&with(FULL)).expect("a configuration");
    for auth in ["basic = { user = \"anna\", password = { env = \"TOKEN\" } }", "bearer = { env = \"TOKEN\" }"] {
        parse(&with(&format!("auth = {{ {auth} }}"))).expect(auth);
    }
    for body in ["template = \"{{ body }}\"", "filter = \"{n: .body.n}\""] {
        parse(&with(&format!("body = {{ {body} }}"))).expect(body);
    }
    let oauth = "url = \"http://127.0.0.1/t\", client_id = \"me\", client_secret = { env = \"TOKEN\" }";
    parse(&with(&format!("auth = {{ oauth = {{ {oauth} }} }}"))).expect("a configuration");
    let login = "url = \"http://127.0.0.1/b1s/v1/Login\", body = { CompanyDB = \"X\", Password = { env = \"TOKEN\" } }";
    for lifetime in ["", ", lifetime = \"10m\""] {
        let text = format!(
            "auth = {{ session = {{ {login}{lifetime} }} }}\nheaders = {{ authorization = {{ env = \"TOKEN\" }} }}"
        );
        parse(&with(&text)).expect("a configuration");
    }
}

#[test]
fn no_secret_of_a_configuration_is_printed() {
    const CANARY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let outside = given(&[
        ("TOKEN", CANARY),
        ("ANNA", CANARY),
        ("OLD", CANARY),
        ("SIGNING", CANARY),
        ("/run/erp", CANARY),
        ("orders.tmpl", "x"),
    ]);
    for text in [WHOLE, &with(FULL)] {
        let (fields, _) = read::read(text, "goniec.toml", &outside);
        let config = Config::parse(text, "goniec.toml", &outside).expect("a configuration");
        assert!(format!("{fields:?}").contains("Secret(Secret(..))"));
        for printed in [format!("{fields:?}"), format!("{config:?}"), format!("{config:#?}")] {
            assert!(!printed.contains("C2FV"), "{printed}");
        }
    }
    // What is wrong with a secret is said without it.
    let problems = Config::parse(&with("sign = { secret = { env = \"TOKEN\" } }"), "f", &given(&[("TOKEN", "canary")]));
    assert!(!format!("{problems:?}").contains("canary"), "{problems:?}");
}

#[test]
fn what_does_not_parse_is_told_where_it_stands_in_the_file() {
    bad("success = { body = '.status ==' }", "goniec.toml:3:31: destination.a.success.body: expected");
    bad("success = { body = \".s == \\\"x\\\" and )\" }", "goniec.toml:3:37: destination.a.success.body: ");
    bad(
        "success = [ { status = \"2xx, 2yy\" } ]",
        "goniec.toml:3:30: destination.a.success[0].status: expected a status",
    );
    bad(
        "[destination.a.answers]\nretry = { body = \"\"\"\n.a\n  == nope\n\"\"\" }",
        "goniec.toml:6:6: destination.a.answers.retry.body: there is no",
    );
    bad("answers = { reason = '.a | def x: 1; x' }", "destination.a.answers.reason: ");
    bad(
        "answers = { remote_id = 4 }",
        "goniec.toml:3:25: destination.a.answers.remote_id: a filter as a text is expected",
    );
    bad("body = { template = \"a {% nope %}\" }", "goniec.toml:3:27: destination.a.body.template: ");
    bad("body = { template = { file = \"broken.tmpl\" } }", "broken.tmpl:2:");
    bad(
        "body = { template = { file = \"no.tmpl\" } }",
        "goniec.toml:3:10: destination.a.body.template: no.tmpl cannot be read",
    );
    bad("body = { template = { env = \"X\" } }", "write it as a text, or as { file = \"PATH\" }");
    bad("body = { filter = '.a =' }", "destination.a.body.filter: ");
}

#[test]
fn what_does_not_go_together_is_told() {
    bad("answers = { retry = {} }", "destination.a.answers.retry: expected at least one of status, body, when");
    bad(
        "answers = { reject = { status = \"200\", class = \"setup\" } }",
        "destination.a.answers.reject.class: unknown key",
    );
    bad(
        "answers = { retry = { status = \"200\", class = \"dns\" } }",
        "\"dns\" is none of body, rate-limited, server, setup",
    );
    bad("answers = { already_there = false }", "only `true` makes sense here");
    bad("answers = { sucess = {} }", "unknown key");
    bad("success = 4", "a table or a list of tables is expected, not integer");
    bad("body = { content_type = \"text/plain\" }", "one of template and filter is expected");
    bad("body = { template = \"x\", filter = \".\" }", "one of template and filter is expected");
    bad(
        "body = { template = \"x\", content_type = \"a\\nb\" }",
        "destination.a.body.content_type: the value of header",
    );
    bad("auth = {}", "one of basic, bearer, oauth and session is expected");
    bad(
        "auth = { bearer = \"x\" }",
        "goniec.toml:3:10: destination.a.auth.bearer: a secret must not stand in the file",
    );
    bad("auth = { basic = { user = \"anna\" } }", "destination.a.auth.basic: a password is missing");
    bad(
        "auth = { basic = { user = \"a:b\", password = { env = \"TOKEN\" } } }",
        "destination.a.auth.basic.user: the user of basic",
    );
    bad(
        "auth = { bearer = { env = \"TOKEN\" } }\nheaders = { Authorization = { env = \"TOKEN\" } }",
        "the header `authorization` is set too",
    );
    let oauth = |rest: &str| {
        format!(
            "auth = {{ oauth = {{ url = \"http://127.0.0.1\", client_id = \"me\", client_secret = {{ env = \"TOKEN\" }}{rest} }} }}"
        )
    };
    bad(&oauth(", grant = \"refresh-token\""), "destination.a.auth.oauth: a refresh_token is missing");
    bad(&oauth(", refresh_token = { env = \"TOKEN\" }"), "destination.a.auth.oauth.refresh_token: does nothing here");
    bad(&oauth(", grant = \"password\""), "is none of client-credentials, refresh-token");
    bad(
        "auth = { oauth = { url = \"ftp://x\", client_id = \"me\", client_secret = { env = \"TOKEN\" } } }",
        "destination.a.auth.oauth.url: the URL",
    );
    bad("sign = { secret = [ { env = \"SIGNING\" }, { env = \"TOKEN\" } ] }", "signing secret 2: expected whsec_");
    bad("sign = { secret = [] }", "destination.a.sign.secret: a secret must not stand in the file");
    bad("hmac = { secret = { env = \"TOKEN\" } }", "destination.a.hmac: a header is missing");
    bad(
        "hmac = { header = \"webhook-id\", secret = { env = \"TOKEN\" } }",
        "destination.a.hmac.header: the header \"webhook-id\" is set by goniec itself",
    );
    bad("tls = { ca = \"no.pem\" }", "destination.a.tls.ca: no.pem cannot be read");
    bad("tls = { ca = \"orders.tmpl\" }", "destination.a.tls.ca: holds no certificate in PEM");
    bad("tls = { cert = \"orders.tmpl\" }", "destination.a.tls: a key is missing");
    bad("tls = { key = { env = \"TOKEN\" } }", "destination.a.tls: a cert is missing");
    bad(
        "tls = { cert = \"orders.tmpl\", key = { env = \"TOKEN\" } }",
        "destination.a.tls.cert: holds no certificate in PEM",
    );
}

#[test]
fn a_session_has_a_place_and_something_to_log_in_with() {
    let session = |rest: &str| format!("auth = {{ session = {{ {rest} }} }}");
    let (url, body) = ("url = \"http://127.0.0.1\"", "body = { Password = { env = \"TOKEN\" } }");
    check_bad(
        &with(&session("")),
        &[
            "goniec.toml:3:10: destination.a.auth.session: a url is missing",
            "goniec.toml:3:10: destination.a.auth.session: a body is missing",
        ],
    );
    bad(
        &session(&format!("{url}, body = {{}}")),
        "goniec.toml:3:48: destination.a.auth.session.body: nothing is in it",
    );
    bad(
        &session(&format!("{url}, body = {{ UserName = \"u\", Password = \"x\" }}")),
        "goniec.toml:3:73: destination.a.auth.session.body.Password: a credential must not stand in the file",
    );
    bad(
        &session(&format!("{url}, body = {{ Language = 3 }}")),
        "goniec.toml:3:57: destination.a.auth.session.body.Language: a text or a secret is expected, not integer",
    );
    bad(&session(&format!("{url}, body = \"x\"")), "destination.a.auth.session.body: a table is expected, not string");
    bad(&session(&format!("url = \"ftp://x\", {body}")), "goniec.toml:3:22: destination.a.auth.session.url: the URL");
    bad(
        &session(&format!("{url}, {body}, lifetime = \"2d\"")),
        "destination.a.auth.session.lifetime: \"2d\" is not from 1s to 1d",
    );
    bad(&session(&format!("{url}, {body}, life = \"2m\"")), "did you mean `lifetime`?");
    bad(
        &format!("{}\nheaders = {{ Cookie = {{ env = \"TOKEN\" }} }}", session(&format!("{url}, {body}"))),
        "destination.a.auth: the header `cookie` is set too",
    );
    bad(
        &format!("auth = {{ bearer = {{ env = \"TOKEN\" }}, session = {{ {url}, {body} }} }}"),
        "one of basic, bearer, oauth and session is expected",
    );
}

#[test]
fn certificates_are_read_and_must_go_together() {
    let read = |lines: &str| Config::parse(&with(lines), "goniec.toml", &Everything);
    read("tls = { ca = \"ca.pem\", cert = \"own.pem\", key = { file = \"own.key\" } }").expect("a configuration");
    let problems = read("tls = { cert = \"own.pem\", key = { env = \"KEY\" } }").expect_err("no key");
    assert!(format!("{problems:?}").contains("the key is no private key in PEM without a password"), "{problems:?}");
    let problems = read("tls = { ca = \"own.key\" }").expect_err("no certificate");
    assert!(format!("{problems:?}").contains("holds no certificate in PEM"), "{problems:?}");
}

#[test]
fn a_header_that_bears_a_credential_is_a_secret() {
    for name in ["Authorization", "X-Auth", "X-Access-Key", "Api-Key", "X-Pass", "x-password", "X-Signature", "X-Token"]
    {
        bad(&format!("headers = {{ {name} = \"x\" }}"), "a credential must not stand in the file");
    }
    for name in ["Accept", "Accept-Language", "X-Key", "User-Agent", "X-Access", "Prefer"] {
        parse(&with(&format!("headers = {{ {name} = \"x\" }}"))).expect(name);
    }
}

#[test]
fn one_fault_of_a_destination_hides_no_other() {
    let rest = "headers = { Host = \"x\", \"a b\" = \"y\" }\nsend = \"cycle\"\n[[alert]]\ndestinations = [\"a\"]\non = [\"paused\"]\nto = [ { log = true } ]";
    check_bad(
        &with(rest),
        &[
            "goniec.toml:3:13: destination.a.headers.Host: ",
            "goniec.toml:3:25: destination.a.headers.a b: ",
            "goniec.toml:4:1: destination.a.send: there is no timetable",
        ],
    );
    check_bad(
        "[destination.a]\nurl = \"ftp://x\"\nsend = \"cycle\"",
        &["destination.a.url: ", "destination.a.send: there is no timetable"],
    );
}

#[test]
fn two_destinations_do_not_share_a_refresh_token() {
    let one = |name: &str, client: &str| {
        format!(
            "[destination.{name}]\nurl = \"http://127.0.0.1/x\"\nauth = {{ oauth = {{ url = \"http://127.0.0.1/t\", client_id = \"{client}\", client_secret = {{ env = \"TOKEN\" }}, grant = \"refresh-token\", refresh_token = {{ env = \"OLD\" }} }} }}\n"
        )
    };
    check_bad(
        &(one("a", "me") + &one("b", "me")),
        &["goniec.toml:6:126: destination.b.auth.oauth.refresh_token: destination \"a\" has the same one"],
    );
    parse(&(one("a", "me") + &one("b", "you"))).expect("another client");
}

#[test]
fn what_contradicts_itself_is_refused_and_what_surprises_is_warned_of() {
    for url in ["http://127.0.0.1/{id}", "http://127.0.0.1/a}", "http://127.0.0.1/#a"] {
        let problems = parse(&format!("[destination.a]\nurl = \"{url}\"")).expect_err(url);
        assert!(format!("{problems:?}").contains("means nothing in it"), "{url}: {problems:?}");
    }
    check_bad(
        "[destination.a]\nurl = \"http://127.0.0.1/x\"\ntls = {}",
        &["goniec.toml:3:1: destination.a.tls: does nothing beside"],
    );
    bad("batch = {}\nbody = { filter = \".\", content_type = \"a/b\" }", "content_type: does nothing beside `batch`");
    let hmac = |header: &str| format!("hmac = {{ header = \"{header}\", secret = {{ env = \"TOKEN\" }} }}");
    bad(&hmac("Authorization"), "destination.a.hmac.header: this header says something else");
    bad(&format!("{}\nheaders = {{ X-Mac = \"x\" }}", hmac("x-mac")), "hmac.header: this header says");
    let oauth = "auth = { oauth = { url = \"http://far.example/t\", client_id = \"me\", client_secret = { env = \"TOKEN\" } } }";
    let ask = |by: &str| {
        format!(
            "on_uncertain = \"probe\"\nlatest_wins = true\nprobe = {{ request = \"GET https://127.0.0.1/{by}\", found = \".body\" }}"
        )
    };
    for (rest, says) in [
        ("late_after = \"1h\"\ndeadline = \"1h\"", Some("nothing is ever late")),
        ("late_after = \"59m\"\ndeadline = \"1h\"", None),
        ("timeout = \"2s\"\ndeadline = \"1s\"", Some("timeout: longer than")),
        (oauth, Some("http://far.example/t can be read")),
        (&*ask("{key}"), Some("an older value of the key")),
        (&*ask("{key}/{id}"), None),
        ("answers = { already_there = true }\nbatch = {}", Some("a 409 to a batch")),
    ] {
        let warnings = parse(&with(rest)).expect(rest).warnings;
        assert_eq!(warnings.len(), usize::from(says.is_some()), "{rest}: {warnings:?}");
        assert!(says.is_none_or(|says| warnings.iter().any(|line| line.contains(says))), "{rest}: {warnings:?}");
    }
    for (host, is_near) in [
        ("localhost", true),
        ("LOCALHOST:80", true),
        ("127.1.2.3", true),
        ("[::1]:80", true),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("[::2]", false),
    ] {
        let warnings = parse(&format!("[destination.a]\nurl = \"http://{host}/x\"")).expect(host).warnings;
        assert_eq!(warnings.is_empty(), is_near, "{host}: {warnings:?}");
    }
}

/// What a newcomer copies from the page works.
#[test]
fn every_block_of_the_page_of_destinations_is_a_configuration() {
    let page = include_str!("../../../docs/destinations.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    for block in blocks {
        let config =
            Config::parse(block, "destinations.md", &Everything).unwrap_or_else(|wrong| panic!("{block}\n{wrong:?}"));
        assert!(!config.destinations.is_empty() && config.warnings.is_empty(), "{block}\n{:?}", config.warnings);
    }
}

#[test]
fn every_block_of_the_page_of_both_sides_is_a_configuration() {
    let page = include_str!("../../../docs/both-sides.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [shop, erp] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let sides = [shop, erp].map(|block| {
        let config =
            Config::parse(block, "both-sides.md", &Everything).unwrap_or_else(|wrong| panic!("{block}\n{wrong:?}"));
        assert!(config.warnings.is_empty(), "{block}\n{:?}", config.warnings);
        config
    });
    // Each is a source to the other by the name that stands in its address.
    for (here, there, source) in [(&sides[0], &sides[1], "shop"), (&sides[1], &sides[0], "erp")] {
        assert_eq!(here.peers.len(), 1);
        assert!(there.sources.find(source).is_some(), "{source}");
    }
}

#[test]
fn who_hears_how_messages_end_is_there_and_tells_nobody_else() {
    let with = |more: &str| {
        format!(
            "[destination.a]\nurl = \"http://127.0.0.1:1/\"\n{more}\n[destination.b]\nurl = \"http://127.0.0.1:1/\"\n"
        )
    };
    let config = parse(&with("on_delivered = [\"b\", \"log\"]\non_abandoned = [\"b\"]")).expect("is sound");
    assert_eq!(config.destinations[0].on_delivered, ["b".into(), "log".into()]);
    assert_eq!(config.destinations[0].on_abandoned, ["b".into()]);
    for (more, words) in
        [("on_delivered = [\"c\"]", "there is no destination"), ("on_abandoned = [\"a\"]", "on and on")]
    {
        let problems = parse(&with(more)).expect_err(more);
        assert!(problems[0].what.contains(words) && problems[0].at.is_some(), "{problems:?}");
    }
}

#[test]
fn another_registry_wants_a_signature_and_settles_the_rest() {
    const SIGN: &str = "type = \"goniec\"\nsign = { secret = { env = \"SIGNING\" } }\n";
    let config = parse(&with(SIGN)).expect("sound");
    let [built] = config.destinations.as_slice() else { panic!("{config:?}") };
    assert!(built.is_numbered && built.batch.is_some_and(|batch| batch.wait_ms == 0), "{built:?}");
    assert_eq!(config.peers.iter().map(|peer| &*peer.destination).collect::<Vec<_>>(), ["a"]);
    assert!(!parse(&with("type = \"http\"")).expect("sound").destinations.iter().any(|built| built.is_numbered));
    bad("type = \"goniec\"", "destination.a: a sign is missing");
    for (key, value) in [("batch", "{ max = 5 }"), ("method", "\"PUT\""), ("preset", "\"standard\"")] {
        let says = format!("destination.a.{key}: does nothing with type = \"goniec\"");
        bad(&format!("{SIGN}{key} = {value}"), &says);
    }
    bad(&format!("{SIGN}on_uncertain = \"hold\""), "destination.a.on_uncertain: another registry takes a message once");
    let source = "[source.b]\nverify = { preset = \"goniec\", secret = { env = \"SIGNING\" } }\n";
    assert_eq!(parse(source).expect("sound").sources.sources.len(), 1);
    check_bad(&format!("{source}key = \".id\""), &["source.b.key: does nothing with the preset \"goniec\""]);
}
