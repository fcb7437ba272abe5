//! The three systems of the demo: sinks that behave as they are told, and count what they took.
//!
//! # What it does not know
//!
//! goniec: they see requests, as any destination does.

use std::time::Duration;

use super::super::sink::{Script, Sink};
use super::super::{Fail, USAGE};
use super::goods::{COURIER, ERP, NO_POSTCODE};
use super::plan::{Addresses, Pace};

/// How long an answer of a system takes that is well.
const LATENCY_MS: u64 = 60;

/// Who takes part.
pub(super) struct Systems {
    shop: Sink,
    erp: Sink,
    courier: Sink,
    /// What the courier does besides, as the visitor wishes.
    wish: String,
    pace: Pace,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum System {
    Shop,
    Erp,
    Courier,
}

impl Systems {
    /// Starts them on free ports, all well. `wish` is one more line of the courier's script.
    pub(super) fn start(pace: Pace, wish: &str) -> Result<Systems, Fail> {
        Script::parse(wish).map_err(|misread| {
            Fail::new(USAGE, format!("--courier: column {}: {}", misread.wrong.column, misread.wrong))
                .hint("It is a line of a script, as `chance 10% -> 503`; docs/sink.md has the words.")
        })?;
        let sink = || {
            let started = Sink::start("127.0.0.1:0", Script::default(), None);
            started.map_err(|error| Fail::new(USAGE, format!("cannot listen on 127.0.0.1: {error}")))
        };
        let systems = Systems { shop: sink()?, erp: sink()?, courier: sink()?, wish: wish.to_owned(), pace };
        systems.heal()?;
        Ok(systems)
    }

    /// All of them are well.
    pub(super) fn heal(&self) -> Result<(), Fail> {
        [System::Shop, System::Erp, System::Courier].into_iter().try_for_each(|system| self.play(system, ""))
    }

    /// Lets a system behave by these lines, and where none fits as it always does.
    pub(super) fn play(&self, system: System, lines: &str) -> Result<(), Fail> {
        let always = match system {
            System::Shop => String::new(),
            System::Erp => format!(
                "contains '{NO_POSTCODE}' -> 422 header 'content-type: application/json' body '{{\"error\":\"shipping.postcode is empty\"}}'"
            ),
            System::Courier => self.wish.clone(),
        };
        let mut script = Script::parse(&format!("{always}\n{lines}"))
            .map_err(|misread| Fail::new(USAGE, format!("the script of the demo is wrong: {misread}")))?;
        script.latency = Duration::from_millis(self.pace.ms(LATENCY_MS));
        self.sink(system).play(script);
        Ok(())
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses { shop: self.shop.addr(), erp: self.erp.addr(), courier: self.courier.addr() }
    }

    /// The system behind a destination.
    pub(super) fn behind(&self, destination: &str) -> &Sink {
        self.sink(match destination {
            COURIER => System::Courier,
            ERP => System::Erp,
            _ => System::Shop,
        })
    }

    /// How many requests came to all of them.
    pub(super) fn requests(&self) -> u64 {
        [&self.shop, &self.erp, &self.courier].map(|sink| sink.figures().requests).iter().sum()
    }

    fn sink(&self, system: System) -> &Sink {
        match system {
            System::Shop => &self.shop,
            System::Erp => &self.erp,
            System::Courier => &self.courier,
        }
    }
}
