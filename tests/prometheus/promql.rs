//! What an expression asks for, and `promtool`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// The names of our metrics in a text, without what a type appends.
pub fn names(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter)).filter(|word| word.starts_with("goniec_"));
    let ends = ["_total", "_bucket", "_info", "_sum", "_count"];
    let bare = |word: &str| ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned();
    words.map(bare).collect()
}

/// The labels in an expression or a sample: those that are matched, and those by which is summed.
pub fn labels(text: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for (open, close) in [("{", "}"), ("by (", ")")] {
        for part in text.split(open).skip(1) {
            let inside = part.split(close).next().unwrap_or_default();
            let words = inside.split(',').map(|word| word.split(['=', '!']).next().unwrap_or_default().trim());
            labels.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    labels
}

/// OpenMetrics as the older text format has it, which is all that the linter of `promtool` reads: there a counter's family has the name of its samples.
pub fn as_text(metrics: &str) -> String {
    let end_of = |name: &str| {
        let kind = metrics.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        match kind {
            Some("counter") => "_total",
            Some("info") => "_info",
            _ => "",
        }
    };
    let mut text = String::new();
    for line in metrics.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF") {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", what, name, rest] => {
                let rest = if *rest == "info" { "gauge" } else { rest };
                text.push_str(&format!("# {what} {name}{} {rest}\n", end_of(name)));
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

/// What `promtool` says against this text; `None` where it is not installed.
pub fn promtool(arguments: &[&str], text: &str) -> Option<Result<(), String>> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let file = tempfile::Builder::new().suffix(".yml").tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("writes");
    // The figures are read from standard input, everything else from a file.
    let is_piped = arguments.ends_with(&["metrics"]);
    if !is_piped {
        command.arg(file.path());
    }
    let mut child = command.spawn().ok()?;
    let mut input = child.stdin.take().expect("an input");
    if is_piped {
        input.write_all(text.as_bytes()).expect("it reads");
    }
    drop(input);
    let said = child.wait_with_output().expect("it ends");
    let words = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Some(if said.status.success() { Ok(()) } else { Err(words) })
}
