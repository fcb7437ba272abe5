//! What shapes make, what they refuse, and that they end.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::model::{NodeTag, Place, WallMs};

fn message(body: &[u8]) -> Message {
    let draft = Message::to("shop").key("sku:1").kind("price.changed").body(body);
    Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(1), Place::new(2, 3)),
        attempt: 2,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: draft.envelope.into(),
        body: draft.body,
    }
}

fn made(shape: Result<Shape, Misparse>, body: &str) -> Result<String, String> {
    let bytes = shape.expect("a shape").apply(&message(body.as_bytes()))?;
    Ok(String::from_utf8(bytes).expect("text"))
}

#[test]
fn templates_and_filters_make_what_leaves() {
    let body = r#"{"sku":"A\"1","price":12.5}"#;
    let template =
        Shape::template("{\"s\": {{ body.sku|tojson }}, \"n\": {{ attempt }}, \"k\": \"{{ key }}\"}", "text/x");
    assert_eq!(made(template, body).as_deref(), Ok(r#"{"s": "A\"1", "n": 2, "k": "sku:1"}"#));
    let filter = Shape::filter("{sku: .body.sku, cents: (.body.price * 100 | round), type}", "application/json");
    assert_eq!(made(filter, body).as_deref(), Ok(r#"{"cents":1250,"sku":"A\"1","type":"price.changed"}"#));
    assert_eq!(made(Shape::template("<{{ body }}>", "text/plain"), "no json").as_deref(), Ok("<no json>"));
    assert_eq!(made(Shape::filter(".body | ascii_upcase", "text/plain"), "abc").as_deref(), Ok("ABC"));
}

/// What the page shows of a form arrives as it was, whatever the values have in them.
#[test]
fn the_form_of_the_page_escapes_what_stands_in_it() {
    let page = include_str!("../../../docs/destinations.md");
    let template = page.split("template = '''").find(|part| part.contains("parameters")).expect("a template");
    let shape = Shape::template(template.split("'''").next().expect("its end"), "t").expect("a template");
    let made = shape.apply_all(message(b"").id, &[&message(br#"{"stock":"1+1&2%\" \u017c="}"#)]);
    let made = String::from_utf8(made.expect("a form")).expect("text");
    let fields: Vec<&str> = made.split('&').collect();
    let value = fields.last().and_then(|field| field.strip_prefix("parameters=")).expect("the last field");
    assert_eq!((fields.len(), *fields.first().expect("a field")), (2, "method=updateInventoryProductsStock"));
    let mut bytes = Vec::new();
    let mut letters = value.bytes();
    while let Some(letter) = letters.next() {
        let hex: String = letters.by_ref().take(if letter == b'%' { 2 } else { 0 }).map(char::from).collect();
        bytes.push(if letter == b'%' { u8::from_str_radix(&hex, 16).expect("a byte") } else { letter });
    }
    assert!(!value.contains('+') && !value.contains('"') && !value.contains(' '), "{value}");
    let plain: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let stock = serde_json::json!({"inventory_id": "307", "products": {"sku:1": "1+1&2%\" ż="}});
    assert_eq!(plain, stock, "{value}");
}

#[test]
fn what_fails_is_told() {
    assert!(made(Shape::template("{{ body.nope.x }}", "t"), "{}").expect_err("fails").contains("template failed"));
    assert!(made(Shape::filter(".body.a.b", "t"), r#"{"a":1}"#).expect_err("fails").contains("filter failed"));
    assert!(made(Shape::filter("empty", "t"), "{}").expect_err("fails").contains("nothing"));
}

#[test]
fn a_number_that_would_change_fails_and_what_is_no_json_may_hold_any() {
    let body = r#"{"sku":123456789012345678901}"#;
    for shape in [Shape::template("{{ body.sku }}", "t"), Shape::filter(".body.sku", "t")] {
        let told = made(shape, body).expect_err("fails");
        assert!(told.contains("123456789012345678901") && told.contains("would change"), "{told}");
    }
    // Every float arrives as it was written, to the last digit: the nearest one is read.
    for step in 0..1_000_u64 {
        let float = f64::from_bits(crate::model::policy::scatter(step) >> 12 | 0x3ff0_0000_0000_0000);
        assert_eq!(made(Shape::filter(".body", "t"), &float.to_string()), Ok(float.to_string()));
    }
    let template = || Shape::template("{{ body }}", "t");
    assert_eq!(made(template(), "18446744073709551615").as_deref(), Ok("18446744073709551615"));
    assert_eq!(made(template(), "no. 123456789012345678901").as_deref(), Ok("no. 123456789012345678901"));
}

#[test]
fn what_does_not_parse_is_told_with_its_place() {
    let problem = Shape::template("line\n{{ body.x ", "t").expect_err("no template");
    assert_eq!(problem.line, 2, "{problem}");
    let problem = Shape::template("a {% nope %}", "t").expect_err("no template");
    assert!(problem.problem.contains("nope") && problem.column > 1, "{problem}");
    assert!(Shape::filter(".a ==", "t").is_err());
    for (text, line, says) in [
        ("\n{{ body.x|tojsn }}", 2, "no filter \"tojsn\""),
        ("{% if key is definde %}{% endif %}", 1, "no test \"definde\""),
        ("a\n\n{{ boddy.x }}", 3, "no \"boddy\""),
        ("{{ renge(3) }}", 1, "no \"renge\""),
        ("{{ messages }}{{ key }}", 1, "no \"messages\""),
    ] {
        let problem = Shape::template(text, "t").expect_err(text);
        assert!(problem.line == line && problem.problem.contains(says), "{text}: {problem}");
    }
    for text in [
        "{% for m in messages %}{{ loop.index ~ m.key|upper }}{% endfor %}{{ id }}",
        "{% set x = range(3) %}{{ x }}{{ key is none }}",
    ] {
        Shape::template(text, "t").expect(text);
    }
}

#[test]
fn no_template_runs_away() {
    for text in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ 'x' * 10000 }}{% endfor %}",
        "{% set ns = namespace(x='xx') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ 'x' * body }}",
    ] {
        let begun = Instant::now();
        let told = made(Shape::template(text, "t"), "99999999999").expect_err(text);
        println!("{:?} {text}: {told}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(5), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn no_template_and_no_body_makes_it_panic(
        parts in proptest::collection::vec("[a-z {}%|.()0-9\"~-]{0,6}|\\{\\{ |\\}\\}|\\{% for x in body %\\}|\\{% endfor %\\}|body|key|\\|tojson|\\{% if body %\\}|\\{% endif %\\}", 0..8),
        body in "[\\[\\]{}\",:a0-9. ]{0,20}"
    ) {
        if let Ok(shape) = Shape::template(&parts.concat(), "t") {
            let _ = shape.apply(&message(body.as_bytes()));
        }
    }
}
