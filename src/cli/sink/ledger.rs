//! What a sink took: how often, under which numbers, and a line for each.
//!
//! # What it does not know
//!
//! Sockets, and what was answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Write};

/// What came.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) taken: u64,
    pub(super) distinct: u64,
    pub(super) duplicates: u64,
    pub(super) gaps: u64,
}

/// What a sink knows.
pub(super) struct Ledger<W> {
    requests: u64,
    taken: u64,
    /// How often each message came, and how often it was taken.
    ids: HashMap<String, (u64, u64)>,
    /// The numbers that were taken of each run.
    runs: BTreeMap<String, BTreeSet<u64>>,
    out: W,
    failure: Option<io::Error>,
}

impl<W: Write> Ledger<W> {
    pub(super) fn new(out: W) -> Ledger<W> {
        Ledger { requests: 0, taken: 0, ids: HashMap::new(), runs: BTreeMap::new(), out, failure: None }
    }

    /// A request came; how often this message has come by now.
    pub(super) fn came(&mut self, id: &str) -> u64 {
        self.requests += 1;
        let (times, _) = self.ids.entry(id.to_owned()).or_default();
        *times += 1;
        *times
    }

    /// It is answered with a yes.
    pub(super) fn take(&mut self, id: &str, headers: &HashMap<String, String>, body: &[u8]) {
        self.taken += 1;
        let (_, taken) = self.ids.entry(id.to_owned()).or_default();
        *taken += 1;
        let sequence = headers.get("goniec-sequence").map_or("", String::as_str);
        if let Some((run, Ok(number))) = sequence.rsplit_once('/').map(|(run, number)| (run, number.parse())) {
            self.runs.entry(run.to_owned()).or_default().insert(number);
        }
        let key = headers.get("goniec-key").map_or("-", String::as_str);
        let line = writeln!(self.out, "{id} {sequence} {key} {:08x} {}", crc32fast::hash(body), body.len());
        self.failure = self.failure.take().or(line.err());
    }

    /// Hands the lines to the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let missing = |seen: &BTreeSet<u64>| {
            let distinct = u64::try_from(seen.len()).unwrap_or(u64::MAX);
            seen.last().copied().unwrap_or(0).saturating_sub(distinct)
        };
        let taken = self.ids.values().map(|(_, taken)| *taken);
        Figures {
            requests: self.requests,
            taken: self.taken,
            distinct: u64::try_from(taken.clone().filter(|taken| *taken > 0).count()).unwrap_or(u64::MAX),
            duplicates: taken.map(|taken| taken.saturating_sub(1)).sum(),
            gaps: self.runs.values().map(missing).sum(),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { requests, taken, distinct, duplicates, gaps } = self;
        write!(
            f,
            "{{\"requests\":{requests},\"taken\":{taken},\"distinct\":{distinct},\"duplicates\":{duplicates},\"gaps\":{gaps}}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_and_gaps_are_counted_and_every_message_has_its_line() {
        let mut out = Vec::new();
        let mut ledger = Ledger::new(&mut out);
        for (id, sequence) in [("a", "run/1"), ("b", "run/2"), ("b", "run/2"), ("d", "run/4")] {
            ledger.came(id);
            let headers = [("goniec-key", "k"), ("goniec-sequence", sequence)];
            ledger.take(id, &headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), b"123456789");
        }
        assert_eq!(ledger.came("e"), 1);
        let figures = ledger.figures();
        assert_eq!((figures.requests, figures.taken, figures.distinct), (5, 4, 3));
        assert_eq!((figures.duplicates, figures.gaps), (1, 1));
        ledger.flush().expect("writes");
        drop(ledger);
        let lines = String::from_utf8(out).expect("text");
        assert_eq!(lines.lines().next(), Some("a run/1 k cbf43926 9"));
        assert_eq!(lines.lines().count(), 4);
    }
}
