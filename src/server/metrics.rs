//! The figures of the node for machines: OpenMetrics text for those that scrape, minutes in JSON for those that draw.
//!
//! # What holds
//!
//! * The only labels are destinations, sources, states, outcomes and reasons: no id, no key, no address, so there are as many lines as there are
//!   destinations and sources, however many messages pass.
//! * Units are seconds and bytes; names are never changed.
//!
//! # What it does not know
//!
//! How anything is counted.

use std::fmt::{Display, Write as _};

use hyper::StatusCode;

use super::intake::now;
use super::manage::{parameters, read};
use super::payload::Answer;
use super::problem::Problem;
use super::render;
use super::routes::{Call, json, with_type};
use crate::admin::filter::STATES;
use crate::engine::{Counted, CountedOf, Histogram, Lane, Stats};
use crate::model::breaker::Phase;
use crate::model::{Class, WallMs};
use crate::source::{PullShown, Sources, Verdict};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`.
pub(super) async fn metrics(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let sources = call.app.config.sources.clone();
    let text =
        read(&call, move |engine| Ok(page(&engine.stats(), &engine.lanes(), &engine.counted(), &sources, now())))
            .await?;
    Ok(with_type(StatusCode::OK, text.into_bytes(), OPEN_METRICS))
}

/// `GET /v1/history`.
pub(super) async fn history(call: Call<'_>) -> Result<Answer, Problem> {
    parameters(&call, [])?;
    let chart = read(&call, |engine| Ok(engine.chart())).await?;
    Ok(json(StatusCode::OK, render::chart(&chart)))
}

/// The whole text.
fn page(stats: &Stats, lanes: &[Lane], counted: &Counted, sources: &Sources, now: WallMs) -> String {
    let mut page = Page::default();
    page.counted(counted);
    page.standing(stats, lanes, now);
    page.sources(sources);
    page.node(stats, counted);
    page.0.push_str("# EOF\n");
    page.0
}

/// OpenMetrics text in the making.
#[derive(Default)]
struct Page(String);

/// The name of a figure, what it is, and where it comes from.
type Figure<T> = (&'static str, &'static str, fn(&T) -> u64);
/// The same of a histogram.
type Spread = (&'static str, &'static str, fn(&CountedOf) -> &Histogram);
/// Names of labels with their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// What was counted of each destination.
    fn counted(&mut self, counted: &Counted) {
        let known = || counted.destinations.iter().filter(|one| !one.name.is_empty());
        let counters: [Figure<CountedOf>; 3] = [
            ("goniec_messages_accepted", "Messages accepted.", |one| one.accepted),
            ("goniec_superseded", "Messages whose place a newer one of their key took.", |one| one.superseded),
            ("goniec_deadline_missed", "Messages given up because their deadline passed.", |one| one.deadline_missed),
        ];
        for (name, help, count) in counters {
            self.family(name, "counter", "", help);
            known().for_each(|one| self.sample(name, "_total", &[("destination", &one.name)], count(one)));
        }
        let name = "goniec_attempts";
        self.family(name, "counter", "", "Attempts that ended, by outcome and by the class of the failure.");
        for (one, (outcome, class, count)) in known().flat_map(|one| one.attempts.iter().map(move |count| (one, count)))
        {
            let reason = class.map_or("", Class::name);
            let labels = [("destination", &*one.name), ("outcome", outcome.name()), ("reason", reason)];
            self.sample(name, "_total", &labels, count);
        }
        let histograms: [Spread; 2] = [
            ("goniec_attempt_duration_seconds", "How long attempts took.", |one| &one.attempt_ms),
            ("goniec_delivery_latency_seconds", "From acceptance to delivery.", |one| &one.latency_ms),
        ];
        for (name, help, of) in histograms {
            self.family(name, "histogram", "seconds", help);
            known().for_each(|one| self.histogram(name, Some(&one.name), of(one), 1_000.0));
        }
    }

    /// How each destination stands.
    fn standing(&mut self, stats: &Stats, lanes: &[Lane], now: WallMs) {
        let name = "goniec_oldest_undelivered_seconds";
        let help = "How long the oldest message that is not final has waited; 0 where none waits.";
        self.family(name, "gauge", "seconds", help);
        for lane in lanes {
            let seconds = lane.age.oldest.map_or(0, |oldest| now.since(oldest) / 1_000);
            self.sample(name, "", &[("destination", &lane.name)], seconds);
        }
        self.family("goniec_messages", "gauge", "", "Messages by state.");
        for (destination, state, messages) in &stats.counts {
            let state = STATES.iter().find(|(_, known)| known == state).map_or("", |(name, _)| name);
            let labels = [("destination", &**destination), ("state", state)];
            self.sample("goniec_messages", "", &labels, messages);
        }
        let gauges: [Figure<Lane>; 6] = [
            ("goniec_messages_waiting", "Messages that are not final.", |lane| lane.age.waiting),
            ("goniec_messages_late", "Messages that have waited longer than late_after.", |lane| lane.age.late),
            ("goniec_messages_out", "Messages that are out now.", |lane| u64::try_from(lane.out).unwrap_or(u64::MAX)),
            ("goniec_paused", "1 where the destination is paused.", |lane| u64::from(lane.pause.is_some())),
            ("goniec_incidents_open", "Incidents that are open.", |lane| {
                u64::try_from(lane.incidents).unwrap_or(u64::MAX)
            }),
            ("goniec_breaker_state", "0 closed, 1 widening, 2 probing, 3 open; 0 without a breaker.", breaker),
        ];
        for (name, help, value) in gauges {
            self.family(name, "gauge", "", help);
            lanes.iter().for_each(|lane| self.sample(name, "", &[("destination", &lane.name)], value(lane)));
        }
    }

    /// The systems that hand in by themselves, those that are asked, and the folders.
    fn sources(&mut self, sources: &Sources) {
        let name = "goniec_source_deliveries";
        self.family(name, "counter", "", "What a source handed in, by what became of it.");
        for (source, verdict) in sources.callers().flat_map(|source| Verdict::ALL.map(|verdict| (source, verdict))) {
            let labels = [("source", &*source.name), ("result", verdict.name())];
            self.sample(name, "_total", &labels, source.tally.counted(verdict));
        }
        let name = "goniec_source_last_taken_timestamp_seconds";
        self.family(name, "gauge", "seconds", "When something of a source was last kept, in Unix time; absent before.");
        for (source, kept_at) in sources.callers().filter_map(|source| Some((source, source.tally.kept_at()?))) {
            self.sample(name, "", &[("source", &source.name)], kept_at.0 / 1_000);
        }
        let shown: Vec<(&str, PullShown)> = sources.pulls.iter().map(|pull| (&*pull.name, pull.shown())).collect();
        let counters: [Figure<PullShown>; 2] = [
            ("goniec_source_items", "Items that were read of a source.", |shown| shown.items),
            ("goniec_source_failures", "Readings of a source that failed.", |shown| shown.failures),
        ];
        for (name, help, count) in counters {
            self.family(name, "counter", "", help);
            shown.iter().for_each(|(source, shown)| self.sample(name, "_total", &[("source", source)], count(shown)));
        }
        let name = "goniec_source_last_read_timestamp_seconds";
        self.family(name, "gauge", "seconds", "When a source was last read, in Unix time.");
        for (source, read_at) in shown.iter().filter_map(|(source, shown)| Some((source, shown.read_at?))) {
            self.sample(name, "", &[("source", source)], read_at.0 / 1_000);
        }
        let name = "goniec_source_refused_files";
        self.family(name, "gauge", "", "Files of a source that could not be taken, and lie in its folder `failed`.");
        let folders = sources.sources.iter().filter_map(|source| Some((source, source.spool.as_ref()?.status())));
        for (source, status) in folders {
            self.sample(name, "", &[("source", &source.name)], status.aside.map_or(0, |aside| aside.files));
        }
    }

    /// The node as a whole.
    fn node(&mut self, stats: &Stats, counted: &Counted) {
        let name = "goniec_commit_duration_seconds";
        self.family(name, "histogram", "seconds", "From the beginning of a commit until it is durable.");
        self.histogram(name, None, &counted.commit_us, 1_000_000.0);
        let name = "goniec_commit_batch_size";
        self.family(name, "histogram", "", "Messages and steps in one commit.");
        self.histogram(name, None, &counted.commit_size, 1.0);
        if let Some(free) = stats.room.free_bytes {
            self.family("goniec_disk_free_bytes", "gauge", "bytes", "Bytes that are free on the disk of the registry.");
            self.sample("goniec_disk_free_bytes", "", &[], free);
        }
        self.family("goniec_store_bytes", "gauge", "bytes", "Bytes that the registry occupies.");
        self.sample("goniec_store_bytes", "", &[], stats.room.used_bytes);
        self.family("goniec_damaged", "gauge", "", "Things that could not be read and so are not delivered.");
        self.sample("goniec_damaged", "", &[], stats.damaged.len());
        self.family("goniec_build", "info", "", "Which goniec this is.");
        self.sample("goniec_build", "_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.family("goniec_start_time_seconds", "gauge", "seconds", "When the node started, in Unix time.");
        self.sample("goniec_start_time_seconds", "", &[], stats.started_at.0 / 1_000);
    }

    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        self.line(format_args!("# TYPE {name} {kind}"));
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
    }

    fn histogram(&mut self, name: &str, destination: Option<&str>, of: &Histogram, per_unit: f64) {
        let bounds = of.bounds.iter().map(|bound| format!("{:?}", scaled(*bound, per_unit)));
        let mut within = 0;
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&of.counts) {
            within += count;
            let labels: Vec<(&str, &str)> =
                destination.map(|name| ("destination", name)).into_iter().chain([("le", bound.as_str())]).collect();
            self.sample(name, "_bucket", &labels, within);
        }
        let labels: Vec<(&str, &str)> = destination.map(|name| ("destination", name)).into_iter().collect();
        self.sample(name, "_count", &labels, within);
        self.sample(name, "_sum", &labels, scaled(of.sum, per_unit));
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        match labels.is_empty() {
            true => self.line(format_args!("{name}{suffix} {value}")),
            false => self.line(format_args!("{name}{suffix}{{{}}} {value}", labels.join(","))),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn breaker(lane: &Lane) -> u64 {
    match lane.breaker {
        None | Some(Phase::Closed) => 0,
        Some(Phase::Ramp(..)) => 1,
        Some(Phase::Probing(_)) => 2,
        Some(Phase::Open(_)) => 3,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure above 2^53 is told with as many digits as a float has")]
fn scaled(value: u64, per_unit: f64) -> f64 {
    value as f64 / per_unit
}

/// The value of a label, as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_within_its_label() {
        let mut page = Page::default();
        page.sample("goniec_paused", "", &[("destination", "a\"} 1\n# EOF\n\\")], 0);
        assert_eq!(page.0, "goniec_paused{destination=\"a\\\"} 1\\n# EOF\\n\\\\\"} 0\n");
    }

    #[test]
    fn buckets_add_up_and_bounds_are_floats() {
        let of = Histogram { bounds: &[5, 1_000], counts: vec![2, 0, 1], sum: 9_010 };
        let mut page = Page::default();
        page.histogram("x_seconds", Some("erp"), &of, 1_000.0);
        let lines = [
            "x_seconds_bucket{destination=\"erp\",le=\"0.005\"} 2",
            "x_seconds_bucket{destination=\"erp\",le=\"1.0\"} 2",
            "x_seconds_bucket{destination=\"erp\",le=\"+Inf\"} 3",
            "x_seconds_count{destination=\"erp\"} 3",
            "x_seconds_sum{destination=\"erp\"} 9.01",
        ];
        assert_eq!(page.0.lines().collect::<Vec<_>>(), lines);
    }
}
