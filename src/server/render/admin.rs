//! The shapes of the administrator's own: bulk jobs, incidents, the audit log, and the rules of alerts.

use serde::Serialize;

use super::{MessageShape, bytes, shape};
use crate::admin::when::rfc3339;
use crate::engine::{Audited, Entry, Grant, Head, IncidentShown, Job, Kind, Preview, RuleShown, Soundness, Target};
use crate::model::chain::Link;
use crate::model::{Id, WallMs};
use crate::server::bulk::at;
use crate::server::keyring::Listed;

#[derive(Serialize)]
struct PreviewShape<'a> {
    action: &'a str,
    filter: &'a str,
    count: u64,
    is_exact: bool,
    sample: Vec<MessageShape<'a>>,
    edits: Vec<EditShape<'a>>,
}

/// How much of a value that is edited a preview shows.
const BEFORE_CHARS_MAX: usize = 200;

/// The beginning of a value; where there is more, that shows.
fn beginning(value: &str) -> String {
    let mut shown: String = value.chars().take(BEFORE_CHARS_MAX).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

#[derive(Serialize)]
struct EditShape<'a> {
    id: String,
    before: Option<String>,
    refused: Option<&'a str>,
}

#[derive(Serialize)]
struct JobShape<'a> {
    id: String,
    action: &'a str,
    at: Option<String>,
    edit: Option<String>,
    filter: &'a str,
    who: &'a str,
    why: &'a str,
    state: &'a str,
    matched: u64,
    done: u64,
    refused: u64,
    rate: Option<String>,
    begun_at: String,
    ended_at: Option<String>,
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct IncidentShape<'a> {
    id: String,
    destination: &'a str,
    class: &'a str,
    reason: &'a str,
    state: &'a str,
    failures: u64,
    messages: u64,
    rested: u64,
    open: u64,
    open_is_least: bool,
    first_at: String,
    last_at: String,
    oldest: Option<OneShape<'a>>,
    sample: OneShape<'a>,
    detail: &'a str,
    closed_at: Option<String>,
    times: u32,
    filter: String,
}

#[derive(Serialize)]
struct OneShape<'a> {
    id: Id,
    key: Option<&'a str>,
}

#[derive(Serialize)]
struct EntryShape<'a> {
    number: u64,
    at: String,
    who: &'a str,
    act: &'a str,
    target: Option<TargetShape<'a>>,
    key: Option<&'a str>,
    detail: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    messages: &'a [Id],
    hash: Link,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum TargetShape<'a> {
    Message(Id),
    Destination(&'a str),
    Job(String),
    Token(&'a str),
}

#[derive(Serialize)]
struct RuleShape<'a> {
    number: usize,
    on: Vec<&'a str>,
    destinations: Vec<&'a str>,
    channel: &'a str,
    digest_ms: u64,
    quiet: &'a [String],
    quiet_except: Vec<&'a str>,
    quiet_until: Option<String>,
    state: &'a str,
    last_told_at: Option<String>,
    failing_since: Option<String>,
    last_error: Option<&'a str>,
}

#[derive(Serialize)]
struct HeadShape {
    number: u64,
    hash: Link,
}

/// What a bulk job would do.
pub(in crate::server) fn preview(action: &str, filter: &str, found: &Preview) -> Vec<u8> {
    let sample = found.samples.iter().map(shape).collect();
    let edits = found.samples.iter().zip(&found.edits).map(|(shown, edit)| EditShape {
        id: shown.record.id.to_string(),
        before: edit.as_ref().ok().map(|edited| beginning(&edited.before)),
        refused: edit.as_ref().err().map(String::as_str),
    });
    let edits = edits.collect();
    bytes(&PreviewShape { action, filter, count: found.count, is_exact: found.damaged.is_empty(), sample, edits })
}

/// One bulk job.
pub(in crate::server) fn job(job: &Job) -> Vec<u8> {
    bytes(&job_shape(job))
}

/// Bulk jobs.
pub(in crate::server) fn jobs(jobs: &[Job]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        jobs: Vec<JobShape<'a>>,
    }
    bytes(&Shape { jobs: jobs.iter().map(job_shape).collect() })
}

/// One incident.
pub(in crate::server) fn incident(shown: &IncidentShown) -> Vec<u8> {
    bytes(&incident_shape(shown))
}

/// Incidents.
pub(in crate::server) fn incidents(incidents: &[IncidentShown]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        incidents: Vec<IncidentShape<'a>>,
    }
    bytes(&Shape { incidents: incidents.iter().map(incident_shape).collect() })
}

/// One page of the audit log.
pub(in crate::server) fn audited(page: &Audited) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        entries: Vec<EntryShape<'a>>,
        next: Option<String>,
        head: HeadShape,
    }
    bytes(&Shape {
        entries: page.entries.iter().map(|(entry, link)| entry_shape(entry, *link)).collect(),
        next: page.next.map(|next| next.to_string()),
        head: head_shape(page.head),
    })
}

/// What a check of the audit log found.
pub(in crate::server) fn soundness(found: &Soundness) -> Vec<u8> {
    #[derive(Serialize)]
    struct Wrong<'a> {
        number: u64,
        what: &'a str,
    }
    #[derive(Serialize)]
    struct Shape<'a> {
        is_sound: bool,
        entries: u64,
        head: HeadShape,
        wrong: Option<Wrong<'a>>,
    }
    bytes(&Shape {
        is_sound: found.wrong.is_none(),
        entries: found.entries,
        head: head_shape(found.head),
        wrong: found.wrong.as_ref().map(|(number, what)| Wrong { number: *number, what }),
    })
}

/// The rules of alerts.
pub(in crate::server) fn alert_rules(rules: &[RuleShown]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        rules: Vec<RuleShape<'a>>,
    }
    bytes(&Shape { rules: rules.iter().map(rule_shape).collect() })
}

/// What came of a test of one.
pub(in crate::server) fn tested(told: &Result<(), String>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        is_told: bool,
        error: Option<&'a str>,
    }
    bytes(&Shape { is_told: told.is_ok(), error: told.as_ref().err().map(String::as_str) })
}

fn rule_shape(rule: &RuleShown) -> RuleShape<'_> {
    let RuleShown { number, kinds, destinations, channel, digest_ms, quiet, quiet_except, quiet_until, state } = rule;
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| Kind::name(*kind)).collect();
    RuleShape {
        number: *number,
        on: names(kinds),
        destinations: destinations.iter().map(|name| &**name).collect(),
        channel,
        digest_ms: *digest_ms,
        quiet,
        quiet_except: names(quiet_except),
        quiet_until: quiet_until.map(rfc3339),
        state: if state.failing_since.is_some() { "failing" } else { "ok" },
        last_told_at: state.last_told_at.map(rfc3339),
        failing_since: state.failing_since.map(rfc3339),
        last_error: state.last_error.as_deref(),
    }
}

fn job_shape(job: &Job) -> JobShape<'_> {
    JobShape {
        id: job.number.to_string(),
        action: job.act.name(),
        at: at(&job.act),
        edit: job.act.field().map(ToString::to_string),
        filter: &job.filter,
        who: &job.who,
        why: &job.why,
        state: job.state.name(),
        matched: job.matched,
        done: job.done,
        refused: job.refused,
        rate: job.rate.map(|rate| rate.to_string()),
        begun_at: rfc3339(job.begun_at),
        ended_at: job.ended_at.map(rfc3339),
        detail: job.detail.as_deref(),
    }
}

fn incident_shape(shown: &IncidentShown) -> IncidentShape<'_> {
    let incident = &shown.incident;
    let id = format!("{:016x}", incident.number);
    IncidentShape {
        destination: &shown.destination,
        class: incident.cause.class.name(),
        reason: &incident.words,
        state: if incident.closed_at.is_none() { "open" } else { "closed" },
        failures: incident.failures,
        messages: incident.messages,
        rested: incident.rested,
        open: shown.open,
        open_is_least: shown.is_least,
        first_at: rfc3339(incident.first_at),
        last_at: rfc3339(incident.last_at),
        oldest: shown.oldest.as_ref().map(|(id, key)| OneShape { id: *id, key: key.as_deref() }),
        sample: OneShape { id: incident.sample, key: incident.sample_key.as_deref() },
        detail: &incident.detail,
        closed_at: incident.closed_at.map(rfc3339),
        times: incident.times,
        filter: format!("incident:{id}"),
        id,
    }
}

fn entry_shape(entry: &Entry, hash: Link) -> EntryShape<'_> {
    let Entry { number, at, deed } = entry;
    EntryShape {
        number: *number,
        at: rfc3339(*at),
        who: &deed.who,
        act: &deed.act,
        target: match &deed.target {
            Target::Node => None,
            Target::Message(id) => Some(TargetShape::Message(*id)),
            Target::Destination(name) => Some(TargetShape::Destination(name)),
            Target::Job(number) => Some(TargetShape::Job(number.to_string())),
            Target::Token(name) => Some(TargetShape::Token(name)),
        },
        key: deed.key.as_deref(),
        detail: &deed.detail,
        before: deed.before.as_deref(),
        after: deed.after.as_deref(),
        messages: &deed.messages,
        hash,
    }
}

fn head_shape(head: Head) -> HeadShape {
    HeadShape { number: head.number, hash: head.link }
}

#[derive(Serialize)]
struct TokenShape<'a> {
    name: &'a str,
    role: Option<&'a str>,
    from: &'a str,
    state: &'a str,
    made_by: Option<&'a str>,
    made_at: Option<String>,
    expires_at: Option<String>,
}

/// The tokens, without what they are.
pub(in crate::server) fn tokens(listed: &[Listed<'_>], now: WallMs) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        tokens: Vec<TokenShape<'a>>,
    }
    bytes(&Shape { tokens: listed.iter().map(|listed| token(listed, now)).collect() })
}

fn token<'a>(listed: &'a Listed<'_>, now: WallMs) -> TokenShape<'a> {
    let (from, state) = ("registry", "damaged");
    let bare = TokenShape { name: "", role: None, from, state, made_by: None, made_at: None, expires_at: None };
    match listed {
        Listed::Configured(name, role) => {
            TokenShape { name, role: Some(role.name()), from: "configuration", state: "valid", ..bare }
        }
        Listed::Kept(name, None) => TokenShape { name, ..bare },
        Listed::Kept(name, Some(grant)) => TokenShape {
            name,
            role: Some(grant.role.name()),
            from,
            state: if grant.is_over(now) { "expired" } else { "valid" },
            made_by: Some(&grant.made_by),
            made_at: Some(rfc3339(grant.made_at)),
            expires_at: grant.expires_at.map(rfc3339),
        },
    }
}

/// A token, this once.
pub(in crate::server) fn made_token(grant: &Grant, token: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Shape<'a> {
        name: &'a str,
        role: &'a str,
        token: &'a str,
        expires_at: Option<String>,
    }
    let expires_at = grant.expires_at.map(rfc3339);
    bytes(&Shape { name: &grant.name, role: grant.role.name(), token, expires_at })
}
