//! What filters answer, and that none of them runs away.

use std::time::{Duration, Instant};

use super::*;

fn answer(filter: &str, input: &str) -> Result<Option<String>, Stuck> {
    let value = parse_json(input.as_bytes()).expect("JSON");
    let filter = Filter::parse(filter).unwrap_or_else(|problem| panic!("{filter}: {problem}"));
    filter.first(&value, ToString::to_string)
}

fn check(filter: &str, input: &str, expect: &str) {
    assert_eq!(answer(filter, input), Ok(Some(expect.to_owned())), "{filter} over {input}");
}

#[test]
fn filters_answer_as_jq_does() {
    for (filter, input, expect) in [
        (".a.b", r#"{"a":{"b":7}}"#, "7"),
        (".a[1:]", r#"{"a":[1,2,3]}"#, "[2,3]"),
        (".[-1]", "[1,2,3]", "3"),
        (".status == \"SUCCESS\"", r#"{"status":"SUCCESS"}"#, "true"),
        ("[.[] | select(.ok | not) | .id]", r#"[{"ok":true,"id":1},{"ok":false,"id":2}]"#, "[2]"),
        ("map(.n) | add", r#"[{"n":1},{"n":2.5}]"#, "3.5"),
        (".x // \"none\"", "{}", "\"none\""),
        ("try error(\"no\") catch .", "1", "\"no\""),
        ("[.. | strings] | join(\", \")", r#"{"a":"x","b":["y"]}"#, "\"x, y\""),
        ("to_entries | map(\"\\(.key)=\\(.value)\") | join(\"&\")", r#"{"b":2,"a":1}"#, "\"a=1&b=2\""),
        ("with_entries(.value += 1)", r#"{"a":1}"#, r#"{"a":2}"#),
        (". * {a: {c: 2}}", r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2}}"#),
        ("reduce range(5) as $i (0; . + $i)", "null", "10"),
        ("[limit(3; range(10))]", "null", "[0,1,2]"),
        ("del(.a)", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        (".a.b.c = 1", "{}", r#"{"a":{"b":{"c":1}}}"#),
        (".[1] = 9", "[1,2]", "[1,9]"),
        ("walk(if type == \"number\" then . + 1 end)", "[1,[2]]", "[2,[3]]"),
        ("length", "\"zażółć\"", "6"),
        ("has(\"a\") and (has(\"b\") | not)", r#"{"a":null}"#, "true"),
        ("contains(\"Error\")", "\"Odoo Server Error\"", "true"),
        ("tojson | fromjson", r#"{"a":[1,"x"]}"#, r#"{"a":[1,"x"]}"#),
        (".price * 100 | round", r#"{"price":12.34}"#, "1234"),
        ("\"17\" | tonumber", "null", "17"),
        ("group_by(.k) | map(length)", r#"[{"k":1},{"k":2},{"k":1}]"#, "[2,1]"),
        (".id", r#"{"id":18446744073709551615}"#, "18446744073709551615"),
        (".", r#"{"b":1,"a":2,"b":3,"":4}"#, r#"{"":4,"a":2,"b":3}"#),
        ("10 / 2, 1 / 2", "null", "5"),
        ("{while: .until}", r#"{"until":1}"#, r#"{"while":1}"#),
    ] {
        check(filter, input, expect);
    }
    assert_eq!(answer("empty", "1"), Ok(None));
    assert!(matches!(answer(".a", "1"), Err(Stuck::Failed(_))));
}

#[test]
fn a_list_may_have_as_many_items_as_fit_into_memory() {
    let list = format!("[{}0]", "0,".repeat(1_200_000));
    let document = Document::read(list.as_bytes()).expect("JSON");
    let items = Filter::parse(".").expect("a filter").items(&document).expect("it is found");
    assert_eq!(items.map(|items| items.len()), Some(1_200_001));
}

#[test]
fn an_element_of_xml_is_found_whatever_its_prefix() {
    let input = |text: &str| serde_json::to_string(text).expect("JSON");
    for (xml, expect) in [
        ("<s:Fault><faultstring xml:lang=\"en\"> a &lt; b </faultstring></s:Fault>", "\"a < b\""),
        ("<e:Reason><e:Text>no</e:Text></e:Reason>", "null"),
        ("<faultstring/>", "\"\""),
        ("<x:faultstring><![CDATA[why]]></x:faultstring>", "\"why\""),
        ("<faultstring>unfinished", "null"),
        ("no xml <", "null"),
    ] {
        check("element(\"faultstring\")", &input(xml), expect);
    }
}

#[test]
fn what_does_not_parse_is_told_with_its_place() {
    for (source, column, expected) in [
        (".a ==", 6, "expected term, found the end"),
        ("if .a then 1 els 2 end", 14, "expected"),
        (".a | nothing(1)", 6, "there is no filter \"nothing\""),
        (".a == $x", 7, "there is no variable \"$x\""),
        ("\"abc", 5, "expected closing quote"),
        ("(.a", 4, "expected"),
        ("def f: f; f", 1, "\"def\" is not available"),
        ("[repeat(1)]", 2, "\"repeat\" is not available"),
        ("\"\\(until(false; .))\"", 4, "\"until\" is not available"),
        ("recurse(.)", 1, "might not end"),
        ("include \"x\"; .", 1, "not available"),
        ("env", 1, "there is no filter"),
        ("halt", 1, "there is no filter"),
        ("now", 1, "there is no filter"),
        ("input", 1, "there is no filter"),
        ("", 1, "expected term"),
    ] {
        let problem = Filter::parse(source).map(|_| ()).expect_err(source);
        assert_eq!((problem.line, problem.column), (1, column), "{source}: {problem}");
        assert!(problem.problem.contains(expected), "{source}: {problem}");
    }
    let problem = Filter::parse(".a\n| nothing").map(|_| ()).expect_err("no such filter");
    assert_eq!((problem.line, problem.column), (2, 3));
    assert_eq!(problem.to_string(), "line 2, column 3: there is no filter \"nothing\"");
    for long in [".".repeat(FILTER_BYTES_MAX + 1), "[".repeat(1_000), ".|".repeat(2_000) + "."] {
        assert!(Filter::parse(&long).is_err());
    }
}

/// Runs on a small stack, as the crew's threads have, and says how long it took.
fn runaway(filter: &str) -> (Result<Option<String>, Stuck>, Duration) {
    let source = filter.to_owned();
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let begun = Instant::now();
        (answer(&source, r#"{"n":1e9,"list":[1,2,3],"text":"abc"}"#), begun.elapsed())
    });
    thread.expect("a thread").join().expect("no panic")
}

#[test]
fn no_filter_runs_away() {
    for filter in [
        "[range(1e12)] | length",
        "last(range(1000000000000))",
        "range(0; 1; 0) | select(. == 5)",
        "try last(range(1e12)) catch .",
        "[limit(1e12; range(1e12))]",
        "reduce range(100) as $i (\"ab\"; . + .)",
        "\"x\" * 1e15 | length",
        "\"x\" * 100000000000",
        "reduce range(64) as $i ([]; [., .]) | tojson | length",
        "reduce range(64) as $i ([]; [., .]) | . == (. | map(.))",
        "reduce range(100000) as $i (0; [.])",
        "reduce range(100000) as $i (0; {a: .})",
        "[range(2000) as $a | range(2000) as $b | $a * $b] | sort | length",
        "walk([.])",
        ".. |= [.]",
        "[range(30) | tostring] | combinations(30)",
        "[range(100000)] | map([range(100)]) | length",
        "[foreach range(1e12) as $i (0; . + 1)]",
        "isempty(range(1e12) | empty)",
        "first(range(1e12) | select(. < 0))",
        "label $out | foreach range(1e12) as $i (0; .; if . > 1 then break $out else empty end)",
        "[\"abc\" * 300000 / \"\"] | length",
        "\"[1,2,3]\" * 100000 | fromjson",
        "[.list[:1e18]]",
        "[paths] | length, (getpath([\"a\"] * 1) | 1)",
    ] {
        let (answer, took) = runaway(filter);
        println!("{took:?} {filter}: {answer:?}");
        assert!(took < Duration::from_secs(3), "{filter} took {took:?}");
    }
    assert!(matches!(runaway("last(range(1e12))").0, Err(Stuck::Failed(_))));
    assert!(matches!(runaway("reduce range(9999) as $i (0; [.])").0, Err(Stuck::Failed(_))));
}

#[test]
fn a_filter_as_long_as_may_be_needs_little_stack() {
    let pipes = vec!["."; TOKENS_MAX / 2].join("|");
    let sums = vec!["1"; TOKENS_MAX / 2].join("+");
    let brackets = format!("{}1{}", "[".repeat(BRACKETS_MAX), "]".repeat(BRACKETS_MAX));
    let choices = format!("{} 1 {}", "if . then ".repeat(80), "else 2 end ".repeat(80));
    let minus = format!("{}1", "-".repeat(TOKENS_MAX - 2));
    for filter in [pipes, sums, brackets, choices, minus] {
        let (answer, _) = runaway(&filter);
        assert!(answer.is_ok(), "{}: {answer:?}", &filter[..20]);
    }
}

#[test]
fn what_did_not_come_is_noticed_only_where_it_is_looked_at() {
    let input =
        Val::object([("status", Val::Int(200)), ("body", Val::Cut)].map(|(key, value)| (key.into(), value)).into());
    let holds = |filter: &str| Filter::parse(filter).expect("a filter").holds(&input);
    assert_eq!(holds(".status == 200"), Ok(true));
    assert_eq!(holds(".status == 200 or .body.ok"), Ok(true));
    for filter in
        [".body.ok", ".body == 1", ".body | length", "[.body[]]", ".body", "\"\\(.body)\" == \"\"", ".body | not"]
    {
        assert_eq!(holds(filter), Err(Stuck::Cut), "{filter}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_text_makes_the_parser_panic(text in "[.a-c$\\[\\]{}()|,:;\"\\\\0-9 =?+*/@-]{0,40}") {
        if let Ok(filter) = Filter::parse(&text) {
            let input = parse_json(br#"{"a":[1,{"b":"x"}],"b":null,"c":-1.5}"#).expect("JSON");
            let _ = filter.first(&input, ToString::to_string);
        }
    }
}
