//! `export` and `import`: a stopped registry as lines of JSON, and a registry out of them.
//!
//! # What it does not know
//!
//! What the lines say.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal};
use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::is_bound_to_node;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::sled::{Exported, Options, export as write_out, import as read_in};

use super::{Fail, NO, STORE, USAGE, option, text};

/// How much is written at once.
const WRITE_BYTES: usize = 1 << 20;
/// Where registries are, if nobody says otherwise.
const DATA: &str = "goniec-data";

/// Both verbs.
pub(super) fn verbs() -> [Command; 2] {
    [
        Command::new("export")
            .about("Writes a stopped registry to standard output: every message with its life, one JSON object a line")
            .arg(option("data", "DIR", "The registry; goniec-data by default")),
        Command::new("import")
            .about("Makes a registry out of an export")
            .arg(option("data", "DIR", "The new registry; it must not exist or be empty; goniec-data by default"))
            .arg(Arg::new("file").value_name("FILE").default_value("-").help("The export; - for standard input")),
    ]
}

/// `export`.
pub(super) fn export(arguments: &ArgMatches) -> Result<(), Fail> {
    let data = text(arguments, "data").unwrap_or(DATA);
    if !Path::new(data).is_dir() {
        return Err(Fail::new(NO, format!("there is no registry in {data}")));
    }
    let bar = bar(None);
    let mut to = BufWriter::with_capacity(WRITE_BYTES, std::io::stdout().lock());
    let each = &mut |done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
    };
    let done = write_out(Path::new(data), Options::default().cache_bytes, &mut to, each);
    bar.finish_and_clear();
    if let Err(StoreError::Io(error)) = &done {
        // What is written to is somebody else's disk, or a reader that has gone away.
        return Err(Fail::new(STORE, format!("the export broke off: {error}")));
    }
    let done = done.map_err(Error::Store)?;
    tell(&done, &format!("exported from {data}"));
    Ok(())
}

/// `import`.
pub(super) fn import(arguments: &ArgMatches) -> Result<(), Fail> {
    let data = text(arguments, "data").unwrap_or(DATA);
    let from = text(arguments, "file").unwrap_or("-");
    let open = |error: std::io::Error| Fail::new(USAGE, format!("{from} cannot be opened: {error}"));
    let (mut from, bytes): (Box<dyn BufRead>, Option<u64>) = match from {
        "-" => (Box::new(std::io::stdin().lock()), None),
        path => {
            let file = File::open(path).map_err(open)?;
            let bytes = file.metadata().map_err(open)?.len();
            (Box::new(BufReader::with_capacity(WRITE_BYTES, file)), Some(bytes))
        }
    };
    let bar = bar(bytes);
    let mut from = bar.wrap_read(&mut from);
    let mut from = BufReader::with_capacity(WRITE_BYTES, &mut from);
    let done = read_in(&mut from, Path::new(data), Options::default(), &|note| !is_bound_to_node(&note.key));
    bar.finish_and_clear();
    if let Err(StoreError::Foreign(what)) = &done
        && what.starts_with("line ")
    {
        let hint = format!("Nothing is in {data}. Export the registry again, or bring the file over again.");
        return Err(Fail::new(NO, what.clone()).hint(hint));
    }
    let done = done.map_err(Error::Store)?;
    tell(&done, &format!("imported into {data}"));
    Ok(())
}

/// On the standard error: the standard output may be the export.
fn tell(done: &Exported, what: &str) {
    let Exported { messages, bodies, notes } = done;
    eprintln!("{messages} messages with {bodies} bodies, and {notes} notes, {what}");
}

fn bar(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
    match ProgressStyle::with_template("{wide_bar} {percent}%  {elapsed}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
