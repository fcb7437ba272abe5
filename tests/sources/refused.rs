//! Configurations of sources that cannot be meant.

use super::world;

/// What is wrong, and what is said of it: of systems that call, of folders and routes,
const OF_CALLERS: &[(&str, &str)] = &[
    ("[source.a]\n", "a verify is missing"),
    ("[source.a]\nverify = { preset = \"woocomerce\" }\n", "did you mean \"woocommerce\"?"),
    ("[source.a]\nverify = { preset = \"woocommerce\" }\n", "a secret is missing"),
    ("[source.a]\nverify = { preset = \"hmac\", secret = { file = \"SECRET\" } }\n", "a header is missing"),
    ("[source.a]\nverify = { preset = \"none\", user = \"x\" }\n", "does nothing with the preset \"none\""),
    ("[source.a]\nverify = { preset = \"none\" }\nkey = \".a b\"\n", "goniec.toml:3:11: source.a.key"),
    ("[source.a]\nverify = { preset = \"none\" }\ntype = \".a b\"\n", "source.a.type"),
    ("[source.a]\nverify = { preset = \"none\" }\ntype = { }\n", "one of filter and header"),
    ("[source.a]\nverify = { preset = \"none\" }\nheaders = [\"goniec-key\"]\n", "set by goniec itself"),
    (
        "[source.a]\nverify = { preset = \"none\" }\ntype = { header = \"x topic\" }\n",
        "3:10: source.a.type.header: \"x topic\" is not a header name",
    ),
    ("[source.a]\nverify = { preset = \"none\" }\ndelivery = { header = \"\" }\n", "it is empty"),
    (
        "[source.a]\nverify = { preset = \"hmac\", secret = { file = \"SECRET\" }, header = \"x:s\" }\n",
        "source.a.verify.header: \"x:s\" is not a header name",
    ),
    (
        "[source.a]\nverify = { preset = \"hmac\", secret = { file = \"SECRET\" }, header = \"x\", timestamp = \"ż\" }\n",
        "source.a.verify.timestamp: \"ż\" is not a header name",
    ),
    (
        "[source.a]\nverify = { preset = \"hmac\", secret = { file = \"SECRET\" }, header = \"x\", tolerance = \"1m\" }\n",
        "does nothing without `timestamp`",
    ),
    ("[source.a]\nverify = { preset = \"none\" }\nheaders = [\"Cookie\"]\n", "goes no further"),
    ("[[route]]\nfrom = \"shop\"\nto = [\"log\"]\n", "there is no source \"shop\""),
    ("[[route]]\nto = [\"erb\"]\n[destination.erp]\nurl = \"http://127.0.0.1:1/\"\n", "did you mean \"erp\"?"),
    ("[[route]]\nfrom = \"shop\"\n", "a to is missing"),
    ("[destination.unrouted]\nurl = \"http://127.0.0.1:1/\"\n", "where messages rest that no route takes"),
];

/// and of systems that are asked.
const OF_ASKED: &[(&str, &str)] = &[
    ("[source.a]\npoll = 1\n", "a table is expected"),
    ("[source.a]\npoll = { cycle = \"every 1m\" }\n", "a url is missing"),
    ("[source.a]\npoll = { url = \"http://a.test/\" }\n", "a cycle is missing"),
    ("[source.a]\npoll = { url = \"http://a.test/{id}\", cycle = \"every 1m\" }\n", "only {cursor} is known"),
    (
        "[source.a]\npoll = { url = \"http://a.test/{cursor}\", cycle = \"every 1m\" }\n",
        "nothing says what {cursor} is",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\", cursor = \".n\" }\n",
        "the URL has no {cursor}",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\", more = \".n\" }\n",
        "does nothing without `cursor`",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\", gap_after = \"1d\" }\n",
        "does nothing without `remembers`",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\", remembers = \"1d\", gap_after = \"1d\" }\n",
        "not less than `remembers`",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\", items = \".a b\" }\n",
        "source.a.poll.items",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\" }\nstatus = 200\n",
        "does nothing beside `poll`",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\" }\nverify = { preset = \"none\" }\n",
        "does nothing beside `poll`",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\" }\ntype = { header = \"x\" }\n",
        "has no headers",
    ),
    (
        "[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\", headers = { authorization = \"x\" } }\n",
        "must not stand in the file",
    ),
];

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_by_line_and_column() {
    for (text, says) in OF_CALLERS.iter().chain(OF_ASKED) {
        let said = world::check(text);
        assert!(said.contains(says), "{text}\n{said}");
    }
    let warned = world::check("[source.a]\nverify = { preset = \"none\" }\n");
    assert!(warned.contains("believes everybody") && warned.contains("has no route"), "{warned}");
    let warned = world::check("[source.a]\npoll = { url = \"http://a.test/\", cycle = \"every 1m\" }\n");
    assert!(warned.contains("neither a cursor nor a delivery or version"), "{warned}");
}
