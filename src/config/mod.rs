//! The configuration file: TOML in, settings and destinations out. Everything that is wrong is said at once, each with its line and column.
//!
//! ```text
//! text ─▶ read (against the table of rules) ─▶ fields ─▶ build ─▶ Config
//! ```
//!
//! # What holds
//!
//! * Every key stands in one table (`rules`): what it takes, its default, what it is for. `docs/configuration.md` is printed from it.
//! * An unknown key is an error that names the nearest known one; a duration and a size need a unit.
//! * A secret comes from the environment or a file, and is never printed.
//!
//! # What it does not know
//!
//! Servers and stores: it hands out plain values.

mod build;
mod fields;
mod print;
mod read;
mod rules;
mod text;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::admin::reconcile::Plan;
use crate::engine::{Destination, Rule, Settings};
use crate::source::{Peer, Sources};
use crate::transport::secret::{Secret, Shelf};

pub use crate::model::role::Role;
pub use print::{limits, reference};
pub use value::parse_size;

/// The destination that every node has, whose messages become lines of the log.
pub const LOG: &str = "log";
/// Where the configuration is looked for when nobody says where, in this order.
pub const PLACES: [&str; 2] = ["goniec.toml", "/etc/goniec/goniec.toml"];
/// The variable that says where.
pub const VARIABLE: &str = "GONIEC_CONFIG";

/// What a node is configured to be.
#[derive(Debug, Default)]
pub struct Config {
    /// The file that it was read from; `None` where there is none, and the defaults hold.
    pub path: Option<PathBuf>,
    /// Where it listens, where the file says so.
    pub listen: Option<SocketAddr>,
    /// Where people reach the node, for links and behind a proxy.
    pub url: Option<String>,
    /// Who may call; anyone on this machine where empty.
    pub tokens: Vec<Token>,
    /// The directory of the registry, where the file says so.
    pub data: Option<String>,
    /// Limits and retention.
    pub settings: Settings,
    /// The destinations.
    pub destinations: Vec<Destination>,
    /// The ways to other registries; whoever runs the destinations gives them the engine.
    pub peers: Vec<Peer>,
    /// Who hands in by itself, and what of it goes where.
    pub sources: Arc<Sources>,
    /// What destinations say that they have, and when that is looked at.
    pub reconcile: Vec<Plan>,
    /// Who is told of what. Empty leaves it to the log.
    pub alerts: Vec<Rule>,
    /// Where rotating refresh tokens are kept; whoever runs the destinations opens it.
    pub shelf: Shelf,
    /// What is sound but may surprise: a line each.
    pub warnings: Vec<String>,
}

/// A bearer token.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whom changes are ascribed to.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// What the requests bear.
    pub secret: Secret,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the environment variable.
    pub source: String,
    /// Line and column, from 1; `None` where it has no place in a file.
    pub at: Option<(usize, usize)>,
    /// What is wrong, with the path of the key.
    pub what: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// Where the texts come from that are not in the file.
pub trait Outside {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The names of the environment variables that begin so.
    fn variables(&self, prefix: &str) -> Vec<String>;
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// The environment of this process and the files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Outside for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn variables(&self, prefix: &str) -> Vec<String> {
        std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

impl Config {
    /// Reads the configuration: from `path`, else where [`VARIABLE`] says, else from the first of [`PLACES`] that is there, else none;
    /// what the environment sets wins over the file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn find(path: Option<&Path>, outside: &dyn Outside) -> Result<Config, Vec<Problem>> {
        let said = path.map(Path::to_owned).or_else(|| outside.variable(VARIABLE).map(PathBuf::from));
        let found = said.or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.exists()));
        let Some(path) = found else { return Config::parse("", "", outside) };
        let source = path.display().to_string();
        let text = outside.file(&source).map_err(|why| {
            vec![Problem {
                source: source.clone(),
                at: None,
                what: format!("cannot be read: {why}"),
                hint: String::new(),
            }]
        })?;
        let config = Config::parse(&text, &source, outside)?;
        Ok(Config { path: Some(path), ..config })
    }

    /// Reads the text of a configuration file; `source` names it in what is said of it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(text: &str, source: &str, outside: &dyn Outside) -> Result<Config, Vec<Problem>> {
        let (fields, mut problems) = read::read(text, source, outside);
        let config = build::build(&fields, &mut problems);
        problems.sort_by_key(|problem| problem.at);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Adds a destination, unless the file has one of this name.
    pub fn add(&mut self, destination: Destination) {
        if !self.destinations.iter().any(|known| Arc::as_ref(&known.name) == Arc::as_ref(&destination.name)) {
            self.destinations.push(destination);
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.source, self.what)?,
            None => write!(f, "{}: {}", self.source, self.what)?,
        }
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.hint) }
    }
}

#[cfg(test)]
mod tests;
