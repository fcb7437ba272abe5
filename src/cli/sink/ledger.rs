//! What a sink took: every identity with its count, and the numbers of every run, so that duplicates and gaps show.
//!
//! # What it does not know
//!
//! Sockets, and why anything came.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

/// What came, in figures.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Figures {
    /// Requests that came whole.
    pub requests: u64,
    /// Those that were answered with a yes.
    pub taken: u64,
    /// Different identities (`webhook-id`) among those taken.
    pub distinct: u64,
    /// Those taken again.
    pub duplicates: u64,
    /// Numbers that are missing below the highest one, over all runs (`goniec-sequence`).
    pub gaps: u64,
    /// Requests that were not taken on purpose: answered with a failure, or not at all.
    pub failed: u64,
    /// Connections that were reset on purpose.
    pub reset: u64,
}

/// One request, as far as the ledger cares.
#[derive(Debug, Default, Clone)]
pub(super) struct Came {
    pub(super) id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) sequence: Option<String>,
    pub(super) body_bytes: u64,
    pub(super) crc32: u32,
}

/// Everything taken so far.
#[derive(Default)]
pub(super) struct Ledger {
    figures: Figures,
    ids: HashMap<String, Seen>,
    runs: BTreeMap<String, Run>,
    /// The checksum of the body that was taken last, by key.
    last: HashMap<String, u32>,
    file: Option<Box<dyn Write + Send>>,
}

/// How often one message came, and how often it was taken.
#[derive(Default)]
struct Seen {
    came: u64,
    taken: u64,
}

/// The numbers of one run: all up to one, and those that came ahead of their turn.
#[derive(Default)]
struct Run {
    all_up_to: u64,
    ahead: BTreeSet<u64>,
}

impl Ledger {
    /// A ledger that also writes a line for everything it takes.
    pub(super) fn new(file: Option<Box<dyn Write + Send>>) -> Ledger {
        Ledger { file, ..Ledger::default() }
    }

    /// The head of a request came; how often this message has come by now.
    pub(super) fn came(&mut self, id: &str) -> u64 {
        let seen = self.ids.entry(id.to_owned()).or_default();
        seen.came += 1;
        seen.came
    }

    /// The request came whole.
    pub(super) fn whole(&mut self) {
        self.figures.requests += 1;
    }

    /// How often the head of this message came.
    pub(super) fn times(&self, id: &str) -> u64 {
        self.ids.get(id).map_or(0, |seen| seen.came)
    }

    /// How often this message was taken.
    pub(super) fn taken(&self, id: &str) -> u64 {
        self.ids.get(id).map_or(0, |seen| seen.taken)
    }

    /// The CRC-32 of the body that was taken last with this key.
    pub(super) fn last(&self, key: &str) -> Option<u32> {
        self.last.get(key).copied()
    }

    /// It is not taken, on purpose.
    pub(super) fn failed(&mut self) {
        self.figures.failed += 1;
    }

    /// Its connection is reset.
    pub(super) fn reset(&mut self) {
        self.figures.reset += 1;
    }

    /// It is taken. The line is in the file before this returns, so that a yes is never ahead of the file.
    pub(super) fn take(&mut self, came: &Came) -> io::Result<()> {
        self.figures.taken += 1;
        let mut count = 1;
        if let Some(id) = &came.id {
            let seen = self.ids.entry(id.clone()).or_default();
            seen.taken += 1;
            count = seen.taken;
            if count == 1 {
                self.figures.distinct += 1;
            } else {
                self.figures.duplicates += 1;
            }
        }
        if let Some(key) = &came.key {
            self.last.insert(key.clone(), came.crc32);
        }
        let sequence = came.sequence.as_deref().and_then(|text| text.rsplit_once('/'));
        if let Some((run, Ok(number))) = sequence.map(|(run, number)| (run, number.parse())) {
            self.runs.entry(run.to_owned()).or_default().add(number);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = serde_json::json!({
            "webhook-id": came.id,
            "key": came.key,
            "sequence": came.sequence,
            "body_bytes": came.body_bytes,
            "crc32": format!("{:08x}", came.crc32),
            "count": count,
        });
        writeln!(file, "{line}")
    }

    /// Where it stands.
    pub(super) fn figures(&self) -> Figures {
        Figures { gaps: self.runs.values().map(Run::missing).sum(), ..self.figures }
    }
}

impl Run {
    fn add(&mut self, number: u64) {
        if number > self.all_up_to {
            self.ahead.insert(number);
        }
        while self.ahead.remove(&(self.all_up_to + 1)) {
            self.all_up_to += 1;
        }
    }

    fn missing(&self) -> u64 {
        let ahead = u64::try_from(self.ahead.len()).unwrap_or(u64::MAX);
        self.ahead.last().map_or(0, |last| last.saturating_sub(self.all_up_to).saturating_sub(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(id: &str, sequence: &str) -> Came {
        Came { id: Some(id.into()), sequence: Some(sequence.into()), ..Came::default() }
    }

    #[test]
    fn duplicates_and_gaps_are_counted() {
        let mut ledger = Ledger::default();
        for (id, sequence) in [("a", "run/1"), ("b", "run/2"), ("b", "run/2"), ("d", "run/5"), ("e", "run/4")] {
            ledger.take(&came(id, sequence)).expect("no file");
        }
        let figures = ledger.figures();
        assert_eq!((figures.taken, figures.distinct, figures.duplicates, figures.gaps), (5, 4, 1, 1));
        ledger.take(&came("c", "run/3")).expect("no file");
        assert_eq!(ledger.figures().gaps, 0, "what came late is no gap");
        ledger.take(&came("x", "other/2")).expect("no file");
        assert_eq!(ledger.figures().gaps, 1, "each run counts for itself");
    }

    #[test]
    fn the_last_body_of_a_key_is_known() {
        let mut ledger = Ledger::default();
        for (key, crc32) in [("a", 1), ("b", 2), ("a", 3)] {
            let came = Came { key: Some(key.into()), crc32, ..Came::default() };
            ledger.take(&came).expect("no file");
        }
        assert_eq!((ledger.last("a"), ledger.last("b"), ledger.last("c")), (Some(3), Some(2), None));
    }

    #[test]
    fn a_ledger_that_cannot_be_written_takes_nothing_silently() {
        let mut nowhere: [u8; 4] = [0; 4];
        let file: &'static mut [u8] = Box::leak(Box::new(std::mem::take(&mut nowhere)));
        let mut ledger = Ledger::new(Some(Box::new(file)));
        assert!(ledger.take(&came("a", "run/1")).is_err());
    }
}
