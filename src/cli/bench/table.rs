//! What was found, as a table for people and as JSON for programs.
//!
//! # What it does not know
//!
//! How anything was measured.

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::measure::{Round, median};
use super::{Fail, failed};
use crate::cli::say;

/// One finding.
#[derive(Serialize)]
pub(super) struct Row {
    part: &'static str,
    what: String,
    unit: &'static str,
    rounds: usize,
    /// The median of goniec's figures.
    goniec: f64,
    /// The median of what it is compared with.
    bare: Option<f64>,
    against: Option<String>,
    /// The median of the ratios of the rounds, and the two ends.
    ratio: Option<f64>,
    ratio_min: Option<f64>,
    ratio_max: Option<f64>,
    /// What the ratio should reach, or the figure not pass.
    at_least: Option<f64>,
    at_most: Option<f64>,
    reached: Option<bool>,
}

impl Row {
    /// A figure without a goal.
    pub(super) fn new(part: &'static str, what: String, unit: &'static str, values: &[f64]) -> Row {
        Row {
            part,
            what,
            unit,
            rounds: values.len(),
            goniec: median(values.iter().copied()),
            bare: None,
            against: None,
            ratio: None,
            ratio_min: None,
            ratio_max: None,
            at_least: None,
            at_most: None,
            reached: None,
        }
    }

    /// Figures a second beside those of something else.
    pub(super) fn compared(part: &'static str, what: String, rounds: &[Round], against: &str) -> Row {
        Row::beside(part, what, "/s", rounds, against)
    }

    /// Figures beside those of something else.
    pub(super) fn beside(part: &'static str, what: String, unit: &'static str, rounds: &[Round], against: &str) -> Row {
        let own: Vec<f64> = rounds.iter().map(|round| round.own).collect();
        let ratios = || rounds.iter().map(|round| round.own / round.bare);
        Row {
            bare: Some(median(rounds.iter().map(|round| round.bare))),
            against: Some(against.to_owned()),
            ratio: Some(median(ratios())),
            ratio_min: Some(ratios().fold(f64::INFINITY, f64::min)),
            ratio_max: Some(ratios().fold(f64::NEG_INFINITY, f64::max)),
            ..Row::new(part, what, unit, &own)
        }
    }

    /// Figures a second with nothing beside them, and why.
    pub(super) fn alone(part: &'static str, what: String, values: impl Iterator<Item = f64>, why: &str) -> Row {
        Row { against: Some(why.to_owned()), ..Row::new(part, what, "/s", &values.collect::<Vec<f64>>()) }
    }

    /// A figure that should be small.
    pub(super) fn at_most(part: &'static str, what: String, unit: &'static str, values: &[f64], most: f64) -> Row {
        let row = Row::new(part, what, unit, values);
        Row { at_most: Some(most), reached: Some(row.goniec <= most), ..row }
    }

    /// What the ratio should reach.
    pub(super) fn goal(self, least: f64) -> Row {
        Row { at_least: Some(least), reached: self.ratio.map(|ratio| ratio >= least), ..self }
    }

    fn cells(&self) -> [String; 6] {
        let figure = |value: f64| match self.unit {
            "/s" => format!("{value:.0}/s"),
            unit if value < 10.0 => format!("{value:.2} {unit}"),
            unit => format!("{value:.0} {unit}"),
        };
        let goal = match (self.at_least, self.at_most) {
            (Some(least), _) => format!("{least:.2}"),
            (None, Some(most)) => format!("at most {}", figure(most)),
            (None, None) => String::new(),
        };
        let reached = match self.reached {
            Some(true) => "reached",
            Some(false) => "not reached",
            None => "",
        };
        [
            self.what.clone(),
            figure(self.goniec),
            self.bare.map(figure).unwrap_or_default(),
            self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            if reached.is_empty() { goal } else { format!("{goal}, {reached}") },
            self.against.clone().unwrap_or_default(),
        ]
    }
}

/// Prints the rows.
pub(super) fn print(rows: &[Row], as_json: bool) -> Result<(), Fail> {
    if as_json {
        for row in rows {
            say(&serde_json::to_string(row).map_err(|error| failed(error.to_string()))?)?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["what", "goniec", "bare", "ratio", "goal", "against"]);
    for row in rows {
        table.add_row(row.cells());
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(&table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_by_the_median_of_the_ratios() {
        let rounds = [(30.0, 10.0), (10.0, 20.0), (9.0, 10.0)].map(|(own, bare)| Round { own, bare });
        let row = |goal| Row::compared("lives", "x".into(), &rounds, "y").goal(goal);
        assert_eq!((row(0.9).reached, row(0.91).reached), (Some(true), Some(false)));
        assert_eq!((row(1.0).ratio_min, row(1.0).ratio_max), (Some(0.5), Some(3.0)));
    }

    #[test]
    fn a_figure_that_should_be_small_is_judged_by_its_most() {
        let row = |most| Row::at_most("start", "x".into(), "s", &[1.0, 3.0, 2.0], most);
        assert_eq!((row(2.0).reached, row(1.9).reached), (Some(true), Some(false)));
    }
}
