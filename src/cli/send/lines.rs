//! `send --ndjson`: one message a line, in several requests at once.
//!
//! # What holds
//!
//! * Lines of one destination and key go through one lane, one request after another: their order is the order of acceptance. Lines without a key have none.
//! * Every line has an idempotency key of its run and its number: what is sent again, in this run or in a later one of the same name, is not doubled.
//! * Every line that was read is accepted, named as refused, or counted as not handed in. A wrong line stops none of the others.
//! * Each line carries `goniec-sequence: RUN/N`, so that a receiver can tell gaps.
//!
//! # What it does not know
//!
//! What becomes of the messages.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::client::{Node, refusal};
use crate::cli::{Fail, NO, UNREACHED, USAGE, say, text, texts, visible};
use crate::source::handed::{self, LINE_BYTES_MAX};

use super::{answered, run_name, source};

/// Requests under way at once.
const LANES: usize = 4;
/// Lines of one request.
const BATCH: usize = 100;
/// Bytes of one request, so that large bodies do not sum up beyond what a node takes.
const BATCH_BYTES: usize = 4 << 20;
/// Refused lines that are named one by one; with more of them, the whole is taken for a mistake and reading stops.
const NAMED_MAX: u64 = 100;

/// A line that is ready to go: its number in the input, and its envelope.
struct Line {
    number: u64,
    envelope: String,
}

/// Lines of one lane that go in one request.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    bytes: usize,
}

/// What became of the lines.
struct Count {
    accepted: u64,
    refused: u64,
    left: u64,
    /// The code and words of the first refusal, and what made the run stop.
    first: Option<Fail>,
    fatal: Option<Fail>,
}

/// The shared side of a run.
struct Run<'a> {
    node: &'a Node,
    count: Mutex<Count>,
    bar: ProgressBar,
}

/// What the run's arguments say of every line that does not say it itself.
struct Defaults {
    run: String,
    fields: Vec<(&'static str, String)>,
}

/// Hands in every line.
pub(super) fn run(arguments: &ArgMatches, node: &Node) -> Result<(), Fail> {
    let defaults = Defaults::of(arguments);
    let (from, bytes) = (source(arguments)?, length(arguments));
    let count = Mutex::new(Count { accepted: 0, refused: 0, left: 0, first: None, fatal: None });
    let run = Run { node, count, bar: bar(bytes) };
    let read = std::thread::scope(|scope| {
        let mut lanes = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            let (to, batches) = sync_channel(1);
            scope.spawn(|| run.lane(batches));
            lanes.push((to, Batch::default()));
        }
        let read = run.read(BufReader::new(from), &defaults, &mut lanes);
        for (to, batch) in lanes {
            run.hand_over(&to, batch);
        }
        read
    });
    run.bar.finish_and_clear();
    let Count { accepted, refused, left, first, fatal } =
        run.count.into_inner().unwrap_or_else(PoisonError::into_inner);
    let name = &defaults.run;
    if arguments.get_flag("json") {
        say(&format!(
            "{{\"accepted\":{accepted},\"refused\":{refused},\"not_handed_in\":{left},\"run\":{}}}",
            Value::from(name.as_str())
        ))?;
    } else {
        say(&format!("{accepted} messages accepted, {refused} refused, {left} not handed in, run {name}"))?;
    }
    let again = format!("Repeat it with --idempotency-key {name}: what was accepted is not doubled.");
    match (fatal, read.err(), first) {
        (Some(fail), ..) => {
            Err(Fail { line: format!("{} ({accepted} messages were accepted)", fail.line), ..fail }.hint(again))
        }
        (None, Some(fail), _) => Err(fail.hint(again)),
        (None, None, Some(fail)) if refused > 1 => {
            Err(Fail { line: format!("{} (and {} more lines were refused)", fail.line, refused - 1), ..fail })
        }
        (None, None, Some(fail)) => Err(fail),
        (None, None, None) => Ok(()),
    }
}

impl Run<'_> {
    /// Reads every line and gives it to its lane.
    fn read(
        &self,
        mut from: impl BufRead,
        defaults: &Defaults,
        lanes: &mut [(SyncSender<Batch>, Batch)],
    ) -> Result<(), Fail> {
        let mut sequence = 0;
        let mut bytes = Vec::new();
        for number in 1_u64.. {
            bytes.clear();
            let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| Fail::new(USAGE, format!("line {number} cannot be read: {error}")))?;
            if read == 0 {
                break;
            }
            if u64::try_from(read).unwrap_or(u64::MAX) == LINE_BYTES_MAX {
                return Err(Fail::new(USAGE, format!("line {number} has more than {LINE_BYTES_MAX} bytes")));
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            sequence += 1;
            match envelope(&bytes, defaults, sequence) {
                Ok((lane, envelope)) => self.queue(lanes, lane, Line { number, envelope }),
                Err(what) => self.refuse(number, Fail::new(USAGE, what)),
            }
            if let Some(why) = self.stop_reading() {
                return Err(why);
            }
        }
        Ok(())
    }

    fn queue(&self, lanes: &mut [(SyncSender<Batch>, Batch)], lane: u64, line: Line) {
        let lane = lane % u64::try_from(lanes.len()).unwrap_or(1).max(1);
        let Some((to, batch)) = usize::try_from(lane).ok().and_then(|lane| lanes.get_mut(lane)) else { return };
        batch.bytes += line.envelope.len();
        batch.lines.push(line);
        if batch.lines.len() >= BATCH || batch.bytes >= BATCH_BYTES {
            self.hand_over(to, std::mem::take(batch));
        }
    }

    fn hand_over(&self, to: &SyncSender<Batch>, batch: Batch) {
        if let Err(unsent) = to.send(batch) {
            self.count().left += len(&unsent.0.lines);
        }
    }

    /// Hands in one batch after another.
    fn lane(&self, batches: Receiver<Batch>) {
        for batch in batches {
            self.batch(&batch.lines);
        }
    }

    /// Hands in the lines; where the node refuses them, by halves, until what is wrong stands alone.
    fn batch(&self, lines: &[Line]) {
        if lines.is_empty() {
            return;
        }
        if self.count().fatal.is_some() {
            self.count().left += len(lines);
            return;
        }
        let bytes = lines.iter().map(|line| line.envelope.len() + 1).sum();
        let mut body = String::with_capacity(bytes);
        for line in lines {
            body.push_str(&line.envelope);
            body.push('\n');
        }
        let headers = [("content-type", "application/x-ndjson")];
        let said = match answered(self.node, "/v1/messages", &headers, body.as_bytes()) {
            Ok(answer) if (200..300).contains(&answer.status) => {
                self.count().accepted += len(lines);
                self.bar.inc(u64::try_from(bytes).unwrap_or(0));
                self.bar.set_message(format!("{} messages", self.count().accepted));
                return;
            }
            Ok(answer) => (answer.status, refusal(answer.status, &answer.body)),
            Err(fail) => (0, fail),
        };
        match (said, lines) {
            ((400 | 404 | 409 | 413 | 415 | 422, fail), [line]) => {
                // The node counts lines from the beginning of its request.
                let words =
                    fail.line.strip_prefix("line 1: ").or(fail.line.strip_prefix("line 1, ")).map(str::to_owned);
                self.refuse(line.number, Fail { line: words.unwrap_or(fail.line), ..fail });
            }
            ((400 | 404 | 409 | 413 | 415 | 422, _), _) => {
                let (one, other) = lines.split_at(lines.len() / 2);
                self.batch(one);
                self.batch(other);
            }
            ((_, fail), _) => {
                let mut count = self.count();
                count.left += len(lines);
                count.fatal.get_or_insert(fail);
            }
        }
    }

    /// Names a line that is wrong.
    fn refuse(&self, number: u64, why: Fail) {
        let why = Fail { line: format!("line {number}: {}", why.line), ..why };
        let mut count = self.count();
        count.refused += 1;
        // The first is told at the end, where nobody misses it.
        if count.first.is_none() {
            count.first = Some(why);
        } else if count.refused <= NAMED_MAX {
            self.bar.suspend(|| eprintln!("goniec: {}", visible(&why.line)));
        }
    }

    /// Why no more lines are read, where that is so.
    fn stop_reading(&self) -> Option<Fail> {
        let count = self.count();
        if count.fatal.is_some() {
            return Some(Fail::new(UNREACHED, "the rest was not read"));
        }
        let first = count.first.as_ref().filter(|_| count.refused > NAMED_MAX)?;
        let line = format!("{}; more than {NAMED_MAX} lines were refused, and the rest was not read", first.line);
        Some(Fail::new(first.code.max(NO), line))
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Defaults {
    fn of(arguments: &ArgMatches) -> Defaults {
        let fields = [
            ("destination", "destination"),
            ("key", "key"),
            ("type", "type"),
            ("content_type", "content-type"),
            ("not_before", "not-before"),
            ("deadline", "deadline"),
        ];
        let given = |(field, name)| text(arguments, name).map(|value| (field, Value::from(value).to_string()));
        let after: Vec<&str> = texts(arguments, "after").collect();
        let after = (!after.is_empty()).then(|| ("after", Value::from(after).to_string()));
        Defaults {
            run: text(arguments, "idempotency-key").map_or_else(run_name, str::to_owned),
            fields: fields.into_iter().filter_map(given).chain(after).collect(),
        }
    }
}

/// The line as an envelope, its body's text untouched; and the lane of its destination and key.
fn envelope(line: &[u8], defaults: &Defaults, sequence: u64) -> Result<(u64, String), String> {
    let line = handed::text(line)?;
    let raw: &RawValue = serde_json::from_str(line).map_err(handed::not_json)?;
    let mut fields: BTreeMap<String, String> = if handed::is_envelope(line) {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(line).map_err(handed::not_json)?;
        fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
    } else {
        BTreeMap::from([("body".to_owned(), raw.get().to_owned())])
    };
    let name = format!("{}/{sequence}", defaults.run);
    let mut headers: BTreeMap<String, String> = match fields.get("headers") {
        Some(headers) => serde_json::from_str(headers).map_err(|error| format!("headers: {error}"))?,
        None => BTreeMap::new(),
    };
    headers.insert("goniec-sequence".into(), name.clone());
    fields.insert("headers".into(), Value::from_iter(headers).to_string());
    for (field, value) in &defaults.fields {
        fields.entry((*field).to_owned()).or_insert_with(|| value.clone());
    }
    fields.entry("idempotency_key".into()).or_insert_with(|| Value::from(name).to_string());
    let lane = match fields.get("key") {
        Some(key) if key != "null" => {
            let mut hasher = DefaultHasher::new();
            (fields.get("destination"), key).hash(&mut hasher);
            hasher.finish()
        }
        // Neighbours share a request.
        Some(_) | None => sequence / u64::try_from(BATCH).unwrap_or(1),
    };
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    Ok((lane, format!("{{{}}}", fields.join(","))))
}

fn len(lines: &[Line]) -> u64 {
    u64::try_from(lines.len()).unwrap_or(u64::MAX)
}

/// The bytes of the input, where it is a file.
fn length(arguments: &ArgMatches) -> Option<u64> {
    let path = text(arguments, "file").filter(|path| *path != "-")?;
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|found| found.len())
}

fn bar(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, form) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{wide_bar} {percent}%  {msg}, {elapsed}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}"),
    };
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(u64, String), String> {
        let fields = vec![("destination", "\"erp\"".to_owned())];
        envelope(line.as_bytes(), &Defaults { run: "r".into(), fields }, 7)
    }

    #[test]
    fn a_body_is_handed_on_byte_for_byte() {
        let (_, envelope) = read("{ \"n\" : 1.50 }").expect("JSON");
        assert!(envelope.contains("\"body\":{ \"n\" : 1.50 }"), "{envelope}");
        assert!(envelope.contains("\"idempotency_key\":\"r/7\"") && envelope.contains("\"destination\":\"erp\""));
    }

    #[test]
    fn what_the_line_says_itself_stands() {
        let (_, envelope) = read(r#"{"body":1,"destination":"shop","idempotency_key":"mine"}"#).expect("JSON");
        assert!(envelope.contains("\"destination\":\"shop\"") && envelope.contains("\"idempotency_key\":\"mine\""));
    }

    #[test]
    fn a_key_has_one_lane() {
        let lane = |line: &str| read(line).expect("JSON").0;
        assert_eq!(lane(r#"{"body":1,"key":"a"}"#), lane(r#"{"body":2,"key":"a"}"#));
        assert_ne!(lane(r#"{"body":1,"key":"a"}"#), lane(r#"{"body":1,"key":"b"}"#));
        assert_ne!(lane(r#"{"body":1,"key":"a"}"#), lane(r#"{"body":1,"key":"a","destination":"shop"}"#));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_column() {
        assert!(read("nonsense").is_err_and(|what| what.starts_with("column 2: not JSON")));
        assert!(read("{\"a\":}").is_err_and(|what| what.starts_with("column 6: not JSON")));
        let bad = envelope(b"{\"a\":\"\xff\"}", &Defaults { run: "r".into(), fields: Vec::new() }, 1);
        assert_eq!(bad, Err("byte 7 is not UTF-8".into()));
    }
}
