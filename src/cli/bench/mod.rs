//! `bench`: measures this machine, goniec and the bare limits beside it, in one run on one disk.
//!
//! ```text
//! lives       accepted, sent over a transport that does nothing, delivered    against plain inserts
//! accepts     64 callers, each waiting for its answer                          against Redis streams
//! deliveries  whole lives over HTTP to a sink in another process               against a bare HTTP client
//! batches     lives over HTTP, a hundred a request                              against single deliveries; only when asked for
//! intake      lines over HTTP in requests of 100                               against the library
//! keys        lives with order, and with the latest only                       against none; only when asked for
//! hung        ten destinations over HTTP, one of which hangs                   against the others by themselves; the same
//! slow        100 destinations of 50 ms at concurrency 4                       against the ideal; the same
//! returning   a destination with a rate that comes back to many messages       against its rate; the same
//! rules       lives over HTTP with a rule over the answers                     against none; the same
//! workers     lives at several concurrencies                                   against the least of them; the same
//! shared      messages to three destinations with one body                      against a body each; the same
//! lists       lists, keys, figures and the console of a node with many messages  only when asked for
//! streams     from a backlog of one node into the registry of another            only when asked for
//! reconcile   two registries of many messages that differ in ten               only when asked for
//! manifest    a registry of many messages against a list of as many             only when asked for
//! idle        memory of a node that has nothing to do
//! memory      memory of a node with many messages, and after many more         only when asked for
//! start       how long a node with many messages takes to start                only when asked for
//! binary      the size of this program
//! ```
//!
//! # What holds
//!
//! * What is compared is measured in turns, round by round; what counts is the median of the rounds' ratios.
//! * Every measurement ends, by its count or by its time, whichever is first.
//! * Everything it writes lies in one scratch directory, which goes at the end, as do the processes it started.
//!
//! # What it does not know
//!
//! Whether a figure is good enough for anybody: the goals are printed beside the figures, and no exit code depends on them.

mod accepts;
mod bare;
mod batches;
mod children;
mod crowd;
mod deliveries;
mod intake;
mod keys;
mod lines;
mod lists;
mod lives;
mod local;
mod manifest;
mod measure;
mod node;
mod reconcile;
mod redis;
mod returning;
mod rules;
mod shared;
mod sink;
mod streams;
mod table;
mod waiting;
mod workers;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use self::children::Scratch;
use self::table::Row;
use super::{Fail, NO, USAGE, option, switch, text};

/// A body of ordinary size, in bytes.
const KIB: usize = 1 << 10;
/// Producers of ordinary number.
const PRODUCERS: usize = 4;

/// What is measured, and how long.
struct Plan {
    /// Messages of a round, where the caller says so.
    messages: Option<usize>,
    /// Bytes of a body, where the caller says so.
    size: Option<usize>,
    producers: usize,
    rounds: usize,
    scratch: PathBuf,
}

type Run = fn(&Plan) -> Result<Vec<Row>, Fail>;

/// A part, and whether it runs when none is named.
const PARTS: &[(&str, bool, Run)] = &[
    ("lives", true, lives::run),
    ("accepts", true, accepts::run),
    ("deliveries", true, deliveries::run),
    ("batches", false, batches::run),
    ("intake", true, intake::run),
    ("keys", false, keys::run),
    ("hung", false, crowd::hung),
    ("slow", false, crowd::slow),
    ("returning", false, returning::run),
    ("rules", false, rules::run),
    ("workers", false, workers::run),
    ("shared", false, shared::run),
    ("lists", false, lists::run),
    ("streams", false, streams::run),
    ("reconcile", false, reconcile::run),
    ("manifest", false, manifest::run),
    ("idle", true, waiting::idle),
    ("memory", false, waiting::memory),
    ("start", false, waiting::start),
    ("binary", true, binary),
];

/// The binary's goal, in megabytes.
const BINARY_MB_MAX: f64 = 12.0;

/// The verb.
pub(super) fn verb() -> Command {
    let number = |name, value, help| option(name, value, help).value_parser(clap::value_parser!(u32).range(1..));
    let names: Vec<&'static str> = PARTS.iter().map(|(name, _, _)| *name).collect();
    Command::new("bench")
        .about("Measures this machine: accepts, deliveries, memory, against the bare limits")
        .arg(option("data", "DIR", "Where a scratch directory is made, and removed at the end").default_value("."))
        .arg(number("messages", "N", "Messages of a round, in place of each part's own number"))
        .arg(
            number("size", "BYTES", "Bytes of a body, in place of each part's own")
                .value_parser(clap::value_parser!(u32).range(1..=1 << 20)),
        )
        .arg(number("producers", "N", "Threads that hand in requests of 100").default_value("4"))
        .arg(number("rounds", "N", "How often what is compared is measured in turns").default_value("5"))
        .arg(
            option(
                "only",
                "PART",
                "One part; can be given several times. Only when named run batches, keys, hung, slow, returning, rules, workers, shared, lists, streams, reconcile, manifest, memory and start",
            )
            .action(ArgAction::Append)
            .value_parser(clap::builder::PossibleValuesParser::new(names)),
        )
        .arg(switch("json", "One JSON object a line"))
        .arg(Arg::new("as-sink").long("as-sink").hide(true).action(ArgAction::SetTrue))
}

/// Measures what is asked for, and prints it.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    if arguments.get_flag("as-sink") {
        return sink::run();
    }
    let number =
        |name: &str| arguments.get_one::<u32>(name).map(|number| usize::try_from(*number).unwrap_or(usize::MAX));
    let scratch = Scratch::make(Path::new(text(arguments, "data").unwrap_or(".")))?;
    let plan = Plan {
        messages: number("messages"),
        size: number("size"),
        producers: number("producers").unwrap_or(PRODUCERS),
        rounds: number("rounds").unwrap_or(1),
        scratch: scratch.path().to_owned(),
    };
    let named: Vec<&String> = arguments.get_many("only").into_iter().flatten().collect();
    let mut rows = Vec::new();
    for (name, usual, run) in PARTS {
        if named.iter().any(|wanted| wanted == name) || (named.is_empty() && *usual) {
            rows.extend(run(&plan)?);
        }
    }
    // Gone before anything is printed: a reader that goes away leaves nothing behind.
    scratch.remove()?;
    table::print(&rows, arguments.get_flag("json"))
}

/// The size of this program, as it stands on the disk.
fn binary(_: &Plan) -> Result<Vec<Row>, Fail> {
    let program = this_program()?;
    let bytes = std::fs::metadata(&program).map_err(|error| failed(format!("cannot look at this program: {error}")))?;
    let built = if cfg!(debug_assertions) { "this program, built for debugging" } else { "this program" };
    Ok(vec![Row::at_most("binary", built.into(), "MB", &[megabytes(bytes.len())], BINARY_MB_MAX)])
}

fn this_program() -> Result<PathBuf, Fail> {
    std::env::current_exe().map_err(|error| failed(format!("cannot find this program: {error}")))
}

fn megabytes(bytes: u64) -> f64 {
    measure::float(bytes / 1_000) / 1_000.0
}

fn failed(what: impl Into<String>) -> Fail {
    Fail::new(NO, what)
}

/// Says on standard error how far the run is.
fn progress(line: &str) {
    // Who closed standard error does not want to know.
    drop(writeln!(std::io::stderr().lock(), "bench: {line}"));
}
