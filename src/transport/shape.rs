//! Shaping what leaves: a template or a filter over the message makes the bytes that are sent.
//!
//! Both see `{body, key, type, id, attempt, destination, content_type}`, where `body` is the parsed JSON, or the text where it is none.
//!
//! # What holds
//!
//! * The stored message is not touched.
//! * No number changes on its way: a body with one that would is a failure.
//! * Shaping ends: templates have fuel ([`FUEL_MAX`]), filters steps, and no more than [`SHAPED_BYTES_MAX`] come out.
//! * What fails is told in words, never a panic; a name that is absent is a failure, not an empty text.
//!
//! # What it does not know
//!
//! Where the bytes go.

use std::fmt;
use std::io::{self, Write};

use minijinja::machinery::{Instruction, get_compiled_template};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::filter::{Filter, Misparse, Stuck, parse_json, unkept};
use crate::model::{Id, Message};

/// The most that a template may do and make: about one for each instruction, and for each 64 bytes.
pub const FUEL_MAX: u64 = 1_000_000;

/// The most that comes out, in bytes: what a body may have at most.
pub const SHAPED_BYTES_MAX: usize = 16 << 20;

/// The longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 64 << 10;

const NAME: &str = "template";

/// The most of a number that an error quotes, in characters.
const NUMBER_CHARS_MAX: usize = 60;

/// What makes the bytes that leave.
pub struct Shape {
    how: How,
    content_type: String,
}

enum How {
    Template(Box<Environment<'static>>),
    Filter(Filter),
}

impl Shape {
    /// Reads a template (`{"sku": {{ body.sku|tojson }}}`) whose output is of this content type.
    ///
    /// # Errors
    /// It is no template; what is wrong, and where.
    pub fn template(text: &str, content_type: &str) -> Result<Shape, Misparse> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let problem = format!("expected at most {TEMPLATE_BYTES_MAX} bytes, found {}", text.len());
            return Err(Misparse { line: 1, column: 1, problem });
        }
        let mut environment = Environment::new();
        environment.set_debug(true);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL_MAX));
        environment.set_recursion_limit(64);
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| misparse(text, &error))?;
        environment.set_debug(false);
        check_names(&environment, text)?;
        Ok(Shape { how: How::Template(Box::new(environment)), content_type: content_type.to_owned() })
    }

    /// Reads a filter. What it answers leaves as JSON, a text as it is.
    ///
    /// # Errors
    /// It is no filter; what is wrong, and where.
    pub fn filter(text: &str, content_type: &str) -> Result<Shape, Misparse> {
        Ok(Shape { how: How::Filter(Filter::parse(text)?), content_type: content_type.to_owned() })
    }

    /// The content type of what comes out.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The bytes that leave instead of the message's body.
    ///
    /// # Errors
    /// Why they could not be made, in words.
    pub fn apply(&self, message: &Message) -> Result<Vec<u8>, String> {
        self.make(context(message)?)
    }

    /// The bytes that leave for all of these: `{messages, id}`, each message as [`Shape::apply`] sees it.
    ///
    /// # Errors
    /// Why they could not be made, in words.
    pub fn apply_all(&self, id: Id, messages: &[&Message]) -> Result<Vec<u8>, String> {
        let messages = messages.iter().map(|message| context(message)).collect::<Result<Vec<_>, String>>()?;
        self.make(serde_json::json!({ "messages": messages, "id": id.to_string() }))
    }

    fn make(&self, context: serde_json::Value) -> Result<Vec<u8>, String> {
        match &self.how {
            How::Template(environment) => {
                let template = environment.get_template(NAME).map_err(|error| error.to_string())?;
                let mut out = Bounded(Vec::new());
                match template.render_captured_to(minijinja::value::Serde(context), &mut out) {
                    Ok(_) => Ok(out.0),
                    Err(_) if out.0.len() > SHAPED_BYTES_MAX => Err(too_long()),
                    Err(error) => Err(format!("the template failed: {error}")),
                }
            }
            How::Filter(filter) => {
                let input = serde_json::to_vec(&context).ok().and_then(|text| parse_json(&text).ok());
                let input = input.ok_or("the message is nested too deep for a filter")?;
                let made = filter.text(&input).map_err(|stuck| match stuck {
                    Stuck::Failed(why) => format!("the filter failed: {why}"),
                    Stuck::Cut => "the filter failed".into(),
                })?;
                let made = made.ok_or("the filter answered nothing")?;
                if made.len() > SHAPED_BYTES_MAX { Err(too_long()) } else { Ok(made.into_bytes()) }
            }
        }
    }
}

fn too_long() -> String {
    format!("what would leave is longer than {SHAPED_BYTES_MAX} bytes")
}

fn context(message: &Message) -> Result<serde_json::Value, String> {
    let json = std::str::from_utf8(&message.body).ok().and_then(|text| Some((text, serde_json::from_str(text).ok()?)));
    let body = match json {
        Some((text, body)) => {
            whole(text)?;
            body
        }
        None => serde_json::Value::String(String::from_utf8_lossy(&message.body).into_owned()),
    };
    let envelope = &message.envelope;
    Ok(serde_json::json!({
        "body": body,
        "key": envelope.key.as_deref(),
        "type": envelope.kind.as_deref(),
        "id": message.id.to_string(),
        "attempt": message.attempt,
        "destination": &*envelope.destination,
        "content_type": message.content_type.as_deref(),
    }))
}

/// Refuses JSON with a number that would not leave as it came.
fn whole(json: &str) -> Result<(), String> {
    let Some(number) = unkept(json) else { return Ok(()) };
    let number: String = number.chars().take(NUMBER_CHARS_MAX).collect();
    Err(format!("the number {number} in the body would change: it has more digits than fit; send it as a text"))
}

/// What a template for one message sees, and what one for a batch does.
const NAMES: [&[&str]; 2] =
    [&["body", "key", "type", "id", "attempt", "destination", "content_type"], &["messages", "id"]];

/// That a template names only what is there: an unknown name would fail with each message.
fn check_names(environment: &Environment<'_>, text: &str) -> Result<(), Misparse> {
    let template = environment.get_template(NAME).map_err(|error| misparse(text, &error))?;
    let instructions = &get_compiled_template(&template).instructions;
    let at = |index: u32, problem: String| {
        let line = instructions.get_line(index).unwrap_or(1).max(1);
        let column = instructions.get_span(index).map_or(0, |span| usize::from(span.start_col)) + 1;
        Misparse { line, column, problem }
    };
    let state = &mut environment.empty_state();
    for index in 0.. {
        let Some(instruction) = instructions.get(index) else { break };
        let (kind, name, unknown, tried) = if let Instruction::ApplyFilter(name, ..) = instruction {
            ("filter", name, ErrorKind::UnknownFilter, state.apply_filter(name, &[]).err())
        } else if let Instruction::PerformTest(name, ..) = instruction {
            ("test", name, ErrorKind::UnknownTest, state.perform_test(name, &[]).err())
        } else {
            continue;
        };
        if tried.is_some_and(|error| error.kind() == unknown) {
            return Err(at(index, format!("there is no {kind} {name:?}")));
        }
    }
    let is_global = |name: &String| environment.globals().any(|(global, _)| global == name);
    let named = template.undeclared_variables(false);
    let mut unknown = NAMES.map(|known| {
        let rest = named.iter().filter(|name| !known.contains(&name.as_str()) && !is_global(name));
        rest.min().cloned()
    });
    let Some(name) = unknown.iter().all(Option::is_some).then(|| unknown.first_mut().and_then(Option::take)).flatten()
    else {
        return Ok(());
    };
    let is_it = |index: &u32| {
        instructions.get(*index).is_some_and(|_| instructions.get_referenced_names(*index).contains(&name.as_str()))
    };
    let place = (0..).take_while(|index| instructions.get(*index).is_some()).find(is_it).unwrap_or(0);
    let known = NAMES.map(|names| names.join(", ")).join("; of a batch: ");
    Err(at(place, format!("there is no {name:?}; known are {known}")))
}

fn misparse(text: &str, error: &minijinja::Error) -> Misparse {
    let problem = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error.line().unwrap_or(1).max(1);
    let before = error.range().and_then(|range| text.get(..range.start)).unwrap_or_default();
    Misparse { line, column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1, problem }
}

/// Takes no more than may leave.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > SHAPED_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
