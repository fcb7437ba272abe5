//! A manifest: what a system says that it has, a line for each key, read from a URL or a file as it comes.
//!
//! # What holds
//!
//! * A manifest counts whole or not at all: one that is cut off, changes while it is read, or has a line that cannot be understood is an error that
//!   names the line. What is missing in a list that is not whole would be sent again in vain.
//! * However long it is, a line and, of a JSON document, [`DOCUMENT_BYTES_MAX`] bytes lie in memory, and it ends after [`MANIFEST_BYTES_MAX`].
//!
//! # What it does not know
//!
//! What is believed to be there.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::STOPS;
use super::report::Report;
use super::rows::{csv, json, ndjson};
use crate::model::WallMs;
use crate::model::media::{essence, is_json};
use crate::transport::Transport;
use crate::transport::filter::Filter;
use crate::transport::http::Http;

/// The most bytes of a manifest.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 30;
/// The most bytes of one that is a JSON document.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// The most bytes of one line.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// The bytes of SHA-256.
pub(super) const HASH_BYTES: usize = 32;
/// How long one may take to come.
const WITHIN: Duration = Duration::from_secs(600);

/// Where a manifest is, and how it is read.
#[derive(Debug)]
pub struct Manifest {
    /// Where it is.
    pub origin: Origin,
    /// How it is written; told by its content type or the end of its name where `None`.
    pub format: Option<Format>,
    /// What its lines say.
    pub fields: Fields,
}

/// Where a manifest is.
#[derive(Debug)]
pub enum Origin {
    /// At a URL, read by `GET`.
    Url(Box<Http>, String),
    /// In a file of this machine.
    File(PathBuf),
}

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines of cells, the first of which names them.
    Csv,
    /// A JSON value a line.
    Ndjson,
    /// One JSON value.
    Json,
}

/// What the lines of a manifest say, and where.
#[derive(Debug)]
pub struct Fields {
    /// The lines in a JSON document; the document itself where `None`.
    pub items: Option<Filter>,
    /// The business key.
    pub key: Column,
    /// The version, a whole number.
    pub version: Option<Column>,
    /// SHA-256 of the body, in hex.
    pub hash: Option<Column>,
    /// When the system last changed it.
    pub updated_at: Option<Column>,
}

/// Where a word of a line stands.
#[derive(Debug)]
pub enum Column {
    /// In the cell, or the field, of this name.
    Named(String),
    /// Where the filter finds it.
    Found(Filter),
}

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The business key. Not empty.
    pub key: String,
    /// The version.
    pub version: Option<u64>,
    /// SHA-256 of the body.
    pub hash: Option<[u8; HASH_BYTES]>,
    /// When it was last changed there.
    pub updated_at: Option<WallMs>,
}

impl Format {
    /// All of them, with their names.
    pub const NAMES: [(Format, &'static str); 3] =
        [(Format::Csv, "csv"), (Format::Ndjson, "ndjson"), (Format::Json, "json")];

    /// What a content type says.
    fn of_type(content_type: &str) -> Option<Format> {
        match essence(content_type).as_str() {
            "text/csv" | "application/csv" => Some(Format::Csv),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Format::Ndjson)
            }
            name => is_json(name).then_some(Format::Json),
        }
    }

    /// What the end of a name says.
    fn of_name(name: &str) -> Option<Format> {
        let (_, end) = name.split(['?', '#']).next().unwrap_or_default().rsplit_once('.')?;
        match end.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

impl Manifest {
    /// Reads it to its end, and gives each line; `go_on` is asked before each. The answer is how many there were.
    ///
    /// # Errors
    /// It is not there, or not whole, or not what it should be: in words. Lines that were given before do not count then.
    pub fn read(
        &self,
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(Line) -> Result<(), String>,
    ) -> Result<u64, String> {
        let mut given = |line: Line| if go_on() { each(line) } else { Err(STOPS.into()) };
        match &self.origin {
            Origin::Url(http, url) => {
                let mut answer = http.fetch(WITHIN).map_err(|failure| failure.detail)?;
                let told = answer.content_type.as_deref().and_then(Format::of_type);
                let format = self.format.or(told).or_else(|| Format::of_name(url));
                let is_bounded = answer.is_bounded;
                let read = self.lines(format, &mut answer, is_bounded, &mut given);
                read.map_err(|why| http.discreet_text(&why))
            }
            Origin::File(path) => self.file(path, &mut given),
        }
    }

    /// The report without what the other side was shown, and sends back as a key.
    pub(super) fn discreet(&self, mut report: Report) -> Report {
        if let Origin::Url(http, _) = &self.origin {
            let samples = report.unexpected.samples.iter_mut();
            samples.for_each(|sample| sample.key = http.discreet_text(&sample.key));
        }
        report
    }

    /// Cuts off what is being read, and reads nothing more.
    pub fn shutdown(&self) {
        match &self.origin {
            Origin::Url(http, _) => http.shutdown(),
            Origin::File(_) => {}
        }
    }

    fn file(&self, path: &Path, each: &mut dyn FnMut(Line) -> Result<(), String>) -> Result<u64, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        // A pipe is not even opened: that would wait for whoever writes into it.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        let mut file = File::open(path).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        let format = self.format.or_else(|| Format::of_name(&path.to_string_lossy()));
        let count = self.lines(format, &mut file, false, each)?;
        let after = file.metadata().map_err(failed)?;
        if (before.len(), before.modified().ok()) != (after.len(), after.modified().ok()) {
            return Err(format!(
                "{} was written while it was read; rename a finished file into its place",
                path.display()
            ));
        }
        Ok(count)
    }

    fn lines(
        &self,
        format: Option<Format>,
        from: &mut dyn Read,
        is_bounded: bool,
        each: &mut dyn FnMut(Line) -> Result<(), String>,
    ) -> Result<u64, String> {
        match format {
            Some(Format::Csv) => csv(from, is_bounded, &self.fields, each),
            Some(Format::Ndjson) => ndjson(from, is_bounded, &self.fields, each),
            Some(Format::Json) => json(from, &self.fields, each),
            None => Err("neither its content type nor its name says how it is written; set `format`".into()),
        }
    }
}
