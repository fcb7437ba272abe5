//! The rules for Markdown: one title, and links that lead somewhere.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The lines of the file that are not inside a code fence, with their numbers from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            lines.push((number + 1, line));
        }
    }
    lines
}

pub fn one_title(path: &str, text: &str) -> Vec<String> {
    let lines = prose(text);
    let titles = lines.iter().filter(|(_, line)| line.starts_with("# ")).count();
    let opens = text.starts_with("# ");
    if titles == 1 && opens {
        Vec::new()
    } else {
        vec![format!("{path}:1: {titles} titles; one `# ` line, the first, is the title")]
    }
}

/// The name that a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Links of this file that lead nowhere. `files` holds every Markdown file of the repository; `exists` knows the others.
pub fn dead_links(path: &str, files: &BTreeMap<String, String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in prose(&files[path]) {
        for target in targets(line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let to = if file.is_empty() { path.to_owned() } else { beside(path, file) };
            if !files.contains_key(&to) && !exists(&to) {
                found.push(format!("{path}:{number}: the link to {target} leads nowhere"));
            } else if let Some(text) = files.get(&to).filter(|_| !heading.is_empty()) {
                let is_there = prose(text).iter().any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
                if !is_there {
                    found.push(format!("{path}:{number}: {to} has no heading #{heading}"));
                }
            }
        }
    }
    found
}

/// What the inline links of a line point to; code spans are not read.
fn targets(line: &str) -> Vec<String> {
    let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
    let links = plain.split("](").skip(1);
    links.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.trim().to_owned()).collect()
}

fn beside(path: &str, file: &str) -> String {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut joined = PathBuf::new();
    for part in folder.join(file).components() {
        match part {
            Component::ParentDir => drop(joined.pop()),
            Component::Normal(name) => joined.push(name),
            _ => {}
        }
    }
    joined.to_string_lossy().into_owned()
}

#[test]
fn a_planted_fault_in_markdown_is_found() {
    assert!(one_title("a.md", "# One\n\n```\n# not a title\n```\n").is_empty());
    assert_eq!(one_title("a.md", "# One\n\n# Two\n").len(), 1);
    assert_eq!(one_title("a.md", "text\n").len(), 1);
    let text = "# A\n\n## The `x` of y\n[up](../README.md) [here](#the-x-of-y) `[no](nothing.md)` [out](https://example.org)\n";
    let mut files =
        BTreeMap::from([("docs/a.md".to_owned(), text.to_owned()), ("README.md".to_owned(), "# R\n".to_owned())]);
    assert_eq!(dead_links("docs/a.md", &files, |_| false), Vec::<String>::new());
    files.insert("docs/a.md".to_owned(), format!("{text}[gone](b.md) [gone](../README.md#no)\n"));
    assert_eq!(dead_links("docs/a.md", &files, |_| false).len(), 2);
}
