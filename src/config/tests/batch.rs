//! Batches: every key, right and wrong.

use super::*;
use crate::engine::BatchRule;

fn with(rest: &str) -> String {
    format!("[destination.a]\nurl = \"http://127.0.0.1/x\"\n{rest}")
}

const FULL: &str = r#"
[destination.a.batch]
max = 3
wait = "2s"
format = "template"
template = '{"create":[{% for m in messages %}{{ m.body|tojson }}{% if not loop.last %},{% endif %}{% endfor %}]}'
content_type = "application/json"
[destination.a.batch.results]
items = ".create"
match = ".sku"
success = ".id != null"
reject = ".error.data.status < 500"
reason = ".error.message"
remote_id = ".id"
missing = "delivered"
"#;

#[test]
fn a_batch_is_read_whole_and_has_defaults() {
    let rule = |text: &str| parse(&with(text)).expect(text).destinations.remove(0).batch;
    assert_eq!(rule(FULL), Some(BatchRule { max: 3, wait_ms: 2_000 }));
    assert_eq!(rule("batch = {}"), Some(BatchRule { max: 100, wait_ms: 200 }));
    assert_eq!(rule("batch = { format = \"cloudevents-batch\", source = \"/erp\" }").map(|rule| rule.max), Some(100));
    assert_eq!(rule(""), None);
}

#[test]
fn what_of_a_batch_does_not_go_together_is_told() {
    for (rest, says) in [
        ("batch = { max = 0 }", "max"),
        ("batch = { format = \"xml\" }", "cloudevents-batch"),
        ("batch = { format = \"template\" }", "a template is missing"),
        ("batch = { template = \"x\" }", "template: does nothing here\n  format = \"template\""),
        ("batch = { source = \"/x\" }", "source: does nothing here\n  format = \"cloudevents-batch\""),
        ("batch = { format = \"template\", template = \"{{ a\" }", "template"),
        ("batch = { results = { items = \".a\" } }", "a success is missing"),
        ("batch = { results = { items = \".a ==\", success = \"true\" } }", "items"),
        (
            "batch = { format = \"template\", template = \"x\" }\nbody = { filter = \".body\" }",
            "does nothing beside the template",
        ),
    ] {
        check_bad(&with(rest), &[says]);
    }
}
