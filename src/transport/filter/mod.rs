//! Filters in the language of jq: one expression over one JSON value, for rules, reasons and bodies.
//!
//! # What holds
//!
//! * A filter that does not parse is a [`Misparse`] with its place and what was expected there.
//! * A filter ends: it defines no functions and has no unbounded loops, and after [`STEPS_MAX`] steps it is broken off, whatever it is doing.
//! * The same filter over the same value gives the same answer. It sees no clock, no environment, no file.
//!
//! # What it does not know
//!
//! What its answer is used for.

mod access;
mod arithmetic;
mod fuel;
mod json;
mod natives;
mod tame;
mod value;

use std::fmt;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars};

pub(in crate::transport) use self::json::parse as parse_json;
pub use self::json::{Unread, VALUES_BYTES_MAX, unkept};
pub(in crate::transport) use self::value::Val;

use self::fuel::Stop;

/// The steps that one evaluation may take. A step is some ten nanoseconds, so a filter is broken off after a fraction of a second.
pub const STEPS_MAX: u64 = 1_000_000;

/// The steps where every answer is wanted, as of a page with thousands of items.
const STEPS_OF_MANY_MAX: u64 = 50_000_000;

/// Whole numbers below this are exact as floats.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 4 << 10;

/// The most brackets within one another in a filter.
const BRACKETS_MAX: usize = 64;

/// The most words and signs of a filter: what it is made of is nested as they follow each other.
const TOKENS_MAX: usize = 500;

/// The most of a value that an error quotes, in characters.
const QUOTED_CHARS_MAX: usize = 200;

/// A filter, ready to run.
pub struct Filter {
    source: String,
    compiled: jaq_core::Filter<JustLut<Val>>,
}

/// A body that filters look into: read once for all of them.
pub struct Document(Val);

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misparse {
    /// Where, from 1, counted in lines of the text.
    pub line: usize,
    /// Where, from 1, counted in characters of the line.
    pub column: usize,
    /// What is wrong: what was expected, and what stood there.
    pub problem: String,
}

/// Why a filter gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stuck {
    /// It looked at a part of the answer that did not come whole.
    Cut,
    /// It failed, or took too long: in words.
    Failed(String),
}

impl Document {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no JSON, or says more than may lie in memory.
    pub fn read(body: &[u8]) -> Result<Document, Unread> {
        parse_json(body).map(Document)
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stuck::Cut => f.write_str("it looked at a part that did not come"),
            Stuck::Failed(why) => f.write_str(why),
        }
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// The text is not a filter, or one that might not end.
    pub fn parse(source: &str) -> Result<Filter, Misparse> {
        tame::check(source)?;
        let arena = Arena::default();
        let file = File { code: source, path: () };
        let modules = Loader::new(natives::definitions()).load(&arena, file).map_err(|errors| {
            let first = errors.into_iter().next().map(|(_, error)| error);
            unread(source, first)
        })?;
        let compiled = Compiler::default().with_funs(natives::functions()).compile(modules).map_err(|errors| {
            match errors.into_iter().flat_map(|(_, errors)| errors).next() {
                Some((name, what)) => Misparse::at(source, name, format!("there is no {} {name:?}", what.as_str())),
                None => Misparse::at(source, source, "is not a filter".into()),
            }
        })?;
        Ok(Filter { source: source.to_owned(), compiled })
    }

    /// The text it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Gives `input` to the filter and the first of its answers to `take`; `None` where it has none.
    ///
    /// # Errors
    /// The filter failed, took too long, or looked at what did not come.
    pub(in crate::transport) fn first<T>(&self, input: &Val, take: impl FnOnce(&Val) -> T) -> Result<Option<T>, Stuck> {
        self.answers(input, STEPS_MAX, |answers| Ok(answers.next().transpose()?.map(|value| take(&value))))
    }

    /// Gives `input` to the filter and its answers to `take`, which looks at as many as it wants.
    fn answers<T>(
        &self,
        input: &Val,
        steps_max: u64,
        take: impl FnOnce(&mut dyn Iterator<Item = Result<Val, Stuck>>) -> Result<T, Stuck>,
    ) -> Result<T, Stuck> {
        let ended = fuel::within(steps_max, || {
            let context = Ctx::<JustLut<Val>>::new(&self.compiled.lut, Vars::new([]));
            let mut answers = self.compiled.id.run((context, input.clone())).map(|answer| {
                // The only other exceptions are a `break` and a `halt`, which do not leave a filter.
                answer.map_err(|thrown| {
                    let text = thrown.get_err().map_or_else(|_| "it broke off".into(), |error| error.to_string());
                    Stuck::Failed(shortened(&text))
                })
            });
            take(&mut answers)
        });
        match ended {
            Ok(answer) => answer,
            Err(Stop::Cut) => Err(Stuck::Cut),
            Err(Stop::Steps) => Err(Stuck::Failed(format!("it took more than {steps_max} steps"))),
            Err(Stop::Depth) => Err(Stuck::Failed("its values are nested too deep".into())),
            Err(Stop::Panic) => Err(Stuck::Failed("the interpreter failed".into())),
        }
    }

    /// Every answer of the filter, written as JSON: `most` at most, of `bytes_max` bytes together.
    ///
    /// # Errors
    /// The filter failed, took too long, or has more answers than that.
    pub fn each(&self, body: &Document, most: usize, bytes_max: usize) -> Result<Vec<String>, Stuck> {
        self.answers(&body.0, STEPS_OF_MANY_MAX, |answers| {
            let (mut all, mut bytes) = (Vec::new(), 0_usize);
            for answer in answers {
                let text = answer?.to_string();
                bytes = bytes.saturating_add(text.len());
                if all.len() >= most || bytes > bytes_max {
                    return Err(Stuck::Failed(format!(
                        "it has more than {most} answers, or {bytes_max} bytes of them"
                    )));
                }
                all.push(text);
            }
            Ok(all)
        })
    }

    /// The filter's first answer as a word; `None` where it has none, or it is `null` or empty.
    ///
    /// # Errors
    /// The filter failed, took too long, or its answer is neither a text nor a number that can be told exactly.
    pub fn word(&self, body: &Document) -> Result<Option<String>, Stuck> {
        let word = self.first(&body.0, |value| match value {
            Val::Null => Ok(None),
            Val::Str(text) => Ok(Some(text.to_string())),
            Val::Int(whole) => Ok(Some(whole.to_string())),
            Val::Num(number) if number.abs() < EXACT_MAX => Ok(Some(value.to_string())),
            Val::Num(_) => Err(Stuck::Failed("the number is too long to be told exactly; a text can be".into())),
            Val::Bool(_) | Val::Arr(_) | Val::Obj(_) => Err(Stuck::Failed("it is neither a text nor a number".into())),
            Val::Cut => Err(Stuck::Cut),
        })?;
        Ok(word.transpose()?.flatten().filter(|word| !word.trim().is_empty()))
    }

    /// Whether the filter's first answer is neither `false` nor `null`; without an answer it is no.
    ///
    /// # Errors
    /// As [`Filter::first`].
    pub(in crate::transport) fn holds(&self, input: &Val) -> Result<bool, Stuck> {
        Ok(self.first(input, jaq_core::ValT::as_bool)?.unwrap_or(false))
    }

    /// What the filter picks out of a body, as text; `None` where it has no answer, or one that is `null` or empty.
    ///
    /// # Errors
    /// The filter failed, or took too long.
    pub fn pick(&self, body: &Document) -> Result<Option<String>, Stuck> {
        self.text(&body.0)
    }

    /// The items that the filter finds in a body; `None` where its first answer is no array.
    ///
    /// # Errors
    /// The filter failed, or took too long.
    pub fn items(&self, body: &Document) -> Result<Option<Vec<Document>>, Stuck> {
        Ok(self.listed(&body.0, STEPS_OF_MANY_MAX)?.map(|items| items.into_iter().map(Document).collect()))
    }

    /// Whether a body is one that the filter means: its first answer is neither `false` nor `null`.
    ///
    /// # Errors
    /// The filter failed, or took too long.
    pub fn means(&self, body: &Document) -> Result<bool, Stuck> {
        self.holds(&body.0)
    }

    /// The items of the filter's first answer; `None` where that is no array.
    ///
    /// # Errors
    /// As [`Filter::first`].
    pub(in crate::transport) fn list(&self, input: &Val) -> Result<Option<Vec<Val>>, Stuck> {
        self.listed(input, STEPS_MAX)
    }

    fn listed(&self, input: &Val, steps_max: u64) -> Result<Option<Vec<Val>>, Stuck> {
        self.answers(input, steps_max, |answers| match answers.next().transpose()? {
            Some(Val::Arr(items)) => Ok(Some(items.list.clone())),
            Some(Val::Cut) => Err(Stuck::Cut),
            Some(Val::Null | Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Str(_) | Val::Obj(_)) | None => Ok(None),
        })
    }

    /// The filter's first answer as a text; `None` where it has none, or it is `null` or empty.
    ///
    /// # Errors
    /// As [`Filter::first`].
    pub(in crate::transport) fn text(&self, input: &Val) -> Result<Option<String>, Stuck> {
        let text = self.first(input, |value| match value {
            Val::Null => None,
            Val::Str(text) => Some(text.to_string()),
            Val::Bool(_) | Val::Int(_) | Val::Num(_) | Val::Arr(_) | Val::Obj(_) | Val::Cut => Some(value.to_string()),
        })?;
        Ok(text.flatten().filter(|text| !text.trim().is_empty()))
    }
}

/// The beginning of a text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((at, _)) => format!("{}..", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn unread(source: &str, error: Option<load::Error<&str>>) -> Misparse {
    let found = |rest: &str| match rest.split_whitespace().next() {
        Some(word) => format!("{:?}", word.chars().take(20).collect::<String>()),
        None => "the end".to_owned(),
    };
    match error {
        Some(load::Error::Lex(errors)) => match errors.into_iter().next() {
            Some((expected, rest)) => {
                Misparse::at(source, rest, format!("expected {}, found {}", expected.as_str(), found(rest)))
            }
            None => Misparse::at(source, source, "is not a filter".into()),
        },
        Some(load::Error::Parse(errors)) => match errors.into_iter().next() {
            Some((expected, rest)) => {
                Misparse::at(source, rest, format!("expected {}, found {}", expected.as_str(), found(rest)))
            }
            None => Misparse::at(source, source, "is not a filter".into()),
        },
        Some(load::Error::Io(_)) | None => Misparse::at(source, source, "a filter imports nothing".into()),
    }
}

impl Misparse {
    /// What is wrong where `part` begins in `source`; at its beginning where it is not a part of it.
    pub(in crate::transport) fn at(source: &str, part: &str, problem: String) -> Misparse {
        let offset = part.as_ptr().addr().checked_sub(source.as_ptr().addr()).filter(|at| *at <= source.len());
        let before = source.get(..offset.unwrap_or(0)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Misparse { line, column, problem }
    }
}

impl fmt::Display for Misparse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            1 => write!(f, "column {}: {}", self.column, self.problem),
            line => write!(f, "line {line}, column {}: {}", self.column, self.problem),
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests;
