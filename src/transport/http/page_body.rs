//! The body of a question for a page: JSON or a form, in which the cursor stands.
//!
//! # What holds
//!
//! * A cursor is written as the place where it stands has it: within JSON as its text or its number, within a form percent-encoded, within JSON in a field of a form as both.
//!   Whatever a system says as its cursor, it ends no text, no value and no field.
//! * A cursor stands in no text that has a language of its own, as a GraphQL query: there its quotes would count again.
//! * Before the first page there is no cursor: then a value of JSON is `null`, and a text is empty.
//!
//! # What it does not know
//!
//! Where cursors come from, and where the question goes.

use serde::de::IgnoredAny;
use serde_json::{Number, Value};
use ureq::http::header::HeaderValue;

use super::headers;
use super::page::CURSOR;
use crate::model::percent::{escape, unescape};
use crate::transport::answer::{Misparse, Wrong};

/// The content type of a form.
const FORM: &str = "application/x-www-form-urlencoded";
/// Stands for a number as long as the place of a cursor.
const SAMPLE: &str = "10000000";
/// How much of a cursor is told.
const SHOWN_CHARS_MAX: usize = 40;

/// A body with places for the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBody {
    content_type: HeaderValue,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Json(Vec<Piece>),
    /// The names and the values of fields, as they are meant.
    Fields(Vec<(String, Vec<Piece>)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The cursor as it is.
    Plain,
    /// The cursor as a number of JSON, `null` where there is none.
    Number,
    /// The cursor as a text of JSON with its quotes, `null` where there is none.
    Whole,
    /// The cursor within a text of JSON.
    Within,
}

impl PageBody {
    /// Reads a body of this content type.
    ///
    /// # Errors
    /// What is wrong with it, under which key: `body` or `content_type`.
    pub fn parse(text: &str, content_type: &str) -> Result<PageBody, Wrong> {
        let of_type = |problem| Wrong { key: "content_type", problem: Misparse { line: 1, column: 1, problem } };
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let form = if essence == FORM {
            fields(text).map(Form::Fields)
        } else if essence == "application/json" || essence.ends_with("+json") {
            json(text).map(Form::Json)
        } else {
            return Err(of_type(format!("a body is JSON or a form: application/json or {FORM}")));
        };
        let (_, content_type) = headers::pair("content-type", content_type).map_err(of_type)?;
        Ok(PageBody { content_type, form: form.map_err(|problem| Wrong { key: "body", problem })? })
    }

    /// Whether it says where to go on.
    pub(super) fn has_cursor(&self) -> bool {
        let has = |pieces: &[Piece]| pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)));
        match &self.form {
            Form::Json(pieces) => has(pieces),
            Form::Fields(fields) => fields.iter().any(|(_, value)| has(value)),
        }
    }

    pub(super) fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }

    /// The body for this cursor, which is empty where there is none.
    ///
    /// # Errors
    /// It is none for the place where it stands, in words.
    pub(super) fn write(&self, cursor: &str) -> Result<String, String> {
        match &self.form {
            Form::Json(pieces) => written(pieces, cursor),
            Form::Fields(fields) => {
                let each = fields.iter().map(|(name, value)| {
                    let value = written(value, cursor)?;
                    Ok(format!("{}={}", escape(name), escape(&value)))
                });
                Ok(each.collect::<Result<Vec<_>, String>>()?.join("&"))
            }
        }
    }
}

fn written(pieces: &[Piece], cursor: &str) -> Result<String, String> {
    let has_none = cursor.is_empty();
    let mut written = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => written.push_str(text),
            Piece::Plain => written.push_str(cursor),
            Piece::Number | Piece::Whole if has_none => written.push_str("null"),
            Piece::Number if serde_json::from_str::<Number>(cursor).is_ok() => written.push_str(cursor),
            Piece::Number => {
                let beginning: String = cursor.chars().take(SHOWN_CHARS_MAX).collect();
                return Err(format!(
                    "the cursor {beginning:?} is no number; as a text it stands in quotes: \"{CURSOR}\""
                ));
            }
            Piece::Whole => written.push_str(&Value::from(cursor).to_string()),
            Piece::Within => {
                let text = Value::from(cursor).to_string();
                written.push_str(text.get(1..text.len() - 1).unwrap_or_default());
            }
        }
    }
    Ok(written)
}

/// The pieces of JSON.
fn json(text: &str) -> Result<Vec<Piece>, Misparse> {
    let (mut pieces, mut sample, mut rest) = (Vec::new(), String::new(), text);
    let mut texts = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(CURSOR) {
            pieces.push(Piece::Number);
            sample.push_str(SAMPLE);
            rest = after;
            continue;
        }
        let next = |sign| rest.find(sign).unwrap_or(rest.len());
        let is_text = rest.starts_with('"');
        let end = if is_text { end_of_text(rest) } else { next("\"").min(next(CURSOR)) };
        let (own, after) = rest.split_at(end);
        sample.push_str(own);
        if is_text {
            texts.push((own, after));
            pieces.append(&mut of_text(own));
        } else {
            pieces.push(Piece::Text(own.to_owned()));
        }
        rest = after;
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&sample) {
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or_default();
        let problem = format!("JSON is expected: {what}");
        return Err(Misparse { line: error.line(), column: error.column(), problem });
    }
    match texts.into_iter().find_map(|(own, after)| Some(Misparse::at(text, own, misplaced(own, after)?))) {
        Some(wrong) => Err(wrong),
        None => Ok(pieces),
    }
}

/// How many bytes the text has that begins here, with its quotes.
fn end_of_text(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !is_escaped => return at + 1,
            letter => is_escaped = letter == '\\' && !is_escaped,
        }
    }
    text.len()
}

/// The pieces of a text of JSON, with its quotes.
fn of_text(text: &str) -> Vec<Piece> {
    if inner(text) == CURSOR {
        return vec![Piece::Whole];
    }
    let mut pieces = Vec::new();
    for part in text.split(CURSOR) {
        pieces.push(Piece::Within);
        pieces.push(Piece::Text(part.to_owned()));
    }
    pieces.split_off(1)
}

fn inner(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// Why the cursor, or what is written like it, does not stand well in this text, before that.
fn misplaced(text: &str, after: &str) -> Option<String> {
    let inner = inner(text);
    if !inner.contains(CURSOR) {
        let name = inner.strip_prefix('{')?.strip_suffix('}')?;
        let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        return is_name.then(|| unknown(name));
    }
    if inner == CURSOR {
        let is_name = after.trim_start().starts_with(':');
        return is_name.then(|| format!("{CURSOR} stands as a value or within one, and not as a name"));
    }
    let beside = inner.replace(CURSOR, "");
    (beside.contains(['{', '}']) || beside.contains("\\\"")).then(|| {
        format!("{CURSOR} stands in no text that has braces or quotes of its own; beside it, as \"variables\": {{\"after\": \"{CURSOR}\"}}, it does, and a field of that name is written {{ cursor }}")
    })
}

fn unknown(name: &str) -> String {
    format!("there is no {{{name}}}; known is {CURSOR}")
}

/// The fields of a form, written plainly or percent-encoded.
fn fields(text: &str) -> Result<Vec<(String, Vec<Piece>)>, Misparse> {
    text.split('&').map(|field| self::field(field).map_err(|wrong| Misparse::at(text, field, wrong))).collect()
}

fn field(text: &str) -> Result<(String, Vec<Piece>), String> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
        return Err("a field is expected, as name=value".into());
    };
    if text.contains('+') {
        return Err("a `+` in a form may be a space; write a space, or %2B".into());
    }
    let meant = |text: &str| unescape(text.trim()).map_err(|_| "a percent sign in a form is written %25".to_owned());
    let (name, value) = (meant(name)?, meant(value)?);
    if name.contains(['{', '}']) {
        return Err(format!("{CURSOR} stands in the value of a field, and not in its name"));
    }
    if value.starts_with(['{', '[']) && !value.starts_with(CURSOR) {
        return match json(&value) {
            Ok(pieces) => Ok((name, pieces)),
            Err(wrong) => Err(format!("the value of {name:?} begins as JSON does, but: {wrong}")),
        };
    }
    let mut pieces = Vec::new();
    for part in value.split(CURSOR) {
        if part.contains(['{', '}']) {
            return Err(format!("of what stands in braces only {CURSOR} is known"));
        }
        pieces.push(Piece::Plain);
        pieces.push(Piece::Text(part.to_owned()));
    }
    Ok((name, pieces.split_off(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JSON: &str = "application/json";
    const HOSTILE: &str = "a\"},\\{\"b\n&c=%22+ż\u{0}";

    fn body(text: &str, content_type: &str) -> PageBody {
        PageBody::parse(text, content_type).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
    }

    fn write(text: &str, content_type: &str, cursor: &str) -> String {
        body(text, content_type).write(cursor).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
    }

    /// The fields of a form, as whoever gets it reads them.
    fn read(form: &str) -> Vec<(String, String)> {
        let meant = |text| unescape(text).expect("percent-encoded");
        form.split('&')
            .map(|field| field.split_once('=').expect("a field"))
            .map(|(a, b)| (meant(a), meant(b)))
            .collect()
    }

    #[test]
    fn a_cursor_is_a_number_a_text_or_a_part_of_one_as_it_stands() {
        let text = r#"{"n": {cursor}, "t": "{cursor}", "w": "a:{cursor}", "q": "{ edges { cursor } }"}"#;
        assert_eq!(write(text, JSON, ""), r#"{"n": null, "t": null, "w": "a:", "q": "{ edges { cursor } }"}"#);
        assert_eq!(write(text, JSON, "7"), r#"{"n": 7, "t": "7", "w": "a:7", "q": "{ edges { cursor } }"}"#);
        let long = "123456789012345678901234567890";
        assert!(write(text, "application/graphql+json; charset=utf-8", long).contains(&format!("\"n\": {long},")));
        assert!(body(text, JSON).write("x7").is_err_and(|wrong| wrong.contains("is no number")));
        assert!(body(text, JSON).has_cursor() && !body("{}", JSON).has_cursor());
    }

    #[test]
    fn a_form_is_encoded_whole_and_json_in_it_is_json_first() {
        let form =
            "method=getJournalList\n&parameters={\"last_log_id\": {cursor}, \"a\": \"{cursor}\"}&q=a%26b {cursor}";
        assert_eq!(
            write(form, FORM, "7"),
            "method=getJournalList&parameters=%7B%22last_log_id%22%3A%207%2C%20%22a%22%3A%20%227%22%7D&q=a%26b%207"
        );
        let fields = read(&write(&form.replace(": {cursor}", ": \"{cursor}\""), FORM, HOSTILE));
        let [_, (_, parameters), (_, q)] = fields.as_slice() else { panic!("{fields:?}") };
        let parameters: Value = serde_json::from_str(parameters).expect("JSON");
        assert_eq!((&parameters["a"], &parameters["last_log_id"]), (&Value::from(HOSTILE), &Value::from(HOSTILE)));
        assert_eq!(*q, format!("a&b {HOSTILE}"));
        assert_eq!(write("since={cursor}", FORM, ""), "since=");
    }

    #[test]
    fn what_is_no_body_is_told_with_its_place() {
        let within = "stands in no text that has braces or quotes";
        for (text, content_type, expect) in [
            ("{\"a\": {cursor}", JSON, "column 14: JSON is expected: EOF"),
            ("{\"a\":\n {cusor}}", JSON, "line 2, column 3: JSON is expected"),
            ("{\"a\": {{cursor}}}", JSON, "JSON is expected"),
            ("{\"a\": ${cursor}}", JSON, "JSON is expected"),
            ("{{cursor}: 1}", JSON, "JSON is expected"),
            ("{\"a\": \"{cursor}}", JSON, "JSON is expected: EOF"),
            ("{\"a\": \"{cusor}\"}", JSON, "column 7: there is no {cusor}"),
            ("{\"{cursor}\" : 1}", JSON, "column 2: {cursor} stands as a value"),
            ("{\"query\": \"{edges{cursor}}\"}", JSON, within),
            ("{\"query\": \"orders(after: \\\"{cursor}\\\")\"}", JSON, within),
            ("method=a", JSON, "JSON is expected"),
            ("{}", "text/xml", "content_type: column 1: a body is JSON or a form"),
            ("{}", "application/json;\n", "cannot be sent"),
            ("method", FORM, "a field is expected"),
            ("a=1&&b=2", FORM, "column 5: a field is expected"),
            ("a=1&=2", FORM, "column 5: a field is expected"),
            ("a=1+2", FORM, "write a space, or %2B"),
            ("a=100%", FORM, "written %25"),
            ("a={cusor}", FORM, "begins as JSON does"),
            ("a=x{cusor}", FORM, "only {cursor} is known"),
            ("{cursor}=a", FORM, "not in its name"),
            ("m=a&p={\"a\": {cursor}", FORM, "column 5: the value of \"p\" begins as JSON does, but: column 14"),
        ] {
            let wrong = PageBody::parse(text, content_type).expect_err(text).to_string();
            assert!(wrong.contains(expect), "{text}: {wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_cursor_leaves_its_place(cursor in "\\PC*|[\"\\\\&=%+{}\\n\\x00]*") {
            let json = r#"{"a": "{cursor}", "b": "x{cursor}y", "c": 1}"#;
            let expect = |value: &Value| {
                let whole = if cursor.is_empty() { Value::Null } else { Value::from(&*cursor) };
                *value == serde_json::json!({"a": whole, "b": format!("x{cursor}y"), "c": 1})
            };
            prop_assert!(expect(&serde_json::from_str(&write(json, JSON, &cursor)).expect("JSON")));
            let form = read(&write(&format!("a=1&p={json}&z={{cursor}}"), FORM, &cursor));
            prop_assert_eq!((form.len(), &*form[0].1, &*form[2].1), (3, "1", &*cursor));
            prop_assert!(expect(&serde_json::from_str(&form[1].1).expect("JSON")));
        }
    }
}
