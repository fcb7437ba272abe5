//! The shapes of sources.

use serde::Serialize;

use super::bytes;
use crate::admin::when::rfc3339;
use crate::model::WallMs;
use crate::source::{Aside, Pull, Source, Sources, Spool};

#[derive(Serialize)]
struct SourceShape<'a> {
    name: &'a str,
    kind: &'a str,
    state: Option<&'a str>,
    cycle: Option<String>,
    cursor: Option<String>,
    read_at: Option<String>,
    next_at: Option<String>,
    items: Option<u64>,
    failures: Option<u64>,
    failing_since: Option<String>,
    last_error: Option<String>,
    asks: Option<u64>,
    forgets_at: Option<String>,
    forgot: Option<SpanShape>,
    refused: Option<AsideShape>,
}

#[derive(Serialize)]
struct SpanShape {
    from: String,
    until: String,
}

#[derive(Serialize)]
struct AsideShape {
    files: u64,
    last: String,
    last_at: String,
    why: String,
}

/// The kinds of sources: those that are asked, those whose files are taken, and those that hand in.
const POLL: &str = "poll";
const SPOOL: &str = "spool";
const WEBHOOK: &str = "webhook";

/// The sources.
pub(in crate::server) fn sources(sources: &Sources) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        sources: Vec<SourceShape<'a>>,
    }
    let each = sources.sources.iter().map(|source| shape(source, sources.pull(&source.name).map(|pull| &**pull)));
    bytes(&Shape { sources: each.collect() })
}

/// One source, which is asked so if it is.
pub(in crate::server) fn source(source: &Source, pull: Option<&Pull>) -> Vec<u8> {
    bytes(&shape(source, pull))
}

fn shape<'a>(source: &'a Source, pull: Option<&Pull>) -> SourceShape<'a> {
    let shown = pull.map(Pull::shown);
    let files = source.spool.as_ref().map(Spool::status);
    let at = |of: fn(&crate::source::PullShown) -> Option<WallMs>| shown.as_ref().and_then(of).map(rfc3339);
    SourceShape {
        name: &source.name,
        kind: if pull.is_some() {
            POLL
        } else if files.is_some() {
            SPOOL
        } else {
            WEBHOOK
        },
        state: shown.as_ref().map(|shown| shown.state.name()),
        cycle: pull.map(|pull| pull.rule.cycle.to_string()),
        cursor: shown.as_ref().and_then(|shown| shown.cursor.clone()),
        read_at: at(|shown| shown.read_at).or_else(|| files.as_ref()?.looked_at.map(rfc3339)),
        next_at: at(|shown| shown.next_at),
        items: shown.as_ref().map(|shown| shown.items).or_else(|| Some(files.as_ref()?.messages)),
        failures: shown.as_ref().map(|shown| shown.failures).or_else(|| Some(files.as_ref()?.refused)),
        failing_since: at(|shown| shown.failing_since),
        last_error: shown
            .as_ref()
            .and_then(|shown| shown.last_error.clone())
            .or_else(|| files.as_ref()?.last_error.clone())
            .or_else(|| files.as_ref()?.aside.as_ref().map(in_words)),
        asks: shown.as_ref().and_then(|shown| shown.asks),
        forgets_at: at(|shown| shown.forgets_at),
        forgot: shown
            .as_ref()
            .and_then(|shown| shown.forgot)
            .map(|(from, until)| SpanShape { from: rfc3339(from), until: rfc3339(until) }),
        refused: files.and_then(|files| files.aside).map(|Aside { files, last, last_at, why }| AsideShape {
            files,
            last,
            last_at: rfc3339(last_at),
            why,
        }),
    }
}

/// Files that could not be taken, in a line.
fn in_words(Aside { files, last, why, .. }: &Aside) -> String {
    match files {
        1 => format!("a file lies in failed: {last}: {why}"),
        files => format!("{files} files lie in failed, the last of them {last}: {why}"),
    }
}
