//! The lines of a manifest, from CSV, NDJSON and JSON.
//!
//! CSV is that of RFC 4180, with the separator that its first line uses most: a comma, a semicolon or a tab.
//!
//! # What holds
//!
//! * Nothing is guessed: a line with another number of cells than the first, without a key, or with a version that is no number ends the reading, with
//!   its number.
//! * Where nobody said how long the text is, its last line ends with a line feed, or it is not whole.
//!
//! # What it does not know
//!
//! Where the text comes from.

use std::io::{BufRead, BufReader, Read};

use super::manifest::{Column, DOCUMENT_BYTES_MAX, Fields, LINE_BYTES_MAX, Line, MANIFEST_BYTES_MAX};
use crate::admin::when::{Toward, parse_when};
use crate::engine::WORD_BYTES_MAX;
use crate::model::WallMs;
use crate::model::csv;
use crate::model::percent::unhex;
use crate::transport::filter::{Document, Filter, Unread};

/// How much of a word is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// What takes a line.
type Each<'a> = &'a mut dyn FnMut(Line) -> Result<(), String>;

/// Reads CSV, and gives each line; the answer is how many there were.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn csv(from: &mut dyn Read, is_bounded: bool, fields: &Fields, each: Each<'_>) -> Result<u64, String> {
    let mut rows = Rows::new(from, is_bounded);
    if !rows.next(true)? {
        return Err("it is empty: a CSV begins with a line of names".into());
    }
    let head = rows.text.trim_start_matches('\u{feff}').to_owned();
    let separator = [',', ';', '\t'].into_iter().rev().max_by_key(|sign| head.matches(*sign).count()).unwrap_or(',');
    let names = csv::fields(&head, separator)?;
    let spots = Spots::find(fields, &names)?;
    let mut count = 0;
    while rows.next(true)? {
        if rows.text.is_empty() {
            continue;
        }
        let line = csv::fields(&rows.text, separator).and_then(|row| spots.line(&names, &row));
        line.and_then(&mut *each).map_err(|wrong| rows.said(&wrong))?;
        count += 1;
    }
    Ok(count)
}

/// Reads a JSON value a line, as [`csv`].
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn ndjson(from: &mut dyn Read, is_bounded: bool, fields: &Fields, each: Each<'_>) -> Result<u64, String> {
    let mut rows = Rows::new(from, is_bounded);
    let picks = Picks::of(fields)?;
    let mut count = 0;
    while rows.next(false)? {
        if rows.text.trim().is_empty() {
            continue;
        }
        let value = Document::read(rows.text.as_bytes()).map_err(|why| format!("it {why}"));
        let line = value.and_then(|value| picks.line(&value));
        line.and_then(&mut *each).map_err(|wrong| rows.said(&wrong))?;
        count += 1;
    }
    Ok(count)
}

/// Reads one JSON value, as [`csv`].
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn json(from: &mut dyn Read, fields: &Fields, each: Each<'_>) -> Result<u64, String> {
    let mut bytes = Vec::new();
    from.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > DOCUMENT_BYTES_MAX {
        return Err(format!(
            "a JSON document has at most {DOCUMENT_BYTES_MAX} bytes; a longer one is written as NDJSON"
        ));
    }
    let whole = Document::read(&bytes).map_err(|why| match why {
        Unread::NoJson => "it is no JSON document, or it is cut off".to_owned(),
        Unread::TooMuch => format!("it {why}; a longer one is written as NDJSON"),
    })?;
    drop(bytes);
    let picks = Picks::of(fields)?;
    let own = filter(".")?;
    let items = fields.items.as_ref().unwrap_or(&own);
    let items = items.items(&whole).map_err(|stuck| format!("items: {stuck}"))?;
    let items = items.ok_or("where its lines should be, there is no array; say in `items` where they are")?;
    let mut count = 0;
    for item in items {
        count += 1;
        picks.line(&item).and_then(&mut *each).map_err(|wrong| format!("item {count}: {wrong}"))?;
    }
    Ok(count)
}

/// The lines of a text, one after the other.
struct Rows<'a> {
    reader: BufReader<&'a mut dyn Read>,
    is_bounded: bool,
    /// The number of the line that was read last, from 1.
    number: u64,
    bytes: u64,
    raw: Vec<u8>,
    /// The line, without its end.
    text: String,
}

impl<'a> Rows<'a> {
    fn new(from: &'a mut dyn Read, is_bounded: bool) -> Rows<'a> {
        Rows { reader: BufReader::new(from), is_bounded, number: 0, bytes: 0, raw: Vec::new(), text: String::new() }
    }

    /// Takes the next line; `false` at the end. In CSV a line goes on while a quote is open.
    fn next(&mut self, is_quoted: bool) -> Result<bool, String> {
        self.raw.clear();
        let mut quotes = 0;
        loop {
            let begun = self.raw.len();
            let room = u64::try_from(LINE_BYTES_MAX.saturating_sub(begun)).unwrap_or(0) + 1;
            let read = (&mut self.reader).take(room).read_until(b'\n', &mut self.raw);
            let read = read.map_err(|error| format!("after line {}: {error}", self.number))?;
            if read == 0 && begun == 0 {
                return Ok(false);
            }
            if read > 0 {
                self.number += 1;
            }
            self.bytes = self.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if self.raw.len() > LINE_BYTES_MAX {
                return Err(self.said(&format!("it has more than {LINE_BYTES_MAX} bytes")));
            }
            if self.bytes > MANIFEST_BYTES_MAX {
                return Err(format!("it has more than {MANIFEST_BYTES_MAX} bytes"));
            }
            let new = self.raw.get(begun..).unwrap_or_default();
            quotes += if is_quoted { new.iter().filter(|byte| **byte == b'"').count() } else { 0 };
            let is_ended = self.raw.last() == Some(&b'\n');
            if quotes % 2 == 1 && is_ended && read > 0 {
                continue;
            }
            if quotes % 2 == 1 || (!is_ended && !self.is_bounded) {
                return Err(self.said("it ends in the middle of a line, and so may not be whole"));
            }
            break;
        }
        let line = self.raw.strip_suffix(b"\n").unwrap_or(&self.raw);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| self.said("it is not UTF-8"))?;
        self.text.clear();
        self.text.push_str(text);
        Ok(true)
    }

    fn said(&self, wrong: &str) -> String {
        format!("line {}: {wrong}", self.number)
    }
}

/// Where the words of a line of CSV stand.
struct Spots<'a> {
    cells: usize,
    key: Spot<'a>,
    version: Option<Spot<'a>>,
    hash: Option<Spot<'a>>,
    updated_at: Option<Spot<'a>>,
    /// Whether a filter looks at the line.
    is_filtered: bool,
}

enum Spot<'a> {
    Cell(usize),
    Found(&'a Filter),
}

impl<'a> Spots<'a> {
    fn find(fields: &'a Fields, names: &[String]) -> Result<Spots<'a>, String> {
        let spot = |column: &'a Column| match column {
            Column::Found(filter) => Ok(Spot::Found(filter)),
            Column::Named(name) => {
                let known = names.iter().position(|known| known.trim() == name);
                known.map(Spot::Cell).ok_or_else(|| format!("line 1 names no column {name:?}"))
            }
        };
        let asked = |column: &'a Option<Column>| column.as_ref().map(spot).transpose();
        let all = [Some(&fields.key), fields.version.as_ref(), fields.hash.as_ref(), fields.updated_at.as_ref()];
        let is_filtered = all.into_iter().flatten().any(|column| matches!(column, Column::Found(_)));
        Ok(Spots {
            cells: names.len(),
            key: spot(&fields.key)?,
            version: asked(&fields.version)?,
            hash: asked(&fields.hash)?,
            updated_at: asked(&fields.updated_at)?,
            is_filtered,
        })
    }

    fn line(&self, names: &[String], row: &[String]) -> Result<Line, String> {
        if row.len() != self.cells {
            return Err(format!("it has {} cells, and the first line has {}", row.len(), self.cells));
        }
        let document = self.is_filtered.then(|| document(names, row)).flatten();
        let word = |spot: &Spot<'_>| match (spot, &document) {
            (Spot::Cell(number), _) => Ok(row.get(*number).cloned()),
            (Spot::Found(filter), Some(document)) => filter.pick(document).map_err(|stuck| stuck.to_string()),
            (Spot::Found(_), None) => Ok(None),
        };
        let maybe = |spot: &Option<Spot<'_>>| spot.as_ref().map(word).transpose().map(Option::flatten);
        line(word(&self.key)?, maybe(&self.version)?, maybe(&self.hash)?, maybe(&self.updated_at)?)
    }
}

/// A line of CSV as filters see it: an object of texts.
fn document(names: &[String], row: &[String]) -> Option<Document> {
    let of = |text: &String| serde_json::Value::from(text.as_str());
    let object: serde_json::Map<_, _> =
        names.iter().zip(row).map(|(name, cell)| (name.trim().to_owned(), of(cell))).collect();
    Document::read(&serde_json::to_vec(&object).ok()?).ok()
}

/// What is picked out of a JSON value.
struct Picks<'a> {
    key: Pick<'a>,
    version: Option<Pick<'a>>,
    hash: Option<Pick<'a>>,
    updated_at: Option<Pick<'a>>,
}

enum Pick<'a> {
    Of(&'a Filter),
    Own(Box<Filter>),
}

impl<'a> Picks<'a> {
    fn of(fields: &'a Fields) -> Result<Picks<'a>, String> {
        let pick = |column: &'a Column| match column {
            Column::Found(filter) => Ok(Pick::Of(filter)),
            Column::Named(name) => {
                let name = serde_json::to_string(name).unwrap_or_default();
                Ok::<_, String>(Pick::Own(Box::new(filter(&format!(".[{name}]"))?)))
            }
        };
        let asked = |column: &'a Option<Column>| column.as_ref().map(pick).transpose();
        Ok(Picks {
            key: pick(&fields.key)?,
            version: asked(&fields.version)?,
            hash: asked(&fields.hash)?,
            updated_at: asked(&fields.updated_at)?,
        })
    }

    fn line(&self, value: &Document) -> Result<Line, String> {
        let word = |pick: &Pick<'_>| {
            let filter = match pick {
                Pick::Of(filter) => filter,
                Pick::Own(filter) => &**filter,
            };
            filter.pick(value).map_err(|stuck| stuck.to_string())
        };
        let maybe = |pick: &Option<Pick<'_>>| pick.as_ref().map(word).transpose().map(Option::flatten);
        line(word(&self.key)?, maybe(&self.version)?, maybe(&self.hash)?, maybe(&self.updated_at)?)
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|wrong| wrong.to_string())
}

/// A line of these words.
fn line(
    key: Option<String>,
    version: Option<String>,
    hash: Option<String>,
    updated_at: Option<String>,
) -> Result<Line, String> {
    let said = |word: Option<String>| word.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty());
    let key = said(key).ok_or("it has no key")?;
    if key.len() > WORD_BYTES_MAX {
        return Err(format!("its key has {} bytes, and a key has at most {WORD_BYTES_MAX}", key.len()));
    }
    let version = said(version).map(|word| word.parse().map_err(|_| wrong("the version", &word, "a whole number")));
    let hash = said(hash).map(|word| {
        let bytes = unhex(word.strip_prefix("sha256:").unwrap_or(&word)).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| wrong("the hash", &word, "SHA-256 in hex"))
    });
    let updated_at = said(updated_at).map(|word| time(&word));
    Ok(Line { key, version: version.transpose()?, hash: hash.transpose()?, updated_at: updated_at.transpose()? })
}

/// A time: RFC 3339, or seconds since 1970.
fn time(word: &str) -> Result<WallMs, String> {
    if let Ok(seconds) = word.parse::<u64>() {
        return Ok(WallMs(seconds.saturating_mul(1_000)));
    }
    let is_relative = !word.contains(['-', ':']);
    let at = parse_when(word, Toward::Past, WallMs(0)).ok().filter(|_| !is_relative);
    at.ok_or_else(|| wrong("the time", word, "RFC 3339, nor seconds since 1970"))
}

fn wrong(what: &str, word: &str, expected: &str) -> String {
    format!("{what} {:?} is not {expected}", word.chars().take(QUOTED_CHARS_MAX).collect::<String>())
}
