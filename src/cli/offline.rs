//! `verify` and `salvage`: the verbs that open a stopped registry themselves.
//!
//! # What it does not know
//!
//! How a registry is written.

use std::path::Path;

use clap::ArgMatches;

use crate::engine::salvaged;
use crate::error::Error;
use crate::store::sled::{Options, repair as mend, salvage as carry_over, verify as read_all};

use super::{Fail, NO, say, text};

/// `verify`: exit 1 where anything is wrong; with `--repair`, where anything still is.
pub(super) fn verify(arguments: &ArgMatches) -> Result<(), Fail> {
    let data = text(arguments, "data").unwrap_or("goniec-data");
    if !Path::new(data).is_dir() {
        return Err(Fail::new(NO, format!("there is no registry in {data}")));
    }
    let is_repair = arguments.get_flag("repair");
    let found = if is_repair {
        let done = mend(Path::new(data), &Options::default()).map_err(Error::Store)?;
        for mended in &done.mended {
            say(&format!("mended: {mended}"))?;
        }
        done.left
    } else {
        read_all(Path::new(data), Options::default().cache_bytes).map_err(Error::Store)?
    };
    for problem in &found.problems {
        say(&super::visible(problem))?;
    }
    if found.problems.is_empty() {
        return say(&format!("{} messages, all of them sound", found.messages));
    }
    let salvage = format!("`goniec salvage {data} --into NEW` carries over what can be read.");
    let hint = if is_repair {
        salvage
    } else {
        format!("`goniec verify --repair --data {data}` mends what follows from the rest; {salvage}")
    };
    Err(Fail::new(NO, format!("{} problems among {} messages", found.problems.len(), found.messages)).hint(hint))
}

/// `salvage`: exit 1 where anything is missing.
pub(super) fn salvage(arguments: &ArgMatches) -> Result<(), Fail> {
    let (from, into) = (text(arguments, "dir").unwrap_or_default(), text(arguments, "into").unwrap_or_default());
    let done = carry_over(Path::new(from), Path::new(into), Options::default(), &salvaged).map_err(Error::Store)?;
    for missing in &done.missing {
        say(&format!("missing: {}", super::visible(missing)))?;
    }
    say(&format!(
        "{} messages carried over into {into}, {} of them held because their status was lost",
        done.messages, done.held
    ))?;
    if done.missing.is_empty() { Ok(()) } else { Err(Fail::new(NO, "not everything could be carried over")) }
}
