//! The document at `/openapi.json`, held against every answer that a test gets: its status must be told there, and its JSON must have the shape.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value;

use super::harness::{Answer, Api};

/// The document, as the first server of this process told it.
fn document(api: &Api) -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let answer = api.call_plainly("GET", "/openapi.json", &[], b"");
        assert_eq!(answer.status, 200);
        answer.json()
    })
}

/// The document tells of this answer. What no route has is none of its business.
pub fn check(api: &Api, method: &str, path: &str, answer: &Answer) {
    let document = document(api);
    let path = path.split('?').next().unwrap_or_default();
    let paths = document["paths"].as_object().expect("paths");
    let Some((form, operations)) = paths.iter().find(|(form, _)| holds(form, path)) else { return };
    let method = if method == "HEAD" { "GET" } else { method }.to_ascii_lowercase();
    let Some(operation) = operations.get(&method) else { return };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{method} {form} answers {}, which it is not said to", answer.status);
    let kind = answer.header("content-type").unwrap_or_default();
    let Some(content) = response["content"].as_object().filter(|content| !content.is_empty()) else {
        assert_eq!(answer.body, b"", "{method} {form}: {} is said to have no body", answer.status);
        return;
    };
    let bare = kind.split(';').next().unwrap_or_default();
    let schema = content.get(bare).or(content.get("*/*")).unwrap_or_else(|| panic!("{method} {form} answers {kind}"));
    if bare.ends_with("json") && !content.contains_key("*/*") && !answer.body.is_empty() {
        let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if let Err(wrong) = fits(document, &schema["schema"], &value, "") {
            panic!("{method} {form} answers {} with another shape: {wrong} in {value}", answer.status);
        }
    }
}

/// Whether the path has this form.
fn holds(form: &str, path: &str) -> bool {
    let (forms, parts): (Vec<&str>, Vec<&str>) = (form.split('/').collect(), path.split('/').collect());
    forms.len() == parts.len()
        && forms
            .iter()
            .zip(parts)
            .all(|(form, part)| if form.starts_with('{') { !part.is_empty() } else { *form == part })
}

/// Whether the value has the shape: as much of JSON Schema as the document uses, and a keyword beyond that is a fault.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    const KNOWN: [&str; 19] = [
        "$ref",
        "oneOf",
        "type",
        "enum",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minimum",
        "maximum",
        "maxItems",
        "format",
        "description",
        "examples",
        "default",
        "minLength",
        "maxLength",
        "pattern",
        "title",
    ];
    for keyword in schema.as_object().expect("a schema").keys() {
        assert!(KNOWN.contains(&keyword.as_str()), "the test does not know {keyword}");
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return fits(document, &document["components"]["schemas"][name], value, at);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let fitting = any.iter().filter(|one| fits(document, one, value, at).is_ok()).count();
        return if fitting == 1 { Ok(()) } else { Err(format!("{at} fits {fitting} of {}", any.len())) };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&is) {
        return Err(format!("{at} is {value}, not of {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return Err(format!("{at} is {value}"));
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], item, &format!("{at}[{number}]"))?;
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    let fields = value.as_object().into_iter().flatten();
    let there: BTreeSet<&str> = fields.clone().map(|(name, _)| name.as_str()).collect();
    let wanted = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = wanted.filter(|_| value.is_object()).find(|name| !there.contains(name)) {
        return Err(format!("{at}.{missing} is missing"));
    }
    for (name, field) in fields {
        let schema = properties.get(name).ok_or_else(|| format!("{at}.{name} is not told"))?;
        fits(document, schema, field, &format!("{at}.{name}"))?;
    }
    Ok(())
}

#[test]
fn what_the_document_does_not_say_is_found() {
    let api = Api::start();
    let answer = |status: u16, kind: &str, body: &str| Answer {
        status,
        headers: vec![("content-type".into(), kind.into())],
        body: body.into(),
    };
    let found = |answer: Answer| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&api, "GET", "/v1/stats", &answer))).is_err()
    };
    let good = api.get("/v1/stats").expect(200);
    let text = String::from_utf8(good.body.clone()).unwrap();
    assert!(!found(good));
    assert!(found(answer(200, "application/json", &text.replace("\"commit\":", "\"commits\":"))));
    assert!(found(answer(200, "application/json", &text.replace("\"version\":\"", "\"version\":1,\"v\":\""))));
    assert!(found(answer(200, "text/plain", &text)));
    assert!(found(answer(418, "application/json", &text)));
}
