//! The figures of a node, read by Prometheus' own parser of OpenMetrics (`prometheus_client` of PyPI) and its linter (`promtool`); the rules of docs/alerts.yml, each of
//! which must fire on a node that is ill and on no healthy one; and the dashboard of docs/grafana.json, whose every name and label a node must serve. Where one of these
//! programs is not there its test says so.

#![cfg(feature = "server")]

#[path = "prometheus/node.rs"]
mod node;
#[path = "prometheus/promql.rs"]
mod promql;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use promql::{labels, names, promtool};
use serde_json::{Value, json};

const RULES: &str = include_str!("../docs/alerts.yml");
const DASHBOARD: &str = include_str!("../docs/grafana.json");
const METRICS: &str = include_str!("../src/server/metrics.rs");
/// What Prometheus adds to what it scrapes.
const ADDED: [&str; 2] = ["instance", "job"];

/// The alerts of the rules, by name.
fn alerts() -> Vec<&'static str> {
    RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// Every expression of the dashboard, with the variables that Grafana fills in.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let filled =
        |text: &str| text.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$destination", ".*");
    targets.map(|target| filled(target["expr"].as_str().expect("an expression"))).collect()
}

/// Recording rules of these expressions: what parses there parses in a dashboard.
fn recorded(expressions: &[String]) -> String {
    let rule = |(number, expr): (usize, &String)| json!({ "record": format!("dashboard:{number}"), "expr": expr });
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    json!({ "groups": [ { "name": "dashboard", "rules": rules } ] }).to_string()
}

#[test]
fn every_metric_that_a_rule_asks_for_exists() {
    let expressions: String = RULES.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    let (asked, served) = (names(&expressions), names(METRICS));
    assert!(asked.len() >= 8, "{asked:?}");
    assert_eq!(asked.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(!served.contains("goniec_messages_lat"), "the control: a name that is none is found");
}

#[test]
fn a_node_serves_every_name_and_label_of_the_dashboard() {
    let served = node::metrics("erp", &["yes", "no"]);
    let (known_names, mut known_labels) = (names(&served), BTreeSet::new());
    for line in served.lines().filter(|line| !line.starts_with('#')) {
        known_labels.extend(labels(line));
    }
    known_labels.extend(ADDED.map(str::to_owned));
    let unknown = |expr: &str| -> Vec<String> {
        let names = names(expr).difference(&known_names).cloned().collect::<Vec<_>>();
        let labels = labels(expr).difference(&known_labels).cloned().collect::<Vec<_>>();
        [names, labels].concat()
    };
    let expressions = expressions();
    for expr in &expressions {
        assert!(!names(expr).is_empty() && unknown(expr).is_empty(), "{expr}: {:?}", unknown(expr));
    }
    let asked: BTreeSet<String> = expressions.iter().flat_map(|expr| names(expr)).collect();
    assert!(asked.len() >= 15, "{asked:?}");
    for value in ["outcome=\"delivered\"", "state=\"abandoned\""] {
        assert!(served.contains(value) && expressions.iter().any(|expr| expr.contains(value)), "{value}: {served}");
    }
    // The controls.
    assert_eq!(unknown("sum by (destinations) (goniec_paused{instanz=\"a\"})"), ["destinations", "instanz"]);
    assert_eq!(unknown("goniec_pauses"), ["goniec_pauses"]);
}

#[test]
fn promtool_takes_the_rules_and_the_dashboard() {
    let Some(broken) = promtool(&["check", "rules"], &RULES.replace("> 900", "> > 900")) else {
        println!(
            "SKIPPED: promtool_takes_the_rules_and_the_dashboard: promtool is not installed (Debian's package `prometheus` has it)"
        );
        return;
    };
    assert!(broken.is_err(), "the control: a broken rule is refused");
    for rules in [RULES.to_owned(), recorded(&expressions())] {
        if let Err(wrong) = promtool(&["check", "rules"], &rules).expect("runs") {
            panic!("{wrong}");
        }
    }
    let broken = expressions().iter().map(|expr| expr.replacen('(', "((", 1)).collect::<Vec<_>>();
    assert!(promtool(&["check", "rules"], &recorded(&broken)).expect("runs").is_err(), "the control");
}

/// Series of a node in which every rule has something to tell of, one value a minute, and of one in which none has.
const ILL: [(&str, &str); 16] = [
    ("up{job=\"goniec\"}", "0x80"),
    ("goniec_oldest_undelivered_seconds{destination=\"erp\"}", "901x80"),
    ("goniec_messages_late{destination=\"erp\"}", "1x80"),
    ("goniec_deadline_missed_total{destination=\"erp\"}", "0+1x80"),
    ("goniec_attempts_total{destination=\"erp\",outcome=\"rejected\",reason=\"rejected\"}", "0+1x80"),
    ("goniec_attempts_total{destination=\"erp\",outcome=\"uncertain\",reason=\"timeout\"}", "0+1x80"),
    ("goniec_breaker_state{destination=\"erp\"}", "2x80"),
    ("goniec_paused{destination=\"erp\"}", "1x80"),
    ("goniec_disk_free_bytes", "1999999999x80"),
    ("goniec_commit_duration_seconds_bucket{le=\"0.5\"}", "0+1x80"),
    ("goniec_commit_duration_seconds_bucket{le=\"1.0\"}", "0+100x80"),
    ("goniec_commit_duration_seconds_bucket{le=\"+Inf\"}", "0+100x80"),
    ("goniec_damaged", "1x80"),
    ("goniec_source_deliveries_total{source=\"shop\",result=\"refused\"}", "0+1x80"),
    ("goniec_source_deliveries_total{source=\"shop\",result=\"unrouted\"}", "0+1x80"),
    ("goniec_source_last_taken_timestamp_seconds{source=\"shop\"}", "-21600+0x80"),
];
/// In the middle everything stands still for a moment, which is no illness.
const HEALTHY: [(&str, &str); 16] = [
    ("up{job=\"goniec\"}", "1x80"),
    ("goniec_oldest_undelivered_seconds{destination=\"erp\"}", "900x40 905x3 20x36"),
    ("goniec_messages_late{destination=\"erp\"}", "0x80"),
    ("goniec_deadline_missed_total{destination=\"erp\"}", "5x80"),
    ("goniec_attempts_total{destination=\"erp\",outcome=\"rejected\",reason=\"rejected\"}", "0+0.5x80"),
    ("goniec_attempts_total{destination=\"erp\",outcome=\"uncertain\",reason=\"timeout\"}", "3x80"),
    ("goniec_breaker_state{destination=\"erp\"}", "0x40 3x3 1x36"),
    ("goniec_paused{destination=\"erp\"}", "0x20 1x50 0x9"),
    ("goniec_disk_free_bytes", "2000000000x80"),
    ("goniec_commit_duration_seconds_bucket{le=\"0.5\"}", "0+100x80"),
    ("goniec_commit_duration_seconds_bucket{le=\"1.0\"}", "0+100x80"),
    ("goniec_commit_duration_seconds_bucket{le=\"+Inf\"}", "0+100x80"),
    ("goniec_damaged", "0x80"),
    ("goniec_source_deliveries_total{source=\"shop\",result=\"refused\"}", "0+0.1x80"),
    ("goniec_source_deliveries_total{source=\"shop\",result=\"unrouted\"}", "3x80"),
    ("goniec_source_last_taken_timestamp_seconds{source=\"shop\"}", "0x80"),
];

/// A unit test of the rules: which alerts fire at these minutes on these series, and no other.
fn unit(series: &[(&str, &str)], minutes: &[u64], firing: &[&str]) -> Value {
    let series: Vec<Value> =
        series.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect();
    let samples: Vec<Value> =
        firing.iter().map(|name| json!({ "labels": format!("{{alertname=\"{name}\"}}"), "value": 1 })).collect();
    let expr = "count by (alertname) (ALERTS{alertstate=\"firing\"})";
    let test = |minute: &u64| json!({ "expr": expr, "eval_time": format!("{minute}m"), "exp_samples": samples });
    let tests: Vec<Value> = minutes.iter().map(test).collect();
    json!({ "interval": "1m", "input_series": series, "promql_expr_test": tests })
}

#[test]
fn every_rule_fires_on_what_deserves_it_and_on_nothing_healthy() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml");
    let run = |units: Vec<Value>| {
        let file = json!({ "rule_files": [rules], "evaluation_interval": "1m", "tests": units });
        promtool(&["test", "rules"], &file.to_string())
    };
    let healthy: Vec<u64> = (1..=79).collect();
    let Some(done) = run(vec![unit(&ILL, &[75], &alerts()), unit(&HEALTHY, &healthy, &[])]) else {
        println!(
            "SKIPPED: every_rule_fires_on_what_deserves_it: promtool is not installed (Debian's package `prometheus` has it)"
        );
        return;
    };
    if let Err(wrong) = done {
        panic!("{wrong}");
    }
    // The controls: a series less, and a rule has nothing to tell; a series of the ill one, and the healthy one is ill.
    assert!(run(vec![unit(&ILL[1..], &[75], &alerts())]).expect("runs").is_err());
    for (at, ill) in ILL.iter().enumerate().filter(|(at, _)| !(10..12).contains(at)) {
        let mut series = HEALTHY;
        series[at] = *ill;
        assert!(run(vec![unit(&series, &healthy, &[])]).expect("runs").is_err(), "{}", ill.0);
    }
}

#[test]
fn promtool_finds_nothing_to_say_of_our_figures() {
    let text = promql::as_text(&node::metrics("erp", &["yes", "no"]));
    let Some(said) = promtool(&["check", "metrics"], &text) else {
        println!(
            "SKIPPED: promtool_finds_nothing_to_say_of_our_figures: promtool is not installed (Debian's package `prometheus` has it)"
        );
        return;
    };
    if let Err(wrong) = said {
        panic!("{wrong}");
    }
    let broken = text.replace("goniec_attempts_total", "goniec_attempts");
    assert!(promtool(&["check", "metrics"], &broken).expect("runs").is_err(), "the control: a counter without its end");
}

const PARSE: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1], newline='').read()))
assert len(families) > 15, families";

#[test]
fn the_parser_of_prometheus_reads_our_figures() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-client");
    std::fs::create_dir_all(&folder).expect("a folder");
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command
            .args(arguments)
            .env("PYTHONPATH", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let is_there = || python(&["-c", "import prometheus_client.openmetrics.parser"]);
    let target = folder.to_string_lossy().into_owned();
    let install = ["-m", "pip", "install", "-q", "--target", &target, "prometheus_client"];
    let is_ready = is_there() || (python(&install) && is_there());
    if !is_ready {
        println!("SKIPPED: the_parser_of_prometheus_reads_our_figures: prometheus_client cannot be installed with pip");
        return;
    }
    // A name as an administrator may well not choose it.
    let text = node::metrics("erp \"\\ \u{17c}", &["yes"]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let reads = |text: &str| {
        std::fs::write(file.path(), text).expect("writes");
        python(&["-c", PARSE, &file.path().to_string_lossy()])
    };
    assert!(reads(&text), "{text}");
    assert!(!reads(&text.replace("# EOF", "")), "the control: an end is missed");
    assert!(!reads(&text.replace("_bucket{", "_bucked{")), "the control: a sample of no family is found");
}
