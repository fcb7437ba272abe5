//! A file as records: lines, rows of a table, or the whole as one. Read as a stream, from any record on.
//!
//! # What holds
//!
//! * No more than one record lies in memory, and none is longer than its limit.
//! * What is wrong is named by its line.
//!
//! # What it does not know
//!
//! What a record means, and where it goes. Tables are those of RFC 4180, with any one letter between the fields.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::handed::{self, LINE_BYTES_MAX};
use crate::engine::REQUEST_BYTES_MAX;
use crate::model::csv::fields;

/// How the records of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One message a line.
    Lines,
    /// A table with a head: each row is a JSON object.
    Table(u8),
    /// One body of JSON.
    Json,
    /// One body of this type, whatever it is.
    Whole(&'static str),
}

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// A line, or a body.
    pub(super) bytes: Vec<u8>,
}

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The disk's own.
    Disk(io::Error),
    /// What is wrong with the file, and on which line.
    Malformed(String),
}

/// The records of a file, one after another.
pub(super) struct Records<R> {
    from: R,
    form: Form,
    place: Spot,
    /// The names of a table's fields.
    head: Vec<String>,
}

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spot {
    /// So many bytes of it.
    pub(super) bytes: u64,
    /// So many lines of it.
    pub(super) lines: u64,
    /// So many records.
    pub(super) records: u64,
}

impl Form {
    /// The form of a file with this name, where this letter stands between the fields of a table.
    pub(super) fn of(name: &OsStr, separator: u8) -> Form {
        let suffix = Path::new(name).extension().map(|suffix| suffix.to_string_lossy().to_ascii_lowercase());
        match suffix.as_deref() {
            Some("ndjson" | "jsonl") => Form::Lines,
            Some("csv") => Form::Table(separator),
            Some("json") => Form::Json,
            Some("xml") => Form::Whole("application/xml"),
            Some(_) | None => Form::Whole("application/octet-stream"),
        }
    }

    /// The content type of its bodies, where that does not stand in the records themselves.
    pub(super) fn content_type(self) -> Option<&'static str> {
        match self {
            Form::Lines => None,
            Form::Table(_) | Form::Json => Some("application/json"),
            Form::Whole(content_type) => Some(content_type),
        }
    }
}

impl<R: BufRead> Records<R> {
    /// The records of what is read from its beginning; the head of a table is read at once.
    pub(super) fn new(from: R, form: Form) -> Result<Records<R>, Wrong> {
        let mut records = Records { from, form, place: Spot::default(), head: Vec::new() };
        if let Form::Table(separator) = form {
            let head = records.row(separator)?;
            (_, records.head) = head.ok_or_else(|| malformed(1, "a table begins with the names of its fields"))?;
            records.check_head()?;
        }
        Ok(records)
    }

    /// How far the file was read.
    pub(super) fn spot(&self) -> Spot {
        self.place
    }

    /// What is read.
    pub(super) fn inner(&mut self) -> &mut R {
        &mut self.from
    }

    /// Goes on from this spot, to which the file has been wound.
    pub(super) fn goes_on_at(&mut self, spot: Spot) {
        self.place = spot;
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Wrong> {
        let next = match self.form {
            Form::Lines => self.line(),
            Form::Table(separator) => {
                let row = self.row(separator)?;
                row.map(|(line, row)| self.object(line, row)).transpose()
            }
            Form::Json => self.whole().and_then(|whole| whole.map(checked).transpose()),
            Form::Whole(_) => self.whole(),
        }?;
        self.place.records += u64::from(next.is_some());
        Ok(next)
    }

    /// The next line that is not empty.
    fn line(&mut self) -> Result<Option<Record>, Wrong> {
        loop {
            let line = self.place.lines + 1;
            let Some(bytes) = self.raw_line(LINE_BYTES_MAX)? else { return Ok(None) };
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Record { line, bytes }));
            }
        }
    }

    /// The next line with its end, of at most so many bytes.
    fn raw_line(&mut self, bytes_max: u64) -> Result<Option<Vec<u8>>, Wrong> {
        let mut bytes = Vec::new();
        let read = self.from.by_ref().take(bytes_max).read_until(b'\n', &mut bytes).map_err(Wrong::Disk)?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if read == bytes_max && bytes.last() != Some(&b'\n') {
            return Err(malformed(self.place.lines + 1, &format!("it has more than {bytes_max} bytes")));
        }
        self.place.bytes += read;
        self.place.lines += u64::from(read > 0);
        Ok((read > 0).then_some(bytes))
    }

    /// All of it, once.
    fn whole(&mut self) -> Result<Option<Record>, Wrong> {
        if self.place.lines > 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.from.by_ref().take(REQUEST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Wrong::Disk)?;
        let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if read > REQUEST_BYTES_MAX {
            return Err(Wrong::Malformed(format!(
                "it has more than the {REQUEST_BYTES_MAX} bytes that a message can have"
            )));
        }
        self.place = Spot { bytes: read, lines: 1, ..self.place };
        Ok(Some(Record { line: 1, bytes }))
    }

    /// The fields of the next row that is not an empty line, and the line on which it begins. A quoted field may go over several lines.
    fn row(&mut self, separator: u8) -> Result<Option<(u64, Vec<String>)>, Wrong> {
        let mut bytes = Vec::new();
        let (mut first, mut is_quoted) = (self.place.lines + 1, false);
        loop {
            let bytes_max = LINE_BYTES_MAX.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).max(1);
            let Some(line) = self.raw_line(bytes_max)? else {
                let is_over = bytes.is_empty();
                return if is_over { Ok(None) } else { Err(malformed(first, "a quote that is opened is not closed")) };
            };
            is_quoted ^= line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            bytes.extend_from_slice(&line);
            if first == 1 && self.place.lines == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            if is_quoted {
                continue;
            }
            let row = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let row = row.strip_suffix(b"\r").unwrap_or(row);
            if !row.is_empty() {
                let text = handed::text(row).map_err(|wrong| malformed(first, &wrong))?;
                let fields = fields(text, char::from(separator)).map_err(|wrong| malformed(first, &wrong))?;
                return Ok(Some((first, fields)));
            }
            bytes.clear();
            first = self.place.lines + 1;
        }
    }

    fn check_head(&self) -> Result<(), Wrong> {
        let mut names: Vec<&String> = self.head.iter().collect();
        names.sort_unstable();
        if names.first().is_some_and(|name| name.is_empty()) {
            return Err(malformed(1, "a field of the head has no name"));
        }
        match names.array_windows().find(|[one, next]| one == next) {
            Some([name, _]) => Err(malformed(1, &format!("two fields of the head have the name {name:?}"))),
            None => Ok(()),
        }
    }

    /// A row as a JSON object of texts, in the order of the head.
    fn object(&self, line: u64, row: Vec<String>) -> Result<Record, Wrong> {
        let (fields, expected) = (row.len(), self.head.len());
        if fields != expected {
            return Err(malformed(line, &format!("it has {fields} fields, and the head has {expected}")));
        }
        let pair = |(name, value): (&String, String)| format!("{}:{}", Value::from(name.as_str()), Value::from(value));
        let pairs: Vec<String> = self.head.iter().zip(row).map(pair).collect();
        Ok(Record { line, bytes: format!("{{{}}}", pairs.join(",")).into_bytes() })
    }
}

/// The record, where it is JSON.
fn checked(record: Record) -> Result<Record, Wrong> {
    let json = handed::text(&record.bytes).map_err(Wrong::Malformed)?;
    let read: Result<&RawValue, _> = serde_json::from_str(json);
    match read {
        Ok(_) => Ok(record),
        Err(error) => Err(malformed(u64::try_from(error.line()).unwrap_or(0), &handed::not_json(error))),
    }
}

pub(super) fn malformed(line: u64, what: &str) -> Wrong {
    Wrong::Malformed(format!("line {line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let said = |wrong| match wrong {
            Wrong::Malformed(what) => what,
            Wrong::Disk(error) => error.to_string(),
        };
        let mut records = Records::new(bytes, Form::of(OsStr::new(name), b',')).map_err(said)?;
        let mut all = Vec::new();
        while let Some(Record { line, bytes }) = records.next().map_err(said)? {
            all.push((line, String::from_utf8(bytes).expect("text")));
        }
        assert_eq!(records.spot().bytes, u64::try_from(bytes.len()).expect("small"));
        Ok(all)
    }

    fn one(line: u64, text: &str) -> (u64, String) {
        (line, text.to_owned())
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(read("a.ndjson", b"1\n\n 2 \r\n3"), Ok(vec![one(1, "1\n"), one(3, " 2 \r\n"), one(4, "3")]));
        assert_eq!(read("a.JSONL", b""), Ok(Vec::new()));
    }

    #[test]
    fn a_row_is_an_object_of_texts() {
        let table = "\u{feff}sku,name\r\n1,\"a \"\"b\"\", c\"\r\n\r\n2,\"two\nlines\"\n3,\n\"4\",\u{17c}";
        let rows = [
            one(2, r#"{"sku":"1","name":"a \"b\", c"}"#),
            one(4, r#"{"sku":"2","name":"two\nlines"}"#),
            one(6, r#"{"sku":"3","name":""}"#),
            one(7, "{\"sku\":\"4\",\"name\":\"\u{17c}\"}"),
        ];
        // The empty line counts as a line.
        assert_eq!(read("a.csv", table.as_bytes()), Ok(rows.to_vec()));
    }

    #[test]
    fn a_table_that_is_none_is_told_by_line() {
        for (table, says) in [
            ("", "line 1: a table begins"),
            ("a,a\n1,2", "line 1: two fields of the head have the name \"a\""),
            ("a,\n1,2", "line 1: a field of the head has no name"),
            ("a,b\n1,2\n1\n", "line 3: it has 1 fields, and the head has 2"),
            ("a,b\n1,2\n\"1,2\n3,4\n", "line 3: a quote that is opened is not closed"),
            ("a,b\nx\"\",2\n", "line 2: a quote stands within"),
            ("a,b\n\"x\"y,2\n", "line 2: something stands behind"),
        ] {
            let said = read("a.csv", table.as_bytes()).expect_err(says);
            assert!(said.starts_with(says), "{table:?}: {said}");
        }
        assert_eq!(read("a.csv", b"a\n\xff\n"), Err("line 2: byte 1 is not UTF-8".into()));
    }

    #[test]
    fn the_rest_is_one_body() {
        assert_eq!(read("a.json", b"{\"a\":\n 1}"), Ok(vec![one(1, "{\"a\":\n 1}")]));
        assert!(read("a.json", b"{\"a\":\n 1").is_err_and(|said| said.starts_with("line 2: column")));
        assert!(read("a.json", b"").is_err());
        assert_eq!(read("a", b"anything\n"), Ok(vec![one(1, "anything\n")]));
        let forms = ["a.csv", "a.xml", "b.dat", ".ndjson"].map(|name| Form::of(OsStr::new(name), b';'));
        let octets = Form::Whole("application/octet-stream");
        assert_eq!(forms, [Form::Table(b';'), Form::Whole("application/xml"), octets, octets]);
    }
}
