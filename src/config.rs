//! The configuration file: TOML in, settings and destinations out. Whatever is wrong is named with its line.
//!
//! # What holds
//!
//! * An unknown key is an error that names the nearest known one; a duration needs a unit.
//! * A secret comes from the environment or a file, and is never printed.
//!
//! # What it does not know
//!
//! Servers and stores: it hands out plain values.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::engine::{Cycle, Destination, Order, Settings};
use crate::error::Error;
use crate::model::nearest::nearest;
use crate::model::span::parse_span_ms;
use crate::model::{Backoff, OnUncertain, Policy, Retry};
use crate::transport::http::Http;

/// The most bytes that `body_max` may say.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// What a node is configured to be.
#[derive(Debug, Default)]
pub struct Config {
    /// Where it listens, where the file says so.
    pub listen: Option<std::net::SocketAddr>,
    /// Name and secret of the shared token.
    pub token: Option<(String, String)>,
    /// The directory of the registry, where the file says so.
    pub data: Option<String>,
    /// Limits and retention.
    pub settings: Settings,
    /// The destinations.
    pub destinations: Vec<Destination>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    server: Server,
    #[serde(default)]
    store: Store,
    #[serde(default)]
    destination: BTreeMap<String, Dest>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Server {
    listen: Option<std::net::SocketAddr>,
    body_max: Option<String>,
    #[serde(default)]
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    name: String,
    secret: Secret,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Secret {
    Env(String),
    File(String),
    #[serde(untagged)]
    Plain(String),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Store {
    url: Option<String>,
    keep_delivered: Option<String>,
    keep_abandoned: Option<String>,
    keep_bodies: Option<String>,
    size_max: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dest {
    url: String,
    retry: Option<RetryText>,
    concurrency: Option<u16>,
    order: Option<OrderText>,
    on_uncertain: Option<UncertainText>,
    cycle: Option<String>,
    timeout: Option<String>,
    deadline: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RetryText {
    backoff: Option<BackoffText>,
    first: Option<String>,
    max: Option<String>,
    delay: Option<String>,
    delays: Option<Vec<String>>,
    cycle: Option<String>,
    jitter: Option<f64>,
    attempts: Option<u16>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum BackoffText {
    Exponential,
    Fixed,
    List,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum OrderText {
    None,
    Key,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum UncertainText {
    Retry,
    Hold,
    Probe,
}

impl Config {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] says where and how it is wrong, in one line.
    pub fn parse(text: &str) -> Result<Config, Error> {
        let file: File = toml::from_str(text).map_err(|error| Error::Config(spoken(text, &error)))?;
        Config::of(file).map_err(Error::Config)
    }

    fn of(file: File) -> Result<Config, String> {
        let mut settings = Settings::default();
        if let Some(bytes) = file.server.body_max.as_deref() {
            settings.body_bytes_max = size("server.body_max", bytes)?;
            if settings.body_bytes_max > BODY_BYTES_MAX {
                return Err("server.body_max: 16MiB at most".into());
            }
        }
        settings.store_bytes_max =
            file.store.size_max.as_deref().map(|text| size("store.size_max", text)).transpose()?;
        let keep = &mut settings.retention;
        for (place, name, text) in [
            (&mut keep.delivered_ms, "store.keep_delivered", &file.store.keep_delivered),
            (&mut keep.abandoned_ms, "store.keep_abandoned", &file.store.keep_abandoned),
            (&mut keep.bodies_ms, "store.keep_bodies", &file.store.keep_bodies),
        ] {
            if let Some(text) = text {
                *place = span(name, text)?;
            }
        }
        let token = match file.server.tokens.as_slice() {
            [] => None,
            [token] => Some((token.name.clone(), token.secret.read()?)),
            [_, ..] => return Err("server.tokens: one shared token is supported".into()),
        };
        let data = match file.store.url.as_deref() {
            None => None,
            Some(url) => Some(url.strip_prefix("sled:").ok_or("store.url: write it as sled:DIRECTORY")?.to_owned()),
        };
        let destinations = file.destination.into_iter().map(|(name, dest)| dest.build(&name));
        let destinations = destinations.collect::<Result<Vec<_>, String>>()?;
        Ok(Config { listen: file.server.listen, token, data, settings, destinations })
    }
}

impl Secret {
    fn read(&self) -> Result<String, String> {
        match self {
            Secret::Plain(text) => Ok(text.clone()),
            Secret::Env(name) => std::env::var(name).map_err(|_| format!("the environment has no {name}")),
            Secret::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim_end().to_owned()),
                Err(error) => Err(format!("cannot read the secret in {path}: {error}")),
            },
        }
    }
}

impl Dest {
    fn build(self, name: &str) -> Result<Destination, String> {
        let at = |key: &str| format!("destination.{name}.{key}");
        let mut http = Http::post(&self.url);
        for (header, secret) in &self.headers {
            let value = secret.read().map_err(|what| format!("{}: {what}", at("headers")))?;
            http = http.header(header, &value);
        }
        http.check().map_err(|what| format!("{}: {what}", at("url")))?;
        let mut built = Destination::new(name, http);
        built.concurrency = self.concurrency.unwrap_or(built.concurrency);
        if built.concurrency == 0 {
            return Err(format!("{}: at least 1", at("concurrency")));
        }
        built.order = match self.order {
            Some(OrderText::Key) => Order::Key,
            Some(OrderText::None) | None => Order::None,
        };
        let on_uncertain = match self.on_uncertain {
            Some(UncertainText::Hold) => OnUncertain::Hold,
            Some(UncertainText::Probe) => OnUncertain::Probe,
            Some(UncertainText::Retry) | None => OnUncertain::Retry,
        };
        let retry = self.retry.unwrap_or_default();
        let cycle = self.cycle.as_deref().or(retry.cycle.as_deref());
        built.cycle = cycle.map(|text| every(&at("cycle"), text)).transpose()?;
        built.policy = Policy { retry: retry.build(&at("retry"))?, on_uncertain };
        if let Some(text) = self.timeout.as_deref() {
            built.timeout_ms = span(&at("timeout"), text)?;
        }
        built.deadline_ms = self.deadline.as_deref().map(|text| span(&at("deadline"), text)).transpose()?;
        Ok(built)
    }
}

impl RetryText {
    fn build(self, at: &str) -> Result<Retry, String> {
        let default = Retry::default();
        let jitter = self.jitter.unwrap_or(0.2);
        let permille = (0..=1_000_u16).find(|permille| f64::from(*permille) >= jitter * 1_000.0 - 0.5);
        let jitter_permille = permille.filter(|_| jitter >= 0.0).ok_or_else(|| format!("{at}.jitter: from 0 to 1"))?;
        let attempts = self.attempts.unwrap_or(default.attempts);
        if attempts == 0 {
            return Err(format!("{at}.attempts: at least 1"));
        }
        let some =
            |name: &str, text: Option<&str>, default: &str| span(&format!("{at}.{name}"), text.unwrap_or(default));
        let backoff = match (self.backoff, &self.delays) {
            (None, None) if self.cycle.is_some() => Backoff::NextCycle,
            (Some(BackoffText::Fixed), _) => Backoff::Fixed(some("delay", self.delay.as_deref(), "30s")?),
            (Some(BackoffText::List), None) => return Err(format!("{at}: a list needs delays = [\"1s\", \"1m\"]")),
            (Some(BackoffText::List) | None, Some(delays)) if !delays.is_empty() => {
                let delays = delays.iter().map(|text| span(&format!("{at}.delays"), text));
                Backoff::List(delays.collect::<Result<Vec<_>, String>>()?)
            }
            (Some(BackoffText::List), Some(_)) => return Err(format!("{at}.delays: at least one")),
            (Some(BackoffText::Exponential) | None, _) => Backoff::Exponential {
                first_ms: some("first", self.first.as_deref(), "2s")?,
                max_ms: some("max", self.max.as_deref(), "10m")?,
            },
        };
        Ok(Retry { backoff, jitter_permille, attempts })
    }
}

fn span(name: &str, text: &str) -> Result<u64, String> {
    parse_span_ms(text).map_err(|wrong| format!("{name}: {wrong}"))
}

fn every(name: &str, text: &str) -> Result<Cycle, String> {
    let length = text.strip_prefix("every ").ok_or_else(|| format!("{name}: write it as \"every 15m\""))?;
    match span(name, length)? {
        0 => Err(format!("{name}: longer than nothing")),
        length_ms => Ok(Cycle::Every(length_ms)),
    }
}

fn size(name: &str, text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("B", 0)];
    let wrong = || format!("{name}: {text:?} is not a size; write it as 512KiB, 1MiB or 20GiB");
    let (unit, shift) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
    let number: u64 = text.trim_end_matches(unit).trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// The error in one line, with the line of the file and the key that may have been meant.
fn spoken(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
    let message = error.message().replace('\n', " ");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let meant = quoted.next().and_then(|wrong| nearest(wrong, quoted)).filter(|_| message.starts_with("unknown"));
    match meant {
        Some(near) => format!("line {line}: {message}; did you mean `{near}`?"),
        None => format!("line {line}: {message}"),
    }
}

impl Config {
    /// Adds a destination, unless the file has one of this name.
    pub fn add(&mut self, destination: Destination) {
        if !self.destinations.iter().any(|known| Arc::as_ref(&known.name) == Arc::as_ref(&destination.name)) {
            self.destinations.push(destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_bad(text: &str, says: &str) {
        let error = Config::parse(text).expect_err(says).to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_destination_is_read_whole() {
        let config = Config::parse(
            "[server]\nbody_max = \"2MiB\"\n[destination.courier]\nurl = \"http://127.0.0.1:9001/x\"\norder = \"key\"\n\
             concurrency = 4\ndeadline = \"30m\"\non_uncertain = \"hold\"\n\
             retry = { backoff = \"exponential\", first = \"1s\", max = \"5m\", jitter = 0.25, attempts = 7 }\n",
        );
        let config = config.expect("a configuration");
        assert_eq!(config.settings.body_bytes_max, 2 << 20);
        let [courier] = config.destinations.as_slice() else { panic!("one destination") };
        let retry = Retry {
            backoff: Backoff::Exponential { first_ms: 1_000, max_ms: 300_000 },
            jitter_permille: 250,
            attempts: 7,
        };
        assert_eq!(courier.policy, Policy { retry, on_uncertain: OnUncertain::Hold });
        assert_eq!((courier.order, courier.concurrency, courier.deadline_ms), (Order::Key, 4, Some(1_800_000)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check_bad("[server]\nlisten = \"127.0.0.1:1\"\nbody_mx = \"1MiB\"", "line 3: unknown field `body_mx`");
        check_bad("[server]\nbody_mx = \"1MiB\"", "did you mean `body_max`?");
        check_bad("[store]\nkeep_bodies = \"7\"", "store.keep_bodies: duration \"7\" has no unit");
        check_bad("[server]\nbody_max = \"17MiB\"", "16MiB at most");
        check_bad("[destination.a]\nurl = \"ftp://x\"", "destination.a.url");
        check_bad("[destination.a]\nurl = \"http://x\"\ncycle = \"15m\"", "every 15m");
        check_bad("[server", "line 1");
    }
}
