//! What a setting's runs say: all of them, the medians of each strategy, and the goals.

use std::fmt;

use serde::Serialize;

use super::{
    figures::{COLUMNS, Figures},
    settings::Setting,
    strategies::{self, Run, Strategy},
};

/// Of the total time against its bound.
const GOAL_TOTAL_BY_BOUND: f64 = 1.10;

/// Displayed as Markdown.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    setting: String,
    runs: Vec<Run>,
    medians: Vec<Median>,
    goals: Vec<Goal>,
}

#[derive(Debug, Serialize)]
struct Median {
    strategy: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Serialize)]
struct Goal {
    goal: String,
    measured: f64,
    met: bool,
}

impl Summary {
    pub(super) fn of(setting: &Setting, runs: Vec<Run>) -> Self {
        let median = |strategy: Strategy| {
            let of = runs.iter().filter(|run| run.strategy == strategy).map(|run| run.figures);
            Figures::median(&of.collect::<Vec<_>>())
        };
        let lifeboat = median(Strategy::Lifeboat);
        let total = lifeboat.total_by_bound();
        let mut goals = vec![Goal {
            goal: format!("total / bound <= {GOAL_TOTAL_BY_BOUND:.2}"),
            measured: total,
            met: total <= GOAL_TOTAL_BY_BOUND,
        }];
        for rival in strategies::ALL.into_iter().filter(|one| *one != Strategy::Lifeboat) {
            let measured = lifeboat.score / median(rival).score;
            let goal = format!("score / score of {} < 1", rival.name());
            goals.push(Goal { goal, measured, met: measured < 1.0 });
        }
        let medians = strategies::ALL
            .map(|strategy| Median { strategy: strategy.name(), figures: median(strategy) });
        Self { setting: setting.description(), medians: medians.into(), goals, runs }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.medians[0].figures;
        writeln!(
            f,
            "{}. Bounds: total {:.1} s, individual {:.1} s",
            self.setting, bound.bound_total_s, bound.bound_individual_s
        )?;
        writeln!(f, "\n| strategy | run | {COLUMNS} |")?;
        writeln!(f, "{}", "| --- ".repeat(COLUMNS.matches('|').count() + 3) + "|")?;
        for strategy in &self.medians {
            for run in self.runs.iter().filter(|run| run.name == strategy.strategy) {
                writeln!(
                    f,
                    "| {} | {}, from {} | {} |",
                    run.name, run.round, run.from, run.figures
                )?;
            }
            writeln!(f, "| {} | median | {} |", strategy.strategy, strategy.figures)?;
        }
        writeln!(f, "\n| goal | measured | met |\n| --- | --- | --- |")?;
        for Goal { goal, measured, met } in &self.goals {
            let met = if *met { "yes" } else { "**no**" };
            writeln!(f, "| {goal} | {measured:.3} | {met} |")?;
        }
        Ok(())
    }
}
