//! `sink`: a destination to test against, which can misbehave, and reports duplicates and gaps.
//!
//! It answers every request that came whole with 200. Flags, the lines of a script and a header of the request itself say otherwise, in one language
//! (`docs/sink.md`): `503 retry-after 30`, `reset at head`, `200 body '{"ok":false}' drip 1s`. What it answered with a yes counts as taken.
//!
//! ```text
//! words   the words of a line       script  which request     peer    listens          ledger  what was taken
//! manner  what is done with it      answer  what is sent      line    one connection
//! ```
//!
//! # What it does not know
//!
//! goniec: it sees requests, as any destination does.

mod answer;
mod ledger;
mod line;
mod manner;
mod peer;
mod script;
mod words;

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use clap::ArgMatches;

use crate::model::span::parse_span_ms;

pub use ledger::Figures;
pub use line::DO;
pub use manner::{End, Manner, Moment};
pub use peer::Sink;
pub use script::{CERTAIN, Misread, Script};
pub use words::Wrong;

use super::{Fail, NO, USAGE, say, text};

/// How often it reports, where anything has changed.
const REPORT: Duration = Duration::from_secs(1);

/// Serves until it is stopped or has what it expects; prints its figures whenever they change, and at the end.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let usage = |what: String| Fail::new(USAGE, what);
    let script = script(arguments)?;
    let seed = script.seed;
    let expected = arguments.get_one::<u64>("expect").copied();
    let ledger = match text(arguments, "ledger") {
        None => None,
        Some(path) => {
            let file = File::create(path).map_err(|error| usage(format!("cannot write {path}: {error}")))?;
            Some(Box::new(file) as Box<dyn Write + Send>)
        }
    };
    let listen = text(arguments, "listen").unwrap_or("127.0.0.1:9000");
    let sink = Sink::start(listen, script, ledger).map_err(|error| {
        usage(format!("cannot listen on {listen}: {error}")).hint("Choose another address with --listen.")
    })?;
    ctrlc::set_handler(sink.stopper()).map_err(|error| usage(format!("cannot listen to signals: {error}")))?;
    say(&format!("sink listens on http://{}, seed {seed}", sink.addr()))?;
    let enough = |figures: &Figures| expected.is_some_and(|expected| figures.distinct >= expected);
    let mut last = Figures::default();
    let came = loop {
        let came = sink.wait(REPORT, enough);
        let figures = sink.figures();
        if figures != last {
            say(&spoken(&figures))?;
            last = figures;
        }
        if came || sink.is_stopped() {
            break came;
        }
    };
    match expected {
        None => Ok(()),
        Some(expected) if !came => Err(Fail::new(NO, format!("{} of {expected} messages came", last.distinct))),
        Some(_) if last.gaps > 0 || last.duplicates > 0 => {
            Err(Fail::new(NO, format!("{} gaps, {} duplicates", last.gaps, last.duplicates)))
        }
        Some(_) => Ok(()),
    }
}

/// The script of the file, and below it what the flags say.
fn script(arguments: &ArgMatches) -> Result<Script, Fail> {
    let usage = |what: String| Fail::new(USAGE, what);
    let part = |name: &str| match text(arguments, name).map(|given| (given, script::rate(given))) {
        None => Ok(0),
        Some((_, Some(rate))) => Ok(rate),
        Some((given, None)) => Err(usage(format!("--{name} {given:?} is no rate")).hint("Write it as 20%, or as 0.2.")),
    };
    let mut script = match text(arguments, "script") {
        None => Script::parse(""),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| usage(format!("cannot read {path}: {error}")))?;
            Script::parse(&text)
        }
    }
    .map_err(|misread| {
        let path = text(arguments, "script").unwrap_or_default();
        usage(format!("{path}:{misread}")).hint("docs/sink.md has the words, and examples.")
    })?;
    script.latency = match text(arguments, "latency").map(parse_span_ms) {
        None => Duration::ZERO,
        Some(Ok(latency_ms)) => Duration::from_millis(latency_ms),
        Some(Err(wrong)) => return Err(usage(format!("--latency: {wrong}"))),
    };
    script.seed = arguments.get_one::<u64>("seed").copied().unwrap_or(script.seed);
    let (fail, reset) = (part("fail")?, part("reset")?);
    if fail + reset > CERTAIN {
        return Err(usage("--fail and --reset are more than all requests together".into()));
    }
    let status = text(arguments, "status").unwrap_or("503");
    let wrong = |flag: &'static str| {
        move |wrong: Wrong| Fail::new(USAGE, format!("--{flag}: column {}: {wrong}", wrong.column))
    };
    script = script.rule(Some(reset), Manner { end: End::Reset, ..Manner::default() });
    script = script.rule(Some(fail), Manner::parse(status).map_err(wrong("status"))?);
    match text(arguments, "do").map(Manner::parse) {
        None => Ok(script),
        Some(manner) => Ok(script.rule(None, manner.map_err(wrong("do"))?)),
    }
}

fn spoken(figures: &Figures) -> String {
    let Figures { requests, taken, distinct, duplicates, gaps, failed, reset } = *figures;
    format!(
        "{{\"requests\":{requests},\"taken\":{taken},\"distinct\":{distinct},\"duplicates\":{duplicates},\"gaps\":{gaps},\
         \"failed\":{failed},\"reset\":{reset}}}"
    )
}
