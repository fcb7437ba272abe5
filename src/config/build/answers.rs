//! What the answers of a destination mean, where it is not for the status alone to say.
//!
//! # What it does not know
//!
//! How rules are asked, and whether their texts parse: they stood that test when they were read.

use super::super::Problem;
use super::super::fields::Section;
use super::note;
use crate::model::Class;
use crate::transport::answer::{Answers, Meaning, Rule, Wrong};

/// The rules of this destination: its own, and beneath them those of its preset.
pub(super) fn answers(section: &Section, problems: &mut Vec<Problem>) -> Answers {
    let mut answers = Answers::new();
    let empty = Section::default();
    let own = section.section("answers").unwrap_or(&empty);
    for (table, name) in [(own, "uncertain"), (own, "retry"), (own, "reject"), (section, "success")] {
        for rule in table.sections(name).iter().filter(|rule| rule.refused.is_empty()) {
            match Rule::parse(rule.text("status"), rule.text("body"), rule.text("when")) {
                Ok(parsed) => answers = answers.rule(meaning(name, rule.text("class")), parsed),
                Err(Wrong { problem, .. }) => note(problems, &rule.place, &problem.problem, "status = \"2xx\""),
            }
        }
    }
    answers = answers.already_there(own.has("already_there"));
    for (name, add) in [
        ("reason", Answers::reason as fn(Answers, &str) -> Result<Answers, Wrong>),
        ("remote_id", Answers::remote_id),
        ("retry_after", Answers::retry_after),
    ] {
        let Some(filter) = own.text(name) else { continue };
        match add(answers, filter) {
            Ok(extracting) => answers = extracting,
            Err(wrong) => {
                note(problems, own.place(name), &wrong.problem.to_string(), "");
                return Answers::new();
            }
        }
    }
    match section.text("preset").map(Answers::preset) {
        Some(Ok(preset)) => answers.over(preset),
        Some(Err(wrong)) => {
            note(problems, section.place("preset"), &wrong.problem.problem, "");
            answers
        }
        None => answers,
    }
}

fn meaning(name: &str, class: Option<&str>) -> Meaning {
    match name {
        "uncertain" => Meaning::Uncertain,
        "reject" => Meaning::Reject,
        "success" => Meaning::Success,
        _ => Meaning::Retry(Class::ALL.into_iter().find(|known| Some(known.name()) == class).unwrap_or(Class::Body)),
    }
}
