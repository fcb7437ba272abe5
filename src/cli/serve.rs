//! `serve`: opens the registry, starts the engine and the server, and ends both when asked to.
//!
//! The first signal ends cleanly: nothing new is taken, what is out comes home within a limit, exit 0. The second ends at once,
//! which is safe, because everything acknowledged is durable. A store that failed ends the process with exit code 4.
//!
//! # What it does not know
//!
//! How the parts work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::ArgMatches;

use crate::config::{Config, LOG, PLACES, Process, Role, Token, VARIABLE, limits};
use crate::engine::{Destination, Engine, LogLine, Rule};
use crate::error::Error;
use crate::model::Message;
use crate::server::ServerConfig;
use crate::source::{UNROUTED, Unrouted};
use crate::store::sled::{Options, SledStore};
use crate::transport::http::Http;
use crate::transport::secret::Secret;

use super::beside::Beside;
use super::notify::Manager;
use super::reconcile::Reconciling;
use super::{Fail, STORE, USAGE, say, text};

/// How long requests and deliveries that are under way may take to end.
const REQUESTS_LIMIT: Duration = Duration::from_secs(5);
const DELIVERIES_LIMIT: Duration = Duration::from_secs(18);
/// No second line of one cause within so many milliseconds.
const LOG_DIGEST_MS: u64 = 600_000;
/// How often a signal or a failure is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the node until a signal.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    super::allocator::settle();
    super::journal::begin();
    let signals = signals()?;
    let mut config = configured(arguments)?;
    for warning in &config.warnings {
        log::warn!("{}", super::visible(warning));
    }
    destinations(arguments, &mut config)?;
    let first = config.destinations.first().map(|destination| destination.name.to_string()).unwrap_or_default();
    let data = text(arguments, "data").map(str::to_owned).or(config.data.take());
    let data = data.as_deref().unwrap_or("goniec-data");
    config.shelf.open(Path::new(data).join("tokens"));
    let unrouted = Unrouted::new(config.sources.clone());
    if !config.sources.sources.is_empty() {
        config.add(Destination::new(UNROUTED, unrouted.clone()));
    }
    let store = SledStore::open(Path::new(data), Options::default()).map_err(Error::Store)?;
    let mut rules = std::mem::take(&mut config.alerts);
    // Whoever else is told, the log says it too.
    rules.push(Rule::all(LogLine, LOG_DIGEST_MS));
    let engine =
        Engine::start(Arc::new(store), std::mem::take(&mut config.destinations), config.settings.clone(), rules)?;
    unrouted.hands_to(&engine);
    config.peers.iter().for_each(|peer| peer.hands_to(&engine));
    let (beside, addr) = match Beside::start(&engine, &mut config, arguments) {
        Ok(begun) => begun,
        Err(fail) => {
            engine.shutdown(Duration::ZERO)?;
            return Err(fail);
        }
    };
    let url = format!("http://{addr}");
    let has_token = text(arguments, "token").is_some() || !config.tokens.is_empty() || engine.has_tokens();
    let bearer = if has_token { "-H \"authorization: Bearer $GONIEC_TOKEN\" " } else { "" };
    // A reader that has gone away ends no node.
    let _told = say(&format!(
        "goniec {} listens on {url}, registry in {data}\nhand in a first message:\n  curl {bearer}-H 'content-type: application/json' -d \
         '{{\"hello\":\"world\"}}' {url}/v1/send/{first}\nthe console: {url}/console",
        env!("CARGO_PKG_VERSION")
    ));
    let mut manager = Manager::of_environment();
    manager.ready(&format!("listens on {url}"));
    let failure = wait(&signals, &engine, &beside, &mut manager);
    manager.stopping();
    log::info!("stopping: nothing new is taken, what is out comes home");
    beside.stop(REQUESTS_LIMIT);
    let closed = engine.shutdown(DELIVERIES_LIMIT);
    match failure {
        Some(error) => Err(Fail::new(STORE, error.to_string()).hint(error.hint().unwrap_or_default())),
        None => closed.map_err(Fail::from),
    }
}

/// Counts signals; the second ends the process at once.
pub(super) fn signals() -> Result<Arc<AtomicU32>, Fail> {
    let signals = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&signals);
    ctrlc::set_handler(move || {
        if counted.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(130);
        }
    })
    .map_err(|error| Fail::new(USAGE, format!("cannot listen to signals: {error}")))?;
    Ok(signals)
}

/// Waits for a signal, or for what makes going on senseless, and passes on that the scheduler lives.
fn wait(signals: &AtomicU32, engine: &Engine, beside: &Beside, manager: &mut Manager) -> Option<Error> {
    while signals.load(Ordering::SeqCst) == 0 {
        if let Some(error) = engine.failure() {
            return Some(error);
        }
        if !beside.is_running() {
            return Some(Error::Stopping);
        }
        manager.beat(engine.beats());
        // The pace of a loop that has an end.
        std::thread::sleep(LOOK);
    }
    None
}

/// `check`: reads the configuration and says what is wrong.
pub(super) fn check(arguments: &ArgMatches) -> Result<(), Fail> {
    let config = configured(arguments)?;
    for warning in &config.warnings {
        say(&format!("warning: {}", super::visible(warning)))?;
    }
    let from = match &config.path {
        Some(path) => path.display().to_string(),
        None => format!("no file (neither --config nor {VARIABLE}, nor {})", PLACES.join(" nor ")),
    };
    let count = config.destinations.len();
    say(&format!(
        "{from}: the configuration is sound; {count} destination(s), {} alert channel(s)",
        config.alerts.len()
    ))?;
    for destination in &config.destinations {
        let limits = limits(destination);
        if !limits.is_empty() {
            say(&format!("  {}: {}", super::visible(&destination.name), super::visible(&limits)))?;
        }
    }
    Ok(())
}

fn configured(arguments: &ArgMatches) -> Result<Config, Fail> {
    let found = Config::find(text(arguments, "config").map(Path::new), &Process);
    let problems = match found {
        Ok(config) => return Ok(config),
        Err(problems) => problems,
    };
    let mut fails = problems.iter().map(|problem| {
        let said = problem.to_string();
        let (line, hint) = said.split_once('\n').unwrap_or((&said, ""));
        Fail::new(USAGE, line.to_owned()).hint(hint.trim().to_owned())
    });
    let last = fails.next_back().unwrap_or_else(|| Fail::new(USAGE, "the configuration is wrong"));
    fails.for_each(|fail| fail.print());
    Err(last)
}

pub(super) fn server_config(
    arguments: &ArgMatches,
    file: &Config,
    engine: &Engine,
    reconciling: &Reconciling,
) -> ServerConfig {
    let listen = arguments.get_one::<std::net::SocketAddr>("listen").copied().or(file.listen);
    let mut config = ServerConfig::new(listen.unwrap_or_else(|| ([127, 0, 0, 1], 8420).into()));
    let given = text(arguments, "token");
    let given =
        given.map(|secret| Token { name: "token".into(), role: Role::Admin, secret: Secret::new(secret.into()) });
    config.tokens = file.tokens.iter().cloned().chain(given).collect();
    let host = |url: &String| Some(url.split_once("://")?.1.split(['/', ':']).next()?.to_owned());
    config.sources = file.sources.clone();
    config.reconciler = Some(reconciling.reconciler());
    config.public_host = file.url.as_ref().and_then(host);
    config.destinations = engine.destinations().iter().map(ToString::to_string).collect();
    config
}

/// The destinations that are named, and `log`, which writes each message as a line of the log.
fn destinations(arguments: &ArgMatches, config: &mut Config) -> Result<(), Fail> {
    for named in arguments.get_many::<String>("to").into_iter().flatten() {
        let Some((name, url)) = named.split_once('=') else {
            return Err(Fail::new(USAGE, format!("{named:?} is no destination")).hint("Write it as --to NAME=URL."));
        };
        let http = Http::post(url);
        http.check().map_err(|what| Fail::new(USAGE, format!("destination {name:?}: {what}")))?;
        config.add(Destination::new(name, http));
    }
    config.add(Destination::new(LOG, |message: &Message| {
        let body = String::from_utf8_lossy(message.body());
        let beginning: String = body.chars().take(200).collect();
        log::info!("delivered {} to log: {}", message.id(), super::visible(&beginning));
    }));
    Ok(())
}
