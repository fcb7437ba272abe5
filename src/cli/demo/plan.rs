//! The configuration of the demo, as an administrator would write it, and how fast its clocks run.
//!
//! # What holds
//!
//! * What the node is, it is by this text alone, which lies beside the registry: whoever looks at the demo can read why it heals.
//! * No secret is in it; the tokens are handed in as an environment would.
//!
//! # What it does not know
//!
//! What happens to the systems.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::super::{Fail, USAGE};
use crate::config::{Config, Outside, Role};
use crate::model::span::{parse_span_ms, show_span};
use crate::transport::secret::fresh;

/// Who calls the node, with the variable of the token: the visitor, the administrator of the story, and the systems that hand in.
pub(super) const PEOPLE: [(&str, Role, &str); 4] = [
    (VISITOR, Role::Admin, "DEMO_YOU"),
    ("anna", Role::Operator, "DEMO_ANNA"),
    ("shop", Role::Producer, "DEMO_SHOP"),
    ("erp", Role::Producer, "DEMO_ERP"),
];
/// What the visitor is called in the audit log.
pub(super) const VISITOR: &str = "you";

/// How many times as fast as told everything happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(pub(super) u64);

impl Pace {
    /// So many milliseconds of the story, as they are in truth.
    pub(super) fn ms(self, ms: u64) -> u64 {
        (ms / self.0.max(1)).max(1)
    }

    /// The same in whole seconds, one at least, as `Retry-After` has it.
    pub(super) fn seconds(self, seconds: u64) -> u64 {
        seconds.div_ceil(self.0.max(1))
    }

    fn span(self, ms: u64) -> String {
        spelt(self.ms(ms))
    }

    /// What must be a second at least.
    fn long_span(self, ms: u64) -> String {
        spelt(self.ms(ms).max(1_000))
    }
}

/// As a configuration takes it: what is shown is rounded where it has no plain form.
fn spelt(ms: u64) -> String {
    let shown = show_span(ms);
    if parse_span_ms(&shown) == Ok(ms) { shown } else { format!("{ms}ms") }
}

/// Where the systems listen.
pub(super) struct Addresses {
    pub(super) shop: SocketAddr,
    pub(super) erp: SocketAddr,
    pub(super) courier: SocketAddr,
}

/// The text of the configuration.
pub(super) fn configuration(addresses: &Addresses, pace: Pace) -> String {
    let Addresses { shop, erp, courier } = addresses;
    let tokens: Vec<String> = PEOPLE
        .iter()
        .map(|(name, role, variable)| {
            let role = role.name();
            format!("    {{ name = \"{name}\", role = \"{role}\", secret = {{ env = \"{variable}\" }} }},\n")
        })
        .collect();
    let (second, two, three, four, five) =
        (pace.span(1_000), pace.span(2_000), pace.span(3_000), pace.span(4_000), pace.span(5_000));
    let (window, late, ten, digest) =
        (pace.long_span(20_000), pace.long_span(8_000), pace.span(10_000), pace.long_span(2_000));
    let (long, deadline) = (pace.span(600_000), pace.span(1_800_000));
    format!(
        r#"# The configuration of `goniec demo`: a web shop, an ERP and a courier on this machine.
# docs/configuration.md tells what each key means. The tokens come from the environment; the demo makes up new ones each time.

[server]
tokens = [
{tokens}]

# An overloaded courier must learn of every order all the same, and is not run down meanwhile.
[destination.courier]
url = "http://{courier}/shipments"
concurrency = 4
timeout = "{five}"
retry = {{ backoff = "exponential", first = "{second}", max = "{four}", attempts = 200 }}
breaker = {{ failures = 5, window = "{window}", probe = "{second}" }}

# A price that was overtaken must not arrive after the newer one, nor at all.
[destination.shop-prices]
url = "http://{shop}/prices"
latest_wins = true
timeout = "{five}"
retry = {{ backoff = "exponential", first = "{second}", max = "{two}", attempts = 200 }}

# The stock: what fails waits for the next cycle.
[destination.shop-stock]
url = "http://{shop}/stock"
latest_wins = true
timeout = "{five}"
retry = {{ cycle = "every {ten}", attempts = 200 }}

# Orders for the ERP: somebody must know before one is too late, and what it refuses is told in its own words.
[destination.erp]
url = "http://{erp}/orders"
order = "key"
timeout = "{five}"
retry = {{ backoff = "list", delays = ["{second}", "{three}", "{long}"] }}
late_after = "{late}"
deadline = "{deadline}"
answers = {{ reason = ".body.error" }}

[[alert]]
on = ["late", "abandoned"]
destinations = ["erp"]
to = [{{ log = true }}]
digest = "{digest}"

[[alert]]
on = ["breaker"]
to = [{{ log = true }}]
digest = "{digest}"
"#,
        tokens = tokens.concat()
    )
}

/// The tokens of everybody, by the variables that the configuration names; nothing else is there.
pub(super) struct Tokens(BTreeMap<&'static str, String>);

impl Tokens {
    pub(super) fn fresh() -> Result<Tokens, Fail> {
        let made = PEOPLE.iter().map(|(_, _, variable)| Ok((*variable, fresh()?)));
        made.collect::<Result<_, String>>().map(Tokens).map_err(|what| Fail::new(USAGE, what))
    }

    /// The token of this name.
    pub(super) fn of(&self, name: &str) -> &str {
        let variable = PEOPLE.iter().find(|(own, _, _)| *own == name).map_or("", |(_, _, variable)| *variable);
        self.0.get(variable).map_or("", String::as_str)
    }

    /// What the text means.
    pub(super) fn read(&self, text: &str, source: &str) -> Result<Config, Fail> {
        Config::parse(text, source, self).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            Fail::new(USAGE, format!("the configuration of the demo is wrong: {first}"))
        })
    }
}

impl Outside for Tokens {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn variables(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("the demo has no such file".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_sound_at_every_pace() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { shop: at(1), erp: at(2), courier: at(3) };
        let tokens = Tokens::fresh().expect("random");
        for pace in 1..=super::super::PACE_MAX {
            let text = configuration(&addresses, Pace(pace));
            let config = tokens.read(&text, "demo").unwrap_or_else(|fail| panic!("{pace}: {}\n{text}", fail.line));
            assert_eq!((config.destinations.len(), config.alerts.len(), config.tokens.len()), (4, 2, 4), "{text}");
            assert!(PEOPLE.iter().all(|(name, _, _)| !text.contains(tokens.of(name))), "no token stands in the text");
        }
    }
}
